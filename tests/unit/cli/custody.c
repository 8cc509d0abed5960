/* SPDX-License-Identifier: Apache-2.0 */
/* The case file, line by line; options before and after it. */
#include "cli/custody.h"
#include "cli/options.h"
#include "testlib.h"

#include <string.h>

static int decode(struct custody *c, const char *text, struct vd_err *err)
{
    return custody_decode(c, "case", text, strlen(text), err);
}

static void reads(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    struct custody c = {0};

    (void)state;
    assert_ok(decode(&c,
                     "\xef\xbb\xbf# comment\n\n \t\n  # another\n examiner =  A = B \r\n"
                     "location=x",
                     &err));
    assert_string_equal(c.v[CUSTODY_EXAMINER], "A = B");
    assert_string_equal(c.v[CUSTODY_LOCATION], "x");
    assert_null(c.v[CUSTODY_CASE_ID]);
    custody_clear(&c);
    assert_null(c.v[CUSTODY_EXAMINER]);
    assert_ok(decode(&c, "", &err));
    assert_ok(decode(&c, "\n\n\n", &err));
    custody_clear(&c);
}

static void refuses(void **state)
{
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"x", "case, line 1: not of the form"},
        {"\n=1\n", "case, line 2: unknown name \"\""},
        {"Examiner = 1", "unknown name \"Examiner\""},
        {"examiner = 1\nexaminer = 1\n", "case, line 2: examiner is there twice"},
        {"examiner =", "examiner has no value"},
        {"examiner = \xc3", "not UTF-8 (byte 1)"},
        {"examiner = a\xed\xa0\x80", "not UTF-8 (byte 2)"},
        {"examiner = a\tb", "control character (byte 2)"},
        {"examiner = \xc2\x85x", "control character (byte 1)"},
    };
    struct vd_err err = VD_ERR_INIT;
    struct custody c = {0};
    char text[CUSTODY_MAX_VALUE + 20];
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_fails(decode(&c, bad[i].text, &err), VD_EUSAGE, bad[i].message);
        custody_clear(&c);
    }
    memset(text, 'a', sizeof(text));
    memcpy(text, "purpose=", 8);
    text[8 + CUSTODY_MAX_VALUE] = '\0';
    assert_ok(decode(&c, text, &err));
    custody_clear(&c);
    text[8 + CUSTODY_MAX_VALUE] = 'a';
    text[8 + CUSTODY_MAX_VALUE + 1] = '\0';
    assert_fails(decode(&c, text, &err), VD_EUSAGE, "longer than 1024");
    custody_clear(&c);
}

/* An option and the file: equal is right, different is an error, whichever came first. */
static void with_options(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    struct options o = {0};

    (void)state;
    assert_ok(options_parse(&o, "examiner=A,case_id=1", OPTION_MOUNT, &err));
    assert_ok(decode(&o.custody, "examiner = A\nwitness = W\n", &err));
    assert_string_equal(o.custody.v[CUSTODY_WITNESS], "W");
    assert_fails(decode(&o.custody, "case_id = 2\n", &err), VD_EUSAGE,
                 "case_id is not what the option of that name says (\"1\")");
    assert_ok(options_complete(&o, &err));
    assert_string_equal(o.custody.v[CUSTODY_CHANGES], "none");
    options_clear(&o);
    assert_ok(options_parse(&o, "changes=x", OPTION_MOUNT, &err));
    assert_ok(options_complete(&o, &err));
    assert_string_equal(o.custody.v[CUSTODY_CHANGES], "x");
    options_clear(&o);
    assert_fails(options_parse(&o, "examiner=", OPTION_MOUNT, &err), VD_EUSAGE, "an empty value");
    options_clear(&o);
    assert_fails(options_parse(&o, "examiner=\xff", OPTION_MOUNT, &err), VD_EUSAGE, "not UTF-8");
    options_clear(&o);
    assert_ok(options_parse(&o, "case_file=/nonexistent/x", OPTION_MOUNT, &err));
    assert_fails(options_complete(&o, &err), VD_EUSAGE, "option \"case_file\": /nonexistent/x");
    options_clear(&o);
}

static void anchor_options(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    struct options o = {0};

    (void)state;
    assert_ok(options_parse(
        &o, "anchor_cmd=a\\,b -x,anchor_interval=5,anchor_timeout=86400,anchor_log=minute",
        OPTION_MOUNT, &err));
    assert_string_equal(o.anchor_cmd, "a,b -x");
    assert_int_equal(o.anchor_interval, 5);
    assert_int_equal(o.anchor_timeout, 86400);
    assert_int_equal(o.anchor_log, OPTIONS_ANCHOR_MINUTE);
    assert_fails(options_parse(&o, "anchor_timeout=0", OPTION_MOUNT, &err), VD_EUSAGE,
                 "at least 1");
    assert_fails(options_parse(&o, "anchor_timeout=86401", OPTION_MOUNT, &err), VD_EUSAGE, "86400");
    assert_fails(options_parse(&o, "anchor_log=no", OPTION_MOUNT, &err), VD_EUSAGE,
                 "none of every");
    assert_fails(options_parse(&o, "anchor_cmd=", OPTION_MOUNT, &err), VD_EUSAGE, "empty");
    assert_fails(options_parse(&o, "anchor_dir=", OPTION_MOUNT, &err), VD_EUSAGE, "empty");
    assert_fails(options_parse(&o, "audit_key=", OPTION_MOUNT, &err), VD_EUSAGE, "empty");
    assert_fails(options_parse(&o, "anchor_cmd=x", OPTION_OPEN, &err), VD_EUSAGE, "mounting only");
    options_clear(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads),
        cmocka_unit_test(refuses),
        cmocka_unit_test(with_options),
        cmocka_unit_test(anchor_options),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
