/* SPDX-License-Identifier: Apache-2.0 */
/* Hosted sparse and stream-optimized extents: every byte, by every way of reading, whole and with
 * damaged tables. */
#include "vmdk_build.h"

#include "base/bytes.h"
#include "blk/layers.h"

#include <stdlib.h>
#include <string.h>

static const char desc[] = "# Disk DescriptorFile\nCID=1\nparentCID=ffffffff\n"
                           "createType=\"monolithicSparse\"\nRW 1 SPARSE \"x\"\n";

static const struct {
    const char *name;
    struct vb_spec spec;
} layouts[] = {
    {"plain", {.grains = "d.d.dd..d"}},
    {"all there", {.grains = "dddddddddddddddd"}},
    {"empty", {.grains = "........"}},
    {"one grain", {.grains = "d"}},
    {"absent tables", {.grains = "....d.......d...", .sparse_tables = true}},
    {"redundant", {.grains = "dd.d..d..dd", .flags = VB_NEWLINE | VB_REDUNDANT}},
    {"zeroed grains",
     {.grains = "dz.zdzzdz", .version = 2, .flags = VB_NEWLINE | VB_REDUNDANT | VB_ZERO_GRAIN}},
    {"short last grain", {.grains = "d.ddd", .capacity_sectors = 35}},
    {"short last grain alone", {.grains = "d", .capacity_sectors = 3}},
    {"usual sizes", {.grains = "d.dd", .grain_sectors = 128, .gt_entries = 512}},
    {"descriptor inside", {.grains = "d.dd", .descriptor = desc}},
    {"version 3", {.grains = "d.dd", .version = 3}},
    {"compressed, no markers", {.grains = "d.dd.d", .flags = VB_NEWLINE | VB_COMPRESSED}},
    {"stream without footer",
     {.grains = "d.dd.d.dd", .version = 3, .flags = VB_NEWLINE | VB_COMPRESSED | VB_MARKERS}},
    {"stream with footer",
     {.grains = "d.dd.d.dd",
      .version = 3,
      .flags = VB_NEWLINE | VB_COMPRESSED | VB_MARKERS,
      .footer = true}},
    {"stream, short last grain",
     {.grains = "ddd",
      .capacity_sectors = 19,
      .version = 3,
      .flags = VB_NEWLINE | VB_COMPRESSED | VB_MARKERS,
      .footer = true}},
};

static void test_layouts(void **state)
{
    static const size_t steps[] = {0, 1, 7, 512, 4096, 5000, 65536, 1 << 20};
    size_t i, k;

    (void)state;
    for (i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++) {
        struct vd_err err = VD_ERR_INIT;
        struct image *image = NULL;
        struct vb_image v;

        print_message("%s\n", layouts[i].name);
        vb_make(&layouts[i].spec, &v);
        assert_ok(vb_open(v.p, v.len, "x", &image, &err));
        assert_string_equal(image->format->name, "vmdk");
        for (k = 0; k < sizeof(steps) / sizeof(steps[0]); k++)
            vb_check_reads(image->dev, v.disk, v.disk_len, steps[k]);
        assert_int_equal(vb_check_map(image->dev, v.disk), 0);
        image_free(image);
        vb_free(&v);
    }
}

/* The map of "dz.d": data with its place, zeros, absent, data. */
static void test_map_answers(void **state)
{
    const struct vb_spec spec = {
        .grains = "dz.d", .version = 2, .flags = VB_NEWLINE | VB_ZERO_GRAIN};
    static const enum blk_status expected[] = {BLK_DATA, BLK_ZEROS, BLK_ABSENT, BLK_DATA};
    struct vd_err err = VD_ERR_INIT;
    struct image *image = NULL;
    struct blk_extent ext;
    struct vb_image v;
    uint64_t i;

    (void)state;
    vb_make(&spec, &v);
    assert_ok(vb_open(v.p, v.len, "x", &image, &err));
    for (i = 0; i < 4; i++) {
        assert_ok(blk_map(image->dev, i * 4096 + 100, 1 << 20, &ext, &err));
        assert_int_equal(ext.status, expected[i]);
        assert_int_equal(ext.len, 3996);
        if (expected[i] == BLK_DATA) {
            assert_non_null(ext.child);
            assert_int_equal(ext.child_off, v.grain[i] + 100);
        }
    }
    image_free(image);
    vb_free(&v);
}

