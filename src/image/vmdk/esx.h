/* SPDX-License-Identifier: Apache-2.0 */
/* The sparse extents of ESX (COWD, seSparse): as extents of a descriptor, and opened alone. */
#ifndef VD_IMAGE_VMDK_ESX_H
#define VD_IMAGE_VMDK_ESX_H

#include "image/image.h"
#include "image/vmdk/descriptor.h"
#include "image/vmdk/tables.h"

/* What the first bytes of `file` say. */
int vmdk_file_magic(struct blkdev *file, enum vmdk_magic *out, struct vd_err *err);

/* Opens `file`, whose magic is VMDK_MAGIC_COWD or VMDK_MAGIC_SESPARSE, as extent number `extent` of
 * the disk that `descriptor` describes.  Takes over the reference to `file` on success only; what
 * the headers tell goes to `facts`.  Errors carry the file's name. */
int vmdk_esx_extent_open(struct blkdev *file, enum vmdk_magic magic,
                         const struct vmdk_descriptor *descriptor, unsigned extent,
                         struct vmdk_shared *shared, struct vd_facts *facts, struct blkdev **out,
                         struct vd_err *err);

/* Fills kind, identity and parent fields of a file that is opened without its descriptor (`name`: its
 * bare name). */
int vmdk_esx_identify(struct blkdev *file, enum vmdk_magic magic, const char *name,
                      struct image *out, struct vd_err *err);

/* As vmdk_esx_identify, and opens the layer (out->dev). */
int vmdk_esx_open(struct blkdev *file, enum vmdk_magic magic, const char *name,
                  struct vmdk_shared *shared, struct image *out, struct vd_err *err);

/* Pure: does the path of an extent line name a device of the machine that used the disk ("/dev/sda",
 * "\\.\PhysicalDrive0", "/vmfs/devices/disks/…")? */
bool vmdk_is_device_path(const char *path);

#endif
