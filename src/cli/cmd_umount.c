/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vdiskctl umount: unmounts and waits until the log is closed.
 *
 * umount(8) returns when the kernel let go of the mount; the program behind it then still seals and
 * closes its log.  Copying or verifying the log in that moment shows an open one.  The root of a
 * mount names its supervisor's process id; a pidfd taken before unmounting tells when it is gone.
 */
#include "base/cleanup.h"
#include "cli/command.h"
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

/* The mount tells its supervisor's process id as an attribute of its root. */
static int supervisor_of(const char *path, int *out_pidfd, struct vd_err *err)
{
    char text[32] = "";
    long pid;
    int fd;

    if (getxattr(path, "user.vdiskfs.supervisor", text, sizeof(text) - 1) < 0)
        return vd_fail_errno(err, VD_EMOUNT, errno, "%s: not the root of a vdiskfs mount", path);
    pid = strtol(text, NULL, 10);
    if (pid <= 0)
        return vd_fail(err, VD_EMOUNT, "%s: not the root of a vdiskfs mount", path);
    fd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
    if (fd < 0)
        return vd_fail_errno(err, VD_EMOUNT, errno, "%s: process %ld", path, pid);
    *out_pidfd = fd;
    return 0;
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
    VD_AUTO(free) char *path = realpath(argument, NULL);
    VD_AUTO(fd) int pidfd = -1;
    struct pollfd wait = {.events = POLLIN};
    int rc;

    if (!path)
        return vd_fail_errno(err, VD_ENOENT, errno, "%s", argument);
    rc = supervisor_of(path, &pidfd, err);
    if (rc == 0)
        rc = unmount(path, err);
    if (rc)
        return rc;
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
