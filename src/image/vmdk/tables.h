/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Grain directory and grain tables of one hosted sparse extent: where a grain lies.
 *
 *     position ─▶ directory entry (table number) ─▶ table entry (grain number) ─▶ place in the file
 *
 * VMware Virtual Disk Format 5.0, "Grain Directories" and "Grain Tables".  With the redundant flag
 * there are two copies of both; they are compared, and the policy is (see vmdk_gt_merge):
 * a copy with impossible entries gives way to one without; a sector of a table that is all zeros in
 * one copy is taken from the other, and so is a single entry if it can be proved; two different
 * possible places for one grain are not decided but unreadable.
 */
#ifndef VD_IMAGE_VMDK_TABLES_H
#define VD_IMAGE_VMDK_TABLES_H

#include "blk/blkdev.h"
#include "blk/made_cache.h"
#include "image/vmdk/header.h"

/* A table entry that no file can have: the two copies disagree. */
#define VMDK_GTE_AMBIGUOUS UINT32_MAX

/* Where the geometry says `stream_tables`: entries that stand for what a damaged stream cannot tell. */
#define VMDK_GTE_LOST  (UINT32_MAX - 1u) /* the grain was not met, and nothing proves it absent */
#define VMDK_GTE_TWICE (UINT32_MAX - 2u) /* two places claim to be the grain */

#define VMDK_META_RANGES 4

/* Shape of an extent, in bytes; from a validated header. */
struct vmdk_geometry {
    uint64_t capacity, grain, file_size;
    uint32_t gt_entries;
    uint64_t gd_entries;
    uint64_t gt_span; /* bytes of the disk that one table covers */
    bool zero_grain;  /* a table entry of 1 is a zeroed grain */
    bool compressed, markers, redundant;
    bool stream_tables; /* tables are checked against the stream, or made of it */
    /* Header, descriptor, directories: grains and tables cannot lie there. */
    struct {
        uint64_t off, len;
    } meta[VMDK_META_RANGES];
    size_t n_meta;
    /* Can an entry that only one copy of a table has be proved right?  Yes if the claims of all
     * grains were compared at open, or if grains carry their own address. */
    bool provable;
    /* Entries whose grains overlap something, ascending; borrowed from the tables. */
    const uint32_t *contested;
    size_t n_contested;
};

/* Pure.  `h` must be valid. */
void vmdk_geometry_init(const struct vmdk_header *h, uint64_t file_size, struct vmdk_geometry *out);

/* Pure.  `len` bytes at sector `off_sectors` belong to the file's own structures: no grain or table
 * can lie there.  At most VMDK_META_RANGES in all, those of vmdk_geometry_init (header, descriptor,
 * directories) included. */
void vmdk_geometry_guard(struct vmdk_geometry *g, uint64_t off_sectors, uint64_t len);

enum vmdk_place_kind {
    VMDK_PLACE_ABSENT, /* not in this file */
    VMDK_PLACE_ZEROS,
    VMDK_PLACE_DATA,
    VMDK_PLACE_BAD, /* the entry cannot be right */
};

struct vmdk_place {
    enum vmdk_place_kind kind;
    uint64_t off;    /* VMDK_PLACE_DATA: byte offset in the file */
    uint64_t len;    /* … and how many bytes of the grain the file really has there (> 0) */
    const char *why; /* VMDK_PLACE_BAD, or the grain's tail is missing: a phrase for the message */
};

/* Pure: what the table entry `gte` of grain number `grain` says. */
struct vmdk_place vmdk_place_of(const struct vmdk_geometry *g, uint64_t grain, uint32_t gte);

/* Bytes of the disk in grain number `grain`: less than a grain for the last one. */
uint64_t vmdk_grain_bytes(const struct vmdk_geometry *g, uint64_t grain);

/* Entries of table `table` that stand for grains of the disk: fewer in the last table. */
uint32_t vmdk_table_entries(const struct vmdk_geometry *g, uint64_t table);

/* Pure: is one of the `n` entries, the first of them that of grain number `first_grain`,
 * impossible? */
bool vmdk_gt_has_bad(const struct vmdk_geometry *g, uint64_t first_grain, const uint32_t *gte,
                     uint32_t n);

struct vmdk_merge {
    bool differ;        /* the copies are not equal */
    uint32_t n_unclear; /* entries that became VMDK_GTE_AMBIGUOUS */
};

/* Pure: makes one table of `n` entries out of two copies, in place of the primary one. */
void vmdk_gt_merge(const struct vmdk_geometry *g, uint64_t table, uint32_t *io_primary,
                   const uint32_t *redundant, uint32_t n, struct vmdk_merge *result);

/* ---- with input/output ---- */

/* What all extents of one image share. */
struct vmdk_shared {
    struct made_cache *tables; /* merged tables, pages of large directories */
    struct made_cache *grains; /* inflated grains */
    uint64_t directory_left;   /* bytes of directories that may still be kept whole */
    uint64_t scan_left;        /* bytes of directories that may still be scanned at open */
    uint64_t check_left;       /* bytes of tables that may still be checked at open */
};

struct vmdk_tables;

/* Looks at the directories and checks what the budgets of `shared` allow.  `file` is borrowed and
 * must outlive the tables; `extent` (< VD_MAX_EXTENTS) makes cache keys unique in the image.
 * VD_ECORRUPT: no usable directory.  Unreadable single tables are no failure: they are reported
 * and their ranges cannot be read.  The caller frees *out. */
int vmdk_tables_new(struct blkdev *file, const struct vmdk_geometry *g, const struct vmdk_header *h,
                    unsigned extent, struct vmdk_shared *shared, struct vmdk_tables **out,
                    struct vd_err *err);

void vmdk_tables_free(struct vmdk_tables *t);

/* The geometry with what was learnt at open; borrowed, valid as long as the tables. */
const struct vmdk_geometry *vmdk_tables_geometry(const struct vmdk_tables *t);

/* One table, looked up. */
struct vmdk_table {
    enum vmdk_place_kind kind; /* ABSENT, DATA (entries below) or BAD (why) */
    const char *why;
    const uint32_t *gte;  /* vmdk_table_entries() of them; valid until `buf` is put */
    struct made_buf *buf; /* the caller gives it back (made_buf_put); NULL unless DATA */
};

/* Looks up table number `table` (< gd_entries).  May read.  VD_EIO: no copy can be read now; the
 * next call tries again. */
int vmdk_tables_get(struct vmdk_tables *t, uint64_t table, struct vmdk_table *out,
                    struct vd_err *err);

/* How many tables from `table` on (at most `max`) are known, without reading, to be absent. */
uint64_t vmdk_tables_absent_run(const struct vmdk_tables *t, uint64_t table, uint64_t max);

/* Reports what was found so far. */
void vmdk_tables_describe(struct vmdk_tables *t, vd_fact_fn *fn, void *ctx);

/* Structural check: see blk/check.h. */
int vmdk_tables_check(struct vmdk_tables *t, const struct check *check, struct vd_err *err);

/* Cache key of a grain of this extent. */
uint64_t vmdk_grain_key(unsigned extent, uint64_t grain);

#endif
