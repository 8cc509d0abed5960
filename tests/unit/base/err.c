/* SPDX-License-Identifier: Apache-2.0 */
/* The error object: prefixing, cutting, hostile text, and the tables of design section 9. */
#include "testlib.h"

#include "vdiskfs/exit_codes.h"

#include <errno.h>
#include <string.h>

static void test_reads_like_a_path(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    int rc = vd_fail(&err, VD_ECORRUPT, "grain table %d lies past the end", 17);

    (void)state;
    rc = vd_prefix(&err, rc, "extent %d", 3);
    rc = vd_at(&err, vd_prefix(&err, rc, "%s", "a.vmdk"), 4096);
    assert_int_equal(rc, -VD_ECORRUPT);
    assert_int_equal(err.cls, VD_ECORRUPT);
    assert_string_equal(err.msg, "a.vmdk: extent 3: grain table 17 lies past the end");
    assert_true(err.has_offset);
    assert_int_equal(err.offset, 4096);
}

static void test_null_is_allowed(void **state)
{
    (void)state;
    assert_int_equal(vd_fail(NULL, VD_EIO, "x"), -VD_EIO);
    assert_int_equal(vd_prefix(NULL, -VD_EIO, "x"), -VD_EIO);
    assert_int_equal(vd_at(NULL, -VD_EIO, 1), -VD_EIO);
    vd_err_clear(NULL);
}

static void test_hostile_text_is_shown_harmless(void **state)
{
    struct vd_err err = VD_ERR_INIT;

    (void)state;
    (void)vd_fail(&err, VD_ENOENT, "%s: no such file", "a\033[31m\n\xff b");
    assert_string_equal(err.msg, "a\\x1b[31m\\x0a\\xff b: no such file");
}

static void test_long_text_is_cut_not_overrun(void **state)
{
    char longer[3 * VD_ERR_MSG_MAX];
    struct vd_err err = VD_ERR_INIT;
    int rc;

    (void)state;
    memset(longer, '\n', sizeof(longer) - 1); /* each byte becomes four */
    longer[sizeof(longer) - 1] = '\0';
    rc = vd_fail(&err, VD_EIO, "%s", longer);
    assert_true(strlen(err.msg) < VD_ERR_MSG_MAX);
    (void)vd_prefix(&err, rc, "%s", longer);
    assert_true(strlen(err.msg) < VD_ERR_MSG_MAX);
    (void)vd_fail_errno(&err, VD_EIO, EACCES, "%s", longer);
    assert_true(strlen(err.msg) < VD_ERR_MSG_MAX);
}

static void test_errno_is_told(void **state)
{
    struct vd_err err = VD_ERR_INIT;

    (void)state;
    (void)vd_fail_errno(&err, VD_EIO, ENOSPC, "cannot write");
    assert_string_equal(err.msg, "cannot write: No space left on device");
    assert_int_equal(err.host_errno, ENOSPC);
}

static void test_tables(void **state)
{
    (void)state;
    assert_int_equal(vd_class_errno(0), 0);
    assert_int_equal(vd_class_errno(-VD_ECORRUPT), EIO);
    assert_int_equal(vd_class_errno(-VD_ENOENT), ENOENT);
    assert_int_equal(vd_class_errno(-VD_ENOMEM), ENOMEM);
    assert_int_equal(vd_class_errno(-9999), EIO);
    assert_int_equal(vd_class_exit(0), VD_EXIT_OK);
    assert_int_equal(vd_class_exit(-VD_EUSAGE), 1);
    assert_int_equal(vd_class_exit(-VD_ENOTFORMAT), 2);
    assert_int_equal(vd_class_exit(-VD_ECHAIN), 3);
    assert_int_equal(vd_class_exit(-VD_EKEY), 4);
    assert_int_equal(vd_class_exit(-VD_EMOUNT), 5);
    assert_int_equal(vd_class_exit(-VD_EAUDIT), 6);
    assert_int_equal(vd_class_exit(-VD_EDIFF), 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_like_a_path),
        cmocka_unit_test(test_null_is_allowed),
        cmocka_unit_test(test_hostile_text_is_shown_harmless),
        cmocka_unit_test(test_long_text_is_cut_not_overrun),
        cmocka_unit_test(test_errno_is_told),
        cmocka_unit_test(test_tables),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
