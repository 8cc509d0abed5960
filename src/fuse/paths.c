/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of nodes that the kernel knows.  64 shards by node number, each a chained hash table
 * with its own lock, so that threads seldom meet.  No function holds two locks.
 *
 * A node may be known under several parents (hard links; hostile directory loops): the latest
 * parent and its name make the path, all of them (up to PARENTS_MAX) count for the depth.  Parents
 * are followed step by step with a bound, so a loop ends.
 *
 * The tree's fs/ directories are found by name: outside the file systems everything is made by the
 * tree itself, and there `fs` is always the root of one.
 */
#include "fuse/paths.h"

#include "tree/tree.h"

#include <pthread.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#define SHARDS        64u
#define FIRST_BUCKETS 16u

/* Parents remembered for one node.  A node that was seen under more has no known depth. */
#define PARENTS_MAX 8u

/* Nodes of one step of paths_depth; more than this many different ones: depth not known. */
#define FRONTIER_MAX 64u

struct entry {
    struct entry *next;
    uint64_t node, lookups;
    uint64_t parent; /* latest; 0 = not known */
    uint64_t *older; /* the other parents, PARENTS_MAX - 1 places; NULL: there are none */
    uint8_t n_older;
    bool many;         /* parents were left out */
    bool outside;      /* made by the tree, above any fs/ */
    bool fs_root;      /* an fs/ itself */
    uint16_t name_len; /* 0 = not known */
    char name[];
};

struct shard {
    alignas(64) pthread_mutex_t lock;
    struct entry **bucket; /* guarded by lock, as all below */
    size_t n_buckets, n;
};

struct paths {
    struct shard shard[SHARDS];
};

static uint64_t mix(uint64_t node)
{
    node ^= node >> 33;
    node *= UINT64_C(0xff51afd7ed558ccd); /* MurmurHash3's finaliser: node numbers are regular */
    node ^= node >> 33;
    return node;
}

static struct shard *shard_of(struct paths *p, uint64_t node)
{
    return &p->shard[mix(node) % SHARDS];
}

/* The place that points to the entry of `node`, or the end of its chain.  Lock held. */
static struct entry **place_of(struct shard *s, uint64_t node)
{
    struct entry **at = &s->bucket[(mix(node) / SHARDS) & (s->n_buckets - 1)];

    while (*at && (*at)->node != node)
        at = &(*at)->next;
    return at;
}

static void entry_free(struct entry *e)
{
    if (e)
        free(e->older);
    free(e);
}

/* Doubles the buckets; failing only makes chains longer.  Lock held. */
static void shard_grow(struct shard *s)
{
    size_t n = s->n_buckets * 2, i;
    struct entry **old = s->bucket;
    struct entry **bucket = calloc(n, sizeof(*bucket));

    if (!bucket)
        return;
    s->bucket = bucket;
    s->n_buckets = n;
    for (i = 0; i < n / 2; i++) {
        struct entry *e = old[i], *next;

        for (; e; e = next) {
            struct entry **at = place_of(s, e->node);

            next = e->next;
            e->next = NULL;
            *at = e;
        }
    }
    free(old);
}

static struct entry *entry_new(uint64_t node, const char *name, size_t len)
{
    struct entry *e = calloc(1, sizeof(*e) + len);

    if (!e)
        return NULL;
    e->node = node;
    e->name_len = (uint16_t)len;
    if (len)
        memcpy(e->name, name, len);
    return e;
}

int paths_new(struct paths **out, struct vd_err *err)
{
    struct paths *p = aligned_alloc(alignof(struct paths), sizeof(*p));
    struct shard *s;
    unsigned i;
    struct entry *root;

    if (!p)
        return vd_fail(err, VD_ENOMEM, "no memory for the table of nodes");
    memset(p, 0, sizeof(*p));
    for (i = 0; i < SHARDS; i++) {
        s = &p->shard[i];
        (void)pthread_mutex_init(&s->lock, NULL);
        s->n_buckets = FIRST_BUCKETS;
        s->bucket = calloc(FIRST_BUCKETS, sizeof(*s->bucket));
        if (!s->bucket)
            goto no_memory;
    }
    root = entry_new(TREE_ROOT, "", 0);
    if (!root)
        goto no_memory;
    root->outside = true;
    root->lookups = 1;
    s = shard_of(p, TREE_ROOT);
    *place_of(s, TREE_ROOT) = root;
    s->n = 1;
    *out = p;
    return 0;

no_memory:
    paths_free(p);
    return vd_fail(err, VD_ENOMEM, "no memory for the table of nodes");
}

