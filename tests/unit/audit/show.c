/* SPDX-License-Identifier: Apache-2.0 */
/* vdiskctl audit verify and show: lines, filters, JSON, escapes, exit codes. */
#include "testlib.h"

#include "audit/audit.h"
#include "audit/show.h"
#include "audit/show_memory.h"
#include "audit/verify.h"
#include "base/bytes.h"
#include "cli/command.h"
#include "vdiskfs/exit_codes.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char *dir;
static struct vd_err err;
static char path[512];
static struct audit_ring *ring;
static char *output; /* of the last command */

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

static void log_something(void)
{
    const struct audit_field session[] = {TEXT(AUDIT_T_EXAMINER, "Ada \"L.\""),
                                          TEXT(AUDIT_T_COMMAND_LINE, "vdiskfs\0a b")};
    const struct audit_field proc[] = {{AUDIT_T_PID, "\xd2\x04\0\0", 4},
                                       {AUDIT_T_UID, "\xe8\x03\0\0", 4},
                                       TEXT(AUDIT_T_COMM, "cat"),
                                       TEXT(AUDIT_T_EXE, "/bin/cat")};
    const struct audit_field open[] = {TEXT(AUDIT_T_PATH, "p1/fs/a file")};
    const struct audit_field name[] = {TEXT(AUDIT_T_NAME, "etc")};
    const struct audit_field evil[] = {TEXT(AUDIT_T_NAME, "x\nREAD \x1b[2J\xff\xe2\x80\xae\\")};
    const struct audit_field hash[] = {{AUDIT_T_SHA256, "0123456789abcdef0123456789abcdef", 32},
                                       {AUDIT_T_MTIME, "\xff\xff\xff\xff\xff\xff\xff\xff", 8},
                                       {250, "new", 3},
                                       {250, "er", 2}};
    uint64_t i;

    put(AUDIT_SESSION_OPEN, 0, 0, 0, 0, 0, session, 2);
    put(AUDIT_EVIDENCE, 0, 0, 0, 0, 0, hash, 4);
    put(AUDIT_PROC, 0, 7, 0, 0, 0, proc, 4);
    put(AUDIT_LOOKUP, 1, 55, 0, 7, 0, name, 1);  /* root/etc is 55 */
    put(AUDIT_OPENDIR, 55, 0, 0, 7, 0, NULL, 0); /* path from the look-up */
    put(AUDIT_LOOKUP, 55, 0, 0, 7, -2, evil, 1);
    put(AUDIT_OPEN, UINT64_C(0xffffffffffffffff), 0, 0, 7, 0, open, 1);
    put(AUDIT_READ, UINT64_C(0xffffffffffffffff), 4096, 512, 7, 0, NULL, 0);
    put(AUDIT_REFUSED, 1, 0, 0, 8, -30, NULL, 0); /* a process that nobody introduced */
    for (i = 0; i < 4; i++)
        put(AUDIT_READ, UINT64_C(0xffffffffffffffff), 8192 * i, 512 * i + 512, 0, 0, NULL, 0);
    for (i = 0; i < 3; i++)
        put(AUDIT_READ, UINT64_C(0xffffffffffffffff), 1000 * i, 1000, 7, 0, NULL, 0);
    put((enum audit_op)999, 0, 0, 0, 0, -5, NULL, 0);
}

static int setup(void **state)
{
    struct audit_config config = {.ring_bytes = 1};
    struct audit_writer *w;

    (void)state;
    config.dir = dir = test_tmpdir();
    assert_ok(audit_open(&config, &w, &ring, &err));
    (void)snprintf(path, sizeof(path), "%s", audit_session_dir(w));
    log_something();
    assert_ok(audit_close(w, AUDIT_CLOSE_CLEAN, &err));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(output);
    output = NULL;
    test_rmdir(dir);
    return 0;
}

