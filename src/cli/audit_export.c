/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vdiskctl audit export: the records of one log or of a directory of logs for other programs
 * (audit/export.h).  All logs are verified first: then the verdicts are known that the output tells, and
 * the evidence directories in which it may not be written.  One thread.
 */
#include "audit/export.h"

#include "audit/record.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "cli/audit_export_out.h"
#include "cli/audit_filter_args.h"
#include "cli/audit_verbs.h"
#include "vdiskfs/exit_codes.h"

#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define MAX_DIRS 1024

struct session {
    char *path;
    struct audit_report report;
};

struct job {
    struct audit_export_options options;
    struct audit_out_options out;
    bool has_format;
    struct session *session; /* in order of their names: of the times of their mounts */
    size_t n_sessions;
    char *dir[MAX_DIRS]; /* where evidence lies, as the logs tell */
    size_t n_dirs;
    int code; /* exit code for what is not an error of the export */
};

/* ---- which logs ---- */

static int add_session(struct job *job, const char *path, struct vd_err *err)
{
    struct session *grown = realloc(job->session, (job->n_sessions + 1) * sizeof(*grown));

    if (!grown)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    job->session = grown;
    grown[job->n_sessions] = (struct session){.path = strdup(path)};
    return grown[job->n_sessions++].path ? 0 : vd_fail(err, VD_ENOMEM, "out of memory");
}

static bool holds_log(const char *dir, const char *name)
{
    struct vd_str path = VD_STR_INIT;
    struct stat st;
    bool yes;

    vd_str_addf(&path, "%s%s%s/000000.vlog", dir, name ? "/" : "", name ? name : "");
    yes = !path.failed && stat(path.p, &st) == 0;
    vd_str_clear(&path);
    return yes;
}

static int is_session_name(const struct dirent *e)
{
    return strlen(e->d_name) == 36 && strspn(e->d_name, "0123456789abcdef-") == 36;
}

/* The sessions in a directory of logs, by name: that begins with the time. */
static int add_sessions(struct job *job, const char *dir, struct vd_err *err)
{
    struct dirent **names = NULL;
    size_t before = job->n_sessions;
    int n = scandir(dir, &names, is_session_name, alphasort), i, rc = 0;

    if (n < 0)
        return vd_fail_errno(err, errno == ENOENT ? VD_ENOENT : VD_EIO, errno, "%s", dir);
    for (i = 0; i < n; i++) {
        struct vd_str path = VD_STR_INIT;

        vd_str_addf(&path, "%s/%s", dir, names[i]->d_name);
        if (rc == 0 && path.failed)
            rc = vd_fail(err, VD_ENOMEM, "out of memory");
        if (rc == 0 && holds_log(dir, names[i]->d_name))
            rc = add_session(job, path.p, err);
        vd_str_clear(&path);
        free(names[i]);
    }
    free(names);
    if (rc == 0 && job->n_sessions == before)
        rc = vd_fail(err, VD_EUSAGE, "%s: no audit log, and no directory of audit logs", dir);
    return rc;
}

static int add_path(struct job *job, const char *path, struct vd_err *err)
{
    struct stat st;

    if (stat(path, &st))
        return vd_fail_errno(err, errno == ENOENT ? VD_ENOENT : VD_EIO, errno, "%s", path);
    return !S_ISDIR(st.st_mode) || holds_log(path, NULL) ? add_session(job, path, err)
                                                         : add_sessions(job, path, err);
}

/* ---- the first reading ---- */

static int add_dir(struct job *job, const uint8_t *bytes, size_t len, struct vd_err *err)
{
    size_t i;

    if (len == 0 || bytes[0] != '/' || memchr(bytes, '\0', len))
        return 0;
    for (i = 0; i < job->n_dirs; i++)
        if (strlen(job->dir[i]) == len && memcmp(job->dir[i], bytes, len) == 0)
            return 0;
    if (job->n_dirs == MAX_DIRS)
        return vd_fail(err, VD_EUSAGE, "evidence of more than %d directories: export fewer logs",
                       MAX_DIRS);
    job->dir[job->n_dirs] = strndup((const char *)bytes, len);
    return job->dir[job->n_dirs++] ? 0 : vd_fail(err, VD_ENOMEM, "out of memory");
}

/* Where does evidence lie?  The image's directory, and those of its parents. */
static int find_dirs(void *ctx, const struct audit_seen *seen, struct vd_err *err)
{
    struct audit_record r;
    struct audit_piece p;
    const uint8_t *slash;
    int rc = audit_record_decode(seen->bytes, seen->len, &r, err);

    if (rc)
        return rc;
    if (r.op == AUDIT_EVIDENCE && audit_record_find(&r, AUDIT_T_KEY, &p))
        return add_dir(ctx, p.bytes, p.len, err);
    if (r.op != AUDIT_SESSION_OPEN || !audit_record_find(&r, AUDIT_T_PATH, &p))
        return 0;
    slash = memrchr(p.bytes, '/', p.len);
    return slash ? add_dir(ctx, p.bytes, slash == p.bytes ? 1 : (size_t)(slash - p.bytes), err) : 0;
}

static void tell_verdict(const struct session *s)
{
    char line[128];

    audit_verdict_line(&s->report, line, sizeof(line));
    (void)fprintf(stderr, "vdiskctl audit: %s: %s%s%s\n", s->path, line,
                  s->report.reason[0] ? ": " : "", s->report.reason);
}

static int verify_all(struct job *job, struct vd_err *err)
{
    size_t i;
    int rc = 0;

    for (i = 0; i < job->n_sessions && rc == 0; i++) {
        struct session *s = &job->session[i];

        rc = audit_verify(s->path, NULL, find_dirs, job, &s->report, err);
        if (rc == 0 && s->report.verdict != AUDIT_INTACT_CLOSED)
            tell_verdict(s);
        if (rc == 0 && audit_verdict_exit(s->report.verdict))
            job->code = audit_verdict_exit(s->report.verdict);
    }
    return rc;
}

