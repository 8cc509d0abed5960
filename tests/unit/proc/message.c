/* SPDX-License-Identifier: Apache-2.0 */
/* Requests as hostile bytes. */
#include "proc/message.h"

#include "testlib.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct proc_request open_request(const char *name)
{
    struct proc_request rq;

    memset(&rq, 0, sizeof(rq));
    rq.kind = PROC_OPEN;
    (void)strncpy(rq.u.name, name, sizeof(rq.u.name) - 1);
    return rq;
}

static void good_requests(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    struct proc_request rq = open_request("disk.vmdk"), out;

    (void)state;
    assert_ok(proc_request_decode(&rq, sizeof(rq), 1, &out, &err));
    assert_string_equal(out.u.name, "disk.vmdk");
    rq.dir = 6;
    assert_ok(proc_request_decode(&rq, sizeof(rq), 7, &out, &err));
    memset(rq.u.name, 'n', 255); /* the longest */
    assert_ok(proc_request_decode(&rq, sizeof(rq), 7, &out, &err));
    rq.kind = PROC_RESULT;
    for (rq.rc = 0; rq.rc > -(int)VD_CLASS_COUNT; rq.rc--)
        assert_ok(proc_request_decode(&rq, sizeof(rq), 7, &out, &err));
}

static void bad_sizes(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    struct proc_request rq = open_request("x"), out = {.kind = 77};
    size_t len;

    (void)state;
    for (len = 0; len < sizeof(rq); len++)
        assert_fails(proc_request_decode(&rq, len, 1, &out, &err), VD_EUSAGE, "bytes");
    assert_fails(proc_request_decode(&rq, sizeof(rq) + 1, 1, &out, &err), VD_EUSAGE, "bytes");
    assert_int_equal(out.kind, 77); /* untouched on failure */
}

static void bad_names(void **state)
{
    static const char *const names[] = {"", ".", "..", "/", "a/b", "../x", "/etc/passwd", "x/"};
    struct vd_err err = VD_ERR_INIT;
    struct proc_request rq, out;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        rq = open_request(names[i]);
        assert_fails(proc_request_decode(&rq, sizeof(rq), 1, &out, &err), VD_EREFUSED, "bare");
    }
    rq = open_request("x");
    memset(rq.u.name, 'n', sizeof(rq.u.name)); /* no end */
    assert_fails(proc_request_decode(&rq, sizeof(rq), 1, &out, &err), VD_EREFUSED, "255");
}

static void bad_numbers(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    struct proc_request rq = open_request("x"), out;

    (void)state;
    rq.dir = 1;
    assert_fails(proc_request_decode(&rq, sizeof(rq), 1, &out, &err), VD_EUSAGE, "directory 1");
    rq.kind = PROC_LIST;
    rq.dir = UINT32_MAX;
    assert_fails(proc_request_decode(&rq, sizeof(rq), 1, &out, &err), VD_EUSAGE, "directory");
    rq.kind = PROC_WHO;
    rq.pid = 0;
    assert_fails(proc_request_decode(&rq, sizeof(rq), 1, &out, &err), VD_EUSAGE, "process id");
    rq.pid = -1;
    assert_fails(proc_request_decode(&rq, sizeof(rq), 1, &out, &err), VD_EUSAGE, "process id");
    rq.kind = PROC_RESULT;
    rq.rc = 1;
    assert_fails(proc_request_decode(&rq, sizeof(rq), 1, &out, &err), VD_EUSAGE, "result");
    rq.rc = -(int)VD_CLASS_COUNT;
    assert_fails(proc_request_decode(&rq, sizeof(rq), 1, &out, &err), VD_EUSAGE, "result");
    rq.rc = INT32_MIN;
    assert_fails(proc_request_decode(&rq, sizeof(rq), 1, &out, &err), VD_EUSAGE, "result");
    rq.kind = 0;
    assert_fails(proc_request_decode(&rq, sizeof(rq), 1, &out, &err), VD_EUSAGE, "unknown");
    rq.kind = PROC_RESULT + 1;
    assert_fails(proc_request_decode(&rq, sizeof(rq), 1, &out, &err), VD_EUSAGE, "unknown");
}

