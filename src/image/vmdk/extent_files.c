/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding the files of extent lines: by bare name only, in the image's directory and then the others.
 * A name is tried as its bytes stand in the descriptor, then in UTF-8.
 *
 * Examiners rename sets: "server.vmdk" with "server-s001.vmdk" … becomes "exhibit7.vmdk" with
 * "exhibit7-s001.vmdk" ….  That is followed only if every extent has a name as VMware's products make
 * them from one stem, no file of the set is left under its old name, and each new one has exactly the
 * size that the descriptor says.  Works while an image is opened; one thread.
 */
#include "image/vmdk/extent_files.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "image/vmdk/esx.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- names ---- */

struct used_name {
    const char *bare, *path;
};

static int compare_names(const void *a, const void *b)
{
    const struct used_name *x = a, *y = b;
    int c = strcmp(x->bare, y->bare);

    return c ? c : strcmp(x->path, y->path);
}

/* Two paths that end in one bare name were two files in their own place: beside each other only
 * one of them can exist, and the other's bytes would be wrong. */
static int check_names(const struct vmdk_descriptor *d, struct vd_err *err)
{
    VD_AUTO(free) struct used_name *v = calloc(d->n_extents, sizeof(*v));
    size_t i, n = 0;

    if (!v)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    for (i = 0; i < d->n_extents; i++)
        if (d->extents[i].path)
            v[n++] = (struct used_name){vmdk_bare_name(d->extents[i].path, d->encoding),
                                        d->extents[i].path};
    if (n)
        qsort(v, n, sizeof(*v), compare_names);
    for (i = 1; i < n; i++)
        if (strcmp(v[i - 1].bare, v[i].bare) == 0 && strcmp(v[i - 1].path, v[i].path) != 0)
            return vd_fail(err, VD_EUNSUPPORTED,
                           "descriptor: \"%s\" and \"%s\" are different files with one bare name",
                           v[i - 1].path, v[i].path);
    return 0;
}

/* Length of the name without ".vmdk"; 0: it has another ending. */
static size_t without_vmdk(const char *name)
{
    size_t n = strlen(name);

    return n > 5 && strcasecmp(name + n - 5, ".vmdk") == 0 ? n - 5 : 0;
}

static bool ends_with(const char *name, size_t len, const char *word)
{
    size_t n = strlen(word);

    return len > n && strncasecmp(name + len - n, word, n) == 0;
}

/* Length of the stem of an extent's name as VMware makes it: "STEM-s001.vmdk", "STEM-f001.vmdk",
 * "STEM-flat.vmdk", "STEM-delta.vmdk", "STEM-sesparse.vmdk".  0: another name. */
