/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring and its producers: audit_log, audit_wait, audit_failed.  Protocol: ring.h; layout of the
 * file: docs/formats/audit-log.md, "ring.wal".
 *
 * Order of memory.  A producer stores the commit word and then looks whether the writer sleeps;
 * the writer announces its sleep and then looks for commit words.  Both are sequentially
 * consistent, so one of the two sees the other and no wake-up is lost.  Everything else is
 * release/acquire: commit word over the record, tail over the wiped slots.
 *
 * Threads: everything here may be called from any thread of both processes.
 */
#include "audit/ring.h"

#include "audit/record.h"
#include "base/bytes.h"

#include <endian.h>
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define WAIT_SLICE_MS 200 /* how often a waiter looks whether the other side still lives */
#define WAIT_MAX_NS   (UINT64_C(60) * 1000000000)

uint64_t audit_clock_ns(int clock)
{
    struct timespec t = {0};

    (void)clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void ring_futex_wait(_Atomic uint32_t *word, uint32_t value, unsigned timeout_ms)
{
    const struct timespec t = {timeout_ms / 1000, (long)(timeout_ms % 1000) * 1000000};

    (void)syscall(SYS_futex, word, FUTEX_WAIT, value, &t, NULL, 0);
}

void ring_futex_wake(_Atomic uint32_t *word, int n)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE, n, NULL, NULL, 0);
}

void ring_wake_all(_Atomic uint32_t *gen, _Atomic uint32_t *waiters)
{
    atomic_fetch_add(gen, 1);
    if (atomic_load(waiters))
        ring_futex_wake(gen, INT32_MAX);
}

/* ---- slots ---- */

int ring_init(struct audit_ring *ring, int fd, uint64_t n_slots, const uint8_t session[16],
              struct vd_err *err)
{
    static const uint8_t magic[] = {'V', 'D', 'A', 'R'}; /* AUDIT_RING_MAGIC */
    uint8_t *fixed;
    void *map;

    ring->map_bytes = AUDIT_RING_HEADER + (size_t)n_slots * AUDIT_SLOT;
    map = mmap(NULL, ring->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return vd_fail_errno(err, VD_EAUDIT, errno, "ring.wal: cannot map %zu bytes",
                             ring->map_bytes);
    ring->shared = map;
    ring->slots = (uint8_t *)map + AUDIT_RING_HEADER;
    ring->n_slots = n_slots;
    fixed = ring->shared->fixed;
    memcpy(fixed + AUDIT_W_MAGIC, magic, sizeof(magic));
    vd_put_le16(fixed + AUDIT_W_VERSION, AUDIT_VERSION);
    vd_put_le16(fixed + AUDIT_W_SLOT, AUDIT_SLOT);
    vd_put_le64(fixed + AUDIT_W_SLOTS, n_slots);
    memcpy(fixed + AUDIT_W_SESSION, session, 16);
    return ring_guard(ring, err);
}

void ring_clear(struct audit_ring *ring)
{
    int i;

    ring_unguard(ring);
    if (ring->shared)
        (void)munmap(ring->shared, ring->map_bytes);
    ring->shared = NULL;
    for (i = 0; i < 2; i++) {
        if (ring->lifeline[i] >= 0)
            (void)close(ring->lifeline[i]);
        ring->lifeline[i] = -1;
    }
}

static uint8_t *slot_at(const struct audit_ring *ring, uint64_t seq)
{
    return ring->slots + (size_t)(seq & (ring->n_slots - 1)) * AUDIT_SLOT;
}

static _Atomic uint64_t *word_at(const struct audit_ring *ring, uint64_t seq)
{
    return (_Atomic uint64_t *)(void *)slot_at(ring, seq);
}

uint64_t ring_word(const struct audit_ring *ring, uint64_t seq)
{
    return le64toh(atomic_load(word_at(ring, seq)));
}

void ring_copy_out(const struct audit_ring *ring, uint64_t seq, size_t n, uint8_t *out)
{
    size_t first = (size_t)(seq & (ring->n_slots - 1));
    size_t here = n < ring->n_slots - first ? n : (size_t)(ring->n_slots - first);

    memcpy(out, slot_at(ring, seq), here * AUDIT_SLOT);
    memcpy(out + here * AUDIT_SLOT, ring->slots, (n - here) * AUDIT_SLOT);
}

void ring_wipe(struct audit_ring *ring, uint64_t from, uint64_t to)
{
    for (; from < to; from++)
        atomic_store_explicit(word_at(ring, from), 0, memory_order_relaxed);
}

uint64_t ring_head(const struct audit_ring *ring, uint64_t tail)
{
    uint64_t head = atomic_load(&ring->shared->head) & ~RING_CLOSED;

    if (head < tail)
        return tail;
    return head - tail > ring->n_slots ? tail + ring->n_slots : head;
}

bool ring_other_dead(const struct audit_ring *ring)
{
    struct pollfd p = {.fd = ring->lifeline[ring->worker ? 1 : 0], .events = POLLRDHUP};

    if (p.fd < 0)
        return true;
    return poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLRDHUP | POLLERR)) != 0;
}

