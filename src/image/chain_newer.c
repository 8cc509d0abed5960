/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What lies above the file that was named: a search from it over the children that files of the
 * directories claim to be, each file once.
 *
 *     base ─ a ─ NAMED ─ b ─ c          c is the newest state of one branch,
 *             │         └ d             d of another; e is neither newer nor older
 *             └ e
 *
 * A child belongs to the file that its hints lead to; where they lead nowhere, to every file with
 * the identity it asks for.  Nothing here decides what is shown: it warns.  One thread.
 */
#include "base/cleanup.h"
#include "image/chain_priv.h"

#include <stdlib.h>
#include <string.h>

#define MAX_BRANCHES 16  /* that are described; more are counted */
#define MAX_MIDDLE   600 /* bytes of names in one description */
#define LIST_BYTES   900 /* bytes of names in one fact */
#define MAX_LISTS    64
#define MAX_OTHERS   64
#define NAMES_ENOUGH 8 /* newer files that the descriptions name anyway */

struct pair {
    size_t parent, child; /* entries */
};

struct newer {
    struct chain_walk *w;
    const struct chain_index *index;
    struct pair *pair; /* children by the parent that their hints lead to; sorted; owned */
    size_t n_pairs;
    size_t *queue; /* newer files in the order they were found; owned */
    size_t n;
    size_t *from;      /* by entry: the one below, or CHAIN_NONE (the named file); owned */
    bool *seen;        /* by entry; owned */
    bool *has_child;   /* by entry; owned */
    bool *done;        /* by place in by_parent: this identity was gone through; owned */
    size_t n_branches; /* ends that were met */
};

static int compare_pairs(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;

    if (x->parent != y->parent)
        return x->parent < y->parent ? -1 : 1;
    return (x->child > y->child) - (x->child < y->child);
}

static void newer_clear(struct newer *s)
{
    free(s->pair);
    free(s->queue);
    free(s->from);
    free(s->seen);
    free(s->has_child);
    free(s->done);
}

static int newer_init(struct newer *s, struct vd_err *err)
{
    const struct chain_index *index = s->index;
    size_t i;

    s->pair = calloc(index->n + 1, sizeof(*s->pair));
    s->queue = calloc(index->n + 1, sizeof(*s->queue));
    s->from = calloc(index->n + 1, sizeof(*s->from));
    s->seen = calloc(index->n + 1, sizeof(*s->seen));
    s->has_child = calloc(index->n + 1, sizeof(*s->has_child));
    s->done = calloc(index->by_parent.n + 1, sizeof(*s->done));
    if (!s->pair || !s->queue || !s->from || !s->seen || !s->has_child || !s->done)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    for (i = 0; i < index->n; i++) {
        s->seen[i] = index->same[i] != i || index->member[i];
        if (index->same[i] == i && index->parent[i] != CHAIN_NONE)
            s->pair[s->n_pairs++] = (struct pair){index->parent[i], i};
    }
    qsort(s->pair, s->n_pairs, sizeof(*s->pair), compare_pairs);
    return 0;
}

