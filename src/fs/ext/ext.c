/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ext2, ext3 and ext4: the implementation of fs/fs.h.  A reader of its own, because libtsk 4.11.1
 * reads extent trees of more than one leaf as empty files and turns times before 1970 into 2086.
 *
 * Threads: struct ext_fs is immutable after open; the two caches have locks of their own.
 */
#include "fs/ext/ext_journal.h"

#include "base/bytes.h"
#include "base/limits.h"
#include "base/range.h"
#include "base/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Budgets of the caches, bytes: about 100,000 directory entries, and run tables of about 500,000
 * runs. */
#define DIRS_BUDGET     (16u << 20)
#define CONTENTS_BUDGET (16u << 20)

/* ---- content ---- */

static int fill_inline(const struct ext_inode *inode, struct fs_content *c, struct vd_err *err)
{
    uint64_t have = EXT_I_BLOCK + (uint64_t)inode->inline_tail_len;
    size_t head = (size_t)vd_min(inode->size, EXT_I_BLOCK);

    if (inode->size > have)
        return vd_fail(err, VD_ECORRUPT, "inline data: %llu bytes of %llu",
                       (unsigned long long)have, (unsigned long long)inode->size);
    c->resident = malloc(inode->size ? inode->size : 1);
    if (!c->resident)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    memcpy(c->resident, inode->i_block, head);
    if (inode->size > head)
        memcpy(c->resident + head, inode->inline_tail, (size_t)inode->size - head);
    return 0;
}

/* "Symbolic Links": a target that fits i_block lies there, and the inode owns no data block. */
static bool is_fast_symlink(const struct ext_super *sb, const struct ext_inode *inode)
{
    uint64_t ea_bytes = inode->file_acl ? sb->block_size : 0;

    return ext_inode_kind(inode->mode) == FS_SYMLINK && inode->size < EXT_I_BLOCK &&
           !(inode->flags & EXT_FL_INLINE_DATA) && inode->allocated <= ea_bytes;
}

static int fill(const struct ext_fs *x, const struct ext_inode *inode, struct fs_content *c,
                struct vd_err *err)
{
    enum fs_kind kind = ext_inode_kind(inode->mode);

    c->size = c->init = inode->size;
    c->kind = (uint8_t)kind;
    if (kind != FS_FILE && kind != FS_DIR && kind != FS_SYMLINK)
        return vd_fail(err, VD_EUSAGE, "a device, FIFO or socket has no content");
    if (inode->size > VD_MAX_SIZE)
        return vd_fail(err, VD_ECORRUPT, "impossible size %llu", (unsigned long long)inode->size);
    if (inode->flags & EXT_FL_COMPRESSED)
        return vd_fail(err, VD_EUNSUPPORTED, "compressed by e2compr");
    if (inode->flags & EXT_FL_INLINE_DATA || is_fast_symlink(&x->sb, inode))
        return fill_inline(inode, c, err);
    return ext_map_build(x, inode, &c->runs, err);
}

static int content_make(void *ctx, uint64_t ino, uint64_t unused, void **out_object,
                        size_t *out_cost, struct vd_err *err)
{
    struct fs *fs = ctx;
    struct fs_content *c = calloc(1, sizeof(*c));
    struct ext_inode inode;
    int rc;

    (void)unused;
    if (!c)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    rc = ext_inode_read(fs->priv, ino, &inode, err);
    if (!rc) {
        rc = fill(fs->priv, &inode, c, err);
        ext_inode_clear(&inode);
    }
    if (rc) {
        fs_content_free(c);
        return rc;
    }
    *out_object = c;
    *out_cost = fs_content_cost(c);
    return 0;
}

int ext_content_get(struct fs *fs, uint64_t ino, struct fs_cached **out, struct vd_err *err)
{
    struct ext_fs *x = fs->priv;

    return fs_cache_get(x->contents, ino, 0, content_make, fs, out, err);
}

/* Reads the content of an object of one kind only: fs_read is for files, and so on. */
static int read_kind(struct fs *fs, uint64_t addr, enum fs_kind kind, uint64_t off, void *buf,
                     size_t len, size_t *out_len, struct vd_err *err)
{
    struct ext_fs *x = fs->priv;
    const struct fs_content *c;
    struct fs_cached *ref = NULL;
    int rc = ext_content_get(fs, addr, &ref, err);

    if (rc)
        return rc;
    c = ref->object;
    if (c->kind != kind)
        rc = vd_fail(err, VD_EUSAGE, "not a regular file");
    else
        rc = fs_content_read(c, x->vol, off, buf, len, out_len, err);
    fs_cache_put(x->contents, ref);
    return rc;
}

