/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring with two processes: everything logged arrives once and in order; the death of either
 * process at any moment loses no record that was logged and hangs nobody; a worker that writes
 * what it likes into the ring cannot spoil the log.
 */
#include "testlib.h"

#include "audit/audit.h"
#include "audit/merge.h"
#include "audit/ring.h"
#include "audit/verify.h"
#include "base/bytes.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define MILLION 80000u
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define MILLION 80000u
#endif
#endif
#ifndef MILLION
#define MILLION 1000000u
#endif

#define THREADS 8 /* 1-4 in the supervisor, 5-8 in the worker */

static char *dir;
static struct vd_err err;
static char path[512];
static struct audit_writer *writer;
static struct audit_ring *ring;

/* Shared with the children: how far each thread got. */
static _Atomic uint64_t *acked;

static int setup(void **state)
{
    void *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    (void)state;
    if (map == MAP_FAILED)
        return -1;
    acked = map;
    if (access("/dev/shm", W_OK) == 0)
        (void)setenv("TMPDIR", "/dev/shm", 0); /* some hundred sessions: no disk's sync */
    dir = test_tmpdir();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    (void)munmap((void *)(uintptr_t)acked, 4096);
    test_rmdir(dir);
    return 0;
}

static void open_session(size_t ring_bytes)
{
    const struct audit_event open = {.op = AUDIT_SESSION_OPEN};
    const struct audit_config config = {.dir = dir, .ring_bytes = ring_bytes};
    int i;

    assert_ok(audit_open(&config, &writer, &ring, &err));
    (void)snprintf(path, sizeof(path), "%s", audit_session_dir(writer));
    assert_int_equal(audit_log(ring, &open), 0);
    for (i = 0; i <= THREADS; i++)
        atomic_store(&acked[i], 0);
}

struct producer {
    uint64_t id, count;
};

/* Bytes that the producers "read": 0, or 1 so that their records can be merged. */
static uint64_t read_len;

/* Record number `off` of thread `obj`, with payloads of changing length. */
static void *produce(void *arg)
{
    static const char text[600] = "x";
    const struct producer *p = arg;
    uint64_t i;

    for (i = 1; i <= p->count; i++) {
        const struct audit_field field = {AUDIT_T_TEXT, text, (size_t)(i * 7 % sizeof(text))};
        const struct audit_event e = {.op = AUDIT_READ,
                                      .obj = p->id,
                                      .off = i,
                                      .len = read_len,
                                      .fields = &field,
                                      .n_fields = i % 50 == 0};

        if (audit_log(ring, &e) == AUDIT_NOT_LOGGED)
            break;
        atomic_store(&acked[p->id], i);
    }
    return NULL;
}

static void run_producers(uint64_t first, uint64_t count)
{
    pthread_t thread[4];
    struct producer p[4];
    size_t i;

    for (i = 0; i < 4; i++) {
        p[i] = (struct producer){first + i, count};
        if (pthread_create(&thread[i], NULL, produce, &p[i]))
            abort();
    }
    for (i = 0; i < 4; i++)
        (void)pthread_join(thread[i], NULL);
}

static pid_t fork_worker(uint64_t count)
{
    pid_t pid = fork();

    if (pid == 0) {
        audit_forget_writer(writer);
        run_producers(5, count);
        _exit(0);
    }
    assert_true(pid > 0);
    return pid;
}

struct census {
    uint64_t last[THREADS + 1];
    uint64_t records, merged, lost, warnings; /* merged: reads that have no record of their own */
    bool disorder;
};

static int count_record(void *ctx, const struct audit_seen *seen, struct vd_err *e)
{
    struct census *c = ctx;
    struct audit_record r;
    struct audit_merged m;

    if (audit_record_decode(seen->bytes, seen->len, &r, e))
        return -VD_ECORRUPT;
    c->records++;
    c->lost += r.op == AUDIT_LOST;
    c->warnings += r.op == AUDIT_WARNING;
    if (r.op != AUDIT_READ || r.obj == 0 || r.obj > THREADS)
        return 0;
    /* present once, in order, none missing */
    (void)audit_record_merged(&r, &m);
    c->disorder = c->disorder || r.off != c->last[r.obj] + 1 || m.n_ranges > 1 ||
                  (m.count > 1 && r.len != m.count);
    c->last[r.obj] += m.count;
    c->merged += m.count - 1;
    return 0;
}

