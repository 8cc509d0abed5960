/* SPDX-License-Identifier: Apache-2.0 */
/* Chains of every format: time stamps, what may stand on what, and kinds of VMDK mixed as products
 * mix them.  The files come from the writers, the expected disk from their model. */
#include "image/chain.h"
#include "testlib.h"
#include "writers.h"

#include <stdlib.h>
#include <string.h>

#define SIZE (4u << 20)

static bool has_fact(const struct chain *chain, const char *key, const char *text)
{
    size_t i;

    for (i = 0; i < chain->facts.n; i++)
        if (strcmp(chain->facts.v[i].key, key) == 0 && strstr(chain->facts.v[i].value, text))
            return true;
    return false;
}

static void check_disk(const struct chain *chain, const struct wr_spec *tip)
{
    struct vd_err err = VD_ERR_INIT;
    struct blkdev *disk = NULL;
    uint8_t *expected = malloc((size_t)tip->size), *found = malloc((size_t)tip->size);

    assert_non_null(expected);
    assert_non_null(found);
    wr_expect(tip, 0, expected, tip->size, NULL);
    assert_ok(chain_point(chain, 0, &disk, &err));
    assert_int_equal(disk->size, tip->size);
    assert_ok(blk_read(disk, 0, found, (size_t)tip->size, &err));
    assert_memory_equal(found, expected, (size_t)tip->size);
    blk_unref(disk);
    free(expected);
    free(found);
}

static const struct wr_run some[] = {{.off = 0, .len = 1 << 20, .state = WR_DATA, .seed = 1},
                                     {.off = 3 << 20, .len = 1 << 20, .state = WR_DATA, .seed = 2}};
static const struct wr_run other[] = {{.off = 0, .len = 64 << 10, .state = WR_DATA, .seed = 3}};

/* The child remembers when its parent was last changed, the parent says when it was made.  Made later than
 * changed is said, with both times, and no more; made earlier is how every honest chain looks. */
static void test_time_stamps(void **state)
{
    static const struct {
        int64_t shift; /* of what the parent says, against what the child remembers */
        const char *said;
    } cases[] = {
        {0, NULL},
        {-400 * 86400, NULL},
        {-1, NULL},
        {3600,
         "child.avhd remembers that its parent was last changed at 2020-01-01 00:00:00 UTC, but "
         "base.vhd says that it was made later, at 2020-01-01 01:00:00 UTC"},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct wr_spec base = {.kind = WR_VHD_DYNAMIC,
                               .name = "base.vhd",
                               .size = SIZE,
                               .id = 1,
                               .time = 1577836800, /* 2020-01-01 */
                               .runs = some,
                               .n_runs = 2};
        const struct wr_spec child = {.kind = WR_VHD_DIFF,
                                      .name = "child.avhd",
                                      .size = SIZE,
                                      .id = 2,
                                      .runs = other,
                                      .n_runs = 1,
                                      .parent = &base};
        struct vd_err err = VD_ERR_INIT;
        struct chain *chain = NULL;
        struct wr_dir dir = {0};
        struct blk_source source;

        wr_build(&child, &dir);
        base.time += cases[i].shift;
        wr_build(&base, &dir);
        wr_source(&dir, &source);
        assert_ok(chain_open(&source, "child.avhd", NULL, &chain, &err));
        assert_int_equal(has_fact(chain, "parent_time", cases[i].said ? cases[i].said : ""),
                         cases[i].said != NULL);
        check_disk(chain, &child);
        chain_free(chain);
        wr_dir_clear(&dir);
    }
}

/* A VHDX whose parent's name belongs to a VHD: refused with the reason, shown only on the user's
 * word, and then said. */
static void test_mixed_formats(void **state)
{
    const struct chain_options unverified = {.unverified = true};
    const struct wr_spec parent = {.kind = WR_VHDX_DYNAMIC,
                                   .name = "disk.img",
                                   .size = SIZE,
                                   .id = 1,
                                   .runs = some,
                                   .n_runs = 2};
    const struct wr_spec child = {
        .kind = WR_VHDX_DIFF, .name = "child.avhdx", .size = SIZE, .id = 2, .parent = &parent};
    const struct wr_spec wrong = {.kind = WR_VHD_DYNAMIC,
                                  .name = "disk.img",
                                  .size = SIZE,
                                  .id = 1,
                                  .runs = some,
                                  .n_runs = 2};
    struct vd_err err = VD_ERR_INIT;
    struct chain *chain = NULL;
    struct wr_dir dir = {0};
    struct blk_source source;

    (void)state;
    wr_build(&wrong, &dir);
    wr_build(&child, &dir);
    wr_source(&dir, &source);
    assert_fails(chain_open(&source, "child.avhdx", NULL, &chain, &err), VD_ECHAIN,
                 "disk.img: is a vhd file");
    assert_ok(chain_open(&source, "child.avhdx", &unverified, &chain, &err));
    assert_true(has_fact(chain, "unverified", "used because unverified_chain was given"));
    assert_true(has_fact(chain, "mixed_formats", "child.avhdx is a vhdx file"));
    assert_false(has_fact(chain, "link_verified", ""));
    chain_free(chain);
    wr_dir_clear(&dir);
}

