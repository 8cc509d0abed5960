/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writers of every image kind, for tests: VMDK (flat, hosted sparse, streamOptimized, COWD,
 * seSparse), VHD and VHDX, alone and in chains.
 *
 * They are written from the specifications and share no code with src/image, so that two readings of
 * each specification meet in the tests.  A member is described by a `struct wr_spec` (kind, size,
 * what each part of the disk holds, parent, knobs), wr_build() makes its files in memory, and
 * wr_expect() tells what the disk must read as: a plain walk over the specs that knows no format.
 *
 * Each built file carries marks: where every structure, field, table entry and checksum lies and which
 * part of the disk depends on it.  Tests truncate and break files by walking over the marks.
 *
 * Quick start:
 *
 *     const struct wr_run base_runs[] = {{.off = 0, .len = 4 << 20, .state = WR_DATA, .seed = 1}};
 *     const struct wr_run child_runs[] = {{.off = 512, .len = 512, .state = WR_DATA, .seed = 2}};
 *     const struct wr_spec base = {.kind = WR_VHD_DYNAMIC, .name = "base.vhd", .size = 8 << 20,
 *                                  .id = 1, .runs = base_runs, .n_runs = 1};
 *     const struct wr_spec child = {.kind = WR_VHD_DIFF, .name = "child.avhd", .size = 8 << 20,
 *                                   .id = 2, .runs = child_runs, .n_runs = 1, .parent = &base};
 *     struct wr_dir dir = {0};
 *     wr_build(&base, &dir); wr_build(&child, &dir);   (fails the test with a message on misuse)
 *     wr_save(&dir, path);  or  wr_source(&dir, &source);
 *     wr_expect(&child, off, buf, len, NULL);
 *     wr_dir_clear(&dir);
 *
 * Threads: none; one thread at a time.  Misuse (an unaligned run …) prints and aborts: it is a bug of
 * the test.
 */
#ifndef VD_TEST_WRITERS_H
#define VD_TEST_WRITERS_H

#include "blk/evidence.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- what is written ---- */

enum wr_kind {
    WR_RAW,
    WR_VMDK_FLAT,     /* descriptor + flat extents */
    WR_VMDK_SPARSE,   /* one hosted sparse file with its descriptor inside (monolithicSparse) */
    WR_VMDK_STREAM,   /* one streamOptimized file */
    WR_VMDK_SPLIT,    /* descriptor + hosted sparse extents (twoGbMaxExtentSparse) */
    WR_VMDK_COWD,     /* descriptor + COWD extent (vmfsSparse) */
    WR_VMDK_SESPARSE, /* descriptor + seSparse extent */
    WR_VMDK_CUSTOM,   /* descriptor + the extents of the spec, kinds mixed at will */
    WR_VHD_FIXED,
    WR_VHD_DYNAMIC,
    WR_VHD_DIFF,
    WR_VHDX_FIXED,
    WR_VHDX_DYNAMIC,
    WR_VHDX_DIFF,
    WR_KINDS
};

/* What a part of a member's disk is. */
enum wr_state {
    WR_ABSENT, /* not in this member: the parent answers; without a parent zeros.  The default.  Kinds
                  that store everything (raw, flat, fixed) store zeros. */
    WR_DATA,   /* stored */
    WR_ZEROS, /* zeros that hide the parent: zeroed grain, VHDX ZERO, seSparse zero.  VHD and COWD have
                  no such state: stored zeros */
    WR_UNMAPPED, /* VHDX UNMAPPED; seSparse unmapped (type 1): zeros that hide the parent.  Elsewhere
                     as WR_ZEROS */
    WR_UNDEFINED, /* VHDX UNDEFINED: zeros that hide the parent.  Elsewhere as WR_ZEROS */
    WR_NOACCESS   /* only made by NOACCESS extents: reading fails */
};

