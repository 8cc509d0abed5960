/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accesses a file in one named way, so that a test can compare the number of accesses with the
 * number of records in the log (t_audit_modes.py).
 *
 *   accessor HOW PATH OFFSET PAGES REPEATS OPENS
 *       opens PATH OPENS times; each time accesses PAGES pages of 4 KiB from OFFSET on, one by one,
 *       and all of that REPEATS times.  Prints the number of accesses and a checksum of the bytes.
 *   accessor HOW PATH N
 *       for calls without contents: N times.  Prints the number of calls, or how many failed.
 *
 * Exit codes: 0; 1 = a call failed that should not (message on standard error); 3 = the kernel has
 * no such call here (mmap with ENODEV, io_uring with ENOSYS or EPERM).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#define PAGE 4096u

static uint64_t sum; /* FNV-1a over all bytes that were seen */
static int out_fd;   /* an unlinked file, where the kernel copies to */
static int pipe_fd[2];

static void fail(const char *what)
{
    int error = errno;

    (void)fprintf(stderr, "accessor: %s: %s\n", what, strerror(error));
    exit(error == ENODEV || error == ENOSYS || error == EPERM ? 3 : 1);
}

static void add(const uint8_t *p, size_t n)
{
    size_t i;

    for (i = 0; i < n; i++)
        sum = (sum ^ p[i]) * UINT64_C(1099511628211);
}

static void take(ssize_t n, const uint8_t *p, const char *what)
{
    if (n < 0)
        fail(what);
    if (n != (ssize_t)PAGE) {
        (void)fprintf(stderr, "accessor: %s: %zd bytes\n", what, n);
        exit(1);
    }
    add(p, PAGE);
}

/* ---- one page each: 0, or the process ends ---- */

static uint8_t buffer[PAGE] __attribute__((aligned(PAGE)));

static void by_pread(int fd, off_t off)
{
    take(pread(fd, buffer, PAGE, off), buffer, "pread");
}

static void collect(ssize_t n, const char *what)
{
    if (n == (ssize_t)PAGE)
        n = pread(out_fd, buffer, PAGE, 0);
    take(n, buffer, what);
    if (lseek(out_fd, 0, SEEK_SET) != 0)
        fail("lseek");
}

static void by_sendfile(int fd, off_t off)
{
    collect(sendfile(out_fd, fd, &off, PAGE), "sendfile");
}

static void by_splice(int fd, off_t off)
{
    ssize_t n = splice(fd, &off, pipe_fd[1], NULL, PAGE, 0);

    if (n == (ssize_t)PAGE)
        n = read(pipe_fd[0], buffer, PAGE);
    take(n, buffer, "splice");
}

