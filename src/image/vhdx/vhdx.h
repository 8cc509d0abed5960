/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VHDX ([MS-VHDX], version 8.0).  All numbers on disk are little-endian.  Internal to
 * src/image/vhdx.
 *
 *     0        file type identifier          1 MiB …  log, metadata region, BAT region and payload
 *     64 KiB   header 1                               blocks, each on a 1 MiB boundary, in any
 * order 128 KiB  header 2 192 KiB  region table 1 256 KiB  region table 2
 */
#ifndef VD_IMAGE_VHDX_H
#define VD_IMAGE_VHDX_H

#include "base/facts.h"
#include "blk/blkdev.h"

#define VHDX_MIB           (UINT64_C(1) << 20)
#define VHDX_HEADER_SIZE   4096u
#define VHDX_HEADER1_OFF   (UINT64_C(64) << 10)
#define VHDX_HEADER2_OFF   (UINT64_C(128) << 10)
#define VHDX_TABLE_SIZE    (64u << 10) /* region table and metadata table */
#define VHDX_REGIONS1_OFF  (UINT64_C(192) << 10)
#define VHDX_REGIONS2_OFF  (UINT64_C(256) << 10)
#define VHDX_MAX_ENTRIES   2047u /* of a region table or metadata table */
#define VHDX_MAX_DISK      (UINT64_C(64) << 40)
#define VHDX_MIN_BLOCK     (1u << 20)
#define VHDX_MAX_BLOCK     (256u << 20)
#define VHDX_LOG_SECTOR    4096u
#define VHDX_GUID_TEXT_MAX 37

struct vhdx_guid {
    uint8_t b[16]; /* as on disk */
};

bool vhdx_guid_equal(const struct vhdx_guid *a, const struct vhdx_guid *b);
bool vhdx_guid_zero(const struct vhdx_guid *guid);
/* "01234567-89ab-cdef-0123-456789abcdef"; the first three groups are little-endian on disk. */
void vhdx_guid_text(const struct vhdx_guid *guid, char out[VHDX_GUID_TEXT_MAX]);

/* ---- headers (2.2.2) ---- */

struct vhdx_header {
    uint64_t sequence;
    struct vhdx_guid file_write, data_write, log_guid;
    uint16_t log_version, version;
    uint32_t log_len; /* bytes */
    uint64_t log_off; /* bytes */
};

/* Decodes a header of 4 KiB.  VD_ECORRUPT: signature or checksum.  Pure. */
int vhdx_header_decode(const uint8_t *bytes, size_t len, struct vhdx_header *out,
                       struct vd_err *err);

/* Chooses the current header of the two (each 4 KiB, NULL: could not be read) and reports what was
 * wrong with the other one.  Pure. */
int vhdx_header_choose(const uint8_t *first, const uint8_t *second, struct vhdx_header *out,
                       struct vd_facts *facts, struct vd_err *err);

/* Version, and the log's place when there is something to replay.  Pure. */
int vhdx_header_validate(const struct vhdx_header *header, uint64_t file_size, struct vd_err *err);

/* ---- regions (2.2.3) ---- */

struct vhdx_region {
    uint64_t off, len; /* bytes; len 0 = not there */
};

struct vhdx_regions {
    struct vhdx_region bat, metadata;
    unsigned n_unknown; /* entries that nobody knows and nobody requires */
};

/* Decodes a region table of 64 KiB.  VD_ECORRUPT: signature, checksum, double entry;
 * VD_EUNSUPPORTED: an unknown entry that is required.  Pure. */
int vhdx_regions_decode(const uint8_t *bytes, size_t len, struct vhdx_regions *out,
                        struct vd_err *err);

/* Both known regions are there, aligned, inside the file and apart from each other and the log.
 * Pure. */
int vhdx_regions_validate(const struct vhdx_regions *regions, const struct vhdx_header *header,
                          uint64_t file_size, struct vd_err *err);

/* ---- metadata (2.6) ---- */

