/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VHDX metadata region ([MS-VHDX] 2.6): the table and the known items but for the parent locator
 * (locator.c).  The region has no checksum, so every field is checked against its bounds and the
 * others.  The required flag of a known item is not looked at: early images lack it.  Pure functions:
 * any thread.
 */
#include "vhdx.h"

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/range.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define ITEM_MAX_LEN   (1u << 20)
#define ITEM_MAX_USERS 1024u
#define FLAG_USER      1u
#define FLAG_REQUIRED  4u

static const struct {
    struct vhdx_guid guid;
    const char *name;
    uint32_t len; /* of the value; 0 = any */
} known_items[VHDX_ITEM_COUNT] = {
    /* CAA16737-FA36-4D43-B3B6-33F0AA44E76B */
    [VHDX_FILE_PARAMETERS] = {{{0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d, 0xb3, 0xb6, 0x33,
                                0xf0, 0xaa, 0x44, 0xe7, 0x6b}},
                              "file parameters",
                              8},
    /* 2FA54224-CD1B-4876-B211-5DBED83BF4B8 */
    [VHDX_DISK_SIZE] = {{{0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48, 0xb2, 0x11, 0x5d, 0xbe,
                          0xd8, 0x3b, 0xf4, 0xb8}},
                        "virtual disk size",
                        8},
    /* BECA12AB-B2E6-4523-93EF-C309E000C746; early drafts call it page 83 data */
    [VHDX_DISK_ID] = {{{0xab, 0x12, 0xca, 0xbe, 0xe6, 0xb2, 0x23, 0x45, 0x93, 0xef, 0xc3, 0x09,
                        0xe0, 0x00, 0xc7, 0x46}},
                      "virtual disk ID",
                      16},
    /* 8141BF1D-A96F-4709-BA47-F233A8FAAB5F */
    [VHDX_LOGICAL_SECTOR] = {{{0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47, 0xba, 0x47, 0xf2,
                               0x33, 0xa8, 0xfa, 0xab, 0x5f}},
                             "logical sector size",
                             4},
    /* CDA348C7-445D-4471-9CC9-E9885251C556 */
    [VHDX_PHYSICAL_SECTOR] = {{{0xc7, 0x48, 0xa3, 0xcd, 0x5d, 0x44, 0x71, 0x44, 0x9c, 0xc9, 0xe9,
                                0x88, 0x52, 0x51, 0xc5, 0x56}},
                              "physical sector size",
                              4},
    /* A8D35F2D-B30B-454D-ABF7-D3D84834AB0C */
    [VHDX_PARENT_LOCATOR] = {{{0x2d, 0x5f, 0xd3, 0xa8, 0x0b, 0xb3, 0x4d, 0x45, 0xab, 0xf7, 0xd3,
                               0xd8, 0x48, 0x34, 0xab, 0x0c}},
                             "parent locator",
                             0},
};

const char *vhdx_item_name(enum vhdx_item_kind kind)
{
    return known_items[kind].name;
}

/* ---- the table ---- */

struct span {
    uint32_t off, len;
};

static int compare_spans(const void *a, const void *b)
{
    const struct span *x = a, *y = b;

    return x->off < y->off ? -1 : x->off > y->off;
}

static int check_overlaps(struct span *v, size_t n, struct vd_err *err)
{
    size_t i;

    if (n)
        qsort(v, n, sizeof(*v), compare_spans);
    for (i = 1; i < n; i++)
        if (v[i].off - v[i - 1].off < v[i - 1].len)
            return vd_fail(err, VD_ECORRUPT,
                           "metadata table: the items at offsets %" PRIu32 " and %" PRIu32
                           " overlap",
                           v[i - 1].off, v[i].off);
    return 0;
}

static int check_place(unsigned index, struct span place, uint64_t region_len, struct vd_err *err)
{
    if (place.len == 0 && place.off == 0)
        return 0; /* present but empty */
    if (place.len == 0 || place.len > ITEM_MAX_LEN || place.off < VHDX_TABLE_SIZE ||
        !vd_range_inside(place.off, place.len, region_len))
        return vd_fail(err, VD_ECORRUPT,
                       "metadata table: entry %u (%" PRIu32 " bytes at offset %" PRIu32
                       ") is not inside the region",
                       index, place.len, place.off);
    return 0;
}

static int add_item(unsigned index, const uint8_t *entry, struct span place,
                    struct vhdx_items *items, struct vd_err *err)
{
    uint32_t flags = vd_le32(entry + 24);
    char text[VHDX_GUID_TEXT_MAX];
    struct vhdx_guid guid;
    size_t kind;

