/* SPDX-License-Identifier: Apache-2.0 */
/* A line for whoever watches a mount. */
#ifndef VD_CLI_NOTICE_H
#define VD_CLI_NOTICE_H

/* Prints "vdiskfs: warning: LINE" on standard error and sends it to the system log (daemon, warning), if they
 * take it at once: never waits (mount_say does).  Any thread. */
void notice_print(const char *line);

#endif
