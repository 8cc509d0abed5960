/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Contents of directories.  Cookies of the kernel: 0 is before ".", 1 before "..", and n + 2 is the
 * tree's cookie n, so that both dot entries are given and the tree need not know them.
 *
 * READDIRPLUS hands nodes to the kernel without a LOOKUP: every entry with attributes counts as one
 * lookup and is put into the table of paths before the reply, so that the log can name it.  An
 * entry whose attributes cannot be read is given without them: the kernel asks with LOOKUP and gets
 * the error for that entry alone.  One bad entry never hides the others.
 *
 * The kernel may keep the listing: nothing changes, and OPENDIR is still asked (and logged) each
 * time.  Not with audit_mode=exact, where READDIRPLUS is not used either: what it hands out, nobody
 * would have to ask for.
 */
#include "fuse/server.h"

#include "base/limits.h"

#include <errno.h>
#include <linux/fuse.h>
#include <string.h>

#define FIRST_COOKIE 2u

/* A listing being put together. */
struct listing {
    fuse_req_t req;
    struct server *s;
    uint64_t dir;
    bool plus;
    char *buf;
    size_t size, used;
    uint64_t entries;
    bool full;
    uint64_t left_out; /* entries with a name that the kernel would not accept */
};

/* Adds one entry; false: no room.  `node_attr` NULL: without attributes. */
static bool put_entry(struct listing *l, const char *name, uint64_t node, mode_t type,
                      const struct stat *node_attr, uint64_t next)
{
    struct fuse_entry_param e = {.attr_timeout = l->s->timeout, .entry_timeout = l->s->timeout};
    size_t room = l->size - l->used, need;

    if (node_attr) {
        e.ino = node;
        e.attr = *node_attr;
    } else {
        e.attr.st_ino = node;
        e.attr.st_mode = type;
    }
    if (l->plus)
        need = fuse_add_direntry_plus(l->req, l->buf + l->used, room, name, &e, (off_t)next);
    else
        need = fuse_add_direntry(l->req, l->buf + l->used, room, name, &e.attr, (off_t)next);
    if (need > room) {
        l->full = true;
        return false;
    }
    l->used += need;
    l->entries++;
    return true;
}

static bool name_acceptable(const char *name)
{
    size_t len = strlen(name);

    return len > 0 && len <= VD_MAX_NAME && !memchr(name, '/', len);
}

/* tree_entry_fn */
static int add_child(void *ctx, const char *name, uint64_t node, mode_t type, uint64_t next)
{
    struct listing *l = ctx;
    struct stat st;
    bool has_attr = false;

    if (!name_acceptable(name)) { /* the tree never gives one; the kernel would drop the rest */
        l->left_out++;
        return 0;
    }
    /* Attributes cost a read: look at the room first. */
    if (l->plus && fuse_add_direntry_plus(l->req, NULL, 0, name, NULL, 0) <= l->size - l->used) {
        has_attr = server_attr(l->s, node, &st, NULL) == 0 &&
                   paths_add(l->s->log.paths, node, l->dir, name, strlen(name));
    }
    if (put_entry(l, name, node, type, has_attr ? &st : NULL, next + FIRST_COOKIE))
        return 0;
    if (has_attr)
        paths_forget(l->s->log.paths, node, 1);
    return 1;
}

/* Takes back the lookups of a READDIRPLUS reply that the kernel did not accept. */
static void uncount(const struct listing *l)
{
    size_t at = 0;

    while (l->plus && at < l->used) {
        const struct fuse_direntplus *d = (const void *)(l->buf + at);

        if (d->entry_out.nodeid)
            paths_forget(l->s->log.paths, d->entry_out.nodeid, 1);
        at += FUSE_DIRENTPLUS_SIZE(d);
    }
}

static bool put_dots(struct listing *l, uint64_t *at)
{
    uint64_t up;

    if (*at == 0) {
        if (!put_entry(l, ".", l->dir, S_IFDIR, NULL, 1))
            return false;
        *at = 1;
    }
    if (*at == 1) {
        up = tree_parent(l->s->tree, l->dir);
        if (!put_entry(l, "..", up ? up : l->dir, S_IFDIR, NULL, FIRST_COOKIE))
            return false;
        *at = FIRST_COOKIE;
    }
    return true;
}

/* Fills the listing from the kernel's cookie `at` on.  An error after some entries waits for the
 * next request, which starts where it happened. */
static int fill(struct listing *l, uint64_t at, struct vd_err *err)
{
    int rc = 0;

    if (put_dots(l, &at))
        rc = tree_readdir(l->s->tree, l->dir, at - FIRST_COOKIE, add_child, l, err);
    if (l->entries)
        return 0;
    if (!rc && l->full)
        rc = vd_fail(err, VD_EUSAGE, "%zu bytes are too few for one entry", l->size);
    return rc;
}

static void reply_listing(fuse_req_t req, struct listing *l, const struct log_event *event)
{
    bool ok = server_record(req, event);

    if (ok && l->left_out) {
        ok = server_unreadable(req, event, "entries were left out: names that cannot be shown");
        if (!ok)
            (void)fuse_reply_err(req, EIO);
    }
    if (!ok || fuse_reply_buf(req, l->buf, l->used) != 0)
        uncount(l);
}

static void read_directory(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                           const struct fuse_file_info *fi, bool plus)
{
    struct server *s = server_of(req);
    struct listing l = {.req = req, .s = s, .dir = ino, .plus = plus, .size = size};
    struct log_event event = {
        .op = AUDIT_READDIR, .obj = ino, .off = (uint64_t)off, .handle = fi->fh};
    struct vd_err err = VD_ERR_INIT;
    int rc;

    if (!server_ready(req)) /* do not even touch the evidence */
        return;
    l.buf = buffers_get(&s->buffers, size);
    if (!l.buf)
        rc = vd_fail(&err, VD_ENOMEM, "no memory for a listing of %zu bytes", size);
    else
        rc = fill(&l, (uint64_t)off, &err);
    if (rc) {
        event.error = server_errno(rc);
        server_fail(req, &event, rc, &err);
    } else {
        event.len = l.entries;
        reply_listing(req, &l, &event);
    }
    buffers_put(&s->buffers, l.buf, size);
}

void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    read_directory(req, ino, size, off, fi, false);
}

void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                    struct fuse_file_info *fi)
{
    read_directory(req, ino, size, off, fi, true);
}

void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    const struct log_event event = {
        .op = AUDIT_OPENDIR, .obj = ino, .with_path = true, .out_handle = &fi->fh};

    fi->keep_cache = !server_of(req)->exact;
    fi->cache_readdir = !server_of(req)->exact;
    if (server_record(req, &event))
        (void)fuse_reply_open(req, fi);
}

void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    const struct log_event event = {.op = AUDIT_RELEASEDIR, .obj = ino, .handle = fi->fh};

    server_finish(req, &event);
}

void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    const struct log_event event = {.op = AUDIT_FSYNC, .obj = ino, .key = "fsyncdir"};

    (void)datasync;
    (void)fi;
    server_finish(req, &event);
}
