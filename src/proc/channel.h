/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the worker's end; for the files of this folder and their tests. */
#ifndef VD_PROC_CHANNEL_H
#define VD_PROC_CHANNEL_H

#include "proc/message.h"
#include "proc/opened.h"

#include <pthread.h>

struct proc_channel {
    int sock;    /* SOCK_SEQPACKET; owned */
    int stop_fd; /* read end of the stop pipe; owned */
    unsigned n_dirs;
    char sandbox[256]; /* words; written once, before threads */

    pthread_mutex_t lock; /* one request at a time; guards what follows */
    struct opened files;
    struct proc_reply *reply; /* the answer to the request under way */
};

/* Takes over both descriptors on success. */
int proc_channel_new(int sock, int stop_fd, unsigned n_dirs, struct proc_channel **out,
                     struct vd_err *err);
void proc_channel_free(struct proc_channel *channel);

/* Sends the worker's result; nobody answers. */
int proc_channel_result(struct proc_channel *channel, int rc, const struct vd_err *result,
                        struct vd_err *err);

#endif
