/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree: building it over a case, and finding what a node number stands for.
 *
 * Nothing is remembered about nodes: a number is taken apart (node.h), its parts are checked
 * against the case, and the object is asked for below.  A number made up by somebody else is
 * therefore VD_ENOENT or an error of the file system, never a crash.  After tree_new all is
 * immutable but the cache of listings; any thread.
 */
#include "tree/tree_private.h"

#include "base/limits.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int set_text(struct tree_text *text, char *owned, struct vd_err *err)
{
    if (!owned)
        return vd_fail(err, VD_ENOMEM, "no memory for the information files");
    text->p = owned;
    text->len = strlen(owned);
    return 0;
}

int tree_new(const struct vd_case *c, const struct tree_options *options, const char *info_text,
             const char *info_json, struct tree **out, struct vd_err *err)
{
    struct tree *t;
    size_t i;
    int rc;

    if (c->point->n > VD_MAX_PARTITIONS)
        return vd_fail(err, VD_ELIMIT, "%zu volumes are more than VD_MAX_PARTITIONS", c->point->n);
    t = calloc(1, sizeof(*t));
    if (!t)
        return vd_fail(err, VD_ENOMEM, "no memory for the tree");
    t->c = c->point;
    t->options = *options;
    rc = listing_cache_new(&t->listings, err);
    if (!rc)
        rc = set_text(&t->info_text, strdup(info_text), err);
    if (!rc)
        rc = set_text(&t->info_json, strdup(info_json), err);
    if (!rc && c->point->n) {
        t->volume_text = calloc(c->point->n, sizeof(*t->volume_text));
        if (!t->volume_text)
            rc = vd_fail(err, VD_ENOMEM, "no memory for the tree");
    }
    for (i = 0; i < c->point->n && !rc; i++)
        rc = set_text(&t->volume_text[i], case_volume_text(c->point, i), err);
    if (rc)
        tree_free(t);
    else
        *out = t;
    return rc;
}

void tree_free(struct tree *tree)
{
    size_t i;

    if (!tree)
        return;
    for (i = 0; tree->volume_text && i < tree->c->n; i++)
        free(tree->volume_text[i].p);
    free(tree->volume_text);
    free(tree->info_text.p);
    free(tree->info_json.p);
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

static int find_synthetic(struct tree *tree, struct place *p, uint64_t number, struct vd_err *err)
{
    const struct vd_point *c = tree->c;

    switch ((enum node_synthetic)p->id.payload) {
    case NODE_DIR:
        p->what = PLACE_DIR;
        return 0;
    case NODE_IMAGE:
        if (p->volume && !p->volume->dev)
            break;
        if (p->volume)
            place_image(p, p->volume->dev, 0, p->volume->dev->size);
        else
            place_image(p, c->disk, 0, c->disk->size);
        return 0;
    case NODE_INFO_TEXT:
        p->what = PLACE_TEXT;
        p->text = p->volume ? &tree->volume_text[p->id.view - 1] : &tree->info_text;
        return 0;
    case NODE_INFO_JSON:
        p->what = PLACE_TEXT;
        p->text = &tree->info_json;
        return 0;
    case NODE_GAPS:
        p->what = PLACE_DIR;
        if (c->table.n_gaps)
            return 0;
        break;
    }
    return no_such_node(number, err);
}

int tree_find(struct tree *tree, uint64_t number, struct place *out, struct vd_err *err)
{
    const struct vd_point *c = tree->c;
    struct place p = {0};
    int rc = 0;

    if (!node_decode(number, &p.id) || p.id.view > c->n)
        return no_such_node(number, err);
    if (p.id.view) {
        p.volume = &c->v[p.id.view - 1];
        p.fs = p.volume->fs;
    }
    switch (p.id.kind) {
    case NODE_SYNTHETIC:
        rc = find_synthetic(tree, &p, number, err);
        break;
    case NODE_GAP:
        if (p.id.payload >= c->table.n_gaps)
            return no_such_node(number, err);
        place_image(&p, c->disk, c->table.gap[p.id.payload].start, c->table.gap[p.id.payload].size);
        break;
    case NODE_OBJECT:
    case NODE_STREAM:
        p.what = p.id.kind == NODE_OBJECT ? PLACE_OBJECT : PLACE_STREAM;
        if (!p.fs)
            return no_such_node(number, err);
        break;
    case NODE_BEYOND:
        return vd_fail(err, VD_ELIMIT,
                       "the directory entry names an object address that no file system of this "
                       "kind can have (it ends in 0x%012" PRIx64 ")",
                       p.id.addr);
    }
    if (!rc)
        *out = p;
    return rc;
}

uint64_t tree_parent(struct tree *tree, uint64_t node)
{
    struct place p;

    if (tree_find(tree, node, &p, NULL))
        return 0;
    if (p.what == PLACE_DIR)
        return TREE_ROOT;
    if (p.what == PLACE_OBJECT && p.id.addr == fs_get_info(p.fs)->root_addr)
        return node_synthetic(p.id.view, NODE_DIR);
    return 0;
}

void tree_gap_name(const struct tree *tree, size_t index, char out[TREE_GAP_NAME_MAX])
{
    const struct volume_gap *gap = &tree->c->table.gap[index];
    int width = snprintf(NULL, 0, "%" PRIu64, tree->c->disk->size);

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
        .f_blocks = tree->c->disk->size / 4096,
        .f_namemax = VD_MAX_NAME,
        .f_flag = ST_RDONLY | ST_NOSUID | ST_NODEV | ST_NOEXEC,
    };
}
