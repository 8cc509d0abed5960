/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Header and markers of hosted sparse extents: decoding and checks, all pure.  VMware Virtual Disk
 * Format 5.0, struct SparseExtentHeader and "Metadata markers".  Versions 1, 2 (zeroed grains) and
 * 3 (as 2, with changed-block tracking in a file of its own that reading ignores) share one layout.
 */
#include "image/vmdk/header.h"

#include "base/bytes.h"
#include "base/limits.h"
#include "base/range.h"

#include <inttypes.h>

#define SESPARSE_MAGIC UINT64_C(0x00000000cafebabe)

/* VDF 5.0: "The grain size must be a power of 2 and must be greater than 8"; 8 itself exists. */
#define GRAIN_SECTORS_MIN 8

#define MARKER_SIZE 16 /* value, size of data, type; the rest of the sector is zeros */

enum vmdk_magic vmdk_magic_of(const uint8_t *bytes, size_t len)
{
    if (len >= 4 && memcmp(bytes, "KDMV", 4) == 0)
        return VMDK_MAGIC_HOSTED;
    if (len >= 4 && memcmp(bytes, "COWD", 4) == 0)
        return VMDK_MAGIC_COWD;
    if (len >= 8 && vd_le64(bytes) == SESPARSE_MAGIC)
        return VMDK_MAGIC_SESPARSE;
    return VMDK_MAGIC_NONE;
}

int vmdk_header_decode(const uint8_t *bytes, size_t len, struct vmdk_header *out,
                       struct vd_err *err)
{
    if (len < VMDK_HEADER_SIZE)
        return vd_fail(err, VD_ECORRUPT, "the header is cut after %zu of %u bytes", len,
                       VMDK_HEADER_SIZE);
    if (vmdk_magic_of(bytes, len) != VMDK_MAGIC_HOSTED)
        return vd_fail(err, VD_ECORRUPT, "the header has no \"KDMV\" signature");
    *out = (struct vmdk_header){
        .version = vd_le32(bytes + 4),
        .flags = vd_le32(bytes + 8),
        .capacity_sectors = vd_le64(bytes + 12),
        .grain_sectors = vd_le64(bytes + 20),
        .descriptor_off_sectors = vd_le64(bytes + 28),
        .descriptor_sectors = vd_le64(bytes + 36),
        .gt_entries = vd_le32(bytes + 44),
        .rgd_off_sectors = vd_le64(bytes + 48),
        .gd_off_sectors = vd_le64(bytes + 56),
        .overhead_sectors = vd_le64(bytes + 64),
        .unclean_shutdown = bytes[72],
        .compression = vd_le16(bytes + 77),
    };
    memcpy(out->newline_test, bytes + 73, sizeof(out->newline_test));
    return 0;
}

uint64_t vmdk_header_gd_entries(const struct vmdk_header *h)
{
    return vd_div_up(vd_div_up(h->capacity_sectors, h->grain_sectors), h->gt_entries);
}

static int validate_sizes(const struct vmdk_header *h, struct vd_err *err)
{
    uint64_t bytes;

    if (h->capacity_sectors == 0)
        return vd_fail(err, VD_ECORRUPT, "header: a capacity of 0 sectors");
    if (!vd_mul(h->capacity_sectors, VMDK_SECTOR, &bytes) || bytes > VD_MAX_SIZE)
        return vd_fail(err, VD_ELIMIT,
                       "header: a capacity of %" PRIu64 " sectors is over the limit",
                       h->capacity_sectors);
    if (!vd_is_pow2(h->grain_sectors) || h->grain_sectors < GRAIN_SECTORS_MIN)
        return vd_fail(err, VD_ECORRUPT,
                       "header: a grain size of %" PRIu64
                       " sectors (it must be a power of two, at least %d)",
                       h->grain_sectors, GRAIN_SECTORS_MIN);
    if (h->grain_sectors > VD_MAX_GRAIN / VMDK_SECTOR)
        return vd_fail(err, VD_ELIMIT,
                       "header: a grain size of %" PRIu64 " sectors is over the limit of %u",
                       h->grain_sectors, VD_MAX_GRAIN / VMDK_SECTOR);
    if (h->gt_entries == 0)
        return vd_fail(err, VD_ECORRUPT, "header: grain tables of 0 entries");
    if (h->gt_entries > VD_MAX_GRAIN_TABLE)
        return vd_fail(err, VD_ELIMIT,
                       "header: grain tables of %" PRIu32 " entries are over the limit of %d",
                       h->gt_entries, VD_MAX_GRAIN_TABLE);
    if (vmdk_header_gd_entries(h) > VD_MAX_GRAIN_DIR / 4)
        return vd_fail(err, VD_ELIMIT,
                       "header: a grain directory of %" PRIu64 " entries is over the limit of %u",
                       vmdk_header_gd_entries(h), VD_MAX_GRAIN_DIR / 4);
    return 0;
}

static int validate_compression(const struct vmdk_header *h, struct vd_err *err)
{
    bool compressed = h->flags & VMDK_FLAG_COMPRESSED;

    if (compressed && h->compression != 1)
        return vd_fail(err, VD_EUNSUPPORTED,
                       "header: compression method %u is not known (1 is deflate)", h->compression);
    if (!compressed && (h->flags & VMDK_FLAG_MARKERS))
        return vd_fail(err, VD_EUNSUPPORTED, "header: markers without compression");
    return 0;
}

