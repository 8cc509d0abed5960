/* SPDX-License-Identifier: Apache-2.0 */
/* Private to src/proc: reading marks; proc.h has the comparison. */
#ifndef VD_PROC_MARK_H
#define VD_PROC_MARK_H

#include "proc/proc.h"

/* Reads the mark of the thread behind `fds`; false when it is gone. */
bool proc_mark_read(const int fds[PROC_WATCH_FDS], struct proc_mark *out);

/* Pages in all and pages of program text out of statm, its first and fourth number (0 for kernel
 * threads and processes that ended); false: it is none.  Pure. */
bool proc_statm_decode(const char *text, size_t len, uint64_t *out_total, uint64_t *out_text);

#endif
