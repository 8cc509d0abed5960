/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VHDX format ([MS-VHDX]): probe and open.  Order matters: headers, then the log (its replay
 * may change everything that follows), then region tables, metadata, BAT.  The replay happens in
 * memory, over the evidence.  A file is known by the DataWriteGuid of its current header: headers are
 * never written through the log (2.3), so a pending log does not change it.  No state; any thread.
 */
#include "vhdx.h"

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/range.h"
#include "base/text.h"
#include "image/image.h"
#include "image/named.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum image_probe vhdx_probe(const struct image_window *window)
{
    return window->head_len >= 8 && memcmp(window->head, "vhdxfile", 8) == 0 ? IMAGE_YES : IMAGE_NO;
}

/* ---- header section ---- */

/* 2.2.1: the name of the program that made the file, for people only. */
static int read_identifier(struct blkdev *file, struct vd_facts *facts, struct vd_err *err)
{
    uint8_t raw[520];
    char creator[600];
    size_t units = 0;
    int rc;

    if (file->size < VHDX_MIB)
        return vd_fail(err, VD_ECORRUPT,
                       "the file ends (%" PRIu64 " bytes) inside the header section", file->size);
    rc = blk_read(file, 0, raw, sizeof(raw), err);
    if (rc)
        return vd_prefix(err, rc, "file identifier");
    if (memcmp(raw, "vhdxfile", 8) != 0)
        return vd_fail(err, VD_ENOTFORMAT, "no VHDX signature");
    while (units < 256 && vd_le16(raw + 8 + 2 * units))
        units++;
    (void)vd_utf16_to_utf8(raw + 8, units, false, creator, sizeof(creator), NULL);
    vd_fact_add(facts, VD_FACT_INFO, "creator", "%s", creator);
    return 0;
}

static int read_header(struct blkdev *file, struct vhdx_header *out, struct vd_facts *facts,
                       struct vd_err *err)
{
    uint8_t raw[2][VHDX_HEADER_SIZE];
    bool bad1 = blk_read(file, VHDX_HEADER1_OFF, raw[0], VHDX_HEADER_SIZE, NULL) != 0;
    bool bad2 = blk_read(file, VHDX_HEADER2_OFF, raw[1], VHDX_HEADER_SIZE, NULL) != 0;
    int rc = vhdx_header_choose(bad1 ? NULL : raw[0], bad2 ? NULL : raw[1], out, facts, err);

    return rc ? rc : vhdx_header_validate(out, file->size, err);
}

/* One region table, decoded and checked. */
static int read_table(struct blkdev *base, uint64_t off, uint8_t *raw,
                      const struct vhdx_header *header, struct vhdx_regions *out,
                      struct vd_err *err)
{
    int rc = blk_read(base, off, raw, VHDX_TABLE_SIZE, err);

    if (rc == 0)
        rc = vhdx_regions_decode(raw, VHDX_TABLE_SIZE, out, err);
    if (rc == 0)
        rc = vhdx_regions_validate(out, header, base->size, err);
    return rc;
}

static int read_regions(struct blkdev *base, const struct vhdx_header *header,
                        struct vhdx_regions *out, struct vd_facts *facts, struct vd_err *err)
{
    VD_AUTO(free) uint8_t *raw = malloc((size_t)2 * VHDX_TABLE_SIZE);
    struct vd_err why[2] = {VD_ERR_INIT, VD_ERR_INIT};
    struct vhdx_regions r[2];
    int rc1, rc2;

    if (!raw)
        return vd_fail(err, VD_ENOMEM, "region table: out of memory");
    rc1 = read_table(base, VHDX_REGIONS1_OFF, raw, header, &r[0], &why[0]);
    rc2 = read_table(base, VHDX_REGIONS2_OFF, raw + VHDX_TABLE_SIZE, header, &r[1], &why[1]);
    /* A table that asks for something unknown is not a damaged one: nobody may go around it. */
    if (rc1 && (rc2 || rc1 == -VD_EUNSUPPORTED))
        return vd_fail(err, rc1 == -VD_EUNSUPPORTED || rc1 == rc2 ? why[0].cls : VD_ECORRUPT,
                       "region table 1: %s%s%s", why[0].msg, rc2 ? "; region table 2: " : "",
                       rc2 ? why[1].msg : "");
    if (rc1 || rc2)
        vd_fact_add(facts, VD_FACT_WARNING, "vhdx_region_table",
                    "region table %d is damaged (%s): region table %d was used", rc1 ? 1 : 2,
                    why[rc1 ? 0 : 1].msg, rc1 ? 2 : 1);
    else if (memcmp(raw, raw + VHDX_TABLE_SIZE, VHDX_TABLE_SIZE) != 0)
        vd_fact_add(facts, VD_FACT_WARNING, "vhdx_region_table",
                    "the two region tables differ: region table 1 was used");
    *out = r[rc1 ? 1 : 0];
    if (out->n_unknown)
        vd_fact_add(facts, VD_FACT_INFO, "unknown_regions", "%u", out->n_unknown);
    return 0;
}

/* ---- log ---- */

