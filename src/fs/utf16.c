/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-16 to WTF-8 with C0 80 for NUL: see utf16.h.  Pure. */
#include "fs/utf16.h"

#include "base/bytes.h"

static size_t put(char *dst, uint32_t cp)
{
    uint8_t *d = (uint8_t *)dst;

    if (cp && cp < 0x80) {
        d[0] = (uint8_t)cp;
        return 1;
    }
    if (cp < 0x800) {
        d[0] = (uint8_t)(0xc0 | cp >> 6);
        d[1] = (uint8_t)(0x80 | (cp & 63));
        return 2;
    }
    if (cp < 0x10000) {
        d[0] = (uint8_t)(0xe0 | cp >> 12);
        d[1] = (uint8_t)(0x80 | (cp >> 6 & 63));
        d[2] = (uint8_t)(0x80 | (cp & 63));
        return 3;
    }
    d[0] = (uint8_t)(0xf0 | cp >> 18);
    d[1] = (uint8_t)(0x80 | (cp >> 12 & 63));
    d[2] = (uint8_t)(0x80 | (cp >> 6 & 63));
    d[3] = (uint8_t)(0x80 | (cp & 63));
    return 4;
}

size_t fs_utf16_name(const uint8_t *src, size_t units, bool big_endian, char *dst)
{
    size_t i, n = 0;

    for (i = 0; i < units; i++) {
        uint32_t cp = big_endian ? vd_be16(src + 2 * i) : vd_le16(src + 2 * i);

        if (cp >= 0xd800 && cp < 0xdc00 && i + 1 < units) {
            uint32_t low = big_endian ? vd_be16(src + 2 * i + 2) : vd_le16(src + 2 * i + 2);

            if (low >= 0xdc00 && low < 0xe000) {
                cp = 0x10000 + ((cp - 0xd800) << 10) + (low - 0xdc00);
                i++;
            }
        }
        n += put(dst + n, cp);
    }
    return n;
}
