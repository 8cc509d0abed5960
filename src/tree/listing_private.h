/* SPDX-License-Identifier: Apache-2.0 */
/* What listing.c (the cache) and listing_build.c (one directory) share; nobody else includes it. */
#ifndef VD_TREE_LISTING_PRIVATE_H
#define VD_TREE_LISTING_PRIVATE_H

#include "tree/listing.h"

#include <stdatomic.h>

enum listing_state { LISTING_PENDING, LISTING_READY, LISTING_FAILED };

/* Key of the hash of names: random, so that no image can aim for collisions. */
struct listing_key {
    uint64_t k0, k1;
};

struct listing_private {
    struct listing shown;
    /* who: fixed */
    unsigned view;
    uint64_t addr;
    struct listing_key key;
    /* guarded by the cache's lock */
    enum listing_state state;
    unsigned refs;
    bool cached;                  /* in the cache's bucket and use list */
    struct listing_private *next; /* bucket */
    struct listing_private *newer, *older;
    /* written by the builder alone, before state leaves LISTING_PENDING */
    uint32_t *slot; /* hash table: index into v plus 1, 0 = free */
    size_t n_slots; /* power of two */
    size_t cap_v, cap_names, len_names;
    size_t bytes;        /* charged to *live */
    atomic_size_t *live; /* of the cache */
};

/* Walks the directory and fills `l`.  0, or the error of a walk that gave not one entry. */
int listing_build(struct listing_private *l, struct fs *fs, struct vd_err *err);

/* Releases what listing_build made, and its charge. */
void listing_clear(struct listing_private *l);

#endif
