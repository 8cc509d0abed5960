/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records per second through audit_log, sealing on.  Not a test: run it by hand.
 *
 *     bench_audit_ring [DIR [RECORDS]]
 */
#include "audit/audit.h"
#include "audit/verify.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct audit_ring *ring;
static unsigned long per_thread;

static double now(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void *produce(void *arg)
{
    unsigned long i;

    for (i = 0; i < per_thread; i++) {
        const struct audit_event e = {
            .op = AUDIT_READ, .obj = (uintptr_t)arg, .off = i * 4096, .len = 4096, .proc = 1};

        if (audit_log(ring, &e) == AUDIT_NOT_LOGGED)
            abort();
    }
    return NULL;
}

static void run(const char *dir, unsigned threads, unsigned long records)
{
    const struct audit_config config = {.dir = dir};
    const struct audit_event open = {.op = AUDIT_SESSION_OPEN};
    struct vd_err err = VD_ERR_INIT;
    struct audit_writer *w;
    struct audit_report report;
    char path[4096];
    double start, logged, closed, verified;
    pid_t pid;

    if (audit_open(&config, &w, &ring, &err)) {
        (void)fprintf(stderr, "%s\n", err.msg);
        exit(1);
    }
    (void)snprintf(path, sizeof(path), "%s", audit_session_dir(w));
    (void)audit_log(ring, &open);
    per_thread = records / threads;
    start = now();
    pid = fork();
    if (pid == 0) {
        pthread_t t[16];
        unsigned i;

        audit_forget_writer(w);
        for (i = 0; i < threads; i++)
            (void)pthread_create(&t[i], NULL, produce, (void *)(uintptr_t)(i + 1));
        for (i = 0; i < threads; i++)
            (void)pthread_join(t[i], NULL);
        _exit(0);
    }
    if (pid < 0 || audit_start(w, &err))
        exit(1);
    (void)waitpid(pid, NULL, 0);
    logged = now();
    if (audit_close(w, AUDIT_CLOSE_CLEAN, &err)) {
        (void)fprintf(stderr, "%s\n", err.msg);
        exit(1);
    }
    closed = now();
    if (audit_verify(path, NULL, NULL, NULL, &report, &err))
        exit(1);
    verified = now();
    (void)printf(
        "%2u threads: %5.2f M records/s logged, %5.2f M/s with close; verify %s: %.2f GB/s\n",
        threads, (double)records / (logged - start) / 1e6, (double)records / (closed - start) / 1e6,
        audit_verdict_text(report.verdict), (double)report.bytes / (verified - closed) / 1e9);
}

int main(int argc, char **argv)
{
    const char *dir = argc > 1 ? argv[1] : "/tmp/vdiskfs-bench-audit";
    unsigned long records = argc > 2 ? strtoul(argv[2], NULL, 10) : 4000000;

    run(dir, 1, records);
    run(dir, 2, records);
    run(dir, 4, records);
    return 0;
}
