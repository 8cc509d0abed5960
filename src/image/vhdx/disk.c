/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The disk of a VHDX, fixed, dynamic or differencing ([MS-VHDX] 2.4, 2.5): where each of its bytes
 * lies.  disk_locate() is the one mapping function; reading and map both use it.  bat.c says what an
 * entry means and which one is believed.  A differencing disk is a layer like any other: what is the
 * parent's is BLK_ABSENT, and the overlay asks.
 *
 * Nothing is cached: an entry serves at least 1 MiB and the page cache already holds the table (up to
 * 513 MiB) and the bitmaps.  Immutable after construction; no locks.
 */
#include "disk.h"

#include "base/range.h"
#include "image/located.h"
#include "image/named.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- the mapping function ---- */

/* Blocks from entry[0] on that lie in the file one after the other. */
static size_t linear_run(const struct vhdx_disk *disk, uint64_t block, const uint64_t *entry,
                         size_t n)
{
    size_t run = 1;

    while (run < n && entry[run] == entry[run - 1] + disk->block_size &&
           vhdx_block_check(disk, block + run, entry[run], NULL) == 0)
        run++;
    return run;
}

/* Blocks from entry[0] on that the same one answers for. */
static size_t equal_run(const struct vhdx_disk *disk, const uint64_t *entry, size_t n)
{
    enum vhdx_answer answer = vhdx_entry_answer(disk, entry[0]);
    size_t run = 1;

    while (run < n && vhdx_entry_answer(disk, entry[run]) == answer)
        run++;
    return run;
}

/* A run of stored bytes ends where the file does; what begins after that is unreadable. */
static void cut_at_end(const struct vhdx_disk *disk, uint64_t block, struct blk_extent *ext,
                       uint64_t block_left, struct vd_err *err)
{
    uint64_t end = disk->base->size;

    if (vd_range_inside(ext->child_off, ext->len, end))
        return;
    if (ext->child_off < end) {
        ext->len = end - ext->child_off;
        return;
    }
    (void)vd_fail(err, VD_ECORRUPT,
                  "block %" PRIu64 ": passes the end of the file (offset %" PRIu64
                  ", the file has %" PRIu64 " bytes)",
                  block, ext->child_off, end);
    *ext = (struct blk_extent){.status = BLK_UNREADABLE, .len = vd_min(ext->len, block_left)};
}

/* The run at byte `in_block` of a partially present block; at most `left` bytes. */
static void locate_partial(const struct vhdx_disk *disk, uint64_t block, uint64_t entry,
                           uint64_t in_block, uint64_t left, struct blk_extent *out,
                           struct vd_err *err)
{
    bool present = false;

    out->status = BLK_UNREADABLE;
    if (vhdx_bitmap_run(disk, block, in_block, left, &present, &out->len, err))
        return;
    out->status = present ? BLK_DATA : BLK_ABSENT;
    if (!present)
        return;
    out->child = disk->base;
    out->child_off = vhdx_entry_off(entry) + in_block;
    cut_at_end(disk, block, out, out->len, err);
}

/* The payload entries of block, block+1 …, as far as they can be read; *io_n (> 0) of them.  What
 * cannot be read behind the first one matters later. */
static int read_entries(const struct vhdx_disk *disk, uint64_t block, size_t *io_n, uint64_t *entry,
                        struct vd_err *err)
{
    int rc = vhdx_payload_read(disk, block, *io_n, entry, io_n, err);

    return rc && *io_n > 1 ? vhdx_payload_read(disk, block, 1, entry, io_n, err) : rc;
}

/* The run at `off`.  When it is unreadable the reason is in `err`; the result is always 0. */
static int disk_locate(const struct blkdev *dev, uint64_t off, uint64_t max_len,
                       struct blk_extent *out, struct vd_err *err)
{
    const struct vhdx_disk *disk = dev->priv;
    uint64_t block = off / disk->block_size, in_block = off % disk->block_size;
    uint64_t left = vd_min(max_len, dev->size - off), entry[VHDX_BAT_WINDOW];
    enum vhdx_answer answer;
    size_t n, run = 1;

    n = (size_t)vd_min(VHDX_BAT_WINDOW, vd_div_up(in_block + left, disk->block_size));
    *out = (struct blk_extent){.status = BLK_UNREADABLE,
                               .len = vd_min(left, disk->block_size - in_block)};
    if (read_entries(disk, block, &n, entry, err))
        return 0;
    answer = vhdx_entry_answer(disk, entry[0]);
    if (answer == VHDX_ANSWER_ZEROS || answer == VHDX_ANSWER_PARENT) {
        out->status = answer == VHDX_ANSWER_ZEROS ? BLK_ZEROS : BLK_ABSENT;
        run = equal_run(disk, entry, n);
    } else if (vhdx_block_check(disk, block, entry[0], err)) {
        return 0;
    } else if (answer == VHDX_ANSWER_BITMAP) {
        locate_partial(disk, block, entry[0], in_block, left, out, err);
        return 0;
    } else {
        out->status = BLK_DATA;
        out->child = disk->base;
        out->child_off = vhdx_entry_off(entry[0]) + in_block;
        run = linear_run(disk, block, entry, n);
    }
    out->len = vd_min(left, (uint64_t)run * disk->block_size - in_block);
    if (out->status == BLK_DATA)
        cut_at_end(disk, block, out, disk->block_size - in_block, err);
    return 0;
}

