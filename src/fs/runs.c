/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Run tables: see runs.h.  Look-up is a binary search; a read walks the runs it touches and asks
 * the volume for each of them.  Nothing here knows a format.  Immutable after building, so readers
 * need no lock.
 */
#include "fs/runs.h"

#include "base/limits.h"
#include "base/range.h"

#include <stdlib.h>
#include <string.h>

static bool continues(const struct fs_run *last, const struct fs_run *run)
{
    if (last->off + last->len != run->off || last->kind != run->kind || last->why != run->why)
        return false;
    return run->kind != FS_RUN_DATA || last->dev_off + last->len == run->dev_off;
}

int fs_runs_add(struct fs_runs *runs, const struct fs_run *run, struct vd_err *err)
{
    struct fs_run *last = runs->n ? &runs->v[runs->n - 1] : NULL;
    uint64_t end;

    if (!run->len)
        return 0;
    if (!vd_add(run->off, run->len, &end) || end > VD_MAX_SIZE ||
        (run->kind == FS_RUN_DATA && !vd_range_inside(run->dev_off, run->len, VD_MAX_SIZE)))
        return vd_fail(err, VD_ECORRUPT, "run of %llu bytes at %llu is out of range",
                       (unsigned long long)run->len, (unsigned long long)run->off);
    if (last && run->off < last->off + last->len)
        return vd_fail(err, VD_ECORRUPT, "two runs claim offset %llu",
                       (unsigned long long)run->off);
    if (last && continues(last, run)) {
        last->len += run->len;
        return 0;
    }
    if (runs->n == FS_MAX_RUNS)
        return vd_fail(err, VD_ELIMIT, "more than %u runs in one file", FS_MAX_RUNS);
    if (!runs->v || runs->n == runs->cap) {
        size_t cap = runs->cap ? runs->cap * 2 : 4;
        struct fs_run *v = realloc(runs->v, cap * sizeof(*v));

        if (!v)
            return vd_fail(err, VD_ENOMEM, "out of memory for %zu runs", cap);
        runs->v = v;
        runs->cap = cap;
    }
    runs->v[runs->n++] = *run;
    return 0;
}

int fs_runs_add_data(struct fs_runs *runs, uint64_t vol_size, uint64_t off, uint64_t len,
                     uint64_t dev_off, struct vd_err *err)
{
    uint64_t inside = dev_off < vol_size ? vd_min(len, vol_size - dev_off) : 0;
    struct fs_run run = {.off = off, .len = inside, .dev_off = dev_off, .kind = FS_RUN_DATA};
    int rc = fs_runs_add(runs, &run, err);

    if (rc || inside == len)
        return rc;
    if (!vd_add(off, inside, &run.off))
        return vd_fail(err, VD_ECORRUPT, "run is out of range");
    run.len = len - inside;
    run.dev_off = 0;
    run.kind = FS_RUN_BAD;
    run.why = FS_WHY_OUTSIDE;
    return fs_runs_add(runs, &run, err);
}

/* Index of the first run that ends after `off`; n when there is none. */
static size_t first_ending_after(const struct fs_runs *runs, uint64_t off)
{
    size_t lo = 0, hi = runs->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (runs->v[mid].off + runs->v[mid].len <= off)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

void fs_runs_at(const struct fs_runs *runs, uint64_t off, uint64_t max_len, struct fs_run *out)
{
    size_t i = first_ending_after(runs, off);
    const struct fs_run *run = i < runs->n ? &runs->v[i] : NULL;

    if (run && run->off <= off) {
        uint64_t skip = off - run->off;

        *out = *run;
        out->off = off;
        out->len = vd_min(run->len - skip, max_len);
        out->dev_off = run->kind == FS_RUN_DATA ? run->dev_off + skip : 0;
        return;
    }
    *out = (struct fs_run){.off = off,
                           .len = run ? vd_min(run->off - off, max_len) : max_len,
                           .kind = runs->holes_are_zeros ? FS_RUN_ZEROS : FS_RUN_BAD,
                           .why = runs->holes_are_zeros ? FS_WHY_NONE : FS_WHY_MISSING};
}

static int fail_bad(const struct fs_run *run, struct vd_err *err)
{
    static const char *const why[] = {
        [FS_WHY_NONE] = "cannot be had",
        [FS_WHY_MISSING] = "the file system does not say where these bytes are",
        [FS_WHY_OUTSIDE] = "these bytes should lie past the end of the volume",
        [FS_WHY_MAP_BROKEN] = "the block map for these bytes is damaged",
        [FS_WHY_MAP_UNREAD] = "the block map for these bytes cannot be read",
    };
    enum vd_class cls = run->why == FS_WHY_MAP_UNREAD ? VD_EIO : VD_ECORRUPT;
    int rc = vd_fail(err, cls, "offset %llu: %s", (unsigned long long)run->off, why[run->why]);

    return vd_at(err, rc, run->off);
}

/* Turns the first bad offset within the volume into one within the content. */
static int fail_read(const struct fs_run *run, int rc, struct vd_err *err)
{
    uint64_t at = run->off;

    if (err && err->has_offset && err->offset >= run->dev_off &&
        err->offset - run->dev_off < run->len)
        at += err->offset - run->dev_off;
    return vd_at(err, rc, at);
}

int fs_runs_read(const struct fs_runs *runs, struct blkdev *vol, uint64_t off, void *buf,
                 size_t len, struct vd_err *err)
{
    uint8_t *p = buf;

    while (len) {
        struct fs_run run;
        int rc;

        fs_runs_at(runs, off, len, &run);
        if (run.kind == FS_RUN_BAD)
            return fail_bad(&run, err);
        if (run.kind == FS_RUN_ZEROS) {
            memset(p, 0, run.len);
        } else {
            rc = blk_read(vol, run.dev_off, p, run.len, err);
            if (rc)
                return fail_read(&run, rc, err);
        }
        p += run.len;
        off += run.len;
        len -= run.len;
    }
    return 0;
}

void fs_runs_trim(struct fs_runs *runs)
{
    struct fs_run *v;

    if (!runs->n || runs->n == runs->cap)
        return;
    v = realloc(runs->v, runs->n * sizeof(*v));
    if (v) {
        runs->v = v;
        runs->cap = runs->n;
    }
}

void fs_runs_clear(struct fs_runs *runs)
{
    free(runs->v);
    *runs = (struct fs_runs){0};
}
