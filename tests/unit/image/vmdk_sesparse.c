/* SPDX-License-Identifier: Apache-2.0 */
/* seSparse: headers, entries, reading through a descriptor, alone and in chains, damage, the check. */
#include "esx_build.h"

#include "base/bytes.h"
#include "image/vmdk/sesparse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- headers ---- */

/* As ESXi lays a disk of 100 MiB out (its log of making one). */
static void make_headers(uint8_t *bytes)
{
    static const uint64_t fields[] = {0xcafebabe, 0x200000001, 204800, 8,     64,    0,    0,
                                      0,          0,           0,      1,     1,     2,    2,
                                      2048,       2048,        4096,   2048,  6144,  2048, 8192,
                                      2048,       10240,       2048,   12288, 204800};
    size_t i;

    memset(bytes, 0, 1024);
    for (i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        vd_put_le64(bytes + 8 * i, fields[i]);
    vd_put_le64(bytes + 512, 0xcafecafe);
    vd_put_le64(bytes + 520, 3);
    vd_put_le64(bytes + 528, 36);
}

#define FILE_SIZE (UINT64_C(12288) * 512)

static void test_decode(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    struct vmdk_se_volatile v;
    struct vmdk_se_header h;
    uint8_t bytes[1024];

    (void)state;
    make_headers(bytes);
    assert_ok(vmdk_se_header_decode(bytes, 512, &h, &err));
    assert_true(h.version == VMDK_SE_VERSION);
    assert_int_equal(h.capacity_sectors, 204800);
    assert_int_equal(h.grain_sectors, 8);
    assert_int_equal(h.gt_sectors, 64);
    assert_int_equal(h.area[VMDK_SE_VOLATILE].off_sectors, 1);
    assert_int_equal(h.area[VMDK_SE_JOURNAL_HEADER].sectors, 2);
    assert_int_equal(h.area[VMDK_SE_DIRECTORY].off_sectors, 4096);
    assert_int_equal(h.area[VMDK_SE_TABLES].off_sectors, 6144);
    assert_int_equal(h.area[VMDK_SE_FREE_BITMAP].off_sectors, 8192);
    assert_int_equal(h.area[VMDK_SE_BACK_MAP].off_sectors, 10240);
    assert_int_equal(h.area[VMDK_SE_GRAINS].off_sectors, 12288);
    assert_int_equal(h.area[VMDK_SE_GRAINS].sectors, 204800);
    assert_false(h.padding_used);
    assert_ok(vmdk_se_header_validate(&h, FILE_SIZE, &err));
    bytes[511] = 1;
    assert_ok(vmdk_se_header_decode(bytes, 512, &h, &err));
    assert_true(h.padding_used);
    assert_ok(vmdk_se_volatile_decode(bytes + 512, 512, &v, &err));
    assert_int_equal(v.free_gt, 3);
    assert_int_equal(v.next_transaction, 36);
    assert_int_equal(v.replay_journal, 0);
    assert_ok(vmdk_se_volatile_validate(&v, &err));
    v.replay_journal = 1;
    assert_fails(vmdk_se_volatile_validate(&v, &err), VD_EUNSUPPORTED,
                 "journal has to be replayed");
    assert_fails(vmdk_se_header_decode(bytes, 511, &h, &err), VD_ECORRUPT, "cut after 511");
    assert_fails(vmdk_se_header_decode(bytes + 512, 512, &h, &err), VD_ECORRUPT, "signature");
    assert_fails(vmdk_se_volatile_decode(bytes, 512, &v, &err), VD_ECORRUPT, "signature");
    assert_fails(vmdk_se_volatile_decode(bytes + 512, 511, &v, &err), VD_ECORRUPT, "signature");
}

static const struct {
    unsigned field; /* number of the 64-bit field */
    uint64_t value;
    enum vd_class cls;
    const char *text;
} invalid[] = {
    {1, UINT64_C(0x200000002), VD_EUNSUPPORTED, "version 2.2"},
    {1, 1, VD_EUNSUPPORTED, "version 0.1"},
    {2, 0, VD_ECORRUPT, "capacity of 0"},
    {2, UINT64_MAX, VD_ECORRUPT, "capacity of"},
    {2, UINT64_C(1) << 40, VD_ELIMIT, "over the limit"},
    {3, 16, VD_EUNSUPPORTED, "grain size of 16"},
    {4, 128, VD_EUNSUPPORTED, "tables of 128"},
    {5, 1, VD_EUNSUPPORTED, "flags 0x1"},
    {6, 1, VD_EUNSUPPORTED, "reserved field 1"},
    {9, 5, VD_EUNSUPPORTED, "reserved field 4 is 0x5"},
    {10, UINT64_MAX, VD_ECORRUPT, "volatile header (1 sectors"},
    {10, 0, VD_ECORRUPT, "volatile header lies on the header"},
    {10, 4096, VD_ECORRUPT, "volatile header and the grain directory overlap"},
    {16, 0, VD_ECORRUPT, "grain directory lies on the header"},
    {16, 12287, VD_ECORRUPT, "grain directory"},
    {16, UINT64_C(1) << 62, VD_ECORRUPT, "impossible place"},
    {16, UINT64_C(1) << 40, VD_ECORRUPT, "passes the end of the file"},
    {17, 0, VD_ECORRUPT, "no entries"},
    {17, 2049, VD_ECORRUPT, "grain directory and the grain tables overlap"},
    {18, 12288, VD_ECORRUPT, "grain tables and the grains overlap"},
    {20, 2048, VD_ECORRUPT, "overlap"},
    {25, UINT64_MAX, VD_ECORRUPT, "grains"},
};

static void test_validate(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    struct vmdk_se_header h;
    uint8_t bytes[1024];
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(invalid) / sizeof(invalid[0]); i++) {
        make_headers(bytes);
        vd_put_le64(bytes + (size_t)8 * invalid[i].field, invalid[i].value);
        assert_ok(vmdk_se_header_decode(bytes, 512, &h, &err));
        assert_fails(vmdk_se_header_validate(&h, FILE_SIZE, &err), invalid[i].cls, invalid[i].text);
    }
}

