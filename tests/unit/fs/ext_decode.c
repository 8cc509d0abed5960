/* SPDX-License-Identifier: Apache-2.0 */
/* ext2/3/4 decoders: superblock, descriptors, inodes and their times, extent nodes, directories. */
#include "testlib.h"

#include "base/bytes.h"
#include "fs/ext/ext_priv.h"

#include <string.h>

static struct vd_err err;

static void make_super(uint8_t *b)
{
    memset(b, 0, EXT_SUPER_SIZE);
    vd_put_le32(b, 8192);      /* inodes */
    vd_put_le32(b + 4, 32768); /* blocks */
    vd_put_le32(b + 20, 1);    /* first data block */
    vd_put_le32(b + 32, 8192); /* blocks per group */
    vd_put_le32(b + 40, 2048); /* inodes per group */
    vd_put_le16(b + 56, 0xef53);
    vd_put_le32(b + 76, 1);
    vd_put_le32(b + 84, 11);
    vd_put_le16(b + 88, 256);
    vd_put_le32(b + 96, EXT_INCOMPAT_FILETYPE);
    vd_put_le32(b + 100, 1); /* sparse_super */
}

static struct ext_super decoded(const uint8_t *b)
{
    struct ext_super sb;

    assert_ok(ext_super_decode(b, &sb, &err));
    assert_ok(ext_super_validate(&sb, &err));
    return sb;
}

static void super(void **state)
{
    uint8_t b[EXT_SUPER_SIZE];
    struct ext_super sb;

    (void)state;
    make_super(b);
    sb = decoded(b);
    assert_int_equal(sb.block_size, 1024);
    assert_int_equal(sb.n_groups, 4);
    assert_string_equal(ext_super_type(&sb), "ext2");
    assert_int_equal(ext_super_desc_off(&sb, 3), 2048 + 3 * 32);
    vd_put_le32(b + 96, EXT_INCOMPAT_FILETYPE | 0x80000);
    assert_ok(ext_super_decode(b, &sb, &err));
    assert_fails(ext_super_validate(&sb, &err), VD_EUNSUPPORTED, "0x80000");
    make_super(b);
    vd_put_le16(b + 88, 100);
    assert_ok(ext_super_decode(b, &sb, &err));
    assert_fails(ext_super_validate(&sb, &err), VD_ECORRUPT, "inode size");
    make_super(b);
    vd_put_le32(b + 24, 9);
    assert_fails(ext_super_decode(b, &sb, &err), VD_ECORRUPT, "block size");
    make_super(b);
    vd_put_le32(b + 32, 0);
    assert_fails(ext_super_decode(b, &sb, &err), VD_ECORRUPT, "number of blocks");
    b[56] = 0;
    assert_fails(ext_super_decode(b, &sb, &err), VD_ENOTFORMAT, "magic");
}

static void meta_bg_descriptors(void **state)
{
    uint8_t b[EXT_SUPER_SIZE];
    struct ext_super sb;

    (void)state;
    make_super(b);
    vd_put_le32(b + 96, EXT_INCOMPAT_FILETYPE | EXT_INCOMPAT_META_BG);
    sb = decoded(b);
    /* 32 descriptors a block; group 0 has a superblock, group 32 (not a power of 3, 5, 7) none */
    assert_int_equal(ext_super_desc_off(&sb, 5), (1 + 1) * 1024 + 5 * 32);
    assert_int_equal(ext_super_desc_off(&sb, 33), (1 + UINT64_C(32) * 8192) * 1024 + 32);
}

static void times(void **state)
{
    struct ext_super sb = {.inode_size = 256, .block_size = 4096};
    struct ext_inode inode = {.ino = 12};
    uint8_t b[256] = {0};

    (void)state;
    vd_put_le16(b, 0x81a4);
    vd_put_le16(b + 26, 1);
    vd_put_le16(b + 128, 32);
    vd_put_le32(b + 16, (uint32_t)-600000000); /* 1950, epoch 0 */
    vd_put_le32(b + 8, (uint32_t)4102444800u); /* 2100-01-01, epoch 1 */
    vd_put_le32(b + 140, 123456789u << 2 | 1);
    vd_put_le32(b + 12, 0x7fffffff); /* the last second of epoch 0 */
    vd_put_le32(b + 144, 1000);
    assert_ok(ext_inode_decode(&sb, b, 256, &inode, &err));
    assert_true(inode.mtime.sec == -600000000);
    assert_true(inode.atime.sec == INT64_C(4102444800));
    assert_int_equal(inode.atime.nsec, 123456789);
    assert_true(inode.ctime.sec == 0x7fffffff);
    assert_true(inode.btime.known && inode.btime.sec == 1000);
    vd_put_le16(b + 128, 4); /* no extra times */
    assert_ok(ext_inode_decode(&sb, b, 256, &inode, &err));
    assert_false(inode.btime.known);
    assert_true(inode.atime.sec == (int32_t)4102444800u);
    vd_put_le16(b + 128, 0xffff);
    assert_ok(ext_inode_decode(&sb, b, 256, &inode, &err));
    assert_false(inode.btime.known);
}

