/* SPDX-License-Identifier: Apache-2.0 */
/* Compares a device with the model of a chain.  See compare.h. */
#include "compare.h"
#include "priv.h"

#include <stdio.h>
#include <stdlib.h>

#define CHUNK_MAX (1u << 20)

static bool inside(const struct wr_range *r, uint64_t off)
{
    return off >= r->off && (r->len == WR_ALL || off - r->off < r->len);
}

static bool touches(const struct wr_range *r, uint64_t off, uint64_t len)
{
    return r->len && len && off + len > r->off && (r->len == WR_ALL || off < r->off + r->len);
}

/* May reading fail in all of [off, off+len), len > 0? */
static bool may_fail(const struct wr_compare *c, uint64_t off, uint64_t len)
{
    uint64_t i, end = off + len;

    if (inside(&c->may_fail, off) && inside(&c->may_fail, end - 1))
        return true;
    for (i = off / 512; c->fail_map && i <= (end - 1) / 512; i++)
        if (!c->fail_map[i])
            return false;
    return c->fail_map != NULL;
}

/* What the sector would be if the entry that governs it meant alt_state. */
static void alternative(const struct wr_compare *c, uint64_t off, uint8_t *buf, uint64_t len)
{
    const struct wr_spec *m = c->spec;
    uint8_t bad[3] = {0};
    unsigned i;

    memset(buf, 0, len);
    if (c->alt_state != WR_ABSENT)
        return;
    for (i = 0; m && i <= c->alt_member; i++)
        m = m->parent;
    if (m && off < m->size)
        wr_expect(m, off, buf, m->size - off < len ? m->size - off : len, bad);
}

/* One piece inside one sector, with the bytes that reading gave. */
static int judge(struct wr_compare *c, uint64_t off, const uint8_t *got, const uint8_t *want,
                 uint64_t len)
{
    uint8_t other[512];
    uint64_t i;

    if (memcmp(got, want, len) == 0 || inside(&c->any, off))
        return 0;
    if (inside(&c->alt, off)) {
        alternative(c, off, other, len);
        if (memcmp(got, other, len) == 0) {
            c->n_alt++;
            return 0;
        }
    }
    for (i = 0; i < len && got[i] == want[i]; i++)
        continue;
    (void)snprintf(c->why, sizeof(c->why),
                   "WRONG BYTES at %llu (sector %llu): %02x instead of %02x",
                   (unsigned long long)(off + i), (unsigned long long)(off / 512), got[i], want[i]);
    return -1;
}

static int judge_failure(struct wr_compare *c, uint64_t off, bool expected,
                         const struct vd_err *err)
{
    c->n_failed++;
    if (expected || may_fail(c, off, 1) || inside(&c->any, off))
        return 0;
    (void)snprintf(c->why, sizeof(c->why), "cannot read %llu (sector %llu): %.250s",
                   (unsigned long long)off, (unsigned long long)(off / 512), err->msg);
    return -1;
}

static int judge_unreadable(struct wr_compare *c, uint64_t off)
{
    if (inside(&c->any, off))
        return 0;
    (void)snprintf(c->why, sizeof(c->why), "%llu was read, but nobody can know what is there",
                   (unsigned long long)off);
    return -1;
}

static int compare_sectors(struct wr_compare *c, uint64_t off, uint8_t *got, const uint8_t *want,
                           const uint8_t *bad, uint64_t len, bool have)
{
    struct vd_err err = VD_ERR_INIT;
    uint64_t at, n, first = off / 512;

    for (at = 0; at < len; at += n) {
        bool expected = bad[(off + at) / 512 - first];
        int rc = 0;

        n = 512 - (off + at) % 512;
        n = n < len - at ? n : len - at;
        if (!have)
            rc = blk_read(c->dev, off + at, got + at, n, &err);
        if (rc && judge_failure(c, off + at, expected, &err))
            return -1;
        if (!rc && expected && judge_unreadable(c, off + at))
            return -1;
        if (!rc && !expected && judge(c, off + at, got + at, want + at, n))
            return -1;
    }
    return 0;
}

int wr_compare_read(struct wr_compare *c, uint64_t off, uint64_t len)
{
    uint8_t *got, *want, *bad;
    struct vd_err err = VD_ERR_INIT;
    int rc = 0;

    if (off >= c->spec->size || off >= c->dev->size)
        return 0;
    len = len < CHUNK_MAX ? len : CHUNK_MAX;
    len = len < c->spec->size - off ? len : c->spec->size - off;
    len = len < c->dev->size - off ? len : c->dev->size - off;
    got = wr_alloc(1, len);
    want = wr_alloc(1, len);
    bad = wr_alloc(1, len / 512 + 2);
    wr_expect(c->spec, off, want, len, bad);
    if (blk_read(c->dev, off, got, len, &err) == 0)
        rc = compare_sectors(c, off, got, want, bad, len, true);
    else
        rc = compare_sectors(c, off, got, want, bad, len, false);
    free(got);
    free(want);
    free(bad);
    return rc;
}

