/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FAT, exFAT, HFS+ and UFS through libtsk 4.11.1.
 *
 * The type is found by signature and given to libtsk explicitly (its own detection reads 25 MiB
 * and is silent about contradictions).  What libtsk is used for: metadata, names and run lists, one
 * call at a time under tsk->lock.  What it is not used for: file data (tsk_data.c), paths, walks,
 * $OrphanFiles, APFS (crashes on hostile images), YAFFS2 (no signature), NTFS, ext and ISO 9660
 * (readers of our own).
 *
 * Threads: tsk->lock is a leaf lock, taken inside the caches' "make" with no other lock held.
 */
#include "fs/tsk_priv.h"

#include "base/bytes.h"
#include "base/limits.h"
#include "base/range.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

/* Budgets of the caches, bytes: about 100,000 directory entries, and run tables of about 500,000
 * runs. */
#define DIRS_BUDGET     (16u << 20)
#define CONTENTS_BUDGET (16u << 20)

#define BOOT_BYTES 512u

/* Reads a piece for a signature; false when the volume is too small.  An I/O error is kept. */
static bool peek(struct blkdev *vol, uint64_t off, void *buf, size_t len, int *rc,
                 struct vd_err *err)
{
    struct vd_err e = VD_ERR_INIT;
    int one;

    if (!vd_range_inside(off, len, vol->size))
        return false;
    one = blk_read(vol, off, buf, len, &e);
    if (one && !*rc) {
        *rc = one;
        if (err)
            *err = e;
    }
    return !one;
}

/* Is this a BIOS parameter block of FAT12/16/32 (Microsoft FAT specification, section 3)?  Strict,
 * because other boot sectors end in 55AA too. */
static bool is_fat_boot(const uint8_t *b)
{
    unsigned bps = vd_le16(b + 11), spc = b[13], media = b[21];

    return b[510] == 0x55 && b[511] == 0xaa && vd_is_pow2(bps) && bps >= 512 && bps <= 4096 &&
           vd_is_pow2(spc) && vd_le16(b + 14) && b[16] >= 1 && b[16] <= 4 &&
           (media == 0xf0 || media >= 0xf8) && (vd_le16(b + 19) || vd_le32(b + 32)) &&
           (vd_le16(b + 22) || vd_le32(b + 36)) && memcmp(b + 3, "NTFS    ", 8) != 0 &&
           memcmp(b + 3, "EXFAT   ", 8) != 0 && memcmp(b + 3, "-FVE-FS-", 8) != 0 &&
           memcmp(b + 3, "MSWIN4.1\0BDE", 12) != 0;
}

static bool is_ufs(struct blkdev *vol, int *rc, struct vd_err *err)
{
    static const uint64_t places[] = {65536, 8192, 262144};
    size_t i;
    uint8_t m[4];

    for (i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        /* fs_magic, UFS1 and UFS2, in either byte order (ufs/ffs/fs.h) */
        if (peek(vol, places[i] + 1372, m, 4, rc, err) &&
            (vd_le32(m) == 0x011954 || vd_be32(m) == 0x011954 || vd_le32(m) == 0x19540119 ||
             vd_be32(m) == 0x19540119))
            return true;
    }
    return false;
}

#define MAX_CANDIDATES 3

/* The types whose signature is on the volume, in the order in which they are tried. */
static unsigned candidates(struct blkdev *vol, TSK_FS_TYPE_ENUM out[MAX_CANDIDATES], int *rc,
                           struct vd_err *err)
{
    uint8_t boot[BOOT_BYTES] = {0}, hfs[2] = {0};
    unsigned n = 0;

