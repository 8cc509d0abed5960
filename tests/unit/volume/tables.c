/* SPDX-License-Identifier: Apache-2.0 */
#include "tables.h"

#include "base/bytes.h"
#include "base/limits.h"
#include "blk/layers.h"

#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

void table_mbr_entry(uint8_t *sector, unsigned slot, uint8_t status, uint8_t type, uint32_t first,
                     uint32_t n)
{
    uint8_t *p = sector + 446 + 16 * (size_t)slot;

    p[0] = status;
    p[4] = type;
    vd_put_le32(p + 8, first);
    vd_put_le32(p + 12, n);
}

void table_mbr_sign(uint8_t *sector, uint32_t signature)
{
    vd_put_le32(sector + 440, signature);
    sector[510] = 0x55;
    sector[511] = 0xaa;
}

static size_t end_of(const struct table_gpt *gpt)
{
    return gpt->end ? gpt->end : gpt->size;
}

static uint64_t array_sectors(const struct table_gpt *gpt)
{
    return ((uint64_t)gpt->n_entries * gpt->entry_size + gpt->sector - 1) / gpt->sector;
}

uint8_t *table_gpt_header(const struct table_gpt *gpt, bool backup)
{
    return gpt->disk + (backup ? end_of(gpt) - gpt->sector : gpt->sector);
}

uint8_t *table_gpt_array(const struct table_gpt *gpt, bool backup)
{
    return gpt->disk + (backup ? end_of(gpt) - gpt->sector * (array_sectors(gpt) + 1)
                               : 2 * (size_t)gpt->sector);
}

void table_gpt_seal_header(uint8_t *header)
{
    uint32_t size = vd_le32(header + 12);

    vd_put_le32(header + 16, 0);
    vd_put_le32(header + 16, (uint32_t)crc32(0, header, size));
}

void table_gpt_seal(const struct table_gpt *gpt, bool backup)
{
    uint8_t *header = table_gpt_header(gpt, backup);

    vd_put_le32(header + 88,
                (uint32_t)crc32(0, table_gpt_array(gpt, backup), gpt->n_entries * gpt->entry_size));
    table_gpt_seal_header(header);
}

static void build_copy(const struct table_gpt *gpt, bool backup)
{
    uint8_t *header = table_gpt_header(gpt, backup);
    uint64_t last = end_of(gpt) / gpt->sector - 1;
    unsigned i;

    memcpy(header, "EFI PART", 8);
    vd_put_le32(header + 8, 0x00010000);
    vd_put_le32(header + 12, 92);
    vd_put_le64(header + 24, backup ? last : 1);
    vd_put_le64(header + 32, backup ? 1 : last);
    vd_put_le64(header + 40, 2 + array_sectors(gpt));
    vd_put_le64(header + 48, last - array_sectors(gpt) - 1);
    for (i = 0; i < 16; i++)
        header[56 + i] = (uint8_t)(0x10 + i);
    vd_put_le64(header + 72, (uint64_t)(table_gpt_array(gpt, backup) - gpt->disk) / gpt->sector);
    vd_put_le32(header + 80, gpt->n_entries);
    vd_put_le32(header + 84, gpt->entry_size);
    table_gpt_seal(gpt, backup);
}

void table_gpt_build(const struct table_gpt *gpt)
{
    table_mbr_entry(gpt->disk, 0, 0, 0xee, 1, (uint32_t)(end_of(gpt) / gpt->sector - 1));
    table_mbr_sign(gpt->disk, 0);
    build_copy(gpt, false);
    build_copy(gpt, true);
}

void table_gpt_entry(const struct table_gpt *gpt, unsigned idx, uint64_t first, uint64_t last,
                     const char *name)
{
    static const uint8_t linux_fs[16] = {0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47,
                                         0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4};
    unsigned copy, i;

    for (copy = 0; copy < 2; copy++) {
        uint8_t *p = table_gpt_array(gpt, copy) + (size_t)idx * gpt->entry_size;

        memset(p, 0, gpt->entry_size);
        memcpy(p, linux_fs, 16);
        p[16] = (uint8_t)(idx + 1);
        vd_put_le64(p + 32, first);
        vd_put_le64(p + 40, last);
        for (i = 0; name[i] && i < 36; i++)
            vd_put_le16(p + 56 + 2 * (size_t)i, (uint8_t)name[i]);
        table_gpt_seal(gpt, copy);
    }
}

