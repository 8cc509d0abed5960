/* SPDX-License-Identifier: Apache-2.0 */
/* Calendar dates to seconds, without the C library's time zone. */
#ifndef VD_FS_CIVIL_H
#define VD_FS_CIVIL_H

#include <stdint.h>

/* Days from 1970-01-01 of a date of the Gregorian calendar (month 1–12, day 1–31). */
static inline int64_t fs_days_from_civil(int64_t year, unsigned month, unsigned day)
{
    /* the year begins in March, so that the leap day is its last */
    int64_t y = year - (month <= 2), era = (y >= 0 ? y : y - 399) / 400, in_era = y - era * 400;
    int64_t in_year = (153 * (int64_t)(month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;

    return era * 146097 + in_era * 365 + in_era / 4 - in_era / 100 + in_year - 719468;
}

#endif
