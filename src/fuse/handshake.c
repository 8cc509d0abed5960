/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between libfuse and /dev/fuse: requests are read and answers written here, so that the answer to
 * INIT can accept what libfuse 3.14 does not know yet.
 *
 *   FUSE_DIRECT_IO_ALLOW_MMAP (kernel 6.6): files opened with direct_io, as audit_mode=exact does
 *   with all of them, can be mapped MAP_SHARED; without it that is ENODEV.  It is bit 36 of the
 *   flags, that is bit 4 of flags2, and both sides say with FUSE_INIT_EXT that flags2 is there.
 *
 * Numbers: include/uapi/linux/fuse.h, `struct fuse_init_in` and `fuse_init_out`.  The kernel is
 * trusted, but nothing is read beyond what came.  Threads: INIT is answered by the thread that read
 * it, while others may already wait for requests; hence the atomic state.
 */
#include "fuse/handshake.h"

#include <linux/fuse.h>
#include <stddef.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* Newer than the headers of Debian 12. */
#define DIRECT_IO_ALLOW_MMAP_FLAG2 (UINT32_C(1) << (36 - 32))

void handshake_request(struct server *s, const void *bytes, size_t len)
{
    struct {
        struct fuse_in_header head;
        struct fuse_init_in init;
    } rq = {0};

    if (!s->exact || len < sizeof(rq.head) + offsetof(struct fuse_init_in, flags2) + 4)
        return;
    memcpy(&rq.head, bytes, sizeof(rq.head));
    if (rq.head.opcode != FUSE_INIT)
        return;
    memcpy(&rq, bytes, len < sizeof(rq) ? len : sizeof(rq));
    s->mmap_offered = rq.init.flags & FUSE_INIT_EXT && rq.init.flags2 & DIRECT_IO_ALLOW_MMAP_FLAG2;
    s->init_unique = rq.head.unique;
    atomic_store(&s->init_pending, s->mmap_offered);
}

void handshake_answer(struct server *s, const struct iovec *iov, int count)
{
    struct fuse_out_header head;
    struct fuse_init_out out;

    if (!atomic_load_explicit(&s->init_pending, memory_order_relaxed) || count != 2 ||
        iov[0].iov_len < sizeof(head) ||
        iov[1].iov_len < offsetof(struct fuse_init_out, flags2) + sizeof(out.flags2))
        return;
    memcpy(&head, iov[0].iov_base, sizeof(head));
    if (head.error || head.unique != s->init_unique)
        return;
    atomic_store(&s->init_pending, false);
    memcpy(&out, iov[1].iov_base, offsetof(struct fuse_init_out, unused));
    out.flags |= FUSE_INIT_EXT;
    out.flags2 |= DIRECT_IO_ALLOW_MMAP_FLAG2;
    memcpy(iov[1].iov_base, &out, offsetof(struct fuse_init_out, unused));
}

static ssize_t on_read(int fd, void *buf, size_t size, void *userdata)
{
    ssize_t n = read(fd, buf, size);

    if (n > 0)
        handshake_request(userdata, buf, (size_t)n);
    return n;
}

static ssize_t on_writev(int fd, struct iovec *iov, int count, void *userdata)
{
    handshake_answer(userdata, iov, count);
    return writev(fd, iov, count);
}

int handshake_attach(struct server *s, int fuse_fd, struct vd_err *err)
{
    static const struct fuse_custom_io io = {.read = on_read, .writev = on_writev};

    if (fuse_session_custom_io(s->session, &io, fuse_fd) != 0)
        return vd_fail(err, VD_EMOUNT, "libfuse did not take the mounted descriptor");
    return 0;
}
