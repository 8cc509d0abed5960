/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories through libtsk: opened once, under the lock, and copied into a list of ours.
 *
 * Live means: the name is allocated and what it names is allocated.  In FAT and exFAT the entry is
 * both; HFS+ has no deleted names in its tree; in UFS the inode is looked at.
 * libtsk's own additions ($OrphanFiles, $MBR, $FAT1 …, all of type "virtual") are left out: they
 * are no files of the evidence, and volume.img has the bytes.
 */
#include "fs/tsk_priv.h"

#include <string.h>

/* libtsk adds this to the name of the directory entry that holds the volume label */
static const char label_suffix[] = " (Volume Label Entry)";

static bool is_label(const TSK_FS_NAME *name)
{
    size_t len = strlen(name->name), n = sizeof(label_suffix) - 1;

    return len >= n && strcmp(name->name + len - n, label_suffix) == 0;
}

static enum fs_kind kind_of_name(TSK_FS_NAME_TYPE_ENUM type)
{
    switch ((unsigned)type) {
    case TSK_FS_NAME_TYPE_DIR:
        return FS_DIR;
    case TSK_FS_NAME_TYPE_LNK:
        return FS_SYMLINK;
    case TSK_FS_NAME_TYPE_CHR:
        return FS_CHARDEV;
    case TSK_FS_NAME_TYPE_BLK:
        return FS_BLOCKDEV;
    case TSK_FS_NAME_TYPE_FIFO:
        return FS_FIFO;
    case TSK_FS_NAME_TYPE_SOCK:
        return FS_SOCKET;
    default:
        return FS_FILE;
    }
}

/* lock held */
static int add_name(struct fs *fs, const TSK_FS_NAME *name, struct fs_dirlist *list,
                    struct vd_err *err)
{
    struct tsk_fs *tsk = fs->priv;
    bool fat = TSK_FS_TYPE_ISFAT(tsk->info->ftype);
    enum fs_kind kind = kind_of_name(name->type);

    if (!name->name || !(name->flags & TSK_FS_NAME_FLAG_ALLOC) ||
        name->type == TSK_FS_NAME_TYPE_VIRT || name->type == TSK_FS_NAME_TYPE_VIRT_DIR ||
        name->meta_addr >= tsk_end_addr(tsk) || (fat && is_label(name)))
        return 0;
    if (tsk->info->ftype == TSK_FS_TYPE_EXFAT && name->name[0] == '$' &&
        !tsk_exfat_is_object(fs, name->meta_addr))
        return 0;
    if (name->type == TSK_FS_NAME_TYPE_UNDEF || TSK_FS_TYPE_ISFFS(tsk->info->ftype)) {
        struct vd_err e = VD_ERR_INIT;
        TSK_FS_FILE *file;
        int rc = tsk_open_object(tsk, name->meta_addr, &file, &e);

        if (rc == -VD_ENOENT || rc == -VD_ENOMEM)
            return rc == -VD_ENOENT ? 0 : vd_fail(err, VD_ENOMEM, "out of memory");
        if (!rc) { /* an object that cannot be read keeps its name, and fails when it is used */
            kind = tsk_kind(file->meta->type);
            tsk_fs_file_close(file);
        }
    }
    return fs_dirlist_add(list, name->name, strlen(name->name), name->meta_addr, kind, err);
}

/* lock held */
static int load(struct fs *fs, uint64_t addr, struct fs_dirlist *list, struct vd_err *err)
{
    struct tsk_fs *tsk = fs->priv;
    TSK_FS_FILE *file = NULL;
    TSK_FS_DIR *dir;
    size_t i, n;
    bool is_dir;
    int rc = tsk_open_object(tsk, addr, &file, err);

    if (rc)
        return rc;
    is_dir = tsk_kind(file->meta->type) == FS_DIR;
    tsk_fs_file_close(file);
    if (!is_dir)
        return vd_fail(err, VD_EUSAGE, "not a directory");
    tsk_io_begin();
    dir = tsk_fs_dir_open_meta(tsk->info, addr);
    rc = tsk_finish(!dir, "directory", err);
    n = rc ? 0 : tsk_fs_dir_getsize(dir);
    for (i = 0; i < n && !rc; i++) {
        const TSK_FS_NAME *name = tsk_fs_dir_get_name(dir, i);

        if (name)
            rc = add_name(fs, name, list, err);
    }
    tsk_fs_dir_close(dir);
    return rc;
}

static int make(void *ctx, uint64_t addr, uint64_t unused, void **out_object, size_t *out_cost,
                struct vd_err *err)
{
    struct fs *fs = ctx;
    struct tsk_fs *tsk = fs->priv;
    struct fs_dirlist *list = fs_dirlist_new();
    int rc;

    (void)unused;
    if (!list)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    (void)pthread_mutex_lock(&tsk->lock);
    rc = load(fs, addr, list, err);
    (void)pthread_mutex_unlock(&tsk->lock);
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

int tsk_dir_get(struct fs *fs, uint64_t addr, struct fs_cached **out, struct vd_err *err)
{
    struct tsk_fs *tsk = fs->priv;

    return fs_cache_get(tsk->dirs, addr, 0, make, fs, out, err);
}
