/* SPDX-License-Identifier: Apache-2.0 */
/* Random content for a member: what a fuzzer or a command line asks for with a seed. */
#include "priv.h"

#include <stdlib.h>

#define RUNS_MAX 65536u

struct runs {
    struct wr_run *v;
    size_t n, room;
};

static void push(struct runs *r, uint64_t off, uint64_t len, enum wr_state state, uint64_t seed)
{
    struct wr_run *last = r->n ? &r->v[r->n - 1] : NULL;

    if (last && last->state == state && last->seed == seed && last->off + last->len == off) {
        last->len += len;
        return;
    }
    if (r->n == r->room) {
        r->room = r->room ? 2 * r->room : 16;
        r->v = realloc(r->v, r->room * sizeof(*r->v));
        if (!r->v)
            wr_die("out of memory");
    }
    r->v[r->n++] = (struct wr_run){.off = off, .len = len, .state = state, .seed = seed};
}

static enum wr_state random_state(uint64_t *state)
{
    static const enum wr_state v[10] = {WR_DATA,  WR_DATA,     WR_DATA,      WR_DATA, WR_DATA,
                                        WR_ZEROS, WR_UNMAPPED, WR_UNDEFINED, WR_DATA, WR_ZEROS};

    return v[wr_below(state, 10)];
}

/* A block of which some sectors are here: a few runs, any of them at a byte or bit border. */
static void push_mixed(struct runs *r, const struct wr_spec *spec, uint64_t *state, uint64_t off,
                       uint64_t len, uint64_t seed)
{
    uint64_t sector = spec->sector ? spec->sector : 512, n = len / sector, at = 0;
    unsigned left = 1 + (unsigned)wr_below(state, 6);

    while (left-- && at < n) {
        uint64_t span = n - at, most = wr_below(state, 2) ? 20 : span;

        at += wr_below(state, most < span ? most : span);
        span = n - at;
        most = wr_below(state, 2) ? 20 : span;
        span = 1 + wr_below(state, most < span ? most : span);
        push(r, off + at * sector, span * sector, WR_DATA, seed);
        at += span + 1;
    }
}

struct wr_run *wr_random_runs(const struct wr_spec *spec, uint64_t *state, unsigned density,
                              size_t *out_n)
{
    bool bitmap = spec->kind == WR_VHD_DIFF || spec->kind == WR_VHDX_DIFF;
    uint64_t unit = wr_unit(spec), off, seed = wr_random(state) | 1;
    struct runs r = {.v = wr_alloc(1, sizeof(*r.v)), .room = 1};

    if (!unit)
        unit = 4096;
    while (spec->size / unit > RUNS_MAX)
        unit *= 2;
    for (off = 0; off < spec->size; off += unit) {
        uint64_t len = spec->size - off < unit ? spec->size - off : unit;

        if (wr_below(state, 100) >= density)
            continue;
        if (bitmap && wr_below(state, 3))
            push_mixed(&r, spec, state, off, len, seed);
        else
            push(&r, off, len, random_state(state), seed);
    }
    *out_n = r.n;
    return r.v;
}
