/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reparse points ([MS-FSCC] 2.1.2): links, and files whose content lies elsewhere.
 *
 * Where a filter driver keeps the content somewhere else (compact OS, deduplication, cloud
 * placeholders, remote storage), the unnamed stream is a hole of the right size.  Reading it must
 * fail: its zeros are not the file's content.
 */
#include "fs/ntfs/ntfs_priv.h"

#include "base/bytes.h"
#include "base/range.h"
#include "fs/utf16.h"

#include <stdlib.h>
#include <string.h>

#define TAG_MOUNT_POINT 0xa0000003u
#define TAG_SYMLINK     0xa000000cu
#define TAG_LX_SYMLINK  0xa000001du
#define TAG_WOF         0x80000017u
#define TAG_DEDUP       0x80000013u
#define TAG_SIS         0x80000007u
#define TAG_HSM         0xc0000004u
#define TAG_HSM2        0x80000006u
#define TAG_WCI         0x80000018u
#define TAG_WIM         0x80000008u

#define MAX_REPARSE      (16u << 10) /* [MS-FSCC] 2.1.2: MAXIMUM_REPARSE_DATA_BUFFER_SIZE */
#define SYMLINK_RELATIVE 1u

void ntfs_reparse_clear(struct ntfs_reparse *rp)
{
    free(rp->data);
    *rp = (struct ntfs_reparse){0};
}

int ntfs_reparse_read(const struct ntfs_fs *n, const struct ntfs_file *file,
                      struct ntfs_reparse *out, struct vd_err *err)
{
    const struct ntfs_attr *attr = ntfs_file_attr(file, NTFS_REPARSE_POINT, NULL);
    struct fs_content *c = NULL;
    size_t got = 0;
    int rc;

    *out = (struct ntfs_reparse){0};
    if (!attr)
        return 0;
    rc = ntfs_attr_content(n, file, attr, &c, err);
    if (!rc && (c->size < 8 || c->size > MAX_REPARSE || c->unit))
        rc = vd_fail(err, VD_ECORRUPT, "%llu bytes", (unsigned long long)c->size);
    if (!rc) {
        out->data = malloc(c->size);
        rc = out->data ? fs_content_read(c, n->vol, 0, out->data, c->size, &got, err)
                       : vd_fail(err, VD_ENOMEM, "out of memory");
    }
    fs_content_free(c);
    if (rc) {
        ntfs_reparse_clear(out);
        return vd_prefix(err, rc, "reparse point");
    }
    out->len = got;
    out->tag = vd_le32(out->data);
    return 0;
}

bool ntfs_reparse_is_link(uint32_t tag)
{
    return tag == TAG_SYMLINK || tag == TAG_MOUNT_POINT || tag == TAG_LX_SYMLINK;
}

/* [MS-FSCC] 2.1.2.4 and 2.1.2.5: the substitute name. */
static int windows_target(const struct ntfs_reparse *rp, char **out, size_t *out_len,
                          struct vd_err *err)
{
    size_t head = rp->tag == TAG_SYMLINK ? 20 : 16, off, len, i;
    bool relative;
    char *target;

    if (rp->len < head)
        return vd_fail(err, VD_ECORRUPT, "reparse point: too short");
    off = vd_le16(rp->data + 8);
    len = vd_le16(rp->data + 10);
    relative = rp->tag == TAG_SYMLINK && vd_le32(rp->data + 16) & SYMLINK_RELATIVE;
    if (!vd_range_inside(off, len, rp->len - head) || len % 2)
        return vd_fail(err, VD_ECORRUPT, "reparse point: the target lies outside");
    target = malloc(FS_UTF16_BYTES(len / 2) + 1);
    if (!target)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    *out_len = fs_utf16_name(rp->data + head + off, len / 2, false, target);
    target[*out_len] = 0;
    for (i = 0; relative && i < *out_len; i++)
        if (target[i] == '\\')
            target[i] = '/';
    *out = target;
    return 0;
}

int ntfs_reparse_target(const struct ntfs_reparse *rp, char **out, size_t *out_len,
                        struct vd_err *err)
{
    char *target;
    size_t len;

    if (rp->tag != TAG_LX_SYMLINK)
        return windows_target(rp, out, out_len, err);
    /* Windows Subsystem for Linux: a version (2) and the target in UTF-8 */
    len = vd_range_inside(8, vd_le16(rp->data + 4), rp->len) ? vd_le16(rp->data + 4) : 0;
    if (len < 4 || vd_le32(rp->data + 8) != 2)
        return vd_fail(err, VD_EUNSUPPORTED, "symbolic link of another version");
    target = calloc(1, len - 4 + 1);
    if (!target)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    memcpy(target, rp->data + 12, len - 4);
    *out = target;
    *out_len = strlen(target);
    return 0;
}

int ntfs_reparse_check_data(uint32_t tag, uint32_t file_flags, struct vd_err *err)
{
    const char *why = NULL;

    if (tag == TAG_WOF)
        why = "compressed by Windows (compact OS, stream WofCompressedData)";
    else if (tag == TAG_DEDUP)
        why = "deduplicated: its content lies in the chunk store";
    else if (tag == TAG_SIS)
        why = "a single-instance storage link";
    else if (tag == TAG_WIM || tag == TAG_WCI)
        why = "kept in another image or container layer";
    else if (tag == TAG_HSM || tag == TAG_HSM2)
        why = "moved to remote storage";
    else if (tag &&
             file_flags & (NTFS_FILE_OFFLINE | NTFS_FILE_RECALL_OPEN | NTFS_FILE_RECALL_DATA))
        why = "a placeholder: its content is not (wholly) on this volume";
    if (!why)
        return 0;
    return vd_fail(err, VD_EUNSUPPORTED, "the file is %s (reparse tag 0x%08x)", why, tag);
}
