/* SPDX-License-Identifier: Apache-2.0 */
/* Resolving the image's path.  Only stat and realpath: nothing is opened here. */
#include "cli/image_path.h"

#include "base/cleanup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int split(struct image_path *out, struct vd_err *err)
{
    const char *slash = strrchr(out->full, '/');

    out->dir = slash == out->full ? strdup("/") : strndup(out->full, (size_t)(slash - out->full));
    out->name = strdup(slash + 1);
    if (!out->dir || !out->name)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    return 0;
}

int image_path_resolve(const char *path, const struct options *options, struct image_path *out,
                       struct vd_err *err)
{
    struct stat st;
    size_t i;
    int rc;

    *out = (struct image_path){0};
    out->full = realpath(path, NULL);
    if (!out->full)
        return vd_fail_errno(err, errno == ENOENT ? VD_ENOENT : VD_EIO, errno, "%s", path);
    if (stat(out->full, &st))
        rc = vd_fail_errno(err, VD_EIO, errno, "%s", path);
    else if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        rc = vd_fail(err, VD_EREFUSED, "%s: neither a regular file nor a block device", path);
    else
        rc = split(out, err);
    if (rc) {
        image_path_clear(out);
        return rc;
    }
    out->is_block = S_ISBLK(st.st_mode);
    out->dirs[out->n_dirs++] = out->dir;
    for (i = 0; i < options->n_parent_dir; i++)
        out->dirs[out->n_dirs++] = options->parent_dir[i];
    return 0;
}

void image_path_clear(struct image_path *path)
{
    free(path->full);
    free(path->dir);
    free(path->name);
    *path = (struct image_path){0};
}

bool path_is_below(const char *path, const char *dir)
{
    size_t n = strlen(dir);

    while (n > 1 && dir[n - 1] == '/')
        n--;
    if (n == 1 && dir[0] == '/')
        return true;
    return strncmp(path, dir, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

bool path_leads_into(const char *path, const char *dir)
{
    VD_AUTO(free) char *part = strdup(path);
    struct stat wanted, st;
    char *slash;

    if (!part || stat(dir, &wanted))
        return false;
    for (;;) {
        if (stat(part[0] ? part : "/", &st) == 0 && st.st_dev == wanted.st_dev &&
            st.st_ino == wanted.st_ino)
            return true;
        slash = strrchr(part, '/');
        if (!slash)
            return false;
        *slash = '\0';
    }
}
