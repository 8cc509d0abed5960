/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every handler does the same way: record, then answer.  The order is the third promise: no
 * reply is sent before its record is in the ring, and none with content when the log has failed.
 * Locks are never held while replying.
 */
#include "fuse/server.h"

#include <errno.h>

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

bool server_record(fuse_req_t req, const struct log_event *event)
{
    struct who_request sender = sender_of(req);

    if (log_put(&server_of(req)->log, &sender, event))
        return true;
    (void)fuse_reply_err(req, EIO);
    return false;
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
    struct who_request sender = sender_of(req);
    uint64_t asked = event->len;
    bool ok;

    event->len = 0; /* nothing left the program … */
    ok = log_put(&server_of(req)->log, &sender, event);
    event->len = asked; /* … of what was asked for */
    if (ok && is_unreadable(rc))
        ok = server_unreadable(req, event, err->msg);
    (void)fuse_reply_err(req, ok ? event->error : EIO);
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
