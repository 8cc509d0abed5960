/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hostile volumes: changes a few bytes of an image in memory, opens it, walks everything within
 * bounds, again and again.  Any outcome is allowed but a crash (run it with sanitizers), an endless
 * loop or endless memory.  Deterministic.
 *
 *     mutate IMAGE [N]
 */
#include "fs_walk.h"

#include "blk/layers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SLOW_MS 3000

static uint64_t state;

static uint64_t rnd(uint64_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (state >> 11) % below;
}

static void count(void *ctx, const struct fs_walk_line *line)
{
    size_t *n = ctx;

    (void)line;
    ++*n;
}

static uint64_t now_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint8_t *load(const char *path, size_t *out_len)
{
    FILE *f = fopen(path, "rb");
    long len = -1;
    uint8_t *bytes;

    if (!f || fseek(f, 0, SEEK_END) || (len = ftell(f)) <= 0 || fseek(f, 0, SEEK_SET))
        return NULL;
    bytes = malloc((size_t)len);
    if (!bytes || fread(bytes, 1, (size_t)len, f) != (size_t)len)
        return NULL;
    (void)fclose(f);
    *out_len = (size_t)len;
    return bytes;
}

/* Changes up to 12 bytes or words of the first sectors that are not empty (metadata, mostly). */
static void mutate(uint8_t *bytes, const size_t *sectors, size_t n_sectors)
{
    static const uint32_t values[] = {0,      1,          0x7f,       0x80,      0xff,
                                      0xffff, 0x7fffffff, 0x80000000, 0xffffffff};
    uint64_t i, n = 1 + rnd(12);

    for (i = 0; i < n; i++) {
        uint8_t *p = bytes + sectors[rnd(n_sectors)] * 512 + rnd(508);
        uint32_t v = rnd(2) ? (uint32_t)rnd(UINT32_MAX) : values[rnd(9)];

        memcpy(p, &v, 1 + rnd(4));
    }
}

int main(int argc, char **argv)
{
    static const struct fs_walk_limits limits = {.objects = 2000, .bytes = 1 << 20};
    size_t len, n_sectors = 0, i, n = argc > 2 ? strtoull(argv[2], NULL, 0) : 150, opened = 0;
    size_t objects = 0, *sectors;
    uint8_t *bytes, *work, zero[512] = {0};
    unsigned slow = 0;

    if (argc < 2 || !(bytes = load(argv[1], &len)))
        return 2;
    fs_init();
    work = malloc(len);
    sectors = calloc(len / 512 + 1, sizeof(*sectors));
    if (!work || !sectors)
        return 2;
    for (i = 0; i < len / 512 && n_sectors < 400; i++)
        if (memcmp(bytes + i * 512, zero, 512) != 0)
            sectors[n_sectors++] = i;
    for (i = 0; i < n; i++) {
        struct vd_err err = VD_ERR_INIT;
        uint64_t start = now_ms();
        struct blkdev *vol = NULL;
        struct fs *fs = NULL;

        state = UINT64_C(0x9e3779b97f4a7c15) * (i + 1);
        memcpy(work, bytes, len);
        mutate(work, sectors, n_sectors);
        if (blk_mem_new(work, len, "", &vol, &err))
            return 2;
        if (!fs_open(vol, "", &fs, &err)) {
            opened++;
            (void)fs_walk(fs, &limits, count, &objects);
        }
        fs_free(fs);
        blk_unref(vol);
        if (now_ms() - start > SLOW_MS) {
            printf("%s: mutation %zu takes %llu ms\n", argv[1], i,
                   (unsigned long long)(now_ms() - start));
            slow++;
        }
    }
    printf("%s: %zu mutations, %zu opened, %zu objects, %u slow\n", argv[1], n, opened, objects,
           slow);
    free(bytes);
    free(work);
    free(sectors);
    return slow ? 1 : 0;
}
