/* SPDX-License-Identifier: Apache-2.0 */
/* The two tables: files the worker holds, files the supervisor has logged. */
#include "proc/opened.h"
#include "proc/seen.h"

#include "base/limits.h"
#include "blk/layers.h"
#include "testlib.h"

#include <stdio.h>
#include <string.h>

static struct blkdev *a_file(void)
{
    struct vd_err err = VD_ERR_INIT;
    struct blkdev *dev = NULL;

    assert_ok(blk_mem_new("0123", 4, "mem", &dev, &err));
    return dev;
}

static void found_by_name_and_id(void **state)
{
    const struct evidence_id a = {.dev = 1, .ino = 2}, b = {.dev = 2, .ino = 1};
    struct vd_err err = VD_ERR_INIT;
    struct opened o = {0};
    struct blkdev *one = a_file(), *two = a_file();

    (void)state;
    assert_ok(opened_add(&o, 0, "one", &a, one, &err));
    assert_ok(opened_add(&o, 1, "one", &b, two, &err));
    assert_ptr_equal(opened_by_name(&o, 0, "one"), one);
    assert_ptr_equal(opened_by_name(&o, 1, "one"), two);
    assert_null(opened_by_name(&o, 2, "one"));
    assert_null(opened_by_name(&o, 0, "two"));
    assert_ptr_equal(opened_by_id(&o, &a), one);
    assert_ptr_equal(opened_by_id(&o, &b), two);
    assert_null(opened_by_id(&o, &(struct evidence_id){.dev = 1, .ino = 1}));
    blk_unref(one);
    assert_int_equal(opened_prune(&o), 1); /* only the table held it */
    assert_null(opened_by_name(&o, 0, "one"));
    assert_ptr_equal(opened_by_name(&o, 1, "one"), two);
    opened_clear(&o);
    assert_int_equal(atomic_load(&two->refs), 1);
    blk_unref(two);
}

/* Ten thousand files that were only looked at do not stay open; one in use does. */
static void unused_files_are_closed(void **state)
{
    struct evidence_id id = {.dev = 1, .ino = 1};
    struct vd_err err = VD_ERR_INIT;
    struct opened o = {0};
    struct blkdev *used = a_file();
    unsigned i;

    (void)state;
    assert_ok(opened_add(&o, 0, "used", &id, used, &err));
    for (i = 0; i < 10000; i++) {
        struct blkdev *dev = a_file();
        char name[16];

        id.ino++;
        (void)snprintf(name, sizeof(name), "%u", i);
        assert_ok(opened_add(&o, 0, name, &id, dev, &err));
        blk_unref(dev);
        assert_true(o.n <= 1025);
    }
    assert_ptr_equal(opened_by_name(&o, 0, "used"), used);
    assert_non_null(opened_by_name(&o, 0, "9999"));
    opened_clear(&o);
    blk_unref(used);
}

static void seen_once(void **state)
{
    struct evidence_id id = {.dev = 5, .ino = 6, .size = 7, .mtime_sec = 8};
    struct vd_err err = VD_ERR_INIT;
    enum seen_answer answer;
    struct seen s = {0};

    (void)state;
    assert_ok(seen_add(&s, &id, &answer, &err));
    assert_int_equal(answer, SEEN_NEW);
    assert_ok(seen_add(&s, &id, &answer, &err));
    assert_int_equal(answer, SEEN_SAME);
    id.mtime_nsec = 1;
    assert_ok(seen_add(&s, &id, &answer, &err));
    assert_int_equal(answer, SEEN_CHANGED);
    assert_ok(seen_add(&s, &id, &answer, &err));
    assert_int_equal(answer, SEEN_SAME);
    id.dev = 6;
    assert_ok(seen_add(&s, &id, &answer, &err));
    assert_int_equal(answer, SEEN_NEW);
    seen_clear(&s);
}

static void seen_is_bounded(void **state)
{
    struct evidence_id id = {.dev = 5};
    struct vd_err err = VD_ERR_INIT;
    enum seen_answer answer;
    struct seen s = {0};

    (void)state;
    for (id.ino = 0; id.ino < VD_MAX_EVIDENCE; id.ino++) {
        assert_ok(seen_add(&s, &id, &answer, &err));
        assert_int_equal(answer, SEEN_NEW);
    }
    assert_fails(seen_add(&s, &id, &answer, &err), VD_ELIMIT, "65536");
    for (id.ino = 0; id.ino < VD_MAX_EVIDENCE; id.ino++) {
        assert_ok(seen_add(&s, &id, &answer, &err));
        assert_int_equal(answer, SEEN_SAME);
    }
    seen_clear(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(found_by_name_and_id),
        cmocka_unit_test(unused_files_are_closed),
        cmocka_unit_test(seen_once),
        cmocka_unit_test(seen_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
