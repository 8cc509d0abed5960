/* SPDX-License-Identifier: Apache-2.0 */
/* Chains: found by hints and by identity, verified link by link, refused with the reasons. */
#include "image/chain.h"
#include "vmdk_build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define GRAIN 4096

struct world {
    char *path[2];
    struct blk_source source;
};

static void world_make(struct world *w)
{
    w->path[0] = test_tmpdir();
    w->path[1] = test_tmpdir();
}

/* After all files are there. */
static void world_ready(struct world *w)
{
    struct vd_err err = VD_ERR_INIT;

    assert_ok(evidence_dir_source((const char *const *)w->path, 2, &w->source, &err));
}

static void world_free(struct world *w)
{
    evidence_dir_source_free(&w->source);
    test_rmdir(w->path[0]);
    test_rmdir(w->path[1]);
}

/* One member: `grains` letters, CID, parent CID and hint (NULL: none).  `disk` (may be NULL) gets
 * the member's grains written over it, so that calls from base to tip build the expected disk. */
static void put(struct world *w, unsigned dir, const char *name, const char *grains,
                const char *cid, const char *parent_cid, const char *hint, uint8_t *disk)
{
    const struct vb_spec spec = {
        .grains = grains,
        .seed = strlen(name) * 1000 + (uint64_t)name[0] * 7 + strtoul(cid, NULL, 16) * 100,
        .descriptor = vb_descriptor(cid, parent_cid, hint, strlen(grains) * 8, name)};
    struct vb_image v;
    size_t i;

    vb_make(&spec, &v);
    test_write_file(w->path[dir], name, v.p, v.len);
    for (i = 0; disk && i < strlen(grains); i++)
        if (grains[i] == 'd')
            memcpy(disk + i * GRAIN, v.disk + i * GRAIN, GRAIN);
    vb_free(&v);
}

static bool has_fact(const struct chain *chain, enum vd_fact_kind kind, const char *text)
{
    size_t i;

    for (i = 0; i < chain->facts.n; i++)
        if (chain->facts.v[i].kind == kind && strstr(chain->facts.v[i].value, text))
            return true;
    return false;
}

static void check_disk(const struct chain *chain, const uint8_t *expected, size_t len)
{
    struct vd_err err = VD_ERR_INIT;
    struct blkdev *disk = NULL;

    assert_ok(chain_point(chain, 0, &disk, &err));
    vb_check_reads(disk, expected, len, 0);
    assert_int_equal(vb_check_map(disk, expected), 0);
    blk_unref(disk);
}

static void test_three(void **state)
{
    static uint8_t disk[4 * GRAIN], older[4 * GRAIN];
    struct vd_err err = VD_ERR_INIT;
    struct chain *chain = NULL;
    struct blkdev *point = NULL;
    struct world w;

    (void)state;
    world_make(&w);
    put(&w, 0, "base.vmdk", "dd.d", "a", NULL, NULL, disk);
    put(&w, 0, "one.vmdk", ".dd.", "b", "a", "base.vmdk", disk);
    memcpy(older, disk, sizeof(disk));
    put(&w, 0, "two.vmdk", "..d.", "c", "b", "C:\\vm\\one.vmdk", disk);
    world_ready(&w);
    assert_ok(chain_open(&w.source, "two.vmdk", NULL, &chain, &err));
    assert_int_equal(chain->n, 3);
    assert_string_equal(chain->v[0]->name, "two.vmdk");
    assert_string_equal(chain->v[2]->name, "base.vmdk");
    assert_true(has_fact(chain, VD_FACT_INFO, "two.vmdk on one.vmdk (cid:0000000b)"));
    assert_false(has_fact(chain, VD_FACT_WARNING, ""));
    check_disk(chain, disk, sizeof(disk));
    assert_ok(chain_point(chain, 1, &point, &err));
    vb_check_reads(point, older, sizeof(older), 0);
    blk_unref(point);
    assert_fails(chain_point(chain, 3, &point, &err), VD_EUSAGE, "3 members");
    chain_free(chain);
    assert_ok(chain_open(&w.source, "one.vmdk", NULL, &chain, &err));
    assert_true(has_fact(chain, VD_FACT_WARNING, "two.vmdk has it as its parent"));
    check_disk(chain, older, sizeof(older));
    chain_free(chain);
    chain_free(NULL);
    world_free(&w);
}

