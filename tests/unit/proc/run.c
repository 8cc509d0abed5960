/* SPDX-License-Identifier: Apache-2.0 */
/* The process pair: evidence, names and identities over the channel, and every way to end. */
#include "pair.h"

#include "base/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static char *top;
static char dir_a[600], dir_b[600];
static const char *dirs[2];
static uint8_t disk[8192];

static void make_socket(const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    assert_true(strlen(path) < sizeof(addr.sun_path));
    (void)strcpy(addr.sun_path, path);
    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    (void)close(fd);
}

static const char *in(const char *dir, const char *name)
{
    static char path[2][1200];
    static int i;

    i ^= 1;
    (void)snprintf(path[i], sizeof(path[i]), "%s/%s", dir, name);
    return path[i];
}

static int set_up(void **state)
{
    (void)state;
    top = test_tmpdir();
    (void)snprintf(dir_a, sizeof(dir_a), "%s/a", top);
    (void)snprintf(dir_b, sizeof(dir_b), "%s/b", top);
    dirs[0] = dir_a;
    dirs[1] = dir_b;
    test_fill(disk, sizeof(disk), 1);
    assert_int_equal(mkdir(dir_a, 0700), 0);
    assert_int_equal(mkdir(dir_b, 0700), 0);
    test_write_file(top, "outside", "secret", 6);
    test_write_file(dir_a, "disk.vmdk", disk, sizeof(disk));
    test_write_file(dir_a, "empty", "", 0);
    test_write_file(dir_b, "parent.vmdk", disk, 100);
    assert_int_equal(link(in(dir_a, "disk.vmdk"), in(dir_b, "hard.vmdk")), 0);
    assert_int_equal(symlink("/etc/passwd", in(dir_a, "link-out")), 0);
    assert_int_equal(symlink("disk.vmdk", in(dir_a, "link-in")), 0);
    assert_int_equal(mkfifo(in(dir_a, "fifo"), 0600), 0);
    assert_int_equal(mkdir(in(dir_a, "sub"), 0700), 0);
    make_socket(in(dir_a, "sock"));
    if (geteuid() == 0) {
        assert_int_equal(mknod(in(dir_a, "char"), S_IFCHR | 0600, 1 << 8 | 3), 0);
        assert_int_equal(mknod(in(dir_a, "block"), S_IFBLK | 0600, 7 << 8), 0);
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    test_rmdir(top);
    return 0;
}

static struct proc_config two_dirs(proc_worker_fn *worker, void *arg)
{
    struct proc_config config = pair_config(dirs, worker, arg);

    config.n_dirs = 2;
    return config;
}

/* ---- evidence ---- */

static int w_reads(struct proc_channel *ch, void *arg, struct vd_err *err)
{
    const struct evidence_id *id = NULL;
    struct blkdev *dev = NULL;
    struct blk_source src;
    uint8_t buf[sizeof(disk)];
    struct stat *st = arg;
    unsigned where = 9;
    int rc;

    proc_channel_source(ch, &src);
    check(src.n_dirs == 2);
    rc = blk_source_find(&src, "disk.vmdk", &dev, &where, err);
    if (rc)
        return rc;
    check(where == 0 && dev->size == sizeof(disk));
    check(evidence_identity(dev, &id));
    check(id->dev == st->st_dev && id->ino == st->st_ino && id->size == sizeof(disk));
    check(id->mtime_sec == st->st_mtim.tv_sec && !id->is_block);
    rc = blk_read(dev, 0, buf, sizeof(buf), err);
    if (rc)
        return rc;
    check(memcmp(buf, disk, sizeof(disk)) == 0);
    blk_unref(dev);
    rc = blk_source_find(&src, "parent.vmdk", &dev, &where, err);
    check(rc == 0 && where == 1 && dev->size == 100);
    blk_unref(dev);
    return 0;
}

static void reads_evidence(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    struct proc_config config;
    bool died = true;
    struct stat st;

    (void)state;
    assert_int_equal(stat(in(dir_a, "disk.vmdk"), &st), 0);
    config = two_dirs(w_reads, &st);
    assert_ok(proc_run(&config, &died, &err));
    assert_false(died);
}

struct refusal {
    const char *name;
    int cls;
    const char *text;
};

static int w_refusals(struct proc_channel *ch, void *arg, struct vd_err *err)
{
    static const struct refusal table[] = {
        {"missing", VD_ENOENT, "missing"},
        {"link-out", VD_EREFUSED, "symbolic link"},
        {"link-in", VD_EREFUSED, "symbolic link"},
        {"fifo", VD_EREFUSED, "FIFO"},
        {"sub", VD_EREFUSED, "directory"},
        {"sock", VD_EREFUSED, "socket"},
        {"../outside", VD_EREFUSED, "bare"},
        {"/etc/passwd", VD_EREFUSED, "bare"},
        {"sub/../disk.vmdk", VD_EREFUSED, "bare"},
        {".", VD_EREFUSED, "bare"},
        {"..", VD_EREFUSED, "bare"},
        {"", VD_EREFUSED, "bare"},
        {"char", VD_EREFUSED, "character device"},
        {"block", VD_EREFUSED, "block device"},
    };
    size_t i, n = sizeof(table) / sizeof(table[0]) - (geteuid() ? 2 : 0);
    struct blk_source src;
    struct blkdev *dev = NULL;
    char name[300];

    (void)arg;
    proc_channel_source(ch, &src);
    for (i = 0; i < n; i++) {
        int rc = src.open(src.ctx, 0, table[i].name, &dev, err);

        if (rc != -table[i].cls || !strstr(err->msg, table[i].text) || dev)
            return vd_fail(err, VD_EDIFF, "\"%s\": class %d", table[i].name, rc);
    }
    memset(name, 'n', sizeof(name));
    name[255] = '\0'; /* the longest name: allowed, not there */
    check(src.open(src.ctx, 0, name, &dev, err) == -VD_ENOENT);
    name[255] = 'n';
    name[256] = '\0';
    check(src.open(src.ctx, 0, name, &dev, err) == -VD_EREFUSED);
    check(src.open(src.ctx, 2, "disk.vmdk", &dev, err) == -VD_EUSAGE);
    check(src.open(src.ctx, ~0u, "disk.vmdk", &dev, err) == -VD_EUSAGE);
    check(src.open(src.ctx, 1, "disk.vmdk", &dev, err) == -VD_ENOENT);
    check(src.open(src.ctx, 0, "empty", &dev, err) == 0 && dev->size == 0);
    blk_unref(dev);
    vd_err_clear(err);
    return 0;
}

static void refuses(void **state)
{
    struct proc_config config = two_dirs(w_refusals, NULL);
    struct vd_err err = VD_ERR_INIT;

    (void)state;
    assert_ok(proc_run(&config, NULL, &err));
}

/* A device is opened only under the name given for it, and only in the image's own directory. */
static int w_block(struct proc_channel *ch, void *arg, struct vd_err *err)
{
    struct blk_source src;
    struct blkdev *dev = NULL;
    int rc;

    (void)arg;
    proc_channel_source(ch, &src);
    rc = src.open(src.ctx, 0, "block", &dev, err);
    check(rc == 0 || rc == -VD_EIO); /* without medium the kernel says no, which is not a refusal */
    blk_unref(dev);
    dev = NULL;
    check(src.open(src.ctx, 0, "char", &dev, err) == -VD_EREFUSED);
    return 0;
}

static void named_block_device(void **state)
{
    struct proc_config config = two_dirs(w_block, NULL);
    struct vd_err err = VD_ERR_INIT;

    (void)state;
    if (geteuid() != 0)
        skip();
    config.block_device = "block";
    assert_ok(proc_run(&config, NULL, &err));
    config.block_device = "char"; /* naming it does not make it a block device */
    config.worker = w_refusals;
    assert_ok(proc_run(&config, NULL, &err));
}

static int w_same(struct proc_channel *ch, void *arg, struct vd_err *err)
{
    struct blkdev *one = NULL, *two = NULL, *hard = NULL;
    struct blk_source src;

    (void)arg;
    proc_channel_source(ch, &src);
    check(src.open(src.ctx, 0, "disk.vmdk", &one, err) == 0);
    check(src.open(src.ctx, 0, "disk.vmdk", &two, err) == 0);
    check(src.open(src.ctx, 1, "hard.vmdk", &hard, err) == 0);
    check(one == two && one == hard);
    blk_unref(one);
    blk_unref(two);
    blk_unref(hard);
    return 0;
}

static void same_file_same_instance(void **state)
{
    struct proc_config config = two_dirs(w_same, NULL);
    struct vd_err err = VD_ERR_INIT;

    (void)state;
    assert_ok(proc_run(&config, NULL, &err));
}

/* ---- names ---- */

#define MANY 600 /* of 250 bytes: several packets */

struct listing {
    unsigned n;
    bool sorted;
    char last[256];
};

static int on_name(void *ctx, const char *name)
{
    struct listing *l = ctx;

    if (l->n && strcmp(l->last, name) >= 0)
        l->sorted = false;
    (void)snprintf(l->last, sizeof(l->last), "%s", name);
    return ++l->n == 1000000;
}

static int stop_at_second(void *ctx, const char *name)
{
    (void)name;
    return ++*(int *)ctx == 2;
}

/* The call-back may use the channel. */
static int open_inside(void *ctx, const char *name)
{
    struct blk_source *src = ctx;
    struct blkdev *dev = NULL;
    struct vd_err err;

    if (src->open(src->ctx, 0, name, &dev, &err))
        return 1;
    blk_unref(dev);
    return 0;
}

static int w_list(struct proc_channel *ch, void *arg, struct vd_err *err)
{
    struct listing l = {.sorted = true};
    struct blk_source src;
    int calls = 0;

    (void)arg;
    proc_channel_source(ch, &src);
    check(src.list(src.ctx, 1, on_name, &l, err) == 0);
    check(l.n == 2 + MANY && l.sorted);
    check(src.list(src.ctx, 1, stop_at_second, &calls, err) == 0);
    check(calls == 2);
    l = (struct listing){.sorted = true};
    check(src.list(src.ctx, 0, on_name, &l, err) == 0);
    check(l.n == 2); /* links, FIFO, devices … are not evidence */
    check(src.list(src.ctx, 0, open_inside, &src, err) == 0);
    check(src.list(src.ctx, 2, on_name, &l, err) == -VD_EUSAGE);
    return 0;
}

static void lists_names(void **state)
{
    struct proc_config config = two_dirs(w_list, NULL);
    struct vd_err err = VD_ERR_INIT;
    char name[256];
    unsigned i;

    (void)state;
    memset(name, 'n', sizeof(name));
    for (i = 0; i < MANY; i++) {
        (void)snprintf(name + 240, 11, "%010u", i);
        test_write_file(dir_b, name, "", 0);
    }
    assert_ok(proc_run(&config, NULL, &err));
    for (i = 0; i < MANY; i++) {
        (void)snprintf(name + 240, 11, "%010u", i);
        (void)unlink(in(dir_b, name));
    }
}

/* ---- who ---- */

static int w_who(struct proc_channel *ch, void *arg, struct vd_err *err)
{
    struct proc_identity id;
    int fds[PROC_WATCH_FDS];

    (void)arg;
    check(proc_channel_identify(ch, getppid(), &id, fds, err) == 0);
    check(proc_mark_look(fds, &id.mark, true) == PROC_LOOK_SAME); /* whatever the sandbox forbids */
    check(close(fds[0]) == 0 && close(fds[1]) == 0);
    check(id.pid == (uint32_t)getppid() && id.uid == getuid() && id.gid == getgid());
    check(id.start_time > 0 && strstr(id.exe, "test_proc_run"));
    check(strncmp(id.comm, "test_proc_run", 13) == 0);
    check(identify(ch, 0x7fffffff, &id, err) == -VD_ENOENT);
    check(identify(ch, 0, &id, err) == -VD_ENOENT);
    check(identify(ch, -5, &id, err) == -VD_ENOENT);
    return 0;
}

static void identifies(void **state)
{
    struct proc_config config = two_dirs(w_who, NULL);
    struct vd_err err = VD_ERR_INIT;

    (void)state;
    assert_ok(proc_run(&config, NULL, &err));
}

/* ---- threads ---- */

struct crowd {
    struct proc_channel *ch;
    atomic_int wrong;
};

static void *one_of_many(void *arg)
{
    struct crowd *c = arg;
    struct blk_source src;
    int i;

    proc_channel_source(c->ch, &src);
    for (i = 0; i < 200; i++) {
        struct blkdev *dev = NULL;
        struct proc_identity id;
        uint8_t buf[16];
        bool good = src.open(src.ctx, i & 1, i & 1 ? "hard.vmdk" : "disk.vmdk", &dev, NULL) == 0;

        good = good && blk_read(dev, 512, buf, sizeof(buf), NULL) == 0 &&
               memcmp(buf, disk + 512, sizeof(buf)) == 0;
        blk_unref(dev);
        good = good && identify(c->ch, getppid(), &id, NULL) == 0 && id.pid == (uint32_t)getppid();
        good = good && src.open(src.ctx, 0, "missing", &dev, NULL) == -VD_ENOENT;
        if (!good)
            atomic_fetch_add(&c->wrong, 1);
    }
    return NULL;
}

static int w_crowd(struct proc_channel *ch, void *arg, struct vd_err *err)
{
    struct crowd c = {.ch = ch};
    pthread_t t[8];
    int i;

    (void)arg;
    for (i = 0; i < 8; i++)
        check(pthread_create(&t[i], NULL, one_of_many, &c) == 0);
    for (i = 0; i < 8; i++)
        check(pthread_join(t[i], NULL) == 0);
    check(atomic_load(&c.wrong) == 0);
    return 0;
}

static void many_threads(void **state)
{
    struct proc_config config = two_dirs(w_crowd, NULL);
    struct vd_err err = VD_ERR_INIT;

    (void)state;
    assert_ok(proc_run(&config, NULL, &err));
}

/* ---- ends ---- */

static int w_fails(struct proc_channel *ch, void *arg, struct vd_err *err)
{
    enum vd_class cls = *(const enum vd_class *)arg;

    (void)ch;
    return vd_at(err, vd_fail(err, cls, "class %d in the worker", cls), 77);
}

static void every_class_comes_back(void **state)
{
    enum vd_class cls;

    (void)state;
    for (cls = VD_EIO; cls < VD_CLASS_COUNT; cls++) {
        struct proc_config config = two_dirs(w_fails, &cls);
        struct vd_err err = VD_ERR_INIT;
        bool died = true;

        assert_fails(proc_run(&config, &died, &err), cls, "in the worker");
        assert_int_equal(err.cls, cls);
        assert_true(err.has_offset && err.offset == 77);
        assert_false(died);
    }
}

static int w_segv(struct proc_channel *ch, void *arg, struct vd_err *err)
{
    (void)ch;
    (void)arg;
    (void)err;
    (void)signal(SIGSEGV, SIG_DFL); /* a sanitizer would turn it into an exit */
    (void)raise(SIGSEGV);
    return 0;
}

static int w_exits(struct proc_channel *ch, void *arg, struct vd_err *err)
{
    (void)ch;
    (void)arg;
    (void)err;
    _exit(7);
}

static int w_bad_result(struct proc_channel *ch, void *arg, struct vd_err *err)
{
    (void)ch;
    (void)arg;
    (void)err;
    return 12345; /* not a class */
}

static void deaths(void **state)
{
    struct proc_config config = two_dirs(w_segv, NULL);
    struct vd_err err = VD_ERR_INIT;
    bool died = false;

    (void)state;
    assert_fails(proc_run(&config, &died, &err), VD_EIO, "killed by signal 11 (SIGSEGV)");
    assert_true(died);
    died = false;
    config.worker = w_exits;
    assert_fails(proc_run(&config, &died, &err), VD_EIO, "exit code 7");
    assert_true(died);
    died = false;
    config.worker = w_bad_result;
    assert_fails(proc_run(&config, &died, &err), VD_EIO, "without a result");
    assert_true(died);
    assert_int_not_equal(proc_run(&config, NULL, NULL), 0); /* both may be NULL */
}

static int w_prints(struct proc_channel *ch, void *arg, struct vd_err *err)
{
    (void)ch;
    (void)arg;
    (void)err;
    (void)printf("from the worker");
    return 0;
}

/* What is buffered at the fork is not printed twice, what the worker prints is not lost. */
static void output_once(void **state)
{
    struct proc_config config = two_dirs(w_prints, NULL);
    struct vd_err err = VD_ERR_INIT;
    char text[100] = {0};
    int saved = dup(1), fds[2];

    (void)state;
    assert_int_equal(pipe(fds), 0);
    (void)fflush(stdout);
    (void)dup2(fds[1], 1);
    (void)printf("before;");
    assert_ok(proc_run(&config, NULL, &err));
    (void)fflush(stdout);
    (void)dup2(saved, 1);
    assert_true(read(fds[0], text, sizeof(text) - 1) > 0);
    assert_string_equal(text, "before;from the worker");
    (void)close(saved);
    (void)close(fds[0]);
    (void)close(fds[1]);
}

static int w_nothing(struct proc_channel *ch, void *arg, struct vd_err *err)
{
    (void)ch;
    (void)arg;
    (void)err;
    return 0;
}

static void set_up_failures(void **state)
{
    const char *const bad[] = {dir_a, "/nonexistent/dir"};
    struct proc_config config = pair_config(bad, w_nothing, NULL);
    struct vd_err err = VD_ERR_INIT;
    int before = count_fds();

    (void)state;
    config.n_dirs = 2;
    assert_fails(proc_run(&config, NULL, &err), VD_ENOENT, "/nonexistent/dir");
    config.n_dirs = 0;
    assert_fails(proc_run(&config, NULL, &err), VD_ELIMIT, "directories");
    assert_int_equal(count_fds(), before);
}

/* The caller's signal state and descriptors are as before, also when SIGCHLD was ignored. */
static void leaves_no_trace(void **state)
{
    struct proc_config config = two_dirs(w_reads, NULL);
    struct sigaction ignore = {.sa_handler = SIG_IGN}, now, old;
    struct vd_err err = VD_ERR_INIT;
    sigset_t before, after;
    struct stat st;
    int i, fds;

    (void)state;
    assert_int_equal(stat(in(dir_a, "disk.vmdk"), &st), 0);
    config.arg = &st;
    (void)sigaction(SIGCHLD, &ignore, &old);
    (void)sigprocmask(SIG_SETMASK, NULL, &before);
    fds = count_fds();
    for (i = 0; i < 10; i++)
        assert_ok(proc_run(&config, NULL, &err));
    assert_int_equal(count_fds(), fds);
    (void)sigprocmask(SIG_SETMASK, NULL, &after);
    for (i = 1; i < 32; i++)
        assert_int_equal(sigismember(&before, i), sigismember(&after, i));
    (void)sigaction(SIGCHLD, &old, &now);
    assert_ptr_equal(now.sa_handler, SIG_IGN);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* nobody left */
}

static void standard_descriptors(void **state)
{
    pid_t pid = fork();
    int status;

    (void)state;
    if (pid == 0) {
        struct vd_err err;
        bool good;

        (void)close(0);
        (void)close(2);
        good = proc_standard_fds(&err) == 0 && fcntl(0, F_GETFD) == 0 && fcntl(2, F_GETFD) == 0 &&
               (fcntl(0, F_GETFL) & O_ACCMODE) == O_RDONLY &&
               (fcntl(2, F_GETFL) & O_ACCMODE) == O_WRONLY && write(2, "lost", 4) == 4;
        _exit(good ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_evidence),
        cmocka_unit_test(refuses),
        cmocka_unit_test(named_block_device),
        cmocka_unit_test(same_file_same_instance),
        cmocka_unit_test(lists_names),
        cmocka_unit_test(identifies),
        cmocka_unit_test(many_threads),
        cmocka_unit_test(every_class_comes_back),
        cmocka_unit_test(deaths),
        cmocka_unit_test(output_once),
        cmocka_unit_test(set_up_failures),
        cmocka_unit_test(leaves_no_trace),
        cmocka_unit_test(standard_descriptors),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
