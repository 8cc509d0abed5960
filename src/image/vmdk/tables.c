/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Grain directories and tables, read: see tables.h for the policy on redundant copies.
 *
 * A directory is kept whole while the image's budget lasts and read in pages through the cache
 * otherwise (also when a part of it cannot be read).  Tables are merged once and cached.  At open
 * all directory entries are looked at, and as many tables as the budget allows; damage that is met
 * later is noted when it is met.  Threads: immutable after vmdk_tables_new but for the notes
 * (atomic) and the cache (own locks).
 */
#include "image/vmdk/tables_priv.h"

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/range.h"

#include <inttypes.h>
#include <stdio.h>

static const char *const note_texts[NOTE_COUNT] = {
    [NOTE_DIR_DAMAGED] = "the grain directory entry of this table is impossible and no other copy "
                         "helps: the range cannot be read",
    [NOTE_DIR_REPAIRED] = "the two grain directories differ for this table: the copy that names a "
                          "possible place is used",
    [NOTE_COPY_LOST] = "one of the two copies cannot be read: the other one is used",
    [NOTE_DIFFER] = "the two copies differ: entries that only one has, or that only one has right, "
                    "are taken from that one",
    [NOTE_UNCLEAR] =
        "the two copies name different places for a grain: those grains cannot be read",
    [NOTE_BAD_ENTRY] = "an entry points past the end of the file, into its structures, or at "
                       "sectors that another entry claims too: those grains cannot be read",
    [NOTE_NO_MARKER] = "no grain table marker stands before the place that the directory names, so "
                       "no table lies there: the range cannot be read",
};

/* Keys: extent (15 bits) | kind (2 bits) | number (46 bits: at most 2^24 tables of 2^12 grains). */
enum key_kind { KEY_TABLE, KEY_PAGE_PRIMARY, KEY_PAGE_REDUNDANT, KEY_GRAIN };

static uint64_t cache_key(unsigned extent, enum key_kind kind, uint64_t number)
{
    return (uint64_t)extent << 48 | (uint64_t)kind << 46 | number;
}

uint64_t vmdk_grain_key(unsigned extent, uint64_t grain)
{
    return cache_key(extent, KEY_GRAIN, grain);
}

void vmdk_tables_note(struct vmdk_tables *t, enum vmdk_note kind, uint64_t table)
{
    unsigned long long never = 0;

    (void)atomic_compare_exchange_strong(&t->note[kind], &never, table + 1);
}

/* ---- directories ---- */

int vmdk_tables_read_entries(struct blkdev *file, uint64_t off, uint32_t *out, size_t n,
                             struct vd_err *err)
{
    int rc = blk_read(file, off, out, n * 4, err);
    size_t i;

    for (i = 0; i < n && rc == 0; i++)
        out[i] = vd_le32((const uint8_t *)&out[i]);
    return rc;
}

struct page_ctx {
    struct vmdk_tables *t;
    unsigned which;
    uint64_t page;
};

static int fill_page(void *ctx, uint64_t key, void *buf, size_t len, struct vd_err *err)
{
    const struct page_ctx *c = ctx;
    int rc;

    (void)key;
    rc = vmdk_tables_read_entries(c->t->file,
                                  c->t->dir[c->which].off + c->page * VMDK_DIR_PAGE_ENTRIES * 4,
                                  buf, len / 4, err);
    return vd_prefix(err, rc, "grain directory");
}

int vmdk_tables_dir_entry(struct vmdk_tables *t, unsigned which, uint64_t table, uint32_t *out,
                          struct vd_err *err)
{
    struct page_ctx ctx = {t, which, table / VMDK_DIR_PAGE_ENTRIES};
    VD_AUTO(made_buf) struct made_buf *buf = NULL;
    uint64_t n = vd_min(VMDK_DIR_PAGE_ENTRIES, t->g.gd_entries - ctx.page * VMDK_DIR_PAGE_ENTRIES);
    int rc;

    if (t->dir[which].whole) {
        *out = t->dir[which].whole[table];
        return 0;
    }
    rc = made_cache_get(
        t->cache, cache_key(t->extent, which ? KEY_PAGE_REDUNDANT : KEY_PAGE_PRIMARY, ctx.page),
        (size_t)n * 4, fill_page, &ctx, &buf, err);
    if (rc == 0)
        *out = ((const uint32_t *)made_buf_bytes(buf))[table % VMDK_DIR_PAGE_ENTRIES];
    return rc;
}

