/* SPDX-License-Identifier: Apache-2.0 */
/* With the log: what the supervisor records, and that the worker can record too. */
#include "pair.h"

#include "audit/record.h"
#include "audit/verify.h"
#include "base/bytes.h"
#include "proc/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char *tmp;
static char dir_path[600], log_path[600];
static const char *dir = dir_path;

static int set_up(void **state)
{
    (void)state;
    tmp = test_tmpdir();
    (void)snprintf(dir_path, sizeof(dir_path), "%s/evidence", tmp);
    (void)snprintf(log_path, sizeof(log_path), "%s/log", tmp);
    assert_int_equal(mkdir(dir_path, 0700), 0);
    test_write_file(dir_path, "disk", "0123456789", 10);
    test_write_file(dir_path, "other", "012345678901", 12);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    test_rmdir(tmp);
    return 0;
}

/* ---- reading the log ---- */

struct found {
    unsigned evidence, changed, died, warning;
    char disk_dir[600], died_text[200];
    uint64_t disk_dev, disk_ino, disk_size;
    int64_t disk_mtime;
    char disk_text[100];
};

static void take_text(const struct audit_record *r, enum audit_tag tag, char *out, size_t size)
{
    struct audit_piece piece;

    out[0] = '\0';
    if (audit_record_find(r, tag, &piece))
        (void)snprintf(out, size, "%.*s", (int)piece.len, (const char *)piece.bytes);
}

static uint64_t take_u64(const struct audit_record *r, enum audit_tag tag)
{
    struct audit_piece piece;

    return audit_record_find(r, tag, &piece) && piece.len == 8 ? vd_le64(piece.bytes) : 0;
}

static int on_record(void *ctx, const struct audit_seen *seen, struct vd_err *err)
{
    struct found *f = ctx;
    struct audit_record r;
    char name[300];
    int rc = audit_record_decode(seen->bytes, seen->len, &r, err);

    if (rc)
        return rc;
    take_text(&r, AUDIT_T_NAME, name, sizeof(name));
    f->evidence += r.op == AUDIT_EVIDENCE;
    f->changed += r.op == AUDIT_EVIDENCE_CHANGED;
    f->warning += r.op == AUDIT_WARNING;
    if (r.op == AUDIT_WORKER_DIED) {
        f->died++;
        take_text(&r, AUDIT_T_TEXT, f->died_text, sizeof(f->died_text));
    }
    if (r.op == AUDIT_EVIDENCE && strcmp(name, "disk") == 0) {
        take_text(&r, AUDIT_T_KEY, f->disk_dir, sizeof(f->disk_dir));
        take_text(&r, AUDIT_T_TEXT, f->disk_text, sizeof(f->disk_text));
        f->disk_dev = take_u64(&r, AUDIT_T_DEV);
        f->disk_ino = take_u64(&r, AUDIT_T_INO);
        f->disk_mtime = (int64_t)take_u64(&r, AUDIT_T_MTIME);
        f->disk_size = r.len;
    }
    return 0;
}

/* Runs the worker with a log and reads that. */
static int run_logged(proc_worker_fn *worker, enum proc_sandbox_mode mode, bool *out_died,
                      struct found *found, struct vd_err *err)
{
    const struct audit_config audit = {.dir = log_path};
    struct proc_config config = pair_config(&dir, worker, NULL);
    struct audit_writer *writer = NULL;
    struct audit_ring *ring = NULL;
    const struct audit_event begin = {.op = AUDIT_SESSION_OPEN};
    struct vd_err log_err = VD_ERR_INIT;
    struct audit_report report;
    char session[600];
    int rc;

    if (audit_open(&audit, &writer, &ring, &log_err))
        fail_msg("%s", log_err.msg);
    (void)snprintf(session, sizeof(session), "%s", audit_session_dir(writer));
    assert_true(audit_log(ring, &begin) != AUDIT_NOT_LOGGED);
    config.audit = writer;
    config.ring = ring;
    config.arg = ring;
    config.sandbox = mode;
    rc = proc_run(&config, out_died, err);
    if (audit_close(writer, *out_died ? AUDIT_CLOSE_WORKER_DIED : AUDIT_CLOSE_CLEAN, &log_err))
        fail_msg("%s", log_err.msg);
    memset(found, 0, sizeof(*found));
    if (audit_verify(session, NULL, on_record, found, &report, &log_err))
        fail_msg("%s", log_err.msg);
    if (report.verdict != AUDIT_INTACT_CLOSED)
        fail_msg("%s: %s", audit_verdict_text(report.verdict), report.reason);
    assert_int_equal(report.lost, 0);
    return rc;
}

