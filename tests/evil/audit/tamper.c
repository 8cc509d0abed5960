/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every way to change a log that we could think of, and the verdict on it.  Each test makes one
 * defect; where a defect would be caught by a checksum already, the checksums are made right
 * again first, so that the check meant is the one that answers.
 */
#include "testlib.h"

#include "audit/audit.h"
#include "audit/verify.h"
#include "base/bytes.h"
#include "base/crc32c.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAX_LOG    (1u << 20)
#define MAX_FRAMES 64

static char *dir;
static struct vd_err err;
static char path[512]; /* of the closed session */
static uint8_t good[MAX_LOG], bad[MAX_LOG];
static size_t good_len;
static size_t frame_at[MAX_FRAMES + 1]; /* offsets; [n_frames] = good_len */
static size_t n_frames;

/* ---- a small log ---- */

static size_t load(const char *session, const char *name, uint8_t *out)
{
    char full[1024];
    FILE *f;
    size_t n;

    (void)snprintf(full, sizeof(full), "%s/%s", session, name);
    f = fopen(full, "rb");
    assert_non_null(f);
    n = fread(out, 1, MAX_LOG, f);
    assert_int_equal(fclose(f), 0);
    return n;
}

/* Two merged records: one range, and several. */
static uint64_t log_merged(struct audit_ring *ring)
{
    uint64_t seq = 0;
    unsigned i;

    for (i = 0; i < 12; i++) {
        const struct audit_event e = {
            .op = AUDIT_READ, .obj = 1 + i / 6, .off = 4096 + (i < 6 ? 8 * i : i * i), .len = 8};

        seq = audit_log(ring, &e);
    }
    return seq;
}

/* Frames of one, two and more records; with and without payload; merged reads; then closed or not. */
static void make_session(char out[512], bool close)
{
    static const char text[300] = "text";
    const struct audit_config config = {.dir = dir, .ring_bytes = 1};
    const struct audit_field field = {AUDIT_T_TEXT, text, sizeof(text)};
    const struct audit_event open = {.op = AUDIT_SESSION_OPEN, .fields = &field, .n_fields = 1};
    struct audit_writer *w;
    struct audit_ring *ring;
    unsigned i;

    assert_ok(audit_open(&config, &w, &ring, &err));
    (void)snprintf(out, 512, "%s", audit_session_dir(w));
    assert_ok(audit_wait(ring, audit_log(ring, &open), &err));
    assert_ok(audit_wait(ring, log_merged(ring), &err));
    for (i = 0; i < 6; i++) {
        const struct audit_event e = {
            .op = AUDIT_READ, .off = i, .fields = &field, .n_fields = i == 3};
        uint64_t seq = audit_log(ring, &e);

        if (i % 2)
            assert_ok(audit_wait(ring, seq, &err));
    }
    if (close)
        assert_ok(audit_close(w, AUDIT_CLOSE_CLEAN, &err));
    else
        audit_forget_writer(w); /* as a crash leaves it */
    if (!close)
        assert_ok(audit_close(w, AUDIT_CLOSE_CLEAN, &err)); /* frees only */
}

static int setup(void **state)
{
    size_t at = 0;

    (void)state;
    dir = test_tmpdir();
    make_session(path, true);
    good_len = load(path, "000000.vlog", good);
    for (n_frames = 0; at < good_len; n_frames++) {
        frame_at[n_frames] = at;
        at += vd_le32(good + at + AUDIT_H_LENGTH);
    }
    frame_at[n_frames] = at;
    return n_frames >= 4 && at == good_len ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    test_rmdir(dir);
    return 0;
}

/* ---- verdicts ---- */

static enum audit_verdict verdict2(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len,
                                   struct audit_report *r)
{
    const uint8_t *bytes[2] = {a, b};
    const size_t len[2] = {a_len, b_len};

    assert_ok(audit_verify_bytes(bytes, len, b ? 2 : 1, NULL, 0, NULL, NULL, NULL, r, &err));
    return r->verdict;
}

static enum audit_verdict verdict(const uint8_t *bytes, size_t len)
{
    struct audit_report r;

    return verdict2(bytes, len, NULL, 0, &r);
}

