/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's side of the fork: cuts the process off from everything but its channel, enters the
 * sandbox, runs the work, reports, ends.  It ends with _exit: nothing of the supervisor's (exit
 * handlers, temporary files) may run twice.
 */
#include "proc/channel.h"
#include "proc/sandbox.h"
#include "proc/supervisor.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* The worker never outlives the supervisor: nobody would be left to unmount. */
static void die_with_supervisor(pid_t supervisor_pid)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (getppid() != supervisor_pid) /* it died before the line above */
        _exit(1);
}

/* A terminal's Ctrl-C or Ctrl-\ reaches the whole group; only the supervisor may act on it. */
static void set_signals(const sigset_t *mask)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};

    (void)sigaction(SIGINT, &ignore, NULL);
    (void)sigaction(SIGTERM, &ignore, NULL);
    (void)sigaction(SIGHUP, &ignore, NULL);
    (void)sigaction(SIGQUIT, &ignore, NULL);
    (void)sigaction(SIGPIPE, &ignore, NULL);
    (void)sigprocmask(SIG_SETMASK, mask, NULL);
}

static int compare_fds(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* Closes every descriptor but 0–2 and those in `keep` (-1: none; the array is sorted here). */
static int close_others(int *keep, size_t n, struct vd_err *err)
{
    unsigned from = 3;
    size_t i;

    qsort(keep, n, sizeof(*keep), compare_fds);
    for (i = 0; i < n; i++) {
        if (keep[i] < 3)
            continue;
        if ((unsigned)keep[i] > from && close_range(from, (unsigned)keep[i] - 1, 0))
            return vd_fail_errno(err, VD_EIO, errno, "cannot close descriptors");
        from = (unsigned)keep[i] + 1;
    }
    if (close_range(from, ~0u, 0))
        return vd_fail_errno(err, VD_EIO, errno, "cannot close descriptors");
    return 0;
}

static int confine(struct supervisor *s, pid_t supervisor_pid, struct proc_channel *channel,
                   struct vd_err *err)
{
    const struct rlimit no_core = {0, 0}; /* memory holds keys and evidence */
    int keep[3 + PROC_MAX_KEEP_FD] = {
        channel->sock,
        channel->stop_fd,
        s->config->ring ? audit_lifeline_fd(s->config->ring) : -1,
    };
    size_t n = 3, i;
    int rc;

    for (i = 0; i < s->config->n_keep_fd; i++) {
        if (n == sizeof(keep) / sizeof(keep[0]))
            return vd_fail(err, VD_ELIMIT, "more than %d descriptors to keep", PROC_MAX_KEEP_FD);
        keep[n++] = s->config->keep_fd[i];
    }
    if (s->config->audit)
        audit_forget_writer(s->config->audit);
    rc = close_others(keep, n, err);
    if (rc)
        return rc;
    (void)umask(077);
    (void)setrlimit(RLIMIT_CORE, &no_core);
    (void)prctl(PR_SET_NAME, "vdiskfs-worker", 0, 0, 0);
    rc = proc_sandbox_enter(s->config->sandbox, channel->sandbox, sizeof(channel->sandbox), err);
    if (rc)
        return rc;
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    die_with_supervisor(supervisor_pid); /* a change of credentials can have cleared it */
    return 0;
}

void worker_main(struct supervisor *s, pid_t supervisor_pid)
{
    struct proc_channel *channel = NULL;
    struct vd_err err = VD_ERR_INIT;
    int rc;

    die_with_supervisor(supervisor_pid);
    set_signals(&s->old_mask);
    rc = proc_channel_new(s->worker_sock, s->stop_read, s->n_dirs, &channel, &err);
    if (rc)
        _exit(1); /* told as "ended without a result" */
    rc = confine(s, supervisor_pid, channel, &err);
    if (rc == 0)
        rc = s->config->worker(channel, s->config->arg, &err);
    (void)fflush(NULL); /* before the result: what was printed must be out when the program ends */
    (void)proc_channel_result(channel, rc, &err, NULL);
    _exit(0);
}
