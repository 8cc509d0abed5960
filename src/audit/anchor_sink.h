/* SPDX-License-Identifier: Apache-2.0 */
/* What delivers a checkpoint; private to src/audit/anchor*.c. */
#ifndef VD_AUDIT_ANCHOR_SINK_H
#define VD_AUDIT_ANCHOR_SINK_H

#include "audit/anchor.h"
#include "audit/note.h"

#define ANCHOR_WHY 600 /* room for the reason of a failure */

/* One note on its way. */
struct anchor_note {
    const char *text; /* the signed note */
    uint64_t frames;  /* that it covers */
    bool last;        /* the one over the whole log */
};

/* ---- anchor_command.c ---- */

struct anchor_command {
    char *text;
    const char *session_id; /* borrowed */
    unsigned limit_ms;
    int hurry_fd; /* eventfd: readable when the program is about to end; borrowed */
};

/* Runs the command once with the note on its standard input.  What it printed, made printable and
 * cut, is put into `printed` (ANCHOR_WHY bytes).  False: it could not be started, ended with
 * another exit code than 0, or was killed (time limit); `why` tells.  One thread. */
bool anchor_command_run(const struct anchor_command *command, const struct anchor_note *note,
                        char *printed, char *why);

/* ---- anchor_file.c ---- */

struct anchor_file {
    char *dir;
    char name[64];
    int fd;
    unsigned number; /* of the file: a new one is begun when the old one is lost */
    char note[NOTE_MAX];
    size_t len, sent; /* of a note that is in the file only in part */
};

/* Creates the next file, exclusively.  VD_EAUDIT. */
int anchor_file_open(struct anchor_file *file, const char *session_id, struct vd_err *err);

/* Appends the note and syncs.  What was written in part is completed first, so that the file stays
 * one note after the other.  False: not on the disk. */
bool anchor_file_add(struct anchor_file *file, const char *session_id, const char *note, char *why);

/* Makes the file read-only and closes it. */
void anchor_file_close(struct anchor_file *file);

#endif
