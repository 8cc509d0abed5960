/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ISO 9660: the implementation of fs/fs.h.  A reader of its own, because libtsk 4.11.1 shows the
 * parts of a multi-extent file as so many files of one name, and Rock Ridge links as empty files.
 *
 * The address of an object is the byte offset of its (first) directory record on the volume; of the
 * root, that of the record in the volume descriptor.  Names: Rock Ridge, else Joliet, else the
 * primary ones without version number.
 *
 * Threads: immutable after open; the caches have locks of their own.
 */
#include "fs/iso/iso_priv.h"

#include "base/bytes.h"
#include "base/limits.h"
#include "base/range.h"
#include "base/text.h"
#include "fs/utf16.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Budgets of the caches, bytes. */
#define DIRS_BUDGET     (16u << 20)
#define CONTENTS_BUDGET (4u << 20)

#define MAX_DESCRIPTORS   64u
#define MAX_CONTINUATIONS 32u    /* CE areas of one record */
#define MAX_EXTENTS       65536u /* records of one file: 256 TiB in extents of 4 GiB */
#define MAX_DIR_BYTES     (1u << 30)

/* ---- records ---- */

/* A record in memory of its own. */
struct loaded {
    uint8_t bytes[ISO_MAX_RECORD];
    struct iso_record rec; /* points into bytes */
};

static int load_record(const struct iso_fs *iso, uint64_t addr, struct loaded *out,
                       struct vd_err *err)
{
    size_t len;
    int rc;

    if (addr >= iso->vol->size)
        return vd_fail(err, VD_ENOENT, "no such object");
    len = (size_t)vd_min(sizeof(out->bytes), iso->vol->size - addr);
    len = (size_t)vd_min(len, ISO_SECTOR - addr % ISO_SECTOR); /* it never crosses a sector */
    rc = vd_prefix(err, blk_read(iso->vol, addr, out->bytes, len, err), "directory record");
    return rc ? rc : iso_record_decode(out->bytes, len, &out->rec, err);
}

/* Reads one continuation area (SUSP 5.1). */
static int load_more(const struct iso_fs *iso, struct iso_rock *rock, struct vd_err *err)
{
    uint64_t at = (uint64_t)rock->more_block * iso->block_size + rock->more_off;
    uint32_t len = rock->more_len;
    uint8_t *area;
    int rc;

    if (len > 64 * 1024 || !vd_range_inside(at, len, iso->vol->size))
        return vd_fail(err, VD_ECORRUPT, "Rock Ridge: impossible continuation area");
    area = malloc(len ? len : 1);
    if (!area)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    rc = vd_prefix(err, blk_read(iso->vol, at, area, len, err), "continuation area");
    if (!rc)
        rc = iso_rock_decode(area, len, rock, err);
    free(area);
    return rc;
}

/* Reads what Rock Ridge says of a record, continuation areas included. */
static int load_rock(const struct iso_fs *iso, const struct iso_record *rec, struct iso_rock *rock,
                     struct vd_err *err)
{
    unsigned i;
    int rc;

    memset(rock, 0, sizeof(*rock));
    if (!iso->rock || rec->system_len < iso->susp_skip)
        return 0;
    rc = iso_rock_decode(rec->system + iso->susp_skip, rec->system_len - (size_t)iso->susp_skip,
                         rock, err);
    for (i = 0; !rc && rock->has_more; i++)
        rc = i < MAX_CONTINUATIONS
                 ? load_more(iso, rock, err)
                 : vd_fail(err, VD_ECORRUPT, "Rock Ridge: endless continuation areas");
    return rc;
}

static enum fs_kind kind_of(const struct iso_record *rec, const struct iso_rock *rock)
{
    if (rec->flags & ISO_FLAG_DIR || rock->has_child)
        return FS_DIR;
    if (rock->has_target)
        return FS_SYMLINK;
    if (!rock->has_px)
        return FS_FILE;
    switch (rock->mode >> 12 & 15) {
    case 0x1:
        return FS_FIFO;
    case 0x2:
        return FS_CHARDEV;
    case 0x6:
        return FS_BLOCKDEV;
    case 0xc:
        return FS_SOCKET;
    default:
        return FS_FILE;
    }
}

/* ---- content ---- */

