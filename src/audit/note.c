/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signed notes; see note.h.  Ed25519, base64 and the key files are OpenSSL's.  Base64 is taken in
 * its one canonical form only: a note has one spelling.  Threads: a signer is used by one at a
 * time, everything else is pure.
 */
#include "audit/note.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define TYPE_ED25519 0x01
#define DASH         "\xe2\x80\x94 " /* em dash, space: begins a signature line */
#define DASH_LEN     4
#define KEY_FILE_MAX 16384
#define SECRET_SIZE  32

/* ---- base64 ---- */

/* out: 4 * ceil(len / 3) + 1 bytes. */
static void base64_encode(const uint8_t *bytes, size_t len, char *out)
{
    (void)EVP_EncodeBlock((unsigned char *)out, bytes, (int)len);
}

/* Decodes exactly `want` bytes (at most 96) from `len` characters. */
static bool base64_decode(const char *text, size_t len, uint8_t *out, size_t want)
{
    unsigned char raw[100];
    char again[140];

    if (len != (want + 2) / 3 * 4 || len > 132 ||
        EVP_DecodeBlock(raw, (const unsigned char *)text, (int)len) < (int)want)
        return false;
    base64_encode(raw, want, again);
    if (memcmp(again, text, len) != 0)
        return false;
    memcpy(out, raw, want);
    return true;
}

/* ---- public keys ---- */

static bool name_ok(const char *name)
{
    const char *p;

    for (p = name; *p; p++)
        if ((unsigned char)*p <= ' ' || *p == '+' || *p == 0x7f)
            return false;
    return p != name && p - name < NOTE_NAME_MAX;
}

int note_key_init(struct note_key *key, const char *name, const uint8_t bytes[NOTE_PUBLIC_SIZE],
                  struct vd_err *err)
{
    static const uint8_t middle[] = {'\n', TYPE_ED25519};
    uint8_t hash[VD_SHA256_SIZE];
    struct vd_sha256 *sha;

    if (!name_ok(name))
        return vd_fail(err, VD_EUSAGE, "a key cannot have the name \"%s\"", name);
    sha = vd_sha256_new();
    if (!sha)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    vd_sha256_add(sha, name, strlen(name));
    vd_sha256_add(sha, middle, sizeof(middle));
    vd_sha256_add(sha, bytes, NOTE_PUBLIC_SIZE);
    vd_sha256_end(sha, hash);
    vd_sha256_free(sha);
    (void)vd_text_copy(key->name, sizeof(key->name), name);
    memcpy(key->id, hash, sizeof(key->id));
    memcpy(key->bytes, bytes, NOTE_PUBLIC_SIZE);
    return 0;
}

void note_key_text(const struct note_key *key, char out[NOTE_KEY_TEXT])
{
    uint8_t typed[1 + NOTE_PUBLIC_SIZE] = {TYPE_ED25519};
    char base64[48];

    memcpy(typed + 1, key->bytes, NOTE_PUBLIC_SIZE);
    base64_encode(typed, sizeof(typed), base64);
    (void)snprintf(out, NOTE_KEY_TEXT, "%s+%02x%02x%02x%02x+%s", key->name, key->id[0], key->id[1],
                   key->id[2], key->id[3], base64);
}

int note_key_decode(const char *text, struct note_key *out, struct vd_err *err)
{
    const char *id = strchr(text, '+'), *base64 = id ? strchr(id + 1, '+') : NULL;
    uint8_t typed[1 + NOTE_PUBLIC_SIZE];
    char name[NOTE_NAME_MAX], want[9];
    size_t len;
    int rc;

    if (!base64 || id - text >= NOTE_NAME_MAX || base64 - id != 9)
        return vd_fail(err, VD_EUSAGE, "not a key of the form NAME+ID+BASE64");
    len = strcspn(base64 + 1, " \t\r\n");
    if (!base64_decode(base64 + 1, len, typed, sizeof(typed)) || typed[0] != TYPE_ED25519)
        return vd_fail(err, VD_EUSAGE, "not an Ed25519 key of the form NAME+ID+BASE64");
    memcpy(name, text, (size_t)(id - text));
    name[id - text] = '\0';
    rc = note_key_init(out, name, typed + 1, err);
    if (rc)
        return rc;
    (void)snprintf(want, sizeof(want), "%02x%02x%02x%02x", out->id[0], out->id[1], out->id[2],
                   out->id[3]);
    if (strncmp(want, id + 1, 8) != 0)
        return vd_fail(err, VD_EUSAGE, "the key's id %.8s is not that of its name and bytes (%s)",
                       id + 1, want);
    return 0;
}

