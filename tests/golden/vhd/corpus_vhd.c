/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The corpus's VHD and VHDX cases at the level of the decoders: size, SHA-256 of the disk where
 * that is quick, otherwise samples and the map; differencing files must be refused with their
 * parent's name.  VDISKFS_SLOW=1 hashes everything (the largest disk is 127 GiB of zeros).
 *
 * The corpus is looked for at VDISKFS_CORPUS, or at the folder given as the first argument.
 */
#include "../../evil/vhd/build.h"
#include "testlib.h"

#include "base/bytes.h"
#include "base/range.h"
#include "base/sha256.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COLUMNS 12
#define QUICK   (UINT64_C(300) << 20)
#define CHUNK   ((size_t)4 << 20)

static const char *corpus;

static const struct {
    const char *id, *parent;
} differencing[] = {
    {"vhd-diff-chain", "image.vhd uuid:d49c5c80-350a-4a89-898a-5ad6d10f6578"},
    {"vhd-diff-missing-parent",
     "C:\\Projects\\dfvfs\\test_data\\fat-parent.vhd uuid:5fa21a55-f394-aa4d-9958-1951a67d5540"},
    {"vhd-diff-wrong-parent", "image.vhd uuid:d49c5c80-350a-4a89-898a-5ad6d10f6578"},
    {"vhdx-diff-avhdx", ".\\Generation 1_49C4BAF3-4B25-4406-8C4B-D39E65C32385.avhdx "
                        "guid:ff34003b-11ed-4cf8-a166-b2be05e20b80"},
};

/* Unpack to more than 600 MB; golden/corpus-vhdx reads them in full. */
static bool is_slow(const char *id)
{
    return strcmp(id, "vhdx-lvm2") == 0 || strcmp(id, "vhdx-xfs4") == 0;
}

static const char *parent_of(const char *id)
{
    size_t i;

    for (i = 0; i < sizeof(differencing) / sizeof(differencing[0]); i++)
        if (strcmp(differencing[i].id, id) == 0)
            return differencing[i].parent;
    return NULL;
}

/* Unpacks `stored` (relative to the corpus) into dir/img, sparsely. */
static void unpack(const char *stored, const char *dir)
{
    static const struct {
        const char *suffix, *tool;
    } tools[] = {{".xz", "xz -dc"}, {".gz", "gzip -dc"}, {".bz2", "bzip2 -dc"}, {"", "cat"}};
    size_t len = strlen(stored), i = 0;
    char command[2048];

    while (strlen(tools[i].suffix) > len ||
           strcmp(stored + len - strlen(tools[i].suffix), tools[i].suffix) != 0)
        i++;
    (void)snprintf(command, sizeof(command),
                   "%s '%s/dev/%s' | dd of='%s/img' conv=sparse bs=64k 2>/dev/null", tools[i].tool,
                   corpus, stored, dir);
    if (system(command) != 0) /* NOLINT(cert-env33-c): a fixed command of a test */
        fail_msg("failed: %s", command);
}

static void hash_disk(struct blkdev *dev, const char *want, const char *id)
{
    struct vd_sha256 *ctx = vd_sha256_new();
    struct vd_err err = VD_ERR_INIT;
    uint8_t *buf = malloc(CHUNK), hash[VD_SHA256_SIZE];
    char hex[2 * VD_SHA256_SIZE + 1];
    uint64_t off;

    assert_non_null(ctx);
    vd_sha256_reset(ctx);
    for (off = 0; off < dev->size; off += CHUNK) {
        size_t n = (size_t)vd_min(CHUNK, dev->size - off);

        assert_ok(blk_read(dev, off, buf, n, &err));
        vd_sha256_add(ctx, buf, n);
    }
    vd_sha256_end(ctx, hash);
    vd_sha256_hex(hash, hex);
    vd_sha256_free(ctx);
    free(buf);
    if (strcmp(hex, want) != 0)
        fail_msg("%s: the disk has the hash %s instead of %s", id, hex, want);
}

