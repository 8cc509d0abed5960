/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hosted sparse and stream-optimised extents, VMware "Virtual Disk Format 5.0", chapters "Hosted
 * Sparse Extents" and "Stream-Optimized Compressed Sparse Extents".
 *
 *     header | descriptor | redundant directory, tables | directory, tables | grains      (sparse)
 *     header | descriptor | (marker grain)… (marker table)… marker directory | footer | end (stream)
 */
#include "priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#define SECTOR      512u
#define GD_AT_END   UINT64_MAX
#define FLAG_NL     1u
#define FLAG_RGD    2u
#define FLAG_ZERO   4u
#define FLAG_DEFL   0x10000u
#define FLAG_MARKER 0x20000u

struct hosted {
    const struct wr_spec *spec;
    struct wr_file *f;
    uint64_t disk_off, size;
    uint32_t unit, n_gtes;
    uint64_t n_grains, n_tables, table_sectors, dir_sectors;
    uint64_t desc_at, desc_sectors;
    uint64_t gd_at[2], gt_at[2]; /* sectors; [1] = redundant; 0 = none */
    uint64_t overhead;
    uint32_t *gte; /* n_tables * n_gtes */
    uint32_t flags, version;
};

static void hosted_init(struct hosted *h, const struct wr_spec *spec, struct wr_file *f,
                        uint64_t disk_off, uint64_t size, uint32_t unit)
{
    *h = (struct hosted){.spec = spec, .f = f, .disk_off = disk_off, .size = size, .unit = unit};
    if (unit < SECTOR || unit % SECTOR)
        wr_die("%s: grain of %u bytes", f->name, unit);
    h->n_gtes = spec->knobs.n_gtes ? spec->knobs.n_gtes : 512;
    h->n_grains = (size + unit - 1) / unit;
    h->n_tables = (h->n_grains + h->n_gtes - 1) / h->n_gtes;
    h->table_sectors = (h->n_gtes * 4 + SECTOR - 1) / SECTOR;
    h->dir_sectors = (h->n_tables * 4 + SECTOR - 1) / SECTOR;
    h->gte = wr_alloc(h->n_tables * h->n_gtes, sizeof(uint32_t));
    h->flags = FLAG_NL | (spec->knobs.zero_grain ? FLAG_ZERO : 0);
    h->version = spec->knobs.zero_grain ? 2 : 1;
}

static uint64_t grain_off(const struct hosted *h, uint64_t grain)
{
    return h->disk_off + grain * h->unit;
}

static uint64_t grain_len(const struct hosted *h, uint64_t grain)
{
    uint64_t left = h->size - grain * h->unit;

    return left < h->unit ? left : h->unit;
}

/* What must be stored: everything that no table entry can say. */
static bool is_stored(const struct hosted *h, uint64_t grain)
{
    enum wr_state state = wr_unit_state(h->spec, grain_off(h, grain), grain_len(h, grain));

    if (state == WR_MIXED)
        wr_die("%s: grain %llu is partly the parent's: align the runs to %u bytes", h->f->name,
               (unsigned long long)grain, h->unit);
    if (state == WR_ABSENT)
        return false;
    if (state != WR_DATA && h->spec->knobs.zero_grain) {
        h->gte[grain] = 1; /* "zeroed-grain GTE" */
        return false;
    }
    return true;
}

