/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Traps of COWD (vmfsSparse) and seSparse.  The descriptors name a change-tracking file that is not there
 * (trap 18): reading has no use for it.
 */
#include "traps.h"

#include "esx_build.h"

#include "base/bytes.h"

#include <stdlib.h>

#define CTK   "changeTrackPath=\"t-ctk.vmdk\"\n"
#define TABLE ((uint64_t)4096 * 4096) /* bytes of the disk under one seSparse table */

/* A flat base full of data, and a child of `kind` with runs. */
struct pair {
    struct wr_spec base, tip;
    struct wr_run base_run;
    struct wr_dir dir;
    struct wr_file *f; /* the child's extent */
};

static void pair_make(struct pair *p, enum wr_kind kind, uint32_t unit, uint64_t size,
                      const struct wr_run *runs, size_t n_runs)
{
    memset(p, 0, sizeof(*p));
    p->base_run = (struct wr_run){.len = size, .state = WR_DATA, .seed = 1};
    p->base = (struct wr_spec){.kind = WR_VMDK_FLAT,
                               .name = "b.vmdk",
                               .id = 1,
                               .size = size,
                               .runs = &p->base_run,
                               .n_runs = 1};
    p->tip = (struct wr_spec){.kind = kind,
                              .name = "t.vmdk",
                              .id = 2,
                              .size = size,
                              .unit = unit,
                              .runs = runs,
                              .n_runs = n_runs,
                              .parent = &p->base,
                              .knobs = {.extra = CTK}};
    wr_build_chain(&p->tip, &p->dir);
    p->f = wr_file_named(&p->dir, kind == WR_VMDK_COWD ? "t-delta.vmdk" : "t-sesparse.vmdk");
}

static void pair_check(struct pair *p, const struct eb_want *want)
{
    struct vd_err err = VD_ERR_INIT;
    struct chain *chain = NULL;
    struct blkdev *disk = NULL;

    assert_ok(eb_open(&p->dir, "t.vmdk", &chain, &disk, &err));
    eb_check(disk, want);
    blk_unref(disk);
    chain_free(chain);
}

static void pair_check_as_built(struct pair *p)
{
    struct eb_want want;

    eb_want(&p->tip, &want);
    pair_check(p, &want);
    eb_want_free(&want);
}

static void pair_refused(struct pair *p, enum vd_class cls, const char *text)
{
    struct vd_err err = VD_ERR_INIT;
    struct chain *chain = NULL;
    struct blkdev *disk = NULL;

    assert_fails(eb_open(&p->dir, "t.vmdk", &chain, &disk, &err), cls, text);
}

/* COWD has no zeroed grains and no flag for them: an entry of 1 is sector 1, inside the header. */
static void trap_03_esx_entry_one(void **state)
{
    static const struct wr_run runs[] = {{.off = 4096, .len = 4096, .state = WR_DATA, .seed = 2}};
    const struct wr_mark *entry;
    struct eb_want want;
    struct pair p;

    (void)state;
    pair_make(&p, WR_VMDK_COWD, 512, 1 << 20, runs, 1);
    pair_check_as_built(&p);
    entry = wr_mark_named(p.f, "et", 8);
    wr_set(p.f, entry, 1);
    eb_want(&p.tip, &want);
    eb_want_bad(&want, entry->disk_off, entry->disk_len);
    pair_check(&p, &want);
    eb_want_free(&want);
    wr_dir_clear(&p.dir);
}

