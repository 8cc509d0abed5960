/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Damaged VMDKs, one defect each.  Every case proves that its defect is in the file, and then the
 * file must be refused, or every sector must read as the sound file has it or fail: never wrong
 * bytes, never a crash, never long.
 */
#include "vmdk_build.h"

#include "base/bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zlib.h>

static const char descriptor[] = "# Disk DescriptorFile\nversion=1\nCID=12345678\n"
                                 "parentCID=ffffffff\ncreateType=\"monolithicSparse\"\n"
                                 "RW 128 SPARSE \"x.vmdk\"\n";

static const struct vb_spec plain = {.grains = "dd.ddd..d.dddd.d", .descriptor = descriptor};
static const struct vb_spec redundant = {
    .grains = "dd.ddd..d.dddd.d", .flags = VB_NEWLINE | VB_REDUNDANT, .descriptor = descriptor};
static const struct vb_spec stream = {.grains = "dd.ddd..d.dddd.d",
                                      .version = 3,
                                      .flags = VB_NEWLINE | VB_COMPRESSED | VB_MARKERS,
                                      .descriptor = descriptor};
static const struct vb_spec footer = {.grains = "dd.ddd..d.dddd.d",
                                      .version = 3,
                                      .flags = VB_NEWLINE | VB_COMPRESSED | VB_MARKERS,
                                      .descriptor = descriptor,
                                      .footer = true};

struct outcome {
    bool refused;
    enum vd_class cls;
    char msg[VD_ERR_MSG_MAX];
    uint64_t bad; /* bytes that cannot be read */
};

/* Opens the bytes and reads every sector that the sound disk has. */
static struct outcome look(const struct vb_image *sound, const uint8_t *bytes, size_t len)
{
    struct outcome out = {0};
    struct vd_err err = VD_ERR_INIT;
    struct image *image = NULL;
    uint8_t sector[512];
    size_t off;
    int rc = vb_open(bytes, len, "x.vmdk", &image, &err);

    if (rc) {
        out.refused = true;
        out.cls = (enum vd_class) - rc;
        memcpy(out.msg, err.msg, sizeof(out.msg));
        assert_true(err.msg[0]);
        return out;
    }
    for (off = 0; off + 512 <= sound->disk_len && off + 512 <= image->dev->size; off += 512) {
        rc = blk_read(image->dev, off, sector, sizeof(sector), &err);
        if (rc == 0 && memcmp(sector, sound->disk + off, 512) != 0)
            fail_msg("wrong bytes at %zu", off);
        if (rc) {
            assert_true(rc == -VD_EIO || rc == -VD_ECORRUPT);
            assert_true(err.msg[0] && err.has_offset && err.offset >= off);
            out.bad += 512;
        }
    }
    image_free(image);
    return out;
}

static uint8_t *copy_of(const struct vb_image *v)
{
    uint8_t *p = malloc(v->len + 4096);

    assert_non_null(p);
    memcpy(p, v->p, v->len);
    memset(p + v->len, 0, 4096);
    return p;
}

/* ---- cut files ---- */

/* A file cut at `len`: what lies behind the cut is refused or fails, all else is as before.  Only a
 * file too short for a signature is taken for something else. */
static void check_cut(const struct vb_image *v, size_t len)
{
    uint8_t *p = malloc(len ? len : 1); /* exactly so long: ASan sees any byte read behind */
    struct outcome out;

    assert_non_null(p);
    assert_true(len < v->len);
    memcpy(p, v->p, len);
    if (len >= 4) {
        out = look(v, p, len);
        if (out.refused)
            assert_true(out.cls == VD_ECORRUPT);
        else if (v->footer == 0)
            assert_true(out.bad > 0 || vd_all_zero(v->p + len, v->len - len));
    }
    free(p);
}

static void cut_everywhere(const struct vb_spec *spec)
{
    struct vb_image v;
    size_t len, i;

    vb_make(spec, &v);
    for (len = 0; len < v.len; len += 509)
        check_cut(&v, len);
    for (len = 512; len < v.len; len += 512) { /* every boundary of a structure is one of these */
        check_cut(&v, len - 1);
        check_cut(&v, len);
        check_cut(&v, len + 1 < v.len ? len + 1 : len);
    }
    for (i = 0; i < v.n_tables; i++) { /* and the ends of tables and compressed grains */
        check_cut(&v, v.gt[i] + 15);
        check_cut(&v, v.gt[i] + 16);
    }
    for (i = 0; i < v.n_grains; i++)
        if (v.grain[i] && v.grain[i] + v.grain_len[i] < v.len) {
            check_cut(&v, v.grain[i] + 11);
            check_cut(&v, v.grain[i] + v.grain_len[i] - 1);
        }
    vb_free(&v);
}

