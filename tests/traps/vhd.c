/* SPDX-License-Identifier: Apache-2.0 */
/* Traps 20 to 25: VHD.  Every image is made by the writers, which know the specification but not the
 * readers; what the disk must be comes from the writers' own model. */
#include "traps.h"
#include "writers.h"

#include "base/bytes.h"
#include "base/range.h"
#include "image/chain.h"
#include "image/vhd/vhd.h"

#include <stdlib.h>
#include <unistd.h>

#define KIB UINT64_C(1024)
#define MIB (KIB << 10)
#define GIB (MIB << 10)

/* ---- opening ---- */

struct opened {
    struct wr_dir dir;
    struct blk_source source;
    struct chain *chain;
    struct blkdev *disk;
};

static void build(struct opened *o, const struct wr_spec *tip)
{
    *o = (struct opened){.chain = NULL};
    wr_build_chain(tip, &o->dir);
    wr_source(&o->dir, &o->source);
}

static int try_chain(struct opened *o, const char *name, struct vd_err *err)
{
    const struct chain_options options = {.members = NULL};
    int rc = chain_open(&o->source, name, &options, &o->chain, err);

    return rc ? rc : chain_point(o->chain, 0, &o->disk, err);
}

static void close_chain(struct opened *o)
{
    blk_unref(o->disk);
    chain_free(o->chain);
    o->disk = NULL;
    o->chain = NULL;
}

static void done(struct opened *o)
{
    close_chain(o);
    wr_dir_clear(&o->dir);
}

/* The disk of the chain is, byte for byte, what the specs say. */
static void expect_disk(struct opened *o, const struct wr_spec *tip)
{
    struct vd_err err = VD_ERR_INIT;
    uint8_t *want = malloc(MIB), *got = malloc(MIB);
    uint64_t off;

    assert_ok(try_chain(o, tip->name, &err));
    for (off = 0; off < o->disk->size; off += MIB) {
        size_t n = (size_t)vd_min(MIB, o->disk->size - off);

        wr_expect(tip, off, want, n, NULL);
        assert_ok(blk_read(o->disk, off, got, n, &err));
        assert_memory_equal(got, want, n);
    }
    free(want);
    free(got);
}

static bool facts_have(const struct vd_facts *facts, enum vd_fact_kind kind, const char *text)
{
    size_t i;

    for (i = 0; i < facts->n; i++)
        if (facts->v[i].kind == kind && test_contains(facts->v[i].value, text))
            return true;
    return false;
}

static bool warned(const struct opened *o, const char *text)
{
    return facts_have(&o->chain->v[0]->facts, VD_FACT_WARNING, text);
}

static void refused(const struct wr_spec *tip, enum vd_class cls, const char *text)
{
    struct vd_err err = VD_ERR_INIT;
    struct opened o;

    build(&o, tip);
    assert_fails(try_chain(&o, tip->name, &err), cls, text);
    done(&o);
}

/* ---- findings of the structural check ---- */

struct found {
    const char *id;
    unsigned n;
};

static void on_finding(void *ctx, enum check_level level, const char *id, const char *file,
                       const struct check_place *place, const char *text)
{
    struct found *found = ctx;

    (void)level;
    (void)file;
    (void)place;
    (void)text;
    found->n += strcmp(id, found->id) == 0;
}

static void on_count(void *ctx, const char *file, const char *what, uint64_t n)
{
    (void)ctx;
    (void)file;
    (void)what;
    (void)n;
}

static unsigned count_findings(struct blkdev *dev, const char *id)
{
    struct found found = {.id = id};
    const struct check check = {on_finding, on_count, &found};
    struct vd_err err = VD_ERR_INIT;

    assert_ok(blk_check(dev, &check, &err));
    return found.n;
}

/* ---- 20: CHS for 'vpc ' and 'qemu', current_size for everybody else and for the largest CHS ---- */

static uint64_t geometry_bytes(const struct wr_file *file)
{
    const uint8_t *g = file->bytes + file->len - 512 + 56;

    return (uint64_t)vd_be16(g) * g[2] * g[3] * 512;
}