/* Neighbouring grains are one run; a run never claims more than was asked. */
static void test_runs_merge(void **state)
{
    const struct vb_spec spec = {.grains = "dddd....", .gt_entries = 8};
    struct vd_err err = VD_ERR_INIT;
    struct image *image = NULL;
    struct blk_extent ext;
    struct vb_image v;

    (void)state;
    vb_make(&spec, &v);
    assert_ok(vb_open(v.p, v.len, "x", &image, &err));
    assert_ok(blk_map(image->dev, 0, 1 << 20, &ext, &err));
    assert_int_equal(ext.len, 4 * 4096);
    assert_ok(blk_map(image->dev, 0, 10, &ext, &err));
    assert_int_equal(ext.len, 10);
    assert_ok(blk_map(image->dev, 4 * 4096, 1 << 20, &ext, &err));
    assert_int_equal(ext.status, BLK_ABSENT);
    assert_int_equal(ext.len, 4 * 4096);
    image_free(image);
    vb_free(&v);
}

/* A child over a parent: absent asks the parent, a zeroed grain hides it. */
static void test_child_hides(void **state)
{
    const struct vb_spec tip = {
        .grains = ".zd.", .version = 2, .flags = VB_NEWLINE | VB_ZERO_GRAIN, .seed = 100};
    const struct vb_spec base = {.grains = "ddd"}; /* smaller than the tip */
    struct vd_err err = VD_ERR_INIT;
    struct image *a = NULL, *b = NULL;
    struct blkdev *layers[2], *disk = NULL;
    struct vb_image vt, vbase;

    (void)state;
    vb_make(&tip, &vt);
    vb_make(&base, &vbase);
    assert_ok(vb_open(vt.p, vt.len, "tip", &a, &err));
    assert_ok(vb_open(vbase.p, vbase.len, "base", &b, &err));
    layers[0] = blk_ref(a->dev);
    layers[1] = blk_ref(b->dev);
    assert_ok(blk_overlay_new(layers, 2, "", &disk, &err));
    memcpy(vt.disk, vbase.disk, 4096); /* grain 0 from the parent, 3 past its end: zeros */
    vb_check_reads(disk, vt.disk, vt.disk_len, 0);
    assert_int_equal(vb_check_map(disk, vt.disk), 0);
    blk_unref(disk);
    image_free(a);
    image_free(b);
    vb_free(&vt);
    vb_free(&vbase);
}

/* ---- redundant tables ---- */

#define BAD_SECTOR 60000

enum damage {
    GT_PRIMARY_WIPED,
    GTE_PRIMARY_WIPED,
    GTE_EXTRA,
    GT_REDUNDANT_WIPED,
    GT_PRIMARY_BAD,
    GT_REDUNDANT_BAD,
    GT_DIFFER,
    GD_PRIMARY_WIPED,
    GD_REDUNDANT_WIPED,
    GD_PRIMARY_BAD,
    GD_BOTH_BAD,
    GD_OVERLAP,
    GD_PLACE_PRIMARY,
    GD_PLACE_REDUNDANT,
};

static void damage(struct vb_image *v, enum damage what)
{
    switch (what) {
    case GT_PRIMARY_WIPED:
        memset(v->p + v->gt[0], 0, 16);
        break;
    case GTE_PRIMARY_WIPED:
        vb_set_gte(v, 1, 0, true, false);
        break;
    case GTE_EXTRA: /* grain 2 is absent; one copy says that it is where grain 4 is */
        vb_set_gte(v, 2, (uint32_t)(v->grain[4] / 512), true, false);
        break;
    case GT_REDUNDANT_WIPED:
        memset(v->p + v->rgt[0], 0, 16);
        break;
    case GT_PRIMARY_BAD:
        vb_set_gte(v, 1, BAD_SECTOR, true, false);
        break;
    case GT_REDUNDANT_BAD:
        vb_set_gte(v, 1, BAD_SECTOR, false, true);
        break;
    case GT_DIFFER:
        vb_set_gte(v, 1, (uint32_t)(v->grain[3] / 512), true, false);
        break;
    case GD_PRIMARY_WIPED:
        memset(v->p + v->gd, 0, 4 * v->n_tables);
        break;
    case GD_REDUNDANT_WIPED:
        memset(v->p + v->rgd, 0, 4 * v->n_tables);
        break;
    case GD_PRIMARY_BAD:
        vb_set_gde(v, 0, BAD_SECTOR, true, false);
        break;
    case GD_BOTH_BAD:
        vb_set_gde(v, 0, BAD_SECTOR, true, true);
        break;
    case GD_OVERLAP:
        vb_set_gde(v, 0, (uint32_t)(v->gt[1] / 512), true, false);
        break;
    case GD_PLACE_PRIMARY:
        vd_put_le64(v->p + 56, BAD_SECTOR);
        break;
    case GD_PLACE_REDUNDANT:
        vd_put_le64(v->p + 48, BAD_SECTOR);
        break;
    }
}

