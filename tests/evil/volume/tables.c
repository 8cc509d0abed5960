/* SPDX-License-Identifier: Apache-2.0 */
/* Hostile partition tables, one defect each (integrity.md H7 and its neighbours): each is built,
 * shown to be there by the intact table beside it, and must give the warning that names it. */
#include "tables.h"

#include "base/bytes.h"
#include "base/limits.h"

#include <stdlib.h>
#include <time.h>

#define DISK    ((size_t)4 << 20)
#define SECTORS (DISK / 512)

static uint8_t *disk;

static int new_disk(void **state)
{
    (void)state;
    disk = calloc(1, DISK);
    return !disk;
}

static int free_disk(void **state)
{
    (void)state;
    free(disk);
    return 0;
}

static uint8_t *sector(uint64_t n)
{
    return disk + n * 512;
}

static struct table_gpt new_gpt(uint32_t n_entries, uint32_t entry_size)
{
    struct table_gpt gpt = {.disk = disk,
                            .size = DISK,
                            .sector = 512,
                            .n_entries = n_entries,
                            .entry_size = entry_size};

    table_gpt_build(&gpt);
    table_gpt_entry(&gpt, 0, 2000, 2999, "one");
    return gpt;
}

/* ---- MBR ---- */

static void build_extended(void)
{
    table_mbr_sign(disk, 1);
    table_mbr_entry(disk, 0, 0, 0x05, 1000, 2000);
    table_mbr_entry(sector(1000), 0, 0, 0x83, 1, 99);
    table_mbr_entry(sector(1000), 1, 0, 0x05, 100, 100);
    table_mbr_sign(sector(1000), 0);
    table_mbr_entry(sector(1100), 0, 0, 0x83, 1, 99);
    table_mbr_sign(sector(1100), 0);
}

static void test_ebr_loops(void **state)
{
    static const uint32_t back[] = {0, 100}; /* to the first EBR, to itself */
    struct volume_table t;
    size_t i;

    (void)state;
    build_extended();
    t = table_scan(disk, DISK);
    assert_int_equal(t.n, 2);
    assert_int_equal(t.facts.n, 0);
    volume_table_clear(&t);
    for (i = 0; i < 2; i++) {
        table_mbr_entry(sector(1100), 1, 0, 0x05, back[i], 100);
        t = table_scan(disk, DISK);
        assert_int_equal(t.n, 2);
        assert_says(&t, "(a loop): it ends after number 6");
        assert_int_equal(table_warnings(&t), 1);
        volume_table_clear(&t);
    }
}

/* An EBR whose link leads into the MBR itself or whose container starts there. */
static void test_ebr_is_mbr(void **state)
{
    struct volume_table t;

    (void)state;
    table_mbr_sign(disk, 1);
    table_mbr_entry(disk, 0, 0, 0x0f, 0, 5000);
    table_mbr_entry(disk, 1, 0, 0x83, 100, 100);
    t = table_scan(disk, DISK);
    assert_says(&t, "(a loop)");
    assert_true(t.n <= 2);
    volume_table_clear(&t);
}

static void test_ebr_out_of_range(void **state)
{
    struct volume_table t;

    (void)state;
    build_extended();
    table_mbr_entry(sector(1100), 1, 0, 0x05, 0xffffffff, 100);
    t = table_scan(disk, DISK);
    assert_int_equal(t.n, 2);
    assert_says(&t, "points to sector 4294968295, past the end of the disk");
    volume_table_clear(&t);

    table_mbr_entry(disk, 0, 0, 0x05, 0xfffffff0, 0xffffffff); /* the container itself */
    t = table_scan(disk, DISK);
    assert_int_equal(t.n, 0);
    assert_int_equal(t.n_gaps, 1);
    assert_says(&t, "past the end of the disk: partitions from number 5 on are not found");
    volume_table_clear(&t);
}

static void test_ebr_no_signature(void **state)
{
    struct volume_table t;

    (void)state;
    build_extended();
    sector(1100)[511] = 0;
    t = table_scan(disk, DISK);
    assert_int_equal(t.n, 1);
    assert_says(&t, "sector 1100 should hold a logical partition table but has no 55 AA");
    volume_table_clear(&t);
}

