/* SPDX-License-Identifier: Apache-2.0 */
/* Opening evidence: what is refused, that nothing hangs or escapes, and what a shrinking file
 * gives (integrity.md findings 5 and 13). */
#include "testlib.h"

#include "blk/evidence.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static struct vd_err err;

struct fixture {
    char *dir;
    int dirfd;
};

static void in_dir(const struct fixture *f, const char *name, char *out, size_t size)
{
    (void)snprintf(out, size, "%s/%s", f->dir, name);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    char path[512], target[512];
    int sock;

    f->dir = test_tmpdir();
    test_write_file(f->dir, "disk.raw", "0123456789", 10);
    test_write_file(f->dir, "z.raw", "", 0);
    in_dir(f, "sub", path, sizeof(path));
    assert_int_equal(mkdir(path, 0700), 0);
    in_dir(f, "link", path, sizeof(path));
    in_dir(f, "disk.raw", target, sizeof(target));
    assert_int_equal(symlink("disk.raw", path), 0);
    in_dir(f, "out", path, sizeof(path));
    assert_int_equal(symlink("/etc/passwd", path), 0);
    in_dir(f, "fifo", path, sizeof(path));
    assert_int_equal(mkfifo(path, 0600), 0);
    in_dir(f, "sock", addr.sun_path, sizeof(addr.sun_path));
    sock = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(sock, (struct sockaddr *)&addr, sizeof(addr)), 0);
    (void)close(sock);
    assert_ok(evidence_open_dir(f->dir, &f->dirfd, &err));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    (void)close(f->dirfd);
    test_rmdir(f->dir);
    free(f);
    return 0;
}

static void test_a_regular_file_opens_read_only(void **state)
{
    struct fixture *f = *state;
    struct evidence_id id;
    int fd = -1;

    assert_ok(evidence_open_beneath(f->dirfd, "disk.raw", false, &fd, &id, &err));
    assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_true(fcntl(fd, F_GETFL) & O_NOATIME); /* we own it */
    assert_true(id.noatime);
    assert_int_equal(id.size, 10);
    (void)close(fd);
}

static void test_what_is_refused(void **state)
{
    static const struct {
        const char *name;
        enum vd_class cls;
        const char *text;
    } rows[] = {
        {"link", VD_EREFUSED, "symbolic link"},
        {"out", VD_EREFUSED, "symbolic link"},
        {"fifo", VD_EREFUSED, "FIFO"},
        {"sock", VD_EREFUSED, "socket"},
        {"sub", VD_EREFUSED, "directory"},
        {"missing", VD_ENOENT, "no such file"},
        {"..", VD_EREFUSED, "bare"},
        {".", VD_EREFUSED, "bare"},
        {"", VD_EREFUSED, "bare"},
        {"/etc/passwd", VD_EREFUSED, "bare"},
        {"../disk.raw", VD_EREFUSED, "bare"},
        {"sub/x", VD_EREFUSED, "bare"},
    };
    struct fixture *f = *state;
    struct evidence_id id;
    char longer[400];
    int fd = -1;
    size_t i;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_fails(evidence_open_beneath(f->dirfd, rows[i].name, true, &fd, &id, &err),
                     rows[i].cls, rows[i].text);
    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    assert_fails(evidence_open_beneath(f->dirfd, longer, true, &fd, &id, &err), VD_EREFUSED,
                 "bare");
    assert_int_equal(fd, -1);
}

static void test_devices_only_when_named(void **state)
{
    struct evidence_id id;
    int dev = -1, fd = -1;

    (void)state;
    assert_ok(evidence_open_dir("/dev", &dev, &err));
    assert_fails(evidence_open_beneath(dev, "null", true, &fd, &id, &err), VD_EREFUSED,
                 "character device");
    (void)close(dev);
}

static int collect(void *ctx, const char *name)
{
    char *text = ctx;

    (void)snprintf(text + strlen(text), 200 - strlen(text), "%s ", name);
    return 0;
}

static void test_source_lists_and_shares(void **state)
{
    struct fixture *f = *state;
    const char *dirs[] = {f->dir};
    struct blkdev *a = NULL, *b = NULL;
    struct blk_source source;
    char names[200] = "";
    unsigned dir = 9;

    assert_ok(evidence_dir_source(dirs, 1, &source, &err));
    assert_ok(source.list(source.ctx, 0, collect, names, &err));
    assert_string_equal(names, "disk.raw z.raw "); /* sorted; only regular files */
    assert_ok(blk_source_find(&source, "disk.raw", &a, &dir, &err));
    assert_int_equal(dir, 0);
    assert_ok(source.open(source.ctx, 0, "disk.raw", &b, &err));
    assert_ptr_equal(a, b);
    assert_fails(source.open(source.ctx, 1, "disk.raw", &b, &err), VD_EUSAGE, "directory 1");
    blk_unref(a);
    blk_unref(b);
    evidence_dir_source_free(&source);
}

static void test_a_file_that_shrinks_is_an_error(void **state)
{
    struct fixture *f = *state;
    struct evidence_id id;
    struct blkdev *dev = NULL;
    char path[512], buf[10];
    int fd = -1;

    assert_ok(evidence_open_beneath(f->dirfd, "disk.raw", false, &fd, &id, &err));
    assert_ok(evidence_new(fd, &id, "disk.raw", &dev, &err));
    assert_ok(blk_read(dev, 0, buf, 10, &err));
    in_dir(f, "disk.raw", path, sizeof(path));
    assert_int_equal(truncate(path, 4), 0);
    assert_ok(blk_read(dev, 0, buf, 4, &err));
    assert_fails(blk_read(dev, 0, buf, 10, &err), VD_EIO, "disk.raw: the file ended at offset 4");
    assert_int_equal(err.offset, 4);
    blk_unref(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_regular_file_opens_read_only, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_refused, setup, teardown),
        cmocka_unit_test(test_devices_only_when_named),
        cmocka_unit_test_setup_teardown(test_source_lists_and_shares, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_file_that_shrinks_is_an_error, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
