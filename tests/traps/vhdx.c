/* SPDX-License-Identifier: Apache-2.0 */
/* What implementations of VHDX get wrong, one test each.  Files come from the writers (tests/lib/
 * writers) and, where one field is the point, from tests/evil/vhd/build.c; both are written from
 * [MS-VHDX], and the writers' model says what a disk must read as. */
#include "traps.h"

#include "../evil/vhd/build.h"
#include "base/bytes.h"
#include "base/range.h"
#include "image/chain.h"
#include "writers.h"

#include <stdlib.h>

#define MIB  (UINT64_C(1) << 20)
#define GIB  (UINT64_C(1) << 30)
#define H1   ((size_t)64 << 10)
#define H2   ((size_t)128 << 10)
#define R1   ((size_t)192 << 10)
#define R2   ((size_t)256 << 10)
#define N(v) (sizeof(v) / sizeof((v)[0]))

/* ---- a chain and what it must read as ---- */

static int open_chain(struct wr_dir *dir, const char *name, struct chain **out, struct vd_err *err)
{
    struct blk_source source;

    wr_source(dir, &source);
    *out = NULL;
    return chain_open(&source, name, NULL, out, err);
}

static void expect_bytes(struct blkdev *dev, const struct wr_spec *tip, uint64_t off, uint64_t len)
{
    struct vd_err err = VD_ERR_INIT;
    uint8_t *want, *got;

    len = vd_min(len, dev->size - off);
    want = malloc((size_t)len);
    got = malloc((size_t)len);
    wr_expect(tip, off, want, len, NULL);
    assert_ok(blk_read(dev, off, got, (size_t)len, &err));
    if (memcmp(want, got, (size_t)len) != 0)
        fail_msg("%s: other bytes at %llu+%llu", tip->name, (unsigned long long)off,
                 (unsigned long long)len);
    free(want);
    free(got);
}

/* Around every border of the specs, across every border of the map, and small disks in full. */
static void expect_disk(struct blkdev *dev, const struct wr_spec *tip)
{
    const struct wr_spec *spec;
    struct vd_err err = VD_ERR_INIT;
    struct blk_extent ext;
    uint64_t off;
    size_t i;

    assert_int_equal(dev->size, tip->size);
    for (off = 0; tip->size <= 64 * MIB && off < tip->size; off += 3 * MIB + 512)
        expect_bytes(dev, tip, off, 3 * MIB + 512);
    for (spec = tip; spec; spec = spec->parent)
        for (i = 0; i < spec->n_runs; i++) {
            uint64_t start = spec->runs[i].off, end = start + spec->runs[i].len;

            if (start < tip->size)
                expect_bytes(dev, tip, start - vd_min(start, 1536), 4096);
            if (end < tip->size)
                expect_bytes(dev, tip, end - vd_min(end, 1536), 4096);
        }
    for (off = 0; off < tip->size; off += ext.len) {
        assert_ok(blk_map(dev, off, tip->size, &ext, &err));
        expect_bytes(dev, tip, off - vd_min(off, 700), 1500);
    }
}

static void expect_chain(struct wr_dir *dir, const struct wr_spec *tip, const char *warning)
{
    struct blkdev *dev = NULL;
    struct vd_err err = VD_ERR_INIT;
    struct chain *chain;

    assert_ok(open_chain(dir, tip->name, &chain, &err));
    assert_ok(chain_point(chain, 0, &dev, &err));
    expect_disk(dev, tip);
    if (warning && !has_warning(chain->v[0], warning))
        fail_msg("%s: not said: %s", tip->name, warning);
    blk_unref(dev);
    chain_free(chain);
}

static void expect_spec(const struct wr_spec *tip, const char *warning)
{
    struct wr_dir dir = {0};

    wr_build_chain(tip, &dir);
    expect_chain(&dir, tip, warning);
    wr_dir_clear(&dir);
}

static void refused(struct wr_dir *dir, const struct wr_spec *tip, enum vd_class cls,
                    const char *text)
{
    struct vd_err err = VD_ERR_INIT;
    struct chain *chain;

    assert_fails(open_chain(dir, tip->name, &chain, &err), cls, text);
}

