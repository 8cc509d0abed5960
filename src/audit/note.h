/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signed notes and checkpoints: C2SP signed-note and tlog-checkpoint, Ed25519 (type 0x01).
 *
 *     vdiskfs/0199…-…            origin: "vdiskfs/" and the session's UUID
 *     1234                       frames that the tree holds
 *     base64 of the tree's head
 *     (empty line)
 *     — vdiskfs/0199…-… base64(key id ‖ signature)
 *
 * Key id = the first 4 bytes of SHA-256(name ‖ 0x0A ‖ 0x01 ‖ public key).
 */
#ifndef VD_AUDIT_NOTE_H
#define VD_AUDIT_NOTE_H

#include "base/err.h"
#include "base/sha256.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NOTE_PUBLIC_SIZE    32
#define NOTE_SIGNATURE_SIZE 64
#define NOTE_NAME_MAX       128 /* of a key, NUL included */
#define NOTE_MAX            4096
#define NOTE_MAX_SIGNATURES 16

/* A public key that notes are checked with. */
struct note_key {
    char name[NOTE_NAME_MAX];
    uint8_t id[4];
    uint8_t bytes[NOTE_PUBLIC_SIZE];
};

/* Fills name, bytes and id.  VD_EUSAGE: a name that no note can carry (empty, white space, '+'). */
int note_key_init(struct note_key *key, const char *name, const uint8_t bytes[NOTE_PUBLIC_SIZE],
                  struct vd_err *err);

/* "NAME+HEXID+BASE64(0x01 ‖ key)": the form in which such keys are handed around.  Decoding checks
 * the id. */
#define NOTE_KEY_TEXT (NOTE_NAME_MAX + 64)
void note_key_text(const struct note_key *key, char out[NOTE_KEY_TEXT]);
int note_key_decode(const char *text, struct note_key *out, struct vd_err *err);

/* A key that signs.  Its secret lies in memory that is locked where the limit allows it, left out
 * of core dumps, and wiped by note_signer_free. */
struct note_signer;
int note_signer_new(const char *name, struct note_signer **out, struct vd_err *err);
/* From a file with an Ed25519 private key (PEM, PKCS #8, not encrypted): a regular file, no link, that
 * nobody but its owner (this user or root) can read.  VD_EUSAGE. */
int note_signer_load(const char *path, const char *name, struct note_signer **out,
                     struct vd_err *err);
const struct note_key *note_signer_key(const struct note_signer *signer);
void note_signer_free(struct note_signer *signer);

/* Appends a signature line over the text of `note`, which ends with a newline; before the first
 * one the empty line.  VD_ELIMIT: no room in `size`. */
int note_sign(char *note, size_t size, const struct note_signer *signer, struct vd_err *err);

struct note_signature {
    char name[NOTE_NAME_MAX];
    uint8_t id[4];
    uint8_t bytes[NOTE_SIGNATURE_SIZE];
};

struct note {
    size_t text_len; /* of the signed text, its last newline included */
    size_t len;      /* of the whole note */
    size_t n;
    struct note_signature signature[NOTE_MAX_SIGNATURES];
};

/* Takes apart the note at the start of `bytes`; it ends where no further signature line begins: part
 * of one at the end of `bytes` means that the note is cut off.  Signature lines of other types are
 * skipped.  VD_ECORRUPT: not a note.  VD_ELIMIT: more than NOTE_MAX_SIGNATURES lines.  Pure. */
int note_decode(const char *bytes, size_t len, struct note *out, struct vd_err *err);

/* Is there a signature of `key` on it that is right? */
bool note_verify(const char *bytes, const struct note *note, const struct note_key *key);

struct note_checkpoint {
    char origin[NOTE_NAME_MAX];
    uint64_t size;
    uint8_t root[VD_SHA256_SIZE];
};

/* The three lines, NUL-terminated; out has NOTE_MAX bytes. */
void note_checkpoint_text(const struct note_checkpoint *checkpoint, char *out);
/* Further lines are allowed and ignored.  VD_ECORRUPT.  Pure. */
int note_checkpoint_decode(const char *bytes, const struct note *note, struct note_checkpoint *out,
                           struct vd_err *err);

/* Parts of texts of this kind.  A hash as base64, 44 characters and NUL; decoding takes exactly the
 * `len` characters of its one right spelling, and for numbers decimal without sign and leading zeros. */
#define NOTE_HASH_TEXT 45
void note_hash_text(const uint8_t hash[VD_SHA256_SIZE], char out[NOTE_HASH_TEXT]);
bool note_hash_decode(const char *text, size_t len, uint8_t out[VD_SHA256_SIZE]);
bool note_number_decode(const char *text, size_t len, uint64_t *out);

#endif
