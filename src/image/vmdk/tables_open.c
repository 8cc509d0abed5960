/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories and tables at open: where they are, keeping them, and as much checking as the image's
 * budgets allow.  If all tables of the extent can be looked at, the claims of all grains are
 * compared too, and overlapping ones are barred.  Runs in the thread that opens the image.
 */
#include "image/vmdk/tables_priv.h"

#include "base/cleanup.h"
#include "base/range.h"
#include "image/vmdk/claims.h"

#include <inttypes.h>
#include <stdlib.h>

/* ---- directories ---- */

/* Is the directory that starts at `off_sectors` inside the file and behind the header? */
static bool dir_possible(const struct vmdk_geometry *g, uint64_t off_sectors, uint64_t *out_off)
{
    uint64_t off;

    if (off_sectors == 0 || !vd_mul(off_sectors, VMDK_SECTOR, &off) ||
        !vd_range_inside(off, g->gd_entries * 4, g->file_size))
        return false;
    *out_off = off;
    return true;
}

static int find_dirs(struct vmdk_tables *t, const struct vmdk_header *h, struct vd_err *err)
{
    bool primary = dir_possible(&t->g, h->gd_off_sectors, &t->dir[0].off), redundant = false;

    if (t->g.redundant)
        redundant = dir_possible(&t->g, h->rgd_off_sectors, &t->dir[primary ? 1 : 0].off);
    t->n_dirs = (unsigned)primary + (unsigned)redundant;
    if (t->n_dirs == 0)
        return vd_fail(err, VD_ECORRUPT,
                       "the grain directory (%" PRIu64 " bytes at sector %" PRIu64
                       ") lies past the end of the file",
                       t->g.gd_entries * 4, h->gd_off_sectors);
    if (t->g.redundant && !primary)
        t->lost_dir = "the primary grain directory lies past the end of the file: only the "
                      "redundant one is used";
    if (t->g.redundant && !redundant)
        t->lost_dir = "the redundant grain directory is missing or lies past the end of the file: "
                      "nothing can be compared";
    return 0;
}

/* Keeps the directory whole, if the budget and the medium allow. */
static void load_dir(struct vmdk_tables *t, struct vmdk_directory *dir, struct vmdk_shared *shared)
{
    uint64_t bytes = t->g.gd_entries * 4;
    uint32_t *v;

    if (bytes > shared->directory_left)
        return;
    v = malloc(bytes);
    if (!v || vmdk_tables_read_entries(t->file, dir->off, v, (size_t)t->g.gd_entries, NULL)) {
        free(v);
        return;
    }
    shared->directory_left -= bytes;
    dir->whole = v;
}

struct claim {
    uint32_t gde, table;
    unsigned dir;
};

static int compare_claims(const void *a, const void *b)
{
    const struct claim *x = a, *y = b;

    return (x->gde > y->gde) - (x->gde < y->gde);
}

static size_t collect_claims(const struct vmdk_tables *t, struct claim *v)
{
    unsigned dir;
    size_t n = 0;
    uint64_t i;

    for (dir = 0; dir < t->n_dirs; dir++)
        for (i = 0; i < t->g.gd_entries; i++) {
            uint32_t gde = t->dir[dir].whole[i];

            if (vmdk_gde_kind(&t->g, i, gde) == VMDK_PLACE_DATA)
                v[n++] = (struct claim){gde, (uint32_t)i, dir};
        }
    return n;
}

/* Two tables cannot share sectors (but both directories may name one place for the same table).
 * Which of them is right is not known: both entries are void.  False: not checked. */
static bool void_overlaps(struct vmdk_tables *t)
{
    VD_AUTO(free) struct claim *v = NULL;
    size_t n, i, last = 0;
    uint64_t end = 0;
    unsigned dir;

    for (dir = 0; dir < t->n_dirs; dir++)
        if (!t->dir[dir].whole)
            return false;
    v = malloc(t->g.gd_entries * t->n_dirs * sizeof(*v));
    if (!v)
        return false;
    n = collect_claims(t, v);
    if (n)
        qsort(v, n, sizeof(*v), compare_claims);
    for (i = 0; i < n; i++) {
        uint64_t off = (uint64_t)v[i].gde * VMDK_SECTOR;
        uint64_t len = (uint64_t)vmdk_table_entries(&t->g, v[i].table) * 4;

        if (i && off < end && v[i].table != v[last].table) {
            t->dir[v[i].dir].whole[v[i].table] = VMDK_GDE_OVERLAP;
            t->dir[v[last].dir].whole[v[last].table] = VMDK_GDE_OVERLAP;
        }
        if (off + len > end) {
            end = off + len;
            last = i;
        }
    }
    return true;
}

