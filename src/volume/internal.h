/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the files of volume/ only: the state of one scan, the decoders of sector 0 and the
 * readers of the table kinds.  Nothing here is for other parts. */
#ifndef VD_VOLUME_INTERNAL_H
#define VD_VOLUME_INTERNAL_H

#include "volume/volume.h"

/* Topics of warnings.  The key of the fact is in volume.c; each topic keeps a bounded number of
 * sentences and then one that says how many were left out. */
enum scan_topic {
    SCAN_SECTOR0,     /* sector 0 cannot be read */
    SCAN_NOT_SHOWN,   /* a table or file system that was found but is not what is shown */
    SCAN_OUTSIDE,     /* a partition wholly past the end of the disk */
    SCAN_CUT,         /* a partition that passes the end of the disk */
    SCAN_OVERLAP,     /* partitions that share bytes */
    SCAN_LIMIT,       /* a bound of base/limits.h */
    SCAN_MBR,         /* a defect of the MBR */
    SCAN_EBR,         /* a defect of the chain of logical partitions */
    SCAN_GPT_PRIMARY, /* the primary GPT is not used, and why */
    SCAN_GPT_BACKUP,  /* the backup GPT is missing, wrong, or elsewhere */
    SCAN_GPT,         /* anything else about the GPT */
    SCAN_FOREIGN,     /* a label that this version does not read (Apple, BSD, LDM …) */
    SCAN_TOPICS
};

/* Bytes from the start of the disk that one scan keeps: LBA 0 and 1 of every sector size. */
#define SCAN_HEAD 8192

struct scan {
    struct blkdev *disk;
    struct volume_table *table;
    size_t cap; /* of table->v */
    uint8_t head[SCAN_HEAD];
    size_t head_len;        /* bytes of the disk that `head` stands for */
    uint32_t head_bad;      /* bit n: bytes [512 n, 512 n + 512) could not be read */
    struct vd_err head_err; /* the first such failure */
    size_t warned[SCAN_TOPICS];
    size_t over_limit; /* partitions not shown because of VD_MAX_PARTITIONS */
};

/* Are bytes [off, off+len) of the disk in `head`? */
bool scan_head_has(const struct scan *s, size_t off, size_t len);

