/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VHD format: probe and open.  See vhd.h for the layout, footer.c for which footer is believed
 * and how large the disk is, disk.c for where its bytes lie.  Differencing disks are recognised and
 * refused with the name and identity of the parent they need.  No state; any thread.
 */
#include "vhd.h"

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/range.h"
#include "base/text.h"
#include "image/image.h"
#include "image/named.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* A footer is the last thing in the file: one that declares a larger fixed disk than the bytes before
 * it does not stand where the disk ends.  Bytes are missing somewhere before it, nobody knows where,
 * and taking the file from its start would show shifted bytes; or the file is a raw copy of the end
 * of such a disk.  Either way it is not the fixed image that the footer describes. */
static bool fixed_but_short(const struct vhd_found *found)
{
    bool from_geometry;

    return found->footer.disk_type == VHD_FIXED &&
           vhd_disk_size(&found->footer, &from_geometry) > found->data_end;
}

static enum image_probe vhd_probe(const struct image_window *window)
{
    struct vhd_found found;
    const uint8_t *tail;
    int rc;

    if (window->head_len < VHD_FOOTER_SIZE || window->tail_len < VHD_FOOTER_SIZE)
        return IMAGE_NO;
    tail = window->tail + window->tail_len - VHD_FOOTER_SIZE;
    rc = vhd_footer_choose(window->head, tail, window->file_size, &found, NULL, NULL);
    if (rc == -VD_ENOTFORMAT || (rc == 0 && fixed_but_short(&found)))
        return IMAGE_NO;
    return rc ? IMAGE_DAMAGED : IMAGE_YES;
}

/* ---- differencing disks ---- */

/* The parent's file name: the header's own field, or the first locator with a Windows path. */
static void parent_name(struct blkdev *file, const struct vhd_header *header, char *dst,
                        size_t size)
{
    uint8_t path[1024];
    size_t i, units = 0;

    while (units < sizeof(header->parent_name) / 2 && vd_be16(header->parent_name + 2 * units))
        units++;
    (void)vd_utf16_to_utf8(header->parent_name, units, true, dst, size, NULL);
    for (i = 0; i < 8 && units == 0; i++) {
        const struct vhd_locator *l = &header->locator[i];
        size_t len = (size_t)vd_min(l->length, sizeof(path)) & ~(size_t)1;

        /* "W2ru" and "W2ku": relative and absolute path, UTF-16LE. */
        if ((l->platform != 0x57327275 && l->platform != 0x57326b75) || len == 0 ||
            blk_read(file, l->offset, path, len, NULL))
            continue;
        while (units < len / 2 && vd_le16(path + 2 * units))
            units++;
        (void)vd_utf16_to_utf8(path, units, false, dst, size, NULL);
    }
}

static int refuse_differencing(struct blkdev *file, const struct vhd_found *found,
                               struct vd_err *err)
{
    uint8_t raw[VHD_HEADER_SIZE];
    char name[800], uuid[37], when[32];
    struct vhd_header header;
    int rc = blk_read(file, found->footer.data_offset, raw, sizeof(raw), err);

    if (rc == 0)
        rc = vhd_header_decode(raw, sizeof(raw), &header, err);
    if (rc) {
        rc = vd_fail(err, VD_EUNSUPPORTED,
                     "this is a differencing disk: differencing VHD is not supported, and the "
                     "header that names its parent cannot be read");
        return rc;
    }
    parent_name(file, &header, name, sizeof(name));
    vhd_uuid_text(header.parent_uuid, uuid);
    vhd_time_text(header.parent_timestamp, when);
    return vd_fail(err, VD_EUNSUPPORTED,
                   "this is a differencing disk: differencing VHD is not supported.  Its parent is "
                   "\"%s\", identity uuid:%s, last changed %s",
                   name, uuid, when);
}

/* ---- opening ---- */

static void footer_facts(const struct vhd_footer *footer, bool from_geometry, uint64_t size,
                         struct vd_facts *facts)
{
    char uuid[37], when[32];

    vhd_uuid_text(footer->uuid, uuid);
    vhd_time_text(footer->timestamp, when);
    vd_fact_add(facts, VD_FACT_INFO, "creator", "%s", footer->creator_app);
    vd_fact_add(facts, VD_FACT_INFO, "creator_version", "%" PRIu32 ".%" PRIu32,
                footer->creator_version >> 16, footer->creator_version & 0xffff);
    vd_fact_add(facts, VD_FACT_INFO, "creator_os", "%s", footer->creator_os);
    vd_fact_add(facts, VD_FACT_INFO, "created", "%s", when);
    vd_fact_add(facts, VD_FACT_INFO, "unique_id", "%s", uuid);
    vd_fact_add(facts, VD_FACT_INFO, "original_size", "%" PRIu64, footer->original_size);
    vd_fact_add(facts, VD_FACT_INFO, "current_size", "%" PRIu64, footer->current_size);
    vd_fact_add(facts, VD_FACT_INFO, "geometry",
                "%" PRIu32 " cylinders, %" PRIu32 " heads, %" PRIu32 " sectors", footer->cylinders,
                footer->heads, footer->sectors);
    vd_fact_add(facts, VD_FACT_INFO, "size_from", "%s",
                from_geometry ? "geometry" : "current_size");
    if (from_geometry && size < footer->current_size)
        vd_fact_add(facts, VD_FACT_INFO, "not_shown",
                    "the guest saw the geometry only: the last %" PRIu64
                    " bytes of current_size are not part of the disk",
                    footer->current_size - size);
    if (footer->saved_state)
        vd_fact_add(facts, VD_FACT_WARNING, "saved_state",
                    "the virtual machine was suspended: its memory is in another file");
}

