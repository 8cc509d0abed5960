/* SPDX-License-Identifier: Apache-2.0 */
/* Files in memory, marks, identities and the table of kinds.  See writers.h.  A file's bytes are an
 * anonymous mapping: parts never written cost nothing, so fixed disks of gigabytes are fine. */
#include "priv.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

void wr_die_at(const char *file, int line, const char *fmt, ...)
{
    va_list ap;

    (void)fprintf(stderr, "%s:%d: ", file, line);
    va_start(ap, fmt);
    (void)vfprintf(stderr, fmt, ap);
    va_end(ap);
    (void)fputc('\n', stderr);
    abort();
}

void *wr_alloc(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size ? size : 1);

    if (!p)
        wr_die("out of memory");
    return p;
}

uint64_t wr_up(uint64_t v, uint64_t to)
{
    return (v + to - 1) / to * to;
}

/* ---- files ---- */

struct wr_file *wr_file_named(const struct wr_dir *dir, const char *name)
{
    size_t i;

    for (i = 0; i < dir->n; i++)
        if (strcmp(dir->files[i]->name, name) == 0)
            return dir->files[i];
    return NULL;
}

struct wr_file *wr_file_new(struct wr_dir *dir, const char *name)
{
    struct wr_file *f = wr_alloc(1, sizeof(*f));

    if (!name || strlen(name) >= WR_NAME_MAX || wr_file_named(dir, name))
        wr_die("file name missing, too long or used twice: %s", name ? name : "(none)");
    (void)snprintf(f->name, sizeof(f->name), "%s", name);
    if (dir->n == dir->room) {
        dir->room = dir->room ? 2 * dir->room : 8;
        dir->files = realloc(dir->files, dir->room * sizeof(struct wr_file *));
        if (!dir->files)
            wr_die("out of memory");
    }
    dir->files[dir->n++] = f;
    return f;
}

void wr_dir_clear(struct wr_dir *dir)
{
    size_t i;

    for (i = 0; i < dir->n; i++) {
        struct wr_file *f = dir->files[i];

        blk_unref(f->dev);
        if (f->bytes)
            (void)munmap(f->bytes, f->room);
        free(f->marks);
        free(f);
    }
    free(dir->files);
    *dir = (struct wr_dir){0};
}

void wr_grow(struct wr_file *f, uint64_t len)
{
    if (len > f->room) {
        uint64_t room = f->room ? f->room : 65536;
        void *p;

        while (room < len)
            room *= 2;
        p = f->bytes ? mremap(f->bytes, f->room, room, MREMAP_MAYMOVE)
                     : mmap(NULL, room, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED)
            wr_die("%s: no room for %llu bytes", f->name, (unsigned long long)len);
        f->bytes = p;
        f->room = room;
    }
    if (len > f->len)
        f->len = len;
}

void wr_put(struct wr_file *f, uint64_t off, const void *bytes, size_t len)
{
    wr_grow(f, off + len);
    if (len)
        memcpy(f->bytes + off, bytes, len);
}

void wr_fill(struct wr_file *f, uint64_t off, uint64_t len, int byte)
{
    wr_grow(f, off + len);
    if (len)
        memset(f->bytes + off, byte, len);
}

void wr_junk(struct wr_file *f, uint64_t off, uint64_t len, uint64_t seed)
{
    uint64_t state = seed + 77, i;

    wr_grow(f, off + len);
    for (i = 0; i < len; i++)
        f->bytes[off + i] = (uint8_t)(wr_random(&state) | 0x81);
}

void wr_number(struct wr_file *f, uint64_t off, unsigned width, bool big_endian, uint64_t v)
{
    unsigned i;

    wr_grow(f, off + width);
    for (i = 0; i < width; i++)
        f->bytes[off + (big_endian ? width - 1 - i : i)] = (uint8_t)(v >> (8 * i));
}

/* ---- marks ---- */

