/* SPDX-License-Identifier: Apache-2.0 */
/* What the VHDX files of a chain may take together: memory for replayed logs, and a look at their
 * tables while opening. */
#include "blk/blkdev.h"
#include "image/image.h"
#include "testlib.h"
#include "writers.h"

#include <stdlib.h>
#include <string.h>

#define SIZE (8u << 20)

static const struct wr_run runs[] = {{.off = 1 << 20, .len = 2 << 20, .state = WR_DATA, .seed = 4}};

/* Opens a file whose log replays all of its structures; `share` is what the chain has left. */
static int open_dirty(struct blk_share *share, struct wr_dir *dir, struct image **out,
                      struct vd_err *err)
{
    const struct wr_spec spec = {.kind = WR_VHDX_DYNAMIC,
                                 .name = "dirty.vhdx",
                                 .size = SIZE,
                                 .id = 1,
                                 .runs = runs,
                                 .n_runs = 1,
                                 .knobs = {.log = WR_LOG_ALL}};
    struct blk_source source;

    wr_build(&spec, dir);
    wr_source(dir, &source);
    source.share = share;
    return image_open(&source, 0, "dirty.vhdx", out, err);
}

static bool has_fact(const struct image *image, const char *key)
{
    size_t i;

    for (i = 0; i < image->facts.n; i++)
        if (strcmp(image->facts.v[i].key, key) == 0)
            return true;
    return false;
}

static void expect_right(const struct image *image)
{
    uint8_t *got = malloc(SIZE), sector[512];
    struct vd_err err = VD_ERR_INIT;
    uint64_t off;

    assert_non_null(got);
    assert_ok(blk_read(image->dev, 0, got, SIZE, &err));
    for (off = 0; off < SIZE; off += 512) {
        memset(sector, 0, sizeof(sector));
        if (off >= runs[0].off && off - runs[0].off < runs[0].len)
            wr_pattern(runs[0].seed, off / 512, sector);
        assert_memory_equal(got + off, sector, 512);
    }
    free(got);
}

static void logs_share_the_memory_of_the_chain(void **state)
{
    struct blk_share share = {.check_left = 1 << 20, .log_left = 1 << 20};
    struct vd_err err = VD_ERR_INIT;
    struct image *image = NULL;
    struct wr_dir dir = {0};
    uint64_t used;

    (void)state;
    assert_ok(open_dirty(&share, &dir, &image, &err));
    expect_right(image);
    image_free(image);
    wr_dir_clear(&dir);
    used = (1 << 20) - share.log_left;
    assert_true(used >= 4096); /* a sector of data at least */

    share = (struct blk_share){.check_left = 1 << 20, .log_left = used - 1};
    assert_fails(open_dirty(&share, &dir, &image, &err), VD_ELIMIT,
                 "bytes to be kept in memory; together with the logs of the chain's other members");
    assert_int_equal(share.log_left, used - 1);
    wr_dir_clear(&dir);

    share = (struct blk_share){.check_left = 1 << 20, .log_left = used};
    assert_ok(open_dirty(&share, &dir, &image, &err));
    assert_int_equal(share.log_left, 0);
    expect_right(image);
    image_free(image);
    wr_dir_clear(&dir);
}

static void tables_share_the_look_of_the_chain(void **state)
{
    struct blk_share share = {.check_left = 8 * 8, .log_left = 1 << 20}; /* eight blocks of 1 MiB */
    struct vd_err err = VD_ERR_INIT;
    struct image *image = NULL;
    struct wr_dir dir = {0};

    (void)state;
    assert_ok(open_dirty(&share, &dir, &image, &err));
    assert_int_equal(share.check_left, 0);
    assert_false(has_fact(image, "table_check"));
    assert_true(has_fact(image, "allocated_blocks"));
    image_free(image);
    wr_dir_clear(&dir);

    share.check_left = 8 * 8 - 1;
    assert_ok(open_dirty(&share, &dir, &image, &err));
    assert_int_equal(share.check_left, 8 * 8 - 1);
    assert_true(has_fact(image, "table_check"));
    expect_right(image);
    image_free(image);
    wr_dir_clear(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logs_share_the_memory_of_the_chain),
        cmocka_unit_test(tables_share_the_look_of_the_chain),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
