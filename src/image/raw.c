/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Raw: the file is the disk.  It has no mark, no identity and no parent; it takes what no other
 * format claims.  Because of that it says aloud when the name suggests that the file is only a
 * part of something (an extent of a VMDK), joins split images (raw_split.c), and refuses containers
 * that are known but not supported.
 */
#include "image/image.h"

#include "base/cleanup.h"
#include "base/range.h"
#include "base/text.h"
#include "image/raw_split.h"
#include "image/vhd/split.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static enum image_probe raw_probe(const struct image_window *window)
{
    (void)window;
    return IMAGE_YES;
}

/* Containers that this program does not read.  Their bytes are not the disk's: showing them as a
 * raw disk would be wrong without a word.  `off` counts from the start, or from the end if
 * negative. */
static const struct container {
    const char *name;
    int off;
    unsigned len;
    const char *magic;
    bool refuse; /* false: a warning, since any disk may begin like that */
} containers[] = {
    {"a QCOW image", 0, 4, "QFI\xfb", true},
    {"a QED image", 0, 4, "QED\0", true},
    {"a VirtualBox VDI image", 64, 4, "\x7f\x10\xda\xbe", true},
    {"a Parallels HDD image", 0, 16, "WithoutFreeSpace", true},
    {"a Parallels HDD image", 0, 16, "WithouFreSpacExt", true},
    {"an EWF (EnCase) image", 0, 8, "EVF\x09\x0d\x0a\xff\0", true},
    {"an EWF2 (EnCase 7) image", 0, 8, "EVF2\x0d\x0a\x81\0", true},
    {"an EWF (EnCase) logical image", 0, 8, "LVF\x09\x0d\x0a\xff\0", true},
    {"an EWF2 (EnCase 7) logical image", 0, 8, "LEF2\x0d\x0a\x81\0", true},
    {"an AFF image", 0, 7, "AFF10\r\n", true},
    {"an encrypted Apple disk image", 0, 8, "encrcdsa", true},
    {"an encrypted Apple disk image", -8, 8, "cdsaencr", true},
    {"an Apple disk image (DMG)", -512, 4, "koly", true},
    {"an Apple sparse disk image", 0, 4, "sprs", true},
    {"a text file (XML; perhaps a Parallels descriptor)", 0, 5, "<?xml", true},
    {"a gzip file", 0, 3, "\x1f\x8b\x08", false},
    {"an xz file", 0, 6,
     "\xfd"
     "7zXZ\0",
     false},
    {"a bzip2 file", 0, 3, "BZh", false},
    {"a Zstandard file", 0, 4, "\x28\xb5\x2f\xfd", false},
    {"a 7z archive", 0, 6, "7z\xbc\xaf\x27\x1c", false},
    {"a ZIP archive", 0, 4, "PK\x03\x04", false},
};

static int refuse_container(struct blkdev *file, const char *name, struct vd_facts *facts,
                            struct vd_err *err)
{
    uint8_t bytes[16];
    size_t i;

    for (i = 0; i < sizeof(containers) / sizeof(containers[0]); i++) {
        const struct container *c = &containers[i];
        uint64_t back = c->off < 0 ? (uint64_t)-c->off : 0;
        uint64_t off = back ? file->size - back : (uint64_t)c->off;
        int rc;

        if (back > file->size || !vd_range_inside(off, c->len, file->size))
            continue;
        rc = blk_read(file, off, bytes, c->len, err);
        if (rc == -VD_EIO && back)
            continue; /* a bad sector at the end: said by image.c, and no reason to hide the disk */
        if (rc)
            return rc;
        if (memcmp(bytes, c->magic, c->len) != 0)
            continue;
        if (c->refuse)
            return vd_fail(err, VD_EUNSUPPORTED, "%s: %s: this format is not supported", name,
                           c->name);
        vd_fact_add(facts, VD_FACT_WARNING, "container",
                    "the file begins like %s; it is shown as a raw disk", c->name);
    }
    return 0;
}

static bool ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);

    return n > m && strcasecmp(name + n - m, end) == 0;
}

/* "-f001.vmdk" and the like: an extent of a split flat disk. */
static bool is_numbered_extent(const char *name)
{
    size_t n = strlen(name);

    return n > 10 && ends_with(name, ".vmdk") && isdigit((unsigned char)name[n - 6]) &&
           isdigit((unsigned char)name[n - 7]) && isdigit((unsigned char)name[n - 8]) &&
           tolower((unsigned char)name[n - 9]) == 'f' && name[n - 10] == '-';
}

/* A file that is called an image but has no mark of one is a damaged image far more often than a raw
 * disk under a wrong name: taking it as raw would show the container's bytes as the disk's. */
static int refuse_misnamed(const char *name, struct vd_err *err)
{
    static const char *const endings[] = {".vmdk", ".vhd", ".vhdx", ".avhd", ".avhdx", ".vud"};
    size_t i;

    if (ends_with(name, "-flat.vmdk") || is_numbered_extent(name))
        return 0;
    for (i = 0; i < sizeof(endings) / sizeof(endings[0]); i++)
        if (ends_with(name, endings[i]))
            return vd_fail(err, VD_ENOTFORMAT,
                           "%s: its name ends in %s, but its first and last bytes are not those of "
                           "such an image: damaged, or cut short.  (A raw disk under a wrong name "
                           "opens under a name without that ending.)",
                           name, endings[i]);
    return 0;
}

/* The cookie of a VHD footer in the last sector (VHD specification 2006, "Hard Disk Footer"). */
static bool ends_in_footer(struct blkdev *file)
{
    uint8_t cookie[8];

    return file->size >= 512 &&
           blk_read(file, file->size - 512, cookie, sizeof(cookie), NULL) == 0 &&
           memcmp(cookie, "conectix", sizeof(cookie)) == 0;
}

static int raw_open(struct blkdev *file, const char *name, const struct blk_source *source,
                    unsigned dir, struct image *out, struct vd_err *err)
{
    char first[VHD_SPLIT_NAME];
    int rc;

    if (file->size == 0)
        return vd_fail(err, VD_ENOTFORMAT, "%s: the file is empty", name);
    if (vhd_split_is_later(source, dir, name, first))
        return vd_fail(err, VD_EUNSUPPORTED,
                       "%s: this is a part of the split image %s: open that one", name, first);
    rc = refuse_container(file, name, &out->facts, err);
    if (rc == 0)
        rc = refuse_misnamed(name, err);
    if (rc)
        return rc;
    rc = raw_split_join(file, name, source, dir, &out->dev, &out->facts, err);
    if (rc)
        return rc;
    (void)vd_text_copy(out->kind, sizeof(out->kind), out->dev ? "split raw" : "raw");
    if (!out->dev)
        out->dev = blk_ref(file);
    if (out->dev->size % 512)
        vd_fact_add(&out->facts, VD_FACT_WARNING, "size",
                    "the size of %" PRIu64
                    " bytes is not a multiple of 512: the last sector is cut",
                    out->dev->size);
    if (ends_with(name, "-flat.vmdk") || is_numbered_extent(name))
        vd_fact_add(&out->facts, VD_FACT_WARNING, "extent",
                    "the name is that of an extent of a VMDK: open the descriptor file to see the "
                    "whole disk and its snapshots");
    if (ends_in_footer(file))
        vd_fact_add(
            &out->facts, VD_FACT_WARNING, "footer",
            "the file ends in the footer of a VHD that it does not fit: it is shown as a raw "
            "disk, footer included");
    return 0;
}

const struct image_format image_format_raw = {
    .name = "raw",
    .probe = raw_probe,
    .open = raw_open,
};
