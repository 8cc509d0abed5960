/* SPDX-License-Identifier: Apache-2.0 */
/* What the worker can no longer do, and that libraries still work in there. */
#include "proc/sandbox.h"

#include "pair.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char *tmp;
static const char *dir;

static int set_up(void **state)
{
    (void)state;
    dir = tmp = test_tmpdir();
    test_write_file(tmp, "disk", "0123456789", 10);
    assert_int_equal(chmod(tmp, 0755), 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    test_rmdir(tmp);
    return 0;
}

static int w_files(struct proc_channel *ch, void *arg, struct vd_err *err)
{
    static const char *const paths[] = {
        "/etc/passwd", "/proc/self/status", "/", "/dev/null", "/dev/fuse", "/tmp", "."};
    char path[600];
    size_t i;

    (void)ch;
    (void)arg;
    for (i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        if (open(paths[i], O_RDONLY) >= 0 || errno != EACCES)
            return vd_fail(err, VD_EDIFF, "%s could be opened (errno %d)", paths[i], errno);
    (void)snprintf(path, sizeof(path), "%s/disk", dir);
    check(open(path, O_RDONLY) < 0 && errno == EACCES);
    check(open(path, O_WRONLY) < 0 && errno == EACCES);
    check(truncate(path, 0) < 0 && errno == EACCES);
    check(unlink(path) < 0 && errno == EACCES);
    (void)snprintf(path, sizeof(path), "%s/new", dir);
    check(open(path, O_CREAT | O_WRONLY, 0600) < 0 && errno == EACCES);
    check(mkdir(path, 0700) < 0 && errno == EACCES);
    check(symlink("x", path) < 0 && errno == EACCES);
    check(mkfifo(path, 0700) < 0 && errno == EACCES);
    check(execl("/bin/true", "true", (char *)NULL) < 0 && errno == EACCES);
    return 0;
}

static int w_privileges(struct proc_channel *ch, void *arg, struct vd_err *err)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{0}};
    struct rlimit core;
    int cap;

    (void)ch;
    check(syscall(SYS_capget, &head, data) == 0);
    check(!data[0].effective && !data[0].permitted && !data[0].inheritable);
    check(!data[1].effective && !data[1].permitted && !data[1].inheritable);
    if (arg) /* began as root: the bounding set could be emptied */
        for (cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
            check(prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 0);
    check(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
    check(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
    check(getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_cur == 0 && core.rlim_max == 0);
    check(prctl(PR_GET_PDEATHSIG, &cap, 0, 0, 0) == 0 && cap == SIGKILL);
    return 0;
}

/* Exactly 0–2, the channel and the stop descriptor. */
static int w_descriptors(struct proc_channel *ch, void *arg, struct vd_err *err)
{
    int n = count_fds();

    (void)ch;
    (void)arg;
    if (n != 5)
        return vd_fail(err, VD_EDIFF, "%d descriptors", n);
    return 0;
}

static int w_outside(struct proc_channel *ch, void *arg, struct vd_err *err)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(9)};
    int abi = proc_sandbox_landlock_abi(NULL), fd;

    (void)ch;
    (void)arg;
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd >= 0 && abi >= 4)
        check(connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 && errno == EACCES);
    if (abi >= 6)
        check(kill(getppid(), 0) < 0 && errno == EPERM);
    return 0;
}

static void *thread_body(void *arg)
{
    if (!arg)
        for (;;)
            (void)pause();
    return (void *)(intptr_t)(open("/etc/passwd", O_RDONLY) < 0 && errno == EACCES);
}

/* Everything that libraries load late was loaded. */
static int w_libraries(struct proc_channel *ch, void *arg, struct vd_err *err)
{
    unsigned char digest[64];
    size_t len = 0;
    pthread_t thread;
    void *result;
    time_t t = 0;
    struct tm tm;

    (void)ch;
    (void)arg;
    check(EVP_Q_digest(NULL, "SHA256", NULL, "abc", 3, digest, &len) == 1 && len == 32);
    check(digest[0] == 0xba && digest[1] == 0x78 && digest[31] == 0xad);
    check(localtime_r(&t, &tm) != NULL);
    check(pthread_create(&thread, NULL, thread_body, NULL) == 0);
    check(pthread_cancel(thread) == 0);
    check(pthread_join(thread, &result) == 0 && result == PTHREAD_CANCELED);
    check(pthread_create(&thread, NULL, thread_body, (void *)1) == 0);
    check(pthread_join(thread, &result) == 0 && result == (void *)1);
    check(strlen(strerror(EROFS)) > 0);
    return 0;
}

/* Descriptors from the supervisor work all the same. */
static int w_evidence(struct proc_channel *ch, void *arg, struct vd_err *err)
{
    struct blk_source src;
    struct blkdev *dev = NULL;
    char buf[10];
    int rc;

    (void)arg;
    proc_channel_source(ch, &src);
    rc = blk_source_find(&src, "disk", &dev, NULL, err);
    if (rc == 0)
        rc = blk_read(dev, 0, buf, sizeof(buf), err);
    blk_unref(dev);
    check(rc || memcmp(buf, "0123456789", 10) == 0);
    return rc;
}

