/* SPDX-License-Identifier: Apache-2.0 */
/* Text: UTF-8 and UTF-16 by the Unicode tables, printable forms, checked arithmetic and bytes. */
#include "testlib.h"

#include "base/bytes.h"
#include "base/facts.h"
#include "base/limits.h"
#include "base/range.h"
#include "base/sha256.h"
#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void test_utf8_by_the_table(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        size_t expected;
        uint32_t cp;
    } rows[] = {
        {"a", 1, 1, 'a'},
        {"\xc3\xa9", 2, 2, 0xe9},
        {"\xe2\x82\xac", 3, 3, 0x20ac},
        {"\xf0\x9f\x98\x80", 4, 4, 0x1f600},
        {"\xf4\x8f\xbf\xbf", 4, 4, 0x10ffff},
        {"\xc0\x80", 2, 0, 0},         /* overlong */
        {"\xe0\x80\x80", 3, 0, 0},     /* overlong */
        {"\xf0\x80\x80\x80", 4, 0, 0}, /* overlong */
        {"\xed\xa0\x80", 3, 0, 0},     /* surrogate */
        {"\xf4\x90\x80\x80", 4, 0, 0}, /* over U+10FFFF */
        {"\xe2\x82", 2, 0, 0},         /* cut */
        {"\x80", 1, 0, 0},             /* continuation alone */
        {"\xff", 1, 0, 0},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint32_t cp = 0;

        assert_int_equal(vd_utf8_next(rows[i].bytes, rows[i].len, &cp), rows[i].expected);
        if (rows[i].expected)
            assert_int_equal(cp, rows[i].cp);
    }
}

static void test_printable(void **state)
{
    char out[64];

    (void)state;
    assert_int_equal(vd_text_printable("a\tb", 3, out, sizeof(out)), 6);
    assert_string_equal(out, "a\\x09b");
    (void)vd_text_printable("\xe2\x80\xae", 3, out, sizeof(out)); /* right-to-left override */
    assert_string_equal(out, "\\xe2\\x80\\xae");
    (void)vd_text_printable("\xc2\x85", 2, out, sizeof(out)); /* C1 control */
    assert_string_equal(out, "\\xc2\\x85");
    (void)vd_text_printable("a\0b", 3, out, sizeof(out));
    assert_string_equal(out, "a\\x00b");
    assert_int_equal(vd_text_printable("ab\x01", 3, out, 6), 2); /* an escape is never cut */
    assert_string_equal(out, "ab");
}

static void test_utf16(void **state)
{
    static const uint8_t le[] = {'A', 0, 0x3d, 0xd8, 0x00, 0xde, 0x00, 0xd8, 'B', 0};
    static const uint8_t be[] = {0, 'A', 0x20, 0xac};
    char out[32];
    bool lossy = false;

    (void)state;
    (void)vd_utf16_to_utf8(le, 5, false, out, sizeof(out), &lossy);
    assert_string_equal(out, "A\xf0\x9f\x98\x80\xef\xbf\xbd"
                             "B");
    assert_true(lossy);
    (void)vd_utf16_to_utf8(be, 2, true, out, sizeof(out), &lossy);
    assert_string_equal(out, "A\xe2\x82\xac");
    assert_false(lossy);
    assert_int_equal(vd_utf16_to_utf8(be, 2, true, out, 4, NULL), 1);
}

static void test_basename(void **state)
{
    (void)state;
    assert_string_equal(vd_text_basename("C:\\vm\\a.vmdk"), "a.vmdk");
    assert_string_equal(vd_text_basename("[datastore1] vm/a.vmdk"), "a.vmdk");
    assert_string_equal(vd_text_basename("a.vmdk"), "a.vmdk");
    assert_string_equal(vd_text_basename("x/"), "");
}

