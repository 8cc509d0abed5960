/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The layer of one hosted sparse extent.  VMware Virtual Disk Format 5.0, "Hosted Sparse Extents"
 * and "Stream-Optimized Compressed Sparse Extents".
 *
 * One function, sparse_find, says what a position means; reading and mapping both ask it.  Plain
 * grains are read where they lie; compressed ones are inflated once and kept in the image's cache.
 * The layer has no label of its own: its messages begin with the file's.  Threads: immutable but
 * for the caches and the tables' notes.
 */
#include "image/vmdk/sparse.h"

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/range.h"
#include "image/vmdk/grain.h"

#include <inttypes.h>

/* How far back from the end a footer is looked for: behind the footer stand the end-of-stream
 * marker (a sector of zeros) and, in files that some tools rounded up, more zeros. */
#define FOOTER_SEARCH_MAX (1u << 20)

struct sparse {
    struct blkdev *file;           /* = child 0 */
    const struct vmdk_geometry *g; /* of the tables */
    struct vmdk_tables *tables;
    struct made_cache *grains; /* own reference; NULL if not compressed */
    unsigned extent;
};

/* What the bytes from one position on are. */
struct run {
    enum blk_status status;
    uint64_t len;      /* bytes, > 0 */
    uint64_t file_off; /* plain data: byte offset in the file */
    uint64_t table;
    uint64_t grain;  /* number of the first grain */
    uint32_t gte;    /* its table entry; 0 if the table itself is the trouble */
    const char *why; /* unreadable: a phrase */
};

/* ---- what a position means ---- */

/* The rest of the disk from `off` on that table number `table` and the `more` after it cover. */
static uint64_t table_rest(const struct vmdk_geometry *g, uint64_t off, uint64_t table,
                           uint64_t more)
{
    uint64_t end;

    if (!vd_mul(table + 1 + more, g->gt_span, &end) || end > g->capacity)
        end = g->capacity;
    return end - off;
}

static void run_of_place(const struct vmdk_geometry *g, uint64_t off, struct vmdk_place place,
                         struct run *run)
{
    uint64_t in = off % g->grain;

    run->len = vmdk_grain_bytes(g, run->grain) - in;
    run->why = place.why;
    switch (place.kind) {
    case VMDK_PLACE_ABSENT:
        run->status = BLK_ABSENT;
        break;
    case VMDK_PLACE_ZEROS:
        run->status = BLK_ZEROS;
        break;
    case VMDK_PLACE_BAD:
        run->status = BLK_UNREADABLE;
        break;
    case VMDK_PLACE_DATA:
        run->status = BLK_DATA;
        if (g->compressed)
            break;
        if (in >= place.len) {
            run->status = BLK_UNREADABLE; /* the file ends inside this grain */
            break;
        }
        run->file_off = place.off + in;
        run->len = vd_min(run->len, place.len - in);
        break;
    }
}

/* Does `next`, the run of the following grain, continue `run`? */
static bool run_continues(const struct vmdk_geometry *g, const struct run *run,
                          const struct run *next)
{
    if (next->status != run->status)
        return false;
    return run->status != BLK_DATA || g->compressed || next->file_off == run->file_off + run->len;
}

/* The run at `off` inside a table that was looked up. */
static void run_of_table(const struct vmdk_geometry *g, const uint32_t *gte, uint64_t off,
                         uint64_t max_len, struct run *out)
{
    uint64_t first = out->table * g->gt_entries, grain = off / g->grain;
    uint32_t n = vmdk_table_entries(g, out->table);

    out->grain = grain;
    out->gte = gte[grain - first];
    run_of_place(g, off, vmdk_place_of(g, grain, out->gte), out);
    while (out->len < max_len && ++grain - first < n && (off + out->len) % g->grain == 0) {
        struct run next = {.table = out->table, .grain = grain};

        run_of_place(g, grain * g->grain, vmdk_place_of(g, grain, gte[grain - first]), &next);
        if (!run_continues(g, out, &next))
            break;
        out->len += next.len;
    }
}

/* The only place that turns a position into a meaning. */
static int sparse_find(struct sparse *s, uint64_t off, uint64_t max_len, struct run *out,
                       struct vd_err *err)
{
    struct run run = {.table = off / s->g->gt_span};
    struct vmdk_table table;
    int rc = vmdk_tables_get(s->tables, run.table, &table, err);

