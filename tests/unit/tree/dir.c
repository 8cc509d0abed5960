/* SPDX-License-Identifier: Apache-2.0 */
/* Directories: hostile names, repeated names, large directories, errors, threads.  fixture_list
 * checks that names are valid, unique, and found by lookup under the same node. */
#include "fixture.h"

#include "base/limits.h"
#include "tree/names.h"
#include "tree/node.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int setup(void **state)
{
    struct fixture *f = malloc(sizeof(*f));

    if (!f)
        abort();
    fixture_start(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture_stop(*state);
    free(*state);
    return 0;
}

static void add(struct fixture *f, const char *name, size_t len, uint64_t addr)
{
    (void)fakefs_add(f->fake[0], FAKEFS_ROOT, name, len, addr, FS_FILE);
}

static void add_text(struct fixture *f, const char *name, uint64_t addr)
{
    add(f, name, strlen(name), addr);
}

static void check(struct fixture *f, const char *const *expected, size_t n)
{
    struct names names;
    size_t i;

    fixture_tree(f);
    fixture_list(f, f->fs[0], &names);
    assert_int_equal(names.n, n);
    for (i = 0; i < n; i++)
        assert_string_equal(names.v[i].name, expected[i]);
    names_free(&names);
}

static void hostile_names(void **state)
{
    static const char *const expected[] = {
        "a%2Fb",  "%2E", "%2E%2E", "%",   "%25", "new%0Aline", "%1B[31m", "\xe2\x80\xaegpj.exe",
        "%FF%FE", "A",   "%2541",  "-rf", "a",   "A~9x"};
    struct fixture *f = *state;

    add_text(f, "a/b", 10);
    add_text(f, ".", 11);
    add_text(f, "..", 12);
    add_text(f, "", 13);
    add_text(f, "%", 14);
    add_text(f, "new\nline", 15);
    add_text(f, "\x1b[31m", 16);
    add_text(f, "\xe2\x80\xaegpj.exe", 17);
    add_text(f, "\xff\xfe", 18);
    add_text(f, "A", 19);
    add_text(f, "%41", 20);
    add_text(f, "-rf", 21);
    add_text(f, "a", 22);
    add_text(f, "A~9x", 23);
    check(f, expected, 14);
    fixture_absent(f, f->fs[0], "%41");
    fixture_absent(f, f->fs[0], "a%2fb");
    fixture_absent(f, f->fs[0], "a/b");
    fixture_absent(f, f->fs[0], ".");
    fixture_absent(f, f->fs[0], "..");
    fixture_absent(f, f->fs[0], "");
    fixture_absent(f, f->fs[0], "\xff\xfe");
    fixture_absent(f, f->fs[0], "%61");
    fixture_absent(f, f->fs[0], "%00");
}

static void repeated_names(void **state)
{
    static const char *const expected[] = {
        "a",        /* 5: the first keeps its name */
        "a~6",      /* 6: repeated */
        "a~7~3",    /* 7: repeated, "a~7" is really there */
        "a~7",      /* 8: its real name */
        "a~5~5",    /* 5 again: "a~5" is really there too */
        "a~5",      /* 9 */
        "a~6~7",    /* 6 again */
        "a~7~7",    /* 10: a name that looks made */
        "a~7~9",    /* 7 again, at position 9 */
        "a~5~10~2", /* 5 again: "a~5~10" is really there */
        "a~5~10",   /* 11 */
        "%2E",      /* 12 */
        "%2E~13",   /* 13 */
    };
    struct fixture *f = *state;

    add_text(f, "a", 5);
    add_text(f, "a", 6);
    add_text(f, "a", 7);
    add_text(f, "a~7", 8);
    add_text(f, "a", 5);
    add_text(f, "a~5", 9);
    add_text(f, "a", 6);
    add_text(f, "a~7~7", 10);
    add_text(f, "a", 7);
    add_text(f, "a", 5);
    add_text(f, "a~5~10", 11);
    add_text(f, ".", 12);
    add_text(f, ".", 13);
    check(f, expected, 13);
    fixture_absent(f, f->fs[0], "a~8");
    fixture_absent(f, f->fs[0], "a~6~2");
    fixture_absent(f, f->fs[0], "b~6");
}

/* Streams of files, also of one whose name the listing made. */
static void streams(void **state)
{
    struct fixture *f = *state;

    (void)fakefs_add(f->fake[1], FAKEFS_ROOT, "a", 1, 5, FS_FILE);
    (void)fakefs_add(f->fake[1], FAKEFS_ROOT, "a", 1, 6, FS_FILE);
    (void)fakefs_add(f->fake[1], FAKEFS_ROOT, "d", 1, 7, FS_DIR);
    fakefs_add_stream(f->fake[1], 5, "s", 3, 4);
    fakefs_add_stream(f->fake[1], 6, "s/1", 4, 4);
    fakefs_add_stream(f->fake[1], 7, "on dir", 5, 4);
    fixture_tree(f);
    assert_int_equal(fixture_find(f, f->fs[1], "a:s"), node_object(2, 5, 3));
    assert_int_equal(fixture_find(f, f->fs[1], "a~6:s%2F1"), node_object(2, 6, 4));
    assert_int_equal(fixture_find(f, f->fs[1], "d:on dir"), node_object(2, 7, 5));
    fixture_absent(f, f->fs[1], "a:s%2F1");
    fixture_absent(f, f->fs[1], "a~6:s");
    fixture_absent(f, f->fs[1], "a~5:s");
    fixture_absent(f, f->fs[1], "a:");
    fixture_absent(f, f->fs[1], "a~6:");
}

static void reading_streams(void **state)
{
    struct fixture *f = *state;
    struct vd_err err = VD_ERR_INIT;
    struct stat st;
    char buf[16];
    size_t len;
    bool uncached;

    (void)fakefs_add(f->fake[1], FAKEFS_ROOT, "d", 1, 7, FS_DIR);
    fakefs_add_stream(f->fake[1], 7, "x", 0x41, 4);
    fixture_tree(f);
    assert_ok(tree_getattr(f->tree, node_object(2, 7, 0x41), &st, &err));
    assert_int_equal(st.st_mode, S_IFREG | 0444);
    assert_int_equal(st.st_size, 4);
    assert_ok(tree_open(f->tree, node_object(2, 7, 0x41), &uncached, &err));
    assert_ok(tree_read(f->tree, node_object(2, 7, 0x41), 1, buf, 16, &len, &err));
    assert_int_equal(len, 3);
    assert_memory_equal(buf, "AAA", 3);
    assert_fails(tree_open(f->tree, node_object(2, 7, 0), &uncached, &err), VD_EREFUSED, "");
}

/* NTFS names of 255 units: 765 bytes stay as they are; what passes 1,024 bytes is cut. */
static void long_names(void **state)
{
    struct fixture *f = *state;
    struct names names;
    char name[2048];
    size_t i;

    for (i = 0; i < 255; i++)
        memcpy(name + 3 * i, "\xe2\x82\xac", 3);
    add(f, name, 765, 10);
    memset(name, 'x', sizeof(name));
    add(f, name, 1024, 11);
    add(f, name, 1025, 12);
    add(f, name, 1026, 12); /* cut to the same text, same address */
    add(f, name, 1024, 13); /* repeated and as long as can be */
    memset(name, '\x01', 765);
    add(f, name, 765, 14); /* 2,295 bytes when escaped */
    fixture_tree(f);
    fixture_list(f, f->fs[0], &names);
    assert_int_equal(names.n, 6);
    assert_int_equal(strlen(names.v[0].name), 765);
    assert_int_equal(strlen(names.v[1].name), 1024);
    assert_string_equal(names.v[2].name + 1021, "~12");
    assert_string_equal(names.v[3].name + 1019, "~12~4");
    assert_string_equal(names.v[4].name + 1021, "~13");
    assert_int_equal(strlen(names.v[5].name), 1020 + 3);
    assert_string_equal(names.v[5].name + 1017, "%01~14");
    names_free(&names);
    memset(name, 'x', sizeof(name));
    name[1025] = '\0';
    fixture_absent(f, f->fs[0], name);
}

static void addresses_that_do_not_fit(void **state)
{
    struct fixture *f = *state;
    struct vd_err err = VD_ERR_INIT;
    struct vd_str seen = VD_STR_INIT;
    uint64_t node;
    struct stat st;

    add_text(f, "far", FS_ADDR_MAX + 6);
    add_text(f, "near", 5);
    fixture_tree(f);
    assert_fails(tree_lookup(f->tree, f->fs[0], "far", &node, &err), VD_ELIMIT, "address");
    assert_int_equal(fixture_find(f, f->fs[0], "near"), node_object(1, 5, 0));
    node = node_object(1, FS_ADDR_MAX + 6, 0);
    assert_fails(tree_getattr(f->tree, node, &st, &err), VD_ELIMIT, "address");
    vd_str_clear(&seen);
}

static void a_hundred_thousand_entries(void **state)
{
    struct fixture *f = *state;
    struct names names;
    char name[32];
    uint64_t i;

    for (i = 0; i < 100000; i++) {
        /* every tenth name comes twice */
        (void)snprintf(name, sizeof(name), "file %" PRIu64, i - i % 10 / 9);
        add_text(f, name, 1000 + i);
    }
    fixture_tree(f);
    fixture_list(f, f->fs[0], &names);
    assert_int_equal(names.n, 100000);
    for (i = 0; i < 100000; i++)
        if (names.v[i].node != node_object(1, 1000 + i, 0))
            fail_msg("entry %" PRIu64 " is out of order", i);
    assert_string_equal(names.v[9].name, "file 8~1009");
    assert_string_equal(names.v[8].name, "file 8");
    /* all pieces came from one walk */
    assert_int_equal(atomic_load(&fakefs_control(f->fake[0])->n_readdir), 1);
    names_free(&names);
}

/* The same name and address, 100,000 times: linear, not quadratic. */
static void one_name_many_times(void **state)
{
    struct fixture *f = *state;
    struct names names;
    uint64_t i;

    for (i = 0; i < 100000; i++)
        (void)fakefs_add(f->fake[0], i < 50000 ? 77 : 78, "same", 4, 5, FS_FILE);
    fixture_tree(f);
    fixture_list(f, node_object(1, 77, 0), &names);
    assert_int_equal(names.n, 50000);
    assert_string_equal(names.v[0].name, "same");
    assert_string_equal(names.v[1].name, "same~5");
    assert_string_equal(names.v[49999].name, "same~5~50000");
    names_free(&names);
}

static void ordinary_lookups_need_no_listing(void **state)
{
    struct fixture *f = *state;

    add_text(f, "x", 5);
    add_text(f, "x~5", 6);
    fixture_tree(f);
    (void)fixture_find(f, f->fs[0], "x");
    (void)fixture_find(f, f->fs[0], "x~5");
    fixture_absent(f, f->fs[0], "y");
    fixture_absent(f, f->fs[0], "%41");
    fixture_absent(f, f->fs[0], "a:b");
    fixture_absent(f, f->fs[0], "a~5:b"); /* ext4: no streams */
    assert_int_equal(atomic_load(&fakefs_control(f->fake[0])->n_readdir), 0);
    fixture_absent(f, f->fs[0], "y~5");
    assert_int_equal(atomic_load(&fakefs_control(f->fake[0])->n_readdir), 1);
}

struct seen {
    uint64_t n, cookie;
};

static int count(void *ctx, const char *name, uint64_t node, mode_t type, uint64_t next_cookie)
{
    struct seen *s = ctx;

    (void)name;
    (void)node;
    (void)type;
    s->n++;
    s->cookie = next_cookie;
    return 0;
}

/* What can be read of a damaged directory is shown, then the error; nothing is remembered. */
static void damaged_directory(void **state)
{
    struct fixture *f = *state;
    struct fakefs_control *control = fakefs_control(f->fake[0]);
    struct vd_err err = VD_ERR_INIT;
    struct seen s = {0};
    uint64_t node;

    add_text(f, "a", 5);
    add_text(f, "a", 6);
    add_text(f, "a", 7);
    fixture_tree(f);
    atomic_store(&control->fail_after, 2);
    assert_ok(tree_readdir(f->tree, f->fs[0], 0, count, &s, &err));
    assert_int_equal(s.n, 2);
    assert_fails(tree_readdir(f->tree, f->fs[0], s.cookie, count, &s, &err), VD_EIO, "bad sector");
    assert_int_equal(s.n, 2);
    assert_int_equal(fixture_find(f, f->fs[0], "a~6"), node_object(1, 6, 0));
    /* it may be in the part that is lost: not "no such name" */
    assert_fails(tree_lookup(f->tree, f->fs[0], "a~7", &node, &err), VD_EIO, "bad sector");
    atomic_store(&control->fail_after, 0);
    assert_fails(tree_readdir(f->tree, f->fs[0], 0, count, &s, &err), VD_EIO, "bad sector");
    atomic_store(&control->fail_after, SIZE_MAX);
    s = (struct seen){0};
    assert_ok(tree_readdir(f->tree, f->fs[0], 0, count, &s, &err));
    assert_int_equal(s.n, 3);
    assert_int_equal(fixture_find(f, f->fs[0], "a~7"), node_object(1, 7, 0));
}

/* More directories than the cache keeps. */
static void many_directories(void **state)
{
    struct fixture *f = *state;
    struct vd_err err = VD_ERR_INIT;
    struct seen s = {0};
    uint64_t i, before;

    for (i = 0; i < 6000; i++) {
        (void)fakefs_add(f->fake[0], 100 + i % 60, "x", 1, 5, FS_FILE);
    }
    fixture_tree(f);
    for (i = 0; i < 20000; i++)
        assert_ok(tree_readdir(f->tree, node_object(1, 100 + i % 10000, 0), 0, count, &s, &err));
    before = atomic_load(&fakefs_control(f->fake[0])->n_readdir);
    assert_int_equal(before, 20000); /* least recently used goes first: none was left */
    assert_ok(tree_readdir(f->tree, node_object(1, 100 + 19999 % 10000, 0), 0, count, &s, &err));
    assert_int_equal(atomic_load(&fakefs_control(f->fake[0])->n_readdir), before);
}

struct job {
    struct fixture *f;
    unsigned seed;
    int failures;
};

static void *worker(void *arg)
{
    struct job *job = arg;
    struct fixture *f = job->f;
    unsigned i;

    for (i = 0; i < 400; i++) {
        struct seen s = {0};
        uint64_t dir = node_object(1, 100 + (i * 7 + job->seed) % 5, 0), node = 0;
        int rc = tree_readdir(f->tree, dir, 0, count, &s, NULL);

        if (!(rc == 0 && (s.n == 50 || s.n == 20)) && rc != -VD_EIO)
            job->failures++;
        rc = tree_lookup(f->tree, dir, "x~5~3", &node, NULL);
        if (!(rc == 0 && node == node_object(1, 5, 0)) && rc != -VD_EIO)
            job->failures++;
        if (i % 50 == job->seed)
            atomic_store(&fakefs_control(f->fake[0])->fail_after, i % 100 < 50    ? SIZE_MAX
                                                                  : job->seed % 2 ? 20
                                                                                  : 0);
    }
    return NULL;
}

static void threads(void **state)
{
    struct fixture *f = *state;
    struct job job[8];
    pthread_t thread[8];
    unsigned i;

    for (i = 0; i < 250; i++)
        (void)fakefs_add(f->fake[0], 100 + i % 5, "x", 1, 5, FS_FILE);
    atomic_store(&fakefs_control(f->fake[0])->delay_us, 20);
    fixture_tree(f);
    for (i = 0; i < 8; i++) {
        job[i] = (struct job){f, i, 0};
        assert_int_equal(pthread_create(&thread[i], NULL, worker, &job[i]), 0);
    }
    for (i = 0; i < 8; i++) {
        assert_int_equal(pthread_join(thread[i], NULL), 0);
        assert_int_equal(job[i].failures, 0);
    }
}

static void *read_once(void *arg)
{
    struct job *job = arg;
    struct seen s = {0};

    if (tree_readdir(job->f->tree, job->f->fs[0], 0, count, &s, NULL) || s.n != 1)
        job->failures++;
    return NULL;
}

/* Eight readers of one slow directory: one walk. */
static void single_flight(void **state)
{
    struct fixture *f = *state;
    struct job job[8];
    pthread_t thread[8];
    unsigned i;

    add_text(f, "x", 5);
    atomic_store(&fakefs_control(f->fake[0])->delay_us, 200000);
    fixture_tree(f);
    for (i = 0; i < 8; i++) {
        job[i] = (struct job){f, i, 0};
        assert_int_equal(pthread_create(&thread[i], NULL, read_once, &job[i]), 0);
    }
    for (i = 0; i < 8; i++) {
        assert_int_equal(pthread_join(thread[i], NULL), 0);
        assert_int_equal(job[i].failures, 0);
    }
    assert_int_equal(atomic_load(&fakefs_control(f->fake[0])->n_readdir), 1);
}

/* 300 random directories over a small alphabet: whatever the names are, readdir and lookup agree,
 * and a second mount shows the same. */
static void random_directories(void **state)
{
    static const char alphabet[] = "a~567%2E/.:\xff";
    uint8_t bytes[2048];
    unsigned round, i;

    (void)state;
    for (round = 0; round < 300; round++) {
        struct fixture f;
        struct names one, two;
        size_t at = 0;

        fixture_start(&f);
        test_fill(bytes, sizeof(bytes), round + 1);
        for (i = 0; i < 60; i++) {
            char name[8];
            size_t len = bytes[at++] % 7, k;

            for (k = 0; k < len; k++)
                name[k] = alphabet[bytes[at++] % (sizeof(alphabet) - 1)];
            (void)fakefs_add(f.fake[round % 2], FAKEFS_ROOT, name, len, 5 + bytes[at++] % 4,
                             FS_FILE);
        }
        fixture_tree(&f);
        fixture_list(&f, f.fs[round % 2], &one);
        tree_free(f.tree);
        fixture_tree(&f);
        fixture_list(&f, f.fs[round % 2], &two);
        assert_int_equal(one.n, 60);
        assert_int_equal(two.n, 60);
        for (i = 0; i < 60; i++) {
            assert_string_equal(one.v[i].name, two.v[i].name);
            assert_int_equal(one.v[i].node, two.v[i].node);
        }
        names_free(&one);
        names_free(&two);
        fixture_stop(&f);
    }
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(hostile_names),
        TEST(repeated_names),
        TEST(streams),
        TEST(reading_streams),
        TEST(long_names),
        TEST(addresses_that_do_not_fit),
        TEST(a_hundred_thousand_entries),
        TEST(one_name_many_times),
        TEST(ordinary_lookups_need_no_listing),
        TEST(damaged_directory),
        TEST(many_directories),
        TEST(threads),
        TEST(single_flight),
        cmocka_unit_test(random_directories),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
