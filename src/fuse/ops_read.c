/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Contents of files: open, read, release, and the requests that only ask about an open file.
 *
 * Page cache.  Every file is opened with keep_cache and without direct_io, also where tree_open
 * advises to bypass the cache: before kernel 6.6 a direct_io file cannot be mapped MAP_SHARED, and
 * reading disk.img through mmap must work.  (audit_mode=exact opens every file with direct_io: each
 * read(2) is a request.  See handshake.c for mmap.)  So:
 *
 *   - a reply may be shorter than asked for only at the end of the file, because the kernel shows
 *     what is missing as zeros; a request of which any byte cannot be read fails as a whole, and
 *     the kernel then asks again page by page, so that only the bad pages are lost;
 *   - the page cache may serve later reads without a request (design, section 7: audit_mode).
 *
 * No request ever answers ENOSYS, which the kernel would remember for the life of the mount and no
 * longer ask (and so no longer be logged).
 */
#include "fuse/server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct server *s = server_of(req);
    struct log_event event = {
        .op = AUDIT_OPEN, .obj = ino, .with_path = true, .out_handle = &fi->fh};
    struct vd_err err = VD_ERR_INIT;
    bool uncached = false;
    int rc;

    /* The most important line of the write blocker: with a superblock that somebody remounted rw
     * this is what stands between an open for writing and success. */
    if ((fi->flags & O_ACCMODE) != O_RDONLY || fi->flags & O_TRUNC) {
        op_refuse(req, "open", ino, NULL);
        return;
    }
    rc = tree_open(s->tree, ino, &uncached, &err);
    if (rc) {
        event.error = server_errno(rc);
        event.text = rc == -VD_EREFUSED ? err.msg : NULL;
        server_fail(req, &event, rc, &err);
        return;
    }
    fi->direct_io = s->exact;
    fi->keep_cache = !s->exact;
    fi->noflush = 1; /* nothing to flush; RELEASE tells the end */
    if (server_record(req, &event))
        (void)fuse_reply_open(req, fi);
}

void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    struct server *s = server_of(req);
    struct log_event event = {
        .op = AUDIT_READ, .obj = ino, .off = (uint64_t)off, .len = size, .handle = fi->fh};
    struct vd_err err = VD_ERR_INIT;
    size_t got = 0;
    char *buf;
    int rc;

    if (!server_ready(req)) /* do not even touch the evidence */
        return;
    buf = buffers_get(&s->buffers, size);
    if (off < 0)
        rc = vd_fail(&err, VD_EUSAGE, "read at a negative offset");
    else if (!buf)
        rc = vd_fail(&err, VD_ENOMEM, "no memory for a read of %zu bytes", size);
    else
        rc = tree_read(s->tree, ino, (uint64_t)off, buf, size, &got, &err);
    if (rc) {
        event.error = server_errno(rc);
        server_fail(req, &event, rc, &err);
    } else {
        event.len = got;
        if (server_record(req, &event))
            (void)fuse_reply_buf(req, buf, got);
    }
    buffers_put(&s->buffers, buf, size);
}

void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    const struct log_event event = {.op = AUDIT_FSYNC, .obj = ino, .key = "flush"};

    (void)fi;
    server_finish(req, &event);
}

void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    const struct log_event event = {.op = AUDIT_RELEASE, .obj = ino, .handle = fi->fh};

    server_finish(req, &event);
}

/* Nothing can be dirty, and cp and sync complain about any other answer. */
void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    const struct log_event event = {.op = AUDIT_FSYNC, .obj = ino};

    (void)datasync;
    (void)fi;
    server_finish(req, &event);
}

void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi)
{
    struct server *s = server_of(req);
    struct log_event event = {.op = AUDIT_LSEEK, .obj = ino, .off = (uint64_t)off};
    struct vd_err err = VD_ERR_INIT;
    uint64_t found = 0;
    int rc;

    (void)fi;
    if (off < 0 || (whence != SEEK_DATA && whence != SEEK_HOLE)) {
        event.error = off < 0 ? ENXIO : EINVAL;
        server_finish(req, &event);
        return;
    }
    rc = tree_seek(s->tree, ino, (uint64_t)off, whence == SEEK_DATA, &found, &err);
    if (rc) {
        event.error = rc == -VD_ENOENT ? ENXIO : server_errno(rc);
        server_fail(req, &event, rc, &err);
        return;
    }
    if (server_record(req, &event))
        (void)fuse_reply_lseek(req, (off_t)found);
}

/* A file is always ready. */
void op_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct fuse_pollhandle *ph)
{
    const struct log_event event = {.op = AUDIT_ACCESS, .obj = ino, .key = "poll"};

    (void)fi;
    if (ph)
        fuse_pollhandle_destroy(ph);
    if (server_record(req, &event))
        (void)fuse_reply_poll(req, POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM);
}

/* There is no block device below; the kernel asks only when it believes so. */
void op_bmap(fuse_req_t req, fuse_ino_t ino, size_t blocksize, uint64_t idx)
{
    const struct log_event event = {
        .op = AUDIT_ACCESS, .obj = ino, .off = idx, .error = EINVAL, .key = "bmap"};

    (void)blocksize;
    server_finish(req, &event);
}
