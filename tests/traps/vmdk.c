/* SPDX-License-Identifier: Apache-2.0 */
/* Traps 1, 2, 8 to 11, 14 to 16, 18 and 19 of VMDK: descriptors, extents, links to parents. */
#include "traps.h"

#include "vmdk_build.h"

#include "base/bytes.h"
#include "image/chain.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define HEAD  "# Disk DescriptorFile\nversion=1\nCID=1234abcd\nparentCID=ffffffff\n"
#define GRAIN 4096u

struct dir {
    char *path;
    struct blk_source source;
};

static void dir_open(struct dir *d)
{
    struct vd_err err = VD_ERR_INIT;

    d->path = test_tmpdir();
    assert_ok(evidence_dir_source((const char *const[]){d->path}, 1, &d->source, &err));
}

/* A source remembers the files that it opened; the tests write them anew.  `path` may be another one. */
static void renew(struct dir *d, const char *path)
{
    struct vd_err err = VD_ERR_INIT;

    evidence_dir_source_free(&d->source);
    assert_ok(evidence_dir_source((const char *const[]){path}, 1, &d->source, &err));
}

static void dir_close(struct dir *d)
{
    evidence_dir_source_free(&d->source);
    test_rmdir(d->path);
}

static void put_text(struct dir *d, const char *name, const char *text)
{
    test_write_file(d->path, name, text, strlen(text));
    renew(d, d->path);
}

static struct image *must_open(struct dir *d, const char *name)
{
    struct vd_err err = VD_ERR_INIT;
    struct image *image = NULL;

    assert_ok(image_open(&d->source, 0, name, &image, &err));
    assert_string_equal(image->format->name, "vmdk");
    return image;
}

/* The disk of `name` with its parents, whole.  No parent needs to be searched for. */
static void must_read(struct dir *d, const char *name, const uint8_t *expected, size_t len)
{
    struct vd_err err = VD_ERR_INIT;
    struct chain *chain = NULL;
    struct blkdev *disk = NULL;
    size_t i;

    assert_ok(chain_open(&d->source, name, NULL, &chain, &err));
    assert_ok(chain_point(chain, 0, &disk, &err));
    for (i = 0; i < chain->facts.n; i++)
        assert_string_not_equal(chain->facts.v[i].key, "parent_renamed");
    vb_check_reads(disk, expected, len, 0);
    assert_int_equal(vb_check_map(disk, expected), 0);
    blk_unref(disk);
    chain_free(chain);
}

static void must_refuse(struct dir *d, const char *name, const char *text)
{
    struct vd_err err = VD_ERR_INIT;
    struct chain *chain = NULL;

    assert_fails(chain_open(&d->source, name, NULL, &chain, &err), VD_ECHAIN, text);
}

/* The start of a FLAT extent counts sectors. */
static void trap_01_flat_start_in_sectors(void **state)
{
    static uint8_t flat[64 * 512];
    struct dir d;

    (void)state;
    dir_open(&d);
    test_fill(flat, sizeof(flat), 1);
    test_write_file(d.path, "f.img", flat, sizeof(flat));
    put_text(&d, "x.vmdk", HEAD "RW 20 FLAT \"f.img\" 7\n");
    must_read(&d, "x.vmdk", flat + 7 * 512, 20 * 512);
    put_text(&d, "x.vmdk", HEAD "RW 20 VMFS \"f.img\" 44\n"); /* in bytes it would fit as well */
    must_read(&d, "x.vmdk", flat + 44 * 512, 20 * 512);
    dir_close(&d);
}

