/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The structural check of one VHDX member: both headers, both region tables, the metadata table, every
 * entry of the BAT with the block it names, and who uses which bytes of the file.  Everything but the
 * headers is read from the view that has the log replayed, as for reading.  What opening has said
 * (damaged copies, a replayed log, missing items) is not said again.
 *
 * One thread; memory: one piece of the table, and space.h's.
 */
#include "disk.h"

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/range.h"
#include "image/space.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_ENTRIES (VD_MAX_VHDX_BAT_PIECE / 8)

static struct check_place at(uint64_t file_off)
{
    return (struct check_place){.in_file = true, .file_off = file_off};
}

/* ---- header section ---- */

static void check_header(const struct vhdx_disk *disk, uint64_t off, const struct check *check)
{
    const struct check_place place = at(off);
    uint8_t raw[VHDX_HEADER_SIZE];
    struct vhdx_header header;

    if (blk_read(disk->layout.file, off, raw, sizeof(raw), NULL) ||
        vhdx_header_decode(raw, sizeof(raw), &header, NULL))
        return; /* said when it was opened */
    if (!vd_all_zero(raw + 80, sizeof(raw) - 80))
        check_finding(check, CHECK_NOTE, "header_reserved", disk->name, &place,
                      "reserved bytes of the header are not zero");
    if (header.version != 1)
        check_finding(check, CHECK_WARNING, "header_version", disk->name, &place,
                      "the header has version %u", header.version);
    if (header.log_len == 0 || header.log_len % VHDX_MIB || header.log_off % VHDX_MIB ||
        header.log_off < VHDX_MIB ||
        !vd_range_inside(header.log_off, header.log_len, disk->base->size))
        check_finding(check, CHECK_WARNING, "log_place", disk->name, &place,
                      "the header names an impossible place for the log (%" PRIu32
                      " bytes at offset %" PRIu64 ")",
                      header.log_len, header.log_off);
}

static void check_regions(const struct vhdx_disk *disk, const struct check *check)
{
    const struct vhdx_regions *regions = &disk->layout.regions;
    unsigned i;

    for (i = 0; i < regions->n_unknown && i < VHDX_UNKNOWN_KEPT; i++) {
        const struct vhdx_region *r = &regions->unknown[i];
        const struct check_place place = at(r->off);

        if (r->off % VHDX_MIB || r->len % VHDX_MIB || r->off < VHDX_MIB ||
            !vd_range_inside(r->off, r->len, disk->base->size))
            check_finding(check, CHECK_WARNING, "region_place", disk->name, &place,
                          "an unknown region that need not be understood is at an impossible place "
                          "(%" PRIu64 " bytes at offset %" PRIu64 ")",
                          r->len, r->off);
    }
    if (regions->n_unknown > VHDX_UNKNOWN_KEPT)
        check_finding(check, CHECK_WARNING, "regions_not_checked", disk->name, NULL,
                      "%u unknown regions; the first %u were checked", regions->n_unknown,
                      VHDX_UNKNOWN_KEPT);
    check_count(check, disk->name, "regions", 2 + (uint64_t)regions->n_unknown);
}

/* ---- metadata ---- */

static int check_metadata(const struct vhdx_disk *disk, const struct check *check,
                          struct vd_err *err)
{
    const struct vhdx_region *region = &disk->layout.regions.metadata;
    const struct check_place place = at(region->off);
    VD_AUTO(free) uint8_t *raw = malloc(VHDX_TABLE_SIZE);
    struct vd_err why = VD_ERR_INIT;
    struct vhdx_items items;
    unsigned i, n, reserved = 0;

    if (!raw)
        return vd_fail(err, VD_ENOMEM, "metadata table: out of memory");
    if (blk_read(disk->base, region->off, raw, VHDX_TABLE_SIZE, &why) ||
        vhdx_items_decode(raw, VHDX_TABLE_SIZE, region->len, &items, &why)) {
        check_finding(check, CHECK_ERROR, "metadata_table", disk->name, &place, "%s", why.msg);
        return 0;
    }
    n = vd_le16(raw + 10);
    if (vd_le16(raw + 8) || !vd_all_zero(raw + 12, 20))
        reserved++;
    for (i = 0; i < n; i++) {
        const uint8_t *entry = raw + 32 + 32 * (size_t)i;

        reserved += vd_le32(entry + 24) & ~7u || vd_le32(entry + 28);
    }
    if (reserved)
        check_finding(check, CHECK_NOTE, "metadata_reserved", disk->name, &place,
                      "reserved bits are set in the header or %u entries of the metadata table",
                      reserved);
    for (i = 0; i < VHDX_ITEM_COUNT; i++)
        if (items.item[i].present && !items.item[i].required)
            check_finding(check, CHECK_NOTE, "metadata_required", disk->name, &place,
                          "the %s is not marked as required, as in early images",
                          vhdx_item_name((enum vhdx_item_kind)i));
    check_count(check, disk->name, "metadata items", n);
    return 0;
}

