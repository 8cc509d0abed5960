/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log cannot be written: what is told to producers, what is tried again, what is final.
 *
 *   a write failed              tried again four times a second; `failed` stays up for another second
 *                               afterwards, so that a request whose event was refused cannot find it gone
 *   no space ahead              space.c
 *   a sync failed               final: the kernel may have dropped the bytes
 *   a file is gone, was         final: looked at twice a second and before each sync
 *   replaced or cut
 *   a page of the ring is gone  final: sigbus.c
 *   the ring holds no records   final for accesses, sealing goes on: a producer that is not in order
 *                               must not be served any more
 *
 * Threads: the audit thread's, see writer.h.
 */
#include "audit/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define MS       UINT64_C(1000000)
#define RETRY_NS (250 * MS)
#define CLEAR_NS (1000 * MS)
#define LOOK_NS  (HEALTH_MS * MS)

static uint64_t now_ns(void)
{
    return audit_clock_ns(CLOCK_MONOTONIC);
}

/* ---- telling ---- */

static void notice(struct audit_writer *w, const char *text)
{
    char line[1024];

    if (!w->notice)
        return;
    (void)snprintf(line, sizeof(line), "audit log %s: %s", w->dir, text);
    w->notice(w->notice_ctx, line);
}

static bool record_warning(struct audit_writer *w, const char *text)
{
    const struct audit_field fields[2] = {{AUDIT_T_KEY, "audit", 5},
                                          {AUDIT_T_TEXT, text, strlen(text)}};
    const struct audit_event event = {.op = AUDIT_WARNING, .fields = fields, .n_fields = 2};

    return ring_try_log(&w->ring, &event) != AUDIT_NOT_LOGGED;
}

/* A ring that is full now has room when the next frame was written. */
static void record_waiting(struct audit_writer *w)
{
    if (w->warning[0] && record_warning(w, w->warning))
        w->warning[0] = '\0';
}

bool health_warn(struct audit_writer *w, const char *format, ...)
{
    char text[sizeof(w->warning)];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    record_waiting(w);
    if (w->warning[0])
        return false;
    notice(w, text);
    if (!record_warning(w, text))
        memcpy(w->warning, text, sizeof(text));
    return true;
}

void health_give_up(struct audit_writer *w, const char *why)
{
    if (w->full_policy != AUDIT_FULL_UNMOUNT || w->gave_up || !w->give_up)
        return;
    w->gave_up = true;
    w->give_up(w->notice_ctx, why);
}

/* ---- what producers see ---- */

static void publish_failed(struct audit_writer *w, uint32_t value)
{
    struct ring_shared *s = w->ring.shared;

    if (atomic_load(&s->failed) != 0)
        return;
    atomic_store(&s->failed, value);
    ring_wake_all(&s->space_gen, &s->space_waiters);
    ring_wake_all(&s->durable_gen, &s->durable_waiters);
}

/* Is it a failure that accesses wait for to end? */
static bool waits(const struct audit_writer *w)
{
    return space_room(w) == RING_ROOM_NONE;
}

void health_publish(struct audit_writer *w)
{
    struct ring_shared *s = w->ring.shared;
    uint32_t room = space_room(w);

    if (atomic_exchange(&s->room, room) != room)
        ring_wake_all(&s->space_gen, &s->space_waiters);
    if (w->damaged)
        publish_failed(w, EUCLEAN);
    else if (w->error && !waits(w))
        publish_failed(w, (uint32_t)w->error);
    else if (w->reserve_used_up && !waits(w))
        publish_failed(w, (uint32_t)w->full);
}

/* ---- failures ---- */

bool writer_fail(struct audit_writer *w, int error)
{
    uint64_t now = now_ns();
    bool first = !w->error;
    char text[200];

    if (first && !w->clear_at)
        w->failed_since = now;
    w->error = error;
    w->clear_at = 0;
    w->retry_at = now + RETRY_NS;
    health_publish(w);
    if (first) {
        (void)snprintf(text, sizeof(text), "cannot be written (%s): accesses %s",
                       strerrordesc_np(error),
                       waits(w) ? "wait until it can be" : "are answered EIO");
        notice(w, text);
        health_give_up(w, text);
    }
    return false;
}

bool writer_dead(struct audit_writer *w, int error)
{
    w->dead = true;
    return writer_fail(w, error);
}

