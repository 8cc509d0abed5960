/* SPDX-License-Identifier: Apache-2.0 */
/* vdiskctl audit export: lines for each record, hostile text, formulas, what is cut, the verdict in
 * front, places that are refused, and how many records per second. */
#include "testlib.h"

#include "audit/audit.h"
#include "audit/export.h"
#include "audit/verify.h"
#include "base/text.h"
#include "cli/command.h"
#include "vdiskfs/exit_codes.h"

#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MANY 200000

static char *dir;
static char path[512];
static struct vd_err err;
static struct audit_ring *ring;
static struct audit_writer *writer;

static void put(enum audit_op op, uint64_t obj, uint64_t off, uint64_t len, uint32_t proc,
                int32_t result, const struct audit_field *fields, size_t n)
{
    const struct audit_event e = {.op = op,
                                  .obj = obj,
                                  .off = off,
                                  .len = len,
                                  .proc = proc,
                                  .result = result,
                                  .fields = fields,
                                  .n_fields = n};

    assert_true(audit_log(ring, &e) != AUDIT_NOT_LOGGED);
}

#define TEXT(tag, text)                                                                            \
    {                                                                                              \
        tag, text, sizeof(text) - 1                                                                \
    }

static char evidence_dir[600], image[700];

static void log_header(void)
{
    const struct audit_field session[] = {{AUDIT_T_PATH, image, strlen(image)},
                                          TEXT(AUDIT_T_CASE_ID, "K-1"),
                                          TEXT(AUDIT_T_VERSION, "vdiskfs 1")};
    const struct audit_field evidence[] = {TEXT(AUDIT_T_NAME, "disk.vmdk"),
                                           {AUDIT_T_KEY, evidence_dir, strlen(evidence_dir)},
                                           {AUDIT_T_INO, "\1\0\0\0\0\0\0\0", 8}};
    const struct audit_field hash[] = {TEXT(AUDIT_T_NAME, "disk.vmdk"),
                                       {AUDIT_T_INO, "\1\0\0\0\0\0\0\0", 8},
                                       {AUDIT_T_SHA256, "0123456789abcdef0123456789abcdef", 32}};
    const struct audit_field proc[] = {{AUDIT_T_PID, "\xd2\x04\0\0", 4},
                                       {AUDIT_T_UID, "\xe8\x03\0\0", 4},
                                       TEXT(AUDIT_T_COMM, "=cmd|'/c calc'!A1"),
                                       TEXT(AUDIT_T_EXE, "/bin/cat")};

    put(AUDIT_SESSION_OPEN, 0, 0, 0, 0, 0, session, 3);
    put(AUDIT_EVIDENCE, 0, 0, 4096, 0, 0, evidence, 3);
    put(AUDIT_EVIDENCE_HASH, 0, 4096, 4096, 0, 0, hash, 3);
    put(AUDIT_PROC, 0, 7, 0, 0, 0, proc, 4);
}

static void log_hostile(void)
{
    static char big[16000];
    const struct audit_field open[] = {
        TEXT(AUDIT_T_PATH, "p1/\"a\", b\n\x1b[2J\xff\xe2\x80\xae\\")};
    const struct audit_field large[] = {{AUDIT_T_TEXT, big, sizeof(big)}};
    const struct audit_field name[] = {TEXT(AUDIT_T_NAME, "'quoted"), {250, "\n=1+1", 5}};
    uint64_t i;

    memset(big, '\n', sizeof(big));
    put(AUDIT_OPEN, UINT64_C(0xffffffffffffffff), 0, 0, 7, 0, open, 1);
    put(AUDIT_LOOKUP, 1, UINT64_MAX, UINT64_MAX, 7, -2, name, 2);
    put(AUDIT_WARNING, 0, 0, 0, 0, 0, large, 1);
    for (i = 0; i < 4; i++)
        put(AUDIT_READ, UINT64_C(0xffffffffffffffff), 8192 * i, 512, 7, 0, NULL, 0);
    put((enum audit_op)999, 0, 0, 0, 9, -5, NULL, 0);
}