/* The last grain and the last table are short, on the disk and in the file. */
static void short_last(enum wr_kind kind, uint32_t unit, uint64_t span, unsigned entry_bytes)
{
    const uint64_t size = span + 5 * (uint64_t)unit + 512; /* one sector of the last grain */
    const struct wr_run runs[] = {
        {.off = span - unit, .len = 2 * (uint64_t)unit, .state = WR_DATA, .seed = 2},
        {.off = size - 512, .len = 512, .state = WR_DATA, .seed = 3}};
    const struct wr_mark *table, *last;
    struct eb_want want;
    struct pair p;

    pair_make(&p, kind, unit, size, runs, 2);
    pair_check_as_built(&p);
    last = wr_mark_named(p.f, "et", 4096 + 5);
    assert_int_equal(last->disk_len, 512);
    /* the last grain is cut: what is there is shown */
    p.f->len -= unit == 512 ? 0 : unit - 512;
    pair_check_as_built(&p);
    /* entries past the end of the disk mean nothing, whatever they say */
    vd_put_le32(p.f->bytes + last->off + entry_bytes, UINT32_MAX);
    vd_put_le32(p.f->bytes + last->off + 2 * entry_bytes, 1);
    pair_check_as_built(&p);
    /* the file ends behind the last entry in use: the table is whole, its grains are gone */
    table = wr_mark_named(p.f, "gt", 1);
    p.f->len = table->off + 6 * entry_bytes;
    eb_want(&p.tip, &want);
    eb_want_bad(&want, span - unit, 2 * (uint64_t)unit);
    eb_want_bad(&want, size - 512, 512);
    pair_check(&p, &want);
    eb_want_free(&want);
    wr_dir_clear(&p.dir);
}

static void trap_07_esx_short_last(void **state)
{
    (void)state;
    short_last(WR_VMDK_COWD, 512, 512 * 4096, 4);
    short_last(WR_VMDK_COWD, 4096, 4096 * 4096, 4);
    short_last(WR_VMDK_SESPARSE, 4096, TABLE, 8);
}

/* Tables have 4,096 entries, whatever the grain size. */
static void trap_12_cowd_tables_of_4096(void **state)
{
    static const uint32_t units[] = {512, 1024};
    size_t i;

    (void)state;
    for (i = 0; i < 2; i++) {
        const uint64_t span = (uint64_t)units[i] * 4096;
        const struct wr_run runs[] = {
            {.off = 600 * (uint64_t)units[i], .len = 2 * units[i], .state = WR_DATA, .seed = 2},
            {.off = span - units[i], .len = 2 * (uint64_t)units[i], .state = WR_DATA, .seed = 3},
            {.off = 2 * span, .len = 4096, .state = WR_DATA, .seed = 4}};
        struct pair p;

        pair_make(&p, WR_VMDK_COWD, units[i], 2 * span + 8192, runs, 3);
        pair_check_as_built(&p);
        wr_dir_clear(&p.dir);
    }
}

/* The header says how large the directory is. */
static void trap_12_cowd_directory_size(void **state)
{
    static const struct wr_run runs[] = {{.off = 0, .len = 5 << 20, .state = WR_DATA, .seed = 2}};
    const struct wr_mark *entries, *tables;
    struct eb_want want;
    struct pair p;

    (void)state;
    pair_make(&p, WR_VMDK_COWD, 512, 5 << 20, runs, 1);
    entries = wr_mark_named(p.f, "header.gd_entries", 0);
    assert_int_equal(wr_get(p.f, entries), 3);
    wr_set(p.f, entries, 2); /* less than the disk has tables */
    pair_refused(&p, VD_ECORRUPT, "has 2 entries, a disk of 10240 sectors needs 3");
    wr_set(p.f, entries, UINT32_MAX);
    pair_refused(&p, VD_ECORRUPT, "passes the end of the file");
    wr_set(p.f, entries, 128); /* what is left of its sector: as ESX rounds it */
    pair_check_as_built(&p);
    wr_set(p.f, entries, 129); /* one more: then the first table would lie in it */
    tables = wr_mark_named(p.f, "gt", 0);
    assert_int_equal(tables->off, 4 * 512 + 512);
    eb_want(&p.tip, &want);
    eb_want_bad(&want, tables->disk_off, tables->disk_len);
    pair_check(&p, &want);
    eb_want_free(&want);
    wr_dir_clear(&p.dir);
}

