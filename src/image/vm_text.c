/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VMware's "dictionary" text: lines KEY = "VALUE", keys in any case and order, '#' comments, a line
 * `.encoding = "…"` that names the character set, and |HH for a byte that cannot stand in a value
 * (|22 quote, |0A line feed, |7C the bar itself).  There is no published specification: this is what
 * files of Workstation, Fusion and ESXi look like.  Pure; any thread.
 */
#include "image/vm_text.h"

#include "base/text.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

bool vm_text_line(const char **io, const char *end, struct vm_line *out)
{
    while (*io < end) {
        const char *p = *io, *eol = memchr(p, '\n', (size_t)(end - p)), *stop, *equals;

        stop = eol ? eol : end;
        *io = eol ? eol + 1 : end;
        if (stop - p >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0) /* a byte order mark */
            p += 3;
        while (p < stop && is_blank(*p))
            p++;
        while (stop > p && is_blank(stop[-1]))
            stop--;
        equals = p < stop && *p != '#' ? memchr(p, '=', (size_t)(stop - p)) : NULL;
        if (!equals)
            continue;
        out->key = p;
        for (p = equals; p > out->key && is_blank(p[-1]);)
            p--;
        out->key_len = (size_t)(p - out->key);
        for (p = equals + 1; p < stop && is_blank(*p);)
            p++;
        if (stop - p >= 2 && *p == '"' && stop[-1] == '"') {
            p++;
            stop--;
        }
        out->value = p;
        out->value_len = (size_t)(stop - p);
        return true;
    }
    return false;
}

bool vm_text_key_is(const struct vm_line *line, const char *key)
{
    return strlen(key) == line->key_len && strncasecmp(line->key, key, line->key_len) == 0;
}

static bool value_is(const struct vm_line *line, const char *value)
{
    return strlen(value) == line->value_len &&
           strncasecmp(line->value, value, line->value_len) == 0;
}

enum vm_charset vm_text_charset(const char *text, size_t len)
{
    const char *p = text;
    struct vm_line line;

    while (vm_text_line(&p, text + len, &line)) {
        if (!vm_text_key_is(&line, ".encoding") && !vm_text_key_is(&line, "encoding"))
            continue;
        if (value_is(&line, "UTF-8") || value_is(&line, "US-ASCII") || line.value_len == 0)
            return VM_CHARSET_UTF8;
        if (value_is(&line, "windows-1252") || value_is(&line, "ISO-8859-1"))
            return VM_CHARSET_WINDOWS_1252;
        return VM_CHARSET_OTHER;
    }
    return VM_CHARSET_UTF8;
}

/* windows-1252, 0x80 to 0x9f; 0: not assigned (WHATWG Encoding Standard maps those to C1). */
static const uint16_t cp1252[32] = {
    0x20ac, 0,      0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160,
    0x2039, 0x0152, 0,      0x017d, 0,      0,      0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
    0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0,      0x017e, 0x0178,
};

static void add_cp1252(struct vd_str *out, uint8_t c)
{
    uint32_t cp = c >= 0x80 && c < 0xa0 ? cp1252[c - 0x80] : c;
    char utf8[3];

    if (cp == 0 || cp < 0x80) {
        vd_str_add_bytes(out, &c, 1);
    } else if (cp < 0x800) {
        utf8[0] = (char)(0xc0 | cp >> 6);
        utf8[1] = (char)(0x80 | (cp & 0x3f));
        vd_str_add_bytes(out, utf8, 2);
    } else {
        utf8[0] = (char)(0xe0 | cp >> 12);
        utf8[1] = (char)(0x80 | (cp >> 6 & 0x3f));
        utf8[2] = (char)(0x80 | (cp & 0x3f));
        vd_str_add_bytes(out, utf8, 3);
    }
}

static int hex_digit(char c)
{
    const char *digits = "0123456789abcdef", *at = c ? strchr(digits, tolower(c)) : NULL;

    return at ? (int)(at - digits) : -1;
}

char *vm_text_value(struct vm_reading *r, const struct vm_line *line)
{
    struct vd_str out = VD_STR_INIT;
    char *text;
    size_t i;

    for (i = 0; i < line->value_len; i++) {
        uint8_t c = (uint8_t)line->value[i];

        if (c == '|' && line->value_len - i > 2 && hex_digit(line->value[i + 1]) >= 0 &&
            hex_digit(line->value[i + 2]) >= 0) {
            c = (uint8_t)(hex_digit(line->value[i + 1]) << 4 | hex_digit(line->value[i + 2]));
            i += 2;
        }
        if (c >= 0x80 && r->charset == VM_CHARSET_OTHER)
            r->unconverted = true;
        if (c == 0) /* ends nothing: shown like other control bytes */
            vd_str_add(&out, "\\x00");
        else if (r->charset == VM_CHARSET_WINDOWS_1252)
            add_cp1252(&out, c);
        else
            vd_str_add_bytes(&out, &c, 1);
    }
    text = vd_str_take(&out);
    r->no_memory = r->no_memory || !text;
    return text;
}

char *vm_text_printable(struct vm_reading *r, const char *text)
{
    size_t size = 4 * strlen(text) + 1;
    char *out = malloc(size);

    if (out)
        vd_text_printable(text, size / 4, out, size);
    r->no_memory = r->no_memory || !out;
    return out;
}

bool vm_text_number(const struct vm_line *line, int64_t *out)
{
    char text[24], *end;
    long long n;

    if (line->value_len == 0 || line->value_len >= sizeof(text))
        return false;
    memcpy(text, line->value, line->value_len);
    text[line->value_len] = '\0';
    errno = 0;
    n = strtoll(text, &end, 10);
    if (errno || *end)
        return false;
    *out = n;
    return true;
}

const char *vm_text_numbered(const char *key, size_t len, const char *prefix, uint64_t *out_number,
                             size_t *out_len)
{
    size_t n = strlen(prefix), digits = 0;
    uint64_t number = 0;

    if (len <= n || strncasecmp(key, prefix, n) != 0)
        return NULL;
    for (; n + digits < len && isdigit((unsigned char)key[n + digits]) && digits < 9; digits++)
        number = number * 10 + (uint64_t)(key[n + digits] - '0');
    if (digits == 0 || n + digits + 1 >= len || key[n + digits] != '.')
        return NULL;
    *out_number = number;
    *out_len = len - n - digits - 1;
    return key + n + digits + 1;
}