/* Exactly [from, to) of the tip's disk cannot be read; the rest is right. */
static void expect_lost(struct wr_dir *dir, const struct wr_spec *tip, uint64_t from, uint64_t to,
                        const char *why)
{
    struct vd_err err = VD_ERR_INIT;
    struct blkdev *dev = NULL;
    struct chain *chain;
    uint8_t buf[1024];
    uint64_t off;

    assert_ok(open_chain(dir, tip->name, &chain, &err));
    assert_ok(chain_point(chain, 0, &dev, &err));
    for (off = 0; off < tip->size; off += 64 << 10) {
        struct blk_extent ext;

        assert_ok(blk_map(dev, off, 512, &ext, &err));
        assert_int_equal(ext.status == BLK_UNREADABLE, off >= from && off < to);
        if (off < from || off >= to)
            expect_bytes(dev, tip, off, 512);
        else
            assert_fails(blk_read(dev, off, buf, 512, &err), VD_ECORRUPT, why);
    }
    if (to < tip->size) {
        expect_bytes(dev, tip, to, 512);
        assert_fails(blk_read(dev, to - 512, buf, 1024, &err), VD_ECORRUPT, why);
        assert_int_equal(err.offset, to - 512);
    }
    blk_unref(dev);
    chain_free(chain);
}

static void set_mark(struct wr_file *file, const char *name, uint64_t index, uint64_t value)
{
    wr_set(file, wr_mark_named(file, name, index), value);
    wr_fix_checksums(file);
}

/* ---- 26 ---- */

/* A bitmap entry stands after every chunk of payload entries in fixed and dynamic files too; the chunk
 * is 2^23 sectors, whatever the block and sector size. */
static void trap_26_bitmap_entries_interleaved(void **state)
{
    static const struct wr_run small[] = {
        {.off = 0, .len = MIB, .state = WR_DATA, .seed = 1},
        {.off = 4 * GIB - MIB, .len = 4 * MIB, .state = WR_DATA, .seed = 2},
        {.off = 8 * GIB - MIB, .len = MIB, .state = WR_DATA, .seed = 3},
        {.off = 12 * GIB + MIB, .len = MIB, .state = WR_DATA, .seed = 4}};
    static const struct wr_run large[] = {
        {.off = 32 * GIB - MIB, .len = 2 * MIB, .state = WR_DATA, .seed = 5},
        {.off = 64 * GIB, .len = MIB, .state = WR_DATA, .seed = 6}};
    static const struct wr_run blocks[] = {
        {.off = 4 * GIB - 4 * MIB, .len = 8 * MIB, .state = WR_DATA, .seed = 7}};
    const struct wr_spec specs[] = {{.kind = WR_VHDX_DYNAMIC,
                                     .name = "a.vhdx",
                                     .size = 12 * GIB + 3 * MIB,
                                     .id = 1,
                                     .runs = small,
                                     .n_runs = N(small)},
                                    {.kind = WR_VHDX_DYNAMIC,
                                     .name = "b.vhdx",
                                     .size = 64 * GIB + MIB,
                                     .sector = 4096,
                                     .id = 2,
                                     .runs = large,
                                     .n_runs = N(large)},
                                    {.kind = WR_VHDX_DYNAMIC,
                                     .name = "c.vhdx",
                                     .size = 5 * GIB,
                                     .unit = 4 << 20,
                                     .id = 3,
                                     .runs = blocks,
                                     .n_runs = 1,
                                     .knobs = {.shuffle = 9}}};
    struct wr_dir dir = {0};
    size_t i;

    (void)state;
    for (i = 0; i < N(specs); i++) {
        expect_spec(&specs[i], NULL);
        (void)wr_build(&specs[i], &dir);
        set_mark(dir.files[0], "params.flags", 0, 1); /* the same as a fixed file */
        expect_chain(&dir, &specs[i], NULL);
        wr_dir_clear(&dir);
    }
}

/* ---- 27 ---- */

static const struct wr_run whole_disk[] = {{.off = 0, .len = 8 * MIB, .state = WR_DATA, .seed = 9}};

