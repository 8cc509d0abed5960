/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What makes a record readable alone: who its process is and which path its object has.  Both were told
 * by earlier records of the same log.  Private to `show` and the exporters; one thread.
 */
#ifndef VD_AUDIT_SHOW_VIEW_H
#define VD_AUDIT_SHOW_VIEW_H

#include "audit/record.h"
#include "audit/show_memory.h"
#include "audit/verify.h"

/* A process, as its PROC record tells; fields that are not there are empty (pieces: bytes NULL). */
struct show_proc {
    bool has_pid, has_uid, has_gid;
    uint32_t pid, uid, gid;
    struct audit_piece comm, exe;
};

/* One record with what is known about it.  Borrowed until the next show_view_take. */
struct show_item {
    struct audit_record r;
    uint64_t frame_no;
    const char *path; /* of its object; NULL: not known, or no object */
    size_t path_len;
    const struct show_proc *proc; /* of a PROC record itself too; NULL: the program, or not known */
};

/* Memory is bounded: of very many processes or objects those that were not met for longest are
 * forgotten, and then only their numbers are known. */
struct show_view {
    struct show_memory procs; /* number in PROC → the PROC record */
    struct show_memory paths; /* object → path */
    uint64_t last_proc;       /* whose `proc` is decoded; 0 none */
    struct show_proc proc;
    char joined[2 * AUDIT_MAX_PAYLOAD];
};

/* Large: never on the stack.  VD_ENOMEM: NULL. */
struct show_view *show_view_new(struct vd_err *err);
void show_view_free(struct show_view *view); /* NULL is allowed */

/* Takes the next record of the log, learns from it, and tells what is known about it. */
int show_view_take(struct show_view *view, const struct audit_seen *seen, struct show_item *out,
                   struct vd_err *err);

/* Path of what a look-up (or a refused or failed one) was about: that of the directory and NAME.
 * Borrowed as `out`.  False: the record is about its object itself. */
bool show_view_child(struct show_view *view, const struct show_item *item, const char **out,
                     size_t *out_len);

#endif
