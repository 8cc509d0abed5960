/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a walk through a stream proves; see stream.h.
 *
 * What proves absence.  A table does not say which one it is: the grains that its entries name do, by
 * their own addresses.  It proves its span only if each of its entries names a grain of exactly that
 * place and if it names every grain of the span that was found.  (A file whose tail was replaced by
 * zeros could otherwise "prove" that what was lost is absent.)  The directory proves the whole disk if
 * it names every table that was met under its right number, and every grain lies in a proved table.
 * Where a grain's own address, the tables and the directory contradict each other, all grains
 * concerned are unclear.
 *
 * Works while an extent is opened; one thread.
 */
#include "image/vmdk/stream_priv.h"

#include "base/cleanup.h"
#include "base/limits.h"

#include <stdlib.h>

static int compare_placed(const void *a, const void *b)
{
    const struct vmdk_placed *x = a, *y = b;

    if (x->grain != y->grain)
        return x->grain < y->grain ? -1 : 1;
    return (x->sector > y->sector) - (x->sector < y->sector);
}

static int compare_numbers(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static int merge(struct vmdk_stream *s, const struct vmdk_placed_list *more, struct vd_err *err)
{
    struct vmdk_placed_list *list = &s->grains;
    bool sorted = true;
    size_t i;
    int rc = 0;

    for (i = 0; i < more->n && rc == 0; i++)
        rc = vmdk_stream_add(list, more->v[i].grain, more->v[i].sector, err);
    for (i = 1; i < list->n && sorted; i++)
        sorted = list->v[i - 1].grain < list->v[i].grain;
    if (!sorted)
        qsort(list->v, list->n, sizeof(*list->v), compare_placed);
    return rc;
}

/* Something contradicts table number `table`: its grains are unclear, but for those that `gte` (NULL:
 * none) has exactly where they were found. */
static int contradict(struct vmdk_stream_walk *w, uint64_t table, const uint32_t *gte,
                      struct vd_err *err)
{
    const struct vmdk_placed_list *list = &w->s->grains;
    uint64_t first = table * w->g->gt_entries;
    size_t i, end = vmdk_stream_first(list, first + w->g->gt_entries);
    int rc = 0;

    if (w->claims.n > VD_MAX_STREAM_CLAIMS)
        return vd_fail(err, VD_ELIMIT, "the stream contradicts itself in more than %u grains",
                       VD_MAX_STREAM_CLAIMS);
    for (i = vmdk_stream_first(list, first); i < end && rc == 0; i++)
        if (!gte || gte[list->v[i].grain - first] != list->v[i].sector)
            rc = vmdk_stream_add(&w->claims, list->v[i].grain, VMDK_CLAIMED, err);
    return rc;
}

/* Does table `t` name exactly the grains that were found in its span?  If not, those that it does not
 * name are unclear. */
static int check_table(struct vmdk_stream_walk *w, const struct vmdk_met_table *t, bool *out_proves,
                       struct vd_err *err)
{
    const struct vmdk_stream *s = w->s;
    uint64_t first = t->table * s->gt_entries;
    VD_AUTO(free) uint32_t *gte = NULL;
    bool readable;

    *out_proves = t->sound && vmdk_stream_first(&s->grains, first + s->gt_entries) -
                                      vmdk_stream_first(&s->grains, first) ==
                                  t->n_named;
    if (*out_proves)
        return 0;
    gte = malloc((size_t)s->gt_entries * 4);
    if (!gte)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    readable =
        vmdk_stream_entries(w, (uint64_t)t->sector * VMDK_SECTOR, gte, s->gt_entries, NULL) == 0;
    return contradict(w, t->table, readable ? gte : NULL, err);
}

static int prove_tables(struct vmdk_stream_walk *w, struct vd_err *err)
{
    struct vmdk_stream *s = w->s;
    size_t i;
    int rc = 0;

    s->proved = malloc((w->n_tables ? w->n_tables : 1) * sizeof(*s->proved));
    if (!s->proved)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    for (i = 0; i < w->n_tables && rc == 0; i++) {
        bool proves = false;

        if (w->table[i].table != VMDK_NO_TABLE)
            rc = check_table(w, &w->table[i], &proves, err);
        if (proves)
            s->proved[s->n_proved++] = w->table[i].table;
    }
    if (s->n_proved)
        qsort(s->proved, s->n_proved, sizeof(*s->proved), compare_numbers);
    return rc;
}

static const struct vmdk_met_table *table_at(const struct vmdk_stream_walk *w, uint32_t sector)
{
    size_t low = 0, high = w->n_tables;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (w->table[mid].sector < sector)
            low = mid + 1;
        else
            high = mid;
    }
    return low < w->n_tables && w->table[low].sector == sector ? &w->table[low] : NULL;
}

