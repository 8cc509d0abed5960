/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See inputs_watch.h.  The worker can open nothing, but it can ask its open descriptors: fstat(2)
 * tells size and times of the file it has, whatever name that file has now.  (A file that was replaced
 * under its name is still the one that is read.)
 *
 * Threads: one that looks and records, at normal priority; one that hashes, at the lowest, which
 * only hands results over: a record of its own could stop the whole log between claim and commit
 * while it does not get the processor.  `lock` guards what both and the caller share.
 */
#include "cli/inputs_watch.h"

#include "base/bytes.h"
#include "cli/inputs_hash.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LOOK_SECONDS 1
#define MAX_CHANGES  64         /* records per look; the rest comes with the next one */
#define JOIN_NS      800000000L /* for each thread … */
#define JOIN_STEP_NS 1000000L   /* … in steps of this */

struct inputs_watch {
    struct audit_ring *ring;
    struct blkdev **files; /* owned references */
    struct evidence_id *seen;
    size_t n;
    uint64_t changes; /* records of EVIDENCE_CHANGED */
    uint64_t bytes;   /* of all files */
    bool hash;
    size_t hashed, failed;
    struct inputs_hash hasher;

    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stop; /* guarded by lock */
    pthread_t thread, hash_thread;
    bool has_thread, has_hash_thread;
};

/* ---- records ---- */

static uint64_t record(struct inputs_watch *w, enum audit_op op, const struct blkdev *dev,
                       const struct evidence_id *id, const struct inputs_hash_result *hash,
                       const char *text)
{
    uint8_t numbers[4][8];
    struct audit_field fields[7] = {
        {AUDIT_T_NAME, dev->label, strlen(dev->label)},
        {AUDIT_T_DEV, numbers[0], 8},
        {AUDIT_T_INO, numbers[1], 8},
        {AUDIT_T_MTIME, numbers[2], 8},
        {AUDIT_T_CTIME, numbers[3], 8},
    };
    struct audit_event event = {.op = op, .len = id->size, .fields = fields, .n_fields = 5};

    vd_put_le64(numbers[0], id->dev);
    vd_put_le64(numbers[1], id->ino);
    vd_put_le64(numbers[2], (uint64_t)evidence_time_ns(id->mtime_sec, id->mtime_nsec));
    vd_put_le64(numbers[3], (uint64_t)evidence_time_ns(id->ctime_sec, id->ctime_nsec));
    if (hash) {
        event.off = hash->done;
        event.result = -hash->error;
    }
    if (hash && !hash->error)
        fields[event.n_fields++] =
            (struct audit_field){AUDIT_T_SHA256, hash->sha, sizeof(hash->sha)};
    if (text[0])
        fields[event.n_fields++] = (struct audit_field){AUDIT_T_TEXT, text, strlen(text)};
    return audit_log(w->ring, &event);
}

static void fact(struct inputs_watch *w, bool warning, const char *key, const char *text)
{
    const struct audit_field fields[] = {
        {AUDIT_T_NAME, "evidence", 8},
        {AUDIT_T_KEY, key, strlen(key)},
        {AUDIT_T_TEXT, text, strlen(text)},
    };
    const struct audit_event event = {
        .op = warning ? AUDIT_WARNING : AUDIT_FACT, .fields = fields, .n_fields = 3};

    (void)audit_log(w->ring, &event);
}

/* ---- looking ---- */

static const char *what_changed(const struct evidence_id *a, const struct evidence_id *b)
{
    if (a->size != b->size)
        return "changed while it was mounted: its size";
    if (a->mtime_sec != b->mtime_sec || a->mtime_nsec != b->mtime_nsec)
        return "changed while it was mounted: its time of modification";
    return "changed while it was mounted: its attributes (ctime)";
}

static void look(struct inputs_watch *w)
{
    uint64_t seq = AUDIT_NOT_LOGGED, got;
    unsigned told = 0;
    size_t i;

    for (i = 0; i < w->n && told < MAX_CHANGES; i++) {
        const char *what;
        struct evidence_id now;

        if (evidence_now(w->files[i], &now, NULL) || evidence_same_state(&now, &w->seen[i]))
            continue;
        what = what_changed(&now, &w->seen[i]);
        got = record(w, AUDIT_EVIDENCE_CHANGED, w->files[i], &now, NULL, what);
        if (got == AUDIT_NOT_LOGGED)
            break; /* again with the next look */
        (void)fprintf(stderr, "vdiskfs: warning: %s: %s\n", w->files[i]->label, what);
        w->seen[i] = now;
        w->changes++;
        told++;
        seq = got;
    }
    if (seq != AUDIT_NOT_LOGGED)
        (void)audit_wait(w->ring, seq, NULL);
}

/* Records the result that waits, if there is one; with the lock held, which is given up meanwhile. */
static void take_result(struct inputs_watch *w)
{
    struct inputs_hash_result r;
    struct blkdev *dev;

    if (!w->hasher.has_result)
        return;
    r = w->hasher.result;
    dev = w->files[w->hasher.at];
    w->hasher.has_result = false;
    (void)pthread_cond_broadcast(&w->wake);
    (void)pthread_mutex_unlock(&w->lock);
    if (r.error)
        w->failed++;
    else
        w->hashed++;
    (void)record(w, AUDIT_EVIDENCE_HASH, dev, &r.id, &r, r.text);
    (void)pthread_mutex_lock(&w->lock);
}

