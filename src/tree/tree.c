/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree: building it over a case, and finding what a node number stands for.
 *
 * Nothing is remembered about nodes: a number is taken apart (node.h), its parts are checked
 * against the case, and the object is asked for below.  A number made up by somebody else is
 * therefore VD_ENOENT or an error of the file system, never a crash.  After tree_new all is
 * immutable but the cache of listings and the older points (points.h); any thread.
 */
#include "tree/tree_private.h"

#include "base/cleanup.h"
#include "base/limits.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int tree_new(const struct vd_case *c, const struct tree_options *options, const char *info_text,
             const char *info_json, struct tree **out, struct vd_err *err)
{
    struct tree *t;
    int rc;

    if (c->point->n > VD_MAX_PARTITIONS)
        return vd_fail(err, VD_ELIMIT, "%zu volumes are more than VD_MAX_PARTITIONS", c->point->n);
    t = calloc(1, sizeof(*t));
    if (!t)
        return vd_fail(err, VD_ENOMEM, "no memory for the tree");
    t->chain = c->chain;
    t->options = *options;
    t->shown.p = c->point;
    rc = listing_cache_new(&t->listings, err);
    if (!rc)
        rc =
            points_new(c->chain, options->point_opened, options->point_opened_ctx, &t->points, err);
    if (!rc)
        rc = snapshots_names(c->chain, c->point->member, &t->snapshots, err);
    if (!rc)
        rc = points_set_text(&t->shown.info_text, strdup(info_text), err);
    if (!rc)
        rc = points_set_text(&t->shown.info_json, strdup(info_json), err);
    if (!rc)
        rc = points_volume_texts(&t->shown, err);
    if (rc)
        tree_free(t);
    else
        *out = t;
    return rc;
}

void tree_free(struct tree *tree)
{
    if (!tree)
        return;
    points_clear_texts(&tree->shown);
    points_free(tree->points);
    snapshots_clear(&tree->snapshots);
    listing_cache_free(tree->listings);
    free(tree);
}

static int no_such_node(uint64_t number, struct vd_err *err)
{
    return vd_fail(err, VD_ENOENT, "no node 0x%" PRIx64 " in this mount", number);
}

static void place_image(struct place *p, struct blkdev *dev, uint64_t start, uint64_t size)
{
    p->what = PLACE_IMAGE;
    p->dev = dev;
    p->start = start;
    p->size = size;
}

static bool find_image(struct place *p)
{
    if (p->volume && !p->volume->dev)
        return false;
    if (p->volume)
        place_image(p, p->volume->dev, 0, p->volume->dev->size);
    else
        place_image(p, p->point->p->disk, 0, p->point->p->disk->size);
    return true;
}

/* False: there is no such node here. */
static bool find_synthetic(struct tree *tree, struct place *p)
{
    const struct open_point *o = p->point;

    p->what = PLACE_DIR;
    switch ((enum node_synthetic)p->id.payload) {
    case NODE_DIR:
        return true;
    case NODE_IMAGE:
        return find_image(p);
    case NODE_INFO_TEXT:
        p->what = PLACE_TEXT;
        p->text = p->volume ? &o->volume_text[node_view_volume(p->id.view) - 1] : &o->info_text;
        return true;
    case NODE_INFO_JSON:
        p->what = PLACE_TEXT;
        p->text = &o->info_json;
        return true;
    case NODE_GAPS:
        return o->p->table.n_gaps != 0;
    case NODE_SNAPSHOTS:
        return tree->snapshots.n != 0;
    case NODE_BY_NAME:
        return tree->snapshots.n_links != 0;
    case NODE_NAME_LINK: /* find_door */
        break;
    }
    return false;
}

static int find_beyond(const struct place *p, struct vd_err *err)
{
    if (!node_view_volume(p->id.view))
        return vd_fail(err, VD_ELIMIT,
                       "volume %" PRIu64 " of this point has no number: %u are possible here; the "
                       "disk image holds its bytes",
                       p->id.addr,
                       node_view_point(p->id.view) > NODE_POINTS_NEAR ? NODE_VOLUME_MAX_FAR
                                                                      : NODE_VOLUME_MAX_NEAR);
    return vd_fail(err, VD_ELIMIT,
                   "the directory entry names an object address that no file system of this kind "
                   "can have (it ends in 0x%012" PRIx64 ")",
                   p->id.addr);
}

/* Is this a node that tells of a point without looking into it? */
static bool is_closed_door(const struct node *id)
{
    return id->kind == NODE_SYNTHETIC && node_view_point(id->view) && !node_view_volume(id->view) &&
           (id->payload == NODE_DIR || id->payload == NODE_NAME_LINK);
}

