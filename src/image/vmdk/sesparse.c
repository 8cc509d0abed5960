/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The layer of one seSparse extent.  See sesparse.h for the format and its sources.
 *
 * One function, se_locate, says what a position means; reading and mapping both ask it.  The directory is
 * kept whole while the image's budget lasts and read in pages through the cache otherwise (also when a
 * part of it cannot be read); tables are cached.  The layer has no label of its own: its messages begin
 * with the file's.  Threads: immutable after vmdk_sesparse_new but for the notes (atomic) and the
 * cache (own locks).
 */
#include "image/vmdk/sesparse_priv.h"

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/range.h"
#include "image/located.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define DIR_PAGE_ENTRIES 512u /* 4 KiB */

static const char *const note_texts[SE_NOTE_COUNT] = {
    [SE_NOTE_DIR_DAMAGED] =
        "the grain directory entry of this table is impossible: the range cannot "
        "be read",
    [SE_NOTE_BAD_ENTRY] =
        "an entry is of an unknown type, points past the end of the file or names "
        "a grain that another entry names too: those grains cannot be read",
    [SE_NOTE_UNMAPPED] =
        "it has grains that the guest gave back (type 1, SCSI UNMAP): they read as "
        "zeros and hide the parent.  The format is not public, and other programs "
        "(dissect) show the parent's older bytes there",
};

/* Keys as in tables.c: extent (15 bits) | kind (2 bits) | number (46 bits). */
enum key_kind { KEY_TABLE, KEY_PAGE };

static uint64_t cache_key(const struct vmdk_sesparse *s, enum key_kind kind, uint64_t number)
{
    return (uint64_t)s->extent << 48 | (uint64_t)kind << 46 | number;
}

void vmdk_se_note(struct vmdk_sesparse *s, enum vmdk_se_note kind, uint64_t table)
{
    unsigned long long never = 0;

    (void)atomic_compare_exchange_strong(&s->note[kind], &never, table + 1);
}

/* ---- directory ---- */

int vmdk_se_read_entries(struct blkdev *file, uint64_t off, uint64_t *out, size_t n,
                         struct vd_err *err)
{
    int rc = blk_read(file, off, out, n * VMDK_SE_ENTRY_BYTES, err);
    size_t i;

    for (i = 0; i < n && rc == 0; i++)
        out[i] = vd_le64((const uint8_t *)&out[i]);
    return rc;
}

struct page_ctx {
    struct vmdk_sesparse *s;
    uint64_t page;
};

static int fill_page(void *ctx, uint64_t key, void *buf, size_t len, struct vd_err *err)
{
    const struct page_ctx *c = ctx;
    uint64_t off = c->s->g.dir_off + c->page * DIR_PAGE_ENTRIES * VMDK_SE_ENTRY_BYTES;

    (void)key;
    return vd_prefix(err,
                     vmdk_se_read_entries(c->s->file, off, buf, len / VMDK_SE_ENTRY_BYTES, err),
                     "grain directory");
}

int vmdk_se_dir_entry(struct vmdk_sesparse *s, uint64_t table, uint64_t *out, struct vd_err *err)
{
    struct page_ctx ctx = {s, table / DIR_PAGE_ENTRIES};
    VD_AUTO(made_buf) struct made_buf *buf = NULL;
    uint64_t n = vd_min(DIR_PAGE_ENTRIES, s->g.n_entries - ctx.page * DIR_PAGE_ENTRIES);
    int rc;

    if (s->dir) {
        *out = s->dir[table];
        return 0;
    }
    rc = made_cache_get(s->cache, cache_key(s, KEY_PAGE, ctx.page), (size_t)n * VMDK_SE_ENTRY_BYTES,
                        fill_page, &ctx, &buf, err);
    if (rc == 0)
        *out = ((const uint64_t *)made_buf_bytes(buf))[table % DIR_PAGE_ENTRIES];
    return rc;
}

/* ---- tables ---- */

