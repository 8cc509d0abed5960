/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include "blk/layers.h"
#include "tree/node.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct blkdev *make_disk(void)
{
    static uint8_t bytes[FIXTURE_DISK_SIZE / 2];
    struct vd_err err = VD_ERR_INIT;
    struct blkdev *data, *disk;
    struct blk_part parts[2] = {{.size = sizeof(bytes)},
                                {.size = sizeof(bytes), .hole = BLK_ZEROS}};

    test_fill(bytes, sizeof(bytes), 7);
    assert_ok(blk_mem_new(bytes, sizeof(bytes), "", &data, &err));
    parts[0].dev = data;
    assert_ok(blk_concat_new(parts, 2, "disk", &disk, &err));
    return disk;
}

void fixture_start(struct fixture *f)
{
    static const uint64_t start[2] = {64 << 10, 512 << 10}, size[2] = {256 << 10, 128 << 10};
    static char name[] = "disk.vmdk";
    struct vd_err err = VD_ERR_INIT;
    size_t i;

    memset(f, 0, sizeof(*f));
    f->format.name = "vmdk";
    f->image = (struct image){.format = &f->format,
                              .kind = "monolithicSparse",
                              .name = name,
                              .file = {.size = 4711, .mtime_sec = 1600000000, .mtime_nsec = 5},
                              .identity = "cid:12345678"};
    f->images[0] = &f->image;
    f->chain = (struct chain){.v = f->images, .n = 1};
    f->whole = (struct vd_case){.chain = &f->chain, .point = &f->c};
    f->c.chain = &f->chain;
    f->c.disk = make_disk();
    f->image.dev = f->c.disk;
    for (i = 0; i < 2; i++) {
        f->fake[i] = fakefs_new(i ? "ntfs" : "ext4");
        f->volume[i] = (struct volume){.number = i ? 3 : 1, .start = start[i], .size = size[i]};
        f->v[i] = (struct case_volume){.part = f->volume[i], .fs = fakefs_fs(f->fake[i])};
        assert_ok(blk_slice_new(blk_ref(f->c.disk), start[i], size[i], "", &f->v[i].dev, &err));
        f->fs[i] = node_object((unsigned)i + 1, FAKEFS_ROOT, 0);
    }
    f->gap[0] = (struct volume_gap){0, 64 << 10};
    f->gap[1] = (struct volume_gap){640 << 10, 384 << 10};
    f->c.table = (struct volume_table){.scheme = VOLUME_GPT,
                                       .sector_size = 512,
                                       .v = f->volume,
                                       .n = 2,
                                       .gap = f->gap,
                                       .n_gaps = 2};
    f->c.v = f->v;
    f->c.n = 2;
    f->options = (struct tree_options){
        .uid = 1234, .gid = 1235, .mount_time = 1700000000, .evidence_permissions = true};
}

void fixture_tree(struct fixture *f)
{
    struct vd_err err = VD_ERR_INIT;

    assert_ok(tree_new(&f->whole, &f->options, "text\n", "{}\n", &f->tree, &err));
}

void fixture_stop(struct fixture *f)
{
    size_t i;

    tree_free(f->tree);
    for (i = 0; i < 2; i++) {
        fakefs_free(f->fake[i]);
        blk_unref(f->v[i].dev);
    }
    blk_unref(f->c.disk);
}

struct walk {
    struct names *names;
    uint64_t cookie;
    size_t piece; /* entries per call */
};

static int collect(void *ctx, const char *name, uint64_t node, mode_t type, uint64_t next_cookie)
{
    struct walk *w = ctx;
    struct names *n = w->names;

    if (n->n == n->cap) {
        n->cap = n->cap ? 2 * n->cap : 64;
        n->v = realloc(n->v, n->cap * sizeof(*n->v));
        if (!n->v)
            abort();
    }
    n->v[n->n++] = (struct name){strdup(name), node, type};
    w->cookie = next_cookie;
    return --w->piece == 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct name *)a)->name, ((const struct name *)b)->name);
}

static void check_unique(const struct names *names)
{
    struct name *sorted = calloc(names->n + 1, sizeof(*sorted));
    size_t i;

    if (!sorted)
        abort();
    if (names->n)
        memcpy(sorted, names->v, names->n * sizeof(*sorted));
    qsort(sorted, names->n, sizeof(*sorted), by_name);
    for (i = 0; i + 1 < names->n; i++)
        if (strcmp(sorted[i].name, sorted[i + 1].name) == 0)
            fail_msg("two entries are called \"%s\"", sorted[i].name);
    free(sorted);
}

void fixture_list(struct fixture *f, uint64_t dir, struct names *out)
{
    struct walk w = {.names = out};
    size_t before, i;

    *out = (struct names){0};
    do {
        struct vd_err err = VD_ERR_INIT;

        before = out->n;
        w.piece = 1 + out->n % 97;
        assert_ok(tree_readdir(f->tree, dir, w.cookie, collect, &w, &err));
    } while (out->n > before);
    for (i = 0; i < out->n; i++) {
        const char *name = out->v[i].name;

        if (!*name || strlen(name) > 1024 || strchr(name, '/') || strcmp(name, ".") == 0 ||
            strcmp(name, "..") == 0)
            fail_msg("\"%s\" is no valid file name", name);
        if (fixture_find(f, dir, name) != out->v[i].node)
            fail_msg("lookup of \"%s\" gives another node than readdir", name);
    }
    check_unique(out);
}

void names_free(struct names *names)
{
    size_t i;

    for (i = 0; i < names->n; i++)
        free(names->v[i].name);
    free(names->v);
}

uint64_t fixture_find(struct fixture *f, uint64_t dir, const char *name)
{
    struct vd_err err = VD_ERR_INIT;
    uint64_t node = 0;
    int rc = tree_lookup(f->tree, dir, name, &node, &err);

    if (rc)
        fail_msg("\"%s\": %s", name, err.msg);
    return node;
}

void fixture_absent(struct fixture *f, uint64_t dir, const char *name)
{
    struct vd_err err = VD_ERR_INIT;
    uint64_t node = 0;
    int rc = tree_lookup(f->tree, dir, name, &node, &err);

    if (rc != -VD_ENOENT)
        fail_msg("\"%s\" should not be there: %d, node 0x%llx", name, rc, (unsigned long long)node);
}
