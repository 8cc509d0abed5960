/* SPDX-License-Identifier: Apache-2.0 */
/* What sesparse.c (look-up, the layer), sesparse_open.c (loading and checks at open) and
 * sesparse_check.c (structural check) share. */
#ifndef VD_IMAGE_VMDK_SESPARSE_PRIV_H
#define VD_IMAGE_VMDK_SESPARSE_PRIV_H

#include "image/vmdk/sesparse.h"

/* What can be noted about tables; every kind remembers the first table. */
enum vmdk_se_note {
    SE_NOTE_DIR_DAMAGED, /* a directory entry is impossible */
    SE_NOTE_BAD_ENTRY,   /* a table entry is impossible */
    SE_NOTE_UNMAPPED,    /* a table has unmapped grains */
    SE_NOTE_COUNT
};

struct vmdk_sesparse {
    struct blkdev *file; /* = child 0 */
    struct vmdk_se_header h;
    struct vmdk_se_shape g;
    struct made_cache *cache; /* own reference: tables, pages of large directories */
    unsigned extent;
    bool has_parent;
    uint64_t *dir; /* host order; NULL: read in pages */
    struct overlap tables_twice, grains_twice;
    bool tables_unchecked, grains_unchecked; /* whether anything is named twice */
    uint64_t n_scanned, n_checked; /* directory entries looked at, and tables checked, at open */
    atomic_ullong note[SE_NOTE_COUNT]; /* first table it was met in + 1; 0 = never */
};

/* Reads `n` entries at `off` of the file. */
int vmdk_se_read_entries(struct blkdev *file, uint64_t off, uint64_t *out, size_t n,
                         struct vd_err *err);

/* The directory's entry of table number `table` (< n_entries).  May read. */
int vmdk_se_dir_entry(struct vmdk_sesparse *s, uint64_t table, uint64_t *out, struct vd_err *err);

/* Reads table number `table`, which lies at `place`: vmdk_se_table_entries() entries.  Notes what is
 * odd in it. */
int vmdk_se_read_table(struct vmdk_sesparse *s, uint64_t table, const struct vmdk_se_place *place,
                       uint64_t *out, struct vd_err *err);

void vmdk_se_note(struct vmdk_sesparse *s, enum vmdk_se_note kind, uint64_t table);

/* Loads and checks what the budgets of `shared` allow.  Damage is no failure, except more conflicts
 * than can be kept (VD_ECORRUPT). */
int vmdk_se_load(struct vmdk_sesparse *s, struct vmdk_shared *shared, struct vd_err *err);

/* The layer's structural check: blk_type.check. */
int vmdk_se_check(struct blkdev *dev, const struct check *check, struct vd_err *err);

#endif
