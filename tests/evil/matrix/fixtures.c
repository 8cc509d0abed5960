/* SPDX-License-Identifier: Apache-2.0 */
/* The images that the matrix breaks: one for each kind and each way its tables can lie.  Small, so that
 * thousands of cases run in seconds. */
#include "matrix.h"

#define K       UINT64_C(1024)
#define M       (1024 * K)
#define RUNS(v) .runs = v, .n_runs = sizeof(v) / sizeof((v)[0])
#define ALL(size_, seed_)                                                                          \
    (const struct wr_run[])                                                                        \
    {                                                                                              \
        {                                                                                          \
            .len = (size_), .state = WR_DATA, .seed = (seed_)                                      \
        }                                                                                          \
    }

/* 4 KiB grains: data at both ends of tables, zeros, absent ones between; the last grain is short. */
static const struct wr_run grains[] = {
    {.off = 0, .len = 12 * K, .state = WR_DATA, .seed = 11},
    {.off = 20 * K, .len = 8 * K, .state = WR_ZEROS},
    {.off = 60 * K, .len = 12 * K, .state = WR_DATA, .seed = 12},
    {.off = 124 * K, .len = 8 * K, .state = WR_UNMAPPED},
    {.off = 132 * K, .len = 4 * K, .state = WR_DATA, .seed = 13},
    {.off = 192 * K, .len = 9 * K, .state = WR_DATA, .seed = 14},
};
#define GRAIN_DISK (201 * K)
/* COWD: 4,096 grains of one sector in a table; the second table is short. */
static const struct wr_run cowd[] = {
    {.off = 0, .len = 3 * K, .state = WR_DATA, .seed = 21},
    {.off = 6 * K, .len = 2 * K, .state = WR_ZEROS},
    {.off = 2 * M - 1 * K, .len = 3 * K, .state = WR_DATA, .seed = 22},
    {.off = 2 * M + 15 * K, .len = 1 * K, .state = WR_DATA, .seed = 23},
};
/* seSparse: 16 MiB in a table */
static const struct wr_run sesparse[] = {
    {.off = 0, .len = 12 * K, .state = WR_DATA, .seed = 31},
    {.off = 16 * K, .len = 8 * K, .state = WR_ZEROS},
    {.off = 32 * K, .len = 8 * K, .state = WR_UNMAPPED},
    {.off = 16 * M - 4 * K, .len = 12 * K, .state = WR_DATA, .seed = 32},
    {.off = 16 * M + 36 * K, .len = 4 * K, .state = WR_DATA, .seed = 33},
};
/* VHD, blocks of 64 KiB: whole ones, partial ones, the last one short */
static const struct wr_run vhd[] = {
    {.off = 0, .len = 64 * K, .state = WR_DATA, .seed = 41},
    {.off = 64 * K + 512, .len = 3 * K, .state = WR_DATA, .seed = 42},
    {.off = 128 * K - 512, .len = 512, .state = WR_DATA, .seed = 43},
    {.off = 192 * K, .len = 64 * K, .state = WR_ZEROS},
    {.off = 320 * K, .len = 10 * K, .state = WR_DATA, .seed = 44},
};
/* VHDX, blocks of 1 MiB */
static const struct wr_run vhdx[] = {
    {.off = 0, .len = 1 * M, .state = WR_DATA, .seed = 51},
    {.off = 1 * M + 4 * K, .len = 16 * K, .state = WR_DATA, .seed = 52},
    {.off = 2 * M, .len = 1 * M, .state = WR_ZEROS},
    {.off = 3 * M, .len = 1 * M, .state = WR_UNMAPPED},
    {.off = 5 * M, .len = 20 * K, .state = WR_DATA, .seed = 53},
};
#define VHDX_DISK (5 * M + 20 * K)

static const struct wr_extent extents[] = {
    {.kind = WR_EXTENT_SPARSE, .size = 64 * K, .unit = 4096},
    {.kind = WR_EXTENT_ZERO, .size = 8 * K},
    {.kind = WR_EXTENT_FLAT, .size = 60 * K, .start_sector = 3},
    {.kind = WR_EXTENT_STREAM, .size = 69 * K, .unit = 4096},
};

#define VMDK_PARENT                                                                                \
    {                                                                                              \
        .kind = WR_VMDK_FLAT, .name = "base.vmdk", .size = GRAIN_DISK, .id = 1,                    \
        .runs = ALL(GRAIN_DISK, 1), .n_runs = 1                                                    \
    }
