/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vdiskctl check: looks at every structure of every member of a chain.
 *
 * Three sources of findings: what the layers find when they walk their tables (blk_check), the
 * warnings of opening, and the chain itself.  With --read every byte of the reconstructed disk is
 * read once as well.  Exit code 0: sound (notes allowed); 7: an error or a warning; 2 or 3: the named
 * file cannot be opened, the report says why.  One thread, besides those of reading.
 */
#include "cli/check_chain.h"
#include "cli/check_report.h"
#include "cli/command.h"
#include "cli/copy.h"
#include "cli/progress.h"
#include "image/chain_index.h"
#include "vdiskfs/exit_codes.h"

#include "base/text.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "Usage: vdiskctl check [--json] [--read] [-o OPTIONS] IMAGE\n"
    "Checks the structures of every file of the chain: table entries that pass the end of\n"
    "their file, bytes that two structures claim or none, redundant copies that differ,\n"
    "links that do not fit. A chain that does not open is checked as far as it does.\n"
    "  --read        read every byte of the reconstructed disk, too\n"
    "  --json        as JSON (docs/formats/check-json.md)\n"
    "  -o OPTIONS    options of vdiskfs(1) for opening: chain=, parent_dir=, ...\n"
    "Exit code 0: sound, perhaps with notes; 7: errors or warnings; 2, or 3 when a file that\n"
    "belongs to it is missing: IMAGE does not open.\n";

struct check_job {
    bool json, read;
};

struct checking {
    const struct check_job *job;
    struct check_report report;
    struct check receiver;
    struct checked_chain chain;
    struct progress progress;
    struct report_head head;
    uint64_t unreadable;
    struct copy_bad bad; /* the range that may go on in the next chunk; len 0: none */
};

/* ---- what opening has said ---- */

/* Layers of one chain report through several ways; the same words once are enough. */
static bool is_told(const struct check_report *r, const char *id, const char *text)
{
    size_t i, k;

    for (i = 0; i < r->n_groups; i++)
        for (k = 0; strcmp(r->group[i].id, id) == 0 && k < r->group[i].n_v; k++)
            if (r->group[i].section == r->section && strcmp(r->group[i].v[k].text, text) == 0)
                return true;
    return false;
}

/* Warnings of opening that speak of the file's surroundings or past, not of its structures, which are
 * looked at here: sound files have them, too. */
static bool is_circumstance(const char *key)
{
    static const char *const keys[] = {
        "atime",       "newer_files", "not_the_tip", "saved_state",           "unclean_shutdown",
        "vm_encoding", "vm_files",    "vmsd",        "unreadable_neighbours",
    };
    size_t i;

    for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        if (strcmp(key, keys[i]) == 0)
            return true;
    return false;
}

static void take_fact(void *ctx, const char *layer, enum vd_fact_kind kind, const char *key,
                      const char *value)
{
    struct checking *c = ctx;
    char text[1024];

    if (kind != VD_FACT_WARNING)
        return;
    (void)vd_text_printable(value, strlen(value), text, sizeof(text));
    if (!is_told(&c->report, key, text))
        check_finding(&c->receiver, is_circumstance(key) ? CHECK_NOTE : CHECK_WARNING, key,
                      layer ? layer : "", NULL, "%s", text);
}

static void take_lost(struct checking *c, const struct vd_facts *facts, const char *file)
{
    if (facts->dropped)
        check_finding(&c->receiver, CHECK_WARNING, "facts_dropped", file, NULL,
                      "%zu more warnings or facts were not kept", facts->dropped);
}

/* ---- members ---- */

static int check_member(struct checking *c, size_t i, struct vd_err *err)
{
    const struct image *image = c->chain.v[i];
    char line[128];
    int rc;

    (void)snprintf(line, sizeof(line), "member %zu of %zu: %s", i + 1, c->chain.n, image->name);
    progress_say(&c->progress, line);
    check_report_section(&c->report, i);
    vd_facts_each(&image->facts, image->name, take_fact, c);
    take_lost(c, &image->facts, image->name);
    blk_describe(image->dev, take_fact, c);
    rc = blk_check(image->dev, &c->receiver, err);
    return vd_prefix(err, rc, "%s", image->name);
}

