/* SPDX-License-Identifier: Apache-2.0 */
#include "tables.h"
#include "volume/internal.h"

#include <stdlib.h>

#define SECTORS 4096
#define DISK    (SECTORS * (size_t)512)

static uint8_t *new_disk(void **state)
{
    uint8_t *disk = calloc(1, DISK);

    assert_non_null(disk);
    *state = disk;
    return disk;
}

static int free_disk(void **state)
{
    free(*state);
    return 0;
}

static void assert_volume(const struct volume *v, unsigned number, uint64_t first, uint64_t n)
{
    assert_int_equal(v->number, number);
    assert_int_equal(v->start, first * 512);
    assert_int_equal(v->size, n * 512);
}

static void test_decode(void **state)
{
    uint8_t sector[512] = {0};
    struct mbr mbr;

    (void)state;
    mbr_decode(sector, &mbr);
    assert_false(mbr.signature);
    assert_false(mbr_plausible(&mbr));
    table_mbr_entry(sector, 2, 0x80, 0x07, 0x01020304, 0xfffffffe);
    table_mbr_sign(sector, 0xbaff7d5c);
    mbr_decode(sector, &mbr);
    assert_true(mbr_plausible(&mbr));
    assert_int_equal(mbr_used(&mbr), 1);
    assert_int_equal(mbr.disk_signature, 0xbaff7d5c);
    assert_int_equal(mbr.e[2].status, 0x80);
    assert_int_equal(mbr.e[2].type, 7);
    assert_int_equal(mbr.e[2].first, 0x01020304);
    assert_int_equal(mbr.e[2].n, 0xfffffffe);
    assert_false(mbr_protective(&mbr));
    sector[446] = 0x01;
    mbr_decode(sector, &mbr);
    assert_false(mbr_plausible(&mbr));
}

static void test_convincing(void **state)
{
    uint8_t sector[512] = {0};
    struct mbr mbr;

    (void)state;
    table_mbr_sign(sector, 0);
    table_mbr_entry(sector, 0, 0, 0x83, 8, 8);
    table_mbr_entry(sector, 1, 0, 0x83, 16, 8);
    mbr_decode(sector, &mbr);
    assert_true(mbr_convincing(&mbr, 24));
    assert_false(mbr_convincing(&mbr, 23)); /* passes the end */
    table_mbr_entry(sector, 1, 0, 0x83, 15, 8);
    mbr_decode(sector, &mbr);
    assert_false(mbr_convincing(&mbr, 24)); /* overlap */
    table_mbr_entry(sector, 1, 0, 0x83, 0, 8);
    mbr_decode(sector, &mbr);
    assert_false(mbr_convincing(&mbr, 24)); /* at sector 0 */
    table_mbr_entry(sector, 1, 0, 0, 16, 8);
    mbr_decode(sector, &mbr);
    assert_false(mbr_convincing(&mbr, 24)); /* no type */
}

static void test_primaries(void **state)
{
    uint8_t *disk = new_disk(state);
    struct volume_table t;

    table_mbr_sign(disk, 0x1234abcd);
    table_mbr_entry(disk, 0, 0x80, 0x07, 100, 100);
    table_mbr_entry(disk, 2, 0, 0x83, 64, 36); /* slot 2 is empty, and this one lies before */
    t = table_scan(disk, DISK);
    assert_int_equal(t.scheme, VOLUME_MBR);
    assert_int_equal(t.sector_size, 512);
    assert_string_equal(t.disk_id, "0x1234abcd");
    assert_int_equal(t.n, 2);
    assert_volume(&t.v[0], 1, 100, 100);
    assert_volume(&t.v[1], 3, 64, 36);
    assert_true(t.v[0].active && !t.v[1].active);
    assert_string_equal(t.v[0].type, "0x07");
    assert_string_equal(t.v[0].type_name, "NTFS / exFAT / HPFS");
    assert_string_equal(t.v[0].uuid, "1234abcd-01");
    assert_string_equal(t.v[1].uuid, "1234abcd-03");
    assert_int_equal(t.n_gaps, 2);
    assert_int_equal(t.gap[0].size, 64 * 512);
    assert_int_equal(t.gap[1].start, 200 * 512);
    assert_int_equal(t.gap[1].size, DISK - 200 * (size_t)512);
    assert_int_equal(t.facts.n, 0);
    volume_table_clear(&t);
}

/* Links are relative to the extended partition, data to the EBR; the container is no volume and
 * its EBRs are gaps. */
static void build_logicals(uint8_t *disk, uint8_t type)
{
    table_mbr_sign(disk, 1);
    table_mbr_entry(disk, 0, 0, 0x83, 64, 36);
    table_mbr_entry(disk, 1, 0, type, 1000, 1000);
    table_mbr_entry(disk + 512 * (size_t)1000, 0, 0, 0x83, 8, 92);
    table_mbr_entry(disk + 512 * (size_t)1000, 1, 0, 0x05, 100, 100);
    table_mbr_sign(disk + 512 * (size_t)1000, 0);
    table_mbr_entry(disk + 512 * (size_t)1100, 0, 0, 0x82, 4, 96);
    table_mbr_entry(disk + 512 * (size_t)1100, 1, 0, 0x05, 300, 100);
    table_mbr_sign(disk + 512 * (size_t)1100, 0);
    table_mbr_entry(disk + 512 * (size_t)1300, 0, 0x80, 0x07, 1, 99);
    table_mbr_sign(disk + 512 * (size_t)1300, 0);
}

