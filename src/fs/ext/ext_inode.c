/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inodes of ext2/3/4 (kernel documentation, "Index Nodes", "Inode Timestamps", "Inline Data").
 *
 * Times: 32 bits signed seconds, and in inodes of more than 128 bytes two more bits (epoch) and 30
 * bits of nanoseconds; so years before 1970 and after 2038 are both right.  Immutable results, no
 * lock.
 */
#include "fs/ext/ext_priv.h"

#include "base/bytes.h"
#include "base/range.h"

#include <stdlib.h>
#include <string.h>

#define XATTR_MAGIC        0xea020000u
#define XATTR_INDEX_SYSTEM 7

enum fs_kind ext_inode_kind(uint16_t mode)
{
    switch (mode >> 12) {
    case 0x1:
        return FS_FIFO;
    case 0x2:
        return FS_CHARDEV;
    case 0x4:
        return FS_DIR;
    case 0x6:
        return FS_BLOCKDEV;
    case 0xa:
        return FS_SYMLINK;
    case 0xc:
        return FS_SOCKET;
    default:
        return FS_FILE;
    }
}

/* `extra_off`: offset of the extra field, 0 or past `extra_end` when the inode has none. */
static struct fs_time decode_time(const uint8_t *b, size_t off, size_t extra_off, size_t extra_end)
{
    struct fs_time t = {.known = true, .sec = (int32_t)vd_le32(b + off)};

    if (extra_off + 4 <= extra_end) {
        uint32_t extra = vd_le32(b + extra_off);

        t.sec += (int64_t)(extra & 3) << 32;
        t.nsec = extra >> 2 < 1000000000u ? extra >> 2 : 0;
    }
    return t;
}

/* Finds the value of system.data in the attributes inside the inode ("Extended Attributes"). */
static int find_inline_tail(const uint8_t *b, size_t len, size_t start, struct ext_inode *out,
                            struct vd_err *err)
{
    size_t first = start + 4, at = first;

    if (first > len || vd_le32(b + start) != XATTR_MAGIC)
        return 0; /* no attributes: all content is in i_block */
    while (at + 16 <= len && vd_le32(b + at) != 0) {
        unsigned name_len = b[at];
        uint32_t value_off = vd_le16(b + at + 2), size = vd_le32(b + at + 8);

        if (at + 16 + name_len > len)
            break;
        if (b[at + 1] == XATTR_INDEX_SYSTEM && name_len == 4 && !memcmp(b + at + 16, "data", 4)) {
            if (vd_le32(b + at + 4) || !vd_range_inside(value_off, size, len - first))
                return vd_fail(err, VD_ECORRUPT, "inline data lies outside the inode");
            out->inline_tail = malloc(size ? size : 1);
            if (!out->inline_tail)
                return vd_fail(err, VD_ENOMEM, "out of memory");
            memcpy(out->inline_tail, b + first + value_off, size);
            out->inline_tail_len = size;
            return 0;
        }
        at += (16 + name_len + 3u) & ~3u;
    }
    return 0;
}

int ext_inode_decode(const struct ext_super *sb, const uint8_t *b, size_t len,
                     struct ext_inode *out, struct vd_err *err)
{
    struct ext_inode inode = {.ino = out->ino};
    size_t extra_end = len >= 160 ? 128 + (size_t)vd_le16(b + 128) : 128;
    bool regular;

    if (extra_end > len || extra_end % 4)
        extra_end = 128; /* a value that cannot be: no extra fields */
    inode.mode = vd_le16(b);
    inode.flags = vd_le32(b + 32);
    regular = inode.mode >> 12 == 0x8;
    inode.uid = vd_le16(b + 2) | (uint32_t)vd_le16(b + 120) << 16;
    inode.gid = vd_le16(b + 24) | (uint32_t)vd_le16(b + 122) << 16;
    inode.nlink = vd_le16(b + 26);
    inode.size = vd_le32(b + 4);
    if (regular || sb->incompat & 0x4000) /* largedir */
        inode.size |= (uint64_t)vd_le32(b + 108) << 32;
    inode.file_acl = vd_le32(b + 104);
    if (sb->incompat & EXT_INCOMPAT_64BIT)
        inode.file_acl |= (uint64_t)vd_le16(b + 118) << 32;
    inode.allocated = vd_le32(b + 28);
    if (sb->ro_compat & EXT_RO_HUGE_FILE)
        inode.allocated |= (uint64_t)vd_le16(b + 116) << 32;
    inode.allocated *=
        inode.flags & EXT_FL_HUGE_FILE && sb->ro_compat & EXT_RO_HUGE_FILE ? sb->block_size : 512u;
    memcpy(inode.i_block, b + 40, EXT_I_BLOCK);
    inode.ctime = decode_time(b, 12, 132, extra_end);
    inode.mtime = decode_time(b, 16, 136, extra_end);
    inode.atime = decode_time(b, 8, 140, extra_end);
    if (extra_end >= 148)
        inode.btime = decode_time(b, 144, 148, extra_end);
    inode.btime.known = inode.btime.known && (inode.btime.sec || inode.btime.nsec);
    if (inode.flags & EXT_FL_INLINE_DATA) {
        int rc = find_inline_tail(b, len, extra_end, &inode, err);

        if (rc)
            return rc;
    }
    *out = inode;
    return 0;
}

int ext_inode_read(const struct ext_fs *x, uint64_t ino, struct ext_inode *out, struct vd_err *err)
{
    const struct ext_super *sb = &x->sb;
    uint8_t desc[64] = {0}, raw[EXT_MAX_INODE_SIZE];
    uint64_t table, off;
    uint32_t group, idx;
    size_t desc_len = sb->desc_size < sizeof(desc) ? sb->desc_size : sizeof(desc);
    int rc;

    if (!ino || ino > sb->n_inodes)
        return vd_fail(err, VD_ENOENT, "no such inode");
    group = (uint32_t)((ino - 1) / sb->inodes_per_group);
    idx = (uint32_t)((ino - 1) % sb->inodes_per_group);
    rc = blk_read(x->vol, ext_super_desc_off(sb, group), desc, desc_len, err);
    if (rc)
        return vd_prefix(err, rc, "descriptor of block group %u", group);
    table = vd_le32(desc + 8);
    if (sb->incompat & EXT_INCOMPAT_64BIT)
        table |= (uint64_t)vd_le32(desc + 40) << 32;
    if (!table || table >= sb->n_blocks)
        return vd_fail(err, VD_ECORRUPT, "block group %u: inode table past the end", group);
    off = table * sb->block_size + (uint64_t)idx * sb->inode_size;
    rc = blk_read(x->vol, off, raw, sb->inode_size, err);
    if (rc)
        return vd_prefix(err, rc == -VD_ELIMIT ? -VD_ECORRUPT : rc, "inode table");
    memset(out, 0, sizeof(*out));
    out->ino = (uint32_t)ino;
    rc = ext_inode_decode(sb, raw, sb->inode_size, out, err);
    if (!rc && (!out->mode || !out->nlink)) {
        ext_inode_clear(out);
        return vd_fail(err, VD_ENOENT, "the inode is not in use");
    }
    return rc;
}

void ext_inode_clear(struct ext_inode *inode)
{
    free(inode->inline_tail);
    inode->inline_tail = NULL;
    inode->inline_tail_len = 0;
}