/* A part of a member's disk.  Runs may come in any order; where two overlap the later one counts.  For
 * kinds with grains or blocks both ends are multiples of the unit (or the end of the disk); VHD_DIFF
 * and VHDX_DIFF take DATA and ABSENT by the sector, and a block with both becomes partially present
 * (ZEROS and the like by the block). */
struct wr_run {
    uint64_t off, len; /* bytes; len past the end of the disk is cut */
    enum wr_state state;
    uint64_t seed;        /* WR_DATA: content is wr_pattern(seed, position) … */
    const uint8_t *bytes; /* … or these `len` bytes, borrowed */
};

/* One extent line of a VMDK descriptor. */
enum wr_extent_kind {
    WR_EXTENT_FLAT,
    WR_EXTENT_ZERO,     /* no file */
    WR_EXTENT_NOACCESS, /* no file; reading it fails */
    WR_EXTENT_SPARSE,   /* hosted sparse */
    WR_EXTENT_STREAM,   /* hosted sparse, compressed, with markers */
    WR_EXTENT_COWD,
    WR_EXTENT_SESPARSE
};

struct wr_extent {
    enum wr_extent_kind kind;
    uint64_t size;         /* bytes of the disk, multiple of 512 */
    uint64_t start_sector; /* FLAT: where the extent begins in its file, sectors */
    uint32_t unit;         /* grain, bytes; 0 = the spec's */
    const char *access;    /* NULL = "RW" */
    const char *name;      /* file name; NULL = made of the spec's name.  FLAT extents with the same
                              name share the file */
};

/* Which of two copies of a header counts. */
enum wr_newer {
    WR_NEWER_FIRST,
    WR_NEWER_SECOND,
    WR_NEWER_EQUAL /* identical, as Disk2vhd writes */
};

/* What a VHDX log that waits for its replay holds.  The file's own structures are then written as they
 * were before (stale), and the replay brings about what the spec says. */
enum wr_log {
    WR_LOG_EMPTY,  /* no log GUID */
    WR_LOG_BAT,    /* pending: the allocation table (its old content names no block) */
    WR_LOG_META,   /* pending: the metadata region's first sectors (old content: zeros) */
    WR_LOG_REGION, /* pending: the table of both region tables (old content: garbage) */
    WR_LOG_ALL     /* all of them, in several entries */
};

/* Everything else that producers do differently; all zero = what a usual product writes. */
struct wr_knobs {
    /* all kinds */
    uint64_t shuffle; /* not 0: data units lie in an order made of this seed */
    uint32_t gap;     /* every second data unit is preceded by this many units of garbage */
    bool junk; /* unused parts of tables, padding and holes are garbage instead of zeros, wherever
                         the specification lets readers ignore them */

    /* VMDK descriptor */
    const char *create_type;    /* NULL = that of the kind */
    const char *encoding;       /* NULL = "UTF-8" */
    const char *eol;            /* NULL = "\n" */
    const char *prologue;       /* NULL = "# Disk DescriptorFile" + eol; "" = missing */
    const char *extra;          /* further lines, with their ends, put before the extents */
    const char *extent_lines;   /* replaces the extent lines wholly */
    const char *long_cid;       /* ddb.longContentID; CID is then written as fffffffe */
    const char *long_parent;    /* what a child writes … nothing is standardised: ddb line text */
    const uint32_t *cid;        /* NULL = made of the id */
    const uint32_t *parent_cid; /* NULL = the parent's CID; ffffffff without a parent */
    bool no_hint;               /* no parentFileNameHint line */

    /* VMDK hosted sparse and stream */
    uint32_t version;     /* 0 = 1, or 2 with zero_grain, 3 for stream */
    uint32_t n_gtes;      /* entries of a grain table; 0 = 512 */
    bool zero_grain;      /* flag bit 2: zeroed grains are table entries of 1; else stored zeros */
    bool no_redundant;    /* no second directory and tables (flag bit 1 clear) */
    bool primary_last;    /* the redundant directory comes after the primary one */
    bool descriptor_late; /* SPARSE: descriptor behind the tables */
    bool no_footer;       /* STREAM: directory offset in the header, as qemu-img writes it */
    bool
        no_markers; /* STREAM: flag bit 17 clear; tables as in SPARSE, grains after a 4-byte size */
    uint32_t tail_pad;   /* STREAM: this many zero bytes after the end-of-stream marker */
    bool stored_deflate; /* STREAM: deflate level 0: grains larger than the grain size */

