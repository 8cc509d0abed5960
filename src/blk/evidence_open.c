/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only file of the program that opens evidence.  By bare name, beneath a directory that the
 * user named, with openat2(2): RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS, so a
 * descriptor that names "/etc/passwd", "../x" or a planted symbolic link opens nothing.
 * O_NONBLOCK: a FIFO cannot hang the program.  O_NOATIME where the host allows it.  Everything is
 * O_RDONLY; scripts/lint rejects any other open of evidence.  Runs in the supervisor.
 */
#include "blk/evidence.h"

#include "base/cleanup.h"
#include "base/limits.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EVIDENCE_FLAGS (O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY)

static int open_beneath(int dirfd, const char *name, int flags)
{
    struct open_how how = {
        .flags = (uint64_t)flags,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    long fd;

    do
        fd = syscall(SYS_openat2, dirfd, name, &how, sizeof(how));
    while (fd < 0 && (errno == EINTR || errno == EAGAIN));
    return (int)fd;
}

static void identity_of_stat(const struct stat *st, struct evidence_id *out)
{
    *out = (struct evidence_id){
        .dev = st->st_dev,
        .ino = st->st_ino,
        .size = (uint64_t)st->st_size,
        .mtime_sec = st->st_mtim.tv_sec,
        .mtime_nsec = (uint32_t)st->st_mtim.tv_nsec,
        .ctime_sec = st->st_ctim.tv_sec,
        .ctime_nsec = (uint32_t)st->st_ctim.tv_nsec,
        .is_block = S_ISBLK(st->st_mode),
    };
}

int evidence_identify(int fd, struct evidence_id *out_id, struct vd_err *err)
{
    struct evidence_id id;
    struct stat st;

    if (fstat(fd, &st))
        return vd_fail_errno(err, VD_EIO, errno, "cannot stat the file");
    identity_of_stat(&st, &id);
    if (id.is_block && ioctl(fd, BLKGETSIZE64, &id.size))
        return vd_fail_errno(err, VD_EIO, errno, "cannot tell the size of the block device");
    *out_id = id;
    return 0;
}

static const char *kind_word(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFDIR:
        return "a directory";
    case S_IFIFO:
        return "a FIFO";
    case S_IFSOCK:
        return "a socket";
    case S_IFCHR:
        return "a character device";
    case S_IFBLK:
        return "a block device that was not named on the command line";
    case S_IFLNK:
        return "a symbolic link";
    default:
        return "not a regular file";
    }
}