/* ---- signing keys ---- */

struct note_signer {
    struct note_key key;
    uint8_t *secret; /* a page of its own */
};

static uint8_t *secret_page(void)
{
    uint8_t *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (page == MAP_FAILED)
        return NULL;
    (void)mlock(page, 4096);
    (void)madvise(page, 4096, MADV_DONTDUMP);
    (void)madvise(page, 4096, MADV_WIPEONFORK);
    return page;
}

void note_signer_free(struct note_signer *signer)
{
    if (!signer)
        return;
    if (signer->secret) {
        OPENSSL_cleanse(signer->secret, SECRET_SIZE);
        (void)munmap(signer->secret, 4096);
    }
    free(signer);
}

/* `page` (with the secret) is taken over. */
static int signer_make(uint8_t *page, const char *name, struct note_signer **out,
                       struct vd_err *err)
{
    struct note_signer *signer = calloc(1, sizeof(*signer));
    EVP_PKEY *pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, page, SECRET_SIZE);
    uint8_t bytes[NOTE_PUBLIC_SIZE];
    size_t len = sizeof(bytes);
    int rc;

    if (signer)
        signer->secret = page;
    if (!signer || !pkey || EVP_PKEY_get_raw_public_key(pkey, bytes, &len) != 1) {
        rc = vd_fail(err, VD_ENOMEM, "cannot make an Ed25519 key");
    } else {
        rc = note_key_init(&signer->key, name, bytes, err);
    }
    EVP_PKEY_free(pkey);
    if (rc == 0) {
        *out = signer;
        return 0;
    }
    if (signer) {
        note_signer_free(signer);
    } else {
        OPENSSL_cleanse(page, SECRET_SIZE);
        (void)munmap(page, 4096);
    }
    return rc;
}

int note_signer_new(const char *name, struct note_signer **out, struct vd_err *err)
{
    uint8_t *page = secret_page();

    if (!page)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    if (RAND_priv_bytes(page, SECRET_SIZE) != 1) {
        (void)munmap(page, 4096);
        return vd_fail(err, VD_EIO, "no random bytes for a key");
    }
    return signer_make(page, name, out, err);
}

static int read_key_file(const char *path, uint8_t *buf, size_t size, size_t *out_len,
                         struct vd_err *err)
{
    VD_AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW);
    struct stat st;
    ssize_t n = 0;

    if (fd < 0 && errno == ELOOP)
        return vd_fail(err, VD_EUSAGE, "%s: a symbolic link; name the key itself", path);
    if (fd < 0 || fstat(fd, &st))
        return vd_fail_errno(err, VD_EUSAGE, errno, "%s", path);
    if (!S_ISREG(st.st_mode))
        return vd_fail(err, VD_EUSAGE, "%s: not a regular file", path);
    if (st.st_mode & 077) /* a key that others can read proves nothing */
        return vd_fail(err, VD_EUSAGE, "%s: others may use this private key (mode %04o): chmod 600",
                       path, (unsigned)st.st_mode & 07777);
    if (st.st_uid != geteuid() && st.st_uid != 0)
        return vd_fail(err, VD_EUSAGE, "%s: this private key belongs to user %u", path,
                       (unsigned)st.st_uid);
    *out_len = 0;
    while (*out_len < size && (n = read(fd, buf + *out_len, size - *out_len)) > 0)
        *out_len += (size_t)n;
    if (n < 0)
        return vd_fail_errno(err, VD_EIO, errno, "%s", path);
    return 0;
}

static int no_passphrase(char *buf, int size, int rwflag, void *u)
{
    (void)buf;
    (void)size;
    (void)rwflag;
    (void)u;
    return 0;
}

int note_signer_load(const char *path, const char *name, struct note_signer **out,
                     struct vd_err *err)
{
    uint8_t file[KEY_FILE_MAX], *page;
    size_t len, secret_len = SECRET_SIZE;
    EVP_PKEY *pkey = NULL;
    BIO *bio;
    int rc = read_key_file(path, file, sizeof(file), &len, err);

