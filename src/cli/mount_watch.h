/* SPDX-License-Identifier: Apache-2.0 */
/* Watches whether the options of the mount stay what they were: somebody with the rights to do it
 * can strip ro, nosuid and the rest from a mount without its program being asked. */
#ifndef VD_CLI_MOUNT_WATCH_H
#define VD_CLI_MOUNT_WATCH_H

#include "audit/audit.h"
#include "cli/mount_say.h"
#include "fuse/mountpoint.h"

/* Zero-initialise; mount_watch_clear. */
struct mount_watch {
    char *in_force; /* as seen last; NULL: not yet */
};

/* Notes what is in force; the text is borrowed, NULL when unknown. */
const char *mount_watch_start(struct mount_watch *watch, const struct mountpoint *mp);

/* Looks again.  When something changed: a POLICY record, and a warning to
 * whoever runs the program.  Supervisor's main thread. */
void mount_watch_look(struct mount_watch *watch, const struct mountpoint *mp,
                      struct audit_ring *ring, struct mount_say *say);

void mount_watch_clear(struct mount_watch *watch);

#endif
