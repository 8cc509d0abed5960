/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bytes.h"
#include "tables.h"
#include "volume/internal.h"

static void make_fat(uint8_t *s)
{
    memset(s, 0, 512);
    memcpy(s, "\xeb\x3c\x90MSDOS5.0", 11);
    vd_put_le16(s + 11, 512);
    s[13] = 4;
    vd_put_le16(s + 14, 4);
    s[16] = 2;
    vd_put_le16(s + 17, 512);
    vd_put_le16(s + 19, 8192);
    s[21] = 0xf8;
    vd_put_le16(s + 22, 8);
    s[510] = 0x55;
    s[511] = 0xaa;
}

static void make_ntfs(uint8_t *s)
{
    memset(s, 0, 512);
    memcpy(s, "\xeb\x52\x90NTFS    ", 11);
    vd_put_le16(s + 11, 512);
    s[13] = 8;
    vd_put_le64(s + 40, 8191);
    s[510] = 0x55;
    s[511] = 0xaa;
}

static void assert_fs(const uint8_t *s, const char *name)
{
    const char *fs = bootsec_file_system(s);

    if (!name)
        assert_null(fs);
    else
        assert_string_equal(fs, name);
}

static void test_fat(void **state)
{
    /* each single field that breaks the block */
    static const struct {
        uint16_t off;
        uint8_t value;
    } bad[] = {{0, 0},  {11, 1},    {12, 0},    {12, 0x20}, {13, 0},    {13, 3},
               {14, 0}, {16, 0},    {16, 5},    {21, 0x55}, {22, 0},    {18, 0},
               {20, 0}, {23, 0xff}, {15, 0xff}, {21, 0xf7}, {12, 0x03}, {0, 0xfa}};
    uint8_t s[512];
    size_t i;

    (void)state;
    make_fat(s);
    assert_fs(s, "FAT");
    memcpy(s + 3, "anything", 8);
    assert_fs(s, "FAT");
    vd_put_le16(s + 22, 0); /* FAT32 */
    vd_put_le32(s + 36, 8);
    vd_put_le16(s + 17, 0);
    assert_fs(s, "FAT");
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        make_fat(s);
        s[bad[i].off] = bad[i].value;
        assert_fs(s, NULL);
    }
}

static void test_others(void **state)
{
    static const uint8_t to_go[16] = {0x3b, 0xd6, 0x67, 0x49, 0x29, 0x2e, 0xd8, 0x4a,
                                      0x83, 0x99, 0xf6, 0xa3, 0x39, 0xe3, 0xd0, 0x01};
    uint8_t s[512];

    (void)state;
    make_ntfs(s);
    assert_fs(s, "NTFS");
    s[13] = 0xf4; /* 2^12 sectors */
    assert_fs(s, "NTFS");
    s[13] = 0x90;
    assert_fs(s, NULL);
    make_ntfs(s);
    memset(s + 40, 0, 8);
    assert_fs(s, NULL);

    memset(s, 0, sizeof(s));
    memcpy(s + 3, "EXFAT   ", 8);
    s[108] = 9;
    assert_fs(s, "exFAT");
    s[63] = 1;
    assert_fs(s, NULL);
    s[63] = 0;
    s[108] = 13;
    assert_fs(s, NULL);

    memset(s, 0, sizeof(s));
    memcpy(s + 3, "-FVE-FS-", 8);
    assert_fs(s, "BitLocker");
    memcpy(s + 3, "MSWIN4.1", 8);
    assert_fs(s, NULL);
    memcpy(s + 424, to_go, 16);
    assert_fs(s, "BitLocker");
    s[439] ^= 1;
    assert_fs(s, NULL);

    memset(s, 0, sizeof(s));
    memcpy(s + 3, "ReFS", 4);
    assert_fs(s, "ReFS");
    memset(s, 0, sizeof(s));
    assert_fs(s, NULL);
}

