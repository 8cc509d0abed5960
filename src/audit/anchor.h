/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Anchors: checkpoints handed to places outside the log's directory, so that a log whose end was
 * cut off, or that was written anew, is found out (vdiskctl audit verify --anchor).
 *
 *   audit thread ──audit_anchors_take()──▶ newest note per sink ──▶ one thread per sink
 *                                                                    line    stderr or syslog
 *                                                                    command anchor_cmd=
 *                                                                    file    anchor_dir=
 *
 * All of it runs in the supervisor.  The audit thread only copies the note: a sink that hangs holds
 * up nobody, not even another sink.  When several notes wait the newest one is delivered, which
 * covers what the others cover; the last one (over the whole log) always is.  A sink that fails is
 * a WARNING in the log and goes on trying: it does not end the mount.
 */
#ifndef VD_AUDIT_ANCHOR_H
#define VD_AUDIT_ANCHOR_H

#include "audit/audit.h"

struct audit_anchors;

struct audit_anchors_config {
    /* Lines with checkpoints: least time between two in ms (the last one comes at once); 0: none. */
    unsigned line_ms;
    /* Command for /bin/sh -c, or NULL; least time between two runs; time limit of one. */
    const char *command;
    unsigned command_gap_ms, command_limit_ms;
    /* Directory for the file SESSION.notes, or NULL. */
    const char *dir;
    /* Shows one line (no newline) to whoever runs the program: standard error or syslog.  From any
     * thread; false when it could not be shown.  May not wait longer than a second or so. */
    bool (*say)(void *ctx, bool warning, const char *line);
    void *say_ctx;
};

/* Copies what it needs.  Make it before audit_open and give audit_anchors_take and the object as
 * `anchor` and `anchor_ctx`. */
int audit_anchors_new(const struct audit_anchors_config *config, struct audit_anchors **out,
                      struct vd_err *err);

/* Takes up a checkpoint: the call-back of audit_config.  Quick; any thread. */
void audit_anchors_take(void *anchors, const char *note);

/* After audit_open: creates the file in `dir`, so that a directory that cannot be used is told
 * before anything is mounted.  `session_dir` is compared with it: *out_same_disk when they are on
 * one file system, which protects from less.  VD_EAUDIT. */
int audit_anchors_open(struct audit_anchors *anchors, const char *session_id,
                       const char *session_dir, bool *out_same_disk, struct vd_err *err);

/* Starts the threads; call in the supervisor after the fork.  Failures of sinks are recorded in
 * `ring` from here to audit_anchors_sum_up. */
int audit_anchors_start(struct audit_anchors *anchors, struct audit_ring *ring, struct vd_err *err);

/* Before audit_close: records what was delivered; `ring` is not used any more. */
void audit_anchors_sum_up(struct audit_anchors *anchors);

/* After audit_close: delivers the last note, waits for that (at most the time limit of the command
 * and a few seconds), stops the threads, frees.  NULL is allowed; works without audit_anchors_start,
 * then nothing is delivered. */
void audit_anchors_end(struct audit_anchors *anchors);

#endif
