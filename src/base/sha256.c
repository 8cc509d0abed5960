/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 (FIPS 180-4) through OpenSSL's EVP interface. */
#include "base/sha256.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static EVP_MD *sha256_md;
static pthread_once_t sha256_once = PTHREAD_ONCE_INIT;

struct vd_sha256 {
    EVP_MD_CTX *evp;
};

static void fetch(void)
{
    sha256_md = EVP_MD_fetch(NULL, "SHA256", NULL);
}

int vd_sha256_init(struct vd_err *err)
{
    (void)pthread_once(&sha256_once, fetch);
    return sha256_md ? 0 : vd_fail(err, VD_EUNSUPPORTED, "OpenSSL offers no SHA-256");
}

struct vd_sha256 *vd_sha256_new(void)
{
    struct vd_sha256 *ctx = vd_sha256_init(NULL) == 0 ? calloc(1, sizeof(*ctx)) : NULL;

    if (!ctx)
        return NULL;
    ctx->evp = EVP_MD_CTX_new();
    if (!ctx->evp || EVP_DigestInit_ex2(ctx->evp, sha256_md, NULL) != 1) {
        vd_sha256_free(ctx);
        return NULL;
    }
    return ctx;
}

/* The calls below cannot fail on a context that was set up: no allocation, no provider call. */
static void must(int ok)
{
    if (ok != 1)
        abort();
}

void vd_sha256_reset(struct vd_sha256 *ctx)
{
    must(EVP_DigestInit_ex2(ctx->evp, NULL, NULL));
}

void vd_sha256_add(struct vd_sha256 *ctx, const void *bytes, size_t len)
{
    must(EVP_DigestUpdate(ctx->evp, bytes, len));
}

void vd_sha256_end(struct vd_sha256 *ctx, uint8_t out[VD_SHA256_SIZE])
{
    must(EVP_DigestFinal_ex(ctx->evp, out, NULL));
}

void vd_sha256_free(struct vd_sha256 *ctx)
{
    if (!ctx)
        return;
    EVP_MD_CTX_free(ctx->evp);
    free(ctx);
}

void vd_sha256_hex(const uint8_t hash[VD_SHA256_SIZE], char out[2 * VD_SHA256_SIZE + 1])
{
    static const char digit[] = "0123456789abcdef";
    size_t i;

    for (i = 0; i < VD_SHA256_SIZE; i++) {
        out[2 * i] = digit[hash[i] >> 4];
        out[2 * i + 1] = digit[hash[i] & 15];
    }
    out[2 * i] = '\0';
}