static size_t first_pair(const struct newer *s, size_t parent)
{
    size_t low = 0, high = s->n_pairs;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (s->pair[middle].parent < parent)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void found(struct newer *s, size_t entry, size_t from)
{
    if (s->seen[entry])
        return;
    s->seen[entry] = true;
    s->from[entry] = from;
    s->queue[s->n++] = entry;
    if (from != CHAIN_NONE)
        s->has_child[from] = true;
}

/* The children of a file: `entry` is its own (CHAIN_NONE: it is not in the index). */
static void add_children(struct newer *s, const char *identity, size_t entry, size_t from)
{
    const struct chain_keys *keys = &s->index->by_parent;
    size_t i, first;

    for (i = first_pair(s, entry); i < s->n_pairs && s->pair[i].parent == entry; i++)
        found(s, s->pair[i].child, from);
    first = identity[0] ? chain_keys_find(keys, identity) : keys->n;
    if (first == keys->n || s->done[first])
        return;
    s->done[first] = true;
    for (i = first; i < keys->n && strcmp(keys->v[i].text, identity) == 0; i++)
        if (s->index->parent[keys->v[i].at] == CHAIN_NONE)
            found(s, keys->v[i].at, from);
}

/* ---- saying it ---- */

/* The files between the named one and `end`, oldest first, as many as fit. */
static void add_middle(struct vd_str *text, const struct newer *s, const size_t *path, size_t n)
{
    size_t i, start = text->len;

    for (i = 0; i < n && text->len - start < MAX_MIDDLE; i++)
        vd_str_addf(text, "%s%s", i ? ", " : "", s->index->v[path[i]]->name);
    if (i < n)
        vd_str_addf(text, " and %zu more", n - i);
}

/* The branch that ends in `end`. */
static int report_branch(struct newer *s, size_t end, struct vd_err *err)
{
    const struct image *tip = s->w->chain->v[0];
    VD_AUTO(free) size_t *path = NULL;
    VD_AUTO(free) char *owned = NULL;
    struct vd_str text = VD_STR_INIT;
    size_t n = 1, n_left, at; /* `end` itself is the first */

    for (at = s->from[end]; at != CHAIN_NONE; at = s->from[at])
        n++;
    n_left = n;
    path = calloc(n, sizeof(*path));
    if (!path)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    for (at = end; at != CHAIN_NONE; at = s->from[at])
        path[--n_left] = at;
    vd_str_addf(&text, "%s is not the newest state: %s has it as its parent%s", tip->name,
                s->index->v[path[0]]->name,
                chain_is_hinted(s->index->v[path[0]], s->w->tip_name) ? ""
                                                                      : " (under another name)");
    if (n > 2) {
        vd_str_add(&text, ", and on that lie ");
        add_middle(&text, s, path + 1, n - 2);
    }
    if (n > 1)
        vd_str_addf(&text, "; the newest state%s is %s", s->n_branches > 1 ? " of this branch" : "",
                    s->index->v[end]->name);
    owned = vd_str_take(&text);
    if (!owned)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    vd_fact_add(&s->w->chain->facts, VD_FACT_WARNING, "not_the_tip", "%s", owned);
    return 0;
}

/* Every newer file by name, when the descriptions may have left some out. */
static int list_all(const struct newer *s, struct vd_err *err)
{
    size_t i = 0, lists;

    for (lists = 0; i < s->n && lists < MAX_LISTS; lists++) {
        VD_AUTO(free) char *owned = NULL;
        struct vd_str text = VD_STR_INIT;

        for (; i < s->n && text.len < LIST_BYTES; i++)
            vd_str_addf(&text, "%s%s", text.len ? ", " : "", s->index->v[s->queue[i]]->name);
        if (lists + 1 == MAX_LISTS && i < s->n)
            vd_str_addf(&text, " and %zu more", s->n - i);
        owned = vd_str_take(&text);
        if (!owned)
            return vd_fail(err, VD_ENOMEM, "out of memory");
        vd_fact_add(&s->w->chain->facts, VD_FACT_INFO, "newer_files", "%s", owned);
    }
    return 0;
}

static int report_branches(struct newer *s, struct vd_err *err)
{
    size_t i, told = 0;
    int rc = 0;

    for (i = 0; i < s->n; i++)
        s->n_branches += !s->has_child[s->queue[i]];
    for (i = 0; i < s->n && told < MAX_BRANCHES && rc == 0; i++)
        if (!s->has_child[s->queue[i]]) {
            rc = report_branch(s, s->queue[i], err);
            told++;
        }
    if (rc == 0 && s->n_branches > MAX_BRANCHES)
        vd_fact_add(&s->w->chain->facts, VD_FACT_WARNING, "not_the_tip",
                    "%s is not the newest state: %zu newer files lie on it, in %zu branches",
                    s->w->chain->v[0]->name, s->n, s->n_branches);
    return rc == 0 && s->n > NAMES_ENOUGH ? list_all(s, err) : rc;
}

/* Files that mean the named one and yet do not fit it, and newer states of its twins. */
static void report_claims(struct newer *s)
{
    const struct image *tip = s->w->chain->v[0];
    bool twin_told = false;
    size_t i;

    for (i = 0; i < s->index->n; i++) {
        const struct image *entry = s->index->v[i];
        size_t parent = s->index->parent[i];

        if (!entry->has_parent || s->seen[i])
            continue;
        if (parent == CHAIN_NONE && chain_is_hinted(entry, s->w->tip_name)) {
            vd_fact_add(&s->w->chain->facts, VD_FACT_WARNING, "child_misfit",
                        "%s names %s as its parent, but asks for %s and this file is %s: one of "
                        "them was changed or replaced after the snapshot",
                        entry->name, tip->name, chain_identity_or_none(entry->parent_identity[0]),
                        chain_identity_or_none(tip->identity));
        } else if (!twin_told && parent != CHAIN_NONE && !s->seen[parent] && tip->identity[0] &&
                   strcmp(s->index->v[parent]->identity, tip->identity) == 0) {
            twin_told = true;
            vd_fact_add(&s->w->chain->facts, VD_FACT_WARNING, "twin",
                        "%s has the identity of %s as well, and newer files lie on that one (%s)",
                        s->index->v[parent]->name, tip->name, entry->name);
        }
    }
}

/* Children of older members that are not in the chain: states of another branch. */
static void report_others(struct newer *s)
{
    const struct chain *chain = s->w->chain;
    size_t i, k, told = 0;

    for (i = 1; i < chain->n; i++) {
        size_t entry = chain_index_entry_of(s->index, chain->v[i]);

        for (k = first_pair(s, entry); k < s->n_pairs && s->pair[k].parent == entry; k++)
            if (!s->seen[s->pair[k].child] && told++ < MAX_OTHERS)
                vd_fact_add(&s->w->chain->facts, VD_FACT_INFO, "other_branch",
                            "%s is another child of %s", s->index->v[s->pair[k].child]->name,
                            chain->v[i]->name);
    }
}

static int report(struct newer *s, struct vd_err *err)
{
    const struct image *tip = s->w->chain->v[0];
    size_t i;
    int rc = newer_init(s, err);

    if (rc)
        return rc;
    add_children(s, tip->identity, chain_index_entry_of(s->index, tip), CHAIN_NONE);
    for (i = 0; i < s->n; i++)
        add_children(s, s->index->v[s->queue[i]]->identity, s->queue[i], s->queue[i]);
    rc = report_branches(s, err);
    if (rc == 0) {
        report_claims(s);
        report_others(s);
    }
    return rc;
}

int chain_newer_report(struct chain_walk *w, struct vd_err *err)
{
    struct newer s = {.w = w, .index = &w->index};
    struct vd_err why = VD_ERR_INIT;
    int rc = chain_walk_index(w, &why, err);

    if (rc > 0) {
        vd_fact_add(&w->chain->facts, VD_FACT_WARNING, "newer_files",
                    "whether newer snapshots lie beside this file could not be checked: %s",
                    why.msg);
        return 0;
    }
    if (rc == 0)
        rc = report(&s, err);
    newer_clear(&s);
    if (rc == 0 && w->index.n_failed)
        vd_fact_add(&w->chain->facts, VD_FACT_WARNING, "unreadable_neighbours",
                    "%zu of %zu files in the evidence directories could not be identified, a newer "
                    "snapshot may be among them: %s",
                    w->index.n_failed, w->index.n_files,
                    w->index.failed.p ? w->index.failed.p : "");
    return rc;
}
