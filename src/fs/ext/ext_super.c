/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The superblock of ext2/3/4 and where block group descriptors lie (kernel documentation, "Super
 * Block" and "Block Group Descriptors").  Pure functions.
 */
#include "fs/ext/ext_priv.h"

#include "base/bytes.h"
#include "base/limits.h"
#include "base/range.h"

#include <string.h>

/* Features that change how bytes are read and that this reader understands: filetype, recover,
 * meta_bg, extents, 64bit, mmp, flex_bg, ea_inode, csum_seed, largedir, inline_data, encrypt,
 * casefold. */
#define KNOWN_INCOMPAT 0x3c3d6u
/* ea_inode and csum_seed do not concern file content */
#define KNOWN_EXTRA (0x400u | 0x2000u)

int ext_super_decode(const uint8_t *b, struct ext_super *out, struct vd_err *err)
{
    struct ext_super sb = {0};
    uint32_t log_block = vd_le32(b + 24);
    uint64_t n_groups;

    if (vd_le16(b + 56) != 0xef53)
        return vd_fail(err, VD_ENOTFORMAT, "no ext magic number");
    if (log_block > 6)
        return vd_fail(err, VD_ECORRUPT, "superblock: impossible block size 2^%u KiB", log_block);
    sb.block_size = 1024u << log_block;
    sb.n_inodes = vd_le32(b);
    sb.first_data_block = vd_le32(b + 20);
    sb.blocks_per_group = vd_le32(b + 32);
    sb.inodes_per_group = vd_le32(b + 40);
    sb.state = vd_le16(b + 58);
    sb.first_ino = 11;
    sb.inode_size = 128;
    if (vd_le32(b + 76) >= 1) { /* s_rev_level: dynamic */
        sb.first_ino = vd_le32(b + 84);
        sb.inode_size = vd_le16(b + 88);
        sb.compat = vd_le32(b + 92);
        sb.incompat = vd_le32(b + 96);
        sb.ro_compat = vd_le32(b + 100);
    }
    sb.journal_ino = vd_le32(b + 0xe0);
    sb.desc_size = sb.incompat & EXT_INCOMPAT_64BIT ? vd_le16(b + 0xfe) : 32;
    sb.first_meta_bg = vd_le32(b + 0x104);
    sb.backup_bgs[0] = vd_le32(b + 0x24c);
    sb.backup_bgs[1] = vd_le32(b + 0x250);
    sb.n_blocks = vd_le32(b + 4);
    if (sb.incompat & EXT_INCOMPAT_64BIT)
        sb.n_blocks |= (uint64_t)vd_le32(b + 0x150) << 32;
    memcpy(sb.uuid, b + 104, sizeof(sb.uuid));
    memcpy(sb.volume_name, b + 120, sizeof(sb.volume_name));
    if (!sb.blocks_per_group || sb.n_blocks <= sb.first_data_block)
        return vd_fail(err, VD_ECORRUPT, "superblock: impossible number of blocks");
    n_groups = vd_div_up(sb.n_blocks - sb.first_data_block, sb.blocks_per_group);
    if (n_groups > UINT32_MAX)
        return vd_fail(err, VD_ECORRUPT, "superblock: impossible number of block groups");
    sb.n_groups = (uint32_t)n_groups;
    *out = sb;
    return 0;
}

int ext_super_validate(const struct ext_super *sb, struct vd_err *err)
{
    uint32_t unknown = sb->incompat & ~(KNOWN_INCOMPAT | KNOWN_EXTRA);
    uint64_t bytes;

    if (sb->incompat & 0x8)
        return vd_fail(err, VD_EUNSUPPORTED, "an external ext journal, not a file system");
    if (unknown)
        return vd_fail(err, VD_EUNSUPPORTED,
                       "superblock: features 0x%x must be understood and are not", unknown);
    if (!vd_is_pow2(sb->inode_size) || sb->inode_size < 128 ||
        sb->inode_size > EXT_MAX_INODE_SIZE || sb->inode_size > sb->block_size)
        return vd_fail(err, VD_ECORRUPT, "superblock: impossible inode size %u", sb->inode_size);
    if (!vd_is_pow2(sb->desc_size) || sb->desc_size < 32 || sb->desc_size > 1024 ||
        (sb->incompat & EXT_INCOMPAT_64BIT && sb->desc_size < 64))
        return vd_fail(err, VD_ECORRUPT, "superblock: impossible descriptor size %u",
                       sb->desc_size);
    if (!sb->inodes_per_group || sb->n_inodes < EXT_ROOT_INO ||
        (uint64_t)sb->n_groups * sb->inodes_per_group < sb->n_inodes)
        return vd_fail(err, VD_ECORRUPT, "superblock: impossible number of inodes");
    if (!vd_mul(sb->n_blocks, sb->block_size, &bytes) || bytes > VD_MAX_SIZE)
        return vd_fail(err, VD_ECORRUPT, "superblock: impossible size");
    return 0;
}

const char *ext_super_type(const struct ext_super *sb)
{
    /* what ext3 knows: filetype, recover, meta_bg; sparse_super, large_file, btree_dir */
    if (sb->incompat & ~0x16u || sb->ro_compat & ~0x7u)
        return "ext4";
    return sb->compat & EXT_COMPAT_HAS_JOURNAL ? "ext3" : "ext2";
}

static bool is_power_of(uint32_t n, uint32_t base)
{
    while (n > 1 && n % base == 0)
        n /= base;
    return n == 1;
}

/* Does the group begin with a copy of the superblock? */
static bool has_super(const struct ext_super *sb, uint32_t group)
{
    if (group == 0)
        return true;
    if (sb->compat & EXT_COMPAT_SPARSE_SUPER2)
        return group == sb->backup_bgs[0] || group == sb->backup_bgs[1];
    if (!(sb->ro_compat & EXT_RO_SPARSE_SUPER) || group == 1)
        return true;
    return is_power_of(group, 3) || is_power_of(group, 5) || is_power_of(group, 7);
}

uint64_t ext_super_desc_off(const struct ext_super *sb, uint32_t group)
{
    uint32_t per_block = sb->block_size / sb->desc_size, meta = group / per_block;
    uint64_t block = (uint64_t)sb->first_data_block + 1 + meta;

    if (sb->incompat & EXT_INCOMPAT_META_BG && meta >= sb->first_meta_bg) {
        uint32_t first = meta * per_block;

        block =
            sb->first_data_block + (uint64_t)first * sb->blocks_per_group + has_super(sb, first);
        /* 1 KiB blocks in a volume whose first data block is 0: the superblock fills block 1 */
        if (first == 0 && sb->block_size == 1024 && sb->first_data_block == 0)
            block++;
    }
    return block * sb->block_size + (uint64_t)(group % per_block) * sb->desc_size;
}
