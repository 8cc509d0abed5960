/* SPDX-License-Identifier: Apache-2.0 */
/* Directory lists: order, look-up, duplicates, hostile names, cookies, damage. */
#include "testlib.h"

#include "fs/dirlist.h"

#include <stdio.h>
#include <string.h>

static struct vd_err err;

struct seen {
    uint64_t addrs[8], cookies[8];
    unsigned n, stop_after;
};

static int see(void *ctx, const struct fs_entry *entry, uint64_t next)
{
    struct seen *seen = ctx;

    seen->addrs[seen->n] = entry->addr;
    seen->cookies[seen->n++] = next;
    return seen->n == seen->stop_after;
}

static struct fs_dirlist *four(void)
{
    struct fs_dirlist *list = fs_dirlist_new();

    assert_non_null(list);
    assert_ok(fs_dirlist_add(list, "b", 1, 1, FS_FILE, &err));
    assert_ok(fs_dirlist_add(list, ".", 1, 99, FS_DIR, &err));
    assert_ok(fs_dirlist_add(list, "..", 2, 99, FS_DIR, &err));
    assert_ok(fs_dirlist_add(list, "a/\n\xff", 4, 2, FS_DIR, &err));
    assert_ok(fs_dirlist_add(list, "b", 1, 3, FS_SYMLINK, &err));
    assert_ok(fs_dirlist_add(list, "...", 3, 4, FS_FILE, &err));
    return list;
}

static void order_and_cookies(void **state)
{
    struct fs_dirlist *list = four();
    struct seen seen = {.stop_after = 2};

    (void)state;
    assert_ok(fs_dirlist_finish(list, &err));
    assert_ok(fs_dirlist_walk(list, 0, see, &seen, &err));
    assert_int_equal(seen.n, 2);
    seen.stop_after = 0;
    assert_ok(fs_dirlist_walk(list, seen.cookies[1], see, &seen, &err));
    assert_int_equal(seen.n, 4);
    assert_int_equal(seen.addrs[0], 1);
    assert_int_equal(seen.addrs[1], 2);
    assert_int_equal(seen.addrs[2], 3);
    assert_int_equal(seen.addrs[3], 4);
    assert_ok(fs_dirlist_walk(list, UINT64_MAX, see, &seen, &err));
    assert_int_equal(seen.n, 4);
    fs_dirlist_free(list);
}

static void finds_the_first_of_equal_names(void **state)
{
    struct fs_dirlist *list = four();
    struct fs_entry e;

    (void)state;
    assert_ok(fs_dirlist_finish(list, &err));
    assert_ok(fs_dirlist_find(list, "b", 1, &e, &err));
    assert_int_equal(e.addr, 1);
    assert_ok(fs_dirlist_find(list, "a/\n\xff", 4, &e, &err));
    assert_int_equal(e.addr, 2);
    assert_int_equal(e.kind, FS_DIR);
    assert_fails(fs_dirlist_find(list, "B", 1, &e, &err), VD_ENOENT, "no such name");
    assert_fails(fs_dirlist_find(list, "..", 2, &e, &err), VD_ENOENT, "no such name");
    fs_dirlist_free(list);
}

static void damage_is_not_silent(void **state)
{
    struct fs_dirlist *list = four();
    struct vd_err damage = VD_ERR_INIT;
    struct seen seen = {0};
    struct fs_entry e;

    (void)state;
    fs_dirlist_set_damage(list, vd_fail(&damage, VD_ECORRUPT, "block 7"), &damage);
    assert_ok(fs_dirlist_finish(list, &err));
    assert_fails(fs_dirlist_walk(list, 0, see, &seen, &err), VD_ECORRUPT, "block 7");
    assert_int_equal(seen.n, 4);
    assert_ok(fs_dirlist_find(list, "b", 1, &e, &err));
    assert_fails(fs_dirlist_find(list, "zzz", 3, &e, &err), VD_ECORRUPT, "block 7");
    fs_dirlist_free(list);
}

static void many_names(void **state)
{
    struct fs_dirlist *list = fs_dirlist_new();
    char name[32];
    struct fs_entry e;
    unsigned i;

    (void)state;
    for (i = 0; i < 20000; i++) {
        int n = snprintf(name, sizeof(name), "name-%u", i);

        assert_ok(fs_dirlist_add(list, name, (size_t)n, i, FS_FILE, &err));
    }
    assert_ok(fs_dirlist_finish(list, &err));
    for (i = 0; i < 20000; i++) {
        int n = snprintf(name, sizeof(name), "name-%u", i);

        assert_ok(fs_dirlist_find(list, name, (size_t)n, &e, &err));
        assert_int_equal(e.addr, i);
    }
    fs_dirlist_free(list);
}

static void empty(void **state)
{
    struct fs_dirlist *list = fs_dirlist_new();
    struct fs_entry e;

    (void)state;
    assert_ok(fs_dirlist_finish(list, &err));
    assert_fails(fs_dirlist_find(list, "a", 1, &e, &err), VD_ENOENT, "no such name");
    fs_dirlist_free(list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_and_cookies),
        cmocka_unit_test(finds_the_first_of_equal_names),
        cmocka_unit_test(damage_is_not_silent),
        cmocka_unit_test(many_names),
        cmocka_unit_test(empty),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
