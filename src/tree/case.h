/* SPDX-License-Identifier: Apache-2.0 */
/* A case: evidence opened from the named file up to its file systems.  What a mount shows, what
 * `vdiskctl info` prints and what `vdiskctl hash` hashes all come from here. */
#ifndef VD_TREE_CASE_H
#define VD_TREE_CASE_H

#include "fs/fs.h"
#include "image/chain.h"
#include "image/contribution.h"
#include "volume/volume.h"

struct case_options {
    struct chain_options chain;
    bool disk_only; /* do not look at partitions and file systems (hash of the disk) */
};

/* One partition (or the whole disk as p0). */
struct case_volume {
    struct volume part;
    struct blkdev *dev; /* the partition's bytes; owned */
    struct volume_content content;
    struct fs *fs;        /* NULL: see fs_err */
    struct vd_err fs_err; /* why there is no file system to show */
};

/* The disk at one point in time: as of one member of the chain.  Immutable once it is open. */
struct vd_point {
    const struct chain *chain; /* borrowed */
    size_t member; /* index into chain->v: this member and all older ones make the disk */
    size_t first;  /* first member that its info tells of: 0 (the whole chain) for the
                                  point that was asked for, `member` for the older ones */
    struct blkdev *disk;
    struct volume_table table;
    struct case_volume *v; /* in order of table.v */
    size_t n;
};

/* Members of a chain are also counted from the base, which has number 0: that number stays when
 * newer snapshots are added.  snapshot=N and snapshots/NN_… mean it. */
static inline size_t case_point_number(const struct chain *chain, size_t member)
{
    return chain->n - 1 - member;
}

/* Is it one of the points under snapshots/?  Their info tells of the newest member and lists the
 * others, which the info of the root describes: else looking at all points of a chain of 1,024
 * would cost its square. */
static inline bool case_is_older(const struct vd_point *point)
{
    return point->first != 0;
}

enum point_need {
    POINT_DISK,     /* the disk alone */
    POINT_ALL,      /* volumes too; a partition table that cannot be read is an error */
    POINT_AVAILABLE /* volumes too; a table that cannot be read is a warning in table.facts */
};

/* Opens the disk as of `member` and what is on it.  A volume that cannot be opened is kept with the
 * reason.  *out is the caller's (point_free); `chain` must outlive it.  Any thread; may block on
 * the evidence. */
int point_open(const struct chain *chain, size_t member, enum point_need need,
               struct vd_point **out, struct vd_err *err);
void point_free(struct vd_point *point);

struct vd_case {
    struct chain *chain;
    struct vd_point *point; /* as of chain->point: what was asked for */
};

/* Opens everything; the chain is verified before this returns.  A volume that cannot be opened is
 * kept with the reason; only a chain or disk that cannot be read is an error.  *out is the
 * caller's (case_free). */
int case_open(const struct blk_source *source, const char *name, const struct case_options *options,
              struct vd_case **out, struct vd_err *err);
void case_free(struct vd_case *c);

/* Programs and libraries, options and sandbox in force: what info adds to the case itself. */
struct case_context {
    const char *const *option; /* "name=value"; NULL-terminated; may be NULL */
    const char *sandbox;       /* may be NULL */
    const char *audit;         /* session directory of the log; may be NULL */
    const char *audit_mode;    /* "requests", "exact", …; may be NULL */
    const char *audit_key;     /* first key of the log, "NAME+ID+BASE64"; may be NULL */
    /* What each member gives to the disk (chain_contributions), or NULL: not counted, because a mount
     * does not wait for it, or for the reason in share_missing (may be NULL). */
    const struct contribution *share;
    const char *share_missing;
};

/* The text of info.txt / the JSON of info.json (documented in docs/formats/info-json.md); caller
 * frees.  NULL when memory ran out.  All evidence strings are printable. */
char *case_info_text(const struct vd_point *c, const struct case_context *context);
char *case_info_json(const struct vd_point *c, const struct case_context *context);
/* info.txt of one volume. */
char *case_volume_text(const struct vd_point *c, size_t i);

/* "libtsk 4.11.1, OpenSSL 3.0.19, …" of what is loaded; borrowed. */
const char *case_library_versions(void);

#endif
