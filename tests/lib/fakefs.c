/* SPDX-License-Identifier: Apache-2.0 */
#include "fakefs.h"

#include "testlib.h"

#include "blk/layers.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct entry {
    uint64_t dir, addr;
    char *name;
    size_t len;
    enum fs_kind kind;
    size_t next_in_dir; /* index + 1 */
    size_t next_hash;   /* index + 1 */
};

struct dir {
    uint64_t addr;
    size_t first, last; /* index + 1 of entries */
};

#define N_HASH 65536u

struct fakefs {
    struct fs *fs;
    struct fakefs_control control;
    struct fakefs_object *object;
    size_t n_objects, cap_objects;
    size_t object_hash[N_HASH]; /* index + 1, open addressing: tests stay below N_HASH dirs … */
    size_t *object_next;        /* … and chain objects here, index + 1 */
    struct entry *entry;
    size_t n_entries, cap_entries;
    size_t entry_hash[N_HASH], entry_last[N_HASH];
    struct dir *dir;
    size_t n_dirs;
};

static void *grow(void *p, size_t *cap, size_t n, size_t size)
{
    if (n < *cap)
        return p;
    *cap = *cap ? 2 * *cap : 16;
    p = realloc(p, *cap * size);
    if (!p)
        abort();
    return p;
}

static size_t name_hash(uint64_t dir, const char *name, size_t len)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325) ^ dir;

    while (len--)
        h = (h ^ (uint8_t)*name++) * UINT64_C(0x100000001b3);
    return (size_t)(h >> 32) % N_HASH;
}

static struct fakefs_object *find_object(const struct fakefs *f, uint64_t addr)
{
    size_t i;

    for (i = f->object_hash[addr % N_HASH]; i; i = f->object_next[i - 1])
        if (f->object[i - 1].addr == addr)
            return &f->object[i - 1];
    return NULL;
}

static struct fakefs *of(struct fs *fs)
{
    return fs->priv;
}

static int get_object(struct fs *fs, uint64_t addr, struct fakefs_object **out, struct vd_err *err)
{
    *out = find_object(of(fs), addr);
    return *out ? 0 : vd_fail(err, VD_ENOENT, "no object %" PRIu64, addr);
}

static const struct dir *find_dir(const struct fakefs *f, uint64_t addr)
{
    size_t i;

    for (i = 0; i < f->n_dirs; i++)
        if (f->dir[i].addr == addr)
            return &f->dir[i];
    return NULL;
}

static int fake_lookup(struct fs *fs, uint64_t dir, const char *name, size_t len,
                       struct fs_entry *out, struct vd_err *err)
{
    struct fakefs *f = of(fs);
    size_t i;

    (void)atomic_fetch_add(&f->control.n_lookup, 1);
    for (i = f->entry_hash[name_hash(dir, name, len)]; i; i = f->entry[i - 1].next_hash) {
        const struct entry *e = &f->entry[i - 1];

        if (e->dir == dir && e->len == len && memcmp(e->name, name, len) == 0) {
            *out = (struct fs_entry){.addr = e->addr, .kind = e->kind};
            return 0;
        }
    }
    return vd_fail(err, VD_ENOENT, "no such name");
}

static int fake_readdir(struct fs *fs, uint64_t dir, uint64_t cookie, fs_entry_fn *fn, void *ctx,
                        struct vd_err *err)
{
    struct fakefs *f = of(fs);
    const struct dir *d = find_dir(f, dir);
    uint64_t n = 0;
    size_t i, fail_after = atomic_load(&f->control.fail_after);

    (void)atomic_fetch_add(&f->control.n_readdir, 1);
    (void)usleep(atomic_load(&f->control.delay_us));
    for (i = d ? d->first : 0; i; i = f->entry[i - 1].next_in_dir) {
        const struct entry *e = &f->entry[i - 1];
        const struct fs_entry entry = {e->name, e->len, e->addr, 0, e->kind};

        if (n++ < cookie)
            continue;
        if (n > fail_after)
            return vd_fail(err, VD_EIO, "bad sector in the directory");
        if (fn(ctx, &entry, n))
            return 0;
    }
    return n + 1 > fail_after ? vd_fail(err, VD_EIO, "bad sector in the directory") : 0;
}

