/* SPDX-License-Identifier: Apache-2.0 */
/* Structural check of hosted extents: nothing in sound files, each defect by its word and its place. */
#include "vmdk_build.h"

#include "base/bytes.h"
#include "blk/layers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GRAIN  4096u
#define STREAM (VB_NEWLINE | VB_COMPRESSED | VB_MARKERS)

struct heard {
    char ids[64][32];
    enum check_level level[64];
    struct check_place place[64];
    char text[64][256];
    size_t n;
    uint64_t tables, grains;
};

static void hear(void *ctx, enum check_level level, const char *id, const char *file,
                 const struct check_place *place, const char *text)
{
    struct heard *h = ctx;

    assert_true(!file[0] || strcmp(file, "x.vmdk") == 0); /* the fault layer has no name */
    assert_true(h->n < 64);
    (void)snprintf(h->ids[h->n], sizeof(h->ids[0]), "%s", id);
    (void)snprintf(h->text[h->n], sizeof(h->text[0]), "%s", text);
    h->level[h->n] = level;
    h->place[h->n] = place ? *place : (struct check_place){0};
    h->n++;
}

static void hear_count(void *ctx, const char *file, const char *what, uint64_t n)
{
    struct heard *h = ctx;

    (void)file;
    if (strcmp(what, "grain tables") == 0)
        h->tables = n;
    else if (strcmp(what, "grains") == 0)
        h->grains = n;
}

static void run_check(struct blkdev *dev, struct heard *h)
{
    const struct check check = {.finding = hear, .count = hear_count, .ctx = h};
    struct vd_err err = VD_ERR_INIT;

    *h = (struct heard){0};
    assert_ok(blk_check(dev, &check, &err));
}

static void check_bytes(const uint8_t *p, size_t len, struct heard *h)
{
    struct vd_err err = VD_ERR_INIT;
    struct image *image = NULL;

    assert_ok(vb_open(p, len, "x.vmdk", &image, &err));
    run_check(image->dev, h);
    image_free(image);
}

/* The finding of that word; NULL: none. */
static const struct check_place *heard(const struct heard *h, const char *id,
                                       enum check_level level)
{
    size_t i;

    for (i = 0; i < h->n; i++)
        if (strcmp(h->ids[i], id) == 0 && h->level[i] == level)
            return &h->place[i];
    return NULL;
}

static const struct vb_spec specs[] = {
    {.grains = "dd.dd..dd"},
    {.grains = "dd.dd..dd", .flags = VB_NEWLINE | VB_REDUNDANT},
    {.grains = "dz.dd..dz", .version = 2, .flags = VB_NEWLINE | VB_REDUNDANT | VB_ZERO_GRAIN},
    {.grains = "dd.dd..dd", .capacity_sectors = 67},
    {.grains = "dd.dd..dd", .flags = STREAM},
    {.grains = "dd.dd..dd", .flags = STREAM, .footer = true},
    {.grains = "dd.dd..dd", .flags = STREAM, .footer = true, .interleave = true},
    {.grains = "dd.dd..dd", .flags = VB_NEWLINE | VB_COMPRESSED},
};

static void test_sound(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(specs) / sizeof(specs[0]); i++) {
        struct vb_image v;
        struct heard h;

        vb_make(&specs[i], &v);
        check_bytes(v.p, v.len, &h);
        if (h.n)
            fail_msg("spec %zu: %s: %s", i, h.ids[0], h.text[0]);
        assert_int_equal(h.tables, specs[i].flags & VB_REDUNDANT ? 6 : 3);
        assert_int_equal(h.grains, i == 2 ? 4 : 6);
        vb_free(&v);
    }
}

static void test_entries(void **state)
{
    static const struct {
        uint32_t gte;
        const char *id;
    } cases[] = {{0x7fffffff, "table_entry"}, {UINT32_MAX, "copies_contradict"}, {0, NULL}};
    size_t i;

    (void)state;
    for (i = 0; i < 3; i++) {
        const struct check_place *place;
        struct vb_image v;
        struct heard h;

        vb_make(&specs[0], &v);
        vb_set_gte(&v, 4, cases[i].gte, true, false);
        check_bytes(v.p, v.len, &h);
        if (cases[i].id) {
            place = heard(&h, cases[i].id, CHECK_ERROR);
            assert_non_null(place);
            assert_true(place->on_disk && place->disk_off == 4 * GRAIN && place->disk_len == GRAIN);
            assert_true(place->in_file && place->file_off == v.gt[1]);
        }
        place = heard(&h, "unreferenced", CHECK_NOTE); /* the grain that nobody names now */
        assert_non_null(place);
        assert_int_equal(place->file_off, v.grain[4]);
        vb_free(&v);
    }
}

static void test_overlap(void **state)
{
    struct vb_image v;
    struct heard h;

    (void)state;
    vb_make(&specs[4], &v); /* compressed: opening does not compare them */
    vb_set_gte(&v, 4, vb_get_gte(&v, 3), true, false);
    check_bytes(v.p, v.len, &h);
    assert_non_null(heard(&h, "grain_header", CHECK_ERROR));
    vb_free(&v);
    vb_make(&specs[0], &v);
    vb_set_gte(&v, 4, vb_get_gte(&v, 3) + 1, true, false);
    check_bytes(v.p, v.len, &h);
    assert_non_null(heard(&h, "table_entry", CHECK_ERROR));
    vb_free(&v);
    vb_make(&specs[7], &v); /* no addresses in front: only the bytes tell */
    vb_set_gte(&v, 4, vb_get_gte(&v, 3), true, false);
    check_bytes(v.p, v.len, &h);
    assert_non_null(heard(&h, "overlap", CHECK_ERROR));
    vb_free(&v);
}

