/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring behind copy_run().
 *
 * Chunks are numbered in the order of their offsets.  A reader takes the next number and its range
 * under `lock`, fills the slot (number modulo SLOTS) without it, and marks it ready; a slot is free
 * again when the slowest sink has passed it.  Errors travel in the slot: sinks meet them in order, so
 * everything in front of the first one has been taken.  One mutex, one condition; the map is asked
 * under `lock`, too, since numbers must follow offsets: it answers from tables in memory, and readers
 * wait for each other there only.
 */
#include "cli/copy.h"

#include "base/range.h"
#include "base/text.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SLOTS       16 /* x COPY_CHUNK = 16 MiB */
#define MAX_READERS 4
#define MAX_SINKS   8
#define TICK_NS     100000000

/* Shorter zero runs are not worth a chunk of their own. */
#define MIN_ZEROS ((uint64_t)128 << 10)

struct slot {
    uint8_t *bytes; /* COPY_CHUNK, owned */
    struct copy_chunk chunk;
    struct copy_bad *bad; /* owned; chunk.bad points here */
    size_t cap_bad;
    bool ready;
    int rc;
    struct vd_err err;
};

struct sink_thread {
    struct copy *copy;
    const struct copy_sink *sink;
    uint64_t done; /* chunks */
    pthread_t thread;
};

struct copy {
    struct blkdev *dev;
    const struct copy_options *options;
    uint64_t end;
    struct slot slot[SLOTS];

    pthread_mutex_t lock; /* guards all below, and ready of slots */
    pthread_cond_t changed;
    uint64_t next_off; /* not handed out yet */
    uint64_t next;     /* number of the next chunk */
    uint64_t n_chunks; /* known when next_off has reached the end; else UINT64_MAX */
    uint64_t done_off; /* all sinks have passed this */
    unsigned running;  /* threads of sinks that have not ended */
    bool stop;
    int rc;
    struct vd_err err;
    struct sink_thread sink[MAX_SINKS];
    size_t n_sinks;
};

/* ---- reading ---- */

static int add_bad(struct slot *s, uint64_t off, uint64_t len, const struct vd_err *why,
                   struct vd_err *err)
{
    struct copy_bad *last = s->chunk.n_bad ? &s->bad[s->chunk.n_bad - 1] : NULL;

    if (last && last->off + last->len == off) {
        last->len += len;
        return 0;
    }
    if (!s->bad || s->chunk.n_bad == s->cap_bad) {
        size_t cap = s->cap_bad ? 2 * s->cap_bad : 8;
        struct copy_bad *v = realloc(s->bad, cap * sizeof(*v));

        if (!v)
            return vd_fail(err, VD_ENOMEM, "out of memory");
        s->bad = v;
        s->cap_bad = cap;
    }
    last = &s->bad[s->chunk.n_bad++];
    *last = (struct copy_bad){.off = off, .len = len};
    (void)vd_text_copy(last->why, sizeof(last->why), why->msg);
    return 0;
}

/* A run that did not read as a whole: sector by sector, each bad one noted. */
static int read_sectors(struct blkdev *dev, struct slot *s, uint64_t off, uint64_t len,
                        struct vd_err *err)
{
    int rc = 0;

    while (len && rc == 0) {
        struct vd_err why = VD_ERR_INIT;
        /* To the next sector of the disk: a range may start inside one. */
        uint64_t n = vd_min(len, dev->sector_size - off % dev->sector_size);
        uint8_t *p = s->bytes + (off - s->chunk.off);
        int bad = blk_read(dev, off, p, (size_t)n, &why);

        if (bad == -VD_ENOMEM) {
            if (err)
                *err = why;
            return bad;
        }
        if (bad) {
            memset(p, 0, (size_t)n);
            rc = add_bad(s, off, n, &why, err);
        }
        off += n;
        len -= n;
    }
    return rc;
}

/* keep_going: everything of the chunk that can be had. */
static int rescue(struct blkdev *dev, struct slot *s, struct vd_err *err)
{
    uint64_t off = s->chunk.off, end = off + s->chunk.len;
    int rc = 0;

    while (off < end && rc == 0) {
        struct blk_extent ext = {.len = vd_min(end - off, dev->sector_size)};
        struct vd_err why = VD_ERR_INIT;
        uint8_t *p = s->bytes + (off - s->chunk.off);
        int bad = blk_map(dev, off, end - off, &ext, &why);

        if (!bad && ext.status == BLK_UNREADABLE) {
            /* Asked for the reason; the map itself has none. */
            (void)blk_read(dev, off, p, (size_t)vd_min(ext.len, dev->sector_size), &why);
            memset(p, 0, (size_t)ext.len);
            rc = add_bad(s, off, ext.len, &why, err);
        } else if (bad || blk_read(dev, off, p, (size_t)ext.len, &why)) {
            if (bad)
                ext.len = vd_min(end - off, dev->sector_size - off % dev->sector_size);
            rc = read_sectors(dev, s, off, ext.len, err);
        }
        off += ext.len;
    }
    return rc;
}

