/* SPDX-License-Identifier: Apache-2.0 */
/* Opening for the check: what can be opened, also when the chain as a whole cannot. */
#ifndef VD_CLI_CHECK_CHAIN_H
#define VD_CLI_CHECK_CHAIN_H

#include "blk/check.h"
#include "image/chain.h"

struct checked_chain {
    struct chain *chain; /* the whole and verified chain, or NULL; owned */
    struct image **v;    /* members, the named file first: those of `chain`, or … */
    size_t n;
    bool owned; /* … with NULL `chain` opened one by one: v and images are owned */
};

/* Opens the chain; when it is refused, the named file and from there on every parent that opens,
 * whether it fits or not, and the reason becomes the finding "chain_refused".  Fails only when the
 * named file itself cannot be opened, or memory runs out.  *out is the caller's
 * (checked_chain_clear). */
int checked_chain_open(const struct blk_source *source, const char *name,
                       const struct chain_options *options, const struct check *check,
                       struct checked_chain *out, struct vd_err *err);
void checked_chain_clear(struct checked_chain *c);

/* How member `i` belongs to the one before it, in words; NULL for the first. */
const char *checked_chain_link(const struct checked_chain *c, size_t i);

#endif
