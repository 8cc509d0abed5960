/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a log: the verifier, and the records it accepted.  Shares with the writing side nothing
 * but the definitions of the format, CRC-32C and SHA-256.
 */
#ifndef VD_AUDIT_VERIFY_H
#define VD_AUDIT_VERIFY_H

#include "audit/merkle.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum audit_verdict {
    AUDIT_INTACT_CLOSED, /* every byte is accounted for, and the close record ends the log */
    AUDIT_INTACT_OPEN,   /* the same without a close record: in use, or the supervisor crashed */
    AUDIT_TORN_TAIL,     /* intact frames, then something that was not sealed or is missing */
    AUDIT_TAMPERED       /* a frame, or the order of frames, is not what was written */
};

/* One frame that was verified.  Borrowed for the call. */
struct audit_seen_frame {
    const uint8_t *bytes;
    size_t len;
    uint64_t frame_no;
    const uint8_t *leaf; /* its leaf hash, 32 bytes */
};
typedef void audit_frame_fn(void *ctx, const struct audit_seen_frame *frame);

/* One of the log's own checkpoints, as text, after its head and its signature were verified.
 * Borrowed for the call. */
struct audit_seen_note {
    const char *text; /* the whole note, not NUL-terminated */
    size_t len;
    uint64_t size;      /* frames that it covers */
    uint32_t epoch;     /* whose key signed it … */
    const uint8_t *key; /* … which is this, 32 bytes */
};
typedef void audit_note_fn(void *ctx, const struct audit_seen_note *note);

/* What is known from elsewhere, and what else is to be told. */
struct audit_verify_options {
    /* "NAME+ID+BASE64" of the log's first key, or of the laboratory's key that must have signed one of
     * its checkpoints; NULL: no key is known, the log vouches for itself. */
    const char *key;
    /* Checkpoints of this log that were kept outside it (signed notes one after the other, notes of
     * other logs among them are passed over), NUL-terminated; NULL: none. */
    const char *anchors;
    /* Follows a log that is being written: called when there is nothing more at the moment; true: look
     * again, false: end here.  Ends by itself when the log is closed (then it waits for the last
     * checkpoint) or when nobody writes it any more.  NULL: what is there now.  Not for logs in memory. */
    bool (*idle)(void *ctx);
    void *idle_ctx;
    /* Receives the last checkpoint that was checked, "" when there is none: AUDIT_NOTE bytes; may be
     * NULL. */
    char *last_note;
    bool owned; /* the caller holds the lock on ring.wal: nobody is writing the log */
    /* Called for every good frame after its records, and for every good checkpoint; may be NULL. */
    audit_frame_fn *frame_fn;
    audit_note_fn *note_fn;
    void *seen_ctx;
};

/* Room for a checkpoint as text, NUL included. */
#define AUDIT_NOTE 4097

struct audit_report {
    enum audit_verdict verdict;
    bool live;                                 /* a supervisor is writing this log now */
    uint64_t segments, frames, records, bytes; /* intact ones, from the start */
    uint64_t lost;                             /* AUDIT_LOST records among them */
    bool has_session;
    uint8_t session[16];
    uint8_t leaf[32];    /* of the last intact frame: what to keep outside */
    uint8_t root[32];    /* head of the tree over all intact frames */
    struct merkle tree;  /* the same with what is needed to go on */
    uint64_t next_seq;   /* sequence number of the first record that is in no frame */
    char first_key[192]; /* "NAME+ID+BASE64" of the first epoch */
    uint32_t epochs;
    uint64_t checkpoints, checkpoint_size; /* that were checked; frames that the last one covers */
    uint64_t anchors;                      /* that fitted */
    uint64_t recoveries;                   /* after crashes */
    uint64_t
        session_frames; /* that keys of the session signed: all under its last checkpoint before
                                the first recovery */
    bool has_close;
    int32_t close_result;
    uint64_t torn_bytes; /* after the last intact frame */
    bool has_ring;
    uint64_t unsealed;   /* committed records in ring.wal that are in no frame: recoverable */
    uint64_t unfinished; /* claims in ring.wal that were never committed */
    /* TAMPERED, and TORN TAIL where there is more to say */
    uint64_t bad_frame, bad_offset; /* frame number expected there; offset in its segment */
    uint32_t bad_segment;
    char reason[256];
};

/* One record of a frame that was verified as a whole.  Borrowed for the call. */
struct audit_seen {
    const uint8_t *bytes;
    size_t len;
    uint64_t frame_no;
};

/* Called for every record in order; anything but 0 ends the walk and is returned. */
typedef int audit_seen_fn(void *ctx, const struct audit_seen *seen, struct vd_err *err);

/* Verifies the session directory, or the single segment file, `path`; each record of an intact
 * frame is given to `fn` (may be NULL) after its frame was checked.  `options` may be NULL.  Streams: memory does not
 * depend on the log.  0 when there is a verdict, whichever; VD_EIO, VD_ENOENT, VD_EUSAGE when the
 * log cannot be read or is no log. */
int audit_verify(const char *path, const struct audit_verify_options *options, audit_seen_fn *fn,
                 void *ctx, struct audit_report *out, struct vd_err *err);

/* The same for the directory that `dir_fd` (borrowed) is; `path` is its name for messages. */
int audit_verify_at(int dir_fd, const char *path, const struct audit_verify_options *options,
                    audit_seen_fn *fn, void *ctx, struct audit_report *out, struct vd_err *err);

/* The same for segments that lie in memory (segment i in bytes[i]) and their checkpoints (NULL:
 * they are not looked at); no ring. */
int audit_verify_bytes(const uint8_t *const *bytes, const size_t *len, size_t n_segments,
                       const char *checkpoints, size_t checkpoints_len,
                       const struct audit_verify_options *options, audit_seen_fn *fn, void *ctx,
                       struct audit_report *out, struct vd_err *err);

/* Where a log that is being written is mounted, as its program noted it: a hint. */
struct audit_mount {
    uint32_t major, minor; /* of its files; both 0: not mounted yet */
    char path[2048];       /* empty: longer than that */
};

/* Is the log at `path` (as for audit_verify) being written now?  False also when that cannot be told. */
bool audit_is_live(const char *path, struct audit_mount *out_mount);

/* "INTACT closed" and so on. */
const char *audit_verdict_text(enum audit_verdict verdict);

/* 0 for the two INTACT verdicts, VD_EXIT_DIFFERENCE for the others. */
int audit_verdict_exit(enum audit_verdict verdict);

#endif
