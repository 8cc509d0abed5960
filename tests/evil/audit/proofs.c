/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proofs that somebody changed: every bit of the text, of the frame, of the anchor; the proof of one
 * frame with another one; keys of others.  None of them proves anything.
 */
#include "testlib.h"

#include "audit/audit.h"
#include "audit/prove.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *dir;
static struct vd_err err;
static char session[512], first_key[192], anchor[NOTE_MAX + 1], other_key[192];
static unsigned n_notes;

static void keep_anchor(void *ctx, const char *note)
{
    (void)ctx;
    if (++n_notes == 6)
        (void)snprintf(anchor, sizeof(anchor), "%s", note);
}

static void make_session(char key[192])
{
    const struct audit_config config = {
        .dir = dir, .ring_bytes = 1, .epoch_records = 4, .anchor = keep_anchor};
    const struct audit_event open = {.op = AUDIT_SESSION_OPEN}, e = {.op = AUDIT_READ};
    struct audit_writer *w;
    struct audit_ring *ring;
    unsigned i;

    assert_ok(audit_open(&config, &w, &ring, &err));
    (void)snprintf(session, sizeof(session), "%s", audit_session_dir(w));
    audit_first_key(w, key);
    assert_ok(audit_wait(ring, audit_log(ring, &open), &err));
    for (i = 0; i < 12; i++)
        assert_ok(audit_wait(ring, audit_log(ring, &e), &err));
    assert_ok(audit_close(w, AUDIT_CLOSE_CLEAN, &err));
}

static int setup(void **state)
{
    (void)state;
    dir = test_tmpdir();
    make_session(other_key);
    n_notes = 0;
    make_session(first_key);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    test_rmdir(dir);
    return 0;
}

static void prove(bool consistency, uint64_t frame, const char *key, const char *anchors,
                  struct audit_proved *out)
{
    const struct audit_prove_options options = {
        .consistency = consistency, .number = frame, .key = key, .anchors = anchors};

    assert_ok(audit_prove(session, &options, out, &err));
}

static int check_text(const char *text, size_t len, const uint8_t *frame, size_t frame_len,
                      const char *key, const char *anchors)
{
    const struct audit_trust trust = {key, anchors};
    struct audit_checked checked;
    struct audit_proof proof;
    int rc = audit_proof_decode(text, len, &proof, &err);

    return rc ? rc : audit_proof_check(&proof, frame, frame_len, &trust, &checked, &err);
}

/* ---- the tests ---- */

static void every_frame_and_every_other(void **state)
{
    static struct audit_proved proved[20];
    char key[NOTE_KEY_TEXT], *text = malloc(AUDIT_PROOF_TEXT);
    uint64_t n, i, j;

    (void)state;
    assert_non_null(text);
    prove(false, 0, NULL, NULL, &proved[0]);
    n = proved[0].report.frames;
    assert_true(n > 8 && n <= 20);
    assert_int_equal(proved[0].size, n);
    for (i = 1; i < n; i++)
        prove(false, i, NULL, NULL, &proved[i]);
    note_key_text(&proved[0].key, key);
    for (i = 0; i < n; i++) {
        audit_proof_text(&proved[i].proof, text);
        for (j = 0; j < n; j++)
            assert_int_equal(
                check_text(text, strlen(text), proved[j].frame, proved[j].frame_len, key, NULL),
                i == j ? 0 : -(int)VD_EDIFF);
        assert_int_equal(
            check_text(text, strlen(text), proved[i].frame, proved[i].frame_len, first_key, NULL),
            -(int)VD_EDIFF); /* another epoch's */
        assert_int_equal(
            check_text(text, strlen(text), proved[i].frame, proved[i].frame_len, other_key, NULL),
            -(int)VD_EDIFF);
        assert_int_equal(
            check_text(text, strlen(text), proved[i].frame, proved[i].frame_len, NULL, NULL),
            -(int)VD_EUSAGE); /* against nothing nothing is proved */
    }
    for (i = 0; i < n; i++)
        free(proved[i].frame);
    free(text);
}

