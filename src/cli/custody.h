/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the record of an examination has to tell that no program can find out: which object, which
 * case, who, why, by whose authority (ISO/IEC 27037, chain of custody; NIST SP 800-86).  From
 * options, from a small case file, or from both.
 */
#ifndef VD_CLI_CUSTODY_H
#define VD_CLI_CUSTODY_H

#include "base/err.h"
#include "vdiskfs/audit_format.h"

enum custody_field {
    CUSTODY_EVIDENCE_ID,
    CUSTODY_CASE_ID,
    CUSTODY_EXAMINER,
    CUSTODY_ORGANISATION,
    CUSTODY_PURPOSE,
    CUSTODY_AUTHORITY,
    CUSTODY_LOCATION,
    CUSTODY_WITNESS,
    CUSTODY_CHANGES,
    CUSTODY_FIELDS
};

/* Longest value in bytes: all of them and the command line fit one record. */
#define CUSTODY_MAX_VALUE 1024

/* Zero-initialise; custody_clear. */
struct custody {
    char *v[CUSTODY_FIELDS]; /* NULL: not given */
};

/* Name (of the option, and in the case file) and tag in the session header. */
const char *custody_name(enum custody_field field);
enum audit_tag custody_tag(enum custody_field field);

/* Sets one value, replacing an earlier one.  VD_EUSAGE: empty, longer than CUSTODY_MAX_VALUE,
 * not UTF-8, or with control characters. */
int custody_set(struct custody *custody, enum custody_field field, const char *value,
                struct vd_err *err);

/* Adds what a case file says: lines "name = value" in UTF-8, blanks around both dropped; empty lines
 * and lines that begin with '#' say nothing.  VD_EUSAGE with the line's number: an unknown name, one
 * that comes twice, no value, a value that custody_set refuses, or another value than the one that is
 * set already (who says two things about a case has made a mistake). */
int custody_read_file(struct custody *custody, const char *path, struct vd_err *err);

/* The same from memory (any bytes); `name` is for messages.  Pure. */
int custody_decode(struct custody *custody, const char *name, const char *text, size_t len,
                   struct vd_err *err);

void custody_clear(struct custody *custody);

#endif
