/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /proc/self/mountinfo, proc(5):
 *
 *   36 35 98:0 /root /mount\040point ro,noatime master:1 - fuse.vdiskfs source ro,user_id=0
 *   id parent dev root path options optional…            - type source super-options
 *
 * Fields are separated by one space; spaces, tabs, newlines and backslashes inside are \ooo.  Other
 * users' mount points stand there too, so every line is taken as hostile.  Stateless.
 */
#include "fuse/mountinfo.h"

#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

/* The next field as a new string, or NULL at the end of the line (or of memory). */
static char *take_field(const char **p)
{
    const char *start = *p;
    size_t len = strcspn(start, " \n");

    if (len == 0)
        return NULL;
    *p = start + len + (start[len] == ' ');
    return strndup(start, len);
}

static bool is_octal(char c)
{
    return c >= '0' && c <= '7';
}

/* In place; the result is never longer. */
static void resolve_escapes(char *s)
{
    char *to = s;

    while (*s) {
        if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && is_octal(s[2]) && is_octal(s[3])) {
            *to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
            s += 4;
        } else {
            *to++ = *s++;
        }
    }
    *to = '\0';
}

static bool take_u32(const char **p, char end, uint32_t *out)
{
    const char *q = *p;
    uint64_t v = 0;

    for (; *q >= '0' && *q <= '9' && v <= UINT32_MAX; q++)
        v = v * 10 + (uint64_t)(*q - '0');
    if (q == *p || v > UINT32_MAX || *q != end)
        return false;
    *p = q + 1;
    *out = (uint32_t)v;
    return true;
}

static bool skip_field(const char **p)
{
    char *field = take_field(p);
    bool found = field != NULL;

    free(field);
    return found;
}

/* Behind the optional fields, of which there are zero or more. */
static bool skip_optional(const char **p)
{
    while (strncmp(*p, "- ", 2) != 0)
        if (!skip_field(p))
            return false;
    *p += 2;
    return true;
}

static bool take_all(const char *p, struct mountinfo *m)
{
    uint32_t parent;

    if (!take_u32(&p, ' ', &m->id) || !take_u32(&p, ' ', &parent) ||
        !take_u32(&p, ':', &m->major) || !take_u32(&p, ' ', &m->minor) || !skip_field(&p))
        return false;
    m->path = take_field(&p);
    m->options = m->path ? take_field(&p) : NULL;
    if (!m->options || !skip_optional(&p))
        return false;
    m->fstype = take_field(&p);
    if (!m->fstype)
        return false;
    if (*p == ' ') /* a source that is the empty string */
        p++;
    else if (!skip_field(&p))
        return false;
    m->super_options = take_field(&p);
    return m->super_options != NULL;
}

int mountinfo_decode(const char *line, struct mountinfo *out, struct vd_err *err)
{
    struct mountinfo m = {0};

    if (!take_all(line, &m)) {
        mountinfo_clear(&m);
        return vd_fail(err, VD_ECORRUPT, "mountinfo: a line cannot be read: %s", line);
    }
    resolve_escapes(m.path);
    *out = m;
    return 0;
}

void mountinfo_clear(struct mountinfo *m)
{
    free(m->path);
    free(m->options);
    free(m->fstype);
    free(m->super_options);
    *m = (struct mountinfo){0};
}

int mountinfo_find(bool (*match)(const struct mountinfo *m, const void *ctx), const void *ctx,
                   struct mountinfo *out, struct vd_err *err)
{
    VD_AUTO(free) char *line = NULL;
    struct mountinfo found = {0}, m;
    bool any = false;
    size_t cap = 0;
    FILE *f;

    f = fopen("/proc/self/mountinfo", "re");
    if (!f)
        return vd_fail_errno(err, VD_EMOUNT, errno, "cannot read /proc/self/mountinfo");
    while (getline(&line, &cap, f) > 0) {
        if (mountinfo_decode(line, &m, NULL))
            continue;
        if (match(&m, ctx)) {
            mountinfo_clear(&found);
            found = m;
            any = true;
        } else {
            mountinfo_clear(&m);
        }
    }
    (void)fclose(f);
    if (!any)
        return vd_fail(err, VD_ENOENT, "no such mount");
    *out = found;
    return 0;
}

int mountinfo_watch(void)
{
    return open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
}
