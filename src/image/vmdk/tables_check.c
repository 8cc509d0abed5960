/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Structural check of an extent with grain directories: every entry of every copy, the headers of
 * compressed grains, and who uses which bytes of the file.  VMware Virtual Disk Format 5.0.  What
 * opening has said is not said again.  Tables are read anew, past the cache.  One thread; the extent may
 * be read by others meanwhile.
 */
#include "image/vmdk/tables_priv.h"

#include "base/cleanup.h"
#include "base/range.h"
#include "image/space.h"
#include "image/vmdk/grain.h"

#include <inttypes.h>
#include <stdlib.h>

struct walk {
    struct vmdk_tables *t;
    const struct check *check; /* NULL while bytes are claimed: everything was said before */
    struct space *space;       /* NULL while findings are made */
    uint32_t *gte[2];          /* room for one table each */
    uint64_t n_tables, n_grains;
    /* Grains lost with a part of a stream, not told yet. */
    uint64_t lost_first, lost_end;
};

/* The part of the disk that `n` grains from `grain` on are. */
static struct check_place on_disk(const struct vmdk_geometry *g, uint64_t grain, uint64_t n)
{
    struct check_place place = {.on_disk = true, .disk_off = grain * g->grain};

    if (!vd_mul(n, g->grain, &place.disk_len) || place.disk_len > g->capacity - place.disk_off)
        place.disk_len = g->capacity - place.disk_off;
    return place;
}

static struct check_place table_place(const struct vmdk_tables *t, uint64_t table, unsigned dir)
{
    struct check_place place = on_disk(&t->g, table * t->g.gt_entries, t->g.gt_entries);

    place.in_file = true;
    place.file_off = t->dir[dir].off + table * 4;
    return place;
}

/* ---- compressed grains ---- */

/* The header of a compressed grain: is it that of this grain, and does the file hold all of it?  Claims
 * what it says. */
static void check_grain_header(struct walk *w, uint64_t grain, const struct vmdk_place *place,
                               const struct check_place *where)
{
    const struct vmdk_geometry *g = &w->t->g;
    size_t len = g->markers ? VMDK_GRAIN_HEADER_MARKER : VMDK_GRAIN_HEADER_PLAIN;
    uint8_t bytes[VMDK_GRAIN_HEADER_MARKER];
    struct vd_err why = VD_ERR_INIT;
    struct vmdk_grain_header h;
    int rc;

    if (!vd_range_inside(place->off, len, g->file_size))
        rc = vd_fail(&why, VD_ECORRUPT, "the file ends inside its header");
    else
        rc = blk_read(w->t->file, place->off, bytes, len, &why);
    if (rc == 0) {
        vmdk_grain_header_decode(bytes, g->markers, &h);
        rc = vmdk_grain_header_validate(&h, grain * (g->grain / VMDK_SECTOR), g->grain, &why);
    }
    if (rc == 0 && !vd_range_inside(place->off + len, h.data_size, g->file_size))
        rc = vd_fail(&why, VD_ECORRUPT, "the file ends inside its data");
    if (rc && w->check)
        check_finding(w->check, CHECK_ERROR, "grain_header", w->t->file->label, where,
                      "grain %" PRIu64 ": %s", grain, why.msg);
    if (rc == 0 && w->space)
        space_claim(w->space, place->off, len + h.data_size, "grain", grain);
}

/* ---- tables ---- */

static void tell_lost(struct walk *w)
{
    struct check_place where = on_disk(&w->t->g, w->lost_first, w->lost_end - w->lost_first);

    if (w->lost_end > w->lost_first && w->check)
        check_finding(w->check, CHECK_ERROR, "grains_lost", w->t->file->label, &where,
                      "%" PRIu64 " grains from grain %" PRIu64
                      " on may have been in the lost part of the stream",
                      w->lost_end - w->lost_first, w->lost_first);
    w->lost_first = w->lost_end = 0;
}

static void check_entry(struct walk *w, uint64_t grain, uint32_t gte, uint64_t file_off)
{
    struct vmdk_place place = vmdk_place_of(&w->t->g, grain, gte);
    struct check_place where = on_disk(&w->t->g, grain, 1);

    where.in_file = file_off != 0;
    where.file_off = file_off;
    if (place.kind == VMDK_PLACE_BAD && w->t->stream && gte == VMDK_GTE_LOST) {
        if (w->lost_end != grain)
            tell_lost(w);
        if (w->lost_end == 0)
            w->lost_first = grain;
        w->lost_end = grain + 1;
        return;
    }
    if (place.kind == VMDK_PLACE_BAD || place.why) {
        if (w->check)
            check_finding(w->check, CHECK_ERROR,
                          place.kind != VMDK_PLACE_BAD ? "grain_cut"
                          : gte == VMDK_GTE_AMBIGUOUS  ? "copies_contradict"
                                                       : "table_entry",
                          w->t->file->label, &where,
                          "the entry 0x%08" PRIx32 " of grain %" PRIu64 " %s", gte, grain,
                          place.why);
    }
    if (place.kind != VMDK_PLACE_DATA)
        return;
    w->n_grains++;
    if (w->t->g.compressed)
        check_grain_header(w, grain, &place, &where);
    else if (w->space)
        space_claim(w->space, place.off, vd_min(w->t->g.grain, w->t->g.file_size - place.off),
                    "grain", grain);
}