/* Sector numbers have 32 bits, the bytes they count 41: a disk of 2 TiB less a sector, its last
 * sector at the end of a file of nearly 2 TiB. */
static void trap_12_cowd_32_bit(void **state)
{
    const uint64_t table_at = UINT64_C(0x90000000) * 512, grain_at = UINT64_C(0xfffffff0) * 512;
    struct vd_err err = VD_ERR_INIT;
    uint8_t wanted[512], sector[512];
    struct chain *chain = NULL;
    struct blkdev *disk = NULL;
    struct blk_extent ext;
    struct eb_file file;
    uint64_t last;

    (void)state;
    eb_file_open(&file, "x-delta.vmdk");
    eb_cowd_header(&file, UINT32_MAX, 1);
    test_fill(wanted, sizeof(wanted), 3);
    eb_put_le(&file, 4 * 512 + 4 * UINT64_C(1048575), 4, 0x90000000);
    eb_put_le(&file, table_at + 4 * 4094, 4, 0xfffffff0); /* 4,095 entries are in use */
    eb_put_le(&file, table_at + 4 * 4093, 4, 0xfffffff1);
    eb_put(&file, grain_at, wanted, 512);
    assert_ok(chain_open(&file.source, "x-delta.vmdk", NULL, &chain, &err));
    assert_ok(chain_point(chain, 0, &disk, &err));
    assert_int_equal(disk->size, UINT64_C(0xffffffff) * 512);
    last = disk->size - 512;
    assert_ok(blk_read(disk, last, sector, 512, &err));
    assert_memory_equal(sector, wanted, 512);
    assert_fails(blk_read(disk, last - 512, sector, 512, &err), VD_ECORRUPT, "past the end");
    assert_ok(blk_read(disk, last - 1024, sector, 512, &err));
    assert_true(vd_all_zero(sector, 512));
    assert_ok(blk_map(disk, UINT64_C(0x80000000) * 512, 512, &ext, &err));
    assert_int_not_equal(ext.status, BLK_DATA);
    blk_unref(disk);
    chain_free(chain);
    eb_file_close(&file);
}

/* Offset 32 is the geometry of a root or the parent of a child; recent files leave it empty. */
static void trap_12_cowd_union(void **state)
{
    static const struct wr_run runs[] = {{.off = 8192, .len = 4096, .state = WR_DATA, .seed = 2}};
    struct wr_spec base = {.kind = WR_VMDK_COWD,
                           .name = "b.vmdk",
                           .id = 1,
                           .size = 1 << 20,
                           .unit = 512,
                           .runs = runs,
                           .n_runs = 1};
    struct wr_spec tip = {.kind = WR_VMDK_COWD,
                          .name = "t.vmdk",
                          .id = 2,
                          .size = 1 << 20,
                          .unit = 512,
                          .parent = &base};
    struct vd_err err = VD_ERR_INIT;
    struct chain *chain = NULL;
    struct blkdev *disk = NULL;
    struct wr_dir dir = {0};
    struct eb_want want;
    uint8_t *header;

    (void)state;
    wr_build_chain(&tip, &dir);
    /* empty, with the flags of a root: the parent cannot be known, and that is said */
    assert_ok(eb_open(&dir, "t-delta.vmdk", &chain, &disk, &err));
    assert_int_equal(chain->n, 1);
    assert_true(eb_has_fact(chain, 0, VD_FACT_WARNING, "parent cannot be known"));
    blk_unref(disk);
    chain_free(chain);
    /* the parent's name, with the flags of a root */
    header = wr_file_named(&dir, "t-delta.vmdk")->bytes;
    memcpy(header + 32, "b-delta.vmdk", 13);
    vd_put_le32(header + 1056, 1);
    assert_ok(eb_open(&dir, "t-delta.vmdk", &chain, &disk, &err));
    assert_int_equal(chain->n, 2);
    /* the base has a geometry there, and no name */
    assert_true(eb_has_fact(chain, 1, VD_FACT_INFO, "3 cylinders, 16 heads, 63 sectors"));
    assert_false(chain->v[1]->has_parent);
    eb_want(&tip, &want);
    eb_check(disk, &want);
    eb_want_free(&want);
    blk_unref(disk);
    chain_free(chain);
    /* another generation of the parent is another content */
    vd_put_le32(header + 1056, 2);
    assert_fails(eb_open(&dir, "t-delta.vmdk", &chain, &disk, &err), VD_ECHAIN,
                 "asks for the parent cowd:2:b-delta.vmdk");
    /* through its descriptor the CID decides */
    assert_ok(eb_open(&dir, "t.vmdk", &chain, &disk, &err));
    assert_int_equal(chain->n, 2);
    blk_unref(disk);
    chain_free(chain);
    wr_dir_clear(&dir);
}

