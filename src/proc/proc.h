/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process pair.  The supervisor parses nothing: it opens evidence by bare name, mounts and
 * unmounts, and runs the audit thread.  The worker parses everything and may open nothing: no
 * capabilities, no new privileges, Landlock with no rule.
 *
 *   supervisor ◀── requests (SOCK_SEQPACKET, one answer each) ── worker
 *       OPEN dir name → descriptor + identity      LIST dir → names
 *       MOUNT         → /dev/fuse descriptor        PROC pid → who that is
 *       MOUNTED, FAILED err, FINISHED
 *   supervisor ── stop pipe (end of file = stop) ──▶ worker
 */
#ifndef VD_PROC_PROC_H
#define VD_PROC_PROC_H

#include "audit/audit.h"
#include "blk/evidence.h"

#include <sys/types.h>

struct proc_channel; /* the worker's end */

/* What is cheap to look at again to see that a thread is still the same, running the same program:
 * its own name as /proc/TID/comm has it, and sizes of its program in /proc/TID/statm. */
struct proc_mark {
    uint32_t comm_len;
    char comm[68];        /* raw, with the newline at its end; kernels have 16 or 64 bytes */
    uint64_t total, text; /* pages */
};

/* The files behind a mark.  They stay bound to the thread: after its end reading fails with ESRCH,
 * also when its number is used again. */
enum { PROC_WATCH_COMM, PROC_WATCH_STATM, PROC_WATCH_FDS };

/* What a process that makes requests is; resolved by the supervisor from /proc. */
struct proc_identity {
    uint32_t pid, uid, gid;
    uint64_t start_time;            /* clock ticks since boot: field 22 of /proc/PID/stat */
    uint32_t login_uid, session_id; /* (uint32_t)-1 when unknown */
    char comm[32];
    char exe[512]; /* printable; "" when unknown */
    char tty[16];  /* controlling terminal ("pts/3"), "" = none */
    struct proc_mark mark;
};

/* ---- worker side ---- */

/* A source of evidence that asks the supervisor.  Same file twice → same blkdev instance while one
 * is alive.  Thread-safe. */
void proc_channel_source(struct proc_channel *channel, struct blk_source *out);

/* Asks who `pid` is, the id of a process or thread.  out_fds get the descriptors to watch it with
 * (see proc_mark_look); the caller owns them; both are -1 when there was no room for them.  Fails with
 * VD_ENOENT when the process is gone. */
int proc_channel_identify(struct proc_channel *channel, pid_t pid, struct proc_identity *out,
                          int out_fds[PROC_WATCH_FDS], struct vd_err *err);

enum proc_look { PROC_LOOK_SAME, PROC_LOOK_CHANGED, PROC_LOOK_DEAD };

/* Is the thread behind `fds` still what `mark` says?  `closely`: also looks at the program's sizes,
 * which sees that another program of the same name was executed.  Reads one or two small files;
 * any thread, any contents. */
enum proc_look proc_mark_look(const int fds[PROC_WATCH_FDS], const struct proc_mark *mark,
                              bool closely);

/* Asks for the mount; the answer is the /dev/fuse descriptor, caller owns it. */
int proc_channel_mount(struct proc_channel *channel, int *out_fuse_fd, struct vd_err *err);

/* Says that FUSE_INIT was answered: the mount is usable. */
int proc_channel_mounted(struct proc_channel *channel, struct vd_err *err);

/* Descriptor that becomes readable (end of file) when the worker shall stop. */
int proc_channel_stop_fd(const struct proc_channel *channel);

/* The sandbox in force, in words ("landlock ABI 7, no capabilities, no_new_privs"). */
const char *proc_channel_sandbox(const struct proc_channel *channel);

/* ---- starting the pair ---- */

enum proc_sandbox_mode { PROC_SANDBOX_BEST, PROC_SANDBOX_REQUIRE, PROC_SANDBOX_OFF };

/* What the worker runs, sandboxed.  Its result (0 or a negative class, and *err) becomes the
 * result of proc_run. */
typedef int proc_worker_fn(struct proc_channel *channel, void *arg, struct vd_err *err);

#define PROC_MAX_KEEP_FD 8

struct proc_config {
    const char *const *dirs; /* evidence directories; [0] is the image's own */
    unsigned n_dirs;
    const char *block_device; /* bare name in dirs[0] that may be a block device, or NULL */
    enum proc_sandbox_mode sandbox;
    /* Descriptors of the caller that the worker keeps, to put results there; at most
     * PROC_MAX_KEEP_FD.  Never evidence: that comes through the channel alone. */
    const int *keep_fd;
    size_t n_keep_fd;

    proc_worker_fn *worker;
    void *arg;

    /* With audit (a mount): the supervisor logs each evidence file it opens.  NULL: no log. */
    struct audit_writer *audit;
    struct audit_ring *ring;

    /* Called in the supervisor on MOUNT: mounts and gives the descriptor.  NULL: not a mount. */
    int (*mount)(void *ctx, int *out_fuse_fd, struct vd_err *err);
    /* Called on MOUNTED: the mount is usable (daemon mode lets the parent go).  An error ends it. */
    int (*mounted)(void *ctx, struct vd_err *err);
    /* Called once in the supervisor after the fork: it may make threads from here on.  May be NULL. */
    int (*forked)(void *ctx, struct vd_err *err);
    /* Called once a second while it is mounted, and when watch_fd (or -1) has POLLPRI or POLLERR.
     * May be NULL: then watch_fd is not looked at. */
    void (*tick)(void *ctx);
    int watch_fd;
    /* Called on SIGINT/SIGTERM/SIGHUP: unmounts. */
    void (*unmount)(void *ctx);
    void *ctx;
};

/* Forks the worker, serves it, waits for its end.  Returns the worker's result; when it died:
 * VD_EIO "the worker was killed by signal …" (*out_died set).  Call before any thread
 * exists; the audit thread is started after the fork, then `forked` is called. */
int proc_run(const struct proc_config *config, bool *out_died, struct vd_err *err);

/* Makes sure that descriptors 0–2 are open, so that no output can land in evidence. */
int proc_standard_fds(struct vd_err *err);

#endif
