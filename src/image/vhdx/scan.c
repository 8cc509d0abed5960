/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What opening a VHDX disk looks at: every entry of its block allocation table once, in order, in
 * pieces of 64 KiB, so that blocks that share bytes are known before the first read.  A table that
 * cannot be read somewhere costs exactly the blocks that it describes there.  Runs once per disk,
 * before it is shown to anybody; one thread.
 */
#include "disk.h"

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/range.h"

#include <inttypes.h>
#include <stdlib.h>

/* Entries that opening looks at: 2^22 of 8 bytes, the table of 64 TiB in 16 MiB blocks. */
#define SCAN_MAX (UINT64_C(1) << 22)

#define PIECE_ENTRIES (VD_MAX_VHDX_BAT_PIECE / 8)

struct scan {
    uint64_t n[8];                   /* payload blocks by state */
    uint64_t bad, first_bad;         /* … that cannot be used, or not to their end */
    uint64_t stray_bitmaps;          /* bitmap entries in use where none may be */
    uint64_t lost, first_lost;       /* partially present blocks without a bitmap to believe */
    uint64_t partial, first_partial; /* partially present blocks of this chunk, and the first one */
    bool incomplete;
};

static void claim(struct vhdx_disk *disk, uint64_t entry, uint64_t len, struct scan *scan)
{
    uint64_t off = vhdx_entry_off(entry);

    if (off >= VHDX_MIB && off < disk->base->size && vhdx_claims_add(&disk->claims, off, len, NULL))
        scan->incomplete = true;
}

/* Bytes of a block that the disk has: the last one may be short. */
static uint64_t block_len(const struct vhdx_disk *disk, uint64_t block)
{
    return vd_min(disk->block_size, disk->layout.metadata.disk_size - block * disk->block_size);
}

static void scan_payload(struct vhdx_disk *disk, uint64_t block, uint64_t entry, struct scan *scan)
{
    enum vhdx_answer answer = vhdx_entry_answer(disk, entry);

    scan->n[vhdx_entry_state(entry)]++;
    if (answer == VHDX_ANSWER_ZEROS || answer == VHDX_ANSWER_PARENT)
        return;
    if (vhdx_block_check(disk, block, entry, NULL) ||
        !vd_range_inside(vhdx_entry_off(entry), block_len(disk, block), disk->base->size)) {
        if (scan->bad++ == 0)
            scan->first_bad = block;
    }
    if (answer == VHDX_ANSWER_BITMAP && scan->partial++ == 0)
        scan->first_partial = block;
    if (answer != VHDX_ANSWER_NOBODY)
        claim(disk, entry, disk->block_size, scan);
}

/* `block` is any one of the chunk; its payload entries were seen. */
static void scan_bitmap(struct vhdx_disk *disk, uint64_t block, uint64_t entry, struct scan *scan)
{
    if (!disk->has_parent) {
        scan->stray_bitmaps += vhdx_entry_state(entry) != VHDX_NOT_PRESENT;
        return;
    }
    if (vhdx_entry_state(entry) == VHDX_FULLY_PRESENT && !vhdx_entry_reserved(entry))
        claim(disk, entry, VHDX_MIB, scan);
    if (scan->partial && vhdx_bitmap_check(disk, block, entry, NULL)) {
        if (scan->lost == 0)
            scan->first_lost = scan->first_partial;
        scan->lost += scan->partial;
    }
    scan->partial = 0;
}

static void scan_entry(struct vhdx_disk *disk, uint64_t index, uint64_t entry, struct scan *scan)
{
    uint64_t per_chunk = (uint64_t)disk->chunk_ratio + 1;
    uint64_t block = index - index / per_chunk;

    if (index % per_chunk == disk->chunk_ratio)
        scan_bitmap(disk, block - 1, entry, scan);
    else
        scan_payload(disk, block, entry, scan);
}

/* A differencing file has an entry for the last chunk's bitmap, behind those of blocks that the disk
 * does not have. */
static void scan_last_bitmap(struct vhdx_disk *disk, struct scan *scan)
{
    uint64_t last = disk->n_blocks - 1, entry = 0;

    if (vhdx_bitmap_index(disk, last) >= disk->n_entries)
        scan_bitmap(disk, last, 0, scan);
    else if (vhdx_bat_read(disk, vhdx_bitmap_index(disk, last), 1, &entry, NULL))
        scan->incomplete = true;
    else
        scan_bitmap(disk, last, entry, scan);
}

