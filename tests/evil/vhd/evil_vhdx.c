/* SPDX-License-Identifier: Apache-2.0 */
/* VHDX files with exactly one defect each: the exact refusal, or exactly the damaged bytes
 * unreadable and everything else right. */
#include "build.h"
#include "testlib.h"

#include "base/bytes.h"

#include <stdlib.h>
#include <string.h>

#define H1   ((size_t)64 << 10)
#define H2   ((size_t)128 << 10)
#define R1   ((size_t)192 << 10)
#define R2   ((size_t)256 << 10)
#define N    4u
#define STEP ((size_t)64 << 10)

static const uint8_t states[N] = {6, 2, 6, 6};

static struct built b, disk;

static int setup(void **state)
{
    (void)state;
    b = build_vhdx(N, states, 50, &disk);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(b.p);
    free(disk.p);
    return 0;
}

static uint8_t *bat(unsigned i)
{
    return b.p + VHDX_T_BAT + (size_t)8 * i;
}

static uint8_t *meta(uint32_t off)
{
    return b.p + VHDX_T_METADATA + off;
}

/* Field `at` of entry `i` in both region tables. */
static void set_region(unsigned i, unsigned at, uint64_t value, unsigned size)
{
    int which;

    for (which = 1; which <= 2; which++) {
        uint8_t *p = b.p + (which == 1 ? R1 : R2) + 16 + (size_t)32 * i + at;

        if (size == 8)
            vd_put_le64(p, value);
        else
            vd_put_le32(p, (uint32_t)value);
        vhdx_seal_regions(b.p, which);
    }
}

static void refused(enum vd_class cls, const char *text)
{
    struct vd_err err = VD_ERR_INIT;
    struct image image;

    assert_fails(open_bytes(&image_format_vhdx, b.p, b.len, &image, &err), cls, text);
    assert_int_equal(strncmp(err.msg, "test.img: ", 10), 0);
    close_image(&image);
}

static void only_unreadable(size_t from, size_t to, const char *text, const char *warning)
{
    struct vd_err err = VD_ERR_INIT;
    uint8_t buf[512];
    struct image image;
    size_t off;

    assert_ok(open_bytes(&image_format_vhdx, b.p, b.len, &image, &err));
    assert_true(has_warning(&image, warning));
    for (off = 0; off < disk.len; off += STEP) {
        struct blk_extent ext;
        int bad = off >= from && off < to;

        assert_ok(blk_map(image.dev, off, disk.len, &ext, &err));
        assert_int_equal(ext.status == BLK_UNREADABLE, bad);
        if (bad) {
            assert_fails(blk_read(image.dev, off, buf, sizeof(buf), &err), VD_ECORRUPT, text);
            assert_int_equal(strncmp(err.msg, "test.img: ", 10), 0);
            assert_int_equal(err.offset, off);
            continue;
        }
        assert_ok(blk_read(image.dev, off, buf, sizeof(buf), &err));
        assert_memory_equal(buf, disk.p + off, sizeof(buf));
    }
    if (from > 0) { /* a read across the border names the first bad byte */
        uint8_t wide[1024];

        assert_int_equal(blk_read(image.dev, from - 512, wide, 1024, &err), -VD_ECORRUPT);
        assert_int_equal(err.offset, from);
    }
    close_image(&image);
}

static void both_headers(void **state)
{
    (void)state;
    b.p[H1 + 20] ^= 1;
    b.p[H2 + 20] ^= 1;
    refused(VD_ECORRUPT, "both headers are damaged");
}

static void version(void **state)
{
    (void)state;
    b.p[H2 + 66] = 2;
    vhdx_seal_header(b.p, 2);
    refused(VD_EUNSUPPORTED, "version 2");
}

static void both_region_tables(void **state)
{
    (void)state;
    b.p[R1 + 30] ^= 1;
    b.p[R2] ^= 1;
    refused(VD_ECORRUPT,
            "region table 1: the checksum is wrong; region table 2: the signature is missing");
}

static void regions(void **state)
{
    (void)state;
    set_region(0, 16, VHDX_T_METADATA, 8);
    refused(VD_ECORRUPT, "the BAT region overlaps the metadata region");
    set_region(0, 16, VHDX_T_LOG, 8);
    refused(VD_ECORRUPT, "overlaps the log");
    set_region(0, 16, VHDX_T_BAT + 512, 8);
    refused(VD_ECORRUPT, "1 MiB boundaries");
    set_region(0, 16, b.len, 8);
    refused(VD_ECORRUPT, "passes the end of the file");
    set_region(0, 16, UINT64_C(1) << 63, 8);
    refused(VD_ECORRUPT, "passes the end of the file");
    set_region(0, 16, VHDX_T_BAT, 8);
    set_region(0, 24, 0, 4);
    refused(VD_ECORRUPT, "is empty");
    set_region(0, 24, VHDX_T_MIB, 4);
    set_region(0, 0, 7, 4); /* the BAT's GUID: now unknown, and required */
    refused(VD_EUNSUPPORTED, "required region 00000007-");
    set_region(0, 28, 0, 4);
    refused(VD_ECORRUPT, "the BAT region is missing");
}

