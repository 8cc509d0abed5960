/* SPDX-License-Identifier: Apache-2.0 */
/* vdiskctl audit prove: proofs from a log, and checking them without it (audit/prove.h).  One thread. */
#include "audit/prove.h"

#include "audit/record.h"
#include "audit/show_names.h"
#include "audit/show_put.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "cli/audit_verbs.h"
#include "cli/command.h"
#include "vdiskfs/exit_codes.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char usage[] =
    "Usage: vdiskctl audit prove --frame N|--seq N [--key KEY] [--anchor FILE] [-o OUT] SESSION\n"
    "       vdiskctl audit prove --anchor FILE [--key KEY] [-o OUT] SESSION\n"
    "       vdiskctl audit prove --check PROOF [--frame-file FILE] [--key KEY] [--anchor FILE]\n"
    "                            [--record]\n"
    "The first form proves that one frame of the log (number N, or the one with record number N)\n"
    "lies under a signed checkpoint; who checks it needs nothing else of the log. The second one\n"
    "proves that the log continues what a checkpoint kept elsewhere covers. The proof goes to\n"
    "standard output, or to OUT.tlog-proof, and the frame's bytes to OUT.frame (consistency:\n"
    "OUT.consistency).\n"
    "  --frame N       number of a frame\n"
    "  --seq N         number of a record\n"
    "  --key KEY|FILE  the checkpoint that this key signed last; without it the last one of all\n"
    "  --anchor FILE   checkpoints that were copied elsewhere: with --frame or --seq the proof\n"
    "                  leads to one of them; alone, from the last of them to the log's last one\n"
    "  -o OUT          two files instead of standard output; nothing is overwritten\n"
    "  --check PROOF   checks a proof: the checkpoint must be signed by --key, or be one of\n"
    "                  --anchor (consistency: begin with one)\n"
    "  --frame-file F  the frame's bytes\n"
    "  --record        prints the frame's records when it is proved (--seq: only that one)\n"
    "\n"
    "Exit code: 0 proved; 7 not proved, or the log is not that of the anchor; 2 it cannot be "
    "read;\n"
    "1 bad command line, no such frame, no checkpoint that covers it.\n";

#define PROOF_MAX ((size_t)1 << 16)

struct prove_args {
    const char *key, *anchor, *out, *check, *frame_file, *path;
    bool has_frame, has_seq, record;
    uint64_t number;
};

/* ---- making ---- */

static int write_file(const char *out, const char *suffix, const void *bytes, size_t len,
                      struct vd_err *err)
{
    VD_AUTO(fd) int fd = -1;
    char path[PATH_MAX];
    size_t done = 0;

    if ((size_t)snprintf(path, sizeof(path), "%s%s", out, suffix) >= sizeof(path))
        return vd_fail(err, VD_EUSAGE, "-o: the name is too long");
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (fd < 0)
        return vd_fail_errno(err, VD_EUSAGE, errno, "%s: cannot create", path);
    while (done < len) {
        ssize_t n = write(fd, (const char *)bytes + done, len - done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return vd_fail_errno(err, VD_EIO, n < 0 ? errno : ENOSPC, "%s: cannot write", path);
        done += (size_t)n;
    }
    return fsync(fd) ? vd_fail_errno(err, VD_EIO, errno, "%s: cannot write", path) : 0;
}

static int give_out(const struct prove_args *args, const struct audit_proved *proved,
                    struct vd_err *err)
{
    VD_AUTO(free) char *text = malloc(AUDIT_PROOF_TEXT);
    char key[NOTE_KEY_TEXT];
    int rc = 0;

    if (!text)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    audit_proof_text(&proved->proof, text);
    if (!args->out)
        (void)fputs(text, stdout);
    else if (proved->proof.consistency)
        rc = write_file(args->out, ".consistency", text, strlen(text), err);
    else
        rc = write_file(args->out, ".frame", proved->frame, proved->frame_len, err);
    if (rc == 0 && args->out && !proved->proof.consistency)
        rc = write_file(args->out, ".tlog-proof", text, strlen(text), err);
    if (rc)
        return rc;
    note_key_text(&proved->key, key);
    (void)fprintf(stderr,
                  proved->proof.consistency ? "from %" PRIu64 " frames to %" PRIu64
                                              ", signed by the key of epoch %" PRIu32 ":\n%s\n"
                                            : "frame %" PRIu64 " in the tree of %" PRIu64
                                              " frames, signed by the key of epoch %" PRIu32
                                              ":\n%s\n",
                  proved->proof.index, proved->size, proved->epoch, key);
    return 0;
}

static int prove(const struct prove_args *args, const char *key, const char *anchors,
                 struct vd_err *err)
{
    const struct audit_prove_options options = {.consistency = !args->has_frame && !args->has_seq,
                                                .by_seq = args->has_seq,
                                                .number = args->number,
                                                .key = key,
                                                .anchors = anchors};
    VD_AUTO(free) struct audit_proved *proved = calloc(1, sizeof(*proved));
    char line[128];
    int rc;

