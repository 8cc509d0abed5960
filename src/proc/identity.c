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

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

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

int proc_stat_decode(const char *text, size_t len, uint64_t *out_start, struct vd_err *err)
{
    const char *end = text + len;
    const char *p = len ? memrchr(text, ')', len) : NULL;
    int field = 2;

    /* Every field after the name starts behind one space. */
    for (p = p ? p + 1 : end; p < end && field < 22; p++)
        field += *p == ' ';
    if (field < 22 || !take_number(&p, end, out_start) || !(p == end || *p == ' ' || *p == '\n'))
        return vd_fail(err, VD_ECORRUPT, "stat: no start time");
    return 0;
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

static int read_start(int dirfd, pid_t pid, uint64_t *out, struct vd_err *err)
{
    char text[TEXT_SIZE] = "";
    ssize_t n = read_small(dirfd, "stat", text, sizeof(text));

    if (n < 0)
        return fail_gone(err, pid, (int)-n);
    return proc_stat_decode(text, (size_t)n, out, err);
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
                        struct proc_identity *out, struct vd_err *err)
{
    struct proc_identity id = {
        .pid = status->tgid,
        .uid = status->uid,
        .gid = status->gid,
    };
    struct proc_status again;
    int rc;

    rc = read_start(process, pid, &id.start_time, err);
    if (rc)
        return rc;
    read_comm(process, id.comm, sizeof(id.comm));
    read_exe(asked, id.exe, sizeof(id.exe)); /* a main thread that ended has none any more */
    id.login_uid = read_id(process, "loginuid");
    id.session_id = read_id(process, "sessionid");
    /* While the thread lives its group's number cannot be given to another process. */
    rc = read_status(asked, pid, &again, err);
    if (rc == 0)
        *out = id;
    return rc;
}

int proc_identity_read(pid_t pid, struct proc_identity *out, struct vd_err *err)
{
    VD_AUTO(fd) int asked = -1;
    VD_AUTO(fd) int group = -1;
    struct proc_status status = {0};
    int rc;

    if (pid <= 0)
        return vd_fail(err, VD_ENOENT, "process %d lies outside of this process namespace",
                       (int)pid);
    rc = open_process(pid, &asked, err);
    if (rc == 0)
        rc = read_status(asked, pid, &status, err);
    if (rc == 0 && status.tgid != (uint32_t)pid)
        rc = open_process((pid_t)status.tgid, &group, err);
    if (rc)
        return rc;
    return read_process(asked, group >= 0 ? group : asked, pid, &status, out, err);
}
