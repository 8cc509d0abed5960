/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who makes the requests.  Two tables of fixed size, so that no number of processes makes them grow:
 *
 *   threads    by the number that the kernel sends: whose it is, the marks (proc.h) by which a change
 *              is seen, the descriptors to see it with
 *   processes  by what they are: number, start time, program, name, terminal, ids.  Each has one
 *              AUDIT_PROC record, whichever of its threads asks, and keeps it when it takes another
 *              name and then the old one again.
 *
 * Why this is right: the sender of a request waits for its answer, so it lives and cannot execute
 * anything while it is asked about; a thread number in use is not given out again; and the
 * descriptors are bound to the thread, not to its number.  Only requests that nobody waits for
 * (read-ahead) can outlive their sender; those of the process that opened the file are still its own.
 *
 * The record is put into the ring under the lock of its set: nobody can use its number before it is
 * there, and no identity is recorded twice.
 */
#include "fuse/who.h"

#include "base/bytes.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LOCKS 16u

struct thread {
    uint32_t id; /* of its process; 0 = free */
    pid_t pid;
    uid_t uid;
    gid_t gid;
    uint64_t asked_us; /* the supervisor was asked */
    uint64_t seen_us;  /* looked at, and found the same … */
    uint64_t close_us; /* … closely: see struct who_request */
    int fds[PROC_WATCH_FDS];
    struct proc_mark mark;
};

struct process {
    uint32_t id; /* 0 = free */
    bool gone;   /* could not be asked about: only pid, uid, gid */
    uid_t uid;   /* as the request had them */
    gid_t gid;
    uint64_t used; /* for displacing the one that was not used for the longest time */
    struct proc_identity who;
};

struct who {
    struct proc_channel *channel;
    struct audit_ring *ring;
    atomic_uint next_id;
    pthread_mutex_t lock[LOCKS]; /* lock[i] guards the sets of threads with number % LOCKS == i */
    pthread_mutex_t process_lock[LOCKS]; /* likewise; never held together */
    struct thread thread[WHO_SETS][WHO_WAYS];
    struct process process[WHO_PROCESS_SETS][WHO_PROCESS_WAYS]; /* untouched pages cost nothing */
};

int who_new(struct proc_channel *channel, struct audit_ring *ring, struct who **out,
            struct vd_err *err)
{
    struct who *w = calloc(1, sizeof(*w));
    unsigned i;

    if (!w)
        return vd_fail(err, VD_ENOMEM, "no memory for the table of processes");
    w->channel = channel;
    w->ring = ring;
    atomic_init(&w->next_id, 1);
    for (i = 0; i < LOCKS; i++) {
        (void)pthread_mutex_init(&w->lock[i], NULL);
        (void)pthread_mutex_init(&w->process_lock[i], NULL);
    }
    *out = w;
    return 0;
}

static void close_watch(const struct thread *t)
{
    if (t->fds[PROC_WATCH_COMM] >= 0)
        (void)close(t->fds[PROC_WATCH_COMM]);
    if (t->fds[PROC_WATCH_STATM] >= 0)
        (void)close(t->fds[PROC_WATCH_STATM]);
}

static void thread_clear(struct thread *t)
{
    if (t->id)
        close_watch(t);
    memset(t, 0, sizeof(*t));
}

void who_free(struct who *w)
{
    unsigned i;

    if (!w)
        return;
    for (i = 0; i < WHO_SETS * WHO_WAYS; i++)
        thread_clear(&w->thread[i / WHO_WAYS][i % WHO_WAYS]);
    free(w);
}

