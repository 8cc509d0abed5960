/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What directory and table entries mean, and how two copies of a table become one.  Pure.  VMware
 * Virtual Disk Format 5.0, "Grain Directories" and "Grain Tables"; an entry of 1 is a zeroed grain
 * only with the flag, otherwise it is sector 1 like any other number.
 */
#include "image/vmdk/tables.h"

#include "base/bytes.h"
#include "base/range.h"

static const char past_end[] = "points past the end of the file";
static const char cut_off[] = "the file ends inside the grain";
static const char into_meta[] = "points into the header, the descriptor or a grain directory";
static const char ambiguous[] = "the two copies of the table do not agree";
static const char lost[] = "stands for a grain that was not met in the stream, which is cut or "
                           "damaged: the grain may have "
                           "been in the lost part";
static const char twice[] = "stands for a grain that two places of the damaged stream claim to be";
static const char contested[] = "names sectors that another entry claims too";

void vmdk_geometry_guard(struct vmdk_geometry *g, uint64_t off_sectors, uint64_t len)
{
    uint64_t off, end;

    /* What does not fit in 64 bits is outside every file and needs no guard. */
    if (g->n_meta < VMDK_META_RANGES && len && vd_mul(off_sectors, VMDK_SECTOR, &off) &&
        vd_add(off, len, &end)) {
        g->meta[g->n_meta].off = off;
        g->meta[g->n_meta].len = len;
        g->n_meta++;
    }
}

void vmdk_geometry_init(const struct vmdk_header *h, uint64_t file_size, struct vmdk_geometry *out)
{
    struct vmdk_geometry g = {
        .capacity = h->capacity_sectors * VMDK_SECTOR,
        .grain = h->grain_sectors * VMDK_SECTOR,
        .file_size = file_size,
        .gt_entries = h->gt_entries,
        .gd_entries = vmdk_header_gd_entries(h),
        .zero_grain = h->flags & VMDK_FLAG_ZERO_GRAIN,
        .compressed = h->flags & VMDK_FLAG_COMPRESSED,
        .markers = h->flags & VMDK_FLAG_MARKERS,
        .redundant = h->flags & VMDK_FLAG_REDUNDANT,
    };
    uint64_t descriptor;

    g.gt_span = g.grain * g.gt_entries; /* <= VD_MAX_GRAIN * VD_MAX_GRAIN_TABLE */
    vmdk_geometry_guard(&g, 0, VMDK_HEADER_SIZE);
    if (h->descriptor_off_sectors && vd_mul(h->descriptor_sectors, VMDK_SECTOR, &descriptor))
        vmdk_geometry_guard(&g, h->descriptor_off_sectors, descriptor);
    vmdk_geometry_guard(&g, h->gd_off_sectors, g.gd_entries * 4);
    if (g.redundant)
        vmdk_geometry_guard(&g, h->rgd_off_sectors, g.gd_entries * 4);
    *out = g;
}

uint64_t vmdk_grain_bytes(const struct vmdk_geometry *g, uint64_t grain)
{
    return vd_min(g->grain, g->capacity - grain * g->grain);
}

uint32_t vmdk_table_entries(const struct vmdk_geometry *g, uint64_t table)
{
    uint64_t first = table * g->gt_span;

    return (uint32_t)vd_min(g->gt_entries, vd_div_up(g->capacity - first, g->grain));
}

/* Does [off, off+len) touch the file's own structures?  The caller made sure it does not wrap. */
static bool touches_meta(const struct vmdk_geometry *g, uint64_t off, uint64_t len)
{
    size_t i;

    for (i = 0; i < g->n_meta; i++)
        if (vd_range_overlap(off, len, g->meta[i].off, g->meta[i].len))
            return true;
    return false;
}

static struct vmdk_place bad(const char *why)
{
    return (struct vmdk_place){.kind = VMDK_PLACE_BAD, .why = why};
}

static bool is_contested(const struct vmdk_geometry *g, uint32_t gte)
{
    size_t low = 0, high = g->n_contested;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (g->contested[mid] < gte)
            low = mid + 1;
        else
            high = mid;
    }
    return low < g->n_contested && g->contested[low] == gte;
}

struct vmdk_place vmdk_place_of(const struct vmdk_geometry *g, uint64_t grain, uint32_t gte)
{
    uint64_t off = (uint64_t)gte * VMDK_SECTOR, need = vmdk_grain_bytes(g, grain);
    struct vmdk_place place = {.kind = VMDK_PLACE_DATA, .off = off};

