/* SPDX-License-Identifier: Apache-2.0 */
/* COWD: the header, reading through a descriptor, alone and in chains, and damage. */
#include "esx_build.h"

#include "base/bytes.h"
#include "image/vmdk/cowd.h"
#include "image/vmdk/esx.h"

#include <stdlib.h>
#include <string.h>

/* ---- header ---- */

static void make_header(uint8_t *h)
{
    memset(h, 0, VMDK_COWD_HEADER_SIZE);
    memcpy(h, "COWD", 4);
    vd_put_le32(h + 4, 1);
    vd_put_le32(h + 8, 3);
    vd_put_le32(h + 12, 10000);
    vd_put_le32(h + 16, 1);
    vd_put_le32(h + 20, 4);
    vd_put_le32(h + 24, 3);
    vd_put_le32(h + 28, 77);
    vd_put_le32(h + 32, 1024); /* cylinders */
    vd_put_le32(h + 36, 16);
    vd_put_le32(h + 40, 63);
    vd_put_le32(h + 1060, 5);
    memcpy(h + 1064, "disk", 5);
    vd_put_le32(h + 1636, 4);
    vd_put_le32(h + 1648, 1);
}

static void test_decode(void **state)
{
    uint8_t bytes[VMDK_COWD_HEADER_SIZE];
    struct vmdk_cowd_header h;
    struct vd_err err = VD_ERR_INIT;

    (void)state;
    make_header(bytes);
    assert_ok(vmdk_cowd_decode(bytes, sizeof(bytes), &h, &err));
    assert_int_equal(h.version, 1);
    assert_int_equal(h.flags, 3);
    assert_int_equal(h.capacity_sectors, 10000);
    assert_int_equal(h.grain_sectors, 1);
    assert_int_equal(h.gd_off_sectors, 4);
    assert_int_equal(h.gd_entries, 3);
    assert_int_equal(h.free_sector, 77);
    assert_false(h.is_child);
    assert_int_equal(h.cylinders, 1024);
    assert_int_equal(h.heads, 16);
    assert_int_equal(h.sectors, 63);
    assert_int_equal(h.generation, 5);
    assert_string_equal(h.name, "disk");
    assert_int_equal(h.saved_generation, 4);
    assert_int_equal(h.unclean_shutdown, 1);
    assert_ok(vmdk_cowd_validate(&h, &err));
    assert_fails(vmdk_cowd_decode(bytes, 2047, &h, &err), VD_ECORRUPT, "cut after 2047 of 2048");
    bytes[0] = 'K';
    assert_fails(vmdk_cowd_decode(bytes, sizeof(bytes), &h, &err), VD_ECORRUPT, "signature");
}

/* Offset 32 is a geometry or a parent, whatever the flags say of it. */
static void test_union(void **state)
{
    uint8_t bytes[VMDK_COWD_HEADER_SIZE];
    struct vmdk_cowd_header h;
    struct vd_err err = VD_ERR_INIT;

    (void)state;
    make_header(bytes);
    memset(bytes + 32, 0, 12);
    assert_ok(vmdk_cowd_decode(bytes, sizeof(bytes), &h, &err));
    assert_false(h.is_child); /* flags 3 and nothing there: as recent deltas are */
    memcpy(bytes + 32, "base.vmdk", 10);
    vd_put_le32(bytes + 1056, 9);
    assert_ok(vmdk_cowd_decode(bytes, sizeof(bytes), &h, &err));
    assert_true(h.is_child);
    assert_string_equal(h.parent_name, "base.vmdk");
    assert_int_equal(h.parent_generation, 9);
    assert_int_equal(h.cylinders, 0);
    vd_put_le32(bytes + 8, 2); /* not a root, and without a name */
    memset(bytes + 32, 0, 1024);
    assert_ok(vmdk_cowd_decode(bytes, sizeof(bytes), &h, &err));
    assert_true(h.is_child);
    assert_string_equal(h.parent_name, "");
    memset(bytes + 32, 'x', 1024); /* no end */
    memset(bytes + 1064, 'y', 60);
    assert_ok(vmdk_cowd_decode(bytes, sizeof(bytes), &h, &err));
    assert_int_equal(strlen(h.parent_name), 1024);
    assert_int_equal(strlen(h.name), 60);
}

