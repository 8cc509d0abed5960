/* SPDX-License-Identifier: Apache-2.0 */
/* The extents of a descriptor, opened and put one after the other. */
#ifndef VD_IMAGE_VMDK_EXTENTS_H
#define VD_IMAGE_VMDK_EXTENTS_H

#include "blk/evidence.h"
#include "image/vmdk/descriptor.h"
#include "image/vmdk/sparse.h"

struct vmdk_extents_in {
    const struct vmdk_descriptor *descriptor; /* at least one extent */
    const struct blk_source *source;
    unsigned dir;        /* looked in first */
    const char *name;    /* bare name of the file that holds the descriptor */
    struct blkdev *file; /* that file (borrowed), if it is itself a sparse extent; or NULL */
    struct vmdk_shared *shared;
    struct vd_facts *facts;
};

/* Opens every extent and gives the disk without parents.  Caller owns *out.  VD_ECHAIN: an extent
 * file is missing; VD_EREFUSED: it is a symbolic link, FIFO …, or a device of the machine that
 * used the disk; VD_EUNSUPPORTED: a file that has to be repaired first (dirty seSparse); every message
 * names extent and file. */
int vmdk_extents_open(const struct vmdk_extents_in *in, struct blkdev **out, struct vd_err *err);

#endif
