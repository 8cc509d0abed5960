/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Containing symbolic links.
 *
 * A target shown to the kernel has the form
 *
 *     ../ × k  +  plain components           with k <= depth of the directory that holds the link
 *
 * where a plain component is a display name: not empty, not "." and not "..".  ("." and doubled
 * slashes may stand between them; they do nothing.)
 *
 * Why no such link, and no path through several of them, leaves fs/: the kernel resolves the target
 * from the real directory that holds the link.  Each ".." climbs one real directory; there are
 * `depth` of them up to fs/, so after k steps the place is still inside.  Each plain component then
 * leads to an entry of a directory inside fs/: a file or directory inside, or another link, which
 * was rewritten by the same rule and whose own resolution, by induction over the number of links
 * followed, ends inside.  No ".." follows a plain component, so nothing ever climbs from a place
 * that was reached through a link.
 *
 * That last point is why "name/.." is folded away before the target is shown: when `name` is a link
 * to a shallower directory, ".." after it would climb from there, beyond what was counted.  Folding
 * changes the meaning of such a target (it is then read as most people read it); the target as it
 * stands in the evidence is in the attribute user.vdiskfs.link_raw.
 *
 * An absolute target starts at fs/, and ".." at the top stays there, as it does on the running
 * system.  A target that needs none of this is shown as it is, byte for byte.
 */
#include "tree/links.h"

#include "tree/names.h"
#include "tree/tree.h"

#include <stdlib.h>
#include <string.h>

struct parse {
    bool absolute;
    bool folded;              /* a "name/.." was taken away */
    bool escaped;             /* a component is not shown as it stands */
    size_t ups;               /* leading ".." of a relative target */
    struct vd_str components; /* plain ones, escaped, '/' between them */
};

static bool is_drive(const char *p, size_t len)
{
    return len >= 2 && p[1] == ':' &&
           ((p[0] >= 'A' && p[0] <= 'Z') || (p[0] >= 'a' && p[0] <= 'z'));
}

/* Takes what Windows puts in front of a path off (slashes are '/' by now).  True: the rest is
 * counted from the root of the volume. */
static bool windows_prefix(const char **p, size_t *len)
{
    bool stripped = false;

    if (*len >= 4 && (memcmp(*p,
                             "/?"
                             "?/",
                             4) == 0 ||
                      memcmp(*p, "//?/", 4) == 0)) {
        *p += 4;
        *len -= 4;
        stripped = true;
        if (*len >= 7 && memcmp(*p, "Volume{", 7) == 0)
            while (*len && **p != '/') {
                ++*p;
                --*len;
            }
    }
    if (is_drive(*p, *len)) {
        *p += 2;
        *len -= 2;
        stripped = true;
    }
    return stripped;
}

static void up(struct parse *t)
{
    struct vd_str *c = &t->components;

    if (!c->len) {
        t->ups += !t->absolute;
        return;
    }
    t->folded = true;
    while (c->len && c->p[c->len - 1] != '/')
        c->len--;
    if (c->len)
        c->len--; /* the '/' */
}

static void parse(struct parse *t, const char *p, size_t len)
{
    while (len) {
        const char *slash = memchr(p, '/', len);
        size_t n = slash ? (size_t)(slash - p) : len;

        if (n == 2 && p[0] == '.' && p[1] == '.') {
            up(t);
        } else if (n && !(n == 1 && p[0] == '.')) {
            size_t before;

            if (t->components.len)
                vd_str_add(&t->components, "/");
            before = t->components.len;
            names_escape(&t->components, p, n);
            t->escaped |= t->components.len - before != n;
        }
        p += n + (slash != NULL);
        len -= n + (slash != NULL);
    }
}

static int compose(const struct parse *t, const char *raw, size_t len, unsigned depth,
                   struct vd_str *out, struct vd_err *err)
{
    size_t climb = t->absolute || t->ups > depth ? depth : t->ups;

    if (depth == TREE_DEPTH_UNKNOWN && (t->absolute || t->ups))
        return vd_fail(err, VD_EREFUSED, "the link climbs, and where it stands is not known");
    if (!t->absolute && t->ups <= depth && !t->folded && !t->escaped) {
        vd_str_add_bytes(out, raw, len); /* harmless as it is */
    } else {
        if (climb > PATH_MAX)
            climb = PATH_MAX; /* too long anyway, see below */
        for (; climb; climb--)
            vd_str_add(out, climb == 1 && !t->components.len ? ".." : "../");
        if (t->components.len)
            vd_str_add_bytes(out, t->components.p, t->components.len);
        else if (!out->len)
            vd_str_add(out, ".");
    }
    if (out->failed || t->components.failed)
        return vd_fail(err, VD_ENOMEM, "no memory for a link target");
    if (out->len >= PATH_MAX)
        return vd_fail(err, VD_ELIMIT, "link target of %zu bytes is longer than PATH_MAX",
                       out->len);
    return 0;
}

int links_contain(const char *raw, size_t len, bool windows, unsigned depth, struct vd_str *out,
                  struct vd_err *err)
{
    struct parse t = {.components = VD_STR_INIT};
    char *copy = NULL;
    const char *p = raw;
    size_t i;
    int rc;

    len = strnlen(raw, len);
    if (len == 0)
        return vd_fail(err, VD_ECORRUPT, "symbolic link with an empty target");
    if (windows) {
        copy = strndup(raw, len);
        if (!copy)
            return vd_fail(err, VD_ENOMEM, "no memory for a link target");
        for (i = 0; i < len; i++)
            if (copy[i] == '\\')
                copy[i] = '/';
        p = copy;
        t.absolute = windows_prefix(&p, &len);
    }
    t.absolute |= len && p[0] == '/';
    parse(&t, p, len);
    rc = compose(&t, p, len, depth, out, err);
    vd_str_clear(&t.components);
    free(copy);
    return rc;
}
