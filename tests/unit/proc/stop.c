/* SPDX-License-Identifier: Apache-2.0 */
/* Stopping: signals, workers that do not listen, workers that flood, a supervisor that dies. */
#include "pair.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *dir = "/tmp";

static void on_unmount(void *ctx)
{
    struct shared *s = ctx;

    if (atomic_fetch_add(&s->unmounts, 1) == 0)
        atomic_store(&s->unmount_ns, now_ns());
}

static struct proc_config stoppable(proc_worker_fn *worker, struct shared *s)
{
    struct proc_config config = pair_config(&dir, worker, s);

    config.unmount = on_unmount;
    config.ctx = s;
    return config;
}

static void begin(struct shared *s)
{
    atomic_store(&s->worker_pid, (int)getpid());
    atomic_store(&s->ready, 1);
}

/* Waits for the stop descriptor, as a server does. */
static int w_listens(struct proc_channel *ch, void *arg, struct vd_err *err)
{
    struct pollfd fd = {.fd = proc_channel_stop_fd(ch), .events = POLLIN};
    char byte;

    begin(arg);
    check(poll(&fd, 1, 20000) == 1);
    check(read(fd.fd, &byte, 1) == 0); /* end of file, no data */
    return 0;
}

static int w_deaf(struct proc_channel *ch, void *arg, struct vd_err *err)
{
    (void)ch;
    (void)err;
    begin(arg);
    while (pause() < 0)
        ;
    return 0;
}

static void each_signal_stops(void **state)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    size_t i;

    (void)state;
    for (i = 0; i < 3; i++) {
        struct shared *s = shared_new();
        struct proc_config config = stoppable(w_listens, s);
        struct vd_err err = VD_ERR_INIT;
        long long start = now_ns();
        bool died = true;
        pid_t helper = signal_later(s, signals[i], 10, 1);

        assert_ok(proc_run(&config, &died, &err));
        assert_false(died);
        assert_int_equal(atomic_load(&s->unmounts), 1);
        assert_true(now_ns() - start < 5000000000LL);
        join_child(helper);
        shared_free(s);
    }
}

/* The worker itself must not react to the terminal's signals. */
static void worker_ignores_signals(void **state)
{
    struct shared *s = shared_new();
    struct proc_config config = stoppable(w_listens, s);
    struct vd_err err = VD_ERR_INIT;
    pid_t target = getpid(), helper = fork();

    (void)state;
    if (helper == 0) {
        if (wait_for(&s->ready, 20000)) {
            (void)kill(atomic_load(&s->worker_pid), SIGINT);
            (void)kill(atomic_load(&s->worker_pid), SIGTERM);
            (void)kill(atomic_load(&s->worker_pid), SIGHUP);
            (void)kill(atomic_load(&s->worker_pid), SIGPIPE);
            (void)usleep(50000);
            (void)kill(target, SIGTERM);
        }
        _exit(0);
    }
    assert_ok(proc_run(&config, NULL, &err));
    join_child(helper);
    shared_free(s);
}

static void deaf_worker_gets_two_seconds(void **state)
{
    struct shared *s = shared_new();
    struct proc_config config = stoppable(w_deaf, s);
    struct vd_err err = VD_ERR_INIT;
    bool died = true;
    pid_t helper = signal_later(s, SIGTERM, 0, 1);
    long long took;

    (void)state;
    assert_fails(proc_run(&config, &died, &err), VD_EIO, "stopped by signal 15 (SIGTERM)");
    took = now_ns() - atomic_load(&s->unmount_ns);
    assert_false(died);
    assert_true(took >= 1900000000LL && took < 10000000000LL);
    join_child(helper);
    shared_free(s);
}

static void second_signal_kills_at_once(void **state)
{
    struct shared *s = shared_new();
    struct proc_config config = stoppable(w_deaf, s);
    struct vd_err err = VD_ERR_INIT;
    pid_t helper = signal_later(s, SIGINT, 0, 2);

    (void)state;
    assert_fails(proc_run(&config, NULL, &err), VD_EIO, "stopped by signal 2 (SIGINT)");
    assert_true(now_ns() - atomic_load(&s->unmount_ns) < 1900000000LL);
    assert_int_equal(atomic_load(&s->unmounts), 1);
    join_child(helper);
    shared_free(s);
}

