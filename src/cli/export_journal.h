/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal of an export: what is being exported, and up to where the partial file is known to be
 * right.  Text, line by line; docs/formats/export-journal.md.
 *
 *     header lines            what is exported; a continued export must have the same
 *     --
 *     bad OFF LEN TEXT        bytes that could not be had and are zeros
 *     checkpoint POS HASH     everything below POS is on the disk, and has this hash
 */
#ifndef VD_CLI_EXPORT_JOURNAL_H
#define VD_CLI_EXPORT_JOURNAL_H

#include "cli/copy.h"
#include "cli/digest.h"

/* A hostile or hopeless medium: more ranges than this end the export. */
#define EXPORT_MAX_BAD         1000000
#define EXPORT_MAX_JOURNAL     ((uint64_t)256 << 20)
#define EXPORT_MAX_CHECKPOINTS 1000000

struct export_checkpoint {
    uint64_t pos;
    char hash[DIGEST_HEX_MAX];
};

struct export_journal {
    int fd;       /* borrowed */
    uint64_t len; /* bytes that are whole lines */
    char *header; /* as it stands in the file, without "--"; NULL: an empty file.  Owned */
    struct export_checkpoint *point; /* ascending; owned */
    size_t n_points, cap_points;
    struct copy_bad *bad; /* ascending, those below the last checkpoint; owned */
    size_t n_bad, cap_bad;
};

/* Reads what is there.  A line that was cut by a crash, and all that follows the last checkpoint, is
 * not counted.  VD_EREFUSED: the file is no journal.  *out is the caller's. */
int export_journal_read(int fd, struct export_journal *out, struct vd_err *err);
/* Does the file begin as a journal does?  False for an empty one. */
bool export_journal_is(int fd);

void export_journal_clear(struct export_journal *journal);

/* Empties the file and writes the header, durably. */
int export_journal_start(struct export_journal *journal, const char *header, struct vd_err *err);

/* Forgets checkpoints from number `n` on, in memory and in the file. */
int export_journal_cut(struct export_journal *journal, size_t n, struct vd_err *err);

/* Appends the ranges and the checkpoint, durably.  The bytes they speak of must be durable. */
int export_journal_add(struct export_journal *journal, const struct copy_bad *bad, size_t n_bad,
                       uint64_t pos, const char *hash, struct vd_err *err);

/* Appends one range to a list in memory; with `join` to the last one where it follows it.
 * VD_ELIMIT, VD_ENOMEM. */
int export_bad_add(struct copy_bad **v, size_t *n, size_t *cap, const struct copy_bad *bad,
                   bool join, struct vd_err *err);

#endif