static void note_entries(struct vmdk_sesparse *s, uint64_t table, const uint64_t *gte, uint32_t n)
{
    uint32_t k;

    for (k = 0; k < n; k++) {
        struct vmdk_se_place place =
            vmdk_se_grain_place(&s->g, table * VMDK_SE_GT_ENTRIES + k, gte[k]);

        if (place.unmapped)
            vmdk_se_note(s, SE_NOTE_UNMAPPED, table);
        if (place.at.kind == VMDK_PLACE_BAD)
            vmdk_se_note(s, SE_NOTE_BAD_ENTRY, table);
    }
}

int vmdk_se_read_table(struct vmdk_sesparse *s, uint64_t table, const struct vmdk_se_place *place,
                       uint64_t *out, struct vd_err *err)
{
    uint32_t n = vmdk_se_table_entries(&s->g, table);
    int rc = vmdk_se_read_entries(s->file, place->at.off, out, n, err);

    if (rc)
        return vd_prefix(err, rc, "grain table %" PRIu64, table);
    note_entries(s, table, out, n);
    return 0;
}

struct table_ctx {
    struct vmdk_sesparse *s;
    uint64_t table;
    struct vmdk_se_place place;
};

static int fill_table(void *ctx, uint64_t key, void *buf, size_t len, struct vd_err *err)
{
    const struct table_ctx *c = ctx;

    (void)key;
    (void)len;
    return vmdk_se_read_table(c->s, c->table, &c->place, buf, err);
}

/* ---- what a position means ---- */

/* One run that is being put together. */
struct run {
    enum blk_status status;
    uint64_t len;      /* bytes, > 0 */
    uint64_t file_off; /* BLK_DATA */
    const char *why;   /* BLK_UNREADABLE: a phrase */
};

/* The run of grain number `grain` from byte `in` of it on. */
static struct run run_of_grain(const struct vmdk_se_shape *g, uint64_t grain, uint64_t gte,
                               uint64_t in)
{
    struct vmdk_place at = vmdk_se_grain_place(g, grain, gte).at;
    struct run run = {.len = vmdk_se_grain_bytes(g, grain) - in, .why = at.why};

    switch (at.kind) {
    case VMDK_PLACE_ABSENT:
        run.status = BLK_ABSENT;
        break;
    case VMDK_PLACE_ZEROS:
        run.status = BLK_ZEROS;
        break;
    case VMDK_PLACE_BAD:
        run.status = BLK_UNREADABLE;
        break;
    case VMDK_PLACE_DATA:
        if (in >= at.len) {
            run.status = BLK_UNREADABLE; /* the file ends inside this grain */
            break;
        }
        run.status = BLK_DATA;
        run.file_off = at.off + in;
        run.len = vd_min(run.len, at.len - in);
        break;
    }
    return run;
}

/* The run at `off`, whose table has the entries `gte`; *out_gte is the entry of its first grain. */
static struct run run_of_table(const struct vmdk_se_shape *g, const uint64_t *gte, uint64_t off,
                               uint64_t max_len, uint64_t *out_gte)
{
    uint64_t table = off / VMDK_SE_GT_SPAN, first = table * VMDK_SE_GT_ENTRIES;
    uint64_t grain = off / VMDK_SE_GRAIN;
    uint32_t n = vmdk_se_table_entries(g, table);
    struct run run = run_of_grain(g, grain, gte[grain - first], off % VMDK_SE_GRAIN);

    *out_gte = gte[grain - first];
    while (run.len < max_len && ++grain - first < n && (off + run.len) % VMDK_SE_GRAIN == 0) {
        struct run next = run_of_grain(g, grain, gte[grain - first], 0);

        if (next.status != run.status ||
            (run.status == BLK_DATA && next.file_off != run.file_off + run.len))
            break;
        run.len += next.len;
    }
    return run;
}

