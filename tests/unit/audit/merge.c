/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Merging of reads: what is merged tells which bytes were read, how often each, by how many requests,
 * and when the first and the last was, exactly as the records did that it stands for; everything
 * else stays as it was, byte for byte.
 */
#include "testlib.h"

#include "audit/merge.h"
#include "audit/verify.h"
#include "base/bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS       ((AUDIT_MAX_FRAME - AUDIT_FRAME_HEADER) / AUDIT_SLOT)
#define FIRST_SEQ   77
#define MAX_RECORDS 20000

static struct vd_err err;

/* ---- random numbers that are the same in every run ---- */

static uint64_t state;

static uint64_t below(uint64_t n)
{
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (state >> 33) % n;
}

/* ---- making records ---- */

struct batch {
    uint8_t bytes[SLOTS * AUDIT_SLOT];
    size_t slots, records;
};

static bool batch_add(struct batch *b, const struct audit_event *e, int64_t real, uint64_t mono)
{
    static uint8_t record[AUDIT_MAX_RECORD];
    size_t n = audit_record_encode(e, real, mono, record);

    if (b->slots + n > SLOTS)
        return false;
    audit_record_finish(record, n, FIRST_SEQ + b->slots);
    memcpy(b->bytes + b->slots * AUDIT_SLOT, record, n * AUDIT_SLOT);
    b->slots += n;
    b->records++;
    return true;
}

static void batch_read(struct batch *b, uint64_t off, uint64_t len)
{
    const struct audit_event e = {.op = AUDIT_READ, .obj = 9, .proc = 3, .off = off, .len = len};

    assert_true(batch_add(b, &e, (int64_t)(1000 + b->slots), 5 + b->slots));
}

static struct batch merged(const struct batch *b)
{
    struct batch m = *b;

    m.slots = merge_reads(m.bytes, m.slots, &m.records);
    return m;
}

static struct audit_record at_slot(const struct batch *b, size_t slot)
{
    struct audit_record r;

    assert_ok(audit_record_decode(b->bytes + slot * AUDIT_SLOT, (b->slots - slot) * AUDIT_SLOT, &r,
                                  &err));
    return r;
}

/* ---- what ranges cover: how often each byte ---- */

struct edge {
    uint64_t at;
    int step;
};

struct cover {
    struct edge edges[4 * SLOTS];
    size_t n;
};

static void cover_add(struct cover *c, uint64_t off, uint64_t len)
{
    c->edges[c->n++] = (struct edge){off, 1};
    c->edges[c->n++] = (struct edge){off + len, -1};
}

static int by_place(const void *a, const void *b)
{
    const struct edge *x = a, *y = b;

    return (x->at > y->at) - (x->at < y->at);
}

/* Edges in order, one for each place where the number of readers changes. */
static void cover_normalise(struct cover *c)
{
    size_t i, n = 0;

    qsort(c->edges, c->n, sizeof(c->edges[0]), by_place);
    for (i = 0; i < c->n; i++) {
        if (n && c->edges[n - 1].at == c->edges[i].at)
            c->edges[n - 1].step += c->edges[i].step;
        else
            c->edges[n++] = c->edges[i];
        if (c->edges[n - 1].step == 0)
            n--;
    }
    c->n = n;
}

static void assert_same_cover(struct cover *a, struct cover *b)
{
    size_t i;

    cover_normalise(a);
    cover_normalise(b);
    assert_int_equal(a->n, b->n);
    for (i = 0; i < a->n; i++) {
        assert_int_equal(a->edges[i].at, b->edges[i].at);
        assert_int_equal(a->edges[i].step, b->edges[i].step);
    }
}

/* The merged record at `r` against the reads that stand from slot `from` on in `before`. */
static void assert_stands_for(const struct audit_record *r, const struct audit_merged *m,
                              const struct batch *before, size_t from)
{
    static struct cover raw, said;
    int64_t first = INT64_MAX, last = INT64_MIN;
    uint64_t first_mono = UINT64_MAX, last_mono = 0, bytes = 0, off, len;
    size_t i;

    raw.n = said.n = 0;
    for (i = 0; i < m->count; i++) {
        struct audit_record one = at_slot(before, from + i);

        assert_int_equal(one.op, AUDIT_READ);
        assert_int_equal(one.obj, r->obj);
        assert_int_equal(one.proc, r->proc);
        assert_true(one.result == 0 && one.flags == 0 && one.slots == 1 && one.len > 0);
        cover_add(&raw, one.off, one.len);
        first = one.real_ns < first ? one.real_ns : first;
        last = one.real_ns > last ? one.real_ns : last;
        first_mono = one.mono_ns < first_mono ? one.mono_ns : first_mono;
        last_mono = one.mono_ns > last_mono ? one.mono_ns : last_mono;
        bytes += one.len;
    }
    for (i = 0; i < m->n_ranges; i++) {
        audit_merged_range(r, m, i, &off, &len);
        cover_add(&said, off, len);
    }
    assert_same_cover(&raw, &said);
    assert_true(r->real_ns == first && m->last_real_ns == last);
    assert_true(r->mono_ns == first_mono && m->last_mono_ns == last_mono);
    assert_true(r->len == bytes && r->result == 0 && r->flags == AUDIT_F_MERGED);
}

