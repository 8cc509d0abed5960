/* SPDX-License-Identifier: Apache-2.0 */
/*
 * COWD extents.  VMware Virtual Disk Format 5.0, "ESXi Host Sparse Extents"; libyal, "The COWD sparse
 * extent data file".
 *
 * Directory and tables are those of a hosted sparse extent without redundancy, so the layer of
 * sparse.c reads them; this file knows the header.  A table entry of 0 is "not in this file".  There are
 * no zeroed grains in this format: an entry of 1 is sector 1, which is a part of the header, so it cannot
 * be right (qemu shows the header's bytes, dissect zeros).
 * Pure but for vmdk_cowd_header and vmdk_cowd_new; any thread.
 */
#include "image/vmdk/cowd.h"

#include "base/bytes.h"
#include "base/limits.h"
#include "base/range.h"
#include "image/vmdk/sparse.h"

#include <inttypes.h>
#include <string.h>

#define HEADER_SECTORS (VMDK_COWD_HEADER_SIZE / VMDK_SECTOR)

/* Places in the header. */
#define AT_UNION             32
#define AT_PARENT_GENERATION (AT_UNION + VMDK_COWD_PARENT_MAX)
#define AT_GENERATION        1060
#define AT_NAME              1064
#define AT_SAVED_GENERATION  1636
#define AT_UNCLEAN           1648

/* ---- header ---- */

/* Text that is not the number of cylinders of a geometry. */
static bool is_text(const uint8_t *p)
{
    int i;

    for (i = 0; i < 4; i++)
        if (p[i] < 0x20 || p[i] == 0x7f)
            return false;
    return true;
}

int vmdk_cowd_decode(const uint8_t *bytes, size_t len, struct vmdk_cowd_header *out,
                     struct vd_err *err)
{
    if (len < VMDK_COWD_HEADER_SIZE)
        return vd_fail(err, VD_ECORRUPT, "the COWD header is cut after %zu of %u bytes", len,
                       VMDK_COWD_HEADER_SIZE);
    if (vmdk_magic_of(bytes, len) != VMDK_MAGIC_COWD)
        return vd_fail(err, VD_ECORRUPT, "the header has no \"COWD\" signature");
    *out = (struct vmdk_cowd_header){
        .version = vd_le32(bytes + 4),
        .flags = vd_le32(bytes + 8),
        .capacity_sectors = vd_le32(bytes + 12),
        .grain_sectors = vd_le32(bytes + 16),
        .gd_off_sectors = vd_le32(bytes + 20),
        .gd_entries = vd_le32(bytes + 24),
        .free_sector = vd_le32(bytes + 28),
        .generation = vd_le32(bytes + AT_GENERATION),
        .saved_generation = vd_le32(bytes + AT_SAVED_GENERATION),
        .unclean_shutdown = vd_le32(bytes + AT_UNCLEAN),
    };
    out->is_child = !(out->flags & VMDK_COWD_FLAG_ROOT) || is_text(bytes + AT_UNION);
    if (out->is_child) {
        memcpy(out->parent_name, bytes + AT_UNION, VMDK_COWD_PARENT_MAX);
        out->parent_generation = vd_le32(bytes + AT_PARENT_GENERATION);
    } else {
        out->cylinders = vd_le32(bytes + AT_UNION);
        out->heads = vd_le32(bytes + AT_UNION + 4);
        out->sectors = vd_le32(bytes + AT_UNION + 8);
    }
    memcpy(out->name, bytes + AT_NAME, VMDK_COWD_NAME_MAX);
    return 0;
}

int vmdk_cowd_validate(const struct vmdk_cowd_header *h, struct vd_err *err)
{
    if (h->version != 1)
        return vd_fail(err, VD_EUNSUPPORTED, "COWD header: version %" PRIu32 " is not known",
                       h->version);
    if (h->capacity_sectors == 0)
        return vd_fail(err, VD_ECORRUPT, "COWD header: the capacity is 0 sectors");
    if (h->grain_sectors == 0)
        return vd_fail(err, VD_ECORRUPT, "COWD header: the grain size is 0 sectors");
    if ((uint64_t)h->grain_sectors * VMDK_SECTOR > VD_MAX_GRAIN)
        return vd_fail(err, VD_ELIMIT,
                       "COWD header: a grain of %" PRIu32 " sectors is over the limit of %u bytes",
                       h->grain_sectors, VD_MAX_GRAIN);
    if (h->gd_off_sectors < HEADER_SECTORS)
        return vd_fail(err, VD_ECORRUPT,
                       "COWD header: the grain directory at sector %" PRIu32
                       " lies inside the header",
                       h->gd_off_sectors);
    if (h->gd_entries == 0)
        return vd_fail(err, VD_ECORRUPT, "COWD header: the grain directory has no entries");
    return 0;
}

/* The directory must have an entry for all of the disk and lie inside the file.  Its size is what the
 * header says, even if that is more than the disk needs. */