/* Gives the view of the file that everything else is read from: `file` itself when there is nothing
 * to replay.  `share` may be NULL.  Caller owns *out. */
static int replay_log(struct blkdev *file, const struct vhdx_header *header,
                      struct blk_share *share, struct blkdev **out, struct vd_facts *facts,
                      struct vd_err *err)
{
    VD_AUTO(free) uint8_t *bytes = NULL;
    struct vhdx_log log;
    int rc;

    if (vhdx_guid_zero(&header->log_guid)) {
        *out = blk_ref(file);
        return 0;
    }
    if (header->log_len > VD_MAX_VHDX_LOG)
        return vd_fail(err, VD_ELIMIT, "log: %" PRIu32 " bytes to replay are over the limit of %u",
                       header->log_len, VD_MAX_VHDX_LOG);
    bytes = malloc(header->log_len);
    if (!bytes)
        return vd_fail(err, VD_ENOMEM, "log: out of memory");
    rc = blk_read(file, header->log_off, bytes, header->log_len, err);
    if (rc)
        return vd_prefix(err, rc, "log");
    rc = vhdx_log_decode(bytes, header->log_len, &header->log_guid, &log, err);
    if (rc)
        return rc;
    if (file->size < log.flushed_size)
        rc = vd_fail(err, VD_ECORRUPT,
                     "log: the file was truncated: it has %" PRIu64 " bytes, the log was written "
                     "when it had %" PRIu64,
                     file->size, log.flushed_size);
    if (rc == 0)
        rc = vhdx_replay_new(file, &log, bytes, share ? &share->log_left : NULL, out, err);
    if (rc == 0)
        vd_fact_add(facts, VD_FACT_WARNING, "vhdx_log",
                    "the file was not closed properly: its log was replayed in memory (%" PRIu64
                    " entries, sequence numbers %" PRIu64 " to %" PRIu64 ", %zu writes)",
                    log.n_entries, log.first_sequence, log.last_sequence, log.n);
    free(log.v);
    return rc;
}

/* ---- metadata ---- */

static int read_item(struct blkdev *base, const struct vhdx_region *region,
                     const struct vhdx_item *item, uint8_t *buf, size_t len, struct vd_err *err)
{
    /* vhdx_items_decode and vhdx_regions_validate have checked the sum. */
    return blk_read(base, region->off + item->off, buf, len, err);
}

static int read_values(struct blkdev *base, const struct vhdx_region *region,
                       const struct vhdx_items *items, struct vhdx_metadata *out,
                       struct vd_err *err)
{
    struct vhdx_metadata metadata = {0};
    size_t kind;
    int rc;

    if (!items->item[VHDX_FILE_PARAMETERS].present || !items->item[VHDX_DISK_SIZE].present ||
        !items->item[VHDX_LOGICAL_SECTOR].present)
        return vd_fail(err, VD_ECORRUPT,
                       "metadata: file parameters, virtual disk size or logical sector size is "
                       "missing");
    for (kind = 0; kind < VHDX_PARENT_LOCATOR; kind++) {
        const struct vhdx_item *item = &items->item[kind];
        uint8_t raw[16] = {0};

        if (!item->present)
            continue;
        rc = read_item(base, region, item, raw, (size_t)vd_min(item->len, sizeof(raw)), err);
        if (rc)
            return vd_prefix(err, rc, "metadata");
        rc = vhdx_value_decode((enum vhdx_item_kind)kind, raw, item->len, &metadata, err);
        if (rc)
            return rc;
    }
    rc = vhdx_metadata_validate(&metadata, err);
    if (rc == 0)
        *out = metadata;
    return rc;
}

/* 2.6.2.6: what a differencing file says of its parent. */
static int read_parent(struct blkdev *base, const struct vhdx_region *region,
                       const struct vhdx_item *item, struct image *out, struct vd_err *err)
{
    VD_AUTO(free) uint8_t *raw = NULL;
    int rc;

    if (!item->present || item->len == 0)
        return vd_fail(err, VD_ECORRUPT,
                       "metadata: this is a differencing disk, but its parent locator is missing");
    raw = malloc(item->len);
    if (!raw)
        return vd_fail(err, VD_ENOMEM, "parent locator: out of memory");
    rc = read_item(base, region, item, raw, item->len, err);
    if (rc)
        return vd_prefix(err, rc, "parent locator");
    rc = vhdx_parent_take(raw, item->len, out, err);
    return vd_prefix(err, rc, "this is a differencing disk");
}

static int read_metadata(struct blkdev *base, const struct vhdx_region *region,
                         struct vhdx_metadata *out, struct image *image, struct vd_err *err)
{
    VD_AUTO(free) uint8_t *raw = malloc(VHDX_TABLE_SIZE);
    struct vd_facts *facts = &image->facts;
    struct vhdx_items items;
    int rc;

