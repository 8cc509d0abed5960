/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree that a mount shows, as pure functions of node numbers: no FUSE, no libtsk.
 *
 *   /            disk.img info.txt info.json pN/ gaps/ snapshots/
 *   pN/          volume.img info.txt fs/
 *   gaps/        START-END.img (bytes, decimal)
 *   snapshots/   NN_FILE/ by-name/      when the chain has older points than the one shown
 *   NN_FILE/     disk.img info.txt info.json pN/ gaps/
 *   by-name/     NAME -> ../NN_FILE     when the virtual machine's files name snapshots
 *
 * Node numbers (node.h) carry everything needed to find the object again: the tree keeps no table
 * that grows with what was visited, numbers are the same in every mount of the same image, and any
 * number that the kernel still knows after a restart works.
 *
 * Threads: after tree_new the tree is immutable; every function may be called from any thread.
 */
#ifndef VD_TREE_TREE_H
#define VD_TREE_TREE_H

#include "tree/case.h"

#include <limits.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define TREE_ROOT UINT64_C(1)

enum tree_symlinks { TREE_SYMLINKS_CONTAIN, TREE_SYMLINKS_RAW };

#define TREE_DEPTH_UNKNOWN UINT_MAX

struct tree_options {
    uid_t uid; /* owner of synthetic files and of files without a POSIX owner */
    gid_t gid;
    bool force_uid, force_gid; /* uid=/gid= given: all files */
    bool has_umask;            /* umask= given … */
    mode_t umask;              /* … bits cleared everywhere */
    /* Permission bits of objects with a POSIX owner.  true: the evidence's own read and search
     * bits.  false: 0444/0555 with the owner kept, so that a mounting user other than root can read
     * files that the evidence gives to root alone.  force_uid, force_gid and has_umask imply
     * 0444/0555. */
    bool evidence_permissions;
    enum tree_symlinks symlinks;
    int64_t mount_time; /* seconds: times of synthetic files without better ones */
    /* Called once for each older point that somebody looked into, before anything of it is shown;
     * may be NULL.  Any thread. */
    void (*point_opened)(void *ctx, const struct vd_point *point);
    void *point_opened_ctx;
};

struct tree;

/* Builds the tree over `c` (borrowed; must outlive the tree).  info_text/info_json are copied. */
int tree_new(const struct vd_case *c, const struct tree_options *options, const char *info_text,
             const char *info_json, struct tree **out, struct vd_err *err);
void tree_free(struct tree *tree);

/* Attributes as stat(2) shows them: st_ino = node number; never an execute bit on a regular file,
 * never a write bit, never setuid/setgid/sticky.  Every function here that is given a node in an
 * older point opens that point first if need be and may block on the evidence meanwhile; the
 * directory snapshots/NN_FILE itself is described without opening it (link count 1: the number of
 * its directories is not known). */
int tree_getattr(struct tree *tree, uint64_t node, struct stat *out, struct vd_err *err);

/* Birth time for statx-like callers and xattrs; false when unknown. */
bool tree_birth_time(struct tree *tree, uint64_t node, struct timespec *out);

/* Looks up a display name (as tree_readdir gives it). */
int tree_lookup(struct tree *tree, uint64_t parent, const char *name, uint64_t *out_node,
                struct vd_err *err);

/* Entries from `cookie` on (0 = first; "." and ".." are not given), each with its display name
 * (NUL-terminated, valid as a file name, unique in the directory) and the cookie after it; fn
 * returns non-zero to stop. `type` is the S_IFMT bits. */
typedef int tree_entry_fn(void *ctx, const char *name, uint64_t node, mode_t type,
                          uint64_t next_cookie);
int tree_readdir(struct tree *tree, uint64_t node, uint64_t cookie, tree_entry_fn *fn, void *ctx,
                 struct vd_err *err);

/* The directory that holds a directory (root: itself), where it can be told; 0 otherwise. */
uint64_t tree_parent(struct tree *tree, uint64_t node);

/* May the node be opened for reading?  VD_EREFUSED for devices, FIFOs, sockets.  *out_uncached
 * says that reads should bypass the page cache (disk.img, volume.img, gaps). */
int tree_open(struct tree *tree, uint64_t node, bool *out_uncached, struct vd_err *err);

/* Reads; *out_len is short only at the end of the file. */
int tree_read(struct tree *tree, uint64_t node, uint64_t off, void *buf, size_t len,
              size_t *out_len, struct vd_err *err);

/* SEEK_DATA / SEEK_HOLE (whence) from `off`; VD_ENOENT = ENXIO.  Never calls data a hole. */
int tree_seek(struct tree *tree, uint64_t node, uint64_t off, bool want_data, uint64_t *out_off,
              struct vd_err *err);

/* Link target to show; caller frees.
 *
 * `depth` is the number of directories between the volume's fs/ and the directory that holds the
 * link (fs/link: 0, fs/a/link: 1).  A node number carries no path, so the caller, who knows under
 * which parents the kernel has seen the node, gives it.  An object with several parents (hard
 * links, hostile directory loops): the SMALLEST depth that is known now; then the target is
 * contained under every one of them.  TREE_DEPTH_UNKNOWN: targets that need to climb are refused
 * (VD_EREFUSED).  The answer depends on the depth: do not let the kernel cache symlinks
 * (FUSE_CAP_CACHE_SYMLINKS).
 *
 * VD_ELIMIT: the target does not fit PATH_MAX. */
int tree_readlink(struct tree *tree, uint64_t node, unsigned depth, char **out, struct vd_err *err);

/* Extended attributes user.vdiskfs.* (of links, devices, FIFOs and sockets vdiskfs.*, because Linux
 * gives user.* to regular files and directories only): names, NUL-separated; caller frees. */
int tree_listxattr(struct tree *tree, uint64_t node, char **out, size_t *out_len,
                   struct vd_err *err);
/* Either spelling on any node.  VD_ENOENT: no such attribute (ENODATA). */
int tree_getxattr(struct tree *tree, uint64_t node, const char *name, char **out, size_t *out_len,
                  struct vd_err *err);

void tree_statfs(struct tree *tree, struct statvfs *out);

#endif
