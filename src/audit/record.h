/* SPDX-License-Identifier: Apache-2.0 */
/* One record as bytes and back.  Used by the writing side and by `show`; the verifier has its own
 * reading.  Pure; any thread. */
#ifndef VD_AUDIT_RECORD_H
#define VD_AUDIT_RECORD_H

#include "audit/audit.h"

/* Largest record in bytes: its first slot and its payload. */
#define AUDIT_MAX_RECORD (AUDIT_SLOT + AUDIT_MAX_PAYLOAD)
_Static_assert(AUDIT_MAX_PAYLOAD == AUDIT_MAX_EXT * AUDIT_SLOT, "all payload slots");

/* Encodes everything of `event` but sequence number and CRC into `out` (AUDIT_MAX_RECORD bytes);
 * returns the number of slots.  Fields that exceed AUDIT_MAX_PAYLOAD are cut, longest first; more
 * than AUDIT_MAX_FIELDS are dropped; both set AUDIT_F_CUT. */
#define AUDIT_MAX_FIELDS 64
size_t audit_record_encode(const struct audit_event *event, int64_t real_ns, uint64_t mono_ns,
                           uint8_t *out);

/* Puts sequence number and CRC into a record of `slots` slots. */
void audit_record_finish(uint8_t *record, size_t slots, uint64_t seq);

/* A record of AUDIT_LOST with exactly `slots` slots (1 to 256), finished. */
void audit_record_lost(uint8_t *out, size_t slots, uint64_t seq, int64_t real_ns, uint64_t mono_ns,
                       const char *why);

struct audit_record {
    uint64_t seq;
    int64_t real_ns;
    uint64_t mono_ns;
    uint64_t obj, off, len;
    uint32_t proc;
    int32_t result;
    uint16_t op;
    uint8_t flags;
    size_t slots;           /* of the record, its first one included */
    const uint8_t *payload; /* borrowed from the bytes decoded */
    size_t payload_len;
};

/* Decodes and checks the record at the start of `bytes`: commit word present, length, CRC, payload
 * well-formed.  VD_ECORRUPT otherwise. */
int audit_record_decode(const uint8_t *bytes, size_t len, struct audit_record *out,
                        struct vd_err *err);

/* May a record of the ring be this one?  Not what only the sealing process makes. */
bool audit_record_from_ring(const struct audit_record *record);

/* One field of a decoded record.  Start with *pos = 0; false at the end. */
struct audit_piece {
    unsigned tag;
    const uint8_t *bytes; /* borrowed */
    size_t len;
};
bool audit_record_next(const struct audit_record *record, size_t *pos, struct audit_piece *out);

/* The first field with this tag. */
bool audit_record_find(const struct audit_record *record, enum audit_tag tag,
                       struct audit_piece *out);

#endif
