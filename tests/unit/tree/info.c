/* SPDX-License-Identifier: Apache-2.0 */
/* info.txt and info.json: what they hold, and that no byte of the evidence reaches a terminal or a
 * JSON reader as it is. */
#include "fixture.h"

#include "base/text.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static int setup(void **state)
{
    struct fixture *f = malloc(sizeof(*f));

    if (!f)
        abort();
    fixture_start(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    vd_facts_clear(&f->chain.facts);
    vd_facts_clear(&f->image.facts);
    vd_facts_clear(&f->c.table.facts);
    fixture_stop(f);
    free(f);
    return 0;
}

/* Printable, valid UTF-8, lines of text. */
static void check_printable(const char *text)
{
    size_t i = 0, len = strlen(text);

    assert_true(len > 0 && text[len - 1] == '\n');
    while (i < len) {
        uint32_t cp = 0;
        size_t n = vd_utf8_next(text + i, len - i, &cp);

        if (n == 0 || (cp < 0x20 && cp != '\n') || (cp >= 0x7f && cp < 0xa0) || cp == 0x202e)
            fail_msg("byte %02x at %zu must not be shown", (uint8_t)text[i], i);
        i += n;
    }
}

static json_t *load(const char *text)
{
    json_error_t error;
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &error);

    if (!root)
        fail_msg("line %d: %s", error.line, error.text);
    return root;
}

static void contents(void **state)
{
    static const char *const options[] = {"symlinks=raw", NULL};
    const struct case_context context = {options, "landlock", "/var/log/vdiskfs/1"};
    struct fixture *f = *state;
    char *text, *json, *again;
    json_t *root, *volumes, *v;

    vd_fact_add(&f->chain.facts, VD_FACT_WARNING, "not_the_tip", "newer.vmdk is newer");
    vd_fact_add(&f->image.facts, VD_FACT_INFO, "grain_size", "65536");
    (void)vd_fail(&f->v[0].fs_err, VD_EKEY, "BitLocker volume: locked");
    f->v[0].fs = NULL;
    f->v[0].content = (struct volume_content){.type = "BitLocker", .encrypted = true};
    text = case_info_text(&f->c, &context);
    check_printable(text);
    assert_non_null(strstr(text, "! chain: newer.vmdk is newer"));
    assert_true(strstr(text, "newer.vmdk") < strstr(text, "CHAIN"));
    assert_non_null(strstr(text, "disk.vmdk (only member)"));
    assert_non_null(strstr(text, "vmdk, monolithicSparse"));
    assert_non_null(strstr(text, "cid:12345678"));
    assert_non_null(strstr(text, "modified 2020-09-13T12:26:40.000000005Z"));
    assert_non_null(strstr(text, "grain_size             65536"));
    assert_non_null(strstr(text, "1048576 bytes (1.0 MiB)"));
    assert_non_null(strstr(text, "not shown              BitLocker volume: locked"));
    assert_non_null(strstr(text, "shown in fs/           ntfs, "));
    assert_non_null(strstr(text, "byte 655360 to 1048576"));
    assert_non_null(strstr(text, "symlinks=raw"));
    json = case_info_json(&f->c, &context);
    check_printable(json);
    root = load(json);
    assert_string_equal(json_string_value(json_object_get(root, "format")), "vdiskfs-info");
    assert_int_equal(json_array_size(json_object_get(root, "warnings")), 1);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(root, "disk"), "size")),
                     FIXTURE_DISK_SIZE);
    volumes = json_object_get(root, "volumes");
    assert_int_equal(json_array_size(volumes), 2);
    v = json_array_get(volumes, 0);
    assert_string_equal(json_string_value(json_object_get(v, "name")), "p1");
    assert_true(json_is_null(json_object_get(v, "file_system")));
    assert_string_equal(json_string_value(json_object_get(v, "not_shown")),
                        "BitLocker volume: locked");
    v = json_array_get(volumes, 1);
    assert_true(json_is_null(json_object_get(v, "not_shown")));
    assert_int_equal(json_integer_value(json_object_get(v, "start")), 512 << 10);
    again = case_info_json(&f->c, &context);
    assert_string_equal(again, json);
    json_decref(root);
    free(text);
    free(json);
    free(again);
}

