/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Merging of reads: docs/formats/audit-log.md, "Merged reads".
 *
 * A program that reads a file makes many requests for neighbouring ranges within milliseconds, and
 * they are recorded by several threads, so not quite in their order.  When a frame is sealed, each run
 * of READ records of one object and one process, with nothing else between them, becomes one record
 * with the ranges that the run covers, its first and last times, and the number of reads.  A byte
 * that was read twice is in two ranges: how often each byte left the program can still be told.
 *
 * The records came from the ring, whose numbers are untrusted: a range that goes past 2^64 is left
 * alone.  Pure; any thread.
 */
#include "audit/merge.h"

#include "base/bytes.h"
#include "base/range.h"

#include <string.h>

#define FIELD_HEADER 4
#define SPAN_BYTES   20 /* of AUDIT_T_SPAN */
#define RANGE_BYTES  16
#define FIXED_BYTES  (FIELD_HEADER + SPAN_BYTES)
#define MAX_RANGES   ((AUDIT_MAX_PAYLOAD - FIXED_BYTES - FIELD_HEADER) / RANGE_BYTES)

struct range {
    uint64_t off, len;
};

/* A run of reads. */
struct group {
    uint64_t seq, obj;
    uint32_t proc;
    size_t count, n_ranges;
    int64_t first_real, last_real;
    uint64_t first_mono, last_mono;
    uint64_t bytes;
    struct range
        ranges[MAX_RANGES]; /* ascending by offset; none begins where the one before ends */
};

static bool is_plain_read(const uint8_t *r)
{
    uint64_t end;

    return vd_le16(r + AUDIT_R_OP) == AUDIT_READ && r[AUDIT_R_EXT] == 0 && r[AUDIT_R_FLAGS] == 0 &&
           vd_le32(r + AUDIT_R_RESULT) == 0 && vd_le64(r + AUDIT_R_LEN) != 0 &&
           vd_add(vd_le64(r + AUDIT_R_OFF), vd_le64(r + AUDIT_R_LEN), &end);
}

