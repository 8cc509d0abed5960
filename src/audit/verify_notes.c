/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checkpoints and anchors; see verify_notes.h.  Rules: docs/formats/audit-log.md, "Checkpoints".
 * A log that is being written is read along: a note that is not complete yet is looked at again.
 */
#include "audit/verify_notes.h"

#include "base/bytes.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void notes_origin(const uint8_t session[16], char *out)
{
    size_t n = (size_t)snprintf(out, NOTE_NAME_MAX, AUDIT_ORIGIN), i;

    for (i = 0; i < 16; i++)
        n += (size_t)snprintf(out + n, NOTE_NAME_MAX - n,
                              i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", session[i]);
}

__attribute__((format(printf, 2, 3))) static bool bad(char reason[256], const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(reason, 256, fmt, ap);
    va_end(ap);
    return false;
}

/* ---- checkpoints ---- */

static int fill(struct notes *notes, struct vd_err *err)
{
    while (notes->have < sizeof(notes->buf)) {
        size_t room = sizeof(notes->buf) - notes->have;
        ssize_t n;

        if (notes->fd < 0) {
            n = (ssize_t)(room < notes->mem_len ? room : notes->mem_len);
            if (n)
                memcpy(notes->buf + notes->have, notes->mem, (size_t)n);
            notes->mem += n;
            notes->mem_len -= (size_t)n;
        } else {
            n = read(notes->fd, notes->buf + notes->have, room);
        }
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return vd_fail_errno(err, VD_EIO, errno, AUDIT_CHECKPOINTS ": cannot be read");
        if (n == 0)
            break;
        notes->have += (size_t)n;
    }
    return 0;
}

/* Does `line` (len bytes, perhaps cut off at the end) begin as `form` says?  'd' digits, 'b' base64,
 * otherwise literally. */
static bool line_fits(const char *line, size_t len, char form, const char *text)
{
    static const char base64[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";
    size_t i;

    if (form == 't')
        return len <= strlen(text) && memcmp(line, text, len) == 0;
    for (i = 0; i < len; i++)
        if (!line[i] || !strchr(form == 'd' ? "0123456789" : base64, line[i]))
            return false;
    return true;
}

/* Can these bytes be the beginning of a note whose end was never written?  Then they are a log's
 * last ones; anything else was changed. */
static bool note_begins(const char *bytes, size_t len, const char *origin)
{
    char signature[NOTE_NAME_MAX + 8];
    const struct {
        char form;
        const char *text;
    } lines[] = {{'t', origin}, {'d', NULL}, {'b', NULL}, {'t', ""}};
    size_t i, n;

    (void)snprintf(signature, sizeof(signature), "\xe2\x80\x94 %s ", origin);
    for (i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
        const char *stop = memchr(bytes, '\n', len);

        n = stop ? (size_t)(stop - bytes) : len;
        if (!line_fits(bytes, n, lines[i].form, lines[i].text))
            return false;
        if (!stop)
            return true;
        bytes += n + 1;
        len -= n + 1;
    }
    n = strlen(signature);
    return len <= n ? memcmp(bytes, signature, len) == 0
                    : memcmp(bytes, signature, n) == 0 && line_fits(bytes + n, len - n, 'b', NULL);
}

/* The next note, which stays in the buffer.  1: there; 0: none (or its end is missing). */
static int peek(struct notes *notes, const struct expect *e, struct note *note,
                struct note_checkpoint *checkpoint, char reason[256], int *rc, struct vd_err *err)
{
    char origin[NOTE_NAME_MAX];

    *rc = fill(notes, err);
    notes->torn = false;
    if (*rc || notes->have == 0)
        return 0;
    if (note_decode(notes->buf, notes->have, note, NULL) == 0 &&
        note_checkpoint_decode(notes->buf, note, checkpoint, NULL) == 0)
        return 1;
    notes_origin(e->session, origin);
    notes->torn = note_begins(notes->buf, notes->have, origin);
    if (!notes->torn)
        (void)bad(reason, AUDIT_CHECKPOINTS ": note %" PRIu64 " is not in order", notes->n + 1);
    return 0;
}

static bool check(const struct notes *notes, const struct note *note,
                  const struct note_checkpoint *checkpoint, const struct expect *e,
                  char reason[256])
{
    uint8_t root[VD_SHA256_SIZE];
    char origin[NOTE_NAME_MAX];
    struct note_key key;

    notes_origin(e->session, origin);
    if (strcmp(checkpoint->origin, origin) != 0)
        return bad(reason, "a checkpoint of another log");
    merkle_root(&e->tree, e->sha, root);
    if (memcmp(root, checkpoint->root, sizeof(root)) != 0)
        return bad(reason, "the checkpoint over %" PRIu64 " frames has another tree head",
                   checkpoint->size);
    if (note_key_init(&key, origin, e->key, NULL) || !note_verify(notes->buf, note, &key))
        return bad(reason,
                   "the checkpoint over %" PRIu64
                   " frames is not signed by the key of epoch %" PRIu32,
                   checkpoint->size, e->epoch);
    return true;
}

bool notes_follow(struct notes *notes, const struct expect *e, const struct note_key *lab,
                  bool *out_lab, char reason[256], int *rc, struct vd_err *err)
{
    struct note_checkpoint checkpoint;
    struct note note;

    reason[0] = '\0';
    if (!peek(notes, e, &note, &checkpoint, reason, rc, err))
        return *rc == 0 && !reason[0];
    if (checkpoint.size > e->frame_no)
        return true;
    if (checkpoint.size < e->frame_no)
        return bad(reason, "checkpoints are not in order: %" PRIu64 " frames after %" PRIu64,
                   checkpoint.size, notes->size);
    if (!check(notes, &note, &checkpoint, e, reason))
        return false;
    if (lab && note_verify(notes->buf, &note, lab))
        *out_lab = true;
    notes->n++;
    notes->size = checkpoint.size;
    notes->have -= note.len;
    memmove(notes->buf, notes->buf + note.len, notes->have);
    return true;
}

bool notes_end(struct notes *notes, const struct expect *e, char reason[256], int *rc,
               struct vd_err *err)
{
    struct note_checkpoint checkpoint;
    struct note note;

    reason[0] = '\0';
    if (peek(notes, e, &note, &checkpoint, reason, rc, err))
        return bad(reason,
                   "a checkpoint covers %" PRIu64 " frames, only %" PRIu64
                   " are here: the end was cut off",
                   checkpoint.size, e->frame_no);
    return *rc == 0 && !reason[0];
}

/* ---- anchors ---- */

static int compare_size(const void *a, const void *b)
{
    const struct note_checkpoint *x = a, *y = b;

    return (x->size > y->size) - (x->size < y->size);
}

int anchors_decode(const char *text, size_t len, const char *origin, struct anchors *out,
                   struct vd_err *err)
{
    size_t pos = 0, others = 0;
    int rc = 0;

    *out = (struct anchors){0};
    while (pos < len && rc == 0) {
        struct note_checkpoint checkpoint, *v;
        struct note note;

        rc = note_decode(text + pos, len - pos, &note, err);
        if (rc == 0)
            rc = note_checkpoint_decode(text + pos, &note, &checkpoint, err);
        if (rc)
            break;
        pos += note.len;
        pos += strspn(text + pos, "\r\n");
        if (strcmp(checkpoint.origin, origin) != 0) {
            others++;
            continue;
        }
        v = realloc(out->v, (out->n + 1) * sizeof(*v));
        if (!v) {
            rc = vd_fail(err, VD_ENOMEM, "out of memory");
            break;
        }
        v[out->n++] = checkpoint;
        out->v = v;
    }
    if (rc == 0 && out->n == 0)
        rc =
            vd_fail(err, VD_EUSAGE, "no anchor of %s is there (%zu of other logs)", origin, others);
    if (rc) {
        anchors_clear(out);
        return rc == -VD_ECORRUPT ? vd_fail(err, VD_EUSAGE, "the anchors are no signed notes") : rc;
    }
    qsort(out->v, out->n, sizeof(*out->v), compare_size);
    return 0;
}

void anchors_clear(struct anchors *anchors)
{
    free(anchors->v);
    *anchors = (struct anchors){0};
}

bool anchors_follow(struct anchors *anchors, const struct expect *e, char reason[256])
{
    uint8_t root[VD_SHA256_SIZE];

    for (; anchors->next < anchors->n && anchors->v[anchors->next].size <= e->frame_no;
         anchors->next++) {
        const struct note_checkpoint *anchor = &anchors->v[anchors->next];

        if (anchor->size < e->frame_no)
            return bad(reason, "an anchor covers no frame");
        merkle_root(&e->tree, e->sha, root);
        if (memcmp(root, anchor->root, sizeof(root)) != 0)
            return bad(reason,
                       "the anchor over %" PRIu64
                       " frames has another tree head: the log was rewritten",
                       anchor->size);
    }
    return true;
}