/* Does the model agree that the run is what the map says? */
static int judge_run(struct wr_compare *c, uint64_t off, const struct blk_extent *ext)
{
    uint64_t at, n;

    for (at = off; at < off + ext->len && at < c->spec->size; at += n) {
        const struct wr_run *run;
        unsigned member;
        enum wr_state state = wr_answer(c->spec, at, &n, &member, &run);
        bool excused;

        n = n < off + ext->len - at ? n : off + ext->len - at;
        excused = touches(&c->any, at, n) || touches(&c->alt, at, n);

        if ((ext->status == BLK_ZEROS || ext->status == BLK_ABSENT) && state == WR_DATA &&
            !excused) {
            (void)snprintf(c->why, sizeof(c->why),
                           "the map says zeros at %llu, where there is data",
                           (unsigned long long)at);
            return -1;
        }
        if (ext->status == BLK_UNREADABLE && state != WR_NOACCESS && !excused &&
            !may_fail(c, at, n)) {
            struct vd_err err = VD_ERR_INIT;
            uint8_t byte;

            (void)blk_read(c->dev, at, &byte, 1, &err);
            (void)snprintf(c->why, sizeof(c->why), "the map says unreadable at %llu: %.250s",
                           (unsigned long long)at, err.msg);
            return -1;
        }
        if (state == WR_NOACCESS && ext->status != BLK_UNREADABLE && ext->status != BLK_UNKNOWN &&
            !excused) {
            (void)snprintf(c->why, sizeof(c->why), "the map says readable at %llu, a NOACCESS part",
                           (unsigned long long)at);
            return -1;
        }
    }
    return 0;
}

/* Map and reads of one place must agree, whatever the model says. */
static int agree(struct wr_compare *c, uint64_t off, uint64_t len, const struct blk_extent *ext,
                 uint64_t in_run)
{
    static uint8_t mine[4096], below[4096];
    struct vd_err err = VD_ERR_INIT;
    int rc;

    len = len < sizeof(mine) ? len : sizeof(mine);
    rc = blk_read(c->dev, off, mine, len, &err);
    if (ext->status == BLK_UNREADABLE && rc == 0) {
        (void)snprintf(c->why, sizeof(c->why), "%llu is mapped unreadable and was read",
                       (unsigned long long)off);
        return -1;
    }
    if (rc && (ext->status == BLK_ZEROS || ext->status == BLK_ABSENT)) {
        (void)snprintf(c->why, sizeof(c->why), "%llu is mapped zeros and cannot be read: %.250s",
                       (unsigned long long)off, err.msg);
        return -1;
    }
    if (rc == 0 && (ext->status == BLK_ZEROS || ext->status == BLK_ABSENT) &&
        (mine[0] || memcmp(mine, mine + 1, len - 1) != 0)) {
        (void)snprintf(c->why, sizeof(c->why), "%llu is mapped zeros and reads otherwise",
                       (unsigned long long)off);
        return -1;
    }
    if (rc == 0 && ext->status == BLK_DATA && ext->child &&
        (blk_read(ext->child, ext->child_off + in_run, below, len, &err) != 0 ||
         memcmp(mine, below, len) != 0)) {
        (void)snprintf(c->why, sizeof(c->why), "%llu is mapped to a place that reads otherwise",
                       (unsigned long long)off);
        return -1;
    }
    return 0;
}

int wr_compare_map(struct wr_compare *c, unsigned max_runs, uint64_t piece)
{
    uint64_t off = 0, n, end;
    unsigned i;

    for (i = 0; i < max_runs && off < c->dev->size; i++) {
        struct blk_extent ext;
        struct vd_err err = VD_ERR_INIT;

        if (blk_map(c->dev, off, UINT64_MAX, &ext, &err)) {
            if (judge_failure(c, off, false, &err))
                return -1;
            off = (off / 512 + 1) * 512; /* an unreadable table: go on behind it */
            continue;
        }
        n = ext.len < piece ? ext.len : piece;
        end = off + ext.len - n;
        if (judge_run(c, off, &ext) || agree(c, off, n, &ext, 0) ||
            agree(c, end, n, &ext, ext.len - n) || wr_compare_read(c, off, n) ||
            wr_compare_read(c, end, n))
            return -1;
        off += ext.len;
    }
    return 0;
}
