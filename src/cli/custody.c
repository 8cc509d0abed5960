/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fields of the chain of custody and the case file; see custody.h.  The file is so small a
 * language that no library's (with sections, quotes, includes) would be stricter; it is read whole,
 * bounded, and from a regular file only.  One thread, before the mount.
 */
#include "cli/custody.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_FILE (64 * 1024)

static const struct {
    const char *name;
    enum audit_tag tag;
} fields[CUSTODY_FIELDS] = {
    [CUSTODY_EVIDENCE_ID] = {"evidence_id", AUDIT_T_EVIDENCE_ID},
    [CUSTODY_CASE_ID] = {"case_id", AUDIT_T_CASE_ID},
    [CUSTODY_EXAMINER] = {"examiner", AUDIT_T_EXAMINER},
    [CUSTODY_ORGANISATION] = {"organisation", AUDIT_T_ORGANISATION},
    [CUSTODY_PURPOSE] = {"purpose", AUDIT_T_PURPOSE},
    [CUSTODY_AUTHORITY] = {"authority", AUDIT_T_AUTHORITY},
    [CUSTODY_LOCATION] = {"location", AUDIT_T_LOCATION},
    [CUSTODY_WITNESS] = {"witness", AUDIT_T_WITNESS},
    [CUSTODY_CHANGES] = {"changes", AUDIT_T_CHANGES},
};

const char *custody_name(enum custody_field field)
{
    return fields[field].name;
}

enum audit_tag custody_tag(enum custody_field field)
{
    return fields[field].tag;
}

static int check_text(const char *text, size_t len, struct vd_err *err)
{
    size_t i, n;
    uint32_t cp;

    if (len > CUSTODY_MAX_VALUE)
        return vd_fail(err, VD_EUSAGE, "longer than %d bytes", CUSTODY_MAX_VALUE);
    for (i = 0; i < len; i += n) {
        n = vd_utf8_next(text + i, len - i, &cp);
        if (!n)
            return vd_fail(err, VD_EUSAGE, "not UTF-8 (byte %zu)", i + 1);
        if (cp < 0x20 || (cp >= 0x7f && cp < 0xa0))
            return vd_fail(err, VD_EUSAGE, "a control character (byte %zu)", i + 1);
    }
    return 0;
}

static int set(struct custody *custody, enum custody_field field, const char *text, size_t len,
               struct vd_err *err)
{
    int rc = check_text(text, len, err);
    char *copy;

    if (rc)
        return rc;
    copy = strndup(text, len);
    if (!copy)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    free(custody->v[field]);
    custody->v[field] = copy;
    return 0;
}

int custody_set(struct custody *custody, enum custody_field field, const char *value,
                struct vd_err *err)
{
    if (!value[0])
        return vd_fail(err, VD_EUSAGE, "an empty value");
    return set(custody, field, value, strlen(value), err);
}

/* ---- the case file ---- */

struct span {
    const char *p;
    size_t len;
};

static struct span trim(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\t'))
        p++;
    while (end > p && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r'))
        end--;
    return (struct span){p, (size_t)(end - p)};
}

static enum custody_field find(struct span name)
{
    unsigned i;

    for (i = 0; i < CUSTODY_FIELDS; i++)
        if (strlen(fields[i].name) == name.len && memcmp(fields[i].name, name.p, name.len) == 0)
            break;
    return (enum custody_field)i;
}

static int take_line(struct custody *custody, bool seen[CUSTODY_FIELDS], struct span line,
                     struct vd_err *err)
{
    const char *sign = memchr(line.p, '=', line.len), *end = line.p + line.len;
    struct span name, value;
    enum custody_field field;
    const char *old;
    char shown[64];

    if (!sign)
        return vd_fail(err, VD_EUSAGE, "not of the form \"name = value\"");
    name = trim(line.p, sign);
    value = trim(sign + 1, end);
    field = find(name);
    if (field == CUSTODY_FIELDS) {
        (void)vd_text_printable(name.p, name.len, shown, sizeof(shown));
        return vd_fail(err, VD_EUSAGE, "unknown name \"%s\"", shown);
    }
    if (value.len == 0)
        return vd_fail(err, VD_EUSAGE, "%s has no value", fields[field].name);
    if (seen[field])
        return vd_fail(err, VD_EUSAGE, "%s is there twice", fields[field].name);
    seen[field] = true;
    old = custody->v[field];
    if (old && (strlen(old) != value.len || memcmp(old, value.p, value.len) != 0))
        return vd_fail(err, VD_EUSAGE, "%s is not what the option of that name says (\"%s\")",
                       fields[field].name, old);
    return vd_prefix(err, set(custody, field, value.p, value.len, err), "%s", fields[field].name);
}

int custody_decode(struct custody *custody, const char *name, const char *text, size_t len,
                   struct vd_err *err)
{
    const char *p = text, *end = text + len, *stop;
    bool seen[CUSTODY_FIELDS] = {false};
    unsigned number = 1;
    int rc = 0;

    if (len >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0) /* some editors begin UTF-8 so */
        p += 3;
    for (; p < end && rc == 0; p = stop + 1, number++) {
        struct span line;

        stop = memchr(p, '\n', (size_t)(end - p));
        if (!stop)
            stop = end;
        line = trim(p, stop);
        if (line.len && line.p[0] != '#')
            rc = take_line(custody, seen, line, err);
        if (rc)
            return vd_prefix(err, rc, "%s, line %u", name, number);
        if (stop == end)
            break;
    }
    return 0;
}

int custody_read_file(struct custody *custody, const char *path, struct vd_err *err)
{
    VD_AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    VD_AUTO(free) char *text = NULL;
    struct stat st;
    size_t len = 0;
    ssize_t n = 1;

    if (fd < 0 || fstat(fd, &st))
        return vd_fail_errno(err, VD_EUSAGE, errno, "%s", path);
    if (!S_ISREG(st.st_mode))
        return vd_fail(err, VD_EUSAGE, "%s: not a regular file", path);
    text = malloc(MAX_FILE + 1);
    if (!text)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    while (n > 0 && len <= MAX_FILE) {
        n = read(fd, text + len, MAX_FILE + 1 - len);
        if (n < 0 && errno != EINTR)
            return vd_fail_errno(err, VD_EUSAGE, errno, "%s", path);
        len += n > 0 ? (size_t)n : 0;
        n = n < 0 ? 1 : n;
    }
    if (len > MAX_FILE)
        return vd_fail(err, VD_EUSAGE, "%s: larger than %d bytes", path, MAX_FILE);
    return custody_decode(custody, path, text, len, err);
}

void custody_clear(struct custody *custody)
{
    size_t i;

    for (i = 0; i < CUSTODY_FIELDS; i++)
        free(custody->v[i]);
    *custody = (struct custody){0};
}
