/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fault sweep: opens and walks a file system again and again, the n-th read below failing, n = 1, 2
 * … until a whole walk does without the n-th.  Whatever is given then must be what the first walk,
 * without faults, gave; the rest must be an error.  Never other bytes, other names, or silence
 * about missing ones.
 *
 *     sweep IMAGE [STEP]      STEP: only every STEP-th n, for big images
 *
 * Exit: 0 all well, 1 something wrong, 2 cannot work.
 */
#include "fs_walk.h"

#include "base/text.h"
#include "blk/layers.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct line {
    char *text; /* kind, size, hash, path */
    char *path;
    bool failed, is_dir, seen;
};

struct lines {
    struct line *v;
    size_t n, cap;
};

static void add_line(void *ctx, const struct fs_walk_line *l)
{
    struct lines *lines = ctx;
    struct vd_str s = VD_STR_INIT;
    struct line *line;

    if (lines->n == lines->cap) {
        lines->cap = lines->cap ? lines->cap * 2 : 64;
        lines->v = realloc(lines->v, lines->cap * sizeof(*lines->v));
        if (!lines->v)
            abort();
    }
    line = &lines->v[lines->n++];
    *line = (struct line){.failed = l->kind[0] == 'e', .is_dir = l->kind[0] == 'd'};
    vd_str_addf(&s, "%s %" PRIu64 " %s ", l->kind, l->size, l->hash);
    vd_str_add(&s, l->path);
    line->text = vd_str_take(&s);
    line->path = strdup(l->path);
    if (!line->text || !line->path)
        abort();
}

static void clear_lines(struct lines *lines)
{
    size_t i;

    for (i = 0; i < lines->n; i++) {
        free(lines->v[i].text);
        free(lines->v[i].path);
    }
    free(lines->v);
    *lines = (struct lines){0};
}

/* Is there an error for the path itself or for a directory above it? */
static bool excused(const struct lines *got, const char *path)
{
    size_t i;

    for (i = 0; i < got->n; i++) {
        size_t len = strlen(got->v[i].path);

        if (got->v[i].failed && strncmp(path, got->v[i].path, len) == 0 &&
            (!len || path[len] == 0 || path[len] == '/' || path[len] == ':'))
            return true;
    }
    return false;
}

static unsigned compare(struct lines *want, struct lines *got, uint64_t nth)
{
    unsigned bad = 0;
    size_t i, k = 0;

    for (i = 0; i < want->n; i++)
        want->v[i].seen = false;
    for (i = 0; i < got->n; i++) {
        size_t tries;

        if (got->v[i].failed)
            continue;
        /* the walk has an order: the next expected line is nearly always the one */
        for (tries = 0; tries < want->n; tries++, k = (k + 1) % want->n)
            if (!want->v[k].seen && strcmp(want->v[k].text, got->v[i].text) == 0)
                break;
        if (tries == want->n) {
            printf("read %" PRIu64 " fails: WRONG: %s\n", nth, got->v[i].text);
            bad++;
        } else {
            want->v[k].seen = true;
        }
    }
    for (i = 0; i < want->n; i++)
        if (!want->v[i].seen && !want->v[i].failed && !excused(got, want->v[i].path)) {
            printf("read %" PRIu64 " fails: SILENTLY MISSING: %s\n", nth, want->v[i].text);
            bad++;
        }
    return bad;
}

/* One walk; *out_opened tells whether there was a file system to walk. */
static int walk(struct blkdev *vol, struct lines *out, bool *out_opened)
{
    struct vd_err err = VD_ERR_INIT;
    struct fs *fs;
    int rc = fs_open(vol, "", &fs, &err);

    *out_opened = rc == 0;
    if (rc)
        return rc == -VD_ENOTFORMAT ? rc : 0; /* an I/O error must not pass for "no file system" */
    rc = fs_walk(fs, NULL, add_line, out);
    fs_free(fs);
    return rc;
}

int main(int argc, char **argv)
{
    struct lines want = {0};
    struct vd_err err = VD_ERR_INIT;
    struct blkdev *vol, *fault;
    uint64_t nth, step = argc > 2 ? strtoull(argv[2], NULL, 0) : 1, walks = 0, total;
    unsigned bad = 0;
    bool opened;

    if (argc < 2 || fs_walk_open(argv[1], 0, 0, &vol, &err) || blk_fault_new(vol, &fault, &err)) {
        printf("cannot work: %s\n", err.msg);
        return 2;
    }
    fs_init();
    if (walk(fault, &want, &opened) || !opened) {
        printf("cannot open the image\n");
        return 2;
    }
    total = blk_fault_count(fault);
    for (nth = 1; nth <= total && bad < 20; nth += step, walks++) {
        struct blk_fault_rule rule = {.kind = BLK_FAULT_ERROR, .nth = nth, .persistent = walks % 2};
        struct lines got = {0};

        blk_fault_set(fault, &rule);
        if (walk(fault, &got, &opened)) {
            printf("read %" PRIu64 " fails: the volume is taken for something else\n", nth);
            bad++;
        } else if (opened) {
            bad += compare(&want, &got, nth);
        }
        clear_lines(&got);
    }
    printf("%s: %zu objects, %" PRIu64 " reads, %" PRIu64 " walks, %u wrong\n", argv[1], want.n,
           total, walks, bad);
    clear_lines(&want);
    blk_unref(fault);
    return bad ? 1 : 0;
}