/* ---- entries ---- */

static void shape(struct vmdk_se_shape *g)
{
    struct vd_err err = VD_ERR_INIT;
    struct vmdk_se_header h;
    uint8_t bytes[1024];

    make_headers(bytes);
    vd_put_le64(bytes + 16, 204800 - 3); /* the last grain has five sectors */
    assert_ok(vmdk_se_header_decode(bytes, 512, &h, &err));
    vmdk_se_shape_init(&h, FILE_SIZE + 100 * 4096 + 512, g);
}

static void test_shape(void **state)
{
    struct vmdk_se_shape g;

    (void)state;
    shape(&g);
    assert_int_equal(g.capacity, (204800 - 3) * 512);
    assert_int_equal(g.n_tables, 7);
    assert_int_equal(g.n_entries, 7);
    assert_int_equal(g.n_slots, 32);
    assert_int_equal(g.n_grains, 25600);
    assert_int_equal(vmdk_se_table_entries(&g, 0), 4096);
    assert_int_equal(vmdk_se_table_entries(&g, 6), 25600 - 6 * 4096);
    assert_int_equal(vmdk_se_grain_bytes(&g, 25598), 4096);
    assert_int_equal(vmdk_se_grain_bytes(&g, 25599), 5 * 512);
}

static void test_table_place(void **state)
{
    static const struct {
        uint64_t gde;
        enum vmdk_place_kind kind;
    } v[] = {
        {0, VMDK_PLACE_ABSENT},
        {UINT64_C(0x1000000000000000), VMDK_PLACE_DATA},
        {UINT64_C(0x100000000000001f), VMDK_PLACE_DATA},
        {UINT64_C(0x1000000000000020), VMDK_PLACE_BAD}, /* 32 tables fit */
        {UINT64_C(0x10000000ffffffff), VMDK_PLACE_BAD},
        {UINT64_C(0x1000000100000000), VMDK_PLACE_BAD},
        {UINT64_C(0x1800000000000000), VMDK_PLACE_BAD},
        {UINT64_C(0x2000000000000000), VMDK_PLACE_BAD},
        {UINT64_C(0x3000000000000000), VMDK_PLACE_BAD},
        {1, VMDK_PLACE_BAD},
        {UINT64_MAX, VMDK_PLACE_BAD},
    };
    struct vmdk_se_shape g;
    size_t i;

    (void)state;
    shape(&g);
    for (i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
        struct vmdk_se_place p = vmdk_se_table_place(&g, 0, v[i].gde);

        assert_int_equal(p.at.kind, v[i].kind);
        assert_true((p.at.kind == VMDK_PLACE_BAD) == (p.at.why != NULL));
    }
    assert_int_equal(vmdk_se_table_place(&g, 0, eb_se_gde(5)).at.off, (6144 + 5 * 64) * 512);
    g.file_size = (6144 + 64) * 512 - 1; /* cuts table 0 by a byte */
    assert_int_equal(vmdk_se_table_place(&g, 0, eb_se_gde(0)).at.kind, VMDK_PLACE_BAD);
    assert_int_equal(vmdk_se_table_place(&g, 6, eb_se_gde(0)).at.kind, VMDK_PLACE_DATA);
}