void paths_free(struct paths *p)
{
    unsigned i;
    size_t b;

    if (!p)
        return;
    for (i = 0; i < SHARDS; i++) {
        struct shard *s = &p->shard[i];

        for (b = 0; s->bucket && b < s->n_buckets; b++) {
            struct entry *e = s->bucket[b], *next;

            for (; e; e = next) {
                next = e->next;
                entry_free(e);
            }
        }
        free(s->bucket);
    }
    free(p);
}

/* Remembers `parent` as one of the older ones.  Without memory the depth becomes unknown, which is
 * the safe answer.  Lock held. */
static void older_add(struct entry *e, uint64_t parent)
{
    unsigned i;

    for (i = 0; i < e->n_older; i++)
        if (e->older[i] == parent)
            return;
    if (!e->older)
        e->older = calloc(PARENTS_MAX - 1, sizeof(*e->older));
    if (!e->older || e->n_older == PARENTS_MAX - 1) {
        e->many = true;
        return;
    }
    e->older[e->n_older++] = parent;
}

/* Makes (parent, name) the latest place of *at; the entry may move.  Lock held. */
static bool entry_place(struct entry **at, uint64_t parent, const char *name, size_t len)
{
    struct entry *e = *at;

    if (e->name_len != len || (len && memcmp(e->name, name, len) != 0)) {
        struct entry *renamed = entry_new(e->node, name, len);

        if (!renamed)
            return false;
        renamed->next = e->next;
        renamed->lookups = e->lookups;
        renamed->parent = e->parent;
        renamed->older = e->older;
        renamed->n_older = e->n_older;
        renamed->many = e->many;
        renamed->outside = e->outside;
        renamed->fs_root = e->fs_root;
        free(e);
        *at = e = renamed;
    }
    if (e->parent && e->parent != parent)
        older_add(e, e->parent);
    e->parent = parent;
    return true;
}

/* Does `parent` lie above any fs/? */
static bool is_outside(struct paths *p, uint64_t parent)
{
    struct shard *s = shard_of(p, parent);
    const struct entry *e;
    bool outside;

    (void)pthread_mutex_lock(&s->lock);
    e = *place_of(s, parent);
    outside = e && e->outside;
    (void)pthread_mutex_unlock(&s->lock);
    return outside;
}

bool paths_add(struct paths *p, uint64_t node, uint64_t parent, const char *name, size_t len)
{
    bool outside = parent && is_outside(p, parent);
    struct shard *s = shard_of(p, node);
    struct entry **at;
    bool ok = true;

    if (len > UINT16_MAX)
        return false;
    (void)pthread_mutex_lock(&s->lock);
    at = place_of(s, node);
    if (!*at) {
        if (s->n >= s->n_buckets) {
            shard_grow(s);
            at = place_of(s, node);
        }
        *at = entry_new(node, name, parent ? len : 0);
        ok = *at != NULL;
        if (ok) {
            (*at)->parent = parent;
            s->n++;
        }
    } else if (parent && node != TREE_ROOT) {
        ok = entry_place(at, parent, name, len);
    }
    if (ok && outside && node != TREE_ROOT) {
        (*at)->fs_root = len == 2 && memcmp(name, "fs", 2) == 0;
        (*at)->outside = !(*at)->fs_root;
    }
    if (ok)
        (*at)->lookups++;
    (void)pthread_mutex_unlock(&s->lock);
    return ok;
}