static const struct {
    unsigned at;
    uint32_t value;
    enum vd_class cls;
    const char *text;
} invalid[] = {
    {4, 2, VD_EUNSUPPORTED, "version 2"},
    {12, 0, VD_ECORRUPT, "capacity is 0"},
    {16, 0, VD_ECORRUPT, "grain size is 0"},
    {16, 4097, VD_ELIMIT, "4097 sectors"},
    {16, UINT32_MAX, VD_ELIMIT, "over the limit"},
    {20, 0, VD_ECORRUPT, "sector 0 lies inside the header"},
    {20, 3, VD_ECORRUPT, "sector 3 lies inside the header"},
    {24, 0, VD_ECORRUPT, "no entries"},
};

static void test_validate(void **state)
{
    uint8_t bytes[VMDK_COWD_HEADER_SIZE];
    struct vmdk_cowd_header h;
    struct vd_err err = VD_ERR_INIT;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(invalid) / sizeof(invalid[0]); i++) {
        make_header(bytes);
        vd_put_le32(bytes + invalid[i].at, invalid[i].value);
        assert_ok(vmdk_cowd_decode(bytes, sizeof(bytes), &h, &err));
        assert_fails(vmdk_cowd_validate(&h, &err), invalid[i].cls, invalid[i].text);
    }
}

static void test_device_paths(void **state)
{
    (void)state;
    assert_true(vmdk_is_device_path("/dev/sda"));
    assert_true(vmdk_is_device_path("/DEV/rdisk0"));
    assert_true(vmdk_is_device_path("\\\\.\\PhysicalDrive0"));
    assert_true(vmdk_is_device_path("\\\\?\\Volume{1}"));
    assert_true(vmdk_is_device_path("/vmfs/devices/disks/naa.6"));
    assert_false(vmdk_is_device_path("dev/sda"));
    assert_false(vmdk_is_device_path("/vmfs/volumes/ds/dev.vmdk"));
    assert_false(vmdk_is_device_path("\\\\server\\share\\x.vmdk"));
    assert_false(vmdk_is_device_path("x.vmdk"));
    assert_false(vmdk_is_device_path(""));
}

/* ---- reading ---- */

/* Three tables of which the last is short, the last grain of 4 KiB too. */
#define DISK_SIZE (UINT64_C(5) * (1 << 20) + 3 * 512)

