/* SPDX-License-Identifier: Apache-2.0 */
/* Workers that were taken over: they write what they like into the channel.  The supervisor must
 * survive, keep its descriptors, answer signals, and give out nothing but evidence. */
#include "pair.h"

#include "proc/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static char *tmp;
static const char *dir;
static char evidence[600];

static int set_up(void **state)
{
    (void)state;
    dir = tmp = test_tmpdir();
    (void)snprintf(evidence, sizeof(evidence), "%s/e", tmp);
    assert_int_equal(mkdir(evidence, 0700), 0);
    dir = evidence;
    test_write_file(evidence, "disk", "0123456789", 10);
    test_write_file(tmp, "secret", "secret", 6);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    test_rmdir(tmp);
    return 0;
}

/* Sends raw bytes, takes the answer if one comes within `ms`; its length, 0 = none. */
static size_t raw(struct proc_channel *ch, const void *bytes, size_t len, int ms, int *out_fd)
{
    struct pollfd fd = {.fd = ch->sock, .events = POLLIN};
    size_t got = 0;
    bool cut;

    if (proc_packet_send(ch->sock, bytes, len, -1, true))
        return 0;
    if (poll(&fd, 1, ms) != 1 ||
        proc_packet_recv(ch->sock, ch->reply, sizeof(*ch->reply), &got, out_fd, &cut, true))
        return 0;
    return got;
}

static int ask(struct proc_channel *ch, const struct proc_request *rq)
{
    int fd = -1;

    if (raw(ch, rq, sizeof(*rq), 10000, &fd) < PROC_REPLY_HEAD)
        return 1;
    if (fd >= 0)
        (void)close(fd);
    return ch->reply->rc;
}

/* The channel still works as it should. */
static int still_fine(struct proc_channel *ch, struct vd_err *err)
{
    struct blk_source src;
    struct blkdev *dev = NULL;
    int rc;

    proc_channel_source(ch, &src);
    rc = src.open(src.ctx, 0, "disk", &dev, err);
    blk_unref(dev);
    return rc;
}

static int w_random(struct proc_channel *ch, void *arg, struct vd_err *err)
{
    static uint8_t junk[sizeof(struct proc_request) * 3];
    struct proc_request rq;
    uint64_t seed;

    (void)arg;
    for (seed = 1; seed <= 4000; seed++) {
        uint32_t kind = (uint32_t)(seed % 5 + 1); /* all kinds but RESULT */
        size_t len;
        int fd = -1;

        test_fill(junk, sizeof(junk), seed);
        len = 1 + (junk[0] | junk[1] << 8) % (sizeof(junk) - 1);
        if (seed % 2) { /* of the right size and kind, the rest random */
            len = sizeof(rq);
            memcpy(junk, &kind, sizeof(kind));
        } else if (len == sizeof(rq)) {
            len--;
        }
        check(raw(ch, junk, len, 10000, &fd) >= PROC_REPLY_HEAD);
        check(fd == -1 && ch->reply->rc < 0);
    }
    return still_fine(ch, err);
}

static void random_bytes(void **state)
{
    struct proc_config config = pair_config(&dir, w_random, NULL);
    struct vd_err err = VD_ERR_INIT;
    bool died = true;

    (void)state;
    assert_ok(proc_run(&config, &died, &err));
    assert_false(died);
}

static int w_sizes(struct proc_channel *ch, void *arg, struct vd_err *err)
{
    static uint8_t huge[160000];
    size_t len;

    (void)arg;
    for (len = 1; len < sizeof(struct proc_request); len += 7)
        check(raw(ch, huge, len, 10000, NULL) && ch->reply->rc == -VD_EUSAGE);
    check(raw(ch, huge, sizeof(huge), 10000, NULL) && ch->reply->rc == -VD_EUSAGE);
    return still_fine(ch, err);
}

static void wrong_sizes(void **state)
{
    struct proc_config config = pair_config(&dir, w_sizes, NULL);
    struct vd_err err = VD_ERR_INIT;

    (void)state;
    assert_ok(proc_run(&config, NULL, &err));
}