    if (rc)
        return vd_at(err, rc, off);
    switch (table.kind) {
    case VMDK_PLACE_DATA:
        run_of_table(s->g, table.gte, off, max_len, &run);
        break;
    case VMDK_PLACE_ABSENT:
        run.status = BLK_ABSENT;
        run.len = table_rest(
            s->g, off, run.table,
            vmdk_tables_absent_run(s->tables, run.table + 1, max_len / s->g->gt_span + 1));
        break;
    case VMDK_PLACE_ZEROS:
    case VMDK_PLACE_BAD:
        run.status = BLK_UNREADABLE;
        run.len = table_rest(s->g, off, run.table, 0);
        run.why = table.why;
        break;
    }
    made_buf_put(table.buf);
    *out = run;
    return 0;
}

static int unreadable(const struct sparse *s, const struct run *run, uint64_t off,
                      struct vd_err *err)
{
    int rc;

    if (run->gte)
        rc = vd_fail(err, VD_ECORRUPT,
                     "%s: grain table %" PRIu64 ": the entry 0x%08" PRIx32 " of grain %" PRIu64
                     " %s (disk offset %" PRIu64 ")",
                     s->file->label, run->table, run->gte, run->grain, run->why, off);
    else
        rc = vd_fail(err, VD_ECORRUPT, "%s: grain table %" PRIu64 ": %s (disk offset %" PRIu64 ")",
                     s->file->label, run->table, run->why, off);
    return vd_at(err, rc, off);
}

/* ---- compressed grains ---- */

struct grain_ctx {
    const struct sparse *s;
    uint64_t grain;
    uint32_t gte;
};

/* Inflates into `dst`, which has the bytes of the disk that the grain stands for: all of it, or
 * less in the last grain, whose compressed form may hold a whole one. */
static int inflate_exactly(const struct sparse *s, const uint8_t *src, size_t src_len, uint8_t *dst,
                           size_t len, struct vd_err *err)
{
    VD_AUTO(free) uint8_t *whole = NULL;
    size_t n = 0;
    int rc;

    if (len < s->g->grain) {
        whole = malloc(s->g->grain);
        if (!whole)
            return vd_fail(err, VD_ENOMEM, "out of memory");
    }
    rc = vmdk_grain_inflate(src, src_len, whole ? whole : dst, (size_t)s->g->grain, &n, err);
    if (rc)
        return rc;
    if (n < len)
        return vd_fail(err, VD_ECORRUPT, "the compressed grain gives %zu of %zu bytes", n, len);
    if (whole)
        memcpy(dst, whole, len);
    return 0;
}

static int make_grain_from(const struct grain_ctx *c, uint8_t *dst, size_t len, struct vd_err *err)
{
    const struct vmdk_geometry *g = c->s->g;
    uint64_t off = (uint64_t)c->gte * VMDK_SECTOR;
    size_t header_len = g->markers ? VMDK_GRAIN_HEADER_MARKER : VMDK_GRAIN_HEADER_PLAIN;
    uint8_t bytes[VMDK_GRAIN_HEADER_MARKER];
    VD_AUTO(free) uint8_t *src = NULL;
    struct vmdk_grain_header h;
    int rc;

    if (!vd_range_inside(off, header_len, g->file_size))
        return vd_fail(err, VD_ECORRUPT, "the file ends inside the grain's header");
    rc = blk_read(c->s->file, off, bytes, header_len, err);
    if (rc)
        return rc;
    vmdk_grain_header_decode(bytes, g->markers, &h);
    rc = vmdk_grain_header_validate(&h, c->grain * (g->grain / VMDK_SECTOR), g->grain, err);
    if (rc)
        return rc;
    if (!vd_range_inside(off + header_len, h.data_size, g->file_size))
        return vd_fail(err, VD_ECORRUPT, "the file ends inside the grain's data");
    src = malloc(h.data_size);
    if (!src)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    rc = blk_read(c->s->file, off + header_len, src, h.data_size, err);
    return rc ? rc : inflate_exactly(c->s, src, h.data_size, dst, len, err);
}

static int make_grain(void *ctx, uint64_t key, void *buf, size_t len, struct vd_err *err)
{
    const struct grain_ctx *c = ctx;
    int rc = make_grain_from(c, buf, len, err);

    (void)key;
    return vd_prefix(err, rc, "%s: grain %" PRIu64 " (sector %" PRIu32 " of the file)",
                     c->s->file->label, c->grain, c->gte);
}