    if (peek(vol, 0, boot, sizeof(boot), rc, err)) {
        if (memcmp(boot + 3, "EXFAT   ", 8) == 0)
            out[n++] = TSK_FS_TYPE_EXFAT;
        else if (is_fat_boot(boot))
            /* No 16-bit FAT size and no fixed root directory is the layout of FAT32, whatever the
             * number of clusters says (mkfs.fat -F 32 on a small volume; Linux reads it so).  Left
             * to detect, libtsk goes by the clusters alone and refuses. */
            out[n++] = vd_le16(boot + 22) == 0 && vd_le16(boot + 17) == 0 ? TSK_FS_TYPE_FAT32
                                                                          : TSK_FS_TYPE_FAT_DETECT;
    }
    if (peek(vol, 1024, hfs, sizeof(hfs), rc, err) &&
        (memcmp(hfs, "H+", 2) == 0 || memcmp(hfs, "HX", 2) == 0 || memcmp(hfs, "BD", 2) == 0))
        out[n++] = TSK_FS_TYPE_HFS_DETECT;
    if (is_ufs(vol, rc, err))
        out[n++] = TSK_FS_TYPE_FFS_DETECT;
    return n;
}

static void tsk_fs_shut(struct tsk_fs *tsk)
{
    if (!tsk)
        return;
    fs_cache_free(tsk->dirs);
    fs_cache_free(tsk->contents);
    if (tsk->info)
        tsk_fs_close(tsk->info);
    if (tsk->img)
        tsk_img_close(tsk->img);
    (void)pthread_mutex_destroy(&tsk->lock);
    free(tsk);
}

static int check_geometry(const struct tsk_fs *tsk, struct vd_err *err)
{
    const TSK_FS_INFO *info = tsk->info;

    if (info->ftype == TSK_FS_TYPE_HFS_LEGACY)
        return vd_fail(err, VD_EUNSUPPORTED, "HFS (not HFS+) is not read by this version");
    if (!info->block_size || info->offset < 0 || info->last_inum > FS_ADDR_MAX)
        return vd_fail(err, VD_ECORRUPT, "impossible block size or number of objects");
    return 0;
}

static int open_as(struct blkdev *vol, TSK_FS_TYPE_ENUM type, struct tsk_fs **out,
                   struct vd_err *err)
{
    struct tsk_fs *tsk = calloc(1, sizeof(*tsk));
    int rc;

    if (!tsk)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    (void)pthread_mutex_init(&tsk->lock, NULL);
    rc = tsk_image_new(vol, &tsk->img, err);
    if (!rc) {
        tsk_io_begin();
        tsk->info = tsk_fs_open_img(tsk->img, 0, type);
        rc = tsk_finish(!tsk->info, "opening", err);
    }
    if (!rc && tsk->info)
        rc = check_geometry(tsk, err);
    if (!rc && tsk->info && tsk->info->ftype == TSK_FS_TYPE_EXFAT)
        rc = tsk_exfat_geometry(vol, &tsk->exfat, err);
    if (!rc)
        rc = fs_cache_new(DIRS_BUDGET, fs_dirlist_free, &tsk->dirs, err);
    if (!rc)
        rc = fs_cache_new(CONTENTS_BUDGET, fs_content_free, &tsk->contents, err);
    if (rc) {
        tsk_fs_shut(tsk);
        return rc;
    }
    *out = tsk;
    return 0;
}

static const char *type_name(TSK_FS_TYPE_ENUM type)
{
    switch ((unsigned)type) {
    case TSK_FS_TYPE_FAT12:
        return "fat12";
    case TSK_FS_TYPE_FAT16:
        return "fat16";
    case TSK_FS_TYPE_FAT32:
        return "fat32";
    case TSK_FS_TYPE_EXFAT:
        return "exfat";
    case TSK_FS_TYPE_HFS:
        return "hfs+";
    case TSK_FS_TYPE_FFS1:
    case TSK_FS_TYPE_FFS1B:
        return "ufs1";
    case TSK_FS_TYPE_FFS2:
        return "ufs2";
    default:
        return "unknown";
    }
}

