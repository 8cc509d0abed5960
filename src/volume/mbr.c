/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PC partition table (MBR) and its logical partitions.
 *
 * Layout: UEFI 2.10 section 5.2.1 and Microsoft's "Basic disks".  Entries are 16 bytes from 446;
 * LBA and count are 32-bit sectors in the disk's own sector size.  Logical partitions are a linked
 * list of sectors shaped like an MBR (EBR): the *link* entry is relative to the first sector of
 * the extended partition where the chain began, the *data* entry to the EBR that holds it.
 *
 * Numbers and odd cases are Linux's (block/partitions/msdos.c describes the behaviour): primaries
 * keep their slot 1–4, logicals count from 5 over all extended partitions, a logical partition
 * that cannot be shown still uses up its number, entries 3 and 4 of an EBR count only when they
 * make sense, and a table with a status byte other than 00 and 80 is not a table.
 *
 * Every EBR is remembered, so a chain that comes back to one ends with a warning.  No locks; one
 * scan belongs to one thread.
 */
#include "volume/internal.h"

#include "base/bytes.h"
#include "base/limits.h"
#include "base/range.h"

#include <inttypes.h>
#include <stdio.h>

/* EBRs that are followed on one disk.  An EBR without a data entry is legal but empty, so this is
 * a little more than the partitions that can be shown. */
#define MBR_MAX_EBR (VD_MAX_PARTITIONS + 64)

void mbr_decode(const uint8_t sector[512], struct mbr *out)
{
    unsigned i;

    *out = (struct mbr){
        .signature = sector[510] == 0x55 && sector[511] == 0xaa,
        .disk_signature = vd_le32(sector + 440),
    };
    for (i = 0; i < 4; i++) {
        const uint8_t *p = sector + 446 + 16 * (size_t)i;

        out->e[i] = (struct mbr_entry){
            .status = p[0], .type = p[4], .first = vd_le32(p + 8), .n = vd_le32(p + 12)};
    }
}

bool mbr_plausible(const struct mbr *mbr)
{
    unsigned i;

    if (!mbr->signature)
        return false;
    for (i = 0; i < 4; i++)
        if (mbr->e[i].status & 0x7f)
            return false;
    return true;
}

unsigned mbr_used(const struct mbr *mbr)
{
    unsigned i, used = 0;

    for (i = 0; i < 4; i++)
        used += mbr->e[i].n != 0;
    return used;
}

bool mbr_protective(const struct mbr *mbr)
{
    unsigned i;

    for (i = 0; i < 4; i++)
        if (mbr->e[i].type == MBR_TYPE_GPT)
            return mbr->signature;
    return false;
}

bool mbr_convincing(const struct mbr *mbr, uint64_t n_sectors)
{
    unsigned i, j;

    if (!mbr_plausible(mbr) || !mbr_used(mbr))
        return false;
    for (i = 0; i < 4; i++) {
        const struct mbr_entry *a = &mbr->e[i];

        if (!a->n)
            continue;
        if (!a->first || !a->type || !vd_range_inside(a->first, a->n, n_sectors))
            return false;
        for (j = 0; j < i; j++)
            if (vd_range_overlap(a->first, a->n, mbr->e[j].first, mbr->e[j].n))
                return false;
    }
    return true;
}

bool mbr_type_extended(uint8_t type)
{
    return type == 0x05 || type == 0x0f || type == 0x85;
}

/* ---- one partition ---- */