/* However many signals come, none is left over for the caller when proc_run returns. */
static void no_signal_is_left_over(void **state)
{
    struct shared *s = shared_new();
    struct proc_config config = stoppable(w_listens, s);
    struct vd_err err = VD_ERR_INIT;
    sigset_t three, old;

    (void)state;
    (void)sigemptyset(&three);
    (void)sigaddset(&three, SIGTERM);
    (void)sigaddset(&three, SIGHUP);
    (void)sigaddset(&three, SIGINT);
    (void)sigprocmask(SIG_BLOCK, &three, &old);
    (void)kill(getpid(), SIGTERM);
    (void)kill(getpid(), SIGHUP);
    (void)kill(getpid(), SIGINT); /* the first stops, the second kills, the third does nothing */
    assert_int_not_equal(proc_run(&config, NULL, &err), 0);
    (void)sigprocmask(SIG_SETMASK, &old, NULL); /* would end this program */
    shared_free(s);
}

static void *ask_for_ever(void *arg)
{
    struct proc_identity id;

    for (;;)
        (void)identify(arg, getppid(), &id, NULL);
    return NULL;
}

static int w_storm(struct proc_channel *ch, void *arg, struct vd_err *err)
{
    pthread_t thread;
    int i;

    (void)err;
    for (i = 0; i < 4; i++)
        (void)pthread_create(&thread, NULL, ask_for_ever, ch);
    begin(arg);
    while (pause() < 0)
        ;
    return 0;
}

static void storm_does_not_hold_signals(void **state)
{
    struct shared *s = shared_new();
    struct proc_config config = stoppable(w_storm, s);
    struct vd_err err = VD_ERR_INIT;
    pid_t helper = signal_later(s, SIGTERM, 200, 2);
    long long start = now_ns();

    (void)state;
    assert_fails(proc_run(&config, NULL, &err), VD_EIO, "stopped by signal 15");
    assert_true(now_ns() - start < 5000000000LL);
    join_child(helper);
    shared_free(s);
}

/* A middle process runs the pair and is killed; the worker becomes our child and must end. */
static void worker_dies_with_supervisor(void **state)
{
    struct shared *s = shared_new();
    long long start;
    pid_t middle, worker, got;

    (void)state;
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
    middle = fork();
    if (middle == 0) {
        struct proc_config config = stoppable(w_deaf, s);

        (void)proc_run(&config, NULL, NULL);
        _exit(0);
    }
    assert_true(wait_for(&s->ready, 20000));
    worker = atomic_load(&s->worker_pid);
    start = now_ns();
    assert_int_equal(kill(middle, SIGKILL), 0);
    assert_int_equal(waitpid(middle, NULL, 0), middle);
    do
        got = waitpid(worker, NULL, WNOHANG);
    while (got == 0 && now_ns() - start < 5000000000LL && usleep(1000) == 0);
    assert_int_equal(got, worker);
    (void)prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
    shared_free(s);
}

/* What the worker sees when the supervisor is gone and it was not killed (yet). */
static int w_orphan(struct proc_channel *ch, void *arg, struct vd_err *err)
{
    struct shared *s = arg;
    struct proc_identity id;
    struct pollfd fd = {.fd = proc_channel_stop_fd(ch), .events = POLLIN};
    struct vd_err why = VD_ERR_INIT;
    int rc;

    (void)err;
    (void)prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
    begin(s);
    if (poll(&fd, 1, 20000) == 1)
        atomic_store(&s->value[0], 1);
    rc = identify(ch, 1, &id, &why);
    atomic_store(&s->value[1], rc == -VD_EIO && test_contains(why.msg, "supervisor is gone"));
    atomic_store(&s->go, 1);
    return 0;
}

static void channel_tells_that_supervisor_is_gone(void **state)
{
    struct shared *s = shared_new();
    pid_t middle;

    (void)state;
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
    middle = fork();
    if (middle == 0) {
        struct proc_config config = stoppable(w_orphan, s);

        (void)proc_run(&config, NULL, NULL);
        _exit(0);
    }
    assert_true(wait_for(&s->ready, 20000));
    assert_int_equal(kill(middle, SIGKILL), 0);
    assert_true(wait_for(&s->go, 10000));
    assert_int_equal(atomic_load(&s->value[0]), 1);
    assert_int_equal(atomic_load(&s->value[1]), 1);
    while (waitpid(-1, NULL, 0) > 0)
        ;
    (void)prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
    shared_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_signal_stops),
        cmocka_unit_test(worker_ignores_signals),
        cmocka_unit_test(deaf_worker_gets_two_seconds),
        cmocka_unit_test(second_signal_kills_at_once),
        cmocka_unit_test(no_signal_is_left_over),
        cmocka_unit_test(storm_does_not_hold_signals),
        cmocka_unit_test(worker_dies_with_supervisor),
        cmocka_unit_test(channel_tells_that_supervisor_is_gone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
