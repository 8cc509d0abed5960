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

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- finding files ---- */

static int open_in_dirs(const struct vmdk_extents_in *in, const char *name, struct blkdev **out,
                        struct vd_err *err)
{
    unsigned i;
    int rc = in->source->open(in->source->ctx, in->dir, name, out, err);

    for (i = 0; i < in->source->n_dirs && rc == -VD_ENOENT; i++)
        if (i != in->dir)
            rc = in->source->open(in->source->ctx, i, name, out, err);
    return rc;
}

/* The file of one line; the caller owns *out. */
static int open_file(const struct vmdk_extents_in *in, const struct vmdk_extent_line *line,
                     struct blkdev **out, struct vd_err *err)
{
    const char *name = vmdk_bare_name(line->path, in->descriptor->encoding);
    int rc;

    if (vmdk_is_device_path(line->path))
        return vd_fail(
            err, VD_EREFUSED,
            "\"%s\" is a device of the machine that used the disk: its content is not in "
            "the evidence, and no device is ever opened",
            line->path);
    if (!blk_source_name_ok(name))
        return vd_fail(err, VD_EREFUSED, "\"%s\" names no file", line->path);
    if (in->file && strcmp(name, in->name) == 0) {
        *out = blk_ref(in->file);
        return 0;
    }
    rc = open_in_dirs(in, name, out, err);
    if (rc == -VD_ENOENT)
        return vd_fail(err, VD_ECHAIN, "the extent file \"%s\" is missing%s%s%s", name,
                       strcmp(name, line->path) ? " (the descriptor says \"" : "",
                       strcmp(name, line->path) ? line->path : "",
                       strcmp(name, line->path) ? "\")" : "");
    if (rc == 0 && strcmp(name, line->path) != 0)
        vd_fact_add(in->facts, VD_FACT_INFO, "extent_path",
                    "the descriptor names \"%s\"; \"%s\" beside the image is used", line->path,
                    name);
    return rc;
}

struct used_name {
    const char *bare, *path;
};

static int compare_names(const void *a, const void *b)
{
    const struct used_name *x = a, *y = b;
    int c = strcmp(x->bare, y->bare);

    return c ? c : strcmp(x->path, y->path);
}

/* Two paths that end in one bare name were two files in their own place: beside each other only
 * one of them can exist, and the other's bytes would be wrong. */
static int check_names(const struct vmdk_descriptor *d, struct vd_err *err)
{
    VD_AUTO(free) struct used_name *v = calloc(d->n_extents, sizeof(*v));
    size_t i, n = 0;

    if (!v)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    for (i = 0; i < d->n_extents; i++)
        if (d->extents[i].path)
            v[n++] = (struct used_name){vmdk_bare_name(d->extents[i].path, d->encoding),
                                        d->extents[i].path};
    if (n)
        qsort(v, n, sizeof(*v), compare_names);
    for (i = 1; i < n; i++)
        if (strcmp(v[i - 1].bare, v[i].bare) == 0 && strcmp(v[i - 1].path, v[i].path) != 0)
            return vd_fail(err, VD_EUNSUPPORTED,
                           "descriptor: \"%s\" and \"%s\" are different files with one bare name",
                           v[i - 1].path, v[i].path);
    return 0;
}

/* ---- one extent ---- */

static int open_flat(const struct vmdk_extents_in *in, const struct vmdk_extent_line *line,
                     struct blk_part *part, struct vd_err *err)
{
    uint64_t end;
    int rc = open_file(in, line, &part->dev, err);