static uint64_t now_us(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* ---- processes ---- */

static bool same_process(const struct process *p, const struct process *wanted)
{
    const struct proc_identity *a = &p->who, *b = &wanted->who;

    if (a->pid != b->pid || p->uid != wanted->uid || p->gid != wanted->gid ||
        p->gone != wanted->gone)
        return false;
    return p->gone || (a->start_time == b->start_time && a->login_uid == b->login_uid &&
                       a->session_id == b->session_id && strcmp(a->exe, b->exe) == 0 &&
                       strcmp(a->comm, b->comm) == 0 && strcmp(a->tty, b->tty) == 0);
}

static void log_process(struct who *w, const struct process *p)
{
    const struct proc_identity *who = &p->who;
    uint8_t pid[4], uid[4], gid[4], login[4], session[4], start[8];
    const struct audit_field fields[] = {
        {AUDIT_T_PID, pid, sizeof(pid)},
        {AUDIT_T_UID, uid, sizeof(uid)},
        {AUDIT_T_GID, gid, sizeof(gid)},
        {AUDIT_T_START, start, sizeof(start)},
        {AUDIT_T_LOGIN_UID, login, sizeof(login)},
        {AUDIT_T_SESSION_ID, session, sizeof(session)},
        {AUDIT_T_COMM, who->comm, strlen(who->comm)},
        {AUDIT_T_EXE, who->exe, strlen(who->exe)},
        {AUDIT_T_TTY, who->tty, strlen(who->tty)},
    };
    struct audit_event event = {
        .op = AUDIT_PROC,
        .off = p->id,
        .flags = p->gone ? AUDIT_F_NO_PROC : 0,
        .fields = fields,
        .n_fields = p->gone ? 3 : sizeof(fields) / sizeof(fields[0]),
    };

    if (!p->gone && !who->tty[0])
        event.n_fields--;
    vd_put_le32(pid, who->pid);
    vd_put_le32(uid, p->uid);
    vd_put_le32(gid, p->gid);
    vd_put_le32(login, who->login_uid);
    vd_put_le32(session, who->session_id);
    vd_put_le64(start, who->start_time);
    (void)audit_log(w->ring, &event);
}

/* The number of the process that `wanted` describes; a new one gets a record. */
static uint32_t process_number(struct who *w, struct process *wanted)
{
    const unsigned number = wanted->who.pid % WHO_PROCESS_SETS;
    struct process *set = w->process[number], *p = NULL, *oldest = &set[0];
    pthread_mutex_t *lock = &w->process_lock[number % LOCKS];
    uint32_t id;
    unsigned i;

    (void)pthread_mutex_lock(lock);
    for (i = 0; i < WHO_PROCESS_WAYS && !p; i++) {
        if (set[i].id && same_process(&set[i], wanted))
            p = &set[i];
        else if (!set[i].id || (oldest->id && set[i].used < oldest->used))
            oldest = &set[i];
    }
    if (!p) {
        p = oldest;
        *p = *wanted;
        p->id = atomic_fetch_add(&w->next_id, 1);
        log_process(w, p);
    }
    p->used = now_us();
    id = p->id;
    (void)pthread_mutex_unlock(lock);
    return id;
}

/* ---- threads ---- */

/* The entry of this sender, or NULL.  Lock held. */
static struct thread *find(struct thread *set, const struct who_request *r)
{
    unsigned i;

    for (i = 0; i < WHO_WAYS; i++)
        if (set[i].id && set[i].pid == r->pid && set[i].uid == r->uid && set[i].gid == r->gid)
            return &set[i];
    return NULL;
}

/* A free entry, or the one that was not seen for the longest time.  Lock held. */
static struct thread *victim(struct thread *set)
{
    struct thread *oldest = &set[0];
    unsigned i;

    for (i = 0; i < WHO_WAYS; i++) {
        if (!set[i].id)
            return &set[i];
        if (set[i].seen_us < oldest->seen_us)
            oldest = &set[i];
    }
    return oldest;
}

/* What is known without asking. */
struct known {
    uint32_t id;   /* it is this one; 0 = ask */
    uint32_t last; /* it has ended: who had the number a moment ago, 0 = nobody … */
    bool opened;   /* … and that one opened the file that the request is about */
};

/* Lock held. */
static struct known look(struct thread *t, const struct who_request *r)
{
    const uint64_t now = now_us();
    const bool own = r->opener == t->id; /* reads what it opened itself */
    const bool closely = !own && now >= t->close_us + WHO_FRESH_US;
    const bool expired = now >= t->asked_us + WHO_TTL_MS * UINT64_C(1000);
    struct known known = {0};

    if (own && !expired && now < t->seen_us + WHO_FRESH_US) {
        known.id = t->id;
        return known;
    }
    switch (proc_mark_look(t->fds, &t->mark, closely)) {
    case PROC_LOOK_SAME:
        t->seen_us = now;
        if (closely)
            t->close_us = now;
        known.id = expired ? 0 : t->id;
        break;
    case PROC_LOOK_CHANGED:
        break;
    case PROC_LOOK_DEAD:
        if (now < t->seen_us + WHO_DEAD_MS * UINT64_C(1000)) {
            known.last = t->id;
            known.opened = r->opener == t->id;
        }
        break;
    }
    return known;
}

static void watch(struct who *w, const struct who_request *r, const struct thread *fresh)
{
    const unsigned number = (unsigned)r->pid % WHO_SETS;
    pthread_mutex_t *lock = &w->lock[number % LOCKS];
    struct thread *t;

    (void)pthread_mutex_lock(lock);
    t = find(w->thread[number], r);
    if (!t)
        t = victim(w->thread[number]);
    thread_clear(t);
    *t = *fresh;
    (void)pthread_mutex_unlock(lock);
}

/* The sender has ended.  What the process that opened the file left under way is its own; only
 * when somebody else has its number now, it could be that one's. */
static uint32_t take_last(const struct known *known, bool gone, uint8_t *out_flags)
{
    if (!known->opened || !gone)
        *out_flags = AUDIT_F_NO_PROC;
    return known->last;
}

/* Asks the supervisor. */
static uint32_t ask(struct who *w, const struct who_request *r, const struct known *known,
                    uint8_t *out_flags)
{
    struct process p = {.uid = r->uid, .gid = r->gid};
    struct thread t = {.pid = r->pid, .uid = r->uid, .gid = r->gid};

    p.gone = r->pid <= 0 || proc_channel_identify(w->channel, r->pid, &p.who, t.fds, NULL) != 0;
    if (known->last && (p.gone || known->opened)) {
        if (!p.gone)
            close_watch(&t);
        return take_last(known, p.gone, out_flags);
    }
    if (p.gone) {
        *out_flags = AUDIT_F_NO_PROC;
        memset(&p.who, 0, sizeof(p.who));
        p.who.pid = r->pid > 0 ? (uint32_t)r->pid : 0;
        return process_number(w, &p);
    }
    t.id = process_number(w, &p);
    t.asked_us = t.seen_us = t.close_us = now_us();
    t.mark = p.who.mark;
    if (t.fds[PROC_WATCH_COMM] >= 0) /* no room for descriptors: asked about every time */
        watch(w, r, &t);
    return t.id;
}

uint32_t who_resolve(struct who *w, const struct who_request *request, uint8_t *out_flags)
{
    const unsigned number = (unsigned)request->pid % WHO_SETS;
    pthread_mutex_t *lock = &w->lock[number % LOCKS];
    struct known known = {0};
    struct thread *t;

    *out_flags = 0;
    (void)pthread_mutex_lock(lock);
    t = request->pid > 0 ? find(w->thread[number], request) : NULL;
    if (t)
        known = look(t, request);
    (void)pthread_mutex_unlock(lock);
    return known.id ? known.id : ask(w, request, &known, out_flags);
}
