/* SPDX-License-Identifier: Apache-2.0 */
/* The reversible escape of names. */
#include "testlib.h"

#include "base/limits.h"
#include "tree/names.h"

#include <stdlib.h>
#include <string.h>

static void escape(struct vd_str *out, const char *raw, size_t len)
{
    out->len = 0;
    vd_str_add(out, "");
    names_escape(out, raw, len);
    assert_false(out->failed);
}

static void known_forms(void **state)
{
    static const struct {
        const char *raw;
        size_t len;
        const char *display;
    } t[] = {
        {"", 0, "%"},
        {"%", 1, "%25"},
        {".", 1, "%2E"},
        {"..", 2, "%2E%2E"},
        {"...", 3, "..."},
        {".a", 2, ".a"},
        {"a/b", 3, "a%2Fb"},
        {"a\0b", 3, "a%00b"},
        {"line\nend", 8, "line%0Aend"},
        {"\x1b[31m", 5, "%1B[31m"},
        {"\x7f", 1, "%7F"},
        {"100%", 4, "100%"},
        {"%41", 3, "%2541"},
        {"%4g", 3, "%4g"},
        {"%ab", 3, "%ab"},
        {"%AB", 3, "%25AB"},
        {"%%41", 4, "%%2541"},
        {"%4\x01", 3, "%4%01"},
        {"%-", 2, "%-"},
        {"%%", 2, "%%"},
        {"%2F", 3, "%252F"},
        {"\xff", 1, "%FF"},
        {"a\xc3", 2, "a%C3"},
        {"\xc3\xa4", 2, "\xc3\xa4"},
        {"\xed\xa0\x80", 3, "%ED%A0%80"}, /* a lone surrogate */
        {"\xc0\x80", 2, "%C0%80"},        /* U+0000, overlong */
        {"\xe2\x80\xae"
         "abc",
         6,
         "\xe2\x80\xae"
         "abc"},
        {"-rf", 3, "-rf"},
        {"C:\\x", 4, "C:\\x"},
    };
    struct vd_str s = VD_STR_INIT;
    char raw[64];
    size_t i, len;

    (void)state;
    for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        escape(&s, t[i].raw, t[i].len);
        assert_string_equal(s.p, t[i].display);
        assert_true(names_unescape(s.p, raw, &len));
        assert_int_equal(len, t[i].len);
        assert_memory_equal(raw, t[i].raw, len);
    }
    vd_str_clear(&s);
}

/* One name has one spelling. */
static void other_spellings_are_refused(void **state)
{
    static const struct {
        const char *display;
        bool right;
    } t[] = {
        {"%41", false},
        {"%C3%A4", false},
        {"%20", false},
        {"%7E", false},
        {"a%2E", false},
        {"%2E.", false},
        {"%2E%2E%2E", false},
        {".", false},
        {"..", false},
        {"a/b", false},
        {"\n", false},
        {"a\x7f", false},
        {"\xff", false},
        {"", false},
        {"%25%41", false},
        /* names of their own: lowercase is no escape; "%" and "%25" */
        {"%2f", true},
        {"%25", true},
        {"%2525", true},
        {"%", true},
    };
    char raw[64];
    size_t i, len;

    (void)state;
    for (i = 0; i < sizeof(t) / sizeof(t[0]); i++)
        if (names_unescape(t[i].display, raw, &len) != t[i].right)
            fail_msg("\"%s\": expected %d", t[i].display, t[i].right);
}

static uint64_t next_random(uint64_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    return *x >> 11;
}

static void check_round_trip(struct vd_str *s, const char *raw, size_t len)
{
    char back[256];
    size_t back_len, i;

    escape(s, raw, len);
    assert_true(s->len > 0);
    for (i = 0; i < s->len; i++) {
        uint8_t c = (uint8_t)s->p[i];

        if (c < 0x20 || c == 0x7f || c == '/')
            fail_msg("a forbidden byte %02x in \"%s\"", c, s->p);
    }
    for (i = 0; i < s->len;) {
        size_t n = vd_utf8_next(s->p + i, s->len - i, NULL);

        assert_true(n > 0);
        i += n;
    }
    if (strcmp(s->p, ".") == 0 || strcmp(s->p, "..") == 0)
        fail_msg("a display name is \"%s\"", s->p);
    if (!names_unescape(s->p, back, &back_len) || back_len != len || memcmp(back, raw, len) != 0)
        fail_msg("\"%s\" does not come back", s->p);
}

/* 2,000,000 names: random bytes, and dense ones over alphabets where escapes can collide. */
static void random_names_come_back(void **state)
{
    static const char *const alphabets[] = {"%2541E", "./%2EF0", "%aA\x01\xc3\xa4", "%%%25\xff/"};
    struct vd_str s = VD_STR_INIT;
    uint64_t x = 88172645463325252u;
    char raw[64];
    unsigned round;

    (void)state;
    for (round = 0; round < 2000000; round++) {
        const char *alphabet = alphabets[round / 2 % 4];
        size_t n = strlen(alphabet), len = next_random(&x) % (round % 2 ? 9 : 20), i;

        for (i = 0; i < len; i++)
            raw[i] = (char)(round % 2 ? alphabet[next_random(&x) % n] : (int)next_random(&x));
        check_round_trip(&s, raw, len);
    }
    vd_str_clear(&s);
}

/* Every name of up to 6 characters over "%25E.a": escape and unescape, and every display text over
 * the same alphabet is accepted exactly when some name is written that way. */
static void all_short_names(void **state)
{
    static const char alphabet[] = "%25E.a";
    struct vd_str s = VD_STR_INIT;
    char text[8], raw[16];
    size_t len, total = 0, accepted = 0, i, n, back;

    (void)state;
    for (len = 0; len <= 6; len++) {
        for (n = 1, i = 0; i < len; i++)
            n *= 6;
        while (n--) {
            size_t v = n;

            for (i = 0; i < len; i++, v /= 6)
                text[i] = alphabet[v % 6];
            text[len] = '\0';
            total++;
            check_round_trip(&s, text, len);
            if (names_unescape(text, raw, &back)) {
                accepted++;
                escape(&s, raw, back);
                assert_string_equal(s.p, text);
            }
        }
    }
    assert_true(accepted < total && accepted > total / 2);
    vd_str_clear(&s);
}

static void cuts_at_characters(void **state)
{
    (void)state;
    assert_int_equal(names_cut("abc", 3, 3), 3);
    assert_int_equal(names_cut("abc", 3, 2), 2);
    assert_int_equal(names_cut("a\xc3\xa4", 3, 2), 1);
    assert_int_equal(names_cut("a%2Fb", 5, 3), 1);
    assert_int_equal(names_cut("a%2Fb", 5, 4), 4);
    assert_int_equal(names_cut("\xf0\x9f\x98\x80x", 5, 3), 0);
}

static void suffixes(void **state)
{
    (void)state;
    assert_true(names_has_suffix("a~5", 3));
    assert_true(names_has_suffix("a~5~17", 6));
    assert_true(names_has_suffix("~0", 2));
    assert_false(names_has_suffix("a~", 2));
    assert_false(names_has_suffix("a5", 2));
    assert_false(names_has_suffix("5", 1));
    assert_false(names_has_suffix("", 0));
    assert_false(names_has_suffix("a~5b", 4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_forms),
        cmocka_unit_test(other_spellings_are_refused),
        cmocka_unit_test(random_names_come_back),
        cmocka_unit_test(all_short_names),
        cmocka_unit_test(cuts_at_characters),
        cmocka_unit_test(suffixes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
