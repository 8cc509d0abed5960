/* SPDX-License-Identifier: Apache-2.0 */
/* What reading (disk.c), the look while opening (scan.c) and the structural check (check.c) of a VHD
 * share: the disk, its table and its bitmaps.  Internal to src/image/vhd. */
#ifndef VD_IMAGE_VHD_DISK_H
#define VD_IMAGE_VHD_DISK_H

#include "image/overlap.h"
#include "vhd.h"

/* Table entries that are read at once: 4 KiB. */
#define VHD_WINDOW 1024

/* Immutable after construction. */
struct vhd_disk {
    struct blkdev *file; /* = dev->children[0] */
    uint64_t data_end;   /* bytes of the file from here on are not the disk's */
    uint64_t size;       /* of the disk, bytes */
    bool fixed;
    bool differencing; /* what is not in this file is the parent's, not zeros */
    uint64_t header_offset, table_offset, table_len;
    uint64_t n_blocks; /* blocks that the disk needs; the table has at least as many entries */
    uint32_t block_size;
    uint32_t bitmap_len;      /* bytes, padded to whole sectors */
    struct vhd_header header; /* not of a fixed disk */
    struct overlap overlap;
    char *name; /* of the file, for messages; owned */
};

/* Entries first … first+n-1 (n <= VHD_WINDOW) of the table. */
int vhd_entries_read(const struct vhd_disk *disk, uint64_t first, size_t n, uint32_t *out,
                     struct vd_err *err);

/* May the block be where its entry says?  VD_ECORRUPT with the reason: over the header or the table,
 * past the end of the file, or (once the table was looked at) over another block. */
int vhd_block_check(const struct vhd_disk *disk, uint64_t block, uint64_t start,
                    struct vd_err *err);

/* Bit `i` of a sector bitmap: the most significant bit of a byte comes first. */
bool vhd_bit(const uint8_t *bitmap, uint64_t i);

/* Sectors from `first` on, at most to `end`, that have the bit of `first`. */
uint64_t vhd_bit_run(const uint8_t *bitmap, uint64_t first, uint64_t end);

/* Where the last block of the table ends, and whether all entries could be read. */
struct vhd_extent_end {
    uint64_t end; /* bytes of the file; 0: no block */
    bool complete;
};

/* Looks once over the table while opening and reports to `facts`; fills disk->overlap.  `share` may be
 * NULL; a table that the chain has no budget for is not looked at, and that is said. */
int vhd_scan(struct vhd_disk *disk, struct blk_share *share, struct vhd_extent_end *out_end,
             struct vd_facts *facts, struct vd_err *err);

/* The check operation of the layer: see blk/check.h. */
int vhd_check(struct blkdev *dev, const struct check *check, struct vd_err *err);

#endif
