/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proc_run: forks the worker, serves it, sees it end.
 *
 * One loop over four descriptors: signals (signalfd(2)), the worker's end (pidfd_open(2)), its
 * requests, and what the caller watches.  Signals are looked at first and one request is answered per turn, so a worker that
 * floods the channel cannot hold off a signal.
 *
 *   SIGINT, SIGTERM, SIGHUP, SIGQUIT
 *                             first: unmount, close the stop pipe, two seconds of grace, SIGKILL
 *                             second: SIGKILL at once
 *   result received           two seconds to end
 *   channel closed by worker  two seconds to end
 */
#include "proc/supervisor.h"

#include "base/cleanup.h"
#include "base/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define GRACE_NS         INT64_C(2000000000)
#define TICK_NS          INT64_C(1000000000)
#define REAP_MS          10000 /* SIGKILL works at once unless the kernel itself hangs */
#define MAX_DIRS         1024
#define DESCRIPTOR_SPARE 1024 /* wanted beside one per evidence file */

static int64_t now_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ---- setting up ---- */

static int open_dirs(struct supervisor *s, struct vd_err *err)
{
    const struct proc_config *c = s->config;
    int rc;

    if (c->n_dirs == 0 || c->n_dirs > MAX_DIRS)
        return vd_fail(err, VD_ELIMIT, "%u evidence directories; 1 to %d are possible", c->n_dirs,
                       MAX_DIRS);
    s->dirs = calloc(c->n_dirs, sizeof(int));
    if (!s->dirs)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    for (; s->n_dirs < c->n_dirs; s->n_dirs++) {
        rc = evidence_open_dir(c->dirs[s->n_dirs], &s->dirs[s->n_dirs], err);
        if (rc)
            return rc;
    }
    return 0;
}

/* A split disk has tens of thousands of files, which the worker keeps open.  As far as allowed. */
static void raise_descriptor_limit(void)
{
    const rlim_t wanted = VD_MAX_EVIDENCE + DESCRIPTOR_SPARE;
    struct rlimit limit, higher;

    if (getrlimit(RLIMIT_NOFILE, &limit))
        return;
    higher = limit;
    if (higher.rlim_max < wanted)
        higher.rlim_max = wanted;
    higher.rlim_cur = higher.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &higher) == 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

static int make_channel(struct supervisor *s, struct vd_err *err)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
        return vd_fail_errno(err, VD_EIO, errno, "cannot make the worker's channel");
    s->sock = pair[0];
    s->worker_sock = pair[1];
    if (pipe2(pair, O_CLOEXEC))
        return vd_fail_errno(err, VD_EIO, errno, "cannot make the stop pipe");
    s->stop_read = pair[0];
    s->stop_write = pair[1];
    return 0;
}

static int take_signals(struct supervisor *s, struct vd_err *err)
{
    struct sigaction child = {.sa_handler = SIG_DFL};
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGHUP);
    (void)sigaddset(&set, SIGQUIT);
    if (sigprocmask(SIG_BLOCK, &set, &s->old_mask))
        return vd_fail_errno(err, VD_EIO, errno, "cannot block signals");
    /* Whoever started the program may ignore SIGCHLD; then children vanish without a status. */
    (void)sigaction(SIGCHLD, &child, &s->old_child);
    s->masked = true;
    s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (s->signals < 0)
        return vd_fail_errno(err, VD_EIO, errno, "cannot receive signals");
    return 0;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

static int start_worker(struct supervisor *s, struct vd_err *err)
{
    pid_t self = getpid();
    int rc = 0;

    (void)fflush(NULL); /* or both processes would write what is buffered now */
    s->pid = fork();
    if (s->pid < 0)
        return vd_fail_errno(err, VD_EIO, errno, "cannot start the worker");
    if (s->pid == 0)
        worker_main(s, self);
    close_fd(&s->worker_sock);
    close_fd(&s->stop_read);
    s->pidfd = pidfd_open(s->pid, 0);
    if (s->pidfd < 0)
        rc = vd_fail_errno(err, VD_EIO, errno, "cannot watch the worker");
    if (rc == 0 && s->config->audit)
        rc = audit_start(s->config->audit, err);
    if (rc == 0 && s->config->forked)
        rc = s->config->forked(s->config->ctx, err);
    return rc;
}

static int set_up(struct supervisor *s, struct vd_err *err)
{
    int rc = open_dirs(s, err);

    raise_descriptor_limit();
    if (rc == 0)
        rc = make_channel(s, err);
    if (rc == 0)
        rc = take_signals(s, err);
    return rc ? rc : start_worker(s, err);
}

