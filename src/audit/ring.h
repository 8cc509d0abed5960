/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring between audit_log and the audit thread; private to src/audit.
 *
 *          tail            cursor (writer's own)         head
 *   ───────┼────────────────┼─────────────────────────────┼──────────▶ sequence numbers (slots)
 *   free    in the frame,    committed or claimed          free
 *           not written yet
 *
 * Producers claim [head, head + n) by compare-and-swap, never past tail + n_slots, mark the first
 * slot as claimed, copy the record and store its commit word last.  Only the writer moves `tail`,
 * after the records are in the segment file; it zeroes the first word of every slot it frees, so
 * an old commit word or payload can never be taken for a new record.
 *
 * The shared part is written by the worker too, and the worker may have been taken over by hostile
 * evidence: the writer keeps its own copies of cursor and tail, copies a record before it checks
 * it, and treats every number read from here as untrusted.
 */
#ifndef VD_AUDIT_RING_H
#define VD_AUDIT_RING_H

#include "audit/audit.h"

#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>

#define RING_CLOSED    (UINT64_C(1) << 63) /* bit of `head`: no more claims */
#define RING_MIN_SLOTS 1024                /* several of the largest record (256 slots) */
#define RING_MAX_SLOTS (UINT64_C(1) << 26) /* 4 GiB */

/* Slots of one frame: what fits into AUDIT_MAX_FRAME. */
#define FRAME_SLOTS ((AUDIT_MAX_FRAME - AUDIT_FRAME_HEADER) / AUDIT_SLOT)

/* What the writer does, seen by producers that may have to wake it. */
enum ring_sleep { RING_AWAKE = 0, RING_NAP = 1, RING_IDLE = 2 };

/* `failed`: 0, an errno, or this: the supervisor died. */
#define RING_NO_SUPERVISOR 0x10000u

/* `room`: is there space for the log? */
enum ring_room {
    RING_ROOM = 0,        /* yes */
    RING_ROOM_REFUSE = 1, /* only for critical records; accesses are refused … */
    RING_ROOM_WAIT = 2,   /* … or wait */
    RING_ROOM_NONE = 3    /* not even for those: all wait */
};

struct ring_shared {
    uint8_t fixed[AUDIT_W_STATE]; /* AUDIT_W_* */
    alignas(64) _Atomic uint64_t head;
    alignas(64) _Atomic uint64_t tail;
    alignas(64) _Atomic uint32_t sleeping; /* enum ring_sleep; futex of the writer */
    _Atomic uint32_t failed;
    _Atomic uint32_t room;                  /* enum ring_room; only the writer changes it */
    alignas(64) _Atomic uint32_t space_gen; /* futex of producers, counts moves of tail */
    _Atomic uint32_t space_waiters;
    alignas(64) _Atomic uint64_t durable; /* records below are on the disk */
    _Atomic uint64_t want;                /* audit_wait asks that records below become so */
    _Atomic uint32_t durable_gen;         /* futex of audit_wait, counts syncs */
    _Atomic uint32_t durable_waiters;
    alignas(64) _Atomic uint64_t dropped; /* events that got AUDIT_NOT_LOGGED */
};
_Static_assert(sizeof(struct ring_shared) <= AUDIT_W_PLACE, "fits the header");

/* Each process has its own copy. */
struct audit_ring {
    struct ring_shared *shared;
    uint8_t *slots;
    uint64_t n_slots; /* power of two */
    size_t map_bytes;
    bool worker;
    /* A socket pair, one end per process; before fork both ends are here.  End of file on one's own
     * end: the other process is dead. */
    int lifeline[2]; /* [0] supervisor's, [1] worker's */
    /* Supervisor only: held from claim to commit, so that the writer, holding it, knows that
     * every claim that is open belongs to the worker. */
    pthread_mutex_t lock;
    /* Supervisor only: what `durable` of the shared part says there, out of the worker's reach. */
    _Atomic uint64_t own_durable;
    struct audit_writer *writer; /* supervisor only, until audit_start: nobody else would seal */
    pid_t writer_pid;
    _Atomic bool broken; /* a page of the file could not be had: see sigbus.c */
};

/* Maps `fd`, a file of AUDIT_RING_HEADER + n_slots * AUDIT_SLOT bytes, and fills the header. */
int ring_init(struct audit_ring *ring, int fd, uint64_t n_slots, const uint8_t session[16],
              struct vd_err *err);
void ring_clear(struct audit_ring *ring);

/* The commit word of the slot of `seq`, in host order (acquire). */
uint64_t ring_word(const struct audit_ring *ring, uint64_t seq);
static inline bool ring_committed(const struct audit_ring *ring, uint64_t seq)
{
    return ring_word(ring, seq) == seq + 1;
}

/* Copies n slots from `seq` on. */
void ring_copy_out(const struct audit_ring *ring, uint64_t seq, size_t n, uint8_t *out);
/* Zeroes the first word of each slot in [from, to). */
void ring_wipe(struct audit_ring *ring, uint64_t from, uint64_t to);
/* Where claims end, at most n_slots behind `tail` whatever the shared number says. */
uint64_t ring_head(const struct audit_ring *ring, uint64_t tail);
/* Has the process at the other end of the lifeline died?  One system call. */
bool ring_other_dead(const struct audit_ring *ring);
/* Puts the event into the ring if there is room now; AUDIT_NOT_LOGGED otherwise. */
uint64_t ring_try_log(struct audit_ring *ring, const struct audit_event *event);

/* Futexes shared between processes.  wait: returns on wake, change, signal or after timeout_ms. */
void ring_futex_wait(_Atomic uint32_t *word, uint32_t value, unsigned timeout_ms);
void ring_futex_wake(_Atomic uint32_t *word, int n);
/* Moves a generation on and wakes who waits for that. */
void ring_wake_all(_Atomic uint32_t *gen, _Atomic uint32_t *waiters);
/* Wakes the writer if it sleeps at all. */
void ring_wake_writer(struct audit_ring *ring);

uint64_t audit_clock_ns(int clock);

/* sigbus.c: from here on a page of the ring's file that cannot be had (the file was cut short, its disk
 * is gone) sets `broken` instead of killing the process.  One ring per process; inherited by fork.
 * ring_unguard: not any more. */
int ring_guard(struct audit_ring *ring, struct vd_err *err);
void ring_unguard(const struct audit_ring *ring);

/* Seals and syncs what is committed, in this thread; used while there is no audit thread yet. */
void audit_writer_inline(struct audit_writer *writer);

#endif
