/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Structural check of a VHD: every entry of the allocation table, every sector bitmap, what lies under
 * clear bits, and who uses which bytes of the file (VHD specification 2006, "Dynamic Disk Header Format"
 * and "Block Allocation Table and Data Blocks").  What opening has said (footers, checksums, locators)
 * is not said again.  One thread; the disk may be read by others meanwhile.
 */
#include "disk.h"

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/range.h"
#include "image/space.h"

#include <inttypes.h>
#include <string.h>

#define CHUNK ((size_t)64 << 10)

struct walk {
    const struct vhd_disk *disk;
    const struct check *check;
    uint8_t *bitmap; /* bitmap_len bytes */
    uint8_t *chunk;  /* CHUNK bytes */
    uint64_t allocated;
};

/* Place of table entry `block` and of the bytes of the disk that it stands for. */
static struct check_place place_of(const struct vhd_disk *disk, uint64_t block)
{
    uint64_t off = block * disk->block_size;

    return (struct check_place){
        .in_file = true,
        .file_off = disk->table_offset + block * 4,
        .on_disk = off < disk->size,
        .disk_off = off,
        .disk_len = off < disk->size ? vd_min(disk->block_size, disk->size - off) : 0};
}

/* ---- one block ---- */

/* Bits behind the block's last sector say nothing and should be clear. */
static void check_padding(const struct walk *w, uint64_t block, uint64_t start)
{
    const struct vhd_disk *disk = w->disk;
    uint64_t sectors = disk->block_size / VHD_SECTOR, i, n = 0;
    const struct check_place place = {.in_file = true, .file_off = start};

    for (i = sectors; i < (uint64_t)disk->bitmap_len * 8; i++)
        n += vhd_bit(w->bitmap, i);
    if (n)
        check_finding(w->check, CHECK_NOTE, "bitmap_padding", disk->name, &place,
                      "block %" PRIu64 ": %" PRIu64
                      " bits behind the last sector of its bitmap are set",
                      block, n);
}

/* Sectors of one clear run that hold other bytes than zeros.  False: they cannot be read. */
static bool count_hidden(const struct walk *w, uint64_t off, uint64_t n_sectors,
                         uint64_t *io_hidden)
{
    while (n_sectors) {
        size_t n = (size_t)vd_min(n_sectors, CHUNK / VHD_SECTOR), i;

        if (blk_read(w->disk->file, off, w->chunk, n * VHD_SECTOR, NULL))
            return false;
        for (i = 0; i < n; i++)
            *io_hidden += !vd_all_zero(w->chunk + i * VHD_SECTOR, VHD_SECTOR);
        n_sectors -= n;
        off += n * VHD_SECTOR;
    }
    return true;
}

/* Nobody reads what lies under clear bits, but it should be zeros; in a dynamic disk readers that do
 * not look at the bitmap show it. */
static void check_hidden(const struct walk *w, uint64_t block, uint64_t start)
{
    const struct vhd_disk *disk = w->disk;
    uint64_t n_sectors = disk->block_size / VHD_SECTOR, i, run, hidden = 0;
    struct check_place place = place_of(disk, block);
    bool all = true;

    for (i = 0; i < n_sectors; i += run) {
        uint64_t off = start + disk->bitmap_len + i * VHD_SECTOR;

        run = vhd_bit_run(w->bitmap, i, n_sectors);
        if (!vhd_bit(w->bitmap, i) && vd_range_inside(off, run * VHD_SECTOR, disk->data_end))
            all = count_hidden(w, off, run, &hidden) && all;
    }
    place.file_off = start + disk->bitmap_len;
    if (hidden)
        check_finding(w->check, disk->differencing ? CHECK_NOTE : CHECK_WARNING, "hidden_bytes",
                      disk->name, &place,
                      "block %" PRIu64 ": %" PRIu64 " sectors that its bitmap calls %s hold other "
                      "bytes than zeros",
                      block, hidden, disk->differencing ? "the parent's" : "never written");
    if (!all)
        check_finding(w->check, CHECK_WARNING, "hidden_unreadable", disk->name, &place,
                      "block %" PRIu64 ": what lies under clear bits of its bitmap cannot be read",
                      block);
}

