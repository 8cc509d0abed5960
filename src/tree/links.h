/* SPDX-License-Identifier: Apache-2.0 */
/* Targets of symbolic links that stay below their fs/.  See links.c for the rule and the proof. */
#ifndef VD_TREE_LINKS_H
#define VD_TREE_LINKS_H

#include "base/err.h"
#include "base/text.h"

/* Writes the target to show for the raw target (len bytes, any content; the part from the first NUL
 * on is dropped, as an operating system would).  `windows`: an NTFS target; '\' separates, drives
 * and prefixes such as \??\ mean the root of the volume.  `depth`: directories between fs/ and the
 * directory that holds the link, or TREE_DEPTH_UNKNOWN.  The result is at most PATH_MAX - 1 bytes
 * (else VD_ELIMIT), not empty and without NUL.  VD_ECORRUPT: empty target.  VD_EREFUSED: the target
 * climbs and the depth is not known.  Pure, any thread; the caller clears *out. */
int links_contain(const char *raw, size_t len, bool windows, unsigned depth, struct vd_str *out,
                  struct vd_err *err);

#endif
