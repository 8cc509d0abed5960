/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding and judging the parent of one member.  It is looked for under its hinted names (the
 * child's directory first), then by identity among all files of the directories.  Files that were
 * looked at and did not fit are remembered with the reason: they are the message when nothing fits.
 *
 * Several files can have the identity that is asked for: copies, and in VMDK also descendants (a
 * new snapshot has the CID of its parent until it is first written to).  Descendants of the child
 * are told apart by their own hints.  Copies that are equal byte for byte are all right; of others
 * none is taken, because that would be a guess.  One thread.
 */
#include "base/cleanup.h"
#include "base/limits.h"
#include "image/chain_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Reasons that a refusal spells out; more are counted.  The message itself has 1,024 bytes. */
#define MAX_REASONS 12

/* Files of one identity that are compared. */
#define MAX_CANDIDATES 8

/* Does the list have this reason already, as a whole? */
static bool is_given(const struct chain_walk *w, const char *reason)
{
    size_t len = strlen(reason);
    const char *at = w->reasons.p;

    for (; at && (at = strstr(at, reason)) != NULL; at++)
        if ((at == w->reasons.p || (at - w->reasons.p > 2 && strncmp(at - 2, "; ", 2) == 0)) &&
            (!at[len] || strncmp(at + len, "; ", 2) == 0))
            return true;
    return false;
}

/* A file can be tried twice, by name and by identity; errors of opening begin with its name. */
static void add_reason(struct chain_walk *w, const char *name, const char *why)
{
    bool named = strncmp(why, name, strlen(name)) == 0 && strncmp(why + strlen(name), ": ", 2) == 0;
    VD_AUTO(free) char *reason = NULL;
    struct vd_str s = VD_STR_INIT;

    vd_str_addf(&s, "%s%s%s", named ? "" : name, named ? "" : ": ", why);
    reason = vd_str_take(&s);
    if (reason && is_given(w, reason))
        return;
    if (++w->n_reasons <= MAX_REASONS)
        vd_str_addf(&w->reasons, "%s%s", w->n_reasons > 1 ? "; " : "", reason ? reason : name);
}

/* "cid:12345678", or "uuid:… or uuid:…". */
static void wanted_text(const struct image *child, char *dst, size_t size)
{
    size_t used = vd_text_copy(dst, size, chain_identity_or_none(child->parent_identity[0]));

    if (child->parent_identity[1][0]) {
        used += vd_text_copy(dst + used, size - used, " or ");
        (void)vd_text_copy(dst + used, size - used, child->parent_identity[1]);
    }
}

/* ---- judging one file ---- */

/* XenServer puts differencing VHDs on raw disks: the parent's UUID is all zeros then, and a raw disk has no
 * identity either.  Only the user can say that the two belong together. */
static bool is_raw_parent(const struct image *child, const struct image *parent)
{
    return child->format == &image_format_vhd && !child->parent_identity[0][0] &&
           parent->format == &image_format_raw;
}

static void reason_misfit(struct chain_walk *w, const struct image *image)
{
    const struct image *child = chain_last(w->chain);
    char why[IMAGE_ID_MAX + 120];

    if (is_raw_parent(child, image))
        (void)snprintf(why, sizeof(why),
                       "is a raw file, as XenServer uses them, but nothing in the two files proves "
                       "that it is the one (unverified_chain takes it)");
    else if (image->format != child->format)
        (void)snprintf(
            why, sizeof(why), "is a %s file, %s; a %s file can only have one of its kind",
            image->format->name, chain_identity_or_none(image->identity), child->format->name);
    else
        (void)snprintf(why, sizeof(why), "is %s (another disk, or changed after the snapshot)",
                       chain_identity_or_none(image->identity));
    add_reason(w, image->name, why);
}

static bool is_member(const struct chain *chain, const struct image *image)
{
    size_t i;

    for (i = 0; i < chain->n; i++)
        if (chain_same_file(chain->v[i], image))
            return true;
    return false;
}

#define NOT_THERE 2

/* Products chain files of one format only: VMware and QEMU VMDK on VMDK (of any kind), Hyper-V VHD
 * on VHD and VHDX on VHDX. */
static bool fits(const struct image *child, const struct image *parent)
{
    return child->format == parent->format && chain_identity_fits(child, parent);
}

/* Opens `name` as the parent of the last member.  0: *out is the parent.  Positive: it is not;
 * unless it is NOT_THERE the reason is noted.  Negative: out of memory. */
static int try_file(struct chain_walk *w, unsigned dir, const char *name, struct image **out,
                    struct vd_err *err)
{
    const struct image *child = chain_last(w->chain);
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
    } else if (fits(child, image)) {
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

/* The child's directory first, then the others. */
static unsigned nth_dir(const struct image *child, unsigned i)
{
    return i == 0 ? child->dir : i - (i <= child->dir);
}

/* A missing file is a reason once, not per directory. */
static int try_name(struct chain_walk *w, const char *name, struct image **out, struct vd_err *err)
{
    const struct image *child = chain_last(w->chain);
    bool found = false;
    unsigned i;

    for (i = 0; i < w->source->n_dirs; i++) {
        int rc = try_file(w, nth_dir(child, i), name, out, err);

        if (rc <= 0)
            return rc;
        found = found || rc != NOT_THERE;
    }
    if (!found)
        add_reason(w, name, "no such file");
    return 1;
}

/* ---- searching by identity ---- */

struct candidates {
    size_t v[MAX_CANDIDATES]; /* entries of the index */
    size_t n;                 /* all of them; the first MAX_CANDIDATES are in v */
};

/* Does the file of `entry` lie above a member: do its own hints lead down into the chain? */
static bool is_newer(struct chain_walk *w, size_t entry)
{
    const struct chain_index *index = &w->index;
    size_t steps;

    for (steps = 0; steps <= VD_MAX_CHAIN && entry != CHAIN_NONE; steps++) {
        if (index->member[entry])
            return true;
        w->steps_left -= w->steps_left > 0;
        entry = index->parent[entry];
    }
    return false;
}

/* Takes the entries with this identity in the order of directories: the child's own first. */
static void add_candidates(struct chain_walk *w, const char *identity, bool own_dir,
                           struct candidates *out)
{
    const struct image *child = chain_last(w->chain);
    const struct chain_keys *keys = &w->index.by_identity;
    size_t i;

    for (i = chain_keys_find(keys, identity);
         i < keys->n && strcmp(keys->v[i].text, identity) == 0 && out->n <= MAX_CANDIDATES; i++) {
        size_t at = keys->v[i].at;
        const struct image *entry = w->index.v[at];

        if ((entry->dir == child->dir) != own_dir || w->index.same[at] != at || !fits(child, entry))
            continue;
        if (is_newer(w, at)) {
            if (!w->index.member[at])
                add_reason(w, entry->name, "has that identity, but is newer than the child");
            continue;
        }
        if (w->steps_left == 0)
            out->n = MAX_CANDIDATES;
        if (out->n < MAX_CANDIDATES)
            out->v[out->n] = at;
        out->n++;
    }
}

static void collect_candidates(struct chain_walk *w, struct candidates *out)
{
    const struct image *child = chain_last(w->chain);
    unsigned own, k;

    out->n = 0;
    for (own = 0; own < 2; own++)
        for (k = 0; k < 2; k++)
            if (child->parent_identity[k][0] &&
                (k == 0 || strcmp(child->parent_identity[0], child->parent_identity[1]) != 0))
                add_candidates(w, child->parent_identity[k], own == 0, out);
}

/* Compares the other candidates with `parent`.  0: all are equal.  Positive: they are not, the
 * reasons are noted. */
static int compare_candidates(struct chain_walk *w, const struct candidates *found, size_t first,
                              const struct image *parent, struct vd_err *err)
{
    char why[256], text[512];
    size_t i;

    for (i = first + 1; i < found->n; i++) {
        struct image *other = NULL;
        bool same = false;
        int rc;

        if (i == MAX_CANDIDATES) {
            add_reason(w, parent->name, "too many files have that identity to compare them");
            return 1;
        }
        rc =
            try_file(w, w->index.v[found->v[i]]->dir, w->index.file_name[found->v[i]], &other, err);
        if (rc < 0)
            return rc;
        if (rc > 0)
            continue; /* cannot be opened: it is not the one */
        rc = chain_compare(parent, other, &w->compare_left, &same, why, sizeof(why), err);
        if (rc == 0 && !same) {
            (void)snprintf(text, sizeof(text),
                           "has that identity, and so has %s, but they are not equal: %s; chain= "
                           "says which one is meant",
                           other->name, why);
            add_reason(w, parent->name, text);
            rc = 1;
        }
        image_free(other);
        if (rc)
            return rc;
    }
    return 0;
}

/* Why the files that are there are not the parent; only for a refusal. */
static void add_misfits(struct chain_walk *w)
{
    const struct image *child = chain_last(w->chain);
    unsigned d;
    size_t i;

    for (d = 0; d < w->source->n_dirs; d++)
        for (i = 0; i < w->index.n; i++) {
            const struct image *entry = w->index.v[i];

            if (entry->dir == nth_dir(child, d) && entry->identity[0] && !fits(child, entry) &&
                !chain_is_hinted(child, w->index.file_name[i]) &&
                !w->index.member[w->index.same[i]])
                reason_misfit(w, entry); /* extents and the like have no identity */
        }
    if (w->index.failed.p)
        add_reason(w, "could not be read", w->index.failed.p);
}

static void report_search(struct chain_walk *w, const struct candidates *found,
                          const struct image *parent)
{
    const struct image *child = chain_last(w->chain);

    vd_fact_add(&w->chain->facts, VD_FACT_WARNING, "parent_renamed",
                "%s: the parent was not found as \"%s\"; %s was found by its identity %s",
                child->name, child->parent_path ? child->parent_path : "", parent->name,
                parent->identity);
    if (found->n > 1)
        vd_fact_add(&w->chain->facts, VD_FACT_WARNING, "parent_ambiguous",
                    "%s: %zu files have the identity %s and equal contents; %s, the first by name, "
                    "is used",
                    child->name, found->n, parent->identity, parent->name);
}

static int search(struct chain_walk *w, struct image **out, struct vd_err *err)
{
    struct image *parent = NULL;
    struct vd_err why = VD_ERR_INIT;
    struct candidates found;
    size_t i;
    int rc;

    if (chain_last(w->chain)->parent_by_name) {
        add_reason(w, "search by identity", "unrelated files share this identity");
        return 1;
    }
    rc = chain_walk_index(w, &why, err);
    if (rc > 0)
        add_reason(w, "search by identity", why.msg);
    if (rc)
        return rc;
    collect_candidates(w, &found);
    for (i = 0; i < found.n && i < MAX_CANDIDATES && !parent; i++) {
        rc = try_file(w, w->index.v[found.v[i]]->dir, w->index.file_name[found.v[i]], &parent, err);
        if (rc < 0)
            return rc;
    }
    rc = parent ? compare_candidates(w, &found, i - 1, parent, err) : 1;
    if (rc) {
        image_free(parent);
        if (rc > 0 && !parent)
            add_misfits(w);
        return rc;
    }
    report_search(w, &found, parent);
    *out = parent;
    return 0;
}

/* ---- one link ---- */

static int refuse(struct chain_walk *w, struct vd_err *err)
{
    const struct image *child = chain_last(w->chain);
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
static int take_misfit(struct chain_walk *w, struct image **out)
{
    const struct image *child = chain_last(w->chain);
    char wanted[2 * IMAGE_ID_MAX + 8];

    wanted_text(child, wanted, sizeof(wanted));
    vd_fact_add(&w->chain->facts, VD_FACT_WARNING, "unverified",
                "%s asks for the parent %s, %s is %s: used because unverified_chain was given; "
                "what is shown may never have existed",
                child->name, wanted, w->misfit->name, chain_identity_or_none(w->misfit->identity));
    *out = vd_take(&w->misfit);
    return 0;
}

static void forget(struct chain_walk *w)
{
    vd_str_clear(&w->reasons);
    w->n_reasons = 0;
    image_free(w->misfit);
    w->misfit = NULL;
}

/* `rc` is what looking for it gave. */
static int conclude(struct chain_walk *w, int rc, struct image **out, struct vd_err *err)
{
    if (rc > 0 && w->options->unverified && w->misfit)
        rc = take_misfit(w, out);
    if (rc > 0)
        rc = refuse(w, err);
    forget(w);
    return rc;
}

int chain_parent_find(struct chain_walk *w, struct image **out, struct vd_err *err)
{
    const struct image *child = chain_last(w->chain);
    int rc = 1;
    unsigned i;

    for (i = 0; i < child->n_parent_hints && rc > 0; i++)
        rc = try_name(w, child->parent_hint[i], out, err);
    if (rc > 0)
        rc = search(w, out, err);
    return conclude(w, rc, out, err);
}

int chain_parent_take(struct chain_walk *w, const char *name, struct image **out,
                      struct vd_err *err)
{
    return conclude(w, try_name(w, name, out, err), out, err);
}

int chain_parent_missing(struct chain_walk *w, struct vd_err *err)
{
    int rc;

    add_reason(w, "chain=", "the list ends here");
    rc = refuse(w, err);
    forget(w);
    return rc;
}

/* ---- what a link is worth ---- */

static void time_text(int64_t sec, char *dst, size_t size)
{
    time_t t = (time_t)sec;
    struct tm tm;

    if (!gmtime_r(&t, &tm) || !strftime(dst, size, "%Y-%m-%d %H:%M:%S UTC", &tm))
        (void)snprintf(dst, size, "%" PRId64 " s after 1970", sec);
}

/* The child remembers when its parent's file was last written to; the parent says when it was made (VHD).
 * The first is later in every honest chain, and a copy does not keep the time of the file itself.  A
 * parent that was made after its last change is another one, or clocks disagreed. */
static void report_times(struct chain *chain, const struct image *child, const struct image *parent)
{
    char remembered[64], made[64];

    if (!child->has_parent_time || !parent->has_time || child->parent_time >= parent->time)
        return;
    time_text(child->parent_time, remembered, sizeof(remembered));
    time_text(parent->time, made, sizeof(made));
    vd_fact_add(&chain->facts, VD_FACT_WARNING, "parent_time",
                "%s remembers that its parent was last changed at %s, but %s says that it was made "
                "later, at %s: it may have been made anew after the snapshot, or clocks disagreed; "
                "its identity is the one asked for",
                child->name, remembered, parent->name, made);
}

void chain_link_report(struct chain *chain)
{
    const struct image *child = chain->v[chain->n - 2], *parent = chain_last(chain);

    if (fits(child, parent))
        vd_fact_add(&chain->facts, VD_FACT_INFO, "link_verified", "%s on %s (%s)", child->name,
                    parent->name, parent->identity);
    if (child->format != parent->format)
        vd_fact_add(&chain->facts, VD_FACT_WARNING, "mixed_formats",
                    "%s is a %s file, its parent %s a %s file: %s", child->name,
                    child->format->name, parent->name, parent->format->name,
                    is_raw_parent(child, parent) ? "XenServer alone makes such chains"
                                                 : "no product makes such a chain");
    report_times(chain, child, parent);
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