static void check_bitmap(const struct walk *w, uint64_t block, uint64_t start)
{
    const struct vhd_disk *disk = w->disk;
    struct check_place place = place_of(disk, block);
    struct vd_err why = VD_ERR_INIT;

    place.file_off = start;
    if (blk_read(disk->file, start, w->bitmap, disk->bitmap_len, &why)) {
        check_finding(w->check, CHECK_ERROR, "bitmap_unreadable", disk->name, &place,
                      "block %" PRIu64 ": its sector bitmap cannot be read: %s", block, why.msg);
        return;
    }
    check_padding(w, block, start);
    check_hidden(w, block, start);
}

static void check_entry(struct walk *w, uint64_t block, uint32_t entry)
{
    const struct vhd_disk *disk = w->disk;
    struct check_place place = place_of(disk, block);
    uint64_t start = (uint64_t)entry * VHD_SECTOR;
    struct vd_err why = VD_ERR_INIT;

    if (entry == VHD_BAT_UNUSED)
        return;
    if (block >= disk->n_blocks) {
        check_finding(w->check, CHECK_NOTE, "entry_past_disk", disk->name, &place,
                      "table entry %" PRIu64 " lies past the end of the disk but names a block",
                      block);
        return;
    }
    w->allocated++;
    if (vhd_block_check(disk, block, start, &why)) {
        check_finding(w->check, CHECK_ERROR, "bad_entry", disk->name, &place, "%s", why.msg);
        return;
    }
    if (!vd_range_inside(start, (uint64_t)disk->bitmap_len + place.disk_len, disk->data_end))
        check_finding(w->check, CHECK_ERROR, "block_cut", disk->name, &place,
                      "block %" PRIu64 ": passes the end of the file's data (offset %" PRIu64
                      ", end at %" PRIu64 ")",
                      block, start, disk->data_end);
    check_bitmap(w, block, start);
}

/* ---- the table ---- */

/* Entries first … first+n-1 into `out`, sector by sector where that is needed; returns how many could be
 * read.  The rest is a finding. */
static size_t read_some(const struct walk *w, uint64_t first, size_t n, uint32_t *out)
{
    struct check_place place = place_of(w->disk, first);
    struct vd_err why = VD_ERR_INIT;

    if (vhd_entries_read(w->disk, first, n, out, NULL) == 0)
        return n;
    n = (size_t)vd_min(n, VHD_SECTOR / 4);
    if (vhd_entries_read(w->disk, first, n, out, &why) == 0)
        return n;
    place.disk_len = vd_min((uint64_t)n * w->disk->block_size,
                            place.on_disk ? w->disk->size - place.disk_off : 0);
    check_finding(w->check, CHECK_ERROR, "table_unreadable", w->disk->name, &place,
                  "table entries %" PRIu64 " to %" PRIu64 " cannot be read: %s", first,
                  first + n - 1, why.msg);
    memset(out, 0xff, n * sizeof(*out));
    return n;
}

static void check_table(struct walk *w)
{
    uint64_t n_entries = w->disk->header.max_entries, first;
    uint32_t entry[VHD_WINDOW];
    size_t n, i;

    for (first = 0; first < n_entries; first += n) {
        n = read_some(w, first, (size_t)vd_min(VHD_WINDOW, n_entries - first), entry);
        for (i = 0; i < n; i++)
            check_entry(w, first + i, entry[i]);
    }
    check_count(w->check, w->disk->name, "table entries", n_entries);
    check_count(w->check, w->disk->name, "blocks", w->allocated);
}