struct wr_mark *wr_mark(struct wr_file *f, enum wr_mark_kind kind, enum wr_role role,
                        const char *name, uint64_t index, uint64_t off, uint64_t len)
{
    struct wr_mark *m;

    if (f->n_marks == f->marks_room) {
        f->marks_room = f->marks_room ? 2 * f->marks_room : 64;
        f->marks = realloc(f->marks, f->marks_room * sizeof(*f->marks));
        if (!f->marks)
            wr_die("out of memory");
    }
    m = &f->marks[f->n_marks++];
    *m = (struct wr_mark){.kind = kind, .role = role, .index = index, .off = off, .len = len};
    (void)snprintf(m->name, sizeof(m->name), "%s", name);
    return m;
}

static struct wr_mark *field(struct wr_file *f, enum wr_role role, const char *name, uint64_t off,
                             unsigned width, bool big, uint64_t v)
{
    struct wr_mark *m = wr_mark(f, WR_MARK_FIELD, role, name, 0, off, width);

    m->width = (uint8_t)width;
    m->big_endian = big;
    wr_number(f, off, width, big, v);
    return m;
}

struct wr_mark *wr_le(struct wr_file *f, enum wr_role role, const char *name, uint64_t off,
                      unsigned width, uint64_t v)
{
    return field(f, role, name, off, width, false, v);
}

struct wr_mark *wr_be(struct wr_file *f, enum wr_role role, const char *name, uint64_t off,
                      unsigned width, uint64_t v)
{
    return field(f, role, name, off, width, true, v);
}

void wr_entry(struct wr_file *f, enum wr_role role, enum wr_encoding encoding, const char *name,
              uint64_t index, uint64_t off, unsigned width, bool big, uint64_t disk_off,
              uint64_t disk_len)
{
    struct wr_mark *m = wr_mark(f, WR_MARK_ENTRY, role, name, index, off, width);

    m->width = (uint8_t)width;
    m->big_endian = big;
    m->encoding = encoding;
    m->disk_off = disk_off;
    m->disk_len = disk_len;
}

void wr_checksum(struct wr_file *f, enum wr_role role, const char *name, uint64_t index,
                 uint64_t off, bool big, uint64_t sum_off, uint64_t sum_len)
{
    struct wr_mark *m = wr_mark(f, WR_MARK_CHECKSUM, role, name, index, off, 4);

    m->width = 4;
    m->big_endian = big;
    m->sum_off = sum_off;
    m->sum_len = sum_len;
    wr_grow(f, sum_off + sum_len);
}

const struct wr_mark *wr_mark_named(const struct wr_file *file, const char *name, uint64_t index)
{
    size_t i;

    for (i = 0; i < file->n_marks; i++)
        if (file->marks[i].index == index && strcmp(file->marks[i].name, name) == 0)
            return &file->marks[i];
    wr_die("%s has no mark %s[%llu]", file->name, name, (unsigned long long)index);
}

uint64_t wr_get(const struct wr_file *file, const struct wr_mark *mark)
{
    uint64_t v = 0;
    unsigned i;

    for (i = 0; i < mark->width && i < 8; i++)
        v |= (uint64_t)file->bytes[mark->off + (mark->big_endian ? mark->width - 1 - i : i)]
             << (8 * i);
    return v;
}

void wr_set(struct wr_file *file, const struct wr_mark *mark, uint64_t value)
{
    wr_number(file, mark->off, mark->width < 8 ? mark->width : 8, mark->big_endian, value);
}

uint64_t wr_encode(const struct wr_mark *mark, uint64_t off)
{
    switch (mark->encoding) {
    case WR_ENC_SECTORS:
        return off / 512;
    case WR_ENC_VHDX:
        return (off & ~UINT64_C(0xfffff)) | 6;
    case WR_ENC_SE_GDE:
        return UINT64_C(1) << 60 | (off & UINT32_MAX);
    case WR_ENC_SE_GTE:
        return UINT64_C(3) << 60 | (off & 0xfff) << 48 | (off >> 12 & UINT64_C(0xffffffffffff));
    case WR_ENC_NUMBER:
    case WR_ENC_BYTES:
        break;
    }
    return off;
}