static void test_grain_place(void **state)
{
    static const struct {
        uint64_t gte;
        enum vmdk_place_kind kind;
        bool unmapped;
    } v[] = {
        {0, VMDK_PLACE_ABSENT, false},
        {1, VMDK_PLACE_BAD, false},
        {UINT64_C(0x0001000000000000), VMDK_PLACE_BAD, false},
        {UINT64_C(0x1000000000000000), VMDK_PLACE_ZEROS, true},
        {UINT64_C(0x1001000000000000), VMDK_PLACE_ZEROS, true},
        {UINT64_C(0x2000000000000000), VMDK_PLACE_ZEROS, false},
        {UINT64_C(0x3000000000000000), VMDK_PLACE_DATA, false},
        {UINT64_C(0x3063000000000000), VMDK_PLACE_DATA, false}, /* 99 */
        {UINT64_C(0x3064000000000000), VMDK_PLACE_DATA, false}, /* 100: the file ends in it */
        {UINT64_C(0x3065000000000000), VMDK_PLACE_BAD, false},
        {UINT64_C(0x33ff000000000006), VMDK_PLACE_BAD, false}, /* 25599: past the end */
        {UINT64_C(0x3400000000000006), VMDK_PLACE_BAD, false}, /* 25600: past the area */
        {UINT64_C(0x3fffffffffffffff), VMDK_PLACE_BAD, false},
        {UINT64_C(0x4000000000000000), VMDK_PLACE_BAD, false},
        {UINT64_MAX, VMDK_PLACE_BAD, false},
    };
    struct vmdk_se_shape g;
    struct vmdk_se_place p;
    size_t i;

    (void)state;
    shape(&g);
    for (i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
        p = vmdk_se_grain_place(&g, 0, v[i].gte);
        assert_int_equal(p.at.kind, v[i].kind);
        assert_int_equal(p.unmapped, v[i].unmapped);
        if (p.at.kind == VMDK_PLACE_BAD)
            assert_non_null(p.at.why);
    }
    p = vmdk_se_grain_place(&g, 0, UINT64_C(0x3063000000000000));
    assert_int_equal(p.at.off, FILE_SIZE + 99 * 4096);
    assert_int_equal(p.at.len, 4096);
    assert_null(p.at.why);
    p = vmdk_se_grain_place(&g, 0, UINT64_C(0x3064000000000000));
    assert_int_equal(p.at.len, 512);
    assert_non_null(p.at.why);
    g.file_size = UINT64_C(1) << 40; /* the number's halves: 0x345 and 0x12 << 12 */
    g.n_grains = UINT64_C(1) << 50;
    p = vmdk_se_grain_place(&g, 0, UINT64_C(0x3345000000000012));
    assert_int_equal(p.number, 0x12345);
    assert_int_equal(p.at.off, FILE_SIZE + UINT64_C(0x12345) * 4096);
}

/* ---- reading ---- */

/* Two tables of which the last is short, the last grain too. */
#define DISK_SIZE (UINT64_C(17) * (1 << 20) + 3 * 512)

static void test_chain(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < 2; i++) {
        struct wr_spec base = {
            .kind = i ? WR_VMDK_SPARSE : WR_VMDK_FLAT, .name = "b.vmdk", .id = 1};
        struct wr_spec mid = {.kind = WR_VMDK_SESPARSE,
                              .name = "b-000001.vmdk",
                              .id = 2,
                              .parent = &base,
                              .knobs = {.shuffle = i}};
        struct wr_spec tip = {.kind = WR_VMDK_SESPARSE,
                              .name = "b-000002.vmdk",
                              .id = 3,
                              .parent = &mid,
                              .knobs = {.shuffle = 3 * i}};
        struct vd_err err = VD_ERR_INIT;
        struct chain *chain = NULL;
        struct blkdev *disk = NULL;
        struct wr_dir dir = {0};
        struct eb_want want;

        eb_random(&base, DISK_SIZE, 10 + i);
        eb_random(&mid, DISK_SIZE, 20 + i);
        eb_random(&tip, DISK_SIZE, 30 + i);
        wr_build_chain(&tip, &dir);
        assert_ok(eb_open(&dir, tip.name, &chain, &disk, &err));
        assert_int_equal(chain->n, 3);
        assert_string_equal(chain->v[0]->kind, "seSparse");
        assert_true(eb_has_fact(chain, 0, VD_FACT_INFO, "the journal is clean"));
        eb_want(&tip, &want);
        eb_check(disk, &want);
        eb_want_free(&want);
        blk_unref(disk);
        chain_free(chain);
        wr_dir_clear(&dir);
        eb_free_runs(&base);
        eb_free_runs(&mid);
        eb_free_runs(&tip);
    }
}