/* Bytes of one compressed grain; [off, off+len) lies inside it. */
static int read_compressed(struct sparse *s, const struct run *run, uint64_t off, void *buf,
                           size_t len, struct vd_err *err)
{
    struct grain_ctx ctx = {s, run->grain, run->gte};
    struct made_buf *grain = NULL;
    int rc =
        made_cache_get(s->grains, vmdk_grain_key(s->extent, run->grain),
                       (size_t)vmdk_grain_bytes(s->g, run->grain), make_grain, &ctx, &grain, err);

    if (rc)
        return vd_at(err, rc, off);
    memcpy(buf, (const uint8_t *)made_buf_bytes(grain) + off % s->g->grain, len);
    made_buf_put(grain);
    return 0;
}

/* ---- the layer ---- */

static int read_plain(struct sparse *s, const struct run *run, uint64_t off, void *buf, size_t len,
                      struct vd_err *err)
{
    int rc = blk_read(s->file, run->file_off, buf, len, err);

    if (rc && err && err->has_offset && err->offset >= run->file_off)
        err->offset = err->offset - run->file_off + off;
    return rc;
}

static int sparse_read_at(struct blkdev *dev, uint64_t off, void *buf, size_t len,
                          struct vd_err *err)
{
    struct sparse *s = dev->priv;
    uint8_t *p = buf;

    while (len) {
        struct run run;
        size_t n;
        int rc = sparse_find(s, off, len, &run, err);

        if (rc)
            return rc;
        n = (size_t)vd_min(len, run.len);
        if (run.status == BLK_DATA && s->g->compressed) {
            n = (size_t)vd_min(n, s->g->grain - off % s->g->grain);
            rc = read_compressed(s, &run, off, p, n, err);
        } else if (run.status == BLK_DATA) {
            rc = read_plain(s, &run, off, p, n, err);
        } else if (run.status == BLK_UNREADABLE) {
            rc = unreadable(s, &run, off, err);
        } else {
            memset(p, 0, n);
        }
        if (rc)
            return rc;
        p += n;
        off += n;
        len -= n;
    }
    return 0;
}

static int sparse_map(struct blkdev *dev, uint64_t off, uint64_t max_len, struct blk_extent *out,
                      struct vd_err *err)
{
    struct sparse *s = dev->priv;
    struct run run;
    int rc = sparse_find(s, off, max_len, &run, err);

    if (rc)
        return rc;
    *out = (struct blk_extent){.len = vd_min(run.len, max_len), .status = run.status};
    if (run.status == BLK_DATA && !s->g->compressed) {
        out->child = s->file;
        out->child_off = run.file_off;
    }
    return 0;
}

static void sparse_describe(struct blkdev *dev, vd_fact_fn *fn, void *ctx)
{
    struct sparse *s = dev->priv;

    vmdk_tables_describe(s->tables, fn, ctx);
    if (s->g->compressed && !s->g->markers)
        fn(ctx, s->file->label, VD_FACT_WARNING, "grain_address",
           "compressed grains carry no sector address in this file: whether each one stands where "
           "its table entry says cannot be checked");
}

static int sparse_check(struct blkdev *dev, const struct check *check, struct vd_err *err)
{
    struct sparse *s = dev->priv;

    return vmdk_tables_check(s->tables, check, err);
}

static void sparse_close(struct blkdev *dev)
{
    struct sparse *s = dev->priv;

    if (!s)
        return;
    vmdk_tables_free(s->tables);
    made_cache_unref(s->grains);
    free(s);
}

static const struct blk_type sparse_type = {
    .name = "vmdk-sparse",
    .read_at = sparse_read_at,
    .map = sparse_map,
    .describe = sparse_describe,
    .check = sparse_check,
    .close = sparse_close,
};

int vmdk_sparse_new_geometry(struct blkdev *file, const struct vmdk_geometry *g,
                             const struct vmdk_header *h, unsigned extent,
                             struct vmdk_shared *shared, struct blkdev **out, struct vd_err *err)
{
    VD_AUTO(blk) struct blkdev *dev = NULL;
    struct sparse *s = calloc(1, sizeof(*s));
    int rc;

    if (!s)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    s->file = file;
    s->extent = extent;
    rc = blk_new(&sparse_type, g->capacity, "", s, &dev, err);
    if (rc) {
        free(s);
        return rc;
    }
    dev->read_unit = (uint32_t)g->grain;
    if (g->compressed)
        s->grains = made_cache_ref(shared->grains);
    rc = vmdk_tables_new(file, g, h, extent, shared, &s->tables, err);
    if (rc)
        return vd_prefix(err, rc, "%s", file->label);
    s->g = vmdk_tables_geometry(s->tables);
    rc = blk_add_child(dev, file, err);
    if (rc)
        return rc;
    *out = vd_take(&dev);
    return 0;
}

