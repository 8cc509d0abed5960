/* SPDX-License-Identifier: Apache-2.0 */
/* The cache of made bytes: single flight, budget, failures without a trace, references. */
#include "testlib.h"

#include "blk/made_cache.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct maker {
    atomic_int calls;
    atomic_int fail_next; /* so many fills fail */
    int delay_ms;
};

static int make(void *ctx, uint64_t key, void *buf, size_t len, struct vd_err *err)
{
    struct maker *m = ctx;

    atomic_fetch_add(&m->calls, 1);
    if (m->delay_ms) {
        struct timespec t = {0, (long)m->delay_ms * 1000000};

        nanosleep(&t, NULL);
    }
    if (atomic_load(&m->fail_next) > 0) {
        atomic_fetch_sub(&m->fail_next, 1);
        memset(buf, 0xee, len);
        return vd_fail(err, VD_EIO, "cannot make %d", (int)key);
    }
    test_fill(buf, len, key);
    return 0;
}

static void check_bytes(const struct made_buf *buf, uint64_t key, size_t len)
{
    uint8_t *expected = malloc(len);

    assert_non_null(expected);
    test_fill(expected, len, key);
    assert_memory_equal(made_buf_bytes(buf), expected, len);
    free(expected);
}

static void test_made_once(void **state)
{
    struct maker m = {0};
    struct made_cache *cache = NULL;
    struct made_cache_stats stats;
    struct made_buf *a = NULL, *b = NULL;
    struct vd_err err = VD_ERR_INIT;

    (void)state;
    assert_ok(made_cache_new(1 << 20, 4, &cache, &err));
    assert_ok(made_cache_get(cache, 7, 1000, make, &m, &a, &err));
    assert_ok(made_cache_get(cache, 7, 1000, make, &m, &b, &err));
    assert_ptr_equal(a, b);
    assert_int_equal(atomic_load(&m.calls), 1);
    check_bytes(a, 7, 1000);
    made_cache_get_stats(cache, &stats);
    assert_int_equal(stats.hits, 1);
    assert_int_equal(stats.fills, 1);
    assert_int_equal(stats.bytes, 1000);
    assert_fails(made_cache_get(cache, 7, 1001, make, &m, &b, &err), VD_EUSAGE, "1000 bytes");
    made_cache_unref(cache); /* what is held outlives the cache */
    check_bytes(a, 7, 1000);
    made_buf_put(a);
    made_buf_put(b);
    made_buf_put(NULL);
    made_cache_unref(NULL);
}

/* Two caches on one store: equal keys are different values, the budget is one. */
static void test_shared_store(void **state)
{
    struct maker m = {0};
    struct made_cache *one = NULL, *two = NULL;
    struct made_cache_stats stats;
    struct made_buf *a = NULL, *b = NULL;
    struct vd_err err = VD_ERR_INIT;
    uint64_t key;

    (void)state;
    assert_ok(made_cache_new(10000, 1, &one, &err));
    assert_ok(made_cache_share(one, &two, &err));
    assert_ok(made_cache_get(one, 7, 1000, make, &m, &a, &err));
    assert_ok(made_cache_get(two, 7, 500, make, &m, &b, &err));
    assert_ptr_not_equal(a, b);
    assert_int_equal(atomic_load(&m.calls), 2);
    check_bytes(a, 7, 1000);
    check_bytes(b, 7, 500);
    made_buf_put(a);
    made_buf_put(b);
    for (key = 100; key < 130; key++) {
        assert_ok(made_cache_get(key % 2 ? one : two, key, 1000, make, &m, &a, &err));
        made_buf_put(a);
    }
    made_cache_get_stats(two, &stats);
    assert_true(stats.bytes <= 10000);
    made_cache_unref(one);
    assert_ok(made_cache_get(two, 129, 1000, make, &m, &a, &err)); /* not the value of `one` */
    check_bytes(a, 129, 1000);
    made_buf_put(a);
    made_cache_unref(two);
}

static void test_failure_leaves_no_trace(void **state)
{
    struct maker m = {0};
    struct made_cache *cache = NULL;
    struct made_cache_stats stats;
    struct made_buf *a = NULL;
    struct vd_err err = VD_ERR_INIT;

    (void)state;
    atomic_store(&m.fail_next, 2);
    assert_ok(made_cache_new(1 << 20, 1, &cache, &err));
    assert_fails(made_cache_get(cache, 3, 64, make, &m, &a, &err), VD_EIO, "cannot make 3");
    assert_fails(made_cache_get(cache, 3, 64, make, &m, &a, &err), VD_EIO, "cannot make 3");
    assert_null(a);
    made_cache_get_stats(cache, &stats);
    assert_int_equal(stats.bytes, 0);
    assert_int_equal(stats.failures, 2);
    assert_ok(made_cache_get(cache, 3, 64, make, &m, &a, &err));
    check_bytes(a, 3, 64);
    made_buf_put(a);
    made_cache_unref(cache);
}

