/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NTFS: the implementation of fs/fs.h.  A reader of its own, because libtsk 4.11.1 lists stale
 * names of freed index blocks as live, reads the whole $MFT before the first listing, reads the
 * holes that stand for content kept elsewhere as zeros, and wraps times before 1970 and after 2106.
 *
 * Addresses are $MFT record numbers; streams are the named $DATA attributes in the order in which
 * the records hold them, from 1.
 *
 * Threads: struct ntfs_fs is immutable after open; the caches have locks of their own.
 */
#include "fs/ntfs/ntfs_priv.h"

#include "base/bytes.h"
#include "base/range.h"
#include "base/text.h"
#include "fs/utf16.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Budgets of the caches, bytes: about 100,000 directory entries, run tables of about 500,000 runs,
 * 256 inflated units of 64 KiB. */
#define DIRS_BUDGET     (16u << 20)
#define CONTENTS_BUDGET (16u << 20)
#define UNITS_BUDGET    (16u << 20)

/* $FILE_NAME */
#define FILE_NAME_HEAD 66u
#define NAME_SPACE_DOS 2

/* ---- metadata ---- */

/* Units of 100 ns since 1601-01-01; 0 = not set. */
static struct fs_time decode_time(const uint8_t *p)
{
    int64_t raw = (int64_t)vd_le64(p), sec = raw / 10000000, rest = raw % 10000000;
    struct fs_time t = {.known = raw != 0};

    if (rest < 0) {
        rest += 10000000;
        sec--;
    }
    t.sec = sec - INT64_C(11644473600);
    t.nsec = (uint32_t)rest * 100;
    return t;
}

static void decode_times(const uint8_t *p, struct fs_time *b, struct fs_time *m, struct fs_time *c,
                         struct fs_time *a)
{
    *b = decode_time(p);
    *m = decode_time(p + 8);
    *c = decode_time(p + 16);
    *a = decode_time(p + 24);
}

static uint32_t standard_flags(const struct ntfs_file *file)
{
    const struct ntfs_attr *si = ntfs_file_attr(file, NTFS_STANDARD_INFORMATION, NULL);

    return si && si->resident && si->value_len >= 36 ? vd_le32(si->value + 32) : 0;
}

/* Names other than DOS names; the times of the first; whether the file lies in $Extend. */
static void decode_file_names(const struct ntfs_file *file, struct fs_attr *out, bool *in_extend)
{
    uint32_t n = 0;
    size_t i;

    for (i = 0; i < file->n_attrs; i++) {
        const struct ntfs_attr *a = &file->attrs[i];

        if (a->type != NTFS_FILE_NAME || !a->resident || a->value_len < FILE_NAME_HEAD ||
            a->value[65] == NAME_SPACE_DOS)
            continue;
        if (!n++)
            decode_times(a->value + 8, &out->fn_btime, &out->fn_mtime, &out->fn_ctime,
                         &out->fn_atime);
        if ((vd_le64(a->value) & FS_ADDR_MAX) == NTFS_EXTEND)
            *in_extend = true;
    }
    out->nlink = n ? n : 1;
}

/* Size and flags of the stream that was asked for. */
static int decode_stream(const struct ntfs_file *file, uint16_t stream, struct fs_attr *out,
                         struct vd_err *err)
{
    const struct ntfs_attr *a = ntfs_file_stream(file, stream);

    if (!a && stream)
        return vd_fail(err, VD_ENOENT, "no such stream");
    if (!a) /* a directory, or a file whose content is elsewhere in the records */
        a = ntfs_file_attr(file, NTFS_INDEX_ALLOCATION, "$I30");
    if (!a && file->damage_rc && out->kind == FS_FILE)
        return vd_fail(err, -file->damage_rc, "%s", file->damage.msg);
    if (!a)
        return 0;
    if (!a->resident && !a->has_sizes)
        return vd_fail(err, file->damage_rc ? -file->damage_rc : VD_ECORRUPT,
                       "the part of the attribute that has its size is missing");
    out->size = a->size;
    out->allocated = a->resident ? 0 : a->allocated;
    if (a->flags & NTFS_ATTR_COMPRESSED)
        out->flags |= FS_ATTR_COMPRESSED;
    if (a->flags & NTFS_ATTR_ENCRYPTED)
        out->flags |= FS_ATTR_ENCRYPTED;
    return 0;
}

