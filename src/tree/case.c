/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening a case: chain, disk, partition table, and the file system of every volume.
 *
 * The chain is verified by chain_open before anything is looked at.  From there on only a disk that
 * cannot be read is an error: a volume that cannot be opened, for whatever reason, is kept with
 * that reason in words, because what cannot be shown must not be hidden.
 *
 * case_open runs in one thread; point_open in any, also of several points at once: they share the
 * layers of the chain, which lock themselves.
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

static int open_volume(struct vd_point *p, size_t i, struct vd_err *err)
{
    struct case_volume *v = &p->v[i];
    char label[16];
    int rc;

    v->part = p->table.v[i];
    (void)snprintf(label, sizeof(label), "p%u", v->part.number);
    rc = volume_slice(p->disk, &v->part, &v->dev, &v->fs_err);
    if (!rc)
        rc = volume_recognise(v->dev, &v->content, &v->fs_err);
    if (rc == -VD_ENOMEM) {
        if (err)
            *err = v->fs_err;
        return vd_prefix(err, rc, "%s", label);
    }
    return rc ? 0 : open_fs(v, label, err);
}

/* The table, or (POINT_AVAILABLE) why it cannot be read. */
static int scan(struct vd_point *p, enum point_need need, struct vd_err *err)
{
    struct vd_err why = VD_ERR_INIT;
    int rc = volume_scan(p->disk, &p->table, &why);

    if (rc && need == POINT_AVAILABLE && rc != -VD_ENOMEM) {
        p->table = (struct volume_table){0};
        vd_fact_add(&p->table.facts, VD_FACT_WARNING, "unreadable",
                    "the partition table cannot be read, only the disk as a whole is shown: %s",
                    why.msg);
        return 0;
    }
    if (rc && err)
        *err = why;
    return rc;
}

static int open_volumes(struct vd_point *p, enum point_need need, struct vd_err *err)
{
    size_t i;
    int rc = scan(p, need, err);

    if (rc || !p->table.n)
        return rc;
    p->v = calloc(p->table.n, sizeof(*p->v));
    if (!p->v)
        return vd_fail(err, VD_ENOMEM, "no memory for the volumes");
    p->n = p->table.n;
    for (i = 0; i < p->n && !rc; i++)
        rc = open_volume(p, i, err);
    return rc;
}

int point_open(const struct chain *chain, size_t member, enum point_need need,
               struct vd_point **out, struct vd_err *err)
{
    struct vd_point *p = calloc(1, sizeof(*p));
    int rc;

    if (!p)
        return vd_fail(err, VD_ENOMEM, "no memory for a point of the chain");
    p->chain = chain;
    p->member = member;
    rc = chain_point(chain, member, &p->disk, err);
    if (!rc && need != POINT_DISK)
        rc = open_volumes(p, need, err);
    if (rc)
        point_free(p);
    else
        *out = p;
    return rc;
}

void point_free(struct vd_point *point)
{
    size_t i;

    if (!point)
        return;
    for (i = 0; i < point->n; i++) {
        fs_free(point->v[i].fs);
        blk_unref(point->v[i].dev);
    }
    free(point->v);
    volume_table_clear(&point->table);
    blk_unref(point->disk);
    free(point);
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
        rc = point_open(c->chain, c->chain->point, options->disk_only ? POINT_DISK : POINT_ALL,
                        &c->point, err);
    if (rc)
        case_free(c);
    else
        *out = c;
    return rc;
}

void case_free(struct vd_case *c)
{
    if (!c)
        return;
    point_free(c->point);
    chain_free(c->chain);
    free(c);
}
