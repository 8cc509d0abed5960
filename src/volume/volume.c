/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scan of a disk: which kind of table it has, its partitions, and the gaps between them.
 *
 * Order of evidence, strongest first:
 *   1. a protective MBR (type EE) and a GPT whose checksums are right     → GPT
 *   2. a protective MBR and a dead GPT                                    → the MBR as it stands
 *   3. a boot sector of a file system, unless the four entries behind it
 *      are convincing                                                     → none
 *   4. 55 AA, status bytes 00/80, at least one entry                      → MBR
 *   5. no table in sector 0 but a GPT whose checksums are right, and no
 *      file system that begins at sector 0                                → GPT
 *   6. nothing of that                                                    → none
 * Linux wants force for case 5; an examiner wants to see the partitions of a disk whose first
 * sector was wiped, so they are shown with a warning.  Every time something that was found is
 * *not* what is shown, a warning says so.
 *
 * A table that VOLUME_NONE hides nothing: volume 0 is the whole disk.  No state outside `struct
 * scan`; different threads may scan different disks, or the same one.
 */
#include "volume/internal.h"

#include "base/cleanup.h"
#include "base/limits.h"
#include "base/range.h"
#include "blk/layers.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Sentences per topic; a hostile table has thousands of defects of the same kind. */
#define SCAN_MAX_WARNINGS 32

static const char *const topic_key[SCAN_TOPICS] = {
    [SCAN_SECTOR0] = "sector_0",
    [SCAN_NOT_SHOWN] = "not_shown",
    [SCAN_OUTSIDE] = "partition_outside_disk",
    [SCAN_CUT] = "partition_cut",
    [SCAN_OVERLAP] = "partition_overlap",
    [SCAN_LIMIT] = "limit",
    [SCAN_MBR] = "mbr",
    [SCAN_EBR] = "logical_partitions",
    [SCAN_GPT_PRIMARY] = "gpt_primary",
    [SCAN_GPT_BACKUP] = "gpt_backup",
    [SCAN_GPT] = "gpt",
    [SCAN_FOREIGN] = "partition_table",
};

bool scan_survives(int rc)
{
    return rc == -VD_EIO || rc == -VD_ECORRUPT || rc == -VD_EUNSUPPORTED || rc == -VD_ELIMIT ||
           rc == -VD_ENOTFORMAT || rc == -VD_EKEY;
}

void scan_warn(struct scan *s, enum scan_topic topic, const char *fmt, ...)
{
    char text[1024];
    va_list ap;

    if (s->warned[topic]++ >= SCAN_MAX_WARNINGS)
        return;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    vd_fact_add(&s->table->facts, VD_FACT_WARNING, topic_key[topic], "%s", text);
}

static void warn_left_out(struct scan *s)
{
    size_t i;

    for (i = 0; i < SCAN_TOPICS; i++)
        if (s->warned[i] > SCAN_MAX_WARNINGS)
            vd_fact_add(&s->table->facts, VD_FACT_WARNING, topic_key[i],
                        "%zu further warnings of this kind are left out",
                        s->warned[i] - SCAN_MAX_WARNINGS);
    if (s->over_limit)
        vd_fact_add(&s->table->facts, VD_FACT_WARNING, topic_key[SCAN_LIMIT],
                    "the table has more partitions than the %d that are shown: %zu are left out",
                    VD_MAX_PARTITIONS, s->over_limit);
}

/* ---- the first bytes ---- */

bool scan_head_has(const struct scan *s, size_t off, size_t len)
{
    size_t i;

    if (!vd_range_inside(off, len, s->head_len))
        return false;
    for (i = off / 512; i < vd_div_up(off + len, 512); i++)
        if (s->head_bad >> i & 1)
            return false;
    return true;
}

/* One read; piece by piece only when that fails.  Sectors that cannot be read are remembered. */
static int read_head(struct scan *s, struct vd_err *err)
{
    struct vd_err local = VD_ERR_INIT;
    size_t off;
    int rc;

    s->head_len = (size_t)vd_min(s->disk->size, SCAN_HEAD);
    rc = blk_read(s->disk, 0, s->head, s->head_len, &local);
    for (off = 0; rc && scan_survives(rc) && off < s->head_len; off += 512) {
        int piece;

        vd_err_clear(&local);
        piece =
            blk_read(s->disk, off, s->head + off, (size_t)vd_min(512, s->head_len - off), &local);
        if (piece && !scan_survives(piece))
            rc = piece;
        if (piece) {
            memset(s->head + off, 0, (size_t)vd_min(512, s->head_len - off));
            if (!s->head_bad)
                s->head_err = local;
            s->head_bad |= 1u << off / 512;
        }
    }
    if (rc && !scan_survives(rc)) {
        if (err)
            *err = local;
        return rc;
    }
    return 0;
}

