/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files made by qemu-img against the raw data they were made from: VHD fixed and dynamic, exact
 * size and geometry size; VHDX fixed and dynamic with blocks of 1 to 256 MiB; data beyond 4 GiB, so
 * that the sector bitmap entries between the BAT's chunks count.  All files are sparse.
 */
#include "../../evil/vhd/build.h"
#include "testlib.h"

#include "base/bytes.h"
#include "base/range.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

static char *dir;

/* Pseudo-random stretches with holes between them; the last bytes of the disk are among them. */
static const struct {
    uint64_t off;
    size_t len;
} stretches[] = {
    {0, 3000},
    {65536, 512},
    {MIB - 700, 1500},
    {5 * MIB + 12345, 300000},
    {33 * MIB, 65536},
    {255 * MIB, 1000},
    {4 * GIB - 777, 2222},
    {4 * GIB + 3 * MIB, 100000},
    {8 * GIB + 99, 1001},
};

__attribute__((format(printf, 1, 2))) static void run(const char *fmt, ...)
{
    char command[2048];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(command, sizeof(command), fmt, ap);
    va_end(ap);
    if (system(command) != 0) /* NOLINT(cert-env33-c): a fixed command of a test */
        fail_msg("failed: %s", command);
}

static void make_raw(const char *path, uint64_t size)
{
    int fd = open(path, O_CREAT | O_TRUNC | O_RDWR, 0600);
    uint8_t *bytes = malloc(300000);
    size_t i;

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    for (i = 0; i < sizeof(stretches) / sizeof(stretches[0]); i++) {
        test_fill(bytes, stretches[i].len, i + 1);
        if (stretches[i].off + stretches[i].len <= size)
            assert_int_equal(pwrite(fd, bytes, stretches[i].len, (off_t)stretches[i].off),
                             stretches[i].len);
    }
    assert_int_equal(pwrite(fd, "the very end", 12, (off_t)size - 12), 12);
    free(bytes);
    (void)close(fd);
}

/* [off, off+len) of the image equals the raw file; past the raw file's end (rounded-up sizes)
 * zeros. */
static void compare(struct blkdev *dev, int raw, uint64_t off, size_t len)
{
    struct vd_err err = VD_ERR_INIT;
    uint8_t *got, *want;
    ssize_t n;

    if (off >= dev->size)
        return;
    len = (size_t)vd_min(len, dev->size - off);
    got = malloc(len);
    want = calloc(1, len);
    assert_ok(blk_read(dev, off, got, len, &err));
    n = pread(raw, want, len, (off_t)off);
    assert_true(n >= 0);
    assert_memory_equal(got, want, len);
    free(got);
    free(want);
}

/* Every stretch with its surroundings in reads of several sizes; everything else must be zeros by
 * the map or hold zeros. */
static void compare_all(struct blkdev *dev, int raw)
{
    static const size_t sizes[] = {512, 4099, 131072, 1500000};
    static uint8_t buf[1 << 20];
    struct vd_err err = VD_ERR_INIT;
    struct blk_extent ext;
    uint64_t off, runs = 0;
    size_t i, k, at;

    for (i = 0; i < sizeof(stretches) / sizeof(stretches[0]); i++)
        for (k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
            uint64_t start = stretches[i].off - vd_min(stretches[i].off, 3000);

            for (at = 0; at < stretches[i].len + 6000 && at < 400 * sizes[k]; at += sizes[k])
                compare(dev, raw, start + at, sizes[k]);
        }
    compare(dev, raw, dev->size - vd_min(dev->size, 10000), 10000);
    for (off = 0; off < dev->size; off += ext.len, runs++) {
        assert_ok(blk_map(dev, off, dev->size, &ext, &err));
        assert_true(ext.status == BLK_ZEROS || (ext.status == BLK_DATA && ext.child));
        if (ext.status == BLK_DATA) /* the start of each run lies where the map says */
            assert_ok(blk_read(ext.child, ext.child_off, buf, (size_t)vd_min(ext.len, 4096), &err));
        else
            memset(buf, 0, 4096);
        {
            static uint8_t want[4096];
            ssize_t n;

            memset(want, 0, sizeof(want));
            n = pread(raw, want, sizeof(want), (off_t)off);
            assert_true(n >= 0);
            assert_memory_equal(buf, want, (size_t)vd_min(ext.len, 4096));
        }
        assert_true(runs < 100000);
    }
}

