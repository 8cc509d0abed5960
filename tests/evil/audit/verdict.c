/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The side of this program in the comparison with the second verifier: prints one line for each log
 * named, and makes logs.
 *
 *     audit_verdict [--key KEY] [--anchor FILE] DIR…
 *     audit_verdict --make DIR [open|unsealed|idle|big|pages|merged] [LAB-KEY-FILE]
 *     audit_verdict --recover SESSION      (recovers it)
 *     audit_verdict --resign SESSION FRAME [keep]
 *                    (changes that frame; signs all from it on with new keys, which the frames then
 *                    name, or do not: keep)
 *     audit_verdict --reseal SESSION       (a log whose records were changed: checksums, times, numbers
 *                    of records and all that follows from them made right)
 *     audit_verdict --live DIR             (keeps a log open until its standard input ends)
 */
#include "audit/audit.h"
#include "audit/merkle.h"
#include "audit/note.h"
#include "audit/record.h"
#include "audit/recover.h"
#include "audit/verify.h"
#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/sha256.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAX_FILE  (1u << 20)
#define MAX_EPOCH 64

static struct vd_err err;

/* ---- making logs ---- */

static int fill(struct audit_ring *ring, uint64_t records)
{
    static const char text[300] = "text";
    const struct audit_field field = {AUDIT_T_TEXT, text, sizeof(text)};
    const struct audit_event open = {.op = AUDIT_SESSION_OPEN, .fields = &field, .n_fields = 1};
    uint64_t i;

    if (audit_wait(ring, audit_log(ring, &open), &err))
        return 1;
    for (i = 0; i < records; i++) {
        const struct audit_event e = {
            .op = AUDIT_READ, .off = i, .fields = &field, .n_fields = i % 5 == 3};
        uint64_t seq = audit_log(ring, &e);

        if (i % 4 == 3 && audit_wait(ring, seq, &err))
            return 1;
    }
    return 0;
}

/* A last frame of several pages, in whose header a page of the file ends. */
static int fill_pages(struct audit_ring *ring)
{
    static const char text[40] = "text";
    const struct audit_field field = {AUDIT_T_TEXT, text, sizeof(text)};
    uint64_t seq = 0;
    unsigned i;

    for (i = 0; i < 15; i++) { /* 13 frames of 256 bytes and 2 of 320 */
        const struct audit_event e = {.op = i ? AUDIT_READ : AUDIT_SESSION_OPEN,
                                      .fields = &field,
                                      .n_fields = i == 1 || i == 2};

        if (audit_wait(ring, audit_log(ring, &e), &err))
            return 1;
    }
    for (i = 0; i < 200; i++) {
        const struct audit_event e = {.op = AUDIT_READ, .off = ~UINT64_C(0), .len = ~UINT64_C(0)};

        seq = audit_log(ring, &e);
    }
    return audit_wait(ring, seq, &err) ? 1 : 0;
}

/* Merged reads of several shapes, and reads between them that were not merged. */
static int fill_merged(struct audit_ring *ring)
{
    static const uint64_t ranges[] = {7, 0, 3, 90, 3, 20, 21, 40, 22, 60, 61, 1000};
    const struct audit_event open = {.op = AUDIT_SESSION_OPEN}, look = {.op = AUDIT_GETATTR};
    uint64_t i;

    if (audit_wait(ring, audit_log(ring, &open), &err))
        return 1;
    for (i = 0; i < 6 + 12 + 12 + 150; i++) {
        struct audit_event e = {.op = AUDIT_READ, .obj = 9, .proc = 4, .off = 512 * i, .len = 512};

        if (i >= 6 && i < 18) /* here and there, one twice */
            e.off = 512 * ranges[i - 6];
        else if (i >= 18 && i < 30) /* of two objects by turns */
            e.obj = i / 2 % 2;
        else if (i >= 30)
            e.off = 1024 * i;
        if (i == 6 || i == 18 || i == 30)
            (void)audit_log(ring, &look);
        (void)audit_log(ring, &e);
    }
    return audit_wait(ring, audit_log(ring, &look), &err) ? 1 : 0;
}

