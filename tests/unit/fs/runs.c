/* SPDX-License-Identifier: Apache-2.0 */
/* Run tables: order, joining, holes, reads across kinds, first bad offsets. */
#include "testlib.h"

#include "blk/layers.h"
#include "fs/content.h"

#include <string.h>

static struct vd_err err;

static struct blkdev *volume(size_t len)
{
    uint8_t bytes[4096];
    struct blkdev *dev = NULL;

    test_fill(bytes, sizeof(bytes), 7);
    assert_ok(blk_mem_new(bytes, len, "mem", &dev, &err));
    return dev;
}

static void joins_and_finds(void **state)
{
    struct fs_runs runs = {0};
    struct fs_run run;

    (void)state;
    assert_ok(fs_runs_add_data(&runs, 4096, 0, 100, 1000, &err));
    assert_ok(fs_runs_add_data(&runs, 4096, 100, 100, 1100, &err));
    assert_int_equal(runs.n, 1);
    assert_ok(fs_runs_add_data(&runs, 4096, 300, 100, 1200, &err));
    assert_int_equal(runs.n, 2);
    fs_runs_at(&runs, 150, 1000, &run);
    assert_int_equal(run.kind, FS_RUN_DATA);
    assert_int_equal(run.len, 50);
    assert_int_equal(run.dev_off, 1150);
    fs_runs_at(&runs, 250, 1000, &run);
    assert_int_equal(run.kind, FS_RUN_BAD);
    assert_int_equal(run.len, 50);
    runs.holes_are_zeros = true;
    fs_runs_at(&runs, 400, 77, &run);
    assert_int_equal(run.kind, FS_RUN_ZEROS);
    assert_int_equal(run.len, 77);
    fs_runs_clear(&runs);
}

static void refuses_overlap_and_wrap(void **state)
{
    struct fs_runs runs = {0};
    struct fs_run wrap = {.off = UINT64_MAX - 5, .len = 10, .kind = FS_RUN_ZEROS};

    (void)state;
    assert_ok(fs_runs_add_data(&runs, 4096, 100, 100, 0, &err));
    assert_fails(fs_runs_add_data(&runs, 4096, 150, 10, 500, &err), VD_ECORRUPT, "two runs");
    assert_fails(fs_runs_add(&runs, &wrap, &err), VD_ECORRUPT, "out of range");
    fs_runs_clear(&runs);
}

static void past_the_volume_is_bad(void **state)
{
    struct blkdev *vol = volume(1000);
    struct fs_runs runs = {0};
    uint8_t buf[400];

    (void)state;
    assert_ok(fs_runs_add_data(&runs, vol->size, 0, 400, 800, &err));
    assert_ok(fs_runs_read(&runs, vol, 0, buf, 200, &err));
    assert_fails(fs_runs_read(&runs, vol, 50, buf, 300, &err), VD_ECORRUPT, "past the end");
    assert_true(err.has_offset);
    assert_int_equal(err.offset, 200);
    fs_runs_clear(&runs);
    blk_unref(vol);
}

static void error_offset_is_in_the_content(void **state)
{
    struct blk_fault_rule rule = {.kind = BLK_FAULT_ERROR, .off = 1234, .len = 1};
    struct blkdev *vol = volume(4096), *fault = NULL;
    struct fs_runs runs = {0};
    uint8_t buf[512];

    (void)state;
    assert_ok(blk_fault_new(vol, &fault, &err));
    blk_fault_set(fault, &rule);
    assert_ok(fs_runs_add_data(&runs, 4096, 0, 100, 0, &err));
    assert_ok(fs_runs_add_data(&runs, 4096, 100, 400, 1100, &err));
    assert_fails(fs_runs_read(&runs, fault, 0, buf, 500, &err), VD_EIO, "");
    assert_int_equal(err.offset, 100 + (1234 - 1100));
    fs_runs_clear(&runs);
    blk_unref(fault);
}

static void content_clamps_and_zeroes(void **state)
{
    struct fs_content c = {.size = 300, .init = 150};
    struct blkdev *vol = volume(4096);
    uint8_t buf[512], want[4096];
    size_t n = 99, i;

    (void)state;
    test_fill(want, sizeof(want), 7);
    assert_ok(fs_runs_add_data(&c.runs, 4096, 0, 512, 1024, &err));
    memset(buf, 0xff, sizeof(buf));
    assert_ok(fs_content_read(&c, vol, 100, buf, 512, &n, &err));
    assert_int_equal(n, 200);
    assert_memory_equal(buf, want + 1124, 50);
    for (i = 50; i < 200; i++)
        assert_int_equal(buf[i], 0);
    assert_int_equal(buf[200], 0xff);
    assert_ok(fs_content_read(&c, vol, 300, buf, 512, &n, &err));
    assert_int_equal(n, 0);
    fs_runs_clear(&c.runs);
    blk_unref(vol);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(joins_and_finds),
        cmocka_unit_test(refuses_overlap_and_wrap),
        cmocka_unit_test(past_the_volume_is_bad),
        cmocka_unit_test(error_offset_is_in_the_content),
        cmocka_unit_test(content_clamps_and_zeroes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
