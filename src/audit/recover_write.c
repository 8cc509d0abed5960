/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The segment of a recovery: the record RECOVERED, what ring.wal holds, SESSION_CLOSE, sealed into
 * frames and signed by the code that writes every log (writer.c, checkpoint.c), which gets a ring of
 * its own in memory here and no thread.  Format: docs/formats/audit-log.md, "Recovery".
 *
 * ring.wal is untrusted: where a record ends is taken from the record itself and its checksum, never
 * from the header's working state; what decodes but may not stand in a ring becomes LOST.  A place
 * keeps its distance from the others: the record of number q gets q + the slots of RECOVERED.
 *
 * Threads: one; see recover_write.h.
 */
#include "audit/recover_write.h"

#include "audit/record.h"
#include "audit/verify_notes.h"
#include "audit/verify_ring.h"
#include "audit/writer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- what the ring holds ---- */

/* Only the sealing process writes some records; a worker that was taken over may try. */
static bool is_good(const struct ring_item *item)
{
    struct audit_record r;

    return audit_record_decode(item->bytes, item->slots * AUDIT_SLOT, &r, NULL) == 0 &&
           r.slots == item->slots && audit_record_from_ring(&r);
}

static int sum_item(void *ctx, const struct ring_item *item, struct vd_err *err)
{
    struct ring_sum *sum = ctx;
    bool good = item->kind == RING_RECORD && is_good(item);

    (void)err;
    sum->records += good;
    sum->bad += item->kind == RING_RECORD && !good;
    sum->claims += item->kind == RING_CLAIM;
    if (item->kind == RING_NOTHING)
        return 0;
    sum->lost_slots += good ? item->seq - sum->end : item->seq + item->slots - sum->end;
    sum->end = item->seq + item->slots;
    return 0;
}

int ring_sum(int ring_fd, uint64_t seq, struct ring_sum *out, struct vd_err *err)
{
    *out = (struct ring_sum){.end = seq};
    return ring_fd < 0 ? 0 : ring_walk(ring_fd, seq, sum_item, out, err);
}

/* ---- the writer ---- */

static int failed(const struct recovery_source *s, const struct audit_writer *w, struct vd_err *err)
{
    return vd_fail_errno(err, VD_EAUDIT, w->error ? w->error : EIO,
                         "%s: the recovery cannot be written", s->path);
}

/* The ring that the writer expects; nothing goes through it. */
static int open_private_ring(struct audit_ring *ring, struct vd_err *err)
{
    size_t bytes = AUDIT_RING_HEADER + RING_MIN_SLOTS * AUDIT_SLOT;
    void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (map == MAP_FAILED)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    ring->map_bytes = bytes;
    ring->shared = map;
    ring->slots = (uint8_t *)map + AUDIT_RING_HEADER;
    ring->n_slots = RING_MIN_SLOTS;
    return 0;
}

/* A writer that goes on where the log ends. */
static int open_writer(const struct recovery_source *s, struct audit_writer *w, struct vd_err *err)
{
    char origin[NOTE_NAME_MAX];
    int rc;

    notes_origin(s->session, origin);
    (void)snprintf(w->id, sizeof(w->id), "%.36s", origin + strlen(AUDIT_ORIGIN));
    memcpy(w->session, s->session, sizeof(w->session));
    w->segment = s->before->segments > UINT32_MAX ? UINT32_MAX : (uint32_t)s->before->segments;
    w->segment_max = UINT64_MAX; /* one segment, which appears as a whole … */
    w->unnamed = w->unreserved = true;
    w->frame_no = s->before->frames;
    w->total = w->epoch_total = s->before->records;
    w->tail = w->cursor = s->before->next_seq;
    w->lost = s->before->lost;
    memcpy(w->prev, s->before->leaf, sizeof(w->prev));
    w->tree = s->before->tree;
    w->checkpoint_size = w->tree.size;
    w->epoch = s->before->epochs + 1;
    w->epoch_ends = UINT64_MAX;
    w->frame_flags = AUDIT_FRAME_RECOVERED;
    w->sha = vd_sha256_new();
    rc = w->sha ? open_private_ring(&w->ring, err) : vd_fail(err, VD_ENOMEM, "out of memory");
    return rc ? rc : note_signer_new(origin, &w->signer, err);
}

static bool put(struct audit_writer *w, uint8_t *record, size_t slots)
{
    if (!writer_room(w, slots) && !writer_seal(w, 0))
        return false;
    writer_append(w, record, slots);
    return true;
}

/* ---- records ---- */

static void this_boot(char *out, size_t size)
{
    FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");

    if (!f || !fgets(out, (int)size, f))
        (void)snprintf(out, size, "unknown");
    out[strcspn(out, "\n")] = '\0';
    if (f)
        (void)fclose(f);
}

static void describe(const struct recovery_source *s, const char *boot, char *out, size_t size)
{
    char leaf[2 * VD_SHA256_SIZE + 1] = "-";
    size_t n;

    if (s->before->frames)
        vd_sha256_hex(s->before->leaf, leaf);
    n = (size_t)snprintf(out, size,
                         "recovered by uid %u with %s; sealed before: %" PRIu64
                         " frames, last leaf %s; from "
                         "ring.wal: %" PRIu64 " records, %" PRIu64 " unfinished claims, %" PRIu64
                         " not in order, %" PRIu64 " slots lost; torn bytes: %" PRIu64
                         "; boot of the crash %s, of the recovery %s",
                         (unsigned)getuid(), s->program, s->before->frames, leaf, s->sum->records,
                         s->sum->claims, s->sum->bad, s->sum->lost_slots, s->before->torn_bytes,
                         s->boot[0] ? s->boot : "unknown", boot);
    if (n < size && s->before->has_close)
        n += (size_t)snprintf(out + n, size - n,
                              "; it was closed, but the checkpoint over that is missing");
    if (n < size && s->ring_why)
        (void)snprintf(out + n, size - n, "; %s", s->ring_why);
}

