/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making proofs; see prove.h.  The log is verified twice: the first walk finds the frame and the
 * checkpoint, the second one makes the hashes of the proof while the leaves go by (merkle.h), so that
 * nothing grows with the log.  A log that grows in between does no harm: the tree that the proof is
 * about is that of the checkpoint.  Threads: any; no state is shared.
 */
#include "audit/prove.h"

#include "audit/verify_notes.h"
#include "base/bytes.h"
#include "base/cleanup.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct search {
    const struct audit_prove_options *options;
    struct audit_proved *out;
    struct note_key key; /* of options->key */
    struct anchors anchors;
    bool has_origin; /* `anchors` are those of this log */
    struct vd_err *err;
    int rc;

    bool frame_found;
    bool note_found;
    /* second walk */
    struct merkle_prover prover;
    struct vd_sha256 *sha;
    uint8_t leaf[VD_SHA256_SIZE];
};

/* ---- the first walk ---- */

static void find_frame(void *ctx, const struct audit_seen_frame *frame)
{
    struct search *s = ctx;
    uint64_t first = vd_le64(frame->bytes + AUDIT_H_FIRST_SEQ);
    char origin[NOTE_NAME_MAX];

    if (s->options->anchors && !s->has_origin && s->rc == 0) {
        notes_origin(frame->bytes + AUDIT_H_SESSION, origin);
        s->has_origin = true;
        s->rc = anchors_decode(s->options->anchors, strlen(s->options->anchors), origin,
                               &s->anchors, s->err);
    }
    /* The last frame that begins at or before it: a heartbeat in front has the same number. */
    if (s->options->by_seq ? first <= s->options->number && vd_le32(frame->bytes + AUDIT_H_RECORDS)
                           : frame->frame_no == s->options->number) {
        s->frame_found = true;
        s->out->frame_no = frame->frame_no;
    }
}

static bool is_anchored(const struct search *s, const struct note_checkpoint *checkpoint)
{
    size_t i;

    for (i = 0; i < s->anchors.n; i++)
        if (s->anchors.v[i].size == checkpoint->size &&
            memcmp(s->anchors.v[i].root, checkpoint->root, sizeof(checkpoint->root)) == 0)
            return true;
    return false;
}

/* Is the checkpoint one that was asked for? */
static bool is_wanted(const struct search *s, const char *text, const struct note *note,
                      const struct note_checkpoint *checkpoint)
{
    const struct audit_prove_options *o = s->options;

    if (!o->consistency && o->anchors && !is_anchored(s, checkpoint))
        return false;
    return !o->key || note_verify(text, note, &s->key);
}

static void find_note(void *ctx, const struct audit_seen_note *seen)
{
    struct search *s = ctx;
    struct note_checkpoint checkpoint;
    struct note note;

    if (s->rc || seen->len > NOTE_MAX || note_decode(seen->text, seen->len, &note, NULL) ||
        note_checkpoint_decode(seen->text, &note, &checkpoint, NULL) ||
        !is_wanted(s, seen->text, &note, &checkpoint))
        return;
    memcpy(s->out->proof.note, seen->text, seen->len);
    s->out->proof.note[seen->len] = '\0';
    s->out->size = seen->size;
    s->out->epoch = seen->epoch;
    s->note_found = note_key_init(&s->out->key, checkpoint.origin, seen->key, NULL) == 0;
}

static int walk(const char *path, audit_frame_fn *frame_fn, audit_note_fn *note_fn,
                struct search *s)
{
    const struct audit_verify_options options = {
        .anchors = s->options->anchors, .frame_fn = frame_fn, .note_fn = note_fn, .seen_ctx = s};
    int rc = audit_verify(path, &options, NULL, NULL, &s->out->report, s->err);

    return rc ? rc : s->rc;
}

