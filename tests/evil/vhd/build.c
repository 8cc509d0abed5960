/* SPDX-License-Identifier: Apache-2.0 */
#include "build.h"

#include "base/bytes.h"
#include "base/crc32c.h"
#include "blk/layers.h"
#include "testlib.h"

#include <stdlib.h>
#include <string.h>

void put_be16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

void put_be32(uint8_t *p, uint32_t v)
{
    put_be16(p, (uint16_t)(v >> 16));
    put_be16(p + 2, (uint16_t)v);
}

void put_be64(uint8_t *p, uint64_t v)
{
    put_be32(p, (uint32_t)(v >> 32));
    put_be32(p + 4, (uint32_t)v);
}

static struct built make(size_t len)
{
    struct built b = {calloc(1, len), len};

    if (!b.p)
        fail_msg("out of memory");
    return b;
}

/* ---- VHD ---- */

static void seal(uint8_t *p, size_t len, size_t field)
{
    uint32_t sum = 0;
    size_t i;

    memset(p + field, 0, 4);
    for (i = 0; i < len; i++)
        sum += p[i];
    put_be32(p + field, ~sum);
}

void vhd_seal_footer(uint8_t *footer, size_t len)
{
    seal(footer, len, 64);
}

void vhd_seal_header(uint8_t *header)
{
    seal(header, 1024, 36);
}

