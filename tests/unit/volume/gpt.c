/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bytes.h"
#include "tables.h"
#include "volume/internal.h"

#include <stdlib.h>

#define DISK ((size_t)4 << 20)

static struct table_gpt new_gpt(void **state, uint32_t sector)
{
    struct table_gpt gpt = {.size = DISK, .sector = sector, .n_entries = 128, .entry_size = 128};

    gpt.disk = calloc(1, DISK);
    assert_non_null(gpt.disk);
    *state = gpt.disk;
    table_gpt_build(&gpt);
    table_gpt_entry(&gpt, 0, 131072 / sector, 262144 / sector - 1, "first");
    table_gpt_entry(&gpt, 4, 262144 / sector, 524288 / sector - 1, "fifth");
    return gpt;
}

static int free_disk(void **state)
{
    free(*state);
    return 0;
}

/* The two partitions of new_gpt, as they must come out in every test that leaves one copy. */
static void assert_table(const struct volume_table *t, uint32_t sector)
{
    assert_int_equal(t->scheme, VOLUME_GPT);
    assert_int_equal(t->sector_size, sector);
    assert_string_equal(t->disk_id, "13121110-1514-1716-1819-1a1b1c1d1e1f");
    assert_int_equal(t->n, 2);
    assert_int_equal(t->v[0].number, 1);
    assert_int_equal(t->v[0].start, 131072);
    assert_int_equal(t->v[0].size, 131072); /* last LBA is inclusive */
    assert_string_equal(t->v[0].name, "first");
    assert_string_equal(t->v[0].type, "0fc63daf-8483-4772-8e79-3d69d8477de4");
    assert_string_equal(t->v[0].type_name, "Linux filesystem");
    assert_string_equal(t->v[0].uuid, "00000001-0000-0000-0000-000000000000");
    assert_int_equal(t->v[1].number, 5);
    assert_int_equal(t->v[1].start, 262144);
    assert_int_equal(t->v[1].size, 262144);
}

static void test_both_copies(void **state)
{
    static const uint32_t sizes[] = {512, 1024, 2048, 4096};
    size_t i;

    for (i = 0; i < 4; i++) {
        struct table_gpt gpt = new_gpt(state, sizes[i]);
        struct volume_table t = table_scan(gpt.disk, DISK);

        assert_table(&t, sizes[i]);
        assert_int_equal(t.facts.n, 0);
        assert_int_equal(t.n_gaps, 2);
        volume_table_clear(&t);
        free_disk(state);
        *state = NULL;
    }
}

static void test_backup_used(void **state)
{
    static const uint32_t sizes[] = {512, 1024, 2048, 4096};
    size_t i;

    for (i = 0; i < 4; i++) {
        struct table_gpt gpt = new_gpt(state, sizes[i]);
        struct volume_table t;

        memset(table_gpt_header(&gpt, false), 0, sizes[i]);
        t = table_scan(gpt.disk, DISK);
        assert_table(&t, sizes[i]);
        assert_says(&t, "the primary GPT is not usable (no \"EFI PART\"): the backup at LBA");
        assert_int_equal(table_warnings(&t), 1);
        volume_table_clear(&t);
        free_disk(state);
        *state = NULL;
    }
}

/* One flipped bit anywhere in the primary (header or array) must switch to the backup, and one in
 * the backup must be told. */
static void test_every_bit(void **state)
{
    struct table_gpt gpt = new_gpt(state, 512);
    unsigned copy;

    for (copy = 0; copy < 2; copy++) {
        uint8_t *header = table_gpt_header(&gpt, copy), *array = table_gpt_array(&gpt, copy);
        size_t i;

        for (i = 0; i < 92 + 640; i += i < 92 ? 1 : 37) {
            uint8_t *p = i < 92 ? header + i : array + (i - 92);
            struct volume_table t;

            *p ^= (uint8_t)(1u << i % 8);
            t = table_scan(gpt.disk, DISK);
            assert_table(&t, 512);
            assert_int_equal(table_warnings(&t), 1);
            assert_says(&t, copy ? "the backup GPT (LBA 8191) is not usable"
                                 : "the primary GPT is not usable");
            volume_table_clear(&t);
            *p ^= (uint8_t)(1u << i % 8);
        }
    }
}