static int ext_read(struct fs *fs, uint64_t addr, uint16_t stream, uint64_t off, void *buf,
                    size_t len, size_t *out_len, struct vd_err *err)
{
    if (stream)
        return vd_fail(err, VD_ENOENT, "no such stream");
    return read_kind(fs, addr, FS_FILE, off, buf, len, out_len, err);
}

/* ---- names ---- */

static int dir_make(void *ctx, uint64_t ino, uint64_t unused, void **out_object, size_t *out_cost,
                    struct vd_err *err)
{
    struct fs_dirlist *list = fs_dirlist_new();
    int rc;

    (void)unused;
    if (!list)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    rc = ext_dir_make(ctx, ino, list, err);
    if (!rc)
        rc = fs_dirlist_finish(list, err);
    if (rc) {
        fs_dirlist_free(list);
        return rc;
    }
    *out_object = list;
    *out_cost = fs_dirlist_cost(list);
    return 0;
}

/* ext2 without the filetype feature: the kind stands in the inode only. */
static void kind_from_inode(const struct ext_fs *x, struct fs_entry *entry)
{
    struct ext_inode inode;

    if (x->sb.incompat & EXT_INCOMPAT_FILETYPE || ext_inode_read(x, entry->addr, &inode, NULL))
        return;
    entry->kind = ext_inode_kind(inode.mode);
    ext_inode_clear(&inode);
}

static int ext_lookup(struct fs *fs, uint64_t dir_addr, const char *name, size_t name_len,
                      struct fs_entry *out, struct vd_err *err)
{
    struct ext_fs *x = fs->priv;
    struct fs_cached *ref = NULL;
    int rc = fs_cache_get(x->dirs, dir_addr, 0, dir_make, fs, &ref, err);

    if (rc)
        return rc;
    rc = fs_dirlist_find(ref->object, name, name_len, out, err);
    fs_cache_put(x->dirs, ref);
    if (!rc)
        kind_from_inode(x, out);
    return rc;
}

struct kind_walk {
    const struct ext_fs *x;
    fs_entry_fn *fn;
    void *ctx;
};

static int with_kind(void *ctx, const struct fs_entry *entry, uint64_t next_cookie)
{
    const struct kind_walk *walk = ctx;
    struct fs_entry e = *entry;

    kind_from_inode(walk->x, &e);
    return walk->fn(walk->ctx, &e, next_cookie);
}

static int ext_readdir(struct fs *fs, uint64_t dir_addr, uint64_t cookie, fs_entry_fn *fn,
                       void *ctx, struct vd_err *err)
{
    struct ext_fs *x = fs->priv;
    struct kind_walk walk = {.x = x, .fn = fn, .ctx = ctx};
    struct fs_cached *ref = NULL;
    int rc = fs_cache_get(x->dirs, dir_addr, 0, dir_make, fs, &ref, err);

    if (rc)
        return rc;
    rc = fs_dirlist_walk(ref->object, cookie, with_kind, &walk, err);
    fs_cache_put(x->dirs, ref);
    return rc;
}

/* ---- metadata ---- */

static int ext_getattr(struct fs *fs, uint64_t addr, uint16_t stream, struct fs_attr *out,
                       struct vd_err *err)
{
    struct ext_fs *x = fs->priv;
    struct ext_inode inode;
    int rc;

    if (stream)
        return vd_fail(err, VD_ENOENT, "no such stream");
    rc = ext_inode_read(x, addr, &inode, err);
    if (rc)
        return rc;
    out->kind = ext_inode_kind(inode.mode);
    out->size = inode.size;
    out->allocated = inode.allocated;
    out->mode = inode.mode & 07777u;
    out->uid = inode.uid;
    out->gid = inode.gid;
    out->has_owner = true;
    out->nlink = inode.nlink;
    out->flags = (inode.flags & EXT_FL_ENCRYPT ? FS_ATTR_ENCRYPTED : 0) |
                 (inode.flags & EXT_FL_COMPRESSED ? FS_ATTR_COMPRESSED : 0);
    if (addr < x->sb.first_ino && addr != EXT_ROOT_INO)
        out->flags |= FS_ATTR_META;
    out->mtime = inode.mtime;
    out->atime = inode.atime;
    out->ctime = inode.ctime;
    out->btime = inode.btime;
    ext_inode_clear(&inode);
    return 0;
}

static int ext_readlink(struct fs *fs, uint64_t addr, char **out, size_t *out_len,
                        struct vd_err *err)
{
    struct ext_inode inode;
    size_t len = 0, got = 0;
    char *target;
    int rc = ext_inode_read(fs->priv, addr, &inode, err);

