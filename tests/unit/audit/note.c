/* SPDX-License-Identifier: Apache-2.0 */
/* Signed notes: the published example of the format, and what must not be accepted. */
#include "audit/note.h"
#include "testlib.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The example in the documentation of golang.org/x/mod/sumdb/note. */
#define EXAMPLE_KEY "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
static const char example[] =
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "\xe2\x80\x94 PeterNeumann "
    "x08go/ZJkuBS9UG/"
    "SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

static void published_example(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    struct note_key key;
    struct note note;
    char text[NOTE_KEY_TEXT];

    (void)state;
    assert_ok(note_key_decode(EXAMPLE_KEY, &key, &err));
    note_key_text(&key, text);
    assert_string_equal(text, EXAMPLE_KEY);
    assert_ok(note_decode(example, strlen(example), &note, &err));
    assert_int_equal(note.n, 1);
    assert_int_equal(note.len, strlen(example));
    assert_true(note_verify(example, &note, &key));
}

/* No bit of the text or of the signature's line can be changed. */
static void every_bit(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    struct note_key key;
    struct note note;
    char copy[sizeof(example)];
    size_t bit;

    (void)state;
    assert_ok(note_key_decode(EXAMPLE_KEY, &key, &err));
    for (bit = 0; bit < 8 * strlen(example); bit++) {
        memcpy(copy, example, sizeof(copy));
        copy[bit / 8] = (char)(copy[bit / 8] ^ 1 << bit % 8);
        if (note_decode(copy, strlen(example), &note, NULL) == 0 && note.len == strlen(example))
            assert_false(note_verify(copy, &note, &key));
    }
}

static void own_keys(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    struct note_signer *a, *b;
    struct note_checkpoint in = {.origin = "vdiskfs/x", .size = 18446744073709551615u}, out;
    struct note note;
    char text[NOTE_MAX];

    (void)state;
    assert_ok(note_signer_new("vdiskfs/x", &a, &err));
    assert_ok(note_signer_new("lab", &b, &err));
    memset(in.root, 0xa5, sizeof(in.root));
    note_checkpoint_text(&in, text);
    assert_ok(note_sign(text, sizeof(text), a, &err));
    assert_ok(note_decode(text, strlen(text), &note, &err));
    assert_true(note_verify(text, &note, note_signer_key(a)));
    assert_false(note_verify(text, &note, note_signer_key(b)));
    assert_ok(note_sign(text, sizeof(text), b, &err)); /* a second signature leaves the first */
    assert_ok(note_decode(text, strlen(text), &note, &err));
    assert_int_equal(note.n, 2);
    assert_true(note_verify(text, &note, note_signer_key(a)));
    assert_true(note_verify(text, &note, note_signer_key(b)));
    assert_ok(note_checkpoint_decode(text, &note, &out, &err));
    assert_string_equal(out.origin, in.origin);
    assert_true(out.size == in.size);
    assert_memory_equal(out.root, in.root, sizeof(in.root));
    assert_fails(note_sign(text, strlen(text) + 20, b, &err), VD_ELIMIT, "longer");
    note_signer_free(a);
    note_signer_free(b);
}

/* Two keys of one name are told apart by their ids, and each by its bytes. */
static void wrong_keys(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    struct note_signer *a, *b;
    struct note_key forged;
    struct note note;
    char text[NOTE_MAX] = "text\n";

    (void)state;
    assert_ok(note_signer_new("same", &a, &err));
    assert_ok(note_signer_new("same", &b, &err));
    assert_ok(note_sign(text, sizeof(text), a, &err));
    assert_ok(note_decode(text, strlen(text), &note, &err));
    assert_false(note_verify(text, &note, note_signer_key(b)));
    forged = *note_signer_key(b);
    memcpy(forged.id, note_signer_key(a)->id, sizeof(forged.id));
    assert_false(note_verify(text, &note, &forged));
    note_signer_free(a);
    note_signer_free(b);
}

