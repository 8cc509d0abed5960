/* SPDX-License-Identifier: Apache-2.0 */
/* See esx_build.h.  Written from the documents, independent of the decoders. */
#include "esx_build.h"

#include "base/bytes.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECTOR 512u

void eb_random(struct wr_spec *spec, uint64_t size, uint64_t seed)
{
    spec->size = size;
    spec->runs = wr_random_runs(spec, &seed, 30, &spec->n_runs);
}

void eb_free_runs(struct wr_spec *spec)
{
    void *runs;

    memcpy(&runs, &spec->runs, sizeof(runs)); /* it was made here, const or not */
    free(runs);
    spec->runs = NULL;
    spec->n_runs = 0;
}

/* ---- what is wanted ---- */

void eb_want(const struct wr_spec *tip, struct eb_want *out)
{
    out->size = tip->size;
    out->bytes = calloc(1, tip->size);
    out->bad = calloc(1, tip->size / SECTOR);
    assert_true(out->bytes && out->bad);
    wr_expect(tip, 0, out->bytes, tip->size, out->bad);
}

void eb_want_from(struct eb_want *want, const struct wr_spec *tip, uint64_t off, uint64_t len)
{
    if (len > want->size - off)
        len = want->size - off;
    memset(want->bytes + off, 0, len);
    memset(want->bad + off / SECTOR, 0, len / SECTOR);
    if (tip)
        wr_expect(tip, off, want->bytes + off, len, want->bad + off / SECTOR);
}

void eb_want_bad(struct eb_want *want, uint64_t off, uint64_t len)
{
    if (len > want->size - off)
        len = want->size - off;
    memset(want->bad + off / SECTOR, 1, len / SECTOR);
}

void eb_want_free(struct eb_want *want)
{
    free(want->bytes);
    free(want->bad);
    *want = (struct eb_want){0};
}

/* One read: right, or failed at the first bad sector. */
static void check_read(struct blkdev *disk, const struct eb_want *want, uint64_t off, size_t len,
                       uint8_t *buf)
{
    struct vd_err err = VD_ERR_INIT;
    uint64_t s = off / SECTOR, end = (off + len + SECTOR - 1) / SECTOR;
    int rc;

    while (s < end && !want->bad[s])
        s++;
    rc = blk_read(disk, off, buf, len, &err);
    if (s == end) {
        if (rc)
            fail_msg("a read of %zu at %llu failed: %s", len, (unsigned long long)off, err.msg);
        assert_memory_equal(buf, want->bytes + off, len);
        return;
    }
    if (rc != -VD_ECORRUPT && rc != -VD_EIO)
        fail_msg("a read of %zu at %llu over a bad sector: %d %s", len, (unsigned long long)off, rc,
                 err.msg);
    assert_true(err.has_offset);
    assert_int_equal(err.offset, s * SECTOR > off ? s * SECTOR : off);
}

static void check_map(struct blkdev *disk, const struct eb_want *want)
{
    struct vd_err err = VD_ERR_INIT;
    struct blk_extent ext;
    uint64_t off, s;

    for (off = 0; off < want->size; off += ext.len) {
        assert_ok(blk_map(disk, off, UINT64_MAX, &ext, &err));
        for (s = off / SECTOR; s < (off + ext.len) / SECTOR; s++) {
            if (want->bad[s] != (ext.status == BLK_UNREADABLE))
                fail_msg("the map says %d at sector %llu", ext.status, (unsigned long long)s);
            if (ext.status == BLK_ZEROS || ext.status == BLK_ABSENT)
                assert_true(vd_all_zero(want->bytes + s * SECTOR, SECTOR));
        }
    }
}

/* Does what can be read begin or end at this sector? */
static bool at_edge(const struct eb_want *want, uint64_t s)
{
    return (s > 0 && want->bad[s - 1] != want->bad[s]) ||
           (s + 1 < want->size / SECTOR && want->bad[s + 1] != want->bad[s]);
}

void eb_check(struct blkdev *disk, const struct eb_want *want)
{
    static uint8_t buf[70000];
    uint64_t state = 1, off;
    int i;

    assert_int_equal(disk->size, want->size);
    for (off = 0; off < want->size; off += SECTOR)
        if (off / SECTOR % 16 == 0 || at_edge(want, off / SECTOR))
            check_read(disk, want, off, SECTOR, buf);
    for (off = 0; off < want->size; off += 65536)
        check_read(disk, want, off, want->size - off < 65536 ? want->size - off : 65536, buf);
    for (i = 0; i < 300; i++) {
        size_t len = 1 + wr_below(&state, sizeof(buf));

        off = wr_below(&state, want->size);
        check_read(disk, want, off, len < want->size - off ? len : want->size - off, buf);
    }
    check_map(disk, want);
}

/* ---- opening ---- */

int eb_open(struct wr_dir *dir, const char *name, struct chain **chain, struct blkdev **out,
            struct vd_err *err)
{
    struct blk_source source = {0};
    int rc;

    wr_source(dir, &source);
    rc = chain_open(&source, name, NULL, chain, err);
    if (rc == 0)
        rc = chain_point(*chain, 0, out, err);
    return rc;
}

struct wanted_fact {
    enum vd_fact_kind kind;
    const char *text;
    bool found;
};

static void look_at_fact(void *ctx, const char *layer, enum vd_fact_kind kind, const char *key,
                         const char *value)
{
    struct wanted_fact *w = ctx;

    (void)layer;
    (void)key;
    w->found = w->found || (kind == w->kind && test_contains(value, w->text));
}

