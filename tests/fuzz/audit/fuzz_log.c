/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verifier and `show` on a log in memory.  The first byte says how: bit 0, everything that is
 * derived (numbers, checksums, chain, keys) is made right first, so that the rest is reached; bit 1,
 * JSON; bit 2, two segments; bit 3, checkpoints: two bytes with their length and as many bytes stand
 * before the log, or, when it is made right, they are made and signed; bit 4, exports it too.  What must
 * hold: every record that verify counts is one line, of show and of each export; right checkpoints change no verdict, others never to a better one.
 */
#include "audit/export.h"
#include "audit/note.h"
#include "audit/show.h"
#include "audit/verify.h"
#include "audit/verify_notes.h"
#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/sha256.h"
#include "vdiskfs/audit_format.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_INPUT ((size_t)1 << 18)
#define MAX_NOTES ((size_t)1 << 19)

struct repair {
    uint64_t frame_no, seq, total;
    uint32_t epoch, segment;
    bool ended; /* the frame before ended its epoch */
    uint8_t prev[VD_SHA256_SIZE];
    struct merkle tree;
    char *notes; /* MAX_NOTES bytes, or NULL */
    size_t notes_len;
    uint64_t n_notes;
};

/* Test vector 1 of RFC 8032, section 7.1, as PKCS #8: the key of all epochs. */
static const char pem[] = "-----BEGIN PRIVATE KEY-----\n"
                          "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n"
                          "-----END PRIVATE KEY-----\n";

/* That key under the name `origin`; kept for the next call. */
static const struct note_signer *signer_of(const char *origin)
{
    static struct note_signer *signer;
    char path[] =
        "/tmp/vdiskfs-fuzz-key-XXXXXX"; /* mkstemp: readable by us alone, as it has to be */
    int fd;

    if (signer && strcmp(note_signer_key(signer)->name, origin) == 0)
        return signer;
    note_signer_free(signer);
    signer = NULL;
    fd = mkstemp(path);
    if (write(fd, pem, sizeof(pem) - 1) != (ssize_t)sizeof(pem) - 1 ||
        note_signer_load(path, origin, &signer, NULL))
        abort();
    (void)close(fd);
    (void)unlink(path);
    return signer;
}

/* Keys of the header, and whether the epoch ends. */
static void repair_keys(uint8_t *f, struct repair *r, const struct note_signer *signer)
{
    bool recovery = vd_le32(f + AUDIT_H_FLAGS) & AUDIT_FRAME_RECOVERED;

    r->epoch += r->ended || recovery || r->frame_no == 0;
    r->ended = !vd_all_zero(f + AUDIT_H_NEXT, NOTE_PUBLIC_SIZE);
    vd_put_le32(f + AUDIT_H_EPOCH, r->epoch);
    vd_put_le32(f + AUDIT_H_SEGMENT, r->segment);
    memcpy(f + AUDIT_H_KEY, note_signer_key(signer)->bytes, NOTE_PUBLIC_SIZE);
    if (r->ended)
        memcpy(f + AUDIT_H_NEXT, note_signer_key(signer)->bytes, NOTE_PUBLIC_SIZE);
}

static void make_note(struct repair *r, const struct note_signer *signer, struct vd_sha256 *sha)
{
    struct note_checkpoint checkpoint = {.size = r->tree.size};

    if (!r->notes || MAX_NOTES - r->notes_len < NOTE_MAX)
        return;
    memcpy(checkpoint.origin, note_signer_key(signer)->name, sizeof(checkpoint.origin));
    merkle_root(&r->tree, sha, checkpoint.root);
    note_checkpoint_text(&checkpoint, r->notes + r->notes_len);
    if (note_sign(r->notes + r->notes_len, NOTE_MAX, signer, NULL))
        abort();
    r->notes_len += strlen(r->notes + r->notes_len);
    r->n_notes++;
}

/* A merged read's latest time and number of reads, where it has them. */
static uint64_t merged_span(const uint8_t *rec, size_t len, int64_t *io_last)
{
    if (!(rec[AUDIT_R_FLAGS] & AUDIT_F_MERGED) || len == AUDIT_SLOT)
        return len / AUDIT_SLOT;
    if ((int64_t)vd_le64(rec + AUDIT_SLOT + 8) > *io_last)
        *io_last = (int64_t)vd_le64(rec + AUDIT_SLOT + 8);
    return vd_le32(rec + AUDIT_SLOT + 4);
}