int tree_enter(struct tree *tree, struct place *dir, struct vd_err *err)
{
    int rc;

    if (dir->point)
        return 0;
    rc = points_get(tree->points, dir->member, &dir->point, err);
    if (!rc)
        dir->points = tree->points;
    return rc;
}

void tree_leave(struct place *place)
{
    if (place->points && place->point)
        points_put(place->points, place->point);
    place->points = NULL;
    place->point = NULL;
}

/* Finds such a node; the point stays closed. */
static int find_door(const struct tree *tree, struct place *p, uint64_t number, struct vd_err *err)
{
    p->what = PLACE_DIR;
    if (p->id.payload == NODE_DIR)
        return 0;
    p->what = PLACE_LINK;
    p->target = tree->snapshots.v[node_view_point(p->id.view) - 1].target;
    return p->target ? 0 : no_such_node(number, err);
}

/* Which point the view means.  VD_ENOENT: none. */
static int find_point(struct tree *tree, struct place *p, uint64_t number, struct vd_err *err)
{
    unsigned point = node_view_point(p->id.view);

    if (!point) {
        p->member = tree->shown.p->member;
        p->point = &tree->shown;
        return 0;
    }
    if (point > tree->snapshots.n)
        return no_such_node(number, err);
    p->member = tree->chain->n - point;
    return 0;
}

/* What the number means in its point. */
static int find_in_point(struct tree *tree, struct place *p, uint64_t number, struct vd_err *err)
{
    unsigned volume = node_view_volume(p->id.view);
    const struct vd_point *o;
    int rc = tree_enter(tree, p, err);

    if (rc)
        return rc;
    o = p->point->p;
    if (volume) {
        if (volume > o->n)
            return no_such_node(number, err);
        p->volume = &o->v[volume - 1];
        p->fs = p->volume->fs;
    }
    switch (p->id.kind) {
    case NODE_SYNTHETIC:
        return find_synthetic(tree, p) ? 0 : no_such_node(number, err);
    case NODE_GAP:
        if (p->id.payload >= o->table.n_gaps)
            return no_such_node(number, err);
        place_image(p, o->disk, o->table.gap[p->id.payload].start,
                    o->table.gap[p->id.payload].size);
        return 0;
    case NODE_OBJECT:
    case NODE_STREAM:
        p->what = p->id.kind == NODE_OBJECT ? PLACE_OBJECT : PLACE_STREAM;
        return p->fs ? 0 : no_such_node(number, err);
    case NODE_BEYOND:
        break;
    }
    return find_beyond(p, err);
}

int tree_find(struct tree *tree, uint64_t number, struct place *out, struct vd_err *err)
{
    struct place p = {0};
    int rc;

    *out = p;
    if (!node_decode(number, &p.id))
        return no_such_node(number, err);
    rc = find_point(tree, &p, number, err);
    if (!rc)
        rc = is_closed_door(&p.id) ? find_door(tree, &p, number, err)
                                   : find_in_point(tree, &p, number, err);
    if (rc)
        tree_leave(&p);
    else
        *out = p;
    return rc;
}

static uint64_t parent_of_dir(const struct place *p)
{
    unsigned point = node_view_point(p->id.view);

    if (p->id.payload == NODE_BY_NAME || (point && !p->volume && p->id.payload == NODE_DIR))
        return node_synthetic(0, NODE_SNAPSHOTS);
    return node_synthetic(node_view(point, 0), NODE_DIR);
}

uint64_t tree_parent(struct tree *tree, uint64_t node)
{
    VD_AUTO(place) struct place p;

    if (tree_find(tree, node, &p, NULL))
        return 0;
    if (p.what == PLACE_DIR)
        return parent_of_dir(&p);
    if (p.what == PLACE_OBJECT && p.id.addr == fs_get_info(p.fs)->root_addr)
        return node_synthetic(p.id.view, NODE_DIR);
    return 0;
}

void tree_gap_name(const struct vd_point *point, size_t index, char out[TREE_GAP_NAME_MAX])
{
    const struct volume_gap *gap = &point->table.gap[index];
    int width = snprintf(NULL, 0, "%" PRIu64, point->disk->size);

    (void)snprintf(out, TREE_GAP_NAME_MAX, "%0*" PRIu64 "-%0*" PRIu64 ".img", width, gap->start,
                   width, gap->start + gap->size);
}

bool tree_is_ntfs(const struct place *place)
{
    return strcmp(fs_get_info(place->fs)->type, "ntfs") == 0;
}

void tree_statfs(struct tree *tree, struct statvfs *out)
{
    *out = (struct statvfs){
        .f_bsize = 4096,
        .f_frsize = 4096,
        .f_blocks = tree->shown.p->disk->size / 4096,
        .f_namemax = VD_MAX_NAME,
        .f_flag = ST_RDONLY | ST_NOSUID | ST_NODEV | ST_NOEXEC,
    };
}