/* A link of a broken chain that does not fit; a whole chain has said so when it was opened. */
static void check_links(struct checking *c)
{
    size_t i;

    check_report_section(&c->report, REPORT_CHAIN);
    if (c->chain.chain) {
        vd_facts_each(&c->chain.chain->facts, "", take_fact, c);
        take_lost(c, &c->chain.chain->facts, "");
        return;
    }
    for (i = 1; i < c->chain.n; i++)
        if (!chain_identity_fits(c->chain.v[i - 1], c->chain.v[i]))
            check_finding(&c->receiver, CHECK_ERROR, "wrong_parent", c->chain.v[i]->name, NULL,
                          "%s asks for the parent %s, this file is %s", c->chain.v[i - 1]->name,
                          c->chain.v[i - 1]->parent_identity[0],
                          c->chain.v[i]->identity[0] ? c->chain.v[i]->identity
                                                     : "without identity");
    if (c->chain.v[c->chain.n - 1]->has_parent)
        check_finding(&c->receiver, CHECK_ERROR, "parent_missing", c->chain.v[c->chain.n - 1]->name,
                      NULL, "the parent %s was not found: what lies below could not be checked",
                      c->chain.v[c->chain.n - 1]->parent_identity[0]);
    if (c->job->read)
        check_finding(&c->receiver, CHECK_NOTE, "disk_not_read", "", NULL,
                      "the disk was not read: there is none without the whole chain");
}

/* ---- reading everything ---- */

static void report_bad(struct checking *c)
{
    const struct check_place place = {
        .on_disk = true, .disk_off = c->bad.off, .disk_len = c->bad.len};

    if (c->bad.len)
        check_finding(&c->receiver, CHECK_ERROR, "unreadable", "", &place, "%s", c->bad.why);
    c->bad.len = 0;
}

static int take_chunk(void *ctx, const struct copy_chunk *chunk, struct vd_err *err)
{
    struct checking *c = ctx;
    size_t i;

    (void)err;
    for (i = 0; i < chunk->n_bad; i++) {
        const struct copy_bad *bad = &chunk->bad[i];

        c->unreadable += bad->len;
        if (c->bad.len && c->bad.off + c->bad.len == bad->off) {
            c->bad.len += bad->len;
            continue;
        }
        report_bad(c);
        c->bad = *bad;
    }
    return 0;
}

static int show_progress(void *ctx, uint64_t done, struct vd_err *err)
{
    struct checking *c = ctx;

    (void)err;
    progress_set(&c->progress, done);
    return 0;
}

static int read_disk(struct checking *c, struct vd_err *err)
{
    const struct copy_options options = {.keep_going = true, .tick = show_progress, .ctx = c};
    const struct copy_sink sink = {take_chunk, c};
    struct blkdev *disk = NULL;
    int rc;

    check_report_section(&c->report, REPORT_DISK);
    rc = chain_point(c->chain.chain, c->chain.chain->point, &disk, err);
    if (rc)
        return rc;
    progress_end(&c->progress);
    progress_start(&c->progress, 0, disk->size);
    rc = copy_run(disk, 0, disk->size, &options, &sink, 1, err);
    report_bad(c);
    c->head.read = true;
    c->head.disk_size = disk->size;
    c->head.unreadable = c->unreadable;
    blk_unref(disk);
    return rc;
}

/* ---- the whole ---- */

/* Without its parent the oldest file that was found is no base. */
static const char *role_of(const struct checked_chain *c, size_t i)
{
    bool base = i + 1 == c->n && !c->v[i]->has_parent;

    if (i == 0)
        return base ? "only member" : "tip";
    return base ? "base" : "member";
}

