/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walking through a stream; see stream.h.  VMware Virtual Disk Format 5.0, "Stream-Optimized
 * Compressed Sparse Extents": from the header's overhead on, every sector-aligned thing is either a
 * compressed grain {u64 sector, u32 size, data} or a metadata marker {u64 sectors, u32 0, u32 type}
 * with that many sectors behind it.  Writers put a grain table behind the grains of its span, the
 * directory behind all tables, then the footer and the end marker.
 *
 * The walk stops at the first thing that is neither: looking for the next marker by its looks could
 * take bytes that a guest wrote for a marker.
 *
 * Works while an extent is opened; afterwards immutable, any thread.
 */
#include "image/vmdk/stream_priv.h"

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/range.h"
#include "base/text.h"
#include "image/vmdk/grain.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_SECTOR (UINT32_MAX - 16u) /* entries have 32 bits, and the last few are special */

/* ---- lists ---- */

int vmdk_stream_add(struct vmdk_placed_list *list, uint64_t grain, uint32_t sector,
                    struct vd_err *err)
{
    if (list->n == list->cap) {
        size_t cap = list->cap ? 2 * list->cap : 1024;
        struct vmdk_placed *v = realloc(list->v, cap * sizeof(*v));

        if (!v)
            return vd_fail(err, VD_ENOMEM, "out of memory");
        list->v = v;
        list->cap = cap;
    }
    list->v[list->n++] = (struct vmdk_placed){(uint32_t)grain, sector};
    return 0;
}

static int add_table(struct vmdk_stream_walk *w, const struct vmdk_met_table *table,
                     struct vd_err *err)
{
    if (w->n_tables == w->cap_tables) {
        size_t cap = w->cap_tables ? 2 * w->cap_tables : 64;
        struct vmdk_met_table *v = realloc(w->table, cap * sizeof(*v));

        if (!v)
            return vd_fail(err, VD_ENOMEM, "out of memory");
        w->table = v;
        w->cap_tables = cap;
    }
    w->table[w->n_tables++] = *table;
    return 0;
}

/* The grain found at `sector`, or NULL.  The list is in the order of the file. */
static const struct vmdk_placed *grain_at(const struct vmdk_placed_list *list, uint32_t sector)
{
    size_t low = 0, high = list->n;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (list->v[mid].sector < sector)
            low = mid + 1;
        else
            high = mid;
    }
    return low < list->n && list->v[low].sector == sector ? &list->v[low] : NULL;
}

size_t vmdk_stream_first(const struct vmdk_placed_list *list, uint64_t grain)
{
    size_t low = 0, high = list->n;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (list->v[mid].grain < grain)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

bool vmdk_stream_proved(const struct vmdk_stream *s, uint64_t table)
{
    size_t low = 0, high = s->n_proved;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (s->proved[mid] < table)
            low = mid + 1;
        else
            high = mid;
    }
    return low < s->n_proved && s->proved[low] == table;
}

/* ---- reading ---- */

/* The bytes at the walk's place, up to a sector: less at the end of the file. */
static int look(struct vmdk_stream_walk *w, const uint8_t **out, size_t *out_len,
                struct vd_err *err)
{
    uint64_t left = w->file->size - w->off;
    size_t need = (size_t)vd_min(VMDK_SECTOR, left);

    if (w->off < w->window_off || w->off + need > w->window_off + w->window_len) {
        size_t len = (size_t)vd_min(VMDK_STREAM_WINDOW, left);
        int rc = blk_read(w->file, w->off, w->window, len, NULL);

        if (rc) { /* a bad sector behind this one must not end the walk here */
            len = need;
            rc = blk_read(w->file, w->off, w->window, len, err);
        }
        w->window_off = w->off;
        w->window_len = rc ? 0 : len;
        if (rc)
            return rc;
    }
    *out = w->window + (w->off - w->window_off);
    *out_len = need;
    return 0;
}

int vmdk_stream_entries(struct vmdk_stream_walk *w, uint64_t off, uint32_t *out, size_t n,
                        struct vd_err *err)
{
    int rc = blk_read(w->file, off, out, n * 4, err);
    size_t i;

    for (i = 0; i < n && rc == 0; i++)
        out[i] = vd_le32((const uint8_t *)&out[i]);
    return rc;
}

static int stop(struct vmdk_stream_walk *w, const char *why)
{
    (void)vd_text_copy(w->s->found.why, sizeof(w->s->found.why), why);
    w->over = true;
    return 0;
}

/* ---- what the walk meets ---- */