struct rig {
    struct wr_spec base, tip;
    struct wr_dir dir;
    struct wr_file *f;
    struct eb_want want;
};

static void rig_make(struct rig *r)
{
    static const struct wr_run base_runs[] = {{.len = DISK_SIZE, .state = WR_DATA, .seed = 1}};

    memset(r, 0, sizeof(*r));
    r->base = (struct wr_spec){.kind = WR_VMDK_FLAT,
                               .name = "b.vmdk",
                               .id = 1,
                               .size = DISK_SIZE,
                               .runs = base_runs,
                               .n_runs = 1};
    r->tip =
        (struct wr_spec){.kind = WR_VMDK_SESPARSE, .name = "t.vmdk", .id = 2, .parent = &r->base};
    eb_random(&r->tip, DISK_SIZE, 6);
    wr_build_chain(&r->tip, &r->dir);
    r->f = wr_file_named(&r->dir, "t-sesparse.vmdk");
    eb_want(&r->tip, &r->want);
}

static void rig_free(struct rig *r)
{
    eb_want_free(&r->want);
    wr_dir_clear(&r->dir);
    eb_free_runs(&r->tip);
}

static void rig_check(struct rig *r)
{
    struct vd_err err = VD_ERR_INIT;
    struct chain *chain = NULL;
    struct blkdev *disk = NULL;

    assert_ok(eb_open(&r->dir, "t.vmdk", &chain, &disk, &err));
    eb_check(disk, &r->want);
    blk_unref(disk);
    chain_free(chain);
}

/* The entry of the n-th stored grain. */
static const struct wr_mark *stored_entry(const struct rig *r, unsigned n)
{
    uint64_t i;

    for (i = 0;; i++) {
        const struct wr_mark *m = wr_mark_named(r->f, "et", i);

        if (wr_get(r->f, m) >> 60 == 3 && n-- == 0)
            return m;
    }
}

static void test_bad_entries(void **state)
{
    static const uint64_t bad[] = {1,
                                   UINT64_C(1) << 63,
                                   UINT64_C(0x4000000000000000),
                                   UINT64_C(0x3fffffffffffffff),
                                   UINT64_C(0x3000000000001000),
                                   UINT64_MAX};
    struct rig r;
    const struct wr_mark *m, *other;
    size_t i;

    (void)state;
    rig_make(&r);
    m = stored_entry(&r, 3);
    other = stored_entry(&r, 9);
    eb_want_bad(&r.want, m->disk_off, m->disk_len);
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        wr_set(r.f, m, bad[i]);
        rig_check(&r);
    }
    wr_set(r.f, m, wr_get(r.f, other)); /* both are in doubt */
    eb_want_bad(&r.want, other->disk_off, other->disk_len);
    rig_check(&r);
    wr_set(r.f, m, 0); /* the parent's */
    eb_want_from(&r.want, &r.tip, 0, r.want.size);
    eb_want_from(&r.want, &r.base, m->disk_off, m->disk_len);
    rig_check(&r);
    for (i = 1; i <= 2; i++) { /* zeros that hide the parent */
        wr_set(r.f, m, (uint64_t)i << 60 | 5);
        eb_want_from(&r.want, NULL, m->disk_off, m->disk_len);
        rig_check(&r);
    }
    rig_free(&r);
}

