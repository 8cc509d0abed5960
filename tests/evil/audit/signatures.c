/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attacks on the signatures of a log: notes changed, removed, made by other keys; a log that was
 * rewritten as a whole; an end that was cut off, with and without an anchor kept elsewhere.
 *
 * Checking signatures is what takes the time: the suite flips one bit of each byte and cuts at every eleventh; with
 * VDISKFS_TORTURE=full it is every bit and every byte.
 */
#include "testlib.h"

#include "audit/audit.h"
#include "audit/merkle.h"
#include "audit/note.h"
#include "audit/verify.h"
#include "base/bytes.h"
#include "base/crc32c.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define MAX_LOG    (1u << 20)
#define MAX_FRAMES 64
#define MAX_NOTES  MAX_FRAMES

static char *dir;
static struct vd_err err;
static char session[512], first_key[192], anchor[NOTE_MAX];
static uint8_t log_bytes[MAX_LOG], forged[MAX_LOG];
static char notes[MAX_LOG], forged_notes[MAX_LOG];
static size_t log_len, notes_len, n_frames, n_notes;
static size_t frame_at[MAX_FRAMES + 1], note_at[MAX_NOTES + 1];
static unsigned n_anchored;

static size_t load(const char *name, void *out)
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

static void keep_anchor(void *ctx, const char *note)
{
    (void)ctx;
    (void)snprintf(anchor, sizeof(anchor), "%s", note);
    n_anchored++;
}

/* Several epochs of a few frames. */
static void make_session(const char *lab_key)
{
    const struct audit_config config = {
        .dir = dir, .ring_bytes = 1, .epoch_records = 3, .lab_key = lab_key, .anchor = keep_anchor};
    const struct audit_event open = {.op = AUDIT_SESSION_OPEN}, e = {.op = AUDIT_READ};
    struct audit_writer *w;
    struct audit_ring *ring;
    unsigned i;

    n_anchored = 0;
    assert_ok(audit_open(&config, &w, &ring, &err));
    (void)snprintf(session, sizeof(session), "%s", audit_session_dir(w));
    audit_first_key(w, first_key);
    assert_ok(audit_wait(ring, audit_log(ring, &open), &err));
    for (i = 0; i < 12; i++)
        assert_ok(audit_wait(ring, audit_log(ring, &e), &err));
    assert_ok(audit_close(w, AUDIT_CLOSE_CLEAN, &err));
}

static void find_parts(void)
{
    struct note note;
    size_t at;

    for (n_frames = 0, at = 0; at < log_len; n_frames++) {
        frame_at[n_frames] = at;
        at += vd_le32(log_bytes + at + AUDIT_H_LENGTH);
    }
    frame_at[n_frames] = at;
    for (n_notes = 0, at = 0; at < notes_len; n_notes++) {
        note_at[n_notes] = at;
        assert_ok(note_decode(notes + at, notes_len - at, &note, &err));
        at += note.len;
    }
    note_at[n_notes] = at;
}

static int setup(void **state)
{
    (void)state;
    dir = test_tmpdir();
    make_session(NULL);
    log_len = load("000000.vlog", log_bytes);
    notes_len = load(AUDIT_CHECKPOINTS, notes);
    find_parts();
    return 0;
}

static bool is_full(void)
{
    const char *how = getenv("VDISKFS_TORTURE");

    return how && strcmp(how, "full") == 0;
}

static int teardown(void **state)
{
    (void)state;
    test_rmdir(dir);
    return 0;
}

static enum audit_verdict check(const uint8_t *bytes, size_t len, const char *n, size_t n_len,
                                const struct audit_verify_options *options, struct audit_report *r)
{
    assert_ok(audit_verify_bytes(&bytes, &len, 1, n, n_len, options, NULL, NULL, r, &err));
    return r->verdict;
}

/* ---- the tests ---- */

