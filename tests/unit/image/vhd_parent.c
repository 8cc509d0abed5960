/* SPDX-License-Identifier: Apache-2.0 */
/* What a differencing VHD says of its parent: text of every platform code, and locators that cannot be
 * used. */
#include "testlib.h"

#include "../../evil/vhd/build.h"
#include "base/bytes.h"
#include "image/vhd/vhd.h"

#include <stdlib.h>
#include <string.h>

#define W2RU 0x57327275u
#define W2KU 0x57326b75u
#define WI2K 0x5769326bu
#define MACX 0x4d616358u
#define MAC  0x4d616320u

static void text_is(uint32_t platform, const void *bytes, size_t len, const char *want, bool strict)
{
    char text[64];
    bool got_strict;

    assert_int_equal(vhd_locator_text(platform, bytes, len, text, sizeof(text), &got_strict),
                     want[0] != '\0');
    assert_string_equal(text, want);
    assert_int_equal(got_strict, strict);
}

static void text_of_every_code(void **state)
{
    uint8_t alias[114] = {0};

    (void)state;
    text_is(W2RU, ".\0\\\0a\0.\0v\0", 10, ".\\a.v", true);
    text_is(W2RU, ".\0a\0\0\0x\0", 8, ".a", true);         /* up to the NUL */
    text_is(W2RU, "a\0b\0c", 5, "ab", true);               /* half a unit is none */
    text_is(W2RU, "\0.\0\\\0a\0.\0v", 10, ".\\a.v", true); /* the other order */
    text_is(0, "\0a\0.\0v", 6, "a.v", true);
    text_is(0, "a\0.\0v\0", 6, "a.v", true);
    text_is(W2KU, "\xe4\0.\0", 4, "\xc3\xa4.", true);
    text_is(W2KU, "\x3d\xd8\x00\xdeX\0.\0", 8, "\xf0\x9f\x98\x80X.", true);
    text_is(W2KU, "a\0\x3d\xd8.\0", 6, "a\xed\xa0\xbd.", false); /* half a pair */
    text_is(W2KU, "a\0\x00\xde.\0", 6, "a\xed\xb8\x80.", false);
    text_is(W2KU, "a\0b\0\x3d\xd8", 6, "ab\xed\xa0\xbd", false);
    text_is(WI2K, "C:\\a.vhd", 8, "C:\\a.vhd", true);
    text_is(WI2K, "\xe4.vhd", 5, "\xc3\xa4.vhd", true); /* Windows-1252 */
    text_is(WI2K, "\xc3\xa4.vhd", 6, "\xc3\xa4.vhd", true);
    text_is(WI2K, "a\0.\0v\0", 6, "a.v", true); /* wide all the same */
    text_is(MACX, "file://localhost/a%20b.vhd", 26, "file://localhost/a b.vhd", true);
    text_is(MACX, "file:///a%2fb%00%zz%4", 21, "file:///a%2fb%00%zz%4", true);
    alias[7] = 2;
    alias[50] = 5;
    memcpy(alias + 51, "a.vhd", 5);
    text_is(MAC, alias, sizeof(alias), "a.vhd", true);
    text_is(MAC, alias, 55, "", true); /* cut inside the name */
    alias[7] = 3;
    text_is(MAC, alias, sizeof(alias), "", true);
    text_is(W2RU, "", 0, "", true);
    text_is(W2RU, "a", 1, "", true);
    text_is(0x12345678, "a\0b\0", 4, "", true);
}

/* No text is longer than the room for it, at any size. */
static void text_is_bounded(void **state)
{
    uint8_t wide[64];
    size_t size;

    (void)state;
    for (size = 0; size < sizeof(wide); size += 2) {
        wide[size] = 0x3d;
        wide[size + 1] = 0x04;
    }
    for (size = 1; size < 80; size++) {
        char *text = malloc(size);
        bool strict;

        (void)vhd_locator_text(W2RU, wide, sizeof(wide), text, size, &strict);
        assert_true(strlen(text) < size);
        (void)vhd_locator_text(WI2K, wide, sizeof(wide), text, size, &strict);
        assert_true(strlen(text) < size);
        (void)vhd_locator_text(MACX, wide, sizeof(wide), text, size, &strict);
        assert_true(strlen(text) < size);
        free(text);
    }
}