static void test_bad_directory_entries(void **state)
{
    static const uint64_t bad[] = {1,
                                   UINT64_C(1) << 63,
                                   UINT64_C(0x1000000100000000),
                                   UINT64_C(0x1000000000000003),
                                   UINT64_C(0x10000000ffffffff),
                                   UINT64_C(0x2000000000000000),
                                   UINT64_MAX};
    struct rig r;
    const struct wr_mark *m, *next;
    size_t i;

    (void)state;
    rig_make(&r);
    m = wr_mark_named(r.f, "ed", 0);
    next = wr_mark_named(r.f, "ed", 1);
    eb_want_bad(&r.want, m->disk_off, m->disk_len);
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        wr_set(r.f, m, bad[i]);
        rig_check(&r);
    }
    wr_set(r.f, m, wr_get(r.f, next));
    eb_want_bad(&r.want, next->disk_off, next->disk_len);
    rig_check(&r);
    wr_set(r.f, m, 0);
    eb_want_from(&r.want, &r.tip, 0, r.want.size);
    eb_want_from(&r.want, &r.base, m->disk_off, m->disk_len);
    rig_check(&r);
    rig_free(&r);
}

/* A directory that is too small costs what it does not cover. */
static void test_short_directory(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    struct chain *chain = NULL;
    struct blkdev *disk = NULL;
    struct blk_extent ext;
    struct eb_file file;
    struct eb_se se;
    uint8_t sector[512];

    (void)state;
    eb_file_open(&file, "x.vmdk");
    eb_se_headers(&file, UINT64_C(65) * 32768, &se);
    eb_put_le(&file, 8 * 17, 8, 1); /* one sector: 64 entries of 65 */
    assert_ok(chain_open(&file.source, "x.vmdk", NULL, &chain, &err));
    assert_ok(chain_point(chain, 0, &disk, &err));
    assert_true(eb_has_fact(chain, 0, VD_FACT_WARNING, "has 64 entries, the disk needs 65"));
    assert_true(eb_has_fact(chain, 0, VD_FACT_WARNING, "parent cannot be known"));
    assert_string_equal(chain->v[0]->kind, "seSparse extent");
    assert_ok(blk_read(disk, 64 * VMDK_SE_GT_SPAN - 512, sector, 512, &err));
    assert_fails(blk_read(disk, 64 * VMDK_SE_GT_SPAN - 512, sector, 513, &err), VD_ECORRUPT,
                 "directory ends before table 64");
    assert_int_equal(err.offset, 64 * VMDK_SE_GT_SPAN);
    assert_ok(blk_map(disk, 64 * VMDK_SE_GT_SPAN, UINT64_MAX, &ext, &err));
    assert_int_equal(ext.status, BLK_UNREADABLE);
    assert_int_equal(ext.len, VMDK_SE_GT_SPAN);
    blk_unref(disk);
    chain_free(chain);
    eb_file_close(&file);
}

/* More directory than is kept in memory: it is read in pages, and reads right. */
static void test_large_directory(void **state)
{
    const uint64_t capacity = UINT64_C(62) << 31; /* 62 TiB: 4,063,232 tables, 31 MiB */
    const uint64_t table = 4063232 - 7, grain = table * 4096 + 9;
    struct vd_err err = VD_ERR_INIT;
    struct chain *chain = NULL;
    struct blkdev *disk = NULL;
    uint8_t wanted[512], sector[512];
    struct eb_file file;
    struct eb_se se;

    (void)state;
    eb_file_open(&file, "x.vmdk");
    eb_se_headers(&file, capacity, &se);
    test_fill(wanted, sizeof(wanted), 4);
    eb_put_le(&file, se.dir_off + 8 * table, 8, eb_se_gde(5));
    eb_put_le(&file, se.tables_off + 5 * 32768 + 8 * 9, 8, eb_se_gte(3));
    eb_put(&file, se.grains_off + 3 * 4096 + 512, wanted, 512);
    eb_size(&file, se.grains_off + 4 * 4096);
    assert_ok(chain_open(&file.source, "x.vmdk", NULL, &chain, &err));
    assert_ok(chain_point(chain, 0, &disk, &err));
    assert_int_equal(disk->size, capacity * 512);
    assert_true(eb_has_fact(chain, 0, VD_FACT_INFO, "too large to be kept in memory"));
    assert_ok(blk_read(disk, grain * 4096 + 512, sector, 512, &err));
    assert_memory_equal(sector, wanted, 512);
    assert_ok(blk_read(disk, grain * 4096 - 512, sector, 512, &err));
    assert_true(vd_all_zero(sector, 512));
    blk_unref(disk);
    chain_free(chain);
    eb_file_close(&file);
}

