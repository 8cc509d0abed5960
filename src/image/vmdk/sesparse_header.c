/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seSparse: the two headers, and what directory and table entries mean.  See sesparse.h for where the
 * facts come from.  The constant header is written once, the volatile one as the file is used.
 * Pure but for vmdk_se_headers; any thread.
 */
#include "image/vmdk/sesparse.h"

#include "base/bytes.h"
#include "base/limits.h"
#include "base/range.h"

#include <inttypes.h>

#define CONST_MAGIC    UINT64_C(0x00000000cafebabe)
#define VOLATILE_MAGIC UINT64_C(0x00000000cafecafe)

#define AT_AREAS   80
#define AT_PADDING 208

#define GRAIN_SECTORS (VMDK_SE_GRAIN / VMDK_SECTOR)

const char *vmdk_se_area_name(enum vmdk_se_area area)
{
    static const char *const names[VMDK_SE_AREAS] = {
        [VMDK_SE_VOLATILE] = "volatile header", [VMDK_SE_JOURNAL_HEADER] = "journal header",
        [VMDK_SE_JOURNAL] = "journal",          [VMDK_SE_DIRECTORY] = "grain directory",
        [VMDK_SE_TABLES] = "grain tables",      [VMDK_SE_FREE_BITMAP] = "free bitmap",
        [VMDK_SE_BACK_MAP] = "back map",        [VMDK_SE_GRAINS] = "grains",
    };

    return names[area];
}

/* ---- decoding ---- */

int vmdk_se_header_decode(const uint8_t *bytes, size_t len, struct vmdk_se_header *out,
                          struct vd_err *err)
{
    int i;

    if (len < VMDK_SECTOR)
        return vd_fail(err, VD_ECORRUPT, "the seSparse header is cut after %zu of %u bytes", len,
                       VMDK_SECTOR);
    if (vd_le64(bytes) != CONST_MAGIC)
        return vd_fail(err, VD_ECORRUPT, "the header has no seSparse signature");
    *out = (struct vmdk_se_header){
        .version = vd_le64(bytes + 8),
        .capacity_sectors = vd_le64(bytes + 16),
        .grain_sectors = vd_le64(bytes + 24),
        .gt_sectors = vd_le64(bytes + 32),
        .flags = vd_le64(bytes + 40),
        .padding_used = !vd_all_zero(bytes + AT_PADDING, VMDK_SECTOR - AT_PADDING),
    };
    for (i = 0; i < 4; i++)
        out->reserved[i] = vd_le64(bytes + 48 + (size_t)i * 8);
    for (i = 0; i < VMDK_SE_AREAS; i++) {
        out->area[i].off_sectors = vd_le64(bytes + AT_AREAS + (size_t)i * 16);
        out->area[i].sectors = vd_le64(bytes + AT_AREAS + (size_t)i * 16 + 8);
    }
    return 0;
}

int vmdk_se_volatile_decode(const uint8_t *bytes, size_t len, struct vmdk_se_volatile *out,
                            struct vd_err *err)
{
    if (len < VMDK_SECTOR || vd_le64(bytes) != VOLATILE_MAGIC)
        return vd_fail(err, VD_ECORRUPT, "the volatile header has no signature");
    *out = (struct vmdk_se_volatile){
        .free_gt = vd_le64(bytes + 8),
        .next_transaction = vd_le64(bytes + 16),
        .replay_journal = vd_le64(bytes + 24),
        .padding_used = !vd_all_zero(bytes + 32, VMDK_SECTOR - 32),
    };
    return 0;
}

/* ---- rules ---- */

/* The format is not published: what a flag or another size would mean is unknown, and a guess could
 * show wrong bytes. */
static int check_known(const struct vmdk_se_header *h, struct vd_err *err)
{
    int i;

    if (h->version != VMDK_SE_VERSION)
        return vd_fail(err, VD_EUNSUPPORTED,
                       "seSparse header: version %" PRIu64 ".%" PRIu64 " is not known",
                       h->version >> 32, h->version & UINT32_MAX);
    if (h->grain_sectors != GRAIN_SECTORS)
        return vd_fail(err, VD_EUNSUPPORTED,
                       "seSparse header: a grain size of %" PRIu64 " sectors (8 is known)",
                       h->grain_sectors);
    if (h->gt_sectors != VMDK_SE_GT_SECTORS)
        return vd_fail(err, VD_EUNSUPPORTED,
                       "seSparse header: grain tables of %" PRIu64 " sectors (64 is known)",
                       h->gt_sectors);
    if (h->flags)
        return vd_fail(err, VD_EUNSUPPORTED, "seSparse header: unknown flags 0x%" PRIx64, h->flags);
    for (i = 0; i < 4; i++)
        if (h->reserved[i])
            return vd_fail(err, VD_EUNSUPPORTED,
                           "seSparse header: reserved field %d is 0x%" PRIx64 ", not 0", i + 1,
                           h->reserved[i]);
    return 0;
}

