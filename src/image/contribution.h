/* SPDX-License-Identifier: Apache-2.0 */
/* What each member of a chain gives to the disk, found by walking the maps of all members. */
#ifndef VD_IMAGE_CONTRIBUTION_H
#define VD_IMAGE_CONTRIBUTION_H

#include "image/chain.h"

struct contribution {
    /* Bytes of the disk for which this member is the one that answers: */
    uint64_t data, zeros, unreadable;
    uint64_t stored; /* bytes of its own that it holds data for, hidden by newer members or not */
};

/* Walks the maps of members `point` … n-1.  *out has chain->n entries (those before `point` are 0);
 * caller frees.  A table that cannot be read counts as unreadable.  VD_ELIMIT: it takes more than about
 * `max_ms` milliseconds (a run costs from 0.3 µs where tables are cached to 10 µs where they are not).
 * VD_ENOMEM. */
int chain_contributions(const struct chain *chain, size_t point, unsigned max_ms,
                        struct contribution **out, struct vd_err *err);

#endif