static int add_extent(const struct iso_fs *iso, const struct iso_record *rec, struct fs_content *c,
                      struct vd_err *err)
{
    uint64_t at = ((uint64_t)rec->block + rec->ext_blocks) * iso->block_size;
    int rc;

    if (rec->unit || rec->gap)
        return vd_fail(err, VD_EUNSUPPORTED, "interleaved file");
    rc = fs_runs_add_data(&c->runs, iso->vol->size, c->size, rec->size, at, err);
    c->size += rec->size;
    c->init = c->size;
    return rc;
}

/* Byte offset of the record after the one at `addr`: the next in its sector or, when there is no
 * more in it, the first of the next. */
static int next_record(const struct iso_fs *iso, uint64_t addr, uint8_t len, uint64_t *out,
                       struct vd_err *err)
{
    uint64_t next = addr + len;
    uint8_t first = 0;
    int rc = 0;

    if (next % ISO_SECTOR) {
        rc = vd_prefix(err, blk_read(iso->vol, next, &first, 1, err), "directory record");
        if (!rc && !first)
            next += ISO_SECTOR - next % ISO_SECTOR;
    }
    *out = next;
    return rc;
}

static int fill(const struct iso_fs *iso, uint64_t addr, struct fs_content *c, struct vd_err *err)
{
    struct loaded first, more;
    bool goes_on;
    uint8_t len;
    unsigned n;
    int rc = load_record(iso, addr, &first, err);

    if (!rc)
        rc = add_extent(iso, &first.rec, c, err);
    goes_on = !rc && first.rec.flags & ISO_FLAG_MORE;
    len = rc ? 0 : first.rec.len;
    for (n = 1; goes_on && !rc; n++) {
        if (n == MAX_EXTENTS)
            return vd_fail(err, VD_ELIMIT, "more than %u extents", MAX_EXTENTS);
        rc = next_record(iso, addr, len, &addr, err);
        if (!rc)
            rc = load_record(iso, addr, &more, err);
        if (!rc && (more.rec.name_len != first.rec.name_len ||
                    memcmp(more.rec.name, first.rec.name, first.rec.name_len) != 0))
            rc = vd_fail(err, VD_ECORRUPT, "the last extent of the file is missing");
        if (!rc)
            rc = add_extent(iso, &more.rec, c, err);
        goes_on = !rc && more.rec.flags & ISO_FLAG_MORE;
        len = rc ? 0 : more.rec.len;
    }
    fs_runs_trim(&c->runs);
    return rc;
}

static int content_load(const struct iso_fs *iso, uint64_t addr, struct fs_content *c,
                        struct iso_rock *rock, struct vd_err *err)
{
    struct loaded l;
    int rc = load_record(iso, addr, &l, err);

    if (!rc)
        rc = load_rock(iso, &l.rec, rock, err);
    if (!rc && rock->compressed)
        rc = vd_fail(err, VD_EUNSUPPORTED, "compressed by zisofs");
    if (rc)
        return rc;
    c->kind = (uint8_t)kind_of(&l.rec, rock);
    return fill(iso, addr, c, err);
}

static int content_make(void *ctx, uint64_t addr, uint64_t unused, void **out_object,
                        size_t *out_cost, struct vd_err *err)
{
    struct fs_content *c = calloc(1, sizeof(*c));
    struct iso_rock *rock = malloc(sizeof(*rock));
    int rc = c && rock ? content_load(ctx, addr, c, rock, err)
                       : vd_fail(err, VD_ENOMEM, "out of memory");

    (void)unused;
    free(rock);
    if (rc) {
        fs_content_free(c);
        return rc;
    }
    *out_object = c;
    *out_cost = fs_content_cost(c);
    return 0;
}

static int iso_read(struct fs *fs, uint64_t addr, uint16_t stream, uint64_t off, void *buf,
                    size_t len, size_t *out_len, struct vd_err *err)
{
    struct iso_fs *iso = fs->priv;
    const struct fs_content *c;
    struct fs_cached *ref = NULL;
    int rc;

    if (stream)
        return vd_fail(err, VD_ENOENT, "no such stream");
    rc = fs_cache_get(iso->contents, addr, 0, content_make, iso, &ref, err);
    if (rc)
        return rc;
    c = ref->object;
    rc = c->kind == FS_FILE ? fs_content_read(c, iso->vol, off, buf, len, out_len, err)
                            : vd_fail(err, VD_EUSAGE, "not a regular file");
    fs_cache_put(iso->contents, ref);
    return rc;
}

