/* SPDX-License-Identifier: Apache-2.0 */
/* Differencing VHDX files: every payload state, sector bitmaps of any chunk, sector size and block
 * size against a model of one answer per sector, and bitmaps that cannot be believed. */
#include "testlib.h"

#include "../../evil/vhd/build.h"
#include "base/bytes.h"
#include "base/range.h"
#include "blk/layers.h"
#include "image/vhdx/vhdx.h"

#include <stdlib.h>
#include <string.h>

#define PAYLOADS 4u
#define PAYLOAD  (VHDX_T_BLOCKS)                         /* four blocks of 1 MiB, or one of 4 */
#define BITMAPS  (VHDX_T_BLOCKS + PAYLOADS * VHDX_T_MIB) /* room for two */
#define PARENT   7u

static const uint8_t locator_guid[16] = {0x2d, 0x5f, 0xd3, 0xa8, 0x0b, 0xb3, 0x4d, 0x45,
                                         0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c};
static struct built b;

static int setup(void **state)
{
    static const uint8_t all[PAYLOADS] = {6, 6, 6, 6};
    static const char *const pairs[][2] = {
        {"parent_linkage", "{22222222-2222-2222-2222-222222222222}"},
        {"relative_path", ".\\base.vhdx"}};
    struct built whole = build_vhdx(PAYLOADS, all, 70, NULL);

    (void)state;
    b.len = BITMAPS + 2 * VHDX_T_MIB;
    b.p = calloc(1, b.len);
    assert_int_equal(whole.len, BITMAPS);
    memcpy(b.p, whole.p, whole.len);
    free(whole.p);
    memset(b.p + VHDX_T_BAT, 0, VHDX_T_MIB);
    vhdx_make_locator(b.p + VHDX_T_METADATA + VHDX_T_LOCATOR, pairs, 2);
    vhdx_add_item(b.p, locator_guid, VHDX_T_LOCATOR, 1000, 4);
    b.p[VHDX_T_METADATA + VHDX_T_PARAMS + 4] = 2;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(b.p);
    return 0;
}

static void set_disk(uint64_t size, uint32_t block, uint32_t sector)
{
    vd_put_le64(b.p + VHDX_T_METADATA + VHDX_T_SIZE, size);
    vd_put_le32(b.p + VHDX_T_METADATA + VHDX_T_PARAMS, block);
    vd_put_le32(b.p + VHDX_T_METADATA + VHDX_T_LOGICAL, sector);
}

static void set_entry(uint64_t index, uint64_t value)
{
    vd_put_le64(b.p + VHDX_T_BAT + 8 * index, value);
}

static void open_it(struct image *image)
{
    struct vd_err err = VD_ERR_INIT;

    assert_ok(open_bytes(&image_format_vhdx, b.p, b.len, image, &err));
}

static enum blk_status status_at(const struct image *image, uint64_t off, uint64_t *out_len)
{
    struct vd_err err = VD_ERR_INIT;
    struct blk_extent ext;

    assert_ok(blk_map(image->dev, off, UINT64_MAX, &ext, &err));
    if (out_len)
        *out_len = ext.len;
    return ext.status;
}

static void every_state(void **state)
{
    static const uint64_t entries[8] = {0, 0xa00001, 2, 0xb00003, PAYLOAD | 6, 4, 5, 0};
    static const enum blk_status want[8] = {BLK_ABSENT, BLK_ZEROS,      BLK_ZEROS,      BLK_ZEROS,
                                            BLK_DATA,   BLK_UNREADABLE, BLK_UNREADABLE, BLK_ABSENT};
    struct vd_err err = VD_ERR_INIT;
    struct image image;
    uint8_t buf[512];
    uint64_t len, i;

    (void)state;
    set_disk(8 * VHDX_T_MIB, VHDX_T_MIB, 512);
    b.p[VHDX_T_METADATA + VHDX_T_PARAMS + 4] = 3; /* LeaveBlockAllocated is ignored */
    for (i = 0; i < 8; i++)
        set_entry(i, entries[i]);
    open_it(&image);
    assert_string_equal(image.kind, "differencing");
    assert_string_equal(image.parent_identity[0], "guid:22222222-2222-2222-2222-222222222222");
    assert_string_equal(image.parent_hint[0], "base.vhdx");
    assert_true(has_warning(&image, "content of 1 blocks is undefined"));
    for (i = 0; i < 8; i++)
        assert_int_equal(status_at(&image, i * VHDX_T_MIB, NULL), want[i]);
    assert_int_equal(status_at(&image, VHDX_T_MIB, &len), BLK_ZEROS);
    assert_int_equal(len, 3 * VHDX_T_MIB); /* three reasons for zeros, one run */
    assert_ok(blk_read(image.dev, 0, buf, sizeof(buf), &err));
    assert_true(vd_all_zero(buf, sizeof(buf)));
    assert_ok(blk_read(image.dev, 4 * VHDX_T_MIB, buf, sizeof(buf), &err));
    assert_memory_equal(buf, b.p + PAYLOAD, sizeof(buf));
    close_image(&image);
}

