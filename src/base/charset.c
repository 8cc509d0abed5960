/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encodings by iconv(3).  The C library keeps most converters in files that it loads when they are
 * first asked for, which a sandboxed process cannot do: each one is opened once and kept until the
 * process ends.  Names: what VMware writes into descriptors ("encoding="), as libyal's VMDK document
 * lists it, and their common synonyms.  Shift_JIS, Big5, GBK and EUC-KR mean the code pages of Windows,
 * supersets that its programs write under these names.
 *
 * Any thread: one lock guards the table and every conversion.
 */
#include "base/charset.h"

#include "base/cleanup.h"

#include <iconv.h>
#include <pthread.h>
#include <string.h>
#include <strings.h>

struct charset {
    const char *name;   /* iconv's */
    const char *known;  /* other names, between blanks */
    unsigned char lead; /* first bytes of two: from here to 0xfe; 0: none */
};

static const struct charset charsets[] = {
    {"CP932", " shift_jis shift-jis sjis windows-932 windows-31j ms932 ", 0x81},
    {"CP936", " gbk gb2312 windows-936 ms936 ", 0x81},
    {"GB18030", " ", 0x81},
    {"CP950", " big5 windows-950 ms950 ", 0x81},
    {"BIG5-HKSCS", " ", 0x81},
    {"CP949", " euc-kr euckr windows-949 ms949 uhc ks_c_5601-1987 ", 0x81},
    {"EUC-JP", " eucjp ", 0},
    {"CP874", " windows-874 tis-620 ", 0},
    {"CP1250", " windows-1250 ", 0},
    {"CP1251", " windows-1251 ", 0},
    {"CP1252", " windows-1252 ", 0},
    {"CP1253", " windows-1253 ", 0},
    {"CP1254", " windows-1254 ", 0},
    {"CP1255", " windows-1255 ", 0},
    {"CP1256", " windows-1256 ", 0},
    {"CP1257", " windows-1257 ", 0},
    {"CP1258", " windows-1258 ", 0},
    {"KOI8-R", " ", 0},
    {"KOI8-U", " ", 0},
    {"MACINTOSH", " macroman mac-roman ", 0},
    {"ISO-8859-1", " latin1 ", 0},
    {"ISO-8859-2", " latin2 ", 0},
    {"ISO-8859-3", " ", 0},
    {"ISO-8859-4", " ", 0},
    {"ISO-8859-5", " ", 0},
    {"ISO-8859-6", " ", 0},
    {"ISO-8859-7", " ", 0},
    {"ISO-8859-8", " ", 0},
    {"ISO-8859-9", " ", 0},
    {"ISO-8859-13", " ", 0},
    {"ISO-8859-15", " ", 0},
};

#define N_CHARSETS (sizeof(charsets) / sizeof(charsets[0]))

/* iconv's descriptors: NULL not opened yet, (iconv_t)-1 not to be had. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static iconv_t converters[N_CHARSETS];

static bool among(const char *words, const char *word)
{
    size_t n = strlen(word);

    for (; *words; words++)
        if (words[0] == ' ' && strncasecmp(words + 1, word, n) == 0 && words[1 + n] == ' ')
            return true;
    return false;
}

/* Index in the table, or N_CHARSETS. */
static size_t find(const char *name)
{
    size_t i;

    for (i = 0; i < N_CHARSETS; i++)
        if (strcasecmp(charsets[i].name, name) == 0 || (*name && among(charsets[i].known, name)))
            break;
    return i;
}

/* With the lock held. */
static iconv_t converter(size_t i)
{
    if (!converters[i])
        converters[i] = iconv_open("UTF-8", charsets[i].name);
    return converters[i];
}

void vd_charset_load(void)
{
    VD_LOCKED(&lock);
    size_t i;

    for (i = 0; i < N_CHARSETS; i++)
        (void)converter(i);
}

bool vd_charset_is_utf8(const char *charset)
{
    return !*charset || among(" utf-8 utf8 us-ascii ascii ", charset);
}

bool vd_charset_is_lead(const char *charset, unsigned char c)
{
    size_t i = find(charset);

    if (i == N_CHARSETS || !charsets[i].lead || c < charsets[i].lead || c > 0xfe)
        return false;
    return i != 0 || c <= 0x9f || (c >= 0xe0 && c <= 0xfc); /* CP932: kana in between */
}

int vd_charset_to_utf8(const char *charset, const char *text, char **out, struct vd_err *err)
{
    size_t i = find(charset), in_left = strlen(text), out_left = 4 * in_left, n;
    VD_AUTO(free) char *buf = NULL;
    VD_AUTO(free) char *copy = NULL; /* iconv's argument is not const */
    char *in, *end;
    iconv_t cd;

    if (i == N_CHARSETS)
        return vd_fail(err, VD_EUNSUPPORTED, "the encoding \"%s\" is not known", charset);
    buf = malloc(out_left + 1);
    copy = strdup(text);
    if (!buf || !copy)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    in = copy;
    end = buf;
    {
        VD_LOCKED(&lock);
        cd = converter(i);
        if (cd == (iconv_t)-1)
            return vd_fail(err, VD_EUNSUPPORTED, "this system has no converter for \"%s\"",
                           charset);
        (void)iconv(cd, NULL, NULL, NULL, NULL);
        n = iconv(cd, &in, &in_left, &end, &out_left);
        if (n == 0) /* the last character of some waits for a mark that may follow */
            n = iconv(cd, NULL, NULL, &end, &out_left);
    }
    if (n != 0 || in_left)
        return vd_fail(err, VD_ECORRUPT, "the text is not %s", charset);
    *end = '\0';
    *out = vd_take(&buf);
    return 0;
}
