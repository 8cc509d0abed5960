/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Split raw images.  There is no specification and nothing inside the pieces tells that they belong
 * together: the names do, and the sizes: every piece but the last has the size of the first, and
 * the last is not larger.  Whatever does not fit that is refused, for a wrong or missing piece would
 * shift all that follows.  No state; any thread.
 */
#include "image/raw_split.h"

#include "base/cleanup.h"
#include "base/limits.h"
#include "blk/layers.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_SIZE  256
#define MIN_DIGITS 3
#define MAX_DIGITS 5

/* Pieces that are looked for behind one that is not there. */
#define LOOK_BEYOND 16

/* "NAME." and the digits of a piece's name. */
struct piece_name {
    size_t stem; /* length of the name up to and with the dot */
    int digits;
    unsigned number;
};

static bool name_decode(const char *name, struct piece_name *out)
{
    const char *dot = strrchr(name, '.');
    size_t digits = dot ? strspn(dot + 1, "0123456789") : 0;

    if (!dot || dot == name || digits < MIN_DIGITS || digits > MAX_DIGITS || dot[1 + digits] ||
        strlen(name) >= NAME_SIZE)
        return false;
    *out = (struct piece_name){(size_t)(dot + 1 - name), (int)digits,
                               (unsigned)strtoul(dot + 1, NULL, 10)};
    return true;
}

static void name_of(const char *name, const struct piece_name *p, unsigned number,
                    char out[NAME_SIZE])
{
    (void)snprintf(out, NAME_SIZE, "%.*s%0*u", (int)p->stem, name, p->digits, number);
}

struct set {
    const char *name;
    struct piece_name first;
    const struct blk_source *source;
    unsigned dir;
    struct blk_part *v; /* owned, references too */
    size_t n, cap;
};

static bool is_there(const struct set *set, unsigned number)
{
    VD_AUTO(blk) struct blkdev *dev = NULL;
    char name[NAME_SIZE];

    name_of(set->name, &set->first, number, name);
    return set->source->open(set->source->ctx, set->dir, name, &dev, NULL) == 0;
}

static void set_clear(struct set *set)
{
    size_t i;

    for (i = 0; i < set->n; i++)
        blk_unref(set->v[i].dev);
    free(set->v);
}

/* Takes over the reference in every case. */
static int add(struct set *set, struct blkdev *dev, struct vd_err *err)
{
    struct blk_part *v = set->v;
    int rc = 0;

    if (set->n == set->cap) {
        set->cap = set->cap ? 2 * set->cap : 16;
        v = realloc(v, set->cap * sizeof(*v));
    }
    if (!v)
        rc = vd_fail(err, VD_ENOMEM, "out of memory");
    else if (set->n == VD_MAX_EXTENTS)
        rc = vd_fail(err, VD_ELIMIT, "split image: more than %d pieces", VD_MAX_EXTENTS);
    else if (dev->size == 0)
        rc = vd_fail(err, VD_ECORRUPT, "split image: the piece %s is empty", dev->label);
    else if (set->n && (set->v[set->n - 1].size != v[0].size || dev->size > v[0].size))
        rc = vd_fail(err, VD_ECORRUPT,
                     "split image: the pieces before %s do not have one size, or it is larger than "
                     "they are (%s has %" PRIu64 " bytes, the first one %" PRIu64
                     "): one is cut, or they do not belong together",
                     dev->label, set->v[set->n - 1].dev->label, set->v[set->n - 1].size, v[0].size);
    if (v)
        set->v = v;
    if (rc) {
        blk_unref(dev);
        return rc;
    }
    v[set->n] = (struct blk_part){.dev = dev, .size = dev->size};
    set->n++;
    return 0;
}

static int collect(struct set *set, struct vd_err *err)
{
    unsigned number = set->first.number, k;
    char name[NAME_SIZE];
    int rc = 0;

    for (;;) {
        struct blkdev *dev = NULL;

        name_of(set->name, &set->first, ++number, name);
        rc = set->source->open(set->source->ctx, set->dir, name, &dev, err);
        if (rc == -VD_ENOENT)
            break;
        if (rc == 0)
            rc = add(set, dev, err);
        if (rc)
            return rc;
    }
    for (k = 1; k <= LOOK_BEYOND; k++)
        if (is_there(set, number + k)) {
            char beyond[NAME_SIZE];

            name_of(set->name, &set->first, number + k, beyond);
            return vd_fail(err, VD_ECORRUPT, "split image: the piece %s is missing (%s is there)",
                           name, beyond);
        }
    return 0;
}

/* A later piece: the first one is to be named.  0: it is none, or stands alone. */
static int refuse_later(const struct set *set, struct vd_err *err)
{
    unsigned number = set->first.number;
    char first[NAME_SIZE];

    if (number == 0 || !is_there(set, number - 1))
        return 0;
    while (number > 0 && is_there(set, number - 1))
        number--;
    name_of(set->name, &set->first, number, first);
    return vd_fail(err, VD_EUNSUPPORTED, "%s: this is a piece of the split image %s: open that one",
                   set->name, first);
}

static int join(struct set *set, struct blkdev **out, struct vd_facts *facts, struct vd_err *err)
{
    uint64_t size = 0;
    char last[NAME_SIZE];
    size_t i;
    int rc;

    for (i = 0; i < set->n; i++)
        if (set->v[i].size > VD_MAX_SIZE - size)
            return vd_fail(err, VD_ELIMIT, "split image: its pieces are too large");
        else
            size += set->v[i].size;
    name_of(set->name, &set->first, set->first.number + (unsigned)set->n - 1, last);
    rc = blk_concat_new(set->v, set->n, "", out, err);
    if (rc)
        return rc;
    vd_fact_add(facts, VD_FACT_WARNING, "split",
                "%zu files up to %s are joined, by their names and sizes alone: %" PRIu64
                " bytes; that none is missing at the end cannot be told",
                set->n, last, size);
    set->n = 0; /* the references are the layer's */
    return 0;
}

int raw_split_join(struct blkdev *file, const char *name, const struct blk_source *source,
                   unsigned dir, struct blkdev **out, struct vd_facts *facts, struct vd_err *err)
{
    struct set set = {.name = name, .source = source, .dir = dir};
    int rc;

    *out = NULL;
    if (!source || !name_decode(name, &set.first))
        return 0;
    rc = refuse_later(&set, err);
    if (rc == 0 && set.first.number <= 1)
        rc = add(&set, blk_ref(file), err);
    if (rc == 0 && set.n)
        rc = collect(&set, err);
    if (rc == 0 && set.n > 1)
        rc = join(&set, out, facts, err);
    else if (rc == 0)
        vd_fact_add(facts, VD_FACT_WARNING, "split",
                    "the name is that of a piece of a split image, but no other piece lies beside "
                    "it: shown alone");
    set_clear(&set);
    return rc;
}
