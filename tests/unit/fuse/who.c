/* SPDX-License-Identifier: Apache-2.0 */
#include "fakes.h"

#include "fuse/who.h"

#include <pthread.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct vd_err err;

struct fixture {
    struct proc_channel channel;
    struct audit_ring *ring;
    struct who *who;
};

static int set_up(void **state)
{
    static struct fixture f;

    memset(&f, 0, sizeof(f));
    f.ring = fake_ring_new();
    assert_ok(who_new(&f.channel, f.ring, &f.who, &err));
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    who_free(f->who);
    fake_ring_free(f->ring);
    return 0;
}

static void wait_for_expiry(void)
{
    (void)usleep((WHO_TTL_MS + 50) * 1000);
}

static void wait_until_stale(void)
{
    (void)usleep(WHO_FRESH_US * 2);
}

static uint32_t resolve(struct fixture *f, const struct who_request *r, uint8_t flags)
{
    uint8_t got = 0xff;
    uint32_t id = who_resolve(f->who, r, &got);

    assert_int_equal(got, flags);
    assert_int_not_equal(id, 0);
    return id;
}

static void one_record_per_process(void **state)
{
    struct fixture *f = *state;
    struct who_request r = {.pid = 100, .uid = 1, .gid = 2};
    struct fake_record rec;
    uint32_t id = resolve(f, &r, 0);

    assert_int_equal(resolve(f, &r, 0), id);
    assert_int_equal(f->channel.asked, 1); /* the second answer came from the table */
    assert_int_equal(fake_ring_count(f->ring), 1);
    rec = fake_ring_at(f->ring, 0);
    assert_int_equal(rec.op, AUDIT_PROC);
    assert_int_equal(rec.off, id);
    assert_int_equal(rec.pid, 100);
    assert_int_equal(rec.uid, 1);

    r.uid = 7; /* setuid: another identity */
    assert_int_not_equal(resolve(f, &r, 0), id);
    assert_int_equal(fake_ring_count(f->ring), 2);
}

static void threads_share_a_record(void **state)
{
    struct fixture *f = *state;
    struct who_request r = {.pid = 100};
    uint32_t id = resolve(f, &r, 0);

    atomic_store(&f->channel.tgid, 100);
    r.pid = 101;
    assert_int_equal(resolve(f, &r, 0), id);
    assert_int_equal(f->channel.asked, 2);
    assert_int_equal(fake_ring_count(f->ring), 1);
}

static void asked_again_after_a_while(void **state)
{
    struct fixture *f = *state;
    struct who_request r = {.pid = 100};
    uint32_t id = resolve(f, &r, 0);

    wait_for_expiry();
    assert_int_equal(resolve(f, &r, 0), id);
    assert_int_equal(f->channel.asked, 2);
    assert_int_equal(fake_ring_count(f->ring), 1);
}

static void changes_are_seen_at_once(void **state)
{
    struct fixture *f = *state;
    struct who_request r = {.pid = 100};
    uint32_t first = resolve(f, &r, 0), second;

    wait_until_stale();
    assert_int_equal(resolve(f, &r, 0), first);
    assert_int_equal(f->channel.asked, 1);
    assert_int_equal(f->channel.looked, 1);
    assert_int_equal(f->channel.close, 1);
    r.opener = first; /* a read of what it opened itself: less closely */
    wait_until_stale();
    assert_int_equal(resolve(f, &r, 0), first);
    assert_int_equal(f->channel.looked, 2);
    assert_int_equal(f->channel.close, 1);

    atomic_store(&f->channel.run, 1); /* another program */
    atomic_store(&f->channel.look, PROC_LOOK_CHANGED);
    wait_until_stale();
    second = resolve(f, &r, 0);
    assert_int_not_equal(second, first);
    assert_int_equal(fake_ring_count(f->ring), 2);
    atomic_store(&f->channel.run, 0); /* and back: known already */
    wait_until_stale();
    assert_int_equal(resolve(f, &r, 0), first);
    assert_int_equal(fake_ring_count(f->ring), 2);
}

static void not_looked_at_twice_in_no_time(void **state)
{
    struct fixture *f = *state;
    struct who_request r = {.pid = 100};
    unsigned i;

    r.opener = resolve(f, &r, 0);
    for (i = 0; i < 20000; i++)
        (void)resolve(f, &r, 0);
    assert_in_range(f->channel.looked, 0, 10000);
    assert_int_equal(f->channel.close, 0);
    r.opener = 0;
    for (i = 0; i < 20000; i++)
        (void)resolve(f, &r, 0);
    assert_in_range(f->channel.looked, 20000, 30000); /* another name is always seen */
    assert_in_range(f->channel.close, 1, 10000);
}

