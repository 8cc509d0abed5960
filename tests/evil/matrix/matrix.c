/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The evil matrix: a small image of one kind, and for every mark of its files every way to break it:
 *
 *   cut:NAME[i]@PLACE      the file ends at the mark's start, one byte later, in its middle, one byte
 *                          before its end, at its end
 *   set:NAME[i]=WORD       a table entry becomes 0, 1, past the end, into the header, into the tables,
 *                          its top bit, all ones
 *   sum:NAME[i]            a checksum is wrong
 *   field:NAME[i]=WORD     a header field takes a boundary value, its checksum now wrong
 *   fixed:NAME[i]=WORD     the same with the checksum made right again
 *   zero:NAME[i], ones:NAME[i]   a whole structure is overwritten
 *
 * Outcome: the chain is refused, or every byte is right but for the part of the disk that depends on the
 * broken thing, which fails with an error.  An entry value that means "not here" or "zeros" gives just that
 * for its unit, unless a redundant copy says otherwise.  Nothing else: never a wrong byte.  Each case has 2
 * seconds of processor time and 256 MiB.
 *
 *     matrix KIND            a part of the cases (about BUDGET), evenly chosen
 *     matrix KIND CASE       that case
 *     VDISKFS_MATRIX=full    all of them
 *     VDISKFS_MATRIX=list    their names
 */
#include "matrix.h"

#include "image/chain.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define BUDGET     1250u /* cases of one kind in a usual run */
#define CPU_MAX    2.0
#define MEMORY_MAX (256u << 10) /* KiB */
#define WHOLE_DISK (1u << 20)   /* disks up to this size are compared wholly */

struct matrix {
    const struct fixture *fixture;
    struct wr_spec parent, tip;
    struct wr_dir dir;
    const char *only; /* this case alone */
    bool list;
    unsigned budget, n_all, n_run, n_refused, n_failed_sectors, n_alt, n_wrong;
    uint64_t skip; /* every skip-th case runs */
    uint8_t *fail_map;
    double worst_cpu;
    unsigned long worst_kib;
    char name[160];
};

/* What a case allows. */
struct allowed {
    struct wr_range may_fail, any, alt;
    enum wr_state alt_state;
    bool use_map; /* fail_map counts */
    bool may_refuse;
    bool other_size; /* the disk may have another size */
};

/* Less memory that ASan keeps back, so that a case's own use can be seen. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "quarantine_size_mb=8:malloc_context_size=6:detect_leaks=1";
}

static char running[240];

static void too_long(int sig)
{
    static const char text[] = "\nmatrix: does not end: ";

    (void)sig;
    if (write(2, text, sizeof(text) - 1) < 0 || write(2, running, strlen(running)) < 0)
        _exit(2);
    _exit(2);
}

static double cpu_now(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Resident memory in KiB: `what` is "VmRSS:" or "VmHWM:". */
static unsigned long memory_now(const char *what)
{
    FILE *f = fopen("/proc/self/status", "re");
    unsigned long v = 0;
    char line[256];

    while (f && fgets(line, sizeof(line), f))
        if (strncmp(line, what, strlen(what)) == 0)
            v = strtoul(line + strlen(what), NULL, 10);
    if (f)
        (void)fclose(f);
    return v;
}

/* Makes VmHWM start again from now. */
static void memory_reset(void)
{
    int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);

    if (fd >= 0) {
        if (write(fd, "5", 1) != 1)
            (void)fprintf(stderr, "matrix: the peak of memory is that of the whole run\n");
        (void)close(fd);
    }
}

/* ---- one case ---- */

/* Reads around [off, off+len): both ends, whole if small. */
static int read_around(struct wr_compare *c, uint64_t off, uint64_t len)
{
    uint64_t from = off > 4096 ? off - 4096 : 0, end = off + len;

    if (len <= 65536)
        return wr_compare_read(c, from, len + 8192);
    return wr_compare_read(c, from, 8192) || wr_compare_read(c, end - 4096, 8192) ? -1 : 0;
}

