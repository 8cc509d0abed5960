/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proofs as text, and checking them without the log; see prove.h.  Texts: C2SP tlog-proof, and the body
 * of add-checkpoint of C2SP tlog-witness.  All that comes in is untrusted: lines, numbers and hashes
 * are taken in their one right spelling only.  Pure; any thread.
 */
#include "audit/prove.h"

#include "audit/verify_frame.h"
#include "audit/verify_notes.h"
#include "base/bytes.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define HEADER "c2sp.org/tlog-proof@v1"

/* ---- text ---- */

void audit_proof_text(const struct audit_proof *proof, char *out)
{
    char hash[NOTE_HASH_TEXT];
    size_t n, i;

    n = (size_t)snprintf(out, AUDIT_PROOF_TEXT, "%s%" PRIu64 "\n",
                         proof->consistency ? "old " : HEADER "\nindex ", proof->index);
    for (i = 0; i < proof->path.n; i++) {
        note_hash_text(proof->path.hash[i], hash);
        n += (size_t)snprintf(out + n, AUDIT_PROOF_TEXT - n, "%s\n", hash);
    }
    (void)snprintf(out + n, AUDIT_PROOF_TEXT - n, "\n%s", proof->note);
}

struct lines {
    const char *text;
    size_t len, pos;
};

static bool next_line(struct lines *l, const char **out, size_t *out_len)
{
    const char *line = l->text + l->pos, *stop = memchr(line, '\n', l->len - l->pos);

    if (!stop)
        return false;
    *out = line;
    *out_len = (size_t)(stop - line);
    l->pos += *out_len + 1;
    return true;
}

static bool begins(const char *line, size_t len, const char *with)
{
    return len >= strlen(with) && memcmp(line, with, strlen(with)) == 0;
}

/* The lines in front of the hashes. */
static bool decode_head(struct lines *l, struct audit_proof *out)
{
    static const char header[] = HEADER, extra[] = "extra ", index[] = "index ", old[] = "old ";
    const char *line;
    size_t len;

    if (!next_line(l, &line, &len))
        return false;
    if (begins(line, len, old)) {
        out->consistency = true;
        return note_number_decode(line + strlen(old), len - strlen(old), &out->index);
    }
    if (len != strlen(header) || !begins(line, len, header) || !next_line(l, &line, &len))
        return false;
    if (begins(line, len, extra) && !next_line(l, &line, &len)) /* nobody authenticates it */
        return false;
    return begins(line, len, index) &&
           note_number_decode(line + strlen(index), len - strlen(index), &out->index);
}

int audit_proof_decode(const char *text, size_t len, struct audit_proof *out, struct vd_err *err)
{
    struct lines l = {text, len, 0};
    const char *line = NULL;
    size_t n = 0;

    *out = (struct audit_proof){0};
    if (!decode_head(&l, out))
        return vd_fail(err, VD_ECORRUPT,
                       "neither a tlog-proof (\"" HEADER "\") nor a consistency proof (\"old N\")");
    for (;;) {
        if (!next_line(&l, &line, &n))
            return vd_fail(err, VD_ECORRUPT, "the proof is cut off");
        if (n == 0)
            break;
        if (out->path.n == MERKLE_MAX_PROOF ||
            !note_hash_decode(line, n, out->path.hash[out->path.n]))
            return vd_fail(err, VD_ECORRUPT, "line %zu of the proof is no hash", out->path.n + 1);
        out->path.n++;
    }
    if (len - l.pos > NOTE_MAX || memchr(text + l.pos, '\0', len - l.pos))
        return vd_fail(err, VD_ECORRUPT, "no checkpoint follows the proof");
    memcpy(out->note, text + l.pos, len - l.pos);
    return 0;
}

/* ---- checking ---- */

/* Only a frame can be what was proved, for a leaf could be anything else that has its hash. */
static int check_frame(const struct audit_proof *proof, const struct note_checkpoint *checkpoint,
                       const uint8_t *frame, size_t len, struct vd_err *err)
{
    char origin[NOTE_NAME_MAX];
    struct fault fault = {0};

    if (len < AUDIT_FRAME_HEADER || memcmp(frame, AUDIT_FRAME_MAGIC, 4) != 0 ||
        frame_length(frame, &fault) != len)
        return vd_fail(err, VD_EDIFF, "the file is not one whole frame");
    if (vd_le64(frame + AUDIT_H_FRAME_NO) != proof->index)
        return vd_fail(err, VD_EDIFF,
                       "the file is frame %" PRIu64 ", the proof is of frame %" PRIu64,
                       vd_le64(frame + AUDIT_H_FRAME_NO), proof->index);
    notes_origin(frame + AUDIT_H_SESSION, origin);
    if (strcmp(origin, checkpoint->origin) != 0)
        return vd_fail(err, VD_EDIFF, "the frame is of %s, the checkpoint of %s", origin,
                       checkpoint->origin);
    return 0;
}

