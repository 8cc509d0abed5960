/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VMDK over a failing medium: the n-th read fails, for every n, while opening and while reading.
 * What is delivered is right, what fails says so, and the same instance reads everything as soon as
 * the medium does: no failure is remembered.
 */
#include "vmdk_build.h"

#include "blk/layers.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define COMPRESSED (VB_NEWLINE | VB_COMPRESSED | VB_MARKERS)

static const char descriptor[] = "# Disk DescriptorFile\nversion=1\nCID=12345678\n"
                                 "parentCID=ffffffff\ncreateType=\"monolithicSparse\"\n"
                                 "RW 128 SPARSE \"x.vmdk\"\n";

static const struct vb_spec layouts[] = {
    {.grains = "dd.ddd..d.dddd.d", .descriptor = descriptor},
    {.grains = "dd.ddd..d.dddd.d", .flags = VB_NEWLINE | VB_REDUNDANT, .descriptor = descriptor},
    {.grains = "dd.ddd..d.dddd.d", .flags = COMPRESSED, .version = 3, .descriptor = descriptor},
    {.grains = "dd.ddd..d.dddd.d",
     .flags = COMPRESSED,
     .version = 3,
     .descriptor = descriptor,
     .footer = true},
    {.grains = "ddd", .flags = COMPRESSED, .capacity_sectors = 19, .descriptor = descriptor},
};

#define N_LAYOUTS (sizeof(layouts) / sizeof(layouts[0]))

struct bench {
    struct vb_image v;
    struct blkdev *mem, *fault;
};

static void bench_make(struct bench *b, const struct vb_spec *spec)
{
    struct vd_err err = VD_ERR_INIT;

    vb_make(spec, &b->v);
    assert_ok(blk_mem_new(b->v.p, b->v.len, "x.vmdk", &b->mem, &err));
    assert_ok(blk_fault_new(blk_ref(b->mem), &b->fault, &err));
}

static void bench_free(struct bench *b)
{
    blk_unref(b->fault);
    blk_unref(b->mem);
    vb_free(&b->v);
}

static void fail_nth(struct bench *b, uint64_t n)
{
    const struct blk_fault_rule rule = {.kind = BLK_FAULT_ERROR, .nth = n};

    blk_fault_set(b->fault, &rule);
}

static int open_image(struct bench *b, struct image **out, struct vd_err *err)
{
    return image_open_file(b->fault, &vb_no_files, 0, "x.vmdk", out, err);
}

/* Sector by sector; returns how many failed. */
static uint64_t read_all(struct bench *b, struct blkdev *dev)
{
    struct vd_err err = VD_ERR_INIT;
    uint64_t failed = 0;
    uint8_t sector[512];
    size_t off;

    assert_int_equal(dev->size, b->v.disk_len);
    for (off = 0; off < b->v.disk_len; off += 512) {
        int rc = blk_read(dev, off, sector, 512, &err);

        if (rc == 0)
            assert_memory_equal(sector, b->v.disk + off, 512);
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

            fail_nth(&b, n);
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
        assert_true(n > 3 && n_refused >= 3);
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
            fail_nth(&b, n);
            failed = read_all(&b, image->dev);
            assert_true(failed <= 1); /* the next sector asks again */
            n_struck += failed;
            if (blk_fault_count(b.fault) < n) {
                image_free(image);
                break;
            }
            blk_fault_set(b.fault, NULL);
            assert_int_equal(read_all(&b, image->dev), 0);
            vb_check_reads(image->dev, b.v.disk, b.v.disk_len, 0);
            assert_int_equal(vb_check_map(image->dev, b.v.disk), 0);
            image_free(image);
        }
        assert_true(n_struck > 3);
        bench_free(&b);
    }
}

/* A bad place of the medium costs what lies there, as long as it is bad. */
static void test_bad_place(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < N_LAYOUTS; i++) {
        struct vd_err err = VD_ERR_INIT;
        struct image *image = NULL;
        struct blk_fault_rule rule = {.kind = BLK_FAULT_ERROR, .len = 1};
        struct bench b;

        bench_make(&b, &layouts[i]);
        assert_ok(open_image(&b, &image, &err));
        rule.off = b.v.grain[1] + 20;
        blk_fault_set(b.fault, &rule);
        assert_int_equal(read_all(&b, image->dev), layouts[i].flags & VB_COMPRESSED ? 8 : 1);
        assert_int_equal(read_all(&b, image->dev), layouts[i].flags & VB_COMPRESSED ? 8 : 1);
        blk_fault_set(b.fault, NULL);
        assert_int_equal(read_all(&b, image->dev), 0);
        image_free(image);
        bench_free(&b);
    }
}

/* One copy of a table or directory unreadable from the start: the other one serves. */
static void test_lost_copy(void **state)
{
    int i;

    (void)state;
    for (i = 0; i < 4; i++) {
        struct vd_err err = VD_ERR_INIT;
        struct image *image = NULL;
        struct blk_fault_rule rule = {.kind = BLK_FAULT_ERROR, .len = 4};
        struct bench b;

        bench_make(&b, &layouts[1]);
        rule.off = i == 0 ? b.v.gt[1] : i == 1 ? b.v.rgt[1] : i == 2 ? b.v.gd : b.v.rgd;
        blk_fault_set(b.fault, &rule);
        assert_ok(open_image(&b, &image, &err));
        assert_int_equal(read_all(&b, image->dev), 0);
        assert_true(vb_has_fact(image, VD_FACT_WARNING,
                                i < 2 ? "cannot be read: the other one" : "directories differ"));
        image_free(image);
        bench_free(&b);
    }
}

