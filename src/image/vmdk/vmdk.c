/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VMDK: one member of a chain.  VMware Virtual Disk Format 5.0.  A file is
 *   - a descriptor: text, whose extents are other files,
 *   - a hosted sparse extent with a descriptor inside: usually the one extent itself, whatever name
 *     the descriptor gives it (the file may have been renamed),
 *   - a hosted sparse extent without one: a part of a disk, shown with a warning.
 * Identity is the CID; the parent is asked for by parentCID and parentFileNameHint.
 *   - a sparse extent of ESX (COWD, seSparse), alone: see esx.c.
 */
#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/range.h"
#include "base/text.h"
#include "image/image.h"
#include "image/vmdk/esx.h"
#include "image/vmdk/extents.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Bounds for one image, extents together.  Merged tables: 512 KiB hold 256 of the usual 2 KiB,
 * which is 8 GiB of disk.  Inflated grains: 64 of the usual 64 KiB.  Directories kept whole: 1 MiB
 * is 8 TiB of disk.  At open 4 MiB of directory entries are looked at and 8 MiB of tables checked
 * (64 GiB of disk with redundant tables): about ten milliseconds. */
#define TABLE_CACHE_BYTES    (512u << 10)
#define TABLE_CACHE_SHARDS   4
#define GRAIN_CACHE_BYTES    (4u << 20)
#define GRAIN_CACHE_SHARDS   2
#define DIRECTORY_KEEP_BYTES (1u << 20)
#define SCAN_BYTES           (4u << 20)
#define CHECK_BYTES          (8u << 20)

/* ---- probe ---- */

static enum image_probe vmdk_probe(const struct image_window *window)
{
    switch (vmdk_magic_of(window->head, window->head_len)) {
    case VMDK_MAGIC_HOSTED:
    case VMDK_MAGIC_COWD:
    case VMDK_MAGIC_SESPARSE:
        return IMAGE_YES;
    case VMDK_MAGIC_NONE:
        break;
    }
    return vmdk_descriptor_probe(window->head, window->head_len, window->file_size) ? IMAGE_YES
                                                                                    : IMAGE_NO;
}

/* ---- what the descriptor says about the chain ---- */

static int add_hint(struct image *out, const char *name, struct vd_err *err)
{
    if (!blk_source_name_ok(name))
        return 0;
    if (out->n_parent_hints && strcmp(out->parent_hint[out->n_parent_hints - 1], name) == 0)
        return 0;
    out->parent_hint[out->n_parent_hints] = strdup(name);
    if (!out->parent_hint[out->n_parent_hints])
        return vd_fail(err, VD_ENOMEM, "out of memory");
    out->n_parent_hints++;
    return 0;
}

static int take_parent(const struct vmdk_descriptor *d, struct image *out, struct vd_err *err)
{
    char text[1024];
    int rc;

    if (d->has_parent_cid)
        (void)snprintf(out->parent_identity[0], IMAGE_ID_MAX, "cid:%08" PRIx32, d->parent_cid);
    out->has_parent = true;
    if (d->has_parent_cid && d->parent_cid == VMDK_CID_NEW) {
        out->parent_by_name = true;
        vd_fact_add(&out->facts, VD_FACT_WARNING, "parent",
                    "parentCID is fffffffe, which every disk has that was not written to since it "
                    "was made: that the parent is the right one is known by its name only");
    }
    if (!d->parent_hint)
        return 0;
    vd_text_printable(d->parent_hint, strlen(d->parent_hint), text, sizeof(text));
    out->parent_path = strdup(text);
    if (!out->parent_path)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    rc = add_hint(out, vmdk_bare_name(d->parent_hint, d->encoding), err);
    if (rc == 0 && d->parent_hint_utf8)
        rc = add_hint(out, vmdk_bare_name(d->parent_hint_utf8, ""), err);
    /* "[x] y.vmdk" may be a datastore path or a file's whole name. */
    if (rc == 0 && !d->parent_hint_utf8)
        rc = add_hint(out, vd_text_basename(d->parent_hint), err);
    return rc;
}

/* The CID as it is written.  fffffffe is the CID of every disk that was not written to since it was
 * made (ddb.longContentID then ends in the same digits, and children copy it as their parentCID): it
 * tells new disks from others, but not from each other. */
