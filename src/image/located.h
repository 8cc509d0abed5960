/* SPDX-License-Identifier: Apache-2.0 */
/* Reading for formats whose mapping function tells everything: one loop for all of them. */
#ifndef VD_IMAGE_LOCATED_H
#define VD_IMAGE_LOCATED_H

#include "blk/blkdev.h"

/* The format's mapping function, used by read, map and info alike: the run at `off`, at most
 * `max_len` long.  BLK_DATA must name child and child_off; BLK_UNREADABLE leaves the reason in `err`
 * (class and message) and returns 0; an error means that the table cannot be read. */
typedef int image_locate_fn(const struct blkdev *dev, uint64_t off, uint64_t max_len,
                            struct blk_extent *out, struct vd_err *err);

/* Fills `buf` run by run.  Zeros and absent positions read as zeros, unreadable ones fail with the
 * reason, prefixed by the file's `name`; the first bad offset is one of `dev`.  Any thread. */
int image_read_located(struct blkdev *dev, image_locate_fn *locate, const char *name, uint64_t off,
                       void *buf, size_t len, struct vd_err *err);

#endif
