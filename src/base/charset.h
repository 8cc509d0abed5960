/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text in the encodings that Windows and VMware products write, to UTF-8.  Only a fixed list is known:
 * an image cannot choose among the many converters of the C library.
 *
 * Threads: any.  The converters are loaded at first use or by vd_charset_load().
 */
#ifndef VD_BASE_CHARSET_H
#define VD_BASE_CHARSET_H

#include "base/err.h"

/* Loads all converters of the list, for a process that will soon be unable to open files. */
void vd_charset_load(void);

/* Is this the name of UTF-8, or of ASCII, or empty?  Then text needs no conversion. */
bool vd_charset_is_utf8(const char *charset);

/* Can `c` be the first byte of a character of two in this encoding, whose second byte may look like
 * ASCII ('\\' above all)? */
bool vd_charset_is_lead(const char *charset, unsigned char c);

/* Converts the text (NUL-terminated) to UTF-8.  VD_EUNSUPPORTED: the encoding is not known here;
 * VD_ECORRUPT: the bytes are not text of that encoding.  *out is the caller's. */
int vd_charset_to_utf8(const char *charset, const char *text, char **out, struct vd_err *err);

#endif
