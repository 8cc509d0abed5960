/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories: looking up display names and listing them.
 *
 * The directory listing (listing.h) says what names there are.  Looking a name up agrees with it
 * without building it, nearly always:
 *   - a name that the escape can write is asked for below under its raw form.  If it is there, its
 *     first entry has that display name, because such names go first in a listing;
 *   - a name that the escape never writes ("%41"), and one that is not below, can only be one that
 *     the listing made, and those end in ~DIGITS: only then is the listing built.
 * Alternate data streams are not listed; "NAME:STREAM" finds them.  Any thread; may block.
 */
#include "tree/names.h"
#include "tree/tree_private.h"

#include "base/cleanup.h"
#include "base/limits.h"

#include <stdio.h>
#include <string.h>

/* ---- synthetic directories ---- */

struct child {
    const char *name; /* borrowed, or text */
    char text[TREE_GAP_NAME_MAX];
    uint64_t node;
    mode_t type;
};

static bool set_child(struct child *out, const char *name, uint64_t node, mode_t type)
{
    out->name = name;
    out->node = node;
    out->type = type;
    return true;
}

/* Children of the root and of snapshots/NN_…/. */
static bool point_child(const struct tree *tree, const struct place *dir, size_t i,
                        struct child *out)
{
    const struct vd_point *p = dir->point->p;
    unsigned view = dir->id.view;

    if (i == 0)
        return set_child(out, "disk.img", node_synthetic(view, NODE_IMAGE), S_IFREG);
    if (i == 1)
        return set_child(out, "info.txt", node_synthetic(view, NODE_INFO_TEXT), S_IFREG);
    if (i == 2)
        return set_child(out, "info.json", node_synthetic(view, NODE_INFO_JSON), S_IFREG);
    i -= 3;
    if (i < p->n) {
        (void)snprintf(out->text, sizeof(out->text), "p%u", p->v[i].part.number);
        return set_child(out, out->text, node_synthetic(tree_volume_view(dir, i), NODE_DIR),
                         S_IFDIR);
    }
    i -= p->n;
    if (i == 0 && p->table.n_gaps)
        return set_child(out, "gaps", node_synthetic(view, NODE_GAPS), S_IFDIR);
    i += !p->table.n_gaps;
    if (i == 1 && view == 0 && tree->snapshots.n)
        return set_child(out, "snapshots", node_synthetic(0, NODE_SNAPSHOTS), S_IFDIR);
    return false;
}

static bool volume_child(const struct place *dir, size_t i, struct child *out)
{
    unsigned view = dir->id.view;

    if (i == 0)
        return set_child(out, "info.txt", node_synthetic(view, NODE_INFO_TEXT), S_IFREG);
    i += !dir->volume->dev; /* a volume that could not be opened at all: see its info.txt */
    if (i == 1)
        return set_child(out, "volume.img", node_synthetic(view, NODE_IMAGE), S_IFREG);
    if (i == 2 && dir->fs)
        return set_child(out, "fs", node_object(view, fs_get_info(dir->fs)->root_addr, 0), S_IFDIR);
    return false;
}

static bool gap_child(const struct place *dir, size_t i, struct child *out)
{
    if (i >= dir->point->p->table.n_gaps)
        return false;
    tree_gap_name(dir->point->p, i, out->text);
    return set_child(out, out->text, node_gap(dir->id.view, i), S_IFREG);
}

/* The older points, base first, then by-name/. */
static bool snapshot_child(const struct tree *tree, size_t i, struct child *out)
{
    const struct snapshot_names *s = &tree->snapshots;

    if (i < s->n)
        return set_child(out, s->v[i].dir, node_synthetic(tree_point_view(i), NODE_DIR), S_IFDIR);
    if (i == s->n && s->n_links)
        return set_child(out, "by-name", node_synthetic(0, NODE_BY_NAME), S_IFDIR);
    return false;
}

/* Link number i; those without a name are left out. */
static bool name_child(const struct tree *tree, size_t i, struct child *out)
{
    const struct snapshot_names *s = &tree->snapshots;
    size_t k;

    for (k = 0; k < s->n; k++)
        if (s->v[k].link && i-- == 0)
            return set_child(out, s->v[k].link, node_synthetic(tree_point_view(k), NODE_NAME_LINK),
                             S_IFLNK);
    return false;
}