/* ---- the layer ---- */

/* Looks through a replayed view, so that whoever reads the run goes to the evidence directly. */
static int look_through(struct blk_extent *ext, struct vd_err *err)
{
    struct blk_extent below;
    int rc = blk_map(ext->child, ext->child_off, ext->len, &below, err);

    if (rc)
        return rc;
    if (below.status == BLK_DATA && below.child)
        *ext = below;
    else if (below.status == BLK_ZEROS)
        *ext = (struct blk_extent){.len = below.len, .status = BLK_ZEROS};
    else
        ext->len = below.len;
    return 0;
}

static int disk_map(struct blkdev *dev, uint64_t off, uint64_t max_len, struct blk_extent *out,
                    struct vd_err *err)
{
    const struct vhdx_disk *disk = dev->priv;
    struct vd_err reason = VD_ERR_INIT; /* why a run is unreadable: only a read tells */
    int rc = disk_locate(dev, off, max_len, out, &reason);

    if (rc == 0 && out->status == BLK_DATA && out->child->n_children)
        rc = look_through(out, &reason);
    if (rc && err)
        *err = reason;
    return vd_at(err, image_named(err, rc, disk->name), off);
}

static int disk_read_at(struct blkdev *dev, uint64_t off, void *buf, size_t len, struct vd_err *err)
{
    const struct vhdx_disk *disk = dev->priv;

    return image_read_located(dev, disk_locate, disk->name, off, buf, len, err);
}

static void disk_free(struct vhdx_disk *disk)
{
    vhdx_claims_clear(&disk->claims);
    free(disk->name);
    free(disk);
}

static void disk_close(struct blkdev *dev)
{
    disk_free(dev->priv);
}

static const struct blk_type disk_type = {
    .name = "vhdx",
    .read_at = disk_read_at,
    .map = disk_map,
    .check = vhdx_check,
    .close = disk_close,
};

/* ---- construction ---- */

static struct vhdx_disk *disk_alloc(struct blkdev *base, const struct vhdx_layout *layout,
                                    const char *name)
{
    const struct vhdx_metadata *metadata = &layout->metadata;
    struct vhdx_disk *disk = calloc(1, sizeof(*disk));

    if (!disk)
        return NULL;
    disk->base = base;
    disk->layout = *layout;
    disk->taken[0] = layout->log;
    disk->taken[1] = layout->regions.metadata;
    disk->taken[2] = layout->regions.bat;
    disk->bat_off = layout->regions.bat.off;
    disk->n_entries = layout->regions.bat.len / 8;
    disk->block_size = metadata->block_size;
    disk->sector_size = metadata->logical_sector;
    disk->has_parent = metadata->has_parent;
    disk->n_blocks = vd_div_up(metadata->disk_size, metadata->block_size);
    disk->chunk_ratio =
        (uint32_t)((UINT64_C(1) << 23) * metadata->logical_sector / metadata->block_size);
    disk->name = strdup(name);
    if (disk->name)
        return disk;
    free(disk);
    return NULL;
}

/* 2.5: the BAT must hold an entry for every payload block and for the bitmaps between them.  In a
 * differencing file also one for the last bitmap, which matters only when a block needs it. */
static int check_table(const struct vhdx_disk *disk, struct vd_err *err)
{
    uint64_t need = vhdx_payload_index(disk, disk->n_blocks - 1) + 1;

    if (need > disk->n_entries)
        return vd_fail(err, VD_ECORRUPT,
                       "BAT: the disk needs %" PRIu64 " entries, the region holds %" PRIu64, need,
                       disk->n_entries);
    return 0;
}

int vhdx_disk_new(struct blkdev *base, const struct vhdx_layout *layout, struct blk_share *share,
                  const char *name, struct blkdev **out, struct vd_facts *facts, struct vd_err *err)
{
    struct vhdx_disk *disk = disk_alloc(base, layout, name);
    struct blkdev *dev = NULL;
    int rc;

    if (!disk)
        return vd_fail(err, VD_ENOMEM, "%s: out of memory", name);
    rc = check_table(disk, err);
    if (rc == 0)
        rc = vhdx_scan(disk, share, facts, err);
    if (rc == 0)
        rc = blk_new(&disk_type, layout->metadata.disk_size, "", disk, &dev, err);
    if (rc) {
        disk_free(disk);
        return rc;
    }
    rc = blk_add_child(dev, blk_ref(base), err);
    if (rc) {
        blk_unref(base);
        blk_unref(dev);
        return rc;
    }
    dev->sector_size = layout->metadata.logical_sector;
    dev->read_unit = layout->metadata.block_size;
    *out = dev;
    return 0;
}