static void test_grown_disk(void **state)
{
    struct table_gpt gpt = new_gpt(state, 512);
    struct volume_table t;
    struct blkdev *disk = table_device(gpt.disk, DISK, 3 * DISK);

    t = table_scan_device(disk);
    assert_table(&t, 512);
    assert_says(&t, "the disk was enlarged");
    assert_int_equal(table_warnings(&t), 1);
    volume_table_clear(&t);
    blk_unref(disk);

    /* primary damaged: its pointer still leads to the backup, which proves itself */
    table_gpt_header(&gpt, false)[60] ^= 1;
    disk = table_device(gpt.disk, DISK, 3 * DISK);
    t = table_scan_device(disk);
    assert_table(&t, 512);
    assert_says(&t, "header checksum is wrong");
    assert_says(&t, "the disk was enlarged");
    volume_table_clear(&t);
    blk_unref(disk);
}

static void test_disagree(void **state)
{
    struct table_gpt gpt = new_gpt(state, 512);
    struct volume_table t;

    vd_put_le64(table_gpt_array(&gpt, true) + 32, 999);
    table_gpt_seal(&gpt, true);
    t = table_scan(gpt.disk, DISK);
    assert_table(&t, 512);
    assert_says(&t, "list different partitions: the primary is used");
    volume_table_clear(&t);

    table_gpt_header(&gpt, true)[56] ^= 1;
    vd_put_le64(table_gpt_header(&gpt, true) + 40, 99);
    table_gpt_seal(&gpt, true);
    t = table_scan(gpt.disk, DISK);
    assert_table(&t, 512);
    assert_says(&t, "different disk GUIDs");
    assert_says(&t, "disagree about the usable area");
    volume_table_clear(&t);
}

static void test_both_dead(void **state)
{
    struct table_gpt gpt = new_gpt(state, 512);
    struct volume_table t;

    table_gpt_array(&gpt, false)[0] ^= 1;
    table_gpt_array(&gpt, true)[0] ^= 1;
    t = table_scan(gpt.disk, DISK);
    assert_int_equal(t.scheme, VOLUME_MBR);
    assert_int_equal(t.n, 1);
    assert_string_equal(t.v[0].type, "0xee");
    assert_int_equal(t.v[0].start, 512);
    assert_int_equal(t.v[0].size, DISK - 512);
    assert_says(&t, "the MBR announces a GPT but neither copy is usable");
    assert_says(&t, "primary GPT (LBA 1, 512-byte sectors): checksum of the entries is wrong");
    assert_says(&t, "backup GPT (LBA 8191, 512-byte sectors): checksum of the entries is wrong");
    volume_table_clear(&t);
}

static void test_hybrid(void **state)
{
    struct table_gpt gpt = new_gpt(state, 512);
    struct volume_table t;

    table_mbr_entry(gpt.disk, 1, 0x80, 0x83, 256, 256); /* repeats partition 1 */
    t = table_scan(gpt.disk, DISK);
    assert_table(&t, 512);
    assert_says(&t, "hybrid MBR: besides the protective entry it has 1");
    assert_int_equal(table_warnings(&t), 1);
    volume_table_clear(&t);

    table_mbr_entry(gpt.disk, 2, 0, 0xee, 4096, 4000); /* several EE entries */
    table_mbr_entry(gpt.disk, 3, 0, 0x07, 5000, 100);  /* hidden from the GPT */
    t = table_scan(gpt.disk, DISK);
    assert_table(&t, 512);
    assert_says(&t, "type 0x07 (sector 5000, 100 sectors) that is no partition of the GPT");
    volume_table_clear(&t);
}

