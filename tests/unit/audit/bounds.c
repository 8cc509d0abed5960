/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bounds that the manual gives for what a crash and a power failure may cost, measured: how long a
 * record stays unsealed, and how long it is not on the disk, idle and under load.
 *
 *     test_audit_bounds            in a temporary directory
 *     TMPDIR=/mnt test_audit_bounds    on another disk
 *
 * The machine may be busy with other things: what the measuring thread itself was held up is measured
 * too, and allowed for.
 */
#include "testlib.h"

#include "audit/audit.h"
#include "audit/ring.h"
#include "audit/verify.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define MS             1000000.0
#define SEALED_MS      100.0
#define SAMPLES        24
#define LOAD_THREADS   2
#define LOAD_PAUSE_US  20 /* per record: some 50,000 records per second and thread at most */
#define POLL_US        200
#define ALWAYS_SAMPLES 50

static struct vd_err err;
static char *dir;
static struct audit_writer *writer;
static struct audit_ring *ring;
static char path[512];
static atomic_bool stop;
static atomic_ullong load_records;

static void sleep_us(long us)
{
    const struct timespec t = {us / 1000000, us % 1000000 * 1000};

    (void)nanosleep(&t, NULL);
}

static uint64_t now_ns(void)
{
    return audit_clock_ns(CLOCK_MONOTONIC);
}

static void open_log(enum audit_flush flush)
{
    const struct audit_event open = {.op = AUDIT_SESSION_OPEN};
    struct audit_config config = {.flush = flush, .low_bytes = 1};

    config.dir = dir = test_tmpdir();
    assert_ok(audit_open(&config, &writer, &ring, &err));
    (void)snprintf(path, sizeof(path), "%s", audit_session_dir(writer));
    assert_int_equal(audit_log(ring, &open), 0);
    assert_ok(audit_start(writer, &err));
    assert_ok(audit_wait(ring, 0, &err));
}

static void close_log(void)
{
    struct audit_report r;

    assert_ok(audit_close(writer, AUDIT_CLOSE_CLEAN, &err));
    assert_ok(audit_verify(path, NULL, NULL, NULL, &r, &err));
    assert_int_equal(r.verdict, AUDIT_INTACT_CLOSED);
    test_rmdir(dir);
}

static uint64_t log_one(uint64_t number)
{
    const struct audit_event event = {
        .op = AUDIT_READ, .obj = number, .off = number * 4096, .len = 4096};

    return audit_log(ring, &event);
}

static void *produce(void *arg)
{
    uint64_t n;

    for (n = 1; !atomic_load(&stop); n++) {
        (void)log_one(n * 16 + (uintptr_t)arg);
        (void)atomic_fetch_add(&load_records, 1);
        sleep_us(LOAD_PAUSE_US);
    }
    return NULL;
}

struct delay {
    double sealed, durable, held_up; /* longest, ms */
};

static double ms_since(uint64_t start)
{
    return (double)(now_ns() - start) / MS;
}

/* From the commit of one record until it is sealed and until it is on the disk. */
static void sample(struct delay *d, uint64_t number)
{
    uint64_t start = now_ns(), seq = log_one(number), before = start;
    double sealed = 0, durable = 0, held_up = 0, slept;

    while (durable == 0 && ms_since(start) < 20000) {
        sleep_us(POLL_US);
        slept = ms_since(before);
        held_up = slept > held_up ? slept : held_up;
        before = now_ns();
        if (sealed == 0 && atomic_load(&ring->shared->tail) > seq)
            sealed = ms_since(start);
        if (atomic_load(&ring->shared->durable) > seq)
            durable = ms_since(start);
    }
    if (durable == 0) /* never, it seems */
        durable = sealed = ms_since(start);
    d->sealed = sealed > d->sealed ? sealed : d->sealed;
    d->durable = durable > d->durable ? durable : d->durable;
    d->held_up = held_up > d->held_up ? held_up : d->held_up;
}

