/* SPDX-License-Identifier: Apache-2.0 */
/* The door and the layers: ranges, status of positions, labels in errors, faults, ownership. */
#include "testlib.h"

#include "base/limits.h"
#include "blk/layers.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static struct vd_err err;

static struct blkdev *mem(size_t len, uint64_t seed, const char *label)
{
    uint8_t *bytes = malloc(len ? len : 1);
    struct blkdev *dev = NULL;

    test_fill(bytes, len, seed);
    assert_ok(blk_mem_new(bytes, len, label, &dev, &err));
    free(bytes);
    return dev;
}

static void test_the_door_checks_ranges(void **state)
{
    struct blkdev *dev = mem(1000, 1, "disk");
    uint8_t buf[16];

    (void)state;
    assert_ok(blk_read(dev, 1000, buf, 0, &err));
    assert_ok(blk_read(dev, 984, buf, 16, &err));
    assert_fails(blk_read(dev, 985, buf, 16, &err), VD_ELIMIT, "disk: ");
    assert_int_equal(err.offset, 985);
    assert_fails(blk_read(dev, UINT64_MAX, buf, 2, &err), VD_ELIMIT, "passes the end");
    assert_int_equal(dev->n_reads, 1);
    assert_int_equal(blk_new(dev->type, UINT64_MAX, "x", NULL, &dev, &err), -VD_ELIMIT);
    blk_unref(dev);
}

/* A layer that lies about its map. */
static int bad_map(struct blkdev *dev, uint64_t off, uint64_t max_len, struct blk_extent *out,
                   struct vd_err *e)
{
    (void)off;
    (void)max_len;
    (void)e;
    *out = *(struct blk_extent *)dev->priv;
    return 0;
}

static void test_the_door_checks_promises(void **state)
{
    static const struct blk_type type = {.name = "bad", .map = bad_map};
    struct blkdev *dev = NULL, *child = mem(100, 1, "child");
    struct blk_extent lie = {.status = BLK_DATA}, out;

    (void)state;
    assert_ok(blk_new(&type, 1000, "bad", &lie, &dev, &err));
    assert_fails(blk_map(dev, 0, 10, &out, &err), VD_ECORRUPT, "not consistent");
    lie.len = 1001;
    assert_fails(blk_map(dev, 0, 10, &out, &err), VD_ECORRUPT, "not consistent");
    lie = (struct blk_extent){.len = 10, .status = BLK_DATA, .child = child, .child_off = 95};
    assert_fails(blk_map(dev, 0, 10, &out, &err), VD_ECORRUPT, "not consistent");
    lie.child_off = 90;
    assert_ok(blk_map(dev, 0, 5, &out, &err));
    assert_int_equal(out.len, 5);
    assert_fails(blk_map(dev, 1000, 5, &out, &err), VD_ELIMIT, "past the end");
    blk_unref(dev);
    blk_unref(child);
}

static void test_slice(void **state)
{
    struct blkdev *disk = mem(1000, 3, "disk"), *part = NULL;
    struct blk_extent ext;
    uint8_t a[100], b[100];

    (void)state;
    assert_fails(blk_slice_new(disk, 900, 101, "p1", &part, &err), VD_ELIMIT, "p1: ");
    assert_fails(blk_slice_new(disk, UINT64_MAX, 2, "p1", &part, &err), VD_ELIMIT, "p1: ");
    assert_ok(blk_slice_new(blk_ref(disk), 200, 500, "p1", &part, &err));
    assert_ok(blk_read(disk, 250, a, 100, &err));
    assert_ok(blk_read(part, 50, b, 100, &err));
    assert_memory_equal(a, b, 100);
    assert_ok(blk_map(part, 50, 1000, &ext, &err));
    assert_int_equal(ext.len, 450);
    assert_ptr_equal(ext.child, disk);
    assert_int_equal(ext.child_off, 250);
    assert_fails(blk_read(part, 450, b, 100, &err), VD_ELIMIT, "p1: ");
    blk_unref(part);
    blk_unref(disk);
}