static void untouched(void **state)
{
    const struct audit_verify_options options = {.key = first_key, .anchors = anchor};
    struct audit_report r;

    (void)state;
    assert_int_equal(check(log_bytes, log_len, notes, notes_len, &options, &r),
                     AUDIT_INTACT_CLOSED);
    assert_true(r.epochs >= 4);
    assert_int_equal(r.frames, n_frames);
    assert_int_equal(r.checkpoints, n_notes);
    assert_int_equal(r.checkpoint_size, n_frames);
    assert_int_equal(r.anchors, 1);
    assert_int_equal(n_anchored, n_notes);
    assert_string_equal(r.first_key, first_key);
}

static void every_bit_of_the_notes(void **state)
{
    size_t bit, flipped = 0, undetected = 0;
    struct audit_report r;

    (void)state;
    for (bit = 0; bit < 8 * notes_len; bit += is_full() ? 1 : bit % 8 == 7 ? 1 : 9) {
        enum audit_verdict v;

        flipped++;
        notes[bit / 8] = (char)(notes[bit / 8] ^ 1 << bit % 8);
        v = check(log_bytes, log_len, notes, notes_len, NULL, &r);
        notes[bit / 8] = (char)(notes[bit / 8] ^ 1 << bit % 8);
        if (v == AUDIT_INTACT_CLOSED || v == AUDIT_INTACT_OPEN)
            undetected++;
    }
    print_message("%zu bits of checkpoints flipped, %zu undetected\n", flipped, undetected);
    assert_int_equal(undetected, 0);
}

/* Without its last note a log is not closed; without that of an epoch it was changed; a note
 * within an epoch is covered by the next one. */
static void notes_removed_repeated_swapped(void **state)
{
    struct audit_report r;
    size_t a, b, len;

    (void)state;
    assert_int_equal(check(log_bytes, log_len, "", 0, NULL, &r), AUDIT_TAMPERED);
    for (a = 0; a < n_notes; a++) {
        enum audit_verdict v;
        uint64_t covers = strtoull(strchr(notes + note_at[a], '\n'), NULL, 10);
        bool ends = !vd_all_zero(log_bytes + frame_at[covers - 1] + AUDIT_H_NEXT, 32);

        memcpy(forged_notes, notes, note_at[a]);
        memcpy(forged_notes + note_at[a], notes + note_at[a + 1], notes_len - note_at[a + 1]);
        v = check(log_bytes, log_len, forged_notes, notes_len - (note_at[a + 1] - note_at[a]), NULL,
                  &r);
        assert_int_equal(v, a == n_notes - 1 ? AUDIT_TORN_TAIL
                            : ends           ? AUDIT_TAMPERED
                                             : AUDIT_INTACT_CLOSED);
        for (b = 0; b <= n_notes; b++) { /* note a once more in front of note b */
            len = note_at[b];
            memcpy(forged_notes, notes, len);
            memcpy(forged_notes + len, notes + note_at[a], note_at[a + 1] - note_at[a]);
            len += note_at[a + 1] - note_at[a];
            memcpy(forged_notes + len, notes + note_at[b], notes_len - note_at[b]);
            len += notes_len - note_at[b];
            assert_int_equal(check(log_bytes, log_len, forged_notes, len, NULL, &r),
                             AUDIT_TAMPERED);
        }
    }
}

/* A cut at every byte of the log: with the last checkpoint kept elsewhere none passes; the log's own
 * checkpoints tell as well as long as they are there. */