/* What table 1 demands cannot be had from table 2 that does not say it. */
static void a_required_region_is_not_bypassed(void **state)
{
    (void)state;
    vd_put_le32(b.p + R1 + 8, 3);
    b.p[R1 + 80] = 1;
    b.p[R1 + 80 + 28] = 1;
    vhdx_seal_regions(b.p, 1);
    refused(VD_EUNSUPPORTED, "required region");
}

static void metadata(void **state)
{
    static const uint32_t bad_blocks[] = {0, 1, 3, 1u << 31, 3 << 20};
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(bad_blocks) / sizeof(bad_blocks[0]); i++) {
        vd_put_le32(meta(VHDX_T_PARAMS), bad_blocks[i]);
        refused(VD_ECORRUPT, "block size");
    }
    vd_put_le32(meta(VHDX_T_PARAMS), 1 << 20);
    vd_put_le64(meta(VHDX_T_SIZE), UINT64_C(1) << 63);
    refused(VD_ECORRUPT, "virtual disk size of 9223372036854775808");
    vd_put_le64(meta(VHDX_T_SIZE), disk.len - 1);
    refused(VD_ECORRUPT, "virtual disk size");
    vd_put_le64(meta(VHDX_T_SIZE), UINT64_C(1) << 40); /* 2^20 blocks and their bitmaps */
    refused(VD_ECORRUPT, "BAT: the disk needs 1048831 entries, the region holds 131072");
    vd_put_le64(meta(VHDX_T_SIZE), disk.len);
    vd_put_le32(meta(VHDX_T_LOGICAL), 520);
    refused(VD_ECORRUPT, "logical sector size 520");
    vd_put_le32(meta(VHDX_T_LOGICAL), 512);
    vd_put_le32(meta(32 + 32 * 3 + 16), (uint32_t)VHDX_T_MIB - 3);
    refused(VD_ECORRUPT, "entry 3 (4 bytes at offset 1048573) is not inside the region");
    vd_put_le32(meta(32 + 32 * 3 + 16), VHDX_T_SIZE + 4);
    refused(VD_ECORRUPT, "overlap");
    vd_put_le32(meta(32 + 32 * 3 + 16), VHDX_T_LOGICAL);
    meta(32 + 32 * 3)[0] ^= 1; /* the logical sector size is now something unknown, required */
    refused(VD_EUNSUPPORTED, "required item");
    meta(32 + 32 * 3)[24] = 0;
    refused(VD_ECORRUPT, "logical sector size is missing");
    meta(32 + 32 * 3)[0] ^= 1;
    vd_put_le32(meta(32 + 32 * 3 + 20), 3);
    refused(VD_ECORRUPT, "logical sector size has 3 bytes");
    meta(0)[0] = 0;
    refused(VD_ECORRUPT, "metadata table: the signature is missing");
}

static void block_past_the_end(void **state)
{
    (void)state;
    vd_put_le64(bat(2), b.len | 6);
    only_unreadable(2 << 20, 3 << 20, "block 2: lies past the end of the file", "first: block 2");
    vd_put_le64(bat(2), (UINT64_MAX << 20) | 6);
    only_unreadable(2 << 20, 3 << 20, "block 2: lies past the end of the file", "first: block 2");
}

static void block_over_structures(void **state)
{
    static const size_t places[] = {VHDX_T_LOG, VHDX_T_METADATA, VHDX_T_BAT};
    size_t i;

    (void)state;
    for (i = 0; i < 3; i++) {
        vd_put_le64(bat(0), places[i] | 6);
        only_unreadable(0, 1 << 20, "lies over the log, the metadata or the BAT", "first: block 0");
    }
    vd_put_le64(bat(0), 6); /* fully present, at the header */
    only_unreadable(0, 1 << 20, "lies over the header section", "first: block 0");
}

static void blocks_that_share_bytes(void **state)
{
    (void)state;
    memcpy(bat(3), bat(2), 8);
    only_unreadable(2 << 20, 4 << 20, "shares bytes of the file with another block",
                    "2 blocks share bytes");
}

static void states_that_are_not_allowed(void **state)
{
    (void)state;
    vd_put_le64(bat(3), VHDX_T_BLOCKS | 4);
    only_unreadable(3 << 20, 4 << 20, "is not valid", "first: block 3");
    vd_put_le64(bat(3), VHDX_T_BLOCKS | 5);
    only_unreadable(3 << 20, 4 << 20, "the state 5 is reserved (it was UNMAPPED in a draft)",
                    "first: block 3");
    vd_put_le64(bat(3), VHDX_T_BLOCKS | 7);
    only_unreadable(3 << 20, 4 << 20, "partially present in a file that has no parent",
                    "first: block 3");
    vd_put_le64(bat(3), VHDX_T_BLOCKS | 0x1006);
    only_unreadable(3 << 20, 4 << 20, "is not valid: reserved bits", "first: block 3");
    vd_put_le64(bat(3), 0x80002); /* of a state that would be zeros */
    only_unreadable(3 << 20, 4 << 20, "is not valid: reserved bits", "first: block 3");
}

