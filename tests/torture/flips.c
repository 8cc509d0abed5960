/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every single bit of a log of several frames of full size flipped, and frames swapped, removed and repeated; how many
 * of these changes the verifier does not see.
 *
 *     torture_flips [KIB [WHOLE]]
 *
 * KIB: size of the log, 3072 for the long form.  Verifying 3 MiB 25 million times would take a day.  So that every bit can be
 * had, a flip is given to the verifier's own check of a frame (verify_frame.h) in the state in which the walk arrives there:
 * state by state, frame by frame, what audit_verify_bytes does.  A flip that passes there must fail in the next frame,
 * whose header has the hash; in the last one by the checkpoint, so it is given to the whole verifier.  Besides, every WHOLE-th
 * flip (default 4099, 0: none) goes through the whole verifier, and both must agree.
 */
#include "testlib.h"

#include "audit/audit.h"
#include "audit/verify.h"
#include "audit/verify_frame.h"
#include "base/bytes.h"
#include "base/crc32c.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_FRAMES 4096

static uint8_t *log_bytes, *copy;
static char *notes;
static size_t log_len, notes_len, n_frames, frame_at[MAX_FRAMES + 1];
static struct expect before[MAX_FRAMES]; /* the walk in front of each frame */
static struct vd_err err;
static unsigned long long undetected, disagreements, through_frames, through_whole;

static void give_up(const char *what)
{
    (void)fprintf(stderr, "torture_flips: %s: %s\n", what, err.msg);
    exit(1);
}

static void *load(const char *session, const char *name, size_t *out_len)
{
    char path[1024];
    void *bytes;
    FILE *f;
    long n;

    (void)snprintf(path, sizeof(path), "%s/%s", session, name);
    f = fopen(path, "rb");
    if (!f || fseek(f, 0, SEEK_END) || (n = ftell(f)) < 0 || fseek(f, 0, SEEK_SET))
        give_up(path);
    bytes = malloc((size_t)n + AUDIT_MAX_FRAME);
    if (!bytes || fread(bytes, 1, (size_t)n, f) != (size_t)n)
        give_up(path);
    (void)fclose(f);
    *out_len = (size_t)n;
    return bytes;
}

/* Records with and without payload, and reads that are merged. */
static void make_log(const char *dir, size_t bytes)
{
    static const char text[300] = "some/path/of/a/file";
    const struct audit_config config = {.dir = dir, .epoch_records = 4000};
    const struct audit_event open = {.op = AUDIT_SESSION_OPEN};
    struct audit_writer *w;
    struct audit_ring *ring;
    char session[512];
    size_t i, slots = 0, wait = bytes / 1024; /* frames of many sizes */

    if (audit_open(&config, &w, &ring, &err))
        give_up("audit_open");
    (void)snprintf(session, sizeof(session), "%s", audit_session_dir(w));
    (void)audit_log(ring, &open);
    for (i = 0; slots * AUDIT_SLOT < bytes; i++) {
        const struct audit_field field = {AUDIT_T_PATH, text, 20 + i % 250};
        const struct audit_event e = {.op = i % 3 ? AUDIT_GETATTR : AUDIT_OPEN,
                                      .obj = i % 77,
                                      .off = i * 3,
                                      .fields = &field,
                                      .n_fields = i % 3 == 0};
        uint64_t seq = audit_log(ring, &e);

        slots += i % 3 ? 1 : 2 + (24 + i % 250) / AUDIT_SLOT;
        if (seq == AUDIT_NOT_LOGGED || (i % wait == wait - 1 && audit_wait(ring, seq, &err)))
            give_up("audit_log");
        if (i % 100 == 99) {
            unsigned r;

            for (r = 0; r < 20; r++) {
                const struct audit_event read = {
                    .op = AUDIT_READ, .obj = 5, .off = (i * 32 + r) * 4096, .len = 4096, .proc = 1};

                (void)audit_log(ring, &read);
            }
        }
    }
    if (audit_close(w, AUDIT_CLOSE_CLEAN, &err))
        give_up("audit_close");
    log_bytes = load(session, "000000.vlog", &log_len);
    notes = load(session, AUDIT_CHECKPOINTS, &notes_len);
    copy = malloc(2 * log_len);
    if (!copy)
        give_up("memory");
}

static enum audit_verdict whole(const uint8_t *bytes, size_t len)
{
    struct audit_report r;

    if (audit_verify_bytes(&bytes, &len, 1, notes, notes_len, NULL, NULL, NULL, &r, &err))
        give_up("audit_verify_bytes");
    return r.verdict;
}

/* What the walk does with one frame, and whether it goes on. */
static bool frame_passes(struct expect *e, const uint8_t *frame, size_t room)
{
    struct fault fault;
    size_t len;

    if (room < AUDIT_FRAME_HEADER || !frame_begins(e, frame, AUDIT_FRAME_HEADER, &fault))
        return false;
    len = frame_length(frame, &fault);
    return len && len <= room && frame_check(e, frame, len, &fault);
}

