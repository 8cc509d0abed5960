/* SPDX-License-Identifier: Apache-2.0 */
/* What tables.c (look-up) and tables_open.c (loading and checks at open) share. */
#ifndef VD_IMAGE_VMDK_TABLES_PRIV_H
#define VD_IMAGE_VMDK_TABLES_PRIV_H

#include "image/vmdk/stream.h"
#include "image/vmdk/tables.h"

#define VMDK_DIR_PAGE_ENTRIES 1024u /* 4 KiB */

/* A directory entry that open found to overlap another table. */
#define VMDK_GDE_OVERLAP UINT32_MAX

/* What can be noted about tables; every kind remembers the first table. */
enum vmdk_note {
    NOTE_DIR_DAMAGED,  /* a directory entry is impossible, no other copy helps */
    NOTE_DIR_REPAIRED, /* a directory entry of one copy was used for the other's */
    NOTE_COPY_LOST,    /* one copy of a table could not be read, the other was used */
    NOTE_DIFFER,       /* copies differ, the rules made one table out of them */
    NOTE_UNCLEAR,      /* copies differ and some grains stay unclear */
    NOTE_BAD_ENTRY,    /* a table entry is impossible */
    NOTE_NO_MARKER,    /* a stream's table without its marker: no table lies there */
    NOTE_COUNT
};

struct vmdk_directory {
    uint64_t off;    /* bytes */
    uint32_t *whole; /* host order; NULL: read in pages */
};

struct vmdk_tables {
    struct blkdev *file; /* borrowed */
    struct vmdk_geometry g;
    struct made_cache *cache;
    unsigned extent;
    struct vmdk_directory dir[2]; /* primary, redundant */
    unsigned n_dirs;
    struct vmdk_stream *stream;       /* instead of directories: put together from markers; owned */
    struct vmdk_stream_found rebuilt; /* what a walk found; start 0: there was none */
    uint64_t stream_start; /* bytes: where the header says that the stream begins; 0: not told */
    bool marked;           /* every table must have its marker before it */
    uint64_t n_scanned;    /* directory entries looked at, and tables checked, at open */
    uint64_t n_checked;
    bool tables_overlap_unchecked, grains_overlap_unchecked;
    const char *lost_dir;           /* warning about a whole directory, or NULL */
    uint32_t *contested;            /* owned; g.contested */
    atomic_ullong note[NOTE_COUNT]; /* first table it was met in + 1; 0 = never */
};

/* Where the copies of one table lie. */
struct vmdk_source {
    enum vmdk_place_kind kind; /* ABSENT, BAD, or DATA: `n` places */
    uint64_t off[2];
    unsigned n;
};

void vmdk_tables_note(struct vmdk_tables *t, enum vmdk_note kind, uint64_t table);

/* What a directory entry says: DATA = a table lies at entry * 512, wholly inside the file. */
enum vmdk_place_kind vmdk_gde_kind(const struct vmdk_geometry *g, uint64_t table, uint32_t gde);

int vmdk_tables_read_entries(struct blkdev *file, uint64_t off, uint32_t *out, size_t n,
                             struct vd_err *err);

/* Entry number `table` of directory `which`. */
int vmdk_tables_dir_entry(struct vmdk_tables *t, unsigned which, uint64_t table, uint32_t *out,
                          struct vd_err *err);

/* Does a marker of this kind stand in the sector before `off`? */
int vmdk_tables_has_marker(struct blkdev *file, uint64_t off, enum vmdk_marker_kind kind, bool *out,
                           struct vd_err *err);

int vmdk_tables_source(struct vmdk_tables *t, uint64_t table, struct vmdk_source *out,
                       struct vd_err *err);

/* Reads table number `table` from its copies and merges them: vmdk_table_entries() entries. */
int vmdk_tables_read(struct vmdk_tables *t, uint64_t table, const struct vmdk_source *source,
                     uint32_t *out, struct vd_err *err);

/* Finds, loads and checks; fills everything but file, g, cache and extent. */
int vmdk_tables_load(struct vmdk_tables *t, const struct vmdk_header *h, struct vmdk_shared *shared,
                     struct vd_err *err);

#endif
