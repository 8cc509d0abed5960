/* SPDX-License-Identifier: Apache-2.0 */
/* The pure part of VHD: footers, their choice, the size rule, the dynamic header. */
#include "testlib.h"

#include "../../evil/vhd/build.h"
#include "image/vhd/vhd.h"

#include <stdlib.h>
#include <string.h>

static struct vhd_footer footer_of(const char *app, unsigned c, unsigned h, unsigned s,
                                   uint64_t current)
{
    struct vhd_footer f = {.version = 0x10000, .disk_type = VHD_DYNAMIC, .current_size = current};

    memcpy(f.creator_app, app, 4);
    f.cylinders = c;
    f.heads = h;
    f.sectors = s;
    return f;
}

static void size_follows_the_creator(void **state)
{
    static const struct {
        const char app[5];
        unsigned c, h, s;
        uint64_t current, size;
    } cases[] = {
        {"vpc ", 65278, 16, 255, UINT64_C(136365211648), UINT64_C(136363130880)},
        {"win ", 65278, 16, 255, UINT64_C(136365211648), UINT64_C(136365211648)},
        {"qemu", 31, 4, 17, 1079296, 1079296},
        {"qemu", 31, 4, 17, 1080000, 1079296},
        {"qem2", 31, 4, 17, 1080000, 1080000},
        {"d2v ", 31, 4, 17, 1080000, 1080000},
        {"tap\0", 31, 4, 17, 1080000, 1080000},
        {"CTXS", 31, 4, 17, 1080000, 1080000},
        {"wa\0\0", 31, 4, 17, 1080000, 1080000},
        {"vbox", 31, 4, 17, 1080000, 1080000},
        /* the largest geometry stands for "larger" */
        {"vpc ", 65535, 16, 255, UINT64_C(200) << 30, UINT64_C(200) << 30},
        /* no geometry, or one that is larger than the disk */
        {"vpc ", 0, 16, 255, 1 << 20, 1 << 20},
        {"qemu", 65535, 255, 255, 1 << 20, 1 << 20},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct vhd_footer f =
            footer_of(cases[i].app, cases[i].c, cases[i].h, cases[i].s, cases[i].current);
        bool from_geometry;

        assert_int_equal(vhd_disk_size(&f, &from_geometry), cases[i].size);
    }
}

static void decode_reads_every_field(void **state)
{
    struct built b = build_vhd_fixed(4096, 1);
    uint8_t *raw = b.p + 4096;
    struct vd_err err = VD_ERR_INIT;
    struct vhd_footer f;
    char text[37], when[32];

    (void)state;
    put_be64(raw + 40, 0x1122334455667788);
    raw[84] = 1;
    vhd_seal_footer(raw, 512);
    assert_ok(vhd_footer_decode(raw, 512, &f, &err));
    assert_true(f.checksum_ok);
    assert_int_equal(f.disk_type, VHD_FIXED);
    assert_int_equal(f.current_size, 4096);
    assert_int_equal(f.original_size, 0x1122334455667788);
    assert_int_equal(f.data_offset, UINT64_MAX);
    assert_int_equal(f.cylinders * 10000 + f.heads * 100 + f.sectors, 10417);
    assert_string_equal(f.creator_app, "win ");
    assert_int_equal(f.saved_state, 1);
    vhd_uuid_text(f.uuid, text);
    assert_string_equal(text, "01020304-0506-0708-090a-0b0c0d0e0f10");
    vhd_time_text(f.timestamp, when);
    assert_string_equal(when, "2000-01-02T00:00:00Z");
    free(b.p);
}

/* Every byte of the footer counts for the checksum. */
static void checksum_covers_everything(void **state)
{
    struct built b = build_vhd_fixed(512, 1);
    struct vhd_footer f;
    size_t i;

    (void)state;
    for (i = 8; i < 512; i++) {
        b.p[512 + i] ^= 0x10;
        assert_int_equal(vhd_footer_decode(b.p + 512, 512, &f, NULL), 0);
        assert_false(f.checksum_ok);
        b.p[512 + i] ^= 0x10;
    }
    assert_int_equal(vhd_footer_decode(b.p + 512, 512, &f, NULL), 0);
    assert_true(f.checksum_ok);
    free(b.p);
}

