/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs of `vdiskctl audit`; private to them. */
#ifndef VD_CLI_AUDIT_VERBS_H
#define VD_CLI_AUDIT_VERBS_H

#include "audit/verify.h"

/* Each gets argv[0] = the verb, parses its options (getopt_long, optind is reset) and gives an exit
 * code.  A new verb: one row in cmd_audit.c, its lines in the help text there and in help.c. */
int audit_verb_verify(int argc, char **argv);
int audit_verb_show(int argc, char **argv);
int audit_verb_recover(int argc, char **argv); /* these two have a help text of their own */
int audit_verb_prove(int argc, char **argv);
int audit_verb_export(int argc, char **argv);

/* --help: prints the text for all verbs; VD_EXIT_OK. */
int audit_usage(void);
/* Prints "vdiskctl audit: text" to stderr; VD_EXIT_USAGE. */
int audit_error(const char *text);
/* The one argument after the options; 0, or VD_EXIT_USAGE with the message printed. */
int audit_one_path(int argc, char **argv, const char **out);

/* "INTACT open (in use)", "TAMPERED at frame 3": what stands in the first line. */
void audit_verdict_line(const struct audit_report *r, char *out, size_t size);

/* A small file as text; caller frees.  VD_EUSAGE: not there, more than `max` bytes, zeros in it. */
int audit_read_text(const char *path, size_t max, char **out, struct vd_err *err);
#define ANCHORS_MAX ((size_t)16 << 20)
/* `given` is a key (NAME+ID+BASE64), or a file that begins with one; caller frees. */
int audit_read_key(const char *given, char **out, struct vd_err *err);

/* Flushes standard output, tells an error; the exit code for `rc`, or for the verdict when it is 0. */
int audit_finish(int rc, const struct vd_err *err, const struct audit_report *r);

#endif