static void set_and_refuse(struct pair *p, const char *mark, uint64_t value, enum vd_class cls,
                           const char *text)
{
    const struct wr_mark *m = wr_mark_named(p->f, mark, 0);
    uint64_t old = wr_get(p->f, m);

    wr_set(p->f, m, value);
    pair_refused(p, cls, text);
    wr_set(p->f, m, old);
}

/* Two magic numbers, one version, one shape; anything else is not guessed at. */
static void trap_13_sesparse_headers(void **state)
{
    static const struct wr_run runs[] = {{.off = 0, .len = 65536, .state = WR_DATA, .seed = 2}};
    struct pair p;

    (void)state;
    pair_make(&p, WR_VMDK_SESPARSE, 4096, TABLE + 8192, runs, 1);
    pair_check_as_built(&p);
    set_and_refuse(&p, "header.magic", 0xcafecafe, VD_ECORRUPT, "none of the signatures");
    set_and_refuse(&p, "volatile.magic", 0xcafebabe, VD_ECORRUPT, "volatile header");
    set_and_refuse(&p, "header.version", UINT64_C(0x200000002), VD_EUNSUPPORTED, "version 2.2");
    set_and_refuse(&p, "header.version", UINT64_C(0x300000001), VD_EUNSUPPORTED, "version 3.1");
    set_and_refuse(&p, "header.grain_size", 16, VD_EUNSUPPORTED, "grain size of 16");
    set_and_refuse(&p, "header.gt_size", 32, VD_EUNSUPPORTED, "tables of 32 sectors");
    set_and_refuse(&p, "header.flags", 1, VD_EUNSUPPORTED, "unknown flags 0x1");
    set_and_refuse(&p, "header.reserved2", 1, VD_EUNSUPPORTED, "reserved field 2");
    pair_check_as_built(&p);
    wr_dir_clear(&p.dir);
}

/* Directory entries: 0, or exactly 0x10000000 above the table's number; tables have 4,096 entries of
 * eight bytes. */
static void trap_13_sesparse_directory_entries(void **state)
{
    static const struct wr_run runs[] = {
        {.off = 0, .len = 65536, .state = WR_DATA, .seed = 2},
        {.off = TABLE - 4096, .len = 8192, .state = WR_DATA, .seed = 3},
        {.off = 2 * TABLE, .len = 4096, .state = WR_DATA, .seed = 4}};
    static const uint64_t above[] = {0, UINT64_C(0x1000000100000000), UINT64_C(0x1800000000000000),
                                     UINT64_C(0x2000000000000000), UINT64_C(0x9000000000000000)};
    const struct wr_mark *entry;
    struct eb_want want;
    struct pair p;
    size_t i;

    (void)state;
    pair_make(&p, WR_VMDK_SESPARSE, 4096, 2 * TABLE + 8192, runs, 3);
    pair_check_as_built(&p);
    entry = wr_mark_named(p.f, "ed", 1);
    assert_true(wr_get(p.f, entry) == eb_se_gde(1));
    eb_want(&p.tip, &want);
    eb_want_bad(&want, entry->disk_off, entry->disk_len);
    for (i = 0; i < sizeof(above) / sizeof(above[0]); i++) {
        wr_set(p.f, entry, above[i] | 1);
        pair_check(&p, &want);
    }
    wr_set(p.f, entry, eb_se_gde(3)); /* there are three */
    pair_check(&p, &want);
    wr_set(p.f, entry, 0); /* absent: all of it the parent's */
    eb_want_from(&want, &p.tip, 0, want.size);
    eb_want_from(&want, &p.base, entry->disk_off, entry->disk_len);
    pair_check(&p, &want);
    eb_want_free(&want);
    wr_dir_clear(&p.dir);
}

