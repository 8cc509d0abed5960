/* SPDX-License-Identifier: Apache-2.0 */
/* State of the verifier's walk over a log, shared by its parts; private to the verifier.  One
 * thread. */
#ifndef VD_AUDIT_VERIFY_WALK_H
#define VD_AUDIT_VERIFY_WALK_H

#include "audit/verify_notes.h"

struct source {
    int fd; /* or memory: */
    const uint8_t *mem;
    size_t mem_len, mem_pos;
};

struct walk {
    struct expect e;
    struct audit_report *r;
    audit_seen_fn *fn;
    void *ctx;
    struct vd_err *err;

    struct source src;
    uint8_t *buf;
    size_t pos, have;
    uint64_t off; /* of buf[pos] in its segment */
    bool eof;
    bool torn_before; /* a segment ended in part of a frame; a recovery must follow */

    int dir_fd;  /* directory of the log, or -1 */
    int only_fd; /* without it: the one file that is the log; taken when it is opened */
    const uint8_t *const *mem;
    const size_t *mem_len;
    size_t n_mem;

    const struct audit_verify_options *options;
    bool has_notes; /* false: a single file, of which nothing more is known */
    struct notes notes;
    uint8_t (*recent)[VD_SHA256_SIZE]; /* see struct notes; owned; NULL: nobody wrote the log */
    struct anchors anchors;
    struct note_key lab;
    bool has_lab, lab_found;
};

/* Ends the walk: TAMPERED at the frame expected now, `off` bytes into the segment at hand. */
void walk_tampered(struct walk *w, uint64_t off, const char *reason);

/* ---- verify_signed.c: keys, checkpoints, anchors ----
 *
 * All give 0 and may have called walk_tampered; VD_EUSAGE when what was given is no key or no note,
 * VD_EIO when a file cannot be read. */

/* Before the walk: are key and anchors given in order? */
int signed_check_options(struct walk *w);
/* Opens the checkpoints that begin with segment `number`. */
int signed_open(struct walk *w, uint32_t number);
/* Does a frame begin (`len` bytes of its header are there) although the checkpoint over the epoch that
 * ended before it is missing?  The writer never does that. */
bool signed_gap(const struct walk *w, const uint8_t *header, size_t len);
/* Before a whole frame: is all there that must stand between it and the one before? */
int signed_before_frame(struct walk *w, const uint8_t *header);
/* After a frame: what is signed over the frames up to it? */
int signed_after_frame(struct walk *w);
/* After the last frame.  Waits for the last checkpoint of a log that is being closed. */
int signed_end(struct walk *w);

#endif