/* Bytes from `off` to the end of table number `last`, or of the disk. */
static uint64_t rest_of_tables(const struct vmdk_se_shape *g, uint64_t off, uint64_t last)
{
    return vd_min((last + 1) * VMDK_SE_GT_SPAN, g->capacity) - off; /* last < 2^23: no wrap */
}

/* The last of the tables after `table` that are known, without reading, to be absent; bounded by
 * `max_len`. */
static uint64_t last_absent(const struct vmdk_sesparse *s, uint64_t table, uint64_t max_len)
{
    uint64_t end = vd_min(s->g.n_entries, table + max_len / VMDK_SE_GT_SPAN + 2);

    while (s->dir && table + 1 < end && s->dir[table + 1] == 0)
        table++;
    return table;
}

static int locate_in_table(struct vmdk_sesparse *s, uint64_t table,
                           const struct vmdk_se_place *place, uint64_t off, uint64_t max_len,
                           struct blk_extent *out, struct vd_err *err)
{
    struct table_ctx ctx = {s, table, *place};
    VD_AUTO(made_buf) struct made_buf *buf = NULL;
    size_t len = (size_t)vmdk_se_table_entries(&s->g, table) * VMDK_SE_ENTRY_BYTES;
    uint64_t gte;
    struct run run;
    int rc =
        made_cache_get(s->cache, cache_key(s, KEY_TABLE, table), len, fill_table, &ctx, &buf, err);

    if (rc)
        return vd_at(err, rc, off);
    run = run_of_table(&s->g, made_buf_bytes(buf), off, max_len, &gte);
    *out = (struct blk_extent){.len = vd_min(run.len, max_len), .status = run.status};
    if (run.status == BLK_DATA) {
        out->child = s->file;
        out->child_off = run.file_off;
    } else if (run.status == BLK_UNREADABLE) {
        (void)vd_fail(err, VD_ECORRUPT,
                      "grain table %" PRIu64 ": the entry 0x%016" PRIx64 " of grain %" PRIu64
                      " %s (disk offset %" PRIu64 ")",
                      table, gte, off / VMDK_SE_GRAIN, run.why, off);
    }
    return 0;
}

/* The only place that turns a position into a meaning: see image_locate_fn. */
static int se_locate(const struct blkdev *dev, uint64_t off, uint64_t max_len,
                     struct blk_extent *out, struct vd_err *err)
{
    struct vmdk_sesparse *s = dev->priv;
    uint64_t table = off / VMDK_SE_GT_SPAN, last = table, gde;
    struct vmdk_se_place place;
    int rc;

    if (table >= s->g.n_entries) {
        (void)vd_fail(err, VD_ECORRUPT,
                      "the grain directory ends before table %" PRIu64 " (disk offset %" PRIu64 ")",
                      table, off);
        *out = (struct blk_extent){.len = vd_min(s->g.capacity - off, max_len),
                                   .status = BLK_UNREADABLE};
        return 0;
    }
    rc = vmdk_se_dir_entry(s, table, &gde, err);
    if (rc)
        return vd_at(err, rc, off);
    place = vmdk_se_table_place(&s->g, table, gde);
    if (place.at.kind == VMDK_PLACE_DATA)
        return locate_in_table(s, table, &place, off, max_len, out, err);
    if (place.at.kind == VMDK_PLACE_BAD) {
        vmdk_se_note(s, SE_NOTE_DIR_DAMAGED, table);
        (void)vd_fail(err, VD_ECORRUPT,
                      "the grain directory's entry 0x%016" PRIx64 " of table %" PRIu64
                      " %s (disk offset %" PRIu64 ")",
                      gde, table, place.at.why, off);
        out->status = BLK_UNREADABLE;
    } else {
        last = last_absent(s, table, max_len);
        out->status = BLK_ABSENT;
    }
    out->child = NULL;
    out->len = vd_min(rest_of_tables(&s->g, off, last), max_len);
    return 0;
}

/* ---- the layer ---- */

