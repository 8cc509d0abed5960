/* SPDX-License-Identifier: Apache-2.0 */
/* Every message begins with the name of the file it is about, once: errors of the medium bring it
 * from the evidence layer, those of a decoder do not have it yet. */
#ifndef VD_IMAGE_NAMED_H
#define VD_IMAGE_NAMED_H

#include "base/err.h"

#include <string.h>

/* Puts "NAME: " in front of the message unless `name` is in it; returns `rc` unchanged. */
static inline int image_named(struct vd_err *err, int rc, const char *name)
{
    return rc && err && !strstr(err->msg, name) ? vd_prefix(err, rc, "%s", name) : rc;
}

#endif
