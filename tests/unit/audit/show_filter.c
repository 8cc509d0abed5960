/* SPDX-License-Identifier: Apache-2.0 */
/* Patterns, points in time, values and times as text: what the filters and lines of show and export
 * are made of. */
#include "testlib.h"

#include "audit/show_filter.h"
#include "audit/show_names.h"
#include "audit/show_put.h"
#include "vdiskfs/audit_format.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct vd_err err;

static bool fits(const char *pattern, const char *text)
{
    return audit_pattern_fits(pattern, text, strlen(text));
}

static void patterns(void **state)
{
    char many[2001], stars[200];
    size_t i;

    (void)state;
    assert_true(fits("", ""));
    assert_false(fits("", "a"));
    assert_true(fits("*", ""));
    assert_true(fits("p1/fs/*.docx", "p1/fs/Users/a b/x.docx"));
    assert_false(fits("p1/fs/*.docx", "p1/fs/x.docx.bak"));
    assert_true(fits("*a*b*c", "xxaxxbxxbxxc"));
    assert_false(fits("*a*b*c", "xxaxxcxxb"));
    assert_true(fits("p?/*", "p1/"));
    assert_false(fits("p?/*", "p/"));
    assert_true(fits("?", "\xe3\x81\x82")); /* one character of three bytes */
    assert_false(fits("??", "\xe3\x81\x82"));
    assert_true(fits("??", "\xff\xfe")); /* no UTF-8: each byte counts */
    assert_true(fits("a\\*b", "a*b"));
    assert_false(fits("a\\*b", "axb"));
    assert_true(fits("a\\", "a\\"));
    assert_true(fits("\\\\*", "\\x"));
    assert_false(audit_pattern_fits("a", "ab", 2));
    assert_true(audit_pattern_fits("a*", "a\0b", 3));
    /* would take for ever with a matcher that tries all ways */
    memset(many, 'a', sizeof(many) - 1);
    many[sizeof(many) - 1] = '\0';
    for (i = 0; i + 2 < sizeof(stars); i += 2)
        memcpy(stars + i, "*a", 2);
    memcpy(stars + i - 1, "b", 2);
    assert_false(fits(stars, many));
}

static int64_t when(const char *text)
{
    int64_t ns = -1;

    assert_ok(audit_time_parse(text, INT64_C(1000000000000000000), &ns, &err));
    return ns;
}

static void refused(const char *text, const char *why)
{
    int64_t ns;

    err = (struct vd_err)VD_ERR_INIT;
    assert_int_equal(audit_time_parse(text, 0, &ns, &err), -VD_EUSAGE);
    if (!strstr(err.msg, why))
        fail_msg("%s: %s", text, err.msg);
}

#define S INT64_C(1000000000)

