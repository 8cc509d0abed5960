/* SPDX-License-Identifier: Apache-2.0 */
/* Chains: copies and descendants with the identity of a parent, newer files and branches, what the
 * .vmsd names, and snapshot=. */
#include "image/chain.h"
#include "vmdk_build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

/* One member whose data come from `seed`. */
static void put(struct world *w, unsigned dir, const char *name, const char *grains, uint64_t seed,
                const char *cid, const char *parent_cid, const char *hint)
{
    const struct vb_spec spec = {
        .grains = grains,
        .seed = seed,
        .descriptor = vb_descriptor(cid, parent_cid, hint, strlen(grains) * 8, name)};
    struct vb_image v;

    vb_make(&spec, &v);
    test_write_file(w->path[dir], name, v.p, v.len);
    vb_free(&v);
}

static void put_text(struct world *w, unsigned dir, const char *name, const char *text)
{
    test_write_file(w->path[dir], name, text, strlen(text));
}

static bool has_fact(const struct chain *chain, enum vd_fact_kind kind, const char *text)
{
    size_t i;

    for (i = 0; i < chain->facts.n; i++)
        if (chain->facts.v[i].kind == kind && strstr(chain->facts.v[i].value, text))
            return true;
    return false;
}

static size_t count_facts(const struct chain *chain, const char *key)
{
    size_t i, n = 0;

    for (i = 0; i < chain->facts.n; i++)
        n += strcmp(chain->facts.v[i].key, key) == 0;
    return n;
}

/* ---- several files with the identity that is asked for ---- */

/* A parent that is there and does not open: its reason is given once, with its name once. */
static void test_a_reason_is_given_once(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    struct chain *chain = NULL;
    const char *found;
    struct world w;

    (void)state;
    world_make(&w);
    put_text(&w, 0, "base.vmdk",
             "# Disk DescriptorFile\nversion=1\nCID=0000000a\nparentCID=ffffffff\n"
             "createType=\"monolithicFlat\"\nRW 16 FLAT \"gone-flat.vmdk\" 0\n");
    put(&w, 0, "tip.vmdk", ".d", 3, "c", "a", "base.vmdk");
    world_ready(&w);
    assert_fails(chain_open(&w.source, "tip.vmdk", NULL, &chain, &err), VD_ECHAIN,
                 "): base.vmdk: extent 1: ");
    found = strstr(err.msg, "gone-flat.vmdk");
    assert_non_null(found);
    assert_null(strstr(found + 1, "base.vmdk: extent 1"));
    world_free(&w);
}

/* The place in the message is where they differ, not where the comparison read. */
static void test_the_byte_that_differs_is_named(void **state)
{
    const struct vb_spec spec = {
        .grains = "dd", .seed = 1, .descriptor = vb_descriptor("a", NULL, NULL, 16, "x.vmdk")};
    struct vd_err err = VD_ERR_INIT;
    struct chain *chain = NULL;
    struct vb_image v;
    struct world w;

    (void)state;
    world_make(&w);
    vb_make(&spec, &v);
    test_write_file(w.path[0], "copy-a.vmdk", v.p, v.len);
    v.p[v.len - 1] ^= 1; /* of the last grain */
    test_write_file(w.path[0], "copy-b.vmdk", v.p, v.len);
    vb_free(&v);
    put(&w, 0, "tip.vmdk", ".d", 3, "c", "a", "base.vmdk");
    world_ready(&w);
    assert_fails(chain_open(&w.source, "tip.vmdk", NULL, &chain, &err), VD_ECHAIN,
                 "contents differ at byte 8191 of the disk");
    world_free(&w);
}