static void trap_27_block_states(void **state)
{
    static const struct wr_run runs[] = {
        {.off = 1 * MIB, .len = MIB, .state = WR_ZEROS},
        {.off = 2 * MIB, .len = MIB, .state = WR_UNMAPPED},
        {.off = 3 * MIB, .len = MIB, .state = WR_UNDEFINED},
        {.off = 4 * MIB, .len = MIB, .state = WR_DATA, .seed = 4},
        {.off = 6 * MIB, .len = 2 * MIB, .state = WR_DATA, .seed = 6}};
    const struct wr_spec base = {.kind = WR_VHDX_DYNAMIC,
                                 .name = "base.vhdx",
                                 .size = 8 * MIB,
                                 .id = 1,
                                 .runs = whole_disk,
                                 .n_runs = 1};
    struct wr_spec child = {.kind = WR_VHDX_DIFF,
                            .name = "child.avhdx",
                            .size = 8 * MIB,
                            .id = 2,
                            .runs = runs,
                            .n_runs = N(runs),
                            .parent = &base};
    struct wr_spec alone = {.kind = WR_VHDX_DYNAMIC,
                            .name = "alone.vhdx",
                            .size = 8 * MIB,
                            .id = 3,
                            .runs = runs,
                            .n_runs = N(runs)};
    struct wr_dir dir = {0};
    struct wr_file *file;
    uint64_t value;

    (void)state;
    expect_spec(&child, "the content of 1 blocks is undefined");
    expect_spec(&alone, "the content of 1 blocks is undefined");
    wr_build_chain(&child, &dir);
    file = wr_file_named(&dir, "child.avhdx");
    for (value = 4; value <= 5; value++) { /* reserved; 5 is what the draft 0.95 called UNMAPPED */
        set_mark(file, "bat", 6, value);
        expect_lost(&dir, &child, 6 * MIB, 7 * MIB, "is reserved");
    }
    set_mark(file, "bat", 6, 0x100000 | 8); /* a reserved bit, in a state of zeros */
    expect_lost(&dir, &child, 6 * MIB, 7 * MIB, "reserved bits are set");
    wr_dir_clear(&dir);
    (void)wr_build(&alone, &dir);
    file = wr_file_named(&dir, "alone.vhdx");
    value = wr_get(file, wr_mark_named(file, "bat", 6));
    set_mark(file, "bat", 6, value | 1); /* partially present, but there is no parent */
    expect_lost(&dir, &alone, 6 * MIB, 7 * MIB, "partially present in a file that has no parent");
    wr_dir_clear(&dir);
}

/* ---- 28 ---- */

/* Sectors, bytes and longer runs of both kinds, in blocks of two chunks. */
static const struct wr_run mixed[] = {
    {.off = 512, .len = 512, .state = WR_DATA, .seed = 31},
    {.off = 7 * 512, .len = 2 * 512, .state = WR_DATA, .seed = 32},
    {.off = 64 * 512, .len = 512 * 512, .state = WR_DATA, .seed = 33},
    {.off = 2 * MIB, .len = MIB - 512, .state = WR_DATA, .seed = 34},
    {.off = 3 * MIB + 512, .len = 2 * MIB, .state = WR_DATA, .seed = 35},
    {.off = 4 * GIB - 1024, .len = 2048, .state = WR_DATA, .seed = 36},
    {.off = 4 * GIB + 5 * MIB + 3 * 512, .len = 512, .state = WR_DATA, .seed = 37}};

static void trap_28_partially_present(void **state)
{
    static const struct wr_run below[] = {
        {.off = 0, .len = 6 * MIB, .state = WR_DATA, .seed = 41},
        {.off = 4 * GIB - 2 * MIB, .len = 9 * MIB, .state = WR_DATA, .seed = 42}};
    static const struct wr_run wholes[] = {{.off = MIB, .len = MIB, .state = WR_DATA, .seed = 43}};
    static const struct wr_run near[] = {
        {.off = 0, .len = 1536, .state = WR_DATA, .seed = 44},
        {.off = MIB, .len = MIB, .state = WR_DATA, .seed = 45},
        {.off = 3 * MIB - 512, .len = 512, .state = WR_DATA, .seed = 46}};
    const struct wr_spec base = {.kind = WR_VHDX_DYNAMIC,
                                 .name = "base.vhdx",
                                 .size = 4 * GIB + 8 * MIB,
                                 .id = 1,
                                 .runs = below,
                                 .n_runs = N(below)};
    const struct wr_spec base2 = {.kind = WR_VHDX_DYNAMIC,
                                  .name = "base2.vhdx",
                                  .size = 4 * MIB,
                                  .id = 3,
                                  .runs = whole_disk,
                                  .n_runs = 1};
    struct wr_spec child = {.kind = WR_VHDX_DIFF,
                            .name = "child.avhdx",
                            .size = base.size,
                            .id = 2,
                            .runs = mixed,
                            .n_runs = N(mixed),
                            .parent = &base};
    struct wr_spec child2 = {.kind = WR_VHDX_DIFF,
                             .name = "child2.avhdx",
                             .size = 4 * MIB,
                             .id = 4,
                             .runs = near,
                             .n_runs = N(near),
                             .parent = &base2};
    struct wr_dir dir = {0};
    struct wr_file *file;

    (void)state;
    expect_spec(&child, NULL);
    child.knobs.junk = true; /* garbage where the bitmap says: the parent's */
    child.knobs.full_as_partial = true;
    child.knobs.sb_always = true;
    child.knobs.shuffle = 77;
    expect_spec(&child, NULL);
    child.runs = wholes; /* no block is partial: no bitmap is needed */
    child.n_runs = 1;
    child.knobs = (struct wr_knobs){0};
    expect_spec(&child, NULL);

    wr_build_chain(&child2, &dir);
    file = wr_file_named(&dir, "child2.avhdx");
    set_mark(file, "bat", 2, 0); /* one partially present block, number 0, remains */
    set_mark(file, "sb", 0, 0);
    child2.n_runs = 2;
    expect_lost(&dir, &child2, 0, MIB, "sector bitmap 0: is not there");
    set_mark(file, "sb", 0, file->len | 6);
    expect_lost(&dir, &child2, 0, MIB, "sector bitmap 0: lies past the end of the file");
    set_mark(file, "sb", 0, wr_get(file, wr_mark_named(file, "bat", 0)) & ~UINT64_C(1));
    expect_lost(&dir, &child2, 0, MIB, "shares bytes of the file with another block");
    wr_dir_clear(&dir);
}

