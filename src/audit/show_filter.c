/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filters of `show` and `export`: operation, path, process, time, result; see show_filter.h.  Patterns
 * and times come from the command line, texts that are compared from evidence: matching has no
 * recursion and a bounded time.
 */
#include "audit/show_filter.h"

#include "audit/merge.h"
#include "audit/show_names.h"
#include "audit/show_view.h"
#include "base/text.h"

#include <string.h>

#define NS_PER_S INT64_C(1000000000)

/* ---- patterns ---- */

/* Bytes of the character at `p`; one that is not valid UTF-8 counts as one. */
static size_t character(const char *p, size_t len)
{
    size_t n = vd_utf8_next(p, len, NULL);

    return n ? n : 1;
}

/* One element of a pattern that is no star, at text: bytes of text that it takes, 0 none. */
static size_t element(const char *pattern, const char *text, size_t len, size_t *out_pattern)
{
    *out_pattern = 1;
    if (*pattern == '\0' || len == 0)
        return 0;
    if (*pattern == '?')
        return character(text, len);
    if (*pattern == '\\' && pattern[1])
        *out_pattern = 2;
    return pattern[*out_pattern - 1] == *text;
}

bool audit_pattern_fits(const char *pattern, const char *text, size_t len)
{
    const char *star = NULL;
    size_t pos = 0, retry = 0, n, step;

    for (;;) {
        if (*pattern == '*') {
            star = ++pattern;
            retry = pos;
            continue;
        }
        n = element(pattern, text + pos, len - pos, &step);
        if (n) {
            pattern += step;
            pos += n;
        } else if (*pattern == '\0' && pos == len) {
            return true;
        } else if (!star || retry == len) {
            return false;
        } else { /* the last star takes one byte more: earlier ones need not be tried again */
            pos = ++retry;
            pattern = star;
        }
    }
}

/* ---- times ---- */

static int not_a_time(const char *text, const char *why, struct vd_err *err)
{
    return vd_fail(err, VD_EUSAGE,
                   "\"%.64s\" is no time: %s; like 2024-05-01T12:30:00Z, 2024-05-01T12:30+09:00, "
                   "-1h30m or now",
                   text, why);
}

/* Exactly `digits` digits. */
static bool take_number(const char **p, unsigned digits, unsigned *out)
{
    unsigned i;

    *out = 0;
    for (i = 0; i < digits; i++) {
        if ((*p)[i] < '0' || (*p)[i] > '9')
            return false;
        *out = *out * 10 + (unsigned)((*p)[i] - '0');
    }
    *p += digits;
    return true;
}

static bool take_char(const char **p, const char *one_of)
{
    if (!**p || !strchr(one_of, **p))
        return false;
    (*p)++;
    return true;
}

static unsigned days_of_month(unsigned year, unsigned month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    return days[month - 1] +
           (month == 2 && ((year % 4 == 0 && year % 100 != 0) || year % 400 == 0));
}

