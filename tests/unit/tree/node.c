/* SPDX-License-Identifier: Apache-2.0 */
/* Node numbers: a bijection between numbers and what they stand for. */
#include "testlib.h"

#include "fs/fs.h"
#include "tree/node.h"
#include "tree/tree.h"

#include <stdlib.h>
#include <string.h>

static void root_is_one(void **state)
{
    struct node n;

    (void)state;
    assert_int_equal(node_synthetic(0, NODE_DIR), TREE_ROOT);
    assert_true(node_decode(1, &n));
    assert_int_equal(n.view, 0);
    assert_int_equal(n.kind, NODE_SYNTHETIC);
    assert_false(node_decode(0, &n));
}

static void numbers_are_stable(void **state)
{
    const unsigned near = node_view(1, 1), far = node_view(65, 3);

    (void)state;
    /* the root */
    assert_int_equal(node_object(1, 5, 0), UINT64_C(0x2000200000000005));
    assert_int_equal(node_object(2, 5, 0), UINT64_C(0x2000400000000005));
    assert_int_equal(node_object(1, 0x10, 3), UINT64_C(0x8001000000100003));
    assert_int_equal(node_gap(0, 7), UINT64_C(0x1000000000000007));
    assert_int_equal(node_synthetic(0, NODE_SNAPSHOTS), 6);
    assert_int_equal(node_synthetic(4095, NODE_IMAGE), UINT64_C(0x01ffe00000000002));
    assert_int_equal(node_object(1, UINT64_MAX, 0), UINT64_C(0x70003fffffffffff));
    /* point 0, volume 1 */
    assert_int_equal(node_object(near, 5, 0), UINT64_C(0x2800020000000005));
    assert_int_equal(node_object(near, 0x10, 3), UINT64_C(0xc000100000010003));
    assert_int_equal(node_object(near, 0x10, 0x1003), UINT64_C(0xc000180000101003));
    assert_int_equal(node_gap(node_view(1, 0), 7), UINT64_C(0x1800000000000007));
    assert_int_equal(node_synthetic(node_view(1, 0), NODE_DIR), UINT64_C(0x0800000000000001));
    /* point 64, volume 3 */
    assert_int_equal(node_object(far, 5, 0), UINT64_C(0x2c00060000000005));
    assert_int_equal(node_object(far, 0x10, 3), UINT64_C(0xe000300000010003));
    assert_int_equal(node_synthetic(node_view(1088, 0), NODE_DIR), UINT64_C(0x0fff000000000001));
}

