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

/* Makes a proof while the leaves go by in order, each once: every hash of a proof is the root over a
 * range of leaves, and the ranges do not overlap.  Memory does not depend on the number of leaves. */
struct merkle_prover {
    struct merkle_proof proof; /* complete once merkle_prover_done */
    size_t n, at;              /* ranges, and how many of them are over */
    struct merkle_range {
        uint64_t start, end; /* leaves [start, end) */
        size_t place;        /* of its root in the proof */
    } range[MERKLE_MAX_PROOF];
    uint64_t next;      /* number of the leaf that comes next */
    struct merkle tree; /* over the leaves of the range at hand */
};

/* Proof that leaf number `index` is in the tree of the first `size` leaves (section 2.1.1);
 * index < size. */
void merkle_prover_inclusion(struct merkle_prover *prover, uint64_t size, uint64_t index);

/* Proof that the tree of the first `size` leaves continues that of the first `old` (section
 * 2.1.2); 0 < old <= size.  Empty when they are equal. */
void merkle_prover_consistency(struct merkle_prover *prover, uint64_t size, uint64_t old);

/* The next leaf.  Leaves after those that the proof is about are passed over.  `sha` is scratch. */
void merkle_prover_add(struct merkle_prover *prover, struct vd_sha256 *sha,
                       const uint8_t leaf[VD_SHA256_SIZE]);
bool merkle_prover_done(const struct merkle_prover *prover);

/* The same from leaves in memory: at least `size` hashes. */
void merkle_prove_inclusion(const uint8_t (*leaves)[VD_SHA256_SIZE], uint64_t size, uint64_t index,
                            struct vd_sha256 *sha, struct merkle_proof *out);
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
