/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of the older points of a chain, for snapshots/:
 *
 *   snapshots/NN_FILE          NN counts members from the base (00), as snapshot=NN does, with as
 *                              many digits as the chain's highest number needs, at least two; FILE is
 *                              the member's file name.  Both stay when snapshots are added, and the
 *                              names sort by age.
 *   snapshots/by-name/NAME     the name that the virtual machine's files give the snapshot, a link
 *                              to ../NN_FILE.  Such names repeat (a product makes the same one every
 *                              night): the oldest keeps it, the others become NAME~NN.
 * All are escaped as every name is (names.h) and cut to VD_MAX_NAME.
 */
#ifndef VD_TREE_SNAPSHOTS_H
#define VD_TREE_SNAPSHOTS_H

#include "image/chain.h"

struct snapshot_name {
    char *dir;    /* "01_server-000001.vmdk" */
    char *link;   /* name in by-name/; NULL: the snapshot has no known name */
    char *target; /* of the link; NULL without one */
};

struct snapshot_names {
    struct snapshot_name *v; /* by number: v[0] is the base */
    size_t n;                /* points that are older than the one shown */
    size_t n_links;
};

/* Digits of NN. */
int snapshots_digits(const struct chain *chain);

/* Names for all members of `chain` that are older than `member`.  *out is the caller's
 * (snapshots_clear).  VD_ENOMEM. */
int snapshots_names(const struct chain *chain, size_t member, struct snapshot_names *out,
                    struct vd_err *err);
void snapshots_clear(struct snapshot_names *names);

#endif
