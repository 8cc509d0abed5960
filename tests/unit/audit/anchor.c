/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints as lines, files of anchors, and the sinks: what one of them does holds up nobody. */
#include "audit/anchor.h"

#include "audit/anchor_sink.h"
#include "audit/note.h"
#include "audit/note_line.h"
#include "audit/verify_notes.h"
#include "testlib.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SESSION "0199f0c2-0000-7000-8000-000000000001"
#define OTHER   "0199f0c2-0000-7000-8000-000000000002"

static double now(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* A note over n frames; signed by two keys when `lab`. */
static void make_note(const char *session, uint64_t n, bool lab, char out[NOTE_MAX])
{
    struct note_checkpoint checkpoint = {.size = n};
    struct note_signer *signer = NULL, *other = NULL;
    struct vd_err err = VD_ERR_INIT;

    (void)snprintf(checkpoint.origin, sizeof(checkpoint.origin), "vdiskfs/%s", session);
    test_fill(checkpoint.root, sizeof(checkpoint.root), n);
    note_checkpoint_text(&checkpoint, out);
    assert_ok(note_signer_new(checkpoint.origin, &signer, &err));
    assert_ok(note_sign(out, NOTE_MAX, signer, &err));
    note_signer_free(signer);
    if (lab) {
        assert_ok(note_signer_new("laboratory", &other, &err));
        assert_ok(note_sign(out, NOTE_MAX, other, &err));
        note_signer_free(other);
    }
}

/* ---- lines ---- */

static void line_and_back(void **state)
{
    char note[NOTE_MAX], line[NOTE_LINE_MAX], back[NOTE_MAX + 1], text[NOTE_LINE_MAX + 100];
    int lab;

    (void)state;
    for (lab = 0; lab < 2; lab++) {
        make_note(SESSION, UINT64_MAX, lab, note);
        note_line(note, line);
        assert_int_equal(strncmp(line, "checkpoint: vdiskfs/" SESSION " 18446744073709551615 ", 78),
                         0);
        assert_null(strpbrk(line, "\n\xe2\x80\x94"));
        assert_int_equal(note_from_line(line, strlen(line), back), 1);
        assert_string_equal(back, note);
        (void)snprintf(text, sizeof(text), "Nov 22 host vdiskfs[1]: %s\"} and more", line);
        assert_int_equal(note_from_line(text, strlen(text), back), 1);
        assert_string_equal(back, note);
    }
    note_line("no note at all", line);
    assert_string_equal(line, "");
    note_line("a\nb\nc\nd\n\n", line);
    assert_string_equal(line, "");
    assert_int_equal(note_from_line("nothing", 7, back), 0);
}

/* Cut anywhere it is not a whole note, or one with fewer signatures; and nothing is overrun. */
static void line_cut(void **state)
{
    char note[NOTE_MAX], line[NOTE_LINE_MAX], back[NOTE_MAX + 1];
    size_t len, n, whole = 0;

    (void)state;
    make_note(SESSION, 7, true, note);
    note_line(note, line);
    len = strlen(line);
    for (n = 0; n < len; n++) {
        char *copy = malloc(n ? n : 1);

        assert_non_null(copy);
        memcpy(copy, line, n);
        if (note_from_line(copy, n, back) == 1) {
            assert_int_equal(strncmp(back, note, strlen(back)), 0);
            whole++;
        }
        free(copy);
    }
    assert_int_equal(whole, len - (len - strlen(" laboratory ") - 92));
    memset(back, 'x', sizeof(back));
}

static int decode(const char *text, const char *origin, struct anchors *out, struct vd_err *err)
{
    return anchors_decode(text, strlen(text), origin, out, err);
}

static void anchor_files(void **state)
{
    static char note[2][NOTE_MAX], line[2][NOTE_LINE_MAX], text[5 * NOTE_LINE_MAX];
    const char *origin = "vdiskfs/" SESSION;
    struct vd_err err = VD_ERR_INIT;
    struct anchors a;

    (void)state;
    make_note(SESSION, 9, false, note[0]);
    make_note(OTHER, 3, false, note[1]);
    note_line(note[0], line[0]);
    note_line(note[1], line[1]);
    (void)snprintf(text, sizeof(text), "%s\r\n%s", note[0], note[1]);
    assert_ok(decode(text, origin, &a, &err));
    assert_int_equal(a.n, 1);
    assert_int_equal(a.v[0].size, 9);
    anchors_clear(&a);
    (void)snprintf(text, sizeof(text), "some line\n\nx %s\r\nother\ny %s y\n%s", line[1], line[0],
                   line[0]);
    assert_ok(decode(text, origin, &a, &err));
    assert_int_equal(a.n, 2);
    anchors_clear(&a);
    assert_ok(decode(text, NULL, &a, &err));
    anchors_clear(&a);
    (void)snprintf(text, sizeof(text), "x %s\n", line[1]);
    assert_fails(decode(text, origin, &a, &err), VD_EUSAGE, "no anchor of vdiskfs/" SESSION);
    (void)snprintf(text, sizeof(text), "x %s\n%.150s\n", line[0], line[0]);
    assert_fails(decode(text, origin, &a, &err), VD_EUSAGE, "part of a checkpoint only");
    (void)snprintf(text, sizeof(text), "x %s\n%.100s", line[0], note[0]);
    assert_fails(decode(text, origin, &a, &err), VD_EUSAGE, "part of one at byte");
    (void)snprintf(text, sizeof(text), "%s\nfoo\n", note[0]);
    assert_fails(decode(text, origin, &a, &err), VD_EUSAGE, "no signed notes");
    assert_fails(decode("foo\nbar\n", origin, &a, &err), VD_EUSAGE, "no signed notes");
}

/* ---- the file ---- */

static size_t count_notes(const char *dir, const char *name)
{
    char path[600], text[65536];
    int fd;
    ssize_t n;
    struct anchors a;
    struct vd_err err = VD_ERR_INIT;
    size_t found;

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    n = read(fd, text, sizeof(text) - 1);
    (void)close(fd);
    assert_true(n >= 0);
    text[n] = '\0';
    if (n == 0)
        return 0;
    assert_ok(decode(text, "vdiskfs/" SESSION, &a, &err));
    found = a.n;
    anchors_clear(&a);
    return found;
}

/* A disk that is full in the middle of a note: the rest comes when there is room, and the file is
 * whole notes at the end, room or not. */
static void full_disk(void **state)
{
    char *dir = test_tmpdir(), note[NOTE_MAX], why[ANCHOR_WHY], filler[600];
    struct anchor_file file = {.dir = dir, .fd = -1};
    struct vd_err err = VD_ERR_INIT;
    uint64_t n;

    (void)state;
    if (geteuid() != 0 || mount("tmpfs", dir, "tmpfs", 0, "size=12k")) {
        print_message("not tried: no tmpfs can be mounted\n");
        test_rmdir(dir);
        skip();
    }
    test_write_file(dir, "filler", note, sizeof(note));
    (void)snprintf(filler, sizeof(filler), "%s/filler", dir);
    assert_ok(anchor_file_open(&file, SESSION, &err));
    assert_int_equal(anchor_file_open(&(struct anchor_file){.dir = dir, .fd = -1}, SESSION, &err),
                     -VD_EAUDIT); /* exclusively */
    for (n = 1; n < 100; n++) {
        make_note(SESSION, n, false, note);
        if (!anchor_file_add(&file, SESSION, note, why))
            break;
    }
    assert_true(n > 10 && n < 100);
    assert_non_null(strstr(why, "No space left"));
    assert_true(file.sent > 0); /* part of it is there */
    assert_false(anchor_file_add(&file, SESSION, note, why));
    assert_int_equal(unlink(filler), 0);
    make_note(SESSION, n + 1, false, note);
    assert_true(anchor_file_add(&file, SESSION, note, why));
    assert_int_equal(count_notes(dir, SESSION ".notes"), n + 1);
    for (n += 2; n < 200; n++) {
        make_note(SESSION, n, false, note);
        if (!anchor_file_add(&file, SESSION, note, why))
            break;
    }
    assert_true(file.sent > 0);
    anchor_file_close(&file);
    assert_int_equal(count_notes(dir, SESSION ".notes"), n - 1);
    assert_int_equal(umount(dir), 0);
    test_rmdir(dir);
}

static void lost_file(void **state)
{
    char *dir = test_tmpdir(), note[NOTE_MAX], why[ANCHOR_WHY], path[600];
    struct anchor_file file = {.dir = dir, .fd = -1};
    struct vd_err err = VD_ERR_INIT;

    (void)state;
    make_note(SESSION, 1, false, note);
    assert_ok(anchor_file_open(&file, SESSION, &err));
    assert_true(anchor_file_add(&file, SESSION, note, why));
    (void)snprintf(path, sizeof(path), "%s/" SESSION ".notes", dir);
    assert_int_equal(unlink(path), 0);
    assert_false(anchor_file_add(&file, SESSION, note, why));
    test_write_file(dir, SESSION ".1.notes", "", 0); /* somebody else's */
    assert_true(anchor_file_add(&file, SESSION, note, why));
    assert_int_equal(count_notes(dir, SESSION ".2.notes"), 1);
    anchor_file_close(&file);
    test_rmdir(dir);
}

/* ---- the command ---- */

static bool run(const char *text, unsigned limit_ms, int hurry_fd, bool last, char *printed,
                char *why)
{
    char copy[512], note[NOTE_MAX];
    const struct anchor_command command = {
        .text = copy, .session_id = SESSION, .limit_ms = limit_ms, .hurry_fd = hurry_fd};
    const struct anchor_note n = {.text = note, .frames = 5, .last = last};

    make_note(SESSION, 5, false, note);
    (void)snprintf(copy, sizeof(copy), "%s", text);
    return anchor_command_run(&command, &n, printed, why);
}

static void command(void **state)
{
    char printed[ANCHOR_WHY], why[ANCHOR_WHY] = "";
    int hurry = eventfd(0, EFD_CLOEXEC);
    double start;

    (void)state;
    assert_true(run("head -n 2 | tail -n 1; echo $VDISKFS_FRAMES $VDISKFS_LAST", 5000, hurry, true,
                    printed, why));
    assert_string_equal(printed, "5\\x0a5 1");
    assert_true(run("head -c 1 /dev/stdin", 5000, hurry, false, printed, why)); /* by name, too */
    assert_string_equal(printed, "v");
    assert_false(run("echo x > /dev/stdin", 5000, hurry, false, printed, why)); /* sealed */
    assert_false(run("exit 9", 5000, hurry, false, printed, why));
    assert_string_equal(why, "exit code 9");
    start = now();
    assert_false(
        run("trap '' TERM INT HUP; while :; do sleep 9; done", 300, hurry, true, printed, why));
    assert_true(now() - start < 2);
    assert_string_equal(why, "killed: it took too long");
    start = now();
    assert_true(run("sleep 7 & echo started", 5000, hurry, true, printed, why));
    assert_true(now() - start < 3); /* not waited for, though it holds the pipe */
    assert_string_equal(printed, "started");
    assert_int_equal(write(hurry, &(uint64_t){1}, 8), 8);
    start = now();
    assert_false(run("sleep 20", 20000, hurry, false, printed, why));
    assert_true(now() - start < 4);                                /* hurried */
    assert_true(run("sleep 3", 20000, hurry, true, printed, why)); /* the last one is not */
    (void)close(hurry);
}

/* ---- all together ---- */

struct said {
    atomic_uint lines, warnings;
    unsigned sleep_ms;
};

static bool say(void *ctx, bool warning, const char *line)
{
    struct said *said = ctx;

    (void)usleep(said->sleep_ms * 1000);
    atomic_fetch_add(warning ? &said->warnings : &said->lines, 1);
    return strncmp(line, "checkpoint: ", 12) == 0 || warning;
}

/* Every sink hangs or fails: taking a checkpoint stays quick, the end comes in time. */
static void slow_sinks(void **state)
{
    struct said said = {.sleep_ms = 300};
    struct audit_anchors_config config = {.line_ms = 1,
                                          .command = "sleep 60",
                                          .command_gap_ms = 1,
                                          .command_limit_ms = 700,
                                          .say = say,
                                          .say_ctx = &said};
    struct vd_err err = VD_ERR_INIT;
    struct audit_anchors *a = NULL;
    char *dir = test_tmpdir(), note[NOTE_MAX];
    double start, longest = 0;
    bool same;
    int i;

    (void)state;
    config.dir = dir;
    assert_ok(audit_anchors_new(&config, &a, &err));
    make_note(SESSION, 1, false, note);
    audit_anchors_take(a, note); /* before the threads */
    assert_ok(audit_anchors_open(a, SESSION, dir, &same, &err));
    assert_true(same);
    assert_ok(audit_anchors_start(a, NULL, &err));
    for (i = 0; i < 2000; i++) {
        start = now();
        audit_anchors_take(a, note);
        if (now() - start > longest)
            longest = now() - start;
        (void)usleep(500);
    }
    print_message("taking a checkpoint: at most %.2f ms\n", longest * 1000);
    assert_true(longest < 0.2);
    audit_anchors_sum_up(a);
    make_note(SESSION, 77, false, note);
    audit_anchors_take(a, note);
    start = now();
    audit_anchors_end(a);
    assert_true(now() - start < 6);
    assert_true(atomic_load(&said.lines) >= 2);
    assert_true(atomic_load(&said.warnings) >= 1); /* the last one was not delivered */
    assert_true(count_notes(dir, SESSION ".notes") >= 2);
    test_rmdir(dir);
    config.dir = NULL;
    /* without start, and NULL */
    assert_ok(audit_anchors_new(&config, &a, &err));
    audit_anchors_take(a, note);
    audit_anchors_end(a);
    audit_anchors_sum_up(NULL);
    audit_anchors_end(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(line_and_back), cmocka_unit_test(line_cut),
        cmocka_unit_test(anchor_files),  cmocka_unit_test(full_disk),
        cmocka_unit_test(lost_file),     cmocka_unit_test(command),
        cmocka_unit_test(slow_sinks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
