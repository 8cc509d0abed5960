/* SPDX-License-Identifier: Apache-2.0 */
/* The parent locator of a differencing VHDX: keys and values, identities, and what the chain gets. */
#include "testlib.h"

#include "../../evil/vhd/build.h"
#include "base/bytes.h"
#include "image/vhdx/vhdx.h"

#include <stdlib.h>
#include <string.h>

#define ENTRY(i) (20 + 12 * (i))

static const char *const pairs[][2] = {
    {"relative_path", ".\\p.vhdx"},
    {"strange_key", "x"},
    {"parent_linkage", "{83ED0EC3-24c8-49a6-a959-5e4bf1288bfb}"},
    {"absolute_win32_path", "C:\\vm\\old.vhdx"},
    {"volume_path", "\\\\?\\Volume{26A21BDA}\\vm\\p.vhdx"},
    {"parent_linkage2", "{00000000-0000-0000-0000-000000000000}"}};

/* The bytes end where the allocation does, so that a read past them is seen. */
static int decode(const uint8_t *p, size_t len, struct vhdx_locator *out, struct vd_err *err)
{
    uint8_t *copy = malloc(len ? len : 1);
    int rc;

    memcpy(copy, p, len);
    rc = vhdx_locator_decode(copy, len, out, err);
    free(copy);
    return rc;
}

static bool is(const struct vhdx_text *text, const char *want)
{
    size_t i;

    for (i = 0; i < text->n_units; i++)
        if (vd_le16(text->p + 2 * i) != (uint8_t)want[i])
            return false;
    return want[i] == '\0';
}

static void keys_and_values(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    struct vhdx_locator l;
    uint8_t p[2048];
    size_t len = vhdx_make_locator(p, pairs, 6), cut;

    (void)state;
    assert_ok(vhdx_locator_decode(p, len, &l, &err));
    assert_true(is(&l.relative, ".\\p.vhdx"));
    assert_true(is(&l.absolute, "C:\\vm\\old.vhdx"));
    assert_true(is(&l.linkage, pairs[2][1]));
    assert_int_equal(l.n_unknown, 1);
    for (cut = 0; cut < len; cut++)
        assert_int_equal(decode(p, cut, &l, &err), -VD_ECORRUPT);
    p[0] ^= 1;
    assert_fails(decode(p, len, &l, &err), VD_EUNSUPPORTED, "not a VHDX file");
}

static void damage(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    struct vhdx_locator l;
    uint8_t p[2048], good[2048];
    size_t len = vhdx_make_locator(good, pairs, 6);
    uint32_t at;

    (void)state;
    memcpy(p, good, len);
    vd_put_le32(p + ENTRY(0) + 4, UINT32_MAX);
    assert_fails(decode(p, len, &l, &err), VD_ECORRUPT, "the value of relative_path is not inside");
    vd_put_le32(p + ENTRY(0) + 4, (uint32_t)len - 1);
    assert_fails(decode(p, len, &l, &err), VD_ECORRUPT, "the value of relative_path is not inside");
    memcpy(p, good, len);
    vd_put_le32(p + ENTRY(2), UINT32_MAX - 1);
    assert_fails(decode(p, len, &l, &err), VD_ECORRUPT, "key 2 is not inside");
    memcpy(p, good, len);
    vd_put_le16(p + ENTRY(2) + 10, 75);
    assert_fails(decode(p, len, &l, &err), VD_ECORRUPT, "parent_linkage has 75 bytes");
    vd_put_le16(p + ENTRY(2) + 10, 65535);
    assert_fails(decode(p, len, &l, &err), VD_ECORRUPT, "parent_linkage is not inside");
    memcpy(p, good, len);
    memcpy(p + ENTRY(1), p + ENTRY(2), 12);
    assert_fails(decode(p, len, &l, &err), VD_ECORRUPT, "the key parent_linkage is there twice");
    memcpy(p, good, len);
    at = vd_le32(p + ENTRY(0) + 4);
    vd_put_le16(p + at + 4, 0);
    assert_fails(decode(p, len, &l, &err), VD_ECORRUPT, "relative_path has a NUL inside");
    memcpy(p, good, len);
    vd_put_le16(p + at + 2 * 7, 0); /* a length that counts the end of the string */
    assert_ok(vhdx_locator_decode(p, len, &l, &err));
    assert_true(is(&l.relative, ".\\p.vhd"));
    vd_put_le16(p + ENTRY(0) + 10, 0);
    assert_ok(vhdx_locator_decode(p, len, &l, &err));
    assert_int_equal(l.relative.n_units, 0);
    vd_put_le16(p + 18, 65535);
    assert_fails(decode(p, len, &l, &err), VD_ECORRUPT, "65535 entries do not fit");
    p[vd_le32(good + ENTRY(0))] = 'R'; /* keys are case sensitive */
    vd_put_le16(p + 18, 6);
    assert_ok(vhdx_locator_decode(p, len, &l, &err));
    assert_int_equal(l.n_unknown, 2);
}

static bool parse(const char *text, struct vhdx_guid *out)
{
    uint8_t units[128];
    size_t n = strlen(text), i;

    for (i = 0; i < n; i++)
        vd_put_le16(units + 2 * i, (uint8_t)text[i]);
    return vhdx_guid_parse(&(struct vhdx_text){units, n}, out);
}

