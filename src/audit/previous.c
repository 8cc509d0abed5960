/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The session before this one in the same directory: its id, number of sealed frames, last leaf hash
 * and last checkpoint.  Noted in the next SESSION_OPEN they show a later cut of that log.
 *
 * Likewise which sessions of a directory wait for a recovery.
 *
 * Only frame headers are walked: this runs at every mount and is no verification.  Any thread of
 * the supervisor.
 */
#include "audit/recover.h"
#include "audit/verify_ring.h"
#include "audit/writer.h"
#include "base/bytes.h"
#include "base/cleanup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WINDOW ((size_t)1 << 18)
_Static_assert(WINDOW >= AUDIT_MAX_FRAME, "a window holds a frame");
#define MAX_SESSIONS ((size_t)1 << 20)      /* of one directory: 37 MiB of names */
#define NOTES_TAIL   ((size_t)4 * NOTE_MAX) /* the last note begins in it, whatever is torn */
_Static_assert(NOTE_MAX < AUDIT_PREVIOUS_NOTE && NOTES_TAIL <= WINDOW, "room for a note");

static bool is_uuid(const char *name)
{
    size_t i;

    for (i = 0; i < 36; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;

        if (dash ? name[i] != '-' : !name[i] || !strchr("0123456789abcdef", name[i]))
            return false;
    }
    return name[36] == '\0';
}

/* Others may be able to make names in a shared directory: only what this user made is a session of
 * this user's. */
static bool is_own_directory(int base_fd, const char *name)
{
    struct stat st;

    return fstatat(base_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode) &&
           st.st_uid == geteuid();
}

/* The newest other session: names begin with the time. */
static int find_newest(const struct audit_writer *w, char out[37], struct vd_err *err)
{
    int fd = openat(w->base_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *e;

    out[0] = '\0';
    if (!d) {
        int error = errno;

        if (fd >= 0)
            (void)close(fd);
        return vd_fail_errno(err, VD_EAUDIT, error, "%s: cannot list", w->base);
    }
    while ((e = readdir(d)))
        if (is_uuid(e->d_name) && strcmp(e->d_name, w->id) != 0 && strcmp(e->d_name, out) > 0 &&
            is_own_directory(w->base_fd, e->d_name))
            memcpy(out, e->d_name, 37);
    (void)closedir(d);
    return 0;
}

struct last_frame {
    bool found;
    uint64_t frame_no;
    uint32_t flags;
    uint64_t off;
    size_t len;
};

static ssize_t read_at(int fd, uint8_t *buf, size_t len, uint64_t off)
{
    size_t have = 0;

    while (have < len) {
        ssize_t n = pread(fd, buf + have, len - have, (off_t)(off + have));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        have += (size_t)n;
    }
    return (ssize_t)have;
}

/* The last whole frame of one segment. */
static int walk_headers(int fd, uint8_t *window, struct last_frame *out)
{
    uint64_t base = 0;

    for (;;) {
        ssize_t have = read_at(fd, window, WINDOW, base);
        size_t pos = 0;

        if (have < 0)
            return errno;
        while ((size_t)have - pos >= AUDIT_FRAME_HEADER) {
            const uint8_t *h = window + pos;
            uint32_t len = vd_le32(h + AUDIT_H_LENGTH);

            if (memcmp(h + AUDIT_H_MAGIC, AUDIT_FRAME_MAGIC, 4) != 0 || len < AUDIT_FRAME_HEADER ||
                len > AUDIT_MAX_FRAME)
                return 0;
            if (len > (size_t)have - pos)
                break;
            *out = (struct last_frame){true, vd_le64(h + AUDIT_H_FRAME_NO),
                                       vd_le32(h + AUDIT_H_FLAGS), base + pos, len};
            pos += len;
        }
        if (pos == 0) /* not even one frame in a window: the end */
            return 0;
        base += pos;
    }
}

static int leaf_of(int fd, const struct last_frame *frame, uint8_t *window,
                   uint8_t leaf[VD_SHA256_SIZE])
{
    struct vd_sha256 *sha;

    window[0] = 0; /* the prefix of a leaf */
    if (read_at(fd, window + 1, frame->len, frame->off) != (ssize_t)frame->len)
        return EIO;
    sha = vd_sha256_new();
    if (!sha)
        return ENOMEM;
    vd_sha256_add(sha, window, 1 + frame->len);
    vd_sha256_end(sha, leaf);
    vd_sha256_free(sha);
    return 0;
}

/* Highest segment number + 1. */
static uint32_t count_segments(int dir_fd)
{
    uint32_t n = 0;

    for (;; n++) {
        char name[SEGMENT_NAME_SIZE];
        struct stat st;

        (void)snprintf(name, sizeof(name), "%06u.vlog", n);
        if (n == UINT32_MAX || fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) ||
            !S_ISREG(st.st_mode))
            return n;
    }
}