bool eb_has_fact(const struct chain *chain, size_t i, enum vd_fact_kind kind, const char *text)
{
    struct wanted_fact w = {kind, text, false};

    vd_facts_each(&chain->v[i]->facts, "", look_at_fact, &w);
    blk_describe(chain->v[i]->dev, look_at_fact, &w);
    return w.found;
}

/* ---- the structural check ---- */

static void on_finding(void *ctx, enum check_level level, const char *id, const char *file,
                       const struct check_place *place, const char *text)
{
    struct eb_report *r = ctx;
    size_t used = strlen(r->text);

    (void)file;
    (void)place;
    (void)text;
    (void)snprintf(r->text + used, sizeof(r->text) - used, "%d %s\n", (int)level, id);
}

static void on_count(void *ctx, const char *file, const char *what, uint64_t n)
{
    struct eb_report *r = ctx;
    size_t used = strlen(r->text);

    (void)file;
    (void)snprintf(r->text + used, sizeof(r->text) - used, "%s=%llu\n", what,
                   (unsigned long long)n);
}

void eb_run_check(struct wr_dir *dir, const char *name, struct eb_report *out)
{
    const struct check check = {on_finding, on_count, out};
    struct vd_err err = VD_ERR_INIT;
    struct chain *chain = NULL;
    struct blkdev *disk = NULL;

    out->text[0] = '\0';
    assert_ok(eb_open(dir, name, &chain, &disk, &err));
    assert_ok(blk_check(chain->v[0]->dev, &check, &err));
    blk_unref(disk);
    chain_free(chain);
}

unsigned eb_count_of(const struct eb_report *report, const char *line)
{
    const char *at = report->text;
    unsigned n = 0;

    while ((at = strstr(at, line)) != NULL) {
        n++;
        at++;
    }
    return n;
}

/* ---- files with holes ---- */

void eb_file_open(struct eb_file *file, const char *name)
{
    struct vd_err err = VD_ERR_INIT;
    char path[4096];

    file->dir = test_tmpdir();
    (void)snprintf(path, sizeof(path), "%s/%s", file->dir, name);
    file->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(file->fd >= 0);
    assert_ok(evidence_dir_source((const char *const[]){file->dir}, 1, &file->source, &err));
}

void eb_file_close(struct eb_file *file)
{
    evidence_dir_source_free(&file->source);
    (void)close(file->fd);
    test_rmdir(file->dir);
}

void eb_put(struct eb_file *file, uint64_t off, const void *bytes, size_t len)
{
    assert_int_equal(pwrite(file->fd, bytes, len, (off_t)off), len);
}

void eb_put_le(struct eb_file *file, uint64_t off, unsigned width, uint64_t value)
{
    uint8_t bytes[8];

    vd_put_le64(bytes, value);
    eb_put(file, off, bytes, width);
}

void eb_size(struct eb_file *file, uint64_t size)
{
    assert_int_equal(ftruncate(file->fd, (off_t)size), 0);
}

void eb_cowd_header(struct eb_file *file, uint32_t capacity_sectors, uint32_t grain_sectors)
{
    uint64_t table = (uint64_t)grain_sectors * 4096;
    const uint64_t fields[] = {
        1, 3, capacity_sectors, grain_sectors, 4, (capacity_sectors + table - 1) / table,
    };
    size_t i;

    eb_put(file, 0, "COWD", 4);
    for (i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        eb_put_le(file, 4 + 4 * i, 4, fields[i]);
}

static uint64_t round_up(uint64_t sectors)
{
    return (sectors + 2047) / 2048 * 2048;
}

void eb_se_headers(struct eb_file *file, uint64_t capacity_sectors, struct eb_se *out)
{
    uint64_t n_grains = (capacity_sectors + 7) / 8, n_tables = (n_grains + 4095) / 4096;
    const uint64_t sizes[] = {
        2048,                         /* journal */
        round_up(n_tables * 8 / 512), /* directory */
        round_up(n_tables * 64),      /* tables */
        round_up(n_grains / 8 / 512), /* free bitmap */
        round_up(n_grains * 8 / 512), /* back map */
        n_grains * 8,                 /* grains */
    };
    const uint64_t fields[] = {
        0xcafebabe, 0x200000001, capacity_sectors, 8, 64, 0, 0, 0, 0, 0, 1, 1, 2, 2};
    uint64_t at = 2048;
    size_t i;

    for (i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        eb_put_le(file, 8 * i, 8, fields[i]);
    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint64_t size = sizes[i] ? sizes[i] : 2048;

        eb_put_le(file, 112 + 16 * i, 8, at);
        eb_put_le(file, 120 + 16 * i, 8, size);
        if (i == 1)
            out->dir_off = at * SECTOR;
        if (i == 2)
            out->tables_off = at * SECTOR;
        if (i == 5)
            out->grains_off = at * SECTOR;
        at += size;
    }
    eb_put_le(file, SECTOR, 8, 0xcafecafe);
    eb_size(file, out->grains_off);
}

uint64_t eb_se_gde(uint64_t number)
{
    return UINT64_C(0x1000000000000000) | number;
}

uint64_t eb_se_gte(uint64_t number)
{
    return UINT64_C(0x3000000000000000) | (number & 0xfff) << 48 | number >> 12;
}
