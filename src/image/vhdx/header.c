/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VHDX header section: the two headers ([MS-VHDX] 2.2.2) and the two region tables (2.2.3).  Each
 * pair is redundant on purpose; what was wrong with the copy that was not used is reported.  A
 * wrong checksum is found without touching the buffer.  Pure functions: any thread.
 */
#include "vhdx.h"

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/range.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

bool vhdx_guid_equal(const struct vhdx_guid *a, const struct vhdx_guid *b)
{
    return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

bool vhdx_guid_zero(const struct vhdx_guid *guid)
{
    return vd_all_zero(guid->b, sizeof(guid->b));
}

void vhdx_guid_text(const struct vhdx_guid *guid, char out[VHDX_GUID_TEXT_MAX])
{
    const uint8_t *b = guid->b;

    (void)snprintf(out, VHDX_GUID_TEXT_MAX,
                   "%08" PRIx32 "-%04x-%04x-%02x%02x-%02x%02x%02x%02x%02x%02x", vd_le32(b),
                   (unsigned)vd_le16(b + 4), (unsigned)vd_le16(b + 6), b[8], b[9], b[10], b[11],
                   b[12], b[13], b[14], b[15]);
}

static struct vhdx_guid guid_at(const uint8_t *bytes)
{
    struct vhdx_guid guid;

    memcpy(guid.b, bytes, sizeof(guid.b));
    return guid;
}

/* ---- headers ---- */

int vhdx_header_decode(const uint8_t *bytes, size_t len, struct vhdx_header *out,
                       struct vd_err *err)
{
    struct vhdx_header h;

    if (len < VHDX_HEADER_SIZE || memcmp(bytes, "head", 4) != 0)
        return vd_fail(err, VD_ECORRUPT, "the signature is missing");
    if (vd_le32(bytes + 4) != vd_crc32c_without(bytes, VHDX_HEADER_SIZE, 4))
        return vd_fail(err, VD_ECORRUPT, "the checksum is wrong");
    h.sequence = vd_le64(bytes + 8);
    h.file_write = guid_at(bytes + 16);
    h.data_write = guid_at(bytes + 32);
    h.log_guid = guid_at(bytes + 48);
    h.log_version = vd_le16(bytes + 64);
    h.version = vd_le16(bytes + 66);
    h.log_len = vd_le32(bytes + 68);
    h.log_off = vd_le64(bytes + 72);
    *out = h;
    return 0;
}

static int decode_copy(const uint8_t *bytes, struct vhdx_header *out, struct vd_err *err)
{
    return bytes ? vhdx_header_decode(bytes, VHDX_HEADER_SIZE, out, err)
                 : vd_fail(err, VD_EIO, "it cannot be read");
}

int vhdx_header_choose(const uint8_t *first, const uint8_t *second, struct vhdx_header *out,
                       struct vd_facts *facts, struct vd_err *err)
{
    struct vd_err why[2] = {VD_ERR_INIT, VD_ERR_INIT};
    struct vhdx_header h[2] = {0};
    bool bad1 = decode_copy(first, &h[0], &why[0]) != 0;
    bool bad2 = decode_copy(second, &h[1], &why[1]) != 0;

    if (bad1 && bad2)
        return vd_fail(err, why[0].cls == VD_EIO && why[1].cls == VD_EIO ? VD_EIO : VD_ECORRUPT,
                       "both headers are damaged: header 1: %s; header 2: %s", why[0].msg,
                       why[1].msg);
    if (bad1 || bad2) {
        vd_fact_add(facts, VD_FACT_WARNING, "vhdx_header",
                    "header %d is damaged (%s): header %d was used", bad1 ? 1 : 2,
                    why[bad1 ? 0 : 1].msg, bad1 ? 2 : 1);
        *out = h[bad1 ? 1 : 0];
        return 0;
    }
    /* 2.2.2: with equal numbers neither is current.  Disk2vhd writes the same header twice. */
    if (h[0].sequence == h[1].sequence && memcmp(first, second, VHDX_HEADER_SIZE) != 0)
        return vd_fail(err, VD_ECORRUPT,
                       "both headers have the sequence number %" PRIu64 " but differ: none is "
                       "current",
                       h[0].sequence);
    if (h[0].sequence == h[1].sequence)
        vd_fact_add(facts, VD_FACT_INFO, "headers",
                    "both are the same to the last byte, as Disk2vhd writes them");
    *out = h[h[1].sequence > h[0].sequence ? 1 : 0];
    return 0;
}

int vhdx_header_validate(const struct vhdx_header *header, uint64_t file_size, struct vd_err *err)
{
    if (header->version != 1)
        return vd_fail(err, VD_EUNSUPPORTED, "header: version %u is not known", header->version);
    if (vhdx_guid_zero(&header->log_guid))
        return 0; /* nothing to replay: the log's fields do not matter */
    if (header->log_version != 0)
        return vd_fail(err, VD_EUNSUPPORTED,
                       "header: there is a log to replay, of version %u, which is not known",
                       header->log_version);
    if (header->log_len == 0 || header->log_len % VHDX_MIB || header->log_off % VHDX_MIB ||
        header->log_off < VHDX_MIB || !vd_range_inside(header->log_off, header->log_len, file_size))
        return vd_fail(err, VD_ECORRUPT,
                       "header: there is a log to replay, but its place (%" PRIu32
                       " bytes at offset %" PRIu64 ") is not possible in a file of %" PRIu64
                       " bytes",
                       header->log_len, header->log_off, file_size);
    return 0;
}

/* ---- region tables ---- */

/* 2DC27766-F623-4200-9D64-115E9BFD4A08 and 8B7CA206-4790-4B9A-B8FE-575F050F886E */
static const struct vhdx_guid bat_guid = {{0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42, 0x9d,
                                           0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08}};
static const struct vhdx_guid metadata_guid = {{0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b,
                                                0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e}};

static int add_region(const uint8_t *entry, struct vhdx_regions *regions, struct vd_err *err)
{
    struct vhdx_guid guid = guid_at(entry);
    struct vhdx_region *known = NULL;
    char text[VHDX_GUID_TEXT_MAX];

    if (vhdx_guid_equal(&guid, &bat_guid))
        known = &regions->bat;
    else if (vhdx_guid_equal(&guid, &metadata_guid))
        known = &regions->metadata;
    vhdx_guid_text(&guid, text);
    if (!known && (vd_le32(entry + 28) & 1))
        return vd_fail(err, VD_EUNSUPPORTED, "the required region %s is not known", text);
    if (!known) {
        if (regions->n_unknown < VHDX_UNKNOWN_KEPT)
            regions->unknown[regions->n_unknown] =
                (struct vhdx_region){vd_le64(entry + 16), vd_le32(entry + 24)};
        regions->n_unknown++;
        return 0;
    }
    if (known->len)
        return vd_fail(err, VD_ECORRUPT, "the region %s is there twice", text);
    known->off = vd_le64(entry + 16);
    known->len = vd_le32(entry + 24);
    if (known->len == 0)
        return vd_fail(err, VD_ECORRUPT, "the region %s is empty", text);
    return 0;
}

int vhdx_regions_decode(const uint8_t *bytes, size_t len, struct vhdx_regions *out,
                        struct vd_err *err)
{
    struct vhdx_regions regions = {0};
    uint32_t n, i;
    int rc = 0;

    if (len < VHDX_TABLE_SIZE || memcmp(bytes, "regi", 4) != 0)
        return vd_fail(err, VD_ECORRUPT, "the signature is missing");
    if (vd_le32(bytes + 4) != vd_crc32c_without(bytes, VHDX_TABLE_SIZE, 4))
        return vd_fail(err, VD_ECORRUPT, "the checksum is wrong");
    n = vd_le32(bytes + 8);
    if (n > VHDX_MAX_ENTRIES)
        return vd_fail(err, VD_ECORRUPT, "%" PRIu32 " entries (at most %u are possible)", n,
                       VHDX_MAX_ENTRIES);
    for (i = 0; i < n && rc == 0; i++)
        rc = add_region(bytes + 16 + 32 * (size_t)i, &regions, err);
    if (rc == 0)
        *out = regions;
    return rc;
}

static int check_region(const struct vhdx_region *region, const char *name,
                        const struct vhdx_header *header, uint64_t file_size, struct vd_err *err)
{
    if (region->len == 0)
        return vd_fail(err, VD_ECORRUPT, "the %s region is missing", name);
    if (region->off % VHDX_MIB || region->len % VHDX_MIB || region->off < VHDX_MIB)
        return vd_fail(err, VD_ECORRUPT,
                       "the %s region (%" PRIu64 " bytes at offset %" PRIu64
                       ") is not on 1 MiB boundaries after the header section",
                       name, region->len, region->off);
    if (!vd_range_inside(region->off, region->len, file_size))
        return vd_fail(err, VD_ECORRUPT,
                       "the %s region (%" PRIu64 " bytes at offset %" PRIu64
                       ") passes the end of the file (%" PRIu64 ")",
                       name, region->len, region->off, file_size);
    if (vd_range_inside(header->log_off, header->log_len, file_size) &&
        vd_range_overlap(region->off, region->len, header->log_off, header->log_len))
        return vd_fail(err, VD_ECORRUPT, "the %s region overlaps the log (offset %" PRIu64 ")",
                       name, header->log_off);
    return 0;
}

int vhdx_regions_validate(const struct vhdx_regions *regions, const struct vhdx_header *header,
                          uint64_t file_size, struct vd_err *err)
{
    int rc = check_region(&regions->bat, "BAT", header, file_size, err);

    if (rc == 0)
        rc = check_region(&regions->metadata, "metadata", header, file_size, err);
    if (rc)
        return rc;
    if (vd_range_overlap(regions->bat.off, regions->bat.len, regions->metadata.off,
                         regions->metadata.len))
        return vd_fail(err, VD_ECORRUPT, "the BAT region overlaps the metadata region");
    return 0;
}