static int check_area(const struct vmdk_se_header *h, enum vmdk_se_area area, struct vd_err *err)
{
    uint64_t off, len, end;

    if (!vd_mul(h->area[area].off_sectors, VMDK_SECTOR, &off) ||
        !vd_mul(h->area[area].sectors, VMDK_SECTOR, &len) || !vd_add(off, len, &end) ||
        end > VD_MAX_SIZE)
        return vd_fail(err, VD_ECORRUPT,
                       "seSparse header: the %s (%" PRIu64 " sectors at sector %" PRIu64
                       ") is at an impossible place",
                       vmdk_se_area_name(area), h->area[area].sectors, h->area[area].off_sectors);
    if (len && off < VMDK_SECTOR)
        return vd_fail(err, VD_ECORRUPT, "seSparse header: the %s lies on the header itself",
                       vmdk_se_area_name(area));
    return 0;
}

/* Every area after check_area. */
static int check_overlaps(const struct vmdk_se_header *h, struct vd_err *err)
{
    int a, b;

    for (a = 0; a < VMDK_SE_AREAS; a++)
        for (b = a + 1; b < VMDK_SE_AREAS; b++)
            if (vd_range_overlap(h->area[a].off_sectors, h->area[a].sectors, h->area[b].off_sectors,
                                 h->area[b].sectors))
                return vd_fail(err, VD_ECORRUPT, "seSparse header: the %s and the %s overlap",
                               vmdk_se_area_name((enum vmdk_se_area)a),
                               vmdk_se_area_name((enum vmdk_se_area)b));
    return 0;
}

static int check_directory(const struct vmdk_se_header *h, uint64_t file_size, struct vd_err *err)
{
    struct vmdk_se_shape g;

    vmdk_se_shape_init(h, file_size, &g);
    if (g.n_tables * VMDK_SE_ENTRY_BYTES > VD_MAX_GRAIN_DIR)
        return vd_fail(err, VD_ELIMIT,
                       "seSparse header: a grain directory of %" PRIu64
                       " entries is over the limit of %u bytes",
                       g.n_tables, VD_MAX_GRAIN_DIR);
    if (g.n_entries == 0)
        return vd_fail(err, VD_ECORRUPT, "seSparse header: the grain directory has no entries");
    if (!vd_range_inside(g.dir_off, g.n_entries * VMDK_SE_ENTRY_BYTES, file_size))
        return vd_fail(err, VD_ECORRUPT,
                       "seSparse header: the grain directory (%" PRIu64
                       " entries at sector %" PRIu64 ") passes the end of the file",
                       g.n_entries, h->area[VMDK_SE_DIRECTORY].off_sectors);
    return 0;
}

int vmdk_se_header_validate(const struct vmdk_se_header *h, uint64_t file_size, struct vd_err *err)
{
    int i, rc = check_known(h, err);

    if (rc)
        return rc;
    if (h->capacity_sectors == 0 || h->capacity_sectors > VD_MAX_SIZE / VMDK_SECTOR)
        return vd_fail(err, VD_ECORRUPT, "seSparse header: a capacity of %" PRIu64 " sectors",
                       h->capacity_sectors);
    for (i = 0; i < VMDK_SE_AREAS && rc == 0; i++)
        rc = check_area(h, (enum vmdk_se_area)i, err);
    if (rc == 0)
        rc = check_overlaps(h, err);
    return rc ? rc : check_directory(h, file_size, err);
}

int vmdk_se_volatile_validate(const struct vmdk_se_volatile *v, struct vd_err *err)
{
    if (v->replay_journal)
        return vd_fail(
            err, VD_EUNSUPPORTED,
            "the file was not closed cleanly: its journal has to be replayed "
            "(replayJournal %" PRIu64 ", next transaction %" PRIu64
            "), and the journal's format is not public.  The grain tables are older than the "
            "journal: what they show may be wrong.  ESXi replays it when it opens "
            "the disk: let it do that on a copy",
            v->replay_journal, v->next_transaction);
    return 0;
}

