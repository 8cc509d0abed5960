/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Evidence: files that are read and never written.
 *
 * evidence.c turns a descriptor into the bottom layer of a stack (pread only).
 * evidence_open.c is the only file of the program that opens evidence; it runs in the supervisor.
 * Everything that parses reaches further files of a chain through a `struct blk_source`: by bare
 * name, in the directories the user gave.  In the worker that is the channel to the supervisor;
 * in tests it is a directory.
 */
#ifndef VD_BLK_EVIDENCE_H
#define VD_BLK_EVIDENCE_H

#include "blk/blkdev.h"
#include "blk/made_cache.h"

#include <sys/types.h>

/* Who a file is: enough to tell two names of one file from two files, and to see a change. */
struct evidence_id {
    uint64_t dev, ino;
    uint64_t size; /* bytes; of a block device its capacity */
    int64_t mtime_sec, ctime_sec;
    uint32_t mtime_nsec, ctime_nsec;
    bool is_block; /* a block device named on the command line */
    bool noatime;  /* opened with O_NOATIME, or so mounted: reading leaves atime alone */
};

/* A layer over an open, read-only descriptor, which it takes over (closed with the layer) on
 * success.  `name` is the bare file name: label of errors.  A file that ends earlier than
 * id->size answers VD_EIO, never zeros. */
int evidence_new(int fd, const struct evidence_id *id, const char *name, struct blkdev **out,
                 struct vd_err *err);

/* Is this layer evidence?  Then *out_id points at its identity (borrowed). */
bool evidence_identity(const struct blkdev *dev, const struct evidence_id **out_id);

/* The identity of that layer's file as it is now (its noatime is the one of the opening).  VD_EUSAGE:
 * not evidence; VD_EIO: it cannot be asked.  May wait as long as the file's host does. */
int evidence_now(const struct blkdev *dev, struct evidence_id *out_id, struct vd_err *err);

/* Is it the same content, as far as size and times tell?  Of a block device its size only: the times
 * are those of the device's name. */
bool evidence_same_state(const struct evidence_id *a, const struct evidence_id *b);

/* A time of the identity in nanoseconds since 1970, held at the ends of what 64 bits can say. */
int64_t evidence_time_ns(int64_t sec, uint32_t nsec);

/* ---- where further files come from ---- */

/* What the images of one chain share, so that 1,025 members do not take 1,025 times the memory and
 * the time of one.  Used while opening, by one thread; images keep caches of their own on the
 * stores (made_cache_share). */
struct blk_share {
    struct made_cache *tables; /* for allocation tables */
    struct made_cache *blocks; /* for inflated blocks */
    uint64_t keep_left;        /* bytes of tables that may still be kept whole in memory */
    uint64_t scan_left;        /* bytes of directories that may still be looked at when opening */
    uint64_t check_left;       /* bytes of tables that may still be checked when opening */
    uint64_t log_left;         /* bytes of replayed logs that may still be kept in memory */
};

struct blk_source {
    /* Opens the file `name` (a bare name: no '/', not "." or "..", not empty) in directory number
     * `dir` (0 = the image's own, 1… = parent_dir= in order).  VD_ENOENT: not there.  VD_EREFUSED:
     * a symlink, FIFO, device …, with the reason.  The same file opened twice gives the same
     * instance where the source can tell.  Caller owns *out. */
    int (*open)(void *ctx, unsigned dir, const char *name, struct blkdev **out, struct vd_err *err);
    /* Calls fn for each regular file's name in directory `dir`, in byte order; stops when fn
     * returns non-zero.  At most VD_MAX_DIR_NAMES. */
    int (*list)(void *ctx, unsigned dir, int (*fn)(void *fn_ctx, const char *name), void *fn_ctx,
                struct vd_err *err);
    unsigned n_dirs; /* >= 1 */
    void *ctx;
    struct blk_share *share; /* NULL: every image has its own */
};

/* Opens NAME in directories 0, 1, … in turn; *out_dir (may be NULL) tells which one had it. */
int blk_source_find(const struct blk_source *source, const char *name, struct blkdev **out,
                    unsigned *out_dir, struct vd_err *err);

/* Is `name` a bare file name that may be asked for? */
bool blk_source_name_ok(const char *name);

/* ---- evidence_open.c: the supervisor's side, and the tests' ---- */

/* Opens `name` beneath the directory descriptor `dirfd`: read-only, close-on-exec, O_NOATIME where
 * the host allows it, no symlinks, no magic links, non-blocking, only a regular file (or, if
 * `allow_block`, a block device).  Gives the descriptor and its identity. */
int evidence_open_beneath(int dirfd, const char *name, bool allow_block, int *out_fd,
                          struct evidence_id *out_id, struct vd_err *err);

/* Opens a directory for evidence_open_beneath and evidence_list (symlinks in `path` are followed:
 * it is the user's own word). */
int evidence_open_dir(const char *path, int *out_dirfd, struct vd_err *err);

/* Names of the regular files in the directory, sorted, at most VD_MAX_DIR_NAMES; the array and
 * every name are the caller's (evidence_list_free). */
int evidence_list(int dirfd, char ***out_names, size_t *out_n, struct vd_err *err);
void evidence_list_free(char **names, size_t n);

/* The identity of the open file now; compare with the one from opening to see a change. */
int evidence_identify(int fd, struct evidence_id *out_id, struct vd_err *err);

/* A source over directories, in-process (tests, and tools that run without a sandbox). */
int evidence_dir_source(const char *const *dirs, unsigned n_dirs, struct blk_source *out,
                        struct vd_err *err);
void evidence_dir_source_free(struct blk_source *source);

#endif
