/* SPDX-License-Identifier: Apache-2.0 */
/* VMDK after VMware's "Virtual Disk Format 5.0": the descriptor text and the kinds that are put
 * together from extents. */
#include "priv.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define TEXT_MAX (64u << 10)

struct text {
    char *p;
    size_t n;
};

static void add(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add(struct text *t, const char *fmt, ...)
{
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(t->p + t->n, TEXT_MAX - t->n, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= TEXT_MAX - t->n)
        wr_die("descriptor too long");
    t->n += (size_t)n;
}

/* "The Descriptor File". */
char *wr_descriptor(const struct wr_spec *spec, const char *create_type, const char *lines)
{
    const struct wr_knobs *k = &spec->knobs;
    const char *e = k->eol ? k->eol : "\n";
    struct text t = {.p = wr_alloc(1, TEXT_MAX)};
    uint32_t parent = spec->parent ? wr_cid(spec->parent) : UINT32_MAX;

    if (k->parent_cid)
        parent = *k->parent_cid;
    if (k->prologue)
        add(&t, "%s", k->prologue);
    else
        add(&t, "# Disk DescriptorFile%s", e);
    add(&t, "version=1%sencoding=\"%s\"%sCID=%08x%s", e, k->encoding ? k->encoding : "UTF-8", e,
        k->long_cid ? 0xfffffffeu : wr_cid(spec), e);
    add(&t, "parentCID=%08x%sisNativeSnapshot=\"no\"%s", parent, e, e);
    add(&t, "createType=\"%s\"%s", k->create_type ? k->create_type : create_type, e);
    if (spec->parent && !k->no_hint)
        add(&t, "parentFileNameHint=\"%s\"%s",
            k->hint_relative ? k->hint_relative : spec->parent->name, e);
    if (k->extra)
        add(&t, "%s", k->extra);
    add(&t, "%s# Extent description%s%s%s", e, e, k->extent_lines ? k->extent_lines : lines, e);
    add(&t, "# The Disk Data Base%s#DDB%s%sddb.virtualHWVersion = \"8\"%s", e, e, e, e);
    if (k->long_cid)
        add(&t, "ddb.longContentID = \"%s\"%s", k->long_cid, e);
    if (k->long_parent)
        add(&t, "%s%s", k->long_parent, e);
    add(&t, "ddb.geometry.cylinders = \"%u\"%s", (unsigned)(spec->size / 512 / 16 / 63 + 1), e);
    add(&t, "ddb.geometry.heads = \"16\"%sddb.geometry.sectors = \"63\"%s", e, e);
    add(&t, "ddb.adapterType = \"lsilogic\"%s", e);
    return t.p;
}

static const struct {
    const char *word, *suffix, *create_type;
} extent_kinds[] = {
    [WR_EXTENT_FLAT] = {"FLAT", "flat", "monolithicFlat"},
    [WR_EXTENT_ZERO] = {"ZERO", "", "custom"},
    [WR_EXTENT_NOACCESS] = {"FLAT", "", "custom"},
    [WR_EXTENT_SPARSE] = {"SPARSE", "s", "twoGbMaxExtentSparse"},
    [WR_EXTENT_STREAM] = {"SPARSE", "s", "custom"},
    [WR_EXTENT_COWD] = {"VMFSSPARSE", "delta", "vmfsSparse"},
    [WR_EXTENT_SESPARSE] = {"SESPARSE", "sesparse", "seSparse"},
};

const struct wr_extent *wr_extents(const struct wr_spec *spec, struct wr_extent *one, size_t *out_n)
{
    *out_n = 1;
    one->size = spec->size;
    if (spec->n_extents) {
        *out_n = spec->n_extents;
        return spec->extents;
    }
    switch ((int)spec->kind) {
    case WR_VMDK_FLAT:
        one->kind = WR_EXTENT_FLAT;
        break;
    case WR_VMDK_COWD:
        one->kind = WR_EXTENT_COWD;
        break;
    case WR_VMDK_SESPARSE:
        one->kind = WR_EXTENT_SESPARSE;
        break;
    default:
        one->kind = WR_EXTENT_SPARSE;
        break;
    }
    return one;
}

static uint32_t unit_of(const struct wr_spec *spec, const struct wr_extent *extent)
{
    if (extent->unit)
        return extent->unit;
    if (spec->unit)
        return spec->unit;
    switch (extent->kind) {
    case WR_EXTENT_COWD:
        return 512;
    case WR_EXTENT_SESPARSE:
        return 4096;
    case WR_EXTENT_FLAT:
    case WR_EXTENT_ZERO:
    case WR_EXTENT_NOACCESS:
    case WR_EXTENT_SPARSE:
    case WR_EXTENT_STREAM:
        break;
    }
    return 65536;
}

/* "disk.vmdk" → "disk-s001.vmdk", "disk-flat.vmdk" … */
static void extent_name(const struct wr_spec *spec, const struct wr_extent *extent, size_t i,
                        size_t n, char *out, size_t room)
{
    const char *dot = strrchr(spec->name, '.');
    int stem = (int)(dot ? (size_t)(dot - spec->name) : strlen(spec->name));
    const char *suffix = extent_kinds[extent->kind].suffix;

    if (extent->name)
        (void)snprintf(out, room, "%s", extent->name);
    else if (n > 1 || extent->kind == WR_EXTENT_SPARSE)
        (void)snprintf(out, room, "%.*s-%c%03u.vmdk", stem, spec->name, suffix[0], (unsigned)i + 1);
    else
        (void)snprintf(out, room, "%.*s-%s.vmdk", stem, spec->name, suffix);
}

static void put_flat(const struct wr_spec *spec, struct wr_file *f, const struct wr_extent *extent,
                     size_t index, uint64_t disk_off)
{
    uint64_t at = extent->start_sector * 512;
    struct wr_mark *m;

    wr_grow(f, at + extent->size);
    wr_local_bytes(spec, disk_off, f->bytes + at, extent->size);
    m = wr_mark(f, WR_MARK_DATA, WR_ROLE_NEEDED, "data", index, at, extent->size);
    m->disk_off = disk_off;
    m->disk_len = extent->size;
}

static void put_extent_file(const struct wr_spec *spec, struct wr_dir *dir,
                            const struct wr_extent *extent, size_t index, const char *name,
                            uint64_t disk_off)
{
    struct wr_file *f = wr_file_named(dir, name);
    uint32_t unit = unit_of(spec, extent);
    uint64_t size = extent->size;

    if (extent->kind == WR_EXTENT_ZERO || extent->kind == WR_EXTENT_NOACCESS)
        return;
    if (!f || extent->kind != WR_EXTENT_FLAT)
        f = wr_file_new(dir, name);
    switch (extent->kind) {
    case WR_EXTENT_FLAT:
        put_flat(spec, f, extent, index, disk_off);
        break;
    case WR_EXTENT_SPARSE:
        wr_put_sparse(spec, f, disk_off, size, unit, NULL);
        break;
    case WR_EXTENT_STREAM:
        wr_put_stream(spec, f, disk_off, size, unit, NULL);
        break;
    case WR_EXTENT_COWD:
        wr_put_cowd(spec, f, disk_off, size, unit);
        break;
    case WR_EXTENT_SESPARSE:
        wr_put_sesparse(spec, f, disk_off, size, unit);
        break;
    case WR_EXTENT_ZERO:
    case WR_EXTENT_NOACCESS:
        break;
    }
}

static void extent_line(struct text *t, const struct wr_spec *spec, const struct wr_extent *extent,
                        const char *name)
{
    const char *e = spec->knobs.eol ? spec->knobs.eol : "\n";
    const char *access = extent->access;
    unsigned long long sectors = extent->size / 512;

    if (!access)
        access = extent->kind == WR_EXTENT_NOACCESS ? "NOACCESS" : "RW";
    if (extent->kind == WR_EXTENT_ZERO)
        add(t, "%s %llu ZERO%s", access, sectors, e);
    else if (extent->kind == WR_EXTENT_NOACCESS)
        add(t, "%s %llu ZERO%s", access, sectors, e);
    else if (extent->kind == WR_EXTENT_FLAT)
        add(t, "%s %llu FLAT \"%s\" %llu%s", access, sectors, name,
            (unsigned long long)extent->start_sector, e);
    else
        add(t, "%s %llu %s \"%s\"%s", access, sectors, extent_kinds[extent->kind].word, name, e);
}

/* A descriptor file and the files of its extents. */
static struct wr_file *build_with_extents(const struct wr_spec *spec, struct wr_dir *dir)
{
    struct wr_extent one = {0};
    size_t n, i;
    const struct wr_extent *v = wr_extents(spec, &one, &n);
    struct wr_file *f = wr_file_new(dir, spec->name);
    struct text lines = {.p = wr_alloc(1, TEXT_MAX)};
    const char *type = extent_kinds[v[0].kind].create_type;
    char name[WR_NAME_MAX], *text;
    uint64_t disk_off = 0;

    for (i = 0; i < n; i++) {
        if (v[i].kind != v[0].kind)
            type = "custom";
        extent_name(spec, &v[i], i, n, name, sizeof(name));
        extent_line(&lines, spec, &v[i], name);
        put_extent_file(spec, dir, &v[i], i, name, disk_off);
        disk_off += v[i].size;
    }
    if (disk_off != spec->size)
        wr_die("%s: extents have %llu bytes, the disk %llu", spec->name,
               (unsigned long long)disk_off, (unsigned long long)spec->size);
    if (strcmp(type, "monolithicFlat") == 0 && n > 1)
        type = "twoGbMaxExtentFlat";
    text = wr_descriptor(spec, type, lines.p);
    wr_put(f, 0, text, strlen(text));
    wr_mark(f, WR_MARK_TEXT, WR_ROLE_DEFINES, "descriptor", 0, 0, strlen(text));
    free(text);
    free(lines.p);
    return f;
}

struct wr_file *wr_build_vmdk(const struct wr_spec *spec, struct wr_dir *dir)
{
    struct wr_file *f;
    char line[WR_NAME_MAX + 64], *text;

    if (spec->kind != WR_VMDK_SPARSE && spec->kind != WR_VMDK_STREAM)
        return build_with_extents(spec, dir);
    f = wr_file_new(dir, spec->name);
    (void)snprintf(line, sizeof(line), "RW %llu SPARSE \"%s\"%s",
                   (unsigned long long)spec->size / 512, spec->name,
                   spec->knobs.eol ? spec->knobs.eol : "\n");
    text = wr_descriptor(
        spec, spec->kind == WR_VMDK_SPARSE ? "monolithicSparse" : "streamOptimized", line);
    if (spec->kind == WR_VMDK_SPARSE)
        wr_put_sparse(spec, f, 0, spec->size, wr_unit(spec), text);
    else
        wr_put_stream(spec, f, 0, spec->size, wr_unit(spec), text);
    free(text);
    return f;
}