    /* COWD */
    bool cowd_parent_name; /* child: generation and parent name in the union, as older ESX wrote */

    /* seSparse */
    bool replay_journal; /* volatile header: dirty.  The disk cannot be told then */

    /* VHD */
    const char *creator;   /* 4 characters; NULL = "win " */
    uint64_t chs_size;     /* bytes; the geometry says this; 0 = made of the size */
    uint64_t current_size; /* bytes; 0 = the size */
    bool footer_511;       /* the last footer is one byte short */
    bool no_front_footer;  /* DYNAMIC, DIFF: the copy at 0 is destroyed (checksum wrong) */
    bool no_tail_footer;   /* DYNAMIC, DIFF: the last one is destroyed */
    bool bitmap_zero; /* DYNAMIC: present blocks have bitmaps of zeros where the data is zeros */
    bool space_in_sectors; /* DIFF: locator data space counted in sectors, not bytes */
    const char *locators;  /* DIFF: words of "W2ku W2ru Wi2k Wi2r MacX"; NULL = "W2ku W2ru" */
    const char
        *parent_name_field; /* DIFF: the header's parent name; NULL = bare name.  "" = empty */
    bool no_time;           /* DIFF: parent time stamp 0 */

    /* VHDX */
    enum wr_newer newer;
    bool bad_header[2]; /* that header's checksum is wrong */
    bool bad_region[2]; /* that region table's checksum is wrong */
    enum wr_log log;
    bool log_wrap;     /* pending entries wrap around the end of the log */
    bool log_torn;     /* an unfinished entry follows the last valid one */
    bool log_stale;    /* entries of an older sequence and of another GUID lie in the log too */
    uint32_t physical; /* physical sector size, bytes; 0 = 4096 */
    const uint8_t *data_guid; /* 16 bytes; NULL = made of the id */
    const uint8_t *linkage;   /* DIFF: 16 bytes; NULL = the parent's DataWriteGuid */
    const uint8_t *linkage2;  /* DIFF: 16 bytes; NULL = no such key */
    bool
        full_as_partial; /* DIFF: wholly present blocks are written as PARTIALLY_PRESENT, bits all 1 */
    bool sb_always;      /* DIFF: every chunk has its sector bitmap block */

    /* where the child says its parent is; NULL = parent's bare name in the kind's usual clothes
     * (VMDK hint; relative_path and W2ru ".\NAME"; absolute ones "C:\vm\NAME") */
    const char *hint_relative; /* VMDK: parentFileNameHint; VHD W2ru, Wi2r; VHDX relative_path */
    const char *hint_absolute; /* VHD W2ku, Wi2k; VHDX absolute_win32_path */
    const char *hint_volume;   /* VHDX volume_path; NULL = no such key */
};

struct wr_spec {
    enum wr_kind kind;
    const char *name; /* the file that is opened; extents are named after it */
    uint64_t size;    /* bytes of the disk, multiple of the sector size */
    uint32_t sector;  /* VHDX: logical sector size, 512 or 4096; 0 = 512.  Elsewhere 512 */
    uint32_t
        unit; /* grain or block, bytes; 0 = 64 KiB (hosted VMDK), 512 (COWD), 4 KiB (seSparse), 2 MiB
                         (VHD), 1 MiB (VHDX) */
    uint64_t id;  /* CID, UUID or GUID is made of it; give every member another one */
    int64_t time; /* VHD: time stamp, seconds since 1970; 0 = made of the id */
    const struct wr_run *runs;
    size_t n_runs;
    const struct wr_extent
        *extents; /* VMDK_FLAT, SPLIT, COWD, SESPARSE, CUSTOM; NULL = one of all */
    size_t n_extents;
    const struct wr_spec *parent; /* NULL = no parent.  The kind must be able to have one */
    struct wr_knobs knobs;
};

