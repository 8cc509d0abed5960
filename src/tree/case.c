/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening a case: chain, disk, partition table, and the file system of every volume.
 *
 * The chain is verified by chain_open before anything is looked at.  From there on only a disk that
 * cannot be read is an error: a volume that cannot be opened, for whatever reason, is kept with
 * that reason in words, because what cannot be shown must not be hidden.  Runs in one thread.
 */
#include "tree/case_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* File systems that libblkid and our readers name differently, by their common word. */
static const char *family(const char *type)
{
    static const struct {
        const char *prefix, *family;
    } table[] = {{"vfat", "fat"}, {"fat", "fat"},        {"msdos", "fat"}, {"ext", "ext"},
                 {"jbd", "ext"},  {"hfsplus", "hfs+"},   {"hfs+", "hfs+"}, {"hfsx", "hfs+"},
                 {"ufs", "ufs"},  {"iso9660", "iso9660"}};
    size_t i;

    for (i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (strncasecmp(type, table[i].prefix, strlen(table[i].prefix)) == 0)
            return table[i].family;
    return type;
}

bool case_types_agree(const char *recognised, const char *read)
{
    return strcasecmp(family(recognised), family(read)) == 0;
}

static int no_file_system(struct case_volume *v, const struct vd_err *why)
{
    const struct volume_content *content = &v->content;

    if (why->cls != VD_ENOTFORMAT) {
        v->fs_err = *why;
        return 0;
    }
    if (content->type[0])
        (void)vd_fail(&v->fs_err, VD_EUNSUPPORTED, "%s: no reader in this version", content->type);
    else
        (void)vd_fail(&v->fs_err, VD_ENOTFORMAT,
                      "no file system, encryption or container was recognised");
    return 0;
}

/* Opens the file system, or says why there is none.  An error only when memory ran out. */
static int open_fs(struct case_volume *v, const char *label, struct vd_err *err)
{
    const struct volume_content *content = &v->content;
    struct vd_err why = VD_ERR_INIT;
    struct fs *fs = NULL;
    int rc;

    if (content->encrypted) {
        (void)vd_fail(&v->fs_err, VD_EKEY, "%s volume: locked; unlocking is not in this version",
                      content->type);
        return 0;
    }
    if (content->container) {
        (void)vd_fail(&v->fs_err, VD_EUNSUPPORTED,
                      "%s: part of a larger volume; putting it together is not in this version",
                      content->type);
        return 0;
    }
    rc = fs_open(v->dev, label, &fs, &why);
    if (rc == -VD_ENOMEM) {
        if (err)
            *err = why;
        return rc;
    }
    if (rc)
        return no_file_system(v, &why);
    /* The remains of an older file system often survive below a newer one that has no reader. */
    if (content->type[0] && !content->ambiguous &&
        !case_types_agree(content->type, fs_get_info(fs)->type)) {
        (void)vd_fail(&v->fs_err, VD_EUNSUPPORTED,
                      "recognised as %s, for which there is no reader in this version; remains of "
                      "%s in it are not shown",
                      content->type, fs_get_info(fs)->type);
        fs_free(fs);
        return 0;
    }
    v->fs = fs;
    return 0;
}

static int open_volume(struct vd_case *c, size_t i, struct vd_err *err)
{
    struct case_volume *v = &c->v[i];
    char label[16];
    int rc;

    v->part = c->table.v[i];
    (void)snprintf(label, sizeof(label), "p%u", v->part.number);
    rc = volume_slice(c->disk, &v->part, &v->dev, &v->fs_err);
    if (!rc)
        rc = volume_recognise(v->dev, &v->content, &v->fs_err);
    if (rc == -VD_ENOMEM) {
        if (err)
            *err = v->fs_err;
        return vd_prefix(err, rc, "%s", label);
    }
    return rc ? 0 : open_fs(v, label, err);
}

static int open_volumes(struct vd_case *c, struct vd_err *err)
{
    size_t i;
    int rc = volume_scan(c->disk, &c->table, err);

    if (rc || !c->table.n)
        return rc;
    c->v = calloc(c->table.n, sizeof(*c->v));
    if (!c->v)
        return vd_fail(err, VD_ENOMEM, "no memory for the volumes");
    c->n = c->table.n;
    for (i = 0; i < c->n && !rc; i++)
        rc = open_volume(c, i, err);
    return rc;
}

int case_open(const struct blk_source *source, const char *name, const struct case_options *options,
              struct vd_case **out, struct vd_err *err)
{
    struct vd_case *c = calloc(1, sizeof(*c));
    int rc;

    if (!c)
        return vd_fail(err, VD_ENOMEM, "no memory for the case");
    rc = chain_open(source, name, &options->chain, &c->chain, err);
    if (!rc)
        rc = chain_point(c->chain, 0, &c->disk, err);
    if (!rc && !options->disk_only)
        rc = open_volumes(c, err);
    if (rc)
        case_free(c);
    else
        *out = c;
    return rc;
}

void case_free(struct vd_case *c)
{
    size_t i;

    if (!c)
        return;
    for (i = 0; i < c->n; i++) {
        fs_free(c->v[i].fs);
        blk_unref(c->v[i].dev);
    }
    free(c->v);
    volume_table_clear(&c->table);
    blk_unref(c->disk);
    chain_free(c->chain);
    free(c);
}
