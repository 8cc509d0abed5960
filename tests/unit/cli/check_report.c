/* SPDX-License-Identifier: Apache-2.0 */
/* Bounded however much is found, and nothing that was found is missing from the sums. */
#include "testlib.h"

#include "cli/check_report.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void start(struct check_report *r, struct check *check)
{
    struct vd_err err = VD_ERR_INIT;

    *r = (struct check_report){0};
    assert_ok(check_report_init(r, &err));
    *check = check_report_receiver(r);
}

static void a_million_findings(void **state)
{
    const struct report_head head = {.image = "x.vmdk"};
    struct check_report r;
    struct check check;
    char *text;
    unsigned i;

    (void)state;
    start(&r, &check);
    check_report_section(&r, REPORT_CHAIN);
    for (i = 0; i < 1000000; i++) {
        const struct check_place place = {.in_file = true, .file_off = i};

        check.finding(check.ctx, CHECK_ERROR, "entry_past_end", "x.vmdk", &place, "too far");
    }
    assert_int_equal(r.n_groups, 1);
    assert_int_equal(r.group[0].n, 1000000);
    assert_int_equal(r.group[0].n_v, REPORT_SHOWN);
    assert_int_equal(r.group[0].v[19].place.file_off, 19);
    assert_int_equal(r.n_of[CHECK_ERROR], 1000000);
    assert_string_equal(check_report_verdict(&r), "damaged");
    text = check_report_text(&r, &head);
    assert_non_null(strstr(text, "ERROR entry_past_end, x.vmdk (1,000,000 times)\n"
                                 "       file offset 0: too far\n"));
    assert_non_null(strstr(text, "... and 999,980 more\n"));
    assert_non_null(strstr(text, "VERDICT: DAMAGED: 1,000,000 errors, 0 warnings, 0 notes\n"));
    free(text);
    check_report_clear(&r);
}

static void too_many_groups(void **state)
{
    const struct report_head head = {.image = "x.vmdk"};
    struct check_report r;
    struct check check;
    char *text;
    unsigned i;

    (void)state;
    start(&r, &check);
    for (i = 0; i < REPORT_MAX_GROUPS + 1000; i++) {
        char file[32];

        (void)snprintf(file, sizeof(file), "x-s%05u.vmdk", i);
        check_report_section(&r, i % 3);
        check.finding(check.ctx, CHECK_WARNING, "spare", file, NULL, "differs");
        check.finding(check.ctx, CHECK_WARNING, "spare", file, NULL, "differs");
    }
    assert_int_equal(r.n_groups, REPORT_MAX_GROUPS);
    assert_int_equal(r.n_of[CHECK_WARNING], 2 * (REPORT_MAX_GROUPS + 1000));
    assert_int_equal(r.ungrouped, 2000);
    assert_true(r.n_kept <= REPORT_MAX_KEPT + REPORT_MAX_GROUPS);
    assert_string_equal(check_report_verdict(&r), "doubtful");
    text = check_report_text(&r, &head);
    assert_non_null(strstr(text, "2000 findings are counted but not shown"));
    free(text);
    check_report_clear(&r);
}

static void levels_ids_files_and_members_are_apart(void **state)
{
    struct check_report r;
    struct check check;

    (void)state;
    start(&r, &check);
    check_report_section(&r, 0);
    check.finding(check.ctx, CHECK_NOTE, "a", "f", NULL, "1");
    check.finding(check.ctx, CHECK_WARNING, "a", "f", NULL, "2");
    check.finding(check.ctx, CHECK_NOTE, "b", "f", NULL, "3");
    check.finding(check.ctx, CHECK_NOTE, "a", "g", NULL, "4");
    check_report_section(&r, 1);
    check.finding(check.ctx, CHECK_NOTE, "a", "f", NULL, "5");
    check.finding(check.ctx, CHECK_NOTE, "a", "f", NULL, "6");
    assert_int_equal(r.n_groups, 5);
    assert_int_equal(r.group[4].n, 2);
    check_report_clear(&r);
}

static void notes_are_sound(void **state)
{
    struct check_report r;
    struct check check;

    (void)state;
    start(&r, &check);
    check.finding(check.ctx, CHECK_NOTE, "unreferenced", "f", NULL, "1");
    assert_string_equal(check_report_verdict(&r), "sound");
    check_report_clear(&r);
}

static void counts_and_json(void **state)
{
    const struct check_place place = {.in_file = true,
                                      .file_off = UINT64_MAX,
                                      .on_disk = true,
                                      .disk_off = 512,
                                      .disk_len = 1024};
    const struct report_head head = {
        .image = "x.vmdk", .read = true, .disk_size = 5, .unreadable = 1};
    struct check_report r;
    struct check check;
    json_t *root, *f;
    char *text;

    (void)state;
    start(&r, &check);
    check_report_section(&r, REPORT_DISK);
    check.count(check.ctx, "a.vmdk", "grains", 7);
    check.count(check.ctx, "a.vmdk", "tables", 1);
    check.count(check.ctx, "a.vmdk", "grains", 5);
    check.count(check.ctx, "b.vmdk", "grains", 5);
    assert_int_equal(r.n_counts, 3);
    assert_int_equal(r.count[0].n, 12);
    check.finding(check.ctx, CHECK_ERROR, "unreadable", NULL, &place, "a \"quoted\" text");
    text = check_report_json(&r, &head);
    root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(root);
    assert_int_equal(json_integer_value(json_object_get(root, "errors")), 1);
    f = json_array_get(json_object_get(json_object_get(root, "disk"), "findings"), 0);
    assert_true(json_is_null(json_object_get(f, "file")));
    f = json_array_get(json_object_get(f, "first"), 0);
    assert_string_equal(json_string_value(json_object_get(f, "text")), "a \"quoted\" text");
    assert_string_equal(json_string_value(json_object_get(f, "file_offset")),
                        "18446744073709551615");
    assert_int_equal(json_integer_value(json_object_get(f, "disk_length")), 1024);
    json_decref(root);
    free(text);
    check_report_clear(&r);
}

static void numbers(void **state)
{
    static const struct {
        uint64_t n;
        const char *text;
    } v[] = {{0, "0"},
             {999, "999"},
             {1000, "1,000"},
             {1234567, "1,234,567"},
             {UINT64_MAX, "18,446,744,073,709,551,615"}};
    char out[28];
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
        check_number(v[i].n, out);
        assert_string_equal(out, v[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_million_findings),
        cmocka_unit_test(too_many_groups),
        cmocka_unit_test(levels_ids_files_and_members_are_apart),
        cmocka_unit_test(notes_are_sound),
        cmocka_unit_test(counts_and_json),
        cmocka_unit_test(numbers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