static void size_of_creator(const char *creator, bool by_geometry)
{
    static const struct wr_run run = {.len = 4 * MIB, .state = WR_DATA, .seed = 3};
    const struct wr_spec base = {
        .kind = WR_VHD_DYNAMIC, .name = "base.vhd", .id = 1, .size = 4 * MIB};
    const enum wr_kind kinds[] = {WR_VHD_FIXED, WR_VHD_DYNAMIC, WR_VHD_DIFF};
    size_t i;

    for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        struct wr_spec spec = {.kind = kinds[i],
                               .name = "a.vhd",
                               .id = 2,
                               .size = 4 * MIB,
                               .runs = &run,
                               .n_runs = 1,
                               .knobs = {.creator = creator, .chs_size = 3 * MIB}};
        struct opened o;

        spec.parent = kinds[i] == WR_VHD_DIFF ? &base : NULL;
        build(&o, &spec);
        expect_disk(&o, &spec);
        assert_true(geometry_bytes(wr_file_named(&o.dir, "a.vhd")) <= 3 * MIB);
        assert_int_equal(o.disk->size,
                         by_geometry ? geometry_bytes(wr_file_named(&o.dir, "a.vhd")) : 4 * MIB);
        assert_true(facts_have(&o.chain->v[0]->facts, VD_FACT_INFO,
                               by_geometry ? "geometry" : "current_size"));
        done(&o);
    }
}

/* A disk of 65535 × 16 × 255 sectors says "at least that". */
static void largest_geometry(uint64_t size, bool by_geometry)
{
    static const struct wr_run run = {.len = 4096, .state = WR_DATA, .seed = 3};
    struct wr_spec spec = {.kind = WR_VHD_DYNAMIC,
                           .name = "a.vhd",
                           .size = size,
                           .unit = 8 * MIB,
                           .runs = &run,
                           .n_runs = 1,
                           .knobs = {.creator = "vpc "}};
    struct vd_err err = VD_ERR_INIT;
    struct opened o;
    uint64_t geometry;

    build(&o, &spec);
    geometry = geometry_bytes(wr_file_named(&o.dir, "a.vhd"));
    assert_ok(try_chain(&o, "a.vhd", &err));
    assert_true(geometry < size);
    assert_int_equal(o.disk->size, by_geometry ? geometry : size);
    done(&o);
}

static void trap_20_size_by_creator(void **state)
{
    (void)state;
    size_of_creator("vpc ", true);
    size_of_creator("qemu", true);
    size_of_creator("win ", false);
    size_of_creator("qem2", false);
    size_of_creator("d2v ", false);
    size_of_creator("tap", false); /* and a NUL */
    size_of_creator("CTXS", false);
    size_of_creator("wa\0", false);
    largest_geometry(UINT64_C(65535) * 16 * 255 * 512 + 40 * GIB, false);
    largest_geometry(UINT64_C(65534) * 16 * 255 * 512 + 512, true);
}

/* ---- 21: a child is not a disk of its own ---- */

static void trap_21_differencing_is_not_dynamic(void **state)
{
    static const struct wr_run base_run = {.len = 8 * MIB, .state = WR_DATA, .seed = 1};
    static const struct wr_run child_run = {
        .off = 5 * MIB, .len = 1536, .state = WR_DATA, .seed = 2};
    const struct wr_spec base = {.kind = WR_VHD_FIXED,
                                 .name = "base.vhd",
                                 .id = 1,
                                 .size = 8 * MIB,
                                 .runs = &base_run,
                                 .n_runs = 1};
    const struct wr_spec child = {.kind = WR_VHD_DIFF,
                                  .name = "child.vhd",
                                  .id = 2,
                                  .size = 8 * MIB,
                                  .parent = &base,
                                  .runs = &child_run,
                                  .n_runs = 1};
    struct vd_err err = VD_ERR_INIT;
    struct blk_extent ext;
    struct opened o;

    (void)state;
    build(&o, &child);
    expect_disk(&o, &child);
    assert_int_equal(o.chain->n, 2);
    assert_string_equal(o.chain->v[0]->kind, "differencing");
    /* an unused block, and sectors with a clear bit in a used one: the parent's, not zeros */
    assert_ok(blk_map(o.chain->v[0]->dev, 0, 8 * MIB, &ext, &err));
    assert_int_equal(ext.status, BLK_ABSENT);
    assert_int_equal(ext.len, 4 * MIB);
    assert_ok(blk_map(o.chain->v[0]->dev, 5 * MIB + 1536, 8 * MIB, &ext, &err));
    assert_int_equal(ext.status, BLK_ABSENT);
    assert_ok(blk_map(o.chain->v[0]->dev, 5 * MIB, 8 * MIB, &ext, &err));
    assert_int_equal(ext.status, BLK_DATA);
    assert_int_equal(ext.len, 1536);
    close_chain(&o);

    /* without its parent it is refused, and the message says what it wants */
    assert_string_equal(o.dir.files[0]->name, "base.vhd");
    (void)memcpy(o.dir.files[0]->name, "gone.bin", 9);
    memset(o.dir.files[0]->bytes + 8 * MIB, 0, 512);
    assert_fails(try_chain(&o, "child.vhd", &err), VD_ECHAIN, "base.vhd");
    done(&o);
}

