/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines of text, JSON and CSV from hostile bytes; see show_put.h.  Escapes are documented in
 * docs/formats/audit-export.md.  Pure but for the writer given.
 */
#include "audit/show_put.h"

#include "base/bytes.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MAX_TAGS 256
#define DAY      86400

/* ---- values ---- */

/* Bytes that stand for themselves in every form. */
static bool is_plain(uint8_t c)
{
    return c >= ' ' && c < 0x7f && c != '"' && c != '\\';
}

/* A backslash of the value, as the form writes it. */
static void add_backslash(struct vd_str *s, enum show_form form)
{
    vd_str_add_bytes(s, "\\\\", form == SHOW_JSON ? 2 : 1);
}

/* Bytes of value that the character (n bytes at p, n 0: none that is valid) takes. */
static size_t value_size(const char *p, size_t n, char shown[32], size_t *out_shown)
{
    *out_shown = vd_text_printable(p, n ? n : 1, shown, 32);
    return *p == '\\' ? 2 : *out_shown;
}

static void add_character(struct vd_str *s, enum show_form form, const char *shown, size_t len)
{
    size_t i;

    if (len == 1 && *shown == '"') {
        vd_str_add_bytes(s, form == SHOW_CSV ? "\"\"" : "\\\"", 2);
    } else if (len == 1 && *shown == '\\') {
        add_backslash(s, form);
        add_backslash(s, form);
    } else if (len % 4 == 0 && shown[0] == '\\') { /* one \xHH for each byte */
        for (i = 0; i < len; i += 4) {
            add_backslash(s, form);
            vd_str_add_bytes(s, shown + i + 1, 3);
        }
    } else {
        vd_str_add_bytes(s, shown, len);
    }
}

bool show_add_value(struct vd_str *s, enum show_form form, const void *bytes, size_t len,
                    size_t max)
{
    const char *p = bytes;
    size_t pos = 0;

    while (pos < len) {
        size_t run = pos, n, size, shown_len;
        char shown[32];

        while (run < len && is_plain((uint8_t)p[run]))
            run++;
        n = run - pos < max ? run - pos : max;
        vd_str_add_bytes(s, p + pos, n);
        pos += n;
        max -= n;
        if (pos < run)
            return false;
        if (pos == len)
            break;
        n = vd_utf8_next(p + pos, len - pos, NULL);
        size = value_size(p + pos, n, shown, &shown_len);
        if (size > max)
            return false;
        add_character(s, form, shown, shown_len);
        pos += n ? n : 1;
        max -= size;
    }
    return true;
}

void show_add_u64(struct vd_str *s, uint64_t v)
{
    char text[20];
    size_t n = sizeof(text);

    do
        text[--n] = (char)('0' + v % 10);
    while (v /= 10);
    vd_str_add_bytes(s, text + n, sizeof(text) - n);
}

void show_add_i64(struct vd_str *s, int64_t v)
{
    if (v < 0)
        vd_str_add_bytes(s, "-", 1);
    show_add_u64(s, v < 0 ? -(uint64_t)v : (uint64_t)v);
}

/* ---- times ---- */

static char *put_digits(char *out, unsigned v, unsigned digits)
{
    unsigned i;

    for (i = digits; i > 0; v /= 10)
        out[--i] = (char)('0' + v % 10);
    return out + digits;
}

/* Year, month and day of a day since 1970-01-01, by counting years from a March 1st: then the leap day
 * is the last one of its year.  400 years have 146,097 days. */
static void civil_date(int64_t day, unsigned out[3])
{
    int64_t shifted = day + 719468; /* days since 0000-03-01 */
    int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
    unsigned in_era = (unsigned)(shifted - era * 146097);
    unsigned year = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
    unsigned in_year = in_era - (365 * year + year / 4 - year / 100);
    unsigned month = (5 * in_year + 2) / 153;

    out[0] = (unsigned)((int64_t)year + era * 400) + (month >= 10);
    out[1] = month < 10 ? month + 3 : month - 9;
    out[2] = in_year - (153 * month + 2) / 5 + 1;
}

