/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chains: from the file that was named to its base, every link verified.  A loop over members, no
 * recursion.  Knows no format: identities are strings that the formats made.
 *
 *     chain_parent.c    which file is the parent         chain_newer.c     what lies above the file
 *     chain_compare.c   are two copies equal             chain_vm.c        names and dates
 *     chain_index.c     who lies in the directories      chain_snapshot.c  snapshot=
 *
 * Not thread-safe while opening; the finished chain is immutable.
 */
#include "image/chain.h"

#include "base/cleanup.h"
#include "base/limits.h"
#include "base/text.h"
#include "blk/layers.h"
#include "image/chain_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A part of a cache must hold the largest value: 64 MiB / 16 = 4 MiB, VD_MAX_GRAIN is 2 MiB. */
#define TABLE_SHARDS 16
#define BLOCK_SHARDS 16

const struct image *chain_last(const struct chain *chain)
{
    return chain->v[chain->n - 1];
}

const char *chain_identity_or_none(const char *identity)
{
    return identity[0] ? identity : "without identity";
}

bool chain_is_hinted(const struct image *child, const char *name)
{
    unsigned i;

    for (i = 0; i < child->n_parent_hints; i++)
        if (strcmp(child->parent_hint[i], name) == 0)
            return true;
    return false;
}

static void mark_member(struct chain_index *index, const struct image *image)
{
    size_t entry = index->built ? chain_index_entry_of(index, image) : CHAIN_NONE;

    if (entry != CHAIN_NONE)
        index->member[entry] = true;
}

int chain_walk_index(struct chain_walk *w, struct vd_err *why, struct vd_err *err)
{
    size_t i;
    int rc;

    if (w->index.built)
        return 0;
    rc = chain_index_build(&w->index, w->source, w->chain->v, w->chain->n, why);
    if (rc == -VD_ENOMEM) {
        if (err)
            *err = *why;
        return rc;
    }
    for (i = 0; i < w->chain->n && rc == 0; i++)
        mark_member(&w->index, w->chain->v[i]);
    return rc ? 1 : 0;
}

/* Takes over `image` in any case. */
static int append(struct chain_walk *w, struct image *image, struct vd_err *err)
{
    struct chain *chain = w->chain;

    if (chain->n == VD_MAX_CHAIN) {
        image_free(image);
        return vd_fail(err, VD_ECHAIN, "%s: the chain has more than %d members",
                       chain_last(chain)->name, VD_MAX_CHAIN);
    }
    chain->v[chain->n++] = image;
    mark_member(&w->index, image);
    chain_link_report(chain);
    return 0;
}

/* ---- the whole ---- */

static int walk_hints(struct chain_walk *w, struct vd_err *err)
{
    int rc = 0;

    while (rc == 0 && chain_last(w->chain)->has_parent) {
        struct image *parent = NULL;

        rc = chain_parent_find(w, &parent, err);
        if (rc == 0)
            rc = append(w, parent, err);
    }
    return rc;
}

static int walk_list(struct chain_walk *w, struct vd_err *err)
{
    const struct chain_options *o = w->options;
    size_t i = strcmp(o->members[0], w->tip_name) == 0;
    int rc = 0;

    for (; i < o->n_members && rc == 0; i++) {
        struct image *parent = NULL;

        if (!chain_last(w->chain)->has_parent)
            return vd_fail(err, VD_ECHAIN, "%s has no parent, but the list goes on with \"%s\"",
                           chain_last(w->chain)->name, o->members[i]);
        rc = chain_parent_take(w, o->members[i], &parent, err);
        if (rc == 0)
            rc = append(w, parent, err);
    }
    if (rc == 0 && chain_last(w->chain)->has_parent)
        rc = chain_parent_missing(w, err);
    return rc;
}

