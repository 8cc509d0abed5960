/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File systems, the common part: finds the implementation that knows a volume and is the door that
 * every call goes through (ranges, names, answers, labels of errors).  Implementations may rely on
 * the checks made here.  No state but what struct fs holds; any thread.
 */
#include "fs/fs.h"

#include "base/limits.h"
#include "base/text.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct fs_type *const fs_types[] = {&fs_type_ntfs, &fs_type_ext, &fs_type_iso,
                                                 &fs_type_tsk};

#define N_TYPES (sizeof(fs_types) / sizeof(fs_types[0]))

static void set_utc(void)
{
    /* libtsk turns FAT times into seconds with mktime(3); FAT has no time zone, so local time is
     * taken as UTC and never as the examiner's. */
    (void)setenv("TZ", "UTC", 1);
    tzset();
}

void fs_init(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    (void)pthread_once(&once, set_utc);
}

int fs_new(const struct fs_type *type, struct blkdev *vol, const char *label, void *priv,
           struct fs **out, struct vd_err *err)
{
    struct fs *fs = calloc(1, sizeof(*fs));
    char *copy = strdup(label ? label : "");

    if (!fs || !copy) {
        free(fs);
        free(copy);
        return vd_fail(err, VD_ENOMEM, "out of memory");
    }
    fs->type = type;
    fs->label = copy;
    fs->vol = blk_ref(vol);
    fs->priv = priv;
    *out = fs;
    return 0;
}

void fs_free(struct fs *fs)
{
    if (!fs)
        return;
    if (fs->type->close)
        fs->type->close(fs);
    blk_unref(fs->vol);
    vd_facts_clear(&fs->facts);
    free(fs->label);
    free(fs);
}

/* File systems that are named, so that the examiner knows, but not read. */
static const struct {
    uint64_t off;
    const char *magic;
    size_t len;
    const char *what;
} named_only[] = {
    {32, "NXSB", 4, "APFS is not read by this version"},
    {0, "XFSB", 4, "XFS is not read by this version"},
    {3, "ReFS\0\0\0\0", 8, "ReFS is not read by this version"},
    {65600, "_BHRfS_M", 8, "btrfs is not read by this version"},
};

static int refuse_named(struct blkdev *vol, struct vd_err *err)
{
    size_t i;

    for (i = 0; i < sizeof(named_only) / sizeof(named_only[0]); i++) {
        char magic[8];
        size_t len = named_only[i].len;

        if (vol->size < named_only[i].off + len ||
            blk_read(vol, named_only[i].off, magic, len, NULL))
            continue;
        if (memcmp(magic, named_only[i].magic, len) == 0)
            return vd_fail(err, VD_EUNSUPPORTED, "%s", named_only[i].what);
    }
    return 0;
}

/* What the search for an implementation has found so far. */
struct finding {
    struct fs *fs; /* the first that opened */
    int failed_rc; /* the first that knows the signature but failed; 0 none */
    struct vd_err failed;
    const char *failed_name;
};

static void try_type(struct finding *f, const struct fs_type *type, struct blkdev *vol,
                     const char *label)
{
    struct vd_err e = VD_ERR_INIT;
    struct fs *fs = NULL;
    int rc = type->open(vol, label, &fs, &e);

    if (rc == -VD_ENOTFORMAT)
        return;
    if (rc && !f->failed_rc) {
        f->failed_rc = rc;
        f->failed = e;
        f->failed_name = type->name;
    }
    if (rc)
        return;
    if (!f->fs) {
        f->fs = fs;
        return;
    }
    vd_fact_add(&f->fs->facts, VD_FACT_WARNING, "ambiguous",
                "the volume can also be read as %s; shown as %s", fs->info.type, f->fs->info.type);
    fs_free(fs);
}

int fs_open(struct blkdev *vol, const char *label, struct fs **out, struct vd_err *err)
{
    struct finding f = {0};
    int rc;
    size_t i;

    fs_init();
    label = label ? label : "";
    rc = refuse_named(vol, err);
    for (i = 0; !rc && i < N_TYPES; i++)
        try_type(&f, fs_types[i], vol, label);
    if (!rc && !f.fs && f.failed_rc) {
        rc = f.failed_rc;
        if (err)
            *err = f.failed;
    } else if (!rc && !f.fs) {
        rc = vd_fail(err, VD_ENOTFORMAT, "no file system that is known here");
    }
    if (rc)
        return label[0] ? vd_prefix(err, rc, "%s", label) : rc;
    if (f.failed_rc)
        vd_fact_add(&f.fs->facts, VD_FACT_WARNING, "ambiguous", "reading it as %s failed: %s",
                    f.failed_name, f.failed.msg);
    *out = f.fs;
    return 0;
}

const struct fs_info *fs_get_info(const struct fs *fs)
{
    return &fs->info;
}

void fs_describe(struct fs *fs, vd_fact_fn *fn, void *ctx)
{
    char number[32];

    fn(ctx, fs->label, VD_FACT_INFO, "file_system", fs->info.type);
    if (fs->info.label[0])
        fn(ctx, fs->label, VD_FACT_INFO, "file_system_label", fs->info.label);
    if (fs->info.uuid[0])
        fn(ctx, fs->label, VD_FACT_INFO, "file_system_uuid", fs->info.uuid);
    (void)snprintf(number, sizeof(number), "%u", fs->info.block_size);
    fn(ctx, fs->label, VD_FACT_INFO, "file_system_block_size", number);
    (void)snprintf(number, sizeof(number), "%llu", (unsigned long long)fs->info.n_blocks);
    fn(ctx, fs->label, VD_FACT_INFO, "file_system_blocks", number);
    vd_facts_each(&fs->facts, fs->label, fn, ctx);
    if (fs->type->describe)
        fs->type->describe(fs, fn, ctx);
}

