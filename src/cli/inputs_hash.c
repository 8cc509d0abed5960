/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hash_inputs=sha256: see inputs_hash.h.  Files are read through the door of the block layer, in
 * order and in pieces of one buffer, by a thread of the scheduling class "idle" (sched(7)) and
 * the idle class of block I/O (ioprio_set(2)), so that reads through the mount go first.
 *
 * The hash is that of the file as it was opened: when size or times are not the same at the end of
 * the reading as they were when the file was opened, there is none.
 */
#include "cli/inputs_hash.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/ioprio.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PIECE ((size_t)256 << 10)

int inputs_hash_init(struct inputs_hash *h, struct vd_err *err)
{
    h->buf = malloc(PIECE);
    h->sha = vd_sha256_new();
    if (h->buf && h->sha)
        return 0;
    inputs_hash_clear(h);
    return vd_fail(err, VD_ENOMEM, "out of memory");
}

void inputs_hash_clear(struct inputs_hash *h)
{
    free(h->buf);
    vd_sha256_free(h->sha);
    h->buf = NULL;
    h->sha = NULL;
}

/* Best effort: without it the reading is only less polite. */
static void be_idle(void)
{
    const struct sched_param none = {0};

    (void)sched_setscheduler(0, SCHED_IDLE, &none);
    (void)syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0));
}

__attribute__((format(printf, 3, 4))) static void fail(struct inputs_hash_result *r, int error,
                                                       const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(r->text, sizeof(r->text), fmt, ap);
    va_end(ap);
    r->error = error;
}

/* Is the file what it was when it was opened? */
static bool unchanged(struct blkdev *dev, struct evidence_id *now, struct inputs_hash_result *r)
{
    const struct evidence_id *opened;
    struct vd_err err = VD_ERR_INIT;

    if (!evidence_identity(dev, &opened) || evidence_now(dev, now, &err)) {
        fail(r, EIO, "%s", err.msg);
        return false;
    }
    if (evidence_same_state(now, opened))
        return true;
    fail(r, ESTALE, "not hashed: it is not what it was when it was opened");
    return false;
}

static bool read_all(struct inputs_hash *h, struct blkdev *dev, struct inputs_hash_result *r)
{
    struct vd_err err = VD_ERR_INIT;

    vd_sha256_reset(h->sha);
    while (r->done < dev->size) {
        size_t len = dev->size - r->done < PIECE ? (size_t)(dev->size - r->done) : PIECE;

        if (atomic_load(&h->stop)) {
            fail(r, ECANCELED, "not completed: %" PRIu64 " of %" PRIu64 " bytes", r->done,
                 dev->size);
            return false;
        }
        if (blk_read(dev, r->done, h->buf, len, &err)) {
            fail(r, err.host_errno ? err.host_errno : EIO, "%s", err.msg);
            return false;
        }
        vd_sha256_add(h->sha, h->buf, len);
        r->done += len;
        atomic_fetch_add(&h->sum, len);
    }
    vd_sha256_end(h->sha, r->sha);
    return true;
}

static void hash_file(struct inputs_hash *h, struct blkdev *dev, struct inputs_hash_result *r)
{
    struct evidence_id after;

    *r = (struct inputs_hash_result){0};
    if (unchanged(dev, &r->id, r) && read_all(h, dev, r))
        (void)unchanged(dev, &after, r);
}

void *inputs_hash_main(void *arg)
{
    struct inputs_hash *h = arg;
    struct inputs_hash_result r;
    size_t i;

    be_idle();
    for (i = 0; i < h->n && !atomic_load(&h->stop); i++) {
        hash_file(h, h->files[i], &r);
        (void)pthread_mutex_lock(h->lock);
        h->result = r;
        h->has_result = true;
        (void)pthread_cond_broadcast(h->wake);
        while (h->has_result && !atomic_load(&h->stop))
            (void)pthread_cond_wait(h->wake, h->lock);
        if (!h->has_result)
            h->at++;
        (void)pthread_mutex_unlock(h->lock);
    }
    return NULL;
}
