/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exporting: reads the disk once; hashes and writes side by side; leaves holes where there are zeros.
 *
 * Continuing after a crash.  At checkpoints, at least a second or 64 MiB apart, the partial file is
 * made durable (fdatasync), then a line goes to the journal with the position and the hash of
 * everything below it: the hash the examiner asked for, or, without one, SHA-256 of the data runs
 * (zeros left out, so that a huge empty disk costs nothing).  The next run
 *
 *   1. compares the journal's header with what it is asked to do and with the inputs (names, sizes,
 *      times, inodes, identities); other inputs are refused;
 *   2. reads the partial file from its start and hashes it: no byte of it is believed because it is
 *      there.  What must be zeros by the map is looked at, too;
 *   3. takes the last checkpoint whose hash comes out right, cuts the file there, and goes on.  The
 *      running hashes are then those of the bytes that lie in the file, and they are equal to what
 *      was read from the evidence before.  A state of OpenSSL's hash need not be stored for that.
 *
 * Threads: sinks of copy_run(); `lock` guards what they share.
 */
#include "cli/export_run.h"

#include "base/cleanup.h"
#include "base/range.h"
#include "base/text.h"
#include "cli/copy.h"
#include "cli/export_journal.h"
#include "cli/progress.h"
#include "image/inputs.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHECKPOINT_BYTES ((uint64_t)64 << 20)
#define CHECKPOINT_NS    INT64_C(1000000000)
/* Written pages are handed to the disk in pieces, so that a checkpoint has little to wait for. */
#define FLUSH_BYTES ((uint64_t)16 << 20)

struct export;

struct hash_sink {
    struct export *e;
    struct digest *digest;
    bool zeros; /* zero runs count */
    bool check; /* the one of the checkpoints */
};

struct export
{
    const struct export_job *job;
    const struct command_input *input;
    struct vd_case *c;
    struct blkdev *dev; /* what is exported; owned */
    uint64_t start;     /* of the partition on the disk */
    struct export_journal journal;
    struct hash_sink hash[EXPORT_MAX_HASHES];
    size_t n_hashes;
    struct progress progress;
    uint64_t data_bytes, unflushed, flushed_to; /* of the writing sink */

    struct copy_bad *bad; /* found by this run; by the writing sink, or with it stopped */
    size_t n_bad, cap_bad;

    pthread_mutex_t lock; /* guards what follows, and `bad` up to n_bad */
    struct {
        bool pending, written, hashed;
        uint64_t pos;
        size_t n_bad; /* of `bad` below pos */
        char hash[DIGEST_HEX_MAX];
    } point;
    uint64_t last_pos; /* of the checkpoint before */
    int64_t last_ns;
    size_t bad_noted; /* of `bad` in the journal */

    /* While the partial file is looked at again: */
    size_t next_point; /* checkpoint that comes next */
    bool rejected;
};

static int64_t now_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ---- what is exported ---- */

static int open_partition(struct export *e, struct vd_err *err)
{
    struct volume_table table = {0};
    size_t i;
    int rc = volume_scan(e->c->point->disk, &table, err);

    for (i = 0; i < table.n && rc == 0 && !e->dev; i++)
        if (table.v[i].number == (unsigned)e->job->partition) {
            rc = volume_slice(e->c->point->disk, &table.v[i], &e->dev, err);
            e->start = table.v[i].start;
        }
    if (rc == 0 && !e->dev)
        rc = vd_fail(err, VD_EUSAGE, "there is no partition p%d; vdiskctl info lists them",
                     e->job->partition);
    volume_table_clear(&table);
    return rc;
}

static int open_source(struct export *e, struct vd_err *err)
{
    const struct case_options options = {.chain = e->input->chain, .disk_only = true};
    int rc = case_open(e->input->source, e->input->name, &options, &e->c, err);

    if (rc == 0 && e->job->partition >= 0)
        return open_partition(e, err);
    if (rc == 0)
        e->dev = blk_ref(e->c->point->disk);
    return rc;
}

static void add_input(struct vd_str *s, const struct blkdev *dev)
{
    const struct evidence_id *id;

    if (evidence_identity(dev, &id))
        vd_str_addf(s,
                    "input %" PRIu64 " bytes, modified %" PRId64 ".%09" PRIu32 ", inode %" PRIu64
                    ": %s\n",
                    id->size, id->mtime_sec, id->mtime_nsec, id->ino, dev->label);
}

