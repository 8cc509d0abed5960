/* SPDX-License-Identifier: Apache-2.0 */
/* Which records are wanted.  Pure but for the tables of the view; one thread. */
#ifndef VD_AUDIT_SHOW_FILTER_H
#define VD_AUDIT_SHOW_FILTER_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct show_view;
struct show_item;

#define AUDIT_FILTER_OPS 32

/* Zeroed: every record.  What is set must hold all at once.  Texts are borrowed. */
struct audit_filter {
    uint16_t op[AUDIT_FILTER_OPS]; /* one of these operations */
    size_t n_ops;
    const char *path_prefix;  /* this path in the mount and what is beneath it */
    const char *path_pattern; /* a path that fits, see audit_pattern_fits */
    const char *comm, *exe;   /* patterns, of the process */
    bool has_pid;
    uint32_t pid;
    bool has_since, has_until;
    int64_t since_ns, until_ns; /* since <= time < until; a merged read when it reaches into that */
    bool errors;                /* RESULT is not 0 */
};

/* Adds the operations of a list like "READ,OPEN,OP999".  VD_EUSAGE: there is none of that name, or
 * there are too many. */
int audit_filter_add_ops(struct audit_filter *filter, const char *list, struct vd_err *err);

/* A point in time: "2024-05-01T12:34:56.5+09:00", "2024-05-01T12:34Z", "2024-05-01Z" (its midnight);
 * "-1h30m" (d, h, m, s) before `now_ns`; "now".  A zone is never guessed.  VD_EUSAGE with the reason. */
int audit_time_parse(const char *text, int64_t now_ns, int64_t *out_ns, struct vd_err *err);

/* Does the whole text fit?  `*` any bytes (also '/'), `?` one character, `\` the next one as it is.
 * Time: at most pattern × text. */
bool audit_pattern_fits(const char *pattern, const char *text, size_t len);

/* Is the record wanted?  *out_unplaced (may be NULL) counts those that a filter for paths passes over
 * only because nothing told the path of their object. */
bool audit_filter_wants(const struct audit_filter *filter, struct show_view *view,
                        const struct show_item *item, uint64_t *out_unplaced);

#endif
