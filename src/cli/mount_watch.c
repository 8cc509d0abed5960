/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See mount_watch.h.  The kernel tells changes of the mount table (poll of /proc/self/mountinfo),
 * but not every way to change a superblock, so the caller looks once a second as well.  A mount that
 * is not there any more is no change: that is an unmount, which ends the session.
 */
#include "cli/mount_watch.h"

#include "base/cleanup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *mount_watch_start(struct mount_watch *watch, const struct mountpoint *mp)
{
    free(watch->in_force);
    watch->in_force = mountpoint_in_force(mp);
    return watch->in_force;
}

void mount_watch_look(struct mount_watch *watch, const struct mountpoint *mp,
                      struct audit_ring *ring, struct mount_say *say)
{
    VD_AUTO(free) char *now = NULL;
    char text[4096];
    struct audit_field fields[] = {{AUDIT_T_KEY, "mount options", 13}, {AUDIT_T_TEXT, text, 0}};
    const struct audit_event event = {.op = AUDIT_POLICY, .fields = fields, .n_fields = 2};
    uint64_t seq;

    if (!watch->in_force)
        return;
    now = mountpoint_in_force(mp);
    if (!now || strcmp(now, watch->in_force) == 0)
        return;
    (void)snprintf(text, sizeof(text),
                   "the mount was changed by somebody: now %s; before %s.  What would change the "
                   "evidence is refused all the same",
                   now, watch->in_force);
    fields[1].len = strlen(text);
    seq = audit_log(ring, &event);
    if (seq == AUDIT_NOT_LOGGED)
        return; /* again with the next look */
    if (audit_state(ring) ==
        AUDIT_READY) /* critical, but nobody's signals may wait for a full disk */
        (void)audit_wait(ring, seq, NULL);
    (void)mount_say(say, true, text);
    free(watch->in_force);
    watch->in_force = vd_take(&now);
}

void mount_watch_clear(struct mount_watch *watch)
{
    free(watch->in_force);
    watch->in_force = NULL;
}
