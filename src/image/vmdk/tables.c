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
#include "image/vmdk/tables.h"

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/range.h"

#include <inttypes.h>
#include <stdio.h>

#define DIR_PAGE_ENTRIES 1024u /* 4 KiB */

/* An entry that open found to overlap another table. */
#define GDE_OVERLAP UINT32_MAX

/* What can be noted about tables; every kind remembers the first table. */
enum note {
    NOTE_DIR_DAMAGED,  /* a directory entry is impossible, no other copy helps */
    NOTE_DIR_REPAIRED, /* a directory entry of one copy was used for the other's */
    NOTE_COPY_LOST,    /* one copy of a table could not be read, the other was used */
    NOTE_DIFFER,       /* copies differ, one rule made one table out of them */
    NOTE_UNCLEAR,      /* copies differ and some grains stay unclear */
    NOTE_BAD_ENTRY,    /* a table entry is impossible */
    NOTE_COUNT
};

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
    [NOTE_BAD_ENTRY] = "an entry points past the end of the file or into its structures: those "
                       "grains cannot be read",
};

struct directory {
    uint64_t off;    /* bytes */
    uint32_t *whole; /* host order; NULL: read in pages */
};

struct vmdk_tables {
    struct blkdev *file; /* borrowed */
    struct vmdk_geometry g;
    struct made_cache *cache;
    unsigned extent;
    struct directory dir[2]; /* primary, redundant */
    unsigned n_dirs;
    uint64_t n_scanned; /* directory entries looked at, and tables checked, at open */
    uint64_t n_checked;
    bool overlap_unchecked;
    const char *lost_dir;           /* warning about a whole directory, or NULL */
    atomic_ullong note[NOTE_COUNT]; /* first table it was met in + 1; 0 = never */
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

static void note(struct vmdk_tables *t, enum note kind, uint64_t table)
{
    unsigned long long never = 0;

    (void)atomic_compare_exchange_strong(&t->note[kind], &never, table + 1);
}

/* ---- directories -------------------------------------------------------------------------------
 */

static int read_entries(struct blkdev *file, uint64_t off, uint32_t *out, size_t n,
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
    rc = read_entries(c->t->file, c->t->dir[c->which].off + c->page * DIR_PAGE_ENTRIES * 4, buf,
                      len / 4, err);
    return vd_prefix(err, rc, "grain directory");
}

static int dir_entry(struct vmdk_tables *t, unsigned which, uint64_t table, uint32_t *out,
                     struct vd_err *err)
{
    struct page_ctx ctx = {t, which, table / DIR_PAGE_ENTRIES};
    VD_AUTO(made_buf) struct made_buf *buf = NULL;
    uint64_t n = vd_min(DIR_PAGE_ENTRIES, t->g.gd_entries - ctx.page * DIR_PAGE_ENTRIES);
    int rc;

    if (t->dir[which].whole) {
        *out = t->dir[which].whole[table];
        return 0;
    }
    rc = made_cache_get(
        t->cache, cache_key(t->extent, which ? KEY_PAGE_REDUNDANT : KEY_PAGE_PRIMARY, ctx.page),
        (size_t)n * 4, fill_page, &ctx, &buf, err);
    if (rc == 0)
        *out = ((const uint32_t *)made_buf_bytes(buf))[table % DIR_PAGE_ENTRIES];
    return rc;
}

/* What a directory entry says: DATA = a table lies at entry * 512, wholly inside the file. */
static enum vmdk_place_kind gde_kind(const struct vmdk_geometry *g, uint64_t table, uint32_t gde)
{
    uint64_t off = (uint64_t)gde * VMDK_SECTOR, len = (uint64_t)vmdk_table_entries(g, table) * 4;
    size_t i;

    if (gde == 0)
        return VMDK_PLACE_ABSENT;
    if (gde == GDE_OVERLAP || !vd_range_inside(off, len, g->file_size))
        return VMDK_PLACE_BAD;
    for (i = 0; i < g->n_meta; i++)
        if (vd_range_overlap(off, len, g->meta[i].off, g->meta[i].len))
            return VMDK_PLACE_BAD;
    return VMDK_PLACE_DATA;
}

/* Where the copies of one table lie. */
struct source {
    enum vmdk_place_kind kind; /* ABSENT, BAD, or DATA: `n` places */
    uint64_t off[2];
    unsigned n;
};

static int find_source(struct vmdk_tables *t, uint64_t table, struct source *out,
                       struct vd_err *err)
{
    struct vd_err errs[2] = {VD_ERR_INIT, VD_ERR_INIT};
    enum vmdk_place_kind kinds[2] = {VMDK_PLACE_ABSENT, VMDK_PLACE_ABSENT};
    unsigned i, n_failed = 0;
    bool bad = false;