static void expect_tampered(const uint8_t *bytes, size_t len, size_t frame, const char *reason)
{
    struct audit_report r;

    if (verdict2(bytes, len, NULL, 0, &r) != AUDIT_TAMPERED || r.bad_frame != frame ||
        !strstr(r.reason, reason))
        fail_msg("%s at frame %u: \"%s\", expected frame %zu: \"%s\"",
                 audit_verdict_text(r.verdict), (unsigned)r.bad_frame, r.reason, frame, reason);
}

/* ---- the tests ---- */

static void untouched(void **state)
{
    struct audit_report r;

    (void)state;
    assert_int_equal(verdict2(good, good_len, NULL, 0, &r), AUDIT_INTACT_CLOSED);
    assert_int_equal(r.frames, n_frames);
    assert_int_equal(r.bytes, good_len);
    assert_int_equal(r.records, 10);
}

static void every_bit(void **state)
{
    size_t bit, undetected = 0, tampered = 0;

    (void)state;
    for (bit = 0; bit < 8 * good_len; bit++) {
        enum audit_verdict v;

        good[bit / 8] ^= (uint8_t)(1u << bit % 8);
        v = verdict(good, good_len);
        good[bit / 8] ^= (uint8_t)(1u << bit % 8);
        tampered += v == AUDIT_TAMPERED;
        if (v == AUDIT_INTACT_CLOSED || v == AUDIT_INTACT_OPEN) {
            print_message("not noticed: byte %zu bit %zu\n", bit / 8, bit % 8);
            undetected++;
        }
    }
    print_message("%zu bits flipped, %zu undetected\n", bit, undetected);
    assert_int_equal(undetected, 0);
    assert_int_equal(tampered, bit);
}

static void every_length(void **state)
{
    size_t len, frame = 0;

    (void)state;
    for (len = 0; len < good_len; len++) {
        enum audit_verdict v = verdict(good, len);

        if (len == frame_at[frame]) {
            assert_int_equal(v, len ? AUDIT_INTACT_OPEN : AUDIT_TORN_TAIL);
            frame++;
        } else {
            assert_int_equal(v, AUDIT_TORN_TAIL);
        }
    }
}

static void every_byte_inserted_or_removed(void **state)
{
    size_t at;

    (void)state;
    for (at = 0; at <= good_len; at++) {
        memcpy(bad, good, at);
        bad[at] = 0;
        memcpy(bad + at + 1, good + at, good_len - at);
        assert_int_equal(verdict(bad, good_len + 1), AUDIT_TAMPERED);
        if (at < good_len) {
            memcpy(bad + at, good + at + 1, good_len - at - 1);
            assert_true(verdict(bad, good_len - 1) >= AUDIT_TORN_TAIL);
        }
    }
}

static size_t add_frame(size_t at, size_t frame)
{
    size_t len = frame_at[frame + 1] - frame_at[frame];

    memcpy(bad + at, good + frame_at[frame], len);
    return at + len;
}

static void frames_swapped_removed_repeated(void **state)
{
    size_t a, b, i, len;

    (void)state;
    for (a = 0; a < n_frames; a++) {
        for (b = a + 1; b < n_frames; b++) {
            for (len = 0, i = 0; i < n_frames; i++)
                len = add_frame(len, i == a ? b : i == b ? a : i);
            assert_int_equal(verdict(bad, len), AUDIT_TAMPERED);
        }
        for (len = 0, i = 0; i < n_frames; i++)
            if (i != a)
                len = add_frame(len, i);
        assert_int_equal(verdict(bad, len), a == n_frames - 1 ? AUDIT_INTACT_OPEN : AUDIT_TAMPERED);
        for (b = 0; b <= n_frames; b++) { /* a once more in front of b */
            for (len = 0, i = 0; i <= n_frames; i++) {
                if (i == b)
                    len = add_frame(len, a);
                if (i < n_frames)
                    len = add_frame(len, i);
            }
            assert_int_equal(verdict(bad, len), AUDIT_TAMPERED);
        }
    }
}

