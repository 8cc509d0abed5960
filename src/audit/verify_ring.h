/* SPDX-License-Identifier: Apache-2.0 */
/* Looking into ring.wal for what was not sealed; private to the verifier. */
#ifndef VD_AUDIT_VERIFY_RING_H
#define VD_AUDIT_VERIFY_RING_H

#include "audit/verify.h"

/* Is a supervisor writing the log whose directory is `dir_fd`? */
bool ring_is_live(int dir_fd);
/* Device of its mount, major << 32 | minor; 0: none yet, or it cannot be told. */
uint64_t ring_mount(int dir_fd);

/* Sets has_ring, unsealed and unfinished of `report`, counting from sequence number `seq`.  A ring
 * that cannot be used (another session's, damaged) sets `reason` and leaves has_ring false.
 * VD_EIO when it cannot be read. */
int ring_scan(int dir_fd, uint64_t seq, struct audit_report *report, struct vd_err *err);

#endif