/* ---- 22: most significant bit first, padded, 1 = here ---- */

/* Random sectors of a child with this block size, garbage under clear bits. */
static void bitmap_of(uint32_t block, uint64_t size, uint64_t seed)
{
    static const struct wr_run base_run = {.len = UINT64_MAX, .state = WR_DATA, .seed = 1};
    const struct wr_spec base = {.kind = WR_VHD_DYNAMIC,
                                 .name = "base.vhd",
                                 .id = 1,
                                 .unit = block,
                                 .size = size,
                                 .runs = &base_run,
                                 .n_runs = 1};
    struct wr_run runs[60];
    struct wr_spec child = {.kind = WR_VHD_DIFF,
                            .name = "child.vhd",
                            .id = 2,
                            .unit = block,
                            .size = size,
                            .parent = &base,
                            .runs = runs,
                            .n_runs = sizeof(runs) / sizeof(runs[0]),
                            .knobs = {.junk = true, .shuffle = seed}};
    struct opened o;
    size_t i;

    for (i = 0; i < child.n_runs; i++)
        runs[i] = (struct wr_run){.off = wr_below(&seed, size / 512) * 512,
                                  .len = (1 + wr_below(&seed, 20)) * 512,
                                  .state = WR_DATA,
                                  .seed = 100 + i};
    build(&o, &child);
    expect_disk(&o, &child);
    done(&o);
}

/* A dynamic disk with other bytes under clear bits: zeros, and it is said. */
static void never_written(void)
{
    static const struct wr_run run = {.len = 2 * MIB, .state = WR_DATA, .seed = 1};
    const struct wr_spec spec = {
        .kind = WR_VHD_DYNAMIC, .name = "a.vhd", .size = 4 * MIB, .runs = &run, .n_runs = 1};
    struct vd_err err = VD_ERR_INIT;
    const struct wr_mark *bitmap;
    struct wr_file *file;
    uint8_t sector[512];
    struct opened o;

    build(&o, &spec);
    file = wr_file_named(&o.dir, "a.vhd");
    bitmap = wr_mark_named(file, "bitmap", 0);
    expect_disk(&o, &spec);
    assert_false(warned(&o, ""));
    assert_int_equal(count_findings(o.disk, "hidden_bytes"), 0);
    close_chain(&o);
    file->bytes[bitmap->off + 1] = 0xdf; /* sector 8 + 2 */
    assert_ok(try_chain(&o, "a.vhd", &err));
    assert_ok(blk_read(o.disk, 10 * 512, sector, 512, &err));
    assert_true(vd_all_zero(sector, 512));
    assert_ok(
        blk_read(o.disk, 13 * 512, sector, 512, &err)); /* where bit 2 counted from below is */
    assert_false(vd_all_zero(sector, 512));
    assert_true(warned(&o, "1 sectors that a sector bitmap calls never written"));
    assert_int_equal(count_findings(o.disk, "hidden_bytes"), 1);
    done(&o);
}

