/* SPDX-License-Identifier: Apache-2.0 */
/* Whole VMDKs from a directory: extents of every kind in order, names, descriptors in odd places.
 */
#include "vmdk_build.h"

#include "base/bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEAD                                                                                       \
    "# Disk DescriptorFile\nversion=1\nCID=1234abcd\nparentCID=ffffffff\ncreateType=\"custom\"\n"

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

static void dir_close(struct dir *d)
{
    evidence_dir_source_free(&d->source);
    test_rmdir(d->path);
}

static void put_text(struct dir *d, const char *name, const char *text)
{
    test_write_file(d->path, name, text, strlen(text));
}

static int open_image(struct dir *d, const char *name, struct image **out, struct vd_err *err)
{
    return image_open(&d->source, 0, name, out, err);
}

/* A disk of every kind of line; nothing is skipped, and starts count in sectors. */
static void test_all_kinds(void **state)
{
    static uint8_t flat[20 * 512], expected[30 * 512];
    const struct vb_spec spec = {.grains = "d"};
    struct vd_err err = VD_ERR_INIT;
    struct image *image = NULL;
    struct blk_extent ext;
    struct vb_image v;
    struct dir d;
    uint8_t byte;

    (void)state;
    dir_open(&d);
    test_fill(flat, sizeof(flat), 5);
    vb_make(&spec, &v);
    test_write_file(d.path, "f.vmdk", flat, sizeof(flat));
    test_write_file(d.path, "s.vmdk", v.p, v.len);
    put_text(&d, "x.vmdk",
             HEAD "RW 4 FLAT \"f.vmdk\" 0\n"
                  "RDONLY 5 FLAT \"f.vmdk\" 10\n"
                  "RW 3 ZERO\n"
                  "NOACCESS 2 FLAT \"f.vmdk\" 0\n"
                  "RW 8 SPARSE \"s.vmdk\"\n"
                  "NOACCESS 1 ZERO\n"
                  "RW 7 VMFS \"f.vmdk\"\n");
    memcpy(expected, flat, 4 * 512);
    memcpy(expected + 4 * 512, flat + 10 * 512, 5 * 512);
    memcpy(expected + 14 * 512, v.disk, 8 * 512);
    memcpy(expected + 23 * 512, flat, 7 * 512);
    assert_ok(open_image(&d, "x.vmdk", &image, &err));
    assert_string_equal(image->kind, "custom");
    assert_string_equal(image->identity, "cid:1234abcd");
    assert_false(image->has_parent);
    assert_int_equal(image->dev->size, sizeof(expected));
    assert_int_equal(vb_check_map(image->dev, expected), 3 * 512);
    assert_fails(blk_read(image->dev, 12 * 512, &byte, 1, &err), VD_EIO, "extent 4");
    assert_ok(blk_map(image->dev, 9 * 512, 1 << 20, &ext, &err));
    assert_int_equal(ext.status, BLK_ZEROS); /* hides a parent, unlike an absent grain */
    assert_true(vb_has_fact(image, VD_FACT_WARNING, "extent 4: 2 sectors are declared NOACCESS"));
    image_free(image);
    vb_free(&v);
    dir_close(&d);
}

/* A file shorter than declared: the tail is an error, never zeros, and it is said at once. */
static void test_short_file(void **state)
{
    static uint8_t flat[5000], expected[20 * 512];
    struct vd_err err = VD_ERR_INIT;
    struct image *image = NULL;
    struct dir d;

    (void)state;
    dir_open(&d);
    test_fill(flat, sizeof(flat), 6);
    memcpy(expected, flat, sizeof(flat));
    test_write_file(d.path, "f.vmdk", flat, sizeof(flat));
    put_text(&d, "x.vmdk", HEAD "RW 20 FLAT \"f.vmdk\" 0\n");
    assert_ok(open_image(&d, "x.vmdk", &image, &err));
    assert_int_equal(vb_check_map(image->dev, expected), 20 * 512 - 5000);
    assert_true(vb_has_fact(image, VD_FACT_WARNING, "the missing part cannot be read"));
    image_free(image);
    dir_close(&d);
}