static int find(const char *path, struct search *s)
{
    const struct audit_prove_options *o = s->options;
    struct audit_proved *out = s->out;
    int rc = walk(path, find_frame, find_note, s);

    if (rc)
        return rc;
    if (o->by_seq && o->number >= out->report.next_seq)
        s->frame_found = false;
    if (!o->consistency && !s->frame_found)
        return vd_fail(s->err, VD_EUSAGE, "%s: no %s %" PRIu64 " is in a good frame", path,
                       o->by_seq ? "record number" : "frame", o->number);
    if (o->anchors && out->report.verdict == AUDIT_TAMPERED && o->consistency)
        return vd_fail(s->err, VD_EDIFF, "%s: TAMPERED at frame %" PRIu64 ": %s", path,
                       out->report.bad_frame, out->report.reason);
    if (!s->note_found)
        return vd_fail(s->err, VD_EUSAGE, "%s: no checkpoint%s%s is there", path,
                       o->key ? " signed by that key" : "",
                       o->anchors && !o->consistency ? " that is one of the anchors" : "");
    out->proof.index = o->consistency ? s->anchors.v[s->anchors.n - 1].size : out->frame_no;
    if (o->consistency ? out->proof.index > out->size : out->proof.index >= out->size)
        return vd_fail(s->err, VD_EUSAGE,
                       "%s: the %scheckpoint covers %" PRIu64 " frames, not frame %" PRIu64 "%s",
                       path, o->key ? "last one of that key is too early: the " : "last ",
                       out->size, out->proof.index - o->consistency,
                       out->report.has_close ? "" : " (unmount, or recover the log)");
    return 0;
}

/* ---- the second walk ---- */

static void add_leaf(void *ctx, const struct audit_seen_frame *frame)
{
    struct search *s = ctx;

    if (frame->frame_no < s->out->size)
        merkle_prover_add(&s->prover, s->sha, frame->leaf);
    if (s->options->consistency || frame->frame_no != s->out->frame_no || s->out->frame)
        return;
    memcpy(s->leaf, frame->leaf, sizeof(s->leaf));
    s->out->frame = malloc(frame->len);
    if (!s->out->frame)
        return;
    memcpy(s->out->frame, frame->bytes, frame->len);
    s->out->frame_len = frame->len;
}

static int make(const char *path, struct search *s)
{
    struct audit_proved *out = s->out;
    struct note_checkpoint checkpoint;
    struct note note;
    int rc;
    bool right;

    s->sha = vd_sha256_new();
    if (!s->sha)
        return vd_fail(s->err, VD_ENOMEM, "out of memory");
    out->proof.consistency = s->options->consistency;
    if (out->proof.consistency)
        merkle_prover_consistency(&s->prover, out->size, out->proof.index);
    else
        merkle_prover_inclusion(&s->prover, out->size, out->proof.index);
    rc = walk(path, add_leaf, NULL, s);
    if (rc)
        return rc;
    if (!merkle_prover_done(&s->prover) || (!out->proof.consistency && !out->frame))
        return vd_fail(s->err, VD_EIO, "%s: changes while it is read, or memory is out", path);
    out->proof.path = s->prover.proof;
    rc = note_decode(out->proof.note, strlen(out->proof.note), &note, s->err);
    if (rc == 0)
        rc = note_checkpoint_decode(out->proof.note, &note, &checkpoint, s->err);
    if (rc)
        return rc;
    right =
        out->proof.consistency
            ? merkle_check_consistency(&out->proof.path, out->proof.index, out->size,
                                       s->anchors.v[s->anchors.n - 1].root, checkpoint.root, s->sha)
            : merkle_check_inclusion(&out->proof.path, out->size, out->proof.index, s->leaf,
                                     checkpoint.root, s->sha);
    return right ? 0
                 : vd_fail(s->err, VD_EDIFF, "%s: the proof does not lead to the checkpoint", path);
}

int audit_prove(const char *path, const struct audit_prove_options *options,
                struct audit_proved *out, struct vd_err *err)
{
    struct search s = {.options = options, .out = out, .err = err};
    int rc = 0;

    *out = (struct audit_proved){0};
    if (options->key)
        rc = note_key_decode(options->key, &s.key, err);
    if (rc == 0)
        rc = find(path, &s);
    if (rc == 0)
        rc = make(path, &s);
    vd_sha256_free(s.sha);
    anchors_clear(&s.anchors);
    if (rc) {
        free(out->frame);
        out->frame = NULL;
    }
    return rc;
}
