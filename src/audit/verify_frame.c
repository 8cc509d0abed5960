/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One frame of the log, checked against what must come next.  Written from
 * docs/formats/audit-log.md, "What a verifier checks", and on purpose without the code that
 * writes.  Every byte of a frame is covered: the header by its CRC-32C and field by field, each
 * record by its CRC-32C, all of it by the hash in the next frame.
 */
#include "audit/verify_frame.h"

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/range.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define FLAGS_KNOWN (AUDIT_FRAME_CLOSE | AUDIT_FRAME_HEARTBEAT | AUDIT_FRAME_RECOVERED)

__attribute__((format(printf, 3, 4))) static bool bad(struct fault *fault, size_t off,
                                                      const char *fmt, ...)
{
    va_list ap;

    fault->off = off;
    va_start(ap, fmt);
    (void)vsnprintf(fault->reason, sizeof(fault->reason), fmt, ap);
    va_end(ap);
    return false;
}

/* ---- header ---- */

static bool number_is(struct fault *fault, size_t off, const char *name, uint64_t got,
                      uint64_t expected)
{
    return got == expected ||
           bad(fault, off, "%s is %" PRIu64 ", expected %" PRIu64, name, got, expected);
}

bool frame_ended_epoch(const struct expect *e)
{
    return !vd_all_zero(e->next, sizeof(e->next));
}

/* The epoch goes on with its key, or the one that was announced begins.  Only a recovery brings a
 * key that nobody announced. */
static bool header_key(const struct expect *e, const uint8_t *h, struct fault *fault)
{
    bool recovery = vd_le32(h + AUDIT_H_FLAGS) & AUDIT_FRAME_RECOVERED, next = frame_ended_epoch(e);

    if (!number_is(fault, AUDIT_H_EPOCH, "key epoch", vd_le32(h + AUDIT_H_EPOCH),
                   e->epoch + (uint64_t)(next || recovery || e->frame_no == 0)))
        return false;
    if (e->frame_no == 0 && vd_le32(h + AUDIT_H_FLAGS) & AUDIT_FRAME_HEARTBEAT)
        return bad(fault, AUDIT_H_FLAGS, "a log begins with a heartbeat");
    if (recovery && (e->segment == 0 || !e->segment_start))
        return bad(fault, AUDIT_H_FLAGS, "a recovery that does not begin a segment");
    if (!recovery && e->frame_no > 0 &&
        memcmp(h + AUDIT_H_KEY, next ? e->next : e->key, NOTE_PUBLIC_SIZE) != 0)
        return bad(fault, AUDIT_H_KEY, "another key than the one announced");
    return true;
}

static bool header_order(const struct expect *e, const uint8_t *h, struct fault *fault)
{
    if (!number_is(fault, AUDIT_H_FRAME_NO, "frame number", vd_le64(h + AUDIT_H_FRAME_NO),
                   e->frame_no) ||
        !number_is(fault, AUDIT_H_FIRST_SEQ, "first sequence number",
                   vd_le64(h + AUDIT_H_FIRST_SEQ), e->seq) ||
        !number_is(fault, AUDIT_H_SEGMENT, "segment number", vd_le32(h + AUDIT_H_SEGMENT),
                   e->segment))
        return false;
    if (e->has_session && memcmp(h + AUDIT_H_SESSION, e->session, sizeof(e->session)) != 0)
        return bad(fault, AUDIT_H_SESSION, "frame of another session");
    if (memcmp(h + AUDIT_H_PREV, e->leaf, sizeof(e->leaf)) != 0)
        return bad(fault, AUDIT_H_PREV, "does not continue the frame before (hash differs)");
    return header_key(e, h, fault);
}