static void test_chain(void **state)
{
    static const uint32_t units[] = {512, 1536, 65536};
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        struct wr_spec base = {.kind = WR_VMDK_FLAT, .name = "b.vmdk", .id = 1};
        struct wr_spec mid = {.kind = WR_VMDK_COWD,
                              .name = "b-000001.vmdk",
                              .id = 2,
                              .unit = units[i],
                              .parent = &base,
                              .knobs = {.shuffle = i, .gap = (uint32_t)i % 3}};
        struct wr_spec tip = {.kind = WR_VMDK_COWD,
                              .name = "b-000002.vmdk",
                              .id = 3,
                              .unit = units[i],
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
        assert_string_equal(chain->v[0]->kind, "vmfsSparse");
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

/* Extents of both ESX kinds, hosted ones and flat ones in one descriptor. */
static void test_several_extents(void **state)
{
    const struct wr_extent extents[] = {
        {.kind = WR_EXTENT_COWD, .size = 3 << 20, .unit = 512},
        {.kind = WR_EXTENT_SESPARSE, .size = 17 << 20, .unit = 4096},
        {.kind = WR_EXTENT_COWD, .size = 1 << 20, .unit = 4096},
        {.kind = WR_EXTENT_SPARSE, .size = 2 << 20, .unit = 65536},
        {.kind = WR_EXTENT_ZERO, .size = 512 * 8},
        {.kind = WR_EXTENT_FLAT, .size = 1 << 20, .start_sector = 5},
    };
    struct wr_spec spec = {.kind = WR_VMDK_CUSTOM,
                           .name = "c.vmdk",
                           .id = 1,
                           .size = (24 << 20) + 512 * 8,
                           .unit = 65536,
                           .extents = extents,
                           .n_extents = 6};
    struct vd_err err = VD_ERR_INIT;
    struct chain *chain = NULL;
    struct blkdev *disk = NULL;
    struct wr_dir dir = {0};
    struct eb_want want;
    uint64_t seed = 4;

    (void)state;
    spec.runs = wr_random_runs(&spec, &seed, 40, &spec.n_runs);
    wr_build(&spec, &dir);
    assert_ok(eb_open(&dir, spec.name, &chain, &disk, &err));
    eb_want(&spec, &want);
    eb_check(disk, &want);
    eb_want_free(&want);
    blk_unref(disk);
    chain_free(chain);
    wr_dir_clear(&dir);
    eb_free_runs(&spec);
}

/* ---- alone ---- */

/* A base and a child of ESX 2: bare files, the parent named in the header. */
static void make_bare_chain(struct wr_dir *dir, struct wr_spec *base, struct wr_spec *tip)
{
    struct wr_file *f;

    *base = (struct wr_spec){.kind = WR_VMDK_COWD, .name = "b.vmdk", .id = 1, .unit = 512};
    *tip = (struct wr_spec){
        .kind = WR_VMDK_COWD, .name = "t.vmdk", .id = 2, .unit = 512, .parent = base};
    eb_random(base, DISK_SIZE, 1);
    eb_random(tip, DISK_SIZE, 2);
    wr_build_chain(tip, dir);
    f = wr_file_named(dir, "t-delta.vmdk");
    vd_put_le32(f->bytes + 8, 2); /* not a root */
    memcpy(f->bytes + 32, "/vmfs/vm/b-delta.vmdk", 22);
    vd_put_le32(f->bytes + 1056, 1); /* as the writer has it in the base */
}

static void test_alone(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    struct chain *chain = NULL;
    struct blkdev *disk = NULL;
    struct wr_spec base, tip;
    struct wr_dir dir = {0};
    struct eb_want want;
    struct wr_file *f;

    (void)state;
    make_bare_chain(&dir, &base, &tip);
    assert_ok(eb_open(&dir, "t-delta.vmdk", &chain, &disk, &err));
    assert_int_equal(chain->n, 2);
    assert_string_equal(chain->v[0]->kind, "vmfsSparse extent");
    assert_string_equal(chain->v[0]->parent_path, "/vmfs/vm/b-delta.vmdk");
    assert_true(eb_has_fact(chain, 0, VD_FACT_WARNING, "opened without a descriptor"));
    assert_true(eb_has_fact(chain, 1, VD_FACT_WARNING, "the parent cannot be known"));
    eb_want(&tip, &want);
    eb_check(disk, &want);
    eb_want_free(&want);
    blk_unref(disk);
    chain_free(chain);
    /* the base was used again after the snapshot */
    f = wr_file_named(&dir, "b-delta.vmdk");
    vd_put_le32(f->bytes + 1060, 2);
    chain = NULL;
    assert_fails(eb_open(&dir, "t-delta.vmdk", &chain, &disk, &err), VD_ECHAIN,
                 "cowd:1:b-delta.vmdk");
    /* a delta that names nobody: zeros where the parent is missing, and that is said */
    f = wr_file_named(&dir, "t-delta.vmdk");
    memset(f->bytes + 32, 0, 1024);
    assert_ok(eb_open(&dir, "t-delta.vmdk", &chain, &disk, &err));
    assert_int_equal(chain->n, 1);
    assert_true(eb_has_fact(chain, 0, VD_FACT_WARNING, "reads as zeros"));
    tip.parent = NULL;
    eb_want(&tip, &want);
    eb_check(disk, &want);
    eb_want_free(&want);
    blk_unref(disk);
    chain_free(chain);
    wr_dir_clear(&dir);
    eb_free_runs(&base);
    eb_free_runs(&tip);
}

static void test_warnings(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    struct chain *chain = NULL;
    struct blkdev *disk = NULL;
    struct wr_spec base, tip;
    struct wr_dir dir = {0};
    struct wr_file *f;

    (void)state;
    make_bare_chain(&dir, &base, &tip);
    f = wr_file_named(&dir, "t-delta.vmdk");
    vd_put_le32(f->bytes + 8, 0x87);
    vd_put_le32(f->bytes + 28, UINT32_MAX);
    vd_put_le32(f->bytes + 1648, 1);
    memcpy(f->bytes + 1064, "snap\x1b", 6);
    assert_ok(eb_open(&dir, "t.vmdk", &chain, &disk, &err));
    assert_true(eb_has_fact(chain, 0, VD_FACT_WARNING, "inconsistent"));
    assert_true(eb_has_fact(chain, 0, VD_FACT_WARNING, "unknown flags 0x00000080"));
    assert_true(eb_has_fact(chain, 0, VD_FACT_WARNING, "not closed cleanly"));
    assert_true(eb_has_fact(chain, 0, VD_FACT_WARNING, "it is cut"));
    assert_true(eb_has_fact(chain, 0, VD_FACT_INFO, "snap\\x1b"));
    blk_unref(disk);
    chain_free(chain);
    /* descriptor and header disagree on whether there is a parent */
    f = wr_file_named(&dir, "b-delta.vmdk");
    memcpy(f->bytes + 32, "old.vmdk", 9);
    assert_ok(eb_open(&dir, "b.vmdk", &chain, &disk, &err));
    assert_true(
        eb_has_fact(chain, 0, VD_FACT_WARNING, "names \"old.vmdk\": the descriptor counts"));
    blk_unref(disk);
    chain_free(chain);
    wr_dir_clear(&dir);
    eb_free_runs(&base);
    eb_free_runs(&tip);
}

/* ---- damage ---- */

struct rig {
    struct wr_spec base, tip;
    struct wr_dir dir;
    struct wr_file *f;
    struct eb_want want;
};

static void rig_make(struct rig *r, uint32_t unit)
{
    memset(r, 0, sizeof(*r));
    r->base = (struct wr_spec){.kind = WR_VMDK_FLAT, .name = "b.vmdk", .id = 1};
    r->tip = (struct wr_spec){
        .kind = WR_VMDK_COWD, .name = "t.vmdk", .id = 2, .unit = unit, .parent = &r->base};
    eb_random(&r->base, DISK_SIZE, 5);
    eb_random(&r->tip, DISK_SIZE, 6);
    wr_build_chain(&r->tip, &r->dir);
    r->f = wr_file_named(&r->dir, "t-delta.vmdk");
    eb_want(&r->tip, &r->want);
}

static void rig_free(struct rig *r)
{
    eb_want_free(&r->want);
    wr_dir_clear(&r->dir);
    eb_free_runs(&r->base);
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

        if (wr_get(r->f, m) && n-- == 0)
            return m;
    }
}

/* An entry that cannot be right costs its own grain, never another byte. */
static void test_bad_entries(void **state)
{
    struct rig r;
    const struct wr_mark *m, *other;
    uint64_t old, end;
    size_t i;

    (void)state;
    rig_make(&r, 4096);
    end = r.f->len / 512;
    m = stored_entry(&r, 3);
    other = stored_entry(&r, 7);
    old = wr_get(r.f, m);
    {
        const uint64_t bad[] = {1, 3, 4, wr_get(r.f, wr_mark_named(r.f, "ed", 0)), end, UINT32_MAX};

        eb_want_bad(&r.want, m->disk_off, m->disk_len);
        for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
            wr_set(r.f, m, bad[i]);
            rig_check(&r);
        }
    }
    /* on another grain, wholly and by half: both are in doubt */
    eb_want_bad(&r.want, other->disk_off, other->disk_len);
    wr_set(r.f, m, wr_get(r.f, other));
    rig_check(&r);
    wr_set(r.f, m, wr_get(r.f, other) + 1);
    eb_want_from(&r.want, &r.tip, 0, r.want.size);
    eb_want_bad(&r.want, m->disk_off, m->disk_len);
    eb_want_bad(&r.want, other->disk_off, other->disk_len);
    { /* … and the grain that lies behind it */
        const struct wr_mark *behind = stored_entry(&r, 8);

        if (wr_get(r.f, behind) < wr_get(r.f, other) + 9 &&
            wr_get(r.f, behind) > wr_get(r.f, other))
            eb_want_bad(&r.want, behind->disk_off, behind->disk_len);
    }
    rig_check(&r);
    /* 0: the parent's */
    wr_set(r.f, m, 0);
    eb_want_from(&r.want, &r.tip, 0, r.want.size);
    eb_want_from(&r.want, &r.base, m->disk_off, m->disk_len);
    rig_check(&r);
    wr_set(r.f, m, old);
    rig_free(&r);
}

