/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A check is wanted most for chains that do not open.  What chain.c refuses is taken up here one
 * file at a time: the parent under its hinted (or listed) name, first the one that fits, else one
 * that has only the name; else a file of the directories with the identity that is asked for.  The
 * result is looked at member by member; no disk is made of it.  One thread.
 */
#include "cli/check_chain.h"

#include "base/cleanup.h"
#include "base/limits.h"
#include "image/chain_index.h"

#include <stdlib.h>
#include <string.h>

struct salvage {
    const struct blk_source *source;
    const struct chain_options *options;
    struct checked_chain *out;
    struct chain_index index;
};

static bool is_member(const struct checked_chain *c, const struct image *image)
{
    size_t i;

    for (i = 0; i < c->n; i++)
        if (chain_same_file(c->v[i], image))
            return true;
    return false;
}

/* Opens one candidate for the parent of the last member.  *out gets it when it fits; *other when it
 * opens and is the first that does not.  An error: out of memory. */
static int try_file(struct salvage *s, unsigned dir, const char *name, struct image **out,
                    struct image **other, struct vd_err *err)
{
    const struct checked_chain *c = s->out;
    struct vd_err why = VD_ERR_INIT;
    struct image *image = NULL;
    int rc = image_open(s->source, dir, name, &image, &why);

    if (rc == -VD_ENOMEM) {
        if (err)
            *err = why;
        return rc;
    }
    if (rc == 0 && !is_member(c, image)) {
        bool fits = chain_identity_fits(c->v[c->n - 1], image);

        if (fits)
            *out = vd_take(&image);
        else if (!*other)
            *other = vd_take(&image);
    }
    image_free(image);
    return 0;
}

static int try_name(struct salvage *s, const char *name, struct image **out, struct image **other,
                    struct vd_err *err)
{
    unsigned dir;
    int rc = 0;

    for (dir = 0; dir < s->source->n_dirs && rc == 0 && !*out; dir++)
        rc = try_file(s, dir, name, out, other, err);
    return rc;
}

static int search(struct salvage *s, struct image **out, struct image **other, struct vd_err *err)
{
    const struct image *child = s->out->v[s->out->n - 1];
    struct vd_err why = VD_ERR_INIT;
    size_t i;
    int rc = chain_index_build(&s->index, s->source, s->out->v, s->out->n, &why);

    if (rc) {
        if (rc == -VD_ENOMEM && err)
            *err = why;
        return rc == -VD_ENOMEM ? rc : 0; /* the refusal of the chain has said it */
    }
    for (i = 0; i < s->index.n && rc == 0 && !*out; i++)
        if (chain_identity_fits(child, s->index.v[i]))
            rc = try_file(s, s->index.v[i]->dir, s->index.file_name[i], out, other, err);
    return rc;
}

/* chain=: the list may or may not begin with the named file. */
static const char *listed(const struct salvage *s, const char *tip, size_t i)
{
    const struct chain_options *o = s->options;

    i += o->n_members && strcmp(o->members[0], tip) == 0;
    return i < o->n_members ? o->members[i] : NULL;
}

static int find_parent(struct salvage *s, const char *tip, struct image **out, struct vd_err *err)
{
    const struct image *child = s->out->v[s->out->n - 1];
    const char *name = listed(s, tip, s->out->n - 1);
    struct image *other = NULL;
    unsigned i;
    int rc = 0;

    *out = NULL;
    if (name)
        rc = try_name(s, name, out, &other, err);
    for (i = 0; i < child->n_parent_hints && !s->options->n_members && rc == 0 && !*out; i++)
        rc = try_name(s, child->parent_hint[i], out, &other, err);
    if (rc == 0 && !*out && !s->options->n_members)
        rc = search(s, out, &other, err);
    if (rc == 0 && !*out)
        *out = vd_take(&other);
    image_free(other);
    return rc;
}

static int salvage(const struct blk_source *source, const char *name,
                   const struct chain_options *options, struct checked_chain *out,
                   struct vd_err *err)
{
    struct salvage s = {.source = source, .options = options, .out = out};
    struct image *next = NULL;
    int rc;

    out->owned = true;
    out->v = calloc(VD_MAX_CHAIN, sizeof(struct image *));
    if (!out->v)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    rc = image_open(source, 0, name, &next, err);
    while (rc == 0 && next) {
        out->v[out->n++] = vd_take(&next);
        if (out->n < VD_MAX_CHAIN && out->v[out->n - 1]->has_parent)
            rc = find_parent(&s, name, &next, err);
    }
    image_free(next);
    chain_index_clear(&s.index);
    return rc;
}

int checked_chain_open(const struct blk_source *source, const char *name,
                       const struct chain_options *options, const struct check *check,
                       struct checked_chain *out, struct vd_err *err)
{
    struct vd_err why = VD_ERR_INIT;
    int rc;

    *out = (struct checked_chain){0};
    rc = chain_open(source, name, options, &out->chain, &why);
    if (rc == 0) {
        out->v = out->chain->v;
        out->n = out->chain->n;
        return 0;
    }
    if (rc == -VD_ENOMEM) {
        if (err)
            *err = why;
        return rc;
    }
    rc = salvage(source, name, options, out, err);
    if (rc)
        checked_chain_clear(out);
    else
        check_finding(check, CHECK_ERROR, "chain_refused", out->v[0]->name, NULL, "%s", why.msg);
    return rc;
}

void checked_chain_clear(struct checked_chain *c)
{
    size_t i;

    for (i = 0; c->owned && i < c->n; i++)
        image_free(c->v[i]);
    if (c->owned)
        free(c->v);
    chain_free(c->chain);
    *c = (struct checked_chain){0};
}

const char *checked_chain_link(const struct checked_chain *c, size_t i)
{
    if (i == 0)
        return NULL;
    return chain_identity_fits(c->v[i - 1], c->v[i])
               ? "parent of the member above: its identity is the one asked for"
               : "NOT VERIFIED: has the name of the parent that is asked for, but not its identity";
}