static void take_identity(const struct vmdk_descriptor *d, struct image *out)
{
    if (!d->has_cid)
        return;
    (void)snprintf(out->identity, IMAGE_ID_MAX, "cid:%08" PRIx32, d->cid);
    if (d->cid == VMDK_CID_NEW)
        vd_fact_add(&out->facts, VD_FACT_INFO, "cid",
                    "fffffffe is the CID of every disk that was not written to since it was made; "
                    "ddb.longContentID is \"%s\"",
                    d->long_content_id);
}

static int take_chain_fields(const struct vmdk_descriptor *d, struct image *out, struct vd_err *err)
{
    bool none = d->has_parent_cid && d->parent_cid == VMDK_CID_NONE;

    take_identity(d, out);
    if (none && d->parent_hint)
        vd_fact_add(&out->facts, VD_FACT_WARNING, "parent",
                    "parentCID says that there is no parent; parentFileNameHint \"%s\" is ignored",
                    d->parent_hint);
    if (none || (!d->has_parent_cid && !d->parent_hint))
        return 0;
    return take_parent(d, out, err);
}

static void take_kind(const struct vmdk_descriptor *d, const char *fallback, struct image *out)
{
    const char *known = vmdk_create_type_name(d->create_type);

    vd_text_printable(known ? known : d->create_type, strlen(known ? known : d->create_type),
                      out->kind, sizeof(out->kind));
    if (!out->kind[0])
        (void)vd_text_copy(out->kind, sizeof(out->kind), fallback);
    if (!known)
        vd_fact_add(&out->facts, VD_FACT_WARNING, "create_type",
                    "createType \"%s\" is not known; the extents decide", d->create_type);
}

static void report_descriptor(const struct vmdk_descriptor *d, struct image *out)
{
    if (d->has_cid)
        vd_fact_add(&out->facts, VD_FACT_INFO, "cid", "%08" PRIx32, d->cid);
    if (d->has_parent_cid)
        vd_fact_add(&out->facts, VD_FACT_INFO, "parent_cid", "%08" PRIx32, d->parent_cid);
    if (d->long_content_id[0])
        vd_fact_add(&out->facts, VD_FACT_INFO, "long_content_id", "%s", d->long_content_id);
    if (d->encoding[0])
        vd_fact_add(&out->facts, VD_FACT_INFO, "encoding", "%s", d->encoding);
    vd_fact_add(&out->facts, VD_FACT_INFO, "extents", "%zu", d->n_extents);
}

static void report_header(const struct vmdk_header *h, struct image *out)
{
    vd_fact_add(&out->facts, VD_FACT_INFO, "header_version", "%" PRIu32, h->version);
    vd_fact_add(&out->facts, VD_FACT_INFO, "grain_size", "%" PRIu64,
                h->grain_sectors * VMDK_SECTOR);
    vd_fact_add(&out->facts, VD_FACT_INFO, "compressed", "%s",
                h->flags & VMDK_FLAG_COMPRESSED ? "yes" : "no");
}

/* ---- reading the descriptor ---- */

/* Decodes `len` bytes of text at `off` of the file and takes over what concerns the chain. */
static int read_descriptor(struct blkdev *file, uint64_t off, uint64_t len,
                           struct vmdk_descriptor *out, struct image *image, struct vd_err *err)
{
    VD_AUTO(free) char *text = NULL;
    int rc;

    if (len > VD_MAX_DESCRIPTOR)
        return vd_fail(err, VD_ELIMIT,
                       "%s: a descriptor of %" PRIu64 " bytes is over the limit of %u", file->label,
                       len, VD_MAX_DESCRIPTOR);
    text = malloc(len ? len : 1);
    if (!text)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    rc = blk_read(file, off, text, (size_t)len, err);
    if (rc)
        return rc;
    rc = vmdk_descriptor_decode(text, (size_t)len, out, &image->facts, err);
    if (rc)
        return vd_prefix(err, rc, "%s", file->label);
    rc = take_chain_fields(out, image, err);
    if (rc)
        vmdk_descriptor_clear(out);
    return rc;
}

/* The descriptor inside a sparse extent. */
static int read_embedded(struct blkdev *file, const struct vmdk_header *h,
                         struct vmdk_descriptor *out, struct image *image, struct vd_err *err)
{
    uint64_t off, len;

