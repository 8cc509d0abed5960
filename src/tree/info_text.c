/* SPDX-License-Identifier: Apache-2.0 */
/*
 * info.txt: for people.  Warnings first.  Apart from the first lines (program) and the last section
 * (this session) the text depends on the evidence alone, so that two examiners get the same text.
 * All evidence strings are made printable; times are UTC.
 */
#include "tree/info_facts.h"
#include "tree/info_tree.h"
#include "tree/timetext.h"

#include "base/text.h"
#include "base/version.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_WIDTH 22

/* "  key           value"; evidence text is made printable here. */
static void add_line(struct vd_str *s, int indent, const char *key, const char *value)
{
    char *shown = info_printable(value);

    if (!shown)
        s->failed = true;
    else
        vd_str_addf(s, "%*s%-*s %s\n", indent, "", KEY_WIDTH, key, shown);
    free(shown);
}

static void add_known(struct vd_str *s, int indent, const char *key, const char *value)
{
    if (value && value[0])
        add_line(s, indent, key, value);
}

/* "1048576 bytes (1.0 MiB)" */
static void format_size(uint64_t bytes, char *out, size_t size)
{
    char human[32];

    vd_text_size(bytes, human, sizeof(human));
    if (bytes < 1024)
        (void)snprintf(out, size, "%s", human);
    else
        (void)snprintf(out, size, "%" PRIu64 " bytes (%s)", bytes, human);
}

static void add_size(struct vd_str *s, int indent, const char *key, uint64_t bytes)
{
    char text[80];

    format_size(bytes, text, sizeof(text));
    add_line(s, indent, key, text);
}

static void add_number(struct vd_str *s, int indent, const char *key, uint64_t value)
{
    char text[32];

    (void)snprintf(text, sizeof(text), "%" PRIu64, value);
    add_line(s, indent, key, text);
}

static void add_heading(struct vd_str *s, const char *text)
{
    vd_str_addf(s, "\n%s\n", text);
}

/* ---- facts ---- */

static void add_facts(struct vd_str *s, int indent, const struct info_facts *facts,
                      enum info_scope scope, size_t index)
{
    size_t i;

    for (i = 0; i < facts->n; i++) {
        const struct info_fact *f = &facts->v[i];

        if (f->scope == scope && f->index == index && f->kind == VD_FACT_INFO &&
            strncmp(f->key, "file_system", 11) != 0) /* add_volume says these */
            vd_str_addf(s, "%*s%-*s %s\n", indent, "", KEY_WIDTH, f->key, f->value);
    }
}

static void add_warnings(struct vd_str *s, const struct info_facts *facts, bool all, size_t volume)
{
    size_t i, n = 0;

    for (i = 0; i < facts->n; i++) {
        const struct info_fact *f = &facts->v[i];

        if (f->kind != VD_FACT_WARNING || (!all && (f->scope != INFO_VOLUME || f->index != volume)))
            continue;
        if (n++ == 0)
            add_heading(s, "WARNINGS");
        vd_str_addf(s, "  ! %s%s%s\n", f->layer, f->layer[0] ? ": " : "", f->value);
    }
    if (all && facts->dropped) {
        if (n++ == 0)
            add_heading(s, "WARNINGS");
        vd_str_addf(s, "  ! %zu more facts or warnings are not in this text\n", facts->dropped);
    }
    if (n == 0) {
        add_heading(s, "WARNINGS");
        vd_str_add(s, "  none\n");
    }
}

/* ---- sections ---- */

static void add_member(struct vd_str *s, const struct vd_point *c, const struct info_facts *facts,
                       size_t i)
{
    const struct image *m = c->chain->v[i];
    char text[160], when[TIMETEXT_MAX], size[80];
    bool kind = m->kind[0] && strcmp(m->kind, m->format->name) != 0;
    char *name = info_printable(m->name);

    if (!name) {
        s->failed = true;
        return;
    }
    if (case_is_older(c) && i != c->member) {
        char *identity = info_printable(m->identity);

        vd_str_addf(s, "  %zu. %s (%s), %s%s%s\n", i - c->first + 1, name, info_role(c->chain, i),
                    m->format->name, m->identity[0] ? ", " : "", identity ? identity : "");
        s->failed |= !identity;
        free(identity);
        free(name);
        return;
    }
    vd_str_addf(s, "  %zu. %s (%s)\n", i - c->first + 1, name, info_role(c->chain, i));
    free(name);
    (void)snprintf(text, sizeof(text), "%s%s%s", m->format->name, kind ? ", " : "",
                   kind ? m->kind : "");
    add_line(s, 6, "format", text);
    add_size(s, 6, "disk size", m->dev->size);
    timetext_format(m->file.mtime_sec, m->file.mtime_nsec, when);
    format_size(m->file.size, size, sizeof(size));
    (void)snprintf(text, sizeof(text), "%s, modified %s%s", size, when,
                   m->file.is_block ? ", block device" : "");
    add_line(s, 6, "file", text);
    add_known(s, 6, "identity", m->identity);
    if (m->has_parent) {
        add_line(s, 6, "parent",
                 m->parent_identity[0][0] ? m->parent_identity[0] : "yes, without an identity");
        add_known(s, 6, "or", m->parent_identity[1]);
        add_known(s, 6, "parent file", m->parent_path);
    }
    add_facts(s, 6, facts, INFO_IMAGE, i);
}