/* RDONLY, NOACCESS and ZERO lines have their place on the disk like all others. */
static void trap_02_every_line_counts(void **state)
{
    static uint8_t flat[12 * 512], expected[24 * 512];
    struct vd_err err = VD_ERR_INIT;
    struct image *image;
    struct dir d;
    uint8_t byte;

    (void)state;
    dir_open(&d);
    test_fill(flat, sizeof(flat), 2);
    test_write_file(d.path, "f.img", flat, sizeof(flat));
    put_text(&d, "x.vmdk",
             HEAD "RW 4 FLAT \"f.img\" 0\nRW 5 ZERO\nRDONLY 3 FLAT \"f.img\" 4\n"
                  "NOACCESS 2 FLAT \"f.img\" 0\nRDONLY 1 ZERO\nNOACCESS 4 ZERO\n"
                  "RW 5 FLAT \"f.img\" 7\n");
    memcpy(expected, flat, 4 * 512);
    memcpy(expected + 9 * 512, flat + 4 * 512, 3 * 512);
    memcpy(expected + 19 * 512, flat + 7 * 512, 5 * 512);
    image = must_open(&d, "x.vmdk");
    assert_int_equal(image->dev->size, sizeof(expected));
    assert_int_equal(vb_check_map(image->dev, expected), 6 * 512); /* NOACCESS: errors, in place */
    assert_int_equal(blk_read(image->dev, 12 * 512, &byte, 1, &err), -VD_EIO);
    image_free(image);
    put_text(&d, "x.vmdk", HEAD "RW 4 FLAT \"f.img\" 0\nREADONLY 3 FLAT \"f.img\" 4\n");
    image = must_open(&d, "x.vmdk"); /* no word of the format: said */
    assert_true(vb_has_fact(image, VD_FACT_WARNING, "line 6 is not understood"));
    image_free(image);
    put_text(&d, "x.vmdk", HEAD "RW 4 FLAT \"f.img\" 0\nRDONLY3 FLAT \"f.img\" 4\n");
    assert_fails(image_open(&d.source, 0, "x.vmdk", &image, &err), VD_ECORRUPT, "line 6");
    dir_close(&d);
}

/* The descriptor lies where the header says, not at 0x200; a capacity of 0 means descriptor only. */
static void trap_08_descriptor_place(void **state)
{
    static const char decoy[] = "# Disk DescriptorFile\nCID=dddddddd\nparentCID=eeeeeeee\n"
                                "RW 16 SPARSE \"x.vmdk\"\n";
    const struct vb_spec spec = {.grains = "dd", .descriptor = decoy};
    struct vd_err err = VD_ERR_INIT;
    struct image *image = NULL;
    const char *real = vb_descriptor("1234abcd", NULL, NULL, 16, "x.vmdk");
    static const char only[] = HEAD "RW 8 SPARSE \"s.bin\"\n";
    const struct vb_spec part = {.grains = "d", .seed = 3};
    struct vb_image v, w;
    struct dir d;
    size_t at;

    (void)state;
    vb_make(&spec, &v);
    at = (v.len + 511) / 512 * 512 + 1024;
    v.p = realloc(v.p, at + 1024);
    assert_non_null(v.p);
    memset(v.p + v.len, 0, at + 1024 - v.len);
    memcpy(v.p + at, real, strlen(real));
    vd_put_le64(v.p + 28, at / 512);
    vd_put_le64(v.p + 36, 2);
    assert_ok(vb_open(v.p, at + 1024, "x.vmdk", &image, &err));
    assert_string_equal(image->identity, "cid:1234abcd");
    assert_false(image->has_parent);
    vb_check_reads(image->dev, v.disk, v.disk_len, 0);
    image_free(image);
    dir_open(&d);
    vb_make(&part, &w);
    test_write_file(d.path, "s.bin", w.p, w.len);
    memset(v.p + 12, 0, 8); /* capacity */
    memset(v.p + at, 0, 1024);
    memcpy(v.p + at, only, sizeof(only));
    test_write_file(d.path, "x.vmdk", v.p, at + 1024);
    must_read(&d, "x.vmdk", w.disk, w.disk_len);
    dir_close(&d);
    vb_free(&w);
    vb_free(&v);
}