static void test_logical_outside_container(void **state)
{
    struct volume_table t;

    (void)state;
    build_extended();
    table_mbr_entry(sector(1100), 0, 0, 0x83, 1, 3000); /* inside the disk */
    t = table_scan(disk, DISK);
    assert_int_equal(t.n, 2);
    assert_says(&t, "logical partition 6 (sector 1101, 3000 sectors) is not inside");
    volume_table_clear(&t);

    /* outside the disk: not shown, but its number is used up */
    table_mbr_entry(sector(1100), 0, 0, 0x83, 0xffffffff, 1);
    table_mbr_entry(sector(1100), 1, 0, 0x05, 200, 100);
    table_mbr_entry(sector(1200), 0, 0, 0x83, 1, 9);
    table_mbr_sign(sector(1200), 0);
    t = table_scan(disk, DISK);
    assert_int_equal(t.n, 2);
    assert_int_equal(t.v[1].number, 7);
    assert_says(&t, "partition 6 (sector 4294968395, 1 sectors) is not shown");
    volume_table_clear(&t);
}

static void test_overlap(void **state)
{
    struct volume_table t;

    (void)state;
    table_mbr_sign(disk, 1);
    table_mbr_entry(disk, 0, 0, 0x83, 100, 1000);
    table_mbr_entry(disk, 1, 0, 0x83, 200, 100); /* inside the first */
    table_mbr_entry(disk, 2, 0, 0x83, 1099, 10);
    table_mbr_entry(disk, 3, 0, 0x83, 1109, 10); /* touches, no overlap */
    t = table_scan(disk, DISK);
    assert_int_equal(t.n, 4);
    assert_int_equal(table_warnings(&t), 2);
    assert_says(&t, "partitions 1 and 2 overlap: both are shown");
    assert_says(&t, "partitions 1 and 3 overlap: both are shown");
    assert_int_equal(t.n_gaps, 2);
    volume_table_clear(&t);

    table_mbr_entry(disk, 1, 0, 0x83, 100, 1000); /* twice the same */
    t = table_scan(disk, DISK);
    assert_int_equal(t.n, 4);
    volume_table_clear(&t);
}

static void test_past_end(void **state)
{
    struct volume_table t;

    (void)state;
    table_mbr_sign(disk, 1);
    table_mbr_entry(disk, 0, 0, 0x83, SECTORS - 10, 11);
    table_mbr_entry(disk, 1, 0, 0x83, SECTORS, 1);
    table_mbr_entry(disk, 2, 0, 0x83, 0xffffffff, 0xffffffff);
    table_mbr_entry(disk, 3, 0, 0x83, 100, 0); /* size 0: not there */
    t = table_scan(disk, DISK);
    assert_int_equal(t.n, 1);
    assert_true(t.v[0].cut);
    assert_int_equal(t.v[0].size, 5120);
    assert_says(&t, "partition 1 (sector 8182, 11 sectors) passes the end of the disk (8192");
    assert_says(&t, "partition 2 (sector 8192, 1 sectors) is not shown");
    assert_says(&t, "partition 3 (sector 4294967295, 4294967295 sectors) is not shown");
    volume_table_clear(&t);
}

static void test_tiny_disks(void **state)
{
    static const size_t sizes[] = {0, 1, 3, 511, 512, 513, 1024, 4095, 4096, 8191, 8192};
    size_t i;

    (void)state;
    table_mbr_sign(disk, 1);
    table_mbr_entry(disk, 0, 0, 0x83, 0, 1);
    table_mbr_entry(disk, 1, 0, 0x05, 1, 1);
    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct volume_table t = table_scan(disk, sizes[i]);

        assert_int_equal(t.scheme, sizes[i] < 512 ? VOLUME_NONE : VOLUME_MBR);
        assert_int_equal(t.n, 1);
        volume_table_clear(&t);
    }
    (void)new_gpt(4, 128);
    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct volume_table t = table_scan(disk, sizes[i]);

        volume_table_clear(&t);
    }
}

/* ---- a million logical partitions ---- */

#define ENDLESS_DISK ((uint64_t)3000000 * 512)

/* EBRs on every even sector, each linking to the next; `data` says whether they hold partitions. */
static int endless_read(struct blkdev *dev, uint64_t off, void *buf, size_t len, struct vd_err *err)
{
    const bool *data = dev->priv;
    uint8_t *p = buf;
    size_t i;

    (void)err;
    memset(p, 0, len);
    if (off % 512 || len % 512)
        return 0;
    for (i = 0; i < len / 512; i++) {
        uint64_t n = off / 512 + i;

        if (n % 2)
            continue;
        if (n == 0)
            table_mbr_entry(p + 512 * i, 0, 0, 0x05, 2, 2999990);
        else if (*data)
            table_mbr_entry(p + 512 * i, 0, 0, 0x83, 1, 1);
        if (n)
            table_mbr_entry(p + 512 * i, 1, 0, 0x05, (uint32_t)n, 2);
        table_mbr_sign(p + 512 * i, 0);
    }
    return 0;
}

