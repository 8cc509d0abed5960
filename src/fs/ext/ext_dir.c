/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories of ext2/3/4, read linearly ("Linear Directories"): hash-tree blocks look like unused
 * entries to a linear reader, by design of the format, and so do the checksum tails.  Deleted
 * entries lie in the slack of live ones and are never looked at.
 *
 * Names in encrypted directories are ciphertext; without the key they are shown as Linux shows
 * them: base64url of the directory hash (eight bytes, zero for linear directories) and the name.
 */
#include "fs/ext/ext_priv.h"

#include "base/bytes.h"
#include "base/range.h"

#include <stdlib.h>
#include <string.h>

/* 16,777,216 entries of 264 bytes are 4.2 GiB. */
#define MAX_DIR_BYTES (UINT64_C(8) << 30)

static enum fs_kind kind_of(uint8_t type)
{
    static const enum fs_kind kinds[] = {FS_FILE,     FS_FILE, FS_DIR,    FS_CHARDEV,
                                         FS_BLOCKDEV, FS_FIFO, FS_SOCKET, FS_SYMLINK};

    return type < sizeof(kinds) / sizeof(kinds[0]) ? kinds[type] : FS_FILE;
}

/* Linux, fs/crypto/fname.c: struct fscrypt_nokey_name, for names of up to 149 bytes. */
static size_t nokey_name(const uint8_t *name, size_t len, char *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    size_t total = 8 + len, i, n = 0;

    for (i = 0; i < total; i += 3) {
        uint32_t bits = 0;
        size_t k, have = total - i < 3 ? total - i : 3;

        for (k = 0; k < 3; k++) {
            size_t at = i + k;

            bits = bits << 8 | (at >= 8 && at < total ? name[at - 8] : 0u);
        }
        for (k = 0; k <= have; k++)
            out[n++] = digits[bits >> (18 - 6 * k) & 63];
    }
    return n;
}

static int add_entry(const struct ext_super *sb, const uint8_t *e, size_t name_len, bool encrypted,
                     struct fs_dirlist *list, struct vd_err *err)
{
    uint32_t ino = vd_le32(e);
    enum fs_kind kind = sb->incompat & EXT_INCOMPAT_FILETYPE ? kind_of(e[7]) : FS_FILE;
    bool dots = name_len <= 2 && e[8] == '.' && (name_len == 1 || e[9] == '.');
    char shown[360];

    if (!ino || !name_len || dots)
        return 0;
    if (ino > sb->n_inodes)
        return vd_fail(err, VD_ECORRUPT, "directory entry names inode %u of %u", ino, sb->n_inodes);
    if (encrypted)
        return fs_dirlist_add(list, shown, nokey_name(e + 8, name_len, shown), ino, kind, err);
    if (memchr(e + 8, 0, name_len))
        return vd_fail(err, VD_ECORRUPT, "directory entry with a NUL in its name");
    return fs_dirlist_add(list, (const char *)e + 8, name_len, ino, kind, err);
}

int ext_dir_decode(const struct ext_super *sb, const uint8_t *b, size_t len, bool encrypted,
                   struct fs_dirlist *list, struct vd_err *err)
{
    size_t at = 0;

    while (len - at >= 8) {
        const uint8_t *e = b + at;
        size_t rec = vd_le16(e + 4);
        size_t name_len = sb->incompat & EXT_INCOMPAT_FILETYPE ? e[6] : vd_le16(e + 6);
        int rc;

        /* ext4_rec_len_from_disk: 64 KiB blocks do not fit 16 bits */
        if (sb->block_size >= 65536)
            rec = rec == 65535 || !rec ? sb->block_size : (rec & 65532) | (rec & 3) << 16;
        if (rec < 8 || rec % 4 || rec > len - at || name_len > rec - 8 || name_len > 255)
            return vd_fail(err, VD_ECORRUPT, "directory entry of %zu bytes at %zu in its block",
                           rec, at);
        rc = add_entry(sb, e, name_len, encrypted, list, err);
        if (rc)
            return rc;
        at += rec;
    }
    return 0;
}

