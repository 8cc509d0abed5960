/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listings: the display names of one directory, all of them, built once and kept for a while.
 *
 * Whether a name is unique is known only when the whole directory was read, and FUSE reads it in
 * many small pieces.  So the directory is walked once, its listing is kept in a small cache, and
 * the pieces are cut from there.
 *
 * Names, in the order of fs_readdir:
 *   - the escaped name (names.h), if it is at most VD_MAX_NAME bytes and no earlier entry has it.
 *     These names go first, wherever in the directory they stand: an entry that is really called
 *     "a~5" keeps that name.
 *   - every other entry (a repeated name, or one that is too long) becomes NAME~ADDRESS, cut before
 *     the '~' so that the whole fits; if that is taken, NAME~ADDRESS~POSITION (1 = first entry of
 *     the directory); if even that is taken, NAME~ADDRESS~POSITION~2, ~3 … .
 * The result depends on nothing but the directory.
 */
#ifndef VD_TREE_LISTING_H
#define VD_TREE_LISTING_H

#include "fs/fs.h"

/* Bytes of listings that are kept though nobody uses them.  1 million names of 20 bytes need
 * about 56 MiB. */
#define LISTING_KEEP_BYTES (64u << 20)
/* How many are kept. */
#define LISTING_KEEP_COUNT 4096
/* Bytes of all listings that exist at one time: VD_MAX_DIR_ENTRIES names of 20 bytes are 0.9 GiB.
 * What would need more fails with VD_ELIMIT. */
#define LISTING_LIVE_BYTES ((size_t)1 << 30)

struct listing_entry {
    uint64_t node;
    uint32_t name_off; /* into names */
    uint16_t name_len;
    uint8_t kind; /* enum fs_kind */
    bool renamed; /* repeated or cut: the name ends in ~ADDRESS */
};

struct listing_cache;

/* Immutable once listing_get gave it. */
struct listing {
    struct listing_entry *v;
    size_t n;
    char *names; /* NUL-terminated names */
    /* The walk stopped early: what v holds is right, but not all.  0 = complete. */
    int rc;
    struct vd_err err;
    struct listing_private *priv;
};

int listing_cache_new(struct listing_cache **out, struct vd_err *err);
/* No listing may be in use.  Accepts NULL. */
void listing_cache_free(struct listing_cache *cache);

/* The listing of directory `addr` of `fs`, which is `view` in node numbers.  Two callers that ask
 * for the same directory at the same time wait for one walk.  `retry`: an incomplete listing that
 * was kept is not good enough, walk again.  Fails when not even one entry could be read; a walk
 * that failed later gives an incomplete listing (rc).  Give it back with listing_put.  Any thread;
 * may block on the evidence. */
int listing_get(struct listing_cache *cache, struct fs *fs, unsigned view, uint64_t addr,
                bool retry, const struct listing **out, struct vd_err *err);
void listing_put(struct listing_cache *cache, const struct listing *listing);

/* The entry with this display name, or NULL. */
const struct listing_entry *listing_find(const struct listing *listing, const char *name);

static inline const char *listing_name(const struct listing *listing,
                                       const struct listing_entry *entry)
{
    return listing->names + entry->name_off;
}

#endif