/* io_uring(7) without a library: one entry in each direction. */
static void by_uring(int fd, off_t off)
{
    static struct io_uring_params p;
    static uint8_t *ring;
    static struct io_uring_sqe *sqe;
    static int uring = -1;
    unsigned *sq_tail, *cq_head;
    const struct io_uring_cqe *cqe;

    if (uring < 0) {
        size_t sq, cq;

        uring = (int)syscall(SYS_io_uring_setup, 1, &p);
        if (uring < 0)
            fail("io_uring_setup");
        if (!(p.features & IORING_FEAT_SINGLE_MMAP)) {
            errno = ENOSYS;
            fail("io_uring: one mapping");
        }
        sq = p.sq_off.array + p.sq_entries * sizeof(unsigned);
        cq = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
        ring = mmap(NULL, sq > cq ? sq : cq, PROT_READ | PROT_WRITE, MAP_SHARED, uring,
                    IORING_OFF_SQ_RING);
        sqe = mmap(NULL, sizeof(*sqe), PROT_READ | PROT_WRITE, MAP_SHARED, uring, IORING_OFF_SQES);
        if (ring == MAP_FAILED || sqe == MAP_FAILED)
            fail("mmap of io_uring");
    }
    *sqe = (struct io_uring_sqe){.opcode = IORING_OP_READ,
                                 .fd = fd,
                                 .off = (uint64_t)off,
                                 .addr = (uint64_t)(uintptr_t)buffer,
                                 .len = PAGE};
    ((unsigned *)(void *)(ring + p.sq_off.array))[0] = 0;
    sq_tail = (unsigned *)(void *)(ring + p.sq_off.tail);
    __atomic_store_n(sq_tail, *sq_tail + 1, __ATOMIC_RELEASE);
    if (syscall(SYS_io_uring_enter, uring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
        fail("io_uring_enter");
    cq_head = (unsigned *)(void *)(ring + p.cq_off.head);
    cqe = (const void *)(ring + p.cq_off.cqes);
    cqe += *cq_head & (p.cq_entries - 1);
    errno = cqe->res < 0 ? -cqe->res : 0;
    take(cqe->res, buffer, "io_uring read");
    __atomic_store_n(cq_head, *cq_head + 1, __ATOMIC_RELEASE);
}

static const struct way {
    const char *name;
    int flags, map;
    void (*page)(int fd, off_t off);
} ways[] = {
    {"pread", 0, 0, by_pread},
    {"direct", O_DIRECT, 0, by_pread},
    {"sendfile", 0, 0, by_sendfile},
    {"splice", 0, 0, by_splice},
    {"io_uring", 0, 0, by_uring},
    {"mmap-shared", 0, MAP_SHARED, NULL},
    {"mmap-private", 0, MAP_PRIVATE, NULL},
};

static unsigned long access_open(const struct way *w, int fd, off_t off, unsigned pages,
                                 unsigned repeats)
{
    const uint8_t *map = NULL;
    unsigned r, i;

    if (w->map) {
        map = mmap(NULL, (size_t)pages * PAGE, PROT_READ, w->map, fd, off);
        if (map == MAP_FAILED)
            fail("mmap");
    }
    for (r = 0; r < repeats; r++)
        for (i = 0; i < pages; i++) {
            if (map)
                add(map + (size_t)i * PAGE, PAGE);
            else
                w->page(fd, off + (off_t)i * PAGE);
        }
    if (map && munmap((void *)(uintptr_t)map, (size_t)pages * PAGE) != 0)
        fail("munmap");
    return (unsigned long)pages * repeats;
}

static int contents(const struct way *w, char **arg)
{
    unsigned pages = (unsigned)atoi(arg[2]), repeats = (unsigned)atoi(arg[3]);
    unsigned opens = (unsigned)atoi(arg[4]), i;
    unsigned long n = 0;

    out_fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (out_fd < 0 || pipe2(pipe_fd, O_CLOEXEC) != 0)
        fail("a place for copies");
    sum = UINT64_C(14695981039346656037);
    for (i = 0; i < opens; i++) {
        int fd = open(arg[0], O_RDONLY | O_CLOEXEC | w->flags);

        if (fd < 0)
            fail("open");
        n += access_open(w, fd, atoll(arg[1]), pages, repeats);
        (void)close(fd);
    }
    (void)printf("%lu %016llx\n", n, (unsigned long long)sum);
    return 0;
}

/* ---- calls without contents; true: it succeeded ---- */

static bool do_open(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd >= 0)
        (void)close(fd);
    return fd >= 0;
}

static bool do_stat(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0;
}

static bool do_fstat(const char *path)
{
    static int fd = -1;
    struct stat st;

    if (fd < 0)
        fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd >= 0 && fstat(fd, &st) == 0;
}

static bool do_statx_cached(const char *path)
{
    static int fd = -1;
    struct statx st;

    if (fd < 0)
        fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd >= 0 &&
           statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_BASIC_STATS, &st) == 0;
}

static bool do_missing(const char *path)
{
    char name[4200];
    struct stat st;

    (void)snprintf(name, sizeof(name), "%s/no-such-name", path);
    return lstat(name, &st) != 0 && errno == ENOENT;
}

static bool do_list(const char *path)
{
    DIR *d = opendir(path);

    if (!d)
        return false;
    while (readdir(d))
        ;
    return closedir(d) == 0;
}

