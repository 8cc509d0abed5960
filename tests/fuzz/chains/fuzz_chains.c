/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Differential fuzzing of whole chains: the input becomes a random chain (plan.h), the writers build it in
 * memory, chain_open and chain_point show it, and the model of the specs says what every point must read
 * as.  Reads at random unaligned places, the map against the reads, every older point.
 *
 * In the other mode one byte of one file is changed.  What can then be claimed depends on the byte:
 *
 *   - bytes under a checksum (VHD footers and header, VHDX headers and region tables): the change must be
 *     noticed.  Either the chain is refused, or a redundant copy is used and every byte is right.
 *   - content of a unit, a sector bitmap, a table entry: anything may come from the part of the disk that
 *     depends on it (the changed entry may name another, equally valid place).  Everywhere else: right
 *     bytes or an error (an entry that claims another unit's place makes both unreadable).
 *   - fields without a checksum (VMDK headers and descriptors, VHDX metadata, a log that lost its last
 *     entry): another value is another, equally valid image.  No claim but that it ends well.
 *   - everything else (padding, gaps): right bytes or an error.
 */
#include "image/chain.h"
#include "plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RUNS_MAX 600
#define N_READS  12

enum claim { CLAIM_ALL, CLAIM_OUTSIDE, CLAIM_NOTHING };

struct change {
    struct wr_file *file;
    uint64_t off;
    enum claim claim;
    struct wr_range range; /* of the disk; CLAIM_OUTSIDE */
    char what[64];
};

static _Noreturn void finding(const struct plan *plan, const struct change *change, size_t point,
                              const char *why)
{
    plan_print(plan);
    if (change->file)
        (void)fprintf(stderr, "changed: %s, offset %llu (%s), by %02x\n", change->file->name,
                      (unsigned long long)change->off, change->what, plan->flip);
    (void)fprintf(stderr, "FINDING at point %zu: %s\n", point, why);
    abort();
}

/* The most particular thing that is known of the byte. */
static void judge_byte(struct change *c)
{
    const struct wr_mark *best = NULL;
    bool summed = false, other = false; /* other: then another, older state of the file is valid */
    size_t i;

    for (i = 0; i < c->file->n_marks; i++) {
        const struct wr_mark *m = &c->file->marks[i];

        if (m->kind == WR_MARK_CHECKSUM && c->off >= m->sum_off && c->off - m->sum_off < m->sum_len)
            summed = true, other = other || m->role == WR_ROLE_DEFINES;
        if (c->off >= m->off && c->off - m->off < m->len && (!best || m->len <= best->len))
            best = m;
    }
    c->claim = other ? CLAIM_NOTHING : CLAIM_ALL;
    (void)snprintf(c->what, sizeof(c->what), "%s", best ? best->name : "unmarked");
    if (summed || !best)
        return;
    switch (best->kind) {
    case WR_MARK_DATA:
    case WR_MARK_BITMAP:
    case WR_MARK_ENTRY:
        c->claim = CLAIM_OUTSIDE;
        c->range = (struct wr_range){best->disk_off, best->disk_len};
        break;
    case WR_MARK_FIELD:
        if (best->disk_len) { /* a grain's own header */
            c->claim = CLAIM_OUTSIDE;
            c->range = (struct wr_range){best->disk_off, best->disk_len};
        } else if (best->role == WR_ROLE_DEFINES) {
            c->claim = CLAIM_NOTHING;
        }
        break;
    case WR_MARK_HEADER:
    case WR_MARK_TEXT:
    case WR_MARK_LOG:
    case WR_MARK_TABLE:
        c->claim = CLAIM_NOTHING;
        break;
    case WR_MARK_CHECKSUM:
    case WR_MARK_MARKER:
        break;
    }
}

static void change_byte(struct plan *plan, struct wr_dir *dir, struct change *c)
{
    const struct wr_mark *m;

    if (!plan->mutate)
        return;
    c->file = dir->files[wr_below(&plan->random, dir->n)];
    if (!c->file->len || !c->file->n_marks)
        return;
    if (wr_below(&plan->random, 8) == 0) {
        c->off = wr_below(&plan->random, c->file->len);
    } else { /* structures are small and content is large: choose the structure first */
        m = &c->file->marks[wr_below(&plan->random, c->file->n_marks)];
        c->off = m->off + (m->len ? wr_below(&plan->random, m->len) : 0);
    }
    if (c->off >= c->file->len)
        c->off = c->file->len - 1;
    c->file->bytes[c->off] ^= plan->flip;
    judge_byte(c);
}

static void compare_point(struct plan *plan, const struct change *change, struct blkdev *dev,
                          size_t point)
{
    const struct wr_spec *spec = &plan->m[plan->n - 1 - point].spec;
    struct wr_compare c = {.spec = spec, .dev = dev};
    uint64_t state = plan->random + point;
    unsigned i;

    if (change->file) {
        c.may_fail.len = WR_ALL;
        if (change->claim == CLAIM_OUTSIDE)
            c.any = change->range;
        else if (change->claim == CLAIM_NOTHING)
            c.any.len = WR_ALL;
    }
    if (change->claim != CLAIM_NOTHING && dev->size != spec->size)
        finding(plan, change, point, "the disk has another size");
    if (wr_compare_map(&c, RUNS_MAX, 4096))
        finding(plan, change, point, c.why);
    for (i = 0; i < N_READS; i++) {
        uint64_t off = wr_below(&state, spec->size), len = 1 + wr_below(&state, 70000);

        if (wr_compare_read(&c, off, i % 4 ? len : 1 + len % 1500))
            finding(plan, change, point, c.why);
    }
    if (wr_compare_read(&c, spec->size > 3000 ? spec->size - 3000 : 0, 3000))
        finding(plan, change, point, c.why);
}

static void ignore_fact(void *ctx, const char *layer, enum vd_fact_kind kind, const char *key,
                        const char *value)
{
    (void)ctx;
    (void)kind;
    if (!layer || !key || !value)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct plan plan;
    struct wr_dir dir = {0};
    struct change change = {.claim = CLAIM_ALL};
    struct chain_options options = {0};
    struct vd_err err = VD_ERR_INIT;
    struct blk_source source;
    struct chain *chain = NULL;
    size_t i;
    int rc;

    plan_decode(&plan, data, size);
    for (i = 0; i < plan.n; i++)
        (void)wr_build(&plan.m[i].spec, &dir);
    change_byte(&plan, &dir, &change);
    wr_source(&dir, &source);
    rc = chain_open(&source, plan.m[plan.n - 1].name, &options, &chain, &err);
    if (rc && !change.file && !plan.unopenable)
        finding(&plan, &change, 0, err.msg);
    if (!rc && plan.unopenable && !change.file)
        finding(&plan, &change, 0, "a member with a journal to replay was opened");
    if (!rc && chain->n != plan.n && change.claim != CLAIM_NOTHING)
        finding(&plan, &change, 0, "the chain has another number of members");
    for (i = 0; !rc && i < chain->n && i < plan.n && !plan.unopenable; i++) {
        struct blkdev *dev = NULL;

        if (chain_point(chain, i, &dev, &err) != 0)
            finding(&plan, &change, i, err.msg);
        compare_point(&plan, &change, dev, i);
        blk_describe(dev, ignore_fact, NULL);
        blk_unref(dev);
    }
    if (!rc)
        chain_free(chain);
    wr_dir_clear(&dir);
    plan_clear(&plan);
    return 0;
}
