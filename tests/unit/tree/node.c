/* SPDX-License-Identifier: Apache-2.0 */
/* Node numbers: a bijection between numbers and what they stand for. */
#include "testlib.h"

#include "fs/fs.h"
#include "tree/node.h"
#include "tree/tree.h"

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
    (void)state;
    assert_int_equal(node_object(1, 5, 0), UINT64_C(0x0012000000000005));
    assert_int_equal(node_object(2, 5, 0), UINT64_C(0x0022000000000005));
    assert_int_equal(node_object(1, 0x10, 3), UINT64_C(0x0013000000100003));
    assert_int_equal(node_gap(7), UINT64_C(0x0001000000000007));
    assert_int_equal(node_synthetic(4095, NODE_IMAGE), UINT64_C(0xfff0000000000002));
    assert_int_equal(node_object(1, UINT64_MAX, 0), UINT64_C(0x001fffffffffffff));
}

/* Any number: either refused, or decode and encode give it back. */
static void every_number_round_trips(void **state)
{
    uint64_t numbers[4096], accepted = 0, refused = 0;
    size_t round, i;

    (void)state;
    for (round = 0; round < 256; round++) {
        test_fill(numbers, sizeof(numbers), round + 1);
        for (i = 0; i < 4096; i++) {
            /* dense ones too: few views, known kinds, small payloads */
            uint64_t x = round % 2 ? numbers[i] : (numbers[i] & UINT64_C(0x003f000000ff001f));
            struct node n;

            if (!node_decode(x, &n)) {
                refused++;
                continue;
            }
            accepted++;
            assert_int_equal(node_encode(&n), x);
        }
    }
    assert_true(accepted > 100000 && refused > 100000);
}

/* Different objects have different numbers, and the number tells which. */
static void every_object_round_trips(void **state)
{
    static const uint64_t addrs[] = {
        0,          1,          2,           0xffff,          0x10000,
        0xfffffffe, 0xffffffff, 0x100000000, FS_ADDR_MAX - 1, FS_ADDR_MAX};
    static const uint16_t streams[] = {0, 1, 2, 0x7fff, 0xffff};
    static const unsigned views[] = {1, 2, 1024, NODE_VIEW_MAX};
    uint64_t seen[400];
    size_t a, s, v, i, n_seen = 0;

    (void)state;
    for (a = 0; a < 10; a++)
        for (s = 0; s < 5; s++)
            for (v = 0; v < 4; v++) {
                uint64_t x = node_object(views[v], addrs[a], streams[s]);
                struct node n;

                assert_true(node_decode(x, &n));
                assert_int_equal(n.view, views[v]);
                if (streams[s] && addrs[a] > 0xffffffff) {
                    assert_int_equal(n.kind, NODE_BEYOND);
                    continue;
                }
                assert_int_equal(n.kind, streams[s] ? NODE_STREAM : NODE_OBJECT);
                assert_int_equal(n.addr, addrs[a]);
                assert_int_equal(n.stream, streams[s]);
                for (i = 0; i < n_seen; i++)
                    assert_int_not_equal(seen[i], x);
                seen[n_seen++] = x;
            }
    assert_int_equal(n_seen, 4 * (10 + 4 * 7));
}

static void too_large_addresses_alias_nothing(void **state)
{
    struct node n;

    (void)state;
    assert_true(node_decode(node_object(3, FS_ADDR_MAX + 1 + 5, 0), &n));
    assert_int_equal(n.kind, NODE_BEYOND);
    assert_int_not_equal(node_object(3, FS_ADDR_MAX + 1 + 5, 0), node_object(3, 5, 0));
    assert_true(node_decode(node_object(3, UINT64_C(0x100000000), 1), &n));
    assert_int_equal(n.kind, NODE_BEYOND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(root_is_one),
        cmocka_unit_test(numbers_are_stable),
        cmocka_unit_test(every_number_round_trips),
        cmocka_unit_test(every_object_round_trips),
        cmocka_unit_test(too_large_addresses_alias_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