    if (rc)
        return rc;
    bio = BIO_new_mem_buf(file, (int)len);
    if (bio)
        pkey = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
    BIO_free(bio);
    OPENSSL_cleanse(file, sizeof(file));
    page = pkey && EVP_PKEY_get_id(pkey) == EVP_PKEY_ED25519 ? secret_page() : NULL;
    if (!page || EVP_PKEY_get_raw_private_key(pkey, page, &secret_len) != 1 ||
        secret_len != SECRET_SIZE) {
        rc = vd_fail(err, VD_EUSAGE, "%s: not an unencrypted Ed25519 private key (PEM)", path);
        if (page)
            (void)munmap(page, 4096);
    }
    EVP_PKEY_free(pkey);
    return rc ? rc : signer_make(page, name, out, err);
}

const struct note_key *note_signer_key(const struct note_signer *signer)
{
    return &signer->key;
}

int note_sign(char *note, size_t size, const struct note_signer *signer, struct vd_err *err)
{
    size_t len = strlen(note), text_len;
    const char *end = strstr(note, "\n\n");
    uint8_t raw[4 + NOTE_SIGNATURE_SIZE];
    char base64[100];
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY *pkey =
        EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, signer->secret, SECRET_SIZE);
    size_t n = NOTE_SIGNATURE_SIZE;
    int done;

    text_len = end ? (size_t)(end - note) + 1 : len;
    memcpy(raw, signer->key.id, 4);
    done = ctx && pkey && EVP_DigestSignInit(ctx, NULL, NULL, NULL, pkey) == 1 &&
           EVP_DigestSign(ctx, raw + 4, &n, (const unsigned char *)note, text_len) == 1;
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(pkey);
    if (!done)
        return vd_fail(err, VD_ENOMEM, "cannot sign");
    base64_encode(raw, sizeof(raw), base64);
    if (len + strlen(signer->key.name) + strlen(base64) + DASH_LEN + 4 > size)
        return vd_fail(err, VD_ELIMIT, "a note is longer than %zu bytes", size);
    (void)snprintf(note + len, size - len, "%s" DASH "%s %s\n", end ? "" : "\n", signer->key.name,
                   base64);
    return 0;
}

/* ---- reading ---- */

/* One signature line of `len` bytes without its newline.  Room in `out` is the caller's care. */
static int decode_signature(const char *line, size_t len, struct note *out, struct vd_err *err)
{
    struct note_signature *s = &out->signature[out->n];
    const char *name = line + DASH_LEN, *space = memchr(name, ' ', len - DASH_LEN);
    uint8_t raw[4 + NOTE_SIGNATURE_SIZE];
    size_t name_len = space ? (size_t)(space - name) : 0;

    if (!name_len || name_len >= NOTE_NAME_MAX)
        return vd_fail(err, VD_ECORRUPT, "a signature line is not in order");
    if (!base64_decode(space + 1, len - DASH_LEN - name_len - 1, raw, sizeof(raw)))
        return 0; /* another type of signature */
    memcpy(s->name, name, name_len);
    s->name[name_len] = '\0';
    memcpy(s->id, raw, 4);
    memcpy(s->bytes, raw + 4, NOTE_SIGNATURE_SIZE);
    out->n++;
    return 0;
}

int note_decode(const char *bytes, size_t len, struct note *out, struct vd_err *err)
{
    const char *end = memmem(bytes, len, "\n\n", 2);
    size_t pos, lines;

    *out = (struct note){0};
    if (!end)
        return vd_fail(err, VD_ECORRUPT, "not a signed note");
    out->text_len = (size_t)(end - bytes) + 1;
    pos = out->text_len + 1;
    /* No text begins with the first byte of a dash: it is a signature line, or what is there of it. */
    for (lines = 0; pos < len && bytes[pos] == DASH[0]; lines++) {
        const char *line = bytes + pos, *stop = memchr(line, '\n', len - pos);
        int rc;

        if (!stop)
            return vd_fail(err, VD_ECORRUPT, "a signature line is cut off");
        if (stop - line <= DASH_LEN || memcmp(line, DASH, DASH_LEN) != 0)
            return vd_fail(err, VD_ECORRUPT, "a signature line is not in order");
        if (lines == NOTE_MAX_SIGNATURES)
            return vd_fail(err, VD_ELIMIT, "more than %d signatures", NOTE_MAX_SIGNATURES);
        rc = decode_signature(line, (size_t)(stop - line), out, err);
        if (rc)
            return rc;
        pos += (size_t)(stop - line) + 1;
    }
    if (lines == 0)
        return vd_fail(err, VD_ECORRUPT, "a note without a signature");
    if (memchr(bytes, '\0', pos))
        return vd_fail(err, VD_ECORRUPT, "not a signed note");
    out->len = pos;
    return 0;
}