/* ---- reading ---- */

static int read_sector(struct blkdev *file, uint64_t off, uint8_t *out, size_t *out_len,
                       struct vd_err *err)
{
    *out_len = off < file->size ? (size_t)vd_min(VMDK_SECTOR, file->size - off) : 0;
    return blk_read(file, off < file->size ? off : 0, out, *out_len, err);
}

static int decode_volatile(const struct vmdk_se_header *h, struct blkdev *file,
                           struct vmdk_se_volatile *out, struct vd_err *err)
{
    uint8_t bytes[VMDK_SECTOR];
    size_t len;
    int rc =
        read_sector(file, h->area[VMDK_SE_VOLATILE].off_sectors * VMDK_SECTOR, bytes, &len, err);

    if (rc)
        return rc;
    rc = vmdk_se_volatile_decode(bytes, len, out, err);
    if (rc == 0)
        rc = vmdk_se_volatile_validate(out, err);
    return vd_prefix(err, rc, "%s", file->label);
}

static void report(const struct vmdk_se_header *h, const struct vmdk_se_volatile *v,
                   const struct blkdev *file, struct vd_facts *facts)
{
    struct vmdk_se_shape g;

    vmdk_se_shape_init(h, file->size, &g);
    vd_fact_add(facts, VD_FACT_INFO, "sesparse_header",
                "%s: version %" PRIu64 ".%" PRIu64 ", grains of %u bytes, %" PRIu64
                " grain tables in use; the journal is clean (next transaction %" PRIu64 ")",
                file->label, h->version >> 32, h->version & UINT32_MAX, VMDK_SE_GRAIN, v->free_gt,
                v->next_transaction);
    if (h->padding_used || v->padding_used)
        vd_fact_add(
            facts, VD_FACT_WARNING, "sesparse_padding",
            "%s: bytes of the %s header that are zeros in known files are not: the file may "
            "use what is not known",
            file->label, h->padding_used ? "constant" : "volatile");
    if (g.n_entries < g.n_tables)
        vd_fact_add(facts, VD_FACT_WARNING, "grain_directory",
                    "%s: the grain directory has %" PRIu64 " entries, the disk needs %" PRIu64
                    ": what they do not cover cannot be read",
                    file->label, g.n_entries, g.n_tables);
}

int vmdk_se_headers(struct blkdev *file, struct vmdk_se_header *out, struct vd_facts *facts,
                    struct vd_err *err)
{
    uint8_t bytes[VMDK_SECTOR];
    struct vmdk_se_volatile v;
    struct vmdk_se_header h;
    size_t len;
    int rc = read_sector(file, 0, bytes, &len, err);

    if (rc) /* the medium's errors carry the file's name already */
        return rc;
    rc = vmdk_se_header_decode(bytes, len, &h, err);
    if (rc == 0)
        rc = vmdk_se_header_validate(&h, file->size, err);
    if (rc)
        return vd_prefix(err, rc, "%s", file->label);
    rc = decode_volatile(&h, file, &v, err);
    if (rc)
        return rc;
    report(&h, &v, file, facts);
    *out = h;
    return 0;
}

/* ---- shape ---- */

void vmdk_se_shape_init(const struct vmdk_se_header *h, uint64_t file_size,
                        struct vmdk_se_shape *out)
{
    uint64_t capacity = h->capacity_sectors * VMDK_SECTOR; /* bounded by the checks */
    uint64_t n_tables = vd_div_up(capacity, VMDK_SE_GT_SPAN);
    uint64_t stored = h->area[VMDK_SE_DIRECTORY].sectors * (VMDK_SECTOR / VMDK_SE_ENTRY_BYTES);

    *out = (struct vmdk_se_shape){
        .capacity = capacity,
        .file_size = file_size,
        .n_tables = n_tables,
        .n_entries = vd_min(n_tables, stored),
        .dir_off = h->area[VMDK_SE_DIRECTORY].off_sectors * VMDK_SECTOR,
        .tables_off = h->area[VMDK_SE_TABLES].off_sectors * VMDK_SECTOR,
        .grains_off = h->area[VMDK_SE_GRAINS].off_sectors * VMDK_SECTOR,
        .n_slots = h->area[VMDK_SE_TABLES].sectors / VMDK_SE_GT_SECTORS,
        .n_grains = h->area[VMDK_SE_GRAINS].sectors / GRAIN_SECTORS,
    };
}

