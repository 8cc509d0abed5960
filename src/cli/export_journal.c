/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading and writing the journal of an export.  The file may have been cut anywhere by a crash and
 * is not trusted beyond that: it only proposes where to go on, the hash of the partial file decides.
 * Writes are whole lines, the file is truncated to whole lines before it is continued.  One thread.
 */
#include "cli/export_journal.h"

#include "base/cleanup.h"
#include "base/range.h"
#include "base/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- lists ---- */

int export_bad_add(struct copy_bad **v, size_t *n, size_t *cap, const struct copy_bad *bad,
                   bool join, struct vd_err *err)
{
    struct copy_bad *more, *last = *n && join ? &(*v)[*n - 1] : NULL;

    if (last && last->off + last->len == bad->off) {
        last->len += bad->len;
        return 0;
    }
    if (*n == EXPORT_MAX_BAD)
        return vd_fail(err, VD_ELIMIT, "more than %d ranges cannot be read", EXPORT_MAX_BAD);
    if (*n == *cap) {
        more = realloc(*v, (*cap ? 2 * *cap : 16) * sizeof(*more));
        if (!more)
            return vd_fail(err, VD_ENOMEM, "out of memory");
        *v = more;
        *cap = *cap ? 2 * *cap : 16;
    }
    (*v)[(*n)++] = *bad;
    return 0;
}

static int add_point(struct export_journal *j, uint64_t pos, const char *hash, struct vd_err *err)
{
    struct export_checkpoint *v;

    if (j->n_points == EXPORT_MAX_CHECKPOINTS)
        return vd_fail(err, VD_ELIMIT, "more than %d checkpoints", EXPORT_MAX_CHECKPOINTS);
    if (j->n_points == j->cap_points) {
        v = realloc(j->point, (j->cap_points ? 2 * j->cap_points : 16) * sizeof(*v));
        if (!v)
            return vd_fail(err, VD_ENOMEM, "out of memory");
        j->point = v;
        j->cap_points = j->cap_points ? 2 * j->cap_points : 16;
    }
    j->point[j->n_points].pos = pos;
    (void)vd_text_copy(j->point[j->n_points++].hash, DIGEST_HEX_MAX, hash);
    return 0;
}

void export_journal_clear(struct export_journal *j)
{
    free(j->header);
    free(j->point);
    free(j->bad);
    *j = (struct export_journal){.fd = -1};
}

/* ---- reading ---- */

static int read_file(int fd, char **out, size_t *out_len, struct vd_err *err)
{
    struct stat st;
    size_t len = 0;
    char *p;

    if (fstat(fd, &st))
        return vd_fail_errno(err, VD_EIO, errno, "the journal");
    if (st.st_size < 0 || (uint64_t)st.st_size > EXPORT_MAX_JOURNAL)
        return vd_fail(err, VD_EREFUSED, "the journal is too long; --restart begins anew");
    p = malloc((size_t)st.st_size + 1);
    if (!p)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    while (len < (size_t)st.st_size) {
        ssize_t n = pread(fd, p + len, (size_t)st.st_size - len, (off_t)len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            free(p);
            return vd_fail_errno(err, VD_EIO, errno, "the journal");
        }
        if (n == 0)
            break;
        len += (size_t)n;
    }
    p[len] = '\0';
    *out = p;
    *out_len = len;
    return 0;
}

/* A decimal number and the blank behind it; false: something else. */
static bool take_number(char **p, uint64_t *out)
{
    char *end;

    if (**p < '0' || **p > '9')
        return false;
    errno = 0;
    *out = strtoull(*p, &end, 10);
    if (errno || *end != ' ')
        return false;
    *p = end + 1;
    return true;
}

/* One line behind the header; false: it is not one of ours, the rest does not count. */
static int take_line(struct export_journal *j, char *line, bool *out_ok, struct vd_err *err)
{
    struct copy_bad bad = {0};
    uint64_t pos;

    *out_ok = false;
    if (strncmp(line, "bad ", 4) == 0) {
        line += 4;
        if (!take_number(&line, &bad.off) || !take_number(&line, &bad.len) || !bad.len ||
            bad.len > INT64_MAX || bad.off > INT64_MAX)
            return 0;
        if (j->n_bad && j->bad[j->n_bad - 1].off + j->bad[j->n_bad - 1].len > bad.off)
            return 0;
        (void)vd_text_copy(bad.why, sizeof(bad.why), line);
        *out_ok = true;
        return export_bad_add(&j->bad, &j->n_bad, &j->cap_bad, &bad, true, err);
    }
    if (strncmp(line, "checkpoint ", 11) != 0)
        return 0;
    line += 11;
    if (!take_number(&line, &pos) || (j->n_points && pos <= j->point[j->n_points - 1].pos))
        return 0;
    *out_ok = true;
    return add_point(j, pos, line, err);
}

/* Ranges that no checkpoint vouches for are found again. */
static void drop_loose_bad(struct export_journal *j)
{
    uint64_t end = j->n_points ? j->point[j->n_points - 1].pos : 0;

    while (j->n_bad && j->bad[j->n_bad - 1].off >= end)
        j->n_bad--;
    if (j->n_bad) { /* neighbours were joined: one may pass the checkpoint */
        struct copy_bad *last = &j->bad[j->n_bad - 1];

        last->len = vd_min(last->len, end - last->off);
    }
}

