/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checkpoints and anchors; see verify_notes.h.  Rules: docs/formats/audit-log.md, "Checkpoints".
 * A log that is being written is read along: a note that is not complete yet is looked at again.
 */
#include "audit/verify_notes.h"

#include "audit/note_line.h"
#include "base/bytes.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BASE64_ZEROS                                                                               \
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" \
    "AAA"

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

uint64_t audit_skip_hole(int fd)
{
    off_t here = lseek(fd, 0, SEEK_CUR), data = here < 0 ? -1 : lseek(fd, here, SEEK_DATA);

    if (here >= 0 && data < 0 && errno == ENXIO) /* all the rest is one, or nothing is left */
        data = lseek(fd, 0, SEEK_END);
    if (data < here) {
        if (data >= 0) /* the file became shorter */
            (void)lseek(fd, here, SEEK_SET);
        return 0;
    }
    return (uint64_t)(data - here);
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

/* The checkpoint at the start of `bytes`, of the form in which a log is signed: three lines, at most
 * NOTE_MAX bytes. */
static bool decode(const char *bytes, size_t len, struct note *note,
                   struct note_checkpoint *checkpoint)
{
    char text[NOTE_MAX];

    if (note_decode(bytes, len, note, NULL) || note->len > NOTE_MAX ||
        note_checkpoint_decode(bytes, note, checkpoint, NULL))
        return false;
    note_checkpoint_text(checkpoint, text);
    return strlen(text) == note->text_len;
}

#define MODEL_LINES 5

/* Can these bytes be the beginning of a note whose end was never written?  Then they are a log's
 * last ones; anything else was changed.  They can when the rest of an invented note makes them one. */
static bool note_begins(const char *bytes, size_t len, const char *origin)
{
    char model[MODEL_LINES][NOTE_NAME_MAX + 100] = {"", "1", "", "", ""};
    char whole[NOTE_MAX + MODEL_LINES * sizeof(model[0])];
    const char *part = bytes, *stop;
    struct note_checkpoint checkpoint;
    struct note note;
    size_t line, n, part_len;

    if (len > NOTE_MAX)
        return false;
    (void)snprintf(model[0], sizeof(model[0]), "%s", origin);
    (void)snprintf(model[2], sizeof(model[2]), "%.43s=", BASE64_ZEROS);
    (void)snprintf(model[4], sizeof(model[4]), "\xe2\x80\x94 %s %.91s=", origin, BASE64_ZEROS);
    for (line = 0; (stop = memchr(part, '\n', len - (size_t)(part - bytes))); part = stop + 1)
        line += line < MODEL_LINES - 1;
    part_len = len - (size_t)(part - bytes);
    if (part_len > strlen(model[line])) {
        if (line != 1) /* a number has any length */
            return false;
        model[1][0] = '\0';
    }
    memcpy(whole, bytes, len);
    n = len;
    for (; line < MODEL_LINES; line++, part_len = 0) {
        const char *rest = part_len < strlen(model[line]) ? model[line] + part_len : "";

        n += (size_t)snprintf(whole + n, sizeof(whole) - n, "%s\n", rest);
    }
    return decode(whole, n, &note, &checkpoint) && note.len == n &&
           strcmp(checkpoint.origin, origin) == 0;
}

/* Length of what was read without zeros at its end, which some file systems leave after a power
 * failure.  Zeros that go on are read to their end, and only one of them is kept. */
static size_t without_zeros(struct notes *notes, int *rc, struct vd_err *err)
{
    size_t len;

    for (;;) {
        for (len = notes->have; len > 0 && !notes->buf[len - 1];)
            len--;
        if (notes->have < sizeof(notes->buf) || len + 1 >= notes->have)
            return len;
        notes->have = len + 1;
        if (notes->fd >= 0)
            (void)audit_skip_hole(notes->fd);
        *rc = fill(notes, err);
        if (*rc)
            return 0;
    }
}

/* The next note, which stays in the buffer.  1: there; 0: none, or its end is missing. */
static int peek(struct notes *notes, const struct expect *e, struct note *note,
                struct note_checkpoint *checkpoint, char reason[256], int *rc, struct vd_err *err)
{
    char origin[NOTE_NAME_MAX];
    size_t len;

    *rc = fill(notes, err);
    if (*rc || notes->have == 0)
        return 0;
    notes_origin(e->session, origin);
    if (decode(notes->buf, notes->have, note, checkpoint)) {
        if (strcmp(checkpoint->origin, origin) == 0)
            return 1;
        (void)bad(reason, AUDIT_CHECKPOINTS ": a checkpoint of another log");
        return 0;
    }
    len = without_zeros(notes, rc, err);
    if (*rc == 0 && len > 0 && (!e->has_session || !note_begins(notes->buf, len, origin)))
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

    if (checkpoint->size == e->frame_no)
        merkle_root(&e->tree, e->sha, root);
    else if (e->frame_no - checkpoint->size < NOTES_RECENT)
        memcpy(root, notes->recent[checkpoint->size % NOTES_RECENT], sizeof(root));
    else /* the next one covers these frames too */
        memcpy(root, checkpoint->root, sizeof(root));
    if (memcmp(root, checkpoint->root, sizeof(root)) != 0)
        return bad(reason, "the checkpoint over %" PRIu64 " frames has another tree head",
                   checkpoint->size);
    notes_origin(e->session, origin);
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
    if (e->frame_no < notes->ahead)
        return true;
    if (!peek(notes, e, &note, &checkpoint, reason, rc, err))
        return *rc == 0 && !reason[0];
    if (checkpoint.size > e->frame_no) {
        notes->ahead = checkpoint.size;
        return true;
    }
    if (checkpoint.size < e->frame_no && (!notes->recent || checkpoint.size <= notes->size))
        return bad(reason, "checkpoints are not in order: %" PRIu64 " frames after %" PRIu64,
                   checkpoint.size, notes->size);
    if (!check(notes, &note, &checkpoint, e, reason))
        return false;
    if (lab && note_verify(notes->buf, &note, lab))
        *out_lab = true;
    notes->n++;
    notes->size = checkpoint.size;
    if (notes->last) {
        memcpy(notes->last, notes->buf, note.len); /* NOTE_MAX at most */
        notes->last[note.len] = '\0';
    }
    if (notes->fn) {
        const struct audit_seen_note seen = {notes->buf, note.len, checkpoint.size, e->epoch,
                                             e->key};

        notes->fn(notes->ctx, &seen);
    }
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
    if (*rc || reason[0])
        return false;
    /* The checkpoint over a closed log is the last thing that was written. */
    return !(e->closed && notes->size == e->frame_no && notes->have) ||
           bad(reason, "something follows the checkpoint over the whole log");
}

/* ---- anchors ---- */

static int compare_size(const void *a, const void *b)
{
    const struct note_checkpoint *x = a, *y = b;

    return (x->size > y->size) - (x->size < y->size);
}

/* Where anchors are taken from. */
struct anchor_text {
    const char *text;
    size_t len, pos;
    size_t lines; /* lines of a log with a checkpoint; other lines of it are passed over */
    size_t foreign;
};

/* The next line, which holds a checkpoint in one line, or is foreign. */
static int next_line(struct anchor_text *t, char *buf, struct note *note,
                     struct note_checkpoint *checkpoint, bool *out_found, struct vd_err *err)
{
    const char *line = t->text + t->pos, *stop = memchr(line, '\n', t->len - t->pos);
    size_t len = stop ? (size_t)(stop - line) : t->len - t->pos;
    int found = note_from_line(line, len, buf);

    t->pos += len + (stop != NULL);
    *out_found = found > 0;
    if (found > 0 && decode(buf, strlen(buf), note, checkpoint)) {
        t->lines++;
        return 0;
    }
    if (found)
        return vd_fail(err, VD_EUSAGE, "the anchors, line at byte %zu: part of a checkpoint only",
                       (size_t)(line - t->text));
    /* Part of a note is not the line of another program. */
    t->foreign++;
    if ((len >= strlen(AUDIT_ORIGIN) && memcmp(line, AUDIT_ORIGIN, strlen(AUDIT_ORIGIN)) == 0) ||
        (len >= 3 && memcmp(line, "\xe2\x80\x94", 3) == 0))
        return vd_fail(err, VD_EUSAGE,
                       "the anchors are no signed notes of a log: part of one at byte %zu",
                       (size_t)(line - t->text));
    return 0;
}

/* The next anchor, if there is one at this place. */
static int next_anchor(struct anchor_text *t, struct note_checkpoint *checkpoint, bool *out_found,
                       struct vd_err *err)
{
    char buf[NOTE_MAX + 1];
    size_t left = t->len - t->pos;
    struct note note;

    if (left > NOTE_MAX + 4) /* no further: a log of lines is looked at line by line */
        left = NOTE_MAX + 4;
    *out_found = decode(t->text + t->pos, left, &note, checkpoint);
    if (!*out_found)
        return next_line(t, buf, &note, checkpoint, out_found, err);
    t->pos += note.len;
    t->pos += strspn(t->text + t->pos, "\r\n");
    return 0;
}

static int anchors_add(struct anchors *anchors, const struct note_checkpoint *checkpoint,
                       struct vd_err *err)
{
    struct note_checkpoint *v = anchors->v;

    if ((anchors->n & (anchors->n - 1)) == 0) { /* full at each power of two */
        v = realloc(v, (anchors->n ? 2 * anchors->n : 1) * sizeof(*v));
        if (!v)
            return vd_fail(err, VD_ENOMEM, "out of memory");
        anchors->v = v;
    }
    v[anchors->n++] = *checkpoint;
    return 0;
}

int anchors_decode(const char *text, size_t len, const char *origin, struct anchors *out,
                   struct vd_err *err)
{
    struct anchor_text t = {.text = text, .len = len};
    struct note_checkpoint checkpoint;
    size_t others = 0;
    bool found = false;
    int rc = 0;

    *out = (struct anchors){0};
    while (t.pos < t.len && rc == 0) {
        rc = next_anchor(&t, &checkpoint, &found, err);
        if (rc || !found)
            continue;
        if (!origin || strcmp(checkpoint.origin, origin) != 0)
            others++;
        else
            rc = anchors_add(out, &checkpoint, err);
    }
    if (rc == 0 && t.foreign && !t.lines)
        rc = vd_fail(err, VD_EUSAGE, "the anchors are no signed notes of a log");
    if (rc == 0 && (origin ? out->n : others) == 0)
        rc = vd_fail(err, VD_EUSAGE, "no anchor of %s is there (%zu of other logs)",
                     origin ? origin : "a log", others);
    if (rc) {
        anchors_clear(out);
        return rc;
    }
    if (out->n)
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
