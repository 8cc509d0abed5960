/* SPDX-License-Identifier: Apache-2.0 */
/* Facts: a bounded, ordered list of what was found.  See facts.h. */
#include "base/facts.h"

#include "base/limits.h"
#include "base/text.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool facts_grow(struct vd_facts *facts)
{
    size_t cap = facts->cap ? facts->cap * 2 : 16;
    struct vd_fact *v;

    if (facts->n < facts->cap)
        return true;
    if (facts->n >= VD_MAX_FACTS)
        return false;
    v = realloc(facts->v, cap * sizeof(*v));
    if (!v)
        return false;
    facts->v = v;
    facts->cap = cap;
    return true;
}

void vd_fact_add(struct vd_facts *facts, enum vd_fact_kind kind, const char *key, const char *fmt,
                 ...)
{
    char raw[1024], text[1024];
    struct vd_fact *fact;
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(raw, sizeof(raw), fmt, ap);
    va_end(ap);
    vd_text_printable(raw, strlen(raw), text, sizeof(text));
    if (!facts_grow(facts)) {
        facts->dropped++;
        return;
    }
    fact = &facts->v[facts->n];
    fact->kind = kind;
    fact->key = strdup(key);
    fact->value = strdup(text);
    if (!fact->key || !fact->value) {
        free(fact->key);
        free(fact->value);
        facts->dropped++;
        return;
    }
    facts->n++;
}

void vd_facts_each(const struct vd_facts *facts, const char *layer, vd_fact_fn *fn, void *ctx)
{
    char text[64];
    size_t i;

    for (i = 0; i < facts->n; i++)
        fn(ctx, layer, facts->v[i].kind, facts->v[i].key, facts->v[i].value);
    if (facts->dropped) {
        (void)snprintf(text, sizeof(text), "%zu further facts were not kept", facts->dropped);
        fn(ctx, layer, VD_FACT_WARNING, "facts_dropped", text);
    }
}

void vd_facts_clear(struct vd_facts *facts)
{
    size_t i;

    for (i = 0; i < facts->n; i++) {
        free(facts->v[i].key);
        free(facts->v[i].value);
    }
    free(facts->v);
    *facts = (struct vd_facts)VD_FACTS_INIT;
}