static int fill_attr(const struct ntfs_fs *n, const struct ntfs_file *file, uint16_t stream,
                     struct fs_attr *out, struct vd_err *err)
{
    const struct ntfs_attr *si = ntfs_file_attr(file, NTFS_STANDARD_INFORMATION, NULL);
    uint32_t flags = standard_flags(file);
    struct ntfs_reparse rp;
    bool in_extend = false;
    int rc;

    out->kind = file->head.flags & NTFS_RECORD_DIR ? FS_DIR : FS_FILE;
    out->sequence = file->head.seq;
    if (si && si->resident && si->value_len >= 36)
        decode_times(si->value, &out->btime, &out->mtime, &out->ctime, &out->atime);
    decode_file_names(file, out, &in_extend);
    out->flags |= flags & NTFS_FILE_SPARSE ? FS_ATTR_SPARSE : 0;
    if ((file->addr < NTFS_FIRST_USER && file->addr != NTFS_ROOT) || in_extend)
        out->flags |= FS_ATTR_META;
    rc = ntfs_reparse_read(n, file, &rp, err);
    if (rc)
        return rc;
    out->flags |= rp.tag ? FS_ATTR_REPARSE : 0;
    if (ntfs_reparse_is_link(rp.tag))
        out->kind = FS_SYMLINK;
    ntfs_reparse_clear(&rp);
    rc = decode_stream(file, stream, out, err);
    if (out->kind == FS_DIR && !stream)
        out->flags &= ~(FS_ATTR_COMPRESSED | FS_ATTR_ENCRYPTED);
    return rc;
}

static int ntfs_getattr(struct fs *fs, uint64_t addr, uint16_t stream, struct fs_attr *out,
                        struct vd_err *err)
{
    struct ntfs_file *file = NULL;
    int rc = ntfs_file_load(fs->priv, addr, &file, err);

    if (rc)
        return rc;
    rc = fill_attr(fs->priv, file, stream, out, err);
    ntfs_file_free(file);
    return rc;
}

/* ---- content ---- */

/* Is the unnamed stream the file's content? */
static int check_main_stream(const struct ntfs_fs *n, const struct ntfs_file *file,
                             struct vd_err *err)
{
    struct ntfs_reparse rp;
    int rc;

    if (file->head.flags & NTFS_RECORD_DIR)
        return vd_fail(err, VD_EUSAGE, "a directory has no content");
    rc = ntfs_reparse_read(n, file, &rp, err);
    if (rc)
        return rc;
    rc = ntfs_reparse_is_link(rp.tag) ? vd_fail(err, VD_EUSAGE, "a link has no content")
                                      : ntfs_reparse_check_data(rp.tag, standard_flags(file), err);
    ntfs_reparse_clear(&rp);
    return rc;
}

static int content_make(void *ctx, uint64_t addr, uint64_t stream, void **out_object,
                        size_t *out_cost, struct vd_err *err)
{
    const struct ntfs_fs *n = ctx;
    const struct ntfs_attr *attr;
    struct fs_content *c = NULL;
    struct ntfs_file *file = NULL;
    int rc = ntfs_file_load(n, addr, &file, err);

    if (rc)
        return rc;
    attr = ntfs_file_stream(file, (uint16_t)stream);
    if (!stream)
        rc = check_main_stream(n, file, err);
    if (!rc && attr) {
        rc = ntfs_attr_content(n, file, attr, &c, err);
    } else if (!rc && (stream || file->damage_rc)) {
        rc = file->damage_rc ? vd_fail(err, -file->damage_rc, "%s", file->damage.msg)
                             : vd_fail(err, VD_ENOENT, "no such stream");
    } else if (!rc) {
        c = calloc(1, sizeof(*c)); /* a metadata file without content */
        rc = c ? 0 : vd_fail(err, VD_ENOMEM, "out of memory");
    }
    ntfs_file_free(file);
    if (rc)
        return rc;
    *out_object = c;
    *out_cost = fs_content_cost(c);
    return 0;
}

