/* SPDX-License-Identifier: Apache-2.0 */
/* What `show` remembers: number → bytes, bounded; what was not asked for longest is forgotten first.
 * One thread. */
#ifndef VD_AUDIT_SHOW_MEMORY_H
#define VD_AUDIT_SHOW_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct show_entry;

struct show_memory {
    struct show_entry **bucket; /* SHOW_MEMORY_BUCKETS; owned */
    uint64_t multiplier;        /* odd, random: who makes a log cannot choose what collides */
    struct show_entry *oldest, *newest;
    size_t bytes, max_bytes; /* with what an entry itself costs */
};

/* An empty table of at most `max_bytes` of entries, and 512 KiB for itself.  0, or -1 when memory is
 * short. */
int show_memory_init(struct show_memory *m, size_t max_bytes);

/* Remembers a copy under `id`, in place of what was there.  Nothing when memory is short. */
void show_remember(struct show_memory *m, uint64_t id, const void *bytes, size_t len);

/* The bytes (borrowed until the next show_remember), or NULL. */
const uint8_t *show_recall(struct show_memory *m, uint64_t id, size_t *out_len);

/* Frees; accepts a zeroed one. */
void show_memory_clear(struct show_memory *m);

#endif
