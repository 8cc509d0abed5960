/* SPDX-License-Identifier: Apache-2.0 */
/* Reading who a process is. */
#include "proc/identity.h"

#include "testlib.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void stat_names(void **state)
{
    static const char rest[] = " S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 987654321 20 21\n";
    static const char *const names[] = {"cat", "a b", ")", ") S 1 (", "x)\n1 (y", "((((", ""};
    struct vd_err err = VD_ERR_INIT;
    char text[256];
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        uint64_t start = 0;
        int n = snprintf(text, sizeof(text), "4711 (%s)%s", names[i], rest);

        assert_ok(proc_stat_decode(text, (size_t)n, &start, &err));
        assert_int_equal(start, 987654321);
    }
}

static void stat_damage(void **state)
{
    static const char text[] = "1 (x) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20";
    static const char *const bad[] = {
        "",
        ")",
        "1 (x",
        "1 (x) S",
        "1 (x) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 -5 1",
        "1 (x) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 18446744073709551616 1",
        "1 (x) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 5x 1",
    };
    struct vd_err err = VD_ERR_INIT;
    uint64_t start = 7;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_fails(proc_stat_decode(bad[i], strlen(bad[i]), &start, &err), VD_ECORRUPT, "start");
    for (i = 0; i < strlen(text) - 5; i++)
        assert_fails(proc_stat_decode(text, i, &start, &err), VD_ECORRUPT, "start");
    assert_ok(proc_stat_decode(text, strlen(text), &start, &err));
    assert_int_equal(start, 19);
}

static void status_lines(void **state)
{
    static const char text[] = "Name:\tTgid:\\nUid:\t5\nUmask:\t0022\nTgid:\t42\nNgid:\t0\n"
                               "Pid:\t43\nUid:\t1000\t0\t0\t0\nGid:\t4294967295\t0\t0\t0\n";
    struct vd_err err = VD_ERR_INIT;
    struct proc_status s;
    size_t cut;

    (void)state;
    assert_ok(proc_status_decode(text, strlen(text), &s, &err));
    assert_int_equal(s.tgid, 42);
    assert_int_equal(s.uid, 1000);
    assert_int_equal(s.gid, UINT32_MAX);
    for (cut = 0; cut < strlen(text) - 20; cut++) {
        struct proc_status t = {0};

        if (proc_status_decode(text, cut, &t, &err) == 0)
            assert_int_equal(t.tgid, 42);
    }
    assert_fails(proc_status_decode("Tgid:\t0\nUid:\t0\nGid:\t0\n", 23, &s, &err), VD_ECORRUPT, "");
    assert_fails(proc_status_decode("Tgid:\tx\nUid:\t0\nGid:\t0\n", 23, &s, &err), VD_ECORRUPT, "");
    assert_fails(proc_status_decode("Tgid:\t4294967296\nUid:\t0\nGid:\t0\n", 32, &s, &err),
                 VD_ECORRUPT, "");
}

static void own_process(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    struct proc_identity id;
    char exe[512] = {0};

    (void)state;
    assert_ok(proc_identity_read(getpid(), &id, &err));
    assert_int_equal(id.pid, getpid());
    assert_int_equal(id.uid, getuid());
    assert_int_equal(id.gid, getgid());
    assert_true(id.start_time > 0);
    assert_true(readlink("/proc/self/exe", exe, sizeof(exe) - 1) > 0);
    assert_string_equal(id.exe, exe);
}

static void *ask_for_thread(void *arg)
{
    struct proc_identity *id = arg;

    (void)prctl(PR_SET_NAME, "other", 0, 0, 0);
    id[1].pid = (uint32_t)syscall(SYS_gettid);
    if (proc_identity_read((pid_t)id[1].pid, &id[0], NULL))
        id[0].pid = 0;
    return NULL;
}

static void thread_means_process(void **state)
{
    struct proc_identity id[2] = {{0}}, whole;
    struct vd_err err = VD_ERR_INIT;
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, ask_for_thread, id), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_not_equal(id[1].pid, getpid());
    assert_ok(proc_identity_read(getpid(), &whole, &err));
    assert_int_equal(id[0].pid, getpid());
    assert_int_equal(id[0].start_time, whole.start_time);
    assert_string_equal(id[0].comm, whole.comm);
    assert_string_equal(id[0].exe, whole.exe);
}

/* A process whose name looks like the rest of a stat line. */
static void hostile_name(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    struct proc_identity id;
    int ready[2];
    char byte;
    pid_t pid;

    (void)state;
    assert_int_equal(pipe(ready), 0);
    pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_NAME, "a) R 1\n\033[2J(", 0, 0, 0);
        if (write(ready[1], "x", 1) == 1)
            (void)pause();
        _exit(0);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_ok(proc_identity_read(pid, &id, &err));
    assert_int_equal(id.pid, pid);
    assert_null(strchr(id.comm, '\n'));
    assert_null(strchr(id.comm, '\033'));
    assert_true(test_contains(id.comm, "a) R 1\\x0"));
    assert_true(id.start_time > 0);
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
    assert_fails(proc_identity_read(pid, &id, &err), VD_ENOENT, "gone");
    (void)close(ready[0]);
    (void)close(ready[1]);
}

static void no_process(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    struct proc_identity id;

    (void)state;
    assert_fails(proc_identity_read(0, &id, &err), VD_ENOENT, "namespace");
    assert_fails(proc_identity_read(-1, &id, &err), VD_ENOENT, "namespace");
    assert_fails(proc_identity_read(0x7fffffff, &id, &err), VD_ENOENT, "gone");
    assert_ok(proc_identity_read(2, &id, &err)); /* a kernel thread, or whatever 2 is */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stat_names),           cmocka_unit_test(stat_damage),
        cmocka_unit_test(status_lines),         cmocka_unit_test(own_process),
        cmocka_unit_test(thread_means_process), cmocka_unit_test(hostile_name),
        cmocka_unit_test(no_process),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