/* ---- 29 ---- */

/* The bytes of a file of the directory, to see later that nobody changed them. */
static uint8_t *copy_of(const struct wr_file *file)
{
    uint8_t *copy = malloc((size_t)file->len);

    memcpy(copy, file->bytes, (size_t)file->len);
    return copy;
}

/* Every structure that a log may change, with everything that may lie beside the active sequence. */
static void pending_logs(void)
{
    static const struct wr_run runs[] = {
        {.off = 1024, .len = 2 * MIB, .state = WR_DATA, .seed = 51},
        {.off = 3 * MIB, .len = MIB, .state = WR_ZEROS}};
    const struct wr_spec base = {.kind = WR_VHDX_DYNAMIC,
                                 .name = "base.vhdx",
                                 .size = 8 * MIB,
                                 .id = 1,
                                 .runs = whole_disk,
                                 .n_runs = 1,
                                 .knobs = {.log = WR_LOG_ALL}}; /* its identity is in the header */
    struct wr_spec child = {.kind = WR_VHDX_DIFF,
                            .name = "child.avhdx",
                            .size = 8 * MIB,
                            .id = 2,
                            .runs = runs,
                            .n_runs = N(runs),
                            .parent = &base};
    unsigned what, how;

    for (what = WR_LOG_BAT; what <= WR_LOG_ALL; what++)
        for (how = 0; how < 8; how++) {
            struct wr_dir dir = {0};
            const struct wr_file *file;
            uint8_t *before;

            child.knobs = (struct wr_knobs){.log = (enum wr_log)what,
                                            .log_wrap = how & 1,
                                            .log_torn = how & 2,
                                            .log_stale = how & 4,
                                            .newer = how & 2 ? WR_NEWER_SECOND : WR_NEWER_FIRST};
            wr_build_chain(&child, &dir);
            file = wr_file_named(&dir, "child.avhdx");
            before = copy_of(file);
            expect_chain(&dir, &child, "its log was replayed in memory");
            assert_memory_equal(file->bytes, before, (size_t)file->len);
            free(before);
            wr_dir_clear(&dir);
        }
}

/* A data sector loses its first 8 and last 4 bytes to the descriptor; a zero descriptor zeroes. */
static void data_and_zeros(void)
{
    static const uint8_t states[2] = {6, 6};
    struct built disk, b = build_vhdx(2, states, 60, &disk);
    uint8_t page[4096], got[4096];
    struct log_write w[2] = {{b.len - VHDX_T_MIB + 8192, 0, page},
                             {b.len - VHDX_T_MIB + 16384, 8192, NULL}};
    struct log_entry e = {
        .sequence = 5, .flushed = b.len, .last = b.len, .writes = w, .n_writes = 2};
    struct vd_err err = VD_ERR_INIT;
    struct image image;

    test_fill(page, sizeof(page), 61);
    log_put(b.p + VHDX_T_LOG, 256, &e);
    vhdx_set_log(b.p, test_log_guid);
    assert_ok(open_bytes(&image_format_vhdx, b.p, b.len, &image, &err));
    assert_ok(blk_read(image.dev, 8192, got, 4096, &err));
    assert_memory_equal(got, page, 4096);
    assert_ok(blk_read(image.dev, 16384 + 4096, got, 4096, &err));
    assert_true(vd_all_zero(got, 4096));
    assert_ok(blk_read(image.dev, 16384 + 8192, got, 4096, &err));
    assert_memory_equal(got, disk.p + 16384 + 8192, 4096);
    close_image(&image);
    free(b.p);
    free(disk.p);
}