static int check_directory(const struct vmdk_cowd_header *h, uint64_t file_size, struct vd_err *err)
{
    uint64_t table_sectors = (uint64_t)h->grain_sectors * VMDK_COWD_GT_ENTRIES;
    uint64_t need = vd_div_up(h->capacity_sectors, table_sectors);
    uint64_t off = (uint64_t)h->gd_off_sectors * VMDK_SECTOR;

    if (h->gd_entries < need)
        return vd_fail(err, VD_ECORRUPT,
                       "COWD header: the grain directory has %" PRIu32
                       " entries, a disk of %" PRIu32 " sectors needs %" PRIu64,
                       h->gd_entries, h->capacity_sectors, need);
    if (!vd_range_inside(off, (uint64_t)h->gd_entries * 4, file_size))
        return vd_fail(err, VD_ECORRUPT,
                       "COWD header: the grain directory (%" PRIu32 " entries at sector %" PRIu32
                       ") passes the end of the file",
                       h->gd_entries, h->gd_off_sectors);
    return 0;
}

static void report_state(const struct vmdk_cowd_header *h, const char *file, uint64_t file_size,
                         struct vd_facts *facts)
{
    if (h->flags & VMDK_COWD_FLAG_INCONSISTENT)
        vd_fact_add(facts, VD_FACT_WARNING, "cowd_state",
                    "%s: the header says that the file is inconsistent", file);
    if (h->flags & ~VMDK_COWD_FLAGS_KNOWN)
        vd_fact_add(facts, VD_FACT_WARNING, "cowd_flags", "%s: unknown flags 0x%08" PRIx32, file,
                    h->flags & ~VMDK_COWD_FLAGS_KNOWN);
    if (h->unclean_shutdown)
        vd_fact_add(facts, VD_FACT_WARNING, "cowd_state",
                    "%s: the file was not closed cleanly (uncleanShutdown %" PRIu32
                    "): its tables may lack the last writes",
                    file, h->unclean_shutdown);
    if ((uint64_t)h->free_sector * VMDK_SECTOR > file_size)
        vd_fact_add(facts, VD_FACT_WARNING, "cowd_state",
                    "%s: the header counts %" PRIu32 " sectors in use, the file has %" PRIu64
                    ": it is cut",
                    file, h->free_sector, file_size / VMDK_SECTOR);
}

static void report(const struct vmdk_cowd_header *h, const char *file, uint64_t file_size,
                   struct vd_facts *facts)
{
    vd_fact_add(facts, VD_FACT_INFO, "cowd_header",
                "%s: %s, flags 0x%" PRIx32 ", grains of %" PRIu32 " bytes, generation %" PRIu32
                " (saved %" PRIu32 ")",
                file, h->is_child ? "child" : "root", h->flags, h->grain_sectors * VMDK_SECTOR,
                h->generation, h->saved_generation);
    if (h->name[0])
        vd_fact_add(facts, VD_FACT_INFO, "cowd_name", "%s: %s", file, h->name);
    if (h->is_child)
        vd_fact_add(facts, VD_FACT_INFO, "cowd_parent",
                    "%s: the header names the parent \"%s\", generation %" PRIu32, file,
                    h->parent_name, h->parent_generation);
    else if (h->cylinders)
        vd_fact_add(facts, VD_FACT_INFO, "cowd_geometry",
                    "%s: %" PRIu32 " cylinders, %" PRIu32 " heads, %" PRIu32 " sectors", file,
                    h->cylinders, h->heads, h->sectors);
    report_state(h, file, file_size, facts);
}

int vmdk_cowd_header(struct blkdev *file, struct vmdk_cowd_header *out, struct vd_facts *facts,
                     struct vd_err *err)
{
    uint8_t bytes[VMDK_COWD_HEADER_SIZE] = {0};
    size_t len = (size_t)vd_min(sizeof(bytes), file->size);
    struct vmdk_cowd_header h;
    int rc = blk_read(file, 0, bytes, len, err);

    if (rc) /* the medium's errors carry the file's name already */
        return rc;
    rc = vmdk_cowd_decode(bytes, len, &h, err);
    if (rc == 0)
        rc = vmdk_cowd_validate(&h, err);
    if (rc == 0)
        rc = check_directory(&h, file->size, err);
    if (rc)
        return vd_prefix(err, rc, "%s", file->label);
    report(&h, file->label, file->size, facts);
    *out = h;
    return 0;
}

/* ---- the layer ---- */

int vmdk_cowd_new(struct blkdev *file, const struct vmdk_cowd_header *h, unsigned extent,
                  struct vmdk_shared *shared, struct blkdev **out, struct vd_err *err)
{
    /* The hosted header that has the same directory and tables. */
    const struct vmdk_header hosted = {
        .version = 1,
        .capacity_sectors = h->capacity_sectors,
        .grain_sectors = h->grain_sectors,
        .gt_entries = VMDK_COWD_GT_ENTRIES,
        .gd_off_sectors = h->gd_off_sectors,
    };
    struct vmdk_geometry g;

    vmdk_geometry_init(&hosted, file->size, &g);
    g.n_meta =
        0; /* a hosted header is smaller, and its directory has the size that the disk needs */
    vmdk_geometry_guard(&g, 0, VMDK_COWD_HEADER_SIZE);
    vmdk_geometry_guard(&g, h->gd_off_sectors, (uint64_t)h->gd_entries * 4);
    return vmdk_sparse_new_geometry(file, &g, &hosted, extent, shared, out, err);
}