static void test_unequal_copies(void **state)
{
    static const char *const listed[] = {"tip.vmdk", "copy-b.vmdk"};
    struct vd_err err = VD_ERR_INIT;
    struct chain *chain = NULL;
    struct world w;

    (void)state;
    world_make(&w);
    put(&w, 0, "copy-a.vmdk", "dd", 1, "a", NULL, NULL);
    put(&w, 0, "copy-b.vmdk", "dd", 2, "a", NULL, NULL); /* changed without a new CID */
    put(&w, 0, "tip.vmdk", ".d", 3, "c", "a", "base.vmdk");
    world_ready(&w);
    assert_fails(chain_open(&w.source, "tip.vmdk", NULL, &chain, &err), VD_ECHAIN,
                 "copy-a.vmdk: has that identity, and so has copy-b.vmdk, but they are not equal: "
                 "contents differ at byte 0");
    assert_fails(chain_open(&w.source, "tip.vmdk", &(struct chain_options){.unverified = true},
                            &chain, &err),
                 VD_ECHAIN, "not equal");
    assert_ok(chain_open(&w.source, "tip.vmdk",
                         &(struct chain_options){.members = listed, .n_members = 2}, &chain, &err));
    assert_string_equal(chain->v[1]->name, "copy-b.vmdk");
    chain_free(chain);
    world_free(&w);
}

static void test_copies_that_differ_elsewhere(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    struct chain *chain = NULL;
    struct world w;

    (void)state;
    world_make(&w);
    put(&w, 0, "a1.vmdk", "dd", 1, "a", NULL, NULL);
    put(&w, 0, "a2.vmdk", "dd.", 1, "a", NULL, NULL); /* larger */
    put(&w, 0, "tip-a.vmdk", ".d", 3, "c", "a", "base.vmdk");
    put(&w, 0, "b1.vmdk", "d.", 1, "b", NULL, NULL);
    put(&w, 0, "b2.vmdk", "dz", 1, "b", "77", "x.vmdk"); /* has a parent */
    put(&w, 0, "tip-b.vmdk", ".d", 3, "d", "b", "base.vmdk");
    world_ready(&w);
    assert_fails(chain_open(&w.source, "tip-a.vmdk", NULL, &chain, &err), VD_ECHAIN,
                 "their disks have other sizes");
    assert_fails(chain_open(&w.source, "tip-b.vmdk", NULL, &chain, &err), VD_ECHAIN,
                 "they ask for other parents");
    world_free(&w);
}

/* A hint decides between files of one identity, also when another is a copy. */
static void test_hint_decides(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    struct chain *chain = NULL;
    struct world w;

    (void)state;
    world_make(&w);
    put(&w, 0, "another.vmdk", "dd", 9, "a", NULL, NULL);
    put(&w, 0, "base.vmdk", "dd", 1, "a", NULL, NULL);
    put(&w, 0, "tip.vmdk", ".d", 3, "c", "a", "base.vmdk");
    world_ready(&w);
    assert_ok(chain_open(&w.source, "tip.vmdk", NULL, &chain, &err));
    assert_string_equal(chain->v[1]->name, "base.vmdk");
    chain_free(chain);
    assert_ok(chain_open(&w.source, "another.vmdk", NULL, &chain, &err));
    assert_true(has_fact(chain, VD_FACT_WARNING,
                         "base.vmdk has the identity of another.vmdk as well, and newer files lie "
                         "on that one (tip.vmdk)"));
    chain_free(chain);
    world_free(&w);
}

/* VMware: a new snapshot has the CID of its parent until it is first written to. */
static void test_unwritten_snapshots(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    struct chain *chain = NULL;
    struct world w;

    (void)state;
    world_make(&w);
    put(&w, 0, "moved.vmdk", "dd", 1, "a", NULL, NULL); /* was base.vmdk */
    put(&w, 0, "s1.vmdk", "..", 2, "a", "a", "base.vmdk");
    put(&w, 0, "s2.vmdk", "..", 3, "a", "a", "s1.vmdk");
    put(&w, 0, "s3.vmdk", "d.", 4, "b", "a", "s2.vmdk");
    world_ready(&w);
    assert_ok(chain_open(&w.source, "s1.vmdk", NULL, &chain, &err));
    assert_int_equal(chain->n, 2);
    assert_string_equal(chain->v[1]->name, "moved.vmdk"); /* not s2, which has the same CID */
    assert_true(has_fact(chain, VD_FACT_WARNING,
                         "s1.vmdk is not the newest state: s2.vmdk has it as its parent; the "
                         "newest state is s3.vmdk"));
    assert_int_equal(count_facts(chain, "not_the_tip"), 1);
    chain_free(chain);
    assert_ok(chain_open(&w.source, "s3.vmdk", NULL, &chain, &err));
    assert_int_equal(chain->n, 4);
    assert_int_equal(count_facts(chain, "not_the_tip"), 0);
    chain_free(chain);
    world_free(&w);
}

