/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to src/fs/iso: ISO 9660 (ECMA-119), with Rock Ridge (IEEE P1282, over SUSP, IEEE P1281)
 * and Joliet.
 */
#ifndef VD_FS_ISO_PRIV_H
#define VD_FS_ISO_PRIV_H

#include "fs/cache.h"
#include "fs/content.h"
#include "fs/dirlist.h"
#include "fs/fs.h"

#define ISO_SECTOR     2048u
#define ISO_MAX_RECORD 255u
#define ISO_MAX_NAME   1024u
#define ISO_MAX_TARGET 4096u

#define ISO_FLAG_DIR        0x02u
#define ISO_FLAG_ASSOCIATED 0x04u
#define ISO_FLAG_MORE       0x80u /* not the last record of the file */

/* A directory record (ECMA-119, 9.1), without its system use area. */
struct iso_record {
    uint32_t block, size; /* of the extent: first logical block, bytes */
    uint8_t len, ext_blocks, flags, unit, gap;
    struct fs_time time;
    const uint8_t *name;
    uint8_t name_len;
    const uint8_t *system; /* system use area */
    uint8_t system_len;
};

/* What Rock Ridge says of a record. */
struct iso_rock {
    bool has_px, relocated, compressed, has_child;
    uint32_t mode, nlink, uid, gid;
    struct fs_time mtime, atime, ctime, btime;
    char name[ISO_MAX_NAME];
    size_t name_len; /* 0: none */
    char target[ISO_MAX_TARGET];
    size_t target_len;
    bool has_target, target_open; /* open: the last component goes on in the next SL */
    uint32_t child_block;
    /* where to go on (CE) */
    bool has_more;
    uint32_t more_block, more_off, more_len;
};

struct iso_fs {
    struct blkdev *vol; /* borrowed from struct fs */
    uint32_t block_size;
    uint64_t n_blocks, root_addr;
    bool joliet, rock;
    uint8_t susp_skip;
    struct fs_cache *dirs;     /* (addr, 0) → struct fs_dirlist */
    struct fs_cache *contents; /* (addr, 0) → struct fs_content */
};

/* ---- iso_record.c: pure decoders ---- */
/* The record at b.  VD_ECORRUPT when it does not fit `len` bytes. */
int iso_record_decode(const uint8_t *b, size_t len, struct iso_record *out, struct vd_err *err);
/* Adds the entries of one system use or continuation area. */
int iso_rock_decode(const uint8_t *b, size_t len, struct iso_rock *rock, struct vd_err *err);
/* Date and time of 17 bytes (8.4.26.1). */
struct fs_time iso_long_time(const uint8_t *b);

#endif