/* Child number i of a synthetic directory whose point is open; false when there are no more. */
static bool synthetic_child(const struct tree *tree, const struct place *dir, uint64_t i,
                            struct child *out)
{
    if (i > SIZE_MAX)
        return false;
    if (dir->volume)
        return volume_child(dir, (size_t)i, out);
    switch ((enum node_synthetic)dir->id.payload) {
    case NODE_DIR:
        return point_child(tree, dir, (size_t)i, out);
    case NODE_GAPS:
        return gap_child(dir, (size_t)i, out);
    case NODE_SNAPSHOTS:
        return snapshot_child(tree, (size_t)i, out);
    case NODE_BY_NAME:
        return name_child(tree, (size_t)i, out);
    case NODE_IMAGE:
    case NODE_INFO_TEXT:
    case NODE_INFO_JSON:
    case NODE_NAME_LINK:
        break;
    }
    return false;
}

static int lookup_synthetic(struct tree *tree, struct place *dir, const char *name,
                            uint64_t *out_node, struct vd_err *err)
{
    struct child child;
    uint64_t i;
    int rc = tree_enter(tree, dir, err);

    if (rc)
        return rc;
    for (i = 0; synthetic_child(tree, dir, i, &child); i++)
        if (strcmp(child.name, name) == 0) {
            *out_node = child.node;
            return 0;
        }
    return vd_fail(err, VD_ENOENT, "no such name");
}

static int read_synthetic(struct tree *tree, struct place *dir, uint64_t cookie, tree_entry_fn *fn,
                          void *ctx, struct vd_err *err)
{
    struct child child;
    int rc = tree_enter(tree, dir, err);

    if (rc)
        return rc;
    for (; synthetic_child(tree, dir, cookie, &child); cookie++)
        if (fn(ctx, child.name, child.node, child.type, cookie + 1))
            break;
    return 0;
}

/* ---- directories of a file system ---- */

/* Finds a name that the listing made; VD_ENOENT when there is none. */
static int lookup_listed(struct tree *tree, const struct place *dir, const char *name,
                         uint64_t *out_node, struct vd_err *err)
{
    const struct listing *listing;
    const struct listing_entry *entry;
    int rc = listing_get(tree->listings, dir->fs, dir->id.view, dir->id.addr, false, &listing, err);

    if (rc)
        return rc;
    entry = listing_find(listing, name);
    if (entry) {
        *out_node = entry->node;
    } else if (listing->rc) { /* it may be among the entries that could not be read */
        rc = listing->rc;
        if (err)
            *err = listing->err;
    } else {
        rc = vd_fail(err, VD_ENOENT, "no such name");
    }
    listing_put(tree->listings, listing);
    return rc;
}

struct stream_search {
    const char *name; /* display form */
    struct vd_str text;
    uint16_t found;
    bool failed;
};

static int match_stream(void *ctx, const struct fs_stream *stream)
{
    struct stream_search *s = ctx;

    s->text.len = 0;
    names_escape_part(&s->text, stream->name, strlen(stream->name));
    s->failed = s->text.failed;
    if (!s->failed && s->text.len == strlen(s->name) &&
        memcmp(s->text.p ? s->text.p : "", s->name, s->text.len) == 0)
        s->found = stream->stream;
    return s->found || s->failed;
}

/* "FILE~ADDRESS:STREAM": the stream of a file whose name the listing made. */
static int lookup_listed_stream(struct tree *tree, const struct place *dir, const char *name,
                                size_t file_len, uint64_t *out_node, struct vd_err *err)
{
    struct stream_search s = {.name = name + file_len + 1};
    char file[VD_MAX_NAME + 1];
    struct node node;
    uint64_t number = 0;
    int rc;

    memcpy(file, name, file_len);
    file[file_len] = '\0';
    rc = lookup_listed(tree, dir, file, &number, err);
    if (rc)
        return rc;
    if (!node_decode(number, &node) || node.kind != NODE_OBJECT)
        return vd_fail(err, VD_ENOENT, "no such name");
    rc = fs_streams(dir->fs, node.addr, match_stream, &s, err);
    vd_str_clear(&s.text);
    if (s.failed)
        return vd_fail(err, VD_ENOMEM, "no memory for a stream name");
    if (rc)
        return rc;
    if (!s.found)
        return vd_fail(err, VD_ENOENT, "no such stream");
    *out_node = node_object(dir->id.view, node.addr, s.found);
    return 0;
}