static void trap_22_sector_bitmap(void **state)
{
    static const struct wr_run base_run = {.len = 4 * MIB, .state = WR_DATA, .seed = 1};
    static const struct wr_run child_run = {.off = 512, .len = 512, .state = WR_DATA, .seed = 2};
    const struct wr_spec base = {.kind = WR_VHD_DYNAMIC,
                                 .name = "base.vhd",
                                 .id = 1,
                                 .size = 4 * MIB,
                                 .runs = &base_run,
                                 .n_runs = 1};
    const struct wr_spec child = {.kind = WR_VHD_DIFF,
                                  .name = "child.vhd",
                                  .id = 2,
                                  .size = 4 * MIB,
                                  .parent = &base,
                                  .runs = &child_run,
                                  .n_runs = 1};
    struct wr_file *file;
    struct opened o;

    (void)state;
    /* sector 1 alone is bit 0x40 of byte 0 */
    build(&o, &child);
    file = wr_file_named(&o.dir, "child.vhd");
    assert_int_equal(file->bytes[wr_mark_named(file, "bitmap", 0)->off], 0x40);
    expect_disk(&o, &child);
    done(&o);
    bitmap_of(4 * KIB, 512 * KIB, 5);      /* one byte, padded to a sector */
    bitmap_of(64 * KIB, 4 * MIB, 6);       /* 16 bytes */
    bitmap_of(512 * KIB, 4 * MIB, 7);      /* 128 bytes */
    bitmap_of(2 * MIB, 8 * MIB, 8);        /* one sector exactly */
    bitmap_of(8 * MIB, 16 * MIB, 9);       /* four sectors */
    bitmap_of(2 * MIB, 5 * MIB + 512, 10); /* the last block is short */
    never_written();
}

/* ---- 23: two footers ---- */

static void trap_23_two_footers(void **state)
{
    static const struct wr_run run = {.len = 3 * MIB, .state = WR_DATA, .seed = 1};
    struct wr_spec spec = {
        .kind = WR_VHD_DYNAMIC, .name = "a.vhd", .size = 6 * MIB, .runs = &run, .n_runs = 1};
    const struct wr_knobs front = {.no_front_footer = true}, tail = {.no_tail_footer = true},
                          both = {.no_front_footer = true, .no_tail_footer = true},
                          old = {.footer_511 = true}, none = {.shuffle = 0};
    struct vd_err err = VD_ERR_INIT;
    struct blk_extent ext;
    const struct wr_mark *entry;
    struct wr_file *file;
    uint8_t byte;
    struct opened o;

    (void)state;
    spec.knobs = front;
    build(&o, &spec);
    expect_disk(&o, &spec);
    assert_true(warned(&o, "copy at the start of the file is wrong"));
    done(&o);
    spec.knobs = tail;
    build(&o, &spec);
    expect_disk(&o, &spec);
    assert_true(warned(&o, "its copy at the start was used"));
    done(&o);
    spec.knobs = old; /* Virtual PC before 2004 */
    build(&o, &spec);
    file = wr_file_named(&o.dir, "a.vhd");
    assert_int_equal(file->len % 512, 511);
    expect_disk(&o, &spec);
    done(&o);
    spec.kind = WR_VHD_FIXED;
    build(&o, &spec);
    expect_disk(&o, &spec);
    assert_false(warned(&o, ""));
    done(&o);
    spec.kind = WR_VHD_DYNAMIC;
    spec.knobs = both; /* damaged in the same way: both still say the same */
    build(&o, &spec);
    expect_disk(&o, &spec);
    assert_true(warned(&o, "both say the same"));
    close_chain(&o);
    wr_file_named(&o.dir, "a.vhd")->bytes[300] ^= 1; /* and now not */
    assert_fails(try_chain(&o, "a.vhd", &err), VD_ECORRUPT, "no copy has a right checksum");
    done(&o);

    /* the checksum is the ones' complement of the sum of all other bytes: of every one */
    spec.knobs = none;
    build(&o, &spec);
    file = wr_file_named(&o.dir, "a.vhd");
    file->bytes[file->len - 1] = 1;
    assert_ok(try_chain(&o, "a.vhd", &err));
    assert_true(warned(&o, "checksum of the footer at the end of the file is wrong"));
    close_chain(&o);
    file->bytes[file->len - 1] = 0;

    /* entry ffffffff is a block that was never written; entry 0 is damage, not a hole */
    entry = wr_mark_named(file, "bat", 0);
    wr_set(file, entry, UINT32_MAX);
    assert_ok(try_chain(&o, "a.vhd", &err));
    assert_ok(blk_map(o.disk, 0, 1, &ext, &err));
    assert_int_equal(ext.status, BLK_ZEROS);
    close_chain(&o);
    wr_set(file, entry, 0);
    assert_ok(try_chain(&o, "a.vhd", &err));
    assert_fails(blk_read(o.disk, 0, &byte, 1, &err), VD_ECORRUPT, "over the header");
    assert_true(warned(&o, "1 blocks lie outside the file or over its structures"));
    assert_int_equal(count_findings(o.disk, "bad_entry"), 1);
    done(&o);
}

