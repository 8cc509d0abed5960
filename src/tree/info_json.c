/* SPDX-License-Identifier: Apache-2.0 */
/*
 * info.json: for programs.  EVERY change here must be made in docs/formats/info-json.md as well.
 * Keys are never renamed or given another meaning; new ones may be added.  What is not known is
 * null, numbers are integers, times ISO 8601 in UTC, all strings printable.
 */
#include "tree/info_facts.h"
#include "tree/timetext.h"

#include "base/text.h"
#include "base/version.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INFO_JSON_VERSION 1

/* An object or array being filled; one flag for all failures (memory). */
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

/* Text, made printable; "" and NULL are null. */
static json_t *text(const char *value)
{
    char *shown;
    json_t *v;

    if (!value || !value[0])
        return json_null();
    shown = info_printable(value);
    v = shown ? json_string(shown) : NULL;
    free(shown);
    return v;
}

static json_t *number(uint64_t value)
{
    char digits[32];

    if (value <= INT64_MAX)
        return json_integer((json_int_t)value);
    (void)snprintf(digits, sizeof(digits), "%" PRIu64, value); /* no integer of the library's */
    return json_string(digits);
}

static json_t *facts_of(struct json *j, const struct info_facts *facts, enum info_scope scope,
                        size_t index)
{
    json_t *array = json_array();
    size_t i;

    for (i = 0; i < facts->n; i++) {
        const struct info_fact *f = &facts->v[i];
        json_t *o;

        if (f->scope != scope || f->index != index || f->kind != VD_FACT_INFO)
            continue;
        o = json_object();
        if (scope == INFO_LAYER)
            put(j, o, "layer", text(f->layer));
        put(j, o, "key", text(f->key));
        put(j, o, "value", text(f->value));
        append(j, array, o);
    }
    return array;
}

static json_t *warnings(struct json *j, const struct info_facts *facts)
{
    json_t *array = json_array();
    size_t i;

    for (i = 0; i < facts->n; i++) {
        const struct info_fact *f = &facts->v[i];
        json_t *o;

        if (f->kind != VD_FACT_WARNING)
            continue;
        o = json_object();
        put(j, o, "about", text(f->layer));
        put(j, o, "topic", text(f->key));
        put(j, o, "text", text(f->value));
        append(j, array, o);
    }
    return array;
}

static json_t *program(struct json *j)
{
    json_t *o = json_object();

    put(j, o, "name", json_string("vdiskfs"));
    put(j, o, "version", text(VD_VERSION));
    put(j, o, "build", text(VD_BUILD));
    put(j, o, "libraries", text(case_library_versions()));
    return o;
}

static json_t *share(struct json *j, const struct case_context *context, size_t i)
{
    const struct contribution *of = context ? context->share : NULL;
    json_t *o;

    if (!of)
        return json_null();
    o = json_object();
    put(j, o, "data", number(of[i].data));
    put(j, o, "zeros", number(of[i].zeros));
    put(j, o, "unreadable", number(of[i].unreadable));
    put(j, o, "stored", number(of[i].stored));
    return o;
}

static json_t *when_or_null(bool known, int64_t sec, uint32_t nsec)
{
    char when[TIMETEXT_MAX];

    if (!known)
        return json_null();
    timetext_format(sec, nsec, when);
    return json_string(when);
}

static json_t *snapshot(struct json *j, const struct vd_point *c, const struct vm_snapshot *snap)
{
    json_t *o = json_object(), *disks = json_array();
    size_t i;

    put(j, o, "uid", number(snap->uid));
    put(j, o, "parent", snap->parent == VM_NONE ? json_null() : number(snap->parent));
    put(j, o, "name", text(snap->name));
    put(j, o, "description", text(snap->description));
    put(j, o, "created", when_or_null(snap->has_created, snap->created_sec, snap->created_nsec));
    for (i = 0; i < snap->n_disks; i++)
        append(j, disks, text(snap->disk[i].file));
    put(j, o, "disks", disks);
    put(j, o, "member",
        snap->member < c->chain->n ? text(c->chain->v[snap->member]->name) : json_null());
    return o;
}