/* What ls -l does: the attributes of each name, asked in the directory. */
static bool do_list_long(const char *path)
{
    const struct dirent *e;
    DIR *d = opendir(path);
    struct stat st;
    bool ok = true;

    if (!d)
        return false;
    while ((e = readdir(d)) != NULL)
        if (e->d_name[0] != '.')
            ok &= fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0;
    return closedir(d) == 0 && ok;
}

static bool do_readlink(const char *path)
{
    char target[4096];

    return readlink(path, target, sizeof(target)) > 0;
}

static bool do_getxattr(const char *path)
{
    char value[4096];

    return lgetxattr(path, "user.vdiskfs.address", value, sizeof(value)) > 0;
}

static bool do_access(const char *path)
{
    return access(path, R_OK) == 0;
}

static bool do_statfs(const char *path)
{
    struct statfs fs;

    return statfs(path, &fs) == 0;
}

static bool do_seek(const char *path)
{
    static int fd = -1;

    if (fd < 0)
        fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd >= 0 && lseek(fd, 0, SEEK_DATA) >= 0;
}

/* ---- what is refused; true: it was, with EROFS ---- */

static bool refused(int rc)
{
    return rc < 0 && errno == EROFS;
}

static bool do_open_write(const char *path)
{
    return refused(open(path, O_RDWR | O_CLOEXEC));
}

static bool do_chmod(const char *path)
{
    return refused(chmod(path, 0777));
}

static bool do_truncate(const char *path)
{
    return refused(truncate(path, 0));
}

static bool do_utime(const char *path)
{
    return refused(utimensat(AT_FDCWD, path, NULL, 0));
}

static bool do_unlink(const char *path)
{
    return refused(unlink(path));
}

static bool do_mkdir(const char *path)
{
    char name[4200];

    (void)snprintf(name, sizeof(name), "%s.new", path);
    return refused(mkdir(name, 0777));
}

static bool do_rename(const char *path)
{
    char name[4200];

    (void)snprintf(name, sizeof(name), "%s.new", path);
    return refused(rename(path, name));
}

static bool do_setxattr(const char *path)
{
    return refused(setxattr(path, "user.x", "y", 1, 0));
}

static bool do_write(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool ok = fd >= 0 && write(fd, "x", 1) < 0 && errno == EBADF;

    if (fd >= 0)
        (void)close(fd);
    return ok;
}

static bool do_map_write(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool ok = fd >= 0 && mmap(NULL, PAGE, PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED &&
              (errno == EACCES || errno == ENODEV);

    if (fd >= 0)
        (void)close(fd);
    return ok;
}

static const struct call {
    const char *name;
    bool (*run)(const char *path);
} calls[] = {
    {"open", do_open},
    {"stat", do_stat},
    {"fstat", do_fstat},
    {"statx-cached", do_statx_cached},
    {"missing", do_missing},
    {"list", do_list},
    {"list-long", do_list_long},
    {"readlink", do_readlink},
    {"getxattr", do_getxattr},
    {"access", do_access},
    {"statfs", do_statfs},
    {"seek-data", do_seek},
    {"open-write", do_open_write},
    {"chmod", do_chmod},
    {"truncate", do_truncate},
    {"utimensat", do_utime},
    {"unlink", do_unlink},
    {"mkdir", do_mkdir},
    {"rename", do_rename},
    {"setxattr", do_setxattr},
    {"write-rdonly", do_write},
    {"map-write", do_map_write},
};

int main(int argc, char **argv)
{
    size_t i;
    int n;

    for (i = 0; argc == 7 && i < sizeof(ways) / sizeof(ways[0]); i++)
        if (strcmp(argv[1], ways[i].name) == 0)
            return contents(&ways[i], argv + 2);
    for (i = 0; argc == 4 && i < sizeof(calls) / sizeof(calls[0]); i++) {
        if (strcmp(argv[1], calls[i].name) != 0)
            continue;
        for (n = 0; n < atoi(argv[3]); n++)
            if (!calls[i].run(argv[2]))
                fail(calls[i].name);
        (void)printf("%d -\n", n);
        return 0;
    }
    (void)fprintf(stderr, "usage: accessor HOW PATH OFFSET PAGES REPEATS OPENS | HOW PATH N\n");
    return 2;
}
