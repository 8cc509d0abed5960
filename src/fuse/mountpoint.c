/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mounting and unmounting: with mount(2) where that is allowed, else through fusermount3.
 *
 * Two dangers shape this file.  The supervisor serves the worker, which serves the mount: asking
 * the mount anything (stat) would wait for ourselves, so only /proc/self/mountinfo, O_PATH
 * descriptors and the kernel's list of FUSE connections are looked at.  And nothing but our own
 * mount may ever be unmounted, though somebody may have unmounted it and mounted another one at
 * the same place, which then gets the same numbers: see still_ours.
 *
 * Thread rule: supervisor's main thread.
 */
#include "fuse/mountpoint.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "fuse/fusermount.h"
#include "fuse/mountinfo.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define FS_TYPE "fuse.vdiskfs"

#ifndef MS_NOSYMFOLLOW
#define MS_NOSYMFOLLOW 256 /* since Linux 5.10 */
#endif

struct mountpoint {
    char *path; /* as it was when it was mounted */
    uint32_t id, major, minor;
    int control; /* O_PATH: our directory in /sys/fs/fuse/connections, -1 = not to be had */
    bool gone;   /* unmounted, by us or by others */
};

/* ---- options ---- */

enum option_use {
    OPTION_FLAG,    /* a flag of mount(2) */
    OPTION_DATA,    /* goes to FUSE or the security module as it is */
    OPTION_DEFAULT, /* in force anyway */
    OPTION_REFUSED  /* would take away what is always in force */
};

static const struct mount_option {
    const char *name; /* ends in '=': a value follows */
    enum option_use use;
    unsigned long flag;
} mount_options[] = {
    {"allow_other", OPTION_DATA, 0},
    {"context=", OPTION_DATA, 0},
    {"fscontext=", OPTION_DATA, 0},
    {"defcontext=", OPTION_DATA, 0},
    {"rootcontext=", OPTION_DATA, 0},
    {"noatime", OPTION_FLAG, MS_NOATIME},
    {"nodiratime", OPTION_FLAG, MS_NODIRATIME},
    {"strictatime", OPTION_FLAG, MS_STRICTATIME},
    {"sync", OPTION_FLAG, MS_SYNCHRONOUS},
    {"dirsync", OPTION_FLAG, MS_DIRSYNC},
    {"nosymfollow", OPTION_FLAG, MS_NOSYMFOLLOW},
    {"ro", OPTION_DEFAULT, 0},
    {"nosuid", OPTION_DEFAULT, 0},
    {"nodev", OPTION_DEFAULT, 0},
    {"noexec", OPTION_DEFAULT, 0},
    {"default_permissions", OPTION_DEFAULT, 0},
    {"async", OPTION_DEFAULT, 0},
    {"relatime", OPTION_DEFAULT, 0},
    {"defaults", OPTION_DEFAULT, 0},
    {"rw", OPTION_REFUSED, 0},
    {"suid", OPTION_REFUSED, 0},
    {"dev", OPTION_REFUSED, 0},
    {"exec", OPTION_REFUSED, 0},
};

/* What is given to mount(2), and the same for fusermount3. */
struct mount_request {
    const char *path;
    const char *fsname;
    unsigned long flags;
    bool by_mode;         /* the kernel checks permissions by mode bits */
    struct vd_str data;   /* options beyond the flags, each with a comma in front */
    struct vd_str helper; /* extra options as fusermount3 takes them, likewise */
};

static const struct mount_option *option_find(const char *text, size_t len)
{
    size_t i;

    for (i = 0; i < sizeof(mount_options) / sizeof(mount_options[0]); i++) {
        size_t n = strlen(mount_options[i].name);
        bool has_value = mount_options[i].name[n - 1] == '=';

        if ((has_value ? len >= n : len == n) && memcmp(text, mount_options[i].name, n) == 0)
            return &mount_options[i];
    }
    return NULL;
}

static int option_add(struct mount_request *rq, const char *text, size_t len, struct vd_err *err)
{
    const struct mount_option *option = option_find(text, len);

    if (!option)
        return vd_fail(err, VD_EUSAGE, "unknown mount option \"%.*s\"", (int)len, text);
    switch (option->use) {
    case OPTION_REFUSED:
        return vd_fail(err, VD_EUSAGE,
                       "mount option \"%s\" is refused: a mount is always ro,nosuid,nodev,noexec",
                       option->name);
    case OPTION_DEFAULT:
        return 0;
    case OPTION_FLAG:
        rq->flags |= option->flag;
        break;
    case OPTION_DATA:
        vd_str_add(&rq->data, ",");
        vd_str_add_bytes(&rq->data, text, len);
        break;
    }
    vd_str_add(&rq->helper, ",");
    vd_str_add_bytes(&rq->helper, text, len);
    return 0;
}

/* Length up to the next comma that does not stand in double quotes (context="…,…"). */
static size_t option_length(const char *p)
{
    bool quoted = false;
    size_t n;

    for (n = 0; p[n] && (quoted || p[n] != ','); n++)
        quoted ^= p[n] == '"';
    return n;
}

