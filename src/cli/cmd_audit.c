/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vdiskctl audit verify|show: reads a log; needs neither an image nor a worker, for all that is
 * parsed here is checked byte by byte (audit/verify.h).  Format: docs/formats/audit-log.md.
 */
#include "audit/show.h"
#include "audit/verify.h"
#include "base/sha256.h"
#include "base/text.h"
#include "cli/command.h"
#include "vdiskfs/exit_codes.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "Usage: vdiskctl audit verify [--json] PATH\n"
    "       vdiskctl audit show [--json] [--op OP] [--path PREFIX] [--pid PID] PATH\n"
    "PATH is the directory of a session, or its file 000000.vlog.\n"
    "\n"
    "verify checks every byte of the log and answers\n"
    "  INTACT closed        everything is there, up to the record that closed the log\n"
    "  INTACT open          the same without a close record: in use, or a crash that lost nothing\n"
    "  TORN TAIL            intact frames, then an end that was not sealed or is missing\n"
    "  TAMPERED at frame N  frame N is not what was written\n"
    "and prints the hash of the last frame.  Note it down elsewhere: only with it can be seen "
    "that\n"
    "the end of an unclosed log was cut off, or that all of it was written anew.\n"
    "\n"
    "show prints one line for each record that verify counts, and ends at the first bad frame.\n"
    "  --op OP        only this operation (READ, OPEN, REFUSED, ...)\n"
    "  --path PREFIX  only this path in the mount and what is beneath it\n"
    "  --pid PID      only this process\n"
    "  --json         JSON (show: one object per line)\n"
    "\n"
    "Exit code: 0 INTACT, 7 TORN TAIL or TAMPERED, 2 the log cannot be read, 1 bad command line.\n";

struct audit_args {
    const char *path;
    struct audit_show_options show; /* json is used by verify too */
};

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
        else if (c == '?' || !show)
            return audit_error("see --help") + 1; /* getopt named the option, or it is show's */
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

