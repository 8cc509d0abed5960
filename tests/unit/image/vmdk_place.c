/* SPDX-License-Identifier: Apache-2.0 */
/* What table entries mean, and how two copies of a table become one. */
#include "vmdk_build.h"

#include "image/vmdk/tables.h"

#include <string.h>

/* 10 grains of 8 sectors and a half one, 4 entries a table, a file of 200 sectors; header 0,
 * descriptor 1-2, directory 4, redundant directory 6. */
static struct vmdk_geometry geometry(uint32_t flags)
{
    struct vmdk_header h = {.version = 1,
                            .flags = flags,
                            .capacity_sectors = 84,
                            .grain_sectors = 8,
                            .descriptor_off_sectors = 1,
                            .descriptor_sectors = 2,
                            .gt_entries = 4,
                            .gd_off_sectors = 4,
                            .rgd_off_sectors = 6};
    struct vmdk_geometry g;

    vmdk_geometry_init(&h, 200 * 512, &g);
    return g;
}

static void test_shape(void **state)
{
    struct vmdk_geometry g = geometry(0);

    (void)state;
    assert_int_equal(g.gd_entries, 3);
    assert_int_equal(g.gt_span, 16384);
    assert_int_equal(vmdk_grain_bytes(&g, 9), 4096);
    assert_int_equal(vmdk_grain_bytes(&g, 10), 2048);
    assert_int_equal(vmdk_table_entries(&g, 0), 4);
    assert_int_equal(vmdk_table_entries(&g, 2), 3);
}

static void test_place(void **state)
{
    static const struct {
        uint32_t flags, gte;
        uint64_t grain;
        enum vmdk_place_kind kind;
        uint64_t len;
        const char *why;
    } cases[] = {
        {0, 0, 0, VMDK_PLACE_ABSENT, 0, NULL},
        {VB_ZERO_GRAIN, 1, 0, VMDK_PLACE_ZEROS, 0, NULL},
        {0, 1, 0, VMDK_PLACE_BAD, 0, "into the header, the descriptor"},
        {0, 3, 0, VMDK_PLACE_BAD, 0, "grain directory"}, /* sectors 3-10 touch the directory */
        {0, 6, 0, VMDK_PLACE_DATA, 4096, NULL},          /* no redundant directory without flag */
        {VB_REDUNDANT, 6, 0, VMDK_PLACE_BAD, 0, "grain directory"},
        {0, 7, 0, VMDK_PLACE_DATA, 4096, NULL},
        {0, 192, 0, VMDK_PLACE_DATA, 4096, NULL}, /* the last whole grain */
        {0, 193, 0, VMDK_PLACE_DATA, 3584, "ends inside"},
        {0, 199, 0, VMDK_PLACE_DATA, 512, "ends inside"},
        {0, 196, 10, VMDK_PLACE_DATA, 2048, NULL}, /* the last grain of the disk is short */
        {0, 200, 0, VMDK_PLACE_BAD, 0, "past the end"},
        {0, 0xfffffffe, 0, VMDK_PLACE_BAD, 0, "past the end"},
        {0, VMDK_GTE_AMBIGUOUS, 0, VMDK_PLACE_BAD, 0, "two copies"},
        {VB_COMPRESSED, 199, 0, VMDK_PLACE_DATA, 1, NULL},
        {VB_COMPRESSED, 200, 0, VMDK_PLACE_BAD, 0, "past the end"},
        {VB_COMPRESSED, 2, 0, VMDK_PLACE_BAD, 0, "descriptor"},
        {VB_COMPRESSED, 3, 0, VMDK_PLACE_DATA, 1, NULL},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct vmdk_geometry g = geometry(cases[i].flags);
        struct vmdk_place p = vmdk_place_of(&g, cases[i].grain, cases[i].gte);

        if (p.kind != cases[i].kind || p.len != cases[i].len ||
            (p.why == NULL) != (cases[i].why == NULL) ||
            (p.why && !test_contains(p.why, cases[i].why)))
            fail_msg("case %zu: kind %d, len %llu, %s", i, (int)p.kind, (unsigned long long)p.len,
                     p.why ? p.why : "-");
        if (p.kind == VMDK_PLACE_DATA)
            assert_int_equal(p.off, (uint64_t)cases[i].gte * 512);
    }
}