/* Everything that must be the same for an export to be continued. */
static char *make_header(struct export *e, struct vd_err *err)
{
    struct chain_inputs inputs = {0};
    struct vd_str s = VD_STR_INIT;
    const struct chain *chain = e->c->chain;
    char *text = NULL;
    size_t i;

    if (chain_inputs_collect(chain, &inputs, err))
        return NULL;
    vd_str_add(&s, "vdiskfs-export 1\n");
    vd_str_addf(&s, "raw %" PRIu64 " bytes from %" PRIu64 "\n", e->dev->size, e->start);
    vd_str_add(&s, "hash");
    for (i = 0; i < EXPORT_MAX_HASHES && e->job->hash[i]; i++)
        vd_str_addf(&s, " %s", e->job->hash[i]);
    vd_str_add(&s, i ? "\n" : " none\n");
    for (i = e->c->point->member; i < chain->n; i++)
        vd_str_addf(&s, "member %s: %s\n",
                    chain->v[i]->identity[0] ? chain->v[i]->identity : "without identity",
                    chain->v[i]->name);
    for (i = 0; i < inputs.n; i++)
        add_input(&s, inputs.v[i]);
    chain_inputs_clear(&inputs);
    text = vd_str_take(&s);
    if (!text)
        (void)vd_fail(err, VD_ENOMEM, "out of memory");
    return text;
}

/* ---- hashes ---- */

static void hashes_free(struct export *e)
{
    while (e->n_hashes)
        digest_free(e->hash[--e->n_hashes].digest);
}

/* Fresh ones: those that were asked for, or the one that only checkpoints need. */
static int hashes_new(struct export *e, struct vd_err *err)
{
    bool asked = e->job->hash[0] != NULL;
    size_t i;
    int rc = 0;

    hashes_free(e);
    for (i = 0; rc == 0 && i < EXPORT_MAX_HASHES && (e->job->hash[i] || i == 0); i++) {
        struct hash_sink *h = &e->hash[i];

        *h = (struct hash_sink){.e = e, .zeros = asked, .check = i == 0};
        rc = digest_new(asked ? e->job->hash[i] : "sha256", &h->digest, err);
        e->n_hashes += rc == 0;
    }
    return rc;
}

static void hash_chunk(struct hash_sink *h, const struct copy_chunk *chunk)
{
    if (chunk->bytes)
        digest_add(h->digest, chunk->bytes, (size_t)chunk->len);
    else if (h->zeros)
        digest_add_zeros(h->digest, chunk->len);
}

static int take_hash(void *ctx, const struct copy_chunk *chunk, struct vd_err *err)
{
    struct hash_sink *h = ctx;
    struct export *e = h->e;

    (void)err;
    hash_chunk(h, chunk);
    if (chunk->checkpoint && h->check) {
        char hex[DIGEST_HEX_MAX];

        digest_so_far(h->digest, hex);
        (void)pthread_mutex_lock(&e->lock);
        (void)vd_text_copy(e->point.hash, sizeof(e->point.hash), hex);
        e->point.hashed = true;
        (void)pthread_mutex_unlock(&e->lock);
    }
    return 0;
}

/* ---- writing ---- */

static bool is_zeros(const uint8_t *p, size_t len)
{
    return len == 0 || (p[0] == 0 && memcmp(p, p + 1, len - 1) == 0);
}

int export_spans(const uint8_t *bytes, size_t len, uint64_t off, export_write_fn *write, void *ctx,
                 struct vd_err *err)
{
    size_t at = 0, from = 0;
    bool in_data = false;
    int rc = 0;

    while (at < len && rc == 0) {
        size_t n = EXPORT_BLOCK - (size_t)((off + at) % EXPORT_BLOCK);
        bool zeros;

        n = (size_t)vd_min(n, len - at);
        zeros = is_zeros(bytes + at, n);
        if (zeros && in_data)
            rc = write(ctx, bytes + from, at - from, off + from, err);
        if (!zeros && !in_data)
            from = at;
        in_data = !zeros;
        at += n;
    }
    if (in_data && rc == 0)
        rc = write(ctx, bytes + from, len - from, off + from, err);
    return rc;
}

static int write_failed(const struct export *e, int why, uint64_t off, struct vd_err *err)
{
    if (why == ENOSPC || why == EDQUOT)
        return vd_fail(err, VD_EIO,
                       "no space left for %s.partial (%s) after %" PRIu64 " of %" PRIu64 " bytes",
                       e->job->out_name, why == EDQUOT ? "quota" : "the file system is full", off,
                       e->dev->size);
    if (why == EFBIG)
        return vd_fail(err, VD_EIO,
                       "%s.partial: %" PRIu64 " bytes are more than this file system, or the "
                       "limit of this process, allows one file",
                       e->job->out_name, e->dev->size);
    return vd_fail_errno(err, VD_EIO, why, "cannot write %s.partial at %" PRIu64, e->job->out_name,
                         off);
}

