/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vdiskctl audit show: every record as one line, text or JSON.  The records come from the
 * verifier's walk, so what is shown is what was verified.
 *
 * Two tables make lines readable alone: who a process number is (from PROC records) and which path
 * an object number has (from PATH fields, and from look-ups in directories whose path is known).
 * Everything that came from evidence is escaped: a line is a line, whatever a file is called.
 */
#include "audit/show.h"

#include "audit/merge.h"
#include "audit/record.h"
#include "audit/show_memory.h"
#include "base/bytes.h"
#include "base/sha256.h"
#include "base/text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MEMORY_BYTES ((size_t)32 << 20) /* of each table */
#define ROOT_NODE    1                  /* inode number of the root of a FUSE mount */
#define MAX_TAGS     256

struct show {
    const struct audit_show_options *options;
    unsigned op; /* filter, 0 = none */
    FILE *out;
    struct show_memory procs; /* number in PROC → the PROC record */
    struct show_memory paths; /* object → path */
    struct vd_str line;
};

/* ---- one line ---- */

/* Escapes for both forms: what vd_text_printable does, and \ and " get a backslash. */
static void add_escaped(struct vd_str *s, const char *p, size_t len)
{
    size_t i, n;

    for (i = 0; i < len; i += n) {
        char shown[32];

        n = vd_utf8_next(p + i, len - i, NULL);
        if (n == 0)
            n = 1;
        if (p[i] == '\\' || p[i] == '"') {
            vd_str_add_bytes(s, "\\", 1);
            vd_str_add_bytes(s, p + i, 1);
            continue;
        }
        vd_str_add_bytes(s, shown, vd_text_printable(p + i, n, shown, sizeof(shown)));
    }
}

/* JSON knows no \xHH: its backslash is escaped once more. */
static void add_json_escaped(struct vd_str *s, const char *p, size_t len)
{
    char *shown = malloc(4 * len + 1);
    size_t i, n;

    if (!shown) {
        s->failed = true;
        return;
    }
    n = vd_text_printable(p, len, shown, 4 * len + 1);
    for (i = 0; i < n; i++) {
        if (shown[i] == '\\' || shown[i] == '"')
            vd_str_add_bytes(s, "\\", 1);
        vd_str_add_bytes(s, shown + i, 1);
    }
    free(shown);
}

static bool is_bare(const char *p, size_t len)
{
    size_t i;

    for (i = 0; i < len; i++)
        if (p[i] <= ' ' || p[i] >= 127 || p[i] == '"' || p[i] == '\\' || p[i] == '=')
            return false;
    return len > 0;
}

static void add_key(struct show *s, const char *key)
{
    if (s->options->json)
        vd_str_addf(&s->line, "%s\"%s\":", s->line.len > 1 ? "," : "", key);
    else
        vd_str_addf(&s->line, " %s=", key);
}

static void add_text(struct show *s, const char *key, const void *bytes, size_t len)
{
    const char *p = bytes;

    add_key(s, key);
    if (!s->options->json && is_bare(p, len)) {
        vd_str_add_bytes(&s->line, p, len);
        return;
    }
    vd_str_add(&s->line, "\"");
    if (s->options->json)
        add_json_escaped(&s->line, p, len);
    else
        add_escaped(&s->line, p, len);
    vd_str_add(&s->line, "\"");
}

static void add_u64(struct show *s, const char *key, uint64_t v)
{
    add_key(s, key);
    vd_str_addf(&s->line, "%" PRIu64, v);
}

/* "2024-05-01T12:34:56.123456789Z" */
static void time_text(int64_t ns, char out[64])
{
    int64_t sec = ns / 1000000000, rest = ns % 1000000000;
    struct tm tm = {0};
    char day[40];
    time_t t;

    if (rest < 0) {
        rest += 1000000000;
        sec--;
    }
    t = (time_t)sec;
    (void)gmtime_r(&t, &tm); /* 64-bit nanoseconds are the years 1677 to 2262 */
    (void)strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
    (void)snprintf(out, 64, "%s.%09" PRId64 "Z", day, rest);
}