static void truncated(void **state)
{
    size_t full = b.len;

    (void)state;
    b.len = full - VHDX_T_MIB + 3 * STEP; /* block 0 lies last */
    only_unreadable(3 * STEP, 1 << 20, "passes the end of the file", "first: block 0");
    b.len = VHDX_T_BAT + 4096;
    refused(VD_ECORRUPT, "BAT region");
    b.len = VHDX_T_METADATA + 4096;
    refused(VD_ECORRUPT, "passes the end of the file");
    b.len = R2;
    refused(VD_ECORRUPT, "inside the header section");
    b.len = 100;
    refused(VD_ECORRUPT, "inside the header section");
    b.len = full;
}

static const uint8_t locator_guid[16] = {0x2d, 0x5f, 0xd3, 0xa8, 0x0b, 0xb3, 0x4d, 0x45,
                                         0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c};

static void opens(const char *identity, const char *warning)
{
    struct vd_err err = VD_ERR_INIT;
    struct image image;

    assert_ok(open_bytes(&image_format_vhdx, b.p, b.len, &image, &err));
    assert_true(image.has_parent);
    assert_string_equal(image.kind, "differencing");
    assert_string_equal(image.parent_identity[0], identity);
    assert_true(!warning || has_warning(&image, warning));
    close_image(&image);
}

static void differencing(void **state)
{
    static const char *const pairs[][2] = {{"parent_linkage", "{01234567}"},
                                           {"relative_path", ".\\base.vhdx"}};
    uint8_t *locator = meta(VHDX_T_LOCATOR);

    (void)state;
    vhdx_make_locator(locator, pairs, 2);
    vhdx_add_item(b.p, locator_guid, VHDX_T_LOCATOR, 4096, 4);
    refused(VD_ECORRUPT, "there is a parent locator in a file that says it has no parent");
    meta(VHDX_T_PARAMS)[4] = 2;
    opens("", "parent_linkage \"{01234567}\" is no GUID"); /* nobody fits such a child */
    locator[0] ^= 1;
    refused(VD_EUNSUPPORTED, "parents of the kind b04aefb6-d19e-4a81-b789-25b8e9445913");
    locator[0] ^= 1;
    vd_put_le16(locator + 18, 60000);
    refused(VD_ECORRUPT, "this is a differencing disk: parent locator: 60000 entries");
    vd_put_le16(locator + 18, 0);
    opens("", "names no identity");
    vd_put_le32(meta(32 + 32 * 5 + 16), 0); /* present but empty */
    vd_put_le32(meta(32 + 32 * 5 + 20), 0);
    refused(VD_ECORRUPT, "its parent locator is missing");
    meta(32 + 32 * 5)[0] ^= 1;
    meta(32 + 32 * 5)[24] = 0;
    refused(VD_ECORRUPT, "its parent locator is missing");
}

static void log_place(void **state)
{
    (void)state;
    vhdx_set_log(b.p, test_log_guid);
    refused(VD_ECORRUPT, "holds no valid sequence");
    vd_put_le64(b.p + H2 + 72, b.len);
    vhdx_seal_header(b.p, 2);
    refused(VD_ECORRUPT, "its place");
    vd_put_le64(b.p + H2 + 72, VHDX_T_LOG);
    b.p[H2 + 64] = 1;
    vhdx_seal_header(b.p, 2);
    refused(VD_EUNSUPPORTED, "log to replay, of version 1");
}

/* Any single byte of the structures changed: never a crash; without a warning, never a wrong byte
 * of a block that still can be read.  (Metadata and BAT have no checksum: a change there can move
 * or hide a block, so only the header section is compared.) */
static void any_byte_of_the_header_section(void **state)
{
    static const size_t starts[] = {0, H1, H2, R1, R2};
    struct vd_err err = VD_ERR_INIT;
    uint8_t buf[512];
    size_t i, k, off;

    (void)state;
    for (i = 0; i < sizeof(starts) / sizeof(starts[0]); i++)
        for (k = 0; k < 112; k += 3) {
            struct image image;

            b.p[starts[i] + k] ^= 0x81;
            if (open_bytes(&image_format_vhdx, b.p, b.len, &image, &err) == 0)
                for (off = 0; off < disk.len; off += 8 * STEP) {
                    assert_ok(blk_read(image.dev, off, buf, sizeof(buf), &err));
                    assert_memory_equal(buf, disk.p + off, sizeof(buf));
                }
            close_image(&image);
            b.p[starts[i] + k] ^= 0x81;
        }
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(both_headers),
        CASE(version),
        CASE(both_region_tables),
        CASE(regions),
        CASE(a_required_region_is_not_bypassed),
        CASE(metadata),
        CASE(block_past_the_end),
        CASE(block_over_structures),
        CASE(blocks_that_share_bytes),
        CASE(states_that_are_not_allowed),
        CASE(truncated),
        CASE(differencing),
        CASE(log_place),
        CASE(any_byte_of_the_header_section),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
