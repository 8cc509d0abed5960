/* SPDX-License-Identifier: Apache-2.0 */
/* Walks a whole file system: see fs_walk.h.  One thread per walk. */
#include "fs_walk.h"

#include "base/range.h"
#include "base/sha256.h"
#include "base/text.h"
#include "blk/evidence.h"
#include "blk/layers.h"

#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_DEPTH 64

struct walk {
    struct fs *fs;
    fs_walk_fn *fn;
    void *ctx;
    uint64_t stack[MAX_DEPTH];
    unsigned depth;
    struct vd_str path;
    struct vd_sha256 *sha;
    uint8_t *buf;
    size_t n_other, n;
    struct fs_walk_limits limits;
};

#define BUF (1u << 20)

static void give(struct walk *w, const char *kind, uint64_t size, const char *hash,
                 const struct fs_attr *attr)
{
    struct fs_walk_line line = {
        .kind = kind, .size = size, .hash = hash, .path = w->path.p ? w->path.p : "", .attr = attr};

    w->n++;
    w->fn(w->ctx, &line);
}

static bool at_limit(const struct walk *w)
{
    return w->limits.objects && w->n >= w->limits.objects;
}

static int hash_content(struct walk *w, uint64_t addr, uint16_t stream, uint64_t size,
                        char out[2 * VD_SHA256_SIZE + 1], struct vd_err *err)
{
    uint8_t digest[VD_SHA256_SIZE];
    uint64_t off = 0;

    if (w->limits.bytes && size > w->limits.bytes)
        size = w->limits.bytes;
    vd_sha256_reset(w->sha);
    while (off < size) {
        size_t n = 0;
        int rc = fs_read(w->fs, addr, stream, off, w->buf, BUF, &n, err);

        if (rc)
            return rc;
        if (!n)
            return vd_fail(err, VD_EIO, "ends at %" PRIu64 " of %" PRIu64, off, size);
        vd_sha256_add(w->sha, w->buf, n);
        off += n;
    }
    vd_sha256_end(w->sha, digest);
    vd_sha256_hex(digest, out);
    return 0;
}

static void one_content(struct walk *w, const char *kind, uint64_t addr, uint16_t stream,
                        uint64_t size, const struct fs_attr *attr)
{
    char hex[2 * VD_SHA256_SIZE + 1];
    struct vd_err err = VD_ERR_INIT;

    if (hash_content(w, addr, stream, size, hex, &err))
        give(w, "e", size, err.msg, NULL);
    else
        give(w, kind, size, hex, attr);
}

static void add_stream_part(struct walk *w, const char *name, size_t *out_keep)
{
    *out_keep = w->path.len;
    vd_str_addf(&w->path, ":%s", name);
}

static void cut_path(struct walk *w, size_t keep)
{
    w->path.len = keep;
    w->path.p[keep] = 0;
}

/* Looks the name up again: it must lead to the same object (of equal names, to one of them). */
static void check_lookup(struct walk *w, const char *name, size_t len, const struct fs_entry *want)
{
    struct vd_err err = VD_ERR_INIT;
    struct fs_entry got = {0};

    if (fs_lookup(w->fs, w->stack[w->depth - 1], name, len, &got, &err))
        give(w, "e", 0, err.msg, NULL);
    else if (want->stream && got.stream != want->stream && got.stream)
        give(w, "e", 0, "lookup gives another stream", NULL);
    else if (!want->stream && got.addr == want->addr && got.kind != want->kind)
        give(w, "e", 0, "lookup gives another kind", NULL);
    else if (got.addr != want->addr)
        w->n_other++; /* a name that stands twice in the directory */
}

struct stream_walk {
    struct walk *w;
    uint64_t addr;
    size_t name_at; /* where the file's own name begins in the path */
    const char *kind;
};

static int one_stream(void *ctx, const struct fs_stream *s)
{
    struct stream_walk *sw = ctx;
    size_t keep;

    struct fs_entry want = {.addr = sw->addr, .stream = s->stream, .kind = FS_FILE};

    add_stream_part(sw->w, s->name, &keep);
    check_lookup(sw->w, sw->w->path.p + sw->name_at, sw->w->path.len - sw->name_at, &want);
    one_content(sw->w, sw->kind, sw->addr, s->stream, s->size, NULL);
    cut_path(sw->w, keep);
    return at_limit(sw->w);
}

static int one_entry(void *ctx, const struct fs_entry *entry, uint64_t next);

static void one_dir(struct walk *w, uint64_t addr)
{
    struct vd_err err = VD_ERR_INIT;
    unsigned i;

    for (i = 0; i < w->depth; i++)
        if (w->stack[i] == addr) {
            give(w, "e", 0, "directory loop", NULL);
            return;
        }
    if (w->depth == MAX_DEPTH) {
        give(w, "e", 0, "too deep", NULL);
        return;
    }
    w->stack[w->depth++] = addr;
    if (fs_readdir(w->fs, addr, 0, one_entry, w, &err))
        give(w, "e", 0, err.msg, NULL);
    w->depth--;
}