/* ---- tables ---- */

/* Calls `fn` for every grain of one table that lies in the file.  False: fn said stop. */
typedef bool grain_fn(struct vmdk_claims *claims, uint32_t gte, uint64_t len);

static bool each_grain(const struct vmdk_tables *t, uint64_t table, const uint32_t *gte,
                       struct vmdk_claims *claims, grain_fn *fn)
{
    uint64_t first = table * t->g.gt_entries;
    uint32_t k, n = vmdk_table_entries(&t->g, table);

    for (k = 0; k < n; k++)
        if (vmdk_place_of(&t->g, first + k, gte[k]).kind == VMDK_PLACE_DATA &&
            !fn(claims, gte[k], vmdk_grain_bytes(&t->g, first + k)))
            return false;
    return true;
}

static bool mark_grain(struct vmdk_claims *claims, uint32_t gte, uint64_t len)
{
    vmdk_claims_grain(claims, gte, len);
    return true;
}

/* The same for the copies of all tables. */
static bool each_table(struct vmdk_tables *t, struct vmdk_claims *claims, bool again)
{
    uint64_t table;
    unsigned i;

    for (table = 0; table < t->g.gd_entries; table++) {
        uint64_t len = (uint64_t)vmdk_table_entries(&t->g, table) * 4;
        struct vmdk_source source;

        if (vmdk_tables_source(t, table, &source, NULL))
            return false;
        for (i = 0; i < source.n; i++) {
            if (!again)
                vmdk_claims_table(claims, source.off[i], len);
            else if (!vmdk_claims_table_again(claims, source.off[i], len))
                return false;
        }
    }
    return true;
}

enum outcome { CHECKED, OVER_BUDGET, FAILED };

/* Reads one table (`shared` not NULL: inside the budget) and gives its entries to `fn`; NULL: only
 * the reading counts, which notes damage. */
static enum outcome check_table(struct vmdk_tables *t, uint64_t table, struct vmdk_shared *shared,
                                struct vmdk_claims *claims, grain_fn *fn)
{
    uint64_t bytes = (uint64_t)vmdk_table_entries(&t->g, table) * 4;
    VD_AUTO(free) uint32_t *gte = NULL;
    struct vmdk_source source;

    if (vmdk_tables_source(t, table, &source, NULL))
        return FAILED;
    if (source.kind != VMDK_PLACE_DATA)
        return CHECKED;
    if (shared && bytes * source.n > shared->check_left)
        return OVER_BUDGET;
    if (shared)
        shared->check_left -= bytes * source.n;
    gte = malloc(bytes);
    if (!gte || vmdk_tables_read(t, table, &source, gte, NULL))
        return FAILED;
    t->n_checked += shared != NULL;
    return !claims || each_grain(t, table, gte, claims, fn) ? CHECKED : FAILED;
}

/* Looks at directory entries and tables as far as the budgets go.  True: at all of them. */
static bool check_tables(struct vmdk_tables *t, struct vmdk_shared *shared,
                         struct vmdk_claims *claims)
{
    uint64_t table, entry_bytes = 4 * (uint64_t)t->n_dirs;
    bool complete = true;

    for (table = 0; table < t->g.gd_entries; table++) {
        enum outcome outcome;

        if (shared->scan_left < entry_bytes)
            return false;
        shared->scan_left -= entry_bytes;
        t->n_scanned++;
        outcome = check_table(t, table, shared, claims, mark_grain);
        complete = complete && outcome == CHECKED;
        if (outcome == FAILED && !t->dir[0].whole)
            table |= VMDK_DIR_PAGE_ENTRIES - 1; /* do not ask a failing medium for it again */
    }
    return complete;
}

/* Second pass over everything; bars what overlaps. */
static bool find_contested(struct vmdk_tables *t, struct vmdk_claims *claims)
{
    uint64_t table;

    for (table = 0; table < t->g.gd_entries; table++)
        if (check_table(t, table, NULL, claims, vmdk_claims_grain_again) != CHECKED)
            return false;
    if (!each_table(t, claims, true) ||
        !vmdk_claims_contested(claims, &t->contested, &t->g.n_contested))
        return false;
    t->g.contested = t->contested;
    for (table = 0; table < t->g.gd_entries && t->g.n_contested; table++)
        (void)check_table(t, table, NULL, NULL, NULL); /* notes the table's barred entries */
    return true;
}