static const struct {
    const char *lines;
    enum vd_class cls;
    const char *message;
} refused[] = {
    {"RW 8 FLAT \"missing.vmdk\" 0\n", VD_ECHAIN, "extent 1: the extent file \"missing.vmdk\""},
    {"RW 8 ZERO\nRW 8 FLAT \"/etc/passwd\" 0\n", VD_ECHAIN, "\"passwd\" is missing"},
    {"RW 8 FLAT \"/etc/passwd\" 0\n", VD_ECHAIN, "the descriptor says \"/etc/passwd\""},
    {"RW 8 FLAT \"../x\" 0\n", VD_ECHAIN, "\"x\" is missing"},
    {"RW 8 FLAT \"..\" 0\n", VD_EREFUSED, "names no file"},
    {"RW 8 FLAT \"dir/\" 0\n", VD_EREFUSED, "names no file"},
    {"RW 8 FLAT \"link\" 0\n", VD_EREFUSED, "symbolic link"},
    {"RW 8 FLAT \"fifo\" 0\n", VD_EREFUSED, "FIFO"},
    {"RW 8 FLAT \"sub\" 0\n", VD_EREFUSED, "directory"},
    {"RW 8 FLAT\n", VD_ECORRUPT, "names no file"},
    {"RW 8 FLAT \"f.vmdk\" 18446744073709551615\n", VD_ELIMIT, "18446744073709551615"},
    {"RW 8 SPARSE \"f.vmdk\"\n", VD_ECORRUPT, "f.vmdk: it has none of the signatures"},
    {"RW 8 SPARSE \"empty.vmdk\"\n", VD_ECORRUPT, "empty.vmdk: it has none of the signatures"},
    {"RW 8 SPARSE \"cowd.vmdk\"\n", VD_ECORRUPT, "cowd.vmdk: the COWD header is cut after 4"},
    {"RW 8 SPARSE \"se.vmdk\"\n", VD_EUNSUPPORTED, "seSparse header: version 0.0"},
    {"RW 8 VMFSSPARSE \"f.vmdk\"\n", VD_ECORRUPT, "extent 1: f.vmdk: it has none"},
    {"RW 8 SESPARSE \"f.vmdk\"\n", VD_ECORRUPT, "extent 1: f.vmdk: it has none"},
    {"RW 9 VMFSRDM \"f.vmdk\"\n", VD_EREFUSED, "VMFSRDM: \"f.vmdk\" maps a raw device"},
    {"RW 9 VMFSRAW \"f.vmdk\"\n", VD_EREFUSED, "VMFSRAW: \"f.vmdk\" maps a raw device"},
    {"RW 8 VMFSRDM \"away-rdm.vmdk\"\n", VD_ECHAIN, "raw device behind it is not in the evidence"},
    {"RW 8 FLAT \"/dev/sda\" 0\n", VD_EREFUSED, "\"/dev/sda\" is a device of the machine"},
    {"RW 8 FLAT \"\\\\.\\PhysicalDrive0\" 0\n", VD_EREFUSED, "PhysicalDrive0\" is a device"},
    {"RW 8 VMFSRDM \"/vmfs/devices/disks/vml.02\"\n", VD_EREFUSED, "vml.02\" is a device"},
    {"RW 8 SPARSE \"f.vmdk\" 5\n", VD_EUNSUPPORTED, "starts at sector 5"},
    {"RW 8 FLAT \"a/f.vmdk\" 0\nRW 8 FLAT \"b/f.vmdk\" 0\n", VD_EUNSUPPORTED, "one bare name"},
    {"RW 9007199254740992 ZERO\nRW 9007199254740992 ZERO\n", VD_ELIMIT, "pass the limit"},
    {"", VD_ECORRUPT, "no extents"},
};

