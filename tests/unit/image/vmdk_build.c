/* SPDX-License-Identifier: Apache-2.0 */
#include "vmdk_build.h"

#include "base/bytes.h"
#include "base/range.h"
#include "blk/layers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define SECTOR 512u

/* ---- building ---- */

/* Appends `len` zeroed bytes on a sector boundary; returns their offset. */
static size_t append(struct vb_image *v, size_t len)
{
    size_t off = (v->len + SECTOR - 1) / SECTOR * SECTOR;

    v->p = realloc(v->p, off + len + 1);
    assert_non_null(v->p);
    memset(v->p + v->len, 0, off + len - v->len);
    v->len = off + len;
    return off;
}

static void put_header(const struct vb_spec *s, const struct vb_image *v, uint8_t *p, uint64_t gd)
{
    memcpy(p, "KDMV", 4);
    vd_put_le32(p + 4, s->version);
    vd_put_le32(p + 8, s->flags);
    vd_put_le64(p + 12, s->capacity_sectors);
    vd_put_le64(p + 20, s->grain_sectors);
    vd_put_le64(p + 28, v->descriptor / SECTOR);
    vd_put_le64(p + 36, v->descriptor ? 2 : 0);
    vd_put_le32(p + 44, s->gt_entries);
    vd_put_le64(p + 48, v->rgd / SECTOR);
    vd_put_le64(p + 56, gd);
    vd_put_le64(p + 64, v->stream / SECTOR);
    memcpy(p + 73, "\n \r\n", 4);
    p[77] = s->flags & VB_COMPRESSED ? 1 : 0;
}

static void put_marker(struct vb_image *v, uint64_t value, uint32_t type)
{
    size_t off = append(v, SECTOR);

    vd_put_le64(v->p + off, value);
    vd_put_le32(v->p + off + 12, type);
}

static void put_grain(const struct vb_spec *s, struct vb_image *v, uint32_t i)
{
    size_t grain = (size_t)s->grain_sectors * SECTOR, start = i * grain;
    size_t n = v->disk_len - start < grain ? v->disk_len - start : grain;
    size_t head = s->flags & VB_MARKERS ? 12 : 4;
    uLongf out_len = compressBound((uLong)n);
    uint8_t *packed;

    if (!(s->flags & VB_COMPRESSED)) {
        v->grain[i] = append(v, grain);
        v->grain_len[i] = grain;
        memcpy(v->p + v->grain[i], v->disk + start, n);
        return;
    }
    packed = malloc(out_len);
    assert_non_null(packed);
    assert_int_equal(compress2(packed, &out_len, v->disk + start, (uLong)n, 6), Z_OK);
    v->grain[i] = append(v, head + out_len);
    v->grain_len[i] = head + out_len;
    if (s->flags & VB_MARKERS)
        vd_put_le64(v->p + v->grain[i], (uint64_t)i * s->grain_sectors);
    vd_put_le32(v->p + v->grain[i] + head - 4, (uint32_t)out_len);
    memcpy(v->p + v->grain[i] + head, packed, out_len);
    free(packed);
}

static bool table_used(const struct vb_spec *s, const struct vb_image *v, uint32_t t)
{
    uint32_t i;

    for (i = t * s->gt_entries; i < (t + 1) * s->gt_entries && i < v->n_grains; i++)
        if (s->grains[i] != '.')
            return true;
    return !s->sparse_tables;
}

/* Directory and tables, once. */
static void put_tables(const struct vb_spec *s, struct vb_image *v, size_t *dir, size_t *gt,
                       bool markers)
{
    uint32_t t;

    for (t = 0; t < v->n_tables; t++)
        if (table_used(s, v, t) && !gt[t]) {
            if (markers)
                put_marker(v, vd_div_up(s->gt_entries * 4, SECTOR), 1);
            gt[t] = append(v, (size_t)s->gt_entries * 4);
        }
    if (markers)
        put_marker(v, 1, 2);
    *dir = append(v, (size_t)v->n_tables * 4);
    for (t = 0; t < v->n_tables; t++)
        vd_put_le32(v->p + *dir + 4 * (size_t)t, (uint32_t)(gt[t] / SECTOR));
}

static void make_disk(const struct vb_spec *s, struct vb_image *v)
{
    size_t grain = (size_t)s->grain_sectors * SECTOR;
    uint32_t i;

    v->disk_len = s->capacity_sectors * SECTOR;
    v->disk = calloc(1, v->disk_len);
    assert_non_null(v->disk);
    for (i = 0; i < v->n_grains; i++)
        if (s->grains[i] == 'd') {
            size_t left = v->disk_len - i * grain;

            test_fill(v->disk + i * grain, left < grain ? left : grain, s->seed + i + 1);
        }
}