/* ---- the table ---- */

struct table {
    struct vhdx_disk *disk;
    const struct check *check; /* NULL: only claims are wanted … */
    struct space *space;       /* … here */
    uint64_t present, partial; /* payload blocks */
    uint64_t bitmaps;
    uint64_t anchors, first_anchor; /* unmapped or undefined blocks that still name a place */
    uint64_t partial_here;          /* of this chunk */
};

static struct check_place entry_place(const struct vhdx_disk *disk, uint64_t index, uint64_t block)
{
    uint64_t off = block * disk->block_size;

    return (struct check_place){
        .in_file = true,
        .file_off = disk->bat_off + index * 8,
        .on_disk = true,
        .disk_off = off,
        .disk_len = vd_min(disk->block_size, disk->layout.metadata.disk_size - off)};
}

static void check_block(struct table *t, uint64_t index, uint64_t block, uint64_t entry,
                        enum vhdx_answer answer)
{
    const struct vhdx_disk *disk = t->disk;
    struct check_place place = entry_place(disk, index, block);
    uint64_t off = vhdx_entry_off(entry), end = disk->base->size;
    struct vd_err why = VD_ERR_INIT;

    if (vhdx_block_check(disk, block, entry, &why)) {
        check_finding(t->check, CHECK_ERROR,
                      answer == VHDX_ANSWER_NOBODY ? "entry_invalid" : "block_place", disk->name,
                      &place, "%s", why.msg);
    } else if (!vd_range_inside(off, place.disk_len, end)) {
        place.disk_off += end - off;
        place.disk_len -= end - off;
        check_finding(t->check, CHECK_ERROR, "block_truncated", disk->name, &place,
                      "block %" PRIu64 ": passes the end of the file (offset %" PRIu64
                      ", the file has %" PRIu64 " bytes)",
                      block, off, end);
    } else if (!vd_range_inside(off, disk->block_size, end)) {
        check_finding(
            t->check, CHECK_NOTE, "block_short", disk->name, &place,
            "block %" PRIu64 ": the file ends inside the block, behind the end of the disk", block);
    }
}

static void see_payload(struct table *t, uint64_t index, uint64_t block, uint64_t entry)
{
    enum vhdx_answer answer = vhdx_entry_answer(t->disk, entry);
    enum vhdx_state state = vhdx_entry_state(entry);

    if (answer == VHDX_ANSWER_ZEROS || answer == VHDX_ANSWER_PARENT) {
        if ((state == VHDX_UNDEFINED || state == VHDX_UNMAPPED) && vhdx_entry_off(entry) &&
            t->anchors++ == 0)
            t->first_anchor = block;
        return;
    }
    t->present += answer == VHDX_ANSWER_FILE;
    if (answer == VHDX_ANSWER_BITMAP) {
        t->partial++;
        t->partial_here++;
    }
    if (t->check)
        check_block(t, index, block, entry, answer);
    if (t->space && answer != VHDX_ANSWER_NOBODY)
        space_claim(t->space, vhdx_entry_off(entry), t->disk->block_size, "payload block", block);
}

/* The entry of the bitmap of the chunk that ends before it; `block` is one of the chunk. */
static void see_bitmap(struct table *t, uint64_t index, uint64_t block, uint64_t entry)
{
    const struct vhdx_disk *disk = t->disk;
    const struct check_place place = at(disk->bat_off + index * 8);
    bool in_use = vhdx_entry_state(entry) == VHDX_FULLY_PRESENT && !vhdx_entry_reserved(entry);
    uint64_t needed = t->partial_here;
    struct vd_err why = VD_ERR_INIT;

    t->partial_here = 0;
    t->bitmaps += in_use && disk->has_parent;
    if (t->space && in_use && disk->has_parent)
        space_claim(t->space, vhdx_entry_off(entry), VHDX_MIB, "sector bitmap",
                    block / disk->chunk_ratio);
    if (!t->check || (vhdx_entry_state(entry) == VHDX_NOT_PRESENT && !needed))
        return;
    if (!disk->has_parent)
        check_finding(t->check, CHECK_WARNING, "bitmap_unexpected", disk->name, &place,
                      "sector bitmap %" PRIu64
                      ": is in use in a file without a parent (entry 0x%016" PRIx64 ")",
                      block / disk->chunk_ratio, entry);
    else if (vhdx_bitmap_check(disk, block, entry, &why))
        check_finding(t->check, needed ? CHECK_ERROR : CHECK_WARNING, "bitmap_place", disk->name,
                      &place, "%s%s", why.msg,
                      needed ? "; partially present blocks of the chunk cannot be read" : "");
}

