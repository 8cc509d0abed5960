/* SPDX-License-Identifier: Apache-2.0 */
/* What a running mount says outside of its log: standard error in the foreground, syslog(3) as a
 * daemon. */
#ifndef VD_CLI_MOUNT_SAY_H
#define VD_CLI_MOUNT_SAY_H

#include <stdbool.h>

/* Zero-initialise; `foreground`: standard error. */
struct mount_say {
    bool foreground;
};

/* One line without its newline, with the program's name put in front.  Any thread of the
 * supervisor.  Waits a second at most for a standard error that nobody reads; false: not shown, or no
 * system log listens (whether it keeps the line, nobody can tell).  `ctx` is a struct mount_say. */
bool mount_say(void *ctx, bool warning, const char *line);

#endif
