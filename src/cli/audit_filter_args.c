/* SPDX-License-Identifier: Apache-2.0 */
/* The filter options that `audit show` and `audit export` share.  One thread. */
#include "cli/audit_filter_args.h"

#include "cli/audit_verbs.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

static int parse_pid(const char *text, struct audit_filter *out, struct vd_err *err)
{
    char *end;
    unsigned long v;

    errno = 0;
    v = strtoul(text, &end, 10);
    if (errno || end == text || *end || v > UINT32_MAX || text[0] < '0' || text[0] > '9')
        return vd_fail(err, VD_EUSAGE, "\"%.64s\" is no process id", text);
    out->has_pid = true;
    out->pid = (uint32_t)v;
    return 0;
}

static int parse_time(const char *text, bool *out_has, int64_t *out, struct vd_err *err)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    *out_has = true;
    return audit_time_parse(text, (int64_t)now.tv_sec * 1000000000 + now.tv_nsec, out, err);
}

/* 0 and *out, or what is wrong. */
static int take(int option, const char *text, struct audit_filter *out, struct vd_err *err)
{
    switch (option) {
    case AUDIT_ARG_OP:
        return audit_filter_add_ops(out, text, err);
    case AUDIT_ARG_PATH:
        out->path_prefix = text;
        return 0;
    case AUDIT_ARG_MATCH:
        out->path_pattern = text;
        return 0;
    case AUDIT_ARG_PID:
        return parse_pid(text, out, err);
    case AUDIT_ARG_COMM:
        out->comm = text;
        return 0;
    case AUDIT_ARG_EXE:
        out->exe = text;
        return 0;
    case AUDIT_ARG_SINCE:
        return parse_time(text, &out->has_since, &out->since_ns, err);
    case AUDIT_ARG_UNTIL:
        return parse_time(text, &out->has_until, &out->until_ns, err);
    default: /* AUDIT_ARG_ERRORS */
        out->errors = true;
        return 0;
    }
}

int audit_filter_arg(int option, const char *text, struct audit_filter *out)
{
    static const char *const names[] = {AUDIT_FILTER_NAMES};
    struct vd_err err = VD_ERR_INIT;

    if (take(option, text, out, &err) == 0)
        return 0;
    (void)vd_prefix(&err, -VD_EUSAGE, "--%s", names[option - AUDIT_ARG_FIRST]);
    return audit_error(err.msg);
}