    if (rc)
        return rc;
    if (!vd_mul(line->start_sectors, VMDK_SECTOR, &part->dev_off) ||
        !vd_add(part->dev_off, part->size, &end))
        return vd_fail(err, VD_ELIMIT, "a start at sector %" PRIu64 " is not possible",
                       line->start_sectors);
    if (end > part->dev->size)
        vd_fact_add(in->facts, VD_FACT_WARNING, "extent_short",
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

static int open_sparse(const struct vmdk_extents_in *in, const struct vmdk_extent_line *line,
                       size_t number, struct blk_part *part, struct vd_err *err)
{
    VD_AUTO(blk) struct blkdev *file = NULL;
    enum vmdk_magic magic = VMDK_MAGIC_NONE;
    uint64_t sectors;
    int rc;

    if (line->start_sectors)
        return vd_fail(err, VD_EUNSUPPORTED, "a sparse extent that starts at sector %" PRIu64,
                       line->start_sectors);
    rc = open_file(in, line, &file, err);
    if (rc == 0)
        rc = vmdk_file_magic(file, &magic, err);
    if (rc == 0)
        rc = check_kind(in, line, file, magic, err);
    if (rc)
        return rc;
    rc = magic == VMDK_MAGIC_HOSTED
             ? open_hosted(in, file, number, &part->dev, err)
             : vmdk_esx_extent_open(file, magic, in->descriptor, (unsigned)number, in->shared,
                                    in->facts, &part->dev, err);
    if (rc)
        return rc;
    sectors = part->dev->size / VMDK_SECTOR;
    if (sectors != line->sectors)
        vd_fact_add(in->facts, VD_FACT_WARNING, "extent_size",
                    "%s: %s is made for %" PRIu64 " sectors, the descriptor says %" PRIu64 "%s",
                    part->label, file->label, sectors, line->sectors,
                    sectors < line->sectors ? ": the difference cannot be read" : "");
    (void)vd_take(&file);
    return 0;
}

/* Raw device mappings.  On ESX the file that the line names is a door to a LUN; copied through it, it is the
 * LUN's content and as long as the disk.  A shorter file is the mapping alone. */
static int open_raw_device(const struct vmdk_extents_in *in, const struct vmdk_extent_line *line,
                           struct blk_part *part, struct vd_err *err)
{
    const char *type = vmdk_extent_type_name(line->type);
    int rc = open_flat(in, line, part, err);
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
    vd_fact_add(in->facts, VD_FACT_WARNING, "extent_raw_device",
                "%s: the disk was a raw device (%s); %s is as large as it and is taken as its copy",
                part->label, type, part->dev->label);
    return 0;
}

static int open_extent(const struct vmdk_extents_in *in, size_t number, struct blk_part *part,
                       struct vd_err *err)
{
    const struct vmdk_extent_line *line = &in->descriptor->extents[number];

    part->size = line->sectors * VMDK_SECTOR; /* bounded by the decoder */
    (void)snprintf(part->label, sizeof(part->label), "extent %zu", number + 1);
    if (line->access == VMDK_ACCESS_NOACCESS) {
        part->hole = BLK_UNREADABLE;
        vd_fact_add(in->facts, VD_FACT_WARNING, "extent_noaccess",
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
        return open_sparse(in, line, number, part, err);
    case VMDK_EXTENT_VMFSRDM:
    case VMDK_EXTENT_VMFSRAW:
        return open_raw_device(in, line, part, err);
    case VMDK_EXTENT_FLAT:
    case VMDK_EXTENT_VMFS:
    case VMDK_EXTENT_ZERO:
        break;
    }
    return open_flat(in, line, part, err);
}

int vmdk_extents_open(const struct vmdk_extents_in *in, struct blkdev **out, struct vd_err *err)
{
    size_t n = in->descriptor->n_extents, i;
    VD_AUTO(free) struct blk_part *parts = calloc(n, sizeof(*parts));
    uint64_t end = 0;
    int rc;

    if (!parts)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    rc = check_names(in->descriptor, err);
    for (i = 0; i < n && rc == 0; i++) {
        rc = open_extent(in, i, &parts[i], err);
        if (rc == 0 && (!vd_add(end, parts[i].size, &end) || end > VD_MAX_SIZE))
            rc = vd_fail(err, VD_ELIMIT, "the extents together pass the limit of a disk");
        rc = vd_prefix(err, rc, "extent %zu", i + 1);
    }
    if (rc == 0)
        rc = blk_concat_new(parts, n, in->name, out, err);
    for (i = 0; i < n && rc; i++)
        blk_unref(parts[i].dev);
    return rc;
}