static int make(const char *dir, const char *how, const char *lab_key)
{
    bool idle = strcmp(how, "idle") == 0, leave = strcmp(how, "") != 0 && !idle;
    bool pages = strcmp(how, "pages") == 0;
    const struct audit_config config = {
        .dir = dir,
        .ring_bytes = 1,
        .segment_bytes = strcmp(how, "big") == 0 || strcmp(how, "merged") == 0 || pages ? 0 : 3000,
        .epoch_records = pages ? 0 : 10,
        .epoch_ms = idle ? 70 : 0,
        .heartbeat_ms = idle ? 30 : 0,
        .lab_key = lab_key};
    const struct timespec pause = {0, 300000000};
    struct audit_writer *w;
    struct audit_ring *ring;

    if (audit_open(&config, &w, &ring, &err) || (idle && audit_start(w, &err)) ||
        (strcmp(how, "merged") == 0 ? fill_merged(ring)
         : pages                    ? fill_pages(ring)
                                    : fill(ring, strcmp(how, "unsealed") == 0 ? 41 : 40)))
        return 1;
    if (idle)
        (void)nanosleep(&pause, NULL);
    (void)printf("%s\n", audit_session_dir(w));
    if (leave)
        audit_forget_writer(w);
    return audit_close(w, AUDIT_CLOSE_CLEAN, &err) ? 1 : 0;
}

static int live(const char *dir)
{
    const struct audit_config config = {.dir = dir, .ring_bytes = 1, .epoch_records = 10};
    struct audit_writer *w;
    struct audit_ring *ring;

    if (audit_open(&config, &w, &ring, &err) || audit_start(w, &err) || fill(ring, 40))
        return 1;
    (void)printf("%s\n", audit_session_dir(w));
    (void)fflush(stdout);
    while (getchar() != EOF)
        continue;
    return audit_close(w, AUDIT_CLOSE_CLEAN, &err) ? 1 : 0;
}

/* ---- forging ---- */

static size_t load(const char *dir, const char *name, void *out)
{
    char path[1024];
    FILE *f;
    size_t n;

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    f = fopen(path, "rb");
    if (!f)
        return 0;
    n = fread(out, 1, MAX_FILE, f);
    (void)fclose(f);
    return n;
}

static int store(const char *dir, const char *name, const void *bytes, size_t len)
{
    char path[1024];
    FILE *f;

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    (void)chmod(path, 0600);
    f = fopen(path, "wb");
    if (!f || fwrite(bytes, 1, len, f) != len)
        return 1;
    return fclose(f);
}

/* A log as it is rebuilt frame by frame. */
struct chain {
    struct vd_sha256 *sha;
    struct merkle tree;
    uint8_t leaf[VD_SHA256_SIZE];
    char origin[NOTE_NAME_MAX];
};

static void chain_add(struct chain *c, const uint8_t *frame)
{
    const uint8_t prefix = 0;

    vd_sha256_reset(c->sha);
    vd_sha256_add(c->sha, &prefix, 1);
    vd_sha256_add(c->sha, frame, vd_le32(frame + AUDIT_H_LENGTH));
    vd_sha256_end(c->sha, c->leaf);
    merkle_add(&c->tree, c->sha, c->leaf);
}

static int chain_sign(struct chain *c, const struct note_signer *signer, char out[NOTE_MAX])
{
    struct note_checkpoint checkpoint = {.size = c->tree.size};

    memcpy(checkpoint.origin, c->origin, sizeof(checkpoint.origin));
    merkle_root(&c->tree, c->sha, checkpoint.root);
    note_checkpoint_text(&checkpoint, out);
    return note_sign(out, NOTE_MAX, signer, &err);
}

