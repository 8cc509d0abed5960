/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Buffers for replies.  Last in, first out: the buffer that is given next is the one that is most
 * likely still in the processor's cache, whichever thread asks (the kernel hands requests to
 * waiting threads in turn, so one buffer per thread would always be a cold one).  At most as many
 * buffers exist as requests were ever served at the same time.
 */
#ifndef VD_FUSE_BUFFERS_H
#define VD_FUSE_BUFFERS_H

#include <pthread.h>
#include <stddef.h>

/* The kernel's largest request (256 pages); larger ones are served from memory of their own. */
#define BUFFERS_BYTES (1u << 20)
#define BUFFERS_KEPT  64u

struct buffers {
    pthread_mutex_t lock;
    unsigned n;               /* guarded by lock */
    void *kept[BUFFERS_KEPT]; /* guarded by lock */
};

void buffers_init(struct buffers *b);
/* No buffer may be out. */
void buffers_clear(struct buffers *b);

/* At least `size` bytes, page aligned, content undefined; NULL: out of memory.  Any thread. */
void *buffers_get(struct buffers *b, size_t size);
/* Gives back what buffers_get(b, size) gave; NULL is allowed. */
void buffers_put(struct buffers *b, void *buffer, size_t size);

#endif