/* A block that is wholly there is, whatever the bitmap says (2.5.1.1). */
static void whole_blocks_need_no_bitmap(void **state)
{
    struct image image;
    uint64_t len;

    (void)state;
    set_disk(2 * VHDX_T_MIB, VHDX_T_MIB, 512);
    set_entry(0, PAYLOAD | 6);
    set_entry(4096, BITMAPS | 6); /* all bits clear */
    open_it(&image);
    assert_int_equal(status_at(&image, 0, &len), BLK_DATA);
    assert_int_equal(len, VHDX_T_MIB);
    close_image(&image);
}

/* ---- bitmaps against a model ---- */

/* One partially present block (its payload at PAYLOAD) in a disk of blocks that are the parent's. */
struct partial {
    uint32_t block_size, sector;
    uint64_t block;  /* its number */
    uint64_t blocks; /* of the disk */
};

/* Sector i is in the child where bit i of the pattern, taken from its start, is set: the test counts
 * sectors, the file has bytes of bits. */
static void set_bits(const struct partial *p, const uint8_t *pattern)
{
    uint64_t per_chunk = (UINT64_C(1) << 23) * p->sector / p->block_size;
    uint64_t per_block = p->block_size / p->sector, i;
    uint64_t first = p->block % per_chunk * per_block;

    for (i = 0; i < per_block; i++)
        if (pattern[i])
            b.p[BITMAPS + (first + i) / 8] |= (uint8_t)(1u << ((first + i) % 8));
    set_entry(p->block + p->block / per_chunk, PAYLOAD | 7);
    set_entry((p->block / per_chunk + 1) * (per_chunk + 1) - 1, BITMAPS | 6);
    set_disk(p->blocks * p->block_size, p->block_size, p->sector);
}

static void make_pattern(uint8_t *pattern, uint64_t n, uint64_t seed)
{
    uint8_t random[4096];
    uint64_t i = 0, k = 0;
    uint8_t value = seed & 1;

    test_fill(random, sizeof(random), seed);
    while (i < n) {
        uint8_t r = random[k++ % sizeof(random)];
        uint64_t run = r < 200 ? 1 + (uint64_t)r % 11 : 50 + 9 * (uint64_t)r;

        while (run-- && i < n)
            pattern[i++] = value;
        value = !value;
    }
}

/* The child over a parent whose every byte is PARENT. */
static void expect_block(const struct image *image, const struct partial *p, const uint8_t *pattern)
{
    static const size_t sizes[] = {512, 4096, 70001, 4u << 20};
    uint64_t start = p->block * p->block_size, off, k;
    uint8_t *want = malloc(p->block_size), *got = malloc(p->block_size);
    struct vd_err err = VD_ERR_INIT;
    size_t i;

    for (off = 0; off < p->block_size; off++)
        want[off] = pattern[off / p->sector] ? b.p[PAYLOAD + off] : 0;
    for (i = 0; i < 4; i++) {
        memset(got, 0xee, p->block_size);
        for (off = 0; off < p->block_size; off += sizes[i])
            assert_ok(blk_read(image->dev, start + off, got + off,
                               (size_t)vd_min(sizes[i], p->block_size - off), &err));
        assert_memory_equal(got, want, p->block_size);
    }
    for (off = 0; off < p->block_size; off += k) {
        struct blk_extent ext;

        assert_ok(blk_map(image->dev, start + off, p->block_size - off, &ext, &err));
        assert_int_equal(ext.status, pattern[off / p->sector] ? BLK_DATA : BLK_ABSENT);
        if (ext.status == BLK_DATA)
            assert_int_equal(ext.child_off, PAYLOAD + off);
        for (k = 0; k < ext.len; k += p->sector)
            assert_int_equal(pattern[(off + k) / p->sector], pattern[off / p->sector]);
    }
    free(want);
    free(got);
}

static void bitmaps(void **state)
{
    static const struct partial cases[] = {
        {1 << 20, 512, 0, 2},          {1 << 20, 512, 1, 2},       {1 << 20, 512, 4095, 4097},
        {1 << 20, 512, 4096, 4097},    {1 << 20, 512, 8197, 9000}, {1 << 20, 4096, 3, 4},
        {4 << 20, 512, 1023, 1030},    {4 << 20, 512, 1025, 1030}, {4 << 20, 4096, 2, 3},
        {1 << 20, 4096, 32769, 32770}, {4 << 20, 512, 0, 1}};
    uint8_t *pattern = malloc(8192);
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct partial *p = &cases[i];
        struct image image;
        uint64_t len;

        make_pattern(pattern, p->block_size / p->sector, 900 + i);
        set_bits(p, pattern);
        open_it(&image);
        expect_block(&image, p, pattern);
        if (p->block) {
            assert_int_equal(status_at(&image, p->block * p->block_size - 1, &len), BLK_ABSENT);
            assert_int_equal(len, 1);
        }
        assert_string_equal(fact_value(&image, "partial_blocks"), "1");
        assert_false(has_warning(&image, ""));
        close_image(&image);
        teardown(NULL);
        setup(NULL);
    }
    free(pattern);
}

