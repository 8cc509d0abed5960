/* SPDX-License-Identifier: Apache-2.0 */
/* Who lies in the evidence directories: every image file with its identity and the parent it asks
 * for.  Built once per chain, when a parent has to be searched for or newer files looked for. */
#ifndef VD_IMAGE_CHAIN_INDEX_H
#define VD_IMAGE_CHAIN_INDEX_H

#include "base/text.h"
#include "image/image.h"

#define CHAIN_INDEX_TOLD 12

/* "No entry." */
#define CHAIN_NONE SIZE_MAX

/* A text and the entry that has it; arrays of them are sorted by text, then entry. */
struct chain_key {
    const char *text; /* borrowed from the entry */
    size_t at;
};

struct chain_keys {
    struct chain_key *v; /* owned */
    size_t n;
};

/* A .vmsd or .vmx file. */
struct chain_text_file {
    unsigned dir;
    char *name; /* bare, as it is; owned */
};

struct chain_index {
    bool built;
    struct image **v; /* owned; in the order of directories, and of names (bytes) in each; without
                         devices and facts */
    char **file_name; /* owned; the bare names as they are (image->name is printable) */
    size_t n, cap;
    size_t n_files;       /* regular files looked at */
    size_t n_failed;      /* … that are images but cannot be opened, or cannot be read */
    struct vd_str failed; /* their names and the reasons; the first CHAIN_INDEX_TOLD of them */
    struct chain_text_file *text; /* owned; .vmsd and .vmx, the first VM_MAX_FILES */
    size_t n_text, n_text_left_out;
    struct chain_keys by_identity; /* entries that have one */
    struct chain_keys by_name;     /* all; bare names */
    struct chain_keys by_parent;   /* entries with a parent, by each identity they ask for */
    size_t *same;                  /* the first entry that is the same file (hard links); owned */
    size_t *by_file;               /* entries sorted by device and inode; owned */
    bool *member;                  /* of firsts: it is in the chain; owned, kept by the caller */
    size_t *parent; /* the entry that the hints lead to and that has the identity asked for, or
                       CHAIN_NONE; one of `same`'s firsts; owned */
};

/* Looks at every file of every directory of `source` once; later calls do nothing.  What the `n`
 * images of `known` are is not read again.  At most VD_MAX_DIR_NAMES files, VD_ELIMIT above.  Files
 * that cannot be opened are counted, no failure. */
int chain_index_build(struct chain_index *index, const struct blk_source *source,
                      struct image *const *known, size_t n, struct vd_err *err);

void chain_index_clear(struct chain_index *index);

/* The first key of `keys` with this text (then follow its equals), or keys->n. */
size_t chain_keys_find(const struct chain_keys *keys, const char *text);

/* The entry that is the file of `image` (the first of its names), or CHAIN_NONE. */
size_t chain_index_entry_of(const struct chain_index *index, const struct image *image);

/* Are `a` and `b` the same file?  By device and inode where known, else by directory and name. */
bool chain_same_file(const struct image *a, const struct image *b);

/* Does `child` ask for the identity of `parent`? */
bool chain_identity_fits(const struct image *child, const struct image *parent);

#endif
