/* SPDX-License-Identifier: Apache-2.0 */
/* The tree: synthetic part, attributes, content, holes, extended attributes. */
#include "fixture.h"

#include "blk/layers.h"
#include "tree/node.h"

#include <stdlib.h>
#include <string.h>

static int setup(void **state)
{
    struct fixture *f = malloc(sizeof(*f));

    if (!f)
        abort();
    fixture_start(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture_stop(*state);
    free(*state);
    return 0;
}

static struct stat stat_of(struct fixture *f, uint64_t node)
{
    struct vd_err err = VD_ERR_INIT;
    struct stat st;

    assert_ok(tree_getattr(f->tree, node, &st, &err));
    assert_int_equal(st.st_ino, node);
    assert_int_equal(st.st_mode & 07222, 0);
    if (S_ISREG(st.st_mode))
        assert_int_equal(st.st_mode & 0111, 0);
    return st;
}

static void check_names(struct fixture *f, uint64_t dir, const char *expected)
{
    struct names names;
    char all[512] = "";
    size_t i;

    fixture_list(f, dir, &names);
    for (i = 0; i < names.n; i++) {
        struct stat st = stat_of(f, names.v[i].node);

        assert_int_equal(st.st_mode & S_IFMT, names.v[i].type);
        strcat(strcat(all, names.v[i].name), " ");
    }
    assert_string_equal(all, expected);
    names_free(&names);
}

static void synthetic_part(void **state)
{
    struct fixture *f = *state;
    uint64_t p1, gaps;

    fixture_tree(f);
    check_names(f, TREE_ROOT, "disk.img info.txt info.json p1 p3 gaps ");
    p1 = fixture_find(f, TREE_ROOT, "p1");
    gaps = fixture_find(f, TREE_ROOT, "gaps");
    check_names(f, p1, "info.txt volume.img fs ");
    check_names(f, gaps, "0000000-0065536.img 0655360-1048576.img ");
    assert_int_equal(fixture_find(f, p1, "fs"), f->fs[0]);
    fixture_absent(f, TREE_ROOT, "p2");
    fixture_absent(f, TREE_ROOT, "P1");
    fixture_absent(f, TREE_ROOT, "");
    fixture_absent(f, p1, "disk.img");
    fixture_absent(f, fixture_find(f, TREE_ROOT, "disk.img"), "x");
    assert_int_equal(tree_parent(f->tree, TREE_ROOT), TREE_ROOT);
    assert_int_equal(tree_parent(f->tree, p1), TREE_ROOT);
    assert_int_equal(tree_parent(f->tree, gaps), TREE_ROOT);
    assert_int_equal(tree_parent(f->tree, f->fs[0]), p1);
    assert_int_equal(tree_parent(f->tree, node_object(1, 77, 0)), 0);
    assert_int_equal(stat_of(f, TREE_ROOT).st_nlink, 5);
    assert_int_equal(stat_of(f, TREE_ROOT).st_mode, S_IFDIR | 0555);
}

/* A disk that could be read, volumes that could not. */
static void volumes_without_file_system(void **state)
{
    struct fixture *f = *state;
    struct blkdev *dev = f->v[1].dev;
    uint64_t p3;

    f->v[0].fs = NULL;
    f->v[1].fs = NULL;
    f->v[1].dev = NULL;
    f->c.table.n_gaps = 0;
    fixture_tree(f);
    check_names(f, TREE_ROOT, "disk.img info.txt info.json p1 p3 ");
    check_names(f, fixture_find(f, TREE_ROOT, "p1"), "info.txt volume.img ");
    p3 = fixture_find(f, TREE_ROOT, "p3");
    check_names(f, p3, "info.txt ");
    fixture_absent(f, p3, "volume.img");
    assert_int_equal(tree_getattr(f->tree, node_synthetic(2, NODE_IMAGE), &(struct stat){0}, NULL),
                     -VD_ENOENT);
    assert_int_equal(tree_getattr(f->tree, f->fs[0], &(struct stat){0}, NULL), -VD_ENOENT);
    f->v[1].dev = dev;
}

static void numbers_of_nothing(void **state)
{
    struct fixture *f = *state;
    const uint64_t numbers[] = {0,
                                6,
                                node_gap(0, 2),
                                node_synthetic(3, NODE_DIR),
                                node_object(3, 2, 0),
                                node_object(1, 99, 0),
                                UINT64_MAX,
                                UINT64_C(0x0001000000000000) | 99};
    size_t i;

    fixture_tree(f);
    for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        struct stat st;
        uint64_t out;
        size_t len;
        char *text;
        bool uncached;

        assert_true(tree_getattr(f->tree, numbers[i], &st, NULL) < 0);
        assert_true(tree_lookup(f->tree, numbers[i], "x", &out, NULL) < 0);
        assert_true(tree_open(f->tree, numbers[i], &uncached, NULL) < 0);
        assert_true(tree_read(f->tree, numbers[i], 0, &st, 8, &len, NULL) < 0);
        assert_true(tree_seek(f->tree, numbers[i], 0, true, &out, NULL) < 0);
        assert_true(tree_readlink(f->tree, numbers[i], 0, &text, NULL) < 0);
        assert_true(tree_listxattr(f->tree, numbers[i], &text, &len, NULL) < 0);
    }
}