static size_t encode_now(const struct audit_event *event, uint8_t *record)
{
    return audit_record_encode(event, (int64_t)audit_clock_ns(CLOCK_REALTIME),
                               audit_clock_ns(CLOCK_BOOTTIME), record);
}

static bool put_recovered(const struct recovery_source *s, struct audit_writer *w)
{
    uint8_t record[AUDIT_MAX_RECORD];
    char text[1024], boot[64] = "";
    uint32_t uid = getuid();
    struct audit_field fields[] = {
        {AUDIT_T_TEXT, text, 0},
        {AUDIT_T_VERSION, s->program, strlen(s->program)},
        {AUDIT_T_BOOT_ID, boot, 0},
        {AUDIT_T_UID, &uid, sizeof(uid)},
    };
    const struct audit_event event = {.op = AUDIT_RECOVERED,
                                      .off = s->before->next_seq,
                                      .len = s->sum->records,
                                      .fields = fields,
                                      .n_fields = sizeof(fields) / sizeof(fields[0])};

    this_boot(boot, sizeof(boot));
    describe(s, boot, text, sizeof(text));
    fields[0].len = strlen(text);
    fields[2].len = strlen(boot);
    return put(w, record, encode_now(&event, record));
}

/* ---- from the ring ---- */

struct copy {
    const struct recovery_source *source;
    struct audit_writer *w;
    struct audit_recovery *out;
    uint64_t gap; /* slots without meaning that were passed */
};

#define STOP 1 /* no class of errors: the walk is over */

static bool put_lost(struct copy *c, uint64_t slots, const char *why)
{
    while (slots) {
        size_t n = slots < 1 + AUDIT_MAX_EXT ? (size_t)slots : 1 + AUDIT_MAX_EXT;
        uint8_t record[AUDIT_MAX_RECORD];

        audit_record_lost(record, n, c->w->cursor, (int64_t)audit_clock_ns(CLOCK_REALTIME),
                          audit_clock_ns(CLOCK_BOOTTIME), why);
        if (!put(c->w, record, n))
            return false;
        c->w->lost++;
        c->out->lost++;
        c->out->lost_slots += n;
        slots -= n;
    }
    return true;
}

static bool put_item(struct copy *c, const struct ring_item *item)
{
    uint8_t record[AUDIT_MAX_RECORD];

    if (!put_lost(c, c->gap, "nothing in ring.wal"))
        return false;
    c->gap = 0;
    if (item->kind == RING_CLAIM)
        return put_lost(c, item->slots, "the process that wrote it died");
    memcpy(record, item->bytes, item->slots * AUDIT_SLOT); /* what is checked is what is sealed */
    if (!is_good(&(struct ring_item){RING_RECORD, item->seq, item->slots, record}))
        return put_lost(c, item->slots, "not in order before it was sealed");
    record[AUDIT_R_FLAGS] |= AUDIT_F_RECOVERED;
    c->out->records++;
    return put(c->w, record, item->slots);
}

static int copy_item(void *ctx, const struct ring_item *item, struct vd_err *err)
{
    struct copy *c = ctx;

    if (item->seq >= c->source->sum->end)
        return STOP;
    if (item->kind == RING_NOTHING) {
        c->gap += item->slots;
        return 0;
    }
    return put_item(c, item) ? 0 : failed(c->source, c->w, err);
}

static int copy_ring(const struct recovery_source *s, struct audit_writer *w,
                     struct audit_recovery *out, struct vd_err *err)
{
    struct copy c = {.source = s, .w = w, .out = out};
    int rc = s->ring_fd < 0 ? 0 : ring_walk(s->ring_fd, s->before->next_seq, copy_item, &c, err);

    if (rc < 0)
        return rc;
    if (out->records != s->sum->records || out->lost_slots != s->sum->lost_slots)
        return vd_fail(err, VD_EIO, "%s/" RING_NAME ": changes while it is read", s->path);
    return 0;
}

int recovery_write(const struct recovery_source *s, int segment_fd, int checkpoints_fd,
                   struct audit_recovery *out, struct vd_err *err)
{
    const struct audit_config config = {0};
    struct audit_writer *w = writer_new(&config);
    int rc;

    if (!w) {
        (void)close(segment_fd);
        (void)close(checkpoints_fd);
        return vd_fail(err, VD_ENOMEM, "out of memory");
    }
    w->segment_fd = segment_fd;
    w->checkpoints_fd = checkpoints_fd;
    rc = open_writer(s, w, err);
    if (rc == 0 && !put_recovered(s, w))
        rc = failed(s, w, err);
    if (rc == 0)
        rc = copy_ring(s, w, out, err);
    if (rc == 0 && !writer_append_close(w, AUDIT_CLOSE_RECOVERED))
        rc = failed(s, w, err);
    if (rc == 0 && (fchmod(segment_fd, 0400) || fchmod(checkpoints_fd, 0400) || fsync(segment_fd) ||
                    fsync(checkpoints_fd))) {
        w->error = errno;
        rc = failed(s, w, err);
    }
    writer_free(w);
    return rc;
}
