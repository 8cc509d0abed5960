/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file of an export of logs.  It may not lie in an evidence directory of these logs, nor in a log's
 * own: by path, and by identity of the directory, which sees bind mounts.  It is made exclusively, under
 * a name of its own, and gets its name by one rename when all of it is on the disk; an existing file is
 * replaced only when that was asked for.  One thread.
 */
#include "cli/audit_export_out.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "cli/image_path.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SUFFIX ".partial"

static int make_names(struct audit_out *out, struct vd_err *err)
{
    const char *slash = strrchr(out->path, '/'), *name = slash ? slash + 1 : out->path;
    VD_AUTO(free)
    char *dir = slash ? strndup(out->path, (size_t)(slash + 1 - out->path)) : strdup(".");
    struct vd_str begun = VD_STR_INIT;

    if (!name[0] || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return vd_fail(err, VD_EUSAGE, "%s: not a file name", out->path);
    if (strlen(name) + strlen(SUFFIX) > NAME_MAX)
        return vd_fail(err, VD_EUSAGE, "%s: the name is too long", out->path);
    vd_str_addf(&begun, "%s" SUFFIX, name);
    out->name = strdup(name);
    out->begun = vd_str_take(&begun);
    if (!dir || !out->name || !out->begun)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    out->dir = realpath(dir, NULL);
    if (!out->dir)
        return vd_fail_errno(err, errno == ENOENT ? VD_ENOENT : VD_EIO, errno, "%s", dir);
    out->dir_fd = open(out->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return out->dir_fd < 0 ? vd_fail_errno(err, VD_EIO, errno, "%s", out->dir) : 0;
}

static bool same_dir(const struct audit_out *out, const char *dir)
{
    struct stat ours, theirs;

    return strcmp(out->dir, dir) == 0 ||
           (fstat(out->dir_fd, &ours) == 0 && stat(dir, &theirs) == 0 &&
            ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino);
}

static int check_evidence(struct audit_out *out, const char *evidence, bool force,
                          struct vd_err *err)
{
    VD_AUTO(free) char *dir = realpath(evidence, NULL);

    if (!dir)
        return 0; /* the log was made elsewhere */
    if (same_dir(out, dir))
        return vd_fail(err, VD_EREFUSED,
                       "%s would lie in the evidence directory %s: nothing is written there; name "
                       "another directory",
                       out->path, dir);
    if (!path_is_below(out->dir, dir))
        return 0;
    out->replace = false;
    return force ? 0
                 : vd_fail(err, VD_EREFUSED,
                           "%s would lie below the evidence directory %s, where further evidence "
                           "may lie; --force allows it, but replaces nothing there",
                           out->path, dir);
}

static int check_log(const struct audit_out *out, const char *log, struct vd_err *err)
{
    VD_AUTO(free) char *dir = realpath(log, NULL);
    struct stat st;
    char *slash;

    if (dir && stat(dir, &st) == 0 && !S_ISDIR(st.st_mode) && (slash = strrchr(dir, '/')))
        *slash = '\0';
    if (dir && (same_dir(out, dir) || path_is_below(out->dir, dir)))
        return vd_fail(err, VD_EREFUSED, "%s would lie in the log's directory %s", out->path, dir);
    return 0;
}

static int check_free(const struct audit_out *out, struct vd_err *err)
{
    struct stat st;

    if (fstatat(out->dir_fd, out->name, &st, AT_SYMLINK_NOFOLLOW))
        return errno == ENOENT ? 0
                               : vd_fail_errno(err, VD_EIO, errno, "%s/%s", out->dir, out->name);
    if (!S_ISREG(st.st_mode))
        return vd_fail(err, VD_EREFUSED, "%s/%s exists and is not a regular file", out->dir,
                       out->name);
    if (!out->replace)
        return vd_fail(err, VD_EREFUSED, "%s/%s exists%s", out->dir, out->name,
                       "; --force replaces it outside of evidence directories");
    return 0;
}

int audit_out_open(const struct audit_out_options *options, struct audit_out *out,
                   struct vd_err *err)
{
    size_t i;
    int rc;

    *out = (struct audit_out){
        .path = options->path, .dir_fd = -1, .fd = -1, .replace = options->force};
    if (!out->path)
        return 0;
    rc = make_names(out, err);
    for (i = 0; i < options->n_evidence && rc == 0; i++)
        rc = check_evidence(out, options->evidence[i], options->force, err);
    for (i = 0; i < options->n_logs && rc == 0; i++)
        rc = check_log(out, options->log[i], err);
    if (rc == 0)
        rc = check_free(out, err);
    if (rc == 0) {
        out->fd = openat(out->dir_fd, out->begun,
                         O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (out->fd < 0)
            rc = errno == EEXIST
                     ? vd_fail(err, VD_EREFUSED,
                               "%s/%s exists: another export is writing it, or was interrupted; "
                               "remove it",
                               out->dir, out->begun)
                     : vd_fail_errno(err, VD_EIO, errno, "cannot make %s/%s", out->dir, out->begun);
    }
    if (rc)
        audit_out_clear(out);
    return rc;
}

int audit_out_write(void *ctx, const void *bytes, size_t len, struct vd_err *err)
{
    struct audit_out *out = ctx;
    const char *p = bytes;

    while (len) {
        ssize_t n = write(out->fd < 0 ? STDOUT_FILENO : out->fd, p, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            out->reader_gone = out->fd < 0 && errno == EPIPE;
            return vd_fail_errno(err, VD_EIO, errno, "%s: the output cannot be written",
                                 out->path ? out->path : "standard output");
        }
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

/* Without RENAME_NOREPLACE a file that appeared meanwhile would be lost; file systems that do not
 * know the flag know link(2). */
static int rename_new(const struct audit_out *out)
{
    if (out->replace)
        return renameat(out->dir_fd, out->begun, out->dir_fd, out->name);
    if (renameat2(out->dir_fd, out->begun, out->dir_fd, out->name, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -1;
    if (linkat(out->dir_fd, out->begun, out->dir_fd, out->name, 0))
        return -1;
    return unlinkat(out->dir_fd, out->begun, 0);
}

int audit_out_publish(struct audit_out *out, struct vd_err *err)
{
    int rc;

    if (out->fd < 0)
        return 0;
    rc = fsync(out->fd);
    if (close(vd_take_fd(&out->fd)) || rc) {
        (void)unlinkat(out->dir_fd, out->begun, 0);
        return vd_fail_errno(err, VD_EIO, errno, "%s: cannot be written", out->path);
    }
    if (rename_new(out)) {
        (void)unlinkat(out->dir_fd, out->begun, 0);
        return vd_fail_errno(err, VD_EIO, errno, "cannot name %s/%s", out->dir, out->name);
    }
    return fsync(out->dir_fd) ? vd_fail_errno(err, VD_EIO, errno, "%s", out->dir) : 0;
}

void audit_out_clear(struct audit_out *out)
{
    if (out->fd >= 0) {
        (void)close(out->fd);
        (void)unlinkat(out->dir_fd, out->begun, 0);
    }
    if (out->dir_fd >= 0)
        (void)close(out->dir_fd);
    free(out->dir);
    free(out->name);
    free(out->begun);
    *out = (struct audit_out){.dir_fd = -1, .fd = -1};
}