static int print_report(struct checking *c, struct vd_err *err)
{
    struct report_member *member = calloc(c->chain.n + 1, sizeof(*member));
    char *text = NULL;
    size_t i;

    for (i = 0; member && i < c->chain.n; i++)
        member[i] = (struct report_member){.image = c->chain.v[i],
                                           .role = role_of(&c->chain, i),
                                           .linked = checked_chain_link(&c->chain, i)};
    c->head.member = member;
    c->head.n_members = c->chain.n;
    c->head.complete = c->chain.chain != NULL;
    if (member)
        text = c->job->json ? check_report_json(&c->report, &c->head)
                            : check_report_text(&c->report, &c->head);
    free(member);
    if (!text)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    (void)printf("%s%s", text, c->job->json ? "\n" : "");
    free(text);
    return 0;
}

/* The named file does not open: that is the report. */
static int report_refusal(struct checking *c, const char *name, int rc, const struct vd_err *why)
{
    check_report_section(&c->report, REPORT_CHAIN);
    check_finding(&c->receiver, CHECK_ERROR, "cannot_open", name, NULL, "%s", why->msg);
    (void)print_report(c, NULL);
    return rc;
}

static int check_all(struct checking *c, struct vd_err *err)
{
    size_t i;
    int rc = 0;

    check_links(c);
    for (i = 0; i < c->chain.n && rc == 0; i++)
        rc = check_member(c, i, err);
    if (rc == 0 && c->job->read && c->chain.chain)
        rc = read_disk(c, err);
    progress_end(&c->progress);
    if (rc == 0)
        rc = print_report(c, err);
    return rc;
}

static int verdict(const struct check_report *r, const char *image, struct vd_err *err)
{
    if (!r->n_of[CHECK_ERROR] && !r->n_of[CHECK_WARNING])
        return 0;
    return vd_fail(err, VD_EDIFF, "%s: %" PRIu64 " error%s, %" PRIu64 " warning%s", image,
                   r->n_of[CHECK_ERROR], r->n_of[CHECK_ERROR] == 1 ? "" : "s",
                   r->n_of[CHECK_WARNING], r->n_of[CHECK_WARNING] == 1 ? "" : "s");
}

static int check_image(const struct command_input *input, void *arg, struct vd_err *err)
{
    struct checking c = {.job = arg};
    char name[1024];
    int rc = check_report_init(&c.report, err);

    if (rc)
        return rc;
    (void)vd_text_printable(input->name, strlen(input->name), name, sizeof(name));
    c.head.image = name;
    c.receiver = check_report_receiver(&c.report);
    progress_start(&c.progress, 0, 0);
    check_report_section(&c.report, REPORT_CHAIN);
    rc = checked_chain_open(input->source, input->name, &input->chain, &c.receiver, &c.chain, err);
    if (rc && rc != -VD_ENOMEM)
        rc = report_refusal(&c, name, rc, err);
    else if (rc == 0)
        rc = check_all(&c, err);
    if (rc == 0)
        rc = verdict(&c.report, name, err);
    checked_chain_clear(&c.chain);
    check_report_clear(&c.report);
    return rc;
}

int cmd_check(int argc, char **argv)
{
    static const struct option long_options[] = {{"json", no_argument, NULL, 'j'},
                                                 {"read", no_argument, NULL, 'r'},
                                                 {"help", no_argument, NULL, 'h'},
                                                 {0}};
    struct vd_err err = VD_ERR_INIT;
    struct options options = {0};
    struct check_job job = {0};
    int c, rc = 0, code;

    while (rc == 0 && (c = getopt_long(argc, argv, "o:h", long_options, NULL)) != -1) {
        if (c == 'h') {
            (void)fputs(usage, stdout);
            options_clear(&options);
            return VD_EXIT_OK;
        }
        job.json |= c == 'j';
        job.read |= c == 'r';
        if (c == '?')
            rc = vd_fail(&err, VD_EUSAGE, "see vdiskctl check --help");
        if (c == 'o')
            rc = options_parse(&options, optarg, OPTION_OPEN, &err);
    }
    if (rc == 0 && optind + 1 != argc)
        rc = vd_fail(&err, VD_EUSAGE, "one IMAGE is needed; see vdiskctl check --help");
    code = rc ? command_error("vdiskctl check", rc, &err)
              : command_with_source("vdiskctl check", argv[optind], &options, NULL, 0, check_image,
                                    &job);
    options_clear(&options);
    return code;
}