static bool header_form(const uint8_t *h, size_t len, struct fault *fault)
{
    uint32_t slots = vd_le32(h + AUDIT_H_SLOTS), records = vd_le32(h + AUDIT_H_RECORDS);

    uint32_t flags = vd_le32(h + AUDIT_H_FLAGS);

    if (flags & ~FLAGS_KNOWN)
        return bad(fault, AUDIT_H_FLAGS, "unknown frame flags 0x%x", flags);
    if (vd_all_zero(h + AUDIT_H_KEY, NOTE_PUBLIC_SIZE))
        return bad(fault, AUDIT_H_KEY, "no key");
    if (vd_le32(h + AUDIT_H_RESERVED))
        return bad(fault, AUDIT_H_RESERVED, "reserved bytes are not zero");
    if (!number_is(fault, AUDIT_H_SLOTS, "number of slots", slots,
                   (len - AUDIT_FRAME_HEADER) / AUDIT_SLOT))
        return false;
    if (flags & AUDIT_FRAME_HEARTBEAT)
        return (slots == 0 && flags == AUDIT_FRAME_HEARTBEAT) ||
               bad(fault, AUDIT_H_FLAGS, "a heartbeat with something in it");
    if (records == 0 || records > slots)
        return bad(fault, AUDIT_H_RECORDS, "%u records in %u slots", records, slots);
    return true;
}

bool frame_begins(const struct expect *e, const uint8_t *bytes, size_t len, struct fault *fault)
{
    uint8_t fixed[8] = AUDIT_FRAME_MAGIC, h[AUDIT_FRAME_HEADER] = {0};

    vd_put_le16(fixed + AUDIT_H_VERSION, AUDIT_VERSION);
    vd_put_le16(fixed + AUDIT_H_HEADER, AUDIT_FRAME_HEADER);
    if (memcmp(bytes, fixed, len < sizeof(fixed) ? len : sizeof(fixed)) != 0)
        return bad(fault, 0, "no frame of version %d begins here", AUDIT_VERSION);
    if (len >= AUDIT_FRAME_HEADER &&
        vd_crc32c_without(bytes, AUDIT_FRAME_HEADER, AUDIT_H_CRC) != vd_le32(bytes + AUDIT_H_CRC))
        return bad(fault, AUDIT_H_CRC, "wrong CRC-32C of the frame header");
    /* What is not there is filled in with what is expected. */
    vd_put_le64(h + AUDIT_H_FRAME_NO, e->frame_no);
    vd_put_le64(h + AUDIT_H_FIRST_SEQ, e->seq);
    vd_put_le32(h + AUDIT_H_SEGMENT, e->segment);
    memcpy(h + AUDIT_H_SESSION, e->session, sizeof(e->session));
    memcpy(h + AUDIT_H_PREV, e->leaf, sizeof(e->leaf));
    vd_put_le32(h + AUDIT_H_EPOCH, e->epoch + (e->frame_no == 0 || frame_ended_epoch(e)));
    memcpy(h + AUDIT_H_KEY, frame_ended_epoch(e) ? e->next : e->key, NOTE_PUBLIC_SIZE);
    if (len > AUDIT_H_FLAGS && bytes[AUDIT_H_FLAGS] & AUDIT_FRAME_RECOVERED)
        vd_put_le32(h + AUDIT_H_EPOCH, e->epoch + 1);
    memcpy(h, bytes, len < sizeof(h) ? len : sizeof(h));
    return header_order(e, h, fault);
}

size_t frame_length(const uint8_t *header, struct fault *fault)
{
    uint32_t len = vd_le32(header + AUDIT_H_LENGTH);

    if (len > AUDIT_MAX_FRAME || len < AUDIT_FRAME_HEADER ||
        (len - AUDIT_FRAME_HEADER) % AUDIT_SLOT) {
        (void)bad(fault, AUDIT_H_LENGTH, "impossible frame length %u", len);
        return 0;
    }
    return len;
}

/* ---- records ---- */

struct tally {
    uint64_t seq;
    uint32_t records;
    uint64_t lost;
    int64_t t_first, t_last;
    uint16_t last_op;
    int32_t last_result;
    uint64_t last_len;
};

/* Fields one after the other, then zeros. */
static bool payload_check(const uint8_t *p, size_t len)
{
    size_t pos = 0;

    while (len - pos >= 4 && p[pos] != AUDIT_T_END) {
        size_t field = vd_le16(p + pos + 2);

        if (p[pos + 1] != 0 || field > len - pos - 4)
            return false;
        pos += 4 + field;
    }
    return vd_all_zero(p + pos, len - pos);
}

