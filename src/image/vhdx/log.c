/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VHDX log ([MS-VHDX] 2.3): a ring of 4 KiB sectors with entries of one or more descriptor
 * sectors and their data sectors.
 *
 *     | header 64, descriptors 32 each … | more descriptors … | data sector | data sector | …
 *
 * An entry counts only if every field, every descriptor, every data sector and the checksum over
 * all of it are right; a torn one is as if it were not there.  Of all runs of entries with
 * consecutive numbers whose newest entry's tail lies inside the run, the one with the highest
 * number is the active sequence; it is replayed from that tail on, and nothing else is.
 *
 * Every sector is looked at once as the possible start of an entry, before sequences are searched.
 * The signatures make entries disjoint except for padding, and budgets bound the checksums over padding
 * and the search for sequences, so time is linear in the length of the log.  Pure functions: any
 * thread.
 */
#include "vhdx.h"

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/crc32c.h"
#include "base/range.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define ENTRY_HEADER 64u
#define DESCRIPTOR   32u
/* Writes of one sequence: a log of VD_MAX_VHDX_LOG has room for 16,384 of data, one of the usual 1 MiB
 * for 32,768 of zeros.  Bounds what folding them takes to 25 MiB. */
#define MAX_PATCHES (1u << 18)
/* Checksums may read the whole log this many times. */
#define CRC_ROUNDS 16u
/* The search for sequences may step over every entry this many times; honest logs need two. */
#define SEARCH_ROUNDS 64u

struct entry {
    uint64_t sequence;
    uint32_t n_sectors; /* 0: no valid entry starts here */
    uint32_t tail;      /* sector */
    uint32_t n_descriptors;
    bool no_start; /* no sequence begins here */
};

struct ring {
    const uint8_t *bytes;
    uint32_t n; /* sectors */
    const struct vhdx_guid *guid;
    struct entry *entry;    /* one per sector */
    uint64_t crc_budget;    /* sectors */
    uint64_t search_budget; /* entries */
};

static const uint8_t *sector_at(const struct ring *ring, uint64_t i)
{
    return ring->bytes + (i % ring->n) * VHDX_LOG_SECTOR;
}

/* Descriptor i of the entry at `start`. */
static const uint8_t *descriptor_at(const struct ring *ring, uint32_t start, uint32_t i)
{
    uint64_t pos = ENTRY_HEADER + (uint64_t)i * DESCRIPTOR;

    return sector_at(ring, start + pos / VHDX_LOG_SECTOR) + pos % VHDX_LOG_SECTOR;
}

static uint32_t descriptor_sectors(uint32_t n_descriptors)
{
    return (uint32_t)vd_div_up(ENTRY_HEADER + (uint64_t)n_descriptors * DESCRIPTOR,
                               VHDX_LOG_SECTOR);
}

static bool is_data(const uint8_t *descriptor)
{
    return memcmp(descriptor, "desc", 4) == 0;
}

/* ---- is there an entry ---- */

static bool header_ok(const struct ring *ring, const uint8_t *p, struct entry *out)
{
    uint32_t len = vd_le32(p + 8), tail = vd_le32(p + 12);

    if (memcmp(p, "loge", 4) != 0 || memcmp(p + 32, ring->guid->b, sizeof(ring->guid->b)) != 0)
        return false;
    out->n_sectors = len / VHDX_LOG_SECTOR;
    out->tail = tail / VHDX_LOG_SECTOR;
    out->sequence = vd_le64(p + 16);
    out->n_descriptors = vd_le32(p + 24);
    return len % VHDX_LOG_SECTOR == 0 && tail % VHDX_LOG_SECTOR == 0 && out->n_sectors > 0 &&
           out->n_sectors <= ring->n && out->tail < ring->n && out->sequence > 0 &&
           descriptor_sectors(out->n_descriptors) <= out->n_sectors &&
           out->n_descriptors <= (uint64_t)len / DESCRIPTOR;
}

static bool descriptors_ok(const struct ring *ring, uint32_t start, const struct entry *entry,
                           uint32_t *out_n_data)
{
    uint32_t i, n_data = 0;

    for (i = 0; i < entry->n_descriptors; i++) {
        const uint8_t *d = descriptor_at(ring, start, i);

        if (is_data(d))
            n_data++;
        else if (memcmp(d, "zero", 4) != 0 || vd_le64(d + 8) % VHDX_LOG_SECTOR)
            return false;
        if (vd_le64(d + 16) % VHDX_LOG_SECTOR || vd_le64(d + 24) != entry->sequence)
            return false;
    }
    *out_n_data = n_data;
    return descriptor_sectors(entry->n_descriptors) + (uint64_t)n_data <= entry->n_sectors;
}

