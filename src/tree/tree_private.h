/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the tree share: tree.c (building, finding nodes), attr.c, dir.c, data.c,
 * link.c, xattr.c.  Nobody else includes it. */
#ifndef VD_TREE_TREE_PRIVATE_H
#define VD_TREE_TREE_PRIVATE_H

#include "tree/listing.h"
#include "tree/node.h"
#include "tree/tree.h"

struct tree_text {
    char *p;
    size_t len;
};

/* Immutable after tree_new, but for the cache, which locks itself. */
struct tree {
    const struct vd_point *c;
    struct tree_options options;
    struct tree_text info_text, info_json;
    struct tree_text *volume_text; /* one per volume */
    struct listing_cache *listings;
};

enum place_what {
    PLACE_DIR,    /* synthetic directory */
    PLACE_IMAGE,  /* bytes [start, start + size) of dev */
    PLACE_TEXT,   /* info.txt, info.json */
    PLACE_OBJECT, /* of a file system */
    PLACE_STREAM  /* alternate data stream: always a regular file */
};

/* A node, found. */
struct place {
    struct node id;
    enum place_what what;
    struct blkdev *dev;               /* PLACE_IMAGE */
    uint64_t start, size;             /* PLACE_IMAGE */
    const struct tree_text *text;     /* PLACE_TEXT */
    const struct case_volume *volume; /* view != 0 */
    struct fs *fs;                    /* PLACE_OBJECT, PLACE_STREAM */
};

/* Finds the node.  VD_ENOENT: no such number in this mount.  VD_ELIMIT: NODE_BEYOND. */
int tree_find(struct tree *tree, uint64_t number, struct place *out, struct vd_err *err);

/* The evidence's attributes of a PLACE_OBJECT or PLACE_STREAM; the kind of a stream is FS_FILE. */
int tree_fs_attr(const struct place *place, struct fs_attr *out, struct vd_err *err);

/* S_IFMT bits of a kind of object. */
mode_t tree_type_bits(enum fs_kind kind);

/* Name of gap `index` ("START-END.img": first byte and first byte after it, decimal, padded with
 * zeros to the width of the disk's size, so that they sort). */
#define TREE_GAP_NAME_MAX 64
void tree_gap_name(const struct tree *tree, size_t index, char out[TREE_GAP_NAME_MAX]);

/* Is this object a NTFS one (targets of links and streams follow other rules)? */
bool tree_is_ntfs(const struct place *place);

#endif