static void census(struct census *c, struct audit_report *r)
{
    memset(c, 0, sizeof(*c));
    assert_ok(audit_verify(path, NULL, count_record, c, r, &err));
    if (r->verdict == AUDIT_TAMPERED)
        fail_msg("tampered at frame %llu: %s", (unsigned long long)r->bad_frame, r->reason);
    assert_int_equal(c->records, r->records);
    assert_false(c->disorder);
}

static void two_processes(size_t ring_bytes)
{
    struct audit_report r;
    struct census c;
    int status, i;
    pid_t pid;

    open_session(ring_bytes);
    pid = fork_worker(MILLION / THREADS);
    assert_ok(audit_start(writer, &err));
    run_producers(1, MILLION / THREADS);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_ok(audit_close(writer, AUDIT_CLOSE_CLEAN, &err));
    census(&c, &r);
    assert_int_equal(r.verdict, AUDIT_INTACT_CLOSED);
    assert_int_equal(r.lost, 0);
    assert_int_equal(c.records + c.merged, MILLION / THREADS * THREADS + 2);
    assert_true(read_len ? c.merged > 0 : c.merged == 0);
    for (i = 1; i <= THREADS; i++)
        assert_int_equal(c.last[i], MILLION / THREADS);
}

static void smallest_ring(void **state)
{
    (void)state;
    two_processes(1);
}

static void usual_ring(void **state)
{
    (void)state;
    two_processes(0);
}

static void merging(void **state)
{
    (void)state;
    read_len = 1;
    two_processes(1);
    read_len = 0;
}

/* A worker's handle in this process: the path without the lock, with the writer in view of
 * ThreadSanitizer. */
static void two_handles(void **state)
{
    struct audit_ring *supervisor, worker;
    struct audit_report r;
    struct census c;
    int i;

    (void)state;
    open_session(1);
    worker = *ring;
    worker.worker = true;
    worker.writer = NULL;
    worker.lifeline[1] = dup(ring->lifeline[1]);
    supervisor = ring;
    assert_ok(audit_start(writer, &err));
    ring = &worker;
    run_producers(1, MILLION / THREADS);
    ring = supervisor;
    run_producers(5, MILLION / THREADS);
    assert_ok(audit_close(writer, AUDIT_CLOSE_CLEAN, &err));
    (void)close(worker.lifeline[1]);
    census(&c, &r);
    assert_int_equal(r.verdict, AUDIT_INTACT_CLOSED);
    for (i = 1; i <= THREADS; i++)
        assert_int_equal(c.last[i], MILLION / THREADS);
}

static void nap_us(long us)
{
    const struct timespec t = {us / 1000000, us % 1000000 * 1000};

    (void)nanosleep(&t, NULL);
}

/* kill -9 of the worker at fifty moments. */
static void worker_killed(void **state)
{
    uint64_t logged = 0, lost = 0;
    int round, i;

    (void)state;
    for (round = 0; round < 50; round++) {
        const struct audit_event died = {.op = AUDIT_WORKER_DIED};
        struct audit_report r;
        struct census c;
        pid_t pid;

        open_session(round % 2 ? 1 : 1 << 20);
        pid = fork_worker(UINT64_MAX);
        assert_ok(audit_start(writer, &err));
        nap_us(2000 + round * 397 % 9000);
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        assert_ok(audit_wait(ring, audit_log(ring, &died), &err)); /* sealing goes on */
        assert_ok(audit_close(writer, AUDIT_CLOSE_WORKER_DIED, &err));
        census(&c, &r);
        assert_int_equal(r.verdict, AUDIT_INTACT_CLOSED);
        assert_int_equal(r.lost, c.lost);
        for (i = 5; i <= THREADS; i++) {
            assert_true(c.last[i] >= atomic_load(&acked[i]));
            assert_true(c.last[i] <= atomic_load(&acked[i]) + 1);
            logged += c.last[i];
        }
        lost += c.lost;
    }
    print_message("50 kills: %llu records, %llu claims given up\n", (unsigned long long)logged,
                  (unsigned long long)lost);
}