static void every_length(void **state)
{
    const struct audit_verify_options anchored = {.anchors = anchor};
    struct audit_report r;
    size_t len, k, f = 0, accepted = 0;

    (void)state;
    for (len = 0; len < log_len; len++) {
        if (len >= frame_at[f])
            f++;
        if (!is_full() && len % 11 && len != frame_at[f - 1])
            continue;
        k = f < n_notes ? f : n_notes - 1; /* the forger cuts the checkpoints too */
        assert_int_not_equal(check(log_bytes, len, notes, note_at[k], NULL, &r),
                             AUDIT_INTACT_CLOSED);
        if (len < frame_at[1])
            continue;
        accepted += check(log_bytes, len, notes, note_at[k], &anchored, &r) <= AUDIT_INTACT_OPEN;
        if (len == frame_at[f - 1]) /* between frames: any number of notes */
            for (k = 0; k <= n_notes; k++)
                accepted +=
                    check(log_bytes, len, notes, note_at[k], &anchored, &r) <= AUDIT_INTACT_OPEN;
    }
    assert_int_equal(accepted, 0);
}

/* ---- forging ---- */

/* Rewrites the log from frame `from` on: chain, checksums, tree, notes.  Every epoch that begins
 * there gets a key of the forger's; the notes before are kept. */
static size_t forge(size_t from, struct note_signer *const *keys, bool change_keys)
{
    struct vd_sha256 *sha = vd_sha256_new();
    struct merkle tree = {0};
    uint8_t leaf[32] = {0};
    struct note_checkpoint checkpoint;
    const char *stop = strchr(notes, '\n');
    size_t i, n = 0, out = 0;

    memcpy(forged, log_bytes, log_len);
    (void)snprintf(checkpoint.origin, sizeof(checkpoint.origin), "%.*s", (int)(stop - notes),
                   notes);
    for (i = 0; i < n_frames; i++) {
        uint8_t *f = forged + frame_at[i];
        uint32_t epoch = vd_le32(f + AUDIT_H_EPOCH);
        const uint8_t prefix = 0;
        bool ends = !vd_all_zero(f + AUDIT_H_NEXT, 32);
        uint64_t covers = n < n_notes ? strtoull(strchr(notes + note_at[n], '\n'), NULL, 10) : 0;

        if (i >= from) {
            memcpy(f + AUDIT_H_PREV, leaf, 32);
            if (change_keys) {
                memcpy(f + AUDIT_H_KEY, note_signer_key(keys[epoch])->bytes, 32);
                if (ends)
                    memcpy(f + AUDIT_H_NEXT, note_signer_key(keys[epoch + 1])->bytes, 32);
            }
            vd_put_le32(f + AUDIT_H_CRC, vd_crc32c_without(f, AUDIT_FRAME_HEADER, AUDIT_H_CRC));
        }
        vd_sha256_reset(sha);
        vd_sha256_add(sha, &prefix, 1);
        vd_sha256_add(sha, f, frame_at[i + 1] - frame_at[i]);
        vd_sha256_end(sha, leaf);
        merkle_add(&tree, sha, leaf);
        if (covers != i + 1)
            continue;
        if (i < from) {
            memcpy(forged_notes + out, notes + note_at[n], note_at[n + 1] - note_at[n]);
            out += note_at[n + 1] - note_at[n];
        } else {
            checkpoint.size = covers;
            merkle_root(&tree, sha, checkpoint.root);
            note_checkpoint_text(&checkpoint, forged_notes + out);
            assert_ok(note_sign(forged_notes + out, NOTE_MAX, keys[epoch], &err));
            out += strlen(forged_notes + out);
        }
        n++;
    }
    vd_sha256_free(sha);
    return out;
}

/* Changes a record of frame `i` (checksums of the record right). */
static void change_record(size_t i)
{
    uint8_t *r = log_bytes + frame_at[i] + AUDIT_FRAME_HEADER;

    r[AUDIT_R_OFF] ^= 1;
    vd_put_le32(r + AUDIT_R_CRC,
                vd_crc32c_without(r, AUDIT_SLOT * (1u + r[AUDIT_R_EXT]), AUDIT_R_CRC));
}

