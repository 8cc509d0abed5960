/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FILE records, their attributes and mapping pairs: bytes to structs (libyal NTFS, "The MFT entry",
 * "MFT attribute", "Data runs").  Pure: no I/O, no state but the struct ntfs_file being built.
 */
#include "fs/ntfs/ntfs_priv.h"

#include "base/bytes.h"
#include "base/range.h"

#include <stdlib.h>
#include <string.h>

#define STRIDE 512u /* update sequences work on 512 bytes, whatever the sector size */

int ntfs_fixup(uint8_t *b, size_t len, const char magic[4], struct vd_err *err)
{
    size_t off = vd_le16(b + 4), count = vd_le16(b + 6), i, sectors = len / STRIDE;

    if (memcmp(b, magic, 4) != 0)
        return vd_fail(err, VD_ECORRUPT, "no %.4s record (but %02x%02x%02x%02x)", magic, b[0], b[1],
                       b[2], b[3]);
    if (count != sectors + 1 || off % 2 || !vd_range_inside(off, count * 2, len - 2))
        return vd_fail(err, VD_ECORRUPT, "%.4s record: impossible update sequence", magic);
    for (i = 1; i <= sectors; i++)
        if (memcmp(b + i * STRIDE - 2, b + off, 2) != 0)
            return vd_fail(err, VD_ECORRUPT, "%.4s record is torn (sector %zu)", magic, i - 1);
    for (i = 1; i <= sectors; i++)
        memcpy(b + i * STRIDE - 2, b + off + 2 * i, 2);
    return 0;
}

int ntfs_record_decode(const uint8_t *b, size_t len, struct ntfs_record *out, struct vd_err *err)
{
    struct ntfs_record rec = {
        .seq = vd_le16(b + 16),
        .first_attr = vd_le16(b + 20),
        .flags = vd_le16(b + 22),
        .used = vd_le32(b + 24),
        .base = vd_le64(b + 32) & FS_ADDR_MAX,
        .base_seq = vd_le16(b + 38),
    };

    if (rec.used > len || rec.first_attr < 42 || rec.first_attr % 8 || rec.first_attr > rec.used)
        return vd_fail(err, VD_ECORRUPT, "FILE record: impossible header");
    *out = rec;
    return 0;
}

static bool same_name(const struct ntfs_attr *a, const struct ntfs_attr *b)
{
    return a->type == b->type && a->name_units == b->name_units &&
           (!a->name_units || memcmp(a->name, b->name, (size_t)a->name_units * 2) == 0);
}

/* The number of the attribute in the file, which is added when it is new; SIZE_MAX without memory.
 * Only the parts of a non-resident attribute are put together. */
static size_t attr_number(struct ntfs_file *file, const struct ntfs_attr *attr)
{
    size_t i;

    for (i = 0; !attr->resident && i < file->n_attrs; i++)
        if (!file->attrs[i].resident && same_name(&file->attrs[i], attr))
            return i;
    if (file->n_attrs == file->cap_attrs) {
        size_t cap = file->cap_attrs ? file->cap_attrs * 2 : 8;
        struct ntfs_attr *v = realloc(file->attrs, cap * sizeof(*v));

        if (!v)
            return SIZE_MAX;
        file->attrs = v;
        file->cap_attrs = cap;
    }
    file->attrs[file->n_attrs] = *attr;
    return file->n_attrs++;
}

static int add_extent(struct ntfs_file *file, const struct ntfs_extent *extent, struct vd_err *err)
{
    if (file->n_extents == file->cap_extents) {
        size_t cap = file->cap_extents ? file->cap_extents * 2 : 8;
        struct ntfs_extent *v = realloc(file->extents, cap * sizeof(*v));

        if (!v)
            return vd_fail(err, VD_ENOMEM, "out of memory");
        file->extents = v;
        file->cap_extents = cap;
    }
    file->extents[file->n_extents++] = *extent;
    return 0;
}

static int decode_resident(const uint8_t *b, size_t len, struct ntfs_attr *attr, struct vd_err *err)
{
    uint32_t value_len = len >= 24 ? vd_le32(b + 16) : 0;
    size_t off = len >= 24 ? vd_le16(b + 20) : len + 1;

    if (!vd_range_inside(off, value_len, len))
        return vd_fail(err, VD_ECORRUPT, "attribute 0x%x: value outside", attr->type);
    attr->resident = true;
    attr->value = b + off;
    attr->value_len = value_len;
    attr->size = attr->init = attr->allocated = value_len;
    return 0;
}

static int decode_nonresident(const uint8_t *b, size_t len, struct ntfs_attr *attr,
                              struct ntfs_extent *extent, struct vd_err *err)
{
    size_t off = len >= 64 ? vd_le16(b + 32) : len + 1;

    if (off > len || off < 64)
        return vd_fail(err, VD_ECORRUPT, "attribute 0x%x: mapping pairs outside", attr->type);
    extent->first_vcn = vd_le64(b + 16);
    extent->last_vcn = vd_le64(b + 24);
    extent->pairs = b + off;
    extent->len = len - off;
    if (extent->first_vcn)
        return 0; /* sizes stand in the first part only */
    attr->unit_shift = b[34];
    attr->allocated = vd_le64(b + 40);
    if (off >= 72 && vd_le16(b + 12) & (NTFS_ATTR_COMPRESSED | 0x8000u)) /* sparse: 0x8000 */
        attr->allocated = vd_le64(b + 64);
    attr->size = vd_le64(b + 48);
    attr->init = vd_le64(b + 56);
    attr->has_sizes = true;
    if (attr->unit_shift > 16)
        return vd_fail(err, VD_ECORRUPT, "attribute 0x%x: compression unit of 2^%u clusters",
                       attr->type, attr->unit_shift);
    return 0;
}

