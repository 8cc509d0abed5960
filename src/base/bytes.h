/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading numbers out of raw bytes, alignment-free.  On-disk structures are byte arrays; a decoder
 * reads each field once into a host struct, and nothing after the decoder sees raw bytes.
 *
 * `struct vd_cursor` is for variable parts: every read is checked, a read past the end returns 0
 * (or NULL) and sets the sticky `bad` flag, which the decoder tests once at the end.
 */
#ifndef VD_BASE_BYTES_H
#define VD_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t vd_le16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t vd_le32(const uint8_t *p)
{
    return (uint32_t)vd_le16(p) | (uint32_t)vd_le16(p + 2) << 16;
}

static inline uint64_t vd_le64(const uint8_t *p)
{
    return (uint64_t)vd_le32(p) | (uint64_t)vd_le32(p + 4) << 32;
}

static inline uint16_t vd_be16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t vd_be32(const uint8_t *p)
{
    return (uint32_t)vd_be16(p) << 16 | vd_be16(p + 2);
}

static inline uint64_t vd_be64(const uint8_t *p)
{
    return (uint64_t)vd_be32(p) << 32 | vd_be32(p + 4);
}

static inline void vd_put_le16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static inline void vd_put_le32(uint8_t *p, uint32_t v)
{
    vd_put_le16(p, (uint16_t)v);
    vd_put_le16(p + 2, (uint16_t)(v >> 16));
}

static inline void vd_put_le64(uint8_t *p, uint64_t v)
{
    vd_put_le32(p, (uint32_t)v);
    vd_put_le32(p + 4, (uint32_t)(v >> 32));
}

/* Are all `len` bytes zero? */
static inline bool vd_all_zero(const uint8_t *p, size_t len)
{
    size_t i;

    for (i = 0; i < len; i++)
        if (p[i])
            return false;
    return true;
}

struct vd_cursor {
    const uint8_t *base;
    size_t len;
    size_t pos;
    bool bad;
};

static inline struct vd_cursor vd_cursor_at(const void *base, size_t len)
{
    struct vd_cursor c = {.base = (const uint8_t *)base, .len = len};

    return c;
}

/* The next `n` bytes, or NULL and `bad`. */
static inline const uint8_t *vd_take_bytes(struct vd_cursor *c, size_t n)
{
    const uint8_t *p = c->base + c->pos;

    if (c->bad || n > c->len - c->pos) {
        c->bad = true;
        return NULL;
    }
    c->pos += n;
    return p;
}

static inline uint8_t vd_take_u8(struct vd_cursor *c)
{
    const uint8_t *p = vd_take_bytes(c, 1);

    return p ? *p : 0;
}

static inline uint16_t vd_take_le16(struct vd_cursor *c)
{
    const uint8_t *p = vd_take_bytes(c, 2);

    return p ? vd_le16(p) : 0;
}

static inline uint32_t vd_take_le32(struct vd_cursor *c)
{
    const uint8_t *p = vd_take_bytes(c, 4);

    return p ? vd_le32(p) : 0;
}

static inline uint64_t vd_take_le64(struct vd_cursor *c)
{
    const uint8_t *p = vd_take_bytes(c, 8);

    return p ? vd_le64(p) : 0;
}

#endif