    if (!raw)
        return vd_fail(err, VD_ENOMEM, "metadata table: out of memory");
    rc = blk_read(base, region->off, raw, VHDX_TABLE_SIZE, err);
    if (rc)
        return vd_prefix(err, rc, "metadata table");
    rc = vhdx_items_decode(raw, VHDX_TABLE_SIZE, region->len, &items, err);
    if (rc == 0)
        rc = read_values(base, region, &items, out, err);
    if (rc)
        return rc;
    if (out->has_parent)
        rc = read_parent(base, region, &items.item[VHDX_PARENT_LOCATOR], image, err);
    else if (items.item[VHDX_PARENT_LOCATOR].present)
        /* The region has no checksum: a lost bit must not turn a child into a whole disk. */
        rc = vd_fail(err, VD_ECORRUPT,
                     "metadata: there is a parent locator in a file that says it has no parent");
    if (rc)
        return rc;
    if (items.n_unknown)
        vd_fact_add(facts, VD_FACT_INFO, "unknown_metadata", "%u items, %u of them of the user",
                    items.n_unknown, items.n_user);
    if (!items.item[VHDX_PHYSICAL_SECTOR].present || !items.item[VHDX_DISK_ID].present)
        vd_fact_add(facts, VD_FACT_WARNING, "vhdx_metadata",
                    "the physical sector size or the virtual disk ID is missing");
    return 0;
}

/* ---- opening ---- */

static void add_facts(const struct vhdx_header *header, const struct vhdx_metadata *metadata,
                      struct vd_facts *facts)
{
    char text[VHDX_GUID_TEXT_MAX];

    vd_fact_add(facts, VD_FACT_INFO, "sequence_number", "%" PRIu64, header->sequence);
    vhdx_guid_text(&header->file_write, text);
    vd_fact_add(facts, VD_FACT_INFO, "file_write_guid", "%s", text);
    vhdx_guid_text(&header->data_write, text);
    vd_fact_add(facts, VD_FACT_INFO, "data_write_guid", "%s", text);
    if (metadata->has_disk_id) {
        vhdx_guid_text(&metadata->disk_id, text);
        vd_fact_add(facts, VD_FACT_INFO, "virtual_disk_id", "%s", text);
    }
    vd_fact_add(facts, VD_FACT_INFO, "block_size", "%" PRIu32, metadata->block_size);
    vd_fact_add(facts, VD_FACT_INFO, "logical_sector_size", "%" PRIu32, metadata->logical_sector);
    vd_fact_add(facts, VD_FACT_INFO, "physical_sector_size", "%" PRIu32, metadata->physical_sector);
}

static const char *kind_of(const struct vhdx_metadata *metadata)
{
    if (metadata->has_parent)
        return "differencing"; /* LeaveBlockAllocated is ignored then (2.6.2.1) */
    return metadata->fixed ? "fixed" : "dynamic";
}

/* Everything but the disk.  *out_base: what the rest is read from; the caller's. */
static int read_structures(struct blkdev *file, struct blk_share *share, struct vhdx_layout *layout,
                           struct blkdev **out_base, struct image *out, struct vd_err *err)
{
    VD_AUTO(blk) struct blkdev *base = NULL;
    char text[VHDX_GUID_TEXT_MAX];
    int rc;

    layout->file = file;
    rc = read_identifier(file, &out->facts, err);
    if (rc == 0)
        rc = read_header(file, &layout->header, &out->facts, err);
    if (rc == 0)
        rc = replay_log(file, &layout->header, share, &base, &out->facts, err);
    if (rc || !base)
        return rc;
    rc = read_regions(base, &layout->header, &layout->regions, &out->facts, err);
    if (rc == 0)
        rc = read_metadata(base, &layout->regions.metadata, &layout->metadata, out, err);
    if (rc)
        return rc;
    if (vd_range_inside(layout->header.log_off, layout->header.log_len, base->size))
        layout->log = (struct vhdx_region){layout->header.log_off, layout->header.log_len};
    (void)snprintf(out->kind, sizeof(out->kind), "%s", kind_of(&layout->metadata));
    if (!vhdx_guid_zero(&layout->header.data_write)) {
        vhdx_guid_text(&layout->header.data_write, text);
        (void)snprintf(out->identity, sizeof(out->identity), "guid:%s", text);
    }
    *out_base = vd_take(&base);
    return 0;
}

static int vhdx_open(struct blkdev *file, const char *name, const struct blk_source *source,
                     unsigned dir, struct image *out, struct vd_err *err)
{
    VD_AUTO(blk) struct blkdev *base = NULL;
    struct vhdx_layout layout = {0};
    struct blk_share *share = source ? source->share : NULL;
    int rc = read_structures(file, share, &layout, &base, out, err);

    (void)dir;
    if (rc == 0) {
        add_facts(&layout.header, &layout.metadata, &out->facts);
        rc = vhdx_disk_new(base, &layout, share, name, &out->dev, &out->facts, err);
    }
    return image_named(err, rc, name);
}

static int vhdx_identify(struct blkdev *file, const char *name, struct image *out,
                         struct vd_err *err)
{
    VD_AUTO(blk) struct blkdev *base = NULL;
    struct vhdx_layout layout = {0};

    return image_named(err, read_structures(file, NULL, &layout, &base, out, err), name);
}

const struct image_format image_format_vhdx = {
    .name = "vhdx",
    .probe = vhdx_probe,
    .open = vhdx_open,
    .identify = vhdx_identify,
};
