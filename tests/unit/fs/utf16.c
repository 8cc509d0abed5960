/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-16 names: every sequence of units has bytes of its own. */
#include "testlib.h"

#include "base/text.h"
#include "fs/utf16.h"

#include <string.h>

struct vector {
    uint8_t le[12];
    size_t units;
    const char *want;
    size_t len;
};

static void vectors(void **state)
{
    static const struct vector v[] = {
        {{'a', 0, 0xe4, 0, 0xac, 0x20}, 3, "a\xc3\xa4\xe2\x82\xac", 6},
        {{0x3d, 0xd8, 0, 0xde}, 2, "\xf0\x9f\x98\x80", 4}, /* U+1F600 */
        {{0x00, 0xd8, 'x', 0}, 2, "\xed\xa0\x80x", 4},     /* lone high */
        {{'x', 0, 0x00, 0xdc}, 2, "x\xed\xb0\x80", 4},     /* lone low */
        {{0x3d, 0xd8, 0x3d, 0xd8, 0, 0xde}, 3, "\xed\xa0\xbd\xf0\x9f\x98\x80", 7},
        {{0, 0, 'b', 0},
         2,
         "\xc0\x80"
         "b",
         3},
        {{0x3d, 0xd8}, 1, "\xed\xa0\xbd", 3},
    };
    char out[64];
    size_t i, k;

    (void)state;
    for (i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
        uint8_t be[12];

        for (k = 0; k < v[i].units; k++) {
            be[2 * k] = v[i].le[2 * k + 1];
            be[2 * k + 1] = v[i].le[2 * k];
        }
        assert_int_equal(fs_utf16_name(v[i].le, v[i].units, false, out), v[i].len);
        assert_memory_equal(out, v[i].want, v[i].len);
        assert_int_equal(fs_utf16_name(be, v[i].units, true, out), v[i].len);
        assert_memory_equal(out, v[i].want, v[i].len);
    }
}

/* Each single unit: NUL-free, within the bound, and valid UTF-8 exactly when it is a character. */
static void all_units(void **state)
{
    uint32_t u;

    (void)state;
    for (u = 0; u < 0x10000; u++) {
        uint8_t le[2] = {(uint8_t)u, (uint8_t)(u >> 8)};
        char out[4] = {0};
        size_t n = fs_utf16_name(le, 1, false, out);
        uint32_t cp = 0;
        bool valid = vd_utf8_next(out, n, &cp) == n;

        assert_true(n >= 1 && n <= FS_UTF16_BYTES(1));
        assert_null(memchr(out, 0, n));
        assert_int_equal(valid, u && (u < 0xd800 || u >= 0xe000));
        if (valid)
            assert_int_equal(cp, u);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(vectors), cmocka_unit_test(all_units)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
