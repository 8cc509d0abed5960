/* SPDX-License-Identifier: Apache-2.0 */
/*
 * COWD and seSparse over a failing medium: the n-th read fails, for every n, while opening, reading and
 * checking.  What is delivered is right, what fails says so, and the same instance reads everything as soon
 * as the medium does: no failure is remembered.
 */
#include "esx_build.h"

#include "blk/layers.h"

#include <stdlib.h>
#include <string.h>

struct bench {
    struct wr_spec spec;
    struct wr_dir dir;
    struct eb_want want;
    struct blkdev *mem, *fault;
};

static const struct wr_run runs[] = {{.off = 0, .len = 8192, .state = WR_DATA, .seed = 1},
                                     {.off = 20480, .len = 4096, .state = WR_ZEROS},
                                     {.off = 28672, .len = 4096, .state = WR_UNMAPPED},
                                     {.off = 65536, .len = 12288, .state = WR_DATA, .seed = 2},
                                     {.off = 2 << 20, .len = 8192, .state = WR_DATA, .seed = 3}};

static const struct wr_spec layouts[] = {
    {.kind = WR_VMDK_COWD,
     .name = "x.vmdk",
     .id = 1,
     .size = (2 << 20) + 65536,
     .unit = 512,
     .runs = runs,
     .n_runs = 5},
    {.kind = WR_VMDK_COWD,
     .name = "x.vmdk",
     .id = 1,
     .size = (2 << 20) + 65536,
     .unit = 4096,
     .runs = runs,
     .n_runs = 5},
    {.kind = WR_VMDK_SESPARSE,
     .name = "x.vmdk",
     .id = 1,
     .size = (2 << 20) + 65536,
     .unit = 4096,
     .runs = runs,
     .n_runs = 5},
};

#define N_LAYOUTS (sizeof(layouts) / sizeof(layouts[0]))

static const struct wr_file *extent_of(const struct bench *b)
{
    return wr_file_named(&b->dir,
                         b->spec.kind == WR_VMDK_COWD ? "x-delta.vmdk" : "x-sesparse.vmdk");
}

static void bench_make(struct bench *b, const struct wr_spec *spec)
{
    struct vd_err err = VD_ERR_INIT;
    const struct wr_file *f;

    memset(b, 0, sizeof(*b));
    b->spec = *spec;
    wr_build(&b->spec, &b->dir);
    eb_want(&b->spec, &b->want);
    f = extent_of(b);
    assert_ok(blk_mem_new(f->bytes, f->len, f->name, &b->mem, &err));
    assert_ok(blk_fault_new(blk_ref(b->mem), &b->fault, &err));
}

static void bench_free(struct bench *b)
{
    blk_unref(b->fault);
    blk_unref(b->mem);
    eb_want_free(&b->want);
    wr_dir_clear(&b->dir);
}

static void fail_nth(struct bench *b, uint64_t n, bool persistent)
{
    const struct blk_fault_rule rule = {
        .kind = BLK_FAULT_ERROR, .nth = n, .persistent = persistent};

    blk_fault_set(b->fault, &rule);
}

static int open_image(struct bench *b, struct image **out, struct vd_err *err)
{
    struct blk_source source = {0};

    wr_source(&b->dir, &source);
    return image_open_file(b->fault, &source, 0, extent_of(b)->name, out, err);
}

/* In pieces; returns how many failed. */
static uint64_t read_all(struct bench *b, struct blkdev *dev)
{
    struct vd_err err = VD_ERR_INIT;
    uint64_t failed = 0, off;
    uint8_t buf[4096];

    assert_int_equal(dev->size, b->want.size);
    for (off = 0; off < b->want.size; off += sizeof(buf)) {
        int rc = blk_read(dev, off, buf, sizeof(buf), &err);

        if (rc == 0)
            assert_memory_equal(buf, b->want.bytes + off, sizeof(buf));
        else
            assert_true(rc == -VD_EIO && err.has_offset &&
                        test_contains(err.msg, "injected fault"));
        failed += rc != 0;
    }
    return failed;
}

static void test_open(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < N_LAYOUTS; i++) {
        uint64_t n, n_refused = 0;
        struct bench b;

        bench_make(&b, &layouts[i]);
        for (n = 1;; n++) {
            struct vd_err err = VD_ERR_INIT;
            struct image *image = NULL;
            uint64_t n_reads;
            int rc;

            fail_nth(&b, n, false);
            rc = open_image(&b, &image, &err);
            n_reads = blk_fault_count(b.fault);
            blk_fault_set(b.fault, NULL);
            if (rc) {
                assert_int_equal(rc, -VD_EIO);
                assert_true(test_contains(err.msg, "injected fault"));
                assert_ok(open_image(&b, &image, &err));
                n_refused++;
            }
            assert_int_equal(read_all(&b, image->dev), 0);
            image_free(image);
            if (n_reads < n) /* opening needs fewer reads */
                break;
        }
        if (n < 5 || n_refused < 2)
            fail_msg("layout %zu: %llu reads, %llu refusals", i, (unsigned long long)n,
                     (unsigned long long)n_refused);
        bench_free(&b);
    }
}