static void frames_of_another_session(void **state)
{
    static uint8_t other[MAX_LOG];
    char other_path[512];
    size_t other_len, i;

    (void)state;
    make_session(other_path, true);
    other_len = load(other_path, "000000.vlog", other);
    assert_int_equal(other_len, good_len); /* the same shape */
    for (i = 1; i < n_frames; i++) {
        memcpy(bad, good, good_len);
        memcpy(bad + frame_at[i], other + frame_at[i], frame_at[i + 1] - frame_at[i]);
        expect_tampered(bad, good_len, i, "another session");
        memcpy(bad, good, frame_at[i]);
        memcpy(bad + frame_at[i], other + frame_at[i], good_len - frame_at[i]);
        expect_tampered(bad, good_len, i, "another session");
    }
    memcpy(bad, other, frame_at[1]);
    memcpy(bad + frame_at[1], good + frame_at[1], good_len - frame_at[1]);
    expect_tampered(bad, good_len, 1, "another session");
}

static void after_the_close(void **state)
{
    size_t n;

    (void)state;
    for (n = 1; n <= 300; n++) {
        memcpy(bad, good, good_len);
        memset(bad + good_len, 0, n);
        expect_tampered(bad, good_len + n, n_frames, "closed");
    }
    memcpy(bad + good_len, good, frame_at[1]);
    expect_tampered(bad, good_len + frame_at[1], n_frames, "");
}

static void fix_header(uint8_t *frame)
{
    vd_put_le32(frame + AUDIT_H_CRC, vd_crc32c_without(frame, AUDIT_FRAME_HEADER, AUDIT_H_CRC));
}

static void fix_record(uint8_t *r)
{
    size_t len = AUDIT_SLOT * (1u + r[AUDIT_R_EXT]);

    vd_put_le32(r + AUDIT_R_CRC, vd_crc32c_without(r, len, AUDIT_R_CRC));
}

/* Each header byte changed, with a right CRC: in the last frame no later hash helps. */
static void header_fields(void **state)
{
    uint8_t *frame = bad + frame_at[n_frames - 1];
    size_t at;

    (void)state;
    for (at = 0; at < AUDIT_FRAME_HEADER; at++) {
        if (at >= AUDIT_H_CRC && at < AUDIT_H_RESERVED)
            continue;
        memcpy(bad, good, good_len);
        frame[at] ^= 0x41;
        fix_header(frame);
        if (verdict(bad, good_len) != AUDIT_TAMPERED && verdict(bad, good_len) != AUDIT_TORN_TAIL)
            fail_msg("byte %zu of the header", at);
    }
    memcpy(bad, good, good_len);
    frame[AUDIT_H_FLAGS] = 0;
    fix_header(frame);
    expect_tampered(bad, good_len, n_frames - 1, "close flag");
    memcpy(bad, good, good_len);
    bad[frame_at[n_frames - 2] + AUDIT_H_FLAGS] = AUDIT_FRAME_CLOSE;
    fix_header(bad + frame_at[n_frames - 2]);
    expect_tampered(bad, good_len, n_frames - 2, "close flag");
    memcpy(bad, good, good_len);
    frame[AUDIT_H_EPOCH] = 0;
    fix_header(frame);
    expect_tampered(bad, good_len, n_frames - 1, "epoch");
    memcpy(bad, good, good_len);
    frame[AUDIT_H_KEY] ^= 1;
    fix_header(frame);
    expect_tampered(bad, good_len, n_frames - 1, "another key");
}

/* One record of the last frame but one changed, all checksums of that frame right again. */
static void record_fields(void **state)
{
    static const struct {
        size_t at;
        uint8_t value;
        const char *reason;
    } cases[] = {
        {AUDIT_R_COMMIT, 0x77, "sequence number"},
        {AUDIT_R_EXT, 0xff, "past the end"},
        {AUDIT_R_OP, AUDIT_NONE, "no operation"},
        {AUDIT_R_REAL, 0, "time"},
        {AUDIT_R_OP, AUDIT_SESSION_CLOSE, "after the close record"},
        {AUDIT_R_OP, AUDIT_LOST, "lost slots"},
    };
    size_t at = frame_at[n_frames - 2], i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t *r = bad + at + AUDIT_FRAME_HEADER;

        memcpy(bad, good, good_len);
        r[cases[i].at] = cases[i].value;
        if (cases[i].at != AUDIT_R_EXT)
            fix_record(r);
        fix_header(bad + at);
        expect_tampered(bad, good_len, n_frames - 2, cases[i].reason);
    }
    memcpy(bad, good, good_len);
    bad[AUDIT_FRAME_HEADER + AUDIT_R_OP] = AUDIT_FACT;
    fix_record(bad + AUDIT_FRAME_HEADER);
    expect_tampered(bad, good_len, 0, "does not open a session");
    memcpy(bad, good, good_len);
    bad[AUDIT_FRAME_HEADER + AUDIT_SLOT + 1] = 1;
    fix_record(bad + AUDIT_FRAME_HEADER);
    expect_tampered(bad, good_len, 0, "malformed payload");
    memcpy(bad, good, good_len);
    bad[frame_at[n_frames - 1] + AUDIT_FRAME_HEADER + AUDIT_R_LEN] = 1;
    fix_record(bad + frame_at[n_frames - 1] + AUDIT_FRAME_HEADER);
    expect_tampered(bad, good_len, n_frames - 1, "lost");
}