    if (!proved)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    rc = audit_prove(args->path, &options, proved, err);
    if (rc == 0 && audit_verdict_exit(proved->report.verdict)) {
        audit_verdict_line(&proved->report, line, sizeof(line));
        (void)fprintf(stderr,
                      "vdiskctl audit prove: warning: %s: %s%s%s; what is proved lies in "
                      "front of that\n",
                      args->path, line, proved->report.reason[0] ? ": " : "",
                      proved->report.reason);
    }
    if (rc == 0)
        rc = give_out(args, proved, err);
    free(proved->frame);
    return rc;
}

/* ---- checking ---- */

static int read_frame(const char *path, uint8_t **out, size_t *out_len, struct vd_err *err)
{
    VD_AUTO(free) uint8_t *bytes = malloc(AUDIT_MAX_FRAME + 1);
    FILE *f = path ? fopen(path, "re") : NULL;
    bool failed;

    if (!path)
        return vd_fail(err, VD_EUSAGE, "--frame-file is needed: the proof is of a frame");
    if (!f)
        return vd_fail_errno(err, VD_EUSAGE, errno, "%s", path);
    if (bytes)
        *out_len = fread(bytes, 1, AUDIT_MAX_FRAME + 1, f);
    failed = ferror(f);
    (void)fclose(f);
    if (!bytes || failed)
        return vd_fail(err, failed ? VD_EIO : VD_ENOMEM, "%s: cannot be read", path);
    *out = vd_take(&bytes);
    return 0;
}

/* All of a text, escaped as `show` does: quotes and backslashes in it are not those of this line. */
static int print_text(const struct audit_piece *piece, struct vd_err *err)
{
    struct vd_str text = VD_STR_INIT;
    bool failed;

    (void)show_add_value(&text, SHOW_TEXT, piece->bytes, piece->len, SIZE_MAX);
    failed = text.failed;
    (void)printf("\"%s\"", text.p && !failed ? text.p : "");
    vd_str_clear(&text);
    return failed ? vd_fail(err, VD_ENOMEM, "out of memory") : 0;
}

static int print_record(const struct audit_record *r, struct vd_err *err)
{
    const char *name = audit_op_name(r->op);
    struct audit_piece piece;
    size_t pos = 0;

    (void)printf("seq=%" PRIu64 " real_ns=%" PRId64 " op=%s(%u) result=%d obj=%" PRIu64
                 " off=%" PRIu64 " len=%" PRIu64 " proc=%" PRIu32 " flags=%u",
                 r->seq, r->real_ns, name ? name : "?", r->op, r->result, r->obj, r->off, r->len,
                 r->proc, r->flags);
    while (audit_record_next(r, &pos, &piece)) {
        enum audit_tag_kind kind;
        const char *tag = audit_tag_name(piece.tag, &kind);
        size_t i;

        (void)printf(" %s=", tag ? tag : "?");
        if (kind == AUDIT_KIND_TEXT) {
            int rc = print_text(&piece, err);

            if (rc)
                return rc;
            continue;
        }
        for (i = 0; i < piece.len; i++)
            (void)printf("%02x", piece.bytes[i]);
    }
    (void)printf("\n");
    return 0;
}

/* The frame was proved, so it is what the program wrote; it is read with care all the same. */
static int print_records(const struct prove_args *args, const uint8_t *frame, size_t len,
                         struct vd_err *err)
{
    size_t pos = AUDIT_FRAME_HEADER;
    bool found = !args->has_seq;

    while (pos < len) {
        size_t n =
            AUDIT_SLOT * (len - pos >= AUDIT_SLOT ? 1 + (size_t)frame[pos + AUDIT_R_EXT] : 1);
        struct audit_record r;
        int rc = audit_record_decode(frame + pos, len - pos, &r, err);
        uint64_t span = 0;

        if (rc)
            return rc;
        if (args->has_seq && pos + n < len)
            span = vd_le64(frame + pos + n); /* the next record's number + 1 */
        if (!args->has_seq ||
            (r.seq <= args->number && (pos + n >= len || args->number + 1 < span))) {
            rc = print_record(&r, err);
            if (rc)
                return rc;
            found = true;
        }
        pos += n;
    }
    return found ? 0 : vd_fail(err, VD_EUSAGE, "no record %" PRIu64 " in this frame", args->number);
}

static int check(const struct prove_args *args, const char *key, const char *anchors,
                 struct vd_err *err)
{
    const struct audit_trust trust = {key, anchors};
    VD_AUTO(free) struct audit_proof *proof = malloc(sizeof(*proof));
    VD_AUTO(free) char *text = NULL;
    VD_AUTO(free) uint8_t *frame = NULL;
    struct audit_checked checked;
    size_t frame_len = 0;
    int rc = audit_read_text(args->check, PROOF_MAX, &text, err);