int vmdk_sparse_new(struct blkdev *file, const struct vmdk_header *h, unsigned extent,
                    struct vmdk_shared *shared, struct blkdev **out, struct vd_err *err)
{
    struct vmdk_geometry g;

    vmdk_geometry_init(h, file->size, &g);
    return vmdk_sparse_new_geometry(file, &g, h, extent, shared, out, err);
}

/* ---- header and footer ---- */

/* The last sector of the file that is not all zeros: a multiple of 512, searched back as far as
 * FOOTER_SEARCH_MAX. */
static int last_used_sector(struct blkdev *file, uint64_t *out_off, struct vd_err *err)
{
    uint8_t bytes[VMDK_SECTOR];
    uint64_t off = vd_div_up(file->size, VMDK_SECTOR) * VMDK_SECTOR;
    uint64_t stop = off > FOOTER_SEARCH_MAX ? off - FOOTER_SEARCH_MAX : VMDK_SECTOR;

    while (off > stop) {
        size_t n;
        int rc;

        off -= VMDK_SECTOR;
        n = (size_t)vd_min(VMDK_SECTOR, file->size - off);
        rc = blk_read(file, off, bytes, n, err);
        if (rc)
            return rc;
        if (!vd_all_zero(bytes, n)) {
            *out_off = off;
            return 0;
        }
    }
    return vd_fail(err, VD_ECORRUPT, "footer: not found at the end of the file");
}

/* Does the grain directory lie where the footer says?  Its marker stands before it: a wrong place,
 * even one with zeros, is found out. */
static int check_footer_dir(struct blkdev *file, const struct vmdk_header *footer,
                            uint64_t footer_off, struct vd_err *err)
{
    uint64_t off, bytes = vmdk_header_gd_entries(footer) * 4;
    struct vmdk_marker marker;
    uint8_t sector[VMDK_SECTOR];
    int rc;

    if (!vd_mul(footer->gd_off_sectors, VMDK_SECTOR, &off) || off <= VMDK_SECTOR ||
        !vd_range_inside(off, bytes, footer_off))
        return vd_fail(err, VD_ECORRUPT,
                       "footer: the grain directory (%" PRIu64 " bytes at sector %" PRIu64
                       ") does not lie before the footer",
                       bytes, footer->gd_off_sectors);
    if (!(footer->flags & VMDK_FLAG_MARKERS))
        return 0;
    rc = blk_read(file, off - VMDK_SECTOR, sector, sizeof(sector), err);
    if (rc)
        return rc;
    vmdk_marker_decode(sector, sizeof(sector), &marker);
    if (marker.kind != VMDK_MARKER_DIR)
        return vd_fail(err, VD_ECORRUPT,
                       "footer: no grain directory marker before sector %" PRIu64
                       ", where the directory should be",
                       footer->gd_off_sectors);
    return 0;
}

/* *out_differs: a sound footer stands there and says something else than the header. */
static int decode_footer(const uint8_t *bytes, uint64_t off, const struct vmdk_header *header,
                         struct vmdk_header *out, bool *out_differs, struct vd_err *err)
{
    struct vmdk_marker marker;
    int rc;

    vmdk_marker_decode(bytes, VMDK_SECTOR, &marker);
    if (marker.kind != VMDK_MARKER_FOOTER)
        return vd_fail(err, VD_ECORRUPT,
                       "footer: no footer marker before sector %" PRIu64
                       ", the last one in use: the stream is cut or was never completed",
                       off / VMDK_SECTOR);
    rc = vmdk_header_decode(bytes + VMDK_SECTOR, VMDK_SECTOR, out, err);
    if (rc)
        return vd_prefix(err, rc, "footer");
    rc = vmdk_footer_validate(header, out, err);
    *out_differs = rc && out->gd_off_sectors != VMDK_GD_AT_END && !vmdk_header_validate(out, NULL);
    return rc;
}

/* The footer of a stream: marker, footer, end-of-stream marker (VDF 5.0: "the last two sectors"). */
static int read_footer(struct blkdev *file, const struct vmdk_header *header,
                       struct vmdk_header *out, bool *out_differs, struct vd_facts *facts,
                       struct vd_err *err)
{
    uint8_t bytes[2 * VMDK_SECTOR];
    uint64_t off = 0, behind;
    int rc = last_used_sector(file, &off, err);

