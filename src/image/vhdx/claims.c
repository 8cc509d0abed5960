/* SPDX-License-Identifier: Apache-2.0 */
/* Finds what shares bytes: collect, sort, sweep once.  Tables are mostly in ascending order, so
 * sorting is skipped when nothing is out of order.  Immutable after vhdx_claims_finish. */
#include "claims.h"

#include "base/range.h"

#include <stdlib.h>

#define MIB_SHIFT 20
#define LEN_BITS  16
#define LEN_MASK  ((UINT64_C(1) << LEN_BITS) - 1)

static uint64_t start_of(uint64_t claim)
{
    return claim >> LEN_BITS;
}

static uint64_t end_of(uint64_t claim)
{
    return start_of(claim) + (claim & LEN_MASK);
}

int vhdx_claims_add(struct vhdx_claims *claims, uint64_t off, uint64_t len, struct vd_err *err)
{
    uint64_t first = off >> MIB_SHIFT;
    uint64_t n = vd_div_up(vd_min(len, LEN_MASK << MIB_SHIFT), UINT64_C(1) << MIB_SHIFT);

    if (claims->n == claims->cap) {
        size_t cap = claims->cap ? 2 * claims->cap : 256;
        uint64_t *v;

        if (claims->n >= VHDX_MAX_CLAIMS)
            return vd_fail(err, VD_ELIMIT, "more than %u blocks", VHDX_MAX_CLAIMS);
        v = realloc(claims->v, cap * sizeof(*v));
        if (!v)
            return vd_fail(err, VD_ENOMEM, "out of memory");
        claims->v = v;
        claims->cap = cap;
    }
    claims->v[claims->n++] = first << LEN_BITS | n; /* offsets have 44 bits of MiB */
    return 0;
}

static int compare(const void *a, const void *b)
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

/* Marks what overlaps by emptying it into `hit`.  Of the claims before i only the one that reaches
 * farthest is compared: another one that reaches into i overlaps that one too and is marked already. */
static size_t sweep(const uint64_t *v, size_t n, uint8_t *hit)
{
    size_t i, far = 0, kept = 0;

    for (i = 1; i < n; i++) {
        if (start_of(v[i]) < end_of(v[far])) {
            kept += !hit[far];
            hit[far] = 1;
            kept += !hit[i];
            hit[i] = 1;
        }
        if (end_of(v[i]) > end_of(v[far]))
            far = i;
    }
    return kept;
}

int vhdx_claims_finish(struct vhdx_claims *claims, struct vd_err *err)
{
    size_t i, n = 0, kept;
    uint8_t *hit = calloc(1, claims->n + 1);

    if (!hit)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    if (!is_sorted(claims->v, claims->n))
        qsort(claims->v, claims->n, sizeof(*claims->v), compare);
    kept = sweep(claims->v, claims->n, hit);
    for (i = 0; i < claims->n && kept; i++)
        if (hit[i])
            claims->v[n++] = claims->v[i];
    free(hit);
    claims->n = n;
    if (n == 0)
        vhdx_claims_clear(claims);
    claims->finished = true;
    if (n > VHDX_MAX_CONFLICTS)
        return vd_fail(err, VD_ECORRUPT, "%zu blocks share bytes with another block", n);
    return 0;
}

static int compare_start(const void *key, const void *element)
{
    uint64_t x = *(const uint64_t *)key, y = start_of(*(const uint64_t *)element);

    return x < y ? -1 : x > y;
}

bool vhdx_claims_hit(const struct vhdx_claims *claims, uint64_t off)
{
    uint64_t first = off >> MIB_SHIFT;

    return claims->finished && claims->n &&
           bsearch(&first, claims->v, claims->n, sizeof(*claims->v), compare_start) != NULL;
}

uint64_t vhdx_claims_first(const struct vhdx_claims *claims)
{
    return start_of(claims->v[0]) << MIB_SHIFT;
}

void vhdx_claims_clear(struct vhdx_claims *claims)
{
    free(claims->v);
    *claims = (struct vhdx_claims){0};
}