static void make_footer(uint8_t *f, uint64_t size, uint32_t type, uint64_t data_offset)
{
    static const uint8_t uuid[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

    memset(f, 0, 512);
    memcpy(f, "conectix", 8);
    put_be32(f + 8, 2);
    put_be32(f + 12, 0x00010000);
    put_be64(f + 16, data_offset);
    put_be32(f + 24, 86400);
    memcpy(f + 28, "win ", 4);
    put_be32(f + 32, 0x000a0000);
    memcpy(f + 36, "Wi2k", 4);
    put_be64(f + 40, size);
    put_be64(f + 48, size);
    put_be16(f + 56, 1);
    f[58] = 4;
    f[59] = 17;
    put_be32(f + 60, type);
    memcpy(f + 68, uuid, 16);
    vhd_seal_footer(f, 512);
}

struct built build_vhd_fixed(size_t size, uint64_t seed)
{
    struct built b = make(size + 512);

    test_fill(b.p, size, seed);
    make_footer(b.p + size, size, 2, UINT64_MAX);
    return b;
}

struct built build_vhd_dynamic(uint32_t block_size, uint32_t n_blocks, const uint8_t *present,
                               uint64_t seed, struct built *out_disk)
{
    uint32_t table_len = (n_blocks * 4 + 511) / 512 * 512, i, n = 0, k = 0;
    uint32_t bitmap_len = ((block_size / 512 + 7) / 8 + 511) / 512 * 512;
    struct built b, disk = make((size_t)block_size * n_blocks);
    uint8_t *h;

    for (i = 0; i < n_blocks; i++)
        n += present[i] != 0;
    b = make(VHD_T_TABLE + table_len + (size_t)n * (bitmap_len + block_size) + 512);
    make_footer(b.p, disk.len, 3, VHD_T_HEADER);
    memcpy(b.p + b.len - 512, b.p, 512);
    h = b.p + VHD_T_HEADER;
    memcpy(h, "cxsparse", 8);
    put_be64(h + 8, UINT64_MAX);
    put_be64(h + 16, VHD_T_TABLE);
    put_be32(h + 24, 0x00010000);
    put_be32(h + 28, n_blocks);
    put_be32(h + 32, block_size);
    vhd_seal_header(h);
    memset(b.p + VHD_T_TABLE, 0xff, table_len);
    for (i = 0; i < n_blocks; i++) {
        size_t at;

        if (!present[i])
            continue;
        at = VHD_T_TABLE + table_len + (size_t)(n - 1 - k++) * (bitmap_len + block_size);
        put_be32(b.p + VHD_T_TABLE + 4 * i, (uint32_t)(at / 512));
        memset(b.p + at, 0xff, bitmap_len);
        test_fill(b.p + at + bitmap_len, block_size, seed + i);
        memcpy(disk.p + (size_t)i * block_size, b.p + at + bitmap_len, block_size);
    }
    if (out_disk)
        *out_disk = disk;
    else
        free(disk.p);
    return b;
}

size_t vhd_block_at(const struct built *file, uint32_t i)
{
    return (size_t)vd_be32(file->p + VHD_T_TABLE + 4 * i) * 512;
}

/* ---- VHDX ---- */

static const uint8_t guid_bat[16] = {0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42,
                                     0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08};
static const uint8_t guid_metadata[16] = {0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b,
                                          0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e};
static const uint8_t guid_params[16] = {0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d,
                                        0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b};
static const uint8_t guid_size[16] = {0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48,
                                      0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8};
static const uint8_t guid_id[16] = {0xab, 0x12, 0xca, 0xbe, 0xe6, 0xb2, 0x23, 0x45,
                                    0x93, 0xef, 0xc3, 0x09, 0xe0, 0x00, 0xc7, 0x46};
static const uint8_t guid_logical[16] = {0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47,
                                         0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f};
static const uint8_t guid_physical[16] = {0xc7, 0x48, 0xa3, 0xcd, 0x5d, 0x44, 0x71, 0x44,
                                          0x9c, 0xc9, 0xe9, 0x88, 0x52, 0x51, 0xc5, 0x56};
const uint8_t test_log_guid[16] = {0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7,
                                   0xa8, 0xa9, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf};

static void seal_crc(uint8_t *p, size_t len)
{
    memset(p + 4, 0, 4);
    vd_put_le32(p + 4, vd_crc32c_table(0, p, len));
}

void vhdx_seal_header(uint8_t *file, int which)
{
    seal_crc(file + ((size_t)64 << 10) * (unsigned)which, 4096);
}

void vhdx_seal_regions(uint8_t *file, int which)
{
    seal_crc(file + ((size_t)64 << 10) * (2 + (unsigned)which), 65536);
}

static void make_header(uint8_t *file, int which)
{
    uint8_t *h = file + ((size_t)64 << 10) * (unsigned)which;

    memcpy(h, "head", 4);
    vd_put_le64(h + 8, 6 + (unsigned)which);
    memset(h + 16, 0x11, 16);
    memset(h + 32, 0x22, 16);
    vd_put_le16(h + 66, 1);
    vd_put_le32(h + 68, (uint32_t)VHDX_T_MIB);
    vd_put_le64(h + 72, VHDX_T_LOG);
    vhdx_seal_header(file, which);
}

static void make_regions(uint8_t *file, int which)
{
    uint8_t *r = file + ((size_t)64 << 10) * (2 + (unsigned)which);

    memcpy(r, "regi", 4);
    vd_put_le32(r + 8, 2);
    memcpy(r + 16, guid_bat, 16);
    vd_put_le64(r + 32, VHDX_T_BAT);
    vd_put_le32(r + 40, (uint32_t)VHDX_T_MIB);
    vd_put_le32(r + 44, 1);
    memcpy(r + 48, guid_metadata, 16);
    vd_put_le64(r + 64, VHDX_T_METADATA);
    vd_put_le32(r + 72, (uint32_t)VHDX_T_MIB);
    vd_put_le32(r + 76, 1);
    vhdx_seal_regions(file, which);
}

void vhdx_add_item(uint8_t *file, const uint8_t guid[16], uint32_t off, uint32_t len,
                   uint32_t flags)
{
    uint8_t *m = file + VHDX_T_METADATA;
    uint16_t n = vd_le16(m + 10);
    uint8_t *e = m + 32 + (size_t)32 * n;

    memcpy(e, guid, 16);
    vd_put_le32(e + 16, off);
    vd_put_le32(e + 20, len);
    vd_put_le32(e + 24, flags);
    vd_put_le16(m + 10, (uint16_t)(n + 1));
}

static void make_metadata(uint8_t *file, uint64_t size)
{
    uint8_t *m = file + VHDX_T_METADATA;

    memcpy(m, "metadata", 8);
    vhdx_add_item(file, guid_params, VHDX_T_PARAMS, 8, 4);
    vhdx_add_item(file, guid_size, VHDX_T_SIZE, 8, 6);
    vhdx_add_item(file, guid_id, VHDX_T_DISKID, 16, 6);
    vhdx_add_item(file, guid_logical, VHDX_T_LOGICAL, 4, 6);
    vhdx_add_item(file, guid_physical, VHDX_T_PHYSICAL, 4, 6);
    vd_put_le32(m + VHDX_T_PARAMS, (uint32_t)VHDX_T_MIB);
    vd_put_le64(m + VHDX_T_SIZE, size);
    memset(m + VHDX_T_DISKID, 0x33, 16);
    vd_put_le32(m + VHDX_T_LOGICAL, 512);
    vd_put_le32(m + VHDX_T_PHYSICAL, 4096);
}

static size_t put_utf16(uint8_t *p, const char *text)
{
    size_t n = strlen(text), i;

    for (i = 0; i < n; i++)
        vd_put_le16(p + 2 * i, (uint8_t)text[i]);
    return 2 * n;
}

size_t vhdx_make_locator(uint8_t *p, const char *const (*pairs)[2], unsigned n)
{
    static const uint8_t type[16] = {0xb7, 0xef, 0x4a, 0xb0, 0x9e, 0xd1, 0x81, 0x4a,
                                     0xb7, 0x89, 0x25, 0xb8, 0xe9, 0x44, 0x59, 0x13};
    size_t at = 20 + (size_t)12 * n;
    unsigned i;

    memset(p, 0, at);
    memcpy(p, type, sizeof(type));
    vd_put_le16(p + 18, (uint16_t)n);
    for (i = 0; i < n; i++) {
        uint8_t *e = p + 20 + (size_t)12 * i;

        vd_put_le32(e, (uint32_t)at);
        vd_put_le16(e + 8, (uint16_t)put_utf16(p + at, pairs[i][0]));
        at += vd_le16(e + 8);
        vd_put_le32(e + 4, (uint32_t)at);
        vd_put_le16(e + 10, (uint16_t)put_utf16(p + at, pairs[i][1]));
        at += vd_le16(e + 10);
    }
    return at;
}

struct built build_vhdx(uint32_t n_blocks, const uint8_t *state, uint64_t seed,
                        struct built *out_disk)
{
    struct built b, disk = make(n_blocks * VHDX_T_MIB);
    uint32_t i, n = 0, k = 0;

    for (i = 0; i < n_blocks; i++)
        n += state[i] >= 6;
    b = make(VHDX_T_BLOCKS + n * VHDX_T_MIB);
    memcpy(b.p, "vhdxfile", 8);
    memcpy(b.p + 8, "t\0e\0s\0t\0", 8);
    make_header(b.p, 1);
    make_header(b.p, 2);
    make_regions(b.p, 1);
    make_regions(b.p, 2);
    make_metadata(b.p, disk.len);
    for (i = 0; i < n_blocks; i++) {
        size_t at = 0;

        if (state[i] >= 6) {
            at = VHDX_T_BLOCKS + (n - 1 - k++) * VHDX_T_MIB;
            test_fill(b.p + at, VHDX_T_MIB, seed + i);
            memcpy(disk.p + i * VHDX_T_MIB, b.p + at, VHDX_T_MIB);
        }
        vd_put_le64(b.p + VHDX_T_BAT + (size_t)8 * i, at | state[i]);
    }
    if (out_disk)
        *out_disk = disk;
    else
        free(disk.p);
    return b;
}

/* ---- log ---- */

static uint8_t *ring(uint8_t *log, uint32_t n_sectors, uint64_t pos)
{
    return log + pos % ((uint64_t)n_sectors * 4096);
}

void log_seal(uint8_t *log, uint32_t n_sectors, uint32_t at)
{
    uint8_t *h = ring(log, n_sectors, (uint64_t)at * 4096);
    uint32_t crc = 0, i, n = vd_le32(h + 8) / 4096;

    memset(h + 4, 0, 4);
    for (i = 0; i < n; i++)
        crc = vd_crc32c_table(crc, ring(log, n_sectors, (uint64_t)(at + i) * 4096), 4096);
    vd_put_le32(h + 4, crc);
}

uint32_t log_put(uint8_t *log, uint32_t n_sectors, const struct log_entry *entry)
{
    uint32_t n_desc = (64 + 32 * entry->n_writes + 4095) / 4096, n_data = 0, i, total;
    uint64_t start = (uint64_t)entry->at * 4096;
    uint8_t *h = ring(log, n_sectors, start);

    for (i = 0; i < entry->n_writes; i++)
        n_data += entry->writes[i].data != NULL;
    total = n_desc + n_data + entry->padding;
    for (i = 0; i < total; i++)
        memset(ring(log, n_sectors, start + (uint64_t)i * 4096), 0, 4096);
    memcpy(h, "loge", 4);
    vd_put_le32(h + 8, total * 4096);
    vd_put_le32(h + 12, entry->tail * 4096);
    vd_put_le64(h + 16, entry->sequence);
    vd_put_le32(h + 24, entry->n_writes);
    memcpy(h + 32, test_log_guid, 16);
    vd_put_le64(h + 48, entry->flushed);
    vd_put_le64(h + 56, entry->last);
    for (i = 0, n_data = 0; i < entry->n_writes; i++) {
        const struct log_write *w = &entry->writes[i];
        uint8_t *d = ring(log, n_sectors, start + 64 + 32 * (uint64_t)i);

        vd_put_le64(d + 16, w->off);
        vd_put_le64(d + 24, entry->sequence);
        if (w->data) {
            uint8_t *s = ring(log, n_sectors, start + (uint64_t)(n_desc + n_data++) * 4096);

            memcpy(d, "desc", 4);
            memcpy(d + 4, w->data + 4092, 4);
            memcpy(d + 8, w->data, 8);
            memcpy(s, "data", 4);
            vd_put_le32(s + 4, (uint32_t)(entry->sequence >> 32));
            memcpy(s + 8, w->data + 8, 4084);
            vd_put_le32(s + 4092, (uint32_t)entry->sequence);
        } else {
            memcpy(d, "zero", 4);
            vd_put_le64(d + 8, w->zero_len);
        }
    }
    log_seal(log, n_sectors, entry->at);
    return (entry->at + total) % n_sectors;
}

void vhdx_set_log(uint8_t *file, const uint8_t guid[16])
{
    int which;

    for (which = 1; which <= 2; which++) {
        memcpy(file + ((size_t)64 << 10) * (unsigned)which + 48, guid, 16);
        vhdx_seal_header(file, which);
    }
}

/* ---- opening ---- */

static int over_read_at(struct blkdev *dev, uint64_t off, void *buf, size_t len, struct vd_err *err)
{
    (void)err;
    memcpy(buf, (const uint8_t *)dev->priv + off, len);
    return 0;
}

static const struct blk_type over_type = {.name = "borrowed", .read_at = over_read_at};

int dev_over(const void *bytes, size_t len, struct blkdev **out, struct vd_err *err)
{
    union {
        const void *in;
        void *priv;
    } u = {.in = bytes};

    return blk_new(&over_type, len, "test.img", u.priv, out, err);
}

int open_dev(const struct image_format *format, struct blkdev *file, struct image *out,
             struct vd_err *err)
{
    int rc;

    memset(out, 0, sizeof(*out));
    rc = format->open(file, "test.img", NULL, 0, out, err);
    if (rc == 0 && !out->dev)
        fail_msg("open said yes and gave no device");
    return rc;
}

int open_bytes(const struct image_format *format, const void *bytes, size_t len, struct image *out,
               struct vd_err *err)
{
    struct blkdev *file = NULL;
    int rc = dev_over(bytes, len, &file, err);

    memset(out, 0, sizeof(*out));
    if (rc)
        return rc;
    rc = open_dev(format, file, out, err);
    blk_unref(file);
    return rc;
}

void close_image(struct image *image)
{
    unsigned i;

    for (i = 0; i < image->n_parent_hints; i++)
        free(image->parent_hint[i]);
    free(image->parent_path);
    blk_unref(image->dev);
    vd_facts_clear(&image->facts);
    memset(image, 0, sizeof(*image));
}

int has_warning(const struct image *image, const char *text)
{
    size_t i;

    for (i = 0; i < image->facts.n; i++)
        if (image->facts.v[i].kind == VD_FACT_WARNING && strstr(image->facts.v[i].value, text))
            return 1;
    return 0;
}

const char *fact_value(const struct image *image, const char *key)
{
    size_t i;

    for (i = 0; i < image->facts.n; i++)
        if (strcmp(image->facts.v[i].key, key) == 0)
            return image->facts.v[i].value;
    return "";
}
