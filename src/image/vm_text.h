/* SPDX-License-Identifier: Apache-2.0 */
/* VMware's "dictionary" text, of which .vmsd and .vmx files are made: lines KEY = "VALUE".  Pure. */
#ifndef VD_IMAGE_VM_TEXT_H
#define VD_IMAGE_VM_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Points into the text. */
struct vm_line {
    const char *key; /* not terminated */
    size_t key_len;
    const char *value; /* without quotes, escapes as they are */
    size_t value_len;
};

/* The next line that holds a key and a value; *io moves on.  False at the end. */
bool vm_text_line(const char **io, const char *end, struct vm_line *out);

bool vm_text_key_is(const struct vm_line *line, const char *key);

/* Decimal with sign.  False: not a number. */
bool vm_text_number(const struct vm_line *line, int64_t *out);

/* Key "PREFIX17.rest" (`len` bytes) → 17 and "rest" with its length.  NULL: another key. */
const char *vm_text_numbered(const char *key, size_t len, const char *prefix, uint64_t *out_number,
                             size_t *out_len);

enum vm_charset { VM_CHARSET_UTF8, VM_CHARSET_WINDOWS_1252, VM_CHARSET_OTHER };

/* How values of one file are read, and what was met. */
struct vm_reading {
    enum vm_charset charset;
    bool unconverted; /* bytes of a character set that is not known were met */
    bool no_memory;
};

/* The character set that the line `.encoding` names. */
enum vm_charset vm_text_charset(const char *text, size_t len);

/* The value's bytes, |HH resolved, in UTF-8 where the character set is known; the caller frees.
 * NULL: memory. */
char *vm_text_value(struct vm_reading *r, const struct vm_line *line);

/* The printable form of `text` (vd_text_printable, whole); the caller frees.  NULL: memory. */
char *vm_text_printable(struct vm_reading *r, const char *text);

#endif
