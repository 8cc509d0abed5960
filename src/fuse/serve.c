/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The session: /dev/fuse from the supervisor, libfuse's multi-threaded loop, the end.
 *
 * The worker can open nothing, so the descriptor comes mounted from the supervisor and is given to
 * libfuse as /dev/fd/N, which it takes as "already mounted".  (It also tries /dev/null to make sure
 * of descriptors 0-2; the sandbox refuses that and libfuse goes on.)
 *
 * The end comes in one of two ways: the mount is gone (read of /dev/fuse gives ENODEV) and the loop
 * ends by itself; or the stop descriptor becomes readable.  Then a thread marks the session as
 * ended and sends the main thread, which waits on a semaphore inside libfuse, a signal that does
 * nothing but interrupt, until the loop has ended.
 */
#include "fuse/server.h"

#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define DEFAULT_THREADS 16u
#define MAX_THREADS     512u

/* Requests that the kernel may have in flight in the background (read-ahead, asynchronous direct
 * reads); the kernel's own default of 12 would leave threads idle. */
#define BACKGROUND_PER_THREAD 2u
#define MIN_BACKGROUND        12u

#define WAKE_SIGNAL SIGUSR1
#define WAKE_MS     10

/* ---- INIT
 * ---------------------------------------------------------------------------------------- */

static unsigned threads_of(const struct serve_config *config)
{
    unsigned n = config->threads ? config->threads : DEFAULT_THREADS;

    return n < MAX_THREADS ? n : MAX_THREADS;
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
    const unsigned wanted = FUSE_CAP_ASYNC_READ | FUSE_CAP_ASYNC_DIO | FUSE_CAP_ATOMIC_O_TRUNC |
                            FUSE_CAP_EXPORT_SUPPORT | FUSE_CAP_PARALLEL_DIROPS |
                            FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_IOCTL_DIR;
    struct server *s = userdata;

    /* A full list instead of libfuse's defaults.  Not among them, on purpose:
     *   SPLICE_*          slower for bytes that are computed or come from the page cache
     *   AUTO_INVAL_DATA   nothing changes, nothing needs to be dropped
     *   CACHE_SYMLINKS    a target depends on where the link is seen (tree_readlink)
     *   NO_OPEN*_SUPPORT  an open that is not sent is not logged
     *   WRITEBACK_CACHE, POSIX_ACL, HANDLE_KILLPRIV   for file systems that write */
    conn->want = conn->capable & wanted;
    conn->max_background = s->background;
    s->usable = proc_channel_mounted(s->channel, &s->failed) == 0;
    if (!s->usable)
        fuse_session_exit(s->session);
}

static const struct fuse_lowlevel_ops reading_ops = {
    .init = op_init,
    .lookup = op_lookup,
    .forget = op_forget,
    .forget_multi = op_forget_multi,
    .getattr = op_getattr,
    .readlink = op_readlink,
    .statfs = op_statfs,
    .getxattr = op_getxattr,
    .listxattr = op_listxattr,
    .access = op_access,
    .open = op_open,
    .read = op_read,
    .flush = op_flush,
    .release = op_release,
    .fsync = op_fsync,
    .lseek = op_lseek,
    .poll = op_poll,
    .bmap = op_bmap,
    .opendir = op_opendir,
    .readdir = op_readdir,
    .readdirplus = op_readdirplus,
    .releasedir = op_releasedir,
    .fsyncdir = op_fsyncdir,
    .ioctl = op_ioctl,
    /* getlk, setlk, flock: without them the kernel keeps locks by itself, and they work.
     * retrieve_reply: nothing is ever retrieved. */
};

/* ---- stopping
 * ------------------------------------------------------------------------------------ */

struct stopper {
    struct fuse_session *session;
    pthread_t main, thread;
    int stop_fd;
    int ended[2]; /* pipe; its writing end is closed when the loop has ended */
    atomic_bool stopped;
};

static void on_wake(int signal)
{
    (void)signal; /* interrupting sem_wait is all it is for */
}

static void *stopper_main(void *arg)
{
    struct stopper *st = arg;
    struct pollfd fds[2] = {{.fd = st->stop_fd, .events = POLLIN},
                            {.fd = st->ended[0], .events = POLLIN}};
    int n;

    do
        n = poll(fds, 2, -1);
    while (n < 0 && errno == EINTR);
    if (n < 0 || fds[1].revents)
        return NULL;
    atomic_store(&st->stopped, true);
    fuse_session_exit(st->session);
    do {
        (void)pthread_kill(st->main, WAKE_SIGNAL);
        n = poll(&fds[1], 1, WAKE_MS);
    } while (n == 0 || (n < 0 && errno == EINTR));
    return NULL;
}

