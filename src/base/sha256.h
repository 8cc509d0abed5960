/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 through OpenSSL, with the algorithm fetched once: implicit fetching costs three times the
 * hash of a short record.  A context is used by one thread at a time. */
#ifndef VD_BASE_SHA256_H
#define VD_BASE_SHA256_H

#include "base/err.h"

#define VD_SHA256_SIZE 32

struct vd_sha256;

/* Fetches the algorithm and loads what OpenSSL loads lazily; call once before a sandbox is put on.
 * Later calls do nothing. */
int vd_sha256_init(struct vd_err *err);

struct vd_sha256 *vd_sha256_new(void); /* NULL: out of memory, or no SHA-256 */
void vd_sha256_reset(struct vd_sha256 *ctx);
void vd_sha256_add(struct vd_sha256 *ctx, const void *bytes, size_t len);
void vd_sha256_end(struct vd_sha256 *ctx, uint8_t out[VD_SHA256_SIZE]);
void vd_sha256_free(struct vd_sha256 *ctx);

/* 64 lower-case hexadecimal digits and a NUL. */
void vd_sha256_hex(const uint8_t hash[VD_SHA256_SIZE], char out[2 * VD_SHA256_SIZE + 1]);

#endif
