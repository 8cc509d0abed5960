/* SPDX-License-Identifier: Apache-2.0 */
/* The ioctls of the table, on a read-only descriptor of the object. */
#include "prober.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/fsverity.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#ifndef FS_IOC_SETVERSION
#define FS_IOC_SETVERSION _IOW('v', 2, long)
#endif

/* The kernel's include/linux/falloc.h, which is not exported. */
struct space_resv {
    int16_t l_type, l_whence;
    int64_t l_start, l_len;
    int32_t l_sysid;
    uint32_t l_pid;
    int32_t l_pad[4];
};
#define FS_IOC_RESVSP     _IOW('X', 40, struct space_resv)
#define FS_IOC_UNRESVSP   _IOW('X', 41, struct space_resv)
#define FS_IOC_ZERO_RANGE _IOW('X', 57, struct space_resv)

/* Room for the largest argument: a 256-byte label, and what FIEMAP and FIDEDUPERANGE end in. */
union argument {
    uint8_t room[4096];
    uint64_t range[4];
    long number;
    struct fiemap fiemap;
    struct file_dedupe_range dedupe;
    struct fsverity_enable_arg verity;
};

static int call(const struct target *t, unsigned long request, const union argument *argument)
{
    union argument copy;
    int fd = open(t->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

    memset(&copy, 0, sizeof(copy));
    if (argument)
        copy = *argument;
    if (fd < 0)
        return errno;
    return ioctl(fd, request, &copy) < 0 ? errno : 0;
}

/* One probe whose argument is all zero, or, where zero would change the meaning, starts with
 * `first`. */
#define IOCTL(name, request, first)                                                                \
    static int name(const struct target *t)                                                        \
    {                                                                                              \
        union argument argument = {.range = {first}};                                              \
                                                                                                   \
        return call(t, request, &argument);                                                        \
    }

IOCTL(getflags, FS_IOC_GETFLAGS, 0)
IOCTL(setflags, FS_IOC_SETFLAGS, FS_IMMUTABLE_FL)
IOCTL(fsgetxattr, FS_IOC_FSGETXATTR, 0)
IOCTL(fssetxattr, FS_IOC_FSSETXATTR, FS_XFLAG_IMMUTABLE)
IOCTL(setversion, FS_IOC_SETVERSION, 1)
IOCTL(setfslabel, FS_IOC_SETFSLABEL, 'x')
IOCTL(fibmap, FIBMAP, 0)
IOCTL(blkroset, BLKROSET, 0)
IOCTL(blkgetsize, BLKGETSIZE64, 0)
IOCTL(freeze, FIFREEZE, 0)
IOCTL(thaw, FITHAW, 0)

static int fitrim(const struct target *t)
{
    const union argument argument = {.range = {0, UINT64_MAX, 0}};

    return call(t, FITRIM, &argument);
}

static int blk_range(const struct target *t, unsigned long request)
{
    const union argument argument = {.range = {0, 4096}};

    return call(t, request, &argument);
}

static int blkdiscard(const struct target *t)
{
    return blk_range(t, BLKDISCARD);
}

static int blkzeroout(const struct target *t)
{
    return blk_range(t, BLKZEROOUT);
}

static int space(const struct target *t, unsigned long request)
{
    union argument argument = {.range = {0}};
    struct space_resv resv = {.l_whence = SEEK_SET, .l_start = 0, .l_len = 4096};

    memcpy(argument.room, &resv, sizeof(resv));
    return call(t, request, &argument);
}

static int resvsp(const struct target *t)
{
    return space(t, FS_IOC_RESVSP);
}

static int unresvsp(const struct target *t)
{
    return space(t, FS_IOC_UNRESVSP);
}

static int zero_range(const struct target *t)
{
    return space(t, FS_IOC_ZERO_RANGE);
}

static int enable_verity(const struct target *t)
{
    const union argument argument = {
        .verity = {.version = 1, .hash_algorithm = FS_VERITY_HASH_ALG_SHA256, .block_size = 4096}};

    return call(t, FS_IOC_ENABLE_VERITY, &argument);
}

static int fiemap(const struct target *t)
{
    const union argument argument = {.fiemap = {.fm_length = UINT64_MAX, .fm_extent_count = 4}};

    return call(t, FS_IOC_FIEMAP, &argument);
}

static int open_source(const struct target *t)
{
    char path[4200];

    (void)snprintf(path, sizeof(path), "%s/probe-source", t->outside);
    return open(path, O_RDWR | O_CLOEXEC);
}

static int ficlone(const struct target *t)
{
    int fd = open(t->path, O_RDONLY | O_CLOEXEC);

    return ioctl(fd, FICLONE, open_source(t)) < 0 ? errno : 0;
}

static int dedupe(const struct target *t)
{
    union argument argument = {.dedupe = {.src_length = 4096, .dest_count = 1}};
    struct file_dedupe_range_info info = {.dest_fd = open_source(t)};

    memcpy(argument.room + sizeof(struct file_dedupe_range), &info, sizeof(info));
    return call(t, FIDEDUPERANGE, &argument);
}

const struct probe ioctls[] = {
    {"ioctl FS_IOC_GETFLAGS", ON_FILE, getflags},
    {"ioctl FS_IOC_SETFLAGS +i", ON_FILE | AS_ROOT, setflags},
    {"ioctl FS_IOC_FSGETXATTR", ON_FILE, fsgetxattr},
    {"ioctl FS_IOC_FSSETXATTR", ON_FILE | AS_ROOT, fssetxattr},
    {"ioctl FS_IOC_SETVERSION", ON_FILE, setversion},
    {"ioctl FITRIM", ON_FILE | AS_ROOT, fitrim},
    {"ioctl FIFREEZE", ON_FILE | AS_ROOT, freeze},
    {"ioctl FITHAW", ON_FILE | AS_ROOT, thaw},
    {"ioctl FICLONE", ON_FILE, ficlone},
    {"ioctl FIDEDUPERANGE", ON_FILE, dedupe},
    {"ioctl FS_IOC_SETFSLABEL", ON_FILE, setfslabel},
    {"ioctl FS_IOC_ENABLE_VERITY", ON_FILE, enable_verity},
    {"ioctl FS_IOC_RESVSP", ON_FILE, resvsp},
    {"ioctl FS_IOC_UNRESVSP", ON_FILE, unresvsp},
    {"ioctl FS_IOC_ZERO_RANGE", ON_FILE, zero_range},
    {"ioctl FIBMAP", ON_FILE | AS_ROOT, fibmap},
    {"ioctl FS_IOC_FIEMAP", ON_FILE, fiemap},
    {"ioctl BLKDISCARD", ON_FILE, blkdiscard},
    {"ioctl BLKZEROOUT", ON_FILE, blkzeroout},
    {"ioctl BLKROSET", ON_FILE, blkroset},
    {"ioctl BLKGETSIZE64", ON_FILE, blkgetsize},
    {"dir fd: FITRIM", ON_DIR | AS_ROOT, fitrim},
    {"dir fd: FIFREEZE", ON_DIR | AS_ROOT, freeze},
    {"dir fd: FITHAW", ON_DIR | AS_ROOT, thaw},
    {"dir fd: FS_IOC_SETFLAGS", ON_DIR | AS_ROOT, setflags},
};
const size_t n_ioctls = sizeof(ioctls) / sizeof(ioctls[0]);