/* ---- merged reads ---- */

#define SPAN_FIELD   24 /* AUDIT_T_SPAN with its head: count at 4, latest REAL at 8, MONO at 16 */
#define RANGES_FIELD 28 /* where the pairs of AUDIT_T_RANGES begin, when it is there */

static bool is_merged(const uint8_t *r)
{
    return r[AUDIT_R_FLAGS] & AUDIT_F_MERGED;
}

/* Sequence numbers that a record of `len` bytes, which was checked, stands for. */
static uint64_t record_span(const uint8_t *r, size_t len)
{
    return is_merged(r) ? vd_le32(r + AUDIT_SLOT + 4) : len / AUDIT_SLOT;
}

/* The list of `n` ranges at `p` is ascending, none could be joined to the one before, and they agree
 * with the record's OFF and LEN. */
static bool ranges_ok(const uint8_t *r, const uint8_t *p, size_t n)
{
    uint64_t sum = 0, before = 0, before_end = 0;
    size_t i;

    for (i = 0; i < n; i++, p += 16) {
        uint64_t off = vd_le64(p), len = vd_le64(p + 8), end;

        if (len == 0 || !vd_add(off, len, &end) || !vd_add(sum, len, &sum))
            return false;
        if (i ? off < before || off == before_end : off != vd_le64(r + AUDIT_R_OFF))
            return false;
        before = off;
        before_end = end;
    }
    return sum == vd_le64(r + AUDIT_R_LEN);
}

/* A record with AUDIT_F_MERGED, otherwise well-formed. */
static bool merged_ok(const uint8_t *r, size_t len)
{
    const uint8_t *p = r + AUDIT_SLOT;
    size_t payload = len - AUDIT_SLOT, used = SPAN_FIELD, n = 1;
    uint64_t count, end;

    if (vd_le16(r + AUDIT_R_OP) != AUDIT_READ || r[AUDIT_R_FLAGS] != AUDIT_F_MERGED ||
        vd_le32(r + AUDIT_R_RESULT) || payload == 0 || p[0] != AUDIT_T_SPAN ||
        vd_le16(p + 2) != SPAN_FIELD - 4)
        return false;
    count = vd_le32(p + 4);
    if (p[SPAN_FIELD] == AUDIT_T_RANGES) {
        n = vd_le16(p + SPAN_FIELD + 2) / 16u;
        used = RANGES_FIELD + vd_le16(p + SPAN_FIELD + 2);
        if (n < 2 || used != RANGES_FIELD + 16 * n || !ranges_ok(r, p + RANGES_FIELD, n))
            return false;
    }
    return vd_all_zero(p + used, payload - used) && payload - used < AUDIT_SLOT &&
           count > len / AUDIT_SLOT && count <= AUDIT_MAX_MERGED && n <= count &&
           vd_le64(r + AUDIT_R_LEN) >= count &&
           vd_add(vd_le64(r + AUDIT_R_OFF), n > 1 ? 0 : vd_le64(r + AUDIT_R_LEN), &end) &&
           (int64_t)vd_le64(p + 8) >= (int64_t)vd_le64(r + AUDIT_R_REAL) &&
           vd_le64(p + 16) >= vd_le64(r + AUDIT_R_MONO);
}

/* Bytes of the record, or 0 and fault. */
static size_t record_check(const uint8_t *r, size_t room, uint64_t seq, size_t off,
                           struct fault *fault)
{
    size_t len = AUDIT_SLOT * ((size_t)1 + r[AUDIT_R_EXT]);
    uint64_t commit = vd_le64(r + AUDIT_R_COMMIT);

