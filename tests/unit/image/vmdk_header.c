/* SPDX-License-Identifier: Apache-2.0 */
/* Header, footer and grain header: decoding and checks, field by field. */
#include "vmdk_build.h"

#include "base/bytes.h"
#include "image/vmdk/grain.h"
#include "image/vmdk/header.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static struct vmdk_header good_header(void)
{
    return (struct vmdk_header){.version = 1,
                                .flags = VB_NEWLINE,
                                .capacity_sectors = 4096,
                                .grain_sectors = 128,
                                .gt_entries = 512,
                                .gd_off_sectors = 10,
                                .newline_test = {'\n', ' ', '\r', '\n'}};
}

static void test_decode(void **state)
{
    uint8_t bytes[512];
    struct vmdk_header h;
    struct vd_err err = VD_ERR_INIT;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)i;
    memcpy(bytes, "KDMV", 4);
    assert_ok(vmdk_header_decode(bytes, sizeof(bytes), &h, &err));
    assert_int_equal(h.version, 0x07060504);
    assert_int_equal(h.flags, 0x0b0a0908);
    assert_true(h.capacity_sectors == UINT64_C(0x131211100f0e0d0c));
    assert_true(h.grain_sectors == UINT64_C(0x1b1a191817161514));
    assert_true(h.descriptor_off_sectors == UINT64_C(0x232221201f1e1d1c));
    assert_true(h.descriptor_sectors == UINT64_C(0x2b2a292827262524));
    assert_int_equal(h.gt_entries, 0x2f2e2d2c);
    assert_true(h.rgd_off_sectors == UINT64_C(0x3736353433323130));
    assert_true(h.gd_off_sectors == UINT64_C(0x3f3e3d3c3b3a3938));
    assert_true(h.overhead_sectors == UINT64_C(0x4746454443424140));
    assert_int_equal(h.unclean_shutdown, 0x48);
    assert_memory_equal(h.newline_test, bytes + 73, 4);
    assert_int_equal(h.compression, 0x4e4d);
    assert_fails(vmdk_header_decode(bytes, 511, &h, &err), VD_ECORRUPT, "511 of 512");
    bytes[3] = 'v';
    assert_fails(vmdk_header_decode(bytes, 512, &h, &err), VD_ECORRUPT, "KDMV");
}

static void test_magic(void **state)
{
    static const uint8_t sesparse[8] = {0xbe, 0xba, 0xfe, 0xca};

    (void)state;
    assert_int_equal(vmdk_magic_of((const uint8_t *)"KDMV", 4), VMDK_MAGIC_HOSTED);
    assert_int_equal(vmdk_magic_of((const uint8_t *)"COWD", 4), VMDK_MAGIC_COWD);
    assert_int_equal(vmdk_magic_of(sesparse, 8), VMDK_MAGIC_SESPARSE);
    assert_int_equal(vmdk_magic_of(sesparse, 7), VMDK_MAGIC_NONE);
    assert_int_equal(vmdk_magic_of((const uint8_t *)"KDM", 3), VMDK_MAGIC_NONE);
    assert_int_equal(vmdk_magic_of((const uint8_t *)"", 0), VMDK_MAGIC_NONE);
}

#define CHANGED(field, value)                                                                      \
    (__extension__({                                                                               \
        struct vmdk_header changed = good_header();                                                \
        changed.field = (value);                                                                   \
        changed;                                                                                   \
    }))

static void test_validate(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    struct vmdk_header h = good_header();

    (void)state;
    assert_ok(vmdk_header_validate(&h, &err));
    h = CHANGED(version, 3);
    assert_ok(vmdk_header_validate(&h, &err));
    h = CHANGED(capacity_sectors, 4095);
    assert_ok(vmdk_header_validate(&h, &err));
    h = CHANGED(version, 0);
    assert_fails(vmdk_header_validate(&h, &err), VD_EUNSUPPORTED, "version 0");
    h = CHANGED(version, 4);
    assert_fails(vmdk_header_validate(&h, &err), VD_EUNSUPPORTED, "version 4");
    h = CHANGED(capacity_sectors, 0);
    assert_fails(vmdk_header_validate(&h, &err), VD_ECORRUPT, "capacity of 0");
    h = CHANGED(capacity_sectors, UINT64_C(1) << 63);
    assert_fails(vmdk_header_validate(&h, &err), VD_ELIMIT, "9223372036854775808");
    h = CHANGED(capacity_sectors, UINT64_C(1) << 54); /* the first whose bytes pass 2^63 */
    assert_fails(vmdk_header_validate(&h, &err), VD_ELIMIT, "over the limit");
    h = CHANGED(grain_sectors, 0);
    assert_fails(vmdk_header_validate(&h, &err), VD_ECORRUPT, "grain size of 0");
    h = CHANGED(grain_sectors, 4);
    assert_fails(vmdk_header_validate(&h, &err), VD_ECORRUPT, "grain size of 4");
    h = CHANGED(grain_sectors, 129);
    assert_fails(vmdk_header_validate(&h, &err), VD_ECORRUPT, "grain size of 129");
    h = CHANGED(grain_sectors, 8192);
    assert_fails(vmdk_header_validate(&h, &err), VD_ELIMIT, "grain size of 8192");
    h = CHANGED(grain_sectors, UINT64_C(1) << 63);
    assert_fails(vmdk_header_validate(&h, &err), VD_ELIMIT, "grain size");
    h = CHANGED(gt_entries, 0);
    assert_fails(vmdk_header_validate(&h, &err), VD_ECORRUPT, "0 entries");
    h = CHANGED(gt_entries, 4097);
    assert_fails(vmdk_header_validate(&h, &err), VD_ELIMIT, "4097 entries");
    h = CHANGED(capacity_sectors, UINT64_C(1) << 44);
    assert_fails(vmdk_header_validate(&h, &err), VD_ELIMIT, "directory of 268435456 entries");
    h = CHANGED(flags, VB_COMPRESSED | VB_MARKERS);
    assert_fails(vmdk_header_validate(&h, &err), VD_EUNSUPPORTED, "method 0");
    h.compression = 1;
    assert_ok(vmdk_header_validate(&h, &err));
    h.compression = 2;
    assert_fails(vmdk_header_validate(&h, &err), VD_EUNSUPPORTED, "method 2");
    h = CHANGED(flags, VB_MARKERS);
    assert_fails(vmdk_header_validate(&h, &err), VD_EUNSUPPORTED, "markers");
}

