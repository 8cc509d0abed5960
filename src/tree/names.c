/* SPDX-License-Identifier: Apache-2.0 */
/* The reversible escape of names: see names.h for the rules and the proof.  Pure, any thread. */
#include "tree/names.h"

#include <string.h>

static const char hex[] = "0123456789ABCDEF";

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Do two digits of an escape stand at p? */
static bool two_digits(const char *p, size_t len)
{
    return len >= 2 && digit(p[0]) >= 0 && digit(p[1]) >= 0;
}

/* Where the escape goes: into a string, or against a text that it must equal (no memory needed, so
 * that a lookup cannot fail for want of it). */
struct sink {
    struct vd_str *out; /* NULL: compare */
    const char *expect;
    size_t left;
    bool differs;
};

static void put(struct sink *s, const char *bytes, size_t len)
{
    if (s->out) {
        vd_str_add_bytes(s->out, bytes, len);
    } else if (s->differs || len > s->left || memcmp(s->expect, bytes, len) != 0) {
        s->differs = true;
    } else {
        s->expect += len;
        s->left -= len;
    }
}

static void put_escape(struct sink *s, char byte)
{
    const char text[3] = {'%', hex[(uint8_t)byte >> 4], hex[(uint8_t)byte & 15]};

    put(s, text, sizeof(text));
}

/* Length of the character at p if it stays as it is, 0 if its first byte must be escaped. */
static size_t plain(const char *p, size_t len)
{
    uint8_t c = (uint8_t)p[0];

    if (c < 0x20 || c == 0x7f || c == '/' || (c == '%' && two_digits(p + 1, len - 1)))
        return 0;
    return vd_utf8_next(p, len, NULL);
}

static void escape_part(struct sink *s, const char *raw, size_t len)
{
    size_t i = 0, start = 0;

    while (i < len) {
        size_t n = plain(raw + i, len - i);

        if (n) {
            i += n;
            continue;
        }
        put(s, raw + start, i - start);
        put_escape(s, raw[i]);
        start = ++i;
    }
    put(s, raw + start, len - start);
}

static void escape_name(struct sink *s, const char *raw, size_t len)
{
    if (len == 0)
        put(s, "%", 1);
    else if (len == 1 && raw[0] == '%')
        put(s, "%25", 3);
    else if (len == 1 && raw[0] == '.')
        put(s, "%2E", 3);
    else if (len == 2 && raw[0] == '.' && raw[1] == '.')
        put(s, "%2E%2E", 6);
    else
        escape_part(s, raw, len);
}

void names_escape_part(struct vd_str *out, const char *raw, size_t len)
{
    struct sink s = {.out = out};

    escape_part(&s, raw, len);
}

void names_escape(struct vd_str *out, const char *raw, size_t len)
{
    struct sink s = {.out = out};

    escape_name(&s, raw, len);
}

static size_t unescape(const char *display, size_t len, char *out)
{
    size_t i = 0, n = 0;

    if (len == 1 && display[0] == '%')
        return 0;
    while (i < len) {
        if (display[i] == '%' && two_digits(display + i + 1, len - i - 1)) {
            out[n++] = (char)(digit(display[i + 1]) << 4 | digit(display[i + 2]));
            i += 3;
        } else {
            out[n++] = display[i++];
        }
    }
    return n;
}

bool names_unescape(const char *display, char *out_raw, size_t *out_len)
{
    size_t len = strlen(display);
    struct sink s = {.expect = display, .left = len};

    *out_len = unescape(display, len, out_raw);
    escape_name(&s, out_raw, *out_len);
    return !s.differs && s.left == 0;
}

size_t names_cut(const char *display, size_t len, size_t max)
{
    size_t i = 0;

    if (len <= max)
        return len;
    while (i < len) {
        size_t n = vd_utf8_next(display + i, len - i, NULL);

        if (display[i] == '%' && two_digits(display + i + 1, len - i - 1))
            n = 3;
        if (i + (n ? n : 1) > max)
            break;
        i += n ? n : 1;
    }
    return i;
}

/* Takes "~DIGITS" off the end; false when it is not there. */
static bool take_suffix(const char *display, size_t *len)
{
    size_t i = *len;

    while (i > 0 && display[i - 1] >= '0' && display[i - 1] <= '9')
        i--;
    if (i == *len || i == 0 || display[i - 1] != '~')
        return false;
    *len = i - 1;
    return true;
}

bool names_has_suffix(const char *display, size_t len)
{
    return take_suffix(display, &len);
}
