/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vdiskfs IMAGE MOUNTPOINT [-o OPTIONS] [-f]: the driver, also run by mount(8).
 *
 * Daemon mode: a child goes on in the background; the process that was called waits until the child
 * says that the mount is usable (one byte, the exit code) or ends, and exits with that code.
 */
#include "base/cleanup.h"
#include "base/version.h"
#include "cli/command.h"
#include "cli/help.h"
#include "cli/mount_run.h"
#include "fs/fs.h"
#include "proc/proc.h"
#include "vdiskfs/exit_codes.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct command_line {
    const char *image, *mountpoint;
    struct options options;
    bool foreground, done;
};

struct readiness {
    int pipe;         /* write end, -1 in the foreground */
    int saved_stderr; /* daemon mode: where errors go until the mount is usable, else -1 */
};

static void announce(void *ctx)
{
    struct readiness *ready = ctx;
    uint8_t code = VD_EXIT_OK;

    if (ready->pipe < 0)
        return;
    if (chdir("/"))
        return; /* cannot happen to a root directory; without it the shell's one stays busy */
    if (write(ready->pipe, &code, 1) != 1)
        return; /* nobody waits any more: the mount works all the same */
    (void)close(ready->pipe);
    (void)close(ready->saved_stderr);
    ready->pipe = ready->saved_stderr = -1;
}

/* Whoever notes the key down can prove later that the log is this one. */
static void show_log_key(void *ctx, const char *key, const char *lab_key)
{
    const struct readiness *ready = ctx;
    int fd = ready->saved_stderr >= 0 ? ready->saved_stderr : STDERR_FILENO;

    (void)dprintf(fd, "audit log key: %s\n", key);
    if (lab_key[0])
        (void)dprintf(fd, "laboratory key: %s\n", lab_key);
}

static void show_warning(void *ctx, const char *text)
{
    const struct readiness *ready = ctx;

    (void)dprintf(ready->saved_stderr >= 0 ? ready->saved_stderr : STDERR_FILENO,
                  "vdiskfs: warning: %s\n", text);
}

/* Before the fork of the worker: whoever called us may wait for the end of our output (a pipe), and
 * the worker, which keeps what it inherits, lives as long as the mount. */
static int detach_output(struct readiness *ready)
{
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC), i;

    ready->saved_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (null_fd < 0 || ready->saved_stderr < 0)
        return -1;
    for (i = STDIN_FILENO; i <= STDERR_FILENO; i++)
        if (dup2(null_fd, i) < 0)
            return -1;
    (void)close(null_fd);
    return 0;
}

static int report(const struct readiness *ready, int rc, const struct vd_err *err)
{
    if (ready->saved_stderr >= 0)
        (void)dup2(ready->saved_stderr, STDERR_FILENO);
    return command_error("vdiskfs", rc, err);
}

/* mount(8) passes options it does not know what to do with: -n, -s, -v and -t TYPE. */
static int parse_arguments(int argc, char **argv, struct command_line *out, struct vd_err *err)
{
    static const struct option long_options[] = {{"help", no_argument, NULL, 'h'},
                                                 {"version", no_argument, NULL, 'V'},
                                                 {"man", no_argument, NULL, 'm'},
                                                 {0}};
    int c, rc = 0;

    while (rc == 0 && (c = getopt_long(argc, argv, "o:fhVnsvt:", long_options, NULL)) != -1) {
        switch (c) {
        case 'o':
            rc = options_parse(&out->options, optarg, OPTION_OPEN | OPTION_MOUNT, err);
            break;
        case 'f':
            out->foreground = true;
            break;
        case 'h':
            help_vdiskfs(stdout);
            out->done = true;
            return 0;
        case 'm':
            help_man_vdiskfs(stdout);
            out->done = true;
            return 0;
        case 'V':
            (void)printf("vdiskfs %s (%s)\n%s\n", VD_VERSION, VD_BUILD, case_library_versions());
            out->done = true;
            return 0;
        case '?':
            rc = vd_fail(err, VD_EUSAGE, "see vdiskfs --help");
            break;
        default:
            break;
        }
    }
    if (rc)
        return rc;
    if (optind + 2 != argc)
        return vd_fail(err, VD_EUSAGE, "an IMAGE and a MOUNTPOINT are needed; see vdiskfs --help");
    out->image = argv[optind];
    out->mountpoint = argv[optind + 1];
    return options_complete(&out->options, err);
}