static void number_used_again(void **state)
{
    struct fixture *f = *state;
    struct who_request r = {.pid = 100};
    uint32_t first = resolve(f, &r, 0), second;

    atomic_store(&f->channel.look, PROC_LOOK_DEAD);
    atomic_store(&f->channel.run, 1);
    wait_until_stale();
    second = resolve(f, &r, 0); /* somebody else has the number, and waits for the answer */
    assert_int_not_equal(second, first);
    r.opener = second; /* the file is that one's, which has ended as well */
    atomic_store(&f->channel.run, 2);
    wait_until_stale();
    assert_int_equal(resolve(f, &r, AUDIT_F_NO_PROC), second);
    assert_int_equal(fake_ring_count(f->ring), 2);
}

static void left_under_way(void **state)
{
    struct fixture *f = *state;
    struct who_request r = {.pid = 100};
    uint32_t id = resolve(f, &r, 0);

    atomic_store(&f->channel.look, PROC_LOOK_DEAD);
    atomic_store(&f->channel.gone, true);
    wait_until_stale();
    r.opener = id;
    assert_int_equal(resolve(f, &r, 0), id); /* nobody else can have sent it */
    r.opener = 0;
    assert_int_equal(resolve(f, &r, AUDIT_F_NO_PROC), id);
    assert_int_equal(fake_ring_count(f->ring), 1);
    (void)usleep((WHO_DEAD_MS + 50) * 1000);
    assert_int_not_equal(resolve(f, &r, AUDIT_F_NO_PROC), id); /* long ago: anybody */
}

static void unknown_senders(void **state)
{
    struct fixture *f = *state;
    struct who_request other = {.pid = 0, .uid = 9}, r = {.pid = 5, .uid = 3};
    uint32_t id = resolve(f, &other, AUDIT_F_NO_PROC); /* another process namespace */

    assert_int_equal(f->channel.asked, 0);
    assert_int_equal(fake_ring_at(f->ring, 0).pid, 0);
    assert_int_equal(fake_ring_at(f->ring, 0).uid, 9);
    assert_int_equal(resolve(f, &other, AUDIT_F_NO_PROC), id);
    assert_int_equal(fake_ring_count(f->ring), 1);

    atomic_store(&f->channel.gone, true);
    id = resolve(f, &r, AUDIT_F_NO_PROC);
    assert_int_equal(fake_ring_at(f->ring, 1).flags, AUDIT_F_NO_PROC);
    assert_int_equal(fake_ring_at(f->ring, 1).pid, 5);
    assert_int_equal(resolve(f, &r, AUDIT_F_NO_PROC), id);
    assert_int_equal(f->channel.asked, 2); /* not kept: it may be another one next time */

    atomic_store(&f->channel.gone, false);
    assert_int_not_equal(resolve(f, &r, 0), id);
}

static void no_room_to_watch(void **state)
{
    struct fixture *f = *state;
    struct who_request r = {.pid = 100};
    uint32_t id;

    atomic_store(&f->channel.no_room, true);
    id = resolve(f, &r, 0);
    assert_int_equal(resolve(f, &r, 0), id);
    assert_int_equal(f->channel.asked, 2);
    assert_int_equal(fake_ring_count(f->ring), 1);
}

static void tables_are_bounded(void **state)
{
    struct fixture *f = *state;
    const unsigned n = WHO_PROCESS_SETS * (WHO_PROCESS_WAYS + 2);
    struct who_request r = {0};
    unsigned i;
    int lowest;

    for (i = 1; i <= n; i++) {
        r.pid = (pid_t)i;
        assert_int_equal(resolve(f, &r, 0), i);
    }
    assert_int_equal(fake_ring_count(f->ring), n);
    lowest = dup(0); /* the lowest free number: not one per process */
    assert_in_range(lowest, 3, 2 * WHO_SETS * WHO_WAYS + 64);
    (void)close(lowest);
}

#define THREADS 8

static void *hammer(void *arg)
{
    struct fixture *f = arg;
    struct timespec start, now;
    struct who_request r = {0};
    uint8_t flags;

    (void)clock_gettime(CLOCK_MONOTONIC, &start);
    do {
        for (r.pid = 1; r.pid < 200; r.pid++)
            if (who_resolve(f->who, &r, &flags) == 0 || flags)
                return arg;
        (void)clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000 <
             3L * WHO_TTL_MS);
    return NULL;
}

static void concurrent_senders(void **state)
{
    struct fixture *f = *state;
    pthread_t thread[THREADS];
    unsigned i;

    for (i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, hammer, f), 0);
    for (i = 0; i < THREADS; i++) {
        void *failed;

        assert_int_equal(pthread_join(thread[i], &failed), 0);
        assert_null(failed);
    }
    assert_int_equal(fake_ring_count(f->ring), 199); /* nobody was recorded twice */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_record_per_process, set_up, tear_down),
        cmocka_unit_test_setup_teardown(threads_share_a_record, set_up, tear_down),
        cmocka_unit_test_setup_teardown(asked_again_after_a_while, set_up, tear_down),
        cmocka_unit_test_setup_teardown(changes_are_seen_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(not_looked_at_twice_in_no_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(number_used_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(left_under_way, set_up, tear_down),
        cmocka_unit_test_setup_teardown(unknown_senders, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_room_to_watch, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tables_are_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(concurrent_senders, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