static void make_keys(struct note_signer *keys[16])
{
    char origin[NOTE_NAME_MAX];
    size_t i;

    (void)snprintf(origin, sizeof(origin), "%.*s", (int)strcspn(notes, "\n"), notes);
    for (i = 0; i < 16; i++)
        assert_ok(note_signer_new(origin, &keys[i], &err));
}

/* Old frames changed and everything signed anew with keys that the forger has, while the frames
 * keep naming the real ones: what a thief of the present key can do. */
static void old_epochs_signed_again(void **state)
{
    struct note_signer *keys[16];
    struct audit_report r;
    size_t i, len;

    (void)state;
    make_keys(keys);
    for (i = 1; i < n_frames; i++) {
        change_record(i);
        len = forge(i, keys, false);
        change_record(i);
        assert_int_equal(check(forged, log_len, forged_notes, len, NULL, &r), AUDIT_TAMPERED);
        if (!test_contains(r.reason, "not signed by the key"))
            fail_msg("frame %zu of %zu: %s", i, n_frames, r.reason);
    }
    for (i = 0; i < 16; i++)
        note_signer_free(keys[i]);
}

/* The whole log made anew from frame `i` on with a chain of keys of the forger's.  In the middle the
 * announced key tells; from the first frame on only what was kept elsewhere can. */
static void everything_made_anew(void **state)
{
    const struct audit_verify_options keyed = {.key = first_key}, anchored = {.anchors = anchor};
    struct note_signer *keys[16];
    struct audit_report r;
    size_t i, len;

    (void)state;
    make_keys(keys);
    for (i = 0; i < n_frames; i++) {
        change_record(i);
        len = forge(i, keys, true);
        change_record(i);
        assert_int_equal(check(forged, log_len, forged_notes, len, &keyed, &r), AUDIT_TAMPERED);
        assert_int_equal(check(forged, log_len, forged_notes, len, &anchored, &r), AUDIT_TAMPERED);
        assert_int_equal(check(forged, log_len, forged_notes, len, NULL, &r),
                         i == 0 ? AUDIT_INTACT_CLOSED : AUDIT_TAMPERED);
    }
    for (i = 0; i < 16; i++)
        note_signer_free(keys[i]);
}

/* No other key passes, of this log's name or another's, whatever of the log is there. */
static void wrong_keys(void **state)
{
    const struct note_key *k;
    struct audit_report r;
    struct note_key key;
    unsigned i, accepted = 0;

    (void)state;
    assert_ok(note_key_decode(first_key, &key, &err));
    k = &key;
    for (i = 0; i < 10000; i++) {
        char text[NOTE_KEY_TEXT];
        uint8_t bytes[NOTE_PUBLIC_SIZE];
        const struct audit_verify_options options = {.key = text};

        assert_int_equal(RAND_bytes(bytes, sizeof(bytes)), 1);
        assert_ok(note_key_init(&key, i % 4 ? k->name : "laboratory", bytes, &err));
        note_key_text(&key, text);
        accepted += check(log_bytes, frame_at[1 + i % n_frames], notes, note_at[1 + i % n_notes],
                          &options, &r) <= AUDIT_INTACT_OPEN;
        assert_ok(note_key_decode(first_key, &key, &err));
    }
    assert_int_equal(accepted, 0);
}

