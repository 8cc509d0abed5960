/* SPDX-License-Identifier: Apache-2.0 */
/* Traps 3 to 7 and 17 of VMDK: what entries of tables and headers of grains mean. */
#include "traps.h"

#include "vmdk_build.h"

#include "base/bytes.h"
#include "blk/layers.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

#define GRAIN  4096u
#define STREAM (VB_NEWLINE | VB_COMPRESSED | VB_MARKERS)

static struct image *must_open(const struct vb_image *v, size_t len)
{
    struct vd_err err = VD_ERR_INIT;
    struct image *image = NULL;

    assert_ok(vb_open(v->p, len, "x.vmdk", &image, &err));
    return image;
}

static void must_fail(struct image *image, uint32_t grain, const char *text)
{
    struct vd_err err = VD_ERR_INIT;
    uint8_t byte;

    assert_fails(blk_read(image->dev, (uint64_t)grain * GRAIN, &byte, 1, &err), VD_ECORRUPT, text);
}

static void must_be(struct image *image, uint32_t grain, const uint8_t *expected)
{
    struct vd_err err = VD_ERR_INIT;
    uint8_t buf[GRAIN];

    assert_ok(blk_read(image->dev, (uint64_t)grain * GRAIN, buf, GRAIN, &err));
    assert_memory_equal(buf, expected, GRAIN);
}

/* The disk of `child` over a parent full of data. */
static struct blkdev *over_data(struct image *child, uint8_t *parent_bytes)
{
    struct vd_err err = VD_ERR_INIT;
    struct blkdev *layers[2], *disk = NULL;

    test_fill(parent_bytes, (size_t)child->dev->size, 77);
    layers[0] = blk_ref(child->dev);
    assert_ok(blk_mem_new(parent_bytes, (size_t)child->dev->size, "parent", &layers[1], &err));
    assert_ok(blk_overlay_new(layers, 2, "", &disk, &err));
    return disk;
}

/* Entry 1: zeros that hide the parent with the flag, sector 1 without it; never the text there. */
static void trap_03_zeroed_grain_needs_its_flag(void **state)
{
    static const char text[] = "# Disk DescriptorFile\nCID=1\nparentCID=ffffffff\n"
                               "RW 32 SPARSE \"x.vmdk\"\n";
    static const uint8_t zeros[GRAIN];
    static uint8_t parent[4 * GRAIN];
    const struct vb_spec with = {
        .grains = "dz.d", .version = 2, .flags = VB_NEWLINE | VB_ZERO_GRAIN, .descriptor = text};
    struct vb_spec without = {.grains = "d..d", .descriptor = text};
    struct vd_err err = VD_ERR_INIT;
    struct image *image;
    struct blkdev *disk;
    struct vb_image v;
    uint8_t buf[GRAIN];

    (void)state;
    vb_make(&with, &v);
    image = must_open(&v, v.len);
    disk = over_data(image, parent);
    assert_ok(blk_read(disk, GRAIN, buf, GRAIN, &err));
    assert_memory_equal(buf, zeros, GRAIN);
    assert_ok(blk_read(disk, 2 * GRAIN, buf, GRAIN, &err));
    assert_memory_equal(buf, parent + 2 * (size_t)GRAIN, GRAIN);
    blk_unref(disk);
    image_free(image);
    vb_set_gde(&v, 0, 1, true,
               false); /* 1 in the directory is no table, and nothing is made of it */
    image = must_open(&v, v.len);
    must_fail(image, 2, "grain directory");
    image_free(image);
    vb_free(&v);
    vb_make(&without, &v);
    vb_set_gte(&v, 1, 1, true, false); /* sector 1 holds the descriptor: that is no grain */
    image = must_open(&v, v.len);
    must_fail(image, 1, "into the header, the descriptor");
    must_be(image, 0, v.disk);
    image_free(image);
    vb_free(&v);
    without = (struct vb_spec){.grains = "d"};
    vb_make(&without, &v);
    memmove(v.p + 512 + GRAIN, v.p + 512, v.len - 512 - GRAIN); /* room for a grain at sector 1 */
    test_fill(v.p + 512, GRAIN, 5);
    vd_put_le64(v.p + 56, v.gd / 512 + 8);
    vd_put_le32(v.p + v.gd + GRAIN, (uint32_t)(v.gt[0] / 512 + 8));
    vd_put_le32(v.p + v.gt[0] + GRAIN, 1);
    image = must_open(&v, v.len);
    must_be(image, 0, v.p + 512);
    image_free(image);
    vb_free(&v);
}