    if (commit != seq + 1)
        return bad(fault, off + AUDIT_R_COMMIT,
                   "record has sequence number %" PRIu64 ", expected %" PRIu64, commit - 1, seq);
    if (len > room)
        return bad(fault, off + AUDIT_R_EXT, "record %" PRIu64 " goes past the end of its frame",
                   seq);
    if (vd_crc32c_without(r, len, AUDIT_R_CRC) != vd_le32(r + AUDIT_R_CRC))
        return bad(fault, off + AUDIT_R_CRC, "record %" PRIu64 ": wrong CRC-32C", seq);
    if (vd_le16(r + AUDIT_R_OP) == AUDIT_NONE)
        return bad(fault, off + AUDIT_R_OP, "record %" PRIu64 ": no operation", seq);
    if (!payload_check(r + AUDIT_SLOT, len - AUDIT_SLOT))
        return bad(fault, off + AUDIT_SLOT, "record %" PRIu64 ": malformed payload", seq);
    if (is_merged(r) && !merged_ok(r, len))
        return bad(fault, off, "record %" PRIu64 ": no possible merging of reads", seq);
    return len;
}

static void tally_record(struct tally *t, const uint8_t *r, size_t len)
{
    int64_t real = (int64_t)vd_le64(r + AUDIT_R_REAL);
    int64_t last = is_merged(r) ? (int64_t)vd_le64(r + AUDIT_SLOT + 8) : real;

    if (t->records == 0) {
        t->t_first = real;
        t->t_last = last;
    }
    t->t_first = real < t->t_first ? real : t->t_first;
    t->t_last = last > t->t_last ? last : t->t_last;
    t->records++;
    t->seq += record_span(r, len);
    t->last_op = vd_le16(r + AUDIT_R_OP);
    t->last_len = vd_le64(r + AUDIT_R_LEN);
    t->last_result = (int32_t)vd_le32(r + AUDIT_R_RESULT);
    t->lost += t->last_op == AUDIT_LOST;
}

/* The first record of a log, and of a recovery, says what it is. */
static bool first_record_check(const uint8_t *frame, size_t pos, uint64_t seq, struct fault *fault)
{
    uint16_t op = vd_le16(frame + pos + AUDIT_R_OP);
    bool recovery = vd_le32(frame + AUDIT_H_FLAGS) & AUDIT_FRAME_RECOVERED;

    if (seq == 0 && op != AUDIT_SESSION_OPEN && !recovery) /* or nothing was sealed before it */
        return bad(fault, pos + AUDIT_R_OP, "the first record does not open a session");
    if ((op == AUDIT_RECOVERED) != (recovery && pos == AUDIT_FRAME_HEADER))
        return bad(fault, pos + AUDIT_R_OP, "a recovery and its record do not belong together");
    return true;
}

/* Four records at once, when none of them has a payload or a meaning for the log itself, and all are right;
 * true: they are counted.  Most records are like that, and this takes half the time.  Whatever is not is left to
 * the checks one by one, which say what is wrong. */
static bool four_plain(const uint8_t *r, struct tally *t)
{
    int64_t first = t->t_first, last = t->t_last;
    uint32_t crc[4];
    size_t i;

    vd_crc32c_slots4(r, crc);
    for (i = 0; i < 4; i++) {
        const uint8_t *slot = r + i * AUDIT_SLOT;
        int64_t real = (int64_t)vd_le64(slot + AUDIT_R_REAL);

        if (slot[AUDIT_R_EXT] || is_merged(slot) || vd_le16(slot + AUDIT_R_OP) < AUDIT_PROC ||
            vd_le64(slot + AUDIT_R_COMMIT) != t->seq + i + 1 ||
            vd_le32(slot + AUDIT_R_CRC) != crc[i])
            return false;
        first = real < first ? real : first;
        last = real > last ? real : last;
    }
    tally_record(t, r + 3 * (size_t)AUDIT_SLOT, AUDIT_SLOT);
    t->t_first = first;
    t->t_last = last;
    t->records += 3;
    t->seq += 3;
    return true;
}

static bool records_check(const uint8_t *frame, size_t len, struct tally *t, struct fault *fault)
{
    size_t pos = AUDIT_FRAME_HEADER;

    while (pos < len) {
        const uint8_t *r = frame + pos;
        uint64_t seq = t->seq;
        size_t n;

        if (t->records && len - pos >= 4 * (size_t)AUDIT_SLOT && r[AUDIT_R_EXT] == 0 &&
            r[AUDIT_SLOT + AUDIT_R_EXT] == 0 && four_plain(r, t)) {
            pos += 4 * (size_t)AUDIT_SLOT;
            continue;
        }
        n = record_check(r, len - pos, seq, pos, fault);

        if (n == 0)
            return false;
        if (!first_record_check(frame, pos, seq, fault))
            return false;
        tally_record(t, r, n);
        pos += n;
        if (t->last_op == AUDIT_SESSION_CLOSE && pos < len)
            return bad(fault, pos, "records after the close record");
        if (t->last_op == AUDIT_LOST && t->last_len != n / AUDIT_SLOT)
            return bad(fault, pos - n + AUDIT_R_LEN, "lost slots do not add up");
    }
    return true;
}

