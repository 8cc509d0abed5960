/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seSparse at open: keeping the directory, and as much checking as the image's budgets allow.  Tables
 * that two directory entries name and grains that two table entries name are barred: one of the two is
 * wrong, nobody knows which.  Runs in the thread that opens the image.
 */
#include "image/vmdk/sesparse_priv.h"

#include "base/cleanup.h"
#include "base/range.h"

#include <stdlib.h>

/* Keeps the directory whole, if the budget and the medium allow. */
static void load_directory(struct vmdk_sesparse *s, struct vmdk_shared *shared)
{
    uint64_t bytes = s->g.n_entries * VMDK_SE_ENTRY_BYTES;
    uint64_t *v;

    if (bytes > shared->directory_left)
        return;
    v = malloc(bytes);
    if (!v || vmdk_se_read_entries(s->file, s->g.dir_off, v, (size_t)s->g.n_entries, NULL)) {
        free(v);
        return;
    }
    shared->directory_left -= bytes;
    s->dir = v;
}

/* A failure to remember is no failure to open: it is said that nothing was compared. */
static bool remember(struct overlap *overlap, uint64_t number)
{
    return overlap_add(overlap, number, NULL) == 0;
}

/* Which tables do two entries name?  Needs the whole directory. */
static int find_tables_twice(struct vmdk_sesparse *s, struct vd_err *err)
{
    bool complete = s->dir != NULL;
    uint64_t table;

    for (table = 0; complete && table < s->g.n_entries; table++) {
        struct vmdk_se_place place = vmdk_se_table_place(&s->g, table, s->dir[table]);

        complete = place.at.kind != VMDK_PLACE_DATA || remember(&s->tables_twice, place.number);
    }
    s->tables_unchecked = !complete;
    if (!complete) {
        overlap_clear(&s->tables_twice);
        return 0;
    }
    s->g.tables_twice = &s->tables_twice;
    return vd_prefix(err, overlap_finish(&s->tables_twice, 1, err), "grain tables");
}

/* Reads one table inside the budget and remembers its grains.  False: not, or not all. */
static bool check_table(struct vmdk_sesparse *s, uint64_t table, struct vmdk_shared *shared)
{
    uint32_t n = vmdk_se_table_entries(&s->g, table), k;
    uint64_t bytes = (uint64_t)n * VMDK_SE_ENTRY_BYTES, gde;
    VD_AUTO(free) uint64_t *gte = NULL;
    struct vmdk_se_place place;

    if (vmdk_se_dir_entry(s, table, &gde, NULL))
        return false;
    place = vmdk_se_table_place(&s->g, table, gde);
    if (place.at.kind == VMDK_PLACE_BAD)
        vmdk_se_note(s, SE_NOTE_DIR_DAMAGED, table);
    if (place.at.kind != VMDK_PLACE_DATA)
        return true;
    if (bytes > shared->check_left)
        return false;
    shared->check_left -= bytes;
    gte = malloc(bytes);
    if (!gte || vmdk_se_read_table(s, table, &place, gte, NULL))
        return false;
    s->n_checked++;
    for (k = 0; k < n; k++) {
        place = vmdk_se_grain_place(&s->g, table * VMDK_SE_GT_ENTRIES + k, gte[k]);
        if (place.at.kind == VMDK_PLACE_DATA && !remember(&s->grains_twice, place.number))
            return false;
    }
    return true;
}

/* What was found in a part of the tables is right whatever the others hold. */
static int find_grains_twice(struct vmdk_sesparse *s, struct vmdk_shared *shared,
                             struct vd_err *err)
{
    bool complete = true;
    uint64_t table;

    for (table = 0; table < s->g.n_entries; table++) {
        if (shared->scan_left < VMDK_SE_ENTRY_BYTES) {
            complete = false;
            break;
        }
        shared->scan_left -= VMDK_SE_ENTRY_BYTES;
        s->n_scanned++;
        complete = check_table(s, table, shared) && complete;
    }
    s->grains_unchecked = !complete;
    s->g.grains_twice = &s->grains_twice;
    return vd_prefix(err, overlap_finish(&s->grains_twice, 1, err), "grains");
}

int vmdk_se_load(struct vmdk_sesparse *s, struct vmdk_shared *shared, struct vd_err *err)
{
    int rc;

    load_directory(s, shared);
    rc = find_tables_twice(s, err);
    return rc ? rc : find_grains_twice(s, shared, err);
}