static void malformed(void **state)
{
    static const char *const bad_notes[] = {"",
                                            "text\n",
                                            "text\n\n",
                                            "text\n\nno signature\n",
                                            "text\n\n\xe2\x80\x94 name",
                                            "text\n\n\xe2\x80\x94 name \n\xe2\x80\x94 \n"};
    static const char *const bad_checkpoints[] = {
        "origin\n",
        "origin\n1\n",
        "origin\n01\nAAAA\n",
        "origin\n+1\nAAAA\n",
        "origin\n1\nAAAA\n",
        "origin\n18446744073709551616\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
        "origin\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=\n", /* not canonical */
        "\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"};
    static const char *const bad_keys[] = {
        "", "a", "a+b", "a+c74f20a3", "a+c74f20a3+AAAA", "Other" EXAMPLE_KEY};
    struct vd_err err = VD_ERR_INIT;
    struct note note;
    struct note_key key;
    struct note_checkpoint checkpoint;
    const uint8_t zeros[NOTE_PUBLIC_SIZE] = {0};
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(bad_notes) / sizeof(*bad_notes); i++)
        assert_int_not_equal(note_decode(bad_notes[i], strlen(bad_notes[i]), &note, &err), 0);
    for (i = 0; i < sizeof(bad_checkpoints) / sizeof(*bad_checkpoints); i++) {
        note = (struct note){.text_len = strlen(bad_checkpoints[i])};
        assert_fails(note_checkpoint_decode(bad_checkpoints[i], &note, &checkpoint, &err),
                     VD_ECORRUPT, "checkpoint");
    }
    for (i = 0; i < sizeof(bad_keys) / sizeof(*bad_keys); i++)
        assert_int_not_equal(note_key_decode(bad_keys[i], &key, &err), 0);
    assert_fails(note_key_init(&key, "two words", zeros, &err), VD_EUSAGE, "two words");
    assert_fails(note_key_init(&key, "plus+", zeros, &err), VD_EUSAGE, "plus");
    assert_fails(note_key_init(&key, "", zeros, &err), VD_EUSAGE, "name");
}

/* A laboratory's key comes from a file as openssl(1) writes it. */
static void key_file(void **state)
{
    /* Test vector 1 of RFC 8032, section 7.1, as PKCS #8. */
    static const char pem[] = "-----BEGIN PRIVATE KEY-----\n"
                              "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n"
                              "-----END PRIVATE KEY-----\n";
    static const uint8_t public[4] = {0xd7, 0x5a, 0x98, 0x01};
    struct vd_err err = VD_ERR_INIT;
    struct note_signer *signer = NULL;
    char *dir = test_tmpdir(), path[4200], link[4200];

    (void)state;
    test_write_file(dir, "lab.pem", pem, strlen(pem));
    (void)snprintf(path, sizeof(path), "%s/lab.pem", dir);
    (void)snprintf(link, sizeof(link), "%s/link.pem", dir);
    assert_int_equal(symlink("lab.pem", link), 0);
    assert_int_equal(chmod(path, 0640), 0); /* others may read it */
    assert_fails(note_signer_load(path, "lab", &signer, &err), VD_EUSAGE, "mode 0640");
    assert_int_equal(chmod(path, 0600), 0);
    assert_fails(note_signer_load(link, "lab", &signer, &err), VD_EUSAGE, "symbolic link");
    assert_ok(note_signer_load(path, "lab", &signer, &err));
    assert_memory_equal(note_signer_key(signer)->bytes, public, sizeof(public));
    note_signer_free(signer);
    test_write_file(dir, "lab.pem", "nonsense", 8);
    assert_fails(note_signer_load(path, "lab", &signer, &err), VD_EUSAGE, "Ed25519");
    assert_fails(note_signer_load("/dev/null", "lab", &signer, &err), VD_EUSAGE, "regular");
    assert_fails(note_signer_load("/nonexistent", "lab", &signer, &err), VD_EUSAGE, "nonexistent");
    test_rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_example), cmocka_unit_test(every_bit),
        cmocka_unit_test(own_keys),          cmocka_unit_test(wrong_keys),
        cmocka_unit_test(malformed),         cmocka_unit_test(key_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
