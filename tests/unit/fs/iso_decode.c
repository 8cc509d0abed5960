/* SPDX-License-Identifier: Apache-2.0 */
/* ISO 9660 decoders: directory records, Rock Ridge names, links and times. */
#include "testlib.h"

#include "fs/iso/iso_priv.h"

#include <stdlib.h>
#include <string.h>

static struct vd_err err;

static void make_record(uint8_t b[64])
{
    static const uint8_t r[] = {48, 0, 7, 0, 0, 0,   0,  0,   0,   7,   5,   1,  0,
                                0,  0, 0, 1, 5, 126, 11, 22,  5,   41,  2,   4,  0,
                                0,  0, 1, 0, 0, 1,   5,  'A', '.', 'T', ';', '1'};

    memset(b, 0, 64);
    memcpy(b, r, sizeof(r));
}

static void records(void **state)
{
    struct iso_record rec;
    uint8_t b[64];

    (void)state;
    make_record(b);
    assert_ok(iso_record_decode(b, sizeof(b), &rec, &err));
    assert_int_equal(rec.block, 7);
    assert_int_equal(rec.size, 261);
    assert_int_equal(rec.name_len, 5);
    assert_int_equal(rec.system_len, 48 - 38);
    /* 2026-11-22 05:41:02, one hour east of Greenwich */
    assert_true(rec.time.known && rec.time.sec == INT64_C(1795322462));
    b[17] = 6;
    assert_fails(iso_record_decode(b, sizeof(b), &rec, &err), VD_ECORRUPT, "two copies");
    make_record(b);
    b[32] = 16;
    assert_fails(iso_record_decode(b, sizeof(b), &rec, &err), VD_ECORRUPT, "48 bytes");
    make_record(b);
    assert_fails(iso_record_decode(b, 47, &rec, &err), VD_ECORRUPT, "48 bytes");
    b[0] = 33;
    assert_fails(iso_record_decode(b, sizeof(b), &rec, &err), VD_ECORRUPT, "33 bytes");
}

static void rock_names(void **state)
{
    static const uint8_t area[] = {'N', 'M', 8,   1,   1, 'l', 'o', 'n', 'N', 'M', 6, 1,
                                   0,   'g', 'S', 'T', 4, 1,   'N', 'M', 6,   1,   0, 'X'};
    struct iso_rock *rock = calloc(1, sizeof(*rock));
    unsigned i;

    (void)state;
    assert_ok(iso_rock_decode(area, sizeof(area), rock, &err));
    assert_int_equal(rock->name_len, 4);
    assert_memory_equal(rock->name, "long", 4);
    for (i = 0; i < 1000; i++) /* a name without end */
        if (iso_rock_decode(area, sizeof(area), rock, &err))
            break;
    assert_int_equal(i, 255);
    free(rock);
}

static void rock_links(void **state)
{
    /* root, "usr", then "lo" + "cal" over two entries, "..", "." */
    static const uint8_t area[] = {'S', 'L', 16,  1,  1, 8, 0, 0, 3,   'u', 's', 'r', 1, 2, 'l',
                                   'o', 'S', 'L', 14, 1, 0, 0, 3, 'c', 'a', 'l', 4,   0, 2, 0};
    static const uint8_t cut[] = {'S', 'L', 8, 1, 0, 0, 9, 'c'};
    struct iso_rock *rock = calloc(1, sizeof(*rock));

    (void)state;
    assert_ok(iso_rock_decode(area, sizeof(area), rock, &err));
    assert_int_equal(rock->target_len, strlen("/usr/local/../."));
    assert_memory_equal(rock->target, "/usr/local/../.", rock->target_len);
    assert_fails(iso_rock_decode(cut, sizeof(cut), rock, &err), VD_ECORRUPT, "outside");
    free(rock);
}

static void rock_times(void **state)
{
    static const uint8_t area[] = {'T', 'F', 19, 1, 0x0a, 100, 1, 1, 0, 0,
                                   0,   0,   70, 1, 1,    0,   0, 1, 0};
    struct iso_rock *rock = calloc(1, sizeof(*rock));

    (void)state;
    assert_ok(iso_rock_decode(area, sizeof(area), rock, &err));
    assert_false(rock->btime.known);
    assert_true(rock->mtime.known && rock->mtime.sec == 946684800);
    assert_false(rock->atime.known);
    assert_true(rock->ctime.known && rock->ctime.sec == 1);
    free(rock);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records),
        cmocka_unit_test(rock_names),
        cmocka_unit_test(rock_links),
        cmocka_unit_test(rock_times),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
