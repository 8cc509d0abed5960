/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every operation that would modify something: recorded as REFUSED, synced, answered EROFS.
 *
 * With the superblock read-only (the normal case) the kernel refuses most of these by itself; this
 * is the second, independent layer, and it is the only one after somebody remounted the superblock
 * rw.  No slot may stay empty: libfuse would answer ENOSYS, which the kernel remembers for some
 * operations, so that later attempts would neither get EROFS nor reach the log.
 */
#include "fuse/server.h"

#include <errno.h>

void op_refuse(fuse_req_t req, const char *op, uint64_t node, const char *name)
{
    const struct log_event event = {.op = AUDIT_REFUSED,
                                    .obj = node,
                                    .error = EROFS,
                                    .with_path = true,
                                    .key = op,
                                    .name = name};

    server_finish(req, &event);
}

static void refuse_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
                           struct fuse_file_info *fi)
{
    (void)attr;
    (void)to_set;
    (void)fi;
    op_refuse(req, "setattr", ino, NULL);
}

static void refuse_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
                         dev_t rdev)
{
    (void)mode;
    (void)rdev;
    op_refuse(req, "mknod", parent, name);
}

static void refuse_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
    (void)mode;
    op_refuse(req, "mkdir", parent, name);
}

static void refuse_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    op_refuse(req, "unlink", parent, name);
}

static void refuse_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    op_refuse(req, "rmdir", parent, name);
}

static void refuse_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
    (void)target;
    op_refuse(req, "symlink", parent, name);
}

static void refuse_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
                          fuse_ino_t new_parent, const char *new_name, unsigned flags)
{
    (void)new_parent;
    (void)new_name;
    (void)flags;
    op_refuse(req, "rename", parent, name);
}

static void refuse_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t new_parent, const char *new_name)
{
    (void)new_parent;
    op_refuse(req, "link", ino, new_name);
}

static void refuse_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
                         struct fuse_file_info *fi)
{
    (void)buf;
    (void)size;
    (void)off;
    (void)fi;
    op_refuse(req, "write", ino, NULL);
}

static void refuse_write_buf(fuse_req_t req, fuse_ino_t ino, struct fuse_bufvec *bufv, off_t off,
                             struct fuse_file_info *fi)
{
    (void)bufv;
    (void)off;
    (void)fi;
    op_refuse(req, "write", ino, NULL);
}

static void refuse_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
                          struct fuse_file_info *fi)
{
    (void)mode;
    (void)fi;
    op_refuse(req, "create", parent, name);
}

static void refuse_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
                            size_t size, int flags)
{
    (void)value;
    (void)size;
    (void)flags;
    op_refuse(req, "setxattr", ino, name);
}

static void refuse_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
    op_refuse(req, "removexattr", ino, name);
}

static void refuse_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
                             struct fuse_file_info *fi)
{
    (void)mode;
    (void)off;
    (void)len;
    (void)fi;
    op_refuse(req, "fallocate", ino, NULL);
}

static void refuse_copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t off_in,
                                   struct fuse_file_info *fi_in, fuse_ino_t ino_out, off_t off_out,
                                   struct fuse_file_info *fi_out, size_t len, int flags)
{
    (void)ino_in;
    (void)off_in;
    (void)fi_in;
    (void)off_out;
    (void)fi_out;
    (void)len;
    (void)flags;
    op_refuse(req, "copy_file_range", ino_out, NULL);
}

void ops_refuse_fill(struct fuse_lowlevel_ops *ops)
{
    ops->setattr = refuse_setattr;
    ops->mknod = refuse_mknod;
    ops->mkdir = refuse_mkdir;
    ops->unlink = refuse_unlink;
    ops->rmdir = refuse_rmdir;
    ops->symlink = refuse_symlink;
    ops->rename = refuse_rename;
    ops->link = refuse_link;
    ops->write = refuse_write;
    ops->write_buf = refuse_write_buf;
    ops->create = refuse_create;
    ops->setxattr = refuse_setxattr;
    ops->removexattr = refuse_removexattr;
    ops->fallocate = refuse_fallocate;
    ops->copy_file_range = refuse_copy_file_range;
}