static void errors_travel(void **state)
{
    struct vd_err err = VD_ERR_INIT, back;
    struct proc_wire_err wire;
    int rc = vd_fail(&err, VD_ECHAIN, "parent %s", "missing");

    (void)state;
    rc = vd_at(&err, rc, 0x123456789abcull);
    err.host_errno = ENOENT;
    proc_err_to_wire(&err, rc, &wire);
    proc_err_from_wire(&wire, rc, &back);
    assert_int_equal(back.cls, VD_ECHAIN);
    assert_int_equal(back.host_errno, ENOENT);
    assert_true(back.has_offset);
    assert_int_equal(back.offset, 0x123456789abcull);
    assert_string_equal(back.msg, "parent missing");
}

static void hostile_errors(void **state)
{
    struct proc_wire_err wire;
    struct vd_err back;

    (void)state;
    memset(&wire, 0xff, sizeof(wire)); /* no end, not UTF-8 */
    proc_err_from_wire(&wire, -1000, &back);
    assert_int_equal(back.cls, VD_EIO);
    assert_true(strlen(back.msg) < sizeof(back.msg));
    assert_true(test_contains(back.msg, "\\xFF") || test_contains(back.msg, "\\xff"));
    memset(&wire, 0, sizeof(wire));
    (void)strcpy(wire.msg, "a\033[2Jb\n");
    proc_err_from_wire(&wire, -VD_EIO, &back);
    assert_null(strchr(back.msg, '\033'));
    assert_null(strchr(back.msg, '\n'));
    proc_err_from_wire(&wire, -VD_EIO, NULL);
}

static void packets(void **state)
{
    int pair[2], fds[2], fd = -1;
    char buf[8] = {0};
    bool cut = false;
    size_t len = 0;

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(proc_packet_recv(pair[1], buf, sizeof(buf), &len, NULL, NULL, false), EAGAIN);
    /* with a descriptor */
    assert_int_equal(proc_packet_send(pair[0], "abc", 3, fds[1], true), 0);
    assert_int_equal(proc_packet_recv(pair[1], buf, sizeof(buf), &len, &fd, &cut, true), 0);
    assert_int_equal(len, 3);
    assert_memory_equal(buf, "abc", 3);
    assert_true(fd >= 0 && !cut);
    assert_int_equal(write(fd, "!", 1), 1);
    assert_int_equal(close(fd), 0);
    /* one that is not wanted vanishes */
    assert_int_equal(proc_packet_send(pair[0], "abc", 3, fds[1], true), 0);
    assert_int_equal(proc_packet_recv(pair[1], buf, sizeof(buf), &len, NULL, NULL, true), 0);
    /* one that is expected and does not come */
    assert_int_equal(proc_packet_send(pair[0], "abc", 3, -1, true), 0);
    assert_int_equal(proc_packet_recv(pair[1], buf, sizeof(buf), &len, &fd, &cut, true), 0);
    assert_true(fd == -1 && !cut);
    /* too long: the real length is told */
    assert_int_equal(proc_packet_send(pair[0], "0123456789", 10, -1, true), 0);
    assert_int_equal(proc_packet_recv(pair[1], buf, sizeof(buf), &len, NULL, NULL, true), 0);
    assert_int_equal(len, 10);
    /* nobody reads: no waiting */
    while (proc_packet_send(pair[0], "0123456789", 10, -1, false) == 0)
        ;
    assert_int_equal(proc_packet_send(pair[0], "0123456789", 10, -1, false), EAGAIN);
    (void)close(pair[1]);
    /* told once that answers were lost, then that nobody is there */
    assert_int_equal(proc_packet_send(pair[0], "abc", 3, -1, true), ECONNRESET);
    assert_int_equal(proc_packet_send(pair[0], "abc", 3, -1, true), EPIPE);
    (void)close(pair[0]);
    (void)close(fds[0]);
    (void)close(fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_requests), cmocka_unit_test(bad_sizes),
        cmocka_unit_test(bad_names),     cmocka_unit_test(bad_numbers),
        cmocka_unit_test(errors_travel), cmocka_unit_test(hostile_errors),
        cmocka_unit_test(packets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
