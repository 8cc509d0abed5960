/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Faults of the medium beneath VHD and VHDX: the n-th read fails, for every n, while opening and
 * while reading.  Either the file is refused with an I/O error, or it opens and then every byte
 * that is given is right; nothing leaks (the sanitizer run sees to it) and the same stack works
 * again when the fault is gone.
 */
#include "../../evil/vhd/build.h"
#include "blk/layers.h"
#include "testlib.h"

#include "base/bytes.h"
#include "base/range.h"

#include <stdlib.h>
#include <string.h>

struct subject {
    const struct image_format *format;
    struct built file, disk;
};

/* Reads the whole disk in pieces; right where it reads, VD_EIO with a true offset where not. */
static unsigned read_all(struct blkdev *dev, const struct built *disk)
{
    struct vd_err err = VD_ERR_INIT;
    uint8_t *buf = malloc(65536);
    unsigned failed = 0;
    size_t off;

    for (off = 0; off < disk->len; off += 65536) {
        size_t n = (size_t)vd_min(65536, disk->len - off);
        int rc = blk_read(dev, off, buf, n, &err);

        if (rc == 0) {
            assert_memory_equal(buf, disk->p + off, n);
            continue;
        }
        assert_int_equal(rc, -VD_EIO);
        assert_true(test_contains(err.msg, "injected fault"));
        assert_true(err.has_offset && err.offset >= off && err.offset < off + n);
        failed++;
    }
    free(buf);
    return failed;
}

/* Returns false when the fault no longer strikes while opening. */
static int open_with_fault(const struct subject *s, uint64_t nth, int persistent)
{
    const struct blk_fault_rule rule = {
        .kind = BLK_FAULT_ERROR, .nth = nth, .persistent = persistent != 0};
    struct blkdev *mem = NULL, *dev = NULL;
    struct vd_err err = VD_ERR_INIT;
    struct image image;
    int struck, rc;

    assert_ok(dev_over(s->file.p, s->file.len, &mem, &err));
    assert_ok(blk_fault_new(mem, &dev, &err));
    blk_fault_set(dev, &rule);
    rc = open_dev(s->format, dev, &image, &err);
    struck = blk_fault_count(dev) >= nth;
    if (rc == 0) {
        if (struck) /* a copy was used, or a check was left out: said in either case */
            assert_true(has_warning(&image, ""));
        blk_fault_set(dev, NULL);
        assert_int_equal(read_all(image.dev, &s->disk), 0);
    } else {
        assert_true(struck);
        assert_true(rc == -VD_EIO || rc == -VD_ECORRUPT);
        assert_true(err.msg[0]);
    }
    close_image(&image);
    blk_unref(dev);
    return struck;
}

static void sweep_open(const struct subject *s)
{
    uint64_t n;

    for (n = 1; open_with_fault(s, n, 0); n++)
        assert_true(n < 10000);
    assert_true(n > 2); /* both ends of the file at least */
    for (n = 1; open_with_fault(s, n, 1); n++)
        assert_true(n < 10000);
}

static void sweep_read(const struct subject *s)
{
    struct blkdev *mem = NULL, *dev = NULL;
    struct vd_err err = VD_ERR_INIT;
    unsigned failed, any = 0;
    bool struck = true;
    struct image image;
    uint64_t n, off;

    assert_ok(dev_over(s->file.p, s->file.len, &mem, &err));
    assert_ok(blk_fault_new(mem, &dev, &err));
    assert_ok(open_dev(s->format, dev, &image, &err));
    for (n = 1; struck; n++) { /* a read that is tried again may succeed */
        const struct blk_fault_rule rule = {.kind = BLK_FAULT_ERROR, .nth = n};

        blk_fault_set(dev, &rule);
        failed = read_all(image.dev, &s->disk);
        assert_true(failed <= 1);
        any += failed;
        struck = blk_fault_count(dev) >= n;
    }
    assert_true(any > 3);
    for (off = 0; off < s->file.len; off += s->file.len / 61) { /* a bad sector somewhere */
        const struct blk_fault_rule rule = {
            .kind = BLK_FAULT_ERROR, .off = off / 512 * 512, .len = 512};

        blk_fault_set(dev, &rule);
        (void)read_all(image.dev, &s->disk);
    }
    blk_fault_set(dev, NULL);
    assert_int_equal(read_all(image.dev, &s->disk), 0);
    close_image(&image);
    blk_unref(dev);
}

static void sweep(struct subject s)
{
    sweep_open(&s);
    sweep_read(&s);
    free(s.file.p);
    free(s.disk.p);
}

static void vhd_fixed(void **state)
{
    struct subject s = {.format = &image_format_vhd};

    (void)state;
    s.file = build_vhd_fixed(300000, 1);
    s.disk = build_vhd_fixed(300000, 1);
    s.disk.len = 300000;
    sweep(s);
}