/* Runs the command with standard output (and error) into `output`. */
static int run(const char *a, const char *b, const char *c, const char *d)
{
    char *argv[] = {(char *)(uintptr_t) "audit", (char *)(uintptr_t)a, (char *)(uintptr_t)b,
                    (char *)(uintptr_t)c,        (char *)(uintptr_t)d, NULL};
    char name[600];
    int argc = 1, saved = dup(1), saved_err = dup(2), fd, rc;
    struct stat st;

    while (argv[argc])
        argc++;
    (void)snprintf(name, sizeof(name), "%s/output", dir);
    (void)fflush(NULL);
    fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
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

static size_t lines(void)
{
    size_t n = 0;
    const char *p;

    for (p = output; *p; p++)
        n += *p == '\n';
    return n;
}

static void has(const char *text)
{
    if (!strstr(output, text))
        fail_msg("\"%s\" is not in:\n%s", text, output);
}

static void text(void **state)
{
    (void)state;
    assert_int_equal(run("show", path, NULL, NULL), 0);
    assert_int_equal(lines(), 13); /* one for each record, whatever names contain */
    has("Z seq=0 frame=0 SESSION_OPEN result=OK");
    has("examiner=\"Ada \\\"L.\\\"\"");
    has("command_line=\"vdiskfs\\x00a b\"");
    has("sha256=3031323334353637383961626364656630313233343536373839616263646566");
    has("mtime=1969-12-31T23:59:59.999999999Z");
    has("tag250=new tag250.2=er");
    has("OPENDIR result=OK proc=7 pid=1234 comm=cat uid=1000 exe=/bin/cat obj=55 path=etc off=0");
    has("LOOKUP result=ENOENT");
    has("name=\"x\\x0aREAD \\x1b[2J\\xff\\xe2\\x80\\xae\\\\\"");
    has("READ result=OK proc=7 pid=1234 comm=cat uid=1000 exe=/bin/cat "
        "obj=18446744073709551615 path=\"p1/fs/a file\" off=4096 len=512\n");
    has("REFUSED result=EROFS proc=8 obj=1 path=\"\" ");
    has(" off=0 len=3000 flags=merged reads=3 until=20");
    has(" off=0 len=5120 flags=merged reads=4 until=20");
    has("Z ranges=0+512,8192+1024,16384+1536,24576+2048\n");
    has("OP999 result=EIO");
    has("SESSION_CLOSE result=OK obj=0 off=0 len=0 text=clean\n");
}

static void json(void **state)
{
    char *line, *save = NULL;
    size_t n = 0;

    (void)state;
    assert_int_equal(run("show", "--json", path, NULL), 0);
    for (line = strtok_r(output, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        json_error_t e;
        /* Integers of 64 bits are beyond the parser's signed ones: then as real. */
        json_t *o = json_loads(line, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &e);

        if (!o)
            fail_msg("%s: %s", line, e.text);
        assert_true(json_number_value(json_object_get(o, "seq")) >= (double)n);
        if (n == 5)
            assert_string_equal(json_string_value(json_object_get(o, "name")),
                                "x\\x0aREAD \\x1b[2J\\xff\\xe2\\x80\\xae\\\\");
        if (n == 7) {
            assert_string_equal(json_string_value(json_object_get(o, "path")), "p1/fs/a file");
            assert_string_equal(json_string_value(json_object_get(o, "op")), "READ");
            assert_true(json_number_value(json_object_get(o, "off")) == 4096);
        }
        if (n == 9) {
            const json_t *last = json_array_get(json_object_get(o, "ranges"), 3);

            assert_true(json_number_value(json_object_get(o, "reads")) == 4);
            assert_int_equal(json_array_size(json_object_get(o, "ranges")), 4);
            assert_true(json_number_value(json_array_get(last, 0)) == 24576);
            assert_true(json_number_value(json_array_get(last, 1)) == 2048);
            assert_true(json_number_value(json_object_get(o, "until_boot_ns")) >=
                        json_number_value(json_object_get(o, "boot_ns")));
        }
        json_decref(o);
        n++;
    }
    assert_int_equal(n, 13);
}

static void filters(void **state)
{
    (void)state;
    assert_int_equal(run("show", "--op=read", path, NULL), 0);
    assert_int_equal(lines(), 3);
    assert_int_equal(run("show", "--pid=1234", path, NULL), 0);
    assert_int_equal(lines(), 7);
    assert_int_equal(run("show", "--path=/p1/", path, NULL), 0);
    assert_int_equal(lines(), 4);
    assert_int_equal(run("show", "--path=p1/fs/a", path, NULL), 0);
    assert_int_equal(lines(), 0); /* "a file" is not beneath "a" */
    assert_int_equal(run("show", "--op=FLY", path, NULL), VD_EXIT_USAGE);
    has("--op: there is no operation FLY");
    assert_int_equal(run("show", "--op=READ,OP999,open", path, NULL), 0);
    assert_int_equal(lines(), 5);
    assert_int_equal(run("show", "--op=OP998", path, NULL), 0);
    assert_int_equal(lines(), 0);
    /* of a look-up also what was looked up: /etc itself by its look-up and its OPENDIR, and what is in it */
    assert_int_equal(run("show", "--path=etc", path, NULL), 0);
    assert_int_equal(lines(), 3);
    assert_int_equal(run("show", "--match=*/a f*", path, NULL), 0);
    assert_int_equal(lines(), 4);
    assert_int_equal(run("show", "--match", "/p?/*", path), 0);
    assert_int_equal(lines(), 4);
    assert_int_equal(run("show", "--comm=c?t", path, NULL), 0);
    assert_int_equal(lines(), 7);
    assert_int_equal(run("show", "--exe=*/cat", "--op=READ", path), 0);
    assert_int_equal(lines(), 2);
    assert_int_equal(run("show", "--exe=cat", path, NULL), 0);
    assert_int_equal(lines(), 0);
    assert_int_equal(run("show", "--errors", path, NULL), 0);
    assert_int_equal(lines(), 3);
    assert_int_equal(run("show", "--errors", "--pid=1234", path), 0);
    assert_int_equal(lines(), 1);
    assert_int_equal(run("show", "--since=-5m", path, NULL), 0);
    assert_int_equal(lines(), 13);
    assert_int_equal(run("show", "--until=-5m", path, NULL), 0);
    assert_int_equal(lines(), 0);
    assert_int_equal(run("show", "--since", "now", path), 0);
    assert_int_equal(lines(), 0);
    assert_int_equal(run("show", "--since", "2024-01-01", path), VD_EXIT_USAGE);
    has("--since: ");
    has("zone is missing");
    assert_int_equal(run("show", "--follow", path, NULL), 0); /* closed: the same as without */
    assert_int_equal(lines(), 13);
}

/* The two halves of a log around any of its records' times are the log; a merged read that the border
 * divides is in both. */
static void time_filter(void **state)
{
    char when[64], since[80], until[80];
    const char *p;
    size_t i, all = 0;

    (void)state;
    for (i = 0; i < 13; i++) {
        assert_int_equal(run("show", path, NULL, NULL), 0);
        for (p = output, all = i; all > 0; p++)
            all -= *p == '\n';
        (void)snprintf(when, sizeof(when), "%.30s", p);
        (void)snprintf(since, sizeof(since), "--since=%s", when);
        (void)snprintf(until, sizeof(until), "--until=%s", when);
        assert_int_equal(run("show", since, path, NULL), 0);
        all = lines();
        assert_true(all >= 1);
        assert_int_equal(run("show", until, path, NULL), 0);
        assert_in_range(all + lines(), 13, 15);
    }
}

static void usage(void **state)
{
    (void)state;
    assert_int_equal(run("--help", NULL, NULL, NULL), 0);
    has("Exit code");
    assert_int_equal(run("show", "--help", NULL, NULL), 0);
    assert_int_equal(run(NULL, NULL, NULL, NULL), VD_EXIT_USAGE);
    assert_int_equal(run("burn", path, NULL, NULL), VD_EXIT_USAGE);
    has("burn");
    assert_int_equal(run("verify", NULL, NULL, NULL), VD_EXIT_USAGE);
    assert_int_equal(run("verify", "--op=READ", path, NULL), VD_EXIT_USAGE);
    assert_int_equal(run("show", "--pid=-1", path, NULL), VD_EXIT_USAGE);
    assert_int_equal(run("show", "--pid=12x", path, NULL), VD_EXIT_USAGE);
    assert_int_equal(run("verify", "/nowhere", NULL, NULL), VD_EXIT_CANNOT_OPEN);
    has("/nowhere");
}

static off_t first_frame(const char *file)
{
    uint8_t head[AUDIT_FRAME_HEADER];
    FILE *f = fopen(file, "rb");

    assert_non_null(f);
    assert_int_equal(fread(head, 1, sizeof(head), f), sizeof(head));
    assert_int_equal(fclose(f), 0);
    return (off_t)vd_le32(head + AUDIT_H_LENGTH);
}

static void verify_words(void **state)
{
    char segment[600];
    json_t *o;
    int fd;

    (void)state;
    assert_int_equal(run("verify", path, NULL, NULL), 0);
    assert_int_equal(strncmp(output, "INTACT closed\n", 14), 0);
    has("13 records in 2 frames");
    has("last leaf  ");
    (void)snprintf(segment, sizeof(segment), "%s/000000.vlog", path);
    assert_int_equal(run("verify", segment, NULL, NULL), 0);
    assert_int_equal(run("verify", "--json", path, NULL), 0);
    o = json_loads(output, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(o, "verdict")), "INTACT closed");
    assert_int_equal(json_integer_value(json_object_get(o, "records")), 13);
    json_decref(o);

    assert_int_equal(chmod(segment, 0600), 0);
    fd = open(segment, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "?", 1, 500), 1);
    assert_int_equal(run("verify", path, NULL, NULL), VD_EXIT_DIFFERENCE);
    assert_int_equal(strncmp(output, "TAMPERED at frame 0\n", 20), 0);
    has("place      000000.vlog, offset ");
    assert_int_equal(run("verify", "--json", path, NULL), VD_EXIT_DIFFERENCE);
    has("\"bad_frame\": 0");
    assert_int_equal(run("show", path, NULL, NULL), VD_EXIT_DIFFERENCE);
    assert_int_equal(lines(), 1); /* the error: nothing of a bad frame is shown */
    has("TAMPERED at frame 0: ");
    assert_int_equal(ftruncate(fd, 100), 0);
    assert_int_equal(run("verify", path, NULL, NULL), VD_EXIT_DIFFERENCE);
    (void)close(fd);
}

