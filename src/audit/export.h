/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The records of logs for other programs: Timesketch, spreadsheets, CASE.  Formats:
 * docs/formats/audit-export.md.
 *
 * A log is read twice: first for its verdict, which stands in every line, then by the verifier's walk
 * again for its records, so that what is exported is what was verified.
 */
#ifndef VD_AUDIT_EXPORT_H
#define VD_AUDIT_EXPORT_H

#include "audit/show_filter.h"
#include "audit/verify.h"

enum audit_export_format {
    AUDIT_EXPORT_TIMESKETCH, /* JSON lines */
    AUDIT_EXPORT_CSV,        /* RFC 4180 */
    AUDIT_EXPORT_CASE        /* JSON-LD, one investigative action per session */
};

/* Takes the output, piece by piece; 0, or an error that ends the export. */
typedef int audit_export_write(void *ctx, const void *bytes, size_t len, struct vd_err *err);

struct audit_export_options {
    enum audit_export_format format;
    struct audit_filter filter; /* not for CASE; its texts are borrowed */
    int64_t now_ns; /* when the logs were verified: time of the line that tells a bad verdict */
    audit_export_write *write;
    void *ctx;
};

struct audit_export;

/* The number for a name ("timesketch", "csv", "case"), or -1. */
int audit_export_format_number(const char *name);

/* Begins a document.  `options` is copied. */
int audit_export_open(const struct audit_export_options *options, struct audit_export **out,
                      struct vd_err *err);

/* Begins a session: `known` (borrowed until its end) is its verdict of the first reading, `path` (may
 * be NULL) where it lies.  A log that is not intact gets a line that says so in front of its records. */
int audit_export_begin(struct audit_export *x, const struct audit_report *known, const char *path,
                       struct vd_err *err);

/* An audit_seen_fn: give it to audit_verify with the export as its context.  Records beyond those that
 * `known` counts are passed over: the log has grown meanwhile. */
int audit_export_record(void *export, const struct audit_seen *seen, struct vd_err *err);

/* Ends the session: `second` is the verdict of the second reading, `note` its last checkpoint (may be
 * NULL).  VD_EIO when it is not the log that was read first. */
int audit_export_end(struct audit_export *x, const struct audit_report *second, const char *note,
                     struct vd_err *err);

/* Ends the document and gives all that is left to `write`. */
int audit_export_finish(struct audit_export *x, struct vd_err *err);

/* Records exported so far, and those that a filter for paths could not place. */
uint64_t audit_export_records(const struct audit_export *x);
uint64_t audit_export_unplaced(const struct audit_export *x);

/* Frees; NULL is allowed. */
void audit_export_free(struct audit_export *x);

#endif