/* The same with the holes made on purpose: a claim with its mark, one without, one at the very
 * end; records behind a hole survive. */
static void holes(void **state)
{
    const struct audit_event read = {.op = AUDIT_READ}, died = {.op = AUDIT_WORKER_DIED};
    struct audit_report r;
    struct census c;
    int status;
    pid_t pid;

    (void)state;
    open_session(1);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        uint64_t at;

        audit_forget_writer(writer);
        at = atomic_fetch_add(&ring->shared->head, 5); /* marked: 1 + 4 slots */
        *(uint64_t *)(void *)(ring->slots + at * AUDIT_SLOT) = AUDIT_RING_CLAIMED | 4;
        memset(ring->slots + (at + 1) * AUDIT_SLOT, 0xee, 4 * (size_t)AUDIT_SLOT);
        (void)audit_log(ring, &read);
        (void)atomic_fetch_add(&ring->shared->head, 256); /* no mark */
        (void)audit_log(ring, &read);
        (void)atomic_fetch_add(&ring->shared->head, 300); /* two claims without mark */
        _exit(0);
    }
    assert_ok(audit_start(writer, &err));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_ok(audit_wait(ring, audit_log(ring, &died), &err));
    assert_false(audit_failed(ring));
    assert_ok(audit_close(writer, AUDIT_CLOSE_WORKER_DIED, &err));
    census(&c, &r);
    assert_int_equal(r.verdict, AUDIT_INTACT_CLOSED);
    assert_int_equal(c.lost, 4); /* 5; 256; 256 + 44 */
    assert_int_equal(c.records, 1 + 2 + 4 + 1 + 1);
}

/* A living process that does not finish its claim holds the log up (nothing is skipped), and close
 * gives it two seconds. */
static void unfinished_claim_of_a_living_worker(void **state)
{
    struct audit_report r;
    struct census c;
    uint64_t start;
    pid_t pid;

    (void)state;
    open_session(1);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        audit_forget_writer(writer);
        (void)atomic_fetch_add(&ring->shared->head, 1);
        (void)pause();
        _exit(0);
    }
    assert_ok(audit_start(writer, &err));
    nap_us(200000);
    start = audit_clock_ns(CLOCK_MONOTONIC);
    assert_ok(audit_close(writer, AUDIT_CLOSE_SIGNAL, &err));
    start = audit_clock_ns(CLOCK_MONOTONIC) - start;
    assert_true(start > 1900000000u && start < 20000000000u);
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
    census(&c, &r);
    assert_int_equal(r.verdict, AUDIT_INTACT_CLOSED);
    assert_int_equal(c.lost, 1);
}

/* Runs `worker` in the worker of a supervisor that is killed; gives the worker's exit code. */
static int orphan(int (*worker)(void))
{
    int status, to_test[2];
    char code = -1;
    pid_t supervisor;

    assert_int_equal(pipe(to_test), 0);
    supervisor = fork();
    assert_true(supervisor >= 0);
    if (supervisor == 0) {
        if (fork() == 0) {
            audit_forget_writer(writer);
            (void)!write(to_test[1], &code, 1); /* it lives */
            code = (char)worker();
            (void)!write(to_test[1], &code, 1);
            _exit(0);
        }
        (void)pause();
        _exit(0);
    }
    (void)close(to_test[1]);
    /* The test itself must not keep the supervisor's end open. */
    audit_forget_writer(writer);
    assert_int_equal(read(to_test[0], &code, 1), 1);
    nap_us(100000);
    assert_int_equal(kill(supervisor, SIGKILL), 0);
    assert_int_equal(waitpid(supervisor, &status, 0), supervisor);
    (void)alarm(20); /* hanging is the failure looked for */
    assert_int_equal(read(to_test[0], &code, 1), 1);
    (void)alarm(0);
    (void)close(to_test[0]);
    assert_ok(audit_close(writer, AUDIT_CLOSE_CLEAN, &err)); /* only frees */
    return code;
}