static void open_log(void)
{
    struct audit_config config = {.ring_bytes = 1};

    config.dir = dir = test_tmpdir();
    (void)snprintf(evidence_dir, sizeof(evidence_dir), "%s/evidence", dir);
    (void)snprintf(image, sizeof(image), "%s/disk.vmdk", evidence_dir);
    assert_int_equal(mkdir(evidence_dir, 0700), 0);
    assert_ok(audit_open(&config, &writer, &ring, &err));
    (void)snprintf(path, sizeof(path), "%s", audit_session_dir(writer));
}

static int setup(void **state)
{
    (void)state;
    open_log();
    log_header();
    log_hostile();
    assert_ok(audit_close(writer, AUDIT_CLOSE_CLEAN, &err));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    test_rmdir(dir);
    return 0;
}

#define RECORDS 10 /* 4 of the header, 3, 1 merged, OP999, close */

/* ---- the formats by themselves ---- */

struct sink {
    struct vd_str text;
    uint64_t lines;
    bool keep;
};

static int take(void *ctx, const void *bytes, size_t len, struct vd_err *e)
{
    struct sink *s = ctx;
    size_t i;

    (void)e;
    for (i = 0; i < len; i++)
        s->lines += ((const char *)bytes)[i] == '\n';
    if (s->keep)
        vd_str_add_bytes(&s->text, bytes, len);
    return 0;
}

static void export_log(enum audit_export_format format, const struct audit_report *known,
                       struct sink *sink)
{
    const struct audit_export_options options = {.format = format, .write = take, .ctx = sink};
    struct audit_report second;
    struct audit_export *x;
    char note[AUDIT_NOTE];
    const struct audit_verify_options how = {.last_note = note};

    assert_ok(audit_export_open(&options, &x, &err));
    assert_ok(audit_export_begin(x, known, path, &err));
    assert_ok(audit_verify(path, &how, audit_export_record, x, &second, &err));
    assert_ok(audit_export_end(x, &second, note, &err));
    assert_ok(audit_export_finish(x, &err));
    assert_int_equal(audit_export_records(x), known->records);
    audit_export_free(x);
}

static json_t *line_of(const char *text, size_t number)
{
    json_error_t e;
    json_t *o;
    size_t len;

    for (; number > 0; number--)
        text = strchr(text, '\n') + 1;
    len = strcspn(text, "\n");
    o = json_loadb(text, len, JSON_REJECT_DUPLICATES, &e);
    if (!o)
        fail_msg("%s: %.*s", e.text, (int)len, text);
    return o;
}

static const char *field(json_t *o, const char *key)
{
    const char *v = json_string_value(json_object_get(o, key));

    return v ? v : "(none)";
}

static void timesketch(void **state)
{
    struct audit_report known;
    struct sink sink = {.keep = true};
    json_t *o;
    size_t i;

    (void)state;
    assert_ok(audit_verify(path, NULL, NULL, NULL, &known, &err));
    assert_int_equal(known.records, RECORDS);
    export_log(AUDIT_EXPORT_TIMESKETCH, &known, &sink);
    assert_int_equal(sink.lines, RECORDS);
    for (i = 0; i < RECORDS; i++) {
        o = line_of(sink.text.p, i);
        assert_non_null(json_object_get(o, "message"));
        assert_int_equal(strlen(field(o, "datetime")), strlen("2024-05-01T12:34:56.123456+00:00"));
        assert_non_null(json_object_get(o, "timestamp_desc"));
        assert_true(json_is_integer(json_object_get(o, "timestamp")));
        assert_true(json_is_integer(json_object_get(o, "seq")));
        assert_true(json_is_integer(json_object_get(o, "frame")));
        assert_string_equal(field(o, "log_verdict"), "INTACT closed");
        assert_int_equal(strlen(field(o, "session")), 36);
        json_decref(o);
    }
    o = line_of(sink.text.p, 4);
    assert_string_equal(field(o, "path"), "p1/\"a\", b\\x0a\\x1b[2J\\xff\\xe2\\x80\\xae\\\\");
    assert_string_equal(field(o, "obj"), "18446744073709551615");
    assert_string_equal(field(o, "comm"), "=cmd|'/c calc'!A1");
    assert_string_equal(field(o, "timestamp_desc"), "Access Time");
    json_decref(o);
    o = line_of(sink.text.p, 5); /* beyond signed 64 bits */
    assert_null(json_object_get(o, "offset"));
    assert_string_equal(field(o, "offset_u64"), "18446744073709551615");
    assert_string_equal(field(o, "error"), "ENOENT");
    json_decref(o);
    o = line_of(sink.text.p, 6);
    assert_true(strlen(field(o, "text")) <= 32766);
    assert_true(strlen(field(o, "message")) <= 2000);
    assert_string_equal(field(o, "cut"), "message,text");
    json_decref(o);
    o = line_of(sink.text.p, 7);
    assert_int_equal(json_integer_value(json_object_get(o, "reads")), 4);
    assert_string_equal(field(o, "ranges"), "0+512,8192+512,16384+512,24576+512");
    json_decref(o);
    assert_non_null(strstr(sink.text.p, "\"op\":\"OP999\""));
    vd_str_clear(&sink.text);
}