/* ---- the list ---- */

static int append(struct scan *s, const struct volume *v, struct vd_err *err)
{
    struct volume_table *t = s->table;

    if (t->n == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 8;
        struct volume *grown = realloc(t->v, cap * sizeof(*grown));

        if (!grown)
            return vd_fail(err, VD_ENOMEM, "partition table: out of memory");
        t->v = grown;
        s->cap = cap;
    }
    t->v[t->n++] = *v;
    return 0;
}

int scan_add(struct scan *s, const struct volume *tmpl, uint64_t first_lba, uint64_t n_lba,
             struct vd_err *err)
{
    uint64_t disk = s->disk->size, unit = s->table->sector_size;
    struct volume v = *tmpl;

    if (!vd_mul(first_lba, unit, &v.start) || v.start >= disk) {
        scan_warn(s, SCAN_OUTSIDE,
                  "partition %u (sector %" PRIu64 ", %" PRIu64
                  " sectors) is not shown: it lies past the end of the disk (%" PRIu64 " sectors)",
                  v.number, first_lba, n_lba, disk / unit);
        return 0;
    }
    if (s->table->n == VD_MAX_PARTITIONS) {
        s->over_limit++;
        return 0;
    }
    if (!vd_mul(n_lba, unit, &v.size) || !vd_range_inside(v.start, v.size, disk)) {
        v.size = disk - v.start;
        v.cut = true;
        scan_warn(s, SCAN_CUT,
                  "partition %u (sector %" PRIu64 ", %" PRIu64
                  " sectors) passes the end of the disk (%" PRIu64
                  " sectors): it is cut to %" PRIu64 " bytes",
                  v.number, first_lba, n_lba, disk / unit, v.size);
    }
    return append(s, &v, err);
}

/* The whole disk as volume 0. */
static int whole_disk(struct scan *s, struct vd_err *err)
{
    const struct volume v = {.number = 0, .start = 0, .size = s->disk->size};

    s->table->scheme = VOLUME_NONE;
    return append(s, &v, err);
}

/* ---- overlaps and gaps ---- */

static int by_start(const void *a, const void *b)
{
    const struct volume *x = *(const struct volume *const *)a;
    const struct volume *y = *(const struct volume *const *)b;

    if (x->start != y->start)
        return x->start < y->start ? -1 : 1;
    return x->number < y->number ? -1 : x->number > y->number;
}

static void add_gap(struct volume_table *t, uint64_t from, uint64_t to)
{
    if (to > from)
        t->gap[t->n_gaps++] = (struct volume_gap){.start = from, .size = to - from};
}

/* Walks the partitions by start: bytes before the next start that nothing reached are a gap, a
 * start before what was reached is an overlap. */
static int find_gaps(struct scan *s, struct vd_err *err)
{
    struct volume_table *t = s->table;
    VD_AUTO(free) const struct volume **order = calloc(t->n + 1, sizeof(struct volume *));
    const struct volume *furthest = NULL;
    uint64_t reached = 0;
    size_t i;

    t->gap = calloc(t->n + 1, sizeof(*t->gap));
    if (!order || !t->gap)
        return vd_fail(err, VD_ENOMEM, "gaps between partitions: out of memory");
    for (i = 0; i < t->n; i++)
        order[i] = &t->v[i];
    qsort(order, t->n, sizeof(struct volume *), by_start);
    for (i = 0; i < t->n; i++) {
        const struct volume *v = order[i];

        add_gap(t, reached, v->start);
        if (furthest && v->start < reached)
            scan_warn(s, SCAN_OVERLAP, "partitions %u and %u overlap: both are shown",
                      furthest->number, v->number);
        if (v->start + v->size > reached) { /* inside the disk since scan_add */
            reached = v->start + v->size;
            furthest = v;
        }
    }
    add_gap(t, reached, s->disk->size);
    return 0;
}

/* ---- deciding ---- */

