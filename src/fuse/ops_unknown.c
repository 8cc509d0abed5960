/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that libfuse 3.14 does not know.  It answers them with ENOSYS without telling anybody;
 * here they are seen first, so that they are in the log as well.
 *
 *   TMPFILE   (open with O_TMPFILE, superblock rw) is recorded as REFUSED and answered EOPNOTSUPP,
 *             which is what the caller gets for ENOSYS, too; but ENOSYS the kernel would remember
 *             and never ask again.
 *   STATX     is recorded as GETATTR and left to libfuse: after ENOSYS the kernel asks with
 * GETATTR. others    are recorded as REFUSED, "opcode N", and left to libfuse.
 *
 * Requests: include/uapi/linux/fuse.h, `struct fuse_in_header`.
 */
#include "fuse/server.h"

#include <errno.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <unistd.h>

/* The newest request that libfuse 3.14 handles. */
#define LAST_KNOWN FUSE_COPY_FILE_RANGE

/* Newer than the headers of Debian 12. */
enum { OPCODE_TMPFILE = 51, OPCODE_STATX = 52 };

static void answer(const struct server *s, const struct fuse_in_header *in, int error)
{
    const struct fuse_out_header out = {.len = sizeof(out), .error = -error, .unique = in->unique};

    /* Fails only when the request was given up or the mount is gone. */
    if (write(fuse_session_fd(s->session), &out, sizeof(out)) < 0)
        return;
}

bool op_unknown(struct server *s, const struct fuse_buf *buf)
{
    const struct fuse_in_header *in = buf->mem;
    struct log_event event = {.op = AUDIT_REFUSED, .error = ENOSYS, .with_path = true};
    struct who_request sender;
    char key[32];
    bool ok;

    if (in->opcode <= LAST_KNOWN || buf->size < sizeof(*in))
        return false;
    sender = (struct who_request){.pid = (pid_t)in->pid, .uid = in->uid, .gid = in->gid};
    event.obj = in->nodeid;
    event.key = key;
    if (in->opcode == OPCODE_TMPFILE) {
        event.error = EOPNOTSUPP;
        (void)snprintf(key, sizeof(key), "tmpfile");
    } else if (in->opcode == OPCODE_STATX) {
        event.op = AUDIT_GETATTR;
        (void)snprintf(key, sizeof(key), "statx");
    } else {
        (void)snprintf(key, sizeof(key), "opcode %u", in->opcode);
    }
    ok = log_put(&s->log, &sender, &event);
    if (ok && in->opcode != OPCODE_TMPFILE)
        return false;
    answer(s, in, ok ? event.error : EIO);
    return true;
}