/* ---- the loop ---- */

static void kill_worker(struct supervisor *s)
{
    if (s->pid > 0) /* not reaped yet, so the number is still its own */
        (void)kill(s->pid, SIGKILL);
    s->deadline = 0;
}

/* Gives the worker two seconds from now, unless its time is running already. */
static void limit_time(struct supervisor *s)
{
    if (!s->deadline)
        s->deadline = now_ns() + GRACE_NS;
}

static void handle_signals(struct supervisor *s)
{
    struct signalfd_siginfo info;

    while (read(s->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (s->stop_signal) {
            s->killed = true;
            kill_worker(s);
            continue;
        }
        s->stop_signal = (int)info.ssi_signo;
        if (s->config->unmount)
            s->config->unmount(s->config->ctx);
        close_fd(&s->stop_write);
        limit_time(s);
    }
}

/* Receives one packet; false when there is none.  *out_end: the worker closed its end. */
static bool receive(struct supervisor *s, void *buf, size_t size, size_t *out_len, bool *out_end)
{
    int why = proc_packet_recv(s->sock, buf, size, out_len, NULL, NULL, false);

    /* Told once when the worker ended with unread answers; its packets come after that. */
    if (why == ECONNRESET)
        why = proc_packet_recv(s->sock, buf, size, out_len, NULL, NULL, false);
    *out_end = why == 0 ? *out_len == 0 : why != EAGAIN;
    return why == 0 && *out_len > 0;
}

/* A packet that is larger than any request arrives with its real length and is refused by it. */
static void handle_request(struct supervisor *s)
{
    struct proc_request rq;
    size_t len;
    bool end;

    if (receive(s, &rq, sizeof(rq), &len, &end))
        serve_packet(s, &rq, len);
    if (s->broken)
        kill_worker(s);
    if (end || s->broken)
        close_fd(&s->sock);
    if (end || s->has_result)
        limit_time(s);
}

/* Until what comes first: the deadline, or the next tick. */
static int wait_ms(const struct supervisor *s)
{
    int64_t at = s->deadline, left;

    if (s->config->tick && s->is_mounted && (!at || s->tick_at < at))
        at = s->tick_at;
    if (!at)
        return -1;
    left = at - now_ns();
    return left <= 0 ? 0 : (int)(left / 1000000 + 1);
}

static void tick(struct supervisor *s, bool event)
{
    if (!s->config->tick || !s->is_mounted || (!event && now_ns() < s->tick_at))
        return;
    s->config->tick(s->config->ctx);
    s->tick_at = now_ns() + TICK_NS;
}

static void end_patience(struct supervisor *s)
{
    if (!s->stop_signal && !s->has_result)
        s->broken = "it closed its channel and did not end";
    s->killed = true;
    kill_worker(s);
}

/* Until the worker has ended. */
static int serve_until_end(struct supervisor *s, struct vd_err *err)
{
    for (;;) {
        struct pollfd fds[] = {
            {.fd = s->signals, .events = POLLIN},
            {.fd = s->sock, .events = POLLIN},
            {.fd = s->pidfd, .events = POLLIN},
            {.fd = s->config->tick ? s->config->watch_fd : -1, .events = POLLPRI},
        };
        int n = poll(fds, 4, wait_ms(s));

        if (n < 0 && errno != EINTR)
            return vd_fail_errno(err, VD_EIO, errno, "cannot wait for the worker");
        if (n > 0 && fds[0].revents)
            handle_signals(s);
        if (n > 0 && fds[2].revents)
            return 0;
        if (n > 0 && fds[1].revents)
            handle_request(s);
        tick(s, n > 0 && fds[3].revents);
        if (s->deadline && now_ns() >= s->deadline)
            end_patience(s);
    }
}

/* ---- the end ---- */

/* The worker's last words may still lie in the socket. */
static void drain(struct supervisor *s)
{
    struct proc_request rq;
    size_t len;
    bool end;

    while (s->sock >= 0 && receive(s, &rq, sizeof(rq), &len, &end))
        serve_last_packet(s, &rq, len);
}

/* Reaps the worker; false when it does not end (hangs inside the kernel). */
static bool reap(struct supervisor *s, int *out_status)
{
    struct pollfd fd = {.fd = s->pidfd, .events = POLLIN};
    int64_t until = now_ns() + (int64_t)REAP_MS * 1000000;
    pid_t pid;

    while (s->pidfd >= 0 && poll(&fd, 1, REAP_MS) <= 0)
        if (now_ns() >= until)
            return false;
    do
        pid = waitpid(s->pid, out_status, 0);
    while (pid < 0 && errno == EINTR);
    s->pid = -1;
    return pid > 0;
}

static int describe_death(const struct supervisor *s, bool reaped, int status, struct vd_err *err)
{
    const char *name;

    if (s->broken)
        return vd_fail(err, VD_EIO, "the worker broke the protocol (%s) and was stopped",
                       s->broken);
    if (!reaped)
        return vd_fail(err, VD_EIO, "the worker does not end");
    if (WIFSIGNALED(status)) {
        name = sigabbrev_np(WTERMSIG(status));
        return vd_fail(err, VD_EIO, "the worker was killed by signal %d (SIG%s)", WTERMSIG(status),
                       name ? name : "?");
    }
    return vd_fail(err, VD_EIO, "the worker ended with exit code %d and without a result",
                   WEXITSTATUS(status));
}

static void log_death(const struct supervisor *s, const struct vd_err *err)
{
    const struct audit_field field = {AUDIT_T_TEXT, err->msg, strlen(err->msg)};
    const struct audit_event event = {
        .op = AUDIT_WORKER_DIED,
        .result = -EIO,
        .fields = &field,
        .n_fields = 1,
    };

    if (s->config->ring)
        (void)audit_log(s->config->ring, &event);
}

/* What became of it: the worker's own word, the user's will, or a death. */
static int conclude(struct supervisor *s, bool reaped, int status, struct vd_err *err)
{
    const char *name;
    struct vd_err death = VD_ERR_INIT;
    int rc;

    if (s->has_result && !s->broken) {
        if (err && s->result)
            *err = s->result_err;
        return s->result;
    }
    if (s->killed && s->stop_signal && !s->broken && reaped) {
        if (s->is_mounted)
            return 0; /* handles were still open: cut off, as asked */
        name = sigabbrev_np(s->stop_signal);
        return vd_fail(err, VD_EIO, "stopped by signal %d (SIG%s)", s->stop_signal,
                       name ? name : "?");
    }
    s->died = true;
    rc = describe_death(s, reaped, status, &death);
    log_death(s, &death);
    if (err)
        *err = death;
    return rc;
}

/* A signal that was not looked at any more must not kill the caller, who has a log to close. */
static void forget_signals(struct supervisor *s)
{
    struct signalfd_siginfo info;

    while (s->signals >= 0 && read(s->signals, &info, sizeof(info)) > 0)
        ;
}

static void clear(struct supervisor *s)
{
    unsigned i;

    forget_signals(s);
    close_fd(&s->sock);
    close_fd(&s->worker_sock);
    close_fd(&s->stop_read);
    close_fd(&s->stop_write);
    close_fd(&s->signals);
    close_fd(&s->pidfd);
    for (i = 0; i < s->n_dirs; i++)
        (void)close(s->dirs[i]);
    free(s->dirs);
    serve_clear(s);
    if (s->masked) {
        (void)sigaction(SIGCHLD, &s->old_child, NULL);
        (void)sigprocmask(SIG_SETMASK, &s->old_mask, NULL);
    }
    free(s);
}

static int run(struct supervisor *s, bool *out_died, struct vd_err *err)
{
    int status = 0, rc = set_up(s, err);
    bool reaped;

    if (rc == 0)
        rc = serve_until_end(s, err);
    if (rc) { /* our own failure: end the worker, keep the message */
        if (s->pid > 0) {
            kill_worker(s);
            (void)reap(s, &status);
        }
        return rc;
    }
    reaped = reap(s, &status);
    drain(s);
    rc = conclude(s, reaped, status, err);
    *out_died = s->died;
    return rc;
}

int proc_run(const struct proc_config *config, bool *out_died, struct vd_err *err)
{
    struct supervisor *s = calloc(1, sizeof(*s));
    bool died = false;
    int rc;

    if (!s)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    s->config = config;
    s->sock = s->worker_sock = s->stop_read = s->stop_write = s->signals = s->pidfd = -1;
    rc = run(s, &died, err);
    clear(s);
    if (out_died)
        *out_died = died;
    return rc;
}

int proc_standard_fds(struct vd_err *err)
{
    int want;

    for (want = 0; want <= 2; want++) {
        int fd;

        if (fcntl(want, F_GETFD) >= 0)
            continue;
        /* The lowest free number is `want`, since all below are open. */
        fd = open("/dev/null", want == 0 ? O_RDONLY : O_WRONLY);
        if (fd != want) {
            if (fd >= 0)
                (void)close(fd);
            return vd_fail_errno(err, VD_EIO, fd < 0 ? errno : EBADF, "cannot open descriptor %d",
                                 want);
        }
    }
    return 0;
}
