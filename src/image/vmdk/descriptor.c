/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptor text: probing and decoding, pure.  VMware Virtual Disk Format 5.0, "The Descriptor
 * File"; libyal's VMDK document for what producers really write.  Lines end with LF, CR LF or CR;
 * keys are compared without case; values may be quoted.  Everything that is not a comment, a known
 * key or an extent line is ignored, but a line that begins like an extent (RW, RDONLY, NOACCESS)
 * and cannot be understood is an error: skipping it would move everything behind it.
 */
#include "image/vmdk/descriptor.h"

#include "base/cleanup.h"
#include "base/limits.h"
#include "base/range.h"
#include "base/text.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* A piece of the text; not NUL-terminated. */
struct span {
    const char *p;
    size_t len;
};

static const char *const type_names[] = {
    [VMDK_EXTENT_FLAT] = "FLAT",
    [VMDK_EXTENT_SPARSE] = "SPARSE",
    [VMDK_EXTENT_ZERO] = "ZERO",
    [VMDK_EXTENT_VMFS] = "VMFS",
    [VMDK_EXTENT_VMFSSPARSE] = "VMFSSPARSE",
    [VMDK_EXTENT_SESPARSE] = "SESPARSE",
    [VMDK_EXTENT_VMFSRDM] = "VMFSRDM",
    [VMDK_EXTENT_VMFSRAW] = "VMFSRAW",
};

static const char *const create_types[] = {
    "monolithicSparse",
    "monolithicFlat",
    "twoGbMaxExtentSparse",
    "twoGbMaxExtentFlat",
    "2GbMaxExtentSparse",
    "2GbMaxExtentFlat",
    "streamOptimized",
    "custom",
    "fullDevice",
    "partitionedDevice",
    "vmfs",
    "vmfsEagerZeroedThick",
    "vmfsPreallocated",
    "vmfsThin",
    "vmfsSparse",
    "seSparse",
    "vmfsRDM",
    "vmfsRawDeviceMap",
    "vmfsRDMP",
    "vmfsPassthroughRawDeviceMap",
    "vmfsRaw",
};

const char *vmdk_extent_type_name(enum vmdk_extent_type type)
{
    return type_names[type];
}

const char *vmdk_create_type_name(const char *create_type)
{
    size_t i;

    for (i = 0; i < sizeof(create_types) / sizeof(create_types[0]); i++)
        if (strcasecmp(create_types[i], create_type) == 0)
            return create_types[i];
    return NULL;
}

/* ---- text ---- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\v' || c == '\f';
}

static struct span trimmed(struct span s)
{
    while (s.len && is_blank(s.p[0])) {
        s.p++;
        s.len--;
    }
    while (s.len && is_blank(s.p[s.len - 1]))
        s.len--;
    return s;
}

static bool span_is(struct span s, const char *word)
{
    return s.len == strlen(word) && strncasecmp(s.p, word, s.len) == 0;
}

static bool span_starts(struct span s, const char *word)
{
    return s.len >= strlen(word) && strncasecmp(s.p, word, strlen(word)) == 0;
}

static void span_copy(struct span s, char *dst, size_t size)
{
    size_t n = s.len < size ? s.len : size - 1;

    memcpy(dst, s.p, n);
    dst[n] = '\0';
}

/* Takes the next line off the front; false at the end. */
static bool next_line(struct span *text, struct span *out)
{
    size_t n = 0;

    if (text->len == 0)
        return false;
    while (n < text->len && text->p[n] != '\n' && text->p[n] != '\r')
        n++;
    *out = trimmed((struct span){text->p, n});
    if (n + 1 < text->len && text->p[n] == '\r' && text->p[n + 1] == '\n')
        n++;
    if (n < text->len)
        n++;
    text->p += n;
    text->len -= n;
    return true;
}

/* Takes the next word (up to a blank) off the front. */
static struct span next_word(struct span *line)
{
    struct span word = {line->p, 0};

    while (word.len < line->len && !is_blank(line->p[word.len]))
        word.len++;
    line->p += word.len;
    line->len -= word.len;
    *line = trimmed(*line);
    return word;
}

