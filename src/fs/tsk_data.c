/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Content through libtsk's run lists: each list is copied once, under the lock, into a run table of
 * ours; reading then needs neither libtsk nor the lock.
 *
 * libtsk 4.11.1 reads "filler" runs (lost) and sparse runs (holes) both as zeros; here a filler is
 * an error and only a hole is zeros.  A list that ends before the file does leaves its tail
 * missing: an error too.
 */
#include "fs/tsk_priv.h"

#include "base/limits.h"
#include "base/range.h"

#include <stdlib.h>
#include <string.h>

/* HFS+ compressed files are inflated whole, once, into the content cache. */
#define MAX_INFLATED (256u << 20)

enum fs_kind tsk_kind(TSK_FS_META_TYPE_ENUM type)
{
    switch ((unsigned)type) {
    case TSK_FS_META_TYPE_DIR:
    case TSK_FS_META_TYPE_VIRT_DIR:
        return FS_DIR;
    case TSK_FS_META_TYPE_LNK:
        return FS_SYMLINK;
    case TSK_FS_META_TYPE_CHR:
        return FS_CHARDEV;
    case TSK_FS_META_TYPE_BLK:
        return FS_BLOCKDEV;
    case TSK_FS_META_TYPE_FIFO:
        return FS_FIFO;
    case TSK_FS_META_TYPE_SOCK:
        return FS_SOCKET;
    default:
        return FS_FILE;
    }
}

uint64_t tsk_end_addr(const struct tsk_fs *tsk)
{
    /* but in HFS+, last_inum is libtsk's own $OrphanFiles: reading it walks the whole volume and
     * can deadlock */
    return tsk->info->ftype == TSK_FS_TYPE_HFS ? tsk->info->last_inum + 1 : tsk->info->last_inum;
}

int tsk_open_object(struct tsk_fs *tsk, uint64_t addr, TSK_FS_FILE **out, struct vd_err *err)
{
    TSK_FS_FILE *file = NULL;
    int rc;

    if (addr < tsk->info->first_inum || addr >= tsk_end_addr(tsk))
        return vd_fail(err, VD_ENOENT, "no such object");
    tsk_io_begin();
    file = tsk_fs_file_open_meta(tsk->info, NULL, addr);
    rc = tsk_finish(!file || !file->meta, "metadata", err);
    if (!rc && file && file->meta &&
        ((file->meta->flags & TSK_FS_META_FLAG_UNALLOC) ||
         file->meta->type == TSK_FS_META_TYPE_VIRT ||
         file->meta->type == TSK_FS_META_TYPE_VIRT_DIR))
        rc = vd_fail(err, VD_ENOENT, "no such object");
    if (rc) {
        tsk_fs_file_close(file);
        return rc;
    }
    *out = file;
    return 0;
}

/* One run of libtsk's list, `skip` bytes of the list before the content begins. */
static int add_run(const struct tsk_fs *tsk, const TSK_FS_ATTR_RUN *run, uint64_t skip,
                   uint64_t vol_size, struct fs_runs *runs, struct vd_err *err)
{
    uint64_t bs = tsk->info->block_size, off, len, dev_off, cut;
    struct fs_run r = {0};

    if (!vd_mul(run->offset, bs, &off) || !vd_mul(run->len, bs, &len) ||
        !vd_mul(run->addr, bs, &dev_off) || !vd_add(dev_off, (uint64_t)tsk->info->offset, &dev_off))
        return vd_fail(err, VD_ECORRUPT, "run list: number out of range");
    cut = off < skip ? vd_min(skip - off, len) : 0;
    r.off = off < skip ? 0 : off - skip;
    r.len = len - cut;
    if (run->flags & TSK_FS_ATTR_RUN_FLAG_ENCRYPTED)
        return vd_fail(err, VD_EUNSUPPORTED, "run list: encrypted run");
    if (run->flags & TSK_FS_ATTR_RUN_FLAG_SPARSE)
        r.kind = FS_RUN_ZEROS;
    else if (run->flags & TSK_FS_ATTR_RUN_FLAG_FILLER) {
        r.kind = FS_RUN_BAD;
        r.why = FS_WHY_MISSING;
    } else
        return vd_add(dev_off, cut, &dev_off)
                   ? fs_runs_add_data(runs, vol_size, r.off, r.len, dev_off, err)
                   : vd_fail(err, VD_ECORRUPT, "run list: number out of range");
    return fs_runs_add(runs, &r, err);
}

static int copy_runs(const struct fs *fs, const TSK_FS_ATTR *attr, struct fs_content *c,
                     struct vd_err *err)
{
    const struct tsk_fs *tsk = fs->priv;
    const TSK_FS_ATTR_RUN *run;
    int rc = 0;

