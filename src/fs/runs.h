/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the content of a file lies: a sorted table of runs, and reading through it.
 *
 * A table is built once, in ascending order, and is immutable afterwards: any number of threads may
 * read through it without a lock.  Positions that no run covers are "missing" (reads fail) unless
 * the format says that holes read as zeros (`holes_are_zeros`).
 */
#ifndef VD_FS_RUNS_H
#define VD_FS_RUNS_H

#include "blk/blkdev.h"

/* Runs of one file.  A 16 GiB file in single 4 KiB blocks has 4,194,304 of them; at 32 bytes each
 * that is 128 MiB. */
#define FS_MAX_RUNS (4u << 20)

enum fs_run_kind {
    FS_RUN_DATA,  /* bytes of the volume at dev_off */
    FS_RUN_ZEROS, /* the format says zeros */
    FS_RUN_BAD    /* the bytes cannot be had; see enum fs_run_why */
};

enum fs_run_why {
    FS_WHY_NONE,
    FS_WHY_MISSING,    /* no run covers the position */
    FS_WHY_OUTSIDE,    /* the run lies past the end of the volume */
    FS_WHY_MAP_BROKEN, /* the block map that should say where is damaged */
    FS_WHY_MAP_UNREAD  /* the block map cannot be read (I/O error) */
};

struct fs_run {
    uint64_t off, len; /* bytes within the content; len > 0 */
    uint64_t dev_off;  /* bytes within the volume, FS_RUN_DATA only */
    uint8_t kind, why; /* enum fs_run_kind, enum fs_run_why */
};

struct fs_runs {
    struct fs_run *v; /* ascending, never overlapping */
    size_t n, cap;
    bool holes_are_zeros;
};

/* Appends a run; joins it to the last one where they continue each other.  VD_ECORRUPT when it
 * starts before the end of the last one or wraps, VD_ELIMIT over FS_MAX_RUNS, VD_ENOMEM. len 0 is
 * ignored. */
int fs_runs_add(struct fs_runs *runs, const struct fs_run *run, struct vd_err *err);

/* Appends a data run; the part past `vol_size` becomes FS_RUN_BAD. */
int fs_runs_add_data(struct fs_runs *runs, uint64_t vol_size, uint64_t off, uint64_t len,
                     uint64_t dev_off, struct vd_err *err);

/* The run at `off` (or the hole there), cut at both ends: *out starts at `off` and is at most
 * max_len long (> 0). */
void fs_runs_at(const struct fs_runs *runs, uint64_t off, uint64_t max_len, struct fs_run *out);

/* Fills buf with exactly len bytes of the content from `off`.  Fails with vd_at = first bad offset
 * within the content. */
int fs_runs_read(const struct fs_runs *runs, struct blkdev *vol, uint64_t off, void *buf,
                 size_t len, struct vd_err *err);

/* Gives memory that was reserved ahead back; call once after the last add. */
void fs_runs_trim(struct fs_runs *runs);
void fs_runs_clear(struct fs_runs *runs);

#endif