/* Sector 1 without the flag, where it is neither descriptor nor directory: data like any other. */
static void test_sector_one(void **state)
{
    struct vmdk_header h = {.version = 1,
                            .capacity_sectors = 80,
                            .grain_sectors = 8,
                            .gt_entries = 4,
                            .gd_off_sectors = 100};
    struct vmdk_geometry g;
    struct vmdk_place p;

    (void)state;
    vmdk_geometry_init(&h, 200 * 512, &g);
    p = vmdk_place_of(&g, 0, 1);
    assert_int_equal(p.kind, VMDK_PLACE_DATA);
    assert_int_equal(p.off, 512);
}

#define BAD 5000 /* past the end of the file */
#define AMB VMDK_GTE_AMBIGUOUS

static void test_merge(void **state)
{
    static const struct {
        const char *name;
        uint32_t p[4], r[4], out[4];
        bool differ;
        uint32_t n_unclear;
        bool provable;
    } cases[] = {
        {"equal", {10, 20, 0, 1}, {10, 20, 0, 1}, {10, 20, 0, 1}, false, 0},
        {"primary wiped", {0, 0, 0, 0}, {10, 20, 0, 1}, {10, 20, 0, 1}, true, 0},
        {"redundant wiped", {10, 20, 0, 1}, {0, 0, 0, 0}, {10, 20, 0, 1}, true, 0},
        {"redundant older", {10, 20, 30, 0}, {10, 0, 30, 0}, {10, 20, 30, 0}, true, 0, true},
        {"each lacks one", {10, 0, 30, 0}, {0, 20, 30, 0}, {10, 20, 30, 0}, true, 0, true},
        {"lone entry", {0, 0, 0, 0}, {0, 20, 0, 0}, {0, 20, 0, 0}, true, 0, true},
        {"lone entry, no proof", {0, 0, 0, 0}, {0, 20, 0, 0}, {0, AMB, 0, 0}, true, 1, false},
        {"older, no proof", {10, 20, 30, 0}, {10, 0, 30, 0}, {10, AMB, 30, 0}, true, 1, false},
        {"primary wiped, redundant damaged",
         {0, 0, 0, 0},
         {10, BAD, 0, 0},
         {10, BAD, 0, 0},
         true,
         0,
         false},
        {"redundant wiped, primary damaged",
         {10, BAD, 0, 0},
         {0, 0, 0, 0},
         {10, BAD, 0, 0},
         true,
         0,
         false},
        {"primary damaged", {BAD, 20, 0, 40}, {10, 20, 30, 0}, {10, 20, 30, 0}, true, 0},
        {"redundant damaged", {10, 20, 30, 0}, {10, BAD, 0, 40}, {10, 20, 30, 0}, true, 0},
        {"different places", {10, 20, 30, 0}, {10, 40, 30, 0}, {10, AMB, 30, 0}, true, 1},
        {"both damaged", {BAD, 20, 30, 0}, {10, BAD, 30, 40}, {10, 20, 30, AMB}, true, 1},
        {"both damaged at one place",
         {BAD, 20, 0, 0},
         {BAD + 1, 20, 0, 0},
         {AMB, 20, 0, 0},
         true,
         1},
        {"both damaged, one says none", {BAD, 20, 0, 0}, {0, BAD, 0, 0}, {AMB, 20, 0, 0}, true, 1},
        {"damaged alike", {BAD, 20, 0, 0}, {BAD, 20, 0, 0}, {BAD, 20, 0, 0}, false, 0},
        {"zeroed or data", {1, 20, 0, 0}, {10, 20, 0, 0}, {AMB, 20, 0, 0}, true, 1},
        {"zeroed or none", {0, 20, 0, 0}, {1, 20, 0, 0}, {AMB, 20, 0, 0}, true, 1, true},
    };
    struct vmdk_geometry g = geometry(VB_ZERO_GRAIN);
    struct vmdk_merge result;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint32_t t[4];

        memcpy(t, cases[i].p, sizeof(t));
        g.provable = cases[i].provable;
        vmdk_gt_merge(&g, 0, t, cases[i].r, 4, &result);
        if (memcmp(t, cases[i].out, sizeof(t)) != 0 || result.differ != cases[i].differ ||
            result.n_unclear != cases[i].n_unclear)
            fail_msg("%s: %u %u %u %u (%u unclear)", cases[i].name, t[0], t[1], t[2], t[3],
                     result.n_unclear);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shape),
        cmocka_unit_test(test_place),
        cmocka_unit_test(test_sector_one),
        cmocka_unit_test(test_merge),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
