/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes small hosted sparse extents in memory, field by field after VMware Virtual Disk Format 5.0
 * and independent of the decoder, and tells where everything lies so that a test can damage it.
 */
#ifndef VD_TEST_VMDK_BUILD_H
#define VD_TEST_VMDK_BUILD_H

#include "blk/evidence.h"
#include "image/image.h"
#include "testlib.h"

/* flags, as in the header */
#define VB_NEWLINE    0x1u
#define VB_REDUNDANT  0x2u
#define VB_ZERO_GRAIN 0x4u
#define VB_COMPRESSED 0x10000u
#define VB_MARKERS    0x20000u

struct vb_spec {
    uint64_t capacity_sectors; /* default: one grain per letter of `grains` */
    uint32_t grain_sectors;    /* default 8 */
    uint32_t gt_entries;       /* default 4 */
    uint32_t version;          /* default 1 */
    uint32_t flags;            /* default VB_NEWLINE */
    const char *grains;     /* one letter per grain: 'd' data, '.' absent, 'z' zeroed (entry 1) */
    const char *descriptor; /* text at sector 1, NULL: none */
    bool footer;            /* directory at the end, named by a footer (stream) */
    bool interleave;        /* with `footer`: each table behind the grains of its span */
    bool sparse_tables;     /* tables without any entry get directory entry 0 */
    uint64_t seed;          /* of the data */
};

#define VB_MAX_TABLES 64
#define VB_MAX_GRAINS 256

struct vb_image {
    uint8_t *p; /* the file */
    size_t len;
    uint8_t *disk; /* what it must read as, without a parent */
    size_t disk_len;
    uint32_t grain_sectors, gt_entries, n_tables, n_grains;
    /* byte offsets in the file; 0 = not there */
    size_t descriptor, gd, rgd, footer;
    size_t stream; /* first byte behind the header and descriptor; only with `footer` */
    size_t gt[VB_MAX_TABLES], rgt[VB_MAX_TABLES];
    size_t grain[VB_MAX_GRAINS];
    size_t grain_len[VB_MAX_GRAINS]; /* header and compressed data, or grain */
};

/* The image is the caller's (vb_free). */
void vb_make(const struct vb_spec *spec, struct vb_image *out);
void vb_free(struct vb_image *image);

/* Entries of both copies of a table / of the directories. */
void vb_set_gte(struct vb_image *image, uint32_t grain, uint32_t value, bool primary,
                bool redundant);
uint32_t vb_get_gte(const struct vb_image *image, uint32_t grain);
void vb_set_gde(struct vb_image *image, uint32_t table, uint32_t value, bool primary,
                bool redundant);

/* A descriptor text with one SPARSE extent.  `parent_cid` NULL: ffffffff; `hint` may be NULL.
 * The result is static, overwritten by the next call. */
const char *vb_descriptor(const char *cid, const char *parent_cid, const char *hint,
                          uint64_t sectors, const char *name);

/* A source whose directories are empty. */
extern const struct blk_source vb_no_files;

/* Opens `len` bytes as the file `name` in an otherwise empty directory. */
int vb_open(const void *bytes, size_t len, const char *name, struct image **out,
            struct vd_err *err);

/* Reads the whole device with reads of `step` bytes (0: mixed sizes and odd places) and compares
 * it with `expected`. */
void vb_check_reads(struct blkdev *dev, const uint8_t *expected, size_t len, size_t step);

/* Walks the map and checks that it agrees with reading: zeros and absent read as zeros, data with
 * a child is what lies there, unreadable runs fail at their first byte, everything else reads as
 * `expected`.  Returns the number of unreadable bytes. */
uint64_t vb_check_map(struct blkdev *dev, const uint8_t *expected);

/* Is there a fact (container or layers) of that kind whose value contains `text`? */
bool vb_has_fact(const struct image *image, enum vd_fact_kind kind, const char *text);

#endif
