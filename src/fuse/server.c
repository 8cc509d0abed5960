/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every handler does the same way: record, then answer.  The order is the third promise: no
 * reply is sent before its record is in the ring, and none with content when the log has failed.
 * Locks are never held while replying.
 */
#include "fuse/server.h"
#include "fuse/loop.h"

#include <errno.h>

#define WAIT_SLICE_MS 50 /* how soon an interrupted caller gets its answer */

int server_errno(int rc)
{
    return rc == -VD_ENOENT ? ESTALE : vd_class_errno(rc);
}

static struct who_request sender_of(fuse_req_t req)
{
    const struct fuse_ctx *ctx = fuse_req_ctx(req);
    struct who_request sender = {.pid = ctx->pid, .uid = ctx->uid, .gid = ctx->gid};

    return sender;
}

/* Waits while a full disk makes requests like this one wait.  0, or the errno to answer: the caller
 * was interrupted, the mount ends, or so many wait that nobody would hear of either. */
static int wait_for_room(fuse_req_t req, enum audit_op op)
{
    struct server *s = server_of(req);
    int error = 0;

    if (!log_must_wait(&s->log, op))
        return 0;
    if (atomic_fetch_add(&s->waiting, 1) + 2 > LOOP_MAX_THREADS)
        error = EIO;
    else if (s->will_wait)
        s->will_wait(s->will_wait_ctx);
    while (!error && log_must_wait(&s->log, op)) {
        if (fuse_session_exited(s->session))
            error = EIO;
        else if (fuse_req_interrupted(req))
            error = EINTR;
        else
            log_wait(&s->log, WAIT_SLICE_MS);
    }
    atomic_fetch_sub(&s->waiting, 1);
    return error;
}

/* 0, or the errno to answer instead of what `event` says. */
static int record(fuse_req_t req, const struct log_event *event)
{
    struct who_request sender = sender_of(req);
    struct log *log = &server_of(req)->log;
    int error;

    do {
        error = wait_for_room(req, event->op);
        if (error || log_put(log, &sender, event))
            return error;
    } while (log_must_wait(log, event->op));
    return EIO;
}

bool server_ready(fuse_req_t req)
{
    int error = wait_for_room(req, AUDIT_READ);

    if (!error && !log_ready(&server_of(req)->log))
        error = EIO;
    if (error)
        (void)fuse_reply_err(req, error);
    return !error;
}

bool server_record(fuse_req_t req, const struct log_event *event)
{
    int error = record(req, event);

    if (error)
        (void)fuse_reply_err(req, error);
    return !error;
}

void server_finish(fuse_req_t req, const struct log_event *event)
{
    if (server_record(req, event))
        (void)fuse_reply_err(req, event->error);
}

bool server_unreadable(fuse_req_t req, const struct log_event *event, const char *message)
{
    struct who_request sender = sender_of(req);

    return log_unreadable(&server_of(req)->log, &sender, event, message);
}

/* Is the failure one of the evidence (or of memory), and not a plain "no such name"? */
static bool is_unreadable(int rc)
{
    return rc != -VD_ENOENT && rc != -VD_EREFUSED && rc != -VD_EUSAGE;
}

void server_fail(fuse_req_t req, struct log_event *event, int rc, const struct vd_err *err)
{
    uint64_t asked = event->len;
    int error;

    event->len = 0; /* nothing left the program … */
    error = record(req, event);
    event->len = asked; /* … of what was asked for */
    if (!error && is_unreadable(rc) && !server_unreadable(req, event, err->msg))
        error = EIO;
    (void)fuse_reply_err(req, error ? error : event->error);
}

int server_attr(struct server *s, uint64_t node, struct stat *out, struct vd_err *err)
{
    int rc = tree_getattr(s->tree, node, out, err);

    if (rc)
        return rc;
    switch (out->st_mode & S_IFMT) {
    case S_IFREG:
    case S_IFDIR:
    case S_IFLNK:
    case S_IFCHR:
    case S_IFBLK:
    case S_IFIFO:
    case S_IFSOCK:
        break;
    default:
        return vd_fail(err, VD_ECORRUPT, "node %#llx: no such file type (mode %#o)",
                       (unsigned long long)node, (unsigned)out->st_mode);
    }
    if (out->st_size < 0)
        return vd_fail(err, VD_ECORRUPT, "node %#llx: size over 2^63-1", (unsigned long long)node);
    return 0;
}
