/* SPDX-License-Identifier: Apache-2.0 */
/* Mounting and unmounting, in the supervisor: by mount(2) where that is allowed, else through
 * fusermount3.  The worker never mounts (Landlock would not let it unmount). */
#ifndef VD_FUSE_MOUNTPOINT_H
#define VD_FUSE_MOUNTPOINT_H

#include "base/err.h"

struct mountpoint;

struct mountpoint_options {
    const char *path;   /* directory, absolute */
    const char *fsname; /* shown as source in /proc/mounts: the image's path */
    const char *extra;  /* further generic options ("allow_other"), comma-separated, or NULL */
    bool see_refused;   /* superblock rw: what would modify reaches the program, which refuses it */
};

/* Mounts with ro (see_refused: rw), nosuid, nodev, noexec, subtype vdiskfs, and
 * default_permissions (see_refused by an ordinary user without allow_other: without); gives a duplicate of the
 * /dev/fuse descriptor for the worker (close-on-exec; caller owns it). */
int mountpoint_mount(const struct mountpoint_options *options, struct mountpoint **out,
                     int *out_fuse_fd, struct vd_err *err);

/* Unmounts if it is still mounted (lazily when busy).  Safe to call twice. */
void mountpoint_unmount(struct mountpoint *mp);
/* Device of the mount's files, as stat(2) and mountinfo name it. */
void mountpoint_device(const struct mountpoint *mp, uint32_t *out_major, uint32_t *out_minor);
/* The options in force, as /proc/self/mountinfo has them; caller frees, NULL when unknown. */
char *mountpoint_in_force(const struct mountpoint *mp);
/* `keep_dead`: leave the (dead) mount in place, so that nobody takes an empty directory for the
 * evidence. */
void mountpoint_free(struct mountpoint *mp, bool keep_dead);

#endif