static int w_words(struct proc_channel *ch, void *arg, struct vd_err *err)
{
    const char *words = proc_channel_sandbox(ch);

    if (!strstr(words, arg))
        return vd_fail(err, VD_EDIFF, "the words are \"%s\"", words);
    return 0;
}

static int w_open(struct proc_channel *ch, void *arg, struct vd_err *err)
{
    (void)ch;
    (void)arg;
    check(open("/etc/passwd", O_RDONLY) >= 0);
    return 0;
}

static void run_all(bool root)
{
    static proc_worker_fn *const workers[] = {w_files,   w_privileges, w_descriptors,
                                              w_outside, w_libraries,  w_evidence};
    struct vd_err err = VD_ERR_INIT;
    struct proc_config config;
    size_t i;

    for (i = 0; i < sizeof(workers) / sizeof(workers[0]); i++) {
        config = pair_config(&dir, workers[i], root ? &err : NULL);
        config.sandbox = PROC_SANDBOX_REQUIRE;
        assert_ok(proc_run(&config, NULL, &err));
    }
}

static void no_landlock_here(void)
{
    if (proc_sandbox_landlock_abi(NULL))
        return;
    print_message("SKIPPED: this kernel has no Landlock\n");
    skip();
}

static void in_force(void **state)
{
    (void)state;
    no_landlock_here();
    run_all(geteuid() == 0);
}

/* Runs `test` in a child process; cmocka's own state stays in the parent. */
static void in_child(int (*test)(void))
{
    pid_t pid = fork();
    int status = -1;

    if (pid == 0)
        _exit(test());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static int run_one(proc_worker_fn *worker, void *arg, enum proc_sandbox_mode mode, int want,
                   const char *text)
{
    struct proc_config config = pair_config(&dir, worker, arg);
    struct vd_err err = VD_ERR_INIT;
    int rc;

    config.sandbox = mode;
    rc = proc_run(&config, NULL, &err);
    if (rc == want && strstr(err.msg, text))
        return 0;
    (void)fprintf(stderr, "got %d, \"%s\"\n", rc, err.msg);
    return 1;
}

static int as_nobody(void)
{
    if (setgroups(0, NULL) || setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534))
        return 1;
    return run_one(w_files, NULL, PROC_SANDBOX_REQUIRE, 0, "") ||
           run_one(w_privileges, NULL, PROC_SANDBOX_REQUIRE, 0, "") ||
           run_one(w_descriptors, NULL, PROC_SANDBOX_REQUIRE, 0, "") ||
           run_one(w_libraries, NULL, PROC_SANDBOX_REQUIRE, 0, "") ||
           run_one(w_evidence, NULL, PROC_SANDBOX_REQUIRE, -VD_EIO, "Permission denied");
}

static void in_force_for_ordinary_users(void **state)
{
    (void)state;
    no_landlock_here();
    if (geteuid() != 0)
        skip();
    assert_int_equal(chmod(tmp, 0755), 0);
    {
        char path[600];

        (void)snprintf(path, sizeof(path), "%s/disk", tmp);
        assert_int_equal(chmod(path, 0600), 0); /* root's, so not for nobody's supervisor */
    }
    in_child(as_nobody);
}

/* A kernel without Landlock: the system call fails with ENOSYS. */
static int without_landlock(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_landlock_create_ruleset, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof(code) / sizeof(code[0]), code};
    static char no[] = "NO landlock", caps[] = "no capabilities, no_new_privs";

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        return 1;
    return run_one(w_open, NULL, PROC_SANDBOX_REQUIRE, -VD_EREFUSED, "sandbox=require") ||
           run_one(w_words, no, PROC_SANDBOX_BEST, 0, "") ||
           run_one(w_words, caps, PROC_SANDBOX_BEST, 0, "") ||
           run_one(w_privileges, NULL, PROC_SANDBOX_BEST, 0, "");
}

static void degrades_with_words(void **state)
{
    (void)state;
    in_child(without_landlock);
}

static void words(void **state)
{
    static char good[] = "landlock ABI ", rest[] = "no capabilities, no_new_privs", off[] = "NONE";

    (void)state;
    no_landlock_here();
    assert_int_equal(run_one(w_words, good, PROC_SANDBOX_BEST, 0, ""), 0);
    assert_int_equal(run_one(w_words, rest, PROC_SANDBOX_REQUIRE, 0, ""), 0);
    assert_int_equal(run_one(w_words, off, PROC_SANDBOX_OFF, 0, ""), 0);
    assert_int_equal(run_one(w_open, NULL, PROC_SANDBOX_OFF, 0, ""), 0);
}

/* The supervisor stays free: it must be able to unmount. */
static void supervisor_is_free(void **state)
{
    int fd;

    (void)state;
    assert_int_equal(run_one(w_descriptors, NULL, PROC_SANDBOX_BEST, 0, ""), 0);
    fd = open("/etc/passwd", O_RDONLY);
    assert_true(fd >= 0);
    (void)close(fd);
    assert_int_equal(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_force),
        cmocka_unit_test(in_force_for_ordinary_users),
        cmocka_unit_test(degrades_with_words),
        cmocka_unit_test(words),
        cmocka_unit_test(supervisor_is_free),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
