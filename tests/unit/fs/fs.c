/* SPDX-License-Identifier: Apache-2.0 */
/* The door: what is no file system, what is named only, and I/O errors while looking. */
#include "testlib.h"

#include "blk/layers.h"
#include "fs/fs.h"

#include <stdlib.h>
#include <string.h>

static struct vd_err err;

static struct blkdev *volume(size_t len, size_t at, const char *bytes, size_t n)
{
    uint8_t *mem = calloc(1, len);
    struct blkdev *dev = NULL;

    memcpy(mem + at, bytes, n);
    assert_ok(blk_mem_new(mem, len, "", &dev, &err));
    free(mem);
    return dev;
}

static void refused(size_t len, size_t at, const char *bytes, size_t n, enum vd_class cls,
                    const char *text)
{
    struct blkdev *vol = volume(len, at, bytes, n);
    struct fs *fs = NULL;

    assert_fails(fs_open(vol, "p1", &fs, &err), cls, text);
    assert_null(fs);
    blk_unref(vol);
}

static void nothing_known(void **state)
{
    (void)state;
    refused(1, 0, "", 0, VD_ENOTFORMAT, "p1: no file system");
    refused(512, 0, "", 0, VD_ENOTFORMAT, "p1: no file system");
    refused(1 << 20, 0, "", 0, VD_ENOTFORMAT, "p1: no file system");
    refused(1 << 20, 510, "\x55\xaa", 2, VD_ENOTFORMAT, "no file system");
}

static void named_only(void **state)
{
    (void)state;
    refused(1 << 20, 32, "NXSB", 4, VD_EUNSUPPORTED, "APFS");
    refused(1 << 20, 0, "XFSB", 4, VD_EUNSUPPORTED, "XFS");
    refused(1 << 20, 3, "ReFS\0\0\0\0", 8, VD_EUNSUPPORTED, "ReFS");
    refused(1 << 20, 65600, "_BHRfS_M", 8, VD_EUNSUPPORTED, "btrfs");
}

static void signature_without_the_rest(void **state)
{
    (void)state;
    refused(1 << 20, 3, "NTFS    ", 8, VD_ECORRUPT, "boot sector");
    refused(1 << 20, 3, "EXFAT   ", 8, VD_ECORRUPT, "libtsk");
    refused(1 << 20, 1024 + 56, "\x53\xef", 2, VD_ECORRUPT, "superblock");
    refused(1 << 20, 1024, "H+\0\4", 4, VD_ECORRUPT, "libtsk");
    refused(1 << 20, 32768, "\1CD001\1", 7, VD_ECORRUPT, "volume descriptor");
    refused(3000, 3, "NTFS    ", 8, VD_ECORRUPT, "boot sector");
}

static void unreadable_is_an_io_error(void **state)
{
    struct blk_fault_rule rule = {.kind = BLK_FAULT_ERROR, .off = 0, .len = 512};
    struct blkdev *vol = volume(1 << 20, 0, "", 0), *fault = NULL;
    struct fs *fs = NULL;

    (void)state;
    assert_ok(blk_fault_new(vol, &fault, &err));
    blk_fault_set(fault, &rule);
    assert_fails(fs_open(fault, "p1", &fs, &err), VD_EIO, "p1: ");
    blk_unref(fault);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_known),
        cmocka_unit_test(named_only),
        cmocka_unit_test(signature_without_the_rest),
        cmocka_unit_test(unreadable_is_an_io_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
