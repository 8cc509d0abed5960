/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verifier: walks the segments of a log as one stream of frames and gives a verdict.  Format
 * and rules: docs/formats/audit-log.md, "What a verifier checks".
 *
 * What it cannot see without being told: a log whose end was cut off at a frame, with its
 * checkpoints, looks like one after a crash, and one that was rewritten as a whole, with keys of the
 * forger's, like any other.  An anchor kept elsewhere shows both, the first key the second.
 *
 * Reads a buffer of BUFFER bytes at a time; a running log may be verified while it is written.
 */
#include "audit/verify.h"

#include "audit/verify_ring.h"
#include "audit/verify_walk.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "vdiskfs/exit_codes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BUFFER        ((size_t)1 << 17) /* small enough to stay in a processor's cache */
#define PAGE          4096u
#define LIVE_RETRIES  50
#define CLOSE_RETRIES 500
#define LIVE_PAUSE_NS 20000000

/* ---- reading ---- */

static ssize_t source_read(struct source *s, uint8_t *buf, size_t len)
{
    size_t n;

    if (!s->mem) {
        ssize_t got;

        do
            got = read(s->fd, buf, len);
        while (got < 0 && errno == EINTR);
        return got;
    }
    n = len < s->mem_len - s->mem_pos ? len : s->mem_len - s->mem_pos;
    memcpy(buf, s->mem + s->mem_pos, n);
    s->mem_pos += n;
    return (ssize_t)n;
}

static void source_close(struct source *s)
{
    if (!s->mem && s->fd >= 0)
        (void)close(s->fd);
    s->fd = -1;
    s->mem = NULL;
}

static size_t avail(const struct walk *w)
{
    return w->have - w->pos;
}

/* Fills the buffer up; eof is set when the segment has no more at the moment. */
static int fill(struct walk *w)
{
    memmove(w->buf, w->buf + w->pos, avail(w));
    w->have -= w->pos;
    w->pos = 0;
    w->eof = false;
    while (w->have < BUFFER) {
        ssize_t n = source_read(&w->src, w->buf + w->have, BUFFER - w->have);

        if (n < 0)
            return vd_fail_errno(w->err, VD_EIO, errno, "%06u.vlog: cannot be read", w->e.segment);
        if (n == 0) {
            w->eof = true;
            break;
        }
        w->have += (size_t)n;
    }
    return 0;
}

static int need(struct walk *w, size_t len)
{
    return avail(w) >= len || w->eof ? 0 : fill(w);
}

static void advance(struct walk *w, size_t n)
{
    w->pos += n;
    w->off += n;
}

