/* SPDX-License-Identifier: Apache-2.0 */
/* The report of a check, for people: member by member, then the chain, the disk, the verdict.  Text
 * of the evidence is printable already; see check_finding(). */
#include "base/text.h"
#include "cli/check_report.h"
#include "image/image.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const level_word[] = {
    [CHECK_NOTE] = "note", [CHECK_WARNING] = "WARNING", [CHECK_ERROR] = "ERROR"};

static void add_place(struct vd_str *s, const struct check_place *place)
{
    if (place->in_file)
        vd_str_addf(s, "file offset %" PRIu64 ": ", place->file_off);
    if (place->on_disk && place->disk_len)
        vd_str_addf(s, "disk bytes %" PRIu64 " to %" PRIu64 ": ", place->disk_off,
                    place->disk_off + place->disk_len - 1);
}

static void add_group(struct vd_str *s, const struct report_group *g, const char *member)
{
    char number[28];
    size_t i;

    vd_str_addf(s, "     %s %s", level_word[g->level], g->id);
    if (g->file[0] && strcmp(g->file, member) != 0)
        vd_str_addf(s, ", %s", g->file);
    if (g->n > 1) {
        check_number(g->n, number);
        vd_str_addf(s, " (%s times)", number);
    }
    vd_str_add(s, "\n");
    for (i = 0; i < g->n_v; i++) {
        vd_str_add(s, "       ");
        if (g->v[i].has_place)
            add_place(s, &g->v[i].place);
        vd_str_addf(s, "%s\n", g->v[i].text);
    }
    if (g->n > g->n_v) {
        check_number(g->n - g->n_v, number);
        vd_str_addf(s, "       ... and %s more\n", number);
    }
}

static void add_groups(struct vd_str *s, const struct check_report *r, size_t section,
                       const char *member)
{
    int level;
    size_t i;

    for (level = CHECK_ERROR; level >= CHECK_NOTE; level--)
        for (i = 0; i < r->n_groups; i++)
            if (r->group[i].section == section && (int)r->group[i].level == level)
                add_group(s, &r->group[i], member);
}

/* Sums over the files of a member, one per word, in the order of their first appearance. */
static void add_counts(struct vd_str *s, const struct check_report *r, size_t section)
{
    const char *lead = "     looked at: ";
    size_t i, k;

    for (i = 0; i < r->n_counts; i++) {
        const struct report_count *c = &r->count[i];
        uint64_t sum = 0;
        char number[28];

        if (c->section != section)
            continue;
        for (k = 0; k < i; k++)
            if (r->count[k].section == section && strcmp(r->count[k].what, c->what) == 0)
                break;
        if (k < i)
            continue;
        for (k = i; k < r->n_counts; k++)
            if (r->count[k].section == section && strcmp(r->count[k].what, c->what) == 0)
                sum += r->count[k].n;
        check_number(sum, number);
        vd_str_addf(s, "%s%s %s", lead, number, c->what);
        lead = ", ";
    }
    vd_str_add(s, lead[0] == ',' ? "\n" : "     looked at: no tables\n");
}

static void add_member(struct vd_str *s, const struct check_report *r,
                       const struct report_member *m, size_t i)
{
    const struct image *image = m->image;
    bool kind = image->kind[0] && strcmp(image->kind, image->format->name) != 0;
    char size[32], file_size[32];

    vd_text_size(image->dev->size, size, sizeof(size));
    vd_text_size(image->file.size, file_size, sizeof(file_size));
    vd_str_addf(s, "\n  %zu. %s (%s)\n", i + 1, image->name, m->role);
    vd_str_addf(s, "     %s%s%s, disk of %s, file of %s\n", image->format->name, kind ? ", " : "",
                kind ? image->kind : "", size, file_size);
    if (image->identity[0])
        vd_str_addf(s, "     identity %s\n", image->identity);
    if (m->linked)
        vd_str_addf(s, "     %s\n", m->linked);
    add_counts(s, r, i);
    add_groups(s, r, i, image->name);
}

static void add_part(struct vd_str *s, const struct check_report *r, size_t section,
                     const char *title, const char *first)
{
    vd_str_addf(s, "\n%s\n", title);
    if (first)
        vd_str_addf(s, "     %s\n", first);
    add_groups(s, r, section, "");
}

static void add_disk(struct vd_str *s, const struct check_report *r, const struct report_head *head)
{
    char size[28], bad[28], line[160];

    check_number(head->disk_size, size);
    check_number(head->unreadable, bad);
    (void)snprintf(line, sizeof(line), "all %s bytes were read; %s of them cannot be had", size,
                   head->unreadable ? bad : "none");
    add_part(s, r, REPORT_DISK, "DISK", line);
}

static void add_amount(struct vd_str *s, uint64_t n, const char *word)
{
    char number[28];

    check_number(n, number);
    vd_str_addf(s, "%s %s%s", number, word, n == 1 ? "" : "s");
}

static void add_verdict(struct vd_str *s, const struct check_report *r)
{
    const char *verdict = check_report_verdict(r);

    vd_str_addf(s, "\nVERDICT: %s: ",
                strcmp(verdict, "sound") == 0     ? "SOUND"
                : strcmp(verdict, "damaged") == 0 ? "DAMAGED"
                                                  : "DOUBTFUL");
    add_amount(s, r->n_of[CHECK_ERROR], "error");
    vd_str_add(s, ", ");
    add_amount(s, r->n_of[CHECK_WARNING], "warning");
    vd_str_add(s, ", ");
    add_amount(s, r->n_of[CHECK_NOTE], "note");
    vd_str_add(s, "\n");
    if (r->ungrouped)
        vd_str_addf(s, "%" PRIu64 " findings are counted but not shown: too many different ones\n",
                    r->ungrouped);
}

char *check_report_text(const struct check_report *report, const struct report_head *head)
{
    struct vd_str s = VD_STR_INIT;
    size_t i;

    s.failed = report->failed;
    vd_str_addf(&s, "CHECK OF %s\n", head->image);
    for (i = 0; i < head->n_members; i++)
        add_member(&s, report, &head->member[i], i);
    add_part(&s, report, REPORT_CHAIN, "CHAIN",
             head->complete ? "complete, every link verified" : "NOT complete or not verified");
    if (head->read)
        add_disk(&s, report, head);
    add_verdict(&s, report);
    return vd_str_take(&s);
}
