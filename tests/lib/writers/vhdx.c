/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VHDX after [MS-VHDX]: fixed, dynamic and differencing, 512- and 4096-byte sectors.  Layout, after
 * the file identifier, headers and region tables of the first MiB:
 *
 *     log (1 MiB) | metadata region (1 MiB) | BAT region | payload and sector bitmap blocks …
 */
#include "priv.h"

#include <stdio.h>
#include <stdlib.h>

#define KIB       UINT64_C(1024)
#define MIB       (1024 * KIB)
#define LOG_OFF   MIB
#define META_OFF  (2 * MIB)
#define BAT_OFF   (3 * MIB)
#define ITEMS_OFF (64 * KIB)
#define SB_LEN    MIB
#define PRESENT   6u /* 2.5.1: PAYLOAD_BLOCK_FULLY_PRESENT, SB_BLOCK_PRESENT */
#define PARTIAL   7u

/* A GUID as it is printed, into the bytes of the file. */
static void guid(struct wr_file *f, uint64_t off, const char *text)
{
    static const uint8_t order[16] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};
    uint8_t raw[16] = {0};
    unsigned i = 0, nibble = 0;

    for (; *text && i < 16; text++) {
        unsigned v;

        if (*text == '-')
            continue;
        v = (unsigned)(*text <= '9' ? *text - '0' : (*text | 0x20) - 'a' + 10);
        raw[i] = (uint8_t)(raw[i] << 4 | v);
        if (++nibble % 2 == 0)
            i++;
    }
    wr_grow(f, off + 16);
    for (i = 0; i < 16; i++)
        f->bytes[off + i] = raw[order[i]];
}

static void guid_text(const uint8_t g[16], char out[40])
{
    (void)snprintf(out, 40,
                   "{%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x}", g[3],
                   g[2], g[1], g[0], g[5], g[4], g[7], g[6], g[8], g[9], g[10], g[11], g[12], g[13],
                   g[14], g[15]);
}

static uint32_t sector_of(const struct wr_spec *spec)
{
    return spec->sector ? spec->sector : 512;
}

/* 2.2.2 Headers */
static void put_header(const struct wr_spec *spec, struct wr_file *f, unsigned copy,
                       const struct wr_vhdx_place *place)
{
    uint64_t off = (copy + 1) * 64 * KIB, sequence = 8;
    bool newer = spec->knobs.newer == WR_NEWER_EQUAL ||
                 copy == (spec->knobs.newer == WR_NEWER_SECOND ? 1u : 0u);
    const bool *bad = spec->knobs.bad_header;
    bool used = newer && !bad[copy];
    /* the other one is spare only when it says the same */
    enum wr_role role = WR_ROLE_IGNORED;
    uint8_t id[16];
    char n[48];

    if (used || bad[!copy])
        role = spec->knobs.newer == WR_NEWER_EQUAL ? WR_ROLE_SPARE : WR_ROLE_NEEDED;
    if (!newer)
        sequence = 7;
#define N(field) (snprintf(n, sizeof(n), "header%u.%s", copy + 1, field) < 0 ? "" : n)
    (void)snprintf(n, sizeof(n), "header%u", copy + 1);
    wr_mark(f, WR_MARK_HEADER, role, n, 0, off, 4 * KIB);
    wr_le(f, role, N("signature"), off, 4, 0x64616568);
    /* without the newer header the older one counts, and that one knows of no log */
    wr_checksum(f,
                used && !bad[!copy] && spec->knobs.log != WR_LOG_EMPTY &&
                        spec->knobs.newer != WR_NEWER_EQUAL
                    ? WR_ROLE_DEFINES
                    : role,
                N("checksum"), 0, off + 4, false, off, 4 * KIB);
    wr_le(f, WR_ROLE_DEFINES, N("sequence"), off + 8, 8, sequence);
    wr_guid(spec, id);
    id[0] ^= 0x55;
    wr_put(f, off + 16, id, 16);
    id[0] ^= 0x55;
    if (!newer) /* the older header is from before the disk was written to last */
        id[1] ^= 0x77;
    wr_put(f, off + 32, id, 16);
    wr_mark(f, WR_MARK_FIELD, WR_ROLE_IGNORED, N("data_guid"), 0, off + 32, 16)->width = 16;
    if (newer && spec->knobs.log != WR_LOG_EMPTY)
        wr_put(f, off + 48, place->log_guid, 16);
    wr_mark(f, WR_MARK_FIELD, WR_ROLE_DEFINES, N("log_guid"), 0, off + 48, 16)->width = 16;
    wr_le(f, WR_ROLE_DEFINES, N("log_version"), off + 64, 2, 0);
    wr_le(f, role, N("version"), off + 66, 2, 1);
    wr_le(f, WR_ROLE_DEFINES, N("log_length"), off + 68, 4, place->log_len);
    wr_le(f, WR_ROLE_DEFINES, N("log_offset"), off + 72, 8, place->log_off)->encoding =
        WR_ENC_BYTES;
#undef N
}