/* FlushedFileOffset counts in the head entry alone; LastFileOffset makes the file grow. */
static void file_sizes(void)
{
    static const uint8_t states[2] = {6, 0};
    struct built b = build_vhdx(2, states, 62, NULL);
    uint8_t bat[4096], got[512];
    struct log_write w = {VHDX_T_BAT, 0, bat};
    struct log_entry tail = {.at = 0,
                             .tail = 0,
                             .sequence = 5,
                             .flushed = 100 * b.len,
                             .last = 50 * b.len,
                             .writes = &w,
                             .n_writes = 1};
    struct log_entry head = {
        .tail = 0, .sequence = 6, .flushed = b.len, .last = b.len + VHDX_T_MIB};
    struct vd_err err = VD_ERR_INIT;
    struct image image;

    memcpy(bat, b.p + VHDX_T_BAT, sizeof(bat));
    vd_put_le64(bat + 8, b.len | 6); /* where the file ends now */
    head.at = log_put(b.p + VHDX_T_LOG, 256, &tail);
    log_put(b.p + VHDX_T_LOG, 256, &head);
    vhdx_set_log(b.p, test_log_guid);
    assert_ok(open_bytes(&image_format_vhdx, b.p, b.len, &image, &err));
    assert_true(has_warning(&image, "2 entries, sequence numbers 5 to 6"));
    assert_ok(blk_read(image.dev, VHDX_T_MIB * 2 - 512, got, 512, &err));
    assert_true(vd_all_zero(got, 512));
    close_image(&image);
    head.flushed = b.len + VHDX_T_MIB;
    log_put(b.p + VHDX_T_LOG, 256, &head);
    assert_fails(open_bytes(&image_format_vhdx, b.p, b.len, &image, &err), VD_ECORRUPT,
                 "the file was truncated");
    close_image(&image);
    memset(b.p + VHDX_T_LOG, 0, 4096); /* the head's tail is gone: no valid sequence is left */
    assert_fails(open_bytes(&image_format_vhdx, b.p, b.len, &image, &err), VD_ECORRUPT,
                 "no valid sequence");
    close_image(&image);
    free(b.p);
}

/* Without a log GUID in the header nothing is replayed, whatever lies in the log. */
static void no_guid_no_replay(void)
{
    static const uint8_t states[2] = {6, 6};
    struct built disk, b = build_vhdx(2, states, 63, &disk);
    struct log_write w = {VHDX_T_BAT, 4096, NULL};
    struct log_entry e = {
        .sequence = 5, .flushed = b.len, .last = b.len, .writes = &w, .n_writes = 1};
    struct vd_err err = VD_ERR_INIT;
    struct image image;
    uint8_t got[512];

    log_put(b.p + VHDX_T_LOG, 256, &e);
    assert_ok(open_bytes(&image_format_vhdx, b.p, b.len, &image, &err));
    assert_ok(blk_read(image.dev, 0, got, 512, &err));
    assert_memory_equal(got, disk.p, 512);
    close_image(&image);
    free(b.p);
    free(disk.p);
}

static void trap_29_pending_log(void **state)
{
    (void)state;
    pending_logs();
    data_and_zeros();
    file_sizes();
    no_guid_no_replay();
}

/* ---- 30 ---- */

static void expect_base(const struct wr_knobs *knobs, const char *warning)
{
    const struct wr_spec base = {.kind = WR_VHDX_DYNAMIC,
                                 .name = "base.vhdx",
                                 .size = 8 * MIB,
                                 .id = 1,
                                 .runs = whole_disk,
                                 .n_runs = 1,
                                 .knobs = *knobs};

    expect_spec(&base, warning);
}