static int se_read_at(struct blkdev *dev, uint64_t off, void *buf, size_t len, struct vd_err *err)
{
    const struct vmdk_sesparse *s = dev->priv;

    return image_read_located(dev, se_locate, s->file->label, off, buf, len, err);
}

static int se_map(struct blkdev *dev, uint64_t off, uint64_t max_len, struct blk_extent *out,
                  struct vd_err *err)
{
    const struct vmdk_sesparse *s = dev->priv;

    return vd_prefix(err, se_locate(dev, off, max_len, out, err), "%s", s->file->label);
}

static void se_describe(struct blkdev *dev, vd_fact_fn *fn, void *ctx)
{
    struct vmdk_sesparse *s = dev->priv;
    char text[512];
    unsigned k;

    for (k = 0; k < SE_NOTE_COUNT; k++) {
        unsigned long long first = atomic_load(&s->note[k]);

        if (first == 0)
            continue;
        (void)snprintf(text, sizeof(text), "grain table %llu (the first of its kind): %s",
                       first - 1, note_texts[k]);
        fn(ctx, s->file->label,
           k == SE_NOTE_UNMAPPED && !s->has_parent ? VD_FACT_INFO : VD_FACT_WARNING, "grain_table",
           text);
    }
    if (s->grains_twice.n) {
        (void)snprintf(
            text, sizeof(text),
            "%zu grains of the file are named by more than one entry: none of those can be "
            "read",
            s->grains_twice.n);
        fn(ctx, s->file->label, VD_FACT_WARNING, "grain_overlap", text);
    }
    if (s->tables_unchecked)
        fn(ctx, s->file->label, VD_FACT_INFO, "grain_directory",
           "the grain directory is too large to be kept in memory: whether two entries share a "
           "table was not checked");
    if (s->grains_unchecked)
        fn(ctx, s->file->label, VD_FACT_INFO, "grain_overlap",
           "the tables were too many to be compared at open: whether two entries name one grain "
           "was "
           "not checked");
    (void)snprintf(text, sizeof(text),
                   "%" PRIu64 " in all; at open %" PRIu64 " directory entries were looked at and "
                   "%" PRIu64 " tables checked, the others are when they are used",
                   s->g.n_tables, s->n_scanned, s->n_checked);
    fn(ctx, s->file->label, VD_FACT_INFO, "grain_tables", text);
}

static void se_close(struct blkdev *dev)
{
    struct vmdk_sesparse *s = dev->priv;

    if (!s)
        return;
    overlap_clear(&s->tables_twice);
    overlap_clear(&s->grains_twice);
    made_cache_unref(s->cache);
    free(s->dir);
    free(s);
}

static const struct blk_type se_type = {
    .name = "vmdk-sesparse",
    .read_at = se_read_at,
    .map = se_map,
    .describe = se_describe,
    .check = vmdk_se_check,
    .close = se_close,
};

int vmdk_sesparse_new(struct blkdev *file, const struct vmdk_se_header *h, unsigned extent,
                      bool has_parent, struct vmdk_shared *shared, struct blkdev **out,
                      struct vd_err *err)
{
    VD_AUTO(blk) struct blkdev *dev = NULL;
    struct vmdk_sesparse *s = calloc(1, sizeof(*s));
    int rc;

    if (!s)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    s->file = file;
    s->h = *h;
    s->extent = extent;
    s->has_parent = has_parent;
    vmdk_se_shape_init(h, file->size, &s->g);
    rc = blk_new(&se_type, s->g.capacity, "", s, &dev, err);
    if (rc) {
        free(s);
        return rc;
    }
    dev->read_unit = VMDK_SE_GRAIN;
    s->cache = made_cache_ref(shared->tables);
    rc = vmdk_se_load(s, shared, err);
    if (rc)
        return vd_prefix(err, rc, "%s", file->label);
    rc = blk_add_child(dev, file, err);
    if (rc)
        return rc;
    *out = vd_take(&dev);
    return 0;
}