/* Without a second copy the range of the table is an error, and heals. */
static void test_lost_table(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    struct image *image = NULL;
    struct blk_fault_rule rule = {.kind = BLK_FAULT_ERROR, .len = 4};
    struct blk_extent ext;
    struct bench b;

    (void)state;
    bench_make(&b, &layouts[0]);
    rule.off = b.v.gt[1];
    blk_fault_set(b.fault, &rule);
    assert_ok(open_image(&b, &image, &err));
    assert_int_equal(read_all(&b, image->dev), 4 * 8);
    assert_fails(blk_map(image->dev, 4 * 4096, 1, &ext, &err), VD_EIO, "grain table 1");
    blk_fault_set(b.fault, NULL);
    assert_int_equal(read_all(&b, image->dev), 0);
    image_free(image);
    bench_free(&b);
}

/* A stream whose footer is lost, on a failing medium: what the walk could not see may be lost, nothing
 * is wrong, and the next opening sees all of it. */
static void test_walk(void **state)
{
    struct vb_spec spec = layouts[3];
    uint64_t n, n_partly = 0;
    struct bench b;
    bool once_more = true;

    (void)state;
    spec.interleave = true;
    vb_make(&spec, &b.v);
    memset(b.v.p + b.v.footer - 512, 0, 1024);
    {
        struct vd_err err = VD_ERR_INIT;

        assert_ok(blk_mem_new(b.v.p, b.v.len, "x.vmdk", &b.mem, &err));
        assert_ok(blk_fault_new(blk_ref(b.mem), &b.fault, &err));
    }
    for (n = 1; once_more; n++) {
        struct vd_err err = VD_ERR_INIT;
        struct image *image = NULL;
        uint8_t sector[512];
        uint64_t failed = 0;
        size_t off;
        int rc;

        fail_nth(&b, n);
        rc = open_image(&b, &image, &err);
        once_more = blk_fault_count(b.fault) >= n;
        blk_fault_set(b.fault, NULL);
        if (rc)
            assert_true(rc == -VD_EIO || rc == -VD_ECORRUPT);
        for (off = 0; rc == 0 && off < b.v.disk_len; off += 512)
            if (blk_read(image->dev, off, sector, 512, &err) == 0)
                assert_memory_equal(sector, b.v.disk + off, 512);
            else
                failed++;
        n_partly += failed != 0;
        if (failed)
            assert_true(vb_has_fact(image, VD_FACT_WARNING, "the stream was followed"));
        image_free(image);
        image = NULL;
        assert_ok(open_image(&b, &image, &err));
        assert_int_equal(read_all(&b, image->dev), 0);
        image_free(image);
    }
    assert_true(n > 8 && n_partly > 0);
    bench_free(&b);
}

/* ---- threads ---- */

struct reader {
    struct bench *bench;
    struct blkdev *dev;
    uint64_t seed, n_failed;
    bool wrong;
};

static void *read_anywhere(void *arg)
{
    struct reader *r = arg;
    uint64_t x = r->seed;
    uint8_t buf[9000];
    int i;

    for (i = 0; i < 1500; i++) {
        size_t off, n;

        x = x * UINT64_C(6364136223846793005) + 1442695040888963407u;
        off = (size_t)(x >> 33) % (r->bench->v.disk_len - 1);
        n = 1 + (size_t)(x >> 20) % sizeof(buf);
        if (n > r->bench->v.disk_len - off)
            n = r->bench->v.disk_len - off;
        if (blk_read(r->dev, off, buf, n, NULL))
            r->n_failed++;
        else if (memcmp(buf, r->bench->v.disk + off, n) != 0)
            r->wrong = true;
    }
    return NULL;
}

static void test_threads(void **state)
{
    size_t i, k;

    (void)state;
    for (i = 0; i < N_LAYOUTS; i++) {
        struct vd_err err = VD_ERR_INIT;
        struct image *image = NULL;
        struct reader readers[4];
        pthread_t thread[4];
        struct bench b;

        bench_make(&b, &layouts[i]);
        assert_ok(open_image(&b, &image, &err));
        for (k = 0; k < 4; k++) {
            readers[k] = (struct reader){.bench = &b, .dev = image->dev, .seed = k + 1};
            assert_int_equal(pthread_create(&thread[k], NULL, read_anywhere, &readers[k]), 0);
        }
        for (k = 0; k < 200; k++)
            fail_nth(&b, k % 2 ? 1 : 3);
        blk_fault_set(b.fault, NULL);
        for (k = 0; k < 4; k++) {
            pthread_join(thread[k], NULL);
            assert_false(readers[k].wrong);
        }
        assert_int_equal(read_all(&b, image->dev), 0);
        image_free(image);
        bench_free(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open),       cmocka_unit_test(test_read),
        cmocka_unit_test(test_bad_place),  cmocka_unit_test(test_lost_copy),
        cmocka_unit_test(test_lost_table), cmocka_unit_test(test_walk),
        cmocka_unit_test(test_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
