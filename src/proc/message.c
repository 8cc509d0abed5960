/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets: checking what a worker sent, and moving packets with descriptors over a SOCK_SEQPACKET
 * socket (unix(7), SCM_RIGHTS).  Everything is stateless and may be called from any thread.
 */
#include "proc/message.h"

#include "base/text.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

static bool has_end(const char *text, size_t size)
{
    return memchr(text, '\0', size) != NULL;
}

static int name_validate(const char *name, struct vd_err *err)
{
    if (!has_end(name, PROC_NAME_SIZE))
        return vd_fail(err, VD_EREFUSED, "a file name of more than %d bytes", PROC_NAME_SIZE - 1);
    if (!blk_source_name_ok(name))
        return vd_fail(err, VD_EREFUSED, "\"%s\" is not a bare file name", name);
    return 0;
}

static int request_validate(const struct proc_request *rq, unsigned n_dirs, struct vd_err *err)
{
    switch (rq->kind) {
    case PROC_OPEN:
    case PROC_LIST:
        if (rq->dir >= n_dirs)
            return vd_fail(err, VD_EUSAGE, "there is no evidence directory %u", rq->dir);
        return rq->kind == PROC_OPEN ? name_validate(rq->u.name, err) : 0;
    case PROC_WHO:
        if (rq->pid <= 0)
            return vd_fail(err, VD_EUSAGE, "%d is not a process id", rq->pid);
        return 0;
    case PROC_MOUNT:
    case PROC_MOUNTED:
        return 0;
    case PROC_RESULT:
        if (rq->rc > 0 || rq->rc <= -(int)VD_CLASS_COUNT)
            return vd_fail(err, VD_EUSAGE, "%d is not a result", rq->rc);
        return 0;
    default:
        return vd_fail(err, VD_EUSAGE, "unknown request %u", rq->kind);
    }
}

int proc_request_decode(const void *bytes, size_t len, unsigned n_dirs, struct proc_request *out,
                        struct vd_err *err)
{
    struct proc_request rq;
    int rc;

    if (len != sizeof(rq))
        return vd_fail(err, VD_EUSAGE, "a request of %zu bytes, %zu were expected", len,
                       sizeof(rq));
    memcpy(&rq, bytes, sizeof(rq));
    rc = request_validate(&rq, n_dirs, err);
    if (rc == 0)
        *out = rq;
    return rc;
}

void proc_err_to_wire(const struct vd_err *err, int rc, struct proc_wire_err *out)
{
    memset(out, 0, sizeof(*out));
    out->cls = -rc;
    if (!err)
        return;
    out->host_errno = err->host_errno;
    out->has_offset = err->has_offset;
    out->offset = err->offset;
    (void)vd_text_copy(out->msg, sizeof(out->msg), err->msg);
}

void proc_err_from_wire(const struct proc_wire_err *wire, int rc, struct vd_err *out)
{
    if (!out)
        return;
    vd_err_clear(out);
    out->cls = rc < 0 && rc > -(int)VD_CLASS_COUNT ? (enum vd_class) - rc : VD_EIO;
    out->host_errno = wire->host_errno;
    out->has_offset = wire->has_offset != 0;
    out->offset = wire->offset;
    (void)vd_text_printable(wire->msg, strnlen(wire->msg, sizeof(wire->msg)), out->msg,
                            sizeof(out->msg));
}

/* Room for the descriptors, aligned as CMSG_* want it. */
union fd_control {
    char bytes[CMSG_SPACE(PROC_PACKET_FDS * sizeof(int))];
    struct cmsghdr align;
};

int proc_packet_send_fds(int sock, const void *bytes, size_t len, const int *fds, size_t n,
                         bool wait)
{
    struct iovec iov = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = len};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    union fd_control control;
    ssize_t sent;

    if (n > PROC_PACKET_FDS)
        return EINVAL;
    if (n) {
        struct cmsghdr *cmsg = &control.align;

        memset(&control, 0, sizeof(control));
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(n * sizeof(int));
        memcpy(CMSG_DATA(cmsg), fds, n * sizeof(int));
        msg.msg_control = &control;
        msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
    }
    do
        sent = sendmsg(sock, &msg, MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT));
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? errno : 0;
}

int proc_packet_send(int sock, const void *bytes, size_t len, int fd, bool wait)
{
    return proc_packet_send_fds(sock, bytes, len, &fd, fd >= 0, wait);
}

/* Moves the descriptors of `msg` into `fds`, all or none of them. */
static void take_fds(struct msghdr *msg, int *fds, size_t *n, bool *out_cut)
{
    const struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg);
    size_t room = *n, got = 0, i;

    if (cmsg && cmsg->cmsg_level == SOL_SOCKET && cmsg->cmsg_type == SCM_RIGHTS &&
        cmsg->cmsg_len > CMSG_LEN(0))
        got = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    *out_cut = msg->msg_flags & MSG_CTRUNC;
    *n = got <= room && !*out_cut ? got : 0;
    for (i = 0; i < got; i++) {
        int fd;

        memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(fd));
        if (*n)
            fds[i] = fd;
        else
            (void)close(fd);
    }
}

int proc_packet_recv_fds(int sock, void *bytes, size_t size, size_t *out_len, int *fds, size_t *n,
                         bool *out_cut_fd, bool wait)
{
    struct iovec iov = {.iov_base = bytes, .iov_len = size};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    union fd_control control;
    bool cut = false;
    ssize_t got;

    memset(&control, 0, sizeof(control));
    if (fds) {
        if (*n > PROC_PACKET_FDS)
            return EINVAL;
        msg.msg_control = &control;
        msg.msg_controllen = CMSG_SPACE(*n * sizeof(int));
    }
    do
        got = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC | MSG_TRUNC | (wait ? 0 : MSG_DONTWAIT));
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return errno;
    *out_len = (size_t)got;
    if (fds)
        take_fds(&msg, fds, n, &cut);
    if (out_cut_fd)
        *out_cut_fd = cut;
    return 0;
}

int proc_packet_recv(int sock, void *bytes, size_t size, size_t *out_len, int *out_fd,
                     bool *out_cut_fd, bool wait)
{
    size_t n = 1;
    int rc;

    if (!out_fd)
        return proc_packet_recv_fds(sock, bytes, size, out_len, NULL, NULL, NULL, wait);
    rc = proc_packet_recv_fds(sock, bytes, size, out_len, out_fd, &n, out_cut_fd, wait);
    if (rc == 0 && n == 0)
        *out_fd = -1;
    return rc;
}
