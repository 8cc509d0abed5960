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
#include "blk/evidence.h"

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

/* Unknown regions whose place is kept; the table has room for 2,047, products write none. */
#define VHDX_UNKNOWN_KEPT 8u

struct vhdx_regions {
    struct vhdx_region bat, metadata;
    unsigned n_unknown; /* entries that nobody knows and nobody requires */
    struct vhdx_region unknown[VHDX_UNKNOWN_KEPT]; /* the first of them, not validated */
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
    bool required;     /* marked so; readers of this item need no mark */
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

/* "virtual disk size" …; never NULL. */
const char *vhdx_item_name(enum vhdx_item_kind kind);

/* Decodes the value `bytes` of one known item (not of the parent locator) into `out`.  Pure. */
int vhdx_value_decode(enum vhdx_item_kind kind, const uint8_t *bytes, size_t len,
                      struct vhdx_metadata *out, struct vd_err *err);

/* Checks the values against each other and the specification's bounds.  Pure. */
int vhdx_metadata_validate(const struct vhdx_metadata *metadata, struct vd_err *err);

/* ---- parent locator (2.6.2.6) ---- */

/* A value: UTF-16LE in the bytes of the item, without trailing NULs.  n_units 0 = not there. */
struct vhdx_text {
    const uint8_t *p; /* borrowed */
    size_t n_units;
};

struct vhdx_locator {
    struct vhdx_text linkage, linkage2;          /* identities of the parent, as text */
    struct vhdx_text relative, volume, absolute; /* its paths */
    unsigned n_unknown;                          /* keys that nobody knows */
};

/* Decodes a parent locator item; `out` points into `bytes`.  VD_EUNSUPPORTED: a parent of another kind
 * than a VHDX file.  VD_ECORRUPT: a key or value outside the item, of an odd length or with a NUL
 * inside, or a known key twice.  Pure. */
int vhdx_locator_decode(const uint8_t *bytes, size_t len, struct vhdx_locator *out,
                        struct vd_err *err);

/* "{83ED0EC3-24C8-49A6-A959-5E4BF1288BFB}", any case, as the GUID's bytes.  False: it is no GUID. */
bool vhdx_guid_parse(const struct vhdx_text *text, struct vhdx_guid *out);

struct image;

/* Fills the parent fields of `out` from a locator item and reports to its facts.  A locator without a
 * usable identity gives a child that no parent fits. */
int vhdx_parent_take(const uint8_t *bytes, size_t len, struct image *out, struct vd_err *err);

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
 * the log itself, from which the data are taken.  *io_left (NULL: no bound): bytes that the layer may
 * still keep in memory; VD_ELIMIT.  Takes a reference of its own to `file`. */
int vhdx_replay_new(struct blkdev *file, const struct vhdx_log *log, const uint8_t *log_bytes,
                    uint64_t *io_left, struct blkdev **out, struct vd_err *err);

/* ---- the disk ---- */

struct vhdx_layout {
    struct blkdev
        *file; /* as it lies there, not replayed; borrowed, kept alive by the disk's base */
    struct vhdx_header header;
    struct vhdx_metadata metadata;
    struct vhdx_regions regions;
    struct vhdx_region log; /* len 0: its place is impossible, and nobody needs it */
};

/* The disk of a file of any kind; in a differencing one BLK_ABSENT where the parent answers.  `base` is
 * the file, or the replayed view of it.  Looks once over the BAT, as far as `share` (may be NULL)
 * allows, and reports to `facts`.  Takes a reference of its own to `base`.  `name` is the file's, for
 * messages. */
int vhdx_disk_new(struct blkdev *base, const struct vhdx_layout *layout, struct blk_share *share,
                  const char *name, struct blkdev **out, struct vd_facts *facts,
                  struct vd_err *err);

#endif
