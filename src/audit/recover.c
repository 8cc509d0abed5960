/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recovery of a log that was left open: locks, judgement, and the moment in which the new segment
 * appears.  Format: docs/formats/audit-log.md, "Recovery".
 *
 *     verified ─▶ recovery.new, recovery.checkpoints.new written and synced
 *       ─▶ checkpoints.NNNNNN ─▶ NNNNNN.vlog ─▶ modes 0400 ─▶ ring.wal removed
 *
 * Every arrow is a rename or a sync, so a recovery that is stopped anywhere leaves a log that is what
 * it was, or recovered with ring.wal still there; both can be given to it again.  What was there
 * before is never written to.  Directory and files are hostile: opened beneath one descriptor, links
 * are not followed, the log is verified before anything is made.
 *
 * Threads: one; a lock on the directory keeps other recoveries out, one on ring.wal the program.
 */
#include "audit/recover.h"

#include "audit/record.h"
#include "audit/recover_write.h"
#include "audit/verify_notes.h"
#include "audit/verify_ring.h"
#include "audit/writer.h"
#include "base/bytes.h"
#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define NEW_SEGMENT     "recovery.new"
#define NEW_CHECKPOINTS "recovery.checkpoints.new"
#define MAX_STALE       100

struct recovery {
    const char *path;
    int dir_fd, ring_fd;
    const char *ring_why; /* ring.wal cannot be used because of this; NULL: it can */
    uint8_t session[16];
    char boot[64];                       /* of the session that crashed */
    uint64_t recovered_off, recovered_n; /* OFF and LEN of the last RECOVERED record */
    struct audit_recovery *out;
};

static int failed(const struct recovery *r, const char *name, struct vd_err *err)
{
    return vd_fail_errno(err, VD_EAUDIT, errno, "%s/%s: cannot be written", r->path, name);
}

/* ---- locks ---- */

static int open_locked(struct recovery *r, struct vd_err *err)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    struct stat st;

    r->dir_fd = open(r->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (r->dir_fd < 0)
        return vd_fail_errno(err, errno == ENOENT ? VD_ENOENT : VD_EUSAGE, errno,
                             "%s: no session directory", r->path);
    if (flock(r->dir_fd, LOCK_EX | LOCK_NB))
        return vd_fail(err, VD_EAUDIT, "%s: a recovery works on it", r->path);
    r->ring_fd = ring_open(r->dir_fd, O_RDWR);
    if (r->ring_fd < 0)
        return errno == ENOENT ? 0
                               : vd_fail_errno(err, errno == ELOOP ? VD_EREFUSED : VD_EAUDIT, errno,
                                               "%s/" RING_NAME ": cannot be opened", r->path);
    if (fstat(r->ring_fd, &st) || !S_ISREG(st.st_mode))
        return vd_fail(err, VD_EREFUSED, "%s/" RING_NAME " is no regular file", r->path);
    if (fcntl(r->ring_fd, F_OFD_SETLK, &lock) == 0)
        return 0;
    return errno == EAGAIN || errno == EACCES
               ? vd_fail(err, VD_EAUDIT, "%s: in use, unmount first", r->path)
               : vd_fail_errno(err, VD_EAUDIT, errno, "%s/" RING_NAME ": cannot be locked",
                               r->path);
}

/* ---- judgement ---- */

/* What the log itself says about crash and recoveries. */
static int see_record(void *ctx, const struct audit_seen *seen, struct vd_err *err)
{
    struct recovery *r = ctx;
    uint16_t op = vd_le16(seen->bytes + AUDIT_R_OP);
    struct audit_piece boot;
    struct audit_record record;

    (void)err;
    if (op != AUDIT_SESSION_OPEN && op != AUDIT_RECOVERED)
        return 0;
    if (audit_record_decode(seen->bytes, seen->len, &record, NULL) == 0 &&
        audit_record_find(&record, AUDIT_T_BOOT_ID, &boot) && op == AUDIT_SESSION_OPEN)
        (void)snprintf(r->boot, sizeof(r->boot), "%.*s", (int)(boot.len < 60 ? boot.len : 60),
                       (const char *)boot.bytes);
    if (op == AUDIT_RECOVERED) {
        r->recovered_off = vd_le64(seen->bytes + AUDIT_R_OFF);
        r->recovered_n = vd_le64(seen->bytes + AUDIT_R_LEN);
    }
    return 0;
}