static void add_piece(struct show *s, const char *key, const struct audit_piece *p,
                      enum audit_tag_kind kind)
{
    char text[80];
    size_t i;

    if (kind == AUDIT_KIND_U32 && p->len == 4) {
        add_u64(s, key, vd_le32(p->bytes));
    } else if (kind == AUDIT_KIND_U64 && p->len == 8) {
        add_u64(s, key, vd_le64(p->bytes));
    } else if (kind == AUDIT_KIND_TIME && p->len == 8) {
        time_text((int64_t)vd_le64(p->bytes), text);
        add_text(s, key, text, strlen(text));
    } else if (kind == AUDIT_KIND_HEX && p->len <= 32) {
        for (i = 0; i < p->len; i++)
            (void)snprintf(text + 2 * i, 3, "%02x", p->bytes[i]);
        add_text(s, key, text, 2 * p->len);
    } else {
        add_text(s, key, p->bytes, p->len);
    }
}

/* All fields of the payload; a tag that comes again gets a number, so that keys stay unique. */
static void add_fields(struct show *s, const struct audit_record *r, bool skip_path)
{
    uint16_t seen[MAX_TAGS] = {0};
    struct audit_piece p;
    size_t pos = 0;

    while (audit_record_next(r, &pos, &p)) {
        enum audit_tag_kind kind;
        const char *name = audit_tag_name(p.tag, &kind);
        char key[48];

        if (skip_path && p.tag == AUDIT_T_PATH && seen[p.tag] == 0) {
            seen[p.tag]++;
            continue;
        }
        if (name)
            (void)snprintf(key, sizeof(key), "%s", name);
        else
            (void)snprintf(key, sizeof(key), "tag%u", p.tag);
        if (seen[p.tag]++)
            (void)snprintf(key + strlen(key), sizeof(key) - strlen(key), ".%u", seen[p.tag]);
        add_piece(s, key, &p, kind);
    }
}

/* ---- who and where ---- */

static bool recall_proc(const struct show *s, uint32_t proc, struct audit_record *out)
{
    size_t len;
    const uint8_t *bytes = proc ? show_recall(&s->procs, proc, &len) : NULL;

    return bytes && audit_record_decode(bytes, len, out, NULL) == 0;
}

static bool proc_pid(const struct show *s, const struct audit_record *r, uint32_t *out)
{
    struct audit_record proc;
    struct audit_piece p;

    if (r->op != AUDIT_PROC && !recall_proc(s, r->proc, &proc))
        return false;
    if (!audit_record_find(r->op == AUDIT_PROC ? r : &proc, AUDIT_T_PID, &p) || p.len != 4)
        return false;
    *out = vd_le32(p.bytes);
    return true;
}

static void add_proc(struct show *s, const struct audit_record *r)
{
    static const enum audit_tag tags[] = {AUDIT_T_PID, AUDIT_T_COMM, AUDIT_T_UID, AUDIT_T_GID,
                                          AUDIT_T_EXE};
    struct audit_record proc;
    size_t i;

    if (r->proc == 0 || r->op == AUDIT_PROC)
        return;
    add_u64(s, "proc", r->proc);
    if (!recall_proc(s, r->proc, &proc))
        return;
    for (i = 0; i < sizeof(tags) / sizeof(tags[0]); i++) {
        struct audit_piece p, own;
        enum audit_tag_kind kind;
        const char *name = audit_tag_name(tags[i], &kind);

        if (audit_record_find(&proc, tags[i], &p) && !audit_record_find(r, tags[i], &own))
            add_piece(s, name, &p, kind);
    }
}

/* The path of the record's object, or NULL. */
static const char *record_path(const struct show *s, const struct audit_record *r, size_t *out_len)
{
    struct audit_piece p;

    if (audit_record_find(r, AUDIT_T_PATH, &p)) {
        *out_len = p.len;
        return (const char *)p.bytes;
    }
    return r->obj ? (const char *)show_recall(&s->paths, r->obj, out_len) : NULL;
}

