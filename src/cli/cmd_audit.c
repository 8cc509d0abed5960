/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vdiskctl audit verify|show: reads a log; needs neither an image nor a worker, for all that is
 * parsed here is checked byte by byte (audit/verify.h).  Here: command line and dispatch; each verb
 * has a file of its own.  Format: docs/formats/audit-log.md.
 */
#include "cli/audit_verbs.h"
#include "cli/command.h"
#include "vdiskfs/exit_codes.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "Usage: vdiskctl audit verify [--json] [--key KEY|FILE] [--anchor FILE] PATH\n"
    "       vdiskctl audit show [--json] [--op OP] [--path PREFIX] [--pid PID] PATH\n"
    "PATH is the directory of a session, or its file 000000.vlog.\n"
    "\n"
    "verify checks every byte of the log, and its checkpoints, and answers\n"
    "  INTACT closed        everything is there, up to the record that closed the log\n"
    "  INTACT open          the same without a close record: in use, or a crash that lost "
    "nothing;\n"
    "                       or closed after a recovery\n"
    "  TORN TAIL            intact frames, then an end that was not sealed or is missing\n"
    "  TAMPERED at frame N  frame N is not what was written\n"
    "Only what was kept elsewhere shows that a log was written anew as a whole, or that the end of "
    "an\n"
    "unclosed one was cut off:\n"
    "  --key KEY|FILE  the first key, as the mount showed it (\"audit log key\"), or the "
    "laboratory's\n"
    "                  key that must have signed; NAME+ID+BASE64, or a file that begins with it\n"
    "  --anchor FILE   checkpoints of the log (signed notes) that were copied in time\n"
    "\n"
    "show prints one line for each record that verify counts, and ends at the first bad frame.\n"
    "  --op OP        only this operation (READ, OPEN, REFUSED, ...)\n"
    "  --path PREFIX  only this path in the mount and what is beneath it\n"
    "  --pid PID      only this process\n"
    "  --json         JSON (show: one object per line)\n"
    "\n"
    "Exit code: 0 INTACT, 7 TORN TAIL or TAMPERED (also: another key, an anchor that does not "
    "fit),\n"
    "2 the log cannot be read, 1 bad command line, no key, no anchor of this log.\n";

static int audit_error(const char *text)
{
    (void)fflush(stdout);
    (void)fprintf(stderr, "vdiskctl audit: %s\n", text);
    return VD_EXIT_USAGE;
}

static int parse_pid(const char *text, struct audit_args *out)
{
    char *end;
    unsigned long v;

    errno = 0;
    v = strtoul(text, &end, 10);
    if (errno || end == text || *end || v > UINT32_MAX || text[0] == '-')
        return -1;
    out->show.has_pid = true;
    out->show.pid = (uint32_t)v;
    return 0;
}

/* 0, or an exit code + 1 when the program is to end here. */
static int parse_args(int argc, char **argv, bool show, struct audit_args *out)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'},       {"op", required_argument, NULL, 'o'},
        {"path", required_argument, NULL, 'p'}, {"pid", required_argument, NULL, 'P'},
        {"key", required_argument, NULL, 'k'},  {"anchor", required_argument, NULL, 'a'},
        {"help", no_argument, NULL, 'h'},       {0}};
    char text[256];
    int c;

    optind = 0; /* parse a new vector from its start */
    while ((c = getopt_long(argc, argv, "+h", options, NULL)) != -1) {
        if (c == 'h') {
            (void)fputs(usage, stdout);
            return VD_EXIT_OK + 1;
        }
        if (c == 'j')
            out->show.json = true;
        else if (c == '?' || show == (c == 'k' || c == 'a'))
            return audit_error("see --help") + 1; /* getopt named the option, or the other verb's */
        else if (c == 'k')
            out->key = optarg;
        else if (c == 'a')
            out->anchor = optarg;
        else if (c == 'o')
            out->show.op = optarg;
        else if (c == 'p')
            out->show.path_prefix = optarg;
        else if (parse_pid(optarg, out)) {
            (void)snprintf(text, sizeof(text), "--pid: \"%.64s\" is no process id", optarg);
            return audit_error(text) + 1;
        }
    }
    if (argc - optind != 1)
        return audit_error("one PATH is needed; see --help") + 1;
    out->path = argv[optind];
    return 0;
}

int cmd_audit(int argc, char **argv)
{
    struct audit_args args = {0};
    bool show;
    int rc;

    if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        (void)fputs(usage, stdout);
        return VD_EXIT_OK;
    }
    if (argc < 2)
        return audit_error("verify or show? See --help");
    show = strcmp(argv[1], "show") == 0;
    if (!show && strcmp(argv[1], "verify") != 0) {
        (void)fprintf(stderr, "vdiskctl audit: there is no \"%s\"; see --help\n", argv[1]);
        return VD_EXIT_USAGE;
    }
    rc = parse_args(argc - 1, argv + 1, show, &args);
    if (rc)
        return rc - 1;
    return show ? audit_verb_show(&args) : audit_verb_verify(&args);
}