static int options_add(struct mount_request *rq, const char *extra, struct vd_err *err)
{
    const char *p = extra ? extra : "";
    int rc = 0;

    while (*p && rc == 0) {
        size_t len = option_length(p);

        if (len)
            rc = option_add(rq, p, len, err);
        p += len + (p[len] == ',');
    }
    return rc;
}

/* ---- mounting ---- */

/* mount(2) itself.  Returns 0 or an errno. */
static int mount_direct(const struct mount_request *rq, int *out_fd)
{
    VD_AUTO(fd) int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    VD_AUTO(free) char *text = NULL;
    struct vd_str data = VD_STR_INIT;

    if (fd < 0)
        return errno;
    vd_str_addf(&data, "fd=%d,rootmode=%o,user_id=%u,group_id=%u%s%s", fd, (unsigned)S_IFDIR,
                (unsigned)getuid(), (unsigned)getgid(), rq->by_mode ? ",default_permissions" : "",
                rq->data.p ? rq->data.p : "");
    text = vd_str_take(&data);
    if (!text)
        return ENOMEM;
    if (mount(rq->fsname, rq->path, FS_TYPE, rq->flags, text))
        return errno;
    *out_fd = vd_take_fd(&fd);
    return 0;
}

static int mount_by_helper(const struct mount_request *rq, int *out_fd, struct vd_err *err)
{
    VD_AUTO(free) char *text = NULL;
    struct vd_str options = VD_STR_INIT;
    const char *p;

    vd_str_addf(&options, "%s,nosuid,nodev,noexec%s,subtype=vdiskfs%s,fsname=",
                rq->flags & MS_RDONLY ? "ro" : "rw", rq->by_mode ? ",default_permissions" : "",
                rq->helper.p ? rq->helper.p : "");
    for (p = rq->fsname; *p; p++) {
        if (*p == ',' || *p == '\\')
            vd_str_add(&options, "\\");
        vd_str_add_bytes(&options, p, 1);
    }
    text = vd_str_take(&options);
    if (!text)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    return fusermount_mount(rq->path, text, out_fd, err);
}

static int mount_somehow(const struct mount_request *rq, int *out_fd, struct vd_err *err)
{
    int why;

    if (rq->data.failed || rq->helper.failed)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    why = mount_direct(rq, out_fd);
    if (why == EPERM || why == EACCES)
        return mount_by_helper(rq, out_fd, err);
    if (why == ENOENT || why == ENODEV || why == ENXIO)
        return vd_fail_errno(err, VD_EMOUNT, why, "FUSE is not available (modprobe fuse)");
    return why ? vd_fail_errno(err, VD_EMOUNT, why, "mount failed") : 0;
}

/* Where to mount: an existing directory, by its real name. */
static int resolve_path(const char *path, char **out, struct vd_err *err)
{
    VD_AUTO(free) char *real = realpath(path, NULL);
    struct stat st;

    if (!real || stat(real, &st)) {
        if (errno == ENOTCONN)
            return vd_fail(err, VD_EMOUNT,
                           "a dead FUSE mount lies there; unmount it first (fusermount3 -u)");
        return vd_fail_errno(err, VD_EMOUNT, errno, "cannot use the mount point");
    }
    if (!S_ISDIR(st.st_mode))
        return vd_fail(err, VD_EMOUNT, "the mount point is not a directory");
    *out = vd_take(&real);
    return 0;
}

static bool match_new(const struct mountinfo *m, const void *ctx)
{
    return strcmp(m->path, ctx) == 0 && strncmp(m->fstype, "fuse", 4) == 0;
}

/* Remembers which mount it is. */
static int note_mount(struct mountpoint *mp, struct vd_err *err)
{
    char path[64];
    struct mountinfo info;
    int rc = mountinfo_find(match_new, mp->path, &info, err);

    if (rc)
        return vd_prefix(err, rc == -VD_ENOENT ? -VD_EMOUNT : rc, "mounted, but not visible");
    mp->id = info.id;
    mp->major = info.major;
    mp->minor = info.minor;
    mountinfo_clear(&info);
    if (mp->major == 0) { /* the directory is named by the device number, an anonymous one */
        (void)snprintf(path, sizeof(path), "/sys/fs/fuse/connections/%" PRIu32, mp->minor);
        mp->control = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    }
    return 0;
}

static int mount_and_note(const struct mount_request *rq, struct mountpoint *mp, int *out_fd,
                          struct vd_err *err)
{
    VD_AUTO(fd) int fd = -1;
    int rc = mount_somehow(rq, &fd, err);

    if (rc)
        return rc;
    rc = note_mount(mp, err);
    if (rc) {
        if (umount2(mp->path, MNT_DETACH | UMOUNT_NOFOLLOW))
            (void)fusermount_unmount(mp->path, NULL);
        return rc;
    }
    *out_fd = vd_take_fd(&fd);
    return 0;
}

