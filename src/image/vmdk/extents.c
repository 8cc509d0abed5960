/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extents of a descriptor.  VMware Virtual Disk Format 5.0, "The Extent Section".  Each line is a
 * part of the disk, in order: files (FLAT and VMFS from a start sector; SPARSE, VMFSSPARSE and
 * SESPARSE), ZERO, raw devices, and anything marked NOACCESS, whose bytes the disk declares out of
 * reach.  Files are looked for by bare name in the image's directory and the others, never by path: a
 * descriptor cannot name the examiner's files, nor the devices of his machine.
 */
#include "image/vmdk/extents.h"

#include "base/cleanup.h"
#include "base/limits.h"
#include "base/range.h"
#include "blk/layers.h"
#include "image/vmdk/esx.h"
#include "image/vmdk/extent_files.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* What opening the lines has in common. */
struct opening {
    const struct vmdk_extents_in *in;
    struct vmdk_extent_files files;
};

/* ---- one extent ---- */

/* A set that was renamed is known by its names and sizes alone. */
static int not_of_set(const struct blkdev *dev, uint64_t wanted, struct vd_err *err)
{
    return vd_fail(err, VD_ECHAIN,
                   "%s has another name than the descriptor says, and %" PRIu64
                   " bytes instead of %" PRIu64 ": it is not taken",
                   dev->label, dev->size, wanted);
}

static int open_flat(const struct opening *o, const struct vmdk_extent_line *line,
                     struct blk_part *part, struct vd_err *err)
{
    uint64_t end;
    int rc = vmdk_extent_files_open(&o->files, line, &part->dev, err);

    if (rc)
        return rc;
    if (!vd_mul(line->start_sectors, VMDK_SECTOR, &part->dev_off) ||
        !vd_add(part->dev_off, part->size, &end))
        return vd_fail(err, VD_ELIMIT, "a start at sector %" PRIu64 " is not possible",
                       line->start_sectors);
    if (o->files.renamed && end != part->dev->size)
        return not_of_set(part->dev, end, err);
    if (end > part->dev->size)
        vd_fact_add(o->in->facts, VD_FACT_WARNING, "extent_short",
                    "%s: %s has %" PRIu64 " bytes, the descriptor needs %" PRIu64
                    ": the missing part cannot be read",
                    part->label, part->dev->label, part->dev->size, end);
    return 0;
}

static int open_hosted(const struct vmdk_extents_in *in, struct blkdev *file, size_t number,
                       struct blkdev **out, struct vd_err *err)
{
    struct vmdk_header h;
    int rc = vmdk_sparse_header(file, &h, in->facts, err);

    if (rc)
        return rc;
    if (h.capacity_sectors == 0)
        return vd_fail(err, VD_ECORRUPT, "%s: the header has a capacity of 0 sectors", file->label);
    return vmdk_sparse_new(file, &h, (unsigned)number, in->shared, out, err);
}

/* What the line says and what the file is can differ (a disk that was moved between datastores); the file
 * knows better. */
static int check_kind(const struct vmdk_extents_in *in, const struct vmdk_extent_line *line,
                      const struct blkdev *file, enum vmdk_magic magic, struct vd_err *err)
{
    static const struct {
        const char *word;
        enum vmdk_extent_type type;
    } kinds[] = {
        [VMDK_MAGIC_HOSTED] = {"a hosted sparse extent", VMDK_EXTENT_SPARSE},
        [VMDK_MAGIC_COWD] = {"a COWD extent", VMDK_EXTENT_VMFSSPARSE},
        [VMDK_MAGIC_SESPARSE] = {"a seSparse extent", VMDK_EXTENT_SESPARSE},
    };

    if (magic == VMDK_MAGIC_NONE)
        return vd_fail(err, VD_ECORRUPT,
                       "%s: it has none of the signatures of sparse extents (\"KDMV\", \"COWD\", "
                       "0xcafebabe)",
                       file->label);
    if (line->type != kinds[magic].type)
        vd_fact_add(in->facts, VD_FACT_WARNING, "extent_kind",
                    "the descriptor says %s, %s is %s: it is read as that",
                    vmdk_extent_type_name(line->type), file->label, kinds[magic].word);
    return 0;
}