static void test_refused(void **state)
{
    static const uint8_t sesparse[512] = {0xbe, 0xba, 0xfe, 0xca};
    static uint8_t eight[8 * 512];
    char path[512], text[1024], link[512], name[32];
    struct dir d;
    size_t i;

    (void)state;
    dir_open(&d);
    memset(eight, 'x', sizeof(eight));
    test_write_file(d.path, "f.vmdk", eight, sizeof(eight));
    put_text(&d, "cowd.vmdk", "COWD");
    put_text(&d, "empty.vmdk", "");
    test_write_file(d.path, "se.vmdk", sesparse, sizeof(sesparse));
    (void)snprintf(path, sizeof(path), "%s/fifo", d.path);
    assert_int_equal(mkfifo(path, 0600), 0);
    (void)snprintf(path, sizeof(path), "%s/sub", d.path);
    assert_int_equal(mkdir(path, 0700), 0);
    (void)snprintf(link, sizeof(link), "%s/link", d.path);
    assert_int_equal(symlink("f.vmdk", link), 0);
    for (i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        struct vd_err err = VD_ERR_INIT;
        struct image *image = NULL;

        (void)snprintf(text, sizeof(text), "%s%s", HEAD, refused[i].lines);
        (void)snprintf(name, sizeof(name), "x%zu.vmdk", i);
        put_text(&d, name, text);
        assert_fails(open_image(&d, name, &image, &err), refused[i].cls, refused[i].message);
        assert_true(test_contains(err.msg, name));
    }
    dir_close(&d);
}

/* Paths of other systems lead to the file beside the image, and that is told. */
static void test_foreign_paths(void **state)
{
    static const char *const paths[] = {"/vmfs/volumes/1/a/f.vmdk", "C:\\vm\\f.vmdk",
                                        "[datastore1] vm/f.vmdk", "[datastore1] f.vmdk"};
    static uint8_t flat[8 * 512];
    char text[512], name[32];
    struct dir d;
    size_t i;

    (void)state;
    dir_open(&d);
    test_fill(flat, sizeof(flat), 7);
    test_write_file(d.path, "f.vmdk", flat, sizeof(flat));
    for (i = 0; i < 4; i++) {
        struct vd_err err = VD_ERR_INIT;
        struct image *image = NULL;

        (void)snprintf(text, sizeof(text), HEAD "RW 8 FLAT \"%s\" 0\n", paths[i]);
        (void)snprintf(name, sizeof(name), "x%zu.vmdk", i);
        put_text(&d, name, text);
        assert_ok(open_image(&d, name, &image, &err));
        vb_check_reads(image->dev, flat, sizeof(flat), 0);
        assert_true(vb_has_fact(image, VD_FACT_INFO, paths[i]));
        image_free(image);
    }
    dir_close(&d);
}

/* The extent line of an embedded descriptor is the file itself, whatever it is called now. */
static void test_renamed(void **state)
{
    const struct vb_spec spec = {
        .grains = "d.d", .descriptor = vb_descriptor("77", NULL, NULL, 24, "old-name.vmdk")};
    struct vd_err err = VD_ERR_INIT;
    struct image *image = NULL;
    struct vb_image v;

    (void)state;
    vb_make(&spec, &v);
    assert_ok(vb_open(v.p, v.len, "evidence-17.bin", &image, &err));
    assert_string_equal(image->identity, "cid:00000077");
    assert_string_equal(image->kind, "monolithicSparse");
    vb_check_reads(image->dev, v.disk, v.disk_len, 0);
    assert_true(vb_has_fact(image, VD_FACT_INFO, "old-name.vmdk"));
    image_free(image);
    vb_free(&v);
}

/* An embedded descriptor that has more extents than the file itself. */
static void test_embedded_with_others(void **state)
{
    const struct vb_spec spec = {.grains = "d",
                                 .descriptor = HEAD "RW 8 SPARSE \"x.vmdk\"\n"
                                                    "RW 4 FLAT \"f.vmdk\" 1\n"};
    static uint8_t flat[5 * 512], expected[12 * 512];
    struct vd_err err = VD_ERR_INIT;
    struct image *image = NULL;
    struct vb_image v;
    struct dir d;

    (void)state;
    dir_open(&d);
    vb_make(&spec, &v);
    test_fill(flat, sizeof(flat), 3);
    memcpy(expected, v.disk, 8 * 512);
    memcpy(expected + 8 * 512, flat + 512, 4 * 512);
    test_write_file(d.path, "x.vmdk", v.p, v.len);
    test_write_file(d.path, "f.vmdk", flat, sizeof(flat));
    assert_ok(open_image(&d, "x.vmdk", &image, &err));
    vb_check_reads(image->dev, expected, sizeof(expected), 0);
    image_free(image);
    vb_free(&v);
    dir_close(&d);
}

