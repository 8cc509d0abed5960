/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes volume_scan, and at a lower rate volume_recognise, over a disk in memory.
 *
 * Input: byte 0 flags (bit 0: recognise the volumes as well, bit 1: the disk has 4,096-byte
 * sectors, bit 2: put the checksums of GPT headers right, bit 3: … and of their arrays), byte 1
 * the size of the disk in units of 4 KiB (0: as long as the input), then records {le16 sector,
 * le16 length, bytes} that are laid over zeros: small inputs can touch both ends of a disk.
 */
#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/range.h"
#include "blk/layers.h"
#include "volume/volume.h"

#include <stdint.h>
#include <zlib.h>

#define MAX_DISK (255u * 4096u)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void lay(uint8_t *disk, size_t len, const uint8_t *data, size_t size)
{
    struct vd_cursor c = vd_cursor_at(data, size);

    while (c.pos < c.len) {
        size_t off = (size_t)vd_take_le16(&c) * 512, n = vd_take_le16(&c);
        const uint8_t *bytes;

        if (n > c.len - c.pos)
            n = c.len - c.pos;
        bytes = vd_take_bytes(&c, n);
        if (c.bad || !vd_range_inside(off, n, len))
            return;
        memcpy(disk + off, bytes, n);
    }
}

/* A fuzzer finds no CRC by itself. */
static void seal(uint8_t *disk, size_t len, size_t unit, size_t off, bool array)
{
    uint8_t *h = disk + off;
    uint64_t array_off, array_len;
    uint32_t size;

    if (!vd_range_inside(off, 512, len) || memcmp(h, "EFI PART", 8) != 0)
        return;
    size = vd_le32(h + 12);
    if (array && vd_mul(vd_le64(h + 72), unit, &array_off) &&
        vd_mul(vd_le32(h + 80), vd_le32(h + 84), &array_len) &&
        vd_range_inside(array_off, array_len, len))
        vd_put_le32(h + 88, (uint32_t)crc32_z(0, disk + array_off, array_len));
    if (size < 92 || !vd_range_inside(off, size, len))
        return;
    vd_put_le32(h + 16, 0);
    vd_put_le32(h + 16, (uint32_t)crc32_z(0, h, size));
}

/* Whatever the bytes: order, bounds, and partitions and gaps that cover the disk. */
static void check_table(const struct volume_table *t, uint64_t size)
{
    uint64_t covered = 0;
    size_t i;

    if (t->n > VD_MAX_PARTITIONS || t->n_gaps > t->n + 1 || t->facts.dropped)
        abort();
    for (i = 0; i < t->n; i++) {
        if (!vd_range_inside(t->v[i].start, t->v[i].size, size) ||
            (i && t->v[i].number <= t->v[i - 1].number))
            abort();
        covered += t->v[i].size;
    }
    for (i = 0; i < t->n_gaps; i++) {
        if (!vd_range_inside(t->gap[i].start, t->gap[i].size, size) || !t->gap[i].size)
            abort();
        covered += t->gap[i].size;
    }
    if (covered < size)
        abort();
}

static void check_content(const struct volume_content *c)
{
    if (strnlen(c->type, sizeof(c->type)) == sizeof(c->type) ||
        strnlen(c->label, sizeof(c->label)) == sizeof(c->label) ||
        strnlen(c->uuid, sizeof(c->uuid)) == sizeof(c->uuid) || strchr(c->label, '\n'))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t units[] = {512, 1024, 2048, 4096};
    VD_AUTO(blk) struct blkdev *dev = NULL;
    VD_AUTO(free) uint8_t *disk = NULL;
    struct volume_content content;
    struct volume_table table;
    size_t len, i;

    if (size < 2)
        return 0;
    len = data[1] ? data[1] * (size_t)4096 : size - 2;
    if (len > MAX_DISK)
        return 0;
    disk = calloc(1, len ? len : 1);
    if (!disk)
        return 0;
    lay(disk, len, data + 2, size - 2);
    for (i = 0; i < 4 && (data[0] & 4) && len >= 2 * units[i]; i++) {
        seal(disk, len, units[i], units[i], data[0] & 8);
        seal(disk, len, units[i], (len / units[i] - 1) * units[i], data[0] & 8);
    }
    if (blk_mem_new(disk, len, "disk", &dev, NULL))
        return 0;
    if (data[0] & 2)
        dev->sector_size = 4096;
    if (volume_scan(dev, &table, NULL))
        abort(); /* memory can be read, so a table must come out */
    check_table(&table, len);
    for (i = 0; i < table.n && i < 4 && (data[0] & 1); i++) {
        VD_AUTO(blk) struct blkdev *volume = NULL;

        if (volume_slice(dev, &table.v[i], &volume, NULL))
            abort();
        if (volume_recognise(volume, &content, NULL) == 0)
            check_content(&content);
    }
    volume_table_clear(&table);
    return 0;
}