    if (!vd_mul(h->descriptor_off_sectors, VMDK_SECTOR, &off) ||
        !vd_mul(h->descriptor_sectors, VMDK_SECTOR, &len) || !vd_range_inside(off, len, file->size))
        return vd_fail(err, VD_ECORRUPT,
                       "%s: the descriptor (%" PRIu64 " sectors at sector %" PRIu64
                       ") passes the end of the file",
                       file->label, h->descriptor_sectors, h->descriptor_off_sectors);
    return read_descriptor(file, off, len, out, image, err);
}

/* ---- opening ---- */

struct opening {
    struct blkdev *file;
    const char *name;
    const struct blk_source *source;
    unsigned dir;
    struct vmdk_shared shared;
    struct image *out;
};

/* In a chain the members share the stores and what opening may cost; alone an image has its own. */
static int shared_init(struct vmdk_shared *shared, const struct blk_share *chain,
                       struct vd_err *err)
{
    int rc;

    *shared = (struct vmdk_shared){
        .directory_left = DIRECTORY_KEEP_BYTES, .scan_left = SCAN_BYTES, .check_left = CHECK_BYTES};
    if (!chain) {
        rc = made_cache_new(TABLE_CACHE_BYTES, TABLE_CACHE_SHARDS, &shared->tables, err);
        return rc ? rc
                  : made_cache_new(GRAIN_CACHE_BYTES, GRAIN_CACHE_SHARDS, &shared->grains, err);
    }
    shared->directory_left = vd_min(shared->directory_left, chain->keep_left);
    shared->scan_left = vd_min(shared->scan_left, chain->scan_left);
    shared->check_left = vd_min(shared->check_left, chain->check_left);
    rc = made_cache_share(chain->tables, &shared->tables, err);
    return rc ? rc : made_cache_share(chain->blocks, &shared->grains, err);
}

/* Tells the chain what this image used; `before` is what it was given. */
static void shared_done(const struct vmdk_shared *shared, const struct vmdk_shared *before,
                        struct blk_share *chain)
{
    if (!chain)
        return;
    chain->keep_left -= before->directory_left - shared->directory_left;
    chain->scan_left -= before->scan_left - shared->scan_left;
    chain->check_left -= before->check_left - shared->check_left;
}

static int open_extents(struct opening *o, const struct vmdk_descriptor *d, bool self,
                        struct vd_err *err)
{
    struct vmdk_extents_in in = {.descriptor = d,
                                 .source = o->source,
                                 .dir = o->dir,
                                 .name = o->name,
                                 .file = self ? o->file : NULL,
                                 .shared = &o->shared,
                                 .facts = &o->out->facts};

    if (d->n_extents == 0)
        return vd_fail(err, VD_ECORRUPT, "%s: the descriptor has no extents", o->file->label);
    return vd_prefix(err, vmdk_extents_open(&in, &o->out->dev, err), "%s", o->file->label);
}

/* The file is its own and only extent. */
static int open_self(struct opening *o, const struct vmdk_header *h, struct vd_err *err)
{
    int rc = vmdk_sparse_new(blk_ref(o->file), h, 0, &o->shared, &o->out->dev, err);

    if (rc)
        blk_unref(o->file);
    return rc;
}

static bool is_self(const struct vmdk_descriptor *d)
{
    return d->n_extents == 0 || (d->n_extents == 1 && d->extents[0].type == VMDK_EXTENT_SPARSE &&
                                 d->extents[0].access != VMDK_ACCESS_NOACCESS);
}

static void report_self(struct opening *o, const struct vmdk_descriptor *d,
                        const struct vmdk_header *h)
{
    const struct vmdk_extent_line *line = d->extents;

    if (d->n_extents == 0) {
        vd_fact_add(&o->out->facts, VD_FACT_WARNING, "extents",
                    "the descriptor has no extent line; the file itself is taken as the extent");
        return;
    }
    if (line->path && strcmp(vmdk_bare_name(line->path, d->encoding), o->name) != 0)
        vd_fact_add(&o->out->facts, VD_FACT_INFO, "renamed",
                    "the embedded descriptor names \"%s\"; the file itself is the extent",
                    line->path);
    if (line->sectors != h->capacity_sectors)
        vd_fact_add(&o->out->facts, VD_FACT_WARNING, "extent_size",
                    "the header says %" PRIu64 " sectors (used), the descriptor %" PRIu64,
                    h->capacity_sectors, line->sectors);
}

