/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VHD after the "Virtual Hard Disk Image Format Specification" (Microsoft, 2006): fixed, dynamic and
 * differencing.  Layout of the latter two:
 *
 *     copy of the footer | dynamic header | BAT | locator data | blocks (bitmap + data) … | footer
 */
#include "priv.h"

#include <stdio.h>
#include <stdlib.h>

#define FOOTER_LEN 512u
#define HEADER_OFF 512u
#define HEADER_LEN 1024u
#define BAT_OFF    1536u
#define EPOCH_2000 INT64_C(946684800) /* 2000-01-01 UTC */
#define N_LOCATORS 8

/* Appendix "CHS Calculation" of the specification. */
static uint32_t geometry(uint64_t size)
{
    uint64_t total = size / 512, heads, per_track, cyl_heads;

    if (total > 65535u * 16 * 255)
        total = 65535u * 16 * 255;
    if (total >= 65535u * 16 * 63) {
        per_track = 255;
        heads = 16;
        cyl_heads = total / per_track;
    } else {
        per_track = 17;
        cyl_heads = total / per_track;
        heads = (cyl_heads + 1023) / 1024;
        if (heads < 4)
            heads = 4;
        if (cyl_heads >= heads * 1024 || heads > 16) {
            per_track = 31;
            heads = 16;
            cyl_heads = total / per_track;
        }
        if (cyl_heads >= heads * 1024) {
            per_track = 63;
            heads = 16;
            cyl_heads = total / per_track;
        }
    }
    return (uint32_t)(cyl_heads / heads) << 16 | (uint32_t)heads << 8 | (uint32_t)per_track;
}

uint64_t wr_chs_size(uint64_t size)
{
    uint32_t g = geometry(size);

    return (uint64_t)(g >> 16) * (g >> 8 & 0xff) * (g & 0xff) * 512;
}

static uint32_t type_of(const struct wr_spec *spec)
{
    return spec->kind == WR_VHD_FIXED ? 2 : spec->kind == WR_VHD_DYNAMIC ? 3 : 4;
}

static const char *name_of(char *out, size_t room, const char *what, const char *field)
{
    (void)snprintf(out, room, "%s.%s", what, field);
    return out;
}

/* "Hard Disk Footer Format".  `what`: "footer" or "footer2" (the copy at the front). */
static void put_footer(const struct wr_spec *spec, struct wr_file *f, uint64_t off,
                       const char *what, enum wr_role role)
{
    const struct wr_knobs *k = &spec->knobs;
    const char *creator = k->creator ? k->creator : "win ";
    uint64_t current = k->current_size ? k->current_size : spec->size;
    bool by_chs = strcmp(creator, "vpc ") == 0 || strcmp(creator, "qemu") == 0;
    char n[64];
    uint8_t id[16];

    wr_mark(f, WR_MARK_HEADER, role, what, 0, off, FOOTER_LEN);
    wr_fill(f, off, FOOTER_LEN, 0);
    wr_put(f, off, "conectix", 8);
    wr_be(f, role, name_of(n, 64, what, "cookie"), off, 8, 0)->width = 8;
    wr_put(f, off, "conectix", 8);
    wr_be(f, WR_ROLE_IGNORED, name_of(n, 64, what, "features"), off + 8, 4, 2);
    wr_be(f, role, name_of(n, 64, what, "version"), off + 12, 4, 0x10000);
    wr_be(f, role, name_of(n, 64, what, "data_offset"), off + 16, 8,
          spec->kind == WR_VHD_FIXED ? UINT64_MAX : HEADER_OFF);
    wr_be(f, WR_ROLE_IGNORED, name_of(n, 64, what, "time"), off + 24, 4,
          (uint64_t)(wr_time(spec) - EPOCH_2000));
    wr_be(f, WR_ROLE_DEFINES, name_of(n, 64, what, "creator"), off + 28, 4, 0);
    wr_put(f, off + 28, creator, 4);
    wr_be(f, WR_ROLE_IGNORED, name_of(n, 64, what, "creator_version"), off + 32, 4, 0x60002);
    wr_put(f, off + 36, "Wi2k", 4);
    wr_be(f, WR_ROLE_IGNORED, name_of(n, 64, what, "original_size"), off + 40, 8, current);
    wr_be(f, WR_ROLE_DEFINES, name_of(n, 64, what, "current_size"), off + 48, 8, current);
    wr_be(f, by_chs ? WR_ROLE_DEFINES : WR_ROLE_IGNORED, name_of(n, 64, what, "geometry"), off + 56,
          4, geometry(k->chs_size ? k->chs_size : spec->size));
    wr_be(f, WR_ROLE_DEFINES, name_of(n, 64, what, "type"), off + 60, 4, type_of(spec));
    wr_checksum(f, role, name_of(n, 64, what, "checksum"), 0, off + 64, true, off,
                FOOTER_LEN - (k->footer_511 && role == WR_ROLE_NEEDED ? 1 : 0));
    wr_guid(spec, id);
    wr_put(f, off + 68, id, 16);
    wr_mark(f, WR_MARK_FIELD, WR_ROLE_IGNORED, name_of(n, 64, what, "uuid"), 0, off + 68, 16)
        ->width = 16;
    wr_be(f, WR_ROLE_IGNORED, name_of(n, 64, what, "saved_state"), off + 84, 1, 0);
}

