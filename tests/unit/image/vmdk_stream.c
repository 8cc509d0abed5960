/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams without their footer: cut anywhere, emptied from anywhere, with markers and tables that
 * contradict each other.  What is read is right, what may have been lost is an error, and what is
 * proved absent reads as zeros.
 */
#include "vmdk_build.h"

#include "base/bytes.h"
#include "blk/layers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STREAM (VB_NEWLINE | VB_COMPRESSED | VB_MARKERS)
#define GRAIN  4096u

static const struct vb_spec specs[] = {
    {.grains = "dd.d..d.....dddd.d", .version = 3, .flags = STREAM, .footer = true},
    {.grains = "dd.d..d.....dddd.d",
     .version = 3,
     .flags = STREAM,
     .footer = true,
     .interleave = true,
     .sparse_tables = true},
    {.grains = "d..d....ddddd", /* the last grain and the last table are short */
     .capacity_sectors = 12 * 8 + 3,
     .version = 3,
     .flags = STREAM,
     .footer = true,
     .interleave = true},
};

#define N_SPECS (sizeof(specs) / sizeof(specs[0]))

struct seen {
    bool refused;
    uint64_t bad_data, bad_absent; /* sectors that fail, of grains that exist and that do not */
};

/* First and last sector of every grain: right, or an error that says so.  The map tells the same. */
static struct seen look(const struct vb_spec *spec, const struct vb_image *v, const uint8_t *p,
                        size_t len, const char *fact)
{
    struct vd_err err = VD_ERR_INIT;
    struct image *image = NULL;
    struct seen seen = {0};
    uint8_t sector[512];
    size_t off;
    int rc = vb_open(p, len, "x.vmdk", &image, &err);

    if (rc) {
        assert_int_equal(rc, -VD_ECORRUPT);
        seen.refused = true;
        return seen;
    }
    if (fact && !vb_has_fact(image, VD_FACT_WARNING, fact))
        fail_msg("not said: %s", fact);
    assert_int_equal(image->dev->size, v->disk_len);
    for (off = 0; off < v->disk_len; off += 512) {
        struct blk_extent ext;

        if (off % GRAIN && (off + 512) % GRAIN && off + 512 != v->disk_len)
            continue;
        rc = blk_read(image->dev, off, sector, 512, &err);
        assert_ok(blk_map(image->dev, off, 1 << 20, &ext, &err));
        if (rc == 0 && memcmp(sector, v->disk + off, 512) != 0)
            fail_msg("wrong bytes at %zu of a file of %zu", off, len);
        if (rc == 0)
            assert_int_not_equal(ext.status, BLK_UNREADABLE);
        else
            assert_true(rc == -VD_ECORRUPT && err.has_offset && err.offset == off);
        if (rc && spec->grains[off / GRAIN] == '.') {
            assert_int_equal(ext.status, BLK_UNREADABLE);
            seen.bad_absent++;
        } else if (rc) {
            seen.bad_data++;
        }
    }
    image_free(image);
    return seen;
}

/* Sectors that look() asks for in grains whose last byte lies before `len`. */
static uint64_t kept(const struct vb_image *v, size_t len)
{
    uint64_t n = 0;
    uint32_t i;

    for (i = 0; i < v->n_grains; i++)
        if (v->grain[i] && v->grain[i] + v->grain_len[i] <= len)
            n += 2;
    return n;
}

static void test_cut(void **state)
{
    size_t i, len;

    (void)state;
    for (i = 0; i < N_SPECS; i++) {
        struct vb_image v;
        uint64_t all;

        vb_make(&specs[i], &v);
        all = kept(&v, v.len);
        for (len = v.stream; len < v.len - 512; len += 509) {
            size_t n = v.gd + v.n_tables * 4 > len ? len : v.len;
            uint8_t *p = malloc(len); /* exactly so long: ASan sees any byte read behind */
            struct seen seen;

            assert_non_null(p);
            memcpy(p, v.p, len);
            seen = look(&specs[i], &v, p, len,
                        n == v.len ? "nothing is missing" : "it may have been in the lost part");
            if (seen.refused) {
                assert_int_equal(kept(&v, len), 0);
            } else {
                assert_int_equal(seen.bad_data, all - kept(&v, len));
                if (n == v.len)
                    assert_int_equal(seen.bad_absent, 0);
            }
            free(p);
        }
        vb_free(&v);
    }
}