static int take_lines(struct export_journal *j, char *text, size_t at, struct vd_err *err)
{
    bool ok = true;
    int rc = 0;

    j->len = at;
    while (ok && rc == 0) {
        char *line = text + at, *end = strchr(line, '\n');
        size_t before = j->n_points;

        if (!end)
            break;
        *end = '\0';
        rc = take_line(j, line, &ok, err);
        at = (size_t)(end + 1 - text);
        if (j->n_points > before)
            j->len = at; /* what follows the last checkpoint is written again */
    }
    drop_loose_bad(j);
    return rc;
}

static const char magic[] = "vdiskfs-export ";

bool export_journal_is(int fd)
{
    char text[sizeof(magic)];
    ssize_t n = pread(fd, text, sizeof(magic) - 1, 0);

    return n > 0 && strncmp(text, magic, (size_t)n) == 0; /* it may be cut in its first word */
}

int export_journal_read(int fd, struct export_journal *out, struct vd_err *err)
{
    VD_AUTO(free) char *text = NULL;
    size_t len = 0;
    char *end;
    int rc;

    *out = (struct export_journal){.fd = fd};
    rc = read_file(fd, &text, &len, err);
    if (rc || len == 0)
        return rc;
    if (len < sizeof(magic) - 1 && strncmp(text, magic, len) == 0)
        return 0; /* cut in its first word */
    end = strstr(text, "\n--\n");
    if (strlen(text) != len || strncmp(text, magic, sizeof(magic) - 1) != 0)
        return vd_fail(err, VD_EREFUSED, "the journal is not one of vdiskctl export");
    if (!end)
        return 0; /* it was cut before anything was written */
    out->header = strndup(text, (size_t)(end + 1 - text));
    if (!out->header)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    rc = take_lines(out, text, (size_t)(end + 4 - text), err);
    if (rc)
        export_journal_clear(out);
    return rc;
}

/* ---- writing ---- */

/* Appends; on failure the file is cut back to what it was. */
static int append(struct export_journal *j, const char *text, size_t len, struct vd_err *err)
{
    size_t done = 0;
    int why;

    while (done < len) {
        ssize_t n = pwrite(j->fd, text + done, len - done, (off_t)(j->len + done));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            break;
        done += (size_t)n;
    }
    if (done == len && fdatasync(j->fd) == 0) {
        j->len += len;
        return 0;
    }
    why = errno;
    return vd_fail_errno(err, VD_EIO, why, "cannot write the journal%s",
                         ftruncate(j->fd, (off_t)j->len) ? ", nor cut off the line at its end"
                                                         : "");
}

static int append_str(struct export_journal *j, struct vd_str *s, struct vd_err *err)
{
    VD_AUTO(free) char *text = vd_str_take(s);

    return text ? append(j, text, strlen(text), err) : vd_fail(err, VD_ENOMEM, "out of memory");
}

int export_journal_start(struct export_journal *j, const char *header, struct vd_err *err)
{
    struct vd_str s = VD_STR_INIT;
    char *copy = strdup(header);

    free(j->header);
    j->header = copy;
    j->n_points = j->n_bad = 0;
    j->len = 0;
    if (!copy)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    if (ftruncate(j->fd, 0))
        return vd_fail_errno(err, VD_EIO, errno, "the journal");
    vd_str_addf(&s, "%s--\n", header);
    return append_str(j, &s, err);
}

int export_journal_cut(struct export_journal *j, size_t n, struct vd_err *err)
{
    VD_AUTO(free) char *text = NULL;
    size_t len = 0, i = 0, at;
    char *line;
    int rc = read_file(j->fd, &text, &len, err);

    if (rc)
        return rc;
    /* Behind the n-th checkpoint line, or behind the header. */
    line = strstr(text, "\n--\n");
    if (!line)
        return vd_fail(err, VD_EREFUSED, "the journal was changed meanwhile");
    at = (size_t)(line + 4 - text);
    while (i < n && (line = strchr(text + at, '\n')) != NULL) {
        i += strncmp(text + at, "checkpoint ", 11) == 0;
        at = (size_t)(line + 1 - text);
    }
    j->n_points = n;
    j->len = at;
    drop_loose_bad(j);
    return ftruncate(j->fd, (off_t)at) ? vd_fail_errno(err, VD_EIO, errno, "the journal") : 0;
}

int export_journal_add(struct export_journal *j, const struct copy_bad *bad, size_t n_bad,
                       uint64_t pos, const char *hash, struct vd_err *err)
{
    struct vd_str s = VD_STR_INIT;
    size_t i;
    int rc = add_point(j, pos, hash, err);

    for (i = 0; i < n_bad; i++)
        vd_str_addf(&s, "bad %" PRIu64 " %" PRIu64 " %s\n", bad[i].off, bad[i].len, bad[i].why);
    vd_str_addf(&s, "checkpoint %" PRIu64 " %s\n", pos, hash);
    if (rc) {
        vd_str_clear(&s);
        return rc;
    }
    rc = append_str(j, &s, err);
    if (rc)
        j->n_points--;
    return rc;
}
