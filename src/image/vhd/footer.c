/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VHD structures: the footer ("Hard Disk Footer Format" of the 2006 specification) with its copy at
 * the start of dynamic disks, and the dynamic disk header ("Dynamic Disk Header Format").  Pure
 * functions: any thread.
 *
 * Size of the disk.  The footer says it twice, as `current_size` and as a geometry, and writers do
 * not agree which one counts: Virtual PC ("vpc ") and old qemu ("qemu") give their guests
 * cylinders * heads * sectors, everybody else (Hyper-V "win ", newer qemu "qem2", disk2vhd "d2v ",
 * XenServer "tap", XenConverter "CTXS", Azure "wa", VirtualBox "vbox" …) current_size.  The largest
 * geometry that can be said stands for "larger than that", so it never counts.
 */
#include "vhd.h"

#include "base/bytes.h"
#include "base/limits.h"
#include "base/range.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* Ones' complement of the sum of all bytes but the checksum's own. */
static uint32_t checksum(const uint8_t *bytes, size_t len, size_t field_off)
{
    uint32_t sum = 0;
    size_t i;

    for (i = 0; i < len; i++)
        if (i < field_off || i >= field_off + 4)
            sum += bytes[i];
    return ~sum;
}

int vhd_footer_decode(const uint8_t *bytes, size_t len, struct vhd_footer *out, struct vd_err *err)
{
    struct vhd_footer f = {0};

    if (len < VHD_FOOTER_SHORT || memcmp(bytes, "conectix", 8) != 0)
        return vd_fail(err, VD_ENOTFORMAT, "no VHD footer");
    f.features = vd_be32(bytes + 8);
    f.version = vd_be32(bytes + 12);
    f.data_offset = vd_be64(bytes + 16);
    f.timestamp = vd_be32(bytes + 24);
    memcpy(f.creator_app, bytes + 28, 4);
    f.creator_version = vd_be32(bytes + 32);
    memcpy(f.creator_os, bytes + 36, 4);
    f.original_size = vd_be64(bytes + 40);
    f.current_size = vd_be64(bytes + 48);
    f.cylinders = vd_be16(bytes + 56);
    f.heads = bytes[58];
    f.sectors = bytes[59];
    f.disk_type = vd_be32(bytes + 60);
    memcpy(f.uuid, bytes + 68, sizeof(f.uuid));
    f.saved_state = bytes[84];
    f.checksum_ok = vd_be32(bytes + 64) == checksum(bytes, len, 64);
    *out = f;
    return 0;
}

int vhd_footer_validate(const struct vhd_footer *footer, struct vd_err *err)
{
    if (footer->version >> 16 != 1)
        return vd_fail(err, VD_EUNSUPPORTED, "footer: version 0x%08" PRIx32 " is not known",
                       footer->version);
    if (footer->disk_type < VHD_FIXED || footer->disk_type > VHD_DIFFERENCING)
        return vd_fail(err, VD_EUNSUPPORTED, "footer: disk type %" PRIu32 " is not known",
                       footer->disk_type);
    if (footer->current_size == 0 || footer->current_size > VD_MAX_SIZE)
        return vd_fail(err, VD_ECORRUPT, "footer: a disk of %" PRIu64 " bytes is not possible",
                       footer->current_size);
    return 0;
}

uint64_t vhd_disk_size(const struct vhd_footer *footer, bool *out_from_geometry)
{
    uint64_t sectors = (uint64_t)footer->cylinders * footer->heads * footer->sectors;
    uint64_t bytes = sectors * VHD_SECTOR; /* at most 2^16 * 2^8 * 2^8 * 2^9 */
    bool by_geometry =
        memcmp(footer->creator_app, "vpc ", 4) == 0 || memcmp(footer->creator_app, "qemu", 4) == 0;

    /* A geometry that is larger than the disk the footer speaks of is a damaged one. */
    *out_from_geometry =
        by_geometry && sectors && sectors != VHD_CHS_MAX_SECTORS && bytes <= footer->current_size;
    return *out_from_geometry ? bytes : footer->current_size;
}