/* Odd clothes of a descriptor, a missing first line among them: never taken for a raw disk. */
static void trap_09_descriptor_text(void **state)
{
    static const char *const texts[] = {
        "\xef\xbb\xbf"
        "CID=1234abcd\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\nRW 4 FLAT \"f.img\" 0\n",
        "# Disk DescriptorFile\r\nversion=1\r\nCID=1234abcd\r\nparentCID=ffffffff\r\n\r\n"
        "RW 4 FLAT \"f.img\" 0\r\n# The disk Data Base\r\n#DDB\r\n",
        "# Disk DescriptorFile\rCID=1234abcd\rparentCID=ffffffff\rRW 4 FLAT \"f.img\" 0\r",
        "  # disk descriptorfile\n VERSION = 1\n cid = 1234ABCD\n PARENTCID = FFFFFFFF\n"
        "\trw  4\tflat \"f.img\"  0 \n# The disk Data Base \n",
        "version=1\nCID=1234abcd\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\n"
        "RW 4 FLAT \"f.img\" 0\n",
        "\n\n#\nversion=1\nCID=1234abcd\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\n"
        "RW 4 FLAT \"f.img\" 0",
    };
    static const struct {
        const char *text, *file;
    } names[] = {
        {HEAD "encoding=\"GBK\"\nRW 4 FLAT \"\xd6\xd0.img\" 0\n", "\xe4\xb8\xad.img"},
        {HEAD "encoding=\"GBK\"\nRW 4 FLAT \"\xd6\xd0.img\" 0\n", "\xd6\xd0.img"},
        {HEAD "encoding=\"Shift_JIS\"\nRW 4 FLAT \"C:\\\x83\x5c\\\x83\x5c.img\" 0\n",
         "\xe3\x82\xbd.img"},
        {HEAD "encoding=\"Shift_JIS\"\nRW 4 FLAT \"C:\\\x83\x5c\\\x83\x5c.img\" 0\n",
         "\x83\x5c.img"},
        {HEAD "encoding=\"windows-1252\"\nRW 4 FLAT \"\xfc.img\" 0\n", "\xc3\xbc.img"},
        {HEAD "ddb.encoding = \"windows-1252\"\nRW 4 FLAT \"\xfc.img\" 0\n", "\xfc.img"},
    };
    static uint8_t flat[4 * 512];
    size_t i;

    (void)state;
    test_fill(flat, sizeof(flat), 4);
    for (i = 0; i < 12; i++) {
        struct image *image;
        struct dir d;

        dir_open(&d);
        test_write_file(d.path, i < 6 ? "f.img" : names[i - 6].file, flat, sizeof(flat));
        put_text(&d, "x.vmdk", i < 6 ? texts[i] : names[i - 6].text);
        must_read(&d, "x.vmdk", flat, sizeof(flat));
        image = must_open(&d, "x.vmdk");
        assert_string_equal(image->identity, "cid:1234abcd");
        image_free(image);
        dir_close(&d);
    }
}

/* CID and parentCID are two keys, in any order; ffffffff is no parent; a parent whose CID changed is
 * not the parent any more. */
static void trap_10_cid(void **state)
{
    static const uint8_t zeros[8 * 512];
    struct image *image;
    struct dir d;

    (void)state;
    dir_open(&d);
    put_text(&d, "base.vmdk",
             "# Disk DescriptorFile\nparentCID=ffffffff\nCID=00000001\nRW 8 ZERO\n");
    image = must_open(&d, "base.vmdk");
    assert_string_equal(image->identity, "cid:00000001");
    assert_false(image->has_parent);
    image_free(image);
    put_text(&d, "child.vmdk",
             "# Disk DescriptorFile\nparentCID=00000001\nCID=00000002\n"
             "parentFileNameHint=\"base.vmdk\"\nRW 8 ZERO\n");
    image = must_open(&d, "child.vmdk");
    assert_string_equal(image->identity, "cid:00000002");
    assert_string_equal(image->parent_identity[0], "cid:00000001");
    assert_false(image->parent_by_name);
    image_free(image);
    must_read(&d, "child.vmdk", zeros, sizeof(zeros));
    put_text(&d,
             "base.vmdk", /* started after the snapshot: its own parentCID has the wanted number */
             "# Disk DescriptorFile\nCID=00000003\nRW 8 ZERO\n#parentCID=00000001\n");
    must_refuse(&d, "child.vmdk", "cid:00000001");
    must_refuse(&d, "child.vmdk", "cid:00000003");
    dir_close(&d);
}