static void check_header(const struct walk *w)
{
    const struct vhd_disk *disk = w->disk;
    struct check_place place = {.in_file = true, .file_off = disk->header_offset};
    size_t i;

    if (disk->header_offset % VHD_SECTOR)
        check_finding(w->check, CHECK_WARNING, "header_unaligned", disk->name, &place,
                      "the dynamic disk header does not begin at a sector");
    if (disk->header.table_offset % VHD_SECTOR)
        check_finding(w->check, CHECK_WARNING, "table_unaligned", disk->name, &place,
                      "the allocation table does not begin at a sector (offset %" PRIu64 ")",
                      disk->table_offset);
    /* The specification writes 0xFFFFFFFF into a field of 64 bits; writers fill all of it. */
    if (disk->header.data_offset != UINT64_MAX && disk->header.data_offset != UINT32_MAX)
        check_finding(w->check, CHECK_NOTE, "next_structure", disk->name, &place,
                      "the dynamic disk header speaks of a next structure (offset %" PRIu64 ")",
                      disk->header.data_offset);
    if (disk->header.max_entries > disk->n_blocks)
        check_finding(w->check, CHECK_NOTE, "table_long", disk->name, &place,
                      "the allocation table has %" PRIu32 " entries for %" PRIu64 " blocks",
                      disk->header.max_entries, disk->n_blocks);
    for (i = 0; i < 8; i++) {
        const struct vhd_locator *l = &disk->header.locator[i];

        if (l->platform && !disk->differencing)
            check_finding(w->check, CHECK_NOTE, "locator", disk->name, &place,
                          "locator %zu of a disk without a parent is in use", i);
        else if (l->platform && l->length > vhd_locator_space(l))
            check_finding(w->check, CHECK_NOTE, "locator", disk->name, &place,
                          "locator %zu: %" PRIu32 " bytes of data in a space of %" PRIu64, i,
                          l->length, vhd_locator_space(l));
    }
}

/* ---- who uses which bytes ---- */

static int claim_all(void *ctx, struct space *space, struct vd_err *err)
{
    const struct vhd_disk *disk = ctx;
    uint64_t block_len = (uint64_t)disk->bitmap_len + disk->block_size, first;
    uint32_t entry[VHD_WINDOW];
    size_t i, n;

    (void)err;
    space_claim(space, 0, VHD_FOOTER_SIZE, "copy of the footer", 0);
    space_claim(space, disk->header_offset, VHD_HEADER_SIZE, "dynamic disk header", 0);
    space_claim(space, disk->table_offset, disk->table_len, "allocation table", 0);
    for (i = 0; i < 8; i++)
        if (disk->header.locator[i].platform)
            space_claim(space, disk->header.locator[i].offset,
                        vhd_locator_space(&disk->header.locator[i]), "parent locator", i);
    for (first = 0; first < disk->n_blocks; first += n) {
        n = (size_t)vd_min(VHD_WINDOW, disk->n_blocks - first);
        if (vhd_entries_read(disk, first, n, entry, NULL)) {
            n = (size_t)vd_min(n, VHD_SECTOR / 4);
            if (vhd_entries_read(disk, first, n, entry, NULL))
                continue; /* said by check_table */
        }
        for (i = 0; i < n; i++)
            if (entry[i] != VHD_BAT_UNUSED)
                space_claim(space, (uint64_t)entry[i] * VHD_SECTOR, block_len, "block", first + i);
    }
    space_claim(space, disk->data_end, disk->file->size - disk->data_end, "footer", 0);
    return 0;
}

static void check_fixed(const struct vhd_disk *disk, const struct check *check)
{
    const struct check_place place = {.in_file = true, .file_off = disk->size};

    if (disk->data_end > disk->size)
        check_finding(check, CHECK_NOTE, "unreferenced", disk->name, &place,
                      "%" PRIu64 " bytes between the end of the disk and the footer",
                      disk->data_end - disk->size);
}

int vhd_check(struct blkdev *dev, const struct check *check, struct vd_err *err)
{
    struct vhd_disk *disk = dev->priv;
    VD_AUTO(free) uint8_t *bitmap = NULL, *chunk = NULL;
    struct walk w = {.disk = disk, .check = check};

    if (disk->fixed) {
        check_fixed(disk, check);
        return 0;
    }
    bitmap = malloc(disk->bitmap_len);
    chunk = malloc(CHUNK);
    if (!bitmap || !chunk)
        return vd_fail(err, VD_ENOMEM, "%s: out of memory", disk->name);
    w.bitmap = bitmap;
    w.chunk = chunk;
    check_header(&w);
    check_table(&w);
    return space_check(check, disk->name, disk->file->size, VHD_SECTOR, claim_all, disk, err);
}