static bool data_ok(const struct ring *ring, uint64_t first, uint32_t n_data, uint64_t sequence)
{
    uint32_t i;

    for (i = 0; i < n_data; i++) {
        const uint8_t *p = sector_at(ring, first + i);

        if (memcmp(p, "data", 4) != 0 || vd_le32(p + 4) != (uint32_t)(sequence >> 32) ||
            vd_le32(p + VHDX_LOG_SECTOR - 4) != (uint32_t)sequence)
            return false;
    }
    return true;
}

static bool checksum_ok(struct ring *ring, uint32_t start, uint32_t n_sectors)
{
    const uint8_t *first = sector_at(ring, start);
    uint32_t crc = vd_crc32c_without(first, VHDX_LOG_SECTOR, 4), i;

    if (ring->crc_budget < n_sectors)
        return false;
    ring->crc_budget -= n_sectors;
    for (i = 1; i < n_sectors; i++)
        crc = vd_crc32c(crc, sector_at(ring, (uint64_t)start + i), VHDX_LOG_SECTOR);
    return crc == vd_le32(first + 4);
}

/* Fills ring->entry[start]; n_sectors stays 0 when no valid entry starts there. */
static void look_at(struct ring *ring, uint32_t start)
{
    struct entry e = {0};
    uint32_t n_data;

    if (header_ok(ring, sector_at(ring, start), &e) && descriptors_ok(ring, start, &e, &n_data) &&
        data_ok(ring, (uint64_t)start + descriptor_sectors(e.n_descriptors), n_data, e.sequence) &&
        checksum_ok(ring, start, e.n_sectors))
        ring->entry[start] = e;
}

/* ---- the active sequence (2.3.3) ---- */

struct sequence {
    uint32_t first, head; /* sectors: oldest entry to replay, newest entry */
    uint64_t number;      /* of the head; 0: there is none */
};

/* What was found of one run of consecutive entries. */
struct run {
    struct sequence sequence;
    uint32_t n_sectors, n_entries; /* 0: there is none */
    bool cut;                      /* it ends because the ring is full, not where the numbers end */
    bool valid;                    /* its head's tail is one of its entries */
};

/* The run of consecutive entries from sector `start`. */
static struct run run_from(const struct ring *ring, uint32_t start)
{
    struct run run = {.n_sectors = 0};
    uint32_t pos = start, i;

    while (run.n_sectors < ring->n) {
        const struct entry *e = &ring->entry[pos];

        if (e->n_sectors == 0 || (run.n_entries && e->sequence != run.sequence.number + 1))
            break;
        run.cut = e->n_sectors > ring->n - run.n_sectors;
        if (run.cut)
            break;
        run.sequence.head = pos;
        run.sequence.number = e->sequence;
        run.n_sectors += e->n_sectors;
        run.n_entries++;
        pos = (pos + e->n_sectors) % ring->n;
    }
    if (run.n_entries == 0)
        return run;
    run.sequence.first = ring->entry[run.sequence.head].tail;
    for (pos = start, i = 0; i < run.n_entries && !run.valid; i++) {
        run.valid = pos == run.sequence.first;
        pos = (pos + ring->entry[pos].n_sectors) % ring->n;
    }
    return run;
}

/* A shorter run with the same head is no better: its entries need not be tried as starts. */
static void rule_out(struct ring *ring, uint32_t start, const struct run *run)
{
    uint32_t pos = start, i;

    for (i = 0; i < run->n_entries && !run->cut; i++) {
        ring->entry[pos].no_start = true;
        pos = (pos + ring->entry[pos].n_sectors) % ring->n;
    }
}

