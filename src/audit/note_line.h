/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A checkpoint as one line of text, for terminals and system logs; docs/formats/audit-log.md,
 * "Anchor".
 *
 *     checkpoint: vdiskfs/0199…-… 1234 BASE64-OF-THE-HEAD vdiskfs/0199…-… BASE64-OF-THE-SIGNATURE
 *
 * Origin, number, head, then name and signature of each signature line, with one blank between them.
 * It is plain ASCII, since system logs disagree about everything else.
 */
#ifndef VD_AUDIT_NOTE_LINE_H
#define VD_AUDIT_NOTE_LINE_H

#include <stddef.h>

#define NOTE_LINE_MARK "checkpoint: "

/* Room for the line of any note. */
#define NOTE_LINE_MAX 4200

/* Note → line, without a newline; out has NOTE_LINE_MAX bytes.  A note that is not a checkpoint of
 * three lines gives "".  Pure. */
void note_line(const char *note, char out[NOTE_LINE_MAX]);

/* Line of a log (len bytes, no newline) → the note in `out` (NOTE_MAX + 1 bytes, NUL-terminated).
 * Anything may stand in front of the mark (time, host, program), and behind the last signature
 * whatever is no word of a note.  Returns 1: done; 0: the mark is not there; -1: it is, but the
 * note is not whole.  Pure; any bytes are safe. */
int note_from_line(const char *line, size_t len, char *out);

#endif
