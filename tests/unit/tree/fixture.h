/* SPDX-License-Identifier: Apache-2.0 */
/* A case made by hand over fake file systems, and the tree over it. */
#ifndef VD_TEST_TREE_FIXTURE_H
#define VD_TEST_TREE_FIXTURE_H

#include "fakefs.h"
#include "testlib.h"

#include "tree/tree.h"

struct fixture {
    struct vd_case whole;
    struct vd_point c; /* what the root shows */
    struct chain chain;
    struct image image;
    struct image *images[1];
    struct image_format format;
    struct volume volume[2];
    struct volume_gap gap[2];
    struct case_volume v[2];
    struct fakefs *fake[2]; /* p1: ext4, p3: ntfs */
    struct tree_options options;
    struct tree *tree;

    uint64_t fs[2]; /* node of p1/fs, p3/fs */
};

#define FIXTURE_DISK_SIZE (1u << 20)

/* A disk of 1 MiB: p1 at 64 KiB (256 KiB), p3 at 512 KiB (128 KiB), the rest gaps. */
void fixture_start(struct fixture *f);
/* Builds the tree; call after the file systems were filled. */
void fixture_tree(struct fixture *f);
void fixture_stop(struct fixture *f);

/* All names of a directory; each name and node is checked: valid, unique, found by lookup. */
struct names {
    struct name {
        char *name;
        uint64_t node;
        mode_t type;
    } * v;
    size_t n, cap;
};
void fixture_list(struct fixture *f, uint64_t dir, struct names *out);
void names_free(struct names *names);
/* Node of a name; fails the test when it is not there. */
uint64_t fixture_find(struct fixture *f, uint64_t dir, const char *name);
void fixture_absent(struct fixture *f, uint64_t dir, const char *name);

#endif
