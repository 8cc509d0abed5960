/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Content of nodes: opening, reading, and where the holes are.
 *
 * Images pass through to the block layer; a range the block layer calls zeros is a hole, everything
 * else (stored, unreadable, not known) is data: "hole" is said only where the format says zeros.
 * Files of a file system are all data.  Any thread; may block on the evidence.
 */
#include "tree/tree_private.h"

#include "base/cleanup.h"
#include "base/range.h"

#include <string.h>

/* Runs looked at by one SEEK.  A 64 TiB VHDX of zeros has 67 million: the answer is then "data
 * here" (or "no hole before the end"), which is always right, and the next SEEK goes on. */
#define SEEK_MAX_RUNS 65536

int tree_open(struct tree *tree, uint64_t node, bool *out_uncached, struct vd_err *err)
{
    struct fs_attr attr = {0};
    VD_AUTO(place) struct place p;
    int rc = tree_find(tree, node, &p, err);

    if (!rc && (p.what == PLACE_DIR || p.what == PLACE_LINK))
        return vd_fail(err, VD_EREFUSED, "a directory or link cannot be opened for reading");
    if (!rc && p.what == PLACE_OBJECT) {
        rc = tree_fs_attr(&p, &attr, err);
        if (!rc && attr.kind != FS_FILE)
            rc = vd_fail(err, VD_EREFUSED,
                         "only regular files are opened; devices, FIFOs and sockets of the "
                         "evidence never");
    }
    if (!rc)
        *out_uncached = p.what == PLACE_IMAGE;
    return rc;
}

int tree_read(struct tree *tree, uint64_t node, uint64_t off, void *buf, size_t len,
              size_t *out_len, struct vd_err *err)
{
    VD_AUTO(place) struct place p;
    uint64_t size;
    int rc = tree_find(tree, node, &p, err);

    if (rc)
        return rc;
    if (p.what == PLACE_DIR || p.what == PLACE_LINK)
        return vd_fail(err, VD_EREFUSED, "a directory or link cannot be read as a file");
    if (p.what == PLACE_OBJECT || p.what == PLACE_STREAM)
        return fs_read(p.fs, p.id.addr, p.id.stream, off, buf, len, out_len, err);
    size = p.what == PLACE_TEXT ? p.text->len : p.size;
    len = off < size ? (size_t)vd_min(len, size - off) : 0;
    if (len && p.what == PLACE_TEXT)
        memcpy(buf, p.text->p + off, len);
    else if (len)
        rc = blk_read(p.dev, p.start + off, buf, len, err);
    if (rc && err && err->has_offset && err->offset >= p.start)
        err->offset -= p.start; /* the range of the file that was asked */
    if (!rc)
        *out_len = len;
    return rc;
}

static int seek_image(const struct place *p, uint64_t off, bool want_data, uint64_t *out_off,
                      struct vd_err *err)
{
    unsigned runs;

    for (runs = 0; off < p->size; runs++) {
        struct blk_extent run;
        int rc;

        if (runs == SEEK_MAX_RUNS) {
            *out_off = want_data ? off : p->size;
            return 0;
        }
        rc = blk_map(p->dev, p->start + off, p->size - off, &run, err);
        if (rc)
            return rc;
        if ((run.status != BLK_ZEROS) == want_data) {
            *out_off = off;
            return 0;
        }
        off += run.len;
    }
    if (want_data)
        return vd_fail(err, VD_ENOENT, "no data from here to the end");
    *out_off = p->size; /* the hole that stands after every file */
    return 0;
}

int tree_seek(struct tree *tree, uint64_t node, uint64_t off, bool want_data, uint64_t *out_off,
              struct vd_err *err)
{
    VD_AUTO(place) struct place p;
    struct stat st;
    uint64_t size;
    int rc = tree_find(tree, node, &p, err);

    if (!rc)
        rc = tree_getattr(tree, node, &st, err);
    if (rc)
        return rc;
    size = (uint64_t)st.st_size;
    if (!S_ISREG(st.st_mode))
        return vd_fail(err, VD_EREFUSED, "only regular files have data and holes");
    if (off >= size)
        return vd_fail(err, VD_ENOENT, "offset is past the end");
    if (p.what == PLACE_IMAGE)
        return seek_image(&p, off, want_data, out_off, err);
    *out_off = want_data ? off : size;
    return 0;
}
