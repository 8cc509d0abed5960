/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File names in descriptors.  The text has the encoding that it names ("encoding=", VMware writes that
 * of the host: UTF-8, windows-1252, Shift_JIS, GBK …), while copies of the files have names of either
 * kind: those bytes, where a tool copied them as they were, or UTF-8.  So every name is kept in both.
 * Any thread.
 */
#include "image/vmdk/descriptor.h"

#include "base/charset.h"

#include <stdlib.h>
#include <string.h>

static bool is_ascii(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text >= 0x80)
            return false;
    return true;
}

/* *out stays NULL where the text says nothing new. */
static int convert(const struct vmdk_descriptor *d, const char *text, char **out,
                   struct vd_facts *facts, bool *io_told, struct vd_err *err)
{
    struct vd_err why = VD_ERR_INIT;
    int rc;

    if (!text || is_ascii(text))
        return 0;
    rc = vd_charset_to_utf8(d->encoding, text, out, &why);
    if (rc == -VD_ENOMEM) {
        if (err)
            *err = why;
        return rc;
    }
    if (rc && !*io_told)
        vd_fact_add(facts, VD_FACT_WARNING, "encoding",
                    "file names of the descriptor are taken as they are: %s", why.msg);
    *io_told = *io_told || rc;
    return 0;
}

int vmdk_descriptor_names(struct vmdk_descriptor *d, struct vd_facts *facts, struct vd_err *err)
{
    bool told = false;
    size_t i;
    int rc;

    if (vd_charset_is_utf8(d->encoding))
        return 0;
    rc = convert(d, d->parent_hint, &d->parent_hint_utf8, facts, &told, err);
    for (i = 0; i < d->n_extents && rc == 0; i++)
        rc = convert(d, d->extents[i].path, &d->extents[i].path_utf8, facts, &told, err);
    return rc;
}

const char *vmdk_bare_name(const char *path, const char *encoding)
{
    const char *name = path, *p, *close;

    for (p = path; *p; p++) {
        if (vd_charset_is_lead(encoding, (unsigned char)*p) && p[1])
            p++;
        else if (*p == '/' || *p == '\\')
            name = p + 1;
    }
    close = name[0] == '[' ? strstr(name, "] ") : NULL;
    return close && close[2] ? close + 2 : name;
}