/* Two copies of directory and tables: the one that is emptied or damaged gives way, and it is said;
 * what they contradict each other in is not shown. */
static void trap_04_redundant_copies_are_compared(void **state)
{
    const struct vb_spec spec = {.grains = "dd.dd..ddddd", .flags = VB_NEWLINE | VB_REDUNDANT};
    int which, what;

    (void)state;
    for (which = 0; which < 2; which++)
        for (what = 0; what < 4; what++) {
            struct image *image;
            struct vb_image v;
            bool primary = which == 0;

            vb_make(&spec, &v);
            switch (what) {
            case 0: /* a table of zeros */
                memset(v.p + (primary ? v.gt[0] : v.rgt[0]), 0, 16);
                break;
            case 1: /* a directory of zeros */
                memset(v.p + (primary ? v.gd : v.rgd), 0, 12);
                break;
            case 2: /* past the end */
                vb_set_gte(&v, 4, 0x7fffffff, primary, !primary);
                break;
            default: /* two possible places for one grain */
                vb_set_gte(&v, 4, (uint32_t)(v.grain[11] / 512 + 4096), primary, !primary);
                v.p = realloc(v.p, v.len + 4096 * 512 + 8192);
                assert_non_null(v.p);
                memset(v.p + v.len, 1, 4096 * 512 + 8192);
                v.len += 4096 * 512 + 8192;
            }
            image = must_open(&v, v.len);
            if (what < 3) {
                vb_check_reads(image->dev, v.disk, v.disk_len, 0);
            } else {
                must_fail(image, 4, "do not agree");
                must_be(image, 0, v.disk);
            }
            assert_true(vb_has_fact(image, VD_FACT_WARNING,
                                    what == 1   ? "the two grain directories differ"
                                    : what == 3 ? "different places"
                                                : "the two copies differ"));
            image_free(image);
            vb_free(&v);
        }
}

static const struct vb_spec stream = {
    .grains = "d.dd.d..dd", .version = 3, .flags = STREAM, .footer = true, .interleave = true};

/* The header says "at the end": the footer counts, wherever padding puts it. */
static void trap_05_footer_wins(void **state)
{
    struct image *image;
    struct vb_image v;

    (void)state;
    vb_make(&stream, &v);
    assert_true(vd_le64(v.p + 56) == UINT64_MAX);
    vd_put_le64(v.p + 48, 1); /* the header's redundant directory means nothing then */
    image = must_open(&v, v.len);
    vb_check_reads(image->dev, v.disk, v.disk_len, 0);
    assert_true(vb_has_fact(image, VD_FACT_INFO, "named by the footer"));
    image_free(image);
    v.p = realloc(v.p, v.len + 65536);
    assert_non_null(v.p);
    memset(v.p + v.len, 0, 65536);
    image = must_open(&v, v.len + 65536);
    vb_check_reads(image->dev, v.disk, v.disk_len, 0);
    assert_true(vb_has_fact(image, VD_FACT_INFO, "65536 bytes of zeros"));
    image_free(image);
    vb_free(&v);
}

/* No footer: the grains that are there are found, what a table proves absent is zeros, the rest may
 * have been lost and is an error.  The directory, if it is there, proves the whole. */