/* The snapshot trees of the virtual machine's own files. */
static json_t *machines(struct json *j, const struct vd_point *c)
{
    json_t *array = json_array();
    size_t i, k;

    for (i = 0; i < c->chain->vm.n && !case_is_older(c); i++) {
        const struct vm_snapshots *t = &c->chain->vm.v[i];
        json_t *o = json_object(), *list = json_array();

        put(j, o, "file", text(t->file));
        put(j, o, "machine", text(t->machine));
        put(j, o, "current", t->current == VM_NONE ? json_null() : number(t->current));
        for (k = 0; k < t->n; k++)
            append(j, list, snapshot(j, c, &t->v[k]));
        put(j, o, "snapshots", list);
        append(j, array, o);
    }
    return array;
}

static json_t *member(struct json *j, const struct vd_point *c, const struct info_facts *facts,
                      const struct case_context *context, size_t i)
{
    const struct image *m = c->chain->v[i];
    json_t *o = json_object(), *file = json_object(), *parents = json_array();
    char when[TIMETEXT_MAX];
    size_t k;

    put(j, o, "role", json_string(info_role(c->chain, i)));
    put(j, o, "name", text(m->name));
    put(j, o, "directory", number(m->dir));
    put(j, o, "format", text(m->format->name));
    put(j, o, "kind", text(m->kind));
    put(j, o, "size", number(m->dev->size));
    put(j, o, "identity", text(m->identity));
    put(j, o, "has_parent", json_boolean(m->has_parent));
    for (k = 0; k < 2 && m->has_parent; k++)
        if (m->parent_identity[k][0])
            append(j, parents, text(m->parent_identity[k]));
    put(j, o, "parent_identities", parents);
    put(j, o, "parent_path", text(m->parent_path));
    timetext_format(m->file.mtime_sec, m->file.mtime_nsec, when);
    put(j, file, "size", number(m->file.size));
    put(j, file, "mtime", json_string(when));
    put(j, file, "block_device", json_boolean(m->file.is_block));
    put(j, o, "file", file);
    put(j, o, "time", when_or_null(m->has_time, m->time, 0));
    put(j, o, "gives", share(j, context, i));
    put(j, o, "facts", facts_of(j, facts, INFO_IMAGE, i));
    return o;
}

static json_t *chain(struct json *j, const struct vd_point *c, const struct info_facts *facts,
                     const struct case_context *context)
{
    json_t *o = json_object(), *members = json_array();
    size_t i;

    for (i = c->first; i < c->chain->n; i++)
        append(j, members, member(j, c, facts, context, i));
    put(j, o, "members", members);
    put(j, o, "machines", machines(j, c));
    put(j, o, "facts", facts_of(j, facts, INFO_CHAIN, 0));
    return o;
}

static json_t *point(struct json *j, const struct vd_point *c)
{
    const struct chain_name *name = c->chain->name ? &c->chain->name[c->member] : NULL;
    json_t *o = json_object(), *snapshot = name && name->name ? json_object() : json_null();
    char when[TIMETEXT_MAX];

    put(j, o, "number", number(case_point_number(c->chain, c->member)));
    put(j, o, "newest_number", number(c->chain->n - 1));
    put(j, o, "member", text(c->chain->v[c->member]->name));
    if (name && name->name) {
        put(j, snapshot, "name", text(name->name));
        put(j, snapshot, "description", text(name->description));
        if (name->has_created)
            timetext_format(name->created_sec, name->created_nsec, when);
        put(j, snapshot, "created", name->has_created ? json_string(when) : json_null());
    }
    put(j, o, "snapshot", snapshot);
    return o;
}

static json_t *disk(struct json *j, const struct vd_point *c, const struct info_facts *facts)
{
    json_t *o = json_object();

    put(j, o, "size", number(c->disk->size));
    put(j, o, "sector_size", number(c->disk->sector_size));
    put(j, o, "facts", facts_of(j, facts, INFO_LAYER, 0));
    return o;
}

static json_t *partition_table(struct json *j, const struct vd_point *c,
                               const struct info_facts *facts)
{
    json_t *o;

    if (!c->table.sector_size)
        return json_null(); /* the disk alone was asked for */
    o = json_object();
    put(j, o, "scheme", text(volume_scheme_name(c->table.scheme)));
    put(j, o, "unit", number(c->table.sector_size));
    put(j, o, "id", text(c->table.disk_id));
    put(j, o, "facts", facts_of(j, facts, INFO_TABLE, 0));
    return o;
}