/* A label padded with blanks, as FAT stores it. */
static void copy_label(struct fs_info *info, const uint8_t *p, size_t len)
{
    while (len && (p[len - 1] == ' ' || p[len - 1] == 0))
        len--;
    (void)vd_text_printable((const char *)p, len, info->label, sizeof(info->label));
}

/* Label and serial number where they stand at a fixed place; "" is fine. */
static void read_names(struct fs *fs, TSK_FS_TYPE_ENUM type)
{
    uint8_t b[BOOT_BYTES];
    bool fat32 = type == TSK_FS_TYPE_FAT32, exfat = type == TSK_FS_TYPE_EXFAT;
    size_t serial = exfat ? 100 : fat32 ? 67 : 39;

    if (type == TSK_FS_TYPE_HFS || TSK_FS_TYPE_ISFFS(type) || fs->vol->size < sizeof(b) ||
        blk_read(fs->vol, 0, b, sizeof(b), NULL))
        return;
    if (!exfat && b[serial - 1] != 0x29) /* no extended boot signature */
        return;
    (void)snprintf(fs->info.uuid, sizeof(fs->info.uuid), "%04X-%04X", vd_le16(b + serial + 2),
                   vd_le16(b + serial));
    if (!exfat && memcmp(b + serial + 4, "NO NAME    ", 11) != 0)
        copy_label(&fs->info, b + serial + 4, 11);
}

static void tsk_fill_info(struct fs *fs)
{
    const struct tsk_fs *tsk = fs->priv;
    const TSK_FS_INFO *info = tsk->info;

    (void)vd_text_copy(fs->info.type, sizeof(fs->info.type), type_name(info->ftype));
    fs->info.block_size = info->block_size;
    fs->info.n_blocks = info->block_count;
    fs->info.root_addr = info->root_inum;
    fs->info.last_addr = tsk_end_addr(tsk) - 1;
    read_names(fs, info->ftype);
    if (info->last_block_act < info->last_block)
        vd_fact_add(&fs->facts, VD_FACT_WARNING, "volume_short",
                    "the file system has %llu blocks, the volume ends after %llu",
                    (unsigned long long)info->block_count,
                    (unsigned long long)info->last_block_act + 1);
}

static int tsk_open(struct blkdev *vol, const char *label, struct fs **out, struct vd_err *err)
{
    TSK_FS_TYPE_ENUM type[MAX_CANDIDATES];
    struct tsk_fs *tsk = NULL;
    int io_rc = 0, rc = -VD_ENOTFORMAT;
    unsigned i, n = candidates(vol, type, &io_rc, err);
    struct vd_facts facts = VD_FACTS_INIT;
    struct fs *fs;

    if (!n)
        return io_rc ? io_rc : vd_fail(err, VD_ENOTFORMAT, "no signature");
    for (i = 0; i < n; i++) {
        struct tsk_fs *other = NULL;
        struct vd_err e = VD_ERR_INIT;
        int one = open_as(vol, type[i], &other, &e);

        if (!one && !tsk) {
            tsk = other;
            continue;
        }
        vd_fact_add(&facts, VD_FACT_WARNING, "ambiguous", one ? "%s" : "also readable as %s",
                    one ? e.msg : type_name(other->info->ftype));
        tsk_fs_shut(other);
        if (one && rc == -VD_ENOTFORMAT) {
            rc = one;
            if (err)
                *err = e;
        }
    }
    rc = tsk ? fs_new(&fs_type_tsk, vol, label, tsk, &fs, err) : rc;
    if (rc) {
        tsk_fs_shut(tsk);
        vd_facts_clear(&facts);
        return rc;
    }
    fs->facts = facts;
    tsk_fill_info(fs);
    *out = fs;
    return 0;
}

static void tsk_close(struct fs *fs)
{
    tsk_fs_shut(fs->priv);
}

static int tsk_lookup(struct fs *fs, uint64_t dir_addr, const char *name, size_t name_len,
                      struct fs_entry *out, struct vd_err *err)
{
    struct tsk_fs *tsk = fs->priv;
    struct fs_cached *ref = NULL;
    int rc = tsk_dir_get(fs, dir_addr, &ref, err);