static void points_in_time(void **state)
{
    static const char *const wrong[] = {"",
                                        "yesterday",
                                        "2024-02-30T00:00Z",
                                        "2023-02-29Z",
                                        "2024-13-01Z",
                                        "2024-00-01Z",
                                        "1500-01-01Z",
                                        "2024-1-1Z",
                                        "2024-01-01T25:00Z",
                                        "2024-01-01T24:01Z",
                                        "2024-01-01T10Z",
                                        "2024-01-01T10:00:00.Z",
                                        "2024-01-01T10:60Z",
                                        "2024-01-01T10:00:61Z",
                                        "2024-01-01T10:00X",
                                        "2024-01-01T10:00Z ",
                                        "2024-01-01T10:00+9",
                                        "2024-01-01T10:00+09:60",
                                        "2024-01-01T10:00+24",
                                        "-",
                                        "-5",
                                        "-m",
                                        "-5m3",
                                        "-5w",
                                        "--5m",
                                        "-99999999999d",
                                        "-999999999d",
                                        "1714521600"};
    size_t i;

    (void)state;
    assert_true(when("1970-01-01T00:00:00Z") == 0);
    assert_true(when("1970-01-01Z") == 0);
    assert_true(when("2024-02-29T12:34:56.123456789Z") == INT64_C(1709210096123456789));
    assert_true(when("2024-02-29T12:34:56,5Z") == 1709210096 * S + S / 2);
    assert_true(when("2024-02-29 12:34z") == INT64_C(1709210040) * S);
    assert_true(when("2024-02-29T21:34+09:00") == INT64_C(1709210040) * S);
    assert_true(when("2024-02-29T21:34+0900") == INT64_C(1709210040) * S);
    assert_true(when("2024-02-29T08:04-0430") == INT64_C(1709210040) * S);
    assert_true(when("2024-02-29T21:34+09") == INT64_C(1709210040) * S);
    assert_true(when("2024-03-01T00:00Z") == when("2024-02-29T24:00Z"));
    assert_true(when("1969-12-31T23:59:59Z") == -S);
    assert_true(when("1900-03-01Z") == INT64_C(-2203891200) * S);
    assert_true(when("2261-12-31T23:59:59Z") > 0);
    assert_true(when("1678-01-01Z") < 0);
    assert_true(when("2024-01-01T00:00:00.9999999999999Z") == INT64_C(1704067200) * S + S - 1);
    assert_true(when("now") == S * S);
    assert_true(when("-5m") == S * S - 300 * S);
    assert_true(when("-1d2h3m4s") == S * S - 93784 * S);
    for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        refused(wrong[i], "is no time");
    refused("2024-01-01", "zone is missing");
    refused("2024-01-01T10:00:00", "zone is missing");
}

/* As strftime has it, for many times; and parsed again it is the same. */
static void times_as_text(void **state)
{
    uint64_t x = 88172645463325252u;
    int i;

    (void)state;
    for (i = 0; i < 20000; i++) {
        char expected[64], text[SHOW_TIME];
        int64_t ns, again;
        struct tm tm;
        time_t t;

        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        ns = (int64_t)x;
        if (i < 4)
            ns = (const int64_t[]){INT64_MIN, INT64_MAX, -1, 0}[i];
        t = (time_t)(ns / S - (ns % S < 0));
        (void)gmtime_r(&t, &tm);
        (void)strftime(expected, sizeof(expected), "%Y-%m-%dT%H:%M:%S", &tm);
        (void)snprintf(expected + 19, sizeof(expected) - 19, ".%09dZ",
                       (int)(ns % S + (ns % S < 0 ? S : 0)));
        assert_int_equal(show_time_text(ns, 9, "Z", text), strlen(expected));
        assert_string_equal(text, expected);
        if (tm.tm_year >= 1678 - 1900 && tm.tm_year <= 2261 - 1900) {
            assert_ok(audit_time_parse(text, 0, &again, &err));
            assert_true(again == ns);
        }
    }
    {
        char text[SHOW_TIME];

        (void)show_time_text(1, 6, "+00:00", text);
        assert_string_equal(text, "1970-01-01T00:00:00.000000+00:00");
        (void)show_time_text(-1, 0, "Z", text);
        assert_string_equal(text, "1969-12-31T23:59:59Z");
    }
}

static void value_is(enum show_form form, const char *bytes, size_t len, size_t max,
                     const char *expected, bool whole)
{
    struct vd_str s = VD_STR_INIT;

    assert_int_equal(show_add_value(&s, form, bytes, len, max), whole);
    assert_string_equal(s.p ? s.p : "", expected);
    vd_str_clear(&s);
}

