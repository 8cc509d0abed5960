/* SPDX-License-Identifier: Apache-2.0 */
/* Open addressing with linear probing; nothing is ever removed.  At most VD_MAX_EVIDENCE entries
 * of 64 bytes, filled to a half: 8 MiB. */
#include "proc/seen.h"

#include "base/limits.h"

#include <stdlib.h>

static size_t slot_of(const struct seen *s, uint64_t dev, uint64_t ino)
{
    uint64_t h = (ino ^ dev * UINT64_C(0x9e3779b97f4a7c15)) * UINT64_C(0xff51afd7ed558ccd);
    size_t i = (size_t)(h >> 20) & (s->cap - 1);

    while (s->used[i] && !(s->v[i].dev == dev && s->v[i].ino == ino))
        i = (i + 1) & (s->cap - 1);
    return i;
}

static int grow(struct seen *s, struct vd_err *err)
{
    size_t cap = s->cap ? 2 * s->cap : 64, i;
    struct seen bigger = {
        .v = calloc(cap, sizeof(*bigger.v)),
        .used = calloc(cap, sizeof(*bigger.used)),
        .cap = cap,
    };

    if (!bigger.v || !bigger.used) {
        free(bigger.v);
        free(bigger.used);
        return vd_fail(err, VD_ENOMEM, "out of memory");
    }
    for (i = 0; i < s->cap; i++)
        if (s->used[i]) {
            size_t slot = slot_of(&bigger, s->v[i].dev, s->v[i].ino);

            bigger.v[slot] = s->v[i];
            bigger.used[slot] = true;
        }
    free(s->v);
    free(s->used);
    s->v = bigger.v;
    s->used = bigger.used;
    s->cap = bigger.cap;
    return 0;
}

static bool same_state(const struct evidence_id *a, const struct evidence_id *b)
{
    return a->size == b->size && a->mtime_sec == b->mtime_sec && a->mtime_nsec == b->mtime_nsec &&
           a->ctime_sec == b->ctime_sec && a->ctime_nsec == b->ctime_nsec;
}

int seen_add(struct seen *s, const struct evidence_id *id, enum seen_answer *out,
             struct vd_err *err)
{
    size_t slot;
    int rc;

    if (2 * s->n >= s->cap) {
        rc = grow(s, err);
        if (rc)
            return rc;
    }
    slot = slot_of(s, id->dev, id->ino);
    if (s->used[slot]) {
        *out = same_state(&s->v[slot], id) ? SEEN_SAME : SEEN_CHANGED;
    } else {
        if (s->n == VD_MAX_EVIDENCE)
            return vd_fail(err, VD_ELIMIT, "more than %d evidence files were opened",
                           VD_MAX_EVIDENCE);
        s->used[slot] = true;
        s->n++;
        *out = SEEN_NEW;
    }
    s->v[slot] = *id;
    return 0;
}

void seen_clear(struct seen *s)
{
    free(s->v);
    free(s->used);
    *s = (struct seen){0};
}
