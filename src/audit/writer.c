/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The audit thread: takes committed records from the ring in order, seals them into frames, chains
 * the frames by SHA-256, appends them to the segment file and syncs it.  Format:
 * docs/formats/audit-log.md.
 *
 * A slot of the ring is freed only after its record is in the segment file, so a death of this
 * process loses nothing: it is in the one or in the other.  A frame that could be written only in
 * part is kept, and its remaining bytes are written when that works again; what was written is never
 * cut or rewritten.  Failures: health.c; space: space.c.
 *
 * What comes from the ring is untrusted (see ring.h).  A record that does not decode, or that only
 * the writer may make, is replaced by an AUDIT_LOST record of the same length, and the log counts
 * as failed from then on: a producer that is not in order must not be served any more.
 *
 * Reads are merged when a frame is sealed (merge.c): the frame is collected as the ring has it, and a
 * frame stands for at most as many sequence numbers as it has slots, unless sealing failed meanwhile.
 *
 * Keys and checkpoints: checkpoint.c.  Threads: one at a time; see writer.h.
 */
#include "audit/writer.h"

#include "audit/merge.h"
#include "audit/record.h"
#include "base/bytes.h"
#include "base/crc32c.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MS      UINT64_C(1000000)
#define HOLE_NS (5 * MS)  /* a claim normally lasts well under a microsecond */
#define IDLE_MS HEALTH_MS /* longest sleep: a hostile worker may swallow wake-ups */

static uint64_t now_ns(void)
{
    return audit_clock_ns(CLOCK_MONOTONIC);
}

/* ---- frames ---- */

bool writer_room(const struct audit_writer *w, size_t slots)
{
    return w->frame_slots + slots <= FRAME_SLOTS;
}

static uint8_t *frame_end(struct audit_writer *w)
{
    return w->frame + AUDIT_FRAME_HEADER + w->frame_slots * AUDIT_SLOT;
}

/* Counts the record that lies at the end of the frame. */
static void frame_count(struct audit_writer *w, size_t slots)
{
    int64_t t = (int64_t)vd_le64(frame_end(w) + AUDIT_R_REAL);

    if (w->frame_records == 0) {
        w->t_first = w->t_last = t;
        w->frame_deadline = now_ns() + w->seal_ns;
    }
    if (t < w->t_first)
        w->t_first = t;
    if (t > w->t_last)
        w->t_last = t;
    w->frame_records++;
    w->frame_slots += slots;
    w->cursor += slots;
}

void writer_append(struct audit_writer *w, uint8_t *record, size_t slots)
{
    audit_record_finish(record, slots, w->cursor);
    memcpy(frame_end(w), record, slots * AUDIT_SLOT);
    frame_count(w, slots);
}

static void frame_header(struct audit_writer *w, uint32_t flags)
{
    static const uint8_t magic[] = {'V', 'D', 'A', 'F'}; /* AUDIT_FRAME_MAGIC */
    uint8_t *h = w->frame;

    memset(h, 0, AUDIT_FRAME_HEADER);
    memcpy(h + AUDIT_H_MAGIC, magic, sizeof(magic));
    vd_put_le16(h + AUDIT_H_VERSION, AUDIT_VERSION);
    vd_put_le16(h + AUDIT_H_HEADER, AUDIT_FRAME_HEADER);
    vd_put_le32(h + AUDIT_H_LENGTH, (uint32_t)(frame_end(w) - h));
    vd_put_le32(h + AUDIT_H_FLAGS, flags);
    vd_put_le64(h + AUDIT_H_FRAME_NO, w->frame_no);
    vd_put_le64(h + AUDIT_H_FIRST_SEQ, w->tail);
    vd_put_le32(h + AUDIT_H_SLOTS, (uint32_t)w->frame_slots);
    vd_put_le32(h + AUDIT_H_RECORDS, (uint32_t)w->frame_records);
    vd_put_le64(h + AUDIT_H_TOTAL, w->total + w->frame_records);
    vd_put_le64(h + AUDIT_H_T_FIRST, (uint64_t)w->t_first);
    vd_put_le64(h + AUDIT_H_T_LAST, (uint64_t)w->t_last);
    vd_put_le32(h + AUDIT_H_EPOCH, w->epoch);
    vd_put_le32(h + AUDIT_H_SEGMENT, w->segment);
    memcpy(h + AUDIT_H_SESSION, w->session, 16);
    memcpy(h + AUDIT_H_PREV, w->prev, sizeof(w->prev));
    memcpy(h + AUDIT_H_KEY, note_signer_key(w->signer)->bytes, NOTE_PUBLIC_SIZE);
    if (w->next)
        memcpy(h + AUDIT_H_NEXT, note_signer_key(w->next)->bytes, NOTE_PUBLIC_SIZE);
    vd_put_le32(h + AUDIT_H_CRC, vd_crc32c(0, h, AUDIT_FRAME_HEADER));
}

