/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The look over the allocation table while a VHD is opened: blocks outside the file, blocks that share
 * bytes, and, in a dynamic disk, bytes under clear bits of some sector bitmaps ("all sectors … whose
 * corresponding bits in the bitmap are zero must contain 512 bytes of zero on disk", VHD
 * specification 2006, "Block Allocation Table and Data Blocks").  In a differencing disk such bytes
 * mean nothing: the parent answers.  Bounded in time and memory; what was left out is said, and
 * check.c looks at everything.  Single-threaded: the disk is not in use yet.
 */
#include "disk.h"

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/range.h"
#include "blk/evidence.h"

#include <inttypes.h>

/* Bounds of the bitmap check: blocks whose bitmap is looked at, and bytes under clear bits that are
 * read.  A cold disk needs some 10 ms for each. */
#define CHECK_BLOCKS 64u
#define CHECK_BYTES  (4u << 20)
#define CHECK_CHUNK  ((size_t)32 << 10)

struct scan {
    uint64_t allocated, bad, first_bad;
    uint64_t end;                  /* where the last good block ends, bytes */
    uint64_t looked_at;            /* blocks whose bitmap was read */
    uint64_t hidden, first_hidden; /* sectors under a clear bit that are not zeros */
    uint64_t budget;               /* bytes that may still be read to find them */
    bool limited;                  /* a bound of the check was met */
    bool incomplete;               /* some of it could not be read or compared */
    bool unread;                   /* entries of the table could not be read */
    bool retried;                  /* some of them only by a second read */
};

/* Counts the sectors of one clear run that are not zeros. */
static void scan_clear_run(const struct vhd_disk *disk, uint64_t block, uint64_t off,
                           uint64_t n_sectors, struct scan *scan)
{
    uint8_t buf[CHECK_CHUNK];

    while (n_sectors && scan->budget >= sizeof(buf)) {
        size_t n = (size_t)vd_min(n_sectors, CHECK_CHUNK / VHD_SECTOR), i;

        if (blk_read(disk->file, off, buf, n * VHD_SECTOR, NULL)) {
            scan->incomplete = true;
            return;
        }
        scan->budget -= n * VHD_SECTOR;
        for (i = 0; i < n; i++) {
            if (vd_all_zero(buf + i * VHD_SECTOR, VHD_SECTOR))
                continue;
            if (scan->hidden++ == 0)
                scan->first_hidden = block;
        }
        n_sectors -= n;
        off += n * VHD_SECTOR;
    }
    if (n_sectors)
        scan->limited = true;
}

/* Does the block hold bytes that its bitmap calls never written? */
static void scan_bitmap(const struct vhd_disk *disk, uint64_t block, uint64_t start,
                        struct scan *scan)
{
    uint64_t used = vd_min(disk->size - block * disk->block_size, disk->block_size);
    uint64_t n_sectors = used / VHD_SECTOR, i, run;
    VD_AUTO(free) uint8_t *bitmap = NULL;

    if (scan->looked_at >= CHECK_BLOCKS || scan->budget < CHECK_CHUNK) {
        scan->limited = true;
        return;
    }
    scan->looked_at++;
    bitmap = malloc(disk->bitmap_len);
    if (!bitmap || blk_read(disk->file, start, bitmap, disk->bitmap_len, NULL)) {
        scan->incomplete = true;
        return;
    }
    for (i = 0; i < n_sectors; i += run) {
        uint64_t off = start + disk->bitmap_len + i * VHD_SECTOR;

        run = vhd_bit_run(bitmap, i, n_sectors);
        if (!vhd_bit(bitmap, i) && vd_range_inside(off, run * VHD_SECTOR, disk->data_end))
            scan_clear_run(disk, block, off, run, scan);
    }
}

static void scan_entry(struct vhd_disk *disk, uint64_t block, uint32_t entry, struct scan *scan)
{
    uint64_t start = (uint64_t)entry * VHD_SECTOR, end;

    if (entry == VHD_BAT_UNUSED)
        return;
    scan->allocated++;
    end = start + disk->bitmap_len + disk->block_size;
    scan->end = end > scan->end ? end : scan->end;
    if (vhd_block_check(disk, block, start, NULL)) {
        if (scan->bad++ == 0)
            scan->first_bad = block;
        return;
    }
    if (overlap_add(&disk->overlap, start, NULL))
        scan->incomplete = true;
    if (!disk->differencing)
        scan_bitmap(disk, block, start, scan);
}