/* fffffffe is the CID of every disk that was never written to: a parent by that number is only the one
 * that is named. */
static void trap_10_new_disks_share_a_cid(void **state)
{
    static const char fresh[] =
        "# Disk DescriptorFile\nCID=fffffffe\nparentCID=ffffffff\nRW 8 ZERO\n"
        "ddb.longContentID = \"c493b057f416b9534001df440172e8a4\"\n";
    static const uint8_t zeros[8 * 512];
    struct dir d;

    (void)state;
    dir_open(&d);
    put_text(&d, "child.vmdk",
             "# Disk DescriptorFile\nCID=2\nparentCID=fffffffe\n"
             "parentFileNameHint=\"base.vmdk\"\nRW 8 ZERO\n");
    put_text(&d, "stranger.vmdk", fresh);
    must_refuse(&d, "child.vmdk", "unrelated files share this identity");
    put_text(&d, "base.vmdk", fresh);
    must_read(&d, "child.vmdk", zeros, sizeof(zeros));
    put_text(&d, "base.vmdk", "# Disk DescriptorFile\nCID=3\nparentCID=ffffffff\nRW 8 ZERO\n");
    must_refuse(&d, "child.vmdk", "cid:00000003");
    dir_close(&d);
}

/* Hints of every shape lead to the file beside the child, and never out of the directory. */
static void trap_11_parent_hint(void **state)
{
    static const char *const hints[] = {
        "base.vmdk",         "/vmfs/volumes/5f-0a/vm/base.vmdk", "C:\\vm\\base.vmdk",
        ".\\base.vmdk",      "[datastore1] vm/base.vmdk",        "[data store] base.vmdk",
        "../other/base.vmdk"};
    static const char base[] = "# Disk DescriptorFile\nCID=1\nRW 8 FLAT \"flat.img\" 0\n";
    const struct vb_spec good = {.grains = "d", .seed = 1};
    const struct vb_spec bad = {.grains = "d", .seed = 2};
    struct vb_image v, w;
    char text[512], path[512];
    struct dir d;
    size_t i;

    (void)state;
    dir_open(&d);
    vb_make(&good, &v);
    vb_make(&bad, &w);
    (void)snprintf(path, sizeof(path), "%s/case", d.path);
    assert_int_equal(mkdir(path, 0700), 0);
    test_write_file(d.path, "flat.img", w.disk, GRAIN); /* one directory up: the same names */
    put_text(&d, "base.vmdk", base);
    for (i = 0; i < sizeof(hints) / sizeof(hints[0]); i++) {
        (void)snprintf(text, sizeof(text),
                       "# Disk DescriptorFile\nCID=2\nparentCID=1\nparentFileNameHint=\"%s\"\n"
                       "RW 8 SPARSE \"child.bin\"\n",
                       hints[i]);
        test_write_file(path, "child.vmdk", text, strlen(text));
        renew(&d, path);
        if (i == 0) {
            const struct vb_spec empty = {.grains = "."};
            struct vb_image e;

            vb_make(&empty, &e);
            test_write_file(path, "child.bin", e.p, e.len);
            vb_free(&e);
            must_refuse(&d, "child.vmdk", "base.vmdk");
            test_write_file(path, "flat.img", v.disk, GRAIN);
            test_write_file(path, "base.vmdk", base, sizeof(base) - 1);
            renew(&d, path);
        }
        must_read(&d, "child.vmdk", v.disk, GRAIN);
    }
    vb_free(&v);
    vb_free(&w);
    dir_close(&d);
}

