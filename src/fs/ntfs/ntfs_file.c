/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loads a file: base record, attribute list, extension records; and gives the content of its
 * attributes (libyal NTFS, "The attribute list").  Results are immutable; no state is shared but
 * the content of the $MFT itself, which is set once while opening.
 */
#include "fs/ntfs/ntfs_priv.h"

#include "base/bytes.h"
#include "base/limits.h"
#include "base/range.h"

#include <stdlib.h>
#include <string.h>

/* ---- records ---- */

static int record_read(const struct ntfs_fs *n, uint64_t addr, uint8_t *buf,
                       struct ntfs_record *out, struct vd_err *err)
{
    uint64_t off;
    size_t got = 0, size = n->boot.record_size;
    int rc;

    if (!vd_mul(addr, size, &off) || off > n->mft->size || size > n->mft->size - off)
        return vd_fail(err, VD_ENOENT, "no such record in the $MFT");
    rc = fs_content_read(n->mft, n->vol, off, buf, size, &got, err);
    if (!rc)
        rc = ntfs_fixup(buf, size, "FILE", err);
    if (!rc)
        rc = ntfs_record_decode(buf, size, out, err);
    return vd_prefix(err, rc, "$MFT record %llu", (unsigned long long)addr);
}

int ntfs_record_is_live(const struct ntfs_fs *n, uint64_t addr, uint16_t seq, bool *out,
                        struct vd_err *err)
{
    uint8_t head[48]; /* before the first place that the update sequence changes */
    uint64_t off;
    size_t got = 0;
    int rc;

    *out = false;
    if (!vd_mul(addr, n->boot.record_size, &off) || off > n->mft->size ||
        n->boot.record_size > n->mft->size - off)
        return 0;
    rc = fs_content_read(n->mft, n->vol, off, head, sizeof(head), &got, err);
    if (rc)
        return rc;
    *out = memcmp(head, "FILE", 4) == 0 && vd_le16(head + 22) & NTFS_RECORD_IN_USE &&
           vd_le16(head + 16) == seq;
    return 0;
}

/* Reads a record and makes it the file's. */
static int take_record(const struct ntfs_fs *n, struct ntfs_file *file, uint64_t addr,
                       struct ntfs_record *out, struct vd_err *err)
{
    uint8_t **records = realloc(file->records, (file->n_records + 1) * sizeof(*records));
    uint64_t *addrs;
    uint8_t *buf;
    int rc;

    if (records)
        file->records = records;
    addrs = realloc(file->record_addrs, (file->n_records + 1) * sizeof(*addrs));
    if (addrs)
        file->record_addrs = addrs;
    buf = malloc(n->boot.record_size);
    if (!records || !addrs || !buf) {
        free(buf);
        return vd_fail(err, VD_ENOMEM, "out of memory");
    }
    rc = record_read(n, addr, buf, out, err);
    if (rc) {
        free(buf);
        return rc;
    }
    file->records[file->n_records] = buf;
    file->record_addrs[file->n_records] = addr;
    file->n_records++;
    return 0;
}

void ntfs_file_free(struct ntfs_file *file)
{
    size_t i;

    if (!file)
        return;
    for (i = 0; i < file->n_records; i++)
        free(file->records[i]);
    free(file->records);
    free(file->record_addrs);
    free(file->attrs);
    free(file->extents);
    free(file->list);
    free(file);
}

/* ---- the attribute list ---- */

static void note_damage(struct ntfs_file *file, int rc, const struct vd_err *err)
{
    if (file->damage_rc)
        return;
    file->damage_rc = rc;
    file->damage = *err;
}

static bool have_record(const struct ntfs_file *file, uint64_t addr)
{
    size_t i;

    for (i = 0; i < file->n_records; i++)
        if (file->record_addrs[i] == addr)
            return true;
    return false;
}

