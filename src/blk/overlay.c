/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The disk that a chain of layers gives.  This is the only place that turns "not in this layer"
 * into a question to the parent.  The walk is a loop: a chain of 1,024 needs no stack.
 *
 *     position ─▶ layers[0] (tip) ─absent─▶ layers[1] ─absent─▶ … ─absent─▶ zeros
 *                      │data / zeros / unreadable: this one answers
 *
 * A parent that is smaller than its child (the disk was grown after the snapshot) is a disk of that
 * size at that time: past its end the child sees zeros, also where something lies further below.
 * Immutable; no locks.
 */
#include "blk/layers.h"

#include "base/cleanup.h"
#include "base/limits.h"
#include "base/range.h"

#include <string.h>

/* Which layer answers for `off`, and for how long.  *out_layer = n: nobody does (zeros). */
static int overlay_find(struct blkdev *dev, uint64_t off, uint64_t max_len, size_t *out_layer,
                        struct blk_extent *out, struct vd_err *err)
{
    uint64_t len = max_len;
    size_t i;

    for (i = 0; i < dev->n_children; i++) {
        struct blkdev *layer = dev->children[i];
        struct blk_extent ext;
        int rc;

        if (off >= layer->size)
            break;
        rc = blk_map(layer, off, len, &ext, err);
        if (rc)
            return rc;
        len = ext.len;
        if (ext.status != BLK_ABSENT) {
            *out = ext;
            *out_layer = i;
            return 0;
        }
    }
    *out = (struct blk_extent){.len = len, .status = BLK_ZEROS};
    *out_layer = dev->n_children;
    return 0;
}

static int overlay_map(struct blkdev *dev, uint64_t off, uint64_t max_len, struct blk_extent *out,
                       struct vd_err *err)
{
    struct blk_extent ext;
    size_t i;
    int rc = overlay_find(dev, off, max_len, &i, &ext, err);

    if (rc)
        return rc;
    if (ext.status == BLK_DATA && !ext.child && i < dev->n_children) {
        ext.child = dev->children[i];
        ext.child_off = off;
    }
    *out = ext;
    return 0;
}

/* Reads stored bytes straight from where the map says they lie: one look-up, not two. */
static int read_extent(struct blkdev *layer, const struct blk_extent *ext, uint64_t off, void *buf,
                       size_t len, struct vd_err *err)
{
    int rc;

    if (ext->status != BLK_DATA || !ext->child)
        return blk_read(layer, off, buf, len, err);
    rc = blk_read(ext->child, ext->child_off, buf, len, err);
    if (rc == 0)
        return 0;
    if (err && err->has_offset && err->offset >= ext->child_off)
        err->offset = err->offset - ext->child_off + off;
    return layer->label[0] && strcmp(layer->label, ext->child->label) != 0
               ? vd_prefix(err, rc, "%s", layer->label)
               : rc;
}

static int overlay_read_at(struct blkdev *dev, uint64_t off, void *buf, size_t len,
                           struct vd_err *err)
{
    uint8_t *p = buf;

    while (len) {
        struct blk_extent ext;
        size_t i, n;
        int rc = overlay_find(dev, off, len, &i, &ext, err);

        if (rc)
            return rc;
        n = (size_t)vd_min(len, ext.len);
        if (ext.status == BLK_ZEROS)
            memset(p, 0, n);
        else
            rc = read_extent(dev->children[i], &ext, off, p, n, err);
        if (rc)
            return rc;
        p += n;
        off += n;
        len -= n;
    }
    return 0;
}

static const struct blk_type overlay_type = {
    .name = "overlay",
    .read_at = overlay_read_at,
    .map = overlay_map,
};

int blk_overlay_new(struct blkdev *const *layers, size_t n_layers, const char *label,
                    struct blkdev **out, struct vd_err *err)
{
    struct blkdev *dev = NULL;
    size_t i;
    int rc;

    if (n_layers == 0 || n_layers > VD_MAX_CHAIN)
        return vd_fail(err, VD_ELIMIT, "%s: a chain of %zu members (1 to %d are possible)", label,
                       n_layers, VD_MAX_CHAIN);
    rc = blk_new(&overlay_type, layers[0]->size, label, NULL, &dev, err);
    if (rc)
        return rc;
    dev->sector_size = layers[0]->sector_size;
    dev->read_unit = layers[0]->read_unit;
    for (i = 0; i < n_layers && rc == 0; i++)
        rc = blk_add_child(dev, layers[i], err);
    if (rc) { /* the references stay with the caller */
        dev->n_children = 0;
        blk_unref(dev);
        return rc;
    }
    *out = dev;
    return 0;
}
