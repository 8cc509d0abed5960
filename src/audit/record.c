/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records of the audit log: encoding and decoding.  Layout: include/vdiskfs/audit_format.h and
 * docs/formats/audit-log.md, "Record".  Everything here is pure.
 */
#include "audit/record.h"

#include "base/bytes.h"
#include "base/crc32c.h"

#include <string.h>

#define FIELD_HEADER 4 /* tag, zero, length */

static size_t fields_total(const struct audit_event *event, size_t n, size_t cap)
{
    size_t i, total = 0;

    for (i = 0; i < n; i++)
        total += FIELD_HEADER + (event->fields[i].len < cap ? event->fields[i].len : cap);
    return total;
}

/* The largest length that every field may have so that all of them fit: short fields stay whole,
 * the longest are cut. */
static size_t fields_cap(const struct audit_event *event, size_t n)
{
    size_t low = 0, high = AUDIT_MAX_PAYLOAD - FIELD_HEADER;

    if (fields_total(event, n, high) <= AUDIT_MAX_PAYLOAD)
        return high;
    while (low + 1 < high) {
        size_t mid = low + (high - low) / 2;

        if (fields_total(event, n, mid) <= AUDIT_MAX_PAYLOAD)
            low = mid;
        else
            high = mid;
    }
    return low;
}

static size_t fields_encode(const struct audit_event *event, uint8_t *payload, bool *out_cut)
{
    size_t n = event->n_fields < AUDIT_MAX_FIELDS ? event->n_fields : AUDIT_MAX_FIELDS;
    size_t cap = fields_cap(event, n), i, pos = 0;

    *out_cut = n < event->n_fields;
    for (i = 0; i < n; i++) {
        const struct audit_field *f = &event->fields[i];
        size_t len = f->len < cap ? f->len : cap;

        *out_cut = *out_cut || len < f->len;
        payload[pos] = (uint8_t)f->tag;
        payload[pos + 1] = 0;
        vd_put_le16(payload + pos + 2, (uint16_t)len);
        if (len)
            memcpy(payload + pos + FIELD_HEADER, f->bytes, len);
        pos += FIELD_HEADER + len;
    }
    return pos;
}

static void slot_encode(const struct audit_event *event, int64_t real_ns, uint64_t mono_ns,
                        size_t n_ext, bool cut, uint8_t *out)
{
    vd_put_le64(out + AUDIT_R_COMMIT, 0);
    vd_put_le64(out + AUDIT_R_REAL, (uint64_t)real_ns);
    vd_put_le64(out + AUDIT_R_MONO, mono_ns);
    vd_put_le64(out + AUDIT_R_OBJ, event->obj);
    vd_put_le64(out + AUDIT_R_OFF, event->off);
    vd_put_le64(out + AUDIT_R_LEN, event->len);
    vd_put_le32(out + AUDIT_R_PROC, event->proc);
    vd_put_le32(out + AUDIT_R_RESULT, (uint32_t)event->result);
    vd_put_le16(out + AUDIT_R_OP, (uint16_t)event->op);
    out[AUDIT_R_EXT] = (uint8_t)n_ext;
    out[AUDIT_R_FLAGS] = (uint8_t)(event->flags | (cut ? AUDIT_F_CUT : 0));
    vd_put_le32(out + AUDIT_R_CRC, 0);
}

size_t audit_record_encode(const struct audit_event *event, int64_t real_ns, uint64_t mono_ns,
                           uint8_t *out)
{
    bool cut = false;
    size_t used = event->n_fields ? fields_encode(event, out + AUDIT_SLOT, &cut) : 0;
    size_t n_ext = (used + AUDIT_SLOT - 1) / AUDIT_SLOT;

    memset(out + AUDIT_SLOT + used, 0, n_ext * AUDIT_SLOT - used);
    slot_encode(event, real_ns, mono_ns, n_ext, cut, out);
    return 1 + n_ext;
}

void audit_record_finish(uint8_t *record, size_t slots, uint64_t seq)
{
    vd_put_le64(record + AUDIT_R_COMMIT, seq + 1);
    vd_put_le32(record + AUDIT_R_CRC, 0);
    vd_put_le32(record + AUDIT_R_CRC, vd_crc32c(0, record, slots * AUDIT_SLOT));
}