/* Well-formed packets with every field out of its range. */
static int w_fields(struct proc_channel *ch, void *arg, struct vd_err *err)
{
    static const char *const escapes[] = {"../secret",      "/etc/passwd", "..",    ".",
                                          "e/../../secret", "./disk",      "disk/", ""};
    struct proc_request rq;
    size_t i;

    (void)arg;
    memset(&rq, 0, sizeof(rq));
    rq.kind = PROC_OPEN;
    for (i = 0; i < sizeof(escapes) / sizeof(escapes[0]); i++) {
        memset(rq.u.name, 0, sizeof(rq.u.name));
        (void)strcpy(rq.u.name, escapes[i]);
        check(ask(ch, &rq) == -VD_EREFUSED);
    }
    memset(rq.u.name, 'x', sizeof(rq.u.name)); /* no end */
    check(ask(ch, &rq) == -VD_EREFUSED);
    (void)strcpy(rq.u.name, "disk");
    rq.dir = 1;
    check(ask(ch, &rq) == -VD_EUSAGE);
    rq.dir = UINT32_MAX;
    check(ask(ch, &rq) == -VD_EUSAGE);
    rq.kind = PROC_LIST;
    check(ask(ch, &rq) == -VD_EUSAGE);
    rq.dir = 0;
    rq.index = 1; /* no listing under way */
    check(ask(ch, &rq) == -VD_EUSAGE);
    rq.index = UINT32_MAX;
    check(ask(ch, &rq) == -VD_EUSAGE);
    rq.kind = PROC_WHO;
    rq.pid = INT32_MIN;
    check(ask(ch, &rq) == -VD_EUSAGE);
    rq.kind = PROC_MOUNT; /* this program does not mount */
    check(ask(ch, &rq) == -VD_EUSAGE);
    rq.kind = PROC_MOUNTED;
    check(ask(ch, &rq) == -VD_EUSAGE);
    rq.kind = PROC_RESULT;
    rq.rc = 5;
    check(ask(ch, &rq) == -VD_EUSAGE);
    rq.kind = UINT32_MAX;
    check(ask(ch, &rq) == -VD_EUSAGE);
    return still_fine(ch, err);
}

static void fields_out_of_range(void **state)
{
    struct proc_config config = pair_config(&dir, w_fields, NULL);
    struct vd_err err = VD_ERR_INIT;

    (void)state;
    assert_ok(proc_run(&config, NULL, &err));
}

/* Descriptors pushed into the supervisor must not pile up there. */
static int w_pushes(struct proc_channel *ch, void *arg, struct vd_err *err)
{
    struct proc_request rq;
    size_t len;
    int i;

    (void)arg;
    memset(&rq, 0, sizeof(rq));
    rq.kind = PROC_WHO;
    rq.pid = (int32_t)getppid();
    for (i = 0; i < 500; i++) {
        check(proc_packet_send(ch->sock, &rq, sizeof(rq), 0, true) == 0);
        check(proc_packet_recv(ch->sock, ch->reply, sizeof(*ch->reply), &len, NULL, NULL, true) ==
              0);
    }
    return still_fine(ch, err);
}

static void on_unmount_count(void *ctx)
{
    struct shared *s = ctx;

    atomic_store(&s->value[0], count_fds());
}

static int w_pushes_and_waits(struct proc_channel *ch, void *arg, struct vd_err *err)
{
    struct shared *s = arg;
    int rc = w_pushes(ch, NULL, err);

    atomic_store(&s->ready, 1);
    (void)poll(&(struct pollfd){.fd = proc_channel_stop_fd(ch), .events = POLLIN}, 1, 20000);
    return rc;
}

static void pushed_descriptors_vanish(void **state)
{
    struct shared *s = shared_new();
    struct proc_config config = pair_config(&dir, w_pushes_and_waits, s);
    struct vd_err err = VD_ERR_INIT;
    int before = count_fds();
    pid_t helper = signal_later(s, SIGTERM, 0, 1);

    (void)state;
    config.unmount = on_unmount_count;
    config.ctx = s;
    assert_ok(proc_run(&config, NULL, &err));
    /* while it ran: channel, stop pipe, signals, pidfd, one directory */
    assert_int_equal(atomic_load(&s->value[0]), before + 5);
    assert_int_equal(count_fds(), before);
    join_child(helper);
    shared_free(s);
}

/* Asks without ever taking an answer. */
static int w_does_not_read(struct proc_channel *ch, void *arg, struct vd_err *err)
{
    struct proc_request rq;

    (void)arg;
    (void)err;
    memset(&rq, 0, sizeof(rq));
    rq.kind = PROC_OPEN;
    (void)strcpy(rq.u.name, "disk");
    while (proc_packet_send(ch->sock, &rq, sizeof(rq), -1, true) == 0)
        ;
    while (pause() < 0)
        ;
    return 0;
}

static void flood_without_reading(void **state)
{
    struct proc_config config = pair_config(&dir, w_does_not_read, NULL);
    struct vd_err err = VD_ERR_INIT;
    bool died = false;

    (void)state;
    assert_fails(proc_run(&config, &died, &err), VD_EIO, "does not take its answers");
    assert_true(died);
}

