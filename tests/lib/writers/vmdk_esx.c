/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extents of ESX: COWD ("ESX Server Sparse Extents" of VMware's Virtual Disk Format, libyal's VMDK
 * document) and seSparse (not documented by VMware; the facts are those that qemu's reader states).
 */
#include "priv.h"

#include <stdio.h>
#include <stdlib.h>

#define SECTOR 512u

/* ---- COWD ---- */

#define COWD_GTES  4096u
#define COWD_GD_AT 4u
#define COWD_TABLE (COWD_GTES * 4u)

static void cowd_header(const struct wr_spec *spec, struct wr_file *f, uint64_t size, uint32_t unit,
                        uint64_t n_tables)
{
    enum wr_role d = WR_ROLE_DEFINES;

    wr_mark(f, WR_MARK_HEADER, WR_ROLE_NEEDED, "header", 0, 0, 2048);
    wr_put(f, 0, "COWD", 4);
    wr_le(f, WR_ROLE_NEEDED, "header.magic", 0, 4, 0x44574f43);
    wr_le(f, d, "header.version", 4, 4, 1);
    wr_le(f, WR_ROLE_IGNORED, "header.flags", 8, 4, 3);
    wr_le(f, d, "header.capacity", 12, 4, size / SECTOR);
    wr_le(f, d, "header.grain_size", 16, 4, unit / SECTOR);
    wr_le(f, d, "header.gd_offset", 20, 4, COWD_GD_AT)->encoding = WR_ENC_SECTORS;
    wr_le(f, d, "header.gd_entries", 24, 4, n_tables);
    wr_le(f, WR_ROLE_IGNORED, "header.free_sector", 28, 4, 0);
    if (spec->parent && spec->knobs.cowd_parent_name) { /* the union of a child */
        wr_put(f, 32, spec->parent->name, strlen(spec->parent->name));
        wr_le(f, WR_ROLE_IGNORED, "header.parent_generation", 1056, 4, 7);
    } else if (!spec->parent) {
        wr_number(f, 32, 4, false, size / SECTOR / 16 / 63 + 1);
        wr_number(f, 36, 4, false, 16);
        wr_number(f, 40, 4, false, 63);
    }
    wr_le(f, WR_ROLE_IGNORED, "header.generation", 1060, 4, 1);
    wr_le(f, WR_ROLE_IGNORED, "header.saved_generation", 1636, 4, 1);
    wr_le(f, WR_ROLE_IGNORED, "header.unclean", 1648, 4, 0);
}

/* A grain's table entry is 0 (not here) or its sector: there are no zeroed grains. */
static bool cowd_stored(const struct wr_spec *spec, const struct wr_file *f, uint64_t off,
                        uint64_t len)
{
    enum wr_state state = wr_unit_state(spec, off, len);

    if (state == WR_MIXED)
        wr_die("%s: a grain at %llu is partly the parent's: align the runs", f->name,
               (unsigned long long)off);
    return state != WR_ABSENT;
}

static void put_data(const struct wr_spec *spec, struct wr_file *f, uint64_t index, uint64_t at,
                     uint64_t off, uint64_t len)
{
    struct wr_mark *m;

    wr_grow(f, at + len);
    wr_local_bytes(spec, off, f->bytes + at, len);
    m = wr_mark(f, WR_MARK_DATA, WR_ROLE_NEEDED, "grain", index, at, len);
    m->disk_off = off;
    m->disk_len = len;
}

void wr_put_cowd(const struct wr_spec *spec, struct wr_file *f, uint64_t disk_off, uint64_t size,
                 uint32_t unit)
{
    uint64_t n = (size + unit - 1) / unit, n_tables = (n + COWD_GTES - 1) / COWD_GTES, i, used = 0;
    uint64_t tables_at = COWD_GD_AT * SECTOR + wr_up(4 * n_tables, SECTOR), total, *places;
    uint64_t data_at, table_no = 0, *table_of = wr_alloc(n_tables, sizeof(*table_of));
    bool *stored = wr_alloc(n, sizeof(*stored));

    wr_grow(f, tables_at);
    for (i = 0; i < n; i++) {
        uint64_t off = i * unit, len = size - off < unit ? size - off : unit;

        stored[i] = cowd_stored(spec, f, disk_off + off, len);
        used += stored[i];
        if (stored[i] && !table_of[i / COWD_GTES]) /* tables exist where they are needed */
            table_of[i / COWD_GTES] = tables_at + COWD_TABLE * table_no++;
    }
    data_at = tables_at + COWD_TABLE * table_no;
    places = wr_places(&spec->knobs, used, &total);
    wr_grow(f, data_at + total * unit);
    cowd_header(spec, f, size, unit, n_tables);
    wr_mark(f, WR_MARK_TABLE, WR_ROLE_NEEDED, "gd", 0, COWD_GD_AT * SECTOR, 4 * n_tables);
    for (i = 0; i < n_tables; i++) {
        uint64_t off = i * COWD_GTES * unit, len = (uint64_t)COWD_GTES * unit;
        struct wr_mark *m;

        wr_number(f, COWD_GD_AT * SECTOR + 4 * i, 4, false, table_of[i] / SECTOR);
        len = size - off < len ? size - off : len;
        wr_entry(f, WR_ROLE_NEEDED, WR_ENC_SECTORS, "ed", i, COWD_GD_AT * SECTOR + 4 * i, 4, false,
                 disk_off + off, len);
        if (!table_of[i])
            continue;
        m = wr_mark(f, WR_MARK_TABLE, WR_ROLE_NEEDED, "gt", i, table_of[i], COWD_TABLE);
        m->disk_off = disk_off + off;
        m->disk_len = len;
    }
    for (i = 0, used = 0; i < n; i++) {
        uint64_t off = i * unit, len = size - off < unit ? size - off : unit, at = 0;
        uint64_t entry = table_of[i / COWD_GTES] + 4 * (i % COWD_GTES);

        if (!table_of[i / COWD_GTES])
            continue;
        if (stored[i]) {
            at = data_at + places[used++] * unit;
            put_data(spec, f, i, at, disk_off + off, len);
        }
        wr_number(f, entry, 4, false, at / SECTOR);
        wr_entry(f, WR_ROLE_NEEDED, WR_ENC_SECTORS, "et", i, entry, 4, false, disk_off + off, len);
    }
    for (i = 0; spec->knobs.gap && i < total; i++)
        if (wr_place_is_gap(places, used, i))
            wr_junk(f, data_at + i * unit, unit < 4096 ? unit : 4096, i);
    wr_set(f, wr_mark_named(f, "header.free_sector", 0), wr_up(f->len, SECTOR) / SECTOR);
    free(places);
    free(table_of);
    free(stored);
}

/* ---- seSparse ---- */

#define SE_GTES    4096u
#define SE_TABLE   (64u * SECTOR)
#define SE_GRAIN   4096u
#define SE_JOURNAL 8u /* sectors; products have 2048 and more */

enum { SE_NONE = 0, SE_UNMAPPED = 1, SE_ZERO = 2, SE_ALLOCATED = 3 };

struct se {
    const struct wr_spec *spec;
    struct wr_file *f;
    uint64_t disk_off, size, n, n_tables, n_used_tables, n_stored;
    uint64_t gd_at, gd_sectors, gt_at, free_at, backmap_at, grains_at; /* sectors */
    uint64_t *table_no;                                                /* number + 1, 0 = none */
    uint64_t *places;                                                  /* of the stored grains */
    uint64_t n_places;
};

static uint64_t se_len(const struct se *s, uint64_t grain)
{
    uint64_t left = s->size - grain * SE_GRAIN;

    return left < SE_GRAIN ? left : SE_GRAIN;
}

static unsigned se_type(const struct se *s, uint64_t grain)
{
    switch (wr_unit_state(s->spec, s->disk_off + grain * SE_GRAIN, se_len(s, grain))) {
    case WR_ABSENT:
        return SE_NONE;
    case WR_UNMAPPED:
        return SE_UNMAPPED;
    case WR_ZEROS:
    case WR_UNDEFINED:
        return SE_ZERO;
    case WR_DATA:
    case WR_NOACCESS:
        return SE_ALLOCATED;
    }
    wr_die("%s: grain %llu is partly the parent's: align the runs to 4096", s->f->name,
           (unsigned long long)grain);
}

static void se_headers(const struct se *s)
{
    const uint64_t tables = s->n_used_tables ? s->n_used_tables : 1;
    const struct {
        const char *name;
        uint64_t v;
        enum wr_role role;
        bool place;
    } v[] = {{"magic", 0xcafebabe, WR_ROLE_NEEDED, false},
             {"version", UINT64_C(0x200000001), WR_ROLE_NEEDED, false},
             {"capacity", s->size / SECTOR, WR_ROLE_DEFINES, false},
             {"grain_size", SE_GRAIN / SECTOR, WR_ROLE_NEEDED, false},
             {"gt_size", SE_TABLE / SECTOR, WR_ROLE_NEEDED, false},
             {"flags", 0, WR_ROLE_DEFINES, false},
             {"reserved1", 0, WR_ROLE_DEFINES, false},
             {"reserved2", 0, WR_ROLE_DEFINES, false},
             {"reserved3", 0, WR_ROLE_DEFINES, false},
             {"reserved4", 0, WR_ROLE_DEFINES, false},
             {"volatile_offset", 1, WR_ROLE_DEFINES, true},
             {"volatile_size", 1, WR_ROLE_IGNORED, false},
             {"journal_header_offset", 2, WR_ROLE_IGNORED, true},
             {"journal_header_size", 2, WR_ROLE_IGNORED, false},
             {"journal_offset", 4, WR_ROLE_IGNORED, true},
             {"journal_size", SE_JOURNAL, WR_ROLE_IGNORED, false},
             {"gd_offset", s->gd_at, WR_ROLE_DEFINES, true},
             {"gd_size", s->gd_sectors, WR_ROLE_DEFINES, false},
             {"gt_offset", s->gt_at, WR_ROLE_DEFINES, true},
             {"gts_size", tables * SE_TABLE / SECTOR, WR_ROLE_DEFINES, false},
             {"free_bitmap_offset", s->free_at, WR_ROLE_IGNORED, true},
             {"free_bitmap_size", s->backmap_at - s->free_at, WR_ROLE_IGNORED, false},
             {"backmap_offset", s->backmap_at, WR_ROLE_IGNORED, true},
             {"backmap_size", s->grains_at - s->backmap_at, WR_ROLE_IGNORED, false},
             {"grains_offset", s->grains_at, WR_ROLE_DEFINES, true},
             {"grains_size", s->n_places * SE_GRAIN / SECTOR, WR_ROLE_DEFINES, false}};
    struct wr_mark *m;
    unsigned i;
    char n[48];

    wr_mark(s->f, WR_MARK_HEADER, WR_ROLE_NEEDED, "header", 0, 0, SECTOR);
    for (i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
        (void)snprintf(n, sizeof(n), "header.%s", v[i].name);
        m = wr_le(s->f, v[i].role, n, 8 * i, 8, v[i].v);
        m->encoding = v[i].place ? WR_ENC_SECTORS : WR_ENC_NUMBER;
    }
    wr_mark(s->f, WR_MARK_HEADER, WR_ROLE_NEEDED, "volatile", 0, SECTOR, SECTOR);
    wr_le(s->f, WR_ROLE_NEEDED, "volatile.magic", SECTOR, 8, 0xcafecafe);
    wr_le(s->f, WR_ROLE_IGNORED, "volatile.free_gt", SECTOR + 8, 8, s->n_used_tables);
    wr_le(s->f, WR_ROLE_IGNORED, "volatile.next_txn", SECTOR + 16, 8, 1);
    wr_le(s->f, WR_ROLE_DEFINES, "volatile.replay_journal", SECTOR + 24, 8,
          s->spec->knobs.replay_journal);
}

static void se_directory(const struct se *s)
{
    uint64_t i, span = (uint64_t)SE_GTES * SE_GRAIN;

    wr_mark(s->f, WR_MARK_TABLE, WR_ROLE_NEEDED, "gd", 0, s->gd_at * SECTOR, 8 * s->n_tables);
    for (i = 0; i < s->n_tables; i++) {
        uint64_t off = i * span, len = s->size - off < span ? s->size - off : span;
        struct wr_mark *m;

        wr_number(s->f, s->gd_at * SECTOR + 8 * i, 8, false,
                  s->table_no[i] ? UINT64_C(1) << 60 | (s->table_no[i] - 1) : 0);
        wr_entry(s->f, WR_ROLE_NEEDED, WR_ENC_SE_GDE, "ed", i, s->gd_at * SECTOR + 8 * i, 8, false,
                 s->disk_off + off, len);
        if (!s->table_no[i])
            continue;
        m = wr_mark(s->f, WR_MARK_TABLE, WR_ROLE_NEEDED, "gt", i,
                    s->gt_at * SECTOR + (s->table_no[i] - 1) * SE_TABLE, SE_TABLE);
        m->disk_off = s->disk_off + off;
        m->disk_len = len;
    }
}

static void se_grains(const struct se *s)
{
    uint64_t i, k = 0;

    wr_grow(s->f, s->grains_at * SECTOR + s->n_places * SE_GRAIN);
    for (i = 0; i < s->n; i++) {
        uint64_t table = s->table_no[i / SE_GTES], at, entry, off = s->disk_off + i * SE_GRAIN;
        unsigned type = se_type(s, i);

        if (!table)
            continue;
        at = s->gt_at * SECTOR + (table - 1) * SE_TABLE + 8 * (i % SE_GTES);
        entry = (uint64_t)type << 60;
        if (type == SE_ALLOCATED) {
            uint64_t g = s->places[k++];

            /* the low 12 bits of the grain's number come first, in bits 48-59 */
            entry |= (g & 0xfff) << 48 | g >> 12;
            put_data(s->spec, s->f, i, s->grains_at * SECTOR + g * SE_GRAIN, off, se_len(s, i));
        }
        wr_number(s->f, at, 8, false, entry);
        wr_entry(s->f, WR_ROLE_NEEDED, WR_ENC_SE_GTE, "et", i, at, 8, false, off, se_len(s, i));
    }
    for (i = 0; s->spec->knobs.gap && i < s->n_places; i++)
        if (wr_place_is_gap(s->places, k, i))
            wr_junk(s->f, s->grains_at * SECTOR + i * SE_GRAIN, SE_GRAIN, i);
}

void wr_put_sesparse(const struct wr_spec *spec, struct wr_file *f, uint64_t disk_off,
                     uint64_t size, uint32_t unit)
{
    struct se s = {.spec = spec, .f = f, .disk_off = disk_off, .size = size};
    uint64_t i;

    if (unit != SE_GRAIN)
        wr_die("%s: seSparse grains are 4096 bytes", f->name);
    s.n = (size + SE_GRAIN - 1) / SE_GRAIN;
    s.n_tables = (s.n + SE_GTES - 1) / SE_GTES;
    s.table_no = wr_alloc(s.n_tables, sizeof(*s.table_no));
    for (i = 0; i < s.n; i++) {
        unsigned type = se_type(&s, i);

        s.n_stored += type == SE_ALLOCATED;
        if (type != SE_NONE)
            s.table_no[i / SE_GTES] = 1;
    }
    for (i = 0; i < s.n_tables; i++) /* with shuffle, the last table of the disk comes first */
        if (s.table_no[spec->knobs.shuffle ? s.n_tables - 1 - i : i])
            s.table_no[spec->knobs.shuffle ? s.n_tables - 1 - i : i] = ++s.n_used_tables;
    s.places = wr_places(&spec->knobs, s.n_stored, &s.n_places);
    if (s.n_places < s.n) /* products make room for every grain of the disk */
        s.n_places = s.n;
    s.gd_at = 4 + SE_JOURNAL;
    s.gd_sectors = wr_up(8 * s.n_tables, SECTOR) / SECTOR;
    s.gt_at = s.gd_at + s.gd_sectors;
    s.free_at = s.gt_at + (s.n_used_tables ? s.n_used_tables : 1) * (SE_TABLE / SECTOR);
    s.backmap_at = s.free_at + wr_up(s.n_places / 8 + 1, SECTOR) / SECTOR;
    s.grains_at = wr_up(s.backmap_at + wr_up(8 * s.n_places, SECTOR) / SECTOR, SE_GRAIN / SECTOR);
    wr_grow(f, s.grains_at * SECTOR);
    se_headers(&s);
    se_directory(&s);
    se_grains(&s);
    free(s.table_no);
    free(s.places);
}