/* ---- newer files ---- */

static void test_branches(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    struct chain *chain = NULL;
    char from[512], to[512];
    struct world w;

    (void)state;
    world_make(&w);
    put(&w, 0, "base.vmdk", "dd", 1, "a", NULL, NULL);
    put(&w, 0, "mid.vmdk", "d.", 2, "b", "a", "base.vmdk");
    put(&w, 1, "left1.vmdk", "d.", 3, "c", "b", "mid.vmdk"); /* in parent_dir */
    put(&w, 1, "left2.vmdk", "d.", 4, "d", "c", "left1.vmdk");
    put(&w, 1, "left3.vmdk", "d.", 5, "e", "d", "left2.vmdk");
    put(&w, 0, "right.vmdk", "d.", 6, "f", "b", "renamed-mid.vmdk"); /* hint leads nowhere */
    put(&w, 0, "beside.vmdk", "d.", 7, "9", "a", "base.vmdk");
    (void)snprintf(from, sizeof(from), "%s/left3.vmdk", w.path[1]);
    (void)snprintf(to, sizeof(to), "%s/left3-again.vmdk", w.path[1]);
    assert_int_equal(link(from, to), 0); /* the same file is one newer file */
    world_ready(&w);
    assert_ok(chain_open(&w.source, "mid.vmdk", NULL, &chain, &err));
    assert_int_equal(count_facts(chain, "not_the_tip"), 2);
    assert_true(
        has_fact(chain, VD_FACT_WARNING,
                 "mid.vmdk is not the newest state: left1.vmdk has it as its parent, and on "
                 "that lie left2.vmdk; the newest state of this branch is left3"));
    assert_true(
        has_fact(chain, VD_FACT_WARNING, "right.vmdk has it as its parent (under another name)"));
    assert_true(has_fact(chain, VD_FACT_INFO, "beside.vmdk is another child of base.vmdk"));
    chain_free(chain);
    assert_ok(chain_open(&w.source, "right.vmdk", &(struct chain_options){.unverified = false},
                         &chain, &err));
    assert_int_equal(count_facts(chain, "not_the_tip"), 0);
    assert_int_equal(count_facts(chain, "other_branch"), 2);
    chain_free(chain);
    world_free(&w);
}

/* All newer files are named, however many. */
static void test_many_newer(void **state)
{
    enum { N = 200 };
    char name[32], hint[32], cid[16], parent[16];
    struct vd_err err = VD_ERR_INIT;
    struct chain *chain = NULL;
    struct world w;
    int i;

    (void)state;
    world_make(&w);
    for (i = 0; i < N; i++) {
        (void)snprintf(name, sizeof(name), "m%03d.vmdk", i);
        (void)snprintf(hint, sizeof(hint), "m%03d.vmdk", i - 1);
        (void)snprintf(cid, sizeof(cid), "%x", i + 1);
        (void)snprintf(parent, sizeof(parent), "%x", i);
        put(&w, 0, name, "d", (uint64_t)i, cid, i ? parent : NULL, i ? hint : NULL);
    }
    world_ready(&w);
    assert_ok(chain_open(&w.source, "m000.vmdk", NULL, &chain, &err));
    assert_int_equal(chain->n, 1);
    assert_int_equal(count_facts(chain, "not_the_tip"), 1);
    assert_true(has_fact(chain, VD_FACT_WARNING, "the newest state is m199.vmdk"));
    for (i = 1; i < N; i++) {
        (void)snprintf(name, sizeof(name), "m%03d.vmdk", i);
        assert_true(has_fact(chain, VD_FACT_INFO, name));
    }
    chain_free(chain);
    world_free(&w);
}

