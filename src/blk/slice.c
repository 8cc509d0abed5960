/* SPDX-License-Identifier: Apache-2.0 */
/* A part of a device: one partition, one extent inside a file.  Immutable; no locks. */
#include "blk/layers.h"

#include "base/cleanup.h"
#include "base/range.h"

#include <inttypes.h>

struct slice {
    struct blkdev *child; /* = dev->children[0] */
    uint64_t off;
};

/* A failure below names a position of the child; ours is the one to report. */
static int to_own_offset(const struct slice *slice, int rc, struct vd_err *err)
{
    if (rc && err && err->has_offset && err->offset >= slice->off)
        err->offset -= slice->off;
    return rc;
}

static int slice_read_at(struct blkdev *dev, uint64_t off, void *buf, size_t len,
                         struct vd_err *err)
{
    const struct slice *slice = dev->priv;

    return to_own_offset(slice, blk_read(slice->child, slice->off + off, buf, len, err), err);
}

static int slice_map(struct blkdev *dev, uint64_t off, uint64_t max_len, struct blk_extent *out,
                     struct vd_err *err)
{
    const struct slice *slice = dev->priv;
    struct blk_extent below;
    int rc = blk_map(slice->child, slice->off + off, max_len, &below, err);

    if (rc)
        return to_own_offset(slice, rc, err);
    *out = below;
    if (below.status == BLK_DATA && !below.child) {
        out->child = slice->child;
        out->child_off = slice->off + off;
    }
    return 0;
}

static void slice_close(struct blkdev *dev)
{
    free(dev->priv);
}

static const struct blk_type slice_type = {
    .name = "slice",
    .read_at = slice_read_at,
    .map = slice_map,
    .close = slice_close,
};

int blk_slice_new(struct blkdev *child, uint64_t off, uint64_t size, const char *label,
                  struct blkdev **out, struct vd_err *err)
{
    VD_AUTO(free) struct slice *slice = calloc(1, sizeof(*slice));
    VD_AUTO(blk) struct blkdev *dev = NULL;
    int rc;

    if (!slice)
        return vd_fail(err, VD_ENOMEM, "%s: out of memory", label);
    if (!vd_range_inside(off, size, child->size))
        return vd_fail(err, VD_ELIMIT,
                       "%s: %" PRIu64 " bytes at offset %" PRIu64 " pass the end (%" PRIu64 ")",
                       label, size, off, child->size);
    slice->child = child;
    slice->off = off;
    rc = blk_new(&slice_type, size, label, slice, &dev, err);
    if (rc)
        return rc;
    (void)vd_take(&slice);
    dev->sector_size = child->sector_size;
    dev->read_unit = child->read_unit;
    rc = blk_add_child(dev, child, err);
    if (rc)
        return rc;
    *out = vd_take(&dev);
    return 0;
}
