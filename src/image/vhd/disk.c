/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The disk of a VHD: where each of its bytes lies in the file ("Block Allocation Table and Data
 * Blocks" of the 2006 specification).  vhd_locate() is the one mapping function; reading and map
 * both use it.  Nothing is cached here: a table entry serves a whole block and the page cache
 * already holds the table and the bitmaps.
 *
 * Sector bitmap.  Most significant bit first; in a dynamic disk 1 = the sector was written, 0 = it
 * never was, and "all sectors … whose corresponding bits in the bitmap are zero must contain 512
 * bytes of zero on disk".  So a clear bit reads as zeros.  libvhdi, VirtualBox, DiscUtils and
 * XenServer's tapdisk do the same (the last one puts blocks on storage that it does not clear, so
 * what lies under a clear bit can be a stranger's data); qemu and dissect ignore the bitmap and
 * show the stored bytes.  The two differ only in files that break the rule; vhd_dynamic_new looks
 * for that and warns.
 *
 * An entry that points outside the file, into the header or the table, or to bytes of another block
 * makes exactly that block unreadable.  Immutable after construction; no locks.
 */
#include "vhd.h"

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/range.h"
#include "image/located.h"
#include "image/named.h"
#include "image/overlap.h"

#include <inttypes.h>
#include <string.h>

/* Entries that one look-up reads, so that long empty stretches are one run: 4 KiB. */
#define WINDOW 1024

/* Bounds of the bitmap check while opening: blocks whose bitmap is looked at, and bytes under clear
 * bits that are read.  A cold disk needs some 10 ms for each. */
#define CHECK_BLOCKS 64u
#define CHECK_BYTES  (4u << 20)
#define CHECK_CHUNK  ((size_t)32 << 10)

struct vhd_disk {
    struct blkdev *file; /* = dev->children[0] */
    uint64_t data_end;   /* bytes of the file from here on are not the disk's */
    bool fixed;
    uint64_t table_offset, header_offset, table_len;
    uint64_t n_blocks; /* blocks that the disk needs; the table has at least as many entries */
    uint32_t block_size;
    uint32_t bitmap_len; /* bytes, padded to whole sectors */
    struct overlap overlap;
    char *name; /* of the file, for messages; owned */
};

/* ---- one block ---- */

/* Entries first … first+n-1 of the table. */
static int read_entries(const struct vhd_disk *disk, uint64_t first, size_t n, uint32_t *out,
                        struct vd_err *err)
{
    uint8_t raw[WINDOW * 4];
    size_t i;
    int rc = blk_read(disk->file, disk->table_offset + first * 4, raw, n * 4, err);

    if (rc)
        return vd_prefix(err, rc, "allocation table: entry %" PRIu64, first);
    for (i = 0; i < n; i++)
        out[i] = vd_be32(raw + 4 * i);
    return 0;
}

/* Can the block at `start` be used?  If not: VD_ECORRUPT with the reason. */
static int check_block(const struct vhd_disk *disk, uint64_t block, uint64_t start,
                       struct vd_err *err)
{
    uint64_t len = (uint64_t)disk->bitmap_len + disk->block_size;

    if (vd_range_overlap(start, len, 0, VHD_FOOTER_SIZE) ||
        vd_range_overlap(start, len, disk->header_offset, VHD_HEADER_SIZE) ||
        vd_range_overlap(start, len, disk->table_offset, disk->table_len))
        return vd_fail(err, VD_ECORRUPT,
                       "block %" PRIu64 ": lies over the header or the allocation table (offset "
                       "%" PRIu64 ")",
                       block, start);
    if (!vd_range_inside(start, disk->bitmap_len, disk->data_end))
        return vd_fail(err, VD_ECORRUPT,
                       "block %" PRIu64 ": lies past the end of the file (offset %" PRIu64
                       ", the file's data end at %" PRIu64 ")",
                       block, start, disk->data_end);
    if (overlap_hit(&disk->overlap, start))
        return vd_fail(err, VD_ECORRUPT,
                       "block %" PRIu64 ": shares bytes of the file with another block (offset "
                       "%" PRIu64 ")",
                       block, start);
    return 0;
}

static bool bit_set(const uint8_t *bitmap, uint64_t i)
{
    return bitmap[i / 8] & (0x80 >> (i % 8));
}

/* Sectors from `first` on, at most to `end`, that have the bit of `first`. */
static uint64_t bit_run(const uint8_t *bitmap, uint64_t first, uint64_t end)
{
    bool set = bit_set(bitmap, first);
    uint8_t whole = set ? 0xff : 0;
    uint64_t i = first + 1;

    while (i < end)
        if (i % 8 == 0 && end - i >= 8 && bitmap[i / 8] == whole)
            i += 8;
        else if (bit_set(bitmap, i) == set)
            i++;
        else
            break;
    return i - first;
}

/* The run at byte `in_block` of the block at `start`, at most `max_len` bytes. */
static int locate_in_block(const struct vhd_disk *disk, uint64_t block, uint64_t start,
                           uint64_t in_block, uint64_t max_len, struct blk_extent *out,
                           struct vd_err *err)
{
    uint8_t bitmap[512]; /* a piece is enough: the run may end with it */
    uint64_t first = in_block / VHD_SECTOR, end = vd_div_up(in_block + max_len, VHD_SECTOR);
    uint64_t byte = first / 8, n_bytes = vd_div_up(end, 8) - byte, run, data_off;
    int rc;

    n_bytes = vd_min(n_bytes, sizeof(bitmap));
    rc = blk_read(disk->file, start + byte, bitmap, (size_t)n_bytes, err);
    if (rc)
        return vd_prefix(err, rc, "block %" PRIu64 ": sector bitmap", block);
    end = vd_min(end, (byte + n_bytes) * 8);
    run = bit_run(bitmap, first - byte * 8, end - byte * 8) + first;
    out->len = vd_min(max_len, run * (uint64_t)VHD_SECTOR - in_block);
    if (!bit_set(bitmap, first - byte * 8)) {
        out->status = BLK_ZEROS;
        return 0;
    }
    data_off = start + disk->bitmap_len + in_block;
    if (data_off >= disk->data_end) {
        out->status = BLK_UNREADABLE;
        (void)vd_fail(err, VD_ECORRUPT,
                      "block %" PRIu64 ": passes the end of the file (offset %" PRIu64
                      ", the file's data end at %" PRIu64 ")",
                      block, data_off, disk->data_end);
        return 0;
    }
    out->status = BLK_DATA;
    out->child = disk->file;
    out->child_off = data_off;
    out->len = vd_min(out->len, disk->data_end - data_off);
    return 0;
}

/* The run at `off`.  When it is unreadable the reason is in `err` and the result is 0; an error
 * result means that the table or a bitmap cannot be read. */
static int vhd_locate(const struct blkdev *dev, uint64_t off, uint64_t max_len,
                      struct blk_extent *out, struct vd_err *err)
{
    const struct vhd_disk *disk = dev->priv;
    uint64_t block = off / disk->block_size, in_block = off % disk->block_size;
    uint64_t start, left = vd_min(max_len, dev->size - off);
    uint32_t entry[WINDOW];
    size_t n, run = 0;
    int rc;

    n = (size_t)vd_min(WINDOW, vd_div_up(in_block + left, disk->block_size));
    rc = read_entries(disk, block, n, entry, err);
    if (rc)
        return rc;
    *out = (struct blk_extent){.len = vd_min(left, disk->block_size - in_block)};
    while (run < n && entry[run] == VHD_BAT_UNUSED)
        run++;
    if (run) {
        out->status = BLK_ZEROS;
        out->len = vd_min(left, run * (uint64_t)disk->block_size - in_block);
        return 0;
    }
    start = (uint64_t)entry[0] * VHD_SECTOR;
    if (check_block(disk, block, start, err)) {
        out->status = BLK_UNREADABLE;
        return 0;
    }
    return locate_in_block(disk, block, start, in_block, out->len, out, err);
}

static int fixed_locate(const struct blkdev *dev, uint64_t off, uint64_t max_len,
                        struct blk_extent *out, struct vd_err *err)
{
    const struct vhd_disk *disk = dev->priv;

    *out = (struct blk_extent){.len = vd_min(max_len, dev->size - off)};
    if (off >= disk->data_end) {
        out->status = BLK_UNREADABLE;
        (void)vd_fail(err, VD_ECORRUPT,
                      "the file ends before the disk does (the file's data end at %" PRIu64 ")",
                      disk->data_end);
        return 0;
    }
    out->status = BLK_DATA;
    out->child = disk->file;
    out->child_off = off;
    out->len = vd_min(out->len, disk->data_end - off);
    return 0;
}

/* ---- the layer ---- */

static int disk_map(struct blkdev *dev, uint64_t off, uint64_t max_len, struct blk_extent *out,
                    struct vd_err *err)
{
    const struct vhd_disk *disk = dev->priv;
    struct vd_err reason = VD_ERR_INIT; /* why a run is unreadable: only a read tells */
    int rc = disk->fixed ? fixed_locate(dev, off, max_len, out, &reason)
                         : vhd_locate(dev, off, max_len, out, &reason);

    if (rc && err)
        *err = reason;
    return vd_at(err, image_named(err, rc, disk->name), off);
}

static int disk_read_at(struct blkdev *dev, uint64_t off, void *buf, size_t len, struct vd_err *err)
{
    const struct vhd_disk *disk = dev->priv;

    return image_read_located(dev, disk->fixed ? fixed_locate : vhd_locate, disk->name, off, buf,
                              len, err);
}

static void disk_free(struct vhd_disk *disk)
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
    .name = "vhd",
    .read_at = disk_read_at,
    .map = disk_map,
    .close = disk_close,
};