/* Merged reads that cannot have been made, in a frame whose checksums are right. */
static void merged_reads(void **state)
{
    static const struct {
        size_t at;
        uint8_t value;
        const char *reason;
    } cases[] = {
        {AUDIT_SLOT + 4, 2, "no possible merging"},     /* count: no slot is saved */
        {AUDIT_SLOT + 4, 7, "sequence number"},         /* the next record's */
        {AUDIT_SLOT + 6, 1, "no possible merging"},     /* 65,542 */
        {AUDIT_SLOT + 15, 0x80, "no possible merging"}, /* the last before the first */
        {AUDIT_R_LEN, 5, "no possible merging"},
        {AUDIT_R_FLAGS, AUDIT_F_MERGED | AUDIT_F_CUT, "no possible merging"},
        {AUDIT_R_OP, AUDIT_OPEN, "no possible merging"},
        {AUDIT_R_FLAGS, 0, "sequence number"},
    };
    size_t at = frame_at[1] + AUDIT_FRAME_HEADER, i;

    (void)state;
    assert_int_equal(good[at + AUDIT_R_FLAGS], AUDIT_F_MERGED);
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        memcpy(bad, good, good_len);
        bad[at + cases[i].at] = cases[i].value;
        fix_record(bad + at);
        expect_tampered(bad, good_len, 1, cases[i].reason);
    }
    at += 2 * AUDIT_SLOT; /* the one with ranges */
    assert_int_equal(good[at + AUDIT_SLOT + 24], AUDIT_T_RANGES);
    memcpy(bad, good, good_len);
    bad[at + AUDIT_SLOT + 28 + 16]++; /* begin of the second range */
    fix_record(bad + at);
    expect_tampered(bad, good_len, 2, "hash differs");
    bad[at + AUDIT_SLOT + 28 + 8]++; /* another length of the first */
    fix_record(bad + at);
    expect_tampered(bad, good_len, 1, "no possible merging");
}

/* Content changed and every checksum of the frame right again: the next frame does not fit.  In the
 * last frame only the leaf hash tells, which is why it is to be kept elsewhere. */
static void the_chain(void **state)
{
    struct audit_report before, after;
    size_t i;

    (void)state;
    for (i = 0; i + 1 < n_frames; i++) {
        memcpy(bad, good, good_len);
        bad[frame_at[i] + AUDIT_FRAME_HEADER + AUDIT_R_OFF] ^= 1;
        fix_record(bad + frame_at[i] + AUDIT_FRAME_HEADER);
        expect_tampered(bad, good_len, i + 1, "hash differs");
    }
    memcpy(bad, good, good_len);
    bad[frame_at[i] + AUDIT_FRAME_HEADER + AUDIT_R_OFF] ^= 1;
    fix_record(bad + frame_at[i] + AUDIT_FRAME_HEADER);
    (void)verdict2(good, good_len, NULL, 0, &before);
    (void)verdict2(bad, good_len, NULL, 0, &after);
    assert_int_equal(after.verdict, AUDIT_INTACT_CLOSED);
    assert_memory_not_equal(before.leaf, after.leaf, 32);
}