/* An entry that is really called "", "." or "..": asked for under that name, a file system might
 * answer with the directory itself. */
static bool is_odd_name(const char *raw, size_t len)
{
    return len == 0 || (raw[0] == '.' && (len == 1 || (len == 2 && raw[1] == '.')));
}

static int lookup_object(struct tree *tree, const struct place *dir, const char *name,
                         uint64_t *out_node, struct vd_err *err)
{
    char raw[VD_MAX_NAME + 1];
    struct fs_entry entry = {0};
    const char *colon;
    size_t len;
    bool plain = names_unescape(name, raw, &len);
    int rc = -VD_ENOENT;

    if (plain && is_odd_name(raw, len))
        return lookup_listed(tree, dir, name, out_node, err);
    if (plain && !memchr(raw, '\0', len)) { /* no directory holds a name with a NUL (fs.h) */
        raw[len] = '\0';
        rc = fs_lookup(dir->fs, dir->id.addr, raw, len, &entry, err);
        if (!rc) {
            *out_node = node_object(dir->id.view, entry.addr, entry.stream);
            return 0;
        }
    }
    if (rc == -VD_ENOENT && names_has_suffix(name, strlen(name)))
        rc = lookup_listed(tree, dir, name, out_node, err);
    for (colon = strchr(name, ':'); rc == -VD_ENOENT && colon && tree_is_ntfs(dir);
         colon = strchr(colon + 1, ':'))
        if (names_has_suffix(name, (size_t)(colon - name)))
            rc = lookup_listed_stream(tree, dir, name, (size_t)(colon - name), out_node, err);
    if (rc == -VD_ENOENT)
        return vd_fail(err, VD_ENOENT, "no such name");
    return rc;
}

int tree_lookup(struct tree *tree, uint64_t parent, const char *name, uint64_t *out_node,
                struct vd_err *err)
{
    VD_AUTO(place) struct place dir;
    VD_AUTO(place) struct place found = {0};
    uint64_t node = 0;
    int rc = tree_find(tree, parent, &dir, err);

    if (rc)
        return rc;
    if (strlen(name) > VD_MAX_NAME)
        return vd_fail(err, VD_ENOENT, "no such name: longer than %d bytes", VD_MAX_NAME);
    if (dir.what == PLACE_DIR)
        rc = lookup_synthetic(tree, &dir, name, &node, err);
    else if (dir.what == PLACE_OBJECT)
        rc = lookup_object(tree, &dir, name, &node, err);
    else
        return vd_fail(err, VD_ENOENT, "not a directory");
    if (!rc)
        rc = tree_find(tree, node, &found, err); /* says why an address cannot be used */
    if (!rc)
        *out_node = node;
    return rc;
}

static int read_object(struct tree *tree, const struct place *dir, uint64_t cookie,
                       tree_entry_fn *fn, void *ctx, struct vd_err *err)
{
    const struct listing *listing;
    size_t i = (size_t)cookie;
    int rc = listing_get(tree->listings, dir->fs, dir->id.view, dir->id.addr, cookie == 0, &listing,
                         err);

    if (rc)
        return rc;
    /* An incomplete listing ends in its error, in a call of its own: the entries of this call
     * reach the reader first. */
    if (cookie >= listing->n && listing->rc) {
        rc = listing->rc;
        if (err)
            *err = listing->err;
    }
    for (; i < listing->n; i++) {
        const struct listing_entry *e = &listing->v[i];

        if (fn(ctx, listing_name(listing, e), e->node, tree_type_bits((enum fs_kind)e->kind),
               i + 1))
            break;
    }
    listing_put(tree->listings, listing);
    return rc;
}

int tree_readdir(struct tree *tree, uint64_t node, uint64_t cookie, tree_entry_fn *fn, void *ctx,
                 struct vd_err *err)
{
    VD_AUTO(place) struct place dir;
    int rc = tree_find(tree, node, &dir, err);

    if (rc)
        return rc;
    if (dir.what == PLACE_OBJECT)
        return read_object(tree, &dir, cookie, fn, ctx, err);
    if (dir.what == PLACE_DIR)
        return read_synthetic(tree, &dir, cookie, fn, ctx, err);
    return vd_fail(err, VD_EREFUSED, "not a directory");
}