/* Hostile: children that are each other's parents hang nowhere and loop nowhere. */
static void test_newer_circle(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    struct chain *chain = NULL;
    struct world w;

    (void)state;
    world_make(&w);
    put(&w, 0, "base.vmdk", "dd", 1, "a", NULL, NULL);
    put(&w, 0, "x.vmdk", "d.", 2, "a", "a", "base.vmdk");
    put(&w, 0, "y.vmdk", "d.", 3, "b", "c", "z.vmdk");
    put(&w, 0, "z.vmdk", "d.", 4, "c", "b", "y.vmdk");
    put(&w, 0, "self.vmdk", "d.", 5, "a", "a", "self.vmdk");
    world_ready(&w);
    assert_ok(chain_open(&w.source, "base.vmdk", NULL, &chain, &err));
    assert_true(has_fact(chain, VD_FACT_WARNING, "x.vmdk has it as its parent"));
    assert_false(has_fact(chain, VD_FACT_WARNING, "y.vmdk"));
    chain_free(chain);
    world_free(&w);
}

/* ---- names from the machine's files ---- */

static const char vmsd[] = ".encoding = \"UTF-8\"\n"
                           "snapshot.current = \"3\"\nsnapshot.numSnapshots = \"4\"\n"
                           "snapshot0.uid = \"1\"\nsnapshot0.displayName = \"Clean install\"\n"
                           "snapshot0.description = \"as delivered\"\n"
                           "snapshot0.createTimeHigh = \"388745\"\n"
                           "snapshot0.createTimeLow = \"1991180826\"\n"
                           "snapshot0.disk0.fileName = \"srv.vmdk\"\n"
                           "snapshot0.disk0.node = \"scsi0:0\"\n"
                           "snapshot1.uid = \"2\"\nsnapshot1.parent = \"1\"\n"
                           "snapshot1.displayName = \"before update\"\n"
                           "snapshot1.disk0.fileName = \"/vmfs/volumes/x/srv/SRV-000001.vmdk\"\n"
                           "snapshot1.disk0.node = \"scsi0:0\"\n"
                           "snapshot2.uid = \"3\"\nsnapshot2.parent = \"1\"\n"
                           "snapshot2.displayName = \"experiment\"\n"
                           "snapshot2.disk0.fileName = \"srv-000009.vmdk\"\n"
                           "snapshot2.disk0.node = \"scsi0:0\"\n"
                           "snapshot2.disk1.fileName = \"data-000009.vmdk\"\n"
                           "snapshot2.disk1.node = \"scsi0:1\"\n"
                           "snapshot3.uid = \"4\"\nsnapshot3.parent = \"3\"\n"
                           "snapshot3.displayName = \"twice\"\n"
                           "snapshot3.disk0.fileName = \"srv-000010.vmdk\"\n";

static void machine_make(struct world *w)
{
    world_make(w);
    put(w, 0, "srv.vmdk", "dd", 1, "a", NULL, NULL);
    put(w, 0, "srv-000001.vmdk", "d.", 2, "b", "a", "srv.vmdk");
    put(w, 0, "srv-000002.vmdk", ".d", 3, "c", "b", "srv-000001.vmdk");
    put_text(w, 0, "srv.vmsd", vmsd);
    put_text(w, 0, "srv.vmx",
             "displayName = \"Mail server\"\nscsi0:0.fileName = \"srv-000010.vmdk\"\n");
    put_text(w, 0, "other.vmsd",
             "snapshot0.uid = \"1\"\nsnapshot0.displayName = \"of another machine\"\n"
             "snapshot0.disk0.fileName = \"another.vmdk\"\n");
    put_text(w, 1, "srv.vmsd", vmsd); /* another directory: names its own srv.vmdk */
    world_ready(w);
}

