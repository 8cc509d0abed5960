/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vdiskctl hash: SHA-256 of every input file and of the reconstructed disk.
 *
 * A reader thread fills one buffer while the other is hashed.  Runs that the map calls zeros are
 * not read.  Lines are in the form of sha256sum(1) ("HASH  NAME"), so `sha256sum -c` checks the
 * inputs; the disk's line names it disk.img.
 */
#include "base/cleanup.h"
#include "base/range.h"
#include "base/sha256.h"
#include "base/text.h"
#include "cli/command.h"
#include "image/inputs.h"
#include "vdiskfs/exit_codes.h"

#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define HASH_BUFFER ((size_t)4 << 20)

static const char usage[] =
    "Usage: vdiskctl hash [--json] [--inputs-only|--disk-only] [-o OPTIONS] IMAGE\n"
    "SHA-256 of every input file of the chain and of the reconstructed disk (disk.img).\n"
    "  --inputs-only   the files only\n"
    "  --disk-only     the reconstructed disk only\n"
    "  --json          as JSON\n"
    "  -o OPTIONS      options of vdiskfs(1) for opening: chain=, parent_dir=, ...\n";

struct hash_job {
    bool json, inputs, disk;
    json_t *list; /* with json */
};

/* ---- progress ---- */

struct progress {
    bool on;
    uint64_t done, total;
    struct timespec start, last;
};

static double seconds_since(const struct timespec *since)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - since->tv_sec) + (double)(now.tv_nsec - since->tv_nsec) / 1e9;
}

static void progress_start(struct progress *p, uint64_t total)
{
    p->on = isatty(STDERR_FILENO);
    p->done = 0;
    p->total = total;
    (void)clock_gettime(CLOCK_MONOTONIC, &p->start);
    p->last = p->start;
}

static void progress_add(struct progress *p, uint64_t bytes)
{
    char done[32], total[32], rate[32];
    double elapsed, speed, left;
    int filled;

    p->done += bytes;
    if (!p->on || (seconds_since(&p->last) < 0.1 && p->done < p->total))
        return;
    (void)clock_gettime(CLOCK_MONOTONIC, &p->last);
    elapsed = seconds_since(&p->start);
    speed = elapsed > 0 ? (double)p->done / elapsed : 0;
    left = speed > 0 ? (double)(p->total - p->done) / speed : 0;
    filled = p->total ? (int)(30.0 * (double)p->done / (double)p->total) : 30;
    vd_text_size(p->done, done, sizeof(done));
    vd_text_size(p->total, total, sizeof(total));
    vd_text_size((uint64_t)speed, rate, sizeof(rate));
    (void)fprintf(stderr, "\r[%-30.*s] %s of %s, %s/s, %d:%02d left   ", filled,
                  "##############################", done, total, rate, (int)left / 60,
                  (int)left % 60);
}

static void progress_end(const struct progress *p)
{
    if (p->on)
        (void)fprintf(stderr, "\r%79s\r", "");
}

/* ---- hashing with one reader ahead ---- */

struct chunk {
    uint8_t *bytes;
    size_t len;
    bool full;
};

struct reader {
    struct blkdev *dev;
    pthread_mutex_t lock; /* guards full of both chunks, rc, stop */
    pthread_cond_t changed;
    struct chunk chunk[2];
    bool stop;
    int rc;
    struct vd_err err;
};

static int read_chunk(struct blkdev *dev, uint64_t off, struct chunk *chunk, struct vd_err *err)
{
    struct blk_extent ext;
    int rc = blk_map(dev, off, chunk->len, &ext, err);

    if (rc)
        return rc;
    if (ext.status == BLK_ZEROS && ext.len >= chunk->len) {
        memset(chunk->bytes, 0, chunk->len);
        return 0;
    }
    return blk_read(dev, off, chunk->bytes, chunk->len, err);
}

