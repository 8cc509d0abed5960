/* SPDX-License-Identifier: Apache-2.0 */
/* A random chain out of fuzzer input: members, their content, knobs, and at most one broken byte. */
#ifndef VD_FUZZ_CHAINS_PLAN_H
#define VD_FUZZ_CHAINS_PLAN_H

#include "compare.h"

#define PLAN_MEMBERS 6
#define PLAN_EXTENTS 4

struct plan_input {
    const uint8_t *p;
    size_t len;
};

struct plan_member {
    struct wr_spec spec;
    struct wr_run *runs; /* owned */
    struct wr_extent extents[PLAN_EXTENTS];
    char name[32], hint[64];
    uint8_t guids[32];
};

struct plan {
    struct plan_member m[PLAN_MEMBERS]; /* base first */
    size_t n;
    uint64_t random; /* for reads and the place of the mutation */
    bool mutate;     /* one byte of one file is changed */
    uint8_t flip;    /* … by this */
    bool unopenable; /* a member that no reader can tell (dirty seSparse journal) is in the chain */
};

void plan_decode(struct plan *plan, const uint8_t *data, size_t size);
void plan_clear(struct plan *plan);

/* Prints the plan (for a human who looks at a finding). */
void plan_print(const struct plan *plan);

#endif
