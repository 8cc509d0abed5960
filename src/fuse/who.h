/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who makes the requests: from the thread number that the kernel sends to the number of an
 * AUDIT_PROC record.  The supervisor is asked (the worker sees no /proc).  What it told is kept with
 * two descriptors by which the worker sees, without asking, that the thread still lives and runs
 * the same program; it is asked again when that has changed, and after WHO_TTL_MS in any case.
 *
 * Threads: every function may be called from any thread.  No lock is held while asking.
 */
#ifndef VD_FUSE_WHO_H
#define VD_FUSE_WHO_H

#include "audit/audit.h"
#include "proc/proc.h"

/* What the descriptors do not show (another login session, the name of the main thread when
 * another one asks) is noticed after this time. */
#define WHO_TTL_MS 250

/* The sizes of the program, and for reads of what the thread opened itself also its name, are not
 * looked at again within this time: bounds the cost to 1 or 2 µs in 50.  No thread gets from one
 * answered request through an execution of another program, or a number from the end of one process
 * to a request of the next, in so little time. */
#define WHO_FRESH_US 50

/* Threads watched: WHO_SETS × WHO_WAYS, with two descriptors each.  One that was displaced is asked
 * about again. */
#define WHO_SETS 64u
#define WHO_WAYS 4u

/* Processes remembered: WHO_PROCESS_SETS × WHO_PROCESS_WAYS.  One that was displaced gets a new
 * record. */
#define WHO_PROCESS_SETS 1024u
#define WHO_PROCESS_WAYS 4u

/* A request of a thread that has ended, by number only: for so long it is taken for the last one
 * known by that number (and marked). */
#define WHO_DEAD_MS 2000

struct who;

/* What a FUSE request says about its sender. */
struct who_request {
    pid_t pid; /* the thread's number; 0 = another process namespace */
    uid_t uid;
    gid_t gid;
    uint32_t opener; /* of a request on an open file: what who_resolve gave for the open; 0 = none.
                        A thread that reads what it opened itself is looked at less closely: that
                        another program of the very same name was executed is then noticed at the
                        next request of another kind, or after WHO_TTL_MS. */
};

/* Both are borrowed and must outlive the object.  VD_ENOMEM. */
int who_new(struct proc_channel *channel, struct audit_ring *ring, struct who **out,
            struct vd_err *err);
void who_free(struct who *w);

/* Number of the sender's AUDIT_PROC record, which is in the ring before this returns; never 0.
 *
 * AUDIT_F_NO_PROC in *out_flags: it could not be asked about.  The record then has the numbers that
 * the kernel sent and nothing else; or it is the last process known by that number, when the request
 * was still under way as that one ended (read-ahead; whoever waits for an answer lives). */
uint32_t who_resolve(struct who *w, const struct who_request *request, uint8_t *out_flags);

#endif
