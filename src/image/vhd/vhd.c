/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VHD format: probe, open and identify.  See vhd.h for the layout, footer.c for which footer is
 * believed and how large the disk is, disk.c for where its bytes lie, parent.c for what a differencing
 * disk says of its parent, split.c for images in several files.  No state; any thread.
 */
#include "vhd.h"

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/range.h"
#include "base/text.h"
#include "image/image.h"
#include "image/named.h"
#include "split.h"

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
    uint64_t size = vhd_disk_size(&found->footer, &from_geometry);

    if (found->footer.disk_type != VHD_FIXED)
        return false;
    /* Where the geometry is the smaller size, a file holds one of the two, and nothing between. */
    return found->data_end < size ||
           (found->data_end > size && found->data_end < found->footer.current_size);
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
        return vd_fail(
            err, VD_ECORRUPT,
            "%" PRIu64 " bytes of the disk are missing before the footer, nobody can tell where",
            (found->data_end < size ? size : found->footer.current_size) - found->data_end);
    return vhd_fixed_new(file, found->data_end, size, name, &out->dev, err);
}

/* The dynamic disk header of a disk of `size` bytes, checked. */
static int read_header(struct blkdev *file, const struct vhd_found *found, uint64_t size,
                       struct vhd_header *out, struct image *image, struct vd_err *err)
{
    uint64_t at = found->footer.data_offset;
    uint8_t raw[VHD_HEADER_SIZE];
    int rc;

    if (at < VHD_FOOTER_SIZE || !vd_range_inside(at, sizeof(raw), file->size))
        return vd_fail(
            err, VD_ECORRUPT,
            "footer: the dynamic disk header (offset %" PRIu64 ") is not inside the file", at);
    rc = blk_read(file, at, raw, sizeof(raw), err);
    if (rc)
        return vd_prefix(err, rc, "dynamic disk header");
    rc = vhd_header_decode(raw, sizeof(raw), out, err);
    if (rc == 0)
        rc = vhd_header_validate(out, size, file->size, err);
    if (rc)
        return rc;
    if (vd_range_overlap(out->table_offset, (uint64_t)out->max_entries * 4, at, VHD_HEADER_SIZE))
        return vd_fail(err, VD_ECORRUPT,
                       "dynamic disk header: the allocation table (offset %" PRIu64
                       ") lies over the header itself",
                       out->table_offset);
    if (!out->checksum_ok)
        vd_fact_add(&image->facts, VD_FACT_WARNING, "vhd_header",
                    "the checksum of the dynamic disk header is wrong; it was used because its "
                    "fields fit the disk and the file exactly");
    if (found->footer.disk_type == VHD_DYNAMIC &&
        !vd_all_zero(out->parent_uuid, sizeof(out->parent_uuid)))
        vd_fact_add(&image->facts, VD_FACT_WARNING, "vhd_parent",
                    "the header names a parent although the footer says that there is none");
    vd_fact_add(&image->facts, VD_FACT_INFO, "block_size", "%" PRIu32, out->block_size);
    return 0;
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

/* All that is known without the table. */
struct vhd_known {
    struct vhd_found found;
    struct vhd_header header; /* not of a fixed disk */
    uint64_t size;            /* of the disk, bytes */
};

static void take_identity(const struct vhd_footer *footer, struct image *out)
{
    char uuid[37];

    if (!vd_all_zero(footer->uuid, sizeof(footer->uuid))) {
        vhd_uuid_text(footer->uuid, uuid);
        (void)snprintf(out->identity, sizeof(out->identity), "uuid:%s", uuid);
    }
    if (footer->timestamp) {
        out->has_time = true;
        out->time = vhd_time_unix(footer->timestamp);
    }
}

/* Footer, header and what they say of this member and its parent. */
static int know(struct blkdev *file, struct vhd_known *known, struct image *out, struct vd_err *err)
{
    static const char *const kinds[] = {
        [VHD_FIXED] = "fixed", [VHD_DYNAMIC] = "dynamic", [VHD_DIFFERENCING] = "differencing"};
    const struct vhd_footer *footer = &known->found.footer;
    bool from_geometry;
    int rc = find_footer(file, &known->found, &out->facts, err);

    if (rc)
        return rc;
    known->size = vhd_disk_size(footer, &from_geometry);
    footer_facts(footer, from_geometry, known->size, &out->facts);
    take_identity(footer, out);
    (void)snprintf(out->kind, sizeof(out->kind), "%s", kinds[footer->disk_type]);
    if (footer->disk_type == VHD_FIXED)
        return 0;
    rc = read_header(file, &known->found, known->size, &known->header, out, err);
    if (rc == 0 && footer->disk_type == VHD_DIFFERENCING)
        rc = vhd_parent_take(file, &known->found, &known->header, out, err);
    return rc;
}

/* Was the file cut off, or is it the first of several? */
static void say_perhaps_split(const struct vhd_found *found, uint64_t file_size, const char *name,
                              struct image *out)
{
    size_t i = 0;