static void space_is_sectors_or_bytes(void **state)
{
    static const struct {
        uint32_t space, length;
        uint64_t bytes;
    } cases[] = {{1, 40, 512}, {512, 40, 512},        {4096, 84, 4096},           {2, 900, 1024},
                 {0, 40, 0},   {600, 700, 600 * 512}, {UINT32_MAX, 1, UINT32_MAX}};
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct vhd_locator l = {.space = cases[i].space, .length = cases[i].length};

        assert_int_equal(vhd_locator_space(&l), cases[i].bytes);
    }
}

/* ---- a whole file ---- */

#define N 4u

static struct built b;

/* A child with room for locators: block 0 is the last one in the file and holds them. */
static int setup(void **state)
{
    const uint8_t present[N] = {1, 1, 0, 1};

    (void)state;
    b = build_vhd_dynamic(4096, N, present, 7, NULL);
    put_be32(b.p + 60, VHD_DIFFERENCING);
    vhd_seal_footer(b.p, 512);
    memcpy(b.p + b.len - 512, b.p, 512);
    memset(b.p + VHD_T_HEADER + 40, 0xab, 16);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(b.p);
    return 0;
}

static void put_locator(unsigned i, uint32_t code, uint32_t space, uint32_t length, uint64_t off)
{
    uint8_t *p = b.p + VHD_T_HEADER + 576 + (size_t)24 * i;

    put_be32(p, code);
    put_be32(p + 4, space);
    put_be32(p + 8, length);
    put_be64(p + 16, off);
}

static void open_child(struct image *image)
{
    struct vd_err err = VD_ERR_INIT;

    vhd_seal_header(b.p + VHD_T_HEADER);
    assert_ok(open_bytes(&image_format_vhd, b.p, b.len, image, &err));
    assert_true(image->has_parent);
    assert_string_equal(image->parent_identity[0], "uuid:abababab-abab-abab-abab-abababababab");
    assert_string_equal(image->parent_identity[1], "");
}

static void put_name(const char *name)
{
    size_t i;

    memset(b.p + VHD_T_HEADER + 64, 0, 512);
    for (i = 0; name[i]; i++)
        put_be16(b.p + VHD_T_HEADER + 64 + 2 * i, (uint8_t)name[i]);
}

static void only_bare_names(void **state)
{
    static const struct {
        const char *path, *hint;
    } cases[] = {
        {"C:\\vm\\base.vhd", "base.vhd"},
        {"..\\..\\base.vhd", "base.vhd"},
        {"/etc/passwd", "passwd"},
        {"C:base.vhd", "base.vhd"},
        {"\\\\?\\C:\\x\\b.vhd", "b.vhd"},
        {"C:\\vm\\..", NULL},
        {"C:\\vm\\", NULL},
        {".", NULL},
        {"C:", NULL},
    };
    struct image image;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        put_name(cases[i].path);
        open_child(&image);
        assert_string_equal(image.parent_path, cases[i].path);
        assert_int_equal(image.n_parent_hints, cases[i].hint != NULL);
        if (cases[i].hint)
            assert_string_equal(image.parent_hint[0], cases[i].hint);
        close_image(&image);
    }
}

/* A name that fills the field has no NUL. */
static void full_name_field(void **state)
{
    char name[257];
    struct image image;

    (void)state;
    memset(name, 'x', 256);
    name[256] = '\0';
    put_name(name);
    open_child(&image);
    assert_string_equal(image.parent_path, name);
    assert_int_equal(image.n_parent_hints, 0); /* longer than any file name */
    close_image(&image);
}

