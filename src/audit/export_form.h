/* SPDX-License-Identifier: Apache-2.0 */
/* What the formats of an export share; private to src/audit/export*.c.  One thread. */
#ifndef VD_AUDIT_EXPORT_FORM_H
#define VD_AUDIT_EXPORT_FORM_H

#include "audit/export.h"
#include "audit/show_put.h"
#include "audit/show_view.h"

/* OpenSearch refuses a keyword of 32,766 bytes, a spreadsheet a cell of 32,768 characters. */
#define EXPORT_MAX_TEXT    32000
#define EXPORT_MAX_MESSAGE 2000

struct export_form {
    /* Each may be NULL; 0, or an error.  What they add to x->out is written later. */
    int (*open)(struct audit_export *x, struct vd_err *err);
    int (*begin)(struct audit_export *x, struct vd_err *err);
    int (*record)(struct audit_export *x, const struct show_item *item, struct vd_err *err);
    int (*end)(struct audit_export *x, const struct audit_report *second, const char *note,
               struct vd_err *err);
    int (*finish)(struct audit_export *x, struct vd_err *err);
    void (*free)(struct audit_export *x);
};

struct audit_export {
    struct audit_export_options options;
    const struct export_form *form;
    struct vd_str out; /* what is to be written */
    struct show_view *view;
    struct show_writer w;  /* the line, or a part of it */
    struct vd_str message; /* raw bytes */
    uint64_t lines, unplaced;

    /* the session at hand */
    const struct audit_report *known;
    const char *path;
    char session[37];
    char verdict[64]; /* "INTACT open (in use)", "TAMPERED at frame 3" */
    uint64_t taken;

    struct case_document *document; /* CASE */
};

extern const struct export_form export_timesketch, export_csv, export_case;

/* x->message: one sentence about the record. */
void export_message(struct audit_export *x, const struct show_item *item);
/* x->message: what is wrong with the log, in front of its records. */
void export_verdict_message(struct audit_export *x);
/* "Access Time" and so on: what the time of the record is. */
const char *export_time_name(const struct audit_record *r);

#endif