/* ---- what opening looks at ---- */

struct scan {
    uint64_t allocated, bad, first_bad;
    uint64_t looked_at;            /* blocks whose bitmap was read */
    uint64_t hidden, first_hidden; /* sectors under a clear bit that are not zeros */
    uint64_t budget;               /* bytes that may still be read to find them */
    bool limited;                  /* a bound of the check was met */
    bool incomplete;               /* some of it could not be read or compared */
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
static void scan_bitmap(const struct vhd_disk *disk, uint64_t disk_size, uint64_t block,
                        uint64_t start, struct scan *scan)
{
    uint64_t used = vd_min(disk_size - block * disk->block_size, disk->block_size);
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

        run = bit_run(bitmap, i, n_sectors);
        if (!bit_set(bitmap, i) && vd_range_inside(off, run * VHD_SECTOR, disk->data_end))
            scan_clear_run(disk, block, off, run, scan);
    }
}

static void scan_entry(struct vhd_disk *disk, uint64_t disk_size, uint64_t block, uint32_t entry,
                       struct scan *scan)
{
    uint64_t start = (uint64_t)entry * VHD_SECTOR;

    if (entry == VHD_BAT_UNUSED)
        return;
    scan->allocated++;
    if (check_block(disk, block, start, NULL)) {
        if (scan->bad++ == 0)
            scan->first_bad = block;
        return;
    }
    if (overlap_add(&disk->overlap, start, NULL))
        scan->incomplete = true;
    scan_bitmap(disk, disk_size, block, start, scan);
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
    else if (scan->limited)
        vd_fact_add(facts, VD_FACT_INFO, "sector_bitmap_check",
                    "not all: %" PRIu64 " bitmaps were looked at", scan->looked_at);
}

