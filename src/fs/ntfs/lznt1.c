/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LZNT1 (Microsoft [MS-XCA] 2.5): chunks of up to 4,096 bytes, each with a two-byte header; in a
 * compressed chunk, groups of eight items, literals or (offset, length) pairs whose split of the 16
 * bits depends on how much of the chunk has been written.  Strict: what points outside the chunk or
 * past the input is corrupt.  Pure.
 */
#include "fs/ntfs/ntfs_priv.h"

#include "base/bytes.h"

#include <string.h>

#define CHUNK 4096u

/* Inflates one compressed chunk; returns the bytes written, or -1. */
static int inflate_chunk(const uint8_t *src, size_t len, uint8_t *dst, size_t room)
{
    size_t at = 0, n = 0;

    while (at < len) {
        unsigned flags = src[at++], bit;

        for (bit = 0; bit < 8 && at < len; bit++) {
            unsigned pair, shift = 12, back, count;

            if (!(flags >> bit & 1)) {
                if (n == room)
                    return -1;
                dst[n++] = src[at++];
                continue;
            }
            if (len - at < 2 || !n)
                return -1;
            pair = vd_le16(src + at);
            at += 2;
            while (shift > 4 && (n - 1) >> (16 - shift) != 0)
                shift--;
            back = (pair >> shift) + 1;
            count = (pair & ((1u << shift) - 1)) + 3;
            if (back > n || count > room - n)
                return -1;
            for (; count; count--, n++)
                dst[n] = dst[n - back]; /* may overlap: that is how runs are written */
        }
    }
    return (int)n;
}

int lznt1_decode(const uint8_t *src, size_t src_len, uint8_t *dst, size_t dst_len,
                 struct vd_err *err)
{
    size_t at = 0, n = 0;

    while (src_len - at >= 2 && n < dst_len) {
        unsigned header = vd_le16(src + at);
        size_t len = (header & 0xfff) + 1u, room = dst_len - n < CHUNK ? dst_len - n : CHUNK;
        int got;

        if (!header) /* end of the unit; the rest is zeros */
            break;
        at += 2;
        if ((header >> 12 & 7) != 3 || len > src_len - at)
            return vd_fail(err, VD_ECORRUPT, "LZNT1: impossible chunk header 0x%04x", header);
        if (n % CHUNK)
            return vd_fail(err, VD_ECORRUPT, "LZNT1: a chunk follows a short one");
        if (header & 0x8000) {
            got = inflate_chunk(src + at, len, dst + n, room);
            if (got < 0)
                return vd_fail(err, VD_ECORRUPT, "LZNT1: damaged chunk at %zu", at);
        } else {
            if (len > room)
                return vd_fail(err, VD_ECORRUPT, "LZNT1: stored chunk of %zu bytes", len);
            memcpy(dst + n, src + at, len);
            got = (int)len;
        }
        n += (size_t)got;
        at += len;
    }
    memset(dst + n, 0, dst_len - n);
    return 0;
}