/* Adds one extension record.  Fails only without memory; all else is damage of the file. */
static int add_extension(const struct ntfs_fs *n, struct ntfs_file *file, uint64_t addr,
                         struct vd_err *err)
{
    struct vd_err e = VD_ERR_INIT;
    struct ntfs_record rec;
    int rc = take_record(n, file, addr, &rec, &e);

    if (!rc && (!(rec.flags & NTFS_RECORD_IN_USE) || rec.base != file->addr ||
                (rec.base_seq && rec.base_seq != file->head.seq)))
        rc = vd_fail(&e, VD_ECORRUPT, "record %llu is not an extension of this file",
                     (unsigned long long)addr);
    else if (!rc)
        rc = ntfs_file_add_record(file, file->records[file->n_records - 1], &rec, &e);
    if (rc == -VD_ENOMEM) {
        if (err)
            *err = e;
        return rc;
    }
    if (rc == -VD_ENOENT) {
        rc = -VD_ECORRUPT;
        e.cls = VD_ECORRUPT;
    }
    if (rc)
        note_damage(file, rc, &e);
    return 0;
}

static int walk_list(const struct ntfs_fs *n, struct ntfs_file *file, const uint8_t *b, size_t len,
                     struct vd_err *err)
{
    size_t at = 0;

    while (len - at >= 26) {
        size_t entry = vd_le16(b + at + 4);
        uint64_t addr = vd_le64(b + at + 16) & FS_ADDR_MAX;
        int rc;

        if (entry < 26 || entry > len - at) {
            struct vd_err e = VD_ERR_INIT;

            note_damage(file, vd_fail(&e, VD_ECORRUPT, "attribute list is damaged at %zu", at), &e);
            return 0;
        }
        at += entry;
        if (have_record(file, addr))
            continue;
        if (file->n_records == NTFS_MAX_RECORDS)
            return vd_fail(err, VD_ELIMIT, "more than %u records for one file", NTFS_MAX_RECORDS);
        rc = add_extension(n, file, addr, err);
        if (rc)
            return rc;
    }
    return 0;
}

static int add_extensions(const struct ntfs_fs *n, struct ntfs_file *file, struct vd_err *err)
{
    const struct ntfs_attr *list = ntfs_file_attr(file, NTFS_ATTRIBUTE_LIST, NULL);
    struct vd_err e = VD_ERR_INIT;
    struct fs_content *c = NULL;
    size_t got = 0;
    int rc;

    if (!list)
        return 0;
    if (list->size > NTFS_MAX_ATTR_LIST)
        return vd_fail(err, VD_ELIMIT, "attribute list of %llu bytes",
                       (unsigned long long)list->size);
    if (list->resident)
        return walk_list(n, file, list->value, list->value_len, err);
    rc = ntfs_attr_content(n, file, list, &c, &e);
    if (!rc) {
        file->list = malloc(c->size ? c->size : 1);
        rc = file->list ? fs_content_read(c, n->vol, 0, file->list, c->size, &got, &e)
                        : vd_fail(&e, VD_ENOMEM, "out of memory");
        fs_content_free(c);
    }
    if (rc == -VD_ENOMEM)
        return vd_fail(err, VD_ENOMEM, "%s", e.msg);
    if (rc) {
        note_damage(file, vd_prefix(&e, rc, "attribute list"), &e);
        return 0;
    }
    return walk_list(n, file, file->list, got, err);
}

static int file_load(const struct ntfs_fs *n, uint64_t addr, bool base_only, struct ntfs_file **out,
                     struct vd_err *err)
{
    struct ntfs_file *file = calloc(1, sizeof(*file));
    int rc;

    if (!file)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    file->addr = addr;
    rc = take_record(n, file, addr, &file->head, err);
    if (!rc && (!(file->head.flags & NTFS_RECORD_IN_USE) || file->head.base))
        rc = vd_fail(err, VD_ENOENT, "the record is not in use");
    if (!rc)
        rc = ntfs_file_add_record(file, file->records[0], &file->head, err);
    if (!rc && !base_only)
        rc = add_extensions(n, file, err);
    if (rc) {
        ntfs_file_free(file);
        return rc;
    }
    *out = file;
    return 0;
}

