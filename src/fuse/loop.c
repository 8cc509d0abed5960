/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop.  Instead of libfuse's own: that one ends its threads with pthread_cancel, which loads a
 * library (libgcc_s) at that moment; the sandbox allows no opening of files, and the C library then
 * aborts.  Here a thread that waits for a request is woken by a signal that does nothing else, and
 * ends by itself.
 *
 * One thread at the start; whoever takes a request while no other thread waits for one starts the
 * next, up to the limit.  Threads are never ended early: starting them is what costs.  When a
 * thread cannot be started the others go on.
 *
 * A request that waits for space for the log (audit_full=block) does not count for the limit, and one
 * thread more is there before it waits: the kernel tells that a caller was interrupted by a request.
 */
#include "fuse/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#define WAKE_SIGNAL SIGUSR1
#define WAKE_MS     10

struct pool {
    struct server *server;
    struct fuse_session *session;
    unsigned max;
    int ended[2];        /* pipe: a thread that ends writes a byte */
    atomic_uint waiting; /* threads that wait for a request */
    atomic_uint running;
    atomic_int error;     /* errno of a failed read of /dev/fuse */
    pthread_mutex_t lock; /* guards what follows */
    bool stopping;
    unsigned n;
    pthread_t thread[LOOP_MAX_THREADS];
};

static void on_wake(int signal)
{
    (void)signal; /* interrupting a read is all it is for */
}

static void *serve_requests(void *arg);

static unsigned pool_limit(const struct pool *p)
{
    unsigned limit = p->max + atomic_load(&p->server->waiting);

    return limit < LOOP_MAX_THREADS ? limit : LOOP_MAX_THREADS;
}

/* Starts one more thread if there may be one. */
static int pool_grow(struct pool *p)
{
    int rc = 0;

    (void)pthread_mutex_lock(&p->lock);
    if (!p->stopping && p->n < pool_limit(p)) {
        atomic_fetch_add(&p->running, 1);
        rc = pthread_create(&p->thread[p->n], NULL, serve_requests, p);
        if (rc == 0)
            p->n++;
        else
            atomic_fetch_sub(&p->running, 1);
    }
    (void)pthread_mutex_unlock(&p->lock);
    return rc;
}

/* FORGETs come in bursts and are done at once: no reason for another thread. */
static bool is_forget(const struct fuse_buf *buf)
{
    const struct fuse_in_header *in = buf->mem;

    return in->opcode == FUSE_FORGET || in->opcode == FUSE_BATCH_FORGET;
}

/* A thread is about to wait for space. */
static void keep_listening(void *ctx)
{
    struct pool *p = ctx;

    if (atomic_load(&p->waiting) == 0)
        (void)pool_grow(p);
}

static void *serve_requests(void *arg)
{
    struct pool *p = arg;
    struct fuse_buf buf = {.mem = NULL}; /* libfuse allocates it with the first request */

    while (!fuse_session_exited(p->session)) {
        unsigned others;
        int got;

        atomic_fetch_add(&p->waiting, 1);
        got = fuse_session_receive_buf(p->session, &buf);
        others = atomic_fetch_sub(&p->waiting, 1) - 1;
        if (got == -EINTR || got == -EAGAIN)
            continue;
        if (got <= 0) { /* 0: unmounted */
            if (got < 0)
                atomic_store(&p->error, -got);
            fuse_session_exit(p->session);
            break;
        }
        if (others == 0 && !is_forget(&buf))
            (void)pool_grow(p);
        if (!op_unknown(p->server, &buf))
            fuse_session_process_buf(p->session, &buf);
    }
    free(buf.mem);
    atomic_fetch_sub(&p->running, 1);
    while (write(p->ended[1], "", 1) < 0 && errno == EINTR)
        ;
    return NULL;
}

/* Waits for the first thread to end, or for stop_fd; was it stop_fd? */
static bool wait_for_end(const struct pool *p, int stop_fd)
{
    struct pollfd fds[2] = {{.fd = stop_fd, .events = POLLIN},
                            {.fd = p->ended[0], .events = POLLIN}};

    while (poll(fds, 2, -1) < 0 && errno == EINTR)
        ;
    return fds[0].revents && !fds[1].revents;
}

/* Wakes the threads until all have ended: one signal could come just before its thread waits. */
static void pool_end(struct pool *p)
{
    unsigned i;

    fuse_session_exit(p->session);
    (void)pthread_mutex_lock(&p->lock);
    p->stopping = true; /* n no longer changes */
    (void)pthread_mutex_unlock(&p->lock);
    while (atomic_load(&p->running)) {
        for (i = 0; i < p->n; i++)
            (void)pthread_kill(p->thread[i], WAKE_SIGNAL);
        (void)poll(NULL, 0, WAKE_MS);
    }
    for (i = 0; i < p->n; i++)
        (void)pthread_join(p->thread[i], NULL);
}

/* The threads take WAKE_SIGNAL and leave those that end the program to the main thread. */
static int set_signals(sigset_t *out_before)
{
    struct sigaction wake = {.sa_handler = on_wake}; /* no SA_RESTART */
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, WAKE_SIGNAL);
    if (sigaction(WAKE_SIGNAL, &wake, NULL) != 0 || pthread_sigmask(SIG_UNBLOCK, &set, NULL) != 0)
        return errno;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGHUP);
    (void)sigaddset(&set, SIGQUIT);
    return pthread_sigmask(SIG_BLOCK, &set, out_before);
}

int loop_run(struct server *s, unsigned threads, int stop_fd, bool *out_stopped, struct vd_err *err)
{
    struct pool *p = calloc(1, sizeof(*p));
    sigset_t before;
    int rc;

    if (!p)
        return vd_fail(err, VD_ENOMEM, "no memory for the threads");
    p->server = s;
    p->session = s->session;
    p->max = threads;
    s->will_wait = keep_listening;
    s->will_wait_ctx = p;
    (void)pthread_mutex_init(&p->lock, NULL);
    if (pipe2(p->ended, O_CLOEXEC | O_NONBLOCK) != 0) {
        rc = errno;
        free(p);
        return vd_fail_errno(err, VD_EMOUNT, rc, "making a pipe");
    }
    rc = set_signals(&before);
    if (!rc)
        rc = pool_grow(p);
    if (!rc) {
        *out_stopped = wait_for_end(p, stop_fd);
        pool_end(p);
        rc = atomic_load(&p->error);
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    s->will_wait = NULL;
    (void)close(p->ended[0]);
    (void)close(p->ended[1]);
    (void)pthread_mutex_destroy(&p->lock);
    free(p);
    return rc ? vd_fail_errno(err, VD_EMOUNT, rc, "serving the mount") : 0;
}