static const struct fakefs_stream *find_stream(const struct fakefs_object *o, uint16_t id)
{
    size_t i;

    for (i = 0; i < o->n_streams; i++)
        if (o->stream[i].id == id)
            return &o->stream[i];
    return NULL;
}

static int fake_getattr(struct fs *fs, uint64_t addr, uint16_t stream, struct fs_attr *out,
                        struct vd_err *err)
{
    const struct fakefs_stream *s;
    struct fakefs_object *o;
    int rc = get_object(fs, addr, &o, err);

    if (rc)
        return rc;
    *out = o->attr;
    if (stream) {
        s = find_stream(o, stream);
        if (!s)
            return vd_fail(err, VD_ENOENT, "no stream %u", stream);
        out->size = s->size;
        out->allocated = 0;
    }
    return 0;
}

static int fake_read(struct fs *fs, uint64_t addr, uint16_t stream, uint64_t off, void *buf,
                     size_t len, size_t *out_len, struct vd_err *err)
{
    const struct fakefs_stream *s;
    struct fakefs_object *o;
    size_t size;
    int rc = get_object(fs, addr, &o, err);

    if (rc)
        return rc;
    s = stream ? find_stream(o, stream) : NULL;
    if (stream && !s)
        return vd_fail(err, VD_ENOENT, "no stream %u", stream);
    size = s ? s->size : o->content_len;
    *out_len = off >= size ? 0 : len < size - off ? len : size - off;
    if (*out_len && s)
        memset(buf, (uint8_t)s->id, *out_len);
    else if (*out_len)
        memcpy(buf, o->content + off, *out_len);
    return 0;
}

static int fake_readlink(struct fs *fs, uint64_t addr, char **out, size_t *out_len,
                         struct vd_err *err)
{
    struct fakefs_object *o;
    int rc = get_object(fs, addr, &o, err);

    if (rc)
        return rc;
    if (!o->link)
        return vd_fail(err, VD_EUSAGE, "not a symbolic link");
    *out = calloc(1, o->link_len + 1);
    if (!*out)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    memcpy(*out, o->link, o->link_len);
    *out_len = o->link_len;
    return 0;
}

static int fake_streams(struct fs *fs, uint64_t addr, fs_stream_fn *fn, void *ctx,
                        struct vd_err *err)
{
    struct fakefs_object *o;
    size_t i;
    int rc = get_object(fs, addr, &o, err);

    for (i = 0; !rc && i < o->n_streams; i++) {
        const struct fs_stream s = {o->stream[i].name, o->stream[i].id, o->stream[i].size};

        if (fn(ctx, &s))
            break;
    }
    return rc;
}

static const struct fs_type fake_type = {
    .name = "fake",
    .lookup = fake_lookup,
    .readdir = fake_readdir,
    .getattr = fake_getattr,
    .read = fake_read,
    .readlink = fake_readlink,
    .streams = fake_streams,
};

static struct dir *make_dir(struct fakefs *f, uint64_t addr)
{
    struct dir *d = (struct dir *)(uintptr_t)find_dir(f, addr);

    if (d)
        return d;
    f->dir = realloc(f->dir, (f->n_dirs + 1) * sizeof(*f->dir));
    if (!f->dir)
        abort();
    f->dir[f->n_dirs] = (struct dir){.addr = addr};
    return &f->dir[f->n_dirs++];
}

static struct fakefs_object *make_object(struct fakefs *f, uint64_t addr, enum fs_kind kind)
{
    struct fakefs_object *o = find_object(f, addr);
    size_t cap = f->cap_objects;

    if (o)
        return o;
    f->object = grow(f->object, &f->cap_objects, f->n_objects, sizeof(*f->object));
    if (cap != f->cap_objects) {
        f->object_next = realloc(f->object_next, f->cap_objects * sizeof(*f->object_next));
        if (!f->object_next)
            abort();
    }
    o = &f->object[f->n_objects];
    *o = (struct fakefs_object){.addr = addr, .attr = {.kind = kind, .nlink = 1}};
    f->object_next[f->n_objects] = f->object_hash[addr % N_HASH];
    f->object_hash[addr % N_HASH] = ++f->n_objects;
    return o;
}

