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
 * works again, and for ever after a failed sync, the loss of a file or the close.  One load or two. */
bool audit_failed(const struct audit_ring *ring);

/* What may be served now; to be asked before an access is. */
enum audit_state {
    AUDIT_READY,    /* everything */
    AUDIT_RESERVED, /* the disk is full: critical events alone may be logged (there is a reserve for
                       them) and answered, accesses are answered EIO */
    AUDIT_WAITING,  /* the same, but accesses wait (audit_full=block): audit_wait_room */
    AUDIT_BLOCKED,  /* the reserve is used up as well: critical events wait too */
    AUDIT_FAILED    /* audit_failed: everything is answered EIO */
};
enum audit_state audit_state(const struct audit_ring *ring);

/* Sleeps until there is space again or something else changed, at most `timeout_ms`. */
void audit_wait_room(struct audit_ring *ring, unsigned timeout_ms);

/* Events whose record must be on the disk (audit_wait) before the program goes on: mount, changed
 * evidence, policy, refused changes, unreadable bytes. */
bool audit_is_critical(enum audit_op op);

/* The one descriptor (not counting 0-2) that the log needs in the worker: by it each process sees
 * the death of the other.  It must stay open as long as the worker lives, or claims of the living
 * worker are taken for those of a dead one.  For whoever closes all others. */
int audit_lifeline_fd(const struct audit_ring *ring);

/* ---- supervisor ---- */

/* What happens to accesses while the log's disk is full. */
enum audit_full {
    AUDIT_FULL_EIO,    /* they are answered EIO */
    AUDIT_FULL_BLOCK,  /* they wait; failures other than a full disk: EIO */
    AUDIT_FULL_UNMOUNT /* EIO, and `give_up` is called, also after other failures */
};

/* What a power failure may cost. */
enum audit_flush {
    AUDIT_FLUSH_INTERVAL, /* what was logged in the last sync_ms */
    AUDIT_FLUSH_CRITICAL, /* what was logged since the last critical event, at most in one epoch */
    AUDIT_FLUSH_ALWAYS    /* as INTERVAL for events of the program itself; for accesses nothing, the
                             caller waits (audit_wait) for the record of each one */
};

struct audit_config {
    const char *dir;   /* where session directories go; created with mode 0700 if missing */
    size_t ring_bytes; /* 0 = default 16 MiB */
    unsigned seal_ms;  /* longest time a record stays unsealed; 0 = default 100 */
    unsigned sync_ms;  /* longest time a record stays unsynced; 0 = default 1000 */
    enum audit_full full;
    enum audit_flush flush;
    /* Bytes beside those for a ring full of records that stay reserved on the disk, so that critical
     * events and the close record can be written when it is full; 0 = default 1 MiB, at least
     * 64 KiB. */
    uint64_t reserve_bytes;
    /* Less free space than this on the log's file system is warned of, and a quarter of it again;
     * 0 = default 256 MiB, or a tenth of a small file system. */
    uint64_t low_bytes;
    uint64_t segment_bytes; /* a new segment file begins after this many; 0 = default 1 GiB */
    unsigned epoch_ms;      /* a key signs for this long; 0 = default 60,000 */
    uint64_t epoch_records; /* … or so many records; 0 = default 1,000,000 */
    unsigned heartbeat_ms;  /* an idle log gets a frame this often; 0 = default 60,000 */
    const char *lab_key; /* file of a laboratory's key that signs the first checkpoint; or NULL */
    /* Called with every checkpoint (signed note, NUL-terminated) once it is in its file, on the
     * audit thread or in audit_close: must be quick.  May be NULL. */
    void (*anchor)(void *ctx, const char *note);
    void *anchor_ctx;
    /* Called with a line (without newline) for whoever watches: space gets low, the log cannot be
     * written, it can be again.  On the audit thread, in audit_open or in audit_close: must be quick.
     * May be NULL. */
    void (*notice)(void *ctx, const char *line);
    /* AUDIT_FULL_UNMOUNT: called once, on the audit thread, when the log cannot be written: the mount
     * has to end.  May be NULL. */
    void (*give_up)(void *ctx, const char *why);
    void *notice_ctx; /* of both */
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

/* Says in ring.wal which device the mount is, so that a verifier can tell a log in use from one that is
 * being closed.  A hint: nothing depends on it. */
void audit_note_mount(struct audit_writer *writer, uint32_t major, uint32_t minor,
                      const char *mountpoint);

/* Key of the first epoch as "NAME+ID+BASE64": what the verifier must be given from outside to
 * know that the log is this one.  Valid until audit_start; `out` has 192 bytes. */
void audit_first_key(const struct audit_writer *writer, char out[192]);

/* The same of the laboratory's key, "" when there is none. */
void audit_lab_key(const struct audit_writer *writer, char out[192]);

/* Room for the text of AUDIT_T_PREVIOUS: UUID, frames, leaf hash, NUL. */
#define AUDIT_PREVIOUS_TEXT (36 + 1 + 20 + 1 + 64 + 1)

/* Room for a checkpoint as text, NUL included. */
#define AUDIT_PREVIOUS_NOTE 4097

struct audit_previous {
    char text[AUDIT_PREVIOUS_TEXT]; /* AUDIT_T_PREVIOUS; "": there is no other session */
    char note[AUDIT_PREVIOUS_NOTE]; /* AUDIT_T_PREVIOUS_NOTE; "": it has no checkpoint */
    char left_open[37];             /* its UUID when it waits for a recovery (a crash), or "" */
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