/* What was kept elsewhere: keys and anchors, right, wrong and malformed. */
static void verify_known(void **state)
{
    static const char malformed[] = "vdiskfs/x\n1\nAAAA\n\nno note\n";
    char key[192], file[600], option[900], other[192];
    struct audit_config config = {.dir = dir, .ring_bytes = 1};
    const struct audit_event e = {.op = AUDIT_SESSION_OPEN};
    struct audit_writer *w;
    json_t *o;

    (void)state;
    assert_ok(audit_open(&config, &w, &ring, &err));
    audit_first_key(w, other);
    (void)audit_log(ring, &e);
    assert_ok(audit_close(w, AUDIT_CLOSE_CLEAN, &err));

    assert_int_equal(run("verify", "--json", path, NULL), 0);
    o = json_loads(output, 0, NULL);
    (void)snprintf(key, sizeof(key), "%s", json_string_value(json_object_get(o, "first_key")));
    assert_int_equal(json_integer_value(json_object_get(o, "epochs")), 1);
    assert_int_equal(json_integer_value(json_object_get(o, "checkpoint_frames")), 2);
    assert_int_equal(json_integer_value(json_object_get(o, "anchors")), 0);
    assert_int_equal(json_integer_value(json_object_get(o, "recoveries")), 0);
    assert_int_equal(strlen(json_string_value(json_object_get(o, "tree_head"))), 64);
    json_decref(o);

    assert_int_equal(run("verify", "--key", key, path), 0);
    has("first key  vdiskfs/");
    has("tree head  ");
    has("signed     2 checkpoints by the keys of 1 epochs\n");
    (void)snprintf(file, sizeof(file), "%s/key.pub", path);
    assert_int_equal(run("verify", "--key", file, path), 0);
    assert_int_equal(run("verify", "--key", other, path), VD_EXIT_DIFFERENCE);
    has("the log's first key is not the one given");
    assert_int_equal(run("verify", "--key",
                         "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
                         path),
                     VD_EXIT_DIFFERENCE);
    has("no checkpoint is signed by the key given");
    assert_int_equal(run("verify", "--key", "/nowhere", path), VD_EXIT_USAGE);
    key[strlen(key) - 1] ^= 1;
    assert_int_equal(run("verify", "--key", key, path), VD_EXIT_USAGE);
    (void)snprintf(file, sizeof(file), "%s/000000.vlog", path);
    assert_int_equal(run("verify", "--key", file, path), VD_EXIT_USAGE);

    (void)snprintf(option, sizeof(option), "--anchor=%s/checkpoints", path);
    assert_int_equal(run("verify", option, path, NULL), 0);
    has("anchors    2 fit\n");
    assert_int_equal(run("verify", "--anchor", file, path), VD_EXIT_USAGE);
    assert_int_equal(run("verify", "--anchor", "/nowhere", path), VD_EXIT_USAGE);
    test_write_file(dir, "malformed", malformed, sizeof(malformed) - 1);
    (void)snprintf(file, sizeof(file), "%s/malformed", dir);
    assert_int_equal(run("verify", "--anchor", file, path), VD_EXIT_USAGE);
    has("no signed notes");
    assert_int_equal(run("show", "--key", other, path), VD_EXIT_USAGE);
    assert_int_equal(run("show", option, path, NULL), VD_EXIT_USAGE);

    /* The end is cut off, with its checkpoint: the anchor tells. */
    (void)snprintf(file, sizeof(file), "%s/checkpoints", path);
    test_write_file(dir, "kept", "", 0);
    (void)snprintf(option, sizeof(option), "%s/kept", dir);
    assert_int_equal(rename(file, option), 0);
    test_write_file(path, "checkpoints", "", 0);
    (void)snprintf(file, sizeof(file), "%s/000000.vlog", path);
    assert_int_equal(chmod(file, 0600), 0);
    assert_int_equal(truncate(file, first_frame(file)), 0);
    assert_int_equal(run("verify", path, NULL, NULL), VD_EXIT_DIFFERENCE); /* no ring.wal */
    has("TORN TAIL");
    assert_int_equal(run("verify", "--anchor", option, path), VD_EXIT_DIFFERENCE);
    has("an anchor covers 2 frames, only 1 are here: the end was cut off");
}

