/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The nodes that the kernel knows: under which parents, by which name.  Node numbers carry no
 * path, so this table gives the audit log its paths and a symbolic link its depth.  It holds what
 * the kernel holds (LOOKUP and READDIRPLUS add, FORGET removes) and nothing else.
 *
 * Threads: every function may be called from any thread; none blocks on anything but a short lock
 * and none calls out while holding one.
 */
#ifndef VD_FUSE_PATHS_H
#define VD_FUSE_PATHS_H

#include "base/err.h"

/* Longest path that paths_get gives, in bytes with its NUL: beside it a name (1,024), a message
 * (1,023) and an operation still fit the payload of one audit record (16,320). */
#define PATHS_MAX 12288

/* Deepest chain of parents that is followed. */
#define PATHS_MAX_DEPTH 4096

struct paths;

/* An empty table that knows the root only; caller frees.  VD_ENOMEM. */
int paths_new(struct paths **out, struct vd_err *err);
void paths_free(struct paths *p);

/* The kernel is about to learn `node` as `name` (`len` bytes) in `parent`: counts one lookup.  The
 * latest name of a node with several is the one that paths_get gives.  `parent` 0: the node was
 * asked for by number, its place is not known.  false: out of memory, nothing was counted. */
bool paths_add(struct paths *p, uint64_t node, uint64_t parent, const char *name, size_t len);

/* The kernel forgot `n` lookups of `node`; the last one removes it.  The root stays. */
void paths_forget(struct paths *p, uint64_t node, uint64_t n);

/* Writes the path of `node` beneath the mount without leading '/' ("" for the root, "?/…" where a
 * part of it is not known or it is too long) into buf (size > 2 bytes, NUL-terminated); returns its
 * length. */
size_t paths_get(struct paths *p, uint64_t node, char *buf, size_t size);

/* Directories between the fs/ of its volume and `node`, the smallest number over all parents that
 * the kernel has seen the node under (see tree_readlink); TREE_DEPTH_UNKNOWN when it cannot be told
 * or the node does not lie beneath an fs/. */
unsigned paths_depth(struct paths *p, uint64_t node);

/* Nodes in the table, the root included. */
size_t paths_count(struct paths *p);

#endif
