/* SPDX-License-Identifier: Apache-2.0 */
/* Scope-bound clean-up.  `VD_AUTO(free) char *p = NULL;` frees p when it leaves scope;
 * vd_take(&p) hands it over.  goto is for forward jumps to clean-up that these cannot express. */
#ifndef VD_BASE_CLEANUP_H
#define VD_BASE_CLEANUP_H

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#define VD_AUTO(fn) __attribute__((cleanup(vd_auto_##fn)))

static inline void vd_auto_free(void *pp)
{
    free(*(void **)pp);
}

static inline void vd_auto_fd(const int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}

static inline void vd_auto_unlock(pthread_mutex_t **mutex)
{
    if (*mutex)
        (void)pthread_mutex_unlock(*mutex);
}

/* Holds `m` until the end of the scope. */
#define VD_LOCKED(m)                                                                               \
    pthread_mutex_t *vd_lock_##__LINE__ VD_AUTO(unlock) = (pthread_mutex_lock(m), (m));            \
    (void)vd_lock_##__LINE__

/* Returns the pointer and nulls the local: marks a hand-over of ownership. */
#define vd_take(pp)                                                                                \
    __extension__({                                                                                \
        __typeof__(*(pp)) vd_taken = *(pp);                                                        \
        *(pp) = NULL;                                                                              \
        vd_taken;                                                                                  \
    })

/* The same for descriptors. */
static inline int vd_take_fd(int *fd)
{
    int taken = *fd;

    *fd = -1;
    return taken;
}

#endif