/* Adds a warning; drops it (counted) when its topic has said enough. */
void scan_warn(struct scan *s, enum scan_topic topic, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Adds one partition: `v` without start, size and cut, which come from the table's numbers in its
 * sector size.  Outside the disk: a warning.  Passing its end: cut, with a warning.  Fails only
 * with VD_ENOMEM. */
int scan_add(struct scan *s, const struct volume *v, uint64_t first_lba, uint64_t n_lba,
             struct vd_err *err);

/* Is this failure one that a scan survives with a warning (the medium or the bytes are bad), and
 * not one of the program (memory)? */
bool scan_survives(int rc);

/* ---- bootsec.c: what sector 0 is, if not a partition table ---- */

/* Name of the file system (or BitLocker) whose boot sector these 512 bytes are; NULL: none.  Pure.
 * The BIOS parameter block is checked, not just the name. */
const char *bootsec_file_system(const uint8_t sector[512]);

/* Is this a BitLocker boot sector: "-FVE-FS-", or To Go's "MSWIN4.1" with its GUID?  Pure. */
bool bootsec_is_bitlocker(const uint8_t sector[512]);

/* Name of a label that is known but not read by this version: Apple partition map, BSD disklabel,
 * AIX.  NULL: none.  `head` holds the first `len` bytes of the disk.  Pure. */
const char *bootsec_foreign_label(const uint8_t *head, size_t len);

/* Does a BSD disklabel start at p?  Pure; needs 136 bytes, fewer are "no". */
bool bootsec_is_bsd_label(const uint8_t *p, size_t len);

/* ---- mbr.c ---- */

struct mbr_entry {
    uint8_t status, type;
    uint32_t first, n; /* sectors; n == 0: not used */
};

struct mbr {
    bool signature; /* 55 AA */
    uint32_t disk_signature;
    struct mbr_entry e[4];
};

#define MBR_TYPE_GPT 0xee

void mbr_decode(const uint8_t sector[512], struct mbr *out);
/* 55 AA, and every status byte is 00 or 80: what Linux asks of a table. */
bool mbr_plausible(const struct mbr *mbr);
/* Number of entries in use. */
unsigned mbr_used(const struct mbr *mbr);
/* Is one of the entries of type EE in use? */
bool mbr_protective(const struct mbr *mbr);
/* Entries that no boot code gives by accident: inside a disk of `n_sectors`, not at sector 0, with
 * a type, and without overlap. */
bool mbr_convincing(const struct mbr *mbr, uint64_t n_sectors);
bool mbr_type_extended(uint8_t type);
/* Adds all partitions, logical ones included.  Fails only with VD_ENOMEM. */
int mbr_scan(struct scan *s, const struct mbr *mbr, struct vd_err *err);

/* ---- gpt.c ---- */

struct gpt_header {
    uint32_t header_size, n_entries, entry_size, array_crc;
    uint64_t my_lba, other_lba, first_usable, last_usable, entries_lba;
    uint8_t disk_guid[16];
};

struct gpt_entry {
    uint8_t type[16], uuid[16];
    uint64_t first, last; /* LBA, last inclusive */
    uint64_t attributes;
    const uint8_t *name; /* UTF-16LE, borrowed */
    size_t name_units;   /* up to the first NUL */
};

/* One of the two copies, or what was found in its place. */
struct gpt_copy {
    bool seen;      /* "EFI PART" stands there */
    bool valid;     /* header and array pass every check */
    bool array_cut; /* the array is larger than what is read, its checksum is not checked */
    uint32_t sector_size;
    uint64_t lba;
    struct gpt_header h; /* meaningful when valid, or `header_ok` */
    bool header_ok;
    uint8_t *array; /* owned; h.entry_size * n_read bytes */
    size_t n_read;  /* entries */
    char why[192];  /* why it is not valid */
};

struct gpt_found {
    struct gpt_copy primary, backup;
    bool usable;                /* one of the two is valid … */
    bool primary_used;          /* … and this one is used */
    unsigned n_valid_primaries; /* over all sector sizes */
};

/* Decodes and checks one header (UEFI 2.10, 5.3.2): signature, size, CRC-32.  `len` is the sector
 * size.  VD_ENOTFORMAT: no "EFI PART".  Pure. */
int gpt_header_decode(const uint8_t *bytes, size_t len, struct gpt_header *out, struct vd_err *err);
/* Checks the numbers of a header found at `lba` of a disk of `disk_bytes`. */
int gpt_header_validate(const struct gpt_header *h, uint64_t lba, uint32_t sector_size,
                        uint64_t disk_bytes, struct vd_err *err);
/* Decodes one entry of `entry_size` (>= 128) bytes; false: not used.  Pure. */
bool gpt_entry_decode(const uint8_t *bytes, struct gpt_entry *out);

/* Looks for both copies with every sector size.  Fails only with VD_ENOMEM and the like. */
int gpt_find(struct scan *s, struct gpt_found *out, struct vd_err *err);
void gpt_found_clear(struct gpt_found *found);
/* Adds the partitions of the copy that is used and says everything that is wrong with either. */
int gpt_scan(struct scan *s, const struct gpt_found *found, struct vd_err *err);
/* Is this one of the partitions of the copy that is used?  n_lba > 0. */
bool gpt_has(const struct gpt_found *found, uint64_t first_lba, uint64_t n_lba);
/* Says why neither copy is used. */
void gpt_warn_dead(struct scan *s, const struct gpt_found *found);

/* ---- types.c ---- */

/* Lower-case text of an on-disk GUID (first three fields little-endian); 36 characters. */
void volume_guid_text(const uint8_t guid[16], char out[37]);
/* Name of a partition type; "" when unknown.  Static text. */
const char *volume_gpt_type_name(const char *guid);
const char *volume_mbr_type_name(uint8_t type);

/* ---- hints.c: where else a file system keeps what its recognition needs ---- */

struct volume_window {
    uint64_t off, len; /* bytes; may pass the end of the volume, the caller cuts */
};

#define VOLUME_MAX_WINDOWS 8

/* libblkid looks at more than the ends of a volume: NTFS's MFT (without which it does not call it
 * NTFS), the root directory of FAT and exFAT and the catalogue of HFS+ (labels).  Reads through
 * the door what it needs to find them; what cannot be read or makes no sense gives no window. */
size_t volume_hints(struct blkdev *volume, const uint8_t *head, size_t len,
                    struct volume_window out[VOLUME_MAX_WINDOWS]);

#endif
