/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recovery of a log that a crash (or a full disk) left open: docs/formats/audit-log.md, "Recovery".
 * It appends one segment, which appears as a whole or not at all; nothing that is there is changed.
 */
#ifndef VD_AUDIT_RECOVER_H
#define VD_AUDIT_RECOVER_H

#include "audit/verify.h"

struct audit_recovery {
    bool done;           /* false: it was closed already, and nothing was appended */
    bool ring_removed;   /* ring.wal is gone, for all of it is in the log */
    uint32_t segment;    /* number of the segment that was appended */
    uint64_t records;    /* of ring.wal that are in it */
    uint64_t lost;       /* LOST records in it … */
    uint64_t lost_slots; /* … for so many slots */
    /* What stands against ring.wal, or what of it was left; "" when there is nothing. */
    char remark[256];
    struct audit_report before, after;
};

/* Recovers the session directory `path`.  `program` (name, version) is named in the log.  Takes the
 * locks that a running program and another recovery would hold.  A call that was interrupted can be
 * repeated.  Memory does not depend on the log; room for as many bytes as ring.wal has must be free
 * on the file system.
 *
 * VD_EAUDIT: the log is in use, or cannot be written.  VD_EDIFF: TAMPERED, it is left as it is.
 * VD_EREFUSED: a link or something else that is no file stands where ring.wal belongs.  VD_EUSAGE,
 * VD_ENOENT, VD_EIO: no session, or it cannot be read.  `out` tells what was found in any case. */
int audit_recover(const char *path, const char *program, struct audit_recovery *out,
                  struct vd_err *err);

/* Is the session in the directory `dir_fd` closed, or does it wait for a recovery?  Looks at names,
 * locks and frame headers only.  VD_EAUDIT when it cannot be read. */
enum audit_left { AUDIT_LEFT_CLOSED, AUDIT_LEFT_OPEN, AUDIT_LEFT_RUNNING };
int audit_left(int dir_fd, enum audit_left *out, struct vd_err *err);

/* Called with the name of each session of a directory that waits for a recovery, the oldest first;
 * anything but 0 ends the walk and is returned. */
typedef int audit_left_fn(void *ctx, const char *path, struct vd_err *err);
/* `out_running` (may be NULL): sessions that are in use.  VD_ENOENT, VD_EAUDIT: cannot be listed. */
int audit_left_each(const char *dir, audit_left_fn *fn, void *ctx, uint64_t *out_running,
                    struct vd_err *err);

#endif
