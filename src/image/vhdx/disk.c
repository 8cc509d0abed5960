/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The disk of a fixed or dynamic VHDX: the block allocation table ([MS-VHDX] 2.5).
 *
 *     payload 0 … payload r-1, bitmap 0, payload r … payload 2r-1, bitmap 1 …    r = chunk ratio
 *
 * The bitmap entries are there in every kind of file, used or not.  disk_locate() is the one
 * mapping function; reading and map both use it.  Nothing is cached: an entry serves at least 1 MiB
 * and the page cache already holds the table, so the table (up to 513 MiB) costs no memory here.
 *
 * States of a payload entry in a file without a parent: NOT_PRESENT, UNDEFINED and UNMAPPED leave
 * the answer to the implementation, which "can" give zeros; ZERO must be zeros.  All four are zeros
 * here, as with Windows and qemu, and undefined blocks are reported.  PARTIALLY_PRESENT and the
 * reserved states are not allowed, so nobody knows these bytes: unreadable.  The same holds for
 * blocks outside the file, over another structure or over another block.
 *
 * Immutable after construction; no locks.
 */
#include "vhdx.h"

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/range.h"
#include "image/located.h"
#include "image/named.h"
#include "image/overlap.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Entries that one look-up reads, so that neighbours become one run: 4 KiB. */
#define WINDOW 512

/* Entries that opening looks at: 2^22 of 8 bytes, the table of 64 TiB in 16 MiB blocks. */
#define SCAN_MAX (UINT64_C(1) << 22)

enum state {
    NOT_PRESENT = 0,
    UNDEFINED = 1,
    ZERO = 2,
    UNMAPPED = 3,
    FULLY_PRESENT = 6,
    PARTIALLY_PRESENT = 7
};

struct vhdx_disk {
    struct blkdev *base;         /* = dev->children[0]: the file, or its replayed view */
    struct vhdx_region taken[3]; /* log, metadata, BAT: payload must not lie there */
    uint64_t bat_off;
    uint64_t n_blocks; /* payload blocks */
    uint32_t block_size, chunk_ratio;
    struct overlap overlap;
    char *name; /* of the file, for messages; owned */
};

/* ---- one block ---- */

static enum state entry_state(uint64_t entry)
{
    return (enum state)(entry & 7);
}

static uint64_t entry_off(uint64_t entry)
{
    return entry & ~(VHDX_MIB - 1);
}

/* Where the entry of a payload block stands: one bitmap entry follows every chunk. */
static uint64_t entry_index(const struct vhdx_disk *disk, uint64_t block)
{
    return block + block / disk->chunk_ratio;
}

/* Payload entries of block, block+1 …, at most n; all of one chunk, so that they are neighbours.
 * Returns how many. */
static int read_entries(const struct vhdx_disk *disk, uint64_t block, size_t n, uint64_t *out,
                        size_t *out_n, struct vd_err *err)
{
    uint8_t raw[WINDOW * 8];
    size_t i;
    int rc;

    n = (size_t)vd_min(vd_min(n, WINDOW), disk->chunk_ratio - block % disk->chunk_ratio);
    n = (size_t)vd_min(n, disk->n_blocks - block);
    rc = blk_read(disk->base, disk->bat_off + entry_index(disk, block) * 8, raw, n * 8, err);
    if (rc)
        return vd_prefix(err, rc, "BAT entry %" PRIu64, entry_index(disk, block));
    for (i = 0; i < n; i++)
        out[i] = vd_le64(raw + 8 * i);
    *out_n = n;
    return 0;
}

static bool reads_as_zeros(uint64_t entry)
{
    switch (entry_state(entry)) {
    case NOT_PRESENT:
    case UNDEFINED:
    case ZERO:
    case UNMAPPED:
        return true;
    case FULLY_PRESENT:
    case PARTIALLY_PRESENT:
        break;
    }
    return false;
}

/* Can the block of an entry that is not zeros be used?  If not: VD_ECORRUPT with the reason. */
static int check_block(const struct vhdx_disk *disk, uint64_t block, uint64_t entry,
                       struct vd_err *err)
{
    uint64_t off = entry_off(entry);
    size_t i;