static void inline_data(void **state)
{
    struct ext_super sb = {.inode_size = 256, .block_size = 4096};
    struct ext_inode inode = {.ino = 12};
    uint8_t b[256] = {0};

    (void)state;
    vd_put_le16(b, 0x81a4);
    vd_put_le32(b + 32, EXT_FL_INLINE_DATA);
    vd_put_le16(b + 128, 32);
    vd_put_le32(b + 160, 0xea020000);
    b[164] = 4;
    b[165] = 7;
    vd_put_le16(b + 166, 40);
    vd_put_le32(b + 172, 10);
    memcpy(b + 180, "data", 4);
    memcpy(b + 164 + 40, "0123456789", 10);
    assert_ok(ext_inode_decode(&sb, b, 256, &inode, &err));
    assert_int_equal(inode.inline_tail_len, 10);
    assert_memory_equal(inode.inline_tail, "0123456789", 10);
    ext_inode_clear(&inode);
    vd_put_le32(b + 172, 100); /* passes the inode */
    assert_fails(ext_inode_decode(&sb, b, 256, &inode, &err), VD_ECORRUPT, "outside the inode");
}

static void extent_nodes(void **state)
{
    uint8_t b[60] = {0x0a, 0xf3, 2, 0, 4, 0, 0, 0};
    struct ext_node node;
    struct ext_extent e;

    (void)state;
    vd_put_le32(b + 24, 7);
    vd_put_le16(b + 28, 32768 + 5);
    vd_put_le16(b + 30, 1);
    vd_put_le32(b + 32, 9);
    assert_ok(ext_node_decode(b, sizeof(b), &node, &err));
    ext_node_entry(b, &node, 1, &e);
    assert_int_equal(e.block, 7);
    assert_int_equal(e.len, 5);
    assert_true(e.unwritten);
    assert_true(e.start == (UINT64_C(1) << 32) + 9);
    b[2] = 5; /* more than the maximum */
    assert_fails(ext_node_decode(b, sizeof(b), &node, &err), VD_ECORRUPT, "5 of 4");
    b[2] = 4;
    b[4] = 200; /* more than fit */
    assert_fails(ext_node_decode(b, sizeof(b), &node, &err), VD_ECORRUPT, "of 200");
    b[4] = 4;
    b[6] = 6;
    assert_fails(ext_node_decode(b, sizeof(b), &node, &err), VD_ECORRUPT, "depth 6");
    b[0] = 0;
    assert_fails(ext_node_decode(b, sizeof(b), &node, &err), VD_ECORRUPT, "magic");
}

static size_t put_entry(uint8_t *b, uint32_t ino, uint16_t rec, const char *name, uint8_t type)
{
    vd_put_le32(b, ino);
    vd_put_le16(b + 4, rec);
    b[6] = (uint8_t)strlen(name);
    b[7] = type;
    memcpy(b + 8, name, strlen(name));
    return rec;
}

static void directories(void **state)
{
    struct ext_super sb = {.block_size = 1024, .n_inodes = 100, .incompat = EXT_INCOMPAT_FILETYPE};
    struct fs_dirlist *list = fs_dirlist_new();
    uint8_t b[1024] = {0};
    struct fs_entry e;
    size_t at = 0;

    (void)state;
    at += put_entry(b + at, 2, 12, ".", 2);
    at += put_entry(b + at, 2, 12, "..", 2);
    at += put_entry(b + at, 12, 16, "live", 1);
    at += put_entry(b + at, 0, 16, "gone", 1);
    (void)put_entry(b + at + 16, 13, 16, "slack", 1); /* in the slack of the last */
    (void)put_entry(b + at, 14, (uint16_t)(1024 - at), "dir", 2);
    assert_ok(ext_dir_decode(&sb, b, sizeof(b), false, list, &err));
    assert_int_equal(list->n, 2);
    assert_ok(fs_dirlist_finish(list, &err));
    assert_ok(fs_dirlist_find(list, "dir", 3, &e, &err));
    assert_int_equal(e.kind, FS_DIR);
    assert_int_equal(e.addr, 14);
    fs_dirlist_free(list);

    list = fs_dirlist_new();
    vd_put_le32(b + 24, 101);
    assert_fails(ext_dir_decode(&sb, b, sizeof(b), false, list, &err), VD_ECORRUPT, "inode 101");
    vd_put_le32(b + 24, 12);
    vd_put_le16(b + 28, 0); /* would not move on */
    assert_fails(ext_dir_decode(&sb, b, sizeof(b), false, list, &err), VD_ECORRUPT, "0 bytes");
    vd_put_le16(b + 28, 2000);
    assert_fails(ext_dir_decode(&sb, b, sizeof(b), false, list, &err), VD_ECORRUPT, "2000 bytes");
    vd_put_le16(b + 28, 12);
    b[30] = 9; /* the name passes the entry */
    assert_fails(ext_dir_decode(&sb, b, sizeof(b), false, list, &err), VD_ECORRUPT, "12 bytes");
    fs_dirlist_free(list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(super),        cmocka_unit_test(meta_bg_descriptors),
        cmocka_unit_test(times),        cmocka_unit_test(inline_data),
        cmocka_unit_test(extent_nodes), cmocka_unit_test(directories),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
