/* SPDX-License-Identifier: Apache-2.0 */
/* A session from open to close: files and modes, segments, the previous session, waiting. */
#include "testlib.h"

#include "audit/audit.h"
#include "audit/ring.h"
#include "audit/verify.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char *dir;
static struct vd_err err;

static int setup(void **state)
{
    (void)state;
    dir = test_tmpdir();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    test_rmdir(dir);
    return 0;
}

static void open_session(const struct audit_config *extra, struct audit_writer **w,
                         struct audit_ring **ring, char path[512])
{
    const struct audit_event open = {.op = AUDIT_SESSION_OPEN};
    struct audit_config config = extra ? *extra : (struct audit_config){0};

    config.dir = dir;
    config.ring_bytes = 1;
    assert_ok(audit_open(&config, w, ring, &err));
    (void)snprintf(path, 512, "%s", audit_session_dir(*w));
    assert_int_equal(audit_log(*ring, &open), 0);
}

static void log_reads(struct audit_ring *ring, unsigned n)
{
    unsigned i;

    for (i = 0; i < n; i++) {
        const struct audit_event e = {.op = AUDIT_READ, .off = i};

        assert_true(audit_log(ring, &e) != AUDIT_NOT_LOGGED);
    }
}

static mode_t mode_of(const char *path, const char *name)
{
    char full[1024];
    struct stat st;

    (void)snprintf(full, sizeof(full), "%s/%s", path, name);
    return stat(full, &st) ? 0 : st.st_mode & 07777;
}

static void verify(const char *path, enum audit_verdict verdict, uint64_t records)
{
    struct audit_report r;

    assert_ok(audit_verify(path, NULL, NULL, NULL, &r, &err));
    assert_string_equal(r.reason, "");
    assert_int_equal(r.verdict, verdict);
    assert_int_equal(r.records, records);
}

static void files_and_modes(void **state)
{
    struct audit_writer *w;
    struct audit_ring *ring;
    char path[512];

    (void)state;
    open_session(NULL, &w, &ring, path);
    assert_int_equal(mode_of(path, "."), 0700);
    assert_int_equal(mode_of(path, "ring.wal"), 0600);
    assert_int_equal(mode_of(path, "000000.vlog"), 0600);
    assert_int_equal(strlen(audit_session_id(w)), 36);
    assert_string_equal(strrchr(path, '/') + 1, audit_session_id(w));
    assert_ok(audit_start(w, &err));
    log_reads(ring, 10);
    assert_ok(audit_close(w, AUDIT_CLOSE_CLEAN, &err));
    assert_int_equal(mode_of(path, "000000.vlog"), 0400);
    assert_int_equal(mode_of(path, "ring.wal"), 0);
    verify(path, AUDIT_INTACT_CLOSED, 12);
}

/* A mount that fails before the worker exists: no thread, and a log all the same. */
static void close_without_start(void **state)
{
    struct audit_writer *w;
    struct audit_ring *ring;
    struct audit_report r;
    char path[512];

    (void)state;
    open_session(NULL, &w, &ring, path);
    assert_ok(audit_close(w, AUDIT_CLOSE_FAILED, &err));
    assert_ok(audit_verify(path, NULL, NULL, NULL, &r, &err));
    assert_int_equal(r.verdict, AUDIT_INTACT_CLOSED);
    assert_int_equal(r.close_result, -AUDIT_CLOSE_FAILED);
    assert_ok(audit_close(NULL, AUDIT_CLOSE_CLEAN, &err));
}

/* Before the thread runs the caller seals by itself: a small ring does not block for ever, and
 * audit_wait works. */
static void seals_before_the_thread(void **state)
{
    struct audit_writer *w;
    struct audit_ring *ring;
    char path[512];

    (void)state;
    open_session(NULL, &w, &ring, path);
    log_reads(ring, 5000);
    assert_ok(audit_wait(ring, 0, &err));
    assert_ok(audit_close(w, AUDIT_CLOSE_CLEAN, &err));
    verify(path, AUDIT_INTACT_CLOSED, 5002);
}