static void trap_05_lost_footer_is_walked_around(void **state)
{
    static const uint8_t zeros[GRAIN];
    struct image *image;
    struct vb_image v;
    uint32_t i;

    (void)state;
    vb_make(&stream, &v); /* "d.dd" ".d.." "dd" */
    image = must_open(&v, v.grain[9]);
    for (i = 0; i < 10; i++)
        if (i == 9)
            must_fail(image, i, "may have been in the lost part");
        else
            must_be(image, i, v.disk + i * (size_t)GRAIN);
    assert_true(vb_has_fact(image, VD_FACT_WARNING, "5 grains and 2 grain tables were met"));
    image_free(image);
    image = must_open(&v, v.gt[1]); /* the second table is cut off: its span is not proved */
    must_be(image, 1, zeros);
    must_be(image, 5, v.disk + 5 * (size_t)GRAIN);
    must_fail(image, 4, "lost part");
    must_fail(image, 6, "lost part");
    image_free(image);
    memset(v.p + v.gt[1] - 512, 0, v.len - v.gt[1] + 512); /* emptied, not cut */
    image = must_open(&v, v.len);
    must_fail(image, 4, "lost part");
    must_fail(image, 9, "lost part");
    image_free(image);
    memset(v.p + v.gt[0] + 8, 0, v.len - v.gt[0] - 8); /* a table that lacks what was met */
    image = must_open(&v, v.len);
    must_be(image, 0, v.disk);
    must_fail(image, 1, "lost part");
    must_fail(image, 2, "two places");
    image_free(image);
    vb_free(&v);
    vb_make(&stream, &v);
    vd_put_le64(v.p + v.footer + 56, 2); /* leads to no directory */
    image = must_open(&v, v.len);
    vb_check_reads(image->dev, v.disk, v.disk_len, 0);
    assert_true(vb_has_fact(image, VD_FACT_WARNING, "nothing is missing"));
    image_free(image);
    vb_free(&v);
}

/* Data that does not compress is larger than its grain; a size beyond all sense is refused, and so is
 * data that inflates to more than the grain. */
static void trap_06_compressed_grain_grows(void **state)
{
    const struct vb_spec spec = {.grains = "dd", .flags = STREAM};
    struct image *image;
    static const uint8_t twice[2 * GRAIN] = {1};
    uint8_t packed[256];
    uLongf n = sizeof(packed);
    struct vb_image v;

    (void)state;
    vb_make(&spec, &v);
    assert_true(v.grain_len[0] > 12 + GRAIN);
    image = must_open(&v, v.len);
    vb_check_reads(image->dev, v.disk, v.disk_len, 0);
    image_free(image);
    vd_put_le32(v.p + v.grain[0] + 8, 2 * GRAIN);
    image = must_open(&v, v.len);
    must_fail(image, 0, "compressed size of 8192");
    image_free(image);
    vb_free(&v);
    vb_make(&spec, &v);
    assert_int_equal(compress2(packed, &n, twice, sizeof(twice), 9), Z_OK);
    assert_true(n < v.grain_len[0]);
    vd_put_le32(v.p + v.grain[0] + 8, (uint32_t)n);
    memcpy(v.p + v.grain[0] + 12, packed, n);
    image = must_open(&v, v.len);
    must_fail(image, 0, "inflates to more than 4096");
    must_be(image, 1, v.disk + GRAIN);
    image_free(image);
    vb_free(&v);
}

/* The address in front of the data must be that of the grain asked for. */
static void trap_06_compressed_grain_has_an_address(void **state)
{
    const struct vb_spec spec = {.grains = "dd.d", .flags = STREAM};
    struct image *image;
    struct vb_image v;
    uint32_t first;

    (void)state;
    vb_make(&spec, &v);
    first = vb_get_gte(&v, 0);
    vb_set_gte(&v, 0, vb_get_gte(&v, 1), true, false);
    vb_set_gte(&v, 1, first, true, false);
    image = must_open(&v, v.len);
    must_fail(image, 0, "is that of sector 8, not of sector 0");
    must_fail(image, 1, "is that of sector 0, not of sector 8");
    must_be(image, 3, v.disk + 3 * (size_t)GRAIN);
    image_free(image);
    vb_free(&v);
}

/* Without the marker flag the size alone stands in front, and that nothing can be checked is said. */
static void trap_06_no_markers_no_address(void **state)
{
    const struct vb_spec spec = {.grains = "dd.d", .flags = VB_NEWLINE | VB_COMPRESSED};
    struct image *image;
    struct vb_image v;

    (void)state;
    vb_make(&spec, &v);
    image = must_open(&v, v.len);
    vb_check_reads(image->dev, v.disk, v.disk_len, 0);
    assert_true(vb_has_fact(image, VD_FACT_WARNING, "cannot be checked"));
    image_free(image);
    vb_free(&v);
}