static int write_span(void *ctx, const uint8_t *bytes, size_t len, uint64_t off, struct vd_err *err)
{
    struct export *e = ctx;

    e->data_bytes += len;
    while (len) {
        ssize_t n = pwrite(e->job->partial_fd, bytes, len, (off_t)off);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return write_failed(e, n < 0 ? errno : ENOSPC, off, err);
        bytes += n;
        off += (uint64_t)n;
        len -= (size_t)n;
    }
    return 0;
}

static int note_bad(struct export *e, const struct copy_chunk *chunk, struct vd_err *err)
{
    size_t i;
    int rc = 0;

    if (!chunk->n_bad)
        return 0;
    (void)pthread_mutex_lock(&e->lock);
    for (i = 0; i < chunk->n_bad && rc == 0; i++) {
        /* Never joined with what the journal has already, nor with what a checkpoint counts. */
        bool join = e->n_bad > e->bad_noted && !(e->point.pending && e->n_bad == e->point.n_bad);

        rc = export_bad_add(&e->bad, &e->n_bad, &e->cap_bad, &chunk->bad[i], join, err);
    }
    (void)pthread_mutex_unlock(&e->lock);
    return rc;
}

static int take_write(void *ctx, const struct copy_chunk *chunk, struct vd_err *err)
{
    struct export *e = ctx;
    uint64_t before = e->data_bytes, end = chunk->off + chunk->len;
    int rc = chunk->bytes
                 ? export_spans(chunk->bytes, (size_t)chunk->len, chunk->off, write_span, e, err)
                 : 0;

    if (rc == 0)
        rc = note_bad(e, chunk, err);
    if (rc)
        return rc;
    e->unflushed += e->data_bytes - before;
    if (e->unflushed >= FLUSH_BYTES) {
        (void)sync_file_range(e->job->partial_fd, (off_t)e->flushed_to,
                              (off_t)(end - e->flushed_to), SYNC_FILE_RANGE_WRITE);
        e->flushed_to = end;
        e->unflushed = 0;
    }
    if (chunk->checkpoint) {
        (void)pthread_mutex_lock(&e->lock);
        e->point.written = true;
        e->point.n_bad = e->n_bad;
        (void)pthread_mutex_unlock(&e->lock);
    }
    return 0;
}

/* ---- checkpoints ---- */

/* Asked for each chunk that is handed out: shall its end be a checkpoint? */
static bool want_point(void *ctx, uint64_t end)
{
    struct export *e = ctx;
    bool want;

    (void)pthread_mutex_lock(&e->lock);
    want = !e->point.pending &&
           (end - e->last_pos >= CHECKPOINT_BYTES || now_ns() - e->last_ns >= CHECKPOINT_NS);
    if (want) {
        e->point.pending = true;
        e->point.written = e->point.hashed = false;
        e->point.pos = e->last_pos = end;
        e->point.n_bad = SIZE_MAX;
        e->last_ns = now_ns();
    }
    (void)pthread_mutex_unlock(&e->lock);
    return want;
}

/* The journal's line, once both sinks have passed the point and its bytes are on the disk. */
static int save_point(struct export *e, struct vd_err *err)
{
    struct copy_bad *bad = NULL;
    size_t n, first;
    int rc;

    (void)pthread_mutex_lock(&e->lock);
    if (!e->point.pending || !e->point.written || !e->point.hashed) {
        (void)pthread_mutex_unlock(&e->lock);
        return 0;
    }
    first = e->bad_noted;
    n = e->point.n_bad - first;
    if (n) {
        bad = malloc(n * sizeof(*bad));
        if (bad)
            memcpy(bad, e->bad + first, n * sizeof(*bad));
    }
    (void)pthread_mutex_unlock(&e->lock);
    if (n && !bad)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    rc = fdatasync(e->job->partial_fd) ? write_failed(e, errno, e->point.pos, err) : 0;
    if (rc == 0)
        rc = export_journal_add(&e->journal, bad, n, e->point.pos, e->point.hash, err);
    free(bad);
    (void)pthread_mutex_lock(&e->lock);
    e->bad_noted = first + n;
    e->point.pending = false;
    (void)pthread_mutex_unlock(&e->lock);
    return rc;
}