/* After the frame is in the file: its slots of the ring are free. */
static void frame_done(struct audit_writer *w, size_t len)
{
    struct ring_shared *s = w->ring.shared;

    w->segment_bytes += len;
    w->frame_no++;
    w->total += w->frame_records;
    memcpy(w->prev, w->leaf, sizeof(w->prev));
    checkpoint_frame(w);
    ring_wipe(&w->ring, w->tail, w->cursor);
    w->tail = w->cursor;
    atomic_store(&s->tail, w->tail);
    ring_wake_all(&s->space_gen, &s->space_waiters);
    if (!w->unsynced)
        w->sync_deadline =
            (w->frame_records ? w->frame_deadline - w->seal_ns : now_ns()) + w->sync_ns;
    w->unsynced = true;
    w->sealed = false;
    w->frame_slots = w->frame_records = 0;
}

/* Writes the rest of the sealed frame. */
static bool frame_write(struct audit_writer *w)
{
    size_t len = (size_t)(frame_end(w) - w->frame);

    if (w->sent == 0 && !space_for_frame(w, len))
        return false;
    while (w->sent < len) {
        ssize_t n = write(w->segment_fd, w->frame + w->sent, len - w->sent);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return writer_fail(w, n < 0 ? errno : ENOSPC);
        w->sent += (size_t)n;
    }
    writer_recovered(w);
    frame_done(w, len);
    return true;
}

/* A new segment begins when this frame would make the present one too large. */
static bool rotate(struct audit_writer *w)
{
    int error;

    if (w->segment_bytes == 0 || w->full ||
        w->segment_bytes + (size_t)(frame_end(w) - w->frame) <= w->segment_max)
        return true;
    if (!writer_sync(w)) /* the old one is complete on the disk before the new one begins */
        return false;
    error = space_begin_segment(w, w->segment + 1);
    return error ? writer_fail(w, error) : true;
}

bool writer_seal(struct audit_writer *w, uint32_t flags)
{
    static const uint8_t leaf_prefix = 0;

    if (!w->sealed) {
        if (w->next && !checkpoint_step(w, false)) /* the frame before ended its epoch */
            return false;
        w->frame_slots =
            merge_reads(w->frame + AUDIT_FRAME_HEADER, w->frame_slots, &w->frame_records);
        if (!rotate(w) || !checkpoint_before_seal(w, flags & AUDIT_FRAME_CLOSE))
            return false;
        if (w->frame_records == 0)
            w->t_first = w->t_last = (int64_t)audit_clock_ns(CLOCK_REALTIME);
        frame_header(w, flags | w->frame_flags);
        w->frame_flags = 0;
        vd_sha256_reset(w->sha);
        vd_sha256_add(w->sha, &leaf_prefix, 1);
        vd_sha256_add(w->sha, w->frame, (size_t)(frame_end(w) - w->frame));
        vd_sha256_end(w->sha, w->leaf);
        w->sealed = true;
        w->sent = 0;
    }
    return frame_write(w);
}

bool writer_sync(struct audit_writer *w)
{
    struct ring_shared *s = w->ring.shared;

    if (!w->unsynced)
        return true;
    if (fdatasync(w->segment_fd) || (w->segment_new && fsync(w->dir_fd)))
        return writer_dead(w, errno);
    if (!health_check(w)) /* what nobody can find again is not on the disk */
        return false;
    w->segment_new = false;
    w->unsynced = false;
    w->durable = w->tail;
    atomic_store(&w->ring.own_durable, w->durable);
    atomic_store(&s->durable, w->durable);
    ring_wake_all(&s->durable_gen, &s->durable_waiters);
    return true;
}

/* ---- taking records from the ring ---- */

enum took { TOOK_ONE, TOOK_NONE, TOOK_NO_ROOM };

