/* SPDX-License-Identifier: Apache-2.0 */
/* Finds blocks that share bytes: collect the starts, sort, compare neighbours.  Tables are nearly
 * always in ascending order, so sorting is skipped when nothing is out of order.  Immutable after
 * overlap_finish. */
#include "image/overlap.h"

#include <stdlib.h>

int overlap_add(struct overlap *overlap, uint64_t off, struct vd_err *err)
{
    if (overlap->n == overlap->cap) {
        size_t cap = overlap->cap ? 2 * overlap->cap : 256;
        uint64_t *v;

        if (overlap->n >= OVERLAP_MAX_BLOCKS)
            return vd_fail(err, VD_ELIMIT, "more than %u blocks", OVERLAP_MAX_BLOCKS);
        v = realloc(overlap->offs, cap * sizeof(*v));
        if (!v)
            return vd_fail(err, VD_ENOMEM, "out of memory");
        overlap->offs = v;
        overlap->cap = cap;
    }
    overlap->offs[overlap->n++] = off;
    return 0;
}

static int compare_offs(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static bool is_sorted(const uint64_t *v, size_t n)
{
    size_t i;

    for (i = 1; i < n; i++)
        if (v[i - 1] > v[i])
            return false;
    return true;
}

int overlap_finish(struct overlap *overlap, uint64_t block_len, struct vd_err *err)
{
    uint64_t *v = overlap->offs;
    size_t i, n = overlap->n, kept = 0;
    bool with_previous = false;

    if (!is_sorted(v, n))
        qsort(v, n, sizeof(*v), compare_offs);
    for (i = 0; i < n; i++) {
        bool with_next = i + 1 < n && v[i + 1] - v[i] < block_len;

        if (with_previous || with_next)
            v[kept++] = v[i]; /* kept <= i: never overtakes what is still to be read */
        with_previous = with_next;
    }
    overlap->n = kept;
    if (kept == 0)
        overlap_clear(overlap);
    overlap->finished = true;
    if (kept > OVERLAP_MAX_CONFLICTS)
        return vd_fail(err, VD_ECORRUPT, "%zu blocks share bytes with another block", kept);
    return 0;
}

bool overlap_hit(const struct overlap *overlap, uint64_t off)
{
    return overlap->finished && overlap->n &&
           bsearch(&off, overlap->offs, overlap->n, sizeof(off), compare_offs) != NULL;
}

void overlap_clear(struct overlap *overlap)
{
    free(overlap->offs);
    *overlap = (struct overlap){0};
}
