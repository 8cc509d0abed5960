/* SPDX-License-Identifier: Apache-2.0 */
/* Split raw images: which files belong together, and what is refused. */
#include "testlib.h"

#include "image/image.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PIECE 1024

static struct vd_err err;
static char *dir;
static struct blk_source source;
static uint8_t bytes[16 * PIECE];

static int setup(void **state)
{
    (void)state;
    dir = test_tmpdir();
    test_fill(bytes, sizeof(bytes), 1);
    return evidence_dir_source((const char *const *)&dir, 1, &source, &err);
}

static int teardown(void **state)
{
    (void)state;
    evidence_dir_source_free(&source);
    test_rmdir(dir);
    return 0;
}

static void piece(const char *name, size_t off, size_t len)
{
    test_write_file(dir, name, bytes + off, len);
}

static bool has_fact(const struct image *image, const char *text)
{
    size_t i;

    for (i = 0; i < image->facts.n; i++)
        if (test_contains(image->facts.v[i].value, text))
            return true;
    return false;
}

/* The disk is `len` bytes of `bytes` from the start. */
static void expect(const char *name, size_t len, const char *fact)
{
    uint8_t got[sizeof(bytes)];
    struct image *image = NULL;

    assert_ok(image_open(&source, 0, name, &image, &err));
    assert_int_equal(image->dev->size, len);
    assert_ok(blk_read(image->dev, 0, got, len, &err));
    assert_memory_equal(got, bytes, len);
    assert_true(has_fact(image, fact));
    image_free(image);
}

static void refused(const char *name, enum vd_class cls, const char *text)
{
    struct image *image = NULL;

    assert_fails(image_open(&source, 0, name, &image, &err), cls, text);
}

static void joined(void **state)
{
    (void)state;
    piece("a.001", 0, PIECE);
    piece("a.002", PIECE, PIECE);
    piece("a.003", 2 * PIECE, 512);
    expect("a.001", 2 * PIECE + 512, "3 files up to a.003");
    piece("b.dd.0000", 0, PIECE); /* from 0, four digits, equal pieces */
    piece("b.dd.0001", PIECE, PIECE);
    expect("b.dd.0000", 2 * PIECE, "2 files up to b.dd.0001");
    refused("a.003", VD_EUNSUPPORTED, "a.001: open that one");
    refused("b.dd.0001", VD_EUNSUPPORTED, "b.dd.0000: open that one");
}

static void alone(void **state)
{
    (void)state;
    piece("a.001", 0, PIECE);
    expect("a.001", PIECE, "shown alone");
    piece("b.007", 0, PIECE);
    expect("b.007", PIECE, "shown alone");
}

/* More than nine, so that the number of digits matters. */
static void many(void **state)
{
    char name[32];
    int i;

    (void)state;
    for (i = 1; i <= 12; i++) {
        (void)snprintf(name, sizeof(name), "m.%03d", i);
        piece(name, (size_t)(i - 1) * PIECE, PIECE);
    }
    piece("m.0013", 0, PIECE); /* another width: another set */
    expect("m.001", (size_t)12 * PIECE, "12 files up to m.012");
}

static void misfits(void **state)
{
    (void)state;
    piece("gap.001", 0, PIECE);
    piece("gap.002", 0, PIECE);
    piece("gap.004", 0, PIECE);
    refused("gap.001", VD_ECORRUPT, "gap.003 is missing (gap.004 is there)");
    piece("cut.001", 0, PIECE);
    piece("cut.002", 0, 512);
    piece("cut.003", 0, PIECE);
    refused("cut.001", VD_ECORRUPT, "cut.002 has 512 bytes");
    piece("big.001", 0, PIECE);
    piece("big.002", 0, 2 * PIECE);
    refused("big.001", VD_ECORRUPT, "big.002");
    piece("empty.001", 0, PIECE);
    piece("empty.002", 0, 0);
    refused("empty.001", VD_ECORRUPT, "empty.002 is empty");
}

static void no_links(void **state)
{
    char link[600];

    (void)state;
    piece("a.001", 0, PIECE);
    (void)snprintf(link, sizeof(link), "%s/a.002", dir);
    assert_int_equal(symlink("/etc/passwd", link), 0);
    refused("a.001", VD_EREFUSED, "a.002");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(joined, setup, teardown),
        cmocka_unit_test_setup_teardown(alone, setup, teardown),
        cmocka_unit_test_setup_teardown(many, setup, teardown),
        cmocka_unit_test_setup_teardown(misfits, setup, teardown),
        cmocka_unit_test_setup_teardown(no_links, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