int ntfs_file_load(const struct ntfs_fs *n, uint64_t addr, struct ntfs_file **out,
                   struct vd_err *err)
{
    return file_load(n, addr, false, out, err);
}

/* ---- attributes ---- */

static bool has_name(const struct ntfs_attr *attr, const char *name)
{
    size_t i, len = name ? strlen(name) : 0;

    if (attr->name_units != len)
        return false;
    for (i = 0; i < len; i++)
        if (vd_le16(attr->name + 2 * i) != (uint8_t)name[i])
            return false;
    return true;
}

const struct ntfs_attr *ntfs_file_attr(const struct ntfs_file *file, uint32_t type,
                                       const char *name)
{
    size_t i;

    for (i = 0; i < file->n_attrs; i++)
        if (file->attrs[i].type == type && has_name(&file->attrs[i], name))
            return &file->attrs[i];
    return NULL;
}

const struct ntfs_attr *ntfs_file_stream(const struct ntfs_file *file, uint16_t stream)
{
    uint16_t number = 0;
    size_t i;

    if (!stream)
        return ntfs_file_attr(file, NTFS_DATA, NULL);
    for (i = 0; i < file->n_attrs; i++)
        if (file->attrs[i].type == NTFS_DATA && file->attrs[i].name_units && ++number == stream)
            return &file->attrs[i];
    return NULL;
}

static int by_vcn(const void *a, const void *b)
{
    const struct ntfs_extent *const *x = a, *const *y = b;

    return ((*x)->first_vcn > (*y)->first_vcn) - ((*x)->first_vcn < (*y)->first_vcn);
}

static int build_runs(const struct ntfs_fs *n, const struct ntfs_file *file, size_t attr,
                      struct fs_runs *runs, struct vd_err *err)
{
    const struct ntfs_extent **sorted = malloc((file->n_extents + 1) * sizeof(*sorted));
    size_t i, n_sorted = 0;
    int rc = 0;

    if (!sorted)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    for (i = 0; i < file->n_extents; i++)
        if (file->extents[i].attr == attr)
            sorted[n_sorted++] = &file->extents[i];
    qsort(sorted, n_sorted, sizeof(*sorted), by_vcn); /* usually in order already */
    for (i = 0; i < n_sorted && !rc; i++) {
        /* an empty attribute has an empty array and a last cluster of -1 */
        if (sorted[i]->last_vcn + 1 == sorted[i]->first_vcn)
            continue;
        rc = ntfs_pairs_decode(sorted[i], &n->boot, n->vol->size, runs, err);
    }
    free(sorted);
    fs_runs_trim(runs);
    return rc;
}

static int fill_content(const struct ntfs_fs *n, const struct ntfs_file *file,
                        const struct ntfs_attr *attr, struct fs_content *c, struct vd_err *err)
{
    unsigned method = attr->flags & NTFS_ATTR_COMPRESSED;

    if (attr->resident) {
        c->resident = malloc(attr->value_len ? attr->value_len : 1);
        if (!c->resident)
            return vd_fail(err, VD_ENOMEM, "out of memory");
        memcpy(c->resident, attr->value, attr->value_len);
        c->size = c->init = attr->value_len;
        return 0;
    }
    if (!attr->has_sizes)
        return file->damage_rc
                   ? vd_fail(err, -file->damage_rc, "%s", file->damage.msg)
                   : vd_fail(err, VD_ECORRUPT, "the first part of the attribute is missing");
    if (attr->size > VD_MAX_SIZE || attr->init > attr->size)
        return vd_fail(err, VD_ECORRUPT, "impossible sizes: %llu, initialised %llu",
                       (unsigned long long)attr->size, (unsigned long long)attr->init);
    c->size = attr->size;
    c->init = attr->init;
    if (method && attr->unit_shift) {
        uint64_t unit = (uint64_t)n->boot.cluster_size << attr->unit_shift;

        if (method != 1 || unit > (64u << 20))
            return vd_fail(err, VD_EUNSUPPORTED, "compression method %u, unit of %llu bytes",
                           method, (unsigned long long)unit);
        c->unit = (uint32_t)unit;
    } else if (method) {
        return vd_fail(err, VD_ECORRUPT, "compressed without a compression unit");
    }
    return build_runs(n, file, (size_t)(attr - file->attrs), &c->runs, err);
}

