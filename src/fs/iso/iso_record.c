/* SPDX-License-Identifier: Apache-2.0 */
/* Directory records and Rock Ridge entries: bytes to structs.  Pure. */
#include "fs/iso/iso_priv.h"

#include "base/bytes.h"
#include "base/range.h"
#include "fs/civil.h"

#include <string.h>

#define SL_CONTINUE 1u
#define SL_CURRENT  2u
#define SL_PARENT   4u
#define SL_ROOT     8u
#define NM_DOTS     6u
#define TF_LONG     0x80u

static struct fs_time make_time(int64_t year, unsigned month, unsigned day, unsigned hour,
                                unsigned min, unsigned sec, unsigned centi, int8_t quarters)
{
    struct fs_time t = {0};

    if (!month || month > 12 || !day || day > 31 || hour > 23 || min > 59 || sec > 60)
        return t;
    t.known = true;
    t.sec = fs_days_from_civil(year, month, day) * 86400 + hour * 3600 + min * 60 + sec -
            (int64_t)quarters * 900;
    t.nsec = centi < 100 ? centi * 10000000u : 0;
    return t;
}

/* 9.1.5: seven bytes */
static struct fs_time short_time(const uint8_t *b)
{
    return make_time(1900 + b[0], b[1], b[2], b[3], b[4], b[5], 0, (int8_t)b[6]);
}

static unsigned digits(const uint8_t *b, size_t n)
{
    unsigned v = 0;

    for (; n; n--, b++) {
        if (*b < '0' || *b > '9')
            return 0;
        v = v * 10 + (unsigned)(*b - '0');
    }
    return v;
}

struct fs_time iso_long_time(const uint8_t *b)
{
    return make_time(digits(b, 4), digits(b + 4, 2), digits(b + 6, 2), digits(b + 8, 2),
                     digits(b + 10, 2), digits(b + 12, 2), digits(b + 14, 2), (int8_t)b[16]);
}

int iso_record_decode(const uint8_t *b, size_t len, struct iso_record *out, struct vd_err *err)
{
    struct iso_record r = {0};
    size_t system;

    if (len < 34 || b[0] < 34 || b[0] > len || 33u + b[32] > b[0])
        return vd_fail(err, VD_ECORRUPT, "directory record of %u bytes", len ? b[0] : 0u);
    r.len = b[0];
    r.ext_blocks = b[1];
    r.block = vd_le32(b + 2);
    r.size = vd_le32(b + 10);
    if (r.block != vd_be32(b + 6) || r.size != vd_be32(b + 14))
        return vd_fail(err, VD_ECORRUPT, "directory record: its two copies of a number differ");
    r.time = short_time(b + 18);
    r.flags = b[25];
    r.unit = b[26];
    r.gap = b[27];
    r.name_len = b[32];
    r.name = b + 33;
    system = (33u + r.name_len + 1) & ~1u;
    if (system < r.len) {
        r.system = b + system;
        r.system_len = (uint8_t)(r.len - system);
    }
    *out = r;
    return 0;
}

static void decode_px(const uint8_t *b, size_t len, struct iso_rock *rock)
{
    if (len < 36)
        return;
    rock->has_px = true;
    rock->mode = vd_le32(b + 4);
    rock->nlink = vd_le32(b + 12);
    rock->uid = vd_le32(b + 20);
    rock->gid = vd_le32(b + 28);
}

/* P1282 4.1.6: times in the order of their flag bits */
static void decode_tf(const uint8_t *b, size_t len, struct iso_rock *rock)
{
    struct fs_time *const times[] = {&rock->btime, &rock->mtime, &rock->atime, &rock->ctime};
    size_t size = len > 4 && b[4] & TF_LONG ? 17 : 7, at = 5, i;

    for (i = 0; len > 4 && i < 4; i++) {
        if (!(b[4] >> i & 1))
            continue;
        if (at + size > len)
            return;
        *times[i] = size == 17 ? iso_long_time(b + at) : short_time(b + at);
        at += size;
    }
}

