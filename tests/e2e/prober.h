/* SPDX-License-Identifier: Apache-2.0 */
/* The write prober: which calls there are, and on what they are tried. */
#ifndef VD_TEST_PROBER_H
#define VD_TEST_PROBER_H

#include <stdbool.h>
#include <stddef.h>

enum {
    ON_FILE = 1,  /* an ordinary file, and disk.img */
    ON_NEW = 2,   /* a name that does not exist */
    ON_DIR = 4,   /* a directory */
    ON_LINK = 8,  /* a symbolic link, not followed */
    AS_ROOT = 16, /* means something for root only */
    RECENT = 32   /* a system call that older kernels lack: ENOSYS is no difference */
};

struct target {
    const char *path;    /* the object */
    const char *dir;     /* the directory that holds it */
    const char *fresh;   /* a name in the same directory that does not exist */
    const char *other;   /* another existing object of the mount, outside `path` and not above it */
    const char *outside; /* a writable directory on another file system */
    const char *mount;
    bool is_dir;
};

struct probe {
    const char *call;
    unsigned flags;
    int (*run)(const struct target *t); /* 0 or an errno; never waits */
};

extern const struct probe calls[], ioctls[]; /* prober_calls.c, prober_ioctl.c */
extern const size_t n_calls, n_ioctls;

#endif
