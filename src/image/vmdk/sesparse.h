/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seSparse: the space-efficient sparse extents of ESXi 5.5 and later (default for snapshots on
 * VMFS 6).  VMware has not published the format; what stands here was learnt from qemu's block/vmdk.c and
 * the mail that came with it (qemu-devel, Sam Eiderman, 2019 and 2020, with the log that ESXi writes
 * when it makes such a file), dissect.hypervisor, and a real file.  All numbers have 64 bits, little-endian;
 * places and lengths are in sectors of 512 bytes:
 *
 *     const header | volatile header | journal header | journal | grain directory | grain tables
 *     | free bitmap | back map | grains
 *
 * The directory names tables by their number in the area of tables, tables name grains by their
 * number in the area of grains: tables and grains cannot overlap by halves, only be named twice.
 */
#ifndef VD_IMAGE_VMDK_SESPARSE_H
#define VD_IMAGE_VMDK_SESPARSE_H

#include "image/overlap.h"
#include "image/vmdk/tables.h"

#define VMDK_SE_VERSION     UINT64_C(0x0000000200000001) /* 2.1 */
#define VMDK_SE_GRAIN       4096u /* bytes; 8 sectors, the only size there is */
#define VMDK_SE_GT_SECTORS  64u
#define VMDK_SE_GT_ENTRIES  4096u
#define VMDK_SE_GT_SPAN     ((uint64_t)VMDK_SE_GRAIN * VMDK_SE_GT_ENTRIES) /* bytes of the disk */
#define VMDK_SE_ENTRY_BYTES 8u

enum vmdk_se_area {
    VMDK_SE_VOLATILE,
    VMDK_SE_JOURNAL_HEADER,
    VMDK_SE_JOURNAL,
    VMDK_SE_DIRECTORY,
    VMDK_SE_TABLES,
    VMDK_SE_FREE_BITMAP,
    VMDK_SE_BACK_MAP,
    VMDK_SE_GRAINS,
    VMDK_SE_AREAS
};

struct vmdk_se_header {
    uint64_t version;
    uint64_t capacity_sectors;
    uint64_t grain_sectors;
    uint64_t gt_sectors;
    uint64_t flags;
    uint64_t reserved[4];
    struct {
        uint64_t off_sectors, sectors;
    } area[VMDK_SE_AREAS];
    bool padding_used; /* bytes that should be zeros are not */
};

struct vmdk_se_volatile {
    uint64_t free_gt; /* the next table that a writer would take */
    uint64_t next_transaction;
    uint64_t replay_journal; /* not 0: the tables are older than the journal */
    bool padding_used;
};

/* The word of an area ("grain directory" …). */
const char *vmdk_se_area_name(enum vmdk_se_area area);

/* Pure.  `bytes` has VMDK_SECTOR bytes or fewer (then VD_ECORRUPT, as without the magic number). */
int vmdk_se_header_decode(const uint8_t *bytes, size_t len, struct vmdk_se_header *out,
                          struct vd_err *err);
int vmdk_se_volatile_decode(const uint8_t *bytes, size_t len, struct vmdk_se_volatile *out,
                            struct vd_err *err);

/* The rules of the constant header: version, sizes, no unknown flags, areas that do not overlap, a
 * directory inside the file.  VD_EUNSUPPORTED, VD_ECORRUPT or VD_ELIMIT with the field's name. */
int vmdk_se_header_validate(const struct vmdk_se_header *h, uint64_t file_size, struct vd_err *err);

/* VD_EUNSUPPORTED: the journal would have to be replayed first. */
int vmdk_se_volatile_validate(const struct vmdk_se_volatile *v, struct vd_err *err);

/* Reads and checks both headers of `file`; facts and warnings go to `facts`.  Errors carry the
 * file's name. */
int vmdk_se_headers(struct blkdev *file, struct vmdk_se_header *out, struct vd_facts *facts,
                    struct vd_err *err);

/* Shape of an extent, in bytes and numbers; from a valid header. */
struct vmdk_se_shape {
    uint64_t capacity, file_size;
    uint64_t n_tables;  /* tables that the disk has */
    uint64_t n_entries; /* of them, those the directory has an entry for */
    uint64_t dir_off, tables_off, grains_off;
    uint64_t n_slots;  /* tables that the area of tables has room for */
    uint64_t n_grains; /* grains that the area of grains has room for */
    /* Tables and grains that are named twice; NULL: not known. */
    const struct overlap *tables_twice, *grains_twice;
};

/* Pure.  `h` must be valid. */
void vmdk_se_shape_init(const struct vmdk_se_header *h, uint64_t file_size,
                        struct vmdk_se_shape *out);

/* What one entry says. */
struct vmdk_se_place {
    struct vmdk_place at;
    bool unmapped;   /* VMDK_PLACE_ZEROS because the guest gave the grain back */
    uint64_t number; /* VMDK_PLACE_DATA: of the table or grain in its area */
};

/* Pure: what the directory's entry `gde` of table number `table` says.  DATA: the whole table (as far
 * as it is used) lies inside the file. */
struct vmdk_se_place vmdk_se_table_place(const struct vmdk_se_shape *g, uint64_t table,
                                         uint64_t gde);

/* Pure: what the table entry `gte` of grain number `grain` of the disk says. */
struct vmdk_se_place vmdk_se_grain_place(const struct vmdk_se_shape *g, uint64_t grain,
                                         uint64_t gte);

/* Bytes of the disk in grain number `grain`; entries of table `table` that stand for grains. */
uint64_t vmdk_se_grain_bytes(const struct vmdk_se_shape *g, uint64_t grain);
uint32_t vmdk_se_table_entries(const struct vmdk_se_shape *g, uint64_t table);

/* Opens the extent: `h` from vmdk_se_headers.  Takes over the reference to `file` on success only;
 * `extent` is the number of the extent in its image; `has_parent` only decides whether unmapped
 * grains, which hide a parent, are a warning.  Positions whose table or grain cannot be right
 * are BLK_UNREADABLE (reads: VD_ECORRUPT, exactly those bytes). */
int vmdk_sesparse_new(struct blkdev *file, const struct vmdk_se_header *h, unsigned extent,
                      bool has_parent, struct vmdk_shared *shared, struct blkdev **out,
                      struct vd_err *err);

#endif