void audit_record_lost(uint8_t *out, size_t slots, uint64_t seq, int64_t real_ns, uint64_t mono_ns,
                       const char *why)
{
    const struct audit_field text = {AUDIT_T_TEXT, why, strlen(why)};
    struct audit_event event = {.op = AUDIT_LOST, .len = slots};
    size_t n_ext = slots - 1;

    memset(out + AUDIT_SLOT, 0, n_ext * AUDIT_SLOT);
    if (FIELD_HEADER + text.len <= n_ext * AUDIT_SLOT) {
        bool cut = false;

        event.fields = &text;
        event.n_fields = 1;
        (void)fields_encode(&event, out + AUDIT_SLOT, &cut);
    }
    slot_encode(&event, real_ns, mono_ns, n_ext, false, out);
    audit_record_finish(out, slots, seq);
}

/* Fields up to tag 0 or the end, then zeros only. */
static bool payload_ok(const uint8_t *p, size_t len)
{
    struct vd_cursor c = vd_cursor_at(p, len);

    while (c.len - c.pos >= FIELD_HEADER) {
        uint8_t tag = vd_take_u8(&c), zero = vd_take_u8(&c);
        uint16_t n = vd_take_le16(&c);

        if (tag == AUDIT_T_END)
            return !zero && !n && vd_all_zero(p + c.pos, len - c.pos);
        if (zero || !vd_take_bytes(&c, n))
            return false;
    }
    return vd_all_zero(p + c.pos, len - c.pos);
}

int audit_record_decode(const uint8_t *bytes, size_t len, struct audit_record *out,
                        struct vd_err *err)
{
    struct audit_record r = {0};
    uint64_t commit;

    if (len < AUDIT_SLOT)
        return vd_fail(err, VD_ECORRUPT, "record: %zu bytes are no whole slot", len);
    commit = vd_le64(bytes + AUDIT_R_COMMIT);
    r.slots = 1u + bytes[AUDIT_R_EXT];
    if (commit == 0 || commit & AUDIT_RING_CLAIMED)
        return vd_fail(err, VD_ECORRUPT, "record: not committed");
    if (r.slots * AUDIT_SLOT > len)
        return vd_fail(err, VD_ECORRUPT, "record: payload of %zu slots is cut off", r.slots - 1);
    if (vd_crc32c_without(bytes, r.slots * AUDIT_SLOT, AUDIT_R_CRC) != vd_le32(bytes + AUDIT_R_CRC))
        return vd_fail(err, VD_ECORRUPT, "record: wrong CRC-32C");
    r.payload = bytes + AUDIT_SLOT;
    r.payload_len = (r.slots - 1) * AUDIT_SLOT;
    if (!payload_ok(r.payload, r.payload_len))
        return vd_fail(err, VD_ECORRUPT, "record: malformed payload");
    r.seq = commit - 1;
    r.real_ns = (int64_t)vd_le64(bytes + AUDIT_R_REAL);
    r.mono_ns = vd_le64(bytes + AUDIT_R_MONO);
    r.obj = vd_le64(bytes + AUDIT_R_OBJ);
    r.off = vd_le64(bytes + AUDIT_R_OFF);
    r.len = vd_le64(bytes + AUDIT_R_LEN);
    r.proc = vd_le32(bytes + AUDIT_R_PROC);
    r.result = (int32_t)vd_le32(bytes + AUDIT_R_RESULT);
    r.op = vd_le16(bytes + AUDIT_R_OP);
    r.flags = bytes[AUDIT_R_FLAGS];
    *out = r;
    return 0;
}

bool audit_record_from_ring(const struct audit_record *record)
{
    return record->op != AUDIT_NONE && record->op != AUDIT_SESSION_CLOSE &&
           record->op != AUDIT_LOST && record->op != AUDIT_RECOVERED &&
           !(record->flags & (AUDIT_F_RECOVERED | AUDIT_F_MERGED));
}

bool audit_record_next(const struct audit_record *record, size_t *pos, struct audit_piece *out)
{
    struct vd_cursor c = vd_cursor_at(record->payload, record->payload_len);

    c.pos = *pos;
    out->tag = vd_take_u8(&c);
    (void)vd_take_u8(&c);
    out->len = vd_take_le16(&c);
    out->bytes = vd_take_bytes(&c, out->len);
    if (c.bad || out->tag == AUDIT_T_END)
        return false;
    *pos = c.pos;
    return true;
}

bool audit_record_find(const struct audit_record *record, enum audit_tag tag,
                       struct audit_piece *out)
{
    size_t pos = 0;

    while (audit_record_next(record, &pos, out))
        if (out->tag == (unsigned)tag)
            return true;
    return false;
}

bool audit_is_critical(enum audit_op op)
{
    /* SESSION_CLOSE and WORKER_DIED are the end, which is synced. */
    return op == AUDIT_SESSION_OPEN || op == AUDIT_MOUNTED || op == AUDIT_EVIDENCE_CHANGED ||
           op == AUDIT_POLICY || op == AUDIT_REFUSED || op == AUDIT_IOERR;
}
