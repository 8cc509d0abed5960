/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who answers for which bytes.  The disk is gone through in windows; in each, the ranges that no newer
 * member has answered for are handed down the chain, so a member is asked only for what reaches it.
 * Children are mostly empty: the cost is the number of runs of all members, not runs times depth.
 * The rules are those of blk/overlay.c: past the end of a smaller parent there are zeros.  One thread.
 */
#include "image/contribution.h"

#include "base/cleanup.h"
#include "base/range.h"

#include <stdlib.h>
#include <time.h>

#define WINDOW ((uint64_t)4 << 30)

/* A child that answers for every second sector of a window has 2^22 open ranges: 64 MiB. */
#define MAX_OPEN ((size_t)1 << 22)

/* Runs between two looks at the clock: at most some milliseconds. */
#define RUNS_PER_LOOK 256

struct range {
    uint64_t off, len;
};

struct ranges {
    struct range *v;
    size_t n, cap;
};

struct walk {
    const struct chain *chain;
    struct contribution *of;
    struct ranges open, next; /* not answered yet; for the next member */
    uint64_t runs;
    unsigned max_ms;
    uint64_t end_ms; /* of the clock */
};

static uint64_t now_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static int add_range(struct ranges *r, uint64_t off, uint64_t len, struct vd_err *err)
{
    struct range *v;

    if (r->n && r->v[r->n - 1].off + r->v[r->n - 1].len == off) {
        r->v[r->n - 1].len += len;
        return 0;
    }
    if (r->n == r->cap) {
        size_t cap = r->cap ? 2 * r->cap : 64;

        if (cap > MAX_OPEN)
            return vd_fail(err, VD_ELIMIT, "more than %zu runs in 4 GiB", MAX_OPEN);
        v = realloc(r->v, cap * sizeof(*v));
        if (!v)
            return vd_fail(err, VD_ENOMEM, "out of memory");
        r->v = v;
        r->cap = cap;
    }
    r->v[r->n++] = (struct range){off, len};
    return 0;
}

/* The run at `off`.  A map that fails makes the next sector unreadable. */
static int next_run(struct walk *w, struct blkdev *dev, uint64_t off, uint64_t max_len,
                    struct blk_extent *ext, struct vd_err *err)
{
    struct vd_err why = VD_ERR_INIT;
    int rc;

    if (w->runs++ % RUNS_PER_LOOK == 0 && now_ms() >= w->end_ms)
        return vd_fail(err, VD_ELIMIT, "it takes more than %u ms", w->max_ms);
    rc = blk_map(dev, off, max_len, ext, &why);
    if (rc == -VD_ENOMEM) {
        if (err)
            *err = why;
        return rc;
    }
    if (rc)
        *ext = (struct blk_extent){.len = vd_min(max_len, 65536 - off % 65536),
                                   .status = BLK_UNREADABLE};
    return 0;
}

static int ask(struct walk *w, size_t member, uint64_t off, uint64_t len, struct vd_err *err)
{
    struct blkdev *dev = w->chain->v[member]->dev;
    struct contribution *c = &w->of[member];
    int rc = 0;

    while (len && rc == 0) {
        struct blk_extent ext;

        if (off >= dev->size) /* zeros that nobody stores; nothing below shows through */
            return 0;
        rc = next_run(w, dev, off, vd_min(len, dev->size - off), &ext, err);
        if (rc)
            return rc;
        if (ext.status == BLK_ABSENT)
            rc = add_range(&w->next, off, ext.len, err);
        else if (ext.status == BLK_ZEROS)
            c->zeros += ext.len;
        else if (ext.status == BLK_UNREADABLE)
            c->unreadable += ext.len;
        else
            c->data += ext.len;
        off += ext.len;
        len -= ext.len;
    }
    return rc;
}

static int window(struct walk *w, size_t point, uint64_t off, uint64_t len, struct vd_err *err)
{
    size_t i, k;
    int rc;

    w->open.n = 0;
    rc = add_range(&w->open, off, len, err);
    for (i = point; i < w->chain->n && w->open.n && rc == 0; i++) {
        struct ranges swap;

        w->next.n = 0;
        for (k = 0; k < w->open.n && rc == 0; k++)
            rc = ask(w, i, w->open.v[k].off, w->open.v[k].len, err);
        swap = w->open;
        w->open = w->next;
        w->next = swap;
    }
    return rc;
}

static int count_stored(struct walk *w, size_t member, struct vd_err *err)
{
    struct blkdev *dev = w->chain->v[member]->dev;
    uint64_t off = 0;
    int rc = 0;

    while (off < dev->size && rc == 0) {
        struct blk_extent ext = {0};

        rc = next_run(w, dev, off, dev->size - off, &ext, err);
        if (rc == 0 && (ext.status == BLK_DATA || ext.status == BLK_UNKNOWN))
            w->of[member].stored += ext.len;
        off += ext.len;
    }
    return rc;
}

int chain_contributions(const struct chain *chain, size_t point, unsigned max_ms,
                        struct contribution **out, struct vd_err *err)
{
    struct walk w = {.chain = chain,
                     .of = calloc(chain->n, sizeof(struct contribution)),
                     .max_ms = max_ms,
                     .end_ms = now_ms() + max_ms};
    uint64_t off, size = chain->v[point]->dev->size;
    size_t i;
    int rc = w.of ? 0 : vd_fail(err, VD_ENOMEM, "out of memory");

    for (i = point; i < chain->n && rc == 0; i++)
        rc = count_stored(&w, i, err);
    for (off = 0; off < size && rc == 0; off += vd_min(WINDOW, size - off))
        rc = window(&w, point, off, vd_min(WINDOW, size - off), err);
    free(w.open.v);
    free(w.next.v);
    if (rc)
        free(w.of);
    else
        *out = w.of;
    return rc;
}