static int fill(struct copy *c, struct slot *s, struct vd_err *err)
{
    int rc;

    if (!s->chunk.bytes)
        return 0;
    rc = blk_read(c->dev, s->chunk.off, s->bytes, (size_t)s->chunk.len, err);
    if (rc == 0 || rc == -VD_ENOMEM || !c->options->keep_going)
        return rc;
    vd_err_clear(err);
    rc = rescue(c->dev, s, err);
    s->chunk.bad = s->bad;
    return rc;
}

/* Length of the chunk at `off`: a run of zeros, or data up to the next long run of zeros.  A map
 * that fails is left to the read. */
static void shape(struct copy *c, uint64_t off, uint64_t *out_len, bool *out_zeros)
{
    uint64_t len = 0, most = vd_min(COPY_CHUNK, c->end - off);
    struct blk_extent ext;

    while (len < most) {
        if (blk_map(c->dev, off + len, c->end - off - len, &ext, NULL))
            break;
        if (ext.status == BLK_ZEROS && ext.len >= MIN_ZEROS) {
            *out_zeros = len == 0; /* else they make the next chunk */
            *out_len = len ? len : vd_min(ext.len, COPY_MAX_ZEROS);
            return;
        }
        len += ext.len;
    }
    *out_zeros = false;
    *out_len = most;
}

/* Takes the next number; NULL: there is nothing more to read.  The lock is held. */
static struct slot *hand_out(struct copy *c)
{
    struct slot *s;
    uint64_t len;
    bool zeros;

    for (;;) {
        uint64_t slowest = c->next;
        size_t i;

        if (c->stop || c->next_off == c->end)
            return NULL;
        for (i = 0; i < c->n_sinks; i++)
            slowest = vd_min(slowest, c->sink[i].done);
        if (c->next - slowest < SLOTS)
            break;
        (void)pthread_cond_wait(&c->changed, &c->lock);
    }
    shape(c, c->next_off, &len, &zeros);
    s = &c->slot[c->next++ % SLOTS];
    s->ready = false;
    s->rc = 0;
    s->chunk = (struct copy_chunk){
        .off = c->next_off,
        .len = len,
        .bytes = zeros ? NULL : s->bytes,
    };
    c->next_off += len;
    if (c->next_off == c->end)
        c->n_chunks = c->next;
    if (c->options->checkpoint)
        s->chunk.checkpoint = c->options->checkpoint(c->options->ctx, c->next_off);
    return s;
}

static void *reader_main(void *arg)
{
    struct copy *c = arg;
    struct slot *s;

    (void)pthread_mutex_lock(&c->lock);
    while ((s = hand_out(c)) != NULL) {
        (void)pthread_mutex_unlock(&c->lock);
        vd_err_clear(&s->err);
        s->rc = fill(c, s, &s->err);
        (void)pthread_mutex_lock(&c->lock);
        s->ready = true;
        (void)pthread_cond_broadcast(&c->changed);
    }
    (void)pthread_cond_broadcast(&c->changed);
    (void)pthread_mutex_unlock(&c->lock);
    return NULL;
}

/* ---- sinks ---- */

static void fail_copy(struct copy *c, int rc, const struct vd_err *err)
{
    c->stop = true;
    if (c->rc == 0) {
        c->rc = rc;
        c->err = *err;
    }
}

/* The next chunk for a sink; NULL: the end.  The lock is held. */
static struct slot *await_chunk(struct copy *c, const struct sink_thread *t)
{
    struct slot *s = &c->slot[t->done % SLOTS];

    while (!c->stop && t->done < c->n_chunks && (t->done >= c->next || !s->ready))
        (void)pthread_cond_wait(&c->changed, &c->lock);
    return c->stop || t->done >= c->n_chunks ? NULL : s;
}

static void pass(struct copy *c, struct sink_thread *t, const struct slot *s)
{
    uint64_t slowest = ++t->done;
    size_t i;

    for (i = 0; i < c->n_sinks; i++)
        slowest = vd_min(slowest, c->sink[i].done);
    if (slowest == t->done) /* this one was the last to pass */
        c->done_off = s->chunk.off + s->chunk.len;
    (void)pthread_cond_broadcast(&c->changed);
}

static void *sink_main(void *arg)
{
    struct sink_thread *t = arg;
    struct copy *c = t->copy;
    struct vd_err err = VD_ERR_INIT;
    struct slot *s;

    (void)pthread_mutex_lock(&c->lock);
    while ((s = await_chunk(c, t)) != NULL) {
        int rc = s->rc;

        (void)pthread_mutex_unlock(&c->lock);
        if (rc)
            err = s->err;
        else if (t->sink->take)
            rc = t->sink->take(t->sink->ctx, &s->chunk, &err);
        (void)pthread_mutex_lock(&c->lock);
        if (rc) {
            fail_copy(c, rc, &err);
            break;
        }
        pass(c, t, s);
    }
    c->running--;
    (void)pthread_cond_broadcast(&c->changed);
    (void)pthread_mutex_unlock(&c->lock);
    return NULL;
}

