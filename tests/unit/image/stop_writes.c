/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded into a program that writes an image: kills it at its STOP_AT-th write to a regular file,
 * after the first STOP_BYTES bytes of that write (0: before it).  What is left is what a crash
 * leaves.  Counts over all threads; writes that are shorter than STOP_BYTES are done whole.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_long n_writes;

static long number(const char *name)
{
    const char *text = getenv(name);

    return text ? strtol(text, NULL, 10) : 0;
}

/* How much of this write is to be done before the end; -1: all, and life goes on. */
static ssize_t allowed(int fd, size_t len)
{
    struct stat st;

    if (fstat(fd, &st) || !S_ISREG(st.st_mode) ||
        atomic_fetch_add(&n_writes, 1) + 1 != number("STOP_AT"))
        return -1;
    return (size_t)number("STOP_BYTES") < len ? number("STOP_BYTES") : (ssize_t)len;
}

static ssize_t write_at(int fd, const void *buf, size_t len, off64_t off)
{
    static ssize_t (*next)(int, const void *, size_t, off64_t);

    if (!next)
        next = (ssize_t(*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
    return next(fd, buf, len, off);
}

static void stop(void)
{
    (void)kill(getpid(), SIGKILL);
    for (;;)
        (void)pause();
}

__attribute__((visibility("default"))) ssize_t pwrite64(int fd, const void *buf, size_t len,
                                                        off64_t off);
__attribute__((visibility("default"))) ssize_t pwritev64(int fd, const struct iovec *v, int n,
                                                         off64_t off);

ssize_t pwrite64(int fd, const void *buf, size_t len, off64_t off)
{
    ssize_t some = allowed(fd, len);

    if (some < 0)
        return write_at(fd, buf, len, off);
    if (some > 0)
        (void)write_at(fd, buf, (size_t)some, off);
    stop();
    return -1;
}

/* As many single writes: a caller that asks for several pieces may be answered with fewer. */
ssize_t pwritev64(int fd, const struct iovec *v, int n, off64_t off)
{
    return n > 0 ? pwrite64(fd, v[0].iov_base, v[0].iov_len, off) : 0;
}