/* Damage is remembered in the list and is no failure; limits and memory are. */
static int settle(struct fs_dirlist *list, int rc, const struct vd_err *e, struct vd_err *err)
{
    if (!rc)
        return 0;
    if (rc == -VD_ENOMEM || rc == -VD_ELIMIT) {
        if (err)
            *err = *e;
        return rc;
    }
    fs_dirlist_set_damage(list, rc, e);
    return 0;
}

static int read_blocks(struct fs *fs, const struct fs_content *c, bool encrypted,
                       struct fs_dirlist *list, struct vd_err *err)
{
    struct ext_fs *x = fs->priv;
    uint32_t bs = x->sb.block_size;
    uint8_t *buf = malloc(bs);
    uint64_t off = 0;
    int rc = buf ? 0 : vd_fail(err, VD_ENOMEM, "out of memory");

    while (!rc && off < c->size) {
        struct vd_err e = VD_ERR_INIT;
        struct fs_run run;
        int one;

        fs_runs_at(&c->runs, off, c->size - off, &run);
        if (run.kind != FS_RUN_DATA) {
            /* a directory has no holes: whole blocks are missing here */
            one = run.kind == FS_RUN_BAD
                      ? fs_runs_read(&c->runs, x->vol, off, buf, 1, &e)
                      : vd_fail(&e, VD_ECORRUPT, "hole at %llu", (unsigned long long)off);
            off += run.len;
        } else {
            one = fs_runs_read(&c->runs, x->vol, off, buf, bs, &e);
            if (!one)
                one = ext_dir_decode(&x->sb, buf, bs, encrypted, list, &e);
            off += bs;
        }
        rc = settle(list, vd_prefix(&e, one, "directory"), &e, err);
    }
    free(buf);
    return rc;
}

/* "Inline Directories": four bytes of parent, then entries; more entries in system.data. */
static int read_inline(const struct ext_fs *x, const struct ext_inode *inode, bool encrypted,
                       struct fs_dirlist *list, struct vd_err *err)
{
    struct vd_err e = VD_ERR_INIT;
    int one = ext_dir_decode(&x->sb, inode->i_block + 4, EXT_I_BLOCK - 4, encrypted, list, &e);
    int rc = settle(list, one, &e, err);

    if (!rc && inode->inline_tail) {
        one =
            ext_dir_decode(&x->sb, inode->inline_tail, inode->inline_tail_len, encrypted, list, &e);
        rc = settle(list, one, &e, err);
    }
    return rc;
}

int ext_dir_make(struct fs *fs, uint64_t ino, struct fs_dirlist *list, struct vd_err *err)
{
    struct ext_fs *x = fs->priv;
    struct ext_inode inode;
    struct fs_cached *ref = NULL;
    bool encrypted;
    int rc = ext_inode_read(x, ino, &inode, err);

    if (rc)
        return rc;
    encrypted = inode.flags & EXT_FL_ENCRYPT;
    if (ext_inode_kind(inode.mode) != FS_DIR) {
        rc = vd_fail(err, VD_EUSAGE, "not a directory");
    } else if (inode.flags & EXT_FL_INLINE_DATA) {
        rc = read_inline(x, &inode, encrypted, list, err);
    } else if (inode.size > MAX_DIR_BYTES) {
        rc = vd_fail(err, VD_ELIMIT, "directory of %llu bytes", (unsigned long long)inode.size);
    } else {
        rc = ext_content_get(fs, ino, &ref, err);
        if (!rc) {
            rc = read_blocks(fs, ref->object, encrypted, list, err);
            fs_cache_put(x->contents, ref);
        }
    }
    ext_inode_clear(&inode);
    /* The journal has no name on the disk; tools that read it want one. */
    if (!rc && ino == EXT_ROOT_INO && x->sb.compat & EXT_COMPAT_HAS_JOURNAL && x->sb.journal_ino)
        rc = fs_dirlist_add(list, "$Journal", 8, x->sb.journal_ino, FS_FILE, err);
    return rc;
}