static int take_grain(struct vmdk_stream_walk *w, const uint8_t *marker, struct vd_err *err)
{
    uint64_t grain_sectors = w->g->grain / VMDK_SECTOR, at = w->off, len;
    struct vmdk_grain_header h;

    vmdk_grain_header_decode(marker, true, &h);
    if (h.lba % grain_sectors || h.lba >= w->g->capacity / VMDK_SECTOR ||
        vmdk_grain_header_validate(&h, h.lba, w->g->grain, NULL))
        return stop(w, "what follows is neither a grain of this disk nor a marker");
    len = VMDK_GRAIN_HEADER_MARKER + (uint64_t)h.data_size;
    if (!vd_range_inside(at, len, w->file->size))
        return stop(w, "the file ends inside a grain");
    if (w->s->grains.n == VD_MAX_STREAM_GRAINS)
        return stop(w, "more grains than are kept in memory");
    w->off = vd_div_up(at + len, VMDK_SECTOR) * VMDK_SECTOR;
    return vmdk_stream_add(&w->s->grains, h.lba / grain_sectors, (uint32_t)(at / VMDK_SECTOR), err);
}

/* The number of the table that most entries fit: entry k names the grain k of that table. */
static uint64_t table_number(const struct vmdk_stream_walk *w, const uint32_t *gte, uint32_t n)
{
    uint64_t best = VMDK_NO_TABLE;
    uint32_t k, lead = 0;

    for (k = 0; k < n; k++) {
        const struct vmdk_placed *p = gte[k] ? grain_at(&w->s->grains, gte[k]) : NULL;

        if (!p || p->grain % n != k)
            continue;
        if (lead == 0)
            best = p->grain / n;
        lead = p->grain / n == best ? lead + 1 : lead - 1;
    }
    return best;
}

/* Notes what an entry says that does not fit what was found: those grains are unclear. */
static int claim(struct vmdk_stream_walk *w, const struct vmdk_placed *named, uint64_t meant,
                 struct vd_err *err)
{
    int rc = 0;

    if (named)
        rc = vmdk_stream_add(&w->claims, named->grain, VMDK_CLAIMED, err);
    if (rc == 0 && meant < vd_div_up(w->g->capacity, w->g->grain))
        rc = vmdk_stream_add(&w->claims, meant, VMDK_CLAIMED, err);
    return rc;
}

static int judge_entries(struct vmdk_stream_walk *w, const uint32_t *gte, struct vmdk_met_table *t,
                         struct vd_err *err)
{
    uint32_t k, n = w->g->gt_entries;
    int rc = 0;

    t->table = table_number(w, gte, n);
    t->sound = true;
    if (t->table != VMDK_NO_TABLE) /* entries past the end of the disk mean nothing */
        n = vmdk_table_entries(w->g, t->table);
    for (k = 0; k < n && rc == 0; k++) {
        uint64_t meant =
            t->table == VMDK_NO_TABLE ? VMDK_NO_TABLE : t->table * w->g->gt_entries + k;
        const struct vmdk_placed *p;

        if (gte[k] == 0)
            continue;
        t->n_named++;
        p = grain_at(&w->s->grains, gte[k]);
        if (gte[k] == 1 && w->g->zero_grain && meant != VMDK_NO_TABLE) {
            rc = vmdk_stream_add(&w->zeroed, meant, 1, err);
        } else if (!p || p->grain != meant) {
            t->sound = false;
            rc = claim(w, p, meant, err);
        }
    }
    return rc;
}

static int take_table(struct vmdk_stream_walk *w, uint64_t at, struct vd_err *err)
{
    struct vmdk_met_table table = {.sector = (uint32_t)(at / VMDK_SECTOR), .table = VMDK_NO_TABLE};
    VD_AUTO(free) uint32_t *gte = malloc((size_t)w->g->gt_entries * 4);
    struct vd_err why = VD_ERR_INIT;
    int rc;

    if (!gte)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    if (w->n_tables == VD_MAX_STREAM_TABLES)
        return stop(w, "more grain tables than are kept in memory");
    if (w->claims.n > VD_MAX_STREAM_CLAIMS)
        return stop(w, "more contradictions than are kept in memory");
    rc = vmdk_stream_entries(w, at, gte, w->g->gt_entries, &why);
    if (rc == 0)
        rc = judge_entries(w, gte, &table, err);
    else if (rc == -VD_EIO) /* proves nothing, and a directory that names it does not either */
        rc = 0;
    return rc ? rc : add_table(w, &table, err);
}

/* Goes behind a marker's sector and the `sectors` that follow, which need `bytes`. */
static bool go_behind(struct vmdk_stream_walk *w, uint64_t sectors, uint64_t bytes)
{
    uint64_t len, end;

    if (!vd_mul(sectors, VMDK_SECTOR, &len) || !vd_add(w->off, VMDK_SECTOR, &end) ||
        !vd_add(end, len, &end) || len < bytes)
        return false;
    if (end > vd_div_up(w->file->size, VMDK_SECTOR) * VMDK_SECTOR ||
        !vd_range_inside(w->off + VMDK_SECTOR, bytes, w->file->size))
        return false;
    w->off = end;
    return true;
}

static const char *cut_inside(enum vmdk_marker_kind kind)
{
    return kind == VMDK_MARKER_TABLE ? "the file ends inside a grain table"
           : kind == VMDK_MARKER_DIR ? "the file ends inside the grain directory"
                                     : "the file ends inside the footer";
}