static int stopper_start(struct stopper *st, struct server *s, struct vd_err *err)
{
    struct sigaction wake = {.sa_handler = on_wake}; /* no SA_RESTART */
    sigset_t set;
    int rc;

    st->session = s->session;
    st->main = pthread_self();
    st->stop_fd = proc_channel_stop_fd(s->channel);
    atomic_init(&st->stopped, false);
    (void)sigemptyset(&set);
    (void)sigaddset(&set, WAKE_SIGNAL);
    if (sigaction(WAKE_SIGNAL, &wake, NULL) != 0 || pthread_sigmask(SIG_UNBLOCK, &set, NULL) != 0 ||
        pipe2(st->ended, O_CLOEXEC) != 0)
        return vd_fail_errno(err, VD_EMOUNT, errno, "preparing to stop");
    rc = pthread_create(&st->thread, NULL, stopper_main, st);
    if (rc) {
        (void)close(st->ended[0]);
        (void)close(st->ended[1]);
        return vd_fail_errno(err, VD_EMOUNT, rc, "starting a thread");
    }
    return 0;
}

/* Ends the thread; was the loop ended on request? */
static bool stopper_join(struct stopper *st)
{
    (void)close(st->ended[1]);
    (void)pthread_join(st->thread, NULL);
    (void)close(st->ended[0]);
    return atomic_load(&st->stopped);
}

/* ---- the session
 * --------------------------------------------------------------------------------- */

static int session_open(struct server *s, int *fuse_fd, struct vd_err *err)
{
    char name[] = "vdiskfs";
    char *argv[] = {name, NULL};
    struct fuse_args args = FUSE_ARGS_INIT(1, argv);
    struct fuse_lowlevel_ops ops = reading_ops;
    char path[32];

    ops_refuse_fill(&ops);
    s->session = fuse_session_new(&args, &ops, sizeof(ops), s);
    fuse_opt_free_args(&args);
    if (!s->session)
        return vd_fail(err, VD_EMOUNT, "libfuse gave no session");
    (void)snprintf(path, sizeof(path), "/dev/fd/%d", *fuse_fd);
    if (fuse_session_mount(s->session, path) != 0)
        return vd_fail(err, VD_EMOUNT, "libfuse did not take the mounted descriptor");
    *fuse_fd = -1; /* the session closes it */
    return 0;
}

static int session_loop(struct server *s, unsigned threads, struct vd_err *err)
{
    struct fuse_loop_config *loop = fuse_loop_cfg_create();
    struct stopper stopper;
    bool stopped;
    int rc;

    if (!loop)
        return vd_fail(err, VD_ENOMEM, "no memory for the session");
    fuse_loop_cfg_set_clone_fd(loop, 0);          /* would open /dev/fuse; no gain was measured */
    fuse_loop_cfg_set_max_threads(loop, threads); /* idle ones are kept: libfuse's default */
    rc = stopper_start(&stopper, s, err);
    if (rc) {
        fuse_loop_cfg_destroy(loop);
        return rc;
    }
    rc = fuse_session_loop_mt(s->session, loop);
    stopped = stopper_join(&stopper);
    fuse_loop_cfg_destroy(loop);
    if (s->failed.cls) {
        if (err)
            *err = s->failed;
        return -(int)s->failed.cls;
    }
    if (stopped)
        return 0;
    if (rc < 0)
        return vd_fail_errno(err, VD_EMOUNT, -rc, "serving the mount");
    if (!s->usable)
        return vd_fail(err, VD_EMOUNT, "the mount was gone before it was usable");
    return 0;
}

int serve_mount(const struct serve_config *config, struct vd_err *err)
{
    struct server s = {.tree = config->tree, .channel = config->channel};
    int fuse_fd VD_AUTO(fd) = -1;
    int rc;

    s.background = threads_of(config) * BACKGROUND_PER_THREAD;
    if (s.background < MIN_BACKGROUND)
        s.background = MIN_BACKGROUND;
    s.log.ring = config->ring;
    buffers_init(&s.buffers);
    rc = paths_new(&s.log.paths, err);
    if (!rc)
        rc = who_new(config->channel, config->ring, &s.log.who, err);
    if (!rc)
        rc = proc_channel_mount(config->channel, &fuse_fd, err);
    if (!rc)
        rc = session_open(&s, &fuse_fd, err);
    if (!rc)
        rc = session_loop(&s, threads_of(config), err);
    if (s.session)
        fuse_session_destroy(s.session);
    who_free(s.log.who);
    paths_free(s.log.paths);
    buffers_clear(&s.buffers);
    return rc;
}
