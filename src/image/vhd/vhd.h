/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VHD (Microsoft, Virtual Hard Disk Image Format Specification, version 1.0, 2006).  All numbers on
 * disk are big-endian.  Internal to src/image/vhd.
 *
 *     fixed      data of the disk | footer
 *     dynamic    copy of the footer | header | block allocation table | blocks | footer
 *     differencing   as dynamic, and names of the parent
 *     block      sector bitmap (padded to 512 bytes) | data
 */
#ifndef VD_IMAGE_VHD_H
#define VD_IMAGE_VHD_H

#include "base/facts.h"
#include "blk/blkdev.h"
#include "blk/evidence.h"
#include "image/image.h"

#define VHD_SECTOR      512u
#define VHD_FOOTER_SIZE 512u
/* Virtual PC before 2004 left out the last byte. */
#define VHD_FOOTER_SHORT 511u
#define VHD_HEADER_SIZE  1024u
#define VHD_BAT_UNUSED   UINT32_MAX

/* Largest block taken: the specification names no bound, producers use 512 KiB to 2 MiB, VHDX
 * stops at 256 MiB.  Its sector bitmap is 64 KiB. */
#define VHD_MAX_BLOCK (256u << 20)

/* The largest geometry that the format can say; such disks are as large as `current_size`. */
#define VHD_CHS_MAX_SECTORS (UINT64_C(65535) * 16 * 255)

enum vhd_type { VHD_FIXED = 2, VHD_DYNAMIC = 3, VHD_DIFFERENCING = 4 };

struct vhd_footer {
    uint32_t features, version;
    uint64_t data_offset; /* of the dynamic header, bytes */
    uint32_t timestamp;   /* seconds since 2000-01-01 00:00 UTC */
    char creator_app[5];  /* NUL-terminated */
    uint32_t creator_version;
    char creator_os[5];
    uint64_t original_size, current_size; /* bytes */
    uint32_t cylinders, heads, sectors;
    uint32_t disk_type;
    uint8_t uuid[16];
    uint8_t saved_state;
    bool checksum_ok;
};

struct vhd_locator {
    uint32_t platform, space, length;
    uint64_t offset;
};

struct vhd_header {
    uint64_t table_offset; /* bytes */
    uint32_t version, max_entries, block_size;
    uint64_t data_offset; /* of a next structure: there is none */
    uint8_t parent_uuid[16];
    uint32_t parent_timestamp;
    uint8_t parent_name[512]; /* UTF-16BE */
    struct vhd_locator locator[8];
    bool checksum_ok;
};

/* Decodes a footer of `len` bytes (512 or 511).  VD_ENOTFORMAT: the cookie is not there.  A wrong
 * checksum is told in the struct: the caller knows what other copies there are.  Pure. */
int vhd_footer_decode(const uint8_t *bytes, size_t len, struct vhd_footer *out, struct vd_err *err);

/* Version, type and sizes that can be read.  Pure. */
int vhd_footer_validate(const struct vhd_footer *footer, struct vd_err *err);

/* Decodes the dynamic disk header (1,024 bytes).  VD_ECORRUPT: no cookie.  Pure. */
int vhd_header_decode(const uint8_t *bytes, size_t len, struct vhd_header *out, struct vd_err *err);

/* Checks the header of a dynamic or differencing disk of `disk_size` bytes in a file of `file_size` bytes.  Pure.
 */
int vhd_header_validate(const struct vhd_header *header, uint64_t disk_size, uint64_t file_size,
                        struct vd_err *err);

/* Size of the disk, bytes: from the geometry or from `current_size`, by who made the file. */
uint64_t vhd_disk_size(const struct vhd_footer *footer, bool *out_from_geometry);

/* "01234567-89ab-cdef-0123-456789abcdef"; VHD stores UUIDs in this order.  out: 37 bytes. */
void vhd_uuid_text(const uint8_t uuid[16], char out[37]);

/* "2004-05-06T07:08:09Z".  out: 32 bytes. */
void vhd_time_text(uint32_t timestamp, char out[32]);

/* Which copy of the footer was taken. */
struct vhd_found {
    struct vhd_footer footer;
    uint64_t data_end; /* bytes of the file that belong to the disk's blocks end here */
    bool from_tail;
};

/* Chooses the footer: the one at the end, or its copy at the start; what was wrong becomes a
 * warning.  `head` and `tail` are the first and last 512 bytes of the file.  VD_ENOTFORMAT: no
 * footer at all; VD_ECORRUPT: none that can be trusted.  `facts` may be NULL.  Pure. */
int vhd_footer_choose(const uint8_t head[VHD_FOOTER_SIZE], const uint8_t tail[VHD_FOOTER_SIZE],
                      uint64_t file_size, struct vhd_found *out, struct vd_facts *facts,
                      struct vd_err *err);

/* The disk of a fixed image: the first `disk_size` bytes of `file`; bytes from `data_end` on are
 * unreadable.  Takes a reference of its own to `file`; `name` is the file's, for messages. */
int vhd_fixed_new(struct blkdev *file, uint64_t data_end, uint64_t disk_size, const char *name,
                  struct blkdev **out, struct vd_err *err);

/* What the disk of a dynamic or differencing image is made with. */
struct vhd_sparse {
    uint64_t disk_size;
    bool joined; /* `file` is made of the parts of a split image: they must fit exactly */
    struct blk_share *share; /* may be NULL */
};

/* The disk of a dynamic or differencing image (found->footer.disk_type).  `header` must have passed
 * vhd_header_validate.  Looks once over the allocation table for blocks that share bytes or lie outside
 * the file, and over some sector bitmaps, and reports to `facts`.  Takes a reference of its own to
 * `file`. */
int vhd_sparse_new(struct blkdev *file, const struct vhd_found *found,
                   const struct vhd_header *header, const struct vhd_sparse *how, const char *name,
                   struct blkdev **out, struct vd_facts *facts, struct vd_err *err);

/* ---- parent.c ---- */

/* What the header of a differencing disk says of its parent: identity, time, names.  Fills the parent
 * fields of *out and reports to its facts; a locator that cannot be used is a warning, the others
 * count.  Fails with VD_ENOMEM only. */
int vhd_parent_take(struct blkdev *file, const struct vhd_found *found,
                    const struct vhd_header *header, struct image *out, struct vd_err *err);

/* Bytes of the file that a locator's data takes.  The field says sectors or bytes, by who wrote it. */
uint64_t vhd_locator_space(const struct vhd_locator *locator);

/* The text of locator data (or of the header's name field: platform 0) as UTF-8 up to the first NUL;
 * half surrogate pairs stay as three bytes that are no UTF-8, as in a file name on such a disk.
 * *out_strict: there were none.  False: no text (unknown platform, no bytes).  Pure. */
bool vhd_locator_text(uint32_t platform, const uint8_t *bytes, size_t len, char *dst, size_t size,
                      bool *out_strict);

/* Word for a platform code: "W2ru", "MacX" …; NULL when it is not known. */
const char *vhd_platform_name(uint32_t platform);

/* Seconds since 1970-01-01 UTC of a time stamp. */
int64_t vhd_time_unix(uint32_t timestamp);

#endif
