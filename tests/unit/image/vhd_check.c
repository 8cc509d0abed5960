/* SPDX-License-Identifier: Apache-2.0 */
/* The structural check of VHD: each finding is found where it is, and a good file has none. */
#include "testlib.h"

#include "../../evil/vhd/build.h"
#include "base/bytes.h"
#include "blk/layers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 4096u
#define N     6u
#define MAX   32

static struct built b;

struct report {
    struct {
        char id[32], text[200];
        enum check_level level;
        struct check_place place;
    } v[MAX];
    unsigned n;
    uint64_t entries, blocks;
};

static void on_finding(void *ctx, enum check_level level, const char *id, const char *file,
                       const struct check_place *place, const char *text)
{
    struct report *r = ctx;

    assert_true(r->n < MAX);
    assert_string_equal(file, "test.img");
    (void)snprintf(r->v[r->n].id, sizeof(r->v[0].id), "%s", id);
    (void)snprintf(r->v[r->n].text, sizeof(r->v[0].text), "%s", text);
    r->v[r->n].level = level;
    if (place)
        r->v[r->n].place = *place;
    r->n++;
}

static void on_count(void *ctx, const char *file, const char *what, uint64_t n)
{
    struct report *r = ctx;

    (void)file;
    r->entries += strcmp(what, "table entries") == 0 ? n : 0;
    r->blocks += strcmp(what, "blocks") == 0 ? n : 0;
}

static struct report check_dev(struct blkdev *dev)
{
    struct report r = {.n = 0};
    const struct check check = {on_finding, on_count, &r};
    struct vd_err err = VD_ERR_INIT;

    assert_ok(blk_check(dev, &check, &err));
    return r;
}

static struct report check_bytes(void)
{
    struct vd_err err = VD_ERR_INIT;
    struct image image;
    struct report r;

    assert_ok(open_bytes(&image_format_vhd, b.p, b.len, &image, &err));
    r = check_dev(image.dev);
    close_image(&image);
    return r;
}

/* The only finding of this id, or the test fails. */
static unsigned the(const struct report *r, const char *id, enum check_level level)
{
    unsigned i, found = MAX, n = 0;

    for (i = 0; i < r->n; i++)
        if (strcmp(r->v[i].id, id) == 0) {
            found = i;
            n++;
        }
    if (n != 1)
        fail_msg("%u findings %s of %u in all (first: %s)", n, id, r->n, r->n ? r->v[0].id : "");
    assert_int_equal(r->v[found].level, level);
    return found;
}

static int setup(void **state)
{
    const uint8_t present[N] = {1, 0, 1, 1, 0, 1};
    uint32_t i;

    (void)state;
    b = build_vhd_dynamic(BLOCK, N, present, 50, NULL);
    for (i = 0; i < N; i++) /* the writer fills whole bitmaps with ones */
        if (present[i])
            memset(b.p + vhd_block_at(&b, i) + 1, 0, 511);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(b.p);
    return 0;
}

static void nothing(void **state)
{
    struct report r = check_bytes();

    (void)state;
    assert_int_equal(r.n, 0);
    assert_int_equal(r.entries, N);
    assert_int_equal(r.blocks, 4);
}

static void bad_entries(void **state)
{
    struct report r;
    unsigned i;

    (void)state;
    put_be32(b.p + VHD_T_TABLE + 4 * 2, 2);
    r = check_bytes();
    i = the(&r, "bad_entry", CHECK_ERROR);
    assert_int_equal(r.v[i].place.file_off, VHD_T_TABLE + 8);
    assert_int_equal(r.v[i].place.disk_off, 2 * BLOCK);
    assert_int_equal(r.v[i].place.disk_len, BLOCK);
    assert_true(test_contains(r.v[i].text, "lies over the header"));
    put_be32(b.p + VHD_T_TABLE + 4 * 2, UINT32_MAX - 1);
    r = check_bytes();
    i = the(&r, "bad_entry", CHECK_ERROR);
    assert_true(test_contains(r.v[i].text, "past the end of the file"));
    (void)the(&r, "unreferenced", CHECK_NOTE); /* where the block was */
    put_be32(b.p + VHD_T_TABLE + 4 * 2, (uint32_t)(vhd_block_at(&b, 3) / 512 + 1));
    r = check_bytes();
    (void)the(&r, "overlap", CHECK_ERROR);
}