/* The session's name as its directory has it; false when that is no name of a session. */
static bool session_of_path(const char *path, uint8_t out[16])
{
    static const char digits[] = "0123456789abcdef";
    VD_AUTO(free) char *real = realpath(path, NULL);
    const char *slash = real ? strrchr(real, '/') : NULL, *name = slash ? slash + 1 : "", *p;
    char again[NOTE_NAME_MAX];
    size_t n = 0;

    for (p = name; *p && n < 32; p++) {
        const char *digit = strchr(digits, *p);

        if (!digit)
            continue; /* a dash; anything else shows below */
        out[n / 2] = (uint8_t)(n % 2 ? out[n / 2] << 4 | (digit - digits) : digit - digits);
        n++;
    }
    if (n < 32)
        return false;
    notes_origin(out, again);
    return strcmp(name, again + strlen(AUDIT_ORIGIN)) == 0;
}

/* Which session it is, and whether ring.wal is its own.  A log of which nothing was sealed has its
 * name only there and in the directory's. */
static int find_session(struct recovery *r, struct vd_err *err)
{
    const struct audit_report *before = &r->out->before;
    uint8_t of_ring[16], of_path[16];
    bool has_path = session_of_path(r->path, of_path);

    r->ring_why = ring_unusable(r->ring_fd, before->has_session ? before->session : NULL, of_ring);
    if (before->has_session) {
        memcpy(r->session, before->session, sizeof(r->session));
        return 0;
    }
    if (has_path && !r->ring_why && memcmp(of_ring, of_path, sizeof(of_ring)) != 0)
        r->ring_why = "ring.wal belongs to another session";
    if (!has_path && r->ring_why)
        return vd_fail(err, VD_EUSAGE, "%s: nothing says which session this is: %s", r->path,
                       r->ring_why);
    memcpy(r->session, has_path ? of_path : of_ring, sizeof(r->session));
    return 0;
}

static int judge(struct recovery *r, bool *out_closed, struct vd_err *err)
{
    const struct audit_verify_options options = {.owned = true};
    struct audit_report *before = &r->out->before;
    int rc = audit_verify_at(r->dir_fd, r->path, &options, see_record, r, before, err);

    if (rc)
        return rc;
    if (before->verdict == AUDIT_TAMPERED)
        return vd_fail(err, VD_EDIFF, "%s: TAMPERED at frame %" PRIu64 " (%s): it is left as it is",
                       r->path, before->bad_frame, before->reason);
    *out_closed = before->has_close && before->checkpoint_size == before->frames;
    return find_session(r, err);
}

/* ---- making and showing the new segment ---- */

/* What the program reserved behind the end of a file stays reserved after a crash, and on a full disk
 * it is the room that the recovery needs.  No byte changes, and not the time of the last write. */
static void give_back(const struct recovery *r, const char *name)
{
    VD_AUTO(fd) int fd = openat(r->dir_fd, name, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode) ||
        (uint64_t)st.st_blocks * 512 <= (uint64_t)st.st_size + 2 * (uint64_t)st.st_blksize)
        return;
    space_give_back(fd);
    (void)futimens(fd, (const struct timespec[2]){st.st_atim, st.st_mtim});
}

static void give_back_all(const struct recovery *r)
{
    char name[SEGMENT_NAME_SIZE];

    segment_name((uint32_t)r->out->before.segments - 1, name);
    give_back(r, name);
    give_back(r, AUDIT_CHECKPOINTS);
}