/* Extents of different kinds, grain sizes and table sizes in one descriptor. */
static void trap_14_mixed_extents(void **state)
{
    static const struct vb_spec specs[] = {
        {.grains = "d.d", .seed = 1},
        {.grains = "dd.", .grain_sectors = 32, .gt_entries = 8, .seed = 2},
        {.grains = ".dd.d",
         .flags = VB_NEWLINE | VB_COMPRESSED | VB_MARKERS,
         .footer = true,
         .version = 3,
         .seed = 3},
    };
    static uint8_t flat[5 * 512], expected[24 * 512 + 96 * 512 + 40 * 512 + 5 * 512];
    size_t i, at = 0;
    struct dir d;

    (void)state;
    dir_open(&d);
    for (i = 0; i < 3; i++) {
        struct vb_image v;
        char name[16];

        vb_make(&specs[i], &v);
        (void)snprintf(name, sizeof(name), "s%zu.bin", i);
        test_write_file(d.path, name, v.p, v.len);
        memcpy(expected + at, v.disk, v.disk_len);
        at += v.disk_len;
        vb_free(&v);
    }
    test_fill(flat, sizeof(flat), 4);
    memcpy(expected + at, flat, sizeof(flat));
    test_write_file(d.path, "f.img", flat, sizeof(flat));
    put_text(&d, "x.vmdk",
             HEAD "RW 24 SPARSE \"s0.bin\"\nRW 96 SPARSE \"s1.bin\"\nRDONLY 40 SPARSE \"s2.bin\"\n"
                  "RW 5 FLAT \"f.img\" 0\n");
    must_read(&d, "x.vmdk", expected, sizeof(expected));
    dir_close(&d);
}

/* A file shorter than its line: the missing tail is an error, not zeros; the rest is in place. */
static void trap_15_short_extent_file(void **state)
{
    static uint8_t flat[20 * 512], expected[28 * 512];
    const struct vb_spec spec = {.grains = "d"};
    struct vd_err err = VD_ERR_INIT;
    struct image *image;
    struct vb_image v;
    struct dir d;
    uint8_t byte;

    (void)state;
    dir_open(&d);
    test_fill(flat, sizeof(flat), 5);
    memcpy(expected, flat, 5000);
    test_write_file(d.path, "f.img", flat, 5000);
    vb_make(&spec, &v);
    memcpy(expected + 20 * 512, v.disk, GRAIN);
    test_write_file(d.path, "s.bin", v.p, v.len);
    put_text(&d, "x.vmdk", HEAD "RW 20 FLAT \"f.img\" 0\nRW 8 SPARSE \"s.bin\"\n");
    image = must_open(&d, "x.vmdk");
    assert_int_equal(vb_check_map(image->dev, expected), 20 * 512 - 5000);
    assert_int_not_equal(blk_read(image->dev, 5000, &byte, 1, &err), 0);
    assert_true(vb_has_fact(image, VD_FACT_WARNING, "the missing part cannot be read"));
    image_free(image);
    put_text(&d, "x.vmdk",
             HEAD "RW 16 SPARSE \"s.bin\"\n"); /* made for fewer sectors than its line */
    image = must_open(&d, "x.vmdk");
    assert_int_equal(image->dev->size, 16 * 512);
    assert_int_not_equal(blk_read(image->dev, 8 * 512, &byte, 1, &err), 0);
    image_free(image);
    test_write_file(d.path, "s.bin", v.p,
                    v.len - 1024); /* and a sparse file that ends in a grain */
    put_text(&d, "x.vmdk", HEAD "RW 8 SPARSE \"s.bin\"\n");
    image = must_open(&d, "x.vmdk");
    assert_int_equal(vb_check_map(image->dev, v.disk), 1024);
    image_free(image);
    vb_free(&v);
    dir_close(&d);
}

/* The one sparse extent of a file with its descriptor inside is that file, whatever the name there,
 * even when another file has that name. */
