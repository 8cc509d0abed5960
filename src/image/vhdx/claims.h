/* SPDX-License-Identifier: Apache-2.0 */
/* Payload blocks, sector bitmap blocks and unknown regions of one VHDX that claim the same bytes.  At
 * most one of the claimants can be right and nothing tells which, so none is believed.  All of them
 * begin at multiples of 1 MiB. */
#ifndef VD_IMAGE_VHDX_CLAIMS_H
#define VD_IMAGE_VHDX_CLAIMS_H

#include "base/err.h"

/* Claims that are compared while opening: 2^20 of 8 bytes = 8 MiB for the time of the check, which is
 * every block of 32 TiB with the usual 32 MiB blocks. */
#define VHDX_MAX_CLAIMS (1u << 20)

/* Conflicts that are kept; a file with more is refused. */
#define VHDX_MAX_CONFLICTS 4096u

/* Filled and sorted while opening, then immutable. */
struct vhdx_claims {
    uint64_t *v; /* owned; start in MiB << 16 | length in MiB; in the end only those in conflict */
    size_t n, cap;
    bool finished;
};

/* Remembers `len` bytes (at most 65,535 MiB, rounded up to MiB) at `off`, which is cut to MiB.
 * VD_ELIMIT: more than VHDX_MAX_CLAIMS. */
int vhdx_claims_add(struct vhdx_claims *claims, uint64_t off, uint64_t len, struct vd_err *err);

/* Keeps those that share a byte with another one.  VD_ECORRUPT: more than VHDX_MAX_CONFLICTS. */
int vhdx_claims_finish(struct vhdx_claims *claims, struct vd_err *err);

/* Is the claim that starts at `off` in conflict?  Never before vhdx_claims_finish; any thread after
 * it. */
bool vhdx_claims_hit(const struct vhdx_claims *claims, uint64_t off);

/* Start of the first conflict, bytes; n must not be 0. */
uint64_t vhdx_claims_first(const struct vhdx_claims *claims);

void vhdx_claims_clear(struct vhdx_claims *claims);

#endif
