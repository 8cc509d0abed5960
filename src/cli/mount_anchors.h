/* SPDX-License-Identifier: Apache-2.0 */
/* The options that are about anchors (audit/anchor.h), put to work. */
#ifndef VD_CLI_MOUNT_ANCHORS_H
#define VD_CLI_MOUNT_ANCHORS_H

#include "audit/anchor.h"
#include "cli/mount_say.h"
#include "cli/options.h"

/* `say` is borrowed for the life of the object.  NULL in *out: nothing is asked for. */
int mount_anchors_new(const struct options *o, struct mount_say *say, struct audit_anchors **out,
                      struct vd_err *err);

#endif
