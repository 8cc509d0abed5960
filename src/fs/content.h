/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The content of one stream of one file, as the implementations keep it in their caches: sizes and
 * either the bytes themselves or a run table.  Immutable after building.
 */
#ifndef VD_FS_CONTENT_H
#define VD_FS_CONTENT_H

#include "fs/runs.h"

struct fs_content {
    uint64_t size;     /* bytes */
    uint64_t init;     /* bytes from here on read as zeros (NTFS initialised size, exFAT valid data
                          length); <= size */
    uint8_t *resident; /* the bytes themselves (`size` of them), or NULL: through `runs` */
    struct fs_runs runs;
    uint32_t unit; /* NTFS: bytes of a compression unit; 0 = not compressed */
    uint8_t kind;  /* enum fs_kind of the object */
};

/* Reads up to len bytes at off; *out_len is short only at the end.  Not for compressed content. */
int fs_content_read(const struct fs_content *content, struct blkdev *vol, uint64_t off, void *buf,
                    size_t len, size_t *out_len, struct vd_err *err);

/* Memory that the content holds, bytes. */
size_t fs_content_cost(const struct fs_content *content);

/* Accepts NULL; for struct fs_cache. */
void fs_content_free(void *content);

#endif