/* 2.2.3 Region Table */
static void put_regions(const struct wr_spec *spec, struct wr_file *f, unsigned copy,
                        const struct wr_vhdx_place *place)
{
    uint64_t off = (copy + 3) * 64 * KIB;
    enum wr_role role = spec->knobs.bad_region[!copy] ? WR_ROLE_NEEDED : WR_ROLE_SPARE;
    /* with a right checksum the first table is the one that counts */
    enum wr_role defines = copy == 0 || role == WR_ROLE_NEEDED ? WR_ROLE_DEFINES : WR_ROLE_IGNORED;
    char n[48];

#define N(field) (snprintf(n, sizeof(n), "region%u.%s", copy + 1, field) < 0 ? "" : n)
    (void)snprintf(n, sizeof(n), "region%u", copy + 1);
    wr_mark(f, WR_MARK_HEADER, role, n, 0, off, 64 * KIB);
    wr_le(f, role, N("signature"), off, 4, 0x69676572);
    wr_checksum(f, role, N("checksum"), 0, off + 4, false, off, 64 * KIB);
    wr_le(f, defines, N("count"), off + 8, 4, 2);
    guid(f, off + 16, "2DC27766-F623-4200-9D64-115E9BFD4A08"); /* BAT */
    wr_le(f, defines, N("bat_offset"), off + 32, 8, place->bat_off)->encoding = WR_ENC_BYTES;
    wr_le(f, defines, N("bat_length"), off + 40, 4, place->bat_len);
    wr_le(f, defines, N("bat_required"), off + 44, 4, 1);
    guid(f, off + 48, "8B7CA206-4790-4B9A-B8FE-575F050F886E"); /* metadata */
    wr_le(f, defines, N("meta_offset"), off + 64, 8, place->meta_off)->encoding = WR_ENC_BYTES;
    wr_le(f, defines, N("meta_length"), off + 72, 4, place->meta_len);
    wr_le(f, defines, N("meta_required"), off + 76, 4, 1);
#undef N
}

/* ---- 2.6 metadata region ---- */

struct meta {
    struct wr_file *f;
    uint64_t region; /* offset of the region */
    unsigned n;
    uint64_t next; /* offset of the next item, from the region */
};

/* One table entry; returns the item's offset in the file. */
static uint64_t put_item(struct meta *m, const char *id, const char *name, uint64_t len,
                         uint32_t flags)
{
    uint64_t entry = m->region + 32 + 32 * m->n, at = m->region + m->next;
    char n[48];

    guid(m->f, entry, id);
    (void)snprintf(n, sizeof(n), "meta.%s.offset", name);
    wr_le(m->f, WR_ROLE_DEFINES, n, entry + 16, 4, m->next);
    (void)snprintf(n, sizeof(n), "meta.%s.length", name);
    wr_le(m->f, WR_ROLE_DEFINES, n, entry + 20, 4, len);
    (void)snprintf(n, sizeof(n), "meta.%s.flags", name);
    wr_le(m->f, WR_ROLE_DEFINES, n, entry + 24, 4, flags);
    m->n++;
    m->next += wr_up(len, 8);
    wr_grow(m->f, at + len);
    return at;
}

struct locator {
    uint8_t bytes[4096];
    unsigned n;  /* entries */
    size_t next; /* where the next string goes */
};

