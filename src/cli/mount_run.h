/* SPDX-License-Identifier: Apache-2.0 */
/* One mount from start to end, in the supervisor: log, worker, mount point, close. */
#ifndef VD_CLI_MOUNT_RUN_H
#define VD_CLI_MOUNT_RUN_H

#include "cli/image_path.h"

struct mount_run {
    const struct options *options;
    const struct image_path *image;
    const char *mountpoint; /* absolute, resolved */
    bool foreground;        /* messages go to standard error, else to syslog */
    int argc;               /* the command line, for the log */
    char **argv;
    /* Called when the mount is usable (daemon mode lets the caller's shell go).  May be NULL. */
    void (*ready)(void *ctx);
    /* Called with the first key of the log ("NAME+ID+BASE64") once the session is recorded: whoever
     * mounts should get to see it; and with the laboratory's public key, or "".  May be NULL. */
    void (*log_key)(void *ctx, const char *key, const char *lab_key);
    /* Called with a line about something that whoever mounts should know, but that stops nothing; it is
     * in the log too.  May be NULL. */
    void (*warn)(void *ctx, const char *text);
    void *ctx; /* of all */
};

/* Runs until the image is unmounted or a signal ends it.  0, or the reason. */
int mount_run(const struct mount_run *run, struct vd_err *err);

#endif
