/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of COWD and seSparse share: opening what the writers made, comparing a disk with what
 * it must read as, and files with holes of terabytes, written field by field.
 */
#ifndef VD_TEST_ESX_BUILD_H
#define VD_TEST_ESX_BUILD_H

#include "image/chain.h"
#include "testlib.h"
#include "writers.h"

/* Random content; eb_free_runs frees it. */
void eb_random(struct wr_spec *spec, uint64_t size, uint64_t seed);
void eb_free_runs(struct wr_spec *spec);

/* What a disk must read as: bytes, and which sectors cannot be read. */
struct eb_want {
    uint64_t size;
    uint8_t *bytes;
    uint8_t *bad; /* one byte a sector */
};

/* That of the chain of `tip`; the caller frees it (eb_want_free). */
void eb_want(const struct wr_spec *tip, struct eb_want *out);
/* The same of another chain at [off, off+len) only. */
void eb_want_from(struct eb_want *want, const struct wr_spec *tip, uint64_t off, uint64_t len);
/* [off, off+len) cannot be read; cut at the end of the disk. */
void eb_want_bad(struct eb_want *want, uint64_t off, uint64_t len);
void eb_want_free(struct eb_want *want);

/* Reads everything in pieces of many sizes, and walks the map: all must be as wanted, and
 * what fails must be VD_ECORRUPT (or VD_EIO) at the first bad byte. */
void eb_check(struct blkdev *disk, const struct eb_want *want);

/* Opens the disk of the chain whose tip is `name`; *chain is the caller's, *out too. */
int eb_open(struct wr_dir *dir, const char *name, struct chain **chain, struct blkdev **out,
            struct vd_err *err);

/* Is there a fact of that kind, of the container or a layer of member `i`, that contains `text`? */
bool eb_has_fact(const struct chain *chain, size_t i, enum vd_fact_kind kind, const char *text);

/* What the structural check of a member says: lines "LEVEL id\n" and "what=n\n". */
struct eb_report {
    char text[8192];
};

/* Checks the tip of the chain. */
void eb_run_check(struct wr_dir *dir, const char *name, struct eb_report *out);
/* How often does the report have this line? */
unsigned eb_count_of(const struct eb_report *report, const char *line);

/* ---- files with holes ---- */

struct eb_file {
    char *dir; /* temporary; removed by eb_file_close */
    struct blk_source source;
    int fd;
};

void eb_file_open(struct eb_file *file, const char *name);
void eb_file_close(struct eb_file *file);
void eb_put(struct eb_file *file, uint64_t off, const void *bytes, size_t len);
void eb_put_le(struct eb_file *file, uint64_t off, unsigned width, uint64_t value);
void eb_size(struct eb_file *file, uint64_t size);

/* Header of COWD: grains of one sector, directory at sector 4, as many entries as needed. */
void eb_cowd_header(struct eb_file *file, uint32_t capacity_sectors, uint32_t grain_sectors);

/* Both headers of seSparse, laid out as ESXi does: areas behind each other from sector 2048 on, each a
 * multiple of 2048 sectors.  Byte places: */
struct eb_se {
    uint64_t dir_off, tables_off, grains_off;
};

void eb_se_headers(struct eb_file *file, uint64_t capacity_sectors, struct eb_se *out);
/* The two kinds of entries. */
uint64_t eb_se_gde(uint64_t number);
uint64_t eb_se_gte(uint64_t number);

#endif