static int compare_disk(struct matrix *x, struct wr_compare *c)
{
    uint64_t off;
    size_t i;

    if (wr_compare_map(c, 2000, 2048))
        return -1;
    if (x->tip.size <= WHOLE_DISK) {
        for (off = 0; off < x->tip.size; off += 65536)
            if (wr_compare_read(c, off, 65536))
                return -1;
        return 0;
    }
    for (i = 0; i < x->tip.n_runs; i++)
        if (read_around(c, x->tip.runs[i].off, x->tip.runs[i].len))
            return -1;
    return read_around(c, c->alt.off, c->alt.len < x->tip.size ? c->alt.len : 1) ||
                   read_around(c, c->may_fail.off,
                               c->may_fail.len < x->tip.size ? c->may_fail.len : 1)
               ? -1
               : 0;
}

static int judge_disk(struct matrix *x, const struct allowed *a, struct chain *chain, char *why)
{
    struct vd_err err = VD_ERR_INIT;
    struct wr_compare c = {.spec = &x->tip,
                           .may_fail = a->may_fail,
                           .fail_map = a->use_map ? x->fail_map : NULL,
                           .any = a->any,
                           .alt = a->alt,
                           .alt_state = a->alt_state};
    int rc;

    if (chain_point(chain, 0, &c.dev, &err) != 0) {
        (void)snprintf(why, 400, "no point: %.300s", err.msg);
        return -1;
    }
    rc = compare_disk(x, &c);
    if (rc == 0 && c.dev->size != x->tip.size && !a->other_size) {
        (void)snprintf(c.why, sizeof(c.why), "the disk has another size");
        rc = -1;
    }
    x->n_failed_sectors += (unsigned)c.n_failed;
    x->n_alt += (unsigned)c.n_alt;
    blk_unref(c.dev);
    (void)snprintf(why, 400, "%s", c.why);
    return rc;
}

/* The files are as the case wants them. */
static void run_case(struct matrix *x, const struct allowed *a)
{
    struct itimerval limit = {.it_value.tv_sec = 60}, off = {0};
    struct chain_options options = {0};
    struct vd_err err = VD_ERR_INIT;
    struct chain *chain = NULL;
    struct blk_source source;
    unsigned long before, peak;
    char why[400] = "";
    double cpu;
    int rc;

    (void)snprintf(running, sizeof(running), "%s %s\n", x->fixture->name, x->name);
    memory_reset();
    before = memory_now("VmRSS:");
    (void)setitimer(ITIMER_REAL, &limit, NULL);
    cpu = cpu_now();
    wr_source(&x->dir, &source);
    rc = chain_open(&source, x->tip.name, &options, &chain, &err);
    if (rc) {
        x->n_refused++;
        if (!a->may_refuse)
            (void)snprintf(why, sizeof(why), "refused: %.300s", err.msg);
        else if (!err.msg[0])
            (void)snprintf(why, sizeof(why), "refused without a message");
    } else {
        (void)judge_disk(x, a, chain, why);
        chain_free(chain);
    }
    cpu = cpu_now() - cpu;
    (void)setitimer(ITIMER_REAL, &off, NULL);
    peak = memory_now("VmHWM:");
    peak = peak > before ? peak - before : 0;
    x->worst_cpu = cpu > x->worst_cpu ? cpu : x->worst_cpu;
    x->worst_kib = peak > x->worst_kib ? peak : x->worst_kib;
    if (!why[0] && cpu > CPU_MAX)
        (void)snprintf(why, sizeof(why), "took %.1f s", cpu);
    if (!why[0] && peak > MEMORY_MAX)
        (void)snprintf(why, sizeof(why), "took %lu KiB", peak);
    if (why[0]) {
        x->n_wrong++;
        (void)printf("FAIL %s %s: %s\n", x->fixture->name, x->name, why);
    } else if (x->only) {
        (void)printf("ok %s %s: %s\n", x->fixture->name, x->name,
                     rc ? err.msg : "opened, every byte right or refused");
    }
    x->n_run++;
}

