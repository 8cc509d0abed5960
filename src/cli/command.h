/* SPDX-License-Identifier: Apache-2.0 */
/* Subcommands of vdiskctl: one cmd_<verb>.c each, one row in main_vdiskctl.c. */
#ifndef VD_CLI_COMMAND_H
#define VD_CLI_COMMAND_H

#include "base/err.h"
#include "cli/options.h"
#include "tree/case.h"

/* Each gets argv[0] = the verb, prints its result to stdout and errors to stderr, and returns an
 * exit code of vdiskfs/exit_codes.h. */
int cmd_info(int argc, char **argv);
int cmd_hash(int argc, char **argv);
int cmd_audit(int argc, char **argv);
int cmd_umount(int argc, char **argv);

/* Prints "PROGRAM: message" to stderr, once, and returns the exit code for rc. */
int command_error(const char *program, int rc, const struct vd_err *err);

/* Runs `fn` in a sandboxed worker with `image` opened as a case; returns the exit code.  Errors are
 * printed with `program` as prefix. */
typedef int command_case_fn(const struct vd_case *c, const struct case_context *context, void *arg,
                            struct vd_err *err);
int command_with_case(const char *program, const char *image, const struct options *options,
                      bool disk_only, command_case_fn *fn, void *arg);

#endif
