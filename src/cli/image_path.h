/* SPDX-License-Identifier: Apache-2.0 */
/* From the path that the user typed to what the supervisor opens: a directory and a bare name. */
#ifndef VD_CLI_IMAGE_PATH_H
#define VD_CLI_IMAGE_PATH_H

#include "cli/options.h"

struct image_path {
    char *full; /* absolute, symbolic links of the user's own path resolved */
    char *dir;  /* its directory */
    char *name; /* bare name */
    bool is_block;
    const char *dirs[1 + OPTIONS_MAX_LIST]; /* dir, then parent_dir= ones (borrowed from options) */
    unsigned n_dirs;
};

/* Resolves `path`.  Links in the path itself are followed: they are the user's word; links that a
 * chain points to never are.  VD_ENOENT / VD_EREFUSED with the reason. */
int image_path_resolve(const char *path, const struct options *options, struct image_path *out,
                       struct vd_err *err);
void image_path_clear(struct image_path *path);

/* Is `path` equal to, or below, the directory `dir`?  Both absolute and resolved. */
bool path_is_below(const char *path, const char *dir);

/* The same by device and inode number, for what a bind mount shows under another name: is one of the
 * directories from `path` (absolute and resolved) upwards the directory `dir`?  False when `dir`
 * cannot be looked at.  (A bind mount of a directory beneath `dir` is not seen.) */
bool path_leads_into(const char *path, const char *dir);

#endif
