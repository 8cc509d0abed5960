/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists every object of a file system with its size and the SHA-256 of its content, one line each:
 *
 *     kind \t size \t sha256 \t path          (link: "-> target" in place of the hash)
 *
 *     fs_hash [-m] IMAGE[,IMAGE…] [OFFSET [SIZE]]
 *
 * -m adds a line of metadata after each.  Bytes of names that cannot be printed are written \xHH.
 * Exit: 0 listed (objects that failed have kind e), 1 usage, 2 not opened.
 */
#include "fs_walk.h"

#include "base/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_time(const char *name, const struct fs_time *t)
{
    if (t->known)
        printf(" %s=%" PRId64 ".%09u", name, t->sec, t->nsec);
}

static void print_attr(const struct fs_attr *a)
{
    printf("#");
    if (a->has_owner)
        printf(" mode=%o uid=%u gid=%u", a->mode, a->uid, a->gid);
    printf(" nlink=%u flags=%x alloc=%" PRIu64, a->nlink, a->flags, a->allocated);
    print_time("m", &a->mtime);
    print_time("a", &a->atime);
    print_time("c", &a->ctime);
    print_time("b", &a->btime);
    printf("\n");
}

static void print_line(void *ctx, const struct fs_walk_line *line)
{
    const bool *metadata = ctx;
    char shown[16384];

    (void)vd_text_printable(line->path, strlen(line->path), shown, sizeof(shown));
    printf("%s\t%" PRIu64 "\t%s\t%s\n", line->kind, line->size, line->hash, shown);
    if (*metadata && line->attr)
        print_attr(line->attr);
}

static void print_fact(void *ctx, const char *layer, enum vd_fact_kind kind, const char *key,
                       const char *value)
{
    (void)ctx;
    (void)layer;
    fprintf(stderr, "%s %s: %s\n", kind == VD_FACT_WARNING ? "warning" : "fact", key, value);
}

int main(int argc, char **argv)
{
    bool metadata = argc > 1 && strcmp(argv[1], "-m") == 0;
    int at = metadata ? 2 : 1, rc;
    struct vd_err err = VD_ERR_INIT;
    struct blkdev *vol = NULL;
    struct fs *fs = NULL;

    if (at >= argc)
        return 1;
    fs_init();
    rc = fs_walk_open(argv[at], argc > at + 1 ? strtoull(argv[at + 1], NULL, 0) : 0,
                      argc > at + 2 ? strtoull(argv[at + 2], NULL, 0) : 0, &vol, &err);
    if (!rc)
        rc = fs_open(vol, "", &fs, &err);
    if (rc) {
        fprintf(stderr, "%s: %s\n", vd_class_name(rc), err.msg);
    } else {
        fs_describe(fs, print_fact, NULL);
        (void)fs_walk(fs, NULL, print_line, &metadata);
    }
    fs_free(fs);
    blk_unref(vol);
    return rc ? 2 : 0;
}
