/* SPDX-License-Identifier: Apache-2.0 */
/* VHD files with exactly one defect each: the exact refusal, or exactly the damaged bytes
 * unreadable and everything else right. */
#include "build.h"
#include "testlib.h"

#include "base/bytes.h"
#include "base/range.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK 4096u
#define N     6u

static const uint8_t present[N] = {1, 0, 1, 1, 0, 1};

static struct built b, disk;

static int setup(void **state)
{
    (void)state;
    b = build_vhd_dynamic(BLOCK, N, present, 50, &disk);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(b.p);
    free(disk.p);
    return 0;
}

static uint8_t *header(void)
{
    return b.p + VHD_T_HEADER;
}

static void seal_both(void)
{
    vhd_seal_footer(b.p, 512);
    memcpy(b.p + b.len - 512, b.p, 512);
}

static void refused(enum vd_class cls, const char *text)
{
    struct vd_err err = VD_ERR_INIT;
    struct image image;

    assert_fails(open_bytes(&image_format_vhd, b.p, b.len, &image, &err), cls, text);
    assert_int_equal(strncmp(err.msg, "test.img: ", 10), 0);
    close_image(&image);
}

/* Opens; bytes [from, to) must fail with `text`, everything else must be right. */
static void only_unreadable(size_t from, size_t to, const char *text, const char *warning)
{
    struct vd_err err = VD_ERR_INIT;
    uint8_t buf[512];
    struct image image;
    size_t off;

    assert_ok(open_bytes(&image_format_vhd, b.p, b.len, &image, &err));
    assert_true(has_warning(&image, warning));
    for (off = 0; off < disk.len; off += sizeof(buf)) {
        struct blk_extent ext;
        int bad = off >= from && off < to;

        assert_ok(blk_map(image.dev, off, disk.len, &ext, &err));
        assert_int_equal(ext.status == BLK_UNREADABLE, bad);
        if (bad) {
            assert_fails(blk_read(image.dev, off, buf, sizeof(buf), &err), VD_ECORRUPT, text);
            assert_int_equal(strncmp(err.msg, "test.img: ", 10), 0);
            assert_true(err.has_offset);
            assert_int_equal(err.offset, off);
            continue;
        }
        assert_ok(blk_read(image.dev, off, buf, sizeof(buf), &err));
        assert_memory_equal(buf, disk.p + off, sizeof(buf));
    }
    if (from > 0 && from < to) { /* a read across the border names the first bad byte */
        uint8_t wide[1024];

        assert_int_equal(blk_read(image.dev, from - 512, wide, 1024, &err), -VD_ECORRUPT);
        assert_int_equal(err.offset, from);
    }
    close_image(&image);
}

static void header_outside(void **state)
{
    (void)state;
    put_be64(b.p + 16, b.len - 1023);
    seal_both();
    refused(VD_ECORRUPT, "dynamic disk header (offset");
    put_be64(b.p + 16, UINT64_MAX);
    seal_both();
    refused(VD_ECORRUPT, "is not inside the file");
    put_be64(b.p + 16, 0); /* over the footer's copy */
    seal_both();
    refused(VD_ECORRUPT, "is not inside the file");
}

static void header_without_cookie(void **state)
{
    (void)state;
    header()[0] = 'C';
    refused(VD_ECORRUPT, "cookie");
}

static void header_checksum(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    struct image image;

    (void)state;
    header()[600] ^= 1; /* nothing that counts: the fields still fit the disk */
    assert_ok(open_bytes(&image_format_vhd, b.p, b.len, &image, &err));
    assert_true(has_warning(&image, "checksum of the dynamic disk header is wrong"));
    close_image(&image);
    put_be32(header() + 28, N + 1);
    refused(VD_ECORRUPT, "dynamic disk header: the checksum is wrong");
}

static void block_sizes(void **state)
{
    static const uint32_t bad[] = {0, 1, 3, 256, 768, 1u << 31, UINT32_MAX};
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        put_be32(header() + 32, bad[i]);
        vhd_seal_header(header());
        refused(bad[i] == 1u << 31 ? VD_ELIMIT : VD_ECORRUPT, "block size");
    }
}

