/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cache of process identities.  A set-associative table of fixed size, so that no number of
 * processes makes it grow.  A process keeps its AUDIT_PROC number as long as its number, start
 * time, program, name and the ids that the kernel sent are the same; anything else is a new record.
 *
 * The record is put into the ring under the set's lock: nobody can use its number before it is
 * there, and no identity is recorded twice.
 */
#include "fuse/who.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LOCKS 16u

struct known {
    uint32_t id; /* 0 = free */
    pid_t pid;
    uid_t uid;
    gid_t gid;
    uint64_t checked_ms;
    bool gone; /* could not be asked about */
    uint64_t start_time;
    char comm[32];
    char exe[512];
};

struct who {
    struct proc_channel *channel;
    struct audit_ring *ring;
    atomic_uint next_id;
    pthread_mutex_t lock[LOCKS];            /* lock[i] guards the sets with number % LOCKS == i */
    struct known known[WHO_SETS][WHO_WAYS]; /* untouched pages cost no memory */
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
    for (i = 0; i < LOCKS; i++)
        (void)pthread_mutex_init(&w->lock[i], NULL);
    *out = w;
    return 0;
}

void who_free(struct who *w)
{
    free(w);
}

static uint64_t now_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* The entry of this sender, or NULL.  Lock held. */
static struct known *find(struct known *set, const struct who_request *r)
{
    unsigned i;

    for (i = 0; i < WHO_WAYS; i++)
        if (set[i].id && set[i].pid == r->pid && set[i].uid == r->uid && set[i].gid == r->gid)
            return &set[i];
    return NULL;
}

/* A free entry, or the one that was not confirmed for the longest time.  Lock held. */
static struct known *victim(struct known *set)
{
    struct known *oldest = &set[0];
    unsigned i;

    for (i = 0; i < WHO_WAYS; i++) {
        if (!set[i].id)
            return &set[i];
        if (set[i].checked_ms < oldest->checked_ms)
            oldest = &set[i];
    }
    return oldest;
}

static bool same(const struct known *k, const struct proc_identity *who, bool gone)
{
    if (k->gone || gone)
        return k->gone == gone;
    return k->start_time == who->start_time && strcmp(k->exe, who->exe) == 0 &&
           strcmp(k->comm, who->comm) == 0;
}

static void put_u32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
    p[2] = (uint8_t)(v >> 16);
    p[3] = (uint8_t)(v >> 24);
}

static void log_process(struct who *w, const struct known *k, const struct proc_identity *who)
{
    uint8_t pid[4], uid[4], gid[4], login[4], session[4], start[8];
    const struct audit_field fields[] = {
        {AUDIT_T_PID, pid, sizeof(pid)},           {AUDIT_T_UID, uid, sizeof(uid)},
        {AUDIT_T_GID, gid, sizeof(gid)},           {AUDIT_T_START, start, sizeof(start)},
        {AUDIT_T_LOGIN_UID, login, sizeof(login)}, {AUDIT_T_SESSION_ID, session, sizeof(session)},
        {AUDIT_T_COMM, k->comm, strlen(k->comm)},  {AUDIT_T_EXE, k->exe, strlen(k->exe)},
    };
    const struct audit_event event = {
        .op = AUDIT_PROC,
        .off = k->id,
        .flags = k->gone ? AUDIT_F_NO_PROC : 0,
        .fields = fields,
        .n_fields = k->gone ? 3 : sizeof(fields) / sizeof(fields[0]),
    };

    put_u32(pid, (uint32_t)k->pid);
    put_u32(uid, k->uid);
    put_u32(gid, k->gid);
    put_u32(login, who->login_uid);
    put_u32(session, who->session_id);
    put_u32(start, (uint32_t)who->start_time);
    put_u32(start + 4, (uint32_t)(who->start_time >> 32));
    (void)audit_log(w->ring, &event);
}

static void remember(struct who *w, struct known *k, const struct who_request *r,
                     const struct proc_identity *who, bool gone)
{
    memset(k, 0, sizeof(*k));
    k->id = atomic_fetch_add(&w->next_id, 1);
    k->pid = r->pid;
    k->uid = r->uid;
    k->gid = r->gid;
    k->gone = gone;
    if (!gone) {
        k->start_time = who->start_time;
        memcpy(k->comm, who->comm, sizeof(k->comm));
        k->comm[sizeof(k->comm) - 1] = '\0';
        memcpy(k->exe, who->exe, sizeof(k->exe));
        k->exe[sizeof(k->exe) - 1] = '\0';
    }
    log_process(w, k, who);
}

uint32_t who_resolve(struct who *w, const struct who_request *request, uint8_t *out_flags)
{
    const unsigned number = (unsigned)request->pid % WHO_SETS;
    struct known *set = w->known[number], *k;
    pthread_mutex_t *lock = &w->lock[number % LOCKS];
    struct proc_identity who = {0};
    uint64_t now = now_ms();
    uint32_t id = 0;
    bool gone;

    *out_flags = 0;
    if (request->pid <= 0) {
        *out_flags = AUDIT_F_NO_PROC;
        return 0;
    }
    (void)pthread_mutex_lock(lock);
    k = find(set, request);
    if (k && now < k->checked_ms + WHO_TTL_MS) {
        id = k->id;
        *out_flags = k->gone ? AUDIT_F_NO_PROC : 0;
    }
    (void)pthread_mutex_unlock(lock);
    if (id)
        return id;

    gone = proc_channel_identify(w->channel, request->pid, &who, NULL) != 0;

    (void)pthread_mutex_lock(lock);
    k = find(set, request); /* another thread may have been faster */
    if (!k || !same(k, &who, gone)) {
        if (!k)
            k = victim(set);
        remember(w, k, request, &who, gone);
    }
    k->checked_ms = now_ms();
    id = k->id;
    *out_flags = k->gone ? AUDIT_F_NO_PROC : 0;
    (void)pthread_mutex_unlock(lock);
    return id;
}
