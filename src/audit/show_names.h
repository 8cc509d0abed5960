/* SPDX-License-Identifier: Apache-2.0 */
/* Names of operations and tags.  Constant tables; any thread. */
#ifndef VD_AUDIT_SHOW_NAMES_H
#define VD_AUDIT_SHOW_NAMES_H

#include <stdbool.h>

/* Name of an operation ("READ"), or NULL. */
const char *audit_op_name(unsigned op);

/* The same, of an operation without a name "OP999", made in `buffer`. */
#define AUDIT_OP_TEXT 16
const char *audit_op_text(unsigned op, char buffer[AUDIT_OP_TEXT]);

/* Name of the error that RESULT tells ("ENOENT"), or NULL: there is none, it has no name, or RESULT
 * is no errno (the close record). */
struct audit_record;
const char *audit_result_name(const struct audit_record *r);

/* The number for a name, capitals or not; of an operation without a name: "OP999".  0: none. */
unsigned audit_op_number(const char *name);

/* Is it an access of somebody to the mount (and not a record about the session)? */
bool audit_op_is_access(unsigned op);

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
