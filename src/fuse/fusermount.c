/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fusermount3's side of mounting: the helper gets the number of a socket in the environment
 * variable _FUSE_COMMFD, mounts, and sends the /dev/fuse descriptor over it with one byte
 * (fusermount3(1) and libfuse's doc/kernel.txt describe the helper).  Done here and not by
 * fuse_session_mount(), which prints instead of telling, tries again without the subtype when it
 * was refused, and keeps a second descriptor that would hold the connection alive after the
 * worker's death.  The helper opens /dev/fuse with the user's own rights: the device must be open
 * to everybody, as udev makes it.  Thread rule: supervisor's main thread.
 */
#include "fuse/fusermount.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>

#define HELPER      "fusermount3"
#define HELPER_PATH "/usr/bin/" HELPER
#define COMM_ENV    "_FUSE_COMMFD="
#define COMM_FD     3 /* in the helper */

/* The environment of this process with the number of the socket; entries are borrowed. */
static char **helper_environment(void)
{
    static char comm[] = COMM_ENV "3";
    size_t n = 0, i, kept = 0;
    char **env;

    while (environ[n])
        n++;
    env = calloc(n + 2, sizeof(*env));
    if (!env)
        return NULL;
    for (i = 0; i < n; i++)
        if (strncmp(environ[i], COMM_ENV, strlen(COMM_ENV)) != 0)
            env[kept++] = environ[i];
    env[kept] = comm;
    return env;
}

static int spawn_prepared(char *const argv[], posix_spawn_file_actions_t *actions,
                          posix_spawnattr_t *attr, pid_t *out_pid)
{
    char **env = helper_environment();
    sigset_t none;
    int why;

    if (!env)
        return ENOMEM;
    (void)sigemptyset(&none); /* the supervisor blocks signals; the helper shall not */
    (void)posix_spawnattr_setsigmask(attr, &none);
    (void)posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGMASK);
    why = posix_spawn(out_pid, HELPER_PATH, actions, attr, argv, env);
    if (why == ENOENT)
        why = posix_spawnp(out_pid, HELPER, actions, attr, argv, env);
    free(env);
    return why;
}

/* Starts the helper with `comm` (or -1) as COMM_FD and `text` as its error output.  Returns 0 or an
 * errno. */
static int spawn_helper(char *const argv[], int comm, int text, pid_t *out_pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    int why = posix_spawn_file_actions_init(&actions);

    if (why)
        return why;
    why = posix_spawnattr_init(&attr);
    if (why == 0) {
        why = posix_spawn_file_actions_adddup2(&actions, text, 2);
        if (why == 0 && comm >= 0) /* equal numbers: clears close-on-exec */
            why = posix_spawn_file_actions_adddup2(&actions, comm, COMM_FD);
        if (why == 0)
            why = spawn_prepared(argv, &actions, &attr, out_pid);
        (void)posix_spawnattr_destroy(&attr);
    }
    (void)posix_spawn_file_actions_destroy(&actions);
    return why;
}

/* What the helper wrote, on one line; waits until it closed its end. */
static void read_text(int fd, char *out, size_t size)
{
    size_t used = 0;
    char drop[256] = "";
    ssize_t n;

    for (;;) {
        bool room = used + 1 < size;

        n = read(fd, room ? out + used : drop, room ? size - 1 - used : sizeof(drop));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        if (room)
            used += (size_t)n;
    }
    while (used && out[used - 1] == '\n')
        used--;
    out[used] = '\0';
    while (used--)
        if (out[used] == '\n')
            out[used] = ';';
}

static bool ended_well(pid_t pid)
{
    int status = -1;
    pid_t got;

    do
        got = waitpid(pid, &status, 0);
    while (got < 0 && errno == EINTR);
    return got == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* The descriptor that the helper sends, or -1 when it ends without one. */
static int receive_fuse_fd(int sock)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    char byte;
    struct iovec iov = {.iov_base = &byte, .iov_len = 1};
    struct msghdr msg = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof(control),
    };
    const struct cmsghdr *cmsg;
    int fd = -1;
    ssize_t n;

    do
        n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    cmsg = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;
    if (cmsg && cmsg->cmsg_level == SOL_SOCKET && cmsg->cmsg_type == SCM_RIGHTS &&
        cmsg->cmsg_len == CMSG_LEN(sizeof(int)))
        memcpy(&fd, CMSG_DATA(cmsg), sizeof(fd));
    return fd;
}

/* Runs the helper to its end; *out_fd (may be NULL) is what came over the socket. */
static int run_helper(char *const argv[], int *out_fd, struct vd_err *err)
{
    VD_AUTO(fd) int comm_ours = -1;
    VD_AUTO(fd) int comm_its = -1;
    VD_AUTO(fd) int text_ours = -1;
    VD_AUTO(fd) int text_its = -1;
    char text[512];
    int pair[2], why, fd = -1;
    pid_t pid;
    bool good;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
        return vd_fail_errno(err, VD_EMOUNT, errno, "cannot make a socket pair");
    comm_ours = pair[0];
    comm_its = pair[1];
    if (pipe2(pair, O_CLOEXEC))
        return vd_fail_errno(err, VD_EMOUNT, errno, "cannot make a pipe");
    text_ours = pair[0];
    text_its = pair[1];
    why = spawn_helper(argv, out_fd ? comm_its : -1, text_its, &pid);
    if (why)
        return vd_fail_errno(err, VD_EMOUNT, why, "cannot run %s (package fuse3)", HELPER);
    (void)close(vd_take_fd(&comm_its));
    (void)close(vd_take_fd(&text_its));
    if (out_fd)
        fd = receive_fuse_fd(comm_ours);
    read_text(text_ours, text, sizeof(text));
    good = ended_well(pid);
    if (good && (!out_fd || fd >= 0)) {
        if (out_fd)
            *out_fd = fd;
        return 0;
    }
    if (fd >= 0)
        (void)close(fd);
    return vd_fail(err, VD_EMOUNT, "%s", text[0] ? text : HELPER " failed");
}

int fusermount_mount(const char *path, const char *options, int *out_fuse_fd, struct vd_err *err)
{
    char *const argv[] = {
        (char *)(uintptr_t)HELPER, (char *)(uintptr_t) "-o", (char *)(uintptr_t)options,
        (char *)(uintptr_t) "--",  (char *)(uintptr_t)path,  NULL,
    };

    return run_helper(argv, out_fuse_fd, err);
}

int fusermount_unmount(const char *path, struct vd_err *err)
{
    char *const argv[] = {
        (char *)(uintptr_t)HELPER,
        (char *)(uintptr_t) "-u",
        (char *)(uintptr_t) "-z",
        (char *)(uintptr_t) "-q",
        (char *)(uintptr_t) "--",
        (char *)(uintptr_t)path,
        NULL,
    };

    return run_helper(argv, NULL, err);
}