/* ---- what comes out ---- */

enum wr_mark_kind {
    WR_MARK_HEADER,   /* a structure with fields */
    WR_MARK_FIELD,    /* a number of a header (little or big endian, width) */
    WR_MARK_CHECKSUM, /* of a structure; wr_fix_checksums knows how it is made */
    WR_MARK_TABLE,    /* a table of entries */
    WR_MARK_ENTRY,    /* one entry of a table */
    WR_MARK_BITMAP,   /* sector bitmap of a block or chunk */
    WR_MARK_DATA,     /* stored content of one unit */
    WR_MARK_LOG,      /* VHDX log entry */
    WR_MARK_TEXT,     /* descriptor, locator strings */
    WR_MARK_MARKER    /* stream marker, grain header */
};

/* How the number in an entry names a place in the file. */
enum wr_encoding {
    WR_ENC_NUMBER,  /* plain number, not a place */
    WR_ENC_BYTES,   /* byte offset */
    WR_ENC_SECTORS, /* offset / 512 */
    WR_ENC_VHDX,    /* byte offset in bits 20…, state in bits 0-2 */
    WR_ENC_SE_GDE,  /* seSparse: 0x1 in the top nibble, table number in the low 32 bits */
    WR_ENC_SE_GTE   /* seSparse: type in the top nibble, grain number split hi12 | lo48 << 12 */
};

/* What breaking a mark may do to the disk. */
enum wr_role {
    WR_ROLE_NEEDED,  /* a reader needs it; damage must be refused or hit disk_off/disk_len alone */
    WR_ROLE_SPARE,   /* there is another copy: everything must still be right (or refused) */
    WR_ROLE_DEFINES, /* another value is another, equally valid disk or file: no claim on content */
    WR_ROLE_IGNORED /* readers do not look at it (reserved, hints, geometry): everything still right */
};

struct wr_mark {
    enum wr_mark_kind kind;
    enum wr_role role;
    enum wr_encoding encoding; /* ENTRY and offsets in FIELD */
    bool big_endian;
    uint8_t width;     /* bytes of FIELD, ENTRY, CHECKSUM: 1, 2, 4, 8 (16: GUID) */
    char name[48];     /* fields "footer.type"; VHD(X) entries "bat", "sb"; VMDK directory and table
                         entries "ed", "et" (redundant: "ed2", "et2"), their tables "gd", "gt" … */
    uint64_t index;    /* ENTRY: number in its table; others: copy or ordinal */
    uint64_t off, len; /* in the file, bytes */
    uint64_t disk_off; /* bytes of the member's disk that depend on it … */
    uint64_t disk_len; /* … 0 = none in particular (then: the whole disk, if NEEDED) */
    uint64_t sum_off, sum_len; /* CHECKSUM: the bytes it covers */
};

#define WR_NAME_MAX 256

struct wr_file {
    char name[WR_NAME_MAX];
    uint8_t *bytes; /* `len` bytes, zeros where nothing was written; may be changed in place */
    uint64_t len;
    uint64_t room;
    struct wr_mark *marks; /* in file order per structure */
    size_t n_marks, marks_room;
    struct blkdev *dev; /* instance handed out by wr_source; renewed when len changed */
    uint64_t dev_len;
};

struct wr_dir {
    struct wr_file **files; /* in the order they were made */
    size_t n, room;
};

/* ---- building ---- */

/* Makes the file(s) of `spec` in `dir` (zero-initialised, or with other members in it).  The parent's
 * spec is only read for its identity and name: build it too, with a call of its own.  Returns the file
 * that is opened (descriptor); borrowed. */
struct wr_file *wr_build(const struct wr_spec *spec, struct wr_dir *dir);

