/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attributes of nodes.
 *
 * Objects of a file system have the evidence's own owner, times (to the nanosecond, any sign), link
 * count and size.  Permission bits are the evidence's read and search bits, never more: no execute
 * bit on a regular file (a file manager must not offer to run evidence), no write bit, no
 * setuid/setgid/sticky; the full mode is in user.vdiskfs.mode.  Devices, FIFOs and sockets show
 * their type, with mode 0000 and device number 0.  A size over INT64_MAX, which the kernel would
 * answer with EIO for the whole object, is clamped; the number is in user.vdiskfs.size_raw.
 *
 * Disk and volume images have the time of the evidence file whose state they show; the directory
 * of an older point has the date of its snapshot, where that is known.  Any thread.
 */
#include "tree/tree_private.h"

#include "base/cleanup.h"
#include "base/limits.h"
#include "base/range.h"

#include <string.h>

#define IMAGE_BLKSIZE (1 << 20)
#define FILE_BLKSIZE  4096

mode_t tree_type_bits(enum fs_kind kind)
{
    switch (kind) {
    case FS_FILE:
        return S_IFREG;
    case FS_DIR:
        return S_IFDIR;
    case FS_SYMLINK:
        return S_IFLNK;
    case FS_CHARDEV:
        return S_IFCHR;
    case FS_BLOCKDEV:
        return S_IFBLK;
    case FS_FIFO:
        return S_IFIFO;
    case FS_SOCKET:
        return S_IFSOCK;
    }
    return S_IFREG;
}

int tree_fs_attr(const struct place *place, struct fs_attr *out, struct vd_err *err)
{
    int rc = fs_getattr(place->fs, place->id.addr, place->id.stream, out, err);

    if (!rc && place->what == PLACE_STREAM)
        out->kind = FS_FILE; /* a directory's stream is read like a file */
    return rc;
}

static mode_t permissions(const struct tree_options *o, const struct fs_attr *a)
{
    bool own =
        a->has_owner && o->evidence_permissions && !o->force_uid && !o->force_gid && !o->has_umask;
    mode_t mask = a->kind == FS_DIR ? 0555 : 0444;

    switch (a->kind) {
    case FS_FILE:
    case FS_DIR:
        break;
    case FS_SYMLINK:
        return 0777; /* never looked at; what every system shows */
    case FS_CHARDEV:
    case FS_BLOCKDEV:
    case FS_FIFO:
    case FS_SOCKET:
    default:
        return 0;
    }
    return (own ? a->mode & mask : mask) & ~(o->has_umask ? o->umask : 0);
}

static struct timespec time_of(const struct fs_time *t, const struct fs_time *second)
{
    const struct fs_time *use = t->known ? t : second;

    if (!use->known)
        return (struct timespec){0};
    /* ext4 has room for 30 bits of nanoseconds; a hostile value must not reach the kernel. */
    return (struct timespec){.tv_sec = use->sec, .tv_nsec = (long)vd_min(use->nsec, 999999999)};
}

static void fill_object(const struct tree *tree, const struct fs_attr *a, struct stat *st)
{
    const struct tree_options *o = &tree->options;
    uint64_t stored = a->allocated ? a->allocated / 512 : vd_div_up(a->size, 512);

    st->st_mode = tree_type_bits(a->kind) | permissions(o, a);
    st->st_uid = a->has_owner && !o->force_uid ? a->uid : o->uid;
    st->st_gid = a->has_owner && !o->force_gid ? a->gid : o->gid;
    st->st_nlink = a->nlink ? a->nlink : 1;
    st->st_size = (off_t)vd_min(a->size, VD_MAX_SIZE);
    st->st_blocks = (blkcnt_t)vd_min(stored, VD_MAX_SIZE);
    st->st_blksize = FILE_BLKSIZE;
    /* A file system without one of the times (FAT has no ctime): the next best, not 1970. */
    st->st_mtim = time_of(&a->mtime, &a->btime);
    st->st_atim = time_of(&a->atime, &a->mtime);
    st->st_ctim = time_of(&a->ctime, &a->mtime);
}

