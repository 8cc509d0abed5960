/* SPDX-License-Identifier: Apache-2.0 */
/* Every read of a scan and of a recognition fails in turn, once and for good.  Allowed: an error,
 * or the whole table, or a table with a warning whose partitions are all right ones (or the bare
 * entries of the MBR, when the GPT is gone).  Never a wrong table silently. */
#include "tables.h"

#include "blk/layers.h"

#include <stdlib.h>

#define DISK ((size_t)2 << 20)

static bool same_volume(const struct volume *a, const struct volume *b)
{
    return a->number == b->number && a->start == b->start && a->size == b->size &&
           strcmp(a->type, b->type) == 0 && strcmp(a->uuid, b->uuid) == 0 &&
           strcmp(a->name, b->name) == 0;
}

static bool same_table(const struct volume_table *a, const struct volume_table *b)
{
    size_t i;

    if (a->scheme != b->scheme || a->n != b->n || a->sector_size != b->sector_size ||
        strcmp(a->disk_id, b->disk_id) != 0)
        return false;
    for (i = 0; i < a->n; i++)
        if (!same_volume(&a->v[i], &b->v[i]))
            return false;
    return true;
}

/* Is every partition of `part` one of `whole`? */
static bool subset(const struct volume_table *part, const struct volume_table *whole)
{
    size_t i, j;

    for (i = 0; i < part->n; i++) {
        bool found = strcmp(part->v[i].type, "0xee") == 0;

        for (j = 0; j < whole->n && !found; j++)
            found = same_volume(&part->v[i], &whole->v[j]);
        if (!found)
            return false;
    }
    return true;
}

static void check_fault(struct blkdev *faulty, const struct volume_table *expected)
{
    struct vd_err err = VD_ERR_INIT;
    struct volume_table t;

    if (volume_scan(faulty, &t, &err)) {
        assert_int_equal(err.cls, VD_EIO);
        return;
    }
    table_check(&t, faulty->size);
    if (!same_table(&t, expected)) {
        assert_true(table_warnings(&t) > table_warnings(expected));
        assert_true(t.scheme != VOLUME_NONE && subset(&t, expected));
    }
    volume_table_clear(&t);
}

static void sweep(const uint8_t *bytes)
{
    struct vd_err err = VD_ERR_INIT;
    struct blkdev *mem = table_device(bytes, DISK, DISK), *faulty = NULL;
    struct volume_table expected;
    uint64_t n, n_reads;
    unsigned persistent;

    assert_ok(blk_fault_new(mem, &faulty, &err));
    expected = table_scan_device(faulty);
    n_reads = blk_fault_count(faulty);
    assert_true(n_reads > 0 && n_reads < 100);
    for (persistent = 0; persistent < 2; persistent++)
        for (n = 1; n <= n_reads + 1; n++) {
            struct blk_fault_rule rule = {
                .kind = BLK_FAULT_ERROR, .nth = n, .persistent = persistent};

            blk_fault_set(faulty, &rule);
            check_fault(faulty, &expected);
        }
    /* bad places, not bad moments: each sector of the first and last 40 */
    for (n = 0; n < 80; n++) {
        uint64_t at = n < 40 ? n * 512 : DISK - (80 - n) * 512;
        struct blk_fault_rule rule = {.kind = BLK_FAULT_ERROR, .off = at, .len = 512};

        blk_fault_set(faulty, &rule);
        check_fault(faulty, &expected);
    }
    blk_fault_set(faulty, NULL);
    check_fault(faulty, &expected);
    volume_table_clear(&expected);
    blk_unref(faulty);
}

static void test_gpt(void **state)
{
    uint8_t *disk = calloc(1, DISK);
    struct table_gpt gpt = {
        .disk = disk, .size = DISK, .sector = 512, .n_entries = 128, .entry_size = 128};

    (void)state;
    assert_non_null(disk);
    table_gpt_build(&gpt);
    table_gpt_entry(&gpt, 0, 100, 199, "one");
    table_gpt_entry(&gpt, 1, 200, 999, "two");
    sweep(disk);
    memset(table_gpt_header(&gpt, false), 0, 512); /* backup only */
    sweep(disk);
    free(disk);
}

static void test_mbr(void **state)
{
    uint8_t *disk = calloc(1, DISK);
    unsigned i;

    (void)state;
    assert_non_null(disk);
    table_mbr_sign(disk, 0x1234);
    table_mbr_entry(disk, 0, 0x80, 0x07, 8, 8);
    table_mbr_entry(disk, 1, 0, 0x05, 20, 100);
    for (i = 0; i < 5; i++) { /* EBRs at 20, 22, … so that bad places hit them */
        uint8_t *ebr = disk + (20 + 2 * (size_t)i) * 512;

        table_mbr_entry(ebr, 0, 0, 0x83, 1, 1);
        if (i < 4)
            table_mbr_entry(ebr, 1, 0, 0x05, 2 * i + 2, 2);
        table_mbr_sign(ebr, 0);
    }
    sweep(disk);
    free(disk);
}

/* Recognition: a type that is told is the right one; the first bytes must be readable. */
static void test_recognise(void **state)
{
    const size_t size = (size_t)8 << 20;
    struct vd_err err = VD_ERR_INIT;
    uint8_t *disk = calloc(1, size);
    struct blkdev *mem, *faulty = NULL;
    struct volume_content content;
    uint64_t n;

    (void)state;
    assert_non_null(disk);
    memcpy(disk + 1024 + 56, "\x53\xef", 2); /* ext2 */
    disk[1024 + 5] = 8;
    mem = table_device(disk, size, size);
    assert_ok(blk_fault_new(mem, &faulty, &err));
    assert_ok(volume_recognise(faulty, &content, &err));
    assert_string_equal(content.type, "ext2");
    for (n = 1; n <= 64; n++) {
        struct blk_fault_rule rule = {.kind = BLK_FAULT_ERROR, .nth = n, .persistent = n % 2};

        blk_fault_set(faulty, &rule);
        if (volume_recognise(faulty, &content, &err))
            assert_true(n == 1 && err.cls == VD_EIO);
        else
            assert_true(content.type[0] == '\0' || strcmp(content.type, "ext2") == 0);
    }
    for (n = 8; n < size / 512; n += 61) { /* a bad sector elsewhere changes nothing */
        struct blk_fault_rule rule = {.kind = BLK_FAULT_ERROR, .off = n * 512, .len = 512};

        blk_fault_set(faulty, &rule);
        assert_ok(volume_recognise(faulty, &content, &err));
        assert_string_equal(content.type, "ext2");
    }
    blk_unref(faulty);
    free(disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gpt),
        cmocka_unit_test(test_mbr),
        cmocka_unit_test(test_recognise),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
