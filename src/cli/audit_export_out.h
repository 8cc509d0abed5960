/* SPDX-License-Identifier: Apache-2.0 */
/* Where an export of logs goes: standard output, or a file that appears when it is complete. */
#ifndef VD_CLI_AUDIT_EXPORT_OUT_H
#define VD_CLI_AUDIT_EXPORT_OUT_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

/* All borrowed. */
struct audit_out_options {
    const char *path; /* NULL: standard output */
    bool
        force; /* an existing file is replaced; or the file may lie below an evidence directory, and
                         then nothing is replaced */
    const char *const *evidence; /* directories in which nothing is written, nor below them */
    size_t n_evidence;
    const char *
        *log; /* sessions (directories, or a file in one): nothing is written there either */
    size_t n_logs;
};

struct audit_out {
    const char *path;
    char *dir;          /* resolved; owned */
    char *name, *begun; /* bare names: the file's, and of what is not complete; owned */
    int dir_fd, fd;
    bool replace;
    bool reader_gone; /* nobody reads standard output any more */
};

/* Checks the place and makes the file under the name of an unfinished one.  VD_EREFUSED with the reason.
 * *out is the caller's (audit_out_clear), also after an error. */
int audit_out_open(const struct audit_out_options *options, struct audit_out *out,
                   struct vd_err *err);

/* An audit_export_write; `out` is a struct audit_out. */
int audit_out_write(void *out, const void *bytes, size_t len, struct vd_err *err);

/* All is written: on the disk, and then under its name. */
int audit_out_publish(struct audit_out *out, struct vd_err *err);

/* Closes; what was not published is removed. */
void audit_out_clear(struct audit_out *out);

#endif
