/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Collecting findings.  A hash table finds the group of a finding; a table of a million bad entries
 * costs a count and twenty texts.  Strings are printable when they come (check_finding).  One thread.
 */
#include "cli/check_report.h"

#include "base/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_SLOTS ((size_t)2 * REPORT_MAX_GROUPS)

int check_report_init(struct check_report *report, struct vd_err *err)
{
    report->slots = calloc(N_SLOTS, sizeof(report->slots[0]));
    return report->slots ? 0 : vd_fail(err, VD_ENOMEM, "out of memory");
}

void check_report_clear(struct check_report *report)
{
    size_t i, k;

    for (i = 0; i < report->n_groups; i++) {
        for (k = 0; k < report->group[i].n_v; k++)
            free(report->group[i].v[k].text);
        free(report->group[i].v);
        free(report->group[i].id);
        free(report->group[i].file);
    }
    for (i = 0; i < report->n_counts; i++) {
        free(report->count[i].file);
        free(report->count[i].what);
    }
    free(report->group);
    free(report->count);
    free(report->slots);
    *report = (struct check_report){0};
}

void check_report_section(struct check_report *report, size_t section)
{
    report->section = section;
}

/* Doubles an array that is full; false: out of memory. */
static bool make_room(void *array, size_t n, size_t *cap, size_t element)
{
    size_t more = *cap ? 2 * *cap : 64;
    void *old, *grown;

    if (n < *cap)
        return true;
    memcpy(&old, array, sizeof(old));
    grown = realloc(old, more * element);
    if (!grown)
        return false; /* the array keeps the old one */
    memcpy(array, &grown, sizeof(grown));
    *cap = more;
    return true;
}

static uint64_t hash_text(uint64_t h, const char *text)
{
    for (; *text; text++)
        h = (h ^ (uint8_t)*text) * UINT64_C(0x100000001b3); /* FNV-1a */
    return h * 31;
}

static bool same_group(const struct report_group *g, size_t section, enum check_level level,
                       const char *id, const char *file)
{
    return g->section == section && g->level == level && strcmp(g->id, id) == 0 &&
           strcmp(g->file, file) == 0;
}

static struct report_group *new_group(struct check_report *r, enum check_level level,
                                      const char *id, const char *file)
{
    struct report_group g = {.section = r->section, .level = level};

    if (!make_room(&r->group, r->n_groups, &r->cap_groups, sizeof(g)))
        return NULL;
    g.id = strdup(id);
    g.file = strdup(file);
    if (!g.id || !g.file) {
        free(g.id);
        free(g.file);
        return NULL;
    }
    r->group[r->n_groups] = g;
    return &r->group[r->n_groups++];
}

/* NULL: the bound is reached, or memory ran out (r->failed). */
static struct report_group *find_group(struct check_report *r, enum check_level level,
                                       const char *id, const char *file)
{
    uint64_t h = hash_text(hash_text(UINT64_C(0xcbf29ce484222325) ^ r->section, id), file);
    struct report_group *g;
    size_t at;

    for (at = (size_t)(h % N_SLOTS); r->slots[at]; at = (at + 1) % N_SLOTS) {
        g = &r->group[r->slots[at] - 1];
        if (same_group(g, r->section, level, id, file))
            return g;
    }
    if (r->n_groups == REPORT_MAX_GROUPS) {
        r->ungrouped++;
        return NULL;
    }
    g = new_group(r, level, id, file);
    if (g)
        r->slots[at] = (uint32_t)r->n_groups;
    else
        r->failed = true;
    return g;
}

static void keep(struct check_report *r, struct report_group *g, const struct check_place *place,
                 const char *text)
{
    size_t most = r->n_kept < REPORT_MAX_KEPT ? REPORT_SHOWN : 1;
    struct report_finding *v;
    struct report_finding f = {.has_place = place != NULL};

    if (g->n_v >= most)
        return;
    if (place)
        f.place = *place;
    v = realloc(g->v, (g->n_v + 1) * sizeof(*v));
    if (v)
        g->v = v;
    f.text = strdup(text);
    if (!v || !f.text) {
        free(f.text);
        r->failed = true;
        return;
    }
    g->v[g->n_v++] = f;
    r->n_kept++;
}

static void take_finding(void *ctx, enum check_level level, const char *id, const char *file,
                         const struct check_place *place, const char *text)
{
    struct check_report *r = ctx;
    struct report_group *g;

    r->n_of[level]++;
    g = find_group(r, level, id, file ? file : "");
    if (!g)
        return;
    g->n++;
    keep(r, g, place, text);
}

static void take_count(void *ctx, const char *file, const char *what, uint64_t n)
{
    struct check_report *r = ctx;
    struct report_count c = {.section = r->section, .n = n};
    size_t i;

    /* Counts come file by file, a few of each: the last ones are those that go on. */
    for (i = r->n_counts; i > 0 && i + 16 > r->n_counts; i--) {
        struct report_count *old = &r->count[i - 1];

        if (old->section == r->section && strcmp(old->what, what) == 0 &&
            strcmp(old->file, file) == 0) {
            old->n += n;
            return;
        }
    }
    if (r->n_counts == REPORT_MAX_GROUPS)
        return;
    c.file = strdup(file);
    c.what = strdup(what);
    if (!c.file || !c.what || !make_room(&r->count, r->n_counts, &r->cap_counts, sizeof(c))) {
        free(c.file);
        free(c.what);
        r->failed = true;
        return;
    }
    r->count[r->n_counts++] = c;
}

struct check check_report_receiver(struct check_report *report)
{
    return (struct check){.finding = take_finding, .count = take_count, .ctx = report};
}

const char *check_report_verdict(const struct check_report *report)
{
    if (report->n_of[CHECK_ERROR])
        return "damaged";
    return report->n_of[CHECK_WARNING] ? "doubtful" : "sound";
}

void check_number(uint64_t n, char out[28])
{
    char digits[24];
    size_t len, i, at = 0;

    (void)snprintf(digits, sizeof(digits), "%" PRIu64, n);
    len = strlen(digits);
    for (i = 0; i < len; i++) {
        if (i && (len - i) % 3 == 0)
            out[at++] = ',';
        out[at++] = digits[i];
    }
    out[at] = '\0';
}
