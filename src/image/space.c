/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who uses which bytes of a file: one bit per unit, in windows of 32 MiB of bits.
 *
 * Pass 0 notes in which windows there are claims at all, so that the holes of a huge file cost
 * nothing.  One pass per window with claims marks the bits; a bit that is set already is an
 * overlap, of which the second claimant is known by then.  A last pass, only when overlaps were
 * found, asks who claimed those bytes first.
 *
 * A hostile table can claim the same bytes as often as it has entries.  The first KEEP overlaps are
 * reported one by one, the rest in one sum; and when more than GIVE_UP units were claimed again the
 * search ends and says so.  Honest files stay within one mark per unit.
 *
 * Assumes nothing of the claims: they may wrap, pass the end of the file or be empty.  One thread.
 */
#include "image/space.h"

#include "base/limits.h"
#include "base/range.h"
#include "base/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW_BITS ((uint64_t)32 << 23) /* 32 MiB of bits; at 512 bytes a unit 128 GiB of file */
#define KEEP        64
#define GIVE_UP     ((uint64_t)1 << 30) /* units claimed again: a second of work or two */

/* 8 EiB in units of 512 bytes, in windows of 2^28 units: 2^26 windows.  Their own bits: 8 MiB. */
#define MAX_WINDOWS ((uint64_t)1 << 26)
_Static_assert((VD_MAX_SIZE / 512 / WINDOW_BITS) < MAX_WINDOWS, "windows");

/* Each pass walks all tables.  128 TiB of claims in units of 512 bytes; no format reaches that. */
#define MAX_PASSES 1024

struct claimant {
    char what[48];
    uint64_t index, off;
};

struct shared {
    uint64_t off, end; /* the bytes that two claim */
    bool has_first;
    uint64_t first_end; /* where the first claimant ends; others may follow it */
    struct claimant first, second;
};

struct space {
    enum { PASS_WHERE, PASS_MARK, PASS_WHO } pass;
    uint64_t size; /* of the file */
    uint64_t n_units, unit;
    uint8_t *busy; /* one bit per window: it has claims */

    uint64_t *bits;         /* of the window */
    uint64_t first, n_here; /* its units */
    uint64_t low, high; /* only bits low … high - 1 were touched: a nearly empty window is cheap */

    struct shared shared[KEEP]; /* as found; sorted by offset before PASS_WHO */
    size_t n_shared;
    uint64_t n_more, more_units; /* overlaps that are not in the table */
    uint64_t again;              /* units claimed again, in all */
    bool gave_up;
    bool cut;         /* more than MAX_PASSES windows have claims … */
    uint64_t cut_off; /* … and from here on nothing was looked at */

    uint64_t unused, n_unused; /* bytes and ranges that nobody claims */
    bool in_unused;
    uint64_t first_unused, first_unused_len;
};

/* ---- overlaps ---- */

static void claimant_set(struct claimant *c, const char *what, uint64_t index, uint64_t off)
{
    (void)vd_text_copy(c->what, sizeof(c->what), what);
    c->index = index;
    c->off = off;
}

static bool same_claimant(const struct claimant *c, const char *what, uint64_t index, uint64_t off)
{
    return c->off == off && c->index == index && strcmp(c->what, what) == 0;
}

/* Units [from, to) of the file were claimed before and are now claimed by `what`. */
static void add_shared(struct space *s, uint64_t from, uint64_t to, const char *what,
                       uint64_t index, uint64_t claim_off)
{
    struct shared *last = s->n_shared ? &s->shared[s->n_shared - 1] : NULL;
    struct shared *new;

    s->again += to - from;
    if (s->again > GIVE_UP)
        s->gave_up = true;
    if (last && last->end == from * s->unit &&
        same_claimant(&last->second, what, index, claim_off)) { /* went on in the next window */
        last->end = to * s->unit;
        return;
    }
    if (s->n_shared == KEEP) {
        s->n_more++;
        s->more_units += to - from;
        return;
    }
    new = &s->shared[s->n_shared++];
    *new = (struct shared){.off = from * s->unit, .end = to * s->unit};
    claimant_set(&new->second, what, index, claim_off);
}

static int compare_shared(const void *a, const void *b)
{
    const struct shared *x = a, *y = b;

    return x->off < y->off ? -1 : x->off > y->off;
}

/* The first claim that covers the start of an overlap is the one that set its bit. */
static void note_first(struct space *s, uint64_t off, uint64_t end, const char *what,
                       uint64_t index, uint64_t claim_off)
{
    size_t low = 0, high = s->n_shared;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (s->shared[mid].off < off)
            low = mid + 1;
        else
            high = mid;
    }
    for (; low < s->n_shared && s->shared[low].off < end; low++) {
        struct shared *sh = &s->shared[low];

        if (sh->has_first)
            continue;
        sh->has_first = true;
        sh->first_end = end;
        claimant_set(&sh->first, what, index, claim_off);
    }
}

/* ---- bits ---- */