static int check_stop(const struct export *e, struct vd_err *err)
{
    struct pollfd fd = {.fd = e->input->stop_fd, .events = POLLIN};

    if (poll(&fd, 1, 0) > 0)
        return vd_fail(err, VD_EIO, "stopped");
    return 0;
}

static int tick(void *ctx, uint64_t done, struct vd_err *err)
{
    struct export *e = ctx;
    int rc = save_point(e, err);

    progress_set(&e->progress, done);
    return rc ? rc : check_stop(e, err);
}

/* ---- looking at the partial file again ---- */

/* The partial file with the map of the disk: so the same runs are skipped as when it was written. */
struct partial {
    int fd;
    struct blkdev *source;
};

static int partial_read_at(struct blkdev *dev, uint64_t off, void *buf, size_t len,
                           struct vd_err *err)
{
    const struct partial *p = dev->priv;
    uint8_t *to = buf;

    while (len) {
        ssize_t n = pread(p->fd, to, len, (off_t)off);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return vd_at(err, vd_fail_errno(err, VD_EIO, errno, "the partial file"), off);
        if (n == 0) { /* the last zeros of a part are not written */
            memset(to, 0, len);
            return 0;
        }
        to += n;
        off += (uint64_t)n;
        len -= (size_t)n;
    }
    return 0;
}

static int partial_map(struct blkdev *dev, uint64_t off, uint64_t max_len, struct blk_extent *out,
                       struct vd_err *err)
{
    const struct partial *p = dev->priv;
    int rc = blk_map(p->source, off, max_len, out, err);

    out->child = NULL;
    if (rc == 0 && out->status != BLK_ZEROS)
        out->status = BLK_DATA;
    return rc;
}

static const struct blk_type partial_type = {
    .name = "partial", .read_at = partial_read_at, .map = partial_map};

/* Zeros by the map must be zeros in the file: a hole, or bytes that are. */
static int see_zeros(int fd, uint64_t off, uint64_t len, bool *out_zeros)
{
    static const size_t piece = 65536;
    VD_AUTO(free) uint8_t *buf = NULL;
    off_t data = lseek(fd, (off_t)off, SEEK_DATA);

    *out_zeros = true;
    if ((data < 0 && errno == ENXIO) || (data >= 0 && (uint64_t)data >= off + len))
        return 0;
    buf = malloc(piece);
    if (!buf)
        return -VD_ENOMEM;
    while (len && *out_zeros) {
        ssize_t n = pread(fd, buf, (size_t)vd_min(piece, len), (off_t)off);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            *out_zeros = n == 0;
            return 0;
        }
        *out_zeros = is_zeros(buf, (size_t)n);
        off += (uint64_t)n;
        len -= (uint64_t)n;
    }
    return 0;
}

static int take_again(void *ctx, const struct copy_chunk *chunk, struct vd_err *err)
{
    struct hash_sink *h = ctx;
    struct export *e = h->e;
    bool zeros = true;

    if (!chunk->bytes && h->check && see_zeros(e->job->partial_fd, chunk->off, chunk->len, &zeros))
        return vd_fail(err, VD_ENOMEM, "out of memory");
    hash_chunk(h, chunk);
    if (!h->check)
        return 0;
    if (zeros && chunk->off + chunk->len == e->journal.point[e->next_point].pos) {
        char hex[DIGEST_HEX_MAX];

        digest_so_far(h->digest, hex);
        zeros = strcmp(hex, e->journal.point[e->next_point].hash) == 0;
        e->next_point += zeros;
    }
    e->rejected = !zeros;
    return zeros ? 0 : vd_fail(err, VD_EDIFF, "the partial file is not what was written");
}

static int tick_again(void *ctx, uint64_t done, struct vd_err *err)
{
    struct export *e = ctx;

    progress_set(&e->progress, done);
    return check_stop(e, err);
}

