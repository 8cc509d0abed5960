/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CRC-32C: the polynomial 0x1EDC6F41 of RFC 3720, appendix B.4, reflected (0x82F63B78).  A
 * byte-wise table works everywhere; on x86-64 the SSE 4.2 instruction computes the same function
 * and is used where the processor has it.  Pure, no state that is written: any thread.
 */
#include "base/crc32c.h"

#include <string.h>

/* The table is linear: the entry of a byte is the XOR of the entries of its bits.  These are the
 * entries of the eight single bits, so the compiler makes the table and nothing is built at run
 * time. */
#define BIT(n, bit, value) (((n) & (bit)) ? (value) : 0u)
#define ENTRY(n)                                                                                   \
    (BIT(n, 0x01, 0xf26b8303u) ^ BIT(n, 0x02, 0xe13b70f7u) ^ BIT(n, 0x04, 0xc79a971fu) ^           \
     BIT(n, 0x08, 0x8ad958cfu) ^ BIT(n, 0x10, 0x105ec76fu) ^ BIT(n, 0x20, 0x20bd8edeu) ^           \
     BIT(n, 0x40, 0x417b1dbcu) ^ BIT(n, 0x80, 0x82f63b78u))
#define ROW4(n)   ENTRY(n), ENTRY((n) + 1), ENTRY((n) + 2), ENTRY((n) + 3)
#define ROW16(n)  ROW4(n), ROW4((n) + 4), ROW4((n) + 8), ROW4((n) + 12)
#define ROW64(n)  ROW16(n), ROW16((n) + 16), ROW16((n) + 32), ROW16((n) + 48)
#define ROW256(n) ROW64(n), ROW64((n) + 64), ROW64((n) + 128), ROW64((n) + 192)

static const uint32_t table[256] = {ROW256(0)};

uint32_t vd_crc32c_table(uint32_t crc, const void *bytes, size_t len)
{
    const uint8_t *p = bytes;
    size_t i;

    crc = ~crc;
    for (i = 0; i < len; i++)
        crc = crc >> 8 ^ table[(crc ^ p[i]) & 0xff];
    return ~crc;
}

static uint32_t without_table(const uint8_t *p, size_t len, size_t field_off)
{
    static const uint8_t zeros[4];
    uint32_t crc = vd_crc32c_table(0, p, field_off);

    crc = vd_crc32c_table(crc, zeros, sizeof(zeros));
    return vd_crc32c_table(crc, p + field_off + sizeof(zeros), len - field_off - sizeof(zeros));
}

static void slots4_table(const uint8_t *p, uint32_t out[4])
{
    size_t i;

    for (i = 0; i < 4; i++)
        out[i] = without_table(p + 64 * i, 64, 60);
}

#if defined(__x86_64__) && defined(__GNUC__)

/* `state` is the inverted CRC.  Ends of 4 bytes are taken at once: records have one, in front of
 * their own CRC. */
__attribute__((target("sse4.2"), always_inline)) static inline uint64_t add_sse42(uint64_t state,
                                                                                  const uint8_t *p,
                                                                                  size_t len)
{
    uint64_t word;
    uint32_t half;

    for (; len >= sizeof(word); p += sizeof(word), len -= sizeof(word)) {
        memcpy(&word, p, sizeof(word));
        state = __builtin_ia32_crc32di(state, word);
    }
    if (len >= sizeof(half)) {
        memcpy(&half, p, sizeof(half));
        state = __builtin_ia32_crc32si((uint32_t)state, half);
        p += sizeof(half);
        len -= sizeof(half);
    }
    for (; len; p++, len--)
        state = __builtin_ia32_crc32qi((uint32_t)state, *p);
    return state;
}

__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(uint32_t crc, const uint8_t *p,
                                                               size_t len)
{
    return ~(uint32_t)add_sse42(~crc, p, len);
}

__attribute__((target("sse4.2"))) static uint32_t without_sse42(const uint8_t *p, size_t len,
                                                                size_t field_off)
{
    uint64_t state = add_sse42(~UINT32_C(0), p, field_off);

    state = __builtin_ia32_crc32si((uint32_t)state, 0);
    return ~(uint32_t)add_sse42(state, p + field_off + 4, len - field_off - 4);
}

/* The instruction takes three cycles but one can begin in each: four sums at the same time. */
__attribute__((target("sse4.2"))) static void slots4_sse42(const uint8_t *p, uint32_t out[4])
{
    uint64_t state[4] = {~UINT32_C(0), ~UINT32_C(0), ~UINT32_C(0), ~UINT32_C(0)}, word;
    uint32_t half;
    size_t i, k;

    for (i = 0; i < 56; i += sizeof(word)) {
#pragma GCC unroll 4
        for (k = 0; k < 4; k++) {
            memcpy(&word, p + 64 * k + i, sizeof(word));
            state[k] = __builtin_ia32_crc32di(state[k], word);
        }
    }
#pragma GCC unroll 4
    for (k = 0; k < 4; k++) {
        memcpy(&half, p + 64 * k + 56, sizeof(half));
        state[k] = __builtin_ia32_crc32si((uint32_t)state[k], half);
        out[k] = ~__builtin_ia32_crc32si((uint32_t)state[k], 0);
    }
}

uint32_t vd_crc32c(uint32_t crc, const void *bytes, size_t len)
{
    return __builtin_cpu_supports("sse4.2") ? crc32c_sse42(crc, bytes, len)
                                            : vd_crc32c_table(crc, bytes, len);
}

uint32_t vd_crc32c_without(const void *bytes, size_t len, size_t field_off)
{
    return __builtin_cpu_supports("sse4.2") ? without_sse42(bytes, len, field_off)
                                            : without_table(bytes, len, field_off);
}

void vd_crc32c_slots4(const void *bytes, uint32_t out[4])
{
    if (__builtin_cpu_supports("sse4.2"))
        slots4_sse42(bytes, out);
    else
        slots4_table(bytes, out);
}

#else

void vd_crc32c_slots4(const void *bytes, uint32_t out[4])
{
    slots4_table(bytes, out);
}

uint32_t vd_crc32c(uint32_t crc, const void *bytes, size_t len)
{
    return vd_crc32c_table(crc, bytes, len);
}

uint32_t vd_crc32c_without(const void *bytes, size_t len, size_t field_off)
{
    return without_table(bytes, len, field_off);
}

#endif
