/* SPDX-License-Identifier: Apache-2.0 */
/* Parts one after the other: split raw files, the extents of a VMDK descriptor.  A part may be a
 * hole that reads as zeros (ZERO extent) or cannot be read (NOACCESS extent, missing tail of a
 * file that is shorter than declared).  Immutable; no locks. */
#include "blk/layers.h"

#include "base/cleanup.h"
#include "base/limits.h"
#include "base/range.h"

#include <inttypes.h>
#include <string.h>

struct concat_part {
    struct blk_part part;
    uint64_t start; /* on the concatenation */
};

struct concat {
    size_t n;
    struct concat_part v[];
};

/* The part that holds `off` (which is inside the device). */
static const struct concat_part *part_at(const struct concat *c, uint64_t off)
{
    size_t low = 0, high = c->n;

    while (high - low > 1) {
        size_t mid = low + (high - low) / 2;

        if (c->v[mid].start <= off)
            low = mid;
        else
            high = mid;
    }
    return &c->v[low];
}

/* Bytes of the part, from `in` on, that the device behind it really has. */
static uint64_t backed(const struct blk_part *part, uint64_t in)
{
    uint64_t end = part->dev->size > part->dev_off ? part->dev->size - part->dev_off : 0;

    return in < end ? end - in : 0;
}

static int unreadable(const struct blk_part *part, uint64_t off, struct vd_err *err)
{
    if (part->dev)
        return vd_at(err,
                     vd_fail(err, VD_EIO,
                             "%s%sthe file is shorter than declared: nothing is known about offset "
                             "%" PRIu64,
                             part->label, part->label[0] ? ": " : "", off),
                     off);
    return vd_at(err,
                 vd_fail(err, VD_EIO, "%s%sdeclared as not accessible", part->label,
                         part->label[0] ? ": " : ""),
                 off);
}

static int read_part(const struct concat_part *p, uint64_t off, void *buf, size_t len,
                     struct vd_err *err)
{
    uint64_t in = off - p->start;
    int rc;

    if (!p->part.dev && p->part.hole == BLK_ZEROS) {
        memset(buf, 0, len);
        return 0;
    }
    if (!p->part.dev || backed(&p->part, in) == 0)
        return unreadable(&p->part, off, err);
    if (backed(&p->part, in) < len)
        return unreadable(&p->part, off + backed(&p->part, in), err);
    rc = blk_read(p->part.dev, p->part.dev_off + in, buf, len, err);
    if (rc && err && err->has_offset && err->offset >= p->part.dev_off)
        err->offset = err->offset - p->part.dev_off + p->start;
    return rc && p->part.label[0] ? vd_prefix(err, rc, "%s", p->part.label) : rc;
}

static int concat_read_at(struct blkdev *dev, uint64_t off, void *buf, size_t len,
                          struct vd_err *err)
{
    const struct concat *c = dev->priv;
    uint8_t *p = buf;

    while (len) {
        const struct concat_part *part = part_at(c, off);
        size_t n = (size_t)vd_min(len, part->start + part->part.size - off);
        int rc = read_part(part, off, p, n, err);

        if (rc)
            return rc;
        p += n;
        off += n;
        len -= n;
    }
    return 0;
}

static int concat_map(struct blkdev *dev, uint64_t off, uint64_t max_len, struct blk_extent *out,
                      struct vd_err *err)
{
    const struct concat_part *p = part_at(dev->priv, off);
    uint64_t in = off - p->start, len = vd_min(max_len, p->part.size - in);
    struct blk_extent below;
    int rc;

    out->len = len;
    out->child = NULL;
    if (!p->part.dev || backed(&p->part, in) == 0) {
        out->status = p->part.dev ? BLK_UNREADABLE : p->part.hole;
        return 0;
    }
    rc = blk_map(p->part.dev, p->part.dev_off + in, vd_min(len, backed(&p->part, in)), &below, err);
    if (rc)
        return p->part.label[0] ? vd_prefix(err, rc, "%s", p->part.label) : rc;
    *out = below;
    if (below.status == BLK_DATA && !below.child) {
        out->child = p->part.dev;
        out->child_off = p->part.dev_off + in;
    }
    return 0;
}

static void concat_close(struct blkdev *dev)
{
    free(dev->priv);
}

static const struct blk_type concat_type = {
    .name = "concat",
    .read_at = concat_read_at,
    .map = concat_map,
    .close = concat_close,
};

static int copy_parts(struct concat *c, const struct blk_part *parts, size_t n, uint64_t *out_size,
                      struct vd_err *err)
{
    uint64_t size = 0;
    size_t i;

    for (i = 0; i < n; i++) {
        c->v[i].part = parts[i];
        c->v[i].start = size;
        if (parts[i].size == 0 || !vd_add(size, parts[i].size, &size) || size > VD_MAX_SIZE)
            return vd_fail(err, VD_ELIMIT, "part %zu: a size of %" PRIu64 " bytes is not possible",
                           i, parts[i].size);
    }
    *out_size = size;
    return 0;
}

int blk_concat_new(const struct blk_part *parts, size_t n_parts, const char *label,
                   struct blkdev **out, struct vd_err *err)
{
    VD_AUTO(free) struct concat *c = NULL;
    struct blkdev *dev = NULL;
    uint64_t size = 0;
    size_t i;
    int rc;

    if (n_parts == 0 || n_parts > VD_MAX_EXTENTS)
        return vd_fail(err, VD_ELIMIT, "%s: %zu parts (1 to %d are possible)", label, n_parts,
                       VD_MAX_EXTENTS);
    c = calloc(1, sizeof(*c) + n_parts * sizeof(c->v[0]));
    if (!c)
        return vd_fail(err, VD_ENOMEM, "%s: out of memory", label);
    c->n = n_parts;
    rc = copy_parts(c, parts, n_parts, &size, err);
    if (rc == 0)
        rc = blk_new(&concat_type, size, label, c, &dev, err);
    if (rc)
        return rc;
    (void)vd_take(&c);
    for (i = 0; i < n_parts && rc == 0; i++)
        if (parts[i].dev)
            rc = blk_add_child(dev, parts[i].dev, err);
    if (rc) { /* the references stay with the caller */
        dev->n_children = 0;
        blk_unref(dev);
        return rc;
    }
    *out = dev;
    return 0;
}