static void test_found_elsewhere(void **state)
{
    static uint8_t disk[2 * GRAIN];
    struct vd_err err = VD_ERR_INIT;
    struct chain *chain = NULL;
    struct world w;

    (void)state;
    world_make(&w);
    put(&w, 1, "base.vmdk", "dd", "a", NULL, NULL, disk); /* in parent_dir */
    put(&w, 1, "renamed.bin", "d.", "b", "a", "base.vmdk", disk);
    put(&w, 0, "tip.vmdk", ".d", "c", "b", "middle.vmdk", disk);
    put(&w, 0, "base.vmdk", "dd", "dead", NULL, NULL, NULL); /* same name, another disk */
    world_ready(&w);
    assert_ok(chain_open(&w.source, "tip.vmdk", NULL, &chain, &err));
    assert_int_equal(chain->n, 3);
    assert_string_equal(chain->v[1]->name, "renamed.bin");
    assert_int_equal(chain->v[2]->dir, 1);
    assert_true(has_fact(chain, VD_FACT_WARNING, "was not found as \"middle.vmdk\""));
    check_disk(chain, disk, sizeof(disk));
    chain_free(chain);
    world_free(&w);
}

static void test_several_fit(void **state)
{
    static uint8_t disk[2 * GRAIN];
    struct vd_err err = VD_ERR_INIT;
    struct chain *chain = NULL;
    struct world w;

    (void)state;
    world_make(&w);
    put(&w, 0, "copy-b.vmdk", "dd", "a", NULL, NULL, NULL);
    put(&w, 0, "copy-a.vmdk", "dd", "a", NULL, NULL, disk);
    put(&w, 0, "tip.vmdk", ".d", "c", "a", "base.vmdk", disk);
    world_ready(&w);
    assert_ok(chain_open(&w.source, "tip.vmdk", NULL, &chain, &err));
    assert_string_equal(chain->v[1]->name, "copy-a.vmdk");
    assert_true(has_fact(chain, VD_FACT_WARNING, "2 files have the identity cid:0000000a"));
    check_disk(chain, disk, sizeof(disk));
    chain_free(chain);
    world_free(&w);
}

static void test_missing(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    struct chain *chain = NULL;
    struct world w;

    (void)state;
    world_make(&w);
    put(&w, 0, "tip.vmdk", ".d", "c", "a", "/vm/base.vmdk", NULL);
    put(&w, 0, "other.vmdk", "dd", "b", NULL, NULL, NULL);
    test_write_file(w.path[0], "notes.txt", "x", 1);
    world_ready(&w);
    assert_fails(chain_open(&w.source, "tip.vmdk", NULL, &chain, &err), VD_ECHAIN,
                 "tip.vmdk asks for the parent cid:0000000a (\"/vm/base.vmdk\"): "
                 "base.vmdk: no such file; other.vmdk: is cid:0000000b");
    assert_false(test_contains(err.msg, "notes.txt"));
    world_free(&w);
}

static void test_changed_parent(void **state)
{
    const struct chain_options unverified = {.unverified = true};
    static uint8_t disk[2 * GRAIN];
    struct vd_err err = VD_ERR_INIT;
    struct chain *chain = NULL;
    struct world w;

    (void)state;
    world_make(&w);
    put(&w, 0, "base.vmdk", "dd", "bad", NULL, NULL, disk);
    put(&w, 0, "tip.vmdk", ".d", "c", "a", "base.vmdk", disk);
    world_ready(&w);
    assert_fails(chain_open(&w.source, "tip.vmdk", NULL, &chain, &err), VD_ECHAIN,
                 "tip.vmdk asks for the parent cid:0000000a (\"base.vmdk\"): "
                 "base.vmdk: is cid:00000bad");
    assert_ok(chain_open(&w.source, "tip.vmdk", &unverified, &chain, &err));
    assert_true(has_fact(chain, VD_FACT_WARNING, "base.vmdk is cid:00000bad: used because"));
    check_disk(chain, disk, sizeof(disk));
    chain_free(chain);
    assert_ok(chain_open(&w.source, "base.vmdk", NULL, &chain, &err));
    assert_true(has_fact(chain, VD_FACT_WARNING, "tip.vmdk names base.vmdk as its parent, but"));
    chain_free(chain);
    world_free(&w);
}

