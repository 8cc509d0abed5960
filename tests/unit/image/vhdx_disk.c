/* SPDX-License-Identifier: Apache-2.0 */
/* Whole VHDX files from memory: states, order of blocks, redundancy, log, sector sizes. */
#include "testlib.h"

#include "../../evil/vhd/build.h"
#include "base/bytes.h"
#include "base/range.h"

#include <stdlib.h>
#include <string.h>

#define H1 ((size_t)64 << 10)
#define R1 ((size_t)192 << 10)
#define R2 ((size_t)256 << 10)

static void expect_disk(struct blkdev *dev, const uint8_t *want, size_t len)
{
    static const size_t sizes[] = {4096, 65537, (1 << 20) + 512, 8 << 20};
    struct vd_err err = VD_ERR_INIT;
    uint8_t *buf = malloc(len + 1);
    size_t i, off;

    assert_int_equal(dev->size, len);
    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        memset(buf, 0xee, len);
        for (off = 0; off < len; off += sizes[i])
            assert_ok(blk_read(dev, off, buf + off, (size_t)vd_min(sizes[i], len - off), &err));
        assert_memory_equal(buf, want, len);
    }
    for (off = 0; off < len;) {
        struct blk_extent ext;

        assert_ok(blk_map(dev, off, len, &ext, &err));
        if (ext.status == BLK_ZEROS) {
            assert_true(vd_all_zero(want + off, (size_t)ext.len));
        } else {
            assert_int_equal(ext.status, BLK_DATA);
            assert_ok(blk_read(ext.child, ext.child_off, buf, (size_t)ext.len, &err));
            assert_memory_equal(buf, want + off, (size_t)ext.len);
        }
        off += ext.len;
    }
    free(buf);
}

static void states_and_order(void **state)
{
    const uint8_t states[8] = {6, 0, 2, 6, 3, 6, 6, 1};
    struct built disk, b = build_vhdx(8, states, 40, &disk);
    struct vd_err err = VD_ERR_INIT;
    struct image image;

    (void)state;
    assert_ok(open_bytes(&image_format_vhdx, b.p, b.len, &image, &err));
    assert_string_equal(image.kind, "dynamic");
    assert_string_equal(image.identity, "guid:22222222-2222-2222-2222-222222222222");
    assert_string_equal(fact_value(&image, "creator"), "test");
    assert_string_equal(fact_value(&image, "allocated_blocks"), "4 of 8");
    assert_true(has_warning(&image, "content of 1 blocks is undefined"));
    assert_int_equal(image.dev->sector_size, 512);
    expect_disk(image.dev, disk.p, disk.len);
    close_image(&image);
    free(b.p);
    free(disk.p);
}

/* Blocks that lie one after the other are one run of the map. */
static void neighbours_are_one_run(void **state)
{
    const uint8_t states[4] = {6, 6, 6, 6};
    struct built b = build_vhdx(4, states, 40, NULL);
    struct vd_err err = VD_ERR_INIT;
    struct blk_extent ext;
    struct image image;
    unsigned i;

    (void)state;
    for (i = 0; i < 4; i++)
        vd_put_le64(b.p + VHDX_T_BAT + 8 * (size_t)i, (VHDX_T_BLOCKS + i * VHDX_T_MIB) | 6);
    b.p[VHDX_T_METADATA + VHDX_T_PARAMS + 4] = 1;
    assert_ok(open_bytes(&image_format_vhdx, b.p, b.len, &image, &err));
    assert_string_equal(image.kind, "fixed");
    assert_ok(blk_map(image.dev, 5, UINT64_MAX, &ext, &err));
    assert_int_equal(ext.status, BLK_DATA);
    assert_int_equal(ext.len, 4 * VHDX_T_MIB - 5);
    assert_int_equal(ext.child_off, VHDX_T_BLOCKS + 5);
    expect_disk(image.dev, b.p + VHDX_T_BLOCKS, 4 * VHDX_T_MIB);
    close_image(&image);
    free(b.p);
}