/* Gives the number of merged records. */
static size_t assert_nothing_lost(const struct batch *before, const struct batch *after)
{
    size_t in = 0, out = 0, records = 0, n_merged = 0;

    while (out < after->slots) {
        struct audit_record r = at_slot(after, out);
        struct audit_merged m;

        assert_int_equal(r.seq, FIRST_SEQ + in);
        if (audit_record_merged(&r, &m)) {
            assert_true(m.count > r.slots && m.count <= AUDIT_MAX_MERGED);
            assert_stands_for(&r, &m, before, in);
            in += m.count;
            n_merged++;
        } else {
            assert_memory_equal(after->bytes + out * AUDIT_SLOT, before->bytes + in * AUDIT_SLOT,
                                r.slots * AUDIT_SLOT);
            in += r.slots;
        }
        out += r.slots;
        records++;
    }
    assert_int_equal(in, before->slots);
    assert_int_equal(records, after->records);
    return n_merged;
}

/* ---- the tests ---- */

static void one_range(void **s)
{
    struct batch b = {0}, m;
    struct audit_merged what;
    struct audit_record r;
    size_t i;

    (void)s;
    for (i = 0; i < SLOTS; i++)
        batch_read(&b, (i ^ 3) * 4096, 4096); /* not quite in order; SLOTS is a multiple of 4 */
    m = merged(&b);
    assert_int_equal(m.slots, 2);
    assert_int_equal(m.records, 1);
    assert_int_equal(assert_nothing_lost(&b, &m), 1);
    r = at_slot(&m, 0);
    assert_true(audit_record_merged(&r, &what));
    assert_int_equal(what.n_ranges, 1);
    assert_int_equal(what.count, SLOTS);
    assert_int_equal(r.off, 0);
    assert_int_equal(r.len, SLOTS * 4096);
}

/* Where nothing is saved, and where something stands between. */
static void not_merged(void **s)
{
    const struct audit_event other = {.op = AUDIT_GETATTR, .obj = 9, .proc = 3};
    struct batch b = {0}, m;

    (void)s;
    batch_read(&b, 0, 10);
    batch_read(&b, 10, 10);
    assert_true(batch_add(&b, &other, 0, 0));
    batch_read(&b, 20, 10);
    batch_read(&b, 30, 10);
    m = merged(&b);
    assert_int_equal(m.slots, b.slots);
    assert_int_equal(assert_nothing_lost(&b, &m), 0);
    batch_read(&b, 40, 10);
    m = merged(&b);
    assert_int_equal(m.slots, 5);
    assert_int_equal(assert_nothing_lost(&b, &m), 1);
    b = (struct batch){0};
    batch_read(&b, 0, 10);
    batch_read(&b, 100, 10);
    batch_read(&b, 200, 10);
    m = merged(&b);
    assert_int_equal(m.slots, 3); /* three ranges take three slots as well */
}

/* Each byte read twice: the ranges say so. */
static void read_twice(void **s)
{
    struct batch b = {0}, m;
    struct audit_merged what;
    struct audit_record r;
    size_t i;

    (void)s;
    for (i = 0; i < 40; i++)
        batch_read(&b, i % 20 * 512, 512);
    m = merged(&b);
    assert_int_equal(assert_nothing_lost(&b, &m), 1);
    r = at_slot(&m, 0);
    assert_true(audit_record_merged(&r, &what));
    assert_int_equal(what.n_ranges, 2);
    assert_int_equal(r.len, 2 * 20 * 512);
}

/* More ranges than one record holds. */
static void many_ranges(void **s)
{
    struct batch b = {0}, m;
    size_t i;

    (void)s;
    for (i = 0; i < SLOTS; i++)
        batch_read(&b, (SLOTS - i) * 8192, 1);
    m = merged(&b);
    assert_int_equal(assert_nothing_lost(&b, &m), 1);
    assert_int_equal(m.records, 3); /* 1,018 and two that stay */
    assert_int_equal(m.slots, 1 + AUDIT_MAX_EXT + 2);
}

/* Ranges at the end of what 64 bits hold, which only a hostile producer claims. */
static void at_the_end(void **s)
{
    struct batch b = {0}, m;
    size_t i;

    (void)s;
    for (i = 0; i < 4; i++)
        batch_read(&b, UINT64_MAX - 1, 1);
    for (i = 0; i < 4; i++)
        batch_read(&b, UINT64_MAX, 1); /* ends behind 2^64 - 1 */
    for (i = 0; i < 4; i++)
        batch_read(&b, 0, UINT64_MAX / 2 + 1); /* a sum of 2^65 */
    for (i = 0; i < 4; i++)
        batch_read(&b, UINT64_MAX, UINT64_MAX);
    m = merged(&b);
    assert_int_equal(assert_nothing_lost(&b, &m), 1);
    assert_int_equal(m.records, 1 + 12);
}