static void test_unverifiable(void **state)
{
    static const char child[] = "# Disk DescriptorFile\nCID=5\nparentFileNameHint=\"base.vmdk\"\n"
                                "RW 8 ZERO\n";
    const struct chain_options unverified = {.unverified = true};
    struct vd_err err = VD_ERR_INIT;
    struct chain *chain = NULL;
    struct world w;

    (void)state;
    world_make(&w);
    put(&w, 0, "base.vmdk", "d", "a", NULL, NULL, NULL);
    test_write_file(w.path[0], "tip.vmdk", child, sizeof(child) - 1);
    world_ready(&w);
    assert_fails(chain_open(&w.source, "tip.vmdk", NULL, &chain, &err), VD_ECHAIN,
                 "asks for the parent without identity");
    assert_ok(chain_open(&w.source, "tip.vmdk", &unverified, &chain, &err));
    assert_int_equal(chain->n, 2);
    chain_free(chain);
    world_free(&w);
}

static void test_cycles(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    struct chain *chain = NULL;
    char from[512], to[512];
    struct world w;

    (void)state;
    world_make(&w);
    put(&w, 0, "self.vmdk", "d.", "1", "1", "self.vmdk", NULL);
    put(&w, 0, "a.vmdk", "d.", "2", "3", "b.vmdk", NULL);
    put(&w, 0, "b.vmdk", "d.", "3", "2", "a.vmdk", NULL);
    put(&w, 1, "linked.vmdk", "d.", "4", "4", "other-name.vmdk", NULL);
    (void)snprintf(from, sizeof(from), "%s/linked.vmdk", w.path[1]);
    (void)snprintf(to, sizeof(to), "%s/other-name.vmdk", w.path[1]);
    assert_int_equal(link(from, to), 0);
    (void)snprintf(to, sizeof(to), "%s/tip.vmdk", w.path[0]);
    assert_int_equal(link(from, to), 0); /* one file under three names */
    world_ready(&w);
    assert_fails(chain_open(&w.source, "self.vmdk", NULL, &chain, &err), VD_ECHAIN,
                 "self.vmdk: is the file itself (a cycle)");
    assert_fails(chain_open(&w.source, "a.vmdk", NULL, &chain, &err), VD_ECHAIN,
                 "a.vmdk: is already a member of the chain (a cycle)");
    assert_fails(chain_open(&w.source, "tip.vmdk", NULL, &chain, &err), VD_ECHAIN,
                 "other-name.vmdk: is the file itself (a cycle)");
    world_free(&w);
}

static void test_listed(void **state)
{
    static const char *const right[] = {"tip.vmdk", "middle.vmdk", "base.vmdk"};
    static const char *const wrong[] = {"tip.vmdk", "base.vmdk"};
    static const char *const too_short[] = {"tip.vmdk", "middle.vmdk"};
    static const char *const too_long[] = {"tip.vmdk", "middle.vmdk", "base.vmdk", "x.vmdk"};
    static const char *const absent[] = {"tip.vmdk", "nothing.vmdk", "base.vmdk"};
    static uint8_t disk[2 * GRAIN];
    struct vd_err err = VD_ERR_INIT;
    struct chain *chain = NULL;
    struct world w;

    (void)state;
    world_make(&w);
    put(&w, 0, "base.vmdk", "dd", "a", NULL, NULL, disk);
    put(&w, 0, "middle.vmdk", "d.", "b", "a", "gone.vmdk", disk);
    put(&w, 0, "tip.vmdk", ".d", "c", "b", "gone-too.vmdk", disk);
    world_ready(&w);
    assert_ok(chain_open(&w.source, "tip.vmdk",
                         &(struct chain_options){.members = right, .n_members = 3}, &chain, &err));
    assert_int_equal(chain->n, 3);
    check_disk(chain, disk, sizeof(disk));
    chain_free(chain);
    assert_ok(chain_open(&w.source, "tip.vmdk", /* without the tip itself */
                         &(struct chain_options){.members = right + 1, .n_members = 2}, &chain,
                         &err));
    chain_free(chain);
    assert_fails(chain_open(&w.source, "tip.vmdk",
                            &(struct chain_options){.members = wrong, .n_members = 2}, &chain,
                            &err),
                 VD_ECHAIN, "base.vmdk: is cid:0000000a");
    assert_fails(chain_open(&w.source, "tip.vmdk",
                            &(struct chain_options){.members = too_short, .n_members = 2}, &chain,
                            &err),
                 VD_ECHAIN, "middle.vmdk asks for the parent cid:0000000a");
    assert_fails(chain_open(&w.source, "tip.vmdk",
                            &(struct chain_options){.members = too_long, .n_members = 4}, &chain,
                            &err),
                 VD_ECHAIN, "base.vmdk has no parent, but the list goes on with \"x.vmdk\"");
    assert_fails(chain_open(&w.source, "tip.vmdk",
                            &(struct chain_options){.members = absent, .n_members = 3}, &chain,
                            &err),
                 VD_ECHAIN, "nothing.vmdk: no such file");
    assert_fails(chain_open(&w.source, "none.vmdk", NULL, &chain, &err), VD_ENOENT, "none.vmdk");
    world_free(&w);
}

