/* SPDX-License-Identifier: Apache-2.0 */
/*
 * anchor_cmd=: one run of a command with a checkpoint on its standard input.
 *
 * The command is the word of whoever mounts and runs with the same rights, by /bin/sh -c as other
 * programs of its kind do, in a session and process group of its own, in "/", with an environment
 * made here and no descriptor but three: the note (a sealed memory file, so nobody has to feed a
 * pipe), and one pipe for its output.  Nothing of evidence is in its arguments or its environment.
 *
 * It is watched through a pidfd, so the supervisor's own wait for the worker is not touched.  At
 * the time limit its whole process group is killed; processes that left the group are their own
 * affair and are not waited for, also when they hold the pipe.  Threads: the sink's.
 */
#include "audit/anchor_sink.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KILL_MS   2000 /* SIGKILL works at once unless the kernel itself hangs */
#define HURRY_MS  2000 /* what an older note's run may still take once the program ends */
#define KEEP      400  /* bytes of output that are kept */
#define MAX_DRAIN 64   /* reads of output left when the command has ended */

struct running {
    pid_t pid;
    int pidfd, output;
    char kept[KEEP];
    size_t n_kept;
};

static int64_t now_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool fail(char *why, const char *what, int error)
{
    char text[128];

    (void)snprintf(why, ANCHOR_WHY, "%s: %s", what, strerror_r(error, text, sizeof(text)));
    return false;
}

/* A memory file with the note that nobody can change any more; -1 on failure. */
static int note_file(const char *note)
{
    VD_AUTO(fd) int fd = memfd_create("checkpoint", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    size_t len = strlen(note);

    if (fd < 0)
        return -1;
    if (write(fd, note, len) != (ssize_t)len || lseek(fd, 0, SEEK_SET) != 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL)) {
        if (!errno)
            errno = EIO;
        return -1;
    }
    return vd_take_fd(&fd);
}

/* ---- starting ---- */

/* All signals as a new program expects them, a session of its own. */
static int set_attributes(posix_spawnattr_t *attributes)
{
    sigset_t none, all;
    int rc;

    (void)sigemptyset(&none);
    (void)sigfillset(&all);
    rc = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK |
                                                  POSIX_SPAWN_SETSIGDEF);
    if (rc == 0)
        rc = posix_spawnattr_setsigmask(attributes, &none);
    return rc ? rc : posix_spawnattr_setsigdefault(attributes, &all);
}

static int set_files(posix_spawn_file_actions_t *files, int note_fd, int output_fd)
{
    int rc = posix_spawn_file_actions_adddup2(files, note_fd, STDIN_FILENO);

    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(files, output_fd, STDOUT_FILENO);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(files, output_fd, STDERR_FILENO);
    if (rc == 0)
        rc = posix_spawn_file_actions_addclosefrom_np(files, STDERR_FILENO + 1);
    return rc ? rc : posix_spawn_file_actions_addchdir_np(files, "/");
}