/* Grain entries: four types, and a number whose low 12 bits stand above the others. */
static void trap_13_sesparse_grain_entries(void **state)
{
    static const struct wr_run runs[] = {
        {.off = 0, .len = TABLE, .state = WR_DATA, .seed = 2}, /* 4,096 grains before … */
        {.off = TABLE + 8192, .len = 65536, .state = WR_DATA, .seed = 3}};
    const struct wr_mark *entry;
    struct eb_want want;
    struct pair p;
    uint64_t value;
    size_t i;

    (void)state;
    pair_make(&p, WR_VMDK_SESPARSE, 4096, TABLE + 131072, runs, 2);
    entry = wr_mark_named(p.f, "et", 4098);
    value = wr_get(p.f, entry);
    assert_true(value == UINT64_C(0x3000000000000001)); /* … grain 4,096 of the file */
    pair_check_as_built(&p);
    eb_want(&p.tip, &want);
    eb_want_bad(&want, entry->disk_off, entry->disk_len);
    for (i = 4; i < 16; i++) { /* unknown types */
        wr_set(p.f, entry, (uint64_t)i << 60);
        pair_check(&p, &want);
    }
    wr_set(p.f, entry, 5); /* type 0 is nothing but 0 */
    pair_check(&p, &want);
    wr_set(p.f, entry, UINT64_C(0x3000000000000000) | 4096); /* not a plain number */
    pair_check(&p, &want);
    wr_set(p.f, entry, UINT64_C(2) << 60);
    eb_want_from(&want, NULL, entry->disk_off, entry->disk_len);
    pair_check(&p, &want);
    wr_set(p.f, entry, 0);
    eb_want_from(&want, &p.base, entry->disk_off, entry->disk_len);
    pair_check(&p, &want);
    eb_want_free(&want);
    wr_dir_clear(&p.dir);
}

/* Unmapped grains read as zeros and hide the parent, and that is said. */
static void trap_13_sesparse_unmapped(void **state)
{
    static const struct wr_run runs[] = {{.off = 4096, .len = 8192, .state = WR_UNMAPPED},
                                         {.off = 65536, .len = 4096, .state = WR_DATA, .seed = 2}};
    struct vd_err err = VD_ERR_INIT;
    struct chain *chain = NULL;
    struct blkdev *disk = NULL;
    struct blk_extent ext;
    struct pair p;

    (void)state;
    pair_make(&p, WR_VMDK_SESPARSE, 4096, 1 << 20, runs, 2);
    assert_int_equal(wr_get(p.f, wr_mark_named(p.f, "et", 1)) >> 60, 1);
    pair_check_as_built(&p);
    /* the entry remembers the grain it had */
    wr_set(p.f, wr_mark_named(p.f, "et", 2), UINT64_C(0x1000000000000000));
    pair_check_as_built(&p);
    assert_ok(eb_open(&p.dir, "t.vmdk", &chain, &disk, &err));
    assert_ok(blk_map(chain->v[0]->dev, 4096, 65536, &ext, &err));
    assert_int_equal(ext.status, BLK_ZEROS);
    assert_int_equal(ext.len, 8192);
    assert_true(eb_has_fact(chain, 0, VD_FACT_WARNING, "grains that the guest gave back"));
    blk_unref(disk);
    chain_free(chain);
    wr_dir_clear(&p.dir);
}