/* Looks before it opens: opening some devices has effects, and a socket cannot be opened. */
static int check_kind(int dirfd, const char *name, bool allow_block, struct vd_err *err)
{
    VD_AUTO(fd) int path_fd = open_beneath(dirfd, name, O_PATH | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;

    if (path_fd < 0 && errno == ENOENT)
        return vd_fail(err, VD_ENOENT, "%s: no such file", name);
    if (path_fd < 0 && errno == ELOOP)
        return vd_fail(err, VD_EREFUSED, "%s: is a symbolic link: refused", name);
    if (path_fd < 0 || fstat(path_fd, &st))
        return vd_fail_errno(err, VD_EIO, errno, "%s: cannot open", name);
    if (S_ISREG(st.st_mode) || (allow_block && S_ISBLK(st.st_mode)))
        return 0;
    return vd_fail(err, VD_EREFUSED, "%s: is %s: refused", name, kind_word(st.st_mode));
}

int evidence_open_beneath(int dirfd, const char *name, bool allow_block, int *out_fd,
                          struct evidence_id *out_id, struct vd_err *err)
{
    VD_AUTO(fd) int fd = -1;
    struct evidence_id id;
    bool noatime = true;
    struct statvfs fs;
    struct stat st;
    int rc;

    if (!blk_source_name_ok(name))
        return vd_fail(err, VD_EREFUSED, "\"%s\" is not a bare file name", name);
    rc = check_kind(dirfd, name, allow_block, err);
    if (rc)
        return rc;
    fd = open_beneath(dirfd, name, EVIDENCE_FLAGS | O_NOATIME);
    if (fd < 0 && errno == EPERM) {
        fd = open_beneath(dirfd, name, EVIDENCE_FLAGS);
        noatime = fd >= 0 && fstatvfs(fd, &fs) == 0 && (fs.f_flag & (ST_RDONLY | ST_NOATIME));
    }
    if (fd < 0)
        return vd_fail_errno(err, VD_EIO, errno, "%s: cannot open", name);
    if (fstat(fd, &st) || !(S_ISREG(st.st_mode) || (allow_block && S_ISBLK(st.st_mode))))
        return vd_fail(err, VD_EREFUSED, "%s: changed its kind while it was opened", name);
    rc = evidence_identify(fd, &id, err);
    if (rc)
        return vd_prefix(err, rc, "%s", name);
    id.noatime = noatime;
    *out_id = id;
    *out_fd = vd_take_fd(&fd);
    return 0;
}

int evidence_open_dir(const char *path, int *out_dirfd, struct vd_err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return vd_fail_errno(err, errno == ENOENT ? VD_ENOENT : VD_EIO, errno,
                             "cannot open the directory %s", path);
    *out_dirfd = fd;
    return 0;
}

void evidence_list_free(char **names, size_t n)
{
    size_t i;

    for (i = 0; i < n; i++)
        free(names[i]);
    free(names);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_regular(int dirfd, const struct dirent *entry)
{
    struct stat st;

    if (entry->d_type != DT_UNKNOWN)
        return entry->d_type == DT_REG;
    return fstatat(dirfd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode);
}

static int collect_names(DIR *dir, char ***io_names, size_t *io_n, struct vd_err *err)
{
    const struct dirent *entry;
    size_t cap = 0;

    while ((entry = readdir(dir)) != NULL) {
        if (!is_regular(dirfd(dir), entry))
            continue;
        if (*io_n == VD_MAX_DIR_NAMES)
            return vd_fail(err, VD_ELIMIT, "the evidence directory has more than %d files",
                           VD_MAX_DIR_NAMES);
        if (*io_n == cap) {
            char **v = realloc(*io_names, (cap = cap ? 2 * cap : 64) * sizeof(char *));

            if (!v)
                return vd_fail(err, VD_ENOMEM, "out of memory");
            *io_names = v;
        }
        (*io_names)[*io_n] = strdup(entry->d_name);
        if (!(*io_names)[*io_n])
            return vd_fail(err, VD_ENOMEM, "out of memory");
        (*io_n)++;
    }
    return 0;
}

int evidence_list(int dirfd, char ***out_names, size_t *out_n, struct vd_err *err)
{
    char **names = NULL;
    size_t n = 0;
    DIR *dir;
    int fd, rc;

    fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        rc = vd_fail_errno(err, VD_EIO, errno, "cannot list the evidence directory");
        if (fd >= 0)
            (void)close(fd);
        return rc;
    }
    rc = collect_names(dir, &names, &n, err);
    (void)closedir(dir);
    if (rc) {
        evidence_list_free(names, n);
        return rc;
    }
    if (n)
        qsort(names, n, sizeof(char *), compare_names);
    *out_names = names;
    *out_n = n;
    return 0;
}

/* ---- a source over directories, in-process ---- */

struct opened_file {
    uint64_t dev, ino;
    struct blkdev *file; /* owned */
};

struct dir_source {
    pthread_mutex_t lock; /* guards opened */
    struct opened_file *opened;
    size_t n_opened;
    unsigned n;
    int dirfd[];
};

/* Finds an instance of the same file, or keeps the new one; returns the one to use, with a
 * reference for the caller.  Consumes `file`. */
static int share_file(struct dir_source *ds, const struct evidence_id *id, struct blkdev *file,
                      struct blkdev **out, struct vd_err *err)
{
    VD_LOCKED(&ds->lock);
    struct opened_file *v;
    size_t i;

    for (i = 0; i < ds->n_opened; i++)
        if (ds->opened[i].dev == id->dev && ds->opened[i].ino == id->ino) {
            blk_unref(file);
            *out = blk_ref(ds->opened[i].file);
            return 0;
        }
    v = realloc(ds->opened, (ds->n_opened + 1) * sizeof(*v));
    if (!v) {
        blk_unref(file);
        return vd_fail(err, VD_ENOMEM, "out of memory");
    }
    ds->opened = v;
    v[ds->n_opened++] = (struct opened_file){id->dev, id->ino, file};
    *out = blk_ref(file);
    return 0;
}

static int dir_source_open(void *ctx, unsigned dir, const char *name, struct blkdev **out,
                           struct vd_err *err)
{
    struct dir_source *ds = ctx;
    VD_AUTO(fd) int fd = -1;
    struct evidence_id id;
    struct blkdev *file = NULL;
    int rc;

    if (dir >= ds->n)
        return vd_fail(err, VD_EUSAGE, "there is no evidence directory %u", dir);
    rc = evidence_open_beneath(ds->dirfd[dir], name, true, &fd, &id, err);
    if (rc == 0)
        rc = evidence_new(fd, &id, name, &file, err);
    if (rc)
        return rc;
    (void)vd_take_fd(&fd);
    return share_file(ds, &id, file, out, err);
}

static int dir_source_list(void *ctx, unsigned dir, int (*fn)(void *fn_ctx, const char *name),
                           void *fn_ctx, struct vd_err *err)
{
    struct dir_source *ds = ctx;
    char **names;
    size_t n, i;
    int rc;

    if (dir >= ds->n)
        return vd_fail(err, VD_EUSAGE, "there is no evidence directory %u", dir);
    rc = evidence_list(ds->dirfd[dir], &names, &n, err);
    if (rc)
        return rc;
    for (i = 0; i < n && !fn(fn_ctx, names[i]); i++)
        ;
    evidence_list_free(names, n);
    return 0;
}

int evidence_dir_source(const char *const *dirs, unsigned n_dirs, struct blk_source *out,
                        struct vd_err *err)
{
    struct dir_source *ds = calloc(1, sizeof(*ds) + n_dirs * sizeof(int));
    int rc = 0;

    if (!ds)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    (void)pthread_mutex_init(&ds->lock, NULL);
    *out = (struct blk_source){.open = dir_source_open, .list = dir_source_list, .ctx = ds};
    for (; ds->n < n_dirs && rc == 0; ds->n += rc == 0)
        rc = evidence_open_dir(dirs[ds->n], &ds->dirfd[ds->n], err);
    out->n_dirs = ds->n;
    if (rc)
        evidence_dir_source_free(out);
    return rc;
}

void evidence_dir_source_free(struct blk_source *source)
{
    struct dir_source *ds = source->ctx;
    size_t i;

    if (!ds)
        return;
    for (i = 0; i < ds->n; i++)
        (void)close(ds->dirfd[i]);
    for (i = 0; i < ds->n_opened; i++)
        blk_unref(ds->opened[i].file);
    free(ds->opened);
    (void)pthread_mutex_destroy(&ds->lock);
    free(ds);
    source->ctx = NULL;
}