static void segments(void **state)
{
    struct audit_report r;
    size_t half = frame_at[2];

    (void)state;
    /* The same frames in two files: their headers say segment 0. */
    assert_int_equal(verdict2(good, half, good + half, good_len - half, &r), AUDIT_TAMPERED);
    assert_true(test_contains(r.reason, "segment number"));
    assert_int_equal(verdict2(good, half + 10, good, good_len, &r), AUDIT_TAMPERED);
    assert_int_equal(verdict2(good, 0, good, good_len, &r), AUDIT_TAMPERED);
    assert_int_equal(verdict2(good, good_len, good, 0, &r), AUDIT_TAMPERED);
    assert_true(test_contains(r.reason, "closed the log"));
    assert_int_equal(verdict2(good, good_len, good, 1, &r), AUDIT_TAMPERED);
    assert_int_equal(verdict2(good, 0, good, 0, &r), AUDIT_TORN_TAIL);
}

/* What a power failure leaves: the end is zeros from a page on.  Anything else is not that. */
static void zeros_at_the_end(void **state)
{
    size_t last = frame_at[n_frames - 1], cut;
    struct audit_report r;

    (void)state;
    memcpy(bad, good, last);
    memset(bad + last, 0, 20000);
    assert_int_equal(verdict2(bad, last + 20000, NULL, 0, &r), AUDIT_TORN_TAIL);
    assert_int_equal(r.torn_bytes, 20000);
    bad[last + 19999] = 1;
    assert_int_equal(verdict(bad, last + 20000), AUDIT_TAMPERED);
    for (cut = 1; cut < good_len - last; cut++) { /* not at a page: somebody's work */
        memcpy(bad, good, good_len);
        memset(bad + last + cut, 0, good_len - last - cut);
        if (memcmp(bad, good, good_len) != 0)
            assert_true(verdict(bad, good_len) == AUDIT_TAMPERED || (last + cut) % 4096 == 0);
    }
}

/* A write that was interrupted, at every length: also of a frame in whose header a page ends. */
static void interrupted_write(void **state)
{
    const struct audit_config config = {.dir = dir, .ring_bytes = 1};
    static const char text[40] = "text";
    const struct audit_field field = {AUDIT_T_TEXT, text, sizeof(text)};
    struct audit_writer *w;
    struct audit_ring *ring;
    char session[512];
    uint64_t seq = 0;
    size_t len, at, start = 0, cut;
    unsigned i;

    (void)state;
    assert_ok(audit_open(&config, &w, &ring, &err));
    (void)snprintf(session, sizeof(session), "%s", audit_session_dir(w));
    for (i = 0; i < 15; i++) { /* 13 frames of 256 bytes and 2 of 320 */
        const struct audit_event e = {.op = i ? AUDIT_READ : AUDIT_SESSION_OPEN,
                                      .fields = &field,
                                      .n_fields = i == 1 || i == 2};

        assert_ok(audit_wait(ring, audit_log(ring, &e), &err));
    }
    for (i = 0; i < 200; i++) {
        const struct audit_event e = {.op = AUDIT_READ, .off = ~UINT64_C(0)};

        seq = audit_log(ring, &e);
    }
    assert_ok(audit_wait(ring, seq, &err));
    len = load(session, "000000.vlog", bad);
    for (at = 0; at < len; at += vd_le32(bad + at + AUDIT_H_LENGTH))
        start = at;
    assert_true(start % 4096 > 4096 - AUDIT_FRAME_HEADER && len - start > 3 * 4096u);
    for (cut = start + 1; cut < len; cut++)
        assert_int_equal(verdict(bad, cut), AUDIT_TORN_TAIL);
    assert_int_equal(verdict(bad, len), AUDIT_INTACT_OPEN);
    assert_ok(audit_close(w, AUDIT_CLOSE_CLEAN, &err));
}