static void locator_add(struct locator *l, const char *key, const char *value)
{
    uint8_t *entry = l->bytes + 20 + 12 * l->n++;
    size_t key_len = wr_utf16(key, false, l->bytes + l->next, sizeof(l->bytes) - l->next);
    size_t value_off = l->next + key_len;
    size_t value_len = wr_utf16(value, false, l->bytes + value_off, sizeof(l->bytes) - value_off);
    const uint64_t v[4] = {l->next, value_off, key_len, value_len};
    unsigned i;

    for (i = 0; i < 4; i++)
        entry[4 * i - (i == 3 ? 2 : 0)] = (uint8_t)v[i],
                                    entry[4 * i - (i == 3 ? 2 : 0) + 1] = (uint8_t)(v[i] >> 8);
    l->next = value_off + value_len;
}

/* 2.6.2.6 Parent Locator */
static void put_locator(const struct wr_spec *spec, struct meta *m)
{
    const struct wr_knobs *k = &spec->knobs;
    struct locator *l = wr_alloc(1, sizeof(*l));
    char value[600];
    uint8_t id[16];
    uint64_t at;

    l->next = 20 + 12 * 6;
    wr_guid(spec->parent, id);
    guid_text(k->linkage ? k->linkage : id, value);
    locator_add(l, "parent_linkage", value);
    if (k->linkage2) {
        guid_text(k->linkage2, value);
        locator_add(l, "parent_linkage2", value);
    }
    (void)snprintf(value, sizeof(value), ".\\%s", spec->parent->name);
    locator_add(l, "relative_path", k->hint_relative ? k->hint_relative : value);
    if (k->hint_volume)
        locator_add(l, "volume_path", k->hint_volume);
    (void)snprintf(value, sizeof(value), "\\\\?\\C:\\vm\\%s", spec->parent->name);
    locator_add(l, "absolute_win32_path", k->hint_absolute ? k->hint_absolute : value);
    at = put_item(m, "A8D35F2D-B30B-454D-ABF7-D3D84834AB0C", "locator", l->next, 4);
    wr_put(m->f, at, l->bytes, l->next);
    guid(m->f, at, "B04AEFB7-D19E-4A81-B789-25B8E9445913");
    wr_le(m->f, WR_ROLE_DEFINES, "locator.count", at + 18, 2, l->n);
    wr_mark(m->f, WR_MARK_TEXT, WR_ROLE_DEFINES, "locator", 0, at + 20, l->next - 20);
    free(l);
}

static void put_metadata(const struct wr_spec *spec, struct wr_file *f, uint64_t off)
{
    struct meta m = {.f = f, .region = off, .next = ITEMS_OFF};
    uint32_t physical = spec->knobs.physical ? spec->knobs.physical : 4096;
    uint32_t flags = spec->kind == WR_VHDX_FIXED ? 1 : spec->kind == WR_VHDX_DIFF ? 2 : 0;
    uint8_t id[16];
    uint64_t at;

    wr_grow(f, off + MIB);
    wr_mark(f, WR_MARK_HEADER, WR_ROLE_NEEDED, "meta", 0, off, 32 + 32 * 6);
    wr_le(f, WR_ROLE_NEEDED, "meta.signature", off, 8, UINT64_C(0x617461646174656d));
    at = put_item(&m, "CAA16737-FA36-4D43-B3B6-33F0AA44E76B", "params", 8, 4);
    wr_le(f, WR_ROLE_DEFINES, "params.block_size", at, 4, wr_unit(spec));
    wr_le(f, WR_ROLE_DEFINES, "params.flags", at + 4, 4, flags);
    at = put_item(&m, "2FA54224-CD1B-4876-B211-5DBED83BF4B8", "size", 8, 6);
    wr_le(f, WR_ROLE_DEFINES, "size", at, 8, spec->size);
    at = put_item(&m, "BECA12AB-B2E6-4523-93EF-C309E000C746", "disk_id", 16, 6);
    wr_guid(spec, id);
    id[3] ^= 0x3c;
    wr_put(f, at, id, 16);
    at = put_item(&m, "8141BF1D-A96F-4709-BA47-F233A8FAAB5F", "logical", 4, 6);
    wr_le(f, WR_ROLE_DEFINES, "logical", at, 4, sector_of(spec));
    at = put_item(&m, "CDA348C7-445D-4471-9CC9-E9885251C556", "physical", 4, 6);
    wr_le(f, WR_ROLE_DEFINES, "physical", at, 4, physical);
    if (spec->kind == WR_VHDX_DIFF && spec->parent)
        put_locator(spec, &m);
    wr_le(f, WR_ROLE_DEFINES, "meta.count", off + 10, 2, m.n);
}

