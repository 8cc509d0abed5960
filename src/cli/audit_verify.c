/* SPDX-License-Identifier: Apache-2.0 */
/* vdiskctl audit verify: the verifier's report for people and programs (audit/verify.h).  One thread. */
#include "audit/note.h"
#include "base/cleanup.h"
#include "base/sha256.h"
#include "base/text.h"
#include "cli/audit_verbs.h"
#include "cli/command.h"
#include "fuse/mountinfo.h"
#include "vdiskfs/exit_codes.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define KEY_FILE_MAX ((size_t)4096)

#define CLOSE_WAIT_S    10 /* sealing and syncing takes this long on a very busy disk only */
#define CLOSE_POLL_NS   5000000
#define ELSEWHERE_LOOKS 40

static void uuid_text(const uint8_t u[16], char out[37])
{
    char *p = out;
    int i;

    for (i = 0; i < 16; i++)
        p += snprintf(p, 4, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", u[i]);
}

void audit_verdict_line(const struct audit_report *r, char *out, size_t size)
{
    const char *text = audit_verdict_text(r->verdict);

    switch (r->verdict) {
    case AUDIT_INTACT_CLOSED:
        (void)snprintf(out, size, "%s", text);
        break;
    case AUDIT_INTACT_OPEN:
        (void)snprintf(out, size, "%s (%s)", text,
                       r->live        ? "in use"
                       : r->has_close ? "closed after a recovery"
                                      : "crash");
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

static void print_signed(const struct audit_report *r)
{
    char hex[2 * VD_SHA256_SIZE + 1];

    vd_sha256_hex(r->root, hex);
    (void)printf("tree head  %s\n", hex);
    if (r->first_key[0])
        (void)printf("first key  %s\n", r->first_key);
    (void)printf("signed     %" PRIu64 " checkpoints by the keys of %" PRIu32 " epochs",
                 r->checkpoints, r->epochs);
    if (r->checkpoints && r->checkpoint_size < r->frames)
        (void)printf(", the last one over %" PRIu64 " frames", r->checkpoint_size);
    (void)printf("\n");
    if (r->anchors)
        (void)printf("anchors    %" PRIu64 " fit\n", r->anchors);
    if (r->recoveries)
        (void)printf("recoveries %" PRIu64 " after crashes: keys of the session signed %" PRIu64
                     " of the frames, the rest is on the word of who recovered\n",
                     r->recoveries, r->session_frames);
}

static void print_verify(const struct audit_report *r)
{
    char line[128], id[37], hex[2 * VD_SHA256_SIZE + 1], size[32];

    audit_verdict_line(r, line, sizeof(line));
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
        print_signed(r);
    }
}

static void add_signed(json_t *o, const struct audit_report *r)
{
    char hex[2 * VD_SHA256_SIZE + 1];

    vd_sha256_hex(r->root, hex);
    if (r->frames)
        (void)json_object_set_new(o, "tree_head", json_string(hex));
    if (r->first_key[0])
        (void)json_object_set_new(o, "first_key", json_string(r->first_key));
    (void)json_object_set_new(o, "epochs", json_integer((json_int_t)r->epochs));
    (void)json_object_set_new(o, "checkpoints", json_integer((json_int_t)r->checkpoints));
    (void)json_object_set_new(o, "checkpoint_frames", json_integer((json_int_t)r->checkpoint_size));
    (void)json_object_set_new(o, "anchors", json_integer((json_int_t)r->anchors));
    (void)json_object_set_new(o, "recoveries", json_integer((json_int_t)r->recoveries));
    (void)json_object_set_new(o, "session_frames", json_integer((json_int_t)r->session_frames));
}

static void print_verify_json(const struct audit_report *r)
{
    char line[128], id[37] = "", hex[2 * VD_SHA256_SIZE + 1];
    json_t *o;

    audit_verdict_line(r, line, sizeof(line));
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
    add_signed(o, r);
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

int audit_finish(int rc, const struct vd_err *err, const struct audit_report *r)
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

/* A small file as text; caller frees.  Exact, for anchors are signed. */
int audit_read_text(const char *path, size_t max, char **out, struct vd_err *err)
{
    VD_AUTO(free) char *text = malloc(max + 1);
    FILE *f = fopen(path, "re");
    size_t n;
    int rc = 0;

    if (!f || !text) {
        if (f)
            (void)fclose(f);
        return f ? vd_fail(err, VD_ENOMEM, "%s: out of memory", path)
                 : vd_fail_errno(err, VD_EUSAGE, errno, "%s", path);
    }
    n = fread(text, 1, max + 1, f);
    if (ferror(f))
        rc = vd_fail_errno(err, VD_EUSAGE, errno, "%s: cannot be read", path);
    else if (n > max)
        rc = vd_fail(err, VD_EUSAGE, "%s: larger than %zu bytes", path, max);
    else if (memchr(text, '\0', n))
        rc = vd_fail(err, VD_EUSAGE, "%s: not a text", path);
    (void)fclose(f);
    if (rc)
        return rc;
    text[n] = '\0';
    *out = text;
    text = NULL;
    return 0;
}

/* `given` is the key itself, or a file whose first line is one.  *out is the caller's. */
int audit_read_key(const char *given, char **out, struct vd_err *err)
{
    struct note_key key;
    int rc = note_key_decode(given, &key, err);

    if (rc && access(given, F_OK) == 0) {
        rc = audit_read_text(given, KEY_FILE_MAX, out, err);
        if (rc == 0)
            rc = vd_prefix(err, note_key_decode(*out, &key, err), "%s", given);
        return rc;
    }
    if (rc)
        return vd_prefix(err, rc, "--key: no file, and");
    *out = strdup(given);
    return *out ? 0 : vd_fail(err, VD_ENOMEM, "out of memory");
}

/* ---- a log that is being closed ---- */

/* Numbers of devices are given out again at once, so the place counts too. */
static bool is_its_mount(const struct mountinfo *m, const void *ctx)
{
    const struct audit_mount *mount = ctx;

    return m->major == mount->major && m->minor == mount->minor &&
           (!mount->path[0] || strcmp(m->path, mount->path) == 0);
}

static bool has_its_device(const struct mountinfo *m, const void *ctx)
{
    const struct audit_mount *mount = ctx;

    return m->major == mount->major && m->minor == mount->minor;
}

static bool find(bool (*match)(const struct mountinfo *m, const void *ctx),
                 const struct audit_mount *mount)
{
    struct mountinfo m;
    int rc = mountinfo_find(match, mount, &m, NULL);

    if (rc == 0)
        mountinfo_clear(&m);
    return rc != -VD_ENOENT; /* when it cannot be told: waiting would be for nothing */
}

/* Not in this mount namespace, but in another one, or unmounted lazily while it is used: then the kernel
 * still has its connection, whose name is the minor number. */
static bool is_elsewhere(const struct audit_mount *mount)
{
    char path[64];

    (void)snprintf(path, sizeof(path), "/sys/fs/fuse/connections/%" PRIu32, mount->minor);
    return access(path, F_OK) == 0 && !find(has_its_device, mount);
}

/* umount(8) returns when the kernel let go of the mount; the program behind it then still closes its
 * log.  Who verifies in that moment means the closed log. */
static void await_close(const char *path)
{
    const struct timespec pause = {0, CLOSE_POLL_NS};
    struct audit_mount mount = {0};
    unsigned elsewhere = 0; /* looks in a row: another mount that just begins may have the number */
    struct timespec t;
    time_t end;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    end = t.tv_sec + CLOSE_WAIT_S;
    while (t.tv_sec < end && elsewhere < ELSEWHERE_LOOKS && audit_is_live(path, &mount) &&
           (mount.major || mount.minor) && !find(is_its_mount, &mount)) {
        elsewhere = is_elsewhere(&mount) ? elsewhere + 1 : 0;
        (void)nanosleep(&pause, NULL);
        (void)clock_gettime(CLOCK_MONOTONIC, &t);
    }
}

/* What the command line says.  Borrowed from argv. */
struct verify_args {
    const char *path;
    const char *key, *anchor; /* what was kept elsewhere; may be NULL */
    bool json, no_wait;
};

/* 0, or an exit code + 1 when the program is to end here. */
static int parse_args(int argc, char **argv, struct verify_args *out)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'},         {"key", required_argument, NULL, 'k'},
        {"anchor", required_argument, NULL, 'a'}, {"no-wait", no_argument, NULL, 'w'},
        {"help", no_argument, NULL, 'h'},         {0}};
    int c;

    while ((c = getopt_long(argc, argv, "+h", options, NULL)) != -1) {
        if (c == 'h')
            return audit_usage() + 1;
        if (c == 'j')
            out->json = true;
        else if (c == 'w')
            out->no_wait = true;
        else if (c == 'k')
            out->key = optarg;
        else if (c == 'a')
            out->anchor = optarg;
        else
            return audit_error("see --help") + 1; /* getopt named the option */
    }
    c = audit_one_path(argc, argv, &out->path);
    return c ? c + 1 : 0;
}

int audit_verb_verify(int argc, char **argv)
{
    VD_AUTO(free) char *key = NULL;
    VD_AUTO(free) char *anchors = NULL;
    struct audit_verify_options options = {0};
    struct vd_err err = VD_ERR_INIT;
    struct verify_args args = {0};
    struct audit_report r;
    int rc = parse_args(argc, argv, &args);

    if (rc)
        return rc - 1;
    rc = args.key ? audit_read_key(args.key, &key, &err) : 0;
    if (rc == 0 && args.anchor)
        rc = audit_read_text(args.anchor, ANCHORS_MAX, &anchors, &err);
    options.key = key;
    options.anchors = anchors;
    if (rc == 0 && !args.no_wait)
        await_close(args.path);
    if (rc == 0)
        rc = audit_verify(args.path, &options, NULL, NULL, &r, &err);
    if (rc == 0 && args.json)
        print_verify_json(&r);
    else if (rc == 0)
        print_verify(&r);
    return audit_finish(rc, &err, &r);
}