static void every_bit(bool consistency)
{
    struct audit_proved proved;
    char key[NOTE_KEY_TEXT], *text = malloc(AUDIT_PROOF_TEXT);
    size_t len, bit, accepted = 0;

    assert_non_null(text);
    prove(consistency, 3, NULL, consistency ? anchor : NULL, &proved);
    note_key_text(&proved.key, key);
    audit_proof_text(&proved.proof, text);
    len = strlen(text);
    assert_ok(
        check_text(text, len, proved.frame, proved.frame_len, key, consistency ? anchor : NULL));
    for (bit = 0; bit < 8 * len; bit++) {
        text[bit / 8] = (char)(text[bit / 8] ^ 1 << bit % 8);
        accepted += check_text(text, len, proved.frame, proved.frame_len, key,
                               consistency ? anchor : NULL) == 0;
        text[bit / 8] = (char)(text[bit / 8] ^ 1 << bit % 8);
    }
    for (bit = 0; bit < len; bit++) { /* cut anywhere */
        char *part = malloc(bit + 1); /* of exactly that size: a sanitizer sees a read behind it */

        assert_non_null(part);
        memcpy(part, text, bit);
        accepted += check_text(part, bit, proved.frame, proved.frame_len, key,
                               consistency ? anchor : NULL) == 0;
        free(part);
    }
    for (bit = 0; bit < 8 * proved.frame_len; bit++) {
        proved.frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
        accepted += check_text(text, len, proved.frame, proved.frame_len, key, NULL) == 0;
        proved.frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    print_message("%zu bits of a proof%s, %zu accepted\n", 8 * len,
                  consistency ? "" : ", and those of its frame", accepted);
    assert_int_equal(accepted, 0);
    free(proved.frame);
    free(text);
}

static void every_bit_of_an_inclusion(void **state)
{
    (void)state;
    every_bit(false);
}

static void every_bit_of_a_consistency(void **state)
{
    (void)state;
    every_bit(true);
}

/* The key that is known from outside, an anchor, a record's number. */
static void what_was_kept_elsewhere(void **state)
{
    const struct audit_prove_options late = {.number = 12, .key = first_key}, none = {.number = 99},
                                     foreign = {.number = 1, .key = other_key},
                                     by_seq = {.by_seq = true, .number = 5},
                                     behind = {.by_seq = true, .number = 1000};
    struct audit_proved proved;
    char *text = malloc(AUDIT_PROOF_TEXT), lie[NOTE_MAX + 1];

    (void)state;
    assert_non_null(text);
    prove(false, 1, first_key, NULL, &proved);
    audit_proof_text(&proved.proof, text);
    assert_ok(check_text(text, strlen(text), proved.frame, proved.frame_len, first_key, NULL));
    free(proved.frame);
    prove(false, 2, NULL, anchor, &proved);
    assert_string_equal(proved.proof.note, anchor);
    audit_proof_text(&proved.proof, text);
    assert_ok(check_text(text, strlen(text), proved.frame, proved.frame_len, NULL, anchor));
    (void)snprintf(lie, sizeof(lie), "%s", anchor);
    lie[strcspn(lie, "\n") + 4] = lie[strcspn(lie, "\n") + 4] == 'A' ? 'B' : 'A';
    assert_true(check_text(text, strlen(text), proved.frame, proved.frame_len, NULL, lie) < 0);
    free(proved.frame);
    assert_fails(audit_prove(session, &late, &proved, &err), VD_EUSAGE, "too early");
    assert_fails(audit_prove(session, &none, &proved, &err), VD_EUSAGE, "no frame 99");
    assert_fails(audit_prove(session, &foreign, &proved, &err), VD_EUSAGE, "no checkpoint");
    assert_fails(audit_prove(session, &behind, &proved, &err), VD_EUSAGE, "no record");
    assert_ok(audit_prove(session, &by_seq, &proved, &err));
    assert_int_equal(proved.frame_no, 5); /* one record of one slot in each frame */
    free(proved.frame);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_frame_and_every_other),
        cmocka_unit_test(every_bit_of_an_inclusion),
        cmocka_unit_test(every_bit_of_a_consistency),
        cmocka_unit_test(what_was_kept_elsewhere),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
