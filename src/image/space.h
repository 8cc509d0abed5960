/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who uses which bytes of a file: finds bytes that two structures claim, and bytes that nobody
 * claims.  For the structural check; opening has cheaper means (overlap.h, vmdk/claims.h).
 *
 * Memory is bounded whatever the file's size: the file is gone through in windows, and the claims
 * are asked for again in each.
 */
#ifndef VD_IMAGE_SPACE_H
#define VD_IMAGE_SPACE_H

#include "blk/check.h"

struct space;

/* Tells that `len` bytes at `off` belong to `what` ("grain 17", "allocation table"; copied only when
 * it is reported).  Ranges may pass the end of the file; len 0 claims nothing. */
void space_claim(struct space *space, uint64_t off, uint64_t len, const char *what, uint64_t index);

/* Gives all claims, always the same ones in the same order, by space_claim(). */
typedef int space_walk_fn(void *ctx, struct space *space, struct vd_err *err);

/* Bytes that all claims of `file` leave or share.  `unit`: claims start and end at multiples of it
 * (a power of two, 512 or more; starts are rounded down, ends up).  What passes the end of the file
 * is cut there: that an entry does is for the layer to report.  Findings: "overlap" (CHECK_ERROR)
 * with both claimants' words, the first 64 one by one and the rest in one sum; "unreferenced"
 * (CHECK_NOTE) with the number of bytes, the number of ranges and the first of them;
 * "space_not_checked" (CHECK_WARNING) when claims lie more than 1024 windows apart.  `walk` is
 * called once, once more for each window (2^28 units) that has claims, and once more when there are
 * overlaps; at most 40 MiB of memory.  Fails with what `walk` failed with, VD_ENOMEM, or VD_EUSAGE
 * for a unit that is no power of two. */
int space_check(const struct check *check, const char *file, uint64_t file_size, uint32_t unit,
                space_walk_fn *walk, void *ctx, struct vd_err *err);

#endif
