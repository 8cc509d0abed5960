/* SPDX-License-Identifier: Apache-2.0 */
/* The copying of an export, in the worker. */
#ifndef VD_CLI_EXPORT_RUN_H
#define VD_CLI_EXPORT_RUN_H

#include "cli/command.h"
#include "cli/digest.h"

#define EXPORT_MAX_HASHES 4

/* What the worker tells the supervisor, in shared memory: it prints only what was published. */
struct export_result {
    char hash_name[EXPORT_MAX_HASHES][16];
    char hash[EXPORT_MAX_HASHES][DIGEST_HEX_MAX];
    uint64_t size;       /* of OUT */
    uint64_t data_bytes; /* written by this run */
    uint64_t from;       /* where an earlier run was continued; 0: from the start */
    uint64_t bad_bytes, n_bad;
    int rejected; /* checkpoints of the earlier run that the partial file did not bear out */
    int complete; /* everything is on the disk; OUT may appear */
};

struct export_job {
    const char *hash[EXPORT_MAX_HASHES]; /* names; NULL: no more */
    bool zero_errors;                    /* --errors=zero */
    int partition;                       /* -1: the whole disk */
    int partial_fd, journal_fd, map_fd;  /* map_fd may be -1 */
    const char *out_name;                /* for messages */
    struct export_result *result;        /* shared with the supervisor */
};

/* A command_source_fn; `arg` is a struct export_job.  VD_EDIFF: complete, but with bad ranges. */
int export_run(const struct command_input *input, void *arg, struct vd_err *err);

/* Writes the map of bad ranges in the form of GNU ddrescue: bytes of OUT, '+' read, '-' bad. */
struct copy_bad;
int export_map_write(int fd, const struct copy_bad *bad, size_t n_bad, uint64_t size,
                     struct vd_err *err);

/* The blocks of `bytes` that are not zeros, as spans: calls `write` for each.  `off` is the place of
 * bytes[0] in the file; blocks are EXPORT_BLOCK long and aligned to the file. */
#define EXPORT_BLOCK 4096
typedef int export_write_fn(void *ctx, const uint8_t *bytes, size_t len, uint64_t off,
                            struct vd_err *err);
int export_spans(const uint8_t *bytes, size_t len, uint64_t off, export_write_fn *write, void *ctx,
                 struct vd_err *err);

#endif