static void test_million_logicals(void **state)
{
    static const struct blk_type type = {.name = "endless", .read_at = endless_read};
    bool data = true;
    unsigned round;

    (void)state;
    for (round = 0; round < 2; round++) {
        struct vd_err err = VD_ERR_INIT;
        struct blkdev *dev = NULL;
        struct volume_table t;
        clock_t before = clock();

        data = round == 0;
        assert_ok(blk_new(&type, ENDLESS_DISK, "", &data, &dev, &err));
        t = table_scan_device(dev);
        assert_int_equal(t.n, data ? VD_MAX_PARTITIONS : 0);
        assert_says(&t, "the chain of logical partitions is longer than");
        assert_true(atomic_load(&dev->n_reads) < 1200);
        assert_true(clock() - before < 2 * CLOCKS_PER_SEC);
        assert_true(t.facts.n < 10);
        volume_table_clear(&t);
        blk_unref(dev);
    }
}

/* ---- GPT ---- */

/* Both copies get the same bad field under a good checksum; neither may be used. */
static void assert_refused(const struct table_gpt *gpt, size_t field, uint64_t value, size_t width,
                           const char *why)
{
    struct volume_table t = table_scan(disk, DISK);
    unsigned copy;

    assert_int_equal(t.scheme, VOLUME_GPT);
    assert_int_equal(t.facts.n, 0);
    volume_table_clear(&t);
    for (copy = 0; copy < 2; copy++) {
        uint8_t *header = table_gpt_header(gpt, copy);

        if (width == 8)
            vd_put_le64(header + field, value);
        else
            vd_put_le32(header + field, (uint32_t)value);
        if (vd_le32(header + 12) <= 512)
            table_gpt_seal_header(header);
    }
    t = table_scan(disk, DISK);
    assert_int_equal(t.scheme, VOLUME_MBR);
    assert_string_equal(t.v[0].type, "0xee");
    assert_says(&t, why);
    volume_table_clear(&t);
    memset(disk, 0, DISK);
}

static void test_gpt_fields(void **state)
{
    static const struct {
        size_t field, width;
        uint64_t value;
        const char *why;
    } bad[] = {
        {12, 4, 0, "header size 0 is not between"},
        {12, 4, 91, "header size 91 is not between"},
        {12, 4, 513, "header size 513 is not between"},
        {12, 4, UINT32_MAX, "header size 4294967295 is not between"},
        {24, 8, 7, "header says that it lies at LBA 7"},
        {72, 8, UINT64_MAX, "at LBA 18446744073709551615 pass the end"},
        {72, 8, SECTORS, "at LBA 8192 pass the end"},
        {72, 8, UINT64_MAX / 512 + 3, "pass the end"}, /* 512 × it wraps to 1024 */
        {80, 4, UINT32_MAX, "4294967295 entries of 128 bytes at LBA"},
        {84, 4, 0, "entry size 0 is not"},
        {84, 4, 64, "entry size 64 is not"},
        {84, 4, 130, "entry size 130 is not"},
        {84, 4, 8192, "entry size 8192 is not"},
        {84, 4, UINT32_C(1) << 31, "entry size 2147483648 is not"},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct table_gpt gpt = new_gpt(128, 128);

        assert_refused(&gpt, bad[i].field, bad[i].value, bad[i].width, bad[i].why);
    }
}

static void test_gpt_entries(void **state)
{
    struct table_gpt gpt = new_gpt(16, 128);
    struct volume_table t;

    (void)state;
    table_gpt_entry(&gpt, 1, 3000, 2999, "upside down");
    table_gpt_entry(&gpt, 2, 0, UINT64_MAX, "everything");
    table_gpt_entry(&gpt, 3, UINT64_MAX - 1, UINT64_MAX - 1, "far");
    table_gpt_entry(&gpt, 4, UINT64_MAX / 512 + 1, UINT64_MAX / 512 + 2, "wraps to 0");
    table_gpt_entry(&gpt, 5, 3000, UINT64_MAX - 1, "long");
    table_gpt_entry(&gpt, 6, 0, 0, "the MBR");
    table_gpt_entry(&gpt, 7, 8000, 9000, "past the end");
    t = table_scan(disk, DISK);
    assert_int_equal(t.scheme, VOLUME_GPT);
    assert_int_equal(t.n, 4);
    assert_int_equal(t.v[0].number, 1);
    assert_int_equal(t.v[1].number, 6);
    assert_true(t.v[1].cut && t.v[1].size == DISK - 3000 * 512);
    assert_int_equal(t.v[2].number, 7);
    assert_int_equal(t.v[2].size, 512);
    assert_true(t.v[3].cut && t.v[3].size == 192 * 512);
    assert_says(&t, "partition 2 is not shown: it goes from LBA 3000 to LBA 2999");
    assert_says(&t, "partition 3 is not shown");
    assert_says(&t, "partition 4 (sector 18446744073709551614, 1 sectors) is not shown");
    assert_says(&t, "partition 5 (sector 36028797018963968, 2 sectors) is not shown");
    assert_says(&t, "partition 7 (LBA 0 to 0) is not inside the area that the GPT calls usable");
    assert_says(&t, "partitions 6 and 8 overlap");
    volume_table_clear(&t);
}

