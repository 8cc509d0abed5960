/* SPDX-License-Identifier: Apache-2.0 */
/* What the writers share among themselves. */
#ifndef VD_TEST_WRITERS_PRIV_H
#define VD_TEST_WRITERS_PRIV_H

#include "writers.h"

#include <string.h>

/* Misuse by a test: prints and aborts. */
#define wr_die(...) wr_die_at(__FILE__, __LINE__, __VA_ARGS__)
void wr_die_at(const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4), noreturn));

void *wr_alloc(size_t n, size_t size);
uint64_t wr_up(uint64_t v, uint64_t to); /* v rounded up to a multiple */

/* ---- files ---- */

struct wr_file *wr_file_new(struct wr_dir *dir, const char *name);
/* Makes the file at least `len` long. */
void wr_grow(struct wr_file *f, uint64_t len);
void wr_put(struct wr_file *f, uint64_t off, const void *bytes, size_t len);
void wr_fill(struct wr_file *f, uint64_t off, uint64_t len, int byte);
/* Garbage that looks like nothing: no zeros, no valid entry. */
void wr_junk(struct wr_file *f, uint64_t off, uint64_t len, uint64_t seed);
void wr_number(struct wr_file *f, uint64_t off, unsigned width, bool big_endian, uint64_t v);

/* ---- marks ---- */

/* Adds a mark; the pointer is good until the next one. */
struct wr_mark *wr_mark(struct wr_file *f, enum wr_mark_kind kind, enum wr_role role,
                        const char *name, uint64_t index, uint64_t off, uint64_t len);
/* Writes a number and marks it as field "NAME" (little endian unless `big`). */
struct wr_mark *wr_le(struct wr_file *f, enum wr_role role, const char *name, uint64_t off,
                      unsigned width, uint64_t v);
struct wr_mark *wr_be(struct wr_file *f, enum wr_role role, const char *name, uint64_t off,
                      unsigned width, uint64_t v);
/* Marks (without writing) a table entry and the part of the disk that depends on it. */
void wr_entry(struct wr_file *f, enum wr_role role, enum wr_encoding encoding, const char *name,
              uint64_t index, uint64_t off, unsigned width, bool big, uint64_t disk_off,
              uint64_t disk_len);
/* Marks a checksum; wr_fix_checksums then fills it in.  width 4; big endian = VHD's sum, little
 * endian = CRC-32C. */
void wr_checksum(struct wr_file *f, enum wr_role role, const char *name, uint64_t index,
                 uint64_t off, bool big, uint64_t sum_off, uint64_t sum_len);

/* ---- content ---- */

/* The state of this member alone at `off`, and how many bytes from there have the same one and come
 * from the same run (out_run may be NULL; *out_run NULL = none). */
enum wr_state wr_local(const struct wr_spec *spec, uint64_t off, uint64_t *out_len,
                       const struct wr_run **out_run);
/* The bytes that this member stores: DATA as it is, all else zeros. */
void wr_local_bytes(const struct wr_spec *spec, uint64_t off, uint8_t *buf, uint64_t len);

/* Who answers at `off` of the chain, and for how many bytes from there it is the same. */
enum wr_state wr_answer(const struct wr_spec *tip, uint64_t off, uint64_t *out_len,
                        unsigned *out_member, const struct wr_run **out_run);

/* What a unit (grain, block) is as a whole.  WR_DATA: all of it is stored.  WR_MIXED: some sectors are
 * absent and a parent answers for them. */
#define WR_MIXED ((enum wr_state)100)
enum wr_state wr_unit_state(const struct wr_spec *spec, uint64_t off, uint64_t len);

/* Places for n units, in units: a permutation with holes, after the knobs shuffle and gap.  *out_total:
 * units in all, holes included.  Caller frees. */
uint64_t *wr_places(const struct wr_knobs *knobs, uint64_t n, uint64_t *out_total);
/* Is there a hole of garbage at this place? */
bool wr_place_is_gap(const uint64_t *places, uint64_t n, uint64_t place);

/* ---- the kinds ---- */

struct wr_file *wr_build_vhd(const struct wr_spec *spec, struct wr_dir *dir);
struct wr_file *wr_build_vhdx(const struct wr_spec *spec, struct wr_dir *dir);
struct wr_file *wr_build_vmdk(const struct wr_spec *spec, struct wr_dir *dir);

/* Descriptor text; caller frees.  `lines`: the extent lines, each with its end. */
char *wr_descriptor(const struct wr_spec *spec, const char *create_type, const char *lines);
/* One extent's file: `size` bytes of the disk from `disk_off`, in grains of `unit`.  `text`: the
 * descriptor inside, or NULL. */
void wr_put_sparse(const struct wr_spec *spec, struct wr_file *f, uint64_t disk_off, uint64_t size,
                   uint32_t unit, const char *text);
void wr_put_stream(const struct wr_spec *spec, struct wr_file *f, uint64_t disk_off, uint64_t size,
                   uint32_t unit, const char *text);
void wr_put_cowd(const struct wr_spec *spec, struct wr_file *f, uint64_t disk_off, uint64_t size,
                 uint32_t unit);
void wr_put_sesparse(const struct wr_spec *spec, struct wr_file *f, uint64_t disk_off,
                     uint64_t size, uint32_t unit);
/* The extents of a VMDK spec: given ones, or `one` made for it. */
const struct wr_extent *wr_extents(const struct wr_spec *spec, struct wr_extent *one,
                                   size_t *out_n);

/* VHDX: what the log must bring about.  Called with the file as it shall be; makes the structures
 * stale and writes the entries.  Regions: BAT and metadata. */
struct wr_vhdx_place {
    uint64_t log_off, log_len, bat_off, bat_len, meta_off, meta_len;
    uint8_t log_guid[16];
};
void wr_vhdx_log(const struct wr_spec *spec, struct wr_file *f, const struct wr_vhdx_place *place);

uint32_t wr_crc32c(const uint8_t *p, uint64_t len, uint64_t skip_off);
uint32_t wr_vhd_sum(const uint8_t *p, uint64_t len, uint64_t skip_off);

/* UTF-16 of an ASCII or UTF-8 text of the basic plane; returns bytes written (even), no end mark. */
size_t wr_utf16(const char *text, bool big_endian, uint8_t *out, size_t room);

#endif