    if (rc)
        return rc;
    rc = fs_dirlist_find(ref->object, name, name_len, out, err);
    fs_cache_put(tsk->dirs, ref);
    return rc;
}

static int tsk_readdir(struct fs *fs, uint64_t dir_addr, uint64_t cookie, fs_entry_fn *fn,
                       void *ctx, struct vd_err *err)
{
    struct tsk_fs *tsk = fs->priv;
    struct fs_cached *ref = NULL;
    int rc = tsk_dir_get(fs, dir_addr, &ref, err);

    if (rc)
        return rc;
    rc = fs_dirlist_walk(ref->object, cookie, fn, ctx, err);
    fs_cache_put(tsk->dirs, ref);
    return rc;
}

/* 0 is libtsk's word for "no such time".  libtsk reads the 32-bit times of UFS1 and HFS+ as
 * unsigned: what lies past 2038 there is in truth before 1970 (UFS1) or after 2040 (HFS+, which
 * cannot be). */
static struct fs_time time_of(const struct tsk_fs *tsk, time_t sec, uint32_t nsec)
{
    struct fs_time t = {.known = sec != 0, .sec = sec, .nsec = nsec < 1000000000u ? nsec : 0};

    if ((tsk->info->ftype == TSK_FS_TYPE_FFS1 || tsk->info->ftype == TSK_FS_TYPE_FFS1B) &&
        t.sec > INT32_MAX)
        t.sec -= INT64_C(1) << 32;
    return t;
}

static void attr_of(const struct tsk_fs *tsk, const TSK_FS_META *meta, struct fs_attr *out)
{
    TSK_FS_TYPE_ENUM type = tsk->info->ftype;

    out->kind = tsk_kind(meta->type);
    out->size = meta->size > 0 ? (uint64_t)meta->size : 0;
    out->mode = (uint32_t)meta->mode & 07777u;
    out->uid = meta->uid;
    out->gid = meta->gid;
    out->has_owner = type == TSK_FS_TYPE_HFS || TSK_FS_TYPE_ISFFS(type);
    out->nlink = meta->nlink > 0 ? (uint32_t)meta->nlink : 1;
    out->flags = meta->flags & TSK_FS_META_FLAG_COMP ? FS_ATTR_COMPRESSED : 0;
    if (type == TSK_FS_TYPE_HFS && meta->addr < 16 && meta->addr != tsk->info->root_inum)
        out->flags |= FS_ATTR_META; /* reserved catalog node ids, TN1150 */
    out->mtime = time_of(tsk, meta->mtime, meta->mtime_nano);
    out->atime = time_of(tsk, meta->atime, meta->atime_nano);
    out->ctime = time_of(tsk, meta->ctime, meta->ctime_nano);
    out->btime = time_of(tsk, meta->crtime, meta->crtime_nano);
}

static int tsk_getattr(struct fs *fs, uint64_t addr, uint16_t stream, struct fs_attr *out,
                       struct vd_err *err)
{
    struct tsk_fs *tsk = fs->priv;
    TSK_FS_TYPE_ENUM type = tsk->info->ftype;
    struct fs_cached *ref = NULL;
    TSK_FS_FILE *file = NULL;
    int rc;

    (void)pthread_mutex_lock(&tsk->lock);
    rc = tsk_open_object(tsk, addr, &file, err);
    if (!rc) {
        attr_of(tsk, file->meta, out);
        tsk_fs_file_close(file);
    }
    (void)pthread_mutex_unlock(&tsk->lock);
    if (!rc && type == TSK_FS_TYPE_EXFAT && addr != tsk->info->root_inum) {
        struct tsk_exfat_entry entry = {0};

        rc = tsk_exfat_entry(fs, addr, &entry, err);
        out->flags |= entry.is_system ? FS_ATTR_META : 0;
        out->mtime = entry.mtime;
        out->atime = entry.atime;
        out->btime = entry.btime;
    }
    /* in HFS+ a compressed file's size stands with its content, and so does a resource fork's */
    if (!rc && (stream || (type == TSK_FS_TYPE_HFS && out->flags & FS_ATTR_COMPRESSED))) {
        rc = tsk_content_get(fs, addr, stream, &ref, err);
        if (!rc) {
            out->size = ((const struct fs_content *)ref->object)->size;
            fs_cache_put(tsk->contents, ref);
        }
    }
    return rc;
}