static void *sampler(void *arg)
{
    struct delay *d = arg;
    int i;

    for (i = 0; i < SAMPLES / 8; i++) {
        sample(d, 7);
        sleep_us(1000 * (37 + 61 * i % 97));
    }
    return NULL;
}

/* Several samplers, or it takes long: a record waits for most of a second. */
static struct delay measure(unsigned load_threads)
{
    pthread_t load[LOAD_THREADS], samplers[8];
    struct delay d[8] = {{0}}, worst = {0};
    size_t i;

    atomic_store(&stop, false);
    for (i = 0; i < load_threads; i++)
        assert_int_equal(pthread_create(&load[i], NULL, produce, (void *)(uintptr_t)i), 0);
    for (i = 0; i < 8; i++) {
        assert_int_equal(pthread_create(&samplers[i], NULL, sampler, &d[i]), 0);
        sleep_us(13000);
    }
    for (i = 0; i < 8; i++)
        (void)pthread_join(samplers[i], NULL);
    atomic_store(&stop, true);
    for (i = 0; i < load_threads; i++)
        (void)pthread_join(load[i], NULL);
    for (i = 0; i < 8; i++) {
        worst.sealed = d[i].sealed > worst.sealed ? d[i].sealed : worst.sealed;
        worst.durable = d[i].durable > worst.durable ? d[i].durable : worst.durable;
        worst.held_up = d[i].held_up > worst.held_up ? d[i].held_up : worst.held_up;
    }
    return worst;
}

static void check(const char *when, struct delay d)
{
    print_message("%-10s unsealed at most %6.1f ms, not on the disk at most %7.1f ms"
                  " (measuring was held up %.1f ms)\n",
                  when, d.sealed, d.durable, d.held_up);
    assert_true(d.sealed <= SEALED_MS + d.held_up);
    assert_true(d.durable <= 1000 + d.held_up);
}

static void interval(void **state)
{
    (void)state;
    open_log(AUDIT_FLUSH_INTERVAL);
    check("idle:", measure(0));
    check("load:", measure(LOAD_THREADS));
    print_message("           load: %llu records\n",
                  (unsigned long long)atomic_load(&load_records));
    close_log();
}

/* audit_flush=always: what the caller does for each access.  The wait itself is the bound. */
static void always(void **state)
{
    double longest = 0, sum = 0;
    int i;

    (void)state;
    open_log(AUDIT_FLUSH_ALWAYS);
    for (i = 0; i < ALWAYS_SAMPLES; i++) {
        uint64_t start = now_ns(), seq = log_one(1);
        double ms;

        assert_ok(audit_wait(ring, seq, &err));
        ms = ms_since(start);
        assert_true(atomic_load(&ring->shared->durable) > seq);
        longest = ms > longest ? ms : longest;
        sum += ms;
    }
    print_message("always:    an answer waits %.1f ms for the disk on average, %.1f ms at most;"
                  " answered and not on the disk: 0\n",
                  sum / ALWAYS_SAMPLES, longest);
    close_log();
}

/* audit_flush=critical: no sync until somebody waits, and then everything before is on the disk. */
static void critical(void **state)
{
    uint64_t seq = 0;
    int i;

    (void)state;
    open_log(AUDIT_FLUSH_CRITICAL);
    for (i = 0; i < 30; i++) {
        seq = log_one(1);
        sleep_us(50000);
    }
    assert_true(atomic_load(&ring->shared->tail) > seq - 20); /* sealed all the while … */
    assert_int_equal(atomic_load(&ring->shared->durable), 1); /* … but not synced for 1.5 s */
    assert_ok(audit_wait(ring, log_one(1), &err));
    assert_true(atomic_load(&ring->shared->durable) > seq);
    close_log();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(interval), cmocka_unit_test(always),
                                       cmocka_unit_test(critical)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
