/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seSparse: the structural check.  Every directory entry and every entry of every table is looked at;
 * what two entries name is found by the claims of space.h.  The free bitmap and the back map are
 * bookkeeping of the writer in an unpublished form: their places are claimed, their content is not
 * judged.  One thread.
 */
#include "image/vmdk/sesparse_priv.h"

#include "base/cleanup.h"
#include "base/range.h"
#include "image/space.h"

#include <inttypes.h>
#include <stdlib.h>

struct walk {
    struct vmdk_sesparse *s;
    struct vmdk_se_shape g;    /* without what was barred at open: claims find it */
    const struct check *check; /* NULL: only claim */
    struct space *space;       /* NULL: only look */
    uint64_t *gte;             /* one table */
    uint32_t *numbers;         /* of the tables in use, sorted */
    size_t n_numbers;
    uint64_t n_tables, n_stored, n_zeros, n_unmapped;
};

static void find(const struct walk *w, enum check_level level, const char *id,
                 const struct check_place *place, const char *what, uint64_t number, uint64_t value,
                 const char *why)
{
    check_finding(w->check, level, id, w->s->file->label, place,
                  "%s %" PRIu64 ": the entry 0x%016" PRIx64 " %s", what, number, value, why);
}

static void look_at_grain(struct walk *w, const struct vmdk_se_place *table, uint64_t grain,
                          uint64_t gte)
{
    struct vmdk_se_place place = vmdk_se_grain_place(&w->g, grain, gte);
    struct check_place where = {.in_file = true,
                                .file_off = table->at.off +
                                            grain % VMDK_SE_GT_ENTRIES * VMDK_SE_ENTRY_BYTES,
                                .on_disk = true,
                                .disk_off = grain * VMDK_SE_GRAIN,
                                .disk_len = vmdk_se_grain_bytes(&w->g, grain)};

    if (place.at.kind == VMDK_PLACE_DATA && w->space)
        space_claim(w->space, place.at.off, VMDK_SE_GRAIN, "grain", grain);
    if (!w->check)
        return;
    w->n_stored += place.at.kind == VMDK_PLACE_DATA;
    w->n_unmapped += place.unmapped;
    w->n_zeros += place.at.kind == VMDK_PLACE_ZEROS && !place.unmapped;
    if (place.at.kind == VMDK_PLACE_BAD) {
        find(w, CHECK_ERROR, "table_entry", &where, "grain", grain, gte, place.at.why);
    } else if (place.at.kind == VMDK_PLACE_DATA && place.at.why) {
        where.disk_off += place.at.len;
        where.disk_len -= place.at.len;
        find(w, CHECK_ERROR, "grain_cut", &where, "grain", grain, gte, place.at.why);
    }
}

static void look_at_table(struct walk *w, uint64_t table, const struct vmdk_se_place *place)
{
    uint32_t n = vmdk_se_table_entries(&w->g, table), k;
    struct vd_err why = VD_ERR_INIT;
    struct check_place where = {
        .in_file = true,
        .file_off = place->at.off,
        .on_disk = true,
        .disk_off = table * VMDK_SE_GT_SPAN,
        .disk_len = vd_min(VMDK_SE_GT_SPAN, w->g.capacity - table * VMDK_SE_GT_SPAN)};

    if (vmdk_se_read_entries(w->s->file, place->at.off, w->gte, n, &why)) {
        if (w->check)
            check_finding(w->check, CHECK_ERROR, "table_unreadable", w->s->file->label, &where,
                          "grain table %" PRIu64 ": %s", table, why.msg);
        return;
    }
    w->n_tables++;
    for (k = 0; k < n; k++)
        look_at_grain(w, place, table * VMDK_SE_GT_ENTRIES + k, w->gte[k]);
}

/* ---- the directory ---- */