static void values(void **state)
{
    static const char hostile[] = "a\"\\\n\x1b\xff\xe2\x80\xae\xe3\x81\x82";

    (void)state;
    value_is(SHOW_TEXT, hostile, sizeof(hostile) - 1, SIZE_MAX,
             "a\\\"\\\\\\x0a\\x1b\\xff\\xe2\\x80\\xae\xe3\x81\x82", true);
    value_is(SHOW_JSON, hostile, sizeof(hostile) - 1, SIZE_MAX,
             "a\\\"\\\\\\\\\\\\x0a\\\\x1b\\\\xff\\\\xe2\\\\x80\\\\xae\xe3\x81\x82", true);
    value_is(SHOW_CSV, hostile, sizeof(hostile) - 1, SIZE_MAX,
             "a\"\"\\\\\\x0a\\x1b\\xff\\xe2\\x80\\xae\xe3\x81\x82", true);
    value_is(SHOW_TEXT, "\0", 1, SIZE_MAX, "\\x00", true);
    value_is(SHOW_TEXT, "", 0, 0, "", true);
    /* cut: never inside an escape or a character; quotes of the form do not count */
    value_is(SHOW_TEXT, "abcdef", 6, 3, "abc", false);
    value_is(SHOW_TEXT, "abcdef", 6, 6, "abcdef", true);
    value_is(SHOW_TEXT, "ab\n", 3, 5, "ab", false);
    value_is(SHOW_TEXT, "ab\n", 3, 6, "ab\\x0a", true);
    value_is(SHOW_JSON, "a\\b", 3, 3, "a\\\\\\\\", false);
    value_is(SHOW_JSON, "a\"b", 3, 3, "a\\\"b", true);
    value_is(SHOW_TEXT, "\xe3\x81\x82", 3, 2, "", false);
}

/* What stands in a value leads back to the bytes. */
static void values_are_reversible(void **state)
{
    uint64_t x = 88172645463325252u;
    int i;

    (void)state;
    for (i = 0; i < 5000; i++) {
        struct vd_str s = VD_STR_INIT;
        char bytes[64], back[64];
        size_t n, k, out = 0;

        for (k = 0; k < sizeof(bytes); k++) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            bytes[k] = x & 0x100 ? "\\x0a\"\xe2\x80\xae\n"[x % 9] : (char)x;
        }
        n = x >> 58;
        assert_true(show_add_value(&s, SHOW_CSV, bytes, n, SIZE_MAX));
        for (k = 0; k < s.len;) {
            assert_true((unsigned char)s.p[k] >= ' ' && s.p[k] != 0x7f);
            if (s.p[k] == '\\' && s.p[k + 1] == 'x') {
                char hex[3] = {s.p[k + 2], s.p[k + 3], 0};

                back[out++] = (char)strtoul(hex, NULL, 16);
                k += 4;
            } else {
                back[out++] = s.p[k];
                k += s.p[k] == '\\' || s.p[k] == '"' ? 2 : 1;
            }
        }
        assert_int_equal(out, n);
        if (n)
            assert_memory_equal(back, bytes, n);
        vd_str_clear(&s);
    }
}

static void operations(void **state)
{
    struct audit_filter f = {0};
    char buffer[AUDIT_OP_TEXT];

    (void)state;
    assert_int_equal(audit_op_number("read"), AUDIT_READ);
    assert_int_equal(audit_op_number("OP999"), 999);
    assert_int_equal(audit_op_number("OP65536"), 0);
    assert_int_equal(audit_op_number("OP"), 0);
    assert_int_equal(audit_op_number("OP1x"), 0);
    assert_int_equal(audit_op_number("OPEN"), AUDIT_OPEN);
    assert_string_equal(audit_op_text(65535, buffer), "OP65535");
    assert_null(audit_op_name(0));
    assert_null(audit_op_name(60000));
    assert_ok(audit_filter_add_ops(&f, "READ,open,OP999", &err));
    assert_int_equal(f.n_ops, 3);
    assert_int_equal(audit_filter_add_ops(&f, "READ,", &err), -VD_EUSAGE);
    assert_int_equal(audit_filter_add_ops(&f, "FLY", &err), -VD_EUSAGE);
    assert_int_equal(audit_filter_add_ops(&f, "READREADREADREADREADREADREADREADREAD", &err),
                     -VD_EUSAGE);
    while (f.n_ops < AUDIT_FILTER_OPS)
        assert_ok(audit_filter_add_ops(&f, "READ", &err));
    assert_int_equal(audit_filter_add_ops(&f, "READ", &err), -VD_EUSAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns),
        cmocka_unit_test(points_in_time),
        cmocka_unit_test(times_as_text),
        cmocka_unit_test(values),
        cmocka_unit_test(values_are_reversible),
        cmocka_unit_test(operations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
