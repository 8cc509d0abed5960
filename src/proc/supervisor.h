/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of proc_run; for the files of this folder. */
#ifndef VD_PROC_SUPERVISOR_H
#define VD_PROC_SUPERVISOR_H

#include "proc/message.h"
#include "proc/seen.h"

#include <signal.h>

/* What the supervisor knows.  One thread (the audit thread does not see it). */
struct supervisor {
    const struct proc_config *config;
    int *dirs; /* descriptors of the evidence directories */
    unsigned n_dirs;

    int sock, worker_sock; /* the two ends of the channel */
    int stop_read, stop_write;
    int signals, pidfd;
    sigset_t old_mask; /* the caller's */
    struct sigaction old_child;
    bool masked;

    pid_t pid;
    int stop_signal;    /* the first one received, 0 = none */
    int64_t deadline;   /* CLOCK_MONOTONIC ns after which the worker is killed; 0 = none */
    int64_t tick_at;    /* CLOCK_MONOTONIC ns: when the caller is to be called */
    bool killed;        /* by us, because it was told to stop */
    bool died;          /* without a result and not as asked */
    const char *broken; /* how it broke the protocol, NULL = it did not */
    bool has_mount, is_mounted;

    bool has_result;
    int result;
    struct vd_err result_err;

    /* requests */
    struct seen seen;
    char **names; /* the listing under way */
    size_t n_names;
    unsigned names_dir;
    struct proc_reply reply;
};

/* Answers one packet of `len` bytes from the worker (serve.c). */
void serve_packet(struct supervisor *s, const void *bytes, size_t len);

/* Only looks for a result (the worker has ended). */
void serve_last_packet(struct supervisor *s, const void *bytes, size_t len);

/* Releases what requests allocated. */
void serve_clear(struct supervisor *s);

/* The worker's side of the fork (worker.c); ends the process.  `supervisor_pid` is who made it. */
_Noreturn void worker_main(struct supervisor *s, pid_t supervisor_pid);

#endif