struct fakefs *fakefs_new(const char *type)
{
    struct fakefs *f = calloc(1, sizeof(*f));
    struct vd_err err = VD_ERR_INIT;
    struct blkdev *dev;

    if (!f)
        abort();
    assert_ok(blk_mem_new("", 0, "fake", &dev, &err));
    assert_ok(fs_new(&fake_type, dev, "", f, &f->fs, &err));
    blk_unref(dev);
    (void)snprintf(f->fs->info.type, sizeof(f->fs->info.type), "%s", type);
    f->fs->info.root_addr = FAKEFS_ROOT;
    f->fs->info.last_addr = FS_ADDR_MAX;
    f->fs->info.block_size = 4096;
    atomic_store(&f->control.fail_after, SIZE_MAX);
    (void)make_object(f, FAKEFS_ROOT, FS_DIR);
    return f;
}

struct fs *fakefs_fs(struct fakefs *fake)
{
    return fake->fs;
}

struct fakefs_control *fakefs_control(struct fakefs *fake)
{
    return &fake->control;
}

struct fakefs_object *fakefs_object(struct fakefs *fake, uint64_t addr)
{
    struct fakefs_object *o = find_object(fake, addr);

    if (!o)
        fail_msg("no object %" PRIu64, addr);
    return o;
}

struct fakefs_object *fakefs_add(struct fakefs *f, uint64_t dir, const char *name, size_t len,
                                 uint64_t addr, enum fs_kind kind)
{
    size_t h = name_hash(dir, name, len), i;
    struct dir *d = make_dir(f, dir);
    struct entry *e;

    f->entry = grow(f->entry, &f->cap_entries, f->n_entries, sizeof(*f->entry));
    e = &f->entry[f->n_entries];
    *e = (struct entry){.dir = dir, .addr = addr, .len = len, .kind = kind};
    e->name = calloc(1, len + 1);
    if (!e->name)
        abort();
    memcpy(e->name, name, len);
    i = ++f->n_entries;
    *(d->last ? &f->entry[d->last - 1].next_in_dir : &d->first) = i;
    d->last = i;
    *(f->entry_last[h] ? &f->entry[f->entry_last[h] - 1].next_hash : &f->entry_hash[h]) = i;
    f->entry_last[h] = i;
    return make_object(f, addr, kind);
}

void fakefs_set_content(struct fakefs *fake, uint64_t addr, const void *bytes, size_t len)
{
    struct fakefs_object *o = fakefs_object(fake, addr);

    free(o->content);
    o->content = malloc(len + 1);
    if (!o->content)
        abort();
    memcpy(o->content, bytes, len);
    o->content_len = len;
    o->attr.size = len;
}

void fakefs_set_link(struct fakefs *fake, uint64_t addr, const char *target, size_t len)
{
    struct fakefs_object *o = fakefs_object(fake, addr);

    free(o->link);
    o->link = calloc(1, len + 1);
    if (!o->link)
        abort();
    memcpy(o->link, target, len);
    o->link_len = len;
    o->attr.size = len;
}

void fakefs_add_stream(struct fakefs *fake, uint64_t addr, const char *name, uint16_t id,
                       size_t size)
{
    struct fakefs_object *o = fakefs_object(fake, addr);

    if (o->n_streams == sizeof(o->stream) / sizeof(o->stream[0]))
        fail_msg("too many streams");
    o->stream[o->n_streams++] = (struct fakefs_stream){strdup(name), id, size};
}

void fakefs_free(struct fakefs *f)
{
    size_t i, k;

    if (!f)
        return;
    for (i = 0; i < f->n_objects; i++) {
        free(f->object[i].content);
        free(f->object[i].link);
        for (k = 0; k < f->object[i].n_streams; k++)
            free(f->object[i].stream[k].name);
    }
    for (i = 0; i < f->n_entries; i++)
        free(f->entry[i].name);
    free(f->object);
    free(f->object_next);
    free(f->entry);
    free(f->dir);
    fs_free(f->fs);
    free(f);
}