    while (i < out->facts.n && strcmp(out->facts.v[i].key, "bad_blocks") != 0)
        i++;
    if (i < out->facts.n && found->data_end == file_size)
        vd_fact_add(&out->facts, VD_FACT_WARNING, "split",
                    "%s ends before its blocks do: it was cut, or it is the first part of a split "
                    "image whose others (.v01, .v02 …) do not lie beside it",
                    name);
}

static int open_file(struct blkdev *file, const char *name, bool joined, struct blk_share *share,
                     struct image *out, struct vd_err *err)
{
    struct vhd_known known = {0};
    int rc = know(file, &known, out, err);

    if (rc)
        return rc;
    if (known.found.footer.disk_type == VHD_FIXED)
        return open_fixed(file, name, &known.found, known.size, out, err);
    rc = vhd_sparse_new(
        file, &known.found, &known.header,
        &(struct vhd_sparse){.disk_size = known.size, .joined = joined, .share = share}, name,
        &out->dev, &out->facts, err);
    if (rc == 0 && !joined)
        say_perhaps_split(&known.found, file->size, name, out);
    return rc;
}

static int open_parts(struct blkdev *file, const char *name, const struct blk_source *source,
                      unsigned dir, struct image *out, struct vd_err *err)
{
    VD_AUTO(blk) struct blkdev *whole = NULL;
    char first[VHD_SPLIT_NAME];
    int rc;

    if (vhd_split_is_later(source, dir, name, first))
        return vd_fail(err, VD_EUNSUPPORTED, "this is a part of the split image %s: open that one",
                       first);
    rc = vhd_split_join(file, name, source, dir, &whole, &out->facts, err);
    if (rc == 0)
        rc = open_file(whole ? whole : file, name, whole != NULL, source ? source->share : NULL,
                       out, err);
    return vhd_split_named_later(name)
               ? vd_prefix(err, rc, "part of a split image without its first file")
               : rc;
}

static int vhd_open(struct blkdev *file, const char *name, const struct blk_source *source,
                    unsigned dir, struct image *out, struct vd_err *err)
{
    return image_named(err, open_parts(file, name, source, dir, out, err), name);
}

/* The last part of a split image ends in its footer, but is no image. */
static int vhd_identify(struct blkdev *file, const char *name, struct image *out,
                        struct vd_err *err)
{
    struct vhd_known known = {0};
    int rc;

    if (vhd_split_named_later(name))
        return vd_fail(err, VD_ENOTFORMAT, "%s: a part of a split image", name);
    rc = know(file, &known, out, err);
    if (rc == 0 && known.found.footer.disk_type == VHD_FIXED && fixed_but_short(&known.found))
        rc = vd_fail(err, VD_ECORRUPT, "the disk is larger than the file");
    return image_named(err, rc, name);
}

static bool vhd_by_name(const struct blk_source *source, unsigned dir, const char *name)
{
    return vhd_split_is_first(source, dir, name);
}

const struct image_format image_format_vhd = {
    .name = "vhd",
    .probe = vhd_probe,
    .by_name = vhd_by_name,
    .open = vhd_open,
    .identify = vhd_identify,
};