/* ---- names ---- */

/* "NAME.EXT;1" → "NAME.EXT", "NAME.;1" → "NAME" (7.5.1; as every reader shows them). */
static size_t plain_name(const struct iso_fs *iso, const struct iso_record *rec, char *out)
{
    size_t n = rec->name_len, i;

    if (iso->joliet)
        n = fs_utf16_name(rec->name, rec->name_len / 2, true, out);
    else
        memcpy(out, rec->name, n);
    for (i = n; i > 0 && out[i - 1] >= '0' && out[i - 1] <= '9';)
        i--;
    if (i > 1 && i < n && out[i - 1] == ';')
        n = i - 1;
    if (!iso->joliet && n > 1 && out[n - 1] == '.')
        n--;
    return n;
}

static int add_record(const struct iso_fs *iso, const struct iso_record *rec, uint64_t addr,
                      struct iso_rock *rock, struct fs_dirlist *list, struct vd_err *err)
{
    char plain[FS_UTF16_BYTES(ISO_MAX_RECORD)];
    const char *name = plain;
    size_t len;
    int rc;

    /* 7.6.2: the names 00 and 01 are the directory itself and its parent */
    if ((rec->name_len == 1 && rec->name[0] <= 1) || rec->flags & ISO_FLAG_ASSOCIATED)
        return 0;
    rc = load_rock(iso, rec, rock, err);
    if (rc || rock->relocated)
        return rc;
    if (rock->has_child) /* a deep directory, kept elsewhere: its own "." record describes it */
        addr = (uint64_t)rock->child_block * iso->block_size;
    if (rock->name_len) {
        name = rock->name;
        len = rock->name_len;
    } else {
        len = plain_name(iso, rec, plain);
    }
    if (memchr(name, 0, len))
        return vd_fail(err, VD_ECORRUPT, "name with a NUL");
    return fs_dirlist_add(list, name, len, addr, kind_of(rec, rock), err);
}

static bool is_fatal(int rc)
{
    return rc == -VD_ENOMEM || rc == -VD_ELIMIT;
}

/* A directory being read. */
struct dir_walk {
    const struct iso_fs *iso;
    struct fs_dirlist *list;
    struct iso_rock *rock; /* scratch */
    bool more;             /* the next record is a further extent of the same file */
};

/* The records of one sector. */
static int read_sector(struct dir_walk *w, uint64_t at, const uint8_t *b, size_t len,
                       struct vd_err *err)
{
    size_t off = 0;

    while (off < len && b[off]) {
        struct vd_err e = VD_ERR_INIT;
        struct iso_record rec;
        bool further = w->more;
        int rc = iso_record_decode(b + off, len - off, &rec, err);

        if (rc)
            return rc;
        w->more = rec.flags & ISO_FLAG_MORE;
        if (!further)
            rc = add_record(w->iso, &rec, at + off, w->rock, w->list, &e);
        if (is_fatal(rc)) {
            if (err)
                *err = e;
            return rc;
        }
        if (rc)
            fs_dirlist_set_damage(w->list, rc, &e);
        off += rec.len;
    }
    return 0;
}

static int read_dir(struct dir_walk *w, const struct iso_record *dir, struct vd_err *err)
{
    const struct iso_fs *iso = w->iso;
    uint64_t start = ((uint64_t)dir->block + dir->ext_blocks) * iso->block_size, off;
    uint8_t buf[ISO_SECTOR];

    if (dir->size > MAX_DIR_BYTES)
        return vd_fail(err, VD_ELIMIT, "directory of %u bytes", dir->size);
    for (off = 0; off < dir->size; off += ISO_SECTOR) {
        size_t len = (size_t)vd_min(dir->size - off, ISO_SECTOR);
        bool inside = vd_range_inside(start + off, len, iso->vol->size);
        struct vd_err e = VD_ERR_INIT;
        int rc = inside ? blk_read(iso->vol, start + off, buf, len, &e)
                        : vd_fail(&e, VD_ECORRUPT, "directory passes the end of the volume");

        if (!rc)
            rc = read_sector(w, start + off, buf, len, &e);
        if (is_fatal(rc)) {
            if (err)
                *err = e;
            return rc;
        }
        if (rc)
            fs_dirlist_set_damage(w->list, rc, &e);
        if (!inside)
            break;
    }
    return 0;
}