static void one_link(struct walk *w, uint64_t addr, const struct fs_attr *attr)
{
    struct vd_err err = VD_ERR_INIT;
    char *target = NULL;
    char line[8192], shown[8000];
    size_t len = 0;

    if (fs_readlink(w->fs, addr, &target, &len, &err)) {
        give(w, "e", 0, err.msg, NULL);
        return;
    }
    (void)vd_text_printable(target, len, shown, sizeof(shown));
    (void)snprintf(line, sizeof(line), "-> %s", shown);
    give(w, "l", len, line, attr);
    free(target);
}

static int one_entry(void *ctx, const struct fs_entry *entry, uint64_t next)
{
    struct walk *w = ctx;
    struct vd_err err = VD_ERR_INIT;
    struct stream_walk sw = {.w = w, .addr = entry->addr, .kind = "ads"};
    struct fs_attr a = {0};
    size_t keep = w->path.len;
    int rc;

    (void)next;
    if (keep)
        vd_str_add(&w->path, "/");
    sw.name_at = w->path.len;
    vd_str_add_bytes(&w->path, entry->name, entry->name_len);
    check_lookup(w, entry->name, entry->name_len, entry);
    rc = fs_getattr(w->fs, entry->addr, 0, &a, &err);
    if (rc) {
        give(w, "e", 0, err.msg, NULL);
        goto done;
    }
    if (a.flags & FS_ATTR_META)
        sw.kind = "m";
    switch (a.kind) {
    case FS_FILE:
        one_content(w, a.flags & FS_ATTR_META ? "m" : "f", entry->addr, 0, a.size, &a);
        break;
    case FS_DIR:
        give(w, a.flags & FS_ATTR_META ? "m" : "d", 0, "-", &a);
        one_dir(w, entry->addr);
        break;
    case FS_SYMLINK:
        one_link(w, entry->addr, &a);
        break;
    case FS_CHARDEV:
    case FS_BLOCKDEV:
    case FS_FIFO:
    case FS_SOCKET:
        give(w, "o", 0, "-", &a);
        break;
    }
    if (fs_streams(w->fs, entry->addr, one_stream, &sw, &err))
        give(w, "e", 0, err.msg, NULL);
done:
    cut_path(w, keep);
    return at_limit(w);
}

int fs_walk(struct fs *fs, const struct fs_walk_limits *limits, fs_walk_fn *fn, void *ctx)
{
    struct walk w = {.fs = fs, .fn = fn, .ctx = ctx, .path = VD_STR_INIT};
    int ok;

    if (limits)
        w.limits = *limits;
    w.sha = vd_sha256_new();
    w.buf = malloc(BUF);
    ok = w.sha && w.buf;
    vd_str_add(&w.path, "");
    if (ok)
        one_dir(&w, fs_get_info(fs)->root_addr);
    vd_str_clear(&w.path);
    free(w.buf);
    vd_sha256_free(w.sha);
    return ok ? 0 : -1;
}

int fs_walk_open(const char *names, uint64_t off, uint64_t size, struct blkdev **out,
                 struct vd_err *err)
{
    char *list = strdup(names);
    struct blk_part parts[64] = {0};
    struct blkdev *disk;
    size_t n = 0;
    char *name, *save = NULL;
    int rc = 0;

    for (name = strtok_r(list, ",", &save); name && n < 64; name = strtok_r(NULL, ",", &save)) {
        char *dir_copy = strdup(name), *base_copy = strdup(name);
        struct evidence_id id;
        int dirfd = -1, fd = -1;

        rc = evidence_open_dir(dirname(dir_copy), &dirfd, err);
        if (!rc)
            rc = evidence_open_beneath(dirfd, basename(base_copy), false, &fd, &id, err);
        if (!rc)
            rc = evidence_new(fd, &id, basename(base_copy), &parts[n].dev, err);
        if (dirfd >= 0)
            (void)close(dirfd);
        free(dir_copy);
        free(base_copy);
        if (rc)
            break;
        parts[n].size = parts[n].dev->size;
        n++;
    }
    free(list);
    if (!rc)
        rc = blk_concat_new(parts, n, "", &disk, err);
    if (rc)
        return rc;
    off = vd_min(off, disk->size);
    size = size ? vd_min(size, disk->size - off) : disk->size - off; /* partitions may be cut */
    rc = blk_slice_new(disk, off, size, "", out, err);
    if (rc)
        blk_unref(disk);
    return rc;
}
