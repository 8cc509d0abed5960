/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log cannot be written: access stops, nothing hangs, the log stays in order, and service
 * resumes when there is space again.
 */
#include "testlib.h"

#include "audit/audit.h"
#include "audit/verify.h"
#include "audit/writer.h"
#include "base/bytes.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char *dir;
static struct vd_err err;
static char path[512];
static struct audit_writer *writer;
static struct audit_ring *ring;
static uint64_t logged, warnings, reserve = 1;

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

static char lines[4096];

static void take_line(void *ctx, const char *line)
{
    size_t len = strlen(lines);

    (void)ctx;
    (void)snprintf(lines + len, sizeof(lines) - len, "%s\n", line);
}

static void open_session(const char *where)
{
    const struct audit_event open = {.op = AUDIT_SESSION_OPEN};
    const struct audit_config config = {.dir = where,
                                        .ring_bytes = 1,
                                        .reserve_bytes = reserve,
                                        .low_bytes = 1,
                                        .notice = take_line};

    assert_ok(audit_open(&config, &writer, &ring, &err));
    (void)snprintf(path, sizeof(path), "%s", audit_session_dir(writer));
    logged = 0;
    lines[0] = '\0';
    assert_int_equal(audit_log(ring, &open), 0);
    assert_ok(audit_start(writer, &err));
    assert_ok(audit_wait(ring, 0, &err));
}

static bool log_one(void)
{
    const struct audit_event read = {.op = AUDIT_READ, .off = logged};

    if (audit_log(ring, &read) == AUDIT_NOT_LOGGED)
        return false;
    logged++;
    return true;
}

static void nap_ms(long ms)
{
    const struct timespec t = {ms / 1000, ms % 1000 * 1000000};

    (void)nanosleep(&t, NULL);
}

static void wait_failed(bool failed)
{
    int i;

    for (i = 0; i < 2000 && audit_failed(ring) != failed; i++)
        nap_ms(5);
    assert_int_equal(audit_failed(ring), failed);
}

static int count(void *ctx, const struct audit_seen *seen, struct vd_err *e)
{
    uint64_t *reads = ctx;

    (void)e;
    warnings += vd_le16(seen->bytes + AUDIT_R_OP) == AUDIT_WARNING;
    if (vd_le16(seen->bytes + AUDIT_R_OP) == AUDIT_READ &&
        vd_le64(seen->bytes + AUDIT_R_OFF) != *reads)
        return -VD_ECORRUPT;
    *reads += vd_le16(seen->bytes + AUDIT_R_OP) == AUDIT_READ;
    return 0;
}

/* Everything that was said to be logged is there, once and in order. */
static void check_log(enum audit_verdict verdict, uint64_t told)
{
    struct audit_report r;
    uint64_t reads = 0;

    warnings = 0;
    assert_ok(audit_verify(path, NULL, count, &reads, &r, &err));
    if (r.verdict != verdict)
        fail_msg("%s: %s", audit_verdict_text(r.verdict), r.reason);
    assert_int_equal(reads, logged);
    assert_true(warnings >= told && (told || warnings == 0));
}

static void limit(rlim_t bytes)
{
    struct rlimit r;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &r), 0);
    r.rlim_cur = bytes == RLIM_INFINITY ? r.rlim_max : bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &r), 0);
}

/* Until an event is refused: in a bounded number of tries, and never by hanging. */
static void fill_up(void)
{
    int i;

    (void)alarm(60);
    for (i = 0; i < 1000000 && log_one(); i++)
        ;
    (void)alarm(0);
    assert_true(i < 1000000);
    assert_true(audit_failed(ring));
}

static void full_and_space_again(void **state)
{
    (void)state;
    open_session(dir);
    limit(150000); /* ends in the middle of a frame: the write is short, then EFBIG */
    fill_up();
    assert_fails(audit_wait(ring, 3, &err), VD_EAUDIT, "cannot be written");
    assert_false(log_one());
    assert_true(audit_failed(ring));
    nap_ms(700); /* tried again meanwhile */
    assert_true(audit_failed(ring));
    limit(RLIM_INFINITY);
    wait_failed(false);
    assert_true(log_one());
    assert_ok(audit_wait(ring, logged, &err));
    nap_ms(300);
    assert_ok(audit_close(writer, AUDIT_CLOSE_CLEAN, &err));
    check_log(AUDIT_INTACT_CLOSED, 1);
}

/* A limit of file sizes (ulimit -f) is seen before it is hit: what is in the ring and the close record
 * have their room below it. */
