/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and mapping VHD disks: every position by reads of many sizes, and what the map says. */
#include "testlib.h"

#include "../../evil/vhd/build.h"
#include "base/bytes.h"
#include "base/range.h"

#include <stdlib.h>
#include <string.h>

/* The disk equals `want`, read in pieces of several sizes from several starts; the map agrees. */
static void expect_disk(struct blkdev *dev, const uint8_t *want, size_t len)
{
    static const size_t sizes[] = {1, 511, 512, 513, 4096, 65537, 1 << 22};
    struct vd_err err = VD_ERR_INIT;
    uint8_t *buf = malloc(len + 1);
    size_t i, off;

    assert_int_equal(dev->size, len);
    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        size_t limit = sizes[i] == 1 ? (len < 3000 ? len : 3000) : len;

        memset(buf, 0xee, len);
        for (off = 0; off < limit; off += sizes[i])
            assert_ok(blk_read(dev, off, buf + off, (size_t)vd_min(sizes[i], limit - off), &err));
        assert_memory_equal(buf, want, limit);
    }
    for (off = len; off > 0; off -= vd_min(off, 700)) /* backwards */
        assert_ok(blk_read(dev, off - vd_min(off, 700), buf, (size_t)vd_min(off, 700), &err));
    for (off = 0; off < len;) {
        struct blk_extent ext;

        assert_ok(blk_map(dev, off, len, &ext, &err));
        if (ext.status == BLK_ZEROS) {
            assert_true(vd_all_zero(want + off, (size_t)ext.len));
        } else {
            assert_int_equal(ext.status, BLK_DATA);
            assert_non_null(ext.child);
            assert_ok(blk_read(ext.child, ext.child_off, buf, (size_t)ext.len, &err));
            assert_memory_equal(buf, want + off, (size_t)ext.len);
        }
        off += ext.len;
    }
    free(buf);
}

static void fixed(void **state)
{
    struct built b = build_vhd_fixed(100 * 512, 5);
    struct vd_err err = VD_ERR_INIT;
    struct blk_extent ext;
    struct image image;

    (void)state;
    assert_ok(open_bytes(&image_format_vhd, b.p, b.len, &image, &err));
    assert_string_equal(image.kind, "fixed");
    assert_string_equal(image.identity, "uuid:01020304-0506-0708-090a-0b0c0d0e0f10");
    assert_false(image.has_parent);
    expect_disk(image.dev, b.p, b.len - 512);
    assert_ok(blk_map(image.dev, 1000, UINT64_MAX, &ext, &err));
    assert_int_equal(ext.len, b.len - 512 - 1000); /* one run, straight to the file */
    assert_int_equal(ext.child_off, 1000);
    close_image(&image);
    free(b.p);
}

static void fixed_with_a_footer_of_511_bytes(void **state)
{
    struct built b = build_vhd_fixed(8192, 5);
    struct vd_err err = VD_ERR_INIT;
    struct image image;

    (void)state;
    vhd_seal_footer(b.p + 8192, 511);
    assert_ok(open_bytes(&image_format_vhd, b.p, b.len - 1, &image, &err));
    expect_disk(image.dev, b.p, 8192);
    assert_int_equal(image.facts.n, 9); /* no warning among them */
    close_image(&image);
    free(b.p);
}

static void dynamic_of_many_block_sizes(void **state)
{
    static const uint32_t sizes[] = {512, 1024, 65536, 512 << 10, 2 << 20, 4 << 20};
    const uint8_t present[9] = {0, 1, 1, 0, 0, 1, 0, 1, 0};
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint32_t n = sizes[i] > 65536 ? 4 : 9;
        struct vd_err err = VD_ERR_INIT;
        struct image image;
        struct built disk, b = build_vhd_dynamic(sizes[i], n, present, 77, &disk);

        assert_ok(open_bytes(&image_format_vhd, b.p, b.len, &image, &err));
        assert_string_equal(image.kind, "dynamic");
        expect_disk(image.dev, disk.p, disk.len);
        assert_int_equal(image.dev->read_unit, sizes[i]);
        close_image(&image);
        free(b.p);
        free(disk.p);
    }
}