static void report(const struct vhdx_disk *disk, const struct scan *scan, struct vd_facts *facts)
{
    vd_fact_add(facts, VD_FACT_INFO, "allocated_blocks", "%" PRIu64 " of %" PRIu64,
                scan->n[VHDX_FULLY_PRESENT], disk->n_blocks);
    if (disk->has_parent)
        vd_fact_add(facts, VD_FACT_INFO, "partial_blocks", "%" PRIu64,
                    scan->n[VHDX_PARTIALLY_PRESENT]);
    if (scan->n[VHDX_UNDEFINED])
        vd_fact_add(facts, VD_FACT_WARNING, "undefined_blocks",
                    "the content of %" PRIu64 " blocks is undefined; they are shown as zeros",
                    scan->n[VHDX_UNDEFINED]);
    if (scan->n[VHDX_UNMAPPED])
        vd_fact_add(facts, VD_FACT_INFO, "unmapped_blocks", "%" PRIu64, scan->n[VHDX_UNMAPPED]);
    if (scan->bad)
        vd_fact_add(facts, VD_FACT_WARNING, "bad_blocks",
                    "%" PRIu64 " blocks have an impossible entry, pass the end of the file or lie "
                    "over its structures (first: block %" PRIu64 "); they cannot be read",
                    scan->bad, scan->first_bad);
    if (scan->lost)
        vd_fact_add(facts, VD_FACT_WARNING, "lost_bitmaps",
                    "%" PRIu64 " partially present blocks have no sector bitmap that could be used "
                    "(first: block %" PRIu64 "); they cannot be read",
                    scan->lost, scan->first_lost);
    if (disk->claims.n)
        vd_fact_add(
            facts, VD_FACT_WARNING, "shared_blocks",
            "%zu blocks share bytes of the file with another block (first at offset %" PRIu64
            "); they cannot be read",
            disk->claims.n, vhdx_claims_first(&disk->claims));
    if (scan->stray_bitmaps)
        vd_fact_add(facts, VD_FACT_WARNING, "sector_bitmaps",
                    "%" PRIu64 " sector bitmaps are in use in a file without a parent; they were "
                    "ignored",
                    scan->stray_bitmaps);
    if (scan->incomplete)
        vd_fact_add(facts, VD_FACT_WARNING, "table_check",
                    "the BAT could not be checked completely");
}

/* The first unknown regions; more than that is nothing any producer does. */
static void claim_regions(struct vhdx_disk *disk, struct scan *scan)
{
    const struct vhdx_regions *regions = &disk->layout.regions;
    unsigned i;

    for (i = 0; i < regions->n_unknown && i < VHDX_UNKNOWN_KEPT; i++)
        if (regions->unknown[i].len)
            claim(disk, regions->unknown[i].off, regions->unknown[i].len, scan);
    if (regions->n_unknown > VHDX_UNKNOWN_KEPT)
        scan->incomplete = true;
}

int vhdx_scan(struct vhdx_disk *disk, struct blk_share *share, struct vd_facts *facts,
              struct vd_err *err)
{
    uint64_t all = vhdx_payload_index(disk, disk->n_blocks - 1) + 1, index = 0;
    uint64_t end = vd_min(all, SCAN_MAX);
    VD_AUTO(free) uint8_t *raw = malloc((size_t)vd_min(end, PIECE_ENTRIES) * 8);
    struct scan scan = {.incomplete = end < all};
    int rc;

    if (!raw)
        return vd_fail(err, VD_ENOMEM, "BAT: out of memory");
    if (share && share->check_left < end * 8) {
        vd_fact_add(facts, VD_FACT_WARNING, "table_check",
                    "the tables of the chain are too large to be looked at while opening: whether "
                    "blocks share bytes is not known (vdiskctl check tells)");
        return 0;
    }
    if (share)
        share->check_left -= end * 8;
    claim_regions(disk, &scan);
    while (index < end) {
        size_t n = (size_t)vd_min(PIECE_ENTRIES, end - index), i;

        if (blk_read(disk->base, disk->bat_off + index * 8, raw, n * 8, NULL))
            scan.incomplete = true;
        else
            for (i = 0; i < n; i++)
                scan_entry(disk, index + i, vd_le64(raw + 8 * i), &scan);
        index += n;
    }
    if (disk->has_parent && end == all)
        scan_last_bitmap(disk, &scan);
    rc = vhdx_claims_finish(&disk->claims, err);
    if (rc)
        return vd_prefix(err, rc, "BAT");
    report(disk, &scan, facts);
    return 0;
}
