/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Split VHD ("Splitting Hard Disk Images" of the 2006 specification): "The split files do not have any
 * headers or footers, just raw data.  The last split file has the footer stored at the end of the file.
 * The first file in the split disk image has an extension of .vhd.  The following split files use the
 * .v01, .v02, … filename extension", all in one directory, at most 64 of them.  So the image is the
 * parts, one after the other.  Where it was cut is not written down anywhere.
 *
 * A wrong part would shift all that follows.  Therefore the last part must end in this image's own
 * footer, no part may be missing, and the whole must have exactly the length that the allocation table
 * (vhd_sparse_new) or the size of a fixed disk (vhd.c) speaks of.  No state; any thread.
 */
#include "split.h"

#include "base/cleanup.h"
#include "base/limits.h"
#include "blk/layers.h"
#include "vhd.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define ENDING 4 /* ".vhd", ".v01" */

/* NAME.vNN of NAME.vhd, with the case of its 'v'; false when `name` is not of that form. */
static bool part_name(const char *name, unsigned number, char out[VHD_SPLIT_NAME])
{
    size_t len = strlen(name);

    if (len <= ENDING || len >= VHD_SPLIT_NAME || strcasecmp(name + len - ENDING, ".vhd") != 0)
        return false;
    memcpy(out, name, len + 1);
    (void)snprintf(out + len - 2, 3, "%02u", number % 100);
    return true;
}

/* Opens part `number`.  VD_ENOENT: it is not there. */
static int open_part(const struct blk_source *source, unsigned dir, const char *name,
                     unsigned number, struct blkdev **out, struct vd_err *err)
{
    char part[VHD_SPLIT_NAME];

    if (!part_name(name, number, part))
        return vd_fail(err, VD_ENOENT, "not the first part of a split image");
    return source->open(source->ctx, dir, part, out, err);
}

bool vhd_split_is_first(const struct blk_source *source, unsigned dir, const char *name)
{
    VD_AUTO(blk) struct blkdev *part = NULL;

    return source && open_part(source, dir, name, 1, &part, NULL) == 0;
}

bool vhd_split_named_later(const char *name)
{
    size_t len = strlen(name);
    const char *p = name + len - ENDING;

    return len > ENDING && p[0] == '.' && tolower((unsigned char)p[1]) == 'v' &&
           isdigit((unsigned char)p[2]) && isdigit((unsigned char)p[3]);
}

bool vhd_split_is_later(const struct blk_source *source, unsigned dir, const char *name,
                        char out_first[VHD_SPLIT_NAME])
{
    VD_AUTO(blk) struct blkdev *first = NULL;
    size_t len = strlen(name);

    if (!source || !vhd_split_named_later(name) || len >= VHD_SPLIT_NAME)
        return false;
    memcpy(out_first, name, len + 1);
    memcpy(out_first + len - 2, isupper((unsigned char)name[len - 3]) ? "HD" : "hd", 2);
    return source->open(source->ctx, dir, out_first, &first, NULL) == 0;
}

/* ---- joining ---- */

struct parts {
    struct blk_part v[VHD_SPLIT_MAX + 1]; /* references owned */
    unsigned n;
    uint64_t size;
};

static void parts_clear(struct parts *parts)
{
    unsigned i;

    for (i = 0; i < parts->n; i++)
        blk_unref(parts->v[i].dev);
}

/* Takes over the reference in every case. */
static int add_part(struct parts *parts, struct blkdev *dev, struct vd_err *err)
{
    struct blk_part *part = &parts->v[parts->n++];

    *part = (struct blk_part){.dev = dev, .size = dev->size};
    if (dev->size == 0)
        return vd_fail(err, VD_ECORRUPT, "split image: part %u (%s) is empty", parts->n - 1,
                       dev->label);
    if (dev->size > VD_MAX_SIZE - parts->size)
        return vd_fail(err, VD_ELIMIT, "split image: its parts are too large");
    parts->size += dev->size;
    return 0;
}

/* The footer at the end of `dev`, of 512 or 511 bytes. */
static bool footer_at_end(struct blkdev *dev, struct vhd_footer *out)
{
    uint8_t tail[VHD_FOOTER_SIZE];

    if (dev->size < sizeof(tail) ||
        blk_read(dev, dev->size - sizeof(tail), tail, sizeof(tail), NULL))
        return false;
    return vhd_footer_decode(tail, sizeof(tail), out, NULL) == 0 ||
           vhd_footer_decode(tail + 1, VHD_FOOTER_SHORT, out, NULL) == 0;
}

