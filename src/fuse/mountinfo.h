/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of /proc/self/mountinfo (proc(5)): the only way to look at a mount without asking its file
 * system, which may be the very process that waits for us. */
#ifndef VD_FUSE_MOUNTINFO_H
#define VD_FUSE_MOUNTINFO_H

#include "base/err.h"

/* One line.  All strings are owned. */
struct mountinfo {
    uint32_t id;           /* of the mount */
    uint32_t major, minor; /* st_dev of its files */
    char *path;            /* where it is mounted, octal escapes resolved */
    char *options;         /* per mount: "ro,nosuid,…" */
    char *fstype;          /* "fuse.vdiskfs" */
    char *super_options;   /* of the file system */
};

/* Decodes one line, with or without its newline.  Pure.  VD_ECORRUPT when a field is missing. */
int mountinfo_decode(const char *line, struct mountinfo *out, struct vd_err *err);
void mountinfo_clear(struct mountinfo *m);

/* Finds the last line that `match` accepts.  VD_ENOENT: none. */
int mountinfo_find(bool (*match)(const struct mountinfo *m, const void *ctx), const void *ctx,
                   struct mountinfo *out, struct vd_err *err);

/* A descriptor of the mount table for poll(2): POLLPRI and POLLERR when a mount was made, changed or
 * taken away since the last poll.  -1 when it cannot be had. */
int mountinfo_watch(void);

#endif
