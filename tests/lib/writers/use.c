/* SPDX-License-Identifier: Apache-2.0 */
/* Built files on disk, and as a source straight from memory. */
#include "priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define PIECE 65536u

/* Was any page of the piece ever touched? */
static bool resident(const struct wr_file *f, uint64_t off, uint64_t len)
{
    unsigned char pages[PIECE / 4096];
    uint64_t i;

    if (mincore(f->bytes + off, len, pages) != 0)
        return true;
    for (i = 0; i < (len + 4095) / 4096; i++)
        if (pages[i] & 1)
            return true;
    return false;
}

static bool all_zero(const uint8_t *p, uint64_t len)
{
    return len == 0 || (p[0] == 0 && memcmp(p, p + 1, len - 1) == 0);
}

static void save(const struct wr_file *f, const char *path)
{
    char name[4096 + WR_NAME_MAX];
    uint64_t off;
    int fd;

    (void)snprintf(name, sizeof(name), "%s/%s", path, f->name);
    fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || ftruncate(fd, (off_t)f->len) != 0)
        wr_die("%s: %d", name, errno);
    for (off = 0; off < f->len; off += PIECE) {
        uint64_t n = f->len - off < PIECE ? f->len - off : PIECE;

        if (!resident(f, off, n) || all_zero(f->bytes + off, n))
            continue;
        if (pwrite(fd, f->bytes + off, n, (off_t)off) != (ssize_t)n)
            wr_die("%s: cannot write, %d", name, errno);
    }
    if (close(fd) != 0)
        wr_die("%s: %d", name, errno);
}

void wr_save(const struct wr_dir *dir, const char *path)
{
    size_t i;

    for (i = 0; i < dir->n; i++)
        save(dir->files[i], path);
}

/* ---- a source ---- */

static int read_file(struct blkdev *dev, uint64_t off, void *buf, size_t len, struct vd_err *err)
{
    const struct wr_file *f = dev->priv;

    if (off > f->len || len > f->len - off)
        return vd_fail(err, VD_EIO, "the file was cut after it was opened");
    memcpy(buf, f->bytes + off, len);
    return 0;
}

static const struct blk_type memory_type = {.name = "mem", .read_at = read_file};

static int source_open(void *ctx, unsigned dir, const char *name, struct blkdev **out,
                       struct vd_err *err)
{
    struct wr_file *f = wr_file_named(ctx, name);

    if (dir != 0 || !f)
        return vd_fail(err, VD_ENOENT, "%s: no such file", name);
    if (!f->dev || f->dev_len != f->len) {
        struct blkdev *dev;
        int rc = blk_new(&memory_type, f->len, f->name, f, &dev, err);

        if (rc)
            return rc;
        blk_unref(f->dev);
        f->dev = dev;
        f->dev_len = f->len;
    }
    *out = blk_ref(f->dev);
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(struct wr_file *const *)a)->name, (*(struct wr_file *const *)b)->name);
}

static int source_list(void *ctx, unsigned dir, int (*fn)(void *fn_ctx, const char *name),
                       void *fn_ctx, struct vd_err *err)
{
    const struct wr_dir *files = ctx;
    struct wr_file **v = wr_alloc(files->n, sizeof(*v));
    size_t i;

    (void)err;
    if (files->n)
        memcpy(v, files->files, files->n * sizeof(*v));
    qsort(v, files->n, sizeof(*v), by_name);
    for (i = 0; dir == 0 && i < files->n; i++)
        if (fn(fn_ctx, v[i]->name))
            break;
    free(v);
    return 0;
}

void wr_source(struct wr_dir *dir, struct blk_source *out)
{
    *out = (struct blk_source){.open = source_open, .list = source_list, .n_dirs = 1, .ctx = dir};
}
