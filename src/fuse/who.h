/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who makes the requests: from the process number that the kernel sends to the number of an
 * AUDIT_PROC record.  The supervisor is asked (the worker sees no /proc); answers are kept for
 * WHO_TTL_MS, then asked for again, because process numbers are used again.
 *
 * Threads: every function may be called from any thread.  No lock is held while asking.
 */
#ifndef VD_FUSE_WHO_H
#define VD_FUSE_WHO_H

#include "audit/audit.h"
#include "proc/proc.h"

#define WHO_TTL_MS 250

/* Processes remembered: WHO_SETS × WHO_WAYS.  One that was displaced gets a new record. */
#define WHO_SETS 1024u
#define WHO_WAYS 4u

struct who;

/* What a FUSE request says about its sender. */
struct who_request {
    pid_t pid; /* the thread's number; 0 = sent by the kernel itself or from another namespace */
    uid_t uid;
    gid_t gid;
};

/* Both are borrowed and must outlive the object.  VD_ENOMEM. */
int who_new(struct proc_channel *channel, struct audit_ring *ring, struct who **out,
            struct vd_err *err);
void who_free(struct who *w);

/* Number of the sender's AUDIT_PROC record, which is in the ring before this returns.  0 with
 * AUDIT_F_NO_PROC in *out_flags: the sender is not known.  A process that was gone before it could
 * be asked about has a record with its numbers only, and AUDIT_F_NO_PROC is set as well. */
uint32_t who_resolve(struct who *w, const struct who_request *request, uint8_t *out_flags);

#endif
