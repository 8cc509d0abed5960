/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proofs from a log, and checking them without it:
 *
 *   inclusion    this frame is in the tree whose head that checkpoint signs (C2SP tlog-proof;
 *                RFC 6962, section 2.1.1)
 *   consistency  the log of the later checkpoint is that of the earlier one, with more frames after it
 *                (text as C2SP tlog-witness sends it to a witness; RFC 6962, section 2.1.2)
 */
#ifndef VD_AUDIT_PROVE_H
#define VD_AUDIT_PROVE_H

#include "audit/merkle.h"
#include "audit/note.h"
#include "audit/verify.h"

struct audit_proof {
    bool consistency;
    uint64_t index; /* number of the frame; of a consistency proof the frames of the earlier tree */
    struct merkle_proof path;
    char note[NOTE_MAX + 1]; /* the checkpoint as it was written, NUL-terminated */
};

/* As text; out has AUDIT_PROOF_TEXT bytes. */
#define AUDIT_PROOF_TEXT (64 + MERKLE_MAX_PROOF * NOTE_HASH_TEXT + NOTE_MAX + 2)
void audit_proof_text(const struct audit_proof *proof, char *out);

/* From text that nobody vouches for.  VD_ECORRUPT: not such a proof.  Pure. */
int audit_proof_decode(const char *text, size_t len, struct audit_proof *out, struct vd_err *err);

struct audit_prove_options {
    bool consistency; /* from the last of `anchors` to a checkpoint of the log; else inclusion: */
    bool by_seq;      /* of the frame that holds record number `number`, else of frame `number` */
    uint64_t number;
    const char *key; /* the last checkpoint that this key signed; NULL: the last one of all */
    const char
        *anchors; /* NULL, or text as for audit_verify: inclusion in the tree of one of them */
};

struct audit_proved {
    struct audit_proof proof;
    struct audit_report report; /* of the whole log */
    uint64_t size;              /* frames that the checkpoint covers */
    uint32_t epoch;             /* whose key signed it … */
    struct note_key key;        /* … which is this */
    uint8_t *frame;             /* the frame's bytes; NULL for consistency; caller frees */
    size_t frame_len;
    uint64_t frame_no;
};

/* Verifies the log at `path` and makes the proof: two walks, memory does not depend on the log.  The proof
 * was checked when this returns 0.  What lies in front of a frame that was tampered with can be proved;
 * `report` tells.  VD_EUSAGE: no such frame, not covered by a checkpoint (of that key, of an anchor), bad
 * key or anchors.  VD_EDIFF: the log is not that of the anchor.  VD_EIO, VD_ENOENT, VD_ENOMEM. */
int audit_prove(const char *path, const struct audit_prove_options *options,
                struct audit_proved *out, struct vd_err *err);

/* What a proof is checked against; at least one is given. */
struct audit_trust {
    const char *key; /* must have signed the checkpoint; NULL: not asked */
    const char
        *anchors; /* inclusion: the checkpoint is one of them; consistency: the earlier one is */
};

struct audit_checked {
    struct note_checkpoint checkpoint; /* that the proof leads to */
    bool key_signed, anchored;
};

/* Checks `proof`, for inclusion of the frame in `frame` (bytes of any origin).  0: proved.  VD_EDIFF: not,
 * and why.  VD_EUSAGE: key or anchors are no such thing.  Pure. */
int audit_proof_check(const struct audit_proof *proof, const uint8_t *frame, size_t frame_len,
                      const struct audit_trust *trust, struct audit_checked *out,
                      struct vd_err *err);

#endif