static void image_content(void **state)
{
    struct fixture *f = *state;
    uint8_t *disk = malloc(FIXTURE_DISK_SIZE), *part = malloc(FIXTURE_DISK_SIZE);
    uint64_t img, vol, gap;
    struct stat st;
    bool uncached = false;
    size_t len;
    struct vd_err err = VD_ERR_INIT;

    fixture_tree(f);
    img = fixture_find(f, TREE_ROOT, "disk.img");
    vol = fixture_find(f, fixture_find(f, TREE_ROOT, "p1"), "volume.img");
    gap = fixture_find(f, fixture_find(f, TREE_ROOT, "gaps"), "0655360-1048576.img");
    assert_ok(tree_open(f->tree, img, &uncached, &err));
    assert_true(uncached);
    assert_ok(tree_read(f->tree, img, 0, disk, FIXTURE_DISK_SIZE, &len, &err));
    assert_int_equal(len, FIXTURE_DISK_SIZE);
    assert_ok(tree_read(f->tree, vol, 0, part, FIXTURE_DISK_SIZE, &len, &err));
    assert_int_equal(len, 256 << 10);
    assert_memory_equal(part, disk + (64 << 10), len);
    assert_ok(tree_read(f->tree, gap, 1000, part, FIXTURE_DISK_SIZE, &len, &err));
    assert_int_equal(len, (384 << 10) - 1000);
    assert_memory_equal(part, disk + (640 << 10) + 1000, len);
    assert_ok(tree_read(f->tree, img, FIXTURE_DISK_SIZE - 3, part, 10, &len, &err));
    assert_int_equal(len, 3);
    assert_ok(tree_read(f->tree, img, UINT64_MAX, part, 10, &len, &err));
    assert_int_equal(len, 0);
    st = stat_of(f, img);
    assert_int_equal(st.st_size, FIXTURE_DISK_SIZE);
    assert_int_equal(st.st_mode, S_IFREG | 0444);
    assert_int_equal(st.st_mtim.tv_sec, 1600000000);
    assert_int_equal(st.st_mtim.tv_nsec, 5);
    assert_int_equal(st.st_uid, 1234);
    assert_int_equal(st.st_gid, 1235);
    free(disk);
    free(part);
}

static void text_content(void **state)
{
    struct fixture *f = *state;
    struct vd_err err = VD_ERR_INIT;
    char buf[4096];
    bool uncached = true;
    size_t len;
    uint64_t node;

    fixture_tree(f);
    node = fixture_find(f, TREE_ROOT, "info.txt");
    assert_ok(tree_open(f->tree, node, &uncached, &err));
    assert_false(uncached);
    assert_ok(tree_read(f->tree, node, 1, buf, sizeof(buf), &len, &err));
    assert_int_equal(len, 4);
    assert_memory_equal(buf, "ext\n", 4);
    assert_int_equal(stat_of(f, node).st_size, 5);
    assert_int_equal(stat_of(f, node).st_mtim.tv_sec, 1700000000);
    assert_ok(tree_read(f->tree, fixture_find(f, fixture_find(f, TREE_ROOT, "p3"), "info.txt"), 0,
                        buf, sizeof(buf) - 1, &len, &err));
    buf[len] = '\0';
    assert_non_null(strstr(buf, "p3"));
    assert_non_null(strstr(buf, "ntfs"));
}