enum vhdx_item_kind {
    VHDX_FILE_PARAMETERS,
    VHDX_DISK_SIZE,
    VHDX_DISK_ID,
    VHDX_LOGICAL_SECTOR,
    VHDX_PHYSICAL_SECTOR,
    VHDX_PARENT_LOCATOR,
    VHDX_ITEM_COUNT
};

struct vhdx_item {
    bool present;
    uint32_t off, len; /* bytes; off from the start of the region */
};

struct vhdx_items {
    struct vhdx_item item[VHDX_ITEM_COUNT];
    unsigned n_unknown, n_user;
};

struct vhdx_metadata {
    uint32_t block_size; /* bytes */
    bool fixed;          /* LeaveBlockAllocated */
    bool has_parent;
    uint64_t disk_size;                       /* bytes */
    uint32_t logical_sector, physical_sector; /* bytes; physical 0 = not said */
    bool has_disk_id;
    struct vhdx_guid disk_id;
};

/* Decodes the metadata table (64 KiB) of a region of `region_len` bytes: known items, unknown ones
 * counted, bounds and overlaps checked.  Pure. */
int vhdx_items_decode(const uint8_t *bytes, size_t len, uint64_t region_len, struct vhdx_items *out,
                      struct vd_err *err);

/* Decodes the value `bytes` of one known item (not of the parent locator) into `out`.  Pure. */
int vhdx_value_decode(enum vhdx_item_kind kind, const uint8_t *bytes, size_t len,
                      struct vhdx_metadata *out, struct vd_err *err);

/* Checks the values against each other and the specification's bounds.  Pure. */
int vhdx_metadata_validate(const struct vhdx_metadata *metadata, struct vd_err *err);

/* What a parent locator says (2.6.2.6); UTF-8, printable forms are the caller's business. */
struct vhdx_locator {
    char linkage[80], linkage2[80];
    char relative[512], volume[512], absolute[512];
};

/* Decodes a parent locator item.  VD_ECORRUPT: a key or value outside the item.  Pure. */
int vhdx_locator_decode(const uint8_t *bytes, size_t len, struct vhdx_locator *out,
                        struct vd_err *err);

/* ---- log (2.3) ---- */

/* One write of the log: 4 KiB of data, or `len` bytes of zeros. */
struct vhdx_patch {
    uint64_t off, len; /* in the file, bytes, multiples of 4 KiB */
    uint32_t sector;   /* data: sector of the log that holds it; VHDX_PATCH_ZERO: zeros */
    uint8_t lead[8], trail[4];
};

#define VHDX_PATCH_ZERO UINT32_MAX

struct vhdx_log {
    struct vhdx_patch *v; /* owned; in the order in which they are to be written */
    size_t n;
    uint64_t n_entries, first_sequence, last_sequence;
    uint64_t flushed_size, last_size; /* of the head entry, bytes */
};

/* Finds the active sequence in the log (all of its `len` bytes, a multiple of 4 KiB) and lists its
 * writes.  VD_ECORRUPT: no valid sequence.  VD_ELIMIT: too many writes.  Time is linear in `len`.
 * The caller frees out->v.  Pure. */
int vhdx_log_decode(const uint8_t *log, size_t len, const struct vhdx_guid *guid,
                    struct vhdx_log *out, struct vd_err *err);

/* A layer that shows `file` as it is after the replay: evidence is never written.  `log_bytes` is
 * the log itself, from which the data are taken.  Takes a reference of its own to `file`. */
int vhdx_replay_new(struct blkdev *file, const struct vhdx_log *log, const uint8_t *log_bytes,
                    struct blkdev **out, struct vd_err *err);

/* ---- the disk ---- */

struct vhdx_layout {
    struct vhdx_metadata metadata;
    struct vhdx_regions regions;
    struct vhdx_region log;
};

/* The disk of a fixed or dynamic file.  `base` is the file, or the replayed view of it.  Looks once
 * over the BAT and reports to `facts`.  Takes a reference of its own to `base`.
 * `name` is the file's, for messages. */
int vhdx_disk_new(struct blkdev *base, const struct vhdx_layout *layout, const char *name,
                  struct blkdev **out, struct vd_facts *facts, struct vd_err *err);

#endif