static int fill_ring(void)
{
    const struct audit_event read = {.op = AUDIT_READ, .obj = 5};
    int n = 0;

    while (audit_log(ring, &read) != AUDIT_NOT_LOGGED)
        if (++n > 5000)
            return 1;
    atomic_store(&acked[5], (uint64_t)n);
    return audit_failed(ring) ? 0 : 2;
}

static int wait_for_disk(void)
{
    const struct audit_event read = {.op = AUDIT_READ, .obj = 5};
    struct vd_err e = VD_ERR_INIT;
    int rc = audit_wait(ring, audit_log(ring, &read), &e);

    return rc == -VD_EAUDIT && strstr(e.msg, "has ended") ? 0 : 1;
}

static void supervisor_killed(void **state)
{
    struct audit_report r;

    (void)state;
    open_session(1);
    assert_int_equal(orphan(fill_ring), 0);
    /* Nothing was ever sealed; what was logged can be recovered. */
    assert_ok(audit_verify(path, NULL, NULL, NULL, &r, &err));
    assert_int_equal(r.verdict, AUDIT_TORN_TAIL);
    assert_int_equal(r.frames, 0);
    assert_int_equal(r.unsealed, atomic_load(&acked[5]) + 1);
    assert_false(r.live);

    open_session(1);
    assert_int_equal(orphan(wait_for_disk), 0);
}

/* Until the worker has got there. */
static void wait_for_step(uint64_t step)
{
    int i;

    for (i = 0; i < 60000 && atomic_load(&acked[0]) < step; i++)
        nap_us(1000);
    assert_true(atomic_load(&acked[0]) >= step);
}

/* The supervisor is killed while it seals: what is in the frames and in the ring together is
 * everything that was logged. */
static void supervisor_killed_while_sealing(void **state)
{
    int round, i;

    (void)state;
    for (round = 0; round < 20; round++) {
        struct audit_report r;
        struct census c;
        uint64_t sum = 0;
        pid_t supervisor;

        open_session(1 << 20);
        read_len = (uint64_t)round % 2; /* every other time with merging */
        supervisor = fork();
        assert_true(supervisor >= 0);
        if (supervisor == 0) {
            if (fork() == 0) {
                audit_forget_writer(writer);
                atomic_store(&acked[0], 1);
                run_producers(5, 200000);
                atomic_store(&acked[0], 2);
                _exit(0);
            }
            if (audit_start(writer, NULL))
                _exit(1);
            (void)pause();
            _exit(0);
        }
        audit_forget_writer(writer);
        wait_for_step(1);
        nap_us(round * 1234);
        assert_int_equal(kill(supervisor, SIGKILL), 0);
        assert_int_equal(waitpid(supervisor, NULL, 0), supervisor);
        wait_for_step(2);
        assert_ok(audit_close(writer, AUDIT_CLOSE_CLEAN, &err)); /* only frees */
        census(&c, &r);
        for (i = 5; i <= THREADS; i++)
            sum += atomic_load(&acked[i]);
        assert_true(r.verdict == AUDIT_TORN_TAIL || r.verdict == AUDIT_INTACT_OPEN);
        assert_int_equal(r.records + c.merged + r.unsealed, sum + 1);
    }
    read_len = 0;
}

/* Size of the log: garbage must not make it grow without end. */
static long long log_size(void)
{
    char name[600];
    struct stat st;

    (void)snprintf(name, sizeof(name), "%s/000000.vlog", path);
    assert_int_equal(stat(name, &st), 0);
    return (long long)st.st_size;
}

/* The worker writes garbage where it can.  The supervisor ends in bounded time, and the log is
 * in order. */