/* CRC-32C, bit by bit from its polynomial (RFC 3720, appendix B.4); slow and independent.  Bytes at
 * [skip_off, skip_off+4) count as zero. */
uint32_t wr_crc32c(const uint8_t *p, uint64_t len, uint64_t skip_off)
{
    static uint32_t table[256];
    uint32_t crc = UINT32_MAX;
    uint64_t i;

    for (i = 256; !table[1] && i-- > 1;) { /* downwards: table[1] is the last */
        uint32_t v = (uint32_t)i;
        int bit;

        for (bit = 0; bit < 8; bit++)
            v = v & 1 ? v >> 1 ^ 0x82f63b78u : v >> 1;
        table[i] = v;
    }
    for (i = 0; i < len; i++) {
        uint8_t b = i >= skip_off && i < skip_off + 4 ? 0 : p[i];

        crc = table[(crc ^ b) & 0xff] ^ crc >> 8;
    }
    return ~crc;
}

/* VHD specification, "Checksum": the ones' complement of the sum of all other bytes. */
uint32_t wr_vhd_sum(const uint8_t *p, uint64_t len, uint64_t skip_off)
{
    uint32_t sum = 0;
    uint64_t i;

    for (i = 0; i < len; i++)
        if (i < skip_off || i >= skip_off + 4)
            sum += p[i];
    return ~sum;
}

void wr_fix_checksums(struct wr_file *file)
{
    size_t i;

    for (i = 0; i < file->n_marks; i++) {
        const struct wr_mark *m = &file->marks[i];
        uint64_t end = m->sum_off + m->sum_len;
        const uint8_t *p = file->bytes + m->sum_off;

        if (m->kind != WR_MARK_CHECKSUM || end > file->len)
            continue;
        wr_set(file, m,
               m->big_endian ? wr_vhd_sum(p, m->sum_len, m->off - m->sum_off)
                             : wr_crc32c(p, m->sum_len, m->off - m->sum_off));
    }
}

/* ---- identities ---- */

uint64_t wr_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15)); /* splitmix64 */

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

uint64_t wr_below(uint64_t *state, uint64_t n)
{
    return wr_random(state) % n;
}

uint32_t wr_cid(const struct wr_spec *spec)
{
    uint64_t state = spec->id;

    if (spec->knobs.cid)
        return *spec->knobs.cid;
    return (uint32_t)(wr_random(&state) & 0x7fffffff) | 0x10;
}

void wr_guid(const struct wr_spec *spec, uint8_t out[16])
{
    uint64_t state = spec->id ^ 0x6775;
    unsigned i;

    if (spec->knobs.data_guid) {
        memcpy(out, spec->knobs.data_guid, 16);
        return;
    }
    for (i = 0; i < 16; i++)
        out[i] = (uint8_t)wr_random(&state);
    out[8] = (uint8_t)((out[8] & 0x3f) | 0x80); /* RFC 4122 variant; never all zero */
}

int64_t wr_time(const struct wr_spec *spec)
{
    uint64_t state = spec->id ^ 0x74696d65;

    if (spec->time)
        return spec->time;
    return 1500000000 + (int64_t)wr_below(&state, 200000000);
}

/* ---- kinds ---- */