/* Length of the run of equal bits `set` that starts at `bit`, up to `end`. */
static uint64_t run_of(const uint64_t *bits, uint64_t bit, uint64_t end, bool set)
{
    uint64_t at = bit;

    while (at < end) {
        uint64_t word = bits[at / 64] >> (at % 64);
        unsigned have = 64 - (unsigned)(at % 64);
        unsigned same;

        if (set)
            word = ~word;
        /* Bits that were shifted in at the top are beyond `have`; they are cut off below. */
        same = word ? (unsigned)__builtin_ctzll(word) : 64;
        if (same < have)
            return vd_min(at + same, end) - bit;
        at += have;
    }
    return end - bit;
}

static void set_bits(uint64_t *bits, uint64_t from, uint64_t to)
{
    while (from < to) {
        unsigned low = (unsigned)(from % 64);
        uint64_t n = vd_min(64 - low, to - from);
        uint64_t mask = n == 64 ? ~UINT64_C(0) : ((UINT64_C(1) << n) - 1) << low;

        bits[from / 64] |= mask;
        from += n;
    }
}

/* ---- passes ---- */

static void note_busy(struct space *s, uint64_t from, uint64_t to)
{
    uint64_t w, last = (to - 1) / WINDOW_BITS;

    for (w = from / WINDOW_BITS; w <= last; w++)
        s->busy[w / 8] |= (uint8_t)(1u << (w % 8));
}

static void mark(struct space *s, uint64_t from, uint64_t to, const char *what, uint64_t index,
                 uint64_t claim_off)
{
    uint64_t at, end;

    if (to <= s->first || from >= s->first + s->n_here)
        return;
    at = from > s->first ? from - s->first : 0;
    end = vd_min(to - s->first, s->n_here);
    s->low = vd_min(s->low, at);
    s->high = end > s->high ? end : s->high;
    while (at < end && !s->gave_up) {
        uint64_t n = run_of(s->bits, at, end, false);

        set_bits(s->bits, at, at + n);
        at += n;
        if (at == end)
            break;
        n = run_of(s->bits, at, end, true);
        add_shared(s, s->first + at, s->first + at + n, what, index, claim_off);
        at += n;
    }
}

void space_claim(struct space *s, uint64_t off, uint64_t len, const char *what, uint64_t index)
{
    uint64_t end, from, to;

    if (!len || off >= s->size || s->gave_up)
        return;
    if (!vd_add(off, len, &end) || end > s->size)
        end = s->size;
    from = off / s->unit;
    to = vd_div_up(end, s->unit);
    switch (s->pass) {
    case PASS_WHERE:
        note_busy(s, from, to);
        break;
    case PASS_MARK:
        mark(s, from, to, what, index, off);
        break;
    case PASS_WHO:
        note_first(s, from * s->unit, to * s->unit, what, index, off);
        break;
    }
}

/* ---- what nobody claims ---- */

static void add_unused(struct space *s, uint64_t from, uint64_t to)
{
    uint64_t off = from * s->unit, end = to == s->n_units ? s->size : to * s->unit;

    if (!s->in_unused)
        s->n_unused++;
    if (s->n_unused == 1 && !s->in_unused)
        s->first_unused = off;
    if (s->n_unused == 1)
        s->first_unused_len += end - off;
    s->unused += end - off;
    s->in_unused = true;
}

static void count_unused(struct space *s)
{
    uint64_t at = vd_min(s->low, s->n_here);

    if (at)
        add_unused(s, s->first, s->first + at);
    while (at < s->high) {
        uint64_t n = run_of(s->bits, at, s->high, true);

        if (n)
            s->in_unused = false;
        at += n;
        n = run_of(s->bits, at, s->high, false);
        if (n)
            add_unused(s, s->first + at, s->first + at + n);
        at += n;
    }
    if (at < s->n_here)
        add_unused(s, s->first + at, s->first + s->n_here);
}

/* Clears the bits of the window before and turns to window `w`. */
static void turn_to(struct space *s, uint64_t w)
{
    if (s->high)
        memset(s->bits + s->low / 64, 0, (size_t)(vd_div_up(s->high, 64) - s->low / 64) * 8);
    s->first = w * WINDOW_BITS;
    s->n_here = vd_min(WINDOW_BITS, s->n_units - s->first);
    s->low = WINDOW_BITS;
    s->high = 0;
}

static int all_windows(struct space *s, space_walk_fn *walk, void *ctx, struct vd_err *err)
{
    unsigned passes = 0;
    uint64_t w;
    int rc = 0;

    s->pass = PASS_MARK;
    for (w = 0; w * WINDOW_BITS < s->n_units && rc == 0 && !s->gave_up; w++) {
        turn_to(s, w);
        if (!(s->busy[w / 8] & (1u << (w % 8)))) {
            add_unused(s, s->first, s->first + s->n_here);
            continue;
        }
        if (passes++ == MAX_PASSES) {
            s->cut = true;
            s->cut_off = s->first * s->unit;
            break;
        }
        rc = walk(ctx, s, err);
        if (rc == 0 && !s->gave_up)
            count_unused(s);
    }
    return rc;
}