/* Capacity 0: the file only carries a descriptor, here at a place of its own. */
static void test_descriptor_only(void **state)
{
    const char *text = HEAD "RW 4 FLAT \"f.vmdk\" 0\n";
    static uint8_t file[20 * 512], flat[4 * 512];
    struct vd_err err = VD_ERR_INIT;
    struct image *image = NULL;
    struct dir d;

    (void)state;
    dir_open(&d);
    memcpy(file, "KDMV", 4);
    file[4] = 1;
    vd_put_le64(file + 28, 7);
    vd_put_le64(file + 36, 3);
    memcpy(file + 7 * 512, text, strlen(text));
    test_fill(flat, sizeof(flat), 4);
    test_write_file(d.path, "x.vmdk", file, sizeof(file));
    test_write_file(d.path, "f.vmdk", flat, sizeof(flat));
    assert_ok(open_image(&d, "x.vmdk", &image, &err));
    vb_check_reads(image->dev, flat, sizeof(flat), 0);
    image_free(image);
    vd_put_le64(file + 36, 14); /* one sector past the end */
    test_write_file(d.path, "y.vmdk", file, sizeof(file));
    assert_fails(open_image(&d, "y.vmdk", &image, &err), VD_ECORRUPT, "passes the end");
    dir_close(&d);
}

static void test_sizes_differ(void **state)
{
    const struct vb_spec spec = {.grains = "dd"};
    struct vd_err err = VD_ERR_INIT;
    struct image *image = NULL;
    static uint8_t expected[28 * 512];
    struct vb_image v;
    struct dir d;

    (void)state;
    dir_open(&d);
    vb_make(&spec, &v);
    test_write_file(d.path, "s.vmdk", v.p, v.len);
    test_write_file(d.path, "t.vmdk", v.p, v.len);
    put_text(&d, "x.vmdk", HEAD "RW 20 SPARSE \"s.vmdk\"\nRW 8 SPARSE \"t.vmdk\"\n");
    memcpy(expected, v.disk, 16 * 512);
    memcpy(expected + 20 * 512, v.disk, 8 * 512);
    assert_ok(open_image(&d, "x.vmdk", &image, &err));
    assert_int_equal(image->dev->size, 28 * 512);
    assert_int_equal(vb_check_map(image->dev, expected), 4 * 512);
    assert_true(vb_has_fact(image, VD_FACT_WARNING, "the difference cannot be read"));
    assert_true(vb_has_fact(image, VD_FACT_WARNING, "extent 2: t.vmdk is made for 16 sectors"));
    image_free(image);
    vb_free(&v);
    dir_close(&d);
}