static const struct {
    const char *name;
    bool child;    /* can have a parent */
    int family;    /* 1 VMDK, 2 VHD, 3 VHDX, 0 none */
    uint32_t unit; /* usual grain or block, bytes */
} kinds[WR_KINDS] = {
    [WR_RAW] = {"raw", false, 0, 0},
    [WR_VMDK_FLAT] = {"vmdk-flat", false, 1, 0},
    [WR_VMDK_SPARSE] = {"vmdk-sparse", true, 1, 65536},
    [WR_VMDK_STREAM] = {"vmdk-stream", true, 1, 65536},
    [WR_VMDK_SPLIT] = {"vmdk-split", true, 1, 65536},
    [WR_VMDK_COWD] = {"vmdk-cowd", true, 1, 512},
    [WR_VMDK_SESPARSE] = {"vmdk-sesparse", true, 1, 4096},
    [WR_VMDK_CUSTOM] = {"vmdk-custom", true, 1, 65536},
    [WR_VHD_FIXED] = {"vhd-fixed", false, 2, 0},
    [WR_VHD_DYNAMIC] = {"vhd-dynamic", false, 2, 2u << 20},
    [WR_VHD_DIFF] = {"vhd-diff", true, 2, 2u << 20},
    [WR_VHDX_FIXED] = {"vhdx-fixed", false, 3, 1u << 20},
    [WR_VHDX_DYNAMIC] = {"vhdx-dynamic", false, 3, 1u << 20},
    [WR_VHDX_DIFF] = {"vhdx-diff", true, 3, 1u << 20},
};

const char *wr_kind_name(enum wr_kind kind)
{
    return kind < WR_KINDS ? kinds[kind].name : "?";
}

enum wr_kind wr_kind_named(const char *word)
{
    int i;

    for (i = 0; i < WR_KINDS; i++)
        if (strcmp(word, kinds[i].name) == 0)
            return (enum wr_kind)i;
    return WR_KINDS;
}

bool wr_kind_is_child(enum wr_kind kind)
{
    return kind < WR_KINDS && kinds[kind].child;
}

bool wr_kind_fits(enum wr_kind child, enum wr_kind parent)
{
    return wr_kind_is_child(child) && parent < WR_KINDS &&
           kinds[child].family == kinds[parent].family;
}

uint32_t wr_unit(const struct wr_spec *spec)
{
    return spec->unit ? spec->unit : kinds[spec->kind].unit;
}

/* ---- building ---- */

static struct wr_file *build_raw(const struct wr_spec *spec, struct wr_dir *dir)
{
    struct wr_file *f = wr_file_new(dir, spec->name);

    wr_grow(f, spec->size);
    wr_local_bytes(spec, 0, f->bytes, spec->size);
    wr_mark(f, WR_MARK_DATA, WR_ROLE_NEEDED, "data", 0, 0, spec->size)->disk_len = spec->size;
    return f;
}

struct wr_file *wr_build(const struct wr_spec *spec, struct wr_dir *dir)
{
    struct wr_file *f = NULL;

    if (spec->kind >= WR_KINDS || !spec->size || spec->size % 512)
        wr_die("kind %d, size %llu", (int)spec->kind, (unsigned long long)spec->size);
    if (spec->parent && !wr_kind_is_child(spec->kind))
        wr_die("%s cannot have a parent", wr_kind_name(spec->kind));
    switch (kinds[spec->kind].family) {
    case 0:
        f = build_raw(spec, dir);
        break;
    case 1:
        f = wr_build_vmdk(spec, dir);
        break;
    case 2:
        f = wr_build_vhd(spec, dir);
        break;
    default:
        f = wr_build_vhdx(spec, dir);
        break;
    }
    return f;
}

void wr_build_chain(const struct wr_spec *tip, struct wr_dir *dir)
{
    if (tip->parent)
        wr_build_chain(tip->parent, dir);
    (void)wr_build(tip, dir);
}

size_t wr_utf16(const char *text, bool big_endian, uint8_t *out, size_t room)
{
    const uint8_t *p = (const uint8_t *)text;
    size_t n = 0;

    while (*p && n + 2 <= room) {
        unsigned c = *p++;

        if (c >= 0xe0 && p[0] && p[1]) {
            c = (c & 15) << 12 | (p[0] & 63u) << 6 | (p[1] & 63u);
            p += 2;
        } else if (c >= 0xc0 && p[0]) {
            c = (c & 31) << 6 | (p[0] & 63u);
            p++;
        }
        out[n] = (uint8_t)(big_endian ? c >> 8 : c);
        out[n + 1] = (uint8_t)(big_endian ? c : c >> 8);
        n += 2;
    }
    return n;
}