/* Compares the directory with the tables that were met.  *out_agrees: it names exactly those, each
 * under its number.  An entry of 0 contradicts nothing: the directory's own end may be lost. */
static int check_dir(struct vmdk_stream_walk *w, bool *out_agrees, struct vd_err *err)
{
    size_t i, n = 0;
    int rc = 0;

    *out_agrees = true;
    for (i = 0; i < w->g->gd_entries && rc == 0; i++) {
        const struct vmdk_met_table *t;

        if (w->gde[i] == 0)
            continue;
        n++;
        t = table_at(w, w->gde[i]);
        if (t && t->sound && (t->table == i || (t->table == VMDK_NO_TABLE && t->n_named == 0)))
            continue;
        *out_agrees = false;
        if (t && t->table == i)
            continue;
        rc = contradict(w, i, NULL, err); /* another table took its number */
        if (rc == 0 && t && t->table != VMDK_NO_TABLE)
            rc = contradict(w, t->table, NULL, err);
    }
    *out_agrees = *out_agrees && n == w->n_tables;
    return rc;
}

/* A table proves nothing about a span with unclear grains. */
static void withdraw_proofs(struct vmdk_stream_walk *w)
{
    struct vmdk_stream *s = w->s;
    size_t i, k, n = 0;

    for (i = 0; i < s->n_proved; i++) {
        uint64_t first = s->proved[i] * s->gt_entries;
        size_t end = vmdk_stream_first(&s->grains, first + s->gt_entries);
        bool clear = true;

        for (k = vmdk_stream_first(&s->grains, first); k < end; k++)
            clear = clear && s->grains.v[k].sector != VMDK_CLAIMED;
        if (clear)
            s->proved[n++] = s->proved[i];
    }
    s->n_proved = n;
}

static bool all_proved(const struct vmdk_stream *s)
{
    size_t i;

    for (i = 0; i < s->grains.n; i++)
        if (!vmdk_stream_proved(s, s->grains.v[i].grain / s->gt_entries))
            return false;
    return true;
}

static uint64_t count_unclear(const struct vmdk_stream *s)
{
    const struct vmdk_placed *v = s->grains.v;
    uint64_t n = 0;
    size_t i;

    for (i = 0; i < s->grains.n; i++)
        n += (i == 0 || v[i - 1].grain != v[i].grain) &&
             (v[i].sector == VMDK_CLAIMED || (i + 1 < s->grains.n && v[i + 1].grain == v[i].grain));
    return n;
}

static int read_dir(struct vmdk_stream_walk *w, struct vd_err *err)
{
    size_t n = (size_t)w->g->gd_entries;

    if (!w->gd_off)
        return 0;
    w->gde = malloc(n * 4);
    if (!w->gde)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    if (vmdk_stream_entries(w, w->gd_off, w->gde, n, NULL)) {
        free(w->gde);
        w->gde = NULL;
    }
    return 0;
}

int vmdk_stream_prove(struct vmdk_stream_walk *w, struct vd_err *err)
{
    struct vmdk_stream *s = w->s;
    bool agrees = false;
    int rc = merge(s, &w->zeroed, err);

    if (rc == 0)
        rc = prove_tables(w, err);
    if (rc == 0)
        rc = read_dir(w, err);
    if (rc == 0 && w->gde)
        rc = check_dir(w, &agrees, err);
    if (rc == 0)
        rc = merge(s, &w->claims, err);
    if (rc)
        return rc;
    withdraw_proofs(w);
    s->found.n_unclear = count_unclear(s);
    s->found.n_proved = s->n_proved;
    if (agrees && all_proved(s))
        s->found.gd_sectors = w->gd_off / VMDK_SECTOR;
    return 0;
}