static void test_logicals(void **state)
{
    static const uint8_t types[] = {0x05, 0x0f, 0x85};
    size_t i;

    for (i = 0; i < sizeof(types); i++) {
        uint8_t *disk = new_disk(state);
        struct volume_table t;

        build_logicals(disk, types[i]);
        t = table_scan(disk, DISK);
        assert_int_equal(t.n, 4);
        assert_volume(&t.v[0], 1, 64, 36);
        assert_volume(&t.v[1], 5, 1008, 92);
        assert_volume(&t.v[2], 6, 1104, 96);
        assert_volume(&t.v[3], 7, 1301, 99);
        assert_true(t.v[3].active);
        assert_string_equal(t.v[3].uuid, "00000001-07");
        assert_int_equal(t.facts.n, 0);
        assert_int_equal(t.n_gaps, 5);
        assert_int_equal(t.gap[1].start, 100 * 512); /* up to and with the first EBR's track */
        assert_int_equal(t.gap[1].size, 908 * 512);
        volume_table_clear(&t);
        free_disk(state);
        *state = NULL;
    }
}

/* Linux goes on counting from 5 in a second extended partition. */
static void test_two_extended(void **state)
{
    uint8_t *disk = new_disk(state);
    struct volume_table t;

    build_logicals(disk, 0x05);
    table_mbr_entry(disk, 3, 0, 0x0f, 3000, 500);
    table_mbr_entry(disk + 512 * (size_t)3000, 0, 0, 0x83, 1, 9);
    table_mbr_sign(disk + 512 * (size_t)3000, 0);
    t = table_scan(disk, DISK);
    assert_int_equal(t.n, 5);
    assert_volume(&t.v[4], 8, 3001, 9);
    assert_says(&t, "further extended partition");
    volume_table_clear(&t);
}

/* Entries 3 and 4 of an EBR count only inside the link's range. */
static void test_late_entries(void **state)
{
    uint8_t *disk = new_disk(state);
    struct volume_table t;

    build_logicals(disk, 0x05);
    table_mbr_entry(disk + 512 * (size_t)1100, 2, 0, 0x83, 50, 50);   /* fits */
    table_mbr_entry(disk + 512 * (size_t)1100, 3, 0, 0x83, 90, 5000); /* garbage */
    t = table_scan(disk, DISK);
    assert_int_equal(t.n, 5);
    assert_volume(&t.v[3], 7, 1150, 50);
    assert_volume(&t.v[4], 8, 1301, 99);
    volume_table_clear(&t);
}

/* A disk that says it has 4,096-byte sectors counts in them. */
static void test_sector_size(void **state)
{
    uint8_t *bytes = new_disk(state);
    struct blkdev *disk;
    struct volume_table t;

    table_mbr_sign(bytes, 0);
    table_mbr_entry(bytes, 0, 0, 0x83, 10, 100);
    table_mbr_entry(bytes, 1, 0, 0x05, 200, 100);
    table_mbr_entry(bytes + 4096 * (size_t)200, 0, 0, 0x83, 5, 10);
    table_mbr_sign(bytes + 4096 * (size_t)200, 0);
    disk = table_device(bytes, DISK, DISK);
    disk->sector_size = 4096;
    t = table_scan_device(disk);
    blk_unref(disk);
    assert_int_equal(t.n, 2);
    assert_int_equal(t.v[0].start, 40960);
    assert_int_equal(t.v[0].size, 409600);
    assert_int_equal(t.v[1].start, 205 * 4096);
    assert_string_equal(t.v[0].uuid, "");
    assert_string_equal(t.disk_id, "");
    volume_table_clear(&t);
}

static void test_bsd_inside(void **state)
{
    uint8_t *disk = new_disk(state);
    struct volume_table t;

    table_mbr_sign(disk, 0);
    table_mbr_entry(disk, 0, 0x80, 0xa5, 64, 100);
    t = table_scan(disk, DISK);
    assert_int_equal(t.facts.n, 0);
    volume_table_clear(&t);
    memcpy(disk + 65 * 512, "\x57\x45\x56\x82", 4);
    memcpy(disk + 65 * 512 + 132, "\x57\x45\x56\x82", 4);
    t = table_scan(disk, DISK);
    assert_int_equal(t.n, 1);
    assert_says(&t, "partition 1 holds a BSD disklabel");
    volume_table_clear(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decode),
        cmocka_unit_test(test_convincing),
        cmocka_unit_test_teardown(test_primaries, free_disk),
        cmocka_unit_test_teardown(test_logicals, free_disk),
        cmocka_unit_test_teardown(test_two_extended, free_disk),
        cmocka_unit_test_teardown(test_late_entries, free_disk),
        cmocka_unit_test_teardown(test_sector_size, free_disk),
        cmocka_unit_test_teardown(test_bsd_inside, free_disk),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