static void put_entries(const struct vb_spec *s, struct vb_image *v)
{
    uint32_t i;

    for (i = 0; i < v->n_grains; i++)
        if (s->grains[i] != '.')
            vb_set_gte(v, i, s->grains[i] == 'z' ? 1 : (uint32_t)(v->grain[i] / SECTOR), true,
                       true);
}

/* Directory, markers and footer behind the grains. */
static void put_stream_end(const struct vb_spec *s, struct vb_image *v)
{
    put_tables(s, v, &v->gd, v->gt, true);
    put_marker(v, 1, 3);
    v->footer = append(v, SECTOR);
    put_header(s, v, v->p + v->footer, v->gd / SECTOR);
    put_marker(v, 0, 0);
}

void vb_make(const struct vb_spec *spec, struct vb_image *out)
{
    struct vb_image v = {0};
    struct vb_spec s = *spec;
    uint32_t i;

    s.grain_sectors = s.grain_sectors ? s.grain_sectors : 8;
    s.gt_entries = s.gt_entries ? s.gt_entries : 4;
    s.version = s.version ? s.version : 1;
    s.flags = s.flags ? s.flags : VB_NEWLINE;
    v.n_grains = (uint32_t)strlen(s.grains);
    if (!s.capacity_sectors)
        s.capacity_sectors = (uint64_t)v.n_grains * s.grain_sectors;
    v.grain_sectors = s.grain_sectors;
    v.gt_entries = s.gt_entries;
    v.n_tables = (v.n_grains + s.gt_entries - 1) / s.gt_entries;
    assert_true(v.n_tables <= VB_MAX_TABLES && v.n_grains <= VB_MAX_GRAINS);
    make_disk(&s, &v);
    (void)append(&v, SECTOR);
    if (s.descriptor) {
        v.descriptor = append(&v, 2 * SECTOR);
        assert_true(strlen(s.descriptor) <= 2 * SECTOR);
        memcpy(v.p + v.descriptor, s.descriptor, strlen(s.descriptor));
    }
    if (s.flags & VB_REDUNDANT)
        put_tables(&s, &v, &v.rgd, v.rgt, false);
    if (!s.footer)
        put_tables(&s, &v, &v.gd, v.gt, false);
    v.stream = s.footer ? append(&v, 0) : 0;
    for (i = 0; i < v.n_grains; i++) {
        if (s.grains[i] == 'd')
            put_grain(&s, &v, i);
        if (s.interleave && ((i + 1) % s.gt_entries == 0 || i + 1 == v.n_grains) &&
            table_used(&s, &v, i / s.gt_entries)) {
            put_marker(&v, vd_div_up(s.gt_entries * 4, SECTOR), 1);
            v.gt[i / s.gt_entries] = append(&v, (size_t)s.gt_entries * 4);
        }
    }
    if (s.footer)
        put_stream_end(&s, &v);
    (void)append(&v, 0);
    put_header(&s, &v, v.p, s.footer ? UINT64_MAX : v.gd / SECTOR);
    put_entries(&s, &v);
    *out = v;
}

void vb_free(struct vb_image *image)
{
    free(image->p);
    free(image->disk);
    *image = (struct vb_image){0};
}

static void set_entry(struct vb_image *v, size_t table, uint32_t k, uint32_t value)
{
    if (table)
        vd_put_le32(v->p + table + 4 * (size_t)k, value);
}

void vb_set_gte(struct vb_image *image, uint32_t grain, uint32_t value, bool primary,
                bool redundant)
{
    uint32_t t = grain / image->gt_entries, k = grain % image->gt_entries;

    if (primary)
        set_entry(image, image->gt[t], k, value);
    if (redundant)
        set_entry(image, image->rgt[t], k, value);
}

uint32_t vb_get_gte(const struct vb_image *image, uint32_t grain)
{
    size_t table = image->gt[grain / image->gt_entries];

    return vd_le32(image->p + table + 4 * (size_t)(grain % image->gt_entries));
}

void vb_set_gde(struct vb_image *image, uint32_t table, uint32_t value, bool primary,
                bool redundant)
{
    if (primary)
        set_entry(image, image->gd, table, value);
    if (redundant)
        set_entry(image, image->rgd, table, value);
}

const char *vb_descriptor(const char *cid, const char *parent_cid, const char *hint,
                          uint64_t sectors, const char *name)
{
    static char text[1024];

    (void)snprintf(text, sizeof(text),
                   "# Disk DescriptorFile\nversion=1\nCID=%s\nparentCID=%s\n"
                   "createType=\"monolithicSparse\"\n%s%s%s\n# Extent description\n"
                   "RW %llu SPARSE \"%s\"\n",
                   cid, parent_cid ? parent_cid : "ffffffff", hint ? "parentFileNameHint=\"" : "",
                   hint ? hint : "", hint ? "\"" : "", (unsigned long long)sectors, name);
    return text;
}