static int spawn_with(const struct anchor_command *c, char *const *environment, int note_fd,
                      int output_fd, pid_t *out_pid)
{
    char shell[] = "sh", option[] = "-c";
    char *const arguments[] = {shell, option, c->text, NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    int rc = posix_spawn_file_actions_init(&files);

    if (rc)
        return rc;
    rc = posix_spawnattr_init(&attributes);
    if (rc == 0) {
        rc = set_attributes(&attributes);
        if (rc == 0)
            rc = set_files(&files, note_fd, output_fd);
        if (rc == 0)
            rc = posix_spawn(out_pid, "/bin/sh", &files, &attributes, arguments, environment);
        (void)posix_spawnattr_destroy(&attributes);
    }
    (void)posix_spawn_file_actions_destroy(&files);
    return rc;
}

static int spawn(const struct anchor_command *c, const struct anchor_note *note, int note_fd,
                 int output_fd, pid_t *out_pid)
{
    static char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    static char language[] = "LANG=C.UTF-8";
    char session[64], frames[64], last[32], home[4096] = "HOME=/";
    char *const environment[] = {path, language, home, session, frames, last, NULL};
    const char *own = getenv("HOME");

    if (own && strlen(own) < sizeof(home) - 5)
        (void)snprintf(home, sizeof(home), "HOME=%s", own);
    (void)snprintf(session, sizeof(session), "VDISKFS_SESSION=%s", c->session_id);
    (void)snprintf(frames, sizeof(frames), "VDISKFS_FRAMES=%" PRIu64, note->frames);
    (void)snprintf(last, sizeof(last), "VDISKFS_LAST=%d", note->last);
    return spawn_with(c, environment, note_fd, output_fd, out_pid);
}

static bool start(const struct anchor_command *c, const struct anchor_note *note, struct running *r,
                  char *why)
{
    VD_AUTO(fd) int note_fd = note_file(note->text);
    VD_AUTO(fd) int output_fd = -1;
    int pipe_fds[2], rc;

    if (note_fd < 0)
        return fail(why, "no memory file for the checkpoint", errno);
    if (pipe2(pipe_fds, O_CLOEXEC))
        return fail(why, "no pipe", errno);
    r->output = pipe_fds[0];
    output_fd = pipe_fds[1];
    (void)fcntl(r->output, F_SETFL, O_NONBLOCK);
    rc = spawn(c, note, note_fd, output_fd, &r->pid);
    if (rc)
        return fail(why, "cannot be started", rc);
    r->pidfd = pidfd_open(r->pid, 0);
    return r->pidfd >= 0 || fail(why, "cannot be watched", errno);
}

/* ---- watching ---- */

/* Reads what is there; false at the end of the output. */
static bool take_output(struct running *r)
{
    char bytes[4096];
    ssize_t n = read(r->output, bytes, sizeof(bytes));
    size_t room = sizeof(r->kept) - r->n_kept;

    if (n <= 0)
        return n < 0 && (errno == EAGAIN || errno == EINTR);
    if ((size_t)n < room)
        room = (size_t)n;
    memcpy(r->kept + r->n_kept, bytes, room);
    r->n_kept += room;
    return true;
}

/* Waits for the end; false at the time limit. */
static bool watch(const struct anchor_command *c, struct running *r, bool last)
{
    int64_t until = now_ms() + c->limit_ms, left;
    bool open = true, hurried = last;

    while ((left = until - now_ms()) > 0) {
        struct pollfd fds[] = {
            {.fd = r->pidfd, .events = POLLIN},
            {.fd = open ? r->output : -1, .events = POLLIN},
            {.fd = hurried ? -1 : c->hurry_fd, .events = POLLIN},
        };

        if (poll(fds, 3, (int)left) < 0 && errno != EINTR)
            return false;
        if (fds[0].revents)
            return true;
        if (fds[1].revents)
            open = take_output(r);
        if (fds[2].revents) { /* a newer note waits, and so does whoever unmounted */
            hurried = true;
            if (now_ms() + HURRY_MS < until)
                until = now_ms() + HURRY_MS;
        }
    }
    return false;
}

/* Kills the group and waits; false when it does not die. */
static bool kill_group(const struct running *r)
{
    struct pollfd fd = {.fd = r->pidfd, .events = POLLIN};
    int64_t until = now_ms() + KILL_MS, left;

    (void)kill(-r->pid, SIGKILL); /* not reaped yet, so the number is still its own */
    if (r->pidfd < 0)
        return true;
    while ((left = until - now_ms()) > 0)
        if (poll(&fd, 1, (int)left) > 0)
            return true;
    return false;
}

static bool judge(const struct running *r, const char *printed, char *why)
{
    int status = 0;
    const char *name;
    pid_t pid;
    int n;

    do
        pid = waitpid(r->pid, &status, 0);
    while (pid < 0 && errno == EINTR);
    if (pid != r->pid)
        return fail(why, "its end was not seen", errno);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return true;
    if (WIFSIGNALED(status)) {
        name = sigabbrev_np(WTERMSIG(status));
        n = snprintf(why, ANCHOR_WHY, "killed by signal %d (SIG%s)", WTERMSIG(status),
                     name ? name : "?");
    } else {
        n = snprintf(why, ANCHOR_WHY, "exit code %d", WEXITSTATUS(status));
    }
    if (printed[0])
        (void)snprintf(why + n, (size_t)(ANCHOR_WHY - n), ": %s", printed);
    return false;
}

bool anchor_command_run(const struct anchor_command *command, const struct anchor_note *note,
                        char *printed, char *why)
{
    struct running r = {.pid = -1, .pidfd = -1, .output = -1};
    bool good = start(command, note, &r, why), ended = good;
    int left = MAX_DRAIN;

    printed[0] = '\0';
    if (r.pid > 0 && (!good || !watch(command, &r, note->last))) {
        ended = kill_group(&r);
        if (good)
            (void)snprintf(why, ANCHOR_WHY, "%s",
                           ended ? "killed: it took too long"
                                 : "it does not end even when it is killed");
        good = false;
    }
    while (r.output >= 0 && left-- > 0 && take_output(&r) && errno != EAGAIN)
        errno = 0;
    while (r.n_kept && (r.kept[r.n_kept - 1] == '\n' || r.kept[r.n_kept - 1] == '\r'))
        r.n_kept--;
    (void)vd_text_printable(r.kept, r.n_kept, printed, ANCHOR_WHY / 2);
    if (good)
        good = judge(&r, printed, why);
    else if (r.pid > 0 && ended)
        (void)waitpid(r.pid, NULL, 0);
    if (r.pidfd >= 0)
        (void)close(r.pidfd);
    if (r.output >= 0)
        (void)close(r.output);
    return good;
}