/* Do all tables fit what is left of the budgets? */
static bool can_check_all(const struct vmdk_tables *t, const struct vmdk_shared *shared)
{
    uint64_t grains = vd_div_up(t->g.capacity, t->g.grain);

    return grains * 4 * t->n_dirs <= shared->check_left &&
           t->g.gd_entries * 4 * t->n_dirs <= shared->scan_left;
}

/* ---- streams ---- */

/* Does nothing name a grain directory that could be one, while the grains carry their addresses? */
static bool must_walk(const struct vmdk_tables *t, const struct vmdk_header *h)
{
    uint64_t off;

    return t->g.compressed && t->g.markers && !dir_possible(&t->g, h->gd_off_sectors, &off) &&
           !(t->g.redundant && dir_possible(&t->g, h->rgd_off_sectors, &off));
}

/* Puts the tables together from the stream.  If that meets a whole directory it is used like one that
 * the footer names: *io_gd_sectors. */
static int walk_stream(struct vmdk_tables *t, const struct vmdk_header *h, uint64_t *io_gd_sectors,
                       struct vd_err *err)
{
    int rc = vmdk_stream_walk(t->file, h, &t->g, &t->stream, err);

    if (rc)
        return rc;
    t->rebuilt = *vmdk_stream_found(t->stream);
    if (t->rebuilt.gd_sectors) {
        *io_gd_sectors = t->rebuilt.gd_sectors;
        vmdk_stream_free(vd_take(&t->stream));
        return 0;
    }
    if (t->rebuilt.n_grains == 0)
        return vd_fail(err, VD_ECORRUPT,
                       "no grain directory, and from sector %" PRIu64
                       " on the stream shows no grain either (%s)",
                       t->rebuilt.start / VMDK_SECTOR, t->rebuilt.why);
    t->g.stream_tables = true;
    return 0;
}

/* If the directory of a stream has its marker, all tables must have theirs ("every block of metadata",
 * VDF 5.0); also the only one, whose entry may be what is wrong. */
static void expect_markers(struct vmdk_tables *t)
{
    bool marked = false;

    if (!t->g.markers || t->n_dirs != 1 || !t->dir[0].whole ||
        vmdk_tables_has_marker(t->file, t->dir[0].off, VMDK_MARKER_DIR, &marked, NULL))
        return;
    t->marked = t->g.stream_tables = marked;
}

int vmdk_tables_load(struct vmdk_tables *t, const struct vmdk_header *h, struct vmdk_shared *shared,
                     struct vd_err *err)
{
    struct vmdk_claims *claims = NULL;
    struct vmdk_header found = *h;
    bool complete;
    unsigned i;
    int rc;

    if (!vd_mul(h->overhead_sectors, VMDK_SECTOR, &t->stream_start))
        t->stream_start = 0;
    if (must_walk(t, h)) {
        rc = walk_stream(t, h, &found.gd_off_sectors, err);
        if (rc || t->stream)
            return rc;
        vmdk_geometry_guard(&t->g, found.gd_off_sectors, t->g.gd_entries * 4);
    }
    rc = find_dirs(t, &found, err);
    if (rc)
        return rc;
    for (i = 0; i < t->n_dirs; i++)
        load_dir(t, &t->dir[i], shared);
    expect_markers(t);
    t->tables_overlap_unchecked = !void_overlaps(t);
    if (!t->g.compressed && can_check_all(t, shared))
        claims = vmdk_claims_new(t->g.file_size, t->g.grain, vd_div_up(t->g.capacity, t->g.grain));
    t->g.provable = claims != NULL || (t->g.compressed && t->g.markers);
    complete = check_tables(t, shared, claims);
    if (claims)
        complete = complete && each_table(t, claims, false) &&
                   (!vmdk_claims_suspect(claims) || find_contested(t, claims));
    t->grains_overlap_unchecked = !t->g.compressed && !(claims && complete);
    t->g.provable = t->g.provable && (t->g.compressed || complete);
    vmdk_claims_free(claims);
    return 0;
}