/* ---- 24: the parent ---- */

static struct wr_spec parent_spec, child_spec;

static void parents_default(void)
{
    static const struct wr_run runs[] = {{.len = 2 * MIB, .state = WR_DATA, .seed = 1},
                                         {.off = 512, .len = 512, .state = WR_DATA, .seed = 2}};

    parent_spec = (struct wr_spec){.kind = WR_VHD_DYNAMIC,
                                   .name = "base.vhd",
                                   .id = 1,
                                   .size = 4 * MIB,
                                   .runs = runs,
                                   .n_runs = 1,
                                   .time = 1300000000};
    child_spec = (struct wr_spec){.kind = WR_VHD_DIFF,
                                  .name = "child.avhd",
                                  .id = 2,
                                  .size = 4 * MIB,
                                  .runs = runs + 1,
                                  .n_runs = 1,
                                  .parent = &parent_spec};
}

static bool hinted(const struct opened *o, const char *name)
{
    const struct image *image = o->chain->v[0];
    unsigned i;

    for (i = 0; i < image->n_parent_hints; i++)
        if (strcmp(image->parent_hint[i], name) == 0)
            return true;
    return false;
}

/* The child alone names `hint` and finds its parent. */
static void named(const char *locators, const char *field, const char *hint)
{
    struct opened o;

    child_spec.knobs.locators = locators;
    child_spec.knobs.parent_name_field = field;
    build(&o, &child_spec);
    expect_disk(&o, &child_spec);
    assert_true(hinted(&o, hint));
    assert_int_equal(o.chain->v[0]->n_parent_hints, 1);
    assert_false(warned(&o, ""));
    done(&o);
}

static void every_place_of_the_name(void)
{
    bool sectors;

    for (sectors = false;; sectors = true) {
        parents_default();
        child_spec.knobs.space_in_sectors = sectors;
        named("W2ru", "", "base.vhd");
        named("W2ku", "", "base.vhd");
        named("Wi2r", "", "base.vhd");
        named("Wi2k", "", "base.vhd");
        named("MacX", "", "base.vhd");
        named("", NULL, "base.vhd");
        named("", "\\\\server\\share\\base.vhd", "base.vhd");
        named("W2ku W2ru", NULL, "base.vhd");
        if (sectors)
            break;
    }
}

/* Half a surrogate pair: no UTF-16, but a name on NTFS. */
static void not_strict(void)
{
    static const uint8_t half[] = {'a', 0, 0x3d, 0xd8, '.', 0, 'v', 0, 'h', 0, 'd', 0};
    struct vd_err err = VD_ERR_INIT;
    struct wr_file *file;
    struct opened o;

    parents_default();
    child_spec.knobs.locators = "W2ru";
    child_spec.knobs.parent_name_field = "";
    build(&o, &child_spec);
    file = wr_file_named(&o.dir, "child.avhd");
    memcpy(file->bytes + wr_mark_named(file, "locator", 0)->off, half, sizeof(half));
    wr_set(file, wr_mark_named(file, "locator.length0", 0), sizeof(half));
    wr_fix_checksums(file);
    assert_ok(try_chain(&o, "child.avhd", &err)); /* found by its identity */
    assert_string_equal(o.chain->v[0]->parent_path, "a\\xed\\xa0\\xbd.vhd");
    assert_true(hinted(&o, "a\xed\xa0\xbd.vhd"));
    assert_true(warned(&o, "surrogate"));
    done(&o);
}