static void test_budget_and_order(void **state)
{
    struct maker m = {0};
    struct made_cache *cache = NULL;
    struct made_cache_stats stats;
    struct made_buf *a = NULL, *held = NULL;
    struct vd_err err = VD_ERR_INIT;
    uint64_t key;

    (void)state;
    assert_ok(made_cache_new(4096, 1, &cache, &err));
    for (key = 0; key < 4; key++) {
        assert_ok(made_cache_get(cache, key, 1024, make, &m, &a, &err));
        made_buf_put(a);
    }
    assert_ok(made_cache_get(cache, 0, 1024, make, &m, &held, &err)); /* 0 is now the newest */
    assert_ok(made_cache_get(cache, 4, 1024, make, &m, &a, &err));    /* drops 1 */
    made_buf_put(a);
    assert_int_equal(atomic_load(&m.calls), 5);
    assert_ok(made_cache_get(cache, 0, 1024, make, &m, &a, &err));
    made_buf_put(a);
    assert_int_equal(atomic_load(&m.calls), 5);
    assert_ok(made_cache_get(cache, 1, 1024, make, &m, &a, &err));
    made_buf_put(a);
    assert_int_equal(atomic_load(&m.calls), 6);
    for (key = 10; key < 200; key++) {
        assert_ok(made_cache_get(cache, key, 1024, make, &m, &a, &err));
        check_bytes(a, key, 1024);
        made_buf_put(a);
        made_cache_get_stats(cache, &stats);
        assert_true(stats.bytes <= 4096);
    }
    check_bytes(held, 0, 1024); /* dropped from the table, alive for its holder */
    made_buf_put(held);
    made_cache_unref(cache);
}

static void test_larger_than_budget(void **state)
{
    struct maker m = {0};
    struct made_cache *cache = NULL;
    struct made_cache_stats stats;
    struct made_buf *a = NULL;
    struct vd_err err = VD_ERR_INIT;

    (void)state;
    assert_ok(made_cache_new(100, 1, &cache, &err));
    assert_ok(made_cache_get(cache, 1, 5000, make, &m, &a, &err));
    check_bytes(a, 1, 5000);
    made_cache_get_stats(cache, &stats);
    assert_int_equal(stats.bytes, 0);
    made_buf_put(a);
    made_cache_unref(cache);
    assert_fails(made_cache_new(100, 3, &cache, &err), VD_EUSAGE, "3 parts");
}

struct asker {
    struct made_cache *cache;
    struct maker *maker;
    pthread_barrier_t *start;
    int rc;
    struct vd_err err;
};

static void *ask(void *arg)
{
    struct asker *asker = arg;
    struct made_buf *buf = NULL;

    pthread_barrier_wait(asker->start);
    asker->rc = made_cache_get(asker->cache, 42, 512, make, asker->maker, &buf, &asker->err);
    if (asker->rc == 0)
        check_bytes(buf, 42, 512);
    made_buf_put(buf);
    return NULL;
}

/* Eight threads ask for one value at once; returns how many failed. */
static int ask_together(struct made_cache *cache, struct maker *m)
{
    struct asker askers[8];
    pthread_t thread[8];
    pthread_barrier_t start;
    int i, failed = 0;

    pthread_barrier_init(&start, NULL, 8);
    for (i = 0; i < 8; i++) {
        askers[i] = (struct asker){.cache = cache, .maker = m, .start = &start};
        assert_int_equal(pthread_create(&thread[i], NULL, ask, &askers[i]), 0);
    }
    for (i = 0; i < 8; i++) {
        pthread_join(thread[i], NULL);
        if (askers[i].rc) {
            assert_int_equal(askers[i].rc, -VD_EIO);
            assert_string_equal(askers[i].err.msg, "cannot make 42");
            failed++;
        }
    }
    pthread_barrier_destroy(&start);
    return failed;
}

static void test_single_flight(void **state)
{
    struct maker m = {.delay_ms = 100};
    struct made_cache *cache = NULL;
    struct made_cache_stats stats;
    struct vd_err err = VD_ERR_INIT;

    (void)state;
    assert_ok(made_cache_new(1 << 20, 8, &cache, &err));
    atomic_store(&m.fail_next, 1);
    assert_true(ask_together(cache, &m) >= 1); /* those who waited share the failure */
    atomic_store(&m.fail_next, 0);
    assert_int_equal(ask_together(cache, &m), 0);
    assert_true(atomic_load(&m.calls) <= 3);
    made_cache_get_stats(cache, &stats);
    assert_int_equal(stats.fills - stats.failures, 1);
    assert_int_equal(stats.hits + stats.waits + stats.fills, 16);
    made_cache_unref(cache);
}

static void *storm(void *arg)
{
    struct asker *asker = arg;
    uint64_t x = (uint64_t)(uintptr_t)asker * 2654435761u + 1;
    int i;

    for (i = 0; i < 4000; i++) {
        struct made_buf *buf = NULL;
        uint64_t key;

        x = x * UINT64_C(6364136223846793005) + 1;
        key = (x >> 40) % 100;
        asker->rc = made_cache_get(asker->cache, key, 64 + key, make, asker->maker, &buf, NULL);
        if (asker->rc)
            return NULL;
        check_bytes(buf, key, 64 + key);
        made_buf_put(buf);
    }
    return NULL;
}

static void test_storm(void **state)
{
    struct maker m = {0};
    struct made_cache *cache = NULL;
    struct made_cache_stats stats;
    struct asker askers[6];
    pthread_t thread[6];
    struct vd_err err = VD_ERR_INIT;
    int i;

    (void)state;
    assert_ok(made_cache_new(3000, 2, &cache, &err)); /* about a quarter of the values */
    for (i = 0; i < 6; i++) {
        askers[i] = (struct asker){.cache = cache, .maker = &m};
        assert_int_equal(pthread_create(&thread[i], NULL, storm, &askers[i]), 0);
    }
    for (i = 0; i < 6; i++) {
        pthread_join(thread[i], NULL);
        assert_int_equal(askers[i].rc, 0);
    }
    made_cache_get_stats(cache, &stats);
    assert_true(stats.bytes <= 3000);
    assert_true(stats.dropped > 0);
    made_cache_unref(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_made_once),
        cmocka_unit_test(test_shared_store),
        cmocka_unit_test(test_failure_leaves_no_trace),
        cmocka_unit_test(test_budget_and_order),
        cmocka_unit_test(test_larger_than_budget),
        cmocka_unit_test(test_single_flight),
        cmocka_unit_test(test_storm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
