/* SPDX-License-Identifier: Apache-2.0 */
/* The records of a log for people and programs: one line each. */
#ifndef VD_AUDIT_SHOW_H
#define VD_AUDIT_SHOW_H

#include "audit/show_filter.h"
#include "audit/verify.h"

#include <signal.h>
#include <stdio.h>

struct audit_show_options {
    bool json; /* one JSON object per line */
    struct audit_filter filter;
    /* Goes on with a log that is being written until it is closed, its writer is gone, nobody reads
     * `out` any more, or *stop (may be NULL) is set. */
    bool follow;
    const volatile sig_atomic_t *stop;
};

struct audit_shown {
    uint64_t lines;
    uint64_t
        unplaced; /* passed over because the path of their object is not known, see audit_filter_wants */
    bool reader_gone; /* the walk was ended for it: the report says nothing */
};

/* Prints the records of the log at `path` that are wanted to `out`: of those that audit_verify counts,
 * in order, each only after its whole frame was verified; ends at the first broken frame.  `report` is
 * the verifier's.  Memory is bounded: of very many processes or objects those that were not met for
 * longest are forgotten, and their number is shown instead.
 *
 * With `follow` a record appears at most 100 ms after it was sealed, and `out` is flushed then.  The
 * log is only read: a slow reader of `out` makes this wait, never the mount. */
int audit_show(const char *path, const struct audit_show_options *options, FILE *out,
               struct audit_shown *shown, struct audit_report *report, struct vd_err *err);

/* The same for segments in memory, as audit_verify_bytes. */
int audit_show_bytes(const uint8_t *const *bytes, const size_t *len, size_t n_segments,
                     const struct audit_show_options *options, FILE *out, struct audit_shown *shown,
                     struct audit_report *report, struct vd_err *err);

#endif
