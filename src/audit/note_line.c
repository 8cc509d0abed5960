/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints as lines; see note_line.h.  Pure: any thread. */
#include "audit/note_line.h"

#include "audit/note.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

#define DASH "\xe2\x80\x94 "

/* Appends [from, from + len); false when it does not fit. */
static bool add(char *out, size_t size, size_t *n, const char *from, size_t len)
{
    if (len >= size - *n)
        return false;
    memcpy(out + *n, from, len);
    *n += len;
    out[*n] = '\0';
    return true;
}

void note_line(const char *note, char out[NOTE_LINE_MAX])
{
    const char *line = note, *end;
    size_t n = vd_text_copy(out, NOTE_LINE_MAX, NOTE_LINE_MARK);
    unsigned number = 0;
    bool good = true;

    for (; good && (end = strchr(line, '\n')); line = end + 1, number++) {
        if (number == 3) { /* the empty line */
            good = line == end;
            continue;
        }
        if (number > 3) {
            good = strncmp(line, DASH, strlen(DASH)) == 0;
            line += good ? strlen(DASH) : 0;
        }
        good = good && (number == 0 || add(out, NOTE_LINE_MAX, &n, " ", 1)) &&
               add(out, NOTE_LINE_MAX, &n, line, (size_t)(end - line));
    }
    if (!good || number < 5)
        out[0] = '\0';
}

/* What words of a note are made of. */
static bool is_word_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c && strchr("+/=-._:", c));
}

static size_t word_length(const char *p, const char *end)
{
    const char *q = p;

    while (q < end && is_word_char(*q))
        q++;
    return (size_t)(q - p);
}

/* Is this the base64 form of a key id and a signature (68 bytes)? */
static bool is_signature(const char *p, size_t len)
{
    size_t i;

    for (i = 0; i < len; i++)
        if (strchr("-._:", p[i]))
            return false;
    return len == 92 && p[91] == '=' && p[90] != '=';
}

/* Signature lines from `p` on; false when there is none, or no room. */
static bool add_signatures(const char *p, const char *end, char *out, size_t *n)
{
    bool any = false;

    while (p < end && *p == ' ') {
        const char *name = p + 1, *value;
        size_t name_len = word_length(name, end), value_len;

        value = name + name_len;
        if (name_len == 0 || value >= end || *value != ' ')
            break;
        value_len = word_length(++value, end);
        if (!is_signature(value, value_len))
            break;
        p = value + value_len;
        if (!add(out, NOTE_MAX + 1, n, DASH, strlen(DASH)) ||
            !add(out, NOTE_MAX + 1, n, name, (size_t)(p - name)) ||
            !add(out, NOTE_MAX + 1, n, "\n", 1))
            return false;
        any = true;
    }
    return any;
}

int note_from_line(const char *line, size_t len, char *out)
{
    const char *end = line + len, *p = memmem(line, len, NOTE_LINE_MARK, strlen(NOTE_LINE_MARK));
    size_t n = 0, i;

    if (!p)
        return 0;
    p += strlen(NOTE_LINE_MARK);
    for (i = 0; i < 3; i++) {
        size_t word = word_length(p, end);

        if (word == 0 || p + word >= end || p[word] != ' ' ||
            !add(out, NOTE_MAX + 1, &n, p, word) || !add(out, NOTE_MAX + 1, &n, "\n", 1))
            return -1;
        p += word + 1;
    }
    if (!add(out, NOTE_MAX + 1, &n, "\n", 1) || !add_signatures(p - 1, end, out, &n))
        return -1;
    return 1;
}