/* The table of `show` forgets the oldest and stays within its bound. */
static void memory(void **state)
{
    struct show_memory table, *m = &table;
    size_t len;
    uint64_t i;

    (void)state;
    assert_int_equal(show_memory_init(m, 100000), 0);
    for (i = 0; i < 10000; i++) {
        show_remember(m, i, &i, sizeof(i));
        assert_true(m->bytes <= m->max_bytes);
        show_remember(m, 5, &i, i % 8);
        assert_non_null(show_recall(m, i, &len));
        assert_int_equal(len, i == 5 ? 5 : 8);
    }
    assert_null(show_recall(m, 100, &len));
    assert_non_null(show_recall(m, 9900, &len));
    assert_true(*(const uint64_t *)(const void *)show_recall(m, 9900, &len) == 9900);
    show_memory_clear(m);
    assert_int_equal(m->bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(text, setup, teardown),
        cmocka_unit_test_setup_teardown(json, setup, teardown),
        cmocka_unit_test_setup_teardown(filters, setup, teardown),
        cmocka_unit_test_setup_teardown(time_filter, setup, teardown),
        cmocka_unit_test_setup_teardown(usage, setup, teardown),
        cmocka_unit_test_setup_teardown(verify_words, setup, teardown),
        cmocka_unit_test_setup_teardown(verify_known, setup, teardown),
        cmocka_unit_test(memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
