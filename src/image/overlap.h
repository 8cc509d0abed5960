/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks of one file that claim the same bytes.  At most one of the claimants can be right and
 * nothing tells which, so both are unreadable.  Shared by the block-table formats. */
#ifndef VD_IMAGE_OVERLAP_H
#define VD_IMAGE_OVERLAP_H

#include "base/err.h"

/* Blocks that are compared while opening: 2^20 of 8 bytes = 8 MiB for the time of the check, which
 * is every block of a 2 TiB VHD or of a 32 TiB VHDX with the usual 32 MiB blocks. */
#define OVERLAP_MAX_BLOCKS (1u << 20)

/* Conflicts that are kept; a file with more is refused. */
#define OVERLAP_MAX_CONFLICTS 4096

/* File offsets of equally long blocks.  Filled and sorted while opening, then immutable. */
struct overlap {
    uint64_t *offs; /* owned; after overlap_finish: only the starts of conflicting blocks, sorted */
    size_t n, cap;
    bool finished;
};

/* Remembers a block that starts at `off`.  VD_ELIMIT: more than OVERLAP_MAX_BLOCKS. */
int overlap_add(struct overlap *overlap, uint64_t off, struct vd_err *err);

/* Reduces the set to the starts of blocks that share a byte with another one (a block is
 * `block_len` bytes).  VD_ECORRUPT: more than OVERLAP_MAX_CONFLICTS. */
int overlap_finish(struct overlap *overlap, uint64_t block_len, struct vd_err *err);

/* Is the block that starts at `off` in conflict?  Never before overlap_finish;
 * any thread after it. */
bool overlap_hit(const struct overlap *overlap, uint64_t off);

void overlap_clear(struct overlap *overlap);

#endif