int ntfs_attr_content(const struct ntfs_fs *n, const struct ntfs_file *file,
                      const struct ntfs_attr *attr, struct fs_content **out, struct vd_err *err)
{
    struct fs_content *c = calloc(1, sizeof(*c));
    int rc;

    if (!c)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    rc = fill_content(n, file, attr, c, err);
    if (rc) {
        fs_content_free(c);
        return rc;
    }
    *out = c;
    return 0;
}

/* ---- the $MFT itself ---- */

/* A provisional $MFT: its first record alone. */
static int provisional(struct ntfs_fs *n, uint64_t lcn, struct vd_err *err)
{
    struct fs_content *c = calloc(1, sizeof(*c));
    uint64_t at;
    int rc;

    if (!c)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    c->size = c->init = n->boot.record_size;
    rc = vd_mul(lcn, n->boot.cluster_size, &at)
             ? fs_runs_add_data(&c->runs, n->vol->size, 0, c->size, at, err)
             : vd_fail(err, VD_ECORRUPT, "the $MFT lies past the end");
    if (rc) {
        fs_content_free(c);
        return rc;
    }
    fs_content_free(n->mft);
    n->mft = c;
    return 0;
}

/* Replaces n->mft by what record 0 says of itself; *out_runs: how many runs are known now. */
static int adopt(struct ntfs_fs *n, bool base_only, size_t *out_runs, bool *out_damaged,
                 struct vd_err *err)
{
    const struct ntfs_attr *data;
    struct ntfs_file *file = NULL;
    struct fs_content *c = NULL;
    int rc = file_load(n, 0, base_only, &file, err);

    if (rc)
        return rc;
    data = ntfs_file_attr(file, NTFS_DATA, NULL);
    if (!data || data->resident || data->flags & NTFS_ATTR_COMPRESSED)
        rc = vd_fail(err, VD_ECORRUPT, "$MFT: no plain $DATA attribute");
    else
        rc = ntfs_attr_content(n, file, data, &c, err);
    *out_damaged = file->damage_rc != 0;
    ntfs_file_free(file);
    if (rc)
        return rc;
    *out_runs = c->runs.n;
    fs_content_free(n->mft);
    n->mft = c;
    return 0;
}

int ntfs_mft_open(struct ntfs_fs *n, struct vd_facts *facts, struct vd_err *err)
{
    struct vd_err first = VD_ERR_INIT;
    size_t runs = 0, before;
    bool damaged = false;
    int rc = provisional(n, n->boot.mft_lcn, &first);

    if (!rc)
        rc = adopt(n, true, &runs, &damaged, &first);
    if (rc) {
        int mirror = provisional(n, n->boot.mirror_lcn, err);

        if (!mirror)
            mirror = adopt(n, true, &runs, &damaged, err);
        if (mirror) {
            if (err)
                *err = first;
            return rc;
        }
        vd_fact_add(facts, VD_FACT_WARNING, "mft_mirror",
                    "the first record of the $MFT came from $MFTMirr: %s", first.msg);
    }
    /* Later parts of the $MFT's own map lie in records that earlier parts give the place of. */
    do {
        before = runs;
        rc = adopt(n, false, &runs, &damaged, err);
    } while (!rc && damaged && runs > before);
    if (!rc && damaged)
        vd_fact_add(facts, VD_FACT_WARNING, "mft_incomplete",
                    "a part of the $MFT's own map is missing; files behind it cannot be read");
    return rc;
}