static int open_sparse(const struct opening *o, const struct vmdk_extent_line *line, size_t number,
                       struct blk_part *part, struct vd_err *err)
{
    VD_AUTO(blk) struct blkdev *file = NULL;
    enum vmdk_magic magic = VMDK_MAGIC_NONE;
    const char *label;
    uint64_t sectors;
    int rc;

    if (line->start_sectors)
        return vd_fail(err, VD_EUNSUPPORTED, "a sparse extent that starts at sector %" PRIu64,
                       line->start_sectors);
    rc = vmdk_extent_files_open(&o->files, line, &file, err);
    if (rc == 0)
        rc = vmdk_file_magic(file, &magic, err);
    if (rc == 0)
        rc = check_kind(o->in, line, file, magic, err);
    if (rc)
        return rc;
    rc = magic == VMDK_MAGIC_HOSTED
             ? open_hosted(o->in, file, number, &part->dev, err)
             : vmdk_esx_extent_open(file, magic, o->in->descriptor, (unsigned)number, o->in->shared,
                                    o->in->facts, &part->dev, err);
    if (rc)
        return rc;
    label = vd_take(&file)->label; /* the layer's now */
    sectors = part->dev->size / VMDK_SECTOR;
    if (o->files.renamed && sectors != line->sectors)
        return not_of_set(part->dev, part->size, err);
    if (sectors != line->sectors)
        vd_fact_add(o->in->facts, VD_FACT_WARNING, "extent_size",
                    "%s: %s is made for %" PRIu64 " sectors, the descriptor says %" PRIu64 "%s",
                    part->label, label, sectors, line->sectors,
                    sectors < line->sectors ? ": the difference cannot be read" : "");
    return 0;
}

/* Raw device mappings.  On ESX the file that the line names is a door to a LUN; copied through it, it is the
 * LUN's content and as long as the disk.  A shorter file is the mapping alone. */
static int open_raw_device(const struct opening *o, const struct vmdk_extent_line *line,
                           struct blk_part *part, struct vd_err *err)
{
    const char *type = vmdk_extent_type_name(line->type);
    int rc = open_flat(o, line, part, err);
    uint64_t end;

    if (rc == -VD_ECHAIN)
        return vd_prefix(err, rc, "%s: the raw device behind it is not in the evidence", type);
    if (rc)
        return vd_prefix(err, rc, "%s", type);
    end = part->dev_off + part->size; /* checked by open_flat */
    if (end > part->dev->size)
        return vd_fail(err, VD_EREFUSED,
                       "%s: \"%s\" maps a raw device of the host, whose content is not in the "
                       "evidence: the file has %" PRIu64 " bytes, the disk %" PRIu64,
                       type, line->path, part->dev->size, end);
    vd_fact_add(o->in->facts, VD_FACT_WARNING, "extent_raw_device",
                "%s: the disk was a raw device (%s); %s is as large as it and is taken as its copy",
                part->label, type, part->dev->label);
    return 0;
}

static int open_extent(const struct opening *o, size_t number, struct blk_part *part,
                       struct vd_err *err)
{
    const struct vmdk_extent_line *line = &o->in->descriptor->extents[number];