/* ---- tests ---- */

static int open_and_close(struct proc_channel *ch, const char *name, struct vd_err *err)
{
    struct blk_source src;
    struct blkdev *dev = NULL;
    int rc;

    proc_channel_source(ch, &src);
    rc = src.open(src.ctx, 0, name, &dev, err);
    blk_unref(dev);
    return rc;
}

static int w_opens(struct proc_channel *ch, void *arg, struct vd_err *err)
{
    int i, n = count_fds();

    (void)arg;
    if (n != 6) /* 0–2, channel, stop, the log's lifeline */
        return vd_fail(err, VD_EDIFF, "%d descriptors", n);
    for (i = 0; i < 3; i++) {
        check(open_and_close(ch, "disk", err) == 0);
        (void)opened_prune(&ch->files); /* so that the supervisor is asked again */
    }
    check(open_and_close(ch, "other", err) == 0);
    check(open_and_close(ch, "missing", err) == -VD_ENOENT);
    return 0;
}

static void evidence_is_logged_once(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    char path[700];
    struct found found;
    struct stat st;
    bool died = true;

    (void)state;
    (void)snprintf(path, sizeof(path), "%s/disk", dir_path);
    assert_int_equal(stat(path, &st), 0);
    assert_ok(run_logged(w_opens, PROC_SANDBOX_BEST, &died, &found, &err));
    assert_false(died);
    assert_int_equal(found.evidence, 2);
    assert_int_equal(found.changed, 0);
    assert_int_equal(found.died, 0);
    assert_string_equal(found.disk_dir, dir_path);
    assert_string_equal(found.disk_text, "noatime");
    assert_true(found.disk_dev == st.st_dev && found.disk_ino == st.st_ino);
    assert_int_equal(found.disk_size, 10);
    assert_true(found.disk_mtime == (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec);
}

static int w_changes(struct proc_channel *ch, void *arg, struct vd_err *err)
{
    char path[700];

    (void)arg;
    (void)snprintf(path, sizeof(path), "%s/other", dir_path);
    check(open_and_close(ch, "other", err) == 0);
    (void)opened_prune(&ch->files);
    check(truncate(path, 5) == 0); /* no sandbox in this test */
    check(open_and_close(ch, "other", err) == 0);
    return 0;
}

static void a_change_is_logged(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    struct found found;
    bool died = true;

    (void)state;
    assert_ok(run_logged(w_changes, PROC_SANDBOX_OFF, &died, &found, &err));
    assert_int_equal(found.evidence, 1);
    assert_int_equal(found.changed, 1);
}

static int w_logs(struct proc_channel *ch, void *arg, struct vd_err *err)
{
    const struct audit_event event = {.op = AUDIT_WARNING};
    uint64_t seq = 0;
    int i;

    (void)ch;
    for (i = 0; i < 1000; i++) {
        seq = audit_log(arg, &event);
        check(seq != AUDIT_NOT_LOGGED);
    }
    return audit_wait(arg, seq, err);
}

static void sandboxed_worker_logs(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    struct found found;
    bool died = true;

    (void)state;
    assert_ok(run_logged(w_logs, PROC_SANDBOX_BEST, &died, &found, &err));
    assert_int_equal(found.warning, 1000);
}

static int w_dies(struct proc_channel *ch, void *arg, struct vd_err *err)
{
    (void)w_logs(ch, arg, err);
    (void)signal(SIGABRT, SIG_DFL);
    abort();
}

static void death_is_logged(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    struct found found;
    bool died = false;

    (void)state;
    assert_fails(run_logged(w_dies, PROC_SANDBOX_BEST, &died, &found, &err), VD_EIO, "SIGABRT");
    assert_true(died);
    assert_int_equal(found.warning, 1000);
    assert_int_equal(found.died, 1);
    assert_string_equal(found.died_text, "the worker was killed by signal 6 (SIGABRT)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(evidence_is_logged_once),
        cmocka_unit_test(a_change_is_logged),
        cmocka_unit_test(sandboxed_worker_logs),
        cmocka_unit_test(death_is_logged),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
