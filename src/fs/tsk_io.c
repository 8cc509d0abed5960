/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libtsk's image callbacks over a blkdev, and the error flag that makes its results trustworthy.
 *
 * libtsk 4.11.1, img_io.c: a request of up to 64 KiB first fills a cache line (offset a multiple of
 * 512, length up to 65,536); when that fails, exactly the wanted range is tried once more, at once
 * and under the same lock.  So a failed fill is only *pending*: the next call is its second try and
 * decides.  A failed read of any other form is final.  (When the wanted length is no multiple of
 * 512, a failed second try is reported to the file-system code as success with zeros: hence the
 * flag, and never the return value, decides in tsk_finish.)
 *
 * Threads: flags are per thread; libtsk calls back on the thread that called it.
 */
#include "fs/tsk_priv.h"

#include "base/range.h"

#include <stdlib.h>

struct image {
    TSK_IMG_INFO base; /* must be first: libtsk casts */
    struct blkdev *vol;
};

_Static_assert(offsetof(struct image, base) == 0, "libtsk casts struct image to TSK_IMG_INFO");

static _Thread_local struct {
    bool failed, pending;
    struct vd_err err; /* of the first failure, or of the pending one */
} io;

static ssize_t image_read(TSK_IMG_INFO *img, TSK_OFF_T off, char *buf, size_t len)
{
    struct image *image = (struct image *)img;
    bool second_try = io.pending, is_fill = off % 512 == 0 && len <= TSK_IMG_INFO_CACHE_LEN;
    struct vd_err err = VD_ERR_INIT;
    size_t n;

    io.pending = false;
    if (off < 0 || (uint64_t)off >= image->vol->size)
        return -1; /* not a fault of the medium: libtsk asked past the end */
    n = (size_t)vd_min(len, image->vol->size - (uint64_t)off);
    if (!blk_read(image->vol, (uint64_t)off, buf, n, &err))
        return (ssize_t)n;
    if (io.failed)
        return -1;
    io.err = err;
    io.pending = is_fill && !second_try;
    io.failed = !io.pending;
    return -1;
}

static void image_close(TSK_IMG_INFO *img)
{
    free(img);
}

static void image_stat(TSK_IMG_INFO *img, FILE *file)
{
    (void)img;
    (void)file;
}

int tsk_image_new(struct blkdev *vol, TSK_IMG_INFO **out, struct vd_err *err)
{
    struct image *image = calloc(1, sizeof(*image)); /* the cache lengths must be 0 */

    if (!image)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    image->vol = vol;
    if (!tsk_img_open_external(&image->base, (TSK_OFF_T)vol->size, 512, image_read, image_close,
                               image_stat)) {
        free(image);
        return vd_fail(err, VD_ENOMEM, "libtsk cannot open the volume");
    }
    *out = &image->base;
    return 0;
}

void tsk_io_begin(void)
{
    io.failed = io.pending = false;
    vd_err_clear(&io.err);
    tsk_error_reset();
}

static enum vd_class class_of(uint32_t tsk_errno)
{
    switch (tsk_errno) {
    case TSK_ERR_AUX_MALLOC:
        return VD_ENOMEM;
    case TSK_ERR_FS_UNSUPFUNC:
    case TSK_ERR_FS_UNSUPTYPE:
    case TSK_ERR_FS_ENCRYPTED:
        return VD_EUNSUPPORTED;
    case TSK_ERR_FS_WALK_RNG:
    case TSK_ERR_FS_INODE_NUM:
        return VD_ENOENT;
    default:
        return VD_ECORRUPT;
    }
}

int tsk_finish(bool failed, const char *doing, struct vd_err *err)
{
    const char *text;
    int rc = 0;

    if (io.failed || io.pending) {
        if (err)
            *err = io.err;
        rc = vd_prefix(err, -(int)io.err.cls, "%s", doing);
    } else if (failed) {
        text = tsk_error_get();
        rc = vd_fail(err, class_of(tsk_error_get_errno()), "%s: libtsk: %s", doing,
                     text ? text : "no reason given");
    }
    io.failed = io.pending = false;
    tsk_error_reset();
    return rc;
}