static int create(const struct recovery *r, const char *name, int *out_fd, struct vd_err *err)
{
    struct stat st;

    if (unlinkat(r->dir_fd, name, 0) && errno != ENOENT) /* of a recovery that was stopped */
        return failed(r, name, err);
    *out_fd = openat(r->dir_fd, name,
                     O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (*out_fd < 0)
        return failed(r, name, err);
    /* Who can read the log can read its end. */
    if (geteuid() == 0 && (fstat(r->dir_fd, &st) || fchown(*out_fd, st.st_uid, st.st_gid)))
        return failed(r, name, err);
    return 0;
}

static void discard(const struct recovery *r)
{
    (void)unlinkat(r->dir_fd, NEW_SEGMENT, 0);
    (void)unlinkat(r->dir_fd, NEW_CHECKPOINTS, 0);
}

static int write_new(struct recovery *r, const char *program, struct vd_err *err)
{
    VD_AUTO(fd) int segment_fd = -1;
    VD_AUTO(fd) int checkpoints_fd = -1;
    struct ring_sum sum;
    const struct recovery_source source = {.path = r->path,
                                           .program = program,
                                           .session = r->session,
                                           .before = &r->out->before,
                                           .ring_fd = r->ring_why ? -1 : r->ring_fd,
                                           .ring_why = r->ring_why,
                                           .boot = r->boot,
                                           .sum = &sum};
    int rc = ring_sum(source.ring_fd, source.before->next_seq, &sum, err);

    if (rc == 0)
        rc = create(r, NEW_SEGMENT, &segment_fd, err);
    if (rc == 0)
        rc = create(r, NEW_CHECKPOINTS, &checkpoints_fd, err);
    return rc ? rc
              : recovery_write(&source, vd_take_fd(&segment_fd), vd_take_fd(&checkpoints_fd),
                               r->out, err);
}

/* Gives a file its name, which nothing may have. */
static int give_name(const struct recovery *r, const char *from, const char *to)
{
    struct stat st;

    if (renameat2(r->dir_fd, from, r->dir_fd, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -1;
    /* The file system cannot do it in one step; the locks keep out who would make that name. */
    if (fstatat(r->dir_fd, to, &st, AT_SYMLINK_NOFOLLOW) == 0)
        errno = EEXIST;
    else if (errno == ENOENT)
        return renameat(r->dir_fd, from, r->dir_fd, to);
    return -1;
}

/* Checkpoints without their segment: of a recovery that was stopped between the two, or of one whose
 * segment somebody removed.  They are kept. */
static int set_aside(struct recovery *r, const char *name, struct vd_err *err)
{
    char aside[64];
    struct stat st;
    int i;

    if (fstatat(r->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) && errno == ENOENT)
        return 0;
    for (i = 0; i < MAX_STALE; i++) {
        (void)snprintf(aside, sizeof(aside), "%s.stale-%d", name, i);
        if (give_name(r, name, aside) == 0) {
            (void)snprintf(r->out->remark, sizeof(r->out->remark),
                           "%s was there without its segment (a recovery that was stopped, or a "
                           "segment that was removed): kept as %s",
                           name, aside);
            return 0;
        }
        if (errno != EEXIST)
            break;
    }
    return failed(r, name, err);
}

static int publish(struct recovery *r, struct vd_err *err)
{
    char segment[SEGMENT_NAME_SIZE], checkpoints[48];
    int rc;

    (void)snprintf(segment, sizeof(segment), "%06" PRIu32 ".vlog", r->out->segment);
    (void)snprintf(checkpoints, sizeof(checkpoints), AUDIT_CHECKPOINTS ".%06" PRIu32,
                   r->out->segment);
    rc = set_aside(r, checkpoints, err);
    if (rc)
        return rc;
    if (give_name(r, NEW_CHECKPOINTS, checkpoints))
        return failed(r, checkpoints, err);
    if (fsync(r->dir_fd) || give_name(r, NEW_SEGMENT, segment) || fsync(r->dir_fd))
        return failed(r, segment, err);
    r->out->done = true;
    return 0;
}

/* ---- afterwards ---- */

/* Nobody writes to it any more. */
static int make_read_only(const struct recovery *r, const char *name, struct vd_err *err)
{
    VD_AUTO(fd) int fd = openat(r->dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat st;

    if (fd < 0 && errno == ENOENT)
        return 0;
    if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode) ||
        ((st.st_mode & 0222) && fchmod(fd, 0400)))
        return failed(r, name, err);
    return 0;
}

/* Is everything that ring.wal holds in the log? */
static int ring_is_spent(const struct recovery *r, bool *out, struct vd_err *err)
{
    bool again = r->out->done || r->out->before.recoveries;
    uint64_t off = r->out->done ? r->out->before.next_seq
                   : again      ? r->recovered_off
                                : r->out->before.next_seq;
    uint64_t n = r->out->done ? r->out->records : again ? r->recovered_n : 0;
    struct ring_sum sum;
    int rc = ring_sum(r->ring_fd, off, &sum, err);

    *out = rc == 0 && sum.records == n;
    return rc;
}

static int finish(struct recovery *r, struct vd_err *err)
{
    uint64_t n, segments = r->out->done ? r->out->segment : r->out->before.segments;
    bool spent = false;
    char name[48];
    int rc = make_read_only(r, AUDIT_CHECKPOINTS, err);

    if (rc == 0)
        rc = make_read_only(r, AUDIT_KEY_FILE, err);
    for (n = 0; rc == 0 && n < segments; n++) {
        (void)snprintf(name, sizeof(name), "%06" PRIu64 ".vlog", n);
        rc = make_read_only(r, name, err);
        (void)snprintf(name, sizeof(name), AUDIT_CHECKPOINTS ".%06" PRIu64, n);
        if (rc == 0 && n)
            rc = make_read_only(r, name, err);
    }
    if (rc == 0 && !r->ring_why)
        rc = ring_is_spent(r, &spent, err);
    if (rc)
        return rc;
    if (!spent) {
        if (r->ring_fd >= 0 || r->out->done)
            (void)snprintf(r->out->remark, sizeof(r->out->remark), "%s%s",
                           r->ring_why ? r->ring_why
                                       : "ring.wal holds records that are not in the log",
                           r->ring_fd >= 0 ? "; it is kept" : "");
        return 0;
    }
    if (unlinkat(r->dir_fd, RING_NAME, 0) || fsync(r->dir_fd))
        return failed(r, RING_NAME, err);
    r->out->ring_removed = true;
    return 0;
}

static int recover(struct recovery *r, const char *program, struct vd_err *err)
{
    const struct audit_verify_options options = {.owned = true};
    bool closed = false;
    int rc = open_locked(r, err);

    if (rc == 0)
        rc = judge(r, &closed, err);
    if (rc)
        return rc;
    if (closed) {
        r->out->after = r->out->before;
        return r->ring_fd >= 0 ? finish(r, err) : 0;
    }
    if (r->out->before.segments >= UINT32_MAX)
        return vd_fail(err, VD_ELIMIT, "%s: too many segments", r->path);
    r->out->segment = (uint32_t)r->out->before.segments;
    give_back_all(r);
    rc = write_new(r, program, err);
    if (rc == 0)
        rc = publish(r, err);
    if (rc) {
        discard(r);
        return rc;
    }
    rc = finish(r, err);
    if (rc == 0)
        rc = audit_verify_at(r->dir_fd, r->path, &options, NULL, NULL, &r->out->after, err);
    return rc;
}

int audit_recover(const char *path, const char *program, struct audit_recovery *out,
                  struct vd_err *err)
{
    struct recovery r = {.path = path, .dir_fd = -1, .ring_fd = -1, .out = out};
    int rc;

    *out = (struct audit_recovery){0};
    rc = recover(&r, program, err);
    if (r.ring_fd >= 0)
        (void)close(r.ring_fd);
    if (r.dir_fd >= 0)
        (void)close(r.dir_fd);
    return rc;
}