/* Any number: either refused, or decode and encode give it back. */
static void every_number_round_trips(void **state)
{
    /* all bits; then dense ones: few views, known kinds, small payloads, of each form */
    static const uint64_t masks[] = {UINT64_MAX,
                                     UINT64_C(0x7003e000000000ff),
                                     UINT64_C(0x7bff0e00000000ff),
                                     UINT64_C(0x7c0f060000000fff),
                                     UINT64_C(0x800ff000ffffffff),
                                     UINT64_C(0xfffff80000fff00f)};
    uint64_t numbers[4096], accepted = 0, refused = 0;
    size_t round, i;

    (void)state;
    for (round = 0; round < 384; round++) {
        test_fill(numbers, sizeof(numbers), round + 1);
        for (i = 0; i < 4096; i++) {
            uint64_t x = numbers[i] & masks[round % 6];
            struct node n;

            if (!node_decode(x, &n)) {
                refused++;
                continue;
            }
            accepted++;
            assert_true(node_view_point(n.view) <= NODE_POINTS);
            assert_int_equal(node_encode(&n), x);
        }
    }
    assert_true(accepted > 100000 && refused > 100000);
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static const unsigned points[] = {0, 1, 2, 63, 64, 65, 66, 500, 1024, 1025, NODE_POINTS};
static const unsigned volumes[] = {1, 2, 127, 128, 1024, 2047, 2048, 16383};
static const uint64_t addrs[] = {0,
                                 1,
                                 0xffff,
                                 0x10000,
                                 (1u << 27) - 1,
                                 1u << 27,
                                 INT32_MAX,
                                 0x80000000,
                                 0xffffffff,
                                 0x100000000,
                                 NODE_ADDR_MAX_POINT,
                                 NODE_ADDR_MAX_POINT + 1,
                                 NODE_ADDR_MAX,
                                 NODE_ADDR_MAX + 1,
                                 FS_ADDR_MAX};
static const uint16_t streams[] = {0, 1, 2, 0xfff, 0x1000, 0x7fff, 0xffff};

#define N(array) (sizeof(array) / sizeof((array)[0]))

static bool volume_fits(unsigned point, unsigned volume)
{
    return volume <= (point == 0 ? 16383u : point <= 64 ? 2047u : 127u);
}

static bool address_fits(unsigned point, uint64_t addr, uint16_t stream)
{
    if (stream == 0)
        return addr >> (point ? 41 : 45) == 0;
    if (point == 0)
        return addr >> 32 == 0;
    return addr >> (stream < 4096 ? 31 : 27) == 0;
}

/* Different objects have different numbers, and the number tells which; what does not fit is
 * NODE_BEYOND, never another object. */
static void every_object_round_trips(void **state)
{
    static uint64_t seen[N(points) * N(volumes) * N(addrs) * N(streams)];
    size_t p, v, a, s, n_seen = 0, i;

    (void)state;
    for (p = 0; p < N(points); p++)
        for (v = 0; v < N(volumes); v++)
            for (a = 0; a < N(addrs); a++)
                for (s = 0; s < N(streams); s++) {
                    unsigned view = node_view(points[p], volumes[v]);
                    uint64_t x = node_object(view, addrs[a], streams[s]);
                    bool fits = volume_fits(points[p], volumes[v]);
                    struct node n;

                    assert_true(node_decode(x, &n));
                    assert_int_equal(node_encode(&n), x);
                    assert_int_equal(node_view_point(n.view), points[p]);
                    assert_int_equal(node_view_volume(n.view), fits ? volumes[v] : 0);
                    if (!fits || !address_fits(points[p], addrs[a], streams[s])) {
                        assert_int_equal(n.kind, NODE_BEYOND);
                        continue;
                    }
                    assert_int_equal(n.kind, streams[s] ? NODE_STREAM : NODE_OBJECT);
                    assert_int_equal(n.addr, addrs[a]);
                    assert_int_equal(n.stream, streams[s]);
                    seen[n_seen++] = x;
                }
    qsort(seen, n_seen, sizeof(seen[0]), by_number);
    for (i = 1; i < n_seen; i++)
        assert_int_not_equal(seen[i - 1], seen[i]);
    assert_true(n_seen > 2000);
}

/* Directories and images of all points and volumes: all different, and none is an object's. */
static void every_synthetic_node_is_unique(void **state)
{
    static uint64_t seen[(NODE_POINTS + 1) * 8 * 4];
    size_t p, v, n_seen = 0, i;
    unsigned k;

    (void)state;
    for (p = 0; p <= NODE_POINTS; p++)
        for (v = 0; v < 4; v++) {
            static const unsigned of[] = {0, 1, 127, 1024};
            unsigned view = node_view((unsigned)p, of[v]);
            struct node n;

            for (k = NODE_DIR; k <= (of[v] ? NODE_INFO_TEXT : NODE_GAPS); k++) {
                uint64_t x = node_synthetic(view, (enum node_synthetic)k);

                assert_true(node_decode(x, &n));
                if (!volume_fits((unsigned)p, of[v])) {
                    assert_int_equal(n.kind, NODE_BEYOND);
                    assert_int_equal(n.addr, of[v]);
                    continue;
                }
                assert_int_equal(n.kind, NODE_SYNTHETIC);
                assert_int_equal(n.view, view);
                assert_int_equal(n.payload, k);
                seen[n_seen++] = x;
            }
        }
    qsort(seen, n_seen, sizeof(seen[0]), by_number);
    for (i = 1; i < n_seen; i++)
        assert_int_not_equal(seen[i - 1], seen[i]);
    assert_true(n_seen > 10000);
}

static void too_large_addresses_alias_nothing(void **state)
{
    static const unsigned views[] = {3, 1u << 16 | 3, 100u << 16 | 3};
    size_t i;

    (void)state;
    for (i = 0; i < N(views); i++) {
        struct node n;

        assert_true(node_decode(node_object(views[i], NODE_ADDR_MAX + 1 + 5, 0), &n));
        assert_int_equal(n.kind, NODE_BEYOND);
        assert_int_not_equal(node_object(views[i], NODE_ADDR_MAX + 1 + 5, 0),
                             node_object(views[i], 5, 0));
        assert_true(node_decode(node_object(views[i], UINT64_C(0x100000000), 1), &n));
        assert_int_equal(n.kind, NODE_BEYOND);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(root_is_one),
        cmocka_unit_test(numbers_are_stable),
        cmocka_unit_test(every_number_round_trips),
        cmocka_unit_test(every_object_round_trips),
        cmocka_unit_test(every_synthetic_node_is_unique),
        cmocka_unit_test(too_large_addresses_alias_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