/* Hashes the partial file up to the last of the first `n` checkpoints; *out_good are right. */
static int look_again(struct export *e, size_t n, size_t *out_good, struct vd_err *err)
{
    struct partial partial = {.fd = e->job->partial_fd, .source = e->dev};
    const struct copy_options options = {.tick = tick_again, .ctx = e, .readers = 1};
    uint64_t end = e->journal.point[n - 1].pos;
    struct copy_sink sink[EXPORT_MAX_HASHES];
    struct blkdev *dev = NULL;
    size_t i;
    int rc = hashes_new(e, err);

    if (rc == 0)
        rc = blk_new(&partial_type, e->dev->size, "", &partial, &dev, err);
    if (rc)
        return rc;
    for (i = 0; i < e->n_hashes; i++)
        sink[i] = (struct copy_sink){take_again, &e->hash[i]};
    e->next_point = 0;
    e->rejected = false;
    progress_start(&e->progress, 0, end);
    rc = copy_run(dev, 0, end, &options, sink, e->n_hashes, err);
    progress_end(&e->progress);
    *out_good = e->next_point;
    blk_unref(dev);
    return e->rejected ? 0 : rc;
}

/* How much of an earlier run is good; hashes and file stand there afterwards. */
static int take_up(struct export *e, uint64_t *out_from, struct vd_err *err)
{
    size_t n = e->journal.n_points, good = 0;
    int rc = 0;

    while (n && e->journal.point[n - 1].pos > e->dev->size)
        n--;
    while (n && rc == 0) {
        rc = look_again(e, n, &good, err);
        if (rc == 0 && good == n)
            break;
        n = good; /* once more: the hashes have gone past it */
    }
    if (rc)
        return rc;
    e->job->result->rejected = (int)(e->journal.n_points - n);
    *out_from = n ? e->journal.point[n - 1].pos : 0;
    rc = export_journal_cut(&e->journal, n, err);
    if (rc == 0 && n == 0)
        rc = hashes_new(e, err);
    if (rc == 0 && ftruncate(e->job->partial_fd, (off_t)*out_from))
        rc = vd_fail_errno(err, VD_EIO, errno, "cannot cut the partial file");
    return rc;
}

static int other_export(const struct export *e, const char *header, struct vd_err *err)
{
    const char *was = e->journal.header, *is = header;
    size_t was_len, is_len;

    for (;;) { /* the first line that differs */
        was_len = strcspn(was, "\n");
        is_len = strcspn(is, "\n");
        if (was_len != is_len || memcmp(was, is, is_len) != 0 || !was[was_len])
            break;
        was += was_len + 1;
        is += is_len + 1;
    }
    return vd_fail(
        err, VD_EREFUSED,
        "%s.partial is of another export: there \"%.*s\", now \"%.*s\"; --restart throws "
        "it away",
        e->job->out_name, (int)vd_min(was_len, 200), was, (int)vd_min(is_len, 200), is);
}

/* *out_from: where to go on.  The journal, the file and the hashes stand there. */
static int begin(struct export *e, uint64_t *out_from, struct vd_err *err)
{
    VD_AUTO(free) char *header = make_header(e, err);
    int rc = header ? export_journal_read(e->job->journal_fd, &e->journal, err) : -VD_ENOMEM;

    *out_from = 0;
    if (rc)
        return rc;
    if (e->journal.header && strcmp(e->journal.header, header) != 0)
        return other_export(e, header, err);
    if (e->journal.header) {
        rc = take_up(e, out_from, err);
        if (rc == 0 && e->journal.n_bad && !e->job->zero_errors)
            rc = vd_fail(err, VD_EREFUSED,
                         "the part that an earlier run wrote has zeros for bytes that could not be "
                         "read: go on with --errors=zero, or begin anew with --restart");
        return rc;
    }
    if (ftruncate(e->job->partial_fd, 0)) /* no header: nothing in it was vouched for */
        return vd_fail_errno(err, VD_EIO, errno, "cannot empty the partial file");
    rc = hashes_new(e, err);
    return rc ? rc : export_journal_start(&e->journal, header, err);
}

/* ---- the end ---- */

int export_map_write(int fd, const struct copy_bad *bad, size_t n_bad, uint64_t size,
                     struct vd_err *err)
{
    struct vd_str s = VD_STR_INIT;
    VD_AUTO(free) char *text = NULL;
    uint64_t at = 0;
    size_t i, len, done = 0;

