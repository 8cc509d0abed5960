/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of the chain while they are mounted, in the worker: do they stay what they were, and
 * (hash_inputs=sha256) what are their hashes?
 */
#ifndef VD_CLI_INPUTS_WATCH_H
#define VD_CLI_INPUTS_WATCH_H

#include "audit/audit.h"
#include "image/chain.h"

struct inputs_watch;

/* Starts watching: size and times of every file are looked at once a second, a change is an
 * EVIDENCE_CHANGED record; with `hash` each file is hashed at the lowest priority, which gives an
 * EVIDENCE_HASH record each.  Without room for a thread there is a WARNING in the log and no
 * watching.  VD_ENOMEM. */
int inputs_watch_start(const struct chain *chain, struct audit_ring *ring, bool hash,
                       struct inputs_watch **out, struct vd_err *err);

/* Looks a last time, records what was not hashed and whether anything changed, ends the threads;
 * frees.  Returns within two seconds, also when a file's host hangs: then that thread is left
 * behind with what it needs.  NULL is allowed. */
void inputs_watch_stop(struct inputs_watch *watch);

#endif
