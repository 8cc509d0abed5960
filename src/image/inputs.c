/* SPDX-License-Identifier: Apache-2.0 */
/* Collects the evidence devices below a chain: the files that were named and, through the layers,
 * their extents.  The walk keeps its own stack: a hostile nesting cannot exhaust ours. */
#include "image/inputs.h"

#include <stdlib.h>

struct walk {
    struct blkdev **todo;
    size_t n, cap;
};

static int push(struct blkdev ***v, size_t *n, size_t *cap, struct blkdev *dev, struct vd_err *err)
{
    if (*n == *cap) {
        size_t grown = *cap ? 2 * *cap : 64;
        struct blkdev **p = realloc(*v, grown * sizeof(struct blkdev *));

        if (!p)
            return vd_fail(err, VD_ENOMEM, "out of memory");
        *v = p;
        *cap = grown;
    }
    (*v)[(*n)++] = dev;
    return 0;
}

static bool same_file(const struct evidence_id *a, const struct evidence_id *b)
{
    return a->dev == b->dev && a->ino == b->ino;
}

static bool known(const struct chain_inputs *inputs, const struct evidence_id *id)
{
    const struct evidence_id *other;
    size_t i;

    for (i = 0; i < inputs->n; i++)
        if (evidence_identity(inputs->v[i], &other) && same_file(id, other))
            return true;
    return false;
}

static int visit(struct walk *walk, struct chain_inputs *out, size_t *cap, struct vd_err *err)
{
    struct blkdev *dev = walk->todo[--walk->n];
    const struct evidence_id *id;
    size_t i;
    int rc = 0;

    if (evidence_identity(dev, &id))
        return known(out, id) ? 0 : push(&out->v, &out->n, cap, dev, err);
    for (i = dev->n_children; i > 0 && rc == 0; i--)
        rc = push(&walk->todo, &walk->n, &walk->cap, dev->children[i - 1], err);
    return rc;
}

int chain_inputs_collect(const struct chain *chain, struct chain_inputs *out, struct vd_err *err)
{
    struct walk walk = {0};
    size_t cap = 0, i;
    int rc = 0;

    *out = (struct chain_inputs){0};
    for (i = 0; i < chain->n && rc == 0; i++) {
        rc = push(&walk.todo, &walk.n, &walk.cap, chain->v[i]->dev, err);
        if (rc == 0)
            rc = push(&walk.todo, &walk.n, &walk.cap, chain->v[i]->file_dev, err);
        while (walk.n && rc == 0)
            rc = visit(&walk, out, &cap, err);
    }
    free(walk.todo);
    if (rc)
        chain_inputs_clear(out);
    return rc;
}

void chain_inputs_clear(struct chain_inputs *inputs)
{
    free(inputs->v);
    *inputs = (struct chain_inputs){0};
}