enum vmdk_place_kind vmdk_gde_kind(const struct vmdk_geometry *g, uint64_t table, uint32_t gde)
{
    uint64_t off = (uint64_t)gde * VMDK_SECTOR, len = (uint64_t)vmdk_table_entries(g, table) * 4;
    size_t i;

    if (gde == 0)
        return VMDK_PLACE_ABSENT;
    if (gde == VMDK_GDE_OVERLAP || !vd_range_inside(off, len, g->file_size))
        return VMDK_PLACE_BAD;
    for (i = 0; i < g->n_meta; i++)
        if (vd_range_overlap(off, len, g->meta[i].off, g->meta[i].len))
            return VMDK_PLACE_BAD;
    return VMDK_PLACE_DATA;
}

int vmdk_tables_source(struct vmdk_tables *t, uint64_t table, struct vmdk_source *out,
                       struct vd_err *err)
{
    struct vd_err errs[2] = {VD_ERR_INIT, VD_ERR_INIT};
    enum vmdk_place_kind kinds[2] = {VMDK_PLACE_ABSENT, VMDK_PLACE_ABSENT};
    unsigned i, n_failed = 0;
    bool bad = false;

    *out = (struct vmdk_source){.kind = VMDK_PLACE_ABSENT};
    if (t->stream) {
        out->kind = VMDK_PLACE_DATA;
        return 0;
    }
    for (i = 0; i < t->n_dirs; i++) {
        uint32_t gde = 0;

        if (vmdk_tables_dir_entry(t, i, table, &gde, &errs[i])) {
            n_failed++;
            kinds[i] = VMDK_PLACE_BAD;
        } else {
            kinds[i] = vmdk_gde_kind(&t->g, table, gde);
        }
        bad = bad || kinds[i] == VMDK_PLACE_BAD;
        if (kinds[i] == VMDK_PLACE_DATA)
            out->off[out->n++] = (uint64_t)gde * VMDK_SECTOR;
    }
    if (out->n) {
        out->kind = VMDK_PLACE_DATA;
        if (out->n < t->n_dirs)
            vmdk_tables_note(t, NOTE_DIR_REPAIRED, table);
        return 0;
    }
    if (n_failed) { /* the other copy does not help: an error of the medium, not of the format */
        i = errs[0].cls ? 0 : 1;
        if (err)
            *err = errs[i];
        return -(int)errs[i].cls;
    }
    if (bad) {
        out->kind = VMDK_PLACE_BAD;
        vmdk_tables_note(t, NOTE_DIR_DAMAGED, table);
    }
    return 0;
}

/* ---- tables ---- */

static void note_bad_entries(struct vmdk_tables *t, uint64_t table, const uint32_t *gte, uint32_t n)
{
    uint64_t first = table * t->g.gt_entries;
    uint32_t k;

    for (k = 0; k < n; k++)
        if (gte[k] != VMDK_GTE_AMBIGUOUS &&
            vmdk_place_of(&t->g, first + k, gte[k]).kind == VMDK_PLACE_BAD) {
            vmdk_tables_note(t, NOTE_BAD_ENTRY, table);
            return;
        }
}

/* There should be two copies, but the directories name only one.  An entry of a directory can be
 * wrong in a way that still looks possible; then what lies there is no table. */
static void judge_lone_copy(struct vmdk_tables *t, uint64_t table, uint32_t *io_gte, uint32_t n)
{
    uint32_t k;

    if (!vmdk_gt_has_bad(&t->g, table * t->g.gt_entries, io_gte, n))
        return;
    for (k = 0; k < n; k++)
        io_gte[k] = VMDK_GTE_AMBIGUOUS;
    vmdk_tables_note(t, NOTE_UNCLEAR, table);
}

