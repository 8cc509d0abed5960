/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree over the frames of a log: RFC 6962, section 2.1.
 *
 *     leaf = SHA-256(0x00 ‖ frame)       node = SHA-256(0x01 ‖ left ‖ right)
 *
 * Hashes only; who makes the leaves has the frames.  No state is shared: a tree is used by one
 * thread at a time.
 */
#ifndef VD_AUDIT_MERKLE_H
#define VD_AUDIT_MERKLE_H

#include "base/sha256.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Longest proof: one hash a level, and one more for consistency. */
#define MERKLE_MAX_PROOF 65

/* A tree that only grows, as its roots: node[k] is the root of a full tree of 2^k leaves, there
 * when bit k of `size` is set. */
struct merkle {
    uint64_t size;
    uint8_t node[64][VD_SHA256_SIZE];
};

/* Adds one leaf hash.  `sha` is scratch. */
void merkle_add(struct merkle *tree, struct vd_sha256 *sha, const uint8_t leaf[VD_SHA256_SIZE]);

/* The tree's head; of an empty tree SHA-256 of nothing. */
void merkle_root(const struct merkle *tree, struct vd_sha256 *sha, uint8_t out[VD_SHA256_SIZE]);

/* A proof, lowest level first. */
struct merkle_proof {
    size_t n;
    uint8_t hash[MERKLE_MAX_PROOF][VD_SHA256_SIZE];
};

/* Proof that leaf number `index` is in the tree of the first `size` leaves (section 2.1.1).
 * `leaves`: at least `size` hashes; index < size. */
void merkle_prove_inclusion(const uint8_t (*leaves)[VD_SHA256_SIZE], uint64_t size, uint64_t index,
                            struct vd_sha256 *sha, struct merkle_proof *out);

/* Proof that the tree of the first `size` leaves continues that of the first `old` (section
 * 2.1.2); 0 < old <= size.  Empty when they are equal. */
void merkle_prove_consistency(const uint8_t (*leaves)[VD_SHA256_SIZE], uint64_t size, uint64_t old,
                              struct vd_sha256 *sha, struct merkle_proof *out);

/* Checking, by the algorithms of RFC 9162, sections 2.1.3.2 and 2.1.4.2. */
bool merkle_check_inclusion(const struct merkle_proof *proof, uint64_t size, uint64_t index,
                            const uint8_t leaf[VD_SHA256_SIZE], const uint8_t root[VD_SHA256_SIZE],
                            struct vd_sha256 *sha);
bool merkle_check_consistency(const struct merkle_proof *proof, uint64_t old, uint64_t size,
                              const uint8_t old_root[VD_SHA256_SIZE],
                              const uint8_t root[VD_SHA256_SIZE], struct vd_sha256 *sha);

#endif
