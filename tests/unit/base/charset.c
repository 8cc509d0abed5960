/* SPDX-License-Identifier: Apache-2.0 */
/* Encodings: the bytes of the standards, by all their names, and what is refused. */
#include "base/charset.h"
#include "testlib.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *charset, *text, *utf8;
} cases[] = {
    {"Shift_JIS", "\x83\x5c\xb1", "\xe3\x82\xbd\xef\xbd\xb1"},
    {"windows-932", "\x81\x5f", "\xef\xbc\xbc"},
    {"GBK", "\xd6\xd0", "\xe4\xb8\xad"},
    {"gb18030", "\x81\x30\x81\x30", "\xc2\x80"},
    {"Big5", "\xa4\xa4", "\xe4\xb8\xad"},
    {"EUC-KR", "\xb0\xa1", "\xea\xb0\x80"},
    {"windows-949", "\x81\x41", "\xea\xb0\x82"},
    {"windows-1252", "\x80", "\xe2\x82\xac"},
    {"WINDOWS-1251", "\xc0", "\xd0\x90"},
    {"windows-1258", "a\xcc",
     "\xc3\xa0"}, /* two bytes, one character; nothing may be left inside */
    {"ISO-8859-1", "\xe9", "\xc3\xa9"},
    {"koi8-r", "\xe1", "\xd0\x90"},
    {"windows-1252", "plain \\ ascii", "plain \\ ascii"},
    {"Shift_JIS", "a\\b", "a\\b"},
    {"windows-1252", "", ""},
};

static void test_convert(void **state)
{
    size_t i;

    (void)state;
    vd_charset_load();
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct vd_err err = VD_ERR_INIT;
        char *out = NULL;

        assert_ok(vd_charset_to_utf8(cases[i].charset, cases[i].text, &out, &err));
        assert_string_equal(out, cases[i].utf8);
        free(out);
    }
}

static void test_refused(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    char *out = NULL;

    (void)state;
    assert_fails(vd_charset_to_utf8("ISO-2022-CN-EXT", "x", &out, &err), VD_EUNSUPPORTED, "known");
    assert_fails(vd_charset_to_utf8("UTF-7", "x", &out, &err), VD_EUNSUPPORTED, "known");
    assert_fails(vd_charset_to_utf8("", "x", &out, &err), VD_EUNSUPPORTED, "known");
    assert_fails(vd_charset_to_utf8("gbk windows-936", "x", &out, &err), VD_EUNSUPPORTED, "known");
    assert_fails(vd_charset_to_utf8("GBK", "\x81", &out, &err), VD_ECORRUPT, "not GBK");
    assert_fails(vd_charset_to_utf8("Shift_JIS", "a\xff", &out, &err), VD_ECORRUPT, "Shift_JIS");
    assert_ok(
        vd_charset_to_utf8("GBK", "\xd6\xd0", &out, &err)); /* a failure leaves nothing behind */
    assert_string_equal(out, "\xe4\xb8\xad");
    free(out);
}

static void test_lead(void **state)
{
    (void)state;
    assert_true(vd_charset_is_lead("Shift_JIS", 0x83));
    assert_false(vd_charset_is_lead("Shift_JIS", 0xb1)); /* half-width kana: one byte */
    assert_true(vd_charset_is_lead("windows-936", 0xb1));
    assert_true(vd_charset_is_lead("Big5", 0xfe));
    assert_false(vd_charset_is_lead("Big5", 0x5c));
    assert_false(vd_charset_is_lead("UTF-8", 0x83));
    assert_false(vd_charset_is_lead("windows-1252", 0x83));
    assert_true(vd_charset_is_utf8("utf-8") && vd_charset_is_utf8("") &&
                vd_charset_is_utf8("US-ASCII"));
    assert_false(vd_charset_is_utf8("utf-16") || vd_charset_is_utf8("GBK"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_convert),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_lead),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