static void test_parent_fields(void **state)
{
    static const struct {
        const char *keys;
        bool has_parent;
        const char *wanted;
        unsigned n_hints;
        const char *hint;
    } cases[] = {
        {"CID=1\nparentCID=ffffffff\n", false, "", 0, NULL},
        {"CID=1\nparentCID=ffffffff\nparentFileNameHint=\"b.vmdk\"\n", false, "", 0, NULL},
        {"CID=1\n", false, "", 0, NULL},
        {"CID=1\nparentCID=2\n", true, "cid:00000002", 0, NULL},
        {"CID=1\nparentCID=2\nparentFileNameHint=\"b.vmdk\"\n", true, "cid:00000002", 1, "b.vmdk"},
        {"CID=1\nparentFileNameHint=\"b.vmdk\"\n", true, "", 1, "b.vmdk"},
        {"CID=1\nparentCID=abCDef01\nparentFileNameHint=\"C:\\x\\b.vmdk\"\n", true, "cid:abcdef01",
         1, "b.vmdk"},
        {"CID=1\nparentCID=2\nparentFileNameHint=\"[ds] b.vmdk\"\n", true, "cid:00000002", 2,
         "b.vmdk"},
        {"CID=1\nparentCID=2\nparentFileNameHint=\"..\"\n", true, "cid:00000002", 0, NULL},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct vd_err err = VD_ERR_INIT;
        struct image *image = NULL;
        char text[512];

        (void)snprintf(text, sizeof(text), "# Disk DescriptorFile\n%sRW 8 ZERO\n", cases[i].keys);
        assert_ok(vb_open(text, strlen(text), "c.vmdk", &image, &err));
        assert_int_equal(image->has_parent, cases[i].has_parent);
        assert_string_equal(image->parent_identity[0], cases[i].wanted);
        assert_int_equal(image->n_parent_hints, cases[i].n_hints);
        if (cases[i].n_hints)
            assert_string_equal(image->parent_hint[0], cases[i].hint);
        image_free(image);
    }
}

/* fffffffe is what new disks have: the identity is that number, and a child of it is told to go by name. */
static void test_new_disk(void **state)
{
    static const char text[] =
        "# Disk DescriptorFile\nCID=fffffffe\nparentCID=fffffffe\nparentFileNameHint=\"b.vmdk\"\n"
        "RW 8 ZERO\nddb.longContentID = \"c493b057f416b9534001df44fffffffe\"\n";
    struct vd_err err = VD_ERR_INIT;
    struct image *image = NULL;

    (void)state;
    assert_ok(vb_open(text, sizeof(text) - 1, "c.vmdk", &image, &err));
    assert_string_equal(image->identity, "cid:fffffffe");
    assert_string_equal(image->parent_identity[0], "cid:fffffffe");
    assert_true(image->parent_by_name);
    assert_true(vb_has_fact(image, VD_FACT_WARNING, "known by its name only"));
    image_free(image);
}

/* Names in the encoding of the descriptor: the file beside it has those bytes, or is in UTF-8. */
static void test_encodings(void **state)
{
    static const struct {
        const char *encoding, *raw, *utf8;
    } cases[] = {
        {"encoding=\"windows-1252\"",
         "Pr\xfc"
         "fung.vmdk",
         "Pr\xc3\xbc"
         "fung.vmdk"},
        {"encoding=\"Shift_JIS\"", "\x83\x5c\x83\x74.vmdk", "\xe3\x82\xbd\xe3\x83\x95.vmdk"},
        {"ddb.encoding = \"GBK\"", "dir\\\xd6\xd0\x81\x5c.vmdk", "\xe4\xb8\xad\xe4\xb9\x97.vmdk"},
        {"encoding=\"Big5\"", "\xb3\x5c.vmdk", "\xe8\xa8\xb1.vmdk"},
        {"encoding=\"EUC-KR\"", "\xc7\xd1.vmdk", "\xed\x95\x9c.vmdk"},
        {"encoding=\"windows-1251\"", "\xe4.vmdk", "\xd0\xb4.vmdk"},
        {"encoding=\"ISO-8859-15\"", "\xa4.vmdk", "\xe2\x82\xac.vmdk"},
    };
    static uint8_t flat[8 * 512];
    size_t i, k;

    (void)state;
    test_fill(flat, sizeof(flat), 8);
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        for (k = 0; k < 2; k++) {
            const char *bare = strncmp(cases[i].raw, "dir\\", 4) ? cases[i].raw : cases[i].raw + 4;
            struct vd_err err = VD_ERR_INIT;
            struct image *image = NULL;
            char text[512];
            struct dir d;

            dir_open(&d);
            (void)snprintf(text, sizeof(text), HEAD "%s\nRW 8 FLAT \"%s\" 0\n", cases[i].encoding,
                           cases[i].raw);
            put_text(&d, "x.vmdk", text);
            test_write_file(d.path, k ? cases[i].utf8 : bare, flat, sizeof(flat));
            assert_ok(open_image(&d, "x.vmdk", &image, &err));
            vb_check_reads(image->dev, flat, sizeof(flat), 0);
            image_free(image);
            (void)snprintf(text, sizeof(text),
                           "# Disk DescriptorFile\nCID=1\nparentCID=2\n%s\n"
                           "parentFileNameHint=\"%s\"\nRW 8 ZERO\n",
                           cases[i].encoding, cases[i].raw);
            put_text(&d, "child.vmdk", text);
            assert_ok(open_image(&d, "child.vmdk", &image, &err));
            assert_int_equal(image->n_parent_hints, 2);
            assert_string_equal(image->parent_hint[0], bare);
            assert_string_equal(image->parent_hint[1], cases[i].utf8);
            image_free(image);
            dir_close(&d);
        }
}