/* Is this case one of those that run? */
static bool chosen(struct matrix *x)
{
    unsigned n = x->n_all++;

    if (x->only)
        return strcmp(x->only, x->name) == 0;
    if (x->list) {
        (void)printf("%s %s\n", x->fixture->name, x->name);
        return false;
    }
    return x->skip <= 1 || n * UINT64_C(2654435761) % 65536 * x->skip < 65536;
}

static void name_case(struct matrix *x, const char *what, const struct wr_mark *m, const char *tail)
{
    (void)snprintf(x->name, sizeof(x->name), "%s:%s[%llu]%s", what, m->name,
                   (unsigned long long)m->index, tail);
}

/* ---- which part of the disk depends on what ---- */

static void map_range(struct matrix *x, uint64_t off, uint64_t len)
{
    uint64_t i;

    for (i = off / 512; len && i <= (off + len - 1) / 512 && i < x->tip.size / 512; i++)
        x->fail_map[i] = 1;
}

static void map_clear(struct matrix *x)
{
    memset(x->fail_map, 0, x->tip.size / 512 + 1);
}

/* A chunk's bitmap is asked for partly present blocks only. */
static void map_partial(struct matrix *x, const struct wr_mark *m)
{
    uint64_t unit = wr_unit(&x->tip), off;
    unsigned member;

    for (off = m->disk_off; off < m->disk_off + m->disk_len; off += unit) {
        uint64_t end = off + unit < x->tip.size ? off + unit : x->tip.size, at;
        bool mine = false, other = false;

        for (at = off; at < end; at += 512) {
            bool tip = wr_provenance(&x->tip, at, &member) != WR_ABSENT && member == 0;

            mine = mine || tip;
            other = other || !tip;
        }
        if (mine && other)
            map_range(x, off, end - off);
    }
}

static bool is_vmdk(const struct matrix *x)
{
    return x->tip.kind >= WR_VMDK_FLAT && x->tip.kind <= WR_VMDK_CUSTOM;
}

/* What the specification makes of an entry: true and *out when the value itself says so. */
static bool entry_means(const struct matrix *x, const struct wr_mark *m, uint64_t v,
                        enum wr_state *out)
{
    *out = WR_ABSENT;
    switch (m->encoding) {
    case WR_ENC_SECTORS:
        if (!is_vmdk(x))
            return v == UINT32_MAX; /* VHD: only this is "not here" */
        if (v == 1 && x->tip.knobs.zero_grain) {
            *out = WR_ZEROS;
            return true;
        }
        return v == 0;
    case WR_ENC_VHDX: /* 0 not present; 1, 2, 3 zeros; place bits mean nothing then */
        if ((v & 7) >= 1 && (v & 7) <= 3)
            *out = WR_ZEROS;
        return (v & 7) <= 3 && strcmp(m->name, "bat") == 0;
    case WR_ENC_SE_GDE:
        return v == 0;
    case WR_ENC_SE_GTE:
        if (v >> 60 == 1 || v >> 60 == 2)
            *out = WR_ZEROS;
        return v == 0 || v >> 60 == 1 || v >> 60 == 2;
    case WR_ENC_NUMBER:
    case WR_ENC_BYTES:
        break;
    }
    return false;
}

/* An entry that names bytes of other units or tables makes those unreadable too: two claim one place. */
static void map_claimed(struct matrix *x, const struct wr_file *f, const struct wr_mark *m,
                        uint64_t v)
{
    bool directory = strncmp(m->name, "ed", 2) == 0;
    uint64_t off, len = directory ? 32768 : wr_unit(&x->tip) + 512u;
    size_t i;

    if (m->encoding == WR_ENC_SECTORS)
        off = v * 512;
    else if (m->encoding == WR_ENC_VHDX && (v & 7) >= 6)
        off = v & ~UINT64_C(0xfffff);
    else
        return;
    for (i = 0; i < f->n_marks; i++) {
        const struct wr_mark *k = &f->marks[i];

        if ((k->kind == WR_MARK_DATA || k->kind == WR_MARK_TABLE || k->kind == WR_MARK_BITMAP) &&
            k->disk_len && off < k->off + k->len && k->off < off + len)
            map_range(x, k->disk_off, k->disk_len);
    }
}

