/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The open points of a mount: what the root shows, and the older points under snapshots/.
 *
 * An older point is opened at the first look into it, by one thread while the others that want the
 * same point wait, and stays open.  A mount of 1,024 members pays nothing for points that nobody
 * looks at.  Somebody may look at all of them: a point that nobody uses at this moment may be closed
 * again, least recently used first, when
 *   - more than POINTS_IDLE_MAX such points are open, or
 *   - all file systems together cache more than FS_CACHE_TOTAL; POINTS_IDLE_MIN stay even then, so
 *     that readers of several points do not open them anew for each request.
 * A point in use is never closed.  In use are at most as many as there are requests in flight.
 *
 * Memory: an open point is its overlay (8 bytes a member), its texts and its file systems; most of
 * it is what these cache, at most 48 MiB each (NTFS) and an eighth of that under pressure (see
 * fs/cache.h).  The layers of the chain and their caches are shared by all points.
 */
#ifndef VD_TREE_POINTS_H
#define VD_TREE_POINTS_H

#include "tree/case.h"

#define POINTS_IDLE_MAX 64u
#define POINTS_IDLE_MIN 16u

struct tree_text {
    char *p;
    size_t len;
};

/* A point and the texts that tell of it.  Immutable. */
struct open_point {
    struct vd_point *p;
    struct tree_text info_text, info_json;
    struct tree_text *volume_text; /* one per volume */
    struct points_slot *slot;      /* private to points.c; NULL: what the root shows */
};

/* Takes over `text` as a text; VD_ENOMEM when it is NULL. */
int points_set_text(struct tree_text *text, char *owned, struct vd_err *err);

/* Fills volume_text of a point whose p is set. */
int points_volume_texts(struct open_point *o, struct vd_err *err);

/* Releases the texts, not p. */
void points_clear_texts(struct open_point *o);

/* Called once for each older point, after it was opened and before anybody sees anything of it. */
typedef void points_opened_fn(void *ctx, const struct vd_point *point);

struct points;

/* For the older members of `chain` (borrowed).  `opened` may be NULL.  VD_ENOMEM. */
int points_new(const struct chain *chain, points_opened_fn *opened, void *ctx, struct points **out,
               struct vd_err *err);
/* No point may be in use.  Accepts NULL. */
void points_free(struct points *points);

/* The point of member `member` (< chain->n), opened if it is not; give it back with points_put.  A
 * partition table or volume that cannot be read does not make it fail; lack of memory does, and
 * leaves no trace.  Any thread; may block on the evidence, never on another point. */
int points_get(struct points *points, size_t member, struct open_point **out, struct vd_err *err);
void points_put(struct points *points, struct open_point *point);

/* Open points now, for tests. */
size_t points_count(struct points *points);

#endif
