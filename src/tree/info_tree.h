/* SPDX-License-Identifier: Apache-2.0 */
/* The drawings of info.txt: the chain, and the snapshot trees of the virtual machine's own files. */
#ifndef VD_TREE_INFO_TREE_H
#define VD_TREE_INFO_TREE_H

#include "base/text.h"
#include "tree/case.h"

/* "CHAIN" as a picture, newest first, one line per member and one of what it gives to the disk. */
void info_draw_chain(struct vd_str *s, const struct vd_point *c,
                     const struct case_context *context);

/* Each snapshot tree, roots first; a branch is drawn to the right only where there are several. */
void info_draw_snapshots(struct vd_str *s, const struct vd_point *c);

#endif