    memcpy(guid.b, entry, sizeof(guid.b));
    for (kind = 0; kind < VHDX_ITEM_COUNT; kind++)
        if (!(flags & FLAG_USER) && vhdx_guid_equal(&guid, &known_items[kind].guid))
            break;
    if (flags & FLAG_USER)
        items->n_user++;
    if (items->n_user > ITEM_MAX_USERS)
        return vd_fail(err, VD_ECORRUPT, "metadata table: more than %u user items", ITEM_MAX_USERS);
    if (kind < VHDX_ITEM_COUNT) {
        if (items->item[kind].present)
            return vd_fail(err, VD_ECORRUPT, "metadata table: the %s is there twice",
                           known_items[kind].name);
        items->item[kind] = (struct vhdx_item){true, flags & FLAG_REQUIRED, place.off, place.len};
        return 0;
    }
    vhdx_guid_text(&guid, text);
    if (flags & FLAG_REQUIRED)
        return vd_fail(err, VD_EUNSUPPORTED,
                       "metadata table: the required item %s (entry %u) is not known", text, index);
    items->n_unknown++;
    return 0;
}

int vhdx_items_decode(const uint8_t *bytes, size_t len, uint64_t region_len, struct vhdx_items *out,
                      struct vd_err *err)
{
    VD_AUTO(free) struct span *spans = NULL;
    struct vhdx_items items = {0};
    unsigned n, i;
    int rc = 0;

    if (len < VHDX_TABLE_SIZE || memcmp(bytes, "metadata", 8) != 0)
        return vd_fail(err, VD_ECORRUPT, "metadata table: the signature is missing");
    n = vd_le16(bytes + 10);
    if (n > VHDX_MAX_ENTRIES)
        return vd_fail(err, VD_ECORRUPT, "metadata table: %u entries (at most %u are possible)", n,
                       VHDX_MAX_ENTRIES);
    spans = calloc(n ? n : 1, sizeof(*spans));
    if (!spans)
        return vd_fail(err, VD_ENOMEM, "metadata table: out of memory");
    for (i = 0; i < n && rc == 0; i++) {
        const uint8_t *entry = bytes + 32 + 32 * (size_t)i;

        spans[i] = (struct span){vd_le32(entry + 16), vd_le32(entry + 20)};
        rc = check_place(i, spans[i], region_len, err);
        if (rc == 0)
            rc = add_item(i, entry, spans[i], &items, err);
    }
    if (rc == 0)
        rc = check_overlaps(spans, n, err);
    if (rc == 0)
        *out = items;
    return rc;
}

/* ---- values ---- */

int vhdx_value_decode(enum vhdx_item_kind kind, const uint8_t *bytes, size_t len,
                      struct vhdx_metadata *out, struct vd_err *err)
{
    if (len != known_items[kind].len)
        return vd_fail(err, VD_ECORRUPT, "metadata: the %s has %zu bytes instead of %" PRIu32,
                       known_items[kind].name, len, known_items[kind].len);
    switch (kind) {
    case VHDX_FILE_PARAMETERS:
        out->block_size = vd_le32(bytes);
        out->fixed = vd_le32(bytes + 4) & 1;
        out->has_parent = vd_le32(bytes + 4) & 2;
        break;
    case VHDX_DISK_SIZE:
        out->disk_size = vd_le64(bytes);
        break;
    case VHDX_DISK_ID:
        memcpy(out->disk_id.b, bytes, sizeof(out->disk_id.b));
        out->has_disk_id = true;
        break;
    case VHDX_LOGICAL_SECTOR:
        out->logical_sector = vd_le32(bytes);
        break;
    case VHDX_PHYSICAL_SECTOR:
        out->physical_sector = vd_le32(bytes);
        break;
    case VHDX_PARENT_LOCATOR:
    case VHDX_ITEM_COUNT:
        break;
    }
    return 0;
}

static bool sector_ok(uint32_t size)
{
    return size == 512 || size == 4096;
}

int vhdx_metadata_validate(const struct vhdx_metadata *metadata, struct vd_err *err)
{
    if (!vd_is_pow2(metadata->block_size) || metadata->block_size < VHDX_MIN_BLOCK ||
        metadata->block_size > VHDX_MAX_BLOCK)
        return vd_fail(err, VD_ECORRUPT,
                       "metadata: block size %" PRIu32
                       " is not a power of two from 1 MiB to 256 MiB",
                       metadata->block_size);
    if (!sector_ok(metadata->logical_sector))
        return vd_fail(err, VD_ECORRUPT,
                       "metadata: logical sector size %" PRIu32 " is neither 512 nor 4096",
                       metadata->logical_sector);
    if (metadata->physical_sector && !sector_ok(metadata->physical_sector))
        return vd_fail(err, VD_ECORRUPT,
                       "metadata: physical sector size %" PRIu32 " is neither 512 nor 4096",
                       metadata->physical_sector);
    if (metadata->disk_size == 0 || metadata->disk_size > VHDX_MAX_DISK ||
        metadata->disk_size % metadata->logical_sector)
        return vd_fail(err, VD_ECORRUPT,
                       "metadata: a virtual disk size of %" PRIu64
                       " bytes is not possible (whole sectors, at most 64 TiB)",
                       metadata->disk_size);
    return 0;
}