static int read_copies(struct vmdk_tables *t, uint64_t table, const struct vmdk_source *source,
                       uint32_t *out, uint32_t n, struct vd_err *err)
{
    VD_AUTO(free) uint32_t *second = NULL;
    struct vmdk_merge merge;
    int rc0 = vmdk_tables_read_entries(t->file, source->off[0], out, n, err), rc1;

    if (source->n < 2 || source->off[0] == source->off[1]) {
        if (rc0 == 0 && source->n < t->n_dirs)
            judge_lone_copy(t, table, out, n);
        return rc0;
    }
    second = malloc((size_t)n * 4);
    if (!second)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    rc1 = vmdk_tables_read_entries(t->file, source->off[1], second, n, NULL);
    if (rc0 && rc1)
        return rc0;
    if (rc0 || rc1) {
        vmdk_tables_note(t, NOTE_COPY_LOST, table);
        if (rc0)
            memcpy(out, second, (size_t)n * 4);
        return 0;
    }
    vmdk_gt_merge(&t->g, table, out, second, n, &merge);
    if (merge.n_unclear)
        vmdk_tables_note(t, NOTE_UNCLEAR, table);
    else if (merge.differ)
        vmdk_tables_note(t, NOTE_DIFFER, table);
    return 0;
}

/* In a stream a marker stands before each table: an entry of the directory that leads elsewhere is
 * found out even where zeros lie. */
static int check_marker(struct vmdk_tables *t, uint64_t table, const struct vmdk_source *source,
                        uint32_t *out, uint32_t n, struct vd_err *err)
{
    bool marked = false;
    uint32_t k;
    int rc = vmdk_tables_has_marker(t->file, source->off[0], VMDK_MARKER_TABLE, &marked, err);

    if (rc || marked)
        return rc;
    for (k = 0; k < n; k++)
        out[k] = VMDK_GTE_LOST;
    vmdk_tables_note(t, NOTE_NO_MARKER, table);
    return 0;
}

int vmdk_tables_has_marker(struct blkdev *file, uint64_t off, enum vmdk_marker_kind kind, bool *out,
                           struct vd_err *err)
{
    uint8_t bytes[VMDK_SECTOR];
    struct vmdk_marker marker;
    int rc;

    *out = false;
    if (off < VMDK_SECTOR)
        return 0;
    rc = blk_read(file, off - VMDK_SECTOR, bytes, sizeof(bytes), err);
    if (rc)
        return rc;
    vmdk_marker_decode(bytes, sizeof(bytes), &marker);
    *out = marker.kind == kind;
    return 0;
}

int vmdk_tables_read(struct vmdk_tables *t, uint64_t table, const struct vmdk_source *source,
                     uint32_t *out, struct vd_err *err)
{
    uint32_t n = vmdk_table_entries(&t->g, table);
    int rc;

    if (t->stream) {
        vmdk_stream_table(t->stream, table, out, n);
        return 0;
    }
    rc = read_copies(t, table, source, out, n, err);
    if (rc == 0 && t->marked)
        rc = check_marker(t, table, source, out, n, err);
    if (rc)
        return vd_prefix(err, rc, "grain table %" PRIu64, table);
    note_bad_entries(t, table, out, n);
    return 0;
}

struct table_ctx {
    struct vmdk_tables *t;
    uint64_t table;
    struct vmdk_source source;
};

static int fill_table(void *ctx, uint64_t key, void *buf, size_t len, struct vd_err *err)
{
    const struct table_ctx *c = ctx;

    (void)key;
    (void)len;
    return vmdk_tables_read(c->t, c->table, &c->source, buf, err);
}

int vmdk_tables_get(struct vmdk_tables *t, uint64_t table, struct vmdk_table *out,
                    struct vd_err *err)
{
    struct table_ctx ctx = {.t = t, .table = table};
    size_t len = (size_t)vmdk_table_entries(&t->g, table) * 4;
    int rc = vmdk_tables_source(t, table, &ctx.source, err);

    if (rc)
        return rc;
    *out = (struct vmdk_table){.kind = ctx.source.kind};
    if (out->kind == VMDK_PLACE_BAD)
        out->why = "the grain directory names no possible place for it";
    if (out->kind != VMDK_PLACE_DATA)
        return 0;
    rc = made_cache_get(t->cache, cache_key(t->extent, KEY_TABLE, table), len, fill_table, &ctx,
                        &out->buf, err);
    if (rc == 0)
        out->gte = made_buf_bytes(out->buf);
    return rc;
}