/* Does a mount lie there whose program is gone?  stat(2) may be answered from the kernel's cache;
 * opening asks. */
static bool is_dead(const char *path)
{
    VD_AUTO(fd) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd < 0 && errno == ENOTCONN;
}

static int resolve_mountpoint(const char *path, char **out, struct vd_err *err)
{
    VD_AUTO(free) char *real = realpath(path, NULL);
    struct stat st = {0};

    if (!real)
        return vd_fail_errno(err, VD_EMOUNT, errno, "mount point %s", path);
    if (stat(real, &st) && errno != ENOTCONN)
        return vd_fail_errno(err, VD_EMOUNT, errno, "mount point %s", path);
    if (!is_dead(real) && !S_ISDIR(st.st_mode))
        return vd_fail(err, VD_EMOUNT, "mount point %s: not a directory", path);
    if (is_dead(real))
        return vd_fail(err, VD_EMOUNT,
                       "mount point %s: a dead FUSE mount lies there; unmount it first (vdiskctl "
                       "umount)",
                       path);
    *out = vd_take(&real);
    return 0;
}

static int run(const struct command_line *line, int argc, char **argv, struct readiness *ready)
{
    VD_AUTO(free) char *mountpoint = NULL;
    struct vd_err err = VD_ERR_INIT;
    struct image_path image = {0};
    int rc = image_path_resolve(line->image, &line->options, &image, &err);

    if (rc == 0)
        rc = resolve_mountpoint(line->mountpoint, &mountpoint, &err);
    if (rc == 0) {
        const struct mount_run mount = {
            .options = &line->options,
            .image = &image,
            .mountpoint = mountpoint,
            .foreground = line->foreground,
            .argc = argc,
            .argv = argv,
            .ready = announce,
            .log_key = show_log_key,
            .warn = show_warning,
            .ctx = ready,
        };

        rc = mount_run(&mount, &err);
    }
    image_path_clear(&image);
    return rc ? report(ready, rc, &err) : VD_EXIT_OK;
}

/* The parent's wait; gives the child's verdict. */
static int wait_for_child(int fd)
{
    struct vd_err err = VD_ERR_INIT;
    uint8_t code;
    ssize_t n;

    do
        n = read(fd, &code, 1);
    while (n < 0 && errno == EINTR);
    return n == 1 ? code
                  : command_error("vdiskfs",
                                  vd_fail(&err, VD_EMOUNT,
                                          "the program was killed before the mount was usable"),
                                  &err);
}

static int run_daemon(const struct command_line *line, int argc, char **argv)
{
    struct readiness ready = {-1, -1};
    struct vd_err err = VD_ERR_INIT;
    int fds[2], code;
    uint8_t byte;
    pid_t pid;

    if (pipe2(fds, O_CLOEXEC))
        return command_error("vdiskfs", vd_fail_errno(&err, VD_EMOUNT, errno, "cannot start"),
                             &err);
    pid = fork();
    if (pid < 0)
        return command_error("vdiskfs", vd_fail_errno(&err, VD_EMOUNT, errno, "cannot fork"), &err);
    if (pid > 0) {
        (void)close(fds[1]);
        code = wait_for_child(fds[0]);
        (void)close(fds[0]);
        return code;
    }
    (void)close(fds[0]);
    (void)setsid();
    ready.pipe = fds[1];
    if (detach_output(&ready))
        code = report(&ready, vd_fail_errno(&err, VD_EMOUNT, errno, "cannot start"), &err);
    else
        code = run(line, argc, argv, &ready);
    byte = (uint8_t)code;
    if (ready.pipe >= 0 && write(ready.pipe, &byte, 1) != 1)
        return code;
    return code;
}

int main(int argc, char **argv)
{
    struct command_line line = {0};
    struct readiness ready = {-1, -1};
    struct vd_err err = VD_ERR_INIT;
    int rc = proc_standard_fds(&err), code;

    if (rc == 0)
        rc = parse_arguments(argc, argv, &line, &err);
    if (rc)
        code = command_error("vdiskfs", rc, &err);
    else if (line.done)
        code = command_end("vdiskfs", VD_EXIT_OK);
    else if (line.foreground)
        code = run(&line, argc, argv, &ready);
    else
        code = run_daemon(&line, argc, argv);
    options_clear(&line.options);
    return code;
}