static void uuid_text(const uint8_t u[16], char out[37])
{
    char *p = out;
    int i;

    for (i = 0; i < 16; i++)
        p += snprintf(p, 4, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", u[i]);
}

/* "INTACT open (in use)", "TAMPERED at frame 3": what stands in the first line. */
static void verdict_line(const struct audit_report *r, char *out, size_t size)
{
    const char *text = audit_verdict_text(r->verdict);

    switch (r->verdict) {
    case AUDIT_INTACT_CLOSED:
        (void)snprintf(out, size, "%s", text);
        break;
    case AUDIT_INTACT_OPEN:
        (void)snprintf(out, size, "%s (%s)", text, r->live ? "in use" : "crash");
        break;
    case AUDIT_TORN_TAIL:
        (void)snprintf(out, size, "%s (%" PRIu64 " bytes, %" PRIu64 " records not sealed)", text,
                       r->torn_bytes, r->unsealed);
        break;
    case AUDIT_TAMPERED:
        (void)snprintf(out, size, "%s at frame %" PRIu64, text, r->bad_frame);
        break;
    }
}

static void print_verify(const struct audit_report *r)
{
    char line[128], id[37], hex[2 * VD_SHA256_SIZE + 1], size[32];

    verdict_line(r, line, sizeof(line));
    (void)printf("%s\n", line);
    if (r->verdict == AUDIT_TAMPERED)
        (void)printf("reason     %s\nplace      %06u.vlog, offset %" PRIu64 " (0x%" PRIx64 ")\n",
                     r->reason, r->bad_segment, r->bad_offset, r->bad_offset);
    else if (r->reason[0])
        (void)printf("reason     %s\n", r->reason);
    if (r->has_session) {
        uuid_text(r->session, id);
        (void)printf("session    %s\n", id);
    }
    vd_text_size(r->bytes, size, sizeof(size));
    (void)printf("%s %" PRIu64 " records in %" PRIu64 " frames, %" PRIu64 " segments, %s\n",
                 r->verdict == AUDIT_TAMPERED ? "intact    " : "holds     ", r->records, r->frames,
                 r->segments, size);
    if (r->lost)
        (void)printf("lost       %" PRIu64 " records that a dying process did not complete\n",
                     r->lost);
    if (r->unsealed)
        (void)printf("not sealed %" PRIu64 " records in ring.wal%s\n", r->unsealed,
                     r->live ? "" : " (recoverable)");
    if (r->unfinished && !r->live)
        (void)printf("unfinished %" PRIu64 " claims in ring.wal (no answer was sent for them)\n",
                     r->unfinished);
    if (r->frames) {
        vd_sha256_hex(r->leaf, hex);
        (void)printf("last leaf  %s\n", hex);
    }
}

static void print_verify_json(const struct audit_report *r)
{
    char line[128], id[37] = "", hex[2 * VD_SHA256_SIZE + 1];
    json_t *o;

    verdict_line(r, line, sizeof(line));
    uuid_text(r->session, id);
    vd_sha256_hex(r->leaf, hex);
    o = json_pack("{s:s, s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "verdict",
                  audit_verdict_text(r->verdict), "text", line, "live", r->live, "segments",
                  (json_int_t)r->segments, "frames", (json_int_t)r->frames, "records",
                  (json_int_t)r->records, "bytes", (json_int_t)r->bytes, "lost",
                  (json_int_t)r->lost, "torn_bytes", (json_int_t)r->torn_bytes, "unsealed",
                  (json_int_t)r->unsealed, "unfinished", (json_int_t)r->unfinished);
    if (r->has_session)
        (void)json_object_set_new(o, "session", json_string(id));
    if (r->frames)
        (void)json_object_set_new(o, "last_leaf", json_string(hex));
    if (r->reason[0])
        (void)json_object_set_new(o, "reason", json_string(r->reason));
    if (r->verdict == AUDIT_TAMPERED) {
        (void)json_object_set_new(o, "bad_frame", json_integer((json_int_t)r->bad_frame));
        (void)json_object_set_new(o, "bad_segment", json_integer((json_int_t)r->bad_segment));
        (void)json_object_set_new(o, "bad_offset", json_integer((json_int_t)r->bad_offset));
    }
    (void)json_dumpf(o, stdout, JSON_INDENT(2));
    (void)printf("\n");
    json_decref(o);
}

static int finish(int rc, const struct vd_err *err, const struct audit_report *r)
{
    if (rc == 0 && !command_output_arrived())
        return command_end("vdiskctl audit", VD_EXIT_OK);
    if (rc) {
        (void)fflush(stdout);
        (void)fprintf(stderr, "vdiskctl audit: %s\n", err->msg[0] ? err->msg : vd_class_name(rc));
        return vd_class_exit(rc);
    }
    return audit_verdict_exit(r->verdict);
}

static int verb_verify(const struct audit_args *args)
{
    struct vd_err err = VD_ERR_INIT;
    struct audit_report r;
    int rc = audit_verify(args->path, NULL, NULL, NULL, &r, &err);

    if (rc == 0 && args->show.json)
        print_verify_json(&r);
    else if (rc == 0)
        print_verify(&r);
    return finish(rc, &err, &r);
}

static int verb_show(const struct audit_args *args)
{
    struct vd_err err = VD_ERR_INIT;
    struct audit_report r;
    char line[128];
    int rc = audit_show(args->path, &args->show, stdout, &r, &err);

    if (rc == 0 && r.verdict != AUDIT_INTACT_CLOSED && !r.live) {
        verdict_line(&r, line, sizeof(line));
        (void)fflush(stdout);
        (void)fprintf(stderr, "vdiskctl audit: %s: %s%s%s\n", args->path, line,
                      r.reason[0] ? ": " : "", r.reason);
    }
    return finish(rc, &err, &r);
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
    return show ? verb_show(&args) : verb_verify(&args);
}
