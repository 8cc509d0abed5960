/* SPDX-License-Identifier: Apache-2.0 */
/* Hashes that people ask for by name, with the hash of what came so far at any time. */
#ifndef VD_CLI_DIGEST_H
#define VD_CLI_DIGEST_H

#include "base/err.h"

#define DIGEST_MAX     64 /* bytes of the longest */
#define DIGEST_HEX_MAX (2 * DIGEST_MAX + 1)

struct digest;

/* `name`: "sha256", "sha1", "md5", "sha512".  VD_EUSAGE: another name; VD_EUNSUPPORTED: this machine
 * does not offer it.  Used by one thread at a time. */
int digest_new(const char *name, struct digest **out, struct vd_err *err);
void digest_free(struct digest *digest);

const char *digest_name(const struct digest *digest);
void digest_add(struct digest *digest, const void *bytes, size_t len);
void digest_add_zeros(struct digest *digest, uint64_t len);

/* The hash of everything added so far, as lower-case hexadecimal digits; more may be added. */
void digest_so_far(const struct digest *digest, char out[DIGEST_HEX_MAX]);

/* A copy that goes its own way; NULL: out of memory. */
struct digest *digest_copy(const struct digest *digest);

#endif
