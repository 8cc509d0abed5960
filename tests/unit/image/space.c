/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "image/space.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GIB ((uint64_t)1 << 30)
#define TIB ((uint64_t)1 << 40)

struct claim {
    uint64_t off, len;
    const char *what;
    uint64_t index;
};

struct given {
    const struct claim *v;
    size_t n;
    unsigned walks;
    int fail_at; /* the n-th walk fails; 0: none */
};

struct seen {
    unsigned errors, warnings, notes;
    char text[80][256];
    char id[80][32];
    uint64_t off[80];
    unsigned n;
};

static int walk_given(void *ctx, struct space *space, struct vd_err *err)
{
    struct given *g = ctx;
    size_t i;

    if (++g->walks == (unsigned)g->fail_at)
        return vd_fail(err, VD_EIO, "walk %u", g->walks);
    for (i = 0; i < g->n; i++)
        space_claim(space, g->v[i].off, g->v[i].len, g->v[i].what, g->v[i].index);
    return 0;
}

static void take(void *ctx, enum check_level level, const char *id, const char *file,
                 const struct check_place *place, const char *text)
{
    struct seen *seen = ctx;

    assert_string_equal(file, "disk.vmdk");
    seen->errors += level == CHECK_ERROR;
    seen->warnings += level == CHECK_WARNING;
    seen->notes += level == CHECK_NOTE;
    assert_true(seen->n < 80);
    (void)snprintf(seen->text[seen->n], sizeof(seen->text[0]), "%s", text);
    (void)snprintf(seen->id[seen->n], sizeof(seen->id[0]), "%s", id);
    seen->off[seen->n++] = place && place->in_file ? place->file_off : UINT64_MAX;
}

static unsigned check_space(uint64_t size, uint32_t unit, const struct claim *v, size_t n,
                            struct seen *seen)
{
    struct given given = {.v = v, .n = n};
    struct check check = {.finding = take, .ctx = seen};
    struct vd_err err = VD_ERR_INIT;

    *seen = (struct seen){0};
    assert_ok(space_check(&check, "disk.vmdk", size, unit, walk_given, &given, &err));
    return given.walks;
}

#define CHECK(size, unit, claims, seen)                                                            \
    check_space(size, unit, claims, sizeof(claims) / sizeof((claims)[0]), seen)

static void a_full_file_says_nothing(void **state)
{
    const struct claim v[] = {{0, 512, "header", 0}, {1024, 1000, "grain", 7}, {512, 512, "t", 1}};
    struct seen seen;

    (void)state;
    assert_int_equal(CHECK(2024, 512, v, &seen), 2);
    assert_int_equal(seen.n, 0);
}

static void an_overlap_names_both(void **state)
{
    const struct claim v[] = {{0, 4096, "header", 0},
                              {4096, 8192, "grain", 17},
                              {12288, 4096, "grain", 18},
                              {8192, 8192, "grain table", 3}};
    struct seen seen;

    (void)state;
    CHECK(16384, 512, v, &seen);
    assert_int_equal(seen.errors, 1);
    assert_int_equal(seen.notes, 0);
    assert_string_equal(seen.id[0], "overlap");
    assert_int_equal(seen.off[0], 8192);
    assert_non_null(strstr(seen.text[0],
                           "8192 bytes at offset 8192 belong to grain 17 (offset 4096, from offset "
                           "12288 on to others) and to grain table 3 (offset 8192)"));
}

static void neighbours_are_told_apart(void **state)
{
    /* An overlap with two others in a row: the second of them is named, too. */
    const struct claim v[] = {{0, 1024, "a", 0}, {512, 512, "b", 1}, {1024, 512, "c", 2}};
    struct seen seen;

    (void)state;
    CHECK(1536, 512, v, &seen);
    assert_int_equal(seen.errors, 1);
    assert_non_null(strstr(seen.text[0], "512 bytes at offset 512 belong to a 0 (offset 0) and to "
                                         "b 1 (offset 512)"));
}

static void unused_space_is_one_note(void **state)
{
    const struct claim v[] = {{512, 512, "a", 0}, {2048, 512, "b", 0}};
    struct seen seen;

    (void)state;
    CHECK(3000, 512, v, &seen);
    assert_int_equal(seen.n, 1);
    assert_int_equal(seen.notes, 1);
    assert_string_equal(seen.id[0], "unreferenced");
    assert_int_equal(seen.off[0], 0);
    assert_non_null(strstr(seen.text[0], "1976 bytes in 3 ranges belong to no structure"));
    assert_non_null(strstr(seen.text[0], "the first: 512 bytes at offset 0"));
}

