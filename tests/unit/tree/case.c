/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a case: a raw disk with an MBR and four partitions, each with something else on it.  What
 * cannot be shown is kept, with the reason. */
#include "testlib.h"

#include "base/bytes.h"
#include "blk/evidence.h"
#include "tree/case_private.h"
#include "tree/tree.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PART_SIZE (2u << 20) /* libblkid takes the first signature on anything up to a floppy */
#define DISK_SIZE (6 * PART_SIZE)

static void put_partition(uint8_t *disk, unsigned n, uint8_t type)
{
    uint8_t *p = disk + 446 + 16 * n;

    p[4] = type;
    vd_put_le32(p + 8, (n + 1) * (PART_SIZE / 512));
    vd_put_le32(p + 12, PART_SIZE / 512);
}

static uint8_t *make_disk(void)
{
    static const uint8_t luks[] = {'L', 'U', 'K', 'S', 0xba, 0xbe, 0, 1};
    uint8_t *disk = calloc(1, DISK_SIZE), *p;
    unsigned i;

    if (!disk)
        abort();
    for (i = 0; i < 4; i++)
        put_partition(disk, i, i == 1 ? 0x82 : i == 3 ? 0x07 : 0x83);
    disk[510] = 0x55;
    disk[511] = 0xaa;
    memcpy(disk + PART_SIZE, luks, sizeof(luks)); /* p1 */
    p = disk + 2 * (size_t)PART_SIZE;             /* p2: swap */
    memcpy(p + 4086, "SWAPSPACE2", 10);
    vd_put_le32(p + 1024, 1);
    vd_put_le32(p + 1028, 255);
    test_fill(disk + 3 * (size_t)PART_SIZE, PART_SIZE, 3); /* p3: noise */
    p = disk + 4 * (size_t)PART_SIZE;                      /* p4: BitLocker */
    memcpy(p, "\xeb\x58\x90-FVE-FS-", 11);
    p[12] = 2;
    p[510] = 0x55;
    p[511] = 0xaa;
    return disk;
}

struct opened {
    char *dir;
    const char *dirs[1];
    struct blk_source source;
    struct vd_case *c;
};

static void open_case(struct opened *o, const uint8_t *disk, bool disk_only)
{
    const struct case_options options = {.disk_only = disk_only};
    struct vd_err err = VD_ERR_INIT;

    o->dir = test_tmpdir();
    o->dirs[0] = o->dir;
    test_write_file(o->dir, "disk.raw", disk, DISK_SIZE);
    assert_ok(evidence_dir_source(o->dirs, 1, &o->source, &err));
    assert_ok(case_open(&o->source, "disk.raw", &options, &o->c, &err));
}

static void close_case(struct opened *o)
{
    case_free(o->c);
    evidence_dir_source_free(&o->source);
    test_rmdir(o->dir);
}

static void check_reason(const struct vd_point *c, size_t i, enum vd_class cls, const char *text)
{
    assert_null(c->v[i].fs);
    if (c->v[i].fs_err.cls != cls || !test_contains(c->v[i].fs_err.msg, text))
        fail_msg("volume %zu: class %d, \"%s\", expected \"%s\"", i, c->v[i].fs_err.cls,
                 c->v[i].fs_err.msg, text);
}

static void reasons(void **state)
{
    struct opened o;
    uint8_t *disk = make_disk(), *read = malloc(DISK_SIZE);
    struct vd_err err = VD_ERR_INIT;
    char *text;

    (void)state;
    open_case(&o, disk, false);
    assert_int_equal(o.c->point->n, 4);
    check_reason(o.c->point, 0, VD_EKEY, "crypto_LUKS volume: locked");
    check_reason(o.c->point, 1, VD_EUNSUPPORTED, "swap: no reader");
    check_reason(o.c->point, 2, VD_ENOTFORMAT, "no file system");
    check_reason(o.c->point, 3, VD_EKEY, "BitLocker volume: locked");
    assert_int_equal(o.c->point->v[3].dev->size, PART_SIZE);
    assert_ok(blk_read(o.c->point->v[2].dev, 0, read, PART_SIZE, &err));
    assert_memory_equal(read, disk + 3 * (size_t)PART_SIZE, PART_SIZE);
    text = case_info_text(o.c->point, NULL);
    assert_non_null(strstr(text, "not shown              BitLocker volume: locked"));
    free(text);
    close_case(&o);
    free(disk);
    free(read);
}

static void disk_only(void **state)
{
    struct opened o;
    uint8_t *disk = make_disk();

    (void)state;
    open_case(&o, disk, true);
    assert_int_equal(o.c->point->n, 0);
    assert_int_equal(o.c->point->disk->size, DISK_SIZE);
    close_case(&o);
    free(disk);
}

static void a_missing_file(void **state)
{
    const struct case_options options = {.disk_only = false};
    struct vd_err err = VD_ERR_INIT;
    struct vd_case *c = NULL;
    struct blk_source source;
    char *dir = test_tmpdir();
    const char *dirs[1] = {dir};

    (void)state;
    assert_ok(evidence_dir_source(dirs, 1, &source, &err));
    assert_true(case_open(&source, "none.vmdk", &options, &c, &err) < 0);
    assert_null(c);
    assert_true(test_contains(err.msg, "none.vmdk"));
    evidence_dir_source_free(&source);
    test_rmdir(dir);
}

