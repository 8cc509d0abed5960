/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drawings in UTF-8 box characters.  A chain of 1,024 is a column, not a staircase; a snapshot tree
 * moves to the right only where it branches, and no further than MAX_LEVELS, whatever the .vmsd
 * says.  Text of the evidence is made printable here.  One thread.
 */
#include "tree/info_tree.h"

#include "tree/info_facts.h"
#include "tree/timetext.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_LEVELS 24
_Static_assert(MAX_LEVELS <= 32, "bits of struct waiting");

static void add_printable(struct vd_str *s, const char *text)
{
    char *shown = info_printable(text);

    if (shown)
        vd_str_add(s, shown);
    else
        s->failed = true;
    free(shown);
}

static void add_human(struct vd_str *s, const char *before, uint64_t bytes)
{
    char text[32];

    vd_text_size(bytes, text, sizeof(text));
    vd_str_addf(s, "%s%s", before, text);
}

static void add_day(struct vd_str *s, const char *before, int64_t sec)
{
    char when[TIMETEXT_MAX];

    timetext_format(sec, 0, when);
    vd_str_addf(s, "%s%.19s", before, when);
}

/* ---- the chain ---- */

static void add_share(struct vd_str *s, const struct contribution *c, uint64_t disk)
{
    char given[32], stored[32], zeros[32], bad[32];

    vd_text_size(c->data, given, sizeof(given));
    vd_text_size(c->stored, stored, sizeof(stored));
    vd_str_addf(s, "gives %s (%.1f %%) of the disk, of %s that it stores", given,
                disk ? 100.0 * (double)c->data / (double)disk : 0.0, stored);
    if (c->zeros) {
        vd_text_size(c->zeros, zeros, sizeof(zeros));
        vd_str_addf(s, "; %s of zeros", zeros);
    }
    if (c->unreadable) {
        vd_text_size(c->unreadable, bad, sizeof(bad));
        vd_str_addf(s, "; %s CANNOT BE READ", bad);
    }
    vd_str_add(s, "\n");
}

static void draw_member(struct vd_str *s, const struct vd_point *c,
                        const struct contribution *share, size_t i)
{
    const struct image *m = c->chain->v[i];
    const struct chain_name *name = c->chain->name ? &c->chain->name[i] : NULL;
    bool last = i + 1 == c->chain->n;
    const char *line = last ? "   " : "│  ";

    vd_str_addf(s, "  %s %zu  ",
                last            ? "└─"
                : i == c->first ? "┌─"
                                : "├─",
                case_point_number(c->chain, i));
    add_printable(s, m->name);
    vd_str_addf(s, "  (%s)%s\n", info_role(c->chain, i), i == c->member ? "  <== this disk" : "");
    vd_str_addf(s, "  %s     ", line);
    vd_str_addf(s, "%s", m->format->name);
    add_human(s, ", disk ", m->dev->size);
    add_human(s, ", file ", m->file.size);
    add_day(s, ", modified ", m->file.mtime_sec);
    if (m->has_time)
        add_day(s, ", says of itself ", m->time);
    if (m->identity[0]) {
        vd_str_add(s, ", ");
        add_printable(s, m->identity);
    }
    vd_str_add(s, "\n");
    if (name && name->name) {
        vd_str_addf(s, "  %s     frozen by the snapshot \"", line);
        add_printable(s, name->name);
        vd_str_add(s, "\"");
        if (name->has_created)
            add_day(s, ", ", name->created_sec);
        vd_str_add(s, "\n");
    }
    if (share && i >= c->member) {
        vd_str_addf(s, "  %s     ", line);
        add_share(s, &share[i], c->disk->size);
    }
}

void info_draw_chain(struct vd_str *s, const struct vd_point *c, const struct case_context *context)
{
    const struct contribution *share = context ? context->share : NULL;
    size_t i;

    if (c->chain->n == 1 && !share)
        return;
    vd_str_addf(s, "\nTREE (numbered from the base; times are UTC)\n");
    for (i = c->first; i < c->chain->n; i++)
        draw_member(s, c, share, i);
    if (context && context->share_missing)
        vd_str_addf(s, "  what each member gives was not counted: %s\n", context->share_missing);
}

/* ---- snapshot trees ---- */

/* Children of each snapshot in the order of the file, as linked lists of indices + 1. */
struct tree_links {
    size_t *first, *next, *last;
    size_t roots, last_root;
};