/* Over a parent: what is not the child's is the parent's, sector by sector. */
static void over_a_parent(void **state)
{
    const struct partial p = {1 << 20, 512, 1, 2};
    uint8_t *pattern = malloc(2048), *base = malloc(VHDX_T_MIB * 2), *got = malloc(VHDX_T_MIB * 2);
    struct blkdev *parent = NULL, *layers[2], *disk = NULL;
    struct vd_err err = VD_ERR_INIT;
    struct image image;
    size_t off;

    (void)state;
    make_pattern(pattern, 2048, 5);
    set_bits(&p, pattern);
    memset(base, PARENT, VHDX_T_MIB * 2);
    assert_ok(blk_mem_new(base, VHDX_T_MIB * 2, "base", &parent, &err));
    open_it(&image);
    layers[0] = blk_ref(image.dev);
    layers[1] = parent;
    assert_ok(blk_overlay_new(layers, 2, "", &disk, &err));
    assert_ok(blk_read(disk, 0, got, VHDX_T_MIB * 2, &err));
    for (off = 0; off < VHDX_T_MIB; off++)
        assert_int_equal(got[off], PARENT);
    for (off = 0; off < VHDX_T_MIB; off++)
        assert_int_equal(got[VHDX_T_MIB + off], pattern[off / 512] ? b.p[PAYLOAD + off] : PARENT);
    blk_unref(disk);
    close_image(&image);
    free(pattern);
    free(base);
    free(got);
}

/* ---- bitmaps that cannot be believed ---- */

/* Block 1 is partially present, blocks 0 and 2 wholly, 3 is the parent's; all lie apart. */
static void four_blocks(void)
{
    set_disk(4 * VHDX_T_MIB, VHDX_T_MIB, 512);
    set_entry(0, (PAYLOAD + VHDX_T_MIB) | 6);
    set_entry(1, PAYLOAD | 7);
    set_entry(2, (PAYLOAD + 2 * VHDX_T_MIB) | 6);
    set_entry(3, 0);
    set_entry(4096, BITMAPS | 6);
    memset(b.p + BITMAPS, 0xa5, 1024);
}

static void only_block_1_is_lost(const char *why, const char *warning)
{
    struct vd_err err = VD_ERR_INIT;
    struct image image;
    uint8_t buf[1024];
    uint64_t len;

    open_it(&image);
    if (warning)
        assert_true(has_warning(&image, warning));
    assert_int_equal(status_at(&image, 0, NULL), BLK_DATA);
    assert_int_equal(status_at(&image, VHDX_T_MIB, &len), BLK_UNREADABLE);
    assert_int_equal(len, VHDX_T_MIB);
    assert_int_equal(status_at(&image, 2 * VHDX_T_MIB, NULL), BLK_DATA);
    assert_int_equal(status_at(&image, 3 * VHDX_T_MIB, NULL), BLK_ABSENT);
    assert_fails(blk_read(image.dev, VHDX_T_MIB + 512, buf, 512, &err), VD_ECORRUPT, why);
    assert_int_equal(err.offset, VHDX_T_MIB + 512);
    assert_fails(blk_read(image.dev, VHDX_T_MIB - 512, buf, 1024, &err), VD_ECORRUPT, why);
    assert_int_equal(err.offset, VHDX_T_MIB);
    assert_ok(blk_read(image.dev, 0, buf, 1024, &err));
    assert_memory_equal(buf, b.p + PAYLOAD + VHDX_T_MIB, 1024);
    close_image(&image);
}