/* ---- audit_log ---- */

/* A slot goes from one producer over the writer to the next one.  ThreadSanitizer does not see the
 * writer when it is another process: these tell it that a claim comes after the commits that made
 * room for it.  In other builds they are nothing. */
#if defined(__SANITIZE_THREAD__)
#define RING_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define RING_TSAN 1
#endif
#endif
#ifdef RING_TSAN
#include <sanitizer/tsan_interface.h>

static void tsan_see_room(const struct audit_ring *ring, uint64_t seq, size_t n)
{
    size_t i;

    __tsan_acquire(&ring->shared->tail);
    for (i = 0; i < n; i++)
        (void)atomic_load_explicit(word_at(ring, seq + i), memory_order_acquire);
}

static void tsan_copied(const struct audit_ring *ring)
{
    __tsan_release(&ring->shared->tail);
}
#else
static void tsan_see_room(const struct audit_ring *ring, uint64_t seq, size_t n)
{
    (void)ring;
    (void)seq;
    (void)n;
}

static void tsan_copied(const struct audit_ring *ring)
{
    (void)ring;
}
#endif

enum claim { CLAIM_OK, CLAIM_FULL, CLAIM_CLOSED };

static enum claim claim(struct audit_ring *ring, size_t n, uint64_t *out_seq)
{
    struct ring_shared *s = ring->shared;
    uint64_t head = atomic_load_explicit(&s->head, memory_order_relaxed);

    do {
        if (head & RING_CLOSED)
            return CLAIM_CLOSED;
        if (head + n - atomic_load_explicit(&s->tail, memory_order_acquire) > ring->n_slots)
            return CLAIM_FULL;
    } while (!atomic_compare_exchange_weak(&s->head, &head, head + n));
    tsan_see_room(ring, head, n);
    /* Says how long the claim is, should this process die before the commit. */
    atomic_store_explicit(word_at(ring, head), htole64(AUDIT_RING_CLAIMED | (n - 1)),
                          memory_order_relaxed);
    *out_seq = head;
    return CLAIM_OK;
}

static void commit(struct audit_ring *ring, uint8_t *record, size_t n, uint64_t seq)
{
    uint8_t *slot = slot_at(ring, seq);
    size_t first = (size_t)(seq & (ring->n_slots - 1));
    size_t here = n < ring->n_slots - first ? n : (size_t)(ring->n_slots - first);

    audit_record_finish(record, n, seq);
    memcpy(slot + 8, record + 8, here * AUDIT_SLOT - 8);
    memcpy(ring->slots, record + here * AUDIT_SLOT, (n - here) * AUDIT_SLOT);
    tsan_copied(ring);
    atomic_store(word_at(ring, seq), htole64(seq + 1));
}