static void test_cut(void **state)
{
    (void)state;
    cut_everywhere(&plain);
    cut_everywhere(&redundant);
    cut_everywhere(&stream);
    cut_everywhere(&footer);
}

/* A stream cut before its first grain has nothing to show and is refused, whatever the cut. */
static void test_cut_stream_refused(void **state)
{
    struct vb_image v;
    size_t len;

    (void)state;
    vb_make(&footer, &v);
    for (len = 4; len < v.grain[0] + 512; len += 100)
        assert_true(look(&v, v.p, len).refused);
    assert_false(look(&v, v.p, v.grain[1]).refused);
    vb_free(&v);
}

/* ---- one field ---- */

static uint64_t get_le(const uint8_t *p, unsigned width)
{
    return width == 8 ? vd_le64(p) : width == 4 ? vd_le32(p) : vd_le16(p);
}

static void put_le(uint8_t *p, unsigned width, uint64_t value)
{
    if (width == 8)
        vd_put_le64(p, value);
    else if (width == 4)
        vd_put_le32(p, (uint32_t)value);
    else
        vd_put_le16(p, (uint16_t)value);
}

#define READS VD_OK /* opens; sectors are right or fail */

static const struct field {
    const char *name;
    const struct vb_spec *spec;
    size_t off;
    unsigned width;
    uint64_t value;
    enum vd_class cls;
    const char *message;
} fields[] = {
    {"version 0", &plain, 4, 4, 0, VD_EUNSUPPORTED, "version 0"},
    {"version 2^32-1", &plain, 4, 4, 0xffffffff, VD_EUNSUPPORTED, "version 4294967295"},
    {"capacity 2^63", &plain, 12, 8, UINT64_C(1) << 63, VD_ELIMIT, "capacity"},
    {"capacity 2^64-1", &plain, 12, 8, UINT64_MAX, VD_ELIMIT, "capacity"},
    {"capacity 2^54", &plain, 12, 8, UINT64_C(1) << 54, VD_ELIMIT, "capacity"},
    {"capacity 2^40, a directory of gigabytes", &plain, 12, 8, UINT64_C(1) << 40, VD_ELIMIT,
     "grain directory of"},
    {"capacity 2^28, a directory larger than the file", &plain, 12, 8, UINT64_C(1) << 28,
     VD_ECORRUPT, "grain directory"},
    {"capacity 0", &plain, 12, 8, 0, VD_ECHAIN, "\"x.vmdk\" is missing"},
    {"grain size 0", &plain, 20, 8, 0, VD_ECORRUPT, "grain size of 0"},
    {"grain size 1", &plain, 20, 8, 1, VD_ECORRUPT, "grain size of 1"},
    {"grain size 12", &plain, 20, 8, 12, VD_ECORRUPT, "grain size of 12"},
    {"grain size 2^31", &plain, 20, 8, UINT64_C(1) << 31, VD_ELIMIT, "grain size"},
    {"grain size 2^63", &plain, 20, 8, UINT64_C(1) << 63, VD_ELIMIT, "grain size"},
    {"descriptor past the end", &plain, 28, 8, 100000, VD_ECORRUPT, "descriptor"},
    {"descriptor at 2^63", &plain, 28, 8, UINT64_C(1) << 63, VD_ECORRUPT, "descriptor"},
    {"descriptor of 2^55 sectors", &plain, 36, 8, UINT64_C(1) << 55, VD_ECORRUPT, "descriptor"},
    {"descriptor one sector too long", &plain, 36, 8, 1000, VD_ECORRUPT, "descriptor"},
    {"table entries 0", &plain, 44, 4, 0, VD_ECORRUPT, "0 entries"},
    {"table entries 2^31", &plain, 44, 4, UINT64_C(1) << 31, VD_ELIMIT, "2147483648 entries"},
    {"directory at 0", &plain, 56, 8, 0, VD_ECORRUPT, "grain directory"},
    {"directory past the end", &plain, 56, 8, 100000, VD_ECORRUPT, "grain directory"},
    {"directory at 2^63", &plain, 56, 8, UINT64_C(1) << 63, VD_ECORRUPT, "grain directory"},
    {"directory at the end, no footer", &plain, 56, 8, UINT64_MAX, VD_ECORRUPT, "footer"},
    {"both directories, primary past the end", &redundant, 56, 8, 100000, READS, ""},
    {"both directories, redundant past the end", &redundant, 48, 8, 100000, READS, ""},
    {"compression 2", &stream, 77, 2, 2, VD_EUNSUPPORTED, "method 2"},
    {"compression none", &stream, 77, 2, 0, VD_EUNSUPPORTED, "method 0"},
    {"markers without compression", &stream, 8, 4, 0x20001, VD_EUNSUPPORTED, "markers"},
    {"unclean shutdown", &plain, 72, 2, 0x0a01, READS, ""},
};