static int dir_load(const struct iso_fs *iso, uint64_t addr, struct fs_dirlist *list,
                    struct vd_err *err)
{
    struct dir_walk w = {.iso = iso, .list = list};
    struct loaded l;
    int rc = load_record(iso, addr, &l, err);

    if (!rc && !(l.rec.flags & ISO_FLAG_DIR))
        rc = vd_fail(err, VD_EUSAGE, "not a directory");
    if (rc)
        return rc;
    w.rock = malloc(sizeof(*w.rock));
    rc = w.rock ? read_dir(&w, &l.rec, err) : vd_fail(err, VD_ENOMEM, "out of memory");
    free(w.rock);
    return rc ? rc : fs_dirlist_finish(list, err);
}

static int dir_make(void *ctx, uint64_t addr, uint64_t unused, void **out_object, size_t *out_cost,
                    struct vd_err *err)
{
    struct fs_dirlist *list = fs_dirlist_new();
    int rc = list ? dir_load(ctx, addr, list, err) : vd_fail(err, VD_ENOMEM, "out of memory");

    (void)unused;
    if (rc) {
        fs_dirlist_free(list);
        return rc;
    }
    *out_object = list;
    *out_cost = fs_dirlist_cost(list);
    return 0;
}

static int iso_lookup(struct fs *fs, uint64_t dir_addr, const char *name, size_t name_len,
                      struct fs_entry *out, struct vd_err *err)
{
    struct iso_fs *iso = fs->priv;
    struct fs_cached *ref = NULL;
    int rc = fs_cache_get(iso->dirs, dir_addr, 0, dir_make, iso, &ref, err);

    if (rc)
        return rc;
    rc = fs_dirlist_find(ref->object, name, name_len, out, err);
    fs_cache_put(iso->dirs, ref);
    return rc;
}

static int iso_readdir(struct fs *fs, uint64_t dir_addr, uint64_t cookie, fs_entry_fn *fn,
                       void *ctx, struct vd_err *err)
{
    struct iso_fs *iso = fs->priv;
    struct fs_cached *ref = NULL;
    int rc = fs_cache_get(iso->dirs, dir_addr, 0, dir_make, iso, &ref, err);

    if (rc)
        return rc;
    rc = fs_dirlist_walk(ref->object, cookie, fn, ctx, err);
    fs_cache_put(iso->dirs, ref);
    return rc;
}

/* ---- metadata ---- */

/* Sum of the extents of a file of several. */
static int whole_size(struct iso_fs *iso, uint64_t addr, uint64_t *out, struct vd_err *err)
{
    struct fs_cached *ref = NULL;
    int rc = fs_cache_get(iso->contents, addr, 0, content_make, iso, &ref, err);

    if (rc)
        return rc;
    *out = ((const struct fs_content *)ref->object)->size;
    fs_cache_put(iso->contents, ref);
    return 0;
}

static void fill_attr(const struct iso_fs *iso, const struct iso_record *rec,
                      const struct iso_rock *rock, struct fs_attr *out)
{
    out->kind = kind_of(rec, rock);
    out->size = out->kind == FS_SYMLINK ? rock->target_len : rec->size;
    out->allocated = vd_div_up(rec->size, iso->block_size) * iso->block_size;
    out->flags = rock->compressed ? FS_ATTR_COMPRESSED : 0;
    out->mtime = rock->mtime.known ? rock->mtime : rec->time;
    out->atime = rock->atime;
    out->ctime = rock->ctime;
    out->btime = rock->btime;
    out->nlink = rock->nlink ? rock->nlink : 1;
    out->has_owner = rock->has_px;
    out->mode = rock->mode & 07777u;
    out->uid = rock->uid;
    out->gid = rock->gid;
}

static int iso_getattr(struct fs *fs, uint64_t addr, uint16_t stream, struct fs_attr *out,
                       struct vd_err *err)
{
    struct iso_fs *iso = fs->priv;
    struct iso_rock *rock;
    struct loaded l;
    int rc;