/* Reads a whole copy, entries behind the end of the disk included.  False: it cannot be read. */
static bool read_copy(struct walk *w, uint64_t table, uint64_t off, uint32_t *out, bool alone)
{
    const struct vmdk_geometry *g = &w->t->g;
    uint32_t n = vmdk_table_entries(g, table), all = g->gt_entries, k, n_behind = 0;
    struct check_place where = on_disk(g, table * g->gt_entries, n);
    struct vd_err why = VD_ERR_INIT;

    where.in_file = true;
    where.file_off = off;
    if (!vd_range_inside(off, (uint64_t)all * 4, g->file_size))
        all = n;
    if (vmdk_tables_read_entries(w->t->file, off, out, all, &why)) {
        if (w->check)
            check_finding(w->check, alone ? CHECK_ERROR : CHECK_WARNING, "table_unreadable",
                          w->t->file->label, &where, "grain table %" PRIu64 ": %s", table, why.msg);
        return false;
    }
    for (k = n; k < all; k++)
        n_behind += out[k] != 0;
    where.on_disk = false;
    if (n_behind && w->check)
        check_finding(w->check, CHECK_NOTE, "entries_behind_disk", w->t->file->label, &where,
                      "grain table %" PRIu64 ": %" PRIu32
                      " entries stand for grains behind the end of the disk; they mean nothing",
                      table, n_behind);
    return true;
}

/* Makes one table of the copies, in gte[0]. */
static void compare_copies(struct walk *w, uint64_t table, const uint64_t *off)
{
    uint32_t n = vmdk_table_entries(&w->t->g, table), k, n_differ = 0;
    struct check_place where = on_disk(&w->t->g, table * w->t->g.gt_entries, n);
    struct vmdk_merge merge;

    for (k = 0; k < n; k++)
        n_differ += w->gte[0][k] != w->gte[1][k];
    where.in_file = true;
    where.file_off = off[1];
    if (n_differ && w->check)
        check_finding(w->check, CHECK_WARNING, "copies_differ", w->t->file->label, &where,
                      "grain table %" PRIu64 ": the copies at offsets %" PRIu64 " and %" PRIu64
                      " differ in %" PRIu32 " entries",
                      table, off[0], off[1], n_differ);
    vmdk_gt_merge(&w->t->g, table, w->gte[0], w->gte[1], n, &merge);
}

static void check_marker(const struct walk *w, uint64_t table, uint64_t off)
{
    struct check_place where = table_place(w->t, table, 0);
    bool marked = false;

    if (w->check && w->t->marked &&
        vmdk_tables_has_marker(w->t->file, off, VMDK_MARKER_TABLE, &marked, NULL) == 0 && !marked)
        check_finding(w->check, CHECK_ERROR, "table_marker", w->t->file->label, &where,
                      "grain table %" PRIu64 ": no marker stands before it at offset %" PRIu64,
                      table, off);
}

/* Looks at the `n` copies of one table. */
static void check_table(struct walk *w, uint64_t table, const uint64_t *off, unsigned n)
{
    uint64_t first = table * w->t->g.gt_entries, bytes = (uint64_t)w->t->g.gt_entries * 4;
    uint32_t k, n_entries = vmdk_table_entries(&w->t->g, table);
    bool two = n == 2 && off[0] != off[1], ok[2] = {false, false};
    unsigned i;

    for (i = 0; i < (two ? 2u : 1u); i++) {
        uint64_t before = w->t->marked && off[i] >= VMDK_SECTOR ? VMDK_SECTOR : 0;

        if (w->space)
            space_claim(w->space, off[i] - before, before + bytes, "grain table", table);
        check_marker(w, table, off[i]);
        ok[i] = read_copy(w, table, off[i], w->gte[i], !two);
        w->n_tables += ok[i];
    }
    if (!ok[0] && !ok[1])
        return;
    if (ok[0] && ok[1])
        compare_copies(w, table, off);
    for (k = 0; k < n_entries; k++)
        check_entry(w, first + k, w->gte[!ok[0]][k], off[!ok[0]] + 4 * (uint64_t)k);
}

/* ---- directories ---- */

static const char *gde_why(uint32_t gde)
{
    return gde == VMDK_GDE_OVERLAP ? "names sectors of another table"
                                   : "points past the end of the file or into its structures";
}

