/* SPDX-License-Identifier: Apache-2.0 */
/* Walks a whole file system and hashes all content: what several test programs share. */
#ifndef VD_TESTS_FS_WALK_H
#define VD_TESTS_FS_WALK_H

#include "fs/fs.h"

/* One object.  kind: f d l o, ads = a stream, m = file-system metadata, e = failed (`hash` is the
 * message; the path of a directory that could not be listed to its end is the directory's). */
struct fs_walk_line {
    const char *kind;
    uint64_t size;
    const char *hash;           /* SHA-256, "-", "-> target" or message */
    const char *path;           /* raw bytes */
    const struct fs_attr *attr; /* may be NULL */
};

typedef void fs_walk_fn(void *ctx, const struct fs_walk_line *line);

/* Bounds for hostile volumes; 0 = none. */
struct fs_walk_limits {
    size_t objects; /* the walk ends after so many */
    uint64_t bytes; /* of each content only so many are hashed */
};

/* `limits` may be NULL.  Non-zero without memory. */
int fs_walk(struct fs *fs, const struct fs_walk_limits *limits, fs_walk_fn *fn, void *ctx);

/* Opens image files (joined by commas) as a volume of `size` bytes (0: all) from `off`. */
int fs_walk_open(const char *names, uint64_t off, uint64_t size, struct blkdev **out,
                 struct vd_err *err);

#endif