void writer_damaged(struct audit_writer *w)
{
    if (!w->damaged)
        notice(w, "the ring holds what is no record: accesses are answered EIO from here on");
    w->damaged = true;
    health_publish(w);
    health_give_up(w, "the ring holds what is no record");
}

void writer_recovered(struct audit_writer *w)
{
    if (!w->error || w->dead)
        return;
    w->note_error = w->error;
    w->error = 0;
    w->clear_at = now_ns() + CLEAR_NS;
    health_publish(w);
}

void health_full_is_over(struct audit_writer *w)
{
    if (w->error || w->clear_at) /* more was wrong: that has an end of its own */
        return;
    w->failed_since = w->full_since;
    w->note_error = w->full;
    w->clear_at = now_ns() + CLEAR_NS;
}

/* Tells in the log that it could not be written for a while. */
static void log_note(struct audit_writer *w)
{
    uint64_t dropped = atomic_load(&w->ring.shared->dropped);

    if (health_warn(w,
                    "the log could not be written for %" PRIu64 " ms (errno %d); %" PRIu64
                    " events of that time are not recorded, their requests were answered EIO",
                    w->note_ns / MS, w->note_error, dropped - w->dropped_told)) {
        w->dropped_told = dropped;
        w->note_error = 0;
    } /* else the ring is full: next round */
}

static void settle(struct audit_writer *w)
{
    struct ring_shared *s = w->ring.shared;

    if (w->clear_at && now_ns() >= w->clear_at) {
        w->note_ns = w->clear_at - CLEAR_NS - w->failed_since;
        w->clear_at = 0;
        if (!w->damaged && !w->reserve_used_up)
            atomic_store(&s->failed, 0);
    }
    record_waiting(w);
    if (w->note_error && !w->error && !w->clear_at)
        log_note(w);
    health_publish(w); /* the shared words are not trusted to stay */
}

/* ---- is everything where it was? ---- */

/* The file `name` of the session is the one that was made, and has `size` bytes (any: UINT64_MAX). */
static bool is_same(const struct audit_writer *w, int dir_fd, const char *name,
                    const struct file_id *id, uint64_t size, int *out_error)
{
    struct stat st;

    *out_error = 0;
    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW)) {
        *out_error = errno;
        return errno != ENOENT && errno != ENOTDIR;
    }
    (void)w;
    return st.st_dev == id->dev && st.st_ino == id->ino && st.st_nlink > 0 &&
           (size == UINT64_MAX || (uint64_t)st.st_size == size);
}

bool health_check(struct audit_writer *w)
{
    char segment[SEGMENT_NAME_SIZE];
    const uint64_t segment_size = w->segment_bytes + (w->sealed ? w->sent : 0);
    const struct {
        int dir;
        const char *name;
        const struct file_id *id;
        uint64_t size;
    } file[] = {
        {w->base_fd, w->id, &w->dir_file, UINT64_MAX},
        {w->dir_fd, segment, &w->segment_file, segment_size},
        {w->dir_fd, AUDIT_CHECKPOINTS, &w->notes_file, w->notes_bytes + w->note_sent},
        {w->dir_fd, RING_NAME, &w->ring_file, UINT64_MAX},
    };
    char text[200];
    size_t i;
    int error;

    if (w->unnamed)
        return true;
    segment_name(w->segment, segment);
    if (atomic_load(&w->ring.broken)) {
        notice(w, "a page of ring.wal cannot be had any more");
        return writer_dead(w, EIO);
    }
    for (i = 0; i < sizeof(file) / sizeof(file[0]); i++) {
        if (is_same(w, file[i].dir, file[i].name, file[i].id, file[i].size, &error)) {
            if (error)
                return writer_fail(w, error);
            continue;
        }
        (void)snprintf(text, sizeof(text), "%s is %s", file[i].name,
                       error ? "gone" : "not what was written");
        notice(w, text);
        return writer_dead(w, error ? error : EUCLEAN);
    }
    return true;
}

bool health_round(struct audit_writer *w)
{
    uint64_t now = now_ns();

    if (w->dead)
        return false;
    settle(w);
    if (now >= w->health_at || atomic_load(&w->ring.broken)) {
        w->health_at = now + LOOK_NS;
        if (!health_check(w))
            return false;
    }
    space_round(w);
    return !w->dead;
}
