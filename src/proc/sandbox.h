/* SPDX-License-Identifier: Apache-2.0 */
/* The worker's prison. */
#ifndef VD_PROC_SANDBOX_H
#define VD_PROC_SANDBOX_H

#include "proc/proc.h"

/* Locks the calling process down for good: no new privileges, no capabilities, Landlock with every
 * right that this kernel knows handled and no rule.  Call while the process has one thread: later
 * threads inherit it.  Before that everything is loaded that libraries load lazily from files.
 * Writes what is in force into `words`.  PROC_SANDBOX_REQUIRE: VD_EREFUSED when anything is
 * missing; PROC_SANDBOX_BEST: the words tell. */
int proc_sandbox_enter(enum proc_sandbox_mode mode, char *words, size_t size, struct vd_err *err);

/* The Landlock ABI of this kernel, or 0; *out_errno (may be NULL) tells why. */
int proc_sandbox_landlock_abi(int *out_errno);

#endif