    if (gte == 0)
        return (struct vmdk_place){.kind = VMDK_PLACE_ABSENT};
    if (gte == 1 && g->zero_grain)
        return (struct vmdk_place){.kind = VMDK_PLACE_ZEROS};
    if (gte == VMDK_GTE_AMBIGUOUS)
        return bad(ambiguous);
    if (g->stream_tables && gte >= VMDK_GTE_TWICE)
        return bad(gte == VMDK_GTE_LOST ? lost : twice);
    if (g->compressed)
        need = 1; /* its size stands in its header; that is checked when it is read */
    if (off >= g->file_size)
        return bad(past_end);
    if (touches_meta(g, off, need))
        return bad(into_meta);
    if (is_contested(g, gte))
        return bad(contested);
    place.len = vd_min(need, g->file_size - off);
    if (place.len < need)
        place.why = cut_off;
    return place;
}

/* ---- two copies ---- */

bool vmdk_gt_has_bad(const struct vmdk_geometry *g, uint64_t first_grain, const uint32_t *gte,
                     uint32_t n)
{
    uint32_t k;

    for (k = 0; k < n; k++)
        if (vmdk_place_of(g, first_grain + k, gte[k]).kind == VMDK_PLACE_BAD)
            return true;
    return false;
}

/* Table entries in one sector: the unit in which media and writers lose bytes. */
#define SECTOR_ENTRIES (VMDK_SECTOR / 4)

/* Does this copy of the sector hold nothing, and the other one more than a single entry?  Then it
 * was wiped or never written; a lone entry could be a flipped bit. */
static bool is_wiped(const uint32_t *copy, const uint32_t *other, uint32_t n)
{
    uint32_t k, n_other = 0;

    for (k = 0; k < n; k++) {
        if (copy[k])
            return false;
        n_other += other[k] != 0;
    }
    return n_other > 1;
}

/* The copies of one entry, where neither is wiped around it. */
static uint32_t merge_entry(const struct vmdk_geometry *g, uint64_t grain, uint32_t p, uint32_t r,
                            bool damaged)
{
    uint32_t only = p ? p : r;

    if (p == r)
        return p;
    if (damaged && vmdk_place_of(g, grain, p).kind == VMDK_PLACE_BAD)
        return r && vmdk_place_of(g, grain, r).kind != VMDK_PLACE_BAD ? r : VMDK_GTE_AMBIGUOUS;
    if (damaged && vmdk_place_of(g, grain, r).kind == VMDK_PLACE_BAD)
        return p ? p : VMDK_GTE_AMBIGUOUS;
    if (damaged || (p && r) || !g->provable)
        return VMDK_GTE_AMBIGUOUS;
    /* Grains are only ever added: the copy that lacks one is older.  That the place is free for it
     * is proved by the claims or the grain's own address; of a zeroed grain nothing can be. */
    return vmdk_place_of(g, grain, only).kind == VMDK_PLACE_DATA ? only : VMDK_GTE_AMBIGUOUS;
}

/* One sector's worth of entries. */
static void merge_sector(const struct vmdk_geometry *g, uint64_t first_grain, uint32_t *p,
                         const uint32_t *r, uint32_t n, bool bad_p, bool bad_r)
{
    uint32_t k;

    if (is_wiped(r, p, n))
        return;
    if (is_wiped(p, r, n) || (bad_p && !bad_r)) {
        memcpy(p, r, (size_t)n * 4);
        return;
    }
    if (bad_r && !bad_p)
        return;
    for (k = 0; k < n; k++)
        p[k] = merge_entry(g, first_grain + k, p[k], r[k], bad_p && bad_r);
}

void vmdk_gt_merge(const struct vmdk_geometry *g, uint64_t table, uint32_t *io_primary,
                   const uint32_t *redundant, uint32_t n, struct vmdk_merge *result)
{
    uint64_t first = table * g->gt_entries;
    bool bad_p, bad_r;
    uint32_t k;

    *result = (struct vmdk_merge){.differ = memcmp(io_primary, redundant, (size_t)n * 4) != 0};
    if (!result->differ)
        return;
    bad_p = vmdk_gt_has_bad(g, first, io_primary, n);
    bad_r = vmdk_gt_has_bad(g, first, redundant, n);
    for (k = 0; k < n; k += SECTOR_ENTRIES)
        merge_sector(g, first + k, io_primary + k, redundant + k,
                     (uint32_t)vd_min(SECTOR_ENTRIES, n - k), bad_p, bad_r);
    for (k = 0; k < n; k++)
        result->n_unclear += io_primary[k] == VMDK_GTE_AMBIGUOUS;
}