int vmdk_header_validate(const struct vmdk_header *h, struct vd_err *err)
{
    int rc;

    if (h->version < 1 || h->version > 3)
        return vd_fail(err, VD_EUNSUPPORTED,
                       "header: version %" PRIu32 " is not known (1, 2 and 3 are)", h->version);
    rc = validate_sizes(h, err);
    return rc ? rc : validate_compression(h, err);
}

int vmdk_footer_validate(const struct vmdk_header *header, const struct vmdk_header *footer,
                         struct vd_err *err)
{
    uint32_t shape = VMDK_FLAG_COMPRESSED | VMDK_FLAG_MARKERS | VMDK_FLAG_ZERO_GRAIN;

    if (footer->gd_off_sectors == VMDK_GD_AT_END)
        return vd_fail(err, VD_ECORRUPT, "footer: points to a further footer");
    if (footer->version != header->version ||
        footer->capacity_sectors != header->capacity_sectors ||
        footer->grain_sectors != header->grain_sectors ||
        footer->gt_entries != header->gt_entries || footer->compression != header->compression ||
        (footer->flags & shape) != (header->flags & shape))
        return vd_fail(err, VD_ECORRUPT,
                       "footer: does not agree with the header (capacity %" PRIu64 " and %" PRIu64
                       " sectors, grain %" PRIu64 " and %" PRIu64 ")",
                       footer->capacity_sectors, header->capacity_sectors, footer->grain_sectors,
                       header->grain_sectors);
    /* a footer without a descriptor's place is usual; another place is not */
    if (footer->descriptor_off_sectors &&
        (footer->descriptor_off_sectors != header->descriptor_off_sectors ||
         footer->descriptor_sectors != header->descriptor_sectors))
        return vd_fail(err, VD_ECORRUPT,
                       "footer: says that the descriptor is %" PRIu64 " sectors at sector %" PRIu64
                       ", the header %" PRIu64 " at %" PRIu64,
                       footer->descriptor_sectors, footer->descriptor_off_sectors,
                       header->descriptor_sectors, header->descriptor_off_sectors);
    return 0;
}

void vmdk_marker_decode(const uint8_t *bytes, size_t len, struct vmdk_marker *out)
{
    static const enum vmdk_marker_kind kinds[] = {VMDK_MARKER_END, VMDK_MARKER_TABLE,
                                                  VMDK_MARKER_DIR, VMDK_MARKER_FOOTER};

    *out = (struct vmdk_marker){.kind = VMDK_MARKER_BAD};
    if (len >= MARKER_SIZE && vd_le32(bytes + 8) != 0) {
        out->kind = VMDK_MARKER_GRAIN;
        return;
    }
    if (len < VMDK_SECTOR || vd_le32(bytes + 12) >= sizeof(kinds) / sizeof(kinds[0]) ||
        !vd_all_zero(bytes + MARKER_SIZE, VMDK_SECTOR - MARKER_SIZE))
        return;
    out->kind = kinds[vd_le32(bytes + 12)];
    out->sectors = vd_le64(bytes);
    if (out->kind == VMDK_MARKER_END && out->sectors)
        out->kind = VMDK_MARKER_BAD;
}

void vmdk_header_report(const struct vmdk_header *h, const char *file, struct vd_facts *facts)
{
    static const uint8_t newline[4] = {'\n', ' ', '\r', '\n'};

    if (h->unclean_shutdown)
        vd_fact_add(facts, VD_FACT_WARNING, "unclean_shutdown",
                    "%s: the header says that the file was not closed cleanly", file);
    if ((h->flags & VMDK_FLAG_NEWLINE) && memcmp(h->newline_test, newline, sizeof(newline)) != 0)
        vd_fact_add(
            facts, VD_FACT_WARNING, "text_transfer",
            "%s: the end-of-line test bytes are %02x %02x %02x %02x instead of 0a 20 0d 0a: "
            "the file was probably changed by a transfer in text mode",
            file, h->newline_test[0], h->newline_test[1], h->newline_test[2], h->newline_test[3]);
    if (h->flags & ~VMDK_FLAGS_KNOWN)
        vd_fact_add(facts, VD_FACT_WARNING, "unknown_flags",
                    "%s: the header has flags 0x%08" PRIx32 " that no specification describes",
                    file, h->flags & ~VMDK_FLAGS_KNOWN);
    if (h->version == 1 && (h->flags & VMDK_FLAG_ZERO_GRAIN))
        vd_fact_add(
            facts, VD_FACT_WARNING, "header_version",
            "%s: the header is of version 1, but has the flag for zeroed grains, which came "
            "with version 2: the flag is followed",
            file);
    if (!(h->flags & VMDK_FLAG_COMPRESSED) && h->compression)
        vd_fact_add(facts, VD_FACT_WARNING, "compression",
                    "%s: the header names compression method %u, but its flags say that grains are "
                    "not compressed",
                    file, h->compression);
    if (h->grain_sectors && h->capacity_sectors % h->grain_sectors)
        vd_fact_add(facts, VD_FACT_INFO, "last_grain",
                    "%s: the capacity is not a multiple of the grain size: the last grain is short",
                    file);
}
