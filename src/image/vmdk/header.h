/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The header of a hosted sparse extent ("KDMV") and the markers of a stream-optimized one.
 * VMware Virtual Disk Format 5.0, "Hosted Sparse Extents" and "Stream-Optimized Compressed
 * Sparse Extents".  All numbers little-endian; lengths and places in sectors of 512 bytes.
 */
#ifndef VD_IMAGE_VMDK_HEADER_H
#define VD_IMAGE_VMDK_HEADER_H

#include "base/err.h"
#include "base/facts.h"

#define VMDK_SECTOR      512u
#define VMDK_HEADER_SIZE 512u
#define VMDK_GD_AT_END   UINT64_MAX

/* flags */
#define VMDK_FLAG_NEWLINE    0x00000001u /* the end-of-line test bytes are valid */
#define VMDK_FLAG_REDUNDANT  0x00000002u /* the redundant grain directory is kept up */
#define VMDK_FLAG_ZERO_GRAIN 0x00000004u /* a grain table entry of 1 is a zeroed grain */
#define VMDK_FLAG_COMPRESSED 0x00010000u
#define VMDK_FLAG_MARKERS    0x00020000u
#define VMDK_FLAGS_KNOWN                                                                           \
    (VMDK_FLAG_NEWLINE | VMDK_FLAG_REDUNDANT | VMDK_FLAG_ZERO_GRAIN | VMDK_FLAG_COMPRESSED |       \
     VMDK_FLAG_MARKERS)

/* What the first bytes of a file say. */
enum vmdk_magic {
    VMDK_MAGIC_NONE,
    VMDK_MAGIC_HOSTED,   /* "KDMV" */
    VMDK_MAGIC_COWD,     /* "COWD": vmfsSparse */
    VMDK_MAGIC_SESPARSE, /* 0x00000000CAFEBABE */
};

struct vmdk_header {
    uint32_t version;
    uint32_t flags;
    uint64_t capacity_sectors;
    uint64_t grain_sectors;
    uint64_t descriptor_off_sectors; /* 0: no embedded descriptor */
    uint64_t descriptor_sectors;
    uint32_t gt_entries;      /* entries of one grain table */
    uint64_t rgd_off_sectors; /* redundant grain directory */
    uint64_t gd_off_sectors;  /* VMDK_GD_AT_END: the footer says */
    uint64_t overhead_sectors;
    uint8_t unclean_shutdown;
    uint8_t newline_test[4];
    uint16_t compression; /* 0 none, 1 deflate */
};

/* Pure; `len` may be anything. */
enum vmdk_magic vmdk_magic_of(const uint8_t *bytes, size_t len);

/* Pure.  Needs VMDK_HEADER_SIZE bytes that begin with "KDMV"; else VD_ECORRUPT. */
int vmdk_header_decode(const uint8_t *bytes, size_t len, struct vmdk_header *out,
                       struct vd_err *err);

/* The rules a header must keep before anything is computed from it: version, grain size, table
 * sizes, compression.  VD_ECORRUPT, VD_EUNSUPPORTED or VD_ELIMIT with the field's name.  A
 * capacity of 0 (the file only carries a descriptor) is for the caller to handle before. */
int vmdk_header_validate(const struct vmdk_header *h, struct vd_err *err);

/* Does the footer (of a file whose header says "grain directory at end") fit its header?  It must
 * not point further, and all that shapes the disk must agree. */
int vmdk_footer_validate(const struct vmdk_header *header, const struct vmdk_header *footer,
                         struct vd_err *err);

/* What stands at a sector of a stream with markers. */
enum vmdk_marker_kind {
    VMDK_MARKER_END,    /* end of the stream; a sector of zeros */
    VMDK_MARKER_TABLE,  /* a grain table of `sectors` sectors follows */
    VMDK_MARKER_DIR,    /* the grain directory follows */
    VMDK_MARKER_FOOTER, /* the footer follows */
    VMDK_MARKER_GRAIN,  /* a compressed grain: its header is its marker (see grain.h) */
    VMDK_MARKER_BAD     /* none of these */
};

struct vmdk_marker {
    enum vmdk_marker_kind kind;
    uint64_t sectors; /* TABLE, DIR, FOOTER: length of what follows the marker's own sector */
};

/* Pure.  `len` bytes from the marker on, at most VMDK_SECTOR: less at the end of a file.  Only a
 * grain's marker can be told from less than a sector. */
void vmdk_marker_decode(const uint8_t *bytes, size_t len, struct vmdk_marker *out);

/* Number of entries of the grain directory of a valid header. */
uint64_t vmdk_header_gd_entries(const struct vmdk_header *h);

/* Facts and warnings that the header alone gives; `file` names the file in warnings. */
void vmdk_header_report(const struct vmdk_header *h, const char *file, struct vd_facts *facts);

#endif