/* Hybrid MBR: entries besides EE should repeat partitions of the GPT; others are hidden ones. */
static void warn_hybrid(struct scan *s, const struct mbr *mbr, const struct gpt_found *gpt)
{
    unsigned i, extra = 0;

    for (i = 0; i < 4; i++) {
        const struct mbr_entry *e = &mbr->e[i];

        if (!e->n || e->type == MBR_TYPE_GPT)
            continue;
        extra++;
        if (!gpt_has(gpt, e->first, e->n))
            scan_warn(s, SCAN_NOT_SHOWN,
                      "the MBR has an entry of type 0x%02x (sector %" PRIu32 ", %" PRIu32
                      " sectors) that is no partition of the GPT: it is not shown",
                      e->type, e->first, e->n);
    }
    if (extra)
        scan_warn(s, SCAN_MBR,
                  "hybrid MBR: besides the protective entry it has %u of its own; the GPT is shown",
                  extra);
}

/* A valid GPT that is not what is shown, as one sentence. */
static void warn_unused_gpt(struct scan *s, const struct gpt_found *gpt, const char *because)
{
    const struct gpt_copy *copy = gpt->primary.valid ? &gpt->primary : &gpt->backup;

    scan_warn(s, SCAN_NOT_SHOWN,
              "a GPT with valid checksums lies at LBA %" PRIu64 " (%" PRIu32
              "-byte sectors) but is not shown: %s",
              copy->lba, copy->sector_size, because);
}

static int none(struct scan *s, const struct mbr *mbr, struct vd_err *err)
{
    const char *label = bootsec_foreign_label(s->head, s->head_len);

    if (label)
        scan_warn(s, SCAN_FOREIGN, "%s found, not read by this version: the whole disk is shown",
                  label);
    if (!label && mbr_plausible(mbr) && !mbr_used(mbr)) {
        vd_fact_add(&s->table->facts, VD_FACT_INFO, "mbr", "55 AA is there, no entry is in use");
        if (mbr->disk_signature)
            (void)snprintf(s->table->disk_id, sizeof(s->table->disk_id), "0x%08" PRIx32,
                           mbr->disk_signature);
    }
    return whole_disk(s, err);
}

/* Cases 1 and 2. */
static int protective(struct scan *s, const struct mbr *mbr, const struct gpt_found *gpt,
                      struct vd_err *err)
{
    int rc;

    if (gpt->usable) {
        rc = gpt_scan(s, gpt, err);
        if (!rc)
            warn_hybrid(s, mbr, gpt);
        return rc;
    }
    gpt_warn_dead(s, gpt);
    if (!mbr_plausible(mbr)) {
        scan_warn(s, SCAN_MBR,
                  "the MBR has a protective entry, but its status bytes are wrong and "
                  "there is no usable GPT: the whole disk is shown");
        return none(s, mbr, err);
    }
    scan_warn(s, SCAN_MBR,
              "the MBR announces a GPT but neither copy is usable: the entries of the "
              "MBR are shown");
    return mbr_scan(s, mbr, err);
}

/* Cases 3 and 4; *done tells whether one of them applied. */
static int mbr_or_boot_sector(struct scan *s, const struct mbr *mbr, const struct gpt_found *gpt,
                              bool *done, struct vd_err *err)
{
    const char *fs = mbr->signature ? bootsec_file_system(s->head) : NULL;
    bool table = mbr_plausible(mbr) && mbr_used(mbr);

    *done = true;
    if (fs && !mbr_convincing(mbr, s->disk->size / s->disk->sector_size)) {
        if (gpt->usable)
            warn_unused_gpt(s, gpt, "sector 0 is the boot sector of a file system");
        return whole_disk(s, err);
    }
    if (table) {
        if (fs)
            scan_warn(s, SCAN_NOT_SHOWN,
                      "sector 0 is a partition table and also looks like a boot sector of %s: the "
                      "partitions are shown, read disk.img for the other",
                      fs);
        if (gpt->usable)
            warn_unused_gpt(s, gpt, "the MBR has no protective entry");
        return mbr_scan(s, mbr, err);
    }
    *done = false;
    return 0;
}

/* Case 5: is there a file system at sector 0 that speaks against a stray GPT? */
static int stray_gpt(struct scan *s, const struct mbr *mbr, const struct gpt_found *gpt,
                     struct vd_err *err)
{
    struct volume_content content = {0};
    int rc = volume_recognise(s->disk, &content, err);

    if (rc && !scan_survives(rc))
        return rc;
    vd_err_clear(err);
    if (rc == 0 && (content.type[0] || content.ambiguous)) {
        char because[128];

        (void)snprintf(because, sizeof(because),
                       "there is no protective MBR, and the whole disk is recognised as %s",
                       content.type[0] ? content.type : "several things");
        warn_unused_gpt(s, gpt, because);
        return none(s, mbr, err);
    }
    scan_warn(s, SCAN_MBR,
              "there is no protective MBR; the GPT is shown because its checksums are "
              "right and nothing else describes the disk (Linux would ignore it)");
    return gpt_scan(s, gpt, err);
}