static void ends_are_rounded(void **state)
{
    const struct claim v[] = {{100, 500, "a", 0}, {4095, 1, "b", 0}};
    struct seen seen;

    (void)state;
    CHECK(4096, 1024, v, &seen);
    assert_int_equal(seen.n, 1);
    assert_non_null(
        strstr(seen.text[0], "2048 bytes belong to no structure and are not part of the disk"));
}

static void past_the_end_and_wrapping(void **state)
{
    const struct claim v[] = {{4096, 4096, "past", 0},        {UINT64_MAX, 1, "wraps", 0},
                              {2048, UINT64_MAX, "long", 0},  {0, 0, "empty", 0},
                              {2560, UINT64_MAX - 9, "l", 1}, {UINT64_MAX - 3, 99, "wraps", 1},
                              {0, 2048, "header", 0}};
    struct seen seen;

    (void)state;
    CHECK(4000, 512, v, &seen);
    assert_int_equal(seen.errors, 1);
    assert_int_equal(seen.n, 1);
    assert_non_null(strstr(seen.text[0], "1440 bytes at offset 2560 belong to long 0"));
}

static void nothing_claimed(void **state)
{
    struct seen seen;

    (void)state;
    assert_int_equal(check_space(4097, 512, NULL, 0, &seen), 1);
    assert_non_null(strstr(seen.text[0], "4097 bytes belong to no structure"));
    assert_int_equal(check_space(0, 512, NULL, 0, &seen), 1 - 1);
    assert_int_equal(seen.n, 0);
}

/* 62 TiB with claims in three windows of 128 GiB: only those are gone through. */
static void a_huge_sparse_file(void **state)
{
    const struct claim v[] = {{0, 512, "header", 0},
                              {61 * TIB, 65536, "grain", 1},
                              {61 * TIB + 65024, 512, "grain", 2},
                              {128 * GIB - 512, 1024, "grain", 3}, /* crosses windows 0 and 1 */
                              {128 * GIB - 512, 1024, "grain", 4}};
    struct seen seen;

    (void)state;
    assert_int_equal(CHECK(62 * TIB, 512, v, &seen), 1 + 3 + 1);
    assert_int_equal(seen.errors, 2); /* the one across two windows is one */
    assert_int_equal(seen.off[0], 128 * GIB - 512);
    assert_non_null(strstr(seen.text[0], "1024 bytes at"));
    assert_non_null(strstr(seen.text[0], "grain 3 (offset 137438952960) and to grain 4"));
    assert_int_equal(seen.off[1], 61 * TIB + 65024);
    assert_int_equal(seen.notes, 1);
    assert_non_null(strstr(seen.text[2], "in 3 ranges"));
    assert_non_null(strstr(seen.text[2], "the first: 137438952448 bytes at offset 512"));
}

static void the_largest_file(void **state)
{
    const struct claim v[] = {{0, 512, "a", 0}, {INT64_MAX - 1, 1, "b", 0}};
    struct check check = {.finding = take};
    struct given given = {0};
    struct vd_err err = VD_ERR_INIT;
    struct seen seen;

    (void)state;
    CHECK(INT64_MAX, 512, v, &seen);
    assert_int_equal(seen.n, 1);
    assert_fails(space_check(&check, "disk.vmdk", INT64_MAX, 1, walk_given, &given, &err),
                 VD_ELIMIT, "units of 1");
    assert_fails(space_check(&check, "disk.vmdk", 4096, 513, walk_given, &given, &err), VD_EUSAGE,
                 "units of 513");
}

struct far_ctx {
    unsigned n;
};

static int walk_far(void *ctx, struct space *space, struct vd_err *err)
{
    const struct far_ctx *f = ctx;
    unsigned i;

    (void)err;
    for (i = 0; i < f->n; i++)
        space_claim(space, i * 128 * GIB, 512, "grain", i);
    return 0;
}

/* Each window costs a walk of all tables, so their number is bounded; larger units, larger windows. */
static void passes_are_bounded(void **state)
{
    struct far_ctx f = {.n = 1030};
    struct seen seen = {0};
    struct check check = {.finding = take, .ctx = &seen};
    struct vd_err err = VD_ERR_INIT;

    (void)state;
    assert_ok(space_check(&check, "disk.vmdk", f.n * 128 * GIB, 512, walk_far, &f, &err));
    assert_int_equal(seen.warnings, 1);
    assert_string_equal(seen.id[0], "space_not_checked");
    assert_non_null(strstr(seen.text[0], "from offset 140737488355328 on"));
    assert_int_equal(seen.notes, 1);
    assert_non_null(strstr(seen.text[1], "in 1024 ranges"));

    seen = (struct seen){0};
    assert_ok(space_check(&check, "disk.vmdk", f.n * 128 * GIB, 2u << 20, walk_far, &f, &err));
    assert_int_equal(seen.warnings, 0);
    assert_non_null(strstr(seen.text[0], "in 1030 ranges"));
}