static void *reader_main(void *arg)
{
    struct reader *r = arg;
    uint64_t off = 0;
    unsigned turn = 0;

    while (off < r->dev->size) {
        struct chunk *chunk = &r->chunk[turn++ & 1];
        bool stop;
        int rc;

        (void)pthread_mutex_lock(&r->lock);
        while (chunk->full && !r->stop)
            (void)pthread_cond_wait(&r->changed, &r->lock);
        stop = r->stop;
        (void)pthread_mutex_unlock(&r->lock);
        if (stop)
            break;
        chunk->len = (size_t)vd_min(HASH_BUFFER, r->dev->size - off);
        rc = read_chunk(r->dev, off, chunk, &r->err);
        off += chunk->len;
        (void)pthread_mutex_lock(&r->lock);
        chunk->full = rc == 0;
        r->rc = rc;
        (void)pthread_cond_broadcast(&r->changed);
        (void)pthread_mutex_unlock(&r->lock);
        if (rc)
            break;
    }
    return NULL;
}

static int take_chunks(struct reader *r, struct vd_sha256 *sha, struct progress *progress)
{
    uint64_t off = 0;
    unsigned turn = 0;
    int rc = 0;

    while (off < r->dev->size) {
        struct chunk *chunk = &r->chunk[turn++ & 1];

        (void)pthread_mutex_lock(&r->lock);
        while (!chunk->full && r->rc == 0)
            (void)pthread_cond_wait(&r->changed, &r->lock);
        rc = chunk->full ? 0 : r->rc;
        (void)pthread_mutex_unlock(&r->lock);
        if (rc)
            break;
        vd_sha256_add(sha, chunk->bytes, chunk->len);
        progress_add(progress, chunk->len);
        off += chunk->len;
        (void)pthread_mutex_lock(&r->lock);
        chunk->full = false;
        (void)pthread_cond_broadcast(&r->changed);
        (void)pthread_mutex_unlock(&r->lock);
    }
    return rc;
}

static int run_reader(struct reader *r, struct vd_sha256 *sha, struct progress *progress,
                      struct vd_err *err)
{
    pthread_t thread;
    int rc;

    if (pthread_create(&thread, NULL, reader_main, r))
        return vd_fail(err, VD_ENOMEM, "cannot start a thread");
    rc = take_chunks(r, sha, progress);
    (void)pthread_mutex_lock(&r->lock);
    r->stop = true;
    (void)pthread_cond_broadcast(&r->changed);
    (void)pthread_mutex_unlock(&r->lock);
    (void)pthread_join(thread, NULL);
    if (rc && err)
        *err = r->err;
    return rc;
}

static int hash_device(struct blkdev *dev, struct progress *progress, uint8_t out[VD_SHA256_SIZE],
                       struct vd_err *err)
{
    struct reader r = {.dev = dev, .err = VD_ERR_INIT};
    struct vd_sha256 *sha = vd_sha256_new();
    int rc;

    r.chunk[0].bytes = malloc(HASH_BUFFER);
    r.chunk[1].bytes = malloc(HASH_BUFFER);
    (void)pthread_mutex_init(&r.lock, NULL);
    (void)pthread_cond_init(&r.changed, NULL);
    if (!sha || !r.chunk[0].bytes || !r.chunk[1].bytes)
        rc = vd_fail(err, VD_ENOMEM, "out of memory");
    else
        rc = run_reader(&r, sha, progress, err);
    if (rc == 0)
        vd_sha256_end(sha, out);
    vd_sha256_free(sha);
    free(r.chunk[0].bytes);
    free(r.chunk[1].bytes);
    (void)pthread_cond_destroy(&r.changed);
    (void)pthread_mutex_destroy(&r.lock);
    return rc;
}

/* ---- output ---- */

