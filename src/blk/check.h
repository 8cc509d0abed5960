/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Structural check: what is wrong with the structures of an image, found by walking all of them.
 * Opening looks only at what it needs within its time; a check reads every table entry.
 *
 * A layer with structures of its own has a `check` operation (blkdev.h) that reports each finding
 * here.  Reports are not bounded by the layer: whoever collects them counts by id and keeps the
 * first few of each.  One thread.
 */
#ifndef VD_BLK_CHECK_H
#define VD_BLK_CHECK_H

#include "base/err.h"

enum check_level {
    CHECK_NOTE,    /* sound, but worth knowing: space that nothing refers to, a replayed log */
    CHECK_WARNING, /* off, but every byte can still be told: redundant copies that differ, a damaged
                      spare header */
    CHECK_ERROR    /* bytes of the disk cannot be told, or a structure breaks the format */
};

/* Where: in the file, on the member's disk, or both. */
struct check_place {
    bool in_file;
    uint64_t file_off; /* of the structure or entry that is wrong, bytes */
    bool on_disk;
    uint64_t disk_off, disk_len; /* bytes of the disk that it concerns */
};

struct check {
    /* `id`: stable word for programs ("entry_past_end"); `file`: name of the evidence file; `place`
     * may be NULL; `text`: printable, one line, without the file's name. */
    void (*finding)(void *ctx, enum check_level level, const char *id, const char *file,
                    const struct check_place *place, const char *text);
    /* `n` more of `what` ("grains", "payload blocks") were looked at in `file`. */
    void (*count)(void *ctx, const char *file, const char *what, uint64_t n);
    void *ctx;
};

/* Formats and reports one finding; evidence strings in it are made printable. */
void check_finding(const struct check *check, enum check_level level, const char *id,
                   const char *file, const struct check_place *place, const char *fmt, ...)
    __attribute__((format(printf, 6, 7)));

void check_count(const struct check *check, const char *file, const char *what, uint64_t n);

#endif