/* The text proper: without a UTF-8 byte order mark, up to the first NUL (embedded descriptors are
 * padded to whole sectors). */
static struct span text_of(const char *text, size_t len)
{
    struct span s = {text, len};
    const char *end;

    if (s.len >= 3 && memcmp(s.p, "\xef\xbb\xbf", 3) == 0) {
        s.p += 3;
        s.len -= 3;
    }
    end = s.len ? memchr(s.p, '\0', s.len) : NULL;
    if (end)
        s.len = (size_t)(end - s.p);
    return s;
}

static bool is_utf16(const char *text, size_t len)
{
    return len >= 4 && (memcmp(text, "\xff\xfe", 2) == 0 || memcmp(text, "\xfe\xff", 2) == 0);
}

/* KEY = VALUE or KEY = "VALUE"; false if the line has no '='. */
static bool key_value(struct span line, struct span *out_key, struct span *out_value)
{
    const char *eq = line.len ? memchr(line.p, '=', line.len) : NULL;
    struct span value;

    if (!eq)
        return false;
    *out_key = trimmed((struct span){line.p, (size_t)(eq - line.p)});
    value = trimmed((struct span){eq + 1, line.len - (size_t)(eq + 1 - line.p)});
    if (value.len && value.p[0] == '"') {
        value.p++;
        value.len--;
        while (value.len && value.p[value.len - 1] != '"')
            value.len--;
        if (value.len)
            value.len--;
    }
    *out_value = value;
    return true;
}

static bool is_access_word(struct span word)
{
    return span_is(word, "RW") || span_is(word, "RDONLY") || span_is(word, "NOACCESS");
}

/* ---- probe ---- */

static bool is_text(const uint8_t *p, size_t len)
{
    size_t i;

    for (i = 0; i < len; i++)
        if ((p[i] < 0x20 && !isspace(p[i])) || p[i] == 0x7f)
            return false;
    return true;
}

/* "# Disk DescriptorFile", with any blanks and case. */
static bool is_signature(struct span line)
{
    if (!line.len || line.p[0] != '#')
        return false;
    line.p++;
    line.len--;
    line = trimmed(line);
    return span_starts(line, "Disk DescriptorFile");
}

static bool probe_text(struct span text, uint64_t file_size)
{
    struct span line, key, value;
    bool has_cid = false, has_type = false, has_extent = false;

    while (next_line(&text, &line)) {
        struct span rest = line;

        if (is_signature(line))
            return true;
        if (!is_text((const uint8_t *)line.p, line.len))
            return false;
        if (!line.len || line.p[0] == '#')
            continue;
        if (key_value(line, &key, &value)) {
            has_cid = has_cid || span_is(key, "CID");
            has_type = has_type || span_is(key, "createType");
        } else if (is_access_word(next_word(&rest))) {
            has_extent = true;
        }
    }
    return has_cid && (has_type || has_extent) && file_size <= VD_MAX_DESCRIPTOR;
}

bool vmdk_descriptor_probe(const uint8_t *head, size_t len, uint64_t file_size)
{
    char utf8[3 * 2048 + 1];

    if (!is_utf16((const char *)head, len))
        return probe_text(text_of((const char *)head, len), file_size);
    len = vd_utf16_to_utf8(head + 2, vd_min(len / 2 - 1, 2048), head[0] == 0xfe, utf8, sizeof(utf8),
                           NULL);
    return probe_text(text_of(utf8, len), file_size);
}

/* ---- keys ---- */

