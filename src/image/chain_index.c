/* SPDX-License-Identifier: Apache-2.0 */
/* The index of image files in the evidence directories; see chain_index.h.  Not thread-safe: lives
 * inside one call of chain_open. */
#include "image/chain_index.h"

#include "base/cleanup.h"
#include "base/limits.h"

#include <stdlib.h>
#include <string.h>

struct names {
    char **v;
    size_t n, cap;
    bool failed;
};

static void names_clear(struct names *names)
{
    size_t i;

    for (i = 0; i < names->n; i++)
        free(names->v[i]);
    free(names->v);
}

static int add_name(void *ctx, const char *name)
{
    struct names *names = ctx;

    if (names->n == names->cap) {
        size_t cap = names->cap ? 2 * names->cap : 64;
        char **v = realloc(names->v, cap * sizeof(*v));

        if (!v) {
            names->failed = true;
            return 1;
        }
        names->v = v;
        names->cap = cap;
    }
    names->v[names->n] = strdup(name);
    names->failed = !names->v[names->n];
    names->n += !names->failed;
    return names->failed;
}

/* Takes over both on success. */
static int add_image(struct chain_index *index, struct image *image, char *name, struct vd_err *err)
{
    if (index->n == index->cap) {
        size_t cap = index->cap ? 2 * index->cap : 32;
        struct image **v = realloc(index->v, cap * sizeof(struct image *));
        char **names;

        if (v)
            index->v = v;
        names = v ? realloc(index->file_name, cap * sizeof(*names)) : NULL;
        if (!names)
            return vd_fail(err, VD_ENOMEM, "out of memory");
        index->file_name = names;
        index->cap = cap;
    }
    index->v[index->n] = image;
    index->file_name[index->n++] = name;
    return 0;
}

static int look_at(struct chain_index *index, const struct blk_source *source, unsigned dir,
                   const char *name, struct vd_err *err)
{
    VD_AUTO(free) char *copy = NULL;
    struct vd_err why = VD_ERR_INIT;
    struct image *image = NULL;
    int rc = image_identify(source, dir, name, &image, &why);

    index->n_files++;
    if (rc == -VD_ENOMEM) {
        if (err)
            *err = why;
        return rc;
    }
    if (rc == -VD_ENOTFORMAT)
        return 0;
    if (rc) {
        if (++index->n_failed <= CHAIN_INDEX_TOLD)
            vd_str_addf(&index->failed, "%s%s", index->failed.len ? "; " : "", why.msg);
        return 0;
    }
    blk_unref(image->dev); /* an open file per entry would be too many */
    image->dev = NULL;
    vd_facts_clear(&image->facts);
    copy = strdup(name);
    rc = copy ? add_image(index, image, copy, err) : vd_fail(err, VD_ENOMEM, "out of memory");
    if (rc)
        image_free(image);
    else
        (void)vd_take(&copy);
    return rc;
}

static int look_at_dir(struct chain_index *index, const struct blk_source *source, unsigned dir,
                       struct vd_err *err)
{
    struct names names = {0};
    size_t i;
    int rc = source->list(source->ctx, dir, add_name, &names, err);

    if (rc == 0 && names.failed)
        rc = vd_fail(err, VD_ENOMEM, "out of memory");
    if (rc == 0 && names.n > VD_MAX_DIR_NAMES - index->n_files)
        rc = vd_fail(err, VD_ELIMIT, "the evidence directories have more than %d files",
                     VD_MAX_DIR_NAMES);
    for (i = 0; i < names.n && rc == 0; i++)
        rc = look_at(index, source, dir, names.v[i], err);
    names_clear(&names);
    return rc;
}

int chain_index_build(struct chain_index *index, const struct blk_source *source,
                      struct vd_err *err)
{
    unsigned dir;
    int rc = 0;

    if (index->built)
        return 0;
    for (dir = 0; dir < source->n_dirs && rc == 0; dir++)
        rc = look_at_dir(index, source, dir, err);
    if (rc)
        chain_index_clear(index);
    else
        index->built = true;
    return rc;
}

void chain_index_clear(struct chain_index *index)
{
    size_t i;

    for (i = 0; i < index->n; i++) {
        image_free(index->v[i]);
        free(index->file_name[i]);
    }
    free(index->v);
    free(index->file_name);
    vd_str_clear(&index->failed);
    *index = (struct chain_index){0};
}

bool chain_same_file(const struct image *a, const struct image *b)
{
    if ((a->file.dev || a->file.ino) && (b->file.dev || b->file.ino))
        return a->file.dev == b->file.dev && a->file.ino == b->file.ino;
    return a->dir == b->dir && strcmp(a->name, b->name) == 0;
}

bool chain_identity_fits(const struct image *child, const struct image *parent)
{
    size_t i;

    for (i = 0; i < 2; i++)
        if (child->parent_identity[i][0] &&
            strcmp(child->parent_identity[i], parent->identity) == 0)
            return true;
    return false;
}
