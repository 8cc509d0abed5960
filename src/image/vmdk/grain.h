/* SPDX-License-Identifier: Apache-2.0 */
/* Compressed grains of stream-optimized extents: the header in front of the data, and inflating.
 * Pure, any thread. */
#ifndef VD_IMAGE_VMDK_GRAIN_H
#define VD_IMAGE_VMDK_GRAIN_H

#include "base/err.h"

/* Header in front of compressed data: sector address and size, or the size alone in files without
 * markers. */
#define VMDK_GRAIN_HEADER_MARKER 12u
#define VMDK_GRAIN_HEADER_PLAIN  4u

struct vmdk_grain_header {
    bool has_lba;
    uint64_t lba;       /* sector on the extent; only with markers */
    uint32_t data_size; /* bytes of compressed data that follow */
};

/* `bytes` has VMDK_GRAIN_HEADER_MARKER bytes (markers) or VMDK_GRAIN_HEADER_PLAIN. */
void vmdk_grain_header_decode(const uint8_t *bytes, bool markers, struct vmdk_grain_header *out);

/* Is it the header of the grain at sector `lba`, of at most `grain_bytes` inflated?  VD_ECORRUPT
 * otherwise. */
int vmdk_grain_header_validate(const struct vmdk_grain_header *h, uint64_t lba,
                               uint64_t grain_bytes, struct vd_err *err);

/* Inflates a zlib stream (RFC 1950) of `src_len` bytes into `dst` and gives the size.  More than
 * `max` bytes, a wrong checksum or an early end is VD_ECORRUPT; the buffer's content is undefined
 * then.  Bytes after the stream are ignored (padding). */
int vmdk_grain_inflate(const uint8_t *src, size_t src_len, uint8_t *dst, size_t max,
                       size_t *out_len, struct vd_err *err);

#endif