size_t show_time_text(int64_t ns, unsigned digits, const char *zone, char out[SHOW_TIME])
{
    int64_t sec = ns / 1000000000, rest = ns % 1000000000, day;
    unsigned date[3], in_day, i;
    char *p = out;

    if (rest < 0) {
        rest += 1000000000;
        sec--;
    }
    day = (sec >= 0 ? sec : sec - (DAY - 1)) / DAY;
    in_day = (unsigned)(sec - day * DAY);
    civil_date(day, date); /* 64-bit nanoseconds are the years 1677 to 2262 */
    p = put_digits(p, date[0], 4);
    *p++ = '-';
    p = put_digits(p, date[1], 2);
    *p++ = '-';
    p = put_digits(p, date[2], 2);
    *p++ = 'T';
    p = put_digits(p, in_day / 3600, 2);
    *p++ = ':';
    p = put_digits(p, in_day / 60 % 60, 2);
    *p++ = ':';
    p = put_digits(p, in_day % 60, 2);
    if (digits) {
        *p++ = '.';
        for (i = 9; i > digits; i--)
            rest /= 10;
        p = put_digits(p, (unsigned)rest, digits);
    }
    return (size_t)(p - out) + vd_text_copy(p, SHOW_TIME - (size_t)(p - out), zone);
}

/* ---- keys and values ---- */

void show_put_key(struct show_writer *w, const char *key)
{
    if (w->form == SHOW_JSON) {
        vd_str_add_bytes(&w->line, ",\"", w->line.len > 1 ? 2 : 0);
        if (w->line.len <= 1)
            vd_str_add_bytes(&w->line, "\"", 1);
        vd_str_add(&w->line, key);
        vd_str_add_bytes(&w->line, "\":", 2);
    } else {
        vd_str_add_bytes(&w->line, " ", w->line.len > 0);
        vd_str_add(&w->line, key);
        vd_str_add_bytes(&w->line, "=", 1);
    }
}

static bool is_bare(const char *p, size_t len)
{
    size_t i;

    for (i = 0; i < len; i++)
        if (!is_plain((uint8_t)p[i]) || p[i] == ' ' || p[i] == '=')
            return false;
    return len > 0;
}

void show_put_text(struct show_writer *w, const char *key, const void *p, size_t len)
{
    size_t max = w->max_value ? w->max_value : SIZE_MAX;

    show_put_key(w, key);
    if (w->form == SHOW_TEXT && len <= max && is_bare(p, len)) {
        vd_str_add_bytes(&w->line, p, len);
        return;
    }
    vd_str_add_bytes(&w->line, "\"", 1);
    if (!show_add_value(&w->line, w->form, p, len, max)) {
        vd_str_add_bytes(&w->cut, ",", w->cut.len > 0);
        vd_str_add(&w->cut, key);
    }
    vd_str_add_bytes(&w->line, "\"", 1);
}

void show_put_string(struct show_writer *w, const char *key, const char *text)
{
    show_put_text(w, key, text, strlen(text));
}

void show_put_u64(struct show_writer *w, const char *key, uint64_t v)
{
    char longer[64];

    if (!w->small_integers || v <= INT64_MAX) {
        show_put_key(w, key);
        show_add_u64(&w->line, v);
        return;
    }
    (void)snprintf(longer, sizeof(longer), "%s_u64", key);
    show_put_key(w, longer);
    vd_str_add_bytes(&w->line, "\"", 1);
    show_add_u64(&w->line, v);
    vd_str_add_bytes(&w->line, "\"", 1);
}

void show_put_i64(struct show_writer *w, const char *key, int64_t v)
{
    show_put_key(w, key);
    show_add_i64(&w->line, v);
}

void show_put_time(struct show_writer *w, const char *key, int64_t ns)
{
    char text[SHOW_TIME];

    show_put_text(w, key, text, show_time_text(ns, 9, "Z", text));
}

void show_put_piece(struct show_writer *w, const char *key, const struct audit_piece *p,
                    enum audit_tag_kind kind)
{
    static const char hex[] = "0123456789abcdef";
    char text[64];
    size_t i;