void ring_wake_writer(struct audit_ring *ring)
{
    uint32_t state = atomic_load(&ring->shared->sleeping);

    if (state != RING_AWAKE &&
        atomic_compare_exchange_strong(&ring->shared->sleeping, &state, RING_AWAKE))
        ring_futex_wake(&ring->shared->sleeping, 1);
}

/* After a commit: an idle writer must know that there is something; a napping one wakes by itself
 * in time and is only disturbed when a frame is full. */
static void nudge(struct audit_ring *ring, uint64_t end)
{
    struct ring_shared *s = ring->shared;
    uint32_t state = atomic_load(&s->sleeping);

    if (state == RING_IDLE ||
        (state == RING_NAP &&
         end - atomic_load_explicit(&s->tail, memory_order_relaxed) >= FRAME_SLOTS))
        ring_wake_writer(ring);
}

/* No thread to seal yet and this is the process that opened the log. */
static bool seals_inline(const struct audit_ring *ring)
{
    return ring->writer && ring->writer_pid == getpid();
}

/* Waits for the writer to free slots; false when that will not happen. */
static bool wait_space(struct audit_ring *ring, uint32_t gen)
{
    struct ring_shared *s = ring->shared;

    if (atomic_load(&ring->broken))
        return false;
    if (seals_inline(ring)) {
        audit_writer_inline(ring->writer);
        return atomic_load(&s->failed) == 0;
    }
    if (atomic_load(&s->failed))
        return false;
    atomic_fetch_add(&s->space_waiters, 1);
    ring_wake_writer(ring);
    ring_futex_wait(&s->space_gen, gen, WAIT_SLICE_MS);
    atomic_fetch_sub(&s->space_waiters, 1);
    if (ring->worker && ring_other_dead(ring))
        atomic_store(&s->failed, RING_NO_SUPERVISOR);
    return true;
}

static enum claim try_put(struct audit_ring *ring, uint8_t *record, size_t n, uint64_t *out_seq)
{
    enum claim got;

    if (!ring->worker)
        (void)pthread_mutex_lock(&ring->lock);
    got = claim(ring, n, out_seq);
    if (got == CLAIM_OK)
        commit(ring, record, n, *out_seq);
    if (!ring->worker)
        (void)pthread_mutex_unlock(&ring->lock);
    if (got == CLAIM_OK)
        nudge(ring, *out_seq + n);
    return got;
}

static size_t encode_now(const struct audit_event *event, uint8_t *record)
{
    return audit_record_encode(event, (int64_t)audit_clock_ns(CLOCK_REALTIME),
                               audit_clock_ns(CLOCK_BOOTTIME), record);
}

uint64_t ring_try_log(struct audit_ring *ring, const struct audit_event *event)
{
    uint8_t record[AUDIT_MAX_RECORD];
    uint64_t seq;

    return try_put(ring, record, encode_now(event, record), &seq) == CLAIM_OK ? seq
                                                                              : AUDIT_NOT_LOGGED;
}

uint64_t audit_log(struct audit_ring *ring, const struct audit_event *event)
{
    uint8_t record[AUDIT_MAX_RECORD];
    size_t n = encode_now(event, record);
    uint64_t seq = 0;

    for (;;) {
        /* Read before the attempt: a move of tail after it ends the wait at once. */
        uint32_t gen = atomic_load(&ring->shared->space_gen);
        enum claim got = try_put(ring, record, n, &seq);

        if (got == CLAIM_OK && !atomic_load_explicit(&ring->broken, memory_order_relaxed))
            return seq;
        if (got != CLAIM_FULL || !wait_space(ring, gen)) {
            atomic_fetch_add(&ring->shared->dropped, 1);
            return AUDIT_NOT_LOGGED;
        }
    }
}

bool audit_failed(const struct audit_ring *ring)
{
    return atomic_load_explicit(&ring->shared->failed, memory_order_acquire) != 0 ||
           atomic_load_explicit(&ring->shared->head, memory_order_relaxed) & RING_CLOSED ||
           atomic_load_explicit(&ring->broken, memory_order_relaxed);
}