/* The source of the test keeps every file open; the usual soft limit is 1,024. */
static void raise_file_limit(void)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* As deep as the limit, and one more; every member contributes a grain. */
static void test_deep(void **state)
{
    enum { DEPTH = 1025 };
    char grains[9], name[32], hint[32], cid[16], parent[16];
    static uint8_t disk[8 * GRAIN];
    struct vd_err err = VD_ERR_INIT;
    struct chain *chain = NULL;
    struct world w;
    int i;

    (void)state;
    raise_file_limit();
    world_make(&w);
    for (i = 0; i <= DEPTH; i++) {
        (void)snprintf(grains, sizeof(grains), "........");
        grains[i % 8] = 'd';
        (void)snprintf(name, sizeof(name), "m%04d.vmdk", i);
        (void)snprintf(hint, sizeof(hint), "m%04d.vmdk", i - 1);
        (void)snprintf(cid, sizeof(cid), "%x", i + 1);
        (void)snprintf(parent, sizeof(parent), "%x", i);
        put(&w, 0, name, grains, cid, i ? parent : NULL, i ? hint : NULL, i < DEPTH ? disk : NULL);
    }
    world_ready(&w);
    assert_ok(chain_open(&w.source, "m1024.vmdk", NULL, &chain, &err));
    assert_int_equal(chain->n, DEPTH);
    check_disk(chain, disk, sizeof(disk));
    chain_free(chain);
    assert_fails(chain_open(&w.source, "m1025.vmdk", NULL, &chain, &err), VD_ECHAIN,
                 "more than 1025 members");
    world_free(&w);
}

/* A raw base fits no identity; a parent of another size is told. */
static void test_sizes(void **state)
{
    static uint8_t disk[3 * GRAIN];
    struct vd_err err = VD_ERR_INIT;
    struct chain *chain = NULL;
    struct world w;

    (void)state;
    world_make(&w);
    put(&w, 0, "base.vmdk", "dd", "a", NULL, NULL, disk);
    put(&w, 0, "grown.vmdk", "d..", "b", "a", "base.vmdk", disk);
    put(&w, 0, "shrunk.vmdk", ".", "c", "a", "base.vmdk", NULL);
    world_ready(&w);
    assert_ok(chain_open(&w.source, "grown.vmdk", NULL, &chain, &err));
    assert_true(has_fact(chain, VD_FACT_INFO, "grown.vmdk has 12288 bytes"));
    check_disk(chain, disk, sizeof(disk));
    chain_free(chain);
    assert_ok(chain_open(&w.source, "shrunk.vmdk", NULL, &chain, &err));
    assert_true(has_fact(chain, VD_FACT_WARNING, "the end of the parent is not shown"));
    chain_free(chain);
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_three),          cmocka_unit_test(test_found_elsewhere),
        cmocka_unit_test(test_several_fit),    cmocka_unit_test(test_missing),
        cmocka_unit_test(test_changed_parent), cmocka_unit_test(test_unverifiable),
        cmocka_unit_test(test_cycles),         cmocka_unit_test(test_listed),
        cmocka_unit_test(test_deep),           cmocka_unit_test(test_sizes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
