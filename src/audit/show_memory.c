/* SPDX-License-Identifier: Apache-2.0 */
/* A chained hash table with a first-in-first-out list through it; see show_memory.h. */
#include "audit/show_memory.h"

#include <stdlib.h>
#include <string.h>

struct show_entry {
    struct show_entry *chain; /* same bucket */
    struct show_entry *older, *newer;
    uint64_t id;
    size_t len;
    uint8_t bytes[];
};

static struct show_entry **bucket_of(struct show_memory *m, uint64_t id)
{
    return &m->bucket[(id * UINT64_C(0x9e3779b97f4a7c15)) >> 50]; /* 14 bits */
}

static void forget(struct show_memory *m, struct show_entry *e)
{
    struct show_entry **p = bucket_of(m, e->id);

    while (*p != e)
        p = &(*p)->chain;
    *p = e->chain;
    *(e->older ? &e->older->newer : &m->oldest) = e->newer;
    *(e->newer ? &e->newer->older : &m->newest) = e->older;
    m->bytes -= sizeof(*e) + e->len;
    free(e);
}

static struct show_entry *find(const struct show_memory *m, uint64_t id)
{
    struct show_entry *e = m->bucket[(id * UINT64_C(0x9e3779b97f4a7c15)) >> 50];

    while (e && e->id != id)
        e = e->chain;
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
    *e = (struct show_entry){.chain = *bucket, .older = m->newest, .id = id, .len = len};
    if (len)
        memcpy(e->bytes, bytes, len);
    *bucket = e;
    *(m->newest ? &m->newest->newer : &m->oldest) = e;
    m->newest = e;
    m->bytes += sizeof(*e) + len;
    while (m->bytes > m->max_bytes && m->oldest != e)
        forget(m, m->oldest);
}

const uint8_t *show_recall(const struct show_memory *m, uint64_t id, size_t *out_len)
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
    memset(m, 0, sizeof(*m));
}