/* ---- opening and checking ---- */

static int no_open(void *ctx, unsigned dir, const char *name, struct blkdev **out,
                   struct vd_err *err)
{
    (void)ctx;
    (void)dir;
    (void)out;
    return vd_fail(err, VD_ENOENT, "%s: no such file", name);
}

static int no_list(void *ctx, unsigned dir, int (*fn)(void *fn_ctx, const char *name), void *fn_ctx,
                   struct vd_err *err)
{
    (void)ctx;
    (void)dir;
    (void)fn;
    (void)fn_ctx;
    (void)err;
    return 0;
}

const struct blk_source vb_no_files = {.open = no_open, .list = no_list, .n_dirs = 1};

int vb_open(const void *bytes, size_t len, const char *name, struct image **out, struct vd_err *err)
{
    struct blkdev *file = NULL;
    int rc = blk_mem_new(bytes, len, name, &file, err);

    if (rc)
        return rc;
    rc = image_open_file(file, &vb_no_files, 0, name, out, err);
    blk_unref(file);
    return rc;
}

static uint64_t next_random(uint64_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    return *x;
}

static void read_and_compare(struct blkdev *dev, uint64_t off, size_t n, uint8_t *buf,
                             const uint8_t *expected)
{
    struct vd_err err = VD_ERR_INIT;

    memset(buf, 0xa5, n);
    assert_ok(blk_read(dev, off, buf, n, &err));
    if (memcmp(buf, expected + off, n) != 0)
        fail_msg("wrong bytes in a read of %zu at %llu", n, (unsigned long long)off);
}

void vb_check_reads(struct blkdev *dev, const uint8_t *expected, size_t len, size_t step)
{
    uint8_t *buf = malloc(len ? len : 1);
    uint64_t x = 88172645463325252u;
    size_t off = 0, n, i;

    assert_non_null(buf);
    assert_int_equal(dev->size, len);
    for (; off < len; off += n) {
        n = step ? step : 1 + next_random(&x) % 20000;
        n = n > len - off ? len - off : n;
        read_and_compare(dev, off, n, buf, expected);
    }
    for (i = 0; i < 100 && len; i++) { /* anywhere, any size */
        off = next_random(&x) % len;
        n = 1 + next_random(&x) % (len - off);
        read_and_compare(dev, off, n > 70000 ? 70000 : n, buf, expected);
    }
    free(buf);
}

static void check_run(struct blkdev *dev, uint64_t off, const struct blk_extent *ext,
                      const uint8_t *expected)
{
    struct vd_err err = VD_ERR_INIT;
    uint8_t *buf = malloc(ext->len);

    assert_non_null(buf);
    if (ext->status == BLK_UNREADABLE) {
        assert_int_not_equal(blk_read(dev, off + ext->len - 1, buf, 1, &err), 0);
        assert_int_not_equal(blk_read(dev, off, buf, ext->len, &err), 0);
        assert_true(err.has_offset);
        assert_int_equal(err.offset, off);
    } else {
        read_and_compare(dev, off, ext->len, buf, expected);
        if (ext->status != BLK_DATA)
            assert_true(vd_all_zero(buf, ext->len));
        if (ext->child) {
            assert_ok(blk_read(ext->child, ext->child_off, buf, ext->len, &err));
            assert_memory_equal(buf, expected + off, ext->len);
        }
    }
    free(buf);
}

uint64_t vb_check_map(struct blkdev *dev, const uint8_t *expected)
{
    struct vd_err err = VD_ERR_INIT;
    uint64_t off = 0, bad = 0;

    while (off < dev->size) {
        struct blk_extent ext;

        assert_ok(blk_map(dev, off, dev->size, &ext, &err));
        check_run(dev, off, &ext, expected);
        bad += ext.status == BLK_UNREADABLE ? ext.len : 0;
        off += ext.len;
    }
    return bad;
}

struct looking {
    enum vd_fact_kind kind;
    const char *text;
    bool found;
};

static void look(void *ctx, const char *layer, enum vd_fact_kind kind, const char *key,
                 const char *value)
{
    struct looking *l = ctx;

    (void)layer;
    (void)key;
    if (kind == l->kind && strstr(value, l->text))
        l->found = true;
}

bool vb_has_fact(const struct image *image, enum vd_fact_kind kind, const char *text)
{
    struct looking l = {.kind = kind, .text = text};

    vd_facts_each(&image->facts, "", look, &l);
    if (image->dev)
        blk_describe(image->dev, look, &l);
    return l.found;
}
