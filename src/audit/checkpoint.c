/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys and checkpoints of a log that is being written.
 *
 * A checkpoint is a signed note (note.h) over the head of the tree of all frames up to then.  Each
 * epoch has a key of its own; the last frame of an epoch carries the public key of the next one,
 * the checkpoint over that frame is the last thing the old key signs, and then its secret is wiped.
 * Who takes over the machine later has no key for what was sealed before.
 *
 *     epoch 1: frames … | frame with NEXT = key 2 | checkpoint by key 1 | key 1 is wiped
 *     epoch 2: frames …
 *
 * Only frames that are on the disk are signed: a checkpoint over more frames than a log has is
 * proof that its end was cut off.  What has been written is never rewritten; a note that reached
 * its file in part is continued.
 *
 * Threads: the audit thread's, see writer.h.
 */
#include "audit/writer.h"

#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static uint64_t now_ns(void)
{
    return audit_clock_ns(CLOCK_MONOTONIC);
}

static void key_name(const struct audit_writer *w, char out[NOTE_NAME_MAX])
{
    (void)snprintf(out, NOTE_NAME_MAX, AUDIT_ORIGIN "%s", w->id);
}

/* ---- opening ---- */

static int create(const struct audit_writer *w, const char *name, int flags, int *out_fd,
                  struct vd_err *err)
{
    *out_fd =
        openat(w->dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | flags, 0600);
    return *out_fd < 0 ? vd_fail_errno(err, VD_EAUDIT, errno, "%s/%s: cannot create", w->dir, name)
                       : 0;
}

static int write_key_file(const struct audit_writer *w, struct vd_err *err)
{
    VD_AUTO(fd) int fd = -1;
    char text[NOTE_KEY_TEXT + 1];
    size_t len;
    int rc = create(w, AUDIT_KEY_FILE, 0, &fd, err);

    if (rc)
        return rc;
    note_key_text(note_signer_key(w->signer), text);
    len = strlen(text);
    text[len++] = '\n';
    if (write(fd, text, len) != (ssize_t)len || fsync(fd) || fchmod(fd, 0400))
        return vd_fail_errno(err, VD_EAUDIT, errno ? errno : ENOSPC, "%s/%s: cannot write", w->dir,
                             AUDIT_KEY_FILE);
    return 0;
}

int checkpoint_open(struct audit_writer *w, const char *lab_key, struct vd_err *err)
{
    char name[NOTE_NAME_MAX];
    int rc, error;

    key_name(w, name);
    rc = note_signer_new(name, &w->signer, err);
    if (rc == 0 && lab_key)
        rc = note_signer_load(lab_key, "laboratory", &w->lab, err);
    if (rc == 0)
        rc = create(w, AUDIT_CHECKPOINTS, O_APPEND, &w->checkpoints_fd, err);
    if (rc == 0) {
        error = file_identify(w->checkpoints_fd, &w->notes_file);
        if (error == 0)
            error = space_for_notes(w);
        if (error)
            rc = vd_fail_errno(err, VD_EAUDIT, error, "%s/%s: cannot reserve space", w->dir,
                               AUDIT_CHECKPOINTS);
    }
    if (rc == 0)
        rc = write_key_file(w, err);
    w->epoch = 1;
    w->frame_time = now_ns();
    w->epoch_ends = w->frame_time + w->epoch_ns;
    return rc;
}

void checkpoint_clear(struct audit_writer *w)
{
    note_signer_free(w->signer);
    note_signer_free(w->next);
    note_signer_free(w->lab);
    w->signer = w->next = w->lab = NULL;
    if (w->checkpoints_fd >= 0)
        (void)close(w->checkpoints_fd);
    w->checkpoints_fd = -1;
}

/* ---- frames ---- */

bool checkpoint_before_seal(struct audit_writer *w, bool closing)
{
    char name[NOTE_NAME_MAX];

    if (closing || w->next || w->full || /* a full disk: the room is for one more note, the last */
        (now_ns() < w->epoch_ends && w->total - w->epoch_total < w->epoch_records))
        return true;
    key_name(w, name);
    return note_signer_new(name, &w->next, NULL) == 0 || writer_fail(w, EIO);
}

