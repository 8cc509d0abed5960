/* SPDX-License-Identifier: Apache-2.0 */
/* Reporting of findings; see check.h. */
#include "blk/check.h"

#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void check_finding(const struct check *check, enum check_level level, const char *id,
                   const char *file, const struct check_place *place, const char *fmt, ...)
{
    char raw[1024], text[2048];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(raw, sizeof(raw), fmt, args);
    va_end(args);
    vd_text_printable(raw, strlen(raw), text, sizeof(text));
    check->finding(check->ctx, level, id, file, place, text);
}

void check_count(const struct check *check, const char *file, const char *what, uint64_t n)
{
    check->count(check->ctx, file, what, n);
}