/* A copy whose tail is zeros: every table and directory still "names" only what it has. */
static void test_emptied(void **state)
{
    size_t i, from;

    (void)state;
    for (i = 0; i < N_SPECS; i++) {
        struct vb_image v;
        uint8_t *p;

        vb_make(&specs[i], &v);
        p = malloc(v.len);
        assert_non_null(p);
        for (from = v.stream; from < v.footer; from += from < v.gd - 4096 ? 52 : 4) {
            memcpy(p, v.p, v.len);
            memset(p + from, 0, v.len - from);
            (void)look(&specs[i], &v, p, v.len, NULL);
        }
        free(p);
        vb_free(&v);
    }
}

/* A hole of zeros in the middle of a stream without a footer. */
static void test_holes(void **state)
{
    size_t i, from, len;

    (void)state;
    for (i = 0; i < N_SPECS; i++) {
        struct vb_image v;
        uint8_t *p;

        vb_make(&specs[i], &v);
        p = malloc(v.len);
        assert_non_null(p);
        for (len = 512; len <= 4096; len *= 2)
            for (from = v.stream; from + len < v.footer; from += 512) {
                memcpy(p, v.p, v.len);
                memset(p + from, 0, len);
                memset(p + v.footer - 512, 0, v.len - v.footer + 512);
                (void)look(&specs[i], &v, p, v.len, NULL);
            }
        free(p);
        vb_free(&v);
    }
}

/* The cut stream proves the spans whose tables it still has, and only those. */
static void test_tables_prove(void **state)
{
    const struct vb_spec *spec = &specs[1];
    struct vd_err err = VD_ERR_INIT;
    struct image *image = NULL;
    struct blk_extent ext;
    struct vb_image v;
    uint8_t byte;

    (void)state;
    vb_make(spec, &v); /* "dd.d" "..d." "...." "dddd" ".d" */
    assert_true(v.gt[1] > v.gt[0] && v.gt[2] == 0 && v.gt[3] > v.gt[1]);
    assert_ok(vb_open(v.p, v.gt[1] + 512, "x.vmdk", &image, &err));
    assert_ok(blk_map(image->dev, 2 * GRAIN, 1 << 20, &ext, &err));
    assert_true(ext.status == BLK_ABSENT && ext.len == GRAIN);
    assert_ok(blk_map(image->dev, 4 * GRAIN, 1 << 20, &ext, &err));
    assert_true(ext.status == BLK_ABSENT && ext.len == 2 * GRAIN);
    assert_ok(blk_map(image->dev, 8 * GRAIN, 1 << 20, &ext, &err));
    assert_true(ext.status == BLK_UNREADABLE && ext.len == 4 * GRAIN);
    assert_fails(blk_read(image->dev, 9 * GRAIN + 7, &byte, 1, &err), VD_ECORRUPT,
                 "may have been in the lost part");
    assert_true(vb_has_fact(image, VD_FACT_WARNING, "4 grains and 2 grain tables were met"));
    assert_true(vb_has_fact(image, VD_FACT_WARNING, "2 tables prove"));
    image_free(image);
    assert_ok(vb_open(v.p, v.gt[1] + 15, "x.vmdk", &image, &err)); /* one byte of it is lost */
    assert_ok(blk_map(image->dev, 4 * GRAIN, 1 << 20, &ext, &err));
    assert_int_equal(ext.status, BLK_UNREADABLE);
    assert_true(vb_has_fact(image, VD_FACT_WARNING, "the file ends inside a grain table"));
    image_free(image);
    vb_free(&v);
}

/* Does a grain's header, a marker, a table or the directory begin at `off`? */
static bool is_structure(const struct vb_image *v, size_t off)
{
    uint32_t i;

    for (i = 0; i < v->n_grains; i++)
        if (off > v->grain[i] && off < v->grain[i] + v->grain_len[i])
            return false;
    return true;
}

/* Without the footer: every bit of every address, of every table entry and of every marker.  While the
 * tables are there, no single one leads to wrong bytes. */
static void test_flips(void **state)
{
    size_t i, bit, k;

    (void)state;
    for (i = 0; i < N_SPECS; i++) {
        struct vb_image v;
        uint8_t *p;

        vb_make(&specs[i], &v);
        p = malloc(v.len);
        assert_non_null(p);
        memcpy(p, v.p, v.len);
        memset(p + v.footer - 512, 0, v.len - v.footer + 512);
        assert_int_equal(look(&specs[i], &v, p, v.len, "nothing is missing").bad_data, 0);
        for (k = v.stream; k < v.footer; k += 512)
            for (bit = 0; bit < 20 * 8 && is_structure(&v, k); bit++) {
                p[k + bit / 8] ^= (uint8_t)(1u << (bit % 8));
                (void)look(&specs[i], &v, p, v.len, NULL);
                p[k + bit / 8] ^= (uint8_t)(1u << (bit % 8));
            }
        free(p);
        vb_free(&v);
    }
}

