/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Display names: a reversible escape of the raw names of the evidence.
 *
 * Rules, in order.  XX is two UPPERCASE hexadecimal digits.
 *
 *   1. the empty name           ↔  %
 *   2. the name "%"             ↔  %25
 *   3. the name "."             ↔  %2E
 *   4. the name ".."            ↔  %2E%2E
 *   5. otherwise byte by byte:
 *      '/', 00–1F, 7F, and each byte that is not part of a valid UTF-8 sequence   →  %XX
 *      '%' when two characters [0-9A-F] follow it in the raw name                 →  %25
 *      everything else stays, a '%' in any other place included
 *
 * Reading back: "%" alone is the empty name; '%' followed by two characters [0-9A-F] is that byte;
 * everything else stands for itself.
 *
 * Why that is a bijection between raw names and the display names that names_unescape accepts: the
 * escape writes '%' + two digits only as an escape.  A '%' that rule 5 leaves alone is not followed
 * by two digits in the raw name, and what follows it in the display name is either those same
 * characters or starts another escape, that is with '%', which is no digit.  So reading back
 * restores the raw name (escape is injective); and names_unescape refuses every text that is not
 * what names_escape writes for its result, such as "%41" for "A" or lowercase "%2f".  One name has
 * one spelling.
 */
#ifndef VD_TREE_NAMES_H
#define VD_TREE_NAMES_H

#include "base/text.h"

/* Appends the display form of a whole raw name. */
void names_escape(struct vd_str *out, const char *raw, size_t len);

/* Appends the display form of a part of a name: rule 5 alone (streams, pieces of link targets). */
void names_escape_part(struct vd_str *out, const char *raw, size_t len);

/* The raw name behind a display name (strlen(display) + 1 bytes are enough; it may hold NUL). False
 * when names_escape never writes `display`. */
bool names_unescape(const char *display, char *out_raw, size_t *out_len);

/* How much of the display text (len bytes) fits into max bytes without cutting a character or an
 * escape. */
size_t names_cut(const char *display, size_t len, size_t max);

/* Does the name end like one that the listing made unique or cut, in ~DIGITS? */
bool names_has_suffix(const char *display, size_t len);

#endif
