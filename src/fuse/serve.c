/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The session: /dev/fuse from the supervisor, what is agreed with the kernel, the end.
 *
 * The worker can open nothing, so the descriptor comes mounted from the supervisor (handshake.c).
 *
 * It ends in one of two ways: the mount is gone, or the stop descriptor becomes readable (loop.c).
 */
#include "base/cleanup.h"
#include "fuse/handshake.h"
#include "fuse/loop.h"
#include "fuse/server.h"

#include <string.h>

#define DEFAULT_THREADS 16u

/* Requests that the kernel may have in flight in the background (read-ahead, asynchronous direct
 * reads); the kernel's own default of 12 would leave threads idle. */
#define BACKGROUND_PER_THREAD 2u
#define MIN_BACKGROUND        12u

/* ---- INIT ---- */

static unsigned threads_of(const struct serve_config *config)
{
    unsigned n = config->threads ? config->threads : DEFAULT_THREADS;

    return n < LOOP_MAX_THREADS ? n : LOOP_MAX_THREADS;
}

/* Whether MAP_SHARED works depends on the kernel; the log says so. */
static void log_exact(const struct server *s)
{
    const char *text = s->mmap_offered
                           ? "files can be mapped; only the first fault of a page is a request"
                           : "this kernel (before 6.6) refuses MAP_SHARED with ENODEV";
    const struct audit_field fields[] = {
        {AUDIT_T_NAME, "audit_mode=exact", 16},
        {AUDIT_T_KEY, "mmap", 4},
        {AUDIT_T_TEXT, text, strlen(text)},
    };
    const struct audit_event event = {.op = AUDIT_FACT, .fields = fields, .n_fields = 3};

    if (s->exact)
        (void)audit_log(s->log.ring, &event);
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
    if (s->exact) { /* nothing is handed out that was not asked for: no attributes in listings … */
        conn->want &= ~(unsigned)(FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO);
        conn->max_readahead = 0; /* … and no pages around the one that mmap or splice wants */
    }
    conn->max_background = s->background;
    log_exact(s);
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

/* ---- the session ---- */

static int session_open(struct server *s, int *fuse_fd, struct vd_err *err)
{
    char name[] = "vdiskfs";
    char *argv[] = {name, NULL};
    struct fuse_args args = FUSE_ARGS_INIT(1, argv);
    struct fuse_lowlevel_ops ops = reading_ops;
    int rc;

    ops_refuse_fill(&ops);
    s->session = fuse_session_new(&args, &ops, sizeof(ops), s);
    fuse_opt_free_args(&args);
    if (!s->session)
        return vd_fail(err, VD_EMOUNT, "libfuse gave no session");
    rc = handshake_attach(s, *fuse_fd, err);
    if (!rc)
        *fuse_fd = -1; /* the session closes it */
    return rc;
}

static int session_serve(struct server *s, unsigned threads, struct vd_err *err)
{
    bool stopped = false;
    int rc = loop_run(s, threads, proc_channel_stop_fd(s->channel), &stopped, err);

    if (s->failed.cls) {
        if (err)
            *err = s->failed;
        return -(int)s->failed.cls;
    }
    if (!rc && !stopped && !s->usable)
        rc = vd_fail(err, VD_EMOUNT, "the mount was gone before it was usable");
    return rc;
}

int serve_mount(const struct serve_config *config, struct vd_err *err)
{
    struct server s = {.tree = config->tree, .channel = config->channel};
    int fuse_fd VD_AUTO(fd) = -1;
    int rc;

    s.exact = config->exact;
    s.timeout = config->exact ? 0.0 : SERVER_TIMEOUT;
    s.background = threads_of(config) * BACKGROUND_PER_THREAD;
    if (s.background < MIN_BACKGROUND)
        s.background = MIN_BACKGROUND;
    s.log.ring = config->ring;
    s.log.sync_each = config->sync_each;
    buffers_init(&s.buffers);
    rc = paths_new(&s.log.paths, err);
    if (!rc)
        rc = who_new(config->channel, config->ring, &s.log.who, err);
    if (!rc)
        rc = proc_channel_mount(config->channel, &fuse_fd, err);
    if (!rc)
        rc = session_open(&s, &fuse_fd, err);
    if (!rc)
        rc = session_serve(&s, threads_of(config), err);
    if (s.session)
        fuse_session_destroy(s.session);
    who_free(s.log.who);
    paths_free(s.log.paths);
    buffers_clear(&s.buffers);
    return rc;
}
