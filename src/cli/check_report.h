/* SPDX-License-Identifier: Apache-2.0 */
/* What a check found: counted by kind, the first few of each kept.  Memory is bounded however many
 * findings there are. */
#ifndef VD_CLI_CHECK_REPORT_H
#define VD_CLI_CHECK_REPORT_H

#include "blk/check.h"

#define REPORT_SHOWN      20    /* findings kept of one group … */
#define REPORT_MAX_KEPT   20000 /* … and in all; above that one of each group */
#define REPORT_MAX_GROUPS 65536

/* Where findings and counts belong: members 0 … n-1 of the chain, or one of these. */
#define REPORT_CHAIN (SIZE_MAX - 1) /* the chain as a whole */
#define REPORT_DISK  (SIZE_MAX - 2) /* reading the disk (--read) */

struct report_finding {
    bool has_place;
    struct check_place place;
    char *text; /* owned */
};

/* Findings of one level and id in one file. */
struct report_group {
    size_t section;
    enum check_level level;
    char *id, *file; /* owned; file "" = none */
    uint64_t n;      /* how often */
    struct report_finding *v;
    size_t n_v;
};

/* What was looked at. */
struct report_count {
    size_t section;
    char *file, *what; /* owned */
    uint64_t n;
};

struct check_report {
    struct report_group *group; /* in the order of their first findings */
    size_t n_groups, cap_groups;
    struct report_count *count;
    size_t n_counts, cap_counts;
    uint64_t n_of[CHECK_ERROR + 1]; /* by level */
    uint64_t ungrouped;             /* findings beyond REPORT_MAX_GROUPS: only in n_of */
    size_t section;                 /* where findings go that come now */
    size_t n_kept;
    uint32_t *slots; /* hash table: index + 1 into group; 0 = free */
    bool failed;     /* memory ran out: the report is not complete */
};

/* VD_ENOMEM.  Zero-initialise before; check_report_clear after. */
int check_report_init(struct check_report *report, struct vd_err *err);
void check_report_clear(struct check_report *report);

/* Sets `section` for what follows. */
void check_report_section(struct check_report *report, size_t section);

/* The receiver for blk_check() and everybody else. */
struct check check_report_receiver(struct check_report *report);

/* The report as text or JSON; struct report_head is what is not a finding. */
struct image;
struct report_member {
    const struct image *image;
    const char *role;   /* "tip" … */
    const char *linked; /* how it belongs to the member before it; NULL: the first */
};

struct report_head {
    const char *image; /* name of the file that was named; printable */
    const struct report_member *member;
    size_t n_members;
    bool complete; /* the chain was opened and verified */
    bool read;     /* --read was done … */
    uint64_t disk_size, unreadable;
};

/* "sound", "damaged" (errors) or "doubtful" (warnings only). */
const char *check_report_verdict(const struct check_report *report);

/* Caller frees; NULL: out of memory. */
char *check_report_text(const struct check_report *report, const struct report_head *head);
char *check_report_json(const struct check_report *report, const struct report_head *head);

/* "1,234,567"; at least 28 bytes. */
void check_number(uint64_t n, char out[28]);

#endif
