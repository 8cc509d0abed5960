/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vdiskctl audit VERB: reads logs; needs neither an image nor a worker, for all that is parsed here
 * is checked byte by byte (audit/verify.h).  Here: dispatch, the help text, and what the verbs share;
 * each verb has a file of its own and parses its own options.  Format: docs/formats/audit-log.md.
 */
#include "cli/audit_verbs.h"
#include "cli/command.h"
#include "vdiskfs/exit_codes.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

static const char usage[] =
    "Usage: vdiskctl audit verify [--json] [--no-wait] [--key KEY|FILE] [--anchor FILE] PATH\n"
    "       vdiskctl audit show [-f] [--json] [FILTERS] PATH\n"
    "       vdiskctl audit export --format=timesketch|csv|case [-o FILE] [--force] [FILTERS] "
    "PATH...\n"
    "       vdiskctl audit recover SESSION... | --all [DIR]\n"
    "       vdiskctl audit prove --help\n"
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
    "After an unmounting the log is closed within moments; verify waits for that, up to 10 "
    "seconds.\n"
    "  --no-wait       the verdict on what is there now\n"
    "\n"
    "show prints one line for each record that verify counts, and ends at the first bad frame.\n"
    "  -f, --follow   goes on with the log of a running mount until it is closed: records appear "
    "when\n"
    "                 they are sealed, 100 ms after the access at the latest\n"
    "  --json         JSON (show: one object per line)\n"
    "Filters; what is given must hold all at once:\n"
    "  --op OP,...       only these operations (READ, OPEN, REFUSED, ...)\n"
    "  --path PREFIX     only this path in the mount and what is beneath it\n"
    "  --match PATTERN   only paths that fit: * any characters, also /; ? one; \\ the next as it "
    "is\n"
    "  --pid PID, --comm PATTERN, --exe PATTERN\n"
    "                    only this process\n"
    "  --since TIME, --until TIME\n"
    "                    from TIME on, before TIME: 2024-05-01T12:30:00Z, 2024-05-01T12:30+09:00,\n"
    "                    2024-05-01Z, -1h30m (ago: d, h, m, s), now\n"
    "  --errors          only what failed\n"
    "\n"
    "export writes the records for other programs: JSON lines for Timesketch, CSV, or, for the "
    "mounts as\n"
    "a whole, CASE (JSON-LD). Here PATH may also be a directory of sessions; they follow each "
    "other.\n"
    "  -o, --output FILE  instead of standard output; not in an evidence directory\n"
    "  --force            replaces FILE; or lets it lie below an evidence directory\n"
    "\n"
    "Exit code: 0 INTACT, 7 TORN TAIL or TAMPERED (also: another key, an anchor that does not "
    "fit),\n"
    "2 the log cannot be read, 1 bad command line, no key, no anchor of this log.\n";

static const struct {
    const char *verb;
    int (*run)(int argc, char **argv);
} verbs[] = {
    {"verify", audit_verb_verify},   {"show", audit_verb_show},   {"export", audit_verb_export},
    {"recover", audit_verb_recover}, {"prove", audit_verb_prove},
};

int audit_usage(void)
{
    (void)fputs(usage, stdout);
    return VD_EXIT_OK;
}

int audit_error(const char *text)
{
    (void)fflush(stdout);
    (void)fprintf(stderr, "vdiskctl audit: %s\n", text);
    return VD_EXIT_USAGE;
}

int audit_one_path(int argc, char **argv, const char **out)
{
    if (argc - optind != 1)
        return audit_error("one PATH is needed; see --help");
    *out = argv[optind];
    return 0;
}

int cmd_audit(int argc, char **argv)
{
    size_t i;

    if (argc < 2)
        return audit_error("which verb? See --help");
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return audit_usage();
    for (i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
        if (strcmp(argv[1], verbs[i].verb) == 0) {
            optind = 0; /* a new vector is parsed from its start */
            return verbs[i].run(argc - 1, argv + 1);
        }
    (void)fprintf(stderr, "vdiskctl audit: there is no \"%s\"; see --help\n", argv[1]);
    return VD_EXIT_USAGE;
}
