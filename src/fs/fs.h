/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File systems: one interface; implementations: fs/ntfs/, fs/ext/, fs/iso/ and fs/tsk*.c (the rest,
 * through libtsk).
 *
 * An object is named by its *address* (NTFS MFT entry, ext inode number …) and, for content other
 * than the main one, by a *stream* id (NTFS attribute id of an alternate data stream; 0 = the main
 * content).  Addresses fit 48 bits, stream ids 16.  After open, an fs is immutable but for caches
 * with locks of their own; every function may be called from any thread.
 */
#ifndef VD_FS_FS_H
#define VD_FS_FS_H

#include "base/facts.h"
#include "blk/blkdev.h"

#include <time.h>

#define FS_ADDR_MAX ((UINT64_C(1) << 48) - 1)

struct fs;

enum fs_kind { FS_FILE, FS_DIR, FS_SYMLINK, FS_CHARDEV, FS_BLOCKDEV, FS_FIFO, FS_SOCKET };

/* A time as the evidence has it.  `known` is false where the file system has no such time. */
struct fs_time {
    bool known;
    int64_t sec; /* since 1970, negative before */
    uint32_t nsec;
};

#define FS_ATTR_COMPRESSED (1u << 0)
#define FS_ATTR_ENCRYPTED  (1u << 1) /* content is ciphertext */
#define FS_ATTR_SPARSE     (1u << 2)
#define FS_ATTR_DELETED    (1u << 3)
#define FS_ATTR_REPARSE    (1u << 4)
#define FS_ATTR_META       (1u << 5) /* a file-system metadata file ($MFT …) */

struct fs_attr {
    enum fs_kind kind;
    uint64_t size;      /* bytes of the stream asked for */
    uint64_t allocated; /* bytes allocated, 0 when unknown */
    uint32_t mode;      /* permission bits 07777; meaningful when has_owner */
    uint32_t uid, gid;
    bool has_owner;    /* POSIX owner and mode stand in the evidence (ext, HFS+, UFS) */
    uint32_t nlink;    /* >= 1 */
    uint32_t flags;    /* FS_ATTR_* */
    uint32_t sequence; /* NTFS sequence number; 0 elsewhere */
    struct fs_time mtime, atime, ctime, btime;
    struct fs_time fn_mtime, fn_atime, fn_ctime, fn_btime; /* NTFS $FILE_NAME */
};

/* One live entry of a directory. */
struct fs_entry {
    const char *name; /* raw bytes as the evidence has them, any byte but NUL; borrowed for the
                         call; UTF-8 where the file system stores UTF-16: there a lone surrogate is
                         its three bytes (WTF-8) and U+0000 is C0 80, both invalid UTF-8 */
    size_t name_len;
    uint64_t addr;
    uint16_t stream; /* != 0: an alternate data stream, name is "file:stream" */
    enum fs_kind kind;
};

/* Facts about the open file system. */
struct fs_info {
    char type[32];             /* "ntfs", "ext4", "fat32", "exfat", "hfs+", "iso9660" … */
    char label[160], uuid[64]; /* printable, "" unknown */
    uint32_t block_size;
    uint64_t n_blocks;
    uint64_t root_addr;
    uint64_t last_addr;
};

/* To be called once in main(), before threads start and before a sandbox is put on: libtsk works
 * with local time, so TZ is set to UTC for the process.  fs_open does it too (once), which is safe
 * only while no other thread reads the environment. */
void fs_init(void);

/* Opens the volume `vol` (a reference is taken on success).  VD_ENOTFORMAT: no file system that
 * any implementation knows.  Label prefixes errors ("p1"). */
int fs_open(struct blkdev *vol, const char *label, struct fs **out, struct vd_err *err);
void fs_free(struct fs *fs);
const struct fs_info *fs_get_info(const struct fs *fs);
void fs_describe(struct fs *fs, vd_fact_fn *fn, void *ctx);

/* Looks a raw name up in a directory, byte for byte (case matters, NTFS too); of several entries
 * with that name, the first in the order of fs_readdir.  "file:stream" finds an alternate data
 * stream where the file system has them and no entry has that very name.  VD_ENOENT when absent.
 * out->name is not set. */