/* May the kernel decide by mode bits?  They forbid writing, so what an ordinary user tries to change
 * would be refused (EACCES) before the program sees it: not with see_refused, as long as nobody
 * else can get into the mount.  Root is not bound by mode bits. */
static bool by_mode(const struct mountpoint_options *options)
{
    return !options->see_refused || getuid() == 0 ||
           (options->extra && strstr(options->extra, "allow_other"));
}

int mountpoint_mount(const struct mountpoint_options *options, struct mountpoint **out,
                     int *out_fuse_fd, struct vd_err *err)
{
    struct mount_request rq = {
        .fsname = options->fsname,
        .flags = MS_NOSUID | MS_NODEV | MS_NOEXEC | (options->see_refused ? 0 : MS_RDONLY),
    };
    struct mountpoint *mp = calloc(1, sizeof(*mp));
    int rc;

    if (!mp)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    mp->control = -1;
    rq.by_mode = by_mode(options);
    rc = options_add(&rq, options->extra, err);
    if (rc == 0)
        rc = resolve_path(options->path, &mp->path, err);
    rq.path = mp->path;
    if (rc == 0)
        rc = mount_and_note(&rq, mp, out_fuse_fd, err);
    vd_str_clear(&rq.data);
    vd_str_clear(&rq.helper);
    if (rc) {
        mountpoint_free(mp, true);
        return vd_prefix(err, rc, "%s", options->path);
    }
    *out = mp;
    return 0;
}

/* ---- unmounting ---- */

static bool match_same(const struct mountinfo *m, const void *ctx)
{
    const struct mountpoint *mp = ctx;

    return m->id == mp->id && m->major == mp->major && m->minor == mp->minor &&
           (mp->control >= 0 || strcmp(m->path, mp->path) == 0) &&
           strncmp(m->fstype, "fuse", 4) == 0;
}

/* Was our connection destroyed?  Its directory among the kernel's FUSE connections is emptied when
 * the file system is unmounted for good; one that is merely dead (worker killed) still counts. */
static bool connection_is_gone(const struct mountpoint *mp)
{
    int fd;

    if (mp->control < 0)
        return false;
    fd = openat(mp->control, "waiting", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT;
    (void)close(fd);
    return false;
}

/* The line of our mount.  Numbers of mounts and devices are used again at once, but while our
 * connection exists its device number is taken: an equal one is then ours.  A host without fusectl
 * mounted leaves the comparison of numbers and place (a mount that somebody moved is then left to
 * that somebody).  The caller does not ask at all when it knows that the mount is gone. */
static bool still_ours(const struct mountpoint *mp, struct mountinfo *out)
{
    if (mp->gone || connection_is_gone(mp))
        return false;
    return mountinfo_find(match_same, mp, out, NULL) == 0;
}

/* The id of the mount that an O_PATH descriptor lies on; false if it cannot be told. */
static bool mount_of_fd(int fd, uint32_t *out)
{
    char path[64], line[128];
    bool found = false;
    FILE *f;

    (void)snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
    f = fopen(path, "re");
    while (f && !found && fgets(line, sizeof(line), f))
        if (strncmp(line, "mnt_id:", 7) == 0) {
            *out = (uint32_t)strtoul(line + 7, NULL, 10);
            found = true;
        }
    if (f)
        (void)fclose(f);
    return found;
}

/* Unmounts what lies at `path` if that is our mount and not another one on top of it.  The
 * descriptor holds the very mount that was checked, so nothing can slip in between. */
static void unmount_at(const struct mountpoint *mp, const char *path)
{
    VD_AUTO(fd) int fd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    char link[64];
    uint32_t id;

    if (fd < 0 || !mount_of_fd(fd, &id) || id != mp->id)
        return;
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    if (umount2(link, MNT_DETACH) && errno == EPERM)
        (void)fusermount_unmount(path, NULL);
}

void mountpoint_unmount(struct mountpoint *mp)
{
    struct mountinfo info;

    if (!mp || !still_ours(mp, &info))
        return;
    unmount_at(mp, info.path);
    mountinfo_clear(&info);
    if (still_ours(mp, &info))
        mountinfo_clear(&info);
    else
        mp->gone = true;
}

void mountpoint_device(const struct mountpoint *mp, uint32_t *out_major, uint32_t *out_minor)
{
    *out_major = mp->major;
    *out_minor = mp->minor;
}

char *mountpoint_in_force(const struct mountpoint *mp)
{
    struct vd_str text = VD_STR_INIT;
    struct mountinfo info;

    if (!still_ours(mp, &info))
        return NULL;
    vd_str_addf(&text, "%s; %s: %s", info.options, info.fstype, info.super_options);
    mountinfo_clear(&info);
    return vd_str_take(&text);
}

void mountpoint_free(struct mountpoint *mp, bool keep_dead)
{
    if (!mp)
        return;
    if (!keep_dead)
        mountpoint_unmount(mp);
    if (mp->control >= 0)
        (void)close(mp->control);
    free(mp->path);
    free(mp);
}