    vd_str_add(&s, "# Mapfile. Created by vdiskctl export\n"
                   "# current_pos  current_status  current_pass\n");
    vd_str_addf(&s, "0x%08" PRIX64 "     +               1\n#      pos        size  status\n",
                size);
    for (i = 0; i < n_bad; i++) {
        if (bad[i].off > at)
            vd_str_addf(&s, "0x%08" PRIX64 "  0x%08" PRIX64 "  +\n", at, bad[i].off - at);
        vd_str_addf(&s, "0x%08" PRIX64 "  0x%08" PRIX64 "  -\n", bad[i].off, bad[i].len);
        at = bad[i].off + bad[i].len;
    }
    if (at < size)
        vd_str_addf(&s, "0x%08" PRIX64 "  0x%08" PRIX64 "  +\n", at, size - at);
    text = vd_str_take(&s);
    if (!text)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    for (len = strlen(text); done < len;) {
        ssize_t n = pwrite(fd, text + done, len - done, (off_t)done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return vd_fail_errno(err, VD_EIO, errno, "cannot write the map of bad ranges");
        done += (size_t)n;
    }
    return fsync(fd) ? vd_fail_errno(err, VD_EIO, errno, "the map of bad ranges") : 0;
}

/* The ranges of the earlier run, then those of this one; joined. */
static int all_bad(struct export *e, struct copy_bad **v, size_t *n, struct vd_err *err)
{
    size_t i, cap = 0;
    int rc = 0;

    for (i = 0; i < e->journal.n_bad && rc == 0; i++)
        rc = export_bad_add(v, n, &cap, &e->journal.bad[i], true, err);
    for (i = 0; i < e->n_bad && rc == 0; i++)
        rc = export_bad_add(v, n, &cap, &e->bad[i], true, err);
    return rc;
}

static int finish_bad(struct export *e, struct vd_err *err)
{
    struct export_result *result = e->job->result;
    VD_AUTO(free) struct copy_bad *bad = NULL;
    size_t n = 0, i;
    int rc = all_bad(e, &bad, &n, err);

    for (i = 0; i < n; i++)
        result->bad_bytes += bad[i].len;
    result->n_bad = n;
    if (rc == 0 && e->job->map_fd >= 0)
        rc = export_map_write(e->job->map_fd, bad, n, e->dev->size, err);
    return rc;
}

static int finish(struct export *e, struct vd_err *err)
{
    struct export_result *result = e->job->result;
    size_t i;
    int rc;

    if (ftruncate(e->job->partial_fd, (off_t)e->dev->size))
        return write_failed(e, errno, e->dev->size, err);
    if (fsync(e->job->partial_fd))
        return write_failed(e, errno, e->dev->size, err);
    rc = finish_bad(e, err);
    if (rc)
        return rc;
    for (i = 0; i < e->n_hashes && e->job->hash[0]; i++) {
        (void)vd_text_copy(result->hash_name[i], sizeof(result->hash_name[i]),
                           digest_name(e->hash[i].digest));
        digest_so_far(e->hash[i].digest, result->hash[i]);
    }
    result->size = e->dev->size;
    result->data_bytes = e->data_bytes;
    result->complete = 1;
    return 0;
}

static int copy_rest(struct export *e, uint64_t from, struct vd_err *err)
{
    const struct copy_options options = {
        .keep_going = e->job->zero_errors, .tick = tick, .checkpoint = want_point, .ctx = e};
    struct copy_sink sink[1 + EXPORT_MAX_HASHES] = {{take_write, e}};
    size_t i;
    int rc;

    for (i = 0; i < e->n_hashes; i++)
        sink[1 + i] = (struct copy_sink){take_hash, &e->hash[i]};
    e->last_pos = e->flushed_to = from;
    e->last_ns = now_ns();
    progress_start(&e->progress, from, e->dev->size);
    rc = copy_run(e->dev, from, e->dev->size, &options, sink, 1 + e->n_hashes, err);
    progress_end(&e->progress);
    return rc;
}

int export_run(const struct command_input *input, void *arg, struct vd_err *err)
{
    struct export e = {.job = arg, .input = input, .journal = {.fd = -1}};
    uint64_t from = 0;
    int rc;

    (void)pthread_mutex_init(&e.lock, NULL);
    rc = open_source(&e, err);
    if (rc == 0)
        rc = begin(&e, &from, err);
    e.job->result->from = from;
    if (rc == 0)
        rc = copy_rest(&e, from, err);
    if (rc == 0)
        rc = finish(&e, err);
    export_journal_clear(&e.journal);
    hashes_free(&e);
    free(e.bad);
    blk_unref(e.dev);
    case_free(e.c);
    (void)pthread_mutex_destroy(&e.lock);
    if (rc == 0 && e.job->result->n_bad)
        rc = vd_fail(err, VD_EDIFF,
                     "%" PRIu64 " bytes in %" PRIu64
                     " ranges cannot be had and are zeros in the export: see %s.map",
                     e.job->result->bad_bytes, e.job->result->n_bad, e.job->out_name);
    return rc;
}
