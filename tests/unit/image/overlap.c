/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "image/overlap.h"

#include <string.h>

static void fill(struct overlap *o, const uint64_t *offs, size_t n)
{
    struct vd_err err = VD_ERR_INIT;
    size_t i;

    for (i = 0; i < n; i++)
        assert_ok(overlap_add(o, offs[i], &err));
}

static void apart_is_no_conflict(void **state)
{
    const uint64_t offs[] = {300, 0, 100, 200};
    struct overlap o = {0};
    struct vd_err err = VD_ERR_INIT;

    (void)state;
    fill(&o, offs, 4);
    assert_ok(overlap_finish(&o, 100, &err));
    assert_int_equal(o.n, 0);
    assert_false(overlap_hit(&o, 100));
    overlap_clear(&o);
}

static void both_sides_of_a_conflict_are_kept(void **state)
{
    const uint64_t offs[] = {1000, 0, 100, 199, 500, 500, 700};
    struct overlap o = {0};
    struct vd_err err = VD_ERR_INIT;

    (void)state;
    fill(&o, offs, 7);
    assert_false(overlap_hit(&o, 500)); /* while it is being filled it knows nothing */
    assert_ok(overlap_finish(&o, 100, &err));
    assert_int_equal(o.n, 4);
    assert_true(overlap_hit(&o, 100));
    assert_true(overlap_hit(&o, 199));
    assert_true(overlap_hit(&o, 500));
    assert_false(overlap_hit(&o, 0));
    assert_false(overlap_hit(&o, 700));
    assert_false(overlap_hit(&o, 1000));
    overlap_clear(&o);
}

static void too_many_conflicts_are_refused(void **state)
{
    struct overlap o = {0};
    struct vd_err err = VD_ERR_INIT;
    size_t i;

    (void)state;
    for (i = 0; i <= OVERLAP_MAX_CONFLICTS; i++)
        assert_ok(overlap_add(&o, 4096, &err));
    assert_fails(overlap_finish(&o, 512, &err), VD_ECORRUPT, "share bytes");
    overlap_clear(&o);
}

static void nothing_is_no_conflict(void **state)
{
    struct overlap o = {0};
    struct vd_err err = VD_ERR_INIT;

    (void)state;
    assert_ok(overlap_finish(&o, 512, &err));
    assert_false(overlap_hit(&o, 0));
    overlap_clear(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(apart_is_no_conflict),
        cmocka_unit_test(both_sides_of_a_conflict_are_kept),
        cmocka_unit_test(too_many_conflicts_are_refused),
        cmocka_unit_test(nothing_is_no_conflict),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
