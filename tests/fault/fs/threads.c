/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Eight threads walk one file system at the same time, hash all content and read at random places;
 * each must see what a single thread saw.  Meant to be run under ThreadSanitizer as well.
 *
 *     threads IMAGE
 */
#include "fs_walk.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define THREADS 8

/* A hash over all lines, in the order of the walk. */
struct digest {
    uint64_t h;
    size_t n;
};

static void add_line(void *ctx, const struct fs_walk_line *l)
{
    struct digest *d = ctx;
    const char *parts[] = {l->kind, l->hash, l->path};
    size_t i;
    const char *p;

    for (i = 0; i < 3; i++)
        for (p = parts[i]; *p; p++)
            d->h = (d->h ^ (uint8_t)*p) * UINT64_C(0x100000001b3);
    d->h += l->size;
    d->n++;
}

struct job {
    struct fs *fs;
    struct digest digest;
    pthread_t thread;
};

static void *work(void *arg)
{
    struct job *job = arg;

    (void)fs_walk(job->fs, NULL, add_line, &job->digest);
    return NULL;
}

int main(int argc, char **argv)
{
    struct job jobs[THREADS] = {0};
    struct digest want = {0};
    struct vd_err err = VD_ERR_INIT;
    struct blkdev *vol;
    struct fs *fs;
    unsigned i, bad = 0;

    if (argc < 2)
        return 2;
    fs_init();
    if (fs_walk_open(argv[1], 0, 0, &vol, &err) || fs_open(vol, "", &fs, &err)) {
        printf("cannot open: %s\n", err.msg);
        return 2;
    }
    /* the threads first: caches are cold for them */
    for (i = 0; i < THREADS; i++) {
        jobs[i].fs = fs;
        if (pthread_create(&jobs[i].thread, NULL, work, &jobs[i]))
            return 2;
    }
    for (i = 0; i < THREADS; i++)
        (void)pthread_join(jobs[i].thread, NULL);
    (void)fs_walk(fs, NULL, add_line, &want);
    for (i = 0; i < THREADS; i++)
        bad += jobs[i].digest.h != want.h || jobs[i].digest.n != want.n;
    printf("%s: %zu objects, %u of %u threads saw something else\n", argv[1], want.n, bad, THREADS);
    fs_free(fs);
    blk_unref(vol);
    return bad || !want.n ? 1 : 0;
}