/* Learns from a record what later lines need. */
static void learn(struct show *s, const struct audit_record *r, const struct audit_seen *seen)
{
    char path[AUDIT_MAX_PAYLOAD];
    struct audit_piece name;
    size_t len = 0;
    const char *dir;

    if (r->op == AUDIT_PROC)
        show_remember(&s->procs, r->off, seen->bytes, seen->len);
    if (r->obj && audit_record_find(r, AUDIT_T_PATH, &name))
        show_remember(&s->paths, r->obj, name.bytes, name.len);
    if (r->op != AUDIT_LOOKUP || r->result || !r->off || !audit_record_find(r, AUDIT_T_NAME, &name))
        return;
    dir = record_path(s, r, &len);
    if (!dir || len + 1 + name.len > sizeof(path))
        return;
    memcpy(path, dir, len);
    if (len)
        path[len++] = '/';
    memcpy(path + len, name.bytes, name.len);
    show_remember(&s->paths, r->off, path, len + name.len);
}

static bool path_beneath(const char *path, size_t len, const char *prefix)
{
    size_t n;

    while (*prefix == '/')
        prefix++;
    n = strlen(prefix);
    while (n && prefix[n - 1] == '/')
        n--;
    return len >= n && memcmp(path, prefix, n) == 0 && (n == 0 || len == n || path[n] == '/');
}

static bool wanted(const struct show *s, const struct audit_record *r, const char *path,
                   size_t path_len)
{
    uint32_t pid;

    if (s->op && r->op != s->op)
        return false;
    if (s->options->has_pid && (!proc_pid(s, r, &pid) || pid != s->options->pid))
        return false;
    return !s->options->path_prefix ||
           (path && path_beneath(path, path_len, s->options->path_prefix));
}

/* ---- one record ---- */

static void add_flags(struct show *s, uint8_t flags)
{
    char text[64];

    if (!flags)
        return;
    (void)snprintf(
        text, sizeof(text), "%s%s%s%s%s", flags & AUDIT_F_CUT ? "cut," : "",
        flags & AUDIT_F_NO_PROC ? "no_proc," : "", flags & AUDIT_F_MERGED ? "merged," : "",
        flags & AUDIT_F_RECOVERED ? "recovered," : "",
        flags & ~(AUDIT_F_CUT | AUDIT_F_NO_PROC | AUDIT_F_RECOVERED | AUDIT_F_MERGED) ? "other,"
                                                                                      : "");
    add_text(s, "flags", text, strlen(text) - 1);
}

static void add_result(struct show *s, const struct audit_record *r)
{
    const char *name = r->result < 0 && r->result != INT32_MIN ? strerrorname_np(-r->result) : NULL;

    if (s->options->json) {
        add_key(s, "result");
        vd_str_addf(&s->line, "%" PRId32, r->result);
        if (name && r->op != AUDIT_SESSION_CLOSE)
            add_text(s, "error", name, strlen(name));
    } else if (r->result == 0) {
        add_text(s, "result", "OK", 2);
    } else if (name && r->op != AUDIT_SESSION_CLOSE) { /* the close record's is no errno */
        add_text(s, "result", name, strlen(name));
    } else {
        add_key(s, "result");
        vd_str_addf(&s->line, "%" PRId32, r->result);
    }
}

static void add_head(struct show *s, const struct audit_record *r, uint64_t frame_no)
{
    const char *name = audit_op_name(r->op);
    char when[64], op[16];

    if (!name) {
        (void)snprintf(op, sizeof(op), "OP%u", r->op);
        name = op;
    }
    time_text(r->real_ns, when);
    if (s->options->json) {
        vd_str_add(&s->line, "{");
        add_text(s, "time", when, strlen(when));
        add_u64(s, "boot_ns", r->mono_ns);
        add_u64(s, "seq", r->seq);
        add_u64(s, "frame", frame_no);
        add_text(s, "op", name, strlen(name));
    } else {
        vd_str_addf(&s->line, "%s seq=%" PRIu64 " frame=%" PRIu64 " %s", when, r->seq, frame_no,
                    name);
    }
}

