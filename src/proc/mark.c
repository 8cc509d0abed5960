/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is that thread still the one that was identified, and in the same program?  The worker asks at
 * every request and cannot open /proc, so it looks at two descriptors that the supervisor gave it:
 *
 *   comm    the thread's name.  Execution of a program changes it (to the program's name), and the
 *           descriptor is bound to the thread: once it ended, reading fails with ESRCH, whoever has
 *           its number then.  About 1 µs.
 *   statm   memory in pages: total resident shared text lib data dirty.  The text is that of the program
 *           file, so it tells two programs of one name apart, as when /usr/bin/foo is a script that
 *           executes /usr/lib/foo/foo.  About 1.5 µs.
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

uint64_t proc_statm_text(const char *text, size_t len)
{
    uint64_t value = 0;
    unsigned field = 1;
    size_t i;

    for (i = 0; i < len && field <= 4; i++) {
        if (text[i] == ' ' || text[i] == '\n') {
            field++;
        } else if (text[i] < '0' || text[i] > '9') {
            return 0;
        } else if (field == 4) {
            if (__builtin_mul_overflow(value, 10u, &value) ||
                __builtin_add_overflow(value, (uint64_t)(text[i] - '0'), &value))
                return 0;
        }
    }
    return field > 4 ? value : 0;
}

static bool read_text_size(int fd, uint64_t *out)
{
    char text[STATM_SIZE];
    ssize_t n = read_again(fd, text, sizeof(text));

    *out = n > 0 ? proc_statm_text(text, (size_t)n) : 0;
    return n > 0;
}

bool proc_mark_read(const int fds[PROC_WATCH_FDS], struct proc_mark *out)
{
    ssize_t n;

    memset(out, 0, sizeof(*out));
    n = read_again(fds[PROC_WATCH_COMM], out->comm, sizeof(out->comm));
    if (n <= 0)
        return false;
    out->comm_len = (uint32_t)n;
    return read_text_size(fds[PROC_WATCH_STATM], &out->text);
}

enum proc_look proc_mark_look(const int fds[PROC_WATCH_FDS], const struct proc_mark *mark,
                              bool closely)
{
    char comm[sizeof(mark->comm)];
    ssize_t n = read_again(fds[PROC_WATCH_COMM], comm, sizeof(comm));
    uint64_t text;

    if (n <= 0)
        return PROC_LOOK_DEAD;
    if ((size_t)n != mark->comm_len || memcmp(comm, mark->comm, (size_t)n) != 0)
        return PROC_LOOK_CHANGED;
    if (!closely)
        return PROC_LOOK_SAME;
    if (!read_text_size(fds[PROC_WATCH_STATM], &text))
        return PROC_LOOK_DEAD;
    return text == mark->text ? PROC_LOOK_SAME : PROC_LOOK_CHANGED;
}
