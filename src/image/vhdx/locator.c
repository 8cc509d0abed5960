/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parent locator of a differencing VHDX ([MS-VHDX] 2.6.2.6) and what it says to the chain: a list
 * of keys and values in UTF-16.  parent_linkage is the DataWriteGuid that the parent's header had when
 * the child was made; parent_linkage2 a second one while the child is being merged into the parent
 * (footnote 12), otherwise all zeros or not there.  Either one fits.  The paths come in the order that
 * the specification asks for: relative, volume, absolute; only the bare name of each is ever used.
 *
 * There is no checksum.  What cannot be right in the structure is refused; an identity that is missing
 * or is no GUID leaves a child that no file fits.  Pure but for allocations; any thread.
 */
#include "vhdx.h"

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/range.h"
#include "base/text.h"
#include "blk/evidence.h"
#include "image/image.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_LEN 20u
#define ENTRY_LEN  12u

/* B04AEFB7-D19E-4A81-B789-25B8E9445913: the parent is a VHDX file. */
static const struct vhdx_guid vhdx_type = {{0xb7, 0xef, 0x4a, 0xb0, 0x9e, 0xd1, 0x81, 0x4a, 0xb7,
                                            0x89, 0x25, 0xb8, 0xe9, 0x44, 0x59, 0x13}};

/* ---- keys and values ---- */

/* One string of the item; `what` names it. */
static int text_at(const uint8_t *bytes, size_t len, uint32_t off, uint16_t text_len,
                   const char *what, struct vhdx_text *out, struct vd_err *err)
{
    size_t i, n = text_len / 2;

    if (!vd_range_inside(off, text_len, len))
        return vd_fail(err, VD_ECORRUPT, "parent locator: %s is not inside the item", what);
    if (text_len % 2)
        return vd_fail(err, VD_ECORRUPT, "parent locator: %s has %u bytes, which is no UTF-16",
                       what, (unsigned)text_len);
    while (n && vd_le16(bytes + off + 2 * (n - 1)) == 0)
        n--; /* the length must not count the end of the string, but one that does is harmless */
    for (i = 0; i < n; i++)
        if (vd_le16(bytes + off + 2 * i) == 0)
            return vd_fail(err, VD_ECORRUPT, "parent locator: %s has a NUL inside", what);
    *out = (struct vhdx_text){bytes + off, n};
    return 0;
}

/* Keys are compared as they are: they are case sensitive. */
static bool text_is(const struct vhdx_text *text, const char *word)
{
    size_t i;

    for (i = 0; i < text->n_units && word[i]; i++)
        if (vd_le16(text->p + 2 * i) != (uint8_t)word[i])
            return false;
    return i == text->n_units && word[i] == '\0';
}

static int take_entry(const uint8_t *bytes, size_t len, unsigned index, struct vhdx_locator *out,
                      unsigned *io_seen, struct vd_err *err)
{
    const struct {
        const char *key;
        struct vhdx_text *value;
    } keys[] = {
        {"parent_linkage", &out->linkage},       {"parent_linkage2", &out->linkage2},
        {"relative_path", &out->relative},       {"volume_path", &out->volume},
        {"absolute_win32_path", &out->absolute},
    };
    const uint8_t *e = bytes + HEADER_LEN + (size_t)ENTRY_LEN * index;
    struct vhdx_text key;
    char what[48];
    unsigned k;
    int rc;

    (void)snprintf(what, sizeof(what), "key %u", index);
    rc = text_at(bytes, len, vd_le32(e), vd_le16(e + 8), what, &key, err);
    if (rc)
        return rc;
    for (k = 0; k < sizeof(keys) / sizeof(keys[0]); k++)
        if (text_is(&key, keys[k].key))
            break;
    if (k == sizeof(keys) / sizeof(keys[0])) {
        out->n_unknown++;
        return 0;
    }
    if (*io_seen & 1u << k)
        return vd_fail(err, VD_ECORRUPT, "parent locator: the key %s is there twice", keys[k].key);
    *io_seen |= 1u << k;
    (void)snprintf(what, sizeof(what), "the value of %s", keys[k].key);
    return text_at(bytes, len, vd_le32(e + 4), vd_le16(e + 10), what, keys[k].value, err);
}

int vhdx_locator_decode(const uint8_t *bytes, size_t len, struct vhdx_locator *out,
                        struct vd_err *err)
{
    struct vhdx_locator l = {0};
    char text[VHDX_GUID_TEXT_MAX];
    struct vhdx_guid type;
    unsigned n, i, seen = 0;
    int rc = 0;

    if (len < HEADER_LEN)
        return vd_fail(err, VD_ECORRUPT, "parent locator: it is too short (%zu bytes)", len);
    memcpy(type.b, bytes, sizeof(type.b));
    if (!vhdx_guid_equal(&type, &vhdx_type)) {
        vhdx_guid_text(&type, text);
        return vd_fail(err, VD_EUNSUPPORTED,
                       "parent locator: parents of the kind %s are not known (not a VHDX file)",
                       text);
    }
    n = vd_le16(bytes + 18);
    if (!vd_range_inside(HEADER_LEN, (uint64_t)n * ENTRY_LEN, len))
        return vd_fail(err, VD_ECORRUPT, "parent locator: %u entries do not fit in %zu bytes", n,
                       len);
    for (i = 0; i < n && rc == 0; i++)
        rc = take_entry(bytes, len, i, &l, &seen, err);
    if (rc == 0)
        *out = l;
    return rc;
}

/* ---- identities ---- */

