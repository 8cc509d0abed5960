/* SPDX-License-Identifier: Apache-2.0 */
/* The tree over frames; see merkle.h.  Pure but for the hash context. */
#include "audit/merkle.h"

#include <string.h>

static void hash_node(struct vd_sha256 *sha, const uint8_t *left, const uint8_t *right,
                      uint8_t out[VD_SHA256_SIZE])
{
    static const uint8_t prefix = 1;

    vd_sha256_reset(sha);
    vd_sha256_add(sha, &prefix, 1);
    vd_sha256_add(sha, left, VD_SHA256_SIZE);
    vd_sha256_add(sha, right, VD_SHA256_SIZE);
    vd_sha256_end(sha, out);
}

void merkle_add(struct merkle *tree, struct vd_sha256 *sha, const uint8_t leaf[VD_SHA256_SIZE])
{
    uint8_t hash[VD_SHA256_SIZE];
    unsigned level = 0;

    memcpy(hash, leaf, sizeof(hash));
    for (; tree->size >> level & 1; level++)
        hash_node(sha, tree->node[level], hash, hash);
    memcpy(tree->node[level], hash, sizeof(hash));
    tree->size++;
}

void merkle_root(const struct merkle *tree, struct vd_sha256 *sha, uint8_t out[VD_SHA256_SIZE])
{
    bool have = false;
    unsigned level;

    vd_sha256_reset(sha);
    if (tree->size == 0)
        vd_sha256_end(sha, out);
    for (level = 0; level < 64; level++) {
        if (!(tree->size >> level & 1))
            continue;
        if (have)
            hash_node(sha, tree->node[level], out, out);
        else
            memcpy(out, tree->node[level], VD_SHA256_SIZE);
        have = true;
    }
}

/* Largest power of two below n (n > 1): where a tree of n leaves is divided. */
static uint64_t split(uint64_t n)
{
    uint64_t k = 1;

    while (k < n - k)
        k *= 2;
    return k;
}

static void add_range(struct merkle_prover *p, uint64_t start, uint64_t n)
{
    p->range[p->n] = (struct merkle_range){start, start + n, p->n};
    p->n++;
}

/* The ranges were found from the top; a proof begins at the bottom, and leaves come in order. */
static void order_ranges(struct merkle_prover *p)
{
    size_t i, j;

    p->proof.n = p->n;
    for (i = 0; i < p->n; i++)
        p->range[i].place = p->n - 1 - p->range[i].place;
    for (i = 1; i < p->n; i++) {
        const struct merkle_range range = p->range[i];

        for (j = i; j > 0 && p->range[j - 1].start > range.start; j--)
            p->range[j] = p->range[j - 1];
        p->range[j] = range;
    }
}

void merkle_prover_inclusion(struct merkle_prover *p, uint64_t size, uint64_t index)
{
    uint64_t start = 0;

    *p = (struct merkle_prover){0};
    while (size > 1) {
        uint64_t k = split(size);

        if (index - start < k) {
            add_range(p, start + k, size - k);
            size = k;
        } else {
            add_range(p, start, k);
            start += k;
            size -= k;
        }
    }
    order_ranges(p);
}

void merkle_prover_consistency(struct merkle_prover *p, uint64_t size, uint64_t old)
{
    bool whole = true; /* the old tree is a subtree whose head is known */
    uint64_t start = 0;

    *p = (struct merkle_prover){0};
    while (old != size) {
        uint64_t k = split(size);

        if (old <= k) {
            add_range(p, start + k, size - k);
            size = k;
        } else {
            add_range(p, start, k);
            start += k;
            old -= k;
            size -= k;
            whole = false;
        }
    }
    if (!whole)
        add_range(p, start, size);
    order_ranges(p);
}

