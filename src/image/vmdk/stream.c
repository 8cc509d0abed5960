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
 * What proves absence.  A table does not say which one it is: the grains that its entries name do, by
 * their own addresses.  It proves its span only if each of its entries names a grain of exactly that
 * place and if it names every grain of the span that was found.  (A file whose tail was replaced by
 * zeros could otherwise "prove" that what was lost is absent.)  The directory proves the whole disk if
 * it names every table that was met under its right number, and every grain lies in a proved table.
 * Where a grain's own address, the tables and the directory contradict each other, all grains
 * concerned are unclear.
 *
 * Works while an extent is opened; afterwards immutable, any thread.
 */
#include "image/vmdk/stream.h"

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/range.h"
#include "image/vmdk/grain.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define WINDOW     8192u
#define NO_TABLE   UINT64_MAX
#define MAX_SECTOR (UINT32_MAX - 16u) /* entries have 32 bits, and the last few are special */

/* Where a grain is: a sector of the file, CLAIMED, or 1 for a zeroed grain. */
struct placed {
    uint32_t grain, sector;
};

/* A table says that this grain lies where another one, or none, was found. */
#define CLAIMED 0

struct placed_list {
    struct placed *v;
    size_t n, cap;
};

struct met_table {
    uint32_t sector;  /* of the entries, behind the marker */
    uint32_t n_named; /* entries that are not 0 */
    uint64_t table;   /* which one it is, or NO_TABLE */
    bool sound;       /* each entry names a grain of its place */
};

struct vmdk_stream {
    uint32_t gt_entries;
    struct vmdk_stream_found found;
    struct placed_list grains; /* ascending by number once the walk is over */
    uint64_t *proved;          /* numbers of proved tables, ascending */
    size_t n_proved;
};

struct walk {
    struct vmdk_stream *s;
    struct blkdev *file;
    const struct vmdk_geometry *g;
    uint64_t off; /* of the marker looked at */
    bool over;
    struct placed_list zeroed; /* zeroed grains that tables name */
    struct placed_list claims; /* grains that contradict something */
    struct met_table *table;   /* in the order of the file */
    size_t n_tables, cap_tables;
    uint64_t gd_off; /* of the first directory met; 0: none */
    uint32_t *gde;   /* its entries, or NULL */
    uint64_t window_off;
    size_t window_len;
    uint8_t window[WINDOW];
};

/* ---- lists ---- */

static int add_placed(struct placed_list *list, uint64_t grain, uint32_t sector, struct vd_err *err)
{
    if (list->n == list->cap) {
        size_t cap = list->cap ? 2 * list->cap : 1024;
        struct placed *v = realloc(list->v, cap * sizeof(*v));

        if (!v)
            return vd_fail(err, VD_ENOMEM, "out of memory");
        list->v = v;
        list->cap = cap;
    }
    list->v[list->n++] = (struct placed){(uint32_t)grain, sector};
    return 0;
}

static int add_table(struct walk *w, const struct met_table *table, struct vd_err *err)
{
    if (w->n_tables == w->cap_tables) {
        size_t cap = w->cap_tables ? 2 * w->cap_tables : 64;
        struct met_table *v = realloc(w->table, cap * sizeof(*v));

        if (!v)
            return vd_fail(err, VD_ENOMEM, "out of memory");
        w->table = v;
        w->cap_tables = cap;
    }
    w->table[w->n_tables++] = *table;
    return 0;
}

/* The grain found at `sector`, or NULL.  The list is in the order of the file. */
static const struct placed *grain_at(const struct placed_list *list, uint32_t sector)
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

/* First entry whose grain number is at least `grain`.  The list is ordered by numbers. */
static size_t first_from(const struct placed_list *list, uint64_t grain)
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