/* The last whole frame of the log, and the descriptor of its segment (the caller's; -1: none). */
static int find_last(int dir_fd, uint8_t *window, struct last_frame *out, int *out_fd)
{
    uint32_t n = count_segments(dir_fd);

    *out = (struct last_frame){0};
    *out_fd = -1;
    while (n-- > 0 && !out->found) { /* the last one may be empty */
        char name[SEGMENT_NAME_SIZE];
        VD_AUTO(fd) int fd = -1;
        int error;

        (void)snprintf(name, sizeof(name), "%06u.vlog", n);
        fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        error = fd < 0 ? errno : walk_headers(fd, window, out);
        if (error)
            return error;
        if (out->found)
            *out_fd = vd_take_fd(&fd);
    }
    return 0;
}

/* ring.wal is removed last. */
static enum audit_left judge(int dir_fd, const struct last_frame *last)
{
    struct stat st;

    if (ring_is_live(dir_fd))
        return AUDIT_LEFT_RUNNING;
    if (fstatat(dir_fd, RING_NAME, &st, AT_SYMLINK_NOFOLLOW) == 0)
        return AUDIT_LEFT_OPEN;
    return last->found && last->flags & AUDIT_FRAME_CLOSE ? AUDIT_LEFT_CLOSED : AUDIT_LEFT_OPEN;
}

static int describe(int dir_fd, const char *id, uint8_t *window, struct audit_previous *out)
{
    char hex[2 * VD_SHA256_SIZE + 1];
    uint8_t leaf[VD_SHA256_SIZE];
    struct last_frame last;
    VD_AUTO(fd) int fd = -1;
    int error = find_last(dir_fd, window, &last, &fd);

    if (error == 0 && last.found)
        error = leaf_of(fd, &last, window, leaf);
    if (error)
        return error;
    if (last.found) {
        vd_sha256_hex(leaf, hex);
        (void)snprintf(out->text, sizeof(out->text), "%s %" PRIu64 " %s", id, last.frame_no + 1,
                       hex);
    } else {
        (void)snprintf(out->text, sizeof(out->text), "%s 0 -", id);
    }
    if (judge(dir_fd, &last) == AUDIT_LEFT_OPEN)
        (void)snprintf(out->left_open, sizeof(out->left_open), "%s", id);
    return 0;
}

/* The last whole note in the last bytes of one file of checkpoints; "" when there is none. */
static int last_note(int fd, const char *origin, uint8_t *window, char out[AUDIT_PREVIOUS_NOTE])
{
    char first_line[NOTE_NAME_MAX + 1];
    const char *text = (const char *)window;
    struct note_checkpoint checkpoint;
    size_t line, n, at;
    struct note note;
    struct stat st;
    ssize_t have;

    if (fstat(fd, &st))
        return errno;
    if (!S_ISREG(st.st_mode))
        return EINVAL;
    have = read_at(fd, window, NOTES_TAIL,
                   st.st_size > (off_t)NOTES_TAIL ? (uint64_t)st.st_size - NOTES_TAIL : 0);
    if (have < 0)
        return errno;
    n = (size_t)have;
    line = (size_t)snprintf(first_line, sizeof(first_line), "%s\n", origin);
    for (at = n; at-- > 0;)
        if (n - at > line && memcmp(text + at, first_line, line) == 0 &&
            note_decode(text + at, n - at, &note, NULL) == 0 && note.len <= NOTE_MAX &&
            note_checkpoint_decode(text + at, &note, &checkpoint, NULL) == 0) {
            memcpy(out, text + at, note.len);
            out[note.len] = '\0';
            return 0;
        }
    return 0;
}

/* The newest file of checkpoints that has one: a recovery begins its own. */
static int describe_note(int dir_fd, const char *id, uint8_t *window, char out[AUDIT_PREVIOUS_NOTE])
{
    uint32_t n = count_segments(dir_fd);
    char origin[NOTE_NAME_MAX], name[32] = AUDIT_CHECKPOINTS;

    (void)snprintf(origin, sizeof(origin), AUDIT_ORIGIN "%s", id);
    while (n-- > 0 && !out[0]) {
        VD_AUTO(fd) int fd = -1;
        int error;

        if (n > 0)
            (void)snprintf(name, sizeof(name), AUDIT_CHECKPOINTS ".%06" PRIu32, n);
        else
            (void)snprintf(name, sizeof(name), AUDIT_CHECKPOINTS);
        fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (fd < 0 && errno == ENOENT)
            continue;
        error = fd < 0 ? errno : last_note(fd, origin, window, out);
        if (error)
            return error;
    }
    return 0;
}