static bool path_is_right(const struct audit_proof *proof, const struct note_checkpoint *checkpoint,
                          const uint8_t *frame, size_t len, struct vd_sha256 *sha)
{
    static const uint8_t prefix = 0;
    uint8_t leaf[VD_SHA256_SIZE];

    vd_sha256_reset(sha);
    vd_sha256_add(sha, &prefix, 1);
    vd_sha256_add(sha, frame, len);
    vd_sha256_end(sha, leaf);
    return merkle_check_inclusion(&proof->path, checkpoint->size, proof->index, leaf,
                                  checkpoint->root, sha);
}

/* The anchor with that size, or NULL. */
static const struct note_checkpoint *find_anchor(const struct anchors *anchors, uint64_t size)
{
    size_t i;

    for (i = 0; i < anchors->n; i++)
        if (anchors->v[i].size == size)
            return &anchors->v[i];
    return NULL;
}

static int check_path(const struct audit_proof *proof, const uint8_t *frame, size_t frame_len,
                      const struct anchors *anchors, struct audit_checked *out, struct vd_err *err)
{
    const struct note_checkpoint *anchor =
        find_anchor(anchors, proof->consistency ? proof->index : out->checkpoint.size);
    struct vd_sha256 *sha = vd_sha256_new();
    bool right;

    if (!sha)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    right =
        proof->consistency
            ? anchor && merkle_check_consistency(&proof->path, proof->index, out->checkpoint.size,
                                                 anchor->root, out->checkpoint.root, sha)
            : path_is_right(proof, &out->checkpoint, frame, frame_len, sha);
    vd_sha256_free(sha);
    if (proof->consistency && !anchor)
        return vd_fail(err, VD_EDIFF,
                       "no anchor covers the %" PRIu64 " frames that the proof begins with",
                       proof->index);
    if (!right)
        return vd_fail(err, VD_EDIFF, "the proof does not lead to the checkpoint");
    if (anchor && !proof->consistency &&
        memcmp(anchor->root, out->checkpoint.root, sizeof(anchor->root)) != 0)
        return vd_fail(err, VD_EDIFF, "the anchor over %" PRIu64 " frames has another tree head",
                       anchor->size);
    out->anchored = anchor != NULL;
    return 0;
}

static int check_key(const struct audit_proof *proof, const struct note *note, const char *text,
                     struct vd_err *err)
{
    struct note_key key;
    int rc = note_key_decode(text, &key, err);

    if (rc)
        return rc;
    return note_verify(proof->note, note, &key)
               ? 0
               : vd_fail(err, VD_EDIFF, "the checkpoint is not signed by the key %s", key.name);
}

int audit_proof_check(const struct audit_proof *proof, const uint8_t *frame, size_t frame_len,
                      const struct audit_trust *trust, struct audit_checked *out,
                      struct vd_err *err)
{
    struct anchors anchors = {0};
    struct note note;
    int rc;

    *out = (struct audit_checked){0};
    if (!trust->key && !trust->anchors)
        return vd_fail(err, VD_EUSAGE, "a proof is checked against a key or an anchor");
    if (note_decode(proof->note, strlen(proof->note), &note, NULL) ||
        note.len != strlen(proof->note) ||
        note_checkpoint_decode(proof->note, &note, &out->checkpoint, NULL))
        return vd_fail(err, VD_EDIFF, "no checkpoint follows the proof");
    rc = trust->key ? check_key(proof, &note, trust->key, err) : 0;
    out->key_signed = rc == 0 && trust->key;
    if (rc == 0 && trust->anchors)
        rc = anchors_decode(trust->anchors, strlen(trust->anchors), out->checkpoint.origin,
                            &anchors, err);
    if (rc == 0 && !proof->consistency)
        rc = check_frame(proof, &out->checkpoint, frame, frame_len, err);
    if (rc == 0)
        rc = check_path(proof, frame, frame_len, &anchors, out, err);
    if (rc == 0 && trust->anchors && !out->anchored)
        rc = vd_fail(err, VD_EDIFF, "the checkpoint is none of the anchors");
    anchors_clear(&anchors);
    return rc;
}
