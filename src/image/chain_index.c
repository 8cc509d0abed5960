/* SPDX-License-Identifier: Apache-2.0 */
/* The index of image files in the evidence directories; see chain_index.h.  Not thread-safe: lives
 * inside one call of chain_open. */
#include "image/chain_index.h"

#include "base/cleanup.h"
#include "base/limits.h"
#include "image/vm_files.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

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

static bool is_vm_text(const char *name)
{
    const char *dot = strrchr(name, '.');

    return dot && (strcasecmp(dot, ".vmsd") == 0 || strcasecmp(dot, ".vmx") == 0);
}

/* Whether it is one is seen when it is read. */
static int note_vm_text(struct chain_index *index, unsigned dir, const char *name,
                        struct vd_err *err)
{
    if (index->n_text == VM_MAX_FILES) {
        index->n_text_left_out++;
        return 0;
    }
    if (!index->text)
        index->text = calloc(VM_MAX_FILES, sizeof(*index->text));
    if (!index->text)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    index->text[index->n_text] = (struct chain_text_file){dir, strdup(name)};
    if (!index->text[index->n_text].name)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    index->n_text++;
    return 0;
}

/* ---- looking up ---- */

static int compare_keys(const void *a, const void *b)
{
    const struct chain_key *x = a, *y = b;
    int order = strcmp(x->text, y->text);

    return order ? order : (x->at > y->at) - (x->at < y->at);
}

static void keys_add(struct chain_keys *keys, const char *text, size_t at)
{
    if (text[0])
        keys->v[keys->n++] = (struct chain_key){text, at};
}

static bool keys_alloc(struct chain_keys *keys, size_t n)
{
    keys->v = calloc(n + 1, sizeof(*keys->v));
    return keys->v != NULL;
}

