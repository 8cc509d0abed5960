/* SPDX-License-Identifier: Apache-2.0 */
/* vdiskctl audit show: every record of a log as one line (audit/show.h).  One thread. */
#include "audit/show.h"

#include "cli/audit_filter_args.h"
#include "cli/audit_verbs.h"
#include "vdiskfs/exit_codes.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>

static volatile sig_atomic_t told_to_stop;

static void stop(int sig)
{
    (void)sig;
    told_to_stop = 1;
}

/* 0, or an exit code + 1 when the program is to end here. */
static int parse_args(int argc, char **argv, struct audit_show_options *out, const char **out_path)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'},
                                            {"follow", no_argument, NULL, 'f'},
                                            {"help", no_argument, NULL, 'h'},
                                            AUDIT_FILTER_OPTIONS,
                                            {0}};
    int c, code;

    while ((c = getopt_long(argc, argv, "+fh", options, NULL)) != -1) {
        if (c == 'h')
            return audit_usage() + 1;
        if (c == '?')
            return audit_error("see --help") + 1; /* getopt named the option */
        if (c == 'j')
            out->json = true;
        else if (c == 'f')
            out->follow = true;
        else if ((code = audit_filter_arg(c, optarg, &out->filter)) != 0)
            return code + 1;
    }
    code = audit_one_path(argc, argv, out_path);
    return code ? code + 1 : 0;
}

/* What the lines do not tell: how the log stands, and what is not in it yet. */
static void tell(const char *path, const struct audit_report *r, const struct audit_shown *shown)
{
    char line[128];

    (void)fflush(stdout);
    if (r->verdict != AUDIT_INTACT_CLOSED) {
        audit_verdict_line(r, line, sizeof(line));
        (void)fprintf(stderr, "vdiskctl audit: %s: %s%s%s", path, line, r->reason[0] ? ": " : "",
                      r->reason);
        if (r->verdict == AUDIT_INTACT_OPEN && r->unsealed)
            (void)fprintf(stderr, "; %" PRIu64 " records not sealed yet", r->unsealed);
        (void)fprintf(stderr, "\n");
    }
    if (shown->unplaced)
        (void)fprintf(stderr,
                      "vdiskctl audit: %s: the paths of the objects of %" PRIu64
                      " records are not known, they were passed over\n",
                      path, shown->unplaced);
}

int audit_verb_show(int argc, char **argv)
{
    struct audit_show_options options = {.stop = &told_to_stop};
    const struct sigaction end = {.sa_handler = stop};
    struct vd_err err = VD_ERR_INIT;
    struct audit_shown shown;
    struct audit_report r;
    const char *path = NULL;
    int rc = parse_args(argc, argv, &options, &path);

    if (rc)
        return rc - 1;
    if (options.follow) { /* what is in hand is shown, and how the log stands is told */
        (void)sigaction(SIGINT, &end, NULL);
        (void)sigaction(SIGTERM, &end, NULL);
    }
    rc = audit_show(path, &options, stdout, &shown, &r, &err);
    if (rc == 0 && shown.reader_gone) /* seen enough: the log was not read to its end */
        return VD_EXIT_OK;
    if (rc == 0)
        tell(path, &r, &shown);
    return audit_finish(rc, &err, &r);
}
