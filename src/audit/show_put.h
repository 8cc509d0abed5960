/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Putting what a log says into lines of text, JSON or CSV; used by `show` and by the exporters.
 * Text of a record may hold any bytes; what leaves here is one line of UTF-8 without control
 * characters and without characters that change the direction of text, whatever came in.  One thread
 * per writer.
 *
 * A value is escaped reversibly: a backslash becomes two, a byte that is not shown becomes \xHH.  What
 * the form needs on top (\" in text and JSON, the backslash of JSON, "" in CSV) is undone by its reader.
 */
#ifndef VD_AUDIT_SHOW_PUT_H
#define VD_AUDIT_SHOW_PUT_H

#include "audit/merge.h"
#include "audit/show_names.h"
#include "base/text.h"

enum show_form { SHOW_TEXT, SHOW_JSON, SHOW_CSV };

/* Appends the value for `len` bytes at `p`, without quotes around it.  At most `max` bytes of value
 * (what a reader gets back); false: there was more, and it was cut between two characters. */
bool show_add_value(struct vd_str *s, enum show_form form, const void *p, size_t len, size_t max);

/* Decimal numbers, faster than printf. */
void show_add_u64(struct vd_str *s, uint64_t v);
void show_add_i64(struct vd_str *s, int64_t v);

/* Room for a time as text. */
#define SHOW_TIME 40

/* "2024-05-01T12:34:56.123456789Z" from nanoseconds since 1970; `digits` (0 to 9) of the second, the
 * rest is cut off; `zone` is put behind it ("Z", "+00:00").  Returns its length. */
size_t show_time_text(int64_t ns, unsigned digits, const char *zone, char out[SHOW_TIME]);

/* A line that consists of keys and values: key=value in text, "key":value in JSON. */
struct show_writer {
    struct vd_str line; /* cleared by the owner */
    enum show_form form;
    /* JSON for readers whose integers are signed 64-bit: a larger one becomes "key_u64":"text". */
    bool small_integers;
    size_t max_value;  /* of one text, in bytes of value; 0: no bound */
    struct vd_str cut; /* keys of values that were cut, separated by commas */
};

void show_put_key(struct show_writer *w, const char *key);
void show_put_text(struct show_writer *w, const char *key, const void *p, size_t len);
void show_put_string(struct show_writer *w, const char *key, const char *text);
void show_put_u64(struct show_writer *w, const char *key, uint64_t v);
void show_put_i64(struct show_writer *w, const char *key, int64_t v);
void show_put_time(struct show_writer *w, const char *key, int64_t ns);
/* One field of a payload, as its kind asks; of another size than its kind has: as text. */
void show_put_piece(struct show_writer *w, const char *key, const struct audit_piece *piece,
                    enum audit_tag_kind kind);
/* All fields but those whose tags are in `skip` (ends with 0; of each the first one only).  A tag that
 * comes again gets a number, so that keys stay unique; one that is not known is "tag250". */
void show_put_fields(struct show_writer *w, const struct audit_record *r, const uint8_t *skip);
/* "cut,no_proc"; nothing when no flag is set. */
void show_put_flags(struct show_writer *w, uint8_t flags);

/* What a merged READ stands for: reads=N until=TIME, and ranges=OFF+LEN,... when they do not make one
 * ("ranges":[[OFF,LEN],...] in JSON, the text of before with `small_integers`).  Nothing for others. */
void show_put_merged(struct show_writer *w, const struct audit_record *r);

/* "0+4096,8192+512": the ranges of a merged record; nothing for others. */
void show_add_ranges(struct vd_str *s, const struct audit_record *r,
                     const struct audit_merged *merged);

/* Frees what the writer owns. */
void show_writer_clear(struct show_writer *w);

#endif
