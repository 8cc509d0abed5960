/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signed notes on the verifier's side: the log's own checkpoints, which are read along with the
 * frames, and anchors, which were kept elsewhere.  Private to the verifier; not for the writer.
 */
#ifndef VD_AUDIT_VERIFY_NOTES_H
#define VD_AUDIT_VERIFY_NOTES_H

#include "audit/verify_frame.h"

/* One file of checkpoints, read as far as the frames have come. */
struct notes {
    int fd; /* or, when < 0, memory: */
    const char *mem;
    size_t mem_len;
    char buf[2 * NOTE_MAX]; /* what was read and not used */
    size_t have;
    uint64_t n;     /* notes that were checked */
    uint64_t size;  /* frames that the last of them covers */
    uint64_t ahead; /* frames that the next one covers, as far as it was looked at already */
    char *last;     /* AUDIT_NOTE bytes for its text; may be NULL */
    /* Of a log that was being written when the walk began, tree heads over the last frames (over n
     * frames at n modulo NOTES_RECENT), else NULL: a checkpoint may come after further frames, so it
     * may be met when the walk has passed them. */
    const uint8_t (*recent)[VD_SHA256_SIZE];
    audit_note_fn *fn; /* is told of each one that was checked; may be NULL */
    void *ctx;
};

#define NOTES_RECENT 1024

/* Checks the note that covers exactly the frames before `e` (with `recent`: or fewer, but more than the
 * one before): head and signature of the key of the
 * last frame.  Of a late one that is older than `recent` only the signature.  `lab` (may be NULL) is looked for among the other signatures; *out_lab is set when
 * one is right.  False and `reason`: something is wrong.  VD_EIO is in `rc`. */
bool notes_follow(struct notes *notes, const struct expect *e, const struct note_key *lab,
                  bool *out_lab, char reason[256], int *rc, struct vd_err *err);

/* At the end of the frames that the file belongs to: is there another note?  It covers frames that
 * are not here.  After the checkpoint over a closed log there is nothing at all.  As above. */
bool notes_end(struct notes *notes, const struct expect *e, char reason[256], int *rc,
               struct vd_err *err);

/* Anchors of this log, ascending. */
struct anchors {
    struct note_checkpoint *v; /* owned */
    size_t n, next;
};

/* Takes the notes of `text` whose origin is `origin`; notes of other logs are passed over.  The text
 * is signed notes, or lines of a log some of which hold a checkpoint (note_line.h), or both.
 * `origin` NULL: only checks that notes are there, and takes none.  VD_EUSAGE: none is of this log,
 * one is not whole, or the text is neither. */
int anchors_decode(const char *text, size_t len, const char *origin, struct anchors *out,
                   struct vd_err *err);
void anchors_clear(struct anchors *anchors);

/* Compares the anchors that cover exactly the frames before `e`. */
bool anchors_follow(struct anchors *anchors, const struct expect *e, char reason[256]);

/* Moves the position of `fd` over a hole that begins there, to the data behind it or the file's end, so that a
 * file that is large by name only takes no time.  Returns the bytes passed, which are zero; 0 where
 * there is no hole, or the file system does not tell. */
uint64_t audit_skip_hole(int fd);

/* "vdiskfs/" and the session's UUID.  out: NOTE_NAME_MAX bytes. */
void notes_origin(const uint8_t session[16], char *out);

#endif
