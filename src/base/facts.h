/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Facts: what was found while opening, in order, as key and value.  They end up in `info.txt`,
 * `info.json`, `vdiskctl info` and the audit log's opening record.  A redundant copy that was
 * used, a skipped check, a repaired value is a WARNING fact; nothing is decided silently.
 *
 * Not thread-safe: filled while a layer is opened, immutable afterwards.
 */
#ifndef VD_BASE_FACTS_H
#define VD_BASE_FACTS_H

#include <stddef.h>

enum vd_fact_kind {
    VD_FACT_INFO,   /* key = snake_case name, value = text: "grain_size", "65536" */
    VD_FACT_WARNING /* key = snake_case topic, value = a sentence for the examiner */
};

struct vd_fact {
    enum vd_fact_kind kind;
    char *key, *value; /* owned; printable (see vd_text_printable) */
};

struct vd_facts {
    struct vd_fact *v;
    size_t n, cap;
    size_t dropped; /* facts over VD_MAX_FACTS or lost to memory: the reader must say so */
};

#define VD_FACTS_INIT                                                                              \
    {                                                                                              \
        0                                                                                          \
    }

/* Appends; `value` is made printable.  Never fails visibly: what cannot be kept is counted. */
void vd_fact_add(struct vd_facts *facts, enum vd_fact_kind kind, const char *key, const char *fmt,
                 ...) __attribute__((format(printf, 4, 5)));

/* Receives one fact of the layer `layer`; strings are borrowed for the call. */
typedef void vd_fact_fn(void *ctx, const char *layer, enum vd_fact_kind kind, const char *key,
                        const char *value);

void vd_facts_each(const struct vd_facts *facts, const char *layer, vd_fact_fn *fn, void *ctx);
void vd_facts_clear(struct vd_facts *facts);

#endif
