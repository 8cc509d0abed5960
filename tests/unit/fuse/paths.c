/* SPDX-License-Identifier: Apache-2.0 */
#include "fakes.h"

#include "fuse/paths.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct vd_err err;

static bool add(struct paths *p, uint64_t node, uint64_t parent, const char *name)
{
    return paths_add(p, node, parent, name, strlen(name));
}

static void expect_path(struct paths *p, uint64_t node, const char *path)
{
    char buf[PATHS_MAX];
    size_t len = paths_get(p, node, buf, sizeof(buf));

    assert_string_equal(buf, path);
    assert_int_equal(len, strlen(path));
}

static struct paths *table(void)
{
    struct paths *p;

    assert_ok(paths_new(&p, &err));
    assert_true(add(p, 10, TREE_ROOT, "p1"));
    assert_true(add(p, 11, 10, "fs"));
    assert_true(add(p, 12, 11, "home"));
    assert_true(add(p, 13, 12, "a b"));
    return p;
}

static void builds_paths(void **state)
{
    struct paths *p = table();

    (void)state;
    expect_path(p, TREE_ROOT, "");
    expect_path(p, 10, "p1");
    expect_path(p, 13, "p1/fs/home/a b");
    expect_path(p, 99, "?");
    assert_true(add(p, 50, 49, "child"));
    expect_path(p, 50, "?/child");
    assert_true(add(p, 51, 0, "")); /* asked for by number */
    expect_path(p, 51, "?");
    assert_true(add(p, 51, 12, "named"));
    expect_path(p, 51, "p1/fs/home/named");
    assert_true(add(p, 51, 0, ".")); /* by number again: the name stays */
    expect_path(p, 51, "p1/fs/home/named");
    paths_free(p);
}

static void counts_lookups(void **state)
{
    struct paths *p = table();

    (void)state;
    assert_int_equal(paths_count(p), 5);
    assert_true(add(p, 13, 12, "a b"));
    assert_true(add(p, 13, 12, "a b"));
    paths_forget(p, 13, 2);
    expect_path(p, 13, "p1/fs/home/a b");
    paths_forget(p, 13, 1);
    expect_path(p, 13, "?");
    assert_int_equal(paths_count(p), 4);
    paths_forget(p, 13, 1);    /* unknown */
    paths_forget(p, 12, 1000); /* more than counted */
    assert_int_equal(paths_count(p), 3);
    paths_forget(p, TREE_ROOT, 1000);
    expect_path(p, TREE_ROOT, "");
    paths_free(p);
}

static void latest_name_wins(void **state)
{
    struct paths *p = table();

    (void)state;
    assert_true(add(p, 13, 11, "other name"));
    expect_path(p, 13, "p1/fs/other name");
    assert_true(add(p, 13, 12, "a b"));
    expect_path(p, 13, "p1/fs/home/a b");
    paths_forget(p, 13, 2); /* three lookups so far: renaming keeps the count */
    expect_path(p, 13, "p1/fs/home/a b");
    paths_forget(p, 13, 1);
    expect_path(p, 13, "?");
    paths_free(p);
}

static void bounded_length_and_depth(void **state)
{
    char name[1001], small[20];
    struct paths *p;
    uint64_t i;
    char *buf = malloc(PATHS_MAX);

    (void)state;
    assert_non_null(buf);
    assert_ok(paths_new(&p, &err));
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    for (i = 2; i < 40; i++)
        assert_true(add(p, i, i - 1, name));
    assert_true(paths_get(p, 39, buf, PATHS_MAX) < PATHS_MAX);
    assert_memory_equal(buf, "?/nnn", 5);
    assert_int_equal(paths_get(p, 2, small, sizeof(small)), 1);
    assert_string_equal(small, "?");

    for (i = 100; i < 100 + 5000; i++) /* deeper than the bound, short names */
        assert_true(add(p, i, i == 100 ? TREE_ROOT : i - 1, "d"));
    assert_true(paths_get(p, 5099, buf, PATHS_MAX) <= PATHS_MAX);
    assert_memory_equal(buf, "?/d/d", 5);
    assert_int_equal(paths_depth(p, 5099), TREE_DEPTH_UNKNOWN);
    free(buf);
    paths_free(p);
}

static void loops_end(void **state)
{
    struct paths *p = table();
    char buf[PATHS_MAX];

    (void)state;
    assert_true(add(p, 20, 21, "x"));
    assert_true(add(p, 21, 20, "y"));
    (void)paths_get(p, 20, buf, sizeof(buf));
    assert_memory_equal(buf, "?/", 2);
    assert_int_equal(paths_depth(p, 20), TREE_DEPTH_UNKNOWN);
    assert_true(add(p, 22, 22, "self"));
    (void)paths_get(p, 22, buf, sizeof(buf));
    assert_memory_equal(buf, "?/", 2);

    /* A directory that contains its ancestor still has the depth of the short way. */
    assert_true(add(p, 12, 13, "loop"));
    assert_int_equal(paths_depth(p, 13), 1);
    paths_free(p);
}

