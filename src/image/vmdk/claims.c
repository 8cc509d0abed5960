/* SPDX-License-Identifier: Apache-2.0 */
/* Overlap of grains; see claims.h.  Lives while an extent is opened; not thread-safe. */
#include "image/vmdk/claims.h"

#include "base/cleanup.h"
#include "base/range.h"

#include <string.h>

#define SECTOR 512u

/* The bitmap covers as many units as there are grains, times this, and a little. */
#define PROPORTION 64
#define UNITS_FREE 65536

struct range {
    uint64_t off, end;
    uint32_t gte; /* 0: a table */
};

struct vmdk_claims {
    uint64_t grain; /* bytes of a unit */
    uint64_t n_units;
    uint64_t residue; /* bytes: where units begin; that of the first grain */
    bool has_residue, suspect;
    uint8_t *seen, *twice, *tables; /* bitmaps */
    struct range *v;
    size_t n, cap;
};

struct vmdk_claims *vmdk_claims_new(uint64_t file_size, uint64_t grain, uint64_t max_grains)
{
    /* Entries have 32 bits: nothing lies past 2 TiB; one unit more for a residue. */
    uint64_t n_units = vd_min(file_size, (uint64_t)UINT32_MAX * SECTOR) / grain + 3;
    struct vmdk_claims *c;
    size_t bytes;

    if (n_units > max_grains * PROPORTION + UNITS_FREE)
        return NULL;
    c = calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    bytes = (size_t)(n_units / 8 + 1);
    c->grain = grain;
    c->n_units = n_units;
    c->seen = calloc(3, bytes);
    if (!c->seen) {
        free(c);
        return NULL;
    }
    c->twice = c->seen + bytes;
    c->tables = c->twice + bytes;
    return c;
}

void vmdk_claims_free(struct vmdk_claims *c)
{
    if (!c)
        return;
    free(c->seen);
    free(c->v);
    free(c);
}

static bool test_bit(const uint8_t *map, uint64_t i)
{
    return map[i / 8] >> (i % 8) & 1;
}

static void set_bit(uint8_t *map, uint64_t i)
{
    map[i / 8] |= (uint8_t)(1u << (i % 8));
}

/* Units [*first, *last] of a range; false if it lies wholly past the bitmap. */
static bool units_of(const struct vmdk_claims *c, uint64_t off, uint64_t len, uint64_t *first,
                     uint64_t *last)
{
    uint64_t shift = c->grain - c->residue; /* unit 0 is what lies before the residue */

    *first = (off + shift) / c->grain;
    *last = (off + len - 1 + shift) / c->grain;
    if (*first >= c->n_units)
        return false;
    *last = vd_min(*last, c->n_units - 1);
    return true;
}

void vmdk_claims_table(struct vmdk_claims *c, uint64_t off, uint64_t len)
{
    uint64_t i, last;

    if (!units_of(c, off, len, &i, &last))
        return;
    for (; i <= last; i++) {
        set_bit(c->tables, i);
        c->suspect = c->suspect || test_bit(c->seen, i);
    }
}

void vmdk_claims_grain(struct vmdk_claims *c, uint32_t gte, uint64_t len)
{
    uint64_t off = (uint64_t)gte * SECTOR, i, last;

    if (!c->has_residue) {
        c->residue = off % c->grain;
        c->has_residue = true;
    }
    if (!units_of(c, off, len, &i, &last))
        return;
    for (; i <= last; i++) {
        if (test_bit(c->seen, i))
            set_bit(c->twice, i);
        set_bit(c->seen, i);
        c->suspect = c->suspect || test_bit(c->twice, i) || test_bit(c->tables, i);
    }
}

bool vmdk_claims_suspect(const struct vmdk_claims *c)
{
    return c->suspect;
}

static bool add_range(struct vmdk_claims *c, struct range range)
{
    if (c->n == c->cap) {
        size_t cap = c->cap ? 2 * c->cap : 256;
        struct range *v = realloc(c->v, cap * sizeof(*v));

        if (!v)
            return false;
        c->v = v;
        c->cap = cap;
    }
    c->v[c->n++] = range;
    return true;
}

bool vmdk_claims_grain_again(struct vmdk_claims *c, uint32_t gte, uint64_t len)
{
    uint64_t off = (uint64_t)gte * SECTOR, i, last;

    if (!units_of(c, off, len, &i, &last))
        return true;
    for (; i <= last; i++)
        if (test_bit(c->twice, i) || test_bit(c->tables, i))
            return add_range(c, (struct range){off, off + len, gte});
    return true;
}

bool vmdk_claims_table_again(struct vmdk_claims *c, uint64_t off, uint64_t len)
{
    return add_range(c, (struct range){off, off + len, 0});
}

static int compare_ranges(const void *a, const void *b)
{
    const struct range *x = a, *y = b;

    return (x->off > y->off) - (x->off < y->off);
}

static int compare_entries(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

static size_t unique(uint32_t *v, size_t n)
{
    size_t i, k = 0;

    for (i = 0; i < n; i++)
        if (i == 0 || v[i] != v[k - 1])
            v[k++] = v[i];
    return k;
}

bool vmdk_claims_contested(struct vmdk_claims *c, uint32_t **out, size_t *out_n)
{
    VD_AUTO(free) uint32_t *v = malloc((2 * c->n + 1) * sizeof(*v));
    size_t i, n = 0, widest = 0;

    if (!v)
        return false;
    if (c->n)
        qsort(c->v, c->n, sizeof(*c->v), compare_ranges);
    for (i = 1; i < c->n; i++) {
        const struct range *a = &c->v[widest], *b = &c->v[i];

        if (b->off < a->end && (a->gte || b->gte)) {
            if (a->gte)
                v[n++] = a->gte;
            if (b->gte)
                v[n++] = b->gte;
        }
        if (b->end > a->end)
            widest = i;
    }
    *out = NULL;
    *out_n = 0;
    if (n) {
        qsort(v, n, sizeof(*v), compare_entries);
        *out_n = unique(v, n);
        *out = vd_take(&v);
    }
    return true;
}