/* Number of the first range that begins after `off`.  Mostly one of the last. */
static size_t place(const struct group *g, uint64_t off)
{
    size_t low = 0, high = g->n_ranges;

    if (high && g->ranges[high - 1].off <= off)
        return high;
    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (g->ranges[mid].off <= off)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* Adds a range, joined to its neighbours where it touches them; false when there is no room. */
static bool add_range(struct group *g, uint64_t off, uint64_t len)
{
    size_t i = place(g, off);
    struct range *next = g->ranges + i, *prev = i ? next - 1 : NULL;
    bool at_next = i < g->n_ranges && next->off == off + len;

    if (prev && prev->off + prev->len == off) {
        prev->len += len;
        if (at_next) {
            prev->len += next->len;
            g->n_ranges--;
            memmove(next, next + 1, (g->n_ranges - i) * sizeof(*next));
        }
        return true;
    }
    if (at_next) {
        next->off = off;
        next->len += len;
        return true;
    }
    if (g->n_ranges == MAX_RANGES)
        return false;
    memmove(next + 1, next, (g->n_ranges - i) * sizeof(*next));
    *next = (struct range){off, len};
    g->n_ranges++;
    return true;
}

/* Takes the record into the group if it belongs there. */
static bool group_add(struct group *g, const uint8_t *r)
{
    uint64_t bytes, len = vd_le64(r + AUDIT_R_LEN), mono = vd_le64(r + AUDIT_R_MONO);
    int64_t real = (int64_t)vd_le64(r + AUDIT_R_REAL);

    if (!is_plain_read(r) || vd_le64(r + AUDIT_R_OBJ) != g->obj ||
        vd_le32(r + AUDIT_R_PROC) != g->proc || !vd_add(g->bytes, len, &bytes) ||
        !add_range(g, vd_le64(r + AUDIT_R_OFF), len))
        return false;
    if (g->count == 0) {
        g->first_real = g->last_real = real;
        g->first_mono = g->last_mono = mono;
    }
    g->first_real = real < g->first_real ? real : g->first_real;
    g->last_real = real > g->last_real ? real : g->last_real;
    g->first_mono = mono < g->first_mono ? mono : g->first_mono;
    g->last_mono = mono > g->last_mono ? mono : g->last_mono;
    g->bytes = bytes;
    g->count++;
    return true;
}

/* Can a run begin here?  Not when the next record is another process's or of another object: most
 * records that are not reads are done with this look. */
static bool run_may_begin(const uint8_t *r, size_t slots)
{
    const uint8_t *next = r + AUDIT_SLOT;

    return slots > 1 && vd_le16(r + AUDIT_R_OP) == AUDIT_READ &&
           vd_le64(r + AUDIT_R_OBJ) == vd_le64(next + AUDIT_R_OBJ) &&
           vd_le32(r + AUDIT_R_PROC) == vd_le32(next + AUDIT_R_PROC);
}

/* The run that begins at `records`; nothing when no read stands there. */
static void group_collect(struct group *g, const uint8_t *records, size_t slots)
{
    g->count = g->n_ranges = 0;
    g->bytes = 0;
    if (!run_may_begin(records, slots))
        return;
    g->seq = vd_le64(records + AUDIT_R_COMMIT) - 1;
    g->obj = vd_le64(records + AUDIT_R_OBJ);
    g->proc = vd_le32(records + AUDIT_R_PROC);
    while (g->count < slots && group_add(g, records + g->count * AUDIT_SLOT))
        continue;
}

static size_t payload_bytes(const struct group *g)
{
    return FIXED_BYTES + (g->n_ranges > 1 ? FIELD_HEADER + g->n_ranges * RANGE_BYTES : 0);
}

static size_t group_slots(const struct group *g)
{
    return 1 + (payload_bytes(g) + AUDIT_SLOT - 1) / AUDIT_SLOT;
}

static void put_field(uint8_t *p, enum audit_tag tag, size_t len)
{
    p[0] = (uint8_t)tag;
    p[1] = 0;
    vd_put_le16(p + 2, (uint16_t)len);
}

/* Writes the group as one record of group_slots(g) slots. */
static void group_encode(const struct group *g, uint8_t *out)
{
    size_t slots = group_slots(g), i;
    uint8_t *p = out + AUDIT_SLOT;

    memset(out, 0, slots * AUDIT_SLOT);
    vd_put_le64(out + AUDIT_R_REAL, (uint64_t)g->first_real);
    vd_put_le64(out + AUDIT_R_MONO, g->first_mono);
    vd_put_le64(out + AUDIT_R_OBJ, g->obj);
    vd_put_le64(out + AUDIT_R_OFF, g->ranges[0].off);
    vd_put_le64(out + AUDIT_R_LEN, g->bytes);
    vd_put_le32(out + AUDIT_R_PROC, g->proc);
    vd_put_le16(out + AUDIT_R_OP, AUDIT_READ);
    out[AUDIT_R_EXT] = (uint8_t)(slots - 1);
    out[AUDIT_R_FLAGS] = AUDIT_F_MERGED;
    put_field(p, AUDIT_T_SPAN, SPAN_BYTES);
    vd_put_le32(p + FIELD_HEADER, (uint32_t)g->count);
    vd_put_le64(p + FIELD_HEADER + 4, (uint64_t)g->last_real);
    vd_put_le64(p + FIELD_HEADER + 12, g->last_mono);
    if (g->n_ranges > 1) {
        put_field(p + FIXED_BYTES, AUDIT_T_RANGES, g->n_ranges * RANGE_BYTES);
        p += FIXED_BYTES + FIELD_HEADER;
        for (i = 0; i < g->n_ranges; i++) {
            vd_put_le64(p + i * RANGE_BYTES, g->ranges[i].off);
            vd_put_le64(p + i * RANGE_BYTES + 8, g->ranges[i].len);
        }
    }
    audit_record_finish(out, slots, g->seq);
}

size_t merge_reads(uint8_t *records, size_t slots, size_t *io_records)
{
    struct group g;
    size_t in = 0, out = 0, n;

    for (; in < slots; in += n) {
        const uint8_t *r = records + in * AUDIT_SLOT;

        group_collect(&g, r, slots - in);
        n = g.count ? g.count : 1u + r[AUDIT_R_EXT];
        if (g.count && group_slots(&g) < n) { /* all that is needed of the run is in g */
            group_encode(&g, records + out * AUDIT_SLOT);
            out += group_slots(&g);
            *io_records -= n - 1;
        } else {
            if (out < in)
                memmove(records + out * AUDIT_SLOT, r, n * AUDIT_SLOT);
            out += n;
        }
    }
    return out;
}

bool audit_record_merged(const struct audit_record *record, struct audit_merged *out)
{
    struct audit_piece span, ranges;

    *out = (struct audit_merged){.count = 1,
                                 .last_real_ns = record->real_ns,
                                 .last_mono_ns = record->mono_ns,
                                 .n_ranges = 1};
    if (!(record->flags & AUDIT_F_MERGED) || !audit_record_find(record, AUDIT_T_SPAN, &span) ||
        span.len != SPAN_BYTES)
        return false;
    out->count = vd_le32(span.bytes);
    out->last_real_ns = (int64_t)vd_le64(span.bytes + 4);
    out->last_mono_ns = vd_le64(span.bytes + 12);
    if (audit_record_find(record, AUDIT_T_RANGES, &ranges) && ranges.len >= RANGE_BYTES) {
        out->ranges = ranges.bytes;
        out->n_ranges = ranges.len / RANGE_BYTES;
    }
    return true;
}

void audit_merged_range(const struct audit_record *record, const struct audit_merged *merged,
                        size_t i, uint64_t *out_off, uint64_t *out_len)
{
    *out_off = merged->ranges ? vd_le64(merged->ranges + i * RANGE_BYTES) : record->off;
    *out_len = merged->ranges ? vd_le64(merged->ranges + i * RANGE_BYTES + 8) : record->len;
}
