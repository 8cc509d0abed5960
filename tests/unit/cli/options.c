/* SPDX-License-Identifier: Apache-2.0 */
/* Options of -o: values that are taken, values and names that are refused with the option's name. */
#include "cli/options.h"
#include "testlib.h"

#include <stdio.h>
#include <string.h>

static void takes(void **state)
{
    struct options o = {0};
    struct vd_err err = VD_ERR_INIT;

    (void)state;
    assert_ok(options_parse(&o,
                            "audit=/a\\,b\\\\c,audit_full=block,audit_flush=interval:7,ro,x-a=b",
                            OPTION_MOUNT, &err));
    assert_string_equal(o.audit, "/a,b\\c");
    assert_int_equal(o.audit_full, AUDIT_FULL_BLOCK);
    assert_int_equal(o.audit_flush, AUDIT_FLUSH_INTERVAL);
    assert_int_equal(o.audit_flush_s, 7);
    assert_int_equal(o.n_given, 3); /* generic ones say nothing to us */
    assert_string_equal(o.given[2], "audit_flush=interval:7");
    assert_null(o.given[3]);
    /* The last one counts, also of those with several parts. */
    assert_ok(options_parse(&o, "audit_flush=interval,audit_full=unmount", OPTION_MOUNT, &err));
    assert_int_equal(o.audit_flush_s, 0);
    assert_int_equal(o.audit_full, AUDIT_FULL_UNMOUNT);
    assert_ok(options_parse(&o, "audit_flush=always,audit_full=eio", OPTION_MOUNT, &err));
    assert_int_equal(o.audit_flush, AUDIT_FLUSH_ALWAYS);
    assert_ok(options_parse(&o, "audit_flush=critical", OPTION_MOUNT, &err));
    assert_int_equal(o.audit_flush, AUDIT_FLUSH_CRITICAL);
    assert_string_equal(options_audit_mode(&o), "requests");
    assert_ok(options_parse(&o, "audit_mode=exact,audit_refused", OPTION_MOUNT, &err));
    assert_string_equal(options_audit_mode(&o), "exact+refused");
    assert_ok(options_parse(&o, "anchor_log=minute,anchor_interval=86400,hash_inputs=sha256",
                            OPTION_MOUNT, &err));
    assert_int_equal(o.anchor_log, OPTIONS_ANCHOR_MINUTE);
    assert_int_equal(o.anchor_interval, 86400);
    assert_true(o.hash_inputs);
    assert_ok(options_parse(&o, ",,chain=a.vmdk:b.vmdk,umask=027,threads=3,", OPTION_MOUNT, &err));
    assert_int_equal(o.n_chain, 2);
    assert_string_equal(o.chain[1], "b.vmdk");
    assert_int_equal(o.umask, 027);
    options_clear(&o);
}

static void refuses(void **state)
{
    static const char *const bad[] = {
        "audit_full=ignore",
        "audit_full=",
        "audit_full",
        "audit_flush=never",
        "audit_flush=interval:",
        "audit_flush=interval:0",
        "audit_flush=interval:61",
        "audit_flush=interval:1x",
        "audit_flush=always:1",
        "audit_mode=all",
        "audit_refused=yes",
        "anchor_log=never",
        "anchor_cmd=",
        "anchor_dir=",
        "anchor_interval=0",
        "anchor_timeout=86401",
        "anchor_timeout=-1",
        "hash_inputs=md5",
        "audit_key=",
        "case_file=",
        "chain=",
        "chain=../a",
        "chain=a::b",
        "snapshot=",
        "umask=8",
        "umask=01000",
        "uid=4294967295",
        "threads=0",
        "threads=257",
        "sandbox=on",
        "symlinks=follow",
        "no_such_option",
        "remount",
        "evidence_id=a\nb",
        "Audit=/a",
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct options o = {0};
        struct vd_err err = VD_ERR_INIT;
        char name[64];

        (void)snprintf(name, sizeof(name), "option \"%.*s\"", (int)strcspn(bad[i], "="), bad[i]);
        assert_int_equal(options_parse(&o, bad[i], OPTION_MOUNT, &err), -VD_EUSAGE);
        if (!strstr(err.msg, name))
            fail_msg("%s: the message does not name it: %s", bad[i], err.msg);
        options_clear(&o);
    }
}

/* What only a mount can have is no option of vdiskctl. */
static void scopes(void **state)
{
    struct options o = {0};
    struct vd_err err = VD_ERR_INIT;

    (void)state;
    assert_int_equal(options_parse(&o, "audit_full=eio", OPTION_OPEN, &err), -VD_EUSAGE);
    assert_non_null(strstr(err.msg, "mounting only"));
    assert_int_equal(options_parse(&o, "ro", OPTION_OPEN, &err), -VD_EUSAGE);
    assert_ok(options_parse(&o, "sandbox=off,parent_dir=/x", OPTION_OPEN, &err));
    assert_int_equal(o.n_parent_dir, 1);
    options_clear(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes),
        cmocka_unit_test(refuses),
        cmocka_unit_test(scopes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
