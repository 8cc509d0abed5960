/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The descriptor of a VMDK: text that names the disk's identity, its parent and its extents, in a
 * file of its own or embedded in a sparse extent.  VMware Virtual Disk Format 5.0, "The
 * Descriptor File".  Decoding is pure: no file is touched here.
 */
#ifndef VD_IMAGE_VMDK_DESCRIPTOR_H
#define VD_IMAGE_VMDK_DESCRIPTOR_H

#include "base/err.h"
#include "base/facts.h"

#define VMDK_CID_NONE 0xffffffffu /* parentCID: there is no parent */
#define VMDK_CID_NEW  0xfffffffeu /* CID of every disk that was not written to since it was made */

enum vmdk_access {
    VMDK_ACCESS_RW,
    VMDK_ACCESS_RDONLY,
    VMDK_ACCESS_NOACCESS,
};

enum vmdk_extent_type {
    VMDK_EXTENT_FLAT,
    VMDK_EXTENT_SPARSE,
    VMDK_EXTENT_ZERO,
    VMDK_EXTENT_VMFS,
    VMDK_EXTENT_VMFSSPARSE,
    VMDK_EXTENT_SESPARSE,
    VMDK_EXTENT_VMFSRDM,
    VMDK_EXTENT_VMFSRAW,
};

/* One extent line.  Every one is a part of the disk; none may be skipped. */
struct vmdk_extent_line {
    enum vmdk_access access;
    enum vmdk_extent_type type;
    uint64_t sectors;       /* > 0 */
    uint64_t start_sectors; /* where the data starts in the file: sectors, not bytes */
    char *path;             /* as it stands in the text; NULL: the line has none.  Owned */
    char *path_utf8;        /* the same in UTF-8; NULL: not another text, or not known.  Owned */
    unsigned line;          /* of the text, from 1 */
};

struct vmdk_descriptor {
    bool has_cid, has_parent_cid;
    uint32_t cid, parent_cid;
    char create_type[40];             /* as written; "" when missing */
    char long_content_id[40];         /* "" when missing */
    char encoding[24];                /* "" when missing: UTF-8 */
    char *parent_hint;                /* parentFileNameHint as written; NULL when missing.  Owned */
    char *parent_hint_utf8;           /* as path_utf8.  Owned */
    struct vmdk_extent_line *extents; /* owned */
    size_t n_extents;
};

/* Could these first bytes of a file (file_size bytes long) be a descriptor?  Accepts what real
 * ones look like: a byte order mark, blank lines, comments or nothing before the keys, any case,
 * any end of line. */
bool vmdk_descriptor_probe(const uint8_t *head, size_t len, uint64_t file_size);

/* Decodes `len` bytes of text; the first NUL ends it (UTF-16 with a byte order mark is taken too:
 * editors of Windows write it).  What is odd but clear becomes a fact of
 * `facts`.  VD_ECORRUPT: an extent line that cannot be understood, with its line number;
 * VD_ELIMIT: too many; VD_EUNSUPPORTED: encrypted, or an unknown extent type.  On success the
 * caller clears *out; on failure there is nothing to clear. */
int vmdk_descriptor_decode(const char *text, size_t len, struct vmdk_descriptor *out,
                           struct vd_facts *facts, struct vd_err *err);

void vmdk_descriptor_clear(struct vmdk_descriptor *d);

/* Fills path_utf8 and parent_hint_utf8 after `encoding`; decoding does it.  What cannot be converted
 * becomes a warning.  VD_ENOMEM. */
int vmdk_descriptor_names(struct vmdk_descriptor *d, struct vd_facts *facts, struct vd_err *err);

/* The format's word for an extent type ("SPARSE" …). */
const char *vmdk_extent_type_name(enum vmdk_extent_type type);

/* The canonical spelling of a known createType ("monolithicSparse" …), or NULL. */
const char *vmdk_create_type_name(const char *create_type);

/* The bare name of a path as descriptors have it: "/vmfs/volumes/x/a.vmdk", "C:\\vm\\a.vmdk",
 * "[datastore1] dir/a.vmdk", "[datastore1] a.vmdk" all give "a.vmdk".  In the double-byte
 * encodings (Shift_JIS, GBK, Big5) a backslash byte can be half of a character: `encoding` is the
 * descriptor's.  Points into `path`. */
const char *vmdk_bare_name(const char *path, const char *encoding);

#endif