/* ---- the whole ---- */

static int tick(struct copy *c, uint64_t done)
{
    struct vd_err err = VD_ERR_INIT;
    int rc;

    if (!c->options->tick)
        return 0;
    (void)pthread_mutex_unlock(&c->lock);
    rc = c->options->tick(c->options->ctx, done, &err);
    (void)pthread_mutex_lock(&c->lock);
    if (rc)
        fail_copy(c, rc, &err);
    return rc;
}

/* Until all sinks have ended. */
static void supervise(struct copy *c)
{
    (void)pthread_mutex_lock(&c->lock);
    while (c->running) {
        struct timespec until;

        (void)clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += TICK_NS;
        if (until.tv_nsec >= 1000000000) {
            until.tv_sec++;
            until.tv_nsec -= 1000000000;
        }
        while (c->running && pthread_cond_timedwait(&c->changed, &c->lock, &until) != ETIMEDOUT)
            ;
        if (tick(c, c->done_off))
            (void)pthread_cond_broadcast(&c->changed);
    }
    c->stop = true;
    (void)pthread_cond_broadcast(&c->changed);
    (void)pthread_mutex_unlock(&c->lock);
}

static unsigned reader_count(const struct copy_options *options)
{
    long n = options->readers ? (long)options->readers : sysconf(_SC_NPROCESSORS_ONLN);

    return n < 1 ? 1 : n > MAX_READERS ? MAX_READERS : (unsigned)n;
}

static void run_threads(struct copy *c)
{
    pthread_t reader[MAX_READERS];
    unsigned wanted = reader_count(c->options), n = 0, n_started = 0;
    struct vd_err why = VD_ERR_INIT;
    int rc = 0;

    (void)pthread_mutex_lock(&c->lock); /* nobody goes on before all is right */
    for (; n_started < c->n_sinks && rc == 0; n_started += rc == 0)
        if (pthread_create(&c->sink[n_started].thread, NULL, sink_main, &c->sink[n_started]))
            rc = vd_fail(&why, VD_ENOMEM, "cannot start a thread");
    c->running = n_started;
    for (; n < wanted && rc == 0; n++)
        if (pthread_create(&reader[n], NULL, reader_main, c))
            break;
    if (n == 0 && rc == 0)
        rc = vd_fail(&why, VD_ENOMEM, "cannot start a thread");
    if (rc)
        fail_copy(c, rc, &why);
    (void)pthread_mutex_unlock(&c->lock);
    supervise(c);
    while (n > 0)
        (void)pthread_join(reader[--n], NULL);
    while (n_started > 0)
        (void)pthread_join(c->sink[--n_started].thread, NULL);
}

static int set_up(struct copy *c, const struct copy_sink *sinks, size_t n_sinks, struct vd_err *err)
{
    static const struct copy_sink nothing = {0};
    pthread_condattr_t attr;
    size_t i;

    if (n_sinks > MAX_SINKS)
        return vd_fail(err, VD_EUSAGE, "%zu uses of one copy", n_sinks);
    (void)pthread_mutex_init(&c->lock, NULL);
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&c->changed, &attr);
    (void)pthread_condattr_destroy(&attr);
    c->n_sinks = n_sinks ? n_sinks : 1;
    for (i = 0; i < c->n_sinks; i++) {
        c->sink[i].copy = c;
        c->sink[i].sink = n_sinks ? &sinks[i] : &nothing;
    }
    for (i = 0; i < SLOTS; i++) {
        c->slot[i].bytes = malloc(COPY_CHUNK);
        if (!c->slot[i].bytes)
            return vd_fail(err, VD_ENOMEM, "out of memory");
    }
    return 0;
}

static void clear(struct copy *c)
{
    size_t i;

    for (i = 0; i < SLOTS; i++) {
        free(c->slot[i].bytes);
        free(c->slot[i].bad);
    }
    if (c->n_sinks) {
        (void)pthread_cond_destroy(&c->changed);
        (void)pthread_mutex_destroy(&c->lock);
    }
    free(c);
}

int copy_run(struct blkdev *dev, uint64_t from, uint64_t end, const struct copy_options *options,
             const struct copy_sink *sinks, size_t n_sinks, struct vd_err *err)
{
    struct copy *c;
    int rc;

    if (from > end || end > dev->size)
        return vd_fail(err, VD_ELIMIT, "a range outside of the disk");
    if (from == end)
        return options->tick ? options->tick(options->ctx, end, err) : 0;
    c = calloc(1, sizeof(*c));
    if (!c)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    c->dev = dev;
    c->options = options;
    c->end = end;
    c->next_off = c->done_off = from;
    c->n_chunks = UINT64_MAX;
    rc = set_up(c, sinks, n_sinks, err);
    if (rc == 0) {
        run_threads(c);
        rc = c->rc;
        if (rc && err)
            *err = c->err;
    }
    clear(c);
    return rc;
}