static void bad_bitmaps(void **state)
{
    static const char lost[] =
        "1 partially present blocks have no sector bitmap that could be used "
        "(first: block 1)";

    (void)state;
    four_blocks();
    set_entry(4096, 0);
    only_block_1_is_lost("block 1: sector bitmap 0: is not there", lost);
    set_entry(4096, BITMAPS | 7);
    only_block_1_is_lost("sector bitmap 0: the BAT entry 0x0000000000800007 is not valid", lost);
    set_entry(4096, BITMAPS | 0x86);
    only_block_1_is_lost("is not valid", lost);
    set_entry(4096, b.len | 6);
    only_block_1_is_lost("sector bitmap 0: lies past the end of the file", lost);
    set_entry(4096, (UINT64_MAX << 20) | 6);
    only_block_1_is_lost("sector bitmap 0: lies past the end of the file", lost);
    set_entry(4096, 6);
    only_block_1_is_lost("sector bitmap 0: lies over the header section", lost);
    set_entry(4096, VHDX_T_BAT | 6);
    only_block_1_is_lost("sector bitmap 0: lies over the log, the metadata or the BAT", lost);
    set_entry(4096, PAYLOAD | 6); /* over the block itself */
    only_block_1_is_lost("shares bytes", "2 blocks share bytes");
    set_entry(4096, BITMAPS | 6);
    b.len = BITMAPS + 300; /* the bits of block 0 are in the file, those of block 1 are not */
    only_block_1_is_lost("sector bitmap 0: passes the end of the file", lost);
}

/* A bitmap over another payload block costs that one too: nobody knows whose the bytes are. */
static void a_bitmap_over_a_block(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    struct image image;
    uint8_t buf[512];

    (void)state;
    four_blocks();
    set_entry(4096, (PAYLOAD + 2 * VHDX_T_MIB) | 6);
    open_it(&image);
    assert_fails(blk_read(image.dev, 2 * VHDX_T_MIB, buf, 512, &err), VD_ECORRUPT,
                 "block 2: shares bytes of the file with another block");
    assert_fails(blk_read(image.dev, VHDX_T_MIB, buf, 512, &err), VD_ECORRUPT,
                 "sector bitmap 0: shares bytes of the file with another block");
    assert_int_equal(status_at(&image, 0, NULL), BLK_DATA);
    close_image(&image);
}

/* The payload ends with the file: what the bitmap gives to the parent is still the parent's. */
static void payload_cut_off(void **state)
{
    struct image image;
    uint64_t len;

    (void)state;
    set_disk(VHDX_T_MIB, VHDX_T_MIB, 512);
    set_entry(0, (BITMAPS + VHDX_T_MIB) | 7);
    set_entry(4096, BITMAPS | 6);
    b.p[BITMAPS] = 0x0f;
    b.p[BITMAPS + 1] = 0xf0;
    b.len -= VHDX_T_MIB - 1024;
    open_it(&image);
    assert_int_equal(status_at(&image, 0, &len), BLK_DATA);
    assert_int_equal(len, 1024);
    assert_int_equal(status_at(&image, 1024, &len), BLK_UNREADABLE);
    assert_int_equal(len, 1024);
    assert_int_equal(status_at(&image, 2048, &len), BLK_ABSENT);
    assert_int_equal(len, 4096);
    assert_int_equal(status_at(&image, 6144, &len), BLK_UNREADABLE);
    assert_int_equal(len, 2048);
    close_image(&image);
}

/* The last bitmap's entry would stand behind the table. */
static void table_too_short(void **state)
{
    uint64_t n = 131072 - 31, last = n - 1; /* payload blocks whose entries just fit */
    struct vd_err err = VD_ERR_INIT;
    struct image image;
    uint8_t buf[512];

    (void)state;
    set_disk(n * VHDX_T_MIB, VHDX_T_MIB, 512);
    set_entry(last + last / 4096, PAYLOAD | 7);
    set_entry(last + last / 4096 - 1, (PAYLOAD + VHDX_T_MIB) | 6);
    open_it(&image);
    assert_true(has_warning(&image, "no sector bitmap that could be used"));
    assert_fails(blk_read(image.dev, last * VHDX_T_MIB, buf, 512, &err), VD_ECORRUPT,
                 "the BAT is too short for its sector bitmap's entry");
    assert_int_equal(status_at(&image, (last - 1) * VHDX_T_MIB, NULL), BLK_DATA);
    close_image(&image);
}

/* identify fills the same identities without a disk. */
static void identify(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    struct blkdev *file = NULL;
    struct image image = {0};

    (void)state;
    set_disk(VHDX_T_MIB, VHDX_T_MIB, 512);
    assert_ok(dev_over(b.p, b.len, &file, &err));
    assert_ok(image_format_vhdx.identify(file, "x.avhdx", &image, &err));
    assert_null(image.dev);
    assert_string_equal(image.identity, "guid:22222222-2222-2222-2222-222222222222");
    assert_string_equal(image.parent_identity[0], "guid:22222222-2222-2222-2222-222222222222");
    assert_true(image.has_parent);
    blk_unref(file);
    close_image(&image);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(every_state),     CASE(whole_blocks_need_no_bitmap),
        CASE(bitmaps),         CASE(over_a_parent),
        CASE(bad_bitmaps),     CASE(a_bitmap_over_a_block),
        CASE(payload_cut_off), CASE(table_too_short),
        CASE(identify),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
