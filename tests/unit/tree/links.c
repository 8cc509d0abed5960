/* SPDX-License-Identifier: Apache-2.0 */
/* Targets of symbolic links: how each kind of target is shown. */
#include "fixture.h"

#include "tree/links.h"
#include "tree/node.h"

#include <stdlib.h>
#include <string.h>

static void check(const char *raw, bool windows, unsigned depth, const char *expected)
{
    struct vd_str out = VD_STR_INIT;
    struct vd_err err = VD_ERR_INIT;

    assert_ok(links_contain(raw, strlen(raw), windows, depth, &out, &err));
    if (strcmp(out.p, expected) != 0)
        fail_msg("\"%s\" at depth %u: \"%s\", expected \"%s\"", raw, depth, out.p, expected);
    vd_str_clear(&out);
}

static void posix_targets(void **state)
{
    (void)state;
    /* harmless: byte for byte */
    check("a", false, 0, "a");
    check("./a//b/", false, 0, "./a//b/");
    check("../a", false, 1, "../a");
    check("../../a/b", false, 2, "../../a/b");
    check("..", false, 1, "..");
    check(".", false, 0, ".");
    check("100%", false, 0, "100%");
    check("a\\b", false, 0, "a\\b");
    check("C:\\x", false, 0, "C:\\x");
    check("a", false, TREE_DEPTH_UNKNOWN, "a");
    /* absolute: from fs/ */
    check("/etc/x", false, 0, "etc/x");
    check("/etc/x", false, 2, "../../etc/x");
    check("/", false, 0, ".");
    check("/", false, 1, "..");
    check("///", false, 2, "../..");
    check("/../../x", false, 1, "../x");
    check("/a/../../x", false, 1, "../x");
    /* climbing: stops at fs/ */
    check("../x", false, 0, "x");
    check("../../../../etc/passwd", false, 2, "../../etc/passwd");
    check("..", false, 0, ".");
    check("../..", false, 1, "..");
    check("../../", false, 1, "..");
    /* name/.. is folded */
    check("a/..", false, 0, ".");
    check("a/../b", false, 3, "b");
    check("a/../../b", false, 3, "../b");
    check("a/../../b", false, 0, "b");
    check("../a/../../b", false, 1, "../b");
    check("../a/../../b", false, 2, "../../b");
    check("a/b/../../../c/./d", false, 5, "../c/d");
    /* names as the tree shows them */
    check("\x1b/a", false, 0, "%1B/a");
    check("a/%41", false, 0, "a/%2541");
    check("/\xff", false, 1, "../%FF");
    check("a/%/b", false, 0, "a/%25/b");
}

static void windows_targets(void **state)
{
    (void)state;
    check("\\??\\C:\\Users\\x", true, 0, "Users/x");
    check("\\??\\C:\\Users\\x", true, 2, "../../Users/x");
    check("\\\\?\\C:\\Users", true, 1, "../Users");
    check("C:\\x\\..\\..\\y", true, 1, "../y");
    check("c:", true, 1, "..");
    check("\\??\\Volume{01234567-0000-0000-0000-100000000000}\\a", true, 1, "../a");
    check("\\??\\UNC\\server\\share", true, 0, "UNC/server/share");
    check("\\\\server\\share\\x", true, 1, "../server/share/x");
    check("..\\a", true, 1, "../a");
    check("..\\..\\a", true, 1, "../a");
    check("a\\b", true, 0, "a/b");
    check("../a", true, 1, "../a");
    check("/mnt/c", true, 1, "../mnt/c");
}

static void refused_targets(void **state)
{
    char raw[8192];
    struct vd_str out = VD_STR_INIT;
    struct vd_err err = VD_ERR_INIT;

    (void)state;
    assert_fails(links_contain("", 0, false, 0, &out, &err), VD_ECORRUPT, "empty");
    assert_fails(links_contain("\0x", 2, false, 0, &out, &err), VD_ECORRUPT, "empty");
    assert_fails(links_contain("/x", 2, false, TREE_DEPTH_UNKNOWN, &out, &err), VD_EREFUSED,
                 "climbs");
    assert_fails(links_contain("../x", 4, false, TREE_DEPTH_UNKNOWN, &out, &err), VD_EREFUSED,
                 "climbs");
    memset(raw, 'x', sizeof(raw));
    assert_ok(links_contain(raw, PATH_MAX - 1, false, 0, &out, &err));
    assert_int_equal(out.len, PATH_MAX - 1);
    vd_str_clear(&out);
    assert_fails(links_contain(raw, PATH_MAX, false, 0, &out, &err), VD_ELIMIT, "PATH_MAX");
    vd_str_clear(&out);
    assert_fails(links_contain("/", 1, false, 4000000000u, &out, &err), VD_ELIMIT, "PATH_MAX");
    vd_str_clear(&out);
}

static void through_the_tree(void **state)
{
    static const char raw[] = "/a\0b";
    struct fixture f;
    struct vd_err err = VD_ERR_INIT;
    char *target;
    size_t len;
    int mode;

    (void)state;
    fixture_start(&f);
    (void)fakefs_add(f.fake[0], FAKEFS_ROOT, "l", 1, 10, FS_SYMLINK);
    fakefs_set_link(f.fake[0], 10, raw, 4);
    (void)fakefs_add(f.fake[1], FAKEFS_ROOT, "w", 1, 10, FS_SYMLINK);
    fakefs_set_link(f.fake[1], 10, "\\??\\C:\\Users", 12);
    for (mode = 0; mode < 2; mode++) {
        f.options.symlinks = mode ? TREE_SYMLINKS_RAW : TREE_SYMLINKS_CONTAIN;
        fixture_tree(&f);
        assert_ok(tree_readlink(f.tree, node_object(1, 10, 0), 1, &target, &err));
        assert_string_equal(target, mode ? "/a" : "../a");
        free(target);
        assert_ok(tree_readlink(f.tree, node_object(2, 10, 0), 1, &target, &err));
        assert_string_equal(target, mode ? "\\??\\C:\\Users" : "../Users");
        free(target);
        assert_ok(tree_getxattr(f.tree, node_object(1, 10, 0), "user.vdiskfs.link_raw", &target,
                                &len, &err));
        assert_int_equal(len, 4);
        assert_memory_equal(target, raw, 4);
        free(target);
        assert_ok(
            tree_getxattr(f.tree, node_object(1, 10, 0), "vdiskfs.link_raw", &target, &len, &err));
        assert_int_equal(len, 4);
        free(target);
        /* what is listed on a link must be readable on a link */
        assert_ok(tree_listxattr(f.tree, node_object(1, 10, 0), &target, &len, &err));
        assert_int_equal(strncmp(target, "vdiskfs.kind", len), 0);
        free(target);
        assert_true(tree_readlink(f.tree, TREE_ROOT, 0, &target, &err) < 0);
        tree_free(f.tree);
        f.tree = NULL;
    }
    fixture_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(posix_targets),
        cmocka_unit_test(windows_targets),
        cmocka_unit_test(refused_targets),
        cmocka_unit_test(through_the_tree),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
