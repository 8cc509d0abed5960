/* SPDX-License-Identifier: Apache-2.0 */
/* Who a process is, read from /proc by the supervisor.  The texts there are partly written by the
 * process itself (its name may hold anything): the decoders are pure and take any bytes. */
#ifndef VD_PROC_IDENTITY_H
#define VD_PROC_IDENTITY_H

#include "proc/proc.h"

/* Does /proc belong to this process's pid namespace?  Only then are the numbers there those that the
 * kernel tells with requests.  `status` is the text of /proc/self/status: its line NSpid has one
 * number for each namespace from that of /proc inwards.  Pure. */
bool proc_status_is_ours(const char *status, size_t len);

/* Resolves `pid`, which may also be the id of a thread: the answer is the process it belongs to.
 * uid and gid are the real ones; the mark is the thread's, and out_fds are the files to compare it
 * with later (the caller closes them).  What is told is one program: should the process execute
 * another one meanwhile, it is read again.  VD_ENOENT: the process is gone (or hidden). */
int proc_identity_read(pid_t pid, struct proc_identity *out, int out_fds[PROC_WATCH_FDS],
                       struct vd_err *err);

/* Number of the controlling terminal out of /proc/PID/stat (field 7; 0 = none), and its name as the
 * devices are called: "pts/3", "tty1", "ttyS0", otherwise "major:minor"; "" for 0. */
int proc_stat_terminal(const char *text, size_t len, uint64_t *out, struct vd_err *err);
void proc_terminal_name(uint64_t number, char *out, size_t size);

/* Start time out of /proc/PID/stat (field 22, clock ticks since boot).  proc(5): the name in
 * field 2 stands in parentheses and may itself hold spaces, parentheses and newlines. */
int proc_stat_decode(const char *text, size_t len, uint64_t *out_start, struct vd_err *err);

struct proc_status {
    uint32_t tgid, uid, gid;
};

/* Tgid, real uid and real gid out of /proc/PID/status. */
int proc_status_decode(const char *text, size_t len, struct proc_status *out, struct vd_err *err);

#endif