static void locators_that_cannot_be_used(void **state)
{
    static const struct {
        uint32_t space, length;
        uint64_t off;
        const char *why;
    } cases[] = {
        {512, 10, UINT64_MAX - 4, "W2ru: its data is not inside the file"},
        {512, 10, UINT64_C(1) << 63, "W2ru: its data is not inside the file"},
        {512, 1u << 17, VHD_T_TABLE + 512, "W2ru: its data is longer than any path"},
        {512, UINT32_MAX, VHD_T_TABLE + 512, "W2ru: its data is longer than any path"},
        {512, 10, 0, "W2ru: its data lies over the header"},
        {512, 10, VHD_T_HEADER + 1020, "W2ru: its data lies over the header"},
        {512, 10, VHD_T_TABLE + 4, "W2ru: its data lies over the header"},
        {0, 0, VHD_T_TABLE + 512, "W2ru: it has no data"},
        {512, 1, VHD_T_TABLE + 512, "W2ru: its data is no name"},
    };
    size_t at = vhd_block_at(&b, 0) + 512;
    struct image image;
    size_t i;

    (void)state;
    put_locator(3, MACX, 512, 21, at);
    memcpy(b.p + at, "file://localhost/p.vhd", 22);
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        put_locator(0, W2RU, cases[i].space, cases[i].length, cases[i].off);
        open_child(&image);
        assert_true(has_warning(&image, cases[i].why));
        assert_int_equal(image.n_parent_hints, 1); /* the other one counts */
        close_image(&image);
    }
}

/* All eight in use, one of an unknown platform, one without a length, the same name twice. */
static void many_locators(void **state)
{
    size_t at = vhd_block_at(&b, 0) + 512;
    struct image image;
    unsigned i;

    (void)state;
    memcpy(b.p + at, "a\0.\0v\0\0\0", 8);
    memcpy(b.p + at + 512, "b.v\0", 4);
    put_locator(0, 0x31323334, 1, 6, at);
    put_locator(1, W2KU, 1, 0, at);
    put_locator(2, W2RU, 1, 6, at);
    for (i = 3; i < 8; i++)
        put_locator(i, WI2K, 1, 3, at + 512);
    open_child(&image);
    assert_int_equal(image.n_parent_hints, 2);
    assert_string_equal(image.parent_hint[0], "a.v");
    assert_string_equal(image.parent_hint[1], "b.v");
    assert_string_equal(image.parent_path, "a.v");
    assert_false(has_warning(&image, ""));
    close_image(&image);
}

static void times_and_no_uuid(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    struct image image;

    (void)state;
    put_be32(b.p + VHD_T_HEADER + 56, 86400);
    open_child(&image);
    assert_true(image.has_parent_time && image.has_time);
    assert_int_equal(image.parent_time, 946684800 + 86400);
    assert_int_equal(image.time, 946684800 + 86400);
    close_image(&image);
    put_be32(b.p + VHD_T_HEADER + 56, 0); /* as Windows writes it */
    open_child(&image);
    assert_false(image.has_parent_time);
    close_image(&image);
    memset(b.p + VHD_T_HEADER + 40, 0, 16);
    vhd_seal_header(b.p + VHD_T_HEADER);
    assert_ok(open_bytes(&image_format_vhd, b.p, b.len, &image, &err));
    assert_true(image.has_parent);
    assert_string_equal(image.parent_identity[0], "");
    close_image(&image);
}

/* Identify tells the same as open, without the table. */
static void identify_is_enough(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    struct blkdev *file = NULL;
    struct image image = {0};

    (void)state;
    put_name("base.vhd");
    vhd_seal_header(b.p + VHD_T_HEADER);
    assert_ok(dev_over(b.p, b.len, &file, &err));
    assert_ok(image_format_vhd.identify(file, "test.img", &image, &err));
    assert_null(image.dev);
    assert_string_equal(image.kind, "differencing");
    assert_string_equal(image.identity, "uuid:01020304-0506-0708-090a-0b0c0d0e0f10");
    assert_string_equal(image.parent_hint[0], "base.vhd");
    close_image(&image);
    assert_fails(image_format_vhd.identify(file, "test.v01", &image, &err), VD_ENOTFORMAT,
                 "a part of a split image");
    close_image(&image);
    blk_unref(file);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_of_every_code),
        cmocka_unit_test(text_is_bounded),
        cmocka_unit_test(space_is_sectors_or_bytes),
        CASE(only_bare_names),
        CASE(full_name_field),
        CASE(locators_that_cannot_be_used),
        CASE(many_locators),
        CASE(times_and_no_uuid),
        CASE(identify_is_enough),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