static void laboratory_key(void **state)
{
    /* Test vector 1 of RFC 8032, section 7.1, as PKCS #8. */
    static const char pem[] = "-----BEGIN PRIVATE KEY-----\n"
                              "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n"
                              "-----END PRIVATE KEY-----\n";
    struct audit_verify_options options = {0};
    struct note_signer *lab;
    struct audit_report r;
    char file[600], text[NOTE_KEY_TEXT];

    (void)state;
    test_write_file(dir, "lab.pem", pem, strlen(pem));
    (void)snprintf(file, sizeof(file), "%s/lab.pem", dir);
    assert_int_equal(chmod(file, 0600), 0);
    assert_ok(note_signer_load(file, "laboratory", &lab, &err));
    note_key_text(note_signer_key(lab), text);
    note_signer_free(lab);
    options.key = text;
    assert_int_equal(check(log_bytes, log_len, notes, notes_len, &options, &r), AUDIT_TAMPERED);
    make_session(file);
    log_len = load("000000.vlog", log_bytes);
    notes_len = load(AUDIT_CHECKPOINTS, notes);
    find_parts();
    assert_int_equal(check(log_bytes, log_len, notes, notes_len, &options, &r),
                     AUDIT_INTACT_CLOSED);
    /* Stripped: the log's own signatures are right, the laboratory's is gone. */
    assert_non_null(strstr(notes, "\xe2\x80\x94 laboratory "));
    {
        char *line = strstr(notes, "\xe2\x80\x94 laboratory "), *next = strchr(line, '\n') + 1;
        size_t cut = (size_t)(next - line);

        memmove(line, next, notes_len - (size_t)(next - notes));
        notes_len -= cut;
    }
    assert_int_equal(check(log_bytes, log_len, notes, notes_len, NULL, &r), AUDIT_INTACT_CLOSED);
    assert_int_equal(check(log_bytes, log_len, notes, notes_len, &options, &r), AUDIT_TAMPERED);
}

/* An idle log goes on proving that nothing happened. */
static void heartbeats(void **state)
{
    const struct audit_config config = {
        .dir = dir, .ring_bytes = 1, .epoch_ms = 60, .heartbeat_ms = 30};
    const struct audit_event open = {.op = AUDIT_SESSION_OPEN};
    const struct timespec pause = {0, 500000000};
    struct audit_writer *w;
    struct audit_ring *ring;
    struct audit_report r;

    (void)state;
    assert_ok(audit_open(&config, &w, &ring, &err));
    (void)snprintf(session, sizeof(session), "%s", audit_session_dir(w));
    (void)audit_log(ring, &open);
    assert_ok(audit_start(w, &err));
    (void)nanosleep(&pause, NULL);
    assert_ok(audit_close(w, AUDIT_CLOSE_CLEAN, &err));
    assert_ok(audit_verify(session, NULL, NULL, NULL, &r, &err));
    assert_int_equal(r.verdict, AUDIT_INTACT_CLOSED);
    assert_true(r.frames >= 5 && r.epochs >= 3 && r.records == 2);
}

static void anchors_of_others(void **state)
{
    struct audit_verify_options options = {.anchors = "nonsense"};
    struct audit_report r;
    const uint8_t *bytes = log_bytes;
    char other[NOTE_MAX];

    (void)state;
    assert_fails(
        audit_verify_bytes(&bytes, &log_len, 1, notes, notes_len, &options, NULL, NULL, &r, &err),
        VD_EUSAGE, "no signed notes");
    (void)snprintf(other, sizeof(other), "%s", anchor);
    make_session(NULL); /* `anchor` is the other log's now */
    options.anchors = anchor;
    assert_fails(
        audit_verify_bytes(&bytes, &log_len, 1, notes, notes_len, &options, NULL, NULL, &r, &err),
        VD_EUSAGE, "1 of other logs");
    options.anchors = other;
    assert_int_equal(check(log_bytes, log_len, notes, notes_len, &options, &r),
                     AUDIT_INTACT_CLOSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(untouched, setup, teardown),
        cmocka_unit_test_setup_teardown(every_bit_of_the_notes, setup, teardown),
        cmocka_unit_test_setup_teardown(notes_removed_repeated_swapped, setup, teardown),
        cmocka_unit_test_setup_teardown(every_length, setup, teardown),
        cmocka_unit_test_setup_teardown(old_epochs_signed_again, setup, teardown),
        cmocka_unit_test_setup_teardown(everything_made_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(laboratory_key, setup, teardown),
        cmocka_unit_test_setup_teardown(heartbeats, setup, teardown),
        cmocka_unit_test_setup_teardown(anchors_of_others, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
