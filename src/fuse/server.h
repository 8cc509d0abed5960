/* SPDX-License-Identifier: Apache-2.0 */
/* Private to src/fuse: what the handlers share, and the handlers themselves. */
#ifndef VD_FUSE_SERVER_H
#define VD_FUSE_SERVER_H

#define FUSE_USE_VERSION 312

#include "fuse/buffers.h"
#include "fuse/log.h"
#include "fuse/serve.h"

#include <fuse_lowlevel.h>
#include <stdatomic.h>

/* Seconds that the kernel may keep names and attributes: nothing ever changes.  Not with
 * audit_mode=exact: there every question is asked. */
#define SERVER_TIMEOUT 86400.0

/* Immutable after serve_mount set it up, but for what has its own lock. */
struct server {
    struct tree *tree;
    struct proc_channel *channel;
    struct log log;
    struct buffers buffers;
    struct fuse_session *session;
    /* Requests that wait for space for the log, and what the loop does before one more does: somebody
     * must go on listening, or nothing could be interrupted. */
    atomic_uint waiting;
    void (*will_wait)(void *ctx);
    void *will_wait_ctx;
    unsigned background;  /* requests in flight that the kernel may keep in the background */
    bool exact;           /* audit_mode=exact: the kernel shall keep nothing */
    double timeout;       /* SERVER_TIMEOUT, exact: 0 */
    bool usable;          /* INIT was answered; written before any other request */
    struct vd_err failed; /* why INIT gave up */
    /* handshake.c */
    bool mmap_offered;        /* exact: MAP_SHARED works */
    uint64_t init_unique;     /* number of the INIT request … */
    atomic_bool init_pending; /* … whose answer is still to be amended */
};

/* ---- server.c: helpers of the handlers ---- */

static inline struct server *server_of(fuse_req_t req)
{
    return fuse_req_userdata(req);
}

/* The errno for a result of the tree about a node: an unknown number is ESTALE. */
int server_errno(int rc);

/* Can an access be recorded?  With audit_full=block waits until it can.  false: no, EIO (or EINTR)
 * was answered, the handler is done.  For handlers that would otherwise touch the evidence first. */
bool server_ready(fuse_req_t req);

/* Records `event`; false: the log is not available and EIO was answered, the handler is done. */
bool server_record(fuse_req_t req, const struct log_event *event);

/* As server_record, and answers `event->error` (0: success without content). */
void server_finish(fuse_req_t req, const struct log_event *event);

/* Records that something of `event` could not be read; does not answer.  false: answer EIO. */
bool server_unreadable(fuse_req_t req, const struct log_event *event, const char *message);

/* Ends a request that failed with `rc` and `err`: records `event` with the errno, records what
 * could not be read, answers. */
void server_fail(fuse_req_t req, struct log_event *event, int rc, const struct vd_err *err);

/* tree_getattr, with what the kernel would not accept (it would hide a whole directory for it)
 * turned into an error. */
int server_attr(struct server *s, uint64_t node, struct stat *out, struct vd_err *err);

/* ---- the handlers ---- */

/* ops_node.c: names and attributes */
void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n);
void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets);
void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_readlink(fuse_req_t req, fuse_ino_t ino);
void op_statfs(fuse_req_t req, fuse_ino_t ino);
void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);
void op_access(fuse_req_t req, fuse_ino_t ino, int mask);

/* ops_read.c: contents of files */
void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi);
void op_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct fuse_pollhandle *ph);
void op_bmap(fuse_req_t req, fuse_ino_t ino, size_t blocksize, uint64_t idx);

/* ops_dir.c: contents of directories */
void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                    struct fuse_file_info *fi);
void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);

/* ops_ioctl.c */
void op_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned cmd, void *arg, struct fuse_file_info *fi,
              unsigned flags, const void *in, size_t in_size, size_t out_size);

/* ops_unknown.c: records a request that libfuse does not know; true: it was answered as well. */
bool op_unknown(struct server *s, const struct fuse_buf *buf);

/* ops_refuse.c: everything that would modify.  Fills the slots of `ops`. */
void ops_refuse_fill(struct fuse_lowlevel_ops *ops);
/* Answers EROFS to operation `op` on `node` (with `name`, may be NULL) after it was recorded. */
void op_refuse(fuse_req_t req, const char *op, uint64_t node, const char *name);

#endif