/* A frame over a page boundary whose second page was never written. */
static void half_written_frame(void **state)
{
    const struct audit_config config = {.dir = dir};
    const struct audit_event open = {.op = AUDIT_SESSION_OPEN}, e = {.op = AUDIT_READ};
    struct audit_writer *w;
    struct audit_ring *ring;
    char session[512];
    size_t len;
    int i;

    (void)state;
    assert_ok(audit_open(&config, &w, &ring, &err));
    (void)snprintf(session, sizeof(session), "%s", audit_session_dir(w));
    (void)audit_log(ring, &open);
    for (i = 0; i < 500; i++)
        (void)audit_log(ring, &e);
    assert_ok(audit_wait(ring, 500, &err));
    len = load(session, "000000.vlog", bad);
    memset(bad + 8192, 0, len - 8192);
    assert_int_equal(verdict(bad, len), AUDIT_TORN_TAIL);
    assert_int_equal(verdict(bad, len + 9000), AUDIT_TORN_TAIL);
    bad[8191] ^= 1; /* what is there is looked at only as far as the header goes */
    bad[20] ^= 1;
    assert_int_equal(verdict(bad, len), AUDIT_TAMPERED);
    bad[20] ^= 1;
    memset(bad + 8000, 0, 192); /* from within a page on, but that page is not the first */
    assert_int_equal(verdict(bad, len), AUDIT_TORN_TAIL);
    assert_ok(audit_close(w, AUDIT_CLOSE_CLEAN, &err));
}

/* ---- directories ---- */

static enum audit_verdict verdict_of(const char *session, struct audit_report *r)
{
    assert_ok(audit_verify(session, NULL, NULL, NULL, r, &err));
    return r->verdict;
}

static void rename_to(const char *session, const char *from, const char *other, const char *to)
{
    char a[1024], b[1024];

    (void)snprintf(a, sizeof(a), "%s/%s", session, from);
    (void)snprintf(b, sizeof(b), "%s/%s", other, to);
    if (rename(a, b))
        fail_msg("rename %s %s", a, b);
}

static void rings(void **state)
{
    char open[512], other[512];
    struct audit_report r;

    (void)state;
    make_session(open, false);
    assert_int_equal(verdict_of(open, &r), AUDIT_INTACT_OPEN); /* everything was sealed */
    assert_true(r.has_ring && !r.live);
    assert_int_equal(r.unsealed, 0);
    make_session(other, false);
    rename_to(open, "ring.wal", dir, "kept");
    assert_int_equal(verdict_of(open, &r), AUDIT_TORN_TAIL);
    assert_true(test_contains(r.reason, "ring.wal is missing"));
    rename_to(other, "ring.wal", open, "ring.wal");
    assert_int_equal(verdict_of(open, &r), AUDIT_TORN_TAIL);
    assert_true(test_contains(r.reason, "another session"));
    test_write_file(open, "ring.wal", "VDAR", 4);
    assert_int_equal(verdict_of(open, &r), AUDIT_TORN_TAIL);
    assert_true(test_contains(r.reason, "cut off"));
}

/* The end of a closed log cut at a frame: no ring beside it, so it is not taken for a crash. */
static void closed_log_cut_at_a_frame(void **state)
{
    struct audit_report r;

    (void)state;
    test_write_file(dir, "copy.vlog", good, frame_at[n_frames - 1]);
    (void)snprintf(path, sizeof(path), "%s/copy.vlog", dir);
    assert_int_equal(verdict_of(path, &r), AUDIT_TORN_TAIL);
}

static void wrong_directory(void **state)
{
    char other[512], plain[600];
    struct audit_report r;

    (void)state;
    make_session(other, true);
    rename_to(other, "000000.vlog", dir, "000000.vlog");
    rename_to(path, "000000.vlog", other, "000000.vlog");
    rename_to(path, AUDIT_CHECKPOINTS, other, AUDIT_CHECKPOINTS);
    assert_int_equal(verdict_of(other, &r), AUDIT_TAMPERED);
    assert_true(test_contains(r.reason, "another session"));
    (void)snprintf(plain, sizeof(plain), "%s/copy", dir); /* any other name is a copy */
    assert_int_equal(rename(other, plain), 0);
    assert_int_equal(verdict_of(plain, &r), AUDIT_INTACT_CLOSED);
}