static void test_concat_parts_and_holes(void **state)
{
    struct blkdev *a = mem(100, 1, "a"), *b = mem(50, 2, "b"), *dev = NULL;
    const struct blk_part parts[] = {
        {.dev = a, .dev_off = 10, .size = 90, .label = "extent 1"},
        {.size = 30, .hole = BLK_ZEROS, .label = "extent 2"},
        {.dev = b, .size = 80, .label = "extent 3"}, /* 30 bytes longer than b */
        {.size = 20, .hole = BLK_UNREADABLE, .label = "extent 4"},
    };
    struct blk_extent ext;
    uint8_t buf[220], part[90];

    (void)state;
    assert_ok(blk_concat_new(parts, 4, "disk", &dev, &err));
    assert_int_equal(dev->size, 220);
    memset(buf, 0xee, sizeof(buf));
    assert_ok(blk_read(dev, 0, buf, 170, &err));
    assert_ok(blk_read(a, 10, part, 90, &err));
    assert_memory_equal(buf, part, 90);
    assert_ok(blk_read(b, 0, part, 50, &err));
    assert_memory_equal(buf + 120, part, 50);
    for (int i = 90; i < 120; i++)
        assert_int_equal(buf[i], 0);
    assert_fails(blk_read(dev, 160, buf, 20, &err), VD_EIO, "disk: extent 3: ");
    assert_int_equal(err.offset, 170); /* the first byte that is not there */
    assert_fails(blk_read(dev, 205, buf, 5, &err), VD_EIO, "extent 4: declared as not accessible");
    assert_ok(blk_map(dev, 90, 1000, &ext, &err));
    assert_int_equal(ext.status, BLK_ZEROS);
    assert_int_equal(ext.len, 30);
    assert_ok(blk_map(dev, 120, 1000, &ext, &err));
    assert_int_equal(ext.status, BLK_DATA);
    assert_int_equal(ext.len, 50);
    assert_ok(blk_map(dev, 175, 1000, &ext, &err));
    assert_int_equal(ext.status, BLK_UNREADABLE);
    assert_int_equal(ext.len, 25);
    assert_ok(blk_map(dev, 200, 1000, &ext, &err));
    assert_int_equal(ext.status, BLK_UNREADABLE);
    blk_unref(dev);
}

static void test_concat_refuses_impossible_sizes(void **state)
{
    const struct blk_part zero = {.size = 0, .hole = BLK_ZEROS};
    const struct blk_part huge[] = {{.size = INT64_MAX, .hole = BLK_ZEROS},
                                    {.size = INT64_MAX, .hole = BLK_ZEROS}};
    struct blkdev *dev = NULL;

    (void)state;
    assert_fails(blk_concat_new(&zero, 1, "disk", &dev, &err), VD_ELIMIT, "part 0");
    assert_fails(blk_concat_new(huge, 2, "disk", &dev, &err), VD_ELIMIT, "part 1");
    assert_fails(blk_concat_new(huge, 0, "disk", &dev, &err), VD_ELIMIT, "0 parts");
}

/* A layer of 16-byte cells; the status of a cell is a character of the text in priv: D data,
 * Z zeros, . absent, U unreadable.  Data bytes are the label's first character. */
static int cells_map(struct blkdev *dev, uint64_t off, uint64_t max_len, struct blk_extent *out,
                     struct vd_err *e)
{
    const char *cells = dev->priv;

    (void)max_len;
    (void)e;
    out->len = 16 - off % 16;
    switch (cells[off / 16]) {
    case 'D':
        out->status = BLK_DATA;
        break;
    case 'Z':
        out->status = BLK_ZEROS;
        break;
    case 'U':
        out->status = BLK_UNREADABLE;
        break;
    default:
        out->status = BLK_ABSENT;
        break;
    }
    return 0;
}

static int cells_read(struct blkdev *dev, uint64_t off, void *buf, size_t len, struct vd_err *e)
{
    const char *cells = dev->priv;

    if (cells[off / 16] == 'U')
        return vd_at(e, vd_fail(e, VD_EIO, "bad cell"), off);
    memset(buf, cells[off / 16] == 'D' ? dev->label[0] : 0, len);
    return 0;
}

