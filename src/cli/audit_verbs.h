/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs of `vdiskctl audit`; private to them.  Each gives an exit code. */
#ifndef VD_CLI_AUDIT_VERBS_H
#define VD_CLI_AUDIT_VERBS_H

#include "audit/show.h"
#include "audit/verify.h"

/* What the command line says.  Borrowed from argv. */
struct audit_args {
    const char *path;
    const char *key, *anchor;       /* verify: what was kept elsewhere; may be NULL */
    struct audit_show_options show; /* json is used by verify too */
};

int audit_verb_verify(const struct audit_args *args);
int audit_verb_show(const struct audit_args *args);

/* "INTACT open (in use)", "TAMPERED at frame 3": what stands in the first line. */
void audit_verdict_line(const struct audit_report *r, char *out, size_t size);

/* Flushes standard output, tells an error; the exit code for `rc`, or for the verdict when it is 0. */
int audit_finish(int rc, const struct vd_err *err, const struct audit_report *r);

#endif
