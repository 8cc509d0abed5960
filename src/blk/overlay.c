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

/* ---- reading: layer by layer ---- */

/*
 * A read is resolved for its whole range at once.  Each layer is asked for what the layers above it
 * left open, and answers in runs:
 *
 *     open parts   [--------------------------]      tip answers  ....DDDD..............
 *     open parts   [--]    [------------------]      next         ZZ..        DD......    and so on
 *
 * Asking position by position instead would ask all layers again for every run: 1,024 layers and 256
 * runs in a megabyte are a quarter of a million questions instead of little more than a thousand.
 */
struct part {
    size_t off, len; /* inside the request; ascending, disjoint */
};

/* Open parts of one request.  A request that falls into more is cut there and goes on after it. */
#define MAX_PARTS 512

/* Tables answer for whole sectors. */
#define SECTOR 512u

struct request {
    struct blkdev *dev;
    uint64_t off;
    uint8_t *buf;
    size_t len; /* shrinks to what stays open, or lies before the first bad byte */
    struct part part[2][MAX_PARTS];
    size_t n[2];
    unsigned now; /* which of the two lists is asked; the other is being filled */
    int rc;       /* of the first bad byte, which is at `len` */
    struct vd_err err;
};

/* The layer cannot give the byte at `at`: only what lies before it is of interest now. */
static void fail_at(struct request *q, size_t at, int rc, const struct vd_err *err)
{
    q->rc = rc;
    q->err = *err;
    if (!err->has_offset)
        (void)vd_at(&q->err, rc, q->off + at);
    q->len = at;
}

/* What is left of a list when the request ends at q->len. */
static void cut_parts(struct request *q, unsigned list)
{
    while (q->n[list]) {
        struct part *last = &q->part[list][q->n[list] - 1];

        if (last->off < q->len) {
            last->len = (size_t)vd_min(last->len, q->len - last->off);
            return;
        }
        q->n[list]--;
    }
}

/* Leaves a part to the next layer; joins neighbours. */
static void leave_open(struct request *q, size_t off, size_t len)
{
    unsigned next = !q->now;
    struct part *last = q->n[next] ? &q->part[next][q->n[next] - 1] : NULL;

    if (last && last->off + last->len == off) {
        last->len += len;
    } else if (q->n[next] < MAX_PARTS) {
        q->part[next][q->n[next]++] = (struct part){off, len};
    } else { /* the rest of the request is another one */
        q->len = off;
        q->rc = 0;
    }
}

/* The first byte that a failed read names, inside the request; `at` when it names none. */
static size_t bad_byte(const struct request *q, size_t at, size_t len, const struct vd_err *err)
{
    uint64_t first = q->off + at;

    return err->has_offset && err->offset >= first && err->offset - first < len
               ? at + (size_t)(err->offset - first)
               : at;
}

/* Takes what layer `i` says of the run at `at`; n of its bytes are wanted. */
static void take_run(struct request *q, struct blkdev *layer, const struct blk_extent *ext,
                     size_t at, size_t n)
{
    struct vd_err err = VD_ERR_INIT;
    int rc;

    if (ext->status == BLK_ZEROS) {
        memset(q->buf + at, 0, n);
        return;
    }
    rc = read_extent(layer, ext, q->off + at, q->buf + at, n, &err);
    if (rc)
        fail_at(q, bad_byte(q, at, n, &err), rc, &err);
}

/* The map of some of `len` bytes.  A table that cannot be read must not cost positions that another
 * part of it answers for: after a failure less and less is asked for. */
static int map_some(struct blkdev *layer, uint64_t off, uint64_t len, struct blk_extent *out,
                    struct vd_err *err)
{
    uint64_t least = SECTOR - off % SECTOR;
    int rc = blk_map(layer, off, len, out, err);

    while (rc && rc != -VD_ENOMEM && len > least) {
        len = len / 2 > least ? len / 2 : least;
        rc = blk_map(layer, off, len, out, err);
    }
    return rc;
}

/* Asks layer `i` for one open part.  The layer is asked about the whole rest of the request: up to
 * *io_absent it is known to have nothing, also for the parts that follow. */
static void ask_layer(struct request *q, size_t i, struct part part, size_t *io_absent)
{
    struct blkdev *layer = q->dev->children[i];
    size_t at = part.off, end = part.off + part.len;

    while (at < end && at < q->len) {
        struct vd_err err = VD_ERR_INIT;
        struct blk_extent ext;
        size_t n;
        int rc;

        if (at < *io_absent) {
            n = (size_t)vd_min(*io_absent, end) - at;
            leave_open(q, at, n);
            at += n;
            continue;
        }
        if (q->off + at >= layer->size) { /* past the end of a smaller parent */
            memset(q->buf + at, 0, end - at);
            return;
        }
        rc = map_some(layer, q->off + at, q->len - at, &ext, &err);
        if (rc) {
            fail_at(q, at, rc, &err);
            return;
        }
        if (ext.status == BLK_ABSENT) {
            *io_absent = at + (size_t)ext.len;
            continue;
        }
        n = (size_t)vd_min(ext.len, end - at);
        take_run(q, layer, &ext, at, n);
        at += n;
    }
}

/* Reads from the start of the request as far as it goes: q->len bytes, then q->rc if that is not
 * the end. */
static void resolve(struct request *q)
{
    size_t i, k;

    q->now = 0;
    q->n[0] = 1;
    q->part[0][0] = (struct part){0, q->len};
    for (i = 0; i < q->dev->n_children && q->n[q->now]; i++) {
        size_t absent = 0;

        q->n[!q->now] = 0;
        for (k = 0; k < q->n[q->now] && q->part[q->now][k].off < q->len; k++)
            ask_layer(q, i, q->part[q->now][k], &absent);
        q->now = !q->now;
        cut_parts(q, q->now);
    }
    for (k = 0; k < q->n[q->now]; k++) /* nobody has them */
        memset(q->buf + q->part[q->now][k].off, 0, q->part[q->now][k].len);
}

static int overlay_read_at(struct blkdev *dev, uint64_t off, void *buf, size_t len,
                           struct vd_err *err)
{
    struct request q; /* 17 KiB: set up by hand */
    uint8_t *p = buf;

    q.dev = dev;
    while (len) {
        q.off = off;
        q.buf = p;
        q.len = len;
        q.rc = 0;
        resolve(&q);
        if (q.rc) {
            if (err)
                *err = q.err;
            return q.rc;
        }
        p += q.len;
        off += q.len;
        len -= q.len;
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