static void sizes(void **state)
{
    (void)state;
    put_be64(b.p + 48, UINT64_C(1) << 63);
    seal_both();
    refused(VD_ECORRUPT, "9223372036854775808 bytes");
    put_be64(b.p + 48, 0);
    seal_both();
    refused(VD_ECORRUPT, "0 bytes");
    put_be64(b.p + 48, disk.len + 1);
    seal_both();
    refused(VD_ECORRUPT, "the disk has 7 blocks, the allocation table only 6 entries");
    put_be64(b.p + 48, INT64_MAX);
    seal_both();
    refused(VD_ECORRUPT, "only 6 entries");
}

static void table_outside(void **state)
{
    (void)state;
    put_be64(header() + 16, b.len - 4 * N + 1);
    vhd_seal_header(header());
    refused(VD_ECORRUPT, "allocation table");
    put_be64(header() + 16, UINT64_MAX);
    vhd_seal_header(header());
    refused(VD_ECORRUPT, "is not inside the file");
    put_be64(header() + 16, VHD_T_TABLE);
    put_be32(header() + 28, UINT32_MAX);
    vhd_seal_header(header());
    refused(VD_ELIMIT, "over the limit");
}

static void both_footers(void **state)
{
    (void)state;
    b.p[100] ^= 1;
    b.p[b.len - 412] ^= 2;
    refused(VD_ECORRUPT, "no copy has a right checksum");
}

static void block_past_the_end(void **state)
{
    (void)state;
    put_be32(b.p + VHD_T_TABLE + 4 * 2, (uint32_t)(b.len / 512));
    only_unreadable(2 * BLOCK, 3 * BLOCK, "block 2: lies past the end of the file", "1 blocks lie");
    put_be32(b.p + VHD_T_TABLE + 4 * 2, UINT32_MAX - 1);
    only_unreadable(2 * BLOCK, 3 * BLOCK, "block 2: lies past the end of the file", "block 2");
}

/* Entry 0 is not "absent": it is the copy of the footer. */
static void block_over_structures(void **state)
{
    (void)state;
    put_be32(b.p + VHD_T_TABLE + 4 * 3, 0);
    only_unreadable(3 * BLOCK, 4 * BLOCK, "block 3: lies over the header", "block 3");
    put_be32(b.p + VHD_T_TABLE + 4 * 3, 2);
    only_unreadable(3 * BLOCK, 4 * BLOCK, "block 3: lies over the header", "block 3");
    put_be32(b.p + VHD_T_TABLE + 4 * 3, 3);
    only_unreadable(3 * BLOCK, 4 * BLOCK, "block 3: lies over the header", "block 3");
}

static void blocks_that_share_bytes(void **state)
{
    (void)state;
    memcpy(b.p + VHD_T_TABLE + 4 * 3, b.p + VHD_T_TABLE + 4 * 2, 4);
    only_unreadable(2 * BLOCK, 4 * BLOCK, "shares bytes of the file with another block",
                    "2 blocks share bytes");
}

/* The file was cut: the front footer is used and the blocks behind the cut are gone, byte-exact. */
static void truncated(void **state)
{
    size_t full = b.len, at = vhd_block_at(&b, 0);

    (void)state;
    assert_true(at > vhd_block_at(&b, 2)); /* block 0 is the last one in the file */
    b.len = at + 512 + 1024;
    only_unreadable(1024, BLOCK, "block 0: passes the end of the file", "is missing");
    b.len = at + 100; /* inside the bitmap */
    only_unreadable(0, BLOCK, "block 0: lies past the end of the file", "is missing");
    b.len = VHD_T_TABLE + 4 * N - 1;
    refused(VD_ECORRUPT, "allocation table");
    b.len = VHD_T_HEADER + 1023;
    refused(VD_ECORRUPT, "dynamic disk header (offset 512) is not inside the file");
    b.len = 511;
    refused(VD_ENOTFORMAT, "");
    b.len = full;
}

/* Cut anywhere: never a crash, never a wrong byte. */
static void truncated_anywhere(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    size_t full = b.len, off;
    uint8_t buf[512];

    (void)state;
    for (b.len = 0; b.len < full; b.len += 97) {
        struct image image;

        if (open_bytes(&image_format_vhd, b.p, b.len, &image, &err) == 0)
            for (off = 0; off < disk.len; off += 512)
                if (blk_read(image.dev, off, buf, 512, &err) == 0)
                    assert_memory_equal(buf, disk.p + off, 512);
        close_image(&image);
    }
    b.len = full;
}

