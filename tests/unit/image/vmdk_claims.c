/* SPDX-License-Identifier: Apache-2.0 */
/* Claims against the obvious quadratic comparison, on random sets of grains and tables. */
#include "testlib.h"

#include "image/vmdk/claims.h"

#include <stdlib.h>
#include <string.h>

#define GRAIN   4096u
#define N_MAX   40
#define SECTORS 400u

struct set {
    uint32_t gte[N_MAX], table[N_MAX];
    size_t n, n_tables;
};

static uint64_t next_random(uint64_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    return *x;
}

static bool overlap(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
    return a < b + b_len && b < a + a_len;
}

static bool is_contested(const struct set *s, size_t i)
{
    size_t k;

    for (k = 0; k < s->n; k++)
        if (k != i && overlap(s->gte[i] * 512u, GRAIN, s->gte[k] * 512u, GRAIN))
            return true;
    for (k = 0; k < s->n_tables; k++)
        if (overlap(s->gte[i] * 512u, GRAIN, s->table[k] * 512u, 512))
            return true;
    return false;
}

static bool in_list(const uint32_t *v, size_t n, uint32_t gte)
{
    size_t i;

    for (i = 0; i < n; i++)
        if (v[i] == gte)
            return true;
    return false;
}

static void check(const struct set *s)
{
    struct vmdk_claims *c = vmdk_claims_new(SECTORS * 512, GRAIN, N_MAX);
    uint32_t *v = NULL;
    size_t n = 0, i;

    assert_non_null(c);
    for (i = 0; i < s->n; i++)
        vmdk_claims_grain(c, s->gte[i], GRAIN);
    for (i = 0; i < s->n_tables; i++)
        vmdk_claims_table(c, s->table[i] * 512u, 512);
    if (vmdk_claims_suspect(c)) {
        for (i = 0; i < s->n; i++)
            assert_true(vmdk_claims_grain_again(c, s->gte[i], GRAIN));
        for (i = 0; i < s->n_tables; i++)
            assert_true(vmdk_claims_table_again(c, s->table[i] * 512u, 512));
        assert_true(vmdk_claims_contested(c, &v, &n));
    }
    for (i = 0; i < s->n; i++)
        if (in_list(v, n, s->gte[i]) != is_contested(s, i))
            fail_msg("entry %u of %zu", s->gte[i], s->n);
    for (i = 1; i < n; i++)
        assert_true(v[i - 1] < v[i]);
    free(v);
    vmdk_claims_free(c);
}

static void test_random(void **state)
{
    uint64_t x = 12345;
    int round;

    (void)state;
    for (round = 0; round < 20000; round++) {
        uint32_t align = 1u << next_random(&x) % 4,
                 spread = 1 + (uint32_t)(next_random(&x) % SECTORS);
        struct set s = {.n = next_random(&x) % N_MAX, .n_tables = next_random(&x) % 5};
        size_t i;

        for (i = 0; i < s.n; i++)
            s.gte[i] = 1 + (uint32_t)(next_random(&x) % spread) / align * align + round % 8;
        for (i = 0; i < s.n_tables; i++)
            s.table[i] = 1 + (uint32_t)(next_random(&x) % SECTORS);
        check(&s);
    }
}

static void test_sound(void **state)
{
    struct vmdk_claims *c = vmdk_claims_new(1 << 20, GRAIN, 100);
    uint32_t i;

    (void)state;
    assert_non_null(c);
    for (i = 0; i < 100; i++)
        vmdk_claims_grain(c, 21 + 8 * i, GRAIN); /* any alignment, the same for all */
    vmdk_claims_table(c, 512, 2048);
    vmdk_claims_table(c, 2560, 2048);
    assert_false(vmdk_claims_suspect(c));
    vmdk_claims_grain(c, 0xfffffffe, GRAIN); /* past the bitmap: no matter */
    assert_false(vmdk_claims_suspect(c));
    vmdk_claims_free(c);
    vmdk_claims_free(NULL);
    assert_null(vmdk_claims_new(UINT64_C(1) << 50, GRAIN, 100)); /* out of proportion */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_sound),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