    if (rc)
        return rc;
    ext_inode_clear(&inode);
    if (ext_inode_kind(inode.mode) != FS_SYMLINK)
        return vd_fail(err, VD_EUSAGE, "not a symbolic link");
    if (inode.flags & EXT_FL_ENCRYPT)
        return vd_fail(err, VD_EUNSUPPORTED, "the target is encrypted");
    if (!inode.size || inode.size > 65536)
        return vd_fail(err, VD_ECORRUPT, "symbolic link of %llu bytes",
                       (unsigned long long)inode.size);
    len = (size_t)inode.size;
    target = calloc(1, len + 1);
    if (!target)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    rc = read_kind(fs, addr, FS_SYMLINK, 0, target, len, &got, err);
    if (rc) {
        free(target);
        return rc;
    }
    *out = target;
    *out_len = strlen(target);
    return 0;
}

/* ---- opening ---- */

static void ext_shut(struct ext_fs *x)
{
    if (!x)
        return;
    fs_cache_free(x->dirs);
    fs_cache_free(x->contents);
    blk_unref(x->vol);
    free(x);
}

static void ext_close(struct fs *fs)
{
    ext_shut(fs->priv);
}

static void fill_info(struct fs *fs)
{
    const struct ext_fs *x = fs->priv;
    const struct ext_super *sb = &x->sb;
    const uint8_t *u = sb->uuid;

    (void)vd_text_copy(fs->info.type, sizeof(fs->info.type), ext_super_type(sb));
    (void)vd_text_printable(sb->volume_name, strnlen(sb->volume_name, sizeof(sb->volume_name)),
                            fs->info.label, sizeof(fs->info.label));
    if (!vd_all_zero(u, 16))
        (void)snprintf(fs->info.uuid, sizeof(fs->info.uuid),
                       "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0],
                       u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12],
                       u[13], u[14], u[15]);
    fs->info.block_size = sb->block_size;
    fs->info.n_blocks = sb->n_blocks;
    fs->info.root_addr = EXT_ROOT_INO;
    fs->info.last_addr = sb->n_inodes;
    if (sb->n_blocks * sb->block_size > x->vol->size)
        vd_fact_add(&fs->facts, VD_FACT_WARNING, "volume_short",
                    "the file system has %" PRIu64 " bytes, the volume only %" PRIu64,
                    sb->n_blocks * sb->block_size, x->vol->size);
    if (sb->state & 2)
        vd_fact_add(&fs->facts, VD_FACT_WARNING, "state", "marked as having errors");
}

static int read_super(struct blkdev *vol, struct ext_super *out, struct vd_err *err)
{
    uint8_t raw[EXT_SUPER_SIZE];
    int rc = vd_prefix(err, blk_read(vol, EXT_SUPER_OFF, raw, sizeof(raw), err), "superblock");

    if (!rc)
        rc = ext_super_decode(raw, out, err);
    return rc ? rc : ext_super_validate(out, err);
}

/* Puts the replayed journal between the volume and the file system, where there is one to replay.
 * The superblock may be among what the journal changes. */
static int replay(struct ext_fs *x, struct vd_facts *facts, struct vd_err *err)
{
    struct blkdev *replayed;
    int rc;

    if (!(x->sb.incompat & EXT_INCOMPAT_RECOVER))
        return 0;
    rc = ext_journal_replay(x, facts, &replayed, err);
    if (rc || !replayed)
        return rc;
    blk_unref(x->vol);
    x->vol = replayed;
    return read_super(x->vol, &x->sb, err);
}

static int ext_open(struct blkdev *vol, const char *label, struct fs **out, struct vd_err *err)
{
    struct vd_facts facts = VD_FACTS_INIT;
    struct ext_super sb;
    struct ext_fs *x;
    int rc;

    if (vol->size < EXT_SUPER_OFF + EXT_SUPER_SIZE)
        return vd_fail(err, VD_ENOTFORMAT, "too small");
    rc = read_super(vol, &sb, err);
    if (rc)
        return rc;
    x = calloc(1, sizeof(*x));
    if (!x)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    x->sb = sb;
    x->vol = blk_ref(vol);
    rc = replay(x, &facts, err);
    if (!rc)
        rc = fs_cache_new(DIRS_BUDGET, fs_dirlist_free, &x->dirs, err);
    if (!rc)
        rc = fs_cache_new(CONTENTS_BUDGET, fs_content_free, &x->contents, err);
    if (!rc)
        rc = fs_new(&fs_type_ext, vol, label, x, out, err);
    if (rc) {
        ext_shut(x);
        vd_facts_clear(&facts);
        return rc;
    }
    (*out)->facts = facts;
    fill_info(*out);
    return 0;
}

const struct fs_type fs_type_ext = {
    .name = "ext2/3/4",
    .open = ext_open,
    .close = ext_close,
    .lookup = ext_lookup,
    .readdir = ext_readdir,
    .getattr = ext_getattr,
    .read = ext_read,
    .readlink = ext_readlink,
};