static const struct {
    enum damage what;
    uint64_t unreadable; /* bytes */
    const char *warning;
} damages[] = {
    {GT_PRIMARY_WIPED, 0, "copies differ"},
    {GTE_PRIMARY_WIPED, 0, "copies differ"},
    {GTE_EXTRA, 4096, "an entry points past"},
    {GT_REDUNDANT_WIPED, 0, "copies differ"},
    {GT_PRIMARY_BAD, 0, "copies differ"},
    {GT_REDUNDANT_BAD, 0, "copies differ"},
    {GT_DIFFER, 4096, "name different places"},
    {GD_PRIMARY_WIPED, 0, "directories differ"},
    {GD_REDUNDANT_WIPED, 0, "directories differ"},
    {GD_PRIMARY_BAD, 0, "directories differ"},
    {GD_BOTH_BAD, 4 * 4096, "no other copy helps"},
    {GD_OVERLAP, 0, "directories differ"},
    {GD_PLACE_PRIMARY, 0, "only the redundant one is used"},
    {GD_PLACE_REDUNDANT, 0, "nothing can be compared"},
};

static void test_redundant(void **state)
{
    const struct vb_spec spec = {.grains = "dd.ddd.dd", .flags = VB_NEWLINE | VB_REDUNDANT};
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
        struct vd_err err = VD_ERR_INIT;
        struct image *image = NULL;
        struct vb_image v;
        uint64_t bad;

        vb_make(&spec, &v);
        damage(&v, damages[i].what);
        assert_ok(vb_open(v.p, v.len, "x", &image, &err));
        bad = vb_check_map(image->dev, v.disk);
        if (bad != damages[i].unreadable ||
            !vb_has_fact(image, VD_FACT_WARNING, damages[i].warning))
            fail_msg("damage %zu: %llu bytes unreadable", i, (unsigned long long)bad);
        if (bad == 0)
            vb_check_reads(image->dev, v.disk, v.disk_len, 0);
        image_free(image);
        vb_free(&v);
    }
}

/* Without the flag there is one copy only, whatever the header's other field says. */
static void test_not_redundant(void **state)
{
    const struct vb_spec spec = {.grains = "dd.d", .flags = VB_NEWLINE | VB_REDUNDANT};
    struct vd_err err = VD_ERR_INIT;
    struct image *image = NULL;
    struct vb_image v;

    (void)state;
    vb_make(&spec, &v);
    vd_put_le32(v.p + 8, VB_NEWLINE);
    vb_set_gte(&v, 0, 0, false, true);
    assert_ok(vb_open(v.p, v.len, "x", &image, &err));
    vb_check_reads(image->dev, v.disk, v.disk_len, 0);
    assert_false(vb_has_fact(image, VD_FACT_WARNING, "differ"));
    image_free(image);
    vb_free(&v);
}

/* ---- entries that cannot be right ---- */

static void check_one_bad_grain(uint32_t gte, const char *why, uint64_t unreadable)
{
    const struct vb_spec spec = {.grains = "dd.ddd", .descriptor = desc};
    struct vd_err err = VD_ERR_INIT;
    struct image *image = NULL;
    struct vb_image v;
    uint8_t byte;

    vb_make(&spec, &v);
    if (gte == UINT32_MAX) { /* three sectors behind everything else */
        gte = (uint32_t)((v.len + 511) / 512);
        v.p = realloc(v.p, (gte + 3) * (size_t)512);
        assert_non_null(v.p);
        v.len = (gte + 3) * (size_t)512;
        test_fill(v.p + gte * (size_t)512, 3 * 512, 8);
    }
    vb_set_gte(&v, 1, gte, true, false);
    if (unreadable < 4096) /* what is there is read */
        memcpy(v.disk + 4096, v.p + (size_t)gte * 512, 4096 - unreadable);
    assert_ok(vb_open(v.p, v.len, "x", &image, &err));
    assert_int_equal(vb_check_map(image->dev, v.disk), unreadable);
    assert_fails(blk_read(image->dev, 2 * 4096 - 1, &byte, 1, &err), VD_ECORRUPT, why);
    assert_ok(blk_read(image->dev, 4095, &byte, 1, &err));
    assert_ok(blk_read(image->dev, 8192, &byte, 1, &err));
    image_free(image);
    vb_free(&v);
}

