/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is that thread still the one that was identified, and in the same program?  The worker asks at
 * every request and cannot open /proc, so it looks at two descriptors that the supervisor gave it:
 *
 *   comm    the thread's name.  Execution of a program changes it (to the program's name), and the
 *           descriptor is bound to the thread: once it ended, reading fails with ESRCH, whoever has
 *           its number then.  About 1 µs.
 *   statm   memory in pages: total resident shared text lib data dirty.  Another program has other
 *           sizes, which tells two programs of one name apart, as when /usr/bin/foo is a script that
 *           executes /usr/lib/foo/foo.  The total also changes when memory is allocated;
 *           the supervisor is then asked in vain.  About 1.5 µs.
 *
 * proc(5).  What the process may write into its own name is compared as bytes and not looked at.
 * Neither file tells anything about the layout of the process's memory.  Thread rule: stateless.
 */
#include "proc/mark.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define STATM_SIZE 256 /* seven numbers */

/* Reads a whole small file again; -1 when the thread ended. */
static ssize_t read_again(int fd, char *buf, size_t size)
{
    ssize_t n;

    do
        n = pread(fd, buf, size, 0);
    while (n < 0 && errno == EINTR);
    return n;
}

bool proc_statm_decode(const char *text, size_t len, uint64_t *out_total, uint64_t *out_text)
{
    uint64_t value[4] = {0};
    unsigned field = 0;
    size_t i;

    for (i = 0; i < len && field < 4; i++) {
        if (text[i] == ' ' || text[i] == '\n') {
            field++;
        } else if (text[i] < '0' || text[i] > '9' ||
                   __builtin_mul_overflow(value[field], 10u, &value[field]) ||
                   __builtin_add_overflow(value[field], (uint64_t)(text[i] - '0'), &value[field])) {
            return false;
        }
    }
    *out_total = value[0];
    *out_text = value[3];
    return field == 4;
}

static bool read_sizes(int fd, uint64_t *out_total, uint64_t *out_text)
{
    char text[STATM_SIZE];
    ssize_t n = read_again(fd, text, sizeof(text));

    return n > 0 && proc_statm_decode(text, (size_t)n, out_total, out_text);
}

bool proc_mark_read(const int fds[PROC_WATCH_FDS], struct proc_mark *out)
{
    ssize_t n;

    memset(out, 0, sizeof(*out));
    n = read_again(fds[PROC_WATCH_COMM], out->comm, sizeof(out->comm));
    if (n <= 0)
        return false;
    out->comm_len = (uint32_t)n;
    return read_sizes(fds[PROC_WATCH_STATM], &out->total, &out->text);
}

enum proc_look proc_mark_look(const int fds[PROC_WATCH_FDS], const struct proc_mark *mark,
                              bool closely)
{
    char comm[sizeof(mark->comm)];
    ssize_t n = read_again(fds[PROC_WATCH_COMM], comm, sizeof(comm));
    uint64_t total, text;

    if (n <= 0)
        return PROC_LOOK_DEAD;
    if ((size_t)n != mark->comm_len || memcmp(comm, mark->comm, (size_t)n) != 0)
        return PROC_LOOK_CHANGED;
    if (!closely)
        return PROC_LOOK_SAME;
    if (!read_sizes(fds[PROC_WATCH_STATM], &total, &text))
        return PROC_LOOK_DEAD;
    return total == mark->total && text == mark->text ? PROC_LOOK_SAME : PROC_LOOK_CHANGED;
}