/* A journal that waits for its replay: the tables cannot be trusted. */
static void trap_13_sesparse_dirty(void **state)
{
    static const struct wr_run runs[] = {{.off = 0, .len = 65536, .state = WR_DATA, .seed = 2}};
    struct pair p;

    (void)state;
    pair_make(&p, WR_VMDK_SESPARSE, 4096, 1 << 20, runs, 1);
    set_and_refuse(&p, "volatile.replay_journal", 1, VD_EUNSUPPORTED, "journal has to be replayed");
    set_and_refuse(&p, "volatile.replay_journal", UINT64_C(1) << 40, VD_EUNSUPPORTED,
                   "journal has to be replayed");
    pair_check_as_built(&p);
    wr_dir_clear(&p.dir);
}

/* seSparse counts in 64 bits: a disk of 3 TiB, its last grain stored 1.5 TiB into the file.  An entry
 * of 0 in the directory and one in a table are different things with the same meaning. */
static void trap_17_esx_64_bit(void **state)
{
    const uint64_t capacity = UINT64_C(3) << 31, n_grains = capacity / 8,
                   n_tables = n_grains / 4096;
    const uint64_t number = UINT64_C(0x18012345); /* 1.5 TiB and a bit, in grains of 4 KiB */
    struct vd_err err = VD_ERR_INIT;
    uint8_t wanted[4096], grain[4096];
    struct chain *chain = NULL;
    struct blkdev *disk = NULL;
    struct blk_extent ext;
    struct eb_file file;
    struct eb_se se;

    (void)state;
    eb_file_open(&file, "x-sesparse.vmdk");
    eb_se_headers(&file, capacity, &se);
    test_fill(wanted, sizeof(wanted), 7);
    eb_put_le(&file, se.dir_off + 8 * (n_tables - 1), 8, eb_se_gde(n_tables - 2));
    eb_put_le(&file, se.tables_off + (n_tables - 2) * 32768 + 8 * 4095, 8, eb_se_gte(number));
    eb_put(&file, se.grains_off + number * 4096, wanted, sizeof(wanted));
    assert_ok(chain_open(&file.source, "x-sesparse.vmdk", NULL, &chain, &err));
    assert_ok(chain_point(chain, 0, &disk, &err));
    assert_int_equal(disk->size, UINT64_C(3) << 40);
    assert_ok(blk_read(disk, disk->size - 4096, grain, 4096, &err));
    assert_memory_equal(grain, wanted, 4096);
    assert_ok(blk_read(disk, disk->size - 8192, grain, 4096, &err)); /* entry 0 of a table */
    assert_true(vd_all_zero(grain, 4096));
    assert_ok(blk_map(chain->v[0]->dev, disk->size - 2 * TABLE, UINT64_MAX, &ext, &err));
    assert_int_equal(ext.status, BLK_ABSENT); /* entry 0 of the directory */
    assert_int_equal(ext.len, TABLE);
    blk_unref(disk);
    chain_free(chain);
    eb_file_close(&file);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(trap_03_esx_entry_one),
        cmocka_unit_test(trap_07_esx_short_last),
        cmocka_unit_test(trap_12_cowd_tables_of_4096),
        cmocka_unit_test(trap_12_cowd_directory_size),
        cmocka_unit_test(trap_12_cowd_32_bit),
        cmocka_unit_test(trap_12_cowd_union),
        cmocka_unit_test(trap_13_sesparse_headers),
        cmocka_unit_test(trap_13_sesparse_directory_entries),
        cmocka_unit_test(trap_13_sesparse_grain_entries),
        cmocka_unit_test(trap_13_sesparse_unmapped),
        cmocka_unit_test(trap_13_sesparse_dirty),
        cmocka_unit_test(trap_17_esx_64_bit),
    };

    return traps_run(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
