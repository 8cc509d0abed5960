/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cache of made bytes; see made_cache.h for the rules.
 *
 *     absent ──get──▶ being made ──fill ok──▶ ready (in the LRU list) ──no room──▶ dropped
 *        ▲                 │
 *        └──── fill failed─┘   (waiters hold the flight and take the error from there)
 *
 * Locks: one mutex per shard guards its table, list, counters and the `done` state of its flights.
 * No two shard locks are ever held together, and none during a fill.  A value's bytes are written
 * before it becomes ready and never again, so readers need no lock.
 */
#include "blk/made_cache.h"

#include "base/cleanup.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#define N_BUCKETS  256
#define MAX_SHARDS 64

/* One fill in progress; lives as long as its maker and its waiters need it. */
struct flight {
    unsigned users; /* maker + waiters; guarded by the shard lock */
    bool done;
    int rc;
    struct made_buf *buf; /* result; referenced until the flight ends */
    struct vd_err err;
};

/* Owners share one store; numbers of owners are never used again. */
struct key {
    uint64_t owner, number;
};

struct made_buf {
    atomic_uint refs; /* table: 1, each holder: 1 */
    struct key key;
    size_t len;
    struct flight *flight;          /* while being made; guarded by the shard lock */
    struct made_buf *next;          /* bucket chain; guarded by the shard lock */
    struct made_buf *newer, *older; /* LRU list when ready; guarded by the shard lock */
    _Alignas(16) uint8_t bytes[];
};

struct shard {
    pthread_mutex_t lock;
    pthread_cond_t done; /* a flight of this shard ended */
    size_t budget, used; /* bytes of the values in the table */
    struct made_buf *bucket[N_BUCKETS];
    struct made_buf *newest, *oldest;
    struct made_cache_stats stats;
};

/* What several caches share. */
struct store {
    atomic_uint refs; /* caches */
    atomic_ullong n_owners;
    unsigned n_shards;
    struct shard shard[];
};

struct made_cache {
    atomic_uint refs;
    uint64_t owner;
    struct store *store;
};

/* The finalizer of splitmix64: neighbouring keys spread over shards and buckets. */
static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static uint64_t hash(struct key key)
{
    return mix(key.number ^ mix(key.owner));
}

static struct shard *shard_of(struct store *store, struct key key)
{
    return &store->shard[hash(key) & (store->n_shards - 1)];
}

static struct made_buf **bucket_of(struct shard *shard, struct key key)
{
    return &shard->bucket[(hash(key) >> 32) % N_BUCKETS];
}

static struct store *store_new(size_t budget, unsigned n_shards)
{
    struct store *store = calloc(1, sizeof(*store) + n_shards * sizeof(store->shard[0]));
    unsigned i;

    if (!store)
        return NULL;
    atomic_init(&store->refs, 0);
    store->n_shards = n_shards;
    for (i = 0; i < n_shards; i++) {
        (void)pthread_mutex_init(&store->shard[i].lock, NULL);
        (void)pthread_cond_init(&store->shard[i].done, NULL);
        store->shard[i].budget = budget / n_shards;
    }
    return store;
}

/* A cache on the store, which gets a reference. */
static struct made_cache *cache_on(struct store *store)
{
    struct made_cache *cache = malloc(sizeof(*cache));

    if (!cache)
        return NULL;
    atomic_init(&cache->refs, 1);
    cache->owner = atomic_fetch_add_explicit(&store->n_owners, 1, memory_order_relaxed);
    cache->store = store;
    atomic_fetch_add_explicit(&store->refs, 1, memory_order_relaxed);
    return cache;
}

int made_cache_new(size_t budget, unsigned n_shards, struct made_cache **out, struct vd_err *err)
{
    struct made_cache *cache;
    struct store *store;

    if (n_shards == 0 || n_shards > MAX_SHARDS || (n_shards & (n_shards - 1)))
        return vd_fail(err, VD_EUSAGE, "a cache of %u parts is not possible", n_shards);
    store = store_new(budget, n_shards);
    cache = store ? cache_on(store) : NULL;
    if (!cache) {
        free(store);
        return vd_fail(err, VD_ENOMEM, "out of memory");
    }
    *out = cache;
    return 0;
}

