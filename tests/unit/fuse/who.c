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

static void one_record_per_process(void **state)
{
    struct fixture *f = *state;
    struct who_request r = {.pid = 100, .uid = 1, .gid = 2};
    struct fake_record rec;
    uint8_t flags = 0xff;
    uint32_t id = who_resolve(f->who, &r, &flags);

    assert_int_not_equal(id, 0);
    assert_int_equal(flags, 0);
    assert_int_equal(who_resolve(f->who, &r, &flags), id);
    assert_int_equal(f->channel.asked, 1); /* the second answer came from the table */
    assert_int_equal(fake_ring_count(f->ring), 1);
    rec = fake_ring_at(f->ring, 0);
    assert_int_equal(rec.op, AUDIT_PROC);
    assert_int_equal(rec.off, id);
    assert_int_equal(rec.pid, 100);
    assert_int_equal(rec.uid, 1);

    r.uid = 7; /* setuid: another identity */
    assert_int_not_equal(who_resolve(f->who, &r, &flags), id);
    assert_int_equal(fake_ring_count(f->ring), 2);
}

static void asked_again_after_a_while(void **state)
{
    struct fixture *f = *state;
    struct who_request r = {.pid = 100};
    uint8_t flags;
    uint32_t id = who_resolve(f->who, &r, &flags);

    wait_for_expiry();
    assert_int_equal(who_resolve(f->who, &r, &flags), id);
    assert_int_equal(f->channel.asked, 2);
    assert_int_equal(fake_ring_count(f->ring), 1);

    atomic_store(&f->channel.run, 1); /* the number was used again */
    wait_for_expiry();
    assert_int_not_equal(who_resolve(f->who, &r, &flags), id);
    assert_int_equal(fake_ring_count(f->ring), 2);
}

static void unknown_senders(void **state)
{
    struct fixture *f = *state;
    struct who_request kernel = {.pid = 0}, r = {.pid = 5, .uid = 3};
    uint8_t flags = 0;
    uint32_t id;

    assert_int_equal(who_resolve(f->who, &kernel, &flags), 0);
    assert_int_equal(flags, AUDIT_F_NO_PROC);
    assert_int_equal(f->channel.asked, 0);

    atomic_store(&f->channel.gone, true);
    id = who_resolve(f->who, &r, &flags);
    assert_int_not_equal(id, 0);
    assert_int_equal(flags, AUDIT_F_NO_PROC);
    assert_int_equal(fake_ring_at(f->ring, 0).flags, AUDIT_F_NO_PROC);
    assert_int_equal(fake_ring_at(f->ring, 0).pid, 5);
    assert_int_equal(who_resolve(f->who, &r, &flags), id);
    assert_int_equal(flags, AUDIT_F_NO_PROC);

    atomic_store(&f->channel.gone, false);
    wait_for_expiry();
    assert_int_not_equal(who_resolve(f->who, &r, &flags), id);
    assert_int_equal(flags, 0);
}

static void table_is_bounded(void **state)
{
    struct fixture *f = *state;
    const unsigned n = WHO_SETS * (WHO_WAYS + 2);
    struct who_request r = {0};
    uint8_t flags;
    unsigned i;

    for (i = 1; i <= n; i++) {
        r.pid = (pid_t)i;
        assert_int_equal(who_resolve(f->who, &r, &flags), i);
    }
    assert_int_equal(fake_ring_count(f->ring), n);
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
        cmocka_unit_test_setup_teardown(asked_again_after_a_while, set_up, tear_down),
        cmocka_unit_test_setup_teardown(unknown_senders, set_up, tear_down),
        cmocka_unit_test_setup_teardown(table_is_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(concurrent_senders, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