/* Numbers and checksums of one frame whose length is plausible. */
static void repair_frame(uint8_t *f, size_t len, struct repair *r)
{
    size_t pos = AUDIT_FRAME_HEADER, n;
    uint64_t seq = r->seq, records = 0;
    int64_t first = 0, last = 0;
    struct vd_sha256 *sha = vd_sha256_new();
    static const uint8_t zero = 0;
    static uint8_t session[16];
    const struct note_signer *signer;
    char origin[NOTE_NAME_MAX];

    if (!sha)
        abort();
    if (r->frame_no == 0)
        memcpy(session, f + AUDIT_H_SESSION, sizeof(session));
    memcpy(f + AUDIT_H_SESSION, session, sizeof(session));
    notes_origin(session, origin);
    signer = signer_of(origin);
    repair_keys(f, r, signer);

    for (; pos < len; pos += n, records++) {
        uint8_t *rec = f + pos;
        int64_t t = (int64_t)vd_le64(rec + AUDIT_R_REAL);

        n = AUDIT_SLOT * (1u + rec[AUDIT_R_EXT]);
        if (n > len - pos) {
            rec[AUDIT_R_EXT] = 0;
            n = AUDIT_SLOT;
        }
        if (vd_le16(rec + AUDIT_R_OP) == 0)
            rec[AUDIT_R_OP] = 1;
        vd_put_le64(rec + AUDIT_R_COMMIT, seq + 1);
        vd_put_le32(rec + AUDIT_R_CRC, vd_crc32c_without(rec, n, AUDIT_R_CRC));
        first = records == 0 || t < first ? t : first;
        last = records == 0 || t > last ? t : last;
        seq += merged_span(rec, n, &last);
    }
    vd_put_le64(f + AUDIT_H_FRAME_NO, r->frame_no++);
    vd_put_le64(f + AUDIT_H_FIRST_SEQ, r->seq);
    vd_put_le32(f + AUDIT_H_SLOTS, (uint32_t)((len - AUDIT_FRAME_HEADER) / AUDIT_SLOT));
    vd_put_le32(f + AUDIT_H_RECORDS, (uint32_t)records);
    r->total += records;
    vd_put_le64(f + AUDIT_H_TOTAL, r->total);
    vd_put_le64(f + AUDIT_H_T_FIRST, records ? (uint64_t)first : vd_le64(f + AUDIT_H_T_FIRST));
    vd_put_le64(f + AUDIT_H_T_LAST, records ? (uint64_t)last : vd_le64(f + AUDIT_H_T_FIRST));
    memcpy(f + AUDIT_H_PREV, r->prev, sizeof(r->prev));
    vd_put_le32(f + AUDIT_H_CRC, vd_crc32c_without(f, AUDIT_FRAME_HEADER, AUDIT_H_CRC));
    r->seq = seq;
    vd_sha256_add(sha, &zero, 1);
    vd_sha256_add(sha, f, len);
    vd_sha256_end(sha, r->prev);
    merkle_add(&r->tree, sha, r->prev);
    if (r->ended || r->frame_no % 3 == 0 || vd_le32(f + AUDIT_H_FLAGS) & AUDIT_FRAME_CLOSE)
        make_note(r, signer, sha);
    vd_sha256_free(sha);
}

/* Frame by frame.  *io_split: where the second segment begins; becomes a frame's start. */
static void repair(uint8_t *p, size_t len, size_t *io_split, struct repair *r)
{
    size_t pos = 0;

    while (len - pos >= AUDIT_FRAME_HEADER) {
        size_t n = vd_le32(p + pos + AUDIT_H_LENGTH);

        if (n > len - pos || n > AUDIT_MAX_FRAME || n < AUDIT_FRAME_HEADER ||
            (n - AUDIT_FRAME_HEADER) % AUDIT_SLOT)
            return;
        if (pos >= *io_split && r->segment == 0) {
            *io_split = pos;
            r->segment = 1;
        }
        repair_frame(p + pos, n, r);
        pos += n;
    }
}

static void check(const struct audit_report *r, const char *text, size_t text_len, size_t size)
{
    uint64_t lines = 0;
    size_t i;

    for (i = 0; i < text_len; i++) {
        lines += text[i] == '\n';
        if ((unsigned char)text[i] < ' ' && text[i] != '\n')
            abort();
    }
    if (lines != r->records || r->bytes > size)
        abort();
    if (r->verdict == AUDIT_INTACT_CLOSED && r->bytes != size)
        abort();
}

struct exported {
    uint64_t lines;
    char last; /* byte */
};

static int take(void *ctx, const void *bytes, size_t len, struct vd_err *err)
{
    struct exported *out = ctx;
    const char *p = bytes;
    size_t i;

    (void)err;
    for (i = 0; i < len; i++) {
        if ((unsigned char)p[i] < ' ' && p[i] != '\n' && (p[i] != '\r' || p[i + 1] != '\n'))
            abort();
        out->lines += p[i] == '\n';
    }
    out->last = len ? p[len - 1] : out->last;
    return 0;
}