/* current_size need not be a whole number of blocks or sectors. */
static void odd_size(void **state)
{
    const uint8_t present[3] = {1, 0, 1};
    struct built disk, b = build_vhd_dynamic(1024, 3, present, 3, &disk);
    struct vd_err err = VD_ERR_INIT;
    struct image image;

    (void)state;
    put_be64(b.p + 48, 2048 + 700);
    vhd_seal_footer(b.p, 512);
    memcpy(b.p + b.len - 512, b.p, 512);
    assert_ok(open_bytes(&image_format_vhd, b.p, b.len, &image, &err));
    expect_disk(image.dev, disk.p, 2048 + 700);
    close_image(&image);
    free(b.p);
    free(disk.p);
}

/* A clear bit means "never written": zeros, also when other bytes lie there; that is said. */
static void clear_bits_read_as_zeros(void **state)
{
    const uint8_t present[2] = {1, 1};
    struct built disk, b = build_vhd_dynamic(16384, 2, present, 3, &disk);
    struct vd_err err = VD_ERR_INIT;
    struct image image;
    uint8_t *bitmap = b.p + vhd_block_at(&b, 1);

    (void)state;
    bitmap[0] = 0x7f; /* sector 0: the most significant bit comes first */
    bitmap[1] = 0xe7; /* sectors 11 and 12 */
    memset(disk.p + 16384, 0, 512);
    memset(disk.p + 16384 + 11 * 512, 0, 1024);
    memset(b.p + vhd_block_at(&b, 1) + 512 + 12 * 512, 0, 512); /* as the format wants it */
    assert_ok(open_bytes(&image_format_vhd, b.p, b.len, &image, &err));
    expect_disk(image.dev, disk.p, disk.len);
    assert_true(has_warning(&image, "2 sectors that a sector bitmap calls never written"));
    assert_true(has_warning(&image, "first in block 1"));
    close_image(&image);
    free(b.p);
    free(disk.p);
}

/* Bitmaps of more than one sector, in runs that cross pieces of it. */
static void long_bitmaps(void **state)
{
    const uint8_t present[1] = {1};
    struct built disk, b = build_vhd_dynamic(8 << 20, 1, present, 3, &disk);
    uint8_t *bitmap = b.p + vhd_block_at(&b, 0);
    struct vd_err err = VD_ERR_INIT;
    struct image image;
    size_t i;

    (void)state;
    assert_int_equal(vhd_block_at(&b, 0) + 2048 + (8 << 20) + 512, b.len);
    memset(bitmap + 500, 0, 600);
    bitmap[1100] = 0x0f;
    for (i = 500 * 8; i < 1100 * 8 + 4; i++) {
        memset(disk.p + i * 512, 0, 512);
        memset(b.p + vhd_block_at(&b, 0) + 2048 + i * 512, 0, 512);
    }
    assert_ok(open_bytes(&image_format_vhd, b.p, b.len, &image, &err));
    assert_false(has_warning(&image, ""));
    expect_disk(image.dev, disk.p, disk.len);
    close_image(&image);
    free(b.p);
    free(disk.p);
}

static void probe_knows_its_own(void **state)
{
    const uint8_t present[2] = {1, 1};
    struct built d = build_vhd_dynamic(512, 2, present, 3, NULL), f = build_vhd_fixed(9000, 1);
    struct image_window w = {0};

    (void)state;
    memcpy(w.head, f.p, w.head_len = 4096);
    memcpy(w.tail, f.p + f.len - 1536, w.tail_len = 1536);
    w.file_size = f.len;
    assert_int_equal(image_format_vhd.probe(&w), IMAGE_YES);
    w.tail[1536 - 512 + 90] ^= 1; /* a fixed disk's footer that fits the file */
    assert_int_equal(image_format_vhd.probe(&w), IMAGE_YES);
    w.file_size++;
    assert_int_equal(image_format_vhd.probe(&w), IMAGE_DAMAGED);
    memset(w.tail, 0, sizeof(w.tail));
    assert_int_equal(image_format_vhd.probe(&w), IMAGE_NO);

    memcpy(w.head, d.p, 512);
    assert_int_equal(image_format_vhd.probe(&w), IMAGE_YES);
    w.head[90] ^= 1;
    assert_int_equal(image_format_vhd.probe(&w), IMAGE_DAMAGED);
    w.head_len = 0;
    assert_int_equal(image_format_vhd.probe(&w), IMAGE_NO);
    free(d.p);
    free(f.p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fixed),
        cmocka_unit_test(fixed_with_a_footer_of_511_bytes),
        cmocka_unit_test(dynamic_of_many_block_sizes),
        cmocka_unit_test(odd_size),
        cmocka_unit_test(clear_bits_read_as_zeros),
        cmocka_unit_test(long_bitmaps),
        cmocka_unit_test(probe_knows_its_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