struct blkdev *table_device(const void *bytes, size_t len, uint64_t size)
{
    struct blk_part part[2] = {{.size = len}, {.size = size - len, .hole = BLK_ZEROS}};
    struct vd_err err = VD_ERR_INIT;
    struct blkdev *out = NULL;

    assert_ok(blk_mem_new(bytes, len, "", &part[0].dev, &err));
    if (size == len)
        return part[0].dev;
    assert_ok(blk_concat_new(part, 2, "", &out, &err));
    return out;
}

struct volume_table table_scan_device(struct blkdev *disk)
{
    struct vd_err err = VD_ERR_INIT;
    struct volume_table table;

    assert_ok(volume_scan(disk, &table, &err));
    table_check(&table, disk->size);
    return table;
}

struct volume_table table_scan(const void *bytes, size_t len)
{
    struct blkdev *disk = table_device(bytes, len, len);
    struct volume_table table = table_scan_device(disk);

    blk_unref(disk);
    return table;
}

const struct vd_fact *table_fact(const struct volume_table *table, const char *text)
{
    size_t i;

    for (i = 0; i < table->facts.n; i++)
        if (strstr(table->facts.v[i].value, text))
            return &table->facts.v[i];
    return NULL;
}

size_t table_warnings(const struct volume_table *table)
{
    size_t i, n = 0;

    for (i = 0; i < table->facts.n; i++)
        n += table->facts.v[i].kind == VD_FACT_WARNING;
    return n;
}

void table_fail_facts(const struct volume_table *table, const char *text)
{
    size_t i;

    for (i = 0; i < table->facts.n; i++)
        print_error("  %s: %s\n", table->facts.v[i].key, table->facts.v[i].value);
    fail_msg("no fact says \"%s\"", text);
}

/* ---- invariants ---- */

static void check_printable(const char *text, size_t size)
{
    size_t i, len = strnlen(text, size);

    assert_true(len < size);
    for (i = 0; i < len; i++)
        assert_true((unsigned char)text[i] >= 0x20 && text[i] != 0x7f);
}

/* Every byte at which something starts or ends is covered by partitions xor by one gap. */
static void check_cover(const struct volume_table *t, uint64_t disk_size, uint64_t at)
{
    size_t i, in_gap = 0, in_volume = 0;

    if (at >= disk_size)
        return;
    for (i = 0; i < t->n_gaps; i++)
        in_gap += at >= t->gap[i].start && at - t->gap[i].start < t->gap[i].size;
    for (i = 0; i < t->n; i++)
        in_volume += at >= t->v[i].start && at - t->v[i].start < t->v[i].size;
    assert_true(in_volume ? in_gap == 0 : in_gap == 1);
}

void table_check(const struct volume_table *t, uint64_t disk_size)
{
    size_t i;

    assert_true(t->n <= VD_MAX_PARTITIONS && t->n_gaps <= t->n + 1);
    assert_int_equal(t->facts.dropped, 0);
    for (i = 0; i < t->n; i++) {
        const struct volume *v = &t->v[i];

        assert_true(v->start <= disk_size && v->size <= disk_size - v->start);
        assert_true(i == 0 || v->number > t->v[i - 1].number);
        assert_true(t->scheme == VOLUME_NONE ? v->number == 0 : v->number > 0);
        check_printable(v->type, sizeof(v->type));
        check_printable(v->type_name, sizeof(v->type_name));
        check_printable(v->uuid, sizeof(v->uuid));
        check_printable(v->name, sizeof(v->name));
        check_cover(t, disk_size, v->start);
        check_cover(t, disk_size, v->start + v->size);
        if (v->start)
            check_cover(t, disk_size, v->start - 1);
    }
    for (i = 0; i < t->n_gaps; i++) {
        assert_true(t->gap[i].size > 0 && t->gap[i].start < disk_size &&
                    t->gap[i].size <= disk_size - t->gap[i].start);
        assert_true(i == 0 || t->gap[i].start > t->gap[i - 1].start + t->gap[i - 1].size);
    }
    if (t->scheme == VOLUME_NONE) {
        assert_int_equal(t->n, 1);
        assert_int_equal(t->n_gaps, 0);
        assert_true(t->v[0].start == 0 && t->v[0].size == disk_size);
    } else {
        check_cover(t, disk_size, 0);
        check_cover(t, disk_size, disk_size - 1);
    }
}
