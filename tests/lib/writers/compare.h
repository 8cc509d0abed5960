/* SPDX-License-Identifier: Apache-2.0 */
/* Compares a device with the model of a chain: right bytes, or an error where one is allowed. */
#ifndef VD_TEST_WRITERS_COMPARE_H
#define VD_TEST_WRITERS_COMPARE_H

#include "writers.h"

/* A range of the disk, bytes; len 0 = nothing, WR_ALL = all of it. */
#define WR_ALL UINT64_MAX
struct wr_range {
    uint64_t off, len;
};

struct wr_compare {
    const struct wr_spec *spec; /* the point's tip: what the device must read as */
    struct blkdev *dev;
    struct wr_range may_fail; /* reads may fail here … */
    const uint8_t
        *fail_map;       /* … and where this has a 1, one byte per 512-byte sector; may be NULL */
    struct wr_range any; /* … and give anything here (content that nothing protects) */
    struct wr_range alt; /* here each sector may instead be what alt_state says: … */
    enum wr_state
        alt_state; /* … WR_ZEROS, or WR_ABSENT in member alt_member: what its parents have */
    unsigned alt_member;      /* 0 = the tip */
    uint64_t n_failed, n_alt; /* out: sectors that failed, that took the alternative */
    char why[400];            /* out: the first thing that was wrong */
};

/* Reads [off, off+len) in one go; when that fails, sector by sector.  0, or -1 with `why`. */
int wr_compare_read(struct wr_compare *c, uint64_t off, uint64_t len);

/* Walks the map of the whole disk (at most max_runs runs) and reads both ends of each run (`piece` bytes):
 * map, reads and model must tell one story.  0, or -1 with `why`. */
int wr_compare_map(struct wr_compare *c, unsigned max_runs, uint64_t piece);

#endif