void checkpoint_frame(struct audit_writer *w)
{
    uint64_t now = now_ns();

    if (w->tree.size == w->checkpoint_size)
        w->checkpoint_at = now + w->checkpoint_ns;
    merkle_add(&w->tree, w->sha, w->leaf);
    w->frame_time = now;
}

bool checkpoint_heartbeat_due(const struct audit_writer *w)
{
    return !w->sealed && w->frame_no > 0 && !w->full && now_ns() >= w->frame_time + w->heartbeat_ns;
}

uint64_t checkpoint_deadline(const struct audit_writer *w)
{
    uint64_t heartbeat = w->frame_no && !w->full ? w->frame_time + w->heartbeat_ns : UINT64_MAX;

    return w->tree.size > w->checkpoint_size && w->checkpoint_at < heartbeat ? w->checkpoint_at
                                                                             : heartbeat;
}

/* ---- notes ---- */

static bool note_make(struct audit_writer *w)
{
    struct note_checkpoint checkpoint = {.size = w->tree.size};
    int rc;

    key_name(w, checkpoint.origin);
    merkle_root(&w->tree, w->sha, checkpoint.root);
    note_checkpoint_text(&checkpoint, w->note);
    rc = note_sign(w->note, sizeof(w->note), w->signer, NULL);
    if (rc == 0 && w->lab)
        rc = note_sign(w->note, sizeof(w->note), w->lab, NULL);
    if (rc)
        return writer_fail(w, ENOMEM);
    w->note_len = strlen(w->note);
    w->note_sent = 0;
    w->note_size = checkpoint.size;
    return true;
}

static bool note_write(struct audit_writer *w)
{
    while (w->note_sent < w->note_len) {
        ssize_t n = write(w->checkpoints_fd, w->note + w->note_sent, w->note_len - w->note_sent);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return writer_fail(w, n < 0 ? errno : ENOSPC);
        w->note_sent += (size_t)n;
    }
    writer_recovered(w);
    return true;
}

/* The note at hand is in its file. */
static void note_done(struct audit_writer *w)
{
    w->notes_bytes += w->note_len;
    w->note_len = w->note_sent = 0;
    w->checkpoint_size = w->note_size;
    w->checkpoint_now = false;
    note_signer_free(w->lab); /* it signs one note */
    w->lab = NULL;
    if (w->anchor)
        w->anchor(w->anchor_ctx, w->note);
}

static void next_epoch(struct audit_writer *w)
{
    note_signer_free(w->signer);
    w->signer = w->next;
    w->next = NULL;
    w->epoch++;
    w->epoch_total = w->total;
    w->epoch_ends = now_ns() + w->epoch_ns;
}

/* The note at hand, or the one that is due; *out_more: it covers fewer frames than it has to, another
 * one follows (it was begun before the last frame, and could not be written at once). */
static bool one_note(struct audit_writer *w, bool closing, bool *out_more)
{
    bool epoch_end = w->next && !w->sealed;

    *out_more = false;
    if (w->note_len == 0) {
        if (w->tree.size == w->checkpoint_size ||
            !(closing || epoch_end || w->checkpoint_now || now_ns() >= w->checkpoint_at))
            return true;
        if (!space_for_note(w, closing || epoch_end)) { /* later */
            w->checkpoint_now = false;
            w->checkpoint_at = now_ns() + w->checkpoint_ns;
            return true;
        }
        if (!writer_sync(w) || !note_make(w))
            return false;
    }
    if (!note_write(w))
        return false;
    if ((closing || epoch_end) && fdatasync(w->checkpoints_fd))
        return writer_dead(w, errno);
    note_done(w);
    if (w->checkpoint_size < w->tree.size)
        *out_more = closing || epoch_end;
    else if (epoch_end)
        next_epoch(w);
    return true;
}

bool checkpoint_step(struct audit_writer *w, bool closing)
{
    bool more;

    do {
        if (!one_note(w, closing, &more))
            return false;
    } while (more);
    return true;
}
