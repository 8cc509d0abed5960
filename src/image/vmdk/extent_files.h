/* SPDX-License-Identifier: Apache-2.0 */
/* The files of extent lines: under which name, in which directory. */
#ifndef VD_IMAGE_VMDK_EXTENT_FILES_H
#define VD_IMAGE_VMDK_EXTENT_FILES_H

#include "image/vmdk/extents.h"

struct vmdk_extent_files {
    const struct vmdk_extents_in *in;
    /* The whole set was renamed with its descriptor: the extents' names now begin with this, in place
     * of `old_len` bytes.  NULL: no.  Then sizes must fit exactly. */
    char *renamed;
    size_t old_len;
};

/* Checks the names of all lines and finds out whether the set was renamed.  VD_EUNSUPPORTED: two
 * different files would have one name.  The caller clears *out. */
int vmdk_extent_files_init(const struct vmdk_extents_in *in, struct vmdk_extent_files *out,
                           struct vd_err *err);
void vmdk_extent_files_clear(struct vmdk_extent_files *files);

/* Opens the file of one line.  VD_ECHAIN: it is missing; VD_EREFUSED: a device, symbolic link, FIFO …
 * What is not as written is told.  Caller owns *out. */
int vmdk_extent_files_open(const struct vmdk_extent_files *files,
                           const struct vmdk_extent_line *line, struct blkdev **out,
                           struct vd_err *err);

#endif