static void guids(void **state)
{
    static const char *const bad[] = {"",
                                      "{}",
                                      "83ed0ec3-24c8-49a6-a959-5e4bf1288bfb",
                                      "{83ed0ec3-24c8-49a6-a959-5e4bf1288bf}",
                                      "{83ed0ec3-24c8-49a6-a959-5e4bf1288bfg}",
                                      "{83ed0ec3-24c8-49a6-a959-5e4bf1288bfb) ",
                                      "{83ed0ec3x24c8-49a6-a959-5e4bf1288bfb}",
                                      "{83ed0ec3-24c8-49a6-a959-5e4bf1288bfb} "};
    char text[VHDX_GUID_TEXT_MAX];
    struct vhdx_guid guid;
    size_t i;

    (void)state;
    assert_true(parse("{83ED0EC3-24C8-49a6-a959-5e4bf1288bfb}", &guid));
    assert_int_equal(guid.b[0], 0xc3);
    assert_int_equal(guid.b[8], 0xa9);
    vhdx_guid_text(&guid, text);
    assert_string_equal(text, "83ed0ec3-24c8-49a6-a959-5e4bf1288bfb");
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(parse(bad[i], &guid));
}

/* A unit over 255 whose low byte is a digit is no digit. */
static void guids_of_wide_characters(void **state)
{
    uint8_t units[76];
    const char *text = "{83ed0ec3-24c8-49a6-a959-5e4bf1288bfb}";
    struct vhdx_guid guid;
    size_t i;

    (void)state;
    for (i = 0; i < 38; i++)
        vd_put_le16(units + 2 * i, (uint8_t)text[i]);
    units[3] = 1;
    assert_false(vhdx_guid_parse(&(struct vhdx_text){units, 38}, &guid));
    units[3] = 0;
    units[1] = 1;
    assert_false(vhdx_guid_parse(&(struct vhdx_text){units, 38}, &guid));
}

static void what_the_chain_gets(void **state)
{
    static const char *const merge[][2] = {
        {"parent_linkage2", "{83ed0ec3-24c8-49a6-a959-5e4bf1288bfc}"},
        {"parent_linkage", "{83ed0ec3-24c8-49a6-a959-5e4bf1288bfb}"},
        {"relative_path", "..\\up\\"}};
    struct vd_err err = VD_ERR_INIT;
    struct image image = {0};
    uint8_t p[2048];
    size_t len = vhdx_make_locator(p, pairs, 6);

    (void)state;
    assert_ok(vhdx_parent_take(p, len, &image, &err));
    assert_true(image.has_parent);
    assert_string_equal(image.parent_identity[0], "guid:83ed0ec3-24c8-49a6-a959-5e4bf1288bfb");
    assert_string_equal(image.parent_identity[1], "");
    assert_int_equal(image.n_parent_hints, 2); /* relative and volume are the same name */
    assert_string_equal(image.parent_hint[0], "p.vhdx");
    assert_string_equal(image.parent_hint[1], "old.vhdx");
    assert_string_equal(image.parent_path, ".\\p.vhdx");
    assert_string_equal(fact_value(&image, "parent_absolute_path"), "C:\\vm\\old.vhdx");
    close_image(&image);

    len = vhdx_make_locator(p, merge, 3);
    assert_ok(vhdx_parent_take(p, len, &image, &err));
    assert_string_equal(image.parent_identity[0], "guid:83ed0ec3-24c8-49a6-a959-5e4bf1288bfb");
    assert_string_equal(image.parent_identity[1], "guid:83ed0ec3-24c8-49a6-a959-5e4bf1288bfc");
    assert_true(has_warning(&image, "being merged into its parent"));
    assert_int_equal(image.n_parent_hints, 0); /* no name at the end of the path */
    close_image(&image);

    len = vhdx_make_locator(p, merge + 2, 1);
    assert_ok(vhdx_parent_take(p, len, &image, &err));
    assert_string_equal(image.parent_identity[0], "");
    assert_true(has_warning(&image, "names no identity"));
    close_image(&image);
}

/* A path longer than any buffer keeps its last component whole; names that could lead elsewhere are
 * not taken. */
static void odd_paths(void **state)
{
    static const struct {
        const char *path, *hint;
    } cases[] = {{"..\\..", NULL}, {".", NULL},     {"C:\\a/b.vhdx", "b.vhdx"},
                 {"\\", NULL},     {"x", "x"},      {"\\\\srv\\share\\d\\q r.avhdx", "q r.avhdx"},
                 {"a\nb", "a\nb"}, {"C:\\..", NULL}};
    struct vd_err err = VD_ERR_INIT;
    struct image image = {0};
    uint8_t *p = malloc(80000);
    char *path = malloc(30002);
    const char *pair[1][2] = {{"relative_path", path}};
    size_t i, len;

    (void)state;
    memset(path, 'd', 30000);
    memcpy(path + 29900, "\\the-name.vhdx", 15);
    len = vhdx_make_locator(p, (const char *const(*)[2])pair, 1);
    assert_ok(vhdx_parent_take(p, len, &image, &err));
    assert_string_equal(image.parent_hint[0], "the-name.vhdx");
    close_image(&image);
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        pair[0][1] = cases[i].path;
        len = vhdx_make_locator(p, (const char *const(*)[2])pair, 1);
        assert_ok(vhdx_parent_take(p, len, &image, &err));
        assert_int_equal(image.n_parent_hints, cases[i].hint != NULL);
        if (cases[i].hint)
            assert_string_equal(image.parent_hint[0], cases[i].hint);
        close_image(&image);
    }
    free(path);
    free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_and_values),
        cmocka_unit_test(damage),
        cmocka_unit_test(guids),
        cmocka_unit_test(guids_of_wide_characters),
        cmocka_unit_test(what_the_chain_gets),
        cmocka_unit_test(odd_paths),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
