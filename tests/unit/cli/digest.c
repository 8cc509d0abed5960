/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "cli/digest.h"

#include <string.h>

/* FIPS 180-4 and RFC 1321: the empty text and "abc". */
static void known_answers(void **state)
{
    static const struct {
        const char *name, *empty, *abc;
    } v[] = {
        {"md5", "d41d8cd98f00b204e9800998ecf8427e", "900150983cd24fb0d6963f7d28e17f72"},
        {"sha1", "da39a3ee5e6b4b0d3255bfef95601890afd80709",
         "a9993e364706816aba3e25717850c26c9cd0d89d"},
        {"sha256", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
         "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    };
    char hex[DIGEST_HEX_MAX];
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
        struct digest *d = NULL, *copy;
        struct vd_err err = VD_ERR_INIT;

        assert_ok(digest_new(v[i].name, &d, &err));
        assert_string_equal(digest_name(d), v[i].name);
        digest_so_far(d, hex);
        assert_string_equal(hex, v[i].empty);
        digest_add(d, "ab", 2);
        copy = digest_copy(d);
        assert_non_null(copy);
        digest_add(d, "c", 1);
        digest_so_far(d, hex);
        assert_string_equal(hex, v[i].abc);
        digest_so_far(d, hex); /* asking changes nothing */
        assert_string_equal(hex, v[i].abc);
        digest_add(copy, "c", 1);
        digest_so_far(copy, hex);
        assert_string_equal(hex, v[i].abc);
        digest_free(copy);
        digest_free(d);
    }
}

static void zeros(void **state)
{
    static uint8_t bytes[200001];
    struct digest *a = NULL, *b = NULL;
    char hex_a[DIGEST_HEX_MAX], hex_b[DIGEST_HEX_MAX];
    struct vd_err err = VD_ERR_INIT;

    (void)state;
    assert_ok(digest_new("sha256", &a, &err));
    assert_ok(digest_new("sha256", &b, &err));
    digest_add(a, bytes, sizeof(bytes));
    digest_add_zeros(b, sizeof(bytes));
    digest_so_far(a, hex_a);
    digest_so_far(b, hex_b);
    assert_string_equal(hex_a, hex_b);
    digest_free(a);
    digest_free(b);
}

static void unknown_name(void **state)
{
    struct digest *d = NULL;
    struct vd_err err = VD_ERR_INIT;

    (void)state;
    assert_fails(digest_new("crc32", &d, &err), VD_EUSAGE, "none of sha256");
    assert_null(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers),
        cmocka_unit_test(zeros),
        cmocka_unit_test(unknown_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
