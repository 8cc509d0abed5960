/* SPDX-License-Identifier: Apache-2.0 */
/* Private to src/proc: reading marks; proc.h has the comparison. */
#ifndef VD_PROC_MARK_H
#define VD_PROC_MARK_H

#include "proc/proc.h"

/* Reads the mark of the thread behind `fds`; false when it is gone. */
bool proc_mark_read(const int fds[PROC_WATCH_FDS], struct proc_mark *out);

/* Pages of program text out of statm: its fourth number; 0 when there is none (kernel threads,
 * processes that ended, anything else).  Pure. */
uint64_t proc_statm_text(const char *text, size_t len);

#endif