static void test_bad_entries(void **state)
{
    (void)state;
    check_one_bad_grain(1, "into the header, the descriptor", 4096);
    check_one_bad_grain(2, "into the header, the descriptor", 4096);
    check_one_bad_grain(50000, "points past the end", 4096);
    check_one_bad_grain(0xfffffffe, "points past the end", 4096);
    check_one_bad_grain(UINT32_MAX, "ends inside the grain", 4096 - 3 * 512);
}

/* Sector 1 is data when the flag is clear and nothing else lies there. */
static void test_sector_one(void **state)
{
    const struct vb_spec spec = {.grains = "dd"};
    struct vd_err err = VD_ERR_INIT;
    struct image *image = NULL;
    struct vb_image v;
    uint8_t *moved;
    size_t len;

    (void)state;
    vb_make(&spec, &v);
    len = v.len + 20 * 512; /* header, grain at sector 1, then everything as it was */
    moved = calloc(1, len);
    assert_non_null(moved);
    memcpy(moved + 20 * 512, v.p, v.len);
    memcpy(moved, v.p, 512);
    test_fill(moved + 512, 4096, 77);
    vd_put_le64(moved + 56, v.gd / 512 + 20);
    vd_put_le32(moved + 20 * 512 + v.gd, (uint32_t)(v.gt[0] / 512 + 20));
    vd_put_le32(moved + 20 * 512 + v.gt[0], 1);
    vd_put_le32(moved + 20 * 512 + v.gt[0] + 4, (uint32_t)(v.grain[1] / 512 + 20));
    memcpy(v.disk, moved + 512, 4096);
    assert_ok(vb_open(moved, len, "x", &image, &err));
    vb_check_reads(image->dev, v.disk, v.disk_len, 0);
    image_free(image);
    moved[8] |= VB_ZERO_GRAIN; /* and zeros with it */
    memset(v.disk, 0, 4096);
    assert_ok(vb_open(moved, len, "x", &image, &err));
    vb_check_reads(image->dev, v.disk, v.disk_len, 0);
    image_free(image);
    free(moved);
    vb_free(&v);
}

/* Two grains, or a grain and a table, that want the same sectors: neither is shown. */
static void test_overlapping_grains(void **state)
{
    const struct vb_spec spec = {.grains = "dd.ddd"};
    struct vd_err err = VD_ERR_INIT;
    struct image *image = NULL;
    struct vb_image v;
    uint8_t byte;
    int i;

    (void)state;
    for (i = 0; i < 3; i++) {
        vb_make(&spec, &v);
        if (i == 0)
            vb_set_gte(&v, 1, vb_get_gte(&v, 4), true, false);
        else if (i == 1)
            vb_set_gte(&v, 1, vb_get_gte(&v, 4) + 7, true, false); /* reaches into grain 5, too */
        else
            vb_set_gte(&v, 1, (uint32_t)(v.gt[1] / 512), true, false);
        assert_ok(vb_open(v.p, v.len, "x", &image, &err));
        assert_int_equal(vb_check_map(image->dev, v.disk), (i == 0 ? 2 : i == 1 ? 3 : 1) * 4096);
        assert_fails(blk_read(image->dev, 4096, &byte, 1, &err), VD_ECORRUPT,
                     i == 2 ? "grain directory" : "another entry claims");
        image_free(image);
        vb_free(&v);
    }
}

/* Without a redundant copy two directory entries of one table void both. */
static void test_overlapping_tables(void **state)
{
    const struct vb_spec spec = {.grains = "ddddddddd"};
    struct vd_err err = VD_ERR_INIT;
    struct image *image = NULL;
    struct vb_image v;

    (void)state;
    vb_make(&spec, &v);
    vb_set_gde(&v, 1, (uint32_t)(v.gt[0] / 512), true, false);
    assert_ok(vb_open(v.p, v.len, "x", &image, &err));
    assert_int_equal(vb_check_map(image->dev, v.disk), 8 * 4096);
    image_free(image);
    vb_free(&v);
}

/* ---- streams ---- */

static const struct vb_spec stream = {.grains = "d.dd.d",
                                      .version = 3,
                                      .flags = VB_NEWLINE | VB_COMPRESSED | VB_MARKERS,
                                      .footer = true};

