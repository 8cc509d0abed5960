/* SPDX-License-Identifier: Apache-2.0 */
/* show -f on a log that four threads write, through many segments, epochs and checkpoints that come
 * after further frames: every record once and in order, and the verdict at the end.  And verify in a loop
 * beside it: never an alarm. */
#include "testlib.h"

#include "audit/audit.h"
#include "audit/show.h"
#include "audit/verify.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define THREADS 4
#define EACH    3000

static struct audit_ring *ring;
static struct audit_writer *writer;
static char *dir, path[512];
static _Atomic bool done;

static void *produce(void *arg)
{
    const struct timespec pause = {0, 1000000};
    uint64_t i;

    for (i = 0; i < EACH; i++) {
        const struct audit_event e = {
            .op = i % 3 ? AUDIT_GETATTR : AUDIT_READ, .obj = (uintptr_t)arg, .off = i, .len = 1};

        if (audit_log(ring, &e) == AUDIT_NOT_LOGGED)
            abort();
        if (i % 4 == 0)
            (void)nanosleep(&pause, NULL);
    }
    return NULL;
}

static void *write_log(void *arg)
{
    pthread_t t[THREADS];
    struct vd_err err = VD_ERR_INIT;
    size_t i;

    (void)arg;
    for (i = 0; i < THREADS; i++)
        if (pthread_create(&t[i], NULL, produce, (void *)(uintptr_t)(i + 2)))
            abort();
    for (i = 0; i < THREADS; i++)
        (void)pthread_join(t[i], NULL);
    if (audit_close(writer, AUDIT_CLOSE_CLEAN, &err))
        abort();
    atomic_store(&done, true);
    return NULL;
}

static void *verify_again(void *arg)
{
    unsigned long *runs = arg;

    while (!atomic_load(&done)) {
        struct vd_err err = VD_ERR_INIT;
        struct audit_report r;

        if (audit_verify(path, NULL, NULL, NULL, &r, &err) || r.verdict > AUDIT_INTACT_OPEN) {
            (void)fprintf(stderr, "%s %s %s\n", err.msg, audit_verdict_text(r.verdict), r.reason);
            abort();
        }
        (*runs)++;
    }
    return NULL;
}

static size_t lines_of(const char *text)
{
    size_t n = 0;

    for (; *text; text++)
        n += *text == '\n';
    return n;
}

static void follows(void **state)
{
    const struct audit_config config = {.dir = dir = test_tmpdir(),
                                        .ring_bytes = 1,
                                        .segment_bytes = 20000,
                                        .seal_ms = 5,
                                        .sync_ms = 10,
                                        .epoch_records = 4000};
    const struct audit_event open = {.op = AUDIT_SESSION_OPEN};
    const struct audit_show_options follow = {.follow = true}, after = {0};
    char *followed = NULL, *shown = NULL;
    struct vd_err err = VD_ERR_INIT;
    struct audit_report r, closed;
    struct audit_shown what;
    unsigned long runs = 0;
    pthread_t t, v;
    size_t len;
    FILE *out;

    (void)state;
    assert_ok(audit_open(&config, &writer, &ring, &err));
    (void)snprintf(path, sizeof(path), "%s", audit_session_dir(writer));
    (void)audit_log(ring, &open);
    assert_ok(audit_start(writer, &err));
    assert_int_equal(pthread_create(&t, NULL, write_log, NULL), 0);
    assert_int_equal(pthread_create(&v, NULL, verify_again, &runs), 0);
    out = open_memstream(&followed, &len);
    assert_ok(audit_show(path, &follow, out, &what, &r, &err));
    assert_int_equal(fclose(out), 0);
    (void)pthread_join(t, NULL);
    (void)pthread_join(v, NULL);

    out = open_memstream(&shown, &len);
    assert_ok(audit_show(path, &after, out, &what, &closed, &err));
    assert_int_equal(fclose(out), 0);
    assert_int_equal(closed.verdict, AUDIT_INTACT_CLOSED);
    if (r.verdict != AUDIT_INTACT_CLOSED)
        fail_msg("%s %s", audit_verdict_text(r.verdict), r.reason);
    assert_false(r.live);
    assert_true(r.checkpoints == closed.checkpoints);
    assert_int_equal(lines_of(followed), closed.records);
    assert_int_equal(what.lines, closed.records);
    assert_string_equal(followed, shown);
    (void)printf(
        "%" PRIu64 " records in %" PRIu64 " frames, %" PRIu64 " segments, %u epochs, %" PRIu64
        " checkpoints followed; verified %lu times meanwhile\n",
        closed.records, closed.frames, closed.segments, closed.epochs, closed.checkpoints, runs);
    assert_true(closed.segments > 5 && closed.epochs > 1 && closed.checkpoints > 1);
    free(followed);
    free(shown);
    test_rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(follows)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
