/* SPDX-License-Identifier: Apache-2.0 */
/* See mount_anchors.h.  One thread, before the fork. */
#include "cli/mount_anchors.h"

#define LINE_MS          1000  /* anchor_log=every */
#define MINUTE_MS        60000 /* anchor_log=minute */
#define DEFAULT_INTERVAL 60    /* seconds */
#define DEFAULT_TIMEOUT  30

static unsigned line_ms(enum options_anchor_log when)
{
    switch (when) {
    case OPTIONS_ANCHOR_EVERY:
        return LINE_MS;
    case OPTIONS_ANCHOR_MINUTE:
        return MINUTE_MS;
    case OPTIONS_ANCHOR_OFF:
        break;
    }
    return 0;
}

int mount_anchors_new(const struct options *o, struct mount_say *say, struct audit_anchors **out,
                      struct vd_err *err)
{
    const struct audit_anchors_config config = {
        .line_ms = line_ms(o->anchor_log),
        .command = o->anchor_cmd,
        .command_gap_ms = (o->anchor_interval ? o->anchor_interval : DEFAULT_INTERVAL) * 1000,
        .command_limit_ms = (o->anchor_timeout ? o->anchor_timeout : DEFAULT_TIMEOUT) * 1000,
        .dir = o->anchor_dir,
        .say = mount_say,
        .say_ctx = say,
    };

    *out = NULL;
    if (!config.line_ms && !config.command && !config.dir)
        return 0;
    return audit_anchors_new(&config, out, err);
}
