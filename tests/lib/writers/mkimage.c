/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mkimage: the writers on a command line, for tests in other languages.
 *
 *     mkimage DIR [expect=FILE] [expect=all] [marks=FILE] member KEY=VALUE… [member KEY=VALUE…]…
 *
 * Members come base first; a member whose kind can have a parent has the one before it, or
 * parent=NAME, or parent= (none).  Keys (sizes take K, M, G):
 *
 *     kind=vhd-diff          see wr_kind_name; required
 *     name=child.avhd        required
 *     size=8M                default: the parent's
 *     id=7                   default: the member's number
 *     unit=4K sector=4096 time=SECONDS
 *     seed=3 density=40      random content
 *     run=OFF+LEN:STATE[:SEED]   STATE data zeros absent unmapped undefined; may be repeated
 *     from=FILE [base=FILE]  content of a raw file; with base= only the units that differ from it
 *     extent=KIND:SIZE[:START]   KIND flat zero noaccess sparse stream cowd sesparse; may be repeated
 *     knob=NAME[:VALUE]      a knob of writers.h, e.g. knob=shuffle:5 knob=zero_grain knob=log:all
 *
 * expect=FILE writes the disk of the last member, expect=all NAME.raw for each, into DIR.  marks=FILE
 * writes a table of all marks.  Exit code 2: bad arguments.
 */
#include "priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MEMBERS_MAX 1100
#define RUNS_MAX    4096
#define EXTENTS_MAX 64

struct member {
    struct wr_spec spec;
    struct wr_run runs[RUNS_MAX];
    struct wr_extent extents[EXTENTS_MAX];
    uint64_t seed, density;
    const char *from, *base;
    uint32_t cid[2];
};

static _Noreturn void bad(const char *what, const char *value)
{
    (void)fprintf(stderr, "mkimage: %s: %s\n", what, value);
    exit(2);
}

static uint64_t number(const char *text, char **end)
{
    uint64_t v;
    char *e;

    errno = 0;
    v = strtoull(text, &e, 0);
    if (e == text || errno)
        bad("not a number", text);
    if (*e == 'K')
        v <<= 10, e++;
    else if (*e == 'M')
        v <<= 20, e++;
    else if (*e == 'G')
        v <<= 30, e++;
    if (end)
        *end = e;
    else if (*e)
        bad("not a number", text);
    return v;
}

static int word_of(const char *const *words, int n, const char *word, size_t len)
{
    int i;

    for (i = 0; i < n; i++)
        if (words[i] && strlen(words[i]) == len && strncmp(words[i], word, len) == 0)
            return i;
    bad("unknown word", word);
}

static void add_run(struct member *m, const char *text)
{
    static const char *const states[] = {"absent", "data", "zeros", "unmapped", "undefined"};
    struct wr_run *r = &m->runs[m->spec.n_runs];
    char *e;

    if (m->spec.n_runs == RUNS_MAX)
        bad("too many runs", text);
    r->off = number(text, &e);
    if (*e++ != '+')
        bad("run=OFF+LEN:STATE", text);
    r->len = number(e, &e);
    if (*e++ != ':')
        bad("run=OFF+LEN:STATE", text);
    r->state = (enum wr_state)word_of(states, 5, e, strcspn(e, ":"));
    e += strcspn(e, ":");
    r->seed = *e ? number(e + 1, NULL) : m->spec.id * 1000 + m->spec.n_runs;
    m->spec.n_runs++;
}

static void add_extent(struct member *m, const char *text)
{
    static const char *const kinds[] = {"flat",   "zero", "noaccess", "sparse",
                                        "stream", "cowd", "sesparse"};
    struct wr_extent *x = &m->extents[m->spec.n_extents];
    size_t len = strcspn(text, ":");
    char *e;

    if (m->spec.n_extents == EXTENTS_MAX || !text[len])
        bad("extent=KIND:SIZE[:START]", text);
    x->kind = (enum wr_extent_kind)word_of(kinds, 7, text, len);
    x->size = number(text + len + 1, &e);
    if (*e == ':')
        x->start_sector = number(e + 1, NULL);
    m->spec.n_extents++;
}

