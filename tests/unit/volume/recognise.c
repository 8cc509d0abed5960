/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bytes.h"
#include "base/cleanup.h"
#include "blk/evidence.h"
#include "blk/layers.h"
#include "tables.h"
#include "volume/internal.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static struct volume_content recognise(struct blkdev *volume)
{
    struct vd_err err = VD_ERR_INIT;
    struct volume_content content;

    assert_ok(volume_recognise(volume, &content, &err));
    return content;
}

/* ---- volumes made in memory ---- */

static void make_ext2(uint8_t *disk)
{
    memcpy(disk + 1024 + 56, "\x53\xef", 2);
    disk[1024 + 5] = 8;
    memset(disk + 1024 + 104, 0xab, 16);
    memcpy(disk + 1024 + 120, "a\nb\xc3\xa9\xff", 6);
}

static void test_nothing(void **state)
{
    static const uint64_t sizes[] = {0,        1, 511, 512, 513, 4096, 100000, UINT64_C(1) << 40,
                                     INT64_MAX};
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct blkdev *volume = table_device("", sizes[i] ? 1 : 0, sizes[i]);
        struct volume_content content = recognise(volume);

        assert_string_equal(content.type, "");
        assert_false(content.encrypted || content.container || content.ambiguous);
        blk_unref(volume);
    }
}

static void test_printable(void **state)
{
    uint8_t disk[65536] = {0};
    struct blkdev *volume;
    struct volume_content content;

    (void)state;
    make_ext2(disk);
    volume = table_device(disk, sizeof(disk), sizeof(disk));
    content = recognise(volume);
    assert_string_equal(content.type, "ext2");
    assert_string_equal(content.label, "a\\x0ab\xc3\xa9\\xff");
    assert_string_equal(content.uuid, "abababab-abab-abab-abab-abababababab");
    blk_unref(volume);
}

static void test_own_looks(void **state)
{
    static uint8_t disk[1 << 20];
    struct blkdev *volume;
    struct volume_content content;

    (void)state;
    memset(disk, 0, sizeof(disk));
    memcpy(disk, "\xeb\x58\x90-FVE-FS-", 11); /* BitLocker without the pieces libblkid asks for */
    volume = table_device(disk, sizeof(disk), sizeof(disk));
    content = recognise(volume);
    assert_string_equal(content.type, "BitLocker");
    assert_true(content.encrypted && !content.container);
    blk_unref(volume);

    memset(disk, 0, sizeof(disk));
    memcpy(disk + 3, "ReFS", 4);
    volume = table_device(disk, sizeof(disk), sizeof(disk));
    content = recognise(volume);
    assert_string_equal(content.type, "ReFS");
    blk_unref(volume);

    memset(disk, 0, sizeof(disk));
    memcpy(disk + sizeof(disk) - 512, "PRIVHEAD", 8);
    volume = table_device(disk, sizeof(disk), sizeof(disk));
    content = recognise(volume);
    assert_string_equal(content.type, "LDM");
    assert_true(content.container && !content.encrypted);
    blk_unref(volume);
}

/* Device mapper's hash trees count as "crypto" for libblkid, but nobody needs a key for them. */
static void test_verity(void **state)
{
    static uint8_t disk[65536];
    struct blkdev *volume;
    struct volume_content content;

    (void)state;
    memcpy(disk, "verity\0\0\1\0\0\0", 12);
    volume = table_device(disk, sizeof(disk), sizeof(disk));
    content = recognise(volume);
    assert_string_equal(content.type, "DM_verity_hash");
    assert_false(content.encrypted);
    blk_unref(volume);
}