static void fixed_that_is_too_short(void **state)
{
    struct built whole = b, whole_disk = disk;
    struct vd_err err = VD_ERR_INIT;

    (void)state;
    b = build_vhd_fixed(8192, 4);
    disk = build_vhd_fixed(8192, 4);
    disk.len = 8192 + 1024;
    put_be64(b.p + 8192 + 48, disk.len);
    vhd_seal_footer(b.p + 8192, 512);
    disk.p = realloc(disk.p, disk.len);
    {
        struct image_window *window = calloc(1, sizeof(*window));
        struct image image;

        /* neither taken for the disk that the footer describes, nor opened when asked for by name */
        window->head_len = vd_min(b.len, sizeof(window->head));
        memcpy(window->head, b.p, window->head_len);
        window->tail_len = vd_min(b.len, sizeof(window->tail));
        memcpy(window->tail, b.p + b.len - window->tail_len, window->tail_len);
        window->file_size = b.len;
        assert_int_equal(image_format_vhd.probe(window), IMAGE_NO);
        assert_fails(open_bytes(&image_format_vhd, b.p, b.len, &image, &err), VD_ECORRUPT,
                     "1024 bytes of the disk are missing before the footer");
        close_image(&image);
        free(window);
    }
    free(b.p);
    free(disk.p);
    b = whole;
    disk = whole_disk;
}

/* Virtual PC's size is the geometry's, but its file has all of current_size: between the two, bytes are
 * missing. */
static void fixed_between_two_sizes(void **state)
{
    static const struct {
        uint64_t current; /* bytes; the geometry says 8 * 17 sectors */
        size_t len;
        bool opens;
    } cases[] = {{72 * 1024, 72 * 1024, true},
                 {72 * 1024, 68 * 1024, true},
                 {72 * 1024, 70 * 1024, false},
                 {72 * 1024, 67 * 1024, false}};
    struct vd_err err = VD_ERR_INIT;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct built f = build_vhd_fixed(cases[i].len, 4);
        uint8_t *footer = f.p + cases[i].len;
        struct image image;
        int rc;

        memcpy(footer + 28, "vpc ", 4);
        put_be64(footer + 48, cases[i].current);
        put_be16(footer + 56, 2);
        footer[58] = 4;
        footer[59] = 17;
        vhd_seal_footer(footer, 512);
        rc = open_bytes(&image_format_vhd, f.p, f.len, &image, &err);
        assert_int_equal(rc, cases[i].opens ? 0 : -VD_ECORRUPT);
        if (rc == 0)
            assert_int_equal(image.dev->size, 68 * 1024);
        close_image(&image);
        free(f.p);
    }
}

/* A differencing disk whose header cannot be had is refused: what is not in it is not zeros. */
static void differencing_without_header(void **state)
{
    (void)state;
    put_be32(b.p + 60, 4);
    seal_both();
    memset(header() + 40, 0xab, 16);
    vhd_seal_header(header());
    header()[0] = 0;
    refused(VD_ECORRUPT, "cookie");
    put_be64(b.p + 16, UINT64_MAX - 100);
    seal_both();
    refused(VD_ECORRUPT, "is not inside the file");
}

static void table_over_the_header(void **state)
{
    (void)state;
    put_be64(header() + 16, VHD_T_HEADER + 512);
    vhd_seal_header(header());
    refused(VD_ECORRUPT, "lies over the header itself");
    put_be64(header() + 16, VHD_T_HEADER + 1020);
    vhd_seal_header(header());
    refused(VD_ECORRUPT, "lies over the header itself");
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(header_outside),
        CASE(header_without_cookie),
        CASE(header_checksum),
        CASE(block_sizes),
        CASE(sizes),
        CASE(table_outside),
        CASE(both_footers),
        CASE(block_past_the_end),
        CASE(block_over_structures),
        CASE(blocks_that_share_bytes),
        CASE(truncated),
        CASE(truncated_anywhere),
        CASE(fixed_that_is_too_short),
        CASE(fixed_between_two_sizes),
        CASE(differencing_without_header),
        CASE(table_over_the_header),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