/* ---- the ways to break ---- */

static void set_entry(struct matrix *x, struct wr_file *f, const struct wr_mark *m, uint64_t v,
                      const char *word)
{
    struct allowed a = {.may_refuse = true};
    const struct wr_range mine = {m->disk_off, m->disk_len};
    uint64_t old = wr_get(f, m);

    name_case(x, "set", m, word);
    if (v == old || !chosen(x))
        return;
    map_clear(x);
    a.use_map = true;
    if (strcmp(m->name, "sb") == 0 || m->role == WR_ROLE_IGNORED)
        map_partial(x, m);
    else
        map_range(x, mine.off, mine.len);
    if (m->role == WR_ROLE_NEEDED && entry_means(x, m, v, &a.alt_state))
        a.alt = mine;
    map_claimed(x, f, m, v);
    wr_set(f, m, v);
    run_case(x, &a);
    wr_set(f, m, old);
}

static void set_entries(struct matrix *x, struct wr_file *f, const struct wr_mark *m)
{
    uint64_t top = UINT64_C(1) << (8 * m->width - 1), past = f->len + (4 << 20);
    uint64_t units = past, header = 0, table = 0;
    size_t i;

    for (i = 0; i < f->n_marks; i++)
        if (f->marks[i].kind == WR_MARK_TABLE)
            table = f->marks[i].off;
    if (m->encoding == WR_ENC_SE_GDE || m->encoding == WR_ENC_SE_GTE) {
        units =
            past /
            4096; /* numbers of tables and grains, not places: header and tables are out of reach */
        header = table = past;
    }
    set_entry(x, f, m, 0, "=0");
    set_entry(x, f, m, 1, "=1");
    set_entry(x, f, m, wr_encode(m, units), "=past_end");
    set_entry(x, f, m, wr_encode(m, header), "=into_header");
    set_entry(x, f, m, wr_encode(m, table), "=into_table");
    set_entry(x, f, m, top, "=top_bit");
    set_entry(x, f, m, top | wr_get(f, m), "=with_top_bit");
    set_entry(x, f, m, m->width == 8 ? UINT64_MAX : (UINT64_C(1) << 8 * m->width) - 1, "=ones");
}

/* Does a right checksum cover the field? */
static const struct wr_mark *sum_of(const struct wr_file *f, const struct wr_mark *m)
{
    size_t i;

    for (i = 0; i < f->n_marks; i++) {
        const struct wr_mark *s = &f->marks[i];

        if (s->kind == WR_MARK_CHECKSUM && m->off >= s->sum_off && m->off - s->sum_off < s->sum_len)
            return s;
    }
    return NULL;
}

static void set_field(struct matrix *x, struct wr_file *f, const struct wr_mark *m, uint64_t v,
                      const char *word)
{
    const struct wr_mark *sum = sum_of(f, m);
    const struct allowed strict = {.may_refuse = true, .may_fail = {0, WR_ALL}};
    const struct allowed none = {
        .may_refuse = true, .may_fail = {0, WR_ALL}, .any = {0, WR_ALL}, .other_size = true};
    uint64_t old = wr_get(f, m), old_sum = sum ? wr_get(f, sum) : 0;
    struct allowed of_unit = {.may_refuse = true, .may_fail = {m->disk_off, m->disk_len}};
    const struct allowed *plain = m->disk_len                          ? &of_unit
                                  : m->role == WR_ROLE_DEFINES && !sum ? &none
                                                                       : &strict;

    if (sum && sum->role == WR_ROLE_DEFINES)
        plain = &none;
    name_case(x, "field", m, word);
    if (v != old && chosen(x)) {
        wr_set(f, m, v);
        run_case(x, plain);
        wr_set(f, m, old);
    }
    name_case(x, "fixed", m, word);
    if (v != old && sum && chosen(x)) {
        wr_set(f, m, v);
        wr_fix_checksums(f);
        run_case(x, m->role == WR_ROLE_DEFINES ? &none : &strict);
        wr_set(f, m, old);
        wr_set(f, sum, old_sum);
    }
}

