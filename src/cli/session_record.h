/* SPDX-License-Identifier: Apache-2.0 */
/* The first records of a log: who, what, with which tool. */
#ifndef VD_CLI_SESSION_RECORD_H
#define VD_CLI_SESSION_RECORD_H

#include "audit/audit.h"
#include "cli/mount_run.h"

/* Logs SESSION_OPEN and one OPTION per option in force; returns the sequence number of the last of
 * them.  `previous` is what audit_previous found. */
uint64_t session_record_open(struct audit_ring *ring, const struct mount_run *run,
                             const struct audit_previous *previous);

#endif