static struct blkdev *cells(const char *text, const char *label)
{
    static const struct blk_type type = {.name = "cells", .map = cells_map, .read_at = cells_read};
    struct blkdev *dev = NULL;
    union {
        const char *in;
        void *out;
    } priv = {.in = text};

    assert_ok(blk_new(&type, 16 * strlen(text), label, priv.out, &dev, &err));
    return dev;
}

static void test_overlay_resolves_each_position(void **state)
{
    /* tip is longer than its parents: beyond them, zeros */
    struct blkdev *layers[] = {cells("D...Z...", "t"), cells(".D..D.", "m"), cells("DDD.DD", "b")};
    const char *expected = "tmb\0\0b\0\0";
    struct blkdev *dev = NULL;
    uint8_t buf[128];
    size_t i;

    (void)state;
    assert_ok(blk_overlay_new(layers, 3, "", &dev, &err));
    assert_int_equal(dev->size, 128);
    assert_ok(blk_read(dev, 0, buf, 128, &err));
    for (i = 0; i < 128; i++)
        assert_int_equal(buf[i], (uint8_t)expected[i / 16]);
    for (i = 0; i < 128; i++) { /* byte by byte and across cells */
        uint8_t pair[2];

        assert_ok(blk_read(dev, i, pair, i < 127 ? 2 : 1, &err));
        assert_int_equal(pair[0], (uint8_t)expected[i / 16]);
    }
    for (i = 0; i < 128; i++) {
        struct blk_extent ext;

        assert_ok(blk_map(dev, i, 1000, &ext, &err));
        assert_int_equal(ext.status, expected[i / 16] ? BLK_DATA : BLK_ZEROS);
        assert_true(ext.len <= 128 - i);
    }
    blk_unref(dev);
}

/* The disk was shrunk and grown again: what the base had past the smaller middle does not come
 * back. */
static void test_overlay_stops_at_a_smaller_parent(void **state)
{
    struct blkdev *layers[] = {cells("......", "t"), cells(".D..", "m"), cells("DDDDDD", "b")};
    struct blkdev *dev = NULL;
    struct blk_extent ext;
    uint8_t buf[96];
    size_t i;

    (void)state;
    assert_ok(blk_overlay_new(layers, 3, "", &dev, &err));
    assert_ok(blk_read(dev, 0, buf, 96, &err));
    for (i = 0; i < 96; i++)
        assert_int_equal(buf[i], (uint8_t) "bmbb\0\0"[i / 16]);
    assert_ok(blk_map(dev, 64, 1000, &ext, &err));
    assert_int_equal(ext.status, BLK_ZEROS);
    assert_ok(blk_read(dev, 60, buf, 8, &err)); /* across the middle's end */
    assert_memory_equal(buf, "bbbb\0\0\0\0", 8);
    blk_unref(dev);
}

static void test_overlay_never_hides_unreadable(void **state)
{
    struct blkdev *layers[] = {cells(".U", "tip"), cells("DD", "base")};
    struct blkdev *dev = NULL;
    uint8_t buf[32];

    (void)state;
    assert_ok(blk_overlay_new(layers, 2, "", &dev, &err));
    assert_ok(blk_read(dev, 0, buf, 16, &err));
    assert_fails(blk_read(dev, 8, buf, 16, &err), VD_EIO, "tip: bad cell");
    assert_int_equal(err.offset, 16);
    blk_unref(dev);
}

static void test_overlay_of_the_greatest_depth(void **state)
{
    struct blkdev *layers[VD_MAX_CHAIN + 1], *dev = NULL;
    uint8_t byte;
    size_t i;

    (void)state;
    for (i = 0; i <= VD_MAX_CHAIN; i++)
        layers[i] = cells(i == VD_MAX_CHAIN - 1 ? "D" : ".", "x");
    assert_fails(blk_overlay_new(layers, VD_MAX_CHAIN + 1, "", &dev, &err), VD_ELIMIT, "1026");
    assert_ok(blk_overlay_new(layers, VD_MAX_CHAIN, "", &dev, &err));
    assert_ok(blk_read(dev, 3, &byte, 1, &err));
    assert_int_equal(byte, 'x');
    blk_unref(dev);
    blk_unref(layers[VD_MAX_CHAIN]);
}