static void test_bad_directory_entries(void **state)
{
    struct rig r;
    const struct wr_mark *m, *next;
    size_t i;

    (void)state;
    rig_make(&r, 512); /* three tables */
    m = wr_mark_named(r.f, "ed", 1);
    next = wr_mark_named(r.f, "ed", 2);
    {
        const uint64_t bad[] = {1, 4, r.f->len / 512, r.f->len / 512 - 1, UINT32_MAX};

        eb_want_bad(&r.want, m->disk_off, m->disk_len);
        for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
            wr_set(r.f, m, bad[i]);
            rig_check(&r);
        }
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

/* Cut anywhere: refused, or every byte that is shown is right. */
static void test_cut(void **state)
{
    struct rig r;
    uint64_t len, cut, sector;
    unsigned n_opened = 0, n_refused = 0;

    (void)state;
    rig_make(&r, 4096);
    len = r.f->len;
    for (cut = 0; cut < len; cut += cut < 40000 ? 1024 : len / 40) {
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
        for (sector = 0; sector < r.want.size / 512; sector += 3)
            if (blk_read(disk, sector * 512, buf, 512, &err) == 0)
                assert_memory_equal(buf, r.want.bytes + sector * 512, 512);
        blk_unref(disk);
        chain_free(chain);
    }
    assert_true(n_opened > 20 && n_refused >= 3);
    r.f->len = len;
    rig_free(&r);
}

static void test_check(void **state)
{
    const struct wr_mark *m, *other;
    struct eb_report report;
    struct rig r;
    uint64_t old;

    (void)state;
    rig_make(&r, 512);
    eb_run_check(&r.dir, "t.vmdk", &report);
    assert_true(strncmp(report.text, "grain tables=3\ngrains=", 22) == 0); /* no finding */
    m = stored_entry(&r, 3);
    other = stored_entry(&r, 7);
    old = wr_get(r.f, m);
    wr_set(r.f, m, 1);
    eb_run_check(&r.dir, "t.vmdk", &report);
    assert_int_equal(eb_count_of(&report, "2 table_entry\n"), 1);
    assert_int_equal(eb_count_of(&report, "0 unreferenced\n"), 1);
    wr_set(r.f, m, wr_get(r.f, other));
    eb_run_check(&r.dir, "t.vmdk", &report);
    assert_int_equal(eb_count_of(&report, "2 table_entry\n"), 2); /* both are barred */
    wr_set(r.f, m, old);
    wr_set(r.f, wr_mark_named(r.f, "ed", 1), UINT32_MAX);
    eb_run_check(&r.dir, "t.vmdk", &report);
    assert_int_equal(eb_count_of(&report, "2 directory_entry\n"), 1);
    assert_non_null(strstr(report.text, "grain tables=2\n"));
    rig_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decode),      cmocka_unit_test(test_union),
        cmocka_unit_test(test_validate),    cmocka_unit_test(test_device_paths),
        cmocka_unit_test(test_chain),       cmocka_unit_test(test_several_extents),
        cmocka_unit_test(test_alone),       cmocka_unit_test(test_warnings),
        cmocka_unit_test(test_bad_entries), cmocka_unit_test(test_bad_directory_entries),
        cmocka_unit_test(test_cut),         cmocka_unit_test(test_check),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