/* ---- parent locators ---- */

/* The text of one platform code; returns its bytes. */
static size_t locator_bytes(const struct wr_spec *spec, const char *code, uint8_t *out, size_t room)
{
    const struct wr_knobs *k = &spec->knobs;
    char text[512];
    bool absolute = strcmp(code, "W2ku") == 0 || strcmp(code, "Wi2k") == 0;
    bool wide = strncmp(code, "W2", 2) == 0; /* Wi2k and Wi2r are the older forms in ANSI */

    if (strcmp(code, "MacX") == 0) { /* a file URL in UTF-8 */
        (void)snprintf(text, sizeof(text), "file://localhost/vm/%s", spec->parent->name);
    } else if (absolute) {
        (void)snprintf(text, sizeof(text), "C:\\vm\\%s", spec->parent->name);
        if (k->hint_absolute)
            (void)snprintf(text, sizeof(text), "%s", k->hint_absolute);
    } else {
        (void)snprintf(text, sizeof(text), ".\\%s", spec->parent->name);
        if (k->hint_relative)
            (void)snprintf(text, sizeof(text), "%s", k->hint_relative);
    }
    if (wide)
        return wr_utf16(text, false, out, room);
    memcpy(out, text, strlen(text));
    return strlen(text);
}

/* Writes the locator table and its data from `at`; returns where the data ends. */
static uint64_t put_locators(const struct wr_spec *spec, struct wr_file *f, uint64_t at)
{
    const char *codes = spec->knobs.locators ? spec->knobs.locators : "W2ku W2ru";
    uint8_t text[1024];
    uint64_t i, entry;
    char n[64];

    for (i = 0; i < N_LOCATORS && strlen(codes) >= 4; i++) {
        char code[5] = {0};
        size_t len;

        memcpy(code, codes, 4);
        codes += codes[4] ? 5 : 4;
        len = locator_bytes(spec, code, text, sizeof(text));
        entry = HEADER_OFF + 576 + 24 * i;
        (void)snprintf(n, sizeof(n), "locator.code%u", (unsigned)i);
        wr_be(f, WR_ROLE_IGNORED, n, entry, 4, 0);
        wr_put(f, entry, code, 4);
        (void)snprintf(n, sizeof(n), "locator.space%u", (unsigned)i);
        wr_be(f, WR_ROLE_IGNORED, n, entry + 4, 4, spec->knobs.space_in_sectors ? 1 : 512);
        (void)snprintf(n, sizeof(n), "locator.length%u", (unsigned)i);
        wr_be(f, WR_ROLE_IGNORED, n, entry + 8, 4, len);
        (void)snprintf(n, sizeof(n), "locator.offset%u", (unsigned)i);
        wr_be(f, WR_ROLE_IGNORED, n, entry + 16, 8, at)->encoding = WR_ENC_BYTES;
        wr_fill(f, at, 512, 0);
        wr_put(f, at, text, len);
        wr_mark(f, WR_MARK_TEXT, WR_ROLE_IGNORED, "locator", i, at, len);
        at += 512;
    }
    return at;
}