static size_t stem_of(const char *name)
{
    static const char *const words[] = {"-flat", "-delta", "-sesparse"};
    size_t len = without_vmdk(name), n = len, i;

    for (i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (ends_with(name, len, words[i]))
            return len - strlen(words[i]);
    while (n && isdigit((unsigned char)name[n - 1]))
        n--;
    if (len - n < 3 || n < 3 || name[n - 2] != '-')
        return 0;
    return name[n - 1] == 's' || name[n - 1] == 'f' ? n - 2 : 0;
}

/* ---- opening ---- */

static int open_in_dirs(const struct vmdk_extents_in *in, const char *name, struct blkdev **out,
                        struct vd_err *err)
{
    unsigned i;
    int rc = in->source->open(in->source->ctx, in->dir, name, out, err);

    for (i = 0; i < in->source->n_dirs && rc == -VD_ENOENT; i++)
        if (i != in->dir)
            rc = in->source->open(in->source->ctx, i, name, out, err);
    return rc;
}

/* Opens the file under one name; the file that holds the descriptor is open already. */
static int open_name(const struct vmdk_extents_in *in, const char *name, struct blkdev **out,
                     struct vd_err *err)
{
    if (!blk_source_name_ok(name))
        return vd_fail(err, VD_EREFUSED, "\"%s\" names no file", name);
    if (in->file && strcmp(name, in->name) == 0) {
        *out = blk_ref(in->file);
        return 0;
    }
    return open_in_dirs(in, name, out, err);
}

/* As the descriptor has it: its bytes, then in UTF-8.  *out_name is the one that was found. */
static int open_as_written(const struct vmdk_extents_in *in, const struct vmdk_extent_line *line,
                           const char **out_name, struct blkdev **out, struct vd_err *err)
{
    int rc;

    *out_name = vmdk_bare_name(line->path, in->descriptor->encoding);
    if (!blk_source_name_ok(*out_name))
        return vd_fail(err, VD_EREFUSED, "\"%s\" names no file", line->path);
    rc = open_name(in, *out_name, out, err);
    if (rc == -VD_ENOENT && line->path_utf8) {
        *out_name = vmdk_bare_name(line->path_utf8, "");
        rc = open_name(in, *out_name, out, err);
    }
    return rc;
}

/* ---- renamed sets ---- */

/* Do all lines have names of one stem, and is no file left under its old name? */
static bool set_is_gone(const struct vmdk_extents_in *in, size_t *out_stem_len)
{
    const struct vmdk_descriptor *d = in->descriptor;
    const char *first = NULL;
    size_t i;

    for (i = 0; i < d->n_extents; i++) {
        const struct vmdk_extent_line *line = &d->extents[i];
        const char *bare = line->path ? vmdk_bare_name(line->path, d->encoding) : NULL;
        struct blkdev *file = NULL;

        if (!bare)
            continue;
        if (!first) {
            first = bare;
            *out_stem_len = stem_of(bare);
        }
        if (!*out_stem_len || stem_of(bare) != *out_stem_len ||
            strncmp(bare, first, *out_stem_len) != 0 || vmdk_is_device_path(line->path) ||
            open_as_written(in, line, &bare, &file, NULL) != -VD_ENOENT) {
            blk_unref(file);
            return false;
        }
    }
    return first && (strncmp(first, in->name, *out_stem_len) != 0 ||
                     without_vmdk(in->name) != *out_stem_len);
}

int vmdk_extent_files_init(const struct vmdk_extents_in *in, struct vmdk_extent_files *out,
                           struct vd_err *err)
{
    struct vmdk_extent_files files = {.in = in};
    size_t stem = without_vmdk(in->name);
    int rc = check_names(in->descriptor, err);

    if (rc)
        return rc;
    if (stem && !in->file && set_is_gone(in, &files.old_len)) {
        files.renamed = strndup(in->name, stem);
        if (!files.renamed)
            return vd_fail(err, VD_ENOMEM, "out of memory");
    }
    *out = files;
    return 0;
}

void vmdk_extent_files_clear(struct vmdk_extent_files *files)
{
    free(files->renamed);
    *files = (struct vmdk_extent_files){0};
}

static int open_renamed(const struct vmdk_extent_files *files, const struct vmdk_extent_line *line,
                        struct blkdev **out, struct vd_err *err)
{
    const char *old = vmdk_bare_name(line->path, files->in->descriptor->encoding);
    VD_AUTO(free) char *name = NULL;
    struct vd_str text = VD_STR_INIT;
    int rc;

    vd_str_add(&text, files->renamed);
    vd_str_add(&text, old + files->old_len);
    name = vd_str_take(&text);
    if (!name)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    rc = open_name(files->in, name, out, err);
    if (rc == -VD_ENOENT)
        return vd_fail(err, VD_ECHAIN,
                       "the extent file \"%s\" is missing, and so is \"%s\" (the descriptor was "
                       "renamed, but not its extents)",
                       old, name);
    if (rc == 0)
        vd_fact_add(
            files->in->facts, VD_FACT_WARNING, "extent_renamed",
            "the descriptor names \"%s\"; no file of that set is here, \"%s\" (named as the "
            "descriptor is now) is used",
            line->path, name);
    return rc;
}

int vmdk_extent_files_open(const struct vmdk_extent_files *files,
                           const struct vmdk_extent_line *line, struct blkdev **out,
                           struct vd_err *err)
{
    const struct vmdk_extents_in *in = files->in;
    const char *name;
    int rc;

    if (vmdk_is_device_path(line->path))
        return vd_fail(
            err, VD_EREFUSED,
            "\"%s\" is a device of the machine that used the disk: its content is not in "
            "the evidence, and no device is ever opened",
            line->path);
    if (files->renamed)
        return open_renamed(files, line, out, err);
    rc = open_as_written(in, line, &name, out, err);
    if (rc == -VD_ENOENT) {
        name = vmdk_bare_name(line->path, in->descriptor->encoding);
        return vd_fail(err, VD_ECHAIN, "the extent file \"%s\" is missing%s%s%s", name,
                       strcmp(name, line->path) ? " (the descriptor says \"" : "",
                       strcmp(name, line->path) ? line->path : "",
                       strcmp(name, line->path) ? "\")" : "");
    }
    if (rc == 0 && strcmp(name, line->path) != 0)
        vd_fact_add(in->facts, VD_FACT_INFO, "extent_path",
                    "the descriptor names \"%s\"; \"%s\" beside the image is used", line->path,
                    name);
    return rc;
}
