/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registry of image formats and the one way to open a file with the right one.  Every probe is
 * asked, on a bounded window of the file; two that claim it are an error, because choosing one
 * would be a guess.  "raw" claims nothing and takes what nobody claims.  No state; any thread.
 */
#include "image/image.h"

#include "base/cleanup.h"
#include "base/range.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

const struct image_format *const image_formats[] = {
    &image_format_vmdk, &image_format_vhdx, &image_format_vhd, &image_format_raw, NULL,
};

#define PIECE 512u

/* Bytes from the start of the file, as far as they can be read. */
static size_t read_head(struct blkdev *file, uint8_t *buf, size_t len, struct vd_err *err)
{
    size_t done = 0;

    if (blk_read(file, 0, buf, len, NULL) == 0)
        return len;
    while (done < len) {
        size_t n = (size_t)vd_min(PIECE, len - done);

        if (blk_read(file, done, buf + done, n, err))
            break;
        done += n;
    }
    return done;
}

/* Bytes at the end of the file, as far as they can be read from the end back.  They are moved to the
 * start of `buf`. */
static size_t read_tail(struct blkdev *file, uint8_t *buf, size_t len, struct vd_err *err)
{
    uint64_t start = file->size - len;
    size_t done = 0;

    if (blk_read(file, start, buf, len, NULL) == 0)
        return len;
    while (done < len) {
        size_t n = (size_t)vd_min(PIECE, len - done), at = len - done - n;

        if (blk_read(file, start + at, buf + at, n, err))
            break;
        done += n;
    }
    memmove(buf, buf + len - done, done);
    return done;
}

/* A file with a bad sector near its start or end can still show what it is: then the window is shorter
 * and *out_partly.  An error only if what shows a format may be what cannot be read: something in the
 * head.  In the tail it is a footer, which is one sector: without it the rest is what it is. */
static int read_window(struct blkdev *file, struct image_window *w, bool *out_partly,
                       struct vd_err *err)
{
    size_t head = (size_t)vd_min(sizeof(w->head), file->size);
    size_t tail = (size_t)vd_min(sizeof(w->tail), file->size);
    struct vd_err head_err = VD_ERR_INIT;

    w->file_size = file->size;
    w->head_len = read_head(file, w->head, head, &head_err);
    w->tail_len = read_tail(file, w->tail, tail, NULL);
    *out_partly = w->head_len < head || w->tail_len < tail;
    if (w->head_len == head)
        return 0;
    if (err)
        *err = head_err;
    return -(int)head_err.cls;
}

/* The one format that claims the window, or raw. */
static int find_format(const struct image_window *w, const struct image_format **out,
                       enum image_probe *out_probe, struct vd_err *err)
{
    const struct image_format *found = NULL;
    size_t i;

    *out_probe = IMAGE_YES;
    for (i = 0; image_formats[i] != &image_format_raw; i++) {
        enum image_probe probe = image_formats[i]->probe(w);

        if (probe == IMAGE_NO)
            continue;
        if (found)
            return vd_fail(err, VD_EUNSUPPORTED,
                           "the file has the marks of two formats, %s and %s: which one it is "
                           "cannot be decided",
                           found->name, image_formats[i]->name);
        found = image_formats[i];
        *out_probe = probe;
    }
    *out = found ? found : &image_format_raw;
    return 0;
}

static int image_new(struct blkdev *file, unsigned dir, const char *name,
                     const struct image_format *format, struct image **out, struct vd_err *err)
{
    struct image *image = calloc(1, sizeof(*image));
    const struct evidence_id *id;
    char text[1024];

    if (!image)
        return vd_fail(err, VD_ENOMEM, "%s: out of memory", name);
    vd_text_printable(name, strlen(name), text, sizeof(text));
    image->name = strdup(text);
    if (!image->name) {
        image_free(image);
        return vd_fail(err, VD_ENOMEM, "%s: out of memory", name);
    }
    image->format = format;
    image->dir = dir;
    image->file_dev = blk_ref(file);
    if (evidence_identity(file, &id))
        image->file = *id;
    *out = image;
    return 0;
}

/* The format of the file.  What cannot be read could have shown another format: a file is taken
 * for raw only if its whole head was read. */
static int recognise(struct blkdev *file, const char *name, const struct image_format **out,
                     enum image_probe *out_probe, bool *out_partly, struct vd_err *err)
{
    struct image_window *w = calloc(1, sizeof(*w));
    struct vd_err read_err = VD_ERR_INIT;
    int rc, read_rc;