static int open_fixed(struct blkdev *file, const char *name, const struct vhd_found *found,
                      uint64_t size, struct image *out, struct vd_err *err)
{
    if (fixed_but_short(found))
        return vd_fail(err, VD_ECORRUPT,
                       "%" PRIu64
                       " bytes of the disk are missing before the footer, nobody can tell "
                       "where",
                       size - found->data_end);
    (void)snprintf(out->kind, sizeof(out->kind), "fixed");
    return vhd_fixed_new(file, found->data_end, size, name, &out->dev, err);
}

static int open_dynamic(struct blkdev *file, const char *name, const struct vhd_found *found,
                        uint64_t size, struct image *out, struct vd_err *err)
{
    uint64_t at = found->footer.data_offset;
    uint8_t raw[VHD_HEADER_SIZE];
    struct vhd_header header;
    int rc;

    if (at < VHD_FOOTER_SIZE || !vd_range_inside(at, sizeof(raw), file->size))
        return vd_fail(
            err, VD_ECORRUPT,
            "footer: the dynamic disk header (offset %" PRIu64 ") is not inside the file", at);
    rc = blk_read(file, at, raw, sizeof(raw), err);
    if (rc)
        return vd_prefix(err, rc, "dynamic disk header");
    rc = vhd_header_decode(raw, sizeof(raw), &header, err);
    if (rc == 0)
        rc = vhd_header_validate(&header, size, file->size, err);
    if (rc)
        return rc;
    if (!header.checksum_ok)
        vd_fact_add(&out->facts, VD_FACT_WARNING, "vhd_header",
                    "the checksum of the dynamic disk header is wrong; it was used because its "
                    "fields fit the disk and the file exactly");
    if (!vd_all_zero(header.parent_uuid, sizeof(header.parent_uuid)))
        vd_fact_add(&out->facts, VD_FACT_WARNING, "vhd_parent",
                    "the header names a parent although the footer says that there is none");
    vd_fact_add(&out->facts, VD_FACT_INFO, "block_size", "%" PRIu32, header.block_size);
    (void)snprintf(out->kind, sizeof(out->kind), "dynamic");
    return vhd_dynamic_new(file, found, &header, size, name, &out->dev, &out->facts, err);
}

/* Reads both ends of the file and chooses the footer.  One end that cannot be read is like a copy
 * that is not there: the other one may do, and sector 0 of a fixed disk is only the guest's. */
static int find_footer(struct blkdev *file, struct vhd_found *out, struct vd_facts *facts,
                       struct vd_err *err)
{
    uint8_t head[VHD_FOOTER_SIZE], tail[VHD_FOOTER_SIZE];
    struct vd_err lost = VD_ERR_INIT;
    int rc, rc_head, rc_tail;

    if (file->size < VHD_FOOTER_SIZE)
        return vd_fail(err, VD_ENOTFORMAT, "too short for a VHD");
    rc_head = blk_read(file, 0, head, sizeof(head), &lost);
    if (rc_head)
        memset(head, 0, sizeof(head));
    rc_tail = blk_read(file, file->size - sizeof(tail), tail, sizeof(tail), &lost);
    if (rc_tail)
        memset(tail, 0, sizeof(tail));
    rc = vhd_footer_choose(head, tail, file->size, out, facts, err);
    if (rc && (rc_head || rc_tail)) {
        if (err)
            *err = lost;
        return vd_prefix(err, rc_tail ? rc_tail : rc_head, "footer");
    }
    if (rc_head || rc_tail)
        vd_fact_add(facts, VD_FACT_WARNING, "vhd_footer", "the %s of the file cannot be read: %s",
                    rc_tail ? "end" : "start", lost.msg);
    return rc;
}

static int open_file(struct blkdev *file, const char *name, struct image *out, struct vd_err *err)
{
    struct vhd_found found = {0};
    bool from_geometry;
    char uuid[37];
    uint64_t size;
    int rc;

    rc = find_footer(file, &found, &out->facts, err);
    if (rc)
        return rc;
    if (found.footer.disk_type == VHD_DIFFERENCING)
        return refuse_differencing(file, &found, err);
    size = vhd_disk_size(&found.footer, &from_geometry);
    footer_facts(&found.footer, from_geometry, size, &out->facts);
    if (!vd_all_zero(found.footer.uuid, sizeof(found.footer.uuid))) {
        vhd_uuid_text(found.footer.uuid, uuid);
        (void)snprintf(out->identity, sizeof(out->identity), "uuid:%s", uuid);
    }
    return found.footer.disk_type == VHD_FIXED ? open_fixed(file, name, &found, size, out, err)
                                               : open_dynamic(file, name, &found, size, out, err);
}

static int vhd_open(struct blkdev *file, const char *name, const struct blk_source *source,
                    unsigned dir, struct image *out, struct vd_err *err)
{
    (void)source;
    (void)dir;
    return image_named(err, open_file(file, name, out, err), name);
}

const struct image_format image_format_vhd = {
    .name = "vhd",
    .probe = vhd_probe,
    .open = vhd_open,
};