/* "SparseExtentHeader". */
static void put_header(const struct hosted *h, uint64_t off, const char *what, uint64_t gd,
                       enum wr_role role)
{
    struct wr_file *f = h->f;
    bool stream = h->flags & FLAG_DEFL;
    /* a copy that is not looked at defines nothing */
    enum wr_role defines = role == WR_ROLE_NEEDED ? WR_ROLE_DEFINES : role;
    char n[48];

#define N(field) (snprintf(n, sizeof(n), "%s.%s", what, field) < 0 ? "" : n)
    wr_mark(f, WR_MARK_HEADER, role, what, 0, off, SECTOR);
    wr_fill(f, off, SECTOR, 0);
    wr_le(f, role, N("magic"), off, 4, 0x564d444b);
    wr_le(f, defines, N("version"), off + 4, 4,
          h->spec->knobs.version ? h->spec->knobs.version : h->version);
    wr_le(f, defines, N("flags"), off + 8, 4, h->flags);
    wr_le(f, defines, N("capacity"), off + 12, 8, h->size / SECTOR);
    wr_le(f, defines, N("grain_size"), off + 20, 8, h->unit / SECTOR);
    wr_le(f, defines, N("desc_offset"), off + 28, 8, h->desc_at)->encoding = WR_ENC_SECTORS;
    wr_le(f, defines, N("desc_size"), off + 36, 8, h->desc_sectors);
    wr_le(f, defines, N("n_gtes"), off + 44, 4, h->n_gtes);
    wr_le(f, defines, N("rgd_offset"), off + 48, 8, h->gd_at[1])->encoding = WR_ENC_SECTORS;
    /* any other value than "at the end" says that there is no footer: then the file is another one */
    wr_le(f, gd == GD_AT_END ? WR_ROLE_DEFINES : defines, N("gd_offset"), off + 56, 8, gd)
        ->encoding = WR_ENC_SECTORS;
    wr_le(f, WR_ROLE_IGNORED, N("overhead"), off + 64, 8, h->overhead);
    wr_le(f, WR_ROLE_IGNORED, N("unclean"), off + 72, 1, 0);
    wr_put(f, off + 73, "\n \r\n", 4);
    wr_le(f, defines, N("compression"), off + 77, 2, stream ? 1 : 0);
#undef N
}

static void put_text(const struct hosted *h, const char *text)
{
    if (!text)
        return;
    wr_fill(h->f, h->desc_at * SECTOR, h->desc_sectors * SECTOR, 0);
    wr_put(h->f, h->desc_at * SECTOR, text, strlen(text));
    wr_mark(h->f, WR_MARK_TEXT, WR_ROLE_DEFINES, "descriptor", 0, h->desc_at * SECTOR,
            strlen(text));
}

static void place_text(struct hosted *h, const char *text, uint64_t at)
{
    if (!text)
        return;
    h->desc_at = at;
    h->desc_sectors = (strlen(text) + SECTOR - 1) / SECTOR;
    if (h->desc_sectors < 20)
        h->desc_sectors = 20;
}

/* One table and the marks of its entries; short at the end of the disk. */
static void put_table(const struct hosted *h, uint64_t table, uint64_t at, const char *name,
                      enum wr_role role)
{
    uint64_t first = table * h->n_gtes, i;
    uint64_t n = h->n_grains - first < h->n_gtes ? h->n_grains - first : h->n_gtes;
    struct wr_mark *m;

    wr_fill(h->f, at, h->table_sectors * SECTOR, 0);
    m = wr_mark(h->f, WR_MARK_TABLE, role, name, table, at, h->table_sectors * SECTOR);
    m->disk_off = grain_off(h, first);
    m->disk_len = (n - 1) * h->unit + grain_len(h, first + n - 1);
    for (i = 0; i < n; i++) {
        wr_number(h->f, at + 4 * i, 4, false, h->gte[first + i]);
        wr_entry(h->f, role, WR_ENC_SECTORS, name, first + i, at + 4 * i, 4, false,
                 grain_off(h, first + i), grain_len(h, first + i));
        h->f->marks[h->f->n_marks - 1].name[0] = 'e'; /* "gt" → "et": entries have their own name */
    }
}

static void put_directory(const struct hosted *h, uint64_t at, const uint32_t *tables,
                          const char *name, enum wr_role role)
{
    uint64_t i;

    wr_fill(h->f, at, h->dir_sectors * SECTOR, 0);
    wr_mark(h->f, WR_MARK_TABLE, role, name, 0, at, h->n_tables * 4);
    for (i = 0; i < h->n_tables; i++) {
        uint64_t off = h->disk_off + i * h->n_gtes * h->unit;
        uint64_t len = (uint64_t)h->n_gtes * h->unit, left = h->disk_off + h->size - off;

        wr_number(h->f, at + 4 * i, 4, false, tables[i]);
        wr_entry(h->f, role, WR_ENC_SECTORS, name, i, at + 4 * i, 4, false, off,
                 len < left ? len : left);
        h->f->marks[h->f->n_marks - 1].name[0] = 'e'; /* "gd" → "ed" */
    }
}

