/* SPDX-License-Identifier: Apache-2.0 */
/* NTFS decoders: boot sector, update sequence, attributes, mapping pairs, index entries, links. */
#include "testlib.h"

#include "base/bytes.h"
#include "fs/ntfs/ntfs_priv.h"

#include <stdlib.h>
#include <string.h>

static struct vd_err err;

static void make_boot(uint8_t b[512])
{
    memset(b, 0, 512);
    memcpy(b + 3, "NTFS    ", 8);
    vd_put_le16(b + 11, 512);
    b[13] = 8;
    vd_put_le64(b + 40, 800000);
    vd_put_le64(b + 48, 4);
    vd_put_le64(b + 56, 50000);
    b[64] = 0xf6; /* 2^10 */
    b[68] = 1;    /* one cluster */
}

static void boot(void **state)
{
    struct ntfs_boot boot;
    uint8_t b[512];

    (void)state;
    make_boot(b);
    assert_ok(ntfs_boot_decode(b, &boot, &err));
    assert_int_equal(boot.cluster_size, 4096);
    assert_int_equal(boot.record_size, 1024);
    assert_int_equal(boot.index_size, 4096);
    assert_int_equal(boot.n_clusters, 100000);
    b[13] = 0xf6; /* 2^10 sectors: 512 KiB clusters */
    b[68] = 0xf4;
    assert_ok(ntfs_boot_decode(b, &boot, &err));
    assert_int_equal(boot.cluster_size, 512 * 1024);
    b[13] = 3;
    assert_fails(ntfs_boot_decode(b, &boot, &err), VD_ECORRUPT, "cluster size");
    make_boot(b);
    b[64] = 0x80; /* 2^128 */
    assert_fails(ntfs_boot_decode(b, &boot, &err), VD_ECORRUPT, "record size");
    make_boot(b);
    vd_put_le64(b + 40, UINT64_MAX);
    assert_fails(ntfs_boot_decode(b, &boot, &err), VD_ECORRUPT, "impossible size");
    b[3] = 'X';
    assert_fails(ntfs_boot_decode(b, &boot, &err), VD_ENOTFORMAT, "signature");
}

static void fixup(void **state)
{
    uint8_t b[1024] = "FILE";

    (void)state;
    vd_put_le16(b + 4, 48);
    vd_put_le16(b + 6, 3);
    vd_put_le16(b + 48, 0x1234);
    vd_put_le16(b + 50, 0xaaaa);
    vd_put_le16(b + 52, 0xbbbb);
    vd_put_le16(b + 510, 0x1234);
    vd_put_le16(b + 1022, 0x1234);
    assert_ok(ntfs_fixup(b, sizeof(b), "FILE", &err));
    assert_int_equal(vd_le16(b + 510), 0xaaaa);
    assert_int_equal(vd_le16(b + 1022), 0xbbbb);
    assert_fails(ntfs_fixup(b, sizeof(b), "FILE", &err), VD_ECORRUPT, "torn");
    assert_fails(ntfs_fixup(b, sizeof(b), "INDX", &err), VD_ECORRUPT, "no INDX record");
    vd_put_le16(b + 4, 1022);
    assert_fails(ntfs_fixup(b, sizeof(b), "FILE", &err), VD_ECORRUPT, "update sequence");
}

static int pairs(const uint8_t *p, size_t len, uint64_t last_vcn, struct fs_runs *runs)
{
    struct ntfs_boot boot = {.cluster_size = 4096, .n_clusters = 1000};
    struct ntfs_extent e = {.last_vcn = last_vcn, .pairs = p, .len = len};

    return ntfs_pairs_decode(&e, &boot, 1000 * 4096, runs, &err);
}

