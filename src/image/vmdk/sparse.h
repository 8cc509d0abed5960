/* SPDX-License-Identifier: Apache-2.0 */
/* The layer of one hosted sparse extent, stream-optimized ones included. */
#ifndef VD_IMAGE_VMDK_SPARSE_H
#define VD_IMAGE_VMDK_SPARSE_H

#include "image/vmdk/tables.h"

/* Reads the header of `file` and, where it says so, the footer whose grain directory counts;
 * checks both.  A stream with markers whose footer is lost or wrong is accepted and keeps
 * VMDK_GD_AT_END: vmdk_sparse_new follows the markers.  Warnings go to `facts`.  VD_ECORRUPT (files
 * of another kind, too), VD_EUNSUPPORTED, VD_ELIMIT.  A capacity of 0 (descriptor only) is accepted and
 * not checked further. */
int vmdk_sparse_header(struct blkdev *file, struct vmdk_header *out, struct vd_facts *facts,
                       struct vd_err *err);

/* The header alone, without looking for a footer: who a file is does not depend on it. */
int vmdk_sparse_peek(struct blkdev *file, struct vmdk_header *out, struct vd_err *err);

/* Opens the extent: `h` from vmdk_sparse_header, capacity > 0.  Takes over the reference to `file`
 * on success only.  `extent` is the number of the extent in its image.  Positions whose table or
 * grain cannot be right are BLK_UNREADABLE (reads: VD_ECORRUPT, exactly those bytes). */
int vmdk_sparse_new(struct blkdev *file, const struct vmdk_header *h, unsigned extent,
                    struct vmdk_shared *shared, struct blkdev **out, struct vd_err *err);

/* As vmdk_sparse_new, with a geometry that the caller made out of `h` (COWD files have other places
 * where no grain can lie). */
int vmdk_sparse_new_geometry(struct blkdev *file, const struct vmdk_geometry *g,
                             const struct vmdk_header *h, unsigned extent,
                             struct vmdk_shared *shared, struct blkdev **out, struct vd_err *err);

#endif
