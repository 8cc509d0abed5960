/* SPDX-License-Identifier: Apache-2.0 */
/* Private to src/fuse: the way of requests and answers through /dev/fuse, and what is agreed in the
 * first of them beyond libfuse's knowledge. */
#ifndef VD_FUSE_HANDSHAKE_H
#define VD_FUSE_HANDSHAKE_H

#include "fuse/server.h"

/* Gives the mounted descriptor to the session of `s`, which closes it from then on.  `s` is the
 * session's user data.  VD_EMOUNT: libfuse did not take it; the descriptor is still the caller's.
 */
int handshake_attach(struct server *s, int fuse_fd, struct vd_err *err);

/* The two hooks behind it, for tests: looks at a request that came (`len` bytes), and at an answer
 * that is about to leave (`count` parts, the first is the header).  With s->exact, an INIT request
 * in which the kernel offers FUSE_DIRECT_IO_ALLOW_MMAP sets s->mmap_offered, and its answer
 * accepts it.  Any bytes are safe.  Thread rule: any thread. */
void handshake_request(struct server *s, const void *bytes, size_t len);
void handshake_answer(struct server *s, const struct iovec *iov, int count);

#endif
