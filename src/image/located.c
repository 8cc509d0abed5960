/* SPDX-License-Identifier: Apache-2.0 */
/* The read loop over a format's mapping function.  See located.h.  No state. */
#include "image/located.h"

#include "image/named.h"

#include <string.h>

/* A failure below names a position of the file; ours is the one to report. */
static int to_own_offset(const struct blk_extent *ext, uint64_t off, int rc, struct vd_err *err)
{
    if (err->has_offset && err->offset >= ext->child_off && err->offset - ext->child_off < ext->len)
        return vd_at(err, rc, off + (err->offset - ext->child_off));
    return vd_at(err, rc, off);
}

int image_read_located(struct blkdev *dev, image_locate_fn *locate, const char *name, uint64_t off,
                       void *buf, size_t len, struct vd_err *err)
{
    struct vd_err local = VD_ERR_INIT;
    uint8_t *p = buf;

    if (!err)
        err = &local;
    while (len) {
        struct blk_extent ext;
        size_t n;
        int rc = locate(dev, off, len, &ext, err);

        if (rc)
            return vd_at(err, image_named(err, rc, name), off);
        if (ext.status == BLK_UNREADABLE)
            return vd_at(err, image_named(err, -(int)err->cls, name), off);
        n = (size_t)ext.len;
        if (ext.status == BLK_ZEROS || ext.status == BLK_ABSENT)
            memset(p, 0, n);
        else
            rc = blk_read(ext.child, ext.child_off, p, n, err);
        if (rc)
            return to_own_offset(&ext, off, rc, err);
        p += n;
        off += n;
        len -= n;
    }
    return 0;
}