/* ---- the second ---- */

static int export_session(struct audit_export *x, const struct session *s, struct vd_err *err)
{
    VD_AUTO(free) char *note = malloc(AUDIT_NOTE);
    const struct audit_verify_options how = {.last_note = note};
    struct audit_report second;
    int rc = note ? audit_export_begin(x, &s->report, s->path, err)
                  : vd_fail(err, VD_ENOMEM, "out of memory");

    if (rc == 0)
        rc = audit_verify(s->path, &how, audit_export_record, x, &second, err);
    if (rc == 0)
        rc = vd_prefix(err, audit_export_end(x, &second, note, err), "%s", s->path);
    return rc;
}

static int export_all(struct job *job, struct vd_err *err)
{
    struct audit_out out;
    struct audit_export *x = NULL;
    struct timespec now;
    size_t i;
    int rc;

    for (i = 0; i < job->n_sessions; i++) /* nothing is written into a log's directory either */
        job->out.log[i] = job->session[i].path;
    job->out.n_logs = job->n_sessions;
    job->out.evidence = (const char *const *)job->dir;
    job->out.n_evidence = job->n_dirs;
    rc = audit_out_open(&job->out, &out, err);
    if (rc)
        return rc;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    job->options.now_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    job->options.write = audit_out_write;
    job->options.ctx = &out;
    rc = audit_export_open(&job->options, &x, err);
    for (i = 0; i < job->n_sessions && rc == 0; i++)
        rc = export_session(x, &job->session[i], err);
    if (rc == 0)
        rc = audit_export_finish(x, err);
    if (rc == 0)
        rc = audit_out_publish(&out, err);
    if (rc == 0 && job->out.path)
        (void)fprintf(stderr, "vdiskctl audit: %" PRIu64 " records of %zu sessions in %s\n",
                      audit_export_records(x), job->n_sessions, job->out.path);
    if (rc == 0 && audit_export_unplaced(x))
        (void)fprintf(stderr,
                      "vdiskctl audit: the paths of the objects of %" PRIu64
                      " records are not known, they were passed over\n",
                      audit_export_unplaced(x));
    if (out.reader_gone) /* seen enough */
        rc = 0;
    audit_export_free(x);
    audit_out_clear(&out);
    return rc;
}

/* ---- command line ---- */

static int parse_format(const char *name, struct job *job)
{
    char text[160];
    int format = audit_export_format_number(name);

    if (format < 0) {
        (void)snprintf(text, sizeof(text),
                       "--format: \"%.64s\" is none of timesketch, csv and case", name);
        return audit_error(text);
    }
    job->options.format = (enum audit_export_format)format;
    job->has_format = true;
    return 0;
}

/* 0, or an exit code + 1 when the program is to end here. */
static int parse_args(int argc, char **argv, struct job *job)
{
    static const struct option options[] = {{"format", required_argument, NULL, 'F'},
                                            {"output", required_argument, NULL, 'o'},
                                            {"force", no_argument, NULL, 'x'},
                                            {"help", no_argument, NULL, 'h'},
                                            AUDIT_FILTER_OPTIONS,
                                            {0}};
    bool filtered = false;
    int c, code = 0;

    while ((c = getopt_long(argc, argv, "+o:h", options, NULL)) != -1) {
        if (c == 'h')
            return audit_usage() + 1;
        if (c == '?')
            return audit_error("see --help") + 1; /* getopt named the option */
        if (c == 'o') {
            job->out.path = optarg;
        } else if (c == 'x') {
            job->out.force = true;
        } else if (c == 'F') {
            code = parse_format(optarg, job);
        } else {
            code = audit_filter_arg(c, optarg, &job->options.filter);
            filtered = true;
        }
        if (code)
            return code + 1;
    }
    if (!job->has_format)
        return audit_error("--format=timesketch, csv or case is needed; see --help") + 1;
    if (filtered && job->options.format == AUDIT_EXPORT_CASE)
        return audit_error("--format=case tells of whole mounts: filters are for the others") + 1;
    if (optind == argc)
        return audit_error("a session, or a directory of sessions, is needed; see --help") + 1;
    return 0;
}

static int run(struct job *job, int argc, char **argv, struct vd_err *err)
{
    int i, rc = 0;

    for (i = optind; i < argc && rc == 0; i++)
        rc = add_path(job, argv[i], err);
    if (rc == 0)
        rc = verify_all(job, err);
    if (rc)
        return rc;
    job->out.log = calloc(job->n_sessions + 1, sizeof(*job->out.log));
    rc = job->out.log ? export_all(job, err) : vd_fail(err, VD_ENOMEM, "out of memory");
    free(job->out.log);
    return rc;
}

int audit_verb_export(int argc, char **argv)
{
    struct vd_err err = VD_ERR_INIT;
    VD_AUTO(free) struct job *job = calloc(1, sizeof(*job));
    size_t i;
    int rc;

    if (!job)
        return audit_error("out of memory");
    rc = parse_args(argc, argv, job);
    if (rc)
        return rc - 1;
    rc = run(job, argc, argv, &err);
    for (i = 0; i < job->n_sessions; i++)
        free(job->session[i].path);
    free(job->session);
    for (i = 0; i < job->n_dirs; i++)
        free(job->dir[i]);
    if (rc) {
        (void)fprintf(stderr, "vdiskctl audit: %s\n", err.msg[0] ? err.msg : vd_class_name(rc));
        return vd_class_exit(rc);
    }
    return job->code;
}
