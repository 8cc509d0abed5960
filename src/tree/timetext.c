/* SPDX-License-Identifier: Apache-2.0 */
/* Times as text, see timetext.h.  gmtime_r is not used: it fails for large years, and hostile
 * evidence has them. */
#include "tree/timetext.h"

#include <inttypes.h>
#include <stdio.h>

#define DAY_SECONDS 86400
/* Days of 400 Gregorian years, and of 0000-03-01 to 1970-01-01. */
#define ERA_DAYS   146097
#define EPOCH_DAYS 719468

void timetext_format(int64_t sec, uint32_t nsec, char out[TIMETEXT_MAX])
{
    int64_t days = sec / DAY_SECONDS - (sec % DAY_SECONDS < 0);
    unsigned rest = (unsigned)((sec % DAY_SECONDS + DAY_SECONDS) % DAY_SECONDS);
    /* Years that start in March put the leap day last; an era is 400 of them. */
    int64_t z = days + EPOCH_DAYS, era = (z >= 0 ? z : z - (ERA_DAYS - 1)) / ERA_DAYS, year;
    unsigned day_of_era = (unsigned)(z - era * ERA_DAYS);
    unsigned year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / (ERA_DAYS - 1)) / 365;
    unsigned day = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned month = (5 * day + 2) / 153; /* 0 = March */

    day = day - (153 * month + 2) / 5 + 1;
    month = month < 10 ? month + 3 : month - 9;
    year = era * 400 + year_of_era + (month <= 2);
    (void)snprintf(out, TIMETEXT_MAX,
                   year < 0 || year > 9999 ? "%+05" PRId64 "-%02u-%02uT%02u:%02u:%02u.%09uZ"
                                           : "%04" PRId64 "-%02u-%02uT%02u:%02u:%02u.%09uZ",
                   year, month, day, rest / 3600, rest / 60 % 60, rest % 60, nsec);
}