static int sector0_unreadable(struct scan *s, const struct gpt_found *gpt, struct vd_err *err)
{
    if (!gpt->usable) {
        if (err)
            *err = s->head_err;
        return vd_prefix(err, s->head_err.cls ? -(int)s->head_err.cls : -VD_EIO,
                         "partition table: sector 0");
    }
    scan_warn(s, SCAN_SECTOR0, "sector 0 cannot be read (%s): the GPT alone is used",
              s->head_err.msg);
    return gpt_scan(s, gpt, err);
}

static int decide(struct scan *s, const struct gpt_found *gpt, struct vd_err *err)
{
    struct mbr mbr;
    bool done = false;
    int rc;

    if (!scan_head_has(s, 0, 512))
        return sector0_unreadable(s, gpt, err);
    mbr_decode(s->head, &mbr);
    if (mbr_protective(&mbr))
        return protective(s, &mbr, gpt, err);
    rc = mbr_or_boot_sector(s, &mbr, gpt, &done, err);
    if (rc || done)
        return rc;
    if (gpt->usable)
        return stray_gpt(s, &mbr, gpt, err);
    if (gpt->primary.seen || gpt->backup.seen)
        gpt_warn_dead(s, gpt);
    if (mbr.signature && !mbr_plausible(&mbr))
        scan_warn(s, SCAN_MBR,
                  "sector 0 ends in 55 AA but its status bytes are not those of a "
                  "partition table: the whole disk is shown");
    return none(s, &mbr, err);
}

static int scan_table(struct scan *s, struct vd_err *err)
{
    struct gpt_found gpt = {0};
    int rc;

    if (s->disk->size < 512)
        return whole_disk(s, err);
    rc = read_head(s, err);
    if (!rc)
        rc = gpt_find(s, &gpt, err);
    if (!rc)
        rc = decide(s, &gpt, err);
    gpt_found_clear(&gpt);
    return rc;
}

/* A partition table and an Apple map or ISO 9660 on one disk (hybrid CD images): said, not shown.
 */
static void warn_also(struct scan *s)
{
    const char *label = bootsec_foreign_label(s->head, s->head_len);
    uint8_t id[5];

    if (s->table->scheme == VOLUME_NONE)
        return;
    if (label)
        scan_warn(s, SCAN_FOREIGN, "%s found as well, not read by this version", label);
    if (vd_range_inside(32769, sizeof(id), s->disk->size) &&
        blk_read(s->disk, 32769, id, sizeof(id), NULL) == 0 && memcmp(id, "CD001", 5) == 0)
        scan_warn(s, SCAN_NOT_SHOWN,
                  "the whole disk is an ISO 9660 file system as well: the "
                  "partitions are shown, mount disk.img for the other");
}

int volume_scan(struct blkdev *disk, struct volume_table *out, struct vd_err *err)
{
    struct volume_table table = {.sector_size = disk->sector_size, .facts = VD_FACTS_INIT};
    VD_AUTO(free) struct scan *s = calloc(1, sizeof(*s));
    int rc;

    if (!s)
        return vd_fail(err, VD_ENOMEM, "partition table: out of memory");
    s->disk = disk;
    s->table = &table;
    rc = scan_table(s, err);
    if (!rc)
        warn_also(s);
    if (!rc && table.scheme != VOLUME_NONE)
        rc = find_gaps(s, err);
    if (rc) {
        volume_table_clear(&table);
        return rc;
    }
    warn_left_out(s);
    *out = table;
    return 0;
}

void volume_table_clear(struct volume_table *table)
{
    free(table->v);
    free(table->gap);
    vd_facts_clear(&table->facts);
    *table = (struct volume_table){0};
}

const char *volume_scheme_name(enum volume_scheme scheme)
{
    static const char *const name[] = {
        [VOLUME_NONE] = "none", [VOLUME_MBR] = "mbr", [VOLUME_GPT] = "gpt"};

    return name[scheme];
}

int volume_slice(struct blkdev *disk, const struct volume *volume, struct blkdev **out,
                 struct vd_err *err)
{
    struct blkdev *child = blk_ref(disk);
    char label[16];
    int rc;

    (void)snprintf(label, sizeof(label), "p%u", volume->number);
    rc = blk_slice_new(child, volume->start, volume->size, label, out, err);
    if (rc)
        blk_unref(child);
    return rc;
}