/* Directory and tables one after the other, at gd_at[copy]. */
static void put_copy(const struct hosted *h, unsigned copy, enum wr_role role)
{
    uint32_t *tables = wr_alloc(h->n_tables, sizeof(*tables));
    uint64_t i;

    for (i = 0; i < h->n_tables; i++)
        tables[i] = (uint32_t)(h->gt_at[copy] + i * h->table_sectors);
    put_directory(h, h->gd_at[copy] * SECTOR, tables, copy ? "gd2" : "gd", role);
    for (i = 0; i < h->n_tables; i++)
        put_table(h, i, tables[i] * (uint64_t)SECTOR, copy ? "gt2" : "gt", role);
    free(tables);
}

/* Decides where directories and tables lie, from sector `at`; returns the next free sector. */
static uint64_t place_tables(struct hosted *h, uint64_t at)
{
    unsigned first = h->spec->knobs.primary_last || !(h->flags & FLAG_RGD) ? 0 : 1, k;

    for (k = 0; k < 2; k++) {
        unsigned copy = k ? !first : first;

        if (copy == 1 && !(h->flags & FLAG_RGD))
            continue;
        h->gd_at[copy] = at;
        h->gt_at[copy] = at + h->dir_sectors;
        at = h->gt_at[copy] + h->n_tables * h->table_sectors;
    }
    return at;
}

static void put_copies(const struct hosted *h)
{
    enum wr_role role = h->flags & FLAG_RGD ? WR_ROLE_SPARE : WR_ROLE_NEEDED;

    put_copy(h, 0, role);
    if (h->flags & FLAG_RGD)
        put_copy(h, 1, role);
}

void wr_put_sparse(const struct wr_spec *spec, struct wr_file *f, uint64_t disk_off, uint64_t size,
                   uint32_t unit, const char *text)
{
    struct hosted h;
    uint64_t at = 1, i, n = 0, total, *places;
    bool *stored;

    hosted_init(&h, spec, f, disk_off, size, unit);
    if (!spec->knobs.no_redundant)
        h.flags |= FLAG_RGD;
    if (!spec->knobs.descriptor_late)
        place_text(&h, text, at);
    at = place_tables(&h, at + h.desc_sectors);
    if (spec->knobs.descriptor_late) {
        place_text(&h, text, at);
        at += h.desc_sectors;
    }
    h.overhead = wr_up(at, unit / SECTOR);
    stored = wr_alloc(h.n_grains, sizeof(*stored));
    for (i = 0; i < h.n_grains; i++)
        n += stored[i] = is_stored(&h, i);
    places = wr_places(&spec->knobs, n, &total);
    wr_grow(f, h.overhead * SECTOR + total * unit);
    for (i = 0, n = 0; i < h.n_grains; i++) {
        uint64_t where;
        struct wr_mark *m;

        if (!stored[i])
            continue;
        where = h.overhead * SECTOR + places[n++] * unit;
        h.gte[i] = (uint32_t)(where / SECTOR);
        wr_local_bytes(spec, grain_off(&h, i), f->bytes + where, grain_len(&h, i));
        if (spec->knobs.junk && grain_len(&h, i) < unit)
            wr_junk(f, where + grain_len(&h, i), unit - grain_len(&h, i), i);
        m = wr_mark(f, WR_MARK_DATA, WR_ROLE_NEEDED, "grain", i, where, grain_len(&h, i));
        m->disk_off = grain_off(&h, i);
        m->disk_len = grain_len(&h, i);
    }
    for (i = 0; spec->knobs.gap && i < total; i++)
        if (wr_place_is_gap(places, n, i))
            wr_junk(f, h.overhead * SECTOR + i * unit, unit < 4096 ? unit : 4096, i);
    put_header(&h, 0, "header", h.gd_at[0], WR_ROLE_NEEDED);
    put_text(&h, text);
    put_copies(&h);
    free(places);
    free(stored);
    free(h.gte);
}

/* ---- stream-optimised ---- */

/* A marker of metadata: size 0 and a type, then the thing itself. */
static uint64_t put_marker(const struct hosted *h, uint64_t at, uint64_t sectors, uint32_t type)
{
    wr_fill(h->f, at, SECTOR, 0);
    wr_mark(h->f, WR_MARK_MARKER, WR_ROLE_IGNORED, "marker", type, at, SECTOR);
    wr_number(h->f, at, 8, false, sectors);
    wr_number(h->f, at + 12, 4, false, type);
    return at + SECTOR;
}