/* An unknown encoding, or bytes that it does not have, are told; ASCII names do not care. */
static void test_unknown_encoding(void **state)
{
    static const char *const texts[] = {
        HEAD "encoding=\"EBCDIC\"\nRW 8 FLAT \"\xfc.vmdk\" 0\n",
        HEAD "encoding=\"Shift_JIS\"\nRW 8 FLAT \"\xfc.vmdk\" 0\n",
    };
    static uint8_t flat[8 * 512];
    struct vd_err err = VD_ERR_INIT;
    struct image *image = NULL;
    struct dir d;
    size_t i;

    (void)state;
    dir_open(&d);
    test_write_file(d.path, "\xfc.vmdk", flat, sizeof(flat));
    test_write_file(d.path, "a.vmdk", flat, sizeof(flat));
    for (i = 0; i < 2; i++) {
        put_text(&d, "x.vmdk", texts[i]);
        assert_ok(open_image(&d, "x.vmdk", &image, &err));
        assert_true(vb_has_fact(image, VD_FACT_WARNING, "taken as they are"));
        image_free(image);
    }
    put_text(&d, "x.vmdk", HEAD "encoding=\"EBCDIC\"\nRW 8 FLAT \"a.vmdk\" 0\n");
    assert_ok(open_image(&d, "x.vmdk", &image, &err));
    assert_false(vb_has_fact(image, VD_FACT_WARNING, "taken as they are"));
    image_free(image);
    dir_close(&d);
}

/* Two extents of a set that was renamed with its descriptor: whole, by exact names and sizes, or not
 * at all. */
static void test_renamed_set(void **state)
{
    const struct vb_spec spec = {.grains = "dd", .seed = 5};
    static uint8_t expected[2 * 8192];
    struct vd_err err = VD_ERR_INIT;
    struct image *image = NULL;
    char path[512];
    struct vb_image v;
    struct dir d;

    (void)state;
    dir_open(&d);
    vb_make(&spec, &v);
    memcpy(expected, v.disk, v.disk_len);
    memcpy(expected + v.disk_len, v.disk, v.disk_len);
    put_text(&d, "exhibit7.vmdk",
             HEAD "RW 16 SPARSE \"server-s001.vmdk\"\nRW 16 SPARSE \"server-s002.vmdk\"\n");
    test_write_file(d.path, "exhibit7-s001.vmdk", v.p, v.len);
    assert_fails(open_image(&d, "exhibit7.vmdk", &image, &err), VD_ECHAIN,
                 "\"server-s002.vmdk\" is missing, and so is \"exhibit7-s002.vmdk\"");
    test_write_file(d.path, "exhibit7-s002.vmdk", v.p, v.len);
    assert_ok(open_image(&d, "exhibit7.vmdk", &image, &err));
    vb_check_reads(image->dev, expected, sizeof(expected), 0);
    assert_true(vb_has_fact(image, VD_FACT_WARNING, "\"exhibit7-s002.vmdk\" (named as the"));
    image_free(image);
    test_write_file(d.path, "server-s002.vmdk", v.p, v.len); /* one of the old set is left */
    assert_fails(open_image(&d, "exhibit7.vmdk", &image, &err), VD_ECHAIN,
                 "extent 1: the extent file \"server-s001.vmdk\" is missing");
    (void)snprintf(path, sizeof(path), "%s/server-s002.vmdk", d.path);
    assert_int_equal(unlink(path), 0);
    put_text(&d, "exhibit7.vmdk",
             HEAD "RW 16 SPARSE \"server-s001.vmdk\"\nRW 24 SPARSE \"server-s002.vmdk\"\n");
    assert_fails(open_image(&d, "exhibit7.vmdk", &image, &err), VD_ECHAIN, "it is not taken");
    put_text(&d, "exhibit7.vmdk",
             HEAD "RW 16 SPARSE \"server-s001.vmdk\"\nRW 16 SPARSE \"client-s002.vmdk\"\n");
    assert_fails(open_image(&d, "exhibit7.vmdk", &image, &err), VD_ECHAIN,
                 "\"server-s001.vmdk\" is missing");
    put_text(&d, "flat.vmdk", HEAD "RW 16 FLAT \"server-flat.vmdk\" 0\n");
    test_write_file(d.path, "flat-flat.vmdk", v.disk, v.disk_len);
    assert_ok(open_image(&d, "flat.vmdk", &image, &err));
    vb_check_reads(image->dev, v.disk, v.disk_len, 0);
    image_free(image);
    put_text(&d, "flat.vmdk", HEAD "RW 17 FLAT \"server-flat.vmdk\" 0\n");
    assert_fails(open_image(&d, "flat.vmdk", &image, &err), VD_ECHAIN, "it is not taken");
    vb_free(&v);
    dir_close(&d);
}

