/* SPDX-License-Identifier: Apache-2.0 */
/* Names stored as UTF-16, as bytes that keep every one of them apart. */
#ifndef VD_FS_UTF16_H
#define VD_FS_UTF16_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes that `units` code units can need. */
#define FS_UTF16_BYTES(units) ((size_t)(units)*3)

/* Converts `units` code units at `src` to UTF-8, without a NUL at the end; returns the bytes
 * written, at most FS_UTF16_BYTES(units).  One to one: a lone surrogate becomes its three bytes
 * (WTF-8), U+0000 becomes C0 80; both are invalid UTF-8 and so cannot collide with a name.  Pure.
 */
size_t fs_utf16_name(const uint8_t *src, size_t units, bool big_endian, char *dst);

#endif
