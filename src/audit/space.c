/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Space for the log.  It is reserved ahead of what is written, so that a full disk is known before a
 * record has to be refused, and so that what was answered can always still be sealed:
 *
 *   000000.vlog   written frames │ room for the next ones │ reserve
 *                                                          └ a ring full of records, the close record
 *                                                            (reserve_close), and critical records
 *
 * The reserve always lies behind the room: when it cannot be kept whole, the log is "full": accesses
 * are refused or wait, critical records are still sealed, at the cost of the reserve.  When that is
 * down to reserve_close, nothing new is taken any more; what is in the ring by then, and the close
 * record, still fit.  The file of checkpoints has a small reserve of its own.
 *
 * The means is fallocate(2) with FALLOC_FL_KEEP_SIZE: the file's size, and so what a verifier sees,
 * is what was written and nothing else.  What was not needed is given back at the end by ftruncate(2)
 * to the size that the file has: no byte of its content changes.  On a file system without fallocate
 * (ext3) nothing is reserved: a full disk is then noticed by a write that fails (health.c).
 *
 * Free space is looked at once a second; two marks warn before it is used up.
 *
 * Threads: the audit thread's, see writer.h.
 */
#include "audit/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define MIB      (UINT64_C(1) << 20)
#define RETRY_NS UINT64_C(1000000000) /* while the disk is full */
#define LOOK_NS  UINT64_C(1000000000) /* at free space */
/* Reserved at a time.  Not more: a file system that has less left may keep what it got so far. */
#define STRETCH         MIB
#define NOTES_STRETCH   (64 * 1024) /* of the checkpoints */
#define NOTES_RESERVE   (64 * 1024) /* kept for the notes that must be written */
#define DEFAULT_RESERVE MIB
#define LEAST_RESERVE   (64 * 1024)
#define DEFAULT_LOW     (256 * MIB)
#define LOW_SHARE       10 /* … or the file system's size divided by this */
#define VERY_LOW        4  /* the second mark is the first one divided by this */

/* Bytes of frames that hold a ring full of records, and the frame with the close record. */
static uint64_t reserve_for_ring(uint64_t n_slots)
{
    uint64_t frames = n_slots / FRAME_SLOTS + 2;

    return n_slots * AUDIT_SLOT + frames * AUDIT_FRAME_HEADER + AUDIT_MAX_FRAME;
}

void space_init(struct audit_writer *w, const struct audit_config *config)
{
    uint64_t more = config->reserve_bytes ? config->reserve_bytes : DEFAULT_RESERVE;

    w->reserve_close = reserve_for_ring(w->ring.n_slots);
    w->reserve = w->reserve_close + (more < LEAST_RESERVE ? LEAST_RESERVE : more);
    w->low_bytes = config->low_bytes;
}

bool space_is_lack(int error)
{
    return error == ENOSPC || error == EDQUOT || error == EFBIG;
}

/* ---- reserving ---- */

/* Past a limit of the file's size (ulimit -f) bytes can be reserved, but not be written. */
static bool past_limit(uint64_t end)
{
    struct rlimit limit;

    return getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
           end > limit.rlim_cur;
}

static int reserve_to(int fd, uint64_t from, uint64_t end)
{
    int error;

    if (end > INT64_MAX || past_limit(end))
        return EFBIG;
    do
        error = fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)from, (off_t)(end - from)) ? errno : 0;
    while (error == EINTR);
    return error;
}

/* Reserves up to `end` at least, `stretch` more when there is so much, and moves *allocated there. */
static int extend(struct audit_writer *w, int fd, uint64_t *allocated, uint64_t end,
                  uint64_t stretch)
{
    int error;

    if (w->unreserved || end <= *allocated)
        return 0;
    error = reserve_to(fd, *allocated, end + stretch);
    if (error == 0) {
        *allocated = end + stretch;
        return 0;
    }
    if (error == EOPNOTSUPP || error == ENOSYS || error == EINVAL || error == ESPIPE ||
        error == ENODEV) {
        w->unreserved = true;
        return 0;
    }
    if (!space_is_lack(error))
        return error;
    error = reserve_to(fd, *allocated, end);
    if (error == 0)
        *allocated = end;
    return error;
}

/* What lies behind the segment's end is one stretch at most, and none of it past its last frame. */
static uint64_t stretch_of(const struct audit_writer *w, uint64_t end)
{
    uint64_t most = w->segment_max + w->reserve;

    if (end >= most)
        return 0;
    return most - end < STRETCH ? most - end : STRETCH;
}

int space_for_segment(struct audit_writer *w, int fd, uint64_t *out_allocated)
{
    uint64_t allocated = 0, end = AUDIT_MAX_FRAME + w->reserve;
    int error = extend(w, fd, &allocated, end, stretch_of(w, end));

    if (error == 0)
        *out_allocated = allocated;
    return error;
}

int space_for_notes(struct audit_writer *w)
{
    return extend(w, w->checkpoints_fd, &w->notes_allocated, NOTE_MAX + NOTES_RESERVE, 0);
}

void space_give_back(int fd)
{
    off_t end = lseek(fd, 0, SEEK_END);

    if (end >= 0 && ftruncate(fd, end))
        return; /* it stays reserved: nothing is wrong with that */
}

/* ---- full, and not full any more ---- */

