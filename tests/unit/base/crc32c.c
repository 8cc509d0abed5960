/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32C against the vectors of RFC 3720, appendix B.4, and the table against the instruction. */
#include "testlib.h"

#include "base/crc32c.h"

#include <string.h>

static void check(const void *bytes, size_t len, uint32_t expected)
{
    assert_int_equal(vd_crc32c(0, bytes, len), expected);
    assert_int_equal(vd_crc32c_table(0, bytes, len), expected);
}

static void rfc3720_vectors(void **state)
{
    static const uint8_t read_pdu[48] = {
        0x01, 0xc0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x00, 0x00, 0x04, 0x00,
        0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x18, 0x28, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    };
    uint8_t b[32];
    size_t i;

    (void)state;
    memset(b, 0, sizeof(b));
    check(b, sizeof(b), 0x8a9136aa);
    memset(b, 0xff, sizeof(b));
    check(b, sizeof(b), 0x62a8ab43);
    for (i = 0; i < sizeof(b); i++)
        b[i] = (uint8_t)i;
    check(b, sizeof(b), 0x46dd794e);
    for (i = 0; i < sizeof(b); i++)
        b[i] = (uint8_t)(31 - i);
    check(b, sizeof(b), 0x113fdb5c);
    check(read_pdu, sizeof(read_pdu), 0xd9963a56);
    check("123456789", 9, 0xe3069283);
    check("", 0, 0);
}

static void pieces_equal_whole(void **state)
{
    uint8_t b[521];
    size_t cut, start;

    (void)state;
    test_fill(b, sizeof(b), 7);
    for (start = 0; start < 9; start++) {
        size_t len = sizeof(b) - start;
        uint32_t whole = vd_crc32c_table(0, b + start, len);

        assert_int_equal(vd_crc32c(0, b + start, len), whole);
        for (cut = 0; cut <= len; cut++)
            assert_int_equal(vd_crc32c(vd_crc32c(0, b + start, cut), b + start + cut, len - cut),
                             whole);
    }
}

static void own_field_counts_as_zero(void **state)
{
    uint8_t b[64], copy[64], zeroed[64];
    size_t off;

    (void)state;
    test_fill(b, sizeof(b), 3);
    memcpy(copy, b, sizeof(b));
    for (off = 0; off + 4 <= sizeof(b); off++) {
        memcpy(zeroed, b, sizeof(b));
        memset(zeroed + off, 0, 4);
        assert_int_equal(vd_crc32c_without(b, sizeof(b), off),
                         vd_crc32c_table(0, zeroed, sizeof(zeroed)));
    }
    assert_memory_equal(b, copy, sizeof(b));
}

static void four_slots_at_once(void **state)
{
    uint8_t b[256];
    uint32_t crc[4];
    size_t i, round;

    (void)state;
    for (round = 0; round < 100; round++) {
        test_fill(b, sizeof(b), round);
        vd_crc32c_slots4(b, crc);
        for (i = 0; i < 4; i++) {
            assert_int_equal(crc[i], vd_crc32c_without(b + 64 * i, 64, 60));
            memset(b + 64 * i + 60, 0, 4);
            assert_int_equal(crc[i], vd_crc32c_table(0, b + 64 * i, 64));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rfc3720_vectors),
        cmocka_unit_test(four_slots_at_once),
        cmocka_unit_test(pieces_equal_whole),
        cmocka_unit_test(own_field_counts_as_zero),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