static void test_names(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    struct chain *chain = NULL;
    struct world w;

    (void)state;
    machine_make(&w);
    assert_ok(chain_open(&w.source, "srv-000002.vmdk", NULL, &chain, &err));
    assert_non_null(chain->name);
    assert_null(chain->name[0].name);                          /* nobody froze the tip */
    assert_string_equal(chain->name[1].name, "before update"); /* whatever the letters' case */
    assert_string_equal(chain->name[2].name, "Clean install");
    assert_string_equal(chain->name[2].description, "as delivered");
    assert_true(chain->name[2].has_created);
    assert_int_equal(chain->name[2].created_sec, 1669649052);
    assert_false(chain->name[1].has_created);
    assert_int_equal(chain->vm.n, 2); /* the one of dir 1 names SRV-000001 by a path */
    assert_string_equal(chain->vm.v[0].machine, "Mail server");
    assert_int_equal(chain->vm.v[0].n, 4);
    assert_int_equal(chain->vm.v[0].current, 2);
    assert_int_equal(chain->vm.v[0].v[0].member, 2);
    assert_int_equal(chain->vm.v[0].v[2].member, VM_NONE);
    assert_int_equal(chain->vm.v[0].v[3].parent, 2);
    assert_int_equal(chain->point, 0);
    assert_false(has_fact(chain, VD_FACT_INFO, "other.vmsd"));
    chain_free(chain);
    world_free(&w);
}

/* A member that was renamed is known by the name its child calls it. */
static void test_names_of_renamed(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    struct chain *chain = NULL;
    struct world w;

    (void)state;
    world_make(&w);
    put(&w, 0, "exhibit-1.vmdk", "dd", 1, "a", NULL, NULL);
    put(&w, 0, "exhibit-2.vmdk", "d.", 2, "b", "a", "srv.vmdk");
    put_text(&w, 0, "SRV.VMSD", vmsd);
    world_ready(&w);
    assert_ok(chain_open(&w.source, "exhibit-2.vmdk", NULL, &chain, &err));
    assert_non_null(chain->name);
    assert_string_equal(chain->name[1].name, "Clean install");
    chain_free(chain);
    world_free(&w);
}

/* Bad ones cost their names, never the chain. */
static void test_bad_machine_files(void **state)
{
    static char large[VM_MAX_FILE + 1];
    struct vd_err err = VD_ERR_INIT;
    struct chain *chain = NULL;
    struct world w;

    (void)state;
    memset(large, '\n', sizeof(large));
    world_make(&w);
    put(&w, 0, "srv.vmdk", "dd", 1, "a", NULL, NULL);
    test_write_file(w.path[0], "nul.vmsd", "snapshot0.uid\0", 14);
    test_write_file(w.path[0], "large.vmsd", large, sizeof(large));
    test_write_file(w.path[0], "empty.vmsd", "", 0);
    test_write_file(w.path[0], "nul.vmx", "\0", 1);
    put(&w, 0, "image.vmsd", "dd", 2, "b", NULL, NULL); /* an image with that name */
    put_text(&w, 0, "two.vmsd",
             "snapshot0.uid = \"1\"\nsnapshot0.displayName = \"A\"\n"
             "snapshot0.disk0.fileName = \"srv.vmdk\"\n"
             "snapshot1.uid = \"2\"\nsnapshot1.displayName = \"B\"\n"
             "snapshot1.disk0.fileName = \"srv.vmdk\"\n");
    world_ready(&w);
    assert_ok(chain_open(&w.source, "srv.vmdk", NULL, &chain, &err));
    assert_true(has_fact(chain, VD_FACT_WARNING, "nul.vmsd: not text"));
    assert_true(has_fact(chain, VD_FACT_WARNING, "large.vmsd: too large"));
    assert_true(has_fact(chain, VD_FACT_WARNING, "nul.vmx: not text"));
    assert_true(has_fact(chain, VD_FACT_WARNING, "snapshot \"B\" names the file srv.vmdk, and so"));
    assert_string_equal(chain->name[0].name, "A");
    chain_free(chain);
    world_free(&w);
}