uint64_t vmdk_tables_absent_run(const struct vmdk_tables *t, uint64_t table, uint64_t max)
{
    uint64_t n = 0, left = vd_min(max, t->g.gd_entries - table);
    unsigned i;

    for (; n < left && !t->stream; n++)
        for (i = 0; i < t->n_dirs; i++)
            if (!t->dir[i].whole || t->dir[i].whole[table + n])
                return n;
    return n;
}

/* ---- the object ---- */

int vmdk_tables_new(struct blkdev *file, const struct vmdk_geometry *g, const struct vmdk_header *h,
                    unsigned extent, struct vmdk_shared *shared, struct vmdk_tables **out,
                    struct vd_err *err)
{
    struct vmdk_tables *t = calloc(1, sizeof(*t));
    int rc;

    if (!t)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    t->file = file;
    t->g = *g;
    t->extent = extent;
    t->cache = made_cache_ref(shared->tables);
    rc = vmdk_tables_load(t, h, shared, err);
    if (rc) {
        vmdk_tables_free(t);
        return rc;
    }
    *out = t;
    return 0;
}

const struct vmdk_geometry *vmdk_tables_geometry(const struct vmdk_tables *t)
{
    return &t->g;
}

void vmdk_tables_free(struct vmdk_tables *t)
{
    unsigned i;

    if (!t)
        return;
    for (i = 0; i < 2; i++)
        free(t->dir[i].whole);
    free(t->contested);
    vmdk_stream_free(t->stream);
    made_cache_unref(t->cache);
    free(t);
}

/* What a walk through the stream found. */
static void describe_stream(const struct vmdk_tables *t, vd_fact_fn *fn, void *ctx)
{
    const struct vmdk_stream_found *f = &t->rebuilt;
    char text[1024];
    int n = snprintf(text, sizeof(text),
                     "the stream was followed by its markers from offset %" PRIu64 " to %" PRIu64
                     " (%s): %" PRIu64 " grains and %" PRIu64 " grain tables were met. ",
                     f->start, f->end, f->why, f->n_grains, f->n_tables);

    if (f->gd_sectors)
        (void)snprintf(text + n, sizeof(text) - (size_t)n,
                       "They agree with the grain directory met at sector %" PRIu64
                       ": nothing is missing",
                       f->gd_sectors);
    else
        (void)snprintf(text + n, sizeof(text) - (size_t)n,
                       "%" PRIu64 " tables prove what is absent from their span; elsewhere a grain "
                       "that was not met cannot be read, it may have been in the lost part; that "
                       "grains are where they should be is known from their own headers only; "
                       "%" PRIu64 " grains are unclear",
                       f->n_proved, f->n_unclear);
    fn(ctx, t->file->label, VD_FACT_WARNING, "stream_rebuilt", text);
}

void vmdk_tables_describe(struct vmdk_tables *t, vd_fact_fn *fn, void *ctx)
{
    char text[512];
    unsigned k;

    if (t->rebuilt.start)
        describe_stream(t, fn, ctx);
    if (t->lost_dir)
        fn(ctx, t->file->label, VD_FACT_WARNING, "grain_directory", t->lost_dir);
    for (k = 0; k < NOTE_COUNT; k++) {
        unsigned long long first = atomic_load(&t->note[k]);

        if (first == 0)
            continue;
        (void)snprintf(text, sizeof(text), "grain table %llu (the first of its kind): %s",
                       first - 1, note_texts[k]);
        fn(ctx, t->file->label, VD_FACT_WARNING, "grain_table", text);
    }
    if (t->grains_overlap_unchecked)
        fn(ctx, t->file->label, VD_FACT_INFO, "grain_overlap",
           "the tables were too many to be compared at open: whether two grains share sectors was "
           "not checked");
    if (t->tables_overlap_unchecked)
        fn(ctx, t->file->label, VD_FACT_INFO, "grain_directory",
           "the grain directory is too large to be kept in memory: whether two entries share a "
           "table was not checked");
    if (t->stream)
        return;
    (void)snprintf(text, sizeof(text),
                   "%" PRIu64 " in all; at open %" PRIu64 " directory entries were looked at and "
                   "%" PRIu64 " tables checked, the others are when they are used",
                   t->g.gd_entries, t->n_scanned, t->n_checked);
    fn(ctx, t->file->label, VD_FACT_INFO, "grain_tables", text);
}