static void set_fields(struct matrix *x, struct wr_file *f, const struct wr_mark *m)
{
    uint64_t all = m->width >= 8 ? UINT64_MAX : (UINT64_C(1) << 8 * m->width) - 1;
    uint64_t v = wr_get(f, m), top = all - (all >> 1);

    if (m->width > 8)
        return;
    set_field(x, f, m, 0, "=0");
    set_field(x, f, m, 1, "=1");
    set_field(x, f, m, (v + 1) & all, "=plus_one");
    set_field(x, f, m, (v - 1) & all, "=minus_one");
    set_field(x, f, m, (v * 2) & all, "=double");
    set_field(x, f, m, v / 2, "=half");
    set_field(x, f, m, v ^ top, "=top_bit");
    set_field(x, f, m, all, "=ones");
    set_field(x, f, m, all >> 1, "=max_signed");
    if (m->encoding != WR_ENC_NUMBER)
        set_field(x, f, m, wr_encode(m, f->len), "=file_end");
}

static void break_sum(struct matrix *x, struct wr_file *f, const struct wr_mark *m)
{
    struct allowed a = {.may_refuse = true, .may_fail = {0, WR_ALL}};

    if (m->role == WR_ROLE_DEFINES)
        a.any.len = WR_ALL, a.other_size = true;
    name_case(x, "sum", m, "");
    if (!chosen(x))
        return;
    wr_set(f, m, wr_get(f, m) ^ 0x100);
    run_case(x, &a);
    wr_set(f, m, wr_get(f, m) ^ 0x100);
}

/* The file ends at `end`: what lies wholly before it must still be right. */
static void cut_at(struct matrix *x, struct wr_file *f, const struct wr_mark *m, uint64_t end,
                   const char *word)
{
    struct allowed a = {.may_refuse = true, .use_map = true};
    uint64_t old = f->len, i, s;
    bool defines = false;

    name_case(x, "cut", m, word);
    if (end >= old || !chosen(x))
        return;
    map_clear(x);
    for (i = 0; i < f->n_marks; i++) {
        const struct wr_mark *k = &f->marks[i];

        if (k->off + k->len <= end)
            continue;
        if (k->disk_len)
            map_range(x, k->disk_off, k->disk_len);
        else if (k->role == WR_ROLE_DEFINES || k->kind == WR_MARK_TABLE ||
                 k->kind == WR_MARK_HEADER)
            for (s = 0; s < x->tip.size / 512; s++)
                x->fail_map[s] = 1;
        /* a text that lost its end is another text; a log that lost entries is another log */
        defines = defines || k->kind == WR_MARK_TEXT || k->kind == WR_MARK_LOG;
    }
    if (defines)
        a.any.len = WR_ALL, a.other_size = true;
    f->len = end;
    run_case(x, &a);
    f->len = old;
}

static void cuts(struct matrix *x, struct wr_file *f, const struct wr_mark *m)
{
    cut_at(x, f, m, m->off, "@start");
    cut_at(x, f, m, m->off + 1, "@start+1");
    cut_at(x, f, m, m->off + m->len / 2, "@middle");
    cut_at(x, f, m, m->off + m->len - 1, "@end-1");
    cut_at(x, f, m, m->off + m->len, "@end");
}

/* A whole structure overwritten. */
static void wipe(struct matrix *x, struct wr_file *f, const struct wr_mark *m, int byte,
                 const char *what)
{
    struct allowed a = {.may_refuse = true, .may_fail = {0, WR_ALL}};
    uint8_t *old;

    name_case(x, what, m, "");
    if (!chosen(x))
        return;
    old = malloc(m->len);
    if (!old)
        abort();
    memcpy(old, f->bytes + m->off, m->len);
    memset(f->bytes + m->off, byte, m->len);
    if (m->kind == WR_MARK_TABLE && m->role == WR_ROLE_NEEDED) {
        a.may_fail = m->disk_len ? (struct wr_range){m->disk_off, m->disk_len}
                                 : (struct wr_range){0, WR_ALL};
        /* all entries 0, or all ones, may mean "nothing here" */
        a.alt = a.may_fail;
    }
    if (m->kind == WR_MARK_LOG ||
        (m->kind == WR_MARK_HEADER && sum_of(f, m) && sum_of(f, m)->role == WR_ROLE_DEFINES))
        a.any.len = WR_ALL, a.other_size = true;
    run_case(x, &a);
    memcpy(f->bytes + m->off, old, m->len);
    free(old);
}

