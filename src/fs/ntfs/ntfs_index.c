/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories: the index $I30, a B-tree in $INDEX_ROOT and $INDEX_ALLOCATION (libyal NTFS, "The
 * index").  The tree is walked from its root in order, so that freed index blocks, which still hold
 * names, are never looked at.  A name is live when its record is in use with the same sequence
 * number; names of the DOS name space repeat a long name and are left out.
 *
 * A block that is damaged or unreadable is remembered as damage of the list; the rest is listed.
 * Each block is visited once, so loops end.
 */
#include "fs/ntfs/ntfs_priv.h"

#include "base/bytes.h"
#include "base/limits.h"
#include "base/range.h"
#include "fs/utf16.h"

#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH      32u /* a tree of 2^48 entries with 10 a block has 15 levels */
#define NODE_HEADER    16u
#define INDX_HEADER    24u
#define FILE_NAME_HEAD 66u
#define NAME_SPACE_DOS 2

struct walk {
    const struct ntfs_fs *n;
    uint64_t dir;
    const struct fs_content *blocks; /* $INDEX_ALLOCATION; NULL = none */
    uint32_t block_size;
    uint8_t *visited; /* one bit per block */
    uint64_t n_blocks;
    struct fs_dirlist *list;
    struct vd_err *err; /* for errors that end the work */
};

int ntfs_index_next(const uint8_t *b, size_t len, size_t *at, struct ntfs_index_entry *out,
                    struct vd_err *err)
{
    const uint8_t *e = b + *at;
    struct ntfs_index_entry entry = {0};
    size_t entry_len, key_len, fixed;
    unsigned flags;

    if (len < *at || len - *at < 16)
        return vd_fail(err, VD_ECORRUPT, "index node without an end entry");
    entry_len = vd_le16(e + 8);
    key_len = vd_le16(e + 10);
    flags = vd_le16(e + 12);
    fixed = 16 + (flags & 1 ? 8u : 0u);
    if (entry_len < fixed || entry_len % 8 || entry_len > len - *at || key_len > entry_len - fixed)
        return vd_fail(err, VD_ECORRUPT, "index entry at %zu: impossible length %zu", *at,
                       entry_len);
    entry.addr = vd_le64(e) & FS_ADDR_MAX;
    entry.seq = vd_le16(e + 6);
    entry.has_child = flags & 1;
    entry.last = flags & 2;
    entry.key = e + 16;
    entry.key_len = key_len;
    entry.child_vcn = entry.has_child ? vd_le64(e + entry_len - 8) : 0;
    *at += entry_len;
    *out = entry;
    return 0;
}

/* Damage of the directory, unless the error must end the work. */
static int settle(struct walk *w, int rc, struct vd_err *e)
{
    if (rc == -VD_ENOMEM || rc == -VD_ELIMIT) {
        if (w->err)
            *w->err = *e;
        return rc;
    }
    if (rc)
        fs_dirlist_set_damage(w->list, vd_prefix(e, rc, "directory index"), e);
    return 0;
}

/* The kind of a name whose $FILE_NAME says that it is a reparse point. */
static enum fs_kind reparse_kind(const struct ntfs_fs *n, uint64_t addr, bool is_dir)
{
    enum fs_kind kind = is_dir ? FS_DIR : FS_FILE;
    struct ntfs_reparse rp;
    struct ntfs_file *file = NULL;

    if (ntfs_file_load(n, addr, &file, NULL))
        return kind;
    if (!ntfs_reparse_read(n, file, &rp, NULL)) {
        kind = ntfs_reparse_is_link(rp.tag) ? FS_SYMLINK : kind;
        ntfs_reparse_clear(&rp);
    }
    ntfs_file_free(file);
    return kind;
}

static int add_name(struct walk *w, const struct ntfs_index_entry *entry, struct vd_err *err)
{
    const uint8_t *k = entry->key;
    char name[FS_UTF16_BYTES(255)];
    uint32_t flags;
    bool live = false, is_dir;
    size_t units;
    int rc;

    if (entry->key_len < FILE_NAME_HEAD)
        return vd_fail(err, VD_ECORRUPT, "index entry of %zu bytes", entry->key_len);
    units = k[64];
    if (FILE_NAME_HEAD + units * 2 > entry->key_len)
        return vd_fail(err, VD_ECORRUPT, "index entry: its name is cut");
    if (k[65] == NAME_SPACE_DOS)
        return 0;
    /* a record that cannot be read keeps its name; using it will fail */
    rc = ntfs_record_is_live(w->n, entry->addr, entry->seq, &live, NULL);
    if (!rc && !live)
        return 0;
    flags = vd_le32(k + 56);
    is_dir = flags & NTFS_FILE_IS_DIR;
    return fs_dirlist_add(w->list, name, fs_utf16_name(k + FILE_NAME_HEAD, units, false, name),
                          entry->addr,
                          flags & NTFS_FILE_REPARSE ? reparse_kind(w->n, entry->addr, is_dir)
                          : is_dir                  ? FS_DIR
                                                    : FS_FILE,
                          err);
}

static int walk_node(struct walk *w, const uint8_t *b, size_t len, unsigned depth);

/* Reads an index block; its bytes are the caller's. */
static int read_block(const struct walk *w, uint64_t off, uint64_t vcn, uint8_t **out,
                      struct vd_err *err)
{
    uint8_t *buf = malloc(w->block_size);
    size_t got = 0;
    int rc;

    if (!buf)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    rc = fs_content_read(w->blocks, w->n->vol, off, buf, w->block_size, &got, err);
    if (!rc && got != w->block_size)
        rc = vd_fail(err, VD_ECORRUPT, "index block %llu is cut", (unsigned long long)vcn);
    if (!rc)
        rc = ntfs_fixup(buf, w->block_size, "INDX", err);
    if (!rc && vd_le64(buf + 16) != vcn)
        rc = vd_fail(err, VD_ECORRUPT, "index block %llu says that it is %llu",
                     (unsigned long long)vcn, (unsigned long long)vd_le64(buf + 16));
    if (rc) {
        free(buf);
        return rc;
    }
    *out = buf;
    return 0;
}

static int walk_child(struct walk *w, uint64_t vcn, unsigned depth, struct vd_err *err)
{
    /* blocks smaller than a cluster are counted in 512 bytes */
    uint64_t unit = w->block_size < w->n->boot.cluster_size ? 512 : w->n->boot.cluster_size;
    uint64_t off, number;
    uint8_t *buf = NULL;
    int rc;

    if (!w->blocks || !vd_mul(vcn, unit, &off) || off % w->block_size ||
        off / w->block_size >= w->n_blocks)
        return vd_fail(err, VD_ECORRUPT, "index block %llu does not exist",
                       (unsigned long long)vcn);
    number = off / w->block_size;
    if (depth > MAX_DEPTH || w->visited[number / 8] >> (number % 8) & 1)
        return vd_fail(err, VD_ECORRUPT, "index block %llu is used twice", (unsigned long long)vcn);
    w->visited[number / 8] |= (uint8_t)(1u << (number % 8));
    rc = read_block(w, off, vcn, &buf, err);
    if (rc)
        return rc;
    rc = walk_node(w, buf + INDX_HEADER, w->block_size - INDX_HEADER, depth);
    free(buf);
    return rc;
}

/* One node, its header at b.  Returns only errors that end the work. */
static int walk_node(struct walk *w, const uint8_t *b, size_t len, unsigned depth)
{
    struct vd_err e = VD_ERR_INIT;
    size_t at = vd_le32(b), used = vd_le32(b + 4);
    int rc = 0;

    if (at < NODE_HEADER || used > len || at > used)
        return settle(w, vd_fail(&e, VD_ECORRUPT, "index node: impossible header"), &e);
    while (!rc) {
        struct ntfs_index_entry entry;
        int one;

        vd_err_clear(&e);
        one = ntfs_index_next(b, used, &at, &entry, &e);
        if (one)
            return settle(w, one, &e);
        if (entry.has_child)
            rc = settle(w, walk_child(w, entry.child_vcn, depth + 1, &e), &e);
        if (rc || entry.last)
            break;
        vd_err_clear(&e);
        rc = settle(w, add_name(w, &entry, &e), &e);
    }
    return rc;
}

static int open_blocks(struct walk *w, const struct ntfs_file *file, struct fs_content **out,
                       struct vd_err *err)
{
    const struct ntfs_attr *attr = ntfs_file_attr(file, NTFS_INDEX_ALLOCATION, "$I30");
    int rc;

    if (!attr)
        return 0;
    rc = ntfs_attr_content(w->n, file, attr, out, err);
    if (rc)
        return rc;
    w->n_blocks = (*out)->size / w->block_size;
    if (w->n_blocks > VD_MAX_DIR_ENTRIES)
        return vd_fail(err, VD_ELIMIT, "directory of %llu index blocks",
                       (unsigned long long)w->n_blocks);
    w->visited = calloc(1, (size_t)w->n_blocks / 8 + 1);
    if (!w->visited)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    w->blocks = *out;
    return 0;
}

static int walk_dir(const struct ntfs_fs *n, const struct ntfs_file *file, struct fs_dirlist *list,
                    struct vd_err *err)
{
    const struct ntfs_attr *root = ntfs_file_attr(file, NTFS_INDEX_ROOT, "$I30");
    struct walk w = {.n = n, .dir = file->addr, .list = list, .err = err};
    struct fs_content *blocks = NULL;
    struct vd_err e = VD_ERR_INIT;
    int rc;

    if (!root)
        return file->damage_rc ? vd_fail(err, -file->damage_rc, "%s", file->damage.msg)
               : file->head.flags & NTFS_RECORD_DIR
                   ? vd_fail(err, VD_ECORRUPT, "directory without an index root")
                   : vd_fail(err, VD_EUSAGE, "not a directory");
    if (!root->resident || root->value_len < 32)
        return vd_fail(err, VD_ECORRUPT, "impossible index root");
    w.block_size = vd_le32(root->value + 8);
    if (!vd_is_pow2(w.block_size) || w.block_size < 512 || w.block_size > (2u << 20))
        return vd_fail(err, VD_ECORRUPT, "index root: blocks of %u bytes", w.block_size);
    rc = settle(&w, open_blocks(&w, file, &blocks, &e), &e);
    if (!rc)
        rc = walk_node(&w, root->value + 16, root->value_len - 16, 0);
    fs_content_free(blocks);
    free(w.visited);
    return rc;
}

int ntfs_dir_make(const struct ntfs_fs *n, uint64_t addr, struct fs_dirlist *list,
                  struct vd_err *err)
{
    struct ntfs_file *file = NULL;
    int rc = ntfs_file_load(n, addr, &file, err);

    if (rc)
        return rc;
    rc = walk_dir(n, file, list, err);
    if (!rc && file->damage_rc)
        fs_dirlist_set_damage(list, file->damage_rc, &file->damage);
    ntfs_file_free(file);
    return rc;
}