static void holes(void **state)
{
    struct fixture *f = *state;
    struct vd_err err = VD_ERR_INIT;
    const uint64_t half = FIXTURE_DISK_SIZE / 2;
    uint64_t img, off, file;

    fakefs_add(f->fake[0], FAKEFS_ROOT, "f", 1, 11, FS_FILE);
    fakefs_set_content(f->fake[0], 11, "0123456789", 10);
    fixture_tree(f);
    img = fixture_find(f, TREE_ROOT, "disk.img");
    assert_ok(tree_seek(f->tree, img, 5, true, &off, &err));
    assert_int_equal(off, 5);
    assert_ok(tree_seek(f->tree, img, 5, false, &off, &err));
    assert_int_equal(off, half);
    assert_ok(tree_seek(f->tree, img, half + 9, false, &off, &err));
    assert_int_equal(off, half + 9);
    assert_int_equal(tree_seek(f->tree, img, half, true, &off, &err), -VD_ENOENT);
    assert_int_equal(tree_seek(f->tree, img, FIXTURE_DISK_SIZE, false, &off, &err), -VD_ENOENT);
    file = fixture_find(f, f->fs[0], "f");
    assert_ok(tree_seek(f->tree, file, 3, true, &off, &err));
    assert_int_equal(off, 3);
    assert_ok(tree_seek(f->tree, file, 3, false, &off, &err));
    assert_int_equal(off, 10);
    assert_int_equal(tree_seek(f->tree, file, 10, true, &off, &err), -VD_ENOENT);
    assert_int_equal(tree_seek(f->tree, f->fs[0], 0, true, &off, &err), -VD_EREFUSED);
}

/* An error of the disk names the place in the file that was read. */
static void read_errors(void **state)
{
    struct fixture *f = *state;
    const struct blk_fault_rule rule = {
        .kind = BLK_FAULT_ERROR, .off = (64 << 10) + 4096, .len = 1, .persistent = true};
    struct blkdev *fault, *slice;
    struct vd_err err = VD_ERR_INIT;
    char buf[16];
    size_t len;

    assert_ok(blk_fault_new(blk_ref(f->c.disk), &fault, &err));
    assert_ok(blk_slice_new(fault, 64 << 10, 256 << 10, "", &slice, &err));
    blk_unref(f->v[0].dev);
    f->v[0].dev = slice;
    blk_fault_set(fault, &rule);
    fixture_tree(f);
    assert_ok(tree_read(f->tree, node_synthetic(1, NODE_IMAGE), 0, buf, 16, &len, &err));
    assert_int_equal(tree_read(f->tree, node_synthetic(1, NODE_IMAGE), 4096, buf, 16, &len, &err),
                     -VD_EIO);
}

static struct fakefs_object *add(struct fixture *f, int v, const char *name, uint64_t addr,
                                 enum fs_kind kind)
{
    return fakefs_add(f->fake[v], FAKEFS_ROOT, name, strlen(name), addr, kind);
}

static void evidence_attributes(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    struct timespec birth;
    struct fs_attr *a = &add(f, 0, "suid", 20, FS_FILE)->attr;

    *a = (struct fs_attr){.kind = FS_FILE,
                          .size = 1000,
                          .allocated = 4096,
                          .mode = 04755,
                          .uid = 0,
                          .gid = 42,
                          .has_owner = true,
                          .nlink = 3,
                          .mtime = {true, -86400 * 365, 999999999},
                          .atime = {true, INT64_C(1) << 40, 1},
                          .ctime = {true, 7, 2000000000},
                          .btime = {true, -1, 0}};
    a = &add(f, 0, "dir", 21, FS_DIR)->attr;
    a->mode = 01700;
    a->has_owner = true;
    a->uid = 1000;
    fixture_tree(f);
    st = stat_of(f, fixture_find(f, f->fs[0], "suid"));
    assert_int_equal(st.st_mode, S_IFREG | 0444);
    assert_int_equal(st.st_uid, 0);
    assert_int_equal(st.st_gid, 42);
    assert_int_equal(st.st_nlink, 3);
    assert_int_equal(st.st_size, 1000);
    assert_int_equal(st.st_blocks, 8);
    assert_int_equal(st.st_mtim.tv_sec, -86400 * 365);
    assert_int_equal(st.st_mtim.tv_nsec, 999999999);
    assert_int_equal(st.st_atim.tv_sec, INT64_C(1) << 40);
    assert_int_equal(st.st_ctim.tv_nsec, 999999999);
    assert_true(tree_birth_time(f->tree, st.st_ino, &birth));
    assert_int_equal(birth.tv_sec, -1);
    assert_false(tree_birth_time(f->tree, TREE_ROOT, &birth));
    st = stat_of(f, fixture_find(f, f->fs[0], "dir"));
    assert_int_equal(st.st_mode, S_IFDIR | 0500);
    assert_int_equal(st.st_uid, 1000);
}