static json_t *file_system(struct json *j, const struct case_volume *v)
{
    const struct fs_info *info;
    json_t *o;

    if (!v->fs)
        return json_null();
    info = fs_get_info(v->fs);
    o = json_object();
    put(j, o, "type", text(info->type));
    put(j, o, "label", text(info->label));
    put(j, o, "uuid", text(info->uuid));
    put(j, o, "block_size", number(info->block_size));
    put(j, o, "blocks", number(info->n_blocks));
    put(j, o, "root_address", number(info->root_addr));
    put(j, o, "last_address", number(info->last_addr));
    return o;
}

static json_t *volume(struct json *j, const struct vd_point *c, const struct info_facts *facts,
                      size_t i)
{
    const struct case_volume *v = &c->v[i];
    json_t *o = json_object(), *part = json_object(), *content = json_object();
    char name[16];

    info_volume_name(c, i, name);
    put(j, o, "name", json_string(name));
    put(j, o, "number", number(v->part.number));
    put(j, o, "start", number(v->part.start));
    put(j, o, "size", number(v->part.size));
    put(j, part, "type", text(v->part.type));
    put(j, part, "type_name", text(v->part.type_name));
    put(j, part, "uuid", text(v->part.uuid));
    put(j, part, "name", text(v->part.name));
    put(j, part, "active", json_boolean(v->part.active));
    put(j, part, "cut", json_boolean(v->part.cut));
    put(j, o, "partition", part);
    put(j, content, "type", text(v->content.type));
    put(j, content, "label", text(v->content.label));
    put(j, content, "uuid", text(v->content.uuid));
    put(j, content, "encrypted", json_boolean(v->content.encrypted));
    put(j, content, "container", json_boolean(v->content.container));
    put(j, content, "ambiguous", json_boolean(v->content.ambiguous));
    put(j, o, "content", content);
    put(j, o, "file_system", file_system(j, v));
    put(j, o, "not_shown", v->fs ? json_null() : text(info_not_shown(v)));
    put(j, o, "facts", facts_of(j, facts, INFO_VOLUME, i));
    return o;
}

static json_t *volumes(struct json *j, const struct vd_point *c, const struct info_facts *facts)
{
    json_t *array = json_array();
    size_t i;

    for (i = 0; i < c->n; i++)
        append(j, array, volume(j, c, facts, i));
    return array;
}

static json_t *gaps(struct json *j, const struct vd_point *c)
{
    json_t *array = json_array();
    size_t i;

    for (i = 0; i < c->table.n_gaps; i++) {
        json_t *o = json_object();

        put(j, o, "start", number(c->table.gap[i].start));
        put(j, o, "size", number(c->table.gap[i].size));
        append(j, array, o);
    }
    return array;
}

static json_t *session(struct json *j, const struct case_context *context)
{
    json_t *o, *options;
    const char *const *option;

    if (!context)
        return json_null();
    o = json_object();
    options = json_array();
    for (option = context->option; option && *option; option++)
        append(j, options, text(*option));
    put(j, o, "options", options);
    put(j, o, "sandbox", text(context->sandbox));
    put(j, o, "audit_log", text(context->audit));
    put(j, o, "audit_key", text(context->audit_key));
    put(j, o, "audit_mode", text(context->audit_mode));
    return o;
}

char *case_info_json(const struct vd_point *c, const struct case_context *context)
{
    struct json j = {.failed = false};
    struct info_facts facts;
    json_t *root;
    struct vd_str line = VD_STR_INIT;
    char *out = NULL;

    /* The library would open /dev/urandom for its hash tables; all keys are ours. */
    json_object_seed(1);
    info_facts_collect(c, &facts);
    root = json_object();
    put(&j, root, "format", json_string("vdiskfs-info"));
    put(&j, root, "version", json_integer(INFO_JSON_VERSION));
    put(&j, root, "program", program(&j));
    put(&j, root, "warnings", warnings(&j, &facts));
    put(&j, root, "facts_dropped", number(facts.dropped));
    put(&j, root, "point", point(&j, c));
    put(&j, root, "chain", chain(&j, c, &facts, context));
    put(&j, root, "disk", disk(&j, c, &facts));
    put(&j, root, "partition_table", partition_table(&j, c, &facts));
    put(&j, root, "volumes", volumes(&j, c, &facts));
    put(&j, root, "gaps", gaps(&j, c));
    put(&j, root, "session", session(&j, context));
    if (!j.failed && !facts.failed)
        out = json_dumps(root, JSON_INDENT(2));
    json_decref(root);
    info_facts_clear(&facts);
    if (!out)
        return NULL;
    vd_str_addf(&line, "%s\n", out); /* a text file ends in a line end */
    free(out);
    return vd_str_take(&line);
}