static void test_fields(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        const struct field *f = &fields[i];
        struct vb_image v;
        struct outcome out;
        uint8_t *p;

        vb_make(f->spec, &v);
        p = copy_of(&v);
        assert_true(get_le(p + f->off, f->width) != f->value);
        put_le(p + f->off, f->width, f->value);
        assert_true(get_le(p + f->off, f->width) == f->value);
        out = look(&v, p, v.len);
        if (out.refused != (f->cls != READS) || (out.refused && out.cls != f->cls) ||
            !test_contains(out.msg, f->message))
            fail_msg("%s: %s %s", f->name, out.refused ? "refused:" : "opened", out.msg);
        if (!out.refused)
            assert_int_equal(out.bad, 0);
        free(p);
        vb_free(&v);
    }
}

/* ---- tables ---- */

enum target { GTE, GDE };

static const struct entry {
    const char *name;
    enum target target;
    uint32_t value; /* + `of` the place of that structure */
    enum { NOTHING, HEADER, OWN_GT, OTHER_GT, OTHER_GRAIN, DIRECTORY, FILE_END } of;
    uint64_t bad;        /* bytes: exactly so many are lost */
    uint64_t bad_of_two; /* … when the other copy of the tables is sound */
} entries[] = {
    {"grain past the end", GTE, 0, FILE_END, 4096, 0},
    {"grain far past the end", GTE, 0xfffffff0, NOTHING, 4096, 0},
    {"grain in the descriptor", GTE, 1, HEADER, 4096, 0},
    {"grain over the directory", GTE, 0, DIRECTORY, 4096, 0},
    {"grain over tables and directory", GTE, 0, OWN_GT, 4096, 0},
    {"grain over another grain", GTE, 0, OTHER_GRAIN, 2 * 4096, 4096},
    {"grain half over another grain", GTE, 4, OTHER_GRAIN, 3 * 4096, 4096},
    {"table past the end", GDE, 0, FILE_END, 4 * 4096, 0},
    {"table far past the end", GDE, 0xfffffff0, NOTHING, 4 * 4096, 0},
    {"table in the descriptor", GDE, 1, HEADER, 4 * 4096, 0},
    {"table over the directory", GDE, 0, DIRECTORY, 4 * 4096, 0},
    {"table over another table", GDE, 0, OTHER_GT, 8 * 4096, 0},
};

static uint32_t value_of(const struct entry *e, const struct vb_image *v)
{
    switch (e->of) {
    case OWN_GT:
        return e->value + (uint32_t)(v->gt[0] / 512);
    case OTHER_GT:
        return e->value + (uint32_t)(v->gt[1] / 512);
    case OTHER_GRAIN:
        return e->value + (uint32_t)(v->grain[10] / 512);
    case DIRECTORY:
        return e->value + (uint32_t)(v->gd / 512);
    case FILE_END:
        return e->value + (uint32_t)((v->len + 511) / 512);
    case NOTHING:
    case HEADER:
        break;
    }
    return e->value;
}

/* Entry 1 or table 0 is changed: of the only copy, of both, of one of two. */
static void check_entry(const struct entry *e, const struct vb_spec *spec, bool primary,
                        bool second, uint64_t expected)
{
    struct vb_image v, w;
    struct outcome out;
    uint32_t value;

    vb_make(spec, &v);
    vb_make(spec, &w);
    value = value_of(e, &w);
    if (e->target == GTE)
        vb_set_gte(&w, 1, value, primary, second);
    else
        vb_set_gde(&w, 0, value, primary, second);
    assert_memory_not_equal(v.p, w.p, v.len);
    out = look(&v, w.p, w.len);
    if (out.refused || out.bad != expected)
        fail_msg("%s: %s, %llu bytes lost", e->name, out.msg, (unsigned long long)out.bad);
    vb_free(&v);
    vb_free(&w);
}

