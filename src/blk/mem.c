/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes in memory as a device: tests, fuzzing, structures that were replayed.  Immutable. */
#include "blk/layers.h"

#include <stdlib.h>
#include <string.h>

static int mem_read_at(struct blkdev *dev, uint64_t off, void *buf, size_t len, struct vd_err *err)
{
    (void)err;
    memcpy(buf, (const uint8_t *)dev->priv + off, len);
    return 0;
}

static void mem_close(struct blkdev *dev)
{
    free(dev->priv);
}

static const struct blk_type mem_type = {
    .name = "memory",
    .read_at = mem_read_at,
    .close = mem_close,
};

int blk_mem_new(const void *bytes, size_t len, const char *label, struct blkdev **out,
                struct vd_err *err)
{
    void *copy = malloc(len ? len : 1);
    int rc;

    if (!copy)
        return vd_fail(err, VD_ENOMEM, "%s: out of memory", label);
    if (len)
        memcpy(copy, bytes, len);
    rc = blk_new(&mem_type, len, label, copy, out, err);
    if (rc)
        free(copy);
    return rc;
}
