/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records per second through audit_log while the audit thread seals them into a log on a file system.
 * Not a test: scripts/bench-audit runs it.
 *
 *     bench_audit_ring [DIR [RECORDS [PROCESSES [THREADS [apart|sequential|random]]]]]
 *
 * Each process has as many threads as there are THREADS; without that 1, 2 and 4 in turn.  The records are of reads by
 * two processes in turn, so nothing is merged (apart); of one process that reads on (sequential); of one that
 * reads anywhere (random).  Processor time is that of all processes together: what the
 * machine can do when nobody else uses it is its number of cores / processor time per record.
 */
#include "audit/audit.h"
#include "audit/merge.h"
#include "audit/verify.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct audit_ring *ring;
static unsigned long per_thread;
static enum { APART, SEQUENTIAL, RANDOM } kind;
static const char *const kinds[] = {"apart", "sequential", "random"};

static double now(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Processor time of this process and of those it has waited for. */
static double used(void)
{
    double sum = 0;
    struct rusage u;
    int who;

    for (who = RUSAGE_CHILDREN; who <= RUSAGE_SELF; who++) {
        (void)getrusage(who, &u);
        sum += (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
               (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
    }
    return sum;
}

static void *produce(void *arg)
{
    uint64_t i, state = (uintptr_t)arg;

    for (i = 0; i < per_thread; i++) {
        struct audit_event e = {
            .op = AUDIT_READ, .obj = (uintptr_t)arg, .off = i * 4096, .len = 4096, .proc = 1};

        if (kind == APART)
            e.proc += i % 2;
        state = state * UINT64_C(6364136223846793005) + 1442695040888963407;
        if (kind == RANDOM)
            e.off = state >> 33 << 12;

        if (audit_log(ring, &e) == AUDIT_NOT_LOGGED)
            abort();
    }
    return NULL;
}

/* The worker's side: its own process, as in the program. */
static pid_t start_producer(struct audit_writer *w, unsigned threads, unsigned number)
{
    pid_t pid = fork();
    pthread_t t[16];
    unsigned i;

    if (pid != 0)
        return pid;
    audit_forget_writer(w);
    for (i = 0; i < threads; i++)
        if (pthread_create(&t[i], NULL, produce, (void *)(uintptr_t)(number * 16 + i + 1)))
            _exit(1);
    for (i = 0; i < threads; i++)
        (void)pthread_join(t[i], NULL);
    _exit(0);
}

static void fail(const struct vd_err *err)
{
    (void)fprintf(stderr, "%s\n", err->msg);
    exit(1);
}

/* Counts what was logged. */
static int count(void *ctx, const struct audit_seen *seen, struct vd_err *err)
{
    struct audit_record r;
    struct audit_merged m;
    int rc = audit_record_decode(seen->bytes, seen->len, &r, err);

    if (rc)
        return rc;
    (void)audit_record_merged(&r, &m);
    *(uint64_t *)ctx += m.count;
    return 0;
}

static void run(const char *dir, unsigned processes, unsigned threads, unsigned long records)
{
    const struct audit_config config = {.dir = dir};
    const struct audit_event open = {.op = AUDIT_SESSION_OPEN};
    struct vd_err err = VD_ERR_INIT;
    struct audit_report report;
    struct audit_writer *w;
    char path[4096];
    double start, cpu, logged, closed;
    uint64_t events = 0;
    unsigned i;

    if (audit_open(&config, &w, &ring, &err))
        fail(&err);
    (void)snprintf(path, sizeof(path), "%s", audit_session_dir(w));
    (void)audit_log(ring, &open);
    per_thread = records / (threads * processes);
    records = per_thread * threads * processes;
    start = now();
    cpu = used();
    for (i = 0; i < processes; i++)
        if (start_producer(w, threads, i) < 0)
            exit(1);
    if (audit_start(w, &err))
        fail(&err);
    for (i = 0; i < processes; i++) {
        int status;

        if (wait(&status) < 0 || status != 0)
            exit(1);
    }
    logged = now();
    if (audit_close(w, AUDIT_CLOSE_CLEAN, &err))
        fail(&err);
    closed = now();
    cpu = used() - cpu;
    if (audit_verify(path, NULL, count, &events, &report, &err))
        fail(&err);
    (void)printf(
        "ring, %s: %u processes x %u threads: %5.2f M records/s logged, %5.2f M/s with close; "
        "%.2f us of "
        "processor time per record (%.2f M/s on two free cores); %s, %llu records, %.1f bytes for "
        "each read\n",
        kinds[kind], processes, threads, (double)records / (logged - start) / 1e6,
        (double)records / (closed - start) / 1e6, cpu / (double)records * 1e6,
        2 * (double)records / cpu / 1e6, audit_verdict_text(report.verdict),
        (unsigned long long)report.records, (double)report.bytes / (double)records);
    if (report.verdict != AUDIT_INTACT_CLOSED || events != records + 2)
        exit(1);
}

static unsigned argument(int argc, char **argv, int i, unsigned otherwise)
{
    unsigned long n = argc > i ? strtoul(argv[i], NULL, 10) : otherwise;

    return n >= 1 && n <= 16 ? (unsigned)n : otherwise;
}

int main(int argc, char **argv)
{
    const char *dir = argc > 1 ? argv[1] : "/tmp/vdiskfs-bench-audit";
    unsigned long records = argc > 2 ? strtoul(argv[2], NULL, 10) : 4000000;
    unsigned processes = argument(argc, argv, 3, 2), threads = argument(argc, argv, 4, 0);

    for (kind = RANDOM; kind > APART && (argc <= 5 || strcmp(argv[5], kinds[kind]) != 0); kind--)
        continue;
    if (threads) {
        run(dir, processes, threads, records);
        return 0;
    }
    for (threads = 1; threads <= 4; threads *= 2)
        run(dir, processes, threads, records);
    for (kind = SEQUENTIAL; kind <= RANDOM; kind++)
        run(dir, processes, 1, records);
    return 0;
}
