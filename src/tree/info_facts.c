/* SPDX-License-Identifier: Apache-2.0 */
/* Collecting the facts of a case, and small things that the text and the JSON share.  Every string
 * passes vd_text_printable here, whatever its producer did.  One thread. */
#include "tree/info_facts.h"

#include "base/limits.h"
#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *info_printable(const char *text)
{
    size_t len = strlen(text), size = 4 * len + 1;
    char *p = malloc(size);

    if (p)
        (void)vd_text_printable(text, len, p, size);
    return p;
}

/* Where the facts that come now belong. */
struct collector {
    struct info_facts *facts;
    enum info_scope scope;
    size_t index;
    bool warnings_only;
};

static bool same(const struct info_fact *a, const struct info_fact *b)
{
    return a->scope == b->scope && a->index == b->index && a->kind == b->kind &&
           strcmp(a->layer, b->layer) == 0 && strcmp(a->key, b->key) == 0 &&
           strcmp(a->value, b->value) == 0;
}

static void release(struct info_fact *f)
{
    free(f->layer);
    free(f->key);
    free(f->value);
}

static void collect(void *ctx, const char *layer, enum vd_fact_kind kind, const char *key,
                    const char *value)
{
    const struct collector *c = ctx;
    struct info_facts *facts = c->facts;
    struct info_fact f = {.scope = c->scope, .index = c->index, .kind = kind};

    if (facts->failed || (c->warnings_only && kind != VD_FACT_WARNING))
        return;
    if (facts->n_of[kind] == VD_MAX_FACTS) {
        facts->dropped++;
        return;
    }
    if (facts->n == facts->cap) {
        size_t cap = facts->cap ? 2 * facts->cap : 32;
        struct info_fact *v = realloc(facts->v, cap * sizeof(*v));

        if (!v) {
            facts->failed = true;
            return;
        }
        facts->v = v;
        facts->cap = cap;
    }
    f.layer = info_printable(layer ? layer : "");
    f.key = info_printable(key);
    f.value = info_printable(value);
    if (!f.layer || !f.key || !f.value) {
        release(&f);
        facts->failed = true;
    } else if (facts->n && same(&facts->v[facts->n - 1], &f)) {
        release(&f); /* a layer that is shared reports once per parent */
    } else {
        facts->v[facts->n++] = f;
        facts->n_of[kind]++;
    }
}

static void from_list(struct collector *c, enum info_scope scope, size_t index,
                      const struct vd_facts *list, const char *layer)
{
    c->scope = scope;
    c->index = index;
    vd_facts_each(list, layer, collect, c);
    c->facts->dropped += list->dropped;
}

static void collect_volume(struct collector *ctx, const struct vd_point *c, size_t i)
{
    char name[16];

    info_volume_name(c, i, name);
    ctx->scope = INFO_VOLUME;
    ctx->index = i;
    if (c->v[i].content.ambiguous)
        collect(ctx, name, VD_FACT_WARNING, "ambiguous",
                "several signatures on this volume contradict each other");
    if (c->v[i].fs)
        fs_describe(c->v[i].fs, collect, ctx);
}

void info_facts_collect_volume(const struct vd_point *c, size_t i, struct info_facts *out)
{
    struct collector ctx = {.facts = out};

    *out = (struct info_facts){0};
    collect_volume(&ctx, c, i);
}

void info_facts_collect(const struct vd_point *c, struct info_facts *out)
{
    struct collector ctx = {.facts = out};
    size_t i;

    *out = (struct info_facts){0};
    ctx.warnings_only = case_is_older(c);
    from_list(&ctx, INFO_CHAIN, 0, &c->chain->facts, "chain");
    for (i = c->first; i < c->chain->n; i++) {
        ctx.warnings_only = case_is_older(c) && i != c->member;
        from_list(&ctx, INFO_IMAGE, i, &c->chain->v[i]->facts, c->chain->v[i]->name);
    }
    ctx.warnings_only = false;
    from_list(&ctx, INFO_TABLE, 0, &c->table.facts, "partition table");
    for (i = 0; i < c->n; i++)
        collect_volume(&ctx, c, i);
    ctx.scope = INFO_LAYER;
    ctx.index = 0;
    ctx.warnings_only = case_is_older(c); /* the layers of all members; the root tells of them */
    blk_describe(c->disk, collect, &ctx);
}

void info_facts_clear(struct info_facts *facts)
{
    size_t i;

    for (i = 0; i < facts->n; i++)
        release(&facts->v[i]);
    free(facts->v);
    *facts = (struct info_facts){0};
}

void info_volume_name(const struct vd_point *c, size_t i, char out[16])
{
    (void)snprintf(out, 16, "p%u", c->v[i].part.number);
}

const char *info_not_shown(const struct case_volume *v)
{
    return v->fs_err.msg[0] ? v->fs_err.msg : "no file system was found";
}

const char *info_role(const struct chain *chain, size_t i)
{
    if (i == 0)
        return chain->n == 1 ? "only member" : "tip";
    return i + 1 == chain->n ? "base" : "member";
}
