/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a FUSE request to its record in the audit log.  Every handler calls log_put BEFORE it
 * replies, and gives nothing out when log_put says that the log is not available.
 *
 * Threads: every function may be called from any thread.
 */
#ifndef VD_FUSE_LOG_H
#define VD_FUSE_LOG_H

#include "audit/audit.h"
#include "fuse/paths.h"
#include "fuse/who.h"

/* Messages about unreadable evidence on standard error, per second; the log has them all. */
#define LOG_LINES_PER_SECOND 10u

struct log {
    struct audit_ring *ring; /* all borrowed */
    struct who *who;
    struct paths *paths;
    bool sync_each; /* every record waits for the disk (audit_flush=always) */
};

/* One request and how it ended.  Zero-initialise; set what applies. */
struct log_event {
    enum audit_op op;
    uint64_t obj;                  /* node */
    uint64_t off, len;             /* as audit_format.h says for the operation */
    int error;                     /* the errno answered, 0 = success */
    bool with_path;                /* add the path of obj */
    const char *name, *key, *text; /* AUDIT_T_NAME, _KEY, _TEXT; NULL: without */
    /* Who opened.  An open file's `handle` is put together by the open's log_put (out_handle, else
     * NULL) and given to that of requests on it: RELEASE, which comes without a sender, is recorded
     * for the process that opened. */
    uint64_t *out_handle;
    uint64_t handle;
};

/* Can accesses be recorded now?  False: answer EIO, or wait (log_must_wait). */
bool log_ready(const struct log *log);

/* Shall a request that is recorded as `op` wait for space (audit_full=block)?  Then log_wait sleeps,
 * until something changed or `timeout_ms` are over. */
bool log_must_wait(const struct log *log, enum audit_op op);
void log_wait(const struct log *log, unsigned timeout_ms);

/* Puts the record into the ring.  Critical ones (REFUSED, IOERR), or all with `sync_each`, also wait
 * until they are on the disk.  While the disk is full only critical ones are taken.  false: not
 * recorded, answer EIO. */
bool log_put(struct log *log, const struct who_request *sender, const struct log_event *event);

/* The IOERR record for `event`, whose evidence could not be read: `message` says what, where and
 * why.  Also one line on standard error, at most LOG_LINES_PER_SECOND of them. */
bool log_unreadable(struct log *log, const struct who_request *sender,
                    const struct log_event *event, const char *message);

#endif