static void test_footer(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    struct vmdk_header h = good_header(), f = good_header();

    (void)state;
    h.gd_off_sectors = VMDK_GD_AT_END;
    assert_ok(vmdk_footer_validate(&h, &f, &err));
    f.gd_off_sectors = VMDK_GD_AT_END;
    assert_fails(vmdk_footer_validate(&h, &f, &err), VD_ECORRUPT, "further footer");
    f = CHANGED(capacity_sectors, 8192);
    assert_fails(vmdk_footer_validate(&h, &f, &err), VD_ECORRUPT, "does not agree");
    f = CHANGED(grain_sectors, 64);
    assert_fails(vmdk_footer_validate(&h, &f, &err), VD_ECORRUPT, "does not agree");
    f = CHANGED(gt_entries, 256);
    assert_fails(vmdk_footer_validate(&h, &f, &err), VD_ECORRUPT, "does not agree");
    f = CHANGED(compression, 1);
    assert_fails(vmdk_footer_validate(&h, &f, &err), VD_ECORRUPT, "does not agree");
    f = CHANGED(flags, VB_COMPRESSED);
    assert_fails(vmdk_footer_validate(&h, &f, &err), VD_ECORRUPT, "does not agree");
}

/* Markers are told by their size field and type; anything else in their sector makes them none. */
static void test_markers(void **state)
{
    static const enum vmdk_marker_kind kinds[] = {
        VMDK_MARKER_END, VMDK_MARKER_TABLE, VMDK_MARKER_DIR, VMDK_MARKER_FOOTER, VMDK_MARKER_BAD};
    uint8_t bytes[512] = {0};
    struct vmdk_marker m;
    uint8_t type;

    (void)state;
    for (type = 0; type < 5; type++) {
        bytes[12] = type;
        vmdk_marker_decode(bytes, 512, &m);
        assert_int_equal(m.kind, kinds[type]);
        vmdk_marker_decode(bytes, 511, &m);
        assert_int_equal(m.kind, VMDK_MARKER_BAD);
    }
    bytes[12] = 1;
    bytes[7] = 0x80;
    vmdk_marker_decode(bytes, 512, &m);
    assert_int_equal(m.kind, VMDK_MARKER_TABLE);
    assert_true(m.sectors == UINT64_C(1) << 63);
    bytes[12] = 0; /* an end marker has no sectors behind it */
    vmdk_marker_decode(bytes, 512, &m);
    assert_int_equal(m.kind, VMDK_MARKER_BAD);
    bytes[7] = 0;
    bytes[12] = 3;
    bytes[511] = 1;
    vmdk_marker_decode(bytes, 512, &m);
    assert_int_equal(m.kind, VMDK_MARKER_BAD);
    bytes[8] = 1;
    vmdk_marker_decode(bytes, 512, &m);
    assert_int_equal(m.kind, VMDK_MARKER_GRAIN);
    vmdk_marker_decode(bytes, 16, &m);
    assert_int_equal(m.kind, VMDK_MARKER_GRAIN);
    vmdk_marker_decode(bytes, 15, &m);
    assert_int_equal(m.kind, VMDK_MARKER_BAD);
}

