/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entries of the VHDX block allocation table ([MS-VHDX] 2.5) and sector bitmaps (2.4).
 *
 *     payload 0 … payload r-1, bitmap 0, payload r … payload 2r-1, bitmap 1 …    r = chunk ratio
 *
 * The bitmap entries are there in every kind of file, used or not.  A chunk has 2^23 sectors, one bit
 * each, in one bitmap block of 1 MiB: least significant bit first, 1 = in this file.
 *
 *     state                no parent            differencing
 *     0 NOT_PRESENT        zeros                the parent's
 *     1 UNDEFINED          zeros, said          zeros, said: the parent is hidden
 *     2 ZERO               zeros                zeros
 *     3 UNMAPPED           zeros                zeros
 *     6 FULLY_PRESENT      this file's          this file's, whatever the bitmap says
 *     7 PARTIALLY_PRESENT  nobody's             this file's and the parent's, by the bitmap
 *     4, 5, reserved bits  nobody's             nobody's
 *
 * For UNDEFINED and UNMAPPED the specification lets a reader choose between zeros, old content of the
 * block and, for UNDEFINED, anything; that the parent is asked is not among the choices.  Zeros are
 * what qemu and Microsoft's own readers give.  5 was UNMAPPED in the draft 0.95, and qemu gives zeros
 * for it; no writer of it is known, and one lost bit makes a 5 of a 7, so it is not believed here.
 *
 * What lies outside the file, over another structure or over another block is not believed either:
 * exactly the blocks concerned are unreadable.  Pure but for reading; any thread.
 */
#include "disk.h"

#include "base/bytes.h"
#include "base/range.h"

#include <inttypes.h>

/* Bytes of a bitmap that are read at once, from an aligned place: a bad sector of the medium costs exactly
 * the sectors of the disk that it describes. */
#define BITMAP_WINDOW 512u

int vhdx_bat_read(const struct vhdx_disk *disk, uint64_t index, size_t n, uint64_t *out,
                  struct vd_err *err)
{
    uint8_t raw[VHDX_BAT_WINDOW * 8];
    size_t i;
    int rc = blk_read(disk->base, disk->bat_off + index * 8, raw, n * 8, err);

    if (rc)
        return vd_prefix(err, rc, "BAT entry %" PRIu64, index);
    for (i = 0; i < n; i++)
        out[i] = vd_le64(raw + 8 * i);
    return 0;
}

int vhdx_payload_read(const struct vhdx_disk *disk, uint64_t block, size_t n, uint64_t *out,
                      size_t *out_n, struct vd_err *err)
{
    int rc;

    n = (size_t)vd_min(vd_min(n, VHDX_BAT_WINDOW), disk->chunk_ratio - block % disk->chunk_ratio);
    n = (size_t)vd_min(n, disk->n_blocks - block);
    rc = vhdx_bat_read(disk, vhdx_payload_index(disk, block), n, out, err);
    if (rc == 0)
        *out_n = n;
    return rc;
}

enum vhdx_answer vhdx_entry_answer(const struct vhdx_disk *disk, uint64_t entry)
{
    if (vhdx_entry_reserved(entry))
        return VHDX_ANSWER_NOBODY;
    switch (vhdx_entry_state(entry)) {
    case VHDX_NOT_PRESENT:
        return disk->has_parent ? VHDX_ANSWER_PARENT : VHDX_ANSWER_ZEROS;
    case VHDX_UNDEFINED:
    case VHDX_ZERO:
    case VHDX_UNMAPPED:
        return VHDX_ANSWER_ZEROS;
    case VHDX_FULLY_PRESENT:
        return VHDX_ANSWER_FILE;
    case VHDX_PARTIALLY_PRESENT:
        return disk->has_parent ? VHDX_ANSWER_BITMAP : VHDX_ANSWER_NOBODY;
    }
    return VHDX_ANSWER_NOBODY;
}

static int refuse_entry(uint64_t block, uint64_t entry, struct vd_err *err)
{
    unsigned state = (unsigned)vhdx_entry_state(entry);

    if (vhdx_entry_reserved(entry))
        return vd_fail(err, VD_ECORRUPT,
                       "block %" PRIu64 ": the BAT entry 0x%016" PRIx64
                       " is not valid: reserved bits are set",
                       block, entry);
    if (state == VHDX_PARTIALLY_PRESENT)
        return vd_fail(err, VD_ECORRUPT,
                       "block %" PRIu64 ": is partially present in a file that has no parent",
                       block);
    return vd_fail(err, VD_ECORRUPT,
                   "block %" PRIu64 ": the BAT entry 0x%016" PRIx64
                   " is not valid: the state %u is reserved%s",
                   block, entry, state, state == 5 ? " (it was UNMAPPED in a draft)" : "");
}