/* From the n-th on everything fails while opening, then the medium heals. */
static void test_open_persistent(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < N_LAYOUTS; i++) {
        uint64_t n;
        struct bench b;

        bench_make(&b, &layouts[i]);
        for (n = 1; n < 12; n++) {
            struct vd_err err = VD_ERR_INIT;
            struct image *image = NULL;
            int rc;

            fail_nth(&b, n, true);
            rc = open_image(&b, &image, &err);
            blk_fault_set(b.fault, NULL);
            if (rc)
                assert_int_equal(rc, -VD_EIO);
            else
                assert_int_equal(read_all(&b, image->dev), 0);
            image_free(image);
        }
        bench_free(&b);
    }
}

static void test_read(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < N_LAYOUTS; i++) {
        uint64_t n, n_struck = 0;
        struct bench b;

        bench_make(&b, &layouts[i]);
        for (n = 1;; n++) {
            struct vd_err err = VD_ERR_INIT;
            struct image *image = NULL;
            uint64_t failed;

            assert_ok(open_image(&b, &image, &err));
            fail_nth(&b, n, false);
            failed = read_all(&b, image->dev);
            assert_true(failed <= 1); /* the next piece asks again */
            n_struck += failed;
            if (blk_fault_count(b.fault) < n) {
                image_free(image);
                break;
            }
            blk_fault_set(b.fault, NULL);
            assert_int_equal(read_all(&b, image->dev), 0);
            eb_check(image->dev, &b.want);
            image_free(image);
        }
        assert_true(n_struck > 3);
        bench_free(&b);
    }
}

/* A table that cannot be read costs its range, and heals. */
static void test_lost_table(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < N_LAYOUTS; i++) {
        struct vd_err err = VD_ERR_INIT;
        struct image *image = NULL;
        struct blk_fault_rule rule = {.kind = BLK_FAULT_ERROR, .len = 4};
        const struct wr_mark *table;
        struct blk_extent ext;
        struct bench b;

        bench_make(&b, &layouts[i]);
        table = wr_mark_named(extent_of(&b), "gt", 0);
        rule.off = table->off;
        blk_fault_set(b.fault, &rule);
        assert_ok(open_image(&b, &image, &err));
        assert_int_equal(read_all(&b, image->dev), table->disk_len / 4096);
        assert_fails(blk_map(image->dev, 0, 1, &ext, &err), VD_EIO, "grain table 0");
        blk_fault_set(b.fault, NULL);
        assert_int_equal(read_all(&b, image->dev), 0);
        image_free(image);
        bench_free(&b);
    }
}

/* ---- the check ---- */

static void on_finding(void *ctx, enum check_level level, const char *id, const char *file,
                       const struct check_place *place, const char *text)
{
    unsigned *n = ctx;

    (void)id;
    (void)file;
    (void)place;
    (void)text;
    *n += level == CHECK_ERROR;
}

static void on_count(void *ctx, const char *file, const char *what, uint64_t n)
{
    (void)ctx;
    (void)file;
    (void)what;
    (void)n;
}

/* What the check cannot read is an error that it reports, and no end of the check. */
static void test_check(void **state)
{
    unsigned n_errors = 0;
    const struct check check = {on_finding, on_count, &n_errors};
    struct vd_err err = VD_ERR_INIT;
    struct image *image = NULL;
    unsigned n_struck = 0;
    struct bench b;
    uint64_t n;

    (void)state;
    bench_make(&b, &layouts[2]);
    assert_ok(open_image(&b, &image, &err));
    assert_ok(blk_check(image->dev, &check, &err));
    assert_int_equal(n_errors, 0);
    for (n = 1;; n++) {
        n_errors = 0;
        fail_nth(&b, n, true);
        assert_ok(blk_check(image->dev, &check, &err));
        if (blk_fault_count(b.fault) < n)
            break;
        n_struck += n_errors > 0;
    }
    assert_true(n_struck > 0);
    blk_fault_set(b.fault, NULL);
    assert_int_equal(read_all(&b, image->dev), 0);
    image_free(image);
    bench_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open),  cmocka_unit_test(test_open_persistent),
        cmocka_unit_test(test_read),  cmocka_unit_test(test_lost_table),
        cmocka_unit_test(test_check),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
