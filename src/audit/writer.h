/* SPDX-License-Identifier: Apache-2.0 */
/* The writing side's state, shared by writer.c (sealing) and session.c (files); private. */
#ifndef VD_AUDIT_WRITER_H
#define VD_AUDIT_WRITER_H

#include "audit/merkle.h"
#include "audit/note.h"
#include "audit/ring.h"
#include "base/sha256.h"

#define SEGMENT_NAME_SIZE 24
#define RING_NAME         "ring.wal"
#define HEALTH_MS         500 /* how often it is seen whether the files are still there */

/* Which file a name stands for. */
struct file_id {
    dev_t dev;
    ino_t ino;
};

/* Only the audit thread touches what is not marked; before audit_start and after its join, the
 * caller of audit_open / audit_close. */
struct audit_writer { /* NOLINT(clang-analyzer-optin.performance.Padding): grouped by meaning */
    struct audit_ring ring;
    char *base;          /* directory of all sessions, absolute; immutable after open */
    char *dir;           /* base/id; immutable */
    char id[37];         /* immutable */
    uint8_t session[16]; /* the id as bytes; immutable */
    uint64_t seal_ns, sync_ns, checkpoint_ns, segment_max; /* immutable */
    int base_fd, dir_fd, ring_fd, segment_fd;
    uint32_t segment;
    uint64_t segment_bytes;
    bool segment_new; /* the directory entry is not synced yet */
    struct file_id dir_file, segment_file, notes_file, ring_file;

    /* Space (space.c). */
    uint64_t allocated;   /* bytes of the segment that the disk keeps, written or not */
    uint64_t notes_bytes; /* whole notes in the file of checkpoints */
    uint64_t notes_allocated;
    uint64_t reserve;       /* kept behind the end of the segment; immutable */
    uint64_t reserve_close; /* the part of it that is for the ring and the close; immutable */
    uint64_t low_bytes;     /* mark of low space, 0 = default; immutable */
    bool unreserved;        /* the file system keeps no space ahead */
    bool unnamed;           /* a recovery: the files get their names when they are whole */
    int full;               /* errno: the reserve cannot be kept whole; 0: it is */
    bool reserve_used_up;   /* but for reserve_close */
    uint64_t full_since, full_retry, low_at;
    unsigned low_level;          /* marks that free space is below */
    enum audit_full full_policy; /* immutable */

    /* The frame being filled, or (sealed) being written. */
    uint8_t frame[AUDIT_FRAME_HEADER + FRAME_SLOTS * AUDIT_SLOT];
    size_t frame_slots, frame_records;
    int64_t t_first, t_last;
    uint64_t frame_deadline; /* CLOCK_MONOTONIC ns */
    uint32_t frame_flags;    /* AUDIT_FRAME_* for the next frame only */
    bool sealed;
    size_t sent; /* bytes of the sealed frame that are in the file */
    uint8_t leaf[VD_SHA256_SIZE];

    uint64_t frame_no, total; /* frames and records that are in the file */
    uint8_t prev[VD_SHA256_SIZE];
    uint64_t tail;   /* first sequence number that is not in the file */
    uint64_t cursor; /* next one to be taken from the ring */
    uint64_t head_seen;
    uint64_t head_limit; /* no claim beyond this counts any more; UINT64_MAX usually */
    uint64_t durable;
    bool unsynced;
    uint64_t sync_deadline;
    struct vd_sha256 *sha;

    /* Keys and checkpoints (checkpoint.c). */
    int checkpoints_fd;
    struct merkle tree;         /* over the frames that are in the file */
    struct note_signer *signer; /* of the present epoch */
    struct note_signer *next;   /* of the next one, once its key is in a sealed frame */
    struct note_signer *lab;    /* signs the first checkpoint too; NULL afterwards */
    uint32_t epoch;
    uint64_t epoch_ns, epoch_records, heartbeat_ns; /* lengths; immutable */
    uint64_t epoch_ends, epoch_total;               /* time; `total` when the epoch began */
    uint64_t frame_time;                            /* when the last frame was sealed */
    uint64_t checkpoint_size, checkpoint_at;        /* frames of the last one; when one is due */
    bool checkpoint_now;                            /* a critical record was sealed */
    char note[NOTE_MAX];                            /* being written */
    size_t note_len, note_sent;
    uint64_t note_size; /* frames that it covers */
    void (*anchor)(void *ctx, const char *note);
    void *anchor_ctx;

    uint64_t hole_at, hole_since; /* the claim that does not get complete, and since when */
    uint64_t lost;                /* AUDIT_LOST records made */
    bool skip_holes;              /* closing: claims of a living worker are given up too */
    bool flush;                   /* seal and sync now, whoever waits or not */

    /* Failures (health.c). */
    int error;    /* errno of the failure that lasts, 0 = none */
    bool dead;    /* it cannot be cured */
    bool damaged; /* the ring held what is no record */
    uint64_t failed_since, retry_at, clear_at, health_at;
    bool gave_up;
    char warning[400]; /* still to be recorded */
    void (*notice)(void *ctx, const char *line);
    void (*give_up)(void *ctx, const char *why);
    void *notice_ctx;
    uint64_t dropped_told;
    int note_error; /* a failure that is over and still to be told in the log */
    uint64_t note_ns;

