/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of /proc/self/mountinfo. */
#include "fuse/mountinfo.h"

#include "testlib.h"

#include <stdlib.h>
#include <string.h>

static void lines(void **state)
{
    static const char good[] = "36 35 0:98 / /mnt\\0402\\134x ro,noatime master:1 shared:2 - "
                               "fuse.vdiskfs /a\\040b ro,user_id=0\n";
    struct vd_err err = VD_ERR_INIT;
    struct mountinfo m;
    size_t cut;

    (void)state;
    assert_ok(mountinfo_decode(good, &m, &err));
    assert_int_equal(m.id, 36);
    assert_int_equal(m.major, 0);
    assert_int_equal(m.minor, 98);
    assert_string_equal(m.path, "/mnt 2\\x");
    assert_string_equal(m.options, "ro,noatime");
    assert_string_equal(m.fstype, "fuse.vdiskfs");
    assert_string_equal(m.super_options, "ro,user_id=0");
    mountinfo_clear(&m);
    assert_ok(mountinfo_decode("1 2 3:4 / /x rw - tmpfs  rw", &m, &err)); /* empty source */
    assert_string_equal(m.super_options, "rw");
    mountinfo_clear(&m);
    for (cut = 0; cut < strlen(good) - strlen("ro,user_id=0\n"); cut++) {
        char *part = strndup(good, cut);

        assert_fails(mountinfo_decode(part, &m, &err), VD_ECORRUPT, "mountinfo");
        free(part);
    }
    assert_fails(mountinfo_decode("4294967296 2 3:4 / /x rw - t s rw", &m, &err), VD_ECORRUPT, "");
    assert_fails(mountinfo_decode("1 2 3-4 / /x rw - t s rw", &m, &err), VD_ECORRUPT, "");
    assert_fails(mountinfo_decode("1 2 3:4 / /x rw master:1 t s rw", &m, &err), VD_ECORRUPT, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
