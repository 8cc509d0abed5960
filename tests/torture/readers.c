/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Readers of a mount that may be killed at any moment (scripts/audit-torture).
 *
 *     torture_readers FILE REFERENCE OUT-DIR READERS
 *
 * Each reader is a process.  It reads pieces of FILE past the page cache, one after the other or scattered, no two of all
 * readers alike: a piece that the log has can have been logged for this read only.  What a read gave is compared with
 * REFERENCE and noted in OUT-DIR/PID *before* the next read; a note is 32 bytes: offset, bytes that came, 1 when they are
 * right, time in ns since 1970.  A reader ends at the first error or when its part of the file is read.  Prints one line when all have
 * started.
 */
#include "base/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define UNIT ((size_t)1024)

static const uint8_t *reference;
static size_t size;

/* 0, or the reader's exit code. */
static int note(int out, uint64_t off, size_t got, bool right)
{
    uint8_t line[32];
    struct timespec t;

    (void)clock_gettime(CLOCK_REALTIME, &t);
    vd_put_le64(line, off);
    vd_put_le64(line + 8, got);
    vd_put_le64(line + 16, right);
    vd_put_le64(line + 24, (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec);
    return write(out, line, sizeof(line)) == (ssize_t)sizeof(line) ? 0 : 3;
}

/* Pieces of 1 to 4 units out of [first, first + n) units, n a multiple of 4.  Every second reader takes
 * them in order, the others jump. */
static int read_part(int fd, int out, size_t first, size_t n, unsigned number, uint8_t *buf)
{
    size_t places = n / 4, i;

    for (i = 0; i < places; i++) {
        size_t at = number % 2 ? i : i % 2 ? places - 1 - i / 2 : i / 2; /* from both ends */
        size_t off = (first + 4 * at) * UNIT, len = (1 + (number + i) % 4) * UNIT;
        ssize_t got;

        if (number % 4 == 1) /* without gaps: these are merged */
            len = 4 * UNIT;
        got = pread(fd, buf, len, (off_t)off);
        if (got < 0)
            return 0;
        if (note(out, off, (size_t)got,
                 (size_t)got == len && memcmp(buf, reference + off, len) == 0))
            return 3;
    }
    return 0;
}

static int reader(const char *file, const char *out_dir, unsigned number, unsigned readers,
                  int start_fd)
{
    char path[4096];
    void *buf = NULL;
    size_t n = size / UNIT / readers;
    int fd = open(file, O_RDONLY | O_DIRECT | O_CLOEXEC), out;
    char go;

    (void)snprintf(path, sizeof(path), "%s/%ld", out_dir, (long)getpid());
    out = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
    if (out < 0 || posix_memalign(&buf, 4096, 4 * UNIT))
        return 3;
    if (fd < 0)
        return 0;
    (void)!read(start_fd, &go, 1);
    return read_part(fd, out, number * n, n, number, buf);
}

int main(int argc, char **argv)
{
    unsigned readers, i;
    int reference_fd, pipe_fd[2], status, worst = 0;
    struct stat st;

    if (argc != 5) {
        (void)fprintf(stderr, "usage: torture_readers FILE REFERENCE OUT-DIR READERS\n");
        return 1;
    }
    readers = (unsigned)strtoul(argv[4], NULL, 10);
    reference_fd = open(argv[2], O_RDONLY | O_CLOEXEC);
    if (readers == 0 || reference_fd < 0 || fstat(reference_fd, &st) || pipe(pipe_fd))
        return 1;
    size = (size_t)st.st_size;
    reference = mmap(NULL, size, PROT_READ, MAP_PRIVATE, reference_fd, 0);
    if (reference == MAP_FAILED)
        return 1;
    for (i = 0; i < readers; i++) {
        pid_t pid = fork();

        if (pid < 0)
            return 1;
        if (pid == 0) {
            (void)close(pipe_fd[1]);
            _exit(reader(argv[1], argv[3], i, readers, pipe_fd[0]));
        }
    }
    (void)close(pipe_fd[0]);
    (void)printf("started\n");
    (void)fflush(stdout);
    (void)close(pipe_fd[1]); /* the end of the pipe is the start for all */
    while (wait(&status) > 0 || errno == EINTR)
        if (!WIFEXITED(status) || WEXITSTATUS(status) > worst)
            worst = WIFEXITED(status) ? WEXITSTATUS(status) : 3;
    return worst;
}