static enum took take_lost(struct audit_writer *w, size_t slots, const char *why)
{
    if (!writer_room(w, slots))
        return TOOK_NO_ROOM;
    audit_record_lost(frame_end(w), slots, w->cursor, (int64_t)audit_clock_ns(CLOCK_REALTIME),
                      audit_clock_ns(CLOCK_BOOTTIME), why);
    frame_count(w, slots);
    w->lost++;
    return TOOK_ONE;
}

uint64_t writer_head(const struct audit_writer *w)
{
    uint64_t head = ring_head(&w->ring, w->tail);

    return head < w->head_limit ? head : w->head_limit;
}

/* Is [cursor, cursor + slots) claimed? */
static bool inside_claims(struct audit_writer *w, size_t slots)
{
    if (w->cursor + slots > w->head_seen)
        w->head_seen = writer_head(w);
    return w->cursor + slots <= w->head_seen;
}

static bool record_acceptable(const struct audit_writer *w, const uint8_t *bytes, size_t slots)
{
    struct audit_record r;

    return audit_record_decode(bytes, slots * AUDIT_SLOT, &r, NULL) == 0 && r.slots == slots &&
           r.seq == w->cursor && audit_record_from_ring(&r);
}

static enum took take_record(struct audit_writer *w)
{
    uint8_t first[AUDIT_SLOT];
    size_t slots;

    ring_copy_out(&w->ring, w->cursor, 1, first);
    slots = 1u + first[AUDIT_R_EXT];
    if (!inside_claims(w, slots)) {
        writer_damaged(w);
        return take_lost(w, 1, "not in order before it was sealed");
    }
    if (!writer_room(w, slots))
        return TOOK_NO_ROOM;
    memcpy(frame_end(w), first, AUDIT_SLOT);
    ring_copy_out(&w->ring, w->cursor + 1, slots - 1, frame_end(w) + AUDIT_SLOT);
    if (!record_acceptable(w, frame_end(w), slots)) { /* checked in the copy that is sealed */
        writer_damaged(w);
        return take_lost(w, slots, "not in order before it was sealed");
    }
    frame_count(w, slots);
    return TOOK_ONE;
}

/* Slots of the claim at the cursor that will never be committed.  Between the claim and its mark
 * the length is unknown: then it is up to the next slot that holds something. */
static size_t hole_slots(struct audit_writer *w, uint64_t head)
{
    uint64_t word = ring_word(&w->ring, w->cursor), max = head - w->cursor, n = 1;

    if (max > 1 + AUDIT_MAX_EXT)
        max = 1 + AUDIT_MAX_EXT;
    if (word & AUDIT_RING_CLAIMED)
        n = 1 + (word & AUDIT_MAX_EXT);
    else if (word == 0)
        while (n < max && ring_word(&w->ring, w->cursor + n) == 0)
            n++;
    else
        writer_damaged(w);
    return (size_t)(n < max ? n : max);
}

/* May the claim at the cursor be given up? */
static bool hole_is_dead(struct audit_writer *w)
{
    uint64_t now;

    if (w->skip_holes)
        return true;
    now = now_ns();
    if (w->hole_at != w->cursor || !w->hole_since) {
        w->hole_at = w->cursor;
        w->hole_since = now;
        return false;
    }
    return now - w->hole_since >= HOLE_NS && ring_other_dead(&w->ring);
}

/* A claim without commit.  The lock keeps out this process's own claims: what is open then is the
 * dead worker's. */
static enum took take_hole(struct audit_writer *w)
{
    enum took took = TOOK_NONE;
    uint64_t head;

    if (writer_head(w) <= w->cursor || !hole_is_dead(w))
        return TOOK_NONE;
    (void)pthread_mutex_lock(&w->ring.lock);
    head = writer_head(w);
    if (head > w->cursor && !ring_committed(&w->ring, w->cursor))
        took = take_lost(w, hole_slots(w, head), "the process that wrote it died");
    else
        took = TOOK_ONE; /* committed meanwhile: look again */
    (void)pthread_mutex_unlock(&w->ring.lock);
    return took;
}

/* Fills the frame; true when it is full. */
static bool collect(struct audit_writer *w)
{
    enum took took;

    do {
        if (w->cursor >= w->head_limit)
            return false;
        took = ring_committed(&w->ring, w->cursor) ? take_record(w) : take_hole(w);
    } while (took == TOOK_ONE);
    return took == TOOK_NO_ROOM;
}

/* ---- the rounds ---- */

static bool someone_waits(const struct audit_writer *w)
{
    return w->flush || atomic_load(&w->ring.shared->want) > w->durable;
}

