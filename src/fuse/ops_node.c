/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names and attributes: lookup, forget, getattr, readlink, statfs, extended attributes, access.
 *
 * When the log has failed everything answers EIO, except attributes of the root and its file
 * system: these say nothing about the evidence, and without them a mount cannot be inspected or
 * unmounted.
 */
#include "fuse/server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* "." and ".." reach the program only for nodes asked for by number (file handles, NFS). */
static int find_child(struct server *s, fuse_ino_t parent, const char *name, bool *out_by_number,
                      uint64_t *out_node, struct vd_err *err)
{
    *out_by_number = strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
    if (!*out_by_number)
        return tree_lookup(s->tree, parent, name, out_node, err);
    *out_node = name[1] ? tree_parent(s->tree, parent) : parent;
    return *out_node ? 0 : vd_fail(err, VD_ENOENT, "the parent directory is not known");
}

/* The kernel may keep "no such name" as well (unless audit_mode=exact): names do not appear later. */
static void reply_missing(fuse_req_t req, const struct log_event *event)
{
    struct fuse_entry_param none = {.entry_timeout = server_of(req)->timeout};

    if (server_record(req, event))
        (void)fuse_reply_entry(req, &none);
}

void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct server *s = server_of(req);
    struct fuse_entry_param e = {.attr_timeout = s->timeout, .entry_timeout = s->timeout};
    struct log_event event = {.op = AUDIT_LOOKUP, .obj = parent, .name = name};
    struct vd_err err = VD_ERR_INIT;
    uint64_t node = 0;
    bool by_number;
    int rc = find_child(s, parent, name, &by_number, &node, &err);

    if (rc == -VD_ENOENT && !by_number) {
        event.error = ENOENT;
        reply_missing(req, &event);
        return;
    }
    if (!rc)
        rc = server_attr(s, node, &e.attr, &err);
    event.off = node;
    if (rc) {
        event.error = server_errno(rc);
        server_fail(req, &event, rc, &err);
        return;
    }
    e.ino = node;
    if (!paths_add(s->log.paths, node, by_number ? 0 : parent, name, strlen(name))) {
        event.error = ENOMEM;
        server_finish(req, &event);
        return;
    }
    /* A reply that was not accepted (the caller was killed) counts no lookup. */
    if (!server_record(req, &event) || fuse_reply_entry(req, &e) != 0)
        paths_forget(s->log.paths, node, 1);
}

void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
    paths_forget(server_of(req)->log.paths, ino, n);
    fuse_reply_none(req);
}

void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
    size_t i;

    for (i = 0; i < count; i++)
        paths_forget(server_of(req)->log.paths, forgets[i].ino, forgets[i].nlookup);
    fuse_reply_none(req);
}

void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct server *s = server_of(req);
    struct log_event event = {.op = AUDIT_GETATTR, .obj = ino};
    struct vd_err err = VD_ERR_INIT;
    struct stat st;
    int rc = server_attr(s, ino, &st, &err);

    (void)fi;
    if (rc) {
        event.error = server_errno(rc);
        server_fail(req, &event, rc, &err);
        return;
    }
    if ((ino == TREE_ROOT && !log_ready(&s->log)) || server_record(req, &event))
        (void)fuse_reply_attr(req, &st, s->timeout);
}

void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
    struct server *s = server_of(req);
    struct log_event event = {.op = AUDIT_READLINK, .obj = ino, .with_path = true};
    struct vd_err err = VD_ERR_INIT;
    char *target = NULL;
    int rc = tree_readlink(s->tree, ino, paths_depth(s->log.paths, ino), &target, &err);

    if (rc) {
        event.error = server_errno(rc);
        event.text = rc == -VD_EREFUSED ? err.msg : NULL;
        server_fail(req, &event, rc, &err);
    } else {
        event.len = strlen(target);
        if (server_record(req, &event))
            (void)fuse_reply_readlink(req, target);
    }
    free(target);
}

