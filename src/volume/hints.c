/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a file system keeps the pieces that its recognition needs besides the ends of the volume:
 * NTFS's first MFT records (libblkid calls nothing NTFS without them), the root directory of FAT
 * and exFAT and the catalogue of HFS+ (volume labels), the header that DDF's anchor points to.
 *
 * Everything here only chooses which bytes are copied for libblkid to look at.  A wrong choice
 * costs a label, never shows a wrong byte: what is not copied is a hole of a private copy.
 * Layouts: Microsoft FAT 1.03, exFAT 7.1, NTFS boot sector, Apple TN1150.  Any thread.
 */
#include "volume/internal.h"

#include "base/bytes.h"
#include "base/range.h"

/* One window, enough for 2,048 directory entries of 512 bytes and any MFT record size. */
#define HINT_MAX_BYTES (1u << 20)

struct windows {
    struct volume_window *v;
    size_t n;
};

/* Adds [base + count * unit, … + len) unless the numbers wrap. */
static void add(struct windows *w, uint64_t base, uint64_t count, uint64_t unit, uint64_t len)
{
    uint64_t off;

    if (w->n == VOLUME_MAX_WINDOWS || !len || !vd_mul(count, unit, &off) ||
        !vd_add(off, base, &off))
        return;
    w->v[w->n++] = (struct volume_window){.off = off, .len = vd_min(len, HINT_MAX_BYTES)};
}

static void hint_ntfs(const uint8_t *s, struct windows *w)
{
    uint8_t per_cluster = s[13], per_record = s[64];
    uint64_t cluster, record;

    /* both are a count, or above 0x80 a negative power of two */
    cluster = per_cluster < 0x80 ? (uint64_t)vd_le16(s + 11) * per_cluster
                                 : (uint64_t)vd_le16(s + 11) << ((256 - per_cluster) & 31);
    record = per_record < 0x80 ? cluster * per_record : UINT64_C(1) << ((256 - per_record) & 31);
    add(w, 0, vd_le64(s + 48), cluster, vd_min(record, HINT_MAX_BYTES) * 4);
}

static void hint_fat(const uint8_t *s, struct windows *w)
{
    uint64_t bytes = vd_le16(s + 11), reserved = vd_le16(s + 14), cluster = bytes * s[13];
    uint32_t root = vd_le32(s + 44);

    if (vd_le16(s + 22)) { /* FAT12, FAT16: the root directory follows the FATs */
        add(w, 0, reserved + (uint64_t)s[16] * vd_le16(s + 22), bytes,
            (uint64_t)vd_le16(s + 17) * 32);
        return;
    }
    if (root < 2)
        return;
    add(w, (reserved + (uint64_t)s[16] * vd_le32(s + 36)) * bytes, root - 2, cluster, cluster);
    add(w, reserved * bytes, root, 4, 4);
}

static void hint_exfat(const uint8_t *s, struct windows *w)
{
    unsigned sector = s[108], cluster = sector + s[109];
    uint32_t root = vd_le32(s + 96);

    if (sector < 9 || sector > 12 || cluster > 25 || root < 2)
        return;
    add(w, (uint64_t)vd_le32(s + 88) << sector, root - 2, UINT64_C(1) << cluster,
        UINT64_C(1) << cluster);
    add(w, (uint64_t)vd_le32(s + 80) << sector, root, 4, 4);
}

/* The first leaf node of the catalogue holds the root folder's name, which is the label. */
static void hint_hfs_catalogue(struct blkdev *volume, uint64_t base, const uint8_t *header,
                               struct windows *w)
{
    uint64_t block = vd_be32(header + 40), start, left;
    uint8_t node[64];
    unsigned i;

    start = (uint64_t)vd_be32(header + 288) * block; /* first extent of the catalogue file */
    if (!block || !vd_add(start, base, &start))
        return;
    add(w, start, 0, 0, 4096);
    if (!vd_range_inside(start, sizeof(node), volume->size) ||
        blk_read(volume, start, node, sizeof(node), NULL))
        return;
    left = (uint64_t)vd_be32(node + 24) * vd_be16(node + 32); /* byte offset of the leaf */
    for (i = 0; i < 8; i++) {
        uint64_t bytes = vd_be32(header + 292 + 8 * (size_t)i) * block;

        if (left < bytes) {
            add(w, base + left, vd_be32(header + 288 + 8 * (size_t)i), block, vd_be16(node + 32));
            return;
        }
        left -= bytes;
    }
}

static void hint_hfs(struct blkdev *volume, const uint8_t *head, struct windows *w)
{
    uint8_t header[512];
    uint64_t base = 0;

    memcpy(header, head + 1024, sizeof(header));
    if (vd_be16(header) == 0x4244 && (vd_be16(header + 124) & 0xfffe) == 0x482a) {
        /* HFS+ inside an HFS wrapper (TN1150, "HFS Wrapper") */
        base = (uint64_t)vd_be16(header + 28) * 512 +
               (uint64_t)vd_be16(header + 126) * vd_be32(header + 20);
        add(w, base, 0, 0, 4096);
        if (!vd_range_inside(base, 1536, volume->size) ||
            blk_read(volume, base + 1024, header, sizeof(header), NULL))
            return;
    }
    if (vd_be16(header) == 0x482b || vd_be16(header) == 0x4858)
        hint_hfs_catalogue(volume, base, header, w);
}

/* SNIA DDF 2.0, 4.2.3: the anchor in the last sector points to the header that counts. */
static void hint_ddf(struct blkdev *volume, struct windows *w)
{
    uint8_t anchor[512];
    uint64_t sectors = volume->size / 512;

    if (!sectors || blk_read(volume, (sectors - 1) * 512, anchor, sizeof(anchor), NULL) ||
        vd_be32(anchor) != 0xde11de11)
        return;
    add(w, 0, vd_be64(anchor + 96), 512, 512);
    add(w, 0, vd_be64(anchor + 104), 512, 512);
}

size_t volume_hints(struct blkdev *volume, const uint8_t *head, size_t len,
                    struct volume_window out[VOLUME_MAX_WINDOWS])
{
    struct windows w = {.v = out};
    const char *fs;

    if (len < 512)
        return 0;
    fs = bootsec_file_system(head);
    if (fs && strcmp(fs, "NTFS") == 0)
        hint_ntfs(head, &w);
    else if (fs && strcmp(fs, "exFAT") == 0)
        hint_exfat(head, &w);
    else if (fs && strcmp(fs, "FAT") == 0)
        hint_fat(head, &w);
    if (len >= 1536)
        hint_hfs(volume, head, &w);
    hint_ddf(volume, &w);
    return w.n;
}