    if (!proof)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    if (rc == 0)
        rc = vd_prefix(err, audit_proof_decode(text, strlen(text), proof, err), "%s", args->check);
    if (rc == -(int)VD_ECORRUPT)
        rc = -(int)VD_EDIFF; /* it proves nothing */
    if (rc == 0 && !proof->consistency)
        rc = read_frame(args->frame_file, &frame, &frame_len, err);
    if (rc == 0)
        rc = audit_proof_check(proof, frame, frame_len, &trust, &checked, err);
    if (rc)
        return vd_prefix(err, rc, "NOT PROVED");
    (void)printf("PROVED: %s %" PRIu64 " %s %s, %" PRIu64 " frames\n",
                 proof->consistency ? "the log of" : "frame", proof->index,
                 proof->consistency ? "frames is continued by" : "is in", checked.checkpoint.origin,
                 checked.checkpoint.size);
    (void)printf("checkpoint  %s%s%s\n", checked.key_signed ? "signed by the key given" : "",
                 checked.key_signed && checked.anchored ? ", " : "",
                 !checked.anchored     ? ""
                 : !proof->consistency ? "it is the anchor"
                 : checked.key_signed  ? "it continues the anchor"
                                       : "its signature was not checked (--key)");
    return args->record && !proof->consistency ? print_records(args, frame, frame_len, err) : 0;
}

/* ---- command line ---- */

static bool parse_number(const char *text, uint64_t *out)
{
    return note_number_decode(text, strlen(text), out);
}

static int parse(int argc, char **argv, struct prove_args *out)
{
    static const struct option options[] = {
        {"frame", required_argument, NULL, 'f'}, {"seq", required_argument, NULL, 's'},
        {"key", required_argument, NULL, 'k'},   {"anchor", required_argument, NULL, 'a'},
        {"check", required_argument, NULL, 'c'}, {"frame-file", required_argument, NULL, 'F'},
        {"record", no_argument, NULL, 'r'},      {"out", required_argument, NULL, 'o'},
        {"help", no_argument, NULL, 'h'},        {0}};
    int c;

    while ((c = getopt_long(argc, argv, "+ho:", options, NULL)) != -1) {
        if (c == 'h') {
            (void)fputs(usage, stdout);
            exit(VD_EXIT_OK);
        } else if (c == 'f' || c == 's') {
            if (out->has_frame || out->has_seq || !parse_number(optarg, &out->number))
                return audit_error(
                    "one number, of a frame or of a record, is needed; see prove --help");
            out->has_frame = c == 'f';
            out->has_seq = c == 's';
        } else if (c == 'k') {
            out->key = optarg;
        } else if (c == 'a') {
            out->anchor = optarg;
        } else if (c == 'c') {
            out->check = optarg;
        } else if (c == 'F') {
            out->frame_file = optarg;
        } else if (c == 'r') {
            out->record = true;
        } else if (c == 'o') {
            out->out = optarg;
        } else {
            return audit_error("see prove --help"); /* getopt named the option */
        }
    }
    if (out->check && (argc != optind || out->has_frame || out->out))
        return audit_error("--check takes no SESSION, --frame or -o; see prove --help");
    if (out->check)
        return !out->key && !out->anchor
                   ? audit_error(
                         "--check needs --key or --anchor: what the proof is checked against")
                   : 0;
    if (out->frame_file || out->record || (!out->has_frame && !out->has_seq && !out->anchor))
        return audit_error("what is to be proved? --frame, --seq or --anchor; see prove --help");
    return audit_one_path(argc, argv, &out->path);
}

int audit_verb_prove(int argc, char **argv)
{
    struct audit_report fine = {.verdict = AUDIT_INTACT_OPEN};
    VD_AUTO(free) char *key = NULL;
    VD_AUTO(free) char *anchors = NULL;
    struct prove_args args = {0};
    struct vd_err err = VD_ERR_INIT;
    int rc = parse(argc, argv, &args);

    if (rc)
        return rc;
    if (args.key)
        rc = audit_read_key(args.key, &key, &err);
    if (rc == 0 && args.anchor)
        rc = audit_read_text(args.anchor, ANCHORS_MAX, &anchors, &err);
    if (rc == 0)
        rc = args.check ? check(&args, key, anchors, &err) : prove(&args, key, anchors, &err);
    return audit_finish(rc, &err, &fine);
}