/* One cell of RFC 4180 at *p; its value without the guard. */
static bool next_cell(const char **p, char *out, size_t size, bool *out_last)
{
    size_t n = 0;
    bool quoted = **p == '"';

    *p += quoted;
    for (;; (*p)++) {
        if (quoted && **p == '"') {
            (*p)++;
            if (**p != '"')
                break;
        } else if (!quoted && (**p == ',' || **p == '\r')) {
            break;
        } else if (**p == '\0' || **p == '\r' || **p == '\n') {
            return false;
        }
        if (n + 1 < size)
            out[n++] = **p;
    }
    out[n] = '\0';
    if (quoted && strchr("=+-@", out[0]) && n)
        fail_msg("not guarded: %s", out);
    if (quoted && out[0] == '\'')
        memmove(out, out + 1, n);
    *out_last = **p == '\r';
    *p += *out_last ? 2 : 1;
    return (*p)[-1] == (*out_last ? '\n' : ',');
}

#define COLUMNS 29
#define CELL    40000

static void csv(void **state)
{
    static char cell[COLUMNS][CELL];
    struct audit_report known;
    struct sink sink = {.keep = true};
    size_t line, column;
    const char *p;
    bool last;

    (void)state;
    assert_ok(audit_verify(path, NULL, NULL, NULL, &known, &err));
    export_log(AUDIT_EXPORT_CSV, &known, &sink);
    assert_int_equal(sink.lines, RECORDS + 1);
    for (p = sink.text.p, line = 0; *p; line++) {
        for (column = 0, last = false; !last; column++) {
            assert_true(column < COLUMNS);
            assert_true(next_cell(&p, cell[column], CELL, &last));
            assert_true(strlen(cell[column]) <= 32766);
        }
        assert_int_equal(column, COLUMNS);
        if (line == 0)
            assert_string_equal(cell[5], "seq");
        if (line == 5) {
            assert_string_equal(cell[11], "p1/\"a\", b\\x0a\\x1b[2J\\xff\\xe2\\x80\\xae\\\\");
            assert_string_equal(cell[20], "=cmd|'/c calc'!A1");
        }
        if (line == 6) {
            assert_string_equal(cell[12], "'quoted");
            assert_string_equal(cell[27], "tag250=\"\\x0a=1+1\"");
        }
        if (line == 7)
            assert_string_equal(cell[28], "message,text");
        if (line == 8)
            assert_string_equal(cell[17], "0+512,8192+512,16384+512,24576+512");
    }
    assert_int_equal(line, RECORDS + 1);
    assert_non_null(strstr(sink.text.p, ",\"'=cmd|'/c calc'!A1\","));
    vd_str_clear(&sink.text);
}

