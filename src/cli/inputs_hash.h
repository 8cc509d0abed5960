/* SPDX-License-Identifier: Apache-2.0 */
/* Hashes the files of a chain in the background; for inputs_watch.c. */
#ifndef VD_CLI_INPUTS_HASH_H
#define VD_CLI_INPUTS_HASH_H

#include "base/sha256.h"
#include "image/inputs.h"

#include <pthread.h>
#include <stdatomic.h>

/* What came out for one file. */
struct inputs_hash_result {
    struct evidence_id id; /* when it began */
    uint64_t done;         /* bytes read */
    int error;             /* 0, or an errno; then `sha` means nothing */
    uint8_t sha[VD_SHA256_SIZE];
    char text[300]; /* why there is no hash */
};

/* One thread reads and hashes, another one takes the results.  The first one runs only when
 * nobody else wants the processor, so it must not hold anything that others need: the log least of
 * all.  Guarded by `lock` unless marked. */
struct inputs_hash {
    struct blkdev *const *files; /* immutable while the thread runs; borrowed */
    size_t n;
    struct vd_sha256 *sha; /* the thread's own */
    uint8_t *buf;          /* likewise */
    pthread_mutex_t *lock; /* the owner's */
    pthread_cond_t *wake;  /* signalled when a result is there, or was taken */
    atomic_bool stop;
    size_t at;            /* the file under way */
    _Atomic uint64_t sum; /* bytes of all files so far */
    bool has_result;      /* of file `at` */
    struct inputs_hash_result result;
};

/* Memory for it.  VD_ENOMEM. */
int inputs_hash_init(struct inputs_hash *h, struct vd_err *err);
void inputs_hash_clear(struct inputs_hash *h);

/* The thread.  Ends after the last file's result was taken, or soon after `stop`: then the result of
 * the file under way says ECANCELED. */
void *inputs_hash_main(void *arg);

#endif