#define HOSTED(name_, kind_, ...)                                                                  \
    {                                                                                              \
        .name = name_, .has_parent = true, .parent = VMDK_PARENT, .tip = {                         \
            .kind = kind_,                                                                         \
            .name = "tip.vmdk",                                                                    \
            .size = GRAIN_DISK,                                                                    \
            .unit = 4096,                                                                          \
            .id = 2,                                                                               \
            RUNS(grains),                                                                          \
            .knobs = {.n_gtes = 32, __VA_ARGS__}                                                   \
        }                                                                                          \
    }

const struct fixture fixtures[] = {
    HOSTED("sparse", WR_VMDK_SPARSE, .zero_grain = true),
    HOSTED("sparse-plain", WR_VMDK_SPARSE, .no_redundant = true, .shuffle = 3),
    HOSTED("stream", WR_VMDK_STREAM, .zero_grain = true),
    HOSTED("stream-no-footer", WR_VMDK_STREAM, .no_footer = true),
    {.name = "cowd",
     .has_parent = true,
     .parent = {.kind = WR_VMDK_FLAT,
                .name = "base.vmdk",
                .size = 2 * M + 16 * K,
                .id = 1,
                .runs = ALL(2 * M + 16 * K, 1),
                .n_runs = 1},
     .tip =
         {.kind = WR_VMDK_COWD, .name = "tip.vmdk", .size = 2 * M + 16 * K, .id = 2, RUNS(cowd)}},
    {.name = "sesparse",
     .has_parent = true,
     .parent = {.kind = WR_VMDK_FLAT,
                .name = "base.vmdk",
                .size = 16 * M + 40 * K,
                .id = 1,
                .runs = ALL(1 * M, 1),
                .n_runs = 1},
     .tip = {.kind = WR_VMDK_SESPARSE,
             .name = "tip.vmdk",
             .size = 16 * M + 40 * K,
             .id = 2,
             RUNS(sesparse)}},
    {.name = "extents",
     .tip = {.kind = WR_VMDK_CUSTOM,
             .name = "tip.vmdk",
             .size = GRAIN_DISK,
             .id = 2,
             RUNS(grains),
             .extents = extents,
             .n_extents = 4,
             .knobs = {.n_gtes = 32}}},
    {.name = "vhd-fixed",
     .tip = {.kind = WR_VHD_FIXED, .name = "tip.vhd", .size = 330 * K, .id = 2, RUNS(vhd)}},
    {.name = "vhd-dynamic",
     .tip = {.kind = WR_VHD_DYNAMIC,
             .name = "tip.vhd",
             .size = 330 * K,
             .unit = 64 * K,
             .id = 2,
             RUNS(vhd)}},
    {.name = "vhd-diff",
     .has_parent = true,
     .parent = {.kind = WR_VHD_DYNAMIC,
                .name = "base.vhd",
                .size = 330 * K,
                .unit = 64 * K,
                .id = 1,
                .runs = ALL(330 * K, 1),
                .n_runs = 1},
     .tip = {.kind = WR_VHD_DIFF,
             .name = "tip.avhd",
             .size = 330 * K,
             .unit = 64 * K,
             .id = 2,
             RUNS(vhd)}},
    {.name = "vhdx-fixed",
     .tip = {.kind = WR_VHDX_FIXED, .name = "tip.vhdx", .size = VHDX_DISK, .id = 2, RUNS(vhdx)}},
    {.name = "vhdx-dynamic",
     .tip = {.kind = WR_VHDX_DYNAMIC, .name = "tip.vhdx", .size = VHDX_DISK, .id = 2, RUNS(vhdx)}},
    {.name = "vhdx-diff",
     .has_parent = true,
     .parent = {.kind = WR_VHDX_DYNAMIC,
                .name = "base.vhdx",
                .size = VHDX_DISK,
                .id = 1,
                .runs = ALL(VHDX_DISK, 1),
                .n_runs = 1},
     .tip = {.kind = WR_VHDX_DIFF,
             .name = "tip.avhdx",
             .size = VHDX_DISK,
             .id = 2,
             RUNS(vhdx),
             .knobs = {.newer = WR_NEWER_SECOND}}},
    {.name = "vhdx-log",
     .tip = {.kind = WR_VHDX_DYNAMIC,
             .name = "tip.vhdx",
             .size = VHDX_DISK,
             .id = 2,
             RUNS(vhdx),
             .knobs = {.log = WR_LOG_ALL}}},
};
const unsigned n_fixtures = sizeof(fixtures) / sizeof(fixtures[0]);