static void sectors_of_4096(void **state)
{
    const uint8_t states[2] = {6, 6};
    struct built disk, b = build_vhdx(2, states, 40, &disk);
    struct vd_err err = VD_ERR_INIT;
    struct image image;

    (void)state;
    vd_put_le32(b.p + VHDX_T_METADATA + VHDX_T_LOGICAL, 4096);
    vd_put_le64(b.p + VHDX_T_METADATA + VHDX_T_SIZE, VHDX_T_MIB + 8192); /* a short last block */
    assert_ok(open_bytes(&image_format_vhdx, b.p, b.len, &image, &err));
    assert_int_equal(image.dev->sector_size, 4096);
    expect_disk(image.dev, disk.p, VHDX_T_MIB + 8192);
    close_image(&image);
    free(b.p);
    free(disk.p);
}

static void second_copies_are_used_and_said(void **state)
{
    const uint8_t states[2] = {6, 6};
    struct built disk, b = build_vhdx(2, states, 40, &disk);
    struct vd_err err = VD_ERR_INIT;
    struct image image;

    (void)state;
    b.p[2 * H1 + 100] ^= 1;
    b.p[R1 + 100] ^= 1;
    assert_ok(open_bytes(&image_format_vhdx, b.p, b.len, &image, &err));
    assert_true(has_warning(&image, "header 2 is damaged (the checksum is wrong): header 1"));
    assert_true(has_warning(&image, "region table 1 is damaged (the checksum is wrong): region "
                                    "table 2 was used"));
    expect_disk(image.dev, disk.p, disk.len);
    close_image(&image);
    b.p[R1 + 100] ^= 1;
    b.p[R2] = 0;
    assert_ok(open_bytes(&image_format_vhdx, b.p, b.len, &image, &err));
    assert_true(has_warning(&image, "region table 2 is damaged (the signature is missing)"));
    close_image(&image);
    free(b.p);
    free(disk.p);
}

/* The log brings the BAT entry, the metadata and a grown file; the evidence lacks all three. */
static void pending_log(void **state)
{
    const uint8_t states[3] = {6, 0, 6};
    struct built disk, b = build_vhdx(3, states, 40, &disk);
    uint8_t *bat = malloc(4096), *meta = malloc(4096);
    struct vd_err err = VD_ERR_INIT;
    struct log_write w[3];
    struct log_entry e = {
        .sequence = 5, .flushed = b.len, .last = b.len + VHDX_T_MIB, .writes = w, .n_writes = 3};
    struct image image;

    (void)state;
    memcpy(bat, b.p + VHDX_T_BAT, 4096);
    memcpy(meta, b.p + VHDX_T_METADATA + 0x10000, 4096);
    vd_put_le64(bat + 8, b.len | 6); /* block 1: in the part that the replay adds */
    memset(b.p + VHDX_T_BAT, 0xff, 4096);
    memset(b.p + VHDX_T_METADATA + 0x10000, 0xff, 4096);
    w[0] = (struct log_write){VHDX_T_BAT, 0, bat};
    w[1] = (struct log_write){VHDX_T_METADATA + 0x10000, 0, meta};
    w[2] = (struct log_write){b.len, 4096, NULL};
    log_put(b.p + VHDX_T_LOG, 256, &e);
    vhdx_set_log(b.p, test_log_guid);
    assert_ok(open_bytes(&image_format_vhdx, b.p, b.len, &image, &err));
    assert_true(has_warning(&image, "replayed in memory (1 entries, sequence numbers 5 to 5, 3 "
                                    "writes)"));
    expect_disk(image.dev, disk.p, disk.len);
    close_image(&image);

    e.flushed = b.len + 1; /* the file was cut off */
    log_put(b.p + VHDX_T_LOG, 256, &e);
    assert_fails(open_bytes(&image_format_vhdx, b.p, b.len, &image, &err), VD_ECORRUPT,
                 "the file was truncated");
    close_image(&image);
    b.p[VHDX_T_LOG + 70] ^= 1;
    assert_fails(open_bytes(&image_format_vhdx, b.p, b.len, &image, &err), VD_ECORRUPT,
                 "no valid sequence");
    close_image(&image);
    free(b.p);
    free(disk.p);
    free(bat);
    free(meta);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(states_and_order), cmocka_unit_test(neighbours_are_one_run),
        cmocka_unit_test(sectors_of_4096),  cmocka_unit_test(second_copies_are_used_and_said),
        cmocka_unit_test(pending_log),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
