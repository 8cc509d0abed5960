/* SPDX-License-Identifier: Apache-2.0 */
/* Serving the mount, in the worker: FUSE's low-level API, many threads. */
#ifndef VD_FUSE_SERVE_H
#define VD_FUSE_SERVE_H

#include "audit/audit.h"
#include "proc/proc.h"
#include "tree/tree.h"

struct serve_config {
    struct tree *tree;
    struct audit_ring *ring;
    struct proc_channel *channel;
    unsigned threads; /* 0 = default */
    bool exact;       /* audit_mode=exact: the kernel keeps neither contents nor names */
    bool sync_each;   /* every answer waits until its record is on the disk */
};

/* Asks the supervisor for the mount, serves it until it is unmounted or the stop descriptor ends;
 * 0 after a clean end. */
int serve_mount(const struct serve_config *config, struct vd_err *err);

#endif