static void warn_container(struct scan *s, const struct volume *v, uint8_t type, uint64_t first)
{
    uint8_t label[136];
    uint64_t off = (first + 1) * s->table->sector_size; /* 33-bit sectors: cannot wrap */

    if (type == 0x42)
        scan_warn(s, SCAN_FOREIGN,
                  "partition %u belongs to a Windows dynamic disk (LDM): its volumes are described "
                  "in the LDM database at the end of the disk, not read by this version",
                  v->number);
    if (type != 0xa5 && type != 0xa6 && type != 0xa9)
        return;
    if (vd_range_inside(off, sizeof(label), s->disk->size) &&
        blk_read(s->disk, off, label, sizeof(label), NULL) == 0 &&
        bootsec_is_bsd_label(label, sizeof(label)))
        scan_warn(s, SCAN_FOREIGN,
                  "partition %u holds a BSD disklabel, not read by this version: the partitions "
                  "inside it are not shown",
                  v->number);
}

static int add_entry(struct scan *s, const struct mbr *mbr, const struct mbr_entry *e,
                     unsigned number, uint64_t first, struct vd_err *err)
{
    struct volume v = {.number = number, .active = e->status == 0x80};

    (void)snprintf(v.type, sizeof(v.type), "0x%02x", e->type);
    (void)snprintf(v.type_name, sizeof(v.type_name), "%s", volume_mbr_type_name(e->type));
    if (mbr->disk_signature)
        (void)snprintf(v.uuid, sizeof(v.uuid), "%08" PRIx32 "-%02x", mbr->disk_signature, number);
    warn_container(s, &v, e->type, first);
    return scan_add(s, &v, first, e->n, err);
}

/* ---- the chain of logical partitions ---- */

struct ebr_walk {
    const struct mbr *mbr; /* the real one, for the disk signature */
    uint64_t first, n;     /* the extended partition, sectors */
    uint64_t here, here_n; /* the EBR at hand and the size its link gave */
    uint64_t seen[MBR_MAX_EBR];
    size_t n_seen; /* over all chains of the disk */
    unsigned next_number;
};

/* Linux's rule for the third and fourth entry, which may hold garbage: inside the link's range and
 * inside the extended partition. */
static bool late_entry_ok(const struct ebr_walk *w, const struct mbr_entry *e)
{
    uint64_t start = w->here + e->first;

    return vd_range_inside(e->first, e->n, w->here_n) && start >= w->first &&
           vd_range_inside(start - w->first, e->n, w->n);
}

static int add_logicals(struct scan *s, struct ebr_walk *w, const struct mbr *ebr,
                        struct vd_err *err)
{
    unsigned i;
    int rc;

    for (i = 0; i < 4; i++) {
        const struct mbr_entry *e = &ebr->e[i];
        uint64_t start = w->here + e->first;

        if (!e->n || mbr_type_extended(e->type) || (i >= 2 && !late_entry_ok(w, e)))
            continue;
        if (start < w->first || !vd_range_inside(start - w->first, e->n, w->n))
            scan_warn(s, SCAN_EBR,
                      "logical partition %u (sector %" PRIu64 ", %" PRIu32
                      " sectors) is not inside its extended partition",
                      w->next_number, start, e->n);
        rc = add_entry(s, w->mbr, e, w->next_number, start, err);
        if (rc)
            return rc;
        w->next_number++;
    }
    return 0;
}

/* Can the EBR at w->here be visited?  If not, says why. */
static bool ebr_allowed(struct scan *s, struct ebr_walk *w)
{
    size_t i;

    if (!vd_range_inside(w->here, 1, s->disk->size / s->table->sector_size)) {
        scan_warn(s, SCAN_EBR,
                  "the chain of logical partitions points to sector %" PRIu64
                  ", past the end of the disk: partitions from number %u on are not found",
                  w->here, w->next_number);
        return false;
    }
    for (i = 0; i < w->n_seen; i++)
        if (w->seen[i] == w->here) {
            scan_warn(s, SCAN_EBR,
                      "the chain of logical partitions comes back to sector %" PRIu64
                      " (a loop): it ends after number %u",
                      w->here, w->next_number - 1);
            return false;
        }
    if (w->n_seen == MBR_MAX_EBR || w->next_number - 4 > VD_MAX_PARTITIONS) {
        scan_warn(s, SCAN_LIMIT,
                  "the chain of logical partitions is longer than %u sectors: the rest is not read",
                  (unsigned)w->n_seen);
        return false;
    }
    w->seen[w->n_seen++] = w->here;
    return true;
}

