/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The older points of a chain: see points.h.  One lock guards the state of all slots and the use
 * list; it is never held while a point is opened or closed.
 */
#include "tree/points.h"

#include "base/cleanup.h"
#include "fs/cache.h"

#include <stdlib.h>
#include <string.h>

enum slot_state { SLOT_CLOSED, SLOT_OPENING, SLOT_OPEN };

struct points_slot {
    enum slot_state state;
    bool told;     /* `opened` was called */
    unsigned refs; /* of requests; the point is idle when there are none */
    struct open_point *point;
    struct points_slot *newer, *older; /* use list, while idle */
};

struct points {
    const struct chain *chain;
    points_opened_fn *opened;
    void *ctx;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* a slot is no longer SLOT_OPENING */
    struct points_slot *newest, *oldest;
    size_t n_idle, n_open;
    struct points_slot slot[];
};

/* ---- texts ---- */

int points_set_text(struct tree_text *text, char *owned, struct vd_err *err)
{
    if (!owned)
        return vd_fail(err, VD_ENOMEM, "no memory for the information files");
    text->p = owned;
    text->len = strlen(owned);
    return 0;
}

int points_volume_texts(struct open_point *o, struct vd_err *err)
{
    size_t i;
    int rc = 0;

    if (!o->p->n)
        return 0;
    o->volume_text = calloc(o->p->n, sizeof(*o->volume_text));
    if (!o->volume_text)
        return vd_fail(err, VD_ENOMEM, "no memory for the information files");
    for (i = 0; i < o->p->n && !rc; i++)
        rc = points_set_text(&o->volume_text[i], case_volume_text(o->p, i), err);
    return rc;
}

void points_clear_texts(struct open_point *o)
{
    size_t i;

    for (i = 0; o->volume_text && i < o->p->n; i++)
        free(o->volume_text[i].p);
    free(o->volume_text);
    free(o->info_text.p);
    free(o->info_json.p);
}

/* ---- one point ---- */

static void destroy(struct open_point *o)
{
    if (!o)
        return;
    points_clear_texts(o);
    point_free(o->p);
    free(o);
}

static int make(const struct chain *chain, size_t member, struct open_point **out,
                struct vd_err *err)
{
    struct open_point *o = calloc(1, sizeof(*o));
    int rc;

    if (!o)
        return vd_fail(err, VD_ENOMEM, "no memory for a point of the chain");
    rc = point_open(chain, member, POINT_AVAILABLE, &o->p, err);
    if (!rc) {
        o->p->first = member;
        rc = points_set_text(&o->info_text, case_info_text(o->p, NULL), err);
    }
    if (!rc)
        rc = points_set_text(&o->info_json, case_info_json(o->p, NULL), err);
    if (!rc)
        rc = points_volume_texts(o, err);
    if (rc)
        destroy(o);
    else
        *out = o;
    return rc;
}

/* ---- the use list; the lock is held ---- */

static void idle_remove(struct points *points, struct points_slot *s)
{
    *(s->newer ? &s->newer->older : &points->newest) = s->older;
    *(s->older ? &s->older->newer : &points->oldest) = s->newer;
    s->newer = s->older = NULL;
    points->n_idle--;
}

static void idle_add(struct points *points, struct points_slot *s)
{
    s->older = points->newest;
    *(points->newest ? &points->newest->newer : &points->oldest) = s;
    points->newest = s;
    points->n_idle++;
}

/* The idle point to close now, taken out of its slot; NULL: none.  One at a time, because closing
 * it changes what is cached. */
static struct open_point *take_victim(struct points *points)
{
    struct points_slot *s = points->oldest;
    struct open_point *o;

    if (points->n_idle <= POINTS_IDLE_MIN ||
        (points->n_idle <= POINTS_IDLE_MAX && fs_cache_total() <= FS_CACHE_TOTAL))
        return NULL;
    idle_remove(points, s);
    o = vd_take(&s->point);
    s->state = SLOT_CLOSED;
    points->n_open--;
    return o;
}

/* ---- getting one ---- */

/* Opens the point of a slot that is SLOT_OPENING, for everybody who waits. */
static int fill(struct points *points, struct points_slot *s, size_t member,
                struct open_point **out, struct vd_err *err)
{
    struct open_point *o = NULL;
    int rc = make(points->chain, member, &o, err);

    if (!rc && points->opened && !s->told) /* this thread alone has the slot */
        points->opened(points->ctx, o->p);
    VD_LOCKED(&points->lock);
    if (rc) {
        s->state = SLOT_CLOSED;
    } else {
        o->slot = s;
        s->told = true;
        s->point = o;
        s->refs = 1;
        s->state = SLOT_OPEN;
        points->n_open++;
        *out = o;
    }
    (void)pthread_cond_broadcast(&points->changed);
    return rc;
}

int points_get(struct points *points, size_t member, struct open_point **out, struct vd_err *err)
{
    struct points_slot *s = &points->slot[member];

    {
        VD_LOCKED(&points->lock);
        while (s->state == SLOT_OPENING)
            (void)pthread_cond_wait(&points->changed, &points->lock);
        if (s->state == SLOT_OPEN) {
            if (s->refs++ == 0)
                idle_remove(points, s);
            *out = s->point;
            return 0;
        }
        s->state = SLOT_OPENING;
    }
    return fill(points, s, member, out, err);
}

void points_put(struct points *points, struct open_point *point)
{
    struct open_point *victim;

    {
        VD_LOCKED(&points->lock);
        if (--point->slot->refs == 0)
            idle_add(points, point->slot);
        victim = take_victim(points);
    }
    while (victim) {
        destroy(victim);
        VD_LOCKED(&points->lock);
        victim = take_victim(points);
    }
}

/* ---- the whole ---- */

int points_new(const struct chain *chain, points_opened_fn *opened, void *ctx, struct points **out,
               struct vd_err *err)
{
    struct points *points = calloc(1, sizeof(*points) + chain->n * sizeof(points->slot[0]));

    if (!points)
        return vd_fail(err, VD_ENOMEM, "no memory for the points of the chain");
    points->chain = chain;
    points->opened = opened;
    points->ctx = ctx;
    (void)pthread_mutex_init(&points->lock, NULL);
    (void)pthread_cond_init(&points->changed, NULL);
    *out = points;
    return 0;
}

void points_free(struct points *points)
{
    size_t i;

    if (!points)
        return;
    for (i = 0; i < points->chain->n; i++)
        destroy(points->slot[i].point);
    (void)pthread_mutex_destroy(&points->lock);
    (void)pthread_cond_destroy(&points->changed);
    free(points);
}

size_t points_count(struct points *points)
{
    VD_LOCKED(&points->lock);
    return points->n_open;
}