static int ntfs_read(struct fs *fs, uint64_t addr, uint16_t stream, uint64_t off, void *buf,
                     size_t len, size_t *out_len, struct vd_err *err)
{
    struct ntfs_fs *n = fs->priv;
    const struct fs_content *c;
    struct fs_cached *ref = NULL;
    int rc = fs_cache_get(n->contents, addr, stream, content_make, n, &ref, err);

    if (rc)
        return rc;
    c = ref->object;
    rc = c->unit ? ntfs_compressed_read(n, c, addr, stream, off, buf, len, out_len, err)
                 : fs_content_read(c, n->vol, off, buf, len, out_len, err);
    fs_cache_put(n->contents, ref);
    return rc;
}

static int ntfs_readlink(struct fs *fs, uint64_t addr, char **out, size_t *out_len,
                         struct vd_err *err)
{
    struct ntfs_reparse rp = {0};
    struct ntfs_file *file = NULL;
    int rc = ntfs_file_load(fs->priv, addr, &file, err);

    if (rc)
        return rc;
    rc = ntfs_reparse_read(fs->priv, file, &rp, err);
    if (!rc && !ntfs_reparse_is_link(rp.tag))
        rc = vd_fail(err, VD_EUSAGE, "not a link");
    if (!rc)
        rc = ntfs_reparse_target(&rp, out, out_len, err);
    ntfs_reparse_clear(&rp);
    ntfs_file_free(file);
    return rc;
}

static int ntfs_streams(struct fs *fs, uint64_t addr, fs_stream_fn *fn, void *ctx,
                        struct vd_err *err)
{
    struct ntfs_file *file = NULL;
    uint16_t number = 0;
    size_t i;
    int rc = ntfs_file_load(fs->priv, addr, &file, err);

    if (rc)
        return rc;
    for (i = 0; i < file->n_attrs && number < UINT16_MAX; i++) {
        const struct ntfs_attr *a = &file->attrs[i];
        char name[FS_UTF16_BYTES(255) + 1];
        struct fs_stream stream = {.name = name, .size = a->size};

        if (a->type != NTFS_DATA || !a->name_units)
            continue;
        stream.stream = ++number;
        name[fs_utf16_name(a->name, a->name_units, false, name)] = 0;
        if (fn(ctx, &stream))
            break;
    }
    if (i == file->n_attrs && file->damage_rc)
        rc = vd_fail(err, -file->damage_rc, "%s", file->damage.msg);
    ntfs_file_free(file);
    return rc;
}

/* ---- names ---- */

static int dir_make(void *ctx, uint64_t addr, uint64_t unused, void **out_object, size_t *out_cost,
                    struct vd_err *err)
{
    struct fs_dirlist *list = fs_dirlist_new();
    int rc;

    (void)unused;
    if (!list)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    rc = ntfs_dir_make(ctx, addr, list, err);
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

static int ntfs_lookup(struct fs *fs, uint64_t dir_addr, const char *name, size_t name_len,
                       struct fs_entry *out, struct vd_err *err)
{
    struct ntfs_fs *n = fs->priv;
    struct fs_cached *ref = NULL;
    int rc = fs_cache_get(n->dirs, dir_addr, 0, dir_make, n, &ref, err);

