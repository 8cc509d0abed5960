/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the tree share: tree.c (building, finding nodes), attr.c, dir.c, data.c,
 * link.c, xattr.c.  Nobody else includes it. */
#ifndef VD_TREE_TREE_PRIVATE_H
#define VD_TREE_TREE_PRIVATE_H

#include "tree/listing.h"
#include "tree/node.h"
#include "tree/points.h"
#include "tree/snapshots.h"
#include "tree/tree.h"

/* Immutable after tree_new, but for the caches and the older points, which lock themselves. */
struct tree {
    const struct chain *chain;
    struct tree_options options;
    struct open_point shown; /* what the root shows; its p is borrowed */
    struct points *points;   /* the older ones */
    struct snapshot_names snapshots;
    struct listing_cache *listings;
};

enum place_what {
    PLACE_DIR,    /* synthetic directory */
    PLACE_IMAGE,  /* bytes [start, start + size) of dev */
    PLACE_TEXT,   /* info.txt, info.json */
    PLACE_LINK,   /* synthetic symbolic link */
    PLACE_OBJECT, /* of a file system */
    PLACE_STREAM  /* alternate data stream: always a regular file */
};

/* A node, found.  Holds the point that it lies in; declare it VD_AUTO(place), or call tree_leave. */
struct place {
    struct node id;
    enum place_what what;
    size_t member;                /* whose state it is: index into the chain */
    struct points *points;        /* where `point` goes back to; NULL: it is what the root shows */
    struct open_point *point;     /* NULL: a snapshots/NN_…/ directory itself, or a link to one */
    struct blkdev *dev;           /* PLACE_IMAGE */
    uint64_t start, size;         /* PLACE_IMAGE */
    const struct tree_text *text; /* PLACE_TEXT */
    const char *target;           /* PLACE_LINK */
    const struct case_volume *volume; /* in a volume */
    struct fs *fs;                    /* PLACE_OBJECT, PLACE_STREAM; of the volume, may be NULL */
};

/* Finds the node.  An older point is opened for everything in it, but not for its own directory.
 * VD_ENOENT: no such number in this mount.  VD_ELIMIT: NODE_BEYOND.  On failure *out holds
 * nothing. */
int tree_find(struct tree *tree, uint64_t number, struct place *out, struct vd_err *err);
void tree_leave(struct place *place);

static inline void vd_auto_place(struct place *place)
{
    tree_leave(place);
}

/* Opens the point of a snapshots/NN_…/ directory; nothing to do for other places. */
int tree_enter(struct tree *tree, struct place *dir, struct vd_err *err);

/* The evidence's attributes of a PLACE_OBJECT or PLACE_STREAM; the kind of a stream is FS_FILE. */
int tree_fs_attr(const struct place *place, struct fs_attr *out, struct vd_err *err);

/* S_IFMT bits of a kind of object. */
mode_t tree_type_bits(enum fs_kind kind);

/* The view of older point `number`, volume 0. */
static inline unsigned tree_point_view(size_t number)
{
    return node_view((unsigned)number + 1, 0);
}

/* The view of volume `i` of the point that a place lies in. */
static inline unsigned tree_volume_view(const struct place *place, size_t i)
{
    return node_view(node_view_point(place->id.view), (unsigned)i + 1);
}

/* Name of gap `index` ("START-END.img": first byte and first byte after it, decimal, padded with
 * zeros to the width of the disk's size, so that they sort). */
#define TREE_GAP_NAME_MAX 64
void tree_gap_name(const struct vd_point *point, size_t index, char out[TREE_GAP_NAME_MAX]);

/* Is this object a NTFS one (targets of links and streams follow other rules)? */
bool tree_is_ntfs(const struct place *place);

#endif