static int w_closes(struct proc_channel *ch, void *arg, struct vd_err *err)
{
    (void)arg;
    (void)err;
    (void)close(ch->sock);
    while (pause() < 0)
        ;
    return 0;
}

/* An empty packet looks like the end. */
static int w_empty(struct proc_channel *ch, void *arg, struct vd_err *err)
{
    (void)arg;
    (void)err;
    (void)send(ch->sock, "", 0, 0);
    while (pause() < 0)
        ;
    return 0;
}

static void channel_closed_and_no_end(void **state)
{
    static proc_worker_fn *const workers[] = {w_closes, w_empty};
    size_t i;

    (void)state;
    for (i = 0; i < 2; i++) {
        struct proc_config config = pair_config(&dir, workers[i], NULL);
        struct vd_err err = VD_ERR_INIT;
        long long start = now_ns();
        bool died = false;

        assert_fails(proc_run(&config, &died, &err), VD_EIO, "closed its channel");
        assert_true(died);
        assert_true(now_ns() - start < 4000000000LL);
    }
}

/* A result with hostile text; a second one that contradicts; then no end. */
static int w_lies(struct proc_channel *ch, void *arg, struct vd_err *err)
{
    struct proc_request rq;

    (void)arg;
    (void)err;
    memset(&rq, 0, sizeof(rq));
    rq.kind = PROC_RESULT;
    rq.rc = -VD_ECHAIN;
    memset(&rq.u.err, 0xff, sizeof(rq.u.err));
    memcpy(rq.u.err.msg, "\033]0;owned\a first", 16);
    (void)proc_packet_send(ch->sock, &rq, sizeof(rq), -1, true);
    rq.rc = 0;
    (void)proc_packet_send(ch->sock, &rq, sizeof(rq), -1, true);
    while (pause() < 0)
        ;
    return 0;
}

static void hostile_result(void **state)
{
    struct proc_config config = pair_config(&dir, w_lies, NULL);
    struct vd_err err = VD_ERR_INIT;
    long long start = now_ns();
    bool died = true;

    (void)state;
    assert_fails(proc_run(&config, &died, &err), VD_ECHAIN, "first");
    assert_null(strchr(err.msg, '\033'));
    assert_null(strchr(err.msg, '\a'));
    assert_true(strlen(err.msg) < sizeof(err.msg));
    assert_false(died);
    assert_true(now_ns() - start < 4000000000LL);
}

/* ---- mounting out of turn ---- */

static int mounts;

static int fake_mount(void *ctx, int *out_fd, struct vd_err *err)
{
    (void)ctx;
    if (mounts++ == 0)
        return vd_fail(err, VD_EMOUNT, "the first one fails");
    *out_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    return 0;
}

static int fake_mounted(void *ctx, struct vd_err *err)
{
    (void)err;
    ++*(int *)ctx;
    return 0;
}

static int w_mounts(struct proc_channel *ch, void *arg, struct vd_err *err)
{
    int fd = -1, other = -1;

    (void)arg;
    check(proc_channel_mounted(ch, err) == -VD_EUSAGE);
    check(proc_channel_mount(ch, &fd, err) == -VD_EMOUNT && fd == -1);
    check(proc_channel_mounted(ch, err) == -VD_EUSAGE);
    check(proc_channel_mount(ch, &fd, err) == 0 && fd >= 0);
    check(fcntl(fd, F_GETFD) == FD_CLOEXEC && write(fd, "x", 1) == 1);
    check(proc_channel_mount(ch, &other, err) == -VD_EUSAGE && other == -1);
    check(proc_channel_mounted(ch, err) == 0);
    check(proc_channel_mounted(ch, err) == -VD_EUSAGE);
    return 0;
}

static void mount_out_of_turn(void **state)
{
    struct proc_config config = pair_config(&dir, w_mounts, NULL);
    struct vd_err err = VD_ERR_INIT;
    int usable = 0;

    (void)state;
    config.mount = fake_mount;
    config.mounted = fake_mounted;
    config.ctx = &usable;
    assert_ok(proc_run(&config, NULL, &err));
    assert_int_equal(mounts, 2);
    assert_int_equal(usable, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_bytes),          cmocka_unit_test(wrong_sizes),
        cmocka_unit_test(fields_out_of_range),   cmocka_unit_test(pushed_descriptors_vanish),
        cmocka_unit_test(flood_without_reading), cmocka_unit_test(channel_closed_and_no_end),
        cmocka_unit_test(hostile_result),        cmocka_unit_test(mount_out_of_turn),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
