/* SPDX-License-Identifier: Apache-2.0 */
/* The object cache: single flight, bounded, failures leave no trace. */
#include "testlib.h"

#include "fs/cache.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

static struct vd_err err;
static atomic_uint made, freed;
static atomic_bool fail_next;

static int make(void *ctx, uint64_t a, uint64_t b, void **out, size_t *out_cost, struct vd_err *e)
{
    uint64_t *object = malloc(sizeof(*object));

    if (ctx)
        (void)usleep(2000);
    if (atomic_exchange(&fail_next, false)) {
        free(object);
        return vd_fail(e, VD_EIO, "made to fail");
    }
    atomic_fetch_add(&made, 1);
    *object = a * 1000 + b;
    *out = object;
    *out_cost = 1000;
    return 0;
}

static void free_object(void *object)
{
    atomic_fetch_add(&freed, 1);
    free(object);
}

static void reset(void)
{
    made = freed = 0;
    fail_next = false;
}

static void keeps_and_bounds(void **state)
{
    struct fs_cache *cache;
    struct fs_cached *ref;
    unsigned i;

    (void)state;
    reset();
    assert_ok(fs_cache_new(5000, free_object, &cache, &err));
    for (i = 0; i < 100; i++) {
        assert_ok(fs_cache_get(cache, i, 1, make, NULL, &ref, &err));
        assert_int_equal(*(uint64_t *)ref->object, i * 1000 + 1);
        fs_cache_put(cache, ref);
    }
    assert_true(freed >= 95);
    made = 0;
    assert_ok(fs_cache_get(cache, 99, 1, make, NULL, &ref, &err));
    assert_int_equal(made, 0); /* the newest is still there */
    fs_cache_put(cache, ref);
    assert_ok(fs_cache_get(cache, 0, 1, make, NULL, &ref, &err));
    assert_int_equal(made, 1); /* the oldest is not */
    fs_cache_put(cache, ref);
    fs_cache_free(cache);
    assert_int_equal(freed, 101);
}

static void referenced_objects_stay(void **state)
{
    struct fs_cache *cache;
    struct fs_cached *refs[20];
    unsigned i;

    (void)state;
    reset();
    assert_ok(fs_cache_new(3000, free_object, &cache, &err));
    for (i = 0; i < 20; i++)
        assert_ok(fs_cache_get(cache, i, 0, make, NULL, &refs[i], &err));
    assert_int_equal(freed, 0);
    for (i = 0; i < 20; i++) {
        assert_int_equal(*(uint64_t *)refs[i]->object, i * 1000);
        fs_cache_put(cache, refs[i]);
    }
    assert_true(freed >= 17);
    fs_cache_free(cache);
    assert_int_equal(freed, 20);
}

static void failure_leaves_no_trace(void **state)
{
    struct fs_cache *cache;
    struct fs_cached *ref;

    (void)state;
    reset();
    assert_ok(fs_cache_new(5000, free_object, &cache, &err));
    fail_next = true;
    assert_fails(fs_cache_get(cache, 1, 1, make, NULL, &ref, &err), VD_EIO, "made to fail");
    assert_ok(fs_cache_get(cache, 1, 1, make, NULL, &ref, &err));
    fs_cache_put(cache, ref);
    fs_cache_free(cache);
    assert_int_equal(freed, 1);
}

static void *get_one(void *ctx)
{
    struct fs_cache *cache = ctx;
    struct fs_cached *ref;
    struct vd_err e = VD_ERR_INIT;
    static int slow = 1;

    if (fs_cache_get(cache, 7, 7, make, &slow, &ref, &e))
        return NULL;
    fs_cache_put(cache, ref);
    return cache;
}

static void single_flight(void **state)
{
    struct fs_cache *cache;
    pthread_t threads[16];
    unsigned i, ok = 0, round;

    (void)state;
    for (round = 0; round < 2; round++) {
        reset();
        ok = 0;
        fail_next = round == 1; /* one maker fails; a waiter must take over */
        assert_ok(fs_cache_new(5000, free_object, &cache, &err));
        for (i = 0; i < 16; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, get_one, cache), 0);
        for (i = 0; i < 16; i++) {
            void *result;

            assert_int_equal(pthread_join(threads[i], &result), 0);
            ok += result != NULL;
        }
        assert_int_equal(made, 1);
        assert_int_equal(ok, 16 - round);
        fs_cache_free(cache);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_and_bounds),
        cmocka_unit_test(referenced_objects_stay),
        cmocka_unit_test(failure_leaves_no_trace),
        cmocka_unit_test(single_flight),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