static void set_knob(struct member *m, const char *text)
{
    struct wr_knobs *k = &m->spec.knobs;
    static const char *const logs[] = {"empty", "bat", "meta", "region", "all"};
    static const char *const newer[] = {"first", "second", "equal"};
    size_t len = strcspn(text, ":");
    const char *v = text[len] ? text + len + 1 : "1";
    size_t i;
    const struct {
        const char *name;
        bool *flag;
    } flags[] = {{"junk", &k->junk},
                 {"no_hint", &k->no_hint},
                 {"zero_grain", &k->zero_grain},
                 {"no_redundant", &k->no_redundant},
                 {"primary_last", &k->primary_last},
                 {"descriptor_late", &k->descriptor_late},
                 {"no_footer", &k->no_footer},
                 {"no_markers", &k->no_markers},
                 {"stored_deflate", &k->stored_deflate},
                 {"cowd_parent_name", &k->cowd_parent_name},
                 {"replay_journal", &k->replay_journal},
                 {"footer_511", &k->footer_511},
                 {"no_front_footer", &k->no_front_footer},
                 {"no_tail_footer", &k->no_tail_footer},
                 {"bitmap_zero", &k->bitmap_zero},
                 {"space_in_sectors", &k->space_in_sectors},
                 {"no_time", &k->no_time},
                 {"bad_header1", &k->bad_header[0]},
                 {"bad_header2", &k->bad_header[1]},
                 {"bad_region1", &k->bad_region[0]},
                 {"bad_region2", &k->bad_region[1]},
                 {"log_wrap", &k->log_wrap},
                 {"log_torn", &k->log_torn},
                 {"log_stale", &k->log_stale},
                 {"full_as_partial", &k->full_as_partial},
                 {"sb_always", &k->sb_always}};
    const struct {
        const char *name;
        const char **text;
    } texts[] = {{"create_type", &k->create_type},
                 {"encoding", &k->encoding},
                 {"eol", &k->eol},
                 {"prologue", &k->prologue},
                 {"extra", &k->extra},
                 {"extent_lines", &k->extent_lines},
                 {"long_cid", &k->long_cid},
                 {"long_parent", &k->long_parent},
                 {"creator", &k->creator},
                 {"locators", &k->locators},
                 {"parent_name_field", &k->parent_name_field},
                 {"hint_relative", &k->hint_relative},
                 {"hint_absolute", &k->hint_absolute},
                 {"hint_volume", &k->hint_volume}};
    const struct {
        const char *name;
        uint64_t *wide;
        uint32_t *narrow;
    } numbers[] = {{"shuffle", &k->shuffle, NULL},   {"gap", NULL, &k->gap},
                   {"version", NULL, &k->version},   {"n_gtes", NULL, &k->n_gtes},
                   {"tail_pad", NULL, &k->tail_pad}, {"physical", NULL, &k->physical},
                   {"chs_size", &k->chs_size, NULL}, {"current_size", &k->current_size, NULL},
                   {"cid", NULL, &m->cid[0]},        {"parent_cid", NULL, &m->cid[1]}};

#define IS(word) (strlen(word) == len && strncmp(word, text, len) == 0)
    for (i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
        if (IS(flags[i].name)) {
            *flags[i].flag = number(v, NULL) != 0;
            return;
        }
    for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (IS(texts[i].name)) {
            *texts[i].text = v;
            return;
        }
    for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        if (IS(numbers[i].name)) {
            if (numbers[i].wide)
                *numbers[i].wide = number(v, NULL);
            else
                *numbers[i].narrow = (uint32_t)number(v, NULL);
            if (numbers[i].narrow == &m->cid[0])
                k->cid = &m->cid[0];
            if (numbers[i].narrow == &m->cid[1])
                k->parent_cid = &m->cid[1];
            return;
        }
    if (IS("log"))
        k->log = (enum wr_log)word_of(logs, 5, v, strlen(v));
    else if (IS("newer"))
        k->newer = (enum wr_newer)word_of(newer, 3, v, strlen(v));
    else
        bad("unknown knob", text);
#undef IS
}

static void set_parent(struct member **all, size_t n, struct member *m, const char *name)
{
    size_t i;

    m->spec.parent = NULL;
    for (i = 0; i < n; i++)
        if (strcmp(all[i]->spec.name, name) == 0)
            m->spec.parent = &all[i]->spec;
    if (*name && !m->spec.parent)
        bad("parent not among the members before", name);
}

/* Does the word begin with KEY=?  Then its value. */
static const char *value_of(const char *word, const char *key)
{
    size_t n = strlen(key);

    return strncmp(word, key, n) == 0 && word[n] == '=' ? word + n + 1 : NULL;
}

static void set_key(struct member **all, size_t n, struct member *m, const char *word)
{
    struct wr_spec *s = &m->spec;
    const char *v;

    if ((v = value_of(word, "kind")) != NULL) {
        s->kind = wr_kind_named(v);
        if (s->kind == WR_KINDS)
            bad("unknown kind", v);
        if (!wr_kind_is_child(s->kind))
            s->parent = NULL;
    } else if ((v = value_of(word, "name")) != NULL)
        s->name = v;
    else if ((v = value_of(word, "size")) != NULL)
        s->size = number(v, NULL);
    else if ((v = value_of(word, "id")) != NULL)
        s->id = number(v, NULL);
    else if ((v = value_of(word, "unit")) != NULL)
        s->unit = (uint32_t)number(v, NULL);
    else if ((v = value_of(word, "sector")) != NULL)
        s->sector = (uint32_t)number(v, NULL);
    else if ((v = value_of(word, "time")) != NULL)
        s->time = (int64_t)number(v, NULL);
    else if ((v = value_of(word, "seed")) != NULL)
        m->seed = number(v, NULL);
    else if ((v = value_of(word, "density")) != NULL)
        m->density = number(v, NULL);
    else if ((v = value_of(word, "parent")) != NULL)
        set_parent(all, n, m, v);
    else if ((v = value_of(word, "run")) != NULL)
        add_run(m, v);
    else if ((v = value_of(word, "extent")) != NULL)
        add_extent(m, v);
    else if ((v = value_of(word, "from")) != NULL)
        m->from = v;
    else if ((v = value_of(word, "base")) != NULL)
        m->base = v;
    else if ((v = value_of(word, "knob")) != NULL)
        set_knob(m, v);
    else
        bad("unknown key", word);
}

static const uint8_t *map_file(const char *path, uint64_t *out_len)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    void *p;

    if (fd < 0 || fstat(fd, &st) != 0 || st.st_size == 0)
        bad("cannot read", path);
    p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED)
        bad("cannot map", path);
    (void)close(fd);
    *out_len = (uint64_t)st.st_size;
    return p;
}

