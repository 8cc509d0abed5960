/* SPDX-License-Identifier: Apache-2.0 */
/* What stream.c (the walk) and stream_prove.c (what follows from it) share. */
#ifndef VD_IMAGE_VMDK_STREAM_PRIV_H
#define VD_IMAGE_VMDK_STREAM_PRIV_H

#include "image/vmdk/stream.h"

#define VMDK_STREAM_WINDOW 8192u
#define VMDK_NO_TABLE      UINT64_MAX

/* Where a grain is: a sector of the file, VMDK_CLAIMED, or 1 for a zeroed grain. */
struct vmdk_placed {
    uint32_t grain, sector;
};

/* A table says that this grain lies where another one, or none, was found. */
#define VMDK_CLAIMED 0

struct vmdk_placed_list {
    struct vmdk_placed *v;
    size_t n, cap;
};

struct vmdk_met_table {
    uint32_t sector;  /* of the entries, behind the marker */
    uint32_t n_named; /* entries that are not 0 */
    uint64_t table;   /* which one it is, or VMDK_NO_TABLE */
    bool sound;       /* each entry names a grain of its place */
};

struct vmdk_stream {
    uint32_t gt_entries;
    struct vmdk_stream_found found;
    struct vmdk_placed_list grains; /* ascending by number once the walk is over */
    uint64_t *proved;               /* numbers of proved tables, ascending */
    size_t n_proved;
};

struct vmdk_stream_walk {
    struct vmdk_stream *s;
    struct blkdev *file;
    const struct vmdk_geometry *g;
    uint64_t off; /* of the marker looked at */
    bool over;
    struct vmdk_placed_list zeroed; /* zeroed grains that tables name */
    struct vmdk_placed_list claims; /* grains that contradict something */
    struct vmdk_met_table *table;   /* in the order of the file */
    size_t n_tables, cap_tables;
    uint64_t gd_off; /* of the first directory met; 0: none */
    uint32_t *gde;   /* its entries, or NULL */
    uint64_t window_off;
    size_t window_len;
    uint8_t window[VMDK_STREAM_WINDOW];
};

int vmdk_stream_add(struct vmdk_placed_list *list, uint64_t grain, uint32_t sector,
                    struct vd_err *err);

/* First entry whose grain number is at least `grain`.  The list is ordered by numbers. */
size_t vmdk_stream_first(const struct vmdk_placed_list *list, uint64_t grain);

bool vmdk_stream_proved(const struct vmdk_stream *s, uint64_t table);

/* Reads table or directory entries. */
int vmdk_stream_entries(struct vmdk_stream_walk *w, uint64_t off, uint32_t *out, size_t n,
                        struct vd_err *err);

/* After the walk: orders the grains and finds out what is proved, what is contradicted. */
int vmdk_stream_prove(struct vmdk_stream_walk *w, struct vd_err *err);

#endif