static void waits_for_the_disk(void **state)
{
    struct audit_writer *w;
    struct audit_ring *ring;
    struct audit_report r;
    char path[512];
    int i;

    (void)state;
    open_session(NULL, &w, &ring, path);
    assert_ok(audit_start(w, &err));
    for (i = 0; i < 20; i++) {
        const struct audit_event e = {.op = AUDIT_REFUSED, .result = -30};
        uint64_t seq = audit_log(ring, &e), start = audit_clock_ns(CLOCK_MONOTONIC);

        assert_ok(audit_wait(ring, seq, &err));
        assert_ok(audit_verify(path, NULL, NULL, NULL, &r, &err));
        assert_int_equal(r.verdict, AUDIT_INTACT_OPEN);
        assert_true(r.live);
        assert_int_equal(r.records, (uint64_t)i + 2);
        assert_true(audit_clock_ns(CLOCK_MONOTONIC) - start < 10000000000u);
    }
    assert_fails(audit_wait(ring, AUDIT_NOT_LOGGED, &err), VD_EAUDIT, "could not be recorded");
    assert_ok(audit_close(w, AUDIT_CLOSE_CLEAN, &err));
}

/* Without anybody waiting, a record is in the file after seal_ms. */
static void sealed_in_time(void **state)
{
    const struct timespec pause = {0, 5000000};
    struct audit_writer *w;
    struct audit_ring *ring;
    struct audit_report r = {0};
    char path[512];
    uint64_t start;

    (void)state;
    open_session(NULL, &w, &ring, path);
    assert_ok(audit_start(w, &err));
    log_reads(ring, 3);
    start = audit_clock_ns(CLOCK_MONOTONIC);
    while (r.records < 4) {
        assert_true(audit_clock_ns(CLOCK_MONOTONIC) - start < 5000000000u);
        (void)nanosleep(&pause, NULL);
        assert_ok(audit_verify(path, NULL, NULL, NULL, &r, &err));
    }
    print_message("sealed after %llu ms\n",
                  (unsigned long long)((audit_clock_ns(CLOCK_MONOTONIC) - start) / 1000000));
    assert_ok(audit_close(w, AUDIT_CLOSE_CLEAN, &err));
}

static void segments(void **state)
{
    const struct audit_config config = {.segment_bytes = 100000};
    struct audit_writer *w;
    struct audit_ring *ring;
    struct audit_report r;
    char path[512], name[600];

    (void)state;
    open_session(&config, &w, &ring, path);
    assert_ok(audit_start(w, &err));
    log_reads(ring, 20000);
    assert_ok(audit_close(w, AUDIT_CLOSE_CLEAN, &err));
    assert_ok(audit_verify(path, NULL, NULL, NULL, &r, &err));
    assert_int_equal(r.verdict, AUDIT_INTACT_CLOSED);
    assert_int_equal(r.records, 20002);
    assert_true(r.segments > 10);
    assert_int_equal(mode_of(path, "000003.vlog"), 0400);
    (void)snprintf(name, sizeof(name), "%s/000003.vlog", path);
    assert_fails(audit_verify(name, NULL, NULL, NULL, &r, &err), VD_EUSAGE, "session directory");
    assert_int_equal(unlink(name), 0);
    assert_ok(audit_verify(path, NULL, NULL, NULL, &r, &err));
    assert_int_equal(r.verdict, AUDIT_TAMPERED);
    assert_true(test_contains(r.reason, "missing"));
}

static _Atomic bool stop_logging;

static void *log_until_told(void *arg)
{
    const struct timespec pause = {0, 2000000};
    const struct audit_event e = {.op = AUDIT_READ};
    int i, n = 0;

    while (!atomic_load(&stop_logging)) {
        /* Not without end: each verification reads all of it. */
        for (i = 0; i < 100 && n < 20000; i++, n++)
            (void)audit_log(arg, &e);
        (void)nanosleep(&pause, NULL);
    }
    return NULL;
}

/* A running log may be verified at any time: frames are being appended, segments change. */
static void verified_while_written(void **state)
{
    const struct audit_config config = {.segment_bytes = 30000, .seal_ms = 5};
    struct audit_writer *w;
    struct audit_ring *ring;
    struct audit_report r;
    pthread_t thread;
    char path[512];
    uint64_t records = 0, segment = 0;
    int i;

    (void)state;
    open_session(&config, &w, &ring, path);
    assert_ok(audit_start(w, &err));
    atomic_store(&stop_logging, false);
    assert_int_equal(pthread_create(&thread, NULL, log_until_told, ring), 0);
    for (i = 0; i < 200; i++) {
        assert_ok(audit_verify(path, NULL, NULL, NULL, &r, &err));
        if (r.verdict != AUDIT_INTACT_OPEN || !r.live)
            fail_msg("%s: %s", audit_verdict_text(r.verdict), r.reason);
        assert_true(r.records >= records && r.segments >= segment);
        records = r.records;
        segment = r.segments;
    }
    atomic_store(&stop_logging, true);
    (void)pthread_join(thread, NULL);
    assert_ok(audit_close(w, AUDIT_CLOSE_CLEAN, &err));
    assert_ok(audit_verify(path, NULL, NULL, NULL, &r, &err));
    assert_int_equal(r.verdict, AUDIT_INTACT_CLOSED);
    print_message("200 verifications, %llu records, %llu segments\n", (unsigned long long)r.records,
                  (unsigned long long)r.segments);
}