static bool zero(const uint8_t *p, uint64_t n)
{
    return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

/* Runs for what the file holds, by the unit; where a base is given, only for what differs from it (then
 * zeros are stored as such), else all that is not zero. */
static void content_of_file(struct member *m)
{
    struct wr_spec *s = &m->spec;
    uint64_t len = 0, base_len = 0, off, room = 16;
    const uint8_t *p = map_file(m->from, &len), *base = NULL;
    uint64_t unit = wr_unit(s) ? wr_unit(s) : 4096;
    struct wr_run *v;

    if (s->kind == WR_VHD_DIFF || s->kind == WR_VHDX_DIFF) /* by the sector */
        unit = s->sector ? s->sector : 512;
    if (!s->size)
        s->size = len / 512 * 512;
    if (m->base)
        base = map_file(m->base, &base_len);
    v = wr_alloc(room, sizeof(*v));
    s->n_runs = 0;
    for (off = 0; off < s->size && off < len; off += unit) {
        uint64_t n = s->size - off < unit ? s->size - off : unit;

        n = len - off < n ? len - off : n;
        if (base ? off + n <= base_len && memcmp(p + off, base + off, n) == 0 : zero(p + off, n))
            continue;
        if (s->n_runs && v[s->n_runs - 1].off + v[s->n_runs - 1].len == off) {
            v[s->n_runs - 1].len += n;
            continue;
        }
        if (s->n_runs == room) {
            room *= 2;
            v = realloc(v, room * sizeof(*v));
            if (!v)
                wr_die("out of memory");
        }
        v[s->n_runs++] = (struct wr_run){.off = off, .len = n, .state = WR_DATA, .bytes = p + off};
    }
    s->runs = v;
}

static void finish(struct member *m)
{
    struct wr_spec *s = &m->spec;
    uint64_t state = m->seed;
    size_t i;

    s->runs = m->runs;
    if (s->n_extents)
        s->extents = m->extents;
    if (m->from)
        content_of_file(m);
    if (!s->size)
        for (i = 0; i < s->n_extents; i++)
            s->size += m->extents[i].size;
    if (!s->size && s->parent)
        s->size = s->parent->size;
    if (!s->name || !s->size)
        bad("a member needs name= and size=", s->name ? s->name : "?");
    if (m->density)
        s->runs = wr_random_runs(s, &state, (unsigned)m->density, &s->n_runs);
}

/* ---- output ---- */

static void write_expected(const struct wr_spec *spec, const char *dir, const char *name)
{
    static uint8_t buf[1 << 20];
    char path[4096];
    uint64_t off, n;
    int fd;

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || ftruncate(fd, (off_t)spec->size) != 0)
        bad("cannot write", path);
    for (off = 0; off < spec->size; off += n) {
        const struct wr_run *run;
        unsigned member;

        if (wr_answer(spec, off, &n, &member, &run) != WR_DATA) /* what cannot be read stays zero */
            continue;
        n = n < sizeof(buf) ? n : sizeof(buf);
        wr_expect(spec, off, buf, n, NULL);
        if (pwrite(fd, buf, n, (off_t)off) != (ssize_t)n)
            bad("cannot write", path);
    }
    if (close(fd) != 0)
        bad("cannot write", path);
}

