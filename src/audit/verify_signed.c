/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verifier's rules about keys, checkpoints and anchors, called between the frames of the walk.
 * Rules: docs/formats/audit-log.md, "Checkpoints" and "What a verifier checks".  State is the
 * walk's; one thread.
 */
#include "audit/verify_walk.h"

#include "base/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CLOSE_RETRIES  50
#define CLOSE_PAUSE_NS 20000000

int signed_open(struct walk *w, uint32_t number)
{
    char name[32] = AUDIT_CHECKPOINTS;
    struct stat st;

    if (number)
        (void)snprintf(name, sizeof(name), AUDIT_CHECKPOINTS ".%06" PRIu32, number);
    if (w->notes.fd >= 0)
        (void)close(w->notes.fd);
    w->notes = (struct notes){.fd = -1, .n = w->notes.n, .fn = w->notes.fn, .ctx = w->notes.ctx};
    w->notes.fd = openat(w->dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (w->notes.fd < 0 && errno != ENOENT)
        return vd_fail_errno(w->err, VD_EIO, errno, "%s", name);
    if (w->notes.fd >= 0 && (fstat(w->notes.fd, &st) || !S_ISREG(st.st_mode)))
        return vd_fail(w->err, VD_EREFUSED, "%s is no regular file", name);
    if (w->notes.fd < 0)
        walk_tampered(w, w->off, "the file of checkpoints is missing: the signatures were removed");
    return 0;
}

int signed_check_options(struct walk *w)
{
    const struct audit_verify_options *o = w->options;
    int rc = 0;

    if (o) {
        w->notes.fn = o->note_fn;
        w->notes.ctx = o->seen_ctx;
    }
    if (o && o->key) {
        rc = note_key_decode(o->key, &w->lab, w->err);
        w->has_lab = strncmp(w->lab.name, AUDIT_ORIGIN, strlen(AUDIT_ORIGIN)) != 0;
    }
    if (rc == 0 && w->has_lab && !w->has_notes)
        rc = vd_fail(w->err, VD_EUSAGE,
                     "only checkpoints show a laboratory's key: name the session directory");
    if (rc == 0 && o && o->anchors)
        rc = anchors_decode(o->anchors, strlen(o->anchors), NULL, &w->anchors, w->err);
    return rc;
}

/* The log's own first key, or a laboratory's.  Frame 0 was just read. */
static int take_options(struct walk *w)
{
    const struct audit_verify_options *o = w->options;
    char origin[NOTE_NAME_MAX];
    struct note_key key;
    int rc;

    notes_origin(w->e.session, origin);
    rc = note_key_init(&key, origin, w->e.key, w->err);
    if (rc)
        return rc;
    note_key_text(&key, w->r->first_key);
    if (o && o->anchors)
        rc = anchors_decode(o->anchors, strlen(o->anchors), origin, &w->anchors, w->err);
    if (rc == 0 && o && o->key && !w->has_lab &&
        (strcmp(w->lab.name, origin) != 0 ||
         memcmp(w->lab.bytes, key.bytes, sizeof(key.bytes)) != 0))
        walk_tampered(w, AUDIT_H_KEY, "the log's first key is not the one given");
    return rc;
}

static int follow(struct walk *w)
{
    uint64_t before;
    char reason[256];
    int rc = 0;

    w->notes.last = w->options ? w->options->last_note : NULL;
    w->notes.recent = (const uint8_t(*)[VD_SHA256_SIZE])w->recent;
    do { /* late ones may be several */
        before = w->notes.n;
        if (!notes_follow(&w->notes, &w->e, w->has_lab ? &w->lab : NULL, &w->lab_found, reason, &rc,
                          w->err) &&
            rc == 0)
            walk_tampered(w, w->off, reason);
    } while (rc == 0 && w->recent && w->notes.n > before && w->r->verdict != AUDIT_TAMPERED);
    return rc;
}

bool signed_gap(const struct walk *w, const uint8_t *header, size_t len)
{
    return w->has_notes && len > AUDIT_H_FLAGS &&
           !(header[AUDIT_H_FLAGS] & AUDIT_FRAME_RECOVERED) && frame_ended_epoch(&w->e) &&
           w->notes.size != w->e.frame_no;
}

int signed_before_frame(struct walk *w, const uint8_t *header)
{
    bool recovery = vd_le32(header + AUDIT_H_FLAGS) & AUDIT_FRAME_RECOVERED;
    char reason[256];
    int rc = 0;

    if (!w->has_notes || (w->e.frame_no == 0 && !recovery))
        return 0;
    if (recovery && w->e.closed && w->notes.size == w->e.frame_no) {
        walk_tampered(w, w->off, "something follows the checkpoint over the whole log");
        return 0;
    }
    if (recovery) {
        if (w->e.recoveries == 0)
            w->r->session_frames = w->notes.size;
        if (!notes_end(&w->notes, &w->e, reason, &rc, w->err) && rc == 0)
            walk_tampered(w, w->off, reason);
        return rc || w->r->verdict == AUDIT_TAMPERED || w->mem ? rc : signed_open(w, w->e.segment);
    }
    if (signed_gap(w, header, AUDIT_FRAME_HEADER)) /* it may have been written since */
        rc = follow(w);
    if (rc == 0 && w->r->verdict != AUDIT_TAMPERED && signed_gap(w, header, AUDIT_FRAME_HEADER))
        walk_tampered(w, w->off,
                      "the frame before ended its epoch, but no checkpoint of its key follows: the "
                      "signatures were removed");
    return rc;
}

int signed_after_frame(struct walk *w)
{
    char reason[256];
    int rc = w->e.frame_no == 1 ? take_options(w) : 0;

    if (w->recent)
        merkle_root(&w->e.tree, w->e.sha, w->recent[w->e.frame_no % NOTES_RECENT]);
    if (rc == 0 && w->r->verdict != AUDIT_TAMPERED && w->has_notes)
        rc = follow(w);
    if (rc == 0 && w->r->verdict != AUDIT_TAMPERED && !anchors_follow(&w->anchors, &w->e, reason))
        walk_tampered(w, w->off, reason);
    return rc;
}

/* The close record is in the log a moment before the checkpoint over it. */
static int await_last(struct walk *w)
{
    const struct timespec pause = {0, CLOSE_PAUSE_NS};
    int i, rc = 0;

    for (i = 0; rc == 0 && w->r->verdict != AUDIT_TAMPERED && w->notes.size != w->e.frame_no &&
                i < CLOSE_RETRIES;
         i++) {
        (void)nanosleep(&pause, NULL);
        rc = follow(w);
    }
    return rc;
}

int signed_end(struct walk *w)
{
    char reason[256];
    int rc = 0;

    if (w->has_notes && w->recent && w->e.frame_no > 0)
        rc = follow(w);
    if (rc || w->r->verdict == AUDIT_TAMPERED)
        return rc;
    if (w->has_notes && !w->r->live) {
        if (!notes_end(&w->notes, &w->e, reason, &rc, w->err) && rc == 0)
            walk_tampered(w, w->off, reason);
    } else if (w->has_notes && w->e.closed) {
        rc = await_last(w);
    }
    if (rc || w->r->verdict == AUDIT_TAMPERED)
        return rc;
    if (w->anchors.next < w->anchors.n) {
        (void)snprintf(reason, sizeof(reason),
                       "an anchor covers %" PRIu64 " frames, only %" PRIu64
                       " are here: the end was cut off",
                       w->anchors.v[w->anchors.n - 1].size, w->e.frame_no);
        walk_tampered(w, w->off, reason);
    } else if (w->has_lab && !w->lab_found && w->e.frame_no > 0) {
        walk_tampered(w, w->off, "no checkpoint is signed by the key given");
    }
    return 0;
}
