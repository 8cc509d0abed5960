/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to src/fs/ntfs.  Microsoft publishes no specification of NTFS; offsets and rules follow
 * the documentation of the Linux-NTFS project ("NTFS Documentation", R. Russon, Y. Fledel) and
 * libyal's "New Technologies File System (NTFS)"; names are theirs.
 */
#ifndef VD_FS_NTFS_PRIV_H
#define VD_FS_NTFS_PRIV_H

#include "fs/cache.h"
#include "fs/content.h"
#include "fs/dirlist.h"
#include "fs/fs.h"

#define NTFS_ROOT       5u
#define NTFS_EXTEND     11u
#define NTFS_FIRST_USER 24u /* records before are metadata files or reserved */

#define NTFS_MAX_RECORD 65536u
/* Extension records of one file: an attribute list has at most 256 KiB (Windows), an entry at
 * least 32 bytes. */
#define NTFS_MAX_RECORDS   8192u
#define NTFS_MAX_ATTR_LIST (256u << 10)

enum ntfs_attr_type {
    NTFS_STANDARD_INFORMATION = 0x10,
    NTFS_ATTRIBUTE_LIST = 0x20,
    NTFS_FILE_NAME = 0x30,
    NTFS_VOLUME_NAME = 0x60,
    NTFS_VOLUME_INFORMATION = 0x70,
    NTFS_DATA = 0x80,
    NTFS_INDEX_ROOT = 0x90,
    NTFS_INDEX_ALLOCATION = 0xa0,
    NTFS_REPARSE_POINT = 0xc0
};

#define NTFS_ATTR_COMPRESSED 0x00ffu /* the method; 1 = LZNT1 */
#define NTFS_ATTR_ENCRYPTED  0x4000u

/* Attributes of $STANDARD_INFORMATION and $FILE_NAME */
#define NTFS_FILE_SPARSE      0x200u
#define NTFS_FILE_REPARSE     0x400u
#define NTFS_FILE_COMPRESSED  0x800u
#define NTFS_FILE_OFFLINE     0x1000u
#define NTFS_FILE_ENCRYPTED   0x4000u
#define NTFS_FILE_RECALL_OPEN 0x40000u
#define NTFS_FILE_RECALL_DATA 0x400000u
#define NTFS_FILE_IS_DIR      0x10000000u /* $FILE_NAME only */

struct ntfs_boot {
    uint32_t sector_size, cluster_size, record_size, index_size;
    uint64_t n_clusters, mft_lcn, mirror_lcn, serial;
};

/* Header of a FILE record. */
struct ntfs_record {
    uint16_t seq, flags; /* flags: bit 0 in use, bit 1 directory */
    uint16_t first_attr;
    uint32_t used; /* bytes */
    uint64_t base; /* address of the base record, 0 in a base record */
    uint16_t base_seq;
};

#define NTFS_RECORD_IN_USE 1u
#define NTFS_RECORD_DIR    2u

/* One attribute, put together from all records that hold a part of it.  Pointers lead into the
 * records that struct ntfs_file owns. */
struct ntfs_attr {
    uint32_t type;
    uint16_t flags;
    uint8_t name_units;
    const uint8_t *name; /* UTF-16LE */
    bool resident;
    bool has_sizes; /* not resident: the part that begins at cluster 0 was found */
    const uint8_t *value;
    uint32_t value_len;
    uint64_t allocated, size, init;
    uint8_t unit_shift; /* compression unit: 2^n clusters; 0 none */
};

/* A mapping pairs array: clusters [first_vcn, last_vcn] of attribute number `attr`. */
struct ntfs_extent {
    size_t attr;
    uint64_t first_vcn, last_vcn;
    const uint8_t *pairs;
    size_t len;
};

struct ntfs_file {
    uint64_t addr;
    struct ntfs_record head; /* of the base record */
    uint8_t **records;       /* base record first */
    uint64_t *record_addrs;
    size_t n_records;
    struct ntfs_attr *attrs;
    size_t n_attrs, cap_attrs;
    struct ntfs_extent *extents;
    size_t n_extents, cap_extents;
    uint8_t *list; /* a non-resident attribute list's bytes */
    int damage_rc; /* an extension record is missing: attributes may be incomplete */
    struct vd_err damage;
};

struct ntfs_fs {
    struct ntfs_boot boot;
    struct blkdev *vol;        /* borrowed from struct fs */
    struct fs_content *mft;    /* content of record 0's $DATA */
    struct fs_cache *dirs;     /* (addr, 0) → struct fs_dirlist */
    struct fs_cache *contents; /* (addr, stream) → struct fs_content */
    struct fs_cache *units;    /* (addr << 16 | stream, unit) → inflated compression unit */
};