/* The last grain and table are short; entries behind the disk mean nothing, whatever they say. */
static void trap_07_short_ends_and_entries_behind(void **state)
{
    static const unsigned flags[] = {VB_NEWLINE, VB_NEWLINE | VB_REDUNDANT, STREAM};
    size_t i;

    (void)state;
    for (i = 0; i < 3; i++) {
        const struct vb_spec spec = {.grains = "d.ddd", .capacity_sectors = 35, .flags = flags[i]};
        struct image *image;
        struct vb_image v;
        uint32_t k;

        vb_make(&spec, &v);
        for (k = 5; k < 8; k++)
            vb_set_gte(&v, k, k == 5 ? UINT32_MAX : vb_get_gte(&v, 0), true, k == 6);
        if (i == 0) /* the file need not hold what the disk does not have */
            v.len = v.grain[4] + 3 * 512;
        image = must_open(&v, v.len);
        assert_int_equal(image->dev->size, 35 * 512);
        vb_check_reads(image->dev, v.disk, v.disk_len, 0);
        assert_int_equal(vb_check_map(image->dev, v.disk), 0);
        assert_false(vb_has_fact(image, VD_FACT_WARNING, "grain table"));
        image_free(image);
        vb_free(&v);
    }
}

/* A place past 4 GiB, and past 2 TiB as far as 32 bits of sectors reach; entry 0 of a table is one
 * absent grain, entry 0 of the directory an absent table. */
static void trap_17_sectors_are_64_bit_offsets(void **state)
{
    static const uint32_t places[] = {0x00800001, 0xfffffff0};
    static const uint8_t zeros[GRAIN];
    size_t i;

    (void)state;
    for (i = 0; i < 2; i++) {
        const struct vb_spec spec = {.grains = "d..."
                                               "....",
                                     .sparse_tables = true};
        struct vd_err err = VD_ERR_INIT;
        struct blk_source source;
        struct image *image = NULL;
        struct blk_extent ext;
        struct vb_image v;
        uint8_t far[GRAIN];
        char path[512], *dir = test_tmpdir();
        int fd;

        vb_make(&spec, &v);
        vb_set_gte(&v, 1, places[i], true, false);
        test_fill(far, GRAIN, 3);
        test_write_file(dir, "x.vmdk", v.p, v.len);
        (void)snprintf(path, sizeof(path), "%s/x.vmdk", dir);
        fd = open(path, O_WRONLY | O_CLOEXEC);
        assert_true(fd >= 0);
        assert_int_equal(pwrite(fd, far, GRAIN, (off_t)places[i] * 512), GRAIN);
        assert_int_equal(close(fd), 0);
        assert_ok(evidence_dir_source((const char *const[]){dir}, 1, &source, &err));
        assert_ok(image_open(&source, 0, "x.vmdk", &image, &err));
        must_be(image, 1, far);
        must_be(image, 2, zeros);
        assert_ok(blk_map(image->dev, GRAIN, 1 << 20, &ext, &err));
        assert_true(ext.status == BLK_DATA && ext.child_off == (uint64_t)places[i] * 512);
        assert_ok(blk_map(image->dev, 2 * GRAIN, 1 << 20, &ext, &err));
        assert_true(ext.status == BLK_ABSENT && ext.len == 2 * GRAIN);
        assert_ok(blk_map(image->dev, 4 * GRAIN, 1 << 20, &ext, &err));
        assert_true(ext.status == BLK_ABSENT && ext.len == 4 * GRAIN);
        image_free(image);
        evidence_dir_source_free(&source);
        test_rmdir(dir);
        vb_free(&v);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trap_03_zeroed_grain_needs_its_flag),
        cmocka_unit_test(trap_04_redundant_copies_are_compared),
        cmocka_unit_test(trap_05_footer_wins),
        cmocka_unit_test(trap_05_lost_footer_is_walked_around),
        cmocka_unit_test(trap_06_compressed_grain_grows),
        cmocka_unit_test(trap_06_compressed_grain_has_an_address),
        cmocka_unit_test(trap_06_no_markers_no_address),
        cmocka_unit_test(trap_07_short_ends_and_entries_behind),
        cmocka_unit_test(trap_17_sectors_are_64_bit_offsets),
    };

    return traps_run(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
