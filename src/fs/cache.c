/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Object cache: see cache.h.  One mutex guards everything in struct fs_cache and the list fields of
 * the entries; it is never held while an object is made or freed.  `object` is written once, before
 * the entry stops being pending, and is read by holders of a reference only.
 */
#include "fs/cache.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define BUCKETS 4096u /* a power of two; 32 KiB of pointers */

struct entry {
    struct fs_cached ref; /* first member: the public handle */
    uint64_t a, b;
    size_t cost;
    unsigned refs;
    bool pending;
    struct entry *chain;         /* next in bucket */
    struct entry *older, *newer; /* LRU list, only while refs == 0 */
};

struct fs_cache {
    pthread_mutex_t lock;
    pthread_cond_t made;
    fs_cache_free_fn *free_fn;
    size_t budget, used;
    struct entry *oldest, *newest;
    struct entry *bucket[BUCKETS];
};

/* Of all caches: costs of finished entries, and the caches themselves. */
static atomic_size_t total;

static struct entry **slot_of(struct fs_cache *cache, uint64_t a, uint64_t b)
{
    uint64_t h = (a * UINT64_C(0x9e3779b97f4a7c15)) ^ (b * UINT64_C(0xc2b2ae3d27d4eb4f));
    struct entry **slot = &cache->bucket[(h >> 40) & (BUCKETS - 1)];

    while (*slot && ((*slot)->a != a || (*slot)->b != b))
        slot = &(*slot)->chain;
    return slot;
}

int fs_cache_new(size_t budget, fs_cache_free_fn *free_fn, struct fs_cache **out,
                 struct vd_err *err)
{
    struct fs_cache *cache = calloc(1, sizeof(*cache));

    if (!cache)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    (void)pthread_mutex_init(&cache->lock, NULL);
    (void)pthread_cond_init(&cache->made, NULL);
    cache->free_fn = free_fn;
    cache->budget = budget;
    (void)atomic_fetch_add(&total, sizeof(*cache));
    *out = cache;
    return 0;
}

static void lru_remove(struct fs_cache *cache, struct entry *e)
{
    *(e->older ? &e->older->newer : &cache->oldest) = e->newer;
    *(e->newer ? &e->newer->older : &cache->newest) = e->older;
    e->older = e->newer = NULL;
}

static void lru_add(struct fs_cache *cache, struct entry *e)
{
    e->older = cache->newest;
    e->newer = NULL;
    *(cache->newest ? &cache->newest->newer : &cache->oldest) = e;
    cache->newest = e;
}

size_t fs_cache_total(void)
{
    return atomic_load(&total);
}

/* Takes entries over the budget out of the table; returns them as a list to free unlocked. */
static struct entry *evict(struct fs_cache *cache)
{
    struct entry *list = NULL;
    size_t budget = fs_cache_total() > FS_CACHE_TOTAL ? cache->budget / 8 : cache->budget;

    while (cache->used > budget && cache->oldest) {
        struct entry *e = cache->oldest;

        lru_remove(cache, e);
        *slot_of(cache, e->a, e->b) = e->chain;
        cache->used -= e->cost;
        (void)atomic_fetch_sub(&total, e->cost);
        e->chain = list;
        list = e;
    }
    return list;
}

static void free_list(struct fs_cache *cache, struct entry *list)
{
    while (list) {
        struct entry *next = list->chain;

        cache->free_fn(list->ref.object);
        free(list);
        list = next;
    }
}

void fs_cache_free(struct fs_cache *cache)
{
    if (!cache)
        return;
    cache->budget = 0;
    free_list(cache, evict(cache));
    (void)pthread_cond_destroy(&cache->made);
    (void)pthread_mutex_destroy(&cache->lock);
    (void)atomic_fetch_sub(&total, sizeof(*cache));
    free(cache);
}

/* With the lock held: a finished entry with a new reference, or NULL when the caller must make it
 * (*out_new is then the pending entry). */
static struct entry *find_or_claim(struct fs_cache *cache, uint64_t a, uint64_t b,
                                   struct entry **out_new)
{
    struct entry *e;

    while ((e = *slot_of(cache, a, b)) != NULL && e->pending)
        (void)pthread_cond_wait(&cache->made, &cache->lock);
    if (e) {
        if (!e->refs++)
            lru_remove(cache, e);
        return e;
    }
    e = calloc(1, sizeof(*e));
    if (e) {
        struct entry **slot = slot_of(cache, a, b);

        e->a = a;
        e->b = b;
        e->refs = 1;
        e->pending = true;
        *slot = e;
    }
    *out_new = e;
    return NULL;
}

int fs_cache_get(struct fs_cache *cache, uint64_t a, uint64_t b, fs_cache_make_fn *make, void *ctx,
                 struct fs_cached **out, struct vd_err *err)
{
    struct entry *e, *mine = NULL, *victims = NULL;
    void *object = NULL;
    size_t cost = 0;
    int rc;

    (void)pthread_mutex_lock(&cache->lock);
    e = find_or_claim(cache, a, b, &mine);
    (void)pthread_mutex_unlock(&cache->lock);
    if (e) {
        *out = &e->ref;
        return 0;
    }
    if (!mine)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    rc = make(ctx, a, b, &object, &cost, err);
    (void)pthread_mutex_lock(&cache->lock);
    mine->pending = false;
    if (rc) {
        *slot_of(cache, a, b) = mine->chain;
    } else {
        mine->ref.object = object;
        mine->cost = cost + sizeof(*mine);
        cache->used += mine->cost;
        (void)atomic_fetch_add(&total, mine->cost);
        victims = evict(cache);
    }
    (void)pthread_cond_broadcast(&cache->made);
    (void)pthread_mutex_unlock(&cache->lock);
    free_list(cache, victims);
    if (rc) {
        free(mine);
        return rc;
    }
    *out = &mine->ref;
    return 0;
}

void fs_cache_put(struct fs_cache *cache, struct fs_cached *ref)
{
    struct entry *e = (struct entry *)ref, *victims = NULL;

    if (!ref)
        return;
    (void)pthread_mutex_lock(&cache->lock);
    if (--e->refs == 0) {
        lru_add(cache, e);
        victims = evict(cache);
    }
    (void)pthread_mutex_unlock(&cache->lock);
    free_list(cache, victims);
}
