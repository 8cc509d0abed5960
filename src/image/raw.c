/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Raw: the file is the disk.  It has no mark, no identity and no parent; it takes what no other
 * format claims.  Because of that it says aloud when the name suggests that the file is only a
 * part of something: an extent of a VMDK, or the first piece of a split image.
 */
#include "image/image.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static enum image_probe raw_probe(const struct image_window *window)
{
    (void)window;
    return IMAGE_YES;
}

static bool ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);

    return n > m && strcasecmp(name + n - m, end) == 0;
}

/* "-f001.vmdk" and the like: an extent of a split flat disk. */
static bool is_numbered_extent(const char *name)
{
    size_t n = strlen(name);

    return n > 10 && ends_with(name, ".vmdk") && isdigit((unsigned char)name[n - 6]) &&
           isdigit((unsigned char)name[n - 7]) && isdigit((unsigned char)name[n - 8]) &&
           tolower((unsigned char)name[n - 9]) == 'f' && name[n - 10] == '-';
}

/* Is there a "name.002" beside "name.001"? */
static bool has_second_piece(const struct blk_source *source, unsigned dir, const char *name)
{
    VD_AUTO(blk) struct blkdev *next = NULL;
    char second[256];
    size_t n = strlen(name);

    if (!ends_with(name, ".001") || n >= sizeof(second))
        return false;
    memcpy(second, name, n + 1);
    second[n - 1] = '2';
    return source->open(source->ctx, dir, second, &next, NULL) == 0;
}

static int raw_open(struct blkdev *file, const char *name, const struct blk_source *source,
                    unsigned dir, struct image *out, struct vd_err *err)
{
    if (file->size == 0)
        return vd_fail(err, VD_ENOTFORMAT, "%s: the file is empty", name);
    out->dev = blk_ref(file);
    (void)vd_text_copy(out->kind, sizeof(out->kind), "raw");
    if (file->size % 512)
        vd_fact_add(&out->facts, VD_FACT_WARNING, "size",
                    "the size of %" PRIu64
                    " bytes is not a multiple of 512: the last sector is cut",
                    file->size);
    if (ends_with(name, "-flat.vmdk") || is_numbered_extent(name))
        vd_fact_add(&out->facts, VD_FACT_WARNING, "extent",
                    "the name is that of an extent of a VMDK: open the descriptor file to see the "
                    "whole disk and its snapshots");
    if (has_second_piece(source, dir, name))
        vd_fact_add(&out->facts, VD_FACT_WARNING, "split",
                    "the next piece (.002) lies beside the file: this is only the first part of a "
                    "split image");
    return 0;
}

const struct image_format image_format_raw = {
    .name = "raw",
    .probe = raw_probe,
    .open = raw_open,
};
