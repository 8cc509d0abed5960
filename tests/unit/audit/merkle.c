/* SPDX-License-Identifier: Apache-2.0 */
/* The tree of RFC 6962: heads that Certificate Transparency's own tests publish, and every proof
 * of small trees. */
#include "audit/merkle.h"
#include "testlib.h"

#include <string.h>

static struct vd_sha256 *sha;

static void leaf_hash(const void *bytes, size_t len, uint8_t out[VD_SHA256_SIZE])
{
    static const uint8_t prefix = 0;

    vd_sha256_reset(sha);
    vd_sha256_add(sha, &prefix, 1);
    vd_sha256_add(sha, bytes, len);
    vd_sha256_end(sha, out);
}

/* The reference log of the certificate-transparency project: inputs and heads of sizes 0 … 8. */
static void published_heads(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
    } input[8] = {{"", 0},
                  {"\x00", 1},
                  {"\x10", 1},
                  {"\x20\x21", 2},
                  {"\x30\x31", 2},
                  {"\x40\x41\x42\x43", 4},
                  {"\x50\x51\x52\x53\x54\x55\x56\x57", 8},
                  {"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f", 16}};
    static const char *const head[9] = {
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"};
    struct merkle tree = {0};
    uint8_t hash[VD_SHA256_SIZE];
    char hex[2 * VD_SHA256_SIZE + 1];
    size_t i;

    (void)state;
    for (i = 0;; i++) {
        merkle_root(&tree, sha, hash);
        vd_sha256_hex(hash, hex);
        assert_string_equal(hex, head[i]);
        if (i == 8)
            break;
        leaf_hash(input[i].bytes, input[i].len, hash);
        merkle_add(&tree, sha, hash);
    }
}

#define SMALL 70

static uint8_t leaves[SMALL][VD_SHA256_SIZE], roots[SMALL + 1][VD_SHA256_SIZE];

static int fill(void **state)
{
    struct merkle tree = {0};
    uint8_t i;

    (void)state;
    sha = vd_sha256_new();
    if (!sha)
        return -1;
    for (i = 0; i < SMALL; i++) {
        merkle_root(&tree, sha, roots[i]);
        leaf_hash(&i, 1, leaves[i]);
        merkle_add(&tree, sha, leaves[i]);
    }
    merkle_root(&tree, sha, roots[SMALL]);
    return 0;
}

static int empty(void **state)
{
    (void)state;
    vd_sha256_free(sha);
    return 0;
}

static const uint8_t (*all_leaves(void))[VD_SHA256_SIZE]
{
    return (const uint8_t(*)[VD_SHA256_SIZE])leaves;
}

/* Every leaf of every tree; no proof fits another leaf, place, size or head, or when a hash of it is
 * changed, missing or one too many. */
static void every_inclusion(void **state)
{
    struct merkle_proof proof, wrong;
    uint64_t n, i;
    size_t k;

    (void)state;
    for (n = 1; n <= SMALL; n++)
        for (i = 0; i < n; i++) {
            merkle_prove_inclusion(all_leaves(), n, i, sha, &proof);
            assert_true(merkle_check_inclusion(&proof, n, i, leaves[i], roots[n], sha));
            assert_false(
                merkle_check_inclusion(&proof, n, i, leaves[(i + 1) % SMALL], roots[n], sha));
            assert_false(merkle_check_inclusion(&proof, n, i, leaves[i], roots[n - 1], sha));
            assert_false(merkle_check_inclusion(&proof, n, n, leaves[i], roots[n], sha));
            if (n > 1)
                assert_false(
                    merkle_check_inclusion(&proof, n, (i + 1) % n, leaves[i], roots[n], sha));
            for (k = 0; k < proof.n; k++) {
                wrong = proof;
                wrong.hash[k][k % VD_SHA256_SIZE] ^= 1;
                assert_false(merkle_check_inclusion(&wrong, n, i, leaves[i], roots[n], sha));
            }
            wrong = proof;
            wrong.n++;
            memset(wrong.hash[proof.n], 0, VD_SHA256_SIZE);
            assert_false(merkle_check_inclusion(&wrong, n, i, leaves[i], roots[n], sha));
            if (proof.n) {
                wrong.n = proof.n - 1;
                assert_false(merkle_check_inclusion(&wrong, n, i, leaves[i], roots[n], sha));
            }
        }
}

static void every_consistency(void **state)
{
    struct merkle_proof proof, wrong;
    uint64_t n, m;
    size_t k;

    (void)state;
    for (n = 1; n <= SMALL; n++)
        for (m = 1; m <= n; m++) {
            merkle_prove_consistency(all_leaves(), n, m, sha, &proof);
            assert_true(merkle_check_consistency(&proof, m, n, roots[m], roots[n], sha));
            assert_false(merkle_check_consistency(&proof, m, n, roots[m - 1], roots[n], sha));
            assert_false(merkle_check_consistency(&proof, m, n, roots[m], roots[n - 1], sha));
            for (k = 0; k < proof.n; k++) {
                wrong = proof;
                wrong.hash[k][k % VD_SHA256_SIZE] ^= 0x80;
                assert_false(merkle_check_consistency(&wrong, m, n, roots[m], roots[n], sha));
            }
            if (proof.n) {
                wrong = proof;
                wrong.n--;
                assert_false(merkle_check_consistency(&wrong, m, n, roots[m], roots[n], sha));
            }
        }
    assert_false(merkle_check_consistency(&proof, 0, SMALL, roots[0], roots[SMALL], sha));
    assert_false(
        merkle_check_consistency(&proof, SMALL, SMALL - 1, roots[SMALL], roots[SMALL - 1], sha));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_heads),
        cmocka_unit_test(every_inclusion),
        cmocka_unit_test(every_consistency),
    };

    return cmocka_run_group_tests(tests, fill, empty);
}