size_t chain_keys_find(const struct chain_keys *keys, const char *text)
{
    size_t low = 0, high = keys->n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (strcmp(keys->v[middle].text, text) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < keys->n && strcmp(keys->v[low].text, text) == 0 ? low : keys->n;
}

/* ---- images that are open already ---- */

/* The members so far, by name: their identity need not be read again. */
struct known {
    struct image *const *v;
    struct chain_keys by_name;
};

static int known_init(struct known *known, struct image *const *v, size_t n, struct vd_err *err)
{
    size_t i;

    *known = (struct known){.v = v};
    if (!keys_alloc(&known->by_name, n))
        return vd_fail(err, VD_ENOMEM, "out of memory");
    for (i = 0; i < n; i++)
        keys_add(&known->by_name, v[i]->name, i);
    qsort(known->by_name.v, known->by_name.n, sizeof(struct chain_key), compare_keys);
    return 0;
}

/* The open image of this name, or NULL.  image->name is printable: a name with a backslash could be
 * another's escaped form and is looked at in the ordinary way. */
static const struct image *known_find(const struct known *known, unsigned dir, const char *name)
{
    size_t i = strchr(name, '\\') ? known->by_name.n : chain_keys_find(&known->by_name, name);

    for (; i < known->by_name.n && strcmp(known->by_name.v[i].text, name) == 0; i++)
        if (known->v[known->by_name.v[i].at]->dir == dir)
            return known->v[known->by_name.v[i].at];
    return NULL;
}

/* What the index needs of it. */
static int copy_identity(const struct image *image, struct image **out, struct vd_err *err)
{
    struct image *copy = malloc(sizeof(*copy));
    bool ok = copy != NULL;
    unsigned i;

    if (!copy)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    *copy = *image;
    copy->dev = copy->file_dev = NULL;
    copy->facts = (struct vd_facts)VD_FACTS_INIT;
    copy->parent_path = NULL;
    copy->name = strdup(image->name);
    ok = copy->name != NULL;
    copy->n_parent_hints = 0;
    for (i = 0; i < image->n_parent_hints && ok; i++) {
        copy->parent_hint[i] = strdup(image->parent_hint[i]);
        ok = copy->parent_hint[i] != NULL;
        copy->n_parent_hints += ok;
    }
    if (!ok) {
        image_free(copy);
        return vd_fail(err, VD_ENOMEM, "out of memory");
    }
    *out = copy;
    return 0;
}

/* ---- looking at the files ---- */

static int look_at(struct chain_index *index, const struct blk_source *source,
                   const struct known *known, unsigned dir, const char *name, struct vd_err *err)
{
    const struct image *open = known_find(known, dir, name);
    VD_AUTO(free) char *copy = NULL;
    struct vd_err why = VD_ERR_INIT;
    struct image *image = NULL;
    int rc =
        open ? copy_identity(open, &image, &why) : image_identify(source, dir, name, &image, &why);

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
    blk_unref(image->file_dev);
    image->dev = image->file_dev = NULL;
    vd_facts_clear(&image->facts);
    copy = strdup(name);
    rc = copy ? add_image(index, image, copy, err) : vd_fail(err, VD_ENOMEM, "out of memory");
    if (rc)
        image_free(image);
    else
        (void)vd_take(&copy);
    return rc;
}

static int look_at_dir(struct chain_index *index, const struct blk_source *source,
                       const struct known *known, unsigned dir, struct vd_err *err)
{
    struct names names = {0};
    size_t i;
    int rc = source->list(source->ctx, dir, add_name, &names, err);

    if (rc == 0 && names.failed)
        rc = vd_fail(err, VD_ENOMEM, "out of memory");
    if (rc == 0 && names.n > VD_MAX_DIR_NAMES - index->n_files)
        rc = vd_fail(err, VD_ELIMIT, "the evidence directories have more than %d files",
                     VD_MAX_DIR_NAMES);
    for (i = 0; i < names.n && rc == 0; i++) {
        if (is_vm_text(names.v[i]))
            rc = note_vm_text(index, dir, names.v[i], err);
        if (rc == 0)
            rc = look_at(index, source, known, dir, names.v[i], err);
    }
    names_clear(&names);
    return rc;
}

static bool has_inode(const struct image *image)
{
    return image->file.dev || image->file.ino;
}

/* By device and inode; files without are all different and come first. */
static int compare_files(const struct image *a, const struct image *b)
{
    if (a->file.dev != b->file.dev)
        return a->file.dev < b->file.dev ? -1 : 1;
    return (a->file.ino > b->file.ino) - (a->file.ino < b->file.ino);
}

struct file_row {
    const struct image *image;
    size_t at;
};

static int compare_rows(const void *a, const void *b)
{
    const struct file_row *x = a, *y = b;
    int order = compare_files(x->image, y->image);

    return order ? order : (x->at > y->at) - (x->at < y->at);
}

/* Hard links of one file become one. */
static int find_same(struct chain_index *index, struct vd_err *err)
{
    VD_AUTO(free) struct file_row *rows = calloc(index->n + 1, sizeof(*rows));
    size_t i;

    if (!rows)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    for (i = 0; i < index->n; i++)
        rows[i] = (struct file_row){index->v[i], i};
    qsort(rows, index->n, sizeof(*rows), compare_rows);
    for (i = 0; i < index->n; i++) {
        size_t at = rows[i].at;

        index->by_file[i] = at;
        index->same[at] =
            i && has_inode(rows[i].image) && compare_files(rows[i - 1].image, rows[i].image) == 0
                ? index->same[rows[i - 1].at]
                : at;
    }
    return 0;
}

size_t chain_index_entry_of(const struct chain_index *index, const struct image *image)
{
    size_t low = 0, high = index->n, i;

    if (!has_inode(image)) {
        for (i = 0; i < index->n; i++)
            if (chain_same_file(index->v[i], image))
                return i;
        return CHAIN_NONE;
    }
    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (compare_files(index->v[index->by_file[middle]], image) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < index->n && compare_files(index->v[index->by_file[low]], image) == 0
               ? index->same[index->by_file[low]]
               : CHAIN_NONE;
}

/* The file that `name` means for `child`: its own directory first, then the others in order. */
static size_t named_parent(const struct chain_index *index, size_t child, const char *name)
{
    size_t found = CHAIN_NONE, i;

    for (i = chain_keys_find(&index->by_name, name);
         i < index->by_name.n && strcmp(index->by_name.v[i].text, name) == 0; i++) {
        size_t at = index->by_name.v[i].at;

        if (!chain_identity_fits(index->v[child], index->v[at]) ||
            index->same[at] == index->same[child])
            continue;
        if (index->v[at]->dir == index->v[child]->dir)
            return index->same[at];
        if (found == CHAIN_NONE)
            found = index->same[at];
    }
    return found;
}

static void link_parents(struct chain_index *index)
{
    size_t i;
    unsigned k;

    for (i = 0; i < index->n; i++) {
        const struct image *child = index->v[i];

        index->parent[i] = CHAIN_NONE;
        for (k = 0; k < child->n_parent_hints && index->parent[i] == CHAIN_NONE; k++)
            index->parent[i] = named_parent(index, i, child->parent_hint[k]);
    }
}

static int sort_out(struct chain_index *index, struct vd_err *err)
{
    size_t i;
    int rc;

    index->same = calloc(index->n + 1, sizeof(*index->same));
    index->by_file = calloc(index->n + 1, sizeof(*index->by_file));
    index->parent = calloc(index->n + 1, sizeof(*index->parent));
    index->member = calloc(index->n + 1, sizeof(*index->member));
    if (!index->member || !index->same || !index->by_file || !index->parent ||
        !keys_alloc(&index->by_identity, index->n) || !keys_alloc(&index->by_name, index->n) ||
        !keys_alloc(&index->by_parent, 2 * index->n))
        return vd_fail(err, VD_ENOMEM, "out of memory");
    rc = find_same(index, err);
    if (rc)
        return rc;
    for (i = 0; i < index->n; i++) {
        const struct image *image = index->v[i];

        keys_add(&index->by_name, index->file_name[i], i);
        keys_add(&index->by_identity, image->identity, i);
        if (image->has_parent) {
            keys_add(&index->by_parent, image->parent_identity[0], i);
            if (strcmp(image->parent_identity[0], image->parent_identity[1]) != 0)
                keys_add(&index->by_parent, image->parent_identity[1], i);
        }
    }
    qsort(index->by_name.v, index->by_name.n, sizeof(struct chain_key), compare_keys);
    qsort(index->by_identity.v, index->by_identity.n, sizeof(struct chain_key), compare_keys);
    qsort(index->by_parent.v, index->by_parent.n, sizeof(struct chain_key), compare_keys);
    link_parents(index);
    return 0;
}

int chain_index_build(struct chain_index *index, const struct blk_source *source,
                      struct image *const *known_v, size_t n, struct vd_err *err)
{
    struct known known;
    unsigned dir;
    int rc;

    if (index->built)
        return 0;
    rc = known_init(&known, known_v, n, err);
    for (dir = 0; dir < source->n_dirs && rc == 0; dir++)
        rc = look_at_dir(index, source, &known, dir, err);
    free(known.by_name.v);
    if (rc == 0)
        rc = sort_out(index, err);
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
    for (i = 0; i < index->n_text; i++)
        free(index->text[i].name);
    free(index->v);
    free(index->file_name);
    free(index->text);
    free(index->by_identity.v);
    free(index->by_name.v);
    free(index->by_parent.v);
    free(index->same);
    free(index->by_file);
    free(index->parent);
    free(index->member);
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
