/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The audit log, writing side.  Format: include/vdiskfs/audit_format.h and
 * docs/formats/audit-log.md (change both together).
 *
 *   worker threads, supervisor ──audit_log()──▶ ring (mapped, preallocated file, shared)
 *                                                 │ record is in the ring BEFORE the reply
 *   supervisor's audit thread ◀──────────────────┘
 *        seals records into frames (SHA-256 chain), appends them to NNNNNN.vlog, syncs
 *
 * The ring lives in a file that is mapped MAP_SHARED before the worker is forked, so the kernel
 * owns its pages: no record whose reply was sent is lost when a process dies.  A full ring makes
 * audit_log wait; nothing is dropped.
 */
#ifndef VD_AUDIT_AUDIT_H
#define VD_AUDIT_AUDIT_H

#include "base/err.h"
#include "vdiskfs/audit_format.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct audit_ring;   /* shared between the processes */
struct audit_writer; /* supervisor only: the thread and the segment files */

/* One event to be logged.  Zero-initialise; set what applies. */
struct audit_event {
    enum audit_op op;
    uint64_t obj; /* node number, 0 = none */
    uint64_t off, len;
    uint32_t proc;                    /* id given by an AUDIT_PROC record, 0 = the program itself */
    int32_t result;                   /* 0, or a negative errno as sent to the kernel */
    uint8_t flags;                    /* AUDIT_F_* */
    const struct audit_field *fields; /* variable parts (path, name, text); may be NULL */
    size_t n_fields;
};

/* One variable part: tag, and bytes copied into the record (cut, with AUDIT_F_CUT set, when the
 * record would exceed AUDIT_MAX_PAYLOAD). */
struct audit_field {
    enum audit_tag tag;
    const void *bytes;
    size_t len;
};

/* ---- both processes ---- */

/* What audit_log returns for an event that could not be kept. */
#define AUDIT_NOT_LOGGED UINT64_MAX

/* Puts the event into the ring; returns its sequence number.  Any thread, any of the two
 * processes; not from a signal handler.  Waits only when the ring is full, and then as long as the
 * log can still be written: a full ring loses nothing.  The record survives the death of this
 * process from the moment the function returns.
 *
 * AUDIT_NOT_LOGGED when the event was NOT kept: the ring is full and the log has failed, the
 * supervisor is gone, or the session is closed.  The request must then be answered EIO. */
uint64_t audit_log(struct audit_ring *ring, const struct audit_event *event);

/* Waits until the record `seq` is sealed and on the disk (critical records: mount, unmount,
 * refused write, I/O error, evidence changed).  Waiters share one fdatasync.  VD_EAUDIT when the
 * log has failed, when `seq` is AUDIT_NOT_LOGGED, when the other process died, or after a minute.
 * Works before audit_start too, in the process that called audit_open. */
int audit_wait(struct audit_ring *ring, uint64_t seq, struct vd_err *err);

/* Has writing the log failed?  Then every access must answer EIO (fail closed): ask AFTER
 * audit_log, before the answer.  True from the first failed write until a second after writing
 * works again (space came back), and for ever after a failed sync or the close.  One load. */
bool audit_failed(const struct audit_ring *ring);

/* The one descriptor (not counting 0-2) that the log needs in the worker: by it each process sees
 * the death of the other.  It must stay open as long as the worker lives, or claims of the living
 * worker are taken for those of a dead one.  For whoever closes all others. */
int audit_lifeline_fd(const struct audit_ring *ring);

/* ---- supervisor ---- */