static bool totals_check(const struct expect *e, const uint8_t *h, const struct tally *t,
                         struct fault *fault)
{
    bool flagged = vd_le32(h + AUDIT_H_FLAGS) & AUDIT_FRAME_CLOSE;

    if (!number_is(fault, AUDIT_H_RECORDS, "number of records", vd_le32(h + AUDIT_H_RECORDS),
                   t->records) ||
        !number_is(fault, AUDIT_H_TOTAL, "total of records", vd_le64(h + AUDIT_H_TOTAL),
                   e->total + t->records))
        return false;
    if (t->records == 0) /* a heartbeat */
        return vd_le64(h + AUDIT_H_T_FIRST) == vd_le64(h + AUDIT_H_T_LAST) ||
               bad(fault, AUDIT_H_T_LAST, "a heartbeat of two times");
    if ((int64_t)vd_le64(h + AUDIT_H_T_FIRST) != t->t_first)
        return bad(fault, AUDIT_H_T_FIRST, "earliest time is not that of its records");
    if ((int64_t)vd_le64(h + AUDIT_H_T_LAST) != t->t_last)
        return bad(fault, AUDIT_H_T_LAST, "latest time is not that of its records");
    if (flagged != (t->last_op == AUDIT_SESSION_CLOSE))
        return bad(fault, AUDIT_H_FLAGS, "close flag and close record do not agree");
    if (flagged && !vd_all_zero(h + AUDIT_H_NEXT, NOTE_PUBLIC_SIZE))
        return bad(fault, AUDIT_H_NEXT, "a key for after the end");
    if (flagged && t->last_len != e->lost + t->lost)
        return bad(fault, AUDIT_H_FLAGS, "the close record tells %" PRIu64 " lost, found %" PRIu64,
                   t->last_len, e->lost + t->lost);
    return true;
}

bool frame_check(struct expect *e, const uint8_t *frame, size_t len, struct fault *fault)
{
    static const uint8_t leaf_prefix = 0;
    struct tally t = {.seq = e->seq};

    /* Nobody can sign a close record any more after a crash, but a recovery can follow it. */
    if (e->closed && !(vd_le32(frame + AUDIT_H_FLAGS) & AUDIT_FRAME_RECOVERED))
        return bad(fault, 0, "something follows the frame that closed the log");
    if (!frame_begins(e, frame, AUDIT_FRAME_HEADER, fault) || !header_form(frame, len, fault) ||
        !records_check(frame, len, &t, fault) || !totals_check(e, frame, &t, fault))
        return false;
    memcpy(e->session, frame + AUDIT_H_SESSION, sizeof(e->session));
    e->has_session = true;
    e->segment_start = false;
    e->epoch = vd_le32(frame + AUDIT_H_EPOCH);
    memcpy(e->key, frame + AUDIT_H_KEY, sizeof(e->key));
    memcpy(e->next, frame + AUDIT_H_NEXT, sizeof(e->next));
    e->recoveries += (vd_le32(frame + AUDIT_H_FLAGS) & AUDIT_FRAME_RECOVERED) != 0;
    e->frame_no++;
    e->seq = t.seq;
    e->total += t.records;
    e->lost += t.lost;
    e->closed = t.last_op == AUDIT_SESSION_CLOSE;
    if (e->closed)
        e->close_result = t.last_result;
    vd_sha256_reset(e->sha);
    vd_sha256_add(e->sha, &leaf_prefix, 1);
    vd_sha256_add(e->sha, frame, len);
    vd_sha256_end(e->sha, e->leaf);
    merkle_add(&e->tree, e->sha, e->leaf);
    return true;
}
