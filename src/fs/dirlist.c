/* SPDX-License-Identifier: Apache-2.0 */
/* Decoded directories: see dirlist.h.  Names lie in one block of memory, entries in one array;
 * cookies are array positions.  Immutable after fs_dirlist_finish, hence without locks. */
#include "fs/dirlist.h"

#include "base/limits.h"

#include <stdlib.h>
#include <string.h>

struct fs_dirlist *fs_dirlist_new(void)
{
    return calloc(1, sizeof(struct fs_dirlist));
}

void fs_dirlist_free(void *list)
{
    struct fs_dirlist *l = list;

    if (!l)
        return;
    free(l->v);
    free(l->names);
    free(l->bucket);
    free(l);
}

static int grow_entries(struct fs_dirlist *list, struct vd_err *err)
{
    size_t cap = list->cap ? list->cap * 2 : 16;
    struct fs_dirlist_entry *v;

    if (list->n < list->cap)
        return 0;
    if (list->n >= VD_MAX_DIR_ENTRIES)
        return vd_fail(err, VD_ELIMIT, "more than %u entries in one directory", VD_MAX_DIR_ENTRIES);
    v = realloc(list->v, cap * sizeof(*v));
    if (!v)
        return vd_fail(err, VD_ENOMEM, "out of memory for %zu directory entries", cap);
    list->v = v;
    list->cap = cap;
    return 0;
}

static int grow_names(struct fs_dirlist *list, size_t more, struct vd_err *err)
{
    size_t cap = list->names_cap ? list->names_cap : 512;
    char *names;

    if (more > FS_MAX_DIR_NAME_BYTES - list->names_len)
        return vd_fail(err, VD_ELIMIT, "more than %u bytes of names in one directory",
                       FS_MAX_DIR_NAME_BYTES);
    while (cap - list->names_len < more)
        cap *= 2;
    if (cap == list->names_cap)
        return 0;
    names = realloc(list->names, cap);
    if (!names)
        return vd_fail(err, VD_ENOMEM, "out of memory for %zu bytes of names", cap);
    list->names = names;
    list->names_cap = cap;
    return 0;
}

int fs_dirlist_add(struct fs_dirlist *list, const char *name, size_t name_len, uint64_t addr,
                   enum fs_kind kind, struct vd_err *err)
{
    struct fs_dirlist_entry *e;
    int rc;

    if (!name_len || name_len > UINT16_MAX || (name_len == 1 && name[0] == '.') ||
        (name_len == 2 && name[0] == '.' && name[1] == '.'))
        return 0;
    rc = grow_entries(list, err);
    if (!rc)
        rc = grow_names(list, name_len, err);
    if (rc)
        return rc;
    e = &list->v[list->n++];
    *e = (struct fs_dirlist_entry){.addr = addr,
                                   .name_off = (uint32_t)list->names_len,
                                   .name_len = (uint16_t)name_len,
                                   .kind = (uint8_t)kind};
    memcpy(list->names + list->names_len, name, name_len);
    list->names_len += name_len;
    return 0;
}

void fs_dirlist_set_damage(struct fs_dirlist *list, int rc, const struct vd_err *damage)
{
    if (list->damage_rc)
        return;
    list->damage_rc = rc;
    list->damage = *damage;
}

static size_t bucket_of(const struct fs_dirlist *list, const char *name, size_t len)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    size_t i;

    for (i = 0; i < len; i++)
        h = (h ^ (uint8_t)name[i]) * UINT64_C(0x100000001b3);
    return (size_t)(h ^ h >> 32) & (list->n_buckets - 1);
}

int fs_dirlist_finish(struct fs_dirlist *list, struct vd_err *err)
{
    size_t i;

    for (list->n_buckets = 1; list->n_buckets < list->n;)
        list->n_buckets *= 2;
    list->bucket = calloc(list->n_buckets, sizeof(*list->bucket));
    if (!list->bucket)
        return vd_fail(err, VD_ENOMEM, "out of memory for a directory index");
    for (i = list->n; i-- > 0;) { /* backwards: the first of equal names is found first */
        struct fs_dirlist_entry *e = &list->v[i];
        uint32_t *head = &list->bucket[bucket_of(list, list->names + e->name_off, e->name_len)];

        e->next = *head;
        *head = (uint32_t)i + 1;
    }
    return 0;
}

static int fail_damage(const struct fs_dirlist *list, struct vd_err *err)
{
    if (err)
        *err = list->damage;
    return list->damage_rc;
}

int fs_dirlist_find(const struct fs_dirlist *list, const char *name, size_t name_len,
                    struct fs_entry *out, struct vd_err *err)
{
    uint32_t i = list->n ? list->bucket[bucket_of(list, name, name_len)] : 0;

    for (; i; i = list->v[i - 1].next) {
        const struct fs_dirlist_entry *e = &list->v[i - 1];

        if (e->name_len == name_len && memcmp(list->names + e->name_off, name, name_len) == 0) {
            *out = (struct fs_entry){.addr = e->addr, .kind = (enum fs_kind)e->kind};
            return 0;
        }
    }
    if (list->damage_rc)
        return fail_damage(list, err);
    return vd_fail(err, VD_ENOENT, "no such name");
}

int fs_dirlist_walk(const struct fs_dirlist *list, uint64_t cookie, fs_entry_fn *fn, void *ctx,
                    struct vd_err *err)
{
    size_t i;

    for (i = cookie < list->n ? (size_t)cookie : list->n; i < list->n; i++) {
        const struct fs_dirlist_entry *e = &list->v[i];
        struct fs_entry entry = {.name = list->names + e->name_off,
                                 .name_len = e->name_len,
                                 .addr = e->addr,
                                 .kind = (enum fs_kind)e->kind};

        if (fn(ctx, &entry, i + 1))
            return 0;
    }
    return list->damage_rc ? fail_damage(list, err) : 0;
}

size_t fs_dirlist_cost(const struct fs_dirlist *list)
{
    return sizeof(*list) + list->cap * sizeof(*list->v) + list->names_cap +
           list->n_buckets * sizeof(*list->bucket);
}
