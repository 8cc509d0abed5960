/* SPDX-License-Identifier: Apache-2.0 */
/* Text helpers: see text.h.  Pure functions, no locale, no allocation except in vd_str. */
#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t vd_text_copy(char *dst, size_t size, const char *src)
{
    size_t n;

    if (size == 0)
        return 0;
    n = strnlen(src, size - 1);
    memcpy(dst, src, n);
    dst[n] = '\0';
    return n;
}

static bool is_cont(uint8_t b)
{
    return (b & 0xc0) == 0x80;
}

size_t vd_utf8_next(const char *p, size_t len, uint32_t *out_cp)
{
    const uint8_t *b = (const uint8_t *)p;
    uint32_t cp = 0;
    size_t n, i;

    if (len == 0)
        return 0;
    if (b[0] < 0x80) {
        n = 1;
        cp = b[0];
    } else if (b[0] >= 0xc2 && b[0] <= 0xdf) {
        n = 2;
        cp = b[0] & 0x1f;
    } else if ((b[0] & 0xf0) == 0xe0) {
        n = 3;
        cp = b[0] & 0x0f;
    } else if (b[0] >= 0xf0 && b[0] <= 0xf4) {
        n = 4;
        cp = b[0] & 0x07;
    } else {
        return 0;
    }
    if (n > len)
        return 0;
    for (i = 1; i < n; i++) {
        if (!is_cont(b[i]))
            return 0;
        cp = cp << 6 | (b[i] & 0x3f);
    }
    if ((n == 3 && cp < 0x800) || (n == 4 && (cp < 0x10000 || cp > 0x10ffff)) ||
        (cp >= 0xd800 && cp <= 0xdfff))
        return 0;
    if (out_cp)
        *out_cp = cp;
    return n;
}

static bool cp_printable(uint32_t cp)
{
    if (cp < 0x20 || (cp >= 0x7f && cp < 0xa0))
        return false;
    return !((cp >= 0x202a && cp <= 0x202e) || (cp >= 0x2066 && cp <= 0x2069) || cp == 0x2028 ||
             cp == 0x2029 || cp == 0xfeff);
}

size_t vd_text_printable(const char *src, size_t len, char *dst, size_t size)
{
    size_t in = 0, out = 0;

    if (size == 0)
        return 0;
    while (in < len) {
        uint32_t cp = 0;
        size_t n = vd_utf8_next(src + in, len - in, &cp), i;
        bool plain = n && cp_printable(cp);

        if (n == 0)
            n = 1;
        if (out + (plain ? n : 4 * n) >= size)
            break;
        if (plain) {
            memcpy(dst + out, src + in, n);
            out += n;
        } else {
            for (i = 0; i < n; i++)
                out += (size_t)snprintf(dst + out, size - out, "\\x%02x", (uint8_t)src[in + i]);
        }
        in += n;
    }
    dst[out] = '\0';
    return out;
}

static size_t utf8_put(uint32_t cp, char out[4])
{
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    if (cp < 0x800) {
        out[0] = (char)(0xc0 | cp >> 6);
        out[1] = (char)(0x80 | (cp & 0x3f));
        return 2;
    }
    if (cp < 0x10000) {
        out[0] = (char)(0xe0 | cp >> 12);
        out[1] = (char)(0x80 | (cp >> 6 & 0x3f));
        out[2] = (char)(0x80 | (cp & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | cp >> 18);
    out[1] = (char)(0x80 | (cp >> 12 & 0x3f));
    out[2] = (char)(0x80 | (cp >> 6 & 0x3f));
    out[3] = (char)(0x80 | (cp & 0x3f));
    return 4;
}

static uint32_t utf16_unit(const uint8_t *src, size_t i, bool big_endian)
{
    const uint8_t *p = src + 2 * i;

    return big_endian ? (uint32_t)(p[0] << 8 | p[1]) : (uint32_t)(p[1] << 8 | p[0]);
}

size_t vd_utf16_to_utf8(const uint8_t *src, size_t units, bool big_endian, char *dst, size_t size,
                        bool *out_lossy)
{
    size_t i, out = 0;
    bool lossy = false;

    if (size == 0)
        return 0;
    for (i = 0; i < units; i++) {
        uint32_t cp = utf16_unit(src, i, big_endian);
        char enc[4];
        size_t n;

        if (cp >= 0xd800 && cp < 0xdc00 && i + 1 < units) {
            uint32_t low = utf16_unit(src, i + 1, big_endian);

            if (low >= 0xdc00 && low < 0xe000) {
                cp = 0x10000 + ((cp - 0xd800) << 10) + (low - 0xdc00);
                i++;
            }
        }
        if (cp >= 0xd800 && cp < 0xe000) {
            cp = 0xfffd;
            lossy = true;
        }
        n = utf8_put(cp, enc);
        if (out + n >= size)
            break;
        memcpy(dst + out, enc, n);
        out += n;
    }
    dst[out] = '\0';
    if (out_lossy)
        *out_lossy = lossy;
    return out;
}

const char *vd_text_basename(const char *path)
{
    const char *p, *base = path;

    for (p = path; *p; p++)
        if (*p == '/' || *p == '\\')
            base = p + 1;
    return base;
}

static bool str_grow(struct vd_str *s, size_t extra)
{
    size_t need = s->len + extra + 1, cap = s->cap ? s->cap : 64;
    char *p;

    if (s->failed || need < extra)
        return false;
    if (need <= s->cap)
        return true;
    while (cap < need)
        cap *= 2;
    p = realloc(s->p, cap);
    if (!p) {
        s->failed = true;
        return false;
    }
    s->p = p;
    s->cap = cap;
    return true;
}

void vd_str_add_bytes(struct vd_str *s, const void *bytes, size_t len)
{
    if (!str_grow(s, len))
        return;
    if (len) /* nothing may lie nowhere */
        memcpy(s->p + s->len, bytes, len);
    s->len += len;
    s->p[s->len] = '\0';
}

void vd_str_add(struct vd_str *s, const char *text)
{
    vd_str_add_bytes(s, text, strlen(text));
}

void vd_str_addf(struct vd_str *s, const char *fmt, ...)
{
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0 || !str_grow(s, (size_t)n))
        return;
    va_start(ap, fmt);
    (void)vsnprintf(s->p + s->len, (size_t)n + 1, fmt, ap);
    va_end(ap);
    s->len += (size_t)n;
}

char *vd_str_take(struct vd_str *s)
{
    char *p;

    if (!s->p)
        (void)str_grow(s, 0);
    if (s->failed || !s->p) {
        vd_str_clear(s);
        return NULL;
    }
    p = s->p;
    p[s->len] = '\0';
    *s = (struct vd_str)VD_STR_INIT;
    return p;
}

void vd_str_clear(struct vd_str *s)
{
    free(s->p);
    *s = (struct vd_str)VD_STR_INIT;
}

void vd_text_size(uint64_t bytes, char *dst, size_t size)
{
    static const char *const unit[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    size_t i = 0;

    while (value >= 1024 && i + 1 < sizeof(unit) / sizeof(unit[0])) {
        value /= 1024;
        i++;
    }
    (void)snprintf(dst, size, i ? "%.1f %s" : "%.0f %s", value, unit[i]);
}