static int with_label(const struct fs *fs, uint64_t addr, int rc, struct vd_err *err)
{
    if (!rc)
        return 0;
    return fs->label[0] ? vd_prefix(err, rc, "%s: object %llu", fs->label, (unsigned long long)addr)
                        : vd_prefix(err, rc, "object %llu", (unsigned long long)addr);
}

static int check_addr(uint64_t addr, struct vd_err *err)
{
    return addr > FS_ADDR_MAX ? vd_fail(err, VD_ENOENT, "no such address") : 0;
}

/* State of the search for a stream by name. */
struct want_stream {
    const char *name;
    size_t len;
    uint16_t found; /* 0: not */
};

static int match_stream(void *ctx, const struct fs_stream *stream)
{
    struct want_stream *want = ctx;

    if (strlen(stream->name) != want->len || memcmp(stream->name, want->name, want->len) != 0)
        return 0;
    want->found = stream->stream;
    return 1;
}

/* "file:stream": splits at one colon after the other, from the right, because a file's name may
 * hold colons (POSIX name space) and a stream's may not. */
static int lookup_stream(struct fs *fs, uint64_t dir_addr, const char *name, size_t name_len,
                         struct fs_entry *out, struct vd_err *err)
{
    size_t at;

    for (at = name_len; at-- > 1;) {
        struct want_stream want = {.name = name + at + 1, .len = name_len - at - 1};
        struct fs_entry file;
        int rc;

        if (name[at] != ':' || !want.len)
            continue;
        rc = fs->type->lookup(fs, dir_addr, name, at, &file, err);
        if (rc == -VD_ENOENT)
            continue;
        if (!rc)
            rc = fs->type->streams(fs, file.addr, match_stream, &want, err);
        if (rc)
            return rc;
        if (want.found) {
            *out = (struct fs_entry){.addr = file.addr, .stream = want.found, .kind = FS_FILE};
            return 0;
        }
    }
    return vd_fail(err, VD_ENOENT, "no such name");
}

int fs_lookup(struct fs *fs, uint64_t dir_addr, const char *name, size_t name_len,
              struct fs_entry *out, struct vd_err *err)
{
    struct fs_entry entry = {0};
    int rc = check_addr(dir_addr, err);

    if (!rc && (!name_len || memchr(name, 0, name_len)))
        rc = vd_fail(err, VD_ENOENT, "no such name");
    if (!rc) {
        rc = fs->type->lookup(fs, dir_addr, name, name_len, &entry, err);
        if (rc == -VD_ENOENT && fs->type->streams && memchr(name, ':', name_len))
            rc = lookup_stream(fs, dir_addr, name, name_len, &entry, err);
    }
    if (!rc)
        *out = entry;
    return with_label(fs, dir_addr, rc, err);
}

int fs_readdir(struct fs *fs, uint64_t dir_addr, uint64_t cookie, fs_entry_fn *fn, void *ctx,
               struct vd_err *err)
{
    int rc = check_addr(dir_addr, err);

    if (!rc)
        rc = fs->type->readdir(fs, dir_addr, cookie, fn, ctx, err);
    return with_label(fs, dir_addr, rc, err);
}

int fs_getattr(struct fs *fs, uint64_t addr, uint16_t stream, struct fs_attr *out,
               struct vd_err *err)
{
    struct fs_attr attr = {0};
    int rc = check_addr(addr, err);

    if (!rc)
        rc = fs->type->getattr(fs, addr, stream, &attr, err);
    if (!rc && attr.size > VD_MAX_SIZE)
        rc = vd_fail(err, VD_ECORRUPT, "size %llu is out of range", (unsigned long long)attr.size);
    if (!rc) {
        attr.nlink = attr.nlink ? attr.nlink : 1;
        *out = attr;
    }
    return with_label(fs, addr, rc, err);
}

int fs_read(struct fs *fs, uint64_t addr, uint16_t stream, uint64_t off, void *buf, size_t len,
            size_t *out_len, struct vd_err *err)
{
    size_t n = 0;
    int rc = check_addr(addr, err);

    if (!rc && len && off <= VD_MAX_SIZE)
        rc = fs->type->read(fs, addr, stream, off, buf, len, &n, err);
    if (!rc && n > len)
        rc = vd_fail(err, VD_EIO, "the file system layer answered more than was asked for");
    if (!rc)
        *out_len = n;
    return with_label(fs, addr, rc, err);
}

int fs_readlink(struct fs *fs, uint64_t addr, char **out, size_t *out_len, struct vd_err *err)
{
    int rc = check_addr(addr, err);

    if (!rc)
        rc = fs->type->readlink(fs, addr, out, out_len, err);
    return with_label(fs, addr, rc, err);
}

int fs_streams(struct fs *fs, uint64_t addr, fs_stream_fn *fn, void *ctx, struct vd_err *err)
{
    int rc = check_addr(addr, err);

    if (!rc && fs->type->streams)
        rc = fs->type->streams(fs, addr, fn, ctx, err);
    return with_label(fs, addr, rc, err);
}