static void test_report(void **state)
{
    struct vd_facts facts = VD_FACTS_INIT;
    struct vmdk_header h = good_header();

    (void)state;
    vmdk_header_report(&h, "x", &facts);
    assert_int_equal(facts.n, 0);
    h.unclean_shutdown = 1;
    h.newline_test[1] = '\n';
    h.flags |= 0x100;
    h.compression = 1;
    vmdk_header_report(&h, "x", &facts);
    assert_int_equal(facts.n, 4);
    assert_string_equal(facts.v[0].key, "unclean_shutdown");
    assert_string_equal(facts.v[1].key, "text_transfer");
    assert_string_equal(facts.v[2].key, "unknown_flags");
    assert_string_equal(facts.v[3].key, "compression");
    vd_facts_clear(&facts);
    h = good_header(); /* a flag of version 2 in a header of version 1 */
    h.version = 1;
    h.flags |= VB_ZERO_GRAIN;
    vmdk_header_report(&h, "x", &facts);
    assert_int_equal(facts.n, 1);
    assert_string_equal(facts.v[0].key, "header_version");
    h.version = 2;
    vmdk_header_report(&h, "x", &facts);
    assert_int_equal(facts.n, 1);
    vd_facts_clear(&facts);
}

static void test_grain_header(void **state)
{
    uint8_t bytes[12] = {0x80, 1, 0, 0, 0, 0, 0, 0, 0x33, 1, 0, 0};
    struct vmdk_grain_header h;
    struct vd_err err = VD_ERR_INIT;

    (void)state;
    vmdk_grain_header_decode(bytes, true, &h);
    assert_int_equal(h.lba, 0x180);
    assert_int_equal(h.data_size, 0x133);
    assert_ok(vmdk_grain_header_validate(&h, 0x180, 65536, &err));
    assert_fails(vmdk_grain_header_validate(&h, 0x100, 65536, &err), VD_ECORRUPT,
                 "sector 384, not of sector 256");
    h.data_size = 0;
    assert_fails(vmdk_grain_header_validate(&h, 0x180, 65536, &err), VD_ECORRUPT, "0 bytes");
    h.data_size = 65536 + 100; /* larger than the grain: allowed */
    assert_ok(vmdk_grain_header_validate(&h, 0x180, 65536, &err));
    h.data_size = 200000;
    assert_fails(vmdk_grain_header_validate(&h, 0x180, 65536, &err), VD_ECORRUPT, "200000");
    vmdk_grain_header_decode(bytes, false, &h);
    assert_int_equal(h.data_size, 0x180);
    assert_ok(vmdk_grain_header_validate(&h, 99, 65536, &err)); /* no address to compare */
}

/* Compresses `len` bytes at `level` with `window_bits`; returns the size. */
static size_t pack(const uint8_t *src, size_t len, int level, uint8_t *dst, size_t size)
{
    z_stream z = {.avail_in = (uInt)len, .avail_out = (uInt)size, .next_out = dst};

    z.next_in = (z_const Bytef *)(uintptr_t)src;
    assert_int_equal(deflateInit2(&z, level, Z_DEFLATED, 9, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    assert_int_equal(deflateEnd(&z), Z_OK);
    return size - z.avail_out;
}

static void test_inflate(void **state)
{
    static uint8_t raw[65536], packed[80000], out[65536], zeros[1 << 20];
    struct vd_err err = VD_ERR_INIT;
    size_t n, got = 0;
    int level;

    (void)state;
    for (level = 0; level <= 9; level++) {
        test_fill(raw, sizeof(raw) / 2, (uint64_t)level + 1);
        n = pack(raw, sizeof(raw), level, packed, sizeof(packed));
        memset(out, 0xee, sizeof(out));
        assert_ok(vmdk_grain_inflate(packed, n, out, sizeof(out), &got, &err));
        assert_int_equal(got, sizeof(raw));
        assert_memory_equal(out, raw, sizeof(raw));
        packed[n] = 0x55; /* padding is ignored */
        assert_ok(vmdk_grain_inflate(packed, n + 1, out, sizeof(out), &got, &err));
    }
    assert_fails(vmdk_grain_inflate(packed, n - 1, out, sizeof(out), &got, &err), VD_ECORRUPT,
                 "cannot be inflated");
    packed[n - 1] ^= 1; /* Adler-32 */
    assert_fails(vmdk_grain_inflate(packed, n, out, sizeof(out), &got, &err), VD_ECORRUPT,
                 "cannot be inflated");
    assert_fails(vmdk_grain_inflate((const uint8_t *)"", 0, out, sizeof(out), &got, &err),
                 VD_ECORRUPT, "cannot be inflated");
    n = pack(zeros, sizeof(zeros), 9, packed, sizeof(packed)); /* a bomb: 1 MiB in 1 KiB */
    assert_true(n < 5000);
    assert_fails(vmdk_grain_inflate(packed, n, out, sizeof(out), &got, &err), VD_ECORRUPT,
                 "more than 65536");
    n = pack(raw, 100, 9, packed, sizeof(packed)); /* shorter is the caller's to judge */
    assert_ok(vmdk_grain_inflate(packed, n, out, sizeof(out), &got, &err));
    assert_int_equal(got, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decode),       cmocka_unit_test(test_magic),
        cmocka_unit_test(test_validate),     cmocka_unit_test(test_footer),
        cmocka_unit_test(test_markers),      cmocka_unit_test(test_report),
        cmocka_unit_test(test_grain_header), cmocka_unit_test(test_inflate),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