static void write_marks(const struct wr_dir *dir, const char *path)
{
    static const char *const kinds[] = {"header", "field", "checksum", "table", "entry",
                                        "bitmap", "data",  "log",      "text",  "marker"};
    static const char *const roles[] = {"needed", "spare", "defines", "ignored"};
    FILE *out = fopen(path, "we");
    size_t i, k;

    if (!out)
        bad("cannot write", path);
    (void)fprintf(out, "file\tkind\trole\tname\tindex\toff\tlen\twidth\tbig\tdisk_off\tdisk_len\n");
    for (i = 0; i < dir->n; i++)
        for (k = 0; k < dir->files[i]->n_marks; k++) {
            const struct wr_mark *m = &dir->files[i]->marks[k];

            (void)fprintf(out, "%s\t%s\t%s\t%s\t%llu\t%llu\t%llu\t%u\t%d\t%llu\t%llu\n",
                          dir->files[i]->name, kinds[m->kind], roles[m->role], m->name,
                          (unsigned long long)m->index, (unsigned long long)m->off,
                          (unsigned long long)m->len, m->width, m->big_endian,
                          (unsigned long long)m->disk_off, (unsigned long long)m->disk_len);
        }
    if (fclose(out) != 0)
        bad("cannot write", path);
}

int main(int argc, char **argv)
{
    static struct member *all[MEMBERS_MAX];
    const char *expect = NULL, *marks = NULL, *v;
    struct wr_dir dir = {0};
    size_t n = 0, i;
    char name[WR_NAME_MAX + 8];
    int a;

    if (argc < 3)
        bad("usage", "mkimage DIR [expect=FILE|all] [marks=FILE] member kind=… name=… size=… …");
    for (a = 2; a < argc; a++) {
        if (strcmp(argv[a], "member") == 0) {
            if (n == MEMBERS_MAX)
                bad("too many members", argv[a]);
            if (n)
                finish(all[n - 1]);
            all[n] = wr_alloc(1, sizeof(struct member));
            all[n]->spec.id = n + 1;
            all[n]->spec.parent = n ? &all[n - 1]->spec : NULL;
            n++;
        } else if (!n && (v = value_of(argv[a], "expect")) != NULL) {
            expect = v;
        } else if (!n && (v = value_of(argv[a], "marks")) != NULL) {
            marks = v;
        } else if (n) {
            set_key(all, n - 1, all[n - 1], argv[a]);
        } else {
            bad("before the first member", argv[a]);
        }
    }
    if (!n)
        bad("no member", "");
    finish(all[n - 1]);
    for (i = 0; i < n; i++)
        (void)wr_build(&all[i]->spec, &dir);
    wr_save(&dir, argv[1]);
    for (i = 0; expect && i < n; i++)
        if (strcmp(expect, "all") == 0) {
            (void)snprintf(name, sizeof(name), "%s.raw", all[i]->spec.name);
            write_expected(&all[i]->spec, argv[1], name);
        }
    if (expect && strcmp(expect, "all") != 0)
        write_expected(&all[n - 1]->spec, argv[1], expect);
    if (marks)
        write_marks(&dir, marks);
    wr_dir_clear(&dir);
    for (i = 0; i < n; i++) {
        if (all[i]->spec.runs != all[i]->runs)
            free((void *)(uintptr_t)all[i]->spec.runs);
        free(all[i]);
    }
    return 0;
}