/* Windows puts the MFT at cluster 786,432 (3 GiB): libblkid must find it in the copy. */
static void test_far_mft(void **state)
{
    static uint8_t boot[4096], mft[4096];
    const uint64_t mft_off = (uint64_t)3 << 30;
    uint8_t *volume_record = mft + 3 * 1024, *attribute = volume_record + 56;
    struct vd_err err = VD_ERR_INIT;
    struct blk_part part[4] = {{.size = sizeof(boot)},
                               {.size = mft_off - sizeof(boot), .hole = BLK_ZEROS},
                               {.size = sizeof(mft)},
                               {.size = mft_off, .hole = BLK_ZEROS}};
    struct blkdev *volume = NULL;
    struct volume_content content;

    (void)state;
    memcpy(boot, "\xeb\x52\x90NTFS    ", 11);
    vd_put_le16(boot + 11, 512);
    boot[13] = 8;
    boot[21] = 0xf8;
    vd_put_le64(boot + 40, 2 * mft_off / 512 - 1);
    vd_put_le64(boot + 48, mft_off / 4096);
    vd_put_le64(boot + 56, 2);
    boot[64] = 0xf6; /* 2^10 bytes a record */
    boot[68] = 1;
    vd_put_le64(boot + 72, 0x1122334455667788);
    boot[510] = 0x55;
    boot[511] = 0xaa;
    memcpy(mft, "FILE", 4);
    memcpy(volume_record, "FILE", 4);
    vd_put_le16(volume_record + 20, 56);
    vd_put_le32(volume_record + 24, 512);
    vd_put_le32(volume_record + 28, 1024);
    vd_put_le32(attribute, 0x60); /* $VOLUME_NAME */
    vd_put_le32(attribute + 4, 32);
    vd_put_le32(attribute + 16, 6);
    vd_put_le16(attribute + 20, 24);
    memcpy(attribute + 24, "f\0a\0r\0", 6);
    vd_put_le32(attribute + 32, 0xffffffff);
    assert_ok(blk_mem_new(boot, sizeof(boot), "", &part[0].dev, &err));
    assert_ok(blk_mem_new(mft, sizeof(mft), "", &part[2].dev, &err));
    assert_ok(blk_concat_new(part, 4, "", &volume, &err));
    content = recognise(volume);
    assert_string_equal(content.type, "ntfs");
    assert_string_equal(content.label, "far");
    assert_string_equal(content.uuid, "1122334455667788");
    blk_unref(volume);
}

/* Signatures of ext2, JFS and btrfs at once: none may win silently. */
static void test_ambiguous(void **state)
{
    static uint8_t disk[8 << 20];
    struct blkdev *volume;
    struct volume_content content;

    (void)state;
    memset(disk, 0, sizeof(disk));
    make_ext2(disk);
    memcpy(disk + 65536 + 0x40, "_BHRfS_M", 8);
    vd_put_le64(disk + 65536 + 0x30, 65536);
    memcpy(disk + 32768, "JFS1\1\0\0\0", 8);
    vd_put_le32(disk + 32768 + 24, 4096);
    vd_put_le16(disk + 32768 + 28, 12);
    vd_put_le32(disk + 32768 + 20, 512);
    vd_put_le16(disk + 32768 + 32, 9);
    vd_put_le16(disk + 32768 + 34, 3);
    volume = table_device(disk, sizeof(disk), sizeof(disk));
    content = recognise(volume);
    assert_true(content.ambiguous);
    assert_true(strstr(content.type, "ext2") && strchr(content.type, '|'));
    assert_string_equal(content.label, "");
    blk_unref(volume);
}

/* ---- what is read ---- */

/* A hole is not read, and a terabyte of data behind the head is not either. */
static void test_few_reads(void **state)
{
    static uint8_t disk[1 << 20];
    struct vd_err err = VD_ERR_INIT;
    struct blk_part part[2] = {{.size = sizeof(disk)},
                               {.size = (uint64_t)1 << 40, .hole = BLK_ZEROS}};
    struct blkdev *volume = NULL, *top = NULL;

    (void)state;
    memset(disk, 0x5a, sizeof(disk));
    memset(disk, 0, 65536);
    make_ext2(disk);
    assert_ok(blk_mem_new(disk, sizeof(disk), "", &part[0].dev, &err));
    assert_ok(blk_concat_new(part, 2, "", &volume, &err));
    top = blk_ref(part[0].dev);
    assert_string_equal(recognise(volume).type, "ext2");
    assert_true(atomic_load(&top->n_reads) <= 4);
    assert_true(atomic_load(&volume->n_reads) <= 6);
    assert_true(atomic_load(&volume->n_read_bytes) < 2 * sizeof(disk));
    blk_unref(top);
    blk_unref(volume);
}

/* ---- threads ---- */

static void *recognise_often(void *arg)
{
    unsigned i;

    for (i = 0; i < 20; i++) {
        struct volume_content content;

        if (volume_recognise(arg, &content, NULL) || strcmp(content.type, "ext2") != 0)
            return arg;
    }
    return NULL;
}

static void test_threads(void **state)
{
    static uint8_t disk[1 << 20];
    pthread_t thread[8];
    struct blkdev *volume;
    void *failed;
    size_t i;

    (void)state;
    memset(disk, 0, sizeof(disk));
    make_ext2(disk);
    volume = table_device(disk, sizeof(disk), sizeof(disk));
    for (i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, recognise_often, volume), 0);
    for (i = 0; i < 8; i++) {
        assert_int_equal(pthread_join(thread[i], &failed), 0);
        assert_null(failed);
    }
    blk_unref(volume);
}

/* ---- where nothing may be opened ---- */

/* Landlock with every right handled and no rule: no file can be opened any more. */
static bool deny_all(void)
{
    const struct landlock_ruleset_attr attr = {.handled_access_fs = (1u << 13) - 1};
    int fd = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);

    return fd >= 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           syscall(SYS_landlock_restrict_self, fd, 0) == 0 &&
           open("/proc/self/stat", O_RDONLY | O_CLOEXEC) < 0;
}