/* What producers are to be told. */
enum ring_room space_room(const struct audit_writer *w)
{
    if (w->error && !w->dead && w->full_policy == AUDIT_FULL_BLOCK && space_is_lack(w->error))
        return RING_ROOM_NONE;
    if (!w->full)
        return RING_ROOM;
    if (w->full_policy != AUDIT_FULL_BLOCK)
        return RING_ROOM_REFUSE;
    return w->reserve_used_up ? RING_ROOM_NONE : RING_ROOM_WAIT;
}

static void lost(struct audit_writer *w, int error)
{
    static const char *const then[] = {"accesses are answered EIO until there is some",
                                       "accesses wait until there is some",
                                       "the mount is ended (audit_full=unmount)"};

    w->full_retry = audit_clock_ns(CLOCK_MONOTONIC) + RETRY_NS;
    if (w->full)
        return;
    w->full = error;
    w->full_since = audit_clock_ns(CLOCK_MONOTONIC);
    health_publish(w);
    (void)health_warn(w, "no space is left for the log (%s): %s", strerrordesc_np(error),
                      then[w->full_policy]);
    health_give_up(w, "no space is left for the log");
}

static void found(struct audit_writer *w)
{
    uint64_t ms = (audit_clock_ns(CLOCK_MONOTONIC) - w->full_since) / 1000000;

    if (w->reserve_used_up)
        health_full_is_over(w);
    w->full = 0;
    w->reserve_used_up = false;
    health_publish(w);
    (void)health_warn(w, "there is space for the log again, after %" PRIu64 " ms", ms);
}

/* Is the reserve whole behind `len` more bytes? */
static int keep_reserve(struct audit_writer *w, uint64_t len)
{
    uint64_t notes_end = w->notes_bytes + NOTE_MAX + NOTES_RESERVE;
    uint64_t end = w->segment_bytes + len + w->reserve;
    int error = extend(w, w->checkpoints_fd, &w->notes_allocated, notes_end, NOTES_STRETCH);

    return error ? error : extend(w, w->segment_fd, &w->allocated, end, stretch_of(w, end));
}

bool space_for_frame(struct audit_writer *w, size_t len)
{
    uint64_t end = w->segment_bytes + len;
    int error;

    if (w->unreserved || (!w->full && end + w->reserve <= w->allocated))
        return true;
    if (!w->full) {
        error = keep_reserve(w, len);
        if (error == 0)
            return true;
        if (!space_is_lack(error))
            return writer_fail(w, error);
        lost(w, error);
    }
    if (!w->reserve_used_up && end + w->reserve_close > w->allocated) {
        w->reserve_used_up = true;
        health_publish(w);
    }
    return end <= w->allocated || writer_fail(w, w->full);
}

/* Notes that can wait do so while the disk is full: what is reserved is for those that cannot. */
bool space_for_note(struct audit_writer *w, bool needed)
{
    uint64_t end = w->notes_bytes + NOTE_MAX + NOTES_RESERVE;
    int error;

    if (w->unreserved || end <= w->notes_allocated)
        return true;
    if (!w->full) {
        error = extend(w, w->checkpoints_fd, &w->notes_allocated, end, NOTES_STRETCH);
        if (!space_is_lack(error)) /* if it is serious, writing will tell */
            return true;
        lost(w, error);
    }
    return needed;
}

int space_begin_segment(struct audit_writer *w, uint32_t number)
{
    int error;

    if (w->full) /* the present one has the reserve */
        return 0;
    error = segment_create(w, number);
    if (!space_is_lack(error))
        return error;
    lost(w, error);
    return 0;
}

/* ---- marks ---- */

static uint64_t mark_of(const struct audit_writer *w, const struct statvfs *st)
{
    uint64_t share = (uint64_t)st->f_blocks * st->f_frsize / LOW_SHARE;

    if (w->low_bytes)
        return w->low_bytes;
    return share < DEFAULT_LOW ? share : DEFAULT_LOW;
}

/* Once per crossing; a mark counts again when free space was a quarter above it. */
static void look_at_marks(struct audit_writer *w)
{
    struct statvfs st;
    uint64_t free_bytes, mark;
    unsigned level;

    if (fstatvfs(w->dir_fd, &st))
        return;
    free_bytes = (uint64_t)(geteuid() == 0 ? st.f_bfree : st.f_bavail) * st.f_frsize;
    mark = mark_of(w, &st);
    level = free_bytes >= mark ? 0 : free_bytes >= mark / VERY_LOW ? 1 : 2;
    if (level < w->low_level) {
        uint64_t left = w->low_level == 2 ? mark / VERY_LOW : mark;

        if (free_bytes >= left + left / 4)
            w->low_level = level;
    } else if (level > w->low_level &&
               health_warn(w,
                           "the log's file system has %s%" PRIu64
                           " KiB left; without space for the log, the evidence cannot be read",
                           level == 2 ? "only " : "", free_bytes / 1024)) {
        w->low_level = level;
    }
}

void space_round(struct audit_writer *w)
{
    uint64_t now = audit_clock_ns(CLOCK_MONOTONIC);
    int error;

    if (now >= w->low_at) {
        w->low_at = now + LOOK_NS;
        look_at_marks(w);
    }
    if (!w->full || now < w->full_retry)
        return;
    w->full_retry = now + RETRY_NS;
    error = keep_reserve(w, AUDIT_MAX_FRAME);
    if (error == 0)
        found(w);
    else if (!space_is_lack(error))
        (void)writer_fail(w, error);
}
