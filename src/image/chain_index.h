/* SPDX-License-Identifier: Apache-2.0 */
/* Who lies in the evidence directories: every image file with its identity and the parent it asks
 * for.  Built once per chain, when a parent has to be searched for or newer files looked for. */
#ifndef VD_IMAGE_CHAIN_INDEX_H
#define VD_IMAGE_CHAIN_INDEX_H

#include "base/text.h"
#include "image/image.h"

#define CHAIN_INDEX_TOLD 12

struct chain_index {
    bool built;
    struct image **v; /* owned; in the order of directories, and of names (bytes) in each; without
                         devices and facts */
    char **file_name; /* owned; the bare names as they are (image->name is printable) */
    size_t n, cap;
    size_t n_files;       /* regular files looked at */
    size_t n_failed;      /* … that are images but cannot be opened, or cannot be read */
    struct vd_str failed; /* their names and the reasons; the first CHAIN_INDEX_TOLD of them */
};

/* Looks at every file of every directory of `source` once; later calls do nothing.  At most
 * VD_MAX_DIR_NAMES files, VD_ELIMIT above.  Files that cannot be opened are counted, no failure. */
int chain_index_build(struct chain_index *index, const struct blk_source *source,
                      struct vd_err *err);

void chain_index_clear(struct chain_index *index);

/* Are `a` and `b` the same file?  By device and inode where known, else by directory and name. */
bool chain_same_file(const struct image *a, const struct image *b);

/* Does `child` ask for the identity of `parent`? */
bool chain_identity_fits(const struct image *child, const struct image *parent);

#endif
