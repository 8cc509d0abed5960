/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Made bytes: what a decoder had to make (inflated grains, merged allocation tables), kept for a
 * while.  Values are keyed by a 64-bit number, immutable once made and handed out by reference
 * count.  Bounded by a byte budget, sharded, single-flight: while one thread makes a value, others
 * that ask for it wait for that one value only.  A failed fill leaves no trace: those who waited
 * for it get its error, the next one who asks tries again.
 *
 * Bytes that lie in evidence as they are do not belong here: the page cache keeps them.
 *
 * Threads: made_cache_get and made_buf_put may be called from any thread.
 */
#ifndef VD_BLK_MADE_CACHE_H
#define VD_BLK_MADE_CACHE_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct made_cache;
struct made_buf;

/* Makes the value of `key`: fills exactly `len` bytes, or fails.  Called without any lock held, in
 * the thread that asked first.  May ask the same cache for *other* keys (never in a circle). */
typedef int made_fill_fn(void *ctx, uint64_t key, void *buf, size_t len, struct vd_err *err);

/* A cache that keeps at most `budget` bytes of values, in `n_shards` parts (a power of two, at
 * most 64) of equal budget.  A value larger than one part's budget is made and handed out, but not
 * kept.  Values in use stay alive beyond the budget until they are put back: the real bound is the
 * budget plus one value per thread.  One reference for the caller (made_cache_unref). */
int made_cache_new(size_t budget, unsigned n_shards, struct made_cache **out, struct vd_err *err);

/* Another cache on the store of `cache`: keys of its own, the same budget.  One reference for the
 * caller.  What a cache kept stays in the store until others need the room or the last of them goes.
 * Any thread. */
int made_cache_share(struct made_cache *cache, struct made_cache **out, struct vd_err *err);

struct made_cache *made_cache_ref(struct made_cache *cache);
/* Accepts NULL.  With the last reference to the last cache of a store the kept values go; values that somebody still holds live
 * until they are put back.  No made_cache_get may be running then. */
void made_cache_unref(struct made_cache *cache);

/* The value of `key`, `len` (> 0) bytes; the same key must always be asked with the same length.
 * May block while the value is made, here or in another thread.  The caller gives *out back with
 * made_buf_put.  Errors: those of `fill`, VD_ENOMEM, VD_EUSAGE for a key of another length. */
int made_cache_get(struct made_cache *cache, uint64_t key, size_t len, made_fill_fn *fill,
                   void *ctx, struct made_buf **out, struct vd_err *err);

/* The bytes; borrowed until made_buf_put. */
const void *made_buf_bytes(const struct made_buf *buf);

/* Gives a value back; accepts NULL. */
void made_buf_put(struct made_buf *buf);

static inline void vd_auto_made_buf(struct made_buf **buf)
{
    made_buf_put(*buf);
}

struct made_cache_stats {
    uint64_t hits;     /* found ready */
    uint64_t waits;    /* found being made by another thread */
    uint64_t fills;    /* made */
    uint64_t failures; /* fills that failed */
    uint64_t dropped;  /* values that made room for others */
    uint64_t bytes;    /* kept now, values being made included */
};

/* Of the store: all caches that share it. */
void made_cache_get_stats(struct made_cache *cache, struct made_cache_stats *out);

#endif