struct audit_config {
    const char *dir;        /* where session directories go; created with mode 0700 if missing */
    size_t ring_bytes;      /* 0 = default 16 MiB */
    unsigned seal_ms;       /* longest time a record stays unsealed; 0 = default 100 */
    unsigned sync_ms;       /* longest time a frame stays unsynced; 0 = default 1000 */
    uint64_t segment_bytes; /* a new segment file begins after this many; 0 = default 1 GiB */
    unsigned epoch_ms;      /* a key signs for this long; 0 = default 60,000 */
    uint64_t epoch_records; /* … or so many records; 0 = default 1,000,000 */
    unsigned heartbeat_ms;  /* an idle log gets a frame this often; 0 = default 60,000 */
    const char *lab_key; /* file of a laboratory's key that signs the first checkpoint; or NULL */
    /* Called with every checkpoint (signed note, NUL-terminated) once it is in its file, on the
     * audit thread or in audit_close: must be quick.  May be NULL. */
    void (*anchor)(void *ctx, const char *note);
    void *anchor_ctx;
};

/* Default directory: /var/log/vdiskfs for root, $XDG_STATE_HOME/vdiskfs or
 * ~/.local/state/vdiskfs otherwise.  Caller frees; NULL when there is no home. */
char *audit_default_dir(void);

/* Creates DIR/<session>/ with ring.wal and 000000.vlog.  Call before fork: *out_ring is inherited.
 * The thread is not started yet. */
int audit_open(const struct audit_config *config, struct audit_writer **out_writer,
               struct audit_ring **out_ring, struct vd_err *err);

/* Path of the session directory (borrowed) and its id (a UUID string). */
const char *audit_session_dir(const struct audit_writer *writer);
const char *audit_session_id(const struct audit_writer *writer);

/* Key of the first epoch as "NAME+ID+BASE64": what the verifier must be given from outside to
 * know that the log is this one.  Valid until audit_start; `out` has 192 bytes. */
void audit_first_key(const struct audit_writer *writer, char out[192]);

/* Room for the text of AUDIT_T_PREVIOUS: UUID, frames, leaf hash, NUL. */
#define AUDIT_PREVIOUS_TEXT (36 + 1 + 20 + 1 + 64 + 1)

/* Room for a checkpoint as text, NUL included. */
#define AUDIT_PREVIOUS_NOTE 4097

struct audit_previous {
    char text[AUDIT_PREVIOUS_TEXT]; /* AUDIT_T_PREVIOUS; "": there is no other session */
    char note[AUDIT_PREVIOUS_NOTE]; /* AUDIT_T_PREVIOUS_NOTE; "": it has no checkpoint */
};

/* Looks for the newest other session in the directory of `writer`: "UUID FRAMES LEAF" of its sealed
 * frames, and its last whole checkpoint.  Noted in the next SESSION_OPEN they show that the end of
 * that log was cut off later, or that it was written anew.  Only directories of this user count.
 * Headers are walked, contents and signatures are not checked.  An error says that the newest one
 * cannot be read: it is to be recorded, but no reason not to mount; what was found stays in `out`. */
int audit_previous(const struct audit_writer *writer, struct audit_previous *out,
                   struct vd_err *err);

/* In the worker, right after fork and before it makes threads: drops what only the supervisor may
 * hold (segment descriptors), keeps the ring mapped.  `writer` may afterwards be used for
 * audit_session_dir and audit_session_id only. */
void audit_forget_writer(struct audit_writer *writer);

/* Starts the sealing thread (supervisor, after fork). */
int audit_start(struct audit_writer *writer, struct vd_err *err);

/* Seals everything that is committed, writes the close record (`how`: clean, or the reason), syncs,
 * stops the thread, makes the segment read-only (0400) and removes the ring.  Records that a dead
 * worker claimed but never committed are told in the close record; call when the worker has ended
 * (claims of a living one get two seconds).  A worker that still runs sees audit_failed from here.
 * Frees writer and ring in this process, also on failure: VD_EAUDIT, the log then stays open and
 * ring.wal beside it for recovery.  Works without audit_start.  NULL is allowed.  After
 * audit_forget_writer (worker) it only frees. */
int audit_close(struct audit_writer *writer, enum audit_close_reason how, struct vd_err *err);

#endif