static void mapping_pairs(void **state)
{
    /* 16 clusters at 100, 8 sparse, 4 at 90 (-10), 2 at 990 … passes the end at 1000 with 20 */
    static const uint8_t good[] = {0x11, 16, 100, 0x01, 8, 0x11, 4, 0xf6, 0x21, 20, 0x84, 0x03, 0};
    static const uint8_t cut[] = {0x21, 20, 0x84};
    static const uint8_t long_header[] = {0x19, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    static const uint8_t nothing[] = {0x11, 0, 5, 0};
    struct fs_runs runs = {0};
    struct fs_run run;

    (void)state;
    assert_ok(pairs(good, sizeof(good), 47, &runs));
    fs_runs_at(&runs, 0, UINT32_MAX, &run);
    assert_int_equal(run.dev_off, 100 * 4096);
    assert_int_equal(run.len, 16 * 4096);
    fs_runs_at(&runs, 16 * 4096, UINT32_MAX, &run);
    assert_int_equal(run.kind, FS_RUN_ZEROS);
    fs_runs_at(&runs, 24 * 4096, UINT32_MAX, &run);
    assert_int_equal(run.dev_off, 90 * 4096);
    fs_runs_at(&runs, 28 * 4096, UINT32_MAX, &run);
    assert_int_equal(run.kind, FS_RUN_BAD);
    assert_int_equal(run.why, FS_WHY_OUTSIDE);
    fs_runs_clear(&runs);
    assert_fails(pairs(good, sizeof(good), 48, &runs), VD_ECORRUPT, "mapping pairs end");
    fs_runs_clear(&runs);
    assert_fails(pairs(cut, sizeof(cut), 19, &runs), VD_ECORRUPT, "impossible header");
    assert_fails(pairs(long_header, sizeof(long_header), 1, &runs), VD_ECORRUPT, "impossible");
    assert_fails(pairs(nothing, sizeof(nothing), 0, &runs), VD_ECORRUPT, "run of 0");
    fs_runs_clear(&runs);
}

/* A resident attribute of `len` bytes at b. */
static void put_attr(uint8_t *b, uint32_t type, uint32_t len, uint32_t value_len)
{
    memset(b, 0, len);
    vd_put_le32(b, type);
    vd_put_le32(b + 4, len);
    vd_put_le32(b + 16, value_len);
    vd_put_le16(b + 20, 24);
}

static void attributes(void **state)
{
    struct ntfs_record rec = {.first_attr = 56, .used = 200};
    struct ntfs_file *file = calloc(1, sizeof(*file));
    uint8_t b[1024] = {0};

    (void)state;
    put_attr(b + 56, NTFS_STANDARD_INFORMATION, 72, 48);
    put_attr(b + 128, NTFS_DATA, 32, 5);
    vd_put_le32(b + 160, UINT32_MAX);
    assert_ok(ntfs_file_add_record(file, b, &rec, &err));
    assert_int_equal(file->n_attrs, 2);
    assert_non_null(ntfs_file_stream(file, 0));
    assert_null(ntfs_file_stream(file, 1));
    put_attr(b + 128, NTFS_DATA, 32, 9); /* the value passes the attribute */
    assert_fails(ntfs_file_add_record(file, b, &rec, &err), VD_ECORRUPT, "value outside");
    put_attr(b + 128, NTFS_DATA, 32, 5);
    vd_put_le32(b + 132, 4096);
    assert_fails(ntfs_file_add_record(file, b, &rec, &err), VD_ECORRUPT, "impossible length");
    vd_put_le32(b + 132, 0);
    assert_fails(ntfs_file_add_record(file, b, &rec, &err), VD_ECORRUPT, "impossible length");
    put_attr(b + 128, NTFS_DATA, 32, 5);
    b[128 + 9] = 200; /* name */
    assert_fails(ntfs_file_add_record(file, b, &rec, &err), VD_ECORRUPT, "name outside");
    ntfs_file_free(file);
}

static void index_entries(void **state)
{
    struct ntfs_index_entry e;
    uint8_t b[64] = {0};
    size_t at = 0;

    (void)state;
    vd_put_le64(b, UINT64_C(0x0007000000000123));
    vd_put_le16(b + 8, 32);
    vd_put_le16(b + 10, 16);
    vd_put_le16(b + 32 + 8, 24); /* the end entry, with a child */
    vd_put_le16(b + 32 + 12, 3);
    vd_put_le64(b + 32 + 16, 42);
    assert_ok(ntfs_index_next(b, sizeof(b), &at, &e, &err));
    assert_int_equal(e.addr, 0x123);
    assert_int_equal(e.seq, 7);
    assert_int_equal(e.key_len, 16);
    assert_false(e.last);
    assert_ok(ntfs_index_next(b, sizeof(b), &at, &e, &err));
    assert_true(e.last && e.has_child);
    assert_int_equal(e.child_vcn, 42);
    at = 0;
    vd_put_le16(b + 10, 17);
    assert_fails(ntfs_index_next(b, sizeof(b), &at, &e, &err), VD_ECORRUPT, "impossible length");
    vd_put_le16(b + 8, 0);
    assert_fails(ntfs_index_next(b, sizeof(b), &at, &e, &err), VD_ECORRUPT, "impossible length");
    at = 56;
    assert_fails(ntfs_index_next(b, sizeof(b), &at, &e, &err), VD_ECORRUPT, "without an end");
}

static void links(void **state)
{
    uint8_t data[64] = {0};
    struct ntfs_reparse rp = {.tag = 0xa000000c, .data = data, .len = 28};
    char *target = NULL;
    size_t len = 0;

    (void)state;
    vd_put_le16(data + 8, 0);
    vd_put_le16(data + 10, 8);
    data[20] = 'a';
    data[22] = '\\';
    data[24] = 'b';
    data[26] = 'c';
    assert_ok(ntfs_reparse_target(&rp, &target, &len, &err));
    assert_string_equal(target, "a\\bc");
    free(target);
    data[16] = 1; /* relative */
    assert_ok(ntfs_reparse_target(&rp, &target, &len, &err));
    assert_string_equal(target, "a/bc");
    free(target);
    vd_put_le16(data + 10, 10);
    assert_fails(ntfs_reparse_target(&rp, &target, &len, &err), VD_ECORRUPT, "outside");
}

static void content_elsewhere(void **state)
{
    (void)state;
    assert_int_equal(ntfs_reparse_check_data(0, NTFS_FILE_OFFLINE, &err), 0);
    assert_fails(ntfs_reparse_check_data(0x80000017, 0, &err), VD_EUNSUPPORTED, "compact OS");
    assert_fails(ntfs_reparse_check_data(0x80000013, 0, &err), VD_EUNSUPPORTED, "deduplicated");
    assert_int_equal(ntfs_reparse_check_data(0x9000001a, 0, &err), 0); /* cloud, all here */
    assert_fails(ntfs_reparse_check_data(0x9000001a, NTFS_FILE_RECALL_DATA, &err), VD_EUNSUPPORTED,
                 "placeholder");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(boot),
        cmocka_unit_test(fixup),
        cmocka_unit_test(mapping_pairs),
        cmocka_unit_test(attributes),
        cmocka_unit_test(index_entries),
        cmocka_unit_test(links),
        cmocka_unit_test(content_elsewhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
