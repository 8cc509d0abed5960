/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who makes requests: /proc/PID/{stat,status,comm,exe,loginuid,sessionid}, proc(5).
 *
 * FUSE tells the id of the *thread*; what is wanted is the process.  All files are opened beneath
 * one descriptor of /proc/PID, which stays bound to that very process: after its end reads fail
 * with ESRCH instead of telling of another process that got the same number.  What the caller may
 * not know (another user's executable) is left empty, not guessed.  Thread rule: stateless.
 */
#include "proc/identity.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "proc/mark.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ATTEMPTS  4    /* at reading a process that executes other programs meanwhile */
#define TEXT_SIZE 4096 /* stat is < 1 KiB; of status only the first lines are needed */

/* An unsigned decimal number at *p; moves *p behind it. */
static bool take_number(const char **p, const char *end, uint64_t *out)
{
    const char *q = *p;
    uint64_t v = 0;

    for (; q < end && *q >= '0' && *q <= '9'; q++)
        if (__builtin_mul_overflow(v, 10u, &v) ||
            __builtin_add_overflow(v, (uint64_t)(*q - '0'), &v))
            return false;
    if (q == *p)
        return false;
    *p = q;
    *out = v;
    return true;
}

/* Field `wanted` of a stat line, a number behind the name.  Every field there starts behind one
 * space. */
static bool stat_field(const char *text, size_t len, int wanted, uint64_t *out)
{
    const char *end = text + len;
    const char *p = len ? memrchr(text, ')', len) : NULL;
    int field = 2;

    for (p = p ? p + 1 : end; p < end && field < wanted; p++)
        field += *p == ' ';
    return field == wanted && take_number(&p, end, out) && (p == end || *p == ' ' || *p == '\n');
}

int proc_stat_decode(const char *text, size_t len, uint64_t *out_start, struct vd_err *err)
{
    if (!stat_field(text, len, 22, out_start))
        return vd_fail(err, VD_ECORRUPT, "stat: no start time");
    return 0;
}

int proc_stat_terminal(const char *text, size_t len, uint64_t *out, struct vd_err *err)
{
    if (!stat_field(text, len, 7, out))
        return vd_fail(err, VD_ECORRUPT, "stat: no terminal");
    return 0;
}

/* Majors: Documentation/admin-guide/devices.txt.  The number is that of new_encode_dev: minor bits
 * 0-7 and 20-31, major bits 8-19. */
void proc_terminal_name(uint64_t number, char *out, size_t size)
{
    unsigned major = (unsigned)(number >> 8) & 0xfff;
    unsigned minor = (unsigned)(number & 0xff) | ((unsigned)(number >> 12) & 0xfff00);

    if (!number)
        (void)snprintf(out, size, "%s", "");
    else if (major >= 136 && major <= 143)
        (void)snprintf(out, size, "pts/%u", minor + (major - 136) * 256);
    else if (major == 4)
        (void)snprintf(out, size, minor < 64 ? "tty%u" : "ttyS%u", minor < 64 ? minor : minor - 64);
    else
        (void)snprintf(out, size, "%u:%u", major, minor);
}

/* Finds the line "KEY:\t" and reads its first number. */
static bool status_number(const char *text, size_t len, const char *key, uint32_t *out)
{
    const char *end = text + len;
    const char *line, *next;
    size_t key_len = strlen(key);
    uint64_t v;

    for (line = text; line < end; line = next) {
        const char *p = line + key_len;

        next = memchr(line, '\n', (size_t)(end - line));
        next = next ? next + 1 : end;
        if ((size_t)(next - line) <= key_len || memcmp(line, key, key_len) != 0)
            continue;
        while (p < next && (*p == '\t' || *p == ' '))
            p++;
        if (!take_number(&p, next, &v) || v > UINT32_MAX)
            return false;
        *out = (uint32_t)v;
        return true;
    }
    return false;
}

int proc_status_decode(const char *text, size_t len, struct proc_status *out, struct vd_err *err)
{
    struct proc_status s;

    if (!status_number(text, len, "Tgid:", &s.tgid) || !s.tgid || s.tgid > INT_MAX ||
        !status_number(text, len, "Uid:", &s.uid) || !status_number(text, len, "Gid:", &s.gid))
        return vd_fail(err, VD_ECORRUPT, "status: no Tgid, Uid or Gid");
    *out = s;
    return 0;
}

static int fail_gone(struct vd_err *err, pid_t pid, int host_errno)
{
    if (host_errno == ENOENT || host_errno == ESRCH || host_errno == ENOTDIR)
        return vd_fail(err, VD_ENOENT, "process %d is gone", (int)pid);
    return vd_fail_errno(err, VD_EIO, host_errno, "process %d", (int)pid);
}

bool proc_status_is_ours(const char *status, size_t len)
{
    static const char key[] = "\nNSpid:\t";
    const char *end = status + len, *p = memmem(status, len, key, sizeof(key) - 1);
    uint64_t number;

    if (!p) /* a kernel without namespaces */
        return true;
    p += sizeof(key) - 1;
    return take_number(&p, end, &number) && p < end && *p == '\n';
}

static ssize_t read_small(int dirfd, const char *name, char *buf, size_t size);

/* Looked at once: the mount of /proc that is seen does not change under a running supervisor. */
static bool proc_is_ours(void)
{
    static atomic_int known; /* 0 not yet, 1 yes, 2 no */
    char text[TEXT_SIZE] = "";
    ssize_t n;

    if (!atomic_load(&known)) {
        n = read_small(AT_FDCWD, "/proc/self/status", text, sizeof(text));
        atomic_store(&known, n > 0 && proc_status_is_ours(text, (size_t)n) ? 1 : 2);
    }
    return atomic_load(&known) == 1;
}

static int open_process(pid_t pid, int *out_dirfd, struct vd_err *err)
{
    char path[32];
    int fd;

    (void)snprintf(path, sizeof(path), "/proc/%d", (int)pid);
    fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fail_gone(err, pid, errno);
    *out_dirfd = fd;
    return 0;
}

/* Reads at most `size` bytes of a small file; negative errno on failure. */
static ssize_t read_small(int dirfd, const char *name, char *buf, size_t size)
{
    VD_AUTO(fd) int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    size_t done = 0;

    if (fd < 0)
        return -errno;
    while (done < size) {
        ssize_t n = read(fd, buf + done, size - done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

static int read_status(int dirfd, pid_t pid, struct proc_status *out, struct vd_err *err)
{
    char text[TEXT_SIZE] = "";
    ssize_t n = read_small(dirfd, "status", text, sizeof(text));

    if (n < 0)
        return fail_gone(err, pid, (int)-n);
    return proc_status_decode(text, (size_t)n, out, err);
}

static int read_stat(int dirfd, pid_t pid, struct proc_identity *id, struct vd_err *err)
{
    char text[TEXT_SIZE] = "";
    ssize_t n = read_small(dirfd, "stat", text, sizeof(text));
    uint64_t terminal;
    int rc;

    if (n < 0)
        return fail_gone(err, pid, (int)-n);
    rc = proc_stat_decode(text, (size_t)n, &id->start_time, err);
    if (rc == 0)
        rc = proc_stat_terminal(text, (size_t)n, &terminal, err);
    if (rc == 0)
        proc_terminal_name(terminal, id->tty, sizeof(id->tty));
    return rc;
}

static void read_comm(int dirfd, char *out, size_t size)
{
    char text[256] = "";
    ssize_t n = read_small(dirfd, "comm", text, sizeof(text));

    if (n > 0 && text[n - 1] == '\n')
        n--;
    (void)vd_text_printable(text, n > 0 ? (size_t)n : 0, out, size);
}

static void read_exe(int dirfd, char *out, size_t size)
{
    char text[PATH_MAX];
    ssize_t n = readlinkat(dirfd, "exe", text, sizeof(text));

    (void)vd_text_printable(text, n > 0 ? (size_t)n : 0, out, size);
}

static uint32_t read_id(int dirfd, const char *name)
{
    char text[32] = "";
    const char *p = text;
    ssize_t n = read_small(dirfd, name, text, sizeof(text));
    uint64_t v;

    if (n <= 0 || !take_number(&p, text + n, &v) || v > UINT32_MAX)
        return UINT32_MAX;
    return (uint32_t)v;
}

/* `asked` is the thread that was asked for, `process` its thread group; often the same. */
static int read_process(int asked, int process, pid_t pid, const struct proc_status *status,
                        struct proc_identity *id, struct vd_err *err)
{
    int rc = read_stat(process, pid, id, err);

    if (rc)
        return rc;
    id->pid = status->tgid;
    id->uid = status->uid;
    id->gid = status->gid;
    read_comm(process, id->comm, sizeof(id->comm));
    read_exe(asked, id->exe, sizeof(id->exe)); /* a main thread that ended has none any more */
    id->login_uid = read_id(process, "loginuid");
    id->session_id = read_id(process, "sessionid");
    return 0;
}

/* The files of the mark, both or none. */
static int open_watch(int dirfd, pid_t pid, int fds[PROC_WATCH_FDS], struct vd_err *err)
{
    VD_AUTO(fd) int comm = openat(dirfd, "comm", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    if (comm < 0)
        return fail_gone(err, pid, errno);
    fds[PROC_WATCH_STATM] = openat(dirfd, "statm", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fds[PROC_WATCH_STATM] < 0)
        return fail_gone(err, pid, errno);
    fds[PROC_WATCH_COMM] = vd_take_fd(&comm);
    return 0;
}

/* One attempt: reads everything between two looks at the mark.  *out_same: nothing was executed in
 * between. */
static int read_once(int asked, const int fds[PROC_WATCH_FDS], pid_t pid, struct proc_identity *out,
                     bool *out_same, struct vd_err *err)
{
    VD_AUTO(fd) int group = -1;
    struct proc_status status = {0}, again;
    struct proc_identity id = {0};
    int rc = proc_mark_read(fds, &id.mark) ? 0 : fail_gone(err, pid, ESRCH);

    if (rc == 0)
        rc = read_status(asked, pid, &status, err);
    if (rc == 0 && status.tgid != (uint32_t)pid)
        rc = open_process((pid_t)status.tgid, &group, err);
    if (rc == 0)
        rc = read_process(asked, group >= 0 ? group : asked, pid, &status, &id, err);
    /* While the thread lives its group's number cannot be given to another process. */
    if (rc == 0)
        rc = read_status(asked, pid, &again, err);
    if (rc == 0) {
        *out = id;
        *out_same = proc_mark_look(fds, &id.mark, true) == PROC_LOOK_SAME;
    }
    return rc;
}

int proc_identity_read(pid_t pid, struct proc_identity *out, int out_fds[PROC_WATCH_FDS],
                       struct vd_err *err)
{
    VD_AUTO(fd) int asked = -1;
    int rc, i, fds[PROC_WATCH_FDS];
    bool same = false;

    if (pid <= 0)
        return vd_fail(err, VD_ENOENT, "process %d lies outside of this process namespace",
                       (int)pid);
    if (!proc_is_ours())
        return vd_fail(err, VD_ENOENT, "/proc is that of another process namespace");
    rc = open_process(pid, &asked, err);
    if (rc == 0)
        rc = open_watch(asked, pid, fds, err);
    if (rc)
        return rc;
    for (i = 0; i < ATTEMPTS && rc == 0 && !same; i++)
        rc = read_once(asked, fds, pid, out, &same, err);
    if (rc) {
        (void)close(fds[PROC_WATCH_COMM]);
        (void)close(fds[PROC_WATCH_STATM]);
        return rc;
    }
    memcpy(out_fds, fds, sizeof(fds));
    return 0;
}