/* ---- snapshot= ---- */

static void check_point(struct world *w, const char *snapshot, size_t expected)
{
    const struct chain_options options = {.snapshot = snapshot};
    struct vd_err err = VD_ERR_INIT;
    struct chain *chain = NULL;

    assert_ok(chain_open(&w->source, "srv-000002.vmdk", &options, &chain, &err));
    assert_int_equal(chain->n, 3); /* verified whole */
    assert_int_equal(chain->point, expected);
    assert_int_equal(count_facts(chain, "point"), 1);
    chain_free(chain);
}

static void check_no_point(struct world *w, const char *snapshot, const char *message)
{
    const struct chain_options options = {.snapshot = snapshot};
    struct vd_err err = VD_ERR_INIT;
    struct chain *chain = NULL;

    assert_fails(chain_open(&w->source, "srv-000002.vmdk", &options, &chain, &err), VD_EUSAGE,
                 message);
}

static void test_snapshot(void **state)
{
    struct world w;

    (void)state;
    machine_make(&w);
    check_point(&w, "0", 2);
    check_point(&w, "1", 1);
    check_point(&w, "002", 0);
    check_point(&w, "tip", 0);
    check_point(&w, "srv-000001.vmdk", 1);
    check_point(&w, "Clean install", 2);
    check_point(&w, "before update", 1);
    check_no_point(&w, "3",
                   "no such point; there are: 0 srv.vmdk \"Clean install\", 1 "
                   "srv-000001.vmdk \"before update\", 2 srv-000002.vmdk");
    check_no_point(&w, "99999999999999999999999", "no such point");
    check_no_point(&w, "-1", "no such point");
    check_no_point(&w, "", "no such point");
    check_no_point(&w, "of another machine", "no such point");
    check_no_point(&w, "experiment", "its disk is srv-000009.vmdk: open that file instead");
    world_free(&w);
}

static void test_ambiguous_snapshot(void **state)
{
    struct world w;

    (void)state;
    world_make(&w);
    put(&w, 0, "srv.vmdk", "dd", 1, "a", NULL, NULL);
    put(&w, 0, "srv-000001.vmdk", "d.", 2, "b", "a", "srv.vmdk");
    put(&w, 0, "srv-000002.vmdk", ".d", 3, "c", "b", "srv-000001.vmdk");
    put_text(&w, 0, "srv.vmsd",
             "snapshot0.uid = \"1\"\nsnapshot0.displayName = \"same\"\n"
             "snapshot0.disk0.fileName = \"srv.vmdk\"\n"
             "snapshot1.uid = \"2\"\nsnapshot1.displayName = \"same\"\n"
             "snapshot1.disk0.fileName = \"srv-000001.vmdk\"\n"
             "snapshot2.uid = \"3\"\nsnapshot2.displayName = \"2\"\n"
             "snapshot2.disk0.fileName = \"gone.vmdk\"\n");
    world_ready(&w);
    check_no_point(&w, "same",
                   "can mean 2 things: the snapshot of that name in srv.vmdk; the "
                   "snapshot of that name in srv-000001.vmdk");
    check_no_point(&w, "2", "can mean 2 things");
    check_point(&w, "1", 1);
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unequal_copies),
        cmocka_unit_test(test_the_byte_that_differs_is_named),
        cmocka_unit_test(test_a_reason_is_given_once),
        cmocka_unit_test(test_copies_that_differ_elsewhere),
        cmocka_unit_test(test_hint_decides),
        cmocka_unit_test(test_unwritten_snapshots),
        cmocka_unit_test(test_branches),
        cmocka_unit_test(test_many_newer),
        cmocka_unit_test(test_newer_circle),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_names_of_renamed),
        cmocka_unit_test(test_bad_machine_files),
        cmocka_unit_test(test_snapshot),
        cmocka_unit_test(test_ambiguous_snapshot),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