/* Puts a new ext2 file system on p2; false when mke2fs is not there. */
static bool make_ext(uint8_t *disk)
{
    char *dir = test_tmpdir(), command[512];
    FILE *f;
    int status;
    size_t n = 0;

    (void)snprintf(command, sizeof(command),
                   "PATH=$PATH:/sbin:/usr/sbin; truncate -s %u %s/p && mke2fs -q -F -t ext2 -L "
                   "LABEL %s/p 2>/dev/null",
                   PART_SIZE, dir, dir);
    status = system(command);
    (void)snprintf(command, sizeof(command), "%s/p", dir);
    f = status == 0 ? fopen(command, "rb") : NULL;
    if (f) {
        n = fread(disk + 2 * (size_t)PART_SIZE, 1, PART_SIZE, f);
        (void)fclose(f);
    }
    test_rmdir(dir);
    return n == PART_SIZE;
}

static int note_name(void *ctx, const char *name, uint64_t node, mode_t type, uint64_t next_cookie)
{
    bool *seen = ctx;

    (void)node;
    (void)next_cookie;
    *seen |= strcmp(name, "lost+found") == 0 && type == S_IFDIR;
    return 0;
}

static void a_real_file_system(void **state)
{
    const struct tree_options options = {.uid = 1};
    struct vd_err err = VD_ERR_INIT;
    uint8_t *disk = make_disk();
    struct opened o;
    struct tree *tree;
    uint64_t p2, fs, found;
    bool seen = false;

    (void)state;
    memset(disk + 2 * (size_t)PART_SIZE, 0, PART_SIZE);
    if (!make_ext(disk)) {
        free(disk);
        print_message("SKIP: mke2fs is not installed\n");
        skip();
    }
    open_case(&o, disk, false);
    if (!o.c->point->v[1].fs)
        fail_msg("%s", o.c->point->v[1].fs_err.msg);
    assert_string_equal(fs_get_info(o.c->point->v[1].fs)->label, "LABEL");
    assert_ok(tree_new(o.c, &options, "", "", &tree, &err));
    assert_ok(tree_lookup(tree, TREE_ROOT, "p2", &p2, &err));
    assert_ok(tree_lookup(tree, p2, "fs", &fs, &err));
    assert_int_equal(tree_parent(tree, fs), p2);
    assert_ok(tree_readdir(tree, fs, 0, note_name, &seen, &err));
    assert_true(seen);
    assert_ok(tree_lookup(tree, fs, "lost+found", &found, &err));
    assert_int_equal(tree_lookup(tree, fs, "Lost+Found", &found, &err), -VD_ENOENT);
    tree_free(tree);
    close_case(&o);
    free(disk);
}

/* Two signatures: shown, and said. */
static void ambiguous_content(void **state)
{
    uint8_t *disk = make_disk(), *p = disk + 2 * (size_t)PART_SIZE;
    struct opened o;
    char *text;

    (void)state;
    memset(p, 0, PART_SIZE);
    if (!make_ext(disk)) {
        free(disk);
        print_message("SKIP: mke2fs is not installed\n");
        skip();
    }
    memcpy(p, "hsqs", 4); /* squashfs 4 */
    p[28] = 4;
    open_case(&o, disk, false);
    assert_true(o.c->point->v[1].content.ambiguous);
    assert_non_null(o.c->point->v[1].fs);
    text = case_info_text(o.c->point, NULL);
    assert_non_null(strstr(text, "! p2: several signatures"));
    free(text);
    close_case(&o);
    free(disk);
}

/* Remains of an older file system are not shown below the signature of a newer one. */
static void types_agree(void **state)
{
    (void)state;
    assert_true(case_types_agree("vfat", "fat32"));
    assert_true(case_types_agree("vfat", "FAT12"));
    assert_true(case_types_agree("ext4", "ext2"));
    assert_true(case_types_agree("ext3", "ext4"));
    assert_true(case_types_agree("ntfs", "NTFS"));
    assert_true(case_types_agree("hfsplus", "hfs+"));
    assert_true(case_types_agree("iso9660", "iso9660"));
    assert_true(case_types_agree("exfat", "exfat"));
    assert_true(case_types_agree("ufs", "ufs2"));
    assert_false(case_types_agree("vfat", "exfat"));
    assert_false(case_types_agree("swap", "ext4"));
    assert_false(case_types_agree("xfs", "ntfs"));
    assert_false(case_types_agree("btrfs", "ext4"));
    assert_false(case_types_agree("ntfs", "fat32"));
}

static void library_versions(void **state)
{
    (void)state;
    assert_non_null(strstr(case_library_versions(), "libtsk 4."));
    assert_non_null(strstr(case_library_versions(), "OpenSSL 3."));
    assert_non_null(strstr(case_library_versions(), "libblkid 2."));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reasons),          cmocka_unit_test(disk_only),
        cmocka_unit_test(a_missing_file),   cmocka_unit_test(a_real_file_system),
        cmocka_unit_test(library_versions), cmocka_unit_test(ambiguous_content),
        cmocka_unit_test(types_agree),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
