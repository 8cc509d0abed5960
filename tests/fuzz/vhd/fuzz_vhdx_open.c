/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VHDX file from a list of pieces: identify, open, map, read, check.  VHDX files are megabytes of nothing, so the
 * input says only what is somewhere:
 *
 *     flags 1 | size of the file 8 | { offset 8 | length 2 | bytes } …      little-endian
 *
 * Flags: 1 = right checksums into both headers, 2 = both region tables, 4 = every log entry of the
 * first MiB of the log region at 1 MiB that has a length.  What no piece covers is zeros.
 */
#include "../../evil/vhd/build.h"
#include "walk.h"

#include "base/crc32c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_PIECES 64

/* The check walks the whole table, up to 513 MiB of it: done where it ends soon. */
#define CHECK_FILE (UINT64_C(1) << 30)
#define CHECK_DISK (UINT64_C(64) << 30)

struct piece {
    uint64_t off, len;
    const uint8_t *bytes;
};

struct sparse {
    struct piece v[MAX_PIECES];
    size_t n;
    uint64_t size;
    struct {
        uint64_t off;
        uint8_t bytes[4];
    } fix[MAX_PIECES]; /* checksums: over everything else */
    size_t n_fix;
};

static void overlay_bytes(uint8_t *buf, uint64_t off, size_t len, uint64_t from, uint64_t n,
                          const uint8_t *bytes)
{
    uint64_t start = from > off ? from : off, end = vd_min(from + n, off + len);

    if (start < end)
        memcpy(buf + (start - off), bytes + (start - from), (size_t)(end - start));
}

static int sparse_read_at(struct blkdev *dev, uint64_t off, void *buf, size_t len,
                          struct vd_err *err)
{
    const struct sparse *s = dev->priv;
    size_t i;

    (void)err;
    memset(buf, 0, len);
    for (i = 0; i < s->n; i++)
        overlay_bytes(buf, off, len, s->v[i].off, s->v[i].len, s->v[i].bytes);
    for (i = 0; i < s->n_fix; i++)
        overlay_bytes(buf, off, len, s->fix[i].off, 4, s->fix[i].bytes);
    return 0;
}

static const struct blk_type sparse_type = {.name = "sparse", .read_at = sparse_read_at};

static bool take_pieces(const uint8_t *data, size_t size, struct sparse *out)
{
    struct vd_cursor c = vd_cursor_at(data, size);

    (void)vd_take_u8(&c);
    out->size = vd_take_le64(&c);
    while (!c.bad && c.pos < c.len && out->n < MAX_PIECES) {
        struct piece *p = &out->v[out->n];
        size_t left;

        p->off = vd_take_le64(&c);
        p->len = vd_take_le16(&c);
        left = c.len - c.pos;
        if (c.bad)
            break;
        p->len = vd_min(p->len, left);
        p->bytes = vd_take_bytes(&c, (size_t)p->len);
        if (p->off <= INT64_MAX)
            out->n++;
    }
    return out->size <= INT64_MAX;
}

/* Puts the CRC-32C of [off, off+len) into the field at off+4. */
static void fix_crc(struct blkdev *dev, struct sparse *s, uint64_t off, size_t len)
{
    uint8_t *buf;

    if (s->n_fix == MAX_PIECES || off + len > s->size)
        return;
    buf = malloc(len);
    if (!buf)
        return;
    (void)sparse_read_at(dev, off, buf, len, NULL);
    s->fix[s->n_fix].off = off + 4;
    vd_put_le32(s->fix[s->n_fix].bytes, vd_crc32c_without(buf, len, 4));
    s->n_fix++;
    free(buf);
}

static void fix_log(struct blkdev *dev, struct sparse *s)
{
    uint32_t i;

    for (i = 0; i < 256; i++) {
        uint64_t off = VHDX_T_LOG + (uint64_t)i * 4096;
        uint8_t h[16];
        uint32_t len;

        (void)sparse_read_at(dev, off, h, sizeof(h), NULL);
        len = vd_le32(h + 8);
        if (memcmp(h, "loge", 4) == 0 && len % 4096 == 0 && len && len <= 256 * 4096)
            fix_crc(dev, s, off, len);
    }
}

/* identify says the same of the file as open. */
static void expect_identity(struct blkdev *file, const struct image *image)
{
    struct image other = {0};

    if (image_format_vhdx.identify(file, "fuzz.vhdx", &other, NULL) ||
        strcmp(other.identity, image->identity) != 0 || other.has_parent != image->has_parent ||
        strcmp(other.parent_identity[0], image->parent_identity[0]) != 0 ||
        strcmp(other.parent_identity[1], image->parent_identity[1]) != 0)
        abort();
    close_image(&other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vd_err err = VD_ERR_INIT;
    struct sparse s = {.n = 0};
    struct blkdev *file = NULL;
    struct image image;

    if (size < 9 || size > 1 << 16 || !take_pieces(data, size, &s) ||
        blk_new(&sparse_type, s.size, "fuzz.vhdx", &s, &file, NULL))
        return 0;
    if (data[0] & 1) {
        fix_crc(file, &s, (uint64_t)64 << 10, 4096);
        fix_crc(file, &s, (uint64_t)128 << 10, 4096);
    }
    if (data[0] & 2) {
        fix_crc(file, &s, (uint64_t)192 << 10, 65536);
        fix_crc(file, &s, (uint64_t)256 << 10, 65536);
    }
    if (data[0] & 4)
        fix_log(file, &s);
    if (open_dev(&image_format_vhdx, file, &image, &err) == 0) {
        expect_identity(file, &image);
        if (s.size <= CHECK_FILE && image.dev->size <= CHECK_DISK)
            ask(&image);
        else
            walk(image.dev);
    } else if (!err.msg[0]) {
        abort();
    }
    close_image(&image);
    blk_unref(file);
    return 0;
}