static void limit_seen_ahead(void **state)
{
    const struct audit_event refused = {.op = AUDIT_REFUSED};
    char name[600];
    struct stat st;
    int i;

    (void)state;
    reserve = 1 << 20; /* more than a ring full of records, which may wait when the limit is seen */
    open_session(dir);
    reserve = 1;
    (void)snprintf(name, sizeof(name), "%s/000000.vlog", path);
    assert_int_equal(stat(name, &st), 0);
    limit((rlim_t)st.st_blocks * 512); /* what is reserved can be written, and no more */
    for (i = 0; i < 1000000 && audit_state(ring) == AUDIT_READY; i++)
        (void)log_one();
    assert_int_equal(audit_state(ring), AUDIT_RESERVED);
    assert_false(audit_failed(ring));
    assert_ok(audit_wait(ring, audit_log(ring, &refused), &err)); /* from the reserve */
    assert_ok(audit_close(writer, AUDIT_CLOSE_CLEAN, &err));
    limit(RLIM_INFINITY);
    check_log(AUDIT_INTACT_CLOSED, 1);
}

/* The program ends while the disk is full: the log stays open, and what was logged can be found. */
static void full_at_the_end(void **state)
{
    struct audit_report r;

    (void)state;
    open_session(dir);
    limit(150000);
    fill_up();
    assert_fails(audit_close(writer, AUDIT_CLOSE_CLEAN, &err), VD_EAUDIT, "cannot close");
    limit(RLIM_INFINITY);
    assert_ok(audit_verify(path, NULL, NULL, NULL, &r, &err));
    assert_int_equal(r.verdict, AUDIT_TORN_TAIL);
    assert_true(r.torn_bytes > 0);
    assert_int_equal(r.records + r.unsealed, logged + 1);
}

/* Space comes back only for closing. */
static void close_after_full(void **state)
{
    (void)state;
    open_session(dir);
    limit(150000);
    fill_up();
    limit(RLIM_INFINITY);
    assert_ok(audit_close(writer, AUDIT_CLOSE_CLEAN, &err));
    check_log(AUDIT_INTACT_CLOSED, 0);
}

/* A sync that fails cannot be trusted again: failed for good. */
static void sync_fails(void **state)
{
    int pipe_fd[2];

    (void)state;
    open_session(dir);
    assert_int_equal(pipe(pipe_fd), 0);
    assert_true(dup2(pipe_fd[1], writer->segment_fd) >= 0); /* writes go, fdatasync is EINVAL */
    assert_true(log_one());
    assert_fails(audit_wait(ring, 1, &err), VD_EAUDIT, "cannot be written");
    nap_ms(1500);
    assert_true(audit_failed(ring));
    fill_up();
    assert_fails(audit_close(writer, AUDIT_CLOSE_CLEAN, &err), VD_EAUDIT, "cannot close");
    (void)close(pipe_fd[0]);
    (void)close(pipe_fd[1]);
}

static void write_fails(void **state)
{
    int fd, saved;

    (void)state;
    open_session(dir);
    saved = dup(writer->segment_fd);
    fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0 && saved >= 0);
    assert_true(dup2(fd, writer->segment_fd) >= 0);
    fill_up();
    assert_true(dup2(saved, writer->segment_fd) >= 0);
    (void)close(fd);
    (void)close(saved);
    wait_failed(false);
    assert_true(log_one());
    nap_ms(300);
    assert_ok(audit_close(writer, AUDIT_CLOSE_CLEAN, &err));
    check_log(AUDIT_INTACT_CLOSED, 1);
}

/* The same with a file system that is really full.  In a child with mounts of its own. */
static int on_small_tmpfs(void)
{
    struct stat st;
    char filler[600];
    FILE *f;
    int i;

    if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount("tmpfs", dir, "tmpfs", 0, "size=1200k"))
        return 77;
    (void)snprintf(filler, sizeof(filler), "%s/filler", dir);
    f = fopen(filler, "wb");
    for (i = 0; f && i < 700 * 1024; i++)
        (void)fputc('x', f);
    if (!f || fclose(f))
        return 77;
    open_session(dir);
    fill_up();
    if (unlink(filler))
        return 1;
    wait_failed(false);
    assert_true(log_one());
    nap_ms(300);
    assert_ok(audit_close(writer, AUDIT_CLOSE_CLEAN, &err));
    check_log(AUDIT_INTACT_CLOSED, 2);
    return stat(path, &st) ? 1 : 0;
}