/* May a block of `len` bytes lie at `off`?  `what` and `index` name it. */
static int check_place(const struct vhdx_disk *disk, const char *what, uint64_t index, uint64_t off,
                       uint64_t len, struct vd_err *err)
{
    size_t i;

    if (off >= disk->base->size)
        return vd_fail(err, VD_ECORRUPT,
                       "%s %" PRIu64 ": lies past the end of the file (offset %" PRIu64
                       ", the file has %" PRIu64 " bytes)",
                       what, index, off, disk->base->size);
    if (off < VHDX_MIB)
        return vd_fail(err, VD_ECORRUPT, "%s %" PRIu64 ": lies over the header section", what,
                       index);
    for (i = 0; i < 3; i++)
        if (vd_range_overlap(off, len, disk->taken[i].off, disk->taken[i].len))
            return vd_fail(err, VD_ECORRUPT,
                           "%s %" PRIu64
                           ": lies over the log, the metadata or the BAT (offset %" PRIu64 ")",
                           what, index, off);
    if (vhdx_claims_hit(&disk->claims, off))
        return vd_fail(err, VD_ECORRUPT,
                       "%s %" PRIu64
                       ": shares bytes of the file with another block (offset %" PRIu64 ")",
                       what, index, off);
    return 0;
}

int vhdx_block_check(const struct vhdx_disk *disk, uint64_t block, uint64_t entry,
                     struct vd_err *err)
{
    if (vhdx_entry_answer(disk, entry) == VHDX_ANSWER_NOBODY)
        return refuse_entry(block, entry, err);
    return check_place(disk, "block", block, vhdx_entry_off(entry), disk->block_size, err);
}

/* ---- sector bitmaps ---- */

/* Bytes of the bitmap block that belong to one payload block: 32 or more. */
static uint64_t bitmap_bytes(const struct vhdx_disk *disk)
{
    return disk->block_size / disk->sector_size / 8;
}

/* Where the bits of `block` begin in its chunk's bitmap block, bytes. */
static uint64_t bitmap_start(const struct vhdx_disk *disk, uint64_t block)
{
    return block % disk->chunk_ratio * bitmap_bytes(disk);
}

int vhdx_bitmap_check(const struct vhdx_disk *disk, uint64_t block, uint64_t entry,
                      struct vd_err *err)
{
    uint64_t chunk = block / disk->chunk_ratio, off = vhdx_entry_off(entry);
    int rc;

    if (vhdx_entry_state(entry) == VHDX_NOT_PRESENT && !vhdx_entry_reserved(entry))
        return vd_fail(err, VD_ECORRUPT, "sector bitmap %" PRIu64 ": is not there", chunk);
    if (vhdx_entry_state(entry) != VHDX_FULLY_PRESENT || vhdx_entry_reserved(entry))
        return vd_fail(err, VD_ECORRUPT,
                       "sector bitmap %" PRIu64 ": the BAT entry 0x%016" PRIx64 " is not valid",
                       chunk, entry);
    rc = check_place(disk, "sector bitmap", chunk, off, VHDX_MIB, err);
    if (rc)
        return rc;
    if (!vd_range_inside(off + bitmap_start(disk, block), bitmap_bytes(disk), disk->base->size))
        return vd_fail(err, VD_ECORRUPT,
                       "sector bitmap %" PRIu64 ": passes the end of the file (offset %" PRIu64
                       ", the file has %" PRIu64 " bytes)",
                       chunk, off, disk->base->size);
    return 0;
}

/* Where the bits of a partially present block lie in the file. */
static int locate_bits(const struct vhdx_disk *disk, uint64_t block, uint64_t *out,
                       struct vd_err *err)
{
    uint64_t index = vhdx_bitmap_index(disk, block), entry = 0;
    int rc;

    if (index >= disk->n_entries)
        return vd_fail(err, VD_ECORRUPT,
                       "block %" PRIu64 ": the BAT is too short for its sector bitmap's entry",
                       block);
    rc = vhdx_bat_read(disk, index, 1, &entry, err);
    if (rc)
        return rc;
    rc = vhdx_bitmap_check(disk, block, entry, err);
    if (rc)
        return vd_prefix(err, rc, "block %" PRIu64, block);
    *out = vhdx_entry_off(entry) + bitmap_start(disk, block);
    return 0;
}

static bool bit_set(const uint8_t *bitmap, uint64_t i)
{
    return bitmap[i / 8] >> (i % 8) & 1;
}

/* Bits from `first` on, at most to `end`, that are like `first`. */
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

int vhdx_bitmap_run(const struct vhdx_disk *disk, uint64_t block, uint64_t in_block,
                    uint64_t max_len, bool *out_present, uint64_t *out_len, struct vd_err *err)
{
    uint8_t bits[BITMAP_WINDOW];
    uint64_t sector = disk->sector_size, first = in_block / sector, byte = first / 8, off = 0, end;
    uint64_t n_bytes;
    int rc;

    *out_len = vd_min(max_len, disk->block_size - in_block);
    rc = locate_bits(disk, block, &off, err);
    if (rc)
        return rc;
    end = vd_div_up(in_block + *out_len, sector);
    n_bytes = vd_min(vd_div_up(end, 8) - byte, BITMAP_WINDOW - (off + byte) % BITMAP_WINDOW);
    end = vd_min(end, (byte + n_bytes) * 8);
    *out_len = vd_min(*out_len, end * sector - in_block);
    rc = blk_read(disk->base, off + byte, bits, (size_t)n_bytes, err);
    if (rc)
        return vd_prefix(err, rc, "block %" PRIu64 ": sector bitmap", block);
    *out_present = bit_set(bits, first - byte * 8);
    end = first + bit_run(bits, first - byte * 8, end - byte * 8);
    *out_len = vd_min(*out_len, end * sector - in_block);
    return 0;
}
