/* SPDX-License-Identifier: Apache-2.0 */
/* The stack of reply buffers; one lock, held for a few instructions. */
#include "fuse/buffers.h"

#include <stdint.h>
#include <stdlib.h>

#define PAGE 4096u

void buffers_init(struct buffers *b)
{
    (void)pthread_mutex_init(&b->lock, NULL);
    b->n = 0;
}

void buffers_clear(struct buffers *b)
{
    while (b->n)
        free(b->kept[--b->n]);
    (void)pthread_mutex_destroy(&b->lock);
}

void *buffers_get(struct buffers *b, size_t size)
{
    void *buffer = NULL;

    if (size > BUFFERS_BYTES)
        return size > SIZE_MAX - PAGE ? NULL : aligned_alloc(PAGE, (size + PAGE - 1) / PAGE * PAGE);
    (void)pthread_mutex_lock(&b->lock);
    if (b->n)
        buffer = b->kept[--b->n];
    (void)pthread_mutex_unlock(&b->lock);
    return buffer ? buffer : aligned_alloc(PAGE, BUFFERS_BYTES);
}

void buffers_put(struct buffers *b, void *buffer, size_t size)
{
    if (!buffer)
        return;
    if (size <= BUFFERS_BYTES) {
        (void)pthread_mutex_lock(&b->lock);
        if (b->n < BUFFERS_KEPT) {
            b->kept[b->n++] = buffer;
            buffer = NULL;
        }
        (void)pthread_mutex_unlock(&b->lock);
    }
    free(buffer);
}