static void test_no_protective_mbr(void **state)
{
    struct table_gpt gpt = new_gpt(state, 512);
    struct volume_table t;

    memset(gpt.disk, 0, 512);
    t = table_scan(gpt.disk, DISK);
    assert_table(&t, 512);
    assert_says(&t, "there is no protective MBR");
    volume_table_clear(&t);

    /* only the backup is left of the table: still the best that is there */
    memset(gpt.disk, 0, (size_t)64 << 10);
    t = table_scan(gpt.disk, DISK);
    assert_table(&t, 512);
    assert_says(&t, "there is no protective MBR");
    assert_says(&t, "the backup at LBA 8191 is used");
    volume_table_clear(&t);

    /* but not against a file system that begins at sector 0 */
    memcpy(gpt.disk + 1024 + 56, "\x53\xef", 2);
    gpt.disk[1024 + 4] = 64; /* ext2: blocks */
    t = table_scan(gpt.disk, DISK);
    assert_int_equal(t.scheme, VOLUME_NONE);
    assert_says(&t, "is not shown: there is no protective MBR, and the whole disk is recognised "
                    "as ext2");
    volume_table_clear(&t);

    /* nor against an MBR with partitions of its own */
    memset(gpt.disk, 0, 512);
    table_mbr_sign(gpt.disk, 1);
    table_mbr_entry(gpt.disk, 0, 0, 0x83, 100, 100);
    t = table_scan(gpt.disk, DISK);
    assert_int_equal(t.scheme, VOLUME_MBR);
    assert_int_equal(t.n, 1);
    assert_says(&t, "a GPT with valid checksums lies at LBA 8191");
    volume_table_clear(&t);
}

static void test_entry_sizes(void **state)
{
    static const uint32_t sizes[] = {128, 136, 256, 4096};
    size_t i;

    for (i = 0; i < 4; i++) {
        struct table_gpt gpt = {
            .size = DISK, .sector = 512, .n_entries = 16, .entry_size = sizes[i]};
        struct volume_table t;

        gpt.disk = *state = calloc(1, DISK);
        assert_non_null(gpt.disk);
        table_gpt_build(&gpt);
        table_gpt_entry(&gpt, 15, 1000, 1009, "x");
        t = table_scan(gpt.disk, DISK);
        assert_int_equal(t.n, 1);
        assert_int_equal(t.v[0].number, 16);
        assert_int_equal(t.v[0].size, 5120);
        assert_int_equal(t.facts.n, 0);
        volume_table_clear(&t);
        free_disk(state);
        *state = NULL;
    }
}

static void test_names_and_attributes(void **state)
{
    struct table_gpt gpt = new_gpt(state, 512);
    uint8_t *p;
    struct volume_table t;
    unsigned copy;

    for (copy = 0; copy < 2; copy++) {
        p = table_gpt_array(&gpt, copy);
        p[48] = 4; /* legacy BIOS bootable */
        vd_put_le16(p + 56, 0x00e9);
        vd_put_le16(p + 58, 0x001b); /* ESC */
        vd_put_le16(p + 60, 0x202e); /* right-to-left override */
        vd_put_le16(p + 62, 0xd83d); /* a pair: U+1F600 */
        vd_put_le16(p + 64, 0xde00);
        vd_put_le16(p + 66, 0xd83d); /* unpaired */
        vd_put_le16(p + 68, 'z');
        vd_put_le16(p + 70, 0);
        vd_put_le16(p + 72, 'q'); /* behind the end */
        table_gpt_seal(&gpt, copy);
    }
    t = table_scan(gpt.disk, DISK);
    assert_true(t.v[0].active && !t.v[1].active);
    assert_string_equal(t.v[0].name, "\xc3\xa9\\x1b\\xe2\\x80\\xae\xf0\x9f\x98\x80\xef\xbf\xbdz");
    volume_table_clear(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_both_copies, free_disk),
        cmocka_unit_test_teardown(test_backup_used, free_disk),
        cmocka_unit_test_teardown(test_every_bit, free_disk),
        cmocka_unit_test_teardown(test_grown_disk, free_disk),
        cmocka_unit_test_teardown(test_disagree, free_disk),
        cmocka_unit_test_teardown(test_both_dead, free_disk),
        cmocka_unit_test_teardown(test_hybrid, free_disk),
        cmocka_unit_test_teardown(test_no_protective_mbr, free_disk),
        cmocka_unit_test_teardown(test_entry_sizes, free_disk),
        cmocka_unit_test_teardown(test_names_and_attributes, free_disk),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