/* A boot sector of a file system is not a table, even with boot code where the entries are … */
static void test_whole_disk(void **state)
{
    static uint8_t disk[64 * 512];
    struct volume_table t;
    unsigned i;

    (void)state;
    for (i = 0; i < 2; i++) {
        if (i)
            make_ntfs(disk);
        else
            make_fat(disk);
        memcpy(disk + 446, "Non-system disk, press any key", 30);
        t = table_scan(disk, sizeof(disk));
        assert_int_equal(t.scheme, VOLUME_NONE);
        assert_int_equal(t.facts.n, 0);
        volume_table_clear(&t);
        /* … or one fake entry over the whole disk, as mkfs.fat --mbr writes it */
        memset(disk + 446, 0, 64);
        table_mbr_entry(disk, 0, 0x80, 0x0c, 0, 64);
        t = table_scan(disk, sizeof(disk));
        assert_int_equal(t.scheme, VOLUME_NONE);
        volume_table_clear(&t);
        /* entries that no boot code gives by accident are a table; the doubt is said */
        table_mbr_entry(disk, 0, 0x80, 0x0c, 8, 8);
        t = table_scan(disk, sizeof(disk));
        assert_int_equal(t.scheme, VOLUME_MBR);
        assert_says(&t, i ? "also looks like a boot sector of NTFS"
                          : "also looks like a boot sector of FAT");
        volume_table_clear(&t);
    }
}

static void test_not_tables(void **state)
{
    static uint8_t disk[64 * 512];
    struct volume_table t;

    (void)state;
    memset(disk, 0, sizeof(disk));
    t = table_scan(disk, sizeof(disk)); /* nothing at all */
    assert_int_equal(t.scheme, VOLUME_NONE);
    assert_int_equal(t.facts.n, 0);
    volume_table_clear(&t);

    table_mbr_entry(disk, 0, 0, 0x83, 8, 8); /* entries, no 55 AA */
    t = table_scan(disk, sizeof(disk));
    assert_int_equal(t.scheme, VOLUME_NONE);
    volume_table_clear(&t);

    table_mbr_sign(disk, 0);
    disk[446 + 32] = 0x55; /* a status byte that is none */
    t = table_scan(disk, sizeof(disk));
    assert_int_equal(t.scheme, VOLUME_NONE);
    assert_says(&t, "status bytes are not those of a partition table");
    volume_table_clear(&t);

    memset(disk, 0, sizeof(disk));
    table_mbr_sign(disk, 0xabcd); /* an empty table */
    t = table_scan(disk, sizeof(disk));
    assert_int_equal(t.scheme, VOLUME_NONE);
    assert_string_equal(t.disk_id, "0x0000abcd");
    assert_says(&t, "no entry is in use");
    volume_table_clear(&t);
}

static void test_foreign(void **state)
{
    static uint8_t disk[64 * 512];
    struct volume_table t;

    (void)state;
    memset(disk, 0, sizeof(disk));
    memcpy(disk, "ER\x02\x00", 4);
    memcpy(disk + 512, "PM\0\0\0\0\0\3", 8);
    t = table_scan(disk, sizeof(disk));
    assert_int_equal(t.scheme, VOLUME_NONE);
    assert_says(&t, "Apple partition map found, not read by this version");
    volume_table_clear(&t);

    memcpy(disk, "ER\x08\x00", 4); /* 2,048-byte blocks */
    memset(disk + 512, 0, 8);
    memcpy(disk + 2048, "PM\0\0\0\0\0\3", 8);
    t = table_scan(disk, sizeof(disk));
    assert_says(&t, "Apple partition map found, not read by this version");
    volume_table_clear(&t);

    table_mbr_sign(disk, 0); /* hybrid: the MBR is shown, the map is said */
    table_mbr_entry(disk, 0, 0, 0x83, 16, 8);
    t = table_scan(disk, sizeof(disk));
    assert_int_equal(t.scheme, VOLUME_MBR);
    assert_says(&t, "Apple partition map found as well");
    volume_table_clear(&t);

    memset(disk, 0, sizeof(disk));
    memcpy(disk + 512, "\x57\x45\x56\x82", 4);
    t = table_scan(disk, sizeof(disk));
    assert_int_equal(t.facts.n, 0); /* half a label is none */
    volume_table_clear(&t);
    memcpy(disk + 512 + 132, "\x57\x45\x56\x82", 4);
    t = table_scan(disk, sizeof(disk));
    assert_says(&t, "BSD disklabel found, not read by this version");
    volume_table_clear(&t);

    memset(disk, 0, sizeof(disk));
    memcpy(disk + 64, "\x57\x45\x56\x82", 4);
    memcpy(disk + 64 + 132, "\x57\x45\x56\x82", 4);
    t = table_scan(disk, sizeof(disk));
    assert_says(&t, "BSD disklabel found, not read by this version");
    volume_table_clear(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fat),        cmocka_unit_test(test_others),
        cmocka_unit_test(test_whole_disk), cmocka_unit_test(test_not_tables),
        cmocka_unit_test(test_foreign),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