/* Seconds since 1970 of midnight. */
static bool take_date(const char **p, int64_t *out)
{
    unsigned year, month, day, m;
    int64_t days;

    if (!take_number(p, 4, &year) || !take_char(p, "-") || !take_number(p, 2, &month) ||
        !take_char(p, "-") || !take_number(p, 2, &day) || month < 1 || month > 12 || day < 1 ||
        year < 1678 || year > 2261 || day > days_of_month(year, month))
        return false;
    days = (int64_t)(year - 1) * 365 + (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400;
    for (m = 1; m < month; m++)
        days += days_of_month(year, m);
    *out = (days + (int64_t)day - 1 - 719162) * 86400;
    return true;
}

/* "T12:34:56.789", or nothing. */
static bool take_clock(const char **p, int64_t *out_ns)
{
    unsigned hour, minute, second = 0, digit;
    int64_t scale = NS_PER_S / 10, fraction = 0;

    *out_ns = 0;
    if (!take_char(p, "Tt "))
        return true;
    if (!take_number(p, 2, &hour) || !take_char(p, ":") || !take_number(p, 2, &minute) ||
        hour > 24 || minute > 59)
        return false;
    if (take_char(p, ":")) {
        if (!take_number(p, 2, &second) || second > 60)
            return false;
        if (take_char(p, ".,") && (**p < '0' || **p > '9'))
            return false;
        for (; **p >= '0' && **p <= '9' && take_number(p, 1, &digit); scale /= 10)
            fraction += digit * scale;
    }
    if (hour == 24 && (minute || second || fraction))
        return false;
    *out_ns = ((int64_t)hour * 3600 + minute * 60 + second) * NS_PER_S + fraction;
    return true;
}

/* "Z", "+09", "+0900" or "+09:00": seconds east of UTC. */
static bool take_zone(const char **p, int64_t *out)
{
    bool west = **p == '-';
    unsigned hours, minutes = 0;

    *out = 0;
    if (take_char(p, "Zz"))
        return true;
    if (!take_char(p, "+-") || !take_number(p, 2, &hours) || hours > 23)
        return false;
    if (**p) {
        (void)take_char(p, ":");
        if (!take_number(p, 2, &minutes) || minutes > 59)
            return false;
    }
    *out = ((int64_t)hours * 3600 + minutes * 60) * (west ? -1 : 1);
    return true;
}

/* "1h30m": nanoseconds. */
static bool take_span(const char *p, int64_t *out)
{
    static const struct {
        char unit;
        int64_t seconds;
    } units[] = {{'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}};
    size_t i;

    *out = 0;
    if (!*p)
        return false;
    while (*p) {
        int64_t v = 0, ns;

        if (*p < '0' || *p > '9')
            return false;
        for (; *p >= '0' && *p <= '9'; p++) {
            v = v * 10 + (*p - '0');
            if (v > INT64_C(1000000000))
                return false;
        }
        for (i = 0; i < sizeof(units) / sizeof(units[0]); i++)
            if (*p == units[i].unit)
                break;
        if (i == sizeof(units) / sizeof(units[0]) ||
            __builtin_mul_overflow(v, units[i].seconds * NS_PER_S, &ns) ||
            __builtin_add_overflow(*out, ns, out))
            return false;
        p++;
    }
    return true;
}

int audit_time_parse(const char *text, int64_t now_ns, int64_t *out_ns, struct vd_err *err)
{
    int64_t span, date, clock, zone;
    const char *p = text;

    if (strcmp(text, "now") == 0) {
        *out_ns = now_ns;
        return 0;
    }
    if (*text == '-') {
        if (!take_span(text + 1, &span) || __builtin_sub_overflow(now_ns, span, out_ns))
            return not_a_time(text, "not a span of d, h, m and s", err);
        return 0;
    }
    if (!take_date(&p, &date) || !take_clock(&p, &clock))
        return not_a_time(text, "not a date, or date and time, of ISO 8601", err);
    if (!*p)
        return not_a_time(text, "the zone is missing", err);
    if (!take_zone(&p, &zone) || *p)
        return not_a_time(text, "not a zone", err);
    *out_ns = (date - zone) * NS_PER_S + clock;
    return 0;
}

/* ---- records ---- */

int audit_filter_add_ops(struct audit_filter *f, const char *list, struct vd_err *err)
{
    const char *p = list;

    for (;;) {
        size_t len = strcspn(p, ",");
        char name[32];
        unsigned op;

        (void)vd_text_copy(name, sizeof(name) < len + 1 ? sizeof(name) : len + 1, p);
        op = len < sizeof(name) ? audit_op_number(name) : 0;
        if (!op)
            return vd_fail(err, VD_EUSAGE, "there is no operation %.*s", (int)(len < 64 ? len : 64),
                           p);
        if (f->n_ops == AUDIT_FILTER_OPS)
            return vd_fail(err, VD_EUSAGE, "more than %d operations", AUDIT_FILTER_OPS);
        f->op[f->n_ops++] = (uint16_t)op;
        if (!p[len])
            return 0;
        p += len + 1;
    }
}

static bool wants_op(const struct audit_filter *f, uint16_t op)
{
    size_t i;

    for (i = 0; i < f->n_ops; i++)
        if (f->op[i] == op)
            return true;
    return f->n_ops == 0;
}

/* A field that is not there is empty. */
static bool fits_piece(const char *pattern, const struct audit_piece *p)
{
    return audit_pattern_fits(pattern, p->bytes ? (const char *)p->bytes : "", p->len);
}

static bool wants_proc(const struct audit_filter *f, const struct show_proc *proc)
{
    if (!f->has_pid && !f->comm && !f->exe)
        return true;
    return proc && (!f->has_pid || (proc->has_pid && proc->pid == f->pid)) &&
           (!f->comm || fits_piece(f->comm, &proc->comm)) &&
           (!f->exe || fits_piece(f->exe, &proc->exe));
}

static bool wants_time(const struct audit_filter *f, const struct audit_record *r)
{
    struct audit_merged merged;
    int64_t last = r->real_ns;

    if (f->has_since && audit_record_merged(r, &merged))
        last = merged.last_real_ns;
    return (!f->has_since || last >= f->since_ns) && (!f->has_until || r->real_ns < f->until_ns);
}

static bool path_beneath(const char *path, size_t len, const char *prefix)
{
    size_t n;

    while (*prefix == '/')
        prefix++;
    n = strlen(prefix);
    while (n && prefix[n - 1] == '/')
        n--;
    return len >= n && memcmp(path, prefix, n) == 0 && (n == 0 || len == n || path[n] == '/');
}

static bool fits_path(const struct audit_filter *f, const char *path, size_t len)
{
    const char *pattern = f->path_pattern;

    while (pattern && *pattern == '/')
        pattern++;
    return (!f->path_prefix || path_beneath(path, len, f->path_prefix)) &&
           (!pattern || audit_pattern_fits(pattern, path, len));
}

static bool wants_path(const struct audit_filter *f, struct show_view *view,
                       const struct show_item *item, uint64_t *out_unplaced)
{
    const char *child;
    size_t child_len;

    if (!f->path_prefix && !f->path_pattern)
        return true;
    if (!item->r.obj) /* its PATH is one of the host */
        return false;
    if (!item->path) {
        if (out_unplaced)
            (*out_unplaced)++;
        return false;
    }
    return fits_path(f, item->path, item->path_len) ||
           (show_view_child(view, item, &child, &child_len) && fits_path(f, child, child_len));
}

bool audit_filter_wants(const struct audit_filter *f, struct show_view *view,
                        const struct show_item *item, uint64_t *out_unplaced)
{
    return wants_op(f, item->r.op) && (!f->errors || item->r.result) && wants_time(f, &item->r) &&
           wants_proc(f, item->proc) && wants_path(f, view, item, out_unplaced);
}
