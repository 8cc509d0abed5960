/* SPDX-License-Identifier: Apache-2.0 */
/* The report of a check, for programs.  EVERY change here must be made in docs/formats/check-json.md
 * as well.  Keys are never renamed or given another meaning; new ones may be added. */
#include "base/version.h"
#include "cli/check_report.h"
#include "image/image.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK_JSON_VERSION 1

static const char *const level_word[] = {
    [CHECK_NOTE] = "note", [CHECK_WARNING] = "warning", [CHECK_ERROR] = "error"};

/* One flag for all failures (memory). */
struct json {
    bool failed;
};

static void put(struct json *j, json_t *object, const char *key, json_t *value)
{
    if (json_object_set_new(object, key, value)) /* fails too when value is NULL */
        j->failed = true;
}

static void append(struct json *j, json_t *array, json_t *value)
{
    if (json_array_append_new(array, value))
        j->failed = true;
}

static json_t *number(uint64_t value)
{
    char digits[32];

    if (value <= INT64_MAX)
        return json_integer((json_int_t)value);
    (void)snprintf(digits, sizeof(digits), "%" PRIu64, value);
    return json_string(digits);
}

static json_t *text(const char *value)
{
    return value && value[0] ? json_string(value) : json_null();
}

static json_t *finding(struct json *j, const struct report_finding *f)
{
    bool in_file = f->has_place && f->place.in_file, on_disk = f->has_place && f->place.on_disk;
    json_t *o = json_object();

    put(j, o, "file_offset", in_file ? number(f->place.file_off) : json_null());
    put(j, o, "disk_offset", on_disk ? number(f->place.disk_off) : json_null());
    put(j, o, "disk_length", on_disk ? number(f->place.disk_len) : json_null());
    put(j, o, "text", json_string(f->text));
    return o;
}

static json_t *findings(struct json *j, const struct check_report *r, size_t section)
{
    json_t *array = json_array();
    size_t i, k;

    for (i = 0; i < r->n_groups; i++) {
        const struct report_group *g = &r->group[i];
        json_t *o, *shown;

        if (g->section != section)
            continue;
        o = json_object();
        shown = json_array();
        put(j, o, "level", json_string(level_word[g->level]));
        put(j, o, "id", json_string(g->id));
        put(j, o, "file", text(g->file));
        put(j, o, "n", number(g->n));
        for (k = 0; k < g->n_v; k++)
            append(j, shown, finding(j, &g->v[k]));
        put(j, o, "first", shown);
        append(j, array, o);
    }
    return array;
}

static json_t *looked_at(struct json *j, const struct check_report *r, size_t section)
{
    json_t *array = json_array();
    size_t i;

    for (i = 0; i < r->n_counts; i++) {
        const struct report_count *c = &r->count[i];
        json_t *o;

        if (c->section != section)
            continue;
        o = json_object();
        put(j, o, "file", text(c->file));
        put(j, o, "what", json_string(c->what));
        put(j, o, "n", number(c->n));
        append(j, array, o);
    }
    return array;
}

static json_t *member(struct json *j, const struct check_report *r, const struct report_member *m,
                      size_t i)
{
    json_t *o = json_object();

    put(j, o, "name", text(m->image->name));
    put(j, o, "directory", number(m->image->dir));
    put(j, o, "role", text(m->role));
    put(j, o, "format", text(m->image->format->name));
    put(j, o, "kind", text(m->image->kind));
    put(j, o, "size", number(m->image->dev->size));
    put(j, o, "file_size", number(m->image->file.size));
    put(j, o, "identity", text(m->image->identity));
    put(j, o, "link", text(m->linked));
    put(j, o, "looked_at", looked_at(j, r, i));
    put(j, o, "findings", findings(j, r, i));
    return o;
}

static json_t *disk(struct json *j, const struct check_report *r, const struct report_head *head)
{
    json_t *o;

    if (!head->read)
        return json_null();
    o = json_object();
    put(j, o, "size", number(head->disk_size));
    put(j, o, "unreadable", number(head->unreadable));
    put(j, o, "findings", findings(j, r, REPORT_DISK));
    return o;
}

static json_t *chain(struct json *j, const struct check_report *r, const struct report_head *head)
{
    json_t *o = json_object(), *members = json_array();
    size_t i;

    put(j, o, "complete", json_boolean(head->complete));
    for (i = 0; i < head->n_members; i++)
        append(j, members, member(j, r, &head->member[i], i));
    put(j, o, "members", members);
    put(j, o, "findings", findings(j, r, REPORT_CHAIN));
    return o;
}

char *check_report_json(const struct check_report *report, const struct report_head *head)
{
    struct json j = {.failed = report->failed};
    json_t *root;
    char *out = NULL;

    /* The library would open /dev/urandom for its hash tables; all keys are ours. */
    json_object_seed(1);
    root = json_object();
    put(&j, root, "format", json_string("vdiskfs-check"));
    put(&j, root, "version", json_integer(CHECK_JSON_VERSION));
    put(&j, root, "program", json_string(VD_VERSION));
    put(&j, root, "build", json_string(VD_BUILD));
    put(&j, root, "image", text(head->image));
    put(&j, root, "verdict", json_string(check_report_verdict(report)));
    put(&j, root, "errors", number(report->n_of[CHECK_ERROR]));
    put(&j, root, "warnings", number(report->n_of[CHECK_WARNING]));
    put(&j, root, "notes", number(report->n_of[CHECK_NOTE]));
    put(&j, root, "ungrouped", number(report->ungrouped));
    put(&j, root, "chain", chain(&j, report, head));
    put(&j, root, "disk", disk(&j, report, head));
    if (!j.failed)
        out = json_dumps(root, JSON_INDENT(2));
    json_decref(root);
    return out;
}
