/* SPDX-License-Identifier: Apache-2.0 */
/* LZNT1: the example of [MS-XCA] 3.3, stored chunks, and damaged input. */
#include "testlib.h"

#include "fs/ntfs/ntfs_priv.h"

#include <string.h>

static struct vd_err err;

static const uint8_t packed[] = {
    0x38, 0xb0, 0x88, 0x46, 0x23, 0x20, 0x00, 0x20, 0x47, 0x20, 0x41, 0x00, 0x10, 0xa2, 0x47,
    0x01, 0xa0, 0x45, 0x20, 0x44, 0x00, 0x08, 0x45, 0x01, 0x50, 0x79, 0x00, 0xc0, 0x45, 0x20,
    0x05, 0x24, 0x13, 0x88, 0x05, 0xb4, 0x02, 0x4a, 0x44, 0xef, 0x03, 0x58, 0x02, 0x8c, 0x09,
    0x16, 0x01, 0x48, 0x45, 0x00, 0xbe, 0x00, 0x9e, 0x00, 0x04, 0x01, 0x18, 0x90, 0x00};
static const char text[] = "F# F# G A A G F# E D D E F# F# E E F# F# G A A G F# E D D E F# E D D E "
                           "E F# D E F# G F# D E F# "
                           "G F# E D E A F# F# G A A G F# E D D E F# E D D";

static void example(void **state)
{
    uint8_t out[4096];

    (void)state;
    memset(out, 0xff, sizeof(out));
    assert_ok(lznt1_decode(packed, sizeof(packed), out, sizeof(out), &err));
    assert_memory_equal(out, text, sizeof(text));
    assert_int_equal(out[sizeof(text)], 0); /* the rest is zeroed */
    assert_int_equal(out[4095], 0);
}

static void stored_and_two_chunks(void **state)
{
    static uint8_t src[2 + 4096 + sizeof(packed)], out[8192], want[4096];

    (void)state;
    test_fill(want, sizeof(want), 3);
    src[0] = 0xff; /* stored, 4096 bytes */
    src[1] = 0x3f;
    memcpy(src + 2, want, 4096);
    memcpy(src + 2 + 4096, packed, sizeof(packed));
    assert_ok(lznt1_decode(src, sizeof(src), out, sizeof(out), &err));
    assert_memory_equal(out, want, 4096);
    assert_memory_equal(out + 4096, text, sizeof(text));
}

static void longest_run(void **state)
{
    /* one literal, then a pair (1 back, 4095 bytes): 12 bits of length while little is written */
    static const uint8_t src[] = {0x03, 0xb0, 0x02, 'z', 0xfc, 0x0f};
    uint8_t out[4096];
    size_t i;

    (void)state;
    assert_ok(lznt1_decode(src, sizeof(src), out, sizeof(out), &err));
    for (i = 0; i < 4096; i++)
        assert_int_equal(out[i], 'z');
}

static void damaged(void **state)
{
    static const uint8_t back_too_far[] = {0x03, 0xb0, 0x02, 'z', 0x00, 0x10};
    static const uint8_t too_long[] = {0x03, 0xb0, 0x02, 'z', 0xff, 0x0f};
    static const uint8_t pair_first[] = {0x02, 0xb0, 0x01, 0x00, 0x00};
    static const uint8_t bad_header[] = {0x02, 0x80, 0x00, 'a', 'b'};
    uint8_t out[4096];

    (void)state;
    assert_fails(lznt1_decode(back_too_far, sizeof(back_too_far), out, sizeof(out), &err),
                 VD_ECORRUPT, "damaged chunk");
    assert_fails(lznt1_decode(too_long, sizeof(too_long), out, sizeof(out), &err), VD_ECORRUPT,
                 "damaged chunk");
    assert_fails(lznt1_decode(pair_first, sizeof(pair_first), out, sizeof(out), &err), VD_ECORRUPT,
                 "damaged chunk");
    assert_fails(lznt1_decode(bad_header, sizeof(bad_header), out, sizeof(out), &err), VD_ECORRUPT,
                 "chunk header");
    assert_fails(lznt1_decode(packed, sizeof(packed) - 1, out, sizeof(out), &err), VD_ECORRUPT,
                 "chunk header");
}

/* Random input: any outcome but a write outside (ASan) or an endless loop. */
static void random_input(void **state)
{
    uint8_t src[600], out[5000];
    unsigned i;

    (void)state;
    for (i = 0; i < 20000; i++) {
        test_fill(src, sizeof(src), i);
        src[1] = (uint8_t)((src[1] & 0x8f) | 0x30);
        src[1] &= 0xb1;
        (void)lznt1_decode(src, sizeof(src), out, 1 + i % sizeof(out), NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(example),      cmocka_unit_test(stored_and_two_chunks),
        cmocka_unit_test(longest_run),  cmocka_unit_test(damaged),
        cmocka_unit_test(random_input),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
