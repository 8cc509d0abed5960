/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole stack from memory: probes, formats, tables, grains; then reading and mapping the device
 * must agree, and the structural check must come to an end.  The directory is empty but for the file
 * itself, so extents can name it.
 */
#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/range.h"
#include "blk/layers.h"
#include "image/image.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define READ_MAX (4u << 20) /* bytes read of one device */
#define RUNS_MAX 2000       /* runs looked at */

static int open_self(void *ctx, unsigned dir, const char *name, struct blkdev **out,
                     struct vd_err *err)
{
    (void)dir;
    if (strcmp(name, "x.vmdk") != 0)
        return vd_fail(err, VD_ENOENT, "%s: no such file", name);
    *out = blk_ref(ctx);
    return 0;
}

static int list_self(void *ctx, unsigned dir, int (*fn)(void *fn_ctx, const char *name),
                     void *fn_ctx, struct vd_err *err)
{
    (void)ctx;
    (void)dir;
    (void)err;
    (void)fn(fn_ctx, "x.vmdk");
    return 0;
}

/* What the map says of a run and what reading it gives must be one story. */
static void read_run(struct blkdev *dev, uint64_t off, const struct blk_extent *ext, uint8_t *buf,
                     size_t n)
{
    int rc = blk_read(dev, off, buf, n, NULL);

    if (ext->status == BLK_UNREADABLE && rc == 0)
        abort();
    if (ext->status == BLK_ZEROS || ext->status == BLK_ABSENT)
        if (rc || !vd_all_zero(buf, n))
            abort();
    if (ext->status == BLK_DATA && ext->child && rc && strcmp(ext->child->type->name, "mem") == 0)
        abort(); /* plain bytes in memory can always be read */
}

static void walk(struct blkdev *dev)
{
    uint8_t *buf = malloc(65536);
    uint64_t off = 0, read = 0;
    struct blk_extent ext;
    int i;

    for (i = 0; buf && i < RUNS_MAX && off < dev->size && read < READ_MAX; i++) {
        size_t n;

        if (blk_map(dev, off, UINT64_MAX, &ext, NULL))
            break;
        n = (size_t)vd_min(ext.len, 65536);
        read_run(dev, off, &ext, buf, n);
        if (ext.len > n) /* its end, too */
            read_run(dev, off + ext.len - n, &ext, buf, n);
        read += 2 * n;
        off += ext.len;
    }
    if (buf && dev->size)
        (void)blk_read(dev, dev->size - 1, buf, 1, NULL);
    free(buf);
}

static void ignore_fact(void *ctx, const char *layer, enum vd_fact_kind kind, const char *key,
                        const char *value)
{
    (void)ctx;
    (void)kind;
    if (!layer || !key || !value)
        abort();
}

static void ignore_finding(void *ctx, enum check_level level, const char *id, const char *file,
                           const struct check_place *place, const char *text)
{
    (void)ctx;
    (void)level;
    (void)place;
    if (!id || !file || !text)
        abort();
}

static void ignore_count(void *ctx, const char *file, const char *what, uint64_t n)
{
    (void)ctx;
    (void)n;
    if (!file || !what)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct check check = {ignore_finding, ignore_count, NULL};
    struct blkdev *file = NULL;
    struct image *image = NULL;
    struct blk_source source = {.open = open_self, .list = list_self, .n_dirs = 1};
    struct vd_err err = VD_ERR_INIT;

    if (blk_mem_new(data, size, "x.vmdk", &file, NULL))
        return 0;
    source.ctx = file;
    if (image_open_file(file, &source, 0, "x.vmdk", &image, &err) == 0) {
        walk(image->dev);
        blk_describe(image->dev, ignore_fact, NULL);
        (void)blk_check(image->dev, &check, NULL);
        image_free(image);
    }
    if (image_identify(&source, 0, "x.vmdk", &image, &err) == 0)
        image_free(image);
    blk_unref(file);
    return 0;
}
