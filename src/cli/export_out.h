/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of an export, in the supervisor: OUT.partial and OUT.partial.journal while it runs, OUT
 * when it is complete.  The worker gets descriptors and writes to nothing else.
 */
#ifndef VD_CLI_EXPORT_OUT_H
#define VD_CLI_EXPORT_OUT_H

#include "base/err.h"

struct export_out {
    char *path; /* as the user wrote it, for messages; borrowed */
    char *dir;  /* resolved; owned */
    char *name, *partial, *journal, *map, *map_partial; /* bare names in dir; owned */
    int dir_fd;
    int partial_fd, journal_fd; /* read and write */
    int map_fd;                 /* -1: no map is wanted */
    bool force;                 /* an existing OUT may be replaced */
    char *below;                /* the evidence directory that OUT lies below, else NULL; owned */
};

struct export_out_options {
    bool force;   /* an existing OUT (and OUT.map) may be replaced; or OUT may lie below an evidence
                   directory, but then nothing that exists there is replaced */
    bool restart; /* what an earlier run has left is thrown away */
    bool map;     /* a map of bad ranges is wanted */
    const char *const *evidence_dirs; /* OUT must not lie in one of these */
    unsigned n_evidence_dirs;
};

/* Checks where OUT would lie and opens the files, made when they are not there.  An earlier
 * OUT.partial is taken up only with its journal.  VD_EREFUSED with the reason: OUT exists, lies in an
 * evidence directory, is not a regular file, is being written by another export.  *out is the
 * caller's (export_out_clear). */
int export_out_open(const char *path, const struct export_out_options *options,
                    struct export_out *out, struct vd_err *err);

/* After everything was written and synced: OUT appears under its name, the journal goes. */
int export_out_publish(struct export_out *out, struct vd_err *err);

/* Closes; removes what is empty because nothing was begun.  Accepts a zeroed or half-built one. */
void export_out_clear(struct export_out *out);

#endif
