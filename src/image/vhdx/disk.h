/* SPDX-License-Identifier: Apache-2.0 */
/* What the files that know the block allocation table share: disk.c maps, bat.c understands entries,
 * scan.c looks over the table when the disk is opened, check.c looks at everything.  Internal to
 * src/image/vhdx. */
#ifndef VD_IMAGE_VHDX_DISK_H
#define VD_IMAGE_VHDX_DISK_H

#include "image/vhdx/claims.h"
#include "image/vhdx/vhdx.h"

/* Entries that one look-up reads, so that neighbours become one run: 4 KiB. */
#define VHDX_BAT_WINDOW 512

/* 2.5.1.1; for sector bitmap blocks (2.5.1.2) only NOT_PRESENT and FULLY_PRESENT exist. */
enum vhdx_state {
    VHDX_NOT_PRESENT = 0,
    VHDX_UNDEFINED = 1,
    VHDX_ZERO = 2,
    VHDX_UNMAPPED = 3,
    VHDX_FULLY_PRESENT = 6,
    VHDX_PARTIALLY_PRESENT = 7
};

/* Who answers for a block. */
enum vhdx_answer {
    VHDX_ANSWER_ZEROS,
    VHDX_ANSWER_PARENT,
    VHDX_ANSWER_FILE,   /* this file, if vhdx_block_check agrees */
    VHDX_ANSWER_BITMAP, /* this file and the parent, sector by sector; likewise */
    VHDX_ANSWER_NOBODY  /* the entry is not valid */
};

struct vhdx_disk {
    struct blkdev *base; /* = dev->children[0]: the file, or its replayed view */
    struct vhdx_layout layout;
    struct vhdx_region taken[3]; /* log, metadata, BAT: no block may lie there */
    uint64_t bat_off, n_entries; /* entries that the BAT region holds */
    uint64_t n_blocks;           /* payload blocks */
    uint32_t block_size, chunk_ratio, sector_size;
    bool has_parent;
    struct vhdx_claims claims; /* blocks that share bytes */
    char *name;                /* of the file, for messages; owned */
};

/* ---- bat.c ---- */

static inline enum vhdx_state vhdx_entry_state(uint64_t entry)
{
    return (enum vhdx_state)(entry & 7);
}

/* Where the block of an entry lies in the file, bytes. */
static inline uint64_t vhdx_entry_off(uint64_t entry)
{
    return entry & ~(VHDX_MIB - 1);
}

/* Bits 3 to 19, which must be zero. */
static inline bool vhdx_entry_reserved(uint64_t entry)
{
    return entry & (VHDX_MIB - 1) & ~UINT64_C(7);
}

/* Where the entry of a payload block stands: one bitmap entry follows every chunk. */
static inline uint64_t vhdx_payload_index(const struct vhdx_disk *disk, uint64_t block)
{
    return block + block / disk->chunk_ratio;
}

/* Where the entry of the sector bitmap of that block's chunk stands. */
static inline uint64_t vhdx_bitmap_index(const struct vhdx_disk *disk, uint64_t block)
{
    return (block / disk->chunk_ratio + 1) * ((uint64_t)disk->chunk_ratio + 1) - 1;
}

/* Entries index … index+n-1 of the table (n <= VHDX_BAT_WINDOW); they must be inside the region. */
int vhdx_bat_read(const struct vhdx_disk *disk, uint64_t index, size_t n, uint64_t *out,
                  struct vd_err *err);

/* Payload entries of block, block+1 …, at most n; all of one chunk, so that they are neighbours.
 * *out_n (> 0) tells how many. */
int vhdx_payload_read(const struct vhdx_disk *disk, uint64_t block, size_t n, uint64_t *out,
                      size_t *out_n, struct vd_err *err);

enum vhdx_answer vhdx_entry_answer(const struct vhdx_disk *disk, uint64_t entry);

/* Can the payload block of an entry that is not zeros and not the parent's be used?  If not:
 * VD_ECORRUPT with the reason.  `err` may be NULL. */
int vhdx_block_check(const struct vhdx_disk *disk, uint64_t block, uint64_t entry,
                     struct vd_err *err);

/* Can the sector bitmap block of the chunk of `block`, whose entry this is, be used for that block?
 * If not: VD_ECORRUPT with the reason. */
int vhdx_bitmap_check(const struct vhdx_disk *disk, uint64_t block, uint64_t entry,
                      struct vd_err *err);

/* The run of sectors at byte `in_block` of a partially present block, at most `max_len` (> 0) bytes:
 * *out_len bytes that are all in this file or all not.  On failure *out_len bytes are concerned, and
 * nobody knows whose they are: there is no bitmap that can be believed (VD_ECORRUPT, the whole block),
 * or its entry or a part of it cannot be read. */
int vhdx_bitmap_run(const struct vhdx_disk *disk, uint64_t block, uint64_t in_block,
                    uint64_t max_len, bool *out_present, uint64_t *out_len, struct vd_err *err);

/* ---- scan.c ---- */

/* Looks once over the table: fills disk->claims and reports to `facts`.  `share` may be NULL; a table that
 * the chain has no budget for is not looked at, and that is said. */
int vhdx_scan(struct vhdx_disk *disk, struct blk_share *share, struct vd_facts *facts,
              struct vd_err *err);

/* ---- check.c ---- */

/* The layer's `check` operation. */
int vhdx_check(struct blkdev *dev, const struct check *check, struct vd_err *err);

#endif
