/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole of src/fuse on a real mount, with the tree, the log and the supervisor of fakes.c.
 * Needs root and /dev/fuse; without them it says so and exits with 77.
 */
#include "fakes.h"

#include "fuse/serve.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

struct fixture {
    struct proc_channel channel;
    struct audit_ring *ring;
    int stop; /* writing end */
    char *dir;
    char mnt[512];
    pthread_t server;
    int rc;
    struct vd_err err;
};

static struct fixture fx;

static const char *in_mount(const char *name)
{
    static __thread char path[8][1024];
    static __thread unsigned turn;
    char *p = path[turn++ % 8];

    (void)snprintf(p, sizeof(path[0]), "%s/%s", fx.mnt, name);
    return p;
}

static void *serve(void *arg)
{
    struct fixture *f = arg;
    struct serve_config config = {.ring = f->ring, .channel = &f->channel, .threads = 8};

    f->rc = serve_mount(&config, &f->err);
    return NULL;
}

static bool mount_it(struct fixture *f)
{
    char options[256];
    int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

    if (fd < 0)
        return false;
    (void)snprintf(options, sizeof(options),
                   "fd=%d,rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other", fd);
    if (mount("test", f->mnt, "fuse.vdiskfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
              options) != 0) {
        (void)close(fd);
        return false;
    }
    f->channel.fuse_fd = fd;
    return true;
}

static void start_server(void)
{
    assert_true(mount_it(&fx));
    assert_int_equal(pthread_create(&fx.server, NULL, serve, &fx), 0);
}

static int set_up(void **state)
{
    int stop[2];

    memset(&fx, 0, sizeof(fx));
    fx.ring = fake_ring_new();
    fx.dir = test_tmpdir();
    (void)snprintf(fx.mnt, sizeof(fx.mnt), "%s", fx.dir);
    assert_int_equal(pipe2(stop, O_CLOEXEC), 0);
    fx.channel.stop_fd = stop[0];
    fx.stop = stop[1];
    start_server();
    *state = &fx;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_ring_break(fx.ring, false);
    (void)umount2(fx.mnt, MNT_DETACH);
    if (fx.stop >= 0)
        (void)close(fx.stop);
    (void)pthread_join(fx.server, NULL);
    (void)close(fx.channel.stop_fd);
    fake_ring_free(fx.ring);
    test_rmdir(fx.dir);
    return 0;
}

static void expect_bytes(uint64_t node, uint64_t off, const uint8_t *p, size_t len)
{
    size_t i;

    for (i = 0; i < len; i++)
        if (p[i] != fake_tree_byte(node, off + i))
            fail_msg("node %d, byte %llu: %d instead of %d", (int)node,
                     (unsigned long long)(off + i), p[i], fake_tree_byte(node, off + i));
}