    if (!w)
        return vd_fail(err, VD_ENOMEM, "%s: out of memory", name);
    read_rc = read_window(file, w, out_partly, &read_err);
    rc = vd_prefix(err, find_format(w, out, out_probe, err), "%s", name);
    free(w);
    if (rc == 0 && read_rc && *out == &image_format_raw) {
        if (err)
            *err = read_err;
        return read_rc;
    }
    return rc;
}

/* Format and empty image: what image_open_file and image_identify share. */
static int start(struct blkdev *file, unsigned dir, const char *name, struct image **out,
                 struct vd_err *err)
{
    const struct image_format *format = NULL;
    enum image_probe probe = IMAGE_NO;
    bool partly = false;
    int rc = recognise(file, name, &format, &probe, &partly, err);

    if (rc == 0)
        rc = image_new(file, dir, name, format, out, err);
    if (rc)
        return rc;
    if (probe == IMAGE_DAMAGED)
        vd_fact_add(&(*out)->facts, VD_FACT_WARNING, "damaged",
                    "%s: recognised as %s, but a checksum or field of its header is wrong", name,
                    format->name);
    if (partly)
        vd_fact_add(&(*out)->facts, VD_FACT_WARNING, "damaged",
                    "%s: recognised as %s, but a part of its first %d or last %d bytes cannot be "
                    "read%s",
                    name, format->name, IMAGE_PROBE_HEAD, IMAGE_PROBE_TAIL,
                    format == &image_format_raw ? ": a VHD footer there would not have been seen"
                                                : "");
    return 0;
}

/* A file without any mark of a format may still be known by the files beside it.  True: it is. */
static bool take_by_name(const struct blk_source *source, unsigned dir, const char *name,
                         struct image *image)
{
    size_t i;

    for (i = 0; image->format == &image_format_raw && image_formats[i]; i++)
        if (image_formats[i]->by_name && image_formats[i]->by_name(source, dir, name)) {
            image->format = image_formats[i];
            return true;
        }
    return false;
}

int image_open_file(struct blkdev *file, const struct blk_source *source, unsigned dir,
                    const char *name, struct image **out, struct vd_err *err)
{
    struct image *image = NULL;
    int rc = start(file, dir, name, &image, err);

    if (rc)
        return rc;
    (void)take_by_name(source, dir, name, image);
    rc = image->format->open(file, name, source, dir, image, err);
    if (rc) {
        image_free(image);
        return rc;
    }
    *out = image;
    return 0;
}

int image_open(const struct blk_source *source, unsigned dir, const char *name, struct image **out,
               struct vd_err *err)
{
    VD_AUTO(blk) struct blkdev *file = NULL;
    int rc;

    if (!blk_source_name_ok(name))
        return vd_fail(err, VD_EREFUSED, "\"%s\" is not a bare file name", name);
    rc = source->open(source->ctx, dir, name, &file, err);
    return rc ? rc : image_open_file(file, source, dir, name, out, err);
}

int image_identify(const struct blk_source *source, unsigned dir, const char *name,
                   struct image **out, struct vd_err *err)
{
    VD_AUTO(blk) struct blkdev *file = NULL;
    struct image *image = NULL;
    int rc = source->open(source->ctx, dir, name, &file, err);

    if (rc == 0)
        rc = start(file, dir, name, &image, err);
    if (rc)
        return rc;
    if (take_by_name(source, dir, name, image)) /* one file alone cannot tell */
        rc = image->format->open(file, name, source, dir, image, err);
    else if (image->format == &image_format_raw)
        rc = vd_fail(err, VD_ENOTFORMAT, "%s: not an image of a known format", name);
    else if (image->format->identify)
        rc = image->format->identify(file, name, image, err);
    else
        rc = image->format->open(file, name, source, dir, image, err);
    if (rc) {
        image_free(image);
        return rc;
    }
    *out = image;
    return 0;
}

void image_free(struct image *image)
{
    unsigned i;

    if (!image)
        return;
    blk_unref(image->dev);
    blk_unref(image->file_dev);
    for (i = 0; i < image->n_parent_hints; i++)
        free(image->parent_hint[i]);
    free(image->parent_path);
    free(image->name);
    vd_facts_clear(&image->facts);
    free(image);
}