    if (entry_state(entry) == PARTIALLY_PRESENT)
        return vd_fail(err, VD_ECORRUPT,
                       "block %" PRIu64 ": is partially present in a file that has no parent",
                       block);
    if (entry_state(entry) != FULLY_PRESENT || (entry & (VHDX_MIB - 1) & ~UINT64_C(7)))
        return vd_fail(err, VD_ECORRUPT,
                       "block %" PRIu64 ": the BAT entry 0x%016" PRIx64 " is not valid", block,
                       entry);
    if (off >= disk->base->size)
        return vd_fail(err, VD_ECORRUPT,
                       "block %" PRIu64 ": lies past the end of the file (offset %" PRIu64
                       ", the file has %" PRIu64 " bytes)",
                       block, off, disk->base->size);
    if (off < VHDX_MIB)
        return vd_fail(err, VD_ECORRUPT, "block %" PRIu64 ": lies over the header section", block);
    for (i = 0; i < 3; i++)
        if (vd_range_overlap(off, disk->block_size, disk->taken[i].off, disk->taken[i].len))
            return vd_fail(err, VD_ECORRUPT,
                           "block %" PRIu64 ": lies over the log, the metadata or the BAT (offset "
                           "%" PRIu64 ")",
                           block, off);
    if (overlap_hit(&disk->overlap, off))
        return vd_fail(err, VD_ECORRUPT,
                       "block %" PRIu64 ": shares bytes of the file with another block (offset "
                       "%" PRIu64 ")",
                       block, off);
    return 0;
}

/* Blocks from entry[0] on that lie in the file one after the other. */
static size_t linear_run(const struct vhdx_disk *disk, uint64_t block, const uint64_t *entry,
                         size_t n)
{
    size_t run = 1;

    while (run < n && entry[run] == entry[run - 1] + disk->block_size &&
           check_block(disk, block + run, entry[run], NULL) == 0)
        run++;
    return run;
}

/* The run at `off`.  When it is unreadable the reason is in `err` and the result is 0; an error
 * result means that the BAT cannot be read there. */
static int disk_locate(const struct blkdev *dev, uint64_t off, uint64_t max_len,
                       struct blk_extent *out, struct vd_err *err)
{
    const struct vhdx_disk *disk = dev->priv;
    uint64_t block = off / disk->block_size, in_block = off % disk->block_size, end;
    uint64_t left = vd_min(max_len, dev->size - off), entry[WINDOW];
    size_t n, run = 0;
    int rc;

    n = (size_t)vd_min(WINDOW, vd_div_up(in_block + left, disk->block_size));
    rc = read_entries(disk, block, n, entry, &n, err);
    if (rc)
        return rc;
    *out = (struct blk_extent){.status = BLK_ZEROS};
    while (run < n && reads_as_zeros(entry[run]))
        run++;
    if (run == 0 && check_block(disk, block, entry[0], err)) {
        out->status = BLK_UNREADABLE;
        run = 1;
    } else if (run == 0) {
        out->status = BLK_DATA;
        out->child = disk->base;
        out->child_off = entry_off(entry[0]) + in_block;
        run = linear_run(disk, block, entry, n);
    }
    out->len = vd_min(left, (uint64_t)run * disk->block_size - in_block);
    if (out->status != BLK_DATA || vd_range_inside(out->child_off, out->len, disk->base->size))
        return 0;
    end = disk->base->size; /* the file ends inside the run */
    if (out->child_off < end) {
        out->len = end - out->child_off;
        return 0;
    }
    out->status = BLK_UNREADABLE;
    out->child = NULL;
    out->len = vd_min(left, disk->block_size - in_block);
    (void)vd_fail(err, VD_ECORRUPT,
                  "block %" PRIu64 ": passes the end of the file (offset %" PRIu64
                  ", the file has %" PRIu64 " bytes)",
                  block, out->child_off, end);
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
    overlap_clear(&disk->overlap);
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
    .close = disk_close,
};

/* ---- what opening looks at ---- */

struct scan {
    uint64_t n[8]; /* blocks by state */
    uint64_t bad, first_bad;
    uint64_t bitmaps; /* bitmap entries that are in use */
    bool incomplete;
};

static void scan_entry(struct vhdx_disk *disk, uint64_t block, uint64_t entry, struct scan *scan)
{
    scan->n[entry_state(entry)]++;
    if (reads_as_zeros(entry))
        return;
    if (check_block(disk, block, entry, NULL) ||
        !vd_range_inside(entry_off(entry), disk->block_size, disk->base->size)) {
        if (scan->bad++ == 0)
            scan->first_bad = block;
    }
    if (entry_state(entry) == FULLY_PRESENT && overlap_add(&disk->overlap, entry_off(entry), NULL))
        scan->incomplete = true;
}

static void scan_bitmap_entry(const struct vhdx_disk *disk, uint64_t block, struct scan *scan)
{
    uint8_t raw[8];

    if (blk_read(disk->base, disk->bat_off + (entry_index(disk, block) - 1) * 8, raw, 8, NULL))
        scan->incomplete = true;
    else if (raw[0] & 7)
        scan->bitmaps++;
}