/* Maps fail when they are asked about a table that cannot be read, 'X'; here: as far as asked. */
static int wide_map(struct blkdev *dev, uint64_t off, uint64_t max_len, struct blk_extent *out,
                    struct vd_err *e)
{
    const char *text = dev->priv;
    uint64_t end = off + max_len < dev->size ? off + max_len : dev->size, at;

    for (at = off / 512; at * 512 < end; at++)
        if (text[at] == 'X')
            return vd_fail(e, VD_EIO, "no table");
    out->len = 512 - off % 512;
    out->status = text[off / 512] == 'D' ? BLK_DATA : BLK_ABSENT;
    return 0;
}

static int wide_read(struct blkdev *dev, uint64_t off, void *buf, size_t len, struct vd_err *e)
{
    (void)off;
    (void)e;
    memset(buf, dev->label[0], len);
    return 0;
}

static struct blkdev *wide(const char *text, const char *label)
{
    static const struct blk_type type = {.name = "wide", .map = wide_map, .read_at = wide_read};
    struct blkdev *dev = NULL;
    union {
        const char *in;
        void *out;
    } priv = {.in = text};

    assert_ok(blk_new(&type, 512 * strlen(text), label, priv.out, &dev, &err));
    return dev;
}

/* A table that cannot be read costs its own positions only, and none where a newer layer answers. */
static void test_overlay_with_unreadable_tables(void **state)
{
    struct blkdev *layers[] = {wide("...D....", "t"), wide("DD.XD.X.", "m"), wide("DDDDDDDD", "b")};
    struct blkdev *dev = NULL;
    uint8_t buf[8 * 512];
    size_t i;

    (void)state;
    assert_ok(blk_overlay_new(layers, 3, "", &dev, &err));
    assert_ok(blk_read(dev, 0, buf, 6 * 512, &err));
    for (i = 0; i < 6 * 512; i++)
        assert_int_equal(buf[i], "mmbtmb"[i / 512]);
    assert_fails(blk_read(dev, 100, buf, 7 * 512, &err), VD_EIO, "m: no table");
    assert_true(err.has_offset);
    assert_int_equal(err.offset, 6 * 512);
    assert_ok(blk_read(dev, 7 * 512, buf, 512, &err));
    blk_unref(dev);
}

/* What position `off` of the layers is, one by one: a letter, or 'Z' or 'U'. */
static char model_at(char *const *text, const size_t *n_cells, size_t n, size_t off)
{
    size_t i;

    for (i = 0; i < n && off / 16 < n_cells[i]; i++)
        if (text[i][off / 16] != '.')
            return text[i][off / 16] == 'D' ? (char)('a' + i) : text[i][off / 16];
    return 'Z';
}

static uint64_t next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state >> 33;
}

static void check_random_read(struct blkdev *dev, char *const *text, const size_t *n_cells,
                              size_t n, size_t off, size_t len)
{
    static uint8_t buf[64 * 1024];
    size_t bad = 0, i;
    int rc = blk_read(dev, off, buf, len, &err);

    while (bad < len && model_at(text, n_cells, n, off + bad) != 'U')
        bad++;
    if (bad < len) {
        assert_int_equal(rc, -VD_EIO);
        assert_true(err.has_offset);
        assert_int_equal(err.offset, off + bad); /* the first bad byte, in whatever layer */
        return;
    }
    assert_int_equal(rc, 0);
    for (i = 0; i < len; i++) {
        char c = model_at(text, n_cells, n, off + i);

        assert_int_equal(buf[i], c == 'Z' ? 0 : (uint8_t)c);
    }
}

/* Random layers of random sizes, with holes in their readability, against one look per position.
 * Up to 3,000 runs in one read: more parts than a request keeps. */
