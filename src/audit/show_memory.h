/* SPDX-License-Identifier: Apache-2.0 */
/* What `show` remembers: number → bytes, bounded; the oldest are forgotten first.  One thread. */
#ifndef VD_AUDIT_SHOW_MEMORY_H
#define VD_AUDIT_SHOW_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHOW_MEMORY_BUCKETS 16384

struct show_entry;

struct show_memory {
    struct show_entry *bucket[SHOW_MEMORY_BUCKETS];
    struct show_entry *oldest, *newest;
    size_t bytes, max_bytes; /* with what an entry itself costs */
};

/* Remembers a copy under `id`, in place of what was there.  Nothing when memory is short. */
void show_remember(struct show_memory *m, uint64_t id, const void *bytes, size_t len);

/* The bytes (borrowed until the next show_remember), or NULL. */
const uint8_t *show_recall(const struct show_memory *m, uint64_t id, size_t *out_len);

void show_memory_clear(struct show_memory *m);

#endif