    for (run = attr->nrd.run; run && !rc; run = run->next)
        rc = add_run(tsk, run, attr->nrd.skiplen, fs->vol->size, &c->runs, err);
    fs_runs_trim(&c->runs);
    return rc;
}

/* HFS+ decmpfs: libtsk inflates; under the lock, once per content. */
static int inflate(const TSK_FS_ATTR *attr, struct fs_content *c, struct vd_err *err)
{
    uint64_t done = 0;

    if (c->size > MAX_INFLATED)
        return vd_fail(err, VD_ELIMIT, "compressed file of more than %u bytes", MAX_INFLATED);
    c->resident = malloc(c->size ? c->size : 1);
    if (!c->resident)
        return vd_fail(err, VD_ENOMEM, "out of memory for %llu bytes", (unsigned long long)c->size);
    while (done < c->size) {
        size_t want = (size_t)vd_min(c->size - done, 1u << 20);
        ssize_t n;
        int rc;

        tsk_io_begin();
        n = tsk_fs_attr_read(attr, (TSK_OFF_T)done, (char *)c->resident + done, want,
                             TSK_FS_FILE_READ_FLAG_NONE);
        rc = tsk_finish(n != (ssize_t)want, "compressed content", err);
        if (rc)
            return vd_at(err, rc, done);
        done += want;
    }
    return 0;
}

static int fill(struct fs *fs, const TSK_FS_ATTR *attr, struct fs_content *c, struct vd_err *err)
{
    if (attr->size < 0)
        return vd_fail(err, VD_ECORRUPT, "negative size");
    c->size = c->init = (uint64_t)attr->size;
    if (attr->flags & TSK_FS_ATTR_COMP)
        return inflate(attr, c, err);
    if (attr->flags & TSK_FS_ATTR_RES) {
        if (c->size > attr->rd.buf_size)
            return vd_fail(err, VD_ECORRUPT, "inline content is shorter than the file");
        c->resident = malloc(c->size ? c->size : 1);
        if (!c->resident)
            return vd_fail(err, VD_ENOMEM, "out of memory");
        memcpy(c->resident, attr->rd.buf, c->size);
        return 0;
    }
    if (attr->nrd.initsize >= 0)
        c->init = vd_min(c->size, (uint64_t)attr->nrd.initsize);
    return copy_runs(fs, attr, c, err);
}

/* lock held */
static int load(struct fs *fs, uint64_t addr, uint64_t stream, struct fs_content *c,
                struct vd_err *err)
{
    struct tsk_fs *tsk = fs->priv;
    const TSK_FS_ATTR *attr = NULL;
    TSK_FS_FILE *file = NULL;
    int rc = tsk_open_object(tsk, addr, &file, err);

    if (rc)
        return rc;
    if (tsk_kind(file->meta->type) != FS_FILE) {
        rc = vd_fail(err, VD_EUSAGE, "not a regular file");
    } else if (stream || file->meta->size) {
        tsk_io_begin();
        attr = stream ? tsk_fs_file_attr_get_type(file, TSK_FS_ATTR_TYPE_HFS_RSRC, 0, 0)
                      : tsk_fs_file_attr_get(file);
        rc = tsk_finish(!attr, stream ? "resource fork" : "run list", err);
        if (!rc && attr)
            rc = fill(fs, attr, c, err);
        /* a size in the metadata and none in the run list: the content is unknown, not empty */
        if (!rc && !stream && !c->resident && c->size != (uint64_t)file->meta->size)
            rc = vd_fail(err, VD_ECORRUPT, "run list is for %llu bytes, the file has %lld",
                         (unsigned long long)c->size, (long long)file->meta->size);
    }
    tsk_fs_file_close(file);
    return rc;
}

static int make(void *ctx, uint64_t addr, uint64_t stream, void **out_object, size_t *out_cost,
                struct vd_err *err)
{
    struct fs *fs = ctx;
    struct tsk_fs *tsk = fs->priv;
    struct fs_content *c = calloc(1, sizeof(*c));
    int rc;

    if (!c)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    (void)pthread_mutex_lock(&tsk->lock);
    rc = load(fs, addr, stream, c, err);
    (void)pthread_mutex_unlock(&tsk->lock);
    if (!rc && tsk->info->ftype == TSK_FS_TYPE_EXFAT && c->size) {
        struct tsk_exfat_entry entry = {0};

        rc = tsk_exfat_entry(fs, addr, &entry, err);
        if (!rc)
            c->init = vd_min(c->size, entry.valid_len);
    }
    if (rc) {
        fs_content_free(c);
        return rc;
    }
    *out_object = c;
    *out_cost = fs_content_cost(c);
    return 0;
}

int tsk_content_get(struct fs *fs, uint64_t addr, uint64_t stream, struct fs_cached **out,
                    struct vd_err *err)
{
    struct tsk_fs *tsk = fs->priv;

    return fs_cache_get(tsk->contents, addr, stream, make, fs, out, err);
}