    if (stream)
        return vd_fail(err, VD_ENOENT, "no such stream");
    rc = load_record(iso, addr, &l, err);
    if (rc)
        return rc;
    rock = malloc(sizeof(*rock));
    rc = rock ? load_rock(iso, &l.rec, rock, err) : vd_fail(err, VD_ENOMEM, "out of memory");
    if (!rc) {
        fill_attr(iso, &l.rec, rock, out);
        if (l.rec.flags & ISO_FLAG_MORE && out->kind == FS_FILE)
            rc = whole_size(iso, addr, &out->size, err);
    }
    free(rock);
    return rc;
}

static int iso_readlink(struct fs *fs, uint64_t addr, char **out, size_t *out_len,
                        struct vd_err *err)
{
    struct iso_rock *rock;
    struct loaded l;
    int rc = load_record(fs->priv, addr, &l, err);

    if (rc)
        return rc;
    rock = malloc(sizeof(*rock));
    rc = rock ? load_rock(fs->priv, &l.rec, rock, err) : vd_fail(err, VD_ENOMEM, "out of memory");
    if (!rc && kind_of(&l.rec, rock) != FS_SYMLINK)
        rc = vd_fail(err, VD_EUSAGE, "not a symbolic link");
    if (!rc && (!rock->target_len || memchr(rock->target, 0, rock->target_len)))
        rc = vd_fail(err, VD_ECORRUPT, "symbolic link without a possible target");
    if (!rc) {
        *out = strndup(rock->target, rock->target_len);
        *out_len = rock->target_len;
        rc = *out ? 0 : vd_fail(err, VD_ENOMEM, "out of memory");
    }
    free(rock);
    return rc;
}

/* ---- opening ---- */

/* Is this a Joliet descriptor?  Escape sequences %/@, %/C, %/E. */
static bool is_joliet(const uint8_t *d)
{
    return d[0] == 2 && d[88] == 0x25 && d[89] == 0x2f &&
           (d[90] == 0x40 || d[90] == 0x43 || d[90] == 0x45);
}

/* Reads the descriptors (ECMA-119, 8): byte offsets of the primary and of a Joliet one, 0 = none */
static int find_descriptors(struct blkdev *vol, uint64_t *primary, uint64_t *joliet,
                            struct vd_err *err)
{
    uint64_t at = UINT64_C(16) * ISO_SECTOR;
    uint8_t d[ISO_SECTOR];
    unsigned i;

    *primary = *joliet = 0;
    for (i = 0; i < MAX_DESCRIPTORS && vd_range_inside(at, ISO_SECTOR, vol->size); i++) {
        int rc = vd_prefix(err, blk_read(vol, at, d, ISO_SECTOR, err), "volume descriptor");

        if (rc)
            return rc;
        if (memcmp(d + 1, "CD001", 5) != 0 || d[0] == 255)
            break;
        if (d[0] == 1 && !*primary)
            *primary = at;
        if (is_joliet(d) && !*joliet)
            *joliet = at;
        at += ISO_SECTOR;
    }
    return *primary ? 0 : vd_fail(err, VD_ENOTFORMAT, "no ISO 9660 volume descriptor");
}

/* SUSP 5.3: the entry SP in the root's own record says that there is more to read, and what to
 * skip in all other records.  Rock Ridge is in use if the record has a PX entry. */
static int find_rock(struct iso_fs *iso, const struct iso_record *root, struct vd_err *err)
{
    struct iso_rock *rock;
    struct loaded dot;
    int rc =
        load_record(iso, ((uint64_t)root->block + root->ext_blocks) * iso->block_size, &dot, err);

    if (rc || dot.rec.system_len < 7 || memcmp(dot.rec.system, "SP\7\1\xbe\xef", 6) != 0)
        return rc;
    rock = malloc(sizeof(*rock));
    if (!rock)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    iso->rock = true; /* for load_rock */
    rc = load_rock(iso, &dot.rec, rock, err);
    iso->rock = rock->has_px;
    iso->susp_skip = dot.rec.system[6];
    free(rock);
    return rc;
}