/* Which header counts is seen by the identity: the older one has another DataWriteGuid. */
static void the_current_header_counts(void)
{
    static const char *const bad[2] = {
        "header 1 is damaged (the checksum is wrong): header 2 was used",
        "header 2 is damaged (the checksum is wrong): header 1 was "
        "used"};
    unsigned newer, broken;

    for (newer = 0; newer < 2; newer++)
        for (broken = 0; broken < 3; broken++) {
            const struct wr_spec base = {
                .kind = WR_VHDX_DYNAMIC,
                .name = "base.vhdx",
                .size = 8 * MIB,
                .id = 1,
                .runs = whole_disk,
                .n_runs = 1,
                .knobs = {.newer = newer ? WR_NEWER_SECOND : WR_NEWER_FIRST,
                          .bad_header = {broken == 1, broken == 2}}};
            const struct wr_spec child = {.kind = WR_VHDX_DIFF,
                                          .name = "child.avhdx",
                                          .size = 8 * MIB,
                                          .id = 2,
                                          .parent = &base};
            struct wr_dir dir = {0};

            wr_build_chain(&child, &dir);
            expect_chain(&dir, &base, broken ? bad[broken - 1] : NULL);
            if (broken && broken - 1 == newer) /* what is left is the older one: another identity */
                refused(&dir, &child, VD_ECHAIN, "asks for the parent guid:");
            else
                expect_chain(&dir, &child, NULL);
            wr_dir_clear(&dir);
        }
}

static void trap_30_which_header(void **state)
{
    static const uint8_t states[1] = {6};
    const struct wr_knobs equal = {.newer = WR_NEWER_EQUAL};
    struct vd_err err = VD_ERR_INIT;
    struct image image;
    struct built b;

    (void)state;
    the_current_header_counts();
    expect_base(&equal, NULL); /* Disk2vhd */
    b = build_vhdx(1, states, 3, NULL);
    vd_put_le64(b.p + H1 + 8, 8); /* the number of header 2; header 1 says something else */
    b.p[H1 + 32] ^= 1;
    vhdx_seal_header(b.p, 1);
    assert_fails(open_bytes(&image_format_vhdx, b.p, b.len, &image, &err), VD_ECORRUPT,
                 "but differ: none is current");
    close_image(&image);
    vd_put_le64(b.p + H1 + 8, 7);
    vhdx_seal_header(b.p, 1);
    b.p[H2 + 4095] ^=
        1; /* the last byte that the checksum covers, and the first that it does not */
    b.p[H1 + 4096] ^= 1;
    assert_ok(open_bytes(&image_format_vhdx, b.p, b.len, &image, &err));
    assert_true(has_warning(&image, "header 2 is damaged"));
    close_image(&image);
    b.p[H1 + 4095] ^= 1;
    assert_fails(open_bytes(&image_format_vhdx, b.p, b.len, &image, &err), VD_ECORRUPT,
                 "both headers are damaged");
    close_image(&image);
    free(b.p);
}

/* ---- 31 ---- */

static void trap_31_second_region_table(void **state)
{
    static const uint8_t states[1] = {6};
    const struct wr_knobs first = {.bad_region = {true, false}};
    const struct wr_knobs second = {.bad_region = {false, true}};
    struct built disk, b = build_vhdx(1, states, 3, &disk);
    struct vd_err err = VD_ERR_INIT;
    struct image image;
    uint8_t got[512];

    (void)state;
    expect_base(&first,
                "region table 1 is damaged (the checksum is wrong): region table 2 was used");
    expect_base(&second,
                "region table 2 is damaged (the checksum is wrong): region table 1 was used");
    b.p[R1 + 65535] ^= 1; /* the checksum covers 64 KiB */
    assert_ok(open_bytes(&image_format_vhdx, b.p, b.len, &image, &err));
    assert_true(has_warning(&image, "region table 1 is damaged"));
    assert_ok(blk_read(image.dev, 0, got, 512, &err));
    assert_memory_equal(got, disk.p, 512);
    close_image(&image);
    b.p[R2 + 65535] ^= 1;
    assert_fails(open_bytes(&image_format_vhdx, b.p, b.len, &image, &err), VD_ECORRUPT,
                 "region table 1: the checksum is wrong; region table 2: the checksum is wrong");
    close_image(&image);
    free(b.p);
    free(disk.p);
}

/* ---- 32 ---- */