static int chain_begin(struct chain *c, const char *session)
{
    const char *slash = strrchr(session, '/');

    *c = (struct chain){.sha = vd_sha256_new()};
    (void)snprintf(c->origin, sizeof(c->origin), AUDIT_ORIGIN "%.36s", slash ? slash + 1 : session);
    return c->sha ? 0 : 1;
}

/* Bytes of the record at `r`, the sequence numbers that it stands for, and its latest time. */
static size_t record_size(const uint8_t *r, uint64_t *out_span, int64_t *out_last)
{
    size_t slots = 1u + r[AUDIT_R_EXT];
    bool merged = r[AUDIT_R_FLAGS] & AUDIT_F_MERGED && slots > 1;

    *out_span = merged ? vd_le32(r + AUDIT_SLOT + 4) : slots;
    *out_last = (int64_t)vd_le64(merged ? r + AUDIT_SLOT + 8 : r + AUDIT_R_REAL);
    return slots * AUDIT_SLOT;
}

static int recover(const char *session)
{
    struct audit_recovery out;

    return audit_recover(session, "test 1", &out, &err) || !out.done;
}

/* Changes one record. */
static void change_frame(uint8_t *f)
{
    f[AUDIT_FRAME_HEADER + AUDIT_R_MONO] ^= 1;
    vd_put_le32(f + AUDIT_FRAME_HEADER + AUDIT_R_CRC,
                vd_crc32c_without(f + AUDIT_FRAME_HEADER,
                                  AUDIT_SLOT * (1u + f[AUDIT_FRAME_HEADER + AUDIT_R_EXT]),
                                  AUDIT_R_CRC));
}

/* Makes right what follows from the records of a frame whose first number is *io_seq. */
static void repair_frame(uint8_t *f, uint64_t *io_seq, uint64_t *io_total)
{
    size_t len = vd_le32(f + AUDIT_H_LENGTH), at = AUDIT_FRAME_HEADER, n;
    uint32_t records = 0;
    int64_t first = INT64_MAX, last = INT64_MIN, until;
    uint64_t span;

    vd_put_le64(f + AUDIT_H_FIRST_SEQ, *io_seq);
    for (; at < len; at += n, records++, *io_seq += span) {
        int64_t real = (int64_t)vd_le64(f + at + AUDIT_R_REAL);

        n = record_size(f + at, &span, &until);
        if (n > len - at)
            n = len - at;
        vd_put_le64(f + at + AUDIT_R_COMMIT, *io_seq + 1);
        vd_put_le32(f + at + AUDIT_R_CRC, vd_crc32c_without(f + at, n, AUDIT_R_CRC));
        first = real < first ? real : first;
        last = until > last ? until : last;
    }
    *io_total += records;
    vd_put_le32(f + AUDIT_H_SLOTS, (uint32_t)((len - AUDIT_FRAME_HEADER) / AUDIT_SLOT));
    vd_put_le32(f + AUDIT_H_RECORDS, records);
    vd_put_le64(f + AUDIT_H_TOTAL, *io_total);
    vd_put_le64(f + AUDIT_H_T_FIRST, (uint64_t)first);
    vd_put_le64(f + AUDIT_H_T_LAST, (uint64_t)last);
}

/* A log of one segment in which frame `from` was changed, and all from there on made right again:
 * chain, checksums, tree, and signatures of keys that nobody announced.  `repair`: it was changed
 * already. */
