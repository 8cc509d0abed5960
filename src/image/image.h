/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images: one member of a chain, opened.  A format is a constant descriptor in the registry
 * (image.c); adding one is one file or folder and one line there.
 *
 * What a member *is* and which parent it *asks for* are plain strings ("cid:0f3a…", "uuid:…"), so
 * that chain.c finds, checks and orders members without knowing any format.
 */
#ifndef VD_IMAGE_IMAGE_H
#define VD_IMAGE_IMAGE_H

#include "blk/blkdev.h"
#include "blk/evidence.h"

#define IMAGE_ID_MAX       80
#define IMAGE_PARENT_HINTS 24

struct image_format;

/* One opened member.  Immutable after open. */
struct image {
    const struct image_format *format;
    char kind[32];           /* the format's own word: "monolithicSparse", "dynamic" … */
    char *name;              /* bare file name, printable, owned */
    unsigned dir;            /* directory of the source it was found in */
    struct evidence_id file; /* identity of the file that was named (not of its extents) */
    struct blkdev *file_dev; /* the file that was named (a descriptor file too); owned reference */
    struct blkdev *dev;      /* the layer; owned reference.  BLK_ABSENT where a parent answers */

    char identity[IMAGE_ID_MAX]; /* "" when the format has none */
    /* When this member was made, by its own word (VHD: the footer's time stamp). */
    bool has_time;
    int64_t time; /* seconds since 1970-01-01 UTC */
    bool has_parent;
    char parent_identity[2][IMAGE_ID_MAX]; /* any one of these must match; [1] may be "" */
    /* The identity is one that unrelated files share: only a file found by a hinted name (and of that
     * identity) may be the parent; none is searched for by identity. */
    bool parent_by_name;
    /* When the parent's file was last written to, as the child remembers it (VHD; Virtual PC, VirtualBox
     * and XenServer take the file system's time, Windows leaves 0).  Not earlier than the parent's own
     * `time`; otherwise that is a warning, never a refusal. */
    bool has_parent_time;
    int64_t parent_time;                   /* seconds since 1970-01-01 UTC */
    char *parent_hint[IMAGE_PARENT_HINTS]; /* bare file names to try, best first; owned */
    unsigned n_parent_hints;
    char *parent_path; /* the hint as it stands in the file, printable, for messages; owned */

    struct vd_facts facts; /* of the container; layers below report theirs through describe */
};

enum image_probe {
    IMAGE_NO,
    IMAGE_YES,
    IMAGE_DAMAGED /* it is this format, but a checksum or field is wrong: open reports it */
};

/* The window that probes may look at: the first and last bytes of the file. */
#define IMAGE_PROBE_HEAD 4096
#define IMAGE_PROBE_TAIL 1536

struct image_window {
    uint8_t head[IMAGE_PROBE_HEAD];
    size_t head_len;
    uint8_t tail[IMAGE_PROBE_TAIL]; /* tail_len bytes that end at file_size */
    size_t tail_len;
    uint64_t file_size;
};

struct image_format {
    const char *name; /* "vmdk", "vhd", "vhdx", "raw" */
    /* Pure: decides from the window alone. */
    enum image_probe (*probe)(const struct image_window *window);
    /* For a file that no probe knows: is it this format by its name and the files beside it?  (The
     * first part of a split fixed VHD holds nothing but data.)  NULL: never. */
    bool (*by_name)(const struct blk_source *source, unsigned dir, const char *name);
    /* Opens `file` (borrowed: take a reference to keep it).  Extents and the like come by bare
     * name from `source`, directory `dir` first.  `name` is the file's bare name.  On success
     * fills out->dev, kind, identity, parent fields and facts; the caller has set format, name,
     * dir, file and file_dev.  On failure the caller clears *out. */
    int (*open)(struct blkdev *file, const char *name, const struct blk_source *source,
                unsigned dir, struct image *out, struct vd_err *err);
    /* As open, but cheap and alone: fills only kind, identity and the parent fields, and opens no
     * other file.  For searching a directory.  NULL: open is cheap enough. */
    int (*identify)(struct blkdev *file, const char *name, struct image *out, struct vd_err *err);
};

/* All formats, tried in order; NULL-terminated.  "raw" is last and takes everything. */
extern const struct image_format *const image_formats[];

/* Opens the file `name` of directory `dir`: reads the window, asks every probe, opens with the one
 * that knows it.  Two formats that both answer yes are an error that names both (VD_EUNSUPPORTED),
 * never a silent choice.  *out is the caller's (image_free). */
int image_open(const struct blk_source *source, unsigned dir, const char *name, struct image **out,
               struct vd_err *err);

/* As image_open, on an open file (one reference borrowed). */
int image_open_file(struct blkdev *file, const struct blk_source *source, unsigned dir,
                    const char *name, struct image **out, struct vd_err *err);

/* Who a file is: as image_open, but out->dev may be NULL and other files need not be there.
 * VD_ENOTFORMAT: raw, which has no identity. */
int image_identify(const struct blk_source *source, unsigned dir, const char *name,
                   struct image **out, struct vd_err *err);

/* Accepts NULL and half-built images. */
void image_free(struct image *image);

/* ---- the formats ---- */
extern const struct image_format image_format_raw;
extern const struct image_format image_format_vmdk;
extern const struct image_format image_format_vhd;
extern const struct image_format image_format_vhdx;

#endif