/* Is that the footer of the image whose first part is `first`?  With an allocation table there is a
 * copy at the start; in a fixed disk its size must be that of everything before it. */
static bool ends_image(struct blkdev *first, const struct vhd_footer *end, uint64_t data_len)
{
    uint8_t head[VHD_FOOTER_SIZE];
    struct vhd_footer front;
    bool from_geometry;

    if (end->disk_type == VHD_FIXED)
        return end->checksum_ok &&
               (vhd_disk_size(end, &from_geometry) == data_len || end->current_size == data_len);
    if (first->size < sizeof(head) || blk_read(first, 0, head, sizeof(head), NULL) ||
        vhd_footer_decode(head, sizeof(head), &front, NULL))
        return end->checksum_ok;
    return front.disk_type == end->disk_type &&
           memcmp(front.uuid, end->uuid, sizeof(front.uuid)) == 0;
}

/* Opens the parts one after the other up to the one that ends the image. */
static int collect(struct blkdev *file, const char *name, const struct blk_source *source,
                   unsigned dir, struct parts *parts, struct vd_err *err)
{
    char last[VHD_SPLIT_NAME] = "", next[VHD_SPLIT_NAME] = "";
    struct vhd_footer end;
    unsigned i;
    int rc = add_part(parts, blk_ref(file), err);

    for (i = 1; rc == 0 && i <= VHD_SPLIT_MAX; i++) {
        struct blkdev *dev = NULL;

        rc = open_part(source, dir, name, i, &dev, err);
        if (rc == -VD_ENOENT)
            break;
        if (rc)
            return vd_prefix(err, rc, "split image: part %u", i);
        rc = add_part(parts, dev, err);
        if (rc == 0 && footer_at_end(dev, &end) &&
            (ends_image(file, &end, parts->size - VHD_FOOTER_SIZE) ||
             ends_image(file, &end, parts->size - VHD_FOOTER_SHORT)))
            return 0;
    }
    if (rc && rc != -VD_ENOENT)
        return rc;
    (void)part_name(name, i - 1, last);
    (void)part_name(name, i, next);
    return vd_fail(
        err, VD_ECORRUPT,
        "split image: the footer that ends it is in none of its %u files up to %s: %s is "
        "missing, or a part is damaged, cut, or of another image",
        parts->n, last, next);
}

static void report(const struct parts *parts, const char *name, const struct blk_source *source,
                   unsigned dir, struct vd_facts *facts)
{
    VD_AUTO(blk) struct blkdev *more = NULL;
    char part[VHD_SPLIT_NAME] = "";
    unsigned i;

    (void)part_name(name, parts->n - 1, part);
    vd_fact_add(facts, VD_FACT_INFO, "split", "%u files up to %s, %" PRIu64 " bytes", parts->n,
                part, parts->size);
    for (i = 1; i + 1 < parts->n; i++)
        if (parts->v[i].size != parts->v[0].size) {
            vd_fact_add(facts, VD_FACT_WARNING, "split",
                        "the parts are not of one size (part 0: %" PRIu64
                        " bytes, part %u: %" PRIu64 " bytes)",
                        parts->v[0].size, i, parts->v[i].size);
            break;
        }
    if (open_part(source, dir, name, parts->n, &more, NULL) == 0)
        vd_fact_add(facts, VD_FACT_WARNING, "split",
                    "%s lies beside the image, but the image ends before it: it is not used",
                    more->label);
}

int vhd_split_join(struct blkdev *file, const char *name, const struct blk_source *source,
                   unsigned dir, struct blkdev **out, struct vd_facts *facts, struct vd_err *err)
{
    struct parts parts = {.n = 0};
    struct vhd_footer end;
    int rc;

    if (!vhd_split_is_first(source, dir, name))
        return 0;
    if (footer_at_end(file, &end) && end.checksum_ok) {
        vd_fact_add(facts, VD_FACT_WARNING, "split",
                    "a file named like a second part (.v01) lies beside the image, which ends in a "
                    "footer of its own: it is not used");
        return 0;
    }
    rc = collect(file, name, source, dir, &parts, err);
    if (rc == 0)
        rc = blk_concat_new(parts.v, parts.n, "", out, err);
    if (rc)
        parts_clear(&parts);
    else
        report(&parts, name, source, dir, facts);
    return rc;
}
