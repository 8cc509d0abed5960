/* SPDX-License-Identifier: Apache-2.0 */
/* vdiskctl audit recover: closes logs that a crash left open (audit/recover.h).  One thread. */
#include "audit/recover.h"

#include "audit/audit.h"
#include "base/cleanup.h"
#include "base/version.h"
#include "cli/audit_verbs.h"
#include "cli/command.h"
#include "vdiskfs/exit_codes.h"

#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static const char usage[] =
    "Usage: vdiskctl audit recover SESSION...\n"
    "       vdiskctl audit recover --all [DIR]\n"
    "Closes the log of a session that a crash or a full disk left open. What is there is verified\n"
    "and never changed; a new segment is appended that says so and holds the records that were "
    "not\n"
    "sealed yet (ring.wal), then a close record. A call that was interrupted can be repeated.\n"
    "  --all  every session of DIR (/var/log/vdiskfs, or that of this user) that waits for it\n"
    "\n"
    "Exit code: 0 recovered, or nothing to do; 6 in use, or it cannot be written (no space);\n"
    "7 TAMPERED: nothing is done; 2 it cannot be read; 1 bad command line.\n";

static void print_result(const char *path, const struct audit_recovery *r)
{
    char line[128];

    audit_verdict_line(&r->after, line, sizeof(line));
    if (r->done) {
        (void)printf("%s: recovered: %" PRIu64 " records of ring.wal", path, r->records);
        if (r->lost)
            (void)printf(", %" PRIu64 " LOST (no answer was sent for them)", r->lost);
        if (r->before.torn_bytes)
            (void)printf(", %" PRIu64 " torn bytes kept", r->before.torn_bytes);
        (void)printf("; %06" PRIu32 ".vlog; now %s\n", r->segment, line);
    } else {
        (void)printf("%s: nothing to recover: %s%s\n", path, line,
                     r->ring_removed ? "; an empty ring.wal was removed" : "");
    }
    if (r->remark[0])
        (void)printf("%s: %s\n", path, r->remark);
}

/* Exit code of one session. */
static int recover_one(const char *path)
{
    struct vd_err err = VD_ERR_INIT;
    struct audit_recovery r;
    int rc = audit_recover(path, "vdiskfs " VD_VERSION " (" VD_BUILD ")", &r, &err);

    if (rc == 0)
        print_result(path, &r);
    return audit_finish(rc, &err, &r.after);
}

static int recover_found(void *ctx, const char *path, struct vd_err *err)
{
    int *code = ctx, one = recover_one(path);

    (void)err;
    if (*code == VD_EXIT_OK)
        *code = one;
    return 0;
}

static int recover_all(const char *dir)
{
    VD_AUTO(free) char *fallback = dir ? NULL : audit_default_dir();
    struct vd_err err = VD_ERR_INIT;
    struct audit_report none = {.verdict = AUDIT_INTACT_OPEN};
    uint64_t running = 0;
    int code = VD_EXIT_OK, rc;

    if (!dir && !fallback) {
        (void)fprintf(stderr, "vdiskctl audit recover: no default directory; name it\n");
        return VD_EXIT_USAGE;
    }
    rc = audit_left_each(dir ? dir : fallback, recover_found, &code, &running, &err);
    if (rc == 0 && running)
        (void)printf("%" PRIu64 " sessions are in use\n", running);
    rc = audit_finish(rc, &err, &none);
    return code ? code : rc;
}

int audit_verb_recover(int argc, char **argv)
{
    static const struct option options[] = {
        {"all", no_argument, NULL, 'a'}, {"help", no_argument, NULL, 'h'}, {0}};
    int c, code = VD_EXIT_OK;
    bool all = false;

    while ((c = getopt_long(argc, argv, "+h", options, NULL)) != -1) {
        if (c == 'h') {
            (void)fputs(usage, stdout);
            return VD_EXIT_OK;
        }
        if (c != 'a')
            return VD_EXIT_USAGE;
        all = true;
    }
    if (all ? argc - optind > 1 : argc == optind) {
        (void)fprintf(stderr, "vdiskctl audit recover: %s; see --help\n",
                      all ? "one DIR at most" : "a SESSION is needed");
        return VD_EXIT_USAGE;
    }
    (void)signal(SIGXFSZ, SIG_IGN); /* a file size limit is an error like a full disk */
    if (all)
        return recover_all(argv[optind]);
    for (; optind < argc; optind++) {
        int one = recover_one(argv[optind]);

        code = code ? code : one;
    }
    return code;
}