void paths_forget(struct paths *p, uint64_t node, uint64_t n)
{
    struct shard *s = shard_of(p, node);
    struct entry **at, *gone = NULL;

    if (node == TREE_ROOT)
        return;
    (void)pthread_mutex_lock(&s->lock);
    at = place_of(s, node);
    if (*at && (*at)->lookups <= n) {
        gone = *at;
        *at = gone->next;
        s->n--;
    } else if (*at) {
        (*at)->lookups -= n;
    }
    (void)pthread_mutex_unlock(&s->lock);
    entry_free(gone);
}

size_t paths_get(struct paths *p, uint64_t node, char *buf, size_t size)
{
    size_t pos = size - 1; /* written from the end; buf[pos] is the first byte so far */
    bool known = true;
    unsigned steps;

    buf[pos] = '\0';
    for (steps = 0; known && node != TREE_ROOT; steps++) {
        struct shard *s = shard_of(p, node);
        const struct entry *e;
        size_t slash = pos == size - 1 ? 0 : 1;

        (void)pthread_mutex_lock(&s->lock);
        e = *place_of(s, node);
        /* Two bytes stay free for "?/". */
        if (!e || !e->name_len || steps == PATHS_MAX_DEPTH || e->name_len + slash + 2 > pos) {
            known = false;
        } else {
            if (slash)
                buf[--pos] = '/';
            pos -= e->name_len;
            memcpy(buf + pos, e->name, e->name_len);
            node = e->parent;
        }
        (void)pthread_mutex_unlock(&s->lock);
    }
    if (!known) {
        if (pos != size - 1)
            buf[--pos] = '/';
        buf[--pos] = '?';
    }
    memmove(buf, buf + pos, size - pos);
    return size - 1 - pos;
}

/* Nodes at one distance from the node whose depth is asked for. */
struct frontier {
    uint64_t node[FRONTIER_MAX];
    unsigned n;
};

/* Adds without duplicates; false: no room. */
static bool frontier_add(struct frontier *f, uint64_t node)
{
    unsigned i;

    for (i = 0; i < f->n; i++)
        if (f->node[i] == node)
            return true;
    if (f->n == FRONTIER_MAX)
        return false;
    f->node[f->n++] = node;
    return true;
}

/* Adds the parents of `node` to `up`.  *out_root: the node is an fs/.  false: its parents are not
 * all known.  A node that is not in the table is one that the kernel does not reach: no parents. */
static bool step_up(struct paths *p, uint64_t node, struct frontier *up, bool *out_root)
{
    struct shard *s = shard_of(p, node);
    const struct entry *e;
    bool ok = true;
    unsigned i;

    (void)pthread_mutex_lock(&s->lock);
    e = *place_of(s, node);
    if (e && e->fs_root) {
        *out_root = true;
    } else if (e) {
        ok = !e->many && e->parent && frontier_add(up, e->parent);
        for (i = 0; ok && i < e->n_older; i++)
            ok = frontier_add(up, e->older[i]);
    }
    (void)pthread_mutex_unlock(&s->lock);
    return ok;
}

unsigned paths_depth(struct paths *p, uint64_t node)
{
    struct frontier a = {.node = {node}, .n = 1}, b, *now = &a, *up = &b, *swap;
    unsigned distance, i;

    /* Breadth first: the first fs/ that is met is the nearest. */
    for (distance = 0; distance < PATHS_MAX_DEPTH && now->n; distance++) {
        bool root = false;

        up->n = 0;
        for (i = 0; i < now->n; i++)
            if (!step_up(p, now->node[i], up, &root))
                return TREE_DEPTH_UNKNOWN;
        if (root) /* an fs/ itself (distance 0) has no depth beneath one */
            return distance ? distance - 1 : TREE_DEPTH_UNKNOWN;
        swap = now;
        now = up;
        up = swap;
    }
    return TREE_DEPTH_UNKNOWN;
}

size_t paths_count(struct paths *p)
{
    size_t n = 0;
    unsigned i;

    for (i = 0; i < SHARDS; i++) {
        (void)pthread_mutex_lock(&p->shard[i].lock);
        n += p->shard[i].n;
        (void)pthread_mutex_unlock(&p->shard[i].lock);
    }
    return n;
}