static void add_region(struct built *b, uint32_t flags)
{
    int which;

    for (which = 1; which <= 2; which++) {
        uint8_t *table = b->p + (which == 1 ? R1 : R2);

        vd_put_le32(table + 8, 3);
        table[80] = 9;
        vd_put_le64(table + 96, VHDX_T_BLOCKS + 8 * VHDX_T_MIB);
        vd_put_le32(table + 104, VHDX_T_MIB);
        vd_put_le32(table + 108, flags);
        vhdx_seal_regions(b->p, which);
    }
}

static void trap_32_what_must_be_known(void **state)
{
    static const uint8_t states[1] = {6}, stranger[16] = {1, 2, 3};
    struct built disk, b = build_vhdx(1, states, 3, &disk);
    uint8_t *flags = b.p + VHDX_T_METADATA + 32 + 4 * 32 + 24; /* of the physical sector size */
    struct vd_err err = VD_ERR_INIT;
    struct image image;
    uint8_t got[512];

    (void)state;
    add_region(&b, 1);
    assert_fails(open_bytes(&image_format_vhdx, b.p, b.len, &image, &err), VD_EUNSUPPORTED,
                 "the required region 00000009-0000-0000-0000-000000000000 is not known");
    close_image(&image);
    add_region(&b, 0);
    assert_ok(open_bytes(&image_format_vhdx, b.p, b.len, &image, &err));
    assert_string_equal(fact_value(&image, "unknown_regions"), "1");
    close_image(&image);

    *flags = 2; /* early images do not mark it as required */
    vhdx_add_item(b.p, stranger, 0x20000, 8, 0);
    assert_ok(open_bytes(&image_format_vhdx, b.p, b.len, &image, &err));
    assert_string_equal(fact_value(&image, "physical_sector_size"), "4096");
    assert_string_equal(fact_value(&image, "unknown_metadata"), "1 items, 0 of them of the user");
    close_image(&image);
    vhdx_add_item(b.p, stranger, 0x30000, 8, 4);
    assert_fails(open_bytes(&image_format_vhdx, b.p, b.len, &image, &err), VD_EUNSUPPORTED,
                 "the required item 00030201-0000-0000-0000-000000000000");
    close_image(&image);
    vd_put_le16(b.p + VHDX_T_METADATA + 10, 6);

    /* A sector bitmap in use in a file without a parent: reported, and nothing else. */
    vd_put_le64(b.p + VHDX_T_METADATA + VHDX_T_SIZE, 4097 * MIB);
    vd_put_le64(b.p + VHDX_T_BAT + 8 * 4096, VHDX_T_BLOCKS | 6);
    assert_ok(open_bytes(&image_format_vhdx, b.p, b.len, &image, &err));
    assert_true(has_warning(&image, "1 sector bitmaps are in use in a file without a parent"));
    assert_ok(blk_read(image.dev, 0, got, 512, &err));
    assert_memory_equal(got, disk.p, 512);
    close_image(&image);
    free(b.p);
    free(disk.p);
}

/* ---- 33 ---- */

static const uint8_t some_guid[16] = {0xde, 0xad, 0xbe, 0xef, 5, 6, 7, 8, 9};
static const uint8_t no_guid[16] = {0};

/* The names that the child asks for, in this order. */
static void expect_hints(const struct wr_spec *child, const char *const *names, unsigned n)
{
    struct vd_err err = VD_ERR_INIT;
    struct blk_source source;
    struct image *image = NULL;
    struct wr_dir dir = {0};
    unsigned i;

    (void)wr_build(child, &dir);
    wr_source(&dir, &source);
    assert_ok(image_identify(&source, 0, child->name, &image, &err));
    assert_int_equal(image->n_parent_hints, n);
    for (i = 0; i < n; i++)
        assert_string_equal(image->parent_hint[i], names[i]);
    image_free(image);
    wr_dir_clear(&dir);
}