static int emit(struct hash_job *job, const char *role, const char *name, uint64_t size,
                const uint8_t hash[VD_SHA256_SIZE], struct vd_err *err)
{
    char hex[2 * VD_SHA256_SIZE + 1];
    json_t *row;

    vd_sha256_hex(hash, hex);
    if (!job->json) {
        (void)printf("%s  %s\n", hex, name);
        return 0;
    }
    row = json_pack("{s:s, s:s, s:I, s:s}", "role", role, "name", name, "size", (json_int_t)size,
                    "sha256", hex);
    if (!row || json_array_append_new(job->list, row))
        return vd_fail(err, VD_ENOMEM, "out of memory");
    return 0;
}

static int hash_one(struct hash_job *job, struct blkdev *dev, const char *role, const char *name,
                    struct progress *progress, struct vd_err *err)
{
    uint8_t hash[VD_SHA256_SIZE];
    int rc = hash_device(dev, progress, hash, err);

    return rc ? rc : emit(job, role, name, dev->size, hash, err);
}

static int hash_all(const struct vd_case *c, const struct chain_inputs *inputs,
                    struct hash_job *job, struct vd_err *err)
{
    struct progress progress;
    uint64_t total = job->disk ? c->point->disk->size : 0;
    size_t i;
    int rc = 0;

    for (i = 0; job->inputs && i < inputs->n; i++)
        total += inputs->v[i]->size;
    progress_start(&progress, total);
    for (i = 0; job->inputs && i < inputs->n && rc == 0; i++)
        rc = hash_one(job, inputs->v[i], "input", inputs->v[i]->label, &progress, err);
    if (job->disk && rc == 0)
        rc = hash_one(job, c->point->disk, "disk", "disk.img", &progress, err);
    progress_end(&progress);
    return rc;
}

static int hash_case(const struct vd_case *c, const struct case_context *context, void *arg,
                     struct vd_err *err)
{
    struct hash_job *job = arg;
    struct chain_inputs inputs = {0};
    char *text;
    int rc;

    (void)context;
    job->list = json_array();
    if (!job->list)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    rc = chain_inputs_collect(c->chain, &inputs, err);
    if (rc == 0)
        rc = hash_all(c, &inputs, job, err);
    if (rc == 0 && job->json) {
        text = json_dumps(job->list, JSON_INDENT(2));
        if (text)
            (void)puts(text);
        else
            rc = vd_fail(err, VD_ENOMEM, "out of memory");
        free(text);
    }
    chain_inputs_clear(&inputs);
    json_decref(job->list);
    return rc;
}

int cmd_hash(int argc, char **argv)
{
    static const struct option long_options[] = {{"json", no_argument, NULL, 'j'},
                                                 {"inputs-only", no_argument, NULL, 'i'},
                                                 {"disk-only", no_argument, NULL, 'd'},
                                                 {"help", no_argument, NULL, 'h'},
                                                 {0}};
    struct vd_err err = VD_ERR_INIT;
    struct options options = {0};
    struct hash_job job = {.inputs = true, .disk = true};
    int c, rc = 0, code;

    while (rc == 0 && (c = getopt_long(argc, argv, "o:h", long_options, NULL)) != -1) {
        if (c == 'h') {
            (void)fputs(usage, stdout);
            options_clear(&options);
            return VD_EXIT_OK;
        }
        job.json |= c == 'j';
        job.disk &= c != 'i';
        job.inputs &= c != 'd';
        if (c == '?')
            rc = vd_fail(&err, VD_EUSAGE, "see vdiskctl hash --help");
        if (c == 'o')
            rc = options_parse(&options, optarg, OPTION_OPEN, &err);
    }
    if (rc == 0 && !job.inputs && !job.disk)
        rc = vd_fail(&err, VD_EUSAGE, "--inputs-only and --disk-only exclude each other");
    if (rc == 0 && optind + 1 != argc)
        rc = vd_fail(&err, VD_EUSAGE, "one IMAGE is needed; see vdiskctl hash --help");
    code = rc ? command_error("vdiskctl hash", rc, &err)
              : command_with_case("vdiskctl hash", argv[optind], &options, true, hash_case, &job);
    options_clear(&options);
    return code;
}
