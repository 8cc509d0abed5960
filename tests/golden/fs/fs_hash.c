/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists every object of a file system with its size and the SHA-256 of its content, one line each:
 *
 *     kind \t size \t sha256 \t path          (link: "-> target" in place of the hash)
 *
 *     fs_hash [-m] IMAGE[,IMAGE…] [OFFSET [SIZE]]
 *
 * Several images are joined one after the other.  -m adds metadata: mode, owner, links, times and
 * allocated bytes.  Bytes of names that are not printable ASCII or UTF-8 are written \xHH.  kinds:
 * f d l o, ads for streams, m for file-system metadata files, e for what failed (the message in
 * place of the hash).  Exit: 0 listed (with or without e lines), 2 not opened.
 */
#include "base/range.h"
#include "base/sha256.h"
#include "base/text.h"
#include "blk/evidence.h"
#include "blk/layers.h"
#include "fs/fs.h"

#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_DEPTH 64

struct walk {
    struct fs *fs;
    bool metadata;
    uint64_t stack[MAX_DEPTH];
    unsigned depth;
    struct vd_str path;
    struct vd_sha256 *sha;
    uint8_t *buf;
};

#define BUF (1u << 20)

static void print_line(struct walk *w, const char *kind, uint64_t size, const char *hash,
                       const char *path)
{
    char shown[16384];

    (void)w;
    (void)vd_text_printable(path, strlen(path), shown, sizeof(shown));
    printf("%s\t%" PRIu64 "\t%s\t%s\n", kind, size, hash, shown);
}

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

static int hash_content(struct walk *w, uint64_t addr, uint16_t stream, uint64_t size,
                        char out[2 * VD_SHA256_SIZE + 1], struct vd_err *err)
{
    uint8_t digest[VD_SHA256_SIZE];
    uint64_t off = 0;

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
                        uint64_t size)
{
    char hex[2 * VD_SHA256_SIZE + 1];
    struct vd_err err = VD_ERR_INIT;

    if (hash_content(w, addr, stream, size, hex, &err))
        print_line(w, "e", size, err.msg, w->path.p);
    else
        print_line(w, kind, size, hex, w->path.p);
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

struct stream_walk {
    struct walk *w;
    uint64_t addr;
    const char *kind;
};

static int one_stream(void *ctx, const struct fs_stream *s)
{
    struct stream_walk *sw = ctx;
    size_t keep;

    add_stream_part(sw->w, s->name, &keep);
    one_content(sw->w, sw->kind, sw->addr, s->stream, s->size);
    cut_path(sw->w, keep);
    return 0;
}

static int one_entry(void *ctx, const struct fs_entry *entry, uint64_t next);

static void one_dir(struct walk *w, uint64_t addr)
{
    struct vd_err err = VD_ERR_INIT;
    unsigned i;

    for (i = 0; i < w->depth; i++)
        if (w->stack[i] == addr) {
            print_line(w, "e", 0, "directory loop", w->path.p ? w->path.p : "");
            return;
        }
    if (w->depth == MAX_DEPTH) {
        print_line(w, "e", 0, "too deep", w->path.p);
        return;
    }
    w->stack[w->depth++] = addr;
    if (fs_readdir(w->fs, addr, 0, one_entry, w, &err))
        print_line(w, "e", 0, err.msg, w->path.p ? w->path.p : "");
    w->depth--;
}

static void one_link(struct walk *w, uint64_t addr)
{
    struct vd_err err = VD_ERR_INIT;
    char *target = NULL;
    char line[8192], shown[8000];
    size_t len = 0;

    if (fs_readlink(w->fs, addr, &target, &len, &err)) {
        print_line(w, "e", 0, err.msg, w->path.p);
        return;
    }
    (void)vd_text_printable(target, len, shown, sizeof(shown));
    (void)snprintf(line, sizeof(line), "-> %s", shown);
    print_line(w, "l", len, line, w->path.p);
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
    vd_str_add_bytes(&w->path, entry->name, entry->name_len);
    rc = fs_getattr(w->fs, entry->addr, 0, &a, &err);
    if (rc) {
        print_line(w, "e", 0, err.msg, w->path.p);
        goto done;
    }
    if (w->metadata)
        print_attr(&a);
    if (a.flags & FS_ATTR_META)
        sw.kind = "m";
    switch (a.kind) {
    case FS_FILE:
        one_content(w, a.flags & FS_ATTR_META ? "m" : "f", entry->addr, 0, a.size);
        break;
    case FS_DIR:
        print_line(w, a.flags & FS_ATTR_META ? "m" : "d", 0, "-", w->path.p);
        one_dir(w, entry->addr);
        break;
    case FS_SYMLINK:
        one_link(w, entry->addr);
        break;
    case FS_CHARDEV:
    case FS_BLOCKDEV:
    case FS_FIFO:
    case FS_SOCKET:
        print_line(w, "o", 0, "-", w->path.p);
        break;
    }
    if (fs_streams(w->fs, entry->addr, one_stream, &sw, &err))
        print_line(w, "e", 0, err.msg, w->path.p);
done:
    cut_path(w, keep);
    return 0;
}

static int open_volume(char *names, uint64_t off, uint64_t size, struct blkdev **out,
                       struct vd_err *err)
{
    struct blk_part parts[64] = {0};
    struct blkdev *disk;
    size_t n = 0;
    char *name, *save = NULL;
    int rc = 0;

    for (name = strtok_r(names, ",", &save); name && n < 64; name = strtok_r(NULL, ",", &save)) {
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
            return rc;
        parts[n].size = parts[n].dev->size;
        n++;
    }
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

static void fact(void *ctx, const char *layer, enum vd_fact_kind kind, const char *key,
                 const char *value)
{
    (void)ctx;
    (void)layer;
    fprintf(stderr, "%s %s: %s\n", kind == VD_FACT_WARNING ? "warning" : "fact", key, value);
}

int main(int argc, char **argv)
{
    struct walk w = {.path = VD_STR_INIT};
    struct vd_err err = VD_ERR_INIT;
    struct blkdev *vol = NULL;
    int at = 1, rc;

    if (argc > 1 && strcmp(argv[1], "-m") == 0) {
        w.metadata = true;
        at++;
    }
    if (at >= argc)
        return 1;
    fs_init();
    w.sha = vd_sha256_new();
    w.buf = malloc(BUF);
    rc = open_volume(argv[at], argc > at + 1 ? strtoull(argv[at + 1], NULL, 0) : 0,
                     argc > at + 2 ? strtoull(argv[at + 2], NULL, 0) : 0, &vol, &err);
    if (!rc)
        rc = fs_open(vol, "", &w.fs, &err);
    if (rc) {
        fprintf(stderr, "%s: %s\n", vd_class_name(rc), err.msg);
    } else {
        fs_describe(w.fs, fact, NULL);
        vd_str_add(&w.path, "");
        one_dir(&w, fs_get_info(w.fs)->root_addr);
    }
    fs_free(w.fs);
    blk_unref(vol);
    vd_str_clear(&w.path);
    free(w.buf);
    vd_sha256_free(w.sha);
    return rc ? 2 : 0;
}