static void random_event(struct audit_event *e, const struct audit_field *field, uint64_t *io_next)
{
    uint64_t kind = below(40);

    *e = (struct audit_event){.op = AUDIT_READ, .obj = 5, .proc = 2};
    e->len = 512 * (1 + below(4));
    e->off = kind < 25 ? *io_next : 512 * below(64);
    if (kind < 25)
        *io_next += e->len;
    if (kind == 30)
        e->obj = 6;
    else if (kind == 31)
        e->proc = 1;
    else if (kind == 32)
        e->flags = AUDIT_F_NO_PROC;
    else if (kind == 33)
        e->result = -5;
    else if (kind == 34)
        e->len = 0;
    else if (kind == 35)
        e->op = AUDIT_GETATTR;
    else if (kind == 36)
        e->off = UINT64_MAX - below(600);
    else if (kind == 37) {
        e->fields = field;
        e->n_fields = 1;
    }
}

static void random_runs(void **s)
{
    static const char text[500] = "x";
    static struct batch b, m, again;
    size_t round, rounds = 2000, n_merged = 0, slots = 0, slots_after = 0;

    (void)s;
    state = 1;
    for (round = 0; round < rounds; round++) {
        size_t n = 1 + below(400);
        uint64_t next = 0, limit = 1 + below(40); /* how often what ends a run may come */

        b.slots = b.records = 0;
        while (b.records < n) {
            const struct audit_field field = {AUDIT_T_TEXT, text, below(sizeof(text))};
            struct audit_event e;

            do
                random_event(&e, &field, &next);
            while (below(40) > limit && (e.op != AUDIT_READ || e.obj != 5 || e.n_fields));
            if (!batch_add(&b, &e, (int64_t)below(1000) - 500, below(1000)))
                break;
        }
        m = merged(&b);
        n_merged += assert_nothing_lost(&b, &m);
        again = merged(&m); /* merged once is merged */
        assert_int_equal(again.slots, m.slots);
        assert_memory_equal(again.bytes, m.bytes, m.slots * AUDIT_SLOT);
        slots += b.slots;
        slots_after += m.slots;
    }
    print_message("%zu runs became one record, %zu slots of %zu\n", n_merged, slots_after, slots);
    assert_true(n_merged > rounds && slots_after < slots);
}

/* ---- through a log ---- */

struct told {
    uint64_t reads, bytes, records, next_seq;
    bool order;
};

static int tell(void *ctx, const struct audit_seen *seen, struct vd_err *e)
{
    struct told *t = ctx;
    struct audit_record r;
    struct audit_merged m;
    bool is_merged;

    if (audit_record_decode(seen->bytes, seen->len, &r, e))
        return -1;
    is_merged = audit_record_merged(&r, &m);
    t->order = t->order && r.seq == t->next_seq;
    t->next_seq = r.seq + (is_merged ? m.count : r.slots);
    t->records++;
    if (r.op == AUDIT_READ) {
        t->reads += m.count;
        t->bytes += r.len;
    }
    return 0;
}

static void a_log_of_reads(void **s)
{
    const struct audit_event open = {.op = AUDIT_SESSION_OPEN}, look = {.op = AUDIT_GETATTR};
    char *dir = test_tmpdir(), path[512];
    const struct audit_config config = {.dir = dir, .ring_bytes = 1, .epoch_records = 10};
    struct told t = {.order = true};
    struct audit_report report;
    struct audit_writer *w;
    struct audit_ring *ring;
    uint64_t i, bytes = 0;

    (void)s;
    assert_ok(audit_open(&config, &w, &ring, &err));
    (void)snprintf(path, sizeof(path), "%s", audit_session_dir(w));
    assert_int_equal(audit_log(ring, &open), 0);
    assert_ok(audit_start(w, &err));
    state = 2;
    for (i = 0; i < MAX_RECORDS; i++) {
        const struct audit_event e = {.op = AUDIT_READ,
                                      .obj = 7,
                                      .off = i / 5000 % 2 ? below(1u << 30) : bytes,
                                      .len = 1 + i % 9};

        bytes += e.len;
        assert_true(audit_log(ring, &e) != AUDIT_NOT_LOGGED);
        if (below(500) == 0)
            (void)audit_log(ring, &look);
        if (below(5000) == 0)
            assert_ok(audit_wait(ring, audit_log(ring, &look), &err));
    }
    assert_ok(audit_close(w, AUDIT_CLOSE_CLEAN, &err));
    assert_ok(audit_verify(path, NULL, tell, &t, &report, &err));
    assert_int_equal(report.verdict, AUDIT_INTACT_CLOSED);
    assert_true(t.order);
    assert_int_equal(t.reads, MAX_RECORDS);
    assert_int_equal(t.bytes, bytes);
    assert_int_equal(t.records, report.records);
    print_message("%u reads in %llu records, %llu bytes\n", MAX_RECORDS,
                  (unsigned long long)t.records, (unsigned long long)report.bytes);
    assert_true(t.records < MAX_RECORDS / 10);
    test_rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_range),      cmocka_unit_test(not_merged),
        cmocka_unit_test(read_twice),     cmocka_unit_test(many_ranges),
        cmocka_unit_test(at_the_end),     cmocka_unit_test(random_runs),
        cmocka_unit_test(a_log_of_reads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
