/* SPDX-License-Identifier: Apache-2.0 */
/* What both fuzz targets do with an image that opened: the map and the reads must agree with each
 * other at every run's borders, the check must find words for what it finds; anything else aborts. */
#ifndef VD_FUZZ_WALK_H
#define VD_FUZZ_WALK_H

#include "base/bytes.h"
#include "base/range.h"
#include "blk/blkdev.h"
#include "blk/evidence.h"
#include "image/image.h"

#include <stdlib.h>
#include <string.h>

#define WALK_RUNS  400
#define WALK_BYTES 2048

static void walk_check(struct blkdev *dev, uint64_t off, const struct blk_extent *ext)
{
    static uint8_t mine[WALK_BYTES], below[WALK_BYTES];
    size_t n = (size_t)vd_min(ext->len, WALK_BYTES);
    struct vd_err err = VD_ERR_INIT;
    int rc = blk_read(dev, off, mine, n, &err);

    if (ext->status == BLK_UNREADABLE && rc == 0)
        abort();
    if (rc && (!err.msg[0] || err.offset < off || err.offset >= off + n))
        abort();
    if ((ext->status == BLK_ZEROS || ext->status == BLK_ABSENT) && (rc || !vd_all_zero(mine, n)))
        abort();
    if (rc == 0 && ext->status == BLK_DATA && ext->child &&
        (blk_read(ext->child, ext->child_off, below, n, NULL) || memcmp(mine, below, n) != 0))
        abort();
}

static void walk(struct blkdev *dev)
{
    static uint8_t wide[3 * WALK_BYTES];
    uint64_t off = 0;
    unsigned i;

    for (i = 0; i < WALK_RUNS && off < dev->size; i++) {
        struct blk_extent ext, last;

        if (blk_map(dev, off, dev->size, &ext, NULL))
            break;
        walk_check(dev, off, &ext);
        if (blk_map(dev, off + ext.len - 1, 1, &last, NULL) || last.status != ext.status)
            abort();
        (void)blk_read(dev, off, wide, (size_t)vd_min(sizeof(wide), dev->size - off), NULL);
        off += ext.len;
    }
    if (dev->size && blk_map(dev, dev->size - 1, 1, &(struct blk_extent){0}, NULL) == 0)
        (void)blk_read(dev, dev->size - 1, wide, 1, NULL);
}

/* ---- everything that can be asked of an image ---- */

static void on_finding(void *ctx, enum check_level level, const char *id, const char *file,
                       const struct check_place *place, const char *text)
{
    (void)ctx;
    (void)level;
    (void)file;
    (void)place;
    if (!id[0] || !text[0])
        abort();
}

static void on_count(void *ctx, const char *file, const char *what, uint64_t n)
{
    (void)ctx;
    (void)file;
    (void)what;
    (void)n;
}

static void ask(const struct image *image)
{
    const struct check check = {on_finding, on_count, NULL};
    unsigned i;

    walk(image->dev);
    (void)blk_check(image->dev, &check, NULL);
    for (i = 0; i < image->n_parent_hints; i++)
        if (!blk_source_name_ok(image->parent_hint[i]))
            abort();
}

#endif
