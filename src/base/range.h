/* SPDX-License-Identifier: Apache-2.0 */
/* Checked arithmetic on numbers that come from an image.  Plain + and * on such numbers is a bug;
 * these helpers cannot wrap. */
#ifndef VD_BASE_RANGE_H
#define VD_BASE_RANGE_H

#include <stdbool.h>
#include <stdint.h>

/* *out = a + b; false (and *out untouched) if the sum does not fit 64 bits. */
static inline bool vd_add(uint64_t a, uint64_t b, uint64_t *out)
{
    uint64_t sum;

    if (__builtin_add_overflow(a, b, &sum))
        return false;
    *out = sum;
    return true;
}

/* *out = a * b; false (and *out untouched) if the product does not fit 64 bits. */
static inline bool vd_mul(uint64_t a, uint64_t b, uint64_t *out)
{
    uint64_t product;

    if (__builtin_mul_overflow(a, b, &product))
        return false;
    *out = product;
    return true;
}

/* Is [off, off+len) inside [0, total)?  An empty range may lie at the very end. */
static inline bool vd_range_inside(uint64_t off, uint64_t len, uint64_t total)
{
    return off <= total && len <= total - off;
}

/* Do [a, a+a_len) and [b, b+b_len) share a byte?  Neither may wrap (check first). */
static inline bool vd_range_overlap(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
    return a_len && b_len && a < b + b_len && b < a + a_len;
}

/* ceil(a / b), b > 0; cannot wrap. */
static inline uint64_t vd_div_up(uint64_t a, uint64_t b)
{
    return a / b + (a % b != 0);
}

static inline uint64_t vd_min(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline bool vd_is_pow2(uint64_t a)
{
    return a && !(a & (a - 1));
}

#endif