/* The map covers the disk, and reads agree with it at every run. */
static void sample_disk(struct blkdev *dev)
{
    static uint8_t buf[65536], below[65536];
    struct vd_err err = VD_ERR_INIT;
    struct blk_extent ext;
    uint64_t off;

    for (off = 0; off < dev->size; off += ext.len) {
        size_t n;

        assert_ok(blk_map(dev, off, dev->size, &ext, &err));
        n = (size_t)vd_min(ext.len, sizeof(buf));
        assert_ok(blk_read(dev, off, buf, n, &err));
        if (ext.status == BLK_ZEROS) {
            assert_true(vd_all_zero(buf, n));
            continue;
        }
        assert_int_equal(ext.status, BLK_DATA);
        if (ext.child) {
            assert_ok(blk_read(ext.child, ext.child_off, below, n, &err));
            assert_memory_equal(buf, below, n);
        }
    }
}

static void check_case(char *const *col)
{
    const char *id = col[0], *parent = parent_of(id), *dirs[1];
    const struct image_format *format =
        strcmp(col[1], "vhd") == 0 ? &image_format_vhd : &image_format_vhdx;
    struct vd_err err = VD_ERR_INIT;
    struct blk_source source;
    struct blkdev *file = NULL;
    struct image image;
    char *dir = test_tmpdir();

    col[2][strcspn(col[2], ";")] = '\0'; /* the first file is the one to open */
    unpack(col[2], dir);
    dirs[0] = dir;
    assert_ok(evidence_dir_source(dirs, 1, &source, &err));
    assert_ok(source.open(source.ctx, 0, "img", &file, &err));
    if (parent) {
        char says[1024];

        assert_ok(open_dev(format, file, &image, &err));
        assert_true(image.has_parent);
        (void)snprintf(says, sizeof(says), "%s %s", image.parent_path, image.parent_identity[0]);
        assert_string_equal(says, parent);
        assert_string_equal(image.parent_identity[1], "");
    } else {
        assert_ok(open_dev(format, file, &image, &err));
        assert_int_equal(image.dev->size, strtoull(col[6], NULL, 10));
        sample_disk(image.dev);
        if (image.dev->size < QUICK || strcmp(id, "vhdx-log-replay") == 0 || getenv("VDISKFS_SLOW"))
            hash_disk(image.dev, col[7], id);
    }
    close_image(&image);
    blk_unref(file);
    evidence_dir_source_free(&source);
    test_rmdir(dir);
}

static void every_case(void **state)
{
    char path[1024], *line = NULL;
    unsigned n = 0;
    size_t cap = 0;
    FILE *f;

    (void)state;
    (void)snprintf(path, sizeof(path), "%s/dev/MANIFEST.tsv", corpus);
    f = fopen(path, "r");
    assert_non_null(f);
    while (getline(&line, &cap, f) > 0) {
        char *col[COLUMNS] = {0}, *p = line;
        size_t i;

        for (i = 0; i < COLUMNS && p; i++)
            col[i] = strsep(&p, "\t");
        if (!col[7] || (strcmp(col[1], "vhd") != 0 && strcmp(col[1], "vhdx") != 0))
            continue;
        n++;
        if (is_slow(col[0]) && !getenv("VDISKFS_SLOW"))
            (void)printf("%s: left out, set VDISKFS_SLOW=1\n", col[0]);
        else
            check_case(col);
    }
    free(line);
    (void)fclose(f);
    assert_true(n >= 20);
    (void)printf("%u cases\n", n);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_case)};
    char path[1024];
    FILE *f;

    corpus = getenv("VDISKFS_CORPUS");
    if (!corpus || !*corpus)
        corpus = argc > 1 ? argv[1] : ".";
    (void)snprintf(path, sizeof(path), "%s/dev/MANIFEST.tsv", corpus);
    f = fopen(path, "r");
    if (!f) {
        (void)printf("SKIP: there is no corpus at %s (set VDISKFS_CORPUS)\n", corpus);
        return 77;
    }
    (void)fclose(f);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