static bool seal_due(const struct audit_writer *w)
{
    return w->frame_slots > 0 &&
           (someone_waits(w) || atomic_load(&w->ring.shared->space_waiters) > 0 ||
            w->cursor - w->tail >= w->ring.n_slots / 2 || now_ns() >= w->frame_deadline);
}

/* Producers move the head from one valid place to the next.  If it is elsewhere, what the ring
 * holds now is still sealed or told as lost, and nothing after that: else the log would be filled
 * with lost slots for ever. */
static void check_head(struct audit_writer *w)
{
    uint64_t head = atomic_load(&w->ring.shared->head) & ~RING_CLOSED;

    if (w->head_limit == UINT64_MAX && (head < w->cursor || head - w->tail > w->ring.n_slots)) {
        w->head_limit = w->tail + w->ring.n_slots;
        writer_damaged(w);
    }
}

bool writer_step(struct audit_writer *w)
{
    bool full;

    if (!health_round(w))
        return false;
    check_head(w);
    do {
        if (w->sealed && !writer_seal(w, 0))
            return false;
        full = collect(w);
        if ((full || seal_due(w)) && !writer_seal(w, 0))
            return false;
        if (!checkpoint_step(w, false))
            return false;
    } while (full);
    if (checkpoint_heartbeat_due(w) && w->frame_slots == 0 &&
        !writer_seal(w, AUDIT_FRAME_HEARTBEAT))
        return false;
    if (w->unsynced && (someone_waits(w) || now_ns() >= w->sync_deadline)) {
        w->checkpoint_now = w->checkpoint_now || someone_waits(w);
        if (!writer_sync(w))
            return false;
    }
    return checkpoint_step(w, false);
}

void audit_writer_inline(struct audit_writer *w)
{
    (void)pthread_mutex_lock(&w->inline_lock);
    w->flush = true;
    (void)writer_step(w);
    w->flush = false;
    (void)pthread_mutex_unlock(&w->inline_lock);
}

static unsigned ms_until(uint64_t deadline, unsigned longest)
{
    uint64_t now = now_ns(), ms = deadline > now ? (deadline - now + MS - 1) / MS : 0;

    return ms < longest ? (unsigned)ms : longest;
}

/* Anything to do that came up while the sleep was announced? */
static bool work_came(const struct audit_writer *w, uint32_t state)
{
    const struct ring_shared *s = w->ring.shared;

    if (atomic_load(&w->stop))
        return true;
    if (someone_waits(w) && (w->frame_slots || w->unsynced))
        return true;
    if (atomic_load(&s->space_waiters) && w->frame_slots)
        return true;
    if (!ring_committed(&w->ring, w->cursor) || w->cursor >= w->head_limit)
        return false;
    return state == RING_IDLE || someone_waits(w) || atomic_load(&s->space_waiters) ||
           writer_head(w) - w->tail >= FRAME_SLOTS;
}

static void sleep_until_work(struct audit_writer *w)
{
    struct ring_shared *s = w->ring.shared;
    bool hole = writer_head(w) > w->cursor;
    uint32_t state = w->frame_slots && !hole ? RING_NAP : RING_IDLE;
    unsigned ms = hole ? (unsigned)(HOLE_NS / MS) : IDLE_MS;

    if (w->error || w->dead) { /* nothing but time (or the end) helps */
        ms = w->dead ? IDLE_MS : ms_until(w->retry_at, IDLE_MS);
        if (!atomic_load(&w->stop) && ms)
            ring_futex_wait(&s->sleeping, RING_AWAKE, ms);
        return;
    }
    if (w->frame_slots)
        ms = ms_until(w->frame_deadline, ms);
    if (w->unsynced)
        ms = ms_until(w->sync_deadline, ms);
    if (w->clear_at)
        ms = ms_until(w->clear_at, ms);
    ms = ms_until(checkpoint_deadline(w), ms);
    atomic_store(&s->sleeping, state);
    if (!work_came(w, state) && ms)
        ring_futex_wait(&s->sleeping, state, ms);
    atomic_store(&s->sleeping, RING_AWAKE);
}

void *writer_main(void *arg)
{
    struct audit_writer *w = arg;

    while (!atomic_load(&w->stop)) {
        if (!w->error || now_ns() >= w->retry_at)
            (void)writer_step(w);
        sleep_until_work(w);
    }
    return NULL;
}