int vhd_header_decode(const uint8_t *bytes, size_t len, struct vhd_header *out, struct vd_err *err)
{
    struct vhd_header h = {0};
    size_t i;

    if (len < VHD_HEADER_SIZE || memcmp(bytes, "cxsparse", 8) != 0)
        return vd_fail(err, VD_ECORRUPT, "dynamic disk header: the cookie \"cxsparse\" is missing");
    h.data_offset = vd_be64(bytes + 8);
    h.table_offset = vd_be64(bytes + 16);
    h.version = vd_be32(bytes + 24);
    h.max_entries = vd_be32(bytes + 28);
    h.block_size = vd_be32(bytes + 32);
    memcpy(h.parent_uuid, bytes + 40, sizeof(h.parent_uuid));
    h.parent_timestamp = vd_be32(bytes + 56);
    memcpy(h.parent_name, bytes + 64, sizeof(h.parent_name));
    for (i = 0; i < 8; i++) {
        const uint8_t *p = bytes + 576 + 24 * i;

        h.locator[i] =
            (struct vhd_locator){vd_be32(p), vd_be32(p + 4), vd_be32(p + 8), vd_be64(p + 16)};
    }
    h.checksum_ok = vd_be32(bytes + 36) == checksum(bytes, VHD_HEADER_SIZE, 36);
    *out = h;
    return 0;
}

int vhd_header_validate(const struct vhd_header *header, uint64_t disk_size, uint64_t file_size,
                        struct vd_err *err)
{
    uint64_t blocks, bat_len = (uint64_t)header->max_entries * 4;

    if (header->version >> 16 != 1)
        return vd_fail(err, VD_EUNSUPPORTED,
                       "dynamic disk header: version 0x%08" PRIx32 " is not known",
                       header->version);
    if (!vd_is_pow2(header->block_size) || header->block_size < VHD_SECTOR)
        return vd_fail(err, VD_ECORRUPT,
                       "dynamic disk header: block size %" PRIu32
                       " is not a power of two of at least 512",
                       header->block_size);
    if (header->block_size > VHD_MAX_BLOCK)
        return vd_fail(err, VD_ELIMIT,
                       "dynamic disk header: block size %" PRIu32 " is over the limit of %u",
                       header->block_size, VHD_MAX_BLOCK);
    if (bat_len > VD_MAX_VHD_BAT)
        return vd_fail(err, VD_ELIMIT,
                       "dynamic disk header: an allocation table of %" PRIu32
                       " entries is over the limit of %u",
                       header->max_entries, VD_MAX_VHD_BAT / 4);
    blocks = vd_div_up(disk_size, header->block_size);
    if (blocks > header->max_entries)
        return vd_fail(err, VD_ECORRUPT,
                       "dynamic disk header: the disk has %" PRIu64
                       " blocks, the allocation table only %" PRIu32 " entries",
                       blocks, header->max_entries);
    if (header->table_offset < VHD_FOOTER_SIZE ||
        !vd_range_inside(header->table_offset, bat_len, file_size))
        return vd_fail(err, VD_ECORRUPT,
                       "dynamic disk header: the allocation table (%" PRIu64
                       " bytes at offset %" PRIu64 ") is not inside the file (%" PRIu64 " bytes)",
                       bat_len, header->table_offset, file_size);
    /* Without a right checksum only a header whose fields agree to the last block is believed. */
    if (!header->checksum_ok && blocks != header->max_entries)
        return vd_fail(err, VD_ECORRUPT, "dynamic disk header: the checksum is wrong");
    return 0;
}

void vhd_uuid_text(const uint8_t uuid[16], char out[37])
{
    size_t i, used = 0;

    for (i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            out[used++] = '-';
        used += (size_t)snprintf(out + used, 37 - used, "%02x", uuid[i]);
    }
}

int64_t vhd_time_unix(uint32_t timestamp)
{
    return (int64_t)timestamp + 946684800; /* 2000-01-01 00:00 UTC */
}

