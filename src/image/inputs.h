/* SPDX-License-Identifier: Apache-2.0 */
/* The evidence files that a chain is made of: what is hashed and listed as "inputs". */
#ifndef VD_IMAGE_INPUTS_H
#define VD_IMAGE_INPUTS_H

#include "image/chain.h"

struct chain_inputs {
    struct blkdev **v; /* evidence devices, each file once, tip's files first; borrowed from the
                          chain */
    size_t n;
};

/* Collects them; the array is the caller's (chain_inputs_clear), valid while `chain` lives. */
int chain_inputs_collect(const struct chain *chain, struct chain_inputs *out, struct vd_err *err);
void chain_inputs_clear(struct chain_inputs *inputs);

#endif
