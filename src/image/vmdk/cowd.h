/* SPDX-License-Identifier: Apache-2.0 */
/*
 * COWD: the sparse extents of ESX ("vmfsSparse"), and the redo logs of ESX 2.  VMware Virtual Disk
 * Format 5.0, "ESXi Host Sparse Extents", struct COWDisk_Header.  All numbers have 32 bits, little-endian,
 * places and lengths in sectors of 512 bytes.  Tables have 4,096 entries, always.
 */
#ifndef VD_IMAGE_VMDK_COWD_H
#define VD_IMAGE_VMDK_COWD_H

#include "image/vmdk/tables.h"

#define VMDK_COWD_HEADER_SIZE 2048u
#define VMDK_COWD_GT_ENTRIES  4096u
#define VMDK_COWD_PARENT_MAX  1024u
#define VMDK_COWD_NAME_MAX    60u

/* flags; the specification says "set to 3", VMware's tools name the bits */
#define VMDK_COWD_FLAG_ROOT         0x1u /* the disk itself, not a child */
#define VMDK_COWD_FLAG_CHECKABLE    0x2u
#define VMDK_COWD_FLAG_INCONSISTENT 0x4u
#define VMDK_COWD_FLAGS_KNOWN                                                                      \
    (VMDK_COWD_FLAG_ROOT | VMDK_COWD_FLAG_CHECKABLE | VMDK_COWD_FLAG_INCONSISTENT)

struct vmdk_cowd_header {
    uint32_t version, flags;
    uint32_t capacity_sectors;
    uint32_t grain_sectors;
    uint32_t gd_off_sectors;
    uint32_t gd_entries;
    uint32_t free_sector; /* the next one that a writer would take */
    /* The union at offset 32: a child names its parent there, a root its geometry.  Since flags are
     * 3 in children too (libyal: "recent delta files do not set the parent's name"), bytes that
     * are text decide for a child: as geometry they would be 538 million cylinders or more. */
    bool is_child;
    char parent_name[VMDK_COWD_PARENT_MAX + 1]; /* child; as written, "" when empty */
    uint32_t parent_generation;                 /* child */
    uint32_t cylinders, heads, sectors;         /* root */
    uint32_t generation, saved_generation;
    char name[VMDK_COWD_NAME_MAX + 1]; /* as written */
    uint32_t unclean_shutdown;
};

/* Pure.  Needs VMDK_COWD_HEADER_SIZE bytes that begin with "COWD"; else VD_ECORRUPT. */
int vmdk_cowd_decode(const uint8_t *bytes, size_t len, struct vmdk_cowd_header *out,
                     struct vd_err *err);

/* The rules a header must keep before anything is computed from it: version, capacity, grain size,
 * place of the directory.  VD_ECORRUPT, VD_EUNSUPPORTED or VD_ELIMIT with the field's name. */
int vmdk_cowd_validate(const struct vmdk_cowd_header *h, struct vd_err *err);

/* Reads, decodes and validates the header of `file`, and that the directory covers the disk and lies
 * inside the file; facts and warnings go to `facts`.  Errors carry the file's name. */
int vmdk_cowd_header(struct blkdev *file, struct vmdk_cowd_header *out, struct vd_facts *facts,
                     struct vd_err *err);

/* Opens the extent: `h` from vmdk_cowd_header.  Takes over the reference to `file` on success only;
 * `extent` is the number of the extent in its image.  The layer is that of hosted sparse extents, see
 * vmdk_sparse_new. */
int vmdk_cowd_new(struct blkdev *file, const struct vmdk_cowd_header *h, unsigned extent,
                  struct vmdk_shared *shared, struct blkdev **out, struct vd_err *err);

#endif
