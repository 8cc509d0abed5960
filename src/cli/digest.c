/* SPDX-License-Identifier: Apache-2.0 */
/* Hashes through OpenSSL's EVP interface.  A copy of the context is finished where the hash so far is
 * wanted, so that the running one can go on. */
#include "cli/digest.h"

#include "base/range.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

static const struct digest_kind {
    const char *name, *evp;
} kind_table[] = {{"sha256", "SHA256"}, {"sha1", "SHA1"}, {"md5", "MD5"}, {"sha512", "SHA512"}};

struct digest {
    const struct digest_kind *kind;
    EVP_MD_CTX *evp;
};

/* On a context that was set up these do not fail: digests of the default provider allocate
 * nothing after that but the copy, for which see digest_copy. */
static void must(int ok)
{
    if (ok != 1)
        abort();
}

static const struct digest_kind *find_kind(const char *name)
{
    size_t i;

    for (i = 0; i < sizeof(kind_table) / sizeof(kind_table[0]); i++)
        if (strcmp(kind_table[i].name, name) == 0)
            return &kind_table[i];
    return NULL;
}

int digest_new(const char *name, struct digest **out, struct vd_err *err)
{
    const struct digest_kind *kind = find_kind(name);
    struct digest *d;
    EVP_MD *md;
    int ok;

    if (!kind)
        return vd_fail(err, VD_EUSAGE, "\"%s\" is none of sha256, sha1, md5, sha512", name);
    d = calloc(1, sizeof(*d));
    if (!d)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    d->kind = kind;
    d->evp = EVP_MD_CTX_new();
    md = EVP_MD_fetch(NULL, kind->evp, NULL);
    ok = d->evp && md && EVP_DigestInit_ex2(d->evp, md, NULL) == 1;
    EVP_MD_free(md);
    if (!ok) {
        digest_free(d);
        return vd_fail(err, VD_EUNSUPPORTED, "OpenSSL offers no %s here", kind->evp);
    }
    *out = d;
    return 0;
}

void digest_free(struct digest *digest)
{
    if (!digest)
        return;
    EVP_MD_CTX_free(digest->evp);
    free(digest);
}

const char *digest_name(const struct digest *digest)
{
    return digest->kind->name;
}

void digest_add(struct digest *digest, const void *bytes, size_t len)
{
    must(EVP_DigestUpdate(digest->evp, bytes, len));
}

void digest_add_zeros(struct digest *digest, uint64_t len)
{
    static const uint8_t zeros[65536];

    while (len) {
        size_t n = (size_t)vd_min(len, sizeof(zeros));

        digest_add(digest, zeros, n);
        len -= n;
    }
}

struct digest *digest_copy(const struct digest *digest)
{
    struct digest *d = calloc(1, sizeof(*d));

    if (!d)
        return NULL;
    d->kind = digest->kind;
    d->evp = EVP_MD_CTX_new();
    if (!d->evp || EVP_MD_CTX_copy_ex(d->evp, digest->evp) != 1) {
        digest_free(d);
        return NULL;
    }
    return d;
}

void digest_so_far(const struct digest *digest, char out[DIGEST_HEX_MAX])
{
    static const char digit[] = "0123456789abcdef";
    struct digest *copy = digest_copy(digest);
    uint8_t hash[EVP_MAX_MD_SIZE];
    unsigned len = 0, i;

    if (!copy) {
        out[0] = '\0'; /* no memory for 200 bytes: the empty text matches no hash */
        return;
    }
    must(EVP_DigestFinal_ex(copy->evp, hash, &len));
    digest_free(copy);
    for (i = 0; i < len; i++) {
        out[2 * i] = digit[hash[i] >> 4];
        out[2 * i + 1] = digit[hash[i] & 15];
    }
    out[2 * i] = '\0';
}
