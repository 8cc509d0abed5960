/* SPDX-License-Identifier: Apache-2.0 */
/* Helpers for tests that run the process pair.  A worker is a forked process: it must not use
 * cmocka's assertions (they would go on with the tests in the wrong process) but check() below. */
#ifndef VD_TEST_PAIR_H
#define VD_TEST_PAIR_H

#include "proc/proc.h"
#include "testlib.h"

#include <stdatomic.h>

/* In a worker: fails the run with the text of the condition. */
#define check(cond)                                                                                \
    do {                                                                                           \
        if (!(cond))                                                                               \
            return vd_fail(err, VD_EDIFF, "line %d: not true: %s (errno %d)", __LINE__, #cond,     \
                           errno);                                                                 \
    } while (0)

/* Memory that all processes of a test share. */
struct shared {
    atomic_int ready; /* the worker has begun */
    atomic_int worker_pid;
    atomic_int go;
    atomic_int unmounts;     /* calls of the unmount call-back */
    atomic_llong unmount_ns; /* when it was called first */
    atomic_int value[8];
};

struct shared *shared_new(void);
void shared_free(struct shared *s);

/* A configuration with one directory. */
struct proc_config pair_config(const char *const *dir, proc_worker_fn *worker, void *arg);

long long now_ns(void);
/* Waits until *flag is not zero; false after `ms`. */
bool wait_for(atomic_int *flag, int ms);
/* proc_channel_identify without what it gives to watch. */
int identify(struct proc_channel *ch, pid_t pid, struct proc_identity *out, struct vd_err *err);
/* Open descriptors of this process. */
int count_fds(void);

/* Forks a process that waits for s->ready, sleeps `ms`, then sends `sig` to this process `times`
 * times, 50 ms apart.  Returns its id; reap it with join_child. */
pid_t signal_later(struct shared *s, int sig, int ms, int times);
void join_child(pid_t pid);

#endif