int audit_previous(const struct audit_writer *w, struct audit_previous *out, struct vd_err *err)
{
    VD_AUTO(free) uint8_t *window = malloc(WINDOW + 1);
    VD_AUTO(fd) int dir_fd = -1;
    char id[37];
    int rc, error;

    *out = (struct audit_previous){0};
    if (!window)
        return vd_fail(err, VD_ENOMEM, "%s: out of memory", w->base);
    rc = find_newest(w, id, err);
    if (rc || !id[0])
        return rc;
    dir_fd = openat(w->base_fd, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    error = dir_fd < 0 ? errno : describe(dir_fd, id, window, out);
    if (error == 0)
        error = describe_note(dir_fd, id, window, out->note);
    if (error)
        return vd_fail_errno(err, VD_EAUDIT, error, "%s/%s: the previous session cannot be read",
                             w->base, id);
    return 0;
}

/* ---- sessions that wait for a recovery ---- */

int audit_left(int dir_fd, enum audit_left *out, struct vd_err *err)
{
    VD_AUTO(free) uint8_t *window = malloc(WINDOW + 1);
    struct last_frame last = {0};
    VD_AUTO(fd) int fd = -1;
    int error = 0;

    if (!window)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    if (judge(dir_fd, &(struct last_frame){.found = true, .flags = AUDIT_FRAME_CLOSE}) ==
        AUDIT_LEFT_CLOSED) /* as far as the names go: the frames tell */
        error = find_last(dir_fd, window, &last, &fd);
    if (error)
        return vd_fail_errno(err, VD_EAUDIT, error, "the last frame cannot be read");
    *out = judge(dir_fd, &last);
    return 0;
}

struct names {
    char (*v)[37];
    size_t n, room;
};

static int add_name(struct names *names, const char *name, struct vd_err *err)
{
    if (names->n == MAX_SESSIONS)
        return vd_fail(err, VD_ELIMIT, "more than %zu sessions", MAX_SESSIONS);
    if (names->n == names->room) {
        size_t room = names->room ? 2 * names->room : 64;
        void *more = realloc(names->v, room * sizeof(*names->v));

        if (!more)
            return vd_fail(err, VD_ENOMEM, "out of memory");
        names->v = more;
        names->room = room;
    }
    memcpy(names->v[names->n++], name, sizeof(*names->v));
    return 0;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(a, b);
}

static int list_sessions(const char *dir, struct names *out, struct vd_err *err)
{
    DIR *d = opendir(dir);
    const struct dirent *e;
    int rc = 0;

    if (!d)
        return vd_fail_errno(err, errno == ENOENT ? VD_ENOENT : VD_EAUDIT, errno, "%s", dir);
    while (rc == 0 && (e = readdir(d)))
        if (is_uuid(e->d_name) && is_own_directory(dirfd(d), e->d_name))
            rc = add_name(out, e->d_name, err);
    (void)closedir(d);
    if (out->n)
        qsort(out->v, out->n, sizeof(*out->v), compare_names);
    return vd_prefix(err, rc, "%s", dir);
}

static int left_one(const char *dir, const char *name, audit_left_fn *fn, void *ctx,
                    uint64_t *io_running, struct vd_err *err)
{
    VD_AUTO(free) char *path = NULL;
    VD_AUTO(fd) int fd = -1;
    enum audit_left left;
    int rc;

    if (asprintf(&path, "%s/%s", dir, name) < 0) {
        path = NULL;
        return vd_fail(err, VD_ENOMEM, "out of memory");
    }
    fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return vd_fail_errno(err, VD_EAUDIT, errno, "%s", path);
    rc = vd_prefix(err, audit_left(fd, &left, err), "%s", path);
    *io_running += rc == 0 && left == AUDIT_LEFT_RUNNING;
    return rc == 0 && left == AUDIT_LEFT_OPEN ? fn(ctx, path, err) : rc;
}

int audit_left_each(const char *dir, audit_left_fn *fn, void *ctx, uint64_t *out_running,
                    struct vd_err *err)
{
    struct names names = {0};
    uint64_t running = 0;
    int rc = list_sessions(dir, &names, err);
    size_t i;

    for (i = 0; rc == 0 && i < names.n; i++)
        rc = left_one(dir, names.v[i], fn, ctx, &running, err);
    free(names.v);
    if (out_running)
        *out_running = running;
    return rc;
}