static void break_mark(struct matrix *x, struct wr_file *f, const struct wr_mark *m)
{
    switch (m->kind) {
    case WR_MARK_ENTRY:
        set_entries(x, f, m);
        break;
    case WR_MARK_FIELD:
        set_fields(x, f, m);
        break;
    case WR_MARK_CHECKSUM:
        break_sum(x, f, m);
        cuts(x, f, m);
        break;
    case WR_MARK_HEADER:
    case WR_MARK_TABLE:
    case WR_MARK_LOG:
        wipe(x, f, m, 0, "zero");
        wipe(x, f, m, 0xff, "ones");
        cuts(x, f, m);
        break;
    case WR_MARK_MARKER:
    case WR_MARK_BITMAP:
    case WR_MARK_DATA:
    case WR_MARK_TEXT:
        cuts(x, f, m);
        break;
    }
}

static void all_cases(struct matrix *x)
{
    size_t i, k;

    for (i = 0; i < x->dir.n; i++) {
        struct wr_file *f = x->dir.files[i];

        if (strncmp(f->name, "tip", 3) != 0)
            continue;
        for (k = 0; k < f->n_marks; k++)
            break_mark(x, f, &f->marks[k]);
    }
}

/* Unbroken, everything is right: else the matrix proves nothing. */
static void sound_case(struct matrix *x)
{
    const struct allowed a = {0};

    (void)snprintf(x->name, sizeof(x->name), "sound");
    run_case(x, &a);
}

static int run_fixture(const struct fixture *fixture, const char *only)
{
    const char *mode = getenv("VDISKFS_MATRIX");
    struct matrix x = {
        .fixture = fixture, .parent = fixture->parent, .tip = fixture->tip, .only = only};

    if (fixture->has_parent) {
        x.tip.parent = &x.parent;
        (void)wr_build(&x.parent, &x.dir);
    }
    (void)wr_build(&x.tip, &x.dir);
    x.fail_map = calloc(x.tip.size / 512 + 2, 1);
    if (!x.fail_map)
        abort();
    x.only = "none at all"; /* counts the cases */
    all_cases(&x);
    x.skip = mode && strcmp(mode, "full") == 0 ? 1 : x.n_all / BUDGET + 1;
    x.list = mode && strcmp(mode, "list") == 0;
    x.only = only;
    x.n_all = 0;
    sound_case(&x);
    all_cases(&x);
    if (only && x.n_run < 2)
        x.n_wrong++, (void)printf("no case %s\n", only);
    (void)printf("%s: %u of %u cases, %u refused, %u sectors failed, %u read as the entry says; "
                 "worst %.2f s, %lu KiB; %u WRONG\n",
                 fixture->name, x.n_run, x.n_all + 1, x.n_refused, x.n_failed_sectors, x.n_alt,
                 x.worst_cpu, x.worst_kib, x.n_wrong);
    wr_dir_clear(&x.dir);
    free(x.fail_map);
    return x.n_wrong ? 1 : 0;
}

int main(int argc, char **argv)
{
    int rc = 0;
    unsigned i, n = 0;

    (void)signal(SIGALRM, too_long);
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    for (i = 0; i < n_fixtures; i++)
        if (argc < 2 || strcmp(argv[1], fixtures[i].name) == 0) {
            rc |= run_fixture(&fixtures[i], argc > 2 ? argv[2] : NULL);
            n++;
        }
    if (!n)
        (void)fprintf(stderr, "matrix: no kind %s\n", argv[1]);
    return n ? rc : 2;
}
