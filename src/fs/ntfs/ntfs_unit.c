/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compressed streams (libyal NTFS, "Compression"): the stream is cut into units of usually 16
 * clusters.  A unit without clusters is zeros, a unit with all its clusters is stored as it is, a
 * unit with fewer clusters, all at its front, is one LZNT1 stream.  Inflated units are cached.
 */
#include "fs/ntfs/ntfs_priv.h"

#include "base/range.h"

#include <stdlib.h>
#include <string.h>

struct unit_job {
    struct ntfs_fs *n;
    const struct fs_content *c;
};

/* How many bytes at the front of the unit are stored; fails unless the rest is sparse. */
static int stored_bytes(const struct fs_content *c, uint64_t start, size_t *out, struct vd_err *err)
{
    uint64_t off = start, end = start + c->unit;
    size_t stored = 0;
    bool sparse = false;

    while (off < end) {
        struct fs_run run;

        fs_runs_at(&c->runs, off, end - off, &run);
        if (run.kind == FS_RUN_BAD)
            return vd_at(err,
                         vd_fail(err, VD_ECORRUPT,
                                 "compression unit at %llu: its place is "
                                 "not known",
                                 (unsigned long long)start),
                         start);
        if (run.kind == FS_RUN_ZEROS)
            sparse = true;
        else if (sparse)
            return vd_at(err,
                         vd_fail(err, VD_ECORRUPT,
                                 "compression unit at %llu: clusters after "
                                 "a hole",
                                 (unsigned long long)start),
                         start);
        else
            stored += run.len;
        off += run.len;
    }
    *out = stored;
    return 0;
}

static int unit_fill(const struct unit_job *job, uint64_t start, uint8_t *buf, struct vd_err *err)
{
    const struct fs_content *c = job->c;
    uint8_t *packed;
    size_t stored;
    int rc = stored_bytes(c, start, &stored, err);

    if (rc)
        return rc;
    if (!stored) {
        memset(buf, 0, c->unit);
        return 0;
    }
    if (stored == c->unit)
        return fs_runs_read(&c->runs, job->n->vol, start, buf, c->unit, err);
    packed = malloc(stored);
    if (!packed)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    rc = fs_runs_read(&c->runs, job->n->vol, start, packed, stored, err);
    if (!rc)
        rc = lznt1_decode(packed, stored, buf, c->unit, err);
    free(packed);
    /* no byte of a damaged unit can be trusted */
    return rc ? vd_at(err,
                      vd_prefix(err, rc, "compression unit at %llu", (unsigned long long)start),
                      start)
              : 0;
}

static int unit_make(void *ctx, uint64_t key, uint64_t number, void **out_object, size_t *out_cost,
                     struct vd_err *err)
{
    const struct unit_job *job = ctx;
    uint8_t *buf = malloc(job->c->unit);
    int rc;

    (void)key;
    if (!buf)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    rc = unit_fill(job, number * job->c->unit, buf, err);
    if (rc) {
        free(buf);
        return rc;
    }
    *out_object = buf;
    *out_cost = job->c->unit;
    return 0;
}

int ntfs_compressed_read(struct ntfs_fs *n, const struct fs_content *c, uint64_t addr,
                         uint16_t stream, uint64_t off, void *buf, size_t len, size_t *out_len,
                         struct vd_err *err)
{
    struct unit_job job = {.n = n, .c = c};
    uint64_t end = off < c->size ? off + vd_min(len, c->size - off) : off;
    uint8_t *p = buf;
    uint64_t at;

    for (at = off; at < end;) {
        uint64_t number = at / c->unit, skip = at % c->unit;
        size_t part = (size_t)vd_min(end - at, c->unit - skip);

        if (at >= c->init) { /* not initialised: zeros by definition */
            memset(p, 0, (size_t)(end - at));
            break;
        }
        part = (size_t)vd_min(part, c->init - at);
        {
            struct fs_cached *ref = NULL;
            int rc =
                fs_cache_get(n->units, addr << 16 | stream, number, unit_make, &job, &ref, err);

            if (rc) {
                if (err && err->has_offset && err->offset < at)
                    err->offset = at;
                return rc;
            }
            memcpy(p, (const uint8_t *)ref->object + skip, part);
            fs_cache_put(n->units, ref);
        }
        p += part;
        at += part;
    }
    *out_len = (size_t)(end - off);
    return 0;
}