static void header_bounds(void **state)
{
    const uint8_t present[4] = {1, 1, 1, 1};
    struct built b = build_vhd_dynamic(512, 4, present, 1, NULL);
    struct vd_err err = VD_ERR_INIT;
    struct vhd_header h, bad;

    (void)state;
    assert_ok(vhd_header_decode(b.p + VHD_T_HEADER, 1024, &h, &err));
    assert_true(h.checksum_ok);
    assert_ok(vhd_header_validate(&h, 2048, b.len, &err));

    bad = h;
    bad.block_size = 0;
    assert_fails(vhd_header_validate(&bad, 2048, b.len, &err), VD_ECORRUPT, "block size 0");
    bad.block_size = 256;
    assert_fails(vhd_header_validate(&bad, 2048, b.len, &err), VD_ECORRUPT, "block size 256");
    bad.block_size = 1536;
    assert_fails(vhd_header_validate(&bad, 2048, b.len, &err), VD_ECORRUPT, "power of two");
    bad.block_size = 1u << 31;
    assert_fails(vhd_header_validate(&bad, 2048, b.len, &err), VD_ELIMIT, "over the limit");
    bad = h;
    bad.max_entries = 3;
    assert_fails(vhd_header_validate(&bad, 2048, b.len, &err), VD_ECORRUPT, "only 3 entries");
    bad.max_entries = UINT32_MAX;
    assert_fails(vhd_header_validate(&bad, 2048, b.len, &err), VD_ELIMIT, "allocation table");
    bad = h;
    bad.table_offset = UINT64_MAX - 8;
    assert_fails(vhd_header_validate(&bad, 2048, b.len, &err), VD_ECORRUPT, "not inside the file");
    bad.table_offset = b.len - 15;
    assert_fails(vhd_header_validate(&bad, 2048, b.len, &err), VD_ECORRUPT, "not inside the file");
    bad.table_offset = 0;
    assert_fails(vhd_header_validate(&bad, 2048, b.len, &err), VD_ECORRUPT, "not inside the file");
    bad = h;
    bad.version = 0x20000;
    assert_fails(vhd_header_validate(&bad, 2048, b.len, &err), VD_EUNSUPPORTED, "version");
    /* A wrong checksum is accepted only when the table fits the disk exactly. */
    bad = h;
    bad.checksum_ok = false;
    assert_ok(vhd_header_validate(&bad, 2048, b.len, &err));
    assert_fails(vhd_header_validate(&bad, 1024, b.len, &err), VD_ECORRUPT, "checksum");
    free(b.p);
}

static int choose(const struct built *b, struct vhd_found *found, struct vd_facts *facts,
                  struct vd_err *err)
{
    vd_facts_clear(facts);
    return vhd_footer_choose(b->p, b->p + b->len - 512, b->len, found, facts, err);
}