enum audit_state audit_state(const struct audit_ring *ring)
{
    if (audit_failed(ring))
        return AUDIT_FAILED;
    switch (atomic_load_explicit(&ring->shared->room, memory_order_acquire)) {
    case RING_ROOM:
        return AUDIT_READY;
    case RING_ROOM_REFUSE:
        return AUDIT_RESERVED;
    case RING_ROOM_WAIT:
        return AUDIT_WAITING;
    default:
        return AUDIT_BLOCKED;
    }
}

void audit_wait_room(struct audit_ring *ring, unsigned timeout_ms)
{
    struct ring_shared *s = ring->shared;
    uint32_t gen;

    atomic_fetch_add(&s->space_waiters, 1);
    gen = atomic_load(&s->space_gen);
    if (atomic_load(&s->room) != RING_ROOM && !audit_failed(ring))
        ring_futex_wait(&s->space_gen, gen, timeout_ms);
    atomic_fetch_sub(&s->space_waiters, 1);
    if (ring->worker && ring_other_dead(ring))
        atomic_store(&s->failed, RING_NO_SUPERVISOR);
}

int audit_lifeline_fd(const struct audit_ring *ring)
{
    return ring->lifeline[1];
}

/* ---- audit_wait ---- */

static int failed_error(const struct audit_ring *ring, uint32_t failed, struct vd_err *err)
{
    if (atomic_load(&ring->broken))
        return vd_fail(err, VD_EAUDIT, "audit log: a page of ring.wal cannot be had");
    if (failed == RING_NO_SUPERVISOR)
        return vd_fail(err, VD_EAUDIT, "audit log: the process that writes it has ended");
    return vd_fail_errno(err, VD_EAUDIT, (int)failed, "audit log: cannot be written");
}

/* Asks that everything below `end` becomes durable. */
static void raise_want(struct ring_shared *s, uint64_t end)
{
    uint64_t want = atomic_load(&s->want);

    while (want < end && !atomic_compare_exchange_weak(&s->want, &want, end))
        ;
}

static uint64_t durable_end(const struct audit_ring *ring)
{
    return atomic_load(ring->worker ? &ring->shared->durable : &ring->own_durable);
}

static void wait_once(struct audit_ring *ring, uint64_t seq)
{
    struct ring_shared *s = ring->shared;
    uint32_t gen;

    if (seals_inline(ring)) {
        audit_writer_inline(ring->writer);
        return;
    }
    atomic_fetch_add(&s->durable_waiters, 1);
    gen = atomic_load(&s->durable_gen);
    ring_wake_writer(ring);
    if (durable_end(ring) <= seq && !atomic_load(&s->failed))
        ring_futex_wait(&s->durable_gen, gen, WAIT_SLICE_MS);
    atomic_fetch_sub(&s->durable_waiters, 1);
    if (ring->worker && durable_end(ring) <= seq && ring_other_dead(ring))
        atomic_store(&s->failed, RING_NO_SUPERVISOR);
}

int audit_wait(struct audit_ring *ring, uint64_t seq, struct vd_err *err)
{
    struct ring_shared *s = ring->shared;
    uint64_t start = audit_clock_ns(CLOCK_MONOTONIC);

    if (seq == AUDIT_NOT_LOGGED)
        return vd_fail(err, VD_EAUDIT, "audit log: the event could not be recorded");
    raise_want(s, seq + 1);
    while (durable_end(ring) <= seq) {
        uint32_t failed = atomic_load(&s->failed);

        if (failed || atomic_load(&ring->broken))
            return failed_error(ring, failed, err);
        if (audit_clock_ns(CLOCK_MONOTONIC) - start > WAIT_MAX_NS)
            return vd_fail(err, VD_EAUDIT, "audit log: record %llu was not on the disk after 60 s",
                           (unsigned long long)seq);
        wait_once(ring, seq);
    }
    return 0;
}
