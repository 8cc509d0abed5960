/* SPDX-License-Identifier: Apache-2.0 */
/* Mount options: one table for the parser, --help and the manual pages. */
#ifndef VD_CLI_OPTIONS_H
#define VD_CLI_OPTIONS_H

#include "base/err.h"
#include "cli/custody.h"
#include "proc/proc.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define OPTIONS_MAX_LIST 64

enum options_anchor_log { OPTIONS_ANCHOR_EVERY, OPTIONS_ANCHOR_MINUTE, OPTIONS_ANCHOR_OFF };

struct options {
    /* what is opened */
    char **chain; /* bare names, tip first */
    size_t n_chain;
    char *snapshot; /* NULL: the file that was named */
    char *parent_dir[OPTIONS_MAX_LIST];
    size_t n_parent_dir;
    bool unverified_chain;
    /* the log */
    char *audit;
    bool audit_exact, audit_refused;
    enum audit_full audit_full;
    enum audit_flush audit_flush;
    unsigned audit_flush_s; /* seconds of interval; 0 = default */
    char *audit_key; /* file of the laboratory's key, NULL: none */
    struct custody custody;
    char *case_file;
    bool hash_inputs;
    /* its checkpoints */
    enum options_anchor_log anchor_log;
    char *anchor_cmd, *anchor_dir;
    unsigned anchor_interval, anchor_timeout; /* seconds; 0 = default */
    /* what is shown */
    bool has_uid, has_gid, has_umask, symlinks_raw;
    uid_t uid;
    gid_t gid;
    mode_t umask;
    /* how it runs */
    unsigned threads; /* 0 = default */
    enum proc_sandbox_mode sandbox;
    char *fsname;
    bool allow_other;
    /* every option as given, "name=value", in order; NULL-terminated (for info and the log) */
    char **given;
    size_t n_given;
};

/* Which program accepts an option. */
enum option_scope {
    OPTION_OPEN = 1, /* opening an image: vdiskfs and vdiskctl */
    OPTION_MOUNT = 2 /* mounting: vdiskfs only */
};

/* Parses "a,b=c,…" into `o` (zero-initialised; options_clear).  "\," is a comma inside a value,
 * "\\" a backslash.  Unknown options, options of another scope and bad values are VD_EUSAGE and
 * name the option.  Generic mount options (nodev, x-*, …) are accepted when OPTION_MOUNT is in
 * `scope`. */
int options_parse(struct options *o, const char *text, unsigned scope, struct vd_err *err);
/* After all of them: reads the case file, puts in what is said explicitly also when nobody said it. */
int options_complete(struct options *o, struct vd_err *err);
void options_clear(struct options *o);

/* The audit mode in force, as the log's session header and info.txt have it: "requests" or "exact",
 * with "+refused" when refused writes reach the program.  A constant. */
const char *options_audit_mode(const struct options *o);

/* Calls fn for each option of the table: usage ("parent_dir=DIR"), help text, scope. */
void options_each(void (*fn)(void *ctx, const char *usage, const char *help, unsigned scope),
                  void *ctx);

#endif
