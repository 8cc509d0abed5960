/* SPDX-License-Identifier: Apache-2.0 */
/* Constructors of the format-independent layers.  Each takes over the references of its children
 * on success only, and never probes.  `label` prefixes errors; "" = none. */
#ifndef VD_BLK_LAYERS_H
#define VD_BLK_LAYERS_H

#include "blk/blkdev.h"

/* Bytes [off, off+size) of `child`.  VD_ELIMIT if that passes the child's end. */
int blk_slice_new(struct blkdev *child, uint64_t off, uint64_t size, const char *label,
                  struct blkdev **out, struct vd_err *err);

/* One part of a concatenation. */
struct blk_part {
    struct blkdev *dev;   /* NULL: `size` bytes of status `hole` */
    uint64_t dev_off;     /* where the part starts inside dev, bytes */
    uint64_t size;        /* bytes, > 0; may pass the end of dev: that tail is unreadable,
                             never zeros */
    enum blk_status hole; /* BLK_ZEROS or BLK_UNREADABLE (e.g. a VMDK NOACCESS extent) */
    char label[96];       /* "extent 3"; prefixes errors */
};

/* Parts one after the other.  The parts array is copied; the references in it are taken over on
 * success only.  Look-up is a binary search: any number of parts up to VD_MAX_EXTENTS. */
int blk_concat_new(const struct blk_part *parts, size_t n_parts, const char *label,
                   struct blkdev **out, struct vd_err *err);

/* The disk that a chain of layers gives: layers[0] is the tip, layers[n-1] the base.  Each
 * position is answered by the first layer that does not say BLK_ABSENT; below the base, and past
 * the end of a smaller parent, zeros: nothing below that parent shows through.  Size and sector size are the tip's. */
int blk_overlay_new(struct blkdev *const *layers, size_t n_layers, const char *label,
                    struct blkdev **out, struct vd_err *err);

/* Bytes in memory, for tests, fuzzing and replayed structures.  The memory is copied. */
int blk_mem_new(const void *bytes, size_t len, const char *label, struct blkdev **out,
                struct vd_err *err);

/* ---- fault layer: tests only; nothing in the programs creates one ---- */

enum blk_fault_kind {
    BLK_FAULT_ERROR, /* the read fails with VD_EIO at the first byte of the range */
    BLK_FAULT_DELAY  /* the read sleeps `delay_ms` and then succeeds */
};

struct blk_fault_rule {
    enum blk_fault_kind kind;
    uint64_t off, len; /* the range that triggers; len 0 = everywhere */
    uint64_t nth;      /* 1-based count of reads that touch the range; 0 = every one */
    bool persistent;   /* from the nth on, every one */
    unsigned delay_ms;
};

/* Passes everything through to `child`; injects faults while rules are set. */
int blk_fault_new(struct blkdev *child, struct blkdev **out, struct vd_err *err);
/* Replaces the rule (NULL: none) and resets the count.  Any thread, any time. */
void blk_fault_set(struct blkdev *dev, const struct blk_fault_rule *rule);
/* Reads that reached the layer since the rule was set. */
uint64_t blk_fault_count(struct blkdev *dev);

#endif