static void test_dirty(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    struct chain *chain = NULL;
    struct blkdev *disk = NULL;
    struct rig r;

    (void)state;
    rig_make(&r);
    wr_set(r.f, wr_mark_named(r.f, "volatile.replay_journal", 0), 1);
    assert_fails(eb_open(&r.dir, "t.vmdk", &chain, &disk, &err), VD_EUNSUPPORTED,
                 "t-sesparse.vmdk: the file was not closed cleanly");
    assert_fails(eb_open(&r.dir, "t-sesparse.vmdk", &chain, &disk, &err), VD_EUNSUPPORTED,
                 "journal's format is not public");
    rig_free(&r);
}

static void test_cut(void **state)
{
    unsigned n_opened = 0, n_refused = 0;
    uint64_t len, cut, sector;
    struct rig r;

    (void)state;
    rig_make(&r);
    len = r.f->len;
    for (cut = 0; cut < len; cut += cut < 8192 ? 512 : len / 40) {
        struct vd_err err = VD_ERR_INIT;
        struct chain *chain = NULL;
        struct blkdev *disk = NULL;
        uint8_t buf[512];

        r.f->len = cut;
        if (eb_open(&r.dir, "t.vmdk", &chain, &disk, &err)) {
            n_refused++;
            continue;
        }
        n_opened++;
        for (sector = 0; sector < r.want.size / 512; sector += 11)
            if (blk_read(disk, sector * 512, buf, 512, &err) == 0)
                assert_memory_equal(buf, r.want.bytes + sector * 512, 512);
        blk_unref(disk);
        chain_free(chain);
    }
    assert_true(n_opened > 20 && n_refused >= 10);
    r.f->len = len;
    rig_free(&r);
}

/* ---- check ---- */

static void test_check(void **state)
{
    const struct wr_mark *m, *other, *ed;
    struct eb_report report;
    uint64_t old, n_stored = 0, i;
    char line[64];
    struct rig r;

    (void)state;
    rig_make(&r);
    for (i = 0; i < (DISK_SIZE + 4095) / 4096; i++)
        n_stored += wr_get(r.f, wr_mark_named(r.f, "et", i)) >> 60 == 3;
    eb_run_check(&r.dir, "t.vmdk", &report);
    assert_true(strncmp(report.text, "grain directory entries=2\n", 26) == 0); /* no finding */
    assert_int_equal(eb_count_of(&report, "0 unreferenced\n"), 1); /* room behind the grains */
    (void)snprintf(line, sizeof(line), "\ngrains=%llu\n", (unsigned long long)n_stored);
    assert_non_null(strstr(report.text, line));
    assert_non_null(strstr(report.text, "grain tables=2\n"));
    m = stored_entry(&r, 3);
    other = stored_entry(&r, 9);
    old = wr_get(r.f, m);
    wr_set(r.f, m, UINT64_MAX);
    eb_run_check(&r.dir, "t.vmdk", &report);
    assert_int_equal(eb_count_of(&report, "2 table_entry\n"), 1);
    wr_set(r.f, m, wr_get(r.f, other));
    eb_run_check(&r.dir, "t.vmdk", &report);
    assert_int_equal(eb_count_of(&report, "2 overlap\n"), 1);
    wr_set(r.f, m, old);
    ed = wr_mark_named(r.f, "ed", 0);
    wr_set(r.f, ed, 7);
    eb_run_check(&r.dir, "t.vmdk", &report);
    assert_int_equal(eb_count_of(&report, "2 directory_entry\n"), 1);
    assert_non_null(strstr(report.text, "grain tables=1\n"));
    wr_set(r.f, ed, wr_get(r.f, wr_mark_named(r.f, "ed", 1)));
    eb_run_check(&r.dir, "t.vmdk", &report);
    assert_int_equal(eb_count_of(&report, "2 overlap\n"), 1);
    assert_int_equal(eb_count_of(&report, "2 table_entry\n"), 0);
    rig_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decode),          cmocka_unit_test(test_validate),
        cmocka_unit_test(test_shape),           cmocka_unit_test(test_table_place),
        cmocka_unit_test(test_grain_place),     cmocka_unit_test(test_chain),
        cmocka_unit_test(test_bad_entries),     cmocka_unit_test(test_bad_directory_entries),
        cmocka_unit_test(test_short_directory), cmocka_unit_test(test_large_directory),
        cmocka_unit_test(test_dirty),           cmocka_unit_test(test_cut),
        cmocka_unit_test(test_check),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
