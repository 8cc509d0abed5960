/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cache of listings: single flight, references, least recently used goes first.
 *
 * One lock guards the buckets, the use list, and state and refs of every listing; it is never held
 * while a directory is read.  A listing is made by the first who asks (LISTING_PENDING), the others
 * wait for `built`.  A failed walk leaves no trace: it is taken out of the cache before anybody is
 * woken, those who waited for it get its error, the next one walks again.
 *
 * The most recently used listing is kept even when it is larger than LISTING_KEEP_BYTES: without it
 * every piece of a huge directory would walk the whole directory.
 */
#include "tree/listing_private.h"

#include "base/cleanup.h"

#include <stdlib.h>
#include <sys/random.h>

#define N_BUCKETS 1024u

struct listing_cache {
    pthread_mutex_t lock;
    pthread_cond_t built;
    struct listing_key key;
    struct listing_private *bucket[N_BUCKETS];
    struct listing_private *newest, *oldest;
    size_t n_cached, cached_bytes; /* of finished listings in the cache */
    atomic_size_t live;            /* bytes of all listings that exist */
};

int listing_cache_new(struct listing_cache **out, struct vd_err *err)
{
    struct listing_cache *c = calloc(1, sizeof(*c));

    if (!c)
        return vd_fail(err, VD_ENOMEM, "no memory for the cache of listings");
    /* Without randomness the cache still works; only the defence against collisions is weaker. */
    if (getrandom(&c->key, sizeof(c->key), GRND_NONBLOCK) != (ssize_t)sizeof(c->key))
        c->key.k0 = (uint64_t)(uintptr_t)c;
    (void)pthread_mutex_init(&c->lock, NULL);
    (void)pthread_cond_init(&c->built, NULL);
    *out = c;
    return 0;
}

static struct listing_private **bucket_of(struct listing_cache *c, unsigned view, uint64_t addr)
{
    uint64_t x = (addr + view * UINT64_C(0xc2b2ae3d27d4eb4f)) ^ c->key.k0;

    x *= UINT64_C(0x9e3779b97f4a7c15);
    return &c->bucket[(x >> 32) % N_BUCKETS];
}

static void destroy(struct listing_private *l)
{
    listing_clear(l);
    free(l);
}

/* ---- the use list; the lock is held ---- */

static void unlink_use(struct listing_cache *c, struct listing_private *l)
{
    *(l->newer ? &l->newer->older : &c->newest) = l->older;
    *(l->older ? &l->older->newer : &c->oldest) = l->newer;
    l->newer = l->older = NULL;
}

static void link_newest(struct listing_cache *c, struct listing_private *l)
{
    l->older = c->newest;
    *(c->newest ? &c->newest->newer : &c->oldest) = l;
    c->newest = l;
}

/* Takes a listing out of the cache; it lives on while somebody uses it. */
static void evict(struct listing_cache *c, struct listing_private *l)
{
    struct listing_private **p = bucket_of(c, l->view, l->addr);

    while (*p != l)
        p = &(*p)->next;
    *p = l->next;
    l->next = NULL;
    unlink_use(c, l);
    l->cached = false;
    c->n_cached--;
    c->cached_bytes -= l->state == LISTING_READY ? l->bytes : 0;
    if (l->refs == 0)
        destroy(l);
}

static void trim(struct listing_cache *c)
{
    struct listing_private *l = c->oldest;

    while (l && l != c->newest &&
           (c->cached_bytes > LISTING_KEEP_BYTES || c->n_cached > LISTING_KEEP_COUNT)) {
        struct listing_private *newer = l->newer;

        if (l->state != LISTING_PENDING)
            evict(c, l);
        l = newer;
    }
}

static struct listing_private *find(struct listing_cache *c, unsigned view, uint64_t addr)
{
    struct listing_private *l = *bucket_of(c, view, addr);

    while (l && (l->view != view || l->addr != addr))
        l = l->next;
    return l;
}

/* A new pending listing, in the cache, with one reference. */
static struct listing_private *add_pending(struct listing_cache *c, unsigned view, uint64_t addr)
{
    struct listing_private *l = calloc(1, sizeof(*l)), **bucket = bucket_of(c, view, addr);

    if (!l)
        return NULL;
    l->shown.priv = l;
    l->view = view;
    l->addr = addr;
    l->key = c->key;
    l->live = &c->live;
    l->state = LISTING_PENDING;
    l->refs = 1;
    l->cached = true;
    l->next = *bucket;
    *bucket = l;
    link_newest(c, l);
    c->n_cached++;
    return l;
}

/* Drops one reference; the lock is held. */
static void drop(struct listing_private *l)
{
    if (--l->refs == 0 && !l->cached)
        destroy(l);
}

/* ---- getting one ---- */

/* Walks the directory for everybody who waits. */
static int fill(struct listing_cache *c, struct listing_private *l, struct fs *fs,
                struct vd_err *err)
{
    struct vd_err local = VD_ERR_INIT;
    int rc = listing_build(l, fs, &local);

    VD_LOCKED(&c->lock);
    if (rc) {
        listing_clear(l);
        l->shown.rc = rc;
        l->shown.err = local;
        l->state = LISTING_FAILED;
        evict(c, l);
        if (err)
            *err = local;
        drop(l);
    } else {
        l->state = LISTING_READY;
        c->cached_bytes += l->bytes;
        trim(c);
    }
    (void)pthread_cond_broadcast(&c->built);
    return rc;
}

/* Waits for another thread's walk; the lock is held (and dropped meanwhile). */
static int await(struct listing_cache *c, struct listing_private *l, struct vd_err *err)
{
    int rc = 0;

    l->refs++;
    while (l->state == LISTING_PENDING)
        (void)pthread_cond_wait(&c->built, &c->lock);
    if (l->state == LISTING_FAILED) {
        rc = l->shown.rc;
        if (err)
            *err = l->shown.err;
        drop(l);
    }
    return rc;
}

int listing_get(struct listing_cache *cache, struct fs *fs, unsigned view, uint64_t addr,
                bool retry, const struct listing **out, struct vd_err *err)
{
    struct listing_private *l;
    int rc;

    {
        VD_LOCKED(&cache->lock);
        l = find(cache, view, addr);
        if (l && retry && l->state == LISTING_READY && l->shown.rc) {
            evict(cache, l);
            l = NULL;
        }
        if (l) {
            unlink_use(cache, l);
            link_newest(cache, l);
            rc = await(cache, l, err);
            if (!rc)
                *out = &l->shown;
            return rc;
        }
        l = add_pending(cache, view, addr);
    }
    if (!l)
        return vd_fail(err, VD_ENOMEM, "no memory for a listing");
    rc = fill(cache, l, fs, err);
    if (!rc)
        *out = &l->shown;
    return rc;
}

void listing_put(struct listing_cache *cache, const struct listing *listing)
{
    if (!listing)
        return;
    VD_LOCKED(&cache->lock);
    drop(listing->priv);
}

void listing_cache_free(struct listing_cache *cache)
{
    if (!cache)
        return;
    while (cache->oldest)
        evict(cache, cache->oldest);
    (void)pthread_mutex_destroy(&cache->lock);
    (void)pthread_cond_destroy(&cache->built);
    free(cache);
}
