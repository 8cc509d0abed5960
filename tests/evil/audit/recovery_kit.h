/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of recoveries share: session directories kept in memory, a log that was left open,
 * and system calls that fail or are the last ones (the linker's --wrap).
 */
#ifndef RECOVERY_KIT_H
#define RECOVERY_KIT_H

#include "testlib.h"

#include "audit/audit.h"
#include "audit/recover.h"
#include "audit/verify.h"

#include <stdbool.h>

#define MAX_FILES 12
#define MAX_KEPT  1024
#define SEALED    9 /* reads that are in frames */
#define UNSEALED  5 /* reads that only the ring has */
#define PROGRAM   "test 1"
#define RING_FILE "ring.wal"
#define KILLED    42 /* exit code of a FAULT_KILL or FAULT_SHORT */

extern char *top; /* directory of all */
extern struct vd_err err;
extern char work[512]; /* a directory with the session's name */

/* The call number `fault_at` (writes, syncs, renames, …) is the last one, is a write of which a part is
 * done and then the end, or fails for want of space. */
enum fault { FAULT_NONE, FAULT_KILL, FAULT_SHORT, FAULT_ENOSPC };
extern enum fault fault;
extern unsigned fault_at, calls;

/* A directory's files. */
struct shot {
    size_t n;
    struct {
        char name[64];
        uint8_t *bytes;
        size_t len;
    } file[MAX_FILES];
};

extern struct shot crashed; /* SEALED reads in frames, UNSEALED in the ring */
extern struct shot sealed;  /* the same a moment later: all in frames */

void shot_take(struct shot *shot, const char *dir);
void shot_free(struct shot *shot);
size_t shot_find(const struct shot *shot, const char *name);
/* Replaces what is in `dir`. */
void shot_put(const struct shot *shot, const char *dir);
/* Everything but ring.wal is there as it was: nothing was rewritten. */
void shot_still_there(const struct shot *shot, const char *dir);
void put_file(const char *dir, const char *name, const uint8_t *bytes, size_t len);
const char *last_segment(const struct shot *shot);
bool exists(const char *name); /* in `work` */

/* READ events number `from` and so on; every third one is waited for. */
void log_reads(struct audit_ring *ring, unsigned from, unsigned n, bool wait);

/* Reads in the order of the log; -1 when they are not 0, 1, 2 … */
struct reads {
    int64_t n;
    unsigned recovered, other;
};
void verify_work(struct audit_report *r, struct reads *reads);
void recover_work(struct audit_recovery *out);
/* `work` is closed by a recovery, and the reads are there, once and in order. */
void assert_recovered(int64_t reads_expected);

/* The second verifier, or NULL.  keep(): what is in `work` now is copied to top/keep-N, and
 * expected[N] is what it must say of that. */
extern const char *second;
extern unsigned n_kept;
extern char expected[MAX_KEPT][160];
void keep(void);

int setup(void **state);
int teardown(void **state);

/* recovery_rings.c */
void claims_and_forbidden_records(void **state);
void random_rings(void **state);
void no_ring_or_another(void **state);
void tampered_in_use_linked(void **state);
void stale_checkpoints(void **state);
void nothing_sealed(void **state);
void closed_but_not_signed(void **state);
void full_at_the_close(void **state);
void all_of_a_directory(void **state);

#endif