static int decode_nm(const uint8_t *b, size_t len, struct iso_rock *rock, struct vd_err *err)
{
    size_t n = len > 5 ? len - 5 : 0;

    if (len < 5 || b[4] & NM_DOTS)
        return 0;
    if (n > sizeof(rock->name) - rock->name_len)
        return vd_fail(err, VD_ECORRUPT, "Rock Ridge name of more than %zu bytes",
                       sizeof(rock->name));
    memcpy(rock->name + rock->name_len, b + 5, n);
    rock->name_len += n;
    return 0;
}

static int add_target(struct iso_rock *rock, const char *text, size_t len, struct vd_err *err)
{
    if (len > sizeof(rock->target) - rock->target_len)
        return vd_fail(err, VD_ECORRUPT, "Rock Ridge link of more than %zu bytes",
                       sizeof(rock->target));
    memcpy(rock->target + rock->target_len, text, len);
    rock->target_len += len;
    return 0;
}

/* One component of a link (P1282 4.1.3.1). */
static int add_component(struct iso_rock *rock, unsigned flags, const uint8_t *text, size_t len,
                         struct vd_err *err)
{
    bool slash =
        rock->target_len && !rock->target_open && rock->target[rock->target_len - 1] != '/';
    int rc;

    if (flags & SL_ROOT)
        return add_target(rock, "/", 1, err);
    rc = slash ? add_target(rock, "/", 1, err) : 0;
    if (rc)
        return rc;
    if (flags & SL_CURRENT)
        return add_target(rock, ".", 1, err);
    if (flags & SL_PARENT)
        return add_target(rock, "..", 2, err);
    return add_target(rock, (const char *)text, len, err);
}

static int decode_sl(const uint8_t *b, size_t len, struct iso_rock *rock, struct vd_err *err)
{
    size_t at = 5;
    int rc = 0;

    rock->has_target = true;
    while (!rc && at + 2 <= len) {
        unsigned flags = b[at], n = b[at + 1];

        if (at + 2 + n > len)
            return vd_fail(err, VD_ECORRUPT, "Rock Ridge link: component outside");
        rc = add_component(rock, flags, b + at + 2, n, err);
        rock->target_open = flags & SL_CONTINUE;
        at += 2 + n;
    }
    return rc;
}

/* One entry of n bytes.  *out_end: nothing follows it. */
static int decode_entry(const uint8_t *e, size_t n, struct iso_rock *rock, bool *out_end,
                        struct vd_err *err)
{
    unsigned tag = vd_be16(e);

    switch (tag) {
    case 'P' << 8 | 'X':
        decode_px(e, n, rock);
        return 0;
    case 'T' << 8 | 'F':
        decode_tf(e, n, rock);
        return 0;
    case 'N' << 8 | 'M':
        return decode_nm(e, n, rock, err);
    case 'S' << 8 | 'L':
        return decode_sl(e, n, rock, err);
    case 'R' << 8 | 'E':
        rock->relocated = true;
        return 0;
    case 'Z' << 8 | 'F':
        rock->compressed = true;
        return 0;
    case 'C' << 8 | 'L':
        rock->has_child = n >= 12;
        rock->child_block = rock->has_child ? vd_le32(e + 4) : 0;
        return 0;
    case 'C' << 8 | 'E':
        rock->has_more = n >= 28;
        if (rock->has_more) {
            rock->more_block = vd_le32(e + 4);
            rock->more_off = vd_le32(e + 12);
            rock->more_len = vd_le32(e + 20);
        }
        return 0;
    case 'S' << 8 | 'T':
        *out_end = true;
        return 0;
    default:
        return 0;
    }
}

int iso_rock_decode(const uint8_t *b, size_t len, struct iso_rock *rock, struct vd_err *err)
{
    size_t at = 0;
    bool end = false;

    rock->has_more = false;
    while (!end && len - at >= 4) {
        size_t n = b[at + 2];
        int rc;

        if (n < 4 || n > len - at)
            return 0; /* padding, or not SUSP: nothing more to say */
        rc = decode_entry(b + at, n, rock, &end, err);
        if (rc)
            return rc;
        at += n;
    }
    return 0;
}