int made_cache_share(struct made_cache *cache, struct made_cache **out, struct vd_err *err)
{
    struct made_cache *sharer = cache_on(cache->store);

    if (!sharer)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    *out = sharer;
    return 0;
}

struct made_cache *made_cache_ref(struct made_cache *cache)
{
    atomic_fetch_add_explicit(&cache->refs, 1, memory_order_relaxed);
    return cache;
}

void made_buf_put(struct made_buf *buf)
{
    if (buf && atomic_fetch_sub_explicit(&buf->refs, 1, memory_order_acq_rel) == 1)
        free(buf);
}

const void *made_buf_bytes(const struct made_buf *buf)
{
    return buf->bytes;
}

static void shard_clear(struct shard *shard)
{
    size_t i;

    for (i = 0; i < N_BUCKETS; i++)
        while (shard->bucket[i]) {
            struct made_buf *buf = shard->bucket[i];

            shard->bucket[i] = buf->next;
            made_buf_put(buf);
        }
    (void)pthread_cond_destroy(&shard->done);
    (void)pthread_mutex_destroy(&shard->lock);
}

void made_cache_unref(struct made_cache *cache)
{
    struct store *store;
    unsigned i;

    if (!cache || atomic_fetch_sub_explicit(&cache->refs, 1, memory_order_acq_rel) != 1)
        return;
    store = cache->store;
    free(cache);
    if (atomic_fetch_sub_explicit(&store->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (i = 0; i < store->n_shards; i++)
        shard_clear(&store->shard[i]);
    free(store);
}

/* ---- table and list; the shard lock is held ---- */

static struct made_buf *table_find(struct shard *shard, struct key key)
{
    struct made_buf *buf = *bucket_of(shard, key);

    while (buf && (buf->key.number != key.number || buf->key.owner != key.owner))
        buf = buf->next;
    return buf;
}

/* Takes `buf` out of the table; the table's reference becomes the caller's. */
static void table_remove(struct shard *shard, struct made_buf *buf)
{
    struct made_buf **link = bucket_of(shard, buf->key);

    while (*link != buf)
        link = &(*link)->next;
    *link = buf->next;
    buf->next = NULL;
    shard->used -= buf->len;
}

static void list_remove(struct shard *shard, struct made_buf *buf)
{
    *(buf->newer ? &buf->newer->older : &shard->newest) = buf->older;
    *(buf->older ? &buf->older->newer : &shard->oldest) = buf->newer;
    buf->newer = buf->older = NULL;
}

static void list_push(struct shard *shard, struct made_buf *buf)
{
    buf->newer = NULL;
    buf->older = shard->newest;
    *(buf->older ? &buf->older->newer : &shard->oldest) = buf;
    shard->newest = buf;
}

/* Drops the longest unused values until the shard is inside its budget.  Those being made are not
 * in the list and stay. */
static void make_room(struct shard *shard)
{
    while (shard->used > shard->budget && shard->oldest) {
        struct made_buf *buf = shard->oldest;

        list_remove(shard, buf);
        table_remove(shard, buf);
        shard->stats.dropped++;
        made_buf_put(buf);
    }
}

/* ---- flights ---- */

/* Leaves the flight; the last one frees it.  The shard lock is held. */
static void flight_leave(struct flight *flight)
{
    if (--flight->users == 0) {
        made_buf_put(flight->buf);
        free(flight);
    }
}

/* Waits for another thread's fill and takes over its outcome.  The shard lock is held. */
static int flight_wait(struct shard *shard, struct flight *flight, struct made_buf **out,
                       struct vd_err *err)
{
    int rc;

    shard->stats.waits++;
    flight->users++;
    while (!flight->done)
        (void)pthread_cond_wait(&shard->done, &shard->lock);
    rc = flight->rc;
    if (rc == 0) {
        atomic_fetch_add_explicit(&flight->buf->refs, 1, memory_order_relaxed);
        *out = flight->buf;
    } else if (err) {
        *err = flight->err;
    }
    flight_leave(flight);
    return rc;
}

/* Puts a new value "being made" into the table.  The shard lock is held.  References: the table,
 * the maker (who hands his to the caller) and the flight. */
static struct made_buf *flight_start(struct shard *shard, struct key key, size_t len)
{
    struct made_buf *buf = malloc(sizeof(*buf) + len);
    struct flight *flight = calloc(1, sizeof(*flight));

    if (!buf || !flight) {
        free(buf);
        free(flight);
        return NULL;
    }
    atomic_init(&buf->refs, 3);
    buf->key = key;
    buf->len = len;
    buf->flight = flight;
    buf->newer = buf->older = NULL;
    buf->next = *bucket_of(shard, key);
    *bucket_of(shard, key) = buf;
    flight->users = 1;
    flight->buf = buf;
    shard->used += len;
    return buf;
}

/* Ends the flight: publishes the value, or removes every trace of it. */
static void flight_end(struct shard *shard, struct made_buf *buf, int rc, const struct vd_err *err)
{
    VD_LOCKED(&shard->lock);
    struct flight *flight = buf->flight;

    flight->done = true;
    flight->rc = rc;
    buf->flight = NULL;
    shard->stats.fills++;
    if (rc == 0) {
        list_push(shard, buf);
        make_room(shard);
    } else {
        flight->err = *err;
        shard->stats.failures++;
        table_remove(shard, buf);
        made_buf_put(buf); /* the table's */
    }
    (void)pthread_cond_broadcast(&shard->done);
    flight_leave(flight);
}

/* Looks up under the lock.  True: *out_rc is the answer.  False: *out is new, the caller makes it.
 */
static bool look_up(struct shard *shard, struct key key, size_t len, struct made_buf **out,
                    int *out_rc, struct vd_err *err)
{
    VD_LOCKED(&shard->lock);
    struct made_buf *buf = table_find(shard, key);

    *out_rc = 0;
    if (buf && buf->len != len) {
        *out_rc = vd_fail(err, VD_EUSAGE, "a cached value has %zu bytes, %zu were asked for",
                          buf->len, len);
        return true;
    }
    if (buf && buf->flight) {
        *out_rc = flight_wait(shard, buf->flight, out, err);
        return true;
    }
    if (buf) {
        shard->stats.hits++;
        list_remove(shard, buf);
        list_push(shard, buf);
        atomic_fetch_add_explicit(&buf->refs, 1, memory_order_relaxed);
        *out = buf;
        return true;
    }
    buf = flight_start(shard, key, len);
    if (!buf) {
        *out_rc = vd_fail(err, VD_ENOMEM, "out of memory");
        return true;
    }
    *out = buf;
    return false;
}

int made_cache_get(struct made_cache *cache, uint64_t key, size_t len, made_fill_fn *fill,
                   void *ctx, struct made_buf **out, struct vd_err *err)
{
    const struct key full = {cache->owner, key};
    struct shard *shard = shard_of(cache->store, full);
    struct vd_err fill_err = VD_ERR_INIT;
    struct made_buf *buf = NULL;
    int rc;

    if (look_up(shard, full, len, &buf, &rc, err)) {
        if (rc == 0)
            *out = buf;
        return rc;
    }
    rc = fill(ctx, key, buf->bytes, len, &fill_err);
    flight_end(shard, buf, rc, &fill_err);
    if (rc) {
        made_buf_put(buf);
        if (err)
            *err = fill_err;
        return rc;
    }
    *out = buf;
    return 0;
}

void made_cache_get_stats(struct made_cache *cache, struct made_cache_stats *out)
{
    struct made_cache_stats sum = {0};
    unsigned i;

    for (i = 0; i < cache->store->n_shards; i++) {
        struct shard *shard = &cache->store->shard[i];
        VD_LOCKED(&shard->lock);

        sum.hits += shard->stats.hits;
        sum.waits += shard->stats.waits;
        sum.fills += shard->stats.fills;
        sum.failures += shard->stats.failures;
        sum.dropped += shard->stats.dropped;
        sum.bytes += shard->used;
    }
    *out = sum;
}