static void trap_16_renamed_single_file(void **state)
{
    static const unsigned flags[] = {VB_NEWLINE, VB_NEWLINE | VB_COMPRESSED | VB_MARKERS};
    size_t i;

    (void)state;
    for (i = 0; i < 2; i++) {
        const struct vb_spec spec = {.grains = "d.d",
                                     .flags = flags[i],
                                     .footer = i == 1,
                                     .version = 3,
                                     .descriptor =
                                         vb_descriptor("1", NULL, NULL, 24, "server.vmdk"),
                                     .seed = 6};
        const struct vb_spec other = {.grains = "ddd", .seed = 7};
        struct image *image;
        struct vb_image v, w;
        struct dir d;

        dir_open(&d);
        vb_make(&spec, &v);
        vb_make(&other, &w);
        test_write_file(d.path, "exhibit.vmdk", v.p, v.len);
        must_read(&d, "exhibit.vmdk", v.disk, v.disk_len);
        test_write_file(d.path, "server.vmdk", w.p, w.len);
        must_read(&d, "exhibit.vmdk", v.disk, v.disk_len);
        image = must_open(&d, "exhibit.vmdk");
        assert_true(vb_has_fact(image, VD_FACT_INFO, "names \"server.vmdk\""));
        image_free(image);
        vb_free(&v);
        vb_free(&w);
        dir_close(&d);
    }
}

/* Version 3 and a changed-block tracking file: neither is needed for reading. */
static void trap_18_change_tracking_is_ignored(void **state)
{
    static const uint8_t ctk[512] = {0xf6, 0x19, 0x72, 0xa2, 0x02};
    const struct vb_spec spec = {.grains = "d.d",
                                 .version = 3,
                                 .descriptor = HEAD
                                 "changeTrackPath=\"x-ctk.vmdk\"\nRW 24 SPARSE \"x.vmdk\"\n"};
    struct image *image;
    struct vb_image v;
    struct dir d;

    (void)state;
    dir_open(&d);
    vb_make(&spec, &v);
    test_write_file(d.path, "x.vmdk", v.p, v.len);
    must_read(&d, "x.vmdk", v.disk, v.disk_len);
    test_write_file(d.path, "x-ctk.vmdk", ctk, sizeof(ctk));
    must_read(&d, "x.vmdk", v.disk, v.disk_len);
    image = must_open(&d, "x.vmdk");
    assert_true(vb_has_fact(image, VD_FACT_INFO, "not needed for reading"));
    image_free(image);
    vb_free(&v);
    dir_close(&d);
}

/* The disk was grown after the snapshot: behind the parent's end there is nothing, not the parent's
 * padding and not an error. */
static void trap_19_child_larger_than_parent(void **state)
{
    const struct vb_spec base = {.grains = "dd",
                                 .capacity_sectors = 13,
                                 .descriptor = vb_descriptor("1", NULL, NULL, 13, "base.vmdk"),
                                 .seed = 1};
    struct vb_spec child = {.grains = "...d..", .seed = 2};
    uint8_t expected[6 * GRAIN] = {0};
    struct vb_image v, w;
    struct dir d;

    (void)state;
    dir_open(&d);
    vb_make(&base, &v);
    memset(v.p + v.grain[1] + 5 * 512, 0xa5, 3 * 512); /* the grain's part behind the disk */
    child.descriptor = vb_descriptor("2", "1", "base.vmdk", 48, "child.vmdk");
    vb_make(&child, &w);
    test_write_file(d.path, "base.vmdk", v.p, v.len);
    test_write_file(d.path, "child.vmdk", w.p, w.len);
    memcpy(expected, v.disk, v.disk_len);
    memcpy(expected + 3 * GRAIN, w.disk + 3 * (size_t)GRAIN, GRAIN);
    must_read(&d, "child.vmdk", expected, sizeof(expected));
    vb_free(&v);
    vb_free(&w);
    dir_close(&d);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trap_01_flat_start_in_sectors),
        cmocka_unit_test(trap_02_every_line_counts),
        cmocka_unit_test(trap_08_descriptor_place),
        cmocka_unit_test(trap_09_descriptor_text),
        cmocka_unit_test(trap_10_cid),
        cmocka_unit_test(trap_10_new_disks_share_a_cid),
        cmocka_unit_test(trap_11_parent_hint),
        cmocka_unit_test(trap_14_mixed_extents),
        cmocka_unit_test(trap_15_short_extent_file),
        cmocka_unit_test(trap_16_renamed_single_file),
        cmocka_unit_test(trap_18_change_tracking_is_ignored),
        cmocka_unit_test(trap_19_child_larger_than_parent),
    };

    return traps_run(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
