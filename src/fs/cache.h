/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bounded cache of immutable objects that are costly to make (decoded directories, run tables,
 * inflated units), keyed by two numbers.  Single flight: while one thread makes an object, others
 * that want the same one wait for it; a failed make leaves no trace.  Objects are handed out by
 * reference count; least recently used ones without references are freed over the budget.
 *
 * Many volumes of many points of a chain may be open at the same time, each with caches of its own:
 * while all caches of the process together hold more than FS_CACHE_TOTAL, each of them keeps to an
 * eighth of its budget.
 */
#ifndef VD_FS_CACHE_H
#define VD_FS_CACHE_H

#include "base/err.h"

struct fs_cache;

#define FS_CACHE_TOTAL ((size_t)256 << 20)

/* A reference to a cached object. */
struct fs_cached {
    void *object;
};

typedef void fs_cache_free_fn(void *object);

/* Makes the object for a key; *out_cost is what it holds, bytes.  Called without any lock held. */
typedef int fs_cache_make_fn(void *ctx, uint64_t a, uint64_t b, void **out_object, size_t *out_cost,
                             struct vd_err *err);

/* `budget`: bytes of unreferenced and referenced objects together that are kept. */
int fs_cache_new(size_t budget, fs_cache_free_fn *free_fn, struct fs_cache **out,
                 struct vd_err *err);
/* No reference may be left.  Accepts NULL. */
void fs_cache_free(struct fs_cache *cache);

/* The object for (a, b), made when it is not there.  The caller gives the reference back. */
int fs_cache_get(struct fs_cache *cache, uint64_t a, uint64_t b, fs_cache_make_fn *make, void *ctx,
                 struct fs_cached **out, struct vd_err *err);
void fs_cache_put(struct fs_cache *cache, struct fs_cached *ref);

/* Bytes that all caches of the process hold now.  Any thread. */
size_t fs_cache_total(void);

#endif