static void vhd_dynamic(void **state)
{
    const uint8_t present[7] = {1, 0, 1, 1, 0, 0, 1};
    struct subject s = {.format = &image_format_vhd};
    uint8_t *bitmap;

    (void)state;
    s.file = build_vhd_dynamic(65536, 7, present, 9, &s.disk);
    bitmap = s.file.p + vhd_block_at(&s.file, 2); /* some sectors that were never written */
    bitmap[3] = 0;
    memset(bitmap + 512 + 24 * 512, 0, 8 * 512);
    memset(s.disk.p + 2 * 65536 + 24 * 512, 0, 8 * 512);
    sweep(s);
}

/* A child alone: zeros where the parent would answer. */
static struct built make_child(struct built *out_disk)
{
    const uint8_t present[6] = {1, 0, 1, 1, 0, 1};
    struct built file = build_vhd_dynamic(65536, 6, present, 9, out_disk);
    uint8_t *header = file.p + VHD_T_HEADER, *bitmap = file.p + vhd_block_at(&file, 2);
    size_t name_at = vhd_block_at(&file, 5);

    bitmap[3] = 0x0f;
    memset(out_disk->p + 2 * 65536 + 24 * 512, 0, 4 * 512);
    put_be32(file.p + 60, 4);
    vhd_seal_footer(file.p, 512);
    memcpy(file.p + file.len - 512, file.p, 512);
    memset(header + 40, 0xab, 16);
    memcpy(header + 576, "W2ru", 4); /* names that lie in the padding of a bitmap */
    put_be32(header + 580, 1);
    put_be32(header + 584, 10);
    put_be64(header + 592, name_at + 100);
    memcpy(file.p + name_at + 100, "p\0.\0v\0h\0d\0", 10);
    vhd_seal_header(header);
    return file;
}

static void vhd_differencing(void **state)
{
    struct subject s = {.format = &image_format_vhd};

    (void)state;
    s.file = make_child(&s.disk);
    sweep(s);
}

/* With one bad sector of the file, exactly the bytes [from, to) of the disk cannot be had. */
static void expect_lost(struct blkdev *dev, const struct built *disk, uint64_t from, uint64_t to)
{
    struct vd_err err = VD_ERR_INIT;
    uint8_t sector[512];
    uint64_t off;

    for (off = 0; off < disk->len; off += 512) {
        bool lost = off >= from && off < to;
        struct blk_extent ext;

        assert_ok(blk_map(dev, off, disk->len, &ext, &err));
        assert_int_equal(blk_read(dev, off, sector, 512, &err), lost ? -VD_EIO : 0);
        if (!lost)
            assert_memory_equal(sector, disk->p + off, 512);
        assert_true(!lost || ext.status == BLK_UNREADABLE || ext.status == BLK_DATA);
    }
}

static void a_bad_sector_costs_what_it_describes(void **state)
{
    struct blkdev *mem = NULL, *dev = NULL;
    struct vd_err err = VD_ERR_INIT;
    struct built disk, file = make_child(&disk);
    struct blk_fault_rule rule = {.kind = BLK_FAULT_ERROR, .len = 512, .persistent = true};
    struct image image;

    (void)state;
    assert_ok(dev_over(file.p, file.len, &mem, &err));
    assert_ok(blk_fault_new(mem, &dev, &err));
    assert_ok(open_dev(&image_format_vhd, dev, &image, &err));
    rule.off = vhd_block_at(&file, 3); /* a bitmap: its block */
    blk_fault_set(dev, &rule);
    expect_lost(image.dev, &disk, UINT64_C(3) * 65536, UINT64_C(4) * 65536);
    rule.off = vhd_block_at(&file, 3) + 512 + 7 * 512; /* data: its sector */
    blk_fault_set(dev, &rule);
    expect_lost(image.dev, &disk, UINT64_C(3) * 65536 + 7 * 512, UINT64_C(3) * 65536 + 8 * 512);
    rule.off = VHD_T_TABLE; /* the table: all blocks, the unused ones too */
    blk_fault_set(dev, &rule);
    expect_lost(image.dev, &disk, 0, disk.len);
    blk_fault_set(dev, NULL);
    expect_lost(image.dev, &disk, 0, 0);
    close_image(&image);
    blk_unref(dev);
    free(file.p);
    free(disk.p);
}

static void vhdx_dynamic(void **state)
{
    const uint8_t states[4] = {6, 2, 6, 6};
    struct subject s = {.format = &image_format_vhdx};

    (void)state;
    s.file = build_vhdx(4, states, 9, &s.disk);
    sweep(s);
}

/* A child of blocks {partial, parent's, whole, partial}; the bitmap comes last in the file.  *out_disk is
 * what the child alone reads as: zeros where the parent answers. */
static struct built make_vhdx_child(struct built *out_disk)
{
    static const uint8_t guid[16] = {0x2d, 0x5f, 0xd3, 0xa8, 0x0b, 0xb3, 0x4d, 0x45,
                                     0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c};
    static const char *const pairs[][2] = {
        {"parent_linkage", "{11111111-2222-3333-4444-555555555555}"},
        {"relative_path", ".\\base.vhdx"}};
    const uint8_t states[4] = {7, 0, 6, 7};
    struct built whole = build_vhdx(4, states, 9, out_disk), b;
    size_t i;

