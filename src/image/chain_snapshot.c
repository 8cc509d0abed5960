/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshot=: which point of the chain is shown.  The word may be a number (0 = base, as the
 * directories of snapshots/ begin), "tip" (the file that was named), a member's file name or the
 * name of a snapshot in the .vmsd.  Every meaning is looked for; a word with two meanings is
 * refused, and so is a snapshot whose disk lies on another branch.  The chain was verified whole
 * before: also what lies above the point.  One thread.
 */
#include "base/cleanup.h"
#include "image/chain_priv.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Meanings and points that a message spells out; it has 1,024 bytes. */
#define MAX_TOLD 12

struct meanings {
    const struct chain *chain;
    struct vd_str text; /* each with what it is */
    size_t n;           /* different ones */
    size_t member;      /* of the first that is a member; VM_NONE */
    bool elsewhere;     /* one lies on another branch */
};

static void add_meaning(struct meanings *m, size_t member, const char *what, const char *where)
{
    if (member != VM_NONE && m->n == 1 && m->member == member)
        return; /* the same point in other words */
    if (m->n++ == 0)
        m->member = member;
    m->elsewhere = m->elsewhere || member == VM_NONE;
    if (m->n <= MAX_TOLD)
        vd_str_addf(&m->text, "%s%s%s", m->text.len ? "; " : "", what, where);
}

/* A whole number, leading zeros allowed. */
static bool is_number(const char *text, uint64_t *out)
{
    uint64_t n = 0;
    size_t i;

    for (i = 0; isdigit((unsigned char)text[i]); i++)
        n = n > UINT32_MAX ? n : n * 10 + (uint64_t)(text[i] - '0');
    *out = n;
    return i > 0 && text[i] == '\0';
}

/* The disk of a snapshot that is not a member: the one on the node that members have been on, or all
 * of them. */
static void files_of(const struct vm_snapshots *s, const struct vm_snapshot *wanted,
                     const char *node, struct vd_str *out)
{
    size_t k, told = 0;

    for (k = 0; k < wanted->n_disks; k++) {
        const struct vm_disk *disk = &wanted->disk[k];

        if (node && disk->node && strcmp(disk->node, node) != 0)
            continue;
        if (told++ < MAX_TOLD)
            vd_str_addf(out, "%s%s", told > 1 ? " or " : "", disk->path);
    }
    if (told == 0)
        vd_str_addf(out, "(%s names no file)", s->file);
}

/* The adapter and number that this chain's disk is attached to; NULL: not known. */
static const char *node_of(const struct chain *chain, const struct vm_snapshots *s)
{
    size_t i, k;

    for (i = 0; i < s->n; i++)
        for (k = 0; s->v[i].member != VM_NONE && k < s->v[i].n_disks; k++) {
            const struct vm_disk *disk = &s->v[i].disk[k];

            if (disk->node && strcasecmp(disk->file, chain->v[s->v[i].member]->name) == 0)
                return disk->node;
        }
    return NULL;
}

/* A copy of the .vmsd in another directory names the same snapshot, and finds its disk or does not:
 * the first file counts, or the one that finds it. */
static bool is_copy(const struct chain *chain, size_t tree, const struct vm_snapshot *wanted)
{
    size_t i, k;

    for (i = 0; i < chain->vm.n; i++)
        for (k = 0; k < chain->vm.v[i].n; k++) {
            const struct vm_snapshot *s = &chain->vm.v[i].v[k];

            if ((i < tree || s->member != VM_NONE) && s->uid == wanted->uid && s->name &&
                strcmp(s->name, wanted->name) == 0)
                return true;
        }
    return false;
}

static void look_in_tree(struct meanings *m, size_t tree, const char *word)
{
    const struct vm_snapshots *s = &m->chain->vm.v[tree];
    size_t i;

    for (i = 0; i < s->n; i++) {
        const struct vm_snapshot *snapshot = &s->v[i];
        struct vd_str where = VD_STR_INIT;

        if (!snapshot->name || strcmp(snapshot->name, word) != 0)
            continue;
        if (snapshot->member != VM_NONE) {
            vd_str_add(&where, m->chain->v[snapshot->member]->name);
            add_meaning(m, snapshot->member, "the snapshot of that name in ",
                        where.p ? where.p : "");
        } else if (!is_copy(m->chain, tree, snapshot)) {
            files_of(s, snapshot, node_of(m->chain, s), &where);
            add_meaning(
                m, VM_NONE,
                "a snapshot outside of this chain (newer, or on another branch), its disk is ",
                where.p ? where.p : "");
        }
        vd_str_clear(&where);
    }
}

static void look_everywhere(struct meanings *m, const char *word)
{
    const struct chain *chain = m->chain;
    uint64_t number;
    size_t i;

    if (is_number(word, &number) && number < chain->n)
        add_meaning(m, chain->n - 1 - (size_t)number, "the point of that number, ",
                    chain->v[chain->n - 1 - (size_t)number]->name);
    if (strcmp(word, "tip") == 0)
        add_meaning(m, 0, "the file that was named, ", chain->v[0]->name);
    for (i = 0; i < chain->n; i++)
        if (strcmp(chain->v[i]->name, word) == 0)
            add_meaning(m, i, "the file ", chain->v[i]->name);
    for (i = 0; i < chain->vm.n; i++)
        look_in_tree(m, i, word);
}

/* "0 base.vmdk "Clean install", 1 …": what there is. */
static int refuse_unknown(const struct chain *chain, const char *word, struct vd_err *err)
{
    VD_AUTO(free) char *list = NULL;
    struct vd_str text = VD_STR_INIT;
    size_t n;

    for (n = 0; n < chain->n && n < MAX_TOLD; n++) {
        size_t i = chain->n - 1 - n;
        const char *name = chain->name ? chain->name[i].name : NULL;

        vd_str_addf(&text, "%s%zu %s%s%s%s", n ? ", " : "", n, chain->v[i]->name, name ? " \"" : "",
                    name ? name : "", name ? "\"" : "");
    }
    if (chain->n > MAX_TOLD)
        vd_str_addf(&text, " … up to %zu", chain->n - 1);
    list = vd_str_take(&text);
    return vd_fail(err, VD_EUSAGE, "snapshot=%s: there is no such point; there are: %s", word,
                   list ? list : "");
}

int chain_snapshot_resolve(struct chain *chain, const char *text, struct vd_err *err)
{
    struct meanings m = {.chain = chain, .member = VM_NONE};
    int rc = 0;

    look_everywhere(&m, text);
    if (m.n == 0)
        rc = refuse_unknown(chain, text, err);
    else if (m.n > 1)
        rc = vd_fail(err, VD_EUSAGE,
                     "snapshot=%s can mean %zu things: %s; name the file that is meant", text, m.n,
                     m.text.p ? m.text.p : "");
    else if (m.elsewhere)
        rc = vd_fail(err, VD_EUSAGE, "snapshot=%s is %s: open that file instead", text,
                     m.text.p ? m.text.p : "");
    vd_str_clear(&m.text);
    if (rc)
        return rc;
    chain->point = m.member;
    vd_fact_add(&chain->facts, VD_FACT_INFO, "point",
                "%s: the state of number %zu is shown, chosen by snapshot=%s",
                chain->v[m.member]->name, chain->n - 1 - m.member, text);
    return 0;
}