static bool link_snapshots(const struct vm_snapshots *t, struct tree_links *l)
{
    size_t i;

    *l = (struct tree_links){.first = calloc(t->n, sizeof(size_t)),
                             .next = calloc(t->n, sizeof(size_t)),
                             .last = calloc(t->n, sizeof(size_t))};
    if (!l->first || !l->next || !l->last)
        return false;
    for (i = 0; i < t->n; i++) {
        size_t p = t->v[i].parent;
        size_t *first = p < t->n ? &l->first[p] : &l->roots;
        size_t *last = p < t->n ? &l->last[p] : &l->last_root;

        if (*last)
            l->next[*last - 1] = i + 1;
        else
            *first = i + 1;
        *last = i + 1;
    }
    return true;
}

static void free_links(struct tree_links *l)
{
    free(l->first);
    free(l->next);
    free(l->last);
}

/* The columns left of a line; bit k of `open` says that the branch of level k goes on below. */
static void add_columns(struct vd_str *s, unsigned level, uint32_t open)
{
    unsigned k;

    vd_str_add(s, "  ");
    for (k = 0; k < level && k < MAX_LEVELS; k++)
        vd_str_add(s, open >> k & 1 ? "│  " : "   ");
}

static void draw_snapshot(struct vd_str *s, const struct vd_point *c, const struct vm_snapshots *t,
                          size_t i)
{
    const struct vm_snapshot *snap = &t->v[i];

    vd_str_add(s, "● ");
    if (snap->name) {
        vd_str_add(s, "\"");
        add_printable(s, snap->name);
        vd_str_add(s, "\"");
    } else {
        vd_str_addf(s, "snapshot %" PRIu64, snap->uid);
    }
    if (snap->has_created)
        add_day(s, ", ", snap->created_sec);
    if (snap->member < c->chain->n) {
        vd_str_add(s, ", froze ");
        add_printable(s, c->chain->v[snap->member]->name);
        vd_str_add(s, snap->member == c->member ? "  <== this disk" : "");
    } else if (snap->n_disks) {
        vd_str_add(s, ", on another branch: ");
        add_printable(s, snap->disk[0].file ? snap->disk[0].file : "?");
        if (snap->n_disks > 1)
            vd_str_addf(s, " and %zu more", snap->n_disks - 1);
    }
    vd_str_add(s, "\n");
}

/* A snapshot that waits to be drawn. */
struct waiting {
    size_t i;
    unsigned level;
    uint32_t open;
};

/* Puts the list that begins at `first` on the stack, so that it comes off in order.  All but the
 * last one are drawn a level to the right, unless `straight`. */
static size_t push_list(const struct tree_links *l, size_t first, unsigned level, uint32_t open,
                        bool straight, struct waiting *stack, size_t n)
{
    size_t bottom = n, top, k;

    for (k = first; k; k = l->next[k - 1]) {
        bool right = !straight && l->next[k - 1];

        stack[n++] = (struct waiting){
            .i = k - 1,
            .level = level + right,
            .open = right && level < MAX_LEVELS ? open | (uint32_t)1 << level : open,
        };
    }
    for (top = n; bottom + 1 < top; bottom++, top--) {
        struct waiting swap = stack[bottom];

        stack[bottom] = stack[top - 1];
        stack[top - 1] = swap;
    }
    return n;
}

/* Every snapshot has one parent and circles are cut (vm_files.h): each is pushed once. */
static void draw_machine(struct vd_str *s, const struct vd_point *c, const struct vm_snapshots *t,
                         const struct tree_links *l)
{
    struct waiting *stack = calloc(t->n, sizeof(*stack));
    size_t n;

    if (!stack) {
        s->failed = true;
        return;
    }
    n = push_list(l, l->roots, 0, 0, true, stack, 0);
    while (n) {
        struct waiting w = stack[--n];

        add_columns(s, w.level, w.open);
        draw_snapshot(s, c, t, w.i);
        if (w.i == t->current) {
            add_columns(s, w.level, w.open);
            vd_str_add(s, "   ○ the present state of the machine\n");
        }
        n = push_list(l, l->first[w.i], w.level, w.open, false, stack, n);
    }
    free(stack);
}

void info_draw_snapshots(struct vd_str *s, const struct vd_point *c)
{
    size_t i;

    for (i = 0; i < c->chain->vm.n; i++) {
        const struct vm_snapshots *t = &c->chain->vm.v[i];
        struct tree_links links;

        if (!t->n)
            continue;
        vd_str_add(s, "\nSNAPSHOTS (of ");
        add_printable(s, t->file);
        if (t->machine) {
            vd_str_add(s, ", machine \"");
            add_printable(s, t->machine);
            vd_str_add(s, "\"");
        }
        vd_str_add(s, "; oldest first, branches to the right)\n");
        if (link_snapshots(t, &links))
            draw_machine(s, c, t, &links);
        else
            s->failed = true;
        free_links(&links);
    }
}