static void test_sandbox(void **state)
{
    static uint8_t disk[1 << 20];
    struct blkdev *volume;
    pid_t child;
    int status;

    (void)state;
    memset(disk, 0, sizeof(disk));
    make_ext2(disk);
    volume = table_device(disk, sizeof(disk), sizeof(disk));
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct volume_content content;

        if (!deny_all())
            _exit(2); /* this kernel has no Landlock */
        _exit(volume_recognise(volume, &content, NULL) || strcmp(content.type, "ext2") != 0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    blk_unref(volume);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 2) {
        print_message("Landlock is not available: not tested\n");
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- file systems made by their tools ---- */

static const struct {
    const char *tool, *command, *size, *type, *label;
} made[] = {
    /* MFT and root directory far behind the bytes that are copied without a hint */
    {"mkntfs", "mkntfs -q -F -f -c 4096 -L 'Big NTFS' v.img", "40G", "ntfs", "Big NTFS"},
    {"mkntfs", "mkntfs -q -F -f -c 65536 -L c64k v.img", "9G", "ntfs", "c64k"},
    {"mkfs.vfat", "mkfs.vfat -F 32 -s 1 -n BIGFAT32 v.img >/dev/null", "3G", "vfat", "BIGFAT32"},
    {"mkfs.vfat", "mkfs.vfat -F 16 -n FAT16 v.img >/dev/null", "100M", "vfat", "FAT16"},
    {"mkfs.vfat", "mkfs.vfat -F 12 -n FAT12 v.img >/dev/null", "1440K", "vfat", "FAT12"},
    {"mkfs.exfat", "mkfs.exfat -L 'ex fat' v.img >/dev/null", "64G", "exfat", "ex fat"},
    {"mkfs.exfat", "mkfs.exfat -c 32M -L huge v.img >/dev/null", "64G", "exfat", "huge"},
    {"mkfs.ext4", "mkfs.ext4 -q -F -L 'ext four' v.img", "1G", "ext4", "ext four"},
    {"mkfs.ext2", "mkfs.ext2 -q -F -L two v.img", "10M", "ext2", "two"},
    {"mkswap", "mkswap -q -L swappy v.img", "10M", "swap", "swappy"},
    {"mkfs.xfs", "mkfs.xfs -q -L xfs v.img", "1G", "xfs", "xfs"},
    {"mkfs.btrfs", "mkfs.btrfs -q -L btr v.img", "1G", "btrfs", "btr"},
    {"mkfs.hfsplus", "mkfs.hfsplus -v Mac v.img >/dev/null", "1G", "hfsplus", "Mac"},
};

static void test_tools(void **state)
{
    char *dir = test_tmpdir();
    char path[512], command[2048];
    unsigned n_made = 0;
    size_t i;

    (void)state;
    (void)snprintf(path, sizeof(path), "%s/v.img", dir);
    for (i = 0; i < sizeof(made) / sizeof(made[0]); i++) {
        struct vd_err err = VD_ERR_INIT;
        struct blkdev *volume = NULL;
        struct volume_content content;
        struct evidence_id id;
        int fd;

        (void)snprintf(command, sizeof(command), "command -v %s >/dev/null", made[i].tool);
        if (system(command) != 0) { /* NOLINT(cert-env33-c) */
            print_message("SKIP %s: not installed\n", made[i].tool);
            continue;
        }
        (void)snprintf(command, sizeof(command),
                       "cd %s && rm -f v.img && truncate -s %s v.img && %s 2>log", dir,
                       made[i].size, made[i].command);
        if (system(command) != 0) /* NOLINT(cert-env33-c) */
            fail_msg("failed: %s", command);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        assert_true(fd >= 0);
        assert_ok(evidence_identify(fd, &id, &err));
        assert_ok(evidence_new(fd, &id, "v", &volume, &err));
        content = recognise(volume);
        assert_string_equal(content.type, made[i].type);
        assert_string_equal(content.label, made[i].label);
        assert_false(content.ambiguous || content.encrypted || content.container);
        assert_true(atomic_load(&volume->n_read_bytes) < 12u << 20);
        blk_unref(volume);
        n_made++;
    }
    test_rmdir(dir);
    if (!n_made)
        skip();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing),   cmocka_unit_test(test_printable),
        cmocka_unit_test(test_own_looks), cmocka_unit_test(test_verity),
        cmocka_unit_test(test_far_mft),   cmocka_unit_test(test_ambiguous),
        cmocka_unit_test(test_few_reads), cmocka_unit_test(test_threads),
        cmocka_unit_test(test_sandbox),   cmocka_unit_test(test_tools),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