static void report_scan(const struct vhdx_disk *disk, const struct scan *scan,
                        struct vd_facts *facts)
{
    vd_fact_add(facts, VD_FACT_INFO, "allocated_blocks", "%" PRIu64 " of %" PRIu64,
                scan->n[FULLY_PRESENT], disk->n_blocks);
    if (scan->n[UNDEFINED])
        vd_fact_add(facts, VD_FACT_WARNING, "undefined_blocks",
                    "the content of %" PRIu64 " blocks is undefined; they are shown as zeros",
                    scan->n[UNDEFINED]);
    if (scan->n[UNMAPPED])
        vd_fact_add(facts, VD_FACT_INFO, "unmapped_blocks", "%" PRIu64, scan->n[UNMAPPED]);
    if (scan->bad)
        vd_fact_add(facts, VD_FACT_WARNING, "bad_blocks",
                    "%" PRIu64 " blocks have an impossible entry, pass the end of the file or lie "
                    "over its structures (first: block %" PRIu64 "); they cannot be read",
                    scan->bad, scan->first_bad);
    if (disk->overlap.n)
        vd_fact_add(
            facts, VD_FACT_WARNING, "shared_blocks",
            "%zu blocks share bytes of the file with another block (first at offset %" PRIu64
            "); they cannot be read",
            disk->overlap.n, disk->overlap.offs[0]);
    if (scan->bitmaps)
        vd_fact_add(facts, VD_FACT_WARNING, "sector_bitmaps",
                    "%" PRIu64 " sector bitmaps are in use in a file without a parent; they were "
                    "ignored",
                    scan->bitmaps);
    if (scan->incomplete)
        vd_fact_add(facts, VD_FACT_WARNING, "table_check",
                    "the BAT could not be checked completely");
}

static int scan_table(struct vhdx_disk *disk, struct vd_facts *facts, struct vd_err *err)
{
    uint64_t entry[WINDOW], block = 0, end = vd_min(disk->n_blocks, SCAN_MAX);
    struct scan scan = {.incomplete = end < disk->n_blocks};
    size_t n = 0, i;
    int rc;

    while (block < end) {
        if (block && block % disk->chunk_ratio == 0)
            scan_bitmap_entry(disk, block, &scan);
        /* A table that cannot be read here costs exactly the blocks that it describes. */
        if (read_entries(disk, block, WINDOW, entry, &n, NULL)) {
            scan.incomplete = true;
            block += vd_min(WINDOW, disk->chunk_ratio - block % disk->chunk_ratio);
            continue;
        }
        for (i = 0; i < n; i++)
            scan_entry(disk, block + i, entry[i], &scan);
        block += n;
    }
    rc = overlap_finish(&disk->overlap, disk->block_size, err);
    if (rc)
        return vd_prefix(err, rc, "BAT");
    report_scan(disk, &scan, facts);
    return 0;
}

/* ---- construction ---- */

/* 2.5: the BAT must hold an entry for every payload block and for the bitmaps between them. */
static int check_table(const struct vhdx_disk *disk, const struct vhdx_region *bat,
                       struct vd_err *err)
{
    uint64_t need = entry_index(disk, disk->n_blocks - 1) + 1;

    if (need > bat->len / 8)
        return vd_fail(err, VD_ECORRUPT,
                       "BAT: the disk needs %" PRIu64 " entries, the region holds %" PRIu64, need,
                       bat->len / 8);
    return 0;
}

int vhdx_disk_new(struct blkdev *base, const struct vhdx_layout *layout, const char *name,
                  struct blkdev **out, struct vd_facts *facts, struct vd_err *err)
{
    const struct vhdx_metadata *metadata = &layout->metadata;
    struct vhdx_disk *disk = calloc(1, sizeof(*disk));
    struct blkdev *dev = NULL;
    int rc;

    if (!disk)
        return vd_fail(err, VD_ENOMEM, "%s: out of memory", name);
    disk->base = base;
    disk->name = strdup(name);
    if (!disk->name) {
        disk_free(disk);
        return vd_fail(err, VD_ENOMEM, "%s: out of memory", name);
    }
    disk->taken[0] = layout->log;
    disk->taken[1] = layout->regions.metadata;
    disk->taken[2] = layout->regions.bat;
    disk->bat_off = layout->regions.bat.off;
    disk->block_size = metadata->block_size;
    disk->n_blocks = vd_div_up(metadata->disk_size, metadata->block_size);
    disk->chunk_ratio =
        (uint32_t)((UINT64_C(1) << 23) * metadata->logical_sector / metadata->block_size);
    rc = check_table(disk, &layout->regions.bat, err);
    if (rc == 0)
        rc = scan_table(disk, facts, err);
    if (rc == 0)
        rc = blk_new(&disk_type, metadata->disk_size, "", disk, &dev, err);
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
    dev->sector_size = metadata->logical_sector;
    dev->read_unit = metadata->block_size;
    *out = dev;
    return 0;
}