/* ---- 2.5 BAT and blocks ---- */

struct blocks {
    const struct wr_spec *spec;
    struct wr_file *f;
    uint64_t block, ratio, n_payload, n_chunks;
    uint64_t bat_off, data_off;
    uint64_t *places; /* in MiB; one for each stored thing */
    uint64_t used;
};

static uint64_t entry_off(const struct blocks *b, uint64_t payload)
{
    return b->bat_off + 8 * (payload + payload / b->ratio);
}

/* Bit 0 of byte 0 is the first sector of the chunk; 1 = in this file. */
static void set_bits(const struct blocks *b, uint64_t at, uint64_t index, bool all)
{
    uint32_t sector = sector_of(b->spec);
    uint64_t per = b->block / sector, first = index % b->ratio * per, i;

    for (i = 0; i < per; i++) {
        uint64_t off = index * b->block + i * sector;

        if (all || (off < b->spec->size && wr_local(b->spec, off, NULL, NULL) != WR_ABSENT))
            b->f->bytes[at + (first + i) / 8] |= (uint8_t)(1u << (first + i) % 8);
    }
}

static uint64_t next_place(struct blocks *b, uint64_t len)
{
    uint64_t at = b->data_off + b->places[b->used++] * (b->block > SB_LEN ? b->block : SB_LEN);

    wr_grow(b->f, at + len);
    return at;
}

static uint64_t disk_len_of(const struct blocks *b, uint64_t off, uint64_t len)
{
    return b->spec->size - off < len ? b->spec->size - off : len;
}

/* Returns whether the block needs the chunk's bitmap. */
static bool put_block(struct blocks *b, uint64_t i)
{
    const struct wr_spec *spec = b->spec;
    enum wr_state state = wr_unit_state(spec, i * b->block, b->block);
    uint64_t off = i * b->block, len = disk_len_of(b, off, b->block), entry = 0, k;
    bool partial = state == WR_MIXED;
    struct wr_mark *m;

    if (spec->kind == WR_VHDX_FIXED)
        state = WR_DATA;
    if (state == WR_DATA && spec->knobs.full_as_partial && spec->kind == WR_VHDX_DIFF)
        partial = true;
    if (state == WR_UNDEFINED || state == WR_ZEROS || state == WR_UNMAPPED) {
        entry = state == WR_UNDEFINED ? 1 : state == WR_ZEROS ? 2 : 3;
    } else if (state != WR_ABSENT) {
        uint64_t at = next_place(b, b->block);

        entry = at | (partial ? PARTIAL : PRESENT);
        for (k = 0; spec->knobs.junk && partial && k < len; k += 512)
            if (wr_local(spec, off + k, NULL, NULL) == WR_ABSENT)
                wr_junk(b->f, at + k, 512, i + k);
        wr_local_bytes(spec, off, b->f->bytes + at, len);
        m = wr_mark(b->f, WR_MARK_DATA, WR_ROLE_NEEDED, "block", i, at, len);
        m->disk_off = off;
        m->disk_len = len;
    }
    wr_number(b->f, entry_off(b, i), 8, false, entry);
    wr_entry(b->f, WR_ROLE_NEEDED, WR_ENC_VHDX, "bat", i, entry_off(b, i), 8, false, off, len);
    return partial;
}

/* The bitmap block of a chunk and its BAT entry. */
static void put_chunk_bitmap(struct blocks *b, uint64_t chunk, const bool *partial)
{
    uint64_t i, first = chunk * b->ratio, at = 0, off = first * b->block;
    uint64_t end = first + b->ratio < b->n_payload ? first + b->ratio : b->n_payload;
    uint64_t entry = b->bat_off + 8 * (chunk * (b->ratio + 1) + b->ratio);
    bool needed = b->spec->knobs.sb_always;
    struct wr_mark *m;

    for (i = first; i < end; i++)
        needed = needed || partial[i];
    if (needed) {
        at = next_place(b, SB_LEN);
        for (i = first; i < end; i++) {
            enum wr_state state = wr_unit_state(b->spec, i * b->block, b->block);

            if (state != WR_ABSENT)
                set_bits(b, at, i, state != WR_MIXED);
        }
        m = wr_mark(b->f, WR_MARK_BITMAP, WR_ROLE_NEEDED, "bitmap", chunk, at, SB_LEN);
        m->disk_off = off;
        m->disk_len = disk_len_of(b, off, b->ratio * b->block);
    }
    wr_number(b->f, entry, 8, false, needed ? at | PRESENT : 0);
    wr_entry(b->f, needed ? WR_ROLE_NEEDED : WR_ROLE_IGNORED, WR_ENC_VHDX, "sb", chunk, entry, 8,
             false, off, disk_len_of(b, off, b->ratio * b->block));
}