/* ---- report ---- */

static void report_one(const struct check *check, const char *file, const struct space *s,
                       const struct shared *sh)
{
    const struct check_place place = {.in_file = true, .file_off = sh->off};
    const uint64_t end = vd_min(sh->end, s->size);
    char others[64] = "";

    if (sh->first_end < end)
        (void)snprintf(others, sizeof(others), ", from offset %" PRIu64 " on to others",
                       sh->first_end);
    check_finding(check, CHECK_ERROR, "overlap", file, &place,
                  "%" PRIu64 " bytes at offset %" PRIu64 " belong to %s %" PRIu64
                  " (offset %" PRIu64 "%s) and to %s %" PRIu64 " (offset %" PRIu64 ")",
                  end - sh->off, sh->off, sh->first.what, sh->first.index, sh->first.off, others,
                  sh->second.what, sh->second.index, sh->second.off);
}

static void report_shared(const struct check *check, const char *file, const struct space *s)
{
    size_t i;

    for (i = 0; i < s->n_shared; i++)
        report_one(check, file, s, &s->shared[i]);
    if (s->n_more)
        check_finding(check, CHECK_ERROR, "overlap", file, NULL,
                      "%" PRIu64 " more ranges, %" PRIu64
                      " bytes in all, are claimed by more than one",
                      s->n_more, s->more_units * s->unit);
    if (s->gave_up)
        check_finding(check, CHECK_ERROR, "overlap", file, NULL,
                      "more than %" PRIu64 " bytes are claimed again: the search for overlaps "
                      "ended before the end of the tables, and unused space was not looked for",
                      GIVE_UP * s->unit);
}

static void report_unused(const struct check *check, const char *file, const struct space *s)
{
    const struct check_place place = {.in_file = true, .file_off = s->first_unused};
    char ranges[48] = "", first[80] = "";

    if (s->n_unused > 1) {
        (void)snprintf(ranges, sizeof(ranges), " in %" PRIu64 " ranges", s->n_unused);
        (void)snprintf(first, sizeof(first), "; the first: %" PRIu64 " bytes at offset %" PRIu64,
                       s->first_unused_len, s->first_unused);
    }
    check_finding(check, CHECK_NOTE, "unreferenced", file, &place,
                  "%" PRIu64 " bytes%s belong to no structure and are not part of the disk "
                  "(padding, or what an older state has left)%s",
                  s->unused, ranges, first);
}

static void report(const struct check *check, const char *file, const struct space *s)
{
    report_shared(check, file, s);
    if (s->cut)
        check_finding(check, CHECK_WARNING, "space_not_checked", file, NULL,
                      "the file is used in more than %d places far apart: overlaps and unused "
                      "space from offset %" PRIu64 " on were not looked for",
                      MAX_PASSES, s->cut_off);
    if (s->unused && !s->gave_up)
        report_unused(check, file, s);
}

static int run(struct space *s, space_walk_fn *walk, void *ctx, struct vd_err *err)
{
    int rc;

    s->pass = PASS_WHERE;
    rc = walk(ctx, s, err);
    if (rc == 0)
        rc = all_windows(s, walk, ctx, err);
    if (rc == 0 && s->n_shared) {
        /* Those who came first are asked for also after giving up: the table is complete. */
        bool gave_up = s->gave_up;

        s->gave_up = false;
        qsort(s->shared, s->n_shared, sizeof(s->shared[0]), compare_shared);
        s->pass = PASS_WHO;
        rc = walk(ctx, s, err);
        s->gave_up = gave_up;
    }
    return rc;
}

int space_check(const struct check *check, const char *file, uint64_t file_size, uint32_t unit,
                space_walk_fn *walk, void *ctx, struct vd_err *err)
{
    struct space *s;
    int rc;

    if (!vd_is_pow2(unit) || file_size > VD_MAX_SIZE)
        return vd_fail(err, VD_EUSAGE, "the space of %" PRIu64 " bytes in units of %" PRIu32,
                       file_size, unit);
    if (!file_size)
        return 0;
    if (vd_div_up(file_size, unit) / WINDOW_BITS > MAX_WINDOWS)
        return vd_fail(err, VD_ELIMIT, "a file of %" PRIu64 " bytes in units of %" PRIu32,
                       file_size, unit);
    s = calloc(1, sizeof(*s));
    if (!s)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    s->size = file_size;
    s->unit = unit;
    s->n_units = vd_div_up(file_size, unit);
    s->busy = calloc(1, (size_t)(s->n_units / WINDOW_BITS / 8) + 1);
    s->bits = calloc((size_t)vd_div_up(vd_min(WINDOW_BITS, s->n_units), 64), 8);
    rc = s->busy && s->bits ? run(s, walk, ctx, err) : vd_fail(err, VD_ENOMEM, "out of memory");
    if (rc == 0)
        report(check, file, s);
    free(s->bits);
    free(s->busy);
    free(s);
    return rc;
}
