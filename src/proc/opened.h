/* SPDX-License-Identifier: Apache-2.0 */
/* The evidence files that the worker has open: one instance per file, however it was asked for. */
#ifndef VD_PROC_OPENED_H
#define VD_PROC_OPENED_H

#include "blk/evidence.h"

#include <stddef.h>

struct opened_entry {
    uint64_t dev, ino;
    uint64_t name_hash; /* of dir and name: most entries are told apart without strcmp */
    unsigned dir;
    char *name;          /* owned: under which it was opened first */
    struct blkdev *file; /* owned reference */
};

/* Not thread-safe: the owner locks. */
struct opened {
    struct opened_entry *v;
    size_t n, cap;
    size_t prune_at; /* entries at which unused ones are thrown out */
};

/* The instance opened under that name, or NULL; borrowed. */
struct blkdev *opened_by_name(const struct opened *o, unsigned dir, const char *name);

/* The instance of that file, or NULL; borrowed. */
struct blkdev *opened_by_id(const struct opened *o, const struct evidence_id *id);

/* Keeps a reference of its own to `file`.  Throws out entries that nobody else uses when there are
 * many. */
int opened_add(struct opened *o, unsigned dir, const char *name, const struct evidence_id *id,
               struct blkdev *file, struct vd_err *err);

/* Closes every file that only this table holds; returns how many. */
size_t opened_prune(struct opened *o);

void opened_clear(struct opened *o);

#endif
