/* SPDX-License-Identifier: Apache-2.0 */
/* Private to src/fuse: the threads that take requests from the kernel. */
#ifndef VD_FUSE_LOOP_H
#define VD_FUSE_LOOP_H

#include "fuse/server.h"

/* Most threads that may be asked for. */
#define LOOP_MAX_THREADS 512u

/* Serves the session of `s` with up to `threads` threads (1 to LOOP_MAX_THREADS), as many as
 * requests were ever open at the same time, until it is unmounted or `stop_fd` becomes readable
 * (*out_stopped). All requests that were taken are answered before it returns.  Main thread only.
 */
int loop_run(struct server *s, unsigned threads, int stop_fd, bool *out_stopped,
             struct vd_err *err);

#endif