static void put_parent(const struct wr_spec *spec, struct wr_file *f)
{
    const struct wr_knobs *k = &spec->knobs;
    uint8_t id[16], name[512] = {0};
    uint64_t time = k->no_time ? 0 : (uint64_t)(wr_time(spec->parent) - EPOCH_2000);

    wr_guid(spec->parent, id);
    wr_put(f, HEADER_OFF + 40, id, 16);
    wr_mark(f, WR_MARK_FIELD, WR_ROLE_DEFINES, "dynamic.parent_uuid", 0, HEADER_OFF + 40, 16)
        ->width = 16;
    wr_be(f, WR_ROLE_IGNORED, "dynamic.parent_time", HEADER_OFF + 56, 4, time);
    (void)wr_utf16(k->parent_name_field ? k->parent_name_field : spec->parent->name, true, name,
                   sizeof(name));
    wr_put(f, HEADER_OFF + 64, name, sizeof(name));
    wr_mark(f, WR_MARK_TEXT, WR_ROLE_IGNORED, "dynamic.parent_name", 0, HEADER_OFF + 64, 512);
}

/* ---- blocks ---- */

/* Bitmap: one bit per sector, the first one is the most significant of byte 0; 1 = in this file. */
static void put_bitmap(const struct wr_spec *spec, uint8_t *bitmap, uint64_t disk_off, uint64_t len)
{
    uint64_t i;
    bool mixed = wr_unit_state(spec, disk_off, len) == WR_MIXED;

    for (i = 0; i < len / 512; i++) {
        uint64_t off = disk_off + 512 * i;
        bool present = true;

        if (off < spec->size) {
            enum wr_state state = wr_local(spec, off, NULL, NULL);

            if (mixed)
                present = state != WR_ABSENT;
            else if (spec->knobs.bitmap_zero && spec->kind == WR_VHD_DYNAMIC)
                present = state == WR_DATA;
        }
        if (present)
            bitmap[i / 8] |= (uint8_t)(0x80 >> i % 8);
    }
}

static void put_block(const struct wr_spec *spec, struct wr_file *f, uint64_t index, uint64_t at)
{
    uint32_t block = wr_unit(spec), bitmap_len = (uint32_t)wr_up(block / 512 / 8, 512);
    uint64_t disk_off = index * block;
    uint64_t disk_len = spec->size - disk_off < block ? spec->size - disk_off : block;
    struct wr_mark *m;

    wr_grow(f, at + bitmap_len + block);
    put_bitmap(spec, f->bytes + at, disk_off, block);
    m = wr_mark(f, WR_MARK_BITMAP, WR_ROLE_NEEDED, "bitmap", index, at, bitmap_len);
    m->disk_off = disk_off;
    m->disk_len = disk_len;
    if (spec->knobs.junk && wr_unit_state(spec, disk_off, block) == WR_MIXED) {
        uint64_t i; /* what lies where the bit is 0 belongs to nobody */

        for (i = 0; i < disk_len; i += 512)
            if (wr_local(spec, disk_off + i, NULL, NULL) == WR_ABSENT)
                wr_junk(f, at + bitmap_len + i, 512, index + i);
    }
    wr_local_bytes(spec, disk_off, f->bytes + at + bitmap_len, disk_len);
    m = wr_mark(f, WR_MARK_DATA, WR_ROLE_NEEDED, "block", index, at + bitmap_len, disk_len);
    m->disk_off = disk_off;
    m->disk_len = disk_len;
}

static uint64_t put_blocks(const struct wr_spec *spec, struct wr_file *f, uint64_t n_blocks,
                           uint64_t at)
{
    uint32_t block = wr_unit(spec);
    uint64_t whole = wr_up(block / 512 / 8, 512) + block, i, k = 0, n = 0, total, *places;
    bool *present = wr_alloc(n_blocks, sizeof(*present));

    for (i = 0; i < n_blocks; i++) {
        present[i] = wr_unit_state(spec, i * block, block) != WR_ABSENT;
        n += present[i];
    }
    places = wr_places(&spec->knobs, n, &total);
    wr_mark(f, WR_MARK_TABLE, WR_ROLE_NEEDED, "bat_table", 0, BAT_OFF, 4 * n_blocks);
    for (i = 0; i < n_blocks; i++) {
        uint64_t len = spec->size - i * block < block ? spec->size - i * block : block;
        uint64_t where = at;

        if (present[i])
            where += places[k++] * whole;
        wr_number(f, BAT_OFF + 4 * i, 4, true, present[i] ? where / 512 : UINT32_MAX);
        wr_entry(f, WR_ROLE_NEEDED, WR_ENC_SECTORS, "bat", i, BAT_OFF + 4 * i, 4, true, i * block,
                 len);
        if (present[i])
            put_block(spec, f, i, where);
    }
    for (i = 0; spec->knobs.gap && i < total; i++)
        if (wr_place_is_gap(places, n, i))
            wr_junk(f, at + i * whole, 4096 < whole ? 4096 : whole, i);
    free(places);
    free(present);
    return at + total * whole;
}

