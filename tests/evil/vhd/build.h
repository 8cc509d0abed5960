/* SPDX-License-Identifier: Apache-2.0 */
/* Small VHD and VHDX files in memory, right in every detail, for tests that then break exactly one
 * of them.  Written from the specifications, independent of the decoders. */
#ifndef VD_TEST_BUILD_H
#define VD_TEST_BUILD_H

#include "base/facts.h"
#include "image/image.h"

#include <stddef.h>
#include <stdint.h>

struct built {
    uint8_t *p; /* freed with free() */
    size_t len;
};

void put_be16(uint8_t *p, uint16_t v);
void put_be32(uint8_t *p, uint32_t v);
void put_be64(uint8_t *p, uint64_t v);

/* ---- VHD ---- */

#define VHD_T_HEADER 512u  /* where build_vhd_dynamic puts the dynamic header */
#define VHD_T_TABLE  1536u /* … and the table */

/* Writes the checksum of a footer (512 or 511 bytes) or of a dynamic header (1024 bytes). */
void vhd_seal_footer(uint8_t *footer, size_t len);
void vhd_seal_header(uint8_t *header);

/* A fixed disk of `size` bytes of test_fill(seed). */
struct built build_vhd_fixed(size_t size, uint64_t seed);

/* A dynamic disk of `n_blocks` blocks of `block_size` bytes.  Block i is absent where present[i] is
 * 0; otherwise it holds test_fill(seed + i) and lies in the file at a place that falls with i.  All
 * bitmap bits are set.  *out_disk (may be NULL) gets the disk's content. */
struct built build_vhd_dynamic(uint32_t block_size, uint32_t n_blocks, const uint8_t *present,
                               uint64_t seed, struct built *out_disk);
/* Offset of block i in such a file (of its bitmap). */
size_t vhd_block_at(const struct built *file, uint32_t i);

/* ---- VHDX ---- */

#define VHDX_T_MIB      ((size_t)1 << 20)
#define VHDX_T_LOG      (1 * VHDX_T_MIB)
#define VHDX_T_METADATA (2 * VHDX_T_MIB)
#define VHDX_T_BAT      (3 * VHDX_T_MIB)
#define VHDX_T_BLOCKS   (4 * VHDX_T_MIB)
/* Items in the metadata region, from its start. */
#define VHDX_T_PARAMS   0x10000u
#define VHDX_T_SIZE     0x10008u
#define VHDX_T_DISKID   0x10010u
#define VHDX_T_LOGICAL  0x10020u
#define VHDX_T_PHYSICAL 0x10024u
#define VHDX_T_LOCATOR  0x11000u
/* Entries of the metadata table, in this order, 32 bytes each from offset 32 of the region:
 * parameters, size, id, logical, physical. */

/* Recomputes checksums after a change. */
void vhdx_seal_header(uint8_t *file, int which);  /* 1 or 2 */
void vhdx_seal_regions(uint8_t *file, int which); /* 1 or 2 */

/* A dynamic file of `n_blocks` blocks of 1 MiB, 512-byte sectors.  state[i] is the BAT state;
 * blocks in state 6 or 7 hold test_fill(seed + i) and lie in falling order. */
struct built build_vhdx(uint32_t n_blocks, const uint8_t *state, uint64_t seed,
                        struct built *out_disk);

/* Adds a metadata item (bytes at `off` of the region, table entry appended). */
void vhdx_add_item(uint8_t *file, const uint8_t guid[16], uint32_t off, uint32_t len,
                   uint32_t flags);

/* Writes a parent locator of keys and values (ASCII) to `p`; returns its length. */
size_t vhdx_make_locator(uint8_t *p, const char *const (*pairs)[2], unsigned n);

/* ---- log ---- */

struct log_write {
    uint64_t off, zero_len; /* zero_len 0: a data write … */
    const uint8_t *data;    /* … of these 4096 bytes */
};

struct log_entry {
    uint32_t at, tail; /* sectors of the ring */
    uint64_t sequence, flushed, last;
    const struct log_write *writes;
    uint32_t n_writes;
    uint32_t padding; /* extra sectors at the end */
};

extern const uint8_t test_log_guid[16];

/* Writes one entry into the ring `log` of `n_sectors`; returns the sector after it. */
uint32_t log_put(uint8_t *log, uint32_t n_sectors, const struct log_entry *entry);
/* Recomputes the checksum of the entry at sector `at`. */
void log_seal(uint8_t *log, uint32_t n_sectors, uint32_t at);
/* Says in both headers that there is a log to replay. */
void vhdx_set_log(uint8_t *file, const uint8_t guid[16]);

/* ---- opening ---- */

/* A device over `len` bytes that are borrowed, not copied: they must outlive it. */
int dev_over(const void *bytes, size_t len, struct blkdev **out, struct vd_err *err);

/* Opens `len` bytes, borrowed, as `format` into *out. */
int open_bytes(const struct image_format *format, const void *bytes, size_t len, struct image *out,
               struct vd_err *err);
int open_dev(const struct image_format *format, struct blkdev *file, struct image *out,
             struct vd_err *err);
void close_image(struct image *image);

/* Is there a warning whose text contains `text`? */
int has_warning(const struct image *image, const char *text);
/* Value of an INFO fact, or "". */
const char *fact_value(const struct image *image, const char *key);

#endif
