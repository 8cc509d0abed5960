/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Real pending logs: qemu-io writes to a VHDX and is killed at its n-th write, before it or in the
 * middle of it, for every n.  What is left must read as qemu itself sees it after it has repaired a
 * copy; the file stays as it is.
 *
 * Where the header announces a log but no entry of it is complete, qemu opens the file without a
 * replay; the specification says that it is corrupt (2.3.3) and nobody can tell a log that was never
 * begun from one that was lost: refused here.  (An entry whose descriptors are not there yet makes qemu
 * refuse the file as well.)
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

#define PIECE ((size_t)1 << 20)

static char *dir;

/* Exit status of the command. */
__attribute__((format(printf, 1, 2))) static int run(const char *fmt, ...)
{
    char command[2048];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(command, sizeof(command), fmt, ap);
    va_end(ap);
    return system(command); /* NOLINT(cert-env33-c): a fixed command of a test */
}

static void expect_raw(struct blkdev *dev)
{
    uint8_t *got = malloc(PIECE), *want = malloc(PIECE);
    struct vd_err err = VD_ERR_INIT;
    char path[512];
    uint64_t off;
    int fd;

    (void)snprintf(path, sizeof(path), "%s/repaired.raw", dir);
    fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    for (off = 0; off < dev->size; off += PIECE) {
        size_t n = (size_t)vd_min(PIECE, dev->size - off);

        assert_ok(blk_read(dev, off, got, n, &err));
        assert_int_equal(pread(fd, want, n, (off_t)off), n);
        assert_memory_equal(got, want, n);
    }
    (void)close(fd);
    free(got);
    free(want);
}

struct tally {
    unsigned finished, plain, replayed, refused;
};

static void judge(struct tally *tally)
{
    struct vd_err err = VD_ERR_INIT;
    struct blkdev *file = NULL;
    const char *dirs[1] = {dir};
    struct blk_source source;
    struct image image;
    int rc, qemu;

    assert_int_equal(run("cd %s && rm -f repaired.raw && cp --sparse=always img before && "
                         "cp --sparse=always img repaired",
                         dir),
                     0);
    qemu = run("cd %s && qemu-img check -q -r all repaired >/dev/null 2>&1; "
               "qemu-img convert -f vhdx -O raw repaired repaired.raw 2>/dev/null",
               dir);
    assert_ok(evidence_dir_source(dirs, 1, &source, &err));
    assert_ok(source.open(source.ctx, 0, "img", &file, &err));
    rc = open_dev(&image_format_vhdx, file, &image, &err);
    if (rc) {
        assert_fails(rc, VD_ECORRUPT, "no valid sequence of entries");
        tally->refused++;
    } else {
        assert_int_equal(qemu, 0);
        expect_raw(image.dev);
        if (has_warning(&image, "its log was replayed in memory"))
            tally->replayed++;
        else
            tally->plain++;
    }
    close_image(&image);
    blk_unref(file);
    evidence_dir_source_free(&source);
    assert_int_equal(run("cmp -s %s/img %s/before", dir, dir), 0);
}

/* Blocks that are new, then one that is there, then a wide write: BAT updates in several entries. */
static struct tally kill_everywhere(unsigned bytes)
{
    struct tally tally = {0};
    unsigned n;

    assert_int_equal(run("cd %s && qemu-img create -q -f vhdx -o block_size=1M fresh 64M && "
                         "qemu-io -f vhdx fresh -c 'write -q -P 9 20M 1M' >/dev/null",
                         dir),
                     0);
    for (n = 1; tally.finished == 0; n++) {
        int status = run("cd %s && cp --sparse=always fresh img && "
                         "STOP_AT=%u STOP_BYTES=%u LD_PRELOAD='%s' qemu-io -f vhdx img "
                         "-c 'write -q -P 1 0 64k' -c 'write -q -P 2 3M 64k' "
                         "-c 'write -q -P 3 20M 64k' -c 'write -q -P 4 40M 2M' "
                         "-c 'discard -q 3M 1M' >/dev/null 2>&1",
                         dir, n, bytes, STOP_WRITES);

        assert_true(n < 400);
        tally.finished += status == 0;
        judge(&tally);
    }
    return tally;
}

/* Both kinds of crash: between two writes, and with the first 72 bytes of one of them done. */
static void killed(unsigned bytes)
{
    struct tally t = kill_everywhere(bytes);

    (void)printf("%u states: %u without a log, %u replayed, %u without a valid entry\n",
                 t.plain + t.replayed + t.refused, t.plain, t.replayed, t.refused);
    assert_true(t.plain > 4 && t.replayed > 4 && t.refused < t.plain + t.replayed);
}

static void killed_before_a_write(void **state)
{
    (void)state;
    killed(0);
}

static void killed_in_a_write(void **state)
{
    (void)state;
    killed(72);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_before_a_write),
        cmocka_unit_test(killed_in_a_write),
    };
    int failed;

    if (run("qemu-img --version >/dev/null 2>&1 && qemu-io --version >/dev/null 2>&1") != 0) {
        (void)printf("SKIP: qemu-img or qemu-io is not there\n");
        return 77;
    }
    dir = test_tmpdir();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    test_rmdir(dir);
    return failed;
}