static void test_cut(void **state)
{
    const struct check_place *place;
    struct vb_image v;
    struct heard h;

    (void)state;
    vb_make(&specs[0], &v);
    check_bytes(v.p, v.grain[8] + 512, &h);
    place = heard(&h, "grain_cut", CHECK_ERROR);
    assert_non_null(place);
    assert_int_equal(place->disk_off, 8 * GRAIN);
    vb_free(&v);
    vb_make(&specs[6], &v);
    check_bytes(v.p, v.gt[0] + 16, &h);
    place = heard(&h, "grains_lost", CHECK_ERROR);
    assert_non_null(place);
    assert_true(place->disk_off == 4 * GRAIN && place->disk_len == 5 * GRAIN && !place->in_file);
    vb_free(&v);
    vb_make(&specs[4], &v);
    check_bytes(v.p, v.grain[8] + 20, &h);
    assert_non_null(heard(&h, "grain_header", CHECK_ERROR));
    vb_free(&v);
}

static void test_copies(void **state)
{
    struct vb_image v;
    struct heard h;

    (void)state;
    vb_make(&specs[1], &v);
    vb_set_gte(&v, 4, 0, true, false);
    check_bytes(v.p, v.len, &h);
    assert_non_null(heard(&h, "copies_differ", CHECK_WARNING));
    assert_null(heard(&h, "copies_contradict", CHECK_ERROR));
    assert_null(heard(&h, "unreferenced", CHECK_NOTE));
    vb_set_gte(&v, 4, vb_get_gte(&v, 0) + 1, true, false);
    check_bytes(v.p, v.len, &h);
    assert_non_null(heard(&h, "copies_contradict", CHECK_ERROR));
    vb_free(&v);
    vb_make(&specs[1], &v);
    vb_set_gde(&v, 1, 0, false, true);
    check_bytes(v.p, v.len, &h);
    assert_non_null(heard(&h, "copies_differ", CHECK_WARNING));
    vb_set_gde(&v, 1, 0x7fffffff, false, true);
    check_bytes(v.p, v.len, &h);
    assert_non_null(heard(&h, "directory_entry", CHECK_WARNING));
    vb_free(&v);
    vb_make(&specs[0], &v);
    vb_set_gde(&v, 1, 0x7fffffff, true, false);
    check_bytes(v.p, v.len, &h);
    assert_non_null(heard(&h, "directory_entry", CHECK_ERROR));
    vb_free(&v);
}

static void test_behind(void **state)
{
    struct vb_image v;
    struct heard h;

    (void)state;
    vb_make(&specs[3], &v);
    vb_set_gte(&v, 10, 77, true, false);
    check_bytes(v.p, v.len, &h);
    assert_non_null(heard(&h, "entries_behind_disk", CHECK_NOTE));
    assert_int_equal(h.n, 1);
    vb_free(&v);
}

static void test_stream(void **state)
{
    struct vb_image v;
    struct heard h;

    (void)state;
    vb_make(&specs[6], &v);
    vd_put_le32(v.p + v.gt[1] - 512 + 12, 2); /* a table behind a directory's marker */
    check_bytes(v.p, v.len, &h);
    assert_non_null(heard(&h, "table_marker", CHECK_ERROR));
    assert_non_null(heard(&h, "stream_sequence", CHECK_WARNING));
    vb_free(&v);
    vb_make(&specs[6], &v);
    vd_put_le64(v.p + v.grain[3], 0);
    check_bytes(v.p, v.len, &h);
    assert_non_null(heard(&h, "grain_header", CHECK_ERROR));
    assert_non_null(heard(&h, "stream_sequence", CHECK_WARNING));
    vb_free(&v);
}

/* What the medium does not give is a finding, and the check goes on. */
static void test_unreadable(void **state)
{
    struct blk_fault_rule rule = {.kind = BLK_FAULT_ERROR, .len = 16};
    size_t i;

    (void)state;
    for (i = 0; i < 2; i++) {
        struct vd_err err = VD_ERR_INIT;
        struct blkdev *mem = NULL, *fault = NULL;
        struct image *image = NULL;
        struct vb_image v;
        struct heard h;

        vb_make(&specs[i], &v);
        assert_ok(blk_mem_new(v.p, v.len, "x.vmdk", &mem, &err));
        assert_ok(blk_fault_new(mem, &fault, &err));
        assert_ok(image_open_file(fault, &vb_no_files, 0, "x.vmdk", &image, &err));
        rule.off = v.gt[1];
        blk_fault_set(fault, &rule);
        run_check(image->dev, &h);
        assert_non_null(heard(&h, "table_unreadable", i ? CHECK_WARNING : CHECK_ERROR));
        image_free(image);
        blk_unref(fault);
        vb_free(&v);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sound),   cmocka_unit_test(test_entries),
        cmocka_unit_test(test_overlap), cmocka_unit_test(test_cut),
        cmocka_unit_test(test_copies),  cmocka_unit_test(test_behind),
        cmocka_unit_test(test_stream),  cmocka_unit_test(test_unreadable),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