uint64_t vmdk_se_grain_bytes(const struct vmdk_se_shape *g, uint64_t grain)
{
    return vd_min(VMDK_SE_GRAIN, g->capacity - grain * VMDK_SE_GRAIN);
}

uint32_t vmdk_se_table_entries(const struct vmdk_se_shape *g, uint64_t table)
{
    uint64_t first = table * VMDK_SE_GT_SPAN;

    return (uint32_t)vd_min(VMDK_SE_GT_ENTRIES, vd_div_up(g->capacity - first, VMDK_SE_GRAIN));
}

/* ---- entries ---- */

static struct vmdk_se_place of_kind(enum vmdk_place_kind kind)
{
    return (struct vmdk_se_place){.at.kind = kind};
}

static struct vmdk_se_place bad(const char *why)
{
    return (struct vmdk_se_place){.at = {.kind = VMDK_PLACE_BAD, .why = why}};
}

struct vmdk_se_place vmdk_se_table_place(const struct vmdk_se_shape *g, uint64_t table,
                                         uint64_t gde)
{
    uint64_t number = gde & UINT32_MAX, len, off;

    if (gde == 0)
        return of_kind(VMDK_PLACE_ABSENT);
    /* The top nibble says "allocated"; the bits below it have never been seen set. */
    if (gde >> 32 != 0x10000000)
        return bad("is neither 0 nor 0x10000000 and a table's number");
    if (number >= g->n_slots)
        return bad("names a table past the area of tables");
    off = g->tables_off + number * VMDK_SE_GT_SECTORS * VMDK_SECTOR; /* inside the area */
    len = (uint64_t)vmdk_se_table_entries(g, table) * VMDK_SE_ENTRY_BYTES;
    if (!vd_range_inside(off, len, g->file_size))
        return bad("names a table past the end of the file");
    if (g->tables_twice && overlap_hit(g->tables_twice, number))
        return bad("names a table that another entry names too");
    return (struct vmdk_se_place){.at = {.kind = VMDK_PLACE_DATA, .off = off, .len = len},
                                  .number = number};
}

/* Type 3: the grain's number, its low 12 bits above the other 48. */
static struct vmdk_se_place stored_place(const struct vmdk_se_shape *g, uint64_t grain,
                                         uint64_t gte)
{
    uint64_t number = (gte >> 48 & 0xfff) | (gte & UINT64_C(0x0000ffffffffffff)) << 12;
    uint64_t need = vmdk_se_grain_bytes(g, grain), off;
    struct vmdk_se_place place;

    if (number >= g->n_grains)
        return bad("names a grain past the area of grains");
    off = g->grains_off + number * VMDK_SE_GRAIN; /* inside the area */
    if (off >= g->file_size)
        return bad("names a grain past the end of the file");
    if (g->grains_twice && overlap_hit(g->grains_twice, number))
        return bad("names a grain that another entry names too");
    place = (struct vmdk_se_place){.at = {.kind = VMDK_PLACE_DATA, .off = off}, .number = number};
    place.at.len = vd_min(need, g->file_size - off);
    if (place.at.len < need)
        place.at.why = "names a grain in which the file ends";
    return place;
}

struct vmdk_se_place vmdk_se_grain_place(const struct vmdk_se_shape *g, uint64_t grain,
                                         uint64_t gte)
{
    struct vmdk_se_place place;

    switch (gte >> 60) {
    case 0:
        return gte == 0 ? of_kind(VMDK_PLACE_ABSENT)
                        : bad("is of type 0 (not allocated), but not 0");
    case 1:
        /* Unmapped: the guest gave the blocks back (SCSI UNMAP), the entry only remembers which
         * grain waits to be reclaimed.  qemu: zeros; dissect: asks the parent.  Zeros are right:
         * "ask the parent" is what type 0 says, so a type of its own is needed only to hide the
         * parent; and the parent's bytes are older than what the guest gave back: no guest ever saw
         * them again. */
        place = of_kind(VMDK_PLACE_ZEROS);
        place.unmapped = true;
        return place;
    case 2:
        return of_kind(VMDK_PLACE_ZEROS);
    case 3:
        return stored_place(g, grain, gte);
    default:
        return bad("is of an unknown type");
    }
}