static void trap_24_parent_names_and_identity(void **state)
{
    static const char *const endings[] = {"child.avhd", "child.vud", "child.vhd"};
    struct vd_err err = VD_ERR_INIT;
    struct wr_file *file;
    struct opened o;
    size_t i;

    (void)state;
    every_place_of_the_name();
    not_strict();

    /* the UUID decides; the name does not */
    parents_default();
    build(&o, &child_spec);
    assert_ok(try_chain(&o, "child.avhd", &err));
    assert_true(o.chain->v[0]->has_parent_time && o.chain->v[1]->has_time);
    assert_int_equal(o.chain->v[0]->parent_time, 1300000000);
    assert_int_equal(o.chain->v[1]->time, 1300000000);
    close_chain(&o);
    file = wr_file_named(&o.dir, "base.vhd");
    file->bytes[68] ^= 1;
    file->bytes[file->len - 512 + 68] ^= 1;
    wr_fix_checksums(file);
    assert_fails(try_chain(&o, "child.avhd", &err), VD_ECHAIN, "base.vhd");
    done(&o);

    /* endings: a child is known under each, and a file that is none is not shown as a raw disk */
    for (i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
        parents_default();
        child_spec.name = endings[i];
        build(&o, &child_spec);
        expect_disk(&o, &child_spec);
        close_chain(&o);
        file = wr_file_named(&o.dir, endings[i]);
        memset(file->bytes, 0, 512);
        memset(file->bytes + file->len - 512, 0, 512);
        assert_fails(try_chain(&o, endings[i], &err), VD_ENOTFORMAT, endings[i]);
        done(&o);
    }

    /* the header's offset of a next structure: all of 64 bits, or what the specification prints */
    parents_default();
    build(&o, &child_spec);
    file = wr_file_named(&o.dir, "child.avhd");
    wr_set(file, wr_mark_named(file, "dynamic.data_offset", 0), UINT32_MAX);
    wr_fix_checksums(file);
    expect_disk(&o, &child_spec);
    assert_int_equal(count_findings(o.disk, "next_structure"), 0);
    done(&o);
    /* and so in the footer of a fixed disk */
    parent_spec.kind = WR_VHD_FIXED;
    build(&o, &child_spec);
    file = wr_file_named(&o.dir, "base.vhd");
    wr_set(file, wr_mark_named(file, "footer.data_offset", 0), UINT32_MAX);
    wr_fix_checksums(file);
    expect_disk(&o, &child_spec);
    done(&o);
    refused(&(struct wr_spec){.kind = WR_RAW, .name = "a.vud", .size = 4096}, VD_ENOTFORMAT,
            "a.vud");
}

/* ---- 25: NAME.vhd, NAME.v01, NAME.v02 … ---- */

struct parts {
    char *dir;
    struct blk_source source;
    const char *dirs[1];
};

/* Cuts the built file into pieces of `piece` bytes. */
static void cut(const struct wr_spec *spec, uint64_t piece, struct parts *parts)
{
    struct vd_err err = VD_ERR_INIT;
    struct wr_dir dir = {0};
    struct wr_file *file;
    uint64_t off;
    unsigned i = 0;

    wr_build_chain(spec, &dir);
    parts->dir = test_tmpdir();
    parts->dirs[0] = parts->dir;
    file = wr_file_named(&dir, spec->name);
    for (off = 0; off < file->len; off += piece, i++) {
        char name[64];

        (void)snprintf(name, sizeof(name), "disk.%s", "vhd");
        if (i)
            (void)snprintf(name, sizeof(name), "disk.v%02u", i);
        test_write_file(parts->dir, name, file->bytes + off,
                        (size_t)vd_min(piece, file->len - off));
    }
    if (spec->parent) {
        file = wr_file_named(&dir, spec->parent->name);
        test_write_file(parts->dir, file->name, file->bytes, (size_t)file->len);
    }
    assert_ok(evidence_dir_source(parts->dirs, 1, &parts->source, &err));
    wr_dir_clear(&dir);
}

static void parts_done(struct parts *parts)
{
    evidence_dir_source_free(&parts->source);
    test_rmdir(parts->dir);
}

static void remove_part(const struct parts *parts, const char *name)
{
    char path[512];

    (void)snprintf(path, sizeof(path), "%s/%s", parts->dir, name);
    assert_int_equal(remove(path), 0);
}

static int open_parts(const struct parts *parts, const char *name, struct opened *o,
                      struct vd_err *err)
{
    *o = (struct opened){.source = parts->source};
    return try_chain(o, name, err);
}