/* Opens segment `number`: 1, or 0 when there is none. */
static int segment_open(struct walk *w, uint32_t number, struct source *out)
{
    char name[24];
    struct stat st;

    *out = (struct source){.fd = -1};
    if (w->mem) {
        if (number >= w->n_mem)
            return 0;
        out->mem = w->mem[number];
        out->mem_len = w->mem_len[number];
        return 1;
    }
    if (w->dir_fd < 0) {
        if (number > 0)
            return 0;
        out->fd = w->only_fd;
        w->only_fd = -1;
        return 1;
    }
    (void)snprintf(name, sizeof(name), "%06u.vlog", number);
    out->fd = openat(w->dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (out->fd < 0)
        return errno == ENOENT ? 0 : vd_fail_errno(w->err, VD_EIO, errno, "%s", name);
    if (fstat(out->fd, &st) || !S_ISREG(st.st_mode)) {
        source_close(out);
        return vd_fail(w->err, VD_EREFUSED, "%s is no regular file", name);
    }
    return 1;
}

/* ---- verdicts that end the walk ---- */

void walk_tampered(struct walk *w, uint64_t off, const char *reason)
{
    w->r->verdict = AUDIT_TAMPERED;
    w->r->bad_frame = w->e.frame_no;
    w->r->bad_segment = w->e.segment;
    w->r->bad_offset = off;
    (void)snprintf(w->r->reason, sizeof(w->r->reason), "%s", reason);
}

/* Is everything from here (buf[pos + from]) to the end of the segment zero?  Reads on to the end.
 */
static int rest_is_zero(struct walk *w, size_t from, bool *out, uint64_t *out_rest)
{
    *out_rest = avail(w);
    *out = vd_all_zero(w->buf + w->pos + from, avail(w) - from);
    while (*out && !w->eof) {
        int rc;

        w->pos = w->have;
        *out_rest += w->mem ? 0 : audit_skip_hole(w->src.fd);
        rc = fill(w);
        if (rc)
            return rc;
        *out = vd_all_zero(w->buf, w->have);
        *out_rest += w->have;
    }
    return 0;
}

/* Bytes from the start of the frame at buf[pos] to the last page boundary inside it; what lies from
 * there on may never have reached the disk.  0: the whole frame. */
static size_t last_page(const struct walk *w)
{
    const uint8_t *head = w->buf + w->pos;
    size_t to_page = (size_t)(PAGE - w->off % PAGE), len;
    struct fault ignored;

    if (vd_all_zero(head, avail(w) < AUDIT_FRAME_HEADER ? avail(w) : AUDIT_FRAME_HEADER))
        return 0;
    if (to_page < AUDIT_FRAME_HEADER) /* the length itself is not to be trusted */
        return to_page < avail(w) ? to_page : avail(w);
    len = avail(w) < AUDIT_FRAME_HEADER ? 0 : frame_length(head, &ignored);
    if (len <= to_page || len > avail(w))
        return avail(w);
    return to_page + (len - 1 - to_page) / PAGE * PAGE;
}

/* Can the frame at buf[pos], not whole or not right, be one whose end was never written: cut off,
 * or zeros from a page boundary on, as some file systems leave after a power failure?  Says how
 * many bytes that are. */
static int is_torn(struct walk *w, bool whole, bool *out, uint64_t *out_bytes, struct fault *why)
{
    const uint8_t *frame = w->buf + w->pos;
    size_t from = last_page(w);

    *out = false;
    *out_bytes = avail(w);
    if (!whole && w->eof && frame_begins(&w->e, frame, avail(w), why) &&
        !signed_gap(w, frame, avail(w))) {
        *out = true;
        return 0;
    }
    if (from == avail(w) || (from && !frame_begins(&w->e, frame, from, why)) ||
        signed_gap(w, frame, from))
        return 0;
    return rest_is_zero(w, from, out, out_bytes);
}

/* Torn tail or tampered? */
static int judge_tail(struct walk *w, bool whole, struct fault *fault, bool last_segment)
{
    uint64_t off = w->off, bytes = 0;
    bool torn = false;
    int rc;

    if (w->e.closed) {
        walk_tampered(w, off, "something follows the frame that closed the log");
        return 0;
    }
    if (last_segment) {
        rc = is_torn(w, whole, &torn, &bytes, fault);
        if (rc)
            return rc;
    }
    if (torn) {
        w->r->verdict = AUDIT_TORN_TAIL;
        w->r->torn_bytes = bytes;
        return 0;
    }
    walk_tampered(w, off + fault->off, fault->reason[0] ? fault->reason : "the frame is cut off");
    return 0;
}

/* ---- the walk ---- */

static int show_records(struct walk *w, const uint8_t *frame, size_t len)
{
    size_t pos = AUDIT_FRAME_HEADER;
    int rc = 0;

    while (w->fn && rc == 0 && pos < len) { /* lengths were checked */
        size_t n = AUDIT_SLOT * ((size_t)1 + frame[pos + AUDIT_R_EXT]);
        const struct audit_seen seen = {frame + pos, n, w->e.frame_no - 1};

        rc = w->fn(w->ctx, &seen, w->err);
        pos += n;
    }
    return rc;
}

static void show_frame(const struct walk *w, const uint8_t *frame, size_t len)
{
    const struct audit_seen_frame seen = {frame, len, w->e.frame_no - 1, w->e.leaf};

    if (w->options && w->options->frame_fn)
        w->options->frame_fn(w->options->seen_ctx, &seen);
}

/* What scan_frames found. */
enum scan { SCAN_END, SCAN_PARTIAL, SCAN_BAD };

/* Reads until the frame at buf[pos] is there as far as the segment has it; what cannot be one of these
 * is looked at more closely (is_torn): then up to the largest. */
static int need_frame(struct walk *w)
{
    int rc = need(w, AUDIT_FRAME_HEADER);
    size_t len = AUDIT_MAX_FRAME;
    struct fault ignored;

    if (rc == 0 && avail(w) >= AUDIT_FRAME_HEADER)
        len = frame_length(w->buf + w->pos, &ignored);
    return rc ? rc : need(w, len ? len : AUDIT_MAX_FRAME);
}

/* Takes whole frames until the segment has no more. */
static int scan_frames(struct walk *w, enum scan *out, struct fault *fault)
{
    for (;;) {
        size_t len;
        int rc = need_frame(w);

        if (rc)
            return rc;
        *out = avail(w) ? SCAN_PARTIAL : SCAN_END;
        if (avail(w) < AUDIT_FRAME_HEADER)
            return 0;
        *out = SCAN_BAD;
        if (!frame_begins(&w->e, w->buf + w->pos, AUDIT_FRAME_HEADER, fault))
            return 0;
        len = frame_length(w->buf + w->pos, fault);
        if (len == 0)
            return 0;
        *out = SCAN_PARTIAL;
        if (avail(w) < len)
            return 0;
        *out = SCAN_END;
        rc = signed_before_frame(w, w->buf + w->pos);
        if (rc || w->r->verdict == AUDIT_TAMPERED)
            return rc;
        *out = SCAN_BAD;
        if (!frame_check(&w->e, w->buf + w->pos, len, fault))
            return 0;
        w->r->bytes += len;
        *out = SCAN_END;
        rc = show_records(w, w->buf + w->pos, len);
        if (rc == 0) {
            show_frame(w, w->buf + w->pos, len);
            rc = signed_after_frame(w);
        }
        if (rc || w->r->verdict == AUDIT_TAMPERED)
            return rc;
        advance(w, len);
    }
}

/* A frame that is being written right now is complete in a moment. */
static int scan_patiently(struct walk *w, enum scan *out, struct fault *fault)
{
    const struct timespec pause = {0, LIVE_PAUSE_NS};
    int i, rc = scan_frames(w, out, fault);

    for (i = 0; rc == 0 && w->r->verdict != AUDIT_TAMPERED && *out == SCAN_PARTIAL && w->r->live &&
                i < LIVE_RETRIES;
         i++) {
        (void)nanosleep(&pause, NULL);
        w->eof = false;
        rc = scan_frames(w, out, fault);
    }
    return rc;
}

/* Is the next segment there? */
static bool segment_follows(const struct walk *w)
{
    char name[24];
    struct stat st;

    (void)snprintf(name, sizeof(name), "%06u.vlog", w->e.segment + 1);
    return fstatat(w->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* As scan_patiently; of a log that is followed all that its writer still adds to this segment. */
static int scan_on(struct walk *w, enum scan *out, struct fault *fault)
{
    const struct audit_verify_options *o = w->options;
    int rc = scan_patiently(w, out, fault);

    while (rc == 0 && o && o->idle && w->r->live && *out != SCAN_BAD && !w->e.closed &&
           w->r->verdict != AUDIT_TAMPERED && !segment_follows(w)) {
        w->r->live = ring_is_live(w->dir_fd); /* first: what was added before its end is seen */
        if (w->r->live && !o->idle(o->idle_ctx))
            break;
        w->eof = false;
        rc = scan_patiently(w, out, fault);
    }
    return rc;
}

/* A log that was followed to its close record: its writer is gone in a moment, and then everything
 * is at its place. */
static void await_writer(struct walk *w)
{
    const struct timespec pause = {0, LIVE_PAUSE_NS};
    int i;

    for (i = 0; w->options && w->options->idle && w->e.closed && w->r->live && i < CLOSE_RETRIES;
         i++) {
        (void)nanosleep(&pause, NULL);
        w->r->live = ring_is_live(w->dir_fd);
    }
}

/* Does a recovery begin here, as far as that can be seen?  The program may have been stopped when it
 * had just begun: then it is the last segment. */
static int begins_recovery(struct walk *w, struct source *next, bool *out)
{
    uint8_t head[AUDIT_H_FLAGS + 4];
    struct source other;
    ssize_t n = (ssize_t)sizeof(head);
    int more;

    if (next->mem) {
        n = next->mem_len < sizeof(head) ? (ssize_t)next->mem_len : n;
        memcpy(head, next->mem, (size_t)n);
    } else {
        n = pread(next->fd, head, sizeof(head), 0);
    }
    *out = n == (ssize_t)sizeof(head) && vd_le32(head + AUDIT_H_FLAGS) & AUDIT_FRAME_RECOVERED;
    if (n < 0 || n == (ssize_t)sizeof(head))
        return 0;
    more = segment_open(w, w->e.segment + 2, &other);
    source_close(&other);
    *out = more == 0;
    return more < 0 ? more : 0;
}

/* A segment in front of a recovery may end in a frame that was never whole, but not behind the one that
 * closed the log. */
static int recovery_follows(struct walk *w, struct source *next, bool whole, enum scan *io_found)
{
    struct fault ignored;
    uint64_t bytes = 0;
    bool recovery, torn = false;
    int rc = begins_recovery(w, next, &recovery);

    if (rc == 0 && recovery && !w->e.closed)
        rc = is_torn(w, whole, &torn, &bytes, &ignored);
    if (rc == 0 && torn) {
        *io_found = SCAN_END;
        w->r->torn_bytes += bytes;
        w->torn_before = true;
    }
    return rc;
}

/* One segment; *out_more when another one follows and src is it. */
static int walk_segment(struct walk *w, bool *out_more)
{
    struct source next = {.fd = -1};
    struct fault fault = {0};
    enum scan found;
    int rc = scan_on(w, &found, &fault), more;

    *out_more = false;
    if (rc || w->r->verdict == AUDIT_TAMPERED)
        return rc;
    if (!w->e.segment_start)
        w->torn_before = false;
    more = segment_open(w, w->e.segment + 1, &next);
    if (more < 0)
        return more;
    if (more && found != SCAN_BAD) { /* frames may have been added before the next file began */
        w->eof = false;
        rc = scan_patiently(w, &found, &fault);
    }
    if (rc == 0 && more && found != SCAN_END)
        rc = recovery_follows(w, &next, found == SCAN_BAD, &found);
    if (rc == 0 && found == SCAN_END && more && w->r->verdict != AUDIT_TAMPERED) {
        source_close(&w->src);
        w->src = next;
        w->pos = w->have = 0;
        w->off = 0;
        w->eof = false;
        w->e.segment++;
        w->e.segment_start = true;
        *out_more = true;
        return 0;
    }
    if (rc == 0 && found == SCAN_PARTIAL && w->r->live && !more)
        w->r->torn_bytes = avail(w); /* being written, for longer than usual */
    else if (rc == 0 && found != SCAN_END)
        rc = judge_tail(w, found == SCAN_BAD, &fault, !more);
    source_close(&next);
    return rc;
}

static int walk_segments(struct walk *w)
{
    bool more = true;
    int rc = segment_open(w, 0, &w->src);

    if (rc <= 0)
        return rc ? rc : vd_fail(w->err, VD_EUSAGE, "no audit log: 000000.vlog is missing");
    w->r->verdict = AUDIT_INTACT_OPEN;
    rc = w->has_notes && !w->mem ? signed_open(w, 0) : 0;
    while (rc == 0 && more && w->r->verdict == AUDIT_INTACT_OPEN) {
        w->r->segments++;
        rc = walk_segment(w, &more);
    }
    source_close(&w->src);
    if (w->torn_before && w->e.segment_start && w->r->verdict == AUDIT_INTACT_OPEN)
        w->r->verdict = AUDIT_TORN_TAIL;
    return rc;
}

/* A log that was closed in order has nothing after that, not even a file without a byte. */
static void check_after_close(struct walk *w)
{
    if (w->e.closed && w->e.segment_start && !w->r->live &&
        (!w->has_notes || w->notes.size == w->e.frame_no))
        walk_tampered(w, 0, "a segment follows the frame that closed the log");
}

/* Is it the name that a segment has: six digits, or more when the first one is not 0? */
static bool is_name_of_segment(const char *name, unsigned long *out)
{
    size_t digits = strspn(name, "0123456789");

    *out = strtoul(name, NULL, 10); /* ULONG_MAX when it is larger */
    return (digits == 6 || (digits > 6 && name[0] != '0')) && strcmp(name + digits, ".vlog") == 0;
}

/* A segment with a higher number than the last one walked: one between was removed.  Not so when the
 * next one is there now: the log has grown since the walk ended. */
static int check_stray_segments(struct walk *w)
{
    int fd = openat(w->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *e;
    bool stray = false;
    char next[24];
    struct stat st;

    if (!d) {
        int error = errno;

        if (fd >= 0)
            (void)close(fd);
        return vd_fail_errno(w->err, VD_EIO, error, "the directory cannot be listed");
    }
    while ((e = readdir(d))) {
        unsigned long n;

        stray = stray || (is_name_of_segment(e->d_name, &n) && n > (unsigned long)w->e.segment + 1);
    }
    (void)closedir(d);
    (void)snprintf(next, sizeof(next), "%06u.vlog", w->e.segment + 1);
    if (stray && fstatat(w->dir_fd, next, &st, AT_SYMLINK_NOFOLLOW) != 0)
        walk_tampered(w, 0, "a segment file is missing");
    return 0;
}

static void copy_totals(struct walk *w)
{
    struct audit_report *r = w->r;

    r->frames = w->e.frame_no;
    r->records = w->e.total;
    r->lost = w->e.lost;
    r->has_session = w->e.has_session;
    memcpy(r->session, w->e.session, sizeof(r->session));
    memcpy(r->leaf, w->e.leaf, sizeof(r->leaf));
    merkle_root(&w->e.tree, w->e.sha, r->root);
    r->tree = w->e.tree;
    r->next_seq = w->e.seq;
    r->epochs = w->e.epoch;
    r->checkpoints = w->notes.n;
    r->checkpoint_size = w->notes.size;
    r->anchors = w->anchors.next;
    r->recoveries = w->e.recoveries;
    if (r->recoveries == 0)
        r->session_frames = w->notes.size;
    r->has_close = w->e.closed;
    r->close_result = w->e.close_result;
}

static int conclude(struct walk *w)
{
    struct audit_report *r = w->r;
    int rc = 0;

    if (r->verdict != AUDIT_TAMPERED && w->dir_fd >= 0)
        rc = check_stray_segments(w);
    if (rc == 0 && r->verdict != AUDIT_TAMPERED)
        rc = signed_end(w);
    if (rc == 0 && r->verdict != AUDIT_TAMPERED)
        check_after_close(w);
    copy_totals(w);
    if (rc || r->verdict == AUDIT_TAMPERED)
        return rc;
    if (w->e.closed && w->has_notes && w->notes.size != w->e.frame_no) {
        if (r->live) /* it is being closed */
            return 0;
        r->verdict = AUDIT_TORN_TAIL;
        (void)snprintf(r->reason, sizeof(r->reason),
                       "the checkpoint over the whole log is missing");
        return 0;
    }
    if (w->e.closed) {
        r->verdict = w->e.recoveries ? AUDIT_INTACT_OPEN : AUDIT_INTACT_CLOSED;
        return 0;
    }
    if (w->dir_fd >= 0)
        rc = ring_scan(w->dir_fd, w->e.seq, r, w->err);
    if (rc || r->live)
        return rc;
    if (w->dir_fd < 0 && !w->mem)
        (void)snprintf(r->reason, sizeof(r->reason),
                       "a single file that is not closed: what was not sealed cannot be told");
    if (r->frames == 0 && !r->reason[0])
        (void)snprintf(r->reason, sizeof(r->reason), "nothing is sealed");
    if (r->frames == 0 || r->unsealed || (!w->mem && !r->has_ring))
        r->verdict = AUDIT_TORN_TAIL;
    return 0;
}

static int run(struct walk *w)
{
    VD_AUTO(free) uint8_t *buf = malloc(BUFFER);
    int rc;

    w->e.sha = vd_sha256_new();
    w->buf = buf;
    if (!buf || !w->e.sha) {
        vd_sha256_free(w->e.sha);
        return vd_fail(w->err, VD_ENOMEM, "out of memory");
    }
    w->e.segment_start = true;
    if (w->options && w->options->last_note)
        w->options->last_note[0] = '\0';
    rc = signed_check_options(w);
    if (rc == 0)
        rc = walk_segments(w);
    if (rc == 0)
        await_writer(w);
    if (rc == 0)
        rc = conclude(w);
    vd_sha256_free(w->e.sha);
    anchors_clear(&w->anchors);
    if (w->notes.fd >= 0)
        (void)close(w->notes.fd);
    return rc;
}

/* ---- what is asked for ---- */

int audit_verify_bytes(const uint8_t *const *bytes, const size_t *len, size_t n_segments,
                       const char *checkpoints, size_t checkpoints_len,
                       const struct audit_verify_options *options, audit_seen_fn *fn, void *ctx,
                       struct audit_report *out, struct vd_err *err)
{
    struct walk w = {.r = out,
                     .fn = fn,
                     .ctx = ctx,
                     .err = err,
                     .src = {.fd = -1},
                     .dir_fd = -1,
                     .only_fd = -1,
                     .mem = bytes,
                     .mem_len = len,
                     .n_mem = n_segments,
                     .options = options,
                     .has_notes = checkpoints != NULL,
                     .notes = {.fd = -1, .mem = checkpoints, .mem_len = checkpoints_len}};

    memset(out, 0, sizeof(*out));
    return run(&w);
}

/* A session directory named by a UUID must hold that session. */
static void check_dir_name(struct walk *w, const char *path)
{
    VD_AUTO(free) char *real = realpath(path, NULL);
    const char *name = real ? strrchr(real, '/') : NULL;
    char expected[37];
    size_t i, n = 0;

    if (!name || strlen(name + 1) != 36 || !w->r->has_session)
        return;
    for (i = 0; i < 36; i++)
        if (!strchr(i == 8 || i == 13 || i == 18 || i == 23 ? "-" : "0123456789abcdef",
                    name[1 + i]))
            return;
    for (i = 0; i < 16; i++)
        n += (size_t)snprintf(expected + n, sizeof(expected) - n,
                              i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x",
                              w->r->session[i]);
    if (strcmp(name + 1, expected) == 0)
        return;
    walk_tampered(w, AUDIT_H_SESSION,
                  "the log of another session lies in this session's directory");
    w->r->bad_frame = 0;
    w->r->bad_segment = 0;
}

/* A segment by its own name stands for its directory. */
static bool is_segment_name(const char *name)
{
    return name[0] && strspn(name, "0123456789") + 5 == strlen(name) &&
           strcmp(name + strlen(name) - 5, ".vlog") == 0;
}

static int open_path(struct walk *w, const char *path, bool *out_is_dir)
{
    VD_AUTO(fd) int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    struct stat st;

    if (fd < 0 || fstat(fd, &st))
        return vd_fail_errno(w->err, errno == ENOENT ? VD_ENOENT : VD_EIO, errno, "%s", path);
    *out_is_dir = S_ISDIR(st.st_mode);
    if (*out_is_dir) {
        w->dir_fd = vd_take_fd(&fd);
        return 0;
    }
    if (!S_ISREG(st.st_mode))
        return vd_fail(w->err, VD_EUSAGE, "%s: neither a session directory nor a segment file",
                       path);
    if (is_segment_name(name) && strcmp(name, "000000.vlog") != 0)
        return vd_fail(w->err, VD_EUSAGE,
                       "%s: a later segment says nothing by itself; name the session directory",
                       path);
    if (!is_segment_name(name)) {
        w->only_fd = vd_take_fd(&fd);
        return 0;
    }
    if (slash) {
        VD_AUTO(free) char *dir = strndup(path, slash == path ? 1 : (size_t)(slash - path));

        w->dir_fd = dir ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    } else {
        w->dir_fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    *out_is_dir = true;
    return w->dir_fd < 0 ? vd_fail_errno(w->err, VD_EIO, errno, "%s: its directory", path) : 0;
}

static int run_open(struct walk *w, const char *path, bool is_dir)
{
    int rc;

    w->r->live = w->dir_fd >= 0 && !(w->options && w->options->owned) && ring_is_live(w->dir_fd);
    w->has_notes = w->dir_fd >= 0;
    if (w->r->live)
        w->recent = calloc(NOTES_RECENT, sizeof(*w->recent));
    rc = w->r->live && !w->recent ? vd_fail(w->err, VD_ENOMEM, "out of memory")
                                  : vd_prefix(w->err, run(w), "%s", path);
    free(w->recent);
    if (rc == 0 && is_dir && w->r->verdict != AUDIT_TAMPERED)
        check_dir_name(w, path);
    if (w->only_fd >= 0)
        (void)close(w->only_fd);
    if (w->dir_fd >= 0)
        (void)close(w->dir_fd);
    return rc;
}

int audit_verify(const char *path, const struct audit_verify_options *options, audit_seen_fn *fn,
                 void *ctx, struct audit_report *out, struct vd_err *err)
{
    struct walk w = {.r = out,
                     .fn = fn,
                     .ctx = ctx,
                     .err = err,
                     .src = {.fd = -1},
                     .dir_fd = -1,
                     .only_fd = -1,
                     .options = options,
                     .notes = {.fd = -1}};
    bool is_dir = false;
    int rc;

    memset(out, 0, sizeof(*out));
    rc = open_path(&w, path, &is_dir);
    return rc ? rc : run_open(&w, path, is_dir);
}

int audit_verify_at(int dir_fd, const char *path, const struct audit_verify_options *options,
                    audit_seen_fn *fn, void *ctx, struct audit_report *out, struct vd_err *err)
{
    struct walk w = {.r = out,
                     .fn = fn,
                     .ctx = ctx,
                     .err = err,
                     .src = {.fd = -1},
                     .only_fd = -1,
                     .options = options,
                     .notes = {.fd = -1}};

    memset(out, 0, sizeof(*out));
    w.dir_fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (w.dir_fd < 0)
        return vd_fail_errno(err, VD_EIO, errno, "%s", path);
    return run_open(&w, path, true);
}

bool audit_is_live(const char *path, struct audit_mount *out_mount)
{
    struct walk w = {.dir_fd = -1, .only_fd = -1};
    bool is_dir, live = false;

    if (open_path(&w, path, &is_dir) == 0 && w.dir_fd >= 0)
        live = ring_is_live(w.dir_fd);
    if (live)
        ring_mount(w.dir_fd, out_mount);
    if (w.only_fd >= 0)
        (void)close(w.only_fd);
    if (w.dir_fd >= 0)
        (void)close(w.dir_fd);
    return live;
}

const char *audit_verdict_text(enum audit_verdict verdict)
{
    static const char *const text[] = {"INTACT closed", "INTACT open", "TORN TAIL", "TAMPERED"};

    return text[verdict];
}

int audit_verdict_exit(enum audit_verdict verdict)
{
    return verdict == AUDIT_INTACT_CLOSED || verdict == AUDIT_INTACT_OPEN ? VD_EXIT_OK
                                                                          : VD_EXIT_DIFFERENCE;
}