static void fill_times(struct stat *st, int64_t sec, uint32_t nsec)
{
    st->st_mtim = (struct timespec){.tv_sec = sec, .tv_nsec = nsec};
    st->st_atim = st->st_ctim = st->st_mtim;
}

static nlink_t dir_links(const struct tree *tree, const struct place *p)
{
    if (!p->point)
        return 1; /* not open: the number of directories is not known */
    if (p->volume)
        return p->fs ? 3 : 2;
    if (p->id.payload == NODE_DIR)
        return 2 + p->point->p->n + (p->point->p->table.n_gaps != 0) +
               (p->point == &tree->shown && tree->snapshots.n);
    return 2 + (p->id.payload == NODE_SNAPSHOTS ? tree->snapshots.n + (tree->snapshots.n_links != 0)
                                                : 0);
}

static mode_t synthetic_mode(const struct tree_options *o, const struct place *p)
{
    mode_t mode = p->what == PLACE_DIR ? S_IFDIR | 0555 : S_IFREG | 0444;

    return p->what == PLACE_LINK ? S_IFLNK | 0777 : mode & ~(o->has_umask ? o->umask & 0777 : 0);
}

/* The text tells of this mount; the directory of an older point has the date of its snapshot. */
static void synthetic_times(const struct tree *tree, const struct place *p, struct stat *st)
{
    const struct evidence_id *file = &tree->chain->v[p->member]->file;
    const struct chain_name *name = tree->chain->name ? &tree->chain->name[p->member] : NULL;

    if (p->what == PLACE_TEXT)
        fill_times(st, tree->options.mount_time, 0);
    else if (!p->point && name && name->has_created)
        fill_times(st, name->created_sec, name->created_nsec);
    else
        fill_times(st, file->mtime_sec, file->mtime_nsec);
}

static void fill_synthetic(const struct tree *tree, const struct place *p, struct stat *st)
{
    uint64_t size = p->size;

    if (p->what == PLACE_TEXT)
        size = p->text->len;
    else if (p->what == PLACE_LINK)
        size = strlen(p->target);
    st->st_mode = synthetic_mode(&tree->options, p);
    st->st_uid = tree->options.uid;
    st->st_gid = tree->options.gid;
    st->st_nlink = p->what == PLACE_DIR ? dir_links(tree, p) : 1;
    st->st_size = (off_t)size; /* <= VD_MAX_SIZE, see blkdev.h */
    st->st_blocks = (blkcnt_t)vd_div_up(size, 512);
    st->st_blksize = p->what == PLACE_IMAGE ? IMAGE_BLKSIZE : FILE_BLKSIZE;
    synthetic_times(tree, p, st);
}

int tree_getattr(struct tree *tree, uint64_t node, struct stat *out, struct vd_err *err)
{
    struct fs_attr attr = {0};
    struct stat st = {.st_ino = node};
    VD_AUTO(place) struct place p;
    int rc = tree_find(tree, node, &p, err);

    if (rc)
        return rc;
    if (p.what == PLACE_OBJECT || p.what == PLACE_STREAM) {
        rc = tree_fs_attr(&p, &attr, err);
        if (rc)
            return rc;
        fill_object(tree, &attr, &st);
    } else {
        fill_synthetic(tree, &p, &st);
    }
    *out = st;
    return 0;
}

bool tree_birth_time(struct tree *tree, uint64_t node, struct timespec *out)
{
    struct fs_attr attr = {0};
    VD_AUTO(place) struct place p;

    if (tree_find(tree, node, &p, NULL) || (p.what != PLACE_OBJECT && p.what != PLACE_STREAM) ||
        tree_fs_attr(&p, &attr, NULL) || !attr.btime.known)
        return false;
    *out = time_of(&attr.btime, &attr.btime);
    return true;
}