static void check(const struct image_format *format, const char *qemu, const char *options,
                  uint64_t size, uint64_t block, int exact)
{
    struct vd_err err = VD_ERR_INIT;
    struct blk_source source;
    struct blkdev *file = NULL;
    const char *dirs[1];
    struct image image;
    char path[512];
    int raw;

    dirs[0] = dir;
    (void)snprintf(path, sizeof(path), "%s/raw", dir);
    make_raw(path, size);
    run("qemu-img convert -q -f raw -O %s -o %s %s/raw %s/img", qemu, options, dir, dir);
    raw = open(path, O_RDONLY);
    assert_true(raw >= 0);
    assert_ok(evidence_dir_source(dirs, 1, &source, &err));
    assert_ok(source.open(source.ctx, 0, "img", &file, &err));
    assert_ok(open_dev(format, file, &image, &err));
    if (has_warning(&image, ""))
        fail_msg("a good file has a warning");
    if (exact)
        assert_int_equal(image.dev->size, (size + 511) / 512 * 512);
    else
        assert_true(image.dev->size >= size && image.dev->size < size + 16 * MIB);
    if (block)
        assert_int_equal(image.dev->read_unit, block);
    compare_all(image.dev, raw);
    close_image(&image);
    blk_unref(file);
    evidence_dir_source_free(&source);
    (void)close(raw);
    run("rm -f %s/raw %s/img", dir, dir);
}

static void vhd_dynamic(void **state)
{
    (void)state;
    check(&image_format_vhd, "vpc", "subformat=dynamic", 6 * MIB + 5 * 512, 2 * MIB, 0);
    check(&image_format_vhd, "vpc", "subformat=dynamic,force_size=on", 6 * MIB + 5 * 512, 2 * MIB,
          1);
    check(&image_format_vhd, "vpc", "subformat=dynamic,force_size=on", 9 * GIB + 512, 2 * MIB, 1);
}

static void vhd_fixed(void **state)
{
    (void)state;
    check(&image_format_vhd, "vpc", "subformat=fixed", 6 * MIB + 5 * 512, 0, 0);
    check(&image_format_vhd, "vpc", "subformat=fixed,force_size=on", 6 * MIB + 5 * 512, 0, 1);
    check(&image_format_vhd, "vpc", "subformat=fixed,force_size=on", 5 * GIB, 0, 1);
}

static void vhdx_dynamic(void **state)
{
    (void)state;
    check(&image_format_vhdx, "vhdx", "subformat=dynamic,block_size=1M", 9 * GIB + 512, MIB, 1);
    check(&image_format_vhdx, "vhdx", "subformat=dynamic,block_size=2M", 6 * MIB + 5 * 512, 2 * MIB,
          1);
    check(&image_format_vhdx, "vhdx", "subformat=dynamic,block_size=16M", 9 * GIB, 16 * MIB, 1);
    check(&image_format_vhdx, "vhdx", "subformat=dynamic,block_size=256M", 9 * GIB, 256 * MIB, 1);
    check(&image_format_vhdx, "vhdx", "subformat=dynamic,block_size=8M,block_state_zero=off",
          9 * GIB, 8 * MIB, 1);
}

static void vhdx_fixed(void **state)
{
    (void)state;
    check(&image_format_vhdx, "vhdx", "subformat=fixed,block_size=1M", 5 * GIB + 512, MIB, 1);
    check(&image_format_vhdx, "vhdx", "subformat=fixed,block_size=32M", 9 * GIB, 32 * MIB, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vhd_dynamic),
        cmocka_unit_test(vhd_fixed),
        cmocka_unit_test(vhdx_dynamic),
        cmocka_unit_test(vhdx_fixed),
    };
    int failed;

    if (system("qemu-img --version >/dev/null 2>&1") != 0) { /* NOLINT(cert-env33-c) */
        (void)printf("SKIP: qemu-img is not there\n");
        return 77;
    }
    dir = test_tmpdir();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    test_rmdir(dir);
    return failed;
}
