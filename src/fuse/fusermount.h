/* SPDX-License-Identifier: Apache-2.0 */
/* Running fusermount3, the setuid helper of libfuse that mounts for ordinary users. */
#ifndef VD_FUSE_FUSERMOUNT_H
#define VD_FUSE_FUSERMOUNT_H

#include "base/err.h"

/* Mounts on `path` with the options (fusermount3's syntax: commas and backslashes of a value are
 * escaped by backslashes) and receives the /dev/fuse descriptor; caller owns it, close-on-exec.
 * What the helper says is in the message.  Blocks until the helper has ended. */
int fusermount_mount(const char *path, const char *options, int *out_fuse_fd, struct vd_err *err);

/* Unmounts lazily. */
int fusermount_unmount(const char *path, struct vd_err *err);

#endif
