/* SPDX-License-Identifier: Apache-2.0 */
/* The evil matrix: every structure of every image kind, broken in every way.  See matrix.c. */
#ifndef VD_EVIL_MATRIX_H
#define VD_EVIL_MATRIX_H

#include "compare.h"

#define FIXTURE_RUNS 8

/* A small chain whose tip's files are broken; the parent (if any) has data everywhere. */
struct fixture {
    const char *name;
    struct wr_spec parent, tip;
    bool has_parent;
};

extern const struct fixture fixtures[];
extern const unsigned n_fixtures;

#endif