static void report_scan(const struct vhd_disk *disk, const struct scan *scan,
                        struct vd_facts *facts)
{
    vd_fact_add(facts, VD_FACT_INFO, "allocated_blocks", "%" PRIu64 " of %" PRIu64, scan->allocated,
                disk->n_blocks);
    if (scan->bad)
        vd_fact_add(facts, VD_FACT_WARNING, "bad_blocks",
                    "%" PRIu64 " blocks lie outside the file or over its structures (first: block "
                    "%" PRIu64 "); they cannot be read",
                    scan->bad, scan->first_bad);
    if (disk->overlap.n)
        vd_fact_add(
            facts, VD_FACT_WARNING, "shared_blocks",
            "%zu blocks share bytes of the file with another block (first at offset %" PRIu64
            "); they cannot be read",
            disk->overlap.n, disk->overlap.offs[0]);
    if (scan->hidden)
        vd_fact_add(facts, VD_FACT_WARNING, "sector_bitmap",
                    "%" PRIu64 " sectors that a sector bitmap calls never written hold other bytes "
                    "than zeros (first in block %" PRIu64 "); they are shown as zeros, as the "
                    "format says",
                    scan->hidden, scan->first_hidden);
    if (scan->incomplete)
        vd_fact_add(facts, VD_FACT_WARNING, "table_check",
                    "the allocation table or a sector bitmap could not be checked completely");
    else if (scan->retried)
        vd_fact_add(facts, VD_FACT_WARNING, "table_check",
                    "a part of the allocation table could be read at the second try only");
    if (scan->limited && !scan->incomplete)
        vd_fact_add(facts, VD_FACT_INFO, "sector_bitmap_check",
                    "not all: %" PRIu64 " bitmaps were looked at", scan->looked_at);
}

/* Entries first … first+n-1; where they cannot be read at once, sector by sector, so that a bad
 * sector of the table costs exactly the blocks that it describes. */
static void scan_window(struct vhd_disk *disk, uint64_t first, size_t n, struct scan *scan)
{
    uint32_t entry[VHD_WINDOW];
    size_t step = n, at, i;
    bool again = vhd_entries_read(disk, first, n, entry, NULL) != 0;

    if (again)
        step = VHD_SECTOR / 4;
    scan->retried = scan->retried || again;
    for (at = 0; at < n; at += step) {
        size_t some = (size_t)vd_min(step, n - at);

        if (again && vhd_entries_read(disk, first + at, some, entry + at, NULL)) {
            scan->unread = true;
            continue;
        }
        for (i = at; i < at + some; i++)
            scan_entry(disk, first + i, entry[i], scan);
    }
}

/* A dynamic header whose checksum is wrong is believed only when its table stands right behind it, where
 * every known producer puts it, and the table's blocks fill the file but for less than a block
 * (locators, alignment).  A table looked for in the wrong place has no blocks, or others, and would
 * show a parent's old data. */
static int check_fill(const struct vhd_disk *disk, const struct scan *scan, struct vd_err *err)
{
    uint64_t whole = (uint64_t)disk->bitmap_len + disk->block_size;
    uint64_t used = disk->table_offset + disk->table_len; /* inside the file: vhd_header_validate */

    if (disk->header.checksum_ok)
        return 0;
    if (used < disk->header_offset + VHD_HEADER_SIZE)
        used = disk->header_offset + VHD_HEADER_SIZE;
    used += scan->allocated * whole; /* 2^24 entries (VD_MAX_VHD_BAT) of VHD_MAX_BLOCK: 2^52 */
    if (disk->table_offset != disk->header_offset + VHD_HEADER_SIZE || scan->bad || scan->unread ||
        used > disk->data_end || disk->data_end - used >= whole)
        return vd_fail(err, VD_ECORRUPT,
                       "dynamic disk header: the checksum is wrong, and the table that it names "
                       "(offset %" PRIu64 ", %" PRIu64 " blocks) does not fit the file",
                       disk->table_offset, scan->allocated);
    return 0;
}

int vhd_scan(struct vhd_disk *disk, struct blk_share *share, struct vhd_extent_end *out_end,
             struct vd_facts *facts, struct vd_err *err)
{
    struct scan scan = {.budget = CHECK_BYTES};
    uint64_t block;
    int rc;

    *out_end = (struct vhd_extent_end){0};
    if (share && share->check_left < disk->n_blocks * 4) {
        vd_fact_add(facts, VD_FACT_WARNING, "table_check",
                    "the tables of the chain are too large to be looked at while opening: whether "
                    "blocks share bytes is not known (vdiskctl check tells)");
        return 0;
    }
    if (share)
        share->check_left -= disk->n_blocks * 4;
    for (block = 0; block < disk->n_blocks; block += VHD_WINDOW)
        scan_window(disk, block, (size_t)vd_min(VHD_WINDOW, disk->n_blocks - block), &scan);
    rc = overlap_finish(&disk->overlap, (uint64_t)disk->bitmap_len + disk->block_size, err);
    if (rc)
        return vd_prefix(err, rc, "allocation table");
    rc = check_fill(disk, &scan, err);
    if (rc)
        return rc;
    scan.incomplete = scan.incomplete || scan.unread;
    report_scan(disk, &scan, facts);
    *out_end = (struct vhd_extent_end){.end = scan.end, .complete = !scan.unread};
    return 0;
}