/* Value of the hexadecimal digit in unit i, or -1. */
static int digit_at(const struct vhdx_text *text, size_t i)
{
    unsigned c = vd_le16(text->p + 2 * i);

    if (c >= '0' && c <= '9')
        return (int)(c - '0');
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? (int)(c - 'a') + 10 : -1;
}

bool vhdx_guid_parse(const struct vhdx_text *text, struct vhdx_guid *out)
{
    static const char form[] = "{xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx}";
    /* Where the n-th byte of the text stands: the first three groups are little-endian on disk. */
    static const uint8_t place[16] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};
    struct vhdx_guid guid = {{0}};
    size_t i, n = 0;

    if (text->n_units != sizeof(form) - 1)
        return false;
    for (i = 0; i < sizeof(form) - 1; i++) {
        int digit = digit_at(text, i);

        if (form[i] != 'x') {
            if (vd_le16(text->p + 2 * i) != (uint8_t)form[i])
                return false;
            continue;
        }
        if (digit < 0)
            return false;
        guid.b[place[n / 2]] |= (uint8_t)(n % 2 ? digit : digit << 4);
        n++;
    }
    *out = guid;
    return true;
}

/* ---- what the chain wants to know ---- */

/* UTF-8; the caller frees.  NULL: out of memory. */
static char *text_utf8(const struct vhdx_text *text)
{
    size_t size = 3 * text->n_units + 1;
    char *utf8 = malloc(size);

    if (utf8)
        (void)vd_utf16_to_utf8(text->p, text->n_units, false, utf8, size, NULL);
    return utf8;
}

/* As identity number `slot`.  All zeros stand for "none". */
static int take_linkage(const struct vhdx_text *text, unsigned slot, struct image *out,
                        struct vd_err *err)
{
    static const char *const names[2] = {"parent_linkage", "parent_linkage2"};
    VD_AUTO(free) char *utf8 = NULL;
    char guid_text[VHDX_GUID_TEXT_MAX];
    struct vhdx_guid guid;

    if (text->n_units == 0)
        return 0;
    if (vhdx_guid_parse(text, &guid)) {
        if (vhdx_guid_zero(&guid))
            return 0;
        vhdx_guid_text(&guid, guid_text);
        (void)snprintf(out->parent_identity[slot], IMAGE_ID_MAX, "guid:%s", guid_text);
        return 0;
    }
    utf8 = text_utf8(text);
    if (!utf8)
        return vd_fail(err, VD_ENOMEM, "parent locator: out of memory");
    vd_fact_add(&out->facts, VD_FACT_WARNING, "parent_identity",
                "the parent locator's %s \"%.80s\" is no GUID: no file can be told by it",
                names[slot], utf8);
    return 0;
}

static int add_hint(const char *name, struct image *out, struct vd_err *err)
{
    unsigned i;

    for (i = 0; i < out->n_parent_hints; i++)
        if (strcmp(out->parent_hint[i], name) == 0)
            return 0;
    if (!blk_source_name_ok(name) || out->n_parent_hints == IMAGE_PARENT_HINTS)
        return 0;
    out->parent_hint[out->n_parent_hints] = strdup(name);
    if (!out->parent_hint[out->n_parent_hints])
        return vd_fail(err, VD_ENOMEM, "parent locator: out of memory");
    out->n_parent_hints++;
    return 0;
}

static int take_path(const struct vhdx_text *text, const char *fact, struct image *out,
                     struct vd_err *err)
{
    VD_AUTO(free) char *utf8 = NULL;
    char shown[1024];

    if (text->n_units == 0)
        return 0;
    utf8 = text_utf8(text);
    if (!utf8)
        return vd_fail(err, VD_ENOMEM, "parent locator: out of memory");
    vd_fact_add(&out->facts, VD_FACT_INFO, fact, "%s", utf8);
    if (!out->parent_path) {
        vd_text_printable(utf8, strlen(utf8), shown, sizeof(shown));
        out->parent_path = strdup(shown);
        if (!out->parent_path)
            return vd_fail(err, VD_ENOMEM, "parent locator: out of memory");
    }
    return add_hint(vd_text_basename(utf8), out, err);
}

int vhdx_parent_take(const uint8_t *bytes, size_t len, struct image *out, struct vd_err *err)
{
    struct vhdx_locator l;
    int rc = vhdx_locator_decode(bytes, len, &l, err);

    if (rc == 0)
        rc = take_linkage(&l.linkage, 0, out, err);
    if (rc == 0)
        rc = take_linkage(&l.linkage2, 1, out, err);
    if (rc == 0)
        rc = take_path(&l.relative, "parent_relative_path", out, err);
    if (rc == 0)
        rc = take_path(&l.volume, "parent_volume_path", out, err);
    if (rc == 0)
        rc = take_path(&l.absolute, "parent_absolute_path", out, err);
    if (rc)
        return rc;
    out->has_parent = true;
    if (!out->parent_identity[0][0] && !out->parent_identity[1][0])
        vd_fact_add(&out->facts, VD_FACT_WARNING, "parent_identity",
                    "the parent locator names no identity (parent_linkage): no file can be proven "
                    "to be the parent");
    else if (out->parent_identity[1][0] &&
             strcmp(out->parent_identity[0], out->parent_identity[1]) != 0)
        vd_fact_add(&out->facts, VD_FACT_WARNING, "parent_merge",
                    "the parent locator has a second identity (parent_linkage2, %s): this disk was "
                    "being merged into its parent, which alone may show what never existed",
                    out->parent_identity[1]);
    return 0;
}