    *out = (struct source){.kind = VMDK_PLACE_ABSENT};
    for (i = 0; i < t->n_dirs; i++) {
        uint32_t gde = 0;

        if (dir_entry(t, i, table, &gde, &errs[i])) {
            n_failed++;
            kinds[i] = VMDK_PLACE_BAD;
        } else {
            kinds[i] = gde_kind(&t->g, table, gde);
        }
        bad = bad || kinds[i] == VMDK_PLACE_BAD;
        if (kinds[i] == VMDK_PLACE_DATA)
            out->off[out->n++] = (uint64_t)gde * VMDK_SECTOR;
    }
    if (out->n) {
        out->kind = VMDK_PLACE_DATA;
        if (out->n < t->n_dirs)
            note(t, NOTE_DIR_REPAIRED, table);
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
        note(t, NOTE_DIR_DAMAGED, table);
    }
    return 0;
}

/* ---- tables -------------------------------------------------------------------------------------
 */

struct table_ctx {
    struct vmdk_tables *t;
    uint64_t table;
    struct source source;
};

static void note_bad_entries(struct vmdk_tables *t, uint64_t table, const uint32_t *gte, size_t n)
{
    uint64_t first = table * t->g.gt_entries;
    size_t k;

    for (k = 0; k < n; k++)
        if (gte[k] != VMDK_GTE_AMBIGUOUS &&
            vmdk_place_of(&t->g, first + k, gte[k]).kind == VMDK_PLACE_BAD) {
            note(t, NOTE_BAD_ENTRY, table);
            return;
        }
}

static int read_table(struct table_ctx *c, uint32_t *out, size_t n, struct vd_err *err)
{
    VD_AUTO(free) uint32_t *second = NULL;
    struct vmdk_merge merge;
    struct vd_err second_err;
    int rc0, rc1;

    rc0 = read_entries(c->t->file, c->source.off[0], out, n, err);
    if (c->source.n < 2 || c->source.off[0] == c->source.off[1])
        return rc0;
    second = malloc(n * 4);
    if (!second)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    rc1 = read_entries(c->t->file, c->source.off[1], second, n, &second_err);
    if (rc0 && rc1)
        return rc0;
    if (rc0 || rc1) {
        note(c->t, NOTE_COPY_LOST, c->table);
        if (rc0)
            memcpy(out, second, n * 4);
        return 0;
    }
    vmdk_gt_merge(&c->t->g, c->table, out, second, (uint32_t)n, &merge);
    if (merge.n_unclear)
        note(c->t, NOTE_UNCLEAR, c->table);
    else if (merge.differ)
        note(c->t, NOTE_DIFFER, c->table);
    return 0;
}

static int fill_table(void *ctx, uint64_t key, void *buf, size_t len, struct vd_err *err)
{
    struct table_ctx *c = ctx;
    int rc = read_table(c, buf, len / 4, err);

    (void)key;
    if (rc)
        return vd_prefix(err, rc, "grain table %" PRIu64, c->table);
    note_bad_entries(c->t, c->table, buf, len / 4);
    return 0;
}

int vmdk_tables_get(struct vmdk_tables *t, uint64_t table, struct vmdk_table *out,
                    struct vd_err *err)
{
    struct table_ctx ctx = {.t = t, .table = table};
    size_t len = (size_t)vmdk_table_entries(&t->g, table) * 4;
    int rc = find_source(t, table, &ctx.source, err);

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