/* Which point in time this is. */
static void add_point(struct vd_str *s, const struct vd_point *c)
{
    const struct chain_name *name = c->chain->name ? &c->chain->name[c->member] : NULL;
    size_t number = case_point_number(c->chain, c->member);
    char text[TIMETEXT_MAX + 64];

    if (c->chain->n == 1 && !name)
        return;
    add_heading(s, "POINT IN TIME");
    (void)snprintf(text, sizeof(text), "%zu%s (counted from the base, which is 0)", number,
                   c->member == 0 ? ", the newest" : "");
    add_line(s, 2, "number", text);
    add_line(s, 2, "newest member", c->chain->v[c->member]->name);
    if (!name)
        return;
    add_known(s, 2, "frozen by the snapshot", name->name);
    add_known(s, 2, "description", name->description);
    if (name->has_created) {
        timetext_format(name->created_sec, name->created_nsec, text);
        add_line(s, 2, "created", text);
    }
}

static void add_chain(struct vd_str *s, const struct vd_point *c, const struct info_facts *facts)
{
    size_t i;

    vd_str_addf(s, "\nCHAIN (%zu member%s, newest first%s)\n", c->chain->n - c->first,
                c->chain->n - c->first == 1 ? "" : "s",
                case_is_older(c) ? "; more in info.txt of the mount's root" : "");
    for (i = c->first; i < c->chain->n; i++)
        add_member(s, c, facts, i);
    add_facts(s, 2, facts, INFO_CHAIN, 0);
}

static void add_disk(struct vd_str *s, const struct vd_point *c, const struct info_facts *facts)
{
    size_t i;

    add_heading(s, "DISK");
    add_size(s, 2, "size", c->disk->size);
    if (c->table.scheme != VOLUME_NONE && c->table.sector_size &&
        c->table.sector_size != c->disk->sector_size) {
        char text[96];

        (void)snprintf(text, sizeof(text),
                       "%" PRIu32 " in the image, %" PRIu32 " by the partition table",
                       c->disk->sector_size, c->table.sector_size);
        add_line(s, 2, "sector size", text);
    } else {
        add_number(s, 2, "sector size", c->disk->sector_size);
    }
    for (i = 0; i < facts->n; i++)
        if (facts->v[i].scope == INFO_LAYER && facts->v[i].kind == VD_FACT_INFO)
            vd_str_addf(s, "  %-*s %s%s%s\n", KEY_WIDTH, facts->v[i].key, facts->v[i].layer,
                        facts->v[i].layer[0] ? ": " : "", facts->v[i].value);
}

static void add_table(struct vd_str *s, const struct vd_point *c, const struct info_facts *facts)
{
    add_heading(s, "PARTITION TABLE");
    add_line(s, 2, "scheme", volume_scheme_name(c->table.scheme));
    if (c->table.scheme != VOLUME_NONE)
        add_number(s, 2, "unit", c->table.sector_size);
    add_known(s, 2, "identifier", c->table.disk_id);
    add_facts(s, 2, facts, INFO_TABLE, 0);
}

static void add_file_system(struct vd_str *s, const struct case_volume *v, int indent)
{
    const struct fs_info *info = fs_get_info(v->fs);
    char text[128];

    (void)snprintf(text, sizeof(text), "%s, %" PRIu64 " blocks of %" PRIu32 " bytes", info->type,
                   info->n_blocks, info->block_size);
    add_line(s, indent, "shown in fs/", text);
    if (strcmp(info->label, v->content.label) != 0)
        add_known(s, indent, "label in fs/", info->label);
    if (strcasecmp(info->uuid, v->content.uuid) != 0)
        add_known(s, indent, "uuid in fs/", info->uuid);
}

