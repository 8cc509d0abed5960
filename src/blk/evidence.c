/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bottom layer: an open, read-only evidence file, read with pread and nothing else.  Evidence
 * is never mapped: a file that shrinks under a mapping kills the process, under pread it is a short
 * read, which is an error here and never zeros.  Threads: pread needs no lock.
 */
#include "blk/evidence.h"

#include "base/cleanup.h"
#include "base/limits.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

struct evidence {
    int fd;
    struct evidence_id id;
};

/* One pread can be interrupted or short; a short one at the wrong place means that the file is no
 * longer what it was when it was opened. */
static int evidence_read_at(struct blkdev *dev, uint64_t off, void *buf, size_t len,
                            struct vd_err *err)
{
    const struct evidence *ev = dev->priv;
    uint8_t *p = buf;
    size_t done = 0;

    while (done < len) {
        ssize_t n = pread(ev->fd, p + done, len - done, (off_t)(off + done));

        if (n > 0) {
            done += (size_t)n;
        } else if (n == 0) {
            return vd_at(err,
                         vd_fail(err, VD_EIO,
                                 "the file ended at offset %" PRIu64 ", it had %" PRIu64
                                 " bytes when it was opened",
                                 off + done, ev->id.size),
                         off + done);
        } else if (errno != EINTR) {
            return vd_at(
                err, vd_fail_errno(err, VD_EIO, errno, "read error at offset %" PRIu64, off + done),
                off + done);
        }
    }
    return 0;
}

static int evidence_map(struct blkdev *dev, uint64_t off, uint64_t max_len, struct blk_extent *out,
                        struct vd_err *err)
{
    (void)dev;
    (void)off;
    (void)err;
    out->status = BLK_DATA;
    out->len = max_len;
    return 0;
}

static void evidence_describe(struct blkdev *dev, vd_fact_fn *fn, void *ctx)
{
    const struct evidence *ev = dev->priv;

    if (!ev->id.noatime)
        fn(ctx, dev->label, VD_FACT_WARNING, "atime",
           "the host did not allow O_NOATIME (not the owner, no CAP_FOWNER): reading may change "
           "the "
           "access time that the host keeps for this file");
}

static void evidence_close(struct blkdev *dev)
{
    struct evidence *ev = dev->priv;

    if (ev && ev->fd >= 0)
        (void)close(ev->fd);
    free(ev);
}

static const struct blk_type evidence_type = {
    .name = "evidence",
    .read_at = evidence_read_at,
    .map = evidence_map,
    .describe = evidence_describe,
    .close = evidence_close,
};

int evidence_new(int fd, const struct evidence_id *id, const char *name, struct blkdev **out,
                 struct vd_err *err)
{
    VD_AUTO(free) struct evidence *ev = calloc(1, sizeof(*ev));
    struct blkdev *dev = NULL;
    int rc;

    if (!ev)
        return vd_fail(err, VD_ENOMEM, "%s: out of memory", name);
    ev->id = *id;
    ev->fd = -1;
    rc = blk_new(&evidence_type, id->size, name, ev, &dev, err);
    if (rc)
        return rc;
    ev->fd = fd;
    (void)vd_take(&ev);
    *out = dev;
    return 0;
}

bool evidence_identity(const struct blkdev *dev, const struct evidence_id **out_id)
{
    if (dev->type != &evidence_type)
        return false;
    *out_id = &((const struct evidence *)dev->priv)->id;
    return true;
}

int evidence_now(const struct blkdev *dev, struct evidence_id *out_id, struct vd_err *err)
{
    const struct evidence *ev = dev->priv;
    int rc;

    if (dev->type != &evidence_type)
        return vd_fail(err, VD_EUSAGE, "%s is not an evidence file", dev->label);
    rc = evidence_identify(ev->fd, out_id, err);
    if (rc == 0)
        out_id->noatime = ev->id.noatime;
    return vd_prefix(err, rc, "%s", dev->label);
}

bool evidence_same_state(const struct evidence_id *a, const struct evidence_id *b)
{
    return a->size == b->size &&
           (a->is_block || (a->mtime_sec == b->mtime_sec && a->mtime_nsec == b->mtime_nsec &&
                            a->ctime_sec == b->ctime_sec && a->ctime_nsec == b->ctime_nsec));
}

int64_t evidence_time_ns(int64_t sec, uint32_t nsec)
{
    int64_t ns;

    if (__builtin_mul_overflow(sec, INT64_C(1000000000), &ns) ||
        __builtin_add_overflow(ns, (int64_t)nsec, &ns))
        return sec < 0 ? INT64_MIN : INT64_MAX;
    return ns;
}

bool blk_source_name_ok(const char *name)
{
    return name[0] && !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
           strlen(name) <= 255;
}

int blk_source_find(const struct blk_source *source, const char *name, struct blkdev **out,
                    unsigned *out_dir, struct vd_err *err)
{
    unsigned dir;
    int rc = 0;

    if (!blk_source_name_ok(name))
        return vd_fail(err, VD_EREFUSED, "\"%s\" is not a bare file name", name);
    for (dir = 0; dir < source->n_dirs; dir++) {
        rc = source->open(source->ctx, dir, name, out, err);
        if (rc == 0 && out_dir)
            *out_dir = dir;
        if (rc != -VD_ENOENT)
            return rc;
    }
    return rc;
}
