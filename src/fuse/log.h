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
};

/* One request and how it ended.  Zero-initialise; set what applies. */
struct log_event {
    enum audit_op op;
    uint64_t obj;                  /* node */
    uint64_t off, len;             /* as audit_format.h says for the operation */
    int error;                     /* the errno answered, 0 = success */
    bool with_path;                /* add the path of obj */
    const char *name, *key, *text; /* AUDIT_T_NAME, _KEY, _TEXT; NULL: without */
};

/* Can accesses be recorded at all?  False: answer EIO. */
bool log_ready(const struct log *log);

/* Puts the record into the ring.  REFUSED and IOERR also wait until it is on the disk.  false: the
 * log has failed, answer EIO. */
bool log_put(struct log *log, const struct who_request *sender, const struct log_event *event);

/* The IOERR record for `event`, whose evidence could not be read: `message` says what, where and
 * why.  Also one line on standard error, at most LOG_LINES_PER_SECOND of them. */
bool log_unreadable(struct log *log, const struct who_request *sender,
                    const struct log_event *event, const char *message);

#endif
