/* SPDX-License-Identifier: Apache-2.0 */
/* Several READ records as one: made when a frame is sealed, read by `show` and the exporters.  The
 * verifier has its own reading.  Format: docs/formats/audit-log.md, "Merged reads".  Pure; any
 * thread. */
#ifndef VD_AUDIT_MERGE_H
#define VD_AUDIT_MERGE_H

#include "audit/record.h"

/* Replaces runs of READ records by merged ones where that takes fewer slots.  `records`: `slots` slots
 * of whole, finished records with consecutive sequence numbers, at most AUDIT_MAX_FRAME bytes of
 * them; changed in place.  *io_records is their number, before and after.  Returns the slots used
 * afterwards, at most `slots`.  Records that are merged already stay as they are. */
size_t merge_reads(uint8_t *records, size_t slots, size_t *io_records);

/* What a READ record stands for. */
struct audit_merged {
    uint32_t count; /* reads, and sequence numbers; 1 when nothing was merged */
    int64_t last_real_ns;
    uint64_t last_mono_ns;
    const uint8_t *ranges; /* n_ranges pairs (offset, length) as in the record; borrowed; NULL: one
                              range, OFF and LEN of the record */
    size_t n_ranges;
};

/* Is the record a merged one?  Sets *out in any case; for a record that was not merged, or is malformed
 * (the verifier accepts none), to what its own fields say. */
bool audit_record_merged(const struct audit_record *record, struct audit_merged *out);

/* Range `i` of the record, ascending by offset; i < n_ranges. */
void audit_merged_range(const struct audit_record *record, const struct audit_merged *merged,
                        size_t i, uint64_t *out_off, uint64_t *out_len);

#endif
