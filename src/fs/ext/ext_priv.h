/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to src/fs/ext: ext2, ext3 and ext4.  Specification: the Linux kernel's
 * Documentation/filesystems/ext4 ("ext4 Data Structures and Algorithms"); names in comments are
 * its.
 */
#ifndef VD_FS_EXT_PRIV_H
#define VD_FS_EXT_PRIV_H

#include "fs/cache.h"
#include "fs/content.h"
#include "fs/dirlist.h"
#include "fs/fs.h"

#define EXT_ROOT_INO       2u
#define EXT_SUPER_OFF      1024u
#define EXT_SUPER_SIZE     1024u
#define EXT_I_BLOCK        60u /* bytes of i_block */
#define EXT_MAX_INODE_SIZE 4096u

/* s_feature_compat, s_feature_incompat, s_feature_ro_compat */
#define EXT_COMPAT_HAS_JOURNAL   0x4u
#define EXT_COMPAT_SPARSE_SUPER2 0x200u
#define EXT_INCOMPAT_FILETYPE    0x2u
#define EXT_INCOMPAT_RECOVER     0x4u
#define EXT_INCOMPAT_META_BG     0x10u
#define EXT_INCOMPAT_64BIT       0x80u
#define EXT_INCOMPAT_INLINE_DATA 0x8000u
#define EXT_RO_SPARSE_SUPER      0x1u
#define EXT_RO_HUGE_FILE         0x8u

/* i_flags */
#define EXT_FL_COMPRESSED  0x4u
#define EXT_FL_ENCRYPT     0x800u
#define EXT_FL_HUGE_FILE   0x40000u
#define EXT_FL_EXTENTS     0x80000u
#define EXT_FL_INLINE_DATA 0x10000000u

struct ext_super {
    uint64_t n_blocks;
    uint32_t n_inodes, first_ino, journal_ino;
    uint32_t block_size, inode_size, desc_size;
    uint32_t first_data_block, blocks_per_group, inodes_per_group, first_meta_bg, n_groups;
    uint32_t compat, incompat, ro_compat, backup_bgs[2];
    uint16_t state;
    uint8_t uuid[16];
    char volume_name[16]; /* not terminated */
};

struct ext_inode {
    uint32_t ino;
    uint16_t mode;
    uint32_t uid, gid, nlink, flags;
    uint64_t size, allocated, file_acl;
    struct fs_time atime, mtime, ctime, btime;
    uint8_t i_block[EXT_I_BLOCK];
    uint8_t *inline_tail; /* inline_data: the value of system.data; owned; NULL = none */
    size_t inline_tail_len;
};

struct ext_fs {
    struct ext_super sb;
    struct blkdev *vol;        /* the volume, or the volume with its journal replayed; owned */
    struct fs_cache *dirs;     /* (ino, 0) → struct fs_dirlist */
    struct fs_cache *contents; /* (ino, 0) → struct fs_content */
};

/* ---- ext_super.c ---- */
/* Pure: EXT_SUPER_SIZE bytes → fields.  VD_ENOTFORMAT without the magic number. */
int ext_super_decode(const uint8_t *b, struct ext_super *out, struct vd_err *err);
/* Are the numbers possible, and the must-understand features understood? */
int ext_super_validate(const struct ext_super *sb, struct vd_err *err);
const char *ext_super_type(const struct ext_super *sb);
/* Byte offset of the descriptor of block group `group`. */
uint64_t ext_super_desc_off(const struct ext_super *sb, uint32_t group);

/* ---- ext_inode.c ---- */
/* Reads and decodes an allocated inode; the caller clears it.  VD_ENOENT: not in use. */
int ext_inode_read(const struct ext_fs *x, uint64_t ino, struct ext_inode *out, struct vd_err *err);
void ext_inode_clear(struct ext_inode *inode);
/* Pure: `len` bytes of an inode (the inode size of the volume). */
int ext_inode_decode(const struct ext_super *sb, const uint8_t *b, size_t len,
                     struct ext_inode *out, struct vd_err *err);
enum fs_kind ext_inode_kind(uint16_t mode);

/* ---- ext_map.c ---- */
/* Builds the run table of an inode (extent tree or indirect blocks).  Parts of the map that are
 * damaged or unreadable become bad runs; errors: limits and memory. */
int ext_map_build(const struct ext_fs *x, const struct ext_inode *inode, struct fs_runs *out,
                  struct vd_err *err);

/* ---- ext_extents.c ---- */
struct ext_extent {
    uint32_t block; /* first logical block */
    uint32_t len;   /* blocks, leaves only */
    uint64_t start; /* physical block: of the data, or of the node below */
    bool unwritten;
};

struct ext_node {
    unsigned depth; /* 0: a leaf */
    unsigned n;
};

/* Pure: the header of a node of `len` bytes. */
int ext_node_decode(const uint8_t *b, size_t len, struct ext_node *out, struct vd_err *err);
/* Pure: entry `i` < node->n. */
void ext_node_entry(const uint8_t *b, const struct ext_node *node, unsigned i,
                    struct ext_extent *out);

/* ---- ext_dir.c ---- */
int ext_dir_make(struct fs *fs, uint64_t ino, struct fs_dirlist *list, struct vd_err *err);
/* Pure: adds the live entries of one directory block (or inline region). */
int ext_dir_decode(const struct ext_super *sb, const uint8_t *b, size_t len, bool encrypted,
                   struct fs_dirlist *list, struct vd_err *err);

/* ---- ext.c ---- */
/* Content of an inode from the cache; for directories and symbolic links too. */
int ext_content_get(struct fs *fs, uint64_t ino, struct fs_cached **out, struct vd_err *err);

#endif