static void test_strings_grow(void **state)
{
    struct vd_str s = VD_STR_INIT;
    char *text;
    int i;

    (void)state;
    for (i = 0; i < 1000; i++)
        vd_str_addf(&s, "%d,", i);
    assert_int_equal(s.len, 10 * 2 + 90 * 3 + 900 * 4);
    text = vd_str_take(&s);
    assert_non_null(strstr(text, "998,999,"));
    free(text);
    text = vd_str_take(&s);
    assert_string_equal(text, "");
    free(text);
}

static void test_checked_arithmetic(void **state)
{
    uint64_t out = 7;

    (void)state;
    assert_false(vd_add(UINT64_MAX, 1, &out));
    assert_false(vd_mul(UINT64_MAX / 2 + 1, 2, &out));
    assert_int_equal(out, 7);
    assert_true(vd_add(UINT64_MAX - 1, 1, &out));
    assert_true(out == UINT64_MAX);
    assert_true(vd_range_inside(10, 0, 10));
    assert_false(vd_range_inside(11, 0, 10));
    assert_false(vd_range_inside(UINT64_MAX, 2, 10));
    assert_false(vd_range_inside(1, UINT64_MAX, 10));
    assert_true(vd_range_overlap(0, 2, 1, 5));
    assert_false(vd_range_overlap(0, 2, 2, 5));
    assert_false(vd_range_overlap(0, 0, 0, 5));
    assert_true(vd_div_up(UINT64_MAX, 1) == UINT64_MAX);
    assert_int_equal(vd_div_up(10, 3), 4);
}

static void test_cursor_is_sticky(void **state)
{
    static const uint8_t bytes[] = {1, 2, 3, 4, 5};
    struct vd_cursor c = vd_cursor_at(bytes, sizeof(bytes));

    (void)state;
    assert_int_equal(vd_take_le32(&c), 0x04030201);
    assert_int_equal(vd_take_le16(&c), 0);
    assert_true(c.bad);
    assert_int_equal(vd_take_u8(&c), 0); /* one byte would be left: the flag stays */
    assert_true(c.bad);
}

static void count_fact(void *ctx, const char *layer, enum vd_fact_kind kind, const char *key,
                       const char *value)
{
    (void)kind;
    (void)key;
    assert_string_equal(layer, "x");
    assert_null(strchr(value, '\n'));
    ++*(int *)ctx;
}

static void test_facts_are_bounded(void **state)
{
    struct vd_facts facts = VD_FACTS_INIT;
    int i, n = 0;

    (void)state;
    for (i = 0; i < VD_MAX_FACTS + 5; i++)
        vd_fact_add(&facts, VD_FACT_INFO, "k", "line %d\n", i);
    assert_int_equal(facts.n, VD_MAX_FACTS);
    assert_int_equal(facts.dropped, 5);
    vd_facts_each(&facts, "x", count_fact, &n);
    assert_int_equal(n, VD_MAX_FACTS + 1); /* the dropped ones are told */
    vd_facts_clear(&facts);
}

static void test_sha256_vectors(void **state)
{
    static const char *const expected =
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"; /* FIPS 180-4, "abc" */
    struct vd_sha256 *ctx = vd_sha256_new();
    uint8_t hash[VD_SHA256_SIZE];
    char hex[2 * VD_SHA256_SIZE + 1];
    int round;

    (void)state;
    assert_non_null(ctx);
    for (round = 0; round < 2; round++) {
        vd_sha256_reset(ctx);
        vd_sha256_add(ctx, "a", 1);
        vd_sha256_add(ctx, "bc", 2);
        vd_sha256_end(ctx, hash);
        vd_sha256_hex(hash, hex);
        assert_string_equal(hex, expected);
    }
    vd_sha256_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_utf8_by_the_table),
        cmocka_unit_test(test_printable),
        cmocka_unit_test(test_utf16),
        cmocka_unit_test(test_basename),
        cmocka_unit_test(test_strings_grow),
        cmocka_unit_test(test_checked_arithmetic),
        cmocka_unit_test(test_cursor_is_sticky),
        cmocka_unit_test(test_facts_are_bounded),
        cmocka_unit_test(test_sha256_vectors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