/* "Dynamic Disk Header Format". */
static struct wr_file *build_dynamic(const struct wr_spec *spec, struct wr_file *f)
{
    uint64_t n_blocks = (spec->size + wr_unit(spec) - 1) / wr_unit(spec);
    const struct wr_knobs *k = &spec->knobs;
    uint64_t table = k->current_size > spec->size ? k->current_size : spec->size;
    uint64_t n_entries = (table + wr_unit(spec) - 1) / wr_unit(spec);
    uint64_t bat_end = BAT_OFF + wr_up(4 * n_entries, 512), end;
    enum wr_role tail = k->no_front_footer ? WR_ROLE_NEEDED : WR_ROLE_SPARE;

    wr_grow(f, bat_end);
    put_footer(spec, f, 0, "footer2", k->no_tail_footer ? WR_ROLE_NEEDED : WR_ROLE_SPARE);
    wr_mark(f, WR_MARK_HEADER, WR_ROLE_NEEDED, "dynamic", 0, HEADER_OFF, HEADER_LEN);
    wr_be(f, WR_ROLE_NEEDED, "dynamic.cookie", HEADER_OFF, 8, 0);
    wr_put(f, HEADER_OFF, "cxsparse", 8);
    wr_be(f, WR_ROLE_IGNORED, "dynamic.data_offset", HEADER_OFF + 8, 8, UINT64_MAX);
    wr_be(f, WR_ROLE_DEFINES, "dynamic.table_offset", HEADER_OFF + 16, 8, BAT_OFF)->encoding =
        WR_ENC_BYTES;
    wr_be(f, WR_ROLE_NEEDED, "dynamic.version", HEADER_OFF + 24, 4, 0x10000);
    wr_be(f, WR_ROLE_DEFINES, "dynamic.max_entries", HEADER_OFF + 28, 4, n_entries);
    wr_be(f, WR_ROLE_DEFINES, "dynamic.block_size", HEADER_OFF + 32, 4, wr_unit(spec));
    wr_checksum(f, WR_ROLE_NEEDED, "dynamic.checksum", 0, HEADER_OFF + 36, true, HEADER_OFF,
                HEADER_LEN);
    wr_fill(f, BAT_OFF, bat_end - BAT_OFF, 0xff);
    end = bat_end;
    if (spec->kind == WR_VHD_DIFF && spec->parent) {
        put_parent(spec, f);
        end = put_locators(spec, f, end);
    }
    end = put_blocks(spec, f, n_blocks, end);
    wr_grow(f, end);
    put_footer(spec, f, end, "footer", k->footer_511 ? WR_ROLE_NEEDED : tail);
    wr_fix_checksums(f);
    if (k->no_front_footer)
        f->bytes[64] ^= 0xff;
    if (k->no_tail_footer)
        f->bytes[end + 64] ^= 0xff;
    if (k->footer_511)
        f->len--;
    return f;
}

struct wr_file *wr_build_vhd(const struct wr_spec *spec, struct wr_dir *dir)
{
    struct wr_file *f = wr_file_new(dir, spec->name);

    if (spec->kind != WR_VHD_FIXED)
        return build_dynamic(spec, f);
    wr_grow(f, spec->size);
    wr_local_bytes(spec, 0, f->bytes, spec->size);
    wr_mark(f, WR_MARK_DATA, WR_ROLE_NEEDED, "data", 0, 0, spec->size)->disk_len = spec->size;
    put_footer(spec, f, spec->size, "footer", WR_ROLE_NEEDED);
    wr_fix_checksums(f);
    if (spec->knobs.footer_511)
        f->len--;
    return f;
}
