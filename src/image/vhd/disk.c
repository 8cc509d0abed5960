/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The disk of a VHD: where each of its bytes lies in the file ("Block Allocation Table and Data
 * Blocks" and "Implementing a Differencing Hard Disk" of the 2006 specification).  vhd_locate() is the
 * one mapping function; reading and map both use it.  Nothing is cached here: a table entry serves a
 * whole block and the page cache already holds the table and the bitmaps.
 *
 * Sector bitmap.  Most significant bit first, padded to whole sectors.  In a differencing disk 1 = the
 * sector is in this file, 0 = it is the parent's; an unused table entry leaves the whole block to the
 * parent.  In a dynamic disk 1 = the sector was written, 0 = it never was, and "all sectors … whose
 * corresponding bits in the bitmap are zero must contain 512 bytes of zero on disk".  So a clear bit
 * reads as zeros.  libvhdi, VirtualBox, DiscUtils and XenServer's tapdisk do the same (the last one
 * puts blocks on storage that it does not clear, so what lies under a clear bit can be a stranger's
 * data); qemu and dissect ignore the bitmap and show the stored bytes.  The two differ only in files
 * that break the rule; scan.c looks for that and warns.
 *
 * An entry that points outside the file, into the header or the table, or to bytes of another block,
 * and an entry or a bitmap that cannot be read, make exactly the sectors that they describe
 * unreadable.  Immutable after construction; no locks.
 */
#include "disk.h"

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/range.h"
#include "image/located.h"
#include "image/named.h"

#include <inttypes.h>
#include <string.h>

/* ---- one block ---- */

int vhd_entries_read(const struct vhd_disk *disk, uint64_t first, size_t n, uint32_t *out,
                     struct vd_err *err)
{
    uint8_t raw[VHD_WINDOW * 4];
    size_t i;
    int rc = blk_read(disk->file, disk->table_offset + first * 4, raw, n * 4, err);

    if (rc)
        return vd_prefix(err, rc, "allocation table: entry %" PRIu64, first);
    for (i = 0; i < n; i++)
        out[i] = vd_be32(raw + 4 * i);
    return 0;
}

int vhd_block_check(const struct vhd_disk *disk, uint64_t block, uint64_t start, struct vd_err *err)
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

bool vhd_bit(const uint8_t *bitmap, uint64_t i)
{
    return bitmap[i / 8] & (0x80 >> (i % 8));
}

uint64_t vhd_bit_run(const uint8_t *bitmap, uint64_t first, uint64_t end)
{
    bool set = vhd_bit(bitmap, first);
    uint8_t whole = set ? 0xff : 0;
    uint64_t i = first + 1;

    while (i < end)
        if (i % 8 == 0 && end - i >= 8 && bitmap[i / 8] == whole)
            i += 8;
        else if (vhd_bit(bitmap, i) == set)
            i++;
        else
            break;
    return i - first;
}

/* The run at byte `in_block` of the block at `start`, at most `max_len` bytes. */
static void locate_in_block(const struct vhd_disk *disk, uint64_t block, uint64_t start,
                            uint64_t in_block, uint64_t max_len, struct blk_extent *out,
                            struct vd_err *err)
{
    uint8_t bitmap[VHD_SECTOR];
    uint64_t first = in_block / VHD_SECTOR, end = vd_div_up(in_block + max_len, VHD_SECTOR);
    uint64_t byte = first / 8, n_bytes = vd_div_up(end, 8) - byte, run, data_off;
    int rc;

    /* One sector of the bitmap: a bad one costs exactly the sectors that it describes. */
    n_bytes = vd_min(n_bytes, sizeof(bitmap) - byte % sizeof(bitmap));
    end = vd_min(end, (byte + n_bytes) * 8);
    out->len = vd_min(max_len, end * VHD_SECTOR - in_block);
    rc = blk_read(disk->file, start + byte, bitmap, (size_t)n_bytes, err);
    if (rc) {
        out->status = BLK_UNREADABLE;
        (void)vd_prefix(err, rc, "block %" PRIu64 ": sector bitmap", block);
        return;
    }
    run = vhd_bit_run(bitmap, first - byte * 8, end - byte * 8) + first;
    out->len = vd_min(out->len, run * VHD_SECTOR - in_block);
    if (!vhd_bit(bitmap, first - byte * 8)) {
        out->status = disk->differencing ? BLK_ABSENT : BLK_ZEROS;
        return;
    }
    data_off = start + disk->bitmap_len + in_block;
    if (data_off >= disk->data_end) {
        out->status = BLK_UNREADABLE;
        (void)vd_fail(err, VD_ECORRUPT,
                      "block %" PRIu64 ": passes the end of the file (offset %" PRIu64
                      ", the file's data end at %" PRIu64 ")",
                      block, data_off, disk->data_end);
        return;
    }
    out->status = BLK_DATA;
    out->child = disk->file;
    out->child_off = data_off;
    out->len = vd_min(out->len, disk->data_end - data_off);
}

