/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A log that is made under hard conditions, for verifiers to look at while it grows and after it ended
 * (scripts/audit-torture): small segments, short epochs, heartbeats, a host clock that steps by up to a year in
 * both directions, producers in a process of their own that may die in the middle.
 *
 *     torture_writer DIR SEED MILLISECONDS close|worker|crash
 *
 * Prints the session's directory.  After the time: closes the log; kills the producers and closes it; kills itself.  The linker
 * sends clock_gettime of the whole program here.
 */
#include "audit/audit.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define THREADS 3

static _Atomic int64_t *step_s; /* shared by the processes: seconds that the clock is off */
static struct audit_ring *ring;
static atomic_bool ending; /* in the worker: no new events */

int __real_clock_gettime(clockid_t id, struct timespec *out);
int __wrap_clock_gettime(clockid_t id, struct timespec *out);

int __wrap_clock_gettime(clockid_t id, struct timespec *out)
{
    int rc = __real_clock_gettime(id, out);

    if (rc == 0 && id == CLOCK_REALTIME && step_s)
        out->tv_sec += atomic_load(step_s);
    return rc;
}

/* xorshift64: the same seed, the same log. */
static uint64_t next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void one_event(uint64_t *state, uint64_t *off)
{
    static const char text[2000] = "a path that is as long as people make them";
    uint64_t r = next(state);
    struct audit_field field = {AUDIT_T_PATH, text, r % (r % 50 ? 200 : sizeof(text))};
    struct audit_event e = {
        .op = AUDIT_READ, .obj = 1 + r % 3, .off = *off, .len = 4096, .proc = 1};

    *off += r % 8 ? 4096 : r % 100000;
    if (r % 16 == 3) {
        e.op = AUDIT_OPEN;
        e.fields = &field;
        e.n_fields = 1;
    } else if (r % 512 == 5) {
        e.op = AUDIT_REFUSED;
        e.result = -30;
    }
    if (e.op == AUDIT_REFUSED)
        (void)audit_wait(ring, audit_log(ring, &e), NULL);
    else
        (void)audit_log(ring, &e);
}

static void *produce(void *arg)
{
    uint64_t state = (uintptr_t)arg, off = 0;

    while (!atomic_load(&ending)) {
        unsigned i, burst = (unsigned)(next(&state) % 200);
        const struct timespec pause = {0, (long)(next(&state) % 4000000)};

        for (i = 0; i < burst; i++)
            one_event(&state, &off);
        (void)nanosleep(&pause, NULL);
    }
    return NULL;
}

static pid_t start_worker(struct audit_writer *w, uint64_t seed)
{
    pid_t pid = fork();
    pthread_t t[THREADS];
    unsigned i;
    sigset_t set;
    int got;

    if (pid != 0)
        return pid;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    audit_forget_writer(w);
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    for (i = 0; i < THREADS; i++)
        if (pthread_create(&t[i], NULL, produce, (void *)(uintptr_t)(seed * 16 + i + 1)))
            _exit(1);
    (void)sigwait(&set, &got);
    atomic_store(&ending, true);
    for (i = 0; i < THREADS; i++)
        (void)pthread_join(t[i], NULL);
    _exit(0);
}

/* Lets the time pass, with a step of the clock now and then. */
static void live(uint64_t seed, long ms)
{
    const struct timespec slice = {0, 10000000};
    uint64_t state = seed + 99;

    for (; ms > 0; ms -= 10) {
        (void)nanosleep(&slice, NULL);
        if (next(&state) % 4 == 0)
            atomic_store(step_s, (int64_t)(next(&state) % 63072000) - 31536000);
    }
}

int main(int argc, char **argv)
{
    uint64_t seed = argc == 5 ? strtoull(argv[2], NULL, 10) + 1 : 0;
    const struct audit_config config = {.dir = argc == 5 ? argv[1] : "",
                                        .ring_bytes = 1,
                                        .seal_ms = 5 + (unsigned)(seed % 20),
                                        .sync_ms = 30,
                                        .segment_bytes = 3000 + seed % 7 * 20000,
                                        .epoch_ms = 20 + (unsigned)(seed % 5) * 40,
                                        .epoch_records = 300 + seed % 11 * 200,
                                        .heartbeat_ms = 15};
    const struct audit_event open = {.op = AUDIT_SESSION_OPEN};
    struct vd_err err = VD_ERR_INIT;
    bool died = argc == 5 && strcmp(argv[4], "worker") == 0;
    struct audit_writer *w;
    pid_t worker;

    if (argc != 5) {
        (void)fprintf(stderr, "usage: torture_writer DIR SEED MILLISECONDS close|worker|crash\n");
        return 1;
    }
    step_s = mmap(NULL, sizeof(*step_s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (step_s == MAP_FAILED || audit_open(&config, &w, &ring, &err))
        return 1;
    (void)audit_log(ring, &open);
    (void)printf("%s\n", audit_session_dir(w));
    (void)fflush(stdout);
    worker = start_worker(w, seed);
    if (worker < 0 || audit_start(w, &err))
        return 1;
    live(seed, strtol(argv[3], NULL, 10));
    if (strcmp(argv[4], "crash") == 0)
        (void)kill(getpid(), SIGKILL);
    (void)kill(worker, died ? SIGKILL : SIGTERM);
    (void)waitpid(worker, NULL, 0);
    return audit_close(w, died ? AUDIT_CLOSE_WORKER_DIED : AUDIT_CLOSE_CLEAN, &err) ? 1 : 0;
}