static void disk_full(void **state)
{
    int status;
    pid_t pid;

    (void)state;
    if (geteuid() != 0) {
        print_message("SKIPPED: needs root for a tmpfs\n");
        skip();
    }
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(on_small_tmpfs());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        print_message("SKIPPED: cannot mount a tmpfs here\n");
        skip();
    }
    assert_int_equal(status, 0);
}

/* Fails within a second, for good, whatever comes back; the log is not closed. */
static void lost_for_good(void)
{
    int i;

    for (i = 0; i < 200 && !audit_failed(ring); i++)
        nap_ms(5);
    assert_true(audit_failed(ring));
    nap_ms(700);
    assert_true(audit_failed(ring));
    assert_int_equal(audit_state(ring), AUDIT_FAILED);
    assert_fails(audit_close(writer, AUDIT_CLOSE_CLEAN, &err), VD_EAUDIT, "cannot close");
}

/* The session's directory, or one file of it, is removed, replaced or cut while the log is written. */
static void files_lost(void **state)
{
    static const struct {
        const char *name, *how, *told;
    } lost[] = {
        {"000000.vlog", "rm %s", "000000.vlog is gone"},
        {"checkpoints", "rm %s", "checkpoints is gone"},
        {"ring.wal", "rm %s", "ring.wal is gone"},
        {"", "rm -rf %s", "is gone"},
        {"", "mv %1$s %1$s.away", "is gone"},
        {"000000.vlog", "mv %1$s %1$s.away; cp %1$s.away %1$s", "is not what was written"},
        {"000000.vlog", "truncate -s -1 %s", "is not what was written"},
        {"000000.vlog", "echo >> %s", "is not what was written"},
        {"checkpoints", "truncate -s 0 %s", "is not what was written"},
    };
    char name[600], command[2048];
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(lost) / sizeof(lost[0]); i++) {
        open_session(dir);
        assert_true(log_one());
        assert_ok(audit_wait(ring, logged, &err));
        nap_ms(50); /* a checkpoint follows */
        (void)snprintf(name, sizeof(name), "%s/%s", path, lost[i].name);
        if (!lost[i].name[0])
            name[strlen(name) - 1] = '\0';
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        (void)snprintf(command, sizeof(command), lost[i].how, name);
#pragma GCC diagnostic pop
        assert_int_equal(system(command), 0);
        lost_for_good();
        if (!strstr(lines, lost[i].told))
            fail_msg("%s: told was: %s", command, lines);
    }
}

/* Somebody cuts the file that is mapped: no process dies of it, nothing is served any more. */
static void ring_cut(void **state)
{
    char name[600];

    (void)state;
    open_session(dir);
    assert_true(log_one());
    assert_ok(audit_wait(ring, logged, &err));
    (void)snprintf(name, sizeof(name), "%s/ring.wal", path);
    assert_int_equal(truncate(name, 0), 0);
    (void)log_one();
    lost_for_good();
    assert_non_null(strstr(lines, "ring.wal"));
}

/* Low space is told once per mark, and again only after there was more for a while. */
static void marks(void **state)
{
    const struct audit_event open = {.op = AUDIT_SESSION_OPEN};
    struct audit_config config = {.ring_bytes = 1, .low_bytes = UINT64_MAX, .notice = take_line};

    (void)state;
    config.dir = dir;
    lines[0] = '\0';
    assert_ok(audit_open(&config, &writer, &ring, &err));
    (void)snprintf(path, sizeof(path), "%s", audit_session_dir(writer));
    assert_int_equal(audit_log(ring, &open), 0);
    assert_ok(audit_start(writer, &err));
    logged = 0;
    nap_ms(2500); /* looked at several times */
    assert_ok(audit_close(writer, AUDIT_CLOSE_CLEAN, &err));
    check_log(AUDIT_INTACT_CLOSED, 1);
    assert_int_equal(warnings, 1);
    assert_non_null(strstr(lines, "KiB left"));
    assert_null(strstr(strstr(lines, "KiB left") + 1, "KiB left"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(disk_full, setup, teardown), /* forks: before threads */
        cmocka_unit_test_setup_teardown(full_and_space_again, setup, teardown),
        cmocka_unit_test_setup_teardown(limit_seen_ahead, setup, teardown),
        cmocka_unit_test_setup_teardown(full_at_the_end, setup, teardown),
        cmocka_unit_test_setup_teardown(close_after_full, setup, teardown),
        cmocka_unit_test_setup_teardown(sync_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(write_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(files_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(ring_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(marks, setup, teardown),
    };

    (void)signal(SIGXFSZ, SIG_IGN); /* audit_close writes in the caller's thread */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
