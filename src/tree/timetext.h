/* SPDX-License-Identifier: Apache-2.0 */
/* Times as text: ISO 8601, UTC. */
#ifndef VD_TREE_TIMETEXT_H
#define VD_TREE_TIMETEXT_H

#include <stddef.h>
#include <stdint.h>

#define TIMETEXT_MAX 48

/* "2021-03-04T05:06:07.123456789Z".  Any int64_t second is accepted: years outside 0000–9999 get a
 * sign and as many digits as they need (ISO 8601, expanded representation).  Proleptic Gregorian
 * calendar; no leap seconds, no locale, no time zone.  nsec < 1,000,000,000.  Pure. */
void timetext_format(int64_t sec, uint32_t nsec, char out[TIMETEXT_MAX]);

#endif
