/* SPDX-License-Identifier: Apache-2.0 */
/* Making the segment of a recovery; private to src/audit/recover*.c.  One thread. */
#ifndef VD_AUDIT_RECOVER_WRITE_H
#define VD_AUDIT_RECOVER_WRITE_H

#include "audit/recover.h"

#include <stddef.h>

/* What a ring holds from some sequence number on. */
struct ring_sum {
    uint64_t records;     /* good ones */
    uint64_t claims, bad; /* unfinished; complete but no record that a log may hold */
    uint64_t lost_slots;  /* of those, and without meaning in front of `end` */
    uint64_t end;         /* sequence number behind the last record or claim */
};
int ring_sum(int ring_fd, uint64_t seq, struct ring_sum *out, struct vd_err *err);

struct recovery_source {
    const char *path;                  /* of the session, for messages */
    const char *program;               /* who writes */
    const uint8_t *session;            /* 16 bytes */
    const struct audit_report *before; /* the log as it is */
    int ring_fd;                       /* -1: there is none that can be used */
    const char *ring_why;              /* then: why */
    const char *boot;                  /* boot id of the crashed session, or "" */
    const struct ring_sum *sum;        /* of the ring, from before->next_seq on */
};

/* Writes the segment and its checkpoints to two new, empty files, which are taken over (closed),
 * and syncs them.  VD_EAUDIT, VD_EIO, VD_ENOMEM. */
int recovery_write(const struct recovery_source *source, int segment_fd, int checkpoints_fd,
                   struct audit_recovery *out, struct vd_err *err);

#endif
