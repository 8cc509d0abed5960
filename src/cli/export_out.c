/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making, finding again and publishing the files of an export.
 *
 * What protects the evidence: OUT may not lie in an evidence directory (by path, and by identity of
 * the directory, which sees bind mounts); below one it may when the examiner insists (a case folder
 * with the images at its top), but there nothing that exists is replaced or emptied; files that exist are opened without following
 * links, and only regular ones that have no other name, so that no name can lead to evidence; and
 * evidence itself is opened read-only by other code.  What protects the result: OUT appears by one
 * rename after all its bytes are on the disk, so a half-written file never has its name.
 */
#include "cli/export_out.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "cli/export_journal.h"
#include "cli/image_path.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LONGEST_SUFFIX ".partial.journal"

/* ---- where ---- */

static char *with_suffix(const char *name, const char *suffix)
{
    struct vd_str s = VD_STR_INIT;

    vd_str_add(&s, name);
    vd_str_add(&s, suffix);
    return vd_str_take(&s);
}

static int make_names(struct export_out *out, struct vd_err *err)
{
    const char *slash = strrchr(out->path, '/');
    const char *name = slash ? slash + 1 : out->path;
    VD_AUTO(free)
    char *dir = slash ? strndup(out->path, (size_t)(slash + 1 - out->path)) : strdup(".");

    if (!name[0] || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return vd_fail(err, VD_EUSAGE, "%s: not a file name", out->path);
    if (strlen(name) + strlen(LONGEST_SUFFIX) > NAME_MAX)
        return vd_fail(err, VD_EUSAGE, "%s: the name is too long", out->path);
    out->name = strdup(name);
    out->partial = with_suffix(name, ".partial");
    out->journal = with_suffix(name, ".partial.journal");
    out->map = with_suffix(name, ".map");
    out->map_partial = with_suffix(name, ".map.partial");
    if (!dir || !out->name || !out->partial || !out->journal || !out->map || !out->map_partial)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    out->dir = realpath(dir, NULL);
    if (!out->dir)
        return vd_fail_errno(err, errno == ENOENT ? VD_ENOENT : VD_EIO, errno, "%s", dir);
    out->dir_fd = open(out->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (out->dir_fd < 0)
        return vd_fail_errno(err, VD_EIO, errno, "%s", out->dir);
    return 0;
}

static int check_apart(struct export_out *out, const char *evidence, struct vd_err *err)
{
    VD_AUTO(free) char *dir = realpath(evidence, NULL);
    struct stat ours, theirs;

    if (!dir)
        return 0; /* opening the image will say that it is not there */
    if (strcmp(out->dir, dir) == 0 ||
        (fstat(out->dir_fd, &ours) == 0 && stat(dir, &theirs) == 0 &&
         ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino))
        return vd_fail(err, VD_EREFUSED,
                       "%s would lie in the evidence directory %s: nothing is written there; name "
                       "another directory",
                       out->path, dir);
    if (!path_is_below(out->dir, dir) || out->below)
        return 0;
    if (!out->force)
        return vd_fail(err, VD_EREFUSED,
                       "%s would lie below the evidence directory %s, where further evidence may "
                       "lie; --force allows it, but replaces nothing there",
                       out->path, dir);
    out->below = vd_take(&dir);
    return 0;
}

/* Nothing that exists is replaced without a word, and never anything but a file. */
static int check_free(const struct export_out *out, const char *name, struct vd_err *err)
{
    struct stat st;

    if (fstatat(out->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW))
        return errno == ENOENT ? 0 : vd_fail_errno(err, VD_EIO, errno, "%s/%s", out->dir, name);
    if (!S_ISREG(st.st_mode))
        return vd_fail(err, VD_EREFUSED, "%s/%s exists and is not a regular file", out->dir, name);
    if (out->below)
        return vd_fail(err, VD_EREFUSED,
                       "%s/%s exists, and nothing is replaced below the evidence directory %s",
                       out->dir, name, out->below);
    if (!out->force)
        return vd_fail(err, VD_EREFUSED, "%s/%s exists; --force replaces it", out->dir, name);
    return 0;
}

/* ---- the files ---- */

/* Opens or makes `name`; *out_size is its length. */
static int open_one(const struct export_out *out, const char *name, int *out_fd, off_t *out_size,
                    struct vd_err *err)
{
    VD_AUTO(fd)
    int fd =
        openat(out->dir_fd, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0666);
    struct stat st;

    if (fd < 0 && errno == ELOOP)
        return vd_fail(err, VD_EREFUSED, "%s/%s is a symbolic link", out->dir, name);
    if (fd < 0)
        return vd_fail_errno(err, VD_EIO, errno, "cannot write to %s/%s", out->dir, name);
    if (fstat(fd, &st))
        return vd_fail_errno(err, VD_EIO, errno, "%s/%s", out->dir, name);
    if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
        return vd_fail(err, VD_EREFUSED,
                       "%s/%s exists and is not a regular file with this name alone", out->dir,
                       name);
    if (flock(fd, LOCK_EX | LOCK_NB))
        return vd_fail(err, VD_EREFUSED, "%s/%s: another export is writing to it", out->dir, name);
    *out_size = st.st_size;
    *out_fd = vd_take_fd(&fd);
    return 0;
}

static int empty(const struct export_out *out, const char *name, int fd, struct vd_err *err)
{
    return ftruncate(fd, 0) ? vd_fail_errno(err, VD_EIO, errno, "%s/%s", out->dir, name) : 0;
}

static int unknown(const struct export_out *out, const char *name, const char *what, bool restart,
                   struct vd_err *err)
{
    return vd_fail(err, VD_EREFUSED, "%s/%s exists, %s: it cannot be told what it is; remove it%s",
                   out->dir, name, what, restart ? ", or give --restart" : "");
}

/* Is what was found under the names of a begun export one?  Only then it is taken up, or, below an
 * evidence directory, thrown away. */
static int check_begun(const struct export_out *out, bool restart, off_t partial_size,
                       off_t journal_size, off_t map_size, struct vd_err *err)
{
    if (partial_size && !journal_size && (out->below || !restart))
        return unknown(out, out->partial, "but not its journal", !out->below, err);
    if (out->below && journal_size && !export_journal_is(out->journal_fd))
        return unknown(out, out->journal, "but is not the journal of an export", false, err);
    if (out->below && map_size)
        return unknown(out, out->map_partial, "and is not empty", false, err);
    return 0;
}

static int open_files(struct export_out *out, const struct export_out_options *options,
                      struct vd_err *err)
{
    off_t partial_size = 0, journal_size = 0, map_size = 0;
    int rc = open_one(out, out->partial, &out->partial_fd, &partial_size, err);

    if (rc == 0)
        rc = open_one(out, out->journal, &out->journal_fd, &journal_size, err);
    if (rc == 0 && options->map)
        rc = open_one(out, out->map_partial, &out->map_fd, &map_size, err);
    if (rc == 0)
        rc = check_begun(out, options->restart, partial_size, journal_size, map_size, err);
    if (rc == 0 && options->map)
        rc = empty(out, out->map_partial, out->map_fd, err);
    if (rc == 0 && options->restart)
        rc = empty(out, out->journal, out->journal_fd, err); /* first: it vouches for the other */
    if (rc == 0 && options->restart)
        rc = empty(out, out->partial, out->partial_fd, err);
    return rc;
}

int export_out_open(const char *path, const struct export_out_options *options,
                    struct export_out *out, struct vd_err *err)
{
    unsigned i;
    int rc;

    *out = (struct export_out){.dir_fd = -1, .partial_fd = -1, .journal_fd = -1, .map_fd = -1};
    out->force = options->force;
    out->path = strdup(path);
    rc = out->path ? make_names(out, err) : vd_fail(err, VD_ENOMEM, "out of memory");
    for (i = 0; i < options->n_evidence_dirs && rc == 0; i++)
        rc = check_apart(out, options->evidence_dirs[i], err);
    if (rc == 0)
        rc = check_free(out, out->name, err);
    if (rc == 0 && options->map)
        rc = check_free(out, out->map, err);
    if (rc == 0)
        rc = open_files(out, options, err);
    if (rc)
        export_out_clear(out);
    return rc;
}

/* ---- the end ---- */

/* Without RENAME_NOREPLACE a file that appeared meanwhile would be lost; file systems that do not
 * know the flag know link(2). */
static int rename_new(const struct export_out *out, const char *from, const char *to)
{
    if (out->force && !out->below)
        return renameat(out->dir_fd, from, out->dir_fd, to);
    if (renameat2(out->dir_fd, from, out->dir_fd, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -1;
    if (linkat(out->dir_fd, from, out->dir_fd, to, 0))
        return -1;
    return unlinkat(out->dir_fd, from, 0);
}

int export_out_publish(struct export_out *out, struct vd_err *err)
{
    /* The map first: a disk with zeros for bad ranges never has its name without the map. */
    if (out->map_fd >= 0 && rename_new(out, out->map_partial, out->map))
        return vd_fail_errno(err, VD_EIO, errno, "cannot name %s/%s", out->dir, out->map);
    if (rename_new(out, out->partial, out->name))
        return vd_fail_errno(err, VD_EIO, errno, "cannot name %s/%s", out->dir, out->name);
    if (fsync(out->dir_fd))
        return vd_fail_errno(err, VD_EIO, errno, "%s", out->dir);
    if (unlinkat(out->dir_fd, out->journal, 0) || fsync(out->dir_fd))
        return vd_fail_errno(err, VD_EIO, errno, "cannot remove %s/%s", out->dir, out->journal);
    return 0;
}

static void close_one(const struct export_out *out, int *fd, const char *name, bool remove)
{
    struct stat st, named;

    /* Only what this descriptor is, and what nobody has begun. */
    if (*fd >= 0 && remove && fstat(*fd, &st) == 0 && st.st_size == 0 &&
        fstatat(out->dir_fd, name, &named, AT_SYMLINK_NOFOLLOW) == 0 && st.st_ino == named.st_ino &&
        st.st_dev == named.st_dev)
        (void)unlinkat(out->dir_fd, name, 0);
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

void export_out_clear(struct export_out *out)
{
    struct stat st;
    bool unused = out->journal_fd < 0 || (fstat(out->journal_fd, &st) == 0 && st.st_size == 0);

    if (!out->path)
        return;
    close_one(out, &out->partial_fd, out->partial, unused);
    close_one(out, &out->journal_fd, out->journal, true);
    close_one(out, &out->map_fd, out->map_partial, true);
    if (out->dir_fd >= 0)
        (void)close(out->dir_fd);
    free(out->path);
    free(out->below);
    free(out->dir);
    free(out->name);
    free(out->partial);
    free(out->journal);
    free(out->map);
    free(out->map_partial);
    *out = (struct export_out){.dir_fd = -1, .partial_fd = -1, .journal_fd = -1, .map_fd = -1};
}