void vhd_time_text(uint32_t timestamp, char out[32])
{
    time_t t = (time_t)vhd_time_unix(timestamp);
    struct tm tm;

    if (!gmtime_r(&t, &tm) || strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        out[0] = '\0';
}

/* ---- which copy of the footer ---- */

struct candidate {
    struct vhd_footer footer;
    bool present; /* the cookie is there */
    size_t len;
};

static bool good(const struct candidate *c)
{
    return c->present && c->footer.checksum_ok;
}

/* The copy at the start exists only in disks with an allocation table; in a fixed one these bytes
 * are the guest's, whatever they look like. */
static bool has_table(const struct candidate *c)
{
    return c->present &&
           (c->footer.disk_type == VHD_DYNAMIC || c->footer.disk_type == VHD_DIFFERENCING);
}

static struct candidate candidate_at(const uint8_t *bytes, size_t len)
{
    struct candidate c = {.len = len};

    c.present = vhd_footer_decode(bytes, len, &c.footer, NULL) == 0;
    return c;
}

static struct candidate tail_candidate(const uint8_t tail[VHD_FOOTER_SIZE])
{
    struct candidate c = candidate_at(tail, VHD_FOOTER_SIZE);

    return c.present ? c : candidate_at(tail + 1, VHD_FOOTER_SHORT);
}

static void warn(struct vd_facts *facts, const char *text)
{
    if (facts)
        vd_fact_add(facts, VD_FACT_WARNING, "vhd_footer", "%s", text);
}

/* No copy has a right checksum. */
static int choose_unchecked(const struct candidate *front, const struct candidate *end, bool same,
                            uint64_t file_size, struct vd_facts *facts, struct vd_err *err)
{
    if (end->present && end->footer.disk_type == VHD_FIXED &&
        file_size - end->len == end->footer.current_size) {
        warn(facts, "the footer's checksum is wrong; it was used because the size that it says is "
                    "exactly that of the file");
        return 0;
    }
    if (has_table(end) && same) {
        warn(facts, "the checksum of the footer and of its copy at the start is wrong; they were "
                    "used because both say the same");
        return 0;
    }
    if (has_table(end) || has_table(front))
        return vd_fail(err, VD_ECORRUPT,
                       "footer: no copy has a right checksum (at the end of the file: %s, at its "
                       "start: %s)",
                       end->present ? "wrong" : "missing", front->present ? "wrong" : "missing");
    return vd_fail(err, VD_ECORRUPT, "footer: the checksum is wrong");
}

static void report_pair(const struct candidate *front, const struct candidate *end, bool same,
                        struct vd_facts *facts)
{
    if (!end->present)
        warn(facts, "the footer at the end of the file is missing; its copy at the start was used");
    else if (!end->footer.checksum_ok)
        warn(facts, "the checksum of the footer at the end of the file is wrong; its copy at the "
                    "start was used");
    else if (has_table(end) && !front->present)
        warn(facts, "the copy of the footer at the start of the file is missing");
    else if (has_table(end) && !front->footer.checksum_ok)
        warn(facts, "the checksum of the footer's copy at the start of the file is wrong; the one "
                    "at the end was used");
    else if (has_table(end) && !same)
        warn(facts, "the footer and its copy at the start differ; the one at the end was used");
}

int vhd_footer_choose(const uint8_t head[VHD_FOOTER_SIZE], const uint8_t tail[VHD_FOOTER_SIZE],
                      uint64_t file_size, struct vhd_found *out, struct vd_facts *facts,
                      struct vd_err *err)
{
    struct candidate front = candidate_at(head, VHD_FOOTER_SIZE), end = tail_candidate(tail);
    const uint8_t *end_bytes = tail + VHD_FOOTER_SIZE - end.len;
    bool same = front.present && end.present && memcmp(head, end_bytes, end.len) == 0;
    bool use_end = good(&end) || !(good(&front) && has_table(&front));
    int rc;

    if (!end.present && !has_table(&front))
        return vd_fail(err, VD_ENOTFORMAT, "no VHD footer");
    if (!good(&end) && use_end) {
        rc = choose_unchecked(&front, &end, same, file_size, facts, err);
        if (rc)
            return rc;
    } else {
        report_pair(&front, &end, same, facts);
    }
    out->footer = use_end ? end.footer : front.footer;
    out->from_tail = use_end;
    /* A damaged footer still is not part of a block. */
    out->data_end = end.present ? file_size - end.len : file_size;
    return vhd_footer_validate(&out->footer, err);
}