/* Builds the whole chain, base first. */
void wr_build_chain(const struct wr_spec *tip, struct wr_dir *dir);

/* The grain or block of the spec in bytes (0: everything is stored, no units). */
uint32_t wr_unit(const struct wr_spec *spec);

/* Word of a kind ("vhd-diff") and back; wr_kind_named returns WR_KINDS for an unknown word. */
const char *wr_kind_name(enum wr_kind kind);
enum wr_kind wr_kind_named(const char *word);
/* Can this kind have a parent, and can `parent` be one for products of its family? */
bool wr_kind_is_child(enum wr_kind kind);
bool wr_kind_fits(enum wr_kind child, enum wr_kind parent);

void wr_dir_clear(struct wr_dir *dir);

/* ---- what it must read as ---- */

/* The bytes of the disk of `tip` with its parents at [off, off+len).  Where a sector cannot be read,
 * its bytes are left alone and bad[sector - off/512] is set (bad may be NULL when there are none; it
 * then aborts).  off and len are arbitrary; sectors of 512. */
void wr_expect(const struct wr_spec *tip, uint64_t off, uint8_t *buf, uint64_t len, uint8_t *bad);

/* Who answers for the 512-byte sector at byte `off`: member number (0 = tip) in *out_member and its
 * state there; n = beyond the base or past the end of a smaller parent (WR_ABSENT: zeros). */
enum wr_state wr_provenance(const struct wr_spec *tip, uint64_t off, unsigned *out_member);

/* The content of WR_DATA: byte i of the 512-byte sector number `sector` depends on (seed, sector, i)
 * only; the sector begins with its number and the seed, both little endian, and is never all zero. */
void wr_pattern(uint64_t seed, uint64_t sector, uint8_t out[512]);

/* Identities as the readers name them: "cid" as number, GUID bytes as they stand in the file. */
uint32_t wr_cid(const struct wr_spec *spec);
void wr_guid(const struct wr_spec *spec, uint8_t out[16]);
int64_t wr_time(const struct wr_spec *spec);

/* The capacity of the geometry that the VHD specification's algorithm gives for `size`: what a disk of
 * creator "vpc " has (knob current_size then holds `size`, knob chs_size too). */
uint64_t wr_chs_size(uint64_t size);

/* ---- using it ---- */

/* Writes all files of `dir` into the directory `path` (sparse).  Aborts on failure. */
void wr_save(const struct wr_dir *dir, const char *path);

/* A source over the files in memory: no copy is made, changes to bytes show at once, a changed len at
 * the next open.  The dir must outlive everything opened. */
void wr_source(struct wr_dir *dir, struct blk_source *out);

struct wr_file *wr_file_named(const struct wr_dir *dir, const char *name);

/* The first mark with this name and index; aborts when there is none. */
const struct wr_mark *wr_mark_named(const struct wr_file *file, const char *name, uint64_t index);

/* The number at a FIELD, ENTRY or CHECKSUM mark (the low `width` bytes of it). */
uint64_t wr_get(const struct wr_file *file, const struct wr_mark *mark);
void wr_set(struct wr_file *file, const struct wr_mark *mark, uint64_t value);

/* The entry value that names byte `off` of the file as present data. */
uint64_t wr_encode(const struct wr_mark *mark, uint64_t off);

/* Makes every checksum of the file right again after changes. */
void wr_fix_checksums(struct wr_file *file);

/* ---- for random tests ---- */

/* Random content for the spec's kind, size and unit: `density` percent of the units are more than
 * absent; data, zeros and the kind's other states; partly present blocks in VHD_DIFF and VHDX_DIFF.
 * Caller frees the array. */
struct wr_run *wr_random_runs(const struct wr_spec *spec, uint64_t *state, unsigned density,
                              size_t *out_n);

/* A small deterministic generator: next number, and one below n (> 0). */
uint64_t wr_random(uint64_t *state);
uint64_t wr_below(uint64_t *state, uint64_t n);

#endif