/* Bytes behind what the lines use are told, once per file, and not when lines share the file. */
static void test_long_file(void **state)
{
    static uint8_t flat[9 * 512];
    struct vd_err err = VD_ERR_INIT;
    struct image *image = NULL;
    struct dir d;

    (void)state;
    dir_open(&d);
    test_write_file(d.path, "f.vmdk", flat, sizeof(flat));
    put_text(&d, "x.vmdk", HEAD "RW 4 FLAT \"f.vmdk\" 4\nRW 4 FLAT \"f.vmdk\" 0\n");
    assert_ok(open_image(&d, "x.vmdk", &image, &err));
    assert_true(vb_has_fact(image, VD_FACT_WARNING, "uses the first 4096: the rest"));
    image_free(image);
    put_text(&d, "x.vmdk", HEAD "RW 4 FLAT \"f.vmdk\" 0\nRW 5 FLAT \"f.vmdk\" 4\n");
    assert_ok(open_image(&d, "x.vmdk", &image, &err));
    assert_false(vb_has_fact(image, VD_FACT_WARNING, "the rest"));
    image_free(image);
    dir_close(&d);
}

static void test_no_descriptor(void **state)
{
    const struct vb_spec spec = {.grains = "d."};
    struct vd_err err = VD_ERR_INIT;
    struct image *image = NULL;
    struct vb_image v;

    (void)state;
    vb_make(&spec, &v);
    v.p[72] = 1;
    assert_ok(vb_open(v.p, v.len, "x-s001.vmdk", &image, &err));
    assert_string_equal(image->identity, "");
    assert_true(vb_has_fact(image, VD_FACT_WARNING, "holds no descriptor"));
    assert_true(vb_has_fact(image, VD_FACT_WARNING, "not closed cleanly"));
    image_free(image);
    vb_free(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_kinds),       cmocka_unit_test(test_short_file),
        cmocka_unit_test(test_refused),         cmocka_unit_test(test_foreign_paths),
        cmocka_unit_test(test_renamed),         cmocka_unit_test(test_embedded_with_others),
        cmocka_unit_test(test_descriptor_only), cmocka_unit_test(test_sizes_differ),
        cmocka_unit_test(test_parent_fields),   cmocka_unit_test(test_new_disk),
        cmocka_unit_test(test_encodings),       cmocka_unit_test(test_unknown_encoding),
        cmocka_unit_test(test_renamed_set),     cmocka_unit_test(test_long_file),
        cmocka_unit_test(test_no_descriptor),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