    if (kind == AUDIT_KIND_U32 && p->len == 4) {
        show_put_u64(w, key, vd_le32(p->bytes));
    } else if (kind == AUDIT_KIND_U64 && p->len == 8) {
        show_put_u64(w, key, vd_le64(p->bytes));
    } else if (kind == AUDIT_KIND_TIME && p->len == 8) {
        show_put_time(w, key, (int64_t)vd_le64(p->bytes));
    } else if (kind == AUDIT_KIND_HEX && p->len <= sizeof(text) / 2) {
        for (i = 0; i < p->len; i++) {
            text[2 * i] = hex[p->bytes[i] >> 4];
            text[2 * i + 1] = hex[p->bytes[i] & 15];
        }
        show_put_text(w, key, text, 2 * p->len);
    } else {
        show_put_text(w, key, p->bytes, p->len);
    }
}

void show_put_fields(struct show_writer *w, const struct audit_record *r, const uint8_t *skip)
{
    uint16_t seen[MAX_TAGS];
    struct audit_piece p;
    size_t pos = 0;

    if (r->payload_len == 0)
        return;
    memset(seen, 0, sizeof(seen));
    while (audit_record_next(r, &pos, &p)) {
        enum audit_tag_kind kind;
        const char *name = audit_tag_name(p.tag, &kind);
        char key[48];

        if (seen[p.tag]++ == 0 && skip && strchr((const char *)skip, (int)p.tag))
            continue;
        if (name)
            (void)vd_text_copy(key, sizeof(key), name);
        else
            (void)snprintf(key, sizeof(key), "tag%u", p.tag);
        if (seen[p.tag] > 1)
            (void)snprintf(key + strlen(key), sizeof(key) - strlen(key), ".%u", seen[p.tag]);
        show_put_piece(w, key, &p, kind);
    }
}

void show_put_flags(struct show_writer *w, uint8_t flags)
{
    static const struct {
        uint8_t flag;
        const char *name;
    } names[] = {{AUDIT_F_CUT, "cut,"},
                 {AUDIT_F_NO_PROC, "no_proc,"},
                 {AUDIT_F_MERGED, "merged,"},
                 {AUDIT_F_RECOVERED, "recovered,"}};
    char text[64] = "";
    size_t i, n = 0;

    if (!flags)
        return;
    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (flags & names[i].flag) {
            n += vd_text_copy(text + n, sizeof(text) - n, names[i].name);
            flags &= (uint8_t)~names[i].flag;
        }
    if (flags)
        n += vd_text_copy(text + n, sizeof(text) - n, "other,");
    show_put_text(w, "flags", text, n - 1);
}

void show_add_ranges(struct vd_str *s, const struct audit_record *r,
                     const struct audit_merged *merged)
{
    size_t i;

    for (i = 0; i < merged->n_ranges; i++) {
        uint64_t off, len;

        audit_merged_range(r, merged, i, &off, &len);
        vd_str_add_bytes(s, ",", i > 0);
        show_add_u64(s, off);
        vd_str_add_bytes(s, "+", 1);
        show_add_u64(s, len);
    }
}

static void put_ranges(struct show_writer *w, const struct audit_record *r,
                       const struct audit_merged *merged)
{
    struct vd_str text = VD_STR_INIT;
    size_t i;

    if (w->form == SHOW_JSON && !w->small_integers) {
        show_put_key(w, "ranges");
        for (i = 0; i < merged->n_ranges; i++) {
            uint64_t off, len;

            audit_merged_range(r, merged, i, &off, &len);
            vd_str_addf(&w->line, "%s[%" PRIu64 ",%" PRIu64 "]", i ? "," : "[", off, len);
        }
        vd_str_add_bytes(&w->line, "]", 1);
        return;
    }
    show_add_ranges(&text, r, merged);
    w->line.failed = w->line.failed || text.failed;
    if (!text.failed)
        show_put_text(w, "ranges", text.p, text.len);
    vd_str_clear(&text);
}

void show_put_merged(struct show_writer *w, const struct audit_record *r)
{
    struct audit_merged merged;

    if (!(r->flags & AUDIT_F_MERGED) || !audit_record_merged(r, &merged))
        return;
    show_put_u64(w, "reads", merged.count);
    show_put_time(w, "until", merged.last_real_ns);
    if (w->form == SHOW_JSON)
        show_put_u64(w, "until_boot_ns", merged.last_mono_ns);
    if (merged.n_ranges > 1)
        put_ranges(w, r, &merged);
}

void show_writer_clear(struct show_writer *w)
{
    vd_str_clear(&w->line);
    vd_str_clear(&w->cut);
}