/* ---- ntfs_boot.c ---- */
/* Pure: the boot sector (512 bytes).  VD_ENOTFORMAT without the signature. */
int ntfs_boot_decode(const uint8_t *b, struct ntfs_boot *out, struct vd_err *err);

/* ---- ntfs_record.c: pure decoders ---- */
/* Puts the last two bytes of each 512-byte sector back in place and checks that the sectors belong
 * together.  VD_ECORRUPT: another magic number, or torn. */
int ntfs_fixup(uint8_t *b, size_t len, const char magic[4], struct vd_err *err);
int ntfs_record_decode(const uint8_t *b, size_t len, struct ntfs_record *out, struct vd_err *err);
/* Adds the attributes of a record (bytes owned by the file) to the file. */
int ntfs_file_add_record(struct ntfs_file *file, const uint8_t *b, const struct ntfs_record *rec,
                         struct vd_err *err);
/* Mapping pairs → runs; kinds FS_RUN_DATA and FS_RUN_ZEROS (no place given: sparse).  What lies
 * outside the volume becomes a bad run.  Fails where the array breaks its own rules. */
int ntfs_pairs_decode(const struct ntfs_extent *extent, const struct ntfs_boot *boot,
                      uint64_t vol_size, struct fs_runs *runs, struct vd_err *err);

/* ---- ntfs_file.c ---- */
/* Loads a file record with its extension records.  VD_ENOENT: not in use, or not a base record. */
int ntfs_file_load(const struct ntfs_fs *n, uint64_t addr, struct ntfs_file **out,
                   struct vd_err *err);
void ntfs_file_free(struct ntfs_file *file);
/* First attribute of a type without a name (name == NULL) or with this ASCII name; NULL. */
const struct ntfs_attr *ntfs_file_attr(const struct ntfs_file *file, uint32_t type,
                                       const char *name);
/* The named $DATA attribute number `stream` (1…), or the unnamed one (0); NULL. */
const struct ntfs_attr *ntfs_file_stream(const struct ntfs_file *file, uint16_t stream);
/* Content of an attribute (may be compressed: content->unit). */
int ntfs_attr_content(const struct ntfs_fs *n, const struct ntfs_file *file,
                      const struct ntfs_attr *attr, struct fs_content **out, struct vd_err *err);
/* In use, and with this sequence number?  Reads the header of the record only. */
int ntfs_record_is_live(const struct ntfs_fs *n, uint64_t addr, uint16_t seq, bool *out,
                        struct vd_err *err);
/* Reads record 0 (or its mirror) and sets n->mft. */
int ntfs_mft_open(struct ntfs_fs *n, struct vd_facts *facts, struct vd_err *err);

/* ---- ntfs_index.c ---- */
struct ntfs_index_entry {
    uint64_t addr;
    uint16_t seq;
    bool last, has_child;
    const uint8_t *key;
    size_t key_len;
    uint64_t child_vcn;
};
/* Pure: the entry at *at of a node's entries; moves *at on. */
int ntfs_index_next(const uint8_t *b, size_t len, size_t *at, struct ntfs_index_entry *out,
                    struct vd_err *err);
int ntfs_dir_make(const struct ntfs_fs *n, uint64_t addr, struct fs_dirlist *list,
                  struct vd_err *err);

/* ---- ntfs_reparse.c ---- */
struct ntfs_reparse {
    uint32_t tag; /* 0: no reparse point */
    uint8_t *data;
    size_t len; /* of the whole buffer, header included */
};
int ntfs_reparse_read(const struct ntfs_fs *n, const struct ntfs_file *file,
                      struct ntfs_reparse *out, struct vd_err *err);
void ntfs_reparse_clear(struct ntfs_reparse *rp);
bool ntfs_reparse_is_link(uint32_t tag);
/* Pure: target of a link; the caller frees. */
int ntfs_reparse_target(const struct ntfs_reparse *rp, char **out, size_t *out_len,
                        struct vd_err *err);
/* Does the unnamed stream hold the content, as far as the reparse point tells? */
int ntfs_reparse_check_data(uint32_t tag, uint32_t file_flags, struct vd_err *err);

/* ---- lznt1.c ---- */
/* Pure: inflates a compression unit; what the stream does not fill of dst is zeroed. */
int lznt1_decode(const uint8_t *src, size_t src_len, uint8_t *dst, size_t dst_len,
                 struct vd_err *err);

/* ---- ntfs_unit.c ---- */
int ntfs_compressed_read(struct ntfs_fs *n, const struct fs_content *c, uint64_t addr,
                         uint16_t stream, uint64_t off, void *buf, size_t len, size_t *out_len,
                         struct vd_err *err);

#endif