static void *watch_main(void *arg)
{
    struct inputs_watch *w = arg;
    struct timespec next;

    (void)clock_gettime(CLOCK_MONOTONIC, &next);
    (void)pthread_mutex_lock(&w->lock);
    while (!w->stop) {
        int why = 0;

        next.tv_sec += LOOK_SECONDS;
        while (!w->stop && why != ETIMEDOUT) {
            take_result(w);
            if (!w->stop && !w->hasher.has_result)
                why = pthread_cond_clockwait(&w->wake, &w->lock, CLOCK_MONOTONIC, &next);
        }
        (void)pthread_mutex_unlock(&w->lock);
        look(w);
        (void)pthread_mutex_lock(&w->lock);
    }
    (void)pthread_mutex_unlock(&w->lock);
    look(w); /* once more: the stop may have come during a look */
    return NULL;
}

/* ---- life ---- */

static void watch_free(struct inputs_watch *w)
{
    size_t i;

    for (i = 0; i < w->n; i++)
        blk_unref(w->files[i]);
    inputs_hash_clear(&w->hasher);
    (void)pthread_mutex_destroy(&w->lock);
    (void)pthread_cond_destroy(&w->wake);
    free(w->files);
    free(w->seen);
    free(w);
}

static int take_files(struct inputs_watch *w, const struct chain_inputs *inputs, struct vd_err *err)
{
    const struct evidence_id *id;
    size_t i;

    w->files = calloc(inputs->n + 1, sizeof(struct blkdev *));
    w->seen = calloc(inputs->n + 1, sizeof(*w->seen));
    if (!w->files || !w->seen)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    for (i = 0; i < inputs->n; i++) {
        if (!evidence_identity(inputs->v[i], &id))
            continue;
        w->seen[w->n] = *id;
        w->bytes += id->size;
        w->files[w->n++] = blk_ref(inputs->v[i]);
    }
    return 0;
}

static bool start_thread(struct inputs_watch *w, pthread_t *thread, void *(*run)(void *), void *arg,
                         const char *what)
{
    sigset_t all, old;
    char text[128];
    int why;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    why = pthread_create(thread, NULL, run, arg);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (why) {
        (void)snprintf(text, sizeof(text), "no thread for it (errno %d)", why);
        fact(w, true, what, text);
    }
    return why == 0;
}

int inputs_watch_start(const struct chain *chain, struct audit_ring *ring, bool hash,
                       struct inputs_watch **out, struct vd_err *err)
{
    struct inputs_watch *w = calloc(1, sizeof(*w));
    struct chain_inputs inputs;
    int rc;

    if (!w)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    w->ring = ring;
    w->hash = hash;
    (void)pthread_mutex_init(&w->lock, NULL);
    (void)pthread_cond_init(&w->wake, NULL);
    rc = chain_inputs_collect(chain, &inputs, err);
    if (rc == 0) {
        rc = take_files(w, &inputs, err);
        chain_inputs_clear(&inputs);
    }
    w->hasher.files = w->files;
    w->hasher.n = w->n;
    w->hasher.lock = &w->lock;
    w->hasher.wake = &w->wake;
    if (rc == 0 && hash)
        rc = inputs_hash_init(&w->hasher, err);
    if (rc) {
        watch_free(w);
        return rc;
    }
    w->has_thread = start_thread(w, &w->thread, watch_main, w, "watching for changes");
    if (hash && w->has_thread)
        w->has_hash_thread =
            start_thread(w, &w->hash_thread, inputs_hash_main, &w->hasher, "hash_inputs");
    *out = w;
    return 0;
}

/* Asks again and again: ThreadSanitizer of GCC 12 does not know pthread_clockjoin_np, and
 * pthread_timedjoin_np goes by a clock that somebody may set. */
static bool join(pthread_t thread, bool started)
{
    const struct timespec pause = {0, JOIN_STEP_NS};
    int tries = JOIN_NS / JOIN_STEP_NS, rc = 0;

    while (started && tries-- > 0) {
        rc = pthread_tryjoin_np(thread, NULL);
        if (rc != EBUSY)
            break;
        (void)nanosleep(&pause, NULL);
    }
    return rc == 0;
}

/* A file that hangs in its read has no result of its own. */
static void record_hashing(struct inputs_watch *w, bool hangs)
{
    uint64_t sum = atomic_load(&w->hasher.sum);
    char text[200];

    (void)pthread_mutex_lock(&w->lock);
    take_result(w);
    (void)pthread_mutex_unlock(&w->lock);
    (void)snprintf(text, sizeof(text),
                   "%zu of %zu files hashed; %" PRIu64 " of %" PRIu64 " bytes read%s", w->hashed,
                   w->n, sum, w->bytes, hangs ? "; the one under way does not answer" : "");
    fact(w, w->hashed != w->n, "hash_inputs", text);
}

void inputs_watch_stop(struct inputs_watch *w)
{
    char text[100];
    bool watched, hashed;

    if (!w)
        return;
    (void)pthread_mutex_lock(&w->lock);
    w->stop = true;
    atomic_store(&w->hasher.stop, true);
    (void)pthread_cond_broadcast(&w->wake);
    (void)pthread_mutex_unlock(&w->lock);
    hashed = join(w->hash_thread, w->has_hash_thread);
    watched = join(w->thread, w->has_thread);
    if (watched && w->has_hash_thread)
        record_hashing(w, !hashed);
    (void)snprintf(text, sizeof(text), "%" PRIu64 " changes were seen, see EVIDENCE_CHANGED",
                   w->changes);
    if (watched && w->has_thread)
        fact(w, w->changes > 0, "changes", w->changes ? text : "none");
    else
        fact(w, true, "changes", "not known: the files could not be looked at");
    if (hashed && watched)
        watch_free(w);
}