/* Large by name only: what is not there is not read. */
static void holes(void **state)
{
    static const char *const names[] = {"000000.vlog", AUDIT_CHECKPOINTS};
    const off_t size = INT64_C(1) << 40;
    struct timespec begin, end;
    char name[600];
    struct audit_report r;
    size_t i;

    (void)state;
    (void)clock_gettime(CLOCK_MONOTONIC, &begin);
    for (i = 0; i < 2; i++) {
        make_session(path, false);
        (void)snprintf(name, sizeof(name), "%s/%s", path, names[i]);
        assert_int_equal(chmod(name, 0600), 0);
        assert_int_equal(truncate(name, size), 0);
        (void)verdict_of(path, &r);
        if (r.verdict == AUDIT_TAMPERED)
            fail_msg("%s: %s", names[i], r.reason);
        assert_true(i || r.torn_bytes > (uint64_t)size / 2);
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    assert_true(end.tv_sec - begin.tv_sec < 20);
}

static void not_a_log(void **state)
{
    char name[600];
    struct audit_report r;
    size_t len;

    (void)state;
    (void)snprintf(name, sizeof(name), "%s/000000.vlog", dir);
    assert_int_equal(mkfifo(name, 0600), 0);
    assert_fails(audit_verify(dir, NULL, NULL, NULL, &r, &err), VD_EREFUSED, "no regular file");
    assert_int_equal(unlink(name), 0);
    assert_int_equal(symlink("/etc/passwd", name), 0);
    assert_int_equal(audit_verify(dir, NULL, NULL, NULL, &r, &err), -VD_EIO);
    assert_int_equal(unlink(name), 0);
    test_write_file(dir, "000000.vlog", "", 0);
    assert_int_equal(verdict_of(dir, &r), AUDIT_TAMPERED);
    assert_true(test_contains(r.reason, "signatures were removed"));
    len = load(path, AUDIT_CHECKPOINTS, bad);
    test_write_file(dir, AUDIT_CHECKPOINTS, bad, 0);
    assert_int_equal(verdict_of(dir, &r), AUDIT_TORN_TAIL);
    test_write_file(dir, "000000.vlog", "hello", 5);
    assert_int_equal(verdict_of(dir, &r), AUDIT_TAMPERED);
    test_write_file(dir, "000000.vlog", good, good_len);
    assert_int_equal(verdict_of(dir, &r), AUDIT_TORN_TAIL); /* the last checkpoint is missing */
    test_write_file(dir, AUDIT_CHECKPOINTS, bad, len);
    assert_int_equal(verdict_of(dir, &r), AUDIT_INTACT_CLOSED);
    test_write_file(dir, "000002.vlog", "", 0);
    assert_int_equal(verdict_of(dir, &r), AUDIT_TAMPERED);
    assert_true(test_contains(r.reason, "missing"));
    test_write_file(dir, "000001.vlog", "", 0); /* empty ones follow the end */
    assert_int_equal(verdict_of(dir, &r), AUDIT_TAMPERED);
    assert_true(test_contains(r.reason, "closed the log"));
    (void)snprintf(name, sizeof(name), "%s/000002.vlog", dir);
    assert_int_equal(unlink(name), 0);
    assert_int_equal(verdict_of(dir, &r), AUDIT_TAMPERED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(untouched, setup, teardown),
        cmocka_unit_test_setup_teardown(every_bit, setup, teardown),
        cmocka_unit_test_setup_teardown(every_length, setup, teardown),
        cmocka_unit_test_setup_teardown(every_byte_inserted_or_removed, setup, teardown),
        cmocka_unit_test_setup_teardown(frames_swapped_removed_repeated, setup, teardown),
        cmocka_unit_test_setup_teardown(frames_of_another_session, setup, teardown),
        cmocka_unit_test_setup_teardown(after_the_close, setup, teardown),
        cmocka_unit_test_setup_teardown(header_fields, setup, teardown),
        cmocka_unit_test_setup_teardown(record_fields, setup, teardown),
        cmocka_unit_test_setup_teardown(merged_reads, setup, teardown),
        cmocka_unit_test_setup_teardown(the_chain, setup, teardown),
        cmocka_unit_test_setup_teardown(segments, setup, teardown),
        cmocka_unit_test_setup_teardown(interrupted_write, setup, teardown),
        cmocka_unit_test_setup_teardown(zeros_at_the_end, setup, teardown),
        cmocka_unit_test_setup_teardown(half_written_frame, setup, teardown),
        cmocka_unit_test_setup_teardown(rings, setup, teardown),
        cmocka_unit_test_setup_teardown(closed_log_cut_at_a_frame, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_directory, setup, teardown),
        cmocka_unit_test_setup_teardown(holes, setup, teardown),
        cmocka_unit_test_setup_teardown(not_a_log, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