static void block_that_is_cut(void **state)
{
    struct report r;
    unsigned i;

    (void)state;
    put_be32(b.p + VHD_T_TABLE, (uint32_t)(vhd_block_at(&b, 0) / 512 + 3));
    r = check_bytes();
    i = the(&r, "block_cut", CHECK_ERROR);
    assert_int_equal(r.v[i].place.disk_off, 0);
}

static void bitmaps(void **state)
{
    uint8_t *bitmap = b.p + vhd_block_at(&b, 3);
    struct report r;
    unsigned i;

    (void)state;
    bitmap[1] = 0x81;
    r = check_bytes();
    i = the(&r, "bitmap_padding", CHECK_NOTE);
    assert_true(test_contains(r.v[i].text, "block 3: 2 bits"));
    bitmap[1] = 0;
    bitmap[0] = 0x3f;
    memset(bitmap + 512, 0, 512);
    r = check_bytes();
    i = the(&r, "hidden_bytes", CHECK_WARNING);
    assert_true(test_contains(r.v[i].text, "block 3: 1 sectors"));
    assert_int_equal(r.v[i].place.disk_off, 3 * BLOCK);
    put_be32(b.p + 60, 4); /* in a child it only lies there */
    vhd_seal_footer(b.p, 512);
    memcpy(b.p + b.len - 512, b.p, 512);
    r = check_bytes();
    i = the(&r, "hidden_bytes", CHECK_NOTE);
}

static void headers(void **state)
{
    uint8_t *h = b.p + VHD_T_HEADER;
    struct report r;

    (void)state;
    put_be64(h + 8, UINT32_MAX); /* what the specification prints */
    vhd_seal_header(h);
    r = check_bytes();
    assert_int_equal(r.n, 0);
    put_be64(h + 8, 4096);
    put_be32(h + 28, N + 1);
    put_be32(h + 576, 0x57327275);
    put_be32(b.p + VHD_T_TABLE + (size_t)4 * N, 5);
    vhd_seal_header(h);
    r = check_bytes();
    (void)the(&r, "next_structure", CHECK_NOTE);
    (void)the(&r, "table_long", CHECK_NOTE);
    (void)the(&r, "locator", CHECK_NOTE);
    (void)the(&r, "entry_past_disk", CHECK_NOTE);
}

/* A table at an odd place, as long as the file says so, is read; the check says it. */
static void unaligned_table(void **state)
{
    struct report r;

    (void)state;
    memmove(b.p + VHD_T_TABLE + 4, b.p + VHD_T_TABLE, (size_t)4 * N);
    put_be64(b.p + VHD_T_HEADER + 16, VHD_T_TABLE + 4);
    vhd_seal_header(b.p + VHD_T_HEADER);
    r = check_bytes();
    (void)the(&r, "table_unaligned", CHECK_WARNING);
}

static void fixed_with_a_gap(void **state)
{
    struct built save = b;
    struct report r;

    (void)state;
    b = build_vhd_fixed(8192, 3);
    r = check_bytes();
    assert_int_equal(r.n, 0);
    put_be64(b.p + 8192 + 48, 4096);
    vhd_seal_footer(b.p + 8192, 512);
    r = check_bytes();
    (void)the(&r, "unreferenced", CHECK_NOTE);
    assert_true(test_contains(r.v[0].text, "4096 bytes"));
    free(b.p);
    b = save;
}

/* What cannot be read is a finding, not a failure. */
static void unreadable(void **state)
{
    const struct {
        uint64_t off;
        const char *id;
    } cases[] = {{VHD_T_TABLE, "table_unreadable"}, {vhd_block_at(&b, 2), "bitmap_unreadable"}};
    struct vd_err err = VD_ERR_INIT;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct blk_fault_rule rule = {
            .kind = BLK_FAULT_ERROR, .off = cases[i].off, .len = 512};
        struct blkdev *mem = NULL, *dev = NULL;
        struct image image;
        struct report r;

        assert_ok(dev_over(b.p, b.len, &mem, &err));
        assert_ok(blk_fault_new(mem, &dev, &err));
        assert_ok(open_dev(&image_format_vhd, dev, &image, &err));
        blk_fault_set(dev, &rule);
        r = check_dev(image.dev);
        assert_int_equal(r.v[the(&r, cases[i].id, CHECK_ERROR)].place.on_disk, 1);
        close_image(&image);
        blk_unref(dev);
    }
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(nothing), CASE(bad_entries),     CASE(block_that_is_cut), CASE(bitmaps),
        CASE(headers), CASE(unaligned_table), CASE(fixed_with_a_gap),  CASE(unreadable),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