static int chain_new(const struct chain_options *options, struct chain **out, struct vd_err *err)
{
    struct chain *chain;

    if (options->n_members > VD_MAX_CHAIN)
        return vd_fail(err, VD_ELIMIT, "a list of %zu members (at most %d)", options->n_members,
                       VD_MAX_CHAIN);
    chain = calloc(1, sizeof(*chain));
    if (chain)
        chain->v = calloc(VD_MAX_CHAIN, sizeof(struct image *));
    if (!chain || !chain->v) {
        chain_free(chain);
        return vd_fail(err, VD_ENOMEM, "out of memory");
    }
    *out = chain;
    return 0;
}

static int share_init(struct blk_share *share, struct vd_err *err)
{
    int rc;

    *share = (struct blk_share){.keep_left = VD_CHAIN_KEEP_BYTES,
                                .scan_left = VD_CHAIN_SCAN_BYTES,
                                .check_left = VD_CHAIN_CHECK_BYTES,
                                .log_left = VD_CHAIN_LOG_BYTES};
    rc = made_cache_new(VD_CHAIN_TABLES_BYTES, TABLE_SHARDS, &share->tables, err);
    return rc ? rc : made_cache_new(VD_CHAIN_BLOCKS_BYTES, BLOCK_SHARDS, &share->blocks, err);
}

int chain_open(const struct blk_source *source, const char *name,
               const struct chain_options *options, struct chain **out, struct vd_err *err)
{
    static const struct chain_options defaults = {0};
    struct blk_source shared = *source;
    struct blk_share share = {0};
    struct chain_walk w = {
        .source = &shared,
        .tip_name = name,
        .options = options ? options : &defaults,
        .steps_left = CHAIN_SEARCH_STEPS,
        .compare_left = CHAIN_COMPARE_BYTES,
    };
    int rc = chain_new(w.options, &w.chain, err);

    if (rc)
        return rc;
    rc = share_init(&share, err);
    shared.share = &share;
    if (rc == 0)
        rc = image_open(&shared, 0, name, &w.chain->v[0], err);
    if (rc == 0) {
        w.chain->n = 1;
        rc = w.options->members && w.options->n_members ? walk_list(&w, err) : walk_hints(&w, err);
    }
    if (rc == 0)
        rc = chain_newer_report(&w, err);
    if (rc == 0)
        rc = chain_vm_read(&w, err);
    if (rc == 0 && w.options->snapshot)
        rc = chain_snapshot_resolve(w.chain, w.options->snapshot, err);
    chain_index_clear(&w.index);
    made_cache_unref(share.tables); /* the members have caches of their own on the same stores */
    made_cache_unref(share.blocks);
    if (rc) {
        chain_free(w.chain);
        return rc;
    }
    vd_fact_add(&w.chain->facts, VD_FACT_INFO, "members", "%zu", w.chain->n);
    *out = w.chain;
    return 0;
}

int chain_point(const struct chain *chain, size_t i, struct blkdev **out, struct vd_err *err)
{
    struct blkdev *layers[VD_MAX_CHAIN];
    size_t n = 0, k;
    int rc;

    if (i >= chain->n)
        return vd_fail(err, VD_EUSAGE, "the chain has %zu members, there is no number %zu",
                       chain->n, i);
    for (k = i; k < chain->n; k++)
        layers[n++] = blk_ref(chain->v[k]->dev);
    rc = blk_overlay_new(layers, n, "", out, err);
    for (k = 0; k < n && rc; k++)
        blk_unref(layers[k]);
    return rc;
}

void chain_free(struct chain *chain)
{
    size_t i;

    if (!chain)
        return;
    for (i = 0; i < chain->n; i++)
        image_free(chain->v[i]);
    for (i = 0; i < chain->n && chain->name; i++) {
        free(chain->name[i].name);
        free(chain->name[i].description);
    }
    free(chain->name);
    free(chain->v);
    vm_files_clear(&chain->vm);
    vd_facts_clear(&chain->facts);
    free(chain);
}