/* The run at `off`.  When it is unreadable the reason is in `err`; the result is always 0. */
static int vhd_locate(const struct blkdev *dev, uint64_t off, uint64_t max_len,
                      struct blk_extent *out, struct vd_err *err)
{
    const struct vhd_disk *disk = dev->priv;
    uint64_t block = off / disk->block_size, in_block = off % disk->block_size;
    uint64_t start, left = vd_min(max_len, dev->size - off);
    uint32_t entry[VHD_WINDOW];
    size_t n, run = 0;
    int rc;

    n = (size_t)vd_min(VHD_WINDOW, vd_div_up(in_block + left, disk->block_size));
    entry[0] = 0; /* read below: n is never 0, which the analyser cannot know */
    *out = (struct blk_extent){.len = vd_min(left, disk->block_size - in_block)};
    rc = vhd_entries_read(disk, block, n, entry, err);
    if (rc && n > 1) { /* the bad place may lie behind the entry that counts */
        n = 1;
        rc = vhd_entries_read(disk, block, n, entry, err);
    }
    if (rc) {
        out->status = BLK_UNREADABLE;
        return 0;
    }
    while (run < n && entry[run] == VHD_BAT_UNUSED)
        run++;
    if (run) {
        out->status = disk->differencing ? BLK_ABSENT : BLK_ZEROS;
        out->len = vd_min(left, run * (uint64_t)disk->block_size - in_block);
        return 0;
    }
    start = (uint64_t)entry[0] * VHD_SECTOR;
    if (vhd_block_check(disk, block, start, err))
        out->status = BLK_UNREADABLE;
    else
        locate_in_block(disk, block, start, in_block, out->len, out, err);
    return 0;
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
    .check = vhd_check,
    .close = disk_close,
};

/* ---- construction ---- */

/* Private data over `file`, or NULL. */
static struct vhd_disk *disk_alloc(struct blkdev *file, uint64_t data_end, uint64_t size,
                                   const char *name)
{
    struct vhd_disk *disk = calloc(1, sizeof(*disk));

    if (!disk)
        return NULL;
    disk->file = file;
    disk->data_end = data_end;
    disk->size = size;
    disk->name = strdup(name);
    if (disk->name)
        return disk;
    free(disk);
    return NULL;
}

/* Makes the layer from `disk`, which it takes over in every case. */
static int disk_new(struct vhd_disk *disk, struct blkdev **out, struct vd_err *err)
{
    struct blkdev *dev = NULL;
    int rc = blk_new(&disk_type, disk->size, "", disk, &dev, err);

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
    struct vhd_disk *disk = disk_alloc(file, data_end, disk_size, name);

    if (!disk)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    disk->fixed = true;
    return disk_new(disk, out, err);
}

/* Bytes that a product may leave between the last block and the footer: Virtual PC leaves a sector behind
 * the table, Windows 4 KiB. */
#define GAP_MAX 4096u

/* The files of a split image must give exactly the bytes that the table speaks of: with a part that was
 * cut, everything behind it would be read from the wrong place. */
static int check_joined(const struct vhd_disk *disk, const struct vhd_extent_end *last,
                        struct vd_facts *facts, struct vd_err *err)
{
    if (!last->complete) {
        vd_fact_add(
            facts, VD_FACT_WARNING, "split",
            "the allocation table cannot be read completely: whether the parts of the split "
            "image are whole is not known");
        return 0;
    }
    if (last->end == 0 || last->end == disk->data_end)
        return 0;
    if (last->end < disk->data_end && disk->data_end - last->end <= GAP_MAX) {
        vd_fact_add(facts, VD_FACT_WARNING, "split",
                    "%" PRIu64 " bytes between the last block of the split image and its footer",
                    disk->data_end - last->end);
        return 0;
    }
    return vd_fail(err, VD_ECORRUPT,
                   "split image: its parts have %" PRIu64
                   " bytes before the footer, the allocation table speaks of %" PRIu64
                   ": a part is missing, cut, or of another image",
                   disk->data_end, last->end);
}

int vhd_sparse_new(struct blkdev *file, const struct vhd_found *found,
                   const struct vhd_header *header, const struct vhd_sparse *how, const char *name,
                   struct blkdev **out, struct vd_facts *facts, struct vd_err *err)
{
    struct vhd_disk *disk = disk_alloc(file, found->data_end, how->disk_size, name);
    struct vhd_extent_end last;
    int rc;

    if (!disk)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    disk->differencing = found->footer.disk_type == VHD_DIFFERENCING;
    disk->header = *header;
    disk->header_offset = found->footer.data_offset;
    disk->table_offset = header->table_offset;
    disk->table_len = (uint64_t)header->max_entries * 4;
    disk->block_size = header->block_size;
    disk->n_blocks = vd_div_up(disk->size, header->block_size);
    disk->bitmap_len =
        (uint32_t)(vd_div_up(header->block_size / VHD_SECTOR, 8 * (uint64_t)VHD_SECTOR) *
                   VHD_SECTOR);
    rc = vhd_scan(disk, how->joined ? NULL : how->share, &last, facts, err);
    if (rc == 0 && how->joined)
        rc = check_joined(disk, &last, facts, err);
    if (rc) {
        disk_free(disk);
        return rc;
    }
    return disk_new(disk, out, err);
}