void merkle_prover_add(struct merkle_prover *p, struct vd_sha256 *sha,
                       const uint8_t leaf[VD_SHA256_SIZE])
{
    const struct merkle_range *range = &p->range[p->at];

    if (p->at < p->n && p->next >= range->start) {
        merkle_add(&p->tree, sha, leaf);
        if (p->next + 1 == range->end) {
            merkle_root(&p->tree, sha, p->proof.hash[range->place]);
            p->tree = (struct merkle){0};
            p->at++;
        }
    }
    p->next++;
}

bool merkle_prover_done(const struct merkle_prover *p)
{
    return p->at == p->n;
}

static void prove(struct merkle_prover *p, const uint8_t (*leaves)[VD_SHA256_SIZE], uint64_t size,
                  struct vd_sha256 *sha, struct merkle_proof *out)
{
    uint64_t i;

    for (i = 0; i < size; i++)
        merkle_prover_add(p, sha, leaves[i]);
    *out = p->proof;
}

void merkle_prove_inclusion(const uint8_t (*leaves)[VD_SHA256_SIZE], uint64_t size, uint64_t index,
                            struct vd_sha256 *sha, struct merkle_proof *out)
{
    struct merkle_prover p;

    merkle_prover_inclusion(&p, size, index);
    prove(&p, leaves, size, sha, out);
}

void merkle_prove_consistency(const uint8_t (*leaves)[VD_SHA256_SIZE], uint64_t size, uint64_t old,
                              struct vd_sha256 *sha, struct merkle_proof *out)
{
    struct merkle_prover p;

    merkle_prover_consistency(&p, size, old);
    prove(&p, leaves, size, sha, out);
}

bool merkle_check_inclusion(const struct merkle_proof *proof, uint64_t size, uint64_t index,
                            const uint8_t leaf[VD_SHA256_SIZE], const uint8_t root[VD_SHA256_SIZE],
                            struct vd_sha256 *sha)
{
    uint64_t fn = index, sn = size - 1;
    uint8_t r[VD_SHA256_SIZE];
    size_t i;

    if (size == 0 || index >= size)
        return false;
    memcpy(r, leaf, sizeof(r));
    for (i = 0; i < proof->n; i++) {
        if (sn == 0)
            return false;
        if ((fn & 1) || fn == sn) {
            hash_node(sha, proof->hash[i], r, r);
            while (!(fn & 1) && fn) {
                fn >>= 1;
                sn >>= 1;
            }
        } else {
            hash_node(sha, r, proof->hash[i], r);
        }
        fn >>= 1;
        sn >>= 1;
    }
    return sn == 0 && memcmp(r, root, sizeof(r)) == 0;
}

bool merkle_check_consistency(const struct merkle_proof *proof, uint64_t old, uint64_t size,
                              const uint8_t old_root[VD_SHA256_SIZE],
                              const uint8_t root[VD_SHA256_SIZE], struct vd_sha256 *sha)
{
    uint8_t fr[VD_SHA256_SIZE], sr[VD_SHA256_SIZE];
    uint64_t fn = old - 1, sn = size - 1;
    bool power = old && !(old & (old - 1));
    size_t i = power ? 0 : 1;

    if (old == 0 || old > size)
        return false;
    if (old == size)
        return proof->n == 0 && memcmp(old_root, root, VD_SHA256_SIZE) == 0;
    if (proof->n == 0)
        return false;
    while (fn & 1) {
        fn >>= 1;
        sn >>= 1;
    }
    memcpy(fr, power ? old_root : proof->hash[0], sizeof(fr));
    memcpy(sr, fr, sizeof(sr));
    for (; i < proof->n; i++) {
        if (sn == 0)
            return false;
        if ((fn & 1) || fn == sn) {
            hash_node(sha, proof->hash[i], fr, fr);
            hash_node(sha, proof->hash[i], sr, sr);
            while (!(fn & 1) && fn) {
                fn >>= 1;
                sn >>= 1;
            }
        } else {
            hash_node(sha, sr, proof->hash[i], sr);
        }
        fn >>= 1;
        sn >>= 1;
    }
    return sn == 0 && memcmp(fr, old_root, sizeof(fr)) == 0 && memcmp(sr, root, sizeof(sr)) == 0;
}
