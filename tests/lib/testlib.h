/* SPDX-License-Identifier: Apache-2.0 */
/* Helpers that several test programs share. */
#ifndef VD_TESTLIB_H
#define VD_TESTLIB_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "blk/blkdev.h"

/* Asserts success and prints the message of a failure. */
#define assert_ok(expr)                                                                            \
    do {                                                                                           \
        int vd_rc = (expr);                                                                        \
        if (vd_rc != 0)                                                                            \
            fail_msg("%s: %s (%d): %s", #expr, vd_class_name(vd_rc), vd_rc, err.msg);              \
    } while (0)

/* Asserts failure with class `cls` and with `text` inside err.msg. */
#define assert_fails(expr, cls_, text)                                                             \
    do {                                                                                           \
        int vd_rc = (expr);                                                                        \
        if (vd_rc != -(int)(cls_) || !test_contains(err.msg, text))                                \
            fail_msg("%s: got %s (%d) \"%s\", expected %s with \"%s\"", #expr,                     \
                     vd_class_name(vd_rc), vd_rc, err.msg, vd_class_name(-(int)(cls_)), text);     \
    } while (0)

int test_contains(const char *haystack, const char *needle);

/* A new temporary directory (caller removes it with test_rmdir); aborts the test on failure. */
char *test_tmpdir(void);
void test_rmdir(char *dir);

/* Writes a file beneath `dir`. */
void test_write_file(const char *dir, const char *name, const void *bytes, size_t len);

/* Deterministic pseudo-random bytes. */
void test_fill(void *bytes, size_t len, uint64_t seed);

#endif
