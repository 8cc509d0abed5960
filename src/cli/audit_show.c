/* SPDX-License-Identifier: Apache-2.0 */
/* vdiskctl audit show: every record of a log as one line (audit/show.h).  One thread. */
#include "cli/audit_verbs.h"

#include <stdio.h>

int audit_verb_show(const struct audit_args *args)
{
    struct vd_err err = VD_ERR_INIT;
    struct audit_report r;
    char line[128];
    int rc = audit_show(args->path, &args->show, stdout, &r, &err);

    if (rc == 0 && r.verdict != AUDIT_INTACT_CLOSED && !r.live) {
        audit_verdict_line(&r, line, sizeof(line));
        (void)fflush(stdout);
        (void)fprintf(stderr, "vdiskctl audit: %s: %s%s%s\n", args->path, line,
                      r.reason[0] ? ": " : "", r.reason);
    }
    return audit_finish(rc, &err, &r);
}