int fs_lookup(struct fs *fs, uint64_t dir_addr, const char *name, size_t name_len,
              struct fs_entry *out, struct vd_err *err);

/* Calls fn for each live entry from `cookie` on (0 = first; "." and ".." are never reported);
 * fn gets the cookie to continue after this entry and stops the walk by returning non-zero.
 * Entries come in an order that is the same at every call.  Names may repeat and may hold any
 * byte: the tree escapes and disambiguates. */
typedef int fs_entry_fn(void *ctx, const struct fs_entry *entry, uint64_t next_cookie);
int fs_readdir(struct fs *fs, uint64_t dir_addr, uint64_t cookie, fs_entry_fn *fn, void *ctx,
               struct vd_err *err);

/* Metadata of an object; `stream` selects whose size is told. */
int fs_getattr(struct fs *fs, uint64_t addr, uint16_t stream, struct fs_attr *out,
               struct vd_err *err);

/* Reads up to len bytes at off; *out_len < len only at the end of the stream.  Bytes that cannot be
 * had make the call fail (vd_at: first bad offset within the stream), never zeros. */
int fs_read(struct fs *fs, uint64_t addr, uint16_t stream, uint64_t off, void *buf, size_t len,
            size_t *out_len, struct vd_err *err);

/* Target of a symbolic link, raw bytes; *out is the caller's (free), NUL-terminated.  NTFS: the
 * substitute name in UTF-8, as it stands ("\\??\\C:\\dir"), but in a relative link '\\' becomes
 * '/'. */
int fs_readlink(struct fs *fs, uint64_t addr, char **out, size_t *out_len, struct vd_err *err);

/* Alternate data streams of an object. */
struct fs_stream {
    const char *name; /* raw UTF-8, borrowed for the call */
    uint16_t stream;
    uint64_t size;
};
typedef int fs_stream_fn(void *ctx, const struct fs_stream *stream);
int fs_streams(struct fs *fs, uint64_t addr, fs_stream_fn *fn, void *ctx, struct vd_err *err);

/* ---- an implementation (fs.c dispatches) ---- */
struct fs_type {
    const char *name;
    /* VD_ENOTFORMAT when the signature is not there; any other error: it is, but damaged or not
     * supported. */
    int (*open)(struct blkdev *vol, const char *label, struct fs **out, struct vd_err *err);
    void (*close)(struct fs *fs);
    void (*describe)(struct fs *fs, vd_fact_fn *fn, void *ctx);
    int (*lookup)(struct fs *fs, uint64_t dir_addr, const char *name, size_t name_len,
                  struct fs_entry *out, struct vd_err *err);
    int (*readdir)(struct fs *fs, uint64_t dir_addr, uint64_t cookie, fs_entry_fn *fn, void *ctx,
                   struct vd_err *err);
    int (*getattr)(struct fs *fs, uint64_t addr, uint16_t stream, struct fs_attr *out,
                   struct vd_err *err);
    int (*read)(struct fs *fs, uint64_t addr, uint16_t stream, uint64_t off, void *buf, size_t len,
                size_t *out_len, struct vd_err *err);
    int (*readlink)(struct fs *fs, uint64_t addr, char **out, size_t *out_len, struct vd_err *err);
    int (*streams)(struct fs *fs, uint64_t addr, fs_stream_fn *fn, void *ctx,
                   struct vd_err *err); /* NULL: the format has none */
};

struct fs {
    const struct fs_type *type;
    struct fs_info info;
    struct blkdev *vol; /* owned reference */
    char *label;
    struct vd_facts facts; /* found while opening; immutable afterwards */
    void *priv;
};

extern const struct fs_type fs_type_tsk; /* FAT, exFAT, HFS+, UFS */
extern const struct fs_type fs_type_ntfs;
extern const struct fs_type fs_type_ext; /* ext2, ext3, ext4 */
extern const struct fs_type fs_type_iso;

/* For implementations: allocates the common part; takes a reference to `vol`, copies `label`.
 * `priv` stays the caller's on failure. */
int fs_new(const struct fs_type *type, struct blkdev *vol, const char *label, void *priv,
           struct fs **out, struct vd_err *err);

#endif