void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
    struct server *s = server_of(req);
    const struct log_event event = {.op = AUDIT_STATFS, .obj = ino};
    struct statvfs st;

    memset(&st, 0, sizeof(st));
    tree_statfs(s->tree, &st);
    st.f_flag |= ST_RDONLY;
    if (!log_ready(&s->log) || server_record(req, &event))
        (void)fuse_reply_statfs(req, &st);
}

/* The two-step protocol of getxattr(2) and listxattr(2): size 0 asks for the size. */
static void reply_xattr(fuse_req_t req, struct log_event *event, const char *value, size_t len,
                        size_t size)
{
    if (size && len > size)
        event->error = ERANGE;
    else if (size)
        event->len = len;
    if (!server_record(req, event))
        return;
    if (event->error)
        (void)fuse_reply_err(req, event->error);
    else if (size)
        (void)fuse_reply_buf(req, value, len);
    else
        (void)fuse_reply_xattr(req, len);
}

/* The root tells the process id of the supervisor, so that `vdiskctl umount` can wait for the log
 * to be closed.  It belongs to the mount, not to the evidence, and is therefore not listed.  False:
 * not that attribute, or no memory. */
static bool supervisor_xattr(fuse_ino_t ino, const char *name, char **out, size_t *out_len)
{
    char digits[16];

    if (ino != FUSE_ROOT_ID || strcmp(name, "user.vdiskfs.supervisor") != 0)
        return false;
    (void)snprintf(digits, sizeof(digits), "%ld", (long)getppid());
    *out = strdup(digits);
    *out_len = strlen(digits);
    return *out != NULL;
}

/* There is no evidence in it, and `vdiskctl umount` needs it most when the log is full: it is recorded
 * if that is possible, and answered either way. */
static void reply_supervisor(fuse_req_t req, const struct log_event *event, const char *value,
                             size_t len, size_t size)
{
    const struct fuse_ctx *ctx = fuse_req_ctx(req);
    const struct who_request sender = {.pid = ctx->pid, .uid = ctx->uid, .gid = ctx->gid};

    (void)log_put(&server_of(req)->log, &sender, event);
    if (size == 0)
        (void)fuse_reply_xattr(req, len);
    else if (size < len)
        (void)fuse_reply_err(req, ERANGE);
    else
        (void)fuse_reply_buf(req, value, len);
}

void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
    struct server *s = server_of(req);
    struct log_event event = {.op = AUDIT_GETXATTR, .obj = ino, .name = name, .with_path = true};
    struct vd_err err = VD_ERR_INIT;
    char *value = NULL;
    size_t len = 0;
    int rc = -VD_ENOENT;

    /* security.*, trusted.* and system.* of the evidence must never reach the kernel, which would
     * act on them.  vdiskfs.*: on links and devices, where the kernel refuses user.* by itself. */
    if (supervisor_xattr(ino, name, &value, &len)) {
        reply_supervisor(req, &event, value, len, size);
        free(value);
        return;
    }
    if (strncmp(name, "user.", 5) == 0 || strncmp(name, "vdiskfs.", 8) == 0)
        rc = tree_getxattr(s->tree, ino, name, &value, &len, &err);
    if (rc) {
        event.error = rc == -VD_ENOENT ? ENODATA : server_errno(rc);
        server_fail(req, &event, rc, &err);
    } else {
        reply_xattr(req, &event, value, len, size);
    }
    free(value);
}

void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
    struct server *s = server_of(req);
    struct log_event event = {.op = AUDIT_LISTXATTR, .obj = ino};
    struct vd_err err = VD_ERR_INIT;
    char *names = NULL;
    size_t len = 0;
    int rc = tree_listxattr(s->tree, ino, &names, &len, &err);

    if (rc) {
        event.error = server_errno(rc);
        server_fail(req, &event, rc, &err);
    } else {
        reply_xattr(req, &event, names, len, size);
    }
    free(names);
}

/* With default_permissions (always set) the kernel decides by itself; this is the answer if it does
 * ask. */
void op_access(fuse_req_t req, fuse_ino_t ino, int mask)
{
    const struct log_event event = {
        .op = AUDIT_ACCESS, .obj = ino, .error = mask & W_OK ? EROFS : 0};

    server_finish(req, &event);
}
