/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verifier and `show` on a log in memory.  The first byte says how: bit 0, everything that is
 * derived (numbers, checksums, chain) is made right first, so that the rest is reached; bit 1,
 * JSON; bit 2, two segments.  What must hold: every record that verify counts is one line.
 */
#include "audit/show.h"
#include "audit/verify.h"
#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/sha256.h"
#include "vdiskfs/audit_format.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_INPUT ((size_t)1 << 18)

struct repair {
    uint64_t frame_no, seq, total;
    uint8_t prev[VD_SHA256_SIZE];
};

/* Numbers and checksums of one frame whose length is plausible. */
static void repair_frame(uint8_t *f, size_t len, struct repair *r)
{
    size_t pos = AUDIT_FRAME_HEADER, n;
    uint64_t seq = r->seq, records = 0;
    int64_t first = 0, last = 0;
    struct vd_sha256 *sha = vd_sha256_new();
    static const uint8_t zero = 0;

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
        seq += n / AUDIT_SLOT;
        first = records == 0 || t < first ? t : first;
        last = records == 0 || t > last ? t : last;
    }
    vd_put_le64(f + AUDIT_H_FRAME_NO, r->frame_no++);
    vd_put_le64(f + AUDIT_H_FIRST_SEQ, r->seq);
    vd_put_le32(f + AUDIT_H_SLOTS, (uint32_t)(seq - r->seq));
    vd_put_le32(f + AUDIT_H_RECORDS, (uint32_t)records);
    r->total += records;
    vd_put_le64(f + AUDIT_H_TOTAL, r->total);
    vd_put_le64(f + AUDIT_H_T_FIRST, (uint64_t)first);
    vd_put_le64(f + AUDIT_H_T_LAST, (uint64_t)last);
    memcpy(f + AUDIT_H_PREV, r->prev, sizeof(r->prev));
    vd_put_le32(f + AUDIT_H_CRC, vd_crc32c_without(f, AUDIT_FRAME_HEADER, AUDIT_H_CRC));
    r->seq = seq;
    vd_sha256_add(sha, &zero, 1);
    vd_sha256_add(sha, f, len);
    vd_sha256_end(sha, r->prev);
    vd_sha256_free(sha);
}

static void repair(uint8_t *p, size_t len)
{
    struct repair r = {0};
    size_t pos = 0;

    while (len - pos >= AUDIT_FRAME_HEADER) {
        size_t n = vd_le32(p + pos + AUDIT_H_LENGTH);

        if (n > len - pos || n > AUDIT_MAX_FRAME || n < AUDIT_FRAME_HEADER ||
            (n - AUDIT_FRAME_HEADER) % AUDIT_SLOT)
            return;
        repair_frame(p + pos, n, &r);
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t log[MAX_INPUT];
    struct audit_show_options options = {0};
    struct audit_report r, again;
    struct vd_err err = VD_ERR_INIT;
    const uint8_t *parts[2] = {log, log};
    size_t lens[2], text_len = 0;
    char *text = NULL;
    FILE *out;
    uint8_t mode;

    if (size < 1 || size - 1 > MAX_INPUT)
        return 0;
    mode = data[0];
    size--;
    memcpy(log, data + 1, size);
    if (mode & 1)
        repair(log, size);
    options.json = mode & 2;
    lens[0] = mode & 4 ? size / 2 : size;
    parts[1] = log + lens[0];
    lens[1] = size - lens[0];
    out = open_memstream(&text, &text_len);
    if (!out || audit_show_bytes(parts, lens, mode & 4 ? 2 : 1, &options, out, &r, &err) ||
        fclose(out) ||
        audit_verify_bytes(parts, lens, mode & 4 ? 2 : 1, NULL, 0, NULL, NULL, NULL, &again, &err))
        abort();
    if (r.verdict != again.verdict || r.records != again.records)
        abort();
    check(&r, text, text_len, size);
    free(text);
    return 0;
}
