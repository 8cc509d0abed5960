/* SPDX-License-Identifier: Apache-2.0 */
/* The pure part of VHDX's header section: headers, their choice, region tables. */
#include "testlib.h"

#include "../../evil/vhd/build.h"
#include "base/bytes.h"
#include "image/vhdx/vhdx.h"

#include <stdlib.h>
#include <string.h>

#define H1 ((size_t)64 << 10)
#define H2 ((size_t)128 << 10)
#define R1 ((size_t)192 << 10)

static const uint8_t one_block[1] = {6};

static int choose(const struct built *b, struct vhdx_header *out, struct vd_facts *facts,
                  struct vd_err *err)
{
    vd_facts_clear(facts);
    return vhdx_header_choose(b->p + H1, b->p + H2, out, facts, err);
}

static void decode_reads_every_field(void **state)
{
    struct built b = build_vhdx(1, one_block, 1, NULL);
    struct vd_err err = VD_ERR_INIT;
    struct vhdx_header h;
    char text[VHDX_GUID_TEXT_MAX];

    (void)state;
    memcpy(b.p + H1 + 48, test_log_guid, 16);
    vd_put_le16(b.p + H1 + 64, 7);
    vhdx_seal_header(b.p, 1);
    assert_ok(vhdx_header_decode(b.p + H1, 4096, &h, &err));
    assert_int_equal(h.sequence, 7);
    assert_int_equal(h.log_version, 7);
    assert_int_equal(h.version, 1);
    assert_int_equal(h.log_len, VHDX_T_MIB);
    assert_int_equal(h.log_off, VHDX_T_LOG);
    vhdx_guid_text(&h.log_guid, text);
    assert_string_equal(text, "a3a2a1a0-a5a4-a7a6-a8a9-aaabacadaeaf");
    vhdx_guid_text(&h.data_write, text);
    assert_string_equal(text, "22222222-2222-2222-2222-222222222222");
    free(b.p);
}

static void the_current_header_is_chosen(void **state)
{
    struct built b = build_vhdx(1, one_block, 1, NULL);
    struct vd_facts facts = VD_FACTS_INIT;
    struct vd_err err = VD_ERR_INIT;
    struct vhdx_header h;

    (void)state;
    assert_ok(choose(&b, &h, &facts, &err));
    assert_int_equal(h.sequence, 8);
    assert_int_equal(facts.n, 0);

    vd_put_le64(b.p + H1 + 8, 9);
    vhdx_seal_header(b.p, 1);
    assert_ok(choose(&b, &h, &facts, &err));
    assert_int_equal(h.sequence, 9);

    b.p[H1 + 4000] ^= 1; /* the newer one is damaged */
    assert_ok(choose(&b, &h, &facts, &err));
    assert_int_equal(h.sequence, 8);
    assert_true(test_contains(facts.v[0].value, "header 1 is damaged"));

    b.p[H2] = 'x';
    assert_fails(choose(&b, &h, &facts, &err), VD_ECORRUPT,
                 "both headers are damaged: header 1: the checksum is wrong; header 2: the "
                 "signature is missing");

    b.p[H2] = 'h';
    b.p[H1 + 4000] ^= 1;
    b.p[H2 + 80] ^= 1;
    assert_ok(choose(&b, &h, &facts, &err));
    assert_int_equal(h.sequence, 9);
    assert_true(test_contains(facts.v[0].value, "header 2 is damaged"));
    vd_facts_clear(&facts);
    assert_int_equal(vhdx_header_choose(NULL, b.p + H1, &h, &facts, &err), 0);
    assert_true(test_contains(facts.v[0].value, "it cannot be read"));
    vd_facts_clear(&facts);
    free(b.p);
}

static void equal_sequence_numbers(void **state)
{
    struct built b = build_vhdx(1, one_block, 1, NULL);
    struct vd_facts facts = VD_FACTS_INIT;
    struct vd_err err = VD_ERR_INIT;
    struct vhdx_header h;

    (void)state;
    memcpy(b.p + H2, b.p + H1, 4096); /* Disk2vhd */
    assert_ok(choose(&b, &h, &facts, &err));
    assert_int_equal(h.sequence, 7);
    b.p[H2 + 16] ^= 1;
    vhdx_seal_header(b.p, 2);
    assert_fails(choose(&b, &h, &facts, &err), VD_ECORRUPT, "none is current");
    vd_facts_clear(&facts);
    free(b.p);
}