static bool parse_cid(struct span value, uint32_t *out)
{
    uint32_t cid = 0;
    size_t i;

    if (value.len == 0 || value.len > 8)
        return false;
    for (i = 0; i < value.len; i++) {
        char c = value.p[i];

        if (!isxdigit((unsigned char)c))
            return false;
        cid = cid << 4 | (uint32_t)(isdigit((unsigned char)c) ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    *out = cid;
    return true;
}

/* A second, different value of a key that shapes the chain: the first one counts, as in VMware's
 * own and other readers, and the examiner hears of it. */
static void take_cid(struct span value, const char *key, bool *io_has, uint32_t *io_cid,
                     struct vd_facts *facts)
{
    uint32_t cid;

    if (!parse_cid(value, &cid))
        vd_fact_add(facts, VD_FACT_WARNING, "descriptor",
                    "%s is not a hexadecimal number: \"%.*s\"", key, (int)vd_min(value.len, 40),
                    value.p);
    else if (*io_has && *io_cid != cid)
        vd_fact_add(facts, VD_FACT_WARNING, "descriptor",
                    "%s stands twice in the descriptor, %08" PRIx32 " (used) and %08" PRIx32, key,
                    *io_cid, cid);
    else {
        *io_has = true;
        *io_cid = cid;
    }
}

static void take_text(struct span value, const char *key, char *io_text, size_t size,
                      struct vd_facts *facts)
{
    char text[64];

    if (!io_text[0]) {
        span_copy(value, io_text, size);
        return;
    }
    span_copy(value, text, vd_min(size, sizeof(text)));
    if (strcasecmp(text, io_text) != 0)
        vd_fact_add(facts, VD_FACT_WARNING, "descriptor",
                    "%s stands twice in the descriptor, \"%s\" (used) and \"%s\"", key, io_text,
                    text);
}

static int take_hint(struct span value, struct vmdk_descriptor *d, struct vd_facts *facts,
                     struct vd_err *err)
{
    if (d->parent_hint) {
        vd_fact_add(facts, VD_FACT_WARNING, "descriptor",
                    "parentFileNameHint stands twice in the descriptor; the first one is used");
        return 0;
    }
    if (value.len == 0)
        return 0;
    d->parent_hint = strndup(value.p, value.len);
    return d->parent_hint ? 0 : vd_fail(err, VD_ENOMEM, "out of memory");
}

/* Sealed disks hold ciphertext where this decoder would see data. */
static bool says_encrypted(struct span key, struct span value)
{
    size_t i;

    if (span_starts(key, "encryption") || span_is(key, "ddb.encryptedData"))
        return true;
    if (!span_is(key, "ddb.iofilters"))
        return false;
    for (i = 0; i < value.len; i++)
        if (span_starts((struct span){value.p + i, value.len - i}, "vmwarevmcrypt"))
            return true;
    return false;
}

static int take_key(struct span key, struct span value, struct vmdk_descriptor *d,
                    struct vd_facts *facts, struct vd_err *err)
{
    if (span_is(key, "CID"))
        take_cid(value, "CID", &d->has_cid, &d->cid, facts);
    else if (span_is(key, "parentCID"))
        take_cid(value, "parentCID", &d->has_parent_cid, &d->parent_cid, facts);
    else if (span_is(key, "createType"))
        take_text(value, "createType", d->create_type, sizeof(d->create_type), facts);
    else if (span_is(key, "ddb.longContentID") && !d->long_content_id[0])
        span_copy(value, d->long_content_id, sizeof(d->long_content_id));
    else if (span_is(key, "encoding"))
        take_text(value, "encoding", d->encoding, sizeof(d->encoding), facts);
    else if (span_is(key, "parentFileNameHint"))
        return take_hint(value, d, facts, err);
    else if (span_is(key, "isNativeSnapshot") && span_is(value, "yes"))
        vd_fact_add(facts, VD_FACT_WARNING, "native_snapshot",
                    "the descriptor says that the storage itself made this snapshot "
                    "(isNativeSnapshot): parts of its state may lie outside these files");
    else if (span_is(key, "changeTrackPath"))
        vd_fact_add(facts, VD_FACT_INFO, "change_tracking",
                    "changed-block tracking file \"%.*s\" (not needed for reading)",
                    (int)vd_min(value.len, 200), value.p);
    else if (says_encrypted(key, value))
        return vd_fail(err, VD_EUNSUPPORTED,
                       "descriptor: the disk is encrypted by VMware (%.*s): not supported",
                       (int)vd_min(key.len, 40), key.p);
    return 0;
}

/* ---- extent lines ---- */

static bool parse_u64(struct span word, uint64_t *out)
{
    uint64_t v = 0;
    size_t i;

    if (word.len == 0)
        return false;
    for (i = 0; i < word.len; i++)
        if (!isdigit((unsigned char)word.p[i]) || !vd_mul(v, 10, &v) ||
            !vd_add(v, (uint64_t)(word.p[i] - '0'), &v))
            return false;
    *out = v;
    return true;
}

static bool parse_type(struct span word, enum vmdk_extent_type *out)
{
    size_t i;

    for (i = 0; i < sizeof(type_names) / sizeof(type_names[0]); i++)
        if (span_is(word, type_names[i])) {
            *out = (enum vmdk_extent_type)i;
            return true;
        }
    return false;
}

/* "NAME" [START …]: what follows the start (partition UUID, device identifier) is not needed. */
static int parse_place(struct span rest, struct vmdk_extent_line *e, struct vd_err *err)
{
    const char *end;
    struct span start;

    if (rest.len == 0)
        return 0;
    if (rest.p[0] != '"' || !(end = memchr(rest.p + 1, '"', rest.len - 1)) || end == rest.p + 1)
        return vd_fail(err, VD_ECORRUPT, "the file name is not quoted or empty");
    e->path = strndup(rest.p + 1, (size_t)(end - rest.p - 1));
    if (!e->path)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    rest.len -= (size_t)(end + 1 - rest.p);
    rest.p = end + 1;
    rest = trimmed(rest);
    start = next_word(&rest);
    if (start.len && !parse_u64(start, &e->start_sectors))
        return vd_fail(err, VD_ECORRUPT, "the start sector is not a number");
    return 0;
}

static int parse_extent(struct span line, struct vmdk_extent_line *e, struct vd_err *err)
{
    struct span word = next_word(&line);

    e->access = span_is(word, "RW")       ? VMDK_ACCESS_RW
                : span_is(word, "RDONLY") ? VMDK_ACCESS_RDONLY
                                          : VMDK_ACCESS_NOACCESS;
    word = next_word(&line);
    if (!parse_u64(word, &e->sectors))
        return vd_fail(err, VD_ECORRUPT, "the size is not a number");
    if (e->sectors == 0 || e->sectors > VD_MAX_SIZE / 512)
        return vd_fail(err, VD_ELIMIT, "a size of %" PRIu64 " sectors is not possible", e->sectors);
    word = next_word(&line);
    if (!parse_type(word, &e->type))
        return vd_fail(err, VD_EUNSUPPORTED, "extent type \"%.*s\" is not known",
                       (int)vd_min(word.len, 40), word.p);
    return parse_place(line, e, err);
}

static int add_extent(struct span line, unsigned line_no, size_t *io_cap, struct vmdk_descriptor *d,
                      struct vd_err *err)
{
    struct vmdk_extent_line extent = {.line = line_no};
    int rc;

    if (d->n_extents == VD_MAX_EXTENTS)
        return vd_fail(err, VD_ELIMIT, "descriptor: more than %d extents", VD_MAX_EXTENTS);
    if (d->n_extents == *io_cap) {
        size_t cap = *io_cap ? 2 * *io_cap : 8;
        struct vmdk_extent_line *v = realloc(d->extents, cap * sizeof(*v));

        if (!v)
            return vd_fail(err, VD_ENOMEM, "out of memory");
        d->extents = v;
        *io_cap = cap;
    }
    rc = parse_extent(line, &extent, err);
    if (rc) {
        free(extent.path);
        return vd_prefix(err, rc, "descriptor: line %u", line_no);
    }
    d->extents[d->n_extents++] = extent;
    return 0;
}

/* ---- the whole ---- */

/* A line that is neither comment, key nor extent.  One that begins like an extent may be one: leaving
 * it out would move everything behind it. */
static int not_understood(struct span line, unsigned line_no, struct vd_facts *facts,
                          struct vd_err *err)
{
    static const char *const words[] = {"RW", "RDONLY", "NOACCESS"};
    size_t i;

    for (i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (line.len >= strlen(words[i]) && strncasecmp(line.p, words[i], strlen(words[i])) == 0)
            return vd_fail(err, VD_ECORRUPT, "descriptor: line %u: not an extent: \"%.*s\"",
                           line_no, (int)vd_min(line.len, 80), line.p);
    vd_fact_add(facts, VD_FACT_WARNING, "descriptor", "line %u is not understood: \"%.*s\"",
                line_no, (int)vd_min(line.len, 80), line.p);
    return 0;
}

static int decode_lines(struct span text, struct vmdk_descriptor *d, char *ddb_encoding,
                        struct vd_facts *facts, struct vd_err *err)
{
    struct span line, key, value;
    bool signature = false;
    unsigned line_no = 0;
    size_t cap = 0;
    int rc = 0;

    while (rc == 0 && next_line(&text, &line)) {
        struct span rest = line;

        line_no++;
        if (is_signature(line))
            signature = true;
        else if (!line.len || line.p[0] == '#')
            continue;
        else if (is_access_word(next_word(&rest)))
            rc = add_extent(line, line_no, &cap, d, err);
        else if (!key_value(line, &key, &value))
            rc = not_understood(line, line_no, facts, err);
        else if (span_is(key, "ddb.encoding"))
            span_copy(value, ddb_encoding, sizeof(d->encoding));
        else
            rc = take_key(key, value, d, facts, err);
    }
    if (rc == 0 && !signature)
        vd_fact_add(facts, VD_FACT_WARNING, "descriptor",
                    "the line \"# Disk DescriptorFile\" is missing");
    return rc;
}

/* VMware writes the encoding as a key of its own, in the disk data base, or both. */
static void take_ddb_encoding(struct vmdk_descriptor *d, const char *ddb, struct vd_facts *facts)
{
    if (!d->encoding[0])
        (void)vd_text_copy(d->encoding, sizeof(d->encoding), ddb);
    else if (ddb[0] && strcasecmp(d->encoding, ddb) != 0)
        vd_fact_add(facts, VD_FACT_WARNING, "descriptor",
                    "encoding is %s (used), ddb.encoding is %s", d->encoding, ddb);
}

static int decode_text(struct span text, struct vmdk_descriptor *out, struct vd_facts *facts,
                       struct vd_err *err)
{
    struct vmdk_descriptor d = {0};
    char ddb_encoding[sizeof(d.encoding)] = "";
    int rc = decode_lines(text, &d, ddb_encoding, facts, err);

    take_ddb_encoding(&d, ddb_encoding, facts);
    if (rc == 0)
        rc = vmdk_descriptor_names(&d, facts, err);
    if (rc) {
        vmdk_descriptor_clear(&d);
        return rc;
    }
    if (!d.has_cid)
        vd_fact_add(facts, VD_FACT_WARNING, "descriptor",
                    "the descriptor has no CID: nothing can be verified against this file");
    *out = d;
    return 0;
}

int vmdk_descriptor_decode(const char *text, size_t len, struct vmdk_descriptor *out,
                           struct vd_facts *facts, struct vd_err *err)
{
    VD_AUTO(free) char *utf8 = NULL;
    size_t size = len / 2 * 3 + 1;
    bool lossy = false;

    if (!is_utf16(text, len))
        return decode_text(text_of(text, len), out, facts, err);
    utf8 = malloc(size);
    if (!utf8)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    len = vd_utf16_to_utf8((const uint8_t *)text + 2, len / 2 - 1, text[0] == '\xfe', utf8, size,
                           &lossy);
    vd_fact_add(facts, VD_FACT_WARNING, "descriptor",
                "the descriptor is UTF-16%s: no product writes that, it was edited",
                lossy ? " with errors" : "");
    return decode_text(text_of(utf8, len), out, facts, err);
}

void vmdk_descriptor_clear(struct vmdk_descriptor *d)
{
    size_t i;

    for (i = 0; i < d->n_extents; i++) {
        free(d->extents[i].path);
        free(d->extents[i].path_utf8);
    }
    free(d->extents);
    free(d->parent_hint);
    free(d->parent_hint_utf8);
    *d = (struct vmdk_descriptor){0};
}
