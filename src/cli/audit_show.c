/* SPDX-License-Identifier: Apache-2.0 */
/* vdiskctl audit show: every record of a log as one line (audit/show.h).  One thread. */
#include "audit/show.h"
#include "cli/audit_verbs.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

static int parse_pid(const char *text, struct audit_show_options *out)
{
    char *end;
    unsigned long v;

    errno = 0;
    v = strtoul(text, &end, 10);
    if (errno || end == text || *end || v > UINT32_MAX || text[0] == '-')
        return -1;
    out->has_pid = true;
    out->pid = (uint32_t)v;
    return 0;
}

/* 0, or an exit code + 1 when the program is to end here. */
static int parse_args(int argc, char **argv, struct audit_show_options *out, const char **out_path)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'},       {"op", required_argument, NULL, 'o'},
        {"path", required_argument, NULL, 'p'}, {"pid", required_argument, NULL, 'P'},
        {"help", no_argument, NULL, 'h'},       {0}};
    char text[256];
    int c;

    while ((c = getopt_long(argc, argv, "+h", options, NULL)) != -1) {
        if (c == 'h')
            return audit_usage() + 1;
        if (c == 'j')
            out->json = true;
        else if (c == '?')
            return audit_error("see --help") + 1; /* getopt named the option */
        else if (c == 'o')
            out->op = optarg;
        else if (c == 'p')
            out->path_prefix = optarg;
        else if (parse_pid(optarg, out)) {
            (void)snprintf(text, sizeof(text), "--pid: \"%.64s\" is no process id", optarg);
            return audit_error(text) + 1;
        }
    }
    c = audit_one_path(argc, argv, out_path);
    return c ? c + 1 : 0;
}

int audit_verb_show(int argc, char **argv)
{
    struct audit_show_options options = {0};
    struct vd_err err = VD_ERR_INIT;
    struct audit_report r;
    const char *path = NULL;
    char line[128];
    int rc = parse_args(argc, argv, &options, &path);

    if (rc)
        return rc - 1;
    rc = audit_show(path, &options, stdout, &r, &err);
    if (rc == 0 && r.verdict != AUDIT_INTACT_CLOSED && !r.live) {
        audit_verdict_line(&r, line, sizeof(line));
        (void)fflush(stdout);
        (void)fprintf(stderr, "vdiskctl audit: %s: %s%s%s\n", path, line, r.reason[0] ? ": " : "",
                      r.reason);
    }
    return audit_finish(rc, &err, &r);
}