static void fill_info(struct fs *fs, const uint8_t *pvd)
{
    const struct iso_fs *iso = fs->priv;
    size_t n = 32;

    (void)vd_text_copy(fs->info.type, sizeof(fs->info.type), "iso9660");
    while (n && (pvd[40 + n - 1] == ' ' || pvd[40 + n - 1] == 0))
        n--;
    (void)vd_text_printable((const char *)pvd + 40, n, fs->info.label, sizeof(fs->info.label));
    if (iso_long_time(pvd + 813).known) /* volume creation time, as libblkid writes it */
        (void)snprintf(fs->info.uuid, sizeof(fs->info.uuid), "%.4s-%.2s-%.2s-%.2s-%.2s-%.2s-%.2s",
                       (const char *)pvd + 813, (const char *)pvd + 817, (const char *)pvd + 819,
                       (const char *)pvd + 821, (const char *)pvd + 823, (const char *)pvd + 825,
                       (const char *)pvd + 827);
    fs->info.block_size = iso->block_size;
    fs->info.n_blocks = iso->n_blocks;
    fs->info.root_addr = iso->root_addr;
    fs->info.last_addr = fs->vol->size < FS_ADDR_MAX ? fs->vol->size : FS_ADDR_MAX;
    vd_fact_add(&fs->facts, VD_FACT_INFO, "iso9660_names", "%s",
                iso->rock     ? "Rock Ridge"
                : iso->joliet ? "Joliet"
                              : "primary");
    if (iso->n_blocks * iso->block_size > fs->vol->size)
        vd_fact_add(&fs->facts, VD_FACT_WARNING, "volume_short",
                    "the file system has %" PRIu64 " bytes, the volume only %" PRIu64,
                    iso->n_blocks * iso->block_size, fs->vol->size);
}

static void iso_shut(struct iso_fs *iso)
{
    if (!iso)
        return;
    fs_cache_free(iso->dirs);
    fs_cache_free(iso->contents);
    free(iso);
}

static void iso_close(struct fs *fs)
{
    iso_shut(fs->priv);
}

static int build(struct blkdev *vol, uint64_t primary, uint64_t joliet, const uint8_t *pvd,
                 struct iso_fs *iso, struct vd_err *err)
{
    struct loaded root;
    int rc;

    iso->vol = vol;
    iso->block_size = vd_le16(pvd + 128);
    iso->n_blocks = vd_le32(pvd + 80);
    iso->root_addr = primary + 156;
    if (!vd_is_pow2(iso->block_size) || iso->block_size < 512 || iso->block_size > ISO_SECTOR)
        return vd_fail(err, VD_ECORRUPT, "volume descriptor: blocks of %u bytes", iso->block_size);
    rc = load_record(iso, iso->root_addr, &root, err);
    if (!rc)
        rc = find_rock(iso, &root.rec, err);
    if (rc)
        return vd_prefix(err, rc, "root directory");
    if (!iso->rock && joliet) {
        iso->joliet = true;
        iso->root_addr = joliet + 156;
    }
    rc = fs_cache_new(DIRS_BUDGET, fs_dirlist_free, &iso->dirs, err);
    return rc ? rc : fs_cache_new(CONTENTS_BUDGET, fs_content_free, &iso->contents, err);
}

static int iso_open(struct blkdev *vol, const char *label, struct fs **out, struct vd_err *err)
{
    uint64_t primary, joliet;
    uint8_t pvd[ISO_SECTOR];
    struct iso_fs *iso;
    int rc = find_descriptors(vol, &primary, &joliet, err);

    if (!rc)
        rc = blk_read(vol, primary, pvd, sizeof(pvd), err);
    if (rc)
        return rc;
    iso = calloc(1, sizeof(*iso));
    rc =
        iso ? build(vol, primary, joliet, pvd, iso, err) : vd_fail(err, VD_ENOMEM, "out of memory");
    if (!rc)
        rc = fs_new(&fs_type_iso, vol, label, iso, out, err);
    if (rc) {
        iso_shut(iso);
        return rc;
    }
    fill_info(*out, pvd);
    return 0;
}

const struct fs_type fs_type_iso = {
    .name = "ISO 9660",
    .open = iso_open,
    .close = iso_close,
    .lookup = iso_lookup,
    .readdir = iso_readdir,
    .getattr = iso_getattr,
    .read = iso_read,
    .readlink = iso_readlink,
};
