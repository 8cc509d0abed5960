/* SPDX-License-Identifier: Apache-2.0 */
/* Records as bytes and back: layout, cutting, damage. */
#include "testlib.h"

#include "audit/record.h"
#include "base/bytes.h"
#include "base/crc32c.h"

#include <string.h>

static uint8_t bytes[AUDIT_MAX_RECORD];

static void layout(void **state)
{
    const struct audit_field field = {AUDIT_T_NAME, "abc", 3};
    const struct audit_event event = {.op = AUDIT_READ,
                                      .obj = 0x1122334455667788,
                                      .off = 1,
                                      .len = 2,
                                      .proc = 3,
                                      .result = -5,
                                      .flags = AUDIT_F_NO_PROC,
                                      .fields = &field,
                                      .n_fields = 1};
    uint32_t crc;

    (void)state;
    memset(bytes, 0xaa, sizeof(bytes));
    assert_int_equal(audit_record_encode(&event, -7, 8, bytes), 2);
    audit_record_finish(bytes, 2, 41);
    /* By hand from docs/formats/audit-log.md. */
    assert_int_equal(vd_le64(bytes), 42);
    assert_true((int64_t)vd_le64(bytes + 8) == -7);
    assert_int_equal(vd_le64(bytes + 16), 8);
    assert_true(vd_le64(bytes + 24) == 0x1122334455667788);
    assert_int_equal(vd_le64(bytes + 32), 1);
    assert_int_equal(vd_le64(bytes + 40), 2);
    assert_int_equal(vd_le32(bytes + 48), 3);
    assert_int_equal((int32_t)vd_le32(bytes + 52), -5);
    assert_int_equal(vd_le16(bytes + 56), 36);
    assert_int_equal(bytes[58], 1);
    assert_int_equal(bytes[59], 2);
    assert_memory_equal(bytes + 64,
                        "\x02\x00\x03\x00"
                        "abc\0",
                        8);
    assert_true(vd_all_zero(bytes + 71, 57));
    crc = vd_le32(bytes + 60);
    vd_put_le32(bytes + 60, 0);
    assert_int_equal(crc, vd_crc32c(0, bytes, 128));
}

static void round_trip(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    const struct audit_field fields[] = {
        {AUDIT_T_PATH, "p1/fs/a", 7}, {AUDIT_T_TEXT, "", 0}, {AUDIT_T_PID, "\1\0\0\0", 4}};
    const struct audit_event event = {.op = AUDIT_OPEN, .obj = 9, .fields = fields, .n_fields = 3};
    struct audit_record r;
    struct audit_piece p;
    size_t n = audit_record_encode(&event, 5, 6, bytes), pos = 0;

    (void)state;
    audit_record_finish(bytes, n, 100);
    assert_ok(audit_record_decode(bytes, n * AUDIT_SLOT, &r, &err));
    assert_int_equal(r.seq, 100);
    assert_int_equal(r.op, AUDIT_OPEN);
    assert_true(audit_record_next(&r, &pos, &p));
    assert_int_equal(p.tag, AUDIT_T_PATH);
    assert_memory_equal(p.bytes, "p1/fs/a", 7);
    assert_true(audit_record_next(&r, &pos, &p));
    assert_int_equal(p.tag, AUDIT_T_TEXT);
    assert_int_equal(p.len, 0);
    assert_true(audit_record_next(&r, &pos, &p));
    assert_int_equal(vd_le32(p.bytes), 1);
    assert_false(audit_record_next(&r, &pos, &p));
    assert_true(audit_record_find(&r, AUDIT_T_PID, &p));
    assert_false(audit_record_find(&r, AUDIT_T_EXE, &p));
}

/* The longest field is cut; short ones stay whole. */
static void cut(void **state)
{
    static char text[40000], path[9000];
    struct vd_err err = VD_ERR_INIT;
    const struct audit_field fields[] = {{AUDIT_T_PATH, path, sizeof(path)},
                                         {AUDIT_T_TEXT, text, sizeof(text)},
                                         {AUDIT_T_KEY, "last", 4}};
    const struct audit_event event = {.op = AUDIT_IOERR, .fields = fields, .n_fields = 3};
    struct audit_record r;
    struct audit_piece p;
    size_t n;

    (void)state;
    memset(text, 't', sizeof(text));
    memset(path, 'p', sizeof(path));
    n = audit_record_encode(&event, 0, 0, bytes);
    assert_int_equal(n, 1 + AUDIT_MAX_EXT);
    audit_record_finish(bytes, n, 0);
    assert_ok(audit_record_decode(bytes, sizeof(bytes), &r, &err));
    assert_true(r.flags & AUDIT_F_CUT);
    assert_true(audit_record_find(&r, AUDIT_T_KEY, &p));
    assert_memory_equal(p.bytes, "last", 4);
    assert_true(audit_record_find(&r, AUDIT_T_PATH, &p) && p.len > 8000);
    assert_true(audit_record_find(&r, AUDIT_T_TEXT, &p) && p.len > 8000);
}