static int tsk_read(struct fs *fs, uint64_t addr, uint16_t stream, uint64_t off, void *buf,
                    size_t len, size_t *out_len, struct vd_err *err)
{
    struct tsk_fs *tsk = fs->priv;
    struct fs_cached *ref = NULL;
    int rc = tsk_content_get(fs, addr, stream, &ref, err);

    if (rc)
        return rc;
    rc = fs_content_read(ref->object, fs->vol, off, buf, len, out_len, err);
    fs_cache_put(tsk->contents, ref);
    return rc;
}

static int tsk_readlink(struct fs *fs, uint64_t addr, char **out, size_t *out_len,
                        struct vd_err *err)
{
    struct tsk_fs *tsk = fs->priv;
    TSK_FS_FILE *file = NULL;
    int rc;

    (void)pthread_mutex_lock(&tsk->lock);
    rc = tsk_open_object(tsk, addr, &file, err);
    if (!rc) {
        if (file->meta->type != TSK_FS_META_TYPE_LNK)
            rc = vd_fail(err, VD_EUSAGE, "not a symbolic link");
        else if (!file->meta->link)
            rc = vd_fail(err, VD_ECORRUPT, "symbolic link without a target");
        else if (!(*out = strdup(file->meta->link)))
            rc = vd_fail(err, VD_ENOMEM, "out of memory");
        else
            *out_len = strlen(*out);
        tsk_fs_file_close(file);
    }
    (void)pthread_mutex_unlock(&tsk->lock);
    return rc;
}

/* The resource fork of an HFS+ file is its one other stream. */
static int tsk_streams(struct fs *fs, uint64_t addr, fs_stream_fn *fn, void *ctx,
                       struct vd_err *err)
{
    struct tsk_fs *tsk = fs->priv;
    struct fs_stream stream = {.name = "rsrc", .stream = TSK_STREAM_RSRC};
    const TSK_FS_ATTR *attr = NULL;
    TSK_FS_FILE *file = NULL;
    int i, n, rc;

    if (tsk->info->ftype != TSK_FS_TYPE_HFS)
        return 0;
    (void)pthread_mutex_lock(&tsk->lock);
    rc = tsk_open_object(tsk, addr, &file, err);
    if (!rc) {
        tsk_io_begin();
        n = file->meta->type == TSK_FS_META_TYPE_REG ? tsk_fs_file_attr_getsize(file) : 0;
        for (i = 0; i < n && !stream.size; i++) {
            attr = tsk_fs_file_attr_get_idx(file, i);
            if (attr && attr->type == TSK_FS_ATTR_TYPE_HFS_RSRC && attr->size > 0)
                stream.size = (uint64_t)attr->size;
        }
        rc = tsk_finish(n < 0, "attributes", err);
        tsk_fs_file_close(file);
    }
    (void)pthread_mutex_unlock(&tsk->lock);
    if (!rc && stream.size)
        (void)fn(ctx, &stream);
    return rc;
}

const struct fs_type fs_type_tsk = {
    .name = "FAT, exFAT, HFS+ or UFS",
    .open = tsk_open,
    .close = tsk_close,
    .lookup = tsk_lookup,
    .readdir = tsk_readdir,
    .getattr = tsk_getattr,
    .read = tsk_read,
    .readlink = tsk_readlink,
    .streams = tsk_streams,
};