static void test_stream_end(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    struct image *image = NULL;
    struct vb_image v;
    uint8_t *padded;

    (void)state;
    vb_make(&stream, &v);
    padded = calloc(1, v.len + 100000);
    assert_non_null(padded);
    memcpy(padded, v.p, v.len);
    assert_ok(vb_open(padded, v.len + 100000, "x", &image, &err));
    vb_check_reads(image->dev, v.disk, v.disk_len, 0);
    assert_true(vb_has_fact(image, VD_FACT_INFO, "100000 bytes of zeros"));
    image_free(image);
    assert_ok(vb_open(padded, v.len - 512, "x", &image, &err));
    assert_true(vb_has_fact(image, VD_FACT_WARNING, "end-of-stream marker is missing"));
    image_free(image);
    assert_fails(vb_open(padded, 512, "x", &image, &err), VD_ECORRUPT, "no grain directory");
    free(padded);
    vb_free(&v);
}

/* A grain whose header names another sector is never shown. */
static void test_wrong_lba(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    struct image *image = NULL;
    struct vb_image v;
    uint8_t buf[8192];

    (void)state;
    vb_make(&stream, &v);
    vb_set_gte(&v, 0, (uint32_t)(v.grain[2] / 512), true, false);
    assert_ok(vb_open(v.p, v.len, "x", &image, &err));
    assert_fails(blk_read(image->dev, 4095, buf, 1, &err), VD_ECORRUPT,
                 "sector 16, not of sector 0");
    assert_true(err.has_offset && err.offset == 4095);
    assert_fails(blk_read(image->dev, 0, buf, 8192, &err), VD_ECORRUPT, "x: grain 0");
    assert_ok(blk_read(image->dev, 2 * 4096, buf, 8192, &err));
    assert_memory_equal(buf, v.disk + 2 * 4096, 8192);
    image_free(image);
    vb_free(&v);
}

/* ---- a directory too large to be kept: 16 TiB ---- */

static void test_large_directory(void **state)
{
    const uint64_t tables = 524288, last = 524287; /* 2 MiB of entries */
    const size_t gd = 512, gt = gd + tables * 4, grain = gt + 2048, len = grain + 65536;
    uint8_t *p = calloc(1, len), buf[4096];
    struct vd_err err = VD_ERR_INIT;
    struct image *image = NULL;
    struct blk_extent ext;
    uint64_t off = last * 512 * 65536 + 7 * 65536, at = 0, n_runs = 0;

    (void)state;
    assert_non_null(p);
    memcpy(p, "KDMV", 4);
    p[4] = 1;
    vd_put_le64(p + 12, tables * 512 * 128);
    vd_put_le64(p + 20, 128);
    vd_put_le32(p + 44, 512);
    vd_put_le64(p + 56, gd / 512);
    vd_put_le32(p + gd + last * 4, (uint32_t)(gt / 512));
    vd_put_le32(p + gt + 7 * 4, (uint32_t)(grain / 512));
    test_fill(p + grain, 65536, 9);
    assert_ok(vb_open(p, len, "x", &image, &err));
    assert_int_equal(image->dev->size, UINT64_C(16) << 40);
    assert_ok(blk_read(image->dev, off + 1000, buf, sizeof(buf), &err));
    assert_memory_equal(buf, p + grain + 1000, sizeof(buf));
    assert_ok(blk_map(image->dev, off, 1 << 20, &ext, &err));
    assert_int_equal(ext.status, BLK_DATA);
    assert_int_equal(ext.len, 65536);
    for (; at < image->dev->size && n_runs < 100; at += ext.len, n_runs++)
        assert_ok(blk_map(image->dev, at, UINT64_MAX, &ext, &err)); /* paged: table by table */
    assert_true(vb_has_fact(image, VD_FACT_INFO, "too large to be kept"));
    image_free(image);
    vd_put_le64(p + 12, UINT64_C(8) << 31); /* 8 TiB: kept whole, the hole is one run */
    assert_ok(vb_open(p, len, "x", &image, &err));
    assert_ok(blk_map(image->dev, 0, UINT64_MAX, &ext, &err));
    assert_int_equal(ext.status, BLK_ABSENT);
    assert_int_equal(ext.len, image->dev->size);
    image_free(image);
    free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layouts),
        cmocka_unit_test(test_map_answers),
        cmocka_unit_test(test_runs_merge),
        cmocka_unit_test(test_child_hides),
        cmocka_unit_test(test_redundant),
        cmocka_unit_test(test_not_redundant),
        cmocka_unit_test(test_bad_entries),
        cmocka_unit_test(test_sector_one),
        cmocka_unit_test(test_overlapping_grains),
        cmocka_unit_test(test_overlapping_tables),
        cmocka_unit_test(test_stream_end),
        cmocka_unit_test(test_wrong_lba),
        cmocka_unit_test(test_large_directory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
