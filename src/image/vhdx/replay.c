/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VHDX file as it is after its log was replayed ([MS-VHDX] 2.3.3), without writing to it: the
 * log's writes lie in memory over the evidence.  The file grows with the writes and to the head
 * entry's LastFileOffset; what nobody wrote there is zeros.
 *
 * Later writes win.  They are folded once into sorted segments that do not overlap, by a sweep over
 * the starts with a heap of the writes that are open, newest on top: n log n.  Immutable after
 * construction; no locks.
 */
#include "vhdx.h"

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/range.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct segment {
    uint64_t off, len;
    uint8_t *data; /* NULL: zeros.  Owned, 4 KiB; a data segment is one whole write */
};

struct replay {
    struct blkdev *file; /* = dev->children[0] */
    struct segment *v;   /* owned, sorted, apart from each other */
    size_t n;
};

/* ---- folding ---- */

struct order {
    uint64_t off;
    uint32_t patch; /* index: the higher one was written later */
};

static int compare_order(const void *a, const void *b)
{
    const struct order *x = a, *y = b;

    return x->off < y->off ? -1 : x->off > y->off;
}

/* Heap of patch indices, the highest on top. */
static void heap_push(uint32_t *heap, size_t *n, uint32_t patch)
{
    size_t i = (*n)++;

    while (i && heap[(i - 1) / 2] < patch) {
        heap[i] = heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    heap[i] = patch;
}

static void heap_pop(uint32_t *heap, size_t *n)
{
    uint32_t last = heap[--*n];
    size_t i = 0, child;

    while ((child = 2 * i + 1) < *n) {
        if (child + 1 < *n && heap[child + 1] > heap[child])
            child++;
        if (heap[child] <= last)
            break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = last;
}

/* One piece of the sweep: bytes [off, off+len) are those of `patch`. */
struct piece {
    uint64_t off, len;
    uint32_t patch;
};

static void emit(struct piece *v, size_t *n, uint64_t off, uint64_t len, uint32_t patch)
{
    struct piece *last = *n ? &v[*n - 1] : NULL;

    if (last && last->patch == patch && last->off + last->len == off)
        last->len += len;
    else
        v[(*n)++] = (struct piece){off, len, patch};
}

/* `order` is sorted; `heap` has room for all, `out` for twice as many.  Returns the pieces. */
static size_t sweep(const struct vhdx_log *log, const struct order *order, uint32_t *heap,
                    struct piece *out)
{
    size_t next = 0, open = 0, n = 0;
    uint64_t pos = 0, end;

    while (next < log->n || open) {
        if (open == 0)
            pos = order[next].off;
        for (; next < log->n && order[next].off <= pos; next++)
            heap_push(heap, &open, order[next].patch);
        end = log->v[heap[0]].off + log->v[heap[0]].len;
        if (end <= pos) {
            heap_pop(heap, &open);
            continue;
        }
        if (next < log->n && order[next].off < end)
            end = order[next].off;
        emit(out, &n, pos, end - pos, heap[0]);
        pos = end;
    }
    return n;
}

/* The 4 KiB that a data write stands for: the log keeps its first 8 and last 4 bytes apart. */
static uint8_t *assemble(const struct vhdx_patch *patch, const uint8_t *log_bytes)
{
    const uint8_t *sector = log_bytes + (uint64_t)patch->sector * VHDX_LOG_SECTOR;
    uint8_t *data = malloc(VHDX_LOG_SECTOR);

    if (!data)
        return NULL;
    memcpy(data, patch->lead, 8);
    memcpy(data + 8, sector + 8, VHDX_LOG_SECTOR - 12);
    memcpy(data + VHDX_LOG_SECTOR - 4, patch->trail, 4);
    return data;
}

/* Takes what the segments need in memory from *io_left. */
static int spend(const struct vhdx_log *log, const struct piece *pieces, size_t n,
                 uint64_t *io_left, struct vd_err *err)
{
    uint64_t need = n * (uint64_t)sizeof(struct segment);
    size_t i;

    for (i = 0; i < n; i++)
        if (log->v[pieces[i].patch].sector != VHDX_PATCH_ZERO)
            need += VHDX_LOG_SECTOR;
    if (need > *io_left)
        return vd_fail(err, VD_ELIMIT,
                       "log: %" PRIu64 " bytes to be kept in memory; together with the logs of the "
                       "chain's other members that is over the limit of %u",
                       need, VD_CHAIN_LOG_BYTES);
    *io_left -= need;
    return 0;
}

static int make_segments(struct replay *replay, const struct vhdx_log *log,
                         const struct piece *pieces, size_t n, const uint8_t *log_bytes,
                         struct vd_err *err)
{
    size_t i;

    replay->v = calloc(n ? n : 1, sizeof(*replay->v));
    if (!replay->v)
        return vd_fail(err, VD_ENOMEM, "log: out of memory");
    for (i = 0; i < n; i++) {
        const struct vhdx_patch *patch = &log->v[pieces[i].patch];
        struct segment *segment = &replay->v[replay->n++];

        segment->off = pieces[i].off;
        segment->len = pieces[i].len;
        if (patch->sector == VHDX_PATCH_ZERO)
            continue;
        segment->data = assemble(patch, log_bytes);
        if (!segment->data)
            return vd_fail(err, VD_ENOMEM, "log: out of memory");
    }
    return 0;
}

static int fold(struct replay *replay, const struct vhdx_log *log, const uint8_t *log_bytes,
                uint64_t *io_left, struct vd_err *err)
{
    VD_AUTO(free) struct order *order = calloc(log->n + 1, sizeof(*order));
    VD_AUTO(free) uint32_t *heap = calloc(log->n + 1, sizeof(*heap));
    VD_AUTO(free) struct piece *pieces = calloc(2 * log->n + 1, sizeof(*pieces));
    size_t i, n;
    int rc;

    if (!order || !heap || !pieces)
        return vd_fail(err, VD_ENOMEM, "log: out of memory");
    for (i = 0; i < log->n; i++)
        order[i] = (struct order){log->v[i].off, (uint32_t)i};
    qsort(order, log->n, sizeof(*order), compare_order);
    n = sweep(log, order, heap, pieces);
    rc = io_left ? spend(log, pieces, n, io_left, err) : 0;
    return rc ? rc : make_segments(replay, log, pieces, n, log_bytes, err);
}

/* ---- the layer ---- */

/* The first segment that ends after `off`; replay->n if there is none. */
static size_t find_segment(const struct replay *replay, uint64_t off)
{
    size_t lo = 0, hi = replay->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (replay->v[mid].off + replay->v[mid].len <= off)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* The run at `off`; *out_data = its bytes when they are in memory. */
static void locate(const struct blkdev *dev, uint64_t off, uint64_t max_len, struct blk_extent *out,
                   const uint8_t **out_data)
{
    const struct replay *replay = dev->priv;
    size_t i = find_segment(replay, off);
    uint64_t end = dev->size;

    *out_data = NULL;
    *out = (struct blk_extent){.status = BLK_ZEROS};
    if (i < replay->n && replay->v[i].off <= off) {
        end = replay->v[i].off + replay->v[i].len;
        if (replay->v[i].data) {
            out->status = BLK_DATA;
            *out_data = replay->v[i].data + (off - replay->v[i].off);
        }
    } else {
        if (i < replay->n)
            end = replay->v[i].off;
        if (off < replay->file->size) {
            end = vd_min(end, replay->file->size);
            out->status = BLK_DATA;
            out->child = replay->file;
            out->child_off = off;
        }
    }
    out->len = vd_min(max_len, end - off);
}

static int replay_read_at(struct blkdev *dev, uint64_t off, void *buf, size_t len,
                          struct vd_err *err)
{
    uint8_t *p = buf;

    while (len) {
        const uint8_t *data;
        struct blk_extent ext;
        size_t n;
        int rc = 0;

        locate(dev, off, len, &ext, &data);
        n = (size_t)ext.len;
        if (data)
            memcpy(p, data, n);
        else if (ext.child)
            rc = blk_read(ext.child, ext.child_off, p, n, err); /* same offsets as ours */
        else
            memset(p, 0, n);
        if (rc)
            return rc;
        p += n;
        off += n;
        len -= n;
    }
    return 0;
}

static int replay_map(struct blkdev *dev, uint64_t off, uint64_t max_len, struct blk_extent *out,
                      struct vd_err *err)
{
    const uint8_t *data;

    (void)err;
    locate(dev, off, max_len, out, &data);
    return 0;
}

static void replay_free(struct replay *replay)
{
    size_t i;

    for (i = 0; i < replay->n; i++)
        free(replay->v[i].data);
    free(replay->v);
    free(replay);
}

static void replay_close(struct blkdev *dev)
{
    replay_free(dev->priv);
}

static const struct blk_type replay_type = {
    .name = "vhdx-replay",
    .read_at = replay_read_at,
    .map = replay_map,
    .close = replay_close,
};

/* Size of the file after the replay. */
static int replayed_size(const struct blkdev *file, const struct vhdx_log *log, uint64_t *out,
                         struct vd_err *err)
{
    uint64_t size = file->size > log->last_size ? file->size : log->last_size, end;
    size_t i;

    for (i = 0; i < log->n; i++) {
        if (!vd_add(log->v[i].off, log->v[i].len, &end) || end > VD_MAX_SIZE)
            return vd_fail(err, VD_ECORRUPT,
                           "log: a write of %" PRIu64 " bytes at offset %" PRIu64
                           " is not possible",
                           log->v[i].len, log->v[i].off);
        if (end > size)
            size = end;
    }
    if (size > VD_MAX_SIZE)
        return vd_fail(err, VD_ECORRUPT, "log: a file of %" PRIu64 " bytes is not possible", size);
    *out = size;
    return 0;
}

int vhdx_replay_new(struct blkdev *file, const struct vhdx_log *log, const uint8_t *log_bytes,
                    uint64_t *io_left, struct blkdev **out, struct vd_err *err)
{
    struct blkdev *dev = NULL;
    struct replay *replay;
    uint64_t size = 0;
    int rc = replayed_size(file, log, &size, err);

    if (rc)
        return rc;
    replay = calloc(1, sizeof(*replay));
    if (!replay)
        return vd_fail(err, VD_ENOMEM, "log: out of memory");
    replay->file = file;
    rc = fold(replay, log, log_bytes, io_left, err);
    if (rc == 0)
        rc = blk_new(&replay_type, size, "", replay, &dev, err);
    if (rc) {
        replay_free(replay);
        return rc;
    }
    rc = blk_add_child(dev, blk_ref(file), err);
    if (rc) {
        blk_unref(file);
        blk_unref(dev);
        return rc;
    }
    *out = dev;
    return 0;
}