/* 2.3.3, steps 1 to 7.  *out has the number 0 when there is no valid sequence. */
static int find_active(struct ring *ring, struct sequence *out, struct vd_err *err)
{
    struct sequence best = {0};
    uint64_t scanned = 0;

    while (scanned < ring->n) {
        struct run run = {.n_sectors = 0};

        if (!ring->entry[scanned].no_start)
            run = run_from(ring, (uint32_t)scanned);
        if (run.n_entries > ring->search_budget)
            return vd_fail(err, VD_ELIMIT,
                           "log: its entries overlap in more ways than can be tried");
        ring->search_budget -= run.n_entries;
        if (run.valid && run.sequence.number > best.number)
            best = run.sequence;
        if (!run.valid)
            rule_out(ring, (uint32_t)scanned, &run);
        scanned += run.valid ? run.n_sectors : 1;
    }
    *out = best;
    return 0;
}

/* ---- its writes ---- */

static int add_patch(struct vhdx_log *log, size_t *cap, const struct vhdx_patch *patch,
                     struct vd_err *err)
{
    if (log->n == *cap) {
        size_t want = *cap ? 2 * *cap : 64;
        struct vhdx_patch *v;

        if (log->n >= MAX_PATCHES)
            return vd_fail(err, VD_ELIMIT, "log: more than %u writes to replay", MAX_PATCHES);
        v = realloc(log->v, want * sizeof(*v));
        if (!v)
            return vd_fail(err, VD_ENOMEM, "log: out of memory");
        log->v = v;
        *cap = want;
    }
    log->v[log->n++] = *patch;
    return 0;
}

static int add_entry(const struct ring *ring, uint32_t start, struct vhdx_log *log, size_t *cap,
                     struct vd_err *err)
{
    const struct entry *e = &ring->entry[start];
    uint64_t data = (uint64_t)start + descriptor_sectors(e->n_descriptors);
    uint32_t i;
    int rc = 0;

    for (i = 0; i < e->n_descriptors && rc == 0; i++) {
        const uint8_t *d = descriptor_at(ring, start, i);
        struct vhdx_patch patch = {.off = vd_le64(d + 16), .sector = VHDX_PATCH_ZERO};

        if (is_data(d)) {
            patch.len = VHDX_LOG_SECTOR;
            patch.sector = (uint32_t)(data++ % ring->n);
            memcpy(patch.trail, d + 4, sizeof(patch.trail));
            memcpy(patch.lead, d + 8, sizeof(patch.lead));
        } else {
            patch.len = vd_le64(d + 8);
        }
        if (patch.len)
            rc = add_patch(log, cap, &patch, err);
    }
    return rc;
}

static int list_writes(const struct ring *ring, const struct sequence *active, struct vhdx_log *out,
                       struct vd_err *err)
{
    const uint8_t *head = sector_at(ring, active->head);
    uint32_t pos = active->first;
    size_t cap = 0;
    int rc;

    out->first_sequence = ring->entry[pos].sequence;
    out->last_sequence = active->number;
    out->flushed_size = vd_le64(head + 48);
    out->last_size = vd_le64(head + 56);
    for (;;) {
        rc = add_entry(ring, pos, out, &cap, err);
        out->n_entries++;
        if (rc || pos == active->head)
            return rc;
        pos = (pos + ring->entry[pos].n_sectors) % ring->n;
    }
}

int vhdx_log_decode(const uint8_t *log, size_t len, const struct vhdx_guid *guid,
                    struct vhdx_log *out, struct vd_err *err)
{
    struct ring ring = {.bytes = log, .n = (uint32_t)(len / VHDX_LOG_SECTOR), .guid = guid};
    VD_AUTO(free) struct entry *entries = NULL;
    struct vhdx_log list = {0};
    struct sequence active = {0};
    uint32_t i;
    int rc;

    if (ring.n == 0)
        return vd_fail(err, VD_ECORRUPT, "log: it is empty");
    entries = calloc(ring.n, sizeof(*entries));
    if (!entries)
        return vd_fail(err, VD_ENOMEM, "log: out of memory");
    ring.entry = entries;
    ring.crc_budget = (uint64_t)ring.n * CRC_ROUNDS;
    ring.search_budget = (uint64_t)ring.n * SEARCH_ROUNDS;
    for (i = 0; i < ring.n; i++)
        look_at(&ring, i);
    rc = find_active(&ring, &active, err);
    if (rc)
        return rc;
    if (active.number == 0)
        return vd_fail(err, VD_ECORRUPT,
                       "log: the header says that there is a log to replay, but it holds no valid "
                       "sequence of entries");
    rc = list_writes(&ring, &active, &list, err);
    if (rc) {
        free(list.v);
        return rc;
    }
    *out = list;
    return 0;
}
