/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signed notes, keys and files of checkpoints.  The first byte says what follows: 0 a key; 1 anchors;
 * 2 a file of checkpoints, after 16 bytes of session and 2 of the number of frames.  What must hold:
 * what is accepted has one spelling; nothing is right without a signature.
 */
#include "audit/note.h"
#include "audit/verify_notes.h"
#include "base/bytes.h"

#include <stdlib.h>
#include <string.h>

#define MAX_INPUT ((size_t)1 << 16)

static void try_key(const char *text)
{
    struct note_key key;
    char again[NOTE_KEY_TEXT];

    if (note_key_decode(text, &key, NULL))
        return;
    note_key_text(&key, again);
    if (strncmp(text, again, strlen(again)) != 0)
        abort();
}

static void try_anchors(const char *text, size_t len)
{
    struct note_checkpoint checkpoint;
    struct anchors anchors;
    struct note note;
    char again[NOTE_MAX];
    bool is_note = note_decode(text, len, &note, NULL) == 0;

    if (is_note && (note.len > len || note.text_len >= note.len || note.n > NOTE_MAX_SIGNATURES))
        abort();
    if (is_note && note_checkpoint_decode(text, &note, &checkpoint, NULL) == 0) {
        note_checkpoint_text(&checkpoint, again);
        if (strlen(again) > note.text_len || memcmp(text, again, strlen(again)) != 0)
            abort();
        if (anchors_decode(text, len, checkpoint.origin, &anchors, NULL) == 0) {
            if (anchors.n == 0 || strcmp(anchors.v[0].origin, checkpoint.origin) != 0)
                abort();
            anchors_clear(&anchors);
        }
    }
    if (anchors_decode(text, len, NULL, &anchors, NULL) == 0) {
        if (!is_note || anchors.n != 0)
            abort();
        anchors_clear(&anchors);
    }
}

static void try_checkpoints(const uint8_t *data, size_t len)
{
    struct notes *notes = calloc(1, sizeof(*notes));
    struct expect e = {.has_session = true, .frame_no = 1 + vd_le16(data + 16)};
    char reason[256];
    bool lab = false;
    int rc = 0;

    e.sha = vd_sha256_new();
    if (!notes || !e.sha)
        abort();
    memcpy(e.session, data, sizeof(e.session));
    memset(e.key, 0x55, sizeof(e.key)); /* nobody has its secret */
    notes->fd = -1;
    notes->mem = (const char *)data + 18;
    notes->mem_len = len - 18;
    if (notes_follow(notes, &e, NULL, &lab, reason, &rc, NULL) == (reason[0] != '\0') || rc ||
        notes->n || notes->size)
        abort();
    if (notes_end(notes, &e, reason, &rc, NULL) == (reason[0] != '\0') || rc)
        abort();
    vd_sha256_free(e.sha);
    free(notes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text;

    if (size < 1 || size > MAX_INPUT)
        return 0;
    text = malloc(size); /* of exactly its length and a NUL, so that reading on is seen */
    if (!text)
        return 0;
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    if (data[0] == 0)
        try_key(text);
    else if (data[0] == 1)
        try_anchors(text, size - 1);
    else if (data[0] == 2 && size >= 1 + 18)
        try_checkpoints(data + 1, size - 1);
    free(text);
    return 0;
}
