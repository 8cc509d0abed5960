/* SPDX-License-Identifier: Apache-2.0 */
/* Reading who a process is. */
#include "proc/identity.h"
#include "proc/mark.h"

#include "testlib.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int read_identity(pid_t pid, struct proc_identity *out, struct vd_err *err)
{
    int fds[PROC_WATCH_FDS], rc = proc_identity_read(pid, out, fds, err);

    if (rc == 0) {
        assert_int_equal(proc_mark_look(fds, &out->mark, true), PROC_LOOK_SAME);
        (void)close(fds[0]);
        (void)close(fds[1]);
    }
    return rc;
}

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
    assert_ok(read_identity(getpid(), &id, &err));
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
    if (read_identity((pid_t)id[1].pid, &id[0], NULL))
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
    assert_ok(read_identity(getpid(), &whole, &err));
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
    assert_ok(read_identity(pid, &id, &err));
    assert_int_equal(id.pid, pid);
    assert_null(strchr(id.comm, '\n'));
    assert_null(strchr(id.comm, '\033'));
    assert_true(test_contains(id.comm, "a) R 1\\x0"));
    assert_true(id.start_time > 0);
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
    assert_fails(read_identity(pid, &id, &err), VD_ENOENT, "gone");
    (void)close(ready[0]);
    (void)close(ready[1]);
}

static void terminals(void **state)
{
    static const struct {
        uint64_t number;
        const char *name;
    } v[] = {
        {0, ""},
        {0x8803, "pts/3"},
        {0x89ff, "pts/511"},
        {0x10882c, "pts/300"},
        {0x8901, "pts/257"},
        {0x0401, "tty1"},
        {0x0440, "ttyS0"},
        {0xbc00, "188:0"},
        {0x500, "5:0"},
        {UINT64_MAX, "4095:1048575"},
    };
    char name[16];
    struct vd_err err = VD_ERR_INIT;
    uint64_t number;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
        proc_terminal_name(v[i].number, name, sizeof(name));
        assert_string_equal(name, v[i].name);
    }
    assert_ok(proc_stat_terminal("1 (x) S 1 1 1 34819 9 ", 22, &number, &err));
    assert_int_equal(number, 34819);
    assert_fails(proc_stat_terminal("1 (x) S 1 1 1 -1 9 ", 19, &number, &err), VD_ECORRUPT, "term");
    assert_fails(proc_stat_terminal("1 (x) S 1 1 1", 13, &number, &err), VD_ECORRUPT, "term");
}

static void namespaces(void **state)
{
    static const char ours[] = "Name:\tx\nNSpid:\t12\nNSpgid:\t1\t2\n";
    static const char inner[] = "Name:\tx\nNSpid:\t712\t12\nNSpgid:\t1\n";
    static const char none[] = "Name:\tNSpid:\nUid:\t0\n", cut[] = "\nNSpid:\t12";

    (void)state;
    assert_true(proc_status_is_ours(ours, sizeof(ours) - 1));
    assert_false(proc_status_is_ours(inner, sizeof(inner) - 1));
    assert_true(proc_status_is_ours(none, sizeof(none) - 1));
    assert_false(proc_status_is_ours(cut, sizeof(cut) - 1));
}

static void sizes(void **state)
{
    static const char *const bad[] = {
        "", "\n", "1 2 3 4", "1 2 3 99999999999999999999 5\n", "1 2 -3 4 5\n", "x"};
    uint64_t total, text;
    size_t i;

    (void)state;
    assert_true(proc_statm_decode("100 20 30 4567 0 1 0\n", 21, &total, &text));
    assert_int_equal(total, 100);
    assert_int_equal(text, 4567);
    assert_true(proc_statm_decode("0 0 0 0 0 0 0\n", 14, &total, &text));
    assert_true(proc_statm_decode("1 2 3 4\n", 8, &total, &text));
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) /* "1 2 3 4": not known to be whole */
        assert_false(proc_statm_decode(bad[i], strlen(bad[i]), &total, &text));
}

/* What the marks show: another name, another program of the same name, the end, and a number that
 * is used again. */
static void marks(void **state)
{
    static const char name[] = "sleep";
    struct vd_err err = VD_ERR_INIT;
    struct proc_identity id;
    int fds[PROC_WATCH_FDS], go[2], done[2];
    char byte;
    pid_t pid;

    (void)state;
    assert_int_equal(pipe(go), 0);
    assert_int_equal(pipe2(done, O_CLOEXEC), 0);
    pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_NAME, "first", 0, 0, 0);
        (void)!write(done[1], "x", 1);
        (void)!read(go[0], &byte, 1);
        (void)prctl(PR_SET_NAME, name, 0, 0, 0);
        (void)!write(done[1], "x", 1);
        (void)!read(go[0], &byte, 1);
        (void)execlp(name, name, "60", NULL); /* closes done: the reader sees the end */
        _exit(1);
    }
    (void)close(done[1]);
    assert_int_equal(read(done[0], &byte, 1), 1);
    assert_ok(proc_identity_read(pid, &id, fds, &err));
    assert_string_equal(id.comm, "first");
    assert_int_equal(proc_mark_look(fds, &id.mark, true), PROC_LOOK_SAME);
    assert_int_equal(write(go[1], "x", 1), 1);
    assert_int_equal(read(done[0], &byte, 1), 1);
    assert_int_equal(proc_mark_look(fds, &id.mark, false), PROC_LOOK_CHANGED);
    (void)close(fds[0]);
    (void)close(fds[1]);

    assert_ok(proc_identity_read(pid, &id, fds, &err));
    assert_string_equal(id.comm, name);
    assert_int_equal(write(go[1], "x", 1), 1);
    assert_int_equal(read(done[0], &byte, 1), 0);
    assert_int_equal(proc_mark_look(fds, &id.mark, false), PROC_LOOK_SAME); /* the same name … */
    assert_int_equal(proc_mark_look(fds, &id.mark, true), PROC_LOOK_CHANGED); /* … of another */
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(proc_mark_look(fds, &id.mark, false), PROC_LOOK_DEAD);
    (void)close(fds[0]);
    (void)close(fds[1]);
    (void)close(go[0]);
    (void)close(go[1]);
    (void)close(done[0]);
}

static void no_process(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    struct proc_identity id;

    (void)state;
    assert_fails(read_identity(0, &id, &err), VD_ENOENT, "namespace");
    assert_fails(read_identity(-1, &id, &err), VD_ENOENT, "namespace");
    assert_fails(read_identity(0x7fffffff, &id, &err), VD_ENOENT, "gone");
    assert_ok(read_identity(2, &id, &err)); /* a kernel thread, or whatever 2 is */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stat_names),
        cmocka_unit_test(stat_damage),
        cmocka_unit_test(status_lines),
        cmocka_unit_test(own_process),
        cmocka_unit_test(thread_means_process),
        cmocka_unit_test(hostile_name),
        cmocka_unit_test(no_process),
        cmocka_unit_test(terminals),
        cmocka_unit_test(sizes),
        cmocka_unit_test(namespaces),
        cmocka_unit_test(marks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
