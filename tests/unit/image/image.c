/* SPDX-License-Identifier: Apache-2.0 */
/* The registry: which format opens a file, and what raw takes and refuses. */
#include "vmdk_build.h"

#include "blk/layers.h"

#include <string.h>

static void test_raw(void **state)
{
    static uint8_t disk[5000];
    struct vd_err err = VD_ERR_INIT;
    struct image *image = NULL;

    (void)state;
    test_fill(disk, sizeof(disk), 1);
    assert_ok(vb_open(disk, sizeof(disk), "disk.img", &image, &err));
    assert_string_equal(image->format->name, "raw");
    assert_string_equal(image->name, "disk.img");
    assert_string_equal(image->identity, "");
    vb_check_reads(image->dev, disk, sizeof(disk), 0);
    assert_true(vb_has_fact(image, VD_FACT_WARNING, "not a multiple of 512"));
    image_free(image);
    assert_ok(vb_open(disk, 1, "disk-flat.vmdk", &image, &err));
    assert_true(vb_has_fact(image, VD_FACT_WARNING, "an extent of a VMDK"));
    image_free(image);
    assert_ok(vb_open(disk, 512, "disk-f001.vmdk", &image, &err));
    assert_true(vb_has_fact(image, VD_FACT_WARNING, "an extent of a VMDK"));
    image_free(image);
    assert_ok(vb_open(disk, 512, "half001.raw", &image, &err));
    assert_false(vb_has_fact(image, VD_FACT_WARNING, "an extent of a VMDK"));
    image_free(image);
    /* called an image, without the marks of one: damaged, and never taken for a raw disk */
    assert_fails(vb_open(disk, 512, "half001.vmdk", &image, &err), VD_ENOTFORMAT, "ends in .vmdk");
    assert_fails(vb_open(disk, 512, "A.VHDX", &image, &err), VD_ENOTFORMAT, "ends in .vhdx");
    assert_fails(vb_open(disk, 512, "a.avhd", &image, &err), VD_ENOTFORMAT, "damaged");
    assert_fails(vb_open(disk, 0, "empty", &image, &err), VD_ENOTFORMAT,
                 "empty: the file is empty");
}

static void test_known_containers(void **state)
{
    static const struct {
        const char *bytes;
        size_t off, len;
        const char *name;
    } cases[] = {
        {"QFI\xfb", 0, 4, "QCOW"},
        {"QED\0", 0, 4, "QED"},
        {"\x7f\x10\xda\xbe", 64, 4, "VDI"},
        {"WithoutFreeSpace", 0, 16, "Parallels"},
        {"EVF\x09\x0d\x0a\xff\0", 0, 8, "EWF"},
        {"encrcdsa", 0, 8, "encrypted Apple"},
        {"koly", 2048 - 512, 4, "DMG"},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct vd_err err = VD_ERR_INIT;
        struct image *image = NULL;
        uint8_t file[2048] = {0};

        memcpy(file + cases[i].off, cases[i].bytes, cases[i].len);
        assert_fails(vb_open(file, sizeof(file), "x", &image, &err), VD_EUNSUPPORTED,
                     cases[i].name);
    }
}

/* What has the marks of two formats is neither. */
static void test_two_formats(void **state)
{
    static uint8_t file[8192];
    struct vd_err err = VD_ERR_INIT;
    struct image *image = NULL;

    (void)state;
    memcpy(file, "KDMV", 4);
    memcpy(file + sizeof(file) - 512, "conectix", 8);
    assert_fails(vb_open(file, sizeof(file), "x", &image, &err), VD_EUNSUPPORTED,
                 "two formats, vmdk and vhd");
}

/* A bad sector at the end of a disk costs that sector; one at its start could hide a format. */
static void test_bad_ends(void **state)
{
    static uint8_t disk[64 * 512];
    static const struct {
        uint64_t off;
        bool opens;
    } cases[] = {
        {sizeof(disk) - 512, true}, {sizeof(disk) - 1024, true}, {0, false}, {1024, false}};
    size_t i;

    (void)state;
    test_fill(disk, sizeof(disk), 4);
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct blk_fault_rule rule = {
            .kind = BLK_FAULT_ERROR, .off = cases[i].off, .len = 512};
        struct vd_err err = VD_ERR_INIT;
        struct blkdev *mem = NULL, *fault = NULL;
        struct image *image = NULL;
        uint8_t sector[512];

        assert_ok(blk_mem_new(disk, sizeof(disk), "d.img", &mem, &err));
        assert_ok(blk_fault_new(mem, &fault, &err));
        blk_fault_set(fault, &rule);
        if (cases[i].opens) {
            assert_ok(image_open_file(fault, &vb_no_files, 0, "d.img", &image, &err));
            assert_true(vb_has_fact(image, VD_FACT_WARNING, "a VHD footer there would not"));
            assert_ok(blk_read(image->dev, 512, sector, 512, &err));
            assert_memory_equal(sector, disk + 512, 512);
            assert_int_equal(blk_read(image->dev, cases[i].off, sector, 512, &err), -VD_EIO);
            image_free(image);
        } else {
            assert_fails(image_open_file(fault, &vb_no_files, 0, "d.img", &image, &err), VD_EIO,
                         "injected fault");
        }
        blk_unref(fault);
    }
}

static void test_identify(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    const char *text = vb_descriptor("12", "34", "b.vmdk", 8, "not-there.vmdk");
    char *dir = test_tmpdir();
    struct blk_source source;
    struct image *image = NULL;

    (void)state;
    test_write_file(dir, "c.vmdk", text, strlen(text));
    test_write_file(dir, "notes.txt", "hello\n", 6);
    assert_ok(evidence_dir_source((const char *const[]){dir}, 1, &source, &err));
    assert_ok(image_identify(&source, 0, "c.vmdk", &image, &err)); /* without its extents */
    assert_string_equal(image->identity, "cid:00000012");
    assert_string_equal(image->parent_identity[0], "cid:00000034");
    assert_string_equal(image->parent_hint[0], "b.vmdk");
    image_free(image);
    assert_fails(image_identify(&source, 0, "notes.txt", &image, &err), VD_ENOTFORMAT, "notes.txt");
    assert_fails(image_open(&source, 0, "../c.vmdk", &image, &err), VD_EREFUSED, "bare file name");
    assert_fails(image_open(&source, 0, "none", &image, &err), VD_ENOENT, "none");
    assert_ok(image_open(&source, 0, "notes.txt", &image, &err));
    assert_true(image->file.ino != 0);
    image_free(image);
    image_free(NULL);
    evidence_dir_source_free(&source);
    test_rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_raw),         cmocka_unit_test(test_known_containers),
        cmocka_unit_test(test_two_formats), cmocka_unit_test(test_bad_ends),
        cmocka_unit_test(test_identify),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
