/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chains: from the file that was named to its base, every link verified.  A loop over members, no
 * recursion.  Knows no format: identities are strings that the formats made.
 *
 * A parent is looked for under its hinted names (the child's directory first), then by identity
 * among all files of the directories.  Files that were looked at and did not fit are remembered
 * with the reason: they are the message when nothing fits.  Not thread-safe while opening; the
 * finished chain is immutable.
 */
#include "image/chain.h"

#include "base/cleanup.h"
#include "base/limits.h"
#include "base/text.h"
#include "blk/layers.h"
#include "image/chain_index.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Reasons that a refusal spells out; more are counted.  The message itself has 1,024 bytes. */
#define MAX_REASONS 12

/* A part of a cache must hold the largest value: 64 MiB / 16 = 4 MiB, VD_MAX_GRAIN is 2 MiB. */
#define TABLE_SHARDS 16
#define BLOCK_SHARDS 16

struct walk {
    const struct blk_source *source;
    const struct chain_options *options;
    const char *tip_name;
    struct chain *chain;
    struct chain_index index;
    /* For the parent looked for now: */
    struct vd_str reasons;
    size_t n_reasons;
    struct image *misfit; /* a hinted file that opens but has another identity; owned */
};

static const struct image *last(const struct chain *chain)
{
    return chain->v[chain->n - 1];
}

static void add_reason(struct walk *w, const char *name, const char *why)
{
    if (++w->n_reasons <= MAX_REASONS)
        vd_str_addf(&w->reasons, "%s%s: %s", w->n_reasons > 1 ? "; " : "", name, why);
}

static const char *identity_or_none(const char *identity)
{
    return identity[0] ? identity : "without identity";
}

/* "cid:12345678", or "uuid:… or uuid:…". */
static void wanted_text(const struct image *child, char *dst, size_t size)
{
    size_t used = vd_text_copy(dst, size, identity_or_none(child->parent_identity[0]));

    if (child->parent_identity[1][0]) {
        used += vd_text_copy(dst + used, size - used, " or ");
        (void)vd_text_copy(dst + used, size - used, child->parent_identity[1]);
    }
}

static int append(struct chain *chain, struct image *image, struct vd_err *err)
{
    if (chain->n == VD_MAX_CHAIN)
        return vd_fail(err, VD_ECHAIN, "%s: the chain has more than %d members", last(chain)->name,
                       VD_MAX_CHAIN);
    chain->v[chain->n++] = image;
    return 0;
}

static bool is_member(const struct chain *chain, const struct image *image)
{
    size_t i;

    for (i = 0; i < chain->n; i++)
        if (chain_same_file(chain->v[i], image))
            return true;
    return false;
}

/* ---- judging one file ---- */

static void reason_misfit(struct walk *w, const struct image *image)
{
    char why[IMAGE_ID_MAX + 80];

    (void)snprintf(why, sizeof(why), "is %s (another disk, or changed after the snapshot)",
                   identity_or_none(image->identity));
    add_reason(w, image->name, why);
}

#define NOT_THERE 2

/* Opens `name` as the parent of the last member.  0: *out is the parent.  Positive: it is not;
 * unless it is NOT_THERE the reason is noted.  Negative: out of memory. */
static int try_file(struct walk *w, unsigned dir, const char *name, struct image **out,
                    struct vd_err *err)
{
    const struct image *child = last(w->chain);
    struct image *image = NULL;
    struct vd_err why = VD_ERR_INIT;
    int rc = image_open(w->source, dir, name, &image, &why);

    if (rc == -VD_ENOMEM) {
        if (err)
            *err = why;
        return rc;
    }
    if (rc == -VD_ENOENT)
        return NOT_THERE;
    if (rc) {
        add_reason(w, name, why.msg);
        return 1;
    }
    if (is_member(w->chain, image)) {
        add_reason(w, name,
                   chain_same_file(child, image) ? "is the file itself (a cycle)"
                                                 : "is already a member of the chain (a cycle)");
    } else if (chain_identity_fits(child, image)) {
        *out = image;
        return 0;
    } else {
        reason_misfit(w, image);
        if (!w->misfit)
            w->misfit = vd_take(&image);
    }
    image_free(image);
    return 1;
}

/* The child's directory first, then the others.  A missing file is a reason once, not per
 * directory. */
static int try_name(struct walk *w, const char *name, struct image **out, struct vd_err *err)
{
    unsigned first = last(w->chain)->dir, i;
    bool found = false;

    for (i = 0; i < w->source->n_dirs; i++) {
        int rc = try_file(w, i == 0 ? first : i - (i <= first), name, out, err);

        if (rc <= 0)
            return rc;
        found = found || rc != NOT_THERE;
    }
    if (!found)
        add_reason(w, name, "no such file");
    return 1;
}

/* ---- searching by identity ---- */

static bool is_hinted(const struct image *child, const char *name)
{
    unsigned i;

    for (i = 0; i < child->n_parent_hints; i++)
        if (strcmp(child->parent_hint[i], name) == 0)
            return true;
    return false;
}

/* Goes through one directory of the index.  As try_file; counts all that fit. */
static int search_dir(struct walk *w, unsigned dir, struct image **out, size_t *io_fits,
                      struct vd_err *err)
{
    const struct image *child = last(w->chain);
    size_t i;

    for (i = 0; i < w->index.n; i++) {
        const struct image *entry = w->index.v[i];
        int rc;

        if (entry->dir != dir || is_member(w->chain, entry))
            continue;
        if (!chain_identity_fits(child, entry)) {
            if (entry->identity[0] && !is_hinted(child, w->index.file_name[i]))
                reason_misfit(w, entry); /* extents and the like have no identity */
            continue;
        }
        if (*out) {
            (*io_fits)++;
            continue;
        }
        rc = try_file(w, dir, w->index.file_name[i], out, err);
        if (rc < 0)
            return rc;
        *io_fits += rc == 0;
    }
    return 0;
}

static int search(struct walk *w, struct image **out, struct vd_err *err)
{
    const struct image *child = last(w->chain);
    struct vd_err why = VD_ERR_INIT;
    size_t n_fits = 0;
    unsigned i;
    int rc = chain_index_build(&w->index, w->source, &why);

    if (rc == -VD_ENOMEM) {
        if (err)
            *err = why;
        return rc;
    }
    if (rc) {
        add_reason(w, "search by identity", why.msg);
        return 1;
    }
    for (i = 0; i < w->source->n_dirs && rc == 0; i++)
        rc = search_dir(w, i == 0 ? child->dir : i - (i <= child->dir), out, &n_fits, err);
    if (rc)
        return rc;
    if (!*out && w->index.failed.p)
        add_reason(w, "could not be read", w->index.failed.p);
    if (!*out)
        return 1;
    vd_fact_add(&w->chain->facts, VD_FACT_WARNING, "parent_renamed",
                "%s: the parent was not found as \"%s\"; %s was found by its identity %s",
                child->name, child->parent_path ? child->parent_path : "", (*out)->name,
                (*out)->identity);
    if (n_fits > 1)
        vd_fact_add(&w->chain->facts, VD_FACT_WARNING, "parent_ambiguous",
                    "%s: %zu files have the identity %s; %s, the first by name, is used",
                    child->name, n_fits, (*out)->identity, (*out)->name);
    return 0;
}

/* ---- one link ---- */

static int refuse(struct walk *w, struct vd_err *err)
{
    const struct image *child = last(w->chain);
    VD_AUTO(free) char *reasons = NULL;
    char wanted[2 * IMAGE_ID_MAX + 8], more[48] = "";

    if (w->n_reasons > MAX_REASONS)
        (void)snprintf(more, sizeof(more), "; and %zu more", w->n_reasons - MAX_REASONS);
    wanted_text(child, wanted, sizeof(wanted));
    reasons = vd_str_take(&w->reasons);
    return vd_fail(err, VD_ECHAIN, "%s asks for the parent %s%s%s%s: %s%s", child->name, wanted,
                   child->parent_path ? " (\"" : "", child->parent_path ? child->parent_path : "",
                   child->parent_path ? "\")" : "",
                   reasons && reasons[0] ? reasons : "no file of the directory fits", more);
}

/* unverified_chain: the hinted file stands in, loudly. */
static int take_misfit(struct walk *w, struct image **out)
{
    const struct image *child = last(w->chain);
    char wanted[2 * IMAGE_ID_MAX + 8];

    wanted_text(child, wanted, sizeof(wanted));
    vd_fact_add(&w->chain->facts, VD_FACT_WARNING, "unverified",
                "%s asks for the parent %s, %s is %s: used because unverified_chain was given; "
                "what is shown may never have existed",
                child->name, wanted, w->misfit->name, identity_or_none(w->misfit->identity));
    *out = vd_take(&w->misfit);
    return 0;
}

static void forget_reasons(struct walk *w)
{
    vd_str_clear(&w->reasons);
    w->n_reasons = 0;
    image_free(w->misfit);
    w->misfit = NULL;
}

static int find_parent(struct walk *w, struct image **out, struct vd_err *err)
{
    const struct image *child = last(w->chain);
    int rc = 1;
    unsigned i;

    for (i = 0; i < child->n_parent_hints && rc > 0; i++)
        rc = try_name(w, child->parent_hint[i], out, err);
    if (rc > 0)
        rc = search(w, out, err);
    if (rc > 0 && w->options->unverified && w->misfit)
        rc = take_misfit(w, out);
    return rc > 0 ? refuse(w, err) : rc;
}

/* chain=: member `i` of the list, which is the parent of the last one. */
static int take_listed(struct walk *w, const char *name, struct image **out, struct vd_err *err)
{
    int rc = try_name(w, name, out, err);

    if (rc > 0 && w->options->unverified && w->misfit)
        rc = take_misfit(w, out);
    return rc > 0 ? refuse(w, err) : rc;
}

static void report_link(struct chain *chain)
{
    const struct image *child = chain->v[chain->n - 2], *parent = last(chain);

    if (chain_identity_fits(child, parent))
        vd_fact_add(&chain->facts, VD_FACT_INFO, "link_verified", "%s on %s (%s)", child->name,
                    parent->name, parent->identity);
    if (child->dev->size < parent->dev->size)
        vd_fact_add(&chain->facts, VD_FACT_WARNING, "disk_shrunk",
                    "%s has %" PRIu64 " bytes, its parent %s %" PRIu64
                    ": the end of the parent is not shown",
                    child->name, child->dev->size, parent->name, parent->dev->size);
    else if (child->dev->size > parent->dev->size)
        vd_fact_add(&chain->facts, VD_FACT_INFO, "disk_grown",
                    "%s has %" PRIu64 " bytes, its parent %s %" PRIu64, child->name,
                    child->dev->size, parent->name, parent->dev->size);
    if (child->dev->sector_size != parent->dev->sector_size)
        vd_fact_add(&chain->facts, VD_FACT_WARNING, "sector_size",
                    "%s has sectors of %" PRIu32 " bytes, its parent %s of %" PRIu32, child->name,
                    child->dev->sector_size, parent->name, parent->dev->sector_size);
}

/* ---- newer files ---- */

static bool index_has_name(const struct chain_index *index, const char *name)
{
    size_t i;

    for (i = 0; i < index->n; i++)
        if (strcmp(index->file_name[i], name) == 0)
            return true;
    return false;
}

/* Does `entry` have the tip as its parent, or claim to? */
static void judge_newer(struct walk *w, const struct image *entry)
{
    const struct image *tip = w->chain->v[0];
    bool fits = chain_identity_fits(entry, tip), hinted = is_hinted(entry, w->tip_name);
    unsigned i;

    if (fits && !hinted)
        for (i = 0; i < entry->n_parent_hints; i++)
            if (index_has_name(&w->index, entry->parent_hint[i]))
                return; /* a copy of the tip lies under the right name: that one is meant */
    if (fits)
        vd_fact_add(&w->chain->facts, VD_FACT_WARNING, "not_the_tip",
                    "%s is not the newest state: %s has it as its parent%s", tip->name, entry->name,
                    hinted ? "" : " (under another name)");
    else if (hinted)
        vd_fact_add(&w->chain->facts, VD_FACT_WARNING, "not_the_tip",
                    "%s names %s as its parent, but asks for %s and this file is %s: one of them "
                    "was changed or replaced after the snapshot",
                    entry->name, tip->name, identity_or_none(entry->parent_identity[0]),
                    identity_or_none(tip->identity));
}

static int look_for_newer(struct walk *w, struct vd_err *err)
{
    struct vd_err why = VD_ERR_INIT;
    int rc = chain_index_build(&w->index, w->source, &why);
    size_t i;

    if (rc == -VD_ENOMEM) {
        if (err)
            *err = why;
        return rc;
    }
    if (rc) {
        vd_fact_add(&w->chain->facts, VD_FACT_WARNING, "newer_files",
                    "whether newer snapshots lie beside this file could not be checked: %s",
                    why.msg);
        return 0;
    }
    for (i = 0; i < w->index.n; i++)
        if (w->index.v[i]->has_parent && !is_member(w->chain, w->index.v[i]))
            judge_newer(w, w->index.v[i]);
    if (w->index.n_failed)
        vd_fact_add(&w->chain->facts, VD_FACT_WARNING, "unreadable_neighbours",
                    "%zu of %zu files in the evidence directories could not be identified, a newer "
                    "snapshot may be among them: %s",
                    w->index.n_failed, w->index.n_files,
                    w->index.failed.p ? w->index.failed.p : "");
    return 0;
}

/* ---- the whole ---- */

static int walk_hints(struct walk *w, struct vd_err *err)
{
    int rc = 0;

    while (rc == 0 && last(w->chain)->has_parent) {
        struct image *parent = NULL;

        rc = find_parent(w, &parent, err);
        if (rc == 0)
            rc = append(w->chain, parent, err);
        if (rc)
            image_free(parent);
        else
            report_link(w->chain);
        forget_reasons(w);
    }
    return rc;
}

static int walk_list(struct walk *w, struct vd_err *err)
{
    const struct chain_options *o = w->options;
    size_t i = strcmp(o->members[0], w->tip_name) == 0;
    int rc = 0;

    for (; i < o->n_members && rc == 0; i++) {
        struct image *parent = NULL;

        if (!last(w->chain)->has_parent)
            return vd_fail(err, VD_ECHAIN, "%s has no parent, but the list goes on with \"%s\"",
                           last(w->chain)->name, o->members[i]);
        rc = take_listed(w, o->members[i], &parent, err);
        if (rc == 0)
            rc = append(w->chain, parent, err);
        if (rc)
            image_free(parent);
        else
            report_link(w->chain);
        forget_reasons(w);
    }
    if (rc == 0 && last(w->chain)->has_parent) {
        add_reason(w, "chain=", "the list ends here");
        rc = refuse(w, err);
        forget_reasons(w);
    }
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
                                .check_left = VD_CHAIN_CHECK_BYTES};
    rc = made_cache_new(VD_CHAIN_TABLES_BYTES, TABLE_SHARDS, &share->tables, err);
    return rc ? rc : made_cache_new(VD_CHAIN_BLOCKS_BYTES, BLOCK_SHARDS, &share->blocks, err);
}

int chain_open(const struct blk_source *source, const char *name,
               const struct chain_options *options, struct chain **out, struct vd_err *err)
{
    static const struct chain_options defaults = {0};
    struct blk_source shared = *source;
    struct blk_share share = {0};
    struct walk w = {.source = &shared, .tip_name = name, .options = options ? options : &defaults};
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
        rc = look_for_newer(&w, err);
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
    vd_facts_clear(&chain->facts);
    free(chain);
}
