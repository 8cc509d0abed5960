/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a differencing VHD says of its parent ("Dynamic Disk Header Format" and "Identification of the
 * Parent Hard Disk Image" of the 2006 specification): a UUID, which decides, a time stamp, and names
 * that are hints only: the header's own field and up to eight locators.
 *
 * Names are paths of the machine that made the disk (C:\vm\base.vhd, .\base.vhd,
 * file://localhost/vm/base.vhd).  Only their last component is ever asked for.
 *
 * Observed beyond the specification: the header's field is UTF-16BE, W2ru and W2ku data is UTF-16LE,
 * both with files of the other order; names are what NTFS takes for a name, so that half surrogate
 * pairs occur; the data space is bytes with Windows and XenServer, sectors in the specification; a
 * length of 0 with text up to a NUL; Windows leaves the time stamp 0.  No state; any thread.
 */
#include "vhd.h"

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/range.h"
#include "base/text.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CODE(a, b, c, d) ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (d))
#define W2RU             CODE('W', '2', 'r', 'u')
#define W2KU             CODE('W', '2', 'k', 'u')
#define WI2R             CODE('W', 'i', '2', 'r')
#define WI2K             CODE('W', 'i', '2', 'k')
#define MACX             CODE('M', 'a', 'c', 'X')
#define MAC              CODE('M', 'a', 'c', ' ')

/* Longest locator data taken: a Windows path has at most 32,767 units. */
#define LOCATOR_MAX (64u << 10)
/* As UTF-8: a unit of UTF-16 is at most three bytes. */
#define TEXT_MAX (LOCATOR_MAX / 2 * 3 + 1)

/* Offsets in an alias record of Mac OS, version 2: the file's name as a Pascal string. */
#define ALIAS_VERSION  6
#define ALIAS_NAME     50
#define ALIAS_NAME_MAX 63

const char *vhd_platform_name(uint32_t platform)
{
    switch (platform) {
    case W2RU:
        return "W2ru";
    case W2KU:
        return "W2ku";
    case WI2R:
        return "Wi2r";
    case WI2K:
        return "Wi2k";
    case MACX:
        return "MacX";
    case MAC:
        return "Mac";
    default:
        return NULL;
    }
}

uint64_t vhd_locator_space(const struct vhd_locator *locator)
{
    if (locator->space >= VHD_SECTOR && locator->space >= locator->length)
        return locator->space;
    return (uint64_t)locator->space * VHD_SECTOR;
}

/* ---- text ---- */

/* Puts one character, or a half surrogate pair, as UTF-8; false when there is no room. */
static bool put_char(uint32_t c, char *dst, size_t size, size_t *io_used)
{
    uint8_t b[4];
    size_t n;

    if (c < 0x80) {
        b[0] = (uint8_t)c;
        n = 1;
    } else if (c < 0x800) {
        b[0] = (uint8_t)(0xc0 | c >> 6);
        n = 2;
    } else if (c < 0x10000) {
        b[0] = (uint8_t)(0xe0 | c >> 12);
        b[1] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        n = 3;
    } else {
        b[0] = (uint8_t)(0xf0 | c >> 18);
        b[1] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
        b[2] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        n = 4;
    }
    if (n > 1)
        b[n - 1] = (uint8_t)(0x80 | (c & 0x3f));
    if (size - *io_used <= n)
        return false;
    memcpy(dst + *io_used, b, n);
    *io_used += n;
    return true;
}

static uint16_t unit_at(const uint8_t *bytes, size_t i, bool big)
{
    return big ? vd_be16(bytes + 2 * i) : vd_le16(bytes + 2 * i);
}

/* Which byte order makes more units ASCII?  Paths have separators and an extension in any language. */
static bool is_big_endian(const uint8_t *bytes, size_t units, bool usual)
{
    size_t i, big = 0, little = 0;

    for (i = 0; i < units && unit_at(bytes, i, true); i++) {
        big += unit_at(bytes, i, true) < 0x80;
        little += unit_at(bytes, i, false) < 0x80;
    }
    return big == little ? usual : big > little;
}

static void utf16_text(const uint8_t *bytes, size_t units, bool usually_big, char *dst, size_t size,
                       bool *out_strict)
{
    bool big = is_big_endian(bytes, units, usually_big);
    size_t i, used = 0;

    for (i = 0; i < units; i++) {
        uint32_t c = unit_at(bytes, i, big);
        uint32_t next = i + 1 < units ? unit_at(bytes, i + 1, big) : 0;

        if (c == 0)
            break;
        if (c >= 0xd800 && c < 0xdc00 && next >= 0xdc00 && next < 0xe000) {
            c = 0x10000 + ((c - 0xd800) << 10) + (next - 0xdc00);
            i++;
        } else if (c >= 0xd800 && c < 0xe000) {
            *out_strict = false;
        }
        if (!put_char(c, dst, size, &used))
            break;
    }
    dst[used] = '\0';
}

/* Deprecated codes: nothing says how the text is coded.  UTF-8 if it is that, otherwise Windows-1252
 * (the bytes 80–9f are the rare case and stay as they are: a hint that does not fit). */
static void ansi_text(const uint8_t *bytes, size_t len, char *dst, size_t size)
{
    size_t n = strnlen((const char *)bytes, len), i, used = 0;
    bool utf8 = true;

    for (i = 0; i < n && utf8;) {
        size_t step = vd_utf8_next((const char *)bytes + i, n - i, NULL);

        utf8 = step != 0;
        i += step;
    }
    for (i = 0; i < n; i++) {
        if (!utf8 && bytes[i] >= 0xa0) {
            if (!put_char(bytes[i], dst, size, &used))
                break;
        } else if (used + 1 < size) {
            dst[used++] = (char)bytes[i];
        }
    }
    dst[used] = '\0';
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (uint8_t)tolower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A file URL (RFC 2396).  An escaped '/' or NUL cannot be in a file name: it stays escaped. */
static void url_text(const uint8_t *bytes, size_t len, char *dst, size_t size)
{
    size_t n = strnlen((const char *)bytes, len), i, used = 0;

    for (i = 0; i < n && used + 1 < size; i++) {
        int high = -1, low = -1;

        if (bytes[i] == '%' && i + 2 < n) {
            high = hex_digit(bytes[i + 1]);
            low = hex_digit(bytes[i + 2]);
        }
        if (high < 0 || low < 0 || 16 * high + low == 0 || 16 * high + low == '/') {
            dst[used++] = (char)bytes[i];
        } else {
            dst[used++] = (char)(16 * high + low);
            i += 2;
        }
    }
    dst[used] = '\0';
}

/* The file's name in an alias record (Inside Macintosh: Files; version 2). */
static void alias_text(const uint8_t *bytes, size_t len, char *dst, size_t size)
{
    size_t n;

    dst[0] = '\0';
    if (len <= ALIAS_NAME || vd_be16(bytes + ALIAS_VERSION) != 2)
        return;
    n = bytes[ALIAS_NAME];
    if (n > ALIAS_NAME_MAX || n > len - ALIAS_NAME - 1)
        return;
    ansi_text(bytes + ALIAS_NAME + 1, n, dst, size);
}

bool vhd_locator_text(uint32_t platform, const uint8_t *bytes, size_t len, char *dst, size_t size,
                      bool *out_strict)
{
    *out_strict = true;
    dst[0] = '\0';
    switch (platform) {
    case 0:
    case W2RU:
    case W2KU:
        utf16_text(bytes, len / 2, platform == 0, dst, size, out_strict);
        break;
    case WI2R:
    case WI2K:
        if (len >= 2 && (bytes[0] == 0) != (bytes[1] == 0))
            utf16_text(bytes, len / 2, false, dst, size, out_strict);
        else
            ansi_text(bytes, len, dst, size);
        break;
    case MACX:
        url_text(bytes, len, dst, size);
        break;
    case MAC:
        alias_text(bytes, len, dst, size);
        break;
    default:
        return false;
    }
    return dst[0] != '\0';
}

/* ---- hints ---- */

static int add_hint(struct image *out, const char *name, struct vd_err *err)
{
    unsigned i;

    if (!blk_source_name_ok(name) || out->n_parent_hints == IMAGE_PARENT_HINTS)
        return 0;
    for (i = 0; i < out->n_parent_hints; i++)
        if (strcmp(out->parent_hint[i], name) == 0)
            return 0;
    out->parent_hint[i] = strdup(name);
    if (!out->parent_hint[i])
        return vd_fail(err, VD_ENOMEM, "out of memory");
    out->n_parent_hints++;
    return 0;
}

/* The last component; of "C:base.vhd" (relative to the drive) what follows the drive. */
static int add_path(struct image *out, const char *path, struct vd_err *err)
{
    const char *name = vd_text_basename(path);

    if (isalpha((unsigned char)name[0]) && name[1] == ':')
        name += 2;
    return add_hint(out, name, err);
}

/* The text that messages show: the absolute path, or else the first one offered. */
static int show_path(struct image *out, const char *path, bool absolute, struct vd_err *err)
{
    char text[1024];

    if (out->parent_path && !absolute)
        return 0;
    vd_text_printable(path, strlen(path), text, sizeof(text));
    free(out->parent_path);
    out->parent_path = strdup(text);
    return out->parent_path ? 0 : vd_fail(err, VD_ENOMEM, "out of memory");
}

static void report_text(struct image *out, const char *word, const char *text, bool strict)
{
    vd_fact_add(&out->facts, VD_FACT_INFO, "parent_locator", "%s: %s", word, text);
    if (!strict)
        vd_fact_add(&out->facts, VD_FACT_WARNING, "parent_locator",
                    "%s: the name has half a surrogate pair, shown as \\xHH", word);
}

/* ---- locators ---- */

struct reader {
    struct blkdev *file;
    const struct vhd_found *found;
    const struct vhd_header *header;
    struct image *out;
    char *text;     /* TEXT_MAX bytes */
    uint8_t *bytes; /* LOCATOR_MAX bytes */
};

static void refuse_locator(struct reader *r, const char *word, const char *why, uint64_t off)
{
    vd_fact_add(&r->out->facts, VD_FACT_WARNING, "parent_locator",
                "%s: %s (offset %" PRIu64 "); it is not used", word, why, off);
}

/* Reads the text of one locator into r->text; false when it cannot be used (said). */
static bool read_locator(struct reader *r, const struct vhd_locator *l, const char *word)
{
    uint64_t len = l->length, table_len = (uint64_t)r->header->max_entries * 4;
    struct vd_err why = VD_ERR_INIT;
    bool strict;

    /* Without a length the text goes up to a NUL inside the space. */
    if (len == 0 && r->found->data_end > l->offset)
        len = vd_min(vd_min(vhd_locator_space(l), LOCATOR_MAX), r->found->data_end - l->offset);
    if (len == 0 || len > LOCATOR_MAX) {
        refuse_locator(r, word, len ? "its data is longer than any path" : "it has no data",
                       l->offset);
        return false;
    }
    if (!vd_range_inside(l->offset, len, r->found->data_end)) {
        refuse_locator(r, word, "its data is not inside the file", l->offset);
        return false;
    }
    if (vd_range_overlap(l->offset, len, 0, VHD_FOOTER_SIZE) ||
        vd_range_overlap(l->offset, len, r->found->footer.data_offset, VHD_HEADER_SIZE) ||
        vd_range_overlap(l->offset, len, r->header->table_offset, table_len)) {
        refuse_locator(r, word, "its data lies over the header or the allocation table", l->offset);
        return false;
    }
    if (blk_read(r->file, l->offset, r->bytes, (size_t)len, &why)) {
        refuse_locator(r, word, why.msg, l->offset);
        return false;
    }
    if (!vhd_locator_text(l->platform, r->bytes, (size_t)len, r->text, TEXT_MAX, &strict)) {
        refuse_locator(r, word, "its data is no name", l->offset);
        return false;
    }
    report_text(r->out, word, r->text, strict);
    return true;
}

/* All locators of one platform. */
static int take_platform(struct reader *r, uint32_t platform, struct vd_err *err)
{
    const char *word = vhd_platform_name(platform);
    size_t i;
    int rc = 0;

    for (i = 0; i < 8 && rc == 0; i++) {
        const struct vhd_locator *l = &r->header->locator[i];

        if (l->platform != platform || !read_locator(r, l, word))
            continue;
        rc = add_path(r->out, r->text, err);
        if (rc == 0)
            rc = show_path(r->out, r->text, platform == W2KU, err);
    }
    return rc;
}

static int take_name_field(struct reader *r, struct vd_err *err)
{
    bool strict;
    int rc;

    if (!vhd_locator_text(0, r->header->parent_name, sizeof(r->header->parent_name), r->text,
                          TEXT_MAX, &strict))
        return 0;
    report_text(r->out, "header", r->text, strict);
    rc = add_path(r->out, r->text, err);
    return rc ? rc : show_path(r->out, r->text, false, err);
}

static void report_unknown(const struct vhd_header *header, struct image *out)
{
    size_t i;

    for (i = 0; i < 8; i++)
        if (header->locator[i].platform && !vhd_platform_name(header->locator[i].platform))
            vd_fact_add(&out->facts, VD_FACT_INFO, "parent_locator",
                        "code 0x%08" PRIx32 " is not known", header->locator[i].platform);
}

/* The best ones first: a relative path was true when the disks were last moved together. */
static int take_names(struct reader *r, struct vd_err *err)
{
    static const uint32_t later[] = {WI2R, WI2K, MACX, MAC};
    size_t i;
    int rc;

    rc = take_platform(r, W2RU, err);
    if (rc == 0)
        rc = take_platform(r, W2KU, err);
    if (rc == 0)
        rc = take_name_field(r, err);
    for (i = 0; i < sizeof(later) / sizeof(later[0]) && rc == 0; i++)
        rc = take_platform(r, later[i], err);
    report_unknown(r->header, r->out);
    return rc;
}

int vhd_parent_take(struct blkdev *file, const struct vhd_found *found,
                    const struct vhd_header *header, struct image *out, struct vd_err *err)
{
    VD_AUTO(free) char *text = malloc(TEXT_MAX);
    VD_AUTO(free) uint8_t *bytes = malloc(LOCATOR_MAX);
    struct reader r = {file, found, header, out, text, bytes};
    char uuid[37], when[32];

    if (!text || !bytes)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    out->has_parent = true;
    if (!vd_all_zero(header->parent_uuid, sizeof(header->parent_uuid))) {
        vhd_uuid_text(header->parent_uuid, uuid);
        (void)snprintf(out->parent_identity[0], IMAGE_ID_MAX, "uuid:%s", uuid);
        vd_fact_add(&out->facts, VD_FACT_INFO, "parent_unique_id", "%s", uuid);
    }
    if (header->parent_timestamp) {
        vhd_time_text(header->parent_timestamp, when);
        out->has_parent_time = true;
        out->parent_time = vhd_time_unix(header->parent_timestamp);
        vd_fact_add(&out->facts, VD_FACT_INFO, "parent_modified", "%s", when);
    }
    return take_names(&r, err);
}
