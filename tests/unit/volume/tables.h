/* SPDX-License-Identifier: Apache-2.0 */
/* Partition tables built in memory, for the tests of volume/. */
#ifndef VD_TEST_VOLUME_TABLES_H
#define VD_TEST_VOLUME_TABLES_H

#include "testlib.h"

#include "volume/volume.h"

#include <string.h>

/* Entry `slot` (0–3) of an MBR or EBR. */
void table_mbr_entry(uint8_t *sector, unsigned slot, uint8_t status, uint8_t type, uint32_t first,
                     uint32_t n);
/* 55 AA and the disk signature. */
void table_mbr_sign(uint8_t *sector, uint32_t signature);

struct table_gpt {
    uint8_t *disk;
    size_t size;
    uint32_t sector; /* bytes */
    uint32_t n_entries, entry_size;
    size_t end; /* bytes of the disk the table was made for; 0 = size */
};

/* Protective MBR, both headers, empty arrays, all checksums right. */
void table_gpt_build(const struct table_gpt *gpt);
/* Entry `idx` in both copies, "Linux filesystem"; checksums are put right. */
void table_gpt_entry(const struct table_gpt *gpt, unsigned idx, uint64_t first, uint64_t last,
                     const char *name);
uint8_t *table_gpt_header(const struct table_gpt *gpt, bool backup);
uint8_t *table_gpt_array(const struct table_gpt *gpt, bool backup);
/* Puts the checksums of one copy right. */
void table_gpt_seal(const struct table_gpt *gpt, bool backup);
/* The header's checksum alone. */
void table_gpt_seal_header(uint8_t *header);

/* A device over bytes in memory with zeros behind them up to `size`. */
struct blkdev *table_device(const void *bytes, size_t len, uint64_t size);

/* Scans bytes in memory; the table is the caller's. */
struct volume_table table_scan(const void *bytes, size_t len);
struct volume_table table_scan_device(struct blkdev *disk);

/* The warning or fact whose value contains `text`, or NULL. */
const struct vd_fact *table_fact(const struct volume_table *table, const char *text);
size_t table_warnings(const struct volume_table *table);
#define assert_says(table, text)                                                                   \
    do {                                                                                           \
        if (!table_fact(table, text))                                                              \
            table_fail_facts(table, text);                                                         \
    } while (0)
void table_fail_facts(const struct volume_table *table, const char *text);

/* What every table must satisfy: order, bounds, gaps and partitions that together cover the disk
 * exactly, printable strings. */
void table_check(const struct volume_table *table, uint64_t disk_size);

#endif
