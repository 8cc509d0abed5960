/* SPDX-License-Identifier: Apache-2.0 */
/* A chained hash table with a list through it in order of use; see show_memory.h. */
#include "audit/show_memory.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define BUCKET_BITS 16

struct show_entry {
    struct show_entry *chain; /* same bucket */
    struct show_entry *older, *newer;
    uint64_t id;
    size_t len;
    uint8_t bytes[];
};

int show_memory_init(struct show_memory *m, size_t max_bytes)
{
    *m = (struct show_memory){.max_bytes = max_bytes, .multiplier = UINT64_C(0x9e3779b97f4a7c15)};
    m->bucket = calloc((size_t)1 << BUCKET_BITS, sizeof(struct show_entry *));
    /* Without randomness at hand it is as good, only to be guessed. */
    if (getrandom(&m->multiplier, sizeof(m->multiplier), GRND_NONBLOCK) > 0)
        m->multiplier |= 1;
    return m->bucket ? 0 : -1;
}

static struct show_entry **bucket_of(const struct show_memory *m, uint64_t id)
{
    return &m->bucket[(id * m->multiplier) >> (64 - BUCKET_BITS)];
}

static void list_take(struct show_memory *m, struct show_entry *e)
{
    *(e->older ? &e->older->newer : &m->oldest) = e->newer;
    *(e->newer ? &e->newer->older : &m->newest) = e->older;
}

static void list_put(struct show_memory *m, struct show_entry *e)
{
    e->older = m->newest;
    e->newer = NULL;
    *(m->newest ? &m->newest->newer : &m->oldest) = e;
    m->newest = e;
}

static void forget(struct show_memory *m, struct show_entry *e)
{
    struct show_entry **p = bucket_of(m, e->id);

    while (*p != e)
        p = &(*p)->chain;
    *p = e->chain;
    list_take(m, e);
    m->bytes -= sizeof(*e) + e->len;
    free(e);
}

static struct show_entry *find(struct show_memory *m, uint64_t id)
{
    struct show_entry *e = *bucket_of(m, id);

    while (e && e->id != id)
        e = e->chain;
    if (e && e != m->newest) {
        list_take(m, e);
        list_put(m, e);
    }
    return e;
}

void show_remember(struct show_memory *m, uint64_t id, const void *bytes, size_t len)
{
    struct show_entry *e = find(m, id), **bucket;

    if (e && e->len == len && memcmp(e->bytes, bytes, len) == 0)
        return;
    if (e)
        forget(m, e);
    e = malloc(sizeof(*e) + len);
    if (!e)
        return;
    bucket = bucket_of(m, id);
    *e = (struct show_entry){.chain = *bucket, .id = id, .len = len};
    if (len)
        memcpy(e->bytes, bytes, len);
    *bucket = e;
    list_put(m, e);
    m->bytes += sizeof(*e) + len;
    while (m->bytes > m->max_bytes && m->oldest != e)
        forget(m, m->oldest);
}

const uint8_t *show_recall(struct show_memory *m, uint64_t id, size_t *out_len)
{
    const struct show_entry *e = find(m, id);

    if (!e)
        return NULL;
    *out_len = e->len;
    return e->bytes;
}

void show_memory_clear(struct show_memory *m)
{
    struct show_entry *e = m->oldest, *newer;

    for (; e; e = newer) {
        newer = e->newer;
        free(e);
    }
    free(m->bucket);
    memset(m, 0, sizeof(*m));
}