    if (rc)
        return rc;
    if (off < UINT64_C(2) * VMDK_SECTOR || !vd_range_inside(off, VMDK_SECTOR, file->size))
        return vd_fail(err, VD_ECORRUPT, "footer: the file ends before it");
    rc = blk_read(file, off - VMDK_SECTOR, bytes, sizeof(bytes), err);
    if (rc == 0)
        rc = decode_footer(bytes, off, header, out, out_differs, err);
    if (rc == 0)
        rc = check_footer_dir(file, out, off, err);
    if (rc)
        return rc;
    behind = file->size - off - VMDK_SECTOR;
    if (behind < VMDK_SECTOR)
        vd_fact_add(facts, VD_FACT_WARNING, "stream_end",
                    "%s: the end-of-stream marker is missing or cut", file->label);
    else if (behind > VMDK_SECTOR)
        vd_fact_add(facts, VD_FACT_INFO, "stream_end",
                    "%s: %" PRIu64 " bytes of zeros stand behind the end-of-stream marker",
                    file->label, behind - VMDK_SECTOR);
    vd_fact_add(facts, VD_FACT_INFO, "footer",
                "%s: the grain directory is named by the footer at offset %" PRIu64, file->label,
                off);
    return 0;
}

/* Takes over what the footer says.  A stream whose footer is lost can still be followed by its markers
 * (tables_open.c): its directory offset stays VMDK_GD_AT_END.  A footer that contradicts the header is
 * refused: one of them would give another disk, and nothing tells which. */
static int follow_footer(struct blkdev *file, struct vmdk_header *header, struct vd_facts *facts,
                         struct vd_err *err)
{
    struct vd_err why = VD_ERR_INIT;
    struct vmdk_header footer;
    bool differs = false;
    int rc = read_footer(file, header, &footer, &differs, facts, &why);

    if (rc && (rc == -VD_ENOMEM || differs || !(header->flags & VMDK_FLAG_MARKERS))) {
        if (err)
            *err = why;
        return rc;
    }
    if (rc) {
        vd_fact_add(facts, VD_FACT_WARNING, "footer",
                    "%s: %s; the grains are looked for by following the stream from its start",
                    file->label, why.msg);
        header->rgd_off_sectors = 0;
        return 0;
    }
    header->gd_off_sectors = footer.gd_off_sectors;
    header->rgd_off_sectors = footer.rgd_off_sectors;
    header->flags = footer.flags;
    return 0;
}

static int read_header(struct blkdev *file, struct vmdk_header *out, struct vd_err *err)
{
    uint8_t bytes[VMDK_HEADER_SIZE] = {0};
    size_t len = (size_t)vd_min(sizeof(bytes), file->size);
    struct vmdk_header header;
    int rc = blk_read(file, 0, bytes, len, err);

    if (rc)
        return rc;
    rc = vmdk_header_decode(bytes, len, &header, err);
    if (rc == 0 && header.capacity_sectors)
        rc = vmdk_header_validate(&header, err);
    if (rc == 0)
        *out = header;
    return rc;
}

/* Every message about the file begins with its name; the medium's errors have it already. */
static int named(const struct blkdev *file, int rc, const struct vd_err *below, struct vd_err *err)
{
    if (rc && err) {
        *err = *below;
        if (below->cls != VD_EIO)
            (void)vd_prefix(err, rc, "%s", file->label);
    }
    return rc;
}

int vmdk_sparse_peek(struct blkdev *file, struct vmdk_header *out, struct vd_err *err)
{
    struct vd_err below = VD_ERR_INIT;

    return named(file, read_header(file, out, &below), &below, err);
}

int vmdk_sparse_header(struct blkdev *file, struct vmdk_header *out, struct vd_facts *facts,
                       struct vd_err *err)
{
    struct vd_err below = VD_ERR_INIT;
    struct vmdk_header header;
    int rc = read_header(file, &header, &below);

    if (rc == 0)
        vmdk_header_report(&header, file->label, facts);
    if (rc == 0 && header.capacity_sectors && header.gd_off_sectors == VMDK_GD_AT_END)
        rc = follow_footer(file, &header, facts, &below);
    if (rc == 0)
        *out = header;
    return named(file, rc, &below, err);
}