static void find_frames(void)
{
    struct expect e = {.segment_start = true, .sha = vd_sha256_new()};
    size_t at = 0;

    for (n_frames = 0; at < log_len; n_frames++) {
        if (n_frames == MAX_FRAMES)
            give_up("too many frames");
        frame_at[n_frames] = at;
        before[n_frames] = e;
        if (!frame_passes(&e, log_bytes + at, log_len - at))
            give_up("the log itself");
        at += vd_le32(log_bytes + at + AUDIT_H_LENGTH);
    }
    frame_at[n_frames] = at;
    if (whole(log_bytes, log_len) != AUDIT_INTACT_CLOSED)
        give_up("the log itself");
}

/* Is the flip that was made in frame k seen? */
static bool is_seen(size_t k)
{
    struct expect e = before[k];
    size_t next;

    through_frames++;
    if (!frame_passes(&e, log_bytes + frame_at[k], log_len - frame_at[k]))
        return true;
    next = frame_at[k] + vd_le32(log_bytes + frame_at[k] + AUDIT_H_LENGTH);
    if (next < log_len)
        return !frame_passes(&e, log_bytes + next, log_len - next);
    through_whole++;
    return whole(log_bytes, log_len) >= AUDIT_TORN_TAIL;
}

static void flip_all(unsigned long every_whole)
{
    unsigned long long n = 0;
    size_t k, at;
    unsigned bit;

    for (k = 0; k < n_frames; k++)
        for (at = frame_at[k]; at < frame_at[k + 1]; at++)
            for (bit = 0; bit < 8; bit++, n++) {
                bool seen;

                log_bytes[at] ^= (uint8_t)(1u << bit);
                seen = is_seen(k);
                undetected += !seen;
                if (every_whole && n % every_whole == 0) {
                    through_whole++;
                    disagreements += (whole(log_bytes, log_len) >= AUDIT_TORN_TAIL) != seen;
                }
                log_bytes[at] ^= (uint8_t)(1u << bit);
            }
}

/* One field of one record of each frame, all checksums right again: the next hash, or a checkpoint. */
static unsigned long long with_right_checksums(void)
{
    size_t k;

    for (k = 0; k < n_frames; k++) {
        uint8_t *r = log_bytes + frame_at[k] + AUDIT_FRAME_HEADER;
        size_t len = AUDIT_SLOT * ((size_t)1 + r[AUDIT_R_EXT]);

        if (frame_at[k + 1] - frame_at[k] == AUDIT_FRAME_HEADER)
            continue;
        memcpy(copy, r, len);
        r[AUDIT_R_MONO] ^= 1;
        vd_put_le32(r + AUDIT_R_CRC, vd_crc32c_without(r, len, AUDIT_R_CRC));
        undetected += whole(log_bytes, log_len) != AUDIT_TAMPERED;
        memcpy(r, copy, len);
    }
    return k;
}

static size_t put_frame(size_t at, size_t k)
{
    memcpy(copy + at, log_bytes + frame_at[k], frame_at[k + 1] - frame_at[k]);
    return at + frame_at[k + 1] - frame_at[k];
}

/* Each two frames exchanged; each one removed (a == b); each one once more in front of each other. */
static unsigned long long frames_moved(void)
{
    unsigned long long n = 0;
    size_t a, b, k, at;

    for (a = 0; a < n_frames; a++)
        for (b = 0; b < n_frames; b++) {
            for (k = at = 0; k < n_frames; k++)
                at = put_frame(at, k == a ? b : k == b ? a : k);
            undetected += a != b && whole(copy, at) < AUDIT_TORN_TAIL;
            n += a != b;
            for (k = at = 0; k < n_frames; k++) {
                if (k == b && a != b)
                    at = put_frame(at, a);
                if (k != a || k != b)
                    at = put_frame(at, k);
            }
            undetected += whole(copy, at) < AUDIT_TORN_TAIL;
            n++;
        }
    return n;
}

/* Cut at every `step` bytes and around every frame: never "closed", and not intact with its notes. */
static unsigned long long truncations(size_t step)
{
    unsigned long long n = 0;
    size_t k = 0, len;

    for (len = 0; len < log_len; len++) {
        size_t from;

        while (frame_at[k + 1] <= len)
            k++;
        from = len - frame_at[k];
        if (len % step && from > 2 && frame_at[k + 1] - len > 2)
            continue;
        undetected += whole(log_bytes, len) < AUDIT_TORN_TAIL;
        n++;
    }
    return n;
}

static double seconds(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    size_t kib = argc > 1 ? strtoul(argv[1], NULL, 10) : 3072;
    unsigned long every_whole = argc > 2 ? strtoul(argv[2], NULL, 10) : 4099;
    char *dir = test_tmpdir();
    unsigned long long moved, cut, right;
    double start = seconds();

    make_log(dir, kib << 10);
    test_rmdir(dir);
    find_frames();
    flip_all(every_whole);
    right = with_right_checksums();
    moved = frames_moved();
    cut = truncations(61);
    (void)printf("flips: log of %zu bytes in %zu frames, %zu bytes of checkpoints; %llu bits "
                 "flipped, %llu through the whole "
                 "verifier, %llu disagreements; %llu records changed with right checksums, %llu "
                 "frames exchanged, removed or "
                 "repeated, %llu truncations; undetected %llu; %.0f s\n",
                 log_len, n_frames, notes_len, through_frames, through_whole, disagreements, right,
                 moved, cut, undetected, seconds() - start);
    return undetected || disagreements ? 1 : 0;
}
