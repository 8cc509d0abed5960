/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text: growing strings, printable forms of hostile bytes, UTF-8 and UTF-16.
 * Everything here is pure and may be called from any thread.
 */
#ifndef VD_BASE_TEXT_H
#define VD_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Copies as much of `src` as fits (always NUL-terminated when size > 0); returns bytes copied. */
size_t vd_text_copy(char *dst, size_t size, const char *src);

/* Writes `src` (len bytes, any content) into dst so that it can be shown on a terminal and put in
 * JSON: printable ASCII and valid UTF-8 as they are, everything else (control bytes, C1, DEL,
 * invalid sequences, bidirectional overrides U+202A–E and U+2066–9) as \xHH per byte; a backslash
 * stays as it is.  Cuts at `size`, never inside an escape.  Returns bytes written without NUL. */
size_t vd_text_printable(const char *src, size_t len, char *dst, size_t size);

/* Length (1–4) of the valid UTF-8 sequence at p, or 0: overlong forms, surrogates and values over
 * U+10FFFF are invalid (Unicode 15, table 3-7).  `out_cp` may be NULL. */
size_t vd_utf8_next(const char *p, size_t len, uint32_t *out_cp);

/* Converts UTF-16 (`units` code units at `src`, little- or big-endian) to UTF-8.  Unpaired
 * surrogates become U+FFFD and set *out_lossy (may be NULL).  Stops before `size` is exceeded;
 * always NUL-terminates.  Returns bytes written without NUL. */
size_t vd_utf16_to_utf8(const uint8_t *src, size_t units, bool big_endian, char *dst, size_t size,
                        bool *out_lossy);

/* Last path component with '/' and '\\' as separators, so that Windows and ESXi paths of a
 * descriptor are reduced to a bare name.  Points into `path`; may be the empty string. */
const char *vd_text_basename(const char *path);

/* A growing string.  After a failed allocation `failed` stays set, later calls do nothing and
 * vd_str_take returns NULL: test once at the end. */
struct vd_str {
    char *p; /* NUL-terminated when not NULL */
    size_t len, cap;
    bool failed;
};

#define VD_STR_INIT                                                                                \
    {                                                                                              \
        0                                                                                          \
    }

void vd_str_add(struct vd_str *s, const char *text);
void vd_str_add_bytes(struct vd_str *s, const void *bytes, size_t len);
void vd_str_addf(struct vd_str *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The text (caller frees), "" if nothing was added, NULL if memory ran out; `s` is empty after. */
char *vd_str_take(struct vd_str *s);
void vd_str_clear(struct vd_str *s);

/* "1.5 GiB" style; for people, never for machines. */
void vd_text_size(uint64_t bytes, char *dst, size_t size);

#endif