/* Keys are a promise: docs/formats/info-json.md lists them. */
static void keys_are_stable(void **state)
{
    struct fixture *f = *state;
    static const char *const keys[] = {"format",          "version", "program", "warnings",
                                       "facts_dropped",   "point",   "chain",   "disk",
                                       "partition_table", "volumes", "gaps",    "session"};
    char *json = case_info_json(&f->c, NULL);
    json_t *root = load(json);
    size_t i;

    assert_int_equal(json_object_size(root), sizeof(keys) / sizeof(keys[0]));
    for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        assert_non_null(json_object_get(root, keys[i]));
    assert_true(json_is_null(json_object_get(root, "session")));
    json_decref(root);
    free(json);
}

/* Every field that the evidence fills, with every byte value. */
static void hostile_strings(void **state)
{
    static char name[300], parent[300];
    struct fixture *f = *state;
    const struct case_context context = {.sandbox = "\x1b[0m\xff"};
    char all[256], *text;
    json_t *root;
    unsigned i;

    for (i = 1; i < 256; i++)
        all[i - 1] = (char)i;
    memcpy(all + 10, "\xe2\x80\xae\"\\</", 7);
    all[255] = '\0';
    memcpy(name, all, 256);
    memcpy(parent, all, 256);
    f->image.name = name;
    f->image.has_parent = true;
    f->image.parent_path = parent;
#define FILL(field) memcpy(field, all + 3, sizeof(field) - 1)
    FILL(f->image.kind);
    FILL(f->image.identity);
    FILL(f->image.parent_identity[0]);
    FILL(f->c.table.disk_id);
    for (i = 0; i < 2; i++) {
        FILL(f->v[i].part.type);
        FILL(f->v[i].part.type_name);
        FILL(f->v[i].part.uuid);
        FILL(f->v[i].part.name);
        FILL(f->v[i].content.type);
        FILL(f->v[i].content.label);
        FILL(f->v[i].content.uuid);
        FILL(fakefs_fs(f->fake[i])->info.label);
        FILL(fakefs_fs(f->fake[i])->info.uuid);
        FILL(fakefs_fs(f->fake[i])->info.type);
    }
    f->v[1].fs = NULL;
    memcpy(f->v[1].fs_err.msg, all, sizeof(all));
    text = case_info_text(&f->c, &context);
    check_printable(text);
    free(text);
    for (i = 0; i < 2; i++) {
        text = case_volume_text(&f->c, i);
        check_printable(text);
        free(text);
    }
    text = case_info_json(&f->c, &context);
    check_printable(text);
    root = load(text);
    json_decref(root);
    free(text);
}

static void the_disk_alone(void **state)
{
    struct fixture *f = *state;
    char *text, *json;
    json_t *root;

    f->c.v = NULL;
    f->c.n = 0;
    f->c.table = (struct volume_table){.scheme = VOLUME_NONE};
    text = case_info_text(&f->c, NULL);
    assert_null(strstr(text, "PARTITION"));
    assert_null(strstr(text, "VOLUMES"));
    assert_non_null(strstr(text, "WARNINGS\n  none\n"));
    json = case_info_json(&f->c, NULL);
    root = load(json);
    assert_true(json_is_null(json_object_get(root, "partition_table")));
    assert_int_equal(json_array_size(json_object_get(root, "volumes")), 0);
    json_decref(root);
    free(text);
    free(json);
}

static void facts_that_do_not_fit(void **state)
{
    struct fixture *f = *state;
    char *text;
    int i;

    for (i = 0; i < 4096; i++)
        vd_fact_add(&f->chain.facts, VD_FACT_INFO, "k", "%d", i);
    vd_fact_add(&f->c.table.facts, VD_FACT_WARNING, "overlap", "kept");
    vd_fact_add(&f->c.table.facts, VD_FACT_INFO, "k", "one more");
    text = case_info_text(&f->c, NULL);
    assert_non_null(strstr(text, "! partition table: kept")); /* warnings have room of their own */
    assert_null(strstr(text, "one more"));
    assert_non_null(strstr(text, "more facts or warnings are not in this text"));
    free(text);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(contents),       TEST(keys_are_stable),       TEST(hostile_strings),
        TEST(the_disk_alone), TEST(facts_that_do_not_fit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
