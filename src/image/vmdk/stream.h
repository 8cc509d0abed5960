/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream-optimized extent whose footer is lost: its grains are found by going from marker to
 * marker.  VMware Virtual Disk Format 5.0, "Stream-Optimized Compressed Sparse Extents".
 *
 * A grain that is found is known: its marker carries its address.  A grain that is not found is absent
 * only if a grain table or the grain directory that was met says so and agrees with everything found;
 * otherwise the lost part may have held it, and it is unreadable.
 */
#ifndef VD_IMAGE_VMDK_STREAM_H
#define VD_IMAGE_VMDK_STREAM_H

#include "image/vmdk/tables.h"

struct vmdk_stream;

/* What was found; for the examiner and for the caller's choice. */
struct vmdk_stream_found {
    uint64_t start, end; /* bytes of the file that were gone through */
    uint64_t n_grains;
    uint64_t n_unclear;  /* grains that two places claim */
    uint64_t n_tables;   /* grain tables met … */
    uint64_t n_proved;   /* … and those that prove what is absent from their span */
    uint64_t gd_sectors; /* not 0: a whole directory was met that agrees with all of this */
    char why[192];       /* why the end is the end */
};

/* Goes through the stream of `file` (borrowed for the call only).  The header says where it begins;
 * `g` is its geometry.  Damage, unreadable sectors and a cut end the walk and are no failure.
 * VD_ELIMIT: a disk whose grains cannot be numbered here; VD_ENOMEM.  The caller frees *out. */
int vmdk_stream_walk(struct blkdev *file, const struct vmdk_header *h,
                     const struct vmdk_geometry *g, struct vmdk_stream **out, struct vd_err *err);

void vmdk_stream_free(struct vmdk_stream *s);

const struct vmdk_stream_found *vmdk_stream_found(const struct vmdk_stream *s);

/* Fills table number `table` with its `n` entries (vmdk_table_entries()): sectors of grains, 0 where a
 * grain is proved absent, VMDK_GTE_LOST and VMDK_GTE_TWICE. */
void vmdk_stream_table(const struct vmdk_stream *s, uint64_t table, uint32_t *out, uint32_t n);

#endif