static void either_footer_is_used_and_said(void **state)
{
    const uint8_t present[2] = {1, 0};
    struct built b = build_vhd_dynamic(512, 2, present, 1, NULL);
    struct vd_facts facts = VD_FACTS_INIT;
    struct vd_err err = VD_ERR_INIT;
    struct vhd_found found;
    uint8_t *tail = b.p + b.len - 512;

    (void)state;
    assert_ok(choose(&b, &found, &facts, &err));
    assert_true(found.from_tail);
    assert_int_equal(found.data_end, b.len - 512);
    assert_int_equal(facts.n, 0);

    tail[100] ^= 1; /* damaged at the end */
    assert_ok(choose(&b, &found, &facts, &err));
    assert_false(found.from_tail);
    assert_int_equal(found.data_end, b.len - 512);
    assert_true(test_contains(facts.v[0].value, "checksum of the footer at the end"));

    b.p[200] ^= 1; /* and at the start, differently */
    assert_fails(choose(&b, &found, &facts, &err), VD_ECORRUPT, "no copy has a right checksum");

    tail[100] ^= 1; /* only at the start */
    assert_ok(choose(&b, &found, &facts, &err));
    assert_true(found.from_tail);
    assert_true(test_contains(facts.v[0].value, "copy at the start of the file is wrong"));

    b.p[200] ^= 1;
    memset(tail, 0, 512); /* none at the end: the file's end belongs to the blocks */
    assert_ok(choose(&b, &found, &facts, &err));
    assert_false(found.from_tail);
    assert_int_equal(found.data_end, b.len);
    assert_true(test_contains(facts.v[0].value, "is missing"));

    memcpy(tail, b.p, 512);
    memset(b.p, 0, 512); /* none at the start */
    assert_ok(choose(&b, &found, &facts, &err));
    assert_true(test_contains(facts.v[0].value, "copy of the footer at the start"));

    memcpy(b.p, tail, 512);
    b.p[27] ^= 1; /* both right, but different: the end counts */
    vhd_seal_footer(b.p, 512);
    assert_ok(choose(&b, &found, &facts, &err));
    assert_true(found.from_tail);
    assert_true(test_contains(facts.v[0].value, "differ"));

    tail[27] ^= 3; /* hand-made files: the same wrong checksum twice */
    memcpy(b.p, tail, 512);
    assert_ok(choose(&b, &found, &facts, &err));
    assert_true(test_contains(facts.v[0].value, "both say the same"));

    memset(b.p, 0, 512);
    memset(tail, 0, 512);
    assert_fails(choose(&b, &found, &facts, &err), VD_ENOTFORMAT, "no VHD footer");
    vd_facts_clear(&facts);
    free(b.p);
}

/* The guest's own first sector may look like a footer; in a fixed disk it is data. */
static void a_vhd_inside_a_fixed_disk_is_data(void **state)
{
    const uint8_t present[2] = {1, 1};
    struct built inner = build_vhd_dynamic(512, 2, present, 1, NULL);
    struct built outer = build_vhd_fixed(inner.len, 9);
    struct vd_facts facts = VD_FACTS_INIT;
    struct vd_err err = VD_ERR_INIT;
    struct vhd_found found;

    (void)state;
    memcpy(outer.p, inner.p, inner.len);
    assert_ok(choose(&outer, &found, &facts, &err));
    assert_int_equal(found.footer.disk_type, VHD_FIXED);
    assert_int_equal(facts.n, 0);
    free(inner.p);
    free(outer.p);
}

static void refused_values(void **state)
{
    struct vhd_footer f = footer_of("win ", 1, 1, 1, 512);
    struct vd_err err = VD_ERR_INIT;

    (void)state;
    assert_ok(vhd_footer_validate(&f, &err));
    f.disk_type = 0;
    assert_fails(vhd_footer_validate(&f, &err), VD_EUNSUPPORTED, "disk type 0");
    f.disk_type = 5;
    assert_fails(vhd_footer_validate(&f, &err), VD_EUNSUPPORTED, "disk type 5");
    f.disk_type = VHD_FIXED;
    f.version = 0x20000;
    assert_fails(vhd_footer_validate(&f, &err), VD_EUNSUPPORTED, "version 0x00020000");
    f.version = 0x10000;
    f.current_size = 0;
    assert_fails(vhd_footer_validate(&f, &err), VD_ECORRUPT, "0 bytes");
    f.current_size = UINT64_C(1) << 63;
    assert_fails(vhd_footer_validate(&f, &err), VD_ECORRUPT, "9223372036854775808 bytes");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(size_follows_the_creator),
        cmocka_unit_test(decode_reads_every_field),
        cmocka_unit_test(checksum_covers_everything),
        cmocka_unit_test(header_bounds),
        cmocka_unit_test(either_footer_is_used_and_said),
        cmocka_unit_test(a_vhd_inside_a_fixed_disk_is_data),
        cmocka_unit_test(refused_values),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