static void exact_fit_is_not_cut(void **state)
{
    static char text[AUDIT_MAX_PAYLOAD - 4 + 1];
    struct audit_field field = {AUDIT_T_TEXT, text, sizeof(text) - 1};
    const struct audit_event event = {.op = AUDIT_FACT, .fields = &field, .n_fields = 1};
    struct audit_record r;

    (void)state;
    memset(text, 'x', sizeof(text));
    audit_record_finish(bytes, audit_record_encode(&event, 0, 0, bytes), 0);
    assert_int_equal(audit_record_decode(bytes, sizeof(bytes), &r, NULL), 0);
    assert_int_equal(r.flags, 0);
    field.len++;
    audit_record_finish(bytes, audit_record_encode(&event, 0, 0, bytes), 0);
    assert_int_equal(audit_record_decode(bytes, sizeof(bytes), &r, NULL), 0);
    assert_int_equal(r.flags, AUDIT_F_CUT);
}

static void too_many_fields(void **state)
{
    struct audit_field fields[AUDIT_MAX_FIELDS + 1];
    const struct audit_event event = {
        .op = AUDIT_FACT, .fields = fields, .n_fields = AUDIT_MAX_FIELDS + 1};
    struct audit_record r;
    struct audit_piece p;
    size_t i, pos = 0, seen = 0;

    (void)state;
    for (i = 0; i <= AUDIT_MAX_FIELDS; i++)
        fields[i] = (struct audit_field){AUDIT_T_KEY, "k", 1};
    audit_record_finish(bytes, audit_record_encode(&event, 0, 0, bytes), 0);
    assert_int_equal(audit_record_decode(bytes, sizeof(bytes), &r, NULL), 0);
    while (audit_record_next(&r, &pos, &p))
        seen++;
    assert_int_equal(seen, AUDIT_MAX_FIELDS);
    assert_int_equal(r.flags, AUDIT_F_CUT);
}

static void every_bit_counts(void **state)
{
    const struct audit_field field = {AUDIT_T_NAME, "abc", 3};
    const struct audit_event event = {.op = AUDIT_READ, .fields = &field, .n_fields = 1};
    struct audit_record r;
    size_t n = audit_record_encode(&event, 1, 2, bytes) * AUDIT_SLOT, bit;

    (void)state;
    audit_record_finish(bytes, n / AUDIT_SLOT, 77);
    for (bit = 0; bit < 8 * n; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(audit_record_decode(bytes, n, &r, NULL), -VD_ECORRUPT);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(audit_record_decode(bytes, n, &r, NULL), 0);
}

/* Payloads whose CRC is right and whose fields are not. */
static void malformed_payload(void **state)
{
    static const struct {
        size_t at;
        uint8_t value;
    } wrong[] = {{65, 1}, {66, 200}, {67, 1}, {72, 1}, {127, 1}};
    struct vd_err err = VD_ERR_INIT;
    struct audit_record r;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        const struct audit_field field = {AUDIT_T_NAME, "abc", 3};
        const struct audit_event event = {.op = AUDIT_READ, .fields = &field, .n_fields = 1};

        (void)audit_record_encode(&event, 1, 2, bytes);
        bytes[wrong[i].at] = wrong[i].value;
        audit_record_finish(bytes, 2, 77);
        assert_fails(audit_record_decode(bytes, 128, &r, &err), VD_ECORRUPT, "malformed payload");
    }
}

static void lost_of_every_size(void **state)
{
    size_t slots;

    (void)state;
    for (slots = 1; slots <= 256; slots++) {
        struct audit_record r;
        struct audit_piece p;

        memset(bytes, 0xaa, sizeof(bytes));
        audit_record_lost(bytes, slots, 5, 0, 0, "why");
        assert_int_equal(audit_record_decode(bytes, slots * AUDIT_SLOT, &r, NULL), 0);
        assert_int_equal(r.op, AUDIT_LOST);
        assert_int_equal(r.slots, slots);
        assert_int_equal(r.len, slots);
        assert_int_equal(audit_record_find(&r, AUDIT_T_TEXT, &p), slots > 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layout),
        cmocka_unit_test(round_trip),
        cmocka_unit_test(cut),
        cmocka_unit_test(exact_fit_is_not_cut),
        cmocka_unit_test(too_many_fields),
        cmocka_unit_test(every_bit_counts),
        cmocka_unit_test(malformed_payload),
        cmocka_unit_test(lost_of_every_size),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