    if (rc)
        return rc;
    rc = fs_dirlist_find(ref->object, name, name_len, out, err);
    fs_cache_put(n->dirs, ref);
    return rc;
}

static int ntfs_readdir(struct fs *fs, uint64_t dir_addr, uint64_t cookie, fs_entry_fn *fn,
                        void *ctx, struct vd_err *err)
{
    struct ntfs_fs *n = fs->priv;
    struct fs_cached *ref = NULL;
    int rc = fs_cache_get(n->dirs, dir_addr, 0, dir_make, n, &ref, err);

    if (rc)
        return rc;
    rc = fs_dirlist_walk(ref->object, cookie, fn, ctx, err);
    fs_cache_put(n->dirs, ref);
    return rc;
}

/* ---- opening ---- */

static void ntfs_shut(struct ntfs_fs *n)
{
    if (!n)
        return;
    fs_cache_free(n->dirs);
    fs_cache_free(n->contents);
    fs_cache_free(n->units);
    fs_content_free(n->mft);
    free(n);
}

static void ntfs_close(struct fs *fs)
{
    ntfs_shut(fs->priv);
}

/* Record 3, $Volume: label, version and the dirty flag. */
static void read_volume_file(struct fs *fs)
{
    struct ntfs_fs *n = fs->priv;
    const struct ntfs_attr *name, *information;
    struct vd_err e = VD_ERR_INIT;
    struct ntfs_file *file = NULL;

    if (ntfs_file_load(n, 3, &file, &e)) {
        vd_fact_add(&fs->facts, VD_FACT_WARNING, "volume_record", "$Volume: %s", e.msg);
        return;
    }
    name = ntfs_file_attr(file, NTFS_VOLUME_NAME, NULL);
    if (name && name->resident)
        (void)vd_utf16_to_utf8(name->value, name->value_len / 2, false, fs->info.label,
                               sizeof(fs->info.label), NULL);
    information = ntfs_file_attr(file, NTFS_VOLUME_INFORMATION, NULL);
    if (information && information->resident && information->value_len >= 12) {
        vd_fact_add(&fs->facts, VD_FACT_INFO, "ntfs_version", "%u.%u", information->value[8],
                    information->value[9]);
        if (vd_le16(information->value + 10) & 1)
            vd_fact_add(&fs->facts, VD_FACT_WARNING, "dirty",
                        "the volume was not dismounted cleanly; $LogFile is not replayed");
    }
    ntfs_file_free(file);
}

static void fill_info(struct fs *fs)
{
    const struct ntfs_fs *n = fs->priv;
    uint64_t bytes = n->boot.n_clusters * n->boot.cluster_size;
    char label[sizeof(fs->info.label)];

    (void)vd_text_copy(fs->info.type, sizeof(fs->info.type), "ntfs");
    (void)snprintf(fs->info.uuid, sizeof(fs->info.uuid), "%016llX",
                   (unsigned long long)n->boot.serial);
    fs->info.block_size = n->boot.cluster_size;
    fs->info.n_blocks = n->boot.n_clusters;
    fs->info.root_addr = NTFS_ROOT;
    fs->info.last_addr = n->mft->size / n->boot.record_size;
    fs->info.last_addr -= fs->info.last_addr ? 1 : 0;
    read_volume_file(fs);
    (void)vd_text_copy(label, sizeof(label), fs->info.label);
    (void)vd_text_printable(label, strlen(label), fs->info.label, sizeof(fs->info.label));
    if (bytes > n->vol->size)
        vd_fact_add(&fs->facts, VD_FACT_WARNING, "volume_short",
                    "the file system has %llu bytes, the volume only %llu",
                    (unsigned long long)bytes, (unsigned long long)n->vol->size);
}

static int build(struct ntfs_fs *n, struct vd_facts *facts, struct vd_err *err)
{
    int rc = fs_cache_new(DIRS_BUDGET, fs_dirlist_free, &n->dirs, err);

    if (!rc)
        rc = fs_cache_new(CONTENTS_BUDGET, fs_content_free, &n->contents, err);
    if (!rc)
        rc = fs_cache_new(UNITS_BUDGET, free, &n->units, err);
    if (!rc)
        rc = ntfs_mft_open(n, facts, err);
    return rc;
}

static int ntfs_fs_open(struct blkdev *vol, const char *label, struct fs **out, struct vd_err *err)
{
    struct vd_facts facts = VD_FACTS_INIT;
    struct ntfs_boot boot;
    struct ntfs_fs *n;
    uint8_t raw[512];
    int rc;

    if (vol->size < sizeof(raw))
        return vd_fail(err, VD_ENOTFORMAT, "too small");
    rc = vd_prefix(err, blk_read(vol, 0, raw, sizeof(raw), err), "boot sector");
    if (!rc)
        rc = ntfs_boot_decode(raw, &boot, err);
    if (rc)
        return rc;
    n = calloc(1, sizeof(*n));
    if (!n)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    n->boot = boot;
    n->vol = vol;
    rc = build(n, &facts, err);
    if (!rc)
        rc = fs_new(&fs_type_ntfs, vol, label, n, out, err);
    if (rc) {
        ntfs_shut(n);
        vd_facts_clear(&facts);
        return rc;
    }
    (*out)->facts = facts;
    fill_info(*out);
    return 0;
}

const struct fs_type fs_type_ntfs = {
    .name = "NTFS",
    .open = ntfs_fs_open,
    .close = ntfs_close,
    .lookup = ntfs_lookup,
    .readdir = ntfs_readdir,
    .getattr = ntfs_getattr,
    .read = ntfs_read,
    .readlink = ntfs_readlink,
    .streams = ntfs_streams,
};