static int take_marker(struct vmdk_stream_walk *w, const struct vmdk_marker *m, struct vd_err *err)
{
    uint64_t behind = w->off + VMDK_SECTOR, need = 0;

    if (m->kind == VMDK_MARKER_BAD)
        return stop(w, "what follows is neither a grain nor a marker");
    if (m->kind == VMDK_MARKER_END)
        return stop(w, "an end-of-stream marker, or zeros, stand there");
    if (m->kind == VMDK_MARKER_TABLE)
        need = (uint64_t)w->g->gt_entries * 4;
    else if (m->kind == VMDK_MARKER_DIR)
        need = w->g->gd_entries * 4;
    if (!go_behind(w, m->sectors, need))
        return stop(w, cut_inside(m->kind));
    if (m->kind == VMDK_MARKER_DIR && !w->gd_off)
        w->gd_off = behind;
    return m->kind == VMDK_MARKER_TABLE ? take_table(w, behind, err) : 0;
}

static int step(struct vmdk_stream_walk *w, struct vd_err *err)
{
    struct vd_err why = VD_ERR_INIT;
    struct vmdk_marker marker;
    const uint8_t *bytes;
    size_t len;
    int rc;

    if (w->off >= w->file->size)
        return stop(w, "the file ends");
    if (w->off / VMDK_SECTOR > MAX_SECTOR)
        return stop(w, "no table can name what follows");
    rc = look(w, &bytes, &len, &why);
    if (rc == -VD_ENOMEM)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    if (rc)
        return stop(w, why.msg);
    vmdk_marker_decode(bytes, len, &marker);
    return marker.kind == VMDK_MARKER_GRAIN ? take_grain(w, bytes, err)
                                            : take_marker(w, &marker, err);
}

/* ---- the whole ---- */

/* The first sector behind header and descriptor; the header says it, but old ones say 0. */
static uint64_t stream_start(const struct vmdk_header *h)
{
    uint64_t start = h->overhead_sectors, end;

    if (start == 0 && h->descriptor_off_sectors &&
        vd_add(h->descriptor_off_sectors, h->descriptor_sectors, &end))
        start = end;
    return start ? start : 1;
}

static int run(struct vmdk_stream_walk *w, struct vd_err *err)
{
    int rc = 0;

    while (rc == 0 && !w->over)
        rc = step(w, err);
    w->s->found.end = vd_min(w->off, w->file->size);
    w->s->found.n_grains = w->s->grains.n;
    w->s->found.n_tables = w->n_tables;
    return rc ? rc : vmdk_stream_prove(w, err);
}

int vmdk_stream_walk(struct blkdev *file, const struct vmdk_header *h,
                     const struct vmdk_geometry *g, struct vmdk_stream **out, struct vd_err *err)
{
    struct vmdk_stream *s = calloc(1, sizeof(*s));
    struct vmdk_stream_walk *w = calloc(1, sizeof(*w));
    int rc = 0;

    if (!s || !w) {
        rc = vd_fail(err, VD_ENOMEM, "out of memory");
    } else if (vd_div_up(g->capacity, g->grain) > UINT32_MAX) {
        rc = vd_fail(err, VD_ELIMIT, "a disk of so many grains cannot be put together again");
    } else {
        s->gt_entries = g->gt_entries;
        *w = (struct vmdk_stream_walk){.s = s, .file = file, .g = g};
        if (!vd_mul(stream_start(h), VMDK_SECTOR, &w->off))
            w->off = file->size;
        s->found.start = vd_min(w->off, file->size);
        rc = run(w, err);
    }
    if (w) {
        free(w->zeroed.v);
        free(w->claims.v);
        free(w->table);
        free(w->gde);
        free(w);
    }
    if (rc) {
        vmdk_stream_free(s);
        return rc;
    }
    *out = s;
    return 0;
}

void vmdk_stream_free(struct vmdk_stream *s)
{
    if (!s)
        return;
    free(s->grains.v);
    free(s->proved);
    free(s);
}

const struct vmdk_stream_found *vmdk_stream_found(const struct vmdk_stream *s)
{
    return &s->found;
}

void vmdk_stream_table(const struct vmdk_stream *s, uint64_t table, uint32_t *out, uint32_t n)
{
    uint64_t first = table * s->gt_entries;
    uint32_t absent = vmdk_stream_proved(s, table) ? 0 : VMDK_GTE_LOST, k;
    size_t i;

    for (k = 0; k < n; k++)
        out[k] = absent;
    for (i = vmdk_stream_first(&s->grains, first); i < s->grains.n; i++) {
        const struct vmdk_placed *p = &s->grains.v[i];
        bool twice = i > 0 && s->grains.v[i - 1].grain == p->grain;

        if (p->grain - first >= n)
            break;
        out[p->grain - first] = twice || p->sector == VMDK_CLAIMED ? VMDK_GTE_TWICE : p->sector;
    }
}