static void case_document(void **state)
{
    struct audit_report known;
    struct sink sink = {.keep = true};
    const char *payload;
    json_t *o, *node, *facet;
    size_t i, actions = 0, files = 0;

    (void)state;
    assert_ok(audit_verify(path, NULL, NULL, NULL, &known, &err));
    export_log(AUDIT_EXPORT_CASE, &known, &sink);
    o = json_loads(sink.text.p, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(o);
    json_array_foreach(json_object_get(o, "@graph"), i, node)
    {
        actions += strcmp(field(node, "@type"), "case-investigation:InvestigativeAction") == 0;
        facet = json_array_get(json_object_get(node, "uco-core:hasFacet"), 1);
        if (strcmp(field(node, "uco-core:name"), "disk.vmdk") == 0) {
            files++;
            assert_string_equal(field(json_object_get(json_object_get(facet, "uco-observable:hash"),
                                                      "uco-types:hashValue"),
                                      "@value"),
                                "3031323334353637383961626364656630313233343536373839616263646566");
        }
        payload = field(json_object_get(node, "uco-core:hasFacet"), "uco-observable:dataPayload");
        if (strcmp(payload, "(none)") != 0) /* the note itself, as the file has it */
            assert_true(strncmp(payload, "vdiskfs/", 8) == 0 &&
                        strstr(payload, "\n\n\xe2\x80\x94 "));
    }
    assert_int_equal(actions, 1);
    assert_int_equal(files, 1);
    json_decref(o);
    vd_str_clear(&sink.text);
}

/* ---- the command ---- */

static char *output; /* of the last command, both streams */

static int run(const char *a, const char *b, const char *c, const char *d, const char *e)
{
    char *argv[] = {(char *)(uintptr_t) "audit", (char *)(uintptr_t) "export",
                    (char *)(uintptr_t)a,        (char *)(uintptr_t)b,
                    (char *)(uintptr_t)c,        (char *)(uintptr_t)d,
                    (char *)(uintptr_t)e,        NULL};
    char name[600];
    int argc = 1, saved = dup(1), saved_err = dup(2), fd, rc;
    struct stat st;

    while (argv[argc])
        argc++;
    (void)snprintf(name, sizeof(name), "%s/output", dir);
    (void)fflush(NULL);
    fd = open(name, O_RDWR | O_CREAT | O_TRUNC | O_APPEND, 0600);
    (void)dup2(fd, 1);
    (void)dup2(fd, 2);
    rc = cmd_audit(argc, argv);
    (void)fflush(NULL);
    (void)dup2(saved, 1);
    (void)dup2(saved_err, 2);
    (void)close(saved);
    (void)close(saved_err);
    free(output);
    if (fstat(fd, &st) || !(output = calloc(1, (size_t)st.st_size + 1)) ||
        pread(fd, output, (size_t)st.st_size, 0) != st.st_size)
        abort();
    (void)close(fd);
    return rc;
}

static void has(const char *text)
{
    if (!strstr(output, text))
        fail_msg("\"%s\" is not in:\n%s", text, output);
}

static void command(void **state)
{
    char out[700], partial[720], logs[600];
    struct stat st;

    (void)state;
    assert_int_equal(run(path, NULL, NULL, NULL, NULL), VD_EXIT_USAGE);
    has("--format");
    assert_int_equal(run("--format=xml", path, NULL, NULL, NULL), VD_EXIT_USAGE);
    assert_int_equal(run("--format=case", "--op=READ", path, NULL, NULL), VD_EXIT_USAGE);
    has("filters");
    assert_int_equal(run("--format=csv", NULL, NULL, NULL, NULL), VD_EXIT_USAGE);
    assert_int_equal(run("--format=csv", "/nowhere", NULL, NULL, NULL), VD_EXIT_CANNOT_OPEN);
    assert_int_equal(run("--format=csv", evidence_dir, NULL, NULL, NULL), VD_EXIT_USAGE);
    has("no audit log");
    (void)snprintf(logs, sizeof(logs), "%s", dir); /* the directory of the sessions */
    assert_int_equal(run("--format=timesketch", "--op=READ", logs, NULL, NULL), 0);
    has("\"op\":\"READ\"");

    /* where it may lie */
    (void)snprintf(out, sizeof(out), "%s/x.csv", evidence_dir);
    assert_int_equal(run("--format=csv", "-o", out, "--force", path), VD_EXIT_CANNOT_OPEN);
    has("in the evidence directory");
    (void)snprintf(out, sizeof(out), "%s/below", evidence_dir);
    assert_int_equal(mkdir(out, 0700), 0);
    (void)snprintf(out, sizeof(out), "%s/below/x.csv", evidence_dir);
    assert_int_equal(run("--format=csv", "-o", out, path, NULL), VD_EXIT_CANNOT_OPEN);
    has("below the evidence directory");
    assert_int_equal(run("--format=csv", "-o", out, "--force", path), 0);
    assert_int_equal(run("--format=csv", "-o", out, "--force", path), VD_EXIT_CANNOT_OPEN);
    has("exists");
    (void)snprintf(out, sizeof(out), "%s/x.csv", path);
    assert_int_equal(run("--format=csv", "-o", out, path, NULL), VD_EXIT_CANNOT_OPEN);
    has("log's directory");

    /* exclusively, and whole or not at all */
    (void)snprintf(out, sizeof(out), "%s/x.csv", dir);
    (void)snprintf(partial, sizeof(partial), "%s.partial", out);
    assert_int_equal(run("--format=csv", "-o", out, path, NULL), 0);
    has("10 records of 1 sessions");
    assert_int_equal(stat(out, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(stat(partial, &st), -1);
    assert_int_equal(run("--format=csv", "-o", out, path, NULL), VD_EXIT_CANNOT_OPEN);
    has("exists");
    assert_int_equal(run("--format=csv", "-o", out, "--force", path), 0);
    assert_int_equal(unlink(out), 0);
    assert_int_equal(symlink("/etc/passwd", out), 0);
    assert_int_equal(run("--format=csv", "-o", out, "--force", path), VD_EXIT_CANNOT_OPEN);
    has("not a regular file");
    assert_int_equal(unlink(out), 0);
    test_write_file(dir, "x.csv.partial", "", 0);
    assert_int_equal(run("--format=csv", "-o", out, path, NULL), VD_EXIT_CANNOT_OPEN);
    has("another export");
}

static void tampered(void **state)
{
    char segment[600];
    struct stat st;
    int fd;

    (void)state;
    (void)snprintf(segment, sizeof(segment), "%s/000000.vlog", path);
    assert_int_equal(chmod(segment, 0600), 0);
    assert_int_equal(stat(segment, &st), 0);
    fd = open(segment, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "?", 1, st.st_size - 20), 1);
    (void)close(fd);
    assert_int_equal(run("--format=timesketch", path, NULL, NULL, NULL), VD_EXIT_DIFFERENCE);
    has("TAMPERED at frame");
    has("{\"message\":\"The log of session ");
    has("did not verify: TAMPERED at frame 1: ");
    has("\"op\":\"VERDICT\"");
    has("\"log_verdict\":\"TAMPERED at frame 1\",\"seq\":0");
    assert_int_equal(run("--format=csv", path, NULL, NULL, NULL), VD_EXIT_DIFFERENCE);
    has("\r\n\"The log of session ");
    assert_int_equal(run("--format=case", path, NULL, NULL, NULL), VD_EXIT_DIFFERENCE);
    has("\"uco-core:tag\": \"TAMPERED at frame 1\"");
    has("\"uco-action:actionStatus\": \"Unknown\"");
}

/* ---- how fast ---- */

static double now(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void speed(void **state)
{
    static const char *const names[] = {"timesketch", "csv", "case"};
    struct audit_report known;
    uint64_t i;
    int format;

    (void)state;
    open_log();
    log_header();
    assert_ok(audit_start(writer, &err));
    for (i = 0; i < MANY; i++) {
        char name[64];
        const struct audit_field where = {
            AUDIT_T_PATH, name,
            (size_t)snprintf(name, sizeof(name), "p1/fs/Users/someone/file%" PRIu64, i % 5000)};

        put(i % 4 ? AUDIT_GETATTR : AUDIT_OPEN, 100 + i % 5000, 0, 0, 7, 0, &where, i % 4 == 0);
    }
    assert_ok(audit_close(writer, AUDIT_CLOSE_CLEAN, &err));
    assert_ok(audit_verify(path, NULL, NULL, NULL, &known, &err));
    assert_int_equal(known.records, MANY + 5);
    for (format = AUDIT_EXPORT_TIMESKETCH; format <= AUDIT_EXPORT_CASE; format++) {
        struct sink sink = {0};
        double start = now(), took;

        export_log((enum audit_export_format)format, &known, &sink);
        took = now() - start;
        (void)printf("%s: %.0f records/s on one core\n", names[format],
                     (double)known.records / took);
        if (format != AUDIT_EXPORT_CASE)
            assert_int_equal(sink.lines, known.records + (format == AUDIT_EXPORT_CSV));
    }
    test_rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(timesketch, setup, teardown),
        cmocka_unit_test_setup_teardown(csv, setup, teardown),
        cmocka_unit_test_setup_teardown(case_document, setup, teardown),
        cmocka_unit_test_setup_teardown(command, setup, teardown),
        cmocka_unit_test_setup_teardown(tampered, setup, teardown),
        cmocka_unit_test(speed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