static void test_overlay_against_a_model(void **state)
{
    enum { LAYERS = 6, CELLS = 3000 };
    uint64_t random = 42;
    int round, k;

    (void)state;
    for (round = 0; round < 60; round++) {
        char *text[LAYERS], label[2] = "a";
        size_t n_cells[LAYERS], n = 1 + next_random(&random) % LAYERS, i, c;
        struct blkdev *layers[LAYERS], *dev = NULL;
        unsigned absent = 1 + (unsigned)(next_random(&random) % 9), bad = round % 3 ? 0 : 3;

        for (i = 0; i < n; i++) {
            n_cells[i] = round < 3 ? CELLS : 1 + next_random(&random) % CELLS;
            text[i] = calloc(n_cells[i] + 1, 1);
            for (c = 0; c < n_cells[i]; c++) {
                uint64_t r = next_random(&random) % 1000;

                text[i][c] = r < bad ? 'U' : r % 10 < absent ? '.' : r % 10 == 9 ? 'Z' : 'D';
                if (round < 3 && i == 0)
                    text[i][c] = c % 2 ? 'D' : '.'; /* every other cell is open */
            }
            label[0] = (char)('a' + i);
            layers[i] = cells(text[i], label);
        }
        assert_ok(blk_overlay_new(layers, n, "", &dev, &err));
        check_random_read(dev, text, n_cells, n, 0, dev->size);
        for (k = 0; k < 100; k++) {
            size_t off = next_random(&random) % dev->size;
            size_t len = 1 + next_random(&random) % (dev->size - off);

            check_random_read(dev, text, n_cells, n, off, len);
        }
        blk_unref(dev);
        for (i = 0; i < n; i++)
            free(text[i]);
    }
}

static void test_fault_by_place_and_count(void **state)
{
    struct blkdev *dev = NULL;
    uint8_t buf[64];
    const struct blk_fault_rule place = {.kind = BLK_FAULT_ERROR, .off = 100, .len = 10};
    const struct blk_fault_rule third = {.kind = BLK_FAULT_ERROR, .nth = 3};
    const struct blk_fault_rule from_second = {
        .kind = BLK_FAULT_ERROR, .nth = 2, .persistent = true};

    (void)state;
    assert_ok(blk_fault_new(mem(1000, 5, "m"), &dev, &err));
    assert_ok(blk_read(dev, 90, buf, 64, &err));
    blk_fault_set(dev, &place);
    assert_ok(blk_read(dev, 0, buf, 64, &err));
    assert_fails(blk_read(dev, 90, buf, 64, &err), VD_EIO, "injected");
    assert_int_equal(err.offset, 100);
    blk_fault_set(dev, &third);
    assert_ok(blk_read(dev, 0, buf, 1, &err));
    assert_ok(blk_read(dev, 0, buf, 1, &err));
    assert_fails(blk_read(dev, 0, buf, 1, &err), VD_EIO, "injected");
    assert_ok(blk_read(dev, 0, buf, 1, &err));
    assert_int_equal(blk_fault_count(dev), 4);
    blk_fault_set(dev, &from_second);
    assert_ok(blk_read(dev, 0, buf, 1, &err));
    assert_fails(blk_read(dev, 0, buf, 1, &err), VD_EIO, "injected");
    assert_fails(blk_read(dev, 0, buf, 1, &err), VD_EIO, "injected");
    blk_fault_set(dev, NULL);
    assert_ok(blk_read(dev, 0, buf, 1, &err));
    blk_unref(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_door_checks_ranges),
        cmocka_unit_test(test_the_door_checks_promises),
        cmocka_unit_test(test_slice),
        cmocka_unit_test(test_concat_parts_and_holes),
        cmocka_unit_test(test_concat_refuses_impossible_sizes),
        cmocka_unit_test(test_overlay_resolves_each_position),
        cmocka_unit_test(test_overlay_stops_at_a_smaller_parent),
        cmocka_unit_test(test_overlay_never_hides_unreadable),
        cmocka_unit_test(test_overlay_of_the_greatest_depth),
        cmocka_unit_test(test_overlay_with_unreadable_tables),
        cmocka_unit_test(test_overlay_against_a_model),
        cmocka_unit_test(test_fault_by_place_and_count),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
