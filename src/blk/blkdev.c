/* SPDX-License-Identifier: Apache-2.0 */
/* The checked door between block layers.  See blkdev.h.  Thread rule: everything here may be
 * called from any thread; reference counts are atomic, instances immutable after construction. */
#include "blk/blkdev.h"

#include "base/limits.h"
#include "base/range.h"
#include "base/text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

int blk_new(const struct blk_type *type, uint64_t size, const char *label, void *priv,
            struct blkdev **out, struct vd_err *err)
{
    struct blkdev *dev;
    char text[256];

    if (size > VD_MAX_SIZE)
        return vd_fail(err, VD_ELIMIT, "%s: a size of %" PRIu64 " bytes is over the limit", label,
                       size);
    dev = calloc(1, sizeof(*dev));
    if (!dev)
        return vd_fail(err, VD_ENOMEM, "%s: out of memory", label);
    vd_text_printable(label, strlen(label), text, sizeof(text));
    dev->label = strdup(text);
    if (!dev->label) {
        free(dev);
        return vd_fail(err, VD_ENOMEM, "%s: out of memory", label);
    }
    dev->type = type;
    atomic_init(&dev->refs, 1);
    dev->size = size;
    dev->sector_size = 512;
    dev->priv = priv;
    *out = dev;
    return 0;
}

int blk_add_child(struct blkdev *dev, struct blkdev *child, struct vd_err *err)
{
    struct blkdev **v = realloc(dev->children, (dev->n_children + 1) * sizeof(struct blkdev *));

    if (!v)
        return vd_fail(err, VD_ENOMEM, "%s: out of memory", dev->label);
    dev->children = v;
    v[dev->n_children++] = child;
    return 0;
}

struct blkdev *blk_ref(struct blkdev *dev)
{
    atomic_fetch_add_explicit(&dev->refs, 1, memory_order_relaxed);
    return dev;
}

void blk_unref(struct blkdev *dev)
{
    size_t i;

    if (!dev || atomic_fetch_sub_explicit(&dev->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (dev->type->close)
        dev->type->close(dev);
    for (i = 0; i < dev->n_children; i++)
        blk_unref(dev->children[i]);
    free(dev->children);
    free(dev->label);
    free(dev);
}

static int with_label(const struct blkdev *dev, int rc, struct vd_err *err)
{
    return dev->label[0] ? vd_prefix(err, rc, "%s", dev->label) : rc;
}

int blk_read(struct blkdev *dev, uint64_t off, void *buf, size_t len, struct vd_err *err)
{
    int rc;

    if (!vd_range_inside(off, len, dev->size)) {
        rc = vd_fail(err, VD_ELIMIT,
                     "a read of %zu bytes at offset %" PRIu64 " passes the end (%" PRIu64 ")", len,
                     off, dev->size);
        return with_label(dev, vd_at(err, rc, off), err);
    }
    if (len == 0)
        return 0;
    atomic_fetch_add_explicit(&dev->n_reads, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&dev->n_read_bytes, len, memory_order_relaxed);
    rc = dev->type->read_at(dev, off, buf, len, err);
    return rc ? with_label(dev, rc, err) : 0;
}

/* A layer that breaks its promises must not turn into wrong bytes further up. */
static int check_extent(const struct blkdev *dev, uint64_t off, struct blk_extent *ext,
                        struct vd_err *err)
{
    uint64_t left = dev->size - off;

    if (ext->len == 0 || ext->len > left ||
        (ext->child && !vd_range_inside(ext->child_off, ext->len, ext->child->size)))
        return vd_fail(err, VD_ECORRUPT,
                       "the map at offset %" PRIu64 " is not consistent (%" PRIu64 " bytes)", off,
                       ext->len);
    return 0;
}

int blk_map(struct blkdev *dev, uint64_t off, uint64_t max_len, struct blk_extent *out,
            struct vd_err *err)
{
    struct blk_extent ext = {.status = BLK_DATA};
    int rc;

    if (off >= dev->size || max_len == 0) {
        rc = vd_fail(err, VD_ELIMIT, "offset %" PRIu64 " is past the end (%" PRIu64 ")", off,
                     dev->size);
        return with_label(dev, vd_at(err, rc, off), err);
    }
    ext.len = max_len = vd_min(max_len, dev->size - off);
    rc = dev->type->map ? dev->type->map(dev, off, max_len, &ext, err) : 0;
    if (rc == 0)
        rc = check_extent(dev, off, &ext, err);
    if (rc)
        return with_label(dev, rc, err);
    if (ext.len > max_len)
        ext.len = max_len;
    *out = ext;
    return 0;
}

void blk_describe(struct blkdev *dev, vd_fact_fn *fn, void *ctx)
{
    size_t i;

    if (dev->type->describe)
        dev->type->describe(dev, fn, ctx);
    for (i = 0; i < dev->n_children; i++)
        blk_describe(dev->children[i], fn, ctx);
}

int blk_check(struct blkdev *dev, const struct check *check, struct vd_err *err)
{
    int rc = dev->type->check ? dev->type->check(dev, check, err) : 0;
    size_t i;

    for (i = 0; i < dev->n_children && rc == 0; i++)
        rc = blk_check(dev->children[i], check, err);
    return rc;
}