    pthread_t thread;
    bool started;
    _Atomic bool stop;           /* any thread */
    pthread_mutex_t inline_lock; /* serialises audit_writer_inline */
};

/* One round: take what is committed, seal, write and sync what is due.  False while the log cannot
 * be written. */
bool writer_step(struct audit_writer *w);

/* Appends a record of the writer's own; the frame must have room (see writer_room). */
void writer_append(struct audit_writer *w, uint8_t *record, size_t slots);
bool writer_room(const struct audit_writer *w, size_t slots);

/* Seals the frame at hand and writes it. */
bool writer_seal(struct audit_writer *w, uint32_t flags);
bool writer_sync(struct audit_writer *w);

/* The thread. */
void *writer_main(void *arg);

/* Where claims end: the ring's head, not beyond head_limit. */
uint64_t writer_head(const struct audit_writer *w);

/* ---- health.c ---- */

/* Takes up a failure of the log (errno) that may pass; false. */
bool writer_fail(struct audit_writer *w, int error);
/* … and one that will not. */
bool writer_dead(struct audit_writer *w, int error);
/* The ring held what is no record: nothing is served any more, sealing goes on. */
void writer_damaged(struct audit_writer *w);
/* A write went through: a failure before it is over. */
void writer_recovered(struct audit_writer *w);
/* There is space again after the reserve was used up and everything was refused. */
void health_full_is_over(struct audit_writer *w);
/* Tells producers in what state the log is. */
void health_publish(struct audit_writer *w);
/* A line for whoever watches, and a WARNING record (later, when the ring is full); false: neither, the
 * one before still waits. */
bool health_warn(struct audit_writer *w, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* audit_full=unmount: has the mount ended, once. */
void health_give_up(struct audit_writer *w, const char *why);
/* Are the files still there, and what was written?  False: the log has failed. */
bool health_check(struct audit_writer *w);
/* What is due: the end of a failure, a look at files and space.  False: no writing now. */
bool health_round(struct audit_writer *w);

/* ---- space.c ---- */

/* After the ring is there. */
void space_init(struct audit_writer *w, const struct audit_config *config);
/* Is it a lack of space (disk, quota, limit of a file's size)? */
bool space_is_lack(int error);
/* Reserves for a new segment / for the new file of checkpoints; errno on failure. */
int space_for_segment(struct audit_writer *w, int fd, uint64_t *out_allocated);
int space_for_notes(struct audit_writer *w);
/* Gives back what was reserved and not written. */
void space_give_back(int fd);
/* May a frame of `len` bytes be written?  False: no, and the log has failed. */
bool space_for_frame(struct audit_writer *w, size_t len);
/* May a note be written?  `needed`: it cannot be put off. */
bool space_for_note(struct audit_writer *w, bool needed);
/* Begins segment `number`, or stays in the present one when there is no space; errno on failure. */
int space_begin_segment(struct audit_writer *w, uint32_t number);
/* What producers are to be told about space. */
enum ring_room space_room(const struct audit_writer *w);
/* Looks at free space, tries to get out of "full". */
void space_round(struct audit_writer *w);

/* ---- checkpoint.c ---- */

/* Makes the first key, the files key.pub and checkpoints. */
int checkpoint_open(struct audit_writer *w, const char *lab_key, struct vd_err *err);
void checkpoint_clear(struct audit_writer *w);

/* Before a frame is sealed: does the epoch end with it?  Then the next key is made. */
bool checkpoint_before_seal(struct audit_writer *w, bool closing);
/* After a frame is in the file. */
void checkpoint_frame(struct audit_writer *w);
/* Signs and writes what is due: after an epoch's last frame, after critical records, once a second.
 * `closing`: now. */
bool checkpoint_step(struct audit_writer *w, bool closing);
/* Is a frame due although nothing happened? */
bool checkpoint_heartbeat_due(const struct audit_writer *w);
/* When checkpoint_step or a heartbeat has something to do next (CLOCK_MONOTONIC ns). */
uint64_t checkpoint_deadline(const struct audit_writer *w);

/* ---- session.c ---- */

/* A writer without files or thread, lengths as configured; NULL: no memory.  writer_free closes what
 * it has. */
struct audit_writer *writer_new(const struct audit_config *config);
void writer_free(struct audit_writer *w);

/* The close record, its frame, and the checkpoint over everything, all on the disk. */
bool writer_append_close(struct audit_writer *w, enum audit_close_reason how);

/* Creates the file of segment number `number`, with its reserve, and leaves the present one; errno on
 * failure, the present one is then still open. */
int segment_create(struct audit_writer *w, uint32_t number);
void segment_name(uint32_t number, char out[SEGMENT_NAME_SIZE]);
/* Notes which file `fd` is; errno on failure. */
int file_identify(int fd, struct file_id *out);

#endif