static int compare_numbers(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

/* The numbers of all tables that the directory names, sorted: at most 2^23 (VD_MAX_GRAIN_DIR), 32 MiB.
 * A table that two entries name is not gone through for each of them: the claims tell it, and a
 * directory of nothing but the same number would take hours. */
static int collect_numbers(struct walk *w, struct vd_err *err)
{
    uint64_t table, gde;

    w->numbers = malloc(w->g.n_entries * sizeof(*w->numbers));
    if (!w->numbers)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    for (table = 0; table < w->g.n_entries; table++) {
        struct vmdk_se_place place;

        if (vmdk_se_dir_entry(w->s, table, &gde, NULL))
            continue;
        place = vmdk_se_table_place(&w->g, table, gde);
        if (place.at.kind == VMDK_PLACE_DATA)
            w->numbers[w->n_numbers++] = (uint32_t)place.number; /* it has 32 bits */
    }
    if (w->n_numbers)
        qsort(w->numbers, w->n_numbers, sizeof(*w->numbers), compare_numbers);
    return 0;
}

static bool named_twice(const struct walk *w, uint32_t number)
{
    const uint32_t *at =
        bsearch(&number, w->numbers, w->n_numbers, sizeof(number), compare_numbers);

    return at && ((at > w->numbers && at[-1] == number) ||
                  (at + 1 < w->numbers + w->n_numbers && at[1] == number));
}

static void look_at_directory_entry(struct walk *w, uint64_t table)
{
    struct vd_err why = VD_ERR_INIT;
    struct vmdk_se_place place;
    uint64_t gde;
    struct check_place where = {
        .in_file = true,
        .file_off = w->g.dir_off + table * VMDK_SE_ENTRY_BYTES,
        .on_disk = true,
        .disk_off = table * VMDK_SE_GT_SPAN,
        .disk_len = vd_min(VMDK_SE_GT_SPAN, w->g.capacity - table * VMDK_SE_GT_SPAN)};

    if (vmdk_se_dir_entry(w->s, table, &gde, &why)) {
        if (w->check)
            check_finding(w->check, CHECK_ERROR, "directory_unreadable", w->s->file->label, &where,
                          "grain table %" PRIu64 ": %s", table, why.msg);
        return;
    }
    place = vmdk_se_table_place(&w->g, table, gde);
    if (place.at.kind == VMDK_PLACE_BAD && w->check)
        find(w, CHECK_ERROR, "directory_entry", &where, "grain table", table, gde, place.at.why);
    if (place.at.kind != VMDK_PLACE_DATA)
        return;
    if (w->space)
        space_claim(w->space, place.at.off, VMDK_SE_GT_SECTORS * VMDK_SECTOR, "grain table", table);
    if (!named_twice(w, (uint32_t)place.number))
        look_at_table(w, table, &place);
}

/* ---- the areas ---- */

static int compare_areas(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return (x[0] > y[0]) - (x[0] < y[0]);
}

/* Everything that is neither table nor grain: the headers, the areas of bookkeeping, and what lies
 * between the areas (they begin at round places).  Tables have their places reserved from the start,
 * so the rest of their area is no leak either: it is claimed behind the last table in use. */
static void claim_areas(const struct walk *w, uint64_t tables_end)
{
    const struct vmdk_se_header *h = &w->s->h;
    uint64_t v[VMDK_SE_AREAS][2], at = VMDK_SECTOR;
    int i;

    for (i = 0; i < VMDK_SE_AREAS; i++) {
        v[i][0] = h->area[i].off_sectors * VMDK_SECTOR;
        v[i][1] = h->area[i].sectors * VMDK_SECTOR;
        if (i != VMDK_SE_TABLES && i != VMDK_SE_GRAINS)
            space_claim(w->space, v[i][0], v[i][1], vmdk_se_area_name((enum vmdk_se_area)i), 0);
    }
    space_claim(w->space, 0, VMDK_SECTOR, "header", 0);
    space_claim(w->space, tables_end, w->g.tables_off + v[VMDK_SE_TABLES][1] - tables_end,
                "free tables", 0);
    qsort(v, VMDK_SE_AREAS, sizeof(v[0]), compare_areas);
    for (i = 0; i < VMDK_SE_AREAS; i++) {
        if (v[i][1] == 0)
            continue;
        if (v[i][0] > at)
            space_claim(w->space, at, v[i][0] - at, "padding between the areas", 0);
        at = v[i][0] + v[i][1];
    }
}

/* Where the last table ends that some entry names. */
static uint64_t end_of_tables(const struct walk *w)
{
    uint64_t n = w->n_numbers ? (uint64_t)w->numbers[w->n_numbers - 1] + 1 : 0;

    return w->g.tables_off + n * VMDK_SE_GT_SECTORS * VMDK_SECTOR;
}

static int claim_all(void *ctx, struct space *space, struct vd_err *err)
{
    struct walk *w = ctx;
    uint64_t table;

    (void)err;
    w->space = space;
    claim_areas(w, end_of_tables(w));
    for (table = 0; table < w->g.n_entries; table++)
        look_at_directory_entry(w, table);
    w->space = NULL;
    return 0;
}

static void report_counts(const struct walk *w)
{
    const char *file = w->s->file->label;

    check_count(w->check, file, "grain directory entries", w->g.n_entries);
    check_count(w->check, file, "grain tables", w->n_tables);
    check_count(w->check, file, "grains", w->n_stored);
    check_count(w->check, file, "zeroed grains", w->n_zeros);
    check_count(w->check, file, "unmapped grains", w->n_unmapped);
}

static int check_all(struct walk *w, struct vd_err *err)
{
    const struct check *check = w->check;
    uint64_t table;
    int rc = collect_numbers(w, err);

    if (rc)
        return rc;
    for (table = 0; table < w->g.n_entries; table++)
        look_at_directory_entry(w, table);
    report_counts(w);
    w->check = NULL;
    return space_check(check, w->s->file->label, w->s->file->size, VMDK_SECTOR, claim_all, w, err);
}

int vmdk_se_check(struct blkdev *dev, const struct check *check, struct vd_err *err)
{
    struct vmdk_sesparse *s = dev->priv;
    VD_AUTO(free) uint64_t *gte = malloc(VMDK_SE_GT_ENTRIES * sizeof(*gte));
    struct walk w = {.s = s, .g = s->g, .check = check, .gte = gte};
    int rc;

    if (!gte)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    w.g.tables_twice = w.g.grains_twice = NULL;
    rc = check_all(&w, err);
    free(w.numbers);
    return rc;
}