/* Every format of export takes every log, and CSV and JSON have a line for each record. */
static void check_exports(const uint8_t *const *parts, const size_t *lens, size_t n_parts,
                          const struct audit_report *known)
{
    bool bad = known->verdict > AUDIT_INTACT_OPEN;
    int format;

    for (format = AUDIT_EXPORT_TIMESKETCH; format <= AUDIT_EXPORT_CASE; format++) {
        struct exported out = {0};
        const struct audit_export_options options = {
            .format = (enum audit_export_format)format, .write = take, .ctx = &out};
        struct vd_err err = VD_ERR_INIT;
        struct audit_report again;
        struct audit_export *x;

        if (audit_export_open(&options, &x, &err) || audit_export_begin(x, known, NULL, &err) ||
            audit_verify_bytes(parts, lens, n_parts, NULL, 0, NULL, audit_export_record, x, &again,
                               &err) ||
            audit_export_end(x, &again, NULL, &err) || audit_export_finish(x, &err))
            abort();
        if (format != AUDIT_EXPORT_CASE &&
            out.lines != known->records + bad + (format == AUDIT_EXPORT_CSV))
            abort();
        if (out.lines && out.last != '\n')
            abort();
        audit_export_free(x);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The same with checkpoints. */
static void check_notes(const uint8_t *const *parts, const size_t *lens, size_t n_parts,
                        char *notes, size_t notes_len, const struct repair *made,
                        const struct audit_report *without)
{
    struct audit_report r;
    struct vd_err err = VD_ERR_INIT;

    if (audit_verify_bytes(parts, lens, n_parts, notes, notes_len, NULL, NULL, NULL, &r, &err))
        abort();
    if (r.verdict <= AUDIT_INTACT_OPEN && without->verdict > AUDIT_INTACT_OPEN)
        abort();
    if (!made || without->verdict > AUDIT_INTACT_OPEN || without->recoveries ||
        made->tree.size != without->frames || MAX_NOTES - notes_len < NOTE_MAX)
        return;
    if (r.verdict != without->verdict || r.checkpoints != made->n_notes)
        abort();
    if (notes_len == 0 || !without->has_close)
        return;
    notes[made->tree.size * 7919 % notes_len] ^= 1; /* any changed byte is found */
    if (audit_verify_bytes(parts, lens, n_parts, notes, notes_len, NULL, NULL, NULL, &r, &err) ||
        r.verdict <= AUDIT_INTACT_OPEN)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t log[MAX_INPUT];
    static char notes[MAX_NOTES];
    struct audit_show_options options = {0};
    struct audit_report r, again;
    struct audit_shown shown;
    struct repair repaired = {0};
    struct vd_err err = VD_ERR_INIT;
    const uint8_t *parts[2] = {log, log};
    size_t lens[2], text_len = 0, notes_len = 0;
    char *text = NULL;
    FILE *out;
    uint8_t mode;

    if (size < 1 || size - 1 > MAX_INPUT)
        return 0;
    mode = *data++;
    size--;
    if (mode & 8) {
        if (size < 2 || (notes_len = vd_le16(data)) > size - 2)
            return 0;
        memcpy(notes, data + 2, notes_len);
        data += 2 + notes_len;
        size -= 2 + notes_len;
    }
    memcpy(log, data, size);
    lens[0] = mode & 4 ? size / 2 : size;
    if (mode & 1) {
        repaired.notes = mode & 8 ? notes : NULL;
        repair(log, size, &lens[0], &repaired);
        notes_len = mode & 8 ? repaired.notes_len : 0;
    }
    options.json = mode & 2;
    parts[1] = log + lens[0];
    lens[1] = size - lens[0];
    out = open_memstream(&text, &text_len);
    if (!out || audit_show_bytes(parts, lens, mode & 4 ? 2 : 1, &options, out, &shown, &r, &err) ||
        fclose(out) ||
        audit_verify_bytes(parts, lens, mode & 4 ? 2 : 1, NULL, 0, NULL, NULL, NULL, &again, &err))
        abort();
    if (r.verdict != again.verdict || r.records != again.records)
        abort();
    check(&r, text, text_len, size);
    free(text);
    if (mode & 16)
        check_exports(parts, lens, mode & 4 ? 2 : 1, &r);
    if (mode & 8)
        check_notes(parts, lens, mode & 4 ? 2 : 1, notes, notes_len, mode & 1 ? &repaired : NULL,
                    &r);
    return 0;
}