static void split_reads(const struct wr_spec *spec, uint64_t piece)
{
    struct parts parts;
    struct opened o;

    cut(spec, piece, &parts);
    o = (struct opened){.source = parts.source};
    expect_disk(&o, spec);
    assert_true(facts_have(&o.chain->v[0]->facts, VD_FACT_INFO, "files up to disk.v0"));
    assert_false(warned(&o, ""));
    close_chain(&o);
    parts_done(&parts);
}

static void split_refuses(const struct wr_spec *spec)
{
    char path[512];
    struct vd_err err = VD_ERR_INIT;
    struct parts parts;
    struct opened o;

    cut(spec, 2 * MIB, &parts); /* disk.vhd, disk.v01, disk.v02, disk.v03 */
    assert_fails(open_parts(&parts, "disk.v01", &o, &err), VD_EUNSUPPORTED,
                 "part of the split image disk.vhd");
    close_chain(&o);
    assert_fails(open_parts(&parts, "disk.v03", &o, &err), VD_EUNSUPPORTED,
                 "part of the split image disk.vhd");
    close_chain(&o);
    (void)snprintf(path, sizeof(path), "%s/disk.v02", parts.dir);
    assert_int_equal(truncate(path, 2 * MIB - 512), 0); /* all behind it would be shifted */
    assert_int_not_equal(open_parts(&parts, "disk.vhd", &o, &err), 0);
    assert_true(test_contains(err.msg, "split image"));
    close_chain(&o);
    test_write_file(parts.dir, "disk.v02", "cut", 3);
    assert_int_not_equal(open_parts(&parts, "disk.vhd", &o, &err), 0);
    assert_true(test_contains(err.msg, "split image"));
    close_chain(&o);
    remove_part(&parts, "disk.v02");
    assert_fails(open_parts(&parts, "disk.vhd", &o, &err), VD_ECORRUPT, "disk.v02 is missing");
    close_chain(&o);
    parts_done(&parts);
    cut(spec, 2 * MIB, &parts);
    remove_part(&parts, "disk.v03");
    assert_fails(open_parts(&parts, "disk.vhd", &o, &err), VD_ECORRUPT, "disk.v03 is missing");
    close_chain(&o);
    parts_done(&parts);
}

static void trap_25_split_files(void **state)
{
    static const struct wr_run run = {.len = 7 * MIB, .state = WR_DATA, .seed = 4};
    static const struct wr_run few = {.off = 3 * MIB, .len = MIB, .state = WR_DATA, .seed = 5};
    const struct wr_spec base = {.kind = WR_VHD_DYNAMIC,
                                 .name = "base.vhd",
                                 .id = 1,
                                 .size = 8 * MIB,
                                 .runs = &few,
                                 .n_runs = 1};
    struct wr_spec spec = {.kind = WR_VHD_DYNAMIC,
                           .name = "disk.vhd",
                           .id = 2,
                           .size = 8 * MIB,
                           .unit = 512 * KIB,
                           .runs = &run,
                           .n_runs = 1};
    struct vd_err err = VD_ERR_INIT;
    struct parts parts;
    struct opened o;

    (void)state;
    split_reads(&spec, 2 * MIB);
    split_reads(&spec, 3 * MIB - 513); /* nothing says that a cut is at a sector */
    split_refuses(&spec);
    spec.kind = WR_VHD_DIFF;
    spec.parent = &base;
    split_reads(&spec, 2 * MIB);
    spec.kind = WR_VHD_FIXED; /* its first file has no mark at all */
    spec.parent = NULL;
    spec.size = 7 * MIB;
    split_reads(&spec, 2 * MIB);
    split_refuses(&spec);

    /* a whole image beside a file that is named like a part */
    cut(&spec, 100 * MIB, &parts);
    test_write_file(parts.dir, "disk.v01", "stranger", 8);
    assert_ok(open_parts(&parts, "disk.vhd", &o, &err));
    assert_int_equal(o.disk->size, 7 * MIB);
    assert_true(warned(&o, "ends in a footer of its own"));
    close_chain(&o);
    parts_done(&parts);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trap_20_size_by_creator),
        cmocka_unit_test(trap_21_differencing_is_not_dynamic),
        cmocka_unit_test(trap_22_sector_bitmap),
        cmocka_unit_test(trap_23_two_footers),
        cmocka_unit_test(trap_24_parent_names_and_identity),
        cmocka_unit_test(trap_25_split_files),
    };

    return traps_run(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