static void put_blocks(struct blocks *b)
{
    uint64_t i, n = 0, total;
    bool diff = b->spec->kind == WR_VHDX_DIFF, *partial = wr_alloc(b->n_payload, sizeof(bool));

    for (i = 0; i < b->n_payload;
         i++) { /* an upper bound is enough: every place is used or a hole */
        enum wr_state s = wr_unit_state(b->spec, i * b->block, b->block);

        n += s == WR_DATA || s == WR_MIXED || b->spec->kind == WR_VHDX_FIXED;
    }
    for (i = 0; diff && i < b->n_chunks; i++)
        n++;
    b->places = wr_places(&b->spec->knobs, n, &total);
    for (i = 0; i < b->n_payload; i++)
        partial[i] = put_block(b, i);
    for (i = 0; diff && i < b->n_chunks; i++)
        put_chunk_bitmap(b, i, partial);
    for (i = 0; b->spec->knobs.gap && i < total; i++)
        if (wr_place_is_gap(b->places, n, i))
            wr_junk(b->f, b->data_off + i * (b->block > SB_LEN ? b->block : SB_LEN), 4096, i);
    free(partial);
    free(b->places);
}

struct wr_file *wr_build_vhdx(const struct wr_spec *spec, struct wr_dir *dir)
{
    struct wr_file *f = wr_file_new(dir, spec->name);
    struct wr_vhdx_place place = {.log_off = LOG_OFF,
                                  .log_len = MIB,
                                  .meta_off = META_OFF,
                                  .meta_len = MIB,
                                  .bat_off = BAT_OFF,
                                  .log_guid = {1, 2, 3, 4, 5, 6, 7, 8, 0x89, 10, 11, 12, 13, 14}};
    struct blocks b = {.spec = spec, .f = f, .block = wr_unit(spec), .bat_off = BAT_OFF};
    uint64_t entries;
    unsigned i;

    if (b.block < MIB || (b.block & (b.block - 1)) || spec->size % sector_of(spec))
        wr_die("%s: block of %llu bytes or size", spec->name, (unsigned long long)b.block);
    b.ratio = (UINT64_C(1) << 23) * sector_of(spec) / b.block; /* 2.5: chunk ratio */
    b.n_payload = (spec->size + b.block - 1) / b.block;
    b.n_chunks = (b.n_payload + b.ratio - 1) / b.ratio;
    entries = spec->kind == WR_VHDX_DIFF ? b.n_chunks * (b.ratio + 1)
                                         : b.n_payload + (b.n_payload - 1) / b.ratio;
    place.bat_len = wr_up(8 * entries, MIB);
    b.data_off = wr_up(BAT_OFF + place.bat_len, b.block);
    wr_put(f, 0, "vhdxfile", 8);
    wr_mark(f, WR_MARK_HEADER, WR_ROLE_NEEDED, "identifier", 0, 0, 8);
    wr_grow(f, 64 * KIB);
    (void)wr_utf16("writers 1.0", false, f->bytes + 8, 512);
    wr_grow(f, b.data_off);
    for (i = 0; i < 2; i++)
        put_header(spec, f, i, &place);
    for (i = 0; i < 2; i++)
        put_regions(spec, f, i, &place);
    put_metadata(spec, f, META_OFF);
    wr_mark(f, WR_MARK_TABLE, WR_ROLE_NEEDED, "bat_table", 0, BAT_OFF, 8 * entries);
    put_blocks(&b);
    wr_fix_checksums(f);
    if (spec->knobs.log != WR_LOG_EMPTY)
        wr_vhdx_log(spec, f, &place);
    for (i = 0; i < 2; i++) {
        if (spec->knobs.bad_header[i])
            f->bytes[(i + 1) * 64 * KIB + 4] ^= 0xff;
        if (spec->knobs.bad_region[i])
            f->bytes[(i + 3) * 64 * KIB + 4] ^= 0xff;
    }
    return f;
}
