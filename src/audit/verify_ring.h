/* SPDX-License-Identifier: Apache-2.0 */
/* Looking into ring.wal for what was not sealed; for the verifier and for a recovery. */
#ifndef VD_AUDIT_VERIFY_RING_H
#define VD_AUDIT_VERIFY_RING_H

#include "audit/verify.h"

/* Is a supervisor writing the log whose directory is `dir_fd`? */
bool ring_is_live(int dir_fd);
/* Its mount; all zero: none yet, or it cannot be told. */
void ring_mount(int dir_fd, struct audit_mount *out);

/* What stands at one place of the ring. */
enum ring_item_kind {
    RING_RECORD, /* a complete record: sequence number and CRC-32C are right, nothing else is checked */
    RING_CLAIM,  /* a claim that was never completed */
    RING_NOTHING /* a slot without meaning */
};
struct ring_item {
    enum ring_item_kind kind;
    uint64_t seq;         /* sequence number that this place stands for */
    size_t slots;         /* 1 to 256 */
    const uint8_t *bytes; /* of a record: its slots; borrowed for the call */
};

/* Called in order; anything but 0 ends the walk and is returned. */
typedef int ring_item_fn(void *ctx, const struct ring_item *item, struct vd_err *err);

/* Can the file `fd` (-1: there is none) be the ring of `session` (NULL: of any)?  NULL, or why not.
 * Where it is a ring, its own session goes to `out_session` (may be NULL). */
const char *ring_unusable(int fd, const uint8_t *session, uint8_t out_session[16]);

/* Goes once through all slots of the ring `fd`, from that of sequence number `seq` on.  To be asked
 * after ring_unusable.  Memory is bounded.  VD_EIO when it cannot be read. */
int ring_walk(int fd, uint64_t seq, ring_item_fn *fn, void *ctx, struct vd_err *err);

/* Opens it as the verifier does: no link, and without waiting; -1 and errno. */
int ring_open(int dir_fd, int flags);

/* Sets has_ring, unsealed and unfinished of `report`, counting from sequence number `seq`.  A ring
 * that cannot be used (another session's, damaged) sets `reason` and leaves has_ring false.
 * VD_EIO when it cannot be read. */
int ring_scan(int dir_fd, uint64_t seq, struct audit_report *report, struct vd_err *err);

#endif