/* The entries of all directories for one table.  False: a part of a directory cannot be read. */
static bool check_entries_of(struct walk *w, uint64_t table)
{
    struct vmdk_tables *t = w->t;
    struct vd_err why = VD_ERR_INIT;
    uint64_t off[2] = {0, 0};
    uint32_t gde[2] = {0, 0};
    bool readable = true;
    unsigned i, n = 0;

    for (i = 0; i < t->n_dirs; i++) {
        struct check_place where = table_place(t, table, i);

        if (vmdk_tables_dir_entry(t, i, table, &gde[i], &why)) {
            readable = false;
            if (w->check)
                check_finding(w->check, t->n_dirs == 1 ? CHECK_ERROR : CHECK_WARNING,
                              "directory_unreadable", t->file->label, &where, "%s", why.msg);
        } else if (vmdk_gde_kind(&t->g, table, gde[i]) == VMDK_PLACE_DATA) {
            off[n++] = (uint64_t)gde[i] * VMDK_SECTOR;
        } else if (gde[i] && w->check) {
            check_finding(w->check, t->n_dirs == 1 ? CHECK_ERROR : CHECK_WARNING, "directory_entry",
                          t->file->label, &where,
                          "the directory entry 0x%08" PRIx32 " of grain table %" PRIu64 " %s",
                          gde[i], table, gde_why(gde[i]));
        }
    }
    if (w->check && t->n_dirs == 2 && readable && n == 1 && (!gde[0] || !gde[1])) {
        struct check_place where = table_place(t, table, gde[0] ? 1 : 0);

        check_finding(w->check, CHECK_WARNING, "copies_differ", t->file->label, &where,
                      "grain table %" PRIu64 ": only one of the two directories names it", table);
    }
    if (n)
        check_table(w, table, off, n);
    return readable;
}

static void walk_tables(struct walk *w)
{
    struct vmdk_tables *t = w->t;
    uint64_t table;

    w->n_tables = w->n_grains = 0;
    for (table = 0; table < t->g.gd_entries; table++) {
        uint32_t k, n = vmdk_table_entries(&t->g, table);

        if (!t->stream) {
            if (!check_entries_of(w, table) && t->n_dirs == 1)
                table |= VMDK_DIR_PAGE_ENTRIES - 1; /* one message per unreadable page */
            continue;
        }
        vmdk_stream_table(t->stream, table, w->gte[0], n);
        for (k = 0; k < n; k++)
            check_entry(w, table * t->g.gt_entries + k, w->gte[0][k], 0);
    }
    tell_lost(w);
}

/* ---- space ---- */

static int claim_all(void *ctx, struct space *space, struct vd_err *err)
{
    struct walk *w = ctx;
    const struct vmdk_geometry *g = &w->t->g;
    uint64_t end = 0;
    size_t i;

    (void)err;
    w->space = space;
    for (i = 0; i < g->n_meta; i++)
        space_claim(space, g->meta[i].off, g->meta[i].len, "header, descriptor or directory", i);
    if (w->t->marked) { /* the marker before the directory, and all behind it */
        end = vd_div_up(w->t->dir[0].off + g->gd_entries * 4, VMDK_SECTOR) * VMDK_SECTOR;
        space_claim(space, w->t->dir[0].off - VMDK_SECTOR, VMDK_SECTOR, "directory marker", 0);
        space_claim(space, end, g->file_size > end ? g->file_size - end : 0, "end of the stream",
                    0);
    }
    walk_tables(w);
    w->space = NULL;
    return 0;
}

/* The sequence of a stream's markers, if the file has them for its tables too. */
static int check_sequence(const struct walk *w, uint64_t start, struct vd_err *err)
{
    struct vmdk_header h = {.overhead_sectors = start / VMDK_SECTOR};
    const struct vmdk_tables *t = w->t;
    struct vmdk_stream *stream = NULL;
    const struct vmdk_stream_found *found;
    struct check_place where = {.in_file = true};
    int rc;

    if (!t->marked || !start)
        return 0;
    rc = vmdk_stream_walk(t->file, &h, &t->g, &stream, err);
    if (rc)
        return rc;
    found = vmdk_stream_found(stream);
    where.file_off = found->end;
    if (found->gd_sectors != t->dir[0].off / VMDK_SECTOR)
        check_finding(w->check, CHECK_WARNING, "stream_sequence", t->file->label, &where,
                      "going from marker to marker does not lead to the grain directory: it ends "
                      "after %" PRIu64 " grains and %" PRIu64 " tables (%s)",
                      found->n_grains, found->n_tables, found->why);
    vmdk_stream_free(stream);
    return 0;
}

int vmdk_tables_check(struct vmdk_tables *t, const struct check *check, struct vd_err *err)
{
    struct walk w = {.t = t, .check = check};
    VD_AUTO(free) uint32_t *room = malloc((size_t)t->g.gt_entries * 8);
    int rc;

    if (!room)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    w.gte[0] = room;
    w.gte[1] = room + t->g.gt_entries;
    walk_tables(&w);
    check_count(check, t->file->label, "grain tables", w.n_tables);
    check_count(check, t->file->label, "grains", w.n_grains);
    rc = check_sequence(&w, t->stream_start, err);
    if (rc || t->stream)
        return rc;
    w.check = NULL;
    return space_check(check, t->file->label, t->g.file_size, VMDK_SECTOR, claim_all, &w, err);
}