/* A merged read stands for `reads` reads, the last one at `until`; `ranges` when they do not make one. */
static void add_merged(struct show *s, const struct audit_record *r)
{
    struct audit_merged m;
    char until[64];
    size_t i;

    (void)audit_record_merged(r, &m);
    time_text(m.last_real_ns, until);
    add_u64(s, "reads", m.count);
    add_text(s, "until", until, strlen(until));
    if (s->options->json)
        add_u64(s, "until_boot_ns", m.last_mono_ns);
    if (m.n_ranges < 2)
        return;
    add_key(s, "ranges");
    for (i = 0; i < m.n_ranges; i++) {
        uint64_t off, len;

        audit_merged_range(r, &m, i, &off, &len);
        vd_str_addf(&s->line,
                    s->options->json ? "%s[%" PRIu64 ",%" PRIu64 "]" : "%s%" PRIu64 "+%" PRIu64,
                    i                  ? ","
                    : s->options->json ? "["
                                       : "",
                    off, len);
    }
    if (s->options->json)
        vd_str_add(&s->line, "]");
}

static int show_record(void *ctx, const struct audit_seen *seen, struct vd_err *err)
{
    struct show *s = ctx;
    struct audit_record r;
    const char *path;
    size_t path_len = 0;
    int rc = audit_record_decode(seen->bytes, seen->len, &r, err);

    if (rc)
        return rc; /* cannot be: the verifier accepted it */
    learn(s, &r, seen);
    path = record_path(s, &r, &path_len);
    if (!wanted(s, &r, path, path_len))
        return 0;
    s->line.len = 0;
    add_head(s, &r, seen->frame_no);
    add_result(s, &r);
    add_proc(s, &r);
    add_u64(s, "obj", r.obj);
    if (path)
        add_text(s, "path", path, path_len);
    add_u64(s, "off", r.off);
    add_u64(s, "len", r.len);
    add_flags(s, r.flags);
    if (r.flags & AUDIT_F_MERGED)
        add_merged(s, &r);
    else
        add_fields(s, &r, path != NULL);
    vd_str_add(&s->line, s->options->json ? "}\n" : "\n");
    if (s->line.failed)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    if (fwrite(s->line.p, 1, s->line.len, s->out) != s->line.len)
        return vd_fail(err, VD_EIO, "the output cannot be written");
    return 0;
}

static struct show *show_new(const struct audit_show_options *options, FILE *out,
                             struct vd_err *err)
{
    struct show *s = calloc(1, sizeof(*s));

    if (!s) {
        (void)vd_fail(err, VD_ENOMEM, "out of memory");
        return NULL;
    }
    s->options = options;
    s->out = out;
    s->procs.max_bytes = s->paths.max_bytes = MEMORY_BYTES;
    s->op = options->op ? audit_op_number(options->op) : 0;
    show_remember(&s->paths, ROOT_NODE, "", 0);
    return s;
}

static void show_free(struct show *s)
{
    show_memory_clear(&s->procs);
    show_memory_clear(&s->paths);
    vd_str_clear(&s->line);
    free(s);
}

int audit_show(const char *path, const struct audit_show_options *options, FILE *out,
               struct audit_report *report, struct vd_err *err)
{
    struct show *s;
    int rc;

    if (options->op && !audit_op_number(options->op))
        return vd_fail(err, VD_EUSAGE, "there is no operation %s", options->op);
    s = show_new(options, out, err);
    if (!s)
        return -VD_ENOMEM;
    rc = audit_verify(path, NULL, show_record, s, report, err);
    show_free(s);
    return rc;
}

int audit_show_bytes(const uint8_t *const *bytes, const size_t *len, size_t n_segments,
                     const struct audit_show_options *options, FILE *out,
                     struct audit_report *report, struct vd_err *err)
{
    struct show *s;
    int rc;

    if (options->op && !audit_op_number(options->op))
        return vd_fail(err, VD_EUSAGE, "there is no operation %s", options->op);
    s = show_new(options, out, err);
    if (!s)
        return -VD_ENOMEM;
    rc = audit_verify_bytes(bytes, len, n_segments, NULL, 0, NULL, show_record, s, report, err);
    show_free(s);
    return rc;
}