/* XenServer: a VHD on a raw disk has no UUID of its parent.  The reason says so, and the user can insist. */
static void test_raw_parent(void **state)
{
    const struct chain_options unverified = {.unverified = true};
    const struct wr_spec raw = {
        .kind = WR_RAW, .name = "disk.img", .size = SIZE, .id = 1, .runs = some, .n_runs = 2};
    const struct wr_spec base = {.kind = WR_VHD_DYNAMIC,
                                 .name = "disk.img",
                                 .size = SIZE,
                                 .id = 1,
                                 .runs = some,
                                 .n_runs = 2};
    const struct wr_spec child = {.kind = WR_VHD_DIFF,
                                  .name = "child.vhd",
                                  .size = SIZE,
                                  .id = 2,
                                  .runs = other,
                                  .n_runs = 1,
                                  .parent = &base,
                                  .knobs = {.creator = "tap"}};
    struct vd_err err = VD_ERR_INIT;
    const struct wr_mark *uuid;
    struct chain *chain = NULL;
    struct wr_dir dir = {0};
    struct blk_source source;
    struct wr_file *file;

    (void)state;
    wr_build(&raw, &dir);
    file = wr_build(&child, &dir);
    uuid = wr_mark_named(file, "dynamic.parent_uuid", 0);
    memset(file->bytes + uuid->off, 0, 16);
    wr_fix_checksums(file);
    wr_source(&dir, &source);
    assert_fails(chain_open(&source, "child.vhd", NULL, &chain, &err), VD_ECHAIN,
                 "disk.img: is a raw file, as XenServer uses them, but nothing in the two files "
                 "proves that it is the one");
    assert_ok(chain_open(&source, "child.vhd", &unverified, &chain, &err));
    assert_true(has_fact(chain, "unverified", "used because unverified_chain was given"));
    assert_true(has_fact(chain, "mixed_formats", "XenServer alone makes such chains"));
    check_disk(chain, &child);
    chain_free(chain);
    wr_dir_clear(&dir);
}

/* VMware puts any kind of VMDK on any other. */
static void test_kinds_of_vmdk(void **state)
{
    static const enum wr_kind kind[] = {WR_VMDK_FLAT,  WR_VMDK_SPARSE,   WR_VMDK_SPLIT,
                                        WR_VMDK_COWD,  WR_VMDK_SESPARSE, WR_VMDK_STREAM,
                                        WR_VMDK_SPARSE};
    static const char *const name[] = {"a.vmdk", "b.vmdk", "c.vmdk", "d.vmdk",
                                       "e.vmdk", "f.vmdk", "g.vmdk"};
    enum { N = sizeof(kind) / sizeof(kind[0]) };
    struct wr_run run[N];
    struct wr_spec spec[N];
    struct vd_err err = VD_ERR_INIT;
    struct chain *chain = NULL;
    struct wr_dir dir = {0};
    struct blk_source source;
    size_t i;

    (void)state;
    memset(spec, 0, sizeof(spec));
    for (i = 0; i < N; i++) {
        run[i] =
            (struct wr_run){.off = i * 512 << 10, .len = 1 << 20, .state = WR_DATA, .seed = 10 + i};
        spec[i].kind = kind[i];
        spec[i].name = name[i];
        spec[i].size = SIZE;
        spec[i].id = 1 + i;
        spec[i].runs = &run[i];
        spec[i].n_runs = 1;
        spec[i].parent = i && wr_kind_is_child(kind[i]) ? &spec[i - 1] : NULL;
    }
    assert_true(wr_kind_is_child(WR_VMDK_STREAM));
    wr_build_chain(&spec[N - 1], &dir);
    wr_source(&dir, &source);
    assert_ok(chain_open(&source, name[N - 1], NULL, &chain, &err));
    assert_int_equal(chain->n, N);
    check_disk(chain, &spec[N - 1]);
    chain_free(chain);
    wr_dir_clear(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_time_stamps),
        cmocka_unit_test(test_mixed_formats),
        cmocka_unit_test(test_raw_parent),
        cmocka_unit_test(test_kinds_of_vmdk),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