static int resign(const char *session, uint64_t from, bool keep_names, bool repair)
{
    static uint8_t log[MAX_FILE];
    static char notes[MAX_FILE], out[MAX_FILE];
    struct note_signer *keys[MAX_EPOCH] = {0};
    size_t len = load(session, "000000.vlog", log), notes_len = load(session, "checkpoints", notes);
    size_t at, n, note_at = 0, out_len = 0;
    uint64_t seq = 0, total = 0;
    struct chain c;
    int rc = chain_begin(&c, session);

    for (n = 0; rc == 0 && n < MAX_EPOCH; n++)
        rc = note_signer_new(c.origin, &keys[n], &err);
    for (at = 0; rc == 0 && at < len; at += vd_le32(log + at + AUDIT_H_LENGTH)) {
        uint8_t *f = log + at;
        uint32_t epoch = vd_le32(f + AUDIT_H_EPOCH) % MAX_EPOCH;
        struct note_checkpoint checkpoint;
        struct note note;

        if (repair)
            repair_frame(f, &seq, &total);
        else if (c.tree.size == from)
            change_frame(f);
        memcpy(f + AUDIT_H_PREV, c.leaf, sizeof(c.leaf));
        if (c.tree.size >= from && !keep_names) {
            memcpy(f + AUDIT_H_KEY, note_signer_key(keys[epoch])->bytes, NOTE_PUBLIC_SIZE);
            if (!vd_all_zero(f + AUDIT_H_NEXT, NOTE_PUBLIC_SIZE))
                memcpy(f + AUDIT_H_NEXT, note_signer_key(keys[epoch + 1])->bytes, NOTE_PUBLIC_SIZE);
        }
        vd_put_le32(f + AUDIT_H_CRC, vd_crc32c_without(f, AUDIT_FRAME_HEADER, AUDIT_H_CRC));
        chain_add(&c, f);
        if (note_decode(notes + note_at, notes_len - note_at, &note, &err) ||
            note_checkpoint_decode(notes + note_at, &note, &checkpoint, &err) ||
            checkpoint.size != c.tree.size)
            continue;
        memcpy(out + out_len, notes + note_at, note.len);
        out[out_len + note.len] = '\0';
        if (c.tree.size > from)
            rc = chain_sign(&c, keys[epoch], out + out_len);
        out_len += strlen(out + out_len);
        note_at += note.len;
    }
    for (n = 0; n < MAX_EPOCH; n++)
        note_signer_free(keys[n]);
    vd_sha256_free(c.sha);
    return rc || store(session, "000000.vlog", log, len) ||
           store(session, "checkpoints", out, out_len);
}

/* ---- verdicts ---- */

static void print_verdict(const char *dir, const struct audit_verify_options *options)
{
    struct audit_report r;
    char hex[2 * VD_SHA256_SIZE + 1];

    if (audit_verify(dir, options, NULL, NULL, &r, &err)) {
        (void)printf("UNREADABLE %s\n", err.msg);
        return;
    }
    vd_sha256_hex(r.leaf, hex);
    (void)printf("%s frames=%" PRIu64 " records=%" PRIu64 " unsealed=%" PRIu64
                 " checkpoints=%" PRIu64 " leaf=%s\n",
                 audit_verdict_text(r.verdict), r.frames, r.records,
                 r.verdict == AUDIT_TAMPERED ? 0 : r.unsealed, r.checkpoints, hex);
}

int main(int argc, char **argv)
{
    struct audit_verify_options options = {0};
    static char anchors[MAX_FILE + 1];
    int i = 1;

    if (argc > 2 && strcmp(argv[1], "--make") == 0)
        return make(argv[2], argc > 3 ? argv[3] : "", argc > 4 ? argv[4] : NULL);
    if (argc > 2 && strcmp(argv[1], "--live") == 0)
        return live(argv[2]);
    if (argc > 2 && strcmp(argv[1], "--recover") == 0)
        return recover(argv[2]);
    if (argc > 3 && strcmp(argv[1], "--resign") == 0)
        return resign(argv[2], strtoull(argv[3], NULL, 10), argc > 4, false);
    if (argc > 2 && strcmp(argv[1], "--reseal") == 0)
        return resign(argv[2], 0, false, true);
    for (; i + 1 < argc && strncmp(argv[i], "--", 2) == 0; i += 2) {
        if (strcmp(argv[i], "--key") == 0) {
            options.key = argv[i + 1];
        } else {
            anchors[load("", argv[i + 1], anchors)] = '\0'; /* an absolute path */
            options.anchors = anchors;
        }
    }
    for (; i < argc; i++)
        print_verdict(argv[i], &options);
    return 0;
}