static int open_in(const char *name)
{
    int fd = open(in_mount(name), O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        fail_msg("open %s: %s", name, strerror(errno));
    return fd;
}

/* ---- tests ---- */

static void attributes(void **state)
{
    struct stat st;
    struct statvfs vfs;
    char target[16];

    (void)state;
    assert_int_equal(stat(in_mount("p1/fs/file"), &st), 0);
    assert_true(atomic_load(&fx.channel.mounted));
    assert_int_equal(st.st_ino, NODE_FILE);
    assert_int_equal(st.st_size, FILE_BYTES);
    assert_int_equal(st.st_mtim.tv_sec, -86400);
    assert_int_equal(st.st_mtim.tv_nsec, 5);
    assert_int_equal(stat(in_mount("nothing"), &st), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(statvfs(fx.mnt, &vfs), 0);
    assert_true(vfs.f_flag & ST_RDONLY);
    assert_int_equal(readlink(in_mount("p1/fs/link"), target, sizeof(target)), 4);
    assert_int_equal(atomic_load(&fake_tree_depth), 0);
    assert_int_equal(readlink(in_mount("p1/fs/dir/sub/deep"), target, sizeof(target)), 7);
    assert_int_equal(atomic_load(&fake_tree_depth), 2);
    assert_int_equal(fake_ring_count_of(fx.ring, AUDIT_READLINK, NODE_DEEP), 1);
}

static void every_request_is_recorded(void **state)
{
    struct fake_record r;
    uint8_t *buf = malloc(FILE_BYTES);
    uint64_t covered = 0, i, n;
    int fd = open_in("p1/fs/file");
    struct stat st;

    (void)state;
    assert_non_null(buf);
    assert_int_equal(pread(fd, buf, FILE_BYTES, 0), FILE_BYTES);
    expect_bytes(NODE_FILE, 0, buf, FILE_BYTES);
    assert_int_equal(fsync(fd), 0);
    assert_int_equal(lseek(fd, 5, SEEK_DATA), 5);
    assert_int_equal(lseek(fd, 5, SEEK_HOLE), FILE_BYTES);
    assert_int_equal(lseek(fd, FILE_BYTES, SEEK_DATA), -1);
    assert_int_equal(errno, ENXIO);
    (void)close(fd);
    free(buf);

    assert_true(fake_ring_last_of(fx.ring, AUDIT_OPEN, &r));
    assert_string_equal(r.path, "p1/fs/file");
    assert_int_equal(r.result, 0);
    n = fake_ring_count(fx.ring);
    for (i = 0; i < n; i++) {
        r = fake_ring_at(fx.ring, i);
        if (r.op == AUDIT_READ && r.obj == NODE_FILE && r.result == 0)
            covered += r.len;
        if (r.op == AUDIT_LOOKUP && strcmp(r.name, "file") == 0)
            assert_int_equal(r.off, NODE_FILE);
    }
    assert_int_equal(covered, FILE_BYTES);
    assert_int_equal(fake_ring_count_of(fx.ring, AUDIT_FSYNC, NODE_FILE), 1);
    assert_true(fake_ring_last_of(fx.ring, AUDIT_PROC, &r));
    assert_int_equal(r.pid, gettid());

    assert_int_equal(stat(in_mount("absent"), &st), -1);
    assert_true(fake_ring_last_of(fx.ring, AUDIT_LOOKUP, &r));
    assert_string_equal(r.name, "absent");
    assert_int_equal(r.result, -ENOENT);
    assert_int_equal(r.obj, NODE_ROOT);
}

static void errors_stay_where_they_are(void **state)
{
    struct fake_record r;
    uint8_t page[4096];
    int fd = open_in("bad.img");
    uint64_t off;
    unsigned failed = 0;

    (void)state;
    for (off = BAD_PAGE_OFF - (128 << 10); off < BAD_PAGE_OFF + (128 << 10); off += 4096) {
        ssize_t got = pread(fd, page, sizeof(page), (off_t)off);

        if (got < 0) {
            assert_int_equal(errno, EIO);
            assert_int_equal(off, BAD_PAGE_OFF);
            failed++;
        } else {
            assert_int_equal(got, 4096);
            expect_bytes(NODE_BAD_IMG, off, page, sizeof(page));
        }
    }
    assert_int_equal(failed, 1);
    (void)close(fd);
    assert_true(fake_ring_last_of(fx.ring, AUDIT_IOERR, &r));
    assert_string_equal(r.path, "bad.img");
    assert_true(test_contains(r.text, "grain 32"));
    assert_true(r.off <= BAD_PAGE_OFF && r.off + r.len > BAD_PAGE_OFF);
    assert_true(fake_ring_waited(fx.ring) >= r.seq); /* on the disk before the answer */
}

/* Sequential reading with read-ahead across the bad page: nothing before it is lost, nothing after
 * it is shown as zeros. */
static void sequential_reading_meets_the_error(void **state)
{
    uint8_t *buf = malloc(64 << 10);
    int fd = open_in("bad.img");
    uint64_t off = 0;
    ssize_t got;

    (void)state;
    assert_non_null(buf);
    while ((got = read(fd, buf, 64 << 10)) > 0) {
        expect_bytes(NODE_BAD_IMG, off, buf, (size_t)got);
        off += (uint64_t)got;
    }
    assert_int_equal(got, -1);
    assert_int_equal(errno, EIO);
    assert_int_equal(off, BAD_PAGE_OFF);
    assert_int_equal(lseek(fd, BAD_PAGE_OFF + 4096, SEEK_SET), BAD_PAGE_OFF + 4096);
    off = BAD_PAGE_OFF + 4096;
    while ((got = read(fd, buf, 64 << 10)) > 0) {
        expect_bytes(NODE_BAD_IMG, off, buf, (size_t)got);
        off += (uint64_t)got;
    }
    assert_int_equal(got, 0);
    assert_int_equal(off, DISK_BYTES);
    (void)close(fd);
    free(buf);
}

static void mapped_and_direct_reading(void **state)
{
    int fd = open_in("disk.img"), direct = open(in_mount("disk.img"), O_RDONLY | O_DIRECT);
    const uint8_t *map = mmap(NULL, DISK_BYTES, PROT_READ, MAP_SHARED, fd, 0);
    void *buf = aligned_alloc(4096, DISK_BYTES);

    (void)state;
    assert_true(map != MAP_FAILED);
    assert_non_null(buf);
    expect_bytes(NODE_DISK, 0, map, DISK_BYTES);
    assert_true(direct >= 0);
    assert_int_equal(pread(direct, buf, DISK_BYTES, 0), DISK_BYTES);
    expect_bytes(NODE_DISK, 0, buf, DISK_BYTES);
    (void)munmap((void *)(uintptr_t)map, DISK_BYTES);
    (void)close(fd);
    (void)close(direct);
    free(buf);
}

static void listings(void **state)
{
    static bool seen[MANY];
    struct dirent *d;
    unsigned number, n = 0, dots = 0;
    DIR *dir = opendir(in_mount("many"));
    struct stat st;
    struct fake_record r;

    (void)state;
    memset(seen, 0, sizeof(seen));
    assert_non_null(dir);
    while ((d = readdir(dir))) {
        if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0) {
            assert_int_equal(d->d_ino, d->d_name[1] ? NODE_ROOT : NODE_MANY);
            dots++;
            continue;
        }
        assert_memory_equal(d->d_name, "entry-", 6);
        number = (unsigned)strtoul(d->d_name + 6, NULL, 10);
        assert_true(number < MANY && !seen[number]);
        assert_int_equal(d->d_ino, NODE_FIRST_OF_MANY + number);
        assert_int_equal(fstatat(dirfd(dir), d->d_name, &st, 0), 0);
        seen[number] = true;
        n++;
    }
    (void)closedir(dir);
    assert_int_equal(n, MANY);
    assert_int_equal(dots, 2);

    /* Entries that came with READDIRPLUS, without a LOOKUP, have their path in the log. */
    (void)close(open_in("many/entry-5"));
    assert_int_equal(fake_ring_count_of(fx.ring, AUDIT_LOOKUP, NODE_MANY) < MANY, 1);
    assert_true(fake_ring_last_of(fx.ring, AUDIT_OPEN, &r));
    assert_string_equal(r.path, "many/entry-5");
    assert_true(fake_ring_last_of(fx.ring, AUDIT_OPENDIR, &r));
    assert_string_equal(r.path, "many");
}

static unsigned list(const char *name, int *out_errno)
{
    DIR *dir = opendir(in_mount(name));
    unsigned n = 0;

    assert_non_null(dir);
    errno = 0;
    while (readdir(dir))
        n++;
    *out_errno = errno;
    (void)closedir(dir);
    return n;
}

static void damaged_directories(void **state)
{
    struct fake_record r;
    struct stat st;
    int error;

    (void)state;
    assert_int_equal(list("bad", &error), 5); /* with the dots */
    assert_int_equal(error, EIO);
    assert_true(fake_ring_last_of(fx.ring, AUDIT_IOERR, &r));
    assert_string_equal(r.path, "bad");

    /* One entry without attributes: the others are all there. */
    assert_int_equal(list("p1/fs", &error), 7);
    assert_int_equal(error, 0);
    assert_int_equal(stat(in_mount("p1/fs/broken"), &st), -1);
    assert_int_equal(errno, EIO);
    assert_int_equal(stat(in_mount("p1/fs/hard1"), &st), 0);
}

static void extended_attributes(void **state)
{
    struct fake_record r;
    char buf[64];

    (void)state;
    assert_int_equal(getxattr(in_mount("p1/fs/file"), "user.vdiskfs.address", buf, sizeof(buf)), 2);
    assert_memory_equal(buf, "42", 2);
    assert_int_equal(getxattr(in_mount("p1/fs/file"), "user.vdiskfs.address", NULL, 0), 2);
    assert_int_equal(getxattr(in_mount("p1/fs/file"), "user.vdiskfs.address", buf, 1), -1);
    assert_int_equal(errno, ERANGE);
    assert_int_equal(getxattr(in_mount("p1/fs/file"), "user.other", buf, sizeof(buf)), -1);
    assert_int_equal(errno, ENODATA);
    assert_int_equal(getxattr(in_mount("p1/fs/file"), "trusted.x", buf, sizeof(buf)), -1);
    assert_int_equal(errno, ENODATA);
    assert_int_equal(listxattr(in_mount("p1/fs/file"), buf, sizeof(buf)), 21);
    assert_string_equal(buf, "user.vdiskfs.address");
    assert_true(fake_ring_last_of(fx.ring, AUDIT_GETXATTR, &r));
    assert_string_equal(r.name, "trusted.x");
    assert_string_equal(r.path, "p1/fs/file");
}

static void expect_refused(int rc, const char *key, const char *path, const char *name)
{
    struct fake_record r;
    int error = errno;

    assert_int_equal(rc, -1);
    if (error != EROFS)
        fail_msg("%s: %s instead of EROFS", key, strerror(error));
    assert_true(fake_ring_last_of(fx.ring, AUDIT_REFUSED, &r));
    assert_string_equal(r.key, key);
    assert_string_equal(r.path, path);
    assert_string_equal(r.name, name);
    assert_int_equal(r.result, -EROFS);
    assert_int_equal(fake_ring_waited(fx.ring), r.seq);
}

/* The outer layer stripped: what the program itself refuses. */
static void writes_are_refused_and_recorded(void **state)
{
    struct fake_record r;
    char file[1024];
    int fd;

    (void)state;
    (void)snprintf(file, sizeof(file), "%s/p1/fs/file", fx.mnt);
    assert_int_equal(mount("test", fx.mnt, NULL, MS_REMOUNT, NULL), 0);
    expect_refused(open(file, O_RDWR), "open", "p1/fs/file", "");
    expect_refused(open(file, O_WRONLY | O_APPEND), "open", "p1/fs/file", "");
    expect_refused(open(file, O_RDONLY | O_TRUNC), "open", "p1/fs/file", "");
    expect_refused(open(in_mount("new"), O_CREAT | O_RDWR, 0600), "create", "", "new");
    expect_refused(truncate(file, 0), "setattr", "p1/fs/file", "");
    expect_refused(mkdir(in_mount("p1/fs/new"), 0700), "mkdir", "p1/fs", "new");
    expect_refused(mknod(in_mount("p1/fs/new"), S_IFIFO | 0600, 0), "mknod", "p1/fs", "new");
    expect_refused(symlink("x", in_mount("p1/fs/new")), "symlink", "p1/fs", "new");
    expect_refused(link(file, in_mount("p1/fs/new")), "link", "p1/fs/file", "new");
    expect_refused(unlink(file), "unlink", "p1/fs", "file");
    expect_refused(rmdir(in_mount("p1/fs/dir")), "rmdir", "p1/fs", "dir");
    expect_refused(rename(file, in_mount("p1/fs/new")), "rename", "p1/fs", "file");
    expect_refused(chmod(file, 0600), "setattr", "p1/fs/file", "");
    expect_refused(setxattr(file, "user.x", "y", 1, 0), "setxattr", "p1/fs/file", "user.x");
    expect_refused(removexattr(file, "user.x"), "removexattr", "p1/fs/file", "user.x");

    for (fd = 0; fd < 2; fd++) { /* the second attempt is recorded as well */
        size_t before = fake_ring_count_of(fx.ring, AUDIT_REFUSED, NODE_DIR);

        assert_int_equal(open(in_mount("p1/fs/dir"), O_TMPFILE | O_RDWR, 0600), -1);
        assert_int_equal(errno, EOPNOTSUPP);
        assert_true(fake_ring_last_of(fx.ring, AUDIT_REFUSED, &r));
        assert_string_equal(r.key, "tmpfile");
        assert_string_equal(r.path, "p1/fs/dir");
        assert_int_equal(fake_ring_count_of(fx.ring, AUDIT_REFUSED, NODE_DIR), before + 1);
    }

    fd = open_in("p1/fs/file");
    assert_int_equal(ioctl(fd, _IOWR('X', 121, char[24]), &r), -1); /* FITRIM */
    assert_int_equal(errno, ENOTTY);
    assert_true(fake_ring_last_of(fx.ring, AUDIT_REFUSED, &r));
    assert_string_equal(r.key, "ioctl FITRIM");
    assert_int_equal(r.result, -ENOTTY);
    assert_int_equal(ioctl(fd, _IOW('f', 16, uint64_t), &r), -1); /* EXT4_IOC_RESIZE_FS */
    assert_int_equal(errno, EROFS);
    assert_int_equal(ioctl(fd, _IOR('z', 99, uint64_t), &r), -1); /* nobody's */
    assert_int_equal(errno, ENOTTY);
    assert_int_equal(fake_ring_count_of(fx.ring, AUDIT_IOCTL, NODE_FILE), 1);
    (void)close(fd);
}

static void a_failed_log_stops_access(void **state)
{
    struct stat st;
    char byte;
    int fd = open_in("p1/fs/file"), error;
    size_t n;

    (void)state;
    fake_ring_break(fx.ring, true);
    n = fake_ring_count(fx.ring);
    assert_int_equal(pread(fd, &byte, 1, 0), -1);
    assert_int_equal(errno, EIO);
    assert_int_equal(open(in_mount("disk.img"), O_RDONLY), -1);
    assert_int_equal(errno, EIO);
    assert_int_equal(stat(in_mount("zero"), &st), -1);
    assert_int_equal(errno, EIO);
    assert_null(opendir(in_mount("p1")));
    assert_int_equal(errno, EIO);
    assert_int_equal(stat(fx.mnt, &st), 0); /* can be looked at and unmounted */
    assert_int_equal(fake_ring_count(fx.ring), n);

    fake_ring_break(fx.ring, false); /* access resumes */
    assert_int_equal(pread(fd, &byte, 1, 0), 1);
    assert_int_equal(stat(in_mount("zero"), &st), 0);
    (void)list("p1", &error);
    assert_int_equal(error, 0);
    (void)close(fd);
}

/* Node numbers are the same in every mount: a handle of one opens in the next, which has never
 * looked the file up. */
static void by_handle(void **state)
{
    struct {
        struct file_handle h;
        unsigned char room[MAX_HANDLE_SZ];
    } handle;
    struct fake_record r;
    int root, id, fd;
    uint8_t byte;

    (void)state;
    handle.h.handle_bytes = MAX_HANDLE_SZ;
    assert_int_equal(name_to_handle_at(AT_FDCWD, in_mount("p1/fs/file"), &handle.h, &id, 0), 0);
    assert_int_equal(umount2(fx.mnt, 0), 0);
    (void)pthread_join(fx.server, NULL);
    start_server();
    root = open(fx.mnt, O_RDONLY | O_DIRECTORY);
    fd = open_by_handle_at(root, &handle.h, O_RDONLY);
    if (fd < 0)
        fail_msg("open_by_handle_at: %s", strerror(errno));
    assert_int_equal(pread(fd, &byte, 1, 9), 1);
    assert_int_equal(byte, fake_tree_byte(NODE_FILE, 9));
    assert_true(fake_ring_last_of(fx.ring, AUDIT_OPEN, &r));
    assert_string_equal(r.path, "?"); /* opened by number: its place is not known */
    (void)close(fd);
    (void)close(root);
}

static void polling_and_locks(void **state)
{
    int fd = open_in("p1/fs/file");
    struct pollfd p = {.fd = fd, .events = POLLIN};
    struct flock lock = {.l_type = F_RDLCK};
    unsigned i;

    (void)state;
    for (i = 0; i < 3; i++) {
        assert_int_equal(poll(&p, 1, 1000), 1);
        assert_true(p.revents & POLLIN);
    }
    assert_int_equal(fcntl(fd, F_SETLK, &lock), 0);
    (void)close(fd);
}

#define READERS 16

static void *read_randomly(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg, i;
    uint8_t buf[9000];
    int fd = open(in_mount("disk.img"), O_RDONLY);
    struct stat st;

    if (fd < 0)
        return "open";
    for (i = 0; i < 200; i++) {
        uint64_t off = (uint64_t)rand_r(&seed) % DISK_BYTES;
        size_t len = 1 + (size_t)rand_r(&seed) % sizeof(buf), j;
        ssize_t got = pread(fd, buf, len, (off_t)off);
        uint64_t want = len < DISK_BYTES - off ? len : DISK_BYTES - off;

        if (got < 0 || (uint64_t)got != want)
            return "length";
        for (j = 0; j < want; j++)
            if (buf[j] != fake_tree_byte(NODE_DISK, off + j))
                return "bytes";
        if (i % 50 == 0)
            (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        if (stat(in_mount(i % 2 ? "p1/fs/dir/hard2" : "p1/fs/hard1"), &st) != 0)
            return "stat";
    }
    (void)close(fd);
    return NULL;
}

static void many_readers(void **state)
{
    pthread_t thread[READERS];
    uintptr_t i;

    (void)state;
    for (i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, read_randomly, (void *)(i + 1)), 0);
    for (i = 0; i < READERS; i++) {
        void *failed;

        assert_int_equal(pthread_join(thread[i], &failed), 0);
        if (failed)
            fail_msg("reader %d: wrong %s", (int)i, (const char *)failed);
    }
}

static void ends_when_asked(void **state)
{
    struct stat st;

    (void)state;
    assert_int_equal(stat(in_mount("disk.img"), &st), 0);
    (void)close(fx.stop);
    fx.stop = -1;
    (void)pthread_join(fx.server, NULL);
    assert_int_equal(fx.rc, 0);
    /* The session is gone and the mount is dead, not empty. */
    assert_int_equal(stat(in_mount("zero"), &st), -1);
    assert_int_equal(errno, ENOTCONN);
    assert_int_equal(pthread_create(&fx.server, NULL, serve, &fx), 0); /* for tear_down */
}

static void ends_when_unmounted(void **state)
{
    struct stat st;

    (void)state;
    assert_int_equal(stat(in_mount("disk.img"), &st), 0);
    assert_int_equal(umount2(fx.mnt, 0), 0);
    (void)pthread_join(fx.server, NULL);
    assert_int_equal(fx.rc, 0);
    assert_int_equal(pthread_create(&fx.server, NULL, serve, &fx), 0); /* for tear_down: no mount */
    (void)pthread_join(fx.server, NULL);
    assert_int_equal(fx.rc, -VD_EMOUNT);
    assert_int_equal(pthread_create(&fx.server, NULL, serve, &fx), 0);
}

static bool can_mount(void)
{
    bool ok;

    memset(&fx, 0, sizeof(fx));
    fx.dir = test_tmpdir();
    (void)snprintf(fx.mnt, sizeof(fx.mnt), "%s", fx.dir);
    ok = mount_it(&fx);
    if (ok) {
        (void)umount2(fx.mnt, MNT_DETACH);
        (void)close(fx.channel.fuse_fd);
    }
    test_rmdir(fx.dir);
    return ok;
}

#define MOUNT_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        MOUNT_TEST(attributes),
        MOUNT_TEST(every_request_is_recorded),
        MOUNT_TEST(errors_stay_where_they_are),
        MOUNT_TEST(sequential_reading_meets_the_error),
        MOUNT_TEST(mapped_and_direct_reading),
        MOUNT_TEST(listings),
        MOUNT_TEST(damaged_directories),
        MOUNT_TEST(extended_attributes),
        MOUNT_TEST(writes_are_refused_and_recorded),
        MOUNT_TEST(a_failed_log_stops_access),
        MOUNT_TEST(by_handle),
        MOUNT_TEST(polling_and_locks),
        MOUNT_TEST(many_readers),
        MOUNT_TEST(ends_when_asked),
        MOUNT_TEST(ends_when_unmounted),
    };

    if (!can_mount()) {
        (void)fprintf(stderr, "skipped: mounting FUSE is not possible here: %s\n", strerror(errno));
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