/* Two grains with one address and no table that decides: neither is shown. */
static void test_twice(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    struct image *image = NULL;
    struct vb_image v;
    uint8_t byte;

    (void)state;
    vb_make(&specs[0], &v);
    vd_put_le64(v.p + v.grain[3], vd_le64(v.p + v.grain[1]));
    assert_ok(vb_open(v.p, v.grain[6], "x.vmdk", &image, &err));
    assert_ok(blk_read(image->dev, 0, &byte, 1, &err));
    assert_fails(blk_read(image->dev, GRAIN, &byte, 1, &err), VD_ECORRUPT, "two places");
    assert_fails(blk_read(image->dev, 3 * GRAIN, &byte, 1, &err), VD_ECORRUPT, "lost part");
    assert_true(vb_has_fact(image, VD_FACT_WARNING, "1 grains are unclear"));
    image_free(image);
    vb_free(&v);
}

/* Garbage behind the end marker, more zeros than are searched for a footer: the directory is found. */
static void test_padding(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    struct image *image = NULL;
    struct vb_image v;
    uint8_t *p;

    (void)state;
    vb_make(&specs[0], &v);
    p = calloc(1, v.len + (3u << 20));
    assert_non_null(p);
    memcpy(p, v.p, v.len);
    assert_ok(vb_open(p, v.len + (3u << 20), "x.vmdk", &image, &err));
    assert_true(vb_has_fact(image, VD_FACT_WARNING, "nothing is missing"));
    vb_check_reads(image->dev, v.disk, v.disk_len, 0);
    image_free(image);
    memset(p + v.len, 0xa5, 700);
    assert_ok(vb_open(p, v.len + 700, "x.vmdk", &image, &err));
    assert_true(vb_has_fact(image, VD_FACT_WARNING, "nothing is missing"));
    assert_int_equal(vb_check_map(image->dev, v.disk), 0);
    image_free(image);
    free(p);
    vb_free(&v);
}

/* With the footer: a directory entry that leads to a place without a table marker, zeros above all, is
 * found out. */
static void test_entry_misled(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    struct image *image = NULL;
    struct vb_image v;
    uint8_t byte;

    (void)state;
    vb_make(&specs[0], &v);
    vb_set_gde(&v, 3, (uint32_t)(v.len / 512 - 1), true, false); /* the end marker: zeros */
    assert_ok(vb_open(v.p, v.len, "x.vmdk", &image, &err));
    assert_fails(blk_read(image->dev, 12 * GRAIN, &byte, 1, &err), VD_ECORRUPT, "grain");
    assert_true(vb_has_fact(image, VD_FACT_WARNING, "no grain table marker"));
    assert_ok(blk_read(image->dev, 0, &byte, 1, &err));
    image_free(image);
    vb_free(&v);
}

/* In a child an absent grain is the parent's: what was lost must not be. */
static void test_child(void **state)
{
    const struct vb_spec base_spec = {.grains = "dddddddddddddddddd", .seed = 99};
    struct vd_err err = VD_ERR_INIT;
    struct image *base = NULL, *child = NULL;
    struct blkdev *layers[2], *disk = NULL;
    struct vb_image b, v;
    uint8_t buf[GRAIN];

    (void)state;
    vb_make(&base_spec, &b);
    vb_make(&specs[1], &v);
    assert_ok(vb_open(b.p, b.len, "base.vmdk", &base, &err));
    assert_ok(vb_open(v.p, v.gt[0] + 512, "x.vmdk", &child, &err));
    layers[0] = blk_ref(child->dev);
    layers[1] = blk_ref(base->dev);
    assert_ok(blk_overlay_new(layers, 2, "", &disk, &err));
    assert_ok(blk_read(disk, 0, buf, GRAIN, &err));
    assert_memory_equal(buf, v.disk, GRAIN);
    assert_ok(blk_read(disk, 2 * GRAIN, buf, GRAIN, &err)); /* proved absent */
    assert_memory_equal(buf, b.disk + 2 * (size_t)GRAIN, GRAIN);
    assert_int_equal(blk_read(disk, 5 * GRAIN, buf, GRAIN, &err), -VD_ECORRUPT);
    blk_unref(disk);
    image_free(child);
    image_free(base);
    vb_free(&b);
    vb_free(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut),          cmocka_unit_test(test_emptied),
        cmocka_unit_test(test_holes),        cmocka_unit_test(test_tables_prove),
        cmocka_unit_test(test_flips),        cmocka_unit_test(test_twice),
        cmocka_unit_test(test_child),        cmocka_unit_test(test_padding),
        cmocka_unit_test(test_entry_misled),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