static int add_attr(struct ntfs_file *file, const uint8_t *b, size_t len, struct vd_err *err)
{
    struct ntfs_attr attr = {.type = vd_le32(b), .name_units = b[9], .flags = vd_le16(b + 12)};
    struct ntfs_extent extent = {0};
    size_t name_off = vd_le16(b + 10);
    int rc;

    if (!vd_range_inside(name_off, (size_t)attr.name_units * 2, len))
        return vd_fail(err, VD_ECORRUPT, "attribute 0x%x: name outside", attr.type);
    attr.name = b + name_off;
    rc = b[8] ? decode_nonresident(b, len, &attr, &extent, err)
              : decode_resident(b, len, &attr, err);
    if (rc)
        return rc;
    extent.attr = attr_number(file, &attr);
    if (extent.attr == SIZE_MAX)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    if (attr.resident)
        return 0;
    if (attr.has_sizes && !file->attrs[extent.attr].has_sizes)
        file->attrs[extent.attr] = attr; /* the first part came later */
    return add_extent(file, &extent, err);
}

int ntfs_file_add_record(struct ntfs_file *file, const uint8_t *b, const struct ntfs_record *rec,
                         struct vd_err *err)
{
    size_t at = rec->first_attr;

    while (at + 8 <= rec->used && vd_le32(b + at) != UINT32_MAX) {
        uint32_t len = vd_le32(b + at + 4);
        int rc;

        if (len < 24 || len % 8 || len > rec->used - at)
            return vd_fail(err, VD_ECORRUPT, "attribute 0x%x at %zu: impossible length %u",
                           vd_le32(b + at), at, len);
        rc = add_attr(file, b + at, len, err);
        if (rc)
            return rc;
        at += len;
    }
    return 0;
}

/* A little-endian number of n <= 8 bytes. */
static uint64_t take_number(const uint8_t *p, unsigned n, bool is_signed)
{
    uint64_t v = 0;
    unsigned i;

    for (i = 0; i < n; i++)
        v |= (uint64_t)p[i] << (8 * i);
    if (is_signed && n && n < 8 && p[n - 1] & 0x80)
        v |= ~UINT64_C(0) << (8 * n);
    return v;
}

static int add_clusters(const struct ntfs_boot *boot, uint64_t vol_size, uint64_t vcn, uint64_t lcn,
                        uint64_t n, bool sparse, struct fs_runs *runs, struct vd_err *err)
{
    struct fs_run run = {.kind = FS_RUN_ZEROS};

    if (!vd_mul(vcn, boot->cluster_size, &run.off) || !vd_mul(n, boot->cluster_size, &run.len))
        return vd_fail(err, VD_ECORRUPT, "mapping pairs: number out of range");
    if (!sparse && !vd_range_inside(lcn, n, boot->n_clusters)) {
        run.kind = FS_RUN_BAD;
        run.why = FS_WHY_OUTSIDE;
        sparse = true;
    }
    if (sparse)
        return fs_runs_add(runs, &run, err);
    return fs_runs_add_data(runs, vol_size, run.off, run.len, lcn * boot->cluster_size, err);
}

int ntfs_pairs_decode(const struct ntfs_extent *extent, const struct ntfs_boot *boot,
                      uint64_t vol_size, struct fs_runs *runs, struct vd_err *err)
{
    uint64_t vcn = extent->first_vcn, lcn = 0;
    const uint8_t *p = extent->pairs;
    size_t left = extent->len;

    while (left && *p) {
        unsigned len_bytes = *p & 15, lcn_bytes = *p >> 4;
        uint64_t n;
        int rc;

        if (!len_bytes || len_bytes > 8 || lcn_bytes > 8 || 1 + len_bytes + lcn_bytes > left)
            return vd_fail(err, VD_ECORRUPT, "mapping pairs: impossible header 0x%02x", *p);
        n = take_number(p + 1, len_bytes, false);
        lcn += take_number(p + 1 + len_bytes, lcn_bytes, true); /* wraps as the format means it */
        if (!n || n > (UINT64_C(1) << 52) || vcn > (UINT64_C(1) << 52))
            return vd_fail(err, VD_ECORRUPT, "mapping pairs: run of %llu clusters",
                           (unsigned long long)n);
        rc = add_clusters(boot, vol_size, vcn, lcn, n, !lcn_bytes, runs, err);
        if (rc)
            return rc;
        vcn += n;
        p += 1 + len_bytes + lcn_bytes;
        left -= 1 + len_bytes + lcn_bytes;
    }
    if (vcn != extent->last_vcn + 1)
        return vd_fail(err, VD_ECORRUPT, "mapping pairs end at cluster %llu, expected %llu",
                       (unsigned long long)vcn, (unsigned long long)extent->last_vcn + 1);
    return 0;
}
