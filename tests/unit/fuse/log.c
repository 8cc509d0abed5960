/* SPDX-License-Identifier: Apache-2.0 */
#include "fakes.h"

#include "fuse/buffers.h"
#include "fuse/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct vd_err err;

struct fixture {
    struct proc_channel channel;
    struct log log;
};

static const struct who_request sender = {.pid = 100, .uid = 1, .gid = 1};

static int set_up(void **state)
{
    static struct fixture f;

    memset(&f, 0, sizeof(f));
    f.log.ring = fake_ring_new();
    assert_ok(who_new(&f.channel, f.log.ring, &f.log.who, &err));
    assert_ok(paths_new(&f.log.paths, &err));
    assert_true(paths_add(f.log.paths, 2, TREE_ROOT, "disk.img", 8));
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    who_free(f->log.who);
    paths_free(f->log.paths);
    fake_ring_free(f->log.ring);
    return 0;
}

static void puts_what_was_given(void **state)
{
    struct fixture *f = *state;
    struct log_event open = {.op = AUDIT_OPEN, .obj = 2, .with_path = true};
    struct log_event read = {.op = AUDIT_READ, .obj = 2, .off = 4096, .len = 512};
    struct log_event lookup = {.op = AUDIT_LOOKUP, .obj = 1, .name = "missing", .error = ENOENT};
    struct fake_record r;

    assert_true(log_put(&f->log, &sender, &open));
    assert_true(log_put(&f->log, &sender, &read));
    assert_true(log_put(&f->log, &sender, &lookup));
    assert_int_equal(fake_ring_count(f->log.ring), 4); /* the process first */
    r = fake_ring_at(f->log.ring, 1);
    assert_int_equal(r.op, AUDIT_OPEN);
    assert_string_equal(r.path, "disk.img");
    assert_int_equal(r.proc, fake_ring_at(f->log.ring, 0).off);
    r = fake_ring_at(f->log.ring, 2);
    assert_int_equal(r.off, 4096);
    assert_int_equal(r.len, 512);
    assert_string_equal(r.path, "");
    r = fake_ring_at(f->log.ring, 3);
    assert_int_equal(r.result, -ENOENT);
    assert_string_equal(r.name, "missing");
    assert_int_equal(fake_ring_waited(f->log.ring), 0); /* none of these waits for the disk */
}

static void critical_records_wait(void **state)
{
    struct fixture *f = *state;
    struct log_event refused = {
        .op = AUDIT_REFUSED, .obj = 2, .error = EROFS, .with_path = true, .key = "write"};
    struct fake_record r;

    assert_true(log_put(&f->log, &sender, &refused));
    assert_true(fake_ring_last_of(f->log.ring, AUDIT_REFUSED, &r));
    assert_string_equal(r.key, "write");
    assert_string_equal(r.path, "disk.img");
    assert_int_equal(fake_ring_waited(f->log.ring), r.seq);
}

static ssize_t read_all_of(int fd, char *buf, size_t size)
{
    size_t used = 0;
    ssize_t got;

    while (used < size && (got = read(fd, buf + used, size - used)) > 0)
        used += (size_t)got;
    return (ssize_t)used;
}

/* Lines that `text` occurs in, in what was written to standard error by `n` failures. */
static unsigned lines_on_stderr(struct fixture *f, unsigned n, const char *text)
{
    struct log_event read = {.op = AUDIT_READ, .obj = 2, .off = 8192, .len = 4096, .error = EIO};
    char buf[8192], *at = buf;
    int pipe_fd[2] = {-1, -1}, saved = dup(STDERR_FILENO);
    unsigned i, lines = 0;
    ssize_t got;

    assert_true(saved >= 0 && pipe2(pipe_fd, O_NONBLOCK) == 0);
    assert_true(dup2(pipe_fd[1], STDERR_FILENO) >= 0);
    for (i = 0; i < n; i++)
        if (!log_unreadable(&f->log, &sender, &read, "base.vmdk: grain 7: \x1b[31m bad"))
            break;
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    assert_int_equal(i, n);
    got = read_all_of(pipe_fd[0], buf, sizeof(buf) - 1);
    buf[got] = '\0';
    for (; (at = strstr(at, text)); at++)
        lines++;
    (void)close(saved);
    (void)close(pipe_fd[0]);
    (void)close(pipe_fd[1]);
    return lines;
}

static void unreadable_evidence_is_told(void **state)
{
    struct fixture *f = *state;
    struct fake_record r;

    /* At most ten lines a second (the test may see the second change), every one in the log. */
    assert_in_range(lines_on_stderr(f, 200, "vdiskfs: /disk.img: base.vmdk: grain 7"), 1, 20);
    assert_int_equal(fake_ring_count_of(f->log.ring, AUDIT_IOERR, 2), 200);
    assert_true(fake_ring_last_of(f->log.ring, AUDIT_IOERR, &r));
    assert_int_equal(r.result, -EIO);
    assert_int_equal(r.off, 8192);
    assert_int_equal(r.len, 4096);
    assert_string_equal(r.path, "disk.img");
    assert_true(test_contains(r.text, "grain 7"));
    assert_int_equal(fake_ring_waited(f->log.ring), r.seq);
}

static void a_failed_log_refuses(void **state)
{
    struct fixture *f = *state;
    struct log_event read = {.op = AUDIT_READ, .obj = 2};

    assert_true(log_ready(&f->log));
    fake_ring_break(f->log.ring, true);
    assert_false(log_ready(&f->log));
    assert_false(log_put(&f->log, &sender, &read));
    assert_false(log_unreadable(&f->log, &sender, &read, "x"));
    assert_int_equal(fake_ring_count(f->log.ring), 0);
    fake_ring_break(f->log.ring, false);
    assert_true(log_put(&f->log, &sender, &read));
}

static void buffers_are_used_again(void **state)
{
    struct buffers b;
    void *first, *second, *large;

    (void)state;
    buffers_init(&b);
    first = buffers_get(&b, 4096);
    second = buffers_get(&b, BUFFERS_BYTES);
    large = buffers_get(&b, BUFFERS_BYTES + 1);
    assert_non_null(first);
    assert_non_null(second);
    assert_non_null(large);
    memset(first, 1, BUFFERS_BYTES);
    memset(second, 2, BUFFERS_BYTES);
    memset(large, 3, BUFFERS_BYTES + 1);
    assert_int_equal((uintptr_t)first % 4096, 0);
    buffers_put(&b, large, BUFFERS_BYTES + 1);
    buffers_put(&b, first, 4096);
    buffers_put(&b, second, BUFFERS_BYTES);
    assert_ptr_equal(buffers_get(&b, 1), second); /* the last one given back */
    buffers_put(&b, second, 1);
    buffers_put(&b, NULL, 1);
    assert_null(buffers_get(&b, SIZE_MAX));
    buffers_clear(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(puts_what_was_given, set_up, tear_down),
        cmocka_unit_test_setup_teardown(critical_records_wait, set_up, tear_down),
        cmocka_unit_test_setup_teardown(unreadable_evidence_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_failed_log_refuses, set_up, tear_down),
        cmocka_unit_test(buffers_are_used_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
