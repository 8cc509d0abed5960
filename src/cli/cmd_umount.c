/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vdiskctl umount: unmounts and waits until the log is closed.
 *
 * umount(8) returns when the kernel let go of the mount; the program behind it then still seals and
 * closes its log.  Copying or verifying the log in that moment shows an open one.  The root of a
 * mount names its supervisor's process id; a pidfd taken before unmounting tells when it is gone.
 */
#include "base/cleanup.h"
#include "base/text.h"
#include "cli/command.h"
#include "fuse/mountinfo.h"
#include "vdiskfs/exit_codes.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static const char usage[] =
    "Usage: vdiskctl umount MOUNTPOINT\n"
    "Unmounts and returns when the program behind the mount has closed its log and ended.\n";

static bool is_ours_at(const struct mountinfo *m, const void *ctx)
{
    return strcmp(m->path, ctx) == 0 && strcmp(m->fstype, "fuse.vdiskfs") == 0;
}

/* Asks the kernel, not the mount, which may be dead or another user's. */
static int check_mount(const char *path, struct vd_err *err)
{
    struct mountinfo m;
    int rc = mountinfo_find(is_ours_at, path, &m, err);

    if (rc)
        return vd_fail(err, VD_EMOUNT, "%s: not the mount point of a vdiskfs mount", path);
    mountinfo_clear(&m);
    return 0;
}

/* The mount tells its supervisor's process id as an attribute of its root.  -1: it does not (dead,
 * or its log is full, or another user's): unmounting is still possible, waiting is not. */
static int supervisor_of(const char *path)
{
    char text[32] = "";
    long pid;

    if (getxattr(path, "user.vdiskfs.supervisor", text, sizeof(text) - 1) < 0)
        return -1;
    pid = strtol(text, NULL, 10);
    return pid > 0 ? (int)syscall(SYS_pidfd_open, (pid_t)pid, 0) : -1;
}

/* The mount point's absolute path; realpath(3) fails on the root of a dead mount. */
static char *mountpoint_path(const char *argument)
{
    VD_AUTO(free) char *copy = strdup(argument), *parent = NULL;
    char *real = realpath(argument, NULL), *slash;
    struct vd_str text = VD_STR_INIT;
    size_t n = copy ? strlen(copy) : 0;

    if (real || errno == ENOENT || !copy)
        return real;
    while (n > 1 && copy[n - 1] == '/')
        copy[--n] = '\0';
    slash = strrchr(copy, '/');
    if (slash)
        *slash = '\0';
    parent = realpath(slash ? (slash == copy ? "/" : copy) : ".", NULL);
    if (!parent)
        return NULL;
    vd_str_addf(&text, "%s/%s", strcmp(parent, "/") == 0 ? "" : parent, slash ? slash + 1 : copy);
    return vd_str_take(&text);
}

static int run_fusermount(const char *path, struct vd_err *err)
{
    int status = 0;
    pid_t pid = fork();

    if (pid < 0)
        return vd_fail_errno(err, VD_EMOUNT, errno, "cannot fork");
    if (pid == 0) {
        (void)execlp("fusermount3", "fusermount3", "-u", "--", path, (char *)NULL);
        _exit(127);
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return vd_fail(err, VD_EMOUNT, "%s: fusermount3 could not unmount it", path);
    return 0;
}

static int unmount(const char *path, struct vd_err *err)
{
    if (umount2(path, UMOUNT_NOFOLLOW) == 0)
        return 0;
    if (errno == EPERM)
        return run_fusermount(path, err);
    return vd_fail_errno(err, VD_EMOUNT, errno, "%s: cannot unmount", path);
}

static int unmount_and_wait(const char *argument, struct vd_err *err)
{
    VD_AUTO(free) char *path = mountpoint_path(argument);
    VD_AUTO(fd) int pidfd = -1;
    struct pollfd wait = {.events = POLLIN};
    int rc;

    if (!path)
        return vd_fail_errno(err, VD_ENOENT, errno, "%s", argument);
    rc = check_mount(path, err);
    if (rc)
        return rc;
    pidfd = supervisor_of(path);
    rc = unmount(path, err);
    if (rc)
        return rc;
    if (pidfd < 0) {
        (void)fprintf(stderr,
                      "vdiskctl umount: %s: unmounted; the mount did not answer, so the end of its "
                      "log was not waited for\n",
                      path);
        return 0;
    }
    wait.fd = pidfd;
    while (poll(&wait, 1, -1) < 0 && errno == EINTR)
        ;
    return 0;
}

int cmd_umount(int argc, char **argv)
{
    struct vd_err err = VD_ERR_INIT;
    int rc;

    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        (void)fputs(usage, stdout);
        return VD_EXIT_OK;
    }
    if (argc != 2)
        rc = vd_fail(&err, VD_EUSAGE, "one MOUNTPOINT is needed; see vdiskctl umount --help");
    else
        rc = unmount_and_wait(argv[1], &err);
    return rc ? command_error("vdiskctl umount", rc, &err) : VD_EXIT_OK;
}
