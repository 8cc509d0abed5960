/* SPDX-License-Identifier: Apache-2.0 */
/* Reading symbolic links: asks the file system and applies the policy (links.c).  Any thread. */
#include "tree/links.h"
#include "tree/tree_private.h"

#include "base/cleanup.h"

#include <stdlib.h>
#include <string.h>

int tree_readlink(struct tree *tree, uint64_t node, unsigned depth, char **out, struct vd_err *err)
{
    struct vd_str shown = VD_STR_INIT;
    VD_AUTO(place) struct place p;
    char *raw = NULL;
    size_t len = 0;
    int rc = tree_find(tree, node, &p, err);

    if (rc)
        return rc;
    if (p.what == PLACE_LINK) { /* ours: a name next to it */
        *out = strdup(p.target);
        return *out ? 0 : vd_fail(err, VD_ENOMEM, "no memory for a link target");
    }
    if (p.what != PLACE_OBJECT)
        return vd_fail(err, VD_EUSAGE, "not a symbolic link");
    rc = fs_readlink(p.fs, p.id.addr, &raw, &len, err);
    if (rc)
        return rc;
    if (tree->options.symlinks == TREE_SYMLINKS_CONTAIN) {
        rc = links_contain(raw, len, tree_is_ntfs(&p), depth, &shown, err);
    } else {
        len = strnlen(raw, len);
        vd_str_add_bytes(&shown, raw, len);
        if (len == 0)
            rc = vd_fail(err, VD_ECORRUPT, "symbolic link with an empty target");
        else if (len >= PATH_MAX)
            rc = vd_fail(err, VD_ELIMIT, "link target of %zu bytes is longer than PATH_MAX", len);
    }
    free(raw);
    if (!rc) {
        *out = vd_str_take(&shown);
        if (!*out)
            rc = vd_fail(err, VD_ENOMEM, "no memory for a link target");
    }
    vd_str_clear(&shown);
    return rc;
}
