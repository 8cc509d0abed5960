/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32C (Castagnoli), the checksum of VHDX and of the audit log. */
#ifndef VD_BASE_CRC32C_H
#define VD_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The checksum of what `crc` covers followed by `len` bytes; start with 0.  The usual pre- and
 * post-inversion are inside, so vd_crc32c(vd_crc32c(0, a), b) is the checksum of a then b.  Pure;
 * any thread.  `len` 0 returns `crc`. */
uint32_t vd_crc32c(uint32_t crc, const void *bytes, size_t len);

/* The checksum of a structure that holds its own checksum: `bytes` with the four bytes at
 * `field_off` counted as zero.  The buffer is not touched.  field_off + 4 <= len. */
uint32_t vd_crc32c_without(const void *bytes, size_t len, size_t field_off);

/* vd_crc32c_without(…, 64, 60) of four structures of 64 bytes that lie one after the other, faster than
 * one by one. */
void vd_crc32c_slots4(const void *bytes, uint32_t out[4]);

/* The same value without the processor's instruction; for tests and other machines. */
uint32_t vd_crc32c_table(uint32_t crc, const void *bytes, size_t len);

#endif