/* A grain: LBA, size, zlib data; padded to whole sectors.  Returns the next free byte. */
static uint64_t put_grain(struct hosted *h, uint64_t grain, uint64_t at)
{
    uint64_t len = grain_len(h, grain);
    bool marker = h->flags & FLAG_MARKER;
    uint8_t *plain = wr_alloc(1, h->unit), *packed;
    uLongf n = compressBound(h->unit) + 64;
    unsigned head = marker ? 12 : 4;
    struct wr_mark *m;

    packed = wr_alloc(1, n);
    wr_local_bytes(h->spec, grain_off(h, grain), plain, len);
    if (compress2(packed, &n, plain, h->unit, h->spec->knobs.stored_deflate ? 0 : 6) != Z_OK)
        wr_die("deflate");
    h->gte[grain] = (uint32_t)(at / SECTOR);
    wr_fill(h->f, at, wr_up(head + n, SECTOR), 0);
    if (marker) {
        m = wr_le(h->f, WR_ROLE_NEEDED, "grain.lba", at, 8, grain * (h->unit / SECTOR));
        m->index = grain;
        m->disk_off = grain_off(h, grain);
        m->disk_len = len;
    }
    m = wr_le(h->f, WR_ROLE_NEEDED, "grain.size", at + head - 4, 4, n);
    m->index = grain;
    m->disk_off = grain_off(h, grain);
    m->disk_len = len;
    wr_put(h->f, at + head, packed, n);
    m = wr_mark(h->f, WR_MARK_DATA, WR_ROLE_NEEDED, "grain", grain, at + head, n);
    m->disk_off = grain_off(h, grain);
    m->disk_len = len;
    free(plain);
    free(packed);
    return at + wr_up(head + n, SECTOR);
}

/* The usual form: tables follow their grains, the directory is found through the footer. */
static uint64_t put_streamed(struct hosted *h, uint64_t at)
{
    uint32_t *tables = wr_alloc(h->n_tables, sizeof(*tables));
    uint64_t t, i;

    for (t = 0; t < h->n_tables; t++) {
        bool any = false;

        for (i = t * h->n_gtes; i < (t + 1) * h->n_gtes && i < h->n_grains; i++) {
            if (is_stored(h, i))
                at = put_grain(h, i, at);
            any = any || h->gte[i];
        }
        if (!any)
            continue;
        at = put_marker(h, at, h->table_sectors, 1);
        tables[t] = (uint32_t)(at / SECTOR);
        put_table(h, t, at, "gt", WR_ROLE_NEEDED);
        at += h->table_sectors * SECTOR;
    }
    at = put_marker(h, at, h->dir_sectors, 2);
    h->gd_at[0] = at / SECTOR;
    put_directory(h, at, tables, "gd", WR_ROLE_NEEDED);
    free(tables);
    at = put_marker(h, at + h->dir_sectors * SECTOR, 1, 3);
    put_header(h, at, "footer", h->gd_at[0], WR_ROLE_NEEDED);
    return put_marker(h, at + SECTOR, 0, 0);
}

void wr_put_stream(const struct wr_spec *spec, struct wr_file *f, uint64_t disk_off, uint64_t size,
                   uint32_t unit, const char *text)
{
    const struct wr_knobs *k = &spec->knobs;
    struct hosted h;
    uint64_t at, i;

    hosted_init(&h, spec, f, disk_off, size, unit);
    h.flags |= FLAG_DEFL | (k->no_markers ? 0 : FLAG_MARKER);
    h.version = 3;
    place_text(&h, text, 1);
    at = 1 + h.desc_sectors;
    if (k->no_footer || k->no_markers) {
        h.flags |= k->no_redundant ? 0 : FLAG_RGD;
        h.overhead = wr_up(place_tables(&h, at), unit / SECTOR);
        at = h.overhead * SECTOR;
        for (i = 0; i < h.n_grains; i++)
            if (is_stored(&h, i))
                at = put_grain(&h, i, at);
        wr_grow(f, at);
        put_header(&h, 0, "header", h.gd_at[0], WR_ROLE_NEEDED);
        put_copies(&h);
        if (!k->no_markers)
            at = put_marker(&h, at, 0, 0);
    } else {
        h.overhead = wr_up(at, 128);
        at = put_streamed(&h, h.overhead * SECTOR);
        put_header(&h, 0, "header", GD_AT_END, WR_ROLE_SPARE); /* the footer counts */
    }
    put_text(&h, text);
    wr_fill(f, at, k->tail_pad, 0);
    free(h.gte);
}