static void see_entry(struct table *t, uint64_t index, uint64_t entry)
{
    uint64_t per_chunk = (uint64_t)t->disk->chunk_ratio + 1;
    uint64_t block = index - index / per_chunk;

    if (index % per_chunk == t->disk->chunk_ratio)
        see_bitmap(t, index, block - 1, entry);
    else
        see_payload(t, index, block, entry);
}

/* A piece of the table that cannot be read hides the places of its blocks. */
static void piece_lost(struct table *t, uint64_t index, size_t n, const struct vd_err *why)
{
    const struct check_place place = at(t->disk->bat_off + index * 8);

    t->partial_here = 0;
    if (t->check)
        check_finding(t->check, CHECK_ERROR, "table_unreadable", t->disk->name, &place,
                      "BAT: %zu entries from number %" PRIu64 " on cannot be read: %s", n, index,
                      why->msg);
}

static void see_last_bitmap(struct table *t)
{
    const struct vhdx_disk *disk = t->disk;
    uint64_t last = disk->n_blocks - 1, index = vhdx_bitmap_index(disk, last), entry = 0;
    struct vd_err why = VD_ERR_INIT;

    if (index >= disk->n_entries) {
        const struct check_place place = at(disk->bat_off);

        if (t->check)
            check_finding(t->check, t->partial_here ? CHECK_ERROR : CHECK_WARNING, "table_short",
                          disk->name, &place,
                          "BAT: there is no room for the entry of the last sector bitmap");
    } else if (vhdx_bat_read(disk, index, 1, &entry, &why)) {
        piece_lost(t, index, 1, &why);
    } else {
        see_bitmap(t, index, last, entry);
    }
}

/* All entries that the disk needs, in order. */
static int walk_table(struct table *t, struct vd_err *err)
{
    const struct vhdx_disk *disk = t->disk;
    uint64_t end = vhdx_payload_index(disk, disk->n_blocks - 1) + 1, index = 0;
    VD_AUTO(free) uint8_t *raw = malloc((size_t)vd_min(end, PIECE_ENTRIES) * 8);

    if (!raw)
        return vd_fail(err, VD_ENOMEM, "BAT: out of memory");
    while (index < end) {
        size_t n = (size_t)vd_min(PIECE_ENTRIES, end - index), i;
        struct vd_err why = VD_ERR_INIT;

        if (blk_read(disk->base, disk->bat_off + index * 8, raw, n * 8, &why))
            piece_lost(t, index, n, &why);
        else
            for (i = 0; i < n; i++)
                see_entry(t, index + i, vd_le64(raw + 8 * i));
        index += n;
    }
    if (disk->has_parent)
        see_last_bitmap(t);
    return 0;
}

/* ---- who uses which bytes ---- */

static int claim_all(void *ctx, struct space *space, struct vd_err *err)
{
    struct vhdx_disk *disk = ctx;
    const struct vhdx_layout *layout = &disk->layout;
    struct table t = {.disk = disk, .space = space};
    unsigned i;

    space_claim(space, 0, VHDX_MIB, "header section", 0);
    space_claim(space, layout->log.off, layout->log.len, "log", 0);
    space_claim(space, layout->regions.metadata.off, layout->regions.metadata.len,
                "metadata region", 0);
    space_claim(space, layout->regions.bat.off, layout->regions.bat.len, "BAT region", 0);
    for (i = 0; i < layout->regions.n_unknown && i < VHDX_UNKNOWN_KEPT; i++)
        space_claim(space, layout->regions.unknown[i].off, layout->regions.unknown[i].len,
                    "unknown region", i);
    return walk_table(&t, err);
}

int vhdx_check(struct blkdev *dev, const struct check *check, struct vd_err *err)
{
    struct vhdx_disk *disk = dev->priv;
    struct table t = {.disk = disk, .check = check};
    int rc;

    check_header(disk, VHDX_HEADER1_OFF, check);
    check_header(disk, VHDX_HEADER2_OFF, check);
    check_regions(disk, check);
    rc = check_metadata(disk, check, err);
    if (rc == 0)
        rc = walk_table(&t, err);
    if (rc)
        return rc;
    if (t.anchors)
        check_finding(check, CHECK_NOTE, "old_content", disk->name, NULL,
                      "%" PRIu64
                      " unmapped or undefined blocks still name a place in the file: what "
                      "they held may lie there (first: block %" PRIu64 ")",
                      t.anchors, t.first_anchor);
    check_count(check, disk->name, "BAT entries",
                disk->n_blocks + (disk->n_blocks - 1) / disk->chunk_ratio + disk->has_parent);
    check_count(check, disk->name, "payload blocks", t.present + t.partial);
    check_count(check, disk->name, "sector bitmap blocks", t.bitmaps);
    return space_check(check, disk->name, disk->base->size, (uint32_t)VHDX_MIB, claim_all, disk,
                       err);
}