static int scan_table(struct vhd_disk *disk, uint64_t disk_size, struct vd_facts *facts,
                      struct vd_err *err)
{
    struct scan scan = {.budget = CHECK_BYTES};
    uint32_t entry[WINDOW] = {0};
    uint64_t block;
    int rc;

    for (block = 0; block < disk->n_blocks; block += WINDOW) {
        size_t n = (size_t)vd_min(WINDOW, disk->n_blocks - block), i;

        /* A table that cannot be read here costs exactly the blocks that it describes. */
        if (read_entries(disk, block, n, entry, NULL)) {
            scan.incomplete = true;
            continue;
        }
        for (i = 0; i < n; i++)
            scan_entry(disk, disk_size, block + i, entry[i], &scan);
    }
    rc = overlap_finish(&disk->overlap, (uint64_t)disk->bitmap_len + disk->block_size, err);
    if (rc)
        return vd_prefix(err, rc, "allocation table");
    report_scan(disk, &scan, facts);
    return 0;
}

/* ---- construction ---- */

/* Private data over `file`, or NULL. */
static struct vhd_disk *disk_alloc(struct blkdev *file, uint64_t data_end, const char *name)
{
    struct vhd_disk *disk = calloc(1, sizeof(*disk));

    if (!disk)
        return NULL;
    disk->file = file;
    disk->data_end = data_end;
    disk->name = strdup(name);
    if (disk->name)
        return disk;
    free(disk);
    return NULL;
}

/* Makes the layer from `disk`, which it takes over in every case. */
static int disk_new(struct vhd_disk *disk, uint64_t size, struct blkdev **out, struct vd_err *err)
{
    struct blkdev *dev = NULL;
    int rc = blk_new(&disk_type, size, "", disk, &dev, err);

    if (rc) {
        disk_free(disk);
        return rc;
    }
    rc = blk_add_child(dev, blk_ref(disk->file), err);
    if (rc) {
        blk_unref(disk->file);
        blk_unref(dev);
        return rc;
    }
    dev->read_unit = disk->block_size;
    *out = dev;
    return 0;
}

int vhd_fixed_new(struct blkdev *file, uint64_t data_end, uint64_t disk_size, const char *name,
                  struct blkdev **out, struct vd_err *err)
{
    struct vhd_disk *disk = disk_alloc(file, data_end, name);

    if (!disk)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    disk->fixed = true;
    return disk_new(disk, disk_size, out, err);
}

int vhd_dynamic_new(struct blkdev *file, const struct vhd_found *found,
                    const struct vhd_header *header, uint64_t disk_size, const char *name,
                    struct blkdev **out, struct vd_facts *facts, struct vd_err *err)
{
    struct vhd_disk *disk = disk_alloc(file, found->data_end, name);
    int rc;

    if (!disk)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    disk->header_offset = found->footer.data_offset;
    disk->table_offset = header->table_offset;
    disk->table_len = (uint64_t)header->max_entries * 4;
    disk->block_size = header->block_size;
    disk->n_blocks = vd_div_up(disk_size, header->block_size);
    disk->bitmap_len =
        (uint32_t)(vd_div_up(header->block_size / VHD_SECTOR, 8 * (uint64_t)VHD_SECTOR) *
                   VHD_SECTOR);
    rc = scan_table(disk, disk_size, facts, err);
    if (rc) {
        disk_free(disk);
        return rc;
    }
    return disk_new(disk, disk_size, out, err);
}