static void previous(void **state)
{
    struct audit_writer *w;
    struct audit_ring *ring;
    struct audit_report r;
    struct audit_previous found;
    char path[512], first[37], expected[600], notes[20000], *last;
    size_t i, n;
    FILE *f;

    (void)state;
    open_session(NULL, &w, &ring, path);
    assert_ok(audit_previous(w, &found, &err));
    assert_string_equal(found.text, "");
    assert_string_equal(found.note, "");
    log_reads(ring, 5000);
    (void)snprintf(first, sizeof(first), "%s", audit_session_id(w));
    assert_ok(audit_close(w, AUDIT_CLOSE_CLEAN, &err));
    assert_ok(audit_verify(path, NULL, NULL, NULL, &r, &err));

    (void)snprintf(expected, sizeof(expected), "%s/checkpoints", path);
    f = fopen(expected, "rb");
    assert_non_null(f);
    n = fread(notes, 1, sizeof(notes) - 1, f);
    assert_int_equal(fclose(f), 0);
    notes[n] = '\0';
    last = NULL;
    for (i = 0; i < n; i++)
        if (strncmp(notes + i, AUDIT_ORIGIN, strlen(AUDIT_ORIGIN)) == 0 &&
            (i == 0 || notes[i - 1] == '\n'))
            last = notes + i;
    assert_non_null(last);

    open_session(NULL, &w, &ring, path);
    assert_ok(audit_previous(w, &found, &err));
    assert_string_equal(found.note, last);
    n = (size_t)snprintf(expected, sizeof(expected), "%s %llu ", first,
                         (unsigned long long)r.frames);
    for (i = 0; i < 32; i++)
        n += (size_t)snprintf(expected + n, sizeof(expected) - n, "%02x", r.leaf[i]);
    assert_string_equal(found.text, expected);
    assert_ok(audit_close(w, AUDIT_CLOSE_CLEAN, &err));
}

/* What a crash, or somebody, left of the previous session's checkpoints: the last whole note of the
 * newest file counts, and nothing is read without bound. */