/* Reads the EBR at w->here.  1: decoded, 0: the chain ends here (said why), negative: give up. */
static int ebr_read(struct scan *s, const struct ebr_walk *w, struct mbr *out, struct vd_err *err)
{
    struct vd_err local = VD_ERR_INIT;
    uint8_t sector[512];
    int rc = blk_read(s->disk, w->here * s->table->sector_size, sector, sizeof(sector), &local);

    if (rc && !scan_survives(rc)) {
        if (err)
            *err = local;
        return rc;
    }
    if (rc) {
        scan_warn(s, SCAN_EBR,
                  "the logical partition table at sector %" PRIu64
                  " cannot be read, partitions from number %u on are not found: %s",
                  w->here, w->next_number, local.msg);
        return 0;
    }
    mbr_decode(sector, out);
    if (out->signature)
        return 1;
    scan_warn(s, SCAN_EBR,
              "sector %" PRIu64 " should hold a logical partition table but has no 55 AA: "
              "partitions from number %u on are not found",
              w->here, w->next_number);
    return 0;
}

/* Moves to the next EBR; false: the last one. */
static bool ebr_next(struct ebr_walk *w, const struct mbr *ebr)
{
    unsigned i;

    for (i = 0; i < 4; i++) {
        if (!ebr->e[i].n || !mbr_type_extended(ebr->e[i].type))
            continue;
        w->here = w->first + ebr->e[i].first;
        w->here_n = ebr->e[i].n;
        return true;
    }
    return false;
}

static int scan_extended(struct scan *s, struct ebr_walk *w, const struct mbr_entry *container,
                         struct vd_err *err)
{
    uint64_t n_sectors = s->disk->size / s->table->sector_size;
    struct mbr ebr = {0};
    int rc;

    w->first = w->here = container->first;
    w->n = w->here_n = container->n;
    if (w->first < n_sectors && !vd_range_inside(w->first, w->n, n_sectors))
        scan_warn(s, SCAN_CUT,
                  "the extended partition (sector %" PRIu64 ", %" PRIu64
                  " sectors) passes the end of the disk (%" PRIu64 " sectors)",
                  w->first, w->n, n_sectors);
    do {
        if (!ebr_allowed(s, w))
            return 0;
        rc = ebr_read(s, w, &ebr, err);
        if (rc <= 0)
            return rc;
        rc = add_logicals(s, w, &ebr, err);
        if (rc)
            return rc;
    } while (ebr_next(w, &ebr));
    return 0;
}

int mbr_scan(struct scan *s, const struct mbr *mbr, struct vd_err *err)
{
    struct ebr_walk walk = {.mbr = mbr, .next_number = 5};
    unsigned i, n_extended = 0;
    int rc;

    s->table->scheme = VOLUME_MBR;
    s->table->sector_size = s->disk->sector_size;
    if (mbr->disk_signature)
        (void)snprintf(s->table->disk_id, sizeof(s->table->disk_id), "0x%08" PRIx32,
                       mbr->disk_signature);
    for (i = 0; i < 4; i++) {
        if (!mbr->e[i].n || mbr_type_extended(mbr->e[i].type))
            continue;
        rc = add_entry(s, mbr, &mbr->e[i], i + 1, mbr->e[i].first, err);
        if (rc)
            return rc;
    }
    for (i = 0; i < 4; i++) {
        if (!mbr->e[i].n || !mbr_type_extended(mbr->e[i].type))
            continue;
        if (n_extended++)
            scan_warn(s, SCAN_MBR, "entry %u is a further extended partition", i + 1);
        rc = scan_extended(s, &walk, &mbr->e[i], err);
        if (rc)
            return rc;
    }
    return 0;
}