static bool is_proved(const struct vmdk_stream *s, uint64_t table)
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
static int look(struct walk *w, const uint8_t **out, size_t *out_len, struct vd_err *err)
{
    uint64_t left = w->file->size - w->off;
    size_t need = (size_t)vd_min(VMDK_SECTOR, left);

    if (w->off < w->window_off || w->off + need > w->window_off + w->window_len) {
        size_t len = (size_t)vd_min(WINDOW, left);
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

static int read_entries(struct walk *w, uint64_t off, uint32_t *out, size_t n, struct vd_err *err)
{
    int rc = blk_read(w->file, off, out, n * 4, err);
    size_t i;

    for (i = 0; i < n && rc == 0; i++)
        out[i] = vd_le32((const uint8_t *)&out[i]);
    return rc;
}

static int stop(struct walk *w, const char *why)
{
    (void)snprintf(w->s->found.why, sizeof(w->s->found.why), "%s", why);
    w->over = true;
    return 0;
}

/* ---- what the walk meets ---- */

static int take_grain(struct walk *w, const uint8_t *marker, struct vd_err *err)
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
    return add_placed(&w->s->grains, h.lba / grain_sectors, (uint32_t)(at / VMDK_SECTOR), err);
}

/* The number of the table that most entries fit: entry k names the grain k of that table. */
static uint64_t table_number(const struct walk *w, const uint32_t *gte, uint32_t n)
{
    uint64_t best = NO_TABLE;
    uint32_t k, lead = 0;

    for (k = 0; k < n; k++) {
        const struct placed *p = gte[k] ? grain_at(&w->s->grains, gte[k]) : NULL;

        if (!p || p->grain % n != k)
            continue;
        if (lead == 0)
            best = p->grain / n;
        lead = p->grain / n == best ? lead + 1 : lead - 1;
    }
    return best;
}

/* Notes what an entry says that does not fit what was found: those grains are unclear. */
static int claim(struct walk *w, const struct placed *named, uint64_t meant, struct vd_err *err)
{
    int rc = 0;

    if (named)
        rc = add_placed(&w->claims, named->grain, CLAIMED, err);
    if (rc == 0 && meant < vd_div_up(w->g->capacity, w->g->grain))
        rc = add_placed(&w->claims, meant, CLAIMED, err);
    return rc;
}

static int judge_entries(struct walk *w, const uint32_t *gte, struct met_table *t,
                         struct vd_err *err)
{
    uint32_t k, n = w->g->gt_entries;
    int rc = 0;

    t->table = table_number(w, gte, n);
    t->sound = true;
    if (t->table != NO_TABLE) /* entries past the end of the disk mean nothing */
        n = vmdk_table_entries(w->g, t->table);
    for (k = 0; k < n && rc == 0; k++) {
        uint64_t meant = t->table == NO_TABLE ? NO_TABLE : t->table * w->g->gt_entries + k;
        const struct placed *p;

        if (gte[k] == 0)
            continue;
        t->n_named++;
        p = grain_at(&w->s->grains, gte[k]);
        if (gte[k] == 1 && w->g->zero_grain && meant != NO_TABLE) {
            rc = add_placed(&w->zeroed, meant, 1, err);
        } else if (!p || p->grain != meant) {
            t->sound = false;
            rc = claim(w, p, meant, err);
        }
    }
    return rc;
}

static int take_table(struct walk *w, uint64_t at, struct vd_err *err)
{
    struct met_table table = {.sector = (uint32_t)(at / VMDK_SECTOR), .table = NO_TABLE};
    VD_AUTO(free) uint32_t *gte = malloc((size_t)w->g->gt_entries * 4);
    struct vd_err why = VD_ERR_INIT;
    int rc;

    if (!gte)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    if (w->claims.n > VD_MAX_STREAM_GRAINS)
        return stop(w, "more contradictions than are kept in memory");
    rc = read_entries(w, at, gte, w->g->gt_entries, &why);
    if (rc == 0)
        rc = judge_entries(w, gte, &table, err);
    else if (rc == -VD_EIO) /* proves nothing, and a directory that names it does not either */
        rc = 0;
    return rc ? rc : add_table(w, &table, err);
}

/* Goes behind a marker's sector and the `sectors` that follow, which need `bytes`. */
static bool go_behind(struct walk *w, uint64_t sectors, uint64_t bytes)
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

static int take_marker(struct walk *w, const struct vmdk_marker *m, struct vd_err *err)
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

static int step(struct walk *w, struct vd_err *err)
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

/* ---- what it all proves ---- */

static int compare_placed(const void *a, const void *b)
{
    const struct placed *x = a, *y = b;

    if (x->grain != y->grain)
        return x->grain < y->grain ? -1 : 1;
    return (x->sector > y->sector) - (x->sector < y->sector);
}

static int compare_numbers(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static int merge(struct vmdk_stream *s, const struct placed_list *more, struct vd_err *err)
{
    struct placed_list *list = &s->grains;
    bool sorted = true;
    size_t i;
    int rc = 0;

    for (i = 0; i < more->n && rc == 0; i++)
        rc = add_placed(list, more->v[i].grain, more->v[i].sector, err);
    for (i = 1; i < list->n && sorted; i++)
        sorted = list->v[i - 1].grain < list->v[i].grain;
    if (!sorted)
        qsort(list->v, list->n, sizeof(*list->v), compare_placed);
    return rc;
}

/* Something contradicts table number `table`: its grains are unclear, but for those that `gte` (NULL:
 * none) has exactly where they were found. */
static int contradict(struct walk *w, uint64_t table, const uint32_t *gte, struct vd_err *err)
{
    const struct placed_list *list = &w->s->grains;
    uint64_t first = table * w->g->gt_entries;
    size_t i, end = first_from(list, first + w->g->gt_entries);
    int rc = 0;

    for (i = first_from(list, first); i < end && rc == 0; i++)
        if (!gte || gte[list->v[i].grain - first] != list->v[i].sector)
            rc = add_placed(&w->claims, list->v[i].grain, CLAIMED, err);
    return rc;
}

/* Does table `t` name exactly the grains that were found in its span?  If not, those that it does not
 * name are unclear. */
static int check_table(struct walk *w, const struct met_table *t, bool *out_proves,
                       struct vd_err *err)
{
    const struct vmdk_stream *s = w->s;
    uint64_t first = t->table * s->gt_entries;
    VD_AUTO(free) uint32_t *gte = NULL;
    bool readable;

    *out_proves =
        t->sound &&
        first_from(&s->grains, first + s->gt_entries) - first_from(&s->grains, first) == t->n_named;
    if (*out_proves)
        return 0;
    gte = malloc((size_t)s->gt_entries * 4);
    if (!gte)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    readable = read_entries(w, (uint64_t)t->sector * VMDK_SECTOR, gte, s->gt_entries, NULL) == 0;
    return contradict(w, t->table, readable ? gte : NULL, err);
}

static int prove_tables(struct walk *w, struct vd_err *err)
{
    struct vmdk_stream *s = w->s;
    size_t i;
    int rc = 0;

    s->proved = malloc((w->n_tables ? w->n_tables : 1) * sizeof(*s->proved));
    if (!s->proved)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    for (i = 0; i < w->n_tables && rc == 0; i++) {
        bool proves = false;

        if (w->table[i].table != NO_TABLE)
            rc = check_table(w, &w->table[i], &proves, err);
        if (proves)
            s->proved[s->n_proved++] = w->table[i].table;
    }
    if (s->n_proved)
        qsort(s->proved, s->n_proved, sizeof(*s->proved), compare_numbers);
    return rc;
}

static const struct met_table *table_at(const struct walk *w, uint32_t sector)
{
    size_t low = 0, high = w->n_tables;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (w->table[mid].sector < sector)
            low = mid + 1;
        else
            high = mid;
    }
    return low < w->n_tables && w->table[low].sector == sector ? &w->table[low] : NULL;
}

/* Compares the directory with the tables that were met.  *out_agrees: it names exactly those, each
 * under its number.  An entry of 0 contradicts nothing: the directory's own end may be lost. */
static int check_dir(struct walk *w, bool *out_agrees, struct vd_err *err)
{
    size_t i, n = 0;
    int rc = 0;

    *out_agrees = true;
    for (i = 0; i < w->g->gd_entries && rc == 0; i++) {
        const struct met_table *t;

        if (w->gde[i] == 0)
            continue;
        n++;
        t = table_at(w, w->gde[i]);
        if (t && t->sound && (t->table == i || (t->table == NO_TABLE && t->n_named == 0)))
            continue;
        *out_agrees = false;
        if (t && t->table == i)
            continue;
        rc = contradict(w, i, NULL, err); /* another table took its number */
        if (rc == 0 && t && t->table != NO_TABLE)
            rc = contradict(w, t->table, NULL, err);
    }
    *out_agrees = *out_agrees && n == w->n_tables;
    return rc;
}

/* A table proves nothing about a span with unclear grains. */
static void withdraw_proofs(struct walk *w)
{
    struct vmdk_stream *s = w->s;
    size_t i, k, n = 0;

    for (i = 0; i < s->n_proved; i++) {
        uint64_t first = s->proved[i] * s->gt_entries;
        size_t end = first_from(&s->grains, first + s->gt_entries);
        bool clear = true;

        for (k = first_from(&s->grains, first); k < end; k++)
            clear = clear && s->grains.v[k].sector != CLAIMED;
        if (clear)
            s->proved[n++] = s->proved[i];
    }
    s->n_proved = n;
}

static bool all_proved(const struct vmdk_stream *s)
{
    size_t i;

    for (i = 0; i < s->grains.n; i++)
        if (!is_proved(s, s->grains.v[i].grain / s->gt_entries))
            return false;
    return true;
}

static uint64_t count_unclear(const struct vmdk_stream *s)
{
    const struct placed *v = s->grains.v;
    uint64_t n = 0;
    size_t i;

    for (i = 0; i < s->grains.n; i++)
        n += (i == 0 || v[i - 1].grain != v[i].grain) &&
             (v[i].sector == CLAIMED || (i + 1 < s->grains.n && v[i + 1].grain == v[i].grain));
    return n;
}

static int read_dir(struct walk *w, struct vd_err *err)
{
    size_t n = (size_t)w->g->gd_entries;

    if (!w->gd_off)
        return 0;
    w->gde = malloc(n * 4);
    if (!w->gde)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    if (read_entries(w, w->gd_off, w->gde, n, NULL)) {
        free(w->gde);
        w->gde = NULL;
    }
    return 0;
}

static int prove(struct walk *w, struct vd_err *err)
{
    struct vmdk_stream *s = w->s;
    bool agrees = false;
    int rc = merge(s, &w->zeroed, err);

    if (rc == 0)
        rc = prove_tables(w, err);
    if (rc == 0)
        rc = read_dir(w, err);
    if (rc == 0 && w->gde)
        rc = check_dir(w, &agrees, err);
    if (rc == 0)
        rc = merge(s, &w->claims, err);
    if (rc)
        return rc;
    withdraw_proofs(w);
    s->found.n_unclear = count_unclear(s);
    s->found.n_proved = s->n_proved;
    if (agrees && all_proved(s))
        s->found.gd_sectors = w->gd_off / VMDK_SECTOR;
    return 0;
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

static int run(struct walk *w, struct vd_err *err)
{
    int rc = 0;

    while (rc == 0 && !w->over)
        rc = step(w, err);
    w->s->found.end = vd_min(w->off, w->file->size);
    w->s->found.n_grains = w->s->grains.n;
    w->s->found.n_tables = w->n_tables;
    return rc ? rc : prove(w, err);
}

int vmdk_stream_walk(struct blkdev *file, const struct vmdk_header *h,
                     const struct vmdk_geometry *g, struct vmdk_stream **out, struct vd_err *err)
{
    struct vmdk_stream *s = calloc(1, sizeof(*s));
    struct walk *w = calloc(1, sizeof(*w));
    int rc = 0;

    if (!s || !w) {
        rc = vd_fail(err, VD_ENOMEM, "out of memory");
    } else if (vd_div_up(g->capacity, g->grain) > UINT32_MAX) {
        rc = vd_fail(err, VD_ELIMIT, "a disk of so many grains cannot be put together again");
    } else {
        s->gt_entries = g->gt_entries;
        *w = (struct walk){.s = s, .file = file, .g = g};
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
    uint32_t absent = is_proved(s, table) ? 0 : VMDK_GTE_LOST, k;
    size_t i;

    for (k = 0; k < n; k++)
        out[k] = absent;
    for (i = first_from(&s->grains, first); i < s->grains.n; i++) {
        const struct placed *p = &s->grains.v[i];
        bool twice = i > 0 && s->grains.v[i - 1].grain == p->grain;

        if (p->grain - first >= n)
            break;
        out[p->grain - first] = twice || p->sector == CLAIMED ? VMDK_GTE_TWICE : p->sector;
    }
}
