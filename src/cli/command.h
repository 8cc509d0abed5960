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
int cmd_check(int argc, char **argv);
int cmd_export(int argc, char **argv);
int cmd_audit(int argc, char **argv);
int cmd_umount(int argc, char **argv);

/* Prints "PROGRAM: message" to stderr, once, and returns the exit code for rc. */
int command_error(const char *program, int rc, const struct vd_err *err);

/* Writes what stdout still holds.  False: something that was printed is lost.  A reader who has seen
 * enough (head, a pager) is no loss. */
bool command_output_arrived(void);

/* The last word of main(): `code`, or, when nothing went wrong but the output is lost, a line to
 * stderr and VD_EXIT_CANNOT_OPEN. */
int command_end(const char *program, int code);

/* What a worker of a subcommand gets. */
struct command_input {
    const struct blk_source *source;
    const char *name; /* bare name of the image in directory 0 */
    struct chain_options chain;
    struct case_context context;
    int stop_fd; /* becomes readable when the program is told to stop */
};

/* As command_with_case, but nothing is opened yet: for subcommands that look at what does not open.
 * `keep_fd` (n of them, not closed here): descriptors that the worker keeps, for its results. */
typedef int command_source_fn(const struct command_input *input, void *arg, struct vd_err *err);
int command_with_source(const char *program, const char *image, const struct options *options,
                        const int *keep_fd, size_t n_keep_fd, command_source_fn *fn, void *arg);

/* Runs `fn` in a sandboxed worker with `image` opened as a case; returns the exit code.  Errors are
 * printed with `program` as prefix. */
typedef int command_case_fn(const struct vd_case *c, const struct case_context *context, void *arg,
                            struct vd_err *err);
int command_with_case(const char *program, const char *image, const struct options *options,
                      bool disk_only, command_case_fn *fn, void *arg);

#endif