    b.len = whole.len + VHDX_T_MIB;
    b.p = calloc(1, b.len);
    memcpy(b.p, whole.p, whole.len);
    vd_put_le64(b.p + VHDX_T_BAT + (size_t)8 * 4096, whole.len | 6);
    for (i = 0; i < 4 * 2048; i++) /* in runs of three sectors */
        if (i / 3 % 2)
            b.p[whole.len + i / 8] |= (uint8_t)(1u << (i % 8));
        else if (states[i / 2048] == 7)
            memset(out_disk->p + i * 512, 0, 512);
    vhdx_make_locator(b.p + VHDX_T_METADATA + VHDX_T_LOCATOR, pairs, 2);
    vhdx_add_item(b.p, guid, VHDX_T_LOCATOR, 1000, 4);
    b.p[VHDX_T_METADATA + VHDX_T_PARAMS + 4] = 2;
    free(whole.p);
    return b;
}

static void vhdx_differencing(void **state)
{
    struct subject s = {.format = &image_format_vhdx};

    (void)state;
    s.file = make_vhdx_child(&s.disk);
    sweep(s);
}

/* Opens over a medium where one sector at a time is bad. */
static void a_bad_sector_of_a_vhdx(void **state)
{
    struct built disk, file = make_vhdx_child(&disk);
    struct blk_fault_rule rule = {.kind = BLK_FAULT_ERROR, .len = 512, .persistent = true};
    const size_t bitmap = file.len - VHDX_T_MIB;
    struct blkdev *mem = NULL, *dev = NULL;
    struct vd_err err = VD_ERR_INIT;
    struct image image;

    (void)state;
    assert_ok(dev_over(file.p, file.len, &mem, &err));
    assert_ok(blk_fault_new(mem, &dev, &err));
    assert_ok(open_dev(&image_format_vhdx, dev, &image, &err));
    rule.off = bitmap; /* 4,096 sectors: block 0 is partial, block 1 needs no bitmap */
    blk_fault_set(dev, &rule);
    expect_lost(image.dev, &disk, 0, VHDX_T_MIB);
    rule.off = bitmap + 512; /* blocks 2, whole, and 3 */
    blk_fault_set(dev, &rule);
    expect_lost(image.dev, &disk, 3 * VHDX_T_MIB, 4 * VHDX_T_MIB);
    rule.off = VHDX_T_BAT + (size_t)8 * 4096; /* the bitmap's entry: both partial blocks */
    rule.len = 8;
    blk_fault_set(dev, &rule);
    {
        uint8_t sector[512];

        assert_int_equal(blk_read(image.dev, 0, sector, 512, &err), -VD_EIO);
        assert_int_equal(blk_read(image.dev, 3 * VHDX_T_MIB, sector, 512, &err), -VD_EIO);
        assert_ok(blk_read(image.dev, VHDX_T_MIB, sector, 512, &err));
        assert_ok(blk_read(image.dev, 2 * VHDX_T_MIB, sector, 512, &err));
    }
    rule.off = VHDX_T_BAT + 24; /* the entry of block 3 alone */
    blk_fault_set(dev, &rule);
    expect_lost(image.dev, &disk, 3 * VHDX_T_MIB, 4 * VHDX_T_MIB);
    blk_fault_set(dev, NULL);
    expect_lost(image.dev, &disk, 0, 0);
    close_image(&image);
    blk_unref(dev);
    free(file.p);
    free(disk.p);
}

static void vhdx_with_a_log(void **state)
{
    const uint8_t states[3] = {6, 2, 6};
    struct subject s = {.format = &image_format_vhdx};
    struct log_entry e = {.sequence = 3, .n_writes = 1};
    struct log_write w = {VHDX_T_BAT, 0, NULL};
    uint8_t *bat = malloc(4096);

    (void)state;
    s.file = build_vhdx(3, states, 9, &s.disk);
    memcpy(bat, s.file.p + VHDX_T_BAT, 4096);
    memset(s.file.p + VHDX_T_BAT, 0, 4096);
    w.data = bat;
    e.writes = &w;
    log_put(s.file.p + VHDX_T_LOG, 256, &e);
    vhdx_set_log(s.file.p, test_log_guid);
    free(bat);
    sweep_open(&s);
    free(s.file.p);
    free(s.disk.p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vhd_fixed),         cmocka_unit_test(vhd_dynamic),
        cmocka_unit_test(vhd_differencing),  cmocka_unit_test(a_bad_sector_costs_what_it_describes),
        cmocka_unit_test(vhdx_dynamic),      cmocka_unit_test(vhdx_with_a_log),
        cmocka_unit_test(vhdx_differencing), cmocka_unit_test(a_bad_sector_of_a_vhdx),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