static void permissions(void **state)
{
    static const struct {
        bool evidence, force_uid, has_umask;
        mode_t umask, file, dir;
        uid_t uid;
    } t[] = {
        {true, false, false, 0, 0400, 0500, 1000}, {false, false, false, 0, 0444, 0555, 1000},
        {true, true, false, 0, 0444, 0555, 1234},  {true, false, true, 0077, 0400, 0500, 1000},
        {true, false, true, 0, 0444, 0555, 1000},  {false, true, true, 0027, 0440, 0550, 1234},
    };
    struct fixture *f = *state;
    size_t i;

    add(f, 0, "f", 20, FS_FILE)->attr = (struct fs_attr){
        .kind = FS_FILE, .mode = 0600, .uid = 1000, .gid = 1, .has_owner = true, .nlink = 1};
    add(f, 0, "d", 21, FS_DIR)->attr = (struct fs_attr){
        .kind = FS_DIR, .mode = 0700, .uid = 1000, .gid = 1, .has_owner = true, .nlink = 2};
    add(f, 1, "n", 22, FS_FILE);
    for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        struct stat file, dir, ntfs;

        f->options.evidence_permissions = t[i].evidence;
        f->options.force_uid = t[i].force_uid;
        f->options.has_umask = t[i].has_umask;
        f->options.umask = t[i].umask;
        tree_free(f->tree);
        fixture_tree(f);
        file = stat_of(f, node_object(1, 20, 0));
        dir = stat_of(f, node_object(1, 21, 0));
        ntfs = stat_of(f, node_object(2, 22, 0));
        assert_int_equal(file.st_mode, S_IFREG | t[i].file);
        assert_int_equal(dir.st_mode, S_IFDIR | t[i].dir);
        assert_int_equal(file.st_uid, t[i].uid);
        assert_int_equal(ntfs.st_uid, 1234);
        assert_int_equal(ntfs.st_gid, 1235);
        assert_int_equal(ntfs.st_mode, S_IFREG | (0444 & ~t[i].umask));
    }
}

static void special_files(void **state)
{
    static const struct {
        enum fs_kind kind;
        mode_t type;
    } t[] = {{FS_CHARDEV, S_IFCHR}, {FS_BLOCKDEV, S_IFBLK}, {FS_FIFO, S_IFIFO},
             {FS_SOCKET, S_IFSOCK}, {FS_SYMLINK, S_IFLNK},  {FS_DIR, S_IFDIR}};
    struct fixture *f = *state;
    struct vd_err err = VD_ERR_INIT;
    size_t i;

    for (i = 0; i < 6; i++) {
        struct fs_attr *a = &add(f, 0, (char[]){(char)('a' + i), 0}, 30 + i, t[i].kind)->attr;

        a->mode = 0666;
        a->has_owner = true;
    }
    fixture_tree(f);
    for (i = 0; i < 6; i++) {
        struct stat st;
        bool uncached;

        assert_ok(tree_getattr(f->tree, node_object(1, 30 + i, 0), &st, &err));
        assert_int_equal(st.st_mode & S_IFMT, t[i].type);
        assert_int_equal(st.st_rdev, 0);
        if (i < 4)
            assert_int_equal(st.st_mode & 07777, 0);
        assert_fails(tree_open(f->tree, node_object(1, 30 + i, 0), &uncached, &err), VD_EREFUSED,
                     "");
    }
}

static char *xattr(struct fixture *f, uint64_t node, const char *name)
{
    struct vd_err err = VD_ERR_INIT;
    static char value[256];
    char *text;
    size_t len;
    int rc = tree_getxattr(f->tree, node, name, &text, &len, &err);

    if (rc == -VD_ENOENT)
        return NULL;
    assert_ok(rc);
    assert_true(len < sizeof(value));
    memcpy(value, text, len);
    value[len] = '\0';
    free(text);
    return value;
}

