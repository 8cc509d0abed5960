/* SPDX-License-Identifier: Apache-2.0 */
/* A file system in memory, for tests of what stands on fs.h: names may hold any byte, repeat, be
 * empty; attributes are what the test wants.  Fill it first, then use it from any thread. */
#ifndef VD_TEST_FAKEFS_H
#define VD_TEST_FAKEFS_H

#include "fs/fs.h"

#include <stdatomic.h>

struct fakefs;

#define FAKEFS_ROOT 2

/* One object; the test may change it before use. */
struct fakefs_object {
    uint64_t addr;
    struct fs_attr attr; /* set: kind, nlink 1, size of content */
    uint8_t *content;
    size_t content_len;
    char *link;
    size_t link_len;
    struct fakefs_stream {
        char *name;
        uint16_t id;
        size_t size; /* content: bytes of value (uint8_t)id */
    } stream[8];
    size_t n_streams;
};

/* What the file system does besides answering. */
struct fakefs_control {
    atomic_uint n_readdir; /* calls of readdir */
    atomic_uint n_lookup;
    atomic_size_t fail_after; /* readdir fails after this many entries; SIZE_MAX: never */
    atomic_uint delay_us;     /* of each readdir */
};

/* A file system of the given type name with an empty root; never NULL (aborts the test). */
struct fakefs *fakefs_new(const char *type);
void fakefs_free(struct fakefs *fake);
struct fs *fakefs_fs(struct fakefs *fake);
struct fakefs_control *fakefs_control(struct fakefs *fake);

/* Adds an entry; makes the object if there is none with this address.  Gives the object, valid
 * until the next add. */
struct fakefs_object *fakefs_add(struct fakefs *fake, uint64_t dir, const char *name, size_t len,
                                 uint64_t addr, enum fs_kind kind);
struct fakefs_object *fakefs_object(struct fakefs *fake, uint64_t addr);
void fakefs_set_content(struct fakefs *fake, uint64_t addr, const void *bytes, size_t len);
void fakefs_set_link(struct fakefs *fake, uint64_t addr, const char *target, size_t len);
void fakefs_add_stream(struct fakefs *fake, uint64_t addr, const char *name, uint16_t id,
                       size_t size);

#endif
