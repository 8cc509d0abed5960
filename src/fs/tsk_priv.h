/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to src/fs/tsk*.c, the only files that include libtsk (4.11.1).
 *
 * Rule for every call into libtsk: take tsk->lock, tsk_io_begin(), call, tsk_finish() - because
 * libtsk 4.11.1 turns some read errors into zeros and success (tsk_img_read with a length that is
 * no multiple of 512), its results count only if no read below failed meanwhile.  File data never
 * goes through libtsk: run lists are copied once and read through the volume, without the lock.
 */
#ifndef VD_FS_TSK_PRIV_H
#define VD_FS_TSK_PRIV_H

#include "fs/cache.h"
#include "fs/content.h"
#include "fs/dirlist.h"
#include "fs/fs.h"

#include <pthread.h>

#include <tsk/libtsk.h>

/* Where things lie on an exFAT volume, bytes. */
struct tsk_exfat_geometry {
    uint64_t fat_at, heap_at;
    uint32_t n_clusters, cluster_bytes;
};

struct tsk_fs {
    pthread_mutex_t lock; /* all of libtsk for this volume */
    TSK_IMG_INFO *img;
    TSK_FS_INFO *info;
    struct tsk_exfat_geometry exfat; /* exFAT only */
    struct fs_cache *dirs;           /* (addr, 0) → struct fs_dirlist */
    struct fs_cache *contents;       /* (addr, stream) → struct fs_content */
};

/* ---- tsk_io.c ---- */
/* libtsk's view of the volume (borrowed; must outlive it).  Freed by tsk_img_close. */
int tsk_image_new(struct blkdev *vol, TSK_IMG_INFO **out, struct vd_err *err);

/* Forgets errors of this thread, before a call into libtsk. */
void tsk_io_begin(void);

/* After it: a read below failed → that error; else `failed` → libtsk's own, with its text. */
int tsk_finish(bool failed, const char *doing, struct vd_err *err);

/* ---- tsk_data.c ---- */
/* Stream number of an HFS+ resource fork. */
#define TSK_STREAM_RSRC 1

/* Content of (addr, stream), from the cache or made; the reference is given back with
 * fs_cache_put(tsk->contents). */
int tsk_content_get(struct fs *fs, uint64_t addr, uint64_t stream, struct fs_cached **out,
                    struct vd_err *err);

/* The address after the last one that may be given to libtsk. */
uint64_t tsk_end_addr(const struct tsk_fs *tsk);

/* Opens the metadata of an allocated, real object; lock held.  VD_ENOENT otherwise. */
int tsk_open_object(struct tsk_fs *tsk, uint64_t addr, TSK_FS_FILE **out, struct vd_err *err);

enum fs_kind tsk_kind(TSK_FS_META_TYPE_ENUM type);

/* ---- tsk_dir.c ---- */
int tsk_dir_get(struct fs *fs, uint64_t addr, struct fs_cached **out, struct vd_err *err);

/* ---- tsk_exfat.c: what libtsk does not tell of exFAT ---- */
struct tsk_exfat_entry {
    struct fs_time mtime, atime, btime;
    uint64_t valid_len; /* valid data length, bytes */
    bool is_system;     /* allocation bitmap or up-case table: metadata, without times */
};

int tsk_exfat_geometry(struct blkdev *vol, struct tsk_exfat_geometry *out, struct vd_err *err);

/* libtsk lists directory entries of every type, under names like $VOLUME_GUID.  Does this one have
 * content (file, directory, allocation bitmap, up-case table)?  True when it cannot be read. */
bool tsk_exfat_is_object(struct fs *fs, uint64_t addr);

/* Reads the directory entries of a file or directory (not the root) from the volume. */
int tsk_exfat_entry(struct fs *fs, uint64_t addr, struct tsk_exfat_entry *out, struct vd_err *err);

#endif
