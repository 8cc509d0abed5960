/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VHD file from bytes: identify, open, map, read, check.  The first byte is a set of flags, the rest
 * the file: 1 = put right checksums into the footer at the end, 2 = into its copy at the start, 4 = into
 * the dynamic header at 512, 8 = cut the file into three of a split image.
 */
#include "../../evil/vhd/build.h"
#include "walk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- a split image ---- */

struct cut {
    const uint8_t *bytes;
    size_t len;
};

/* Part "x.vhd", "x.v01" or "x.v02". */
static int part_open(void *ctx, unsigned dir, const char *name, struct blkdev **out,
                     struct vd_err *err)
{
    static const char *const names[] = {"x.vhd", "x.v01", "x.v02"};
    const struct cut *cut = ctx;
    size_t third = cut->len / 3, i;

    (void)dir;
    for (i = 0; i < 3; i++)
        if (strcmp(name, names[i]) == 0)
            return dev_over(cut->bytes + i * third, i < 2 ? third : cut->len - 2 * third, out, err);
    return vd_fail(err, VD_ENOENT, "%s: no such file", name);
}

static int open_cut(const uint8_t *bytes, size_t len, struct image *out, struct vd_err *err)
{
    struct cut cut = {bytes, len};
    struct blk_source source = {.open = part_open, .n_dirs = 1, .ctx = &cut};
    struct blkdev *first = NULL;
    int rc = part_open(&cut, 0, "x.vhd", &first, err);

    memset(out, 0, sizeof(*out));
    if (rc == 0)
        rc = image_format_vhd.open(first, "x.vhd", &source, 0, out, err);
    blk_unref(first);
    return rc;
}

static void identify(const uint8_t *bytes, size_t len)
{
    struct image image = {0};
    struct blkdev *file = NULL;

    if (dev_over(bytes, len, &file, NULL) == 0)
        (void)image_format_vhd.identify(file, "x.vhd", &image, NULL);
    close_image(&image);
    blk_unref(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vd_err err = VD_ERR_INIT;
    struct image image;
    uint8_t *file;
    int rc;

    if (size < 1 || size > 1 << 16)
        return 0;
    file = malloc(size);
    if (!file)
        return 0;
    memcpy(file, data + 1, --size);
    if ((data[0] & 1) && size >= 512)
        vhd_seal_footer(file + size - 512, 512);
    if ((data[0] & 2) && size >= 512)
        vhd_seal_footer(file, 512);
    if ((data[0] & 4) && size >= 1536)
        vhd_seal_header(file + 512);
    identify(file, size);
    if (data[0] & 8)
        rc = open_cut(file, size, &image, &err);
    else
        rc = open_bytes(&image_format_vhd, file, size, &image, &err);
    if (rc == 0)
        ask(&image);
    else if (!err.msg[0])
        abort();
    close_image(&image);
    free(file);
    return 0;
}
