/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A decoded directory: its live entries in a fixed order, with a hash index for look-ups.  Built
 * once, immutable afterwards.
 *
 * A directory that is damaged in part keeps what could be read and remembers the damage: a walk
 * gives the entries and then fails, a look-up of a name that is not there fails with the damage
 * rather than "no such name".  So nothing is hidden and nothing is made up.
 */
#ifndef VD_FS_DIRLIST_H
#define VD_FS_DIRLIST_H

#include "fs/fs.h"

/* Bytes of all names of one directory: 16,777,216 entries with 32 bytes each. */
#define FS_MAX_DIR_NAME_BYTES (512u << 20)

struct fs_dirlist_entry {
    uint64_t addr;
    uint32_t name_off, next; /* next: index + 1 of the next entry in the bucket */
    uint16_t name_len;
    uint8_t kind; /* enum fs_kind */
};

struct fs_dirlist {
    struct fs_dirlist_entry *v;
    size_t n, cap;
    char *names;
    size_t names_len, names_cap;
    uint32_t *bucket; /* n_buckets (a power of two) indexes + 1 */
    size_t n_buckets;
    int damage_rc; /* 0: whole */
    struct vd_err damage;
};

/* A new, empty list; NULL when memory ran out. */
struct fs_dirlist *fs_dirlist_new(void);

/* Appends an entry; "." and ".." and empty names are left out.  VD_ELIMIT over the bounds. */
int fs_dirlist_add(struct fs_dirlist *list, const char *name, size_t name_len, uint64_t addr,
                   enum fs_kind kind, struct vd_err *err);

/* Remembers the first damage. */
void fs_dirlist_set_damage(struct fs_dirlist *list, int rc, const struct vd_err *damage);

/* Builds the index; call once after the last add. */
int fs_dirlist_finish(struct fs_dirlist *list, struct vd_err *err);

/* The first entry with this name.  VD_ENOENT, or the damage. */
int fs_dirlist_find(const struct fs_dirlist *list, const char *name, size_t name_len,
                    struct fs_entry *out, struct vd_err *err);

/* As fs_readdir. */
int fs_dirlist_walk(const struct fs_dirlist *list, uint64_t cookie, fs_entry_fn *fn, void *ctx,
                    struct vd_err *err);

size_t fs_dirlist_cost(const struct fs_dirlist *list);

/* Accepts NULL; for struct fs_cache. */
void fs_dirlist_free(void *list);

#endif
