/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claims: do two grains of an extent, or a grain and a grain table, want the same bytes of the
 * file? Then one of them is wrong, nobody knows which, and neither may be shown.
 *
 * First pass: every range is marked in a bitmap of grain-sized units; this is cheap and finds
 * nothing in a sound file.  Only if a unit was touched twice, a second pass gives the ranges in
 * question again, and those that truly overlap are found by sorting.
 */
#ifndef VD_IMAGE_VMDK_CLAIMS_H
#define VD_IMAGE_VMDK_CLAIMS_H

#include "base/err.h"

struct vmdk_claims;

/* For a file of `file_size` bytes with grains of `grain` bytes, of which at most `max_grains` are
 * claimed.  NULL: out of memory, or the file is so much larger than all its grains that the bitmap
 * would be out of proportion; then nothing is checked. */
struct vmdk_claims *vmdk_claims_new(uint64_t file_size, uint64_t grain, uint64_t max_grains);
void vmdk_claims_free(struct vmdk_claims *c);

/* First pass: all grains, then all tables.  The ranges may reach past the end of the file. */
void vmdk_claims_grain(struct vmdk_claims *c, uint32_t gte, uint64_t len);
void vmdk_claims_table(struct vmdk_claims *c, uint64_t off, uint64_t len);
bool vmdk_claims_suspect(const struct vmdk_claims *c);

/* Second pass: the same ranges again.  False: out of memory. */
bool vmdk_claims_grain_again(struct vmdk_claims *c, uint32_t gte, uint64_t len);
bool vmdk_claims_table_again(struct vmdk_claims *c, uint64_t off, uint64_t len);

/* The table entries whose grains overlap something, ascending, each once; the array is the
 * caller's.  NULL and 0: none.  False: out of memory. */
bool vmdk_claims_contested(struct vmdk_claims *c, uint32_t **out, size_t *out_n);

#endif