static bool verify_one(const char *bytes, size_t len, const uint8_t *signature, const uint8_t *key)
{
    EVP_PKEY *pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key, NOTE_PUBLIC_SIZE);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool right = pkey && ctx && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, pkey) == 1 &&
                 EVP_DigestVerify(ctx, signature, NOTE_SIGNATURE_SIZE, (const unsigned char *)bytes,
                                  len) == 1;

    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(pkey);
    return right;
}

bool note_verify(const char *bytes, const struct note *note, const struct note_key *key)
{
    size_t i;

    for (i = 0; i < note->n; i++)
        if (memcmp(note->signature[i].id, key->id, sizeof(key->id)) == 0 &&
            strcmp(note->signature[i].name, key->name) == 0 &&
            verify_one(bytes, note->text_len, note->signature[i].bytes, key->bytes))
            return true;
    return false;
}

/* ---- checkpoints ---- */

void note_checkpoint_text(const struct note_checkpoint *checkpoint, char *out)
{
    char base64[48];

    base64_encode(checkpoint->root, VD_SHA256_SIZE, base64);
    (void)snprintf(out, NOTE_MAX, "%s\n%" PRIu64 "\n%s\n", checkpoint->origin, checkpoint->size,
                   base64);
}

/* The line at *pos, which moves past it; false at the end of the text. */
static bool next_line(const char *bytes, size_t len, size_t *pos, const char **out, size_t *out_len)
{
    const char *stop = memchr(bytes + *pos, '\n', len - *pos);

    if (!stop)
        return false;
    *out = bytes + *pos;
    *out_len = (size_t)(stop - *out);
    *pos += *out_len + 1;
    return true;
}

/* Decimal without sign, blanks or leading zeros. */
bool note_number_decode(const char *line, size_t len, uint64_t *out)
{
    char text[24], again[24];

    if (len == 0 || len > 20)
        return false;
    memcpy(text, line, len);
    text[len] = '\0';
    *out = strtoull(text, NULL, 10); /* what is no number does not survive the way back */
    (void)snprintf(again, sizeof(again), "%" PRIu64, *out);
    return strcmp(text, again) == 0;
}

int note_checkpoint_decode(const char *bytes, const struct note *note, struct note_checkpoint *out,
                           struct vd_err *err)
{
    size_t pos = 0, len;
    const char *line;

    *out = (struct note_checkpoint){0};
    if (!next_line(bytes, note->text_len, &pos, &line, &len) || len == 0 || len >= NOTE_NAME_MAX)
        return vd_fail(err, VD_ECORRUPT, "a checkpoint without an origin");
    memcpy(out->origin, line, len);
    if (!next_line(bytes, note->text_len, &pos, &line, &len) ||
        !note_number_decode(line, len, &out->size))
        return vd_fail(err, VD_ECORRUPT, "a checkpoint without a size");
    if (!next_line(bytes, note->text_len, &pos, &line, &len) ||
        !base64_decode(line, len, out->root, sizeof(out->root)))
        return vd_fail(err, VD_ECORRUPT, "a checkpoint without the tree's head");
    return 0;
}

void note_hash_text(const uint8_t hash[VD_SHA256_SIZE], char out[NOTE_HASH_TEXT])
{
    base64_encode(hash, VD_SHA256_SIZE, out);
}

bool note_hash_decode(const char *text, size_t len, uint8_t out[VD_SHA256_SIZE])
{
    return base64_decode(text, len, out, VD_SHA256_SIZE);
}