/* 4 MiB are read of an array that is larger; its checksum cannot be checked, which is said. */
static void test_gpt_huge_array(void **state)
{
    const size_t size = (size_t)24 << 20;
    struct table_gpt gpt = {.size = size, .sector = 512, .n_entries = 65536, .entry_size = 128};
    struct volume_table t;
    unsigned i;

    (void)state;
    gpt.disk = calloc(1, size);
    assert_non_null(gpt.disk);
    table_gpt_build(&gpt);
    for (i = 0; i < 2; i++) { /* 2 MiB entries; only those at the start matter */
        uint8_t *array = table_gpt_array(&gpt, i);

        memset(array, 0x11, 128);
        memset(array + 65535 * (size_t)128, 0x11, 128);
        vd_put_le64(array + 32, 30000);
        vd_put_le64(array + 40, 30009);
        table_gpt_seal(&gpt, i);
    }
    t = table_scan(gpt.disk, size);
    assert_int_equal(t.n, 1);
    assert_says(&t, "the GPT has 65536 entries of 128 bytes: only the first 32768 are read");
    volume_table_clear(&t);
    free(gpt.disk);
}

/* 2,000 used entries: 1,024 are shown, the rest counted; warnings of one kind are bounded. */
static void test_gpt_many(void **state)
{
    struct table_gpt gpt = new_gpt(4096, 128);
    struct volume_table t;
    unsigned i, copy;

    (void)state;
    for (copy = 0; copy < 2; copy++) {
        for (i = 0; i < 2000; i++) {
            uint8_t *p = table_gpt_array(&gpt, copy) + i * (size_t)128;

            memset(p, 0x22, 32);
            vd_put_le64(p + 32, 2000 + i);
            vd_put_le64(p + 40, 2100 + i); /* all overlap */
        }
        for (; i < 4096; i++) {
            uint8_t *p = table_gpt_array(&gpt, copy) + i * (size_t)128;

            memset(p, 0x33, 32);
            vd_put_le64(p + 32, 100000);
            vd_put_le64(p + 40, 100000);
        }
        table_gpt_seal(&gpt, copy);
    }
    t = table_scan(disk, DISK);
    assert_int_equal(t.n, VD_MAX_PARTITIONS);
    assert_says(&t, "more partitions than the 1024 that are shown: 976 are left out");
    assert_says(&t, "further warnings of this kind are left out");
    assert_true(t.facts.n < 200);
    volume_table_clear(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_ebr_loops, new_disk, free_disk),
        cmocka_unit_test_setup_teardown(test_ebr_is_mbr, new_disk, free_disk),
        cmocka_unit_test_setup_teardown(test_ebr_out_of_range, new_disk, free_disk),
        cmocka_unit_test_setup_teardown(test_ebr_no_signature, new_disk, free_disk),
        cmocka_unit_test_setup_teardown(test_logical_outside_container, new_disk, free_disk),
        cmocka_unit_test_setup_teardown(test_overlap, new_disk, free_disk),
        cmocka_unit_test_setup_teardown(test_past_end, new_disk, free_disk),
        cmocka_unit_test_setup_teardown(test_tiny_disks, new_disk, free_disk),
        cmocka_unit_test_setup_teardown(test_million_logicals, new_disk, free_disk),
        cmocka_unit_test_setup_teardown(test_gpt_fields, new_disk, free_disk),
        cmocka_unit_test_setup_teardown(test_gpt_entries, new_disk, free_disk),
        cmocka_unit_test_setup_teardown(test_gpt_huge_array, new_disk, free_disk),
        cmocka_unit_test_setup_teardown(test_gpt_many, new_disk, free_disk),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
