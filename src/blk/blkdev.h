/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blkdev: the one interface that everything below the file system stacks on.
 *
 * A *type* is a static const table of operations; an *instance* has a type, a size and private
 * data.  There is deliberately no write, flush, discard or resize operation.  Callers never touch
 * the table: they go through the door, blk_read() and blk_map(), which checks ranges, answers
 * empty requests, counts, checks what the layer answers and adds the layer's label to errors.
 * Layers may rely on it.
 *
 * Threads: after its constructor returned, an instance is immutable except for caches with locks
 * of their own; blk_read, blk_map, blk_ref and blk_unref may be called from any thread.
 */
#ifndef VD_BLK_BLKDEV_H
#define VD_BLK_BLKDEV_H

#include "base/err.h"
#include "base/facts.h"
#include "blk/check.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct blkdev;

/* What a position means.  "Zeros" and "not in this layer" are different answers: only the overlay
 * turns the second one into a question to the parent. */
enum blk_status {
    BLK_DATA,       /* bytes are stored in (or made by) this layer */
    BLK_ZEROS,      /* the format says: reads as zeros, hides the parent */
    BLK_ABSENT,     /* not in this layer: a parent answers; without a parent, zeros */
    BLK_UNREADABLE, /* the format or the medium says that the bytes cannot be had: reads fail */
    BLK_UNKNOWN     /* the layer cannot tell; blk_read decides */
};

/* One run of equal status, starting at the position asked for. */
struct blk_extent {
    uint64_t len; /* bytes, > 0, never past the end of the device */
    enum blk_status status;
    struct blkdev *child; /* BLK_DATA and stored linearly: the device behind it (borrowed) … */
    uint64_t child_off;   /* … and the byte offset there.  NULL: the bytes are made (inflated,
                             decrypted, log-replayed): read them through this layer */
};

struct blk_type {
    const char *name; /* "evidence", "slice", "vmdk-sparse" … */

    /* Fills the whole buffer from `off`, or fails and names the first bad offset (vd_at).  The
     * range is inside the device and not empty.  Keeps no pointer to `buf`.  Positions that map
     * as BLK_ABSENT read as zeros here: a decoder alone is a disk without a parent.  Required. */
    int (*read_at)(struct blkdev *dev, uint64_t off, void *buf, size_t len, struct vd_err *err);

    /* The run that starts at `off`; it may be cut at off + max_len.  An error means the allocation
     * table itself cannot be read.  NULL: one run "data, place unknown". */
    int (*map)(struct blkdev *dev, uint64_t off, uint64_t max_len, struct blk_extent *out,
               struct vd_err *err);

    /* Reports facts of this layer only (the door walks the children).  NULL: none. */
    void (*describe)(struct blkdev *dev, vd_fact_fn *fn, void *ctx);

    /* Looks at every structure of this layer (the door walks the children) and reports to `check`.
     * What cannot be read is a finding too; an error means that the check itself cannot go on
     * (memory).  NULL: the layer has no structures. */
    int (*check)(struct blkdev *dev, const struct check *check, struct vd_err *err);

    /* Releases private data; must accept a half-built instance.  Children are released by the
     * door.  NULL: nothing to do. */
    void (*close)(struct blkdev *dev);
};

struct blkdev {
    const struct blk_type *type;
    atomic_uint refs;
    uint64_t size;        /* bytes, <= VD_MAX_SIZE */
    uint32_t sector_size; /* bytes; 512 unless the format says otherwise */
    uint32_t read_unit;   /* preferred read size, bytes (grain, block); 0 = none */
    char *label;          /* printable: file name or role; prefixes errors.  "" = no prefix */
    void *priv;
    struct blkdev **children; /* owned references; released after close */
    size_t n_children;
    atomic_ullong n_reads, n_read_bytes; /* statistics; relaxed */
};

/* Creates an instance with one reference.  `label` is copied and made printable.  Children are
 * added with blk_add_child.  On failure returns a negative class and leaves *out alone; `priv`
 * then still belongs to the caller. */
int blk_new(const struct blk_type *type, uint64_t size, const char *label, void *priv,
            struct blkdev **out, struct vd_err *err);

/* Takes over the caller's reference to `child`, on success only. */
int blk_add_child(struct blkdev *dev, struct blkdev *child, struct vd_err *err);

struct blkdev *blk_ref(struct blkdev *dev);
/* Accepts NULL.  The last reference closes the layer, then its children. */
void blk_unref(struct blkdev *dev);

/* The door for reading.  Fills `buf` with exactly `len` bytes from `off`, or fails and leaves the
 * content of `buf` undefined.  A range outside the device is VD_ELIMIT.  len 0 always succeeds. */
int blk_read(struct blkdev *dev, uint64_t off, void *buf, size_t len, struct vd_err *err);

/* The door for the allocation map: the run at `off` (< size), at most `max_len` (> 0) long. */
int blk_map(struct blkdev *dev, uint64_t off, uint64_t max_len, struct blk_extent *out,
            struct vd_err *err);

/* Facts of the layer and all layers below it, top first; a shared child is reported once per
 * parent. */
void blk_describe(struct blkdev *dev, vd_fact_fn *fn, void *ctx);

/* Structural check of the layer and all layers below it, top first; a child that several layers
 * share is checked once per parent. */
int blk_check(struct blkdev *dev, const struct check *check, struct vd_err *err);

static inline void vd_auto_blk(struct blkdev **dev)
{
    blk_unref(*dev);
}

#endif
