/* SPDX-License-Identifier: Apache-2.0 */
/* Chains: finds the parents of an image, checks every link, and builds the disk.  Nothing is
 * shown before the whole chain is verified. */
#ifndef VD_IMAGE_CHAIN_H
#define VD_IMAGE_CHAIN_H

#include "image/image.h"
#include "image/vm_files.h"

struct chain_options {
    const char *const *members; /* chain=: bare names, tip first, or NULL: follow the hints */
    size_t n_members;
    bool unverified; /* unverified_chain: identity mismatches become warnings */
    /* snapshot=: a number (0 = base, as in snapshots/NN_…), "tip", a member's file name or a
     * snapshot's name from the .vmsd; NULL: the file that was named. */
    const char *snapshot;
};

/* What the virtual machine's own files (.vmsd, .vmx) say of one point of the chain. */
struct chain_name {
    char *name;        /* the snapshot's display name, printable; NULL: not known.  Owned */
    char *description; /* printable; may be NULL.  Owned */
    bool has_created;
    int64_t created_sec; /* since 1970-01-01 UTC */
    uint32_t created_nsec;
};

struct chain {
    struct image **v; /* v[0] = the file that was named (tip), v[n-1] = base; owned */
    size_t n;
    size_t point;            /* the member whose state is shown: 0 unless snapshot= chose another */
    struct chain_name *name; /* n of them, or NULL when no file tells.  The state of member i was
                                frozen when snapshot name[i] was taken.  Owned */
    struct vm_files vm;      /* snapshot trees of the virtual machines that use members of this
                                chain, other branches included; often empty */
    struct vd_facts facts;   /* what was checked, warnings ("not the tip: x.vmdk is newer") */
};

/* Opens `name` of directory 0 and all its parents.  A parent is looked for by its hints in the
 * child's directory and then the others; a file of the right name with the wrong identity, and a
 * missing one, lead to a search of all files of the directories by identity.  Failure is VD_ECHAIN
 * with a message that names the child, the identity it asks for, the files looked at and why each
 * did not fit.  Cycles (same dev/ino, or more than VD_MAX_CHAIN members) are VD_ECHAIN.  *out is
 * the caller's (chain_free). */
int chain_open(const struct blk_source *source, const char *name,
               const struct chain_options *options, struct chain **out, struct vd_err *err);

/* The disk as of member `i` (0 = tip): the overlay of members i … n-1.  Caller owns *out; it keeps
 * its own references to the layers. */
int chain_point(const struct chain *chain, size_t i, struct blkdev **out, struct vd_err *err);

void chain_free(struct chain *chain);

#endif
