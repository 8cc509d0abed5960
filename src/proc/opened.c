/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's table of open evidence.  It holds a reference to every instance, so no look-up can
 * meet a file that is being closed; an instance whose only reference is the table's own is unused,
 * and since new references to it can come only through the table, whose owner holds the lock, it
 * can be closed safely.  That happens now and then: a search for a parent opens every file of a
 * directory.  Linear search with hashes: 31,744 extents (the bound) cost well under a second in
 * all.
 */
#include "proc/opened.h"

#include <stdlib.h>
#include <string.h>

/* Unused files kept open; a search over a directory of this size opens each file once. */
#define PRUNE_MIN 1024

static uint64_t name_hash(unsigned dir, const char *name)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325) ^ dir; /* FNV-1a */

    for (; *name; name++)
        h = (h ^ (uint8_t)*name) * UINT64_C(0x100000001b3);
    return h;
}

struct blkdev *opened_by_name(const struct opened *o, unsigned dir, const char *name)
{
    uint64_t h = name_hash(dir, name);
    size_t i;

    for (i = 0; i < o->n; i++)
        if (o->v[i].name_hash == h && o->v[i].dir == dir && strcmp(o->v[i].name, name) == 0)
            return o->v[i].file;
    return NULL;
}

struct blkdev *opened_by_id(const struct opened *o, const struct evidence_id *id)
{
    size_t i;

    for (i = 0; i < o->n; i++)
        if (o->v[i].ino == id->ino && o->v[i].dev == id->dev)
            return o->v[i].file;
    return NULL;
}

static int make_room(struct opened *o, struct vd_err *err)
{
    size_t cap = o->cap ? 2 * o->cap : 64;
    struct opened_entry *v;

    if (o->n < o->cap)
        return 0;
    v = realloc(o->v, cap * sizeof(*v));
    if (!v)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    o->v = v;
    o->cap = cap;
    return 0;
}

int opened_add(struct opened *o, unsigned dir, const char *name, const struct evidence_id *id,
               struct blkdev *file, struct vd_err *err)
{
    char *copy;
    int rc;

    if (o->n >= (o->prune_at ? o->prune_at : PRUNE_MIN)) {
        (void)opened_prune(o);
        o->prune_at = 2 * o->n > PRUNE_MIN ? 2 * o->n : PRUNE_MIN;
    }
    rc = make_room(o, err);
    if (rc)
        return rc;
    copy = strdup(name);
    if (!copy)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    o->v[o->n++] = (struct opened_entry){
        .dev = id->dev,
        .ino = id->ino,
        .name_hash = name_hash(dir, name),
        .dir = dir,
        .name = copy,
        .file = blk_ref(file),
    };
    return 0;
}

static void drop_entry(struct opened_entry *e)
{
    blk_unref(e->file);
    free(e->name);
}

size_t opened_prune(struct opened *o)
{
    size_t i, kept = 0, dropped;

    for (i = 0; i < o->n; i++) {
        if (atomic_load_explicit(&o->v[i].file->refs, memory_order_acquire) == 1)
            drop_entry(&o->v[i]);
        else
            o->v[kept++] = o->v[i];
    }
    dropped = o->n - kept;
    o->n = kept;
    return dropped;
}

void opened_clear(struct opened *o)
{
    size_t i;

    for (i = 0; i < o->n; i++)
        drop_entry(&o->v[i]);
    free(o->v);
    *o = (struct opened){0};
}
