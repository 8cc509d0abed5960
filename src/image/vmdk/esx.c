/* SPDX-License-Identifier: Apache-2.0 */
/*
 * COWD and seSparse files, as extents of a descriptor and alone.  VMware Virtual Disk Format 5.0, "ESXi
 * Host Sparse Extents"; for seSparse see sesparse.h.
 *
 * ESX keeps the chain in descriptors beside these files ("x-000001.vmdk" for "x-000001-delta.vmdk"), so a
 * file opened alone is a part whose parent cannot be known: it is shown with a warning.  Only the redo
 * logs of ESX 2 name their parent, by file name and generation: that is their identity then.
 * Runs in the thread that opens the image.
 */
#include "image/vmdk/esx.h"

#include "base/range.h"
#include "base/text.h"
#include "image/vmdk/cowd.h"
#include "image/vmdk/sesparse.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

int vmdk_file_magic(struct blkdev *file, enum vmdk_magic *out, struct vd_err *err)
{
    uint8_t bytes[8] = {0};
    size_t len = (size_t)vd_min(sizeof(bytes), file->size);
    int rc = blk_read(file, 0, bytes, len, err);

    if (rc == 0)
        *out = vmdk_magic_of(bytes, len);
    return rc;
}

/* ---- as an extent ---- */

static int open_cowd(struct blkdev *file, const struct vmdk_descriptor *descriptor, unsigned extent,
                     struct vmdk_shared *shared, struct vd_facts *facts, struct blkdev **out,
                     struct vd_err *err)
{
    struct vmdk_cowd_header h;
    int rc = vmdk_cowd_header(file, &h, facts, err);

    if (rc)
        return rc;
    if (h.is_child && h.parent_name[0] && descriptor->has_parent_cid &&
        descriptor->parent_cid == VMDK_CID_NONE)
        vd_fact_add(
            facts, VD_FACT_WARNING, "parent",
            "the descriptor says that there is no parent, the header of %s names \"%s\": the "
            "descriptor counts, and what is not in this file reads as zeros",
            file->label, h.parent_name);
    return vmdk_cowd_new(file, &h, extent, shared, out, err);
}

static int open_sesparse(struct blkdev *file, const struct vmdk_descriptor *descriptor,
                         unsigned extent, struct vmdk_shared *shared, struct vd_facts *facts,
                         struct blkdev **out, struct vd_err *err)
{
    bool has_parent = descriptor->has_parent_cid ? descriptor->parent_cid != VMDK_CID_NONE
                                                 : descriptor->parent_hint != NULL;
    struct vmdk_se_header h;
    int rc = vmdk_se_headers(file, &h, facts, err);

    return rc ? rc : vmdk_sesparse_new(file, &h, extent, has_parent, shared, out, err);
}

int vmdk_esx_extent_open(struct blkdev *file, enum vmdk_magic magic,
                         const struct vmdk_descriptor *descriptor, unsigned extent,
                         struct vmdk_shared *shared, struct vd_facts *facts, struct blkdev **out,
                         struct vd_err *err)
{
    if (magic == VMDK_MAGIC_COWD)
        return open_cowd(file, descriptor, extent, shared, facts, out, err);
    return open_sesparse(file, descriptor, extent, shared, facts, out, err);
}

/* ---- alone ---- */

/* Generations are small numbers that many files share: only with the name they say who a file is. */
static void cowd_identity(char *out, uint32_t generation, const char *name)
{
    (void)snprintf(out, IMAGE_ID_MAX, "cowd:%" PRIu32 ":%s", generation, name);
}

static int take_cowd_parent(const struct vmdk_cowd_header *h, struct image *out, struct vd_err *err)
{
    const char *bare = vd_text_basename(h->parent_name);
    char text[VMDK_COWD_PARENT_MAX + 1];

    vd_text_printable(h->parent_name, strlen(h->parent_name), text, sizeof(text));
    out->has_parent = true;
    out->parent_path = strdup(text);
    if (!out->parent_path)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    cowd_identity(out->parent_identity[0], h->parent_generation, bare);
    if (!blk_source_name_ok(bare))
        return 0;
    out->parent_hint[0] = strdup(bare);
    if (!out->parent_hint[0])
        return vd_fail(err, VD_ENOMEM, "out of memory");
    out->n_parent_hints = 1;
    return 0;
}

static int take_cowd(struct blkdev *file, const char *name, struct vmdk_cowd_header *h,
                     struct image *out, struct vd_err *err)
{
    int rc = vmdk_cowd_header(file, h, &out->facts, err);

    if (rc)
        return rc;
    (void)vd_text_copy(out->kind, sizeof(out->kind), "vmfsSparse extent");
    cowd_identity(out->identity, h->generation, name);
    return h->is_child && h->parent_name[0] ? take_cowd_parent(h, out, err) : 0;
}

static int take_sesparse(struct blkdev *file, struct vmdk_se_header *h, struct image *out,
                         struct vd_err *err)
{
    int rc = vmdk_se_headers(file, h, &out->facts, err);

    if (rc == 0)
        (void)vd_text_copy(out->kind, sizeof(out->kind), "seSparse extent");
    return rc;
}

int vmdk_esx_identify(struct blkdev *file, enum vmdk_magic magic, const char *name,
                      struct image *out, struct vd_err *err)
{
    struct vmdk_cowd_header cowd;
    struct vmdk_se_header sesparse;

    return magic == VMDK_MAGIC_COWD ? take_cowd(file, name, &cowd, out, err)
                                    : take_sesparse(file, &sesparse, out, err);
}

static void warn_alone(struct image *out)
{
    vd_fact_add(
        &out->facts, VD_FACT_WARNING, "descriptor", "%s",
        out->has_parent
            ? "the file is opened without a descriptor: other extents cannot be known, and the "
              "parent is the one its header names.  Open the descriptor if there is one"
            : "the file is opened without the descriptor that ESX keeps beside it: other "
              "extents and the parent cannot be known, and what is not in this file reads "
              "as zeros.  Open the descriptor if there is one");
}

int vmdk_esx_open(struct blkdev *file, enum vmdk_magic magic, const char *name,
                  struct vmdk_shared *shared, struct image *out, struct vd_err *err)
{
    struct vmdk_cowd_header cowd;
    struct vmdk_se_header sesparse;
    int rc = magic == VMDK_MAGIC_COWD ? take_cowd(file, name, &cowd, out, err)
                                      : take_sesparse(file, &sesparse, out, err);

    if (rc)
        return rc;
    warn_alone(out);
    file = blk_ref(file);
    rc = magic == VMDK_MAGIC_COWD
             ? vmdk_cowd_new(file, &cowd, 0, shared, &out->dev, err)
             : vmdk_sesparse_new(file, &sesparse, 0, false, shared, &out->dev, err);
    if (rc)
        blk_unref(file);
    return rc;
}

/* ---- devices ---- */

bool vmdk_is_device_path(const char *path)
{
    static const char *const prefixes[] = {"/dev/",   "/vmfs/devices/", "\\\\.\\",
                                           "\\\\?\\", "//./",           "//?/"};
    size_t i;

    for (i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
        if (strncasecmp(path, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    return false;
}