static void extended_attributes(void **state)
{
    struct fixture *f = *state;
    struct vd_err err = VD_ERR_INIT;
    struct fs_attr *a = &add(f, 1, "file", 40, FS_FILE)->attr;
    uint64_t node, stream;
    char *list, *p;
    size_t len, n = 0;

    a->flags = FS_ATTR_COMPRESSED | FS_ATTR_META;
    a->sequence = 9;
    a->allocated = 512;
    a->btime = (struct fs_time){true, 0, 100};
    a->fn_mtime = (struct fs_time){true, -1, 999999900};
    fakefs_add_stream(f->fake[1], 40, "Zone.Identifier", 5, 26);
    fakefs_add_stream(f->fake[1], 40, "odd\nname", 6, 1);
    fixture_tree(f);
    node = fixture_find(f, f->fs[1], "file");
    assert_string_equal(xattr(f, node, "user.vdiskfs.address"), "40");
    assert_string_equal(xattr(f, node, "user.vdiskfs.kind"), "file");
    assert_string_equal(xattr(f, node, "user.vdiskfs.flags"), "compressed meta");
    assert_string_equal(xattr(f, node, "user.vdiskfs.sequence"), "9");
    assert_string_equal(xattr(f, node, "user.vdiskfs.allocated"), "512");
    assert_string_equal(xattr(f, node, "user.vdiskfs.btime"), "1970-01-01T00:00:00.000000100Z");
    assert_string_equal(xattr(f, node, "user.vdiskfs.fn_mtime"), "1969-12-31T23:59:59.999999900Z");
    assert_string_equal(xattr(f, node, "user.vdiskfs.streams"), "Zone.Identifier\nodd%0Aname");
    assert_null(xattr(f, node, "user.vdiskfs.mode"));
    assert_null(xattr(f, node, "user.vdiskfs.mtime"));
    assert_null(xattr(f, node, "user.vdiskfs.link_raw"));
    assert_null(xattr(f, node, "user.vdiskfs.size_raw"));
    assert_null(xattr(f, node, "user.vdiskfs."));
    assert_null(xattr(f, node, "security.selinux"));
    assert_null(xattr(f, node, "system.posix_acl_access"));
    assert_null(xattr(f, node, "user.vdiskfs"));
    stream = fixture_find(f, f->fs[1], "file:odd%0Aname");
    assert_int_equal(stream, node_object(2, 40, 6));
    assert_string_equal(xattr(f, stream, "user.vdiskfs.kind"), "stream");
    assert_string_equal(xattr(f, stream, "user.vdiskfs.stream_id"), "6");
    assert_int_equal(stat_of(f, stream).st_size, 1);
    assert_ok(tree_listxattr(f->tree, node, &list, &len, &err));
    for (p = list; p < list + len; p += strlen(p) + 1, n++)
        assert_non_null(xattr(f, node, p));
    assert_int_equal(n, 8);
    free(list);
    assert_string_equal(xattr(f, fixture_find(f, TREE_ROOT, "disk.img"), "user.vdiskfs.kind"),
                        "disk");
    assert_string_equal(xattr(f, node_gap(0, 1), "user.vdiskfs.start"), "655360");
    assert_string_equal(xattr(f, node_synthetic(2, NODE_IMAGE), "user.vdiskfs.start"), "524288");
    assert_string_equal(xattr(f, node_synthetic(2, NODE_IMAGE), "user.vdiskfs.kind"), "volume");
}

static void too_many_streams_are_an_error(void **state)
{
    struct fixture *f = *state;
    struct vd_err err = VD_ERR_INIT;
    char name[10000], *text;
    uint16_t i;
    size_t len;

    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    add(f, 1, "file", 40, FS_FILE);
    for (i = 1; i <= 7; i++)
        fakefs_add_stream(f->fake[1], 40, name, i, 1);
    fixture_tree(f);
    assert_fails(
        tree_getxattr(f->tree, node_object(2, 40, 0), "user.vdiskfs.streams", &text, &len, &err),
        VD_ELIMIT, "streams");
}

static void statfs_is_full(void **state)
{
    struct fixture *f = *state;
    struct statvfs st;

    fixture_tree(f);
    tree_statfs(f->tree, &st);
    assert_int_equal(st.f_blocks * st.f_frsize, FIXTURE_DISK_SIZE);
    assert_int_equal(st.f_bfree, 0);
    assert_int_equal(st.f_bavail, 0);
    assert_int_equal(st.f_namemax, 1024);
    assert_true(st.f_flag & ST_RDONLY);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(synthetic_part),      TEST(volumes_without_file_system),
        TEST(numbers_of_nothing),  TEST(image_content),
        TEST(text_content),        TEST(holes),
        TEST(read_errors),         TEST(evidence_attributes),
        TEST(permissions),         TEST(special_files),
        TEST(extended_attributes), TEST(too_many_streams_are_an_error),
        TEST(statfs_is_full),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
