/* SPDX-License-Identifier: Apache-2.0 */
/* Checking one frame against what must come next; private to the verifier.  Pure but for the state
 * given. */
#ifndef VD_AUDIT_VERIFY_FRAME_H
#define VD_AUDIT_VERIFY_FRAME_H

#include "audit/merkle.h"
#include "audit/note.h"
#include "audit/verify.h"
#include "base/sha256.h"
#include "vdiskfs/audit_format.h"

/* What the next frame must be. */
struct expect {
    uint64_t frame_no, seq, total;
    uint64_t lost;
    uint32_t segment;
    bool has_session;
    uint8_t session[16];
    uint8_t leaf[VD_SHA256_SIZE];   /* of the frame before; zero in front of frame 0 */
    struct merkle tree;             /* over the frames before */
    uint32_t epoch;                 /* of the frame before; 0 in front of frame 0 */
    uint8_t key[NOTE_PUBLIC_SIZE];  /* its key */
    uint8_t next[NOTE_PUBLIC_SIZE]; /* zero, or: it ended its epoch, and this is the next key */
    uint64_t recoveries;            /* frames that begin one */
    bool segment_start;             /* the frame expected is the first of its segment */
    bool closed;
    int32_t close_result;
    struct vd_sha256 *sha;
};

/* Why a frame is wrong, and where in it. */
struct fault {
    size_t off;
    char reason[256];
};

/* Checks the bytes of a header that are there (`len` up to AUDIT_FRAME_HEADER) as far as they go;
 * true when they can be the beginning of the frame expected. */
bool frame_begins(const struct expect *e, const uint8_t *bytes, size_t len, struct fault *fault);

/* Length of the frame from a whole header, or 0 and fault. */
size_t frame_length(const uint8_t *header, struct fault *fault);

/* Did the frame before end its epoch? */
bool frame_ended_epoch(const struct expect *e);

/* Checks one whole frame and moves `e` past it; false, fault set and `e` untouched otherwise. */
bool frame_check(struct expect *e, const uint8_t *frame, size_t len, struct fault *fault);

#endif