static void test_entries(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
        const struct entry *e = &entries[i];

        check_entry(e, &plain, true, false, e->bad);
        check_entry(e, &redundant, true, false, e->bad_of_two);
        check_entry(e, &redundant, false, true, e->bad_of_two);
    }
}

/* Every bit of both copies of directories and tables, one at a time: with redundancy nothing may
 * ever be wrong, and little lost. */
static void flip_range(const struct vb_image *v, size_t start, size_t len)
{
    uint8_t *p = copy_of(v);
    size_t bit;

    for (bit = 0; bit < len * 8; bit++) {
        struct outcome out;

        p[start + bit / 8] ^= (uint8_t)(1u << (bit % 8));
        out = look(v, p, v->len);
        if (out.refused || out.bad > 4 * 4096)
            fail_msg("bit %zu at %zu: %s, %llu bytes lost", bit, start, out.msg,
                     (unsigned long long)out.bad);
        p[start + bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    free(p);
}

static void test_flips(void **state)
{
    struct vb_image v;
    uint32_t i;

    (void)state;
    vb_make(&redundant, &v);
    for (i = 0; i < v.n_tables; i++) {
        flip_range(&v, v.gt[i], 16);
        flip_range(&v, v.rgt[i], 16);
    }
    flip_range(&v, v.gd, 4 * (size_t)v.n_tables);
    flip_range(&v, v.rgd, 4 * (size_t)v.n_tables);
    vb_free(&v);
}

/* Every bit of a stream's tables and of some grains: the sector address and the checksum inside
 * the data find it. */
static void test_stream_flips(void **state)
{
    struct vb_image v;
    uint8_t *p;
    size_t bit;
    uint32_t i;

    (void)state;
    vb_make(&stream, &v);
    p = copy_of(&v);
    for (i = 0; i < v.n_tables; i++)
        for (bit = 0; bit < 128; bit++) {
            size_t at = v.gt[i] + bit / 8;

            if (vb_get_gte(&v, i * 4 + (uint32_t)(bit / 32)) == 0)
                continue; /* an absent grain that becomes one past the end: below */
            p[at] ^= (uint8_t)(1u << (bit % 8));
            if (vd_le32(p + at / 4 * 4) != 0) /* an entry that becomes 0 is undetectable */
                assert_true(look(&v, p, v.len).bad >= 4096);
            p[at] ^= (uint8_t)(1u << (bit % 8));
        }
    for (bit = 0; bit < v.grain_len[0] * 8; bit += 7) {
        p[v.grain[0] + bit / 8] ^= (uint8_t)(1u << (bit % 8));
        (void)look(&v, p, v.len); /* padding bits of the stream may not matter */
        p[v.grain[0] + bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    free(p);
    vb_free(&v);
}

/* ---- streams ---- */

static void test_bomb(void **state)
{
    static uint8_t zeros[4 << 20], packed[8192];
    uLongf n = sizeof(packed);
    struct vb_image v;
    struct outcome out;

    (void)state;
    vb_make(&stream, &v);
    assert_int_equal(compress2(packed, &n, zeros, sizeof(zeros), 9), Z_OK);
    assert_true(n + 12 <= v.grain_len[0] + 4096 && n < 6000); /* 4 MiB for a grain of 4 KiB */
    v.p = realloc(v.p, v.len + 8192);
    assert_non_null(v.p);
    vb_set_gte(&v, 0, (uint32_t)((v.len + 511) / 512), true, false);
    memset(v.p + v.len, 0, 8192);
    vd_put_le32(v.p + (v.len + 511) / 512 * 512 + 8, (uint32_t)n);
    memcpy(v.p + (v.len + 511) / 512 * 512 + 12, packed, n);
    out = look(&v, v.p, v.len + 8192);
    assert_false(out.refused);
    assert_int_equal(out.bad, 4096);
    vb_free(&v);
}

static void change_grain_header(size_t at, uint32_t value, uint64_t lost)
{
    struct vb_image v;
    struct outcome out;
    uint8_t *p;

    vb_make(&stream, &v);
    p = copy_of(&v);
    assert_true(vd_le32(p + v.grain[3] + at) != value);
    vd_put_le32(p + v.grain[3] + at, value);
    out = look(&v, p, v.len);
    assert_false(out.refused);
    assert_int_equal(out.bad, lost);
    free(p);
    vb_free(&v);
}

static void test_grain_headers(void **state)
{
    (void)state;
    change_grain_header(0, 0, 4096);          /* the address of another grain */
    change_grain_header(0, 25, 4096);         /* no grain's address */
    change_grain_header(4, 1, 4096);          /* far away */
    change_grain_header(8, 0, 4096);          /* no data: that is a marker */
    change_grain_header(8, 100, 4096);        /* cut data */
    change_grain_header(8, 0xffffffff, 4096); /* past the end */
    change_grain_header(8, 6000, 0);          /* what follows a whole zlib stream is padding */
}

static void test_footers(void **state)
{
    static const struct {
        size_t off;
        unsigned width;
        uint64_t value;
        const char *message; /* of the warning: the stream itself still tells everything … */
        bool refused;        /* … or of the error: a sound footer that contradicts the header */
    } cases[] = {
        {0, 4, 0x564d4442, "signature"},
        {56, 8, UINT64_MAX, "further footer"},
        {12, 8, 64, "does not agree", true},
        {20, 8, 16, "does not agree", true},
        {44, 4, 8, "does not agree", true},
        {77, 2, 0, "does not agree"},
        {4, 4, 1, "does not agree", true},
        {8, 4, 0x10001, "does not agree", true},
        {28, 8, 2, "says that the descriptor is", true},
        {56, 8, 100000, "does not lie before the footer"},
        {56, 8, UINT64_C(1) << 63, "does not lie before the footer"},
        {56, 8, 0, "does not lie before the footer"},
        {56, 8, 1, "does not lie before the footer"},
        {56, 8, 2, "no grain directory marker"},
        {56, 8, 5, "no grain directory marker"},
        {(size_t)0 - 500, 4, 2, "footer marker"}, /* the marker's type, 512 bytes before */
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct vd_err err = VD_ERR_INIT;
        struct image *image = NULL;
        struct vb_image v;
        uint8_t *p, *field;

        vb_make(&footer, &v);
        p = copy_of(&v);
        field = p + (v.footer + cases[i].off);
        assert_true(get_le(field, cases[i].width) != cases[i].value);
        put_le(field, cases[i].width, cases[i].value);
        if (cases[i].refused) {
            assert_fails(vb_open(p, v.len, "x.vmdk", &image, &err), VD_ECORRUPT, cases[i].message);
            free(p);
            vb_free(&v);
            continue;
        }
        assert_ok(vb_open(p, v.len, "x.vmdk", &image, &err));
        if (!vb_has_fact(image, VD_FACT_WARNING, cases[i].message) ||
            !vb_has_fact(image, VD_FACT_WARNING, "nothing is missing"))
            fail_msg("footer case %zu: not said", i);
        vb_check_reads(image->dev, v.disk, v.disk_len, 512);
        image_free(image);
        free(p);
        vb_free(&v);
    }
}

/* ---- descriptors ---- */

/* The largest descriptor, and one that is all one line, in a second. */
static void test_large_descriptors(void **state)
{
    size_t len = 4u << 20, used;
    char *text = malloc(len + 1);
    struct vd_err err = VD_ERR_INIT;
    struct image *image = NULL;
    clock_t begin = clock();

    (void)state;
    assert_non_null(text);
    memset(text, 'x', len + 1);
    used = (size_t)snprintf(text, len, "# Disk DescriptorFile\nCID=1\nparentCID=ffffffff\n");
    text[used] = 'x';
    assert_fails(vb_open(text, len, "x.vmdk", &image, &err), VD_ECORRUPT, "no extents");
    assert_fails(vb_open(text, len + 1, "x.vmdk", &image, &err), VD_ELIMIT, "over the limit");
    memcpy(text + used, "RW 1 FLAT \"", 11);
    assert_fails(vb_open(text, len, "x.vmdk", &image, &err), VD_ECORRUPT, "line 4");
    text[len - 1] = '"';
    assert_fails(vb_open(text, len, "x.vmdk", &image, &err), VD_EREFUSED, "extent 1");
    memset(text + used, '\n', len - used);
    assert_fails(vb_open(text, len, "x.vmdk", &image, &err), VD_ECORRUPT, "no extents");
    memset(text + used, '=', len - used);
    assert_fails(vb_open(text, len, "x.vmdk", &image, &err), VD_ECORRUPT, "no extents");
    assert_true((double)(clock() - begin) / CLOCKS_PER_SEC < 20);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut),     cmocka_unit_test(test_cut_stream_refused),
        cmocka_unit_test(test_fields),  cmocka_unit_test(test_entries),
        cmocka_unit_test(test_flips),   cmocka_unit_test(test_stream_flips),
        cmocka_unit_test(test_bomb),    cmocka_unit_test(test_grain_headers),
        cmocka_unit_test(test_footers), cmocka_unit_test(test_large_descriptors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
