/* SPDX-License-Identifier: Apache-2.0 */
/* Volumes: partition tables, the gaps between partitions, and what a volume holds. */
#ifndef VD_VOLUME_VOLUME_H
#define VD_VOLUME_VOLUME_H

#include "blk/blkdev.h"

enum volume_scheme {
    VOLUME_NONE, /* no table: one volume, number 0, the whole disk */
    VOLUME_MBR,
    VOLUME_GPT
};

/* One partition, as the table says. */
struct volume {
    unsigned number;      /* as Linux numbers it: MBR 1–4, logical from 5, GPT entry index + 1;
                             0 = whole disk */
    uint64_t start, size; /* bytes on the disk; inside the disk after volume_scan (a partition that
                             passes the end is cut, with a warning, and `cut` is set) */
    bool cut;
    bool active;        /* MBR boot flag, GPT legacy BIOS bootable */
    char type[48];      /* MBR "0x07", GPT type GUID in lower case */
    char type_name[64]; /* "Microsoft basic data" …; "" when unknown */
    char uuid[48];      /* GPT unique GUID, MBR "DISKSIG-NN"; "" when none */
    char name[160];     /* GPT name, UTF-8, printable; "" when none */
};

/* Space that no partition covers (tables and headers included). */
struct volume_gap {
    uint64_t start, size;
};

struct volume_table {
    enum volume_scheme scheme;
    uint32_t sector_size; /* the unit of the table, bytes */
    char disk_id[48];     /* MBR signature "0x1234abcd" or GPT disk GUID; "" when none */
    struct volume *v;     /* by number */
    size_t n;
    struct volume_gap *gap; /* by start */
    size_t n_gaps;
    struct vd_facts facts; /* backup GPT used, CRC wrong, loop in the EBR chain, overlaps … */
};

/* Reads the partition table.  A disk whose first sector is itself a file system (boot sector of
 * NTFS, FAT, exFAT, BitLocker …) or that has no table gives VOLUME_NONE with volume 0.  Damage that
 * leaves something to show is a warning in `facts`; an error is returned only when the disk itself
 * cannot be read.  *out is the caller's (volume_table_clear). */
int volume_scan(struct blkdev *disk, struct volume_table *out, struct vd_err *err);
void volume_table_clear(struct volume_table *table);
const char *volume_scheme_name(enum volume_scheme scheme);

/* A layer with the partition's bytes; caller owns it. */
int volume_slice(struct blkdev *disk, const struct volume *volume, struct blkdev **out,
                 struct vd_err *err);

/* What is on a volume, by its signatures (libblkid over a sealed copy of its first and last
 * bytes; and our own look for BitLocker and ReFS, which libblkid 2.38 misses). */
struct volume_content {
    char type[32]; /* "ntfs", "ext4", "crypto_LUKS", "BitLocker", "LVM2_member" …; "" unknown */
    char label[160], uuid[64]; /* printable; "" when none */
    bool encrypted;            /* a key would be needed */
    bool container;            /* a member of something bigger (LVM, RAID) */
    bool ambiguous;            /* several signatures contradict each other; `type` then names all
                                  of them: "ext4|zfs_member" */
};

/* Never fails because of content: what cannot be told leaves `type` empty.  Errors: the volume's
 * first bytes cannot be read, or memory. */
int volume_recognise(struct blkdev *volume, struct volume_content *out, struct vd_err *err);

#endif
