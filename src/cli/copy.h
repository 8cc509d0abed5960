/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a whole device once, for several uses at the same time: hashing, writing, checking.
 *
 *     readers (threads) ──▶ ring of buffers ──▶ sink 1 (thread): hash
 *                                          └──▶ sink 2 (thread): file
 *                       the caller's thread: progress, checkpoints
 *
 * Every sink sees every chunk, in order of offsets, without gaps.  Runs that the map calls zeros are
 * not read.  A read that fails ends everything behind the last good chunk before it, or, with
 * `keep_going`, becomes zeros and a list of bad ranges.
 */
#ifndef VD_CLI_COPY_H
#define VD_CLI_COPY_H

#include "blk/blkdev.h"

#define COPY_CHUNK ((size_t)1 << 20)

/* A zero run is cut at this length, so that sinks that work for it (hashes) show progress. */
#define COPY_MAX_ZEROS ((uint64_t)256 << 20)

/* Bytes that cannot be had. */
struct copy_bad {
    uint64_t off, len;
    char why[256]; /* of the first of them; printable */
};

/* One piece of the device; borrowed for the call. */
struct copy_chunk {
    uint64_t off, len;
    const uint8_t *bytes;       /* NULL: zeros, by the word of the format */
    const struct copy_bad *bad; /* keep_going: ranges inside, in order; zeros in `bytes` */
    size_t n_bad;
    bool checkpoint; /* the caller asked for one here (copy_options.checkpoint) */
};

struct copy_sink {
    /* An error ends the copy.  Called in a thread of the sink's own, which ends with the copy. */
    int (*take)(void *ctx, const struct copy_chunk *chunk, struct vd_err *err);
    void *ctx;
};

struct copy_options {
    bool keep_going;
    unsigned readers; /* threads; 0: as many as there are processors, at most 4 */
    /* Called in the caller's thread about ten times a second and once at the end: all sinks are
     * done with everything below `done`.  An error ends the copy.  May be NULL. */
    int (*tick)(void *ctx, uint64_t done, struct vd_err *err);
    /* Called (under a lock: must return at once) for each chunk that is handed out: true marks it
     * as a checkpoint.  May be NULL. */
    bool (*checkpoint)(void *ctx, uint64_t end);
    void *ctx;
};

/* Reads [from, end) of `dev`.  0: every sink has taken everything.  Otherwise the first error; err's
 * offset is the device's.  `sinks` may be none (a test of readability).  Blocks; makes threads. */
int copy_run(struct blkdev *dev, uint64_t from, uint64_t end, const struct copy_options *options,
             const struct copy_sink *sinks, size_t n_sinks, struct vd_err *err);

#endif