static void add_volume(struct vd_str *s, const struct vd_point *c, const struct info_facts *facts,
                       size_t i, int indent)
{
    const struct case_volume *v = &c->v[i];
    char text[128];

    (void)snprintf(text, sizeof(text), "byte %" PRIu64 " to %" PRIu64, v->part.start,
                   v->part.start + v->part.size);
    add_line(s, indent, "place", text);
    add_size(s, indent, "size", v->part.size);
    if (v->part.type[0]) {
        (void)snprintf(text, sizeof(text), "%s%s%s%s", v->part.type,
                       v->part.type_name[0] ? " (" : "", v->part.type_name,
                       v->part.type_name[0] ? ")" : "");
        add_line(s, indent, "partition type", text);
    }
    add_known(s, indent, "partition id", v->part.uuid);
    add_known(s, indent, "partition name", v->part.name);
    if (v->part.active)
        add_line(s, indent, "bootable", "yes");
    add_line(s, indent, "content", v->content.type[0] ? v->content.type : "not recognised");
    add_known(s, indent, "label", v->content.label);
    add_known(s, indent, "uuid", v->content.uuid);
    if (v->fs)
        add_file_system(s, v, indent);
    else
        add_line(s, indent, "not shown", info_not_shown(v));
    add_facts(s, indent, facts, INFO_VOLUME, i);
}

static void add_volumes(struct vd_str *s, const struct vd_point *c, const struct info_facts *facts)
{
    char name[16];
    size_t i;

    if (!c->n)
        return;
    add_heading(s, "VOLUMES");
    for (i = 0; i < c->n; i++) {
        info_volume_name(c, i, name);
        vd_str_addf(s, "  %s\n", name);
        add_volume(s, c, facts, i, 6);
    }
}

static void add_gaps(struct vd_str *s, const struct vd_point *c)
{
    char size[80];
    size_t i;

    if (!c->table.n_gaps)
        return;
    add_heading(s, "GAPS (space that no partition covers; end not included)");
    for (i = 0; i < c->table.n_gaps; i++) {
        const struct volume_gap *g = &c->table.gap[i];

        format_size(g->size, size, sizeof(size));
        vd_str_addf(s, "  byte %" PRIu64 " to %" PRIu64 ", %s\n", g->start, g->start + g->size,
                    size);
    }
}

static void add_context(struct vd_str *s, const struct case_context *context)
{
    const char *const *option;

    if (!context)
        return;
    add_heading(s, "THIS SESSION");
    add_known(s, 2, "sandbox", context->sandbox);
    add_known(s, 2, "audit log", context->audit);
    add_known(s, 2, "audit log key", context->audit_key);
    add_known(s, 2, "audit mode", context->audit_mode);
    for (option = context->option; option && *option; option++)
        add_line(s, 2, "option", *option);
}

static void add_program(struct vd_str *s)
{
    vd_str_addf(s, "vdiskfs %s (build %s)\n", VD_VERSION, VD_BUILD);
    vd_str_addf(s, "%s\n", case_library_versions());
}

char *case_info_text(const struct vd_point *c, const struct case_context *context)
{
    struct vd_str s = VD_STR_INIT;
    struct info_facts facts;

    info_facts_collect(c, &facts);
    s.failed = facts.failed;
    add_program(&s);
    add_warnings(&s, &facts, true, 0);
    add_point(&s, c);
    info_draw_chain(&s, c, context);
    if (!case_is_older(c))
        info_draw_snapshots(&s, c);
    add_chain(&s, c, &facts);
    add_disk(&s, c, &facts);
    if (c->table.sector_size) /* 0: the disk alone was asked for */
        add_table(&s, c, &facts);
    add_volumes(&s, c, &facts);
    add_gaps(&s, c);
    add_context(&s, context);
    info_facts_clear(&facts);
    return vd_str_take(&s);
}

char *case_volume_text(const struct vd_point *c, size_t i)
{
    struct vd_str s = VD_STR_INIT;
    struct info_facts facts;
    char name[16];

    info_facts_collect_volume(c, i, &facts);
    s.failed = facts.failed;
    info_volume_name(c, i, name);
    vd_str_addf(&s, "%s\n\n", name);
    add_volume(&s, c, &facts, i, 0);
    add_warnings(&s, &facts, false, i);
    info_facts_clear(&facts);
    return vd_str_take(&s);
}