    for (; n < left; n++)
        for (i = 0; i < t->n_dirs; i++)
            if (!t->dir[i].whole || t->dir[i].whole[table + n])
                return n;
    return n;
}

/* ---- at open
 * ---------------------------------------------------------------------------------------- */

/* Is the directory that starts at `off_sectors` inside the file and behind the header? */
static bool dir_possible(const struct vmdk_geometry *g, uint64_t off_sectors, uint64_t *out_off)
{
    uint64_t off;

    if (off_sectors == 0 || !vd_mul(off_sectors, VMDK_SECTOR, &off) ||
        !vd_range_inside(off, g->gd_entries * 4, g->file_size))
        return false;
    *out_off = off;
    return true;
}

static int find_dirs(struct vmdk_tables *t, const struct vmdk_header *h, struct vd_err *err)
{
    bool primary = dir_possible(&t->g, h->gd_off_sectors, &t->dir[0].off), redundant = false;

    if (t->g.redundant)
        redundant = dir_possible(&t->g, h->rgd_off_sectors, &t->dir[primary ? 1 : 0].off);
    t->n_dirs = (unsigned)primary + (unsigned)redundant;
    if (t->n_dirs == 0)
        return vd_fail(err, VD_ECORRUPT,
                       "the grain directory (%" PRIu64 " bytes at sector %" PRIu64
                       ") lies past the end of the file",
                       t->g.gd_entries * 4, h->gd_off_sectors);
    if (t->g.redundant && !primary)
        t->lost_dir = "the primary grain directory lies past the end of the file: only the "
                      "redundant one is used";
    if (t->g.redundant && !redundant)
        t->lost_dir = "the redundant grain directory is missing or lies past the end of the file: "
                      "nothing can be compared";
    return 0;
}

/* Keeps the directory whole, if the budget and the medium allow. */
static void load_dir(struct vmdk_tables *t, struct directory *dir, struct vmdk_shared *shared)
{
    uint64_t bytes = t->g.gd_entries * 4;
    uint32_t *v;

    if (bytes > shared->directory_left)
        return;
    v = malloc(bytes);
    if (!v || read_entries(t->file, dir->off, v, (size_t)t->g.gd_entries, NULL)) {
        free(v);
        return;
    }
    shared->directory_left -= bytes;
    dir->whole = v;
}

struct claim {
    uint32_t gde, table;
};

static int compare_claims(const void *a, const void *b)
{
    const struct claim *x = a, *y = b;

    return x->gde != y->gde ? (x->gde < y->gde ? -1 : 1)
                            : (x->table > y->table) - (x->table < y->table);
}

/* Two tables cannot share sectors.  Which of them is right is not known: both entries are void. */
static void void_overlaps(struct vmdk_tables *t, struct directory *dir)
{
    VD_AUTO(free) struct claim *v = malloc(t->g.gd_entries * sizeof(*v));
    uint64_t i, end = 0;
    size_t n = 0, last = 0;

    if (!v) {
        t->overlap_unchecked = true;
        return;
    }
    for (i = 0; i < t->g.gd_entries; i++)
        if (gde_kind(&t->g, i, dir->whole[i]) == VMDK_PLACE_DATA)
            v[n++] = (struct claim){dir->whole[i], (uint32_t)i};
    if (n)
        qsort(v, n, sizeof(*v), compare_claims);
    for (i = 0; i < n; i++) {
        uint64_t len = (uint64_t)vmdk_table_entries(&t->g, v[i].table) * 4;
        uint64_t off = (uint64_t)v[i].gde * VMDK_SECTOR;

        if (i && off < end)
            dir->whole[v[i].table] = dir->whole[v[last].table] = GDE_OVERLAP;
        if (off + len > end) {
            end = off + len;
            last = (size_t)i;
        }
    }
}

/* Looks at directory entries and tables as far as the image's budgets go. */
static void check_tables(struct vmdk_tables *t, struct vmdk_shared *shared)
{
    uint64_t table, entry_bytes = 4 * (uint64_t)t->n_dirs;

    for (table = 0; table < t->g.gd_entries && shared->scan_left >= entry_bytes; table++) {
        struct table_ctx ctx = {.t = t, .table = table};
        uint64_t bytes = (uint64_t)vmdk_table_entries(&t->g, table) * 4;
        VD_AUTO(free) uint32_t *gte = NULL;

        shared->scan_left -= entry_bytes;
        if (find_source(t, table, &ctx.source, NULL)) {
            table |= DIR_PAGE_ENTRIES - 1; /* do not ask a failing medium for this page again */
            continue;
        }
        t->n_scanned++;
        if (ctx.source.kind != VMDK_PLACE_DATA || bytes * ctx.source.n > shared->check_left)
            continue;
        shared->check_left -= bytes * ctx.source.n;
        gte = malloc(bytes);
        if (gte && fill_table(&ctx, 0, gte, (size_t)bytes, NULL) == 0)
            t->n_checked++;
    }
}

int vmdk_tables_new(struct blkdev *file, const struct vmdk_geometry *g, const struct vmdk_header *h,
                    unsigned extent, struct vmdk_shared *shared, struct vmdk_tables **out,
                    struct vd_err *err)
{
    struct vmdk_tables *t = calloc(1, sizeof(*t));
    unsigned i;
    int rc;

    if (!t)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    t->file = file;
    t->g = *g;
    t->extent = extent;
    t->cache = made_cache_ref(shared->tables);
    rc = find_dirs(t, h, err);
    if (rc) {
        vmdk_tables_free(t);
        return rc;
    }
    for (i = 0; i < t->n_dirs; i++) {
        load_dir(t, &t->dir[i], shared);
        if (t->dir[i].whole)
            void_overlaps(t, &t->dir[i]);
        else
            t->overlap_unchecked = true;
    }
    check_tables(t, shared);
    *out = t;
    return 0;
}

void vmdk_tables_free(struct vmdk_tables *t)
{
    unsigned i;

    if (!t)
        return;
    for (i = 0; i < 2; i++)
        free(t->dir[i].whole);
    made_cache_unref(t->cache);
    free(t);
}

void vmdk_tables_describe(struct vmdk_tables *t, vd_fact_fn *fn, void *ctx)
{
    char text[512];
    unsigned k;

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
    if (t->overlap_unchecked)
        fn(ctx, t->file->label, VD_FACT_INFO, "grain_directory",
           "the grain directory is too large to be kept in memory: whether two entries share a "
           "table was not checked");
    (void)snprintf(text, sizeof(text),
                   "%" PRIu64 " in all; at open %" PRIu64 " directory entries were looked at and "
                   "%" PRIu64 " tables checked, the others are when they are used",
                   t->g.gd_entries, t->n_scanned, t->n_checked);
    fn(ctx, t->file->label, VD_FACT_INFO, "grain_tables", text);
}
