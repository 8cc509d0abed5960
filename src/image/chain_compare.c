/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Are two files that claim one identity the same member?  Compared is what a reader can get: the
 * parent they ask for, where they answer and where they leave it to a parent, and every byte that
 * they hold.  Names, descriptors and layout in the file may differ.  Bounded: what would cost more
 * than the caller allows is not compared, and then the files count as different.  No state.
 */
#include "base/cleanup.h"
#include "base/range.h"
#include "image/chain_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIECE (UINT64_C(1) << 20)

/* What a run costs beside its bytes. */
#define RUN_COST 256u

struct comparing {
    struct blkdev *dev[2];
    uint8_t *buf[2];
    uint64_t *left;
    char *why;
    size_t why_size;
};

static int differ(struct comparing *c, const char *what, uint64_t off)
{
    (void)snprintf(c->why, c->why_size, "%s at byte %" PRIu64 " of the disk", what, off);
    return 1;
}

static int spend(struct comparing *c, uint64_t cost)
{
    if (cost <= *c->left) {
        *c->left -= cost;
        return 0;
    }
    (void)snprintf(c->why, c->why_size, "they are too large to compare here");
    return 1;
}

static int compare_bytes(struct comparing *c, uint64_t off, size_t len)
{
    struct vd_err err = VD_ERR_INIT;
    size_t same = 0;
    unsigned i;

    for (i = 0; i < 2; i++)
        if (blk_read(c->dev[i], off, c->buf[i], len, &err)) {
            (void)snprintf(c->why, c->why_size, "%s", err.msg);
            return 1;
        }
    if (memcmp(c->buf[0], c->buf[1], len) == 0)
        return 0;
    while (c->buf[0][same] == c->buf[1][same])
        same++;
    return differ(c, "contents differ", off + same);
}

/* One run of both; *out_len moves on.  0, or positive with the reason. */
static int compare_run(struct comparing *c, uint64_t off, uint64_t *out_len)
{
    struct vd_err err = VD_ERR_INIT;
    struct blk_extent ext[2];
    uint64_t len = c->dev[0]->size - off;
    unsigned i;

    for (i = 0; i < 2; i++) {
        if (blk_map(c->dev[i], off, len, &ext[i], &err)) {
            (void)snprintf(c->why, c->why_size, "%s", err.msg);
            return 1;
        }
        len = ext[i].len;
    }
    *out_len = len;
    if (spend(c, RUN_COST))
        return 1;
    if ((ext[0].status == BLK_ABSENT) != (ext[1].status == BLK_ABSENT))
        return differ(c, "one leaves to its parent what the other has", off);
    if (ext[0].status == BLK_ABSENT || (ext[0].status == BLK_ZEROS && ext[1].status == BLK_ZEROS))
        return 0;
    *out_len = vd_min(len, PIECE);
    return spend(c, *out_len) ? 1 : compare_bytes(c, off, (size_t)*out_len);
}

static bool same_parent(const struct image *a, const struct image *b)
{
    return a->has_parent == b->has_parent &&
           strcmp(a->parent_identity[0], b->parent_identity[0]) == 0 &&
           strcmp(a->parent_identity[1], b->parent_identity[1]) == 0;
}

int chain_compare(const struct image *a, const struct image *b, uint64_t *io_left, bool *out_same,
                  char *why, size_t why_size, struct vd_err *err)
{
    VD_AUTO(free) uint8_t *buf = NULL;
    struct comparing c = {
        .dev = {a->dev, b->dev},
        .left = io_left,
        .why = why,
        .why_size = why_size,
    };
    uint64_t off, len = 0;

    *out_same = false;
    if (a->dev->size != b->dev->size || a->dev->sector_size != b->dev->sector_size) {
        (void)snprintf(why, why_size, "their disks have other sizes");
        return 0;
    }
    if (!same_parent(a, b)) {
        (void)snprintf(why, why_size, "they ask for other parents");
        return 0;
    }
    buf = malloc(2 * PIECE);
    if (!buf)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    c.buf[0] = buf;
    c.buf[1] = buf + PIECE;
    for (off = 0; off < a->dev->size; off += len)
        if (compare_run(&c, off, &len))
            return 0;
    *out_same = true;
    return 0;
}
