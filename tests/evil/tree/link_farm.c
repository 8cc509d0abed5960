/* SPDX-License-Identifier: Apache-2.0 */
/*
 * No set of links leaves fs/: 10,000 random link farms are made as real links, as the tree shows
 * them, and resolved by the kernel.  Outside of fs/ the same names exist, so that an escape finds
 * something.  The control run shows the raw targets: there links do escape.
 */
#include "testlib.h"

#include "base/text.h"
#include "tree/links.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define N_LINKS 6
#define N_FARMS 10000

struct farm {
    char outer[PATH_MAX], fs[PATH_MAX];
    size_t escapes, resolved;
};

/* Directories of fs/ (and, by the same names, of everything above it). */
static const char *const dirs[] = {"", "a", "b", "a/a", "a/b", "b/a", "a/b/a"};
static const unsigned depths[] = {0, 1, 1, 2, 2, 2, 3};

static void make_dirs(const char *base)
{
    char path[PATH_MAX];
    size_t i;

    for (i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
        (void)snprintf(path, sizeof(path), "%.3500s/%s", base, dirs[i]);
        (void)mkdir(path, 0755);
    }
}

static void start(struct farm *f, const char *tmp)
{
    static const char *const above[] = {"", "/m", "/m/p1", "/m/p1/fs"};
    size_t i;
    char path[PATH_MAX];

    if (!realpath(tmp, f->outer))
        fail_msg("realpath");
    for (i = 0; i < 4; i++) {
        (void)snprintf(path, sizeof(path), "%.3000s%s", f->outer, above[i]);
        make_dirs(path);
    }
    (void)snprintf(f->fs, sizeof(f->fs), "%.3000s/m/p1/fs", f->outer);
}

static void random_target(const uint8_t **random, char *out, size_t size)
{
    static const char *const parts[] = {"..", "..", "..", "a",  "b",  "l0", "l1", "l2",
                                        "l3", "l4", "l5", "l0", "l3", ".",  "",   "a"};
    size_t n = *(*random)++ % 7 + 1, i;

    (void)snprintf(out, size, "%s", *(*random)++ % 4 == 0 ? "/" : "");
    for (i = 0; i < n; i++)
        (void)snprintf(out + strlen(out), size - strlen(out), "%s%s", i ? "/" : "",
                       parts[*(*random)++ % 16]);
    if (!*out)
        (void)snprintf(out, size, "..");
}

static void one_farm(struct farm *f, uint64_t seed, bool contain)
{
    uint8_t bytes[N_LINKS * 16];
    const uint8_t *random = bytes;
    char path[N_LINKS][PATH_MAX], real[PATH_MAX], raw[256];
    size_t i, fs_len = strlen(f->fs);
    struct vd_err err = VD_ERR_INIT;

    test_fill(bytes, sizeof(bytes), seed);
    for (i = 0; i < N_LINKS; i++) {
        struct vd_str shown = VD_STR_INIT;
        size_t dir = *random++ % 7;

        random_target(&random, raw, sizeof(raw));
        if (contain)
            assert_ok(links_contain(raw, strlen(raw), false, depths[dir], &shown, &err));
        (void)snprintf(path[i], PATH_MAX, "%.3000s/%s/l%zu", f->fs, dirs[dir], i);
        if (symlink(contain ? shown.p : raw, path[i]))
            fail_msg("symlink %s", path[i]);
        vd_str_clear(&shown);
    }
    for (i = 0; i < N_LINKS; i++) {
        if (!realpath(path[i], real))
            continue; /* dangling, or a loop */
        f->resolved++;
        if (strncmp(real, f->fs, fs_len) != 0 || (real[fs_len] && real[fs_len] != '/')) {
            f->escapes++;
            if (contain)
                fail_msg("farm %llu: %s leads to %s", (unsigned long long)seed, path[i], real);
        }
    }
    for (i = 0; i < N_LINKS; i++)
        (void)unlink(path[i]);
}

static void no_farm_escapes(void **state)
{
    struct farm f = {.escapes = 0};
    char *tmp = test_tmpdir();
    uint64_t i;

    (void)state;
    start(&f, tmp);
    for (i = 1; i <= N_FARMS; i++)
        one_farm(&f, i, true);
    assert_int_equal(f.escapes, 0);
    assert_true(f.resolved > N_FARMS); /* they do lead somewhere */
    test_rmdir(tmp);
}

static void raw_farms_do_escape(void **state)
{
    struct farm f = {.escapes = 0};
    char *tmp = test_tmpdir();
    uint64_t i;

    (void)state;
    start(&f, tmp);
    for (i = 1; i <= N_FARMS / 10; i++)
        one_farm(&f, i, false);
    if (f.escapes < 50)
        fail_msg("only %zu of %zu resolved links escape: the farms are too tame", f.escapes,
                 f.resolved);
    test_rmdir(tmp);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_farm_escapes),
        cmocka_unit_test(raw_farms_do_escape),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