static int open_hosted(struct opening *o, struct vd_err *err)
{
    struct vmdk_descriptor d = {0};
    struct vmdk_header h;
    int rc = vmdk_sparse_header(o->file, &h, &o->out->facts, err);

    if (rc)
        return rc;
    if (h.descriptor_off_sectors && h.descriptor_sectors) {
        rc = read_embedded(o->file, &h, &d, o->out, err);
        if (rc)
            return rc;
        report_descriptor(&d, o->out);
        take_kind(&d, "hosted sparse", o->out);
    } else if (h.capacity_sectors) {
        vd_fact_add(
            &o->out->facts, VD_FACT_WARNING, "descriptor",
            "the file holds no descriptor: it is one extent of a disk; other extents and a "
            "parent cannot be known, and what is not in this file reads as zeros.  Open the "
            "descriptor file if there is one");
        (void)vd_text_copy(o->out->kind, sizeof(o->out->kind), "hosted sparse extent");
    }
    if (h.capacity_sectors == 0) {
        rc = open_extents(o, &d, false, err);
    } else if (is_self(&d)) {
        if (h.descriptor_off_sectors)
            report_self(o, &d, &h);
        report_header(&h, o->out);
        rc = open_self(o, &h, err);
    } else {
        rc = open_extents(o, &d, true, err);
    }
    vmdk_descriptor_clear(&d);
    return rc;
}

static int open_text(struct opening *o, struct vd_err *err)
{
    struct vmdk_descriptor d;
    int rc = read_descriptor(o->file, 0, o->file->size, &d, o->out, err);

    if (rc)
        return rc;
    report_descriptor(&d, o->out);
    take_kind(&d, "descriptor", o->out);
    rc = open_extents(o, &d, false, err);
    vmdk_descriptor_clear(&d);
    return rc;
}

static int open_magic(struct opening *o, enum vmdk_magic magic, struct vd_err *err)
{
    switch (magic) {
    case VMDK_MAGIC_HOSTED:
        return open_hosted(o, err);
    case VMDK_MAGIC_COWD:
    case VMDK_MAGIC_SESPARSE:
        return vmdk_esx_open(o->file, magic, o->name, &o->shared, o->out, err);
    case VMDK_MAGIC_NONE:
        break;
    }
    return open_text(o, err);
}

static int vmdk_open(struct blkdev *file, const char *name, const struct blk_source *source,
                     unsigned dir, struct image *out, struct vd_err *err)
{
    struct opening o = {.file = file, .name = name, .source = source, .dir = dir, .out = out};
    struct vmdk_shared before;
    enum vmdk_magic magic;
    int rc = vmdk_file_magic(file, &magic, err);

    if (rc == 0)
        rc = shared_init(&o.shared, source->share, err);
    before = o.shared;
    if (rc == 0)
        rc = open_magic(&o, magic, err);
    shared_done(&o.shared, &before, source->share);
    made_cache_unref(o.shared.tables);
    made_cache_unref(o.shared.grains);
    return rc;
}

static int vmdk_identify(struct blkdev *file, const char *name, struct image *out,
                         struct vd_err *err)
{
    struct vmdk_descriptor d = {0};
    enum vmdk_magic magic;
    struct vmdk_header h;
    int rc = vmdk_file_magic(file, &magic, err);

    if (rc)
        return rc;
    if (magic == VMDK_MAGIC_COWD || magic == VMDK_MAGIC_SESPARSE)
        return vmdk_esx_identify(file, magic, name, out, err);
    if (magic == VMDK_MAGIC_NONE) {
        rc = read_descriptor(file, 0, file->size, &d, out, err);
    } else {
        rc = vmdk_sparse_peek(file, &h, err);
        if (rc == 0 && h.descriptor_off_sectors && h.descriptor_sectors)
            rc = read_embedded(file, &h, &d, out, err);
    }
    if (rc == 0)
        take_kind(&d, "hosted sparse extent", out);
    vmdk_descriptor_clear(&d);
    return rc;
}

const struct image_format image_format_vmdk = {
    .name = "vmdk",
    .probe = vmdk_probe,
    .open = vmdk_open,
    .identify = vmdk_identify,
};
