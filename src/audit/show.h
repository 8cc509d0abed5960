/* SPDX-License-Identifier: Apache-2.0 */
/* The records of a log for people and programs: one line each. */
#ifndef VD_AUDIT_SHOW_H
#define VD_AUDIT_SHOW_H

#include "audit/verify.h"

#include <stdio.h>

struct audit_show_options {
    bool json;               /* one JSON object per line */
    const char *op;          /* only this operation, by name; NULL = all */
    const char *path_prefix; /* only this path and what is beneath it; NULL = all */
    bool has_pid;            /* only this process */
    uint32_t pid;
};

/* Prints the records of the log at `path` to `out`: exactly those that audit_verify counts, in
 * order, each only after its whole frame was verified; ends at the first broken frame.  `report` is
 * the verifier's.  VD_EUSAGE for an operation that does not exist.  Memory is bounded: of very many
 * processes or objects the oldest are forgotten, and their number is shown instead. */
int audit_show(const char *path, const struct audit_show_options *options, FILE *out,
               struct audit_report *report, struct vd_err *err);

/* The same for segments in memory, as audit_verify_bytes. */
int audit_show_bytes(const uint8_t *const *bytes, const size_t *len, size_t n_segments,
                     const struct audit_show_options *options, FILE *out,
                     struct audit_report *report, struct vd_err *err);

/* Name of an operation ("READ"), or NULL. */
const char *audit_op_name(unsigned op);

/* The number for a name, or 0. */
unsigned audit_op_number(const char *name);

/* How the payload of a tag is to be shown. */
enum audit_tag_kind {
    AUDIT_KIND_TEXT,
    AUDIT_KIND_U32,
    AUDIT_KIND_U64,
    AUDIT_KIND_TIME,
    AUDIT_KIND_HEX
};

/* Key of a tag ("path"), or NULL; `out_kind` is set in any case. */
const char *audit_tag_name(unsigned tag, enum audit_tag_kind *out_kind);

#endif