static void previous_notes(void **state)
{
    struct audit_previous found;
    struct audit_writer *w;
    struct audit_ring *ring;
    char path[512], old[512], note[AUDIT_PREVIOUS_NOTE], file[600];
    static char junk[100000];
    int fd;

    (void)state;
    open_session(NULL, &w, &ring, old);
    assert_ok(audit_close(w, AUDIT_CLOSE_CLEAN, &err));
    open_session(NULL, &w, &ring, path);
    assert_ok(audit_previous(w, &found, &err));
    memcpy(note, found.note, sizeof(note));
    assert_true(strlen(note) > 100);
    (void)snprintf(file, sizeof(file), "%s/checkpoints", old);
    assert_int_equal(chmod(file, 0600), 0);
    fd = open(file, O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_true(write(fd, note, 60) == 60); /* a second one is cut off */
    assert_ok(audit_previous(w, &found, &err));
    assert_string_equal(found.note, note);
    assert_true(write(fd, junk, sizeof(junk)) == (ssize_t)sizeof(junk)); /* too far away now */
    (void)close(fd);
    assert_ok(audit_previous(w, &found, &err));
    assert_string_equal(found.note, "");
    assert_true(found.text[0]);

    test_write_file(old, "000001.vlog", "",
                    0); /* a recovery that was stopped, and one that was not */
    test_write_file(old, "checkpoints", note, strlen(note));
    assert_ok(audit_previous(w, &found, &err));
    assert_string_equal(found.note, note);
    test_write_file(old, "checkpoints.000001", "", 0);
    assert_ok(audit_previous(w, &found, &err));
    assert_string_equal(found.note, note);
    note[strlen(AUDIT_ORIGIN) + 37] = '9';
    test_write_file(old, "checkpoints.000001", note, strlen(note));
    assert_ok(audit_previous(w, &found, &err));
    assert_string_equal(found.note, note);
    assert_int_equal(unlink(file), 0);
    (void)snprintf(file, sizeof(file), "%s/checkpoints.000001", old);
    assert_int_equal(unlink(file), 0);
    assert_int_equal(mkfifo(file, 0600), 0);
    assert_fails(audit_previous(w, &found, &err), VD_EAUDIT, "cannot be read");
    assert_ok(audit_close(w, AUDIT_CLOSE_CLEAN, &err));
}

static void refuses(void **state)
{
    struct audit_config config = {.dir = "/proc/nothing/can/be/made"};
    struct audit_writer *w = NULL;
    struct audit_ring *ring = NULL;
    struct audit_report r;

    (void)state;
    assert_fails(audit_open(&config, &w, &ring, &err), VD_EAUDIT, "/proc/nothing");
    assert_null(w);
    assert_fails(audit_verify("/dev/null", NULL, NULL, NULL, &r, &err), VD_EUSAGE, "neither");
    assert_fails(audit_verify("/dev/zero", NULL, NULL, NULL, &r, &err), VD_EUSAGE, "neither");
    assert_fails(audit_verify(dir, NULL, NULL, NULL, &r, &err), VD_EUSAGE,
                 "000000.vlog is missing");
    assert_fails(audit_verify("/nowhere/log", NULL, NULL, NULL, &r, &err), VD_ENOENT,
                 "/nowhere/log");
}

/* Nothing is left when opening fails half-way: the ring does not fit below the file size limit. */
static void failed_open_leaves_nothing(void **state)
{
    const struct audit_config config = {.dir = dir};
    struct rlimit old, small;
    struct audit_writer *w = NULL;
    struct audit_ring *ring = NULL;
    int rc;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 1 << 20;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    rc = audit_open(&config, &w, &ring, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_fails(rc, VD_EAUDIT, "cannot reserve space");
    assert_int_equal(rmdir(dir), 0);
    assert_int_equal(mkdir(dir, 0700), 0);
}

/* A log that is written names its mount for verifiers; a place that is too long is left out. */
static void names_its_mount(void **state)
{
    struct audit_mount mount = {.major = 1};
    struct audit_writer *w;
    struct audit_ring *ring;
    char path[512], longer[sizeof(mount.path) + 1];

    (void)state;
    memset(longer, 'a', sizeof(longer));
    longer[sizeof(longer) - 1] = '\0';
    open_session(NULL, &w, &ring, path);
    assert_true(audit_is_live(path, &mount));
    assert_true(mount.major == 0 && mount.minor == 0 && mount.path[0] == '\0');
    audit_note_mount(w, 0, 77, longer);
    assert_true(audit_is_live(path, &mount));
    assert_true(mount.major == 0 && mount.minor == 77 && mount.path[0] == '\0');
    audit_note_mount(w, 3, 78, longer + 2); /* the longest that has room */
    assert_true(audit_is_live(path, &mount));
    assert_true(mount.major == 3 && mount.minor == 78);
    assert_string_equal(mount.path, longer + 2);
    assert_ok(audit_close(w, AUDIT_CLOSE_CLEAN, &err));
    assert_false(audit_is_live(path, &mount));
    assert_false(audit_is_live("/nowhere", &mount));
}

static void default_dir(void **state)
{
    char *d = audit_default_dir();

    (void)state;
    assert_non_null(d);
    if (geteuid() == 0)
        assert_string_equal(d, "/var/log/vdiskfs");
    free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(files_and_modes, setup, teardown),
        cmocka_unit_test_setup_teardown(close_without_start, setup, teardown),
        cmocka_unit_test_setup_teardown(seals_before_the_thread, setup, teardown),
        cmocka_unit_test_setup_teardown(waits_for_the_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(sealed_in_time, setup, teardown),
        cmocka_unit_test_setup_teardown(segments, setup, teardown),
        cmocka_unit_test_setup_teardown(verified_while_written, setup, teardown),
        cmocka_unit_test_setup_teardown(previous, setup, teardown),
        cmocka_unit_test_setup_teardown(previous_notes, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses, setup, teardown),
        cmocka_unit_test_setup_teardown(failed_open_leaves_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(names_its_mount, setup, teardown),
        cmocka_unit_test(default_dir),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