static void hostile_worker(void **state)
{
    int round;

    (void)state;
    for (round = 0; round < 60; round++) {
        const struct audit_event died = {.op = AUDIT_WORKER_DIED};
        struct audit_report r;
        struct census c;
        uint64_t start;
        pid_t pid;

        open_session(1);
        assert_ok(audit_wait(ring, 0, &err)); /* what is sealed is out of reach */
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            uint8_t *map = (uint8_t *)ring->shared;
            size_t at = (size_t)round * 64 % AUDIT_RING_HEADER, len = 64;

            audit_forget_writer(writer);
            run_producers(5, 100);
            if (round >= 50) { /* the slots */
                at = AUDIT_RING_HEADER;
                len = (size_t)ring->n_slots * AUDIT_SLOT;
            }
            test_fill(map + at, len, (uint64_t)round);
            if (round % 3 == 0)
                memset(map + at, round % 2 ? 0xff : 0, len);
            nap_us(20000);
            _exit(0);
        }
        assert_ok(audit_start(writer, &err));
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        start = audit_clock_ns(CLOCK_MONOTONIC);
        (void)alarm(60);
        (void)audit_log(ring, &died);
        assert_ok(audit_close(writer, AUDIT_CLOSE_WORKER_DIED, &err));
        (void)alarm(0);
        assert_true(audit_clock_ns(CLOCK_MONOTONIC) - start < 10000000000u);
        assert_true(log_size() < (4 << 20));
        memset(&c, 0, sizeof(c));
        assert_ok(audit_verify(path, NULL, count_record, &c, &r, &err));
        if (r.verdict != AUDIT_INTACT_CLOSED)
            fail_msg("round %d: %s: %s", round, audit_verdict_text(r.verdict), r.reason);
    }
}

/* A record that only the supervisor may write, forged by the worker. */
static void forge(const struct audit_event *event)
{
    struct audit_report r;
    struct census c;
    pid_t pid;

    open_session(1);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        audit_forget_writer(writer);
        (void)audit_log(ring, event);
        _exit(0);
    }
    assert_ok(audit_start(writer, &err));
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    nap_us(200000);
    assert_true(audit_failed(ring)); /* access stops */
    assert_ok(audit_close(writer, AUDIT_CLOSE_WORKER_DIED, &err));
    census(&c, &r);
    assert_int_equal(r.verdict, AUDIT_INTACT_CLOSED);
    assert_int_equal(c.lost, 1);
}

static void forged(void **state)
{
    static const uint8_t span[] = {200, 0,    0,   0,   0,   0,   0,   0,   0,   0,
                                   0,   0x7f, 255, 255, 255, 255, 255, 255, 255, 255};
    const struct audit_field field = {AUDIT_T_SPAN, span, sizeof(span)};
    const struct audit_event events[] = {
        {.op = AUDIT_SESSION_CLOSE},
        {.op = AUDIT_LOST, .len = 1},
        {.op = AUDIT_RECOVERED},
        {.op = AUDIT_READ, .flags = AUDIT_F_RECOVERED},
        /* would take 200 numbers */
        {.op = AUDIT_READ, .flags = AUDIT_F_MERGED, .len = 200, .fields = &field, .n_fields = 1},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(events) / sizeof(events[0]); i++)
        forge(&events[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(smallest_ring, setup, teardown),
        cmocka_unit_test_setup_teardown(usual_ring, setup, teardown),
        cmocka_unit_test_setup_teardown(merging, setup, teardown),
        cmocka_unit_test_setup_teardown(two_handles, setup, teardown),
        cmocka_unit_test_setup_teardown(worker_killed, setup, teardown),
        cmocka_unit_test_setup_teardown(holes, setup, teardown),
        cmocka_unit_test_setup_teardown(unfinished_claim_of_a_living_worker, setup, teardown),
        cmocka_unit_test_setup_teardown(supervisor_killed, setup, teardown),
        cmocka_unit_test_setup_teardown(supervisor_killed_while_sealing, setup, teardown),
        cmocka_unit_test_setup_teardown(hostile_worker, setup, teardown),
        cmocka_unit_test_setup_teardown(forged, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