    part->size = line->sectors * VMDK_SECTOR; /* bounded by the decoder */
    (void)snprintf(part->label, sizeof(part->label), "extent %zu", number + 1);
    if (line->access == VMDK_ACCESS_NOACCESS) {
        part->hole = BLK_UNREADABLE;
        vd_fact_add(o->in->facts, VD_FACT_WARNING, "extent_noaccess",
                    "%s: %" PRIu64 " sectors are declared NOACCESS: they cannot be read",
                    part->label, line->sectors);
        return 0;
    }
    if (line->type == VMDK_EXTENT_ZERO) {
        part->hole = BLK_ZEROS;
        return 0;
    }
    if (!line->path)
        return vd_fail(err, VD_ECORRUPT, "descriptor: line %u names no file", line->line);
    switch (line->type) {
    case VMDK_EXTENT_SPARSE:
    case VMDK_EXTENT_VMFSSPARSE:
    case VMDK_EXTENT_SESPARSE:
        return open_sparse(o, line, number, part, err);
    case VMDK_EXTENT_VMFSRDM:
    case VMDK_EXTENT_VMFSRAW:
        return open_raw_device(o, line, part, err);
    case VMDK_EXTENT_FLAT:
    case VMDK_EXTENT_VMFS:
    case VMDK_EXTENT_ZERO:
        break;
    }
    return open_flat(o, line, part, err);
}

/* ---- files that are longer than their lines ---- */

struct used {
    const char *path;
    const struct blkdev *dev; /* NULL: a NOACCESS line */
    uint64_t end;
};

static int compare_used(const void *a, const void *b)
{
    const struct used *x = a, *y = b;

    return strcmp(x->path, y->path);
}

/* What lies behind the part of a flat file that the lines use is not part of the disk; it may be what
 * an edited descriptor hides. */
static void report_rest(const struct vmdk_extents_in *in, const struct blk_part *parts)
{
    const struct vmdk_descriptor *d = in->descriptor;
    VD_AUTO(free) struct used *v = calloc(d->n_extents, sizeof(*v));
    size_t i, k, n = 0;

    for (i = 0; i < d->n_extents && v; i++) {
        const struct vmdk_extent_line *line = &d->extents[i];
        uint64_t end;

        if (line->path && (line->type == VMDK_EXTENT_FLAT || line->type == VMDK_EXTENT_VMFS) &&
            vd_add(line->start_sectors, line->sectors, &end) && vd_mul(end, VMDK_SECTOR, &end))
            v[n++] = (struct used){line->path, parts[i].dev, end};
    }
    if (n)
        qsort(v, n, sizeof(*v), compare_used);
    for (i = 0; i < n; i = k) {
        struct used all = v[i];

        for (k = i; k < n && strcmp(v[k].path, all.path) == 0; k++) {
            all.dev = all.dev ? all.dev : v[k].dev;
            all.end = v[k].end > all.end ? v[k].end : all.end;
        }
        if (all.dev && all.dev->size > all.end)
            vd_fact_add(in->facts, VD_FACT_WARNING, "extent_long",
                        "%s has %" PRIu64 " bytes, the descriptor uses the first %" PRIu64
                        ": the rest is not part of the disk",
                        all.dev->label, all.dev->size, all.end);
    }
}

int vmdk_extents_open(const struct vmdk_extents_in *in, struct blkdev **out, struct vd_err *err)
{
    size_t n = in->descriptor->n_extents, i;
    VD_AUTO(free) struct blk_part *parts = calloc(n, sizeof(*parts));
    struct opening o = {.in = in};
    uint64_t end = 0;
    int rc;

    if (!parts)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    rc = vmdk_extent_files_init(in, &o.files, err);
    for (i = 0; i < n && rc == 0; i++) {
        rc = open_extent(&o, i, &parts[i], err);
        if (rc == 0 && (!vd_add(end, parts[i].size, &end) || end > VD_MAX_SIZE))
            rc = vd_fail(err, VD_ELIMIT, "the extents together pass the limit of a disk");
        rc = vd_prefix(err, rc, "extent %zu", i + 1);
    }
    vmdk_extent_files_clear(&o.files);
    if (rc == 0) {
        report_rest(in, parts);
        rc = blk_concat_new(parts, n, in->name, out, err);
    }
    for (i = 0; i < n && rc; i++)
        blk_unref(parts[i].dev);
    return rc;
}