static void depth_is_the_smallest(void **state)
{
    struct paths *p = table();
    uint64_t i;

    (void)state;
    assert_int_equal(paths_depth(p, TREE_ROOT), TREE_DEPTH_UNKNOWN);
    assert_int_equal(paths_depth(p, 10), TREE_DEPTH_UNKNOWN);
    assert_int_equal(paths_depth(p, 11), TREE_DEPTH_UNKNOWN);
    assert_int_equal(paths_depth(p, 12), 0);
    assert_int_equal(paths_depth(p, 13), 1);
    assert_int_equal(paths_depth(p, 99), TREE_DEPTH_UNKNOWN);

    /* An evidence directory named fs is not the volume's fs/. */
    assert_true(add(p, 14, 13, "fs"));
    assert_true(add(p, 15, 14, "link"));
    assert_int_equal(paths_depth(p, 15), 3);
    expect_path(p, 15, "p1/fs/home/a b/fs/link");

    /* A second, shorter place counts although the latest place is the longer one. */
    assert_true(add(p, 15, 11, "link"));
    assert_true(add(p, 15, 14, "link"));
    expect_path(p, 15, "p1/fs/home/a b/fs/link");
    assert_int_equal(paths_depth(p, 15), 0);

    /* A parent that the kernel forgot no longer counts … */
    assert_true(add(p, 30, 12, "d"));
    assert_true(add(p, 16, 14, "l"));
    assert_true(add(p, 16, 30, "l"));
    assert_int_equal(paths_depth(p, 16), 2);
    paths_forget(p, 30, 1);
    assert_int_equal(paths_depth(p, 16), 3);

    /* … and with more parents than are remembered nothing is claimed. */
    for (i = 0; i < 9; i++) {
        assert_true(add(p, 40 + i, 11, "dir"));
        assert_true(add(p, 17, 40 + i, "l"));
        assert_int_equal(paths_depth(p, 17), i < 8 ? 1 : TREE_DEPTH_UNKNOWN);
    }
    paths_free(p);
}

#define THREADS 8
#define ROUNDS  3000

struct worker {
    struct paths *p;
    unsigned number;
};

/* Looks up and forgets the same nodes as the others, with differing names, and reads paths. */
static void *hammer(void *arg)
{
    const struct worker *w = arg;
    char name[32], buf[PATHS_MAX];
    unsigned i;

    for (i = 0; i < ROUNDS; i++) {
        uint64_t node = 1000 + i % 200;

        (void)snprintf(name, sizeof(name), "n%u", (i + w->number) % 3);
        if (!add(w->p, node, 12 + i % 2, name))
            return arg;
        (void)paths_get(w->p, node, buf, sizeof(buf));
        if (strncmp(buf, "p1/fs/home/", 11) != 0)
            return arg;
        if (paths_depth(w->p, node) > 2)
            return arg;
        paths_forget(w->p, node, 1);
    }
    return NULL;
}

static void concurrent_lookups_and_forgets(void **state)
{
    struct paths *p = table();
    pthread_t thread[THREADS];
    struct worker worker[THREADS];
    unsigned i;

    (void)state;
    for (i = 0; i < THREADS; i++) {
        worker[i].p = p;
        worker[i].number = i;
        assert_int_equal(pthread_create(&thread[i], NULL, hammer, &worker[i]), 0);
    }
    for (i = 0; i < THREADS; i++) {
        void *failed;

        assert_int_equal(pthread_join(thread[i], &failed), 0);
        assert_null(failed);
    }
    assert_int_equal(paths_count(p), 5); /* every lookup was forgotten */
    paths_free(p);
}

static void grows_and_shrinks(void **state)
{
    struct paths *p = table();
    char name[32];
    uint64_t i;

    (void)state;
    for (i = 0; i < 100000; i++) {
        (void)snprintf(name, sizeof(name), "f%u", (unsigned)i);
        assert_true(add(p, (i << 20) + 5000, 13, name));
    }
    assert_int_equal(paths_count(p), 100005);
    expect_path(p, (UINT64_C(77777) << 20) + 5000, "p1/fs/home/a b/f77777");
    for (i = 0; i < 100000; i++)
        paths_forget(p, (i << 20) + 5000, 1);
    assert_int_equal(paths_count(p), 5);
    paths_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(builds_paths),
        cmocka_unit_test(counts_lookups),
        cmocka_unit_test(latest_name_wins),
        cmocka_unit_test(bounded_length_and_depth),
        cmocka_unit_test(loops_end),
        cmocka_unit_test(depth_is_the_smallest),
        cmocka_unit_test(concurrent_lookups_and_forgets),
        cmocka_unit_test(grows_and_shrinks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