static void header_bounds(void **state)
{
    struct vhdx_header h = {.version = 1, .log_len = 1 << 20, .log_off = 1 << 20}, bad;
    struct vd_err err = VD_ERR_INIT;

    (void)state;
    bad = h;
    bad.log_off = 17; /* nothing to replay: does not matter */
    bad.log_version = 3;
    assert_ok(vhdx_header_validate(&bad, 4 << 20, &err));
    bad.version = 2;
    assert_fails(vhdx_header_validate(&bad, 4 << 20, &err), VD_EUNSUPPORTED, "version 2");

    h.log_guid.b[3] = 1;
    assert_ok(vhdx_header_validate(&h, 4 << 20, &err));
    bad = h;
    bad.log_version = 1;
    assert_fails(vhdx_header_validate(&bad, 4 << 20, &err), VD_EUNSUPPORTED, "log to replay");
    bad = h;
    bad.log_off = 0;
    assert_fails(vhdx_header_validate(&bad, 4 << 20, &err), VD_ECORRUPT, "its place");
    bad.log_off = (1 << 20) + 4096;
    assert_fails(vhdx_header_validate(&bad, 4 << 20, &err), VD_ECORRUPT, "its place");
    bad.log_off = UINT64_MAX - ((1 << 20) - 1);
    assert_fails(vhdx_header_validate(&bad, 4 << 20, &err), VD_ECORRUPT, "its place");
    bad = h;
    bad.log_len = 0;
    assert_fails(vhdx_header_validate(&bad, 4 << 20, &err), VD_ECORRUPT, "its place");
    bad.log_len = 4096;
    assert_fails(vhdx_header_validate(&bad, 4 << 20, &err), VD_ECORRUPT, "its place");
    bad.log_len = 4 << 20;
    assert_fails(vhdx_header_validate(&bad, 4 << 20, &err), VD_ECORRUPT, "its place");
}

static void region_table(void **state)
{
    struct built b = build_vhdx(1, one_block, 1, NULL);
    struct vd_err err = VD_ERR_INIT;
    struct vhdx_regions r;
    uint8_t *t = b.p + R1;

    (void)state;
    assert_ok(vhdx_regions_decode(t, VHDX_TABLE_SIZE, &r, &err));
    assert_int_equal(r.bat.off, VHDX_T_BAT);
    assert_int_equal(r.metadata.off, VHDX_T_METADATA);
    assert_int_equal(r.metadata.len, VHDX_T_MIB);

    vd_put_le32(t + 8, 3); /* something optional that nobody knows */
    memset(t + 80, 0x77, 16);
    vhdx_seal_regions(b.p, 1);
    assert_ok(vhdx_regions_decode(t, VHDX_TABLE_SIZE, &r, &err));
    assert_int_equal(r.n_unknown, 1);
    t[80 + 28] = 1; /* required */
    vhdx_seal_regions(b.p, 1);
    assert_fails(vhdx_regions_decode(t, VHDX_TABLE_SIZE, &r, &err), VD_EUNSUPPORTED,
                 "required region 77777777-7777-7777-7777-777777777777");
    memcpy(t + 80, t + 16, 32);
    vhdx_seal_regions(b.p, 1);
    assert_fails(vhdx_regions_decode(t, VHDX_TABLE_SIZE, &r, &err), VD_ECORRUPT, "twice");
    vd_put_le32(t + 8, 2048);
    vhdx_seal_regions(b.p, 1);
    assert_fails(vhdx_regions_decode(t, VHDX_TABLE_SIZE, &r, &err), VD_ECORRUPT, "2048 entries");
    t[40000] ^= 1;
    assert_fails(vhdx_regions_decode(t, VHDX_TABLE_SIZE, &r, &err), VD_ECORRUPT, "checksum");
    t[0] = 0;
    assert_fails(vhdx_regions_decode(t, VHDX_TABLE_SIZE, &r, &err), VD_ECORRUPT, "signature");
    free(b.p);
}

static void region_bounds(void **state)
{
    const struct vhdx_header h = {.log_len = 1 << 20, .log_off = 1 << 20};
    const struct vhdx_regions good = {.bat = {3 << 20, 1 << 20}, .metadata = {2 << 20, 1 << 20}};
    const uint64_t size = 4 << 20;
    struct vd_err err = VD_ERR_INIT;
    struct vhdx_regions r = good;

    (void)state;
    assert_ok(vhdx_regions_validate(&r, &h, size, &err));
    r.bat.len = 0;
    assert_fails(vhdx_regions_validate(&r, &h, size, &err), VD_ECORRUPT, "BAT region is missing");
    r = good;
    r.metadata.len = 0;
    assert_fails(vhdx_regions_validate(&r, &h, size, &err), VD_ECORRUPT,
                 "metadata region is missing");
    r = good;
    r.bat.off += 4096;
    assert_fails(vhdx_regions_validate(&r, &h, size, &err), VD_ECORRUPT, "1 MiB boundaries");
    r = good;
    r.bat.off = 0;
    assert_fails(vhdx_regions_validate(&r, &h, size, &err), VD_ECORRUPT, "1 MiB boundaries");
    r = good;
    r.bat.len = 2 << 20;
    assert_fails(vhdx_regions_validate(&r, &h, size, &err), VD_ECORRUPT, "passes the end");
    r = good;
    r.bat.off = UINT64_MAX - ((1 << 20) - 1);
    assert_fails(vhdx_regions_validate(&r, &h, size, &err), VD_ECORRUPT, "passes the end");
    r = good;
    r.bat.off = 2 << 20;
    assert_fails(vhdx_regions_validate(&r, &h, size, &err), VD_ECORRUPT,
                 "overlaps the metadata region");
    r = good;
    r.metadata.off = 1 << 20;
    assert_fails(vhdx_regions_validate(&r, &h, size, &err), VD_ECORRUPT, "overlaps the log");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decode_reads_every_field),
        cmocka_unit_test(the_current_header_is_chosen),
        cmocka_unit_test(equal_sequence_numbers),
        cmocka_unit_test(header_bounds),
        cmocka_unit_test(region_table),
        cmocka_unit_test(region_bounds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