/* A table whose entries all say the same place. */
static int walk_same(void *ctx, struct space *space, struct vd_err *err)
{
    unsigned i;

    (void)ctx;
    (void)err;
    for (i = 0; i < 1000000; i++)
        space_claim(space, 65536, 65536, "grain", i);
    return 0;
}

static void a_million_at_one_place(void **state)
{
    struct seen seen = {0};
    struct check check = {.finding = take, .ctx = &seen};
    struct vd_err err = VD_ERR_INIT;

    (void)state;
    assert_ok(space_check(&check, "disk.vmdk", 1 * GIB, 512, walk_same, NULL, &err));
    assert_int_equal(seen.errors, 64 + 1);
    assert_non_null(strstr(seen.text[0], "belong to grain 0 (offset 65536) and to grain 1 "));
    assert_non_null(strstr(seen.text[63], "grain 0 (offset 65536) and to grain 64 "));
    assert_non_null(strstr(seen.text[64], "999935 more ranges"));
    assert_int_equal(seen.notes, 1);
}

static int walk_long(void *ctx, struct space *space, struct vd_err *err)
{
    unsigned i;

    (void)ctx;
    (void)err;
    for (i = 0; i < 1000000; i++)
        space_claim(space, 0, UINT64_MAX, "block", i);
    return 0;
}

/* A million blocks of a whole terabyte would be 2^51 units. */
static void it_gives_up_and_says_so(void **state)
{
    struct seen seen = {0};
    struct check check = {.finding = take, .ctx = &seen};
    struct vd_err err = VD_ERR_INIT;

    (void)state;
    assert_ok(space_check(&check, "disk.vmdk", 1 * TIB, 512, walk_long, NULL, &err));
    assert_true(seen.errors >= 2);
    assert_int_equal(seen.notes, 0);
    assert_non_null(strstr(seen.text[0], "belong to block 0 (offset 0) and to block 1 "));
    assert_non_null(strstr(seen.text[seen.n - 1], "the search for overlaps ended"));
}

static void a_failing_walk_is_passed_on(void **state)
{
    const struct claim v[] = {{0, 512, "a", 0}, {0, 512, "b", 0}};
    struct seen seen = {0};
    struct check check = {.finding = take, .ctx = &seen};
    int n;

    (void)state;
    for (n = 1; n <= 3; n++) {
        struct given given = {.v = v, .n = 2, .fail_at = n};
        struct vd_err err = VD_ERR_INIT;

        assert_fails(space_check(&check, "disk.vmdk", 512, 512, walk_given, &given, &err), VD_EIO,
                     "walk");
        assert_int_equal(seen.n, 0);
    }
}

/* Against a plain count per unit. */
static void random_claims(void **state)
{
    unsigned round;

    (void)state;
    srand(7);
    for (round = 0; round < 300; round++) {
        struct claim v[12];
        uint8_t used[64] = {0};
        unsigned i, units = 0, runs = 0, twice = 0;
        size_t n = 1 + (size_t)rand() % 12;
        struct seen seen;

        for (i = 0; i < n; i++) {
            uint64_t at = (uint64_t)rand() % 64, len = 1 + (uint64_t)rand() % 9, u;

            v[i] = (struct claim){at * 512, len * 512, "x", i};
            for (u = at; u < at + len && u < 64; u++)
                twice += used[u]++ != 0;
        }
        for (i = 0; i < 64; i++) {
            units += !used[i];
            runs += !used[i] && (i == 0 || used[i - 1]);
        }
        check_space(64 * 512, 512, v, n, &seen);
        assert_int_equal(seen.errors != 0, twice != 0);
        assert_int_equal(seen.notes, units != 0);
        if (units) {
            char want[64];

            if (runs == 1)
                (void)snprintf(want, sizeof(want), "%u bytes belong to no structure", units * 512);
            else
                (void)snprintf(want, sizeof(want), "%u bytes in %u ranges belong", units * 512,
                               runs);
            assert_non_null(strstr(seen.text[seen.n - 1], want));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_file_says_nothing),
        cmocka_unit_test(an_overlap_names_both),
        cmocka_unit_test(neighbours_are_told_apart),
        cmocka_unit_test(unused_space_is_one_note),
        cmocka_unit_test(ends_are_rounded),
        cmocka_unit_test(past_the_end_and_wrapping),
        cmocka_unit_test(nothing_claimed),
        cmocka_unit_test(a_huge_sparse_file),
        cmocka_unit_test(the_largest_file),
        cmocka_unit_test(passes_are_bounded),
        cmocka_unit_test(a_million_at_one_place),
        cmocka_unit_test(it_gives_up_and_says_so),
        cmocka_unit_test(a_failing_walk_is_passed_on),
        cmocka_unit_test(random_claims),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