static void trap_33_parent_linkage(void **state)
{
    static const struct wr_run runs[] = {{.off = 512, .len = 512, .state = WR_DATA, .seed = 71}};
    static const char *const names[] = {"r.vhdx", "v.vhdx", "a.vhdx"}, *const one[] = {"r.vhdx"};
    struct wr_spec base = {.kind = WR_VHDX_DYNAMIC,
                           .name = "base.vhdx",
                           .size = 8 * MIB,
                           .id = 1,
                           .runs = whole_disk,
                           .n_runs = 1};
    struct wr_spec child = {.kind = WR_VHDX_DIFF,
                            .name = "child.avhdx",
                            .size = 8 * MIB,
                            .id = 2,
                            .runs = runs,
                            .n_runs = 1,
                            .parent = &base};
    struct wr_dir dir = {0};
    uint8_t guid[16];

    (void)state;
    wr_guid(&base, guid);
    expect_spec(&child, NULL);
    child.knobs.linkage2 = no_guid; /* what Windows writes there */
    expect_spec(&child, NULL);
    child.knobs.linkage = some_guid; /* a merge was going on: the second one fits */
    child.knobs.linkage2 = guid;
    expect_spec(&child, "being merged into its parent");
    child.knobs.linkage2 = NULL; /* neither: the file of the right name is not the parent */
    wr_build_chain(&child, &dir);
    refused(&dir, &child, VD_ECHAIN,
            "asks for the parent guid:efbeadde-0605-0807-0900-000000000000");
    refused(&dir, &child, VD_ECHAIN, "base.vhdx: is guid:");
    wr_dir_clear(&dir);
    child.knobs.linkage = no_guid;  /* no identity: nobody is proven to be the parent … */
    base.knobs.data_guid = no_guid; /* … not even a file that has none either */
    wr_build_chain(&child, &dir);
    refused(&dir, &child, VD_ECHAIN, "asks for the parent without identity");
    wr_dir_clear(&dir);

    base.knobs.data_guid = NULL;
    child.knobs = (struct wr_knobs){.hint_relative = ".\\r.vhdx",
                                    .hint_volume = "\\\\?\\Volume{1}\\x\\v.vhdx",
                                    .hint_absolute = "\\\\?\\D:\\x\\a.vhdx"};
    expect_hints(&child, names, 3);
    wr_build_chain(&child, &dir); /* none of these names is there: found by its identity */
    expect_chain(&dir, &child, NULL);
    wr_dir_clear(&dir);
    child.knobs.hint_relative = "..\\up\\r.vhdx";
    child.knobs.hint_volume = NULL;
    child.knobs.hint_absolute = "C:\\other\\r.vhdx"; /* as Windows writes it, without \\?\ */
    expect_hints(&child, one, 1);
}

/* ---- 34 ---- */

static void trap_34_across_blocks(void **state)
{
    static const struct wr_run low[] = {
        {.off = 0, .len = 6 * MIB, .state = WR_DATA, .seed = 81},
        {.off = 7 * MIB, .len = 5 * MIB, .state = WR_DATA, .seed = 82}};
    static const struct wr_run high[] = {
        {.off = 4096, .len = 8192, .state = WR_DATA, .seed = 83},
        {.off = 2 * MIB - 4096, .len = 3 * MIB, .state = WR_DATA, .seed = 84},
        {.off = 9 * MIB, .len = MIB, .state = WR_ZEROS}};
    struct wr_spec base = {.kind = WR_VHDX_DYNAMIC,
                           .name = "base.vhdx",
                           .size = 12 * MIB,
                           .id = 1,
                           .runs = low,
                           .n_runs = N(low),
                           .knobs = {.shuffle = 5, .gap = 2}};
    struct wr_spec child = {.kind = WR_VHDX_DIFF,
                            .name = "child.avhdx",
                            .size = 12 * MIB,
                            .id = 2,
                            .runs = high,
                            .n_runs = N(high),
                            .parent = &base,
                            .knobs = {.shuffle = 6, .gap = 1, .junk = true}};
    uint32_t sector;

    (void)state;
    for (sector = 512; sector <= 4096; sector += 3584) {
        base.sector = child.sector = sector;
        child.size = 12 * MIB;
        expect_spec(&base, NULL);
        expect_spec(&child, NULL);
        child.size = 16 * MIB + 4096; /* grown after the snapshot, to a short last block */
        expect_spec(&child, NULL);
        child.size = 5 * MIB + 4096; /* shrunk */
        expect_spec(&child, NULL);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trap_26_bitmap_entries_interleaved),
        cmocka_unit_test(trap_27_block_states),
        cmocka_unit_test(trap_28_partially_present),
        cmocka_unit_test(trap_29_pending_log),
        cmocka_unit_test(trap_30_which_header),
        cmocka_unit_test(trap_31_second_region_table),
        cmocka_unit_test(trap_32_what_must_be_known),
        cmocka_unit_test(trap_33_parent_linkage),
        cmocka_unit_test(trap_34_across_blocks),
    };

    return traps_run(argc, argv, tests, N(tests));
}
